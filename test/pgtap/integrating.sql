-- The statements in doc/integrating.md: what they find is what an application would by counting and replaying, and they
-- go by the keys. They are those of the document, with comments and line breaks left out.
BEGIN;
SELECT plan(78);

CREATE TABLE account_event (
	stream_id text COLLATE "C",
	sequence_number bigint,
	data json NOT NULL,
	PRIMARY KEY (stream_id, sequence_number)
);

CREATE FUNCTION pg_temp.save(stream_id text, sequence_number bigint, state_schema_version bigint DEFAULT 1)
RETURNS boolean LANGUAGE sql
AS $$
	SELECT snapshot_save(stream_id, sequence_number, state_schema_version, to_json('as of ' || sequence_number))
$$;

-- What a query returns, a row after the other.
CREATE FUNCTION pg_temp.rows_of(query text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	r record;
	result text := '';
BEGIN
	FOR r IN EXECUTE query LOOP
		result := result || r::text;
	END LOOP;
	RETURN result;
END
$$;

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

-- One statement to rehydrate

PREPARE rehydrate (text, bigint[]) AS
WITH snapshot AS MATERIALIZED (
	SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
)
SELECT sequence_number, state_schema_version, state AS data FROM snapshot
UNION ALL
SELECT sequence_number, NULL, data FROM account_event
WHERE stream_id = $1
  AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
  AND sequence_number <= 9223372036854775807
ORDER BY sequence_number;

PREPARE rehydrate_from_0 (text, bigint[]) AS
WITH snapshot AS MATERIALIZED (
	SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
)
SELECT sequence_number, state_schema_version, state AS data FROM snapshot
UNION ALL
SELECT sequence_number, NULL, data FROM account_event
WHERE stream_id = $1
  AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), -1)
  AND sequence_number <= 9223372036854775807
ORDER BY sequence_number;

-- The events come in no order, and among those of other streams, whose names begin with this one or are its beginning.
INSERT INTO account_event
SELECT stream_id, n, to_json(n) FROM unnest('{one,zero,on,one-}'::text[]) AS stream_id, generate_series(0, 4) AS n
WHERE stream_id <> 'one' OR n > 0
ORDER BY n % 2, stream_id, n DESC;

SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('one', '{1}')$$), '(1,,1)(2,,2)(3,,3)(4,,4)',
		  'no snapshot: all events, in order');
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('none', '{1}')$$), '', 'no stream: no row');
SELECT pg_temp.save('one', 2);
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('one', '{1}')$$), '(2,1,"""as of 2""")(3,,3)(4,,4)',
		  'the snapshot first, then the events after it');
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('one', '{2,3}')$$), '(1,,1)(2,,2)(3,,3)(4,,4)',
		  'a snapshot that is not recognized: all events');
SET snapshot_store.enabled = off;
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('one', '{1}')$$), '(1,,1)(2,,2)(3,,3)(4,,4)',
		  'the store is off: all events');
RESET snapshot_store.enabled;
SELECT pg_temp.save('one', 4);
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('one', '{1}')$$), '(4,1,"""as of 4""")',
		  'a snapshot of the last event: nothing else');
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('one', '{}')$$), '(1,,1)(2,,2)(3,,3)(4,,4)',
		  'nothing is recognized: all events');

SELECT is(pg_temp.rows_of($$EXECUTE rehydrate_from_0('zero', '{1}')$$), '(0,,0)(1,,1)(2,,2)(3,,3)(4,,4)',
		  'from 0, no snapshot: all events');
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('zero', '{1}')$$), '(1,,1)(2,,2)(3,,3)(4,,4)',
		  'from 0, with the 0 of streams that count from 1: the first event is lost');
SELECT pg_temp.save('zero', 0);
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate_from_0('zero', '{1}')$$), '(0,1,"""as of 0""")(1,,1)(2,,2)(3,,3)(4,,4)',
		  'from 0, a snapshot of the first event: it is not replayed');

INSERT INTO account_event VALUES ('last', 9223372036854775806, '1'), ('last', 9223372036854775807, '2');
SELECT pg_temp.save('last', 9223372036854775806);
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('last', '{1}')$$),
		  '(9223372036854775806,1,"""as of 9223372036854775806""")(9223372036854775807,,2)', 'the largest number is not lost');
SELECT pg_temp.save('last', 9223372036854775807);
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('last', '{1}')$$), '(9223372036854775807,1,"""as of 9223372036854775807""")',
		  'nothing comes after it');

