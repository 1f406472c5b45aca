-- Every error: its SQLSTATE, message, detail and hint; and that it stores nothing and leaves the kept snapshots as
-- they are.
BEGIN;
SELECT plan(783);
SELECT current_setting('snapshot_store.access_path') = 'managed' AS managed \gset

-- The error that a command raises, as "SQLSTATE message". Settings, given as {"name": "value"}, hold for the command.
CREATE FUNCTION pg_temp.error_of(command text, settings jsonb DEFAULT '{}', in_full boolean DEFAULT false)
RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	code text;
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM set_config(key, value, true) FROM jsonb_each_text(settings);
	EXECUTE command;
	RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
							hint = PG_EXCEPTION_HINT;
	RETURN code || ' ' || message
		|| CASE WHEN in_full THEN format(E'\nDETAIL: %s\nHINT: %s', detail, hint) ELSE '' END;
END
$$;

-- A good call of each function, argument by argument. The save would replace the kept snapshot.
CREATE TEMPORARY TABLE argument (function_name, parameter, good) AS
VALUES
	('snapshot_save', 'stream_id', '''kept'''), ('snapshot_save', 'sequence_number', '20'),
	('snapshot_save', 'state_schema_version', '2'), ('snapshot_save', 'state', '''{"n": 20}'''),
	('snapshot_save_bytea', 'stream_id', '''kept'''), ('snapshot_save_bytea', 'sequence_number', '20'),
	('snapshot_save_bytea', 'state_schema_version', '2'), ('snapshot_save_bytea', 'state', '''\x14'''),
	('snapshot_load', 'stream_id', '''kept'''), ('snapshot_load', 'recognized_schema_versions', '''{1}'''),
	('snapshot_load_bytea', 'stream_id', '''kept bytes'''),
	('snapshot_load_bytea', 'recognized_schema_versions', '''{1}'''),
	('snapshot_due', 'stream_id', '''kept'''), ('snapshot_due', 'recognized_schema_versions', '''{1}'''),
	('snapshot_due', 'event_count', '20'), ('snapshot_due', 'snapshot_interval', '10'),
	('snapshot_should_take', 'event_count', '20'), ('snapshot_should_take', 'last_sequence_number', '10'),
	('snapshot_should_take', 'snapshot_interval', '10'),
	('snapshot_delete', 'stream_id', '''kept'''),
	('snapshot_info', 'stream_id', '''kept'''),
	('snapshot_save_many', 'stream_ids', '''{new,kept}'''), ('snapshot_save_many', 'sequence_numbers', '''{20,20}'''),
	('snapshot_save_many', 'state_schema_versions', '''{2,2}'''), ('snapshot_save_many', 'states', '''{20,20}'''),
	('snapshot_save_many_bytea', 'stream_ids', '''{new,kept}'''),
	('snapshot_save_many_bytea', 'sequence_numbers', '''{20,20}'''),
	('snapshot_save_many_bytea', 'state_schema_versions', '''{2,2}'''),
	('snapshot_save_many_bytea', 'states', '''{20,20}'''),
	('snapshot_load_many', 'stream_ids', '''{nobody,kept}'''),
	('snapshot_load_many', 'recognized_schema_versions', '''{1}'''),
	('snapshot_load_many_bytea', 'stream_ids', '''{nobody,kept bytes}'''),
	('snapshot_load_many_bytea', 'recognized_schema_versions', '''{1}'''),
	('snapshot_census', 'stream_id_prefix', '''k'''),
	('snapshot_outdated', 'stream_id_prefix', '''k'''), ('snapshot_outdated', 'recognized_schema_versions', '''{1}'''),
	('snapshot_outdated', 'max_streams', '10');
\if :managed
	DELETE FROM argument WHERE function_name IN ('snapshot_census', 'snapshot_outdated');
	SELECT skip('no functions for upkeep', 36);
\endif

-- That call with one argument given another value, or an optional one added.
CREATE FUNCTION pg_temp.call_with(function_name text, parameter text DEFAULT NULL, value text DEFAULT NULL)
RETURNS text LANGUAGE sql
AS $$
	SELECT format('SELECT * FROM %s(%s)', $1, string_agg(g.parameter || ' => ' || g.value, ', '))
	FROM (SELECT a.parameter, a.good AS value FROM argument AS a
		  WHERE a.function_name = $1 AND a.parameter IS DISTINCT FROM $2
		  UNION ALL SELECT $2, $3 WHERE $2 IS NOT NULL) AS g
$$;

-- All that is kept, row by row and as it is loaded.
CREATE FUNCTION pg_temp.kept() RETURNS text LANGUAGE sql
AS $$
	SELECT (SELECT string_agg(s.ctid || ' ' || to_jsonb(s), E'\n' ORDER BY s.stream_id, s.slot)
			FROM snapshot_store AS s)
		|| (SELECT l::text FROM snapshot_load('kept', '{1}') AS l)
		|| (SELECT l::text FROM snapshot_load_bytea('kept bytes', '{1}') AS l)
