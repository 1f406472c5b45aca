# ALTER EXTENSION ... UPDATE, and DROP EXTENSION.
#
# Updating from any version to any later one must make the same extension, object by object, as
# installing that version afresh, and as restoring a dump of it.  test/extension_objects.sql
# describes all there is; the lines of two descriptions are compared.
#
# As long as there is a single version, that would show nothing.  So the test plants versions of
# its own beside the extension's files, which are those of a private copy of the server: one
# whose update is right, and for each kind of mistake one whose update is wrong.
use strict;
use warnings;

use ExtensionObjects;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'runs once: each session here sets its own access path'
  if ($ENV{PGOPTIONS} // '') =~ /access_path=sql/;
delete $ENV{PGOPTIONS};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\njit = off");
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE app; CREATE ROLE other; CREATE DATABASE extended');

# ---- planting versions ------------------------------------------------------------------

my $folder = $node->config_data('--sharedir') . '/extension';
my $control = slurp_file("$folder/snapshot_store.control");
my ($newest) = $control =~ /^default_version = '(.*)'$/m;
my $script = slurp_file("$folder/snapshot_store--$newest.sql");
my @planted;

sub plant
{
	my ($name, $content) = @_;

	push @planted, $name unless grep { $_ eq $name } @planted;
	write_file("$folder/$name", $content);
}

sub write_file
{
	my ($path, $content) = @_;

	open(my $file, '>', $path) or die "cannot write $path: $!\n";
	print $file $content;
	close $file;
}

END
{
	my $status = $?;
	unlink map { "$folder/$_" } @planted;
	write_file("$folder/snapshot_store.control", $control) if defined $control;
	$? = $status;
}

# ---- comparing --------------------------------------------------------------------------

# The description of the extension that the commands make.
sub made_by
{
	return description($node, 'extended', @_);
}

sub ask
{
	my ($question, $database) = @_;

	return split /\n/, $node->safe_psql($database // 'extended', $question);
}

sub install
{
	my ($version) = @_;

	return "CREATE EXTENSION snapshot_store VERSION '$version'";
}

sub update
{
	my ($version) = @_;

	return "ALTER EXTENSION snapshot_store UPDATE TO '$version'";
}

# From any version to any other to which a path leads.
sub check_all_updates
{
	my @paths = ask(q{
		SELECT source || ' ' || target FROM pg_extension_update_paths('snapshot_store')
		WHERE path IS NOT NULL ORDER BY 1});

	foreach my $path (@paths)
	{
		my ($from, $to) = split / /, $path;
		equal_descriptions(made_by(install($from), update($to)), made_by(install($to)),
			"an update from $from to $to equals a fresh install");
	}
	return @paths;
}

my $dumps = 0;

# A dump brings back the default version of the server, $to.
sub check_dump
{
	my ($from, $to) = @_;
	my ($source, $target) = ('source' . ++$dumps, "target$dumps");
	my $dump = $node->basedir . "/$source.sql";

	$node->safe_psql('postgres', "CREATE DATABASE $_") foreach $source, $target;
	$node->safe_psql($source, install($from));
	$node->safe_psql($source, q{SELECT snapshot_save('kept', 1, 1, '1')});
	my $functions = functions_of($node, $source);
	$node->safe_psql($source, update($to)) if $from ne $to;
	kept_functions($functions, functions_of($node, $source), "$to has every function of $from");
	$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr($source) ], "a dump of $to, installed as $from");
	$node->command_ok([ 'psql', '-Xqv', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr($target) ], '... is restored');
	equal_descriptions(description($node, $target), made_by(install($to)), '... and equals a fresh install');
	is_deeply([ ask('SELECT stream_id, state FROM snapshot_store', $target) ], ['kept|1'], '... with its rows');
}

# ---- the versions that there are --------------------------------------------------------

my @released = sort map { /--([^-]+(?:-[^-]+)*)\.sql$/ && !/--.*--/ ? $1 : () } glob 'snapshot_store--*.sql';
my @updates = map { /--(.*--.*)\.sql$/ ? $1 : () } glob 'snapshot_store--*.sql';
my @versions = ask(q{
	SELECT version FROM pg_available_extension_versions
	WHERE name = 'snapshot_store' ORDER BY version COLLATE "C"});
