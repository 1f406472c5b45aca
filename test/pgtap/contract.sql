-- The contract, sentence by sentence: what CREATE EXTENSION makes, what each function promises, what the
-- settings change.
BEGIN;
SELECT plan(467);
SELECT current_setting('snapshot_store.access_path') = 'managed' AS managed,
	current_setting('test.packed', true) IS NOT NULL AS packed \gset

-- Saves {"n": <sequence number>}.
CREATE FUNCTION pg_temp.save(stream_id text, sequence_number bigint, state_schema_version bigint DEFAULT 1,
							 created_at timestamptz DEFAULT NULL) RETURNS boolean LANGUAGE sql
AS $$
	SELECT snapshot_save(stream_id, sequence_number, state_schema_version,
						 format('{"n": %s}', sequence_number)::json, created_at => created_at)
$$;

-- What is loaded, as "sequence vVersion state".
CREATE FUNCTION pg_temp.loaded(stream_id text, recognized_schema_versions bigint[],
							   max_sequence_number bigint DEFAULT NULL, max_created_at timestamptz DEFAULT NULL)
RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT format('%s v%s %s', l.sequence_number, l.state_schema_version, l.state)
	FROM snapshot_load($1, $2, $3, $4) AS l
$$;

CREATE FUNCTION pg_temp.loaded_bytea(stream_id text, recognized_schema_versions bigint[],
									 max_sequence_number bigint DEFAULT NULL,
									 max_created_at timestamptz DEFAULT NULL)
RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT format('%s v%s %s', l.sequence_number, l.state_schema_version, l.state)
	FROM snapshot_load_bytea($1, $2, $3, $4) AS l
$$;

-- What the table holds of a stream, as "sequence vVersion, …".
CREATE FUNCTION pg_temp.kept(stream_id text) RETURNS text LANGUAGE sql STABLE
AS $$
	SELECT string_agg(format('%s v%s', s.sequence_number, s.state_schema_version), ', '
					  ORDER BY s.sequence_number, s.state_schema_version)
	FROM snapshot_store AS s WHERE s.stream_id = $1
$$;

-- The error that a command raises, as "SQLSTATE message".
CREATE FUNCTION pg_temp.error_of(command text) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE command;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

-- The one value of a query under a setting, which is taken back together with all that the query did.
CREATE FUNCTION pg_temp.under(setting text, setting_value text, query text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config(setting, setting_value, true);
	EXECUTE query INTO result;
	RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
	RETURN result;
END
$$;

-- The extension

\if :managed
	SELECT skip('no extension', 7);
	CREATE TEMPORARY VIEW member AS
	SELECT 'pg_proc'::regclass AS classid, oid AS objid FROM pg_proc
	WHERE proname LIKE 'snapshot\_%' AND proname NOT LIKE 'snapshot\_store\_%';
\else
SELECT is(extversion, '1.1', 'the extension''s version is 1.1')
FROM pg_extension WHERE extname = 'snapshot_store';

SELECT is(extrelocatable, false, 'the extension is not relocatable')
FROM pg_extension WHERE extname = 'snapshot_store';

SELECT is(schema, NULL, 'its schema is the user''s choice')
FROM pg_available_extension_versions WHERE name = 'snapshot_store' AND version = '1.1';

SELECT is(extconfig::regclass[]::text || extcondition::text, '{snapshot_store}{""}',
		  'pg_dump carries the table''s rows, all of them')
FROM pg_extension WHERE extname = 'snapshot_store';

SELECT isnt(obj_description(oid, 'pg_extension'), NULL, 'the extension has a comment')
FROM pg_extension WHERE extname = 'snapshot_store';

CREATE TEMPORARY VIEW member AS
SELECT d.classid, d.objid FROM pg_depend AS d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT e.oid FROM pg_extension AS e WHERE e.extname = 'snapshot_store');

SELECT is_empty(
	$$SELECT p.oid::regprocedure FROM pg_proc AS p
	  WHERE p.proname LIKE 'snapshot\_%'
		  AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)$$,
	'every function belongs to the extension');

SELECT isnt_empty(
	$$SELECT FROM member AS m
	  WHERE m.classid = 'pg_class'::regclass AND m.objid = 'snapshot_store'::regclass$$,
	'the table belongs to the extension');
\endif

SELECT is_empty(
	$$SELECT m.objid::regprocedure FROM member AS m
	  WHERE m.classid = 'pg_proc'::regclass AND obj_description(m.objid, 'pg_proc') IS NULL$$,
	'every function has a comment');

-- The table

SELECT isnt(obj_description('snapshot_store'::regclass, 'pg_class'), NULL, 'the table has a comment');

\if :managed
	SELECT skip('no comments on columns', 1);
\else
SELECT is_empty(
	$$SELECT attname FROM pg_attribute
	  WHERE attrelid = 'snapshot_store'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL$$,
	'every column has a comment');
\endif

SELECT bag_eq(
	$$SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, c.collname::text
	  FROM pg_attribute AS a LEFT JOIN pg_collation AS c ON c.oid = a.attcollation
	  WHERE a.attrelid = 'snapshot_store'::regclass AND a.attnum > 0$$,
	$$VALUES ('stream_id',            'text',                     true,  'C'),
			 ('slot',                 'smallint',                 true,  NULL),
			 ('state_schema_version', 'bigint',                   true,  NULL),
			 ('sequence_number',      'bigint',                   true,  NULL),
			 ('created_at',           'timestamp with time zone', true,  NULL),
			 ('state',                ($$ || quote_literal(CASE WHEN :'packed' THEN 'snapshot_state' ELSE 'json' END) || $$), false, NULL),
			 ('state_bytea',          'bytea',                    false, NULL),
			 ('metadata',             'jsonb',                    false, NULL)$$,
	'the columns have their types, collations, and are NOT NULL where a value is needed');

SELECT is(attstorage, 'p', 'a stream_id is stored plain')
FROM pg_attribute WHERE attrelid = 'snapshot_store'::regclass AND attname = 'stream_id';

SELECT is(array_agg(pg_get_constraintdef(oid)),
		  ARRAY['PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version)'],
		  'the key is the stream and the slot, and includes the schema version')
FROM pg_constraint WHERE conrelid = 'snapshot_store'::regclass AND contype = 'p';

SELECT is((SELECT count(*) FROM pg_index WHERE indrelid = 'snapshot_store'::regclass), 1::bigint,
		  'there is no other index');

SELECT is(ARRAY[relkind, relpersistence]::text, '{r,p}', 'the table is an ordinary and a permanent one')
FROM pg_class WHERE oid = 'snapshot_store'::regclass;

SELECT is_empty(
	$$SELECT acl.grantee, acl.privilege_type
	  FROM pg_class AS c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS acl
	  WHERE c.oid = 'snapshot_store'::regclass AND acl.grantee <> c.relowner$$,
	'nothing on it is granted to anyone but its owner');

SELECT is_empty(
	$$SELECT attname FROM pg_attribute WHERE attrelid = 'snapshot_store'::regclass AND attacl IS NOT NULL$$,
	'nothing on a column of it is granted either');

-- The table: manual writes meet the same limits

CREATE FUNCTION pg_temp.write_by_hand(stream_id text DEFAULT 'by hand', slot integer DEFAULT 0,
									  state_schema_version bigint DEFAULT 1, sequence_number bigint DEFAULT 1,
									  state json DEFAULT NULL, state_bytea bytea DEFAULT NULL)
RETURNS void LANGUAGE sql
AS $$
	INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at,
								state, state_bytea)
	VALUES ($1, $2, $3, $4, now(), $5, $6)
$$;

SELECT matches(pg_temp.error_of(format('SELECT pg_temp.write_by_hand(%s)', arguments)), '^' || outcome,
			   description)
FROM (VALUES
	($$state => '{}'$$, 'no error',
	 'a row written by hand is taken'),
	($$'b', state_bytea => '', sequence_number => 9223372036854775807, state_schema_version => 4294967295$$,
	 'no error', 'so is one at the upper limits'),
	($$repeat('x', 2000), state_bytea => '', sequence_number => 0, state_schema_version => 0$$,
	 'no error', 'so is one at the lower limits, with the longest name'),
	($$'', state => '{}'$$, '23514', 'an empty stream_id is refused'),
	($$repeat('x', 2001), state => '{}'$$, '23514', 'a stream_id of 2,001 bytes is refused'),
	($$'x' || repeat(U&'\00E9', 1000), state => '{}'$$, '23514', 'bytes count, not characters'),
	($$slot => -1, state => '{}'$$, '23514', 'a slot below 0 is refused'),
	($$state_schema_version => -1, state => '{}'$$, '23514', 'a schema version below 0 is refused'),
	($$state_schema_version => 4294967296, state => '{}'$$, '23514',
	 'a schema version above 4,294,967,295 is refused'),
	($$sequence_number => -1, state => '{}'$$, '23514', 'a sequence number below 0 is refused'),
	($$slot => 1$$, '23514', 'a row without a state is refused'),
	($$slot => 1, state => '{}', state_bytea => 'x'$$, '23514', 'a row with a state of both kinds is refused'),
	($$state => '{}'$$, '23505', 'a second snapshot in one slot is refused')
) AS v (arguments, outcome, description);

DELETE FROM snapshot_store;

-- The functions as the catalog describes them

