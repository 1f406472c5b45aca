# Dictionaries, and the sessions that use them: trained in transactions that end in every way while
# others save; a column whose type changes to and fro under statements that are prepared; a
# dictionary that is missing, or is not what it was; and the memory of a session that uses many.
use strict;
use warnings;

use PackedStates;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 5\n");
$node->start;
$node->safe_psql('postgres', "CREATE EXTENSION snapshot_store; $order_state $take_packed");

my $sql = sub { return $node->safe_psql('postgres', @_) };
my $session = $node->background_psql('postgres');
my $other = $node->background_psql('postgres');
$_->query_safe('SET client_min_messages = warning') foreach $session, $other;
my $train_on = q{SELECT number IS NOT NULL FROM snapshot_dictionary_train('order-', max_samples => %d)};

my $saved = 0;

# 20 saves, each newer than all before.
sub saves
{
	my ($by) = @_;

	$saved += 1000;
	return is($by->query_safe(qq{
			SELECT count(snapshot_save('order-' || n, n + $saved, 1, order_state(n + $saved))) FROM generate_series(1, 20) AS n}), '20', '... saves');
}

# What there is, as a third and a fourth session see it, of which one has just begun.
sub found
{
	my ($expected, $name) = @_;
	my $query = "SELECT concat_ws(' ', ($packed), 'of', count(*), ($wrong)) FROM snapshot_store";

	is($_->query_safe($query), $expected, $name) foreach $session, $other;
	return is($sql->($query), $expected, '... in a new session, too');
}

# ---- transactions -----------------------------------------------------------------------

$sql->(q{SELECT snapshot_save('order-' || n, n, 1, order_state(n)) FROM generate_series(1, 200) AS n});
saves($_) foreach $session, $other;
found('0 of 200', 'nothing is packed before there is a dictionary');

# What is packed by a dictionary that never was could be read by nobody.
my $n = 200;
foreach my $end ('ROLLBACK', 'SAVEPOINT s; ROLLBACK', 'ROLLBACK TO before; COMMIT', q{PREPARE TRANSACTION 't'; ROLLBACK PREPARED 't'})
{
	$session->query_safe("BEGIN; SAVEPOINT before; SAVEPOINT inner_one");
	is($session->query_safe(sprintf $train_on, $n -= 10), 't', "trained, before $end");
	saves($session);
	is($session->query_safe($packed), '20', '... and used');
	$session->query_safe($end);
	saves($session);
	found('0 of 200', '... but not afterwards');
}

# What is undone is forgotten, also where the transaction goes on, which may save what commits.
$session->query_safe('BEGIN; SAVEPOINT s');
is($session->query_safe(sprintf $train_on, 200), 't', 'trained in a subtransaction');
saves($session);
$session->query_safe('ROLLBACK TO s');
saves($session);
$session->query_safe('COMMIT');
found('0 of 200', '... that is rolled back, and the transaction saves more and commits');

# Others pack by it when its transaction has committed, and not before.
$session->query_safe('BEGIN');
is($session->query_safe(sprintf $train_on, 195), 't', 'trained');
saves($other);
is($other->query_safe($packed), '0', '... and another session saves plain');
$session->query_safe('COMMIT');
saves($other);
found('20 of 200', '... until the commit');

# A session that prepares what it has trained, and does not know how that will end
$session->query_safe('BEGIN');
is($session->query_safe(sprintf $train_on, 185), 't', 'trained');
$session->query_safe(q{PREPARE TRANSACTION 't'});
saves($_) foreach $session, $other;
found('20 of 200', '... prepared: both sessions save by the one before');
is($session->query_safe('SELECT count(*) FROM snapshot_dictionaries()'), '1', '... which is the only one');
$other->query_safe(q{COMMIT PREPARED 't'});
is($session->query_safe('SELECT count(*), count(*) FILTER (WHERE active) FROM snapshot_dictionaries()'), '2|1', '... committed: it takes its place');
is($session->query_safe(q{CALL snapshot_repack('order-')}), '200', '... and all states are packed by it');
is($other->query_safe(q{CALL snapshot_repack('order-')}), '0', '... in every session');
found('200 of 200', '... and right');

# Retiring, too, is undone.
$session->query_safe('BEGIN; SELECT snapshot_dictionary_retire(number) FROM snapshot_dictionaries()');
saves($session);
is($session->query_safe($packed), '180', 'retired: saves are plain');
$session->query_safe('ROLLBACK');
saves($session);
found('200 of 200', '... but not after the rollback');

