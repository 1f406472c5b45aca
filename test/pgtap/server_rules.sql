-- When something else has a say (a policy, a trigger, an index, a privilege, a planted operator), the
-- result is the server's own: what plain SQL on the table would have given.
--
-- Each test changes something, runs commands, looks at the table and takes everything back.
BEGIN;
SELECT plan(220);

SET LOCAL client_min_messages = error;	-- publications warn of wal_level

CREATE ROLE snapshot_test_app;
CREATE ROLE snapshot_test_other;
GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_app;

DELETE FROM snapshot_store;
SELECT snapshot_save('kept', 5, 1, '"old"');

-- What the commands below are made of
\set first     'SELECT snapshot_save(''new'', 1, 1, ''"first"'')'
\set overwrite 'SELECT snapshot_save(''kept'', 10, 1, ''"newer"'')'
\set older     'SELECT snapshot_save(''kept'', 3, 1, ''"older"'')'
\set version_2 'SELECT snapshot_save(''kept'', 7, 2, ''"version 2"'')'
\set load      'SELECT state FROM snapshot_load(''kept'', ARRAY[1, 2])'
\set load_new  'SELECT state FROM snapshot_load(''new'', ARRAY[1, 2])'
\set info      'SELECT count(*) FROM snapshot_info(''kept'')'
\set due       'SELECT snapshot_due(''kept'', ARRAY[1, 2], 6, 5)'
\set delete    'SELECT snapshot_delete(''kept'')'
\set unchanged 'kept/0 v1 n5 "old"'

-- The same by hand
\set first_by_hand     'INSERT INTO snapshot_store AS kept (stream_id, slot, state_schema_version, sequence_number, created_at, state) VALUES (''new'', 0, 1, 1, now(), ''"first"'') ON CONFLICT (stream_id, slot) DO UPDATE SET sequence_number = excluded.sequence_number, state = excluded.state RETURNING true'
\set overwrite_by_hand 'INSERT INTO snapshot_store AS kept (stream_id, slot, state_schema_version, sequence_number, created_at, state) VALUES (''kept'', 0, 1, 10, now(), ''"newer"'') ON CONFLICT (stream_id, slot) DO UPDATE SET sequence_number = excluded.sequence_number, state = excluded.state RETURNING true'
\set load_by_hand      'SELECT state FROM snapshot_store WHERE stream_id = ''kept'' AND state_schema_version = ANY (ARRAY[1, 2]) ORDER BY sequence_number DESC LIMIT 1'
\set delete_by_hand    'WITH gone AS (DELETE FROM snapshot_store WHERE stream_id = ''kept'' RETURNING 1) SELECT count(*) FROM gone'

