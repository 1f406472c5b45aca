# 16 clients save, load and delete at random, on both access paths, at all
# isolation levels, one call at a time, in batches and in transactions with
# savepoints, while another changes the table, trains and retires dictionaries,
# and repacks.  A model knows what every call may return.
#
# The streams are of three groups:
#
#   a  keep 1, keep_versions 1, nothing is deleted
#   b  keep 2, keep_versions 2, nothing is deleted
#   c  settings that differ from call to call, deletions, purges
#
# Every client logs its calls with the time before and after.  For each stream
# of a and b there must be an order of the calls that agrees with these times
# and in which every call had the outcome that the rule of retention gives, to
# the letter (check_exact).  Where the settings differ, less is promised, and
# check_free holds every load to it: what it returns was saved, committed,
# recognized, within the bounds, and neither deleted nor replaced for certain;
# and what is there for certain is not missing.
#
# Every few seconds all clients stop.  The logs are checked, then the table, and
# what it holds is where the model goes on from.
#
# SEED repeats a run (as far as the scheduler allows), SOAK_SECONDS sets its length.
use strict;
use warnings;

use DBI;
use Digest::MD5 qw(md5_hex);
use IO::Handle;
use IO::Select;
use List::Util qw(first max min shuffle uniq);
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket;
use Storable qw(nstore retrieve);
use Test::More;
use Time::HiRes qw(clock_gettime sleep time CLOCK_MONOTONIC);

my $long = $ENV{SNAPSHOT_STORE_LONG};
my $seconds = $ENV{SOAK_SECONDS} || ($long ? 1800 : 20);
my $round_seconds = min($long ? 15 : 4, $seconds);
my $seed = $ENV{SEED} // int(rand(1_000_000));
my $clients = 16;

my $patience = max(120, $PostgreSQL::Test::Utils::timeout_default);	# seconds until something counts as hung
my $streams = 8;		# of each group
my %settings = (a => [ 1, 1 ], b => [ 2, 2 ]);
my @settings_of_c = ([ 1, 1 ], [ 2, 1 ], [ 1, 2 ], [ 2, 2 ], [ 3, 2 ], [ 'DEFAULT', 'DEFAULT' ]);
my $most_of_c = 6;		# the largest product
my %versions = (a => [ 1, 2 ], b => [ 1 .. 3 ], c => [ 1 .. 4 ]);
my $padding = join '', map { md5_hex("$_") } 1 .. 400;
my $common = join ' ', map { "what all states have $_" } 1 .. 6;	# for dictionaries

# A row is [ version, sequence number, created_at, id, replace ], the last as the save
# said it.  Every save has an id of its own, which its state and its metadata carry.

note("SEED=$seed");
delete $ENV{PGOPTIONS};
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('soak');
$node->init;
$node->append_conf('postgresql.conf', q{
	max_connections = 40
	autovacuum_naptime = 1s
	autovacuum_vacuum_threshold = 50
	deadlock_timeout = 200ms
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION amcheck;
	CREATE ROLE app LOGIN;
	CREATE FUNCTION harmless() RETURNS int LANGUAGE sql AS 'SELECT 1';
	-- Of what the clients have saved, and of states that nobody ever sees, since the streams are few.
	CREATE FUNCTION train(prefix text DEFAULT '') RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE trained bigint;
	BEGIN
		INSERT INTO snapshot_store SELECT prefix || 'unseen' || n, 0, 1, n, now(), json_build_object('n', n, 'common', '} . $common . q{')
		FROM generate_series(1, 50) AS n;
		trained := (SELECT number FROM snapshot_dictionary_train(prefix, max_samples => 30 + (random() * 100)::int, max_size => 4096, min_samples => 2));
		DELETE FROM snapshot_store WHERE stream_id LIKE prefix || 'unseen%';
		RETURN trained;
	END $$;
	CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
});
create_extension();
my $source = 'dbi:Pg:dbname=postgres;host=' . $node->host . ';port=' . $node->port;
my $folder = PostgreSQL::Test::Utils::tempdir();

# ---- a client ---------------------------------------------------------------------------

# Of the process that is one client:
my ($me, $db, %log, %prepared);
my $saves = 0;				# how many ids it has used
my $transaction;			# its explicit transaction, or undef
my $session_settings;		# as "keep keep_versions"; undef: not known
my $current_settings;
my $clock = 0;				# the last created_at that it gave

sub now
{
	return clock_gettime(CLOCK_MONOTONIC);
}

sub pick
{
	return $_[ rand @_ ];
}

sub chance
{
	return rand() < shift;
}