CREATE TEMPORARY TABLE signature (name, arguments, result, returns_set, volatility, parallel) AS
VALUES
	('snapshot_save',
	 'stream_id text, sequence_number bigint, state_schema_version bigint, state json, '
	 'metadata json DEFAULT NULL::json, '
	 'created_at timestamp with time zone DEFAULT NULL::timestamp with time zone, replace boolean DEFAULT true',
	 'boolean', false, 'volatile', 'unsafe'),
	('snapshot_save_bytea',
	 'stream_id text, sequence_number bigint, state_schema_version bigint, state bytea, '
	 'metadata json DEFAULT NULL::json, '
	 'created_at timestamp with time zone DEFAULT NULL::timestamp with time zone, replace boolean DEFAULT true',
	 'boolean', false, 'volatile', 'unsafe'),
	('snapshot_load',
	 'stream_id text, recognized_schema_versions bigint[], max_sequence_number bigint DEFAULT NULL::bigint, '
	 'max_created_at timestamp with time zone DEFAULT NULL::timestamp with time zone',
	 'SETOF loaded_snapshot', true, 'stable', 'safe'),
	('snapshot_load_bytea',
	 'stream_id text, recognized_schema_versions bigint[], max_sequence_number bigint DEFAULT NULL::bigint, '
	 'max_created_at timestamp with time zone DEFAULT NULL::timestamp with time zone',
	 'SETOF loaded_snapshot_bytea', true, 'stable', 'safe'),
	('snapshot_info',
	 'stream_id text',
	 'TABLE(sequence_number bigint, state_schema_version bigint, state_size bigint, '
	 'created_at timestamp with time zone)', true, 'stable', 'safe'),
	('snapshot_should_take',
	 'event_count bigint, last_sequence_number bigint, snapshot_interval bigint',
	 'boolean', false, 'immutable', 'safe'),
	('snapshot_stats', 'OUT datid oid, OUT datname name, OUT kind text, OUT scope text, OUT loads_found bigint, OUT loads_not_found bigint, OUT loads_unrecognized bigint'
	 ', OUT loads_out_of_bounds bigint, OUT loads_off bigint, OUT saves_stored bigint, OUT saves_older bigint, OUT saves_same bigint'
	 ', OUT saves_suppressed bigint, OUT saves_off bigint, OUT saves_rolled_back bigint, OUT save_retries bigint'
	 ', OUT load_batches bigint, OUT load_batch_streams bigint, OUT save_batches bigint, OUT save_batch_streams bigint'
	 ', OUT bytes_loaded bigint, OUT bytes_saved bigint, OUT stats_since timestamp with time zone',
	 'SETOF record', true, 'volatile', 'restricted'),
	('snapshot_stats_reset', '', 'void', false, 'volatile', 'restricted'),
	('snapshot_due',
	 'stream_id text, recognized_schema_versions bigint[], event_count bigint, snapshot_interval bigint',
	 'boolean', false, 'stable', 'safe'),
	('snapshot_delete',
	 'stream_id text, max_sequence_number bigint DEFAULT NULL::bigint, '
	 'max_created_at timestamp with time zone DEFAULT NULL::timestamp with time zone, '
	 'min_sequence_number bigint DEFAULT NULL::bigint, '
	 'min_created_at timestamp with time zone DEFAULT NULL::timestamp with time zone',
	 'bigint', false, 'volatile', 'unsafe'),
	('snapshot_save_many',
	 'stream_ids text[], sequence_numbers bigint[], state_schema_versions bigint[], states json[], '
	 'metadata json[] DEFAULT NULL::json[], '
	 'created_at timestamp with time zone[] DEFAULT NULL::timestamp with time zone[], replace boolean DEFAULT true',
	 'TABLE(stream_id text, stored boolean)', true, 'volatile', 'unsafe'),
	('snapshot_save_many_bytea',
	 'stream_ids text[], sequence_numbers bigint[], state_schema_versions bigint[], states bytea[], '
	 'metadata json[] DEFAULT NULL::json[], '
	 'created_at timestamp with time zone[] DEFAULT NULL::timestamp with time zone[], replace boolean DEFAULT true',
	 'TABLE(stream_id text, stored boolean)', true, 'volatile', 'unsafe'),
	('snapshot_load_many',
	 'stream_ids text[], recognized_schema_versions bigint[], max_sequence_numbers bigint[] DEFAULT NULL::bigint[]',
	 'TABLE(stream_id text, sequence_number bigint, state_schema_version bigint, state json, metadata jsonb, '
	 'created_at timestamp with time zone)', true, 'stable', 'safe'),
	('snapshot_load_many_bytea',
	 'stream_ids text[], recognized_schema_versions bigint[], max_sequence_numbers bigint[] DEFAULT NULL::bigint[]',
	 'TABLE(stream_id text, sequence_number bigint, state_schema_version bigint, state bytea, metadata jsonb, '
	 'created_at timestamp with time zone)', true, 'stable', 'safe'),
	('snapshot_census',
	 'stream_id_prefix text DEFAULT ''''::text',
	 'TABLE(state_schema_version bigint, snapshots bigint, streams bigint)', true, 'stable', 'safe'),
	('snapshot_outdated',
	 'stream_id_prefix text, recognized_schema_versions bigint[], max_streams integer DEFAULT 1000, '
	 'after_stream_id text DEFAULT NULL::text',
	 'SETOF text', true, 'stable', 'safe'),
	-- A procedure, which has no result.
	('snapshot_purge',
	 'IN stream_id_prefix text, IN recognized_schema_versions bigint[] DEFAULT NULL::bigint[], '
	 'IN min_created_at timestamp with time zone DEFAULT NULL::timestamp with time zone, '
	 'IN max_created_at timestamp with time zone DEFAULT NULL::timestamp with time zone, '
	 'IN batch_size integer DEFAULT 1000, INOUT deleted bigint DEFAULT NULL::bigint',
	 NULL, false, 'volatile', 'unsafe'),
	('snapshot_dictionary_estimate',
	 'stream_id_prefix text, state_schema_version bigint DEFAULT NULL::bigint, max_samples integer DEFAULT 1000, '
	 'max_size integer DEFAULT 65536, level integer DEFAULT 3, min_samples integer DEFAULT 10, '
	 'OUT snapshots bigint, OUT samples integer, OUT state_size bigint, OUT stored_size bigint, '
	 'OUT packed_size bigint, OUT ratio double precision, OUT savings bigint, OUT dictionary_size integer',
	 'record', false, 'volatile', 'unsafe'),
	('snapshot_dictionary_train',
	 'stream_id_prefix text, state_schema_version bigint DEFAULT NULL::bigint, max_samples integer DEFAULT 1000, '
	 'max_size integer DEFAULT 65536, level integer DEFAULT 3, min_samples integer DEFAULT 10, '
	 'OUT number bigint, OUT snapshots bigint, OUT samples integer, OUT state_size bigint, OUT stored_size bigint, '
	 'OUT packed_size bigint, OUT ratio double precision, OUT savings bigint, OUT dictionary_size integer',
	 'record', false, 'volatile', 'unsafe'),
	('snapshot_dictionary_retire', 'number bigint', 'boolean', false, 'volatile', 'unsafe'),
	('snapshot_dictionaries',
	 'OUT number bigint, OUT stream_id_prefix text, OUT state_schema_version bigint, OUT level integer, '
	 'OUT active boolean, OUT trained_at timestamp with time zone, OUT samples integer, '
	 'OUT ratio double precision, OUT size integer',
	 'SETOF record', true, 'volatile', 'restricted'),
	('snapshot_repack',
	 'IN stream_id_prefix text, IN batch_size integer DEFAULT 100, INOUT repacked bigint DEFAULT NULL::bigint',
	 NULL, false, 'volatile', 'unsafe'),
	('snapshot_ensure_durable', 'slot smallint', 'integer', false, 'immutable', 'unsafe');

\if :managed
	DELETE FROM signature WHERE name ~ '^snapshot_(census|outdated|purge|stats|dictionar|repack|ensure)';
	SELECT skip('no functions for upkeep, statistics, dictionaries and Citus', 71);
\endif

SELECT set_eq(
	$$SELECT p.proname::text FROM pg_proc AS p, member AS m
	  WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid
		  AND p.proname NOT IN ('snapshot_state_in', 'snapshot_state_out', 'snapshot_state_recv', 'snapshot_state_send',
								'snapshot_state_to_json', 'snapshot_dictionary_guard')$$,
	'SELECT name FROM signature',
	'the extension has these functions and no others, but for those of its type and its trigger');

SELECT is(array_agg(proname::text ORDER BY proname), CASE WHEN NOT :'managed' THEN '{snapshot_purge,snapshot_repack}'::text[] END,
		  'snapshot_purge and snapshot_repack are procedures, the others are functions')
FROM pg_proc WHERE proname LIKE 'snapshot\_%' AND prokind = 'p';

SELECT is((SELECT count(*) FROM pg_proc AS p WHERE p.proname = s.name), 1::bigint,
		  s.name || ' is one function: no overload makes a call ambiguous')
FROM signature AS s;

SELECT is(pg_get_function_arguments(p.oid), s.arguments, s.name || ' has its parameters and defaults')
FROM signature AS s LEFT JOIN pg_proc AS p ON p.proname = s.name;

SELECT is(pg_get_function_result(p.oid), s.result, s.name || ' has its result')
FROM signature AS s LEFT JOIN pg_proc AS p ON p.proname = s.name;

SELECT is(string_agg(format('%s %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum),
		  'sequence_number bigint, state_schema_version bigint, ' || v.state || ', metadata jsonb, '
		  'created_at timestamp with time zone',
		  'the columns of ' || v.type)
FROM (VALUES ('loaded_snapshot', 'state json'), ('loaded_snapshot_bytea', 'state bytea')) AS v (type, state)
	 LEFT JOIN pg_attribute ON attrelid = to_regclass(v.type)
GROUP BY v.type, v.state ORDER BY v.type;

SELECT is(ARRAY[p.proretset::text, p.provolatile::text, p.proparallel::text],
		  ARRAY[s.returns_set::text, left(s.volatility, 1), left(s.parallel, 1)],
		  format('%s is %s and parallel %s', s.name, s.volatility, s.parallel))
FROM signature AS s LEFT JOIN pg_proc AS p ON p.proname = s.name;

SELECT ok(NOT p.proisstrict AND NOT p.prosecdef AND (p.proconfig IS NULL OR :'managed'),
		  s.name || ' is not strict, runs with the invoker''s rights, and has no SET clause')
FROM signature AS s LEFT JOIN pg_proc AS p ON p.proname = s.name;

SELECT is(p.proacl, NULL, s.name || ' may be called by everyone')
FROM signature AS s LEFT JOIN pg_proc AS p ON p.proname = s.name;

SELECT is(p.prorows, v.prorows::real, format('%s is planned as returning %s', v.name, v.prorows))
FROM (VALUES ('snapshot_load', 1), ('snapshot_load_bytea', 1), ('snapshot_info', 1), ('snapshot_load_many', 100),
			 ('snapshot_load_many_bytea', 100), ('snapshot_census', 10), ('snapshot_outdated', 1000)
) AS v (name, prorows) LEFT JOIN pg_proc AS p ON p.proname = v.name
WHERE v.name IN (SELECT name FROM signature);

-- The functions: untyped parameters and literals resolve

PREPARE save_some AS SELECT snapshot_save($1, $2, $3, $4);
PREPARE save_all AS SELECT snapshot_save($1, $2, $3, $4, $5, $6, $7);
PREPARE save_bytea_some AS SELECT snapshot_save_bytea($1, $2, $3, $4);
PREPARE save_bytea_all AS SELECT snapshot_save_bytea($1, $2, $3, $4, $5, $6, $7);
PREPARE load_some AS SELECT * FROM snapshot_load($1, $2);
PREPARE load_all AS SELECT * FROM snapshot_load($1, $2, $3, $4);
PREPARE load_bytea_some AS SELECT * FROM snapshot_load_bytea($1, $2);
PREPARE load_bytea_all AS SELECT * FROM snapshot_load_bytea($1, $2, $3, $4);
PREPARE info_all AS SELECT * FROM snapshot_info($1);
PREPARE should_take_all AS SELECT snapshot_should_take($1, $2, $3);
PREPARE due_all AS SELECT snapshot_due($1, $2, $3, $4);
PREPARE delete_some AS SELECT snapshot_delete($1);
PREPARE delete_all AS SELECT snapshot_delete($1, $2, $3, $4, $5);
PREPARE save_many_some AS SELECT snapshot_save_many($1, $2, $3, $4);
PREPARE save_many_all AS SELECT snapshot_save_many($1, $2, $3, $4, $5, $6, $7);
PREPARE save_many_bytea_some AS SELECT snapshot_save_many_bytea($1, $2, $3, $4);
PREPARE save_many_bytea_all AS SELECT snapshot_save_many_bytea($1, $2, $3, $4, $5, $6, $7);
PREPARE load_many_some AS SELECT * FROM snapshot_load_many($1, $2);
PREPARE load_many_all AS SELECT * FROM snapshot_load_many($1, $2, $3);
PREPARE load_many_bytea_some AS SELECT * FROM snapshot_load_many_bytea($1, $2);
PREPARE load_many_bytea_all AS SELECT * FROM snapshot_load_many_bytea($1, $2, $3);
SELECT NOT :'managed' AS upkeep \gset
\if :upkeep
PREPARE census_all AS SELECT * FROM snapshot_census($1);
PREPARE outdated_some AS SELECT * FROM snapshot_outdated($1, $2);
PREPARE outdated_all AS SELECT * FROM snapshot_outdated($1, $2, $3, $4);
\endif

SELECT is(p.parameter_types::text, v.types, format('the untyped parameters of %s resolve', v.name))
FROM (VALUES
	('save_some',       '{text,bigint,bigint,json}'),
	('save_all',        '{text,bigint,bigint,json,json,"timestamp with time zone",boolean}'),
	('save_bytea_some', '{text,bigint,bigint,bytea}'),
	('save_bytea_all',  '{text,bigint,bigint,bytea,json,"timestamp with time zone",boolean}'),
	('load_some',       '{text,bigint[]}'),
	('load_all',        '{text,bigint[],bigint,"timestamp with time zone"}'),
	('load_bytea_some', '{text,bigint[]}'),
	('load_bytea_all',  '{text,bigint[],bigint,"timestamp with time zone"}'),
	('info_all',        '{text}'),
	('should_take_all', '{bigint,bigint,bigint}'),
	('due_all',         '{text,bigint[],bigint,bigint}'),
	('delete_some',     '{text}'),
	('delete_all',      '{text,bigint,"timestamp with time zone",bigint,"timestamp with time zone"}'),
	('save_many_some',       '{text[],bigint[],bigint[],json[]}'),
	('save_many_all',        '{text[],bigint[],bigint[],json[],json[],"timestamp with time zone[]",boolean}'),
	('save_many_bytea_some', '{text[],bigint[],bigint[],bytea[]}'),
	('save_many_bytea_all',  '{text[],bigint[],bigint[],bytea[],json[],"timestamp with time zone[]",boolean}'),
	('load_many_some',       '{text[],bigint[]}'),
	('load_many_all',        '{text[],bigint[],bigint[]}'),
	('load_many_bytea_some', '{text[],bigint[]}'),
	('load_many_bytea_all',  '{text[],bigint[],bigint[]}'),
	('census_all',           '{text}'),
	('outdated_some',        '{text,bigint[]}'),
	('outdated_all',         '{text,bigint[],integer,text}')
) AS v (name, types) LEFT JOIN pg_prepared_statements AS p USING (name)
WHERE NOT (:'managed' AND name ~ '^(census|outdated)_');

SELECT ok(snapshot_save('literal', 7, 1, '{"n": 7}', '{"by": "hand"}', '2024-01-01'), 'literals resolve');
SELECT is(pg_temp.loaded('literal', '{1}'), '7 v1 {"n": 7}', 'literals resolve in a load as well');
SELECT is((SELECT sequence_number FROM snapshot_load('literal', ARRAY[1])), 7::bigint,
		  'an array of plain integers will do');
SELECT ok(snapshot_save(state => '{"named": true}'::jsonb::json, state_schema_version => 2,
						sequence_number => 8, stream_id => 'literal'),
		  'arguments can be given by name, and a jsonb by a cast');
SELECT is(pg_temp.loaded('literal', '{2}'), '8 v2 {"named": true}', 'each arrives where it belongs');
SELECT is(pg_temp.loaded(varchar 'literal', '{2}') || pg_temp.loaded(name 'literal', '{2}'),
		  '8 v2 {"named": true}8 v2 {"named": true}', 'a varchar or a name is a stream_id too');

-- snapshot_save: true when stored, false when a newer snapshot of the version is kept

SELECT is(pg_temp.loaded('order-1', '{1}'), NULL, 'a stream without a snapshot loads no row');
SELECT is(pg_temp.save('order-1', 10), true, 'a first snapshot is stored');
SELECT is(pg_temp.loaded('order-1', '{1}'), '10 v1 {"n": 10}', 'and loaded');
SELECT is(pg_temp.save('order-1', 20), true, 'a newer one is stored');
SELECT is(pg_temp.kept('order-1'), '20 v1', 'and replaces the former');

CREATE TEMPORARY TABLE kept_before AS
SELECT s.ctid AS place, s.xmin::text AS writer, to_jsonb(s) AS content
FROM snapshot_store AS s WHERE s.stream_id = 'order-1';

SELECT is(snapshot_save('order-1', 19, 1, '{"n": "older"}', '{"x": 1}', clock_timestamp() + interval '23 hours'), false,
		  'an older one of the same version is not stored, which is no error');
SELECT results_eq(
	$$SELECT s.ctid, s.xmin::text, to_jsonb(s) FROM snapshot_store AS s WHERE s.stream_id = 'order-1'$$,
	'SELECT place, writer, content FROM kept_before',
	'and leaves the row as it is');
SELECT is(snapshot_save_bytea('order-1', 19, 1, 'older'), false, 'nor is an older one of the other kind');
SELECT is(pg_temp.loaded('order-1', '{1}'), '20 v1 {"n": 20}', 'the newer one is still loaded');

SELECT is(snapshot_save('order-1', 20, 1, '{"n": "again"}'), true,
		  'a snapshot of the same version and sequence number is stored');
SELECT is(pg_temp.loaded('order-1', '{1}'), '20 v1 {"n": "again"}', 'and replaces the kept one');
SELECT is(pg_temp.kept('order-1'), '20 v1', 'without a duplicate');

SELECT is(pg_temp.save('order-1', 5, 2), true, 'a snapshot of another version is stored, however old');
SELECT is(pg_temp.kept('order-1'), '5 v2', 'and replaces the one of the former version');
SELECT is(pg_temp.save('order-1', 4, 1), true, 'even if its version is the lower one');
SELECT is(pg_temp.kept('order-1'), '4 v1', 'so by default a stream has one snapshot');
SELECT is(pg_temp.save('order-1', 3, 1), false, 'and its version guards it again');

SELECT is(pg_temp.save('order-2', 1), true, 'another stream is saved');
SELECT is(pg_temp.kept('order-1') || ' / ' || pg_temp.kept('order-2'), '4 v1 / 1 v1', 'streams are separate');
SELECT is(slot, 0::smallint, 'a stream''s only snapshot is in slot 0')
FROM snapshot_store WHERE stream_id = 'order-1';

-- snapshot_save with replace => false: what is the same is left as it is

CREATE FUNCTION pg_temp.row_of(stream text) RETURNS text LANGUAGE sql
AS $$ SELECT string_agg(s.ctid || ' ' || s.xmin || ' ' || to_jsonb(s), E'\n' ORDER BY slot) FROM snapshot_store AS s WHERE s.stream_id = $1 $$;
SELECT is(snapshot_save('once', 5, 1, '{"n": 5}', replace => false), true, 'a first snapshot is stored without replace, too');
SELECT is(snapshot_save('once', 6, 1, '{"n": 6}', replace => false), true, 'so is a newer one');
CREATE TEMPORARY TABLE once AS SELECT pg_temp.row_of('once') AS row;
SELECT is(snapshot_save('once', 6, 1, '{"n": "again"}', replace => false), false,
		  'one of the same version and sequence number is not, which is no error');
SELECT is(snapshot_save_bytea('once', 6, 1, 'again', replace => false), false, 'nor one of bytes');
SELECT is(snapshot_save('once', 5, 1, '{}', replace => false), false, 'nor an older one');
SELECT is(pg_temp.row_of('once'), row, 'and they leave the row as it is') FROM once;
SELECT is(snapshot_save('once', 6, 2, '{"n": 6}', replace => false), true, 'one of another version replaces');
SELECT is(pg_temp.kept('once'), '6 v2', 'as it would otherwise');
SELECT is(snapshot_save('once', 6, 2, '{"n": "again"}', replace => true), true, 'with replace the same is stored');
SELECT is(pg_temp.loaded('once', '{2}'), '6 v2 {"n": "again"}', 'in the place of what was kept');
\if :managed
	SELECT skip('one snapshot of a stream', 15);
\else
SET LOCAL snapshot_store.keep = 3;
SET LOCAL snapshot_store.keep_versions = 2;
SELECT ok(bool_and(pg_temp.save('once', n, v)), 'a stream with several of two versions')
FROM (VALUES (10, 1), (20, 1), (10, 2), (30, 2)) AS kept (n, v);
UPDATE once SET row = pg_temp.row_of('once');
SELECT is(snapshot_save('once', n, v, '{}', replace => false), false, format('%s v%s is left as it is', n, v))
FROM (VALUES (10, 1), (20, 1), (6, 2), (10, 2), (30, 2)) AS kept (n, v);
SELECT is(pg_temp.row_of('once'), row, 'and nothing is moved or removed') FROM once;
SELECT is(snapshot_save('once', 15, 1, '{}', replace => false), true, 'one in between is stored');
SELECT is(snapshot_save('once', 20, 2, '{}', replace => false), true, 'also where the lowest sequence makes room');
SELECT is(pg_temp.kept('once'), '10 v1, 10 v2, 15 v1, 20 v1, 20 v2, 30 v2', 'and all others are there');
RESET snapshot_store.keep;
RESET snapshot_store.keep_versions;
SELECT is(snapshot_save('once', 20, 1, '{}', replace => false), false, 'after the settings were lowered the same is refused');
SELECT is(pg_temp.kept('once'), '10 v1, 10 v2, 15 v1, 20 v1, 20 v2, 30 v2', 'and nothing changes');
SELECT is(snapshot_save('once', 15, 1, '{}', replace => false), false, 'one that is older than the newest, too');
SELECT is(snapshot_save('once', 21, 1, '{}', replace => false), true, 'a newer one is stored');
SELECT is(pg_temp.kept('once'), '21 v1', 'and does what the settings say');
\endif

-- snapshot_save: created_at and metadata

CREATE TEMPORARY TABLE clock AS SELECT clock_timestamp() AS started;
SELECT ok(pg_temp.save('clock', 1), 'a snapshot is saved without a time');
SELECT ok(l.created_at BETWEEN c.started AND clock_timestamp() AND l.created_at > now(),
		  'created_at is the clock''s, not the transaction''s start')
FROM clock AS c, snapshot_load('clock', '{1}') AS l;
SELECT is((SELECT metadata FROM snapshot_load('clock', '{1}')), NULL, 'without metadata there is none');

SELECT ok(snapshot_save('given', 1, 1, '{}', '{"cause": "test", "of": [1, 2.50, null]}',
						'2001-02-03 04:05:06.789+00'),
		  'a snapshot is saved with a time and metadata');
SELECT is(l.created_at, '2001-02-03 04:05:06.789+00'::timestamptz, 'the given time is kept')
FROM snapshot_load('given', '{1}') AS l;
SELECT is(l.metadata, '{"cause": "test", "of": [1, 2.50, null]}'::jsonb, 'metadata comes back')
FROM snapshot_load('given', '{1}') AS l;
SELECT ok(snapshot_save('given', 2, 1, '{}', 'null'), 'metadata may be a JSON null');
SELECT is(l.metadata, 'null'::jsonb, 'which is not the same as none')
FROM snapshot_load('given', '{1}') AS l;
SELECT ok(snapshot_save('given', 3, 1, '{}'), 'a snapshot without metadata replaces one with it');
SELECT is(l.metadata, NULL, 'and nothing of the former stays')
FROM snapshot_load('given', '{1}') AS l;
SELECT ok(snapshot_save_bytea('given', 4, 1, '\x00', '{"bytes": true}', '2001-02-03 00:00:00+00'),
		  'the twin for bytes takes them too');
SELECT is(ROW(l.*)::text, ROW(4::bigint, 1::bigint, '\x00'::bytea, '{"bytes": true}'::jsonb,
							  '2001-02-03 00:00:00+00'::timestamptz)::text, 'and gives them back')
FROM snapshot_load_bytea('given', '{1}') AS l;

-- snapshot_load: the most recent recognized snapshot, within the bounds

\if :managed
	SELECT skip('one snapshot of a stream', 23);
\else
SET LOCAL snapshot_store.keep = 3;
SET LOCAL snapshot_store.keep_versions = 3;
SELECT ok(bool_and(pg_temp.save('versions', n, v, timestamptz '2024-01-01 00:00:00+00' + n * interval '1 day')),
		  'a stream with several snapshots of three versions')
FROM (VALUES (10, 1), (20, 1), (30, 1), (15, 2), (30, 2), (5, 7)) AS kept (n, v);

SELECT is(pg_temp.loaded('versions', v.recognized, v.max_sequence_number, v.max_created_at), v.expected,
		  v.description)
FROM (VALUES
	('{1}'::bigint[], NULL::bigint, NULL::timestamptz, '30 v1 {"n": 30}', 'the highest sequence number is loaded'),
	('{2}', NULL, NULL, '30 v2 {"n": 30}', 'each version has its own'),
	('{7}', NULL, NULL, '5 v7 {"n": 5}', 'a recognized snapshot is found behind newer ones'),
	('{1,2}', NULL, NULL, '30 v2 {"n": 30}', 'of equal sequence numbers the higher version is loaded'),
	('{2,1}', NULL, NULL, '30 v2 {"n": 30}', 'in whatever order the versions are named'),
	('{1,7}', NULL, NULL, '30 v1 {"n": 30}', 'the sequence number counts before the version'),
	('{1,1,1}', NULL, NULL, '30 v1 {"n": 30}', 'a version may be named twice'),
	('[5:6]={1,2}', NULL, NULL, '30 v2 {"n": 30}', 'an array may begin at any subscript'),
	('{0,1,3,4294967295}', NULL, NULL, '30 v1 {"n": 30}', 'versions that nobody saved do no harm'),
	('{3,4}', NULL, NULL, NULL, 'nothing recognized: no row'),
	('{}', NULL, NULL, NULL, 'an empty array recognizes nothing'),
	('{1,2}', 30, NULL, '30 v2 {"n": 30}', 'the highest sequence number admitted is inclusive'),
	('{1,2}', 29, NULL, '20 v1 {"n": 20}', 'what lies above it is not chosen'),
	('{2}', 29, NULL, '15 v2 {"n": 15}', 'a bound on the sequence number holds for each version'),
	('{1}', 9, NULL, NULL, 'nothing at or below the bound: no row'),
	('{7}', 9223372036854775807, 'infinity', '5 v7 {"n": 5}', 'the widest bounds are none'),
	('{1,2}', NULL, '2024-01-31 00:00:00+00', '30 v2 {"n": 30}', 'the latest time admitted is inclusive'),
	('{1,2}', NULL, '2024-01-30 23:59:59.999999+00', '20 v1 {"n": 20}',
	 'a bound on the time holds to the microsecond'),
	('{1,2,7}', NULL, '-infinity', NULL, 'nothing at or before the bound: no row'),
	('{1,2,7}', 19, '2024-01-11 00:00:00+00', '10 v1 {"n": 10}', 'both bounds hold together'),
	('{1,2,7}', 14, '2024-01-31 00:00:00+00', '10 v1 {"n": 10}', 'the narrower of the two decides'),
	('{2}', 14, '2024-01-31 00:00:00+00', NULL, 'and what only one of them admits is not loaded')
) AS v (recognized, max_sequence_number, max_created_at, expected, description);
\endif

SELECT ok(NOT EXISTS (SELECT FROM snapshot_load('nobody', '{1}')), 'an unknown stream loads no row');
SELECT is((SELECT count(*) FROM (SELECT snapshot_load('nobody', '{1}')) AS l), 0::bigint,
		  'in the select list as well');
SELECT is((SELECT count(*) FROM snapshot_load('order-1', '{1,2,7}')), 1::bigint, 'at most one row is loaded');

-- snapshot_load: kinds of state

\if :managed
	SELECT skip('one snapshot of a stream', 12);
\else
SELECT ok(snapshot_save_bytea('kinds', 10, 1, '\x10') AND snapshot_save('kinds', 20, 1, '20')
		  AND snapshot_save_bytea('kinds', 30, 2, '\x30'), 'a stream with states of both kinds');

SELECT is(pg_temp.error_of('SELECT pg_temp.' || call), expected, description)
FROM (VALUES
	($$loaded('kinds', '{1}')$$, 'no error', 'the chosen snapshot''s kind decides, not an older one''s'),
	($$loaded('kinds', '{1,2}')$$, '42804 the snapshot of stream "kinds" holds its state as bytea',
	 'choosing a snapshot of the other kind is an error'),
	($$loaded('kinds', '{1}', 10)$$, '42804 the snapshot of stream "kinds" holds its state as bytea',
	 'choosing one within bounds is too'),
	($$loaded('kinds', '{3}')$$, 'no error', 'an unrecognized snapshot of the other kind is none'),
	($$loaded('kinds', '{2}', 29)$$, 'no error', 'a snapshot of the other kind out of bounds is none either'),
	($$loaded_bytea('kinds', '{2}')$$, 'no error', 'bytes are loaded by the twin'),
	($$loaded_bytea('kinds', '{1}')$$, '42804 the snapshot of stream "kinds" holds its state as json',
	 'the twin for bytes refuses json likewise'),
	($$loaded_bytea('kinds', '{1}', 19)$$, 'no error', 'the twin for bytes reads behind it by bounds')
) AS v (call, expected, description);

SELECT is(pg_temp.loaded('kinds', '{1}') || ' ' || pg_temp.loaded_bytea('kinds', '{1}', 10) || ' ' ||
		  pg_temp.loaded_bytea('kinds', '{1,2}'), '20 v1 20 10 v1 \x10 30 v2 \x30',
		  'each is loaded as it was saved');
SELECT ok(snapshot_save('kinds', 10, 1, '"json"') AND snapshot_save_bytea('kinds', 20, 1, 'bytes'),
		  'a save may change the kind, either way');
SELECT is(pg_temp.loaded('kinds', '{1}', 10) || ' ' || pg_temp.loaded_bytea('kinds', '{1}'),
		  '10 v1 "json" 20 v1 \x6279746573', 'and then the other function loads it');
RESET snapshot_store.keep;
RESET snapshot_store.keep_versions;
\endif

-- An unrecognized state is never read; neither is any by info, due or delete

\if :managed
	SELECT skip('one snapshot of a stream', 8);
\else
CREATE FUNCTION pg_temp.state_reads_of(query text) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE
	-- Large states lie in the TOAST table: how often has its index been asked?
	toast_index constant oid := (SELECT i.indexrelid
								 FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.reltoastrelid
								 WHERE c.oid = 'snapshot_store'::regclass);
	before constant bigint := pg_stat_get_xact_numscans(toast_index);
BEGIN
	EXECUTE query;
	RETURN pg_stat_get_xact_numscans(toast_index) - before;
END
$$;

SET LOCAL snapshot_store.keep_versions = 2;
SELECT ok(snapshot_save('large', 10, 1, (SELECT json_agg(md5(i::text)) FROM generate_series(1, 2000) AS i))
		  AND snapshot_save_bytea('large', 20, 2, (SELECT string_agg(sha256(i::text::bytea), '')
												   FROM generate_series(1, 2000) AS i)),
		  'a stream with large states of two versions');
SELECT cmp_ok(pg_temp.state_reads_of('SELECT length(state::text) FROM snapshot_load(''large'', ''{1}'')'),
			  '>', 0::bigint, 'a recognized state is read');
SELECT is(pg_temp.state_reads_of(query), 0::bigint, description)
FROM (VALUES
	('SELECT * FROM snapshot_load(''large'', ''{3}'')', 'an unrecognized one is not'),
	('SELECT * FROM snapshot_load(''large'', ''{}'')', 'nor is anything when nothing is recognized'),
	('SELECT * FROM snapshot_load(''large'', ''{1,2}'', 9)', 'nor what is out of bounds'),
	('SELECT * FROM snapshot_info(''large'')', 'snapshot_info reads no state'),
	('SELECT snapshot_due(''large'', ''{1,2}'', 100, 10)', 'snapshot_due reads no state'),
	('SELECT snapshot_save(''large'', 9, 1, ''{}'')', 'an older save reads no state')
) AS v (query, description);
RESET snapshot_store.keep_versions;
\endif

-- snapshot_should_take

SELECT is(snapshot_should_take(v.event_count, v.last_sequence_number, v.snapshot_interval), v.expected,
		  format('%s events, last snapshot %s, interval %s: %s', v.event_count,
				 coalesce('at ' || v.last_sequence_number, 'none'), v.snapshot_interval, v.description))
FROM (VALUES
	(100, NULL, 100, true, 'an interval without a snapshot: take one'),
	(100, 0, 100, true, 'a last one at 0 is none'),
	(99, NULL, 100, false, 'one event short'),
	(199, 100, 100, false, 'one event short of the next'),
	(200, 100, 100, true, 'at least an interval since the last'),
	(1000, 100, 100, true, 'or many'),
	(100, 100, 100, false, 'none since the last'),
	(99, 100, 1, false, 'the snapshot is ahead of the stream'),
	(0, NULL, 1, false, 'no events: never'),
	(0, NULL, 0, false, 'no events and no interval: never'),
	(100, NULL, 0, false, 'an interval of 0: never'),
	(1, NULL, 1, true, 'an interval of 1: each time'),
	(1, 1, 1, false, 'but once'),
	(9223372036854775807, NULL, 9223372036854775807, true, 'no overflow'),
	(9223372036854775807, 9223372036854775807, 1, false, 'no overflow'),
	(9223372036854775807, 1, 9223372036854775807, false, 'no overflow'),
	(1, 9223372036854775807, 1, false, 'no overflow'),
	(0, 9223372036854775807, 9223372036854775807, false, 'no overflow')
) AS v (event_count, last_sequence_number, snapshot_interval, expected, description);

-- snapshot_due: the same against the stored snapshot that the caller recognizes

SET LOCAL snapshot_store.keep_versions = 2;
SELECT ok(pg_temp.save('due', 100, 1) AND pg_temp.save('due', 130, 2)
		  AND snapshot_save_bytea('due-bytea', 100, 1, ''),
		  'streams with snapshots at 100 of version 1 and at 130 of version 2');
SELECT is(snapshot_due(v.stream_id, v.recognized, v.event_count, v.snapshot_interval), v.expected, v.description)
FROM (VALUES
	('due', '{1}'::bigint[], 199, 100, false, 'not due one event short of the interval'),
	('due', '{1}', 200, 100, true, 'due at the interval'),
	('due', '{2}', 229, 100, false, 'what counts is the snapshot that the caller recognizes'),
	('due', '{2}', 230, 100, true, 'and so it is due for each caller in its own time'),
	('due', '{1,2}', 229, 100, false, 'of several recognized ones the most recent counts'),
	('due', '{3}', 130, 100, true, 'after a schema change the stream is due again'),
	('due', '{3}', 99, 100, false, 'but only when there are enough events'),
	('due', '{}', 100, 100, true, 'recognizing nothing is having no snapshot'),
	('nobody', '{1}', 100, 100, true, 'a stream without a snapshot is due at the interval'),
	('nobody', '{1}', 99, 100, false, 'a stream without a snapshot is not due before'),
	('nobody', '{1}', 0, 100, false, 'a stream without events is not due'),
	('due', '{1}', 1000, 0, false, 'nothing is ever due with an interval of 0'),
	('due', '{1}', 0, 1, false, 'nothing is due when the stream was reset'),
	('due-bytea', '{1}', 200, 100, true, 'the kind of the state does not matter'),
	('due-bytea', '{1}', 199, 100, false, 'nor does it while nothing is due')
) AS v (stream_id, recognized, event_count, snapshot_interval, expected, description)
WHERE NOT (:'managed' AND stream_id = 'due' AND recognized = '{1}');
RESET snapshot_store.keep_versions;

\if :managed
	SELECT skip('one snapshot of a stream', 4);
\endif

-- snapshot_info: what is kept, newest first

\if :managed
	SELECT skip('one snapshot of a stream', 2);
\else
SET LOCAL snapshot_store.keep = 3;
SET LOCAL snapshot_store.keep_versions = 2;
SELECT ok(bool_and(pg_temp.save('info', n, v, timestamptz '2024-01-01 00:00:00+00' + n * interval '1 day')),
		  'a stream with four snapshots of two versions')
FROM (VALUES (1, 20, 1), (2, 10, 1), (3, 15, 2), (4, 30, 1)) AS kept (i, n, v);
SELECT results_eq(
	'SELECT sequence_number, state_schema_version, created_at FROM snapshot_info(''info'')',
	$$VALUES (30::bigint, 1::bigint, '2024-01-31 00:00:00+00'::timestamptz),
			 (20, 1, '2024-01-21 00:00:00+00'), (15, 2, '2024-01-16 00:00:00+00'),
			 (10, 1, '2024-01-11 00:00:00+00')$$,
	'snapshot_info lists what is kept, newest first');
\endif
SELECT is_empty('SELECT * FROM snapshot_info(''nobody'')', 'snapshot_info lists nothing for an unknown stream');
RESET snapshot_store.keep;
RESET snapshot_store.keep_versions;

SELECT ok(snapshot_save('compressed', 1, 1, to_json(repeat('0123456789', 10000)))
		  AND snapshot_save_bytea('short', 1, 1, 'bytes'), 'a large state that compresses well, and a short one');
SELECT is(i.state_size, coalesce(pg_column_size(s.state), pg_column_size(s.state_bytea))::bigint,
		  format('state_size is the state as stored (%s)', s.stream_id))
FROM snapshot_store AS s, snapshot_info(s.stream_id) AS i
WHERE s.stream_id IN ('compressed', 'short') ORDER BY s.stream_id;
SELECT cmp_ok(state_size, '<', 10000::bigint, 'so it is small for one that compresses well')
FROM snapshot_info('compressed');

-- Equal sequence number and version, which only hands can write: first the later save, then the higher slot

\if :managed
	SELECT skip('one snapshot of a stream', 3);
\else
INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
SELECT 'ties', slot, 1, 5, created_at, to_json(repeat('x', slot))
FROM (VALUES (0, '2024-01-01 00:00:00+00'::timestamptz), (1, '2024-01-02 00:00:00+00'),
			 (2, '2024-01-02 00:00:00+00'), (3, '2024-01-01 00:00:00+00')) AS v (slot, created_at);
SELECT is(pg_temp.loaded('ties', '{1}'), '5 v1 "xx"', 'of equals the later save is loaded, then the higher slot');
SELECT is(pg_temp.loaded('ties', '{1}', NULL, '2024-01-01 00:00:00+00'), '5 v1 "xxx"', 'of those within bounds as well');
SELECT is((SELECT array_agg(i.state_size ORDER BY i.ordinality) FROM snapshot_info('ties') WITH ORDINALITY AS i),
		  (SELECT array_agg(pg_column_size(s.state)::bigint ORDER BY s.created_at DESC, s.slot DESC)
		   FROM snapshot_store AS s WHERE s.stream_id = 'ties'), 'and snapshot_info lists them in this order');
\endif

-- snapshot_delete: how many went; bounds inclusive, in snapshot_load's order

\if :managed
	SELECT skip('one snapshot of a stream', 19);
\else
SET LOCAL snapshot_store.keep = 5;
CREATE FUNCTION pg_temp.delete(arguments text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	deleted bigint;
BEGIN
	PERFORM pg_temp.save('delete', n, 1, timestamptz '2024-01-01 00:00:00+00' + (60 - n) * interval '1 day')
	FROM generate_series(10, 50, 10) AS n;
	EXECUTE format('SELECT snapshot_delete(''delete''%s)', ', ' || arguments) INTO deleted;
	RETURN format('%s deleted, left: %s', deleted, pg_temp.kept('delete'));
END
$$;

-- Saved at 10, 20, 30, 40, 50; in time the other way round: 10 on February 20th, … 50 on January 11th.
SELECT is(pg_temp.delete(arguments), expected, description)
FROM (VALUES
	(NULL, '5 deleted, left: ', 'without bounds all snapshots of the stream go'),
	('NULL, NULL, NULL, NULL', '5 deleted, left: ', 'a NULL is no bound'),
	('30', '3 deleted, left: 40 v1, 50 v1', 'max_sequence_number is inclusive'),
	('max_sequence_number => 9', '0 deleted, left: 10 v1, 20 v1, 30 v1, 40 v1, 50 v1',
	 'bounds that match nothing delete nothing'),
	('max_created_at => ''2024-01-31 00:00:00+00''', '3 deleted, left: 10 v1, 20 v1',
	 'max_created_at is inclusive'),
	('max_created_at => ''2024-01-30 23:59:59.999999+00''', '2 deleted, left: 10 v1, 20 v1, 30 v1',
	 'max_created_at holds to the microsecond'),
	('min_sequence_number => 30', '3 deleted, left: 10 v1, 20 v1', 'min_sequence_number is inclusive'),
	('min_sequence_number => 51', '0 deleted, left: 10 v1, 20 v1, 30 v1, 40 v1, 50 v1', 'none so new: none goes'),
	('min_created_at => ''2024-01-31 00:00:00+00''', '3 deleted, left: 40 v1, 50 v1',
	 'min_created_at is inclusive'),
	('min_created_at => ''2024-01-31 00:00:00.000001+00''', '2 deleted, left: 30 v1, 40 v1, 50 v1',
	 'min_created_at holds to the microsecond'),
	('20, min_sequence_number => 20', '1 deleted, left: 10 v1, 30 v1, 40 v1, 50 v1', 'equal bounds delete the one'),
	('40, NULL, 20', '3 deleted, left: 10 v1, 50 v1', 'a range of sequence numbers'),
	('20, NULL, 40', '0 deleted, left: 10 v1, 20 v1, 30 v1, 40 v1, 50 v1', 'an empty range'),
	('NULL, ''2024-02-10 00:00:00+00'', NULL, ''2024-01-21 00:00:00+00''', '3 deleted, left: 10 v1, 50 v1',
	 'a range of times'),
	('40, ''2024-01-31 00:00:00+00''', '2 deleted, left: 10 v1, 20 v1, 50 v1',
	 'a sequence number and a time: what lies within both'),
	('40, ''2024-02-20 00:00:00+00'', 10, ''2024-01-31 00:00:00+00''', '3 deleted, left: 40 v1, 50 v1',
	 'all four bounds hold together'),
	('max_created_at => ''infinity'', min_created_at => ''-infinity''', '5 deleted, left: ',
	 'infinite bounds admit all')
) AS v (arguments, expected, description);