-- Runs a command as a role: its first value, 'none' if there is no row, 'done' if it returns nothing, or its error.
-- A command that begins with a role's name and a colon is run as that role instead.
CREATE FUNCTION pg_temp.attempt(command text, as_role text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	IF command LIKE 'snapshot_test_%:%' OR command LIKE 'none:%' THEN
		as_role := pg_catalog.split_part(command, ':', 1);
		command := pg_catalog.substr(command, pg_catalog.length(as_role) + 2);
	END IF;
	PERFORM pg_catalog.set_config('role', as_role, true);
	IF command ~* '^\s*(select|with|execute|fetch)|returning' THEN
		EXECUTE command INTO answer;
		answer := CASE WHEN answer OPERATOR(pg_catalog.=) 'true' THEN 't'
					   WHEN answer OPERATOR(pg_catalog.=) 'false' THEN 'f'
					   ELSE coalesce(answer, 'none') END;
	ELSE
		EXECUTE command;
		answer := 'done';
	END IF;
	PERFORM pg_catalog.set_config('role', 'none', true);
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN pg_catalog.concat_ws(' ', SQLSTATE, SQLERRM);
END
$$;

-- What the table holds, as 'stream/slot vVersion nSequence state; …'.
CREATE FUNCTION pg_temp.content(schema_name text DEFAULT 'public') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE pg_catalog.format($query$
		SELECT pg_catalog.string_agg(pg_catalog.format('%%s/%%s v%%s n%%s %%s', stream_id, slot,
													   state_schema_version, sequence_number, state),
									 '; ' ORDER BY stream_id, slot)
		FROM %I.snapshot_store$query$, schema_name) INTO answer;
	RETURN coalesce(answer, 'nothing');
END
$$;

-- Makes a change (as superuser), runs each command (as snapshot_test_app, unless told otherwise), looks at the table
-- and takes everything back.  Returns the commands' results and the content.
CREATE FUNCTION pg_temp.after(change text, commands text[], as_role text DEFAULT 'snapshot_test_app',
							  schema_name text DEFAULT 'public') RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	command text;
	results text[] := '{}';
BEGIN
	EXECUTE change;
	FOREACH command IN ARRAY commands LOOP
		results := pg_catalog.array_append(results, pg_temp.attempt(command, as_role));
	END LOOP;
	PERFORM pg_catalog.set_config('row_security', 'on', true);
	results := pg_catalog.array_append(results, pg_temp.content(schema_name));
	RAISE EXCEPTION 'taken back' USING ERRCODE = 'TB000';
EXCEPTION WHEN SQLSTATE 'TB000' THEN
	RETURN results;
END
$$;

SELECT is(pg_temp.after('', ARRAY[:'first', :'overwrite', :'older', :'version_2', :'load', :'info', :'due', :'delete']),
	ARRAY['t', 't', 'f', 't', '"version 2"', '1', 'f', '1', 'new/0 v1 n1 "first"'],
	'with the four privileges and nothing in the way');


-- Row security

\set policies 'ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY; '

SELECT is(pg_temp.after(:'policies',
	ARRAY[:'load', :'info', :'due', :'delete', :'first', :'overwrite']),
	ARRAY['none', '0', 't', '0',
		'42501 new row violates row-level security policy for table "snapshot_store"',
		'42501 new row violates row-level security policy for table "snapshot_store"', :'unchanged'],
	'row security without a policy: nothing is seen, nothing may be saved');
SELECT is(pg_temp.after(:'policies' || 'CREATE POLICY everything ON snapshot_store USING (true)',
	ARRAY[:'load', :'first', :'overwrite', :'older', :'version_2', :'delete']),
	ARRAY['"old"', 't', 't', 'f', 't', '1', 'new/0 v1 n1 "first"'],
	'a policy that permits everything');
SELECT is(pg_temp.after(:'policies' || $$
		CREATE POLICY s ON snapshot_store FOR SELECT USING (stream_id <> 'kept');
		CREATE POLICY i ON snapshot_store FOR INSERT WITH CHECK (true);
		CREATE POLICY u ON snapshot_store FOR UPDATE USING (true);
		CREATE POLICY d ON snapshot_store FOR DELETE USING (true)$$,
	ARRAY[:'load', :'first', :'overwrite', :'older', :'delete', :'load_new']),
	ARRAY['none', 't', '42501 new row violates row-level security policy for table "snapshot_store"',
		'42501 new row violates row-level security policy for table "snapshot_store"', '0', '"first"',
		'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'a stream that a SELECT policy hides is not overwritten');
SELECT is(pg_temp.after(:'policies' || $$
		CREATE POLICY s ON snapshot_store FOR SELECT USING (true);
		CREATE POLICY i ON snapshot_store FOR INSERT WITH CHECK (sequence_number > 1);
		CREATE POLICY u ON snapshot_store FOR UPDATE USING (true)$$,
	ARRAY[:'first', 'SELECT snapshot_save(''new'', 2, 1, ''"second"'')']),
	ARRAY['42501 new row violates row-level security policy for table "snapshot_store"', 't',
		'kept/0 v1 n5 "old"; new/0 v1 n2 "second"'],
	'an INSERT policy refuses a first save');
SELECT is(pg_temp.after(:'policies' || $$
		CREATE POLICY s ON snapshot_store FOR SELECT USING (true);
		CREATE POLICY i ON snapshot_store FOR INSERT WITH CHECK (true);
		CREATE POLICY u ON snapshot_store FOR UPDATE USING (stream_id <> 'kept')$$,
	ARRAY[:'overwrite', :'version_2', :'older', :'first', :'load']),
	ARRAY['42501 new row violates row-level security policy (USING expression) for table "snapshot_store"',
		'42501 new row violates row-level security policy (USING expression) for table "snapshot_store"', 'f', 't',
		'"old"', 'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'an UPDATE policy that hides the row refuses the overwrite');
SELECT is(pg_temp.after(:'policies' || $$
		CREATE POLICY s ON snapshot_store FOR SELECT USING (true);
		CREATE POLICY i ON snapshot_store FOR INSERT WITH CHECK (true);
		CREATE POLICY u ON snapshot_store FOR UPDATE USING (true) WITH CHECK (sequence_number < 8)$$,
	ARRAY[:'overwrite', :'version_2']),
	ARRAY['42501 new row violates row-level security policy for table "snapshot_store"', 't',
		'kept/0 v2 n7 "version 2"'],
	'an UPDATE policy that refuses the new row');
SELECT is(pg_temp.after(:'policies' || $$
		CREATE POLICY s ON snapshot_store FOR SELECT USING (true);
		CREATE POLICY i ON snapshot_store FOR INSERT WITH CHECK (true);
		CREATE POLICY u ON snapshot_store FOR UPDATE USING (true);
		CREATE POLICY d ON snapshot_store FOR DELETE USING (state_schema_version <> 1)$$,
	ARRAY[:'delete', :'overwrite', :'version_2', :'delete']),
	ARRAY['0', 't', 't', '1', 'nothing'],
	'a DELETE policy: what it hides stays, an overwrite deletes nothing');
SELECT is(pg_temp.after(:'policies' || $$
		CREATE POLICY all_but_9 ON snapshot_store USING (state_schema_version <> 9);
		INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
		VALUES ('kept', 1, 9, 9, now(), '"hidden"'), ('kept', 2, 2, 4, now(), '"too high"');
		SET LOCAL snapshot_store.keep_versions = 2$$,
	ARRAY[:'overwrite']),
	ARRAY['t', 'kept/0 v1 n10 "newer"; kept/1 v9 n9 "hidden"; kept/2 v2 n4 "too high"'],
	'a snapshot that is to move to a slot where there is a hidden one stays where it is');
SELECT is(pg_temp.after(:'policies' || $$
		CREATE POLICY tenant ON snapshot_store
			USING (left(stream_id, 1) = current_setting('snapshot_test.tenant', true))$$,
	ARRAY['SELECT set_config(''snapshot_test.tenant'', ''k'', true)', :'load', :'load_new', :'overwrite', :'first',
		'SELECT set_config(''snapshot_test.tenant'', ''n'', true)', :'load', :'first', :'load_new', :'delete',
		'SELECT set_config(''snapshot_test.tenant'', ''k'', true)', :'load', :'load_new']),
	ARRAY['k', '"old"', 'none', 't', '42501 new row violates row-level security policy for table "snapshot_store"',
		'n', 'none', 't', '"first"', '0', 'k', '"newer"', 'none', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'tenants in one session: each sees and saves its own');
SELECT is(pg_temp.after(:'policies' || $$
		GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_other;
		CREATE POLICY app ON snapshot_store TO snapshot_test_app USING (stream_id = 'kept');
		CREATE POLICY other ON snapshot_store TO snapshot_test_other USING (stream_id = 'new')$$,
	ARRAY[:'load', 'snapshot_test_other:' || :'load', 'snapshot_test_other:' || :'first', :'load_new',
		'snapshot_test_other:' || :'load_new', 'none:' || :'load_new', :'load']),
	ARRAY['"old"', 'none', 't', 'none', '"first"', '"first"', '"old"', 'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'policies for roles, and a session that changes its role');
SELECT is(pg_temp.after(:'policies' || $$
		CREATE POLICY s ON snapshot_store FOR SELECT USING (stream_id <> 'kept')$$,
	ARRAY['SELECT state FROM snapshot_load_bytea(''kept'', ARRAY[1])', 'none:' || 'SELECT state FROM snapshot_load_bytea(''kept'', ARRAY[1])']),
	ARRAY['none', '42804 the snapshot of stream "kept" holds its state as json', :'unchanged'],
	'an error tells nothing of a hidden snapshot');
SELECT is(pg_temp.after(:'policies' || 'SET LOCAL row_security = off',
	ARRAY[:'load', :'first', :'overwrite', :'delete', 'none:' || :'load']),
	ARRAY['42501 query would be affected by row-level security policy for table "snapshot_store"',
		'42501 query would be affected by row-level security policy for table "snapshot_store"',
		'42501 query would be affected by row-level security policy for table "snapshot_store"',
		'42501 query would be affected by row-level security policy for table "snapshot_store"', '"old"', :'unchanged'],
	'row_security = off: an error rather than a filtered answer');
SELECT is(pg_temp.after(:'policies' || 'ALTER TABLE snapshot_store OWNER TO snapshot_test_other',
	ARRAY['snapshot_test_other:' || :'load', 'snapshot_test_other:' || :'overwrite', :'load']),
	ARRAY['"old"', 't', 'none', 'kept/0 v1 n10 "newer"'],
	'the owner is above row security');
SELECT is(pg_temp.after(:'policies' || $$
		ALTER TABLE snapshot_store OWNER TO snapshot_test_other;
		ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY$$,
	ARRAY['snapshot_test_other:' || :'load', 'snapshot_test_other:' || :'first', 'none:' || :'load']),
	ARRAY['none', '42501 new row violates row-level security policy for table "snapshot_store"', '"old"', :'unchanged'],
	'... unless it is forced upon them');
SELECT is(pg_temp.after(:'policies' || 'ALTER ROLE snapshot_test_app BYPASSRLS',
	ARRAY[:'load', :'overwrite', :'first', :'delete']),
	ARRAY['"old"', 't', 't', '1', 'new/0 v1 n1 "first"'],
	'a role that bypasses row security');
SELECT is(pg_temp.after(:'policies' || 'ALTER TABLE snapshot_store DISABLE ROW LEVEL SECURITY',
	ARRAY[:'load', :'overwrite', :'first']),
	ARRAY['"old"', 't', 't', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'switched on and off again');


-- Triggers

CREATE TABLE fired (event text);
GRANT SELECT, INSERT ON fired TO snapshot_test_app;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.fired VALUES (concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL));
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'not this one' USING ERRCODE = 'P0777';
END
$$;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.state := pg_catalog.upper(NEW.state::text);
	NEW.metadata := '"by trigger"';
	RETURN NEW;
END
$$;

\set note_all 'CREATE TRIGGER br BEFORE INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION note(); CREATE TRIGGER ar AFTER INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION note(); CREATE TRIGGER bs BEFORE INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH STATEMENT EXECUTE FUNCTION note(); CREATE TRIGGER as_ AFTER INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH STATEMENT EXECUTE FUNCTION note(); '
\set fired 'SELECT string_agg(event || '' '' || n, '', '' ORDER BY event) FROM (SELECT event, count(*) AS n FROM fired GROUP BY event) AS e'

SELECT is(pg_temp.after(:'note_all', ARRAY[:'first', :'fired']),
	ARRAY['t', 'AFTER INSERT ROW 1, AFTER INSERT STATEMENT 1, BEFORE INSERT ROW 1, BEFORE INSERT STATEMENT 1',
		'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'a first save fires each INSERT trigger once');
SELECT is(pg_temp.after(:'note_all', ARRAY[:'overwrite', :'fired']),
	ARRAY['t', 'AFTER UPDATE ROW 1, AFTER UPDATE STATEMENT 1, BEFORE UPDATE ROW 1, BEFORE UPDATE STATEMENT 1',
		'kept/0 v1 n10 "newer"'],
	'an overwrite fires each UPDATE trigger once, and nothing else');
SELECT is(pg_temp.after(:'note_all', ARRAY[:'older', :'load', :'info', :'due', :'fired']),
	ARRAY['f', '"old"', '1', 'f', 'none', :'unchanged'],
	'an older save and reading fire nothing');
SELECT is(pg_temp.after(:'note_all', ARRAY[:'delete', :'fired']),
	ARRAY['1', 'AFTER DELETE ROW 1, AFTER DELETE STATEMENT 1, BEFORE DELETE ROW 1, BEFORE DELETE STATEMENT 1', 'nothing'],
	'a deletion fires each DELETE trigger once');
SELECT is(pg_temp.after('SET LOCAL snapshot_store.keep = 2; ' || :'note_all', ARRAY[:'overwrite', :'fired']),
	ARRAY['t', 'AFTER INSERT ROW 1, AFTER INSERT STATEMENT 1, BEFORE INSERT ROW 1, BEFORE INSERT STATEMENT 1',
		'kept/0 v1 n5 "old"; kept/1 v1 n10 "newer"'],
	'a save that adds to a stream inserts, and updates nothing');
SELECT is(pg_temp.after('SET LOCAL snapshot_store.keep_versions = 2; ' || :'note_all' || :'policies' || $$
		CREATE POLICY s ON snapshot_store FOR SELECT USING (true);
		CREATE POLICY i ON snapshot_store FOR INSERT WITH CHECK (true);
		CREATE POLICY u ON snapshot_store FOR UPDATE USING (stream_id <> 'kept')$$,
	ARRAY[:'version_2', :'fired', :'overwrite']),
	ARRAY['t', 'AFTER INSERT ROW 1, AFTER INSERT STATEMENT 1, BEFORE INSERT ROW 1, BEFORE INSERT STATEMENT 1',
		'42501 new row violates row-level security policy (USING expression) for table "snapshot_store"',
		'kept/0 v1 n5 "old"; kept/1 v2 n7 "version 2"'],
	'... even without the lock of the stream, which an UPDATE policy denies');
SELECT is(pg_temp.after('CREATE TRIGGER t BEFORE INSERT ON snapshot_store FOR EACH ROW EXECUTE FUNCTION refuse()',
	ARRAY[:'first', :'load_new', :'overwrite']),
	ARRAY['f', 'none', 't', 'kept/0 v1 n10 "newer"'],
	'a BEFORE INSERT trigger that returns null: false, nothing stored');
SELECT is(pg_temp.after('CREATE TRIGGER t BEFORE UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION refuse()',
	ARRAY[:'overwrite', :'version_2', :'load', :'first']),
	ARRAY['f', 'f', '"old"', 't', 'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'a BEFORE UPDATE trigger that returns null');
SELECT is(pg_temp.after($$
		CREATE FUNCTION churn() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN IF pg_trigger_depth() > 1 THEN RETURN NEW; END IF;
			UPDATE snapshot_store SET created_at = clock_timestamp() WHERE stream_id = NEW.stream_id; RETURN NULL; END';
		CREATE TRIGGER t BEFORE UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION churn()$$,
	ARRAY[:'overwrite', :'load']),
	ARRAY['27000 stream "kept" changes with each attempt to save it', '"old"', 'kept/0 v1 n5 "old"'],
	'one that returns null and makes the row look different each time is not tried for ever');
SELECT is(pg_temp.after('CREATE TRIGGER t BEFORE DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION refuse()',
	ARRAY[:'delete', :'load']),
	ARRAY['0', '"old"', :'unchanged'],
	'a BEFORE DELETE trigger that returns null');
SELECT is(pg_temp.after($$
		INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
		VALUES ('kept', 1, 1, 6, now(), '"second"');
		CREATE TRIGGER t BEFORE DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION refuse()$$,
	ARRAY[:'overwrite', :'load']),
	ARRAY['t', '"newer"', 'kept/0 v1 n10 "newer"; kept/1 v1 n6 "second"'],
	'... to what a save supersedes: it is stored, the superseded one stays');
SELECT is(pg_temp.after('CREATE TRIGGER t BEFORE INSERT OR UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION shout()',
	ARRAY[:'first', :'overwrite', :'load', 'SELECT metadata FROM snapshot_load(''kept'', ARRAY[1])']),
	ARRAY['t', 't', '"NEWER"', '"by trigger"', 'kept/0 v1 n10 "NEWER"; new/0 v1 n1 "FIRST"'],
	'a BEFORE trigger that changes the row');
SELECT is(pg_temp.after('CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION object()',
	ARRAY[:'first', :'overwrite', :'version_2', :'older', :'delete', :'load']),
	ARRAY['P0777 not this one', 'P0777 not this one', 'P0777 not this one', 'f', 'P0777 not this one', '"old"', :'unchanged'],
	'an AFTER trigger that raises: its error, nothing changed');
SELECT is(pg_temp.after('CREATE TRIGGER t BEFORE UPDATE ON snapshot_store FOR EACH STATEMENT EXECUTE FUNCTION object()',
	ARRAY[:'first', :'overwrite', :'older']),
	ARRAY['t', 'P0777 not this one', 'f', 'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'a statement trigger that raises');
SELECT is(pg_temp.after('CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON snapshot_store DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION object()',
	ARRAY[:'first', :'overwrite', :'load', 'SET CONSTRAINTS ALL IMMEDIATE']),
	ARRAY['t', 't', '"newer"', 'P0777 not this one', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'a deferred constraint trigger raises when it is due');
SELECT is(pg_temp.after($$
		CREATE FUNCTION count_them() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN INSERT INTO public.fired SELECT format(''%s to %s'', o.sequence_number, n.sequence_number) FROM o, n; RETURN NULL; END';
		CREATE TRIGGER t AFTER UPDATE ON snapshot_store REFERENCING OLD TABLE AS o NEW TABLE AS n
			FOR EACH STATEMENT EXECUTE FUNCTION count_them()$$,
	ARRAY[:'overwrite', :'fired']),
	ARRAY['t', '5 to 10 1', 'kept/0 v1 n10 "newer"'],
	'transition tables');
SELECT is(pg_temp.after($$
		CREATE TRIGGER t AFTER INSERT OR UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION object();
		ALTER TABLE snapshot_store DISABLE TRIGGER t$$,
	ARRAY[:'first', :'overwrite']),
	ARRAY['t', 't', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'a disabled trigger');
SELECT is(pg_temp.after($$
		CREATE TRIGGER t AFTER UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION object();
		ALTER TABLE snapshot_store ENABLE REPLICA TRIGGER t;
		SET LOCAL session_replication_role = replica$$,
	ARRAY[:'first', :'overwrite']),
	ARRAY['t', 'P0777 not this one', 'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'a replica trigger in a replica session');
SELECT is(pg_temp.after($$
		CREATE FUNCTION save_too() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN IF NEW.stream_id = ''kept'' THEN PERFORM public.snapshot_save(''copy'', NEW.sequence_number, 1, NEW.state); END IF; RETURN NEW; END';
		CREATE TRIGGER t AFTER UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION save_too()$$,
	ARRAY[:'overwrite', 'SELECT snapshot_save(''kept'', 11, 1, ''"newest"'')']),
	ARRAY['t', 't', 'copy/0 v1 n11 "newest"; kept/0 v1 n11 "newest"'],
	'a trigger that saves in its turn');

-- Foreign keys

SELECT is(pg_temp.after($$
		CREATE TABLE streams (id text COLLATE "C" PRIMARY KEY);
		INSERT INTO streams VALUES ('kept');
		ALTER TABLE snapshot_store ADD FOREIGN KEY (stream_id) REFERENCES streams ON DELETE CASCADE$$,
	ARRAY[:'first', :'overwrite', 'none:DELETE FROM streams', :'load']),
	ARRAY['23503 insert or update on table "snapshot_store" violates foreign key constraint "snapshot_store_stream_id_fkey"',
		't', 'done', 'none', 'nothing'],
	'a foreign key to the table of streams');
SELECT is(pg_temp.after($$
		CREATE TABLE pins (stream_id text, slot smallint, FOREIGN KEY (stream_id, slot) REFERENCES snapshot_store);
		INSERT INTO pins VALUES ('kept', 0)$$,
	ARRAY[:'overwrite', :'version_2', :'delete', :'load']),
	ARRAY['t', 't', '23503 update or delete on table "snapshot_store" violates foreign key constraint "pins_stream_id_slot_fkey" on table "pins"',
		'"version 2"', 'kept/0 v2 n7 "version 2"'],
	'a foreign key to the snapshots: an overwrite is no deletion');


-- Indexes

\set by_index 'SELECT set_config(''enable_seqscan'', ''off'', true)'

SELECT is(pg_temp.after('CREATE INDEX ON snapshot_store (sequence_number); CREATE INDEX ON snapshot_store USING gin (metadata); CREATE INDEX ON snapshot_store ((state::text)) WHERE state_schema_version = 1',
	ARRAY[:'first', :'overwrite', :'load', :'by_index',
		'SELECT stream_id FROM snapshot_store WHERE sequence_number = 10',
		'SELECT stream_id FROM snapshot_store WHERE sequence_number = 1',
		'SELECT count(*) FROM snapshot_store WHERE sequence_number = 5',
		'SELECT stream_id FROM snapshot_store WHERE state::text = ''"newer"'' AND state_schema_version = 1',
		'SELECT snapshot_save(''kept'', 11, 1, ''1'', ''{"a": 1}'')',
		'SELECT stream_id FROM snapshot_store WHERE metadata @> ''{"a": 1}''']),
	ARRAY['t', 't', '"newer"', 'off', 'kept', 'new', '0', 'kept', 't', 'kept', 'kept/0 v1 n11 1; new/0 v1 n1 "first"'],
	'added indexes hold what is saved');
SELECT is(pg_temp.after('CREATE UNIQUE INDEX one_of_each ON snapshot_store (sequence_number); SELECT snapshot_save(''other'', 10, 1, ''1'')',
	ARRAY[:'first', 'SELECT snapshot_save(''new'', 10, 1, ''1'')', 'SELECT snapshot_save(''newer'', 10, 1, ''1'')', :'overwrite', :'version_2']),
	ARRAY['t', '23505 duplicate key value violates unique constraint "one_of_each"',
		'23505 duplicate key value violates unique constraint "one_of_each"',
		'23505 duplicate key value violates unique constraint "one_of_each"', 't',
		'kept/0 v2 n7 "version 2"; new/0 v1 n1 "first"; other/0 v1 n10 1'],
	'an added unique index refuses a save, and what was kept stays');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store ADD CONSTRAINT one_of_each UNIQUE (sequence_number) DEFERRABLE INITIALLY DEFERRED',
	ARRAY['SELECT snapshot_save(''new'', 5, 1, ''1'')', 'SET CONSTRAINTS ALL IMMEDIATE', :'overwrite', 'SET CONSTRAINTS ALL IMMEDIATE']),
	ARRAY['t', '23505 duplicate key value violates unique constraint "one_of_each"', 't', 'done',
		'kept/0 v1 n10 "newer"; new/0 v1 n5 1'],
	'a deferred unique constraint');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store ADD CONSTRAINT one_of_each EXCLUDE USING btree (sequence_number WITH =)',
	ARRAY['SELECT snapshot_save(''new'', 5, 1, ''1'')', :'first', :'overwrite', 'SELECT snapshot_save(''new'', 10, 1, ''1'')']),
	ARRAY['23P01 conflicting key value violates exclusion constraint "one_of_each"', 't', 't',
		'23P01 conflicting key value violates exclusion constraint "one_of_each"',
		'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'an exclusion constraint');

-- The key

\set drop_key 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey; '

SELECT is(pg_temp.after(:'drop_key', ARRAY[:'load', :'overwrite', :'older', :'first', :'info', :'delete']),
	ARRAY['"old"', 't', 'f', '42P10 there is no unique or exclusion constraint matching the ON CONFLICT specification',
		'1', '1', 'nothing'],
	'without a key: the server finds nothing to settle a first save by');
SELECT is(pg_temp.after(:'drop_key' || 'ALTER TABLE snapshot_store ADD CONSTRAINT another_name PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version)',
	ARRAY[:'load', :'overwrite', :'older', :'first', :'version_2']),
	ARRAY['"old"', 't', 'f', 't', 't', 'kept/0 v2 n7 "version 2"; new/0 v1 n1 "first"'],
	'a key of another name');
SELECT is(pg_temp.after(:'drop_key' || 'ALTER TABLE snapshot_store ADD PRIMARY KEY (stream_id, slot)',
	ARRAY[:'load', :'overwrite', :'older', :'first', :'version_2']),
	ARRAY['"old"', 't', 'f', 't', 't', 'kept/0 v2 n7 "version 2"; new/0 v1 n1 "first"'],
	'a key without the schema version');
SELECT is(pg_temp.after(:'drop_key' || 'ALTER TABLE snapshot_store ADD PRIMARY KEY (slot, stream_id) INCLUDE (sequence_number)',
	ARRAY[:'load', :'overwrite', :'older', :'first', :'version_2']),
	ARRAY['"old"', 't', 'f', 't', 't', 'kept/0 v2 n7 "version 2"; new/0 v1 n1 "first"'],
	'a key the other way round');
SELECT is(pg_temp.after(:'drop_key' || 'CREATE UNIQUE INDEX ON snapshot_store (stream_id DESC, slot DESC NULLS LAST) INCLUDE (state_schema_version)',
	ARRAY[:'load', :'overwrite', :'older', :'first', 'SET snapshot_store.keep = 2', 'SELECT snapshot_save(''kept'', 12, 1, ''1'')', :'load']),
	ARRAY['"old"', 't', 'f', 't', 'done', 't', '1', 'kept/0 v1 n10 "newer"; kept/1 v1 n12 1; new/0 v1 n1 "first"'],
	'a unique index in descending order in its place');
SELECT is(pg_temp.after(:'drop_key' || 'ALTER TABLE snapshot_store ADD PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version) DEFERRABLE',
	ARRAY[:'load', :'overwrite', :'first']),
	ARRAY['"old"', 't', '55000 ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters',
		'kept/0 v1 n10 "newer"'],
	'a deferrable key settles nothing');
SELECT is(pg_temp.after('REINDEX TABLE snapshot_store', ARRAY[:'load', :'overwrite', :'first', :'load']),
	ARRAY['"old"', 't', 't', '"newer"', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'REINDEX');
SELECT is(pg_temp.after('CLUSTER snapshot_store USING snapshot_store_pkey', ARRAY[:'load', :'overwrite', :'first', :'load']),
	ARRAY['"old"', 't', 't', '"newer"', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'CLUSTER');
SELECT is(pg_temp.after('TRUNCATE snapshot_store', ARRAY[:'load', :'overwrite', :'load', 'none:TRUNCATE snapshot_store', :'load', :'first']),
	ARRAY['none', 't', '"newer"', 'done', 'none', 't', 'new/0 v1 n1 "first"'],
	'TRUNCATE');


-- Columns

SELECT is(pg_temp.after('ALTER TABLE snapshot_store ADD note text, ADD tenant text NOT NULL DEFAULT ''none'', ADD length int GENERATED ALWAYS AS (octet_length(stream_id)) STORED, ADD id bigint GENERATED ALWAYS AS IDENTITY; UPDATE snapshot_store SET note = ''mine''',
	ARRAY[:'first', :'overwrite', 'SELECT concat_ws('' '', note, tenant, length) FROM snapshot_store WHERE stream_id = ''kept''',
		'SELECT concat_ws('' '', note, tenant, length) FROM snapshot_store WHERE stream_id = ''new''',
		'SELECT count(DISTINCT id) FROM snapshot_store', :'load']),
	ARRAY['t', 't', 'mine none 4', 'none 3', '2', '"newer"', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'added columns: a default, a generated one and an identity are filled, one''s own is left alone');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store ADD tenant text; UPDATE snapshot_store SET tenant = ''me''; ALTER TABLE snapshot_store ALTER tenant SET NOT NULL',
	ARRAY[:'first', :'overwrite', :'load']),
	ARRAY['23502 null value in column "tenant" of relation "snapshot_store" violates not-null constraint', 't', '"newer"',
		'kept/0 v1 n10 "newer"'],
	'an added column that must be given refuses a first save');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store ADD note text; ALTER TABLE snapshot_store DROP note',
	ARRAY[:'first', :'overwrite', :'load']),
	ARRAY['t', 't', '"newer"', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'a column added and dropped');
SELECT is((pg_temp.after('ALTER TABLE snapshot_store ALTER sequence_number DROP NOT NULL; UPDATE snapshot_store SET sequence_number = NULL',
	ARRAY[:'load', :'overwrite']))[:2],
	array_fill('XX001 a snapshot in table "snapshot_store" has a null in a column that must not have one'::text, ARRAY[2]),
	'a null in place of the sequence number is no 0');
SELECT is((pg_temp.after('ALTER TABLE snapshot_store ALTER state_schema_version DROP NOT NULL, DROP CONSTRAINT snapshot_store_pkey; UPDATE snapshot_store SET state_schema_version = NULL',
	ARRAY[$$SELECT count(*) FROM snapshot_load('kept', '{0,1}')$$]))[:1],
	ARRAY['0'], 'a null in place of the schema version is not recognized as 0');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store DROP metadata', ARRAY[:'load', :'first', :'overwrite', :'delete']),
	ARRAY['42703 column "metadata" does not exist', '42703 column "metadata" of relation "snapshot_store" does not exist',
		'42703 column "metadata" of relation "snapshot_store" does not exist', '1', 'nothing'],
	'a dropped column is missed, but for deleting');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store RENAME metadata TO extra', ARRAY[:'load', :'first']),
	ARRAY['42703 column "metadata" does not exist', '42703 column "metadata" of relation "snapshot_store" does not exist', :'unchanged'],
	'so is a renamed one');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store DROP metadata; ALTER TABLE snapshot_store ADD metadata jsonb',
	ARRAY[:'first', :'overwrite', :'load', 'SELECT snapshot_save(''kept'', 11, 1, ''1'', ''{"a": 1}'')',
		'SELECT metadata FROM snapshot_load(''kept'', ARRAY[1])']),
	ARRAY['t', 't', '"newer"', 't', '{"a": 1}', 'kept/0 v1 n11 1; new/0 v1 n1 "first"'],
	'one that has come back in another place is found');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store ALTER stream_id TYPE text COLLATE "POSIX"', ARRAY[:'first', :'overwrite', :'older', :'load']),
	ARRAY['t', 't', 'f', '"newer"', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'another collation');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store ALTER state SET COMPRESSION pglz, ALTER state SET STORAGE EXTERNAL, ALTER created_at SET DEFAULT now(); ALTER TABLE snapshot_store SET (fillfactor = 50)',
	ARRAY[:'first', :'overwrite', :'load']),
	ARRAY['t', 't', '"newer"', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'other storage');

-- CHECKs

SELECT is(pg_temp.after('ALTER TABLE snapshot_store ADD CONSTRAINT mine CHECK (sequence_number < 8)',
	ARRAY[:'first', :'overwrite', :'version_2', 'SELECT snapshot_save(''newer'', 9, 1, ''1'')']),
	ARRAY['t', '23514 new row for relation "snapshot_store" violates check constraint "mine"', 't',
		'23514 new row for relation "snapshot_store" violates check constraint "mine"',
		'kept/0 v2 n7 "version 2"; new/0 v1 n1 "first"'],
	'an added CHECK refuses');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store ADD CONSTRAINT mine CHECK (sequence_number > 5) NOT VALID',
	ARRAY[:'load', :'first', :'overwrite']),
	ARRAY['"old"', '23514 new row for relation "snapshot_store" violates check constraint "mine"', 't',
		'kept/0 v1 n10 "newer"'],
	'one that is not validated refuses too');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_slot_check, ADD CONSTRAINT snapshot_store_slot_check CHECK (slot < 1); SET LOCAL snapshot_store.keep = 2',
	ARRAY[:'overwrite', :'first']),
	ARRAY['23514 new row for relation "snapshot_store" violates check constraint "snapshot_store_slot_check"', 't',
		'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'one of the same name that says something else');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_slot_check, DROP CONSTRAINT snapshot_store_one_state_check',
	ARRAY[:'first', :'overwrite', :'load', 'SELECT snapshot_save(''kept'', -1, 1, ''1'')']),
	ARRAY['t', 't', '"newer"', '22003 sequence_number must not be negative', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'dropped CHECKs are not missed');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_one_state_check; UPDATE snapshot_store SET state = NULL',
	ARRAY[:'load', 'SELECT state FROM snapshot_load_bytea(''kept'', ARRAY[1])',
		'SELECT state FROM snapshot_load_many(ARRAY[''new'', ''kept''], ARRAY[1])',
		'SELECT state FROM snapshot_load_many_bytea(ARRAY[''new'', ''kept''], ARRAY[1])',
		'SELECT concat(sequence_number, '': '', state_size) FROM snapshot_info(''kept'')', :'due', :'older', :'overwrite', :'load']),
	ARRAY['XX001 the snapshot of stream "kept" has no state', 'XX001 the snapshot of stream "kept" has no state',
		'XX001 the snapshot of stream "kept" has no state', 'XX001 the snapshot of stream "kept" has no state',
		'5: 0', 'f', 'f', 't', '"newer"', 'kept/0 v1 n10 "newer"'],
	'a row without a state cannot be loaded; else it counts, until a save replaces it');
SELECT is(pg_temp.after($$
		CREATE DOMAIN small AS bigint CHECK (VALUE < 8);
		ALTER TABLE snapshot_store ALTER sequence_number TYPE small$$,
	ARRAY[:'first', :'overwrite', :'load']),
	ARRAY['t', '23514 value for domain small violates check constraint "small_check"', '"old"',
		'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'a domain refuses');


-- Another kind of table

SELECT is(pg_temp.after($$
		CREATE TABLE child () INHERITS (snapshot_store);
		INSERT INTO child (stream_id, slot, state_schema_version, sequence_number, created_at, state)
		VALUES ('child', 0, 1, 5, now(), '"in the child"');
		GRANT ALL ON child TO snapshot_test_app$$,
	ARRAY['SELECT state FROM snapshot_load(''child'', ARRAY[1])', :'overwrite', :'first',
		'SELECT snapshot_save(''child'', 3, 1, ''1'')', 'SELECT snapshot_save(''child'', 6, 1, ''"newer"'')',
		'SELECT count(*) FROM ONLY snapshot_store', :'delete']),
	ARRAY['"in the child"', 't', 't', 'f', 't', '2', '1', 'child/0 v1 n6 "newer"; new/0 v1 n1 "first"'],
	'a child table belongs to the table');
SELECT is(pg_temp.after('CREATE UNLOGGED TABLE child () INHERITS (snapshot_store)', ARRAY[:'overwrite', :'delete', :'load']),
	ARRAY['55000 snapshots in table "public.snapshot_store" would not be durable',
		'55000 snapshots in table "public.snapshot_store" would not be durable', '"old"', :'unchanged'],
	'an unlogged child is refused');
SELECT is(pg_temp.after($$
		CREATE TABLE parent (LIKE snapshot_store INCLUDING CONSTRAINTS);
		ALTER TABLE snapshot_store INHERIT parent$$,
	ARRAY[:'load', :'overwrite', :'first']),
	ARRAY['"old"', 't', 't', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'the table as a child of another');

-- The table as the extension made it goes aside, and another takes its name.
\set replace 'ALTER EXTENSION snapshot_store DROP TABLE snapshot_store; ALTER TABLE snapshot_store RENAME TO put_aside; '

SELECT is(pg_temp.after(:'replace' || $$
		CREATE TABLE snapshot_store (LIKE put_aside INCLUDING CONSTRAINTS,
			PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version)) PARTITION BY HASH (stream_id);
		CREATE TABLE part_0 PARTITION OF snapshot_store FOR VALUES WITH (MODULUS 3, REMAINDER 0);
		CREATE TABLE part_1 PARTITION OF snapshot_store FOR VALUES WITH (MODULUS 3, REMAINDER 1);
		CREATE TABLE part_2 PARTITION OF snapshot_store FOR VALUES WITH (MODULUS 3, REMAINDER 2);
		INSERT INTO snapshot_store SELECT * FROM put_aside;
		GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_app$$,
	ARRAY['SELECT count(*) FILTER (WHERE snapshot_save(format(''s%s'', n), 1, 1, ''1'')) FROM generate_series(1, 9) AS n',
		'SELECT count(*) FILTER (WHERE snapshot_save(format(''s%s'', n), 2, 1, ''2'')) FROM generate_series(1, 9) AS n',
		'SELECT count(*) FROM snapshot_store WHERE state::text = ''2''', :'overwrite', :'older', :'load',
		'SELECT sum(snapshot_delete(format(''s%s'', n))) FROM generate_series(1, 9) AS n']),
	ARRAY['9', '9', '9', 't', 'f', '"newer"', '9', 'kept/0 v1 n10 "newer"'],
	'a partitioned table in its place');
SELECT is(pg_temp.after(:'replace' || $$
		CREATE TABLE snapshot_store (LIKE put_aside INCLUDING ALL);
		GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_app$$,
	ARRAY[:'load', :'overwrite', :'first', 'none:SELECT count(*) FROM put_aside']),
	ARRAY['none', 't', 't', '1', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'a copy of it in its place');
SELECT is(pg_temp.after(:'replace' || $$
		CREATE VIEW snapshot_store AS SELECT * FROM put_aside;
		GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_app$$,
	ARRAY[:'load', :'overwrite', :'first', :'delete', 'SET snapshot_store.durable = off', :'load', :'overwrite', :'older', :'first', :'delete']),
	ARRAY['"old"', '55000 snapshots in table "public.snapshot_store" would not be durable',
		'55000 snapshots in table "public.snapshot_store" would not be durable',
		'55000 snapshots in table "public.snapshot_store" would not be durable', 'done', '"old"', 't', 'f', 't', '1',
		'new/0 v1 n1 "first"'],
	'a view over it: for saving, nobody knows how durable');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store RENAME TO put_aside; CREATE TEMP TABLE snapshot_store (LIKE put_aside INCLUDING ALL)',
	ARRAY[:'load', :'first', 'none:DROP TABLE snapshot_store', 'none:ALTER TABLE put_aside RENAME TO snapshot_store', :'load', :'overwrite']),
	ARRAY['42P01 table "snapshot_store" does not exist in schema "public"',
		'42P01 table "snapshot_store" does not exist in schema "public"', 'done', 'done', '"old"', 't', 'kept/0 v1 n10 "newer"'],
	'renamed, missed (a temporary one of the name is not it), and back');


-- The table's owner is a stranger, and what the table gives is input

-- A function that gives another answer with each call in a transaction; since it is said to be stable, the server
-- calls it again for the result of a row that its WHERE has let through.
\set alternating 'CREATE FUNCTION nth_call() RETURNS int STABLE LANGUAGE plpgsql AS $f$BEGIN PERFORM set_config(''test.n'', (coalesce(nullif(current_setting(''test.n'', true), ''''), ''0'')::int + 1)::text, true); RETURN current_setting(''test.n''); END$f$; '
\set census   'SELECT count(*) FROM snapshot_census('''')'
\set outdated 'SELECT count(*) FROM snapshot_outdated('''', ARRAY[7])'

SELECT is(pg_temp.after($$
		ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_state_schema_version_check;
		INSERT INTO snapshot_store SELECT 'kept', g, -2 - g, 1, now(), '{}' FROM generate_series(1, 2) AS g$$,
	ARRAY[:'overwrite', :'load', :'info']),
	ARRAY['XX001 a snapshot in table "snapshot_store" has a number out of range', '"old"',
		'XX001 a snapshot in table "snapshot_store" has a number out of range',
		'kept/0 v1 n5 "old"; kept/1 v-3 n1 {}; kept/2 v-4 n1 {}'],
	'versions below 0');
SELECT is((pg_temp.after($$
		ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_state_schema_version_check;
		INSERT INTO snapshot_store SELECT 'full', g, -2 - g, 1, now(), '{}' FROM generate_series(0, 32767) AS g$$,
	ARRAY['SELECT snapshot_save(''full'', 1, 1, ''{}'')']))[1],
	'XX001 a snapshot in table "snapshot_store" has a number out of range', 'in every slot');
SELECT is((pg_temp.after($$
		INSERT INTO snapshot_store SELECT 'full', g, g, 1, now(), '{}' FROM generate_series(0, 32767) AS g$$,
	ARRAY['SELECT snapshot_save(''full'', 2, 5, ''"new"'')',
		'SELECT string_agg(slot || '' v'' || state_schema_version || '' n'' || sequence_number, '', '') FROM snapshot_store WHERE stream_id = ''full''']))[:2],
	ARRAY['t', '0 v5 n2'], 'a version in every slot goes');
SELECT is((pg_temp.after(format('ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_%s_check; UPDATE snapshot_store SET %1$s = %s',
								v.name, v.value), ARRAY[:'load', :'overwrite', :'info', :'due'], 'none'))[:4],
	array_fill('XX001 a snapshot in table "snapshot_store" has a number out of range'::text, ARRAY[4]),
	format('%s %s', v.name, v.value))
FROM (VALUES ('slot', -1), ('slot', -32768), ('sequence_number', -1), ('sequence_number', -9223372036854775808))
	AS v (name, value);
SELECT is((pg_temp.after('SET LOCAL snapshot_store.durable = off; ' || :'replace' || $$
		CREATE VIEW snapshot_store AS SELECT 'kept' COLLATE "C" AS stream_id, 0::int2 AS slot, 1::int8 AS state_schema_version,
			1::int8 AS sequence_number, now() AS created_at, '{}'::json AS state, NULL::bytea AS state_bytea,
			NULL::jsonb AS metadata FROM generate_series(1, 40000)$$,
	ARRAY[:'load', :'overwrite', :'info', :'census', :'outdated'], 'none'))[:5],
	array_cat(array_fill('XX001 stream "kept" has more snapshots than slots'::text, ARRAY[3]),
			  array_fill('XX001 the keys of table "snapshot_store" are not in their order'::text, ARRAY[2])),
	'a view that gives one row again and again');
SELECT is((pg_temp.after(:'replace' || :'alternating' || format($$
		CREATE VIEW snapshot_store AS SELECT CASE WHEN %s THEN 'kept' COLLATE "C" END AS stream_id,
			CASE WHEN %s THEN 0::int2 END AS slot, CASE WHEN %s THEN 1::int8 END AS state_schema_version,
			1::int8 AS sequence_number, now() AS created_at, '{}'::json AS state, NULL::bytea AS state_bytea$$,
		v.stream_id, v.slot, v.version),
	ARRAY[c.call], 'none'))[1],
	'XX001 a snapshot in table "snapshot_store" has a null in a column that must not have one',
	format('a view that gives NULL as %s, when it is too late for a WHERE: %s', v.name, c.call))
FROM (VALUES ('a name', 'nth_call() = 1', 'true', 'true'), ('a slot', 'true', 'false', 'true'),
			 ('a version', 'true', 'true', 'false')) AS v (name, stream_id, slot, version),
	 (VALUES (:'census'), (:'outdated')) AS c (call);
-- (To count what a load found takes a look more.)
SELECT is((pg_temp.after('SET LOCAL snapshot_store.track = off; ' || :'replace' || :'alternating' || format($$
		CREATE VIEW snapshot_store AS SELECT %s COLLATE "C" AS stream_id, 0::int2 AS slot, %s AS state_schema_version, 5::int8 AS sequence_number,
			now() AS created_at, '"lie"'::json AS state, NULL::bytea AS state_bytea, NULL::jsonb AS metadata$$, v.stream_id, v.version),
	ARRAY[:'load', 'SELECT count(*) FROM snapshot_load_many(ARRAY[''kept''], ARRAY[1])', :'due'], 'none'))[:3],
	ARRAY['none', '0', v.due], format('a view that shows a WHERE another %s', v.name))
FROM (VALUES ('name', 'CASE WHEN nth_call() % 2 = 1 THEN ''kept'' ELSE ''other'' END', '1::int8', 't'),
			 ('version', '''kept''', 'CASE WHEN nth_call() % 2 = 1 THEN 1::int8 ELSE 99 END', 'f')) AS v (name, stream_id, version, due);
SELECT is((pg_temp.after(:'replace' || $$
		CREATE FUNCTION drops() RETURNS bytea LANGUAGE plpgsql AS
			'BEGIN DROP EXTENSION IF EXISTS snapshot_store CASCADE; RETURN ''x''; END';
		CREATE VIEW snapshot_store AS SELECT stream_id, slot, state_schema_version, sequence_number, created_at,
			NULL::json AS state, drops() AS state_bytea, metadata
			FROM (VALUES ('kept' COLLATE "C", 0::int2, 1::int8, 5::int8, now(), NULL::jsonb))
				AS v (stream_id, slot, state_schema_version, sequence_number, created_at, metadata)$$,
	ARRAY[:'load', 'SELECT count(*) FROM snapshot_load_many(ARRAY[''kept''], ARRAY[1])'], 'none'))[:2],
	array_fill('42883 the function that is running does not exist any more'::text, ARRAY[2]),
	'a view that drops the extension while its function is running');
SELECT is((pg_temp.after('ALTER TYPE loaded_snapshot ADD ATTRIBUTE more int', ARRAY[:'load', :'overwrite']))[:2],
	ARRAY['55000 unexpected result type of snapshot_load', 't'], 'another result of a load');

-- Triggers that delete the row and insert one of another version, which keeps the new snapshot from where it is to go.
\set shuffle 'CREATE FUNCTION shuffle() RETURNS trigger LANGUAGE plpgsql AS $f$BEGIN IF pg_trigger_depth() > 1 OR nth_call() > TG_ARGV[0]::int THEN RETURN NEW; END IF; DELETE FROM snapshot_store WHERE stream_id = OLD.stream_id AND slot = OLD.slot; INSERT INTO snapshot_store VALUES (OLD.stream_id, OLD.slot, 100 + nth_call(), 1, OLD.created_at, ''"another"''); RETURN NULL; END$f$; SET LOCAL snapshot_store.keep_versions = 2; INSERT INTO snapshot_store VALUES (''kept'', 1, 2, 1, clock_timestamp(), ''"second"''); '
SELECT is(pg_temp.after(:'alternating' || :'shuffle' || format('CREATE TRIGGER t BEFORE UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION shuffle(%s)', v.times),
	ARRAY['SELECT snapshot_save(''kept'', 7, 3, ''"third"'')']), v.expected, v.description)
FROM (VALUES (300, ARRAY['t', 'kept/0 v3 n7 "third"; kept/1 v2 n1 "second"'], 'a trigger that changes the row 150 times: stored in the end'),
			 (100000, ARRAY['27000 stream "kept" changes with each attempt to save it', 'kept/0 v1 n5 "old"; kept/1 v2 n1 "second"'],
			  'one that changes it each time: an error, since nothing newer is kept')) AS v (times, expected, description);

-- Columns of other properties: both ways store the same.
SELECT is(pg_temp.after('ALTER TABLE snapshot_store ALTER created_at TYPE timestamptz(0)',
	ARRAY['SELECT snapshot_save(''kept'', 6, 1, ''6'', created_at => ''2024-01-01 00:00:00.6+00'')',
		'SELECT created_at AT TIME ZONE ''UTC'' FROM snapshot_load(''kept'', ARRAY[1])']),
	ARRAY['t', '2024-01-01 00:00:01', 'kept/0 v1 n6 6'], 'a created_at of whole seconds');
SELECT is((pg_temp.after(format('ALTER TABLE snapshot_store ALTER stream_id TYPE %s', v.type),
	ARRAY[:'overwrite', :'older', :'load', :'info', :'census', :'outdated']))[:6], v.expected, 'stream_id as ' || v.type)
FROM (VALUES
	('varchar COLLATE "C"', ARRAY['t', 'f', '"newer"', '1', '1', '1']),
	('varchar(100)', array_fill('55000 column "stream_id" of table "snapshot_store" does not tell streams apart by the bytes of their names'::text, ARRAY[6])),
	('char(100)', array_fill('55000 column "stream_id" of table "snapshot_store" does not tell streams apart by the bytes of their names'::text, ARRAY[6])),
	('text COLLATE "POSIX"', ARRAY['t', 'f', '"newer"', '1',
		'55000 column "stream_id" of table "snapshot_store" does not have the collation "C"',
		'55000 column "stream_id" of table "snapshot_store" does not have the collation "C"'])) AS v (type, expected);
SELECT is((pg_temp.after(:'replace' || 'CREATE INDEX snapshot_store ON put_aside (slot) INCLUDE (stream_id)', ARRAY[:'load', :'census', 'DROP INDEX snapshot_store', 'ALTER TABLE put_aside RENAME TO snapshot_store'], 'none'))[:2],
	array_fill('55000 column "stream_id" of table "snapshot_store" does not tell streams apart by the bytes of their names'::text, ARRAY[2]),
	'an index in its place');
SELECT is((pg_temp.after('ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_slot_check; UPDATE snapshot_store SET slot = -32768',
	ARRAY['SELECT snapshots FROM snapshot_census(''kept'')', 'SELECT count(*) FROM snapshot_outdated(''kept'', ARRAY[7])'], 'none'))[:2],
	ARRAY['1', '1'], 'the lowest slot there can be, of the stream whose name is the prefix');
SELECT CASE WHEN EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') THEN (
	SELECT is((pg_temp.after($$
			CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
			ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey;
			CREATE UNIQUE INDEX ON snapshot_store (stream_id COLLATE any_case, slot)$$,
		ARRAY['SELECT snapshot_save(''KEPT'', 6, 1, ''6'')', :'load']))[:2],
		array_fill('55000 column "stream_id" of table "snapshot_store" does not tell streams apart by the bytes of their names'::text, ARRAY[2]),
		'a unique index for which KEPT is kept'))
	ELSE skip('the server has no ICU', 1) END;
SELECT CASE WHEN EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') THEN (
	SELECT is((pg_temp.after($$
			CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
			CREATE UNIQUE INDEX ON snapshot_store ((state::text) COLLATE any_case)$$,
		ARRAY['SELECT snapshot_save(''KEPT'', 6, 1, ''6'')', :'load']))[:2], ARRAY['t', '"old"'], 'one of something else'))
	ELSE skip('the server has no ICU', 1) END;
SELECT CASE WHEN EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') THEN (
	SELECT is((pg_temp.after($$
			CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
			ALTER TABLE snapshot_store ALTER stream_id TYPE text COLLATE any_case$$,
		ARRAY['SELECT state FROM snapshot_load(''KEPT'', ARRAY[1])', 'SELECT snapshot_save(''KEPT'', 6, 1, ''6'')',
			'SELECT snapshot_delete(''KEPT'')', :'due', :'info', :'census']))[:6],
		array_fill('55000 column "stream_id" of table "snapshot_store" does not tell streams apart by the bytes of their names'::text, ARRAY[6]),
		'stream_id as text of a collation for which KEPT is kept'))
	ELSE skip('the server has no ICU', 1) END;


