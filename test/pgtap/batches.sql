-- Batches: snapshot_save_many and snapshot_load_many do what as many single calls would, at once. This file commits;
-- it has the table to itself and empties it at both ends.
SELECT plan(138);

TRUNCATE snapshot_store;

-- Of n bytes that do not compress, and that are different for each number.
CREATE TEMPORARY TABLE noise AS
SELECT string_agg(md5(i::text), '') AS noise FROM generate_series(1, 6250) AS i;
CREATE FUNCTION pg_temp.large(number integer, size integer) RETURNS text LANGUAGE sql
AS $$ SELECT left(repeat(number || '/' || right(noise, -number), 1 + size / 100000), size) FROM noise $$;

-- Memory, first of all, while the session has used little: a save needs hardly more than its arguments, and a load not
-- even all that it returns

CREATE FUNCTION pg_temp.memory(field text) RETURNS numeric LANGUAGE sql VOLATILE
AS $$ SELECT round(substring(pg_read_file('/proc/self/status') FROM field || ':\s+(\d+) kB')::numeric / 1024, 1) $$;

-- The peak of the session's memory while it runs a query, in MB, without what it shares with others.
CREATE FUNCTION pg_temp.peak_of(query text, ids text[], numbers bigint[], states json[] DEFAULT NULL)
RETURNS numeric LANGUAGE plpgsql
AS $$
BEGIN
	COPY (SELECT 5) TO '/proc/self/clear_refs';	-- the peak is now what is in use
	EXECUTE query USING ids, numbers, states;
	RETURN pg_temp.memory('VmHWM') - pg_temp.memory('RssShmem');
END
$$;

CREATE FUNCTION pg_temp.memory_tests() RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	save constant text := 'SELECT snapshot_save_many($1, $2, $2, $3)';
	load constant text := 'SELECT sum(octet_length(state::text)) FROM snapshot_load_many($1, $2)';
	nothing constant text := 'SELECT array_ndims($1), array_ndims($2), array_ndims($3)';
	ids text[];
	numbers bigint[];
	states json[];
	arguments numeric;
BEGIN
	IF pg_stat_file('/proc/self/clear_refs', true) IS NULL OR pg_temp.memory('RssShmem') IS NULL THEN
		RETURN NEXT skip('the system does not tell the peak of a process''s memory', 5);
		RETURN;
	ELSIF pg_read_file('/proc/self/maps') ~ 'libasan|valgrind' THEN
		RETURN NEXT skip('the tool that watches the server has memory of its own', 5);
		RETURN;
	END IF;

	SELECT array_agg('memory/' || n), array_agg(n) INTO ids, numbers FROM generate_series(1, 110) AS n;
	PERFORM snapshot_save('memory/' || n, n, n, to_json(pg_temp.large(n, 190000))) FROM generate_series(1, 110) AS n;
	arguments := pg_temp.peak_of(nothing, ids, numbers);
	RETURN NEXT cmp_ok(pg_temp.peak_of(load, ids, numbers) - arguments, '<', 12.0,
					   '20 MB are loaded in less than 12 MB');

	SELECT array_agg('memory/many/' || n), array_agg(n), array_agg('{}'::json)
	INTO ids, numbers, states FROM generate_series(1, 50000) AS n;
	arguments := pg_temp.peak_of(nothing, ids, numbers, states);
	RETURN NEXT cmp_ok(pg_temp.peak_of(save, ids, numbers, states) - arguments, '<', 20.0,
					   '50,000 new streams are saved with less than 400 bytes for each');

	SELECT array_agg('memory/' || n), array_agg(n), array_agg(to_json(pg_temp.large(n, 190000)))
	INTO ids, numbers, states FROM generate_series(1, 110) AS n;
	RETURN NEXT cmp_ok(pg_column_size(states), '>', 20000000, 'states of 20 MB');
	arguments := pg_temp.peak_of(nothing, ids, numbers, states);
	RETURN NEXT cmp_ok(pg_temp.peak_of(save, ids, numbers, states) - arguments, '<', 8.0,
					   'are saved in less than 8 MB beyond themselves');
	ids := (SELECT array_agg('new ' || id) FROM unnest(ids) AS id);
	RETURN NEXT cmp_ok(pg_temp.peak_of(save, ids, numbers, states) - arguments, '<', 8.0, 'also for new streams');
END
$$;
SELECT pg_temp.memory_tests();
TRUNCATE snapshot_store;

-- A batch of snapshots of one version. The state is the sequence number.
CREATE FUNCTION pg_temp.save(stream_ids text[], sequence_numbers bigint[], state_schema_version bigint DEFAULT 1)
RETURNS boolean[] LANGUAGE sql
AS $$
	SELECT ARRAY(SELECT stored FROM snapshot_save_many($1, $2, array_fill($3, ARRAY[cardinality($1)]), $2::text[]::json[]))
$$;

CREATE FUNCTION pg_temp.save_bytea(stream_ids text[], sequence_numbers bigint[], state_schema_version bigint DEFAULT 1)
RETURNS boolean[] LANGUAGE sql
AS $$
	SELECT ARRAY(SELECT stored FROM snapshot_save_many_bytea($1, $2, array_fill($3, ARRAY[cardinality($1)]), $2::text[]::bytea[]))
$$;

-- What a batch loads, in its order, as "stream sequence vVersion state, …".
CREATE FUNCTION pg_temp.loaded(stream_ids text[], recognized_schema_versions bigint[] DEFAULT '{1}',
							   max_sequence_numbers bigint[] DEFAULT NULL)
RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT string_agg(format('%s %s v%s %s', l.stream_id, l.sequence_number, l.state_schema_version, l.state), ', '
					  ORDER BY l.ordinality)
	FROM snapshot_load_many($1, $2, $3) WITH ORDINALITY AS l
$$;

CREATE FUNCTION pg_temp.loaded_bytea(stream_ids text[], recognized_schema_versions bigint[] DEFAULT '{1}',
									 max_sequence_numbers bigint[] DEFAULT NULL)
RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT string_agg(format('%s %s v%s %s', l.stream_id, l.sequence_number, l.state_schema_version,
							 convert_from(l.state, 'UTF8')), ', ' ORDER BY l.ordinality)
	FROM snapshot_load_many_bytea($1, $2, $3) WITH ORDINALITY AS l
