-- Axon Framework's snapshot tests, told through the functions: version 4 (many snapshots kept or the
-- latest only, snapshot filters) and version 5 (one snapshot, absent or unsupported is no error).
BEGIN;
SELECT plan(23);

-- What an aggregate's repository loads: "version/sequence state", or nothing.
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

-- Axon 4: the most recent snapshot, in whatever order they were saved

SELECT is(array[snapshot_save('id', 0, 1, '"at 0"'),
				snapshot_save('id', 1, 1, '"at 1"'),
				snapshot_save('id', 3, 1, '"at 3"'),
				snapshot_save('id', 2, 1, '"at 2"')],
		  array[true, true, true, false],
		  'snapshots saved at 0, 1, 3, 2: the last one is older than what is kept');
SELECT is(pg_temp.found('id', '{1}'), '1/3 at 3', 'the one at 3 is loaded');
SELECT is(pg_temp.kept('id'), '1/3', 'and only the latest is kept');

SET LOCAL snapshot_store.keep = 5;
SELECT is(array[snapshot_save('many', 0, 1, '"at 0"'),
				snapshot_save('many', 1, 1, '"at 1"'),
				snapshot_save('many', 3, 1, '"at 3"'),
				snapshot_save('many', 2, 1, '"at 2"')],
		  array[true, true, true, true],
		  'with room for five, snapshots at 0, 1, 3, 2 are all stored');
SELECT is(pg_temp.found('many', '{1}'), '1/3 at 3', 'and the one at 3 is loaded');
SELECT is(pg_temp.kept('many'), '1/3 1/2 1/1 1/0', 'the others are kept');
SET LOCAL snapshot_store.keep = 1;

SELECT ok(snapshot_save('twice', 7, 1, '"same"'), 'a snapshot is saved');
SELECT ok(snapshot_save('twice', 7, 1, '"same"'), 'saving the same one twice does no harm');
SELECT is(pg_temp.found('twice', '{1}') || ' of ' || pg_temp.kept('twice'), '1/7 same of 1/7',
		  'it is there once');

-- Axon 4: snapshot filters are the schema versions that a repository recognizes

SELECT is(pg_temp.found('id', '{1}'), '1/3 at 3', 'a filter that allows the snapshot lets it through');
SELECT is(pg_temp.found('id', '{2}'), NULL, 'a filter that rejects it does not');
SELECT is(pg_temp.found('id', '{}'), NULL, 'a filter that rejects everything does not either');
SELECT is(pg_temp.found('id', '{2,1}'), '1/3 at 3',
		  'combined filters let it through when one of them allows it');
SELECT is(pg_temp.found('id', '{2,3}'), NULL, 'and not when each of them rejects it');

SET LOCAL snapshot_store.keep_versions = 2;
SELECT ok(snapshot_save('filtered', 10, 1, '"v1"') AND snapshot_save('filtered', 20, 2, '"v2"'),
		  'two revisions of an aggregate''s snapshot');
SELECT is(pg_temp.found('filtered', '{1}'), '1/10 v1',
		  'a newer snapshot that the filter rejects does not hide an older one that it allows');
SELECT is(pg_temp.found('filtered', '{1,2}'), '2/20 v2', 'a filter that allows both gets the newer one');
SET LOCAL snapshot_store.keep_versions = 1;

-- Axon 5: one snapshot; absent or unsupported means replaying from the first event

SELECT is(pg_temp.found('absent', '{1}'), NULL, 'an absent snapshot is no error');
SELECT ok(snapshot_save('evolved', 10, 1, '"version 1"'), 'an application saves at version 1');
SELECT is(pg_temp.found('evolved', '{2}'), NULL, 'its successor ignores the unsupported version');
SELECT ok(snapshot_save('evolved', 4, 2, '"version 2"'),
		  'and overwrites it with its own, even at a lower sequence number');
SELECT is(pg_temp.found('evolved', '{2}'), '2/4 version 2', 'which it then loads');
SELECT is(pg_temp.kept('evolved'), '2/4', 'the unsupported one is gone');

SELECT * FROM finish();
ROLLBACK;