my %made_by_scripts = map { $_ => 1 } @released, map { /--(.*)/ } @updates;

is_deeply(\@versions, [ sort keys %made_by_scripts ], "the scripts in this folder are installed: versions @versions");
foreach my $version (grep { $_ ne $newest } @versions)
{
	is_deeply([ ask("SELECT count(path) FROM pg_extension_update_paths('snapshot_store') WHERE source = '$version' AND target = '$newest'") ],
		[1], "version $version can be updated to $newest");
}
my $fresh = made_by(install($newest));
like($fresh, qr/^extension snapshot_store .*"extversion": "\Q$newest\E"/m, 'a fresh install is described');
check_all_updates();
check_dump($_, $newest) foreach @versions;

# ---- a planted version, and back --------------------------------------------------------

my $change = q{
CREATE FUNCTION @extschema@.snapshot_planted(pg_catalog.text) RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'snapshot_should_take' LANGUAGE C STABLE PARALLEL SAFE COST 7;
COMMENT ON FUNCTION @extschema@.snapshot_planted(pg_catalog.text) IS 'planted';
ALTER TABLE @extschema@.snapshot_store SET (fillfactor = 66);
};
plant('snapshot_store--planted.sql', $script . $change);
plant("snapshot_store--$newest--planted.sql", $change);
plant("snapshot_store--planted--$newest.sql", q{
DROP FUNCTION @extschema@.snapshot_planted(pg_catalog.text);
ALTER TABLE @extschema@.snapshot_store SET (fillfactor = 65);
});

my %path = map { $_ => 1 } check_all_updates();
ok($path{"$newest planted"} && $path{"planted $newest"}, '... among them that to a later version and back');
equal_descriptions(made_by(install($newest), update('planted'), update($newest)), $fresh,
	'there and back equals a fresh install');

write_file("$folder/snapshot_store.control", $control =~ s/^default_version = .*/default_version = 'planted'/mr);
check_dump($newest, 'planted');
write_file("$folder/snapshot_store.control", $control);

# ---- the library meets a version that it does not know ----------------------------------

my $unknown = 'ERROR:  55000: snapshot_store library does not know version "planted" of the extension';
my %call = (
	save => q{SELECT snapshot_save('kept', 2, 1, '2')},
	save_many => q{SELECT snapshot_save_many('{kept}', '{2}', '{1}', '{2}')},
	load => q{SELECT state FROM snapshot_load('kept', '{1}')},
	load_many => q{SELECT state FROM snapshot_load_many('{kept}', '{1}')},
	due => q{SELECT snapshot_due('kept', '{1}', 5, 1)},
	info => q{SELECT sequence_number FROM snapshot_info('kept')},
	census => 'SELECT snapshots FROM snapshot_census()',
	outdated => q{SELECT snapshot_outdated('', '{2}')},
	purge => q{CALL snapshot_purge('', '{1}')},
	delete => q{SELECT snapshot_delete('kept', 0)});
my @calls = sort keys %call;

# Runs statements and returns what psql prints, results and errors in their order.
sub transcript
{
	my ($database, @statements) = @_;
	my $output = '';

	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = $database;
	my $script = join '', map { "$_\n" } '\set VERBOSITY verbose', map { /^\\/ ? $_ : "$_;" } @statements;
	IPC::Run::run([ 'psql', '-XqAt' ], '<', \$script, '>&', \$output);
	$output =~ s/^(LOCATION|LINE|HINT|DETAIL|CONTEXT|QUERY|NOTICE).*\n//mg;
	$output =~ s/^ +\^\n//mg;
	return $output;
}

