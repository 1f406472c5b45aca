#!/usr/bin/env perl
# report.pl RESULTS.tsv FOLDER: writes what scripts/bench has recorded as FOLDER/benchmarks.md, with
# plots in FOLDER/benchmarks/ where there is gnuplot. What was not measured is left out. It is run in
# the folder above this one.
use strict;
use warnings;

use List::Util qw(max min uniq);
use Text::Wrap qw(fill);

die "usage: bench/report.pl RESULTS.tsv FOLDER\n" unless @ARGV == 2;
my ($results, $folder) = @ARGV;
mkdir $folder;
my $gnuplot = grep { -x "$_/gnuplot" } split /:/, $ENV{PATH};
mkdir "$folder/benchmarks" if $gnuplot;
$Text::Wrap::columns = 108;

# ---- the results ------------------------------------------------------------------------

# The contenders in their order, and their colours, which are strong for ours.
my @known = (
	ours => '#0b57d0', ours_dictionary => '#5e35b1', ours_state => '#b39ddb', ours_list => '#5c9cf5', ours_sql => '#8fc4f0', ours_keep5 => '#1aa3a3', ours_untracked => '#9fd4d4', ours_check => '#7fb77e',
	ours_policy => '#00696b', ours_partitions => '#00696b', hand_policy => '#5f6368',
	managed => '#7986cb', hand => '#202124', hand_partitions => '#5f6368', plpgsql => '#8a9096', usual => '#e8710a', pekko_r2dbc => '#188038',
	pekko_jdbc => '#81c995', axon => '#c5221f', sequent => '#9334e6', eventstore => '#b08d57',
	redis => '#d01884', map { ("ours, $_" => '#5c9cf5') } 'single loads', 'single saves', '10 a call');
my %colour = @known;
my %place = map { $known[ 2 * $_ ] => $_ } 0 .. @known / 2 - 1;

