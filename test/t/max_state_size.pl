# Who may not set snapshot_store.max_state_size does not get past it either: a value that is given
# before the library is loaded hides the one that holds, and is refused too late to bring that back.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE DATABASE shop;
	ALTER DATABASE shop SET snapshot_store.max_state_size = '1kB';
	CREATE ROLE app LOGIN;
	CREATE ROLE trusted LOGIN;
	GRANT SET ON PARAMETER snapshot_store.max_state_size TO trusted;
	CREATE ROLE wrong LOGIN;
	ALTER ROLE wrong SET snapshot_store.max_state_size = 'plenty';
	CREATE ROLE limited LOGIN;
	ALTER ROLE limited SET snapshot_store.max_state_size = '2kB'});
$node->safe_psql('shop', q{
	CREATE EXTENSION snapshot_store;
	GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO PUBLIC});

# What a role's session says to each statement, with options of its connection: a result or an SQLSTATE and message.
sub answers
{
	my ($role, $options, @statements) = @_;
	my ($stdout, $stderr) = ('', '');
	local $ENV{PGOPTIONS} = join ' ', grep { defined && $_ ne '' } $ENV{PGOPTIONS}, $options;

	$node->psql('shop', join(";\n", @statements), extra_params => [ '-U', $role, '-v', 'VERBOSITY=verbose' ],
		on_error_stop => 0, stdout => \$stdout, stderr => \$stderr);
	my @errors = $stderr =~ /ERROR:\s+(.*)/g;
	return (join(' ', split /\n/, $stdout), @errors);
}

my $small = q{SELECT snapshot_save('small', 1, 1, '1')};
my $large = q{SELECT snapshot_save('large', 1, 1, to_json(repeat('x', 1100)))};
my $too_large = '54000: state is too large';
my $refused = '42501: this session cannot save, since it was refused a value of snapshot_store.max_state_size';

is_deeply([ answers('app', '', $small, $large) ], [ 't', $too_large ], 'the limit of the database holds');

foreach my $value ('0', '2kB', '512', '1kB', '1', 'plenty', '-1', '3000000000')
{
	is_deeply([ answers('app', "-c snapshot_store.max_state_size=$value", $small, $large) ], [ '', $refused, $refused ],
		"a value of the connection by one who may not set it: $value");
}
is_deeply([ answers('app', '', 'SET snapshot_store.max_state_size = 0', $small) ], [ '', $refused ],
	'SET before the library is loaded');
is_deeply([ answers('app', '', 'SET snapshot_store.max_state_size = 0', 'RESET snapshot_store.max_state_size', $small, $large) ],
	[ 't', $too_large ], 'SET and RESET before it');
is_deeply([ answers('app', '', $small, 'SET snapshot_store.max_state_size = 0', $large) ],
	[ 't', '42501: permission denied to set parameter "snapshot_store.max_state_size"', $too_large ],
	'SET after it is refused at once, and the session goes on');
is_deeply([ answers('wrong', '', $small) ], [ '', $refused ], 'a value that cannot be');
is_deeply([ answers('limited', '', $large) ], [ 't' ], 'what a superuser has given the role holds');
is_deeply([ answers('app', '', 'SET snapshot_store.max_state_size = \'1024B\'', $small, $large) ], [ 't', $too_large ],
	'SET before it to the value that holds, in other words, does no harm');
is_deeply([ answers('trusted', '-c snapshot_store.max_state_size=2kB', $large) ], [ 't' ],
	'so does a value of the connection with a unit, by one who may set it');
is_deeply([ answers('trusted', '-c snapshot_store.max_state_size=0', $large) ], [ 't' ],
	'so does a value of the connection by one who may set it');
is_deeply([ answers('app', '-c snapshot_store.max_state_size=0',
		q{SELECT count(*) FROM snapshot_load('large', '{1}')}, q{SELECT snapshot_delete('small')},
		'SET snapshot_store.enabled = off', $small,
		q{SELECT * FROM snapshot_save_many('{a}', '{1}', '{1}', '{1}')}, q{SELECT snapshot_save_bytea('b', 1, 1, '1')}) ],
	[ '1 1 f a|f f' ], 'after a refusal loads and deletions work, and the store that is off says nothing');
is_deeply([ answers('app', '-c snapshot_store.max_state_size=0', $small, q{SELECT snapshot_save_many('{a}', '{1}', '{1}', '{1}')},
		q{SELECT snapshot_save_bytea('b', 1, 1, '1')}) ], [ '', $refused, $refused, $refused ], '... and no save does');

# A function that may set it does not cover up for the session that may not.
$node->safe_psql('shop', q{
	CREATE FUNCTION save_large() RETURNS boolean LANGUAGE sql SECURITY DEFINER SET snapshot_store.max_state_size = '1MB'
		AS $$ SELECT snapshot_save('by function', 1, 1, to_json(repeat('x', 1100))) $$});
is_deeply([ answers('app', '', 'SELECT save_large()', $large) ], [ 't', $too_large ], 'a function that may set it');
is_deeply([ answers('app', '-c snapshot_store.max_state_size=0', 'SELECT save_large()', $large) ], [ '', $refused, $refused ],
	'... in a session that was refused a value');

# What was in postgresql.conf and was taken away again
$node->append_conf('postgresql.conf', "snapshot_store.max_state_size = '4kB'");
$node->reload;
is_deeply([ answers('trusted', '', 'SHOW snapshot_store.max_state_size', $large, 'SHOW snapshot_store.max_state_size') ],
	[ '1kB 1kB', $too_large ],
	'the value of the database before that of postgresql.conf');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION snapshot_store; GRANT ALL ON snapshot_store TO PUBLIC');
$node->adjust_conf('postgresql.conf', 'snapshot_store.max_state_size', undef);
$node->reload;
$node->poll_query_until('postgres', q{SELECT coalesce(current_setting('snapshot_store.max_state_size', true), '') = ''});
is($node->safe_psql('other', $large, extra_params => [ '-U', 'app' ]), 't', 'a value that was taken from postgresql.conf again');
is($node->safe_psql('other', "BEGIN; SET snapshot_store.max_state_size = 1; ROLLBACK; $large", extra_params => [ '-U', 'app' ]), 't',
	'a value that was rolled back');

my ($stdout, $stderr);
$node->psql('shop', $small, extra_params => [ '-U', 'app' ], stderr => \$stderr,
	connstr => $node->connstr('shop') . " options='-c snapshot_store.max_state_size=0'");
like($stderr, qr/DETAIL:  The value "0" .*\n.*HINT:  Connect again without it/, 'it says which value, and what to do');

# A library that is loaded before the session begins knows who may set what.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'snapshot_store'");
$node->restart;
is_deeply([ answers('app', '', $small, $large) ], [ 't', $too_large ], 'preloaded: the limit of the database holds');
$node->psql('shop', $small, extra_params => [ '-U', 'app' ], stderr => \$stderr,
	connstr => $node->connstr('shop') . " options='-c snapshot_store.max_state_size=0'");
like($stderr, qr/FATAL:.*permission denied to set parameter "snapshot_store.max_state_size"/,
	'preloaded: a value of the connection is refused at once');
$node->append_conf('postgresql.conf', "snapshot_store.max_state_size = '3GB'");
$node->restart;
$node->adjust_conf('postgresql.conf', 'snapshot_store.max_state_size', "'1GB'");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('snapshot_store.max_state_size') = '1GB'});
is($node->safe_psql('other', $large, extra_params => [ '-U', 'app' ]), 't', 'preloaded: a wrong value that was corrected since');

$node->stop;
done_testing();