-- Many streams

PREPARE rehydrate_many (text[], bigint[]) AS
WITH snapshot AS MATERIALIZED (
	SELECT stream_id, sequence_number, state_schema_version, state FROM snapshot_load_many($1, $2)
)
SELECT stream_id, sequence_number, state_schema_version, state AS data FROM snapshot
UNION ALL
SELECT s.stream_id, e.sequence_number, NULL, e.data
FROM (SELECT DISTINCT unnest($1)) AS s (stream_id)
LEFT JOIN snapshot USING (stream_id)
CROSS JOIN LATERAL (
	SELECT sequence_number, data FROM account_event
	WHERE stream_id = s.stream_id
	  AND sequence_number > coalesce(snapshot.sequence_number, 0)
	  AND sequence_number <= 9223372036854775807
	OFFSET 0
) AS e
ORDER BY stream_id, sequence_number;

SELECT pg_temp.save('on', 3), pg_temp.save('one', 2, 2);
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate_many('{one-,none,one,on}', '{1}')$$),
		  '(on,3,1,"""as of 3""")(on,4,,4)(one,1,,1)(one,2,,2)(one,3,,3)(one,4,,4)(one-,1,,1)(one-,2,,2)(one-,3,,3)(one-,4,,4)',
		  'many streams, each as one would be');
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate_many('{one-,none,one,on}', '{1,2}')$$),
		  '(on,3,1,"""as of 3""")(on,4,,4)(one,2,2,"""as of 2""")(one,3,,3)(one,4,,4)(one-,1,,1)(one-,2,,2)(one-,3,,3)(one-,4,,4)',
		  'many streams, of two versions');
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate_many('{}', '{1}')$$), '', 'no stream of many');
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate_many('{on,one,on}', '{2}')$$),
		  pg_temp.rows_of($$EXECUTE rehydrate_many('{on,one}', '{2}')$$), 'events come once, also of a stream that is named twice');

-- By the index, also where one stream has nearly all events, before and after the table was analyzed, and before the
-- stream is known.

TRUNCATE account_event;
INSERT INTO account_event
SELECT CASE WHEN n % 100 = 0 THEN 'few-' || n % 7 ELSE 'most' END, n, to_json(n)
FROM generate_series(1, 100000) AS n
ORDER BY md5(n::text);
SELECT pg_temp.save('most', 99990), pg_temp.save('few-1', 99990);

CREATE FUNCTION pg_temp.rehydrates_by_key() RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	mode text;
	stream text;
	what text;
	plan text;
BEGIN
	FOREACH mode IN ARRAY '{force_custom_plan,force_generic_plan}'::text[] LOOP
		PERFORM set_config('plan_cache_mode', mode, true);
		FOREACH stream IN ARRAY '{most,few-1,none}'::text[] LOOP
			what := format('%s events, %s, %s', stream, mode,
						   CASE WHEN EXISTS (SELECT FROM pg_stats WHERE tablename = 'account_event')
						   THEN 'analyzed' ELSE 'not analyzed' END);
			plan := pg_temp.plan_of(format('EXECUTE rehydrate(%L, ''{1}'')', stream));
			RETURN NEXT matches(plan, 'Index Cond: \(\(stream_id = [^)]*\) AND \(sequence_number > COALESCE\(.*\) AND '
								'\(sequence_number <= ''9223372036854775807''::bigint\)\)', 'by both parts of the key: ' || what);
			RETURN NEXT doesnt_match(plan, 'Seq Scan', 'and not otherwise: ' || what);
		END LOOP;
		plan := pg_temp.plan_of($p$EXECUTE rehydrate_many('{most,few-1,few-2}', '{1}')$p$);
		RETURN NEXT matches(plan, 'Index Cond: \(\(stream_id = \(unnest\(.*\)\)\) AND \(sequence_number > COALESCE\(',
							format('many by both parts of the key: %s', what));
		RETURN NEXT doesnt_match(plan, 'Seq Scan', format('many, and not otherwise: %s', what));
	END LOOP;
	PERFORM set_config('plan_cache_mode', 'auto', true);
END
$$;

SELECT pg_temp.rehydrates_by_key();
ANALYZE account_event;
SELECT pg_temp.rehydrates_by_key();
SELECT is(pg_temp.rows_of($$EXECUTE rehydrate('most', '{1}')$$),
		  '(99990,1,"""as of 99990""")' || (SELECT string_agg(format('(%s,,%s)', n, n), '' ORDER BY n)
											FROM generate_series(99991, 99999) AS n), 'of many events, those after the snapshot');

