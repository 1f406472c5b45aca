# managed/snapshot_store.sql, the same contract without a library: a role that may do nothing else installs
# it, again, over an older version, and where the extension is; it answers as the extension does, whatever
# the search_path; writers that meet leave what they should; it goes through a dump; and
# managed/to_extension.sql moves it.  (Kinds pgtap and isolation of scripts/test run suites on it, too.)
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'runs once: it is no access path'
  if ($ENV{PGOPTIONS} // '') =~ /access_path=sql/;
delete $ENV{PGOPTIONS};

my $script = slurp_file('managed/snapshot_store.sql');
my $move = slurp_file('managed/to_extension.sql');
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\njit = off\nmax_connections = 30\ntimezone = UTC");
$node->start;
$node->safe_psql('postgres', "CREATE ROLE $_ LOGIN") foreach 'postgres SUPERUSER', qw(plain app reader mallory);

# A database of the role plain, in whose schema public it may create.
sub database
{
	my ($name, @commands) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name OWNER plain");
	$node->safe_psql($name, $_) foreach 'ALTER SCHEMA public OWNER TO plain', @commands;
}

# What SQL prints that a role sends, and then the errors and notices.
sub as
{
	my ($role, $database, $sql) = @_;
	my ($status, $out, $err) = $node->psql($database, $sql, extra_params => [ '-U', $role ], on_error_stop => 0);

	return $out . $err;
}

# All that the script makes, as the catalogs describe it; and which of their rows were written when.
my $made = q{
	SELECT pg_get_functiondef(oid) || prorows || obj_description(oid, 'pg_proc') FROM pg_proc WHERE proname ~ '^snapshot_'
	UNION ALL
	SELECT concat(relname, reloptions, relacl, obj_description(oid, 'pg_class')) FROM pg_class WHERE relname ~ '^(snapshot_store|loaded)'
	UNION ALL
	SELECT concat(attrelid::regclass, attname, atttypid::regtype, attnotnull, attstorage, attcompression) FROM pg_attribute
	WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relname ~ '^(snapshot_store|loaded)')
	UNION ALL
	SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN (SELECT oid FROM pg_class WHERE relname = 'snapshot_store')
	ORDER BY 1};
my $written = q{
	SELECT oid, xmin FROM pg_proc WHERE proname ~ '^snapshot_' UNION ALL
	SELECT oid, xmin FROM pg_class WHERE relname ~ '^(snapshot_store|loaded)' ORDER BY 1};
my $rows = q{SELECT s FROM snapshot_store AS s ORDER BY stream_id, slot};

# ---- a role that may only CREATE in a schema, whose name needs quotes -----------------------

database('hosted');
$node->safe_psql('hosted', q{
	ALTER DATABASE hosted OWNER TO postgres; REVOKE ALL ON SCHEMA public FROM public;
	ALTER SCHEMA public OWNER TO postgres; CREATE SCHEMA "its own"; GRANT CREATE, USAGE ON SCHEMA "its own" TO plain;
	GRANT USAGE ON SCHEMA "its own" TO app; CREATE SCHEMA "its ""own"""});
my $there = q{SET search_path = "its own", public;};
is(as('plain', 'hosted', "$there BEGIN; $script SHOW search_path; COMMIT"), q{"its own", public},
	'a role that may only CREATE in a schema installs it there, and has its search_path back');
like(as('app', 'hosted', "$there SELECT snapshot_save('a', 1, 1, '1')"), qr/permission denied for table/, 'nobody else may save');
$node->safe_psql('hosted', "$there GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app");
is(as('app', 'hosted', "$there SELECT snapshot_save('a', 1, 1, '1')"), 't', 'unless it is granted');

my $before = $node->safe_psql('hosted', $written);
like(as('plain', 'hosted', "$there $script"), qr/^psql:\S+ NOTICE:  snapshot_store 1\.0 is in schema .* already: nothing was changed$/,
	'a second time it says so');
