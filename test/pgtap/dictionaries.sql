-- Dictionaries: the type snapshot_state, what packs which state, and that what was saved comes back to the letter,
-- whatever becomes of a dictionary. This file commits, and has the database to itself.
SELECT plan(479);

\setenv PGHOST :HOST
\setenv PGPORT :PORT
\setenv PGDATABASE :DBNAME
\setenv PGUSER :USER

SET client_min_messages = warning;
TRUNCATE snapshot_store;
DROP ROLE IF EXISTS dictionary_owner, dictionary_member, dictionary_app, dictionary_reader;

-- States of two kinds, which have nothing in common; orders from 1,001 on are like each other, too.
CREATE FUNCTION order_state(n integer, words integer DEFAULT 6) RETURNS json LANGUAGE sql IMMUTABLE
AS $$
	SELECT json_build_object('status', (ARRAY['open', 'paid', 'shipped'])[1 + n % 3], 'customer_number', n, (ARRAY['delivery_address', 'pickup_point'])[1 + n / 1001],
		json_build_object('country', 'NL', 'city', (ARRAY['Utrecht', 'Leiden'])[1 + n % 2]), 'order_lines',
		json_agg(json_build_object('product_number', n * l % 97, 'quantity', l, 'price_in_cents', n * 13 % 997)))
	FROM generate_series(1, words) AS l
$$;
CREATE FUNCTION sensor_state(n integer) RETURNS json LANGUAGE sql IMMUTABLE
AS $$
	SELECT json_agg(json_build_object('humidity_percent', n * i % 101, 'temperature_kelvin', 250 + i, 'calibrated', n % 2 = 0,
									  'firmware', 'rev-' || n % 4)) FROM generate_series(1, 5) AS i
$$;

-- The error that a command raises, with its detail and hint.
CREATE FUNCTION error_of(command text) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END
$$;
CREATE FUNCTION sqlstate_of(command text) RETURNS text LANGUAGE sql AS 'SELECT left(error_of(command), 5)';

-- The type: what goes in is JSON, what comes out is what went in

CREATE TYPE composite AS (state snapshot_state);
CREATE DOMAIN domain AS snapshot_state CHECK (VALUE ->> 'a' = '1');
CREATE TABLE states (state snapshot_state);
SELECT is(error_of(format('SELECT %L::snapshot_state', s)), error_of(format('SELECT %L::json', s)), 'as json takes it: ' || left(to_json(s)::text, 40))
FROM unnest(ARRAY['', ' ', 'x', '{', '{"a": 1}}', '"\u00e"', '"\ud800"', '"\u0000"', '01', '1 2', E'\u0001', E'\u0001abcdefghijklmnop', '[1,]',
				  '{"a": 1, "a": 2}', ' { "a" : 1e400 } ', '"\u00e9"', 'null', '-0', '""', '[]', E'\t[ ]\r\n', repeat('[', 1000) || repeat(']', 1000)]) AS s;
SELECT is(s::snapshot_state::text, s, 'to the letter: ' || left(to_json(s)::text, 40))
FROM unnest(ARRAY[' {"b":1 ,  "a" : 2,"a":3} ', E'[\n\t1e400,\r-0.0, 1E+2 ]', '"\u00e9\n\/"', '""', '{}', ' null', '"' || repeat('x', 300000) || '"']) AS s;
SELECT is((j::snapshot_state)::json::text, j::text, format('from json and back: %s', j))
FROM unnest(ARRAY['{ "b" :1, "b":2}', '[1e400]', '"\ud83d\ude00"']::json[]) AS j;
SELECT is((jsonb '{"b": 1, "aa": [2]}'::snapshot_state)::text, '{"b": 1, "aa": [2]}', 'from jsonb');
SELECT is((snapshot_state '{"aa":  [2], "b": 1, "b": 3}')::jsonb, '{"b": 3, "aa": [2]}', 'and to it');
SELECT is(sqlstate_of(format('SELECT %L::snapshot_state::jsonb', s)), sqlstate_of(format('SELECT %L::jsonb', s)), 'which may refuse it: ' || s)
FROM unnest(ARRAY['1e400000', '"\u0000"', '"\ud800"', '1']) AS s;
SELECT is(sqlstate_of(command), code, command)
FROM (VALUES
	($$SELECT '\x01'::bytea::snapshot_state$$, '42846'),
	($$SELECT snapshot_state '{}'::bytea$$, '42846'),
	($$SELECT 1::snapshot_state$$, '42846'),
	($$SELECT xml '<a/>'::snapshot_state$$, '42846'),
	($$SELECT text 'x'::snapshot_state$$, '22P02'),
	($$SELECT varchar 'x'::snapshot_state$$, '22P02'),
	($$SELECT name E'\x01aaaaaaaaaaaaaaaa'::snapshot_state$$, '22P02'),
	($$SELECT json E'\x01aaaaaaaaaaaaaaaa'::snapshot_state$$, '22P02'),
	($$SELECT convert_from('\x0161616161616161616161616161', 'UTF8')::snapshot_state$$, '22P02'),
	($$SELECT format('{%s}', E'"\x01aaaaaaaaaaaaaaaa"')::snapshot_state[]$$, '22P02'),
	($$SELECT ARRAY[E'\x01aaaaaaaaaaaaaaaa']::snapshot_state[]$$, '22P02'),
	($$SELECT E'(\x01aaaaaaaaaaaaaaaa)'::composite$$, '22P02'),
	($$SELECT ROW(text E'\x01aaaaaaaaaaaaaaaa')::composite$$, '22P02'),
	($$SELECT E'\x01aaaaaaaaaaaaaaaa'::domain$$, '22P02'),
	($$SELECT '{"a": 2}'::domain$$, '23514'),
	($$SELECT json '{"a": 2}'::domain$$, '23514'),
	($$SELECT json_populate_record(NULL::composite, '{"state": "\u0001aaaaaaaaaaaaaaaa"}')$$, '22P02'),
	($$SELECT snapshot_state_in(NULL), snapshot_state_out(NULL), snapshot_state_send(NULL), snapshot_state_to_json(NULL)$$, 'no er'),
	($$SELECT snapshot_state_recv(text 'x')$$, '42883'),
	($$SELECT snapshot_state_in(E'\x01aaaaaaaaaaaaaaaa')$$, '22P02'),
	($$SELECT snapshot_state_out('x')$$, '22P02'),
	($$INSERT INTO states SELECT text '{}'$$, '42804'),
	($$INSERT INTO states SELECT bytea '{}'$$, '42804'),
	($$SELECT snapshot_state '1' = snapshot_state '1'$$, '42883'),
	($$SELECT DISTINCT snapshot_state '1'$$, '42883'),
	($$CREATE INDEX ON states (state)$$, '42704')) AS v (command, code);
