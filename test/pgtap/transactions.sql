-- Transactions: a save is part of the transaction that calls it, at every isolation level. This file commits; it
-- keeps to streams whose names begin with "transactions/" and removes them at the end.
SELECT plan(88);

\setenv PGHOST :HOST
\setenv PGPORT :PORT
\setenv PGDATABASE :DBNAME
\setenv PGUSER :USER

-- What is loaded, as "sequence state", or nothing.
CREATE FUNCTION pg_temp.loaded(stream_name text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT l.sequence_number || ' ' || l.state FROM snapshot_load('transactions/' || stream_name, '{1}') AS l
$$;

CREATE FUNCTION pg_temp.save(stream_name text, sequence_number bigint) RETURNS boolean LANGUAGE sql
AS $$
	SELECT snapshot_save('transactions/' || stream_name, sequence_number, 1, to_json(sequence_number))
$$;

-- How many rows the table has of a stream.
CREATE FUNCTION pg_temp.row_count(stream_name text) RETURNS bigint LANGUAGE sql STABLE
AS $$
	SELECT count(*) FROM snapshot_store AS s WHERE s.stream_id = 'transactions/' || stream_name
$$;

-- Removes this file's streams: at the end, and first what a run that was cut short has left.
CREATE PROCEDURE pg_temp.clean_up() LANGUAGE sql
AS $$
	DELETE FROM snapshot_store AS s WHERE starts_with(s.stream_id, 'transactions/')
$$;
CALL pg_temp.clean_up();

-- Commit and rollback

BEGIN;
SELECT ok(pg_temp.save('first', 1), 'a first save of a stream');
SELECT is(pg_temp.loaded('first'), '1 1', 'is seen by its own transaction');
ROLLBACK;
SELECT is(pg_temp.loaded('first'), NULL, 'and is gone when that is rolled back');

SELECT ok(pg_temp.save('order', 1), 'a save outside a transaction block');
SELECT is(pg_temp.loaded('order'), '1 1', 'is committed at once');

BEGIN;
SELECT ok(pg_temp.save('order', 2), 'a save that replaces a snapshot');
SELECT is(pg_temp.loaded('order'), '2 2', 'is seen by its own transaction');
SELECT is(pg_temp.save('order', 1), false, 'which also guards against an older one');
ROLLBACK;
SELECT is(pg_temp.loaded('order'), '1 1', 'when that is rolled back, the former snapshot is loaded');
SELECT ok(pg_temp.save('order', 1), 'and its sequence number counts again');

BEGIN;
SELECT ok(pg_temp.save('order', 3), 'a save that replaces a snapshot');
COMMIT;
SELECT is(pg_temp.loaded('order'), '3 3', 'is loaded after the commit');

BEGIN;
SELECT is(snapshot_delete('transactions/order'), 1::bigint, 'a deletion');
SELECT is(pg_temp.loaded('order'), NULL, 'is seen by its own transaction');
SELECT ok(pg_temp.save('order', 2), 'which may then save an older snapshot');
SELECT is(pg_temp.loaded('order'), '2 2', 'and load it');
SELECT is(snapshot_delete('transactions/order'), 1::bigint, 'and delete it, too');
ROLLBACK;
SELECT is(pg_temp.loaded('order'), '3 3', 'when all that is rolled back, the deleted snapshot is loaded again');

-- Savepoints

BEGIN;
SAVEPOINT before_4;
SELECT ok(pg_temp.save('order', 4), 'a save after a savepoint');
SAVEPOINT before_5;
SELECT ok(pg_temp.save('order', 5), 'and one after a second');
SELECT is(pg_temp.loaded('order'), '5 5', 'are seen');
ROLLBACK TO SAVEPOINT before_5;
SELECT is(pg_temp.loaded('order'), '4 4', 'back to the second savepoint, the save before it is seen');
ROLLBACK TO SAVEPOINT before_4;
SELECT is(pg_temp.loaded('order'), '3 3', 'back to the first, none of them is');
SELECT ok(pg_temp.save('order', 4), 'and what was undone can be saved anew');
RELEASE SAVEPOINT before_4;
SAVEPOINT before_delete;
SELECT is(snapshot_delete('transactions/order'), 1::bigint, 'a deletion after a savepoint');
ROLLBACK TO SAVEPOINT before_delete;
SELECT is(pg_temp.loaded('order'), '4 4', 'can be undone');
COMMIT;
SELECT is(pg_temp.loaded('order'), '4 4', 'what was not undone is committed');
SELECT is(pg_temp.row_count('order'), 1::bigint, 'once');

DO $$
BEGIN
	FOR n IN 5..204 LOOP
		BEGIN
			PERFORM pg_temp.save('order', n);
			IF n % 2 = 1 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
			ASSERT pg_temp.loaded('order') = format('%s %s', n - 1, n - 1);
		END;
	END LOOP;
END
$$;
SELECT is(pg_temp.loaded('order'), '204 204', 'of 200 saves in exception blocks the last that did not fail stays');

DO $$
BEGIN
	PERFORM pg_temp.save('order', 205);
	BEGIN
		PERFORM snapshot_save('transactions/order', 206, -1, '{}');
	EXCEPTION WHEN numeric_value_out_of_range THEN
		PERFORM pg_temp.save('order', 207);
	END;
END
$$;
SELECT is(pg_temp.loaded('order'), '207 207', 'a function that catches a save''s error can go on and save');

-- Many saves in one transaction

BEGIN;
SELECT is(count(*) FILTER (WHERE pg_temp.save('many', n)), 1000::bigint,
		  '1,000 saves of one stream in one transaction are all stored')
FROM generate_series(1, 1000) AS n;
SELECT is(pg_temp.loaded('many'), '1000 1000', 'the last one is loaded');
SELECT is(count(*) FILTER (WHERE pg_temp.save('many', n)), 0::bigint, 'none older is stored')
FROM generate_series(990, 999) AS n;
SELECT is(pg_temp.row_count('many'), 1::bigint, 'and the stream has one row');
COMMIT;
SELECT is(pg_temp.loaded('many'), '1000 1000', 'so it is after the commit');
SELECT is(pg_temp.row_count('many'), 1::bigint, 'still in one row');

BEGIN;
SELECT is(count(*) FILTER (WHERE pg_temp.save('bulk/' || n, n)), 50000::bigint,
		  '50,000 new streams are saved in one transaction')
FROM generate_series(1, 50000) AS n;
SELECT cmp_ok(count(*), '<', 50::bigint, 'without a lock for each in the lock table')
FROM pg_locks WHERE pid = pg_backend_pid();
SELECT is(count(l.state), 50000::bigint, 'and all loaded in the same transaction')
FROM generate_series(1, 50000) AS n, snapshot_load('transactions/bulk/' || n, '{1}', n) AS l;
SELECT is(count(*) FILTER (WHERE pg_temp.save('bulk/' || n, n + 1)), 50000::bigint, 'and all overwritten')
FROM generate_series(1, 50000) AS n;
COMMIT;
SELECT is(count(l.state), 50000::bigint, 'and all are there after the commit')
FROM generate_series(1, 50000) AS n, snapshot_load('transactions/bulk/' || n, '{1}') AS l
WHERE l.sequence_number = n + 1;

-- A committed save or deletion is flushed, whatever synchronous_commit says

CREATE PROCEDURE pg_temp.flush(query text, INOUT flushed integer) LANGUAGE plpgsql
AS $$
DECLARE
	before_commit pg_lsn;
BEGIN
	flushed := 0;
	FOR n IN 1..20 LOOP
		PERFORM pg_temp.save('flush/' || n, n);
		COMMIT;
		EXECUTE query USING 'flush/' || n, n + 1;
		before_commit := pg_current_wal_insert_lsn();
		COMMIT;
		flushed := flushed + (pg_current_wal_flush_lsn() > before_commit)::integer;
	END LOOP;
END
$$;
SET synchronous_commit = off;
CALL pg_temp.flush('SELECT pg_temp.save($1, $2)', NULL) \gset saves_
SELECT is(:saves_flushed, 20,
		  'every save is on disk when its transaction has committed, even with synchronous_commit off');
CALL pg_temp.flush('SELECT snapshot_delete(''transactions/'' || $1)', NULL) \gset deletions_
SELECT is(:deletions_flushed, 20, 'so is every deletion');
SET snapshot_store.durable = off;
CALL pg_temp.flush('SELECT pg_temp.save($1, $2)', NULL) \gset saves_
SELECT cmp_ok(:saves_flushed, '<', 20, 'while durable is off, synchronous_commit decides about saves');
CALL pg_temp.flush('SELECT snapshot_delete(''transactions/'' || $1)', NULL) \gset deletions_
SELECT cmp_ok(:deletions_flushed, '<', 20, 'and about deletions');
RESET snapshot_store.durable;
RESET synchronous_commit;

-- Overwriting stays HOT, whatever the name: no index entry is made while a page has room

CREATE PROCEDURE pg_temp.overwrite(stream_name text, times integer, INOUT hot bigint) LANGUAGE plpgsql
AS $$
DECLARE
	before bigint;
BEGIN
	hot := 0;
	FOR n IN 1..times LOOP
		before := pg_stat_get_xact_tuples_hot_updated('snapshot_store'::regclass);
		ASSERT snapshot_save('transactions/' || stream_name, n, 1, to_json(n));
		hot := hot + pg_stat_get_xact_tuples_hot_updated('snapshot_store'::regclass) - before;
		COMMIT;
	END LOOP;
END
$$;
CALL pg_temp.overwrite('short name', 100, NULL) \gset short_
SELECT cmp_ok(:short_hot, '>=', 90, 'overwriting a stream in 100 transactions is a HOT update');
-- Of a short text, INSERT ... SELECT stores another form than a parameter has.
INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
SELECT 'transactions/inserted ' || n, 0, 1, 0, now(), '0' FROM generate_series(1, 20) AS n;
BEGIN;
SELECT pg_stat_get_xact_tuples_hot_updated('snapshot_store'::regclass) AS hot_before \gset
SELECT count(snapshot_save('transactions/inserted ' || n, 1, 1, '1')) FROM generate_series(1, 20) AS n \g /dev/null
SELECT is(pg_stat_get_xact_tuples_hot_updated('snapshot_store'::regclass) - :hot_before, 20::bigint, 'and after INSERT ... SELECT');
COMMIT;
SELECT repeat('x', 2000 - length('transactions/')) AS name \gset long_
CALL pg_temp.overwrite(:'long_name', 100, NULL) \gset long_
SELECT cmp_ok(:long_hot, '>=', 60,
			  'also with a name of 2,000 bytes that compress well, of which three fill a page');

-- Transactions inside of procedures

DO $$
BEGIN
	FOR n IN 1..20 LOOP
		PERFORM pg_temp.save('procedure', n);
		IF n % 5 = 0 THEN
			COMMIT;
		ELSE
			ROLLBACK;
		END IF;
	END LOOP;
	PERFORM pg_temp.save('procedure', 99);
	ROLLBACK;
END
$$;
SELECT is(pg_temp.loaded('procedure'), '20 20', 'a procedure commits some saves and rolls back others');

DO $$
DECLARE
	stream_name text;
BEGIN
	FOR stream_name IN SELECT 'loop/' || n FROM generate_series(1, 10) AS n LOOP
		PERFORM pg_temp.save(stream_name, 1);
		COMMIT;
	END LOOP;
END
$$;
SELECT is(count(pg_temp.loaded('loop/' || n)), 10::bigint, 'or commits after each row of a query')
FROM generate_series(1, 10) AS n;

-- Deferred: a constraint trigger that saves at the commit

CREATE TEMPORARY TABLE event (stream_name text, sequence_number bigint);
CREATE FUNCTION pg_temp.save_event() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM pg_temp.save(new.stream_name, new.sequence_number);
	RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER save_event AFTER INSERT ON event DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION pg_temp.save_event();

BEGIN;
INSERT INTO event SELECT 'deferred', n FROM generate_series(1, 10) AS n;
SELECT is(pg_temp.loaded('deferred'), NULL, 'a deferred trigger has not saved before the commit');
COMMIT;
SELECT is(pg_temp.loaded('deferred'), '10 10', 'but at the commit');
BEGIN;
INSERT INTO event VALUES ('deferred', 11);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is(pg_temp.loaded('deferred'), '11 11', 'or when its constraint is made immediate');
ROLLBACK;
SELECT is(pg_temp.loaded('deferred'), '10 10', 'and what it saved is rolled back with its transaction');

-- What one statement sees: a load reads by its statement's snapshot, a save by a fresh one

WITH saved AS MATERIALIZED (SELECT pg_temp.save('order', 300) AS saved)
SELECT is((SELECT saved::text FROM saved) || ' ' || l.state, 'true 207',
		  'a load does not see what its own statement saves')
FROM snapshot_load('transactions/order', '{1}') AS l;
SELECT is(pg_temp.loaded('order'), '300 300', 'the next statement does');
SELECT is(ARRAY[pg_temp.save('order', 302)::text, pg_temp.loaded('order'), pg_temp.save('order', 301)::text,
				pg_temp.loaded('order')],
		  '{true,"300 300",false,"300 300"}',
		  'so it is in one select list, whereas a save sees the saves before it');
SELECT is(pg_temp.loaded('order'), '302 302', 'the newest is kept');

BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT pg_temp.loaded('order') AS loaded;
SELECT ok(pg_temp.save('order', 303), 'a save after a cursor was opened');
COMMIT;
FETCH held \gset held_
SELECT is(:'held_loaded'::text, '302 302', 'is not seen by the cursor, even if it is read after the commit');
CLOSE held;

-- A state that is stored out of line is fetched when it is read, and is still the one that was found

CREATE TEMPORARY TABLE large AS
SELECT 'transactions/large' || i AS stream_id, to_json(string_agg(md5(i || ' ' || j), '')) AS state
FROM generate_series(1, 2) AS i, generate_series(1, 500) AS j GROUP BY i;
SELECT ok(bool_and(snapshot_save(l.stream_id, 1, 1, l.state)), 'two large states are saved') FROM large AS l;

BEGIN;
DECLARE one_by_one CURSOR FOR SELECT md5(l.state::text) AS state
	FROM snapshot_load_many(ARRAY(SELECT stream_id FROM large ORDER BY stream_id), '{1}') AS l;
DECLARE held CURSOR WITH HOLD FOR SELECT l.state
	FROM large, LATERAL snapshot_load(large.stream_id, '{1}') AS l ORDER BY large.stream_id;
FETCH one_by_one \gset first_
SELECT ok(bool_and(snapshot_save(l.stream_id, 2, 1, '"new"')), 'they are replaced while cursors are open') FROM large AS l;
FETCH one_by_one \gset second_
SELECT is(ARRAY[:'first_state', :'second_state'], ARRAY(SELECT md5(state::text) FROM large ORDER BY stream_id),
		  'a cursor over both still has them');
COMMIT;
VACUUM snapshot_store;
FETCH held \gset first_
FETCH held \gset second_
SELECT is(ARRAY[:'first_state', :'second_state'], ARRAY(SELECT state::text FROM large ORDER BY stream_id),
		  'and one WITH HOLD has them after the commit and a vacuum');
CLOSE held;

-- Isolation levels

CREATE FUNCTION pg_temp.saves_and_loads(stream_name text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	stream_id constant text := 'transactions/' || stream_name;
	stored boolean[];
BEGIN
	stored := ARRAY[snapshot_save(stream_id, 10, 1, '10'), snapshot_save(stream_id, 20, 1, '20'),
					snapshot_save(stream_id, 15, 1, '15'),
					snapshot_save(stream_id, 20, 1, '"again"'), snapshot_save(stream_id, 5, 2, '5'),
					snapshot_save_bytea(stream_id, 6, 2, '6'),
					snapshot_save(stream_id, 30, 1, '30')];
	ASSERT snapshot_due(stream_id, '{1}', 40, 10);
	SET LOCAL snapshot_store.keep = 2;
	SET LOCAL snapshot_store.keep_versions = 2;
	stored := stored || ARRAY[snapshot_save(stream_id, 31, 1, '31'), snapshot_save(stream_id, 7, 2, '7'),
							  snapshot_save(stream_id, 32, 1, '32')];
	RETURN stored::text || ' ' || pg_temp.loaded(stream_name) || ' of '
		|| (SELECT string_agg(i.sequence_number::text, ' ') FROM snapshot_info(stream_id) AS i)
		|| ', ' || snapshot_delete(stream_id, 31);
END
$$;

BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT is(pg_temp.saves_and_loads('read committed'), '{t,t,f,t,t,t,t,t,t,t} 32 32 of 32 31 7, 2',
		  'READ COMMITTED: saves, loads, and deletes');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(pg_temp.saves_and_loads('repeatable read'), '{t,t,f,t,t,t,t,t,t,t} 32 32 of 32 31 7, 2',
		  'REPEATABLE READ: a transaction alone sees the same');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(pg_temp.saves_and_loads('serializable'), '{t,t,f,t,t,t,t,t,t,t} 32 32 of 32 31 7, 2',
		  'SERIALIZABLE: likewise');
COMMIT;
SELECT is(array_agg(pg_temp.loaded(n)), '{32 32,32 32,32 32}', 'what each has left is committed')
FROM unnest(ARRAY['read committed', 'repeatable read', 'serializable']) AS n;

-- With another session that saves in the meantime

SELECT ok(pg_temp.save('shared', 1) AND pg_temp.save('other', 1), 'streams that two sessions share');

BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT is(pg_temp.loaded('shared'), '1 1', 'READ COMMITTED: a load');
\! psql -Xqtc "SELECT snapshot_save('transactions/shared', 2, 1, '2')" > /dev/null
SELECT is(pg_temp.loaded('shared'), '2 2', 'and one after another session has saved');
SELECT is(pg_temp.save('shared', 1), false, 'nor is anything older saved then');
COMMIT;

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(pg_temp.loaded('shared'), '2 2', 'REPEATABLE READ: a load');
\! psql -Xqtc "SELECT snapshot_save('transactions/shared', 3, 1, '3'), snapshot_save('transactions/new', 3, 1, '3')" > /dev/null
SELECT is(pg_temp.loaded('shared'), '2 2', 'sees the same after another session has saved');
SELECT is(pg_temp.loaded('new'), NULL, 'also no stream that is new');
SELECT is(snapshot_due('transactions/shared', '{1}', 5, 3), true, 'and nothing else does');
SELECT throws_ok('SELECT pg_temp.save(''shared'', 4)', '40001',
				 'could not serialize access due to concurrent update',
				 'a save there fails with a serialization failure');
SELECT throws_ok('SELECT pg_temp.save(''new'', 4)', '40001', NULL, 'also for a stream that is new');
SELECT ok(pg_temp.save('other', 2), 'other streams are saved');
SELECT is(pg_temp.loaded('other'), '2 2', 'and seen');
COMMIT;
SELECT is(pg_temp.loaded('shared') || ' / ' || pg_temp.loaded('new') || ' / ' || pg_temp.loaded('other'),
		  '3 3 / 3 3 / 2 2',
		  'afterwards each stream has the snapshot that was committed');

BEGIN READ ONLY;
SELECT is(pg_temp.loaded('shared'), '3 3', 'READ ONLY: a load is allowed');
SELECT throws_ok('SELECT pg_temp.save(''shared'', 5)', '25006',
				 'cannot execute snapshot_save() in a read-only transaction',
				 'a save is not');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT is(pg_temp.loaded('shared'), '3 3', 'SERIALIZABLE READ ONLY DEFERRABLE: a load is allowed');
COMMIT;

-- Prepared transactions

SELECT current_setting('max_prepared_transactions')::integer > 0 AS prepares \gset
\if :prepares
BEGIN;
SELECT snapshot_save('transactions/shared', 10, 1, '10') AS saved,
	   snapshot_save('transactions/prepared', 10, 1, '10') AS saved_new \gset
PREPARE TRANSACTION 'snapshot_store_save';
SELECT is(pg_temp.loaded('shared') || coalesce(pg_temp.loaded('prepared'), ''), '3 3',
		  'a save in a prepared transaction is not seen yet');
COMMIT PREPARED 'snapshot_store_save';
SELECT is(pg_temp.loaded('shared') || ' / ' || pg_temp.loaded('prepared'), '10 10 / 10 10',
		  'but when that is committed');
BEGIN;
SELECT snapshot_save('transactions/shared', 11, 1, '11') AS saved,
	   snapshot_delete('transactions/prepared') AS deleted \gset
PREPARE TRANSACTION 'snapshot_store_save';
ROLLBACK PREPARED 'snapshot_store_save';
SELECT is(pg_temp.loaded('shared') || ' / ' || pg_temp.loaded('prepared'), '10 10 / 10 10',
		  'and not at all when it is rolled back');
\else
SELECT skip('max_prepared_transactions is 0', 3);
\endif

CALL pg_temp.clean_up();
SELECT is(count(*), 0::bigint, 'nothing is left behind')
FROM snapshot_store WHERE starts_with(stream_id, 'transactions/');

SELECT * FROM finish();
