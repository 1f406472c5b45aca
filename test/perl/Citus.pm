# A running cluster of Citus, for tests.  SNAPSHOT_STORE_CITUS says how to connect to a database of its coordinator
# in which its workers were added, as a superuser; they must admit the same user, and have the library.
package Citus;

use strict;
use warnings;

use DBI;
use Exporter 'import';

our @EXPORT = qw(make_database drop_database session result one @nodes);

my $database;
my %coordinator = ($ENV{SNAPSHOT_STORE_CITUS} // '') =~ /(\w+)\s*=\s*(\S+)/g;

# The coordinator first; each has host, port and user.
our @nodes;

sub open_session
{
	my ($node, $name, $options) = @_;
	my $user = $options->{user} // $coordinator{user} // 'postgres';
	my $dsn = "dbi:Pg:dbname=$name;host=$node->{host};port=$node->{port}";

	$dsn .= ";options=$options->{options}" if $options->{options};
	local $ENV{PGOPTIONS} = '';
	return DBI->connect($dsn, $user, $coordinator{password},
		{ RaiseError => $options->{try} ? 0 : 1, PrintError => 0, AutoCommit => 1, pg_server_prepare => 0 });
}

# A session of the test's database on a node, by its place in @nodes.  Options: user, options; try, not to die.
sub session
{
	my ($node, %options) = @_;
	return open_session($nodes[$node], $database, \%options);
}

# What a statement returns, or its error as "SQLSTATE message".
sub result
{
	my ($session, $statement) = @_;
	my $rows = eval { $session->selectall_arrayref($statement) };

	return join "\n", map { join '|', map { $_ // '' } @$_ } @$rows if $rows;
	my ($message) = $session->errstr =~ /^(?:ERROR:  )?(.*)/;
	return $session->state . " $message";
}

# The one value that a query of the coordinator returns.
sub one
{
	my ($query, $node) = @_;
	my $session = session($node // 0);
	my ($value) = $session->selectrow_array($query);

	$session->disconnect;
	return $value;
}

sub find_nodes
{
	my $session = open_session(\%coordinator, $coordinator{dbname} // 'postgres', {});
	my $workers = $session->selectall_arrayref(
		q{SELECT nodename AS host, nodeport AS port FROM pg_dist_node WHERE groupid <> 0 AND noderole = 'primary' ORDER BY groupid},
		{ Slice => {} });

	$session->disconnect;
	@nodes = ({ host => $coordinator{host}, port => $coordinator{port} // 5432 }, @$workers);
	$_->{user} = $coordinator{user} // 'postgres' foreach @nodes;
	return;
}

# Makes the test's database anew, with Citus in it, on the coordinator and its workers, or the first of these.
sub make_database
{
	my ($name, $workers) = @_;
	drop_database() if $database;
	$database = $name;
	find_nodes();
	splice @nodes, $workers + 1 if defined $workers && $workers < $#nodes;
	drop_database();
	foreach my $node (@nodes)
	{
		my $session = open_session($node, 'postgres', {});
		$session->do("SET $_") foreach 'client_min_messages = warning', 'citus.enable_create_database_propagation = off';
		$session->do("CREATE DATABASE $database");
		$session->disconnect;
		$session = open_session($node, $database, {});
		$session->do('SET client_min_messages = warning');
		$session->do('CREATE EXTENSION citus');
		$session->disconnect;
	}
	my $session = session(0);
	$session->do('SELECT citus_set_coordinator_host(?, ?)', undef, @{ $nodes[0] }{qw(host port)});
	$session->do('SELECT citus_add_node(?, ?)', undef, @$_{qw(host port)}) foreach @nodes[1 .. $#nodes];
	$session->disconnect;
	return;
}

sub drop_database
{
	foreach my $node (@nodes)
	{
		my $session = open_session($node, 'postgres', {});
		$session->do('SET client_min_messages = warning');
		foreach ($session->selectrow_array('SELECT datname FROM pg_database WHERE datname = ?', undef, $database))
		{
			# What a death, or a test that was stopped, has left.
			my $inside = open_session($node, $database, {});
			$inside->do($_) foreach map { "ROLLBACK PREPARED $_" } @{ $inside->selectcol_arrayref(
				'SELECT quote_literal(gid) FROM pg_prepared_xacts WHERE database = current_database()') };
			$inside->do($_) foreach map { ("ALTER SUBSCRIPTION $_ DISABLE", "ALTER SUBSCRIPTION $_ SET (slot_name = NONE)",
					"DROP SUBSCRIPTION $_") } @{ $inside->selectcol_arrayref(
				'SELECT quote_ident(subname) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())') };
			$inside->disconnect;
		}
		# A daemon of Citus that waits for another node does not go at once.
		foreach my $attempt (1 .. 10)
		{
			last if eval { $session->do("DROP DATABASE IF EXISTS $database WITH (FORCE)") };
			die $@ if $attempt == 10;
		}
		$session->disconnect;
	}
	return;
}

1;
