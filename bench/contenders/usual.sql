-- What most teams have: jsonb, the key in the database's collation (C on this server, which is
-- the fastest), the server's default storage and compression, and hand's guard.

-- table
CREATE TABLE snapshots (
    stream_id text PRIMARY KEY,
    state_schema_version bigint NOT NULL,
    sequence_number bigint NOT NULL,
    created_at timestamptz NOT NULL,
    state jsonb,
    state_bytea bytea,
    metadata jsonb
);

-- save jsonb
INSERT INTO snapshots AS kept (stream_id, state_schema_version, sequence_number, created_at, state)
VALUES (:stream_id, :state_schema_version, :sequence_number, clock_timestamp(), :state)
ON CONFLICT (stream_id) DO UPDATE SET
    state_schema_version = excluded.state_schema_version,
    sequence_number = excluded.sequence_number,
    created_at = excluded.created_at,
    state = excluded.state,
    state_bytea = excluded.state_bytea,
    metadata = excluded.metadata
WHERE kept.state_schema_version <> excluded.state_schema_version
   OR kept.sequence_number <= excluded.sequence_number;

-- load jsonb
SELECT sequence_number, state_schema_version, state, metadata, created_at
FROM snapshots
WHERE stream_id = :stream_id AND state_schema_version = ANY (:recognized);

-- like hand
