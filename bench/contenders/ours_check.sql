-- snapshot_store with a constraint that bounds what plain SQL writes, too (SECURITY.md).

-- table
CREATE EXTENSION snapshot_store;
ALTER TABLE snapshot_store ADD CONSTRAINT snapshot_store_size
    CHECK (octet_length(state::text) <= 1000000
       AND octet_length(state_bytea) <= 1000000
       AND octet_length(metadata::text) <= 10000);

-- like ours