$$;

-- Two tests: a call raises an error, and what was kept before it is intact and still loaded.
CREATE FUNCTION pg_temp.refuses(command text, error text, description text, settings jsonb DEFAULT '{}')
RETURNS SETOF text LANGUAGE plpgsql
AS $$
DECLARE
	before constant text := pg_temp.kept();
BEGIN
	RETURN NEXT is(pg_temp.error_of(command, settings), error, description);
	RETURN NEXT is(pg_temp.kept(), before, format('the kept snapshots are intact after: %s', description));
END
$$;

DELETE FROM snapshot_store;
SELECT ok(snapshot_save('kept', 10, 1, '{"n": 10}', '{"kept": true}'), 'a snapshot is kept');
SELECT ok(snapshot_save_bytea('kept bytes', 10, 1, '\x0a', '{"kept": true}'), 'and another, of bytes');

-- The library's function under a declaration that is not ours, which takes a superuser.

\if :managed
	SELECT skip('no library', 7);
\else
CREATE FUNCTION load_no_set(text, bigint[], bigint, timestamptz) RETURNS record
	LANGUAGE c AS '$libdir/snapshot_store', 'snapshot_load';
CREATE FUNCTION load_one_column(text, bigint[], bigint, timestamptz) RETURNS TABLE (a bigint)
	LANGUAGE c AS '$libdir/snapshot_store', 'snapshot_load';
CREATE FUNCTION load_two_columns(text, bigint[], bigint, timestamptz) RETURNS TABLE (a bigint, b bigint)
	LANGUAGE c AS '$libdir/snapshot_store', 'snapshot_load';
CREATE FUNCTION load_another_type(text, bigint[], bigint, timestamptz)
	RETURNS TABLE (a bigint, b bigint, c bytea, d jsonb, e timestamptz)
	LANGUAGE c AS '$libdir/snapshot_store', 'snapshot_load';

SELECT is(pg_temp.error_of(format('SELECT %s(''kept'', ''{1}'', NULL, NULL)', call)), error,
		  'a declaration of another result: ' || call)
FROM (VALUES ('load_no_set', '0A000 set-valued function called in context that cannot accept a set'),
			 ('load_one_column', '55000 unexpected result type of snapshot_load'),
			 ('load_two_columns', '55000 unexpected result type of snapshot_load'),
			 ('load_another_type', '55000 unexpected result type of snapshot_load'),
			 ('* FROM load_one_column', '55000 unexpected result type of snapshot_load'),
			 ('* FROM load_two_columns', '55000 unexpected result type of snapshot_load'),
			 ('* FROM load_another_type', '55000 unexpected result type of snapshot_load')) AS v (call, error);
\endif

-- The calls that the cases below spoil are good ones.
SELECT is(pg_temp.error_of(pg_temp.call_with(f.function_name)), 'ZZ000 no error',
		  f.function_name || ' takes good arguments')
FROM (SELECT DISTINCT function_name FROM argument) AS f;

-- Arguments

SELECT pg_temp.refuses(pg_temp.call_with(function_name, parameter, value), error,
					   format('%s refuses %s => %s', function_name, parameter, value))