$$;

-- What the table holds of streams whose names begin so, as "stream sequence vVersion, …".
CREATE FUNCTION pg_temp.kept(prefix text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT string_agg(format('%s %s v%s', s.stream_id, s.sequence_number, s.state_schema_version), ', '
					  ORDER BY s.stream_id, s.sequence_number, s.state_schema_version)
	FROM snapshot_store AS s WHERE starts_with(s.stream_id, prefix)
$$;

-- The order of the input

SELECT is(pg_temp.save('{o-c,o-a,o-b}', '{3,1,2}'), '{t,t,t}', 'a batch of new streams, in any order, is stored');
SELECT is(pg_temp.kept('o-'), 'o-a 1 v1, o-b 2 v1, o-c 3 v1', 'each with what was given for it');
SELECT is(pg_temp.loaded('{o-b,o-c,o-a}'), 'o-b 2 v1 2, o-c 3 v1 3, o-a 1 v1 1',
		  'a batch is loaded in the order of the given streams');
SELECT is(pg_temp.save('{o-d,o-b,o-a,o-c}', '{5,5,0,3}'), '{t,t,f,t}',
		  'a save returns for each, in the given order, whether it was stored: new, newer, older, the same again');
SELECT is(pg_temp.kept('o-'), 'o-a 1 v1, o-b 5 v1, o-c 3 v1, o-d 5 v1', 'and what was refused changes nothing');
SELECT is(pg_temp.save('{o-a,o-b}', '{0,0}', 2), '{t,t}', 'another version replaces, however old');
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many('{o-a,o-b,o-c}', '{1,1,9}', '{1,2,2}', '{1,1,9}')), '{t,t,t}',
		  'a batch may mix versions');
SELECT is(pg_temp.kept('o-'), 'o-a 1 v1, o-b 1 v2, o-c 9 v2, o-d 5 v1', 'and each guards its own');
SELECT is(pg_temp.loaded('{o-d,o-c,o-b,o-a}', '{1}'), 'o-d 5 v1 5, o-a 1 v1 1', 'what is not recognized is left out');
SELECT is(pg_temp.loaded('{o-d,o-c,o-b,o-a}', '{2,1}'), 'o-d 5 v1 5, o-c 9 v2 9, o-b 1 v2 1, o-a 1 v1 1',
		  'several recognized versions');
SELECT is(pg_temp.loaded('{o-x,o-d,o-y,o-a,o-z}'), 'o-d 5 v1 5, o-a 1 v1 1', 'so is a stream without a snapshot');
SELECT is(pg_temp.loaded('{o-x,o-y}'), NULL, 'of unknown streams alone there is no row');
SELECT is(pg_temp.loaded('{o-a}', '{}'), NULL, 'an empty array recognizes nothing');
SELECT is(pg_temp.loaded('{o-a,o-d,o-a,o-a,o-d}'), 'o-a 1 v1 1, o-d 5 v1 5',
		  'a repeated stream is loaded once, where it is named first');
SELECT is(pg_temp.loaded('{o-x,o-d,o-x,o-a,o-d,o-x}'), 'o-d 5 v1 5, o-a 1 v1 1',
		  'also among those without a snapshot');
SELECT is(pg_temp.save('{O-a,o-A,"o-a ",o-ä,o-a}', '{1,2,3,4,5}'), '{t,t,t,t,t}',
		  'streams are the same only if their names are, byte by byte');
SELECT is(pg_temp.loaded('{o-ä,"o-a ",O-a,o-a,o-A,o-ä}'),
		  'o-ä 4 v1 4, o-a  3 v1 3, O-a 1 v1 1, o-a 5 v1 5, o-A 2 v1 2', 'and so they are loaded');

SELECT results_eq('SELECT * FROM snapshot_save_many(''{o-d,o-new,o-a,o-c}'', ''{6,1,0,9}'', ''{1,1,1,2}'', ''{1,1,1,1}'')',
				  $$VALUES ('o-d', true), ('o-new', true), ('o-a', false), ('o-c', true)$$,
				  'each row of the result names its stream');
SELECT results_eq('SELECT * FROM snapshot_save_many_bytea(''{o-d,o-a}'', ''{5,6}'', ''{1,1}'', ''{1,1}'')',
				  $$VALUES ('o-d', false), ('o-a', true)$$, 'also of states of bytes');

-- Arrays: empty ones, and ones that begin at any subscript

SELECT is(ARRAY(SELECT stored FROM snapshot_save_many('{}', '{}', '{}', '{}')), '{}', 'an empty batch stores nothing');
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many('{}', '{}', '{}', '{}', '{}', '{}')), '{}', 'with all arrays empty');
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many_bytea('{}', '{}', '{}', '{}')), '{}', 'nor does one of bytes');
SELECT is_empty('SELECT * FROM snapshot_load_many(''{}'', ''{1}'')', 'an empty batch loads nothing');
SELECT is_empty('SELECT * FROM snapshot_load_many_bytea(''{}'', ''{1}'', ''{}'')', 'nor does one of bytes');
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many('[5:6]={b-a,b-b}', '[-1:0]={1,2}', '{1,1}', '[0:1]={1,2}', '[9:10]={1,2}',
													   '[2:3]={2024-01-01,2024-01-02}')),
		  '{t,t}', 'arrays may begin at any subscript');
SELECT is(pg_temp.loaded('[7:8]={b-b,b-a}', '[3:3]={1}', '[0:1]={2,1}'), 'b-b 2 v1 2, b-a 1 v1 1',
		  'so they may in a load, and their elements belong together by place');
SELECT is(array_agg(l.metadata::text || ' ' || l.created_at::date), '{1 2024-01-01,2 2024-01-02}', 'all of them')
FROM snapshot_load_many('{b-a,b-b}', '{1}') AS l;

-- Metadata and created_at: an array, one with NULL elements, or none

