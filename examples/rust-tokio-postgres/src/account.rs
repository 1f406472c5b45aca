//! An event-sourced account: a stream of deposits, whose first event is number 1.

use std::error::Error;

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::types::{Json, Type};

use crate::store::{Snapshot, SnapshotStore};

/// Of the form of `State`, and of those that this code can read.
const VERSION: u32 = 1;
const RECOGNIZED: &[i64] = &[VERSION as i64];

#[derive(Serialize, Deserialize, Debug)]
struct State {
    balance: i64,
}

#[derive(Serialize, Deserialize, Debug)]
struct Deposited {
    amount: i64,
}

pub struct Account<'a> {
    pub balance: i64,
    pub replayed: u32, // events, by load
    pub saved: u32,    // snapshots, by deposit
    client: &'a Client,
    stream_id: String,
    interval: i64, // events from one snapshot to the next
    last_event: i64,
    last_snapshot: i64,
}

impl<'a> Account<'a> {
    /// In one statement: the snapshot, if there is one, and the events after it.
    pub async fn load(
        client: &'a Client,
        stream_id: &str,
        interval: i64,
    ) -> Result<Self, tokio_postgres::Error> {
        let rows = client
            .query_typed(
                "WITH snapshot AS MATERIALIZED (
                     SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
                 )
                 SELECT sequence_number, state_schema_version, state AS data FROM snapshot
                 UNION ALL
                 SELECT sequence_number, NULL, data FROM account_event
                 WHERE stream_id = $1 AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
                   AND sequence_number <= 9223372036854775807 -- always; for the planner
                 ORDER BY sequence_number",
                &[(&stream_id, Type::TEXT), (&RECOGNIZED, Type::INT8_ARRAY)],
            )
            .await?;
        let mut account = Self {
            balance: 0,
            replayed: 0,
            saved: 0,
            client,
            stream_id: stream_id.to_owned(),
            interval,
            last_event: 0,
            last_snapshot: 0,
        };
        for row in rows {
            account.last_event = row.try_get(0)?;
            if row.try_get::<_, Option<i64>>(1)?.is_some() {
                let Json(State { balance }) = row.try_get(2)?;
                account.balance = balance;
                account.last_snapshot = account.last_event;
            } else {
                let Json(Deposited { amount }) = row.try_get(2)?;
                account.balance += amount;
                account.replayed += 1;
            }
        }
        Ok(account)
    }

    /// Appends an event. If another has been appended since the load, that is the error 23505.
    pub async fn deposit(&mut self, amount: i64) -> Result<(), tokio_postgres::Error> {
        let event = self.last_event + 1;
        self.client
            .query_typed(
                "INSERT INTO account_event VALUES ($1, $2, $3)",
                &[
                    (&self.stream_id, Type::TEXT),
                    (&event, Type::INT8),
                    (&Json(Deposited { amount }), Type::JSON),
                ],
            )
            .await?;
        self.last_event = event;
        self.balance += amount;
        // The event is committed. A snapshot that is not saved costs time, not the deposit.
        if let Err(error) = self.save_when_due().await {
            // `{error}` would be "db error", and no more.
            eprintln!("snapshot of {}: {error:?}", self.stream_id);
        }
        Ok(())
    }

    async fn save_when_due(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.last_event - self.last_snapshot < self.interval {
            return Ok(());
        }
        let due = self
            .client
            .query_typed_one(
                "SELECT snapshot_due($1, $2, $3, $4)",
                &[
                    (&self.stream_id, Type::TEXT),
                    (&RECOGNIZED, Type::INT8_ARRAY),
                    (&self.last_event, Type::INT8),
                    (&self.interval, Type::INT8),
                ],
            )
            .await?;
        if !due.try_get(0)? {
            return Ok(());
        }
        let balance = self.balance;
        let snapshot = Snapshot {
            sequence_number: self.last_event,
            state_schema_version: VERSION,
            state: serde_json::to_string(&State { balance })?,
        };
        if SnapshotStore(self.client)
            .save(&self.stream_id, &snapshot)
            .await?
        {
            self.last_snapshot = self.last_event;
            self.saved += 1;
        }
        Ok(())
    }
}
