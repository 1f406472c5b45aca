-- The strongest statement on the plainest table: our columns and types, lz4, one key, the guard
-- against older states.

-- table
CREATE TABLE snapshots (
    stream_id text COLLATE "C" PRIMARY KEY,
    state_schema_version bigint NOT NULL,
    sequence_number bigint NOT NULL,
    created_at timestamptz NOT NULL,
    state json COMPRESSION lz4,
    state_bytea bytea COMPRESSION lz4,
    metadata jsonb
);

-- save json
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

-- load json
SELECT sequence_number, state_schema_version, state, metadata, created_at
FROM snapshots
WHERE stream_id = :stream_id AND state_schema_version = ANY (:recognized);

-- save bytea
INSERT INTO snapshots AS kept (stream_id, state_schema_version, sequence_number, created_at, state_bytea)
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

-- load bytea
SELECT sequence_number, state_schema_version, state_bytea, metadata, created_at
FROM snapshots
WHERE stream_id = :stream_id AND state_schema_version = ANY (:recognized);
