# What was acknowledged survives a crash: saves, batches, deletions and purges.
#
# Writers in several sessions, half of them on each access path, report through
# a pipe what they are about to do and what the server has acknowledged.  At a
# random moment the postmaster and all its children get SIGKILL.  After the
# restart the table is compared with what was reported:
#
# - A writer's own streams are exactly as after its last acknowledged
#   transaction, or as after the one that was under way, whole.
# - A stream that several writers share holds the highest sequence number that
#   was acknowledged, or a later one.
# - No stream has more snapshots than the settings allow, every state carries
#   its checksum, by plain SELECT and loaded on both access paths, and
#   pg_amcheck finds nothing.
#
# Meanwhile dictionaries are trained and retired, and states packed by them and
# anew: none of that is waited for, and a state that survives has its dictionary.
#
# synchronous_commit is off and the WAL writer sleeps, so WAL is written only
# because the store insists, or because somebody else's flush takes it along.
# Lest the latter hide a flush that is missing, the last transactions before the
# crash are of one sort; the cycles take turns.
#
# At the end snapshot_store.durable is off, and saves and deletions must be lost.
# SNAPSHOT_STORE_LONG makes it 200 crashes instead of 5.
use strict;
use warnings;

use DBI;
use Digest::MD5 qw(md5_hex);
use KillServer;
use List::Util qw(max shuffle uniq);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

delete $ENV{PGOPTIONS};

my $cycles = $ENV{SNAPSHOT_STORE_LONG} ? 200 : 5;
my $writers = 6;
my @sorts = qw(everything saves batches deletions purges);
my $seed = $ENV{SEED} // int rand 2**31;
srand $seed;
note "SEED=$seed";

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => ['--data-checksums']);
$node->append_conf('postgresql.conf', q{
fsync = on
full_page_writes = on
synchronous_commit = off
wal_writer_delay = 10s
wal_writer_flush_after = 1TB
wal_level = replica
min_wal_size = 32MB
max_wal_size = 32MB
checkpoint_timeout = 30s
autovacuum_naptime = 1s
recovery_init_sync_method = syncfs
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION snapshot_store; CREATE EXTENSION amcheck;
	ALTER TABLE snapshot_store ALTER state TYPE snapshot_state});

# What the table should hold: for each writer a hash from its streams to their
# rows, those saved last first.  A row is written "stream version sequence kind".
my @model = map { {} } 1 .. $writers;
my @under_way;       # for each writer, the changes that are not yet acknowledged
my %highest;         # acknowledged sequence numbers of the shared streams
my %limit;           # how many rows a stream may have
my $last_sequence_number = 0;
my ($keep, $keep_versions);
my %count = map { $_ => 0 } qw(crashes saves deletions purges transactions took_effect not streams states packed trained retired repacked);

# ---- states -----------------------------------------------------------------------------

my %pool = (
	json => join('', map { ('a' .. 'z', 'A' .. 'Z', 0 .. 9)[ rand 62 ] } 1 .. 50_000),
	bytea => join('', map { chr rand 256 } 1 .. 50_000));

sub random_bytes
{
	my ($kind, $length) = @_;
	return substr $pool{$kind}, int rand(50_000 - $length), $length;
}

# What all states have in common, for dictionaries.
my $common = join ', ', map { qq("attribute_$_", "of the value $_$_") } 1 .. 20;

