# What was acknowledged survives the death of any node of a cluster of Citus, and the moves of shards, under load.
#
# Writers save, save in transactions over several workers, save batches, also by INSERT ... SELECT, and delete, through
# the coordinator and through workers, while a node gets SIGKILL, all of its processes at once, and is started again.
# The nodes do not flush their commits of their own accord, and the WAL writer sleeps; lest what flushes anyway, such as
# PREPARE TRANSACTION, hide a flush that is missing, every other time there are only saves of one stream that are not
# delegated, through the coordinator.  Each writer knows what its streams may hold: what was
# acknowledged last, and what failed since then, of which a transaction is there whole or not at all.
#
# SNAPSHOT_STORE_LONG makes it 40 deaths instead of 4, SEED repeats which nodes die.
use strict;
use warnings;

use Citus;
use DBI;
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $deaths = $ENV{SNAPSHOT_STORE_LONG} ? 40 : 4;
my $writers = 6;
my $streams = 12;    # of each writer
my $seed = $ENV{SEED} // int rand 2**31;
srand $seed;
note "SEED=$seed";

# ---- processes ---------------------------------------------------------------------------

sub content
{
	my ($path) = @_;
	open my $file, '<', $path or return '';
	return do { local $/; <$file> } // '';
}

# A node's postmaster, and how it was started.
sub postmaster_of
{
	my ($node) = @_;
	my ($pid, $data) = @{ session($node)->selectcol_arrayref(q{SELECT unnest(ARRAY[split_part(pg_read_file('postmaster.pid'), E'\n', 1),
		current_setting('data_directory')])}) };

	return unless (readlink "/proc/$pid/cwd" // '') eq $data && kill 0, $pid;
	my @owner = (stat "/proc/$pid")[ 4, 5 ];
	return { pid => $pid, exe => readlink "/proc/$pid/exe", data => $data, uid => $owner[0], gid => $owner[1],
		log => readlink "/proc/$pid/fd/2", command => [ split /\0/, content("/proc/$pid/cmdline") ],
		environment => { map { /^([^=]+)=(.*)/s ? ($1 => $2) : () } split /\0/, content("/proc/$pid/environ") } };
}

sub parent_of { return content("/proc/$_[0]/stat") =~ /\) \S (\d+) / ? $1 : 0 }

# SIGKILL for all processes of a node.
sub kill_node
{
	my ($postmaster) = @_;
	my $pid = $postmaster->{pid};

	kill 'STOP', $pid;
	sleep 0.05;
	my @all = ($pid, grep { parent_of($_) == $pid } map { m{/(\d+)$} } glob '/proc/[0-9]*');
	kill 'KILL', @all;
	my $until = time + 60;
	while (grep { content("/proc/$_/stat") =~ /\) [^ZX] / } @all)
	{
		die "they do not die\n" if time > $until;
		sleep 0.01;
	}
	waitpid $pid, 0;    # one that was started here

	# One that nobody has waited for would seem to own these still.
	my ($port, $sockets) = (split /\n/, content("$postmaster->{data}/postmaster.pid"))[ 3, 4 ];
	unlink "$postmaster->{data}/postmaster.pid", map { ("$sockets/.s.PGSQL.$port$_") } '', '.lock';
	return;
}

sub start_node
{
	my ($postmaster, $node) = @_;

	if (!fork)
	{
		POSIX::setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $postmaster->{log} =~ m{^/} ? $postmaster->{log} : '/dev/null';
		open STDERR, '>&', \*STDOUT;
		$( = $) = $postmaster->{gid};
		$< = $> = $postmaster->{uid};
		%ENV = %{ $postmaster->{environment} };
		chdir '/';
		exec { $postmaster->{exe} } @{ $postmaster->{command} } or POSIX::_exit(1);
	}
	my $until = time + 60;
	while (1)
	{
		my $session = eval { session($node) };
		return $session->disconnect if $session;
		die "node $node does not come back\n" if time > $until;
		sleep 0.1;
	}
}

# ---- writers -----------------------------------------------------------------------------