# A transaction that sees the past loads what is packed by a dictionary of the future.
$other->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($other->query_safe($packed), '200', 'REPEATABLE READ');
is($session->query_safe(sprintf $train_on, 175), 't', '... another session trains');
saves($session);
is($other->query_safe($wrong), '', '... the past is loaded');
is($other->query_safe(q{SELECT snapshot_save('order-mine', 7, 1, order_state(7))}), 't', '... and a save there');
is($session->query_safe(q{CALL snapshot_repack('order-')}), '180', '... while the other repacks');
is($other->query_safe($wrong), '', '... is loaded, and the past again');
$other->query_safe('COMMIT');
found('201 of 201', '... and the present');

# A repack passes over what is locked, and what changes meanwhile stays changed.
$other->query_safe(q{BEGIN; SELECT snapshot_save('order-1', 50000, 1, order_state(50000))});
is($session->query_safe(sprintf $train_on, 165), 't', 'trained while a stream is being saved');
is($session->query_safe(q{CALL snapshot_repack('order-')}), '200', '... and all others are repacked');
$other->query_safe('COMMIT');
is($session->query_safe(q{CALL snapshot_repack('order-')}), '1', '... and that one later');
is($session->query_safe(q{SELECT sequence_number FROM snapshot_load('order-1', '{1}')}), '50000', '... as it was saved');
found('201 of 201', '... and right');

# ---- a column that changes under statements that are prepared -----------------------------

