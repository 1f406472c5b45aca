-- The statements in doc/reference.md, "Queries", over streams of every shape: what they choose is what snapshot_load
-- chooses, and they go by the key. This file commits; it has the table to itself and empties it at both ends.
SELECT plan(20);

SET client_min_messages = warning;
DROP ROLE IF EXISTS snapshot_store_test_user;
TRUNCATE snapshot_store;

-- 400 streams with up to six snapshots in any order: of versions 0 to 4, of events 0 to 3, so that versions meet at one
-- event. Some names begin others. And many streams of another kind, which nobody wants.
SELECT setseed(0.5) \gset
INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
SELECT stream_id, slot, version, n, now(), json_build_array(stream_id, n, version)
FROM (SELECT stream_id, version, n, row_number() OVER (PARTITION BY stream_id ORDER BY random()) - 1 AS slot,
			 ascii(md5(stream_id)) % 7 AS slots
	  FROM (SELECT unnest(ARRAY['a_' || i, 'a_' || i || '_', 'ab' || i, 'a_%' || i]) AS stream_id
			FROM generate_series(1, 100) AS i) AS s,
		   generate_series(0, 4) AS version, generate_series(0, 3) AS n) AS r
WHERE slot < slots;
INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
SELECT 'z-' || i, 0, 1, 1, now(), '0' FROM generate_series(1, 20000) AS i;
VACUUM ANALYZE snapshot_store;
CREATE TEMPORARY VIEW stream AS SELECT DISTINCT stream_id FROM snapshot_store WHERE stream_id < 'z';
SELECT is(count(*) > 5 AND bool_or(slots = 6) AND bool_or(slots = 1) AND bool_or(versions_at_one_event > 1), true,
		  'there are streams with one snapshot and with six, and with two versions of one event')
FROM (SELECT count(*) AS slots, count(*) - count(DISTINCT sequence_number) + 1 AS versions_at_one_event
	  FROM snapshot_store WHERE stream_id < 'z' GROUP BY stream_id) AS s;

-- Whatever version there is

PREPARE load_any AS
	SELECT s.stream_id, l.sequence_number, l.state_schema_version, l.state::text
	FROM stream AS s,
		 snapshot_load(s.stream_id, ARRAY(SELECT state_schema_version FROM snapshot_info(s.stream_id))) AS l;
SELECT set_eq('load_any',
	$$SELECT stream_id, sequence_number, state_schema_version, state::text FROM snapshot_store AS s
	  WHERE stream_id < 'z' AND NOT EXISTS (
		  SELECT FROM snapshot_store AS other WHERE other.stream_id = s.stream_id
			AND (other.sequence_number, other.state_schema_version) > (s.sequence_number, s.state_schema_version))$$,
	'whatever version there is: the most recent of each stream');

-- The history of a stream

PREPARE history AS
	SELECT s.stream_id, l.sequence_number, l.state_schema_version, l.state::text
	FROM stream AS s, snapshot_info(s.stream_id) AS i,
		 LATERAL snapshot_load(s.stream_id, ARRAY[i.state_schema_version],
							   max_sequence_number => i.sequence_number) AS l;
SELECT bag_eq('history',
	$$SELECT stream_id, sequence_number, state_schema_version, state::text FROM snapshot_store WHERE stream_id < 'z'$$,
	'the history: each row once, with its state');

-- All streams with a prefix

CREATE FUNCTION pg_temp.newest(prefix text, recognized bigint[])
RETURNS TABLE (stream_id text, sequence_number bigint, state_schema_version bigint, state text) LANGUAGE sql STABLE
AS $$
	SELECT DISTINCT ON (stream_id) stream_id, sequence_number, state_schema_version, state::text
	FROM snapshot_store
	WHERE stream_id ^@ prefix AND state_schema_version = ANY (recognized)
	ORDER BY stream_id, sequence_number DESC, state_schema_version DESC
$$;

CREATE FUNCTION pg_temp.page(prefix text, recognized bigint[], after text, streams integer)
RETURNS TABLE (stream_id text, sequence_number bigint, state_schema_version bigint, state text) LANGUAGE sql STABLE
AS $$
	SELECT stream_id, sequence_number, state_schema_version, state::text
	FROM snapshot_load_many(ARRAY(SELECT DISTINCT stream_id FROM snapshot_store
								  WHERE stream_id ^@ prefix AND stream_id > after
									AND state_schema_version = ANY (recognized)
								  ORDER BY stream_id LIMIT streams), recognized)
$$;

-- All pages, until one has no row.
CREATE FUNCTION pg_temp.pages(prefix text, recognized bigint[], streams integer)
RETURNS TABLE (stream_id text, sequence_number bigint, state_schema_version bigint, state text) LANGUAGE plpgsql STABLE
AS $$
DECLARE
	after text := '';
BEGIN
	LOOP
		FOR stream_id, sequence_number, state_schema_version, state IN
			SELECT * FROM pg_temp.page(prefix, recognized, after, streams)
		LOOP
			RETURN NEXT;
		END LOOP;
		EXIT WHEN stream_id IS NULL OR stream_id = after;
		after := stream_id;
	END LOOP;
END
$$;

