-- snapshot_stats: what loads and saves did, by kind of stream.
SELECT plan(45);

-- What one kind has counted, but zeros, in the order of the columns.
CREATE FUNCTION pg_temp.counted(kind text) RETURNS text LANGUAGE sql
AS $$
	SELECT string_agg(key || ' ' || value, ', ' ORDER BY ordinality)
	FROM snapshot_stats AS s, json_each_text(row_to_json(s)) WITH ORDINALITY
	WHERE s.kind IS NOT DISTINCT FROM $1 AND s.datname = current_database() AND value <> '0'
	AND key NOT IN ('datid', 'datname', 'kind', 'scope', 'stats_since')
$$;
-- Runs a command and begins to count with it.
CREATE PROCEDURE pg_temp.counts(command text) LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM snapshot_stats_reset();
	EXECUTE command;
	COMMIT;
END
$$;

-- Loads

CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{1}')$$);
SELECT is(pg_temp.counted('load'), 'loads_not_found 1', 'a load of a stream that has none');
SELECT snapshot_save('load-1', 10, 1, '{"a": 1}');
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{1}')$$);
SELECT is(pg_temp.counted('load'), 'loads_found 1, bytes_loaded 8', 'one that finds');
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{2}')$$);
SELECT is(pg_temp.counted('load'), 'loads_unrecognized 1', 'one that finds only an unrecognized version');
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{}')$$);
SELECT is(pg_temp.counted('load'), 'loads_unrecognized 1', 'one that recognizes nothing');
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{1}', 9)$$);
SELECT is(pg_temp.counted('load'), 'loads_out_of_bounds 1', 'one whose bound is below');
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{1}', NULL, '2000-01-01')$$);
SELECT is(pg_temp.counted('load'), 'loads_out_of_bounds 1', 'one whose bound of time is before');
SELECT snapshot_delete('load-1');
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{2}')$$);
SELECT is(pg_temp.counted('load'), 'loads_not_found 1', 'what was deleted is not there, though it may be in the index');
CALL pg_temp.counts($$DO 'BEGIN FOR n IN 1..100 LOOP PERFORM snapshot_load(''load-1'', ARRAY[1 + n % 2]);
	PERFORM snapshot_save(''load-1'', n, 1 + n % 2, ''1''); END LOOP; END'$$);
SELECT is(pg_temp.counted('load'), 'loads_not_found 1, loads_unrecognized 99, saves_stored 100, bytes_saved 100',
		  'what is there is found among many entries of what was');
SELECT snapshot_delete('load-1');
SET snapshot_store.enabled = off;
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{1}')$$);
SELECT is(pg_temp.counted('load'), 'loads_off 1', 'one while the store is off');
CALL pg_temp.counts($$SELECT FROM snapshot_load_many('{load-1,load-2}', '{1}')$$);
SELECT is(pg_temp.counted('load'), 'loads_off 2, load_batches 1, load_batch_streams 2', 'a batch while it is off');
RESET snapshot_store.enabled;
SELECT snapshot_save_bytea('bytes-1', 1, 1, '\x010203');
CALL pg_temp.counts($$SELECT FROM snapshot_load_bytea('bytes-1', '{1}')$$);
SELECT is(pg_temp.counted('bytes'), 'loads_found 1, bytes_loaded 3', 'a state of bytes');
SELECT snapshot_save('large-1', 1, 1, to_json(repeat('compressible ', 100000)));
CALL pg_temp.counts($$SELECT FROM snapshot_load('large-1', '{1}')$$);
SELECT is(pg_temp.counted('large'), 'loads_found 1, bytes_loaded 1300002', 'a large one, before compression');
SELECT snapshot_save_many('{load-1,load-2,load-3}', '{1,1,1}', '{1,1,2}', ARRAY['1', '2', '3']::json[]);
CALL pg_temp.counts($$SELECT FROM snapshot_load_many('{load-1,load-2,load-3,load-4}', '{1}')$$);
SELECT is(pg_temp.counted('load'), 'loads_found 2, loads_not_found 1, loads_unrecognized 1, load_batches 1, '
		  'load_batch_streams 4, bytes_loaded 2', 'each of a batch');
CALL pg_temp.counts($$SELECT FROM snapshot_load_many('{}', '{1}')$$);
SELECT is(pg_temp.counted('load'), NULL, 'an empty batch is none');
CALL pg_temp.counts($$SELECT snapshot_due('load-1', '{1}', 9, 1), snapshot_info('load-1')$$);
SELECT is(pg_temp.counted('load'), NULL, 'what loads no state is no load');

-- Where columns have other types, states of other versions are not selected, and so not converted.

SELECT snapshot_save('text-1', 1, 2, '{}', metadata => '{}');
ALTER TABLE snapshot_store ALTER metadata TYPE text;
UPDATE snapshot_store SET metadata = 'no json' WHERE stream_id = 'text-1';
CALL pg_temp.counts($$SELECT FROM snapshot_load('text-1', '{1}')$$);
SELECT is(pg_temp.counted('text'), 'loads_unrecognized 1', 'what is not recognized is not converted');
CALL pg_temp.counts($$SELECT FROM snapshot_load('text-2', '{1}')$$);
SELECT is(pg_temp.counted('text'), 'loads_not_found 1', 'and told from what is not there');
SELECT snapshot_delete('text-1');
ALTER TABLE snapshot_store ALTER metadata TYPE jsonb USING metadata::jsonb;

-- Saves

CALL pg_temp.counts($$SELECT snapshot_save('save-1', 10, 1, '{"a": 1}')$$);
SELECT is(pg_temp.counted('save'), 'saves_stored 1, bytes_saved 8', 'a save');
CALL pg_temp.counts($$SELECT snapshot_save('save-1', 9, 1, '{"a": 1}')$$);
SELECT is(pg_temp.counted('save'), 'saves_older 1', 'one that is older');
CALL pg_temp.counts($$SELECT snapshot_save('save-1', 10, 1, '{"a": 1}', replace => false)$$);
SELECT is(pg_temp.counted('save'), 'saves_same 1', 'one of the same event that is not to be replaced');
CALL pg_temp.counts($$SELECT snapshot_save('save-1', 10, 1, '{"a": 12}')$$);
SELECT is(pg_temp.counted('save'), 'saves_stored 1, bytes_saved 9', 'one that is');
SET snapshot_store.enabled = off;
CALL pg_temp.counts($$SELECT snapshot_save('save-1', 11, 1, '1') FROM snapshot_save_many('{save-1}', '{11}', '{1}', ARRAY['1'::json])$$);
SELECT is(pg_temp.counted('save'), 'saves_off 2, save_batches 1, save_batch_streams 1', 'some while the store is off');
RESET snapshot_store.enabled;
CALL pg_temp.counts($$SELECT FROM snapshot_save_many('{save-1,save-2}', '{1,1}', '{1,1}', ARRAY['1', '12']::json[])$$);
SELECT is(pg_temp.counted('save'), 'saves_stored 1, saves_older 1, save_batches 1, save_batch_streams 2, bytes_saved 2',
		  'each of a batch');
SET snapshot_store.keep_versions = 2;
CALL pg_temp.counts($$SELECT snapshot_save('save-1', 1, 2, '1'), snapshot_save('save-1', 2, 2, '1')$$);
SELECT is(pg_temp.counted('save'), 'saves_stored 2, bytes_saved 2', 'saves beside another version');
RESET snapshot_store.keep_versions;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION refuse();
CALL pg_temp.counts($$SELECT snapshot_save('save-1', 12, 1, '1'), snapshot_save('save-3', 12, 1, '1')$$);
SELECT is(pg_temp.counted('save'), 'saves_suppressed 2', 'what a trigger refuses');
DROP TRIGGER refuse ON snapshot_store;
CALL pg_temp.counts($$DO 'BEGIN PERFORM snapshot_save(''save-1'', -1, 1, ''1''); EXCEPTION WHEN OTHERS THEN END'$$);
SELECT is(pg_temp.counted('save'), NULL, 'an error is no save');

-- Transactions: what is rolled back counts apart.

SELECT snapshot_stats_reset();
BEGIN;
SELECT snapshot_save('save-1', 20, 1, '1');
SELECT is(pg_temp.counted('save'), NULL, 'a save counts when its transaction ends');
ROLLBACK;
SELECT is(pg_temp.counted('save'), 'saves_rolled_back 1', 'by a rollback');
SELECT snapshot_stats_reset();
BEGIN;
SELECT snapshot_save('save-1', 21, 1, '1');
SAVEPOINT a;
SELECT snapshot_save('save-2', 22, 1, '12');
SELECT snapshot_save('other-2', 22, 1, '12');
SAVEPOINT b;
SELECT snapshot_save('save-1', 23, 1, '123');
RELEASE b;
SELECT snapshot_save('save-2', 24, 1, '1234');
ROLLBACK TO a;
SELECT snapshot_save('save-2', 25, 1, '12345');
RELEASE a;
SAVEPOINT c;
SELECT snapshot_save('save-1', 26, 1, '123456');
RELEASE c;
SAVEPOINT d;
ROLLBACK TO d;
COMMIT;
SELECT is(pg_temp.counted('save'), 'saves_stored 3, saves_rolled_back 3, bytes_saved 12', 'what went with a savepoint');
SELECT is(pg_temp.counted('other'), 'saves_rolled_back 1', 'for each kind');
SELECT snapshot_stats_reset();
BEGIN;
SELECT snapshot_save('save-1', 27, 1, '1');
PREPARE TRANSACTION 'counted';
SELECT is(pg_temp.counted('save'), 'saves_stored 1, bytes_saved 1', 'a prepared transaction counts as committed');
COMMIT PREPARED 'counted';
SELECT is(pg_temp.counted('save'), 'saves_stored 1, bytes_saved 1', 'and only once');

-- Kinds

CALL pg_temp.counts($$SELECT FROM unnest('{a-1,b/1,c:1,d|1,e#1,order-line:1,nokind,-x}'::text[]) AS s, snapshot_load(s, '{1}')$$);
SELECT is(string_agg(coalesce(kind, '(none)') || loads_not_found, ' ' ORDER BY kind), 'a1 b1 c1 d1 e1 order1 (none)2',
		  'a kind is what stands before the first separator')
FROM snapshot_stats WHERE datname = current_database() AND loads_not_found > 0;
CALL pg_temp.counts($$SELECT FROM snapshot_load(repeat('k', 63) || '-1', '{1}')$$);
SELECT is(pg_temp.counted(repeat('k', 63)), 'loads_not_found 1', 'a kind of 63 bytes');
CALL pg_temp.counts($$SELECT FROM snapshot_load(repeat('k', 64) || '-1', '{1}')$$);
SELECT is(pg_temp.counted(NULL), 'loads_not_found 1', 'a longer one is none');
CALL pg_temp.counts($$SELECT FROM generate_series(1, 200) AS n, snapshot_load('kind' || n || '-1', '{1}')$$);
SELECT is(count(*), 101::bigint, 'at most 100 kinds, and the rest') FROM snapshot_stats WHERE datname = current_database();
SELECT is(sum(loads_not_found), 200::numeric, 'none is lost') FROM snapshot_stats WHERE datname = current_database();
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{1}')$$);
SELECT is(pg_temp.counted('load'), 'loads_found 1, bytes_loaded 1', 'those that were there go on');

-- The setting, and who may do what

SET snapshot_store.track = off;
CALL pg_temp.counts($$SELECT FROM snapshot_load('load-1', '{1}'), snapshot_save('save-1', 99, 1, '1')$$);
SELECT is(concat(pg_temp.counted('load'), pg_temp.counted('save')), '', 'nothing is counted while track is off');
RESET snapshot_store.track;
CREATE ROLE statistics_reader;
SELECT FROM snapshot_load('load-1', '{1}');
SET ROLE statistics_reader;
SELECT throws_ok('SET snapshot_store.track = off', '42501', NULL, 'which is for superusers');
SELECT throws_ok('SELECT snapshot_stats_reset()', '42501', NULL, 'resetting is not for everybody');
SELECT is(count(*), 1::bigint, 'the numbers are everybody''s') FROM snapshot_stats
WHERE datname = current_database() AND loads_found = 1 AND kind IS NULL;
SELECT is(count(*), 0::bigint, 'the kinds are not') FROM snapshot_stats WHERE kind IS NOT NULL;
RESET ROLE;
GRANT pg_read_all_stats TO statistics_reader;
SET ROLE statistics_reader;
SELECT ok(count(*) > 1, 'but those of who may read all statistics') FROM snapshot_stats WHERE kind IS NOT NULL;
RESET ROLE;
REVOKE pg_read_all_stats FROM statistics_reader;
ALTER TABLE snapshot_store OWNER TO statistics_reader;
SET ROLE statistics_reader;
SELECT ok(count(*) > 1, 'and the table''s owner''s') FROM snapshot_stats WHERE kind IS NOT NULL;
RESET ROLE;
ALTER TABLE snapshot_store OWNER TO CURRENT_USER;
DROP OWNED BY statistics_reader;
DROP ROLE statistics_reader;

SELECT * FROM finish();
