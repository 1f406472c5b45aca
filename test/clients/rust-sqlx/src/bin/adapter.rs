//! Runs the store and the account as the lines on standard input say.

use std::any::type_name;
use std::env;
use std::error::Error;
use std::io::{self, BufRead};

use account::account::Account;
use account::store::{self, Database, Snapshot, SnapshotStore};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sqlx::postgres::{PgDatabaseError, PgPoolOptions};
use sqlx::types::Json;
use sqlx::{Either, Executor, Row, SqlSafeStr, Statement, TypeInfo};

type Reply = Result<Value, Box<dyn Error>>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Request {
    op: String,
    name: String,
    #[serde(flatten)]
    snapshot: Fields,
    streams: Vec<String>,
    versions: Vec<String>,
    snapshots: Vec<Fields>,
    amounts: Vec<i64>,
    interval: i64,
    again: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields {
    stream: String,
    sequence: String,
    version: String,
    state: String,
}

impl Fields {
    fn with<State>(&self, state: State) -> Result<Snapshot<State>, Box<dyn Error>> {
        Ok(Snapshot {
            sequence_number: self.sequence.parse()?,
            state_schema_version: self.version.parse()?,
            state,
        })
    }

    fn snapshot(&self) -> Result<Snapshot, Box<dyn Error>> {
        self.with(self.state.clone())
    }
}

fn format<State>(snapshot: Snapshot<State>, state: impl Fn(State) -> String) -> Value {
    json!({
        "sequence": snapshot.sequence_number.to_string(),
        "version": snapshot.state_schema_version.to_string(),
        "state": state(snapshot.state),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = connect(
        env::var("POOLER").is_ok() && env::var("DEFAULTS").is_err(),
        2,
    )
    .await?;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        println!(
            "{}",
            handle(&database, request).await.unwrap_or_else(failure)
        );
    }
    Ok(())
}

async fn connect(transaction_pooling: bool, connections: u32) -> Result<Database, sqlx::Error> {
    let url = env::var("DATABASE_URL").expect("DATABASE_URL");
    Ok(Database {
        pool: PgPoolOptions::new()
            .max_connections(connections)
            .connect(&url)
            .await?,
        transaction_pooling,
    })
}

fn failure(error: Box<dyn Error>) -> Value {
    match error
        .downcast_ref()
        .and_then(sqlx::Error::as_database_error)
    {
        Some(server) => {
            json!({"error": {"sqlstate": server.code(), "type": type_name::<PgDatabaseError>()}})
        }
        None => json!({"error": {"message": error.to_string()}}),
    }
}

async fn handle(database: &Database, request: Request) -> Reply {
    let store = SnapshotStore(database.clone());
    let snapshot = &request.snapshot;
    let stream = snapshot.stream.as_str();
    let recognized = request
        .versions
        .iter()
        .map(|version| version.parse())
        .collect::<Result<Vec<u32>, _>>()?;
    Ok(match request.op.as_str() {
        "save" => json!({"stored": store.save(stream, &snapshot.snapshot()?).await?}),
        "save_bytes" => {
            let bytes = snapshot.with(from_hex(&snapshot.state)?)?;
            json!({"stored": store.save_bytes(stream, &bytes).await?})
        }
        "load" => {
            let found = store.load(stream, &recognized).await?;
            json!({"snapshot": found.map(|snapshot| format(snapshot, |state| state))})
        }
        "load_bytes" => {
            let found = store.load_bytes(stream, &recognized).await?;
            json!({"snapshot": found.map(|snapshot| format(snapshot, to_hex))})
        }
        "save_many" => {
            let snapshots = request
                .snapshots
                .iter()
                .map(|fields| Ok((fields.stream.as_str(), fields.snapshot()?)))
                .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
            json!({"stored": store.save_many(&snapshots).await?})
        }
        "load_many" => {
            let streams: Vec<_> = request.streams.iter().map(String::as_str).collect();
            let found = store.load_many(&streams, &recognized).await?;
            let snapshots: Map<_, _> = found
                .into_iter()
                .map(|(stream, snapshot)| (stream, format(snapshot, |state| state)))
                .collect();
            json!({"snapshots": snapshots})
        }
        "forget" => {
            let snapshot = snapshot.snapshot()?;
            let mut transaction = database.pool.begin().await?;
            let save = store::save(stream, &snapshot).persistent(!database.transaction_pooling);
            json!({"stored": save.fetch_one(&mut *transaction).await?.try_get::<bool, _>(0)?})
        }
        "account" => {
            let mut account = Account::load(database.clone(), stream, request.interval).await?;
            if request.again {
                account = Account::load(database.clone(), stream, request.interval).await?;
            }
            for amount in request.amounts {
                account.deposit(amount).await?;
            }
            json!({
                "balance": account.balance.to_string(),
                "replayed": account.replayed.to_string(),
                "saved": account.saved.to_string(),
            })
        }
        "quirk" => quirk(database, &request.name).await?,
        op => return Err(format!("there is no operation {op}").into()),
    })
}

fn from_hex(hex: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    (0..hex.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(&hex[at..at + 2], 16)?))
        .collect()
}

fn to_hex(bytes: Vec<u8>) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// None of the store's own, nor kept: sqlx finds a kept statement by its text, whatever is bound.
const SAVE: &str = "SELECT snapshot_save($1, $2, $3, $4) AS naive";
const SAVE_AS_JSON: &str = "SELECT snapshot_save($1, $2, $3, $4::json) AS naive";
const SAVE_AS_TEXT: &str = "SELECT snapshot_save($1, $2, $3, $4::text::json) AS naive";
const TEXT: &str = r#"{"b": 1e2, "a": 12345678901234567890.10}"#;

async fn quirk(database: &Database, name: &str) -> Reply {
    let store = SnapshotStore(database.clone());
    let raw = || RawValue::from_string(TEXT.to_owned()).map(Json);
    Ok(match name {
        "defaults" => json!({"stored": store.save("sqlx-defaults", &snapshot()).await?}),
        "another" => another(database).await?,
        "text" => saved(database, SAVE, TEXT).await?,
        "text_json" => saved(database, SAVE_AS_JSON, TEXT).await?,
        "text_text" => saved(database, SAVE_AS_TEXT, TEXT).await?,
        "raw" => saved(database, SAVE, raw()?).await?,
        "raw_json" => saved(database, SAVE_AS_JSON, raw()?).await?,
        "raw_text" => saved(database, SAVE_AS_TEXT, raw()?).await?,
        "value" => saved(database, SAVE_AS_JSON, serde_json::from_str::<Value>(TEXT)?).await?,
        "described" => {
            // By this query_scalar! takes a serde_json::Value for the state.
            let statement = connect(false, 1)
                .await?
                .pool
                .prepare(SAVE.into_sql_str())
                .await?;
            match statement.parameters() {
                Some(Either::Left(types)) => {
                    json!(types.iter().map(TypeInfo::name).collect::<Vec<_>>())
                }
                _ => Value::Null,
            }
        }
        "json_as_text" => {
            saved(database, SAVE_AS_JSON, TEXT).await?;
            let load = sqlx::query("SELECT state FROM snapshot_load('sqlx', '{1}')");
            json!({"state": load.fetch_one(&database.pool).await?.try_get::<String, _>(0)?})
        }
        "rows" => {
            let mut newer = snapshot();
            newer.sequence_number = 2;
            store.save("sqlx-rows", &newer).await?;
            let older = store::save("sqlx-rows", &snapshot())
                .execute(&database.pool)
                .await?;
            json!({"rows": older.rows_affected()})
        }
        "cached" => {
            let own = connect(false, 1).await?;
            let load = || sqlx::query("SELECT state::text FROM snapshot_load('sqlx', ARRAY[$1])");
            load().bind(1i32).fetch_optional(&own.pool).await?;
            load().bind(1i64).fetch_optional(&own.pool).await?;
            Value::Null
        }
        "begun" => {
            let own = connect(false, 1).await?;
            sqlx::query("BEGIN").execute(&own.pool).await?;
            let stored = SnapshotStore(own).save("sqlx-begun", &snapshot()).await?;
            json!({"stored": stored, "found": store.load("sqlx-begun", &[1]).await?.is_some()})
        }
        _ => return Err(format!("there is no quirk {name}").into()),
    })
}

fn snapshot() -> Snapshot {
    Snapshot {
        sequence_number: 1,
        state_schema_version: 1,
        state: "{}".to_owned(),
    }
}

/// What a state has become that is bound in a way of sqlx.
async fn saved<'q, State>(database: &Database, save: &'static str, state: State) -> Reply
where
    State: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + 'q,
{
    let save = sqlx::query(save)
        .bind("sqlx")
        .bind(1i64)
        .bind(1i64)
        .bind(state)
        .persistent(false);
    save.execute(&database.pool).await?;
    let found = SnapshotStore(database.clone()).load("sqlx", &[1]).await?;
    Ok(json!({"state": found.map(|snapshot| snapshot.state)}))
}

/// Counts the snapshots of one stream between deletions of another's, outside of a transaction. That the first
/// are then gone is what no SQLSTATE tells.
async fn another(database: &Database) -> Reply {
    let delete = || sqlx::query("SELECT snapshot_delete($1)").persistent(false);
    let count = || sqlx::query("SELECT count(*) FROM snapshot_info($1)").persistent(false);
    let right = Database {
        transaction_pooling: true,
        ..database.clone()
    };
    let store = SnapshotStore(right);
    store.save("sqlx-counted", &snapshot()).await?;
    for _ in 0..3 {
        let _ = delete()
            .bind("sqlx-deleted")
            .fetch_one(&database.pool)
            .await;
        let _ = count().bind("sqlx-counted").fetch_one(&database.pool).await;
    }
    Ok(match store.load("sqlx-counted", &[1]).await? {
        Some(_) => json!({"found": true}),
        None => json!({"error": {"sqlstate": "00000", "type": "deleted"}}),
    })
}
