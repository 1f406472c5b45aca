# Logical replication of the table to another server that has the extension:
# the subscriber applies what saves, deletions and purges do, row by row by the
# primary key, and loads there give what they give on the publisher.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', "max_logical_replication_workers = 4\n");
$subscriber->start;
$_->safe_psql('postgres', 'CREATE EXTENSION snapshot_store') foreach $publisher, $subscriber;

# What both servers show: every row, and what loads return of every stream.
my $everything = q{
	SELECT * FROM snapshot_store ORDER BY stream_id, slot;
	SELECT id, l.*, i.*
	FROM (SELECT DISTINCT stream_id AS id, state IS NULL AS is_bytea FROM snapshot_store) AS s
	CROSS JOIN (VALUES ('{1}'::bigint[]), ('{2}'), ('{1,2}')) AS v (recognized)
	LEFT JOIN LATERAL (
		SELECT l.*::text FROM snapshot_load(id, recognized) AS l WHERE NOT is_bytea
		UNION ALL
		SELECT l.*::text FROM snapshot_load_bytea(id, recognized) AS l WHERE is_bytea) AS l ON true
	LEFT JOIN LATERAL (SELECT count(*), string_agg(sequence_number::text, ' ') FROM snapshot_info(id)) AS i ON true
	ORDER BY id, recognized};

# $command on the publisher; then the subscriber is the same, and $query shows
# that it has come to something.
sub applied
{
	my ($command, $query, $expected, $name) = @_;

	my $answer = $publisher->safe_psql('postgres', $command);
	$publisher->wait_for_catchup('snapshots');
	is($subscriber->safe_psql('postgres', $query), $expected, $name);
	same();
	return $answer;
}

sub same
{
	is($subscriber->safe_psql('postgres', $everything), $publisher->safe_psql('postgres', $everything),
		'... and all rows and loads are the same');
}

my $of = q{SELECT string_agg(concat_ws('/', slot, state_schema_version, sequence_number, left(state::text, 12), metadata), ' ' ORDER BY slot)
	FROM snapshot_store WHERE stream_id = '%s'};
my $noise = q{(SELECT to_json(string_agg(md5(n::text || %d), '')) FROM generate_series(1, 1000) AS n)};

# The initial copy

$publisher->safe_psql('postgres', q{
	SELECT snapshot_save('order-1', 1, 1, '"one"', '{"by": "a"}', '2026-01-05 09:00+00'),
		snapshot_save_bytea('blob', 1, 1, '\x00ff'),
		snapshot_save('large', 1, 1, } . sprintf($noise, 1) . q{);
	SELECT snapshot_save_many('{cart-1,cart-2,cart-3}', '{1,2,3}', '{1,1,1}', '{1,2,3}');
	CREATE PUBLICATION snapshots FOR TABLE snapshot_store;
});
is($publisher->safe_psql('postgres', q{SELECT relreplident, indexrelid::regclass
		FROM pg_class JOIN pg_index ON indrelid = pg_class.oid AND indisprimary WHERE relname = 'snapshot_store'}),
	'd|snapshot_store_pkey', 'the replica identity is the primary key');
$subscriber->safe_psql('postgres', sprintf q{CREATE SUBSCRIPTION snapshots CONNECTION '%s' PUBLICATION snapshots},
	$publisher->connstr('postgres') =~ s/'/''/gr);
$subscriber->wait_for_subscription_sync($publisher, 'snapshots');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM snapshot_store'), '6', 'the initial copy');
same();

# Saves

applied(q{SELECT snapshot_save('order-2', 1, 1, '"new"')}, sprintf($of, 'order-2'), '0/1/1/"new"', 'a first save');
is(applied(q{
		BEGIN;
		SELECT snapshot_save('order-1', 2, 1, '"two"') \g /dev/null
		SELECT pg_stat_get_xact_tuples_hot_updated('snapshot_store'::regclass);
		COMMIT}, sprintf($of, 'order-1'), '0/1/2/"two"', 'one that replaces it'),
	'1', '... which is a HOT update');
applied(q{SELECT snapshot_save('order-1', 2, 2, '"other"')}, sprintf($of, 'order-1'), '0/2/2/"other"', 'another version, in the same slot');
applied(q{SET snapshot_store.keep_versions = 2; SELECT snapshot_save('order-1', 3, 1, '"both"')},
	sprintf($of, 'order-1'), '0/2/2/"other" 1/1/3/"both"', '... and in another');
applied(q{SELECT snapshot_save('order-1', 4, 1, '"again"')}, sprintf($of, 'order-1'), '0/1/4/"again"', '... one of which goes');
applied(q{SELECT snapshot_save_bytea('blob', 2, 1, '\x01')}, q{SELECT state FROM snapshot_load_bytea('blob', '{1}')}, '\x01', 'a state of bytes');
applied(q{SELECT snapshot_save('blob', 3, 1, '"text"')}, sprintf($of, 'blob'), '0/1/3/"text"', '... replaced by one of JSON');
applied(q{SELECT snapshot_save_many('{cart-1,cart-4}', '{2,1}', '{1,2}', '{2,1}')},
	q{SELECT stream_id, sequence_number FROM snapshot_load_many('{cart-1,cart-2,cart-3,cart-4}', '{1,2}')},
	"cart-1|2\ncart-2|2\ncart-3|3\ncart-4|1", 'a batch');
applied(q{SELECT snapshot_save('order-1', 3, 1, '"late"')}, sprintf($of, 'order-1'), '0/1/4/"again"', 'one that is not stored');
applied(q{BEGIN; SELECT snapshot_save('order-1', 5, 1, '5'); SAVEPOINT s; SELECT snapshot_save('order-1', 6, 1, '6'); ROLLBACK TO s; COMMIT},
	sprintf($of, 'order-1'), '0/1/5/5', 'two, of which one is undone');

# Two sessions save the first snapshot of a stream.  The row of the second has
# to be taken back, before it waits for the first.
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $first = $publisher->background_psql('postgres');
	my $second = $publisher->background_psql('postgres');
	my $stream = "race-\L$end";

	$first->query_safe("BEGIN; SELECT snapshot_save('$stream', 1, 1, '\"first\"')");
	$second->query_until(qr/begins/, "\\echo begins\nSELECT snapshot_save('$stream', 2, 1, '\"second\"');\n");
	ok($publisher->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted}),
		"before the other's $end");
	$first->query_safe($end);
	is($second->query_safe(''), 't', "a session that waited for another's first save, and its $end");
	$_->quit foreach $first, $second;
	applied('SELECT', sprintf($of, $stream), '0/1/2/"second"', '... saves, and so does the subscriber');
}

