-- The version: what the server says is what META.json says.
BEGIN;
SELECT plan(2);

\set meta `cat META.json`

-- Changes in the last number leave the SQL definition as it is.
SELECT is(default_version, regexp_replace(:'meta'::json ->> 'version', '\.\d+$', ''),
		  'the extension''s version is the release without its last number')
FROM pg_available_extensions WHERE name = 'snapshot_store';

SELECT current_setting('server_version_num')::integer >= 180000 AS library_tells \gset
\if :library_tells
	SELECT snapshot_should_take(0, 0, 0);
	SELECT is(version, :'meta'::json ->> 'version', 'the library tells the release')
	FROM pg_get_loaded_modules() WHERE module_name = 'snapshot_store';
\else
	SELECT skip('before 18, a library tells no version', 1);
\endif

SELECT * FROM finish();
ROLLBACK;
