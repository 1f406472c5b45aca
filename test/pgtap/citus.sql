-- What is done where Citus distributes the table, on a server that only looks like one of Citus: it has what is looked at
-- of its catalogs, and its function that says in which shard a stream is. test/citus/ tests it on a cluster. This file
-- commits; it has the database to itself.
SELECT plan(71);

\setenv PGHOST :HOST
\setenv PGPORT :PORT
\setenv PGDATABASE :DBNAME
\setenv PGUSER :USER

SET client_min_messages = warning;
TRUNCATE snapshot_store;
DROP ROLE IF EXISTS snapshot_test_columns;

-- The error that a command raises, as "SQLSTATE message", or the one value that it returns.
CREATE FUNCTION pg_temp.result_of(command text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	result text;
BEGIN
	EXECUTE command INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
-- Citus tells sessions when its catalogs have changed.
CREATE FUNCTION pg_temp.tell() RETURNS void LANGUAGE sql
AS $$
	ALTER TABLE snapshot_store SET (fillfactor = 65);
$$;
CREATE FUNCTION pg_temp.kept() RETURNS text LANGUAGE sql
AS $$
	SELECT string_agg(format('%s/%s v%s n%s', stream_id, slot, state_schema_version, sequence_number), '; ' ORDER BY stream_id, slot)
	FROM snapshot_store
$$;

-- A server of Citus that knows nothing of the table

SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass);
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-1', 1, 1, '1')$$), 'true', 'a table that is not distributed');
CREATE TABLE pg_catalog.pg_dist_local_group (groupid integer);
INSERT INTO pg_catalog.pg_dist_local_group VALUES (0);
SELECT pg_temp.tell();
SELECT is(pg_temp.result_of($$SELECT state FROM snapshot_load('s-1', '{1}')$$), '1', '... on a coordinator');
UPDATE pg_catalog.pg_dist_local_group SET groupid = 2;
SELECT pg_temp.tell();
SELECT is(pg_temp.result_of(command), '55000 this node of Citus does not know where the rows of table "snapshot_store" are',
		  format('on a worker it is an error: %s', command))
FROM (VALUES ('SELECT snapshot_save(''s-1'', 2, 1, ''2'')'), ('SELECT * FROM snapshot_load(''s-1'', ''{1}'')'),
			 ('SELECT snapshot_delete(''s-1'')'), ('SELECT * FROM snapshot_census()')) AS v (command);
UPDATE pg_catalog.pg_dist_local_group SET groupid = 0;
CREATE TABLE elsewhere (n integer);
CREATE INDEX "snapshot_store_pkey_x" ON elsewhere (n);
CREATE INDEX "snapshot_store_pkey_" ON elsewhere (n);
CREATE SCHEMA elsewhere CREATE TABLE elsewhere (n integer) CREATE INDEX snapshot_store_pkey_102008 ON elsewhere (n);
SELECT pg_temp.tell();
SELECT is(pg_temp.result_of($$SELECT state FROM snapshot_load('s-1', '{1}')$$), '1', 'what is no shard of the table');
CREATE INDEX snapshot_store_pkey_102008 ON elsewhere (n);
SELECT pg_temp.tell();
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-1', 2, 1, '2')$$),
		  '55000 this node of Citus does not know where the rows of table "snapshot_store" are',
		  'a shard without metadata');
DROP TABLE elsewhere, elsewhere.elsewhere;
DROP SCHEMA elsewhere;
SELECT pg_temp.tell();
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-1', 2, 1, '2')$$), 'true', 'neither of that');

-- One that distributes it

INSERT INTO pg_catalog.pg_dist_partition VALUES ('snapshot_store');
CREATE FUNCTION pg_catalog.get_shard_id_for_distribution_column(relation regclass, stream text) RETURNS bigint
	LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF NOT has_table_privilege(relation, 'SELECT') THEN
		RAISE EXCEPTION insufficient_privilege USING MESSAGE = 'the shard is not for ' || current_user;
	END IF;
	RETURN CASE stream WHEN 's-none' THEN NULL WHEN 's-lost' THEN 0 ELSE 100 + length(stream) % 3 END;
