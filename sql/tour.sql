--
-- A tour of snapshot_store
--
-- What it does, in the order in which a newcomer meets it.  The output is in
-- expected/tour.out; doc/reference.md has the details.
--
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE EXTENSION snapshot_store;

-- That made one table ...
\d snapshot_store

-- ... and the functions that use it.
SELECT p.proname AS function,
	CASE p.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END AS volatility,
	CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel
FROM pg_depend AS d
JOIN pg_extension AS e ON e.oid = d.refobjid
JOIN pg_proc AS p ON p.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass
	AND d.classid = 'pg_proc'::regclass
	AND e.extname = 'snapshot_store'
ORDER BY p.proname COLLATE "C";


--
-- Save a state, load it, replay the rest
--

-- An application's events: account-7 got 250 deposits of 10.
CREATE TABLE event (
	stream_id text,
	sequence_number bigint,
	amount bigint,
	PRIMARY KEY (stream_id, sequence_number)
);
INSERT INTO event SELECT 'account-7', n, 10 FROM generate_series(1, 250) AS n;

-- It saved the state as of event 200.
SELECT snapshot_save('account-7',
	sequence_number => 200,
	state_schema_version => 1,
	state => '{"balance": 2000}');

-- To know the state now, it loads that and replays what came after.
SELECT s.sequence_number AS snapshot_at,
	count(e) AS replayed,
	(s.state ->> 'balance')::bigint + sum(e.amount) AS balance
FROM snapshot_load('account-7', '{1}') AS s
LEFT JOIN event AS e ON e.stream_id = 'account-7' AND e.sequence_number > s.sequence_number
GROUP BY s.sequence_number, s.state ->> 'balance';

-- No row: there is no snapshot, so replay everything.
SELECT * FROM snapshot_load('account-8', '{1}');

-- The state is kept to the letter.
SELECT snapshot_save('account-7', 201, 1, '{ "b":1,"a" : 1.0e2, "b":2 }');
SELECT state FROM snapshot_load('account-7', '{1}');

-- Metadata are the caller's own, JSON that is kept as jsonb, to query by.
-- created_at is the clock unless it is given.
SELECT snapshot_save('account-7', 202, 1, '{"balance": 2020}',
	metadata => '{"node": "a1"}',
	created_at => '2026-01-05 09:00:00+00');
SELECT * FROM snapshot_load('account-7', '{1}');


--
-- Which snapshot stays
--

-- An older one never replaces a newer one of its schema version.  The answer
-- is false, which is no error.
SELECT snapshot_save('account-7', 150, 1, '{"balance": 1500}');
SELECT sequence_number, state FROM snapshot_load('account-7', '{1}');

-- One of the same sequence number does: saving again is harmless.
SELECT snapshot_save('account-7', 202, 1, '{"balance": 2020, "again": true}');
SELECT sequence_number, state FROM snapshot_load('account-7', '{1}');

-- Unless the call says that it shall not replace one.
SELECT snapshot_save('account-7', 202, 1, '{"balance": 0}', replace => false);
SELECT sequence_number, state FROM snapshot_load('account-7', '{1}');

-- One of another schema version replaces it, whatever its sequence number.
SELECT snapshot_save('account-7', 180, 2, '{"cents": 180000}');
SELECT sequence_number, state_schema_version, state FROM snapshot_load('account-7', '{1,2}');

-- By default, a stream has one snapshot.
SELECT count(*) FROM snapshot_store WHERE stream_id = 'account-7';


--
-- Only what the caller recognizes
--

-- An application that knows version 1 alone gets no row and replays.
SELECT * FROM snapshot_load('account-7', '{1}');

-- One that knows both gets it.
SELECT sequence_number, state_schema_version, state FROM snapshot_load('account-7', '{1,2}');

-- An empty array recognizes nothing.
SELECT * FROM snapshot_load('account-7', '{}');


--
-- Two versions of an application side by side
--

-- With keep_versions = 2, a stream keeps the snapshots of its two most
-- recently saved schema versions.  Old and new code each find their own.
SET snapshot_store.keep_versions = 2;
SELECT snapshot_save('account-9', 10, 1, '{"balance": 100}', created_at => '2026-01-05 09:00:00+00');
SELECT snapshot_save('account-9', 12, 2, '{"cents": 12000}', created_at => '2026-01-05 09:01:00+00');
SELECT sequence_number, state_schema_version, state FROM snapshot_load('account-9', '{1}');
SELECT sequence_number, state_schema_version, state FROM snapshot_load('account-9', '{1,2}');

