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
		q{SELECT snapshot_save_many('{a}', '{1}', '{1}', '{1}')}, q{SELECT snapshot_save_bytea('b', 1, 1, '1')}) ],
	[ '1 1', $refused, $refused, $refused ], 'after a refusal loads and deletions work, and no save does');

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

$node->stop;
done_testing();