CREATE TEMPORARY TABLE clock AS SELECT clock_timestamp() AS started;
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many('{m-a,m-b,m-c,m-d}', '{1,1,1,1}', '{1,1,1,1}', '{1,1,1,1}',
							 ARRAY['{"of": "a"}', NULL, 'null', '[1]']::json[],
							 '{2001-02-03 04:05:06.789+00,1999-12-31 23:59:59.999999+00,NULL,0044-03-15 12:00+00 BC}')), '{t,t,t,t}',
		  'a batch with metadata and times, some of them NULL');
SELECT results_eq(
	$$SELECT l.stream_id, l.metadata, CASE WHEN l.stream_id <> 'm-c' THEN l.created_at END
	  FROM snapshot_load_many('{m-a,m-b,m-c,m-d}', '{1}') AS l$$,
	$$VALUES ('m-a', '{"of": "a"}'::jsonb, '2001-02-03 04:05:06.789+00'::timestamptz), ('m-b', NULL, '1999-12-31 23:59:59.999999+00'),
			 ('m-c', 'null', NULL), ('m-d', '[1]', '0044-03-15 12:00+00 BC')$$,
	'each comes back as it was given; no metadata is not the same as a JSON null');
SELECT ok(l.created_at BETWEEN c.started AND clock_timestamp(), 'a NULL time is the clock')
FROM clock AS c, snapshot_load_many('{m-c}', '{1}') AS l;
BEGIN;
SELECT is(pg_temp.save('{m-a,m-b}', '{2,2}'), '{t,t}', 'a batch without them');
SELECT is(array_agg(l.metadata), '{NULL,NULL}', 'has no metadata, nothing of the former stays')
FROM snapshot_load_many('{m-a,m-b}', '{1}') AS l;
SELECT ok(bool_and(l.created_at > now() AND l.created_at <= clock_timestamp()) AND min(created_at) = max(created_at),
		  'and one time, the clock''s, not the transaction''s start')
FROM snapshot_load_many('{m-a,m-b}', '{1}') AS l;
COMMIT;
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many('{m-a}', '{3}', '{1}', '{1}', NULL, '{2001-01-01 00:00:00+00}'))
		  || ARRAY(SELECT stored FROM snapshot_save_many_bytea('{m-b}', '{3}', '{1}', '{1}', '{5}', NULL)),
		  '{t,t}', 'one array without the other');
SELECT is(l.metadata, NULL, 'metadata may be left out alone')
FROM snapshot_load_many('{m-a}', '{1}') AS l;
SELECT is(l.metadata, '5'::jsonb, 'so may the time') FROM snapshot_load_many_bytea('{m-b}', '{1}') AS l;
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many('{m-a,m-b}', '{4,4}', '{1,1}', '{1,1}', created_at => '{NULL,NULL}')), '{t,t}',
		  'arrays can be given by name, and hold NULLs alone');

-- What is the same may be left as it is

SELECT results_eq('SELECT * FROM snapshot_save_many(''{r-a,r-b,r-c}'', ''{5,5,5}'', ''{1,1,1}'', ''{1,1,1}'', replace => false)',
				  $$VALUES ('r-a', true), ('r-b', true), ('r-c', true)$$, 'a batch of new streams that is to replace nothing');
SELECT results_eq('SELECT * FROM snapshot_save_many(''{r-c,r-b,r-a,r-d}'', ''{5,6,5,5}'', ''{1,1,2,1}'', ''{2,2,2,2}'', replace => false)',
				  $$VALUES ('r-c', false), ('r-b', true), ('r-a', true), ('r-d', true)$$,
				  'leaves those of the same version and sequence number as they are');
SELECT results_eq('SELECT * FROM snapshot_save_many_bytea(''{r-c,r-b}'', ''{5,7}'', ''{1,1}'', ''{3,3}'', replace => false)',
				  $$VALUES ('r-c', false), ('r-b', true)$$, 'also for states of bytes');
SELECT is(pg_temp.loaded('{r-a,r-c,r-d}', '{1,2}'), 'r-a 5 v2 2, r-c 5 v1 1, r-d 5 v1 2', 'and replaces the others');

-- Kinds of state

SELECT is(pg_temp.save_bytea('{k-a,k-b}', '{1,1}') || pg_temp.save('{k-c,k-d}', '{1,1}'), '{t,t,t,t}',
		  'streams of bytes and of json');
SELECT is(pg_temp.loaded_bytea('{k-b,k-a}') || ', ' || pg_temp.loaded('{k-d,k-c}'),
		  'k-b 1 v1 1, k-a 1 v1 1, k-d 1 v1 1, k-c 1 v1 1', 'each is loaded by its own function');
SELECT throws_ok('SELECT * FROM snapshot_load_many(''{k-d,k-b,k-a}'', ''{1}'')', '42804',
				 'the snapshot of stream "k-b" holds its state as bytea', 'a stream of the other kind is named');
SELECT throws_ok('SELECT * FROM snapshot_load_many_bytea(''{k-a,k-b,k-c}'', ''{1}'')', '42804',
				 'the snapshot of stream "k-c" holds its state as json', 'either way');
SELECT is(pg_temp.save('{k-a}', '{2}', 2) || pg_temp.save_bytea('{k-c}', '{2}', 2), '{t,t}',
		  'a batch may change the kind');
SELECT is(pg_temp.loaded('{k-a,k-b,k-c,k-d}', '{3}'), NULL, 'what is not recognized may be of any kind');
SELECT is(pg_temp.loaded('{k-a,k-d}', '{1,2}') || ', ' || pg_temp.loaded_bytea('{k-c,k-b}', '{1,2}'),
		  'k-a 2 v2 2, k-d 1 v1 1, k-c 2 v2 2, k-b 1 v1 1', 'and then the other function loads it');
SELECT is((SELECT l.state FROM snapshot_load('k-a', '{2}') AS l)::text
		  || (SELECT l.state FROM snapshot_load_bytea('k-c', '{2}') AS l)::text, '2\x32',
		  'single loads see what batches saved');
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many_bytea('{k-a,k-b}', '{3,3}', '{2,2}', ARRAY['', '\x00ff0100']::bytea[])), '{t,t}',
		  'bytes may be any, also none');