FROM (
	-- a NULL where a value is needed
	SELECT function_name, parameter, 'NULL' AS value, format('22004 %s must not be null', parameter) AS error
	FROM argument WHERE (function_name, parameter) <> ('snapshot_should_take', 'last_sequence_number')
	UNION ALL
	-- a stream's name that is empty or too long
	SELECT function_name, parameter, v.value, v.error
	FROM argument,
		 (VALUES ('''''', '22023 stream_id must not be empty'),
				 ('repeat(''x'', 2001)', '54000 stream_id is too long'),
				 ('''x'' || repeat(chr(233), 1000)', '54000 stream_id is too long')) AS v (value, error)
	WHERE parameter = 'stream_id'
	UNION ALL
	-- recognized schema versions
	SELECT function_name, parameter, v.value, v.error
	FROM argument,
		 (VALUES ('''{NULL}''', '22004 recognized_schema_versions must not contain nulls'),
				 ('''{1,2,NULL}''', '22004 recognized_schema_versions must not contain nulls'),
				 ('''{-1}''', '22003 recognized_schema_versions is out of range'),
				 ('''{1,4294967296}''', '22003 recognized_schema_versions is out of range'),
				 ('''{9223372036854775807}''', '22003 recognized_schema_versions is out of range'),
				 ('''{{1,2},{3,4}}''', '2202E recognized_schema_versions must be a one-dimensional array'),
				 ('''{{1}}''', '2202E recognized_schema_versions must be a one-dimensional array')
		 ) AS v (value, error)
	WHERE parameter = 'recognized_schema_versions'
	UNION ALL
	-- a schema version to save
	SELECT function_name, parameter, v.value, '22003 state_schema_version is out of range'
	FROM argument, (VALUES ('-1'), ('4294967296'), ('-9223372036854775808'), ('9223372036854775807')) AS v (value)
	WHERE parameter = 'state_schema_version'
	UNION ALL
	-- numbers below 0, also those that are optional
	SELECT function_name, parameter, v.value, format('22003 %s must not be negative', parameter)
	FROM (SELECT function_name, parameter FROM argument
		  WHERE parameter IN ('sequence_number', 'event_count', 'last_sequence_number', 'snapshot_interval')
		  UNION ALL
		  VALUES ('snapshot_load', 'max_sequence_number'), ('snapshot_load_bytea', 'max_sequence_number'),
				 ('snapshot_delete', 'max_sequence_number'), ('snapshot_delete', 'min_sequence_number')) AS n,
		 (VALUES ('-1'), ('-9223372036854775808')) AS v (value)
	UNION ALL
	-- the size of a work list
	SELECT 'snapshot_outdated', 'max_streams', v.value, '22023 max_streams must be at least 1'
	FROM (VALUES ('0'), ('-1'), ('-2147483648')) AS v (value)
) AS cases WHERE function_name IN (SELECT function_name FROM argument);

-- The arrays of a batch. What is wrong is in the last element, or in the last of the arrays.

CREATE TEMPORARY TABLE array_argument (function_name, parameter, nulls_allowed) AS
SELECT function_name, parameter, false FROM argument
WHERE function_name LIKE '%\_many%' AND parameter <> 'recognized_schema_versions'
UNION ALL
VALUES ('snapshot_save_many', 'metadata', true), ('snapshot_save_many', 'created_at', true),
	   ('snapshot_save_many_bytea', 'metadata', true), ('snapshot_save_many_bytea', 'created_at', true),
	   ('snapshot_load_many', 'max_sequence_numbers', true), ('snapshot_load_many_bytea', 'max_sequence_numbers', true);

SELECT pg_temp.refuses(pg_temp.call_with(function_name, parameter, value), error,
					   format('%s refuses %s => %s', function_name, parameter, value))
FROM (
	-- a NULL where a value is needed
	SELECT function_name, parameter, '''{20,NULL}''' AS value, format('22004 %s must not contain nulls', parameter) AS error
	FROM array_argument WHERE NOT nulls_allowed
	UNION ALL
	-- other than one-dimensional
	SELECT function_name, parameter, v.value, format('2202E %s must be a one-dimensional array', parameter)
	FROM array_argument, (VALUES ('''{{20,20}}'''), ('''{{20},{20}}''')) AS v (value)
	WHERE parameter <> 'created_at'
	UNION ALL
	SELECT function_name, parameter, '''{{today},{today}}''', '2202E created_at must be a one-dimensional array'
	FROM array_argument WHERE parameter = 'created_at'
	UNION ALL
	-- of another length
	SELECT function_name, parameter, v.value, format('2202E %s must have as many elements as stream_ids', parameter)
	FROM array_argument, (VALUES ('''{}'''), ('''{20}'''), ('''{20,20,20}''')) AS v (value)
	WHERE parameter NOT IN ('stream_ids', 'created_at')
	UNION ALL
	SELECT function_name, parameter, v.value, '2202E created_at must have as many elements as stream_ids'
	FROM array_argument, (VALUES ('''{}'''), ('''{NULL}'''), ('''{today,NULL,today}''')) AS v (value)
	WHERE parameter = 'created_at'
	UNION ALL
	SELECT function_name, parameter, '''{}''', '2202E sequence_numbers must have as many elements as stream_ids'
	FROM array_argument WHERE parameter = 'stream_ids' AND function_name LIKE '%save%'
	UNION ALL
	-- a stream's name that is empty or too long
	SELECT function_name, parameter, v.value, v.error
	FROM array_argument,
		 (VALUES ('''{new,""}''', '22023 stream_id must not be empty'),
				 ('ARRAY[''new'', repeat(''x'', 2001)]', '54000 stream_id is too long'),
				 ('ARRAY[''new'', ''x'' || repeat(chr(233), 1000)]', '54000 stream_id is too long')) AS v (value, error)
	WHERE parameter = 'stream_ids'
	UNION ALL
	-- the same stream twice
	SELECT function_name, 'stream_ids', '''{kept,kept}''', '21000 stream "kept" occurs more than once in a batch'
	FROM (VALUES ('snapshot_save_many'), ('snapshot_save_many_bytea')) AS f (function_name)
	UNION ALL
	-- numbers
	SELECT function_name, parameter, v.value, '22003 state_schema_versions is out of range'
	FROM array_argument, (VALUES ('''{2,-1}'''), ('''{2,4294967296}'''), ('''{2,9223372036854775807}''')) AS v (value)
	WHERE parameter = 'state_schema_versions'
	UNION ALL
	SELECT function_name, parameter, v.value, format('22003 %s must not be negative', parameter)
	FROM array_argument, (VALUES ('''{20,-1}'''), ('''{20,-9223372036854775808}''')) AS v (value)
	WHERE parameter IN ('sequence_numbers', 'max_sequence_numbers')
	UNION ALL
	SELECT function_name, parameter, '''{NULL,-1}''', '22003 max_sequence_numbers must not be negative'
	FROM array_argument WHERE parameter = 'max_sequence_numbers'
	UNION ALL
	-- what is not JSON
	SELECT 'snapshot_save_many', parameter, '''{20,nothing}''', '22P02 invalid input syntax for type json'
	FROM (VALUES ('states'), ('metadata')) AS p (parameter)
) AS cases;

SELECT pg_temp.refuses('SELECT snapshot_save_many(''{new,kept,old,kept}'', ''{1,20,1,20}'', ''{2,2,2,2}'', ''{1,1,1,1}'')',
					   '21000 stream "kept" occurs more than once in a batch',
					   'snapshot_save_many finds a stream that occurs twice, however far apart');
SELECT pg_temp.refuses('SELECT * FROM snapshot_load_many(''{nobody,NULL}'', ''{1}'')',
					   '22004 stream_ids must not contain nulls', 'snapshot_load_many refuses a NULL among the streams');

SELECT pg_temp.refuses(pg_temp.call_with('snapshot_save', 'state', value), error,
					   'snapshot_save refuses what is not JSON: ' || value)
FROM (VALUES ('''{"n": }''', '22P02 invalid input syntax for type json'),
			 ('''''', '22P02 invalid input syntax for type json'),
			 ('''\x00''', '22P02 invalid input syntax for type json')) AS v (value, error);

\if :managed
	SELECT skip('no max_state_size', 12);
\else
SELECT pg_temp.refuses(pg_temp.call_with('snapshot_' || v.function_name, 'state', v.value),
					   '54000 state is too large',
					   format('snapshot_%s refuses a state of %s', v.function_name, v.description),
					   '{"snapshot_store.max_state_size": "16"}')
FROM (VALUES ('save', 'to_json(repeat(''x'', 15))', '17 bytes where 16 are the limit'),
			 ('save', 'to_json(repeat(''x'', 100000))', '100,002 bytes that compress to less'),
			 ('save_bytea', 'repeat(''x'', 17)::bytea', '17 bytes where 16 are the limit'),
			 ('save_bytea', 'repeat(''x'', 100000)::bytea', '100,000 bytes that compress to less')
) AS v (function_name, value, description);
SELECT pg_temp.refuses(pg_temp.call_with('snapshot_' || v.function_name, 'states', v.value),
					   '54000 state is too large',
					   format('snapshot_%s refuses a last state of 17 bytes where 16 are the limit', v.function_name),
					   '{"snapshot_store.max_state_size": "16"}')
FROM (VALUES ('save_many', 'ARRAY[''1'', to_json(repeat(''x'', 15))]'),
			 ('save_many_bytea', 'ARRAY[''1'', repeat(''x'', 17)::bytea]')) AS v (function_name, value);
\endif

-- What a dump could not write: a state over 200 MB, however well it compresses, and metadata of more than 1 MB as text

SELECT pg_temp.refuses(pg_temp.call_with('snapshot_' || v.function_name, v.parameter, v.value), '54000 state is too large',
					   format('snapshot_%s refuses a state over 200 MB', v.function_name))
FROM (VALUES ('save', 'state', 'to_json(repeat(''x'', 209715199))'),
			 ('save_bytea', 'state', 'convert_to(repeat(''x'', 209715201), ''SQL_ASCII'')'),
			 ('save_many_bytea', 'states', 'ARRAY[''1'', convert_to(repeat(''x'', 209715201), ''SQL_ASCII'')]')
) AS v (function_name, parameter, value);
SELECT is(pg_temp.error_of(pg_temp.call_with('snapshot_save_bytea', 'state', 'convert_to(repeat(''x'', 209715200), ''SQL_ASCII'')')),
		  'ZZ000 no error', 'a state of 200 MB is stored');
-- (managed leaves that to the server.)
SELECT CASE WHEN :SERVER_VERSION_NUM < 180000 THEN 'out of memory' ELSE 'string buffer exceeds maximum allowed length (1073741823 bytes)' END AS too_long \gset
SELECT pg_temp.refuses(pg_temp.call_with(function_name, 'metadata', format(value, metadata)),
					   '54000 ' || CASE WHEN :'managed' AND description LIKE '%1 GB' THEN :'too_long' ELSE 'metadata is too large' END,
					   format('%s refuses metadata of which %s', function_name, description))
FROM (VALUES ('snapshot_save', '%s'), ('snapshot_save_bytea', '%s'), ('snapshot_save_many', 'ARRAY[NULL, %s]')) AS f (function_name, value),
	 (VALUES ('(''['' || repeat(''1e131071,'', 8299) || ''1e131071]'')::json', 'a few bytes print more than 1 GB'),
			 ('to_json(repeat(''x'', 1048575))', '1 MB and a byte are one string')) AS m (metadata, description);

-- ... to the byte: each of these is brought to 1 MB by a string that goes along.
CREATE FUNCTION pg_temp.padded(value jsonb, size integer) RETURNS jsonb LANGUAGE sql
AS $$
	SELECT jsonb_build_object('pad', repeat('x', size - octet_length(jsonb_build_object('pad', '', 'value', value)::text)), 'value', value)
$$;
SELECT is(pg_temp.error_of(pg_temp.call_with('snapshot_save', 'metadata', 'to_json(repeat(''x'', 1048574))')), 'ZZ000 no error',
		  'metadata of 1 MB, one string');
SELECT is(ARRAY[pg_temp.error_of(pg_temp.call_with('snapshot_save', 'metadata', format('pg_temp.padded(%L, 1048576)::json', value))),
				pg_temp.error_of(pg_temp.call_with('snapshot_save', 'metadata', format('pg_temp.padded(%L, 1048577)::json', value)))],
		  ARRAY['ZZ000 no error', '54000 metadata is too large'], 'metadata of 1 MB, and of a byte more, with ' || value)
FROM (VALUES ('null'), ('true'), ('false'), ('"text"'), ('""'), ('[]'), ('{}'), ('[[], [[1]], {}, [null, true]]'),
			 ('{"a": {"b": {}, "c": []}, "d": [1, {"e": 2}]}'), ('[1.50, -3e20, 1e-7, 12345678901234567890]'),
			 ('["\"", "\\", "/", "\b\f\n\r\t", "\u0001\u001f\u000b", "\u007f", "\u00e9\u20ac"]')) AS v (value);

-- What is JSON, but no jsonb
SELECT pg_temp.refuses(pg_temp.call_with(function_name, 'metadata', format(value, metadata)), error,
					   format('%s refuses metadata that is no jsonb: %s', function_name, metadata))
FROM (VALUES ('snapshot_save', '%L'), ('snapshot_save_bytea', '%L'), ('snapshot_save_many', 'ARRAY[NULL, %L]::json[]'),
			 ('snapshot_save_many_bytea', 'ARRAY[''1'', %L]::json[]')) AS f (function_name, value),
	 (VALUES ('{"of": "\u0000"}', '22P05 unsupported Unicode escape sequence'),
			 ('[1, 1e200000]', '22003 value overflows numeric format')) AS m (metadata, error);

-- Whether to replace must be said, if only by the default
SELECT pg_temp.refuses(pg_temp.call_with(function_name, 'replace', 'NULL'), '22004 replace must not be null',
					   format('%s refuses replace => NULL', function_name))
FROM (VALUES ('snapshot_save'), ('snapshot_save_bytea'), ('snapshot_save_many'), ('snapshot_save_many_bytea')) AS f (function_name);

-- Times: finite, and at most a day ahead of the clock

SELECT pg_temp.refuses(pg_temp.call_with(function_name, 'created_at', format(value, quote_literal(created_at))), v.error,
					   format('%s refuses created_at %s', function_name, description))
FROM (VALUES ('snapshot_save', '%s'), ('snapshot_save_bytea', '%s'), ('snapshot_save_many', 'ARRAY[NULL, %s]::timestamptz[]'),
			 ('snapshot_save_many_bytea', 'ARRAY[%s, ''today'']::timestamptz[]')) AS f (function_name, value),
	 (VALUES ('infinity', 'infinity', '22008 created_at must be finite'), ('-infinity', '-infinity', '22008 created_at must be finite'),
			 ((clock_timestamp() + interval '25 hours')::text, 'in 25 hours',
			  '22008 created_at is more than a day ahead of the server''s clock'),
			 ('294276-12-31 23:59:59.999999+00', 'at the end of time',
			  '22008 created_at is more than a day ahead of the server''s clock')) AS v (created_at, description, error);
SELECT is(pg_temp.error_of(pg_temp.call_with('snapshot_save', 'created_at', 'clock_timestamp() + interval ''23 hours''')),
		  'ZZ000 no error', 'a created_at less than a day ahead is taken');

