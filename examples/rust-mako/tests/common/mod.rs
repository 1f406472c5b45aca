//! What the tests share: connections, and a workflow in two versions.
#![allow(
    dead_code,
    reason = "each test is a crate of its own, and none uses all of it"
)]

use std::{cell::Cell, time::Duration};

use deadpool_postgres::{Manager, Pool};
use mako_engine::{
    error::{EngineError, WorkflowError},
    event_store::InMemoryEventStore,
    ids::{ProcessId, StreamId, TenantId},
    process::Process,
    snapshot::Snapshot,
    version::WorkflowId,
    workflow::{CommandPayload, EventPayload, Workflow, WorkflowOutput},
};
use mako_snapshot_store_postgres::PostgresSnapshotStore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::{Config, NoTls};

/// Of a database that has the extension.
pub fn config() -> Config {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL is set");
    url.parse().expect("DATABASE_URL is valid")
}

pub fn pool_of(config: Config) -> Pool {
    Pool::builder(Manager::new(config, NoTls))
        .max_size(4)
        .build()
        .unwrap()
}

pub fn pool() -> Pool {
    pool_of(config())
}

/// With settings such as `keep=2`.
pub fn pool_with(settings: &[&str]) -> Pool {
    let settings = settings.iter().map(|s| format!("-c snapshot_store.{s} "));
    pool_of(config().options(settings.collect::<String>()).clone())
}

/// A store of either kind.
pub fn both(pool: &Pool) -> [PostgresSnapshotStore; 2] {
    [
        PostgresSnapshotStore::any(pool.clone()),
        PostgresSnapshotStore::for_workflow::<Counter>(pool.clone(), "counter"),
    ]
}

/// A stream that no other test has.
pub fn stream() -> StreamId {
    StreamId::for_process(TenantId::new(), &ProcessId::new())
}

pub fn snapshot(stream: &StreamId, sequence: u64, version: u32, state: Value) -> Snapshot {
    Snapshot::new(stream.clone(), sequence, version, state)
}

/// Does it again while the error is transient, as the engine's callers do.
pub async fn repeat<T>(mut call: impl AsyncFnMut() -> Result<T, EngineError>) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

thread_local! {
    static APPLIED: Cell<u64> = const { Cell::new(0) };
}

/// How many events this test has applied since it was last asked.
pub fn applied() -> u64 {
    APPLIED.take()
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    Incremented { by: u64 },
}

impl EventPayload for Event {
    fn event_type(&self) -> &'static str {
        "Incremented"
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Increment(pub u64);

impl CommandPayload for Increment {}

/// Its first version.
#[derive(Debug)]
pub struct Counter;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub value: u64,
}

/// Its second version, with a state of another form.
#[derive(Debug)]
pub struct CounterV2;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateV2 {
    pub sum: u64,
    pub label: String,
}

fn increment(Increment(by): Increment) -> WorkflowOutput<Event> {
    vec![Event::Incremented { by }].into()
}

impl Workflow for Counter {
    type State = State;
    type Event = Event;
    type Command = Increment;

    fn apply(state: State, Event::Incremented { by }: &Event) -> State {
        APPLIED.set(APPLIED.get() + 1);
        State {
            value: state.value + by,
        }
    }

    fn handle(_: &State, command: Increment) -> Result<WorkflowOutput<Event>, WorkflowError> {
        Ok(increment(command))
    }
}

impl Workflow for CounterV2 {
    type State = StateV2;
    type Event = Event;
    type Command = Increment;

    fn apply(state: StateV2, Event::Incremented { by }: &Event) -> StateV2 {
        APPLIED.set(APPLIED.get() + 1);
        StateV2 {
            sum: state.sum + by,
            ..state
        }
    }

    fn handle(_: &StateV2, command: Increment) -> Result<WorkflowOutput<Event>, WorkflowError> {
        Ok(increment(command))
    }

    fn state_schema_version() -> u32 {
        2
    }
}

pub fn process(events: &InMemoryEventStore) -> Process<Counter, InMemoryEventStore> {
    let workflow = WorkflowId::new("counter", "FV2024-10-01");
    Process::new(events.clone(), TenantId::new(), workflow)
}

/// The same process, to the second version of the workflow.
pub fn as_v2(
    process: &Process<Counter, InMemoryEventStore>,
    events: &InMemoryEventStore,
) -> Process<CounterV2, InMemoryEventStore> {
    Process::from_identity(events.clone(), process.identity())
}

pub fn value(value: u64) -> Value {
    json!({ "value": value })
}