-- Names that are planted

\set plant 'CREATE SCHEMA planted; GRANT ALL ON SCHEMA planted TO PUBLIC; '

CREATE FUNCTION pg_temp.plant() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	operator text;
	type text;
BEGIN
	FOREACH type IN ARRAY ARRAY['text', 'bigint', 'smallint', 'boolean', 'json', 'bytea', 'timestamptz', 'integer'] LOOP
		EXECUTE format('CREATE FUNCTION planted.caught(%1$s, %1$s) RETURNS boolean LANGUAGE plpgsql AS '
					   '''BEGIN RAISE EXCEPTION ''''caught''''; END''', type);
		FOREACH operator IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>='] LOOP
			EXECUTE format('CREATE OPERATOR planted.%s (FUNCTION = planted.caught, LEFTARG = %s, RIGHTARG = %2$s)',
						   operator, type);
		END LOOP;
	END LOOP;
	CREATE FUNCTION planted.num_nonnulls(json, bytea) RETURNS integer LANGUAGE sql AS 'SELECT 1/0';
	CREATE FUNCTION planted.octet_length(text) RETURNS integer LANGUAGE sql AS 'SELECT 1/0';
	CREATE FUNCTION planted.octet_length(bytea) RETURNS integer LANGUAGE sql AS 'SELECT 1/0';
	CREATE FUNCTION planted.pg_column_size(json) RETURNS integer LANGUAGE sql AS 'SELECT 1/0';
	CREATE FUNCTION planted.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
	CREATE FUNCTION planted.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
	CREATE FUNCTION planted.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1/0::bigint';
	CREATE DOMAIN planted.text AS pg_catalog.text CHECK (false);
	CREATE DOMAIN planted.int8 AS pg_catalog.int8 CHECK (false);
	CREATE DOMAIN planted.int2 AS pg_catalog.int2 CHECK (false);
	CREATE DOMAIN planted.json AS pg_catalog.json CHECK (false);
	CREATE DOMAIN planted.jsonb AS pg_catalog.jsonb CHECK (false);
	CREATE DOMAIN planted.snapshot_state AS public.snapshot_state CHECK (false);
	CREATE FUNCTION planted.pg_column_size(public.snapshot_state) RETURNS integer LANGUAGE sql AS 'SELECT 1/0';
	CREATE DOMAIN planted.bytea AS pg_catalog.bytea CHECK (false);
	CREATE DOMAIN planted.timestamptz AS pg_catalog.timestamptz CHECK (false);
	CREATE TABLE planted.snapshot_store (LIKE public.snapshot_store INCLUDING ALL);
	INSERT INTO planted.snapshot_store SELECT s.stream_id, s.slot, 1, 99, s.created_at, '"planted"'
		FROM public.snapshot_store AS s;
	GRANT ALL ON planted.snapshot_store TO PUBLIC;