foreach my $access ('auto', 'sql')
{
	my $database = "unknown_$access";
	my $set = "SET snapshot_store.access_path = $access";

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	is(transcript($database, install($newest), $set, q{SELECT snapshot_save('kept', 1, 1, '1')}, update('planted'),
			map { ("\\echo $_", $call{$_}) } @calls),
		join('', "t\n", map { "$_\n$unknown\n" } @calls),
		"$access: in a session that updates to a version that the library does not know, each function says so");
	is(transcript($database, $set, @call{@calls}), "$unknown\n" x @calls, '... and in a new one');
	is(transcript($database, $set, 'SELECT snapshot_should_take(1, 0, 1)', 'SET snapshot_store.enabled = off', @call{'save', 'load'}),
		"t\nf\n", '... but for what does not use the table');
	is(transcript($database, $set, 'SELECT stream_id, state FROM snapshot_store', $call{load}, update($newest), @call{'load', 'save', 'load'}),
		"kept|1\n$unknown\n1\nt\n2\n", '... the rows are there, and updated to a version that it knows, all works in the same session');
}

# ---- the comparison finds mistakes ------------------------------------------------------

# Each is the whole of an update script to a version that should be no different.
my $due = 'snapshot_due(pg_catalog.text, pg_catalog.int8[], pg_catalog.int8, pg_catalog.int8)';
my $info = q{RETURNS TABLE (sequence_number pg_catalog.int8, state_schema_version pg_catalog.int8,
	state_size pg_catalog.int8, created_at pg_catalog.timestamptz) LANGUAGE C STABLE PARALLEL SAFE ROWS 1};
my @mistakes = (
	'ALTER TABLE snapshot_store ADD COLUMN planted text',
	'ALTER TABLE snapshot_store ADD COLUMN planted text; ALTER TABLE snapshot_store DROP COLUMN planted',
	'ALTER TABLE snapshot_store ALTER COLUMN created_at DROP NOT NULL',
	'ALTER TABLE snapshot_store ALTER COLUMN created_at SET DEFAULT now()',
	'ALTER TABLE snapshot_store ALTER COLUMN created_at SET STATISTICS 50',
	'ALTER TABLE snapshot_store ALTER COLUMN created_at SET (n_distinct = -1)',
	'ALTER TABLE snapshot_store ALTER COLUMN created_at TYPE timestamp',
	'ALTER TABLE snapshot_store ALTER COLUMN stream_id TYPE text COLLATE "POSIX"',
	'ALTER TABLE snapshot_store ALTER COLUMN stream_id SET STORAGE EXTENDED',
	'ALTER TABLE snapshot_store ALTER COLUMN metadata SET COMPRESSION pglz',
	'ALTER TABLE snapshot_store RENAME COLUMN metadata TO planted',
	'ALTER TABLE snapshot_store SET (fillfactor = 64)',
	'ALTER TABLE snapshot_store SET (toast.autovacuum_enabled = off)',
	'ALTER TABLE snapshot_store SET UNLOGGED',
	'ALTER TABLE snapshot_store REPLICA IDENTITY FULL',
	'ALTER TABLE snapshot_store CLUSTER ON snapshot_store_pkey',
	'ALTER TABLE snapshot_store OWNER TO other',
	'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_slot_check',
	'ALTER TABLE snapshot_store RENAME CONSTRAINT snapshot_store_slot_check TO planted',
	'ALTER TABLE snapshot_store ADD CONSTRAINT planted CHECK (slot < 10000) NOT VALID',
	'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey; ALTER TABLE snapshot_store ADD PRIMARY KEY (stream_id, slot)',
	'ALTER INDEX snapshot_store_pkey SET (fillfactor = 80)',
	'CREATE INDEX planted ON snapshot_store (created_at)',
	'CREATE STATISTICS planted ON stream_id, slot FROM snapshot_store',
	'CREATE TRIGGER planted BEFORE UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'CREATE RULE planted AS ON DELETE TO snapshot_store DO INSTEAD NOTHING',
	'CREATE POLICY planted ON snapshot_store USING (true)',
	'ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY',
	'ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY',
	'CREATE VIEW planted AS SELECT stream_id FROM snapshot_store',
	'GRANT SELECT ON snapshot_store TO app',
	'GRANT SELECT (stream_id) ON snapshot_store TO app',
	'COMMENT ON TABLE snapshot_store IS NULL',
	q{COMMENT ON COLUMN snapshot_store.slot IS 'planted'},
	'COMMENT ON CONSTRAINT snapshot_store_pkey ON snapshot_store IS NULL',
	q{COMMENT ON INDEX snapshot_store_pkey IS 'planted'},
	"COMMENT ON FUNCTION $due IS 'planted'",
	"DROP FUNCTION $due",
	"ALTER FUNCTION $due VOLATILE",
	"ALTER FUNCTION $due PARALLEL RESTRICTED",
	"ALTER FUNCTION $due STRICT",
	"ALTER FUNCTION $due LEAKPROOF",
	"ALTER FUNCTION $due SECURITY DEFINER",
	"ALTER FUNCTION $due COST 2",
	"ALTER FUNCTION $due SET work_mem = '1MB'",
	"ALTER FUNCTION $due OWNER TO other",
	"ALTER FUNCTION $due RENAME TO planted",
	"REVOKE EXECUTE ON FUNCTION $due FROM public",
	'ALTER FUNCTION snapshot_info(pg_catalog.text) ROWS 2',
	"CREATE OR REPLACE FUNCTION snapshot_info(stream_id pg_catalog.text DEFAULT 'planted') $info AS 'MODULE_PATHNAME', 'snapshot_info'",
	"CREATE OR REPLACE FUNCTION snapshot_info(stream_id pg_catalog.text) $info AS 'MODULE_PATHNAME', 'snapshot_load'",
	"ALTER EXTENSION snapshot_store DROP FUNCTION $due",
	"SELECT pg_catalog.pg_extension_config_dump('snapshot_store', 'WHERE slot = 0')",
	'CREATE TABLE planted (a int)',
	'ALTER TABLE snapshot_store ALTER COLUMN state TYPE snapshot_state',
	'ALTER TABLE snapshot_dictionary RESET (user_catalog_table)',
	'ALTER TABLE snapshot_dictionary ENABLE TRIGGER snapshot_dictionary_guard_truncate',
	'ALTER TABLE snapshot_dictionary_part DISABLE TRIGGER snapshot_dictionary_guard_replica',
	'ALTER TABLE snapshot_dictionary_part ALTER COLUMN content SET STORAGE EXTENDED',
	'ALTER TABLE snapshot_dictionary OWNER TO other',
	'GRANT SELECT ON snapshot_dictionary TO app',
	'DROP TRIGGER snapshot_dictionary_guard ON snapshot_dictionary',
	'ALTER TYPE snapshot_state SET (STORAGE = external)',
	'ALTER TYPE snapshot_state OWNER TO other',
	'ALTER TYPE snapshot_state SET (RECEIVE = NONE)',
	'DROP CAST (jsonb AS snapshot_state)',
	'DROP CAST (snapshot_state AS jsonb); CREATE CAST (snapshot_state AS jsonb) WITH INOUT AS IMPLICIT',
	'DROP CAST (jsonb AS snapshot_state); CREATE CAST (jsonb AS snapshot_state) WITH INOUT',
	q{CREATE TYPE planted AS ENUM ('a')});

