# What snapshot_stats counts, and for how long: over sessions, exactly when many count at once, until
# the server stops. Before 17 that needs shared_preload_libraries; without, a session has its own.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'snapshot_store'") if $node->pg_version < 17;
$node->start;
my @databases = qw(shop other);
for my $database (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION snapshot_store');
}

# What the database has counted of these columns, added up over the kinds.
sub counted
{
	my ($database, @columns) = @_;
	my $sums = join ', ', map { "sum($_)" } @columns;
	return $node->safe_psql('shop', "SELECT $sums FROM snapshot_stats WHERE datname = '$database'");
}

# Over sessions

is($node->safe_psql('shop', 'SELECT count(*) FROM snapshot_stats'), '0', 'at first, nothing');
$node->safe_psql('shop', "SELECT snapshot_save('order-1', 1, 1, '1')");
$node->safe_psql('shop', "SELECT FROM snapshot_load('order-1', '{1}')") for 1 .. 3;
is($node->safe_psql('shop', 'SELECT kind, scope, saves_stored, loads_found FROM snapshot_stats'), 'order|server|1|3',
	'sessions that have ended are counted');
$node->safe_psql('other', "SELECT FROM snapshot_load('secret-1', '{1}')");
is($node->safe_psql('shop', "SELECT datname, kind, loads_not_found FROM snapshot_stats WHERE datname <> 'shop'"), 'other||1',
	'another database is one row, without kinds');

# Exactly: 16 clients at once, of which each saves, loads what is there and what is not, and rolls back.

$node->safe_psql('shop', 'SELECT snapshot_stats_reset()');
my ($clients, $rounds) = (16, 50);
my $script = $node->basedir . '/mixed.sql';
append_to_file($script, <<'END');
\set n random(1, 3)
SELECT snapshot_save('order-' || :client_id, :client_id, 1, '12345');
SELECT count(*) FROM snapshot_load('order-' || :client_id, '{1}');
SELECT count(*) FROM snapshot_load('order-' || :client_id, '{2}');
SELECT count(*) FROM snapshot_load('kind' || :n || '-none', '{1}');
BEGIN;
SELECT snapshot_save('order-shared', 1, 1, '12345');
ROLLBACK;
END
$node->command_ok([ 'pgbench', '-n', '-c', $clients, '-t', $rounds, '-f', $script, 'shop' ], "$clients clients");
my $calls = $clients * $rounds;
is(counted('shop', qw(saves_stored bytes_saved loads_found bytes_loaded loads_unrecognized loads_not_found saves_rolled_back)),
	join('|', $calls, 5 * $calls, $calls, 5 * $calls, $calls, $calls, $calls), 'each call is counted once');
is(counted('other', 'loads_not_found'), '1', 'and another database is not concerned by a reset');
my ($since, $now) = split /\|/, $node->safe_psql('shop', 'SELECT extract(epoch FROM min(stats_since)), extract(epoch FROM now()) FROM snapshot_stats');
cmp_ok($since, '<=', $now, 'a reset is dated');

# A session that is terminated, in the middle of a transaction

my $session = $node->background_psql('shop');
$session->query_safe("SELECT FROM snapshot_load('order-1', '{1}'); BEGIN; SELECT snapshot_save('order-1', 2, 1, '1')");
my $rolled_back = counted('shop', 'saves_rolled_back');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)");
is(counted('shop', 'saves_rolled_back'), $rolled_back + 1, 'what it had stored was rolled back');
is(counted('shop', 'loads_found'), $calls + 1, 'and nothing is lost');
eval { $session->quit };

# Two versions of an application that erase each other's snapshots: before anything else, the loads say so.

$node->safe_psql('shop', 'SELECT snapshot_stats_reset()');
for my $command (1 .. 20)
{
	my $version = 1 + $command % 2;
	$node->safe_psql('shop', "SELECT FROM snapshot_load('cart-1', '{$version}');
		SELECT snapshot_save('cart-1', $command, $version, '1')");
}
is(counted('shop', qw(loads_found loads_not_found loads_unrecognized saves_stored)), '0|1|19|20',
	'with keep_versions = 1 hardly any load finds one');
$node->safe_psql('shop', 'ALTER DATABASE shop SET snapshot_store.keep_versions = 2');
$node->safe_psql('shop', 'SELECT snapshot_stats_reset()');
for my $command (21 .. 40)
{
	my $version = 1 + $command % 2;
	$node->safe_psql('shop', "SELECT FROM snapshot_load('cart-1', '{$version}');
		SELECT snapshot_save('cart-1', $command, $version, '1')");
}
is(counted('shop', qw(loads_found loads_unrecognized saves_stored)), '19|1|20', 'with 2, all but the first');

# A dropped database is gone, and a stop of the server ends it all

$node->safe_psql('postgres', 'DROP DATABASE other');
is($node->safe_psql('shop', "SELECT count(*) FROM snapshot_stats WHERE datname <> 'shop'"), '0', 'a dropped database is not shown');

# More kinds than a server has places for, in databases that come and go. Whoever looks gives the places
# of those that are gone to others, also to a database that gets the number of one of them.
sub load_100_kinds
{
	my ($database, %options) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE shop" . ($options{oid} ? " OID $options{oid}" : ''));
	$node->safe_psql($database, "SELECT FROM generate_series(1, 100) AS n, snapshot_load('kind' || n || '-1', '{1}')");
	return $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = '$database'");
}
my $oid;
for my $n (1 .. 11)
{
	$oid = load_100_kinds('transient');
	$node->safe_psql('postgres', 'DROP DATABASE transient');
}
my $shown = counted('shop', 'loads_unrecognized');
load_100_kinds('lasting');
is($node->safe_psql('lasting', "SELECT count(kind), sum(loads_not_found) FROM snapshot_stats WHERE datname = 'lasting'"),
	'100|100', 'the kinds of dropped databases make room for others');
load_100_kinds('again', oid => $oid);
is($node->safe_psql('again', "SELECT count(kind), sum(loads_not_found) FROM snapshot_stats WHERE datname = 'again'"),
	'100|100', 'and are not those of a new database with the number of a dropped one');
is(counted('shop', 'loads_unrecognized'), $shown, 'the other kinds stay');
$node->restart;
is($node->safe_psql('shop', 'SELECT count(*) FROM snapshot_stats'), '0', 'after a restart all begins anew');

# Before 17, without shared_preload_libraries

SKIP:
{
	skip 'the server shares memory without preloading', 2 if $node->pg_version >= 17;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$node->restart;
	my $count = "SELECT kind, scope, loads_not_found FROM snapshot_stats";
	is($node->safe_psql('shop', "SELECT FROM snapshot_load('order-x', '{1}'); $count"), 'order|session|1', 'a session counts for itself');
	is($node->safe_psql('shop', $count), '', 'and another does not see it');
}

$node->stop;
done_testing();
