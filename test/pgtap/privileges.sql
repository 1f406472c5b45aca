-- Who may call what. Every function is called with every set of privileges; what should come of it is worked out from
-- the documented rule, which is in the table "call", and from what the server says that the role has. Row security: the
-- calls of a tenant give what they would give if the rows of the others were not there.
--
-- Each call is taken back. The purge, which commits, comes at the end, in a session of its own.
SELECT plan(1483);

\setenv PGHOST :HOST
\setenv PGPORT :PORT
\setenv PGDATABASE :DBNAME
\setenv PGUSER :USER

SET client_min_messages = warning;
TRUNCATE snapshot_store;
DROP ROLE IF EXISTS snapshot_test_app, snapshot_test_other, snapshot_test_group, snapshot_test_noinherit;
CREATE ROLE snapshot_test_app;
CREATE ROLE snapshot_test_other;
CREATE ROLE snapshot_test_group;
CREATE ROLE snapshot_test_noinherit NOINHERIT;
GRANT CREATE ON SCHEMA public TO snapshot_test_app;	-- to own the table, and functions

CREATE FUNCTION fill() RETURNS void LANGUAGE sql
AS $$
	INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea)
	SELECT tenant || '/' || id, 0, version, 5, '2024-01-01', state, bytes
	FROM unnest('{a,b}'::text[]) AS tenant,
		 (VALUES ('json', 1, '5'::json, NULL::bytea), ('bytes', 1, NULL, '5'), ('old', 0, '5', NULL))
			AS kept (id, version, state, bytes)
$$;
SELECT fill();

-- The rule: what each function needs on the table; and a call, with %1$s and %2$s in place of two tenants.
CREATE TABLE call (name, needs, call) AS
VALUES
	('snapshot_load', '{SELECT}'::text[], $$snapshot_load('%1$s/json', '{1}')$$),
	('snapshot_load_bytea', '{SELECT}', $$snapshot_load_bytea('%1$s/bytes', '{1}')$$),
	('snapshot_load_many', '{SELECT}', $$snapshot_load_many('{%2$s/json,%1$s/json,%2$s/old,%1$s/old}', '{0,1}')$$),
	('snapshot_load_many_bytea', '{SELECT}', $$snapshot_load_many_bytea('{%2$s/bytes,%1$s/bytes}', '{1}')$$),
	('snapshot_info', '{SELECT}', $$snapshot_info('%1$s/json')$$),
	('snapshot_due', '{SELECT}', $$snapshot_due('%1$s/json', '{1}', 6, 5)$$),
	('snapshot_census', '{SELECT}', $$snapshot_census()$$),
	('snapshot_outdated', '{SELECT}', $$snapshot_outdated('', '{1}')$$),
	('snapshot_save', '{SELECT,INSERT,UPDATE,DELETE}', $$snapshot_save('%1$s/json', 6, 1, '6')$$),
	('snapshot_save_bytea', '{SELECT,INSERT,UPDATE,DELETE}', $$snapshot_save_bytea('%1$s/new', 6, 1, '6')$$),
	('snapshot_save_many', '{SELECT,INSERT,UPDATE,DELETE}',
	 $$snapshot_save_many('{%1$s/old,%1$s/json,%1$s/new}', '{6,4,6}', '{1,1,1}', '{6,4,6}')$$),
	('snapshot_save_many_bytea', '{SELECT,INSERT,UPDATE,DELETE}',
	 $$snapshot_save_many_bytea('{%1$s/new,%1$s/bytes}', '{6,6}', '{1,1}', '{6,6}')$$),
	('snapshot_delete', '{SELECT,DELETE}', $$snapshot_delete('%1$s/json')$$),
	('snapshot_should_take', '{}', $$snapshot_should_take(6, 0, 5)$$);

CREATE FUNCTION pg_temp.command(call text, tenant text DEFAULT 'a', other text DEFAULT 'b') RETURNS text LANGUAGE sql
AS $$ SELECT format('SELECT pg_catalog.array_agg(c)::pg_catalog.text FROM public.' || call || ' AS c', tenant, other) $$;

CREATE FUNCTION content() RETURNS text LANGUAGE sql
AS $$
	SELECT string_agg(format('%s v%s n%s', stream_id, state_schema_version, sequence_number), ', '
					  ORDER BY stream_id, slot)
	FROM snapshot_store
$$;