SELECT results_eq(
	format('SELECT * FROM pg_temp.newest(%L, %L)', 'a_', recognized),
	format('SELECT s.stream_id, l.sequence_number, l.state_schema_version, l.state::text
			FROM stream AS s, snapshot_load(s.stream_id, %L) AS l
			WHERE starts_with(s.stream_id, %L) ORDER BY s.stream_id', recognized, 'a_'),
	format('the newest by DISTINCT ON are what snapshot_load chooses, of %s, in the order of the key', recognized))
FROM (VALUES (1, '{0,1,2,3,4}'), (2, '{1,3}'), (3, '{4}'), (4, '{}')) AS r (i, recognized) ORDER BY i;
SELECT results_eq(
	format('SELECT stream_id COLLATE "C", sequence_number, state_schema_version, state
			FROM pg_temp.pages(%L, %L, 7)', 'a_', recognized),
	format('SELECT * FROM pg_temp.newest(%L, %L)', 'a_', recognized),
	format('so are those in pages, of %s', recognized))
FROM (VALUES (1, '{0,1,2,3,4}'), (2, '{1,3}'), (3, '{4}'), (4, '{}')) AS r (i, recognized) ORDER BY i;

-- By the key

CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		plan := plan || line || E'\n';
	END LOOP;
	RETURN plan;
END
$$;

SELECT matches(
	pg_temp.plan_of(format($$SELECT DISTINCT ON (stream_id) stream_id, state FROM snapshot_store
		WHERE %s AND state_schema_version = ANY ('{1,2}')
		ORDER BY stream_id, sequence_number DESC, state_schema_version DESC$$, condition)),
	$$Index Cond: \(\(stream_id >= 'a_'::text\) AND \(stream_id < 'a`'::text\)\)$$,
	'a range of the key: ' || condition)
FROM (VALUES ($$stream_id ^@ 'a_'$$), ($$stream_id LIKE 'a\_%'$$)) AS c (condition);
PREPARE by_range (text, text, bigint[]) AS
	SELECT DISTINCT ON (stream_id) stream_id, state FROM snapshot_store
	WHERE stream_id >= $1 AND stream_id < $2 AND state_schema_version = ANY ($3)
	ORDER BY stream_id, sequence_number DESC, state_schema_version DESC;
SET plan_cache_mode = force_generic_plan;
SELECT matches(pg_temp.plan_of($$EXECUTE by_range('a_', 'a`', '{1,2}')$$),
			   'Index Cond: \(\(stream_id >= \$1\) AND \(stream_id < \$2\)\)',
			   'a range as such, also before the prefix is known');
RESET plan_cache_mode;
SELECT matches(
	pg_temp.plan_of($$SELECT DISTINCT stream_id FROM snapshot_store
		WHERE stream_id ^@ 'a_' AND stream_id > 'a_5' AND state_schema_version = ANY ('{1,2}')
		ORDER BY stream_id LIMIT 1000$$),
	'Index Only Scan using snapshot_store_pkey', 'the names of a page are read from the key alone');

-- With SELECT on the table, and for what row security shows

CREATE ROLE snapshot_store_test_user;
GRANT SELECT ON snapshot_store TO snapshot_store_test_user;
CREATE POLICY no_third_version ON snapshot_store USING (state_schema_version <> 3);
ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY;
CREATE TEMPORARY TABLE expected AS
	SELECT * FROM pg_temp.newest('a_', '{0,1,2,4}') UNION ALL SELECT NULL, count(*), NULL, NULL FROM snapshot_store
	WHERE stream_id < 'z' AND state_schema_version <> 3;
GRANT SELECT ON expected TO snapshot_store_test_user;
SET ROLE snapshot_store_test_user;
SELECT bag_eq('SELECT * FROM expected', format(
	'SELECT * FROM %s UNION ALL SELECT NULL, count(*), NULL, NULL
	 FROM (SELECT DISTINCT stream_id FROM snapshot_store WHERE stream_id < ''z'') AS s,
		  snapshot_info(s.stream_id) AS i,
		  snapshot_load(s.stream_id, ARRAY[i.state_schema_version], i.sequence_number)', way),
	'a reader under a policy gets what it shows: ' || way)
FROM (VALUES ('pg_temp.newest(''a_'', ''{0,1,2,3,4}'')'), ('pg_temp.page(''a_'', ''{0,1,2,3,4}'', '''', 1000)')) AS w (way);
SELECT is(pg_temp.plan_of('SELECT stream_id FROM snapshot_store WHERE ' || condition) LIKE '%Index Cond: %', by_key,
		  'under a policy, by the key or not: ' || condition)
FROM (VALUES ($$stream_id ^@ 'a_'$$, true), ($$stream_id >= 'a_' AND stream_id < 'a`'$$, true),
			 ($$stream_id LIKE 'a\_%'$$, false)) AS c (condition, by_key);
RESET ROLE;

ALTER TABLE snapshot_store DISABLE ROW LEVEL SECURITY;
DROP POLICY no_third_version ON snapshot_store;
DROP OWNED BY snapshot_store_test_user;
DROP ROLE snapshot_store_test_user;
TRUNCATE snapshot_store;
SELECT * FROM finish();
