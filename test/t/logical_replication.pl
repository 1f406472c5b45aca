# Logical replication of the table to another server that has the extension:
# the subscriber applies what saves, deletions and purges do, row by row by the
# primary key, and loads there give what they give on the publisher.  What goes
# wrong where both save, and that the recipes in doc/operations.md close it.
#
# States that the publisher has packed arrive as JSON, whatever the subscriber's
# column is, and whatever has become of their dictionary meanwhile.
use strict;
use warnings;

use PackedStates;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', "max_prepared_transactions = 5\nlogical_decoding_work_mem = 64kB\n");
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->append_conf('postgresql.conf', "max_logical_replication_workers = 4\nmax_prepared_transactions = 5\n");
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

# A publication of some rows may filter by the key alone: otherwise what replaces or deletes a row
# fails, though a first save does not.

foreach ([ 'state_schema_version = 1', '42P10' ], [ q{starts_with(stream_id, 'order-')}, 'no error' ])
{
	my ($filter, $expected) = @$_;

	$publisher->safe_psql('postgres', "CREATE PUBLICATION filtered FOR TABLE snapshot_store WHERE ($filter)");
	is(outcome_of($publisher, q{SELECT snapshot_save('order-9', 1, 1, '1')}), 'no error', "a publication WHERE ($filter): a first save");
	is(outcome_of($publisher, q{SELECT snapshot_save('order-9', 2, 1, '2')}), $expected, "... one that replaces: $expected");
	is(outcome_of($publisher, q{SELECT snapshot_delete('order-9')}), $expected, "... a deletion: $expected");
	$publisher->safe_psql('postgres', q{DROP PUBLICATION filtered; SELECT snapshot_delete('order-9')});
}

# Where both save, the last to write has its way, ...

sub saves
{
	my ($node, $stream, $sequence_number, $state, $version) = @_;

	$version //= 1;
	$node->safe_psql('postgres', "SELECT snapshot_save('$stream', $sequence_number, $version, '\"$state\"')");
	$publisher->wait_for_catchup('snapshots') if $node == $publisher;
}

sub subscribers
{
	return $subscriber->safe_psql('postgres', sprintf $of, $_[0]);
}

saves($publisher, 'order-1', 10, 'published');
saves($subscriber, 'order-1', 20, 'newer');
saves($publisher, 'order-1', 11, 'older');
is(subscribers('order-1'), '0/1/11/"older"', "a publisher's older snapshot replaces a subscriber's newer one");

