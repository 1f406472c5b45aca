# On a table that Citus distributes: what fails on Citus if nothing is done about it, and what is promised there.
use strict;
use warnings;

use Citus;
use Test::More;

make_database('snapshot_store_test');
END { local $?; drop_database() }

my $coordinator = session(0);
$coordinator->do('SET client_min_messages = warning');
$coordinator->do('SET citus.shard_count = 8');

my $load_at_worker = q{SELECT state FROM snapshot_load('s-1', '{1}')};

# ---- before it is distributed ------------------------------------------------------------

$coordinator->do('CREATE EXTENSION snapshot_store');
is(result($coordinator, q{SELECT snapshot_save('s-1', 1, 1, '1')}), '1', 'a table that is not distributed is saved to');
{
	my $worker = session(1);
	my $unknown = '55000 this node of Citus does not know where the rows of table "snapshot_store" are';

	is(result($worker, q{SELECT snapshot_save('s-1', 1, 1, '1')}), $unknown, '... but not at a worker, which has another');
	is(result($worker, $load_at_worker), $unknown, '... nor is that loaded from');
	$coordinator->do(q{SELECT create_distributed_table('snapshot_store', 'stream_id')});
	is(result($worker, $load_at_worker), '1', 'once it is distributed, the session loads from it');
	is(result($coordinator, $load_at_worker), '1', '... and the coordinator, too');

	my ($host, $port) = @{ $nodes[1] }{qw(host port)};
	$coordinator->do("SELECT stop_metadata_sync_to_node('$host', $port)");
	is(result($worker, q{SELECT snapshot_save('s-1', 2, 1, '2')}), $unknown, 'a worker without metadata: nothing is saved');
	is(result($worker, $load_at_worker), $unknown, '... nor loaded');
	my $stream = one(qq{SELECT 's-' || n FROM generate_series(1, 100) AS n
		JOIN pg_dist_placement AS p ON p.shardid = get_shard_id_for_distribution_column('snapshot_store', 's-' || n)
		JOIN pg_dist_node AS d USING (groupid) WHERE nodeport = $port LIMIT 1});
	is(result(session(2), "SELECT snapshot_save('$stream', 2, 1, '2')"), qq{55000 the node of Citus that has stream "$stream" has no metadata},
		'... nor saved to it by another worker');
	is(result($coordinator, "SELECT snapshot_save('$stream', 2, 1, '2')"), '1', '... but by the coordinator');
	$coordinator->do("SELECT start_metadata_sync_to_node('$host', $port)");
	is(result($worker, $load_at_worker), '1', 'with metadata it loads again');
	is(result($worker, q{SELECT snapshot_save('s-1', 2, 1, '2')}), '1', '... and saves');
	$worker->disconnect;
}

# ---- histories and upkeep ----------------------------------------------------------------

foreach my $node (0, 1)
{
	my $session = session($node);
	my $stream = "history-$node";

	$session->do('SET snapshot_store.keep = 5');
	$session->do("SELECT snapshot_save('$stream', n, 1, to_json(n)) FROM generate_series(1, 5) AS n");
	$session->do('SET snapshot_store.keep = 2');
	is(result($session, "SELECT snapshot_save('$stream', 6, 1, '6')"), '1', "node $node: a save after keep was lowered");
	is(result($session, "SELECT sequence_number FROM snapshot_info('$stream')"), "6\n5", '... leaves as many as there may be');
	$session->do('SET snapshot_store.keep_versions = 2');
	is(result($session, "SELECT snapshot_save('$stream', 1, 2, '1')"), '1', '... and one of another version beside them');
	is(result($session, "SELECT snapshot_delete('$stream', 5)"), '2', '... and a deletion of some');
	is(result($session, "SELECT state FROM snapshot_load('$stream', '{1,2}')"), '6', '... and what is left');
	$session->disconnect;
}
$coordinator->do('TRUNCATE snapshot_store');

# 300 streams with versions 1 to 3, of which a third has 3 alone.
my $fill = q{INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
	SELECT 'up-' || n, slot, CASE WHEN n % 3 = 0 THEN 3 ELSE slot + 1 END, n, timestamptz '2024-01-01' + n * interval '1 day', '1'
	FROM generate_series(1, 300) AS n, generate_series(0, 1) AS slot};
