#!/usr/bin/env perl
# capacity.pl: how many servers a store needs, and of what, computed from what `scripts/bench scale` has measured.
#
# usage: bench/capacity.pl [--NAME=NUMBER...]   the model, with other numbers than the defaults below
#        bench/capacity.pl --measured           what it computes from
#        bench/capacity.pl --take RESULTS.tsv   has it compute from these results of scripts/bench scale from now
#                                               on, and shows what it prints then in doc/scale.md
use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

use FindBin qw($RealBin);
use List::Util qw(max min);
use POSIX qw(ceil);

my $measured = "$RealBin/../doc/benchmarks/scale.tsv";
my $page = "$RealBin/../doc/scale.md";

my %o = (
	streams => 1e9,
	saves => 1e5,           # a second
	loads => 1e5,           # a second
	size => 0.8,            # KB of a state, as measured: 0.8, 2.4 or 4.5
	batch => 1,             # saves in a transaction
	hot => 0.1,             # share of the streams that the calls are about
	standbys => 1,          # of each server
	cores => 16,            # of a server
	memory => 128,          # GB
	disk => 2000,           # GB
	write => 1000,          # MB/s that the disk writes
	flushes => 20000,       # a second; of commits at the same moment, one
	network => 10,          # Gbit/s
	use => 0.5,             # share of cores, disk writes and network that is planned for
	cache => 0.75,          # share of the memory that caches the table
	checkpoint => 900,      # seconds from one to the next
	kept => 3600,           # seconds of WAL that a server keeps, for a standby that is away or a copy
	freeze => 2e8,          # transactions from one vacuum that freezes to the next
);
my $page_bytes = 8192;
my $vacuum_pace = 37e6;     # bytes/s: autovacuum's default, 200 points in 2 ms, 22 for a page read and written
my $call_bytes = 300;       # of a call, beside the state: protocol, TCP, names

# ---- what was measured ------------------------------------------------------------------

my (%value, %machine, @counts, %citus);    # %citus: by operation and number of nodes, of which 0 is a plain server