SELECT is(a, '({"a":1}|{1," 2"}|("{""a"" : 1}"))', 'in arrays, composites and domains')
FROM format('(%s|%s|%s)', domain '{"a":1}', ARRAY[snapshot_state '1', ' 2'], ROW(snapshot_state '{"a" : 1}')::composite) AS a;
SELECT is(jsonb_populate_record(NULL::composite, '{"state": {"a": [1]}}')::text, '("{""a"": [1]}")', 'from a record of jsonb');
SELECT is(ARRAY[s ->> 'a', (s -> 'b')::text, s #>> '{b,0}', (SELECT string_agg(k, ' ') FROM json_object_keys(s) AS k), json_typeof(s)],
		  ARRAY['1', '[2]', '2', 'a b', 'object'], 'the operators and functions of json')
FROM (SELECT snapshot_state '{"a":1, "b":[2]}' AS s) AS s;
SELECT is(concat(row_to_json(r), to_json(r.s), to_jsonb(r.s), (SELECT json_agg(q.s) FROM (SELECT r.s) AS q), json_build_object('s', r.s)),
		  '{"s":{"a" :1}}{"a" :1}{"a": 1}[{"a" :1}]{"s" : {"a" :1}}', 'what makes JSON of values takes it as JSON')
FROM (SELECT snapshot_state '{"a" :1}' AS s) AS r;
SELECT current_setting('server_version_num')::integer >= 160000 AS soft_errors \gset
\if :soft_errors
SELECT is(array_agg(pg_input_is_valid(s, 'snapshot_state')), '{t,f,f}', 'a soft error, like that of json')
FROM unnest(ARRAY['{}', '{', E'\x01aaaaaaaaaaaaaaaa']) AS s;
\else
SELECT skip('types have no soft errors before PostgreSQL 16', 1);
\endif

-- COPY: also its binary form, which calls receive
CREATE FUNCTION binary_copy(octal text, size integer) RETURNS text LANGUAGE sql
AS $$
	SELECT error_of(format('COPY states FROM PROGRAM %L BINARY',
		format(E'printf ''PGCOPY\\n\\377\\r\\n\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\1\\0\\0\\0\\%s%s\\377\\377''', to_char(size / 8 * 10 + size % 8, 'FM000'), octal)))
$$;
SELECT is(binary_copy('{"a": "\303\251"}', 11), 'no error', 'JSON in binary');
SELECT is(left(binary_copy('\1\0\0\0\0\0\0\0\1\50\265\57\375\44\4', 15), 5), '22021', 'a frame');
SELECT is(left(binary_copy('\1abcdefghijklmn', 15), 5), '22P02', 'one of ASCII');
SELECT is(left(binary_copy('', 0), 5), '22P02', 'nothing');
SELECT is(array_agg(state::text), ARRAY[U&'{"a": "\00E9"}'], 'only JSON got in') FROM states;
SELECT is((SELECT snapshot_state_send(state)), (SELECT json_send(state)), 'which is sent as json is') FROM states;
DROP TABLE states;
DROP DOMAIN domain;
DROP TYPE composite;

-- For superusers only, as these tests are: what is stored, and the dictionary that packed it
SELECT is(sqlstate_of(command), '42501', command || ' is for superusers')
FROM unnest(ARRAY['SET ROLE pg_database_owner; CREATE CAST (snapshot_state AS bytea) WITHOUT FUNCTION',
				  'SET ROLE pg_database_owner; CREATE CAST (bytea AS snapshot_state) WITHOUT FUNCTION']) AS command;
CREATE CAST (snapshot_state AS bytea) WITHOUT FUNCTION;
CREATE CAST (bytea AS snapshot_state) WITHOUT FUNCTION;
CREATE FUNCTION packed_by(state snapshot_state) RETURNS bigint LANGUAGE sql
AS $$
	SELECT ('x' || encode(substr(state::bytea, 2, 8), 'hex'))::bit(64)::bigint WHERE get_byte(state::bytea, 0) = 1
$$;
-- By which dictionaries the states of streams with a prefix are packed; null among them for those that are plain.
CREATE FUNCTION packed_by(stream_id_prefix text) RETURNS bigint[] LANGUAGE sql
AS $$
	SELECT array_agg(DISTINCT packed_by(state::snapshot_state)) FROM snapshot_store WHERE starts_with(stream_id, stream_id_prefix) AND state IS NOT NULL
$$;
CREATE FUNCTION sorted(VARIADIC bigint[]) RETURNS bigint[] LANGUAGE sql AS $$ SELECT array_agg(n ORDER BY n) FROM unnest($1) AS n $$;
-- Are all states of the prefix what order_state and sensor_state give for their sequence numbers?
CREATE FUNCTION intact(stream_id_prefix text) RETURNS boolean LANGUAGE sql
AS $$
	SELECT bool_and(state::text = expected::text AND loaded::text = expected::text)
	FROM (SELECT s.state, l.state AS loaded, CASE WHEN s.stream_id LIKE 'order%' THEN order_state(s.sequence_number::integer)
												  ELSE sensor_state(s.sequence_number::integer) END AS expected
		  FROM snapshot_store AS s, snapshot_load(s.stream_id, ARRAY[s.state_schema_version], s.sequence_number) AS l
		  WHERE starts_with(s.stream_id, stream_id_prefix) AND s.state IS NOT NULL) AS states
$$;
CREATE FUNCTION noise(size integer) RETURNS json LANGUAGE sql IMMUTABLE
AS $$ SELECT to_json(substr(string_agg(md5(i::text), ''), 1, size - 2)) FROM generate_series(0, size / 32) AS i $$;

-- The column becomes one of states, and back: nothing but packed states is changed

SELECT count(*) FILTER (WHERE snapshot_save('order-' || n, n, 1 + n % 2, order_state(n))) AS orders,
	   count(*) FILTER (WHERE snapshot_save('sensor-' || n, n, 1, sensor_state(n))) AS sensors FROM generate_series(1, 200) AS n \gset
SELECT is(:orders + :sensors, 400, 'states of two kinds');
SELECT snapshot_save('other-line', 1, 1, to_json(repeat('compressible ', 230))), snapshot_save('other-toast', 1, 1, noise(20000)),
	   snapshot_save('other-large', 1, 1, to_json(repeat('compressible ', 50000))), snapshot_save('other-spaces', 1, 1, E' {"a":\t1e400, "a" :"\\u00e9"}\n'),
	   snapshot_save_bytea('other-bytes', 1, 1, repeat('bytes ', 100)::bytea), snapshot_save('other-text', 1, 1, '""', '{"by": "hand"}');
SELECT is(error_of('SELECT FROM snapshot_dictionary_train(''order-'')'),
	'55000 | column "state" of table "snapshot_store" cannot hold packed states | ALTER TABLE public.snapshot_store ALTER state TYPE public.snapshot_state'
	|| CASE attcompression WHEN 'l' THEN ', ALTER state SET COMPRESSION lz4' ELSE '' END || ' makes it able to.', 'a column of json takes no dictionary')
FROM pg_attribute WHERE attrelid = 'snapshot_store'::regclass AND attname = 'state';
CREATE FUNCTION files() RETURNS text LANGUAGE sql
AS $$ SELECT pg_relation_filenode(oid) || ' ' || pg_relation_filenode(reltoastrelid) FROM pg_class WHERE oid = 'snapshot_store'::regclass $$;
CREATE TABLE content AS SELECT s.*, xmin::text AS written_by, ctid AS place FROM snapshot_store AS s;
CREATE FUNCTION same_content() RETURNS boolean LANGUAGE sql
AS $$
	SELECT count(*) = (SELECT count(*) FROM snapshot_store) AND
		   bool_and(c.state::text IS NOT DISTINCT FROM s.state::text AND c.state_bytea IS NOT DISTINCT FROM s.state_bytea AND
					c.metadata IS NOT DISTINCT FROM s.metadata AND c.sequence_number = s.sequence_number AND
					c.state_schema_version = s.state_schema_version AND c.created_at = s.created_at)
	FROM content AS c JOIN snapshot_store AS s USING (stream_id, slot)
$$;
SELECT is((SELECT savings > 0 FROM snapshot_dictionary_estimate('order-')), true, 'but can be asked what one would save');
SELECT files() AS files \gset
ALTER TABLE snapshot_store ALTER state TYPE snapshot_state;
SELECT is(files(), :'files', 'nothing is rewritten to make the column one of states');
SELECT ok(same_content(), 'and nothing has changed');
SELECT is((SELECT count(*) FROM content AS c JOIN snapshot_store AS s ON s.ctid = c.place AND s.xmin::text = c.written_by), (SELECT count(*) FROM content),
		  'not even where it is');
SELECT is(packed_by(''), '{NULL}', 'and nothing is packed');
SELECT number AS of_all FROM snapshot_dictionary_train('') \gset
CALL snapshot_repack('');
SELECT is(packed_by('order-') || packed_by('sensor-'), ARRAY[:'of_all', :'of_all']::bigint[], 'until it is repacked');
SELECT ok(same_content(), 'by which nothing changes');
ALTER TABLE snapshot_store ALTER state TYPE json;
SELECT ok(same_content(), 'nor by the way back');
SELECT is((SELECT count(*) FROM snapshot_store WHERE state::text::json IS NULL), 1::bigint, 'to plain JSON');
SELECT files() AS files \gset
CALL snapshot_repack('');
SELECT is((SELECT count(*) FROM snapshot_store WHERE state::text ~ E'^\x01'), 0::bigint, 'a column of json stays one, whatever dictionary is active');
SELECT snapshot_save('order-1', 1, 2, order_state(1), created_at => created_at) FROM content WHERE stream_id = 'order-1';
SELECT ok(same_content(), 'also for who saves');
ALTER TABLE snapshot_store ALTER state TYPE snapshot_state;
SELECT is(files(), :'files', 'and forth once more');
SELECT ok(same_content(), 'and nothing has changed since');
SELECT is(packed_by('order-'), '{NULL}', 'but that nothing is packed');

-- Estimating and training: arguments

SELECT is(error_of(format('SELECT snapshot_dictionary_%s(%s)', f, arguments)), error, format('%s(%s)', f, arguments))
FROM unnest('{estimate,train}'::text[]) AS f,
	(VALUES ('NULL', '22004 | stream_id_prefix must not be null'),
		('''order-'', -1', '22003 | state_schema_version is out of range | A schema version lies between 0 and 4294967295; this one is -1.'),
		('''order-'', 4294967296', '22003 | state_schema_version is out of range | A schema version lies between 0 and 4294967295; this one is 4294967296.'),
		('''order-'', max_samples => NULL', '22004 | max_samples must not be null'),
		('''order-'', max_samples => 0', '22023 | max_samples must be at least 1 | It is 0.'),
		('''order-'', max_samples => 100001', '22023 | max_samples must be at most 100000 | It is 100001.'),
		('''order-'', max_size => NULL', '22004 | max_size must not be null'),
		('''order-'', max_size => 0', '22023 | max_size must be at least 1024 | It is 0.'),
		('''order-'', max_size => 1023', '22023 | max_size must be at least 1024 | It is 1023.'),
		('''order-'', max_size => 131073', '22023 | max_size must be at most 131072 | It is 131073.'),
		('''order-'', level => NULL', '22004 | level must not be null'),
		('''order-'', level => 0', '22023 | level must be at least 1 | It is 0.'),
		('''order-'', level => 20', '22023 | level must be at most 19 | It is 20.'),
		('''order-'', min_samples => NULL', '22004 | min_samples must not be null'),
		('''order-'', min_samples => 0', '22023 | min_samples must be at least 1 | It is 0.'),
		('''order-'', min_samples => 100001', '22023 | min_samples must be at most 100000 | It is 100001.'),
		('''none-''', '55000 | too few streams to train a dictionary on | With a JSON state of up to 262144 bytes there are 0; with these arguments it takes 20.'),
		('''other-''', '55000 | too few streams to train a dictionary on | With a JSON state of up to 262144 bytes there are 4; with these arguments it takes 20.'),
		('''order-'', 3', '55000 | too few streams to train a dictionary on | With a JSON state of up to 262144 bytes there are 0; with these arguments it takes 20.'),
		('''order-'', max_samples => 19', '55000 | too few streams to train a dictionary on | With a JSON state of up to 262144 bytes there are 19; with these arguments it takes 20.'),
		('''order-'', min_samples => 101', '55000 | too few streams to train a dictionary on | With a JSON state of up to 262144 bytes there are 200; with these arguments it takes 202.'),
		('''order-'', 1, min_samples => 51', '55000 | too few streams to train a dictionary on | With a JSON state of up to 262144 bytes there are 100; with these arguments it takes 102.')
	) AS v (arguments, error);
BEGIN;
SET LOCAL allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass);
ALTER TABLE snapshot_store SET (fillfactor = 90);
SELECT is(error_of('SELECT snapshot_dictionary_train(''order-'')'), '0A000 | dictionaries are not supported on a server that runs Citus', 'a server that has the catalog of Citus');
ROLLBACK;
SELECT is(error_of(format('SELECT snapshot_dictionary_retire(%s)', argument)), error, format('retire(%s)', argument))
FROM (VALUES ('NULL', '22004 | number must not be null'), ('1', '42704 | dictionary 1 does not exist')) AS v (argument, error);
SELECT is(error_of(format('CALL snapshot_repack(%s)', arguments)), error, format('repack(%s)', arguments))
FROM (VALUES ('NULL', '22004 | stream_id_prefix must not be null'),
	(''''', NULL', '22004 | batch_size must not be null'),
	(''''', 0', '22023 | batch_size must be at least 1 | It is 0.'),
	(''''', 500001', '22023 | batch_size must be at most 500000 | It is 500001.'),
	('''''', '2D000 | snapshot_repack() cannot be called inside a transaction block or a function | It commits after each batch. | '
		'Send CALL in a statement of its own. A procedure around it must be neither SECURITY DEFINER nor have a SET clause.')
	) AS v (arguments, error);
BEGIN READ ONLY;
SELECT is((SELECT snapshots FROM snapshot_dictionary_estimate('order-')), 200::bigint, 'an estimate in a read-only transaction');
SELECT is(count(*), 1::bigint, 'and the list') FROM snapshot_dictionaries();
SELECT is(sqlstate_of(command), '25006', command || ' in a read-only transaction')
FROM unnest(ARRAY['SELECT snapshot_dictionary_train(''order-'')', 'SELECT snapshot_dictionary_retire(1)']) AS command;
COMMIT;

-- What they tell

SELECT is(ARRAY[e.snapshots = n, e.samples = n, e.state_size BETWEEN 100 AND 1000, e.stored_size = e.state_size, e.packed_size < e.stored_size / 2,
				e.ratio BETWEEN 2 AND 100, e.savings = e.snapshots * (e.stored_size - e.packed_size), e.dictionary_size BETWEEN 256 AND 65536]::text,
		  '{t,t,t,t,t,t,t,t}', 'an estimate of version ' || coalesce(version::text, 'any'))
FROM (VALUES (NULL, 200), (1::bigint, 100)) AS v (version, n), snapshot_dictionary_estimate('order-', version) AS e;
SELECT is(ARRAY[e.snapshots, e.samples]::text, '{200,50}', 'of fewer samples') FROM snapshot_dictionary_estimate('order-', max_samples => 50) AS e;
INSERT INTO snapshot_store SELECT 'lines-' || n, 0, 1, n, now(), order_state(n, 40) FROM generate_series(1, 60) AS n;
CREATE TABLE lines AS SELECT state::text FROM snapshot_store WHERE stream_id LIKE 'lines-%';
SELECT is(ARRAY[e.stored_size BETWEEN l.size * 0.95 AND l.size * 1.05, e.stored_size < e.state_size * 0.7, best.packed_size < e.packed_size * 0.95], '{t,t,t}',
		  'of states that the server compresses, and at the highest level')
FROM (SELECT avg(pg_column_size(state)) AS size FROM lines) AS l, snapshot_dictionary_estimate('lines-', level => 1) AS e, snapshot_dictionary_estimate('lines-', level => 19) AS best;
DELETE FROM snapshot_store WHERE stream_id LIKE 'lines-%';
SELECT is(count(*), 1::bigint, 'an estimate is not kept') FROM snapshot_dictionaries();
SELECT number AS of_orders, ratio AS ratio_of_orders, dictionary_size AS size_of_orders FROM snapshot_dictionary_train('order-') \gset
SELECT is(ARRAY[d.state_schema_version IS NULL, d.level = 3, d.active, d.trained_at BETWEEN now() - interval '1 minute' AND clock_timestamp(), d.samples = 200,
				d.ratio = :ratio_of_orders, d.size = :size_of_orders, d.stream_id_prefix = 'order-']::text,
		  '{t,t,t,t,t,t,t,t}', 'the list tells of a dictionary what its training did') FROM snapshot_dictionaries() AS d WHERE d.number = :of_orders;
SELECT is(sum(octet_length(content)), :size_of_orders::bigint, 'its content is as long as it says') FROM snapshot_dictionary_part WHERE number = :of_orders;
SELECT count(snapshot_save('digit-' || n, n, 1, to_json(n % 10))) FROM generate_series(1, 40) AS n \g /dev/null
\set answer `psql -XqAtc "SELECT number IS NULL, snapshots, samples, state_size, stored_size FROM snapshot_dictionary_train('digit-')" 2>&1`
SELECT is(:'answer'::text, E'NOTICE:  the dictionary was not kept: it would not make states 1.2 times smaller\nt|40|40|1|1', 'one that is of no use is not kept');
INSERT INTO snapshot_store SELECT 'mixed-' || n, 0, 1, n, now(), CASE n % 20 WHEN 0 THEN order_state(n, 1)
		ELSE to_json((SELECT string_agg(chr(35 + get_byte(sha512(n::text::bytea), i) % 57), '') FROM generate_series(0, 59) AS i)) END FROM generate_series(1, 400) AS n;
\set answer `psql -XqAtc "SELECT number IS NULL, ratio > 1 AND ratio < 1.2 FROM snapshot_dictionary_train('mixed-')" 2>&1`
SELECT is(:'answer'::text, E'NOTICE:  the dictionary was not kept: it would not make states 1.2 times smaller\nt|t', 'nor one of little use');
SELECT is(count(*), 2::bigint, 'nor is either listed') FROM snapshot_dictionaries();
DELETE FROM snapshot_store WHERE stream_id LIKE 'mixed-%';

-- Which dictionary: the longest prefix, then one of the version, then the newest

SELECT number AS of_order_1 FROM snapshot_dictionary_train('order-1') \gset
SELECT number AS of_orders_v2 FROM snapshot_dictionary_train('order-', 2) \gset
SELECT number AS of_sensors FROM snapshot_dictionary_train('sensor-') \gset
SELECT is(count(DISTINCT number), 5::bigint, 'one number each, though what they are trained on may be the same') FROM snapshot_dictionaries() WHERE active;
CALL snapshot_repack('');
SELECT is(packed_by('sensor-'), ARRAY[:of_sensors]::bigint[], 'the longest prefix');
SELECT is(packed_by('order-1'), ARRAY[:of_order_1]::bigint[], 'also before one of the version');
SELECT is(packed_by('order-22'), ARRAY[:of_orders]::bigint[], 'of any version');
SELECT is(packed_by('order-23'), ARRAY[:of_orders_v2]::bigint[], 'of its version, before');
SELECT is(packed_by('digit-'), '{NULL}', 'not what is too small');
SELECT ok(intact('order-') AND intact('sensor-'), 'and each is read by its own');
SELECT ok(snapshot_save('order-300', 300, 2, order_state(300)) AND snapshot_save('order-300', 301, 1, order_state(301)) AND
		  snapshot_save('order-1', 302, 1, order_state(302)) AND snapshot_save('sensor', 303, 1, sensor_state(303)) AND
		  snapshot_save('sensor-9', 304, 7, sensor_state(304)), 'saves, and others over these');
SELECT is(packed_by('order-300') || packed_by('order-1'), ARRAY[:of_orders, :of_order_1]::bigint[], 'each is packed by its own');
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = v.stream_id), v.number::bigint, 'one of the longest prefix: ' || v.stream_id)
FROM (VALUES ('sensor', :of_all), ('sensor-9', :of_sensors)) AS v (stream_id, number);
SELECT ok(intact('order-') AND intact('sensor'), 'and comes back to the letter');

-- Retraining retires the one before; retiring and repacking

SELECT count(*) FILTER (WHERE snapshot_save('order-' || n, n, 1, order_state(n))) AS more FROM generate_series(1001, 1400) AS n \gset
SELECT is(:more, 400, 'orders of another shape');
SELECT number AS of_orders_2 FROM snapshot_dictionary_train('order-') \gset
SELECT isnt(:of_orders_2::bigint, :of_orders::bigint, 'are trained to another dictionary');
SELECT is(array_agg(number ORDER BY trained_at), ARRAY[:of_all, :of_order_1, :of_orders_v2, :of_sensors, :of_orders_2]::bigint[], 'which retires that before it of its kind, and no other')
FROM snapshot_dictionaries() WHERE active;
SELECT is(packed_by('order-22'), ARRAY[:of_orders]::bigint[], 'what that has packed stays so');
SELECT ok(intact('order-'), 'and can be read');
CREATE TABLE headers AS SELECT stream_id, slot, state_schema_version, sequence_number, created_at, state_bytea, metadata FROM snapshot_store;
\set answer `psql -XqAtc "CALL snapshot_repack('order-2', 3)" 2>&1`
SELECT is(:'answer'::text, E'NOTICE:  snapshot_repack() has repacked 7 snapshots\n7', 'until it is repacked: of 12 those of version 1');
SELECT is(packed_by('order-2'), sorted(:of_orders_v2, :of_orders_2), 'by the new one');
CREATE TABLE locked AS SELECT ctid AS place, xmin::text AS written_by, xmax::text AS locked_by FROM snapshot_store;
\set answer `psql -XqAtc "CALL snapshot_repack('order-2')" 2>&1`
SELECT is(:'answer'::text, E'NOTICE:  snapshot_repack() has repacked 0 snapshots\n0', 'once');
SELECT bag_eq('TABLE locked', 'SELECT ctid AS place, xmin::text AS written_by, xmax::text AS locked_by FROM snapshot_store', 'and does not even lock what stays as it is');
SELECT is(packed_by('order-34'), ARRAY[:of_orders]::bigint[], 'others are not');
SELECT is(snapshot_dictionary_retire(:of_orders_2), true, 'retired');
SELECT is(snapshot_dictionary_retire(:of_orders_2), false, 'only once');
SELECT is(snapshot_dictionary_retire(:of_orders), false, 'and not if another has retired it');
SELECT ok(snapshot_save('order-25', 325, 1, order_state(325)), 'a save after that');
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'order-25'), :of_all::bigint, 'is packed by the next in order');
SELECT is(count(*), 3::bigint, 'all others') FROM snapshot_dictionaries() AS d WHERE active AND number <> :of_all AND snapshot_dictionary_retire(number);
SELECT snapshot_dictionary_retire(:of_all) \g /dev/null
SELECT ok(snapshot_save('order-25', 326, 1, order_state(326)), 'a save without any');
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'order-25'), NULL, 'stays plain');
SELECT ok(intact('order-') AND intact('sensor'), 'all can be read that the retired ones have packed');
SELECT number AS again FROM snapshot_dictionary_train('sensor-') \gset
SELECT is(array_agg(number) FILTER (WHERE active), ARRAY[:again]::bigint[], 'trained again') FROM snapshot_dictionaries() WHERE stream_id_prefix = 'sensor-';
CALL snapshot_repack('');
SELECT is(packed_by('order-') || packed_by('sensor-'), ARRAY[NULL, :again]::bigint[], 'what has no dictionary any more is unpacked');
SELECT snapshot_save('other-again', 1, 1, state) FROM snapshot_load('other-line', '{1}') \g /dev/null
SELECT is(array_agg(DISTINCT pg_column_size(state)), array_agg(pg_column_size(state)) FILTER (WHERE stream_id = 'other-again'), 'as a save would store it')
FROM snapshot_store WHERE stream_id IN ('other-line', 'other-again');
DELETE FROM snapshot_store WHERE stream_id = 'other-again';
SELECT ok(intact('order-') AND intact('sensor'), 'to the letter');
SELECT results_eq('SELECT * FROM headers WHERE stream_id NOT IN (''order-25'') ORDER BY stream_id, slot',
	'SELECT stream_id, slot, state_schema_version, sequence_number, created_at, state_bytea, metadata FROM snapshot_store WHERE stream_id NOT IN (''order-25'') ORDER BY stream_id, slot',
	'and nothing else of it was changed');
SELECT number AS of_all FROM snapshot_dictionary_train('') \gset

-- What is packed

SELECT snapshot_save('size-' || name, 1, 1, state) FROM (VALUES
	('1 digit', '1'), ('2 escape', '{"status":"\u0061", "status" : 1e400 , "delivery_address":{}, "order_lines":[ ], "price_in_cents":1,"price_in_cents":2}'),
	('3 random', to_json((SELECT string_agg(chr(35 + get_byte(h, i) % 57), '') FROM sha512('1') AS h, generate_series(0, 63) AS i))),
	('4 most', to_json(repeat('x', 262142))), ('5 more', to_json(repeat('x', 262143))), ('6 large', to_json(repeat('x', 2000000))),
	('7 empty', '""'), ('8 order', order_state(1)), ('9 large order', order_state(1, 800))) AS v (name, state) \g /dev/null
SELECT is(string_agg(split_part(stream_id, ' ', 2), ' ' ORDER BY stream_id) FILTER (WHERE packed_by(state) = :of_all), 'escape most order large', 'what is worth it and not too large is packed')
FROM snapshot_store WHERE stream_id LIKE 'size-%';
SELECT is(count(*), 9::bigint, 'all of them to the letter') FROM snapshot_store AS s, snapshot_load(s.stream_id, '{1}') AS l
WHERE s.stream_id LIKE 'size-%' AND md5(s.state::text) = md5(l.state::text) AND l.state::text IN ('1',
	'{"status":"\u0061", "status" : 1e400 , "delivery_address":{}, "order_lines":[ ], "price_in_cents":1,"price_in_cents":2}',
	to_json((SELECT string_agg(chr(35 + get_byte(h, i) % 57), '') FROM sha512('1') AS h, generate_series(0, 63) AS i))::text,
	to_json(repeat('x', 262142))::text, to_json(repeat('x', 262143))::text, to_json(repeat('x', 2000000))::text, '""', order_state(1)::text, order_state(1, 800)::text);
SELECT snapshot_save('steps-' || n, 1, 1, (left('"' || md5('1') || repeat('order_lines', 90), n) || '"')::json) FROM generate_series(4, 400) AS n \g /dev/null
SELECT is(ARRAY[bool_and(octet_length(state::bytea) <= octet_length(state::text) / 8 * 7) FILTER (WHERE packed_by(state) IS NOT NULL),
				bool_and(octet_length(state::bytea) = octet_length(state::text)) FILTER (WHERE packed_by(state) IS NULL),
				count(packed_by(state)) BETWEEN 100 AND 390], '{t,t,t}', 'a packed state is an eighth smaller, and others are plain')
FROM snapshot_store WHERE stream_id LIKE 'steps-%';
SELECT is(bool_and(l.state::text = s.state::text), true, 'each size comes back') FROM snapshot_store AS s, snapshot_load(s.stream_id, '{1}') AS l WHERE s.stream_id LIKE 'steps-%';
DELETE FROM snapshot_store WHERE stream_id LIKE 'steps-%';
SELECT is((SELECT state_size FROM snapshot_info(stream_id)), pg_column_size(state)::bigint, 'snapshot_info: the size as it is stored') FROM snapshot_store WHERE stream_id = 'size-8 order';
SELECT ok((SELECT state_size FROM snapshot_info('size-8 order')) < octet_length(order_state(1)::text) / 2, 'which is less than half');
SELECT snapshot_save_bytea('size-8 order', 2, 1, (order_state(1)::text)::bytea) \g /dev/null
SELECT is(ARRAY[(SELECT state FROM snapshot_load_bytea('size-8 order', '{1}')), (SELECT s.state_bytea FROM snapshot_store AS s WHERE stream_id = 'size-8 order')],
		  array_fill((order_state(1)::text)::bytea, ARRAY[2]), 'bytes stay as they are');
SELECT state::bytea AS frame FROM snapshot_store WHERE stream_id = 'size-9 large order' AND packed_by(state) IS NOT NULL \gset
SELECT snapshot_save_bytea('size-frame', 1, 1, :'frame') \g /dev/null
SELECT is((SELECT state FROM snapshot_load_bytea('size-frame', '{1}')), :'frame'::bytea, 'also those that look like a packed state');
SELECT snapshot_stats_reset() \g /dev/null
SELECT snapshot_save('stats-1', 1, 1, order_state(1)) \g /dev/null
SELECT FROM snapshot_load('stats-1', '{1}') \g /dev/null
SELECT is(ARRAY[bytes_saved, bytes_loaded], array_fill(octet_length(order_state(1)::text)::bigint, ARRAY[2]), 'statistics count what was saved and loaded, not what is stored')
FROM snapshot_stats WHERE kind = 'stats' AND datname = current_database();

-- Batches, histories, metadata, replacing

SELECT is(array_agg(stored), '{t,t,t}', 'a batch') FROM snapshot_save_many('{batch-1,batch-2,batch-3}', '{1,2,3}', '{1,1,1}', ARRAY[order_state(1), '2', sensor_state(3)], ARRAY['{"a": 1}', NULL, '3']::json[]);
SELECT is(packed_by('batch-1') || packed_by('batch-2') || packed_by('batch-3'), ARRAY[:of_all, NULL, :of_all]::bigint[], 'each state for itself');
SELECT is(array_agg(state::text ORDER BY stream_id), ARRAY[order_state(1)::text, '2', sensor_state(3)::text], 'and loaded by one') FROM snapshot_load_many('{batch-3,batch-1,batch-2}', '{1}');
SELECT is(array_agg(metadata::text ORDER BY stream_id), ARRAY['{"a": 1}', NULL, '3'], 'with metadata, which are not packed') FROM snapshot_load_many('{batch-3,batch-1,batch-2}', '{1}');
SET snapshot_store.keep = 3;
SET snapshot_store.keep_versions = 2;
SELECT is(count(*) FILTER (WHERE snapshot_save('order-kept', n, 1 + n % 2, order_state(n))), 20::bigint, 'a history of two versions') FROM generate_series(1, 20) AS n;
SELECT ok(snapshot_save('order-kept', 15, 2, order_state(15)), 'an old one again');
SELECT is(array_agg(sequence_number || ' ' || (packed_by(state) = :of_all) ORDER BY sequence_number), ARRAY['15 true', '16 true', '17 true', '18 true', '19 true', '20 true']::text[], 'each of it is packed')
FROM snapshot_store WHERE stream_id = 'order-kept';
SELECT ok(intact('order-kept'), 'and loaded');
RESET snapshot_store.keep;
RESET snapshot_store.keep_versions;
SELECT ok(snapshot_save('order-kept', 21, 1, order_state(21)), 'and back to one, in slot 0');
SELECT is(array_agg(slot), '{0}', 'which alone is left') FROM snapshot_store WHERE stream_id = 'order-kept';
SELECT ok(intact('order-kept'), 'to the letter');
SELECT is(ARRAY[snapshot_save('order-kept', 21, 1, sensor_state(1), replace => false), snapshot_save('order-kept', 20, 1, '1')], '{f,f}', 'one that is not to be replaced');
SELECT ok(intact('order-kept'), 'is not');
SELECT ok(snapshot_save('order-kept', 21, 1, sensor_state(1)), 'and one that is');
SELECT is(state::text, sensor_state(1)::text, 'is replaced') FROM snapshot_load('order-kept', '{1}');
SELECT is((SELECT count(*) FROM snapshot_load('order-kept', '{2}')) + (SELECT count(*) FROM snapshot_load('order-kept', '{1}', 20)), 0::bigint, 'version and bounds are not packed');
SELECT is(snapshot_delete('order-kept'), 1::bigint, 'deleted');

-- Who may what: the table of dictionaries is the superuser's, the functions the table's owner's

CREATE ROLE dictionary_owner;
CREATE ROLE dictionary_member IN ROLE dictionary_owner;
CREATE ROLE dictionary_app;
CREATE ROLE dictionary_reader;
GRANT CREATE ON SCHEMA public TO dictionary_owner;
ALTER TABLE snapshot_store OWNER TO dictionary_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO dictionary_app;
GRANT SELECT ON snapshot_store TO dictionary_reader;
-- What a command comes to for a role, taken back.
CREATE FUNCTION by_role(role name, command text) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE command;
	RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
	RETURN 'done';
WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
SELECT is(by_role(role, command), CASE WHEN role IN ('dictionary_app', 'dictionary_reader') THEN '42501' ELSE 'done' END, role || ': ' || command)
FROM unnest('{postgres,dictionary_owner,dictionary_member,dictionary_app,dictionary_reader}'::name[]) AS role,
	unnest(ARRAY['SELECT snapshot_dictionary_estimate(''order-'')', 'SELECT snapshot_dictionary_train(''order-'')', 'SELECT snapshot_dictionaries()',
		format('SELECT snapshot_dictionary_retire(%s)', :of_all)]) AS command;
SELECT is(error_of('SET ROLE dictionary_app; ' || command), '42501 | must be owner of table snapshot_store', command)
FROM unnest('{SELECT snapshot_dictionaries(),SELECT snapshot_dictionary_train(''x'')}'::text[]) AS command;
RESET ROLE;
SELECT is(by_role(role, command), '42501', role || ': ' || command)
FROM unnest('{dictionary_owner,dictionary_member,dictionary_app,dictionary_reader}'::name[]) AS role,
	unnest(ARRAY['SELECT number FROM snapshot_dictionary', 'SELECT number FROM snapshot_dictionary_part', 'TABLE snapshot_dictionary_part', 'DELETE FROM snapshot_dictionary_part', 'TABLE snapshot_dictionary', 'CREATE TABLE child () INHERITS (snapshot_dictionary)',
		'CREATE TABLE other (n bigint REFERENCES snapshot_dictionary)', 'ALTER EXTENSION snapshot_store DROP TABLE snapshot_dictionary',
		'DELETE FROM snapshot_dictionary', 'TRUNCATE snapshot_dictionary', 'UPDATE snapshot_dictionary SET active = false', 'INSERT INTO snapshot_dictionary SELECT',
		'LOCK snapshot_dictionary', 'DROP TABLE snapshot_dictionary', 'ALTER TABLE snapshot_dictionary DISABLE TRIGGER ALL', 'ALTER TABLE snapshot_dictionary ADD x int',
		'CREATE INDEX ON snapshot_dictionary (level)', 'CREATE RULE r AS ON SELECT TO snapshot_dictionary DO INSTEAD NOTHING',
		'CREATE TRIGGER t AFTER INSERT ON snapshot_dictionary EXECUTE FUNCTION snapshot_dictionary_guard()', 'GRANT SELECT ON snapshot_dictionary TO PUBLIC',
		'DROP TYPE snapshot_state CASCADE', 'ALTER TYPE snapshot_state OWNER TO dictionary_owner']) AS command;
SELECT is(relacl, NULL, 'nobody is granted ' || relname) FROM pg_class WHERE relname IN ('snapshot_dictionary', 'snapshot_dictionary_part') AND reloptions = '{user_catalog_table=true}' ORDER BY relname;
\set others `psql -XqAt -c "SET ROLE dictionary_app" -c "CALL snapshot_repack('order-app')" -c "SET ROLE dictionary_member" -c "CALL snapshot_repack('order-app')" 2>&1`
SELECT is(:'others'::text, E'ERROR:  must be owner of table snapshot_store\nNOTICE:  snapshot_repack() has repacked 0 snapshots\n0', 'a repack is for the owner, and for members of it');
SET ROLE dictionary_app;
SELECT ok(snapshot_save('order-app', 1, 1, order_state(1)), 'who may save may pack');
RESET ROLE;
SELECT is(packed_by('order-app'), ARRAY[:of_all]::bigint[], 'and does');
SET ROLE dictionary_reader;
SELECT ok(intact('order-app'), 'who may load may unpack');
RESET ROLE;
ALTER TABLE snapshot_store OWNER TO postgres;
SELECT is(by_role('dictionary_owner', 'SELECT snapshot_dictionaries()'), '42501', 'who was the owner is not any more');
DROP OWNED BY dictionary_owner, dictionary_app, dictionary_reader;
DROP ROLE dictionary_owner, dictionary_member, dictionary_app, dictionary_reader;

-- Whoever may read the contents could read what is taken from states

CREATE ROLE dictionary_reader;
GRANT SELECT ON snapshot_dictionary_part TO dictionary_reader;
SELECT is(sqlstate_of('SELECT snapshot_dictionary_train(''order-'')'), '55000', 'nothing is trained into what others may read');
REVOKE SELECT ON snapshot_dictionary_part FROM dictionary_reader;
GRANT SELECT ON snapshot_dictionary_part TO PUBLIC;
SELECT matches(error_of('SELECT snapshot_dictionary_train(''order-'')'), '^55000 . table "snapshot_dictionary_part" is granted to others . ', 'nor what everybody may');
REVOKE SELECT ON snapshot_dictionary_part FROM PUBLIC;
SELECT is(by_role('postgres', 'SELECT snapshot_dictionary_train(''order-'')'), 'done', 'but when that is revoked');
DROP ROLE dictionary_reader;

-- More dictionaries than a session keeps ready

DO $$
BEGIN
	FOR level IN 1..19 LOOP
		PERFORM snapshot_dictionary_train(kind, level => level, max_samples => 60) FROM unnest('{order-,sensor-}'::text[]) AS kind;
		PERFORM snapshot_save('order-cycle-' || level, level, 1, order_state(level)), snapshot_save('sensor-cycle-' || level, level, 1, sensor_state(level));
	END LOOP;
END
$$;
SELECT is(count(DISTINCT packed_by(state)), 38::bigint, '38 dictionaries, one for each level of two kinds') FROM snapshot_store WHERE stream_id ~ '^(order|sensor)-cycle-';
SELECT ok(intact('order-cycle-') AND intact('sensor-cycle-') AND intact('order-cycle-') AND intact('sensor-cycle-'), 'each is found again') FROM generate_series(1, 2);
SELECT count(snapshot_dictionary_retire(number)) FROM snapshot_dictionaries() WHERE active AND stream_id_prefix IN ('order-', 'sensor-') \g /dev/null

-- One of several parts, and kinds of which one is version 0

INSERT INTO snapshot_store SELECT 'large-' || n, 0, 0, n, now(), json_build_object('n', n, 'text', (SELECT string_agg(md5(i::text), ' ' ORDER BY (i * n) % 401) FROM generate_series(1, 400) AS i))
FROM generate_series(1, 60) AS n;
SELECT number AS of_large, dictionary_size AS size_of_large FROM snapshot_dictionary_train('large-') \gset
SELECT number AS of_large_0 FROM snapshot_dictionary_train('large-', 0) \gset
SELECT is(count(*), 2::bigint, 'one of version 0 does not retire one of any') FROM snapshot_dictionaries() WHERE active AND number IN (:of_large, :of_large_0);
SELECT is(ARRAY[count(*) > 1, sum(octet_length(content)) = :size_of_large], '{t,t}', 'a large one is in parts') FROM snapshot_dictionary_part WHERE number = :of_large_0;
CALL snapshot_repack('large-');
SELECT is(packed_by('large-'), ARRAY[:of_large_0]::bigint[], 'and packs');
SELECT is(count(DISTINCT md5(l.state::text)), 60::bigint, 'and unpacks') FROM snapshot_store AS s, snapshot_load(s.stream_id, '{0}') AS l WHERE s.stream_id LIKE 'large-%' AND (l.state ->> 'n')::bigint = l.sequence_number;
\set others `psql -XqAtc "CALL snapshot_repack('digit-')" 2>&1`
SELECT is(:'others'::text, E'NOTICE:  snapshot_repack() has repacked 0 snapshots\n0', 'what it is not worth it for is not written anew');

-- A person's data: of what fewer than min_samples streams have, no six bytes are in a dictionary

-- Words of letters and digits that nothing else has; of kinds 7 and 8, others begin, or end, alike.
CREATE TABLE persons AS SELECT p, p % 9 AS kind,
	CASE p % 9 WHEN 3 THEN '4' || translate(left(hash, 10), 'abcdef', '345678')
			   WHEN 6 THEN left(letters, 5) || U&'\00E9' || substr(letters, 6, 5)
			   WHEN 7 THEN 'nobodyknows' || left(letters, 5)
			   WHEN 8 THEN left(letters, 5) || 'knowsnobody'
			   ELSE left(letters, 12) END AS word
FROM generate_series(1, 80) AS p, md5('person ' || p) AS hash, translate(hash, '0123456789', 'ghjkmnpqrs') AS letters;
CREATE FUNCTION person_state(m integer, n integer, who integer[]) RETURNS json LANGUAGE sql
AS $$
	SELECT json_build_object('type', 'account', 'city', (ARRAY['Rotterdam', 'Springfield', 'Wiesbaden'])[1 + n % 3],
		'tags', CASE WHEN n < 20 THEN '["twentystreams"]'::json END, 'mark', to_char(n / nullif(m, 0), '"enough"FM000'), 'people', (SELECT json_agg(json_build_object(
			'name', CASE WHEN kind IN (2, 6) THEN initcap(word) || ' Miller' END,
			'email', CASE WHEN kind IN (0, 7, 8) THEN word || '@example.org' END,
			'contacts', CASE kind WHEN 1 THEN json_build_object(word || '@example.org', json_build_object('since', 2020)) END,
			'phone', CASE kind WHEN 3 THEN word::bigint END,
			'note', CASE kind WHEN 4 THEN format('Please call %s, or write to %1$s@example.org.', word) END,
			'aliases', CASE kind WHEN 5 THEN array_fill(word, ARRAY[50]) END)) FROM persons WHERE p = ANY (who)))
$$;
-- Persons 1 to 72 are each in min_samples - 1 streams; 73 to 80 are in 40 snapshots of one.
INSERT INTO snapshot_store SELECT format('person-%s-%s', m, n), 0, 1, 1, now(), person_state(m, n, array_agg(p))
FROM unnest(ARRAY[2, 4, 10]) AS m, generate_series(0, 119) AS n LEFT JOIN LATERAL (
	SELECT p FROM generate_series(1, 72) AS p, generate_series(0, m - 2) AS k WHERE (p * 7 + k * 11) % 120 = n) AS among ON true
GROUP BY m, n;
INSERT INTO snapshot_store SELECT format('person-%s-kept-%s', m, p), slot, 1, slot, now(), person_state(0, slot, ARRAY[p])
FROM unnest(ARRAY[2, 4, 10]) AS m, generate_series(73, 80) AS p, generate_series(0, 39) AS slot;
SELECT is(array_agg(DISTINCT (SELECT count(DISTINCT stream_id) FROM snapshot_store WHERE starts_with(stream_id, format('person-%s-', m)) AND state::text ILIKE '%' || word || '%')
						- CASE WHEN p <= 72 THEN m - 1 ELSE 1 END), '{0}', 'what each person''s word is in') FROM persons, unnest(ARRAY[2, 4, 10]) AS m;
CREATE TABLE trained AS SELECT 10 AS m, number, samples FROM snapshot_dictionary_train('person-10-');
INSERT INTO trained SELECT m, number, samples FROM unnest(ARRAY[2, 4]) AS m, snapshot_dictionary_train(format('person-%s-', m), min_samples => m);
ALTER TABLE trained ADD content text;
UPDATE trained AS t SET content = (SELECT lower(encode(string_agg(content, '' ORDER BY part), 'escape')) FROM snapshot_dictionary_part AS d WHERE d.number = t.number);
SELECT is(array_agg(samples), '{128,128,128}', 'a stream is one sample, however many snapshots it has') FROM trained;
SELECT is((SELECT string_agg(DISTINCT format('%s %s: %s', kind, word, piece), ', ') FROM persons, generate_series(1, octet_length(convert_to(word, 'UTF8')) - 5) AS i,
		   encode(substr(convert_to(word, 'UTF8'), i, 6), 'escape') AS piece WHERE position(piece IN content) > 0), NULL, 'no person is in what was trained with min_samples => ' || m) FROM trained;
SELECT is(array_agg(position(word IN content) > 0), '{t,t,t,t}', 'what more have is, with min_samples => ' || m)
FROM trained, unnest(ARRAY['twentystreams', 'rotterdam', '@example.org', 'please call ']) AS word WHERE m > 2 GROUP BY m;
SELECT is(string_agg(mark, ', ') FILTER (WHERE position(mark IN content) = 0), NULL, 'and what just so many have, with min_samples => ' || m)
FROM trained, LATERAL (SELECT to_char(n, '"enough"FM000') FROM generate_series(0, 120 / m - 1) AS n) AS marks (mark) WHERE m = 10 GROUP BY m;
SELECT count(snapshot_dictionary_retire(number)) FROM trained \g /dev/null
DELETE FROM snapshot_store WHERE stream_id LIKE 'person-%';

-- Transactions: no committed state is packed by a dictionary that is not

SELECT count(snapshot_save('tx-' || n, n, 1, sensor_state(n))) FROM generate_series(1, 60) AS n \g /dev/null
SELECT packed_by('tx-') AS before \gset
SELECT is(:'before', ARRAY[:of_all]::bigint[], 'at first, there is one for all');
BEGIN;
SELECT number AS of_tx FROM snapshot_dictionary_train('tx-') \gset
SELECT snapshot_save('tx-1', 101, 1, sensor_state(101)) \g /dev/null
SELECT is(packed_by('tx-1'), sorted(:of_all, :of_tx), 'a transaction''s own dictionary is in use in it');
ROLLBACK;
SELECT ok(snapshot_save('tx-1', 102, 1, sensor_state(102)), 'after a rollback');
SELECT is(packed_by('tx-1'), ARRAY[:of_all]::bigint[], 'it is not');
SELECT is(count(*), 0::bigint, 'nor is it there') FROM snapshot_dictionary WHERE number = :of_tx;
BEGIN;
SAVEPOINT a;
SELECT number AS of_tx FROM snapshot_dictionary_train('tx-') \gset
SELECT snapshot_save('tx-2', 102, 1, sensor_state(102)) \g /dev/null
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'tx-2'), :of_tx::bigint, 'a subtransaction''s');
ROLLBACK TO a;
SELECT ok(snapshot_save('tx-2', 103, 1, sensor_state(103)), 'after a rollback to the savepoint before it');
SAVEPOINT a;
SELECT snapshot_dictionary_train('tx-') \g /dev/null
ROLLBACK TO a;
SELECT ok(snapshot_save('tx-3', 104, 1, sensor_state(104)), 'and after one that has packed nothing');
SAVEPOINT a;
SAVEPOINT b;
SELECT snapshot_dictionary_train('tx-') \g /dev/null
RELEASE b;
SELECT snapshot_save('tx-4', 104, 1, sensor_state(104)) \g /dev/null
ROLLBACK TO a;
SELECT ok(snapshot_save('tx-4', 105, 1, sensor_state(105)), 'and after one that held another');
DO $$
BEGIN
	BEGIN
		PERFORM snapshot_dictionary_train('tx-');
		PERFORM snapshot_save('tx-5', 105, 1, sensor_state(105));
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		PERFORM snapshot_save('tx-5', 106, 1, sensor_state(106));
	END;
	PERFORM snapshot_save('tx-6', 106, 1, sensor_state(106));
END
$$;
COMMIT;
\set others `psql -XqAtc "SELECT intact('tx-'), packed_by('tx-')" 2>&1`
SELECT is(:'others'::text, concat('t|', :'before'), 'nothing that was committed is packed by it, and another session can read all');
SELECT is(array_agg(sequence_number ORDER BY stream_id), '{102,103,104,105,106,106}', 'each is what was saved last') FROM snapshot_store WHERE stream_id BETWEEN 'tx-1' AND 'tx-6' AND length(stream_id) = 4;
BEGIN;
SELECT snapshot_dictionary_retire(:of_all) \g /dev/null
SELECT snapshot_save('tx-7', 107, 1, sensor_state(107)) \g /dev/null
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'tx-7'), NULL, 'one that was retired packs nothing');
SAVEPOINT a;
SELECT snapshot_dictionary_train('tx-') \g /dev/null
ROLLBACK TO a;
SELECT snapshot_save('tx-7', 108, 1, sensor_state(108)) \g /dev/null
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'tx-7'), NULL, 'also after a rollback to a savepoint');
ROLLBACK;
SELECT snapshot_save('tx-7', 109, 1, sensor_state(109)) \g /dev/null
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'tx-7'), :of_all::bigint, 'after the rollback it packs again');
BEGIN;
SELECT number AS of_tx FROM snapshot_dictionary_train('tx-') \gset
SELECT snapshot_save('tx-8', 110, 1, sensor_state(110)) \g /dev/null
PREPARE TRANSACTION 'trained';
SELECT ok(snapshot_save('tx-9', 111, 1, sensor_state(111)), 'while a training is prepared');
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'tx-9'), :of_all::bigint, 'it packs nothing');
\set others `psql -XqAtc "SELECT snapshot_save('tx-10', 111, 1, sensor_state(111)), snapshot_save('tx-9', 112, 1, sensor_state(112))" -c "SELECT intact('tx-'), packed_by('tx-')" 2>&1`
SELECT is(:'others'::text, concat(E't|t\nt|', :'before'), 'nor in another session');
COMMIT PREPARED 'trained';
SELECT ok(snapshot_save('tx-9', 113, 1, sensor_state(113)), 'when it is committed');
SELECT is((SELECT array_agg(packed_by(state)) FROM snapshot_store WHERE stream_id IN ('tx-8', 'tx-9')), array_fill(:of_tx::bigint, ARRAY[2]), 'it does, and has');
\set others `psql -XqAtc "SELECT snapshot_save('tx-10', 114, 1, sensor_state(114))" -c "SELECT intact('tx-'), packed_by('tx-10')" 2>&1`
SELECT is(:'others'::text, format(E't\nt|{%s}', :of_tx), 'also in another session');
BEGIN;
SELECT snapshot_dictionary_retire(:of_tx) \g /dev/null
SELECT snapshot_save('tx-8', 115, 1, sensor_state(115)) \g /dev/null
PREPARE TRANSACTION 'retired';
SELECT snapshot_save('tx-9', 116, 1, sensor_state(116)) \g /dev/null
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'tx-9'), :of_tx::bigint, 'retired in a prepared transaction, it packs');
ROLLBACK PREPARED 'retired';
SELECT snapshot_save('tx-9', 117, 1, sensor_state(117)) \g /dev/null
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'tx-9'), :of_tx::bigint, 'and when that has come to nothing');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 1 \g /dev/null
\set others `psql -XqAtc "SELECT count(snapshot_dictionary_retire(number)) FROM snapshot_dictionaries() WHERE active AND stream_id_prefix = 'tx-'" 2>&1`
SELECT is(:'others'::text, '1', 'retired elsewhere');
SELECT ok(snapshot_save('tx-11', 117, 1, sensor_state(117)), 'after the transaction''s snapshot');
COMMIT;
SELECT is((SELECT packed_by(state) FROM snapshot_store WHERE stream_id = 'tx-11'), :of_all::bigint, 'it packs nothing in that either');
SELECT ok(intact('tx-'), 'all can be read');

