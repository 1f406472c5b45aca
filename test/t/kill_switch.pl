# The kill switch, snapshot_store.enabled: whom it reaches and when, which
# setting overrides which, and who may set it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE owner LOGIN;
	CREATE ROLE app LOGIN;
	CREATE DATABASE shop OWNER owner;
});
$node->safe_psql('shop', q{
	CREATE EXTENSION snapshot_store;
	GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app, owner;
	SELECT snapshot_save_many(ARRAY['kept', 'reset'], ARRAY[10, 10], ARRAY[1, 1], ARRAY['"kept"', '"reset"']::json[]);
});

# A setting of an extension is known to a session once that has loaded the
# library: by LOAD, for a superuser, or by a call of any of the functions.
my $load = 'SELECT snapshot_should_take(1, 0, 1);';

# What an application would do; a save, also if it is not stored, costs no
# error.
my $calls = q{SELECT snapshot_save('kept', 11, 1, '"later"'),
	snapshot_save_bytea('other', 1, 1, ''),
	(SELECT array_agg(stored) FROM snapshot_save_many(ARRAY['other', 'kept'], ARRAY[1, 11], ARRAY[1, 1], ARRAY['1', '"later"']::json[])),
	(SELECT state FROM snapshot_load('kept', ARRAY[1])),
	(SELECT count(*) FROM snapshot_load_bytea('kept', ARRAY[1])),
	(SELECT count(*) FROM snapshot_load_many(ARRAY['kept', 'reset'], ARRAY[1])),
	snapshot_due('other', ARRAY[1], 1000, 1)};
my $off = 'f|f|{f,f}||0|0|f';

# ALTER SYSTEM reaches running sessions

my ($ret, $stdout, $stderr) = $node->psql('postgres', 'ALTER SYSTEM SET snapshot_store.enabled = off');
if ($node->pg_version < 17)
{
	like($stderr, qr/unrecognized configuration parameter "snapshot_store.enabled"/,
		'ALTER SYSTEM does not know the setting before the library is loaded');
}
else
{
	pass('ALTER SYSTEM may know the setting before the library is loaded');
}

my %session = map { $_ => $node->background_psql('shop', extra_params => [ '-U', 'app' ]) }
	qw(calls fresh sets block);
is($session{calls}->query_safe(q{SELECT state FROM snapshot_load('kept', ARRAY[1])}), '"kept"', 'a session that has called a function');
is($session{sets}->query_safe("SET snapshot_store.enabled = on; SHOW snapshot_store.enabled"), 'on', 'one that has set it itself');
is($session{block}->query_safe(q{BEGIN; SELECT snapshot_save('block', 1, 1, '1')}), 't', 'one inside a transaction block');
is($session{fresh}->query_safe('SELECT 1'), '1', 'and one that has done nothing yet');

$node->safe_psql('postgres', "LOAD 'snapshot_store'; ALTER SYSTEM SET snapshot_store.enabled = off");
is($session{calls}->query_safe('SHOW snapshot_store.enabled'), 'on', 'ALTER SYSTEM alone changes nothing');
$node->reload;
is(shown_within_time($session{calls}, 'off'), 'off', 'with a reload it reaches the running session');
is($session{calls}->query_safe($calls), $off, '... whose calls do nothing and raise no error');
is(shown_within_time($session{fresh}, 'off'), 'off', 'it reaches the one that has not loaded the library');
is($session{fresh}->query_safe($calls), $off, '... likewise');
is(shown_within_time($session{block}, 'off'), 'off', 'it reaches the one inside a transaction block');
is($session{block}->query_safe(q{SELECT snapshot_save('block', 2, 1, '2')}), 'f', '... whose next save is not stored');
is($session{block}->query_safe(q{COMMIT; SELECT count(*) FROM snapshot_info('block')}), '1', '... while the one before is');
is($session{sets}->query_safe(q{SELECT snapshot_save('sets', 1, 1, '1')}), 't', 'it does not reach the one that has set it itself');
is($session{sets}->query_safe(q{RESET snapshot_store.enabled; SELECT snapshot_save('sets', 2, 1, '2')}), 'f', '... until that is reset');
is($node->safe_psql('shop', $calls), $off, 'a new session is off, too');

# Who counts the events since what was loaded, which is nothing, takes snapshots in vain; who asks for what
# is due does not.  Of a new stream, with one due every 100 events: how many in 200 commands.
foreach ([ 'snapshot_should_take(event, (SELECT sequence_number FROM loaded), 100)', 101 ],
	[ q{snapshot_due('new', '{1}', event, 100)}, 0 ])
{
	my ($is_due, $taken) = @$_;

	is($session{calls}->query_safe(qq{
			SELECT count(stored), count(*) FILTER (WHERE stored)
			FROM generate_series(1, 200) AS event CROSS JOIN LATERAL (
				WITH loaded AS (SELECT * FROM snapshot_load('new', '{1}'))
				SELECT CASE WHEN $is_due THEN snapshot_save('new', event, 1, '{}') END AS stored) AS s}),
		"$taken|0", "with $is_due it takes $taken snapshots in 200 commands, none of which is stored");
}

