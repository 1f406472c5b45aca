//! Errors are `EngineError::Snapshot`, and transient where the documented table of errors says "repeat".

mod common;

use std::time::Duration;

use common::*;
use deadpool_postgres::{Manager, Pool, Runtime, Timeouts};
use mako_engine::{error::EngineError, ids::StreamId, snapshot::SnapshotStore};
use mako_snapshot_store_postgres::PostgresSnapshotStore;
use tokio_postgres::{Config, NoTls};

/// A database of this test alone, with the extension.
async fn database(name: &str) -> Config {
    let pool = pool();
    let client = pool.get().await.unwrap();
    for statement in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
        client
            .batch_execute(&format!("{statement} {name}"))
            .await
            .unwrap();
    }
    let config = config().dbname(name).clone();
    execute(&config, "CREATE EXTENSION snapshot_store").await;
    config
}

async fn execute(config: &Config, statements: &str) {
    let pool = pool_of(config.clone());
    pool.get()
        .await
        .unwrap()
        .batch_execute(statements)
        .await
        .unwrap();
}

fn store(config: &Config) -> PostgresSnapshotStore {
    PostgresSnapshotStore::any(pool_of(config.clone()))
}

async fn save(store: &PostgresSnapshotStore, name: &str) -> Result<(), EngineError> {
    store
        .save(&snapshot(&StreamId::new(name), 1, 1, value(1)))
        .await
}