END
$$;
SELECT pg_temp.tell();
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-1', 3, 1, '3')$$), 'true', 'a save to a distributed table');
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-1', 2, 1, '2')$$), 'false', 'an older one');
SELECT is(pg_temp.result_of($$SELECT snapshot_save_bytea('s-2', 1, 1, '\x01')$$), 'true', 'a first one');
SELECT is(pg_temp.result_of($$SELECT state FROM snapshot_load('s-1', '{1}')$$), '3', 'a load');
SELECT is(pg_temp.result_of($$SELECT state_size FROM snapshot_info('s-2')$$), '2', 'its list');
SET snapshot_store.keep = 4;
SELECT is(count(*), 4::bigint, 'a history') FROM generate_series(4, 7) AS n WHERE snapshot_save('s-1', n, 1, to_json(n));
SET snapshot_store.keep = 2;
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-1', 8, 1, '8')$$), 'true', 'a save after keep was lowered');
SELECT is(pg_temp.kept(), 's-1/0 v1 n7; s-1/1 v1 n8; s-2/0 v1 n1', '... and what it leaves');
RESET snapshot_store.keep;
SELECT is(array_agg(stored), '{t,t}', 'a batch') FROM snapshot_save_many('{s-3,s-1}', '{1,9}', '{2,1}', '{1,9}');
SELECT is(pg_temp.result_of($$SELECT snapshot_delete('s-2')$$), '1', 'a deletion');
SELECT is(pg_temp.kept(), 's-1/0 v1 n9; s-3/0 v2 n1', '... and what is left');

-- A worker looks where it has written. This one, the group 2, is the only one here.
CREATE TABLE pg_catalog.pg_dist_node (nodeid integer);
CREATE TABLE pg_catalog.pg_dist_placement (placementid bigint, shardid bigint, shardstate integer, shardlength bigint, groupid integer);
INSERT INTO pg_catalog.pg_dist_placement VALUES (1, 100, 1, 0, 3), (2, 100, 1, 0, 2), (3, 101, 1, 0, 3), (4, 102, 4, 0, 2);
SELECT is(snapshot_ensure_durable(1::smallint), NULL, 'a server with no node');
INSERT INTO pg_catalog.pg_dist_node VALUES (1);
SELECT is(snapshot_ensure_durable(1::smallint), 0, 'a coordinator');
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-10', 1, 1, '1')$$), 'true', '... does not look where it has written');
SELECT is(pg_temp.result_of($$SELECT snapshot_delete('s-11')$$), '0', '... nor where nothing was to be deleted');
UPDATE pg_catalog.pg_dist_local_group SET groupid = 2;
SELECT pg_temp.tell();
SELECT is(pg_temp.result_of(command), expected, format('on a worker: %s', command))
FROM (VALUES ('SELECT snapshot_save(''s-1'', 10, 1, ''10'')', 'true'),
			 ('SELECT snapshot_save(''s-10'', 2, 1, ''2'')', '40001 stream "s-10" has moved to another node since the transaction read it'),
			 ('SELECT snapshot_delete(''s-10'')', '40001 stream "s-10" has moved to another node since the transaction read it'),
			 ('SELECT snapshot_save(''s-100'', 1, 1, ''1'')', '40001 stream "s-100" has moved to another node since the transaction read it'),
			 ('SELECT snapshot_save(''s-none'', 1, 1, ''1'')', 'XX000 Citus knows no shard for stream "s-none"'),
			 ('SELECT snapshot_save(''s-lost'', 1, 1, ''1'')', 'XX000 Citus knows no shard for stream "s-lost"'),
			 -- What writes nothing, too
			 ('SELECT snapshot_save(''s-1'', 9, 1, ''9'')', 'false'),
			 ('SELECT snapshot_save(''s-10'', 0, 1, ''0'')', '40001 stream "s-10" has moved to another node since the transaction read it'),
			 ('SELECT stored FROM snapshot_save_many(''{s-10}'', ''{0}'', ''{1}'', ''{0}'')', '40001 stream "s-10" has moved to another node since the transaction read it'),
			 ('SELECT snapshot_delete(''s-9'')', '0'),
			 ('SELECT snapshot_delete(''s-11'')', '40001 stream "s-11" has moved to another node since the transaction read it'),
			 ('SELECT sequence_number FROM snapshot_load(''s-10'', ''{1}'')', '1')) AS v (command, expected);
DELETE FROM pg_catalog.pg_dist_node;
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-1', 11, 1, '11')$$), '55000 the node of Citus that has stream "s-1" has no metadata',
		  '... and the node where it writes must know which it is');
INSERT INTO pg_catalog.pg_dist_node VALUES (1);
CREATE ROLE snapshot_test_columns;
GRANT SELECT (stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata), INSERT, UPDATE, DELETE
ON snapshot_store TO snapshot_test_columns;
SET ROLE snapshot_test_columns;
SELECT snapshot_save('s-1', 11, 1, '11') AS saved, current_user AS saver \gset
RESET ROLE;
SELECT is(:'saved' || ' ' || :'saver', 't snapshot_test_columns', '... who may not read the whole table can save');
DROP OWNED BY snapshot_test_columns;
DROP ROLE snapshot_test_columns;
ALTER TABLE pg_catalog.pg_dist_placement RENAME TO pg_dist_placement_away;
SELECT is(pg_temp.result_of($$SELECT snapshot_save('s-1', 12, 1, '12')$$), 'XX000 Citus has no catalog "pg_dist_placement"', '... another Citus');
ALTER TABLE pg_catalog.pg_dist_placement_away RENAME TO pg_dist_placement;
UPDATE pg_catalog.pg_dist_local_group SET groupid = 0;
DROP TABLE pg_catalog.pg_dist_placement, pg_catalog.pg_dist_node;
DELETE FROM snapshot_store WHERE stream_id = 's-10';
SELECT pg_temp.tell();