-- The other kind of state

SELECT pg_temp.refuses('SELECT * FROM snapshot_load(''kept bytes'', ''{1}'')',
					   '42804 the snapshot of stream "kept bytes" holds its state as bytea',
					   'snapshot_load refuses bytes');
SELECT pg_temp.refuses('SELECT * FROM snapshot_load_bytea(''kept'', ''{1}'')',
					   '42804 the snapshot of stream "kept" holds its state as json',
					   'snapshot_load_bytea refuses json');
SELECT pg_temp.refuses('SELECT * FROM snapshot_load_many(''{nobody,kept,kept bytes}'', ''{1}'')',
					   '42804 the snapshot of stream "kept bytes" holds its state as bytea',
					   'snapshot_load_many refuses bytes');
SELECT pg_temp.refuses('SELECT * FROM snapshot_load_many_bytea(''{kept bytes,kept}'', ''{1}'')',
					   '42804 the snapshot of stream "kept" holds its state as json',
					   'snapshot_load_many_bytea refuses json');

-- Read-only transactions

SELECT pg_temp.refuses(pg_temp.call_with(function_name),
					   format('25006 cannot execute %s() in a read-only transaction', function_name),
					   function_name || ' refuses a read-only transaction', '{"transaction_read_only": "on"}')
FROM (VALUES ('snapshot_save'), ('snapshot_save_bytea'), ('snapshot_delete'), ('snapshot_save_many'),
			 ('snapshot_save_many_bytea')) AS v (function_name);