END
$$;
\set hostile 'SET LOCAL search_path = planted, public, pg_catalog'

SELECT is(pg_temp.after(:'plant' || 'SELECT pg_temp.plant(); ' || :'hostile',
	ARRAY['SELECT state FROM public.snapshot_load(''kept'', ARRAY[1, 2])',
		'SELECT public.snapshot_save(''new'', 1, 1, ''"first"'')',
		'SELECT public.snapshot_save(''kept'', 10, 1, ''"newer"'')',
		'SELECT public.snapshot_save(''kept'', 3, 1, ''"older"'')',
		'SELECT public.snapshot_save(''kept'', 7, 2, ''"version 2"'')',
		'SELECT sequence_number FROM public.snapshot_info(''kept'')',
		'SELECT public.snapshot_due(''kept'', ARRAY[2], 12, 5)',
		'SELECT public.snapshot_delete(''new'')',
		'SELECT public.snapshot_save_bytea(''new'', 1, 1, ''\x01'')',
		'SELECT state FROM public.snapshot_load_bytea(''new'', ARRAY[1])']),
	ARRAY['"old"', 't', 't', 'f', 't', '7', 't', '1', 't', '\x01', 'kept/0 v2 n7 "version 2"; new/0 v1 n1 '],
	'operators, functions, types and a table ahead in the search_path are not picked up');
