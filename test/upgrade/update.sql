-- What a next version does: it replaces a function and adds one (test/t/upgrade_under_load.pl).

CREATE OR REPLACE FUNCTION @extschema@.snapshot_due(
    stream_id pg_catalog.text,
    recognized_schema_versions pg_catalog.int8[],
    event_count pg_catalog.int8,
    snapshot_interval pg_catalog.int8)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'snapshot_due_next'
LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION @extschema@.snapshot_added(stream_id pg_catalog.text)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'snapshot_added'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.snapshot_added(pg_catalog.text) IS
'the length of a stream''s name';