is($session{calls}->query_safe(q{SELECT snapshot_delete('reset')}), '1', 'a deletion works while the store is off');
is($session{calls}->query_safe('SELECT snapshots FROM snapshot_census()'), '3', '... and so does a census');
($ret, $stdout, $stderr) = $node->psql('shop', q{CALL snapshot_purge('sets', max_created_at => 'infinity')});
is("$ret $stdout", '0 1', '... and a purge');

$node->safe_psql('postgres', "LOAD 'snapshot_store'; ALTER SYSTEM RESET snapshot_store.enabled");
$node->reload;
foreach my $name (qw(calls fresh block))
{
	is(shown_within_time($session{$name}, 'on'), 'on', "on again: session $name");
	is($session{$name}->query_safe(q{SELECT sequence_number, state FROM snapshot_load('kept', ARRAY[1])}), '10|"kept"',
		'... and the kept snapshot is back');
}
is($session{calls}->query_safe(q{SELECT count(*) FROM snapshot_load('reset', ARRAY[1])}), '0', 'a deleted one is not');
is($session{calls}->query_safe(q{SELECT snapshot_save('kept', 12, 1, '"on again"')}), 't', 'a save is stored');

# ALTER DATABASE and ALTER ROLE reach later sessions

foreach my $where ('DATABASE shop', 'ROLE app', 'ROLE app IN DATABASE shop', 'ROLE ALL')
{
	$node->safe_psql('shop', "$load ALTER $where SET snapshot_store.enabled = off");
	is($session{calls}->query_safe('SHOW snapshot_store.enabled'), 'on', "ALTER $where does not reach a running session");
	is(as_app($calls), $off, '... but a later one');
	$node->safe_psql('shop', "ALTER $where RESET snapshot_store.enabled");
	is(as_app(q{SELECT state FROM snapshot_load('kept', ARRAY[1])}), '"on again"', '... and when it is reset, the next one is on');
}
$_->quit foreach values %session;

# What overrides what: of these, each overrides those before it.

my @places = (
	[ 'ALTER SYSTEM', 'ALTER SYSTEM SET snapshot_store.enabled = %s', 'ALTER SYSTEM RESET snapshot_store.enabled' ],
	map({ [ "ALTER $_", "ALTER $_ SET snapshot_store.enabled = %s", "ALTER $_ RESET snapshot_store.enabled" ] }
		'ROLE ALL', 'DATABASE shop', 'ROLE app', 'ROLE app IN DATABASE shop'),
	[ "the client's options" ], [ 'SET in the session' ]);