SET LOCAL snapshot_store.keep_versions = 2;
SELECT ok(pg_temp.save('delete', 10, 1) AND snapshot_save_bytea('delete', 20, 2, 'x'),
		  'snapshots of two versions and kinds');
SELECT is(snapshot_delete('delete'), 2::bigint, 'go at once, whatever their version and kind');
\endif
SELECT is(snapshot_delete('delete'), 0::bigint, 'and then there are none to delete');
SELECT is(pg_temp.kept('order-2'), '1 v1', 'other streams are not touched');
SELECT ok(pg_temp.save('delete', 7), 'after a deletion an older snapshot is stored');
SELECT is(pg_temp.loaded('delete', '{1}'), '7 v1 {"n": 7}', 'and loaded');
RESET snapshot_store.keep;
RESET snapshot_store.keep_versions;

-- The settings

\if :managed
	SELECT skip('no settings', 54);
\else
SELECT is(ARRAY[s.vartype, s.context, s.boot_val, s.min_val, s.max_val, s.unit, array_to_string(s.enumvals, ' ')],
		  ARRAY[v.vartype, v.context, v.boot_val, v.min_val, v.max_val, v.unit, v.enumvals],
		  format('snapshot_store.%s has its type, context, default and range', v.name))
FROM (VALUES
	('keep', 'integer', 'user', '1', '1', '100', NULL, NULL),
	('keep_versions', 'integer', 'user', '1', '1', '100', NULL, NULL),
	('enabled', 'bool', 'user', 'on', NULL, NULL, NULL, NULL),
	('durable', 'bool', 'user', 'on', NULL, NULL, NULL, NULL),
	('max_state_size', 'integer', 'superuser', '0', '0', '2147483647', 'B', NULL),
	('access_path', 'enum', 'user', 'auto', NULL, NULL, NULL, 'auto sql'),
	('track', 'bool', 'superuser', 'on', NULL, NULL, NULL, NULL)
) AS v (name, vartype, context, boot_val, min_val, max_val, unit, enumvals)
LEFT JOIN pg_settings AS s ON s.name = 'snapshot_store.' || v.name;