-- The old code goes on.  Among several versions, the highest sequence number wins.
SELECT snapshot_save('account-9', 14, 1, '{"balance": 140}', created_at => '2026-01-05 09:02:00+00');
SELECT sequence_number, state_schema_version, state FROM snapshot_load('account-9', '{1,2}');

-- Of the same event, the highest schema version wins.
SELECT snapshot_save('account-9', 14, 2, '{"cents": 14000}', created_at => '2026-01-05 09:03:00+00');
SELECT sequence_number, state_schema_version, state FROM snapshot_load('account-9', '{1,2}');

-- Version 3 takes the place of version 1, whose last save is longest ago.
SELECT snapshot_save('account-9', 15, 3, '{"cents": 15000}', created_at => '2026-01-05 09:04:00+00');
SELECT sequence_number, state_schema_version, created_at FROM snapshot_info('account-9');
RESET snapshot_store.keep_versions;


--
-- History
--

-- With keep = 3, a stream keeps the three newest snapshots of each version.
SET snapshot_store.keep = 3;
SELECT n AS sequence_number,
	snapshot_save('account-10', n, 1, json_build_object('balance', n * 10),
		created_at => timestamptz '2026-01-05 09:00:00+00' + n * interval '1 minute')
FROM generate_series(1, 5) AS n;
SELECT * FROM snapshot_info('account-10');

-- Load as of an earlier event, or as of an earlier time.  Both bounds are inclusive.
SELECT sequence_number, state FROM snapshot_load('account-10', '{1}');
SELECT sequence_number, state FROM snapshot_load('account-10', '{1}', max_sequence_number => 4);
SELECT sequence_number, state FROM snapshot_load('account-10', '{1}', max_created_at => '2026-01-05 09:03:30+00');
SELECT sequence_number, state FROM snapshot_load('account-10', '{1}', max_sequence_number => 2);

-- The lowest goes for a newer one; what is older than all three is not kept.
SELECT snapshot_save('account-10', 6, 1, '{"balance": 60}', created_at => '2026-01-05 09:06:00+00');
SELECT snapshot_save('account-10', 3, 1, '{"balance": 30}', created_at => '2026-01-05 09:07:00+00');
SELECT * FROM snapshot_info('account-10');

-- After a setting was lowered, the next save that stores trims the stream.
RESET snapshot_store.keep;
SELECT snapshot_save('account-10', 7, 1, '{"balance": 70}', created_at => '2026-01-05 09:08:00+00');
SELECT * FROM snapshot_info('account-10');


--
-- When to take one
--

-- snapshot_should_take(event_count, last_sequence_number, snapshot_interval)
-- only counts: are there at least 100 events since the last snapshot?
SELECT snapshot_should_take(99, 0, 100) AS "99 since none",
	snapshot_should_take(100, NULL, 100) AS "100 since none",
	snapshot_should_take(299, 200, 100) AS "299 since 200",
	snapshot_should_take(300, 200, 100) AS "300 since 200",
	snapshot_should_take(300, 200, 0) AS "interval 0";

-- snapshot_due asks the store for the last one: account-7 has version 2 at 180.
SELECT snapshot_due('account-7', '{2}', 279, 100) AS "279 since 180",
	snapshot_due('account-7', '{2}', 280, 100) AS "280 since 180",
	snapshot_due('account-8', '{2}', 100, 100) AS "100 since none";

-- A snapshot that the caller does not recognize does not count.  So after a
-- change of the schema the stream is due again.
SELECT snapshot_due('account-7', '{3}', 181, 100);


--
-- A state of bytes
--

SELECT snapshot_save_bytea('account-11', 5, 1, '\x0800ff');
SELECT sequence_number, state FROM snapshot_load_bytea('account-11', '{1}');

-- The next save may be of the other kind.
SELECT snapshot_save('account-11', 6, 1, '{"balance": 60}');
SELECT sequence_number, state FROM snapshot_load('account-11', '{1}');


--
-- Many streams at once
--

-- One call, one flush, all or nothing.  The answer is in the order of the streams.
SELECT * FROM snapshot_save_many('{cart-1,cart-2,cart-3}', '{10,20,30}', '{1,1,2}',
	ARRAY['{"items": 1}', '{"items": 2}', '{"things": 3}']::json[],
	created_at => array_fill(timestamptz '2026-01-05 09:00:00+00', '{3}'));