-- By hand nothing is done to dictionaries; what a session that replicates brings is passed over

CREATE TABLE put_aside AS TABLE snapshot_dictionary;
CREATE TABLE parts_aside AS TABLE snapshot_dictionary_part;
SELECT is(error_of(command), '55000 | dictionaries cannot be changed by hand | What one of them has packed could not be read any more. | '
		  'Use snapshot_dictionary_train() and snapshot_dictionary_retire().', command || ' by a superuser')
FROM (SELECT format(command, suffix) AS command FROM unnest('{"",_part}'::text[]) AS suffix,
	  unnest(ARRAY['DELETE FROM snapshot_dictionary%s', 'DELETE FROM snapshot_dictionary%s WHERE false', 'UPDATE snapshot_dictionary%s SET number = 1', 'TRUNCATE snapshot_dictionary%s',
				   'INSERT INTO snapshot_dictionary%s SELECT * FROM snapshot_dictionary%1$s LIMIT 0', 'WITH d AS (DELETE FROM snapshot_dictionary%s RETURNING *) SELECT FROM d',
				   'COPY snapshot_dictionary%s FROM PROGRAM ''true''', 'SET session_replication_role = replica; TRUNCATE snapshot_dictionary%s']) AS command) AS c;
SET session_replication_role = replica;
SELECT is(error_of(command), 'no error', command || ' by a session that replicates')
FROM (SELECT format(command, suffix) AS command FROM unnest('{"",_part}'::text[]) AS suffix,
	  unnest(ARRAY['DELETE FROM snapshot_dictionary%s', 'UPDATE snapshot_dictionary%s SET number = 1', 'INSERT INTO snapshot_dictionary%s SELECT * FROM snapshot_dictionary%1$s']) AS command) AS c;
