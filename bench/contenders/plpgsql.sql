-- hand's statements behind functions in PL/pgSQL, which is how teams share them between programs.

-- table
CREATE TABLE plpgsql_snapshots (
    stream_id text COLLATE "C" PRIMARY KEY,
    state_schema_version bigint NOT NULL,
    sequence_number bigint NOT NULL,
    created_at timestamptz NOT NULL,
    state json COMPRESSION lz4,
    state_bytea bytea COMPRESSION lz4,
    metadata jsonb
);
CREATE FUNCTION plpgsql_save(text, bigint, bigint, json, bytea DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plpgsql_snapshots AS kept
        (stream_id, sequence_number, state_schema_version, created_at, state, state_bytea)
    VALUES ($1, $2, $3, clock_timestamp(), $4, $5)
    ON CONFLICT (stream_id) DO UPDATE SET
        state_schema_version = excluded.state_schema_version,
        sequence_number = excluded.sequence_number,
        created_at = excluded.created_at,
        state = excluded.state,
        state_bytea = excluded.state_bytea,
        metadata = excluded.metadata
    WHERE kept.state_schema_version <> excluded.state_schema_version
       OR kept.sequence_number <= excluded.sequence_number;
    RETURN FOUND;
END
$$;
CREATE FUNCTION plpgsql_load(text, bigint[]) RETURNS SETOF plpgsql_snapshots
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT * FROM plpgsql_snapshots
        WHERE stream_id = $1 AND state_schema_version = ANY ($2);
END
$$;

-- save json
SELECT plpgsql_save(:stream_id, :sequence_number, :state_schema_version, :state);

-- load json
SELECT sequence_number, state_schema_version, state, metadata, created_at
FROM plpgsql_load(:stream_id, :recognized);

-- save bytea
SELECT plpgsql_save(:stream_id, :sequence_number, :state_schema_version, NULL, :state);

-- load bytea
SELECT sequence_number, state_schema_version, state_bytea, metadata, created_at
FROM plpgsql_load(:stream_id, :recognized);
