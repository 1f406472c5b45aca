-- mako's snapshot tests, told through the functions: the store, the no-op store, a stale schema version,
-- and when to take a snapshot.
BEGIN;
SELECT plan(31);

-- What an application at this schema version loads: "sequence state", or nothing.
CREATE FUNCTION pg_temp.found(stream_id text, schema_version bigint) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT l.sequence_number || ' ' || l.state::text
	FROM snapshot_load(stream_id, array[schema_version]) AS l
$$;

-- The store

SELECT is(pg_temp.found('stream-1', 1), NULL, 'the store is empty at first');
SELECT ok(snapshot_save('stream-1', 100, 1, '{"count": 42}'), 'a snapshot is saved');
SELECT is(pg_temp.found('stream-1', 1), '100 {"count": 42}', 'and comes back as it was');

SELECT ok(snapshot_save('stream-1', 200, 1, '{"count": 99}'), 'a later one is saved');
SELECT is(pg_temp.found('stream-1', 1), '200 {"count": 99}', 'overwriting keeps the latest');
SELECT is((SELECT count(*) FROM snapshot_info('stream-1')), 1::bigint, 'and only that one');

SELECT ok(snapshot_save('stream-2', 50, 1, '{"count": 7}'), 'a snapshot of another stream is saved');
SELECT is(pg_temp.found('stream-1', 1), '200 {"count": 99}', 'streams are separate: the first has its own');
SELECT is(pg_temp.found('stream-2', 1), '50 {"count": 7}', 'and the second has its own');

-- A stale schema version falls back to a full replay

SELECT is(pg_temp.found('stream-1', 2), NULL,
		  'a snapshot of a stale schema version is not loaded: the application replays every event');
SELECT ok(snapshot_due('stream-1', '{2}', event_count => 201, snapshot_interval => 100),
		  'a new snapshot is due, counted from the first event');
SELECT ok(NOT snapshot_due('stream-1', '{1}', event_count => 201, snapshot_interval => 100),
		  'where the old version would have waited');
SELECT ok(snapshot_save('stream-1', 201, 2, '{"total": 100}'), 'the application saves at its own version');
SELECT is(pg_temp.found('stream-1', 2), '201 {"total": 100}', 'and loads that the next time');

-- The no-op store

SET LOCAL snapshot_store.enabled = off;
SELECT is(snapshot_save('stream-1', 300, 2, '{"total": 200}'), false,
		  'the no-op store accepts a save and stores nothing');
SELECT is(pg_temp.found('stream-1', 2), NULL, 'the no-op store has nothing to load');
SELECT is(snapshot_due('stream-1', '{2}', 1000, 100), false, 'with the no-op store no snapshot is due');
SET LOCAL snapshot_store.enabled = on;
SELECT is(pg_temp.found('stream-1', 2), '201 {"total": 100}', 'the store behind it was left as it was');

-- When to take a snapshot: event count, the last snapshot's sequence number, interval

SELECT is(snapshot_should_take(0, 0, 100), false, 'no events: no snapshot');
SELECT is(snapshot_should_take(99, 0, 100), false, 'below the interval: no snapshot');
SELECT is(snapshot_should_take(100, 0, 100), true, 'at the interval: a snapshot');
SELECT is(snapshot_should_take(101, 0, 100), true, 'past the interval: a snapshot');
SELECT is(snapshot_should_take(200, 0, 100), true, 'far past the interval: a snapshot');
SELECT is(snapshot_should_take(101, 100, 100), false, 'just after a snapshot: none');
SELECT is(snapshot_should_take(199, 100, 100), false, 'not yet an interval after a snapshot: none');
SELECT is(snapshot_should_take(200, 100, 100), true, 'an interval after a snapshot: the next');
SELECT is(snapshot_should_take(100, NULL, 100), true,
		  'without a last snapshot the count starts at the first event');
SELECT is((SELECT array_agg(snapshot_should_take(n, n - 1, 1) ORDER BY n) FROM generate_series(1, 5) AS n),
		  '{t,t,t,t,t}', 'an interval of 1 takes one each time');
SELECT is(snapshot_should_take(100, 0, 0), false, 'an interval of 0 never takes one');
SELECT is(snapshot_should_take(9223372036854775807, 0, 0), false, 'however many events there are');
SELECT is(snapshot_should_take(0, NULL, 0), false, 'or how few');

SELECT * FROM finish();
ROLLBACK;
