// Answers each line of JSON on stdin with one on stdout.
import { createInterface } from "node:readline";
import pg from "pg";
import { Account } from "./account.js";
import { SnapshotStore } from "./snapshot-store.js";

const connectionString = process.env.DATABASE_URL;
const pool = new pg.Pool({ connectionString });
pool.on("error", (error) => console.error(error.message));
const store = new SnapshotStore(pool);

class CountingStore extends SnapshotStore {
  saved = 0;

  async save(...snapshot) {
    const stored = await super.save(...snapshot);
    this.saved += stored;
    return stored;
  }
}

const reply = ({ sequenceNumber, stateSchemaVersion, state }) => ({
  sequence: `${sequenceNumber}`,
  version: `${stateSchemaVersion}`,
  state: Buffer.isBuffer(state) ? state.toString("hex") : state,
});

const arguments_ = ({ stream, sequence, version }) => [
  stream,
  BigInt(sequence),
  Number(version),
];

const operations = {
  async save(request) {
    return { stored: await store.save(...arguments_(request), request.state) };
  },

  async save_bytes(request) {
    const state = Buffer.from(request.state, "hex");
    return { stored: await store.saveBytes(...arguments_(request), state) };
  },

  async load({ stream, versions }) {
    const snapshot = await store.load(stream, versions.map(Number));
    return { snapshot: snapshot ? reply(snapshot) : null };
  },

  async load_bytes({ stream, versions }) {
    const snapshot = await store.loadBytes(stream, versions.map(Number));
    return { snapshot: snapshot ? reply(snapshot) : null };
  },

  async save_many({ snapshots }) {
    const stored = await store.saveMany(
      snapshots.map((snapshot) => {
        const [streamId, sequenceNumber, stateSchemaVersion] =
          arguments_(snapshot);
        return {
          streamId,
          sequenceNumber,
          stateSchemaVersion,
          state: snapshot.state,
        };
      }),
    );
    return { stored: Object.fromEntries(stored) };
  },

  async load_many({ streams, versions }) {
    const snapshots = await store.loadMany(streams, versions.map(Number));
    return {
      snapshots: Object.fromEntries(
        [...snapshots].map(([stream, one]) => [stream, reply(one)]),
      ),
    };
  },

  async forget(request) {
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      return {
        stored: await new SnapshotStore(client).save(
          ...arguments_(request),
          request.state,
        ),
      };
    } finally {
      client.release(true); // closed
    }
  },

  async account({ stream, amounts, interval, again }) {
    const counting = new CountingStore(pool);
    const account = new Account(pool, counting, stream, interval);
    await account.load();
    if (again) await account.load();
    const replayed = account.sequenceNumber - account.snapshotNumber;
    for (const amount of amounts) await account.deposit(amount);
    return {
      balance: `${account.balance}`,
      replayed: `${replayed}`,
      saved: `${counting.saved}`,
    };
  },

  quirk({ name }) {
    return quirks[name]();
  },
};

const naiveSave = (stream, state) =>
  pool.query("SELECT snapshot_save($1, 42, 1, $2)", [stream, state]);

const naiveLoad = async (stream, versions = [1]) => {
  const { rows } = await pool.query("SELECT * FROM snapshot_load($1, $2)", [
    stream,
    versions,
  ]);
  return rows[0];
};

async function saved(state) {
  await naiveSave("quirk-1@node-pg", state);
  return { state: (await store.load("quirk-1@node-pg", [1])).state };
}

async function savedBytes(state) {
  await pool.query("SELECT snapshot_save_bytea('quirk-2@node-pg', 42, 1, $1)", [
    state,
  ]);
  return {
    state: (await store.loadBytes("quirk-2@node-pg", [1])).state.toString(
      "hex",
    ),
  };
}

const quirks = {
  empty_array: () => saved([]),
  array: () => saved([1, 2]),
  bare_text: () => saved("paid"),
  bare_digits: () => saved("7"),
  map: () => saved(new Map([["total", 99]])),
  bytes_as_text: () => savedBytes("\xff\\101"),
  bytes_as_array: () => savedBytes([0, 255]),
  store_refuses_array: () => store.save("quirk-1@node-pg", 42n, 1, []),
  store_refuses_bytes_as_text: () =>
    store.saveBytes("quirk-2@node-pg", 42n, 1, "\xff"),

  async sequence_number_plus_one() {
    await naiveSave("quirk-1@node-pg", "{}");
    return { next: (await naiveLoad("quirk-1@node-pg")).sequence_number + 1 };
  },

  async large_number_in_state() {
    await naiveSave("quirk-1@node-pg", '{"id": 9007199254740993}');
    return { id: (await naiveLoad("quirk-1@node-pg")).state.id.toString() };
  },

  async set_of_versions() {
    await naiveSave("quirk-1@node-pg", "{}");
    return {
      snapshot: (await naiveLoad("quirk-1@node-pg", new Set([1]))) ?? null,
    };
  },

  // Given back to the pool with its transaction open, a client takes what comes next into it.
  async released_in_transaction() {
    const naive = new pg.Pool({ connectionString });
    const client = await naive.connect();
    await client.query("BEGIN");
    client.release();
    const { rows } = await naive.query(
      "SELECT snapshot_save('quirk-3@node-pg', 42, 1, '{}') AS stored",
    );
    await naive.end();
    return {
      stored: rows[0].stored,
      snapshot: (await store.load("quirk-3@node-pg", [1])) ?? null,
    };
  },

  async idle_connection_lost() {
    const naive = new pg.Pool({ connectionString });
    const { rows } = await naive.query("SELECT pg_backend_pid() AS pid");
    const uncaught = new Promise((resolve) =>
      process.once("uncaughtException", resolve),
    );
    await pool.query("SELECT pg_terminate_backend($1)", [rows[0].pid]);
    const { code } = await uncaught;
    await naive.end();
    return { uncaught: code };
  },

  async named_statement() {
    const text = "SELECT * FROM snapshot_load($1, $2)";
    const { rows } = await pool.query({
      name: "load",
      text,
      values: ["quirk-1@node-pg", [1]],
    });
    return { found: rows.length };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = await operations[request.op](request);
  } catch (error) {
    answer = {
      error:
        error instanceof pg.DatabaseError
          ? { sqlstate: error.code, type: error.constructor.name }
          : { message: error.message },
    };
  }
  console.log(JSON.stringify(answer));
}
await pool.end();
