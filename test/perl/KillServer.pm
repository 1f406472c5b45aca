# The sudden end of a server: SIGKILL for all its processes.
package KillServer;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(kill_server);

# The parent and the state of a process.
sub process
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/stat" or return (0, 'gone');
	return (<$file> // '') =~ /\) (\S) (\d+) / ? ($2, $1) : (0, 'gone');
}

sub wait_until
{
	my ($what, $reached) = @_;
	my $deadline = time + 180;

	until ($reached->())
	{
		die "waited in vain until $what" if time > $deadline;
		sleep 0.001;
	}
	return;
}

# Kills a node's postmaster and all its children, and returns when they are dead.
sub kill_server
{
	my ($node) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	# It shall neither start nor notice anything any more.
	kill 'STOP', $postmaster;
	wait_until('the postmaster stands still', sub { (process($postmaster))[1] eq 'T' });
	my @children = grep { (process($_))[0] == $postmaster } map { m{/(\d+)$} } glob '/proc/[0-9]*';
	kill 'KILL', @children;
	$node->kill9;
	foreach my $pid ($postmaster, @children)
	{
		wait_until("process $pid is dead", sub { (process($pid))[1] =~ /^(Z|X|gone)$/ });
	}
	# A process that nobody has waited for would seem to own these still.
	my $socket = $node->host . '/.s.PGSQL.' . $node->port;
	unlink $node->data_dir . '/postmaster.pid', $socket, "$socket.lock";
	return;
}

1;
