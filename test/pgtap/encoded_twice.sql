-- A state that a driver has encoded once more, so that it is a JSON string that holds JSON: stored, with a warning.
-- (A warning is on the connection's other channel: psql shows it.)
\setenv PGDATABASE :DBNAME
SELECT plan(9);

\set warned `psql -XqAt 2>&1 -c "SELECT snapshot_save('encoded twice', 1, 1, to_json('{\"status\": \"paid\"}'::text))"`
SELECT is(:'warned'::text, concat_ws(E'\n', 'WARNING:  state of stream "encoded twice" is a JSON string that looks like JSON encoded twice',
		  'HINT:  Give a driver that encodes by itself the value, not its JSON text. state #>> ''{}'' is the text inside of the string.',
		  't'), 'an object in a string: a warning');
SELECT is(state::text, '"{\"status\": \"paid\"}"', 'and saved to the letter')
FROM snapshot_load('encoded twice', '{1}');
SELECT is(state #>> '{}', '{"status": "paid"}', 'the text inside, as the hint has it')
FROM snapshot_load('encoded twice', '{1}');

\set warned `psql -XqAt 2>&1 -c "SELECT snapshot_save('an array', 1, 1, '\"[1,2]\"')" | head -n 1`
SELECT is(:'warned'::text, 'WARNING:  state of stream "an array" is a JSON string that looks like JSON encoded twice',
		  'an array in a string');
\set warned `psql -XqAt 2>&1 -c "SET snapshot_store.enabled = off" -c "SELECT snapshot_save('off', 1, 1, '\"{}\"')" | grep -c WARNING`
SELECT is(:'warned'::text, '1', 'arguments are looked at while the store is off, too');

-- Once in a session, for the first of them.
\set warned `psql -XqAt 2>&1 -c "SELECT * FROM snapshot_save_many('{b-1,b-2,b-3}', '{1,1,1}', '{1,1,1}', ARRAY['{}', '\"{}\"', '\"[]\"']::json[])" -c "SELECT snapshot_save('b-4', 1, 1, '\"{}\"')" | grep -v HINT`
SELECT is(:'warned'::text, concat_ws(E'\n', 'WARNING:  state of stream "b-2" is a JSON string that looks like JSON encoded twice',
		  'b-1|t', 'b-2|t', 'b-3|t', 't'), 'a session warns once');

-- Nothing is said of other strings, of bytes, and of what comes out of a table.
\set warned `psql -XqAt 2>&1 -c "SELECT snapshot_save('others', 1, 1, s::json) FROM unnest(ARRAY['\"\"', '\"{\"', '\"[\"', '\"text\"', '\"{]\"', '\"[}\"', '\"{} \"', '\"a{}\"', '[\"{}\"]', '{}', '[]', '1', 'null']) AS s" | sort -u`
SELECT is(:'warned'::text, 't', 'other states are saved without a word');
\set warned `psql -XqAt 2>&1 -c "SELECT snapshot_save_bytea('bytes', 1, 1, '\"{}\"')"`
SELECT is(:'warned'::text, 't', 'bytes that look the same, too');
\set warned `psql -XqAt 2>&1 -c "CREATE TEMPORARY TABLE t AS SELECT to_json('{' || repeat('compressible ', 1000) || '}') AS state" -c "SELECT snapshot_save('from a table', 1, 1, state) FROM t"`
SELECT is(:'warned'::text, 't', 'so is what a table keeps compressed');

SELECT * FROM finish();