# Something is not as it should be.
sub wrong
{
	push @{ $log{wrong} }, "client $me: $_[0]" if @{ $log{wrong} //= [] } < 20;
}

sub count
{
	$log{count}{ $_[0] } += $_[1] // 1;
}

sub connect_anew
{
	$db->disconnect if $db;
	%prepared = ();
	$db = DBI->connect($source, $me eq 'ddl' ? '' : 'app', '',
		{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoInactiveDestroy => 1 });
	$db->do(q{SET TimeZone = 'UTC'; SET client_min_messages = warning});
	undef $session_settings;
	undef $current_settings;
	return if $me eq 'ddl';
	$db->do('SET snapshot_store.access_path = ' . ($me % 2 ? 'auto' : 'sql'));
	$db->do(q{SET default_transaction_isolation = '} . isolation_of_client() . q{'});
}

sub isolation_of_client
{
	return $me < 10 ? 'read committed' : $me < 14 ? 'repeatable read' : 'serializable';
}

# keep and keep_versions for what comes next
sub use_settings
{
	my ($keep, $keep_versions) = @_;
	my $wanted = "$keep $keep_versions";
	return if defined $current_settings && $current_settings eq $wanted;
	my $scope = $transaction ? 'LOCAL' : 'SESSION';
	$db->do("SET $scope snapshot_store.keep = $keep; SET $scope snapshot_store.keep_versions = $keep_versions");
	$current_settings = $wanted;
	$session_settings = $wanted unless $transaction;
}

sub settings_for
{
	my ($stream) = @_;
	use_settings(@{ $settings{ group($stream) } // pick(@settings_of_c) });
}

sub group
{
	return substr $_[0], 0, 1;
}

sub is_bytea
{
	return substr($_[0], -1) % 2;
}

# Half of the clients' clocks are behind, so that created_at is not in the order
# of the saves; never does one client give the same twice, nor do two.
sub created_at
{
	my $micros = int((time() - ($me % 4 < 2 ? 0 : $me / 4)) * 10_000) * 100 + $me;
	$clock = max($micros, $clock + 100);
	return strftime('%Y-%m-%d %H:%M:%S', gmtime int($clock / 1_000_000)) . sprintf '.%06d', $clock % 1_000_000;
}

sub new_row
{
	my ($stream) = @_;
	return [ pick(@{ $versions{ group($stream) } }), int(now() * 5) + int(rand 12),
		group($stream) eq 'c' && chance(0.5) ? undef : created_at(), $me . '-' . ++$saves, chance(0.7) ? 1 : 0 ];
}

sub state_of
{
	my ($stream, $row) = @_;
	my $length = chance(0.1) ? 12_000 : 200;
	my $state = sprintf '{"id":"%s","stream":"%s","version":%d,"sequence":%d,"common":"%s","pad":"%s"',
		$row->[3], $stream, $row->[0], $row->[1], $common, substr $padding, rand(length($padding) - $length), rand $length;
	return $state . ',"sum":"' . md5_hex($state) . '"}';
}

# The id in a state; the state must be whole, and what the row says it is.
sub id_of_state
{
	my ($state, $stream, $version, $sequence, $metadata) = @_;
	return undef unless $state =~ /^(\{"id":"([\d-]+)","stream":"([\w-]+)","version":(\d+),"sequence":(\d+),"common":"$common","pad":"\w*"),"sum":"(\w+)"\}$/;
	return $6 eq md5_hex($1) && $3 eq $stream && $4 == $version && $5 == $sequence && $metadata eq $2 ? $2 : undef;
}

sub some_versions
{
	my ($stream) = @_;
	return [ grep { chance(0.6) } @{ $versions{ group($stream) } } ];
}

sub random_stream
{
	my ($kind) = @_;	# 0: json, 1: bytea, undef: any
	my $number = 1 + int(rand $streams);
	$number += $number % 2 == $kind ? 0 : $number == $streams ? -1 : 1 if defined $kind;
	return pick(qw(a a b b c)) . "-$number";
}

# Runs a statement; the result's rows.  step() logs its times.
my ($began, $ended);
sub run
{
	my ($statement, @arguments) = @_;
	my $handle = $prepared{$statement} //= $db->prepare($statement);

	$began = now();
	$handle->execute(@arguments);
	my $rows = $handle->{NUM_OF_FIELDS} ? $handle->fetchall_arrayref : [];
	$ended = now();
	$transaction->{snapshot_taken} //= $ended if $transaction;
	return $rows;
}

# A call has come back: log what it did to or saw of a stream.
sub step
{
	my ($stream, @step) = @_;
	my $entry = { stream => $stream, began => $began, ended => $ended, step => \@step };

	count($step[0]);
	if ($transaction)
	{
		push @{ $transaction->{entries} }, $entry;
	}
	else
	{
		log_transaction({ entries => [$entry], began => $began, snapshot_taken => $ended, single => 1 }, 1, $began, $ended);
	}
}

my $bytes = q{convert_from(state, 'UTF8')};
my $shown = q{metadata ->> 'id', to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US')};

sub call_save
{
	my ($stream) = @_;
	my $row = new_row($stream);
	my $state = state_of($stream, $row);
	my $bytea = is_bytea($stream);

	settings_for($stream);
	my $function = $bytea ? 'snapshot_save_bytea' : 'snapshot_save';
	my $stored = run("SELECT $function(?, ?, ?, ?, ?, ?, ?)", $stream, @$row[ 1, 0 ], $bytea ? '\x' . unpack('H*', $state) : $state,
		qq({"id":"$row->[3]"}), $row->[2], $row->[4])->[0][0];
	saved($stream, $row, $stored);
}

sub call_save_many
{
	my $bytea = int(rand 2);
	my @ids = uniq map { random_stream($bytea) } 1 .. 6;
	# one setting for all
	my $group = group($ids[0]);
	@ids = grep { group($_) eq $group } @ids;
	my @rows = map { new_row($_) } @ids;
	$_->[4] = $rows[0][4] foreach @rows;
	my @states = map { state_of($ids[$_], $rows[$_]) } 0 .. $#ids;
	@states = map { '\x' . unpack 'H*', $_ } @states if $bytea;

	settings_for($ids[0]);
	my $function = $bytea ? 'snapshot_save_many_bytea' : 'snapshot_save_many';
	my $answer = run("SELECT stream_id, stored FROM $function(?, ?, ?, ?, ?, ?, ?)", \@ids,
		[ map { $_->[1] } @rows ], [ map { $_->[0] } @rows ], \@states,
		[ map { qq({"id":"$_->[3]"}) } @rows ], [ map { $_->[2] } @rows ], $rows[0][4]);
	wrong("$function answers for @{[ map { $_->[0] } @$answer ]} and not @ids") if join(' ', map { $_->[0] } @$answer) ne "@ids";
	count('save_many');
	saved($ids[$_], $rows[$_], $answer->[$_][1]) foreach 0 .. $#ids;
}

sub saved
{
	my ($stream, $row, $stored) = @_;
	step($stream, 'save', $row, $stored ? 1 : 0);
	return unless $transaction && $stored;
	$transaction->{own}{$stream} = $row;
	forget($stream);
}

sub call_load
{
	my ($stream) = @_;
	my $versions = some_versions($stream);
	my $max_sequence = chance(0.2) ? int(now() * 5) : undef;
	my $max_created = chance(0.1) ? strftime('%Y-%m-%d %H:%M:%S.000000', gmtime(time() - rand 6)) : undef;
	my $function = is_bytea($stream) ? 'snapshot_load_bytea' : 'snapshot_load';
	my $state = is_bytea($stream) ? $bytes : 'state';

	my $found = run("SELECT sequence_number, state_schema_version, $state, $shown FROM $function(?, ?, ?, ?)",
		$stream, $versions, $max_sequence, $max_created);
	wrong("$function returned " . @$found . ' rows') if @$found > 1;
	loaded($stream, $versions, $max_sequence, $max_created, $found->[0]);
}

sub call_load_many
{
	my $bytea = int(rand 2);
	my @ids = map { random_stream($bytea) } 1 .. 8;
	my @bounds = map { chance(0.2) ? int(now() * 5) : undef } @ids;
	my $versions = some_versions('c-1');
	my $function = $bytea ? 'snapshot_load_many_bytea' : 'snapshot_load_many';
	my $state = $bytea ? $bytes : 'state';

	my $rows = run("SELECT stream_id, sequence_number, state_schema_version, $state, $shown FROM $function(?, ?, ?)",
		\@ids, $versions, \@bounds);
	my %found = map { my ($id, @row) = @$_; $id => \@row } @$rows;
	my %seen;
	my @expected = grep { $found{$_} && !$seen{$_}++ } @ids;
	wrong("$function(@ids) returned @{[ map { $_->[0] } @$rows ]}")
		if "@expected" ne join ' ', map { $_->[0] } @$rows;
	count('load_many');
	%seen = ();
	foreach my $i (grep { !$seen{ $ids[$_] }++ } 0 .. $#ids)
	{
		loaded($ids[$i], $versions, $bounds[$i], undef, $found{ $ids[$i] });
	}
}

# What can be said of a load at once
sub loaded
{
	my ($stream, $versions, $max_sequence, $max_created, $found) = @_;
	my $row;

	if ($found)
	{
		my ($sequence, $version, $state, $metadata, $created) = @$found;
		my $id = id_of_state($state, $stream, $version, $sequence, $metadata);
		wrong("loaded of $stream, as version $version, sequence number $sequence: $metadata, " . substr $state, 0, 100)
			unless defined $id;
		$row = [ $version, $sequence, $created, $id // '?' ];
		wrong("loaded of $stream what is not recognized or not within bounds: @$row")
			unless qualifies($row, $versions, $max_sequence, $max_created);
	}
	if ($transaction)
	{
		my $own = $transaction->{own}{$stream};
		wrong("$stream: loaded " . name($row) . ' after its own save of ' . name($own))
			if $own && qualifies($own, $versions, $max_sequence, $max_created)
			&& !($row && is_at_least($row, $own));
		my $question = join ' ', "@$versions", $max_sequence // '-', $max_created // '-';
		my $seen = $transaction->{seen}{$stream}{$question} //= name($row);
		wrong("$stream: loaded " . name($row) . ", and before in the same transaction $seen")
			if $transaction->{isolation} ne 'read committed' && $seen ne name($row);
	}
	step($stream, 'load', $versions, $max_sequence, $max_created, $row);
}

sub call_info
{
	my ($stream) = @_;
	my $rows = run(q{SELECT state_schema_version, sequence_number, to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US')
		FROM snapshot_info(?) WITH ORDINALITY ORDER BY ordinality}, $stream);
	step($stream, 'info', $rows);
	wrong("$stream has " . @$rows . ' snapshots') if @$rows > $most_of_c;
}

sub call_due
{
	my ($stream) = @_;
	my ($versions, $count, $interval) = (some_versions($stream), int(now() * 5) + 12, 6 + int(rand 12));
	my $due = run('SELECT snapshot_due(?, ?, ?, ?)', $stream, $versions, $count, $interval)->[0][0];
	step($stream, 'due', $versions, $count, $interval, $due ? 1 : 0);
}

sub call_delete
{
	my ($stream) = @_;
	$stream =~ s/^./c/;
	my @bounds = chance(0.4) ? (undef) x 4 : (
		chance(0.5) ? int(now() * 5) : undef, undef,
		chance(0.4) ? int(now() * 5) : undef, chance(0.2) ? created_at() : undef);
	my $deleted = run('SELECT snapshot_delete(?, ?, ?, ?, ?)', $stream, @bounds)->[0][0];
	wrong("deleted $deleted snapshots of $stream") if $deleted > $most_of_c;
	count('deleted snapshots', $deleted);
	step($stream, 'delete', @bounds);
	return unless $transaction;
	delete $transaction->{own}{$stream};
	forget($stream);
}

sub call_purge
{
	my $prefix = pick('c', 'c-', random_stream());
	$prefix =~ s/^./c/;
	my $versions = chance(0.7) ? [ grep { chance(0.7) } @{ $versions{c} } ] : undef;
	undef $versions if $versions && !@$versions;
	my $max_created = !$versions || chance(0.5) ? created_at() : undef;
	my $finished = 0;
	eval {
		run('CALL snapshot_purge(?, ?, NULL, ?, ?)', $prefix, $versions, $max_created, 1 + int(rand 20));
		$finished = 1;
	};
	my $error = $@;
	$ended = now();
	foreach my $stream (grep { index($_, $prefix) == 0 } map { "c-$_" } 1 .. $streams)
	{
		push @{ $log{free}{$stream} },
			{ call => 'purge', versions => $versions, max_created => $max_created, began => $began, c0 => $began, c1 => $ended, done => $finished };
	}
	die $error unless $finished;
	count('purge');
}

sub call_census
{
	run(q{SELECT * FROM snapshot_census(?)}, pick('', 'b-'));
	run(q{SELECT snapshot_outdated('', ?, ?)}, some_versions('b-1'), 1 + int(rand 20));
	count('census');
}

# What was seen of a stream, at REPEATABLE READ, holds until a write of one's own.
sub forget
{
	delete $transaction->{seen}{ $_[0] };
}

my %calls = (
	save => \&call_save, save_many => \&call_save_many, load => \&call_load, load_many => \&call_load_many,
	info => \&call_info, due => \&call_due, delete => \&call_delete, purge => \&call_purge, census => \&call_census);
my @frequent = (('save') x 40, ('load') x 28, ('save_many') x 6, ('load_many') x 6, ('info') x 6, ('due') x 4, ('delete') x 6,
	'census');

# Runs a block; false if the server has refused, which is wrong unless the reference
# says that it may.  $ordered: no transaction locks streams against the order of
# their names, so none has a reason to deadlock.  The exception is PostgreSQL's own:
# while REINDEX CONCURRENTLY has two indexes in place of one, ON CONFLICT knows
# one of them, and 23505 may come from the other.
sub attempt
{
	my ($isolation, $ordered, $block) = @_;
	my $start = now();
	return 1 if eval { $block->(); 1 };
	my $state = $db->state;
	my $message = $@;

	die $message if $state eq '';	# of the test itself
	$db->do('ROLLBACK') if $transaction;
	# The call that was refused is in no log, but may have locked something.
	push @{ $log{refused} }, { call => 'touch', c0 => $start, c1 => now() };
	count("SQLSTATE $state");
	my $announced = $state eq '40001' ? $isolation ne 'read committed'
		: $state eq '40P01' ? !$ordered
		: $state eq '23505' ? $message =~ /"snapshot_store_pkey_cc(new|old)\d*"/
		: 0;
	wrong("$state at $isolation, locks " . ($ordered ? 'in order' : 'in any order') . ": $message") unless $announced;
	return 0;
}

sub single_call
{
	my ($ordered) = @_;
	my $call = chance(0.005) ? 'purge' : pick(@frequent);
	my $stream = random_stream();

	# An application would try again
	foreach (1 .. 3)
	{
		last if attempt(isolation_of_client(), $ordered, sub { $calls{$call}->($stream) });
		count('retries');
	}
}

# An explicit transaction of several calls; if $ordered, as the reference recommends: in
# the order of the streams' names, and none is written twice.
sub several_calls
{
	my ($ordered) = @_;
	my @streams = map { random_stream() } 1 .. 2 + int(rand 4);
	push @streams, $streams[0];
	my @plan = map { [ pick(@frequent), $_ ] } @streams;
	if ($ordered)
	{
		$_->[0] eq 'save_many' and $_->[0] = 'save' foreach @plan;
		$_->[0] eq 'delete' and $_->[1] =~ s/^./c/ foreach @plan;
		@plan = sort { $a->[1] cmp $b->[1] } @plan;
		my %written;
		$_->[0] =~ /save|delete/ and $written{ $_->[1] }++ and $_->[0] = 'load' foreach @plan;
	}
	my $isolation = chance(0.7) ? isolation_of_client() : pick('read committed', 'repeatable read', 'serializable');
	my $roll_back = chance(0.15);
	my $savepoint = 0;
	my ($commit_began, $committed);

	count('transaction');
	$transaction = { isolation => $isolation, entries => [], began => now(), own => {}, seen => {} };
	attempt($isolation, $ordered, sub {
		my %kept;
		$db->do("BEGIN ISOLATION LEVEL $isolation");
		foreach my $planned (@plan)
		{
			my ($call, $stream) = @$planned;
			if (!$savepoint && chance(0.3))
			{
				$db->do('SAVEPOINT here');
				$savepoint = 1;
				%kept = (own => { %{ $transaction->{own} } }, settings => $current_settings);
				push @{ $transaction->{entries} }, { mark => 1 };
			}
			$calls{$call}->($stream);
			if ($savepoint && chance(0.4))
			{
				my $undo = chance(0.6);
				$db->do($undo ? 'ROLLBACK TO here' : 'RELEASE here');
				count($undo ? 'ROLLBACK TO' : 'RELEASE');
				if ($undo)
				{
					$transaction->{own} = { %{ $kept{own} } };
					$transaction->{seen} = {};
					$current_settings = $kept{settings};
					push @{ $transaction->{entries} }, { undo => 1 };
				}
				$savepoint = $undo;
			}
		}
		$commit_began = now();
		$db->do($roll_back ? 'ROLLBACK' : 'COMMIT');
		$committed = !$roll_back;
	});
	count($committed ? 'COMMIT' : 'ROLLBACK');
	my $log = $transaction;
	undef $transaction;
	$current_settings = $session_settings;
	log_transaction($log, $committed, $commit_began // now(), now());
}

# Turns a transaction's calls into what the checks take.
sub log_transaction
{
	my ($log, $committed, $c0, $c1) = @_;
	my $isolation = $log->{isolation} // isolation_of_client();
	my $fixed = $isolation ne 'read committed';
	my @ids = uniq map { $_->{stream} // () } @{ $log->{entries} };

	foreach my $stream (@ids)
	{
		my @entries = grep { !defined $_->{stream} || $_->{stream} eq $stream } @{ $log->{entries} };
		my $sub = $settings{ group($stream) } ? \&log_exact : \&log_free;
		$sub->($stream, \@entries, $log, $fixed, $committed, $c0, $c1);
	}
}

# For check_exact: programs of steps, each run on the stream as it was at one
# moment between two times, and whether the result takes effect then.
#
# At READ COMMITTED each call sees what is committed at its own time, until one
# has stored: then the stream is locked, and nothing but the transaction's own
# calls changes what it sees, to the end or until that call is undone.  The steps
# from there on are one program: for that moment without effect, and for that of
# the commit with it.  Above READ COMMITTED all are one program, for the moment
# of the transaction's snapshot.
sub log_exact
{
	my ($stream, $entries, $log, $fixed, $committed, $c0, $c1) = @_;
	my $programs = $log{exact}{$stream} //= [];
	my ($program, $marked_within);
	my $stored = 0;
	my $stored_at_mark = 0;

	if ($log->{single})
	{
		my $step = $entries->[0]{step};
		push @$programs, [ $c0, $c1, $step->[0] eq 'save' && $step->[2], [$step] ];
		return;
	}
	$program = { began => $log->{began}, ended => $log->{snapshot_taken}, steps => [] } if $fixed;
	foreach my $entry (@$entries)
	{
		if ($entry->{mark})
		{
			$marked_within = defined $program;
			$stored_at_mark = $stored;
			push @{ $program->{steps} }, ['mark'] if $program;
		}
		elsif ($entry->{undo})
		{
			$stored = $stored_at_mark;
			if ($program && $marked_within)
			{
				push @{ $program->{steps} }, ['undo'];
			}
			elsif ($program)
			{
				push @$programs, [ $program->{began}, $program->{ended}, 0, $program->{steps} ];
				undef $program;
			}
		}
		else
		{
			my $step = $entry->{step};
			my $stores = $step->[0] eq 'save' && $step->[2];
			$stored ||= $stores;
			$program //= { began => $entry->{began}, ended => $entry->{ended}, steps => [] } if $stores;
			if ($program)
			{
				push @{ $program->{steps} }, $step;
			}
			else
			{
				push @$programs, [ $entry->{began}, $entry->{ended}, 0, [$step] ];
			}
		}
	}
	return unless $program;
	push @$programs, [ $program->{began}, $program->{ended}, 0, $program->{steps} ];
	push @$programs, [ $c0, $c1, 1, $program->{steps} ] if $committed && $stored;
}

# For check_free: each call by itself.
sub log_free
{
	my ($stream, $entries, $log, $fixed, $committed, $c0, $c1) = @_;
	my ($own, $marked, @since_mark);
	my ($calls, $number) = ($log{free}{$stream} //= [], $me . '-' . ++$log{transactions});
	my $wrote;

	foreach my $entry (@$entries)
	{
		if ($entry->{mark})
		{
			@since_mark = ();
			next;
		}
		if ($entry->{undo})
		{
			$_->{done} = 0 foreach @since_mark;
			next;
		}
		my ($call, @step) = @{ $entry->{step} };
		my %call = (call => $call, transaction => $number);
		if ($call eq 'save' || $call eq 'delete')
		{
			@call{qw(began c0 c1 done)} = ($fixed ? $log->{began} : $entry->{began}, $c0, $c1, $committed ? 1 : 0);
			$wrote //= $entry->{began};
			@call{qw(row done)} = ($step[0], $step[1] && $call{done}) if $call eq 'save';
			$call{bounds} = \@step if $call eq 'delete';
			$own = 1;
			push @since_mark, \%call;
			push @$calls, \%call;
			next;
		}
		@call{qw(t0 t1 own)} = $fixed ? ($log->{began}, $log->{snapshot_taken}, $own) : ($entry->{began}, $entry->{ended}, $own);
		if ($call eq 'load')
		{
			@call{qw(versions max_sequence max_created row)} = @step;
			push @$calls, \%call;
		}
		elsif ($call eq 'info')
		{
			foreach my $version (@{ $versions{c} })
			{
				my $best = first { $_->[0] == $version } @{ $step[0] };
				push @$calls, { %call, call => 'load', versions => [$version], row => $best && [ @$best[ 0 .. 2 ] ] };
			}
		}
	}
	push @$calls, { call => 'touch', c0 => $wrote, c1 => $c1 } if defined $wrote;
}

sub client_round
{
	my ($until, $ordered) = @_;
	connect_anew() if !$db || chance(0.5);
	while (now() < $until)
	{
		connect_anew() if chance(0.002);
		if (chance(0.2))
		{
			several_calls($ordered);
		}
		else
		{
			single_call($ordered);
		}
	}
}

# ---- the client that changes the table --------------------------------------------------

# Each with what takes it back.
my @changes = (
	['REINDEX TABLE CONCURRENTLY snapshot_store'],
	['VACUUM snapshot_store'],
	['VACUUM (FREEZE, ANALYZE) snapshot_store'],
	['VACUUM FULL snapshot_store'],
	['CLUSTER snapshot_store USING snapshot_store_pkey'],
	['ANALYZE snapshot_store'],
	[ 'ALTER TABLE snapshot_store SET (fillfactor = 90)', 'ALTER TABLE snapshot_store SET (fillfactor = 65)' ],
	[ 'CREATE INDEX mine ON snapshot_store (created_at)', 'DROP INDEX mine' ],
	[ 'CREATE INDEX CONCURRENTLY mine ON snapshot_store (sequence_number)', 'DROP INDEX CONCURRENTLY mine' ],
	[ 'CREATE TRIGGER mine BEFORE INSERT OR UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION touch()',
		'DROP TRIGGER mine ON snapshot_store' ],
	[ 'CREATE POLICY mine ON snapshot_store USING (true) WITH CHECK (true); ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY',
		'ALTER TABLE snapshot_store DISABLE ROW LEVEL SECURITY; DROP POLICY mine ON snapshot_store' ],
	[ 'ALTER EXTENSION snapshot_store ADD FUNCTION harmless()', 'ALTER EXTENSION snapshot_store DROP FUNCTION harmless()' ],
	['ALTER EXTENSION snapshot_store UPDATE'],
	(map { [ "SELECT train('$_')", "CALL snapshot_repack('$_')" ] } '', 'a', 'b', 'c'),
	(map { [ 'SELECT train()', "CALL snapshot_repack('', $_)" ] } 1, 5, 100),
	['SELECT snapshot_dictionary_retire(number) FROM snapshot_dictionaries() WHERE active ORDER BY random() LIMIT 1'],
	['BEGIN; SELECT train(); ROLLBACK'],
	['REINDEX TABLE CONCURRENTLY snapshot_dictionary'],
	(map {
		[ "ALTER DATABASE postgres SET snapshot_store.keep = $_; ALTER ROLE app SET snapshot_store.keep_versions = " . (1 + $_ % 2) ]
	} 1 .. 3),
	['ALTER DATABASE postgres RESET snapshot_store.keep; ALTER ROLE app RESET snapshot_store.keep_versions']);
# Under load only there: the way back rewrites the table, which then seems empty to older snapshots.
my @pack = ('ALTER TABLE snapshot_store ALTER state TYPE snapshot_state', 'SELECT train()');
my @column = ('ALTER TABLE snapshot_store ADD note text', 'ALTER TABLE snapshot_store DROP note');

# $column: also a column of the user's own; its traces bar the direct way.
sub ddl_round
{
	my ($until, $column) = @_;
	my @todo = (\@pack);

	connect_anew() unless $db;
	while (now() < $until)
	{
		@todo = shuffle(@changes, $column ? (\@column) x 2 : ()) unless @todo;
		foreach my $statement (@{ shift @todo })
		{
			attempt('read committed', 1, sub { $db->do($statement) });
			count('DDL');
			count('repacks') if $statement =~ /repack/;
			sleep(rand 0.2);
		}
	}
}

# ---- the model --------------------------------------------------------------------------

sub name
{
	my ($row) = @_;
	return $row ? join(' ', map { $_ // 'now' } @$row[ 0 .. 2 ], $row->[3] // '') : 'nothing';
}

sub qualifies
{
	my ($row, $versions, $max_sequence, $max_created) = @_;
	return (grep { $_ == $row->[0] } @$versions)
		&& (!defined $max_sequence || $row->[1] <= $max_sequence)
		&& (!defined $max_created || (defined $row->[2] && $row->[2] le $max_created));
}

# Would a load rather return the first?
sub is_at_least
{
	my ($row, $other) = @_;
	return $row->[1] > $other->[1] || ($row->[1] == $other->[1] && $row->[0] >= $other->[0]);
}

sub most_recent
{
	my ($first) = sort { $b->[1] <=> $a->[1] || $b->[0] <=> $a->[0] } @_;
	return $first;
}

sub best_of
{
	my ($version, $rows) = @_;
	return most_recent(grep { $_->[0] == $version } @$rows);
}

# The rule of retention: what a stream of these rows has after a save; nothing if
# it is not stored.
sub after_save
{
	my ($rows, $row, $keep, $keep_versions) = @_;
	my %of_version;

	my @beside = grep { $_->[0] != $row->[0] || $_->[1] != $row->[1] } @$rows;
	return if !$row->[4] && @beside < @$rows;
	push @{ $of_version{ $_->[0] } }, $_ foreach @beside;
	my @newest = sort { $b->[1] <=> $a->[1] } $row, @{ $of_version{ $row->[0] } // [] };
	splice @newest, $keep if @newest > $keep;
	return unless grep { $_ == $row } @newest;
	$of_version{ $row->[0] } = \@newest;

	my %last_save = map { my $version = $_; $version => (sort map { $_->[2] } @{ $of_version{$version} })[-1] } keys %of_version;
	my @others = sort { $last_save{$a} cmp $last_save{$b} } grep { $_ != $row->[0] } keys %of_version;
	delete $of_version{ shift @others } while @others >= $keep_versions;
	return [ map { @$_ } values %of_version ];
}

# Runs a program on a stream; the rows afterwards, or nothing if the outcome of a
# step is not that of the rule.
sub run_program
{
	my ($rows, $steps, $keep, $keep_versions) = @_;
	my $mark;

	foreach my $step (@$steps)
	{
		my ($call, @step) = @$step;
		if ($call eq 'save')
		{
			my $after = after_save($rows, $step[0], $keep, $keep_versions);
			return if $step[1] != ($after ? 1 : 0);
			$rows = $after // $rows;
		}
		elsif ($call eq 'load')
		{
			my ($versions, $max_sequence, $max_created, $found) = @step;
			my $best = most_recent(grep { qualifies($_, $versions, $max_sequence, $max_created) } @$rows);
			return if name($best) ne name($found);
		}
		elsif ($call eq 'info')
		{
			my $listed = join ', ', map { join ' ', @$_[ 0 .. 2 ] } sort { $b->[1] <=> $a->[1] || $b->[0] <=> $a->[0] } @$rows;
			return if $listed ne join ', ', map { join ' ', @$_ } @{ $step[0] };
		}
		elsif ($call eq 'due')
		{
			my ($versions, $count, $interval, $due) = @step;
			my $best = most_recent(grep { qualifies($_, $versions) } @$rows);
			return if $due != ($count - ($best ? $best->[1] : 0) >= $interval ? 1 : 0);
		}
		elsif ($call eq 'mark') { $mark = $rows }
		elsif ($call eq 'undo') { $rows = $mark }
	}
	return $rows;
}

sub rows_key
{
	return join ', ', sort map { name($_) } @{ $_[0] };
}

# Is there an order of the programs that agrees with their times, and in which each
# had its outcome?  Follows, in the order of time, all states that the stream may
# be in, each with those of the unfinished programs that have already run; when
# a program's time is over, only those are left in which it has.  What it finds
# wrong, or nothing.
sub check_exact
{
	my ($stream, $before, $programs, $after) = @_;
	my @settings = @{ $settings{ group($stream) } };
	my @events = sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] }
		map { [ $programs->[$_][0], 0, $_ ], [ $programs->[$_][1], 1, $_ ] } 0 .. $#$programs;
	my @worlds = ({ rows => $before, ran => {} });
	my (%open, @past);

	# Those programs without effect that fit may as well run at once.
	my $look = sub {
		my ($world, @numbers) = @_;
		foreach my $number (@numbers)
		{
			my $program = $programs->[$number];
			$world->{ran}{$number} = 1
				if !$program->[2] && !$world->{ran}{$number} && run_program($world->{rows}, $program->[3], @settings);
		}
	};
	my $distinct = sub {
		my %seen;
		return grep { !$seen{ rows_key($_->{rows}) . '|' . join ' ', sort keys %{ $_->{ran} } }++ } @_;
	};

	foreach my $event (@events)
	{
		my (undef, $is_end, $number) = @$event;
		if (!$is_end)
		{
			$open{$number} = 1;
			$look->($_, $number) foreach @worlds;
			next;
		}
		my @todo = @worlds;
		my @done;
		while (my $world = shift @todo)
		{
			if ($world->{ran}{$number})
			{
				push @done, $world;
				next;
			}
			foreach my $other (grep { $programs->[$_][2] && !$world->{ran}{$_} } keys %open)
			{
				my $rows = run_program($world->{rows}, $programs->[$other][3], @settings) or next;
				my $next = { rows => $rows, ran => { %{ $world->{ran} }, $other => 1 } };
				$look->($next, keys %open);
				push @todo, $next;
			}
			@todo = $distinct->(@todo) if @todo > 50;
		}
		if (!@done)
		{
			return "$stream: no order explains " . show_program($programs->[$number])
				. "\n  rows: " . join("\n    or: ", map { rows_key($_->{rows}) } @worlds)
				. "\n  meanwhile: " . join("\n    ", map { show_program($programs->[$_]) } grep { $_ != $number } keys %open)
				. "\n  before: " . join("\n    ", map { show_program($_) } @past);
		}
		push @past, $programs->[$number];
		shift @past if @past > 12;
		delete $open{$number};
		delete $_->{ran}{$number} foreach @done;
		@worlds = $distinct->(@done);
	}
	return if grep { rows_key($_->{rows}) eq rows_key($after) } @worlds;
	return "$stream has " . rows_key($after) . ', expected ' . join ' or ', map { rows_key($_->{rows}) } @worlds;
}

sub show_program
{
	my ($program) = @_;
	my ($began, $ended, $effect, $steps) = @$program;
	return sprintf '[%.6f to %.6f%s] %s', $began, $ended, $effect ? ', commit' : '',
		join '; ', map { join ' ', map { !defined $_ ? '-' : ref $_ ? '(' . join(' ', map { ref $_ ? "@$_" : $_ // 'now' } @$_) . ')' : $_ } @$_ } @$steps;
}

sub covers
{
	my ($delete, $row) = @_;
	if ($delete->{call} eq 'purge')
	{
		return 0 if $delete->{versions} && grep { $_ == $row->[0] } @{ $delete->{versions} };
		return !defined $delete->{max_created} || (defined $row->[2] && $row->[2] le $delete->{max_created});
	}
	my ($max_sequence, $max_created, $min_sequence, $min_created) = @{ $delete->{bounds} };
	return 0 if defined $max_sequence && $row->[1] > $max_sequence;
	return 0 if defined $min_sequence && $row->[1] < $min_sequence;
	return 0 if grep { defined && !defined $row->[2] } $max_created, $min_created;
	return 0 if defined $max_created && $row->[2] gt $max_created;
	return 0 if defined $min_created && $row->[2] lt $min_created;
	return 1;
}

sub show_call
{
	my ($call) = @_;
	return sprintf '[%.6f to %.6f] %s %s', @$call{qw(c0 c1 call)},
		$call->{row} ? name($call->{row}) : join ' ', map { $_ // '-' } @{ $call->{bounds} // $call->{versions} // [] };
}

# Each load against what is certain whatever the settings are: what it found was
# saved and committed, and neither deleted nor replaced before it began; and
# it found nothing older than a committed snapshot after which nothing was
# deleted and nothing saved of another version or beyond the bounds.
sub check_free
{
	my ($stream, $before, $calls, $after, $stopped) = @_;
	my (%saves, @wrong);

	foreach my $row (@$before)
	{
		push @$calls, { call => 'save', row => $row, began => 0, c0 => 0, c1 => 0, done => 1, transaction => '' };
	}
	$saves{ $_->{row}[3] } = $_ foreach grep { $_->{call} eq 'save' } @$calls;
	my @touches = grep { $_->{call} eq 'touch' } @$calls;		# times when rows may have been locked
	my @effects = sort { $a->{c1} <=> $b->{c1} } grep { $_->{done} || $_->{call} eq 'purge' } @$calls;
	foreach my $purge (grep { $_->{call} eq 'purge' } @effects)
	{
		# It passes over what is locked.
		$purge->{done} = 0 if grep { $_->{c0} < $purge->{c1} && $_->{c1} > $purge->{c0} } @touches;
	}
	my $longest = max(0, map { $_->{c1} - $_->{c0} } @effects);

	# The table at the stop: what it has, and what it lacks
	my %end = (call => 'load', t0 => $stopped, t1 => $stopped, transaction => '-');
	my @loads = (grep({ $_->{call} eq 'load' } @$calls),
		map(+{ %end, versions => [], row => $_ }, @$after),
		map(+{ %end, versions => [$_], row => best_of($_, $after) }, @{ $versions{c} }));

	my $last = -1;
	foreach my $load (sort { $a->{t1} <=> $b->{t1} } @loads)
	{
		my ($row, $t0, $t1) = @$load{qw(row t0 t1)};
		my $what = "$stream [$t0 to $t1] (@{ $load->{versions} }) loaded " . name($row);
		$last++ while $last < $#effects && $effects[ $last + 1 ]{c1} <= $t1 + $longest;
		if ($row && defined $row->[3])
		{
			my $save = $saves{ $row->[3] };
			if (!$save)
			{
				push @wrong, "$what, which nobody has saved";
				next;
			}
			next if $save->{transaction} eq $load->{transaction};
			push @wrong, "$what, which was not committed" unless $save->{done} && $save->{c0} < $t1;
			push @wrong, "$what, which was saved as " . name($save->{row}) if name($row) ne name([ @$row[ 0, 1 ], $save->{row}[2] // $row->[2], $row->[3] ]);
			for (my $i = $last; $i >= 0 && $effects[$i]{c1} > $save->{c1}; $i--)
			{
				my $other = $effects[$i];
				next unless $other->{done} && $other->{began} > $save->{c1} && $other->{c1} < $t0;
				push @wrong, "$what, but [$other->{began} to $other->{c1}] $other->{call}" . ($other->{row} ? ' of ' . name($other->{row}) : '')
					if $other->{call} ne 'save' ? covers($other, $save->{row})
					: $other->{row}[0] == $row->[0] && $other->{row}[1] == $row->[1];
			}
		}
		next if $load->{own};

		my @within = @$load{qw(max_sequence max_created)};
		foreach my $version (@{ $load->{versions} })
		{
			my $danger = -1;
			my @candidates;
			for (my $i = $last; $i >= 0; $i--)
			{
				my $effect = $effects[$i];
				next if $effect->{c0} >= $t1;
				if ($effect->{call} ne 'save' || !qualifies($effect->{row}, [$version], @within))
				{
					$danger = $effect->{c1};
					last;
				}
				push @candidates, $effect if $effect->{c1} < $t0;
			}
			my $best = most_recent(map { $_->{row} } grep { $_->{c0} > $danger } @candidates);
			push @wrong, "$what, but " . name($best) . ' must be there; before: ' . join '; ', map { show_call($_) }
				@effects[ max(0, $last - 8) .. $last ]
				if $best && !($row && is_at_least($row, $best));
		}
	}
	return @wrong;
}

# ---- the run ----------------------------------------------------------------------------

sub create_extension
{
	$node->safe_psql('postgres', q{
		CREATE EXTENSION snapshot_store;
		GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app;
	});
}

# After a column was dropped the direct way is barred for good; so begin anew.
sub recreate_extension
{
	$node->safe_psql('postgres', q{
		CREATE TABLE kept AS SELECT stream_id, slot, state_schema_version, sequence_number, created_at, state::json, state_bytea, metadata
		FROM snapshot_store;
		DROP EXTENSION snapshot_store;
	});
	create_extension();
	$node->safe_psql('postgres', 'INSERT INTO snapshot_store SELECT * FROM kept; DROP TABLE kept');
}

# Starts a process that waits for rounds; its end of a socket
sub start_client
{
	($me) = @_;
	socketpair(my $parent, my $child, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
	$_->autoflush(1) foreach $parent, $child;
	my $pid = fork() // die $!;
	if ($pid)
	{
		close $child;
		return { name => $me, socket => $parent, pid => $pid };
	}
	close $parent;
	my $finished = eval {
		srand($seed * 100 + ($me eq 'ddl' ? 99 : $me));
		while (defined(my $line = <$child>))
		{
			my ($until, $ordered, $column) = split ' ', $line;
			%log = (wrong => [], count => {}, exact => {}, free => {}, refused => []);
			if ($me eq 'ddl') { ddl_round($until, $column) }
			else { client_round($until, $ordered) }
			nstore(\%log, "$folder/$me");
			print $child "done\n";
		}
		1;
	};
	print $child "$@" unless $finished;
	POSIX::_exit($finished ? 0 : 1);
}

# What is in the table, by stream; every state is whole.
sub read_table
{
	my ($db) = @_;
	my %rows;
	my $table = $db->selectall_arrayref(qq{
		SELECT stream_id, slot, state_schema_version, sequence_number, coalesce(state::text, convert_from(state_bytea, 'UTF8')), $shown
		FROM snapshot_store ORDER BY stream_id, slot});
	my @torn;

	foreach (@$table)
	{
		my ($stream, $slot, $version, $sequence, $state, $metadata, $created) = @$_;
		my $id = id_of_state($state, $stream, $version, $sequence, $metadata);
		push @torn, "$stream, slot $slot" unless defined $id;
		push @{ $rows{$stream} }, [ $version, $sequence, $created, $id // '?' ];
	}
	return (\%rows, @torn);
}

# The rule, as the table alone can show it
my $against_the_rule = q{
	WITH bound (prefix, keep, keep_versions, rows) AS (VALUES ('a', 1, 1, 1), ('b', 2, 2, 4), ('c', NULL, NULL, 6)),
	stream AS (
		SELECT b.*, s.stream_id, count(*) AS n, count(DISTINCT state_schema_version) AS versions, max(slot) AS highest,
			count(DISTINCT (state_schema_version, sequence_number)) AS different,
			(SELECT max(n) FROM (SELECT count(*) AS n FROM snapshot_store v WHERE v.stream_id = s.stream_id
				GROUP BY v.state_schema_version) AS each) AS most
		FROM snapshot_store s JOIN bound b ON b.prefix = left(s.stream_id, 1)
		GROUP BY b.prefix, b.keep, b.keep_versions, b.rows, s.stream_id)
	SELECT stream_id || ' has ' || n || ' snapshots, ' || different || ' different, ' || versions || ' versions, '
		|| most || ' of one, highest slot ' || highest
	FROM stream
	WHERE highest >= rows OR (keep IS NOT NULL AND (versions > keep_versions OR most > keep OR different < n))};

my @children = map { start_client($_) } 1 .. $clients, 'ddl';
my $rounds = max(1, int($seconds / $round_seconds + 0.5));
my $rows = {};
my %total;
my %failed;		# what was checked => what was found wrong
my $checking = 0;
my $parent = DBI->connect($source, '', '', { RaiseError => 1, PrintError => 0, AutoInactiveDestroy => 1 });
$parent->do(q{SET TimeZone = 'UTC'; SET client_min_messages = warning});

round: foreach my $round (1 .. $rounds)
{
	# In every second round transactions visit streams in order, and write each
	# once: then nothing may deadlock.
	# At last, and now and then, columns come and go.
	my $column = $round == $rounds || $round % 5 == 0;
	my $until = now() + $round_seconds;
	my %logs;
	printf { $_->{socket} } "%f %d %d\n", $until, $round % 2, $column foreach @children;
	foreach my $child (@children)
	{
		my $answer = IO::Select->new($child->{socket})->can_read($patience) ? readline $child->{socket} : 'it hangs';
		if (($answer // '') ne "done\n")
		{
			push @{ $failed{'no client fails'} }, "client $child->{name}: " . ($answer // 'it died');
			last round;
		}
		$logs{ $child->{name} } = retrieve("$folder/$child->{name}");
	}
	my $stopped = now();

	my ($now, @torn) = read_table($parent);
	push @{ $failed{'states are whole'} }, @torn;
	$total{'packed states'} += $parent->selectrow_array('SELECT count(*) FROM snapshot_store WHERE pg_column_size(state) < octet_length(state::text) - 20');
	push @{ $failed{'the table is within the rule'} }, map { $_->[0] } @{ $parent->selectall_arrayref($against_the_rule) };
	push @{ $failed{'no locks are left'} }, map { "@$_" } @{ $parent->selectall_arrayref(q{
		SELECT pid, locktype, mode FROM pg_locks
		WHERE (relation = 'snapshot_store'::regclass OR locktype IN ('transactionid', 'tuple')) AND pid <> pg_backend_pid()
			AND pid NOT IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum worker')
		UNION ALL
		SELECT pid, state, query FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'}) };
	push @{ $failed{'no locks are left'} }, $parent->errstr
		unless eval { $parent->selectall_arrayref('SELECT FROM snapshot_store FOR UPDATE NOWAIT'); 1 };
	my ($output, $errors);
	my $amcheck = IPC::Run::run([ 'pg_amcheck', '--heapallindexed', '--rootdescend', '-t', 'public.snapshot_store', '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \$output, '2>', \$errors);
	push @{ $failed{'pg_amcheck is content'} }, $output . $errors unless $amcheck && $output eq '';

	# Was it really the direct way that half of the clients took?
	$node->psql('postgres', q{SET client_min_messages = debug1; SELECT count(*) FROM snapshot_load('a-1', '{1}')}, stderr => \my $way);
	push @{ $failed{'the table admits the direct way'} }, $way unless $column || $way =~ /can take the direct way/;

	my $began = now();
	foreach my $log (values %logs)
	{
		push @{ $failed{'the clients see what they may'} }, @{ $log->{wrong} };
		$total{$_} += $log->{count}{$_} foreach keys %{ $log->{count} };
	}
	foreach my $stream (map { my $group = $_; map { "$group-$_" } 1 .. $streams } qw(a b c))
	{
		my $exact = $settings{ group($stream) };
		my @calls = map { $exact ? @{ $_->{exact}{$stream} // [] } : (@{ $_->{free}{$stream} // [] }, @{ $_->{refused} }) } values %logs;
		my @stream = ($stream, $rows->{$stream} // [], \@calls, $now->{$stream} // []);
		push @{ $failed{ $exact ? 'with equal settings, the rule explains every call' : 'with settings that differ, every load is right' } },
			$exact ? check_exact(@stream) : check_free(@stream, $stopped);
		$total{'outcomes checked'} += @calls;
	}
	$checking += now() - $began;
	$total{rounds}++;
	$rows = $now;
	last if grep { @$_ } values %failed;

	recreate_extension() if $column;
}

kill 'KILL', map { $_->{pid} } @children if $failed{'no client fails'};
close $_->{socket} foreach @children;
waitpid $_->{pid}, 0 foreach @children;
$parent->disconnect;
$node->stop;

foreach my $check ('no client fails', 'the clients see what they may', 'with equal settings, the rule explains every call',
	'with settings that differ, every load is right', 'the table is within the rule', 'states are whole',
	'no locks are left', 'pg_amcheck is content', 'the table admits the direct way')
{
	my @found = @{ $failed{$check} // [] };
	ok(!@found, $check) or diag(join "\n", @found > 10 ? (@found[ 0 .. 9 ], '...') : @found, "SEED=$seed");
}
unlike(slurp_file($node->logfile), qr/PANIC:|TRAP:|terminated by signal/, 'no crash');

sub counted
{
	return join ', ', map { ($total{$_} // 0) . " $_" } @_;
}
note('counted: ', counted('rounds'), " of $round_seconds s, ", counted('outcomes checked'), sprintf(' in %.0f s', $checking));
note('counted: ', counted(qw(save load info due delete save_many load_many purge census transaction COMMIT ROLLBACK), 'ROLLBACK TO', 'RELEASE'));
note('counted: ', counted('DDL', 'repacks', 'packed states', 'retries', sort grep { /^SQLSTATE/ } keys %total));
cmp_ok($total{$_} // 0, '>', 0, "there were some: $_") foreach qw(save load save_many load_many delete transaction DDL repacks), 'packed states';

done_testing();
