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

-- States can be packed by dictionaries of their kind. Nothing here touches the
-- table: its owner alone may make its column "state" one of this type. What
-- unpacks reads tables and is immutable all the same: a dictionary's number is
-- made of its content, so there is one result, or an error.
CREATE TYPE @extschema@.snapshot_state;

CREATE FUNCTION @extschema@.snapshot_state_in(pg_catalog.cstring)
RETURNS @extschema@.snapshot_state
AS 'MODULE_PATHNAME', 'snapshot_state_in'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION @extschema@.snapshot_state_out(@extschema@.snapshot_state)
RETURNS pg_catalog.cstring
AS 'MODULE_PATHNAME', 'snapshot_state_out'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION @extschema@.snapshot_state_recv(pg_catalog.internal)
RETURNS @extschema@.snapshot_state
AS 'MODULE_PATHNAME', 'snapshot_state_recv'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION @extschema@.snapshot_state_send(@extschema@.snapshot_state)
RETURNS pg_catalog.bytea
AS 'MODULE_PATHNAME', 'snapshot_state_send'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE @extschema@.snapshot_state (
    INPUT = @extschema@.snapshot_state_in,
    OUTPUT = @extschema@.snapshot_state_out,
    RECEIVE = @extschema@.snapshot_state_recv,
    SEND = @extschema@.snapshot_state_send,
    LIKE = pg_catalog.json,
    STORAGE = extended);

COMMENT ON FUNCTION @extschema@.snapshot_state_in(pg_catalog.cstring) IS 'I/O';
COMMENT ON FUNCTION @extschema@.snapshot_state_out(@extschema@.snapshot_state) IS 'I/O';
COMMENT ON FUNCTION @extschema@.snapshot_state_recv(pg_catalog.internal) IS 'I/O';
COMMENT ON FUNCTION @extschema@.snapshot_state_send(@extschema@.snapshot_state) IS 'I/O';
COMMENT ON TYPE @extschema@.snapshot_state IS
'JSON, to the letter, packed by a dictionary if snapshot_save or snapshot_repack has one for it';

CREATE FUNCTION @extschema@.snapshot_state_to_json(@extschema@.snapshot_state)
RETURNS pg_catalog.json
AS 'MODULE_PATHNAME', 'snapshot_state_to_json'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.snapshot_state_to_json(@extschema@.snapshot_state) IS
'the state as json, to the letter';

-- JSON is a state as it is, so a column of json becomes one of states without
-- being rewritten. The other way there is always something to do.
CREATE CAST (pg_catalog.json AS @extschema@.snapshot_state) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (@extschema@.snapshot_state AS pg_catalog.json)
    WITH FUNCTION @extschema@.snapshot_state_to_json(@extschema@.snapshot_state) AS IMPLICIT;
CREATE CAST (pg_catalog.jsonb AS @extschema@.snapshot_state) WITH INOUT AS ASSIGNMENT;
CREATE CAST (@extschema@.snapshot_state AS pg_catalog.jsonb) WITH INOUT AS ASSIGNMENT;

-- Nobody is granted these tables, and they stay the superuser's: what they hold is
-- taken from states. The library reads them without privileges, as the server does
-- its catalogs, also while changes are decoded for a subscriber; and it alone
-- writes there, by which triggers are not fired. To a decoder that is behind, an
-- index and a TOAST table that were rewritten meanwhile are gone, but a table that
-- is marked like these is not: so the contents are in parts that fit into pages.
CREATE TABLE @extschema@.snapshot_dictionary (
    number pg_catalog.int8 NOT NULL,
    stream_id_prefix pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    state_schema_version pg_catalog.int8,
    level pg_catalog.int4 NOT NULL,
    active pg_catalog.bool NOT NULL,
    trained_at pg_catalog.timestamptz NOT NULL,
    samples pg_catalog.int4 NOT NULL,
    ratio pg_catalog.float8 NOT NULL,
    size pg_catalog.int4 NOT NULL,
    CONSTRAINT snapshot_dictionary_pkey PRIMARY KEY (number)
) WITH (user_catalog_table = true);

