//! Two versions of an application take turns on one process. The figures are those of README.md.

mod common;

use common::*;
use mako_engine::{
    event_store::InMemoryEventStore,
    process::{Process, RunOptions},
    workflow::Workflow,
};
use mako_snapshot_store_postgres::PostgresSnapshotStore;
use serde::{Serialize, de::DeserializeOwned};

/// Of 200 commands, with a snapshot due every 100 events: how many snapshots were taken, and how many events
/// applied for that and to read the state after each command.
async fn in_turns(first: PostgresSnapshotStore, second: PostgresSnapshotStore) -> [u64; 2] {
    let events = InMemoryEventStore::new();
    let old = process(&events);
    let new = as_v2(&old, &events);
    let mut sums = [0, 0];

    for _ in 0..100 {
        old.run(Increment(1), RunOptions::new()).await.unwrap();
    }
    for n in 0..200 {
        let turn = if n % 2 == 0 {
            command(&old, &first).await
        } else {
            command(&new, &second).await
        };
        sums = [sums[0] + turn[0], sums[1] + turn[1]];
    }
    sums
}

async fn command<W>(
    process: &Process<W, InMemoryEventStore>,
    store: &PostgresSnapshotStore,
) -> [u64; 2]
where
    W: Workflow<Command = Increment>,
    W::State: Serialize + DeserializeOwned + PartialEq,
{
    process.run(Increment(1), RunOptions::new()).await.unwrap();
    applied();
    let taken = store.take_snapshot(process, 100).await.unwrap();
    let state = process.state_with_snapshot(store).await.unwrap();
    let sums = [taken.into(), applied()];
    assert!(state == process.state().await.unwrap());
    sums
}

async fn of_one_workflow(setting: &str) -> [u64; 2] {
    let pool = pool_with(&[setting]);
    let old = PostgresSnapshotStore::for_workflow::<Counter>(pool.clone(), "counter");
    let new = PostgresSnapshotStore::for_workflow::<CounterV2>(pool, "counter");
    in_turns(old, new).await
}

async fn of_any(setting: &str) -> [u64; 2] {
    let store = PostgresSnapshotStore::any(pool_with(&[setting]));
    in_turns(store.clone(), store).await
}

#[tokio::test]
async fn stores_of_the_workflow() {
    assert_eq!(of_one_workflow("keep_versions=1").await, [200, 40_100]);
    assert_eq!(of_one_workflow("keep_versions=2").await, [4, 10_406]);
}

#[tokio::test]
async fn one_store_of_any_version() {
    assert_eq!(of_any("keep_versions=1").await, [2, 25_302]);
    assert_eq!(of_any("keep_versions=2").await, [2, 25_302]);
}

/// As many events as without any store: those up to each command.
#[tokio::test]
async fn switched_off() {
    let expected = [0, (101..=300).sum()];
    assert_eq!(of_one_workflow("enabled=off").await, expected);
    assert_eq!(of_any("enabled=off").await, expected);
}