# All in one session, since a version's name is all that they differ in.
my @updates_to = ('nothing', map { "mistake$_" } 1 .. @mistakes);
plant("snapshot_store--$newest--nothing.sql", '');
plant("snapshot_store--$newest--mistake$_.sql", "$mistakes[$_ - 1];\n") foreach 1 .. @mistakes;
my @descriptions = split /^next\n/m, $node->safe_psql('extended',
	join '', map { join ";\n", 'BEGIN', install($newest), update($_), $describe, "ROLLBACK;\n\\echo next\n" } @updates_to);

# The version's name differs, and that alone may.
s/"extversion": "[^"]*"// foreach $fresh, @descriptions;
equal_descriptions(shift @descriptions, $fresh, 'an update that changes nothing makes no difference');
foreach my $mistake (@mistakes)
{
	my ($first) = $mistake =~ /^(.{0,90})/;
	isnt(join("\n", differences($fresh, shift @descriptions)), '', "a difference is found: $first");
}

# ---- DROP EXTENSION leaves nothing ------------------------------------------------------

# Every row of every catalog, but for statistics.
sub catalogs
{
	my ($query) = join ' ', ask(q{
		SELECT string_agg(format('SELECT concat(%1$L, to_jsonb(c)) FROM pg_catalog.%1$I AS c', relname), ' UNION ALL ')
		FROM pg_class
		WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND relname <> 'pg_statistic'});

	return $node->safe_psql('extended', $query);
}

