# A hostile owner: every function, on whatever the table's owner makes of the table.
#
# An owner without superuser alters, retypes, shadows and replaces the table,
# plants functions that lie, raise, write, or drop what they stand on, and calls
# our functions, as does another role, in every way and on both access paths,
# with a statement_timeout, partly while another session goes on altering.
# What they do is drawn from a grammar.  An episode is a database of its own:
#
#   - no session is lost, and the server does not restart;
#   - no internal error, but those that PostgreSQL itself raises in such a state;
#   - no call overruns its time by more than plain SQL does on the same table;
#   - no load returns a stream or a schema version that was not asked for;
#   - both ways, from the same state, give the same answer and the same table;
#   - on a table, upkeep counts and lists what plain SQL does;
#   - what they do with packed states and dictionaries, no state is damaged;
#   - at the end, with a plain table, everything is right, packed states too, in
#     new sessions and in those that have lived through it.
#
# SEED repeats a run, as far as the scheduler allows.  Its episode n is the first
# of the run with SEED + n; EPISODES=1 makes it the only one.
use strict;
use warnings;

use DBI;
use DBD::Pg qw(:async);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{SNAPSHOT_STORE_LONG} ? 600 : 20;
my $seed = $ENV{SEED} // int(rand(2**31));
my $episodes = $ENV{EPISODES} // 1e9;
note("SEED=$seed");

# The settings are this test's business.
delete $ENV{PGOPTIONS};

# A caller's statement_timeout, and by how much it may be overrun before one looks
# closer.
use constant { TIMEOUT => 0.2, PATIENCE => 2, END_OF_PATIENCE => 60 };

# ---- the grammar ------------------------------------------------------------------------
#
# After __DATA__: each rule has a name and alternatives, between " | " or in lines;
# "3x" before one makes it three, and "." is nothing.  In an alternative, <name> is
# one of that rule's, and <'name> the same as a string constant; %n is a new number,
# %c a column and %t a type, each the same wherever it occurs in the alternative;
# ";;" separates statements.