-- What a command gives, and what is in the table then; or its error. "before" is run first, and chooses the role;
-- "afterwards" is run before the look at the table, again as superuser. All of it is taken back.
CREATE FUNCTION pg_temp.answer(command text, before text DEFAULT '', afterwards text DEFAULT '')
RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	answer text;
	content text;
BEGIN
	EXECUTE before;
	EXECUTE command INTO answer;
	RESET ROLE;
	RESET SESSION AUTHORIZATION;
	SET LOCAL search_path = public;
	SET LOCAL row_security = on;
	EXECUTE afterwards;
	content := content();
	RAISE EXCEPTION 'taken back' USING ERRCODE = 'TB000';
EXCEPTION
	WHEN SQLSTATE 'TB000' THEN
		RETURN format('%s / %s', answer, content);
	WHEN OTHERS THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;


-- The matrix

-- Does a role have these privileges on the table, or on each of its columns, as far as there are such?
CREATE FUNCTION pg_temp.has(role name, needs text[]) RETURNS boolean LANGUAGE sql
AS $$
	SELECT coalesce(bool_and(CASE
		WHEN has_table_privilege(role, 'snapshot_store', privilege) THEN true
		WHEN privilege = 'DELETE' THEN false
		ELSE (SELECT bool_and(has_column_privilege(role, 'snapshot_store', column_name, privilege))
			  FROM unnest('{stream_id,slot,state_schema_version,sequence_number,created_at,state,state_bytea,metadata}'::text[])
				   AS column_name)
		END), true)
	FROM unnest(needs) AS privilege
$$;

-- What a call should give.
CREATE FUNCTION pg_temp.expected(call, role name) RETURNS text LANGUAGE sql
AS $$
	SELECT CASE
		WHEN NOT has_schema_privilege(role, 'public', 'USAGE') THEN '42501 permission denied for schema public'
		WHEN NOT has_function_privilege(role, ('public.' || $1.name)::regproc, 'EXECUTE')
			THEN '42501 permission denied for function ' || $1.name
		WHEN NOT pg_temp.has(role, $1.needs) THEN '42501 permission denied for table snapshot_store'
		ELSE pg_temp.answer(pg_temp.command($1.call))
	END
$$;

-- After a change, every function: a test for each. Unless told otherwise, the call is made by snapshot_test_app itself.
CREATE FUNCTION pg_temp.calls(situation text, change text, role name DEFAULT 'snapshot_test_app',
							  before text DEFAULT NULL, way text DEFAULT '%s')
RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	names text[];
	have text[];
	want text[];
BEGIN
	BEGIN
		EXECUTE change;
		SELECT array_agg(c.name), array_agg(pg_temp.expected(c, role)) FROM call AS c INTO names, want;
		SELECT array_agg(pg_temp.answer(format(way, pg_temp.command(c.call)), coalesce(before, 'SET LOCAL ROLE ' || role)))
		FROM call AS c INTO have;
		RAISE EXCEPTION 'taken back' USING ERRCODE = 'TB000';
	EXCEPTION WHEN SQLSTATE 'TB000' THEN
		NULL;
	END;
	RETURN QUERY SELECT is(h, w, format('%s: %s', situation, n)) FROM unnest(have, want, names) AS u (h, w, n);
END
$$;

SELECT is(pg_temp.answer('SELECT count(*) FROM snapshot_store', 'SET LOCAL ROLE snapshot_test_app'),
		  '42501 permission denied for table snapshot_store', 'the server''s own message');

-- The 16 sets of table privileges
CREATE TABLE subset AS
SELECT ARRAY(SELECT p FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) WITH ORDINALITY AS u (p, i)
			 WHERE n & (1 << i::integer - 1) <> 0 ORDER BY i) AS privileges
FROM generate_series(0, 15) AS n;

CREATE FUNCTION pg_temp.grant_to(role name, privileges text[]) RETURNS text LANGUAGE sql
AS $$
	SELECT CASE WHEN privileges = '{}' THEN ''
		   ELSE format('GRANT %s ON snapshot_store TO %s; ', array_to_string(privileges, ', '), role) END
$$;

SELECT is((SELECT count(*) FILTER (WHERE c.needs <@ s.privileges) FROM call AS c, subset AS s), 8 * 8 + 4 * 1 + 4 + 16::bigint,
		  'by the rule: a load with 8 of 16 sets, a save with 1, a deletion with 4, snapshot_should_take with all');