$coordinator->do($fill);
$coordinator->do(q{SELECT snapshot_save('other', 1, 9, '1')});
foreach my $node (0, 2)
{
	my $session = session($node);
	my $by_hand = join "\n", map { $_->[0] } @{ $session->selectall_arrayref(
		q{SELECT 'up-' || n FROM generate_series(3, 300, 3) AS n WHERE 'up-' || n > 'up-2' ORDER BY ('up-' || n) COLLATE "C" LIMIT 20}) };

	is(result($session, q{SELECT * FROM snapshot_census('up-')}), "1|200|200\n2|200|200\n3|200|100", "node $node: a census");
	is(result($session, q{SELECT * FROM snapshot_census()}), "1|200|200\n2|200|200\n3|200|100\n9|1|1", '... of all');
	is(result($session, q{SELECT * FROM snapshot_census('nothing-')}), '', '... of nothing');
	is(result($session, q{SELECT * FROM snapshot_outdated('up-', '{1,9}', 20, 'up-2')}), $by_hand, '... and the first of a work list');
	is(result($session, q{SELECT count(*) FROM snapshot_outdated('', '{2}')}), '101', '... and a whole one');
	is(result($session, q{SELECT count(*) FROM snapshot_outdated('', '{}')}), '301', '... of those who recognize nothing');
	$session->disconnect;
}

# A row that another session has locked is passed over.
{
	my $saver = session(0);
	my $purger = session(1);

	$saver->begin_work;
	is(result($saver, q{SELECT snapshot_save('up-4', 5, 1, '5')}), '1', 'a transaction has saved');
	$purger->do(q{SET statement_timeout = '30s'});
	$purger->do('SET client_min_messages = warning');
	# Of streams 1 to 100, 67 have a second version, and 33 the third one twice.
	is(result($purger, q{CALL snapshot_purge('up-', '{1}', max_created_at => '2024-04-10', batch_size => 7)}), '132',
		'a purge by version and time passes over what it has locked');
	$saver->rollback;
	is(result($purger, q{SELECT state_schema_version FROM snapshot_info('up-4')}), "2\n1", '... and leaves that');
	is(result($purger, q{CALL snapshot_purge('up-', '{1}', max_created_at => '2024-04-10')}), '1', '... for the next one');
	is(result($purger, q{SELECT * FROM snapshot_census('up-')}), "1|200|200\n2|133|133\n3|134|67", '... and nothing else went');
	$purger->disconnect;
	$saver->disconnect;
}

# What it has done before it is stopped is done: the last shard is locked.
{
	my ($shard, $port) = $coordinator->selectrow_array(q{SELECT s.shardid, n.nodeport FROM pg_dist_shard AS s
		JOIN pg_dist_placement USING (shardid) JOIN pg_dist_node AS n USING (groupid)
		WHERE logicalrelid = 'snapshot_store'::regclass ORDER BY s.shardid DESC LIMIT 1});
	my ($node) = grep { $nodes[$_]{port} == $port } 0 .. $#nodes;
	my $locker = session($node);
	my $purger = session(0);
	my $kept = "SELECT count(*) FROM snapshot_store WHERE get_shard_id_for_distribution_column('snapshot_store', stream_id)";

	my $in_last = result($coordinator, "$kept = $shard");
	$locker->do('SET citus.enable_manual_changes_to_shards = on');
	$locker->begin_work;
	$locker->do("LOCK TABLE snapshot_store_$shard IN SHARE MODE");
	$purger->do('SET client_min_messages = warning');
	$purger->do(q{SET statement_timeout = '5s'});
	like(result($purger, q{CALL snapshot_purge('', max_created_at => 'infinity', batch_size => 10)}), qr/^57014/, 'a purge is stopped');
	is(result($coordinator, "$kept <> $shard"), '0', '... and has done what it could');
	$locker->rollback;
	$purger->do('RESET statement_timeout');
	is(result($purger, q{SELECT count(*) FROM pg_cursors}), '0', '... leaves no list behind');
	is(result($purger, q{CALL snapshot_purge('', max_created_at => 'infinity')}), $in_last, '... and the next one does the rest');
	$_->disconnect foreach $purger, $locker;
}

