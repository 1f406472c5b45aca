#![doc = include_str!("../README.md")]

mod error;

use std::sync::Arc;

use deadpool_postgres::{Object, Pool};
use mako_engine::{
    error::EngineError,
    event_store::EventStore,
    ids::StreamId,
    process::Process,
    snapshot::{Snapshot, SnapshotStore},
    workflow::Workflow,
};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{
    Row,
    types::{FromSql, ToSql, Type},
};

/// How many snapshots [`PostgresSnapshotStore::copy_from`] saves in one transaction.
const BATCH: usize = 100;

/// The snapshots of one workflow, or of all. A clone shares the pool.
#[derive(Debug, Clone)]
pub struct PostgresSnapshotStore {
    pool: Pool,
    /// What the name of each stream begins with.
    prefix: Arc<str>,
    /// The schema versions that a load recognizes; none: whichever there are.
    recognized: Option<Vec<i64>>,
}

impl PostgresSnapshotStore {
    /// The snapshots of the workflow `W`: a load returns the most recent one of
    /// [`W::state_schema_version()`](Workflow::state_schema_version), and never one of another version.
    ///
    /// `kind`, such as the workflow's name, begins the stream's name in the table, `kind/process/…`. By it
    /// go the extension's census, work list and purge, which the engine's names do not tell from other
    /// workflows. All versions of a workflow have one kind.
    ///
    /// While two versions of an application take turns:
    ///
    /// - With `keep_versions = 1`, each save erases the snapshot of the other version, which then finds none,
    ///   replays all events, and is due to save again: 200 snapshots in 200 commands.
    /// - With `keep_versions = 2`, each keeps its own, and replays only the events after it: 4 snapshots.
    ///
    /// # Panics
    ///
    /// If `kind` is empty or has a `/` or a NUL byte in it.
    #[must_use]
    pub fn for_workflow<W: Workflow>(pool: Pool, kind: &str) -> Self {
        assert!(
            !kind.is_empty() && !kind.contains(['/', '\0']),
            "kind must not be empty, nor have a '/' or NUL byte in it: {kind:?}"
        );
        Self {
            pool,
            prefix: format!("{kind}/").into(),
            recognized: Some(vec![W::state_schema_version().into()]),
        }
    }

    /// One store for many workflows, as the engine's own are: streams have the engine's names, and a load
    /// returns whatever version there is. [`Process`] compares that with its own, and replays all events if it
    /// is another; whoever else loads must compare, too. Unlike in the engine's own stores, an older snapshot
    /// does not replace a newer one of its version.
    ///
    /// While two versions of an application take turns:
    ///
    /// - With `keep_versions = 1`, a stream has the snapshot that was saved last. It counts for both, so few are
    ///   taken, 2 in 200 commands; but only one version can read it, and the other replays all events each time.
    /// - With `keep_versions = 2`, the same. Both are kept, but a load returns that of the later event, also to
    ///   the version that could have read the other.
    #[must_use]
    pub fn any(pool: Pool) -> Self {
        Self {
            pool,
            prefix: "".into(),
            recognized: None,
        }
    }

    /// Saves like [`SnapshotStore::save`], and tells whether the snapshot was stored: `false` if a newer one
    /// of its version is kept, or the store is off.
    pub async fn store(&self, snapshot: &Snapshot) -> Result<bool, EngineError> {
        self.ask(
            "SELECT snapshot_save($1, $2, $3, $4)",
            &[
                (&self.name(&snapshot.stream_id), Type::TEXT),
                (&sequence_number(snapshot)?, Type::INT8),
                (&i64::from(snapshot.state_schema_version), Type::INT8),
                (&snapshot.state, Type::JSON),
            ],
        )
        .await
    }

    /// Saves a snapshot of each of many streams, all or none, with one flush; tells for each, in their order,
    /// whether it was stored. A stream that occurs twice is an error.
    pub async fn save_many(&self, snapshots: &[Snapshot]) -> Result<Vec<bool>, EngineError> {
        let (mut names, mut sequence_numbers) = (Vec::new(), Vec::new());
        let (mut versions, mut states) = (Vec::new(), Vec::new());
        for snapshot in snapshots {
            names.push(self.name(&snapshot.stream_id));
            sequence_numbers.push(sequence_number(snapshot)?);
            versions.push(i64::from(snapshot.state_schema_version));
            states.push(&snapshot.state);
        }
        self.query(
            "SELECT stored FROM snapshot_save_many($1, $2, $3, $4)",
            &[
                (&names, Type::TEXT_ARRAY),
                (&sequence_numbers, Type::INT8_ARRAY),
                (&versions, Type::INT8_ARRAY),
                (&states, Type::JSON_ARRAY),
            ],
        )
        .await?
        .iter()
        .map(|row| column(row, 0))
        .collect()
    }

    /// Loads of each of many streams what [`SnapshotStore::load`] would, in their order; a stream that has
    /// none is left out.
    pub async fn load_many(&self, stream_ids: &[StreamId]) -> Result<Vec<Snapshot>, EngineError> {
        let names: Vec<String> = stream_ids.iter().map(|id| self.name(id)).collect();
        self.query(
            "SELECT stream_id, sequence_number, state_schema_version, state
             FROM snapshot_load_many($1, coalesce($2, ARRAY(
                SELECT DISTINCT i.state_schema_version
                FROM unnest($1) AS s (id), snapshot_info(s.id) AS i)))",
            &[
                (&names, Type::TEXT_ARRAY),
                (&self.recognized, Type::INT8_ARRAY),
            ],
        )
        .await?
        .iter()
        .map(|row| self.snapshot(row))
        .collect()
    }