SELECT is(array_agg(l.state), ARRAY['\x00ff0100', '']::bytea[], 'and come back as they are')
FROM snapshot_load_many_bytea('{k-b,k-a}', '{2}') AS l;
SELECT is(ARRAY(SELECT stored FROM snapshot_save_many('{k-a,k-b,k-c}', '{4,4,4}', '{2,2,2}',
							 ARRAY[' {"b":1,  "a":2, "b":3} ', 'null', '1.50']::json[])), '{t,t,t}', 'json states');
SELECT is(array_agg(l.state::text), '{" {\"b\":1,  \"a\":2, \"b\":3} ","null","1.50"}', 'come back to the letter')
FROM snapshot_load_many('{k-a,k-b,k-c}', '{2}') AS l;

-- max_sequence_numbers: a bound for each stream

SET snapshot_store.keep = 3;
SELECT is(pg_temp.save('{x-a,x-b,x-c}', ARRAY[n, n, n]), '{t,t,t}', 'streams with three snapshots: ' || n)
FROM unnest(ARRAY[10, 20, 30]) AS n;
SELECT is(pg_temp.loaded('{x-c,x-a,x-b}', '{1}', v.bounds), v.expected, v.description)
FROM (VALUES
	(NULL::bigint[], 'x-c 30 v1 30, x-a 30 v1 30, x-b 30 v1 30', 'no bounds'),
	('{NULL,NULL,NULL}', 'x-c 30 v1 30, x-a 30 v1 30, x-b 30 v1 30', 'a NULL is no bound'),
	('{20,30,10}', 'x-c 20 v1 20, x-a 30 v1 30, x-b 10 v1 10', 'each stream has its own bound, inclusive'),
	('{19,NULL,29}', 'x-c 10 v1 10, x-a 30 v1 30, x-b 20 v1 20', 'or none'),
	('{9,0,9223372036854775807}', 'x-b 30 v1 30', 'a stream with nothing at or below it is left out')
) AS v (bounds, expected, description);
SELECT is(pg_temp.loaded('{x-a,x-b,x-a,x-a}', '{1}', '{10,NULL,20,NULL}'), 'x-a 10 v1 10, x-b 30 v1 30',
		  'of a repeated stream the first bound counts');
SELECT is(pg_temp.loaded('{x-a,x-b,x-a}', '{1}', '{5,NULL,20}'), 'x-b 30 v1 30', 'also if nothing lies below it');
RESET snapshot_store.keep;

-- All or nothing

CREATE FUNCTION pg_temp.refuse_last() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	IF new.stream_id = 'a-z' THEN
		RAISE EXCEPTION 'not the last one';
	END IF;
	RETURN new;
END
$$;
SELECT is(pg_temp.save('{a-b}', '{1}'), '{t}', 'a stream with a snapshot');
SELECT throws_ok('SELECT snapshot_save_many(''{a-a,a-b,a-c}'', ''{2,2,2}'', ''{1,1,-1}'', ''{2,2,2}'')', '22003', NULL,
				 'a batch whose last version is out of range');
SELECT throws_ok('SELECT snapshot_save_many(''{a-a,a-b,a-a}'', ''{2,2,2}'', ''{1,1,1}'', ''{2,2,2}'')', '21000', NULL,
				 'a batch whose last stream was named before');
CREATE TRIGGER refuse_last BEFORE INSERT ON snapshot_store FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse_last();
SELECT throws_ok('SELECT pg_temp.save(''{a-z,a-a,a-b,a-c}'', ''{2,2,2,2}'')', 'P0001', 'not the last one',
				 'a batch whose last write fails');
SELECT is(pg_temp.kept('a-'), 'a-b 1 v1', 'nothing of them is stored');
DROP TRIGGER refuse_last ON snapshot_store;
BEGIN;
SELECT is(pg_temp.save('{a-a,a-b,a-c}', '{2,2,2}'), '{t,t,t}', 'a batch');
ROLLBACK;
SELECT is(pg_temp.kept('a-'), 'a-b 1 v1', 'that is rolled back is gone');

-- A stream that a trigger refuses or redirects counts for itself

CREATE FUNCTION pg_temp.pass_over() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RETURN CASE WHEN new.stream_id <> 'a-c' THEN new END; END $$;
CREATE TRIGGER pass_over BEFORE INSERT ON snapshot_store FOR EACH ROW EXECUTE FUNCTION pg_temp.pass_over();
SELECT is(pg_temp.save('{a-d,a-c,a-b}', '{3,3,3}'), '{t,f,t}', 'what a trigger refuses is not stored, the others are');
SELECT is(pg_temp.kept('a-'), 'a-b 3 v1, a-d 3 v1', 'nor is it in the table');
DROP TRIGGER pass_over ON snapshot_store;

-- The store is off; read-only transactions

SET snapshot_store.enabled = off;
SELECT is(pg_temp.save('{a-b,off}', '{9,9}'), '{f,f}', 'while the store is off, a batch stores nothing and returns so');
SELECT is(pg_temp.save_bytea('{a-b,off}', '{9,9}'), '{f,f}', 'one of bytes does, too');
SELECT is(coalesce(pg_temp.loaded('{a-b}'), pg_temp.loaded_bytea('{a-b}')), NULL, 'and a load returns no row');
SELECT throws_ok('SELECT pg_temp.save(''{off,off}'', ''{9,9}'')', '21000', NULL, 'arguments are still checked');
SELECT throws_ok('SELECT * FROM snapshot_load_many(''{off}'', ''{1}'', ''{1,2}'')', '2202E', NULL,
				 'also those of a load');
BEGIN READ ONLY;
SELECT is(pg_temp.save('{a-b,off}', '{9,9}'), '{f,f}', 'a read-only transaction is none of its business then');
COMMIT;
RESET snapshot_store.enabled;
BEGIN READ ONLY;
SELECT is(pg_temp.loaded('{a-b}'), 'a-b 3 v1 3', 'a read-only transaction loads batches');
SELECT throws_ok('SELECT pg_temp.save(''{a-b,off}'', ''{9,9}'')', '25006',
				 'cannot execute snapshot_save_many() in a read-only transaction', 'but saves none');
SELECT throws_ok('SELECT pg_temp.save_bytea(''{a-b,off}'', ''{9,9}'')', '25006',
				 'cannot execute snapshot_save_many_bytea() in a read-only transaction', 'also not of bytes');