# Batches of a size of one's own, with long names.
$coordinator->do(q{SELECT snapshot_save(repeat('long ', 399) || n, 1, 1, '1') FROM generate_series(1, 20) AS n});
$coordinator->do($fill);
is(result($coordinator, q{CALL snapshot_purge('', '{7}', batch_size => 100000)}), '620', 'a purge of all in large batches');
like(result($coordinator, q{BEGIN; CALL snapshot_purge('', '{7}'); COMMIT}), qr/^2D000/, 'a purge in a transaction block is refused');
$coordinator->do('ROLLBACK');
# Nothing is told while the table is locked, and nothing done.
{
	my ($locker, $purger) = map { session($_) } 0, 1;
	my @told;
	local $SIG{__WARN__} = sub { push @told, @_ };

	$purger->do('SET client_min_messages = warning');
	$purger->do($fill);
	$purger->do('SET client_min_messages = notice');
	$locker->do('BEGIN');
	$locker->do('LOCK TABLE snapshot_store IN ACCESS EXCLUSIVE MODE');
	$locker->do('SELECT pg_sleep(11); COMMIT', { pg_async => 1 });
	is(result($purger, q{CALL snapshot_purge('', '{7}', batch_size => 7)}), '600', 'a purge that has to wait');
	like($told[0], qr/has deleted [1-7] snapshots? up to stream "up-/, '... tells of its progress when there is some');
	$locker->pg_result;
	$_->disconnect foreach $locker, $purger;
}
like(result($coordinator, q{CALL snapshot_repack('')}), qr/^0A000 |^0$/, 'nothing is packed');

# ---- the plans for what a node itself holds ------------------------------------------------

{
	my @sessions = (session(1), session(1));
	my @streams = @{ $coordinator->selectcol_arrayref(qq{SELECT 'p-' || n FROM generate_series(1, 1000) AS n
		WHERE get_shard_id_for_distribution_column('snapshot_store', 'p-' || n) = (
			SELECT min(shardid) FROM pg_dist_shard JOIN pg_dist_placement USING (shardid) JOIN pg_dist_node USING (groupid)
			WHERE logicalrelid = 'snapshot_store'::regclass AND nodeport = $nodes[1]{port})}) };

	$coordinator->do("SELECT snapshot_save('$_', 0, 1, '0')") foreach @streams;
	$coordinator->do('ANALYZE snapshot_store');    # so that it is known to be small
	$_->do('BEGIN ISOLATION LEVEL SERIALIZABLE') foreach @sessions;
	is(result($sessions[$_], "SELECT snapshot_save('$streams[$_]', 1, 1, '1')"), '1', 'a serializable save') foreach 0, 1;
	ok(eval { $sessions[$_]->do('COMMIT') }, '... has no conflict with one of another stream in the shard') foreach 0, 1;
	is(result($sessions[0], "SELECT count(nullif(snapshot_save('$streams[0]', n, 1, '1'), false)) FROM generate_series(2, 1001) AS n"), '1000',
		'many saves in a session');
	cmp_ok(result($sessions[0], q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'CachedPlan'}), '<', 3e7,
		'... do not fill its memory with plans');

	# Citus tells the shard to who may read the whole table.
	$coordinator->do($_) foreach 'DROP ROLE IF EXISTS snapshot_test_columns', 'CREATE ROLE snapshot_test_columns',
		q{GRANT SELECT (stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata),
		INSERT, UPDATE, DELETE ON snapshot_store TO snapshot_test_columns};
	$sessions[0]->do('SET ROLE snapshot_test_columns');
	is(result($sessions[0], "SELECT snapshot_save('$streams[0]', 1002, 1, '1')"), '1', 'who may read the columns alone saves');
	is(result($sessions[0], "SELECT snapshot_delete('$streams[0]')"), '1', '... and deletes');
	is(result($sessions[0], "SELECT snapshot_delete('$streams[0]')"), '0', '... what is there');
	$sessions[0]->do('RESET ROLE');
	$coordinator->do("$_ snapshot_test_columns") foreach 'DROP OWNED BY', 'DROP ROLE';
	$_->disconnect foreach @sessions;
	$coordinator->do(q{DELETE FROM snapshot_store WHERE stream_id ^@ 'p-'});
}