# Large states that are not sent again, since they do not change

sub chunks
{
	my $toast = $publisher->safe_psql('postgres', q{SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'snapshot_store'});
	return $publisher->safe_psql('postgres', "SELECT string_agg(DISTINCT chunk_id::text, ' ' ORDER BY chunk_id::text) FROM $toast");
}

my $large = q{SELECT slot, sequence_number, md5(state::text) = md5(%s::text), metadata FROM snapshot_store WHERE stream_id = 'large'};
my $chunks = chunks();
like($chunks, qr/^\d+$/, 'a large state, in TOAST');
applied(q{SELECT snapshot_save(stream_id, sequence_number, 1, state, '{"by": "b"}') FROM snapshot_store WHERE stream_id = 'large'},
	sprintf($large, sprintf $noise, 1), '0|1|t|{"by": "b"}', 'a save of the stored state with other metadata');
applied(q{UPDATE snapshot_store SET metadata = '{"by": "c"}' WHERE stream_id = 'large'},
	sprintf($large, sprintf $noise, 1), '0|1|t|{"by": "c"}', '... and in plain SQL');
is(chunks(), $chunks, '... both of which leave it where it was');

applied(sprintf(q{SET snapshot_store.keep = 3; SELECT snapshot_save('large', 3, 1, %s), snapshot_save('large', 4, 1, %s)},
		sprintf($noise, 3), sprintf($noise, 4)),
	q{SELECT string_agg(slot || '/' || sequence_number, ' ' ORDER BY slot) FROM snapshot_store WHERE stream_id = 'large'},
	'0/1 1/3 2/4', 'three of a stream');
my ($moving) = chunks() =~ / (\d+)$/;
applied(q{SET snapshot_store.keep = 2; SELECT snapshot_save('large', 5, 1, '"small"')},
	sprintf($large, sprintf $noise, 4), "0|5|f|\n1|4|t|", '... of which one moves to a lower slot');
is(chunks(), $moving, '... and leaves its state where it was');

# What goes

applied(q{SELECT snapshot_delete('large', max_sequence_number => 4)}, sprintf($of, 'large'), '0/1/5/"small"', 'a deletion within bounds');
applied(q{SELECT snapshot_delete('large')}, sprintf($of, 'large'), '', '... of a whole stream');
applied(q{CALL snapshot_purge('cart-', '{2}', batch_size => 2)}, q{SELECT * FROM snapshot_census('cart-')}, '2|1|1', 'a purge');
applied(q{DELETE FROM snapshot_store WHERE stream_id = 'blob'}, sprintf($of, 'blob'), '', 'a deletion in plain SQL');
applied(q{TRUNCATE snapshot_store; SELECT snapshot_save('order-1', 1, 1, '1')}, 'SELECT count(*) FROM snapshot_store', '1', 'all at once');

# The subscriber takes over.

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION snapshots');
is($subscriber->safe_psql('postgres', q{SELECT snapshot_save('order-1', 2, 1, '2')}), 't', 'the subscriber saves when it is one no more');
is($subscriber->safe_psql('postgres', q{SELECT sequence_number, state FROM snapshot_load('order-1', '{1}')}), '2|2', '... in place of what it had');

$_->stop foreach $publisher, $subscriber;
done_testing();