COMMIT;
SELECT is(pg_temp.kept('a-b') || pg_temp.kept('off'), NULL, 'nothing was stored meanwhile')
WHERE pg_temp.kept('a-b') = 'a-b 3 v1';

-- A batch equals the same single calls: random histories, whatever is kept. Two sets of streams, one saved by batches
-- and one by single calls, must stay alike, down to the slots.

CREATE TYPE pg_temp.history AS (batch_ids text[], single_ids text[], sequence_numbers bigint[], versions bigint[],
								states text[], metadata json[], created_at timestamptz[]);

-- Some of 15 streams, in random order. Times of a minute's resolution, so that there are ties.
CREATE FUNCTION pg_temp.random_history() RETURNS pg_temp.history LANGUAGE sql VOLATILE
AS $$
	SELECT array_agg('batch/' || id), array_agg('single/' || id), array_agg(floor(random() * 20)::bigint),
		   array_agg(CASE WHEN random() < 0.7 THEN 1 ELSE 2 + floor(random() * 3)::bigint END),
		   array_agg(to_json(repeat(md5(random()::text), floor(random() * 4)::integer))::text),
		   array_agg(CASE WHEN random() < 0.5 THEN to_json(random()) END),
		   array_agg(timestamptz '2024-01-01' + floor(random() * 30) * interval '1 minute')
	FROM (SELECT id FROM generate_series(1, 15) AS id WHERE random() < 0.6 ORDER BY random()) AS i
$$;

-- All that is kept of a set of streams.
CREATE FUNCTION pg_temp.content(set_name text) RETURNS text LANGUAGE sql
AS $$
	SELECT string_agg(ROW(split_part(stream_id, '/', 2), slot, state_schema_version, sequence_number, created_at, state,
						  state_bytea, metadata)::text, E'\n' ORDER BY stream_id, slot)
	FROM snapshot_store WHERE starts_with(stream_id, set_name || '/')
$$;

CREATE FUNCTION pg_temp.compare_saves(kind text, trials integer) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	h pg_temp.history;
	json boolean;
	replace boolean;
	batch boolean[];
	single boolean[];
	stored bigint := 0;
	refused bigint := 0;
BEGIN
	FOR trial IN 1..trials LOOP
		h := pg_temp.random_history();
		json := kind = 'json' OR kind = 'mixed' AND trial % 2 = 0;
		replace := trial % 3 > 0;
		single := '{}';
		IF json THEN
			batch := ARRAY(SELECT s.stored FROM snapshot_save_many(h.batch_ids, h.sequence_numbers, h.versions,
																   h.states::json[], h.metadata, h.created_at, replace) AS s);
			FOR i IN 1..cardinality(h.single_ids) LOOP
				single := single || snapshot_save(h.single_ids[i], h.sequence_numbers[i], h.versions[i],
												  h.states[i]::json, h.metadata[i], h.created_at[i], replace);
			END LOOP;
		ELSE
			batch := ARRAY(SELECT s.stored FROM snapshot_save_many_bytea(h.batch_ids, h.sequence_numbers, h.versions,
																		 h.states::bytea[], h.metadata, h.created_at, replace) AS s);
			FOR i IN 1..cardinality(h.single_ids) LOOP
				single := single || snapshot_save_bytea(h.single_ids[i], h.sequence_numbers[i], h.versions[i],
														h.states[i]::bytea, h.metadata[i], h.created_at[i], replace);
			END LOOP;
		END IF;
		IF batch IS DISTINCT FROM single THEN
			RETURN format('trial %s: %s as a batch, %s as single calls', trial, batch, single);
		END IF;
		IF pg_temp.content('batch') IS DISTINCT FROM pg_temp.content('single') THEN
			RETURN format('trial %s: %s as a batch, %s as single calls', trial, pg_temp.content('batch'),
						  pg_temp.content('single'));
		END IF;
		stored := stored + cardinality(array_positions(batch, true));
		refused := refused + cardinality(array_positions(batch, false));
	END LOOP;
	RETURN CASE WHEN stored > trials AND refused > 0 THEN 'alike' ELSE 'too few cases' END;
END
$$;

-- What a load returns, row by row, or its error.
CREATE FUNCTION pg_temp.outcome(query text, ids text[], recognized bigint[], bounds bigint[])
RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	result text;
BEGIN
	EXECUTE query INTO result USING ids, recognized, bounds;
	RETURN coalesce(result, 'nothing');
EXCEPTION WHEN datatype_mismatch THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

CREATE FUNCTION pg_temp.compare_loads(trials integer) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	ids text[];
	bounds bigint[];
	recognized bigint[];
	kind text;
	batch text;
	single text;
	found integer := 0;