SELECT pg_temp.calls(format('the privileges {%s}', array_to_string(privileges, ', ')), pg_temp.grant_to('snapshot_test_app', privileges))
FROM subset;
SELECT pg_temp.calls(format('the owner, with {%s} left', array_to_string(privileges, ', ')),
	'ALTER TABLE snapshot_store OWNER TO snapshot_test_app; REVOKE ALL ON snapshot_store FROM snapshot_test_app; '
	|| pg_temp.grant_to('snapshot_test_app', privileges)) FROM subset WHERE cardinality(privileges) IN (0, 4);

-- From elsewhere
\set all 'SELECT, INSERT, UPDATE, DELETE ON snapshot_store'
\set by_group 'GRANT ' :all ' TO snapshot_test_group; GRANT snapshot_test_group TO '

SELECT pg_temp.calls('the owner', 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app');
SELECT pg_temp.calls('another than the owner', 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app', 'snapshot_test_other');
SELECT pg_temp.calls('all to everybody', 'GRANT ' || :'all' || ' TO PUBLIC');
SELECT pg_temp.calls('some to everybody, some to the role',
	'GRANT SELECT, INSERT ON snapshot_store TO PUBLIC; GRANT UPDATE, DELETE ON snapshot_store TO snapshot_test_app');
SELECT pg_temp.calls('through a group', :'by_group' || 'snapshot_test_app');
SELECT pg_temp.calls('some through a group',
	'GRANT SELECT ON snapshot_store TO snapshot_test_group; GRANT snapshot_test_group TO snapshot_test_app; GRANT DELETE ON snapshot_store TO snapshot_test_app');
SELECT pg_temp.calls('in the owner''s group',
	'ALTER TABLE snapshot_store OWNER TO snapshot_test_group; GRANT snapshot_test_group TO snapshot_test_app');
SELECT pg_temp.calls('in a group, without INHERIT', :'by_group' || 'snapshot_test_noinherit', 'snapshot_test_noinherit');
SELECT pg_temp.calls('... which has set its role to the group', :'by_group' || 'snapshot_test_noinherit', 'snapshot_test_group',
	'SET LOCAL SESSION AUTHORIZATION snapshot_test_noinherit; SET LOCAL ROLE snapshot_test_group');
SELECT pg_temp.calls('a login that has set its role to one with less', 'GRANT ' || :'all' || ' TO snapshot_test_group; GRANT snapshot_test_app TO snapshot_test_group',
	'snapshot_test_app', 'SET LOCAL SESSION AUTHORIZATION snapshot_test_group; SET LOCAL ROLE snapshot_test_app');
SELECT pg_temp.calls('pg_read_all_data', 'GRANT pg_read_all_data TO snapshot_test_app');
SELECT pg_temp.calls('pg_write_all_data', 'GRANT pg_write_all_data TO snapshot_test_app');
SELECT pg_temp.calls('a superuser', 'ALTER ROLE snapshot_test_app SUPERUSER');

-- On columns: all of them, all but one, and all but one that the owner has added
\set columns '(stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata)'
\set by_column 'GRANT SELECT ' :columns ', INSERT ' :columns ', UPDATE ' :columns ', DELETE ON snapshot_store TO snapshot_test_app'

CREATE TABLE by_column AS
SELECT privilege, pg_temp.grant_to('snapshot_test_app', array_remove('{SELECT,INSERT,UPDATE,DELETE}', privilege)) AS other_privileges
FROM unnest('{SELECT,INSERT,UPDATE}'::text[]) AS privilege;

SELECT pg_temp.calls('privileges on each column', :'by_column');
SELECT pg_temp.calls('privileges on each column, and one was added', 'ALTER TABLE snapshot_store ADD mine text; ' || :'by_column');
SELECT pg_temp.calls(format('%s on each column', privilege),
	other_privileges || format('GRANT %s %s ON snapshot_store TO snapshot_test_app', privilege, :'columns'))
FROM by_column;
SELECT pg_temp.calls(format('%s on each column but %s', privilege, missing),
	other_privileges || format('GRANT %s (%s) ON snapshot_store TO snapshot_test_app', privilege, others))
FROM by_column,
	 (SELECT m.attname, string_agg(o.attname, ', ') FROM pg_attribute AS m, pg_attribute AS o
	  WHERE m.attrelid = 'snapshot_store'::regclass AND m.attnum > 0
		AND o.attrelid = m.attrelid AND o.attnum > 0 AND o.attnum <> m.attnum
	  GROUP BY m.attname) AS c (missing, others);

-- On the schema and on the functions
SELECT pg_temp.calls('without USAGE on the schema', 'GRANT ' || :'all' || ' TO snapshot_test_app; REVOKE USAGE ON SCHEMA public FROM PUBLIC');
SELECT pg_temp.calls('without EXECUTE', 'GRANT ' || :'all' || ' TO snapshot_test_app; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC');
SELECT pg_temp.calls('EXECUTE, but not for everybody', 'GRANT ' || :'all' || ' TO snapshot_test_app;
	REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO snapshot_test_app');
SELECT pg_temp.calls('everything on the functions, nothing on the table', 'GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO snapshot_test_app');


-- Inside a SECURITY DEFINER function, the definer's rights count

CREATE FUNCTION as_definer(command text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE command INTO answer;
	RETURN answer;
END
$$;
ALTER FUNCTION as_definer(text) OWNER TO snapshot_test_app;
\set as_definer 'SELECT public.as_definer(%L)'

SELECT pg_temp.calls('a definer who may, a caller who may not', 'GRANT ' || :'all' || ' TO snapshot_test_app', 'snapshot_test_app',
	'SET LOCAL ROLE snapshot_test_other', :'as_definer');
SELECT pg_temp.calls('a definer who may not, a caller who may', 'GRANT ' || :'all' || ' TO snapshot_test_other', 'snapshot_test_app',
	'SET LOCAL ROLE snapshot_test_other', :'as_definer');
SELECT pg_temp.calls('a definer who may read', 'GRANT SELECT ON snapshot_store TO snapshot_test_app', 'snapshot_test_app',
	'SET LOCAL ROLE snapshot_test_other', :'as_definer');

-- The function does not set a search_path, and its caller has set one full of traps.
CREATE SCHEMA planted AUTHORIZATION snapshot_test_other;
SET ROLE snapshot_test_other;
DO $$
DECLARE
	type text;
	operator text;
BEGIN
	FOREACH type IN ARRAY '{bool,int2,int4,int8,text,json,bytea,timestamptz,int2[],int8[],text[]}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION planted.trap(%1$s, %1$s) RETURNS bool LANGUAGE plpgsql AS '
					   '''BEGIN RAISE EXCEPTION ''''trap''''; END''', type);
		FOREACH operator IN ARRAY '{=,<>,<,<=,>,>=}'::text[] LOOP
			EXECUTE format('CREATE OPERATOR planted.%s (FUNCTION = planted.trap, LEFTARG = %s, RIGHTARG = %2$s)', operator, type);
		END LOOP;
		CONTINUE WHEN type LIKE '%[]';
		EXECUTE format('CREATE DOMAIN planted.%I AS pg_catalog.%1$I CHECK (planted.trap(VALUE, VALUE))', type);
	END LOOP;
	CREATE FUNCTION planted.octet_length(pg_catalog.text) RETURNS pg_catalog.int4 LANGUAGE sql AS 'SELECT 1 / 0';
	CREATE FUNCTION planted.unnest(pg_catalog.text[]) RETURNS SETOF pg_catalog.text LANGUAGE sql AS 'SELECT (1 / 0)::text';
	CREATE FUNCTION planted.clock_timestamp() RETURNS pg_catalog.timestamptz LANGUAGE sql AS 'SELECT ''today''::timestamptz + interval ''1'' / 0';
	GRANT USAGE ON SCHEMA planted TO PUBLIC;
END
$$;
RESET ROLE;
CREATE TABLE planted.snapshot_store (LIKE snapshot_store);
INSERT INTO planted.snapshot_store VALUES ('a/json', 0, 1, 99, 'now', '"planted"');
GRANT ALL ON planted.snapshot_store TO PUBLIC;
SELECT is(pg_temp.answer('SELECT 1 WHERE ''a''::pg_catalog.text = ''a''::pg_catalog.text', 'SET LOCAL search_path = planted, pg_catalog'),
		  'P0001 trap', 'a trap works');
SELECT pg_temp.calls('a definer, and a hostile search_path', 'GRANT ' || :'all' || ' TO snapshot_test_app', 'snapshot_test_app',
	'SET LOCAL ROLE snapshot_test_other; SET LOCAL search_path = planted, pg_catalog, public', :'as_definer');
SELECT pg_temp.calls('a definer who may read, and a hostile search_path', 'GRANT SELECT ON snapshot_store TO snapshot_test_app', 'snapshot_test_app',
	'SET LOCAL ROLE snapshot_test_other; SET LOCAL search_path = planted, pg_catalog, public', :'as_definer');


-- Within one session, with plans that are kept and after the table has been looked at

SELECT format('PREPARE %I AS %s', name, pg_temp.command(call)) FROM call \gexec

-- Steps are commands to be run as superuser, or the names of roles that call then.
CREATE FUNCTION pg_temp.in_turn(name text, steps text[]) RETURNS text[] LANGUAGE plpgsql
AS $$
DECLARE
	step text;
	answers text[] := '{}';
BEGIN
	FOREACH step IN ARRAY steps LOOP
		IF step LIKE 'snapshot\_test\_%' THEN
			answers := answers || pg_temp.answer('EXECUTE ' || quote_ident(name), 'SET LOCAL ROLE ' || step);
		ELSE
			EXECUTE step;
		END IF;
	END LOOP;
	RAISE EXCEPTION 'taken back' USING ERRCODE = 'TB000';
EXCEPTION WHEN SQLSTATE 'TB000' THEN
	RETURN answers;
END
$$;

SELECT is(pg_temp.in_turn(name, ARRAY['GRANT ' || :'all' || ' TO snapshot_test_app', 'snapshot_test_app',
									  format('REVOKE %s ON snapshot_store FROM snapshot_test_app', privilege), 'snapshot_test_app',
									  format('GRANT %s ON snapshot_store TO snapshot_test_app', privilege), 'snapshot_test_app']),
		  ARRAY[may, '42501 permission denied for table snapshot_store', may],
		  format('granted, %s revoked, granted again: %s', privilege, name))
FROM call, unnest(needs) AS privilege, pg_temp.answer(pg_temp.command(call)) AS may;
SELECT is(pg_temp.in_turn(name, ARRAY['GRANT ' || :'all' || ' TO snapshot_test_app', 'snapshot_test_app', 'snapshot_test_other', 'snapshot_test_app',
									  'GRANT snapshot_test_app TO snapshot_test_other', 'snapshot_test_other',
									  'REVOKE snapshot_test_app FROM snapshot_test_other', 'snapshot_test_other', 'snapshot_test_app']),
		  CASE needs WHEN '{}' THEN array_fill(may, ARRAY[6])
			ELSE ARRAY[may, '42501 permission denied for table snapshot_store', may, may,
					   '42501 permission denied for table snapshot_store', may] END,
		  format('SET ROLE to and fro, a membership that comes and goes: %s', name))
FROM call, pg_temp.answer(pg_temp.command(call)) AS may;
SELECT is(pg_temp.in_turn(name, ARRAY['GRANT ' || :'all' || ' TO snapshot_test_app', 'snapshot_test_app',
									  'REVOKE USAGE ON SCHEMA public FROM PUBLIC', 'snapshot_test_app',
									  'GRANT USAGE ON SCHEMA public TO PUBLIC', 'snapshot_test_app']),
		  ARRAY[may, '42501 permission denied for schema public', may],
		  format('USAGE on the schema that comes and goes: %s', name))
FROM call, pg_temp.answer(pg_temp.command(call)) AS may;
-- With a search_path that the role has no say in, the server sees no reason to plan again.
PREPARE qualified AS SELECT FROM public.snapshot_info('a/json');
SELECT is((pg_temp.in_turn('qualified', ARRAY['GRANT ' || :'all' || ' TO snapshot_test_app, snapshot_test_other',
											  'REVOKE USAGE ON SCHEMA public FROM PUBLIC',
											  'GRANT USAGE ON SCHEMA public TO snapshot_test_app',
											  'SET LOCAL search_path = pg_catalog', 'snapshot_test_app', 'snapshot_test_other']))[2],
		  '42501 permission denied for schema public', 'SET ROLE to one without USAGE on the schema');
SELECT is(pg_temp.in_turn(name, ARRAY['GRANT ' || :'all' || ' TO snapshot_test_app', 'snapshot_test_app',
									  'ALTER TABLE snapshot_store OWNER TO snapshot_test_other', 'snapshot_test_other',
									  'ALTER TABLE snapshot_store OWNER TO snapshot_test_app', 'snapshot_test_other', 'snapshot_test_app']),
		  ARRAY[may, may, CASE needs WHEN '{}' THEN may ELSE '42501 permission denied for table snapshot_store' END, may],
		  format('an owner who changes: %s', name))
FROM call, pg_temp.answer(pg_temp.command(call)) AS may;
DEALLOCATE ALL;


-- Row security

\set tenant 'split_part(stream_id, ''/'', 1) = current_setting(''snapshot_test.tenant'')'
\set policies 'GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_app; ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY; '
\set by_tenant :policies 'CREATE POLICY tenant ON snapshot_store USING (' :tenant ');'

-- Every function after a change, for the streams of tenant a and for those of tenant b. What they should give:
--   tenant  what they would give without the rows of the other, and an error to save one
--   all     what they give without row security
--   error   the error of row_security = off
CREATE FUNCTION pg_temp.calls_of(own text, expected text, situation text, change text,
								 before text DEFAULT 'SET LOCAL ROLE snapshot_test_app', way text DEFAULT '%s')
RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	names text[];
	have text[];
	want text[];
	others constant text := translate(own, 'ab', 'ba');
BEGIN
	BEGIN
		EXECUTE change;
		SELECT array_agg(CASE
			WHEN c.needs = '{}' OR expected = 'all' THEN
				pg_temp.answer(pg_temp.command(c.call, s.tenant, s.other))
			WHEN expected = 'error' THEN
				'42501 query would be affected by row-level security policy for table "snapshot_store"'
			WHEN 'INSERT' = ANY (c.needs) AND s.tenant = others THEN
				'42501 new row violates row-level security policy for table "snapshot_store"'
			ELSE
				pg_temp.answer(pg_temp.command(c.call, s.tenant, s.other),
					format('CREATE TEMP TABLE aside AS SELECT * FROM snapshot_store WHERE stream_id LIKE ''%1$s/%%'';
							DELETE FROM snapshot_store WHERE stream_id LIKE ''%1$s/%%''', others),
					'INSERT INTO snapshot_store SELECT * FROM aside')
			END ORDER BY s.tenant, c.name) FROM call AS c, (VALUES ('a', 'b'), ('b', 'a')) AS s (tenant, other) INTO want;
		PERFORM set_config('snapshot_test.tenant', own, true);
		SELECT array_agg(format('%s of %s', c.name, s.tenant) ORDER BY s.tenant, c.name),
			array_agg(pg_temp.answer(format(way, pg_temp.command(c.call, s.tenant, s.other)), before) ORDER BY s.tenant, c.name)
		FROM call AS c, (VALUES ('a', 'b'), ('b', 'a')) AS s (tenant, other) INTO names, have;
		RAISE EXCEPTION 'taken back' USING ERRCODE = 'TB000';
	EXCEPTION WHEN SQLSTATE 'TB000' THEN
		NULL;
	END;
	RETURN QUERY SELECT is(h, w, format('%s: %s', situation, n)) FROM unnest(have, want, names) AS u (h, w, n);
END
$$;

SELECT pg_temp.calls_of(t, 'tenant', format('tenant %s, one policy', t), :'by_tenant') FROM unnest('{a,b}'::text[]) AS t;
SELECT pg_temp.calls_of(t, 'tenant', format('tenant %s, a policy for each command', t), :'policies'
	|| 'CREATE POLICY s ON snapshot_store FOR SELECT USING (' || :'tenant' || ');'
	|| 'CREATE POLICY i ON snapshot_store FOR INSERT WITH CHECK (' || :'tenant' || ');'
	|| 'CREATE POLICY u ON snapshot_store FOR UPDATE USING (' || :'tenant' || ') WITH CHECK (' || :'tenant' || ');'
	|| 'CREATE POLICY d ON snapshot_store FOR DELETE USING (' || :'tenant' || ')')
FROM unnest('{a,b}'::text[]) AS t;
SELECT pg_temp.calls_of('a', 'all', 'the owner', :'by_tenant' || 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app');
SELECT pg_temp.calls_of('a', 'tenant', 'the owner, with FORCE',
	:'by_tenant' || 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app; ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY');
SELECT pg_temp.calls_of('a', 'all', 'BYPASSRLS', :'by_tenant' || 'ALTER ROLE snapshot_test_app BYPASSRLS');
SELECT pg_temp.calls_of('a', 'all', 'BYPASSRLS, with FORCE',
	:'by_tenant' || 'ALTER ROLE snapshot_test_app BYPASSRLS; ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY');
SELECT pg_temp.calls_of('a', 'all', 'a superuser', :'by_tenant', '');
SELECT pg_temp.calls_of('a', 'error', 'row_security = off', :'by_tenant', 'SET LOCAL ROLE snapshot_test_app; SET LOCAL row_security = off');
SELECT pg_temp.calls_of('a', 'all', 'row_security = off, which does not matter to the owner',
	:'by_tenant' || 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app', 'SET LOCAL ROLE snapshot_test_app; SET LOCAL row_security = off');
SELECT pg_temp.calls_of('a', 'error', '... but with FORCE it does', :'by_tenant'
	|| 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app; ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY',
	'SET LOCAL ROLE snapshot_test_app; SET LOCAL row_security = off');
SELECT pg_temp.calls_of('a', 'all', 'a definer above row security, a caller below', :'by_tenant' || 'ALTER ROLE snapshot_test_app BYPASSRLS',
	'SET LOCAL ROLE snapshot_test_other', :'as_definer');
SELECT pg_temp.calls_of('a', 'tenant', 'a definer below row security, a caller above', :'by_tenant' || 'ALTER ROLE snapshot_test_other BYPASSRLS',
	'SET LOCAL ROLE snapshot_test_other', :'as_definer');

SELECT is(pg_temp.answer(command, :'by_tenant' || 'SET LOCAL snapshot_test.tenant = b; SET LOCAL ROLE snapshot_test_app; SET LOCAL row_security = ' || row_security),
		  message, 'the server''s own message')
FROM (VALUES
	('INSERT INTO snapshot_store (SELECT ''a/json'', slot, state_schema_version, sequence_number, created_at, state FROM snapshot_store)', 'on',
	 '42501 new row violates row-level security policy for table "snapshot_store"'),
	('TABLE snapshot_store', 'off', '42501 query would be affected by row-level security policy for table "snapshot_store"')
) AS v (command, row_security, message);



-- Settings

CREATE FUNCTION pg_temp.set_as(role name, setting text, value text, change text DEFAULT '') RETURNS text LANGUAGE sql
AS $$
	SELECT split_part(pg_temp.answer(format('SELECT set_config(%L, %L, true)', setting, value), change || '; SET LOCAL ROLE ' || role), ' / ', 1)
$$;
CREATE TABLE setting (name, value, by_all) AS
VALUES ('snapshot_store.keep', '2', true), ('snapshot_store.keep_versions', '2', true), ('snapshot_store.enabled', 'off', true),
	   ('snapshot_store.durable', 'off', true), ('snapshot_store.access_path', 'sql', true), ('snapshot_store.max_state_size', '16B', false);

SELECT is(pg_temp.set_as('snapshot_test_app', name, value),
		  CASE WHEN by_all THEN value ELSE '42501 permission denied to set parameter "snapshot_store.max_state_size"' END,
		  format('%s may be set %s', name, CASE WHEN by_all THEN 'by everybody' ELSE 'not by everybody' END))
FROM setting;
SELECT is(pg_temp.set_as('snapshot_test_app', name, value, 'ALTER ROLE snapshot_test_app SUPERUSER'), value, format('%s may be set by a superuser', name))
FROM setting;
SELECT is(pg_temp.set_as('snapshot_test_app', name, value, format('GRANT SET ON PARAMETER %s TO snapshot_test_app', name)), value,
		  format('%s may be set by whom that was granted', name))
FROM setting;
SELECT is(pg_temp.answer('SELECT ''not refused''', $$SET LOCAL ROLE snapshot_test_app;
		CREATE FUNCTION public.no_limit() RETURNS void LANGUAGE sql SET snapshot_store.max_state_size = 0 AS ''$$),
	'42501 permission denied to set parameter "snapshot_store.max_state_size"', 'nor in a function''s SET');
SELECT is(string_agg(s.name, ', ' ORDER BY s.name), 'snapshot_store.max_state_size, snapshot_store.track',
		  'no other setting is a superuser''s')
FROM pg_settings AS s WHERE s.name LIKE 'snapshot\_store.%' AND s.context <> 'user';


-- The purge: one session makes each change, purges all but version 1 as a role, and tells what came of it

CREATE TABLE purge (id integer GENERATED ALWAYS AS IDENTITY, situation text, change text, role text, expected text, answer text);
INSERT INTO purge (situation, change, role, expected)
SELECT format('the privileges {%s}', array_to_string(privileges, ', ')), pg_temp.grant_to('snapshot_test_app', privileges), 'snapshot_test_app',
	CASE WHEN '{SELECT,UPDATE,DELETE}' <@ privileges THEN 'all' ELSE '42501 permission denied for table snapshot_store' END
FROM subset;
INSERT INTO purge (situation, change, role, expected)
VALUES
	('a superuser', '', 'none', 'all'),
	('the owner', 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app', 'snapshot_test_app', 'all'),
	('another than the owner', 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app', 'snapshot_test_other', '42501 permission denied for table snapshot_store'),
	('through a group', :'by_group' || 'snapshot_test_app', 'snapshot_test_app', 'all'),
	('in a group, without INHERIT', :'by_group' || 'snapshot_test_noinherit', 'snapshot_test_noinherit', '42501 permission denied for table snapshot_store'),
	('privileges on each column', :'by_column', 'snapshot_test_app', 'all'),
	('UPDATE on the key alone', 'GRANT SELECT, UPDATE (stream_id, slot), DELETE ON snapshot_store TO snapshot_test_app',
	 'snapshot_test_app', '42501 permission denied for table snapshot_store'),
	('without USAGE on the schema', 'GRANT ' || :'all' || ' TO snapshot_test_app; REVOKE USAGE ON SCHEMA public FROM PUBLIC',
	 'snapshot_test_app', '42501 permission denied for schema public'),
	('without EXECUTE', 'GRANT ' || :'all' || ' TO snapshot_test_app; REVOKE EXECUTE ON PROCEDURE snapshot_purge FROM PUBLIC',
	 'snapshot_test_app', '42501 permission denied for procedure snapshot_purge'),
	('a hostile search_path', 'GRANT ' || :'all' || ' TO snapshot_test_app; SET search_path = planted, pg_catalog, public', 'snapshot_test_app', 'all'),
	('a tenant', :'by_tenant', 'snapshot_test_app', 'tenant'),
	('the owner, with policies', :'by_tenant' || 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app', 'snapshot_test_app', 'all'),
	('the owner, with FORCE', :'by_tenant' || 'ALTER TABLE snapshot_store OWNER TO snapshot_test_app; ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY',
	 'snapshot_test_app', 'tenant'),
	('BYPASSRLS', :'by_tenant' || 'ALTER ROLE snapshot_test_app BYPASSRLS', 'snapshot_test_app', 'all'),
	('row_security = off', :'by_tenant' || 'SET row_security = off', 'snapshot_test_app',
	 '42501 query would be affected by row-level security policy for table "snapshot_store"');

SELECT format($$
	%s;
	SET ROLE %s;
	CALL public.snapshot_purge('', '{1}');
	\set answer :SQLSTATE ' ' :LAST_ERROR_MESSAGE
	RESET ROLE;
	RESET search_path;
	RESET row_security;
	UPDATE purge SET answer = regexp_replace(:'answer', '^00000.*', 'done') || ' / ' || content() WHERE id = %s;

	TRUNCATE snapshot_store;
	SELECT fill();
	DROP POLICY IF EXISTS tenant ON snapshot_store;
	ALTER TABLE snapshot_store OWNER TO CURRENT_USER, DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
	REVOKE ALL ON snapshot_store FROM snapshot_test_app, snapshot_test_group;
	REVOKE snapshot_test_group FROM snapshot_test_app, snapshot_test_noinherit;
	ALTER ROLE snapshot_test_app NOBYPASSRLS;
	GRANT USAGE ON SCHEMA public TO PUBLIC;
	GRANT EXECUTE ON PROCEDURE snapshot_purge TO PUBLIC;
	$$, change, role, id)
FROM purge ORDER BY id \g (format=unaligned tuples_only=on) |PGOPTIONS="$PGOPTIONS -c snapshot_test.tenant=a" psql -Xq >/dev/null 2>&1

SELECT is(answer, CASE expected
		WHEN 'all' THEN 'done / a/bytes v1 n5, a/json v1 n5, b/bytes v1 n5, b/json v1 n5'
		WHEN 'tenant' THEN 'done / a/bytes v1 n5, a/json v1 n5, b/bytes v1 n5, b/json v1 n5, b/old v0 n5'
		ELSE expected || ' / a/bytes v1 n5, a/json v1 n5, a/old v0 n5, b/bytes v1 n5, b/json v1 n5, b/old v0 n5'
	END, format('%s: snapshot_purge', situation))
FROM purge ORDER BY id;

SELECT * FROM finish();

TRUNCATE snapshot_store;
DROP OWNED BY snapshot_test_app, snapshot_test_other CASCADE;
DROP ROLE snapshot_test_app, snapshot_test_other, snapshot_test_group, snapshot_test_noinherit;
