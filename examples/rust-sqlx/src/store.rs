//! Snapshots of event-sourced streams in PostgreSQL's extension snapshot_store.
//!
//! States go as text: what sqlx knows as JSON it sends as jsonb, which is not kept to the letter.

use std::collections::HashMap;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Decode, Error, PgPool, Postgres, Row, Type};

#[derive(Clone)]
pub struct Database {
    pub pool: PgPool,
    /// For PgBouncer in transaction mode. sqlx asks for the types of a statement and then runs it, which only an
    /// explicit transaction keeps on one connection. Elsewhere, that is three round trips more.
    pub transaction_pooling: bool,
}

impl Database {
    /// Runs a statement as a transaction of its own.
    pub async fn fetch(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Error> {
        if !self.transaction_pooling {
            return query.fetch_all(&self.pool).await;
        }
        let mut transaction = self.pool.begin().await?;
        let rows = query.persistent(false).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    pub async fn fetch_one(&self, query: Query<'_, Postgres, PgArguments>) -> Result<PgRow, Error> {
        self.fetch(query).await?.pop().ok_or(Error::RowNotFound)
    }
}

/// The state of a stream as of one of its events: JSON, kept to the letter, or bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<State = String> {
    pub sequence_number: i64,
    pub state_schema_version: u32,
    pub state: State,
}

/// A save is a transaction of its own, and durable when it returns.
#[derive(Clone)]
pub struct SnapshotStore(pub Database);

impl SnapshotStore {
    /// Tells whether the snapshot was stored. It is not, which is no error, if a newer one of its schema version
    /// is kept, or if the store is off.
    pub async fn save(&self, stream_id: &str, snapshot: &Snapshot) -> Result<bool, Error> {
        self.0
            .fetch_one(save(stream_id, snapshot))
            .await?
            .try_get(0)
    }

    /// The most recent snapshot of a recognized schema version.
    pub async fn load(
        &self,
        stream_id: &str,
        recognized: &[u32],
    ) -> Result<Option<Snapshot>, Error> {
        let load = sqlx::query(
            "SELECT sequence_number, state_schema_version, state::text FROM snapshot_load($1, $2)",
        );
        let rows = self
            .0
            .fetch(load.bind(stream_id).bind(bigints(recognized)))
            .await?;
        rows.first().map(snapshot).transpose()
    }

    pub async fn save_bytes(
        &self,
        stream_id: &str,
        snapshot: &Snapshot<Vec<u8>>,
    ) -> Result<bool, Error> {
        let save = sqlx::query("SELECT snapshot_save_bytea($1, $2, $3, $4)")
            .bind(stream_id)
            .bind(snapshot.sequence_number)
            .bind(i64::from(snapshot.state_schema_version))
            .bind(&snapshot.state);
        self.0.fetch_one(save).await?.try_get(0)
    }

    pub async fn load_bytes(
        &self,
        stream_id: &str,
        recognized: &[u32],
    ) -> Result<Option<Snapshot<Vec<u8>>>, Error> {
        let load = sqlx::query(
            "SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea($1, $2)",
        );
        let rows = self
            .0
            .fetch(load.bind(stream_id).bind(bigints(recognized)))
            .await?;
        rows.first().map(snapshot).transpose()
    }

    /// Saves snapshots of as many streams in one call, and tells of each stream whether it was stored.
    pub async fn save_many(
        &self,
        snapshots: &[(&str, Snapshot)],
    ) -> Result<HashMap<String, bool>, Error> {
        let stream_ids: Vec<_> = snapshots.iter().map(|(stream_id, _)| *stream_id).collect();
        let sequence_numbers: Vec<_> = snapshots.iter().map(|(_, s)| s.sequence_number).collect();
        let states: Vec<_> = snapshots.iter().map(|(_, s)| s.state.as_str()).collect();
        let save = sqlx::query(
            "SELECT stream_id, stored FROM snapshot_save_many($1, $2, $3, $4::text[]::json[])",
        )
        .bind(stream_ids)
        .bind(sequence_numbers)
        .bind(bigints(
            snapshots.iter().map(|(_, s)| &s.state_schema_version),
        ))
        .bind(states);
        let rows = self.0.fetch(save).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// Loads snapshots of many streams in one call. A stream that has none is not in the map.
    pub async fn load_many(
        &self,
        stream_ids: &[&str],
        recognized: &[u32],
    ) -> Result<HashMap<String, Snapshot>, Error> {
        let load = sqlx::query(
            "SELECT sequence_number, state_schema_version, state::text, stream_id
             FROM snapshot_load_many($1, $2)",
        );
        let rows = self
            .0
            .fetch(load.bind(stream_ids).bind(bigints(recognized)))
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(3)?, snapshot(row)?)))
            .collect()
    }
}

/// The statement of a save, also for a transaction of the caller's. This has to be committed: one that is
/// dropped takes the snapshot back, in silence.
pub fn save<'q>(stream_id: &'q str, snapshot: &'q Snapshot) -> Query<'q, Postgres, PgArguments> {
    sqlx::query("SELECT snapshot_save($1, $2, $3, $4::text::json)")
        .bind(stream_id)
        .bind(snapshot.sequence_number)
        .bind(i64::from(snapshot.state_schema_version))
        .bind(&snapshot.state)
}

fn bigints<'a>(versions: impl IntoIterator<Item = &'a u32>) -> Vec<i64> {
    versions
        .into_iter()
        .map(|&version| version.into())
        .collect()
}

fn snapshot<State>(row: &PgRow) -> Result<Snapshot<State>, Error>
where
    State: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    let version: i64 = row.try_get(1)?;
    Ok(Snapshot {
        sequence_number: row.try_get(0)?,
        state_schema_version: version.try_into().expect("the table admits no other"),
        state: row.try_get(2)?,
    })
}
