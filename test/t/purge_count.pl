# The count of a purge: in a row, for psql and a driver, and in a variable of PL/pgSQL, which a call
# there must be given.
use strict;
use warnings;

use DBI;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'runs once: a purge goes one way' if ($ENV{PGOPTIONS} // '') =~ /access_path=sql/;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION snapshot_store');

# Streams of version 1, and as many of version 2.
sub fill
{
	my ($count) = @_;
	$node->safe_psql('postgres', qq{TRUNCATE snapshot_store;
		SELECT snapshot_save(format('order-%s-%s', n, v), 1, v, '1') FROM generate_series(1, $count) AS n, generate_series(1, 2) AS v});
}

sub kept { return $node->safe_psql('postgres', 'SELECT * FROM snapshot_census()') }

# What psql prints of a script, and its first error with its SQLSTATE.
sub answer
{
	my ($script) = @_;
	my ($ret, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET client_min_messages = warning;\n$script");
	return $stderr =~ /ERROR:  (\w{5}): (.*)/ ? "$1: $2" : $stdout;
}

# ---- psql ---------------------------------------------------------------------------------

my $purge = q{snapshot_purge('order-', '{2}'%s)};
my $call = 'CALL ' . sprintf $purge, '';

fill(3);
is(answer($call), '3', 'the count is in a row');
is(answer($call), '0', '... also where nothing is deleted');
fill(3);
is(answer("$call \\gset\n\\echo :deleted"), '3', '... in a column named deleted');
foreach my $passed (qw(NULL 77 -1))
{
	fill(2);
	is(answer('CALL ' . sprintf $purge, ", deleted => $passed"), '2', "what is passed for it has no meaning: $passed");
}
fill(1000);
is(answer('CALL ' . sprintf $purge, ', batch_size => 7'), '1000', 'it counts over all batches, and outlives their commits');
is(kept(), '2|1000|1000', '... of which each was one');
is(answer(q{BEGIN; SAVEPOINT s; } . $call), '2D000: snapshot_purge() cannot be called inside a transaction block or a function',
	'in a transaction block it is refused as ever');

# ---- a driver -----------------------------------------------------------------------------

my $dbh = DBI->connect('dbi:Pg:' . $node->connstr('postgres'), undef, undef,
	{ RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1 });
fill(3);
my $statement = $dbh->prepare('CALL snapshot_purge(?, ?)', { pg_server_prepare => 1 });
foreach my $deleted (3, 0)
{
	$statement->execute('order-', [2]);
	is_deeply($statement->fetchall_arrayref({}), [ { deleted => $deleted } ], "a prepared statement: $deleted deleted");
}
$dbh->begin_work;
ok(!eval { $statement->execute('order-', [2]) }, 'without autocommit it is refused');
is($dbh->state, '2D000', '... with 2D000');
$dbh->rollback;
$dbh->disconnect;

# ---- PL/pgSQL -----------------------------------------------------------------------------

# A block of PL/pgSQL that tells the number n at its end.
sub block
{
	my ($declared, $body) = @_;
	return answer(qq{DO \$\$ DECLARE $declared; BEGIN $body PERFORM set_config('test.n', n::text, false); END \$\$;
		SELECT current_setting('test.n')});
}

fill(1000);
is(block('n bigint', 'CALL ' . sprintf($purge, ', batch_size => 7, deleted => n') . ';'), '1000', 'a variable takes the count');
fill(3);
is(block('n bigint', q{CALL snapshot_purge('order-', '{2}', NULL, NULL, 1, n);}), '3', '... by its place, too');
is(block('n bigint := 7', 'CALL ' . sprintf($purge, ', deleted => n') . ';'), '0', '... which replaces what it was');

fill(3);
my $refused = '42601: procedure parameter "deleted" is an output parameter but corresponding argument is not writable';
is(block('n bigint', $call . ';'), $refused, 'without a variable the call is refused');
is(block('n bigint', 'CALL ' . sprintf($purge, ', deleted => NULL') . ';'), $refused, '... with a NULL in its place');
is(block('n integer', 'CALL ' . sprintf($purge, ', deleted => n') . ';'), $refused, '... with a variable of another type');
is(block('n bigint', "EXECUTE \$call\$$call\$call\$;"), '2D000: snapshot_purge() cannot be called inside a transaction block or a function',
	'EXECUTE is no way around that');
is(block('n bigint', 'BEGIN CALL ' . sprintf($purge, ', deleted => n') . '; EXCEPTION WHEN division_by_zero THEN NULL; END;'),
	'2D000: snapshot_purge() cannot be called inside a transaction block or a function', '... nor is it called in a block that catches errors');
is(kept(), "1|3|3\n2|3|3", '... and all that deletes nothing');

# Kind by kind, and in procedures that call one another.
$node->safe_psql('postgres', q{
	CREATE PROCEDURE purge_kind(kind text, INOUT deleted bigint DEFAULT NULL) LANGUAGE plpgsql AS $$
	BEGIN
		CALL snapshot_purge(kind || '-', '{2}', batch_size => 2, deleted => deleted);
	END $$;
	CREATE PROCEDURE purge_kinds(VARIADIC kinds text[]) LANGUAGE plpgsql AS $$
	DECLARE
		kind text;
		n bigint;
	BEGIN
		FOREACH kind IN ARRAY kinds LOOP
			CALL purge_kind(kind, n);
			INSERT INTO purged VALUES (kind, n);
		END LOOP;
	END $$;
	CREATE TABLE purged (kind text, n bigint);
	SELECT snapshot_save('cart-' || n, 1, 1, '1') FROM generate_series(1, 5) AS n});
is(answer(q{CALL purge_kind('order')}), '3', 'a procedure hands the count on');
fill(3);
$node->safe_psql('postgres', q{SELECT snapshot_save('cart-' || n, 1, 1, '1') FROM generate_series(1, 5) AS n});
is(answer(q{CALL purge_kinds('cart', 'none', 'order'); SELECT * FROM purged}), "cart|5\nnone|0\norder|3", '... and one around it counts each');
is(kept(), '2|3|3', '... what was deleted');

$node->stop;
done_testing();