SELECT is((SELECT count(*) FROM pg_settings WHERE name LIKE 'snapshot\_store.%'), 7::bigint, 'there are no others');
SELECT is_empty('SELECT name FROM pg_settings WHERE name LIKE ''snapshot\_store.%'' AND short_desc IS NULL',
				'each is described');
SELECT is(pg_temp.error_of('SET LOCAL snapshot_store.' || assignment), expected, description)
FROM (VALUES
	('keeep = 3', '42602 invalid configuration parameter name "snapshot_store.keeep"',
	 'a misspelt setting is refused'),
	('keep = 0', '22023 0 is outside the valid range for parameter "snapshot_store.keep" (1 .. 100)',
	 'keep is at least 1'),
	('keep_versions = 101',
	 '22023 101 is outside the valid range for parameter "snapshot_store.keep_versions" (1 .. 100)',
	 'keep_versions is at most 100'),
	('access_path = direct', '22023 invalid value for parameter "snapshot_store.access_path": "direct"',
	 'access_path is auto or sql')
) AS v (assignment, expected, description);

CREATE ROLE snapshot_store_test_user;
SELECT is(pg_temp.under('role', 'snapshot_store_test_user',
						'SELECT pg_temp.error_of(''SET LOCAL snapshot_store.max_state_size = 1'')'),
		  '42501 permission denied to set parameter "snapshot_store.max_state_size"',
		  'only a superuser limits the size of states');