    /// Brings over, in batches, what another store has for these streams, and returns how many snapshots
    /// were stored. It may be repeated.
    ///
    /// For a store of one workflow, pass the streams of that workflow; snapshots of versions that it does not
    /// recognize stay behind. Into a store of [`any`](Self::any) version, copy before it is in use. When it fails,
    /// the batches before have been saved.
    pub async fn copy_from<S: SnapshotStore>(
        &self,
        other: &S,
        stream_ids: &[StreamId],
    ) -> Result<usize, EngineError> {
        let recognized = |version: u32| {
            let versions = self.recognized.as_ref();
            versions.is_none_or(|versions| versions.contains(&version.into()))
        };
        let mut copied = 0;
        for batch in stream_ids.chunks(BATCH) {
            let mut snapshots = Vec::new();
            for stream_id in batch {
                snapshots.extend(other.load(stream_id).await?);
            }
            snapshots.retain(|snapshot| recognized(snapshot.state_schema_version));
            let stored = self.save_many(&snapshots).await?;
            copied += stored.into_iter().filter(|stored| *stored).count();
        }
        Ok(copied)
    }

    /// Takes a snapshot if it is due, as [`Process::take_snapshot`] does, and tells whether it was stored. To
    /// be called after [`Process::run`], in place of `RunOptions::snapshot`.
    ///
    /// It differs in three ways. The server decides whether it is due, and no state is read for that. While
    /// the store is off, none is due; the engine, which sees only that there is none, would replay all events
    /// after every command. And when events are appended meanwhile, none is taken: the state may have them
    /// in it, and would have them applied once more.
    pub async fn take_snapshot<W, E>(
        &self,
        process: &Process<W, E>,
        interval: u64,
    ) -> Result<bool, EngineError>
    where
        W: Workflow,
        W::State: Serialize,
        E: EventStore,
    {
        let count = process.event_count().await?;
        if !Snapshot::should_take(count, 0, interval) {
            return Ok(false);
        }
        let due = self
            .ask(
                "SELECT snapshot_due($1, coalesce($2, ARRAY(
                    SELECT state_schema_version FROM snapshot_info($1))), $3, $4)",
                &[
                    (&self.name(process.stream_id()), Type::TEXT),
                    (&self.recognized, Type::INT8_ARRAY),
                    (&bigint("event_count", count)?, Type::INT8),
                    (&bigint("interval", interval)?, Type::INT8),
                ],
            )
            .await?;
        if !due {
            return Ok(false);
        }
        let state = process.state().await?;
        if process.event_count().await? != count {
            return Ok(false);
        }
        let state =
            serde_json::to_value(state).map_err(|e| EngineError::Serialization(e.to_string()))?;
        self.store(&Snapshot::new(
            process.stream_id().clone(),
            count,
            W::state_schema_version(),
            state,
        ))
        .await
    }

    fn name(&self, stream_id: &StreamId) -> String {
        format!("{}{stream_id}", self.prefix)
    }

    /// The snapshot in a row of stream, sequence number, schema version and state.
    fn snapshot(&self, row: &Row) -> Result<Snapshot, EngineError> {
        let name: &str = column(row, 0)?;
        let stream_id = StreamId::try_new(&name[self.prefix.len()..])?;
        let out_of_range = |number: &str, value: i64| {
            EngineError::snapshot(format!(
                "{number} {value} of stream {stream_id} is out of range"
            ))
        };
        let (sequence_number, version): (i64, i64) = (column(row, 1)?, column(row, 2)?);
        let state: Value = column(row, 3)?;
        Ok(Snapshot::new(
            stream_id.clone(),
            u64::try_from(sequence_number)
                .map_err(|_| out_of_range("sequence_number", sequence_number))?,
            u32::try_from(version).map_err(|_| out_of_range("state_schema_version", version))?,
            state,
        ))
    }

    /// The one answer to a statement.
    async fn ask(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<bool, EngineError> {
        let rows = self.query(statement, parameters).await?;
        column(&rows[0], 0)
    }

    async fn query(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, EngineError> {
        let client = self.pool.get().await.map_err(|e| error::of_pool(&e))?;
        // It returns when the server is ready for the next statement, which is after the commit.
        client
            .query_typed(statement, parameters)
            .await
            .map_err(|e| {
                let error = error::of_server(&e);
                if error::wants_new_session(&e) {
                    drop(Object::take(client));
                }
                error
            })
    }
}

impl SnapshotStore for PostgresSnapshotStore {
    async fn save(&self, snapshot: &Snapshot) -> Result<(), EngineError> {
        self.store(snapshot).await.map(drop)
    }

    async fn load(&self, stream_id: &StreamId) -> Result<Option<Snapshot>, EngineError> {
        let rows = self
            .query(
                "SELECT $1, sequence_number, state_schema_version, state
                 FROM snapshot_load($1, coalesce($2, ARRAY(
                    SELECT state_schema_version FROM snapshot_info($1))))",
                &[
                    (&self.name(stream_id), Type::TEXT),
                    (&self.recognized, Type::INT8_ARRAY),
                ],
            )
            .await?;
        rows.first().map(|row| self.snapshot(row)).transpose()
    }
}

fn sequence_number(snapshot: &Snapshot) -> Result<i64, EngineError> {
    bigint("sequence_number", snapshot.sequence_number)
}

fn bigint(number: &str, value: u64) -> Result<i64, EngineError> {
    i64::try_from(value).map_err(|_| {
        EngineError::snapshot(format!(
            "{number} {value} is out of range: PostgreSQL's bigint ends at {}",
            i64::MAX
        ))
    })
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, EngineError> {
    row.try_get(index).map_err(|e| error::of_server(&e))
}