#[track_caller]
fn check<T: std::fmt::Debug>(result: Result<T, EngineError>, text: &str, is_transient: bool) {
    match result {
        Err(EngineError::Snapshot { message, transient }) => {
            assert!(message.contains(text), "{message}");
            assert_eq!(transient, is_transient, "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// Every SQLSTATE of the table, and what a server may say beside it. A trigger raises them.
#[tokio::test]
async fn by_sqlstate() {
    let config = database("mako_errors").await;
    execute(
        &config,
        "CREATE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             RAISE EXCEPTION USING ERRCODE = split_part(NEW.stream_id, ' ', 1), MESSAGE = 'raised',
                 CONSTRAINT = split_part(NEW.stream_id, ' ', 2);
         END $$;
         CREATE TRIGGER raise_it BEFORE INSERT ON snapshot_store FOR EACH ROW EXECUTE FUNCTION raise_it()",
    )
    .await;
    let store = store(&config);
    let to_repeat =
        "40001 40P01 55P03 57014 57P01 57P02 57P03 57P05 25P03 25P04 08006 08P01 53100 53200 53300";
    let others =
        "22004 22023 54000 54001 22003 22008 2202E 21000 22P02 22P05 42883 42804 25006 42501 42P10
        55000 XX001 27000 42P01 23505 2D000 42601 57P04 XX000 P0001 40002";
    for (states, is_transient) in [(to_repeat, true), (others, false)] {
        for state in states.split_whitespace() {
            check(
                save(&store, state).await,
                &format!("raised (SQLSTATE {state})"),
                is_transient,
            );
        }
    }
    for (constraint, is_transient) in [
        ("snapshot_store_pkey_ccnew", true),
        ("snapshot_store_pkey_ccold1", true),
        ("snapshot_store_pkey", false),
    ] {
        check(
            save(&store, &format!("23505 {constraint}")).await,
            "raised",
            is_transient,
        );
    }
}

/// Some of them as they come about.
#[tokio::test]
async fn as_they_come_about() {
    let config = database("mako_refusals").await;
    let store = store(&config);
    check(
        save(&store, &"x".repeat(2001)).await,
        "stream_id is too long (SQLSTATE 54000): It has 2001 bytes",
        false,
    );
    execute(
        &config,
        "SELECT snapshot_save_bytea('bytes', 1, 1, '\\x00')",
    )
    .await;
    check(store.load(&StreamId::new("bytes")).await, "42804", false);
    check(
        store.load_many(&[StreamId::new("bytes")]).await,
        "42804",
        false,
    );

    // What an unavailable row or a time-out is to this save, it is not to the next.
    let pool = pool_of(config.clone());
    let mut holder = pool.get().await.unwrap();
    save(&store, "locked").await.unwrap();
    let transaction = holder.transaction().await.unwrap();
    transaction
        .batch_execute("SELECT FROM snapshot_store WHERE stream_id = 'locked' FOR UPDATE")
        .await
        .unwrap();
    for (setting, state) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        let impatient = PostgresSnapshotStore::any(pool_of(
            config.clone().options(format!("-c {setting}=50")).clone(),
        ));
        check(save(&impatient, "locked").await, state, true);
    }
    drop(transaction);

    let reading = PostgresSnapshotStore::any(pool_of(
        config
            .clone()
            .options("-c default_transaction_read_only=on")
            .clone(),
    ));
    check(save(&reading, "read").await, "25006", false);
    execute(&config, "ALTER TABLE snapshot_store SET UNLOGGED").await;
    check(save(&store, "unlogged").await, "55000", false);
    execute(&config, "DROP EXTENSION snapshot_store").await;
    check(save(&store, "dropped").await, "42883", false);
}

/// A session whose library is older than the extension is given up; the next call has a new one.
#[tokio::test]
async fn a_session_with_another_library() {
    let config = database("mako_versions").await;
    let pool = pool_of(config.clone());
    let store = PostgresSnapshotStore::any(pool.clone());
    save(&store, "one").await.unwrap();
    let pid = async || {
        let client = pool.get().await.unwrap();
        client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap()
            .get::<_, i32>(0)
    };
    let first = pid().await;
    check(save(&store, &"x".repeat(2001)).await, "54000", false);
    assert_eq!(
        pid().await,
        first,
        "an error of the call leaves the session alone"
    );

    execute(
        &config,
        "UPDATE pg_extension SET extversion = '2.0' WHERE extname = 'snapshot_store';
         ALTER TABLE snapshot_store SET (fillfactor = 65)",
    )
    .await;
    check(save(&store, "one").await, "does not know version", true);
    assert_ne!(pid().await, first);
    execute(
        &config,
        "UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'snapshot_store';
         ALTER TABLE snapshot_store SET (fillfactor = 65)",
    )
    .await;
    save(&store, "one").await.unwrap();

    let second = pid().await;
    execute(
        &config,
        "UPDATE pg_proc SET prosrc = 'snapshot_save_of_tomorrow' WHERE proname = 'snapshot_save'",
    )
    .await;
    check(save(&store, "one").await, "could not find function", true);
    assert_ne!(pid().await, second);
}

#[tokio::test]
async fn without_a_server_or_a_connection() {
    let mut nowhere = Config::new();
    nowhere.host("/nonexistent").user("nobody");
    check(save(&store(&nowhere), "one").await, "connect", true);
    check(
        save(&store(config().dbname("nonexistent")), "one").await,
        "3D000",
        false,
    );

    let impatient = Timeouts {
        wait: Some(Duration::from_millis(50)),
        ..Timeouts::default()
    };
    let pool = Pool::builder(Manager::new(config(), NoTls))
        .max_size(1)
        .timeouts(impatient)
        .runtime(Runtime::Tokio1)
        .build()
        .unwrap();
    let store = PostgresSnapshotStore::any(pool.clone());
    let held = pool.get().await.unwrap();
    check(save(&store, "one").await, "waiting for a slot", true);
    drop(held);
    pool.close();
    check(save(&store, "one").await, "closed", false);
}

/// The session ends while a save waits.
#[tokio::test]
async fn the_session_is_ended() {
    let config = database("mako_ended").await;
    let (pool, waiting) = (pool_of(config.clone()), store(&config));
    let mut holder = pool.get().await.unwrap();
    save(&waiting, "ended").await.unwrap();
    let transaction = holder.transaction().await.unwrap();
    transaction
        .batch_execute("SELECT FROM snapshot_store FOR UPDATE")
        .await
        .unwrap();
    let (saved, ()) = tokio::join!(save(&waiting, "ended"), async {
        let client = pool.get().await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while client.query(end, &[]).await.unwrap().is_empty() {}
    });
    check(saved, "57P01", true);
    drop(transaction);
    // The pool may not have noticed yet.
    repeat(async || save(&waiting, "ended").await).await;
}