sub read_measured
{
	my %counts;
	open(my $in, '<', $measured) or die "cannot read $measured: $!\n";
	while (<$in>)
	{
		chomp;
		my ($part, $operation, $setting, $contender, $figure, $number) = split /\t/, $_, -1;
		$machine{$operation} = $number if $part eq 'machine';
		$citus{$operation}[$setting] = $number if $part eq 'citus';
		next unless $part eq 'scale';
		my ($size, $streams, $servers) = $setting =~ /^([\d.]+) KB.*, (\d+) streams(?:, (\d) servers)?$/;
		$value{$size}{$streams}{ $servers // 0 }{$contender}{$operation}{$figure} = $number;
		$counts{$streams} = 1;
	}
	@counts = sort { $a <=> $b } keys %counts;
}

# The figure of a contender with so many streams.
sub at
{
	my ($size, $streams, $contender, $operation, $figure, $servers) = @_;
	return $value{$size}{$streams}{ $servers // 0 }{$contender}{$operation}{$figure}
	  // die "$measured has no $figure of $operation, $contender, $size KB, $streams streams\n";
}

# What an image of a page takes in the WAL, measured where each is of another page.
sub image
{
	my ($size, $streams, $contender, $operation) = @_;
	my $with = at($size, $streams, $contender, $operation, 'WAL bytes with images');
	my $without = at($size, $streams, $contender, 'save', 'WAL bytes');
	return ($with - $without) / at($size, $streams, $contender, $operation, 'images');
}

# ---- numbers and tables -----------------------------------------------------------------

sub commas { my $text = shift; 1 while $text =~ s/^(\d+)(\d{3})/$1,$2/; return $text }

# Three digits, or all before the point.
sub number
{
	my $n = shift;
	return $n unless $n =~ /^[\d.e+-]+$/;
	return commas(sprintf '%.0f', $n) if $n >= 100 || $n == int $n;
	return sprintf $n >= 10 ? '%.1f' : '%.2f', $n;
}

# table HEADING ROW...: rows are [ NAME, VALUE... ].
sub table
{
	my @lines = map { [ $_->[0], map { number($_) } @$_[ 1 .. $#$_ ] ] } @_;
	my @width;
	for my $line (@lines)
	{
		$width[$_] = max($width[$_] // 0, length $line->[$_]) for 0 .. $#$line;
	}
	return join '', map {
		my $line = $_;
		sprintf("%-$width[0]s", $line->[0]) . join('', map { sprintf "  %*s", $width[$_], $line->[$_] } 1 .. $#$line) . "\n";
	} @lines;
}

# ---- the model --------------------------------------------------------------------------

# A figure of states of this size, of as many streams as were measured: if those were less, grown as the
# smallest states' figure has.
sub grown
{
	my ($contender, $operation, $figure) = @_;
	my ($few, $most) = @counts[ 1, -1 ];
	return at($o{size}, $most, $contender, $operation, $figure) if exists $value{ $o{size} }{$most};
	return at($o{size}, $few, $contender, $operation, $figure) * at(0.8, $most, $contender, $operation, $figure) /
	  at(0.8, $few, $contender, $operation, $figure);
}

# Of a save in a transaction of so many: a part of each save, and a part of each transaction.
sub in_batch
{
	my ($one, $of_100) = @_;
	my $each = (100 * $of_100 - $one) / 99;
	return $each + ($one - $each) / $o{batch};
}

# How many of the pages get one or more of so many saves, which go to them at random.
sub pages_saved_to
{
	my ($saves, $pages) = @_;
	return $pages * (1 - exp(-$saves / $pages));
}

# What is needed in all, and of each thing the number of servers that have it.
sub model
{
	my ($contender, $citus) = @_;
	my %m;

	# The busy streams are anywhere in the table, so that a page is busy if one of its streams is.
	my $heap = at($o{size}, $counts[1], $contender, 'churn', 'bytes heap');
	my $toast = at($o{size}, $counts[1], $contender, 'churn', 'bytes toast');
	my $index = at(0.8, $counts[-1], $contender, 'churn', 'bytes index');
	my $busy = sub { return 1 - (1 - $o{hot})**max(1, $page_bytes / $_[0]) };
	$m{data} = $o{streams} * ($heap + $toast + $index);
	$m{memory} = $o{streams} * ($heap * $busy->($heap) + $toast * $o{hot} + $index * $busy->($index));
	my $pages = $o{streams} * $heap * $busy->($heap) / $page_bytes;

	$m{images} = pages_saved_to($o{saves} * $o{checkpoint}, $pages) / $o{checkpoint};
	$m{wal_saves} = $o{saves} * in_batch(map { at($o{size}, $counts[1], $contender, $_, 'WAL bytes') } 'save', 'save many 100');
	$m{wal_images} = $m{images} * image($o{size}, $counts[1], $contender, 'save');
	$m{wal} = $m{wal_saves} + $m{wal_images};
	$m{written} = $m{wal} + $m{images} * $page_bytes;

	# On Citus, a batch visits the streams one by one.
	$m{save} = $citus ? grown($contender, 'save', 'server µs') + $citus{save}[-1] - $citus{save}[0]
	  : in_batch(map { grown($contender, $_, 'server µs') } 'save', 'save many 100');
	$m{load} = grown($contender, 'load', 'server µs') + ($citus ? $citus{load}[-1] - $citus{load}[0] : 0);
	$m{cores} = ($o{saves} * $m{save} + $o{loads} * $m{load}) / 1e6;

	my $state = $o{size} * 1000 + $call_bytes;
	my $hops = $citus ? 2 : 1;
	$m{in} = $o{saves} * $state + $o{loads} * $call_bytes;
	$m{out} = $o{loads} * $state + $o{saves} * $call_bytes;
	$m{copies} = $m{wal} * ($o{standbys} + 1);    # and one to the archive

	$m{commits} = $o{saves} / $o{batch};
	$m{servers} = {
		CPU => $m{cores} / ($o{cores} * $o{use}),
		memory => $m{memory} / ($o{memory} * 1e9 * $o{cache}),
		'disk room' => (2 * $m{data} + $m{wal} * $o{kept}) / ($o{disk} * 1e9),
		'disk writes' => $m{written} / ($o{write} * 1e6 * $o{use}),
		flushes => $m{commits} / $o{flushes},
		network => ($hops * max($m{in}, $m{out}) + $m{copies}) / ($o{network} * 1e9 / 8 * $o{use}),
		freezing => sqrt($pages * $page_bytes / $vacuum_pace * $m{commits} / $o{freeze}),
	};
	$m{n} = max(map { ceil($_) } values %{ $m{servers} });
	$m{freeze_every} = $o{freeze} * $m{n} / $m{commits};
	$m{freeze_takes} = $pages * $page_bytes / $vacuum_pace / $m{n};
	$m{copy} = $o{streams} / ($m{n} + 1) * at(0.8, $counts[1], 'ours', 'copy', 'µs') / 1e6;
	return \%m;
}

sub show_model
{
	my @m = (model('ours'), model('ours_dictionary'), model('ours', 'Citus'));
	my %limit = (
		CPU => "CPU ($o{cores} cores)", memory => "memory ($o{memory} GB)", 'disk room' => "room on disk ($o{disk} GB)",
		'disk writes' => "writes to disk ($o{write} MB/s)", flushes => "flushes (" . commas($o{flushes}) . " a second)",
		network => "network ($o{network} Gbit/s)", freezing => 'freezing, at autovacuum\'s pace');
	my $row = sub { my ($name, $get) = @_; return [ $name, map { $get->($_) } @m ] };

	printf "%s streams of %s KB, %s %% of them in use\n%s saves a second, %s in a transaction, and %s loads\n\n",
	  commas($o{streams}), $o{size}, 100 * $o{hot}, commas($o{saves}), $o{batch}, commas($o{loads});
	print table([ 'in all', 'plain', 'dictionary', 'Citus' ],
		$row->('CPU of a save, µs', sub { $_[0]{save} }),
		$row->('CPU of a load, µs', sub { $_[0]{load} }),
		$row->('cores that are busy', sub { $_[0]{cores} }),
		$row->('table and index, GB', sub { $_[0]{data} / 1e9 }),
		$row->('of these in use, GB', sub { $_[0]{memory} / 1e9 }),
		$row->('WAL, MB/s', sub { $_[0]{wal} / 1e6 }),
		$row->('of this full-page images, MB/s', sub { $_[0]{wal_images} / 1e6 }),
		$row->('WAL of a day, TB', sub { $_[0]{wal} * 86400 / 1e12 }),
		$row->('pages written at checkpoints, MB/s', sub { $_[0]{images} * $page_bytes / 1e6 }),
		$row->('network to and from clients, MB/s', sub { ($_[0]{in} + $_[0]{out}) / 1e6 }),
		$row->('network to standbys and archive, MB/s', sub { $_[0]{copies} / 1e6 }));
	print "\n", table([ 'servers needed by', 'plain', 'dictionary', 'Citus' ],
		map({ my $limit = $_; $row->($limit{$limit}, sub { $_[0]{servers}{$limit} }) }
			sort { $m[0]{servers}{$b} <=> $m[0]{servers}{$a} } keys %limit),
		$row->('servers', sub { $_[0]{n} }),
		$row->('with their standbys', sub { $_[0]{n} * (1 + $o{standbys}) }));
	print "\n", table([ 'each server', 'plain', 'dictionary', 'Citus' ],
		$row->('streams, millions', sub { $o{streams} / $_[0]{n} / 1e6 }),
		$row->('saves a second', sub { $o{saves} / $_[0]{n} }),
		$row->('table and index, GB', sub { $_[0]{data} / $_[0]{n} / 1e9 }),
		$row->('of the 32 TB of a table, %', sub { $_[0]{data} / $_[0]{n} / 2**45 * 100 }),
		$row->('streams of 4 billion values in TOAST, %', sub { $o{streams} / $_[0]{n} / 2**32 * 100 }),
		$row->('WAL, MB/s', sub { $_[0]{wal} / $_[0]{n} / 1e6 }),
		$row->('of 4,096 parts of the map', sub { 4096 / $_[0]{n} }),
		$row->('a vacuum that freezes, every ... hours', sub { $_[0]{freeze_every} / 3600 }),
		$row->('and takes hours', sub { $_[0]{freeze_takes} / 3600 }),
		$row->('to copy the part of one more, minutes', sub { $_[0]{copy} / 60 }));
}

sub show_measured
{
	print "$machine{server}, $machine{cores} cores of $machine{processor}, $machine{memory}, $machine{date}\n\n";
	for my $contender ('ours', 'ours_dictionary')
	{
		my $row = sub {
			my ($name, $operation, $figure) = @_;
			return [ $name, map { at(0.8, $_, $contender, $operation, $figure) } @counts ];
		};
		print $contender eq 'ours' ? '' : "\n", table(
			[ $contender eq 'ours' ? 'plain, streams:' : 'with a dictionary, streams:', @counts ],
			$row->('CPU of a load, its session, µs', 'load', 'µs'),
			$row->("  times that of " . commas($counts[0]) . " streams", 'load', "times $counts[0]"),
			$row->('  the whole server', 'load', 'server µs'),
			$row->('CPU of a save, its session, µs', 'save', 'µs'),
			$row->("  times that of " . commas($counts[0]) . " streams", 'save', "times $counts[0]"),
			$row->('  the whole server, with the flush', 'save', 'server µs'),
			$row->('CPU of a save in a batch of 100, µs', 'save many 100', 'µs'),
			$row->('  the whole server', 'save many 100', 'server µs'),
			$row->('WAL of a save, bytes', 'save', 'WAL bytes'),
			$row->('  in a batch of 100', 'save many 100', 'WAL bytes'),
			$row->('  after a checkpoint', 'save', 'WAL bytes with images'),
			$row->('  with wal_compression = lz4', 'save, wal_compression', 'WAL bytes with images'),
			$row->('full-page images of a save then', 'save', 'images'),
			[ '  by the formula', map {
				my $pages = $_ * at(0.8, $_, $contender, 'churn', 'bytes heap') / $page_bytes;
				my $saves = at(0.8, $_, $contender, 'save', 'calls');
				pages_saved_to($saves, $pages) / $saves } @counts ],
			$row->('table, bytes', 'churn', 'bytes heap'),
			$row->('index, bytes', 'churn', 'bytes index'),
			$row->('  above its leaves', 'churn', 'bytes inner'),
			$row->('a session after loads, KB', 'load', 'memory KB'),
			$row->('  after saves', 'save', 'memory KB'),
			$row->('VACUUM FREEZE, CPU µs', 'vacuum', 'server µs'),
			$row->('  WAL, bytes', 'vacuum', 'WAL bytes'));
	}
	my $streams = $counts[1];
	my $of = sub {
		my ($name, $operation, $figure) = @_;
		return [ $name, map { at(0.8, $streams, 'ours', $operation, $figure, $_) } 1 .. 4 ];
	};
	print "\n", table([ number($streams) . ' streams on plain servers:', 1 .. 4 ],
		$of->('CPU of a load, its session, µs', 'load', 'µs'),
		$of->('  times that on one, in the same round', 'load', 'times 1'),
		$of->('CPU of a save, its session, µs', 'save', 'µs'),
		$of->('  times that on one, in the same round', 'save', 'times 1'));
	print "\n", table([ 'on nodes of Citus, and a plain server:', 'plain', 1 .. 4 ],
		map { [ "CPU of a $_, all sessions, µs", @{ $citus{$_} } ] } 'load', 'save');
}

# ---- the page ---------------------------------------------------------------------------

# take RESULTS: its figures are those to compute from, and the page shows what comes out.
sub take
{
	my ($results) = @_;
	open(my $in, '<', $results) or die "cannot read $results: $!\n";
	my @lines = grep { /^(?:machine|scale)\t/ } <$in>;
	grep { /^scale\t/ } @lines or die "$results has nothing of scripts/bench scale\n";
	# What was measured on Citus, by the test of which there is no benchmark, stays.
	open(my $before, '<', $measured) or die "cannot read $measured: $!\n";
	write_file($measured, @lines, grep { /^citus\t/ } <$before>);

	open(my $old, '<', $page) or die "cannot read $page: $!\n";
	my $text = join '', <$old>;
	chdir "$RealBin/..";
	$text =~ s{(```sh\n(bench/capacity\.pl.*)\n```\n\n```text\n)(?s:.*?)```}{$1 . `$2` . '```'}ge;
	write_file($page, $text);
}

sub write_file
{
	my ($file, @text) = @_;
	open(my $out, '>', $file) or die "cannot write $file: $!\n";
	print $out @text;
	close $out or die "cannot write $file: $!\n";
}

my $what = \&show_model;
if (@ARGV == 2 && $ARGV[0] eq '--take') { take($ARGV[1]); exit }
for (@ARGV)
{
	if ($_ eq '--measured') { $what = \&show_measured; next }
	my ($name, $number) = /^--(\w+)=([\d.]+(?:e\d+)?)$/;
	die "there is no option $_; its head says which there are\n" unless defined $name && exists $o{$name};
	$o{$name} = 0 + $number;
}
read_measured();
$what->();
