-- snapshot_store with states of the type snapshot_state, and no dictionary: what the type alone costs.

-- table
CREATE EXTENSION snapshot_store;
ALTER TABLE snapshot_store ALTER state TYPE snapshot_state, ALTER state SET COMPRESSION lz4;

-- like ours