-- Which rows are flushed where they are: those of which the function that has it done is told.
CREATE SEQUENCE calls;
CREATE FUNCTION pg_temp.calls() RETURNS text LANGUAGE sql
AS $$
	SELECT CASE WHEN is_called THEN last_value ELSE 0 END || setval('calls', 1, false)::text FROM calls
$$;
CREATE OR REPLACE FUNCTION snapshot_ensure_durable(slot smallint) RETURNS integer LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
	PERFORM nextval('public.calls');
	RETURN slot;
END
$$;
SELECT is(pg_temp.result_of(command) || ' ' || pg_temp.calls(), expected, format('the function is called: %s', command))
FROM (VALUES ('SELECT snapshot_save(''s-4'', 1, 1, ''1'')', 'true 11'), ('SELECT snapshot_save(''s-4'', 2, 1, ''2'')', 'true 11'),
			 ('SELECT snapshot_save(''s-4'', 1, 1, ''1'')', 'false 01'), ('SELECT snapshot_save(''s-4'', 1, 2, ''3'')', 'true 11'),
			 ('SELECT count(*) FROM snapshot_save_many(''{s-4,s-5}'', ''{3,3}'', ''{2,2}'', ''{3,3}'')', '2 21'),
			 ('SELECT snapshot_delete(''s-5'')', '1 11'), ('SELECT count(*) FROM snapshot_load(''s-4'', ''{2}'')', '1 01'))
	AS v (command, expected);

-- Upkeep

TRUNCATE snapshot_store;
INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
SELECT 'up-' || n, slot, CASE WHEN n % 3 = 0 THEN 3 ELSE slot + 1 END, n, timestamptz '2024-01-01 00:00+00' + n * interval '1 day', '1'
FROM generate_series(1, 300) AS n, generate_series(0, 1) AS slot;
SELECT snapshot_save('other', 1, 9, '1');
SELECT results_eq($$SELECT * FROM snapshot_census('up-')$$,
	'VALUES (1::bigint, 200::bigint, 200::bigint), (2, 200, 200), (3, 200, 100)', 'a census');
SELECT is(count(*), 4::bigint, '... of all') FROM snapshot_census();
SELECT is(count(*), 0::bigint, '... of nothing') FROM snapshot_census('up_');
SELECT results_eq($$SELECT snapshot_outdated('up-', '{1,9}', 20, 'up-2')$$,
	$$SELECT 'up-' || n FROM generate_series(3, 300, 3) AS n WHERE 'up-' || n > 'up-2' ORDER BY ('up-' || n) COLLATE "C" LIMIT 20$$,
	'the first of a work list');
SELECT is(count(*), 101::bigint, '... and a whole one') FROM snapshot_outdated('', '{2}');
SELECT is(count(*), 301::bigint, '... of those who recognize nothing') FROM snapshot_outdated('', '{}');

-- Of streams 1 to 100, 67 have a second version, and 33 the third one twice. One is locked.
SELECT setval('calls', 1, false);
BEGIN;
SELECT FROM snapshot_store WHERE stream_id = 'up-4' FOR UPDATE;
\set answer `psql -XqAt -c "CALL snapshot_purge('up-', '{1}', max_created_at => '2024-04-10 00:00+00', batch_size => 7)" 2>&1`
COMMIT;
SELECT is(:'answer'::text, E'NOTICE:  snapshot_purge() has deleted 132 snapshots\n132', 'a purge passes over what is locked');
SELECT is(pg_temp.calls(), '1321', '... and has the commits flushed where the rows were');
\set answer `psql -XqAt -c "CALL snapshot_purge('up-', '{1}', max_created_at => '2024-04-10 00:00+00', batch_size => 7)" 2>&1`
SELECT is(:'answer'::text, E'NOTICE:  snapshot_purge() has deleted 1 snapshot\n1', '... for the next one');
SELECT results_eq($$SELECT * FROM snapshot_census('up-')$$,
	'VALUES (1::bigint, 200::bigint, 200::bigint), (2, 133, 133), (3, 134, 67)', '... and nothing else goes');