# ... and a large state that is not sent again leaves the subscriber's beside the publisher's number.
applied(q{SELECT snapshot_save('mixed', 1, 1, } . sprintf($noise, 1) . ')', q{SELECT sequence_number FROM snapshot_info('mixed')},
	'1', 'a large state');
applied(sprintf(q{SET snapshot_store.keep = 3; SELECT snapshot_save('moved', 1, 1, '1'), snapshot_save('moved', 2, 1, '2'), snapshot_save('moved', 3, 1, %s)},
		sprintf($noise, 3)), q{SELECT string_agg(slot || '/' || sequence_number, ' ' ORDER BY slot) FROM snapshot_store WHERE stream_id = 'moved'},
	'0/1 1/2 2/3', 'three of a stream');
saves($subscriber, 'mixed', 2, 'other', 2);
$publisher->safe_psql('postgres', q{UPDATE snapshot_store SET metadata = '{}' WHERE stream_id = 'mixed'});
$publisher->wait_for_catchup('snapshots');
is(subscribers('mixed'), '0/1/1/"other"/{}', '... under which the subscriber has another one afterwards');
$subscriber->safe_psql('postgres', q{SET snapshot_store.keep = 3; SELECT snapshot_save('moved', n, 1, '"own"') FROM generate_series(10, 12) AS n});
$publisher->safe_psql('postgres', q{SET snapshot_store.keep = 2; SELECT snapshot_save('moved', 4, 1, '4')});
$publisher->wait_for_catchup('snapshots');
is(subscribers('moved'), '0/1/4/4 1/1/3/"own"', '... and so it is when the publisher moves one to a lower slot');

# Both have saved the first of a stream.
saves($subscriber, 'first', 1, 'own');
my $log = -s $subscriber->logfile;
$publisher->safe_psql('postgres', q{SELECT snapshot_save('first', 2, 1, '"published"')});
# As 18 and later have it, and as others do
$subscriber->wait_for_log(qr/conflict=insert_exists|duplicate key value violates unique constraint "snapshot_store_pkey"/, $log);
is($subscriber->safe_psql('postgres', sprintf $of, 'first'), '0/1/1/"own"', 'the first of a stream on both sides stops replication');
$subscriber->safe_psql('postgres', q{SELECT snapshot_delete('first')});
$publisher->wait_for_catchup('snapshots');
is(subscribers('first'), '0/1/2/"published"', "... until the subscriber's is deleted");
$_->safe_psql('postgres', 'TRUNCATE snapshot_store') foreach $subscriber, $publisher;
$publisher->wait_for_catchup('snapshots');

# Read-only for the application, as the document has it

my $document = slurp_file('doc/operations.md');
my ($revoke) = $document =~ /^(REVOKE .* ON snapshot_store FROM app;)$/m;
$_->safe_psql('postgres', 'CREATE ROLE app LOGIN; GRANT ALL ON snapshot_store TO app') foreach $publisher, $subscriber;
my @as_app = (extra_params => [ '-U', 'app' ]);
saves($subscriber, 'order-2', 1, 'own');
is(outcome_of($subscriber, q{SELECT snapshot_save('order-2', 2, 1, '2')}, @as_app), 'no error', 'the application saves on the subscriber');
$subscriber->safe_psql('postgres', $revoke);
foreach my $call (q{snapshot_save('order-2', 3, 1, '3')}, q{snapshot_delete('order-2')})
{
	is(outcome_of($subscriber, "SELECT $call", @as_app), '42501', "... and no more: $call");
}
is(outcome_of($subscriber, 'TRUNCATE snapshot_store', @as_app), '42501', '... nor does it truncate');
is($subscriber->safe_psql('postgres', q{SELECT sequence_number FROM snapshot_load('order-2', '{1}')}, @as_app), '2', '... but it loads');
$subscriber->safe_psql('postgres', 'TRUNCATE snapshot_store');

# The trigger that keeps the newer one, as the document has it, also through the initial copy

my ($trigger) = $document =~ /^(CREATE FUNCTION keep_newer\(\).*?)^```$/ms;
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION snapshots');
$publisher->safe_psql('postgres', q{SELECT snapshot_save('both-' || n, 10, 1, '"published"') FROM generate_series(1, 4) AS n});
saves($subscriber, 'both-1', 20, 'newer');
saves($subscriber, 'both-2', 5, 'older');
saves($subscriber, 'both-3', 20, 'other', 2);
$subscriber->safe_psql('postgres', $trigger);
$subscriber->safe_psql('postgres', sprintf q{CREATE SUBSCRIPTION snapshots CONNECTION '%s' PUBLICATION snapshots},
	$publisher->connstr('postgres') =~ s/'/''/gr);
$subscriber->wait_for_subscription_sync($publisher, 'snapshots');
is(subscribers('both-1'), '0/1/20/"newer"', 'with the trigger, the initial copy keeps a newer one of the subscriber');
is(subscribers("both-$_->[0]"), '0/1/10/"published"', "... and replaces $_->[1]")
  foreach [ 2, 'an older one' ], [ 3, 'one of another version' ], [ 4, 'none' ];

saves($publisher, 'both-1', 19, 'older');
is(subscribers('both-1'), '0/1/20/"newer"', '... a save of the publisher does not replace a newer one');
saves($publisher, 'both-1', 21, 'newest');
is(subscribers('both-1'), '0/1/21/"newest"', '... but an older one');
saves($publisher, 'both-1', 1, 'other', 2);
is(subscribers('both-1'), '0/2/1/"other"', '... and one of another version, as any save');
saves($subscriber, 'both-5', 2, 'newer');
saves($subscriber, 'both-6', 1, 'older');
saves($publisher, $_, 1 + /6/, 'first') foreach 'both-5', 'both-6';
is(subscribers('both-5'), '0/1/2/"newer"', "... nor does the publisher's first of a stream");
is(subscribers('both-6'), '0/1/2/"first"', '... which replaces an older one and does not stop replication');
$publisher->safe_psql('postgres', q{SELECT snapshot_delete('both-5')});
$publisher->wait_for_catchup('snapshots');
is(subscribers('both-5'), '', "... and the publisher's deletion is carried out");
is($subscriber->safe_psql('postgres', q{SELECT snapshot_save('both-6', 1, 1, '1'), snapshot_save('both-6', 3, 1, '3')}), 'f|t',
	"... while the subscriber's own saves go by the rule");

# The subscriber takes over.

$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION snapshots; DROP FUNCTION keep_newer CASCADE; TRUNCATE snapshot_store');
$subscriber->safe_psql('postgres', q{SELECT snapshot_save('order-1', 1, 1, '1')});
is($subscriber->safe_psql('postgres', q{SELECT snapshot_save('order-1', 2, 1, '2')}), 't', 'the subscriber saves when it is one no more');
is($subscriber->safe_psql('postgres', q{SELECT sequence_number, state FROM snapshot_load('order-1', '{1}')}), '2|2', '... in place of what it had');

# ---- packed states ----------------------------------------------------------------------

# One subscriber has json and takes it as binary, the other one's column may hold packed states, too.
my %column = (to_json => 'json', to_state => 'snapshot_state');
my $connection = $publisher->connstr('packs') =~ s/'/''/gr;
$publisher->safe_psql('postgres', 'CREATE DATABASE packs');
$publisher->safe_psql('packs', qq{CREATE EXTENSION snapshot_store; $order_state $take_packed;
	SELECT pg_create_logical_replication_slot('before', 'test_decoding');
	SELECT snapshot_save('order-' || n, n, 1, order_state(n)) FROM generate_series(1, 200) AS n;
	SELECT number FROM snapshot_dictionary_train('order-');
	CALL snapshot_repack('order-');
	CREATE PUBLICATION snapshots FOR TABLE snapshot_store});
foreach my $name (sort keys %column)
{
	$subscriber->safe_psql('postgres', "CREATE DATABASE $name");
	$subscriber->safe_psql($name, "CREATE EXTENSION snapshot_store; $order_state ALTER TABLE snapshot_store ALTER state TYPE $column{$name};
		CREATE SUBSCRIPTION $name CONNECTION '$connection' PUBLICATION snapshots WITH (streaming = on, "
		. ($name eq 'to_json' ? 'binary' : 'two_phase') . ' = on)');
}
$subscriber->wait_for_subscription_sync($publisher, $_) foreach keys %column;

# What the publisher does, how many states it then has packed, and that the subscribers have the same, plain.
sub packs
{
	my ($command, $expected, $name) = @_;
	my $rows = q{SELECT stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata FROM snapshot_store ORDER BY 1, 2};
	my $answer = $publisher->safe_psql('packs', $command);

	is($publisher->safe_psql('packs', $packed), $expected, "$name: $expected packed");
	foreach my $subscription (sort keys %column)
	{
		$publisher->wait_for_catchup($subscription);
		is($subscriber->safe_psql($subscription, $rows), $publisher->safe_psql('packs', $rows), "... $column{$subscription}: all rows are the same");
		is($subscriber->safe_psql($subscription, $wrong), '', '... and are loaded as they were saved');
		is($subscriber->safe_psql($subscription, $packed), '0', '... and plain');
	}
	return $answer;
}

# Saves of that many streams, with a sequence number that is higher by that.
sub orders
{
	my ($count, $more) = @_;
	return "SELECT count(snapshot_save('order-' || n, n + $more, 1, order_state(n + $more))) FROM generate_series(1, $count) AS n;";
}
my $train_on = 'SELECT number FROM snapshot_dictionary_train(\'order-\', max_samples => %d)';

packs('SELECT', 200, 'the initial copy');
is($subscriber->safe_psql('to_json', 'SELECT count(*) FROM snapshot_store'), 200, '... of which something came');
packs(orders(10, 1000), 200, 'saves');
packs(sprintf("BEGIN; $train_on; " . orders(10, 2000) . 'COMMIT', 190), 200, 'saves in the transaction that trained their dictionary');
packs(sprintf("BEGIN; SAVEPOINT s; $train_on; " . orders(10, 3000) . 'ROLLBACK TO s; ' . orders(10, 4000) . 'COMMIT', 180), 200,
	'... in which that was undone');
packs(q{SELECT snapshot_dictionary_retire(number) FROM snapshot_dictionaries() WHERE active;} . orders(10, 5000), 190, 'the dictionary retired');
my $trained = packs(sprintf("BEGIN; SAVEPOINT s; $train_on; " . orders(200, 6000) . 'RELEASE s;' . orders(200, 7000) . 'COMMIT', 170), 200,
	'a large transaction that trains');
is($publisher->safe_psql('packs', q{SELECT count(*) FROM pg_stat_replication_slots WHERE slot_name = ANY ('{to_json,to_state}') AND stream_txns > 0}),
	2, '... was streamed');
packs(sprintf("BEGIN; $train_on; " . orders(20, 8000) . q{PREPARE TRANSACTION 'trained'}, 160), 200, 'a prepared transaction that trained');
is($subscriber->safe_psql('to_state', 'SELECT count(*) FROM pg_prepared_xacts'), 1, '... has arrived');
packs(q{SELECT snapshot_save('order-21', 9021, 1, order_state(9021)); COMMIT PREPARED 'trained'}, 200, '... and been committed');
packs(q{CALL snapshot_repack('')}, 200, 'all are packed anew');
packs(q{
	SELECT snapshot_save('large-' || n, n, 1, json_build_object('n', n, 'terms', (SELECT string_agg(md5(i::text), ' ') FROM generate_series(1, 600) AS i)))
	FROM generate_series(1, 100) AS n;
	SELECT number FROM snapshot_dictionary_train('large-');
	CALL snapshot_repack('large-')}, 300, 'a large dictionary');
cmp_ok($publisher->safe_psql('packs', 'SELECT max(part) FROM snapshot_dictionary_part'), '>', 0, '... which is in parts');
packs(q{DELETE FROM snapshot_store WHERE stream_id LIKE 'large-%' AND sequence_number > 1; DELETE FROM snapshot_store WHERE stream_id = 'large-1'}, 200, '... whose states go');
packs(q{UPDATE snapshot_store SET metadata = '{}'}, 200, 'what plain SQL does not change stays packed');
packs(q{DELETE FROM snapshot_store WHERE slot = 0 AND sequence_number % 2 = 0}, 100, 'some are deleted');

# All of it once more, with dictionaries that are retired by now, in tables and indexes that are others by now.
$publisher->safe_psql('packs', "$_; CHECKPOINT") foreach map { ("VACUUM $_", "REINDEX TABLE $_", "VACUUM FULL $_") } 'snapshot_dictionary', 'snapshot_dictionary_part';
my @changes = grep { /^table public.snapshot_store: (INSERT|UPDATE)/ }
  split /\n/, $publisher->safe_psql('packs', q{SELECT data FROM pg_logical_slot_get_changes('before', NULL, NULL)});
cmp_ok(scalar(@changes), '>', 1000, 'decoding it afterwards');
is(scalar(grep { !/ state\[snapshot_state\]:'\{("order_id" : \d+, .*\}\]|"n" : \d+, "terms" : "[0-9a-f ]{19799}")\}' / } @changes), 0, '... shows JSON');

# Dictionaries that come along are nothing to a subscriber, and do it no harm.
$subscriber->safe_psql('to_state', 'DROP SUBSCRIPTION to_state');
$publisher->safe_psql('packs', 'CREATE PUBLICATION everything FOR ALL TABLES');
$subscriber->safe_psql('to_state', "CREATE SUBSCRIPTION to_state CONNECTION '$connection' PUBLICATION everything WITH (copy_data = off)");
packs(sprintf("$train_on; ", 150) . orders(200, 10000), 200, 'a publication FOR ALL TABLES: a dictionary trained');
packs('SELECT snapshot_dictionary_retire(number) FROM snapshot_dictionaries() WHERE active;' . orders(20, 11000), 180, '... and retired');

$_->stop foreach $publisher, $subscriber;
done_testing();

# The SQLSTATE of a script's first error.
sub outcome_of
{
	my ($node, $script, @options) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$script", @options);

	return $stderr =~ /ERROR:  (\w+)/ ? $1 : 'no error';
}
