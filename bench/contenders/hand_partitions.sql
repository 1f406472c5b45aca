-- The strongest statement, on a table of 16 partitions.

-- table
CREATE TABLE snapshots (
    stream_id text COLLATE "C" PRIMARY KEY,
    state_schema_version bigint NOT NULL,
    sequence_number bigint NOT NULL,
    created_at timestamptz NOT NULL,
    state json COMPRESSION lz4,
    state_bytea bytea COMPRESSION lz4,
    metadata jsonb
) PARTITION BY HASH (stream_id);
DO $$
BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('CREATE TABLE snapshots_%1$s PARTITION OF snapshots
                        FOR VALUES WITH (MODULUS 16, REMAINDER %1$s)', n);
    END LOOP;
END
$$;

-- like hand