-- Each partition has a row in the same place.
ALTER TABLE snapshot_store RENAME TO put_aside;
CREATE TABLE snapshot_store (LIKE put_aside INCLUDING CONSTRAINTS, PRIMARY KEY (stream_id, slot)) PARTITION BY LIST (slot);
CREATE TABLE part_0 PARTITION OF snapshot_store FOR VALUES IN (0);
CREATE TABLE part_1 PARTITION OF snapshot_store FOR VALUES IN (1);
INSERT INTO pg_catalog.pg_dist_partition VALUES ('snapshot_store');
INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
SELECT 'p-1', slot, slot + 1, 1, '2024-01-01', '1' FROM generate_series(0, 1) AS slot;
\set answer `psql -XqAt -c "CALL snapshot_purge('p-', '{1}')" 2>&1`
SELECT is(:'answer'::text, E'NOTICE:  snapshot_purge() has deleted 1 snapshot\n1', 'a purge of a table of partitions');
SELECT is(pg_temp.kept(), 'p-1/0 v1 n1', '... leaves the other ones their rows');
DROP TABLE snapshot_store;
ALTER TABLE put_aside RENAME TO snapshot_store;

-- Stopped at the last of three shards, which are listed in their order.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a shard that is away'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON snapshot_store FOR EACH ROW WHEN (length(OLD.stream_id) % 3 = 2) EXECUTE FUNCTION refuse();
SELECT count(*) AS left_over FROM snapshot_store WHERE length(stream_id) % 3 = 2 \gset
\set answer `psql -XqAt -c "CALL snapshot_purge('', '{7}', batch_size => 10)" -c "SELECT count(*) FROM pg_cursors" 2>&1`
SELECT is(regexp_replace(:'answer', E'\nCONTEXT.*\n', E'\n'), E'ERROR:  a shard that is away\n0', 'a purge that fails leaves no list behind');
SELECT is(count(*), :left_over::bigint, '... and has done what it could') FROM snapshot_store;
DROP TRIGGER refuse ON snapshot_store;
\set answer `psql -XqAt -c "CALL snapshot_purge('', '{7}')" 2>&1`
SELECT is(:'answer'::text, format(E'NOTICE:  snapshot_purge() has deleted %1$s snapshots\n%1$s', :left_over), '... and the next one does the rest');

\set answer `psql -XqAt -c "SELECT snapshot_save('s-1', 1, 1, '1')" -c "CALL snapshot_repack('')" 2>&1`
SELECT matches(:'answer'::text, 'ERROR:  dictionaries are not supported on a server that runs Citus', 'nothing is packed');

-- Calls that are delegated

SET snapshot_store.keep = 3;
SELECT is(current_setting('snapshot_store.keep'), '3', 'a session can change a setting');
RESET snapshot_store.keep;
CREATE TABLE pg_catalog.pg_dist_object (classid oid, objid oid, objsubid integer, type text, object_names text[],
	object_args text[], distribution_argument_index integer);
INSERT INTO pg_catalog.pg_dist_object (classid, objid, objsubid) SELECT 'pg_proc'::regclass, oid, 0 FROM pg_proc
WHERE proname IN ('snapshot_save', 'length');
UPDATE pg_catalog.pg_dist_object SET distribution_argument_index = 0 WHERE objid NOT IN (SELECT oid FROM pg_proc WHERE proname = 'snapshot_save');
SELECT is(pg_temp.result_of($$SELECT set_config('snapshot_store.keep', '2', true)$$), '2', '... while no call of the store is delegated');
RESET snapshot_store.keep;
UPDATE pg_catalog.pg_dist_object SET distribution_argument_index = 0;
SELECT is(pg_temp.result_of(format('SELECT set_config(''snapshot_store.%s'', %L, false)', name, value)), expected, format('then: %s', name))
FROM (VALUES ('keep', '2', '55000 invalid value for parameter "snapshot_store.keep": 2'),
			 ('keep_versions', '2', '55000 invalid value for parameter "snapshot_store.keep_versions": 2'),
			 ('enabled', 'off', '55000 invalid value for parameter "snapshot_store.enabled": 0'),
			 ('durable', 'off', '55000 invalid value for parameter "snapshot_store.durable": 0'),
			 ('max_state_size', '100', '55000 invalid value for parameter "snapshot_store.max_state_size": 100'),
			 ('track', 'off', 'off')) AS v (name, value, expected);
\set answer `psql -XqAt -c "ALTER DATABASE $PGDATABASE SET snapshot_store.keep = 2" -c "\\c" -c "SHOW snapshot_store.keep" -c "ALTER DATABASE $PGDATABASE RESET snapshot_store.keep" 2>&1`
SELECT is(:'answer'::text, '2', 'but for the database');

DROP TABLE pg_catalog.pg_dist_object, pg_catalog.pg_dist_local_group, pg_catalog.pg_dist_partition;
SELECT * FROM finish();