foreach my $i (0 .. $#places)
{
	foreach my $j ($i + 1 .. $#places)
	{
		set($i, 'on');
		set($j, 'off');
		is(effective($i => 'on', $j => 'off'), 'off f', "$places[$j][0] overrides $places[$i][0]: off over on");
		set($i, 'off');
		set($j, 'on');
		is(effective($i => 'off', $j => 'on'), 'on t', '... and on over off');
		set($i);
		set($j);
	}
}
is(effective(), 'on t', 'set nowhere, it is on');

# Somebody nearer keeps ALTER SYSTEM from reaching a session that runs.
$node->safe_psql('shop', "$load ALTER DATABASE shop SET snapshot_store.enabled = on");
my $session = $node->background_psql('shop');
my $other = $node->background_psql('postgres');
is($session->query_safe('SHOW snapshot_store.enabled'), 'on', 'a session of a database that is set on');
set(0, 'off');
is(shown_within_time($other, 'off'), 'off', 'ALTER SYSTEM reaches those of other databases');
is($session->query_safe('SHOW snapshot_store.enabled'), 'on', '... and not that one');
is($session->query_safe(q{SELECT snapshot_should_take(1, 0, 1)}), 't', '... nor when it loads the library');
is($session->query_safe(q{SELECT source, setting FROM pg_settings WHERE name = 'snapshot_store.enabled'}), 'database|on',
	'pg_settings tells where a session has it from');
$session->quit;
$other->quit;
set(0);
$node->safe_psql('shop', "ALTER DATABASE shop RESET snapshot_store.enabled");

# Who may set it.  A database's owner may, in a session that has loaded the
# library; before that, the server cannot know that anyone may.

my $set = 'ALTER DATABASE shop SET snapshot_store.enabled = off';
is(error_of('owner', $set), 'permission denied to set parameter "snapshot_store.enabled"',
	"a database's owner may not set it for the database before the library is loaded");
is(error_of('owner', "$load $set"), '', '... but after a call of any of the functions');
is(as_app($calls), $off, '... and it holds for later sessions, which load the library when they call');
is(error_of('owner', 'ALTER DATABASE shop RESET snapshot_store.enabled'), 'permission denied to set parameter "snapshot_store.enabled"',
	'to reset it, too, the library must be loaded');
is(error_of('owner', "$load ALTER DATABASE shop RESET snapshot_store.enabled"), '', '... and then the owner may');
is(error_of('app', "$load $set"), 'must be owner of database shop', 'others may not at all');
is(error_of('app', 'ALTER ROLE app SET snapshot_store.keep = 2'), 'permission denied to set parameter "snapshot_store.keep"',
	'it is the same with a role that sets it for itself');
is(error_of('app', "$load ALTER ROLE app SET snapshot_store.keep = 2"), '', '... with the library it may');
is(as_app('SHOW snapshot_store.keep'), '2', '... for its later sessions');
is(error_of('app', "$load ALTER ROLE app RESET snapshot_store.keep"), '', '... and reset it');
like(error_of('owner', "$load ALTER SYSTEM SET snapshot_store.enabled = off"), qr/^permission denied to set parameter/,
	'ALTER SYSTEM is for superusers');
like(error_of('owner', "$load ALTER DATABASE shop SET snapshot_store.max_state_size = 10"),
	qr/^permission denied to set parameter "snapshot_store.max_state_size"/, 'max_state_size is for superusers');

$node->safe_psql('shop', 'GRANT SET ON PARAMETER snapshot_store.enabled TO owner');
is(error_of('owner', $set), '', 'with GRANT SET ON PARAMETER the owner need not load the library');
is(as_app('SHOW snapshot_store.enabled'), 'off', '... and it holds');
is(error_of('owner', 'ALTER DATABASE shop RESET snapshot_store.enabled'), '', '... and can be reset');
$node->safe_psql('shop', 'REVOKE SET ON PARAMETER snapshot_store.enabled FROM owner');

$node->safe_psql('shop', 'ALTER ROLE owner SET session_preload_libraries = snapshot_store');
is(error_of('owner', $set), '', 'nor with the library in session_preload_libraries');
is(error_of('owner', 'ALTER DATABASE shop RESET snapshot_store.enabled'), '', '... to reset it neither');
$node->safe_psql('shop', 'ALTER ROLE owner RESET session_preload_libraries');

# A superuser may set it at once.  What is wrong about the value then shows
# only in the sessions that load the library.
is(error_of(undef, $set), '', 'a superuser need not load the library for ALTER DATABASE');
is(as_app($calls), $off, '... and it holds');
is(error_of(undef, "LOAD 'snapshot_store'; ALTER DATABASE shop SET snapshot_store.enabled = never"),
	'parameter "snapshot_store.enabled" requires a Boolean value', 'with the library, a value that is none is refused');
is(error_of(undef, 'ALTER DATABASE shop SET snapshot_store.enabled = never'), '', 'without it, it is taken');
($ret, $stdout, $stderr) = $node->psql('shop', q{SELECT snapshot_save('kept', 20, 1, '"never"')}, extra_params => [ '-U', 'app' ]);
is($stdout, 't', '... and the store stays on');
like($stderr, qr/WARNING: .*"snapshot_store.enabled"/, '... with a warning');
$node->safe_psql('shop', 'ALTER DATABASE shop RESET snapshot_store.enabled');

$node->stop;
done_testing();

# Set it in the places that outlive a session, or reset it.
sub set
{
	my ($place, $value) = @_;
	my (undef, $set, $reset) = @{ $places[$place] };

	return unless defined $set;
	$node->safe_psql('shop', "LOAD 'snapshot_store'; " . (defined $value ? sprintf $set, $value : $reset));
	return if $place > 0;
	my $before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$node->reload;
	$node->poll_query_until('postgres', "SELECT pg_conf_load_time() > '$before'");	# in a new session
}

# What a new session of the application shows, and whether it saves.
sub effective
{
	my %value = @_;
	my $options = $ENV{PGOPTIONS} // '';
	my $script = '';

	# The last two of the places.
	local $ENV{PGOPTIONS} = $options;
	$ENV{PGOPTIONS} .= " -c snapshot_store.enabled=$value{5}" if defined $value{5};
	$script = "SET snapshot_store.enabled = $value{6};" if defined $value{6};
	my (undef, $shown) = $node->psql('shop', $script . q{
		SELECT snapshot_save('effective', 1, 1, '1') AS stored, current_setting('snapshot_store.enabled') AS shown \gset
		\echo :shown :stored}, extra_params => [ '-U', 'app' ], on_error_die => 1);
	return $shown;
}

sub as_app
{
	my ($query) = @_;
	my ($ret, $stdout) = $node->psql('shop', "$load $query", extra_params => [ '-U', 'app' ], on_error_die => 1);
	$stdout =~ s/^t\n//;
	return $stdout;
}

# The first error of a script, or nothing; without a role, as the superuser.
sub error_of
{
	my ($role, $script) = @_;
	my ($ret, $stdout, $stderr) = $node->psql('shop', $script, extra_params => [ $role ? ('-U', $role) : () ]);
	return $stderr =~ /(?:ERROR|FATAL):  (.*)/ ? $1 : '';
}

# What a session shows, as soon as that is the expected value.
sub shown_within_time
{
	my ($session, $expected) = @_;
	my $shown;

	foreach (1 .. 100)
	{
		$shown = $session->query_safe('SHOW snapshot_store.enabled');
		last if $shown eq $expected;
		select undef, undef, undef, 0.1;
	}
	return $shown;
}
