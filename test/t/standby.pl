# Streaming replication.
#
# A hot standby shows what the primary has saved, replaced and deleted, also to
# a session that was there before, and refuses to write.  While it lags, what
# is made of its snapshots is right with whatever events there are, as
# doc/scale.md has it.
#
# It is a synchronous one: writers record what was acknowledged to them until
# the primary is killed, postmaster and children at once.  The standby,
# promoted, has all of it, and goes on.  SEED repeats what they choose to do.
use strict;
use warnings;

use DBD::Pg;
use DBI;
use Digest::MD5 qw(md5_hex);
use KillServer;
use List::Util qw(shuffle);
use PackedStates;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "max_connections = 20\nautovacuum = off\nwal_writer_delay = 10s\nwal_sender_timeout = 0\nwal_receiver_timeout = 0\n");
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'\n");
$primary->restart;
$standby->start;

# What the primary does, and what a session of the standby then reads.

$primary->safe_psql('postgres', 'CREATE EXTENSION snapshot_store');
$primary->wait_for_catchup($standby);
my $reader = $standby->background_psql('postgres');

sub replayed
{
	my ($command, $query, $expected, $name) = @_;

	$primary->safe_psql('postgres', $command);
	$primary->wait_for_catchup($standby);
	is($reader->query_safe($query), $expected, "the standby: $name");
}

my $load = q{SELECT sequence_number, state FROM snapshot_load('order-1', '{1,2}')};

is($reader->query_safe($load), '', 'the standby: nothing yet');
replayed(q{SELECT snapshot_save('order-1', 1, 1, '"first"')}, $load, '1|"first"', 'a first save');
replayed(q{SELECT snapshot_save('order-1', 2, 1, '"second"')}, $load, '2|"second"', 'one that replaces it');
replayed(q{SELECT snapshot_save('order-1', 2, 2, '"other"')}, $load, '2|"other"', 'one of another version');
replayed(q{BEGIN; SELECT snapshot_save('order-1', 3, 2, '"undone"'); ROLLBACK}, $load, '2|"other"', 'one that is rolled back');
replayed(q{SET snapshot_store.keep_versions = 2; SELECT snapshot_save('order-1', 1, 1, '"older"', created_at => '2026-01-05 09:00+00')},
	q{SET timezone = 'UTC'; SELECT sequence_number, state_schema_version, created_at > '2026-01-06' FROM snapshot_info('order-1')},
	"2|2|t\n1|1|f", 'two versions of a stream');
replayed(q{SELECT snapshot_save_bytea('blob', 5, 1, '\x00ff')},
	q{SELECT sequence_number, state FROM snapshot_load_bytea('blob', '{1}')}, '5|\x00ff', 'a state of bytes');
replayed(q{SELECT snapshot_save_many('{cart-1,cart-2,cart-3}', '{1,2,3}', '{1,1,2}', '{1,2,3}')},
	q{SELECT stream_id, sequence_number, state FROM snapshot_load_many('{cart-3,cart-4,cart-1}', '{1,2}')},
	"cart-3|3|3\ncart-1|1|1", 'a batch');
replayed(q{SELECT snapshot_save_many_bytea('{blob-1,blob-2}', '{1,2}', '{1,1}', '{"\\\\x01","\\\\x02"}')},
	q{SELECT stream_id, state FROM snapshot_load_many_bytea('{blob-2,blob-1}', '{1}')},
	"blob-2|\\x02\nblob-1|\\x01", '... of states of bytes');
replayed(q{SELECT snapshot_save('large', 1, 1, to_json(string_agg(md5(n::text), ''))) FROM generate_series(1, 3000) AS n},
	q{SELECT state::text = (SELECT to_json(string_agg(md5(n::text), ''))::text FROM generate_series(1, 3000) AS n)
		FROM snapshot_load('large', '{1}')}, 't', 'a state of 96 KB');