-- How many events there are, for snapshot_due: with an interval of 3 a snapshot is due with the third event, and after
-- one with the third again, however they are numbered.

CREATE FUNCTION pg_temp.due_with(numbers bigint[], from_1 boolean) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	kept bigint;
	since bigint := 0;
	due text := '';
BEGIN
	PERFORM snapshot_delete('numbers');
	FOR i IN 1 .. array_length(numbers, 1) LOOP
		since := since + 1;
		IF snapshot_due('numbers', '{1}', CASE WHEN from_1 THEN numbers[i] ELSE coalesce(kept, 0) + since END, 3) THEN
			PERFORM pg_temp.save('numbers', numbers[i]);
			kept := numbers[i];
			since := 0;
			due := due || i || ' ';
		END IF;
	END LOOP;
	RETURN due;
END
$$;

SELECT is(pg_temp.due_with(numbers, from_1), '3 6 9 ', 'due with every third event: ' || way)
FROM (VALUES (1, 'from 1', true, '{1,2,3,4,5,6,7,8,9,10}'::bigint[]), (2, 'from 1, counted', false, '{1,2,3,4,5,6,7,8,9,10}'),
			 (3, 'from 0', false, '{0,1,2,3,4,5,6,7,8,9}'), (4, 'with gaps', false, '{7,9,10,21,22,40,41,77,78,90}'))
	 AS w (i, way, from_1, numbers)
ORDER BY i;

-- Snapshots in the background

CREATE INDEX account_event_100 ON account_event (stream_id) WHERE sequence_number = 100;

PREPARE claim (text, bigint[]) AS
SELECT e.stream_id
FROM account_event AS e
WHERE e.sequence_number = 100 AND e.stream_id ^@ 'account-' AND e.stream_id > $1
  AND snapshot_due(e.stream_id, $2, (SELECT max(sequence_number) FROM account_event
									 WHERE stream_id = e.stream_id), 100)
ORDER BY e.stream_id
LIMIT 100
FOR NO KEY UPDATE OF e SKIP LOCKED;

-- Streams of every length, with a snapshot of either version or none, of two kinds; 250 of them are due to one that
-- recognizes neither.
TRUNCATE account_event;
SELECT setseed(0.5) \gset
CREATE TEMPORARY TABLE stream AS
SELECT kind || i AS stream_id, CASE WHEN i <= 250 THEN 100 ELSE 1 END + (random() * 98)::bigint AS events,
	   i % 3 AS version
FROM unnest('{account-,accounts-}'::text[]) AS kind, generate_series(1, 300) AS i;
UPDATE stream SET events = 200 WHERE stream_id IN ('account-1', 'account-2', 'accounts-1');
INSERT INTO account_event SELECT stream_id, n, '0' FROM stream, generate_series(1, events) AS n;
SELECT count(pg_temp.save(stream_id, CASE WHEN events = 200 THEN 100 ELSE greatest(1, events - 1 - (random() * 110)::bigint) END,
						  version))
FROM stream WHERE version > 0;

-- All that calls claim, with one page after the other.
CREATE FUNCTION pg_temp.claimed(recognized bigint[]) RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	after text := '';
	stream text;
BEGIN
	FOR page IN 1 .. 5 LOOP
		FOR stream IN EXECUTE format('EXECUTE claim(%L, %L)', after, recognized) LOOP
			RETURN NEXT stream;
			after := stream;
		END LOOP;
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.due(recognized bigint[]) RETURNS SETOF text LANGUAGE sql
AS $$
	SELECT stream_id FROM stream
	WHERE starts_with(stream_id, 'account-') AND events - 100 >= coalesce(
		(SELECT max(s.sequence_number) FROM snapshot_store AS s
		 WHERE s.stream_id = stream.stream_id AND s.state_schema_version = ANY (recognized)), 0)
	ORDER BY stream_id COLLATE "C"
$$;

SELECT results_eq(format('SELECT pg_temp.claimed(%L)', recognized), format('SELECT pg_temp.due(%L)', recognized),
				  'the streams that are due are claimed, in their order, to one that recognizes ' || recognized)
