-- Sequent's event store spec for snapshots, told through the functions: two versions of an application
-- run side by side, each with its own snapshot schema version.
BEGIN;
SELECT plan(22);

SET LOCAL snapshot_store.keep = 5;
SET LOCAL snapshot_store.keep_versions = 2;

-- What an application that knows these schema versions loads: "version/sequence state", or nothing.
CREATE FUNCTION pg_temp.found(aggregate_id text, recognized_schema_versions bigint[])
RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT l.state_schema_version || '/' || l.sequence_number || ' ' || (l.state #>> '{}')
	FROM snapshot_load(aggregate_id, recognized_schema_versions) AS l
$$;

-- What is kept, newest first, each as "version/sequence".
CREATE FUNCTION pg_temp.kept(aggregate_id text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT string_agg(i.state_schema_version || '/' || i.sequence_number, ' ')
	FROM snapshot_info(aggregate_id) AS i
$$;

-- Storing

SELECT ok(snapshot_save('a', sequence_number => 1, state_schema_version => 1, state => '"old"'),
		  'a snapshot of schema version 1 is stored');
SELECT ok(snapshot_save('a', sequence_number => 1, state_schema_version => 2, state => '"new"'),
		  'a snapshot of schema version 2 is stored at the same sequence number');
SELECT is(pg_temp.kept('a'), '2/1 1/1', 'both schema versions are kept');
SELECT is(pg_temp.found('a', '{1}'), '1/1 old', 'the old application gets its own');
SELECT is(pg_temp.found('a', '{2}'), '2/1 new', 'the new application gets its own');
SELECT is(pg_temp.found('a', '{3}'), NULL, 'an unknown schema version loads nothing');
SELECT is(pg_temp.found('b', '{1,2}'), NULL, 'another aggregate has none');

SELECT ok(snapshot_save('a', sequence_number => 4, state_schema_version => 1, state => '"old, later"'),
		  'the old application goes on saving');
SELECT is(pg_temp.found('a', '{1}'), '1/4 old, later', 'and gets the highest sequence number of its version');
SELECT is(pg_temp.found('a', '{2}'), '2/1 new', 'the new application still gets its own, older one');

-- Which aggregates need a snapshot of the right version

SELECT ok(NOT snapshot_due('a', '{1}', event_count => 4, snapshot_interval => 2),
		  'with its own recent snapshot the old application need not take one');
SELECT ok(snapshot_due('a', '{2}', event_count => 4, snapshot_interval => 2),
		  'the new application counts from its own snapshot and has to');
SELECT ok(snapshot_due('a', '{3}', event_count => 4, snapshot_interval => 2),
		  'an application with no snapshot of its version counts from the start');

SELECT ok(snapshot_save('c', sequence_number => 2, state_schema_version => 1, state => '"old"'),
		  'another aggregate has a snapshot of the old version only');
SELECT is(ARRAY(SELECT snapshot_outdated('', '{2}')), ARRAY['c'], 'the work list of the new application has that one');
SELECT is(ARRAY(SELECT snapshot_outdated('', '{1}')), ARRAY[]::text[], 'that of the old application has none');

-- Lower, unknown versions go when newer ones take their place

SELECT ok(snapshot_save('a', sequence_number => 5, state_schema_version => 3, state => '"newest"'),
		  'a third schema version is stored');
SELECT is(pg_temp.kept('a'), '3/5 1/4 1/1', 'and the version saved longest ago is deleted');

-- Deleting

SELECT is(snapshot_delete('a', max_sequence_number => 4, min_sequence_number => 4), 1::bigint,
		  'one snapshot is deleted');
SELECT is(pg_temp.kept('a'), '3/5 1/1', 'and only that one');
SELECT is(snapshot_delete('a'), 2::bigint, 'all snapshots of the aggregate are deleted');
SELECT is(pg_temp.kept('a') IS NULL AND pg_temp.found('a', '{1,2,3}') IS NULL, true,
		  'and none is left to load');

SELECT * FROM finish();
ROLLBACK;