is($reader->query_safe(q{SELECT * FROM snapshot_census('cart-')}), "1|2|2\n2|1|1", 'the standby: a census');
is($reader->query_safe(q{SELECT * FROM snapshot_outdated('cart-', '{2}')}), "cart-1\ncart-2", 'the standby: a work list');
is($reader->query_safe(q{SELECT snapshot_due('cart-3', '{2}', 10, 5), snapshot_due('cart-3', '{2}', 7, 5), snapshot_due('cart-3', '{1}', 7, 5)}),
	't|f|t', 'the standby: what is due');
replayed(q{SELECT snapshot_delete('cart-1')}, q{SELECT count(*) FROM snapshot_load('cart-1', '{1}')}, '0', 'a deletion');
replayed(q{CALL snapshot_purge('cart-', '{2}')}, q{SELECT * FROM snapshot_census('cart-')}, '2|1|1', 'a purge');
replayed('VACUUM FULL snapshot_store', $load, '2|"other"', 'the table rewritten');
replayed('CREATE INDEX mine ON snapshot_store (created_at)', $load, '2|"other"', 'an index more');
replayed('DROP INDEX mine; REINDEX TABLE snapshot_store', $load, '2|"other"', 'the key built anew');

# Packed states: the reader has known none, one, and others as the primary has them

my $loaded = "SELECT concat_ws(' ', ($packed), 'of', count(*), ($wrong)) FROM snapshot_store";
my $orders = q{SELECT snapshot_save('order-train-' || n, n + %d, 1, order_state(n + %d)) FROM generate_series(1, 50) AS n};
$primary->safe_psql('postgres', 'DELETE FROM snapshot_store');
replayed("$order_state $take_packed; " . sprintf($orders, 0, 0), $loaded, '0 of 50', 'a column for packed states');
replayed($train, $loaded, '0 of 200', 'a dictionary trained');
replayed(sprintf($orders, 1000, 1000), $loaded, '50 of 200', '... by which saves are packed');
replayed(q{CALL snapshot_repack('')}, $loaded, '200 of 200', '... and all others');
replayed(q{BEGIN; SELECT number FROM snapshot_dictionary_train('order-', max_samples => 150); } . sprintf($orders, 2000, 2000) . '; COMMIT',
	$loaded, '200 of 200', 'another one, and saves by it, in one transaction');
replayed('SELECT snapshot_dictionary_retire(number) FROM snapshot_dictionaries() WHERE active; ' . sprintf($orders, 3000, 3000),
	$loaded, '150 of 200', 'retired');
replayed('VACUUM FULL snapshot_dictionary; REINDEX TABLE snapshot_dictionary', $loaded, '150 of 200', 'the table of dictionaries rewritten');
is($reader->query_safe('SELECT count(*) FROM snapshot_dictionaries()'), '2', 'the standby: lists them');
replayed(q{SELECT snapshot_delete(stream_id) FROM snapshot_store WHERE stream_id <> 'order-train-1'; SELECT snapshot_save('order-1', 2, 2, '"other"')}, $load, '2|"other"', 'as before');

$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($reader->query_safe($load), '2|"other"', 'the standby: REPEATABLE READ');
replayed(q{SELECT snapshot_save('order-1', 4, 2, '"later"')}, $load, '2|"other"', '... sees no later save');
$reader->query_safe('COMMIT');
is($reader->query_safe($load), '4|"later"', '... until it has ended');

my $rows = 'SELECT ctid, xmin, * FROM snapshot_store ORDER BY stream_id, slot';
is($standby->safe_psql('postgres', $rows), $primary->safe_psql('postgres', $rows), 'the rows of the standby are those of the primary');

# A standby that lags: its replay is paused.  The amount of the event n is n, so
# the state as of it is n * (n + 1) / 2.

