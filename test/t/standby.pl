# Streaming replication.
#
# A hot standby shows what the primary has saved, replaced and deleted, also to
# a session that was there before, and refuses to write.
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
