# Measures what a call costs on a running cluster of Citus, all of whose nodes are on this machine: the CPU time, in µs,
# of all sessions that take part, on all nodes. It is that of the best of several rounds, since what else runs on the
# machine only adds to it. doc/citus.md has what it prints.
#
# usage: SNAPSHOT_STORE_CITUS='...' perl -I test/perl test/citus/cost.pl [ROUNDS [CALLS]]
use strict;
use warnings;

use Citus;

my ($rounds, $calls) = (shift // 25, shift // 80);
my $streams = 1000;
my $state = '{"items": [' . join(', ', map { qq({"id": $_, "name": "item $_", "quantity": 1}) } 1 .. 25) . ']}';
my $by_hand = <<'SQL';
INSERT INTO by_hand AS kept VALUES ($1, 1, $2, now(), $3) ON CONFLICT (stream_id) DO UPDATE
SET sequence_number = excluded.sequence_number, created_at = excluded.created_at, state = excluded.state
WHERE kept.sequence_number < excluded.sequence_number
SQL
my %statements = (
	save => 'SELECT snapshot_save($1, $2, 1, $3)',
	load => q{SELECT state FROM snapshot_load($1, '{1}')},
	upsert => $by_hand,
	select => 'SELECT state FROM by_hand WHERE stream_id = $1 AND state_schema_version = 1');
my @order = qw(save load upsert select);
my $sequence_number = 1;
my $plain = 'snapshot_store_cost_plain';

END { local $?; clean_up() }

sub clean_up
{
	drop_database();
	on_postgres("DROP DATABASE IF EXISTS $plain WITH (FORCE)") if @nodes;
	return;
}

sub on_postgres
{
	my $session = Citus::open_session($nodes[0], 'postgres', {});

	$session->do($_) foreach 'SET client_min_messages = warning', 'SET citus.enable_create_database_propagation = off', @_;
	$session->disconnect;
	return;
}

# The store, and a table like it.
sub make_tables
{
	my ($session) = @_;

	$session->do($_) foreach 'SET client_min_messages = warning', 'SET citus.shard_count = 24', 'CREATE EXTENSION snapshot_store',
		'CREATE TABLE by_hand (stream_id text COLLATE "C" PRIMARY KEY, state_schema_version bigint, sequence_number bigint,
			created_at timestamptz, state json)';
	return;
}

sub fill
{
	my ($session) = @_;

	$session->do("SELECT snapshot_save('order-' || n, 0, 1, ?) FROM generate_series(1, $streams) AS n", undef, $state);
	$session->do("INSERT INTO by_hand SELECT 'order-' || n, 1, 0, now(), ? FROM generate_series(1, $streams) AS n", undef, $state);
	return;
}

# A database with both, distributed over the workers, and the coordinator if it is to hold shards.
sub distribute
{
	my ($workers, $coordinator_holds) = @_;

	make_database('snapshot_store_cost', $workers);
	my $session = session(0);
	make_tables($session);
	$session->do(q{SELECT citus_set_node_property(?, ?, 'shouldhaveshards', true)}, undef, @{ $nodes[0] }{qw(host port)})
		if $coordinator_holds;
	$session->do("SELECT create_distributed_table('$_', 'stream_id')") foreach qw(snapshot_store by_hand);
	fill($session);
	$session->disconnect;
	return;
}

sub delegate
{
	my $session = session(0);

	$session->do(q{SELECT create_distributed_function(oid::regprocedure, 'stream_id', colocate_with => 'snapshot_store',
		force_delegation => true) FROM pg_proc WHERE proname = 'snapshot_save'});
	$session->disconnect;
	return;
}

# Streams that are on the node, or not.
sub streams
{
	my ($node, $is_there) = @_;
	my $session = session(0);
	my $streams = $session->selectcol_arrayref("SELECT 'order-' || n FROM generate_series(1, $streams) AS s (n)
		JOIN pg_dist_placement AS p ON p.shardid = get_shard_id_for_distribution_column('by_hand', 'order-' || s.n)
		JOIN pg_dist_node AS n USING (groupid) WHERE (nodeport = ?) = ?", undef, $nodes[$node]{port}, $is_there);

	$session->disconnect;
	return $streams;
}

# The CPU time, in µs, that all sessions have had in these watchers' databases.
sub cpu
{
	my $sum = 0;

	foreach my $watcher (@_)
	{
		my $pids = $watcher->selectcol_arrayref(q{SELECT pid FROM pg_stat_activity WHERE datname = current_database()
			AND backend_type = 'client backend' AND pid <> pg_backend_pid()});

		foreach my $pid (@$pids)
		{
			open my $file, '<', "/proc/$pid/schedstat" or next;
			$sum += (split ' ', <$file>)[0] / 1000;
		}
	}
	return $sum;
}

# What each statement costs by each way. A way has a name, a session, watchers and streams.
sub measure
{
	my @ways = @_;
	my (%prepared, %costs);

	foreach my $way (@ways)
	{
		$prepared{$way}{$_} = $way->{session}->prepare($statements{$_}, { pg_server_prepare => 1 }) foreach @order;
	}
	foreach my $round (0 .. $rounds)
	{
		foreach my $way (@ways)
		{
			my @watchers = @{ $way->{watchers} };
			my @streams = @{ $way->{streams} };

			foreach my $name (@order)
			{
				my $before = cpu(@watchers);

				foreach (1 .. $calls)
				{
					my $stream = $streams[ rand @streams ];

					$prepared{$way}{$name}->execute($stream, $name =~ /save|upsert/ ? ($sequence_number++, $state) : ());
					$prepared{$way}{$name}->finish;
				}
				push @{ $costs{$way}{$name} }, (cpu(@watchers) - $before) / $calls if $round;
			}
		}
	}
	foreach my $way (@ways)
	{
		printf "%-45s %7.0f %7.0f %7.0f %7.0f\n", $way->{name}, map { (sort { $a <=> $b } @$_)[0] } @{ $costs{$way} }{@order};
	}
	return;
}

# A way through a node, to the streams that it has or has not, or to all.
sub way
{
	my ($name, $node, $is_there) = @_;

	return { name => $name, session => session($node), watchers => [ map { session($_) } 0 .. $#nodes ],
		streams => defined $is_there ? streams($node, $is_there) : [ map { "order-$_" } 1 .. $streams ] };
}

printf "%-45s %7s %7s %7s %7s\n", '', @order;

distribute(99, 0);
on_postgres("DROP DATABASE IF EXISTS $plain WITH (FORCE)", "CREATE DATABASE $plain");
my ($single, $watcher) = map { Citus::open_session($nodes[0], $plain, {}) } 1, 2;
make_tables($single);
fill($single);
my $one_server = { name => 'one server', session => $single, watchers => [$watcher], streams => [ map { "order-$_" } 1 .. $streams ] };
my @through = ([ 'through the coordinator', 0, 0 ], [ 'through a worker', 1, 0 ], [ 'on the worker that has it', 1, 1 ]);
measure($one_server, map { way(@$_) } @through);
delegate();
measure(map { way("saves delegated, $_->[0]", @$_[ 1, 2 ]) } @through);

# Through a coordinator that has shards itself.
foreach my $workers (0 .. $#nodes)
{
	distribute($workers, 1);
	delegate();
	measure(way("saves delegated, $workers workers and the coordinator", 0));
}
