// Answers each line of JSON on stdin with one on stdout.
import { createInterface } from "node:readline";
import postgres from "postgres";
import { Account } from "./account.js";
import { SnapshotStore } from "./snapshot-store.js";

const { DATABASE_URL, POOLER, DEFAULTS } = process.env;
// A statement that is prepared on one server connection would be executed on another.
const warnings = []; // postgres.js would print them, and stdout is for replies
const sql = postgres(DATABASE_URL, {
  prepare: DEFAULTS || POOLER !== "transaction",
  onnotice: (notice) => warnings.push(notice.message),
});
const store = new SnapshotStore(sql);

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
    const own = postgres(DATABASE_URL, { max: 1, prepare: false });
    const reserved = await own.reserve();
    try {
      await reserved`BEGIN`;
      return {
        stored: await new SnapshotStore(reserved).save(
          ...arguments_(request),
          request.state,
        ),
      };
    } finally {
      await own.end({ timeout: 0 });
    }
  },

  async account({ stream, amounts, interval, again }) {
    const counting = new CountingStore(sql);
    const account = new Account(sql, counting, stream, interval);
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

async function saved(state) {
  await sql`SELECT snapshot_save('quirk-1@postgres.js', 42, 1, ${state})`;
  return { state: (await store.load("quirk-1@postgres.js", [1])).state };
}

async function savedBytes(state) {
  await sql`SELECT snapshot_save_bytea('quirk-2@postgres.js', 42, 1, ${state})`;
  return {
    state: (await store.loadBytes("quirk-2@postgres.js", [1])).state.toString(
      "hex",
    ),
  };
}

const naiveLoad = async () => {
  const [row] =
    await sql`SELECT * FROM snapshot_load('quirk-1@postgres.js', '{1}')`;
  return row;
};

const one = postgres(DATABASE_URL, { max: 1 });

const quirks = {
  stringified: async () => ({
    ...(await saved(JSON.stringify([]))),
    warned: warnings.some((message) => /encoded twice/.test(message)),
  }),
  json_helper: () => saved(sql.json([])),
  bare_true: () => saved(true),
  array_as_text: async () => {
    await sql`SELECT snapshot_save('quirk-1@postgres.js', 42, 1, ${[7]}::text::json)`;
    return { state: (await store.load("quirk-1@postgres.js", [1])).state };
  },
  array_in_batch: async () => {
    await sql`SELECT * FROM snapshot_save_many('{quirk-1@postgres.js}', '{42}', '{1}', ${[[7]]})`;
    return { state: (await store.load("quirk-1@postgres.js", [1])).state };
  },
  bytes_as_text: () => savedBytes("\xff"),
  store_refuses_array: () => store.save("quirk-1@postgres.js", 42n, 1, [7]),
  store_refuses_bytes_as_text: () =>
    store.saveBytes("quirk-2@postgres.js", 42n, 1, "\xff"),

  async array_of_bigint() {
    const rows =
      await sql`SELECT * FROM snapshot_load('quirk-1@postgres.js', ${[1n]})`;
    return { found: rows.length };
  },

  async sequence_number_plus_one() {
    await saved({});
    return { next: (await naiveLoad()).sequence_number + 1 };
  },

  async large_number_in_state() {
    await store.save("quirk-1@postgres.js", 42n, 1, '{"id": 9007199254740993}');
    return { id: (await naiveLoad()).state.id.toString() };
  },

  // A query is sent when somebody waits for it.
  async not_awaited() {
    sql`SELECT snapshot_save('quirk-3@postgres.js', 42, 1, '{}')`;
    await sql`SELECT 1`;
    return { snapshot: (await store.load("quirk-3@postgres.js", [1])) ?? null };
  },

  async outer_sql_in_transaction() {
    await sql
      .begin(async () => {
        await store.save("quirk-4@postgres.js", 42n, 1, "{}");
        throw new Error("roll back");
      })
      .catch(() => {});
    return { found: Boolean(await store.load("quirk-4@postgres.js", [1])) };
  },

  async released_in_transaction() {
    const naive = postgres(DATABASE_URL, { max: 1 });
    const reserved = await naive.reserve();
    await reserved`BEGIN`;
    reserved.release();
    const [{ stored }] =
      await naive`SELECT snapshot_save('quirk-5@postgres.js', 42, 1, '{}') AS stored`;
    await naive.end();
    return {
      stored,
      snapshot: (await store.load("quirk-5@postgres.js", [1])) ?? null,
    };
  },

  // Outside of a transaction, postgres.js prepares once more and tries again. With more connections than
  // one, each may by chance always meet the same server connection.
  async prepared_in_transaction() {
    const rows = await one.begin(
      (tx) => tx`SELECT * FROM snapshot_load(${"quirk-1@postgres.js"}, ${[1]})`,
    );
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
        error instanceof postgres.PostgresError
          ? { sqlstate: error.code, type: error.constructor.name }
          : { message: error.message },
    };
  }
  console.log(JSON.stringify(answer));
}
await sql.end();
await one.end();
