//! The engine's `Process` with its snapshots in the store, the engine's own tests of that among it.

mod common;

use common::*;
use mako_engine::{
    event_store::{EventStore, InMemoryEventStore},
    ids::StreamId,
    migration::{MigrationRunner, StateMigration},
    process::{Process, RunOptions},
    snapshot::{InMemorySnapshotStore, NoopSnapshotStore, SnapshotStore},
    store_slatedb::SlateDbStore,
    version::WorkflowId,
};
use mako_snapshot_store_postgres::PostgresSnapshotStore;
use serde_json::json;

type Counting = Process<Counter, InMemoryEventStore>;

async fn run(process: &Counting, times: u64) {
    for _ in 0..times {
        process.run(Increment(1), RunOptions::new()).await.unwrap();
    }
}

async fn numbers(store: &PostgresSnapshotStore, stream: &StreamId) -> Option<(u64, u32)> {
    let loaded = store.load(stream).await.unwrap();
    loaded.map(|s| (s.sequence_number, s.state_schema_version))
}

/// Of the process, the tail alone is replayed, by another process too.
#[tokio::test]
async fn take_reload_and_replay_the_tail() {
    for store in both(&pool()) {
        let events = InMemoryEventStore::new();
        let p = process(&events);
        run(&p, 3).await;
        assert!(
            !p.take_snapshot(&store, 4).await.unwrap(),
            "3 events are below the interval"
        );
        assert_eq!(numbers(&store, p.stream_id()).await, None);
        run(&p, 1).await;
        assert!(p.take_snapshot(&store, 4).await.unwrap());
        assert_eq!(numbers(&store, p.stream_id()).await, Some((4, 1)));
        run(&p, 2).await;

        let [any, own] = both(&pool());
        let reopened = if numbers(&any, p.stream_id()).await.is_some() {
            any
        } else {
            own
        };
        let again = Counting::from_identity(events.clone(), p.identity());
        applied();
        assert_eq!(again.state_with_snapshot(&reopened).await.unwrap().value, 6);
        assert_eq!(applied(), 2, "the events after the snapshot");
        assert_eq!(again.state().await.unwrap().value, 6);
        assert_eq!(applied(), 6, "all of them");

        // Due again, an interval after the last one.
        run(&p, 1).await;
        assert!(!p.take_snapshot(&store, 4).await.unwrap());
        run(&p, 1).await;
        assert!(p.take_snapshot(&store, 4).await.unwrap());
        assert_eq!(numbers(&store, p.stream_id()).await, Some((8, 1)));
        assert!(!p.take_snapshot(&store, 0).await.unwrap(), "never");
    }
}

#[tokio::test]
async fn run_takes_the_snapshot_it_is_asked_for() {
    for store in both(&pool()) {
        let p = process(&InMemoryEventStore::new());
        let mut taken = Vec::new();
        for _ in 0..4 {
            let options = RunOptions::new().snapshot(&store, 2);
            taken.push(p.run(Increment(1), options).await.unwrap().snapshot_taken);
        }
        assert_eq!(taken, [false, true, false, true]);
        assert_eq!(p.state_with_snapshot(&store).await.unwrap().value, 4);
    }
}

#[tokio::test]
async fn a_stale_version_falls_back_to_full_replay() {
    for store in both(&pool()) {
        let p = process(&InMemoryEventStore::new());
        p.run(Increment(5), RunOptions::new()).await.unwrap();
        p.run(Increment(3), RunOptions::new()).await.unwrap();
        store
            .save(&snapshot(p.stream_id(), 2, 99, value(9999)))
            .await
            .unwrap();
        applied();
        assert_eq!(p.state_with_snapshot(&store).await.unwrap().value, 8);
        assert_eq!(applied(), 2);
    }
}