SELECT is(pg_temp.after(:'plant' || $$
		SELECT pg_temp.plant();
		DROP EXTENSION snapshot_store CASCADE;
		CREATE SCHEMA store;
		GRANT USAGE ON SCHEMA store TO PUBLIC;
		SET LOCAL search_path = planted, pg_catalog;
		CREATE EXTENSION snapshot_store SCHEMA store;
		GRANT ALL ON store.snapshot_store TO snapshot_test_app;
		SET LOCAL snapshot_store.keep = 2$$,
	ARRAY['SELECT store.snapshot_save(''a'', 1, 1, ''1'')', 'SELECT store.snapshot_save(''a'', 2, 1, ''2'')',
		'SELECT store.snapshot_save(''a'', 3, 1, ''3'')', 'SELECT state FROM store.snapshot_load(''a'', ARRAY[1], 2)',
		'SELECT store.snapshot_delete(''a'', 2)'], schema_name => 'store'),
	ARRAY['t', 't', 't', '2', '1', 'a/0 v1 n3 3'],
	'nor are they by CREATE EXTENSION and by plans that are made then');
SELECT is(pg_temp.after('CREATE TEMP TABLE snapshot_store (LIKE public.snapshot_store INCLUDING ALL)',
	ARRAY[:'first', :'overwrite', :'load', 'none:SELECT count(*) FROM pg_temp.snapshot_store']),
	ARRAY['t', 't', '"newer"', '0', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'a temporary table of the name is not it');
SELECT is(pg_temp.after('CREATE SCHEMA nearer; GRANT USAGE ON SCHEMA nearer TO PUBLIC; CREATE VIEW nearer.snapshot_store AS SELECT 1 AS one; SET LOCAL search_path = nearer, public',
	ARRAY[:'first', :'overwrite', :'load', :'delete']),
	ARRAY['t', 't', '"newer"', '1', 'new/0 v1 n1 "first"'],
	'nor a view in a nearer schema');
SELECT is(pg_temp.after('SET LOCAL search_path = ''''',
	ARRAY['SELECT public.snapshot_save(''kept'', 10, 1, ''"newer"'')', 'SELECT state FROM public.snapshot_load(''kept'', ARRAY[1])']),
	ARRAY['t', '"newer"', 'kept/0 v1 n10 "newer"'],
	'an empty search_path');


-- Privileges

\set denied '42501 permission denied for table snapshot_store'

SELECT is(pg_temp.after('REVOKE SELECT ON snapshot_store FROM snapshot_test_app',
	ARRAY[:'first', :'overwrite', :'older', :'delete', :'load', :'load_new', :'info', :'due']),
	ARRAY[:'denied', :'denied', :'denied', :'denied', :'denied', :'denied', :'denied', :'denied', :'unchanged'],
	'without SELECT: nothing');
SELECT is(pg_temp.after('REVOKE INSERT ON snapshot_store FROM snapshot_test_app',
	ARRAY[:'first', :'overwrite', :'older', :'delete', :'load', :'info', :'due']),
	ARRAY[:'denied', :'denied', :'denied', '1', 'none', '0', 't', 'nothing'],
	'without INSERT: no save');
SELECT is(pg_temp.after('REVOKE UPDATE ON snapshot_store FROM snapshot_test_app',
	ARRAY[:'first', :'overwrite', :'older', :'load', :'delete']),
	ARRAY[:'denied', :'denied', :'denied', '"old"', '1', 'nothing'],
	'without UPDATE: no save');
SELECT is(pg_temp.after('REVOKE DELETE ON snapshot_store FROM snapshot_test_app',
	ARRAY[:'first', :'overwrite', :'older', :'load', :'delete']),
	ARRAY[:'denied', :'denied', :'denied', '"old"', :'denied', :'unchanged'],
	'without DELETE: no save, no deletion');
SELECT is(pg_temp.after('GRANT INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_other',
	ARRAY[:'load', 'snapshot_test_other:' || :'load', :'load', 'snapshot_test_other:' || :'overwrite', :'overwrite',
		'none:GRANT SELECT ON snapshot_store TO snapshot_test_other', 'snapshot_test_other:' || :'load',
		'none:REVOKE SELECT ON snapshot_store FROM snapshot_test_app', :'load']),
	ARRAY['"old"', :'denied', '"old"', :'denied', 't', 'done', '"newer"', 'done', :'denied', 'kept/0 v1 n10 "newer"'],
	'roles that change and grants that come and go within one session');
SELECT is(pg_temp.after('GRANT snapshot_test_app TO snapshot_test_other',
	ARRAY[:'load', :'overwrite', 'none:REVOKE snapshot_test_app FROM snapshot_test_other', :'load'], 'snapshot_test_other'),
	ARRAY['"old"', 't', 'done', :'denied', 'kept/0 v1 n10 "newer"'],
	'a member of a role that may');
SELECT is(pg_temp.after('GRANT pg_read_all_data TO snapshot_test_other',
	ARRAY[:'load', :'overwrite', 'none:GRANT pg_write_all_data TO snapshot_test_other', :'overwrite'], 'snapshot_test_other'),
	ARRAY['"old"', :'denied', 'done', 't', 'kept/0 v1 n10 "newer"'],
	'pg_read_all_data and pg_write_all_data');
SELECT is(pg_temp.after('GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO PUBLIC', ARRAY[:'load', :'overwrite'], 'snapshot_test_other'),
	ARRAY['"old"', 't', 'kept/0 v1 n10 "newer"'],
	'everybody may');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store OWNER TO snapshot_test_other; REVOKE INSERT ON snapshot_store FROM snapshot_test_other',
	ARRAY[:'load', :'overwrite', 'GRANT INSERT ON snapshot_store TO snapshot_test_other', :'overwrite'], 'snapshot_test_other'),
	ARRAY['"old"', :'denied', 'done', 't', 'kept/0 v1 n10 "newer"'],
	'an owner who took a privilege from themselves');

\set every_column '(stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata)'
\set but_metadata '(stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea)'

SELECT is(pg_temp.after('GRANT SELECT ' || :'every_column' || ', INSERT ' || :'every_column' || ', UPDATE ' || :'every_column'
		|| ', DELETE ON snapshot_store TO snapshot_test_other',
	ARRAY[:'load', :'info', :'due', :'first', :'overwrite', :'older', :'version_2', :'delete'], 'snapshot_test_other'),
	ARRAY['"old"', '1', 'f', 't', 't', 'f', 't', '1', 'new/0 v1 n1 "first"'],
	'privileges on every column do');
SELECT is(pg_temp.after('GRANT SELECT ' || :'but_metadata' || ', INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_other',
	ARRAY[:'load', :'first', :'overwrite'], 'snapshot_test_other'),
	ARRAY[:'denied', :'denied', :'denied', :'unchanged'],
	'SELECT on all but one does not');
SELECT is(pg_temp.after('GRANT SELECT, INSERT, UPDATE ' || :'but_metadata' || ', DELETE ON snapshot_store TO snapshot_test_other',
	ARRAY[:'load', :'first', :'overwrite', :'older'], 'snapshot_test_other'),
	ARRAY['"old"', :'denied', :'denied', :'denied', :'unchanged'],
	'nor UPDATE');
SELECT is(pg_temp.after('GRANT SELECT, INSERT ' || :'but_metadata' || ', UPDATE, DELETE ON snapshot_store TO snapshot_test_other',
	ARRAY[:'load', :'first', :'overwrite', :'older'], 'snapshot_test_other'),
	ARRAY['"old"', :'denied', :'denied', :'denied', :'unchanged'],
	'nor INSERT');

\set in_store 'DROP EXTENSION snapshot_store; CREATE SCHEMA store; CREATE EXTENSION snapshot_store SCHEMA store; GRANT SELECT, INSERT, UPDATE, DELETE ON store.snapshot_store TO snapshot_test_app; SELECT store.snapshot_save(''kept'', 5, 1, ''"old"''); '

SELECT is(pg_temp.after(:'in_store' || 'GRANT USAGE ON SCHEMA store TO snapshot_test_app',
	ARRAY['SELECT state FROM store.snapshot_load(''kept'', ARRAY[1])', 'SELECT store.snapshot_save(''kept'', 10, 1, ''"newer"'')',
		'none:REVOKE USAGE ON SCHEMA store FROM snapshot_test_app',
		'SELECT state FROM store.snapshot_load(''kept'', ARRAY[1])', 'SELECT store.snapshot_save(''kept'', 11, 1, ''"newest"'')'],
	schema_name => 'store'),
	ARRAY['"old"', 't', 'done', '42501 permission denied for schema store', '42501 permission denied for schema store',
		'kept/0 v1 n10 "newer"'],
	'without USAGE on the schema');
SELECT is(pg_temp.after(:'in_store' || $$
		CREATE VIEW public.loaded AS SELECT l.state FROM store.snapshot_load('kept', ARRAY[1]) AS l;
		CREATE VIEW public.saved AS SELECT store.snapshot_save('kept', 10, 1, '"newer"') AS t;
		GRANT SELECT ON public.loaded, public.saved TO snapshot_test_app$$,
	ARRAY['SELECT * FROM loaded', 'SELECT * FROM saved', 'none:GRANT USAGE ON SCHEMA store TO snapshot_test_app',
		'SELECT * FROM loaded', 'SELECT * FROM saved'], schema_name => 'store'),
	ARRAY['42501 permission denied for schema store', '42501 permission denied for schema store', 'done', '"old"', 't',
		'kept/0 v1 n10 "newer"'],
	'... also when a view in another schema calls');
SELECT is(pg_temp.after($$
		CREATE FUNCTION save_for_you(text, bigint) RETURNS boolean LANGUAGE sql SECURITY DEFINER
			AS 'SELECT public.snapshot_save($1, $2, 1, ''"for you"'')';
		CREATE FUNCTION load_for_you(text) RETURNS json LANGUAGE sql SECURITY DEFINER
			AS 'SELECT state FROM public.snapshot_load($1, ARRAY[1])'$$,
	ARRAY[:'load', 'SELECT load_for_you(''kept'')', :'overwrite', 'SELECT save_for_you(''kept'', 10)',
		'SELECT save_for_you(''new'', 1)', 'SELECT load_for_you(''new'')', :'load'], 'snapshot_test_other'),
	ARRAY[:'denied', '"old"', :'denied', 't', 't', '"for you"', :'denied', 'kept/0 v1 n10 "for you"; new/0 v1 n1 "for you"'],
	'a SECURITY DEFINER function lends its owner''s privileges, and only while it runs');
SELECT is(pg_temp.after('REVOKE EXECUTE ON FUNCTION snapshot_save(text, bigint, bigint, json, json, timestamptz, boolean) FROM PUBLIC',
	ARRAY[:'load', :'overwrite']),
	ARRAY['"old"', '42501 permission denied for function snapshot_save', :'unchanged'],
	'without EXECUTE on the function');


-- Things that move within a session

SELECT is(pg_temp.after(:'in_store' || 'GRANT USAGE ON SCHEMA store TO PUBLIC',
	ARRAY['SELECT store.snapshot_save(''kept'', 6, 1, ''6'')', 'none:ALTER SCHEMA store RENAME TO moved',
		'SELECT moved.snapshot_save(''kept'', 7, 1, ''7'')', 'SELECT moved.snapshot_save(''new'', 1, 1, ''"first"'')',
		'none:CREATE SCHEMA store', 'none:CREATE TABLE store.snapshot_store (LIKE moved.snapshot_store INCLUDING ALL)',
		'none:GRANT ALL ON store.snapshot_store TO PUBLIC',
		'SELECT moved.snapshot_save(''kept'', 8, 1, ''8'')', 'SELECT state FROM moved.snapshot_load(''kept'', ARRAY[1])',
		'SELECT moved.snapshot_delete(''new'')', 'none:SELECT count(*) FROM store.snapshot_store'], schema_name => 'moved'),
	ARRAY['t', 'done', 't', 't', 'done', 'done', 'done', 't', '8', '1', '0', 'kept/0 v1 n8 8'],
	'ALTER SCHEMA RENAME, and another schema under the old name');
SELECT is(pg_temp.after(:'in_store' || 'GRANT USAGE ON SCHEMA store TO PUBLIC',
	ARRAY['SELECT store.snapshot_save(''kept'', 6, 1, ''6'')', 'none:DROP EXTENSION snapshot_store', 'none:CREATE EXTENSION snapshot_store SCHEMA store',
		'SELECT store.snapshot_save(''kept'', 1, 1, ''1'')', 'none:SELECT store.snapshot_save(''kept'', 1, 1, ''1'')',
		'none:SELECT store.snapshot_save(''kept'', 2, 1, ''2'')', 'none:SELECT state FROM store.snapshot_load(''kept'', ARRAY[1])'],
		schema_name => 'store'),
	ARRAY['t', 'done', 'done', :'denied', 't', 't', '2', 'kept/0 v1 n2 2'],
	'the extension dropped and created anew in the same place');
SELECT is(pg_temp.after('PREPARE prepared_load AS SELECT state FROM snapshot_load($1, $2); PREPARE prepared_save AS SELECT snapshot_save($1, $2, $3, $4)',
	ARRAY['EXECUTE prepared_load(''kept'', ''{1}'')', 'EXECUTE prepared_save(''kept'', 10, 1, ''"newer"'')',
		'none:CREATE INDEX mine ON snapshot_store (created_at)', 'EXECUTE prepared_load(''kept'', ''{1}'')',
		'EXECUTE prepared_save(''kept'', 11, 1, ''"newest"'')', 'none:DROP INDEX mine',
		'EXECUTE prepared_save(''kept'', 12, 1, ''"last"'')', 'EXECUTE prepared_load(''kept'', ''{1}'')', 'DEALLOCATE ALL']),
	ARRAY['"old"', 't', 'done', '"newer"', 't', 'done', 't', '"last"', 'done', 'kept/0 v1 n12 "last"'],
	'prepared statements while the table changes');


-- Publications, read-only transactions, parallel queries, Citus

SELECT is(pg_temp.after('ALTER TABLE snapshot_store REPLICA IDENTITY NOTHING; CREATE PUBLICATION snapshot_test FOR TABLE snapshot_store',
	ARRAY[:'first', :'overwrite', :'older', :'delete', :'load']),
	ARRAY['t', '55000 cannot update table "snapshot_store" because it does not have a replica identity and publishes updates', 'f',
		'55000 cannot delete from table "snapshot_store" because it does not have a replica identity and publishes deletes',
		'"old"', 'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'a publication of a table without replica identity');
SELECT is(pg_temp.after('ALTER TABLE snapshot_store REPLICA IDENTITY NOTHING; CREATE PUBLICATION snapshot_test FOR TABLE snapshot_store WITH (publish = ''insert'')',
	ARRAY[:'first', :'overwrite', :'delete']),
	ARRAY['t', 't', '1', 'new/0 v1 n1 "first"'],
	'... of its INSERTs only');
SELECT is(pg_temp.after('CREATE PUBLICATION snapshot_test FOR TABLE snapshot_store WHERE (state_schema_version = 1)',
	ARRAY[:'first', :'overwrite', :'load']),
	ARRAY['t', '42P10 cannot update table "snapshot_store"', '"old"', 'kept/0 v1 n5 "old"; new/0 v1 n1 "first"'],
	'a row filter that uses a column outside of the replica identity');
SELECT is(pg_temp.after('CREATE PUBLICATION snapshot_test FOR TABLE snapshot_store',
	ARRAY[:'first', :'overwrite', :'delete']),
	ARRAY['t', 't', '1', 'new/0 v1 n1 "first"'],
	'a publication that the key identifies rows for');
SELECT is(pg_temp.after('SET LOCAL transaction_read_only = on',
	ARRAY[:'first', :'overwrite', :'older', 'SELECT snapshot_save_bytea(''kept'', 10, 1, '''')', :'delete', :'load', :'info', :'due']),
	ARRAY['25006 cannot execute snapshot_save() in a read-only transaction', '25006 cannot execute snapshot_save() in a read-only transaction',
		'25006 cannot execute snapshot_save() in a read-only transaction', '25006 cannot execute snapshot_save_bytea() in a read-only transaction',
		'25006 cannot execute snapshot_delete() in a read-only transaction', '"old"', '1', 'f', :'unchanged'],
	'a read-only transaction');
