# Which commits are flushed, and which are marked to be flushed where they are
# replayed, too: that costs a standby a flush each, so only those that would
# not be flushed otherwise.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# Nobody else writes or flushes WAL.
$node->append_conf('postgresql.conf', q{
	wal_level = minimal
	max_wal_senders = 0
	wal_writer_delay = 10s
	autovacuum = off
	checkpoint_timeout = 1d
	max_prepared_transactions = 1
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION snapshot_store;
	CREATE TABLE other (n integer);
	CREATE TABLE plain (n integer);
	CREATE FUNCTION save() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM snapshot_save('deferred', 1, 1, '1');
		RETURN NULL;
	END
	$$;
	CREATE CONSTRAINT TRIGGER save AFTER INSERT ON other DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION save();
});

# flushed_and_marked(setting, statement...): whether the last commit was flushed at
# once, and whether its record is marked.
sub flushed_and_marked
{
	my ($setting, @statements) = @_;
	my @psql = map { ('-c', $_) } "SET synchronous_commit = $setting", @statements;
	my $from = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	my ($stdout, $stderr);

	# In one session, which asks at its end.
	$node->run_log([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), @psql, '-c',
			q{SELECT pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()} ],
		'>', \$stdout, '2>', \$stderr) or die $stderr;
	my ($to, $flushed) = $stdout =~ /^(.*)\|(t|f)$/m or die "no answer: $stdout";

	# pg_waldump reads files.
	$node->safe_psql('postgres', q{SET synchronous_commit = on; SELECT pg_switch_wal()});
	my ($dump, $errors) = run_command([ 'pg_waldump', '-p', $node->data_dir . '/pg_wal', '-r', 'Transaction',
			'-s', $from, '-e', $to ]);
	my @commits = grep { /desc: COMMIT/ } split /\n/, $dump;
	die "no commit between $from and $to: $errors" unless @commits;
	return ($flushed eq 't' ? 'flushed' : 'not flushed') . ', ' . ($commits[-1] =~ /; sync/ ? 'marked' : 'not marked');
}

my $save = q{SELECT snapshot_save('order', 1, 1, '1')};
my %writes = (
	'a save' => $save,
	'a batch' => q{SELECT snapshot_save_many('{a,b}', '{1,1}', '{1,1}', '{1,1}')},
	'a deletion' => "SELECT snapshot_delete('order')",
	'a purge' => "CALL snapshot_purge('a', min_created_at => '-infinity')");

# Whether the writer of WAL has come by is nobody's promise.
like(flushed_and_marked('off', 'INSERT INTO plain VALUES (1)'),
	qr/not marked/, 'synchronous_commit = off: without the store');
foreach my $what ('a save', 'a batch', 'a deletion', 'a purge')
{
	foreach my $setting (qw(local on))
	{
		$node->safe_psql('postgres', $save) if $what eq 'a deletion';
		is(flushed_and_marked($setting, $what eq 'a purge' ? $writes{'a batch'} : (), $writes{$what}),
			'flushed, not marked', "synchronous_commit = $setting: $what");
	}
	is(flushed_and_marked('off', $what eq 'a purge' ? $writes{'a batch'} : $save, $writes{$what}),
		'flushed, marked', "synchronous_commit = off: $what");
}
is(flushed_and_marked('on', 'BEGIN', $save, 'SET LOCAL synchronous_commit = off', 'COMMIT'),
	'flushed, marked', 'what counts is the setting at the commit: off at last');
is(flushed_and_marked('off', 'BEGIN', $save, 'SET LOCAL synchronous_commit = on', 'COMMIT'),
	'flushed, not marked', 'on at last');
is(flushed_and_marked('off', 'INSERT INTO other VALUES (1)'), 'flushed, marked', 'a save by a deferred trigger');
is(flushed_and_marked('off', 'INSERT INTO plain VALUES (1) RETURNING snapshot_ensure_durable(1::smallint)'),
	'flushed, marked', 'what Citus writes with what it is told');
like(flushed_and_marked('off', 'BEGIN', $save, 'ROLLBACK', 'INSERT INTO plain VALUES (1)'),
	qr/not marked/, 'a transaction after one with a save that was rolled back');
like(flushed_and_marked('off', 'SET snapshot_store.durable = off', q{SELECT snapshot_save('order', 2, 1, '1')}),
	qr/not marked/, 'with snapshot_store.durable = off');

$node->safe_psql('postgres', "BEGIN; SELECT snapshot_save('order', 3, 1, '1'); PREPARE TRANSACTION 'p'");
is(flushed_and_marked('off', "COMMIT PREPARED 'p'"), 'flushed, not marked', 'a prepared transaction');

$node->stop;
done_testing();