RESET session_replication_role;
SELECT bag_eq('TABLE snapshot_dictionary', 'TABLE put_aside', 'and nothing has come of it');
SELECT bag_eq('TABLE snapshot_dictionary_part', 'TABLE parts_aside', 'nor of the parts');

-- A dictionary that a superuser deletes all the same: its snapshots are as good as none

CREATE PROCEDURE by_force(command text) LANGUAGE plpgsql
AS $$
BEGIN
	ALTER TABLE snapshot_dictionary DISABLE TRIGGER USER;
	ALTER TABLE snapshot_dictionary_part DISABLE TRIGGER USER;
	EXECUTE command;
	ALTER TABLE snapshot_dictionary ENABLE TRIGGER snapshot_dictionary_guard;
	ALTER TABLE snapshot_dictionary_part ENABLE TRIGGER snapshot_dictionary_guard;
END
$$;
SELECT snapshot_save('order-missing', 1, 1, order_state(1)) \g /dev/null
CALL by_force(format('DELETE FROM snapshot_dictionary WHERE number = %s', :of_all));
\set others `psql -XqAtc "SELECT * FROM snapshot_load('order-missing', '{1}')" 2>&1`
SELECT is(:'others'::text, format(E'WARNING:  dictionary %s does not exist\nDETAIL:  The snapshot of stream "order-missing" was packed by it, and cannot be loaded.\n'
							'HINT:  The next save of the stream replaces the snapshot.', :of_all), 'a load finds nothing, and warns');
