/* snapshot_store--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION snapshot_store" to load this file. \quit

-- Everything here is qualified with its schema and every operator has operands
-- of exactly its types, so that nothing planted in a schema can be bound.

CREATE TABLE @extschema@.snapshot_store (
    stream_id pg_catalog.text COLLATE pg_catalog."C" NOT NULL
        CONSTRAINT snapshot_store_stream_id_check
        CHECK (pg_catalog.octet_length(stream_id) OPERATOR(pg_catalog.>=) 1
           AND pg_catalog.octet_length(stream_id) OPERATOR(pg_catalog.<=) 2000),
    slot pg_catalog.int2 NOT NULL
        CONSTRAINT snapshot_store_slot_check
        CHECK (slot OPERATOR(pg_catalog.>=) '0'::pg_catalog.int2),
    state_schema_version pg_catalog.int8 NOT NULL
        CONSTRAINT snapshot_store_state_schema_version_check
        CHECK (state_schema_version OPERATOR(pg_catalog.>=) '0'::pg_catalog.int8
           AND state_schema_version OPERATOR(pg_catalog.<=) '4294967295'::pg_catalog.int8),
    sequence_number pg_catalog.int8 NOT NULL
        CONSTRAINT snapshot_store_sequence_number_check
        CHECK (sequence_number OPERATOR(pg_catalog.>=) '0'::pg_catalog.int8),
    created_at pg_catalog.timestamptz NOT NULL,
    state pg_catalog.json,
    state_bytea pg_catalog.bytea,
    metadata pg_catalog.jsonb,
    CONSTRAINT snapshot_store_one_state_check
        CHECK ((state IS NULL) OPERATOR(pg_catalog.<>) (state_bytea IS NULL))
);

-- Overwriting is the common write. It stays HOT, and its old version is pruned
-- without a vacuum, if the page has room for one more; a state of up to 4 KB
-- after compression stays in line, where it costs no second descent of an index
-- and no chunks that only a vacuum frees. (States below that target the server
-- would leave uncompressed; the library sees to those of more than 2 KB.)
-- Measured on PostgreSQL 15: 1,000 streams, each overwritten 20 times with real
-- JSON of some 20 % more or less, no vacuum; heap, TOAST and index in MB, and
-- the share of HOT updates.
--
--   fillfactor  target      0.5 KB        2 KB         4.5 KB        8 KB
--      100       2032     1.0   99 %   8.1   82 %   60.5  98 %   102  98 %
--      100       4064     1.0   99 %   8.8   80 %   37.0  49 %    86  84 %
--       85       4064     1.0  100 %   6.2   91 %   36.5  59 %    87  90 %
--       75       4064     1.0  100 %   2.9   99 %   30.2  79 %    84  94 %
--       65       4064     1.2  100 %   3.0   99 %   14.2  95 %    83  95 %
--       50       4064     1.5  100 %   3.4  100 %    8.3  99 %    79  97 %
--   live data             0.6          1.4           2.7           4.5
--
-- Autovacuum is left at the server's settings for the heap, which hardly needs
-- it. In TOAST, where a save writes all chunks of a larger state anew, it makes
-- no pauses, with which it may never catch up. 50 streams of 60 KB, 300 saves a
-- second, PostgreSQL 15 (scripts/bench vacuum): after 390 s 5.4 GB of TOAST with
-- the server's pauses; without, 1.2 GB, which is what a minute of saves writes.
ALTER TABLE @extschema@.snapshot_store
    SET (fillfactor = 65, toast_tuple_target = 4064, toast.autovacuum_vacuum_cost_delay = 0);

-- A long, compressible key would be compressed when it is formed afresh, differ
-- from the stored one byte by byte, and so make the overwriting no HOT update.
ALTER TABLE @extschema@.snapshot_store ALTER COLUMN stream_id SET STORAGE PLAIN;

-- The key bounds a stream to its slots. With the schema version in it, a load
-- passes over what it does not recognize without a visit to the heap, and a
-- census reads nothing else; and since it is no part of the key proper, another
-- version in a slot is no change of the key.
ALTER TABLE @extschema@.snapshot_store
    ADD CONSTRAINT snapshot_store_pkey
    PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version);

-- lz4, where the server was built with it, takes a fifth of pglz's time for a
-- state of 65 KB. (A function in SQL, because the database may have no PL/pgSQL.)
CREATE FUNCTION @extschema@.snapshot_store_use_lz4() RETURNS pg_catalog.void
LANGUAGE sql AS $$
    ALTER TABLE @extschema@.snapshot_store
        ALTER COLUMN state SET COMPRESSION lz4,
        ALTER COLUMN state_bytea SET COMPRESSION lz4;
$$;
SELECT @extschema@.snapshot_store_use_lz4()
WHERE EXISTS (SELECT FROM pg_catalog.pg_settings s
              WHERE s.name OPERATOR(pg_catalog.=) 'default_toast_compression'
                AND 'lz4'::pg_catalog.text OPERATOR(pg_catalog.=) ANY (s.enumvals));
DROP FUNCTION @extschema@.snapshot_store_use_lz4();

COMMENT ON TABLE @extschema@.snapshot_store IS 'the snapshots of event-sourced streams';
COMMENT ON COLUMN @extschema@.snapshot_store.stream_id IS 'the stream whose state this is: not empty, at most 2,000 bytes';
COMMENT ON COLUMN @extschema@.snapshot_store.slot IS 'which of the stream''s places this snapshot takes, from 0';
COMMENT ON COLUMN @extschema@.snapshot_store.state_schema_version IS 'the version of the schema that the state follows: 0 to 4,294,967,295';
COMMENT ON COLUMN @extschema@.snapshot_store.sequence_number IS 'the last event that the state includes: 0 or more';
COMMENT ON COLUMN @extschema@.snapshot_store.created_at IS 'when the snapshot was saved, or what the caller gave';
COMMENT ON COLUMN @extschema@.snapshot_store.state IS 'the state, to the letter; null if it is in state_bytea';
COMMENT ON COLUMN @extschema@.snapshot_store.state_bytea IS 'the state as bytes; null if it is in state';
COMMENT ON COLUMN @extschema@.snapshot_store.metadata IS 'the caller''s own, to query by';
COMMENT ON CONSTRAINT snapshot_store_pkey ON @extschema@.snapshot_store IS 'bounds a stream to its slots';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.snapshot_store'::pg_catalog.regclass, '');

CREATE FUNCTION @extschema@.snapshot_save(
    stream_id pg_catalog.text,
    sequence_number pg_catalog.int8,
    state_schema_version pg_catalog.int8,
    state pg_catalog.json,
    metadata pg_catalog.json DEFAULT NULL,
    created_at pg_catalog.timestamptz DEFAULT NULL,
    replace pg_catalog.bool DEFAULT true)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'snapshot_save'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.snapshot_save(pg_catalog.text, pg_catalog.int8, pg_catalog.int8, pg_catalog.json, pg_catalog.json, pg_catalog.timestamptz, pg_catalog.bool) IS
'saves a stream''s state as of an event; false if a newer snapshot of its schema version is kept (without replace, also one of the same sequence number), or the store is off';

CREATE FUNCTION @extschema@.snapshot_save_bytea(
    stream_id pg_catalog.text,
    sequence_number pg_catalog.int8,
    state_schema_version pg_catalog.int8,
    state pg_catalog.bytea,
    metadata pg_catalog.json DEFAULT NULL,
    created_at pg_catalog.timestamptz DEFAULT NULL,
    replace pg_catalog.bool DEFAULT true)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'snapshot_save_bytea'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.snapshot_save_bytea(pg_catalog.text, pg_catalog.int8, pg_catalog.int8, pg_catalog.bytea, pg_catalog.json, pg_catalog.timestamptz, pg_catalog.bool) IS
'like snapshot_save, for a state of bytes';

-- A type of its own: the columns of RETURNS TABLE would be looked up anew in each call,
-- which made a load in FROM a tenth dearer.
CREATE TYPE @extschema@.loaded_snapshot AS (
    sequence_number pg_catalog.int8,
    state_schema_version pg_catalog.int8,
    state pg_catalog.json,
    metadata pg_catalog.jsonb,
    created_at pg_catalog.timestamptz);

COMMENT ON TYPE @extschema@.loaded_snapshot IS 'what snapshot_load returns';

CREATE FUNCTION @extschema@.snapshot_load(
    stream_id pg_catalog.text,
    recognized_schema_versions pg_catalog.int8[],
    max_sequence_number pg_catalog.int8 DEFAULT NULL,
    max_created_at pg_catalog.timestamptz DEFAULT NULL)
RETURNS SETOF @extschema@.loaded_snapshot
AS 'MODULE_PATHNAME', 'snapshot_load'
LANGUAGE C STABLE PARALLEL SAFE ROWS 1;

COMMENT ON FUNCTION @extschema@.snapshot_load(pg_catalog.text, pg_catalog.int8[], pg_catalog.int8, pg_catalog.timestamptz) IS
'returns the most recent snapshot of a stream whose schema version the caller recognizes, or no row';

CREATE TYPE @extschema@.loaded_snapshot_bytea AS (
    sequence_number pg_catalog.int8,
    state_schema_version pg_catalog.int8,
    state pg_catalog.bytea,
    metadata pg_catalog.jsonb,
    created_at pg_catalog.timestamptz);

COMMENT ON TYPE @extschema@.loaded_snapshot_bytea IS 'what snapshot_load_bytea returns';

CREATE FUNCTION @extschema@.snapshot_load_bytea(
    stream_id pg_catalog.text,
    recognized_schema_versions pg_catalog.int8[],
    max_sequence_number pg_catalog.int8 DEFAULT NULL,
    max_created_at pg_catalog.timestamptz DEFAULT NULL)
RETURNS SETOF @extschema@.loaded_snapshot_bytea
AS 'MODULE_PATHNAME', 'snapshot_load_bytea'
LANGUAGE C STABLE PARALLEL SAFE ROWS 1;

COMMENT ON FUNCTION @extschema@.snapshot_load_bytea(pg_catalog.text, pg_catalog.int8[], pg_catalog.int8, pg_catalog.timestamptz) IS
'like snapshot_load, for a state of bytes';

CREATE FUNCTION @extschema@.snapshot_info(
    stream_id pg_catalog.text)
RETURNS TABLE (
    sequence_number pg_catalog.int8,
    state_schema_version pg_catalog.int8,
    state_size pg_catalog.int8,
    created_at pg_catalog.timestamptz)
AS 'MODULE_PATHNAME', 'snapshot_info'
LANGUAGE C STABLE PARALLEL SAFE ROWS 1;

COMMENT ON FUNCTION @extschema@.snapshot_info(pg_catalog.text) IS
'lists the snapshots kept for a stream, newest first, with the stored size of their states in bytes; reads no state';

CREATE FUNCTION @extschema@.snapshot_should_take(
    event_count pg_catalog.int8,
    last_sequence_number pg_catalog.int8,
    snapshot_interval pg_catalog.int8)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'snapshot_should_take'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.snapshot_should_take(pg_catalog.int8, pg_catalog.int8, pg_catalog.int8) IS
'tells whether at least snapshot_interval events came since the last snapshot (NULL or 0: there is none; an interval of 0 means never)';

CREATE FUNCTION @extschema@.snapshot_due(
    stream_id pg_catalog.text,
    recognized_schema_versions pg_catalog.int8[],
    event_count pg_catalog.int8,
    snapshot_interval pg_catalog.int8)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'snapshot_due'
LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.snapshot_due(pg_catalog.text, pg_catalog.int8[], pg_catalog.int8, pg_catalog.int8) IS
'like snapshot_should_take, against the most recent stored snapshot that the caller recognizes';

CREATE FUNCTION @extschema@.snapshot_delete(
    stream_id pg_catalog.text,
    max_sequence_number pg_catalog.int8 DEFAULT NULL,
    max_created_at pg_catalog.timestamptz DEFAULT NULL,
    min_sequence_number pg_catalog.int8 DEFAULT NULL,
    min_created_at pg_catalog.timestamptz DEFAULT NULL)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'snapshot_delete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.snapshot_delete(pg_catalog.text, pg_catalog.int8, pg_catalog.timestamptz, pg_catalog.int8, pg_catalog.timestamptz) IS
'deletes a stream''s snapshots within inclusive bounds (none: all of them) and returns how many';

CREATE FUNCTION @extschema@.snapshot_save_many(
    stream_ids pg_catalog.text[],
    sequence_numbers pg_catalog.int8[],
    state_schema_versions pg_catalog.int8[],
    states pg_catalog.json[],
    metadata pg_catalog.json[] DEFAULT NULL,
    created_at pg_catalog.timestamptz[] DEFAULT NULL,
    replace pg_catalog.bool DEFAULT true)
RETURNS TABLE (
    stream_id pg_catalog.text,
    stored pg_catalog.bool)
AS 'MODULE_PATHNAME', 'snapshot_save_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;

COMMENT ON FUNCTION @extschema@.snapshot_save_many(pg_catalog.text[], pg_catalog.int8[], pg_catalog.int8[], pg_catalog.json[], pg_catalog.json[], pg_catalog.timestamptz[], pg_catalog.bool) IS
'saves snapshots of many streams in one call; returns for each, in their order, what snapshot_save would';

CREATE FUNCTION @extschema@.snapshot_save_many_bytea(
    stream_ids pg_catalog.text[],
    sequence_numbers pg_catalog.int8[],
    state_schema_versions pg_catalog.int8[],
    states pg_catalog.bytea[],
    metadata pg_catalog.json[] DEFAULT NULL,
    created_at pg_catalog.timestamptz[] DEFAULT NULL,
    replace pg_catalog.bool DEFAULT true)
RETURNS TABLE (
    stream_id pg_catalog.text,
    stored pg_catalog.bool)
AS 'MODULE_PATHNAME', 'snapshot_save_many_bytea'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;

COMMENT ON FUNCTION @extschema@.snapshot_save_many_bytea(pg_catalog.text[], pg_catalog.int8[], pg_catalog.int8[], pg_catalog.bytea[], pg_catalog.json[], pg_catalog.timestamptz[], pg_catalog.bool) IS
'like snapshot_save_many, for states of bytes';

CREATE FUNCTION @extschema@.snapshot_load_many(
    stream_ids pg_catalog.text[],
    recognized_schema_versions pg_catalog.int8[],
    max_sequence_numbers pg_catalog.int8[] DEFAULT NULL)
RETURNS TABLE (
    stream_id pg_catalog.text,
    sequence_number pg_catalog.int8,
    state_schema_version pg_catalog.int8,
    state pg_catalog.json,
    metadata pg_catalog.jsonb,
    created_at pg_catalog.timestamptz)
AS 'MODULE_PATHNAME', 'snapshot_load_many'
LANGUAGE C STABLE PARALLEL SAFE ROWS 100;

COMMENT ON FUNCTION @extschema@.snapshot_load_many(pg_catalog.text[], pg_catalog.int8[], pg_catalog.int8[]) IS
'returns the most recent recognized snapshot of each of many streams, in their order';

CREATE FUNCTION @extschema@.snapshot_load_many_bytea(
    stream_ids pg_catalog.text[],
    recognized_schema_versions pg_catalog.int8[],
    max_sequence_numbers pg_catalog.int8[] DEFAULT NULL)
RETURNS TABLE (
    stream_id pg_catalog.text,
    sequence_number pg_catalog.int8,
    state_schema_version pg_catalog.int8,
    state pg_catalog.bytea,
    metadata pg_catalog.jsonb,
    created_at pg_catalog.timestamptz)
AS 'MODULE_PATHNAME', 'snapshot_load_many_bytea'
LANGUAGE C STABLE PARALLEL SAFE ROWS 100;

COMMENT ON FUNCTION @extschema@.snapshot_load_many_bytea(pg_catalog.text[], pg_catalog.int8[], pg_catalog.int8[]) IS
'like snapshot_load_many, for states of bytes';

CREATE FUNCTION @extschema@.snapshot_census(
    stream_id_prefix pg_catalog.text DEFAULT '')
RETURNS TABLE (
    state_schema_version pg_catalog.int8,
    snapshots pg_catalog.int8,
    streams pg_catalog.int8)
AS 'MODULE_PATHNAME', 'snapshot_census'
LANGUAGE C STABLE PARALLEL SAFE ROWS 10;

COMMENT ON FUNCTION @extschema@.snapshot_census(pg_catalog.text) IS
'counts the snapshots of each schema version, and their streams, of streams whose names begin with the prefix';

CREATE FUNCTION @extschema@.snapshot_outdated(
    stream_id_prefix pg_catalog.text,
    recognized_schema_versions pg_catalog.int8[],
    max_streams pg_catalog.int4 DEFAULT 1000,
    after_stream_id pg_catalog.text DEFAULT NULL)
RETURNS SETOF pg_catalog.text
AS 'MODULE_PATHNAME', 'snapshot_outdated'
LANGUAGE C STABLE PARALLEL SAFE ROWS 1000;

COMMENT ON FUNCTION @extschema@.snapshot_outdated(pg_catalog.text, pg_catalog.int8[], pg_catalog.int4, pg_catalog.text) IS
'lists streams that hold snapshots, none of a recognized schema version, in the order of their names, from after_stream_id on';

CREATE PROCEDURE @extschema@.snapshot_purge(
    stream_id_prefix pg_catalog.text,
    recognized_schema_versions pg_catalog.int8[] DEFAULT NULL,
    min_created_at pg_catalog.timestamptz DEFAULT NULL,
    max_created_at pg_catalog.timestamptz DEFAULT NULL,
    batch_size pg_catalog.int4 DEFAULT 1000,
    INOUT deleted pg_catalog.int8 DEFAULT NULL)
AS 'MODULE_PATHNAME', 'snapshot_purge'
LANGUAGE C;

COMMENT ON PROCEDURE @extschema@.snapshot_purge(pg_catalog.text, pg_catalog.int8[], pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.int8) IS
'deletes, in batches that commit, snapshots that are not recognized and lie within bounds of time; returns how many';

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

-- Whoever installs the extension owns the table, superuser or not. This comes
-- last, so that nothing above runs on a table that another role may change. For
-- the same reason no update script may read or touch its rows, nor rewrite,
-- validate or index it: that would run the owner's triggers and expressions as
-- superuser.
ALTER TABLE @extschema@.snapshot_store OWNER TO @extowner@;