# ---- durability --------------------------------------------------------------------------

$coordinator->do(q{DO 'BEGIN EXECUTE format(''ALTER DATABASE %I SET synchronous_commit = off'', current_database()); END'});
{
	my $writer = session(0);
	my @streams = map { $_->[0] } @{ $writer->selectall_arrayref(q{SELECT 'd-' || n FROM generate_series(1, 40) AS n}) };
	my %placement = map { @$_ } @{ $writer->selectall_arrayref(q{SELECT 'd-' || n, n.nodeport FROM generate_series(1, 40) AS s (n)
		JOIN pg_dist_placement AS p ON p.shardid = get_shard_id_for_distribution_column('snapshot_store', 'd-' || s.n)
		JOIN pg_dist_node AS n USING (groupid)}) };
	my ($first) = sort { $a <=> $b } values %placement;
	my @there = grep { $placement{$_} == $first } @streams;
	my ($node) = grep { $nodes[$_]{port} == $first } 0 .. $#nodes;
	my $batch = join ',', @there[0 .. 2];
	my $watcher = session($node);

	$writer->do('SET client_min_messages = warning');
	$writer->do('CREATE TEMPORARY TABLE done (stored boolean)');
	is(result($writer, 'SHOW synchronous_commit') . result($watcher, 'SHOW synchronous_commit'), 'offoff',
		'a cluster that does not flush its commits');
	foreach my $case (
		[ 'a first save', "SELECT snapshot_save('$there[0]', 1, 1, '1')" ],
		[ 'a save', "SELECT snapshot_save('$there[0]', 2, 1, '2')" ],
		[ 'a save of bytes', "SELECT snapshot_save_bytea('$there[1]', 2, 1, 'two')" ],
		[ 'a save in a transaction block', "BEGIN; SELECT snapshot_save('$there[0]', 3, 1, '3'); COMMIT" ],
		[ 'a batch', "SELECT snapshot_save_many('{$batch}', '{4,4,4}', '{1,1,1}', '{4,4,4}')" ],
		[ 'saves by INSERT ... SELECT', "INSERT INTO done SELECT snapshot_save(id, 5, 1, '5') FROM unnest('{$batch}'::text[]) AS id" ],
		[ 'a save of a history', "SET snapshot_store.keep = 3; SELECT snapshot_save('$there[0]', 6, 1, '6'); RESET snapshot_store.keep" ],
		[ 'a deletion', "SELECT snapshot_delete('$there[1]')" ],
		[ 'a purge', "CALL snapshot_purge('$there[2]', '{7}')" ])
	{
		my ($name, $command) = @$case;

		my $before = result($watcher, 'SELECT pg_current_wal_insert_lsn()');
		$writer->do($_) foreach split /; /, $command;
		cmp_ok(result($watcher, "SELECT pg_current_wal_flush_lsn() - '$before'"), '>', 0, "$name is flushed where it is");
	}
	my $before = result($watcher, 'SELECT pg_current_wal_insert_lsn()');
	$writer->do("UPDATE snapshot_store SET metadata = NULL WHERE stream_id = '$there[0]'");
	cmp_ok(result($watcher, "SELECT pg_current_wal_flush_lsn() - '$before'"), '<=', 0, 'what the store has not done is not');
	$_->disconnect foreach $writer, $watcher;
}
$coordinator->do(q{DO 'BEGIN EXECUTE format(''ALTER DATABASE %I RESET synchronous_commit'', current_database()); END'});

# ---- reading -----------------------------------------------------------------------------

$coordinator->do(q{SELECT snapshot_save('big', 1, 1, to_json(repeat('0123456789', 10000)))});
$coordinator->do(q{SELECT snapshot_save('middle', 1, 1, to_json(repeat('0123456789', 300)))});
my $sizes = q{SELECT string_agg(size, ', ' ORDER BY size) FROM (SELECT unnest(string_to_array(result, ',')) AS size FROM
	run_command_on_shards('snapshot_store', $$SELECT string_agg(stream_id || ' ' || pg_column_size(state), ',') FROM %s WHERE stream_id IN ('big', 'middle')$$)) AS s};