\set others `psql -XqAtc "SELECT stream_id FROM snapshot_load_many('{tx-8,order-missing,batch-2}', '{1}')" 2>&1 | grep -v HINT`
SELECT is(:'others'::text, format(E'WARNING:  dictionary %s does not exist\nDETAIL:  The snapshot of stream "order-missing" was packed by it, and cannot be loaded.\ntx-8\nbatch-2', :of_all),
		  'one of several finds the others');
\set others `psql -XqAtc "SELECT state FROM snapshot_store WHERE stream_id = 'order-missing'" -c "SELECT state::json FROM snapshot_store WHERE stream_id = 'order-missing'" -c "COPY (SELECT state FROM snapshot_store WHERE stream_id = 'order-missing') TO STDOUT BINARY" 2>&1 | sort | uniq -c | sed 's/^ *//'`
SELECT is(:'others'::text, format(E'3 DETAIL:  The state was packed by it.\n3 ERROR:  dictionary %s does not exist', :of_all), 'plain SQL fails');
\set others `psql -XqAtc "SELECT state_size > 0, snapshot_due('order-missing', '{1}', 5, 2), snapshot_delete('none') FROM snapshot_info('order-missing')" -c "SELECT count(*) FROM snapshot_store" -c "CALL snapshot_repack('order-missing')" 2>&1`
SELECT is(:'others'::text, (SELECT format(E't|t|0\n%s\nNOTICE:  snapshot_repack() has repacked 0 snapshots\n0', count(*)) FROM snapshot_store), 'what reads no state goes on, and a repack passes over it');
\set others `psql -XqAtc "ALTER TABLE snapshot_store ALTER state TYPE json" 2>&1 | head -n 1`
SELECT is(:'others'::text, format('ERROR:  dictionary %s does not exist', :of_all), 'the way back to json needs all');
\set others `psql -XqAtc "SELECT snapshot_stats_reset()" -c "SELECT FROM snapshot_load('order-missing', '{1}')" -c "SELECT loads_found, loads_not_found, bytes_loaded FROM snapshot_stats WHERE kind = 'order' AND datname = current_database()" 2>/dev/null`
SELECT is(:'others'::text, E'\n0|1|0', 'statistics count it as not found');
\set others `psql -XqAtc "SELECT snapshot_save('order-missing', 1, 1, order_state(1))" -c "SELECT intact('order-missing'), packed_by('order-missing')" 2>&1`
SELECT is(:'others'::text, E't\nt|{NULL}', 'the next save replaces it');
CALL by_force('INSERT INTO snapshot_dictionary SELECT p.* FROM put_aside AS p WHERE NOT EXISTS (SELECT FROM snapshot_dictionary AS d WHERE d.number = p.number)');
CALL by_force(format('DELETE FROM snapshot_dictionary_part WHERE number = %s AND part = 0', :of_all));
\set others `psql -XqAtc "SELECT count(*) FROM snapshot_load('tx-11', '{1}')" 2>/dev/null`
SELECT is(:'others'::text, '0', 'one of which a part is missing is missing');
CALL by_force(format('DELETE FROM snapshot_dictionary_part WHERE number = %s AND part = 1', :of_large_0));
\set others `psql -XqAtc "SELECT count(*) FROM snapshot_load('large-1', '{0}')" 2>&1 | grep -v '^DETAIL\|^HINT'`
SELECT is(:'others'::text, format(E'WARNING:  dictionary %s does not exist\n0', :of_large_0), 'one of several, too');
CALL by_force(format('INSERT INTO snapshot_dictionary_part SELECT * FROM parts_aside WHERE number = %s AND part = 1', :of_large_0));
CALL by_force(format('INSERT INTO snapshot_dictionary_part SELECT * FROM parts_aside WHERE number = %s AND part = 0', :of_all));
\set others `psql -XqAtc "SELECT intact('tx-'), packed_by('tx-11')" 2>&1`
SELECT is(:'others'::text, format('t|{%s}', :of_all), 'put back, it is as it was');