is($node->safe_psql('hosted', $written), $before, 'and changes nothing');
like(as('postgres', 'hosted', qq{SET search_path = "its ""own"""; $script}), qr/ERROR:  the extension could not be in schema its "own"/,
	'and so it is in one where the extension could not be');

# ---- an older and a newer version, and the extension ----------------------------------------

database($_) foreach qw(fresh older);
my $older = $script =~ s/text := '1\.0'/text := '0.10'/r =~ s/RETURN FOUND;/RETURN NULL;/r =~ s/'tells/'told/gr;
like(as('plain', 'fresh', "SET search_path = nowhere; $script"), qr/ERROR:  no schema of the search_path exists/,
	'without a schema it is an error, and not in another');
is(as('plain', 'fresh', "SET standard_conforming_strings = off; $script GRANT SELECT ON snapshot_store TO reader"), '',
	'a fresh install, where backslashes escape');
is(as('plain', 'older', qq{$older GRANT SELECT ON snapshot_store TO reader;
	SELECT snapshot_save('a', 1, 1, '1') IS NULL, snapshot_store_version()}), 't|0.10', 'and one of an older version');
isnt($node->safe_psql('older', $made), $node->safe_psql('fresh', $made), 'which is another');
is(as('plain', 'older', $script), '', 'the script runs over it');
is($node->safe_psql('older', $made), $node->safe_psql('fresh', $made), 'and makes what a fresh install makes');
is(as('plain', 'older', q{SELECT snapshot_store_version(), sequence_number FROM snapshot_load('a', '{1}')}), '1.0|1', 'the snapshots stay');
$before = $node->safe_psql('older', $written);
like(as('plain', 'older', $older), qr/ERROR:  schema "public" has snapshot_store 1\.0, which is newer than 0\.10/, 'an older script is refused');
is($node->safe_psql('older', $written), $before, 'and changes nothing');

database('extended', 'CREATE EXTENSION snapshot_store', 'CREATE SCHEMA another');
like(as('postgres', 'extended', "SET search_path = another; $script"), qr/ERROR:  this database has the extension/,
	'where the extension is, it is an error');
is($node->safe_psql('extended', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'another'::regnamespace}), 0, 'and makes nothing');

# ---- what somebody has planted ---------------------------------------------------------------

