#!/usr/bin/env perl
# calls.pl OPERATION STREAMS CALLS STATES SESSIONS SERVER...: an application with so many connections to each of
# these servers (what DBD::Pg takes), which it uses in turn. It loads or saves random streams, of so many, as often
# as that, and finds a stream's server by the map of doc/sharding.md. The states are the lines of a file. An
# operation on many, such as "save many 100", is for a single server.
#
# Prints how many microseconds the sessions' processes were on a processor for a stream, by the kernel's account
# of them, and how many KB of memory each has for itself in the end. The first tenth of the calls does not count.
use strict;
use warnings;

use DBI;
use Digest::MD5 qw(md5_hex);
use List::Util qw(sum);
use Time::HiRes qw(time);

my ($operation, $streams, $calls, $states, $sessions, @servers) = @ARGV;
my ($verb, $many) = $operation =~ /^(load|save)(?: many (\d+))?$/ or die "there is no operation $operation\n";
$many //= 1;

open(my $in, '<', $states) or die "cannot read $states: $!\n";
chomp(my @states = <$in>);

my @sessions = map { DBI->connect("dbi:Pg:$_", '', '', { RaiseError => 1, PrintError => 0 }) }
  map { ($_) x $sessions } @servers;
my %sql = (
	'load' => q{SELECT * FROM snapshot_load(?, '{1}')},
	'save' => q{SELECT snapshot_save(?, ?, 1, ?)},
	'load many' => q{SELECT * FROM snapshot_load_many(?, '{1}')},
	'save many' => q{SELECT * FROM snapshot_save_many(?, ?, ?, ?)});
my @call = map { $_->prepare($sql{ $many > 1 ? "$verb many" : $verb }, { pg_prepare_now => 1 }) } @sessions;

# Each save has a later number than all before, also those of an earlier run.
my $number = int(time() * 1e6);
my $turn = 0;

sub call
{
	my @names = map { 'order-' . md5_hex($_) } $many > 1
	  ? do { my $first = int rand $streams; map { 1 + ($first + $_ * 7919) % $streams } 1 .. $many }
	  : 1 + int rand $streams;
	my $server = int(hex(substr md5_hex($names[0]), 0, 2) * @servers / 256);
	my $call = $call[ $server * $sessions + $turn++ % $sessions ];
	my @arguments = $verb eq 'save' ? ([ (++$number) x $many ], [ map { $states[rand @states] } @names ]) : ();
	splice @arguments, 1, 0, [ (1) x $many ] if $many > 1 && @arguments;
	$call->execute($many > 1 ? (\@names, @arguments) : ($names[0], map { $_->[0] } @arguments));
	my $rows = $call->fetchall_arrayref;
	die "$operation: not all of the streams\n" if @$rows != $many || grep { !$_ } map { $_->[-1] } @$rows;
}

# What the processes of the sessions say of themselves, in all.
sub ask { my $sql = shift; return sum(map { $_->selectrow_array($sql) } @sessions) }

my $warm = int($calls / $many / 10);
my $counted = int($calls / $many) - $warm;
call() for 1 .. $warm;
my $cpu = q{SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)};
my $before = ask($cpu);
call() for 1 .. $counted;
printf "%.3f", (ask($cpu) - $before) / 1e3 / ($counted * $many);
printf " %.0f\n",
  ask(q{SELECT substring(pg_read_file('/proc/self/smaps_rollup') FROM 'Pss_Anon: *(\d+)')}) / @sessions;
