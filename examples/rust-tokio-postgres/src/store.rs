//! Snapshots of event-sourced streams in PostgreSQL's extension snapshot_store.
//!
//! `query_typed` takes one round trip and leaves no prepared statement behind, so that this is right behind
//! PgBouncer in transaction mode, too. It wants to be told the types of the parameters.

use std::collections::HashMap;

use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Error, GenericClient, Row};

/// The state of a stream as of one of its events: JSON, kept to the letter, or bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<State = String> {
    pub sequence_number: i64,
    pub state_schema_version: u32,
    pub state: State,
}

/// On a client, a save is a transaction of its own, and durable when it returns. On a transaction, this has to
/// be committed: one that is dropped takes the snapshot back, in silence.
pub struct SnapshotStore<'a, C>(pub &'a C);

impl<C: GenericClient> SnapshotStore<'_, C> {
    /// Tells whether the snapshot was stored. It is not, which is no error, if a newer one of its schema version
    /// is kept, or if the store is off.
    pub async fn save(&self, stream_id: &str, snapshot: &Snapshot) -> Result<bool, Error> {
        let save = "SELECT snapshot_save($1, $2, $3, $4::json)";
        self.save_by(save, stream_id, snapshot, Type::TEXT).await
    }

    /// The most recent snapshot of a recognized schema version.
    pub async fn load(
        &self,
        stream_id: &str,
        recognized: &[u32],
    ) -> Result<Option<Snapshot>, Error> {
        let load =
            "SELECT sequence_number, state_schema_version, state::text FROM snapshot_load($1, $2)";
        self.load_by(load, stream_id, recognized).await
    }

    pub async fn save_bytes(
        &self,
        stream_id: &str,
        snapshot: &Snapshot<Vec<u8>>,
    ) -> Result<bool, Error> {
        let save = "SELECT snapshot_save_bytea($1, $2, $3, $4)";
        self.save_by(save, stream_id, snapshot, Type::BYTEA).await
    }

    pub async fn load_bytes(
        &self,
        stream_id: &str,
        recognized: &[u32],
    ) -> Result<Option<Snapshot<Vec<u8>>>, Error> {
        let load =
            "SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea($1, $2)";
        self.load_by(load, stream_id, recognized).await
    }

    /// Saves snapshots of as many streams in one call, and tells of each stream whether it was stored.
    pub async fn save_many(
        &self,
        snapshots: &[(&str, Snapshot)],
    ) -> Result<HashMap<String, bool>, Error> {
        let stream_ids: Vec<_> = snapshots.iter().map(|(stream_id, _)| stream_id).collect();
        let sequence_numbers: Vec<_> = snapshots.iter().map(|(_, s)| s.sequence_number).collect();
        let versions = bigints(snapshots.iter().map(|(_, s)| &s.state_schema_version));
        let states: Vec<_> = snapshots.iter().map(|(_, s)| &s.state).collect();
        let rows = self
            .0
            .query_typed(
                "SELECT stream_id, stored FROM snapshot_save_many($1, $2, $3, $4::json[])",
                &[
                    (&stream_ids, Type::TEXT_ARRAY),
                    (&sequence_numbers, Type::INT8_ARRAY),
                    (&versions, Type::INT8_ARRAY),
                    (&states, Type::TEXT_ARRAY),
                ],
            )
            .await?;
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
        let rows = self
            .0
            .query_typed(
                "SELECT sequence_number, state_schema_version, state::text, stream_id FROM snapshot_load_many($1, $2)",
                &[(&stream_ids, Type::TEXT_ARRAY), (&bigints(recognized), Type::INT8_ARRAY)],
            )
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(3)?, snapshot(row)?)))
            .collect()
    }

    async fn save_by<State: ToSql + Sync>(
        &self,
        save: &str,
        stream_id: &str,
        snapshot: &Snapshot<State>,
        state: Type,
    ) -> Result<bool, Error> {
        let version = i64::from(snapshot.state_schema_version);
        let row = self
            .0
            .query_typed_one(
                save,
                &[
                    (&stream_id, Type::TEXT),
                    (&snapshot.sequence_number, Type::INT8),
                    (&version, Type::INT8),
                    (&snapshot.state, state),
                ],
            )
            .await?;
        row.try_get(0)
    }

    async fn load_by<State: for<'a> FromSql<'a>>(
        &self,
        load: &str,
        stream_id: &str,
        recognized: &[u32],
    ) -> Result<Option<Snapshot<State>>, Error> {
        let row = self
            .0
            .query_typed_opt(
                load,
                &[
                    (&stream_id, Type::TEXT),
                    (&bigints(recognized), Type::INT8_ARRAY),
                ],
            )
            .await?;
        row.as_ref().map(snapshot).transpose()
    }
}

/// The driver's `u32` is an oid. A schema version is a bigint.
fn bigints<'a>(versions: impl IntoIterator<Item = &'a u32>) -> Vec<i64> {
    versions
        .into_iter()
        .map(|&version| version.into())
        .collect()
}

fn snapshot<'a, State: FromSql<'a>>(row: &'a Row) -> Result<Snapshot<State>, Error> {
    let version: i64 = row.try_get(1)?;
    Ok(Snapshot {
        sequence_number: row.try_get(0)?,
        state_schema_version: version.try_into().expect("the table admits no other"),
        state: row.try_get(2)?,
    })
}