SELECT pg_temp.refuses('SELECT snapshot_save_many(''{}'', ''{}'', ''{}'', ''{}'')',
					   '25006 cannot execute snapshot_save_many() in a read-only transaction',
					   'snapshot_save_many refuses a read-only transaction even for an empty batch',
					   '{"transaction_read_only": "on"}');
SELECT pg_temp.refuses('SELECT snapshot_save(''kept'', 9, 1, ''{}'')',
					   '25006 cannot execute snapshot_save() in a read-only transaction',
					   'snapshot_save refuses a read-only transaction even for a snapshot that it would not store',
					   '{"transaction_read_only": "on"}');
SELECT pg_temp.refuses('SELECT snapshot_delete(''nobody'')',
					   '25006 cannot execute snapshot_delete() in a read-only transaction',
					   'snapshot_delete refuses a read-only transaction even where there is nothing to delete',
					   '{"transaction_read_only": "on"}');

-- Privileges: a load needs SELECT; a deletion SELECT and DELETE; a save all four, so that a
-- missing one shows at once

CREATE ROLE snapshot_store_test_user;
CREATE FUNCTION pg_temp.error_with_grants(command text, grants text) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	REVOKE ALL ON snapshot_store FROM snapshot_store_test_user;
	IF grants <> '' THEN
		EXECUTE format('GRANT %s ON snapshot_store TO snapshot_store_test_user', grants);
	END IF;
	RETURN pg_temp.error_of(command, '{"role": "snapshot_store_test_user"}');
