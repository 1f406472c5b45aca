-- What loads and saves did. The numbers are everybody's; the function gives kinds, which are
-- text from streams' names, to few.
CREATE FUNCTION @extschema@.snapshot_stats(
    OUT datid pg_catalog.oid,
    OUT datname pg_catalog.name,
    OUT kind pg_catalog.text,
    OUT scope pg_catalog.text,
    OUT loads_found pg_catalog.int8,
    OUT loads_not_found pg_catalog.int8,
    OUT loads_unrecognized pg_catalog.int8,
    OUT loads_out_of_bounds pg_catalog.int8,
    OUT loads_off pg_catalog.int8,
    OUT saves_stored pg_catalog.int8,
    OUT saves_older pg_catalog.int8,
    OUT saves_same pg_catalog.int8,
    OUT saves_suppressed pg_catalog.int8,
    OUT saves_off pg_catalog.int8,
    OUT saves_rolled_back pg_catalog.int8,
    OUT save_retries pg_catalog.int8,
    OUT load_batches pg_catalog.int8,
    OUT load_batch_streams pg_catalog.int8,
    OUT save_batches pg_catalog.int8,
    OUT save_batch_streams pg_catalog.int8,
    OUT bytes_loaded pg_catalog.int8,
    OUT bytes_saved pg_catalog.int8,
    OUT stats_since pg_catalog.timestamptz)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'snapshot_stats'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;

COMMENT ON FUNCTION @extschema@.snapshot_stats() IS
'what loads and saves did, by database and kind of stream';

CREATE VIEW @extschema@.snapshot_stats WITH (security_invoker) AS
SELECT * FROM @extschema@.snapshot_stats();

COMMENT ON VIEW @extschema@.snapshot_stats IS
'what loads and saves did, by database and, in this one, kind of stream: what stands before the first of - / : | # in its name';

GRANT SELECT ON @extschema@.snapshot_stats TO PUBLIC;

CREATE FUNCTION @extschema@.snapshot_stats_reset()
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'snapshot_stats_reset'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.snapshot_stats_reset() IS
'counts anew what snapshot_stats shows of this database; for the owner of the table';