my $before = catalogs();
$node->safe_psql('extended', q{
	CREATE EXTENSION snapshot_store;
	GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app WITH GRANT OPTION;
	GRANT SELECT (stream_id) ON snapshot_store TO other;
	REVOKE EXECUTE ON FUNCTION snapshot_delete FROM public;
	GRANT EXECUTE ON FUNCTION snapshot_delete TO app;
	CREATE INDEX planted ON snapshot_store (created_at);
	CREATE STATISTICS planted ON stream_id, slot FROM snapshot_store;
	CREATE POLICY planted ON snapshot_store TO app USING (true);
	COMMENT ON INDEX planted IS 'planted';
	COMMENT ON FUNCTION snapshot_delete IS 'planted';
	ALTER TABLE snapshot_store OWNER TO other;
	SELECT snapshot_save('large', 1, 1, to_json(string_agg(md5(n::text), ''))) FROM generate_series(1, 1000) AS n;
	SELECT snapshot_save('small-' || n, n, 1, '1') FROM generate_series(1, 10) AS n;
	ANALYZE snapshot_store;
	CALL snapshot_purge('small', max_created_at => 'infinity');
});
my @files = map { $node->data_dir . "/$_" } ask(q{
	SELECT pg_relation_filepath(r)
	FROM (SELECT 'snapshot_store'::regclass UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = 'snapshot_store'::regclass
		UNION ALL SELECT reltoastrelid FROM pg_class WHERE oid = 'snapshot_store'::regclass) AS t(r)});
is(scalar(grep { -s $_ } @files), 4, 'the table, its TOAST table and two indexes have files');
cmp_ok(scalar(differences($before, catalogs())), '>', 100, 'the extension shows in the catalogs');
$node->safe_psql('extended', 'DROP EXTENSION snapshot_store');
is(join("\n", differences($before, catalogs())), '', 'after DROP EXTENSION each row of each catalog is as it was before');
$node->safe_psql('extended', 'CHECKPOINT');
is(scalar(grep { -e $_ } @files), 0, '... and after a checkpoint the files are gone');

# ---- ... and the sessions that had used it ----------------------------------------------

my $create = 'CREATE EXTENSION snapshot_store';
my $drop = 'DROP EXTENSION snapshot_store';

# Another session does it.
sub elsewhere
{
	my ($command) = @_;

	return "\\! psql -Xqc '$command'";
}

foreach my $access ('auto', 'sql')
{
	my @begin = (
		$create,
		"SET snapshot_store.access_path = $access",
		q{PREPARE load(text) AS SELECT state FROM snapshot_load($1, '{1}'::bigint[])},
		q{CREATE FUNCTION pg_temp.load(text) RETURNS json LANGUAGE plpgsql AS
			'BEGIN RETURN (SELECT state FROM snapshot_load($1, ''{1}''::bigint[])); END'});
	my @use = (q{SELECT snapshot_save('a', 1, 1, '1')}, q{EXECUTE load('a')}, q{SELECT pg_temp.load('a')});
	my $works = "t\n1\n1\n";
	my $errors = join '', map { "ERROR:  42883: function snapshot_$_ does not exist\n" }
		'save(unknown, integer, integer, unknown)', 'load(text, bigint[])', 'load(text, bigint[])';

	is(transcript('extended', @begin, @use, $drop, @use, $create, @use, $drop),
		"$works$errors$works", "$access: dropped and created again in a session that uses it");
	is(transcript('extended', @begin, @use, elsewhere($drop), @use, elsewhere($create), @use, $drop),
		"$works$errors$works", "$access: ... and in another one");
	is(transcript('extended', @begin, @use, 'BEGIN', $drop, $create, @use, 'ROLLBACK', @use, $drop),
		"$works$works$works", "$access: ... and in a transaction that is rolled back");
	is(transcript('extended', @begin, @use, $drop, 'CREATE SCHEMA elsewhere', "$create SCHEMA elsewhere",
			'SET search_path = elsewhere', @use, 'RESET search_path', $drop, 'DROP SCHEMA elsewhere'),
		"$works$works", "$access: ... and created again in another schema");
}

done_testing();