/// The version is raised: a full replay, a snapshot that is due again, and then the tail alone.
#[tokio::test]
async fn the_version_is_raised() {
    let pool = pool();
    let events = InMemoryEventStore::new();
    let p = process(&events);
    let store = PostgresSnapshotStore::for_workflow::<Counter>(pool.clone(), "counter");
    run(&p, 10).await;
    assert!(p.take_snapshot(&store, 10).await.unwrap());

    let p = as_v2(&p, &events);
    let raised = PostgresSnapshotStore::for_workflow::<CounterV2>(pool, "counter");
    applied();
    assert_eq!(p.state_with_snapshot(&raised).await.unwrap().sum, 10);
    assert_eq!(applied(), 10);
    assert!(p.take_snapshot(&raised, 10).await.unwrap(), "due again");
    assert_eq!(numbers(&raised, p.stream_id()).await, Some((10, 2)));
    p.run(Increment(1), RunOptions::new()).await.unwrap();
    applied();
    assert_eq!(p.state_with_snapshot(&raised).await.unwrap().sum, 11);
    assert_eq!(applied(), 1);
}

// ---- take_snapshot of the store ---------------------------------------------------------

#[tokio::test]
async fn the_store_takes_the_same_snapshots_as_the_engine() {
    for store in both(&pool()) {
        let events = InMemoryEventStore::new();
        let (ours, theirs) = (process(&events), process(&events));
        let mut taken = Vec::new();
        for n in 1..=12 {
            run(&ours, 1).await;
            run(&theirs, 1).await;
            let took = store.take_snapshot(&ours, 5).await.unwrap();
            assert_eq!(took, theirs.take_snapshot(&store, 5).await.unwrap());
            assert_eq!(
                numbers(&store, ours.stream_id()).await,
                numbers(&store, theirs.stream_id()).await
            );
            if took {
                taken.push(n);
            }
        }
        assert_eq!(taken, [5, 10]);
        assert!(!store.take_snapshot(&ours, 0).await.unwrap(), "never");
    }
}

/// Switched off, the store costs no event more than no store does; the engine's way costs all of them after
/// every command, as with its own store that keeps nothing.
#[tokio::test]
async fn switched_off() {
    let events = InMemoryEventStore::new();
    let without = process(&events);
    run(&without, 10).await;
    applied();
    run(&without, 20).await;
    without.state().await.unwrap();
    let expected = applied();

    for (on, off) in both(&pool()).iter().zip(both(&pool_with(&["enabled=off"]))) {
        let p = process(&events);
        run(&p, 10).await;
        assert!(on.take_snapshot(&p, 10).await.unwrap());
        applied();
        for _ in 0..20 {
            run(&p, 1).await;
            assert!(!off.take_snapshot(&p, 10).await.unwrap());
        }
        assert_eq!(p.state_with_snapshot(&off).await.unwrap().value, 30);
        assert_eq!(applied(), expected);

        assert!(off.load(p.stream_id()).await.unwrap().is_none());
        assert!(
            off.load_many(&[p.stream_id().clone()])
                .await
                .unwrap()
                .is_empty()
        );
        let later = snapshot(p.stream_id(), 30, 1, value(30));
        off.save(&later).await.unwrap();
        assert!(!off.store(&later).await.unwrap());
        assert_eq!(off.save_many(&[later]).await.unwrap(), [false]);
        assert_eq!(numbers(on, p.stream_id()).await, Some((10, 1)));

        let mut applied_by_engine = [0; 2];
        applied();
        p.take_snapshot(&off, 10).await.unwrap();
        applied_by_engine[0] = applied();
        p.take_snapshot(&NoopSnapshotStore, 10).await.unwrap();
        applied_by_engine[1] = applied();
        assert_eq!(applied_by_engine, [30, 30]);
    }
}

/// Events that are appended between the count and the state would be applied twice.
#[tokio::test]
async fn none_is_taken_while_the_stream_grows() {
    let store = PostgresSnapshotStore::any(pool());
    let events = InMemoryEventStore::new();
    let p = process(&events);
    run(&p, 4).await;
    let growing = Process::<Counter, _>::from_identity(Growing(events, p.clone()), p.identity());

    assert!(!store.take_snapshot(&growing, 4).await.unwrap());
    assert_eq!(numbers(&store, p.stream_id()).await, None);
    assert_eq!(p.event_count().await.unwrap(), 5);

    // What the engine's own way makes of it.
    assert!(growing.take_snapshot(&store, 4).await.unwrap());
    assert_eq!(p.event_count().await.unwrap(), 6);
    assert_eq!(p.state_with_snapshot(&store).await.unwrap().value, 7);
}