-- Here cart-1 has a newer one.
SELECT * FROM snapshot_save_many('{cart-2,cart-1}', '{21,9}', '{1,1}', '{"{\"items\": 4}","[]"}');

-- No row for cart-3, whose version 2 is not recognized, nor for cart-4, which has none.
SELECT stream_id, sequence_number, state FROM snapshot_load_many('{cart-4,cart-3,cart-2,cart-1}', '{1}');

-- A stream can be saved only once in a batch (21000), and the arrays must fit (2202E).
SELECT * FROM snapshot_save_many('{cart-1,cart-1}', '{11,12}', '{1,1}', '{"[]","[]"}');
SELECT * FROM snapshot_save_many('{cart-1,cart-2}', '{11}', '{1,1}', '{"[]","[]"}');


--
-- Upkeep
--

-- What there is of each schema version, in streams whose names begin with this.
SELECT * FROM snapshot_census('cart-');

-- The streams that have nothing for an application that knows version 2 alone.
SELECT * FROM snapshot_outdated('cart-', '{2}');

-- The list goes on where it ended.
SELECT * FROM snapshot_outdated('cart-', '{2}', max_streams => 1, after_stream_id => 'cart-1');

-- Delete what that application does not recognize.  The row tells how many.
CALL snapshot_purge('cart-', recognized_schema_versions => '{2}');
SELECT * FROM snapshot_census('cart-');

-- What is left, by its time.  In PL/pgSQL, a variable takes the count.
DO $$
DECLARE
	n bigint;
BEGIN
	CALL snapshot_purge('cart-', max_created_at => '2026-01-05 09:00:00+00', deleted => n);
	RAISE NOTICE 'deleted: %', n;
END $$;

-- There must be a criterion (22023), and no transaction around it, since it
-- commits (2D000).
CALL snapshot_purge('cart-');
BEGIN;
CALL snapshot_purge('cart-', recognized_schema_versions => '{2}');
ROLLBACK;


--
-- Delete
--

SET snapshot_store.keep = 5;
SELECT count(snapshot_save('account-12', n, 1, '{}',
		created_at => timestamptz '2026-01-05 09:00:00+00' + n * interval '1 minute'))
FROM generate_series(1, 5) AS n;

-- Up to an event; up to a time; from an event on, after the stream was reset.
SELECT snapshot_delete('account-12', max_sequence_number => 1);
SELECT snapshot_delete('account-12', max_created_at => '2026-01-05 09:02:00+00');
SELECT snapshot_delete('account-12', min_sequence_number => 5);
SELECT sequence_number FROM snapshot_info('account-12');

-- All bounds must hold; none at all means everything.
SELECT snapshot_delete('account-12', min_sequence_number => 3, max_created_at => '2026-01-05 09:03:00+00');
SELECT snapshot_delete('account-12');
SELECT snapshot_delete('account-12');
RESET snapshot_store.keep;


--
-- Transactions
--

-- A save is part of its transaction, like every write.
BEGIN;
SELECT snapshot_save('account-11', 7, 1, '{"balance": 70}');
SELECT sequence_number FROM snapshot_load('account-11', '{1}');
ROLLBACK;
SELECT sequence_number FROM snapshot_load('account-11', '{1}');


--
-- From an application
--

-- A driver need not say what types its parameters have.
PREPARE save AS SELECT snapshot_save($1, $2, $3, $4);
PREPARE load AS SELECT * FROM snapshot_load($1, $2);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name IN ('save', 'load') ORDER BY name;
DEALLOCATE save;
DEALLOCATE load;

-- A jsonb must be cast, since it has lost the letter of its text.  So must a
-- string that a driver declares as text.
\set VERBOSITY terse
SELECT snapshot_save('account-13', 1, 1, '{"balance": 10}'::jsonb);
\set VERBOSITY default
SELECT snapshot_save('account-13', 1, 1, '{"balance": 10}'::jsonb::json);


--
-- Settings
--

SELECT name, setting, min_val, max_val, context
FROM pg_settings
WHERE name LIKE 'snapshot\_store.%' AND name <> 'snapshot_store.access_path'
ORDER BY name COLLATE "C";

-- When it is off, a save stores nothing, which is no error in a read-only
-- transaction either, and a load finds nothing.  Arguments are still checked.
SET snapshot_store.enabled = off;
BEGIN READ ONLY;
SELECT snapshot_save('account-13', 2, 1, '{"balance": 20}');
SELECT * FROM snapshot_load('account-13', '{1}');
SELECT snapshot_due('account-13', '{1}', 1000, 100);
COMMIT;
SELECT snapshot_save('account-13', -2, 1, '{"balance": 20}');
-- Deleting still works, so that a stream that was reset stays reset.
SELECT snapshot_delete('account-13');
RESET snapshot_store.enabled;

