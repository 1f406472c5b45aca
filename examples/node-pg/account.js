import { fileURLToPath } from "node:url";
import pg from "pg";
import { SnapshotStore } from "./snapshot-store.js";

const SCHEMA_VERSION = 1;

// The snapshot, if there is one, and the events after it.
const REHYDRATE = `
  WITH snapshot AS MATERIALIZED (
      SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
  )
  SELECT sequence_number, state_schema_version, state AS data FROM snapshot
  UNION ALL
  SELECT sequence_number, NULL, data FROM account_event
  WHERE stream_id = $1 AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
    AND sequence_number <= 9223372036854775807 -- always; for the planner
  ORDER BY sequence_number`;

export class Account {
  constructor(pool, store, streamId, interval = 100) {
    Object.assign(this, { pool, store, streamId, interval });
  }

  /** Also anew, to try again after 23505. */
  async load() {
    const { rows } = await this.pool.query(REHYDRATE, [
      this.streamId,
      [SCHEMA_VERSION],
    ]);
    this.balance = 0;
    this.sequenceNumber = this.snapshotNumber = 0n;
    for (const row of rows) {
      this.sequenceNumber = BigInt(row.sequence_number);
      if (row.state_schema_version === null) {
        this.balance += row.data.amount;
      } else {
        this.balance = row.data.balance;
        this.snapshotNumber = this.sequenceNumber;
      }
    }
  }

  /** Fails with 23505 if somebody else has appended an event since the load. */
  async deposit(amount) {
    const next = this.sequenceNumber + 1n;
    await this.pool.query(
      "INSERT INTO account_event (stream_id, sequence_number, data) VALUES ($1, $2, $3)",
      [this.streamId, next, JSON.stringify({ amount })],
    );
    this.sequenceNumber = next;
    this.balance += amount;
    await this.#saveIfDue().catch((error) =>
      console.error(`no snapshot of ${this.streamId}:`, error),
    );
  }

  async #saveIfDue() {
    const { streamId, sequenceNumber, interval } = this;
    if (sequenceNumber - this.snapshotNumber < interval) return;
    const { rows } = await this.pool.query(
      "SELECT snapshot_due($1, $2, $3, $4) AS due",
      [streamId, [SCHEMA_VERSION], sequenceNumber, interval],
    );
    if (!rows[0].due) return;
    const state = JSON.stringify({ balance: this.balance });
    await this.store.save(streamId, sequenceNumber, SCHEMA_VERSION, state);
    this.snapshotNumber = sequenceNumber;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [streamId, ...amounts] = process.argv.slice(2);
  if (!streamId) {
    console.error("usage: node account.js STREAM [AMOUNT...]");
    process.exit(1);
  }
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
  // The loss of an idle connection is the pool's to mend; unheard, it would end the process.
  pool.on("error", (error) => console.error(error.message));
  const account = new Account(pool, new SnapshotStore(pool), streamId);
  await account.load();
  for (const amount of amounts) await account.deposit(Number(amount));
  console.log(account.balance);
  await pool.end();
}