-- One whose content a superuser changes: an error, never another state

SELECT snapshot_save('order-missing', 2, 1, order_state(2)) \g /dev/null
CREATE FUNCTION load_changed() RETURNS text LANGUAGE sql
AS $$
	SELECT concat_ws(', ', error_of('SELECT FROM snapshot_load(''order-missing'', ''{1}'')'), error_of('SELECT state::text FROM snapshot_store WHERE stream_id = ''order-missing'''))
$$;
\set changed 'UPDATE snapshot_dictionary_part AS d SET content = %s WHERE number = %s AND part = 0'
SELECT format('XX001 | dictionary %1$s has another content than when it was trained, XX001 | dictionary %1$s has another content than when it was trained', :of_all) AS refused \gset
CALL by_force(format(:'changed', 'set_byte(content, 1500, (get_byte(content, 1500) + 1) % 256)', :of_all));
\set others `psql -XqAtc "SELECT load_changed()" 2>&1`
SELECT is(:'others'::text, :'refused', 'a byte of it');
CALL by_force(format(:'changed', format('overlay(content PLACING substr((SELECT content FROM parts_aside WHERE number = %s AND part = 0), 1, 2000) FROM 1)', :of_orders), :of_all));
\set others `psql -XqAtc "SELECT load_changed()" 2>&1`
SELECT is(:'others'::text, :'refused', 'some of another''s');
CALL by_force(format('UPDATE snapshot_dictionary SET size = size - 1 WHERE number = %s; '
	'UPDATE snapshot_dictionary_part AS d SET content = substr(d.content, 1, octet_length(d.content) - 1) WHERE number = %1$s AND part = (SELECT max(part) FROM parts_aside WHERE number = %1$s)', :of_all));
