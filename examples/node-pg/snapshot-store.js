/**
 * The snapshots of event-sourced streams, over node-postgres. A state is JSON text, kept to the letter.
 * Given a pool, each call is a transaction of its own; given a client, it is part of the client's.
 */
export class SnapshotStore {
  constructor(db) {
    this.db = db;
  }

  async save(streamId, sequenceNumber, stateSchemaVersion, state) {
    const { rows } = await this.db.query(
      "SELECT snapshot_save($1, $2, $3, $4) AS stored",
      [streamId, sequenceNumber, stateSchemaVersion, jsonText(state)],
    );
    return rows[0].stored;
  }

  async load(streamId, recognizedSchemaVersions) {
    const { rows } = await this.db.query(
      `SELECT sequence_number, state_schema_version, state::text
       FROM snapshot_load($1, $2)`,
      [streamId, recognizedSchemaVersions],
    );
    return rows.map(toSnapshot)[0];
  }

  async saveBytes(streamId, sequenceNumber, stateSchemaVersion, state) {
    // As text, "\x41" would be one byte and "\0" an error.
    if (!(state instanceof Uint8Array)) {
      throw new TypeError("state must be a Buffer or a Uint8Array");
    }
    const { rows } = await this.db.query(
      "SELECT snapshot_save_bytea($1, $2, $3, $4) AS stored",
      [streamId, sequenceNumber, stateSchemaVersion, state],
    );
    return rows[0].stored;
  }

  async loadBytes(streamId, recognizedSchemaVersions) {
    const { rows } = await this.db.query(
      `SELECT sequence_number, state_schema_version, state
       FROM snapshot_load_bytea($1, $2)`,
      [streamId, recognizedSchemaVersions],
    );
    return rows.map(toSnapshot)[0];
  }

  /** Returns a Map that says for each stream whether its snapshot was stored. */
  async saveMany(snapshots) {
    const { rows } = await this.db.query(
      "SELECT stream_id, stored FROM snapshot_save_many($1, $2, $3, $4)",
      [
        snapshots.map((snapshot) => snapshot.streamId),
        snapshots.map((snapshot) => snapshot.sequenceNumber),
        snapshots.map((snapshot) => snapshot.stateSchemaVersion),
        snapshots.map((snapshot) => jsonText(snapshot.state)),
      ],
    );
    return new Map(rows.map((row) => [row.stream_id, row.stored]));
  }

  /** Returns a Map of the snapshots that there are, by stream. */
  async loadMany(streamIds, recognizedSchemaVersions) {
    const { rows } = await this.db.query(
      `SELECT stream_id, sequence_number, state_schema_version, state::text
       FROM snapshot_load_many($1, $2)`,
      [streamIds, recognizedSchemaVersions],
    );
    return new Map(rows.map((row) => [row.stream_id, toSnapshot(row)]));
  }
}

// node-postgres would make a PostgreSQL array of a JavaScript one, and the state [] would become {}.
function jsonText(state) {
  if (typeof state !== "string") {
    throw new TypeError("state must be JSON text, as of JSON.stringify");
  }
  return state;
}

// node-postgres returns a bigint as text, since a number has only 53 bits.
function toSnapshot(row) {
  return {
    sequenceNumber: BigInt(row.sequence_number),
    stateSchemaVersion: Number(row.state_schema_version),
    state: row.state,
  };
}
