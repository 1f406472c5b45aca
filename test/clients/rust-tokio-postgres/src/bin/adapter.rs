//! Runs the store and the account as the lines on standard input say.

use std::env;
use std::error::Error;
use std::io::{self, BufRead};

use account::account::Account;
use account::store::{Snapshot, SnapshotStore};
use deadpool_postgres::{Config, Object, Pool, PoolConfig, Runtime};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_postgres::NoTls;
use tokio_postgres::error::DbError;
use tokio_postgres::types::Json;

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
    let pool = connect(2)?;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        println!("{}", handle(&pool, request).await.unwrap_or_else(failure));
    }
    Ok(())
}

fn connect(connections: usize) -> Result<Pool, Box<dyn Error>> {
    let mut config = Config::new();
    config.url = Some(env::var("DATABASE_URL")?);
    config.pool = Some(PoolConfig::new(connections));
    Ok(config.create_pool(Some(Runtime::Tokio1), NoTls)?)
}

fn failure(error: Box<dyn Error>) -> Value {
    match error
        .downcast_ref()
        .and_then(tokio_postgres::Error::as_db_error)
    {
        Some(server) => json!({"error": {
            "sqlstate": server.code().code(),
            "type": std::any::type_name::<DbError>(),
        }}),
        None => json!({"error": {"message": chain(&*error)}}),
    }
}

fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

async fn handle(pool: &Pool, request: Request) -> Reply {
    let mut client = pool.get().await?;
    let store = SnapshotStore(&**client);
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
            let transaction = client.transaction().await?;
            let store = SnapshotStore(&*transaction);
            json!({"stored": store.save(stream, &snapshot.snapshot()?).await?})
        }
        "account" => {
            let mut account = Account::load(&client, stream, request.interval).await?;
            if request.again {
                account = Account::load(&client, stream, request.interval).await?;
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
        "quirk" => quirk(&mut client, &request.name).await?,
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

const SAVE: &str = "SELECT snapshot_save($1, $2, $3, $4::text::json)";
const SAVE_JSON: &str = "SELECT snapshot_save($1, $2, $3, $4)";
const STREAM: &str = "tokio-postgres";

async fn quirk(client: &mut Object, name: &str) -> Reply {
    let (one, state) = (1i64, "{}");
    Ok(match name {
        "defaults" => {
            let row = client
                .query_one(SAVE, &[&STREAM, &one, &one, &state])
                .await?;
            json!({"stored": row.try_get::<_, bool>(0)?})
        }
        "i32_sequence" => {
            client
                .query_one(SAVE, &[&STREAM, &1i32, &one, &state])
                .await?;
            Value::Null
        }
        "u32_version" => {
            client
                .query_one(SAVE, &[&STREAM, &one, &1u32, &state])
                .await?;
            Value::Null
        }
        "u32_versions" => {
            client
                .query(
                    "SELECT state FROM snapshot_load($1, $2)",
                    &[&STREAM, &vec![1u32]],
                )
                .await?;
            Value::Null
        }
        "text_as_json" => {
            client
                .query_one(SAVE_JSON, &[&STREAM, &one, &one, &state])
                .await?;
            Value::Null
        }
        "json_as_text" => {
            client
                .query_one(SAVE, &[&STREAM, &one, &one, &state])
                .await?;
            let row = client
                .query_one("SELECT state FROM snapshot_load($1, '{1}')", &[&STREAM])
                .await?;
            json!({"state": row.try_get::<_, String>(0)?})
        }
        "value" => {
            let value: Value = serde_json::from_str(r#"{"b": 1e2, "a": 12345678901234567890.10}"#)?;
            client
                .query_one(SAVE_JSON, &[&STREAM, &one, &one, &Json(value)])
                .await?;
            let found = SnapshotStore(&***client).load(STREAM, &[1]).await?;
            json!({"state": found.map(|snapshot| snapshot.state)})
        }
        "rows" => {
            let stream = "tokio-postgres-rows";
            client
                .execute(SAVE, &[&stream, &2i64, &one, &state])
                .await?;
            json!({"rows": client.execute(SAVE, &[&stream, &1i64, &one, &state]).await?})
        }
        "display" => {
            let error = client
                .query_one(SAVE, &[&STREAM, &-1i64, &one, &state])
                .await;
            json!({"display": error.err().map(|error| error.to_string())})
        }
        "begun" => {
            let pool = connect(1)?;
            pool.get().await?.batch_execute("BEGIN").await?;
            let row = pool
                .get()
                .await?
                .query_one(SAVE, &[&"tokio-postgres-begun", &one, &one, &state])
                .await?;
            let found = SnapshotStore(&***client)
                .load("tokio-postgres-begun", &[1])
                .await?;
            json!({"stored": row.try_get::<_, bool>(0)?, "found": found.is_some()})
        }
        _ => return Err(format!("there is no quirk {name}").into()),
    })
}