FROM (VALUES (1, '{1,2}'), (2, '{1}'), (3, '{2}'), (4, '{3}'), (5, '{}')) AS r (i, recognized) ORDER BY i;
SELECT is((SELECT count(*) FROM pg_temp.due('{3}')), 250::bigint, 'they were several pages');
SELECT is((SELECT count(*) FROM pg_temp.due('{1,2}')) BETWEEN 50 AND 240, true, 'and some that are not due');
SELECT is(pg_temp.rows_of($$EXECUTE claim('', '{1,2}')$$) LIKE '(account-1)%(account-2)%', true,
		  'with the 100th event after the snapshot a stream is due');
SET snapshot_store.enabled = off;
SELECT is_empty($$SELECT pg_temp.claimed('{1,2}')$$, 'while the store is off, none is due');
RESET snapshot_store.enabled;
SELECT is((SELECT count(*) FROM snapshot_save_many(
			  ARRAY(SELECT stream_id FROM stream WHERE events >= 100), ARRAY(SELECT events FROM stream WHERE events >= 100),
			  ARRAY(SELECT 1::bigint FROM stream WHERE events >= 100), ARRAY(SELECT to_json(events) FROM stream WHERE events >= 100))
		   WHERE stored), 500::bigint, 'all were saved');
SELECT is_empty($$SELECT pg_temp.claimed('{1,2}')$$, 'then none is due');

CREATE FUNCTION pg_temp.claims_by_key() RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	mode text;
	plan text;
BEGIN
	FOREACH mode IN ARRAY '{force_custom_plan,force_generic_plan}'::text[] LOOP
		PERFORM set_config('plan_cache_mode', mode, true);
		plan := pg_temp.plan_of($p$EXECUTE claim('account-2', '{1}')$p$);
		RETURN NEXT matches(plan, 'Index Scan using account_event_100 on account_event e\n *'
							'Index Cond: \(\(stream_id >= ''account-''::text\) AND \(stream_id < ''account.''::text\) AND \(stream_id > ',
							'a claim goes along the list of long streams, from where it is to go on: ' || mode);
		RETURN NEXT matches(plan, 'Index Only Scan Backward using account_event_pkey on account_event.*\n *'
							'Index Cond: \(+stream_id = e.stream_id\)', 'and looks up the last event of each: ' || mode);
	END LOOP;
	PERFORM set_config('plan_cache_mode', 'auto', true);
END
$$;
INSERT INTO account_event SELECT 'order-' || i, n, '0' FROM generate_series(1, 5000) AS i, generate_series(1, 20) AS n;
ANALYZE account_event;
SELECT pg_temp.claims_by_key();

-- Tenants

CREATE ROLE snapshot_store_test_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_store_test_user;
CREATE POLICY tenant ON snapshot_store USING (starts_with(stream_id, current_setting('app.tenant', true) || '/'));
ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY;
SET ROLE snapshot_store_test_user;
SELECT is((SELECT count(*) FROM snapshot_census()), 0::bigint, 'without a tenant, there are no snapshots');
SELECT throws_ok($$SELECT snapshot_save('acme/one', 1, 1, '"acme"')$$, '42501', NULL, 'nor can they be saved');
SET LOCAL app.tenant = 'acme';
SELECT is(snapshot_save('acme/one', 1, 1, '"acme"'), true, 'a tenant saves');
SET LOCAL app.tenant = 'acm';
SELECT is_empty($$SELECT * FROM snapshot_load_many('{acme/one}', '{1}')$$, 'another, whose name is the beginning, loads nothing of it');
SELECT throws_ok($$SELECT snapshot_save('acme/one', 2, 1, '"acm"')$$, '42501', NULL, 'saves nothing over it');
SELECT throws_ok($$SELECT snapshot_save('acme/two', 2, 1, '"acm"')$$, '42501', NULL, 'nor anything new');
SELECT is(snapshot_delete('acme/one'), 0::bigint, 'and deletes nothing');
SELECT is(snapshot_save('acm/one', 3, 1, '"acm"'), true, 'but has streams of its own');
SET LOCAL app.tenant = '';
SELECT is((SELECT count(*) FROM snapshot_census()), 0::bigint, 'what a SET LOCAL leaves behind is no tenant');
SET LOCAL app.tenant = 'acme';
SELECT results_eq('SELECT state::text FROM snapshot_load_many(''{acme/one,acm/one}'', ''{1}'')', ARRAY['"acme"'],
				  'the first finds what it has saved, and that alone');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