my $next = 60000;
foreach my $path ('auto', 'sql')
{
	$other->query_safe("SET snapshot_store.access_path = $path; DEALLOCATE ALL;
		PREPARE save(text, int8) AS SELECT snapshot_save(\$1, \$2, 1, order_state(\$2));
		PREPARE save_many(text, int8) AS SELECT * FROM snapshot_save_many(ARRAY[\$1], ARRAY[\$2], '{1}', ARRAY[order_state(\$2)]);
		PREPARE load(text) AS SELECT state::text = order_state(sequence_number)::text FROM snapshot_load(\$1, '{1}');
		PREPARE load_many(text) AS SELECT state::text = order_state(sequence_number)::text FROM snapshot_load_many(ARRAY[\$1], '{1}');
		PREPARE plain(text) AS SELECT state->>'order_id' = sequence_number::text, pg_column_size(state) < 300 FROM snapshot_store WHERE stream_id = \$1");
	foreach my $type ('json', 'snapshot_state', 'json', 'snapshot_state')
	{
		my $is_packed = $type eq 'json' ? 'f' : 't';
		my $file = $sql->(q{SELECT pg_relation_filenode('snapshot_store')});

		$session->query_safe("ALTER TABLE snapshot_store ALTER state TYPE $type");
		is($sql->(qq{SELECT pg_relation_filenode('snapshot_store') = $file}), $is_packed, "$path: a column of $type, "
			. ($type eq 'json' ? 'for which the table is rewritten' : 'for which it is not'));
		# More often than it takes until a generic plan is kept.
		foreach (1 .. 7)
		{
			$next++;
			is(join(' ', map { $other->query_safe($_) } "EXECUTE save('order-p', $next)", q{EXECUTE load('order-p')}, q{EXECUTE plain('order-p')},
					"EXECUTE save_many('order-q', $next)", q{EXECUTE load_many('order-q')}, q{EXECUTE plain('order-q')}),
				"t t t|$is_packed order-q|t t t|$is_packed", '... saves and loads');
		}
		is($other->query_safe($wrong), '', '... and what there was');
	}
}
is($session->query_safe(q{CALL snapshot_repack('order-')}), '201', 'what is plain since then is packed again');
found('203 of 203', '... and right');

# In json nothing can be packed, though there is a dictionary.
$session->query_safe('ALTER TABLE snapshot_store ALTER state TYPE json');
$node->psql('postgres', q{CALL snapshot_repack('order-')});
is($sql->($packed), '0', 'a repack packs nothing into a column of json');
is($sql->($wrong), '', '... and does no harm');
$session->query_safe('ALTER TABLE snapshot_store ALTER state TYPE snapshot_state');
is($session->query_safe(q{CALL snapshot_repack('order-')}), '203', '... but where it can be');
found('203 of 203', '... and right');

# A cursor that was open before holds what it held.
$other->query_safe(q{BEGIN; DECLARE c CURSOR FOR SELECT bool_and(state::text = order_state(sequence_number)::text), count(*) FROM snapshot_store WHERE stream_id LIKE 'order-%'});
is($session->query_safe(sprintf $train_on, 155), 't', 'trained while a cursor is open');
is($other->query_safe('FETCH c'), 't|203', '... which reads on');
$other->query_safe('COMMIT');
$session->query_safe(q{CALL snapshot_repack('order-')});

# ---- the memory of a session ---------------------------------------------------------------

# The dictionaries that a session has ready, and the kB that it takes.
sub ready
{
	my ($by, $of) = @_;
	return ($by->query_safe(q{SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'snapshot_store dictionary'}),
		slurp_file("/proc/$of/status") =~ /^VmRSS:\s+(\d+) kB/m);
}

# A hundred kinds, each with a dictionary of its own, as large as they come.
$sql->(q{
	CREATE FUNCTION kind_state(kind int, n int) RETURNS json LANGUAGE sql IMMUTABLE
	RETURN (SELECT json_object_agg(format('%s_%s', i, left(md5(kind || '/' || i), 8)),
		format('%s %s', md5(kind || '/' || i || '/' || n % 7), md5(kind || '/' || i || '/v')) ) FROM generate_series(1, 100) AS i);
	SELECT count(snapshot_save(format('kind-%s-%s', kind, n), n, 1, kind_state(kind, n))) FROM generate_series(1, 100) AS kind, generate_series(1, 40) AS n});
is($sql->(q{SELECT count(number), min(dictionary_size) > 2000 FROM generate_series(1, 100) AS kind, snapshot_dictionary_train(format('kind-%s-', kind), max_size => 32768)}),
	'100|t', 'a hundred dictionaries');
my $many = $node->background_psql('postgres');
my $pid = $many->query_safe('SELECT pg_backend_pid()');
my $times = 0;

sub use_all
{
	$times++;
	return is($many->query_safe(qq{
			SELECT count(*) FILTER (WHERE snapshot_save(format('kind-%s-1', kind), 1000 + $times, 1, kind_state(kind, 1)))
			FROM generate_series(1, 100) AS kind;
			SELECT count(*) FILTER (WHERE l.state::text = kind_state(kind, 1)::text)
			FROM generate_series(1, 100) AS kind, snapshot_load(format('kind-%s-1', kind), '{1}') AS l}), "100\n100", 'a session uses them');
}

$many->query_safe("SELECT snapshot_save('plain', 1, 1, kind_state(1, 1)); SELECT FROM snapshot_load('plain', '{1}')");
my ($none, $before) = ready($many, $pid);
is($none, '0', 'a session has no dictionary ready before it needs one');
use_all();
my ($some, $once) = ready($many, $pid);
use_all() foreach 1 .. 5;
my ($still, $often) = ready($many, $pid);
note "counted: a session of $before kB uses 100 dictionaries, and keeps $some: $once kB; five times more: $often kB";
is($some, '32', '... and keeps a third of them');
is($still, '32', '... also when it uses them again');
SKIP:
{
	skip 'sanitizers keep what is freed', 2 if slurp_file("/proc/$pid/maps") =~ /libasan/;
	# Each costs some 300 kB.
	cmp_ok($once - $before, '<', 25_000, '... and does not become much larger by it');
	cmp_ok($often - $once, '<', 5_000, '... nor when it uses them again');
}

# Large ones, to pack at the highest level: each takes a megabyte.
$many->query_safe(q{
	CREATE FUNCTION large_state(n int) RETURNS json LANGUAGE sql IMMUTABLE
	RETURN json_build_object('n', md5('n' || n), 'hashes', (SELECT json_agg(md5(i::text)) FROM generate_series(1, 1300) AS i));
	SELECT count(snapshot_save('large-' || n, n, 1, large_state(n))) FROM generate_series(1, 30) AS n});
is($many->query_safe(q{
		SELECT count(*) FILTER (WHERE snapshot_save('large-' || n, 100 + n, 1, large_state(n))) FROM generate_series(1, 30) AS n,
			LATERAL snapshot_dictionary_train('large-', max_size => 48000 - 64 * n, level => 19, min_samples => 5) AS d WHERE d.number IS NOT NULL}),
	'30', 'thirty large dictionaries are used');
is($many->query_safe(q{SELECT count(*) < 30, sum(total_bytes) BETWEEN 8e6 AND 18e6 FROM pg_backend_memory_contexts WHERE name = 'snapshot_store dictionary'}),
	't|t', '... and the session keeps as many as fit into 16 MB');

$_->quit foreach $session, $other, $many;
$node->stop;
done_testing();