\set others `psql -XqAtc "SELECT load_changed()" 2>&1`
SELECT is(:'others'::text, :'refused', 'not all of it');
CALL by_force(format('UPDATE snapshot_dictionary SET size = 2000000000 WHERE number = %1$s', :of_all));
\set others `psql -XqAtc "SELECT count(*) FROM snapshot_load('order-missing', '{1}')" 2>/dev/null`
SELECT is(:'others'::text, '0', 'more than there can be is none');
CALL by_force(format('UPDATE snapshot_dictionary SET size = 1000 WHERE number = %1$s', :of_all));
\set others `psql -XqAtc "SELECT count(*) FROM snapshot_load('order-missing', '{1}')" 2>/dev/null`
SELECT is(:'others'::text, '0', 'nor is one whose parts are larger than it says');
CALL by_force(format(:'changed', 'set_byte(content, 1500, (get_byte(content, 1500) + 1) % 256)', :of_large));
\set others `psql -XqAtc "SELECT snapshot_dictionary_train('large-')" 2>&1`
SELECT is(:'others'::text, format('ERROR:  dictionary %s exists with another content', :of_large), 'one that is trained again meets another content');
CALL by_force(format('UPDATE snapshot_dictionary AS d SET size = p.size FROM put_aside AS p WHERE p.number = d.number; UPDATE snapshot_dictionary_part AS d SET content = p.content '
					 'FROM parts_aside AS p WHERE p.number = d.number AND p.part = d.part', :of_all));
CALL by_force($$INSERT INTO snapshot_dictionary SELECT uuid_hash_extended(u, 0), 'none', NULL, 1, false, now(), 0, 1, 16 FROM CAST('37a430ec000000000000000000000000' AS uuid) AS u;
	INSERT INTO snapshot_dictionary_part SELECT uuid_hash_extended(u, 0), 0, uuid_send(u) FROM CAST('37a430ec000000000000000000000000' AS uuid) AS u$$);
SELECT is(error_of(format('SELECT (%L::bytea::snapshot_state)::text', '\x01'::bytea || int8send(n) || '\x28b52ffd2000')), format('XX001 | zstd cannot use dictionary %s', n), 'what is no dictionary')
FROM uuid_hash_extended('37a430ec000000000000000000000000', 0) AS n;
\set others `psql -XqAtc "SELECT intact('order-missing'), intact('tx-')" 2>&1`
SELECT is(:'others'::text, 't|t', 'its own');
BEGIN;
ALTER TABLE snapshot_dictionary ADD more text;
SELECT is(error_of('SELECT snapshot_dictionary_train(''tx-'')'), '55000 | table "snapshot_dictionary" is not as the extension created it', 'one with another column is none');
SELECT snapshot_save('tx-12', 118, 1, sensor_state(118)) \g /dev/null
SELECT is(packed_by('tx-12'), '{NULL}', 'by which nothing is packed');
ROLLBACK;
BEGIN;
ALTER TABLE snapshot_dictionary RENAME TO elsewhere;
SELECT is(error_of('SELECT snapshot_dictionary_train(''tx-'')'), '55000 | table "snapshot_dictionary" is not as the extension created it', 'nor where there is none');
SELECT snapshot_save('plain-1', 1, 1, sensor_state(1)) \g /dev/null
SELECT is(ARRAY[(SELECT count(*) FROM snapshot_dictionaries()), (SELECT count(*) FROM snapshot_load('plain-1', '{1}'))], '{0,1}', 'is anything found, but what is plain');
ROLLBACK;

-- Damaged states: an error, never another state

SELECT state::bytea AS frame FROM snapshot_store WHERE stream_id = 'order-missing' \gset
CREATE FUNCTION read_damaged(frame bytea) RETURNS text LANGUAGE plpgsql
AS $$
BEGIN
	RETURN frame::snapshot_state::text;
EXCEPTION WHEN data_corrupted OR undefined_object THEN
	RETURN NULL;
END
$$;
SELECT is(read_damaged(:'frame'::bytea), order_state(2)::text, 'a state as it should be');
SELECT is(count(*), 0::bigint, 'with a bit turned, wherever it is') FROM generate_series(8, octet_length(:'frame'::bytea) * 8 - 1) AS bit, read_damaged(set_bit(:'frame'::bytea, bit, 1 - get_bit(:'frame'::bytea, bit))) AS state
WHERE state <> order_state(2)::text;
SELECT is(count(state), 0::bigint, 'cut off, wherever') FROM generate_series(10, octet_length(:'frame'::bytea) - 1) AS size, read_damaged(substr(:'frame'::bytea, 1, size)) AS state;
SELECT is(count(*), 0::bigint, 'with more at its end') FROM unnest(ARRAY['\x00', :'frame'::bytea, substr(:'frame'::bytea, 10), '\x502a4d1800000000']::bytea[]) AS more, read_damaged(:'frame'::bytea || more) AS state
WHERE state <> order_state(2)::text;
SELECT is(read_damaged('\x01'::bytea || substr(:'frame'::bytea, 2, 8) || frame), NULL, 'a frame that ' || description)
FROM (VALUES ('is none', '\x00'::bytea), ('tells no size', '\x28b52ffd0458010000780000'), ('tells 4 GB', '\x28b52ffda4ffffffff010000'),
			 ('is one to be skipped', '\x502a4d1800000000'), ('is legacy', '\x25b52ffd00000000')) AS v (description, frame);
UPDATE snapshot_store SET state = set_byte(state::bytea, 20, (get_byte(state::bytea, 20) + 1) % 256)::snapshot_state WHERE stream_id = 'order-missing';
SELECT matches(error_of($$SELECT FROM snapshot_load('order-missing', '{1}')$$), '^XX001 \| packed state is damaged \| .', 'a load is an error');
SELECT matches(error_of($$SELECT FROM snapshot_load_many('{order-missing}', '{1}')$$), '^XX001 \| packed state is damaged \| .', 'also one of several');
SELECT ok(snapshot_save('order-missing', 3, 1, order_state(3)), 'the next save mends it');
SELECT ok(intact('order-missing'), 'to the letter');

