-- snapshot_store on a table of 16 partitions in the place of its own.

-- table
CREATE EXTENSION snapshot_store;
ALTER EXTENSION snapshot_store DROP TABLE snapshot_store;
ALTER TABLE snapshot_store RENAME TO original;
CREATE TABLE snapshot_store (LIKE original INCLUDING ALL) PARTITION BY HASH (stream_id);
DROP TABLE original;
DO $$
BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('CREATE TABLE snapshot_store_%1$s PARTITION OF snapshot_store
                        FOR VALUES WITH (MODULUS 16, REMAINDER %1$s)
                        WITH (fillfactor = 65, toast_tuple_target = 4064, toast.autovacuum_vacuum_cost_delay = 0)', n);
    END LOOP;
END
$$;

-- like ours
