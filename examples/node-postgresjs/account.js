import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { SnapshotStore } from "./snapshot-store.js";

const SCHEMA_VERSION = 1;

export class Account {
  constructor(sql, store, streamId, interval = 100) {
    Object.assign(this, { sql, store, streamId, interval });
  }

  /** Also anew, to try again after 23505. */
  async load() {
    // The snapshot, if there is one, and the events after it.
    const rows = await this.sql`
      WITH snapshot AS MATERIALIZED (
          SELECT sequence_number, state_schema_version, state
          FROM snapshot_load(${this.streamId}, ${[SCHEMA_VERSION]})
      )
      SELECT sequence_number, state_schema_version, state AS data FROM snapshot
      UNION ALL
      SELECT sequence_number, NULL, data FROM account_event
      WHERE stream_id = ${this.streamId}
        AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
        AND sequence_number <= 9223372036854775807 -- always; for the planner
      ORDER BY sequence_number`;
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
    await this.sql`
      INSERT INTO account_event (stream_id, sequence_number, data)
      VALUES (${this.streamId}, ${next}, ${{ amount }})`;
    this.sequenceNumber = next;
    this.balance += amount;
    await this.#saveIfDue().catch((error) =>
      console.error(`no snapshot of ${this.streamId}:`, error),
    );
  }

  async #saveIfDue() {
    const { streamId, sequenceNumber, interval } = this;
    if (sequenceNumber - this.snapshotNumber < interval) return;
    const [{ due }] = await this.sql`
      SELECT snapshot_due(${streamId}, ${[SCHEMA_VERSION]}, ${sequenceNumber}, ${interval}) AS due`;
    if (!due) return;
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
  const sql = postgres(process.env.DATABASE_URL);
  const account = new Account(sql, new SnapshotStore(sql), streamId);
  await account.load();
  for (const amount of amounts) await account.deposit(Number(amount));
  console.log(account.balance);
  await sql.end();
}
