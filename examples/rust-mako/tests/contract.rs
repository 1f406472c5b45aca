//! The contract of `SnapshotStore`, the engine's own tests of it among it, and what the store has beside it.

mod common;

use std::sync::Arc;

use common::*;
use mako_engine::{
    builder::EngineBuilder,
    error::EngineError,
    event_store::InMemoryEventStore,
    ids::StreamId,
    snapshot::{InMemorySnapshotStore, Snapshot, SnapshotStore},
};
use mako_snapshot_store_postgres::PostgresSnapshotStore;
use serde_json::{Value, json};

fn numbers(snapshot: Option<Snapshot>) -> Option<(u64, u32)> {
    snapshot.map(|s| (s.sequence_number, s.state_schema_version))
}

fn is_permanent(error: &EngineError, text: &str) -> bool {
    matches!(error, EngineError::Snapshot { message, transient: false } if message.contains(text))
}

#[tokio::test]
async fn a_stream_has_none_at_first() {
    for store in both(&pool()) {
        assert!(store.load(&stream()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn round_trip() {
    let states = [
        json!({"x": 1}),
        json!({"nested": {"list": [1, [2.5, -3], {}], "none": null, "yes": true}}),
        json!([]),
        json!("text"),
        json!(""),
        Value::Null,
        json!({"größe": "€ 😀 \u{0} \\ \" \n"}),
        json!([u64::MAX, i64::MIN, 1e300, 0.1]),
    ];
    for store in both(&pool()) {
        for state in &states {
            let stream = stream();
            let saved = snapshot(&stream, 5, 1, state.clone());
            store.save(&saved).await.unwrap();
            let loaded = store.load(&stream).await.unwrap().unwrap();
            assert_eq!(loaded.stream_id, stream);
            assert_eq!(loaded.state, *state);
            assert_eq!(numbers(Some(loaded)), Some((5, 1)));
        }
    }
}

#[tokio::test]
async fn overwriting_keeps_the_latest() {
    for store in both(&pool()) {
        let stream = stream();
        for sequence in [5, 10] {
            let state = json!({"seq": sequence});
            store
                .save(&snapshot(&stream, sequence, 1, state))
                .await
                .unwrap();
        }
        let loaded = store.load(&stream).await.unwrap().unwrap();
        assert_eq!(loaded.state, json!({"seq": 10}));
        assert_eq!(loaded.sequence_number, 10);
    }
}

#[tokio::test]
async fn an_older_one_is_not_stored() {
    for store in both(&pool()) {
        let stream = stream();
        assert!(
            store
                .store(&snapshot(&stream, 10, 1, value(10)))
                .await
                .unwrap()
        );
        assert!(
            !store
                .store(&snapshot(&stream, 5, 1, value(5)))
                .await
                .unwrap()
        );
        store
            .save(&snapshot(&stream, 5, 1, value(5)))
            .await
            .unwrap();
        assert_eq!(store.load(&stream).await.unwrap().unwrap().state, value(10));
        // The same event again.
        assert!(
            store
                .store(&snapshot(&stream, 10, 1, value(11)))
                .await
                .unwrap()
        );
        assert_eq!(store.load(&stream).await.unwrap().unwrap().state, value(11));
    }
}

#[tokio::test]
async fn streams_are_separate() {
    for store in both(&pool()) {
        let (one, other) = (stream(), stream());
        store
            .save(&snapshot(&one, 3, 1, Value::Null))
            .await
            .unwrap();
        assert!(store.load(&other).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn clones_and_arcs_share_the_snapshots() {
    for store in both(&pool()) {
        let stream = stream();
        let shared = Arc::new(store.clone());
        SnapshotStore::save(&shared, &snapshot(&stream, 7, 1, json!({"y": 2})))
            .await
            .unwrap();
        assert_eq!(numbers(store.load(&stream).await.unwrap()), Some((7, 1)));
        assert_eq!(numbers(shared.load(&stream).await.unwrap()), Some((7, 1)));
    }
}

/// More clones at once than there are connections, on other threads: the futures are `Send`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clones_at_once() {
    let store = PostgresSnapshotStore::any(pool());
    let stream = stream();
    let tasks: Vec<_> = (1..=32)
        .map(|n| {
            let (store, stream) = (store.clone(), stream.clone());
            tokio::spawn(async move {
                store.save(&snapshot(&stream, n, 1, value(n))).await?;
                store.load(&stream).await
            })
        })
        .collect();
    for (n, task) in (1..).zip(tasks) {
        assert!(task.await.unwrap().unwrap().unwrap().sequence_number >= n);
    }
    assert_eq!(store.load(&stream).await.unwrap().unwrap().state, value(32));
}

/// A load of one workflow's store returns none of another version; what `any` loads has its version with it.
#[tokio::test]
async fn an_unrecognized_version_is_never_loaded() {
    let pool = pool();
    let stream = stream();
    let [any, first] = both(&pool);
    let second = PostgresSnapshotStore::for_workflow::<CounterV2>(pool, "counter");

    for store in [&any, &first] {
        store
            .save(&snapshot(&stream, 2, 99, value(9999)))
            .await
            .unwrap();
    }
    assert!(first.load(&stream).await.unwrap().is_none());
    assert!(second.load(&stream).await.unwrap().is_none());
    assert!(
        first
            .load_many(std::slice::from_ref(&stream))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(numbers(any.load(&stream).await.unwrap()), Some((2, 99)));

    second
        .save(&snapshot(&stream, 3, 2, json!({"sum": 3})))
        .await
        .unwrap();
    assert!(first.load(&stream).await.unwrap().is_none());
    assert_eq!(numbers(second.load(&stream).await.unwrap()), Some((3, 2)));
}

/// As in the engine's own store, the one that was saved last, of whatever version.
#[tokio::test]
async fn any_loads_what_was_saved_last() {
    let store = PostgresSnapshotStore::any(pool());
    let own = InMemorySnapshotStore::new();
    let stream = stream();
    for (sequence, version) in [(5, 2), (8, 1), (8, 2), (7, 3)] {
        let saved = snapshot(&stream, sequence, version, value(sequence));
        store.save(&saved).await.unwrap();
        own.save(&saved).await.unwrap();
        let loaded = numbers(store.load(&stream).await.unwrap());
        assert_eq!(loaded, Some((sequence, version)));
        assert_eq!(loaded, numbers(own.load(&stream).await.unwrap()));
    }
}

#[tokio::test]
async fn numbers_up_to_the_largest() {
    for store in both(&pool()) {
        let stream = stream();
        let largest = i64::MAX as u64;
        store
            .save(&snapshot(&stream, largest, 1, value(1)))
            .await
            .unwrap();
        assert_eq!(
            numbers(store.load(&stream).await.unwrap()),
            Some((largest, 1))
        );

        let beyond = snapshot(&stream, largest + 1, 1, value(2));
        let said = "sequence_number 9223372036854775808 is out of range";
        for error in [
            store.save(&beyond).await.unwrap_err(),
            store.save_many(&[beyond]).await.unwrap_err(),
        ] {
            assert!(is_permanent(&error, said), "{error:?}");
        }
        assert_eq!(
            numbers(store.load(&stream).await.unwrap()),
            Some((largest, 1))
        );
    }
    let any = PostgresSnapshotStore::any(pool());
    for version in [0, u32::MAX] {
        let stream = stream();
        any.save(&snapshot(&stream, 0, version, value(1)))
            .await
            .unwrap();
        assert_eq!(
            numbers(any.load(&stream).await.unwrap()),
            Some((0, version))
        );
    }
}

#[tokio::test]
async fn many_at_once() {
    for store in both(&pool()) {
        let streams: Vec<StreamId> = (0..10).map(|_| stream()).collect();
        store
            .save(&snapshot(&streams[3], 100, 1, value(0)))
            .await
            .unwrap();
        let saved: Vec<_> = (1..)
            .zip(&streams[..9])
            .map(|(n, s)| snapshot(s, n, 1, value(n)))
            .collect();
        let stored = store.save_many(&saved).await.unwrap();
        let expected: Vec<bool> = (0..9).map(|n| n != 3).collect();
        assert_eq!(stored, expected);

        // In the order of the question, the last without one.
        let question: Vec<StreamId> = streams.iter().rev().cloned().collect();
        let answer = store.load_many(&question).await.unwrap();
        assert_eq!(answer.len(), 9);
        for (loaded, stream) in answer.iter().zip(&question[1..]) {
            let alone = store.load(stream).await.unwrap().unwrap();
            assert_eq!(&loaded.stream_id, stream);
            assert_eq!(loaded.state, alone.state);
            assert_eq!(numbers(Some(loaded.clone())), numbers(Some(alone)));
        }
        assert_eq!(answer[5].sequence_number, 100);

        assert!(store.save_many(&[]).await.unwrap().is_empty());
        assert!(store.load_many(&[]).await.unwrap().is_empty());
    }
}

/// With whatever version each of the streams has.
#[tokio::test]
async fn many_of_any_version() {
    let store = PostgresSnapshotStore::any(pool());
    let streams = [stream(), stream(), stream()];
    let saved: Vec<_> = (1..)
        .zip(&streams)
        .map(|(n, s)| snapshot(s, 1, n, value(1)))
        .collect();
    assert_eq!(store.save_many(&saved).await.unwrap(), [true; 3]);
    let loaded = store.load_many(&streams).await.unwrap();
    let versions: Vec<u32> = loaded.iter().map(|s| s.state_schema_version).collect();
    assert_eq!(versions, [1, 2, 3]);
}

#[tokio::test]
async fn a_batch_is_saved_whole_or_not_at_all() {
    let store = PostgresSnapshotStore::any(pool());
    let (one, other) = (stream(), stream());
    let saved = [&one, &other, &one].map(|s| snapshot(s, 1, 1, value(1)));
    let error = store.save_many(&saved).await.unwrap_err();
    assert!(
        is_permanent(&error, "occurs more than once in a batch"),
        "{error:?}"
    );
    assert!(store.load_many(&[one, other]).await.unwrap().is_empty());
}

/// The kind is the beginning of the name in the table, and what upkeep by prefix goes by.
#[tokio::test]
async fn workflows_of_different_kinds_have_streams_of_their_own() {
    let pool = pool();
    let stream = stream();
    let kind = format!("kind-{}", stream.as_str().rsplit('/').next().unwrap());
    let store = PostgresSnapshotStore::for_workflow::<Counter>(pool.clone(), &kind);
    let other = PostgresSnapshotStore::for_workflow::<Counter>(pool.clone(), "other");
    store
        .save(&snapshot(&stream, 4, 1, value(4)))
        .await
        .unwrap();
    assert!(other.load(&stream).await.unwrap().is_none());
    assert!(
        PostgresSnapshotStore::any(pool.clone())
            .load(&stream)
            .await
            .unwrap()
            .is_none()
    );

    let names = pool.get().await.unwrap();
    let names = names
        .query_typed(
            "SELECT s.stream_id, c.streams FROM snapshot_store AS s, snapshot_census($1) AS c
             WHERE s.stream_id ^@ $1",
            &[(&format!("{kind}/"), tokio_postgres::types::Type::TEXT)],
        )
        .await
        .unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].get::<_, String>(0), format!("{kind}/{stream}"));
    assert_eq!(names[0].get::<_, i64>(1), 1);
}

#[test]
fn a_kind_is_part_of_a_name() {
    for kind in ["", "a/b", "a\0"] {
        let made = std::panic::catch_unwind(|| {
            PostgresSnapshotStore::for_workflow::<Counter>(pool(), kind)
        });
        assert!(made.is_err(), "{kind:?}");
    }
}

#[tokio::test]
async fn the_engine_is_built_with_it() {
    let engine = EngineBuilder::new()
        .with_event_store(InMemoryEventStore::new())
        .with_snapshot_store(PostgresSnapshotStore::any(pool()))
        .build();
    assert!(
        engine
            .snapshot_store()
            .load(&stream())
            .await
            .unwrap()
            .is_none()
    );
}