# One writer, until it reads from $stop: prints as JSON what its streams may hold, and the transactions whose outcome it
# does not know.
sub write_until
{
	my ($writer, $sort, $stop, $out) = @_;
	my %may_hold = map { ("w$writer-$_" => ['']) } 1 .. $streams;
	my %last;    # the number of a stream's last change
	my (@in_doubt, $session);
	my $number = 0;
	my %count = (acknowledged => 0, failed => 0);

	srand $seed + $writer + $$;
	while (!IO::Select->new($stop)->can_read(0))
	{
		$session //= eval { session($sort eq 'everything' ? int rand @nodes : 0) } or do { sleep 0.05; next };
		$session->{PrintWarn} = 0;
		$number++;
		my @chosen = (map { "w$writer-$_" } sort { rand() <=> 0.5 } 1 .. $streams)[ 0 .. ($sort eq 'one' ? 0 : rand 5) ];
		my $list = join ',', sort @chosen;
		my $same = sub { '{' . join(',', ($_[0]) x @chosen) . '}' };
		my $kind = $sort eq 'one' ? 2 : int rand 6;
		my $value = $number;
		my @commands =
		    $kind == 0 ? "SELECT snapshot_save_many('{$list}', '" . $same->($number) . "', '" . $same->(1) . "', '" . $same->($number) . "')"
		  : $kind == 1 ? ('BEGIN', (map { "SELECT snapshot_save('$_', $number, 1, '$number')" } sort @chosen), 'COMMIT')
		  : $kind == 2 ? "INSERT INTO done SELECT snapshot_save(id, $number, 1, '$number') FROM unnest('{$list}'::text[]) AS id"
		  : "SELECT snapshot_save('$chosen[0]', $number, 1, '$number')";

		@chosen = $chosen[0] if $kind > 2;
		if ($kind == 5)
		{
			@commands = "SELECT snapshot_delete('$chosen[0]')";
			$value = '';
		}
		unshift @commands, 'CREATE TEMPORARY TABLE IF NOT EXISTS done (stored boolean)' if $kind == 2;
		my $begun = time;
		my $done = eval { $session->do($_) foreach @commands; 1 };

		$count{$done ? 'acknowledged' : 'failed'}++;
		$count{longest} = time - $begun if $done && time - $begun > ($count{longest} // 0);
		$last{$_} = $number foreach @chosen;
		if ($done)
		{
			$may_hold{$_} = [$value] foreach @chosen;
		}
		else
		{
			push @{ $may_hold{$_} }, $value foreach @chosen;
			push @in_doubt, { number => $number, value => $value, streams => [@chosen] };
			eval { $session->disconnect };
			undef $session;
		}
	}
	@in_doubt = grep { my $doubt = $_; !grep { $last{$_} != $doubt->{number} } @{ $doubt->{streams} } } @in_doubt;
	print $out encode_json({ may_hold => \%may_hold, in_doubt => \@in_doubt, count => \%count });
	close $out;
	return;
}

sub start_writers
{
	my ($sort) = @_;
	my @started;

	foreach my $writer (1 .. $writers)
	{
		pipe my $stop, my $stopper or die;
		pipe my $in, my $out or die;
		my $pid = fork // die;
		if (!$pid)
		{
			close $_ foreach $stopper, $in, map { $_->{stopper} } @started;
			open STDERR, '>', '/dev/null';
			write_until($writer, $sort, $stop, $out);
			POSIX::_exit(0);
		}
		close $_ foreach $stop, $out;
		push @started, { pid => $pid, stopper => $stopper, in => $in };
	}
	return @started;
}

sub stop_writers
{
	my @results;

	close $_->{stopper} foreach @_;
	foreach my $writer (@_)
	{
		push @results, decode_json(do { local $/; readline $writer->{in} });
		waitpid $writer->{pid}, 0;
	}
	return @results;
}

# ---- the test ----------------------------------------------------------------------------

require IO::Select;
make_database('snapshot_store_test');
my $main = $$;
my $reconfigured;
END
{
	local $?;
	if ($main && $$ == $main)
	{
		reconfigure('RESET') if $reconfigured;
		drop_database();
	}
}

# The WAL writer of all nodes.
sub reconfigure
{
	my ($command) = @_;

	foreach my $node (0 .. $#nodes)
	{
		my $session = session($node);
		$session->do("ALTER SYSTEM $_") foreach $command eq 'RESET' ? map({ "RESET $_" } qw(wal_writer_delay wal_writer_flush_after)) :
		  (q{SET wal_writer_delay = '10s'}, q{SET wal_writer_flush_after = '1TB'});
		$session->do('SELECT pg_reload_conf()');
		$session->disconnect;
	}
	return;
}

{
	my $coordinator = session(0);
	$coordinator->do('SET client_min_messages = warning');
	$coordinator->do('SET citus.shard_count = 12');
	$coordinator->do($_) foreach 'CREATE EXTENSION snapshot_store', q{SELECT create_distributed_table('snapshot_store', 'stream_id')},
	  q{SELECT create_distributed_function(oid::regprocedure, 'stream_id', colocate_with => 'snapshot_store', force_delegation => true)
		FROM pg_proc WHERE proname IN ('snapshot_save', 'snapshot_delete')},
	  q{ALTER DATABASE snapshot_store_test SET synchronous_commit = off},
	  q{ALTER DATABASE snapshot_store_test SET client_min_messages = error};
	$coordinator->disconnect;
}
my @postmasters = map { postmaster_of($_) } 0 .. $#nodes;
if (@postmasters < @nodes)
{
	plan skip_all => 'the nodes are not on this machine, or another user\'s';
}

my %sum;

# What streams hold that they may not, and transactions of which there is a part.
sub compare
{
	my (@results) = @_;
	my %held = map { @$_ } @{ session(0)->selectall_arrayref('SELECT stream_id, state::text FROM snapshot_store') };
	my (@wrong, @torn);

	foreach my $result (@results)
	{
		my $may_hold = $result->{may_hold};
		foreach my $stream (sort keys %$may_hold)
		{
			my $is = $held{$stream} // '';
			push @wrong, "$stream holds '$is', not " . join ' or ', map { "'$_'" } @{ $may_hold->{$stream} }
			  unless grep { $_ eq $is } @{ $may_hold->{$stream} };
		}
		foreach my $doubt (@{ $result->{in_doubt} })
		{
			my $there = grep { ($held{$_} // '') eq $doubt->{value} } @{ $doubt->{streams} };
			push @torn, "$doubt->{number} of @{ $doubt->{streams} }" if $there && $there < @{ $doubt->{streams} };
		}
		$sum{$_} += $result->{count}{$_} foreach qw(acknowledged failed);
		$sum{longest} = $result->{count}{longest} if $result->{count}{longest} > ($sum{longest} // 0);
	}
	return (join("\n", @wrong), join("\n", @torn));
}

$reconfigured = 1;
reconfigure('SET');
foreach my $death (1 .. $deaths)
{
	my $sort = $death % 2 == 0 ? 'one' : 'everything';
	my $node = $death == 1 ? 0 : 1 + int rand $#nodes;
	my $postmaster = postmaster_of($node);

	session(0)->do('TRUNCATE snapshot_store');
	my @writers = start_writers($sort);
	sleep 2 + rand 2;
	my @results;
	kill_node($postmaster);
	@results = stop_writers(@writers) if $sort eq 'one';    # what follows would hide what is lost
	sleep 1 + rand;
	start_node($postmaster, $node);
	sleep 2;
	@results = stop_writers(@writers) unless @results;

	my $until = time + 120;
	while (grep { one('SELECT count(*) FROM pg_prepared_xacts', $_) > 0 } 0 .. $#nodes)
	{
		last if time > $until;
		sleep 0.2;
	}
	my ($wrong, $torn) = compare(@results);
	my $what = $node == 0 ? 'the coordinator' : "worker $node";
	is($wrong, '', "death $death, of $what: each stream holds what was acknowledged last, or failed since");
	is($torn, '', '... and what failed is there whole, or not at all');
	is(join(' ', map { one('SELECT count(*) FROM pg_prepared_xacts', $_) } 0 .. $#nodes), join(' ', (0) x @nodes), '... and nothing is in doubt');
}

# Shards move under load: all of one worker's away, and some back to it.
{
	my ($host, $port) = @{ $nodes[-1] }{qw(host port)};
	my $mover = session(0);
	my $there = "SELECT count(*) FROM pg_dist_placement JOIN pg_dist_node USING (groupid) WHERE nodeport = $port";
	my @moved;

	my @writers = start_writers('everything');
	sleep 1;
	$mover->do("SELECT citus_drain_node('$host', $port)");
	push @moved, result($mover, $there);
	$mover->do("SELECT citus_set_node_property('$host', $port, 'shouldhaveshards', true)");
	$mover->do(q{SELECT rebalance_table_shards('snapshot_store')});
	push @moved, result($mover, $there);
	my @results = stop_writers(@writers);
	my ($wrong, $torn) = compare(@results);

	ok($moved[0] == 0 && $moved[1] > 0, 'shards move away from a node and back') or diag("@moved");
	is($wrong, '', '... each stream holds what was acknowledged last');
	is($torn, '', '... and what failed is there whole, or not at all');
	$mover->do('CALL citus_cleanup_orphaned_resources()');
	$mover->disconnect;
}
note sprintf 'counted: %d transactions acknowledged, %d failed, the longest took %.2f s', $sum{acknowledged}, $sum{failed}, $sum{longest};
done_testing();