SELECT is(pg_temp.after('SET LOCAL allow_system_table_mods = on; CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid pg_catalog.regclass)',
	ARRAY[:'first', :'overwrite', :'older', :'version_2', :'load', :'delete']),
	ARRAY['t', 't', 'f', 't', '"version 2"', '1', 'new/0 v1 n1 "first"'],
	'a server that has the catalog of Citus');

-- 16 renamed the setting.
SELECT set_config('snapshot_test.parallel', format('SET LOCAL %s = on; ',
	CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query' ELSE 'force_parallel_mode' END), true) AS parallel \gset
CREATE FUNCTION launched(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ' || query LOOP
		IF line ~ 'Workers Launched: [1-9]' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END
$$;
\set ask_many 'CREATE TABLE ask AS SELECT ''kept'' AS id FROM generate_series(1, 500); INSERT INTO ask SELECT ''s'' || n FROM generate_series(1, 500) AS n; GRANT SELECT ON ask TO snapshot_test_app; SELECT snapshot_save(id, 1, 1, ''1'') FROM ask WHERE id <> ''kept''; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2; '
\set loads_of_all 'SELECT string_agg(DISTINCT l.state::text, '' '') || '' '' || count(*) FROM ask LEFT JOIN LATERAL snapshot_load(id, ARRAY[1]) AS l ON true'
\set due_of_all 'SELECT count(*) FILTER (WHERE snapshot_due(id, ARRAY[1], 6, 5)) FROM ask'

SELECT is(pg_temp.after(:'ask_many',
	ARRAY['SELECT launched(' || quote_literal(:'loads_of_all') || ')', :'loads_of_all', 'SELECT launched(' || quote_literal(:'due_of_all') || ')',
		:'due_of_all', 'SELECT count(*) FROM snapshot_store', 'none:TRUNCATE snapshot_store']),
	ARRAY['t', '"old" 1 1000', 't', '500', '501', 'done', 'nothing'],
	'parallel workers load');
SELECT is(pg_temp.after(:'parallel', ARRAY[:'first', :'overwrite', :'load', :'older', :'due', :'info', :'delete']),
	ARRAY['t', 't', '"newer"', 'f', 'f', '1', '1', 'new/0 v1 n1 "first"'],
	'with every query that can be made a parallel one');
SELECT is(pg_temp.after(:'parallel' || $$
		CREATE FUNCTION save_unsafely(text, bigint) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE
			AS 'BEGIN RETURN public.snapshot_save($1, $2, 1, ''1''); END';
		CREATE FUNCTION delete_unsafely(text) RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE
			AS 'BEGIN RETURN public.snapshot_delete($1); END'$$,
	ARRAY['SELECT save_unsafely(''new'', 1)', 'SELECT save_unsafely(''kept'', 10)', 'SELECT save_unsafely(''kept'', 1)', 'SELECT delete_unsafely(''kept'')']),
	ARRAY['25000 cannot execute snapshot_save() during a parallel operation', '25000 cannot execute snapshot_save() during a parallel operation',
		'25000 cannot execute snapshot_save() during a parallel operation', '25000 cannot execute snapshot_delete() during a parallel operation', :'unchanged'],
	'a save that a function hides in a parallel query');


-- By hand and by the functions, side by side

CREATE TABLE changes (name text, change text);
INSERT INTO changes VALUES
	('no change', ''),
	('row security', :'policies'),
	('a SELECT policy', :'policies' || 'CREATE POLICY a ON snapshot_store USING (true); CREATE POLICY s ON snapshot_store AS RESTRICTIVE FOR SELECT USING (stream_id <> ''kept'')'),
	('an INSERT policy', :'policies' || 'CREATE POLICY a ON snapshot_store USING (true); CREATE POLICY i ON snapshot_store AS RESTRICTIVE FOR INSERT WITH CHECK (stream_id <> ''new'')'),
	('an UPDATE policy', :'policies' || 'CREATE POLICY a ON snapshot_store USING (true); CREATE POLICY u ON snapshot_store AS RESTRICTIVE FOR UPDATE USING (stream_id <> ''kept'')'),
	('an UPDATE policy for the new row', :'policies' || 'CREATE POLICY a ON snapshot_store USING (true); CREATE POLICY u ON snapshot_store AS RESTRICTIVE FOR UPDATE USING (true) WITH CHECK (sequence_number < 8)'),
	('a DELETE policy', :'policies' || 'CREATE POLICY a ON snapshot_store USING (true); CREATE POLICY d ON snapshot_store AS RESTRICTIVE FOR DELETE USING (false)'),
	('row_security off', :'policies' || 'SET LOCAL row_security = off'),
	('a trigger says no', 'CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION refuse()'),
	('a trigger changes', 'CREATE TRIGGER t BEFORE INSERT OR UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION shout()'),
	('a trigger raises', 'CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION object()'),
	('a CHECK', 'ALTER TABLE snapshot_store ADD CONSTRAINT mine CHECK (sequence_number = 5) NOT VALID'),
	('a unique index', 'SELECT snapshot_save(''a'', 10, 1, ''1''), snapshot_save(''b'', 1, 1, ''1''); CREATE UNIQUE INDEX mine ON snapshot_store (sequence_number)'),
	('an exclusion constraint', 'SELECT snapshot_save(''a'', 10, 1, ''1''), snapshot_save(''b'', 1, 1, ''1''); ALTER TABLE snapshot_store ADD CONSTRAINT mine EXCLUDE USING btree (sequence_number WITH =)'),
	('no replica identity', 'ALTER TABLE snapshot_store REPLICA IDENTITY NOTHING; CREATE PUBLICATION snapshot_test FOR TABLE snapshot_store'),
	('a deferrable key', :'drop_key' || 'ALTER TABLE snapshot_store ADD PRIMARY KEY (stream_id, slot) DEFERRABLE; DELETE FROM snapshot_store'),
	('no key', :'drop_key' || 'DELETE FROM snapshot_store'),
	('a foreign key', 'CREATE TABLE streams (id text COLLATE "C" PRIMARY KEY); INSERT INTO streams VALUES (''kept''); ALTER TABLE snapshot_store ADD FOREIGN KEY (stream_id) REFERENCES streams'),
	('a NOT NULL column', 'DELETE FROM snapshot_store; ALTER TABLE snapshot_store ADD tenant text NOT NULL'),
	('no rights', 'REVOKE ALL ON snapshot_store FROM snapshot_test_app');

-- 'none' by hand (no row was written) is 'f' from a save.  (A first save asks nothing of the replica identity, since
-- it inserts; an upsert does.)
SELECT is(pg_temp.after(change, ARRAY[:'first']), array_replace(pg_temp.after(change, ARRAY[:'first_by_hand']), 'none', 'f'),
	'a first save is like by hand: ' || name) FROM changes WHERE name <> 'no replica identity';
SELECT is(pg_temp.after(change, ARRAY[:'overwrite']), array_replace(pg_temp.after(change, ARRAY[:'overwrite_by_hand']), 'none', 'f'),
	'an overwrite is like by hand: ' || name) FROM changes WHERE change !~ 'DELETE FROM';
SELECT is(pg_temp.after(change, ARRAY[:'load']), pg_temp.after(change, ARRAY[:'load_by_hand']),
	'a load is like by hand: ' || name) FROM changes;
SELECT is(pg_temp.after(change, ARRAY[:'delete']), pg_temp.after(change, ARRAY[:'delete_by_hand']),
	'a deletion is like by hand: ' || name) FROM changes;

-- Rules: last, since a plan that a rule has made empty is kept by a server that does not know what it depended on

SELECT is(pg_temp.after('CREATE RULE r AS ON INSERT TO snapshot_store DO ALSO INSERT INTO fired VALUES (''rule'')',
	ARRAY[:'first', :'overwrite', :'load']),
	ARRAY['0A000 INSERT with ON CONFLICT clause cannot be used with table that has INSERT or UPDATE rules',
		't', '"newer"', 'kept/0 v1 n10 "newer"'],
	'a rule on INSERT: an overwrite does not insert');
SELECT is(pg_temp.after('CREATE RULE r AS ON DELETE TO snapshot_store DO INSTEAD NOTHING',
	ARRAY[:'delete', :'overwrite', :'first']),
	ARRAY['0', 't', 't', 'kept/0 v1 n10 "newer"; new/0 v1 n1 "first"'],
	'a rule that makes deleting do nothing');
SELECT is(pg_temp.after('CREATE RULE r AS ON UPDATE TO snapshot_store DO INSTEAD NOTHING',
	ARRAY[:'overwrite', :'first', :'load']),
	ARRAY['0A000 INSERT with ON CONFLICT clause cannot be used with table that has INSERT or UPDATE rules',
		'0A000 INSERT with ON CONFLICT clause cannot be used with table that has INSERT or UPDATE rules', '"old"', :'unchanged'],
	'a rule on UPDATE: the server has no upsert for such a table');
SELECT is(pg_temp.after('CREATE RULE r AS ON DELETE TO snapshot_store DO INSTEAD NOTHING',
	ARRAY[:'delete', 'none:DROP RULE r ON snapshot_store', :'delete']),
	ARRAY['0', 'done', '1', 'nothing'],
	'a rule that is gone has no say');
SELECT is(pg_temp.after('CREATE RULE r AS ON UPDATE TO snapshot_store DO INSTEAD NOTHING',
	ARRAY[:'overwrite', 'none:DROP RULE r ON snapshot_store', :'overwrite', :'version_2']),
	ARRAY['0A000 INSERT with ON CONFLICT clause cannot be used with table that has INSERT or UPDATE rules', 'done', 't', 't',
		'kept/0 v2 n7 "version 2"'],
	'... nor has one on UPDATE');


SELECT is(pg_temp.content(), :'unchanged', 'everything was taken back');

SELECT * FROM finish();
ROLLBACK;