my %documented = slurp_file('doc/scale.md') =~ /^PREPARE (\w+) .*?AS\n(.*?);\n/msg;
my ($last_event, $written, $caught_up) = map { $documented{$_} // die "doc/scale.md has no $_" } qw(last_event written caught_up);

$primary->safe_psql('postgres', q{
	CREATE TABLE account_event (stream_id text COLLATE "C", sequence_number bigint, data json NOT NULL,
		PRIMARY KEY (stream_id, sequence_number))});
append('account-1', 1, 100);
save_account('account-1', 100);
append('account-2', 1, 150);
save_account('account-2', $_, 2) foreach (100, 110);
append('account-1', 101, 120);
$primary->wait_for_catchup($standby);
pause_replay();
append('account-1', 121, 150);
save_account('account-1', 150);
my $position = asked($primary, $written);

is(rehydrated($standby, $primary), '100 + 50 = 150: 11325', 'a lagging standby: an older snapshot, and more of the events of the primary');
is(rehydrated($standby, $standby), '100 + 20 = 120: 7260', '... with its own events the state as of the last that it has');
is(rehydrated($primary, $primary), '150 + 0 = 150: 11325', '... and on the primary the newest');
is(rehydrated($primary, $standby), '150 + 0 = 150: 11325', 'the snapshot of the primary is ahead of the events of the standby');
is(rehydrated($primary, $standby, 120), '0 + 120 = 120: 7260', '... not with the last of these as max_sequence_number, by which there is none');
is(asked($primary, q{SELECT stream_id, sequence_number FROM snapshot_load_many('{account-1,account-2}', '{1}', max_sequence_numbers => '{120,120}')}),
	'account-2|110', '... nor in a batch');
is(asked($primary, q{SELECT sequence_number FROM snapshot_load('account-2', '{1}', max_sequence_number => 109)}), '100',
	'... and with keep = 2 there is the one before');

is(asked($standby, bound_to($last_event, q{'account-1'})), '120', "the event's number tells that the standby is behind 150");
is(asked($standby, bound_to($caught_up, "'$position'")), 'f', '... and so does the position in the write-ahead log');
is(asked($primary, bound_to($caught_up, "'$position'")), 't', '... while the primary has what it has written');
is(join(' ', map { asked($_, q{SELECT snapshot_due('account-1', '{1}', 150, 50)}) } $standby, $primary), 't f',
	'the standby calls a snapshot due that the primary has');
is(save_account('account-1', 120), 'f', '... and saved there, the older one is not stored');
like(($standby->psql('postgres', q{\set VERBOSITY sqlstate
	SELECT snapshot_save('account-1', 150, 1, '{"balance": 11325}')}))[2], qr/ERROR:  25006$/, 'a lagging standby refuses a save as ever');

$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($reader->query_safe(bound_to($caught_up, "'$position'")), 'f', 'a transaction at REPEATABLE READ sees that the standby is behind');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$primary->wait_for_catchup($standby);
is($reader->query_safe(bound_to($caught_up, "'$position'")), 't', '... then that it is not');
is($reader->query_safe(q{SELECT sequence_number FROM snapshot_load('account-1', '{1}')}), '100', '... and still loads the old snapshot');
$reader->query_safe('COMMIT');
is(rehydrated($standby, $standby), '150 + 0 = 150: 11325', 'the standby has caught up');

# Replay keeps the order of the commits: no snapshot comes before its events.
# The reader comes by at any moment of it.
{
	my ($application, $elsewhere) = (connection($primary), connection($standby));
	my ($ahead, $ahead_in_two) = (0, 0);
	my $events = q{SELECT max(sequence_number) FROM account_event WHERE stream_id = 'account-1'};
	my $snapshot = q{SELECT sequence_number FROM snapshot_load('account-1', '{1}')};

	foreach my $n (151 .. 450)
	{
		$application->do(q{INSERT INTO account_event VALUES ('account-1', ?, '{}')}, undef, $n);
		$application->do(q{SELECT snapshot_save('account-1', ?, 1, '{}')}, undef, $n);
		$ahead++ if $elsewhere->selectrow_array("SELECT ($snapshot) > ($events)");
		my ($number) = $elsewhere->selectrow_array($snapshot);
		$ahead_in_two++ if $number > $elsewhere->selectrow_array($events);
	}
	is("$ahead, $ahead_in_two", '0, 0', 'events and snapshots of one standby, in one statement or in two: no snapshot is ahead');
	$primary->wait_for_catchup($standby);
	is($elsewhere->selectrow_array($snapshot), 450, '... and the last is there');
	$_->disconnect foreach $application, $elsewhere;
}

# What a long statement meets there.  Saves alone, which clean up behind
# themselves, remove rows that it might still see.
{
	my $long = connection($standby);
	my $saves = q{SELECT snapshot_save('account-1', 500, 1, '{}')};
	my $batch = q{SELECT stream_id, sequence_number FROM snapshot_load_many('{account-1,account-2}', '{1}')};

	set_up_standby('max_standby_streaming_delay = 0');
	$long->do("SELECT pg_sleep(1000) FROM ($batch) AS b", { pg_async => DBD::Pg::PG_ASYNC });
	$standby->poll_query_until('postgres', "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $long->{pg_pid}");
	$primary->safe_psql('postgres', "$saves;" x 100);
	ok(!eval { $long->pg_result }, 'a batch of loads that takes long on a standby');
	is($long->state, '40001', '... is canceled by what saves do on the primary');
	is_deeply($long->selectall_arrayref($batch), [ [ 'account-1', 500 ], [ 'account-2', 110 ] ], '... and done, repeated');

	my $idle = connection($standby);
	$idle->do('SET default_transaction_isolation = "repeatable read"');
	$idle->begin_work;
	$idle->selectall_arrayref($batch);
	$primary->safe_psql('postgres', "$saves;" x 100);
	$primary->wait_for_catchup($standby);
	ok(!eval { $idle->selectall_arrayref($batch) }, 'an idle transaction that could still see them');
	like($idle->errstr, qr/terminating connection due to conflict with recovery/, '... loses its connection');
	$idle->{RaiseError} = 0;    # or its end is an error, too
	$idle->disconnect;
	ok($standby->poll_query_until('postgres', q{SELECT confl_snapshot = 2 FROM pg_stat_database_conflicts WHERE datname = 'postgres'}),
		'... and both are counted as conflicts');

	set_up_standby('hot_standby_feedback = on');
	ok($primary->poll_query_until('postgres', 'SELECT backend_xmin IS NOT NULL FROM pg_stat_replication'), 'with hot_standby_feedback');
	$long->do('SET default_transaction_isolation = "repeatable read"');
	$long->begin_work;
	my $seen = $long->selectall_arrayref($batch);
	$primary->safe_psql('postgres', "SELECT snapshot_save('account-1', 600, 1, '{}');" x 100);
	$primary->safe_psql('postgres', 'VACUUM snapshot_store');
	$primary->wait_for_catchup($standby);
	is_deeply($long->selectall_arrayref($batch), $seen, '... neither saves nor VACUUM cancel anything');
	$long->commit;
	$long->disconnect;
	set_up_standby('hot_standby_feedback = off', 'max_standby_streaming_delay = 30s');
}

# What a standby refuses

my %writes = (
	snapshot_save => q{SELECT snapshot_save('order-1', 5, 2, '5')},
	snapshot_save_bytea => q{SELECT snapshot_save_bytea('order-1', 5, 2, '\x05')},
	snapshot_save_many => q{SELECT * FROM snapshot_save_many('{order-1,order-2}', '{5,5}', '{2,2}', '{5,5}')},
	snapshot_save_many_bytea => q{SELECT * FROM snapshot_save_many_bytea('{order-1}', '{5}', '{2}', '{"\\\\x05"}')},
	snapshot_delete => q{SELECT snapshot_delete('order-1')},
	snapshot_purge => q{CALL snapshot_purge('', max_created_at => 'infinity')});

foreach my $function (sort keys %writes)
{
	my (undef, undef, $stderr) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$writes{$function}");

	like($stderr, qr/ERROR:  25006: cannot execute $function\(\) in a read-only transaction\nHINT:  .* must send $function\(\) to the primary\.$/m,
		"a standby refuses $function, and says where it must be sent");
}

my $off = 'SET snapshot_store.enabled = off;';
is($standby->safe_psql('postgres', $off . join '; ', map { $writes{$_} } grep { /save/ } sort keys %writes), "f\nf\norder-1|f\norder-2|f\norder-1|f",
	'while the store is off, saves return false there, and raise no error');
is($standby->safe_psql('postgres', qq{$off $load; SELECT snapshot_due('order-1', '{2}', 100, 1)}), 'f', '... loads find nothing, and nothing is due');
like(($standby->psql('postgres', $off . $writes{snapshot_delete}))[2], qr/cannot execute snapshot_delete\(\)/, '... and deletions are refused as ever');
is($reader->query_safe($load), '4|"later"', 'nothing has changed');

# The rest is about commits, whichever way they came about, and once is enough:
# its writers take both ways.
if (($ENV{PGOPTIONS} // '') =~ /access_path=sql/)
{
	$reader->quit;
	done_testing();
	exit;
}

# Which commits wait for the standby.  Its receiver is stopped meanwhile.

$primary->safe_psql('postgres', 'DELETE FROM snapshot_store');
is($primary->safe_psql('postgres', q{SELECT sync_state, current_setting('synchronous_commit') FROM pg_stat_replication}), 'sync|on',
	'synchronous replication, with synchronous_commit on');

my $save = q{SELECT snapshot_save('wait ' || current_setting('synchronous_commit'), 1, 1, '1')};
my $saved = q{SELECT substr(stream_id, 6) FROM snapshot_store WHERE stream_id LIKE 'wait %' ORDER BY 1};
my $receiver = $reader->query_safe('SELECT pid FROM pg_stat_wal_receiver');
my %waiting;

kill 'STOP', $receiver;
foreach my $mode (qw(off local))
{
	my $session = connection($primary);

	$session->do("SET synchronous_commit = $mode");
	$session->begin_work;
	ok($session->selectrow_array($save), "with synchronous_commit $mode, a save");
	my ($lsn) = $session->selectrow_array('SELECT pg_current_wal_insert_lsn()');
	$session->commit;
	ok($session->selectrow_array("SELECT pg_current_wal_flush_lsn() > '$lsn'"), '... is flushed by the primary when it is acknowledged');
	$session->disconnect;
}
foreach my $mode (qw(on remote_apply remote_write))
{
	$waiting{$mode} = connection($primary);
	$waiting{$mode}->do("SET synchronous_commit = $mode");
	$waiting{$mode}->do($save, { pg_async => DBD::Pg::PG_ASYNC });
	ok($primary->poll_query_until('postgres', "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $waiting{$mode}->{pg_pid}"),
		"with synchronous_commit $mode, a save waits for the standby");
}
is($reader->query_safe($saved), '', '... which as yet has none of them');
kill 'CONT', $receiver;
foreach my $mode (sort keys %waiting)
{
	is($waiting{$mode}->pg_result, 1, "... and is acknowledged when the standby goes on: $mode");
	$waiting{$mode}->disconnect;
}
$primary->wait_for_catchup($standby);
is($reader->query_safe($saved), "local\noff\non\nremote_apply\nremote_write", '... which now has all');

# Four writers, each with streams of its own: they save, replace, delete, and
# save batches.  What they begin and what was acknowledged to them is in their
# journals.

my $seed = $ENV{SEED} // int(rand(2**31));
my @writers = (1 .. 4);
my %journal = map { $_ => $primary->basedir . "/writer_$_" } @writers;

note("SEED=$seed");
wait_for(start_writers($primary, 1, 100));
$primary->wait_for_catchup($standby);
check_journals($primary, 'on the primary');
is($standby->safe_psql('postgres', $rows), $primary->safe_psql('postgres', $rows), '... and the rows of the standby are the same');

my @pids = start_writers($primary, 2);
my $enough = acknowledged() + 300 + int(rand(500));
foreach (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if acknowledged() >= $enough;
	sleep(0.05);
}

# The receiver is stopped a little earlier.  What a commit does not wait for is
# acknowledged meanwhile, and lost.
kill 'STOP', $receiver;
sleep(0.05 + rand(0.1));
kill_server($primary);
kill 'CONT', $receiver;
wait_for(@pids);
cmp_ok(acknowledged(), '>=', $enough, 'the primary is killed while they save');

$standby->promote;
note('counted: ' . acknowledged() . ' operations acknowledged before the primary was killed, ' . begun() . ' under way');
check_journals($standby, 'on the promoted standby');
is($reader->query_safe(q{SELECT snapshot_save('reader', 1, 1, '1')}), 't', 'a session that read from the standby now saves');
like(($standby->psql('postgres', q{SET client_min_messages = debug1; SELECT snapshot_save('reader', 2, 1, '2')}))[2],
	qr/can take the direct way/, '... and new ones do so directly');
wait_for(start_writers($standby, 3, 100));
is(begun(), 0, 'the writers go on there');
check_journals($standby, 'at the end');

$reader->quit;
$standby->stop;
# A killed server's shared memory is given back when it starts again.
$primary->start;
$primary->stop;
done_testing();

sub asked
{
	my ($node, $query) = @_;
	return $node->safe_psql('postgres', $query);
}

# A prepared statement's text with its one parameter.
sub bound_to
{
	my ($statement, $value) = @_;
	return $statement =~ s/\$1/$value/gr;
}

sub pause_replay
{
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	ok($standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}), 'the replay is paused');
}

sub set_up_standby
{
	$standby->append_conf('postgresql.conf', join('', map { "$_\n" } @_));
	$standby->reload;
}

sub append
{
	my ($stream, $from, $to) = @_;
	$primary->safe_psql('postgres', qq{
		INSERT INTO account_event SELECT '$stream', n, json_build_object('amount', n) FROM generate_series($from, $to) AS n});
}

sub save_account
{
	my ($stream, $number, $keep) = @_;
	my $balance = $number * ($number + 1) / 2;
	return asked($primary, 'SET snapshot_store.keep = ' . ($keep // 1)
		. qq{; SELECT snapshot_save('$stream', $number, 1, '{"balance": $balance}')});
}

# What an application makes of the snapshots here and the events there: the
# number of the snapshot + events replayed = the number of the last: the state.
sub rehydrated
{
	my ($snapshots, $events, $bound) = @_;
	my ($number, $balance) = split /\|/, asked($snapshots, q{SELECT sequence_number, state ->> 'balance' FROM snapshot_load('account-1', '{1}', }
		. ($bound // 'NULL') . ')') || '0|0';

	return asked($events, qq{
		SELECT format('%s + %s = %s: %s', $number, count(*), coalesce(max(sequence_number), $number), $balance + coalesce(sum((data ->> 'amount')::int), 0))
		FROM account_event WHERE stream_id = 'account-1' AND sequence_number > $number});
}

sub connection
{
	my ($node) = @_;
	return DBI->connect('dbi:Pg:' . $node->connstr('postgres'), undef, undef,
		{ RaiseError => 1, PrintError => 0, AutoInactiveDestroy => 1 });
}

# Each writer does so many rounds, or goes on until its connection breaks.
sub start_writers
{
	my ($node, $phase, $rounds) = @_;
	my @pids;

	foreach my $writer (@writers)
	{
		my $pid = fork() // die "could not fork: $!";
		if ($pid == 0)
		{
			my $session = connection($node);

			eval { write_rounds($session, $writer, $phase, $rounds // 1_000_000) };
			append_to_file($journal{$writer}, "error $@\n") if $@ && $session->ping;
			POSIX::_exit(0);
		}
		push @pids, $pid;
	}
	return @pids;
}

sub write_rounds
{
	my ($session, $writer, $phase, $rounds) = @_;

	srand($seed + 10 * $phase + $writer);
	$session->do('SET snapshot_store.access_path = ' . ($writer % 2 ? 'auto' : 'sql'));
	foreach my $round (1 .. $rounds)
	{
		my @streams = map { "w$writer-$_" } shuffle(1 .. 9);
		my $n = 1_000_000 * $phase + $round;
		my $what = rand();

		if ($what < 0.1)
		{
			do_round($session, $writer, { $streams[0] => 0 },
				'SELECT snapshot_delete(?) IN (0, 1)', $streams[0]);
		}
		elsif ($what < 0.8)
		{
			do_round($session, $writer, { $streams[0] => $n },
				'SELECT snapshot_save(?, ?, 1, ?, ?)', $streams[0], $n, state_and_checksum($n));
		}
		else
		{
			my @pairs = map { [ state_and_checksum($n) ] } 1 .. 3;

			do_round($session, $writer, { map { $_ => $n } @streams[0 .. 2] },
				q{SELECT bool_and(stored) FROM snapshot_save_many(?, ?, '{1,1,1}', ?, ?)},
				[ @streams[0 .. 2] ], [ ($n) x 3 ], [ map { $_->[0] } @pairs ], [ map { $_->[1] } @pairs ]);
		}
	}
	$session->disconnect;
}

# $numbers: the sequence number that each stream has afterwards; 0: it has none.
sub do_round
{
	my ($session, $writer, $numbers, $query, @arguments) = @_;

	append_to_file($journal{$writer}, join(' ', %$numbers) . "\n");
	my ($done) = $session->selectrow_array($query, undef, @arguments);
	append_to_file($journal{$writer}, $done ? "acknowledged\n" : "error: refused\n");
}

# One state in five is too large to stay in line.
sub state_and_checksum
{
	my ($n) = @_;
	my $noise = join '', map { sprintf '%08x', rand(2**32) } 1 .. (rand() < 0.2 ? 1500 : 5);
	my $state = qq({"n": $n, "noise": "$noise"});

	return ($state, sprintf('{"md5": "%s"}', md5_hex($state)));
}

# Of a journal: each stream's number by what was acknowledged, the same with
# what was begun last, and counts of both.
sub read_journal
{
	my ($writer) = @_;
	my (%kept, %begun);
	my $acknowledged = 0;

	foreach my $line (-e $journal{$writer} ? split(/\n/, slurp_file($journal{$writer})) : ())
	{
		if ($line eq 'acknowledged' || $line eq 'applied')
		{
			$acknowledged++ if $line eq 'acknowledged';
			%kept = (%kept, %begun);
			%begun = ();
		}
		elsif ($line eq 'lost')
		{
			%begun = ();
		}
		elsif ($line =~ /^error/)
		{
			die "writer $writer: $line";
		}
		else
		{
			%begun = split / /, $line;
		}
	}
	return (as_text(%kept), as_text(%kept, %begun), $acknowledged, %begun ? 1 : 0);
}

sub as_text
{
	my %number = @_;
	return join ' ', map { "$_=$number{$_}" } grep { $number{$_} } sort keys %number;
}

sub acknowledged { my $sum = 0; $sum += (read_journal($_))[2] foreach @writers; return $sum; }
sub begun { my $sum = 0; $sum += (read_journal($_))[3] foreach @writers; return $sum; }

# The table holds what was acknowledged to each writer, to the letter: what was
# begun last may be there or not, but as a whole.
sub check_journals
{
	my ($node, $name) = @_;

	foreach my $writer (@writers)
	{
		my ($kept, $with_begun, undef, $begun) = read_journal($writer);
		my $found = $node->safe_psql('postgres', qq{
			SELECT string_agg(stream_id || '=' || sequence_number, ' ' ORDER BY stream_id)
			FROM snapshot_store WHERE stream_id LIKE 'w$writer-%'});
		my $applied = $begun && $found eq $with_begun;

		is($found, $applied ? $with_begun : $kept, "$name: writer $writer misses nothing that was acknowledged");
		append_to_file($journal{$writer}, $applied ? "applied\n" : "lost\n") if $begun;
	}
	is($node->safe_psql('postgres', q{
			SELECT string_agg(s.stream_id, ' ')
			FROM snapshot_store AS s LEFT JOIN LATERAL snapshot_load(s.stream_id, '{1}') AS l ON true
			WHERE s.stream_id LIKE 'w_-%'
			AND (md5(l.state::text) = l.metadata ->> 'md5' AND (l.state ->> 'n')::bigint = s.sequence_number) IS NOT TRUE}),
		'', "$name: every state is loaded, and equals its checksum");
}

sub wait_for
{
	waitpid($_, 0) foreach @_;
}