/// A command of somebody else comes before each replay.
struct Growing(InMemoryEventStore, Counting);

impl EventStore for Growing {
    async fn load(&self, id: &StreamId) -> mako::Result<Vec<mako::Envelope>> {
        self.0.load(id).await
    }

    async fn load_from(&self, id: &StreamId, from: u64) -> mako::Result<Vec<mako::Envelope>> {
        self.0.load_from(id, from).await
    }

    async fn stream_version(&self, id: &StreamId) -> mako::Result<u64> {
        self.0.stream_version(id).await
    }

    async fn list_streams(&self, prefix: Option<&str>) -> mako::Result<Vec<StreamId>> {
        self.0.list_streams(prefix).await
    }

    async fn fold_stream<T: Send, F>(
        &self,
        id: &StreamId,
        from: u64,
        initial: T,
        f: F,
    ) -> mako::Result<T>
    where
        F: FnMut(T, mako::Envelope) -> mako::Result<T> + Send,
    {
        run(&self.1, 1).await;
        self.0.fold_stream(id, from, initial, f).await
    }
}

mod mako {
    pub type Result<T> = std::result::Result<T, mako_engine::error::EngineError>;
    pub type Envelope = mako_engine::envelope::EventEnvelope;
}

// ---- migration --------------------------------------------------------------------------

struct ToV2([WorkflowId; 2]);

impl ToV2 {
    fn new() -> Self {
        Self(["FV2024-10-01", "FV2025-04-01"].map(|version| WorkflowId::new("counter", version)))
    }
}

impl StateMigration for ToV2 {
    type FromWorkflow = Counter;
    type ToWorkflow = CounterV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.0[0]
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.0[1]
    }

    fn migrate(&self, state: State) -> Result<StateV2, String> {
        Ok(StateV2 {
            sum: state.value,
            label: "migrated".into(),
        })
    }
}

#[tokio::test]
async fn the_engines_migration() {
    let pool = pool();
    for (from, to) in [
        (
            PostgresSnapshotStore::any(pool.clone()),
            PostgresSnapshotStore::any(pool.clone()),
        ),
        (
            PostgresSnapshotStore::for_workflow::<Counter>(pool.clone(), "counter"),
            PostgresSnapshotStore::for_workflow::<CounterV2>(pool.clone(), "counter"),
        ),
    ] {
        let events = InMemoryEventStore::new();
        let (one, other) = (process(&events), process(&events));
        run(&one, 3).await;
        run(&other, 5).await;
        assert!(one.take_snapshot(&from, 3).await.unwrap());
        let elsewhere = WorkflowId::new("other", "FV2024-10-01");
        let elsewhere = Process::<Counter, _>::new(events.clone(), one.tenant_id(), elsewhere);
        elsewhere
            .run(Increment(1), RunOptions::new())
            .await
            .unwrap();

        let report = MigrationRunner::new(ToV2::new(), events.clone(), to.clone())
            .run()
            .await;
        assert!(report.is_ok(), "{:?}", report.errors);
        assert_eq!((report.migrated, report.skipped), (2, 1));

        applied();
        for (p, sum) in [(&one, 3), (&other, 5)] {
            assert_eq!(numbers(&to, p.stream_id()).await, Some((sum, 2)));
            let state = as_v2(p, &events).state_with_snapshot(&to).await.unwrap();
            assert_eq!(
                state,
                StateV2 {
                    sum,
                    label: "migrated".into()
                }
            );
        }
        assert_eq!(applied(), 0, "no event is replayed");
        assert_eq!(one.state_with_snapshot(&from).await.unwrap().value, 3);
        assert_eq!(numbers(&to, elsewhere.stream_id()).await, None);
    }
}