END
$$;

SELECT is(pg_temp.error_with_grants(pg_temp.call_with(f.function_name), f.grants),
		  '42501 permission denied for table snapshot_store',
		  format('%s is refused with %s', f.function_name, coalesce(nullif(f.grants, ''), 'no privilege')))
FROM (SELECT function_name, grants
	  FROM unnest(ARRAY['snapshot_save', 'snapshot_save_bytea', 'snapshot_save_many',
						'snapshot_save_many_bytea']) AS function_name,
		   unnest(ARRAY['', 'SELECT', 'INSERT, UPDATE, DELETE', 'SELECT, UPDATE, DELETE', 'SELECT, INSERT, DELETE',
						'SELECT, INSERT, UPDATE']) AS grants
	  UNION ALL
	  SELECT function_name, grants
	  FROM unnest(ARRAY['snapshot_load', 'snapshot_load_bytea', 'snapshot_due', 'snapshot_info', 'snapshot_load_many',
						'snapshot_load_many_bytea', 'snapshot_census', 'snapshot_outdated']) AS function_name,
		   unnest(ARRAY['', 'INSERT, UPDATE, DELETE']) AS grants
	  UNION ALL
	  SELECT 'snapshot_delete', grants
	  FROM unnest(ARRAY['', 'SELECT', 'DELETE', 'INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE']) AS grants) AS f
WHERE function_name IN (SELECT function_name FROM argument);

SELECT is(pg_temp.error_with_grants(pg_temp.call_with(function_name), grants), 'ZZ000 no error',
		  format('%s needs no more than %s', function_name, coalesce(nullif(grants, ''), 'nothing')))
FROM (VALUES ('snapshot_save', 'SELECT, INSERT, UPDATE, DELETE'),
			 ('snapshot_save_bytea', 'SELECT, INSERT, UPDATE, DELETE'), ('snapshot_delete', 'SELECT, DELETE'),
			 ('snapshot_load', 'SELECT'), ('snapshot_load_bytea', 'SELECT'), ('snapshot_due', 'SELECT'),
			 ('snapshot_info', 'SELECT'), ('snapshot_should_take', ''),
			 ('snapshot_save_many', 'SELECT, INSERT, UPDATE, DELETE'),
			 ('snapshot_save_many_bytea', 'SELECT, INSERT, UPDATE, DELETE'), ('snapshot_load_many', 'SELECT'),
			 ('snapshot_load_many_bytea', 'SELECT'), ('snapshot_census', 'SELECT'), ('snapshot_outdated', 'SELECT')
) AS v (function_name, grants)
WHERE function_name IN (SELECT function_name FROM argument);

SELECT is(pg_temp.error_with_grants('SELECT snapshot_save(''nobody'', 1, 1, ''{}'')', 'SELECT, INSERT'),
		  '42501 permission denied for table snapshot_store', 'a first save needs all four as well');
SELECT is(pg_temp.error_with_grants('SELECT * FROM snapshot_load(''nobody'', ''{1}'')', ''),
		  '42501 permission denied for table snapshot_store',
		  'a load that would find nothing needs SELECT as well');