BEGIN
	FOR trial IN 1..trials LOOP
		SELECT array_agg('batch/' || ceil(random() * 18)),
			   array_agg(CASE WHEN random() < 0.5 THEN floor(random() * 20)::bigint END)
		INTO ids, bounds FROM generate_series(1, 1 + trial % 25);
		SELECT array_agg(v) INTO recognized FROM generate_series(1, 5) AS v WHERE random() < 0.5;
		recognized := coalesce(recognized, '{}');
		bounds := CASE WHEN random() < 0.8 THEN bounds END;
		kind := CASE WHEN random() < 0.5 THEN '_bytea' ELSE '' END;
		batch := pg_temp.outcome(format(
			'SELECT string_agg(ROW(stream_id, sequence_number, state_schema_version, state, metadata, created_at)::text,
							   E''\n'' ORDER BY ordinality)
			 FROM snapshot_load_many%s($1, $2, $3) WITH ORDINALITY', kind), ids, recognized, bounds);
		single := pg_temp.outcome(format(
			'SELECT string_agg(ROW(f.id, l.*)::text, E''\n'' ORDER BY f.i)
			 FROM (SELECT *
				   FROM (SELECT DISTINCT ON (id) *
						 FROM ROWS FROM (unnest($1), unnest($3)) WITH ORDINALITY AS u (id, bound, i) ORDER BY id, i) AS u
				   ORDER BY i OFFSET 0) AS f, snapshot_load%s(f.id, $2, f.bound) AS l', kind), ids, recognized, bounds);
		IF batch IS DISTINCT FROM single THEN
			RETURN format(E'trial %s: %s %s %s\n%s\nas a batch\n%s\nas single calls', trial, ids, recognized, bounds,
						  batch, single);
		END IF;
		found := found + (batch <> 'nothing' AND batch !~ '^42804')::integer;
	END LOOP;
	RETURN CASE WHEN found > 0 THEN 'alike' ELSE 'too few cases' END;
END
$$;

SELECT setseed(0.25) \gset
CREATE FUNCTION pg_temp.compare(keep integer, keep_versions integer, kind text) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM set_config('snapshot_store.keep', keep::text, true),
			set_config('snapshot_store.keep_versions', keep_versions::text, true);
	DELETE FROM snapshot_store WHERE stream_id ~ '^(batch|single)/';
	RETURN format('saves %s, loads %s', pg_temp.compare_saves(kind, 40), pg_temp.compare_loads(60));
END
$$;
SELECT is(pg_temp.compare(keep, keep_versions, kind), 'saves alike, loads alike',
		  format('batches equal single calls: keep %s, keep_versions %s, %s', keep, keep_versions, kind))
FROM (VALUES (1, 1, 'json'), (1, 1, 'bytea'), (1, 1, 'mixed'), (1, 2, 'json'), (1, 2, 'mixed'), (3, 1, 'json'),
			 (3, 1, 'bytea'), (2, 2, 'json'), (2, 3, 'mixed'), (5, 4, 'bytea')) AS v (keep, keep_versions, kind);
CREATE FUNCTION pg_temp.lower_the_settings() RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM pg_temp.compare(4, 4, 'json');
	PERFORM set_config('snapshot_store.keep', '2', true), set_config('snapshot_store.keep_versions', '1', true);
	RETURN pg_temp.compare_saves('json', 20);
END
$$;
SELECT is(pg_temp.lower_the_settings(), 'alike', 'batches equal single calls also after the settings were lowered');

-- At the other isolation levels, and through rows that the server must write

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(pg_temp.compare(2, 2, 'json'), 'saves alike, loads alike', 'batches equal single calls: REPEATABLE READ');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(pg_temp.compare(2, 2, 'mixed'), 'saves alike, loads alike', 'batches equal single calls: SERIALIZABLE');
COMMIT;
BEGIN;
CREATE INDEX mine ON snapshot_store (created_at);
SELECT is(pg_temp.compare(2, 2, 'json'), 'saves alike, loads alike', 'batches equal single calls: another index');
ROLLBACK;

-- Many streams: no lock for each, and the memory of what was given

-- The batches give the streams in an order of their own.
CREATE FUNCTION pg_temp.many_ids() RETURNS text[] LANGUAGE sql
AS $$ SELECT array_agg('many/' || n ORDER BY n * 7919 % 100003) FROM generate_series(1, 100000) AS n $$;

BEGIN;
SELECT is(cardinality(array_positions(pg_temp.save(ids, array_fill(1, ARRAY[100000])::bigint[]), true)), 100000,
		  '100,000 new streams are saved in one call')
FROM pg_temp.many_ids() AS ids;
SELECT cmp_ok(count(*), '<', 20::bigint, 'without a lock for each in the lock table')
FROM pg_locks WHERE pid = pg_backend_pid();
SELECT is((SELECT array_agg(l.stream_id ORDER BY l.ordinality) FROM snapshot_load_many(ids, '{1}') WITH ORDINALITY AS l)
		  = ids, true, 'and all loaded in one call, in the given order')
FROM pg_temp.many_ids() AS ids;
SELECT is(count(*), 50000::bigint, 'or those of them that are known')
FROM snapshot_load_many((SELECT array_agg('many/' || n) FROM generate_series(50001, 150000) AS n), '{1}');
COMMIT;
SELECT is(count(*), 100000::bigint, 'and are all there after the commit')
FROM snapshot_store WHERE starts_with(stream_id, 'many/');

-- Large states

CREATE TEMPORARY TABLE large AS
SELECT 'large/' || kind || n AS stream_id, n, pg_temp.large(n, size) AS state
FROM (VALUES ('small', 100), ('inline', 3000), ('compressible', 300000), ('toasted', 100000)) AS k (kind, size),
	 generate_series(1, 5) AS n;
SELECT is(count(*) FILTER (WHERE s.stored), 20::bigint, 'states and metadata of all sizes are saved in one batch')
FROM (SELECT array_agg(stream_id ORDER BY md5(stream_id)), array_agg(n::bigint ORDER BY md5(stream_id)), array_agg(1::bigint),
			 array_agg(to_json(state) ORDER BY md5(stream_id)),
			 array_agg(json_build_object('large', state) ORDER BY md5(stream_id))
	  FROM large) AS b (ids, numbers, versions, states, metadata),
	 snapshot_save_many(b.ids, b.numbers, b.versions, b.states, b.metadata) AS s;
SELECT ok(bool_and(l.state #>> '{}' = large.state AND l.metadata ->> 'large' = large.state) AND count(*) = 20,
		  'and loaded')
FROM snapshot_load_many((SELECT array_agg(stream_id ORDER BY md5(n || stream_id)) FROM large), '{1}') AS l
JOIN large USING (stream_id);
SELECT is(count(*) FILTER (WHERE s.stored), 20::bigint, 'so are bytes, in the place of json')
FROM (SELECT array_agg(stream_id), array_agg(n::bigint), array_agg(2::bigint), array_agg(state::bytea)
	  FROM large) AS b (ids, numbers, versions, states),
	 snapshot_save_many_bytea(b.ids, b.numbers, b.versions, b.states) AS s;
SELECT ok(bool_and(l.state = large.state::bytea AND l.metadata IS NULL) AND count(*) = 20, 'and loaded')
FROM snapshot_load_many_bytea((SELECT array_agg(stream_id) FROM large), '{2}') AS l JOIN large USING (stream_id);
SELECT is(array_agg((s).stored), array_fill(true, ARRAY[20]), 'a batch, gathered in the select list, saves what another has loaded')
FROM (SELECT snapshot_save_many(array_agg('copy of ' || l.stream_id), array_agg(l.sequence_number),
								array_agg(l.state_schema_version), array_agg(to_json(l.state)), array_agg(l.metadata::json),
								array_agg(l.created_at)) AS s
	  FROM snapshot_load_many_bytea((SELECT array_agg(stream_id) FROM large), '{2}') AS l) AS s;
SELECT ok(bool_and(b.state = large.state::bytea AND (s.state #>> '{}')::bytea = b.state AND b.created_at = s.created_at)
		  AND count(*) = 20, 'and it is the same')
FROM large, snapshot_load_bytea(large.stream_id, '{2}') AS b, snapshot_load('copy of ' || large.stream_id, '{2}') AS s;

-- Arrays that lie in a table themselves, compressed and out of line
CREATE TEMPORARY TABLE stored_array (ids text[], numbers bigint[], states json[], metadata json[],
									 created_at timestamptz[]);
INSERT INTO stored_array
SELECT array_agg('array/' || n || repeat('x', 1900)), array_agg(n), array_agg(to_json(pg_temp.large(n, 200))),
	   array_agg(CASE WHEN n % 3 = 0 THEN to_json(pg_temp.large(n, 200)) END),
	   array_agg(CASE WHEN n % 2 = 0 THEN timestamptz '2024-01-01' + n * interval '1 second' END)
FROM generate_series(1, 2000) AS n;
SELECT ok(pg_column_size(ids) < 2000 * 1900 / 2 AND pg_column_size(states) > 8192,
		  'arrays stored compressed or out of line') FROM stored_array;
SELECT is(cardinality(array_positions(ARRAY(SELECT stored FROM snapshot_save_many(ids, numbers, numbers, states, metadata, created_at)), true)),
		  2000, 'are a batch, also with long names') FROM stored_array;
SELECT is(count(*) FILTER (WHERE l.stream_id = a.ids[n] AND l.state::text = a.states[n]::text
						   AND l.metadata IS NOT DISTINCT FROM a.metadata[n]::jsonb
						   AND l.created_at = coalesce(a.created_at[n], l.created_at)),
		  1000::bigint, 'which is loaded by such arrays, too')
FROM stored_array AS a, snapshot_load_many(a.ids, a.numbers[1001:], a.numbers) AS l,
	 LATERAL (SELECT l.sequence_number) AS s (n);

-- Called from anywhere: functions, DO, CTEs, prepared statements, joins, cursors, triggers, parallel workers

CREATE FUNCTION pg_temp.save_and_load(n bigint) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	ids text[] := '{}';
	numbers bigint[];
	stored boolean[];
	found record;
	result text := '';
BEGIN
	FOR i IN 1..3 LOOP
		ids := ids || ('f-' || i);
		numbers[i] := n * i;
	END LOOP;
	stored := ARRAY(SELECT s.stored FROM snapshot_save_many(ids, numbers, '{1,1,1}', numbers::text[]::json[]) AS s);
	ids[2] := 'nobody';
	FOR found IN SELECT * FROM snapshot_load_many(ids, '{1}') LOOP
		result := result || ' ' || found.stream_id || '=' || found.state;
		PERFORM snapshot_save(found.stream_id, found.sequence_number + 1, 1, '0');
	END LOOP;
	RETURN stored::text || result;
END
$$;
SELECT is(array_agg(pg_temp.save_and_load(n * 10) ORDER BY n),
		  array_agg(format('{t,t,t} f-1=%s f-3=%s', n * 10, n * 30) ORDER BY n),
		  'a function saves a batch that it built up, loads one, and saves in the loop over it, time after time')
FROM generate_series(1, 12) AS n;

DO $$
BEGIN
	PERFORM snapshot_save_many('{d-a,d-b}', '{1,1}', '{1,1}', '{1,1}');
	IF (SELECT count(*) FROM snapshot_load_many('{d-a,d-b}', '{1}')) = 2 THEN
		PERFORM snapshot_save_many('{d-b,d-a}', '{2,2}', '{1,1}', '{2,2}');
	END IF;
END
$$;
SELECT is(pg_temp.loaded('{d-a,d-b}'), 'd-a 2 v1 2, d-b 2 v1 2', 'a DO block saves, loads and saves');

WITH saved AS MATERIALIZED (SELECT pg_temp.save('{d-a,d-c}', '{3,3}') AS saved)
SELECT is(saved::text || ' ' || pg_temp.loaded('{d-a,d-c}'), '{t,t} d-a 2 v1 2',
		  'a load does not see what its own statement saves') FROM saved;
WITH first AS MATERIALIZED (SELECT pg_temp.save('{d-a,d-c}', '{4,4}') AS saved),
	 second AS MATERIALIZED (SELECT pg_temp.save('{d-c,d-a,d-b}', '{4,3,3}') AS saved FROM first WHERE saved = '{t,t}')
SELECT is(saved, '{t,f,t}', 'a save does') FROM second;
SELECT is(pg_temp.loaded('{d-a,d-b,d-c}'), 'd-a 4 v1 4, d-b 3 v1 3, d-c 4 v1 4', 'and the next statement sees all');

CREATE TEMPORARY TABLE event AS
SELECT 'e-' || n % 10 AS stream_id, n AS sequence_number FROM generate_series(1, 100) AS n;
SELECT is(array_agg(s.stored), array_fill(true, ARRAY[10]), 'a query gathers the batch that it saves')
FROM (SELECT array_agg(e.stream_id), array_agg(e.sequence_number), array_agg(1::bigint), array_agg(to_json(e.sequence_number))
	  FROM (SELECT stream_id, max(sequence_number)::bigint AS sequence_number FROM event GROUP BY stream_id) AS e
	 ) AS b (ids, numbers, versions, states),
	 snapshot_save_many(b.ids, b.numbers, b.versions, b.states) AS s;
SELECT is(count(*) FILTER (WHERE l.sequence_number = e.sequence_number), 10::bigint, 'or joins the one that it loads')
FROM event AS e
JOIN snapshot_load_many((SELECT array_agg(DISTINCT stream_id) FROM event), '{1}') AS l USING (stream_id, sequence_number);
SELECT is(string_agg(g.n || ':' || l.sequence_number, ' ' ORDER BY g.n, l.ordinality), '1:91 2:92 2:91 3:93 3:92 3:91',
		  'a lateral join loads a batch for each row')
FROM generate_series(1, 3) AS g (n),
	 LATERAL (SELECT array_agg('e-' || i ORDER BY i DESC) FROM generate_series(1, g.n) AS i) AS b (ids),
	 snapshot_load_many(b.ids, '{1}') WITH ORDINALITY AS l;
SELECT is(array_agg((l).sequence_number), '{95,91}', 'a load in the select list is a row for each stream')
FROM (SELECT snapshot_load_many('{e-5,e-1}', '{1}') AS l) AS l;
SELECT is(array_agg(n), '{95,99}', 'of which a column can be taken')
FROM (SELECT (snapshot_load_many('{e-5,e-9}', '{1}')).sequence_number AS n) AS l;
SELECT is((SELECT sequence_number FROM snapshot_load_many('{e-5,e-1,e-9}', '{1}') LIMIT 1), 95::bigint,
		  'a LIMIT takes the first');

PREPARE save_batch AS SELECT ARRAY(SELECT stored FROM snapshot_save_many($1, $2, $3, $4));
PREPARE load_batch AS SELECT sum(sequence_number)::bigint FROM snapshot_load_many($1, $2);
CREATE FUNCTION pg_temp.twelve_times() RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	stored boolean[];
	found bigint;
	seen text := '';
BEGIN
	FOR n IN 1..12 LOOP
		EXECUTE format('EXECUTE save_batch(''{p-%s,p-2}'', ''{%s,%s}'', ''{1,1}'', ''{0,0}'')', n % 2, n, n) INTO stored;
		EXECUTE format('EXECUTE load_batch(''{p-%s,p-2}'', ''{1}'')', n % 2) INTO found;
		seen := seen || ' ' || CASE WHEN stored = '{t,t}' THEN found END;
	END LOOP;
	RETURN seen;
END
$$;
SELECT is(pg_temp.twelve_times(), ' 2 4 6 8 10 12 14 16 18 20 22 24',
		  'prepared statements save and load, time after time');
SELECT cmp_ok(generic_plans, '>', 0::bigint, format('also by a generic plan (%s)', name))
FROM pg_prepared_statements WHERE name IN ('save_batch', 'load_batch');

BEGIN;
DECLARE loads CURSOR FOR SELECT l.stream_id FROM snapshot_load_many('{e-5,c-new,e-1}', '{1}') AS l;
SELECT is(pg_temp.save('{c-new}', '{1}'), '{t}', 'a save after a cursor was opened');
SELECT results_eq('loads'::refcursor, '{e-5,e-1}'::text[], 'is not seen by the cursor, as for any query');
COMMIT;

CREATE FUNCTION pg_temp.in_sql(text[], bigint[]) RETURNS SETOF bigint LANGUAGE sql
AS $$
	SELECT ARRAY(SELECT stored FROM snapshot_save_many($1, $2, $2, $2::text[]::json[]));
	SELECT l.sequence_number FROM snapshot_load_many($1, $2) AS l
$$;
SELECT results_eq('SELECT pg_temp.in_sql(''{q-2,q-1}'', ''{2,1}'')', '{2,1}'::bigint[],
				  'an SQL function saves a batch, and loads what it saved');

CREATE FUNCTION pg_temp.save_events() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM snapshot_save_many(array_agg(n.stream_id), array_agg(n.sequence_number), array_agg(1::bigint),
							   array_agg('0'::json))
	FROM (SELECT stream_id, max(sequence_number)::bigint AS sequence_number FROM new_event GROUP BY stream_id) AS n;
	RETURN NULL;
END
$$;
CREATE TRIGGER save_events AFTER INSERT ON event REFERENCING NEW TABLE AS new_event
	FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.save_events();
INSERT INTO event SELECT 't-' || n % 3, n FROM generate_series(1, 30) AS n;
SELECT is(pg_temp.kept('t-'), 't-0 30 v1, t-1 28 v1, t-2 29 v1', 'a trigger saves a batch for a statement');

SELECT set_config(name, 'on', false) FROM pg_settings
WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	line text;
	result text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		result := result || line || E'\n';
	END LOOP;
	RETURN result;
END
$$;
SELECT alike(pg_temp.plan_of('SELECT * FROM snapshot_load_many(''{e-5,e-1}'', ''{1}'')'), 'Gather%', 'a parallel worker');
SELECT results_eq('SELECT stream_id, sequence_number FROM snapshot_load_many(''{e-5,e-1}'', ''{1}'')',
				  $$VALUES ('e-5', 95::bigint), ('e-1', 91)$$, 'loads a batch');
SELECT is(pg_temp.save('{e-5,e-1}', '{100,100}'), '{t,t}', 'a save is left to the leader');
RESET ALL;

-- A committed batch is flushed, whatever synchronous_commit says

CREATE PROCEDURE pg_temp.flush(INOUT flushed integer) LANGUAGE plpgsql
AS $$
DECLARE
	before_commit pg_lsn;
BEGIN
	flushed := 0;
	FOR n IN 1..20 LOOP
		PERFORM pg_temp.save('{w-a,w-b,w-c}', ARRAY[n, 0, n]);
		before_commit := pg_current_wal_insert_lsn();
		COMMIT;
		flushed := flushed + (pg_current_wal_flush_lsn() > before_commit)::integer;
	END LOOP;
END
$$;
SET synchronous_commit = off;
CALL pg_temp.flush(NULL) \gset durable_
SELECT is(:durable_flushed, 20,
		  'every batch is on disk when its transaction has committed, even with synchronous_commit off');
SET snapshot_store.durable = off;
DELETE FROM snapshot_store WHERE starts_with(stream_id, 'w-');
CALL pg_temp.flush(NULL) \gset other_
SELECT cmp_ok(:other_flushed, '<', 20, 'while durable is off, synchronous_commit decides');
RESET snapshot_store.durable;
RESET synchronous_commit;

TRUNCATE snapshot_store;
SELECT * FROM finish();