my $infos = q{SELECT string_agg(id || ' ' || state_size, ', ' ORDER BY id) FROM unnest('{big,middle}'::text[]) AS id, snapshot_info(id)};
is(one($infos, $_), one($sizes), "node $_: the size of a state is that which it has where it is stored") foreach 0 .. $#nodes;
is(result($coordinator, q{SELECT octet_length(state::text) FROM snapshot_load('big', '{1}')}), '100002', 'a large state');

is(result($coordinator, q{SELECT snapshot_save('beside', 1, 1, '1'), (SELECT count(*) FROM snapshot_load('beside', '{1}'))}), '1|1',
	'a load beside a save in a statement sees it, unlike elsewhere');
{
	my $session = session(0);
	my $parallel = $session->{pg_server_version} >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode';
	my $query = q{SELECT count(l.state) FROM asked LEFT JOIN LATERAL snapshot_load(id, '{1}') AS l ON true};

	$session->do('SET client_min_messages = warning');
	$session->do(q{CREATE TABLE asked AS SELECT 'big' AS id FROM generate_series(1, 500)});
	$session->do('ANALYZE asked');
	$session->do("SET $_") foreach "$parallel = on", 'parallel_setup_cost = 0', 'parallel_leader_participation = off', 'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0';
	is(result($session, $query), '55000 cannot read a distributed table in a parallel worker', 'a load in a parallel worker is refused');
	$session->do($_) foreach map { "ALTER FUNCTION $_->[0] PARALLEL RESTRICTED" } @{ $session->selectall_arrayref(
		q{SELECT oid::regprocedure FROM pg_proc WHERE proname LIKE 'snapshot_load%'}) };
	is(result($session, $query), '500', '... and one that is not PARALLEL SAFE runs beside them');
	$session->disconnect;
}

# ---- a shard that moves ------------------------------------------------------------------

# Citus would write to where it has read, also where that is no longer the shard's place.
SKIP:
{
	skip 'there are less than three workers', 14 if @nodes < 4;
	my ($from, $to) = @nodes[2, 3];
	my ($stream, $shard) = $coordinator->selectrow_array(q{SELECT 'moved-' || n, p.shardid FROM generate_series(1, 100) AS s (n)
		JOIN pg_dist_placement AS p ON p.shardid = get_shard_id_for_distribution_column('snapshot_store', 'moved-' || s.n)
		JOIN pg_dist_node AS n USING (groupid) WHERE nodeport = ? LIMIT 1}, undef, $from->{port});
	my $moved = qq{40001 stream "$stream" has moved to another node since the transaction read it};

	$coordinator->do("SELECT snapshot_save('$stream', 1, 1, '1')");
	foreach my $case ([ 1, "snapshot_save('$stream', 2, 1, '2')", $moved ], [ 1, "snapshot_delete('$stream')", $moved ],
		[ 3, "snapshot_save('$stream', 2, 1, '2')", '1' ], [ 0, "snapshot_save('$stream', 3, 1, '3')", '1' ])
	{
		my ($node, $call, $expected) = @$case;
		my $session = session($node);
		my $before = one("SELECT sequence_number FROM snapshot_info('$stream')");

		$session->do('SET client_min_messages = warning');
		$session->begin_work;
		is(result($session, "SELECT state FROM snapshot_load('$stream', '{1}')"), $before, "node $node: a transaction reads a stream, whose shard moves");
		$coordinator->do("SELECT citus_move_shard_placement($shard, ?, ?, ?, ?, 'block_writes')", undef, map { @$_{qw(host port)} } $from, $to);
		is(result($session, "SELECT $call"), $expected, "... $call there then " . ($expected eq '1' ? 'writes' : 'is refused'));
		$expected eq '1' ? $session->commit : $session->rollback;
		is(one("SELECT sequence_number FROM snapshot_info('$stream')"), $expected eq '1' ? $before + 1 : $before, '... and this is what is kept');
		$coordinator->do('CALL citus_cleanup_orphaned_resources()');
		($from, $to) = ($to, $from);
		$session->disconnect;
	}

	# What another has done to the stream where it is now is seen by what writes nothing, too.
	foreach my $case ([ "snapshot_delete('$stream')", "snapshot_save('$stream', 5, 1, '5')", "snapshot_delete('$stream')" ],
		[ "snapshot_save('$stream', 6, 1, '6')", "snapshot_delete('$stream')", "snapshot_save('$stream', 4, 1, '4')" ])
	{
		my ($before, $meanwhile, $call) = @$case;
		my $session = session(1);

		$coordinator->do("SELECT $before");
		$session->begin_work;
		$session->do("SELECT FROM snapshot_load('$stream', '{1}')");
		$coordinator->do("SELECT citus_move_shard_placement($shard, ?, ?, ?, ?, 'block_writes')", undef, map { @$_{qw(host port)} } $from, $to);
		$coordinator->do("SELECT $meanwhile");
		is(result($session, "SELECT $call"), $moved, "after $before and a move, a $meanwhile is not missed by $call");
		$session->rollback;
		$coordinator->do('CALL citus_cleanup_orphaned_resources()');
		($from, $to) = ($to, $from);
		$session->disconnect;
	}
}

