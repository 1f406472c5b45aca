-- Upkeep by the beginning of the stream's name: snapshot_census, snapshot_outdated and snapshot_purge, and what each
-- reads. This file commits; it has the table to itself and empties it at both ends.
SELECT plan(172);

\setenv PGHOST :HOST
\setenv PGPORT :PORT
\setenv PGDATABASE :DBNAME
\setenv PGUSER :USER

SET client_min_messages = warning;
TRUNCATE snapshot_store;
DROP ROLE IF EXISTS snapshot_store_test_user;

-- A census, as "vVersion snapshots/streams, …" in its order.
CREATE FUNCTION pg_temp.census(prefix text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT string_agg(format('v%s %s/%s', c.state_schema_version, c.snapshots, c.streams), ', ' ORDER BY c.ordinality)
	FROM snapshot_census(prefix) WITH ORDINALITY AS c
$$;

-- A work list, in its order.
CREATE FUNCTION pg_temp.outdated(prefix text, recognized bigint[], max_streams integer DEFAULT 1000,
								 after text DEFAULT NULL)
RETURNS text[] LANGUAGE sql STABLE
AS $$
	SELECT array_agg(o ORDER BY ordinality)
	FROM snapshot_outdated(prefix, recognized, max_streams, after) WITH ORDINALITY AS o (o)
$$;

-- The same without the functions.
CREATE FUNCTION pg_temp.census_by_hand(prefix text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT string_agg(format('v%s %s/%s', state_schema_version, snapshots, streams), ', ' ORDER BY state_schema_version)
	FROM (SELECT state_schema_version, count(*) AS snapshots, count(DISTINCT stream_id) AS streams
		  FROM snapshot_store WHERE starts_with(stream_id, prefix) GROUP BY state_schema_version) AS c
$$;

CREATE FUNCTION pg_temp.outdated_by_hand(prefix text, recognized bigint[], max_streams integer, after text DEFAULT NULL)
RETURNS text[] LANGUAGE sql STABLE
AS $$
	SELECT array_agg(stream_id ORDER BY stream_id)
	FROM (SELECT stream_id FROM snapshot_store
		  WHERE starts_with(stream_id, prefix) AND (after IS NULL OR stream_id > after COLLATE "C")
		  GROUP BY stream_id HAVING NOT bool_or(state_schema_version = ANY (recognized))
		  ORDER BY stream_id LIMIT max_streams) AS o
$$;

-- Rows for stream names and schema versions, each in the next slot of its stream.
CREATE FUNCTION pg_temp.fill(stream_ids text[], versions bigint[]) RETURNS void LANGUAGE sql
AS $$
	INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
	SELECT id, row_number() OVER (PARTITION BY id ORDER BY i) - 1, version, i,
		   timestamptz '2024-01-01' + i * interval '1 day', '0'
	FROM ROWS FROM (unnest(stream_ids), unnest(versions)) WITH ORDINALITY AS u (id, version, i)
$$;

-- The census

SELECT is(pg_temp.census(''), NULL, 'an empty store has an empty census');
SELECT pg_temp.fill('{order-1,order-1,order-1,order-2,order-10,order-3,order-3,order-4,order-4,invoice-1,invoice-1}',
					'{2,1,2,1,2,1,1,10,9,4294967295,0}') \gset
SELECT is(pg_temp.census('order-'), 'v1 4/3, v2 3/2, v9 1/1, v10 1/1',
		  'a census counts snapshots and streams of each version, by version');
SELECT is(pg_temp.census('order-1'), 'v1 1/1, v2 3/2', 'of the streams whose names begin so');
SELECT is(pg_temp.census('order-10'), 'v2 1/1', 'a whole name is a prefix, too');
SELECT is(pg_temp.census('order-100'), NULL, 'a longer one matches nothing');
SELECT is(pg_temp.census('inv'), 'v0 1/1, v4294967295 1/1', 'the lowest and the highest version');
SELECT is(pg_temp.census(''), 'v0 1/1, v1 4/3, v2 3/2, v9 1/1, v10 1/1, v4294967295 1/1', 'the empty prefix means all');
SELECT results_eq('SELECT * FROM snapshot_census()', 'SELECT * FROM snapshot_census('''')', 'so does none');
SELECT is(pg_temp.census('ORDER'), NULL, 'upper and lower case differ');
SELECT is(pg_temp.census('rder'), NULL, 'a prefix stands at the beginning');

-- Names and prefixes of every kind are plain characters

CREATE TEMPORARY TABLE name (name) AS
SELECT prefix || rest
FROM unnest(ARRAY['a', 'A', 'a%', 'a_', 'a\', 'a\\', 'a\%', 'a.', 'a*', 'a.*', 'a(', 'a)', 'a[', 'a]', 'a^', '^a', 'a$',
				  '$', '%', '_', '\', 'a?', 'a+', 'a{', 'a|', 'a''', 'a"', 'a ', ' a', E'a\t', E'a\n', 'a:', 'a/', 'a-',
				  'é', 'e', 'É', '日', '日本', U&'\+10FFFF', U&'\FFFD', U&'\0001', U&'\007F', U&'\0080',
				  repeat('y', 1998), repeat('日', 666)]) AS prefix,
	 unnest(ARRAY['', 'a', '%', U&'\0001']) AS rest
WHERE octet_length(prefix || rest) <= 2000
UNION SELECT chr(i) || 'c' FROM generate_series(32, 126) AS i;
TRUNCATE snapshot_store;
SELECT pg_temp.fill(array_agg(name), array_agg(1 + length(name) % 3)) FROM name \gset

SELECT is_empty(
	$$SELECT prefix, pg_temp.census(prefix), pg_temp.census_by_hand(prefix)
	  FROM (SELECT name AS prefix FROM name UNION SELECT left(name, -1) FROM name UNION SELECT name || 'x' FROM name
			UNION SELECT repeat('y', 3000) UNION SELECT repeat('日', 3000)) AS p
	  WHERE pg_temp.census(prefix) IS DISTINCT FROM pg_temp.census_by_hand(prefix)$$,
	'whatever the names are, a census is of the streams that begin with the prefix, character by character');
SELECT is_empty(
	$$SELECT prefix, pg_temp.outdated(prefix, '{1}'), pg_temp.outdated_by_hand(prefix, '{1}', 1000)
	  FROM (SELECT name AS prefix FROM name UNION SELECT left(name, -1) FROM name UNION SELECT name || 'x' FROM name
			UNION SELECT repeat('y', 3000) UNION SELECT repeat('日', 3000)) AS p
	  WHERE pg_temp.outdated(prefix, '{1}') IS DISTINCT FROM pg_temp.outdated_by_hand(prefix, '{1}', 1000)$$,
	'so is a work list');
SELECT is(pg_temp.outdated('a%', '{}'), ARRAY['a%', U&'a%\0001', 'a%%', 'a%a'], 'a percent sign is one');
SELECT is(pg_temp.outdated('a_', '{}'), ARRAY['a_', U&'a_\0001', 'a_%', 'a_a'], 'an underscore is one');
SELECT is(pg_temp.outdated('a\', '{}'), ARRAY['a\', U&'a\\\0001', 'a\%', U&'a\\%\0001', 'a\%%', 'a\%a', 'a\\',
												U&'a\\\\\0001', 'a\\%', 'a\\a', 'a\a'], 'a backslash is one');
SELECT is(pg_temp.outdated('^', '{}'), ARRAY[U&'^a', U&'^a\0001', '^a%', '^aa', '^c'], 'a circumflex is one');

-- The work list

TRUNCATE snapshot_store;
SELECT is(pg_temp.outdated('', '{1}'), NULL, 'of an empty store there is no work list');
SELECT pg_temp.fill('{a-1,a-2,a-3,a-3,a-4,a-4,a-5,b-1,Z-1,é-1,a-10}', '{1,2,1,2,2,3,3,2,2,2,2}') \gset
SELECT is(pg_temp.outdated('a-', '{1}'), '{a-10,a-2,a-4,a-5}',
		  'streams without a recognized snapshot, once each, in the order of their names');
SELECT is(pg_temp.outdated('', '{1}'), '{Z-1,a-10,a-2,a-4,a-5,b-1,é-1}', 'by their bytes');
SELECT is(pg_temp.outdated('a-', '{2}'), '{a-1,a-5}', 'one recognized snapshot is enough');
SELECT is(pg_temp.outdated('a-', '{2,3,1}'), NULL, 'all are recognized');
SELECT is(pg_temp.outdated('a-', '{7}'), '{a-1,a-10,a-2,a-3,a-4,a-5}', 'none is');
SELECT is(pg_temp.outdated('a-', '{}'), '{a-1,a-10,a-2,a-3,a-4,a-5}', 'an empty array recognizes nothing');
SELECT is(pg_temp.outdated('a-', '{1}', 2), '{a-10,a-2}', 'max_streams limits it');
SELECT is(pg_temp.outdated('a-', '{1}', 2, 'a-2'), '{a-4,a-5}', 'after_stream_id is where it goes on');
SELECT is(pg_temp.outdated('a-', '{1}', 2, 'a-5'), NULL, 'until there are no more');
SELECT is(pg_temp.outdated('a-', '{1}', after => after), expected, description)
FROM (VALUES ('a-3', '{a-4,a-5}'::text[], 'after_stream_id need not be on the list'),
			 ('a-30', '{a-4,a-5}', 'nor be a stream'),
			 ('a-1', '{a-10,a-2,a-4,a-5}', 'nor is a stream that begins with it passed over'),
			 ('a-', '{a-10,a-2,a-4,a-5}', 'it may be the prefix'),
			 ('', '{a-10,a-2,a-4,a-5}', 'or empty'),
			 ('Z', '{a-10,a-2,a-4,a-5}', 'or lie before the prefix'),
			 ('a', '{a-10,a-2,a-4,a-5}', 'or be the beginning of the prefix'),
			 ('a.', NULL, 'or lie behind'),
			 ('b', NULL, 'or far behind'),
			 (repeat('z', 3000), NULL, 'and be longer than any name')) AS v (after, expected, description);
SELECT is(array_length(pg_temp.outdated('', '{7}', 2147483647), 1), 9, 'max_streams may be the highest there is');
TRUNCATE snapshot_store;
SELECT pg_temp.fill(array_agg('many-' || i), array_agg(1)) FROM generate_series(1, 1500) AS i \gset
SELECT is(count(*), 1000::bigint, 'by default it has up to 1,000 streams') FROM snapshot_outdated('many-', '{2}');

-- Chance: names over few letters, some in several slots
TRUNCATE snapshot_store;
SELECT setseed(0.5) \gset
SELECT pg_temp.fill(array_agg(translate(left(md5(random()::text), 1 + floor(random() * 4)::integer),
										'0123456789', 'aabbcc%%__')),
					array_agg(1 + floor(random() * 4)::bigint)) FROM generate_series(1, 3000) \gset
CREATE TEMPORARY TABLE query AS
SELECT left(p.stream_id, floor(random() * 4)::integer) AS prefix, r.versions AS recognized,
	   1 + floor(random() * 30)::integer AS max_streams, CASE WHEN random() < 0.7 THEN a.stream_id END AS after
FROM (SELECT stream_id, row_number() OVER (ORDER BY random()) AS n FROM snapshot_store LIMIT 200) AS p
JOIN (SELECT stream_id, row_number() OVER (ORDER BY random()) AS n FROM snapshot_store LIMIT 200) AS a USING (n)
JOIN (SELECT n, array_agg(v) AS versions FROM generate_series(1, 200) AS n, generate_series(1, 5) AS v
	  WHERE random() < 0.4 GROUP BY n) AS r USING (n);
SELECT is_empty(
	'SELECT *, pg_temp.census(prefix), pg_temp.census_by_hand(prefix) FROM query
	 WHERE pg_temp.census(prefix) IS DISTINCT FROM pg_temp.census_by_hand(prefix)',
	'a census is what SQL by hand counts');
SELECT is_empty(
	'SELECT *, pg_temp.outdated(prefix, recognized, max_streams, after),
			pg_temp.outdated_by_hand(prefix, recognized, max_streams, after) FROM query
	 WHERE pg_temp.outdated(prefix, recognized, max_streams, after)
		 IS DISTINCT FROM pg_temp.outdated_by_hand(prefix, recognized, max_streams, after)',
	'a work list is what SQL by hand lists');
SELECT cmp_ok(count(pg_temp.outdated(prefix, recognized, max_streams, after)), '>', 50::bigint, 'which is seldom nothing')
FROM query;

-- A work list is worked off: each stream once, though they are saved anew meanwhile. An old version of the application
-- comes by, once behind and once ahead of where we are.

CREATE FUNCTION pg_temp.work_off(max_streams integer, keep_versions integer) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	last text;
	batch text[];
	done text[] := '{}';
	expected text[];
BEGIN
	PERFORM set_config('snapshot_store.keep_versions', keep_versions::text, true);
	TRUNCATE snapshot_store;
	PERFORM pg_temp.fill(array_agg(format('work-%s', 100 + i)), array_agg(1 + i % 3)) FROM generate_series(1, 60) AS i;
	expected := pg_temp.outdated_by_hand('work-', '{3}', 1000) || 'work-900'::text;
	FOR i IN 1..100 LOOP
		batch := pg_temp.outdated('work-', '{3}', max_streams, last);
		EXIT WHEN batch IS NULL;
		PERFORM snapshot_save(id, 200, 3, '3') FROM unnest(batch) AS id;
		IF last IS NULL THEN
			PERFORM snapshot_save('work-050', 1, 2, '2'), snapshot_save('work-900', 1, 2, '2');
		END IF;
		last := batch[cardinality(batch)];
		done := done || batch;
	END LOOP;
	IF done <> expected THEN
		RETURN format('%s instead of %s', done, expected);
	END IF;
	RETURN format('%s streams, left: %s', cardinality(done), pg_temp.outdated('work-', '{3}'));
END
$$;
SELECT is(pg_temp.work_off(max_streams, keep_versions), '41 streams, left: {work-050}',
		  format('a work list is worked off, %s at a time, with keep_versions %s', max_streams, keep_versions))
FROM unnest(ARRAY[1, 7, 39]) AS max_streams, unnest(ARRAY[1, 2]) AS keep_versions;

-- The purge

-- What it begins with: 60 streams, some with several snapshots, of versions 1 to 4, from the first 30 days of a year.
CREATE PROCEDURE pg_temp.begin_with_60() LANGUAGE plpgsql
AS $$
BEGIN
	TRUNCATE snapshot_store;
	PERFORM setseed(0.75);
	INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
	SELECT format('p-%s', 100 + i), slot, 1 + floor(random() * 4), i,
		   timestamptz '2024-01-01 00:00:00+00' + floor(random() * 30) * interval '1 day', '0'
	FROM generate_series(1, 60) AS i, generate_series(0, i % 3) AS slot;
END
$$;
CREATE FUNCTION pg_temp.kept() RETURNS text LANGUAGE sql
AS $$
	SELECT string_agg(ROW(stream_id, slot, state_schema_version, created_at)::text, E'\n' ORDER BY stream_id, slot)
	FROM snapshot_store
$$;
CALL pg_temp.begin_with_60();
CREATE TEMPORARY TABLE begun AS SELECT * FROM snapshot_store;

CREATE TEMPORARY TABLE purge (prefix, recognized, min_created_at, max_created_at, batch_size, description) AS
VALUES
	('', '{1}'::bigint[], NULL::timestamptz, NULL::timestamptz, 1000, 'what is not recognized'),
	('', '{1,3}', NULL, NULL, 7, 'what is not recognized, of several versions'),
	('', '{9}', NULL, NULL, 10, 'everything, if nothing is recognized'),
	('', '{1,2,3,4}', NULL, NULL, 10, 'nothing, if all is recognized'),
	('', NULL, '2024-01-20 00:00:00+00', NULL, 1000, 'what is as young as that, inclusive'),
	('', NULL, '2024-01-20 00:00:00.000001+00', NULL, 1000, 'to the microsecond'),
	('', NULL, NULL, '2024-01-10 00:00:00+00', 1000, 'what is as old as that, inclusive'),
	('', NULL, NULL, '2024-01-09 23:59:59.999999+00', 1000, 'to the microsecond'),
	('', NULL, '2024-01-10 00:00:00+00', '2024-01-20 00:00:00+00', 1, 'what lies between'),
	('', NULL, '2024-01-20 00:00:00+00', '2024-01-10 00:00:00+00', 1, 'nothing lies between'),
	('', NULL, '-infinity', 'infinity', 13, 'infinite bounds admit all'),
	('', '{2}', '2024-01-10 00:00:00+00', NULL, 2, 'what is not recognized and young'),
	('', '{2,4}', NULL, '2024-01-10 00:00:00+00', 2, 'what is not recognized and old'),
	('', '{1,2}', '2024-01-10 00:00:00+00', '2024-01-20 00:00:00+00', 1, 'all three criteria hold together'),
	('p-11', '{1}', NULL, NULL, 1, 'only streams with the prefix'),
	('p-11', NULL, NULL, 'infinity', 1000, 'all of them'),
	('p-110', '{2,3}', NULL, NULL, 1, 'a stream by its whole name'),
	('p-1100', NULL, NULL, 'infinity', 1, 'nothing with a longer prefix'),
	('p_', NULL, NULL, 'infinity', 1, 'nothing with a prefix that is no pattern'),
	('p', '{2}', NULL, NULL, 500000, 'in one batch, of the highest size');
INSERT INTO purge
SELECT left('p-1' || i, i % 5), ARRAY[1 + i % 4, 1 + i / 2 % 4],
	   CASE WHEN i % 3 = 0 THEN timestamptz '2024-01-01 00:00:00+00' + i * interval '1 day' END,
	   CASE WHEN i % 2 = 0 THEN timestamptz '2024-01-12 00:00:00+00' + i * interval '1 day' END,
	   1 + i * i % 37, 'case ' || i
FROM generate_series(1, 15) AS i;

-- What a purge should leave.
CREATE FUNCTION pg_temp.to_keep(purge) RETURNS text LANGUAGE sql
AS $$
	SELECT string_agg(ROW(stream_id, slot, state_schema_version, created_at)::text, E'\n' ORDER BY stream_id, slot)
	FROM begun
	WHERE NOT (starts_with(stream_id, $1.prefix)
			   AND ($1.recognized IS NULL OR state_schema_version <> ALL ($1.recognized))
			   AND ($1.min_created_at IS NULL OR created_at >= $1.min_created_at)
			   AND ($1.max_created_at IS NULL OR created_at <= $1.max_created_at))
$$;
SELECT 'CALL pg_temp.begin_with_60()',
	   format('CALL snapshot_purge(%L, %L, %L, %L, %s)', prefix, recognized, min_created_at, max_created_at, batch_size),
	   format('SELECT is(pg_temp.kept(), %L, %L)', pg_temp.to_keep(p), 'a purge deletes: ' || description)
FROM purge AS p \gexec

-- How it may be called

CALL pg_temp.begin_with_60();
CALL snapshot_purge(recognized_schema_versions => '{1,2,3}', stream_id_prefix => 'p-1');
SELECT is(pg_temp.census('') ~ 'v4', false, 'arguments by name');
CALL snapshot_purge('p-', max_created_at => '2024-01-15');
SELECT is(count(*), 0::bigint, 'some left out') FROM snapshot_store WHERE created_at <= '2024-01-15';
CALL pg_temp.begin_with_60();
\set notice `psql -XqAtc "CALL snapshot_purge('', '{1,2,3}', batch_size => 10)" 2>&1`
SELECT is(:'notice', format(E'NOTICE:  snapshot_purge() has deleted %s snapshots\n%1$s', count(*)),
		  'it tells how many it has deleted, by a notice and in a row')
FROM begun WHERE state_schema_version = 4;
\set notice `psql -XqAtc "CALL snapshot_purge('', '{1,2,3}')" 2>&1`
SELECT is(:'notice'::text, E'NOTICE:  snapshot_purge() has deleted 0 snapshots\n0', 'a second one finds nothing more');
CALL pg_temp.begin_with_60();
CALL snapshot_purge('', '{1,2,3}', batch_size => 7, deleted => 1000) \gset row_
SELECT is(:row_deleted::bigint, count(*), 'whatever is passed for the count') FROM begun WHERE state_schema_version = 4;

\set call 'CALL snapshot_purge(:prefix, ARRAY[:version, 2], batch_size => :size)'
\setenv CALL :call
\! echo "$CALL" | pgbench -n -M extended -D prefix=p-11 -D version=1 -D size=7 -t 1 -f - > /dev/null 2>&1
SELECT is(string_agg(DISTINCT state_schema_version::text, ' '), '1 2', 'parameters of a client resolve')
FROM snapshot_store WHERE starts_with(stream_id, 'p-11');

CALL pg_temp.begin_with_60();
SET snapshot_store.enabled = off;
CALL snapshot_purge('', '{1}');
SELECT is(pg_temp.census(''), format('v1 %s/%s', count(*), count(DISTINCT stream_id)),
		  'a purge works while the store is off, and so does a census') FROM begun WHERE state_schema_version = 1;
SELECT is(cardinality(pg_temp.outdated('', '{2}', 3)), 3, 'and a work list');
RESET snapshot_store.enabled;

CALL pg_temp.begin_with_60();
SET default_transaction_isolation = 'repeatable read';
CALL snapshot_purge('', '{1}', batch_size => 10);
SELECT is(count(*), 0::bigint, 'a purge works at REPEATABLE READ') FROM snapshot_store WHERE state_schema_version <> 1;
SET default_transaction_isolation = 'serializable';
CALL snapshot_purge('', '{2}', batch_size => 10);
SELECT is(count(*), 0::bigint, 'and at SERIALIZABLE') FROM snapshot_store;
RESET default_transaction_isolation;

-- A purge may take the snapshot in slot 0 away from others; the stream goes on.
SET snapshot_store.keep_versions = 2;
SELECT snapshot_save('slots', 1, 1, '1') AND snapshot_save('slots', 1, 2, '2') AS saved \gset
CALL snapshot_purge('slots', '{2}');
SELECT is(ARRAY[snapshot_save('slots', 2, 3, '3'), snapshot_save('slots', 2, 2, '4'), snapshot_save('slots', 1, 2, '5')],
		  '{t,t,f}', 'a stream whose first slot was purged is saved');
SELECT is(array_agg(state_schema_version || ' ' || sequence_number ORDER BY state_schema_version), '{2 2,3 2}',
		  'by the rule') FROM snapshot_store WHERE stream_id = 'slots';
RESET snapshot_store.keep_versions;

-- Where it may be called: it commits

CREATE PROCEDURE pg_temp.purge_twice() LANGUAGE plpgsql
AS $$
DECLARE
	recognized bigint[] := '{}';
	first bigint;
	second bigint;
BEGIN
	FOR version IN 1..3 LOOP
		recognized := recognized || version::bigint;
	END LOOP;
	CALL snapshot_purge('p-' || left('110', 1), recognized, batch_size => 10, deleted => first);
	COMMIT;
	CALL snapshot_purge('p-1', recognized[2:], batch_size => 11, deleted => second);
	ROLLBACK;
	RAISE NOTICE 'deleted % and %', first, second;
END
$$;
CALL pg_temp.begin_with_60();
CALL pg_temp.purge_twice();
SELECT is(string_agg(DISTINCT state_schema_version::text, ' '), '2 3',
		  'a procedure that has the control of transactions may') FROM snapshot_store;

CALL pg_temp.begin_with_60();
DO $$
DECLARE
	n bigint;
BEGIN
	CALL snapshot_purge('', '{1}', batch_size => 10, deleted => n);
	PERFORM set_config('snapshot_test.deleted', n::text, false);
END
$$;
SELECT is(current_setting('snapshot_test.deleted')::bigint, count(*), 'a DO block of its own gets the count in a variable')
FROM begun WHERE state_schema_version <> 1;
SELECT is(string_agg(DISTINCT state_schema_version::text, ' '), '1', 'when it has purged') FROM snapshot_store;

CALL pg_temp.begin_with_60();
DO $$
DECLARE
	prefix text;
	n bigint;
BEGIN
	FOR prefix IN SELECT DISTINCT left(stream_id, 4) FROM snapshot_store ORDER BY 1 LOOP
		CALL snapshot_purge(prefix, '{2}', batch_size => 3, deleted => n);
	END LOOP;
END
$$;
SELECT is(string_agg(DISTINCT state_schema_version::text, ' '), '2', 'also in a loop over a query') FROM snapshot_store;

CREATE FUNCTION pg_temp.purge_in_function() RETURNS void LANGUAGE plpgsql
AS $$ DECLARE n bigint; BEGIN CALL snapshot_purge('p-', '{1}', deleted => n); END $$;
CREATE PROCEDURE pg_temp.purge_with_setting() LANGUAGE plpgsql SET work_mem = '4MB'
AS $$ DECLARE n bigint; BEGIN CALL snapshot_purge('p-', '{1}', deleted => n); END $$;
CREATE PROCEDURE pg_temp.purge_as_definer() LANGUAGE plpgsql SECURITY DEFINER
AS $$ DECLARE n bigint; BEGIN CALL snapshot_purge('p-', '{1}', deleted => n); END $$;
CREATE PROCEDURE pg_temp.purge_and_catch() LANGUAGE plpgsql
AS $$
DECLARE
	n bigint;
BEGIN
	CALL snapshot_purge('p-', '{1}', deleted => n);
EXCEPTION WHEN no_data_found THEN
	RETURN;
END
$$;

-- What the last command said, if it was an error: that of a command that cannot be run inside of a function.
\set ON_ERROR_STOP 0
\set VERBOSITY sqlstate
\set refused 'true 2D000 snapshot_purge() cannot be called inside a transaction block or a function'

CALL pg_temp.begin_with_60();
BEGIN;
CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
ROLLBACK;
SELECT is(:'error'::text, :'refused', 'a transaction block may not');
SELECT WHERE false \; CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, :'refused', 'nor may several statements sent as one');
SELECT pg_temp.purge_in_function();
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, :'refused', 'nor a function');
CREATE PROCEDURE pg_temp.purge_in_sql() LANGUAGE sql AS $$ CALL snapshot_purge('p-', '{1}') $$;
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, 'true 0A000 calling procedures with output arguments is not supported in SQL functions',
		  'nor a procedure in SQL, which cannot even be made');