my %rule;
my @columns = qw(stream_id slot state_schema_version sequence_number created_at state state_bytea metadata);
{
	my $name;
	while (my $line = <DATA>)
	{
		chomp $line;
		next if $line =~ /^#/;
		$name = $1 if $line =~ s/^(\w+): ?//;
		$line =~ s/^\t//;
		push @{ $rule{$name} }, map { /^(?:(\d+)x )?(.*)$/; ($2 eq '.' ? '' : $2) x ($1 // 1) } split / \| /, $line;
	}
}
$rule{all_columns} = [ join ', ', @columns ];
# A row that is as it should be but for a column or two.
$rule{all_values} = [ map { my $odd = $_; join ', ', map { ($odd =~ /\b$_\b/ ? "<$_>" : "<good_$_>") . " AS $_" } @columns }
	'', @columns, 'stream_id', 'slot', 'slot state_schema_version', 'state_schema_version sequence_number created_at', 'stream_id slot' ];
# As in the script: what looks like ours and is not.
my %checks = (
	stream_id => 'octet_length(stream_id) >= 1 AND octet_length(stream_id) <= 2000',
	slot => q{slot >= '0'::smallint},
	state_schema_version => q{state_schema_version >= '0'::bigint AND state_schema_version <= '4294967295'::bigint},
	sequence_number => q{sequence_number >= '0'::bigint},
	one_state => '(state IS NULL) <> (state_bytea IS NULL)');
foreach my $check (sort keys %checks)
{
	push @{ $rule{table_change} }, "DROP CONSTRAINT snapshot_store_${check}_check",
	  "DROP CONSTRAINT snapshot_store_${check}_check, ADD CONSTRAINT snapshot_store_${check}_check CHECK ($checks{$check}) <validity>";
}
$rule{loosen} = [ join ', ', map { "DROP CONSTRAINT IF EXISTS snapshot_store_${_}_check" } sort keys %checks ];

my $serial;
our $depth = 0;

sub pick { return $_[ rand @_ ] }
sub chance { return rand() < $_[0] }

sub expand
{
	my ($text) = @_;
	local $depth = $depth + 1;
	my %same = (n => ++$serial, c => pick(@columns), t => pick(@{ $rule{type} }));

	$text =~ s/%([nct])/$same{$1}/g;
	$text =~ s{<('?)(\w+)>}{
		my ($quoted, $name) = ($1, $2);
		my $word = $depth > 9 && $name =~ /^(action|alteration|rows)$/ ? 'SELECT 1' : expand(pick(@{ $rule{$name} // die "no rule $name" }));
		$quoted ? "'" . $word =~ s/'/''/gr . "'" : $word }ge;
	return $text;
}

# ---- a server, and a database to copy for each episode ----------------------------------

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
log_statement = none
log_min_error_statement = panic
restart_after_crash = on
fsync = off
jit = off
max_stack_depth = 1MB
});
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN; CREATE ROLE app LOGIN; GRANT app TO owner; CREATE DATABASE hostile OWNER owner');
my ($helpers, @collations) = split /;;\n/, <<'END';
CREATE SCHEMA evil; GRANT USAGE, CREATE ON SCHEMA evil TO app;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO app;
CREATE TYPE evil.mood AS ENUM ('a', 'b', 'A', '{}', '0', '1', '2', '7');
CREATE TYPE evil.pair AS (a text, b int);
CREATE DOMAIN evil.short AS text CHECK (VALUE <> 'b');
CREATE DOMAIN evil.whole AS numeric;
CREATE DOMAIN evil.moment AS timestamptz(0);
CREATE TYPE evil.row AS (stream_id text, slot int2, state_schema_version int8, sequence_number int8, created_at timestamptz, state json, state_bytea bytea, metadata jsonb);
CREATE TABLE evil.versions (v int8 PRIMARY KEY);
INSERT INTO evil.versions VALUES (1), (2);
CREATE TABLE evil.parent ();
CREATE FUNCTION evil.act(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; RETURN true; END';
CREATE FUNCTION evil.act_definer(text) RETURNS bool SECURITY DEFINER LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; RETURN true; END';
CREATE FUNCTION evil.act_stable(text) RETURNS bool STABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.act($1); END';
CREATE FUNCTION evil.act_immutable(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.act($1); END';
CREATE FUNCTION evil.see(anyelement, text) RETURNS anyelement IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM evil.act($2); RETURN $1; END';
CREATE FUNCTION evil.nth(n int, every int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('evil.n', (coalesce(nullif(current_setting('evil.n', true), ''), '0')::int + 1)::text, false);
	RETURN current_setting('evil.n')::int % every = n;
END $$;
CREATE FUNCTION evil.nth_stable(int, int) RETURNS bool STABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.nth($1, $2); END';
CREATE FUNCTION evil.nth_immutable(int, int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.nth($1, $2); END';
CREATE FUNCTION evil.rows(text) RETURNS SETOF evil.row LANGUAGE plpgsql AS 'BEGIN RETURN QUERY EXECUTE $1; END';
CREATE FUNCTION evil.dynamic(text) RETURNS bigint LANGUAGE plpgsql AS 'DECLARE n bigint; BEGIN EXECUTE $1; GET DIAGNOSTICS n = ROW_COUNT; RETURN n; END';
CREATE FUNCTION evil.same(anyelement, anyelement) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN NOT evil.nth(0, 2); END';
CREATE FUNCTION evil.mood_text(evil.mood) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN evil.nth(0, 2) THEN NULL ELSE ''a'' END; END';
CREATE FUNCTION evil.mood_int8(evil.mood) RETURNS int8 IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN evil.nth(0, 2) THEN -3 ELSE 1 END; END';
CREATE DOMAIN evil.cheat AS text CHECK (NOT evil.nth_immutable(0, 5));;
CREATE COLLATION evil.no_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);;
CREATE COLLATION evil.no_accent (PROVIDER = icu, LOCALE = 'und-u-ks-level1', DETERMINISTIC = false);;
CREATE COLLATION evil.icu (PROVIDER = icu, LOCALE = 'en-US');;
END
$node->safe_psql('hostile', $helpers, extra_params => [ '-U', 'owner' ]);
# Not on a server without ICU.
$node->psql('hostile', $_, extra_params => [ '-U', 'owner' ]) foreach @collations;

# ---- sessions ---------------------------------------------------------------------------

my (%counted, %outcomes);
my ($database, $store, $admin, @log, @wrong);

sub session
{
	my ($name, $role, $timeout, @options) = @_;
	my $host = $node->host;
	my $options = join ' ', map { "-c $_" } 'statement_timeout=' . 1000 * $timeout, 'client_min_messages=error', 'TimeZone=UTC', @options;
	my $dbh = DBI->connect("dbi:Pg:dbname=$database;host=$host;port=" . $node->port . ";options='$options'", $role, undef,
		{ RaiseError => 0, PrintError => 0, PrintWarn => 0, AutoCommit => 1, AutoInactiveDestroy => 1, pg_expand_array => 0 });

	return { name => $name, role => $role, dbh => $dbh, timeout => $timeout, options => \@options };
}

sub wrong
{
	my ($what, @more) = @_;
	push @wrong, $what;
	push @log, "WRONG: $what", @more;
}

# The internal errors that may be, since PostgreSQL itself raises them.
my $internal = join '|',
	# By RAISE: see <sqlstate>.
	'ERROR:  no$',
	# What a function in the middle of the statement has dropped or altered.
	'cache lookup failed for', 'could not open relation with OID', 'tuple concurrently (updated|deleted)';

# Runs a statement; returns its rows, or undef, with the outcome in the session.
# One that goes on for too long is cancelled, and is late from then on unless it says
# that it was timed out: in the commit, where deferred triggers run, nothing is.
sub run
{
	my ($session, $sql) = @_;
	my $dbh = $session->{dbh};
	my $began = time;
	my ($rows, $cancelled);

	push @log, "$session->{name}: $sql";
	my $statement = $dbh->prepare($sql, { pg_direct => 1, pg_server_prepare => 0, pg_async => PG_ASYNC });
	if ($statement->execute)
	{
		vec(my $socket = '', $dbh->{pg_socket}, 1) = 1;
		until ($dbh->pg_ready)
		{
			select(my $ready = $socket, undef, undef, 0.5);
			if ($cancelled && time > $cancelled + END_OF_PATIENCE)
			{
				kill 'KILL', $dbh->{pg_pid};
				die "a statement cannot be cancelled\n";
			}
			next if $cancelled || time < $began + $session->{timeout} + PATIENCE;
			$cancelled = time;
			$admin->{dbh}->do("SELECT pg_cancel_backend($dbh->{pg_pid})");
		}
		$dbh->pg_result and $rows = $statement->{NUM_OF_FIELDS} ? $statement->fetchall_arrayref({}) : [];
	}
	@$session{qw(state error)} = ($rows ? '00000' : $dbh->state, $dbh->errstr // '');
	$session->{overrun} = $session->{error} =~ /due to statement timeout/ ? time - $began - $session->{timeout} : $cancelled ? time - $cancelled : 0;
	$outcomes{ $session->{state} }++;
	$log[-1] .= sprintf '   -- %s %.0f ms %s', $session->{state}, 1000 * (time - $began), $session->{error} =~ s/\n.*//sr;

	if ($session->{state} =~ /^(08|57P)/ && !$dbh->ping)
	{
		die "the session was lost\n" if $session->{error} !~ /terminating connection due to administrator command/;
		$counted{'sessions that ended themselves'}++;
		%$session = (%$session, %{ session($session->{name}, $session->{role}, $session->{timeout}, @{ $session->{options} }) });
	}
	return $rows;
}

# Runs one statement of a caller, and judges it.
sub call
{
	my ($session, $sql) = @_;
	my $rows = run($session, $sql);

	$counted{statements}++;
	$counted{"snapshot_$1"}++ while $sql =~ /\bsnapshot_(save|load|info|due|delete|census|outdated|purge|repack|dictionary_\w+)\b/g;
	wrong('an internal error') if $session->{state} eq 'XX000' && $session->{error} !~ /$internal/m;
	wrong('a packed state was planted') if $session->{error} =~ /packed state is damaged|has another content|dictionary -?\d+ does not exist/;
	$counted{'statements that were timed out'}++ if $session->{overrun};
	check_time($session, $sql) if $session->{overrun} > PATIENCE;

	# A load gives what was asked for, whatever the table holds.
	if ($rows && $sql =~ /^SELECT \* FROM \S+snapshot_load\w*\('\{?(.*?)\}?'::\S+ '\{(.*?)\}'/)
	{
		my ($streams, $versions) = (",$1,", ",$2,");
		foreach my $row (@$rows)
		{
			wrong("schema version $row->{state_schema_version} is not recognized") if index($versions, ",$row->{state_schema_version},") < 0;
			wrong("stream $row->{stream_id} was not asked for") if exists $row->{stream_id} && index($streams, ",$row->{stream_id},") < 0;
		}
	}
	return $rows;
}

# Once more, and longer than plain SQL on the same table?
sub check_time
{
	my ($session, $sql) = @_;
	my ($again, @plain) = map { run($session, $_); $session->{overrun} } $sql,
	  "SELECT * FROM $store.snapshot_store ORDER BY 2", "SELECT * FROM $store.snapshot_store WHERE stream_id = 'a' ORDER BY 1, 2";
	wrong("its time was overrun by $again s") if $again > PATIENCE && !grep { $_ > PATIENCE / 2 } @plain;
}

# ---- an episode -------------------------------------------------------------------------

# Where the extension is now, if anywhere.
sub find_store
{
	my ($name) = $admin->{dbh}->selectrow_array(q{SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'snapshot_store'});
	$store = $name if defined $name;
	$rule{store} = [$store];
}

# Is it still a table, whose rows are what they are, for plain SQL too, which may not read it by the same
# index?  (One over a function that only says that it is immutable leaves out what it likes.)
sub is_table
{
	return $admin->{dbh}->selectrow_array(q{SELECT relkind IN ('r', 'p') AND NOT relrowsecurity
			AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND num_nonnulls(indpred, indexprs) > 0)
		FROM pg_class AS c WHERE oid = to_regclass($1)}, undef, "$store.snapshot_store");
}

sub alter
{
	my ($session) = @_;
	run($session, expand('<alteration>'));
	$counted{alterations}++;
	$counted{'alterations that succeeded'}++ if $session->{state} eq '00000';
	find_store();
}

# The answer to a call on one of the ways, and the table after it, which is then undone.
sub on_way
{
	my ($session, $way, $query) = @_;
	my @answers;

	run($session, "DISCARD PLANS; SET LOCAL snapshot_store.access_path = $way; SELECT set_config('evil.n', '0', true)");
	foreach ($query, 'SELECT ' . join(', ', @columns) . " FROM $store.snapshot_store AS t ORDER BY t::text")
	{
		run($session, 'SAVEPOINT v');
		my $rows = call($session, $_);
		push @answers, $session->{state} . ': ' . join ' ', map { my $row = $_; '(' . join('|', map { substr $row->{$_} // 'NULL', 0, 100 } sort keys %$row) . ')' } @{ $rows // [] };
		run($session, 'ROLLBACK TO v') if !$rows;
	}
	run($session, 'ROLLBACK TO w');
	return join "\n", @answers;
}

# From one state, the same call on both ways; again, to see whether it was no accident.
sub compare_ways
{
	my ($session) = @_;
	my $query = expand(pick('<write_query>', '<query>'));
	my @answers;

	run($session, 'BEGIN');
	run($session, 'SAVEPOINT w');
	@answers = map { on_way($session, $_, $query) } qw(auto sql);
	push @answers, map { on_way($session, $_, $query) } qw(sql auto) if $answers[0] ne $answers[1];
	run($session, 'ROLLBACK');
	return if grep { /^(57|54|55P03|40|53|25P|08)/m } @answers;
	$counted{'calls compared on both ways'}++;
	wrong('the ways differ', "auto: $answers[0]", "sql: $answers[1]") if @answers > 2 && $answers[0] eq $answers[3] && $answers[1] eq $answers[2];
}

# On a table, what upkeep and a load say of it.
sub compare_with_sql
{
	my ($session) = @_;

	foreach my $pair (
		[ qq{SELECT coalesce(sum(snapshots), 0)::text AS n FROM $store.snapshot_census('')},
			qq{SELECT count(*)::text AS n FROM $store.snapshot_store WHERE (stream_id::text COLLATE "C", slot) > ('', -1)} ],
		[ qq{SELECT string_agg(r, ',' ORDER BY r COLLATE "C") AS n FROM $store.snapshot_outdated('', '{1}', 1000000) r},
			qq{SELECT string_agg(s, ',' ORDER BY s) AS n FROM (SELECT stream_id::text COLLATE "C" AS s FROM $store.snapshot_store WHERE (stream_id::text COLLATE "C", slot) > ('', -1)
				GROUP BY 1 HAVING NOT bool_or(state_schema_version = 1)) s} ],
		[ qq{SELECT sequence_number || ' ' || state_schema_version AS n FROM $store.snapshot_load('a', '{1,2,3}')},
			qq{SELECT sequence_number || ' ' || state_schema_version AS n FROM $store.snapshot_store WHERE stream_id::text COLLATE "C" = 'a' AND state_schema_version IN (1, 2, 3)
				ORDER BY sequence_number DESC, state_schema_version DESC LIMIT 1} ])
	{
		my ($ours, $servers) = map { call($session, $_) } @$pair;
		next if !$ours || !$servers;
		$counted{'answers compared with plain SQL'}++;
		my ($a, $b) = map { @$_ ? $_->[0]{n} // 'NULL' : 'none' } $ours, $servers;
		wrong("plain SQL says $b, and not $a") if $a ne $b;
	}
}

# On a plain table, what is right.
my $plain = q{
	DELETE FROM plain.snapshot_store;
	SELECT plain.snapshot_save('a', 5, 1, '"5"');
	SELECT plain.snapshot_save('a', 4, 1, '"4"');
	SELECT plain.snapshot_save_bytea('b', 5, 1, '5');
	SELECT plain.snapshot_save('a', 5, 1, '"again"', replace => false);
	SELECT bool_and(stored) FROM plain.snapshot_save_many('{a,c}', '{6,6}', '{1,1}', '{6,6}');
	SELECT stored FROM plain.snapshot_save_many_bytea('{d}', '{7}', '{1}', '{7}');
	SELECT state FROM plain.snapshot_load('a', '{1}'::int8[]);
	SELECT state FROM plain.snapshot_load_bytea('b', '{1}');
	SELECT string_agg(stream_id, '') FROM plain.snapshot_load_many('{c,a}', '{1}');
	SELECT state FROM plain.snapshot_load_many_bytea('{d}', '{1}');
	SELECT sequence_number FROM plain.snapshot_info('c');
	SELECT plain.snapshot_due('c', '{1}', 7, 1);
	SELECT snapshots FROM plain.snapshot_census('');
	SELECT string_agg(r, '') FROM plain.snapshot_outdated('', '{2}', 10, 'a') AS r;
	SELECT plain.snapshot_delete('c');
	SET snapshot_store.keep_versions = 2;
	SELECT plain.snapshot_save('a', 7, 2, '7');
	SELECT plain.snapshot_save('a', 8, 3, '8');
	SELECT count(*) FROM plain.snapshot_info('a');
	SET snapshot_store.keep_versions = 1;
	CALL plain.snapshot_purge('', '{3}');
	SELECT stream_id || slot FROM plain.snapshot_store;
	SELECT plain.snapshot_save('a', 9, 1, '9');
	SELECT plain.snapshot_save('kind-1', 1, 1, evil_state(1));
	SELECT count(*) FROM plain.snapshot_store WHERE pg_column_size(state) < octet_length(state::text) / 2;
	SELECT count(*) FROM plain.snapshot_load('kind-1', '{1}') WHERE state::text = evil_state(1)::text};
my $right = '1 0 1 0 1 1 6 5 ca 7 6 1 4 bcd 1 1 1 2 3 a0 1 1 1 1';
# What may be packed, and what packs it.
my $kind = q{pg_catalog.json_build_object('n', %s, 'some', 'words that every state of the kind has in it, one like the other', 'list', '{1,2,3,4,5,6,7,8,9}'::pg_catalog.int4[])};
$plain =~ s/evil_state\((\d)\)/sprintf $kind, $1/ge;
$kind = sprintf $kind, 'g';
$rule{kind} = [$kind];
sub take_packed
{
	my ($session, $schema) = @_;

	run($session, "ALTER TABLE $schema.snapshot_store ALTER state TYPE $schema.snapshot_state");
	run($session, "INSERT INTO $schema.snapshot_store SELECT 'kind-' || g, 0, 1, g, now(), $kind FROM generate_series(1, 60) AS g");
	run($session, "SELECT FROM $schema.snapshot_dictionary_train('kind-', max_size => 1024)");
	wrong('no dictionary was trained') if $session->{state} ne '00000';
}

sub check_plain
{
	my ($session) = @_;

	foreach my $way (qw(auto sql))
	{
		run($session, "RESET ALL; SET search_path = pg_catalog; SET statement_timeout = 0; SET snapshot_store.access_path = $way");
		run($session, "SET snapshot_store.$_") foreach 'keep = 1', 'keep_versions = 1', 'durable = on';
		my $answers = join ' ', map { my $rows = run($session, $_); $rows ? map { values %$_ } @$rows : $session->{error} } split /;\s*/, $plain;
		return wrong('something is wrong on a plain table', "$way: $answers") if $answers ne $right;
	}
}

sub random_session
{
	my ($name, $role) = @_;
	my @options = map { "snapshot_store.$_" } 'keep=' . pick(1, 1, 2, 100), 'keep_versions=' . pick(1, 1, 2, 100), 'durable=' . pick(qw(on off off)), 'access_path=' . pick(qw(auto sql));

	push @options, 'search_path=evil,public' if chance(0.2);
	push @options, $node->pg_version >= 16 ? 'debug_parallel_query=on' : 'force_parallel_mode=on' if chance(0.1);
	my $session = session($name, $role, TIMEOUT, @options);
	push @log, "$name: -- " . join ' ', @options;
	run($session, "PREPARE p$_ AS " . expand('<query>')) foreach 1 .. 4;
	return $session;
}

sub episode
{
	my ($n) = @_;

	srand($seed + $n);
	$serial = 0;
	$database = "hostile_$n";
	$store = pick(('store') x 4, '"odd schema"', 'x' x 63);
	$rule{store} = [$store];
	$rule{database} = [$database];
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE hostile OWNER owner");
	$admin = session('admin', undef, 60);
	my $ddl = session('ddl', 'owner', 2, 'lock_timeout=500');
	run($ddl, "CREATE SCHEMA $store; GRANT USAGE ON SCHEMA $store TO app; CREATE EXTENSION snapshot_store SCHEMA $store; GRANT ALL ON $store.snapshot_store TO app");
	if (chance(0.5))
	{
		take_packed($ddl, $store);
		run($ddl, "CALL $store.snapshot_repack('')") if chance(0.7);
	}
	my @callers = (random_session('owner', 'owner'), random_session('app', 'app'));

	foreach (1 .. 4 + rand 14)
	{
		my $session = pick(@callers[ 0, 0, 1 ]);
		my $other;
		alter($ddl) foreach 1 .. pick(1, 1, 2, 3);
		run($ddl, 'ANALYZE') if chance(0.1);
		if (chance(0.2))
		{
			# Meanwhile.
			$other = session('other', 'owner', 1, 'lock_timeout=500');
			my $alterations = 'DO $o$BEGIN ' . join(' ', map { 'PERFORM pg_sleep(0.02); EXECUTE ' . expand("<'alteration>") . '; COMMIT;' } 1 .. 3) . ' END$o$';
			push @log, "other: $alterations";
			$other->{dbh}->do($alterations, { pg_async => PG_ASYNC });
		}
		foreach (1 .. 3 + rand 12)
		{
			run($session, expand('<setting>')) if chance(0.15);
			call($session, $_) foreach split /;; /, expand('<form>');
			run($session, 'ROLLBACK');
			return if @wrong;
		}
		if ($other)
		{
			eval { $other->{dbh}->pg_result };
			$other->{dbh}->disconnect;
			find_store();
		}
		if (is_table())
		{
			compare_ways($session);
			compare_with_sql($callers[0]);
		}
		return if @wrong;
	}

	# A plain table again.
	run($admin, "DROP EXTENSION IF EXISTS snapshot_store CASCADE; ALTER DATABASE $database OWNER TO owner");
	run($ddl, 'SET ROLE owner; CREATE SCHEMA plain; CREATE EXTENSION snapshot_store SCHEMA plain; GRANT USAGE ON SCHEMA plain TO app; GRANT ALL ON plain.snapshot_store TO app');
	take_packed($ddl, 'plain');
	check_plain($_) foreach @callers, session('new', 'owner', TIMEOUT), session('new app', 'app', TIMEOUT);
	wrong('the server has restarted') if !$admin->{dbh}->ping;
}

my $deadline = time + $seconds;
my $failures = 0;
for (my $n = 0; $n < $episodes && time < $deadline && $failures < 10; $n++)
{
	(@log, @wrong) = ();
	eval { episode($n); 1 } or wrong($@ =~ s/\n.*//sr);
	$counted{episodes}++;
	if (@wrong)
	{
		$failures++;
		fail("episode $n, SEED=" . ($seed + $n) . ": $wrong[0]");
		diag(join "\n", map { length > 3000 ? substr($_, 0, 3000) . ' ...' : $_ } @log);
		# The server may just have crashed.
		sleep 2;
		$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
	}
	$node->safe_psql('postgres', "DROP DATABASE $database WITH (FORCE)");
}

note('counted: ' . join ', ', map { "$counted{$_} $_" } sort keys %counted);
note('counted: ' . join ', ', map { "$outcomes{$_} times $_" } sort { $outcomes{$b} <=> $outcomes{$a} || $a cmp $b } keys %outcomes);
is(join("\n", slurp_file($node->logfile) =~ /^.*(?:terminated by signal|PANIC:|TRAP:|Sanitizer|runtime error:|leak|non-empty SPI|was not closed).*$/mg), '', 'nothing in the log that speaks of a crash or a leak');
$node->stop;
done_testing();

__DATA__
alteration:
	4x ALTER TABLE <table> <table_change> | 2x ALTER TABLE <table> <loosen>, <retype> | ALTER TABLE <table> <loosen>, <retype>, <table_change>
	TRUNCATE <table>; ALTER TABLE <table> <loosen>, ALTER %c TYPE %t USING NULL
	CREATE DOMAIN evil.d%n AS <type> CHECK (<lie>); ALTER TABLE <table> <loosen>, ALTER %c TYPE evil.d%n USING %c::text::evil.d%n
	CREATE DOMAIN evil.d%n AS <type>; ALTER TABLE <table> <loosen>, ALTER %c TYPE evil.d%n USING %c::text::evil.d%n; ALTER DOMAIN evil.d%n ADD CHECK (<lie>) NOT VALID
	2x <index> | 2x <trigger> | 3x <write> | 6x <view> | 2x <replace> | 2x ALTER TABLE <table> <loosen>; <write> | <drop> | <plant>
	4x ALTER TABLE <table> ALTER state TYPE <store>.snapshot_state | ALTER TABLE <table> ALTER state TYPE json
	ALTER TABLE <table> <loosen>, ALTER %c TYPE <store>.snapshot_state USING <'json>::<store>.snapshot_state
table: <store>.snapshot_store
any: 4x <table> | <store>.kept

table_change:
	4x ALTER created_at TYPE timestamptz(0) | 4x ALTER stream_id TYPE text COLLATE <collation> | 4x <loosen> | <loosen>, ALTER %c DROP NOT NULL
	ALTER %c DROP NOT NULL | ALTER %c SET NOT NULL | ADD CHECK (<lie>) <validity> | ADD CHECK (evil.see(%c, <'action>) IS NOT NULL) NOT VALID
	ADD FOREIGN KEY (state_schema_version) REFERENCES evil.versions DEFERRABLE INITIALLY DEFERRED NOT VALID
	ADD FOREIGN KEY (state_schema_version) REFERENCES evil.versions ON DELETE CASCADE NOT VALID | ADD EXCLUDE USING hash (stream_id WITH =)
	VALIDATE CONSTRAINT snapshot_store_slot_check | DROP CONSTRAINT snapshot_store_pkey | 3x DROP CONSTRAINT snapshot_store_pkey, ADD <key>
	DROP %c | DROP %c CASCADE | ADD n%n int DEFAULT 1 | ADD n%n text NOT NULL DEFAULT evil.see('x'::text, <'action>)
	ADD n%n bool GENERATED ALWAYS AS (<lie>) STORED | RENAME %c TO n%n | RENAME %c TO slot | DROP %c, ADD %c <type>
	DROP %c CASCADE, ADD %c <type> GENERATED ALWAYS AS (<%c>) STORED
	DROP stream_id CASCADE, ADD stream_id text COLLATE <collation> NOT NULL DEFAULT 'a' | ALTER slot ADD GENERATED BY DEFAULT AS IDENTITY
	ALTER sequence_number ADD GENERATED ALWAYS AS IDENTITY | ALTER %c SET DEFAULT <%c> | ALTER %c SET STORAGE EXTERNAL
	ALTER %c SET STORAGE MAIN | ALTER %c SET COMPRESSION pglz | SET (fillfactor = 10, toast_tuple_target = 128) | SET UNLOGGED | SET LOGGED
	SET SCHEMA evil | OWNER TO app | INHERIT evil.parent | OF evil.row | CLUSTER ON snapshot_store_pkey
	REPLICA IDENTITY <identity>; CREATE PUBLICATION p%n FOR TABLE <table> | DISABLE TRIGGER ALL
	ENABLE ROW LEVEL SECURITY
validity: . | NOT VALID | NO INHERIT | NOT ENFORCED
key:
	PRIMARY KEY (stream_id, slot) | PRIMARY KEY (slot, stream_id) | PRIMARY KEY (stream_id, slot, sequence_number) | PRIMARY KEY (stream_id)
	PRIMARY KEY (state_schema_version) | UNIQUE (stream_id, slot) | UNIQUE (stream_id, slot) DEFERRABLE INITIALLY DEFERRED
	PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version) DEFERRABLE
identity: NOTHING | FULL | DEFAULT
retype:
	8x ALTER %c TYPE %t USING %c::text::%t | 2x ALTER stream_id TYPE text COLLATE <collation> | ALTER stream_id TYPE varchar COLLATE <collation>
	ALTER stream_id TYPE evil.short COLLATE <collation> | ALTER created_at TYPE timestamptz(0) | ALTER created_at TYPE timestamptz(3)
type:
	text | varchar | varchar(3) | char(3) | name | bytea | int2 | int4 | int8 | numeric | numeric(5,-2) | float8 | bool | oid | timestamptz
	timestamptz(0) | timestamp | date | interval | json | jsonb | text[] | int8[] | evil.mood | evil.pair | evil.short | evil.whole
	evil.moment | evil.cheat | <store>.snapshot_state | <store>.snapshot_state[]
collation: "C" | "POSIX" | "default" | 2x evil.no_case | evil.no_accent | evil.icu

# Not its functions may write to the table: they run in the middle of INSERT ... ON CONFLICT, and if they update the
# row that it inserts, PostgreSQL makes its chain of versions a circle, which every reader then goes round for ever.
index:
	ALTER TABLE <table> DROP CONSTRAINT snapshot_store_pkey; CREATE UNIQUE INDEX ON <table> (<name> COLLATE <collation>, slot)
	ALTER TABLE <table> DROP CONSTRAINT snapshot_store_pkey; CREATE UNIQUE INDEX ON <table> (stream_id DESC, slot) INCLUDE (state_schema_version)
	ALTER TABLE <table> DROP CONSTRAINT snapshot_store_pkey; CREATE UNIQUE INDEX ON <table> (stream_id, slot) WHERE <index_lie>
	ALTER TABLE <table> DROP CONSTRAINT snapshot_store_pkey; CREATE UNIQUE INDEX ON <table> (stream_id text_pattern_ops, slot)
	CREATE <unique> INDEX ON <table> (%c) | CREATE <unique> INDEX ON <table> (stream_id, sequence_number)
	CREATE <unique> INDEX ON <table> (stream_id COLLATE <collation>) | CREATE INDEX ON <table> USING hash (stream_id)
	CREATE <unique> INDEX ON <table> (evil.see(%c, <'index_action>)) | CREATE <unique> INDEX ON <table> (evil.see(0, <'index_action>))
	CREATE <unique> INDEX ON <table> ((<index_lie>)) | CREATE <unique> INDEX ON <table> (slot) WHERE <index_lie>
	ALTER INDEX <store>.snapshot_store_pkey RENAME TO i%n | CLUSTER <table> USING snapshot_store_pkey | REINDEX TABLE <table>
	CREATE STATISTICS evil.s%n ON (evil.see(slot, <'action>)), sequence_number FROM <table>
name: stream_id | lower(stream_id)
unique: 2x . | UNIQUE
index_lie: 4x <nth> | <act>(<'index_action>) | <nth> OR <act>(<'index_action>)
index_action: 4x <read_query> | 2x <drop> | <setting> | SELECT pg_sleep(1) | SELECT 1 / 0 | COMMIT | CLOSE ALL | DISCARD PLANS

trigger:
	6x CREATE FUNCTION evil.t%n() RETURNS trigger LANGUAGE plpgsql AS $t%n$ BEGIN <change>; RETURN <returned>; END $t%n$; CREATE TRIGGER t%n <when> <event> ON <table> FOR EACH <each> EXECUTE FUNCTION evil.t%n()
	2x CREATE FUNCTION evil.t%n() RETURNS trigger LANGUAGE plpgsql AS $t%n$ BEGIN <change>; RETURN NULL; END $t%n$; CREATE CONSTRAINT TRIGGER t%n AFTER <event> ON <table> DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.t%n()
	2x CREATE RULE r%n AS ON <ruled> TO <table> DO <instead>
	2x CREATE POLICY p%n ON <table> <policy>; ALTER TABLE <table> ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY
when: 2x BEFORE | AFTER | INSTEAD OF
event: INSERT | UPDATE | DELETE | INSERT OR UPDATE | INSERT OR UPDATE OR DELETE | UPDATE OF slot
each: 3x ROW | STATEMENT
returned: 2x NEW | OLD | NULL
change:
	NULL | 2x PERFORM <act>(<'action>) | IF <nth> THEN PERFORM <act>(<'action>); END IF | NEW.%c := <%c> FROM (SELECT 1) AS s (g)
	NEW.slot := NEW.slot + 1 | NEW.stream_id := NULL | NEW := OLD | DELETE FROM <table> | DELETE FROM <table>; INSERT INTO <table> SELECT NEW.*
ruled: INSERT | UPDATE | DELETE
instead:
	INSTEAD NOTHING | ALSO NOTHING | ALSO SELECT <lie> | INSTEAD SELECT <lie> | ALSO DELETE FROM <table>
	INSTEAD UPDATE <table> SET slot = slot | ALSO NOTIFY x
policy:
	USING (<lie>) | USING (true) WITH CHECK (<lie>) | FOR SELECT USING (<lie>) | USING (evil.see(slot, <'action>) >= 0)
	USING (EXISTS (SELECT FROM <table>)) | USING (EXISTS (SELECT FROM <store>.snapshot_info(stream_id)))

view:
	2x DROP VIEW <table> CASCADE; CREATE VIEW <table> AS <rows> | 2x <away> CREATE VIEW <table> AS <rows>
	CREATE OR REPLACE VIEW <table> AS <rows>
replace:
	<away> CREATE TABLE <table> AS <rows> | <away> CREATE MATERIALIZED VIEW <table> AS <rows>
	<away> CREATE UNLOGGED TABLE <table> (LIKE <store>.kept INCLUDING ALL) | <away> CREATE TABLE <table> (LIKE <store>.kept)
	<away> CREATE TABLE <table> () INHERITS (<store>.kept) | <away> CREATE TABLE <table> () | <away> CREATE SEQUENCE <table>
	<away> CREATE TYPE <table> AS (a int) | <away> CREATE INDEX snapshot_store ON <store>.kept (slot)
	2x <away> CREATE TABLE <table> (LIKE <store>.kept INCLUDING ALL) PARTITION BY <part>; CREATE TABLE <store>.part%n PARTITION OF <table> DEFAULT
	<away> CREATE TABLE <table> (LIKE <store>.kept INCLUDING ALL) PARTITION BY HASH (stream_id); CREATE TABLE <store>.part%n PARTITION OF <table> FOR VALUES WITH (MODULUS 2, REMAINDER 0)
	<away> CREATE TABLE <table> (LIKE <store>.kept) PARTITION BY LIST ((<lie>)); CREATE TABLE <store>.part%n PARTITION OF <table> DEFAULT
	<away> CREATE TABLE <table> (LIKE <store>.kept INCLUDING ALL) PARTITION BY RANGE (slot); ALTER TABLE <table> ATTACH PARTITION <store>.kept DEFAULT
	ALTER TABLE IF EXISTS <table> RENAME TO n%n; ALTER TABLE <store>.kept RENAME TO snapshot_store
	DROP VIEW <table> CASCADE; ALTER TABLE <store>.kept RENAME TO snapshot_store | REFRESH MATERIALIZED VIEW <table>
	CREATE TEMP TABLE snapshot_store (LIKE <table> INCLUDING ALL) | CREATE TABLE evil.c%n () INHERITS (<table>)
	CREATE TABLE evil.c%n (CHECK (<lie>)) INHERITS (<table>); INSERT INTO evil.c%n SELECT * FROM <table>
	CREATE TABLE evil.p%n (LIKE <table>) PARTITION BY LIST (slot); ALTER TABLE evil.p%n ATTACH PARTITION <table> DEFAULT
	CREATE VIEW evil.v%n AS SELECT * FROM <table> | CREATE OR REPLACE VIEW evil.snapshot_store AS <rows>
away: ALTER TABLE IF EXISTS <store>.kept RENAME TO n%n; ALTER TABLE <table> RENAME TO kept;
part: RANGE (slot) | LIST (stream_id) | RANGE (stream_id, slot)

rows:
	6x SELECT <all_values> FROM <series> AS s (g) | 2x SELECT * FROM (<rows>) r WHERE <lie> | SELECT <all_values> FROM (SELECT 1) AS s (g)
	2x SELECT * FROM <store>.kept | SELECT * FROM <store>.kept WHERE <lie> | SELECT * FROM <store>.kept, (SELECT <lie>) l
	SELECT * FROM <store>.kept UNION ALL SELECT * FROM (<rows>) r | (SELECT * FROM <store>.kept) UNION SELECT * FROM (<rows>) r
	SELECT * FROM (<rows>) r ORDER BY %c DESC | SELECT * FROM (<rows>) r ORDER BY md5(r::text) | SELECT * FROM (<rows>) r OFFSET 0
	SELECT * FROM (<rows>) r LIMIT 3 | SELECT * FROM evil.rows(<'rows>)
series: 8x generate_series(<from>, <from> + <count>) | (WITH RECURSIVE e (g) AS (SELECT 0 UNION ALL SELECT g + 1 FROM e) SELECT g FROM e)
from: 3x 0 | 1 | 100 | -5
count: 0 | 3x 1 | 3x 2 | 2x 5 | 2x 30 | 200 | 1002 | 2x 32767 | 100000

good_stream_id: 6x 'a'::text | 'b'::text | chr((g % 50 + 65)::int)
good_slot: 4x g::int2 | 0::int2
good_state_schema_version: 2x g::int8 | 1::int8 | g % 3
good_sequence_number: g::int8 | 7::int8
good_created_at: now() | '2020-01-01'::timestamptz + g * interval '1 s'
good_state: 2x '{}'::json | NULL::json | to_json(repeat('x', 5000)) | 2x <kind>
good_state_bytea: 3x NULL::bytea | '\x00'::bytea
good_metadata: NULL::jsonb | '{}'::jsonb
stream_id:
	'A'::text | 'a' || g | ''::text | NULL | repeat('a', 3000) | repeat('a', 20000000) | 2x 'a'::text COLLATE <collation> | 'a'::name
	'a'::char(4) | 'a'::evil.mood | 'a'::evil.cheat | 6x CASE WHEN <lie> THEN 'a'::text END | 4x CASE WHEN <lie> THEN 'a'::text ELSE 'b' END
	evil.see('a'::text, <'action>)
slot:
	-g::int2 | (-32768)::int2 | 32767::int2 | (100 - g)::int2 | g | g::text | NULL | 2x CASE WHEN <lie> THEN 0::int2 END
	evil.see(g::int2, <'action>)
state_schema_version:
	-g | -3 - g | 4294967296 + g | 9223372036854775807 | -9223372036854775807 - 1 | 1::numeric | 'NaN'::float8 | '1'::text | NULL
	4x CASE WHEN <lie> THEN 1::int8 END | 4x CASE WHEN <lie> THEN 1::int8 ELSE 99 END | evil.see(1::int8, <'action>)
sequence_number:
	-g | 9223372036854775807 | -9223372036854775807 - 1 | 1.5 | 'x'::text | NULL | CASE WHEN <lie> THEN g::int8 END
	evil.see(g::int8, <'action>)
created_at:
	'infinity'::timestamptz | '-infinity'::timestamptz | '294276-12-31'::timestamptz | '4714-11-24 BC'::timestamptz | '2020-01-01'::timestamp
	NULL | CASE WHEN <lie> THEN now() END | evil.see(now(), <'action>)
state:
	to_json(repeat('x', 1000000)) | '{}'::jsonb | 'no json'::text | NULL | CASE WHEN <lie> THEN '{}'::json END | evil.see('{}'::json, <'action>)
state_bytea: '\x00'::bytea | repeat('x', 1000000)::bytea | CASE WHEN <lie> THEN '\x00'::bytea END
metadata: to_jsonb(repeat('x', 1000000)) | '{}'::json | CASE WHEN <lie> THEN '{}'::jsonb END

lie: true | false | NULL::bool | 5x <nth> | 3x <act>(<'action>) | 2x <nth> OR <act>(<'action>)
nth: evil.nth(<which>) | 2x evil.nth_stable(<which>) | evil.nth_immutable(<which>)
which: 2x 0, 2 | 2x 1, 2 | 1, 3 | 2, 3 | 3, 7 | 1, 1001
act: 2x evil.act | evil.act_stable | evil.act_immutable | evil.act_definer

action:
	4x <alteration> | 4x <query> | 2x <write> | 3x <drop> | 2x DROP EXTENSION snapshot_store CASCADE | <setting> | SELECT pg_sleep(1)
	SELECT 1 / 0 | SELECT count(*) FROM generate_series(1, 1000000000) | SELECT set_config('evil.n', '0', false)
	DO 'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = ''<sqlstate>''; END' | COMMIT | ROLLBACK | CLOSE ALL | CLOSE c | CLOSE "<unnamed portal 1>"
	FETCH ALL FROM "<unnamed portal 1>" | DEALLOCATE ALL | DISCARD PLANS | DISCARD TEMP | RESET ALL | SET ROLE app
	SET CONSTRAINTS ALL IMMEDIATE | LOCK TABLE <table> | CALL <store>.snapshot_purge(<prefix>, <versions>)
	SELECT pg_cancel_backend(pg_backend_pid()) | SELECT pg_terminate_backend(pg_backend_pid())
least: -32768 | 0
sqlstate: 40001 | 40P01 | 57014 | XX000 | 23505 | P0001 | 53200 | 55P03
write:
	2x INSERT INTO <any> (<all_columns>) SELECT <all_values> FROM generate_series(<from>, <from> + <count>) AS s (g) ON CONFLICT DO NOTHING
	INSERT INTO <any> SELECT 'a', g, 40000 + g, 1, now(), '{}' FROM generate_series(<least>, 32767) g
	INSERT INTO <any> SELECT 'a', g, -2 - g, 1, now(), '{}' FROM generate_series(0, <count>) g
	UPDATE <any> SET %c = <%c> FROM (SELECT 1) AS s (g) | UPDATE <any> SET slot = slot + 1 | DELETE FROM <any> | DELETE FROM <any> WHERE <lie>
	TRUNCATE <any> | INSERT INTO <any> SELECT 'kind-' || g, 0, 1, g, now(), <kind> FROM generate_series(1, 60) AS g ON CONFLICT DO NOTHING

drop:
	DROP EXTENSION snapshot_store | 4x DROP EXTENSION snapshot_store CASCADE
	2x DROP EXTENSION snapshot_store CASCADE; CREATE EXTENSION snapshot_store SCHEMA <store> | CREATE EXTENSION snapshot_store SCHEMA <store>
	CREATE SCHEMA s%n; CREATE EXTENSION snapshot_store SCHEMA s%n | CREATE EXTENSION snapshot_store SCHEMA pg_temp | DROP SCHEMA <store> CASCADE
	ALTER SCHEMA <store> RENAME TO s%n | ALTER SCHEMA <store> RENAME TO "odd %n" | ALTER EXTENSION snapshot_store DROP TABLE <table>
	ALTER EXTENSION snapshot_store DROP TABLE <table>; DROP TABLE <table> CASCADE | ALTER EXTENSION snapshot_store ADD TABLE <table>
	ALTER EXTENSION snapshot_store ADD VIEW <table> | ALTER EXTENSION snapshot_store ADD FUNCTION evil.act(text)
	ALTER EXTENSION snapshot_store DROP TYPE <store>.loaded_snapshot | ALTER EXTENSION snapshot_store DROP FUNCTION <store>.snapshot_info(text)
	ALTER EXTENSION snapshot_store SET SCHEMA evil | ALTER EXTENSION snapshot_store UPDATE | ALTER FUNCTION <store>.snapshot_info(text) COST 1
	ALTER FUNCTION <store>.snapshot_due(text, int8[], int8, int8) RENAME TO f%n | DROP TABLE <any> CASCADE | DROP VIEW <table> CASCADE
	DROP TYPE <store>.loaded_snapshot CASCADE | ALTER TYPE <store>.loaded_snapshot ADD ATTRIBUTE more int
	ALTER TYPE <store>.loaded_snapshot ALTER ATTRIBUTE state TYPE text | ALTER TYPE <store>.loaded_snapshot RENAME TO t%n
	DROP TYPE <store>.snapshot_state CASCADE | ALTER TYPE <store>.snapshot_state RENAME TO t%n | ALTER TYPE <store>.snapshot_state SET SCHEMA evil
	ALTER EXTENSION snapshot_store DROP TYPE <store>.snapshot_state | DROP TABLE <store>.snapshot_dictionary CASCADE
	ALTER EXTENSION snapshot_store DROP TABLE <store>.snapshot_dictionary | DELETE FROM <store>.snapshot_dictionary | TRUNCATE <store>.snapshot_dictionary
	ALTER TABLE <store>.snapshot_dictionary DISABLE TRIGGER ALL | ALTER TABLE <store>.snapshot_dictionary RENAME TO n%n | LOCK TABLE <store>.snapshot_dictionary
	CREATE CAST (bytea AS <store>.snapshot_state) WITHOUT FUNCTION | CREATE CAST (text AS <store>.snapshot_state) WITHOUT FUNCTION
	DROP FUNCTION evil.act(text) CASCADE | DROP FUNCTION evil.rows(text) CASCADE | DROP TYPE evil.row CASCADE | DROP SCHEMA evil CASCADE
	DROP OWNED BY app | REASSIGN OWNED BY owner TO app | REVOKE ALL ON <table> FROM app, owner | REVOKE USAGE ON SCHEMA <store> FROM app
	GRANT ALL ON <table> TO app, owner | GRANT SELECT (stream_id, slot), UPDATE (slot) ON <table> TO app
plant:
	CREATE OPERATOR <planted>.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text)
	CREATE OPERATOR <planted>.>= (FUNCTION = evil.same, LEFTARG = int8, RIGHTARG = int8)
	CREATE FUNCTION <planted>.octet_length(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'
	CREATE FUNCTION <store>.snapshot_load(text, int4[]) RETURNS int LANGUAGE sql AS 'SELECT 1'
	CREATE DOMAIN evil.snapshot_state AS json CHECK (<lie>) | CREATE DOMAIN evil.d%n AS <store>.snapshot_state CHECK (<lie>)
	CREATE CAST (evil.mood AS <store>.snapshot_state) WITH INOUT AS IMPLICIT | CREATE TABLE evil.snapshot_dictionary (number int8)
	CREATE DOMAIN <planted>.int8 AS pg_catalog.int8 CHECK (<lie>) | CREATE CAST (evil.mood AS text) WITH FUNCTION evil.mood_text AS IMPLICIT
	CREATE CAST (evil.mood AS int8) WITH FUNCTION evil.mood_int8 AS IMPLICIT | ALTER DATABASE <database> SET search_path = evil, <store>
	ALTER DATABASE <database> SET snapshot_store.keep = 3
planted: evil | <store>

form:
	8x <query> | 3x CALL <store>.snapshot_purge(<prefix>, <versions>, NULL, NULL, <batch>)
	CALL <store>.snapshot_purge(<prefix>, max_created_at => 'infinity')
	4x CALL <store>.snapshot_repack(<prefix>, <batch>) | DO $d$ DECLARE n int8; BEGIN CALL <store>.snapshot_repack(<prefix>, 1, n); ROLLBACK; CALL <store>.snapshot_repack(<prefix>, 7, n); END $d$
	SELECT state->>'n', state::jsonb, state::text::<store>.snapshot_state FROM <table>
	DO $d$ DECLARE n int8; BEGIN CALL <store>.snapshot_purge(<prefix>, <versions>, NULL, NULL, 1, n); COMMIT; CALL <store>.snapshot_purge(<prefix>, <versions>, deleted => n); END $d$
	EXPLAIN (ANALYZE, COSTS OFF) <query> | 4x EXECUTE p<prepared> | SELECT <store>.<writing> FROM generate_series(1, 3)
	SELECT <store>.<reading> FROM generate_series(1, 3) | SELECT * FROM generate_series(1, 3), LATERAL (<query> OFFSET 0) q
	SELECT evil.dynamic(<'query>), evil.dynamic(<'query>)
	BEGIN ISOLATION LEVEL <isolation>;; <query>;; SAVEPOINT s;; <query>;; <alteration>;; <query>;; ROLLBACK TO s;; <query>;; COMMIT
	BEGIN ISOLATION LEVEL <isolation>;; <alteration>;; <query>;; <query>;; ROLLBACK | BEGIN;; <query>;; <action>;; <query>;; COMMIT
	BEGIN READ ONLY;; <query>;; COMMIT
	BEGIN;; DECLARE c <scroll> CURSOR <hold> FOR <query>;; FETCH FROM c;; <alteration>;; FETCH ALL FROM c;; COMMIT;; FETCH BACKWARD ALL FROM c;; CLOSE ALL
	BEGIN;; DECLARE c CURSOR FOR <query>;; FETCH FROM c;; <query>;; <drop>;; FETCH ALL FROM c;; ROLLBACK
	DO $d$ DECLARE r record; BEGIN FOR r IN <query> LOOP EXECUTE <'action>; END LOOP; <query> INTO r; END $d$
	DO $d$ DECLARE r record; BEGIN <query> INTO r; EXECUTE <'action>; <query> INTO r; EXCEPTION WHEN OTHERS THEN <query> INTO r; END $d$
prepared: 1 | 2 | 3 | 4
scroll: . | SCROLL
hold: . | WITH HOLD
isolation: READ COMMITTED | REPEATABLE READ | SERIALIZABLE
query: <write_query> | <read_query>
write_query: SELECT * FROM <store>.<writing> AS r
read_query: SELECT * FROM <store>.<reading> AS r
writing:
	6x snapshot_save(<a_stream>, <number>, <version>, <json>, <given_metadata>, <time>, <replace>)
	snapshot_save_bytea(<a_stream>, <number>, <version>, <bytea>, <given_metadata>, <time>, <replace>)
	snapshot_save_many('{a,c,d}'::text[], ARRAY[<number>, <number>, <number>], ARRAY[<version>, <version>, <version>], ARRAY[<json>, <json>, <json>], NULL, ARRAY[<time>, <time>, <time>], <replace>)
	snapshot_save_many_bytea('{d,a}'::text[], ARRAY[<number>, <number>], ARRAY[<version>, <version>], ARRAY[<bytea>, <bytea>], ARRAY[<given_metadata>, <given_metadata>], ARRAY[<time>, <time>], <replace>)
	snapshot_delete(<a_stream>) | snapshot_delete(<a_stream>, 5, NULL, 0, '-infinity')
	2x snapshot_dictionary_train(<prefix>, <trained>) | snapshot_dictionary_retire((SELECT max(number) FROM <store>.snapshot_dictionaries()))
reading:
	3x snapshot_load(<a_stream>, <versions>) | snapshot_load(<a_stream>, <versions>, <number>, 'infinity')
	2x snapshot_load_bytea(<a_stream>, <versions>) | snapshot_load_many(<streams>, <versions>)
	2x snapshot_load_many_bytea(<streams>, <versions>) | snapshot_info(<a_stream>) | snapshot_due(<a_stream>, <versions>, 100, 1)
	snapshot_should_take(5, 4, 1) | 2x snapshot_census(<prefix>) | snapshot_outdated(<prefix>, <versions>)
	snapshot_outdated(<prefix>, <versions>, 2, <a_stream>) | snapshot_dictionary_estimate(<prefix>, <trained>) | snapshot_dictionaries()
	3x snapshot_load(<kept_stream>, <versions>)
trained: NULL::int8, 100, 1024, 1, 2 | 1::int8, 40, 1024, 3, 1
kept_stream: 'kind-1'::text | 'kind-7'::text
a_stream: 6x 'a'::text | 'b'::text | 'A'::text | 'a1'::text
streams: '{a}'::text[] | '{a,b}'::text[] | '{b,A,a}'::text[]
prefix: 3x ''::text | 'a'::text | 'b'::text | 2x 'kind-'::text
number: 1::int8 | 2::int8 | 3::int8 | 2x 7::int8 | 0::int8 | 9223372036854775807
version: 3x 1::int8 | 2::int8 | 3::int8 | 0::int8 | 4294967295
versions: 2x '{1}'::int8[] | '{2}'::int8[] | '{1,2}'::int8[] | '{1,2,3}'::int8[] | '{0,1}'::int8[] | '{4294967295}'::int8[] | '{}'::int8[]
json: '{}'::json | '[1]'::json | to_json(repeat('x', 3000)) | to_json(repeat(md5('x'), 3000))
given_metadata: 6x NULL::json | 6x '{}'::json | '"\u0000"'::json | '1e200000'::json
replace: 4x true | 3x false | NULL
bytea: '\x00'::bytea | repeat('x', 3000)::bytea
time: 2x '2024-05-06 07:08:09.123456+00'::timestamptz | '2024-05-06 07:08:09.9+00'::timestamptz
batch: 1 | 2 | 1000
setting:
	SET snapshot_store.keep = <keep> | SET snapshot_store.keep_versions = <keep> | SET snapshot_store.durable = off
	SET snapshot_store.access_path = auto | SET snapshot_store.access_path = sql | SET search_path = evil, <store>, pg_catalog
	SET search_path = <store> | SET plan_cache_mode = force_custom_plan | SET row_security = off | SET work_mem = '64kB'
keep: 1 | 2 | 100