my (@machine, %value);    # %value: by part, figure, "operation, tab, setting", contender
open(my $in, '<', $results) or die "cannot read $results: $!\n";
while (<$in>)
{
	chomp;
	my ($part, $operation, $setting, $contender, $figure, $value) = split /\t/, $_, -1;
	next unless length($value // '');
	if ($part eq 'machine') { push @machine, [ $operation, $setting, $figure, $value ] }
	else { $value{$part}{$figure}{"$operation\t$setting"}{$contender} = $value }
}

# Of a setting: the size of a state in KB, and the number before a word.
sub size { return $_[0] =~ /([\d.]+) ([KM])B/ ? $1 * ($2 eq 'M' ? 1024 : 1) : 0 }
sub size_name { return $_[0] =~ /([\d.]+ [KM]B)/ ? $1 : '' }
sub count { my ($text, $word) = @_; return $text =~ /(\d+) $word/ ? $1 : 0 }

# rows PART FIGURE [OPERATION [SETTING]]: what was measured, in order. The last are patterns.
sub rows
{
	my ($part, $figure, $operation, $setting) = @_;
	my @rows;
	for my $key (keys %{ $value{$part}{$figure} || {} })
	{
		my ($o, $s) = split /\t/, $key, -1;
		next if defined $operation && $o !~ /^(?:$operation)$/ || defined $setting && $s !~ /$setting/;
		my ($verb, $batch) = $o =~ /^(\D*?) ?(\d*)$/;
		push @rows, { key => $key, operation => $o, setting => $s, by => { %{ $value{$part}{$figure}{$key} } },
			rank => sprintf('%-20s%6d%d%9.1f%6d%9d', $verb, $batch || 0, $s =~ /B bytes/ ? 1 : 0,
				size($s), count($s, 'client'), count($s, 'stream')) };
	}
	return sort { $a->{rank} cmp $b->{rank} || $a->{key} cmp $b->{key} } @rows;
}

# Who is in these rows.
sub contenders
{
	my @who = uniq map { keys %{ $_->{by} } } @_;
	return sort { ($place{$a} // 99) <=> ($place{$b} // 99) || $a cmp $b } @who;
}

# ---- numbers, words, tables -------------------------------------------------------------

sub commas { my $text = shift; 1 while $text =~ s/(?<![.\d])(\d+)(\d{3})(?!\d)/$1,$2/; return $text }

sub number
{
	my $n = shift;
	return sprintf('%.*f M', $n < 9.995e6 ? 2 : $n < 99.95e6 ? 1 : 0, $n / 1e6) if $n >= 999_500;
	return sprintf('%.0f k', $n / 1e3) if $n >= 99_950;
	return commas(sprintf '%.0f', $n) if $n >= 100 || $n == int $n;
	return sprintf $n >= 10 ? '%.1f' : '%.2f', $n;
}

my %words = ('load' => 'load that finds', 'load nothing' => 'load that finds nothing',
	'load unrecognized' => 'load of only unrecognized', 'save' => 'save that overwrites',
	'first load' => 'first load of a backend', 'first save' => 'first save of a backend',
	'save insert' => 'save that inserts', 'save too old' => 'save that is too old');

sub in_words
{
	my $text = shift;
	$text =~ s/^(\w+) many (\d+)$/$1, batches of $2/;
	return $words{$text} // commas($text);
}

# table HEADING BESIDE ROW...: in brackets is what BESIDE returns for a row and a contender. Rows
# with few contenders have a table of their own.
sub table
{
	my ($heading, $beside, @rows) = @_;
	my @few = grep { keys %{ $_->{by} } <= 6 } @rows;
	my @many = grep { keys %{ $_->{by} } > 6 } @rows;
	return table($heading, $beside, @many) . table('', $beside, @few) if @few && @many;
	return '' unless @rows;
	my @who = contenders(@rows);
	my $last = '';
	my $text = ($heading && "$heading:\n\n") . join(' | ', '| operation', 'setting', @who);
	$text .= " |\n| --- | --- |" . ' ---: |' x @who . "\n";
	for my $row (@rows)
	{
		my @cells = map {
			my ($n, $ratio) = ($row->{by}{$_}, $beside->($row, $_));
			!defined $n ? '' : number($n) . (defined $ratio ? sprintf ' (%.2f)', $ratio : '');
		} @who;
		$text .= join(' | ', $row->{operation} eq $last ? '|' : '| ' . in_words($row->{operation}),
			in_words($row->{setting}), @cells) . " |\n";
		$last = $row->{operation};
	}
	return "$text\n";
}

# A row with its values as a multiple of the state's size.
sub per_byte
{
	my $row = shift;
	my $bytes = 1024 * size($row->{setting}) || 1;
	return { %$row, by => { map { $_ => $row->{by}{$_} / $bytes } keys %{ $row->{by} } } };
}

sub to_hand
{
	my ($row, $who) = @_;
	my ($n, $hand) = @{ $row->{by} }{ $who, 'hand' };
	return defined $n && $hand && $who ne 'hand' ? $n / $hand : undef;
}

sub to_one_table { my ($row, $who) = @_; return $row->{by}{$who} && $row->{by}{$who} / $row->{by}{ $who =~ s/_.*//r } }

# What was recorded beside it: another figure.
sub recorded { my ($part, $figure) = @_; return sub { $value{$part}{$figure}{ $_[0]{key} }{ $_[1] } } }

# ---- plots ------------------------------------------------------------------------------

# plot NAME TITLE COMMAND...: draws it, and returns the line that shows it.
sub plot
{
	my ($name, $title, @commands) = @_;
	return '' unless $gnuplot;
	open(my $pipe, '|-', 'gnuplot') or die "cannot run gnuplot: $!\n";
	print $pipe map { "$_\n" }
	  "set terminal svg size 960,500 font 'sans-serif,15' background '#ffffff' noenhanced",
	  "set output '$folder/benchmarks/$name.svg'", "set title '$title' font ',17'",
	  'set border 3', 'set tics nomirror', "set format y '%.0s%c'", 'set style fill solid noborder',
	  "set grid ytics linetype 1 linecolor rgb '#d5d8dc'",
	  'set key outside right top reverse Left samplen 2', @commands;
	close $pipe or die "gnuplot cannot draw $name\n";
	return "![$title](benchmarks/$name.svg)\n\n";
}

# What follows in a contender's name after a comma is what it does there.
sub colour { return $colour{ $_[0] } // $colour{ $_[0] =~ s/,.*//r } // '#aaaaaa' }
sub named { return "linecolor rgb '" . colour($_[0]) . "' title '$_[0]'" }

# bars NAME TITLE UNIT LABEL PANEL...: panels side by side, each [ TITLE, ROW... ]: a group of bars for
# each row, under what LABEL returns for it.
sub bars
{
	my ($name, $title, $unit, $label, @panels) = @_;
	@panels = grep { @$_ > 1 } @panels or return '';
	my @who = contenders(map { @$_[ 1 .. $#$_ ] } @panels);
	my @commands = ('set style data histograms', 'set style histogram clustered gap 1', 'set yrange [0:*]',
		"set ylabel '$unit'", 'set xtics scale 0', 'set bmargin 4');
	push @commands, 'set multiplot layout 1,' . @panels . " title '$title' font ',17'"
	  . ' margins 0.09,0.8,0.1,0.84 spacing 0.08', 'set key at screen 0.82,0.84 left top' if @panels > 1;
	for (@panels)
	{
		my ($heading, @rows) = @$_;
		my $most = max map { values %{ $_->{by} } } @rows;
		my $column = 1;
		push @commands, $heading ? "set title '$heading' font ',15'" : (),
		  "set format y '" . ($most < 10_000 ? '%g' : '%.0s%c') . "'", "set xrange [-0.6:$#rows.6]", '$d << END',
		  map({ join ' ', '"' . $label->($_) . '"', map { $_ // 0 } @{ $_->{by} }{@who} } @rows), 'END',
		  'plot ' . join(', ', map { $column++; "\$d using $column:xtic(1) " . named($_) } @who),
		  'unset key', 'unset ylabel';
	}
	return plot($name, $title, @commands);
}

# lines NAME TITLE COMMANDS X ROW...: a line for each contender that is in most rows, ours on top,
# with points at what X returns for the rows.
sub lines
{
	my ($name, $title, $commands, $x, @rows) = @_;
	my (%points, @data);
	for my $row (@rows)
	{
		push @{ $points{$_} }, $x->($row) . " $row->{by}{$_}" for keys %{ $row->{by} };
	}
	my $most = max map { scalar @$_ } values %points;
	return '' if ($most // 0) < 2;
	my @who = reverse grep { @{ $points{$_} // [] } == $most } contenders(@rows);
	push @data, "\$d$_ << END", @{ $points{ $who[$_] } }, 'END' for 0 .. $#who;
	my @plots = map {
		"\$d$_ with " . ($who[$_] =~ /single/ ? 'lines' : 'linespoints pointtype 7') . ' linewidth 3 '
		  . ($who[$_] =~ /saves/ ? 'dashtype 2 ' : '') . named($who[$_]);
	} 0 .. $#who;
	return plot($name, $title, 'set grid xtics', 'set key invert', $commands, @data, 'plot ' . join ', ', @plots);
}

# What the contenders take on disk, in times the size of their live data: a group for each setting.
sub disk_plot
{
	my (@bars, @labels);
	my $x = 0;
	for my $row (rows('disk', 'bytes'))
	{
		my $from = ++$x;
		for my $who (contenders($row))
		{
			my ($live, @parts) = map { $value{disk}{$_}{ $row->{key} }{$who} || 0 }
			  'live bytes', 'bytes heap', 'bytes toast', 'bytes index';
			my ($sum, @top) = 0;
			for my $n (0 .. 2)
			{
				my @rgb = map { 255 - (255 - hex) * (1, 0.55, 0.25)[$n] } colour($who) =~ /(\w\w)/g;
				push @top, ($sum += $parts[$n]) / ($live || 1), $rgb[0] << 16 | $rgb[1] << 8 | $rgb[2];
			}
			push @bars, [ $x++, $who, @top ];
		}
		push @labels, sprintf q(set label "%s,\n%s streams" at %s,graph 0.99 center font ',12'),
		  size_name($row->{setting}), commas(count($row->{setting}, 'stream')), ($from + $x - 1) / 2;
	}
	return '' unless @bars;
	my @plots = map { "\$d using 1:$_ with boxes linecolor rgb variable notitle" } '7:8', '5:6', '3:4';
	push @plots, map { "NaN with boxes linecolor rgb '$_->[0]' title '$_->[1]'" }
	  [ '#c8c8c9', 'index' ], [ '#86888a', 'TOAST' ], [ '#202124', 'heap' ];
	return plot('disk', 'Disk after the overwrites', "set ylabel 'bytes on disk / bytes of live data'",
		"set format y '%g'", 'set yrange [0:*]', 'set offsets 0,0,graph 0.15,0', "set xrange [0:$x]",
		'set boxwidth 0.85', 'set xtics rotate by 90 right scale 0 font ",12" ('
		  . join(', ', map { "'$_->[1]' $_->[0]" } @bars) . ')', @labels,
		'$d << END', map({ "@$_" } @bars), 'END', 'plot ' . join ', ', @plots,
		"1 with lines linewidth 2 dashtype 2 linecolor rgb '#c5221f' title 'live data'");
}

# ---- at a glance ------------------------------------------------------------------------

# A line of the table, of one after __DATA__: what, against whom, the bound; part, figure, operation,
# setting (patterns); the rivals of whom the best counts (a pattern), or "-" where the figure is a
# ratio already; which of ours, if not the first. Of several rows the worst counts.
sub glance
{
	my ($what, $against, $bound, $part, $figure, $operation, $setting, $rivals, $ours) = split /\s*;\s*|\n/, shift;
	my @ratios;
	$ours ||= 'ours';
	for (rows($part, $figure, $operation, $setting))
	{
		my $by = $_->{by};
		my @rivals = grep { !/^ours/ && /^($rivals)$/ } keys %$by;
		my $best = $rivals eq '-' ? 1 : min grep { $_ > 0 } @$by{@rivals};
		push @ratios, $by->{$ours} / $best if $best && defined $by->{$ours};
	}
	return '' unless @ratios;
	my ($word, $limit) = $bound =~ /(most|least) ([\d.]+)/;
	my $worst = $word eq 'most' ? max(@ratios) : min(@ratios);
	my $missed = $word eq 'most' ? $worst > $limit : $worst < $limit;
	# No miss shall hide behind the rounding.
	my $shown = sprintf $missed && sprintf('%.2f', $worst) == $limit ? '%.4f' : '%.2f', $worst;
	return "| $what | $against | $shown | $bound" . ($missed ? ' (missed)' : '') . " |\n";
}

# ---- the document -----------------------------------------------------------------------

sub item { return fill('- ', '  ', $_[0] =~ s/\s+$//r) . "\n" }
sub paragraph { return fill('', '', $_[0] =~ s/\s+$//r) . "\n\n" }

# section TITLE TEXT CONTENT...: nothing where there is no content.
sub section
{
	my ($title, $text, @content) = @_;
	my $content = join '', @content;
	return '' if $content eq '';
	$content =~ s/\n*$/\n\n/;
	return "## $title\n\n" . ($text ? paragraph($text) : '') . $content;
}

# The comment at the head of a contender's file.
sub comment
{
	open(my $file, '<', "bench/contenders/$_[0].sql")
	  or return $_[0] eq 'redis' ? 'Redis with `appendonly yes`, `appendfsync always`.' : '';
	my $text = '';
	while (my $line = <$file>) { last unless $line =~ s/^-- (?!like )//; $text .= $line }
	return $text;
}

sub glance_table
{
	my $lines = join '', map { glance($_) } @_;
	return $lines && "| what | against | ratio | held to |\n| --- | --- | ---: | --- |\n$lines";
}

sub kilobytes { return size($_[0]{setting}) }
sub streams { return count($_[0]{setting}, 'stream') }
sub clients { return $_[0]{setting} =~ /(\d+ clients?)/ ? $1 : '' }
sub batch { return $_[0]{operation} =~ /(\d+)/ ? $1 : 0 }

my $by_size = 'set logscale xy; set xlabel "size of the state, KB"; set ylabel "instructions"; '
  . 'set xtics (0.5, 2, 4, 8, 16, 64, 1024); set xrange [0.4:1300]';
my $small = '^0\.5 KB (real )?json';

# Loads or saves of 0.5 KB by the number of clients, with batches of 10 as a contender.
sub by_clients
{
	my ($part, $figure, $verb) = @_;
	my @rows = rows($part, $figure, $verb, '^0\.5 KB');
	my %many = map { $_->{setting} => $_->{by}{ours} } rows($part, $figure, "$verb many 10");
	$_->{by}{'ours, 10 a call'} = $many{ $_->{setting} } for grep { $many{ $_->{setting} } } @rows;
	return [ "${verb}s", @rows ];
}

# Batches, and beside each of them the single calls, which know no size.
sub batches
{
	my $verb = shift;
	my ($single) = rows('batches', 'snapshots/s', $verb);
	my @rows = rows('batches', 'snapshots/s', "$verb many .*");
	$_->{by} = { "ours, ${verb}s in batches" => $_->{by}{ours}, "hand, ${verb}s in a pipeline" => $_->{by}{hand},
		map { ("$_, single ${verb}s" => $single->{by}{$_}) } keys %{ $single->{by} || {} } } for @rows;
	return @rows;
}

my @all = map { my $part = $_; map { rows($part, $_) } keys %{ $value{$part} } } keys %value;
my $real = grep { $_->{setting} =~ /real json/ } @all;
my $states = $real ? 'real JSON documents, the larger ones runs of them' : 'generated JSON';
my %machine = map { $_->[0] => $_->[3] } @machine;
my $command = $ENV{BENCH_COMMAND} // $machine{command} // 'scripts/bench';
my $day = $machine{date} ? " on $machine{date}" : '';
my ($flushes) = map { 'The disk does ' . number($_->[3]) . " flushes a second (`pg_test_fsync`, $_->[1])." }
  grep { $_->[0] eq 'pg_test_fsync' } @machine;
my ($floor) = map { ': ' . number(min values %{ $_->{by} }) . ' instructions' }
  rows('instructions', 'instructions', 'floor');
$_ //= '' for $flushes, $floor;

my @document = ("# Benchmarks\n\n", paragraph(<<END),
snapshot_store beside other ways to store snapshots in PostgreSQL, on the same server in the same run,
by `$command`$day. Of these, *hand* is the strongest: plain statements on the plainest table.
@{[ $gnuplot ? '' : 'There are no plots, since there was no gnuplot.' ]}
END

	section('At a glance', <<END, glance_table(<DATA>)),
Our figure divided by the other's. What is held to "at most" is a cost, what is held to "at least", a
speed. Of several sizes, the worst is shown.
END

	section('The machine', $flushes,
		map { item("$_->[0]: $_->[3]") } grep { $_->[0] ne 'pg_test_fsync' } @machine),

	section('How it was measured', '', item(<<END), item(<<END), item(<<END)),
*Instructions* are counted by valgrind's callgrind on a single-user backend, with prepared statements:
the same number in each run, whatever else the machine does. *Beyond the floor* is what a call costs
more than a prepared statement that only returns its parameter$floor. *Beyond the input* is what a save costs more
than a statement that only takes the state and checks that it is JSON, as each column for JSON does.
END
*Rates* are those of pgbench on the same machine, with prepared statements, and a random stream in each
call. The contenders take turns in several rounds: a rate is the median of the rounds, a ratio the
median of the ratios within each round. Each save is a transaction of its own that is flushed.
END
*States* are $states; bytes are as long. Where only bytes can be stored, they are the text of the JSON. A
dictionary is trained on others of the same kind: @{[ $real ? 'the first half of the documents of a file, of whose second half all contenders save'
	: 'other orders' ]}.
END

	section('The contenders', '', map { item("**$_**: " . comment($_)) } grep { comment($_) } contenders(@all)),

	section('Instructions', <<END,
Instructions of a call; lower is better. In brackets: the ratio to hand.
END
		bars('instructions', 'Instructions of a call beyond the floor, 0.5 KB', 'instructions',
			sub { $_[0]{operation} =~ s/ /\\n/r }, [ '', rows('instructions', 'beyond the floor', undef, $small) ]),
		table('Beyond the floor', \&to_hand,
			rows('instructions', 'beyond the floor', '(?!input).*', '^(0\.5|2|4\.5) KB')),
		table('Beyond the input, for what an application sends as JSON', \&to_hand,
			rows('instructions', 'beyond the input', 'save', 'json')),
		map({ lines("$_-by-size", "Instructions of a $_, whole calls", $by_size, \&kilobytes,
			rows('instructions', 'instructions', $_, 'json')) } 'load', 'save'),
		table('Whole calls', \&to_hand, rows('instructions', 'instructions', '(?!floor|input).*'))),

	section('Throughput', <<END,
Calls a second; higher is better. In brackets: the ratio to hand. $flushes
END
		bars('throughput', 'Calls a second, 0.5 KB', 'calls/s', \&clients,
			map { by_clients('throughput', 'calls/s', $_) } 'load', 'save'),
		table('', recorded('throughput', 'ratio to hand'), rows('throughput', 'calls/s'))),

	section('A slow disk, a slow link', <<END,
Saves a second that overwrite, where the disk or the link to a standby is the limit; higher is better. In
brackets: the ratio to hand. The disk is limited for all that the server writes (a cgroup), and each save is
flushed; over the link, each save waits for the standby. The standby that lags gets half as many saves again
as the link carries of hand's. Without full-page images.
END
		table('', recorded('limits', 'ratio to hand'), rows('limits', 'saves/s')),
		table('Seconds by which a standby that nobody waits for is behind in the end; lower is better', sub { },
			rows('limits', 's'))),

	section('Dictionaries', <<END,
Seconds to train a dictionary, and to pack what is stored by it.
END
		table('', sub { }, rows('training', 's')),
		table('Bytes of the table, with TOAST and index', sub { }, rows('training', 'bytes'))),

	section('Batches', <<END,
Snapshots a second, by one client; higher is better. In brackets: the ratio to hand's single calls. A
batch of hand's is so many statements in one pipeline and one transaction.
$flushes
END
		lines('batches', 'Snapshots a second, by one client, 0.5 KB',
			'set logscale xy; set xlabel "snapshots in a call"; set ylabel "snapshots/s"', \&batch,
			batches('load'), batches('save')),
		table('', recorded('batches', 'ratio to hand'), rows('batches', 'snapshots/s'))),

	section('Redis', <<END,
Snapshots a second; higher is better. In brackets: the ratio to a SET or GET of Redis, which are one
at a time. $flushes
END
		bars('redis', 'Snapshots a second beside Redis, 0.5 KB', 'snapshots/s', \&clients,
			map { by_clients('redis', 'snapshots/s', $_) } 'load', 'save'),
		table('', recorded('redis', 'ratio to Redis'), rows('redis', 'snapshots/s'))),

	section('Write-ahead log', <<END,
Bytes of WAL of a save, without full-page images; lower is better. In brackets: the ratio to hand.
END
		bars('wal', 'WAL of a save that overwrites', 'bytes of WAL / bytes of the state',
			sub { size_name($_[0]{setting}) }, [ '', map { per_byte($_) } rows('wal', 'bytes', 'save') ]),
		table('', recorded('wal', 'ratio to hand'), rows('wal', 'bytes'))),

	section('Disk', <<END,
Bytes on disk (heap, TOAST and index) after the overwrites; lower is better. After
each round of overwrites, what exceeds autovacuum's default thresholds is vacuumed. In
brackets: as a multiple of the live data, the sum of `pg_column_size` of all columns.
END
		disk_plot(), table('', recorded('disk', 'times live'), rows('disk', 'bytes')),
		table('The share of HOT updates; higher is better', sub { }, rows('disk', 'HOT share'))),

	section('Vacuum', <<END,
Bytes of TOAST and its index after the saves, by autovacuum's settings; lower is better. The settings other
than the naptime are the TOAST table's own (`toast.`).
END
		table('', sub { }, rows('vacuum', 'bytes toast')),
		table('Milliseconds within which 99 % of the saves ended', sub { }, rows('vacuum', '99 % ms'))),

	section('Growth', <<END,
A load that finds, with more and more streams. In brackets: the ratio to hand.
END
		lines('growth', 'Instructions of a load by the number of streams',
			'set logscale x; set format x "%.0s%c"; set yrange [0:*]; set xlabel "streams"; set ylabel "instructions"',
			\&streams, rows('growth', 'instructions')),
		table('Instructions; lower is better', \&to_hand, rows('growth', 'instructions')),
		table('Loads a second; higher is better', \&to_hand, rows('growth', 'calls/s'))),

	section('Rehydrate', <<END,
Microseconds of the statements of [integrating.md](integrating.md), by one client on the same machine; lower is
better. Prepared, or, extended, parsed and planned in each call. In brackets: the ratio to two statements.
END
		table('', recorded('rehydrate', 'ratio to two'), rows('rehydrate', 'µs'))),

	section('Partitions', <<END,
One table, and one of 16 partitions by hash, on the same server; lower is better. In brackets: the ratio to the
same statement on one table. A batch is of 100 streams in one call.
END
		table('Instructions of a whole call', \&to_one_table, rows('partitions', 'instructions', '(?!floor).*')),
		table('Microseconds on a processor, of a call', recorded('partitions', 'ratio of µs'),
			rows('partitions', 'µs'))),

	section('Scale', '', $value{scale} ? paragraph(<<END) : ''),
In results.tsv, for [scale.md](scale.md), where `bench/capacity.pl --take` has it shown.
END

	"## To repeat it\n\n", paragraph(<<END), <<END);
On Debian or Ubuntu, as root or with sudo. Timings need a machine that has nothing else to do.
END
```sh
make bench                  # everything, with generated states: hours, and 30 GB
scripts/bench --short       # each part small: some minutes
scripts/bench --states DIR  # states of real JSON: files *.jsonl in DIR, a document a line
scripts/bench wal disk      # some of the parts
```
END

open(my $out, '>', "$folder/benchmarks.md") or die "cannot write $folder/benchmarks.md: $!\n";
print $out join '', @document;
close $out or die "cannot write $folder/benchmarks.md: $!\n";

__DATA__
load that finds, 0.5 KB: instructions beyond the floor; hand; at most 0.70; instructions; beyond the floor; load; ^0.5 KB.*json; hand
save that overwrites, 0.5 KB: the same; hand; at most 0.70; instructions; beyond the floor; save; ^0.5 KB.*json; hand
save that inserts, 0.5 KB: the same; hand; at most 0.90; instructions; beyond the floor; save insert; ^0.5 KB.*json; hand
load that finds, 0.5 KB, under row security: the same; hand under the same policy; at most 1.30; instructions; beyond the floor; load; ^0.5 KB.*json; hand_policy; ours_policy
save that overwrites, 0.5 KB, under row security: the same; hand under the same policy; at most 1.30; instructions; beyond the floor; save; ^0.5 KB.*json; hand_policy; ours_policy
load of only unrecognized, 64 KB: the same; the best that filters in the client; at most 0.10; instructions; beyond the floor; load unrecognized; ^64 KB.*json; axon|eventstore|pekko_.*
load of only unrecognized, 64 KB: the same; hand; at most 0.60; instructions; beyond the floor; load unrecognized; ^64 KB.*json; hand
save of 64 KB: instructions of the whole call; usual; at most 0.22; instructions; instructions; save; ^64 KB.*json; usual
load of 64 KB: the same; usual; at most 0.13; instructions; instructions; load; ^64 KB.*json; usual
save of 64 KB: the same; hand; at most 1.00; instructions; instructions; save; ^64 KB.*json; hand
load of 64 KB: the same; hand; at most 1.00; instructions; instructions; load; ^64 KB.*json; hand
save of 4.5 KB: the same; usual; at most 0.40; instructions; instructions; save; ^4.5 KB.*json; usual
load of 4.5 KB: the same; usual; at most 0.30; instructions; instructions; load; ^4.5 KB.*json; usual
loads a second, 0.5 KB, 1 client; hand; at least 1.15; throughput; ratio to hand; load; ^0.5 KB.* 1 client; -
saves a second that overwrite, 0.5 KB, 1 client; hand; at least 1.15; throughput; ratio to hand; save; ^0.5 KB.* 1 client; -
WAL of a save that overwrites, 0.5 to 4 KB: bytes; hand; at most 1.02; wal; bytes; save; ^(0.5|2|4) KB; hand
the same; the best of the others; at most 1.00; wal; bytes; save; ^(0.5|2|4) KB; (?!hand).*
disk after the overwrites, 0.5 and 2 KB: bytes; live data; at most 2.00; disk; times live; save; ^(0.5|2) KB; -
the same; the best of all others; at most 1.00; disk; bytes; save; ^(0.5|2) KB; .*
disk after the overwrites, 4.5 and 16 KB: bytes; the best of all others; at most 1.00; disk; bytes; save; ^(4|4.5|8|16|64) KB; .*
with a dictionary, WAL of a save that overwrites, 0.8 KB: bytes; hand; at most 0.42; wal; bytes; save; ^0.8 KB; hand; ours_dictionary
the same, 2.4 KB; hand; at most 0.40; wal; bytes; save; ^2.4 KB; hand; ours_dictionary
the same, 4.5 KB; hand; at most 0.27; wal; bytes; save; ^4.5 KB; hand; ours_dictionary
with a dictionary, disk after the overwrites, 0.8 KB: bytes; the best of all others; at most 0.45; disk; bytes; save; ^0.8 KB; .*; ours_dictionary
the same, 2.4 KB; the best of all others; at most 0.35; disk; bytes; save; ^2.4 KB; .*; ours_dictionary
the same, 4.5 KB; the best of all others; at most 0.25; disk; bytes; save; ^4.5 KB; .*; ours_dictionary
the same, 16 KB; the best of all others; at most 0.50; disk; bytes; save; ^16 KB; .*; ours_dictionary
with a dictionary, save that overwrites, 0.5 and 2 KB: instructions beyond the floor; hand; at most 1.05; instructions; beyond the floor; save; ^(0.5|2) KB.*json; hand; ours_dictionary
the same, 4.5 KB; hand; at most 0.55; instructions; beyond the floor; save; ^4.5 KB.*json; hand; ours_dictionary
with a dictionary, load that finds, 0.5 and 2 KB: instructions beyond the floor; hand; at most 1.15; instructions; beyond the floor; load; ^(0.5|2) KB.*json; hand; ours_dictionary
the same, 4.5 KB; hand; at most 0.80; instructions; beyond the floor; load; ^4.5 KB.*json; hand; ours_dictionary
saves in batches of 100, 1 client: snapshots a second; single saves of hand; at least 10.00; batches; ratio to hand; save many 100; .*; -
loads in batches of 100, 1 client: snapshots a second; single loads of hand; at least 5.00; batches; ratio to hand; load many 100; .*; -
saves in batches of 100, 1 client: the same; hand's statements in a pipeline; at least 1.20; batches; snapshots/s; save many 100; .*; hand
loads in batches of 100, 1 client: the same; hand's statements in a pipeline; at least 1.20; batches; snapshots/s; load many 100; .*; hand
durable saves in batches of 10, 16 clients: snapshots a second; SET of Redis; at least 1.00; redis; ratio to Redis; save many 10; 16 clients; -
durable saves, one at a time, 16 clients; SET of Redis; at least 0.70; redis; ratio to Redis; save; 16 clients; -
a load with 10,000,000 streams: instructions; with 10,000; at most 1.50; growth; times 10000; load; ^10000000 streams; -
