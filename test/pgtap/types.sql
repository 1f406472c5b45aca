-- Types and extremes: whatever the columns can hold comes back to the letter, wherever it was saved from.
-- (What is not ASCII is written in escapes, so that no client encoding has a say; the database's is UTF8.)
BEGIN;
SELECT plan(205);
SELECT current_setting('snapshot_store.access_path') = 'managed' AS managed,
	current_setting('test.packed', true) IS NOT NULL AS packed \gset

-- Saves a state and returns what is loaded then.
CREATE FUNCTION pg_temp.round_trip(state json) RETURNS json LANGUAGE plpgsql
AS $$
BEGIN
	ASSERT snapshot_save('round trip', 1, 1, round_trip.state);
	RETURN (SELECT l.state FROM snapshot_load('round trip', '{1}') AS l);
END
$$;

CREATE FUNCTION pg_temp.round_trip_bytea(state bytea) RETURNS bytea LANGUAGE plpgsql
AS $$
BEGIN
	ASSERT snapshot_save_bytea('round trip', 1, 1, round_trip_bytea.state);
	RETURN (SELECT l.state FROM snapshot_load_bytea('round trip', '{1}') AS l);
END
$$;

-- Bytes that do not compress, others for each seed.
CREATE FUNCTION pg_temp.noise(size integer, seed integer DEFAULT 0) RETURNS bytea LANGUAGE sql
AS $$
	SELECT substr(string_agg(sha512((seed || '.' || i)::bytea), '' ORDER BY i), 1, size)
	FROM generate_series(0, size / 64) AS i
$$;

-- JSON that does not compress well.
CREATE FUNCTION pg_temp.noise_json(size integer, seed integer DEFAULT 0) RETURNS json LANGUAGE sql
AS $$
	SELECT to_json(substr(encode(pg_temp.noise(size, seed), 'base64'), 1, size))
$$;

-- Numbers: from the lowest to the highest

SELECT is(snapshot_save('number', v.sequence_number, v.state_schema_version, '{}'), true,
		  format('sequence number %s of schema version %s is saved', v.sequence_number, v.state_schema_version))
FROM (VALUES (0, 0), (0, 4294967295), (2147483648, 2147483648), (9223372036854775807, 4294967295))
	AS v (sequence_number, state_schema_version);
SELECT is(ARRAY[l.sequence_number, l.state_schema_version], ARRAY[9223372036854775807, 4294967295],
		  'the highest numbers are loaded')
FROM snapshot_load('number', '{4294967295}', 9223372036854775807) AS l;
SELECT is_empty('SELECT * FROM snapshot_load(''number'', ''{4294967295}'', 9223372036854775806)',
				'a bound just below the highest sequence number holds');
SELECT is_empty('SELECT * FROM snapshot_load(''number'', ''{0,4294967294}'')',
				'a version is not taken for its neighbour');
SELECT is(snapshot_save('number', 9223372036854775806, 4294967295, '{}'), false, 'one event less is older');
SELECT is(snapshot_due('number', '{4294967295}', 9223372036854775807, 1), false,
		  'nothing is due after the last event');
SELECT is(snapshot_due('number', '{0}', 9223372036854775807, 9223372036854775807), true,
		  'with the longest interval a snapshot is due at the last event');
SELECT is(i.sequence_number, 9223372036854775807, 'snapshot_info shows the highest sequence number')
FROM snapshot_info('number') AS i;
SELECT is(snapshot_delete('number', min_sequence_number => 9223372036854775807), 1::bigint,
		  'and it can be deleted by it');

SELECT ok(snapshot_save('zero', 0, 0, '{"at": 0}'), 'a snapshot at event 0 of version 0');
SELECT is(l.state::text, '{"at": 0}', 'is loaded within a bound of 0') FROM snapshot_load('zero', '{0}', 0) AS l;
SELECT is(snapshot_delete('zero', 0, NULL, 0), 1::bigint, 'and deleted within bounds of 0');

-- Times: the first that there is, and those that only a row written by hand can have

SELECT is(snapshot_save('time', i, 1, '{}', created_at => v.created_at::timestamptz), true,
		  format('created_at %s is saved', v.created_at))
FROM (VALUES (2, '4714-11-24 00:00:00+00 BC'), (3, '1999-12-31 23:59:59.999999+00')) AS v (i, created_at);
\if :managed
	SELECT skip('one snapshot of a stream', 4);
\else
INSERT INTO snapshot_store
VALUES ('time', 4, 1, 4, '294276-12-31 23:59:59.999999+00', '{}'), ('time', 5, 1, 5, 'infinity', '{}');
SELECT is(l.created_at, 'infinity', 'an infinite time comes back')
FROM snapshot_load('time', '{1}', max_created_at => 'infinity') AS l;
SELECT is(l.sequence_number, 4::bigint, 'and is later than any other')
FROM snapshot_load('time', '{1}', max_created_at => '294276-12-31 23:59:59.999999+00') AS l;
SELECT is(snapshot_delete('time', min_created_at => 'infinity', max_created_at => 'infinity'), 1::bigint,
		  'a bound may be infinite');

INSERT INTO snapshot_store VALUES ('time', 6, 1, 1, '-infinity', '{}');
SELECT is(l.created_at, '-infinity', 'which is within any bound')
FROM snapshot_load('time', '{1}', max_created_at => '-infinity') AS l;
\endif

-- stream_id: up to 2,000 bytes, and nothing but equal bytes is equal

CREATE TEMPORARY TABLE stream_name (kind, stream_id) AS
SELECT * FROM (VALUES
	('one byte', 'x'),
	('2,000 equal bytes', repeat('x', 2000)),
	('2,000 equal bytes but the last', repeat('x', 1999) || 'y'),
	('1,999 equal bytes', repeat('x', 1999)),
	('2,000 random bytes', substr(encode(pg_temp.noise(1000), 'hex'), 1, 2000)),
	('2,000 random bytes but the last', substr(encode(pg_temp.noise(1000), 'hex'), 1, 1999) || '-'),
	('1,000 characters of two bytes', repeat(U&'\00E9', 1000)),
	('666 characters of three bytes, and two more', repeat(U&'\20AC', 666) || 'ab'),
	('500 characters of four bytes', repeat(U&'\+01F600', 500)),
	('126 bytes, the longest with a short header', repeat('s', 126)),
	('127 bytes, the shortest without', repeat('s', 127)),
	('a lower-case letter', 'order-a'), ('an upper-case letter', 'order-A'),
	('a blank before', ' order-a'), ('a blank after', 'order-a '), ('a tab after', E'order-a\t'),
	('a newline after', E'order-a\n'), ('a blank', ' '), ('two blanks', '  '),
	('a composed letter', U&'caf\00E9'), ('a decomposed letter', U&'cafe\0301'), ('no accent', 'cafe'),
	('a zero-width space', U&'cafe\200B'), ('a control character', E'order\x01'),
	('a quote', 'o''rder'), ('a double quote', 'o"rder'), ('a backslash', E'o\\rder'), ('wildcards', 'order-%_*'),
	('an array', '{order-a}'), ('the word NULL', 'NULL'), ('SQL', '''); DROP TABLE snapshot_store; --')
) AS v (kind, stream_id);

SELECT ok(snapshot_save(stream_id, row_number() OVER (), 1, to_json(kind)), 'a name is taken: ' || kind)
FROM stream_name;
SELECT is((SELECT l.state #>> '{}' FROM snapshot_load(n.stream_id, '{1}') AS l), n.kind,
		  'and is a stream of its own: ' || n.kind)
FROM stream_name AS n;
SELECT is((SELECT array_agg(s.stream_id ORDER BY s.stream_id)
		   FROM snapshot_store AS s, stream_name AS n WHERE s.stream_id = n.stream_id),
		  (SELECT array_agg(n.stream_id ORDER BY n.stream_id COLLATE "C") FROM stream_name AS n),
		  'names are stored as they are');
SELECT is(sum(snapshot_delete(stream_id)), count(*)::numeric, 'each can be deleted') FROM stream_name;

-- state: JSON, to the letter

SELECT is(pg_temp.round_trip(v.state::json)::text, v.state, 'JSON comes back to the letter: ' || v.description)
FROM (VALUES
	('{}', 'an empty object'), ('[]', 'an empty array'), ('""', 'an empty string'), ('0', 'a digit'),
	('null', 'null, which is a state'), ('true', 'a boolean'), ('"text"', 'a string'),
	('{"a": 1, "a": 2, "a": {"a": 3, "a": 3}}', 'duplicate keys'),
	('{"b": 1, "a": 2, "": 3}', 'keys in their order, also an empty one'),
	(E'  {\t"a" :\n\n[ 1 ,2,   3\t]\r\n}\n ', 'odd spacing'),
	('[123456789012345678901234567890, 9223372036854775808, 1e400000, -0, 1.0, 1.00, 1E+2, 3.141592653589793238462643]',
	 'numbers that no type holds'),
	('"\u0000"', 'an escaped NUL'), ('{"\u0000key": "a\u0000b"}', 'in a key as well'),
	('"\u00e9 \u00E9 \ud83d\ude00 \/ \b\f\n\r\t \" \\"', 'escapes as they were written'),
	('"\ud83d"', 'half a surrogate pair'),
	(U&'{"\00E9": "\4F60\597D \+01F600 \0928\092E\0938\094D\0924\0947 \FEFF\200F\2028"}', 'Unicode'),
	(repeat('[', 1000) || repeat(']', 1000), '1,000 levels deep')
) AS v (state, description);

-- state: bytes

SELECT is(pg_temp.round_trip_bytea(v.state), v.state, 'bytes come back: ' || v.description)
FROM (VALUES
	((SELECT decode(string_agg(lpad(to_hex(i), 2, '0'), '' ORDER BY i), 'hex') FROM generate_series(0, 255) AS i),
	 'each of the 256'),
	('\x', 'none at all'), ('\x00', 'a zero'), ('\x0000000000000000', 'zeros'), ('\xff', 'no valid UTF-8'),
	('\x5c783030', 'what looks like an escape'), ('\x7b7d', 'what looks like JSON')
) AS v (state, description);
SELECT is(l.state IS NULL, false, 'no bytes at all are a state')
FROM (SELECT pg_temp.round_trip_bytea('') AS state) AS l;

-- state: sizes, from what fits in the row to what is kept out of line, compressible or not

SELECT ok(pg_temp.round_trip(v.state)::text = v.state::text AND octet_length(v.state::text) = v.size,
		  format('JSON of %s bytes comes back, %s', v.size, v.description))
FROM (SELECT n AS size, 'compressible' AS description, to_json(repeat('x', n - 2)) AS state
	  FROM unnest(ARRAY[8192, 65536, 5242880]) AS n
	  UNION ALL
	  SELECT n, 'and hardly compressible',
			 to_json(substr(replace(encode(pg_temp.noise(n), 'base64'), E'\n', ''), 1, n - 2))
	  FROM unnest(ARRAY[8192, 65536, 5242880]) AS n) AS v;
SELECT ok(pg_temp.round_trip_bytea(v.state) = v.state AND length(v.state) = v.size,
		  format('%s bytes come back, %s', v.size, v.description))
FROM (SELECT n AS size, 'compressible' AS description, repeat('x', n)::bytea AS state
	  FROM unnest(ARRAY[126, 127, 1999, 2000, 2048, 8192, 65536, 5242880]) AS n
	  UNION ALL
	  SELECT n, 'incompressible', pg_temp.noise(n)
	  FROM unnest(ARRAY[126, 127, 1999, 2000, 2048, 8192, 65536, 5242880]) AS n) AS v;

SELECT ok(pg_temp.round_trip(v.state)::text = v.state::text,
		  format('JSON of %s bytes comes back', octet_length(v.state::text)))
FROM (SELECT to_json(repeat('0123456789', 10 * 1024 * 1024)) AS state) AS v;

-- state: small over large and large over small

SELECT ok(bool_and(octet_length(pg_temp.round_trip_bytea(pg_temp.noise(n, i::integer))) = n),
		  'small states overwrite large ones, and large ones small ones')
FROM unnest(ARRAY[10, 100000, 0, 100000, 5000, 1, 100000, 2000]) WITH ORDINALITY AS u (n, i);
SELECT is(pg_temp.round_trip('{"now": "JSON"}')::text, '{"now": "JSON"}', 'JSON overwrites bytes');
SELECT is(pg_temp.round_trip_bytea(pg_temp.noise(100000)), pg_temp.noise(100000), 'and large bytes overwrite JSON');
SELECT is(count(*), 1::bigint, 'all in one row') FROM snapshot_store WHERE stream_id = 'round trip';

-- metadata: any JSON that jsonb can hold, small or large

SELECT ok(snapshot_save('metadata', i, 1, '{}', v.metadata), 'metadata is saved: ' || v.description)
FROM (VALUES (1, 'null'::json, 'a JSON null'), (2, '"text"', 'a string'), (3, '[]', 'an array'),
			 (4, '{}', 'an empty object'),
			 (5, json_build_object('large', repeat('0123456789', 10000)), '100,000 bytes'),
			 (6, json_build_object('noise', encode(pg_temp.noise(50000), 'hex')),
			  '100,000 bytes that hardly compress')
) AS v (i, metadata, description);
SELECT ok(l.metadata = jsonb_build_object('noise', encode(pg_temp.noise(50000), 'hex')), 'and comes back')
FROM snapshot_load('metadata', '{1}') AS l;
SELECT ok(snapshot_save('metadata', 7, 1, '{}', v.metadata), 'metadata is saved: ' || v.description)
FROM (VALUES (' {"b": 1.50,  "a": 1e3, "b": [ ] }'::json, 'spaces, keys in no order, one of them twice')) AS v (metadata, description);
SELECT is(l.metadata::text, '{"a": 1000, "b": []}', 'and is kept as jsonb has it') FROM snapshot_load('metadata', '{1}') AS l;

-- Arguments from other tables' columns, in whatever form those store them

CREATE TEMPORARY TABLE source (
	kind text, stream_id text, recognized bigint[], state json, state_bytea bytea, metadata json);
CREATE TEMPORARY TABLE external_source (LIKE source);
ALTER TABLE external_source ALTER stream_id SET STORAGE EXTERNAL, ALTER recognized SET STORAGE EXTERNAL,
	ALTER state SET STORAGE EXTERNAL, ALTER state_bytea SET STORAGE EXTERNAL, ALTER metadata SET STORAGE EXTERNAL;
CREATE TEMPORARY TABLE inline_source (LIKE source) WITH (toast_tuple_target = 128);
ALTER TABLE inline_source ALTER stream_id SET STORAGE MAIN, ALTER recognized SET STORAGE MAIN,
	ALTER state SET STORAGE MAIN, ALTER state_bytea SET STORAGE MAIN, ALTER metadata SET STORAGE MAIN;

INSERT INTO source VALUES
	('short', 'from a short one', '{1}', '{"short": true}', 'short', '{"short": true}'),
	('long', repeat('long ', 400), ARRAY(SELECT generate_series(0, 9999)), pg_temp.noise_json(100000),
	 pg_temp.noise(100000),
	 json_build_object('noise', pg_temp.noise_json(10000))),
	('compressible', repeat('compressible', 166), ARRAY(SELECT 1 FROM generate_series(0, 9999)),
	 to_json(repeat('x', 100000)),
	 repeat('x', 100000)::bytea, json_build_object('x', repeat('x', 10000)));
INSERT INTO external_source SELECT 'external ' || kind, left('external ' || stream_id, 2000), recognized,
	state, state_bytea, metadata
FROM source;
INSERT INTO inline_source SELECT 'inline ' || kind, left('inline ' || stream_id, 2000), recognized,
	to_json(repeat('x', 3000)),
	repeat('x', 3000)::bytea, json_build_object('x', repeat('x', 3000))
FROM source;
CREATE TEMPORARY VIEW every_source AS
SELECT * FROM source UNION ALL SELECT * FROM external_source UNION ALL SELECT * FROM inline_source;

SELECT ok(snapshot_save(stream_id, 1, 1, state, metadata), 'arguments from columns are saved: ' || kind)
FROM every_source;
SELECT ok(snapshot_save_bytea(stream_id || '/', 1, 1, state_bytea, metadata),
		  'bytes from columns are saved: ' || kind)
FROM (SELECT kind, left(stream_id, 1999) AS stream_id, state_bytea, metadata FROM every_source) AS s;
CREATE TEMPORARY TABLE expected AS
SELECT kind, stream_id, md5(state::text) AS state, md5(state_bytea) AS state_bytea, metadata::jsonb FROM every_source;
SELECT ok(md5(l.state::text) = e.state AND l.metadata = e.metadata, 'and loaded: ' || e.kind)
FROM expected AS e JOIN every_source AS s USING (kind), snapshot_load(s.stream_id, s.recognized) AS l;
DROP VIEW every_source;
DROP TABLE source, external_source, inline_source;
SELECT ok(md5(l.state::text) = e.state AND md5(b.state) = e.state_bytea AND l.metadata = e.metadata
		  AND b.metadata = e.metadata,
		  'and they outlive the table that they came from: ' || e.kind)
FROM expected AS e, snapshot_load(e.stream_id, '{1}') AS l,
	 snapshot_load_bytea(left(e.stream_id, 1999) || '/', '{1}') AS b;

-- The store's own rows as arguments

SELECT ok(bool_and(snapshot_save(s.stream_id, 2, 1, s.state, s.metadata::json)),
		  'a kept state is saved again, as of a later event')
FROM snapshot_store AS s, expected AS e WHERE s.stream_id = e.stream_id;
SELECT ok(bool_and(snapshot_save('copy of ' || e.kind, 3, 1, s.state, s.metadata::json)), 'and for another stream')
FROM snapshot_store AS s, expected AS e WHERE s.stream_id = e.stream_id;
SELECT ok(bool_and(md5(l.state::text) = e.state AND l.metadata = e.metadata), 'it is still there')
FROM expected AS e, snapshot_load(e.stream_id, '{1}') AS l;
SELECT is(sum(snapshot_delete(stream_id)), 9::numeric, 'when it is deleted') FROM expected;
SELECT ok(bool_and(md5(l.state::text) = e.state AND l.metadata = e.metadata), 'the copy is not')
FROM expected AS e, snapshot_load('copy of ' || e.kind, '{1}') AS l;
SELECT ok(snapshot_save('copy of short', 4, 1, l.state, l.metadata::json), 'what was loaded can be saved')
FROM snapshot_load('copy of long', '{1}') AS l;
SELECT is(md5(l.state::text), e.state, 'as it was')
FROM expected AS e, snapshot_load('copy of short', '{1}') AS l WHERE e.kind = 'long';

-- Domains, other types, and variables

CREATE DOMAIN pg_temp.stream AS text CHECK (value <> '');
CREATE DOMAIN pg_temp.version AS bigint CHECK (value > 0);
CREATE DOMAIN pg_temp.versions AS bigint[];
CREATE DOMAIN pg_temp.document AS json;
CREATE DOMAIN pg_temp.message AS bytea;
CREATE DOMAIN pg_temp.moment AS timestamptz;
SELECT ok(snapshot_save('domain'::pg_temp.stream, 1::pg_temp.version, 1::pg_temp.version,
						'{"a": 1}'::pg_temp.document,
						created_at => '2024-01-01 00:00:00+00'::pg_temp.moment), 'values of domains are saved');
SELECT is(l.state::text, '{"a": 1}', 'and loaded by such')
FROM snapshot_load('domain'::pg_temp.stream, '{1}'::pg_temp.versions, 1::pg_temp.version,
				   'infinity'::pg_temp.moment) AS l;
SELECT ok(snapshot_save_bytea('domain'::pg_temp.stream, 2, 1, '\x00'::pg_temp.message), 'so are bytes of a domain');
SELECT is(l.state::pg_temp.message, '\x00', 'and loaded')
FROM snapshot_load_bytea('domain'::pg_temp.stream, ARRAY[1::pg_temp.version]::bigint[]) AS l;

SELECT ok(snapshot_save('small'::name, 1::smallint, 1::integer, '{}', created_at => '2024-01-01'::date),
		  'smaller numbers, a name and a date will do');
SELECT is(l.created_at, '2024-01-01'::timestamptz, 'and mean the same')
FROM snapshot_load('small'::varchar, ARRAY[1::smallint, 2], 1::smallint) AS l;
SELECT ok(snapshot_save('padded'::character(10), 1, 1, '{}'),
		  'a padded character string loses its padding, as ever');
SELECT isnt_empty('SELECT * FROM snapshot_load(''padded'', ''{1}'')', 'and is the stream of that name');

CREATE FUNCTION pg_temp.load_by_variables() RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
	versions bigint[];
	name text := '';
	found record;
BEGIN
	FOR i IN 1..100 LOOP
		versions := versions || i::bigint;
		name := name || 'v';
	END LOOP;
	versions[50] := 0;
	PERFORM snapshot_save(name, 1, 100, to_json(versions));
	SELECT * INTO found FROM snapshot_load(name, versions);
	RETURN (found.state::text = to_json(versions)::text) || ' '
		|| EXISTS (SELECT FROM snapshot_load(name, versions[1:99]));
END
$$;
SELECT is(pg_temp.load_by_variables(), 'true false', 'variables that a function builds up are read as they are');

\if :managed
	SELECT skip('one snapshot of a stream');
\else
SET snapshot_store.keep = 20;
SELECT snapshot_save_bytea('large rows', n, 1, pg_temp.noise(3000, n)) FROM generate_series(1, 20) AS n;
SELECT is((SELECT count(*) FROM generate_series(1, 20) AS n, snapshot_load_bytea('large rows', '{1}', n) AS l
		   WHERE l.sequence_number = n AND l.state = pg_temp.noise(3000, n)),
		  20::bigint, 'each of several large states in line, by a bound');
RESET snapshot_store.keep;
\endif

-- Compression: toast_tuple_target would leave states of 2 to 4 KB as they are; the direct way compresses them.

SELECT ok(snapshot_save('compressed', 1, 1, to_json(repeat('compressible ', 230)))
		  AND snapshot_save_bytea('compressed bytes', 1, 1, convert_to(repeat('compressible ', 230), 'UTF8'))
		  AND snapshot_save('noise', 1, 1, pg_temp.noise_json(3000))
		  AND snapshot_save('small', 1, 1, to_json(repeat('compressible ', 100))),
		  'states around 3 KB and below');
SELECT is(array_agg(s.stream_id ORDER BY s.stream_id) FILTER (WHERE pg_column_compression(s.state) IS NOT NULL
															OR pg_column_compression(s.state_bytea) IS NOT NULL),
		  CASE WHEN current_setting('snapshot_store.access_path') <> 'auto' THEN NULL
			   WHEN :'packed' THEN '{compressed bytes}' ELSE '{compressed,compressed bytes}'::text[] END,
		  'what is larger and can be compressed is compressed, unless it is packed')
FROM snapshot_store AS s WHERE s.stream_id IN ('compressed', 'compressed bytes', 'noise', 'small');
SELECT is((SELECT l.state::text FROM snapshot_load('compressed', '{1}') AS l), to_json(repeat('compressible ', 230))::text,
		  'and loaded to the letter');
SELECT is((SELECT l.state::text FROM snapshot_load('noise', '{1}') AS l), pg_temp.noise_json(3000)::text,
		  'like what cannot');
ALTER TABLE snapshot_store ALTER state SET STORAGE EXTERNAL;
SELECT ok(snapshot_save('compressed', 2, 1, to_json(repeat('compressible ', 230))), 'an owner who wants no compression');
SELECT is(pg_column_compression(s.state), NULL, 'gets none')
FROM snapshot_store AS s WHERE s.stream_id = 'compressed';

SELECT * FROM finish();
ROLLBACK;