-- A limit to the size of a state, which only a superuser may change.
SET snapshot_store.max_state_size = 10;
SELECT snapshot_save('account-13', 1, 1, '{"balance": 10}');
RESET snapshot_store.max_state_size;

-- A table that does not survive a crash is refused while durable is on.
BEGIN;
ALTER TABLE snapshot_store SET UNLOGGED;
SET LOCAL snapshot_store.durable = off;
SELECT snapshot_save('account-13', 1, 1, '{"balance": 10}');
SET LOCAL snapshot_store.durable = on;
SELECT snapshot_save('account-13', 2, 1, '{"balance": 20}');
ROLLBACK;


--
-- Errors
--
-- After each, the snapshot that was there is intact.
--

SELECT snapshot_save('account-14', 1, 1, '{"balance": 10}');

-- The state is of the other kind (42804).
SELECT snapshot_load_bytea('account-14', '{1}');

-- A value is missing (22004).
SELECT snapshot_save('account-14', NULL, 1, '{"balance": 20}');
SELECT snapshot_load('account-14', '{1,NULL}');

-- stream_id is empty (22023) or longer than 2,000 bytes (54000).
SELECT snapshot_save('', 2, 1, '{"balance": 20}');
SELECT snapshot_save(repeat('x', 2001), 2, 1, '{"balance": 20}');

-- A number is out of range (22003).
SELECT snapshot_save('account-14', -1, 1, '{"balance": 20}');
SELECT snapshot_save('account-14', 2, 4294967296, '{"balance": 20}');
SELECT snapshot_load('account-14', '{1,-1}');
SELECT snapshot_should_take(100, 0, -1);

-- The array has more than one dimension (2202E).
SELECT snapshot_load('account-14', '{{1},{2}}');

-- The state is not JSON (22P02).
SELECT snapshot_save('account-14', 2, 1, '{"balance": }');

-- The metadata are JSON that jsonb does not take (22P05, 22003).
SELECT snapshot_save('account-14', 2, 1, '{"balance": 20}', metadata => '{"node": "\u0000"}');
SELECT snapshot_save('account-14', 2, 1, '{"balance": 20}', metadata => '{"load": 1e200000}');

-- The transaction is read-only, as all are on a standby (25006).
BEGIN READ ONLY;
SELECT snapshot_save('account-14', 2, 1, '{"balance": 20}');
ROLLBACK;

SELECT sequence_number, state FROM snapshot_load('account-14', '{1}');


--
-- Plain SQL
--

-- The table may be queried as any other.  A cast to jsonb looks into states.
SELECT stream_id, sequence_number, state_schema_version
FROM snapshot_store
WHERE (state::jsonb -> 'balance')::bigint >= 60
ORDER BY stream_id;

SELECT state_schema_version, count(*) AS snapshots, count(DISTINCT stream_id) AS streams
FROM snapshot_store
GROUP BY state_schema_version
ORDER BY state_schema_version;

-- Its constraints guard what is written by hand.
INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at)
VALUES ('account-15', 0, 1, 1, '2026-01-05 09:00:00+00');


--
-- Privileges
--

SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_snapshot_store_app;
RESET client_min_messages;
CREATE ROLE regress_snapshot_store_app;

-- The functions have the rights of who calls them.
SET ROLE regress_snapshot_store_app;
SELECT snapshot_load('account-14', '{1}');
RESET ROLE;

-- A load needs SELECT.
GRANT SELECT ON snapshot_store TO regress_snapshot_store_app;
SET ROLE regress_snapshot_store_app;
SELECT sequence_number, state FROM snapshot_load('account-14', '{1}');
RESET ROLE;

-- A save needs all four, always, so that a missing one shows at the first save.
GRANT INSERT, UPDATE ON snapshot_store TO regress_snapshot_store_app;
SET ROLE regress_snapshot_store_app;
SELECT snapshot_save('account-14', 2, 1, '{"balance": 20}');
RESET ROLE;
GRANT DELETE ON snapshot_store TO regress_snapshot_store_app;
SET ROLE regress_snapshot_store_app;
SELECT snapshot_save('account-14', 2, 1, '{"balance": 20}');
RESET ROLE;


DROP EXTENSION snapshot_store;
DROP TABLE event;
DROP ROLE regress_snapshot_store_app;
