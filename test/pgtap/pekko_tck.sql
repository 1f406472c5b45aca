-- The Pekko Persistence TCK for snapshot stores (SnapshotStoreSpec), told through the functions.
-- Each persistence id has five snapshots, "s-1" at sequence 11 to "s-5" at sequence 15, one minute apart.
BEGIN;
SELECT plan(30);

SET LOCAL snapshot_store.keep = 5;

-- The time at which the snapshot of a sequence number was saved: sequence 11 at 10:11 and so on.
CREATE FUNCTION pg_temp.saved_at(sequence_number bigint) RETURNS timestamptz LANGUAGE sql
AS $$ SELECT timestamptz '2026-01-02 10:00:00+00' + sequence_number * interval '1 minute' $$;

-- Saves the five snapshots of a persistence id; true when each of them was stored.
CREATE FUNCTION pg_temp.write_snapshots(persistence_id text) RETURNS boolean LANGUAGE sql
AS $$
	SELECT bool_and(snapshot_save(persistence_id,
								  sequence_number => 10 + i, state_schema_version => 1,
								  state => to_json('s-' || i),
								  metadata => json_build_object('tag', 'm-' || i),
								  created_at => pg_temp.saved_at(10 + i)))
	FROM generate_series(1, 5) AS i
$$;

-- What a load finds, in one word: "sequence state", or nothing.
CREATE FUNCTION pg_temp.found(persistence_id text, max_sequence_number bigint DEFAULT NULL,
							  max_created_at timestamptz DEFAULT NULL)
RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT l.sequence_number || ' ' || (l.state #>> '{}')
	FROM snapshot_load(persistence_id, '{1}', max_sequence_number, max_created_at) AS l
$$;

-- The sequence numbers kept for a persistence id.
CREATE FUNCTION pg_temp.kept(persistence_id text) RETURNS bigint[] LANGUAGE sql STABLE
AS $$
	SELECT array_agg(i.sequence_number ORDER BY i.sequence_number)
	FROM snapshot_info(persistence_id) AS i
$$;

SELECT ok(pg_temp.write_snapshots('p-load'), 'five snapshots are saved');
SELECT is(pg_temp.kept('p-load'), '{11,12,13,14,15}', 'and five are kept');

-- Loading

SELECT is(pg_temp.found('invalid'), NULL,
		  'no snapshot is loaded for an unknown persistence id');
SELECT is(pg_temp.found('invalid', max_sequence_number => 13), NULL,
		  'nor for an unknown persistence id with a bound');
SELECT is(pg_temp.found('p-load', max_created_at => timestamptz '1970-01-01 00:01:40+00'), NULL,
		  'no snapshot is loaded when the time bound lies before them all');
SELECT is(pg_temp.found('p-load', 100, timestamptz '1970-01-01 00:01:40+00'), NULL,
		  'nor when the sequence bound would admit them and the time bound does not');
SELECT is(pg_temp.found('p-load', max_sequence_number => 7), NULL,
		  'no snapshot is loaded when the sequence bound lies below them all');
SELECT is(pg_temp.found('p-load', 7, pg_temp.saved_at(15)), NULL,
		  'nor when the time bound would admit them and the sequence bound does not');
SELECT is(pg_temp.found('p-load'), '15 s-5',
		  'the most recent snapshot is loaded');
SELECT is(pg_temp.found('p-load', 9223372036854775807, timestamptz 'infinity'), '15 s-5',
		  'and with the widest bounds too');
SELECT is(pg_temp.found('p-load', max_sequence_number => 13), '13 s-3',
		  'the most recent snapshot up to a sequence number is loaded');
SELECT is(pg_temp.found('p-load', 13, pg_temp.saved_at(13)), '13 s-3',
		  'the most recent snapshot up to a sequence number and a time is loaded');
SELECT is(pg_temp.found('p-load', 15, pg_temp.saved_at(13)), '13 s-3',
		  'where the time is the tighter bound it decides');
SELECT is(pg_temp.found('p-load', 12, pg_temp.saved_at(14)), '12 s-2',
		  'where the sequence number is the tighter bound it decides');

-- Deleting

SELECT ok(pg_temp.write_snapshots('p-one'), 'another persistence id with five snapshots');
SELECT is(snapshot_delete('p-one', max_sequence_number => 13, min_sequence_number => 13), 1::bigint,
		  'a single snapshot is deleted by its sequence number');
SELECT is(pg_temp.found('p-one', max_sequence_number => 13), '12 s-2',
		  'and up to that sequence number the one before it appears');

SELECT ok(pg_temp.write_snapshots('p-all'), 'another persistence id with five snapshots');
SELECT is(snapshot_delete('p-all', 13, pg_temp.saved_at(13)), 3::bigint,
		  'all snapshots up to a sequence number and a time are deleted');
SELECT is(pg_temp.found('p-all', 13, pg_temp.saved_at(13)), NULL,
		  'none is found within those bounds afterwards');
SELECT is(pg_temp.found('p-all', 14, pg_temp.saved_at(14)), '14 s-4',
		  'and the later ones are still there');

SELECT ok(pg_temp.write_snapshots('p-none'), 'another persistence id with five snapshots');
SELECT is(snapshot_delete('p-none', 14, pg_temp.saved_at(14) - interval '1 millisecond',
						  min_sequence_number => 14), 0::bigint,
		  'a snapshot saved after the time bound is not deleted');
SELECT is(pg_temp.found('p-none', 14, pg_temp.saved_at(14)), '14 s-4',
		  'and is still loaded');
SELECT is(snapshot_delete('p-none', max_created_at => pg_temp.saved_at(11) - interval '1 millisecond')
		  + snapshot_delete('p-none', max_sequence_number => 10), 0::bigint,
		  'bounds that match nothing delete nothing');
SELECT is(pg_temp.kept('p-none'), '{11,12,13,14,15}', 'and all five are kept');

-- Saving again, and more

SELECT snapshot_save('p-load', 15, 1, '"s-5-modified"', created_at => pg_temp.saved_at(15));
SELECT is(pg_temp.found('p-load', max_sequence_number => 15) || ' of ' || pg_temp.kept('p-load')::text,
		  '15 s-5-modified of {11,12,13,14,15}',
		  'saving the same sequence number again replaces that snapshot');

SELECT snapshot_save('p-big', 100, 1, to_json(repeat('a', 10000)));
SELECT is(pg_temp.found('p-big', max_sequence_number => 100), '100 ' || repeat('a', 10000),
		  'a state of 10,000 bytes comes back whole');
SELECT snapshot_save_bytea('p-big-bytes', 100, 1, convert_to(repeat('a', 10000), 'UTF8'));
SELECT is((SELECT l.state FROM snapshot_load_bytea('p-big-bytes', '{1}', 100) AS l),
		  convert_to(repeat('a', 10000), 'UTF8'),
		  'and so it does as bytes');

SELECT is((SELECT l.metadata FROM snapshot_load('p-load', '{1}', 13) AS l), '{"tag": "m-3"}',
		  'the metadata comes back with its snapshot');

SELECT * FROM finish();
ROLLBACK;