SELECT pg_temp.refuses(pg_temp.call_with('snapshot_save'), '42501 permission denied for table snapshot_store',
					   'a save without privileges', '{"role": "snapshot_store_test_user"}');

-- What the table is

-- The error that a command raises after the table was redefined, which is taken back.
CREATE FUNCTION pg_temp.error_after(redefinition text, command text, in_full boolean DEFAULT false)
RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	error text;
BEGIN
	EXECUTE redefinition;
	error := pg_temp.error_of(command, in_full => in_full);
	RAISE EXCEPTION USING ERRCODE = 'ZZ001';
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
	RETURN error;
END
$$;

\if :managed
	SELECT skip('the table is taken as it is', 43);
\else
CREATE TEMPORARY TABLE redefinition (kind, command) AS
VALUES
	('an unlogged table', 'ALTER TABLE snapshot_store SET UNLOGGED'),
	('a foreign table',
	 'CREATE FOREIGN DATA WRAPPER nowhere;
	  CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
	  ALTER TABLE snapshot_store RENAME TO elsewhere;
	  CREATE FOREIGN TABLE snapshot_store () INHERITS (elsewhere) SERVER nowhere'),
	('a view',
	 'ALTER TABLE snapshot_store RENAME TO elsewhere;
	  CREATE VIEW snapshot_store AS SELECT * FROM elsewhere'),
	('a partitioned table with an unlogged partition',
	 'ALTER TABLE snapshot_store RENAME TO elsewhere;
	  CREATE TABLE snapshot_store (LIKE elsewhere, PRIMARY KEY (stream_id, slot)) PARTITION BY HASH (stream_id);
	  CREATE UNLOGGED TABLE snapshot_store_0 PARTITION OF snapshot_store FOR VALUES WITH (modulus 1, remainder 0)'),
	('a table with an unlogged child', 'CREATE UNLOGGED TABLE snapshot_store_child () INHERITS (snapshot_store)');

SELECT is(pg_temp.error_after(d.command, pg_temp.call_with(f.function_name)),
		  '55000 snapshots in table "public.snapshot_store" would not be durable',
		  format('%s refuses %s', f.function_name, d.kind))
FROM redefinition AS d,
	 (VALUES ('snapshot_save'), ('snapshot_save_bytea'), ('snapshot_delete'), ('snapshot_save_many'),
			 ('snapshot_save_many_bytea')) AS f (function_name);

SAVEPOINT unlogged;
ALTER TABLE snapshot_store SET UNLOGGED;
SELECT pg_temp.refuses(pg_temp.call_with('snapshot_save'),
					   '55000 snapshots in table "public.snapshot_store" would not be durable',
					   'a save to an unlogged table');
ROLLBACK TO SAVEPOINT unlogged;

SELECT is(pg_temp.error_after('ALTER TABLE snapshot_store RENAME TO elsewhere', pg_temp.call_with(f.function_name)),
		  '42P01 table "snapshot_store" does not exist in schema "public"',
		  format('%s misses a table that was renamed', f.function_name))
FROM (SELECT DISTINCT function_name FROM argument WHERE function_name <> 'snapshot_should_take') AS f;
SELECT is(pg_temp.error_after('ALTER EXTENSION snapshot_store DROP TABLE snapshot_store;
							   DROP TABLE snapshot_store', pg_temp.call_with(f.function_name)),
		  '42P01 table "snapshot_store" does not exist in schema "public"',
		  format('%s misses a table that was dropped', f.function_name))
FROM (VALUES ('snapshot_save'), ('snapshot_load')) AS f (function_name);
SELECT is(pg_temp.error_after('CREATE SCHEMA other;
							   ALTER TABLE snapshot_store SET SCHEMA other;
							   SET LOCAL search_path = other, public',
							  pg_temp.call_with('snapshot_load')),
		  '42P01 table "snapshot_store" does not exist in schema "public"',
		  'a table in another schema is not taken for it, whatever the search_path');
\endif
SELECT is(pg_temp.error_of(pg_temp.call_with('snapshot_load')), 'ZZ000 no error',
		  'the table that came back is found again');

-- A library that meets an SQL definition it does not know. (The ALTER makes the session look again.)

\if :managed
	SELECT skip('no library', 13);
\else
SELECT is(pg_temp.error_after('UPDATE pg_extension SET extversion = ''99.0'' WHERE extname = ''snapshot_store'';
							   ALTER TABLE snapshot_store SET (autovacuum_enabled = on)',
							  pg_temp.call_with(f.function_name)),
		  '55000 snapshot_store library does not know version "99.0" of the extension',
		  format('%s refuses an unknown version', f.function_name))
FROM (SELECT DISTINCT function_name FROM argument WHERE function_name <> 'snapshot_should_take') AS f;
\endif

-- Details and hints

SELECT alike(pg_temp.error_of(command, settings, in_full => true), pattern, description)
FROM (VALUES
	('SELECT * FROM snapshot_info(repeat(''x'', 2001))', '{}'::jsonb,
	 E'54000 stream_id is too long\nDETAIL: %2001%2000%\nHINT: ',
	 'a long stream_id: how long, and what is the limit'),
	('SELECT snapshot_save(''kept'', 20, 1, to_json(repeat(''x'', 15)))', '{"snapshot_store.max_state_size": "16"}',
	 E'54000 state is too large\nDETAIL: %17 bytes%16 bytes%\nHINT: %snapshot_store.max_state_size%',
	 'a large state: how large, what is the limit, and which setting'),
	('SELECT snapshot_save(''kept'', 20, 4294967296, ''{}'')', '{}',
	 E'22003 state_schema_version is out of range\nDETAIL: %4294967295%4294967296%\nHINT: ',
	 'a schema version: the range and the value'),
	('SELECT * FROM snapshot_load(''kept bytes'', ''{1}'')', '{}', E'42804 %\nHINT: %snapshot_load_bytea%',
	 'bytes: the function to load them'),
	('SELECT * FROM snapshot_load_bytea(''kept'', ''{1}'')', '{}', E'42804 %\nHINT: %snapshot\\_load()%',
	 'json: the function to load it'),
	('SELECT snapshot_save(''kept'', 20, 1, ''{}'')', '{"transaction_read_only": "on"}',
	 E'25006 %\nHINT: %pooler%standby%snapshot_save%primary%', 'a read-only transaction: what a pooler must do'),
	('SELECT snapshot_save_bytea(''kept'', 20, 1, '''')', '{"transaction_read_only": "on"}',
	 E'25006 %\nHINT: %pooler%standby%snapshot_save_bytea%primary%', 'for the function that was called'),
	('SELECT snapshot_save_many(''{kept,new}'', ''{20,20}'', ''{1,1}'', ''{20,20}'')', '{"transaction_read_only": "on"}',
	 E'25006 %\nHINT: %pooler%standby%snapshot_save_many%primary%', 'for a batch, too'),
	('SELECT snapshot_save_many(''{kept,new}'', ''{20,20,20}'', ''{1,1}'', ''{20,20}'')', '{}',
	 E'2202E sequence_numbers %\nDETAIL: %3%2%', 'arrays of different lengths: which, and both lengths'),
	('SELECT snapshot_save_many(''{kept,kept}'', ''{20,20}'', ''{1,1}'', ''{20,20}'')', '{}',
	 E'21000 %\nHINT: _%', 'a stream that occurs twice: what to do'),
	('SELECT snapshot_save(''kept'', 20, 1, ''{}'', created_at => ''2999-01-01 00:00:00+00'')', '{"timezone": "UTC"}',
	 E'22008 %\nDETAIL: %2999-01-01 00:00:00+00%clock%\nHINT: %clock%unit%', 'a created_at too far ahead: both times, and where to look'),
	('CALL snapshot_purge(''k'', ''{1}'')', '{}',
	 E'2D000 %\nDETAIL: %commits%\nHINT: %SECURITY DEFINER%SET%', 'a purge inside of something: what that must not be'),
	('SELECT * FROM snapshot_outdated('''', ''{1}'', 0)', '{}',
	 E'22023 max\\_streams %\nDETAIL: %0%', 'a work list of no size: the value'),
	('SELECT * FROM snapshot_load_many(''{kept bytes}'', ''{1}'')', '{}',
	 E'42804 %\nHINT: %snapshot\\_load%bytea()%', 'bytes in a batch: the function to load them'),
	('SELECT * FROM snapshot_load_many_bytea(''{kept}'', ''{1}'')', '{}',
	 E'42804 %\nHINT: %snapshot\\_load%()%', 'json in a batch: the function to load it')
) AS v (command, settings, pattern, description)
WHERE NOT (:'managed' AND concat(command, settings) ~ 'max_state_size|purge|outdated');

\if :managed
	SELECT skip('no details and hints of what is not there', 9);
\else
SELECT alike(pg_temp.error_after(d.command, pg_temp.call_with('snapshot_save'), in_full => true),
			 E'55000 %\nDETAIL: _%\nHINT: %snapshot_store.durable%', d.kind || ': why, and which setting')
FROM redefinition AS d;

SELECT alike(pg_temp.error_after('UPDATE pg_extension SET extversion = ''99.0'' WHERE extname = ''snapshot_store'';
								  ALTER TABLE snapshot_store SET (autovacuum_enabled = on)',
								 pg_temp.call_with('snapshot_save'), in_full => true),
			 E'55000 %\nHINT: %new session%ALTER EXTENSION snapshot_store UPDATE%',
			 'an unknown version: what to do');
\endif

-- However it was called, no error stored anything.
SELECT is((SELECT string_agg(stream_id, ', ' ORDER BY stream_id) FROM snapshot_store), 'kept, kept bytes',
		  'nothing else is stored');

SELECT * FROM finish();
ROLLBACK;