# A state names its row and begins with a checksum of all that follows: small,
# compressed in line, in the TOAST table, or compressed there.
sub state_of
{
	my ($row, $kind) = @_;
	my $chance = rand;
	my $bytes =
	    $chance < 0.6 ? random_bytes($kind, int rand 1500)
	  : $chance < 0.75 ? random_bytes($kind, 100) x (100 + rand 300)
	  : $chance < 0.9 ? random_bytes($kind, 5000 + int rand 15_000)
	  : random_bytes($kind, 6000) x 4;
	my $rest = qq(", "$row", "$bytes", $common]);

	return '["' . md5_hex($rest) . $rest;
}

sub intact
{
	my ($row, $state) = @_;
	return defined $state && $state =~ /^\["(.{32})(", "\Q$row\E", .*)$/s && $1 eq md5_hex($2);
}

# ---- the model --------------------------------------------------------------------------

# A change is written "save ROW", "delete STREAM [MAX_SEQUENCE_NUMBER]" or
# "purge PREFIX RECOGNIZED_VERSION".  Applies one to a writer's streams, and
# returns what the server should.  Sequence numbers of saves ascend.
sub apply
{
	my ($streams, $change) = @_;
	my ($what, $name, @more) = split / /, $change;
	my $gone = 0;

	if ($what eq 'save')
	{
		my (%rank, %number);
		my @rows = ("$name @more", @{ $streams->{$name} // [] });

		foreach my $version (map { (split / /)[1] } @rows)
		{
			$rank{$version} = scalar(keys %rank) unless exists $rank{$version};
		}
		$streams->{$name} = [
			grep {
				my $version = (split / /)[1];
				$rank{$version} < $keep_versions && $number{$version}++ < $keep
			} @rows ];
		return 1;
	}
	foreach my $stream ($what eq 'delete' ? grep { $_ eq $name } keys %$streams
		: grep { /^\Q$name\E/ } keys %$streams)
	{
		my @rows = grep {
			my (undef, $version, $sequence_number) = split / /;
			$what eq 'purge' ? $version == $more[0] : @more && $sequence_number > $more[0]
		} @{ $streams->{$stream} };

		$gone += @{ $streams->{$stream} } - @rows;
		$streams->{$stream} = \@rows;
		delete $streams->{$stream} unless @rows;
	}
	return $what eq 'delete' ? $gone : 'done';
}

sub is_shared
{
	my ($change) = @_;
	return $change =~ /^\w+ shared/;
}

# ---- a writer ---------------------------------------------------------------------------

my $sort;   # of the transactions that a writer makes

sub connect_to_server
{
	return DBI->connect('dbi:Pg:' . $node->connstr('postgres'), '', '',
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0 });
}

sub random_save
{
	my ($name) = @_;
	my $version = is_shared("save $name") ? 1 : (1, 1, 2, 3)[ rand 4 ];
	my $kind = (qw(json json bytea))[ rand 3 ];

	$last_sequence_number = max($last_sequence_number + 1, int(time * 1_000_000));
	return "save $name $version $last_sequence_number $kind";
}

# The changes of the writer's next transaction; none if there is nothing left of
# that sort to do.
sub choose
{
	my ($what, $writer) = @_;
	my $streams = $model[$writer];
	my @stored = keys %$streams;
	my $stream = sub { rand() < 0.1 ? sprintf 'shared/%d', rand 4 : sprintf 'w%d/%02d', $writer, rand 100 };
	my $deletion = sub {
		my $name = $stored[ rand @stored ];
		my $row = $streams->{$name}[ rand @{ $streams->{$name} } ];
		return "delete $name" . (rand() < 0.5 ? '' : ' ' . (split / /, $row)[2]);
	};

	return random_save($stream->()) if $what eq 'saves';
	return map { random_save($_) } uniq map { $stream->() } 0 .. 1 + rand 10 if $what eq 'batches';
	return @stored ? $deletion->() : () if $what eq 'deletions';
	if ($what eq 'purges')
	{
		my ($row) = shuffle map { @$_ } values %$streams;
		return () unless defined $row;
		my ($name, $version) = split / /, $row;
		return 'purge ' . substr($name, 0, -1) . ' ' . ($version + 1);
	}
	# A transaction of several statements, each with another stream.
	return map { rand() < 0.3 ? "delete $_" : random_save($_) }
	  uniq map { sprintf 'w%d/%02d', $writer, rand 100 } 0 .. 1 + rand 3;
}

# Makes one change, and returns what the server did.
sub make
{
	my ($session, $change) = @_;
	my ($what, $name, @more) = split / /, $change;

	if ($what eq 'save')
	{
		my ($version, $sequence_number, $kind) = @more;
		my $state = state_of("$name @more", $kind);
		return ($kind eq 'json'
			? $session->selectrow_array('SELECT snapshot_save(?, ?, ?, ?)', undef,
				$name, $sequence_number, $version, $state)
			: $session->selectrow_array('SELECT snapshot_save_bytea(?, ?, ?, ?)', undef,
				$name, $sequence_number, $version, '\x' . unpack('H*', $state)));
	}
	return $session->selectrow_array('SELECT snapshot_delete(?, ?)', undef, $name, $more[0])
	  if $what eq 'delete';
	# It passes over what is locked, as by a repack.
	do
	{
		$session->do("CALL snapshot_purge('$name', '{$more[0]}')");
	} while $session->selectrow_array('SELECT count(*) FROM snapshot_store WHERE starts_with(stream_id, $1) AND state_schema_version <> $2',
		undef, $name, $more[0]);
	return 'done';
}

# Makes all changes, all saves of one kind, by one call.
sub make_batch
{
	my ($session, $kind, @changes) = @_;
	my @columns;

	foreach my $change (@changes)
	{
		my (undef, $name, $version, $sequence_number) = split / /, $change;
		my $state = state_of("$name $version $sequence_number $kind", $kind);

		push @{ $columns[0] }, $name;
		push @{ $columns[1] }, $sequence_number;
		push @{ $columns[2] }, $version;
		push @{ $columns[3] }, $kind eq 'json' ? $state : '\x' . unpack('H*', $state);
	}
	return @{ $session->selectcol_arrayref('SELECT stored FROM snapshot_save_many'
			. ($kind eq 'json' ? '' : '_bytea') . '(?, ?, ?, ?)', undef, @columns) };
}

# One transaction.  Reports its changes before and their results after it, and
# returns whether there was anything to do.
sub transaction
{
	my ($session, $report, $writer, $what) = @_;

	if ($what eq 'upkeep')
	{
		$session->do(rand() < 0.5 ? 'CHECKPOINT' : 'VACUUM snapshot_store');
		return 1;
	}
	my @changes = choose($what, $writer);
	return 0 unless @changes;

	if ($what eq 'rollbacks')
	{
		$session->begin_work;
		make($session, $_) foreach @changes;
		$session->rollback;
		return 1;
	}
	my $kind = (qw(json bytea))[ rand 2 ];
	if ($what eq 'batches')
	{
		s/\w+$/$kind/ foreach @changes;
	}
	syswrite $report, "$writer begins " . join(',', @changes) . "\n";
	my @results;
	if ($what eq 'batches')
	{
		@results = make_batch($session, $kind, @changes);
	}
	else
	{
		$session->begin_work if @changes > 1;
		@results = map { make($session, $_) } @changes;
		$session->commit if @changes > 1;
	}
	syswrite $report, "$writer ends " . join(',', @results) . "\n";
	apply($model[$writer], $_) foreach grep { !is_shared($_) } @changes;
	return 1;
}

# A child process, until the server is gone or there is nothing left to do.
sub write_and_report
{
	my ($writer, $report, $durable) = @_;
	my @everything = (('saves') x 100, ('batches') x 20, ('deletions') x 30, ('purges') x 5,
		('transactions') x 15, ('rollbacks') x 5, 'upkeep');
	my $session;

	srand $seed + 1000 * $count{crashes} + $writer;
	eval {
		$session = connect_to_server();
		$session->do("SET $_") foreach 'client_min_messages = error',
		  'snapshot_store.access_path = ' . ($writer % 2 ? 'auto' : 'sql'),
		  "snapshot_store.keep = $keep", "snapshot_store.keep_versions = $keep_versions",
		  "snapshot_store.durable = $durable";
		while (1)
		{
			my $choice = $sort eq 'everything';
			my $what = $choice ? $everything[ rand @everything ] : $sort;

			last unless transaction($session, $report, $writer, $what) || $choice;
		}
	};
	if ($@ && (!$session || $session->ping))
	{
		syswrite $report, "$writer fails " . ($@ =~ s/\n/ /gr) . "\n";
	}
	POSIX::_exit(0);
}

# Another one, which trains, retires and repacks, and never waits for the disk,
# lest it flush what the writers should have flushed.
sub train_and_report
{
	my ($report) = @_;
	my $session;

	srand $seed + 1000 * $count{crashes} + 999;
	eval {
		$session = connect_to_server();
		$session->do("SET $_") foreach 'client_min_messages = error', 'snapshot_store.durable = off';
		while (1)
		{
			my $prefix = ('', map { "w$_/" } 0 .. 2)[ rand 4 ];
			my $choice = rand;
			my $done =
			  $choice < 0.4 ? ask($session, 'repacked', "CALL snapshot_repack('$prefix', " . (1 + int rand 50) . ')')
			  : $choice < 0.9 ? ask($session, 'trained', "SELECT count(number) FROM snapshot_dictionary_train('$prefix', max_samples => " . (50 + int rand 50) . ')')
			  : ask($session, 'retired', q{
				SELECT count(*) FROM (SELECT snapshot_dictionary_retire(number) FROM snapshot_dictionaries() WHERE active ORDER BY random() LIMIT 1) AS r});
			syswrite $report, "trainer ends $done\n";
		}
	};
	if ($@ && (!$session || $session->ping))
	{
		syswrite $report, "trainer fails " . ($@ =~ s/\n/ /gr) . "\n";
	}
	POSIX::_exit(0);
}

# What was done and how often; too few states are no dictionary.
sub ask
{
	my ($session, $what, $statement) = @_;
	my ($times) = eval { $session->selectrow_array($statement) };

	die $@ if $@ && $session->state ne '55000';
	return "$what " . ($times // 0);
}

# ---- a cycle ----------------------------------------------------------------------------

my @problems;

# Takes note of what a writer reports.
sub hear
{
	my ($line) = @_;
	my ($writer, $what, $rest) = $line =~ /^(\d+|trainer) (begins|ends|fails) (.*)$/s;

	chomp $rest;
	if ($writer eq 'trainer' && $what eq 'ends')
	{
		my ($done, $times) = split / /, $rest;
		$count{$done} += $times;
		return;
	}
	if ($what eq 'fails')
	{
		push @problems, "writer $writer: $rest";
		return;
	}
	if ($what eq 'begins')
	{
		$under_way[$writer] = [ split /,/, $rest ];
		foreach my $save (grep { /^save/ } @{ $under_way[$writer] })
		{
			my (undef, $name, undef, $sequence_number) = split / /, $save;

			$limit{$name} = max($limit{$name} // 0, $keep * $keep_versions);
			$last_sequence_number = max($last_sequence_number, $sequence_number);
		}
		return;
	}

	my @results = split /,/, $rest;
	foreach my $change (@{ $under_way[$writer] })
	{
		my ($kind, $name, undef, $sequence_number) = split / /, $change;
		my $result = shift @results;

		if (is_shared($change))
		{
			# If it was not stored, a newer one was there.
			$highest{$name} = max($highest{$name} // 0, $sequence_number);
		}
		else
		{
			my $expected = apply($model[$writer], $change);
			push @problems, "$change returned $result, not $expected" if $result ne $expected;
		}
		if ($kind eq 'save')
		{
			$limit{$name} = $keep * $keep_versions if $result;
			$count{saves} += $result;
		}
		$count{deletions} += $result if $kind eq 'delete';
		$count{purges}++ if $kind eq 'purge';
	}
	$under_way[$writer] = [];
	$count{transactions}++;
	return;
}

# Work that begins with everything and ends with transactions of one sort, a
# crash, and the restart.
sub work_and_crash
{
	my ($last_sort, $durable) = @_;
	my $transactions = 200 + int rand 600;
	my $of_last_sort = 10 + int rand 40;

	$sort = 'everything';
	local $SIG{USR1} = sub { $sort = $last_sort };
	@under_way = map { [] } 1 .. $writers;
	pipe my $reports, my $report or die $!;
	my @children = map {
		my $pid = fork // die $!;
		if ($pid == 0)
		{
			close $reports;
			train_and_report($report) if $_ == $writers;
			write_and_report($_, $report, $durable);
		}
		$pid
	} 0 .. $writers;
	close $report;

	while (my $line = <$reports>)
	{
		hear($line);
		next unless $line =~ /^\d+ ends/;
		$transactions--;
		kill 'USR1', @children if $transactions == 0;
		last if $transactions == -$of_last_sort;
	}
	sleep rand 0.003;
	kill_server($node);
	$count{crashes}++;
	hear($_) while <$reports>;
	waitpid $_, 0 foreach @children;
	$node->start;
	return;
}

# The table's rows by a query, those saved last first; each with its state.
sub stored
{
	my ($session, $way, $query) = @_;
	my %stored;

	my $statement = $session->prepare($query);
	$statement->execute;
	while (my ($name, $version, $sequence_number, $kind, $state) = $statement->fetchrow_array)
	{
		my $row = "$name $version $sequence_number $kind";

		push @problems, "$row: its state is damaged ($way)" unless intact($row, $state);
		push @problems, "$row: there twice ($way)" if exists $stored{$row};
		$stored{$row} = 1;
	}
	$count{states} += keys %stored;
	return join "\n", sort { (split / /, $b)[2] <=> (split / /, $a)[2] || $a cmp $b } keys %stored;
}

# What of the expected rows of a writer's streams is not there, and what is
# there beyond them.
sub differences
{
	my ($expected, $found) = @_;
	my %expected = map { $_ => 1 } map { @$_ } values %$expected;
	my %found = map { $_ => 1 } map { @$_ } values %$found;

	return ([ grep { !$found{$_} } sort keys %expected ], [ grep { !$expected{$_} } sort keys %found ]);
}

# Compares the table with the model, which then becomes what is there, and
# returns how many snapshots are lost and how many have come back.
sub compare
{
	my ($lost, $back) = (0, 0);
	my $session = connect_to_server();
	my $rows = stored($session, 'SELECT', q{
		SELECT stream_id, state_schema_version, sequence_number, CASE WHEN state IS NULL THEN 'bytea' ELSE 'json' END,
			   coalesce(convert_to(state::text, 'UTF8'), state_bytea)
		FROM snapshot_store});
	# What is stored in less than what is common to all.
	$count{packed} += $session->selectrow_array(qq{
		SELECT count(*) FROM snapshot_store WHERE octet_length(state::text) < 1800 AND pg_column_size(state) < octet_length(state::text) - } . length($common) / 2);

	foreach my $path (qw(auto sql))
	{
		$session->do("SET snapshot_store.access_path = $path");
		my $loaded = stored($session, $path, q{
			SELECT t.stream_id, l.state_schema_version, l.sequence_number, 'json', convert_to(l.state::text, 'UTF8')
			FROM snapshot_store AS t
				CROSS JOIN LATERAL snapshot_load(t.stream_id, ARRAY[t.state_schema_version], t.sequence_number) AS l
			WHERE t.state IS NOT NULL
			UNION ALL
			SELECT t.stream_id, l.state_schema_version, l.sequence_number, 'bytea', l.state
			FROM snapshot_store AS t
				CROSS JOIN LATERAL snapshot_load_bytea(t.stream_id, ARRAY[t.state_schema_version], t.sequence_number) AS l
			WHERE t.state_bytea IS NOT NULL});
		push @problems, "loads ($path) find other rows than SELECT" if $loaded ne $rows;
	}
	$session->disconnect;

	my %found;
	push @{ $found{ (split / /)[0] } }, $_ foreach split /\n/, $rows;
	$count{streams} += uniq keys %found, keys %limit;
	foreach my $name (keys %found)
	{
		push @problems, "$name has more rows than the settings allow: @{ $found{$name} }"
		  if @{ $found{$name} } > ($limit{$name} // 0);
	}
	foreach my $name (keys %highest)
	{
		my $sequence_number = max 0, map { (split / /)[2] } @{ $found{$name} // [] };

		if ($sequence_number < $highest{$name})
		{
			push @problems, "$name: $highest{$name} is lost, there is $sequence_number";
			$lost++;
		}
		$highest{$name} = $sequence_number;
	}
	foreach my $writer (0 .. $writers - 1)
	{
		my %own = map { $_ => $found{$_} } grep { /^w$writer\// } keys %found;
		my %after = %{ $model[$writer] };
		my @own_changes = grep { !is_shared($_) } @{ $under_way[$writer] };
		apply(\%after, $_) foreach @own_changes;

		my ($missing, $beyond) = differences(\%after, \%own);
		my $took_effect = !@$missing && !@$beyond;
		$count{ $took_effect ? 'took_effect' : 'not' }++ if @own_changes;
		if (!$took_effect)
		{
			($missing, $beyond) = differences($model[$writer], \%own);
			push @problems, map { "writer $writer: $_ is lost" } @$missing;
			push @problems, map { "writer $writer: $_ should not be there" } @$beyond;
			$lost += @$missing;
			$back += grep { !$model[$writer]{ (split / /)[0] } } @$beyond;
		}
		$model[$writer] = \%own;
	}
	return ($lost, $back);
}

# ---- the test ---------------------------------------------------------------------------

foreach my $cycle (1 .. $cycles)
{
	my $last_sort = $sorts[ $cycle % @sorts ];

	$keep = (1, 3, 1, 2)[ $cycle % 4 ];
	$keep_versions = (1, 1, 3, 2)[ $cycle % 4 ];
	@problems = ();
	work_and_crash($last_sort, 'on');
	compare();
	ok(!@problems, "crash $cycle, in $last_sort, keep $keep, keep_versions $keep_versions: nothing acknowledged is lost")
	  or diag join "\n", scalar(@problems) . ' problems', grep { defined } @problems[ 0 .. 19 ];
	$node->command_ok([ qw(pg_amcheck --heapallindexed --rootdescend --table=snapshot_store --table=snapshot_dictionary postgres) ],
		"crash $cycle: pg_amcheck finds nothing");
}

note "counted: $count{crashes} crashes; acknowledged: $count{transactions} transactions, $count{saves} saves, "
  . "$count{deletions} snapshots deleted, $count{purges} purges";
note "counted: after them $count{streams} streams checked, $count{states} states; of the transactions under way "
  . "$count{took_effect} took effect, $count{not} did not";

note "counted: $count{trained} dictionaries trained, $count{retired} retired, $count{repacked} states repacked; of the states after crashes "
  . "$count{packed} were packed";
cmp_ok($count{packed}, '>', 0, 'there were packed states to be lost');

# Without the flush it does lose something.
my %lost = (saves => 0, deletions => 0);
foreach my $last_sort (qw(saves deletions))
{
	foreach my $try (1 .. 10)
	{
		work_and_crash($last_sort, 'off');
		my ($lost, $back) = compare();
		$lost{$last_sort} = $last_sort eq 'saves' ? $lost : $back;
		last if $lost{$last_sort};
	}
	cmp_ok($lost{$last_sort}, '>', 0, "with durable off, $last_sort are lost");
}
note "counted: with durable off, $lost{saves} saves and $lost{deletions} deletions lost";

# Each restart was a recovery.
my $recoveries = () = slurp_file($node->logfile) =~ /not properly shut down; automatic recovery in progress/g;
is($recoveries, $count{crashes}, 'the server recovered after each crash');

$node->stop;
done_testing();
