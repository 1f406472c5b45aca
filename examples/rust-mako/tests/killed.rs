//! A server that is killed between save and load, and while it saves.

mod common;

use std::fs;

use common::*;
use mako_engine::{ids::StreamId, snapshot::SnapshotStore};
use mako_snapshot_store_postgres::PostgresSnapshotStore;

/// Whoever reads from the FIFO kills the server, with all of its processes, and starts it again.
async fn kill() {
    let fifo = std::env::var("KILL_FIFO").expect("KILL_FIFO is set");
    tokio::task::spawn_blocking(|| fs::write(fifo, "kill\n").unwrap())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "kills the server: needs KILL_FIFO"]
async fn what_was_saved_is_loaded() {
    // Left to itself, this session would not wait for the flush.
    let pool = pool_of(config().options("-c synchronous_commit=off").clone());
    let store = PostgresSnapshotStore::for_workflow::<Counter>(pool, "killed");
    let streams: Vec<StreamId> = (0..100).map(|_| stream()).collect();
    let batch: Vec<_> = streams[50..]
        .iter()
        .map(|s| snapshot(s, 7, 1, value(7)))
        .collect();

    for round in 1..=3 {
        // One saves on and on, and knows the last that was Ok.
        let saving = tokio::spawn({
            let (store, stream) = (store.clone(), streams[0].clone());
            async move {
                let mut n = round * 1_000_000;
                loop {
                    match store.save(&snapshot(&stream, n, 1, value(n))).await {
                        Ok(()) => n += 1,
                        Err(error) if error.is_transient() => return n - 1,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        });
        for stream in &streams[1..50] {
            store
                .save(&snapshot(stream, round, 1, value(round)))
                .await
                .unwrap();
        }
        store.save_many(&batch).await.unwrap();
        kill().await;

        let saved = saving.await.unwrap();
        let loaded = repeat(async || store.load_many(&streams).await).await;
        assert_eq!(loaded.len(), 100);
        // The next may have been saved, too, with the server gone before it could say so.
        assert!((saved..=saved + 1).contains(&loaded[0].sequence_number));
        assert!(loaded[1..50].iter().all(|s| s.state == value(round)));
        assert!(loaded[50..].iter().all(|s| s.state == value(7)));
    }
}
