/**
 * The snapshots of event-sourced streams, over postgres.js. A state is JSON text, kept to the letter.
 * Given what postgres() returns, each call is a transaction of its own; given the sql of a
 * sql.begin(), it is part of that transaction.
 */
export class SnapshotStore {
  constructor(sql) {
    this.sql = sql;
  }

  async save(streamId, sequenceNumber, stateSchemaVersion, state) {
    const [row] = await this.sql`
      SELECT snapshot_save(${streamId}, ${sequenceNumber}, ${stateSchemaVersion},
                           ${jsonText(state)}::text::json) AS stored`;
    return row.stored;
  }

  async load(streamId, recognizedSchemaVersions) {
    const rows = await this.sql`
      SELECT sequence_number, state_schema_version, state::text
      FROM snapshot_load(${streamId}, ${recognizedSchemaVersions})`;
    return rows.map(toSnapshot)[0];
  }

  async saveBytes(streamId, sequenceNumber, stateSchemaVersion, state) {
    // A string would be stored as its UTF-8.
    if (!(state instanceof Uint8Array)) {
      throw new TypeError("state must be a Buffer or a Uint8Array");
    }
    const [row] = await this.sql`
      SELECT snapshot_save_bytea(${streamId}, ${sequenceNumber}, ${stateSchemaVersion},
                                 ${state}) AS stored`;
    return row.stored;
  }

  async loadBytes(streamId, recognizedSchemaVersions) {
    const rows = await this.sql`
      SELECT sequence_number, state_schema_version, state
      FROM snapshot_load_bytea(${streamId}, ${recognizedSchemaVersions})`;
    return rows.map(toSnapshot)[0];
  }

  /** Returns a Map that says for each stream whether its snapshot was stored. */
  async saveMany(snapshots) {
    const streamIds = snapshots.map((snapshot) => snapshot.streamId);
    // An array of BigInt would be declared as a single bigint.
    const sequenceNumbers = snapshots.map((snapshot) =>
      String(snapshot.sequenceNumber),
    );
    const versions = snapshots.map((snapshot) => snapshot.stateSchemaVersion);
    const states = snapshots.map((snapshot) => jsonText(snapshot.state));
    const rows = await this.sql`
      SELECT stream_id, stored
      FROM snapshot_save_many(${streamIds}, ${sequenceNumbers}, ${versions},
                              ${states}::text[]::json[])`;
    return new Map(rows.map((row) => [row.stream_id, row.stored]));
  }

  /** Returns a Map of the snapshots that there are, by stream. */
  async loadMany(streamIds, recognizedSchemaVersions) {
    const rows = await this.sql`
      SELECT stream_id, sequence_number, state_schema_version, state::text
      FROM snapshot_load_many(${streamIds}, ${recognizedSchemaVersions})`;
    return new Map(rows.map((row) => [row.stream_id, toSnapshot(row)]));
  }
}

// A parameter that is json goes through JSON.stringify, once more if it is text. So the statements
// declare it as text, and text it must be.
function jsonText(state) {
  if (typeof state !== "string") {
    throw new TypeError("state must be JSON text, as of JSON.stringify");
  }
  return state;
}

// postgres.js returns a bigint as text, since a number has only 53 bits.
function toSnapshot(row) {
  return {
    sequenceNumber: BigInt(row.sequence_number),
    stateSchemaVersion: Number(row.state_schema_version),
    state: row.state,
  };
}
