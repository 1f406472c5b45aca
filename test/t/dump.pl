# pg_dump and pg_restore: every row and every grant comes back, in each format and in parts, also
# for a database owner who is no superuser, and states that are packed there come back plain; and what a dump does not carry is what the table in
# doc/operations.md says.  (The recipe there, which brings that back, is run by test/docs.pl.)
use strict;
use warnings;

use PackedStates;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'runs once: each session here sets its own access path'
  if ($ENV{PGOPTIONS} // '') =~ /access_path=sql/;
delete $ENV{PGOPTIONS};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\njit = off\nwal_level = logical");
$node->start;
$node->safe_psql('postgres', "CREATE ROLE $_ LOGIN") foreach qw(app reader batch owner other);

my $dumps = $node->basedir;
my $schema = 'public';
my $databases = 0;

# ---- what there is ----------------------------------------------------------------------

# Each row as text, in a form that no setting of a database has a say in.
sub rows
{
	my ($database) = @_;

	return $node->safe_psql($database, qq{
		SET timezone = 'UTC';
		SET datestyle = 'ISO';
		SET bytea_output = 'hex';
		SELECT md5(s::text), stream_id, slot FROM "$schema".snapshot_store AS s ORDER BY stream_id, slot});
}

# Each grant on the table, its columns, the functions and the schema.
sub grants
{
	my ($database) = @_;

	return $node->safe_psql($database, q{
		WITH privileges (object, acl) AS (
			SELECT oid::regclass::text, coalesce(relacl, acldefault('r', relowner)) FROM pg_class WHERE relname = 'snapshot_store'
			UNION ALL
			SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute
			WHERE attrelid = (SELECT oid FROM pg_class WHERE relname = 'snapshot_store')
			UNION ALL
			SELECT oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc WHERE proname LIKE 'snapshot\_%'
			UNION ALL
			SELECT nspname, nspacl FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%'
		)
		SELECT object, CASE grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(grantee) END, privilege_type, is_grantable
		FROM privileges, aclexplode(acl) ORDER BY object, grantee, privilege_type});
}

# What the functions return for every stream, on one access path.
sub loads
{
	my ($database, $access) = @_;

	return $node->safe_psql($database, qq{
		SET timezone = 'UTC';
		SET datestyle = 'ISO';
		SET bytea_output = 'hex';
		SET search_path = "$schema";
		SET snapshot_store.access_path = $access;
		SELECT md5(l::text), stream_id
		FROM (SELECT DISTINCT stream_id FROM snapshot_store WHERE state IS NOT NULL) AS s,
			snapshot_load(stream_id, '{0,1,2,4294967295}') AS l ORDER BY stream_id;
		SELECT md5(l::text), stream_id
		FROM (SELECT DISTINCT stream_id FROM snapshot_store WHERE state_bytea IS NOT NULL) AS s,
			snapshot_load_bytea(stream_id, '{0,1,2,4294967295}') AS l ORDER BY stream_id});
}

sub database
{
	my (@options) = @_;
	my $name = 'restored' . ++$databases;

	$node->safe_psql('postgres', "CREATE DATABASE $name @options");
	return $name;
}

# Runs a program on a database, and what it cannot do is an error.
sub runs
{
	my ($database, @command) = @_;
	my ($program) = @command;

	splice @command, 1, 0,
	  $program eq 'psql' ? qw(-Xq -v ON_ERROR_STOP=1) : $program eq 'pg_restore' ? '--exit-on-error' : ();
	my ($stdout, $stderr) = ('', '');
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	IPC::Run::run([ @command, '-d', $database ], '>', \$stdout, '2>', \$stderr)
	  or die "@command: $stderr\n";
	return $stderr;
}

my ($all_rows, $all_grants, %all_loads);

sub all_is_there
{
	my ($database, $name) = @_;

	is(rows($database), $all_rows, "$name: every row");
	is(grants($database), $all_grants, "$name: every grant");
	is(loads($database, $_), $all_loads{$_}, "$name: loads, $_") foreach 'auto', 'sql';
	$node->psql($database, qq{SET client_min_messages = debug1; SELECT "$schema".snapshot_due('any', '{1}', 1, 1)}, stderr => \my $stderr);
	like($stderr, qr/can take the direct way/, "$name: the direct way is open");
	return;
}

# The same rows, with packed states among them.
sub pack_source
{
	my ($database) = @_;

	$node->safe_psql($database, "$order_state $take_packed; $train; CALL snapshot_repack('')");
	cmp_ok($node->safe_psql($database, $packed), '>=', 200, "$database: there are packed states");
	$all_rows = rows($database);
	$all_loads{$_} = loads($database, $_) foreach 'auto', 'sql';
	return;
}

sub make_source
{
	my ($database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{
		CREATE SCHEMA IF NOT EXISTS "$schema";
		CREATE EXTENSION snapshot_store SCHEMA "$schema";
		SET search_path = "$schema", public;
		ALTER DATABASE $database SET datestyle = 'SQL, DMY';
		ALTER DATABASE $database SET timezone = 'Asia/Kathmandu';
		ALTER DATABASE $database SET bytea_output = 'escape';

		-- names, with all that has a meaning in SQL, in COPY, in a shell or in psql
		SELECT snapshot_save(id, n, 1, '1') FROM unnest(ARRAY[' ', '  both  ', 'it''s', '"quoted"', 'back\\slash', '\\.', '\\N', 'NULL',
			E'tab\\there', E'line\\nfeed', E'return\\r\\n', E'\\\\.\\n', E'\\x01\\x1f\\x7f', E'\\u00fc\\u0301', E'\\U0001F600', E'\\u202e', '%s\$1:''x''', '-- no comment', '/* */', ';',
			'COPY', '\$\$', '{}', '\\copy', repeat('x', 2000), repeat(E'\\U0001F600', 500)]) WITH ORDINALITY AS t(id, n);
		-- extremes
		SELECT snapshot_save('first', 0, 0, 'null'), snapshot_save('last', 9223372036854775807, 4294967295, '""');
		SELECT snapshot_save('time ' || n, n, 1, '{}', NULL, t) FROM unnest(ARRAY[timestamptz '4714-11-24 00:00:00+00 BC',
			'0044-03-15 12:00+00 BC', '1999-12-31 23:59:59.999999+00', '2026-03-29 02:30:00.000001+01']) WITH ORDINALITY AS x(t, n);
		INSERT INTO snapshot_store SELECT 'time by hand', n, 1, n, t, '{}'
		FROM unnest(ARRAY[timestamptz '294276-12-31 23:59:59.999999+00', '-infinity', 'infinity']) WITH ORDINALITY AS x(t, n);
		-- states, to the letter
		SELECT snapshot_save('json ' || n, n, 1, s::json, m::json) FROM (VALUES
			(1, E' {"b" : 1,\\n\\t"a": [ ] , "b":2 }\\r\\n', NULL), (2, '1e999', 'null'), (3, '12345678901234567890.10', '{"a": [1, null, "\\\\u00fc"]}'),
			(4, '"\\u0000"', '"\\\\\\""'), (5, E'"\\U0001F600\\\\\\\\N"', '{}'), (6, 'true', '[]'), (7, '-0.0', '1.10')) AS t(n, s, m);
		SELECT snapshot_save('long', 1, 1, to_json(repeat('abc', 500000)), to_json(repeat('abc', 100000)));
		SELECT snapshot_save('toasted', 1, 1, to_json(string_agg(md5(n::text), ''))) FROM generate_series(1, 10000) AS n;
		SELECT snapshot_save_bytea('no bytes', 1, 1, ''), snapshot_save_bytea('text', 1, 1, '\\x5c2e0a5c4e09');
		SELECT snapshot_save_bytea('all bytes', 1, 1, string_agg(set_byte('\\x00', 0, n), '' ORDER BY n), '{"bytes": 256}') FROM generate_series(0, 255) AS n;
		SELECT snapshot_save_bytea('many bytes', 1, 1, string_agg(sha512(n::text::bytea), '' ORDER BY n)) FROM generate_series(1, 5000) AS n;
		-- histories
		SET snapshot_store.keep = 3;
		SET snapshot_store.keep_versions = 2;
		SELECT snapshot_save('history ' || n % 20, n, n / 20 % 3, to_json(n), NULL, timestamptz '2026-01-05 09:00+00' + n * interval '1 microsecond')
		FROM generate_series(1, 200) AS n;

		GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app;
		GRANT SELECT (stream_id, slot, state_schema_version), UPDATE (metadata) ON snapshot_store TO reader;
		GRANT SELECT, TRIGGER, REFERENCES, TRUNCATE ON snapshot_store TO batch WITH GRANT OPTION;
		REVOKE TRUNCATE ON snapshot_store FROM CURRENT_USER;
		REVOKE EXECUTE ON PROCEDURE snapshot_purge FROM public;
		GRANT EXECUTE ON PROCEDURE snapshot_purge TO batch WITH GRANT OPTION;
		GRANT EXECUTE ON FUNCTION snapshot_delete TO app;
	});
	$all_rows = rows($database);
	$all_grants = grants($database);
	$all_loads{$_} = loads($database, $_) foreach 'auto', 'sql';
	is($all_loads{auto}, $all_loads{sql}, "$database: both ways load the same");
	return;
}

# ---- every format, in a schema of its own and in public ---------------------------------

foreach ([ 'packed', 'public' ], [ 'shop', 'public' ], [ 'store', 'Odd; schema' ])
{
	(my $source, $schema) = @$_;
	make_source($source);
	pack_source($source) if $source eq 'packed';

	runs($source, qw(pg_dump --format=custom --file), "$dumps/$source.custom");
	runs($source, qw(pg_dump --format=directory --jobs=2 --file), "$dumps/$source.directory");
	runs($source, qw(pg_dump --format=plain --file), "$dumps/$source.sql");
	runs($source, qw(pg_dump --rows-per-insert=7 --file), "$dumps/$source.inserts.sql");
	my %restore = (
		'custom' => [ 'pg_restore', "$dumps/$source.custom" ],
		'custom, 3 jobs' => [ 'pg_restore', '--jobs=3', "$dumps/$source.custom" ],
		'directory, 3 jobs' => [ 'pg_restore', '--jobs=3', "$dumps/$source.directory" ],
		'plain' => [ 'psql', '-f', "$dumps/$source.sql" ],
		'INSERT' => [ 'psql', '-f', "$dumps/$source.inserts.sql" ]);
	foreach my $format ($schema eq 'public' ? sort keys %restore : ('custom, 3 jobs', 'plain'))
	{
		my $target = database();
		runs($target, @{$restore{$format}});
		all_is_there($target, "$source, $format");
	}

	# A dump of the schema has the rows, and not the extension unless that is named.
	my @dump = ('pg_dump', '--schema', qq{"$schema"}, '--format=custom', '--file', "$dumps/$source.schema");
	my $target = database();
	runs($source, @dump);
	$node->command_fails_like([ 'pg_restore', '-d', $target, "$dumps/$source.schema" ],
		qr/snapshot_store" does not exist/, "$source, --schema: there is no table for the rows");
	$target = database();
	runs($source, @dump, '--extension=snapshot_store');
	if ($schema eq 'public')
	{
		$node->command_fails_like([ 'pg_restore', '-d', $target, "$dumps/$source.schema" ],
			qr/schema "public" already exists.*errors ignored on restore: 1\n/s, "$source, with --extension: there is a schema public already");
	}
	else
	{
		runs($target, 'pg_restore', "$dumps/$source.schema");
	}
	all_is_there($target, "$source, --schema and --extension");
}

# ---- the largest snapshot that a save takes ------------------------------------------------

my $largest = database();
$node->safe_psql($largest, q{
	CREATE EXTENSION snapshot_store;
	SELECT snapshot_save_bytea('largest', 1, 1, convert_to(repeat('x', 200 * 1024 * 1024), 'SQL_ASCII'),
							   to_json(repeat('"', 512 * 1024 - 1)))});
is(runs($largest, qw(pg_dump --file /dev/null)), '', 'a state of 200 MB with metadata of 1 MB is dumped');
$node->safe_psql('postgres', "DROP DATABASE $largest");

# ---- in parts ---------------------------------------------------------------------------

$schema = 'public';
$all_rows = rows('shop');
$all_grants = grants('shop');
$all_loads{$_} = loads('shop', $_) foreach 'auto', 'sql';

my $target = database();
runs('shop', qw(pg_dump --schema-only --file), "$dumps/schema.sql");
runs('shop', qw(pg_dump --data-only --format=custom --file), "$dumps/data.custom");
runs($target, 'psql', '-f', "$dumps/schema.sql");
is(rows($target), '', '--schema-only: no rows');
is(grants($target), $all_grants, '... but the grants');
runs($target, 'pg_restore', "$dumps/data.custom");
all_is_there($target, '... and --data-only');

$target = database();
$node->safe_psql($target, 'CREATE EXTENSION snapshot_store');
my $no_grants = grants($target);
runs($target, 'pg_restore', "$dumps/data.custom");
is(rows($target), $all_rows, '--data-only, where the extension is: every row');
is(grants($target), $no_grants, '... and no grants');

$target = database();
runs('shop', qw(pg_dump --table=snapshot_store --file), "$dumps/table.sql");
$node->safe_psql($target, 'CREATE EXTENSION snapshot_store');
runs($target, 'psql', '-f', "$dumps/table.sql");
is(rows($target), $all_rows, '--table: every row');
is(grants($target), $no_grants, '... and no grants');

$target = database();
$node->safe_psql($target, q{CREATE EXTENSION snapshot_store; SELECT snapshot_save('first', 99, 1, '"other"'), snapshot_save('more', 1, 1, '1')});
runs($target, qw(pg_restore --clean --if-exists), "$dumps/shop.custom");
all_is_there($target, '--clean, over other snapshots');

# ---- packed states, also by the table's owner, who is no superuser -----------------------

$node->safe_psql('postgres', 'CREATE DATABASE owned OWNER owner');
$node->safe_psql('owned', "CREATE EXTENSION snapshot_store; $order_state $take_packed; $train", extra_params => [ '-U', 'owner' ]);
$node->safe_psql('owned', q{CALL snapshot_repack('')}, extra_params => [ '-U', 'owner' ]);
is($node->safe_psql('owned', $packed), '200', 'an owner has packed states');
foreach my $format ('custom', 'plain')
{
	my @restore = $format eq 'plain' ? ('psql', '-f') : ('pg_restore');

	runs('owned', 'pg_dump', '-U', 'owner', "--format=$format", '--file', "$dumps/owned.$format");
	$target = database('OWNER owner');
	runs($target, @restore, "$dumps/owned.$format", '-U', 'owner');
	is(rows($target), rows('owned'), "$format: dumped and restored by them, to the letter");
	is($node->safe_psql($target, $wrong), '', '... and loaded');
	is($node->safe_psql($target, q{SELECT atttypid::regtype FROM pg_attribute WHERE attrelid = 'snapshot_store'::regclass AND attname = 'state';
			SELECT count(*) FROM snapshot_dictionary}), "json\n0", '... into a column of json, without a dictionary');
	$node->safe_psql($target, "$take_packed; SELECT number FROM snapshot_dictionary_train('order-')", extra_params => [ '-U', 'owner' ]);
	is($node->safe_psql($target, q{CALL snapshot_repack('order-')}, extra_params => [ '-U', 'owner' ]), '200', '... which is packed anew');
	is(join(' ', map { $node->safe_psql($target, $_) } $packed, $wrong), '200 ', '... and loaded');
	is(rows($target), rows('owned'), '... and the same');
}
runs('owned', qw(pg_dump -U owner --data-only --format=custom --file), "$dumps/owned.data");
$node->safe_psql('owned', q{CREATE TABLE rows AS TABLE snapshot_store; DELETE FROM snapshot_store});
runs('owned', qw(pg_restore -U owner --data-only), "$dumps/owned.data");
is($node->safe_psql('owned', q{SELECT count(*) FROM snapshot_store AS s JOIN rows AS r USING (stream_id, slot) WHERE s::text = r::text}),
	'200', '--data-only goes back to where states may be packed');
is(join(' ', map { $node->safe_psql('owned', $_) } $packed, $wrong), '0 ', '... plain');

# A dictionary is never missing, but for who goes to such lengths.
$node->safe_psql('owned', q{CALL snapshot_repack('order-'); SET session_replication_role = replica;
	ALTER TABLE snapshot_dictionary DISABLE TRIGGER ALL; DELETE FROM snapshot_dictionary});
$node->command_fails_like([ 'pg_dump', '--file', '/dev/null', 'owned' ], qr/dictionary -?\d+ does not exist/,
	'a dump of states whose dictionary is missing tells it');

# ---- by the owner of the database, who is no superuser ----------------------------------

$target = database('OWNER owner');
runs($target, qw(pg_restore -U owner), "$dumps/shop.custom");
is(rows($target), $all_rows, 'a database owner: every row');
is($node->safe_psql($target, q{SELECT extowner::regrole, relowner::regrole FROM pg_extension, pg_class WHERE extname = 'snapshot_store' AND relname = 'snapshot_store'}),
	'owner|owner', '... the extension and the table are his');
is($node->safe_psql($target, q{SELECT has_table_privilege('app', 'snapshot_store', 'DELETE'), has_column_privilege('reader', 'snapshot_store', 'slot', 'SELECT'),
		has_column_privilege('reader', 'snapshot_store', 'state', 'SELECT'), has_table_privilege('batch', 'snapshot_store', 'TRUNCATE WITH GRANT OPTION')}),
	't|t|f|t', '... with the grants on it');
is($node->safe_psql($target, q{SELECT has_function_privilege('reader', oid, 'EXECUTE') FROM pg_proc WHERE proname = 'snapshot_purge'}),
	't', '... but not those on functions, which are the superuser\'s: PUBLIC may execute them all');
foreach my $access ('auto', 'sql')
{
	is($node->safe_psql($target, qq{SET snapshot_store.access_path = $access; SELECT snapshot_save('$access', 1, 1, '1'); SELECT state FROM snapshot_load('$access', '{1}')},
			extra_params => [ '-U', 'app' ]), "t\n1", "... and the application saves and loads, $access");
}
$all_rows = rows($target);
runs($target, qw(pg_dump -U owner --format=custom --file), "$dumps/owner.custom");
$target = database('OWNER owner');
runs($target, qw(pg_restore -U owner), "$dumps/owner.custom");
is(rows($target), $all_rows, '... and he can dump it, and restore that again');
$node->safe_psql($target, 'ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY');
runs($target, qw(pg_dump -U owner --format=custom --file), "$dumps/owner.custom");
$node->safe_psql($target, 'ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY');
$node->command_fails_like([ 'pg_dump', '-U', 'owner', '-f', "$dumps/owner.sql", $target ],
	qr/affected by row-level security policy/, '... unless row security is forced');

# ---- what a dump does not carry ---------------------------------------------------------

# By the first column of the table in doc/operations.md: what to do, and a query that tells
# whether it is done.
my $table = q{'snapshot_store'::regclass};
my %made = (
	'rows' => [ q{SELECT snapshot_save('a', 1, 1, '1', '{}')}, q{SELECT count(*) = 1 FROM ONLY snapshot_store} ],
	'grants on the table, its columns and the functions' => [
		'GRANT DELETE ON snapshot_store TO app; GRANT SELECT (slot) ON snapshot_store TO app; REVOKE EXECUTE ON FUNCTION snapshot_delete FROM public',
		q{SELECT has_table_privilege('app', 'snapshot_store', 'DELETE') AND has_column_privilege('app', 'snapshot_store', 'slot', 'SELECT')
			AND NOT has_function_privilege('app', (SELECT oid FROM pg_proc WHERE proname = 'snapshot_delete'), 'EXECUTE')} ],
	'views, foreign keys and child tables of yours' => [
		'CREATE VIEW my_view AS SELECT stream_id FROM snapshot_store; CREATE TABLE child () INHERITS (snapshot_store);
		 CREATE TABLE referring (stream_id text, slot smallint, FOREIGN KEY (stream_id, slot) REFERENCES snapshot_store)',
		qq{SELECT (SELECT count(*) FROM pg_inherits WHERE inhparent = $table) + (SELECT count(*) FROM pg_constraint WHERE confrelid = $table) + (SELECT count(*) FROM pg_views WHERE viewname = 'my_view') = 3} ],
	'defaults, statistics targets, storage, compression and other properties of the columns' => [
		q{ALTER TABLE snapshot_store ALTER created_at SET DEFAULT now(), ALTER slot SET STATISTICS 7, ALTER slot SET (n_distinct = 9), ALTER metadata SET STORAGE MAIN, ALTER metadata SET COMPRESSION pglz, ALTER metadata SET NOT NULL},
		qq{SELECT count(*) > 0 FROM pg_attribute WHERE attrelid = $table AND attnum > 0 AND (atthasdef OR attstattarget = 7 OR 'n_distinct=9' = ANY (attoptions) OR attname = 'metadata' AND (attstorage = 'm' OR attcompression = 'p' OR attnotnull))} ],
	'constraints' => [ 'ALTER TABLE snapshot_store ADD CONSTRAINT mine CHECK (slot < 100), ADD UNIQUE (state_schema_version, stream_id, slot)',
		qq{SELECT count(*) > 6 + (SELECT count(*) FROM pg_constraint WHERE conrelid = $table AND contype = 'n') FROM pg_constraint WHERE conrelid = $table} ],
	'indexes, and `CLUSTER ON`' => [ 'CREATE INDEX my_index ON snapshot_store (created_at); ALTER TABLE snapshot_store CLUSTER ON my_index',
		qq{SELECT count(*) > 1 FROM pg_index WHERE indrelid = $table} ],
	'statistics objects' => [ 'CREATE STATISTICS mine ON stream_id, slot FROM snapshot_store', qq{SELECT count(*) > 0 FROM pg_statistic_ext WHERE stxrelid = $table} ],
	'triggers and rules' => [
		'CREATE TRIGGER mine BEFORE UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); CREATE RULE mine AS ON UPDATE TO snapshot_store DO ALSO NOTHING',
		qq{SELECT (SELECT count(*) FROM pg_trigger WHERE tgrelid = $table AND NOT tgisinternal) + (SELECT count(*) FROM pg_rewrite WHERE ev_class = $table) > 0} ],
	'policies, and row security enabled or forced' => [
		'CREATE POLICY mine ON snapshot_store USING (true); ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY; ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY',
		qq{SELECT relrowsecurity OR relforcerowsecurity OR EXISTS (SELECT FROM pg_policy) FROM pg_class WHERE oid = $table} ],
	'owner' => [ 'ALTER TABLE snapshot_store OWNER TO other', qq{SELECT relowner = 'other'::regrole FROM pg_class WHERE oid = $table} ],
	'storage settings, such as `fillfactor` and autovacuum' => [
		'ALTER TABLE snapshot_store SET (fillfactor = 80, autovacuum_enabled = off, toast.autovacuum_enabled = off)',
		qq{SELECT t.reloptions <> '{fillfactor=65,toast_tuple_target=4064}' OR o.reloptions <> '{autovacuum_vacuum_cost_delay=0}' FROM pg_class AS t JOIN pg_class AS o ON o.oid = t.reltoastrelid WHERE t.oid = $table} ],
	'replica identity' => [ 'ALTER TABLE snapshot_store REPLICA IDENTITY FULL', qq{SELECT relreplident <> 'd' FROM pg_class WHERE oid = $table} ],
	'membership in a publication `FOR TABLE`' => [ 'CREATE PUBLICATION mine FOR TABLE snapshot_store', qq{SELECT count(*) > 0 FROM pg_publication_rel WHERE prrelid = $table} ],
	'membership in one `FOR ALL TABLES` or `FOR TABLES IN SCHEMA`' => [
		'CREATE PUBLICATION all_tables FOR ALL TABLES; CREATE PUBLICATION schema_public FOR TABLES IN SCHEMA public',
		q{SELECT count(*) = 2 FROM pg_publication_tables WHERE tablename = 'snapshot_store' AND pubname <> 'mine'} ],
	'the type `snapshot_state` of the column `state`, and dictionaries' => [
		qq{$order_state $take_packed;
			INSERT INTO snapshot_store SELECT 'order-' || n, 0, 1, n, '2026-01-05', order_state(n), NULL, '{}' FROM generate_series(1, 200) AS n;
			SELECT FROM snapshot_dictionary_train('order-'); DELETE FROM snapshot_store WHERE stream_id LIKE 'order-%'},
		qq{SELECT atttypid <> 'json'::regtype AND EXISTS (SELECT FROM snapshot_dictionary) FROM pg_attribute WHERE attrelid = $table AND attname = 'state'} ],
	'comments' => [ q{COMMENT ON TABLE snapshot_store IS 'mine'; COMMENT ON COLUMN snapshot_store.slot IS 'mine'; COMMENT ON FUNCTION snapshot_delete IS 'mine'},
		q{SELECT count(*) > 0 FROM pg_description WHERE description = 'mine'} ],
	'changes of the functions: cost, settings, owner' => [
		'ALTER FUNCTION snapshot_info COST 7; ALTER FUNCTION snapshot_due SET work_mem = 100; ALTER FUNCTION snapshot_census OWNER TO other',
		q{SELECT count(*) > 0 FROM pg_proc WHERE proname LIKE 'snapshot\_%' AND (procost = 7 OR proconfig IS NOT NULL OR proowner = 'other'::regrole)} ],
	'settings of the database' => [ 'ALTER DATABASE changed SET snapshot_store.keep = 2', q{SELECT count(*) > 0 FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())} ]);

# As the document has it.
my %said;
foreach my $line (split /\n/, slurp_file('doc/operations.md') =~ /^(\| of the extension \|.*?)\n\n/ms ? $1 : '')
{
	$said{$1} = defined $3 && $node->pg_version >= $3 ? 'yes' : $2
	  if $line =~ /^\| (.*?) \| (yes|no)\b(?: before PostgreSQL (\d+))?/;
}

# A column of one's own and being a partition exclude other things; see below.
my ($columns, $partition) = ('columns', 'place as a partition of a table of yours');
is_deeply([ sort keys %said ], [ sort keys %made, $columns, $partition ], 'the document says of everything whether a dump carries it');

$node->safe_psql('postgres', 'CREATE DATABASE changed');
$node->safe_psql('changed', 'CREATE EXTENSION snapshot_store');
$node->safe_psql('changed', $made{$_}[0]) foreach 'rows', grep { $_ ne 'rows' } sort keys %made;
runs('changed', qw(pg_dump --format=custom --file), "$dumps/changed.custom");
$target = database();
runs($target, 'pg_restore', "$dumps/changed.custom");
foreach my $name (sort keys %made)
{
	is($node->safe_psql('changed', $made{$name}[1]), 't', "$name: made");
	is($node->safe_psql($target, $made{$name}[1]), $said{$name} eq 'yes' ? 't' : 'f', "... and in a dump: $said{$name}");
}
$node->command_like([ 'pg_dump', '--create', '--schema-only', 'changed' ], qr/^ALTER DATABASE changed SET "snapshot_store.keep" TO '2'/m,
	'the settings of the database are in a dump with --create');
$node->command_like([ 'pg_dumpall', '--globals-only' ], qr/^CREATE ROLE app/m, 'roles are in one by pg_dumpall');

# Rows that have a column of one's own are lost, all of them, unless the column is there first.
$node->safe_psql('postgres', 'CREATE DATABASE with_column');
$node->safe_psql('with_column', q{
	CREATE EXTENSION snapshot_store;
	ALTER TABLE snapshot_store ADD COLUMN tenant text DEFAULT 'acme';
	SELECT snapshot_save('a', 1, 1, '1'), snapshot_save('b', 1, 1, '1');
	UPDATE snapshot_store SET tenant = 'other' WHERE stream_id = 'b';
});
runs('with_column', qw(pg_dump --format=custom --file), "$dumps/column.custom");
$target = database();
$node->command_fails_like([ 'pg_restore', '-d', $target, "$dumps/column.custom" ],
	qr/column "tenant" of relation "snapshot_store" does not exist.*errors ignored on restore: 1/s, 'a column: the restore fails');
is($said{$columns} . $node->safe_psql($target, 'SELECT count(*) FROM snapshot_store'), 'no0', '... and there are no rows');
$node->safe_psql($target, 'ALTER TABLE snapshot_store ADD COLUMN tenant text');
runs($target, qw(pg_restore --data-only), "$dumps/column.custom");
is($node->safe_psql($target, 'SELECT stream_id, tenant FROM snapshot_store ORDER BY 1'), "a|acme\nb|other", '... which come when the column is there');

$node->safe_psql('postgres', 'CREATE DATABASE as_partition');
$node->safe_psql('as_partition', q{
	CREATE EXTENSION snapshot_store;
	SELECT snapshot_save('a', 1, 1, '1');
	CREATE TABLE whole (LIKE snapshot_store INCLUDING CONSTRAINTS) PARTITION BY RANGE (stream_id);
	ALTER TABLE whole ATTACH PARTITION snapshot_store FOR VALUES FROM ('a') TO ('z');
});
runs('as_partition', qw(pg_dump --format=custom --file), "$dumps/partition.custom");
$target = database();
runs($target, 'pg_restore', "$dumps/partition.custom");
is(join(' ', $said{$partition}, map { $node->safe_psql($_, 'SELECT count(*) FROM whole') } 'as_partition', $target), 'no 1 0',
	'a partition is none afterwards');

done_testing();
