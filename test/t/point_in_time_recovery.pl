# A base backup and an archive of the write-ahead log: a server that is
# recovered to a restore point has the snapshots of that moment, no more and no
# less, and goes on from there.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'the access path makes no difference, and once is enough'
	if ($ENV{PGOPTIONS} // '') =~ /access_path=sql/;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, has_archiving => 1);
$node->start;
my $sql = sub { return $node->safe_psql('postgres', @_) };

my $rows = 'SELECT ctid, * FROM snapshot_store ORDER BY stream_id, slot';
my $large = q{(SELECT to_json(string_agg(md5(n::text || %d), '')) FROM generate_series(1, 1000) AS n)};

# Before the backup, between backup and restore point, and after that

$sql->('CREATE EXTENSION snapshot_store; ALTER DATABASE postgres SET snapshot_store.keep_versions = 2');
$sql->(q{SELECT snapshot_save(format('order-%s', n), 10, 1, to_json(n)) FROM generate_series(10, 29) AS n});
$sql->(sprintf q{SELECT snapshot_save('large', 1, 1, %s), snapshot_save_bytea('blob', 1, 1, '\x01')}, sprintf $large, 1);
$node->backup('base');

$sql->(q{SELECT snapshot_save(format('order-%s', n), 20, 1, to_json(-n)) FROM generate_series(10, 19) AS n});
$sql->(q{SELECT snapshot_save('order-10', 15, 2, '{"version": 2}'), snapshot_save('order-30', 1, 2, '{"version": 2}')});
$sql->(sprintf q{SELECT snapshot_save('large', 2, 1, %s), snapshot_delete('order-29')}, sprintf $large, 2);
my $then = $sql->($rows);
my $point = $sql->(q{SELECT pg_create_restore_point('here')});

$sql->(q{SELECT snapshot_save(format('order-%s', n), 30, 1, to_json(0)) FROM generate_series(10, 40) AS n});
$sql->(q{SELECT snapshot_save('large', 3, 1, '3'), snapshot_save_bytea('blob', 2, 2, '\x02'), snapshot_delete('order-11')});
$sql->(q{CALL snapshot_purge('order-1', '{2}')});
isnt($sql->($rows), $then, 'the table has changed since the restore point');
$sql->('SELECT pg_switch_wal()');
ok($node->poll_query_until('postgres', qq{SELECT last_archived_wal >= pg_walfile_name('$point') FROM pg_stat_archiver}),
	'the log is archived');
$node->stop;

my $recovered = PostgreSQL::Test::Cluster->new('recovered');
$recovered->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
$recovered->append_conf('postgresql.conf', "recovery_target_name = 'here'\nrecovery_target_action = promote\n");
$recovered->start;
$recovered->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
$sql = sub { return $recovered->safe_psql('postgres', @_) };

is($sql->($rows), $then, 'recovered to the restore point, it is as it was');
is($sql->(q{SELECT count(*) FROM generate_series(10, 40) AS n, snapshot_load(format('order-%s', n), '{1}') WHERE sequence_number = 10 + 10 * (n < 20)::int
		AND state::text = (CASE WHEN n < 20 THEN -n ELSE n END)::text}),
	'19', '... and so are the loads');
is($sql->(q{SELECT * FROM snapshot_census('order-')}), "1|19|19\n2|2|2", '... and the census');
is($sql->(sprintf q{SELECT sequence_number, state::text = %s::text FROM snapshot_load('large', '{1}')}, sprintf $large, 2), '2|t', '... and a large state');
is($sql->('SHOW snapshot_store.keep_versions'), '2', '... and the settings');
is($sql->(q{SELECT snapshot_save('order-12', 19, 1, '0'), snapshot_save('order-12', 21, 1, '1'), snapshot_save('order-40', 1, 1, '1')}),
	'f|t|t', 'it goes on');
is($sql->(q{SELECT string_agg(concat_ws('/', stream_id, sequence_number, state), ' ') FROM snapshot_load_many('{order-12,order-40}', '{1}')}),
	'order-12/21/1 order-40/1/1', '... and loads what it saves');

$recovered->stop;
done_testing();