/// The same in batches, from the snapshots that there are instead of from all events.
#[tokio::test]
async fn a_migration_in_batches() {
    let pool = pool();
    let from = PostgresSnapshotStore::for_workflow::<Counter>(pool.clone(), "counter");
    let to = PostgresSnapshotStore::for_workflow::<CounterV2>(pool, "counter");
    let events = InMemoryEventStore::new();
    let processes: Vec<Counting> = (0..7).map(|_| process(&events)).collect();
    for p in &processes {
        run(p, 2).await;
        assert!(p.take_snapshot(&from, 2).await.unwrap());
        run(p, 1).await;
    }

    let streams = events.list_streams(Some("process/")).await.unwrap();
    for batch in streams.chunks(3) {
        let mut snapshots = from.load_many(batch).await.unwrap();
        for snapshot in &mut snapshots {
            let state = serde_json::from_value(snapshot.state.take()).unwrap();
            snapshot.state = json!(ToV2::new().migrate(state).unwrap());
            snapshot.state_schema_version = 2;
        }
        let stored = to.save_many(&snapshots).await.unwrap();
        assert_eq!(stored, vec![true; batch.len()]);
    }

    applied();
    for p in &processes {
        let state = as_v2(p, &events).state_with_snapshot(&to).await.unwrap();
        assert_eq!(
            state,
            StateV2 {
                sum: 3,
                label: "migrated".into()
            }
        );
    }
    assert_eq!(applied(), 7, "one event each");
}

/// From the engine's own stores, with more streams than are in a batch; again; and from one kind to another.
#[tokio::test]
async fn moving_from_the_engines_own_stores() {
    let in_memory = InMemorySnapshotStore::new();
    let slatedb = SlateDbStore::open_in_memory()
        .await
        .unwrap()
        .as_snapshot_store();
    let streams: Vec<StreamId> = (0..230).map(|_| stream()).collect();
    // The last 20 have none; the 10 before, of a version that came before. SlateDB waits for a flush each.
    let mut saves = tokio::task::JoinSet::new();
    for (n, stream) in (1..=210).zip(&streams) {
        let saved = snapshot(stream, n, u32::from(n <= 200), value(n));
        in_memory.save(&saved).await.unwrap();
        let slatedb = slatedb.clone();
        saves.spawn(async move { slatedb.save(&saved).await.unwrap() });
    }
    saves.join_all().await;

    let pool = pool();
    let any = PostgresSnapshotStore::any(pool.clone());
    assert_eq!(any.copy_from(&in_memory, &streams).await.unwrap(), 210);
    assert_eq!(
        any.copy_from(&in_memory, &streams).await.unwrap(),
        210,
        "again"
    );
    let loaded = any.load_many(&streams).await.unwrap();
    assert_eq!(loaded.len(), 210);
    for snapshot in loaded {
        let own = in_memory.load(&snapshot.stream_id).await.unwrap().unwrap();
        assert_eq!(json!(snapshot), json!(own));
    }

    // Those of its version alone; and what is newer stays.
    for (kind, from_any) in [("from-slatedb", false), ("from-any", true)] {
        let store = PostgresSnapshotStore::for_workflow::<Counter>(pool.clone(), kind);
        store
            .save(&snapshot(&streams[0], 1000, 1, value(1000)))
            .await
            .unwrap();
        let copied = if from_any {
            store.copy_from(&any, &streams).await
        } else {
            store.copy_from(&slatedb, &streams).await
        };
        assert_eq!(copied.unwrap(), 199);
        let loaded = store.load_many(&streams).await.unwrap();
        assert_eq!(loaded.len(), 200);
        for (n, snapshot) in (1..).zip(loaded) {
            assert_eq!(snapshot.stream_id, streams[n as usize - 1]);
            assert_eq!(snapshot.state, value(if n == 1 { 1000 } else { n }));
        }
    }
}
