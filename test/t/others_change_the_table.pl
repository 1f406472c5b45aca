# Another session changes the table, or the session itself does what cannot be
# done in a transaction block, between two calls: the results are those of a
# session that had never seen the table before.  On both ways to the table.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Both ways are taken in turn.
delete $ENV{PGOPTIONS};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE SCHEMA store;
	CREATE EXTENSION snapshot_store SCHEMA store;
	CREATE ROLE app;
	GRANT USAGE ON SCHEMA store TO app;
	GRANT SELECT, INSERT, UPDATE, DELETE ON store.snapshot_store TO app;
	CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
});

# What the session under test runs before and after: five answers.
sub calls
{
	my ($schema, $n) = @_;

	return qq{
		SELECT $schema.snapshot_save('kept', 0, 1, '0');
		SELECT $schema.snapshot_save('kept', $n, 1, '$n');
		SELECT $schema.snapshot_save('new $n', 1, 1, '1');
		SELECT state FROM $schema.snapshot_load('kept', ARRAY[1]);
		SELECT $schema.snapshot_delete('new $n');
	};
}

my $all_well = 'f t t %s 1';
my $emptied = 't t t %s 1';
my $denied = join ' ', ('permission denied for table snapshot_store') x 5;

# command, what the calls answer after it, the command that takes it back, and
# the schema's name after it
my @cases = (
	[ 'VACUUM FULL store.snapshot_store' ],
	[ 'VACUUM (FREEZE, ANALYZE) store.snapshot_store' ],
	[ 'CLUSTER store.snapshot_store USING snapshot_store_pkey' ],
	[ 'REINDEX TABLE store.snapshot_store' ],
	[ 'REINDEX TABLE CONCURRENTLY store.snapshot_store' ],
	[ 'CREATE INDEX CONCURRENTLY mine ON store.snapshot_store (created_at)', undef, 'DROP INDEX CONCURRENTLY store.mine' ],
	[ 'CREATE UNIQUE INDEX mine ON store.snapshot_store ((state::text))', undef, 'DROP INDEX store.mine' ],
	[ 'ALTER TABLE store.snapshot_store ADD note text', undef, 'ALTER TABLE store.snapshot_store DROP note' ],
	[ 'ALTER TABLE store.snapshot_store DROP CONSTRAINT snapshot_store_pkey, ADD PRIMARY KEY (stream_id, slot)' ],
	[ 'ALTER TABLE store.snapshot_store SET TABLESPACE pg_default' ],
	[ 'TRUNCATE store.snapshot_store', $emptied ],
	[ q{DELETE FROM store.snapshot_store}, $emptied ],
	[ 'DROP EXTENSION snapshot_store; CREATE EXTENSION snapshot_store SCHEMA store;'
		. ' GRANT SELECT, INSERT, UPDATE, DELETE ON store.snapshot_store TO app', $emptied ],
	[ 'CREATE TRIGGER t BEFORE UPDATE ON store.snapshot_store FOR EACH ROW EXECUTE FUNCTION object()',
		'f not this one t 10 1', 'DROP TRIGGER t ON store.snapshot_store' ],
	[ 'ALTER TABLE store.snapshot_store ENABLE ROW LEVEL SECURITY',
		'new row violates row-level security policy for table "snapshot_store" '
		. 'new row violates row-level security policy for table "snapshot_store" '
		. 'new row violates row-level security policy for table "snapshot_store" 0',
		'ALTER TABLE store.snapshot_store DISABLE ROW LEVEL SECURITY' ],
	[ 'REVOKE SELECT ON store.snapshot_store FROM app', $denied, 'GRANT SELECT ON store.snapshot_store TO app' ],
	[ 'REVOKE USAGE ON SCHEMA store FROM app', join(' ', ('permission denied for schema store') x 5),
		'GRANT USAGE ON SCHEMA store TO app' ],
	[ 'ALTER SCHEMA store RENAME TO moved', undef, 'ALTER SCHEMA moved RENAME TO store', 'moved' ],
	[ 'ALTER TABLE store.snapshot_store RENAME TO moved',
		join(' ', ('table "snapshot_store" does not exist in schema "store"') x 5),
		'ALTER TABLE store.moved RENAME TO snapshot_store' ],
	[ 'ALTER DATABASE postgres SET snapshot_store.keep = 2', undef, 'ALTER DATABASE postgres RESET snapshot_store.keep' ],
);

foreach my $way (qw(auto sql))
{
	foreach my $case (@cases)
	{
		my ($command, $answers, $back, $schema) = @$case;
		my @expected = (answers($all_well, 10), answers($answers // $all_well, 20));
		my $script = "SET snapshot_store.access_path = $way; SET ROLE app;"
			. calls('store', 10) . "\\warn next\n"
			. another_session($command) . calls($schema // 'store', 20);

		if (defined $back)
		{
			$script .= "\\warn next\n" . another_session($back) . calls('store', 30);
			push @expected, answers($all_well, 30);
		}
		$node->safe_psql('postgres', q{SET ROLE app; DELETE FROM store.snapshot_store; SELECT store.snapshot_save('kept', 5, 1, '5')});
		is_deeply([ results($script) ], \@expected, "$way: $command");
	}

	# What the session itself does outside of a transaction block
	foreach my $command ('VACUUM FULL store.snapshot_store', 'CLUSTER', 'REINDEX TABLE CONCURRENTLY store.snapshot_store')
	{
		is_deeply([ results("SET snapshot_store.access_path = $way;"
				. calls('store', 40) . "\\warn next\n$command;" . calls('store', 50)) ],
			[ answers($all_well, 40), answers($all_well, 50) ],
			"$way: the session itself: $command");
		$node->safe_psql('postgres', 'DELETE FROM store.snapshot_store');
		$node->safe_psql('postgres', q{SELECT store.snapshot_save('kept', 5, 1, '5')});
	}

	# A session that begins as a reader
	{
		local $ENV{PGOPTIONS} = "-c default_transaction_read_only=on -c snapshot_store.access_path=$way";
		my $refused = 'cannot execute %s() in a read-only transaction';

		is_deeply([ results(calls('store', 60) . "\\warn next\nBEGIN READ WRITE;" . calls('store', 61) . 'ROLLBACK;') ],
			[ join(' ', (sprintf $refused, 'snapshot_save') x 3, '5', sprintf $refused, 'snapshot_delete'),
			  answers($all_well, 61) ],
			"$way: default_transaction_read_only");
	}
}

$node->stop;
done_testing();

sub answers
{
	my ($answers, $n) = @_;
	return sprintf $answers, $n;
}

# The answers and errors of a script, in order: one string for each part that
# "\warn next" ends.
sub results
{
	my ($script) = @_;
	my $all = '';

	# psql writes the answers and the errors to one place, in order.
	IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-d', $node->connstr('postgres'), '-v', 'VERBOSITY=terse', '-v', 'ON_ERROR_STOP=0' ],
		'<', \$script, '>&', \$all);
	$all =~ s/^(?:psql:.*?: )?ERROR:\s+//mg;
	$all =~ s/ at character \d+$//mg;
	$all =~ s/^(?:psql:.*?: )?WARNING:.*\n//mg;
	return map { my $part = $_; $part =~ s/^\n+//; chomp $part; join ' ', split /\n/, $part, -1 } split /^next\n/m, $all;
}

sub another_session
{
	my @commands = map { qq{-c '$_'} } split /; /, shift;
	return "\\! psql -X -q -d '" . $node->connstr('postgres') . "' @commands >/dev/null\n";
}