# ---- calls that are delegated ------------------------------------------------------------

{
	my $session = session(0);

	$session->do('SET client_min_messages = warning');
	is(result($session, 'SET snapshot_store.keep = 3; SHOW snapshot_store.keep'), '3', 'a session can change a setting');
	$session->do('RESET snapshot_store.keep');
	$session->do(q{SELECT create_distributed_function(oid::regprocedure, 'stream_id', colocate_with => 'snapshot_store', force_delegation => true)
		FROM pg_proc WHERE proname IN ('snapshot_save', 'snapshot_save_bytea', 'snapshot_delete', 'snapshot_info', 'snapshot_due')});
	foreach my $node (0, 1)
	{
		my $there = session($node);

		like(result($there, "SET snapshot_store.$_"), qr/^55000 invalid value for parameter "snapshot_store/, "node $node: no longer: $_")
		  foreach 'keep = 3', 'keep_versions = 2', 'enabled = off', 'durable = off', 'max_state_size = 100';
		is(result($there, q{SELECT set_config('snapshot_store.access_path', 'sql', false)}), 'sql', '... but what decides over no rows');
		ok(!defined session($node, try => 1, options => '-c snapshot_store.enabled=off'), '... nor can one be begun with that');
		$there->disconnect;
	}
	$session->do(q{DO 'BEGIN EXECUTE format(''ALTER DATABASE %I SET snapshot_store.keep_versions = 2'', current_database()); END'});
	is(one(q{SELECT string_agg(DISTINCT result, ' ') FROM run_command_on_all_nodes('SHOW snapshot_store.keep_versions')}), '2',
		'what is set for the database is so on all nodes');
	is(one(q{SHOW snapshot_store.keep_versions}), '2', '... and in new sessions');
	$session->do(q{DO 'BEGIN EXECUTE format(''ALTER DATABASE %I RESET snapshot_store.keep_versions'', current_database()); END'});

	$session->do('SET citus.log_remote_commands = on');
	foreach my $call ([ q{snapshot_save('del', 1, 1, '1')}, '1' ], [ q{snapshot_save_bytea('del', 2, 1, '2')}, '1' ],
		[ q{snapshot_due('del', '{1}', 10, 5)}, '1' ], [ q{snapshot_delete('del')}, '1' ])
	{
		my @remote;
		local $SIG{__WARN__} = sub { push @remote, @_ };

		$session->do('SET client_min_messages = notice');
		is(result($session, "SELECT $call->[0]"), $call->[1], "a call that is delegated: $call->[0]");
		is(scalar(grep { /issuing SELECT public\.snapshot_/ } @remote), 1, '... goes to another node whole');
		$session->do('SET client_min_messages = warning');
	}
	$session->do('SET citus.log_remote_commands = off');
	$session->do('SET default_transaction_read_only = on');
	is(result($session, q{SELECT snapshot_save('read-only', 1, 1, '1')}), '1', 'a session that is read-only here is not so there');
	$session->disconnect;
}

$coordinator->disconnect;
done_testing();