CALL pg_temp.purge_with_setting();
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, :'refused', 'nor a procedure with a SET clause');
CALL pg_temp.purge_as_definer();
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, :'refused', 'nor one that is SECURITY DEFINER');
BEGIN;
CALL pg_temp.purge_twice();
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
ROLLBACK;
SELECT is(:'error'::text, :'refused', 'nor any procedure in a transaction block');
BEGIN;
DO $$ DECLARE n bigint; BEGIN CALL snapshot_purge('p-', '{1}', deleted => n); END $$;
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
ROLLBACK;
SELECT is(:'error'::text, :'refused', 'nor a DO block in one');
CALL pg_temp.purge_and_catch();
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, :'refused', 'nor a block that catches errors');
DO $$ BEGIN CALL snapshot_purge('p-', '{1}'); END $$;
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, 'true 42601 procedure parameter "deleted" is an output parameter but corresponding argument is not writable',
		  'nor PL/pgSQL without a variable for the count');
SELECT is(pg_temp.kept(), string_agg(ROW(stream_id, slot, state_schema_version, created_at)::text, E'\n'
									 ORDER BY stream_id, slot), 'none of them has deleted anything')
FROM begun;

-- Errors. In a function, where good arguments end in 2D000.

SELECT throws_ok(format('CALL snapshot_purge(%s)', arguments), error, message, format('a purge refuses: %s', arguments))
FROM (VALUES
	('NULL, ''{1}''', '22004', 'stream_id_prefix must not be null'),
	('''p''', '22023', 'snapshot_purge() needs a criterion'),
	('''p'', NULL, NULL, NULL', '22023', 'snapshot_purge() needs a criterion'),
	('''p'', batch_size => 10', '22023', 'snapshot_purge() needs a criterion'),
	('''p'', ''{}''', '22023', 'recognized_schema_versions must not be empty'),
	('''p'', ''{}'', max_created_at => ''today''', '22023', 'recognized_schema_versions must not be empty'),
	('''p'', ''{1,NULL}''', '22004', 'recognized_schema_versions must not contain nulls'),
	('''p'', ''{{1},{2}}''', '2202E', 'recognized_schema_versions must be a one-dimensional array'),
	('''p'', ''{1,-1}''', '22003', 'recognized_schema_versions is out of range'),
	('''p'', ''{1,4294967296}''', '22003', 'recognized_schema_versions is out of range'),
	('''p'', ''{1}'', batch_size => NULL', '22004', 'batch_size must not be null'),
	('''p'', ''{1}'', batch_size => 0', '22023', 'batch_size must be at least 1'),
	('''p'', ''{1}'', batch_size => -1', '22023', 'batch_size must be at least 1'),
	('''p'', ''{1}'', batch_size => 500001', '22023', 'batch_size must be at most 500000'),
	('''p'', ''{1}'', batch_size => 2147483647', '22023', 'batch_size must be at most 500000'),
	('''p'', ''{1}''', '2D000', 'snapshot_purge() cannot be called inside a transaction block or a function'),
	('''p'', NULL, ''today''', '2D000', 'snapshot_purge() cannot be called inside a transaction block or a function'),
	('''p'', NULL, NULL, ''today''', '2D000',
	 'snapshot_purge() cannot be called inside a transaction block or a function')
) AS v (arguments, error, message);

-- A table whose streams are not in the order of their names' bytes

ALTER TABLE snapshot_store ALTER stream_id TYPE text COLLATE "POSIX";
CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, 'true 55000 column "stream_id" of table "snapshot_store" does not have the collation "C"',
		  'a purge refuses another collation');
ALTER TABLE snapshot_store ALTER stream_id TYPE text COLLATE "C";

-- Privileges: a purge needs SELECT, UPDATE and DELETE, like a deletion

CREATE ROLE snapshot_store_test_user;
SET ROLE snapshot_store_test_user;
CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
RESET ROLE;
REVOKE ALL ON snapshot_store FROM snapshot_store_test_user;
SELECT is(:'error'::text, 'true 42501 permission denied for table snapshot_store',
		  'a purge is refused with no privilege');
GRANT SELECT, UPDATE ON snapshot_store TO snapshot_store_test_user;
SET ROLE snapshot_store_test_user;
CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
RESET ROLE;
REVOKE ALL ON snapshot_store FROM snapshot_store_test_user;
SELECT is(:'error'::text, 'true 42501 permission denied for table snapshot_store',
		  'a purge is refused with SELECT, UPDATE');
GRANT SELECT, DELETE ON snapshot_store TO snapshot_store_test_user;
SET ROLE snapshot_store_test_user;
CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
RESET ROLE;
REVOKE ALL ON snapshot_store FROM snapshot_store_test_user;
SELECT is(:'error'::text, 'true 42501 permission denied for table snapshot_store',
		  'a purge is refused with SELECT, DELETE');
GRANT UPDATE, DELETE ON snapshot_store TO snapshot_store_test_user;
SET ROLE snapshot_store_test_user;
CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
RESET ROLE;
REVOKE ALL ON snapshot_store FROM snapshot_store_test_user;
SELECT is(:'error'::text, 'true 42501 permission denied for table snapshot_store',
		  'a purge is refused with UPDATE, DELETE');
GRANT SELECT, UPDATE, DELETE ON snapshot_store TO snapshot_store_test_user;
SET ROLE snapshot_store_test_user;
CALL snapshot_purge('p-', '{1,2}');
RESET ROLE;
REVOKE ALL ON snapshot_store FROM snapshot_store_test_user;
SELECT is(string_agg(DISTINCT state_schema_version::text, ' '), '1 2', 'it needs no more than SELECT, UPDATE, DELETE')
FROM snapshot_store;
DROP ROLE snapshot_store_test_user;

-- Read-only transactions, and a table that would not be durable

SET default_transaction_read_only = on;
CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, 'true 25006 cannot execute snapshot_purge() in a read-only transaction',
		  'a read-only transaction does not purge');
CALL snapshot_purge('nothing', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, 'true 25006 cannot execute snapshot_purge() in a read-only transaction',
		  'even where there is nothing to purge');
RESET default_transaction_read_only;
ALTER TABLE snapshot_store SET UNLOGGED;
CALL snapshot_purge('p-', '{1}');
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, 'true 55000 snapshots in table "public.snapshot_store" would not be durable',
		  'an unlogged table is refused');
SELECT is(pg_temp.census('') ~ 'v1.*v2' AND cardinality(pg_temp.outdated('', '{1}')) > 0, true, 'but read');
SET snapshot_store.durable = off;
CALL snapshot_purge('p-', '{1}');
RESET snapshot_store.durable;
ALTER TABLE snapshot_store SET LOGGED;
SELECT is(string_agg(DISTINCT state_schema_version::text, ' '), '1', 'unless durable is off') FROM snapshot_store;

-- What was purged is on disk at the end, whatever synchronous_commit says

CREATE PROCEDURE pg_temp.flush(INOUT flushed integer) LANGUAGE plpgsql
AS $$
DECLARE
	before_commit pg_lsn;
	deleted bigint;
BEGIN
	flushed := 0;
	FOR n IN 1..20 LOOP
		PERFORM snapshot_save('flush', n, 2, '2');
		COMMIT;
		before_commit := pg_current_wal_insert_lsn();
		CALL snapshot_purge('flush', '{1}', deleted => deleted);
		flushed := flushed + (pg_current_wal_flush_lsn() > before_commit)::integer;
	END LOOP;
END
$$;
SET synchronous_commit = off;
CALL pg_temp.flush(NULL) \gset
SELECT is(:flushed, 20, 'every purge is on disk when it is over, even with synchronous_commit off');
RESET synchronous_commit;

-- Stopped in the middle, and started again

TRUNCATE snapshot_store;
SELECT pg_temp.fill(array_agg(format('stop-%s', 1000 + i)), array_agg(1)) FROM generate_series(0, 2999) AS i \gset
CREATE FUNCTION pg_temp.stop_at_1550() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	IF old.stream_id = 'stop-1550' THEN
		PERFORM pg_cancel_backend(pg_backend_pid()), pg_sleep(60);
	END IF;
	RETURN old;
END
$$;
CREATE TRIGGER stop BEFORE DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION pg_temp.stop_at_1550();
CALL snapshot_purge('stop-', '{2}', batch_size => 100);
\set error :ERROR ' ' :LAST_ERROR_SQLSTATE ' ' :LAST_ERROR_MESSAGE
SELECT is(:'error'::text, 'true 57014 canceling statement due to user request', 'a purge that is stopped');
SELECT is(min(stream_id) || ' ' || count(*), 'stop-1500 2500', 'has done the batches before that one')
FROM snapshot_store;
DROP TRIGGER stop ON snapshot_store;
CALL snapshot_purge('stop-', '{2}', batch_size => 100);
SELECT is(count(*), 0::bigint, 'and one that is started again finds the rest') FROM snapshot_store;
\set ON_ERROR_STOP 1

-- Parallel workers

SELECT pg_temp.fill('{w-1,w-2,w-3}', '{1,2,1}') \gset
SELECT set_config(name, 'on', false) FROM pg_settings
WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset
SELECT results_eq('SELECT * FROM snapshot_census(''w-'')', 'VALUES (1::bigint, 2::bigint, 2::bigint), (2, 1, 1)',
				  'a parallel worker takes a census');
SELECT results_eq('SELECT * FROM snapshot_outdated(''w-'', ''{2}'')', '{w-1,w-3}'::text[], 'and lists work');
RESET ALL;
SET client_min_messages = warning;

-- What each reads. 100 kinds of 200 streams, whose states lie out of line; of every kind one stream in ten is of an old
-- version.

CREATE FUNCTION pg_temp.index_pages() RETURNS bigint LANGUAGE sql
AS $$ SELECT pg_relation_size('snapshot_store_pkey') / current_setting('block_size')::bigint $$;

-- How many pages a query reads in all, of whatever table.
CREATE FUNCTION pg_temp.pages_of(query text) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE query;
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END
$$;

-- How many rows it fetches from the table.
CREATE FUNCTION pg_temp.rows_of(query text) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE
	before constant bigint := pg_stat_get_xact_tuples_fetched('snapshot_store_pkey'::regclass);
BEGIN
	EXECUTE query;
	RETURN pg_stat_get_xact_tuples_fetched('snapshot_store_pkey'::regclass) - before;
END
$$;

-- The whole work list, so many streams at a time.
CREATE FUNCTION pg_temp.whole_work_list(max_streams integer) RETURNS integer LANGUAGE plpgsql
AS $$
DECLARE
	last text;
	batch text[];
	streams integer := 0;
BEGIN
	FOR i IN 1..100 LOOP
		batch := pg_temp.outdated('', '{3}', max_streams, last);
		EXIT WHEN batch IS NULL;
		last := batch[cardinality(batch)];
		streams := streams + cardinality(batch);
	END LOOP;
	RETURN streams;
END
$$;

-- Loaded in an order that is not the key's.
CREATE PROCEDURE pg_temp.begin_with_20000() LANGUAGE sql
AS $$
	TRUNCATE snapshot_store;
	INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
	SELECT format('kind-%s/%s', to_char(i % 100, 'FM00'), to_char(i, 'FM00000')), 0,
		   CASE WHEN i / 100 % 10 = 3 THEN 1 ELSE 2 END, i,
		   timestamptz '2024-01-01 00:00:00+00' + i * interval '1 second', to_json(n.state)
	FROM generate_series(0, 19999) AS i,
		 (SELECT string_agg(md5(j::text), '') AS state FROM generate_series(1, 66) AS j) AS n
$$;
ALTER TABLE snapshot_store SET (toast_tuple_target = 128, autovacuum_enabled = off, toast.autovacuum_enabled = off);
CALL pg_temp.begin_with_20000();
VACUUM (ANALYZE) snapshot_store;
SELECT ok(pg_relation_size(reltoastrelid) > 20000 * 2048, '20,000 states of 2 KB, out of line')
FROM pg_class WHERE oid = 'snapshot_store'::regclass;

-- Besides the part of the index that it needs, a walk reads the way down, the keys that it fetches at once and does not
-- need, and the visibility map.
SELECT pg_temp.index_pages() AS index_pages, 12 AS besides \gset
SELECT cmp_ok(pg_temp.pages_of(query), '<=', (:index_pages * share + :besides)::bigint, description)
FROM (VALUES
	('SELECT * FROM snapshot_census()', 1.0, 'a census reads the index'),
	('SELECT * FROM snapshot_census(''kind-4'')', 0.1, 'of a tenth of the streams a tenth of it'),
	('SELECT * FROM snapshot_census(''kind-42/'')', 0.01, 'of a hundredth a hundredth'),
	('SELECT * FROM snapshot_census(''kind-42/00342'')', 0.0, 'of a single one hardly anything'),
	('SELECT * FROM snapshot_outdated('''', ''{1,2}'')', 1.0, 'a work list that has nothing reads the index'),
	('SELECT * FROM snapshot_outdated(''kind-4'', ''{1,2}'')', 0.1, 'of a tenth of the streams a tenth of it'),
	('SELECT * FROM snapshot_outdated('''', ''{2}'', 10)', 0.0, 'one of ten streams reads on until it has them'),
	('SELECT * FROM snapshot_outdated('''', ''{2}'', 10, ''kind-50'')', 0.0, 'from where it is told to begin'),
	('SELECT * FROM snapshot_outdated('''', ''{2}'', 10, ''kind-95'')', 0.0, 'however far that is'),
	('SELECT * FROM snapshot_outdated('''', ''{2}'', 100, ''kind-50'')', 0.05, 'and one of a hundred so much more')
) AS v (query, share, description);
SELECT is(pg_temp.rows_of(query), 0::bigint, 'and not one row of the table: ' || query)
FROM (VALUES ('SELECT * FROM snapshot_census()'), ('SELECT * FROM snapshot_outdated('''', ''{1,2}'')'),
			 ('SELECT * FROM snapshot_outdated('''', ''{2}'', 2000)')) AS v (query);
SELECT is(pg_temp.whole_work_list(1000), 20000, 'a work list of 20,000 streams, 1,000 at a time');
SELECT cmp_ok(pg_temp.pages_of('SELECT pg_temp.whole_work_list(1000)'), '<=', :index_pages * 3::bigint,
			  'does not start over with each call');

-- What the server counts of the session's statements, once they are reported.
CREATE TEMPORARY VIEW counter AS
SELECT pg_stat_get_blocks_fetched(key) AS index_pages, pg_stat_get_tuples_returned(key) AS index_entries,
	   pg_stat_get_tuples_fetched(key) AS rows_fetched, pg_stat_get_tuples_returned(oid) AS rows_scanned,
	   pg_stat_get_tuples_deleted(oid) AS rows_deleted, pg_stat_get_blocks_fetched(reltoastrelid) AS toast_pages
FROM pg_class, CAST('snapshot_store_pkey' AS regclass) AS key WHERE oid = 'snapshot_store'::regclass;
SELECT pg_stat_force_next_flush() \gset
SELECT * FROM counter \gset before_
CALL snapshot_purge('', '{1,2}', batch_size => 1000);
SELECT pg_stat_force_next_flush() \gset
SELECT is(index_entries - :before_index_entries, 20000::bigint,
		  'a purge that deletes nothing reads each entry of the index once') FROM counter;
SELECT cmp_ok(index_pages - :before_index_pages, '<=', :index_pages + 20 * 3::bigint,
			  'in 20 batches the index once, and 20 times the way down') FROM counter;
SELECT is(ROW(rows_fetched - :before_rows_fetched, rows_scanned - :before_rows_scanned)::text, '(0,0)',
		  'and no row of the table') FROM counter;
SELECT pg_stat_force_next_flush() \gset
SELECT * FROM counter \gset before_
CALL snapshot_purge('', '{1,2}', batch_size => 100);
SELECT pg_stat_force_next_flush() \gset
SELECT cmp_ok(index_entries - :before_index_entries, '<=', 20000 + 200::bigint,
			  'in 200 batches it reads each entry of the index once, too') FROM counter;
SELECT cmp_ok(index_pages - :before_index_pages, '<=', :index_pages + 200 * 3::bigint,
			  'and the index once, and 200 times the way down') FROM counter;
SELECT pg_stat_force_next_flush() \gset
SELECT * FROM counter \gset before_
CALL snapshot_purge('', '{1,2}', batch_size => 20000);
SELECT pg_stat_force_next_flush() \gset
SELECT cmp_ok(index_pages - :before_index_pages, '<=', :index_pages + 2 * 3::bigint, 'and so in one') FROM counter;
SELECT pg_stat_force_next_flush() \gset
SELECT * FROM counter \gset before_
CALL snapshot_purge('', '{2}', batch_size => 1000);
SELECT pg_stat_force_next_flush() \gset
SELECT is(rows_deleted - :before_rows_deleted, 2000::bigint, 'a purge that deletes 2,000 deletes no more') FROM counter;
SELECT is(pg_temp.census(''), 'v2 18000/18000', 'those that are not recognized');
-- (From 17 on, planning the statement reads two entries.)
SELECT cmp_ok(index_entries - :before_index_entries, '<=', 20000 + 2 * 2000 + 2::bigint,
			  'it reads the index once, and each that it deletes twice more') FROM counter;
SELECT cmp_ok(rows_fetched - :before_rows_fetched, '<=', 5 * 2000::bigint,
			  'of the table what it deletes, and some of what lies beside') FROM counter;
SELECT cmp_ok(toast_pages - :before_toast_pages, '<=', 5 * 2000::bigint, 'and no state but of those') FROM counter;

ALTER TABLE snapshot_store SET (toast_tuple_target = 4064);
ALTER TABLE snapshot_store RESET (autovacuum_enabled, toast.autovacuum_enabled);
TRUNCATE snapshot_store;

DO $$
DECLARE
	n bigint;
BEGIN
	PERFORM snapshot_save('just-saved', 1, 1, '1');
	CALL snapshot_purge('', ARRAY[2], deleted => n);
END
$$;
SELECT is_empty('SELECT FROM snapshot_store', 'a purge sees what the block that calls it has saved');

SELECT * FROM finish();