database('planted', 'GRANT CREATE ON SCHEMA public TO mallory');
my $attack = q{LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE mallory SUPERUSER; RETURN '0.1'; END $$};
foreach my $planted (
	"FUNCTION snapshot_store_version() RETURNS text $attack", "FUNCTION format(text, text, text) RETURNS text $attack",
	"FUNCTION snapshot_save() RETURNS text $attack", 'TYPE loaded_snapshot AS (state json)',
	'DOMAIN loaded_snapshot_bytea AS text', 'TABLE snapshot_store (stream_id text)')
{
	my ($kind, $name) = split /[ (]/, $planted;

	$node->safe_psql('planted', "SET ROLE mallory; CREATE $planted");
	like(as($_, 'planted', $script), qr/ERROR:  in the way is public\.$name\S* of role mallory$/m, "$_ is told of a planted $name")
		foreach qw(postgres plain);
	$node->safe_psql('planted', "DROP $kind public.$name");
}
$node->safe_psql('planted', 'CREATE FUNCTION format(point) RETURNS point RETURN $1');
is(as('plain', 'planted', $script), '', 'what a superuser, or an extension of one, has made is not in the way');
like(as('postgres', 'planted', $_), qr/ERROR: .* role plain\nDETAIL: .*\nHINT:  If you trust that role, SET ROLE/, 'only the owner runs it again, or moves it')
	foreach $script, $move;
$node->safe_psql('planted', "SET ROLE mallory; CREATE FUNCTION snapshot_load() RETURNS text $attack");
like(as('plain', 'planted', $move), qr/ERROR:  public\.snapshot_load\(\) belongs to role mallory/, 'and nothing of others is moved');
$node->safe_psql('planted', 'DROP FUNCTION snapshot_load(); ALTER TABLE snapshot_store OWNER TO mallory');
like(as('plain', 'planted', $move), qr/ERROR:  public\.snapshot_store belongs to role mallory/, 'nor from a table of others');
$node->safe_psql('planted', "SET ROLE plain; CREATE OR REPLACE FUNCTION snapshot_store_version() RETURNS text $attack");
unlike(as('postgres', 'planted', "SET ROLE plain; $_"), qr/permission denied/, 'the version is read, and not run') foreach $script, $move;
is($node->safe_psql('planted', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', 'nobody became a superuser');

# ---- the answers of the extension -----------------------------------------------------------

srand(12);

sub any { return $_[ rand @_ ] }
sub one_in { return rand(shift) < 1 }

# Of each kind of argument its type, values that are right, and some that are not.
my %kind = (
	stream => [ 'text', [ q('a'), q('b'), q('c'), q('é'), q('{}') ], [ 'NULL', q(''), q(repeat('x', 2001)) ] ],
	number => [ 'bigint', [ 0 .. 12, '9223372036854775807' ], [ 'NULL', -1 ] ],
	version => [ 'bigint', [ 1, 1, 1, 2, 4294967295 ], [ 'NULL', -1, 4294967296 ] ],
	json => [ 'json', [ q('{}'), q(' [1,  2]'), q('null'), q('{"b":1, "a":1.0}'), q('"\u0000"') ], ['NULL'] ],
	bytea => [ 'bytea', [ q(''), q('\x00ff'), q('abc') ], ['NULL'] ],
	metadata => [ 'json', [ 'NULL', q('{"b": 1,  "a": [1.50]}'), q('null') ], [ q('"\u0000"'), q('1e200000') ] ],
	time => [ 'timestamptz', [ 'NULL', map { sprintf "'2024-01-%02d'", $_ } 1 .. 28 ], [ q('infinity'), q('3000-01-01') ] ],
	flag => [ 'boolean', [qw(true true false)], ['NULL'] ],
	bound => [ 'bigint', [ qw(NULL NULL), 0 .. 12 ], [-1] ],
	limit => [ 'timestamptz', [ 'NULL', q('-infinity'), map { sprintf "'2024-01-%02d'", $_ } 1 .. 28 ], ['NULL'] ],
	versions => [ 'bigint[]', [ q('{1}'), q('{1,2}'), q('{2,4294967295}'), q('{}') ],
		[ q('{{1}}'), q('{1,NULL}'), 'NULL', q('{-1}'), q('{1,4294967296}') ] ]);

# A call of a function with arguments of these kinds; of a kind in brackets, an array. One of the
# arguments may be wrong.
sub call
{
	my ($function, @kinds) = @_;
	my $length = int rand 5;
	my $wrong = one_in(3) ? int rand @kinds : -1;
	my @arguments;

	foreach my $n (0 .. $#kinds)
	{
		my $of_many = $kinds[$n] =~ s/\[(.*)\]/$1/r;
		my ($type, $right, $not) = $kind{$of_many}->@*;
		my @values = map { any(@$right) } 1 .. $length;

		if ($of_many eq $kinds[$n]) { push @arguments, $n == $wrong ? any(@$not) : any(@$right); next }
		if ($n == $wrong && one_in(3)) { push @arguments, 'NULL'; next }
		if ($n == $wrong && (one_in(3) || !@values)) { push @values, any(@$right) }
		elsif ($n == $wrong) { $values[ rand @values ] = any(@$not) }
		push @arguments, 'ARRAY[' . join(', ', @values) . "]::${type}[]";
	}
	return "SELECT * FROM snapshot_$function(" . join(', ', @arguments) . ')';
}

sub any_call
{
	my ($suffix, $type) = any([ '', 'json' ], [ '', 'json' ], [ '_bytea', 'bytea' ])->@*;

	return call(any(
		[ "save$suffix", qw(stream number version), $type, qw(metadata time flag) ],
		[ "save$suffix", qw(stream number version), $type, qw(metadata time) ],
		[ "save_many$suffix", qw([stream] [number] [version]), "[$type]", qw([metadata] [time] flag) ],
		[ "load$suffix", qw(stream versions) ],
		[ "load$suffix", qw(stream versions bound limit) ],
		[ "load_many$suffix", qw([stream] versions) ],
		[ "load_many$suffix", qw([stream] versions [bound]) ],
		[ 'info', 'stream' ],
		[ 'should_take', qw(bound bound bound) ],
		[ 'due', qw(stream versions bound bound) ],
		[ 'delete', qw(stream bound limit bound limit) ])->@*);
}

# The answers without where in the code an error was raised, the clock, which of several recognized
# versions is out of range, and which of several states of a batch is of the other kind.
sub answers
{
	my ($database, $begin, @calls) = @_;
	my $answers = as('postgres', $database, join ";\n", "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$begin", @calls);

	$answers =~ s/^LOCATION: .*\n?//gm;
	$answers =~ s/the clock says .*|(?<=4294967295)[;.].*|(?<=snapshot of stream )".*?"//g;
	return without_clock($answers);
}

sub without_clock { return $_[0] =~ s/20(?!24)\d\d-\d\d-\d\d [\d:.]+/now/gr }

# Line by line, up to the first that differs.
sub same_answers
{
	my ($got, $expected, $name) = @_;
	my @got = split /\n/, $got;
	my @expected = split /\n/, $expected;
	my $line = 0;

	$line++ while $line < @got && $line < @expected && $got[$line] eq $expected[$line];
	is($got[$line], $expected[$line], $name);
}

my @calls = map { any_call() } 1 .. 6000;
my $extension = answers('extended', '', @calls);
same_answers(answers('fresh', '', @calls), $extension, 'it answers 6,000 calls as the extension does');
is(without_clock($node->safe_psql('fresh', $rows)), without_clock($node->safe_psql('extended', $rows)), 'and has the same rows then');
my %seen;
$seen{$_}++ foreach $extension =~ /ERROR:  (\w{5}):/g;
is(join(' ', sort keys %seen), '21000 22003 22004 22008 22023 2202E 22P05 42804 54000', 'these errors were among the answers');

# Whatever is in front in the search_path, of whoever: functions and operators that lie, a table.
my $hostile = q{SET search_path = hostile, pg_catalog, public};
$node->safe_psql('fresh', q{
	CREATE SCHEMA hostile;
	CREATE TABLE hostile.snapshot_store (LIKE public.snapshot_store);
	CREATE FUNCTION hostile.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 0';
	CREATE FUNCTION hostile.cardinality(anyarray) RETURNS int LANGUAGE sql AS 'SELECT 0';
	CREATE FUNCTION hostile.lies(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT false';
	CREATE FUNCTION hostile.lies(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
	CREATE OPERATOR hostile.= (FUNCTION = hostile.lies, LEFTARG = text, RIGHTARG = text);
	CREATE OPERATOR hostile.= (FUNCTION = hostile.lies, LEFTARG = bigint, RIGHTARG = bigint);
	CREATE OPERATOR hostile.<= (FUNCTION = hostile.lies, LEFTARG = bigint, RIGHTARG = bigint);
	CREATE OPERATOR hostile.< (FUNCTION = hostile.lies, LEFTARG = bigint, RIGHTARG = bigint)});
my @more = map { any_call() =~ s/FROM /FROM public./r } 1 .. 1000;
same_answers(answers('fresh', $hostile, @more), answers('extended', 'SET search_path = pg_catalog', @more), 'a search_path that lies has no say');
same_answers(answers('fresh', q(SET search_path = ''), @more), answers('extended', q(SET search_path = ''), @more), 'nor has an empty one');
is(without_clock($node->safe_psql('fresh', $rows)), without_clock($node->safe_psql('extended', $rows)), 'the rows are the same again');
is($node->safe_psql('fresh', 'SELECT count(*) FROM hostile.snapshot_store'), 0, 'and no other table has any');

# ---- writers that meet ----------------------------------------------------------------------

# Eight sessions save versions of five streams in any order, alone or in batches, in whatever order of
# names. Whichever meets which, the newest stays, and nobody is refused otherwise than by "f".
database('crowded', $script);
my (%newest, @sessions);
foreach my $session (1 .. 8)
{
	my @saves = map {
		my %batch = map { ("s$_" => 1 + int rand 1e9) } map { int rand 5 } 1 .. 1 + rand 5;
		my @ids = keys %batch;
		foreach (@ids) { $newest{$_} = $batch{$_} if $batch{$_} > ($newest{$_} // 0) }
		my $numbers = join ',', @batch{@ids};
		@ids > 1 ? "SELECT * FROM snapshot_save_many('{" . join(',', @ids) . "}', '{$numbers}', array_fill(1::bigint, '{"
		  . @ids . "}'), '{$numbers}');" : "SELECT snapshot_save('$ids[0]', $numbers, 1, '$numbers');"
	} 1 .. 300;
	my $file = $node->basedir . "/saves$session.sql";
	append_to_file($file, join "\n", @saves);
	push @sessions, IPC::Run::start([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $file, $node->connstr('crowded') ]);
}
is(scalar(grep { $_->finish } @sessions), 8, 'eight sessions save at once, and none meets an error');
is($node->safe_psql('crowded', q{SELECT string_agg(concat_ws(' ', stream_id, sequence_number, state), ', ' ORDER BY stream_id) FROM snapshot_store}),
	join(', ', map { "$_ $newest{$_} $newest{$_}" } sort keys %newest), 'and the newest of each stream is kept');

# What a transaction above READ COMMITTED has seen, and another has deleted since, it does not bring back.
foreach my $save (q{SELECT snapshot_save('s1', 2000000000, 1, '{}')}, q{SELECT * FROM snapshot_save_many('{s2}', '{2000000000}', '{1}', '{1}')})
{
	my $older = $node->background_psql('crowded', on_error_stop => 0);
	$older->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM snapshot_store');
	$node->safe_psql('crowded', q{SELECT snapshot_delete('s1'), snapshot_delete('s2'); SELECT snapshot_save('s2', 1, 1, '{}')});
	$node->safe_psql('crowded', q{SELECT snapshot_delete('s2')});
	$older->query("\\set VERBOSITY verbose\n$save");
	like($older->{stderr}, qr/ERROR:  40001: could not serialize access/, "above READ COMMITTED: $save");
	$older->quit;
	$node->safe_psql('crowded', q{SELECT snapshot_save(s, 1, 1, '{}') FROM unnest('{s1,s2}'::text[]) AS s});
}

# A save that is refused locks the row here, and with the extension not.
foreach my $of ([ fresh => 0 ], [ extended => 1 ])
{
	my ($database, $free) = @$of;
	my $refused = $node->background_psql($database);

	$node->safe_psql($database, q{SELECT snapshot_save('refused', 2, 1, '{}')});
	is($refused->query_safe(q{BEGIN; SELECT snapshot_save('refused', 1, 1, '{}')}), 'f', "$database: a save is refused");
	is($node->safe_psql($database, q{SELECT count(*) FROM (SELECT FROM snapshot_store WHERE stream_id = 'refused' FOR UPDATE SKIP LOCKED) AS s}),
		$free, 'the row is ' . ($free ? 'free' : 'locked'));
	$refused->query_safe('COMMIT');
	$refused->quit;
}

# ---- a dump ---------------------------------------------------------------------------------

my $dump = $node->basedir . '/dump.sql';
$node->safe_psql('fresh', 'DROP SCHEMA hostile CASCADE');
$node->command_ok([ 'pg_dump', '--file', $dump, $node->connstr('fresh') ], 'pg_dump writes it');
database('restored');
$node->safe_psql('restored', 'DROP SCHEMA public; ') if slurp_file($dump) =~ /^CREATE SCHEMA public/m;
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'psql restores it');
is($node->safe_psql('restored', $made), $node->safe_psql('fresh', $made), 'with all that the script has made');
is($node->safe_psql('restored', $rows), $node->safe_psql('fresh', $rows), 'and every row');
is(as('plain', 'restored', $script) =~ /already/, 1, 'and its version');

# ---- the move -------------------------------------------------------------------------------

database('moved', "SET ROLE plain; $script");
like(as('plain', 'crowded', "SET search_path = pg_temp; $move"), qr/ERROR:  schema .* has nothing of/, 'where it is not, there is nothing to move');
$node->safe_psql('moved', q{
	GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app; GRANT SELECT ON snapshot_store TO reader WITH GRANT OPTION;
	SELECT snapshot_save('s' || n, n, n % 3, to_json(repeat('x', n * 10)), CASE WHEN n % 2 = 0 THEN '{"m": 1}'::json END),
		snapshot_save_bytea('b' || n, n, 4294967295, sha512(n::text::bytea)) FROM generate_series(1, 500) AS n});
$node->safe_psql('moved', "SET allow_in_place_tablespaces = on; CREATE TABLESPACE added LOCATION ''");
foreach my $added (
	'CREATE INDEX added ON snapshot_store (created_at)', 'ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY',
	'CREATE POLICY added ON snapshot_store USING (true)', 'ALTER TABLE snapshot_store FORCE ROW LEVEL SECURITY',
	'CREATE PUBLICATION added FOR TABLE snapshot_store', 'CREATE PUBLICATION added FOR ALL TABLES',
	'CREATE PUBLICATION added FOR TABLES IN SCHEMA public', 'GRANT SELECT (state) ON snapshot_store TO app',
	'ALTER TABLE snapshot_store ADD tenant text', 'ALTER TABLE snapshot_store ADD CHECK (slot < 5)',
	'ALTER TABLE snapshot_store REPLICA IDENTITY FULL', 'ALTER TABLE snapshot_store SET (fillfactor = 50)',
	'ALTER TABLE snapshot_store RESET (fillfactor)', 'ALTER TABLE snapshot_store SET (toast.autovacuum_enabled = off)',
	'ALTER TABLE snapshot_store ALTER metadata TYPE json', q(ALTER TABLE snapshot_store ALTER metadata SET DEFAULT 'null'),
	'ALTER TABLE snapshot_store ALTER stream_id TYPE text COLLATE "POSIX"',
	'CREATE STATISTICS added ON slot, state_schema_version FROM snapshot_store',
	'CREATE TABLE parent (); ALTER TABLE snapshot_store INHERIT parent', 'ALTER TABLE snapshot_store SET TABLESPACE added',
	'CREATE RULE added AS ON DELETE TO snapshot_store DO NOTHING',
	'CREATE TRIGGER added AFTER INSERT ON snapshot_store EXECUTE FUNCTION suppress_redundant_updates_trigger()')
{
	like(as('postgres', 'moved', "BEGIN; $added; SET ROLE plain; $move"), qr/ERROR:  table snapshot_store has what the move would lose/,
		"it refuses to lose: $added");
}
like(as('plain', 'moved', "BEGIN; REVOKE EXECUTE ON FUNCTION snapshot_delete FROM public; $move"), qr/ERROR:  the functions of the extension are everybody's/,
	'or a privilege on a function');
like(as('plain', 'moved', "BEGIN; CREATE VIEW v AS SELECT * FROM snapshot_load('s1', '{1}'); $move"),
	qr/ERROR:  cannot drop .*depend/, 'or what depends on it');
like(as('app', 'moved', $move), qr/ERROR:  .* belongs to role plain/, 'it is not for everybody');
my $privileges = q{SELECT relowner::regrole, grantee::regrole, privilege_type, is_grantable FROM pg_class, aclexplode(relacl)
	WHERE relname = 'snapshot_store' ORDER BY 2, 3};
my ($rows_before, $privileges_before) = ($node->safe_psql('moved', $rows), $node->safe_psql('moved', $privileges));
my $session = $node->background_psql('moved', extra_params => [ '-U', 'app' ]);
$session->query_safe(q{PREPARE load AS SELECT sequence_number FROM snapshot_load($1, $2);
	PREPARE save AS SELECT snapshot_save($1, $2, 1, '{}')});
$session->query_safe(q{EXECUTE load('s1', '{1}'); EXECUTE save('s1', 2)}) foreach 1 .. 6;
$rows_before = $node->safe_psql('moved', $rows);

# Default privileges of the superuser, by whom CREATE EXTENSION makes the table, add nothing.
$node->safe_psql('moved', 'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO public, mallory, reader');

# A save comes in while it is moved, and what was added and removed before is no matter.
my $mover = $node->background_psql('moved', extra_params => [ '-U', 'plain' ], on_error_stop => 0);
$mover->query_safe('ALTER TABLE snapshot_store ADD tenant text, ADD CONSTRAINT added CHECK (slot < 5)');
$mover->query_safe('ALTER TABLE snapshot_store DROP tenant, DROP CONSTRAINT added');
$mover->query("BEGIN; $move");
like($mover->{stderr}, qr/NOTICE:  the extension snapshot_store is in schema public, with 1000 snapshots$/m,
	'the owner of the database, no superuser, moves it');
my $printed = '';
my $late = IPC::Run::start([ 'psql', '-XqAt', '-U', 'app', '-d', $node->connstr('moved'), '-c', q{SELECT snapshot_save('late', 1, 1, '{}')} ],
	'>&', \$printed);
ok($node->poll_query_until('moved', 'SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)'), 'meanwhile a save waits');
$mover->query('COMMIT');
$mover->quit;
$late->finish;
is($printed, "t\n", 'and is stored');
is($node->safe_psql('moved', q{DELETE FROM snapshot_store WHERE stream_id = 'late' RETURNING 'it is there'}), 'it is there', 'where the others are');
is($node->safe_psql('moved', $rows), $rows_before, 'the move brings every snapshot');
is($node->safe_psql('moved', $privileges), $privileges_before, 'owner and privileges');
is($session->query_safe(q{EXECUTE save('s1', 3); EXECUTE load('s1', '{1}')}), "t\n3", 'a session goes on with the statements that it has prepared');
$session->quit;
is($node->safe_psql('moved', q{
	SET snapshot_store.keep = 2;
	SELECT snapshot_save('s1', 4, 1, '{}'), (SELECT count(*) FROM pg_proc WHERE proname ~ '^snapshot_store_')}), 't|0',
	'the extension has its history, and nothing is left of the script');
is($node->safe_psql('moved', q{SELECT count(*) FROM snapshot_info('s1')}), 2, 'from the first save on');
like(as('plain', 'moved', $move), qr/ERROR:  schema .* has nothing of/, 'a second time there is nothing to move');

$node->safe_psql('hosted', 'GRANT CREATE ON DATABASE hosted TO plain');
like(as('postgres', 'hosted', "$there SET ROLE plain; $move"), qr{with 1 snapshots$}, 'a superuser moves it as its owner, out of any schema');
is($node->safe_psql('hosted', q{SELECT relowner::regrole FROM pg_class WHERE relname = 'snapshot_store'}), 'plain', 'and it stays its owner\'s');

done_testing();
