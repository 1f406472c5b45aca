#!/usr/bin/env perl
# calls.pl OPERATION STREAMS CALLS STATES SESSIONS SERVER...: an application with so many connections to each of
# these servers (what DBD::Pg takes), which it uses in turn. It loads or saves random streams, of so many, as often
# as that, and finds a stream's server by the map of doc/sharding.md. The states are the lines of a file. An
# operation on many, such as "save many 100", and "vacuum", which counts as a call for each stream, are for a single
# server.
#
# Prints, between two checkpoints, for each of the streams that it went to: how many microseconds the sessions'
# processes were on a processor, and how many all of the servers' processes; bytes of WAL, and full-page images in
# it. Then, how many KB of memory a session has for itself. Calls to warm up, a tenth as many, come first.
use strict;
use warnings;

use DBI;
use Digest::MD5 qw(md5_hex);
use List::Util qw(sum);
use POSIX qw(sysconf _SC_CLK_TCK);
use Time::HiRes qw(time);

my ($operation, $streams, $calls, $states, $sessions, @servers) = @ARGV;
my ($verb, $many) = $operation =~ /^(load|save|vacuum)(?: many (\d+))?$/ or die "there is no operation $operation\n";
$many //= $verb eq 'vacuum' ? $streams : 1;

open(my $in, '<', $states) or die "cannot read $states: $!\n";
chomp(my @states = <$in>);

my @sessions = map { DBI->connect("dbi:Pg:$_", '', '', { RaiseError => 1, PrintError => 0 }) }
  map { ($_) x $sessions } @servers;
my @first = map { $sessions[ $_ * $sessions ] } 0 .. $#servers;    # of each server
my %sql = (
	'load' => q{SELECT * FROM snapshot_load(?, '{1}')},
	'save' => q{SELECT snapshot_save(?, ?, 1, ?)},
	'load many' => q{SELECT * FROM snapshot_load_many(?, '{1}')},
	'save many' => q{SELECT * FROM snapshot_save_many(?, ?, ?, ?)});
my $name = $operation =~ s/ \d+$//r;
my @call = map { $_->prepare($sql{$name}, { pg_prepare_now => 1 }) } $verb eq 'vacuum' ? () : @sessions;

# Each save has a later number than all before, also those of an earlier run.
my $number = int(time() * 1e6);
my $turn = 0;

sub server_of { return int(hex(substr md5_hex($_[0]), 0, 2) * @servers / 256) }

# The names of the streams of a call.
sub names
{
	my $first = int rand $streams;
	return map { 'order-' . md5_hex($_) } $many == 1 ? 1 + $first : map { 1 + ($first + $_ * 7919) % $streams } 1 .. $many;
}

sub call
{
	my @names = @_;
	my $call = $call[ server_of($names[0]) * $sessions + $turn++ % $sessions ];
	my @arguments = $verb eq 'save' ? ([ (++$number) x $many ], [ map { $states[rand @states] } @names ]) : ();
	splice @arguments, 1, 0, [ (1) x $many ] if $many > 1 && @arguments;
	$call->execute($many > 1 ? (\@names, @arguments) : ($names[0], map { $_->[0] } @arguments));
	my $rows = $call->fetchall_arrayref;
	die "$operation: not all of the streams\n" if @$rows != $many || grep { !$_ } map { $_->[-1] } @$rows;
}

# So many calls. Those of one server come after those of another: the servers are on one machine, whose caches each
# has for itself then, as on a machine of its own.
sub calls
{
	my ($count) = @_;
	return $count >= 1 && $sessions[0]->do('VACUUM (FREEZE, ANALYZE) snapshot_store') if $verb eq 'vacuum';
	call(@$_) for sort { server_of($a->[0]) <=> server_of($b->[0]) } map { [ names() ] } 1 .. $count;
}

# The sum of what these say.
sub ask { my ($sql, @who) = @_; return sum(map { $_->selectrow_array($sql) } @who) }

# Microseconds that the processes of the servers were on a processor, with those of them that have ended.
my %server = map { $_->selectrow_array(q{SELECT split_part(pg_read_file('postmaster.pid'), e'\n', 1)}) => 1 } @first;

sub servers_cpu
{
	my ($cpu, $ended) = (0, 0);
	for my $process (glob '/proc/[0-9]*')
	{
		my ($pid, @field) = split ' ', text_of("$process/stat") =~ s/\(.*\) \S//r;    # from the parent's number on
		next unless $pid && ($server{$pid} || $server{ $field[0] });
		$cpu += (split ' ', text_of("$process/schedstat"))[0] // 0;
		$ended += sum(@field[ 12, 13 ]) if $server{$pid};
	}
	return $cpu / 1e3 + $ended * 1e6 / sysconf(_SC_CLK_TCK);
}

# Of a file of a process, which may be gone.
sub text_of
{
	my ($file) = @_;
	open(my $in, '<', $file) or return '';
	return <$in> // '';
}

# Of all that is printed for each stream, how much it is by now.
sub counters
{
	my $own = ask(q{SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)}, @sessions) / 1e3;
	$_->do('SELECT pg_stat_force_next_flush()') for @sessions;
	my @wal = map { ask("SELECT $_", @first) } q{pg_current_wal_insert_lsn() - '0/0'}, 'wal_fpi FROM pg_stat_wal';
	$_->do('CHECKPOINT') for @first;
	return ($own, servers_cpu(), @wal);
}

calls(int($calls / $many / 10));
my @before = counters();
my $counted = int($calls / $many);
calls($counted);
my @after = counters();
printf '%.3f ', ($after[$_] - $before[$_]) / ($counted * $many) for 0 .. $#after;
printf "%.0f\n",
  ask(q{SELECT substring(pg_read_file('/proc/self/smaps_rollup') FROM 'Pss_Anon: *(\d+)')}, @sessions) / @sessions;