-- Triggers, policies, views, partitions, and states that are passed on

SELECT packed_by('order-missing') AS packed \gset
CREATE FUNCTION pass_on() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
	IF NEW.stream_id = 'order-trigger' THEN
		PERFORM snapshot_save('order-copy', NEW.sequence_number, 1, NEW.state);
		NEW.metadata := json_build_object('status', NEW.state ->> 'status');
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER pass_on BEFORE INSERT OR UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION pass_on();
SELECT ok(snapshot_save('order-trigger', 1, 1, order_state(1)) AND snapshot_save('order-trigger', 2, 1, order_state(2)), 'a trigger that reads the state');
SELECT is((SELECT metadata ->> 'status' FROM snapshot_load('order-trigger', '{1}')), order_state(2) ->> 'status', 'as JSON');
SELECT is((SELECT array_agg(packed_by(state)) FROM snapshot_store WHERE stream_id IN ('order-trigger', 'order-copy')), (:'packed'::bigint[] || :'packed'::bigint[]), 'packed, and packed where it is passed on to');
SELECT ok(intact('order-trigger') AND intact('order-copy'), 'to the letter');
CREATE OR REPLACE FUNCTION pass_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.state := '{"of": "the trigger"}'; RETURN NEW; END $$;
SELECT ok(snapshot_save('order-trigger', 3, 1, order_state(3)), 'one that writes the state');
SELECT is(state::text, '{"of": "the trigger"}', 'is obeyed') FROM snapshot_load('order-trigger', '{1}');
SELECT packed_by('order-3') AS before \gset
CREATE OR REPLACE FUNCTION pass_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
\set others `psql -XqAtc "CALL snapshot_repack('order-3')" 2>&1`
SELECT is(:'others'::text, E'NOTICE:  snapshot_repack() has repacked 0 snapshots\n0', 'one that refuses a repack');
SELECT is(packed_by('order-3'), :'before', 'is obeyed, too');
DROP TRIGGER pass_on ON snapshot_store;
\set others `psql -XqAtc "CALL snapshot_repack('order-3')" 2>/dev/null`
SELECT ok(:'others'::bigint > 0, 'and without it there is something to repack');
SELECT ok(intact('order-3'), 'and nothing is changed by that');
CREATE ROLE dictionary_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO dictionary_app;
CREATE POLICY by_state ON snapshot_store TO dictionary_app USING (state ->> 'customer_number' = '5' OR state_bytea IS NOT NULL);
ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY;
SET ROLE dictionary_app;
SELECT is(error_of(format('SELECT snapshot_save(''order-policy'', %s, 1, order_state(%1$s))', n)), error, 'a policy that looks into the state: customer ' || n)
FROM (VALUES (4, '42501 | new row violates row-level security policy for table "snapshot_store"'), (5, 'no error')) AS v (n, error);
SELECT is(state::text, order_state(5)::text, 'of what may be seen') FROM snapshot_load('order-policy', '{1}');
SELECT is((SELECT count(*) FROM snapshot_load('order-6', '{1}')), 0::bigint, 'of what may not');
RESET ROLE;
SELECT is(packed_by('order-policy'), :'packed', 'packed');
ALTER TABLE snapshot_store DISABLE ROW LEVEL SECURITY;
DROP POLICY by_state ON snapshot_store;
DROP OWNED BY dictionary_app;
DROP ROLE dictionary_app;
CREATE INDEX by_customer ON snapshot_store ((state ->> 'customer_number')) WHERE stream_id LIKE 'order-%';
SELECT ok(snapshot_save('order-index', 1742, 1, order_state(1742)), 'an index over what is in the states');
SET enable_seqscan = off;
SELECT is(array_agg(stream_id), '{order-index}', 'finds them, packed or not') FROM snapshot_store WHERE state ->> 'customer_number' = '1742' AND stream_id LIKE 'order-%';
SELECT is(count(*) > 300, true, 'all') FROM snapshot_store WHERE state ->> 'customer_number' > '' AND stream_id LIKE 'order-%';
RESET enable_seqscan;
DROP INDEX by_customer;
CREATE TABLE copy AS TABLE snapshot_store;
SELECT is((SELECT count(*) FROM copy JOIN snapshot_store AS s USING (stream_id, slot) WHERE copy.state::text = s.state::text), (SELECT count(*) FROM snapshot_store WHERE state IS NOT NULL), 'copies of packed states can be read');
BEGIN;
ALTER EXTENSION snapshot_store DROP TABLE snapshot_store;
ALTER TABLE snapshot_store RENAME TO kept_aside;
CREATE TABLE snapshot_store (LIKE kept_aside INCLUDING CONSTRAINTS, PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version)) PARTITION BY HASH (stream_id);
CREATE TABLE part_0 PARTITION OF snapshot_store FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_1 PARTITION OF snapshot_store FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT is(count(*) FILTER (WHERE snapshot_save('order-' || n, n, 1, order_state(n))), 20::bigint, 'a partitioned table') FROM generate_series(1, 20) AS n;
SELECT is((SELECT array_agg(DISTINCT packed_by(state)) FROM snapshot_store), :'packed', 'is packed');
SELECT ok(intact('order-'), 'and read');
DROP TABLE snapshot_store;
CREATE VIEW snapshot_store AS SELECT * FROM kept_aside;
SET LOCAL snapshot_store.durable = off;
SELECT ok(snapshot_save('order-view', 1, 1, order_state(1)), 'a view');
SELECT is(packed_by('order-view'), :'packed', 'is packed');
SELECT ok(intact('order-view'), 'and read');
CREATE SEQUENCE asked;
CREATE FUNCTION times() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT CASE nextval('asked') WHEN 1 THEN 1 ELSE 1000 END $$;
CREATE OR REPLACE VIEW snapshot_store AS SELECT k.* FROM kept_aside AS k, LATERAL (SELECT times() OFFSET 0) AS t (n), generate_series(1, n);
SELECT is(samples, 60, 'one that shows more samples than it had streams') FROM snapshot_dictionary_estimate('tx-');
CREATE OR REPLACE VIEW snapshot_store AS SELECT * FROM kept_aside;
DROP VIEW snapshot_store;
CREATE VIEW snapshot_store AS SELECT stream_id, slot, state_schema_version, sequence_number, created_at, state::json AS state, state_bytea, metadata FROM kept_aside;
SELECT is(state::text, order_state(1)::text, 'a view that shows it as json') FROM snapshot_load('order-view', '{1}');
ROLLBACK;

-- Wherever it is read

SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT count(*) AS states, sum(length(state::text)) AS lengths FROM snapshot_store \gset
CREATE TEMPORARY TABLE plan (line text);
DO $$
DECLARE
	line text;
BEGIN
	FOR line IN EXPLAIN SELECT sum(length(state::text)) FROM snapshot_store LOOP
		INSERT INTO plan VALUES (line);
	END LOOP;
END
$$;
SELECT ok(bool_or(line ~ 'Workers Planned'), 'workers read states, too') FROM plan;
SET parallel_leader_participation = off;
SELECT is(sum(length(state::text)), :lengths::bigint, 'as their leader does') FROM snapshot_store;
BEGIN;
SELECT number AS of_tx FROM snapshot_dictionary_train('tx-') \gset
SELECT count(snapshot_save('tx-' || n, n + 200, 1, sensor_state(n + 200))) FROM generate_series(1, 60) AS n \g /dev/null
SELECT is((SELECT sum(length(state::text)) FROM snapshot_store WHERE stream_id LIKE 'tx-%'), (SELECT sum(length(sensor_state(n + 200)::text)) FROM generate_series(1, 60) AS n), 'also by a dictionary that is not committed yet');
ROLLBACK;
RESET parallel_leader_participation;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
\set others `psql -XqAtc "SET search_path = ''" -c "SELECT md5(state::text) FROM public.snapshot_store WHERE stream_id = 'order-missing'" -c "SELECT public.snapshot_save('order-missing', 3, 1, state) FROM public.snapshot_load('order-missing', '{1}')" -c "CALL public.snapshot_repack('order-missing')" 2>&1`
SELECT is(:'others'::text, md5(order_state(3)::text) || E'\nt\nNOTICE:  snapshot_repack() has repacked 0 snapshots\n0', 'with an empty search_path');
SELECT is(packed_by('order-missing'), :'packed', 'which packs, too');

-- A schema of its own, that is renamed

DROP EXTENSION snapshot_store CASCADE;
CREATE SCHEMA "the store";
CREATE EXTENSION snapshot_store SCHEMA "the store";
ALTER TABLE "the store".snapshot_store ALTER state TYPE "the store".snapshot_state;
SELECT count("the store".snapshot_save('order-' || n, n, 1, order_state(n))) FROM generate_series(1, 100) AS n \g /dev/null
SELECT is((SELECT number IS NOT NULL FROM "the store".snapshot_dictionary_train('')), true, 'another schema');
ALTER SCHEMA "the store" RENAME TO renamed;
SELECT ok(renamed.snapshot_save('order-' || n, n, 1, order_state(n)), 'that is renamed') FROM generate_series(1, 1) AS n;
CALL renamed.snapshot_repack('order-');
SELECT ok(bool_and(state_size < 200), 'all is packed') FROM generate_series(1, 100) AS n, renamed.snapshot_info('order-' || n);
SELECT ok(bool_and(l.state::text = s.state::text AND s.state::text = order_state(s.sequence_number::integer)::text), 'and read') FROM renamed.snapshot_store AS s, renamed.snapshot_load(s.stream_id, '{1}') AS l;

-- What others put in the place of the type and the tables, where the extension does not have these yet

DROP EXTENSION snapshot_store CASCADE;
CREATE EXTENSION snapshot_store VERSION '1.0';
ALTER TABLE put_aside RENAME TO snapshot_dictionary;
ALTER TABLE parts_aside RENAME TO snapshot_dictionary_part;
CREATE DOMAIN snapshot_state AS json;
ALTER TABLE snapshot_store ALTER state TYPE snapshot_state;
SELECT snapshot_save('order-1', 1, 1, order_state(1)) \g /dev/null
SELECT is(state::text, order_state(1)::text, 'packs nothing') FROM snapshot_store;

SELECT * FROM finish();