-- enabled = off: the store that does nothing

SET LOCAL snapshot_store.enabled = off;
SELECT is(snapshot_save('order-1', 100, 1, '{}'), false, 'while the store is off a save returns false');
SELECT is(snapshot_save_bytea('order-1', 100, 1, ''), false, 'a save of bytes does, too');
SELECT is(pg_temp.loaded('order-1', '{1}'), NULL, 'a load returns no row');
SELECT is(pg_temp.loaded_bytea('order-1', '{1}'), NULL, 'a load of bytes returns none either');
SELECT is(snapshot_due('order-1', '{1}', 1000, 1), false, 'nothing is due');
SELECT is(snapshot_due('nobody', '{1}', 1000, 1), false, 'nothing is due for a stream without a snapshot either');
SELECT is(snapshot_should_take(1000, 0, 1), true, 'snapshot_should_take only counts');
SELECT is(pg_temp.under('transaction_read_only', 'on', 'SELECT snapshot_save(''order-1'', 100, 1, ''{}'')'),
		  'false',
		  'a save returns false even in a read-only transaction');
SELECT is(pg_temp.under('role', 'snapshot_store_test_user',
						'SELECT snapshot_save(''order-1'', 100, 1, ''{}'')
							OR snapshot_due(''order-1'', ''{1}'', 1000, 1)
							OR EXISTS (SELECT FROM snapshot_load(''order-1'', ''{1}''))'), 'false',
		  'the table is not touched: no privilege is asked for');
SAVEPOINT renamed;
ALTER TABLE snapshot_store RENAME TO elsewhere;
SELECT is(snapshot_save('order-1', 100, 1, '{}') OR snapshot_due('order-1', '{1}', 1000, 1)
		  OR EXISTS (SELECT FROM snapshot_load('order-1', '{1}')), false,
		  'the table is not touched: it need not be there');
ROLLBACK TO SAVEPOINT renamed;
SELECT is(pg_temp.error_of('SELECT ' || call), expected, 'arguments are still checked: ' || call)
FROM (VALUES
	($$snapshot_save('', 1, 1, '{}')$$, '22023 stream_id must not be empty'),
	($$snapshot_save('order-1', NULL, 1, '{}')$$, '22004 sequence_number must not be null'),
	($$snapshot_save_bytea('order-1', -1, 1, '')$$, '22003 sequence_number must not be negative'),
	($$snapshot_load('order-1', NULL)$$, '22004 recognized_schema_versions must not be null'),
	($$snapshot_load_bytea('order-1', '{-1}')$$, '22003 recognized_schema_versions is out of range'),
	($$snapshot_due('order-1', '{1}', 1, -1)$$, '22003 snapshot_interval must not be negative')
) AS v (call, expected);
SELECT is((SELECT count(*) FROM snapshot_info('order-1')), 1::bigint, 'snapshot_info shows what is kept');
SELECT is(snapshot_delete('order-2'), 1::bigint,
		  'and snapshot_delete deletes it, so that a reset stream stays reset');
RESET snapshot_store.enabled;
SELECT is(pg_temp.loaded('order-1', '{1}'), '4 v1 {"n": 4}', 'on again, a kept snapshot is loaded');
SELECT is(pg_temp.loaded('order-2', '{1}'), NULL, 'and a deleted one is not');

-- max_state_size: raw bytes; 0 means no limit

SET LOCAL snapshot_store.max_state_size = 10;
SELECT is(pg_temp.error_of(format('SELECT snapshot_save(''size'', %s)', arguments)), expected, description)
FROM (VALUES
	($$1, 1, '"01234567"'$$, 'no error', 'a state of as many bytes as max_state_size is stored'),
	($$2, 1, '"012345678"'$$, '54000 state is too large', 'one of a byte more is not'),
	($$2, 1, U&'"\00E9\00E9\00E9\00E9"'$$, 'no error', 'max_state_size counts bytes'),
	($$3, 1, U&'"\00E9\00E9\00E9\00E9x"'$$, '54000 state is too large', 'max_state_size does not count characters'),
	($$3, 1, '1', json_build_object('long', repeat('x', 100))$$, '54000 state is too large', 'metadata count too')
) AS v (arguments, expected, description);
SELECT is(pg_temp.error_of('SELECT snapshot_save_bytea(''size'', 4, 1, ''\x0102030405060708090a'')'), 'no error',
		  'max_state_size admits a state of bytes of that size');
SELECT is(pg_temp.error_of('SELECT snapshot_save_bytea(''size'', 5, 1, ''\x0102030405060708090a0b'')'),
		  '54000 state is too large', 'but none of a byte more');
SELECT is(pg_temp.under('snapshot_store.enabled', 'off', $$SELECT pg_temp.error_of(
			'SELECT snapshot_save_bytea(''size'', 5, 1, ''\x0102030405060708090a0b'')')$$),
		  '54000 state is too large', 'nor does it while the store is off');
SELECT is(pg_temp.kept('size'), '4 v1', 'nothing too large is stored');

CREATE TEMPORARY TABLE stored_state (size, state) AS
SELECT n, to_json(repeat('x', n - 2)) FROM unnest(ARRAY[50, 51, 5000, 5001]) AS n;
SELECT is(pg_temp.under('snapshot_store.max_state_size', v.max_state_size,
						format('SELECT pg_temp.error_of(''SELECT snapshot_save(''''size'''', 5, 1, state)
														  FROM stored_state WHERE size = %s'')', s.size)),
		  v.outcome, format('max_state_size is %s: of a state of %s bytes, stored as %s, the raw bytes count',
							v.max_state_size, s.size, pg_column_size(s.state)))
FROM (VALUES (50, '50', 'no error'), (51, '50', '54000 state is too large'),
			 (5000, '5000', 'no error'), (5001, '5000', '54000 state is too large')) AS v (size, max_state_size, outcome)
JOIN stored_state AS s USING (size);
SET LOCAL snapshot_store.max_state_size = 0;
SELECT ok(snapshot_save('size', 6, 1, to_json(repeat('x', 100000))), '0 means no limit');

-- durable = off admits an unlogged table

SAVEPOINT unlogged;
ALTER TABLE snapshot_store SET UNLOGGED;
SELECT is(pg_temp.error_of('SELECT pg_temp.save(''order-1'', 99)'),
		  '55000 snapshots in table "public.snapshot_store" would not be durable', 'an unlogged table is refused');
SET LOCAL snapshot_store.durable = off;
SELECT ok(pg_temp.save('order-1', 99), 'unless durable is off');
SELECT is(pg_temp.loaded('order-1', '{1}'), '99 v1 {"n": 99}', 'then it serves as well as any');
SELECT is(snapshot_delete('order-1'), 1::bigint, 'a deletion serves as well');
ROLLBACK TO SAVEPOINT unlogged;
SET LOCAL snapshot_store.durable = off;
SELECT ok(pg_temp.save('not flushed', 1), 'durable = off saves to an ordinary table');
SELECT is(pg_temp.loaded('not flushed', '{1}'), '1 v1 {"n": 1}', 'which is loaded like any other');
RESET snapshot_store.durable;
\endif

-- Called from anywhere: read-only transactions, functions, DO, CTEs, joins, prepared statements, cursors

SELECT is(pg_temp.under('transaction_read_only', 'on', 'SELECT pg_temp.loaded(''order-1'', ''{1}'')'),
		  '4 v1 {"n": 4}',
		  'a read-only transaction loads');
SELECT is(pg_temp.under('transaction_read_only', 'on', 'SELECT snapshot_due(''order-1'', ''{1}'', 104, 100)
															AND EXISTS (SELECT FROM snapshot_info(''order-1''))'),
		  'true', 'and asks what is due and kept');

CREATE FUNCTION pg_temp.save_and_load(stream_id text, sequence_number bigint) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	stored boolean;
	found record;
BEGIN
	stored := snapshot_save(stream_id, sequence_number, 1, format('{"n": %s}', sequence_number)::json);
	SELECT * INTO found FROM snapshot_load(stream_id, '{1}');
	RETURN stored || ' ' || found.state;
END
$$;
SELECT is(array_agg(pg_temp.save_and_load('function', n) ORDER BY n),
		  array_agg(format('true {"n": %s}', n) ORDER BY n),
		  'a function saves and then loads what it saved, time after time')
FROM generate_series(1, 12) AS n;

DO $$
BEGIN
	PERFORM snapshot_save('do', n, 1, '"do"') FROM generate_series(1, 3) AS n;
	IF (SELECT l.state #>> '{}' FROM snapshot_load('do', '{1}') AS l) = 'do' THEN
		PERFORM snapshot_save('do', 4, 1, '"done"');
	END IF;
END
$$;
SELECT is(pg_temp.loaded('do', '{1}'), '4 v1 "done"', 'a DO block saves, loads and saves');

SELECT is(array_agg(saved ORDER BY n), '{t,t,t,t,t}', 'saves of one stream in one statement see one another')
FROM (SELECT n, pg_temp.save('rising', n) AS saved FROM generate_series(1, 5) AS n OFFSET 0) AS saves;
SELECT is(array_agg(saved ORDER BY n), '{f,f,f,f,t}', 'so the older ones are refused')
FROM (SELECT n, pg_temp.save('falling', n) AS saved FROM generate_series(5, 1, -1) AS n OFFSET 0) AS saves;
SELECT is(ARRAY[snapshot_save('list', 1, 1, '1'), snapshot_save('list', 3, 1, '3'),
				snapshot_save('list', 2, 1, '2')],
		  '{t,t,f}', 'saves in one select list see one another, too');
SELECT is(pg_temp.kept('rising') || ' / ' || pg_temp.kept('falling') || ' / ' || pg_temp.kept('list'),
		  '5 v1 / 5 v1 / 3 v1',
		  'and the newest is kept, once');

WITH first AS MATERIALIZED (SELECT pg_temp.save('cte', 1) AS saved),
	 second AS MATERIALIZED (SELECT pg_temp.save('cte', 2) AS saved FROM first WHERE saved)
SELECT is((SELECT saved FROM second), true, 'common table expressions save, one after another');
SELECT is(pg_temp.kept('cte'), '2 v1', 'and the last one stays');

CREATE TEMPORARY TABLE event AS
SELECT 'joined-' || i % 10 AS stream_id, i AS sequence_number FROM generate_series(1, 100) AS i;
SELECT is(count(*) FILTER (WHERE saved), 100::bigint, 'a query saves the events'' streams')
FROM (SELECT pg_temp.save(stream_id, sequence_number) AS saved FROM event
	  ORDER BY sequence_number OFFSET 0) AS saves;
SELECT results_eq(
	$$SELECT s.stream_id, l.sequence_number
	  FROM (SELECT DISTINCT stream_id FROM event UNION SELECT 'joined-none') AS s
	  LEFT JOIN LATERAL snapshot_load(s.stream_id, '{1}') AS l ON true ORDER BY s.stream_id$$,
	$$SELECT stream_id, max(sequence_number)::bigint FROM event GROUP BY stream_id
	  UNION ALL SELECT 'joined-none', NULL ORDER BY 1$$,
	'a lateral join loads many streams');
SELECT is((SELECT sum(l.sequence_number) FROM generate_series(1, 3), snapshot_load('joined-1', '{1}') AS l),
		  273::numeric,
		  'a load is scanned again for each row of a join');
SELECT is(snapshot_load('order-1', '{1}')::text, (SELECT l::text FROM snapshot_load('order-1', '{1}') AS l),
		  'a load in the select list is a row');
SELECT is(l.state::text || l.sequence_number, '{"n": 4}4', 'which expands')
FROM (SELECT (snapshot_load('order-1', '{1}')).*) AS l;
SELECT is((SELECT (snapshot_load('order-1', '{1}')).sequence_number), 4::bigint, 'or of which a column is taken');
SELECT is(array_agg(l), '{5,5,2,3}', 'for many streams as well')
FROM (SELECT (snapshot_load(s, '{1}')).sequence_number
	  FROM unnest(ARRAY['rising', 'falling', 'nobody', 'cte', 'list'])
		   WITH ORDINALITY AS u (s, i) ORDER BY i) AS q (l);
SELECT is((SELECT l.ordinality FROM snapshot_load('order-1', '{1}') WITH ORDINALITY AS l), 1::bigint,
		  'WITH ORDINALITY numbers the row');
SELECT is(ARRAY[n1, n2], '{4,NULL}', 'ROWS FROM sets loads side by side')
FROM ROWS FROM (snapshot_load('order-1', '{1}'), snapshot_load('nobody', '{1}'))
	AS r (n1, v1, s1, m1, c1, n2, v2, s2, m2, c2);

CREATE TABLE parallel_test AS SELECT 'joined-' || i % 10 AS stream_id FROM generate_series(1, 1000) AS i;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql
AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS off) ' || query; END $$;
PREPARE load_in_parallel AS
	SELECT sum(l.sequence_number) AS total FROM parallel_test AS p, snapshot_load(p.stream_id, '{1}') AS l;
SELECT ok(bool_or(line LIKE '%Parallel Seq Scan%'), 'a join that loads is planned for parallel workers')
FROM pg_temp.plan_of('EXECUTE load_in_parallel') AS line;
CREATE TEMPORARY TABLE loaded_in_parallel AS EXECUTE load_in_parallel;
SELECT is(total, 95500::numeric, 'and loads what a plain one would') FROM loaded_in_parallel;

-- What a worker returns is complete: its lock of the table is gone when the leader reads the row.
SELECT snapshot_save('large', 1, 1, to_json(string_agg(md5(i::text), ''))) FROM generate_series(1, 500) AS i;
SET LOCAL parallel_leader_participation = off;
PREPARE large_in_parallel AS
	SELECT l.state FROM parallel_test AS p, snapshot_load(left(p.stream_id, 0) || 'large', '{1}') AS l
	ORDER BY p.stream_id LIMIT 10;
SELECT ok(array_agg(line) @> '{"        Workers Planned: 2"}', 'so is one of a large state')
FROM pg_temp.plan_of('EXECUTE large_in_parallel') AS line;
SELECT current_setting('server_version_num')::integer >= 170000 AS shows_chunk_ids \gset
\if :shows_chunk_ids
	CREATE FUNCTION pg_temp.is_stored_elsewhere(state json) RETURNS boolean LANGUAGE sql STABLE PARALLEL RESTRICTED
		SET search_path = pg_catalog -- so that it is not inlined, and then evaluated by the worker
	AS 'SELECT pg_column_toast_chunk_id(state) IS NOT NULL';
	PREPARE elsewhere AS SELECT pg_temp.is_stored_elsewhere(l.state) AS it_is
		FROM (SELECT l.state FROM parallel_test AS p, snapshot_load(left(p.stream_id, 0) || 'large', '{1}') AS l
			  ORDER BY p.stream_id LIMIT 10) AS l;
	CREATE TEMPORARY TABLE elsewhere AS EXECUTE elsewhere;
	\if :managed
		SELECT skip('a query in PL/pgSQL hands on what it has read', 1);
	\else
		SELECT is(array_agg(DISTINCT it_is), '{f}', 'a worker brings it along') FROM elsewhere;
	\endif
	SELECT is(pg_temp.is_stored_elsewhere(l.state), NOT :'packed'::boolean,
		'otherwise it stays where it is stored, if it cannot be packed')
	FROM snapshot_load('large', '{1}') AS l;
\else
	SELECT skip('there is no pg_column_toast_chunk_id before 17', 2);
\endif

PREPARE load_again (text, bigint[]) AS SELECT sequence_number FROM snapshot_load($1, $2);
PREPARE save_again (text, bigint) AS SELECT snapshot_save($1, $2, 1, '{}');
CREATE FUNCTION pg_temp.twelve_times() RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	stored boolean;
	found bigint;
	seen text := '';
BEGIN
	FOR n IN 1..12 LOOP
		EXECUTE format('EXECUTE save_again(''prepared-%s'', %s)', n % 2, n) INTO stored;
		EXECUTE format('EXECUTE load_again(''prepared-%s'', ''{1}'')', n % 2) INTO found;
		seen := seen || ' ' || CASE WHEN stored THEN found END;
	END LOOP;
	RETURN seen;
END
$$;
SELECT is(pg_temp.twelve_times(), ' 1 2 3 4 5 6 7 8 9 10 11 12',
		  'prepared statements save and load, time after time');
SELECT cmp_ok(generic_plans, '>', 0::bigint, format('also by a generic plan (%s)', name))
FROM pg_prepared_statements WHERE name IN ('load_again', 'save_again');

DECLARE loads CURSOR FOR
	SELECT l.sequence_number FROM unnest(ARRAY['rising', 'cursor', 'order-1']) AS s, snapshot_load(s, '{1}') AS l;
SELECT ok(pg_temp.save('cursor', 1) AND pg_temp.save('rising', 6), 'saves after a cursor was opened');
SELECT results_eq('loads'::refcursor, ARRAY[5, 4]::bigint[], 'are not seen by the cursor, as for any query');
SELECT is(pg_temp.loaded('rising', '{1}'), '6 v1 {"n": 6}', 'but by the next statement');

CREATE FUNCTION pg_temp.load_in_sql(text) RETURNS SETOF bigint LANGUAGE sql
AS $$ SELECT l.sequence_number FROM snapshot_load($1, '{1}') AS l $$;
CREATE FUNCTION pg_temp.save_in_sql(text, bigint) RETURNS bigint LANGUAGE sql
AS $$
	SELECT snapshot_save($1, $2, 1, '{}');
	SELECT l.sequence_number FROM snapshot_load($1, '{1}') AS l
$$;
SELECT results_eq('SELECT pg_temp.load_in_sql(''rising'')', '{6}'::bigint[], 'an SQL function loads');
SELECT is(pg_temp.save_in_sql('rising', 7), 7::bigint, 'and saves, and then loads what it saved');

CREATE TEMPORARY VIEW rising AS SELECT * FROM snapshot_load('rising', '{1}');
SELECT is((SELECT sequence_number FROM rising), 7::bigint, 'a view loads');

CREATE TEMPORARY TABLE trigger_test (stream_id text, sequence_number bigint);
CREATE FUNCTION pg_temp.save_event() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM pg_temp.save(new.stream_id, new.sequence_number);
	RETURN new;
END
$$;
CREATE TRIGGER save_event AFTER INSERT ON trigger_test FOR EACH ROW EXECUTE FUNCTION pg_temp.save_event();
INSERT INTO trigger_test SELECT 'trigger', n FROM generate_series(1, 20) AS n;
SELECT is(pg_temp.kept('trigger'), '20 v1', 'a trigger saves');

SELECT * FROM finish();
ROLLBACK;
