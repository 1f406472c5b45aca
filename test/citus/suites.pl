# Runs pgTAP suites on a table that Citus distributes, through the coordinator and through a worker.
#
# No call is delegated, since the suites change settings.  What they do to the definition of the table stays on the node
# where they do it: tests of that, which stand at the suites' ends, are left out.
use strict;
use warnings;

use Citus;
use File::Temp qw(tempdir);
use Test::More;

# Where to stop, and tests that cannot hold there, by their names.
my %suites = (
	batches => [ '-- A committed batch is flushed',
		# What has triggers, or counts locks or memory of this node, which Citus's plans take nearly all of; and what is
		# said of a statement that saves and loads.
		qr/whose last write fails|nothing of them is stored|rolled back is gone|trigger refuses|nor is it in the table|a lock for each|also for new streams|its own statement saves|not seen by the cursor/ ],
	contract => [ 'CREATE TABLE parallel_test',
		qr/a recognized state is read|state_size is the state as stored \(compressed\)/ ],    # read by hand, it comes plain
	retention => [ q{SELECT pg_temp.write_rows('json', 'vetoed'} ],
	upkeep => [ 'ALTER TABLE snapshot_store ALTER stream_id TYPE' ],
	errors => [ q{SELECT is(pg_temp.error_with_grants(pg_temp.call_with(function_name), grants), 'ZZ000 no error'} ]);

make_database('snapshot_store_test');
END { local $?; drop_database() }
my $folder = tempdir(CLEANUP => 1);

my $coordinator = session(0);
$coordinator->do('SET client_min_messages = warning');
$coordinator->do('SET citus.shard_count = 8');
$coordinator->do("CREATE EXTENSION $_") foreach qw(pgtap snapshot_store);
$coordinator->do(q{SELECT create_distributed_table('snapshot_store', 'stream_id')});

foreach my $suite (sort keys %suites)
{
	my ($until, $differs) = @{ $suites{$suite} };
	my $file = "$folder/$suite.sql";

	system("perl test/citus/adapt.pl test/pgtap/$suite.sql \"$until\" >$file") == 0 or die;
	foreach my $node (0, 1)
	{
		my ($host, $port, $user) = @{ $nodes[$node] }{qw(host port user)};

		$coordinator->do('DELETE FROM snapshot_store');
		local $ENV{PGOPTIONS} = '-c citus.enable_ddl_propagation=off';
		my $output = `psql -XqAt -v ON_ERROR_STOP=1 -P pager=off -h $host -p $port -U $user -d snapshot_store_test -f $file 2>&1`;
		my $status = $?;
		my @passed = $output =~ /^(ok \d.*)/mg;
		my @failed = grep { !$differs || !/$differs/ } $output =~ /^(not ok \d.*)/mg;

		is($status, 0, "$suite through node $node: it runs") or diag(substr $output, -2000);
		cmp_ok(scalar @passed, '>', 100, '... all of ' . @passed . ' tests');
		is(join("\n", @failed), '', '... hold');
	}
}
$coordinator->disconnect;
done_testing();
