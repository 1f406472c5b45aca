-- Sequent (Ruby): a row for each schema version and sequence number, jsonb; a load names one
-- version. Nothing deletes the rows before until somebody asks for it; here each save does, as
-- keeping one. Left out, to its favour: its procedures, which unpack a document of snapshots,
-- its list of streams that need one, which each save updates, too, and the joins of its load
-- with the aggregates and their types. Its aggregate_id is a UUID, the streams here have names.

-- table
CREATE TABLE sequent (
    aggregate_id text COLLATE "C" NOT NULL,
    snapshot_version int NOT NULL,
    sequence_number int NOT NULL,
    created_at timestamptz NOT NULL,
    snapshot_type text NOT NULL,
    snapshot_json jsonb NOT NULL,
    PRIMARY KEY (aggregate_id, snapshot_version, sequence_number)
);

-- save jsonb
INSERT INTO sequent (aggregate_id, snapshot_version, sequence_number, created_at, snapshot_type,
    snapshot_json)
VALUES (:stream_id, :state_schema_version, :sequence_number, clock_timestamp(), 'Order', :state)
ON CONFLICT (aggregate_id, snapshot_version, sequence_number) DO UPDATE SET
    created_at = excluded.created_at,
    snapshot_type = excluded.snapshot_type,
    snapshot_json = excluded.snapshot_json;
DELETE FROM sequent
WHERE aggregate_id = :stream_id AND snapshot_version = :state_schema_version
    AND sequence_number < :sequence_number;

-- load jsonb
SELECT aggregate_id, snapshot_type, snapshot_json
FROM sequent
WHERE aggregate_id = :stream_id AND snapshot_version = (CAST(:recognized AS int[]))[1]
ORDER BY sequence_number DESC
LIMIT 1;
