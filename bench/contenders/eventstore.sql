-- EventStore for Elixir (Commanded): one row a stream, which the last writer overwrites; the
-- data are bytes by default, and the schema version, if any, is in the metadata, which the
-- client looks at after the load. Left out: parameters for the type and the metadata, which are
-- constants here.

-- table
CREATE TABLE eventstore (
    source_uuid text PRIMARY KEY NOT NULL,
    source_version bigint NOT NULL,
    source_type text NOT NULL,
    data bytea NOT NULL,
    metadata bytea NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

-- save bytea
INSERT INTO eventstore (source_uuid, source_version, source_type, data, metadata)
VALUES (:stream_id, :sequence_number, 'Elixir.Order', :state, '{"snapshot_version": 1}')
ON CONFLICT (source_uuid) DO UPDATE SET
    source_version = :sequence_number,
    source_type = 'Elixir.Order',
    data = :state,
    metadata = '{"snapshot_version": 1}';

-- load bytea
SELECT source_uuid, source_version, source_type, data, metadata, created_at
FROM eventstore
WHERE source_uuid = :stream_id;