CREATE TABLE @extschema@.snapshot_dictionary_part (
    number pg_catalog.int8 NOT NULL,
    part pg_catalog.int4 NOT NULL,
    content pg_catalog.bytea NOT NULL,
    CONSTRAINT snapshot_dictionary_part_pkey PRIMARY KEY (number, part)
) WITH (user_catalog_table = true);

ALTER TABLE @extschema@.snapshot_dictionary ALTER COLUMN stream_id_prefix SET STORAGE PLAIN;
ALTER TABLE @extschema@.snapshot_dictionary_part ALTER COLUMN content SET STORAGE PLAIN;

COMMENT ON TABLE @extschema@.snapshot_dictionary IS 'the dictionaries by which states are packed: never deleted, nor is their content changed';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.number IS 'a hash of its content';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.stream_id_prefix IS 'it packs states of streams whose names begin with this';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.state_schema_version IS 'it packs states of this schema version; null for all';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.level IS 'zstd''s level of compression';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.active IS 'does it pack, or only unpack?';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.trained_at IS 'when it was trained';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.samples IS 'on how many states it was trained and tested';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.ratio IS 'how many times smaller than what the server makes of them it made those that it was tested on';
COMMENT ON COLUMN @extschema@.snapshot_dictionary.size IS 'how many bytes its content has';
COMMENT ON TABLE @extschema@.snapshot_dictionary_part IS 'the contents of the dictionaries, in parts';
COMMENT ON COLUMN @extschema@.snapshot_dictionary_part.number IS 'the dictionary''s number';
COMMENT ON COLUMN @extschema@.snapshot_dictionary_part.part IS 'which of its parts this is, from 0';
COMMENT ON COLUMN @extschema@.snapshot_dictionary_part.content IS 'some of what zstd takes as a dictionary';

CREATE FUNCTION @extschema@.snapshot_dictionary_guard()
RETURNS pg_catalog.trigger
AS 'MODULE_PATHNAME', 'snapshot_dictionary_guard'
LANGUAGE C;

COMMENT ON FUNCTION @extschema@.snapshot_dictionary_guard() IS
'keeps dictionaries from being changed by hand';

-- By hand nothing can be changed. What a publication of all tables brings from
-- another server is passed over: dictionaries are each server's own.
CREATE TRIGGER snapshot_dictionary_guard
BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.snapshot_dictionary
FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.snapshot_dictionary_guard();
CREATE TRIGGER snapshot_dictionary_guard_truncate
BEFORE TRUNCATE ON @extschema@.snapshot_dictionary
FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.snapshot_dictionary_guard();
CREATE TRIGGER snapshot_dictionary_guard_replica
BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.snapshot_dictionary
FOR EACH ROW EXECUTE FUNCTION @extschema@.snapshot_dictionary_guard();
ALTER TABLE @extschema@.snapshot_dictionary
    ENABLE ALWAYS TRIGGER snapshot_dictionary_guard_truncate,
    ENABLE REPLICA TRIGGER snapshot_dictionary_guard_replica;

CREATE TRIGGER snapshot_dictionary_guard
BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.snapshot_dictionary_part
FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.snapshot_dictionary_guard();
CREATE TRIGGER snapshot_dictionary_guard_truncate
BEFORE TRUNCATE ON @extschema@.snapshot_dictionary_part
FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.snapshot_dictionary_guard();
CREATE TRIGGER snapshot_dictionary_guard_replica
BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.snapshot_dictionary_part
FOR EACH ROW EXECUTE FUNCTION @extschema@.snapshot_dictionary_guard();
ALTER TABLE @extschema@.snapshot_dictionary_part
    ENABLE ALWAYS TRIGGER snapshot_dictionary_guard_truncate,
    ENABLE REPLICA TRIGGER snapshot_dictionary_guard_replica;

