-- snapshot_store, as an application calls it.

-- table
CREATE EXTENSION snapshot_store;

-- save json
SELECT snapshot_save(:stream_id, :sequence_number, :state_schema_version, :state);

-- load json
SELECT * FROM snapshot_load(:stream_id, :recognized);

-- save bytea
SELECT snapshot_save_bytea(:stream_id, :sequence_number, :state_schema_version, :state);

-- load bytea
SELECT * FROM snapshot_load_bytea(:stream_id, :recognized);