CREATE FUNCTION @extschema@.snapshot_dictionary_estimate(
    stream_id_prefix pg_catalog.text,
    state_schema_version pg_catalog.int8 DEFAULT NULL,
    max_samples pg_catalog.int4 DEFAULT 1000,
    max_size pg_catalog.int4 DEFAULT 65536,
    level pg_catalog.int4 DEFAULT 3,
    min_samples pg_catalog.int4 DEFAULT 10,
    OUT snapshots pg_catalog.int8,
    OUT samples pg_catalog.int4,
    OUT state_size pg_catalog.int8,
    OUT stored_size pg_catalog.int8,
    OUT packed_size pg_catalog.int8,
    OUT ratio pg_catalog.float8,
    OUT savings pg_catalog.int8,
    OUT dictionary_size pg_catalog.int4)
AS 'MODULE_PATHNAME', 'snapshot_dictionary_estimate'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.snapshot_dictionary_estimate(pg_catalog.text, pg_catalog.int8, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4) IS
'what a dictionary for states of streams with a common beginning of their names would save; for the owner of the table';

CREATE FUNCTION @extschema@.snapshot_dictionary_train(
    stream_id_prefix pg_catalog.text,
    state_schema_version pg_catalog.int8 DEFAULT NULL,
    max_samples pg_catalog.int4 DEFAULT 1000,
    max_size pg_catalog.int4 DEFAULT 65536,
    level pg_catalog.int4 DEFAULT 3,
    min_samples pg_catalog.int4 DEFAULT 10,
    OUT number pg_catalog.int8,
    OUT snapshots pg_catalog.int8,
    OUT samples pg_catalog.int4,
    OUT state_size pg_catalog.int8,
    OUT stored_size pg_catalog.int8,
    OUT packed_size pg_catalog.int8,
    OUT ratio pg_catalog.float8,
    OUT savings pg_catalog.int8,
    OUT dictionary_size pg_catalog.int4)
AS 'MODULE_PATHNAME', 'snapshot_dictionary_train'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.snapshot_dictionary_train(pg_catalog.text, pg_catalog.int8, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4, pg_catalog.int4) IS
'trains a dictionary, by which later saves are packed, if it makes states at least 1.2 times smaller; for the owner of the table';

CREATE FUNCTION @extschema@.snapshot_dictionary_retire(number pg_catalog.int8)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'snapshot_dictionary_retire'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.snapshot_dictionary_retire(pg_catalog.int8) IS
'packs nothing by that dictionary any more; what it has packed stays readable; for the owner of the table';

CREATE FUNCTION @extschema@.snapshot_dictionaries(
    OUT number pg_catalog.int8,
    OUT stream_id_prefix pg_catalog.text,
    OUT state_schema_version pg_catalog.int8,
    OUT level pg_catalog.int4,
    OUT active pg_catalog.bool,
    OUT trained_at pg_catalog.timestamptz,
    OUT samples pg_catalog.int4,
    OUT ratio pg_catalog.float8,
    OUT size pg_catalog.int4)
RETURNS SETOF pg_catalog.record
AS 'MODULE_PATHNAME', 'snapshot_dictionaries'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;

COMMENT ON FUNCTION @extschema@.snapshot_dictionaries() IS
'the dictionaries, but for their content; for the owner of the table';

CREATE PROCEDURE @extschema@.snapshot_repack(
    stream_id_prefix pg_catalog.text,
    batch_size pg_catalog.int4 DEFAULT 100,
    INOUT repacked pg_catalog.int8 DEFAULT NULL)
AS 'MODULE_PATHNAME', 'snapshot_repack'
LANGUAGE C;

COMMENT ON PROCEDURE @extschema@.snapshot_repack(pg_catalog.text, pg_catalog.int4, pg_catalog.int8) IS
'packs stored states by the dictionaries that are active now, or unpacks those that have none, in batches that commit; for the owner of the table';

-- Where Citus writes rows on other nodes, their commits must be flushed there. It
-- sends nothing there but what is immutable.
CREATE FUNCTION @extschema@.snapshot_ensure_durable(slot pg_catalog.int2)
RETURNS pg_catalog.int4
AS 'MODULE_PATHNAME', 'snapshot_ensure_durable'
LANGUAGE C IMMUTABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.snapshot_ensure_durable(pg_catalog.int2) IS
'has the transaction flushed when it commits, and returns which node of Citus this is; for rows that Citus writes';
