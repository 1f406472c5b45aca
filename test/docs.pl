# Runs the examples in a document and compares what they print.
#
# usage: prove test/docs.pl :: FILE
#
# Each block of ```sql goes to psql, in the order of the document, and must print what the
# block of ```text directly after it shows; without such a block, it must raise no error.
# Blocks of another kind are not run.
#
# Trailing blanks do not count. In an output that contains "...", that stands for anything
# within the line, or on a line of its own for any number of lines, and the width of columns
# does not count. It is for what differs from run to run: times, sizes, numbers of processes.
#
# All examples of a document run in one session, as a superuser, in a new database named
# shop. A comment before a block of SQL says otherwise:
#
#   <!-- session: NAME -->          in another session, which stays open
#   <!-- session: NAME as ROLE -->  the same, logged in as that role
#   <!-- eventually -->             again and again until it prints what is shown, since
#                                   something needs a moment; it must change nothing
#   <!-- needs: EXTENSION -->       not where the server does not have that extension
#   <!-- run -->                    a block of ```sh, which runs in a folder with nothing but bench/
#
# A document with a comment <!-- cluster --> is for a cluster of Citus (test/perl/Citus.pm), on whose
# coordinator it runs, and is left out without one.
#
# What is inside of a longer comment runs, too, and is not shown to readers.
#
# Afterwards, databases and roles that were not there before are dropped, and what ALTER
# SYSTEM has set is reset: this is for a throw-away server.
use strict;
use warnings;

use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use IO::Select;
use IPC::Open2;
use Test::More;
use Time::HiRes qw(sleep time);

use FindBin qw($RealBin);
use lib "$RealBin/perl";

my $patience = 60;    # seconds, for a block

$ENV{PGTZ} = 'UTC';
$ENV{PGCONNECT_TIMEOUT} = $patience;
$SIG{PIPE} = 'IGNORE';

# ---- the document -----------------------------------------------------------------------

my $for_cluster;

# Returns the blocks that are to be run.
sub read_document
{
	my ($file) = @_;
	my (@blocks, %mark, $last);

	open(my $in, '<', $file) or die "cannot read $file: $!\n";
	while (my $line = <$in>)
	{
		if ($line =~ /^<!--\s*(session|eventually|needs|run)\b:?\s*(.*?)\s*-->$/)
		{
			$mark{$1} = $2;
			next;
		}
		$for_cluster = 1 if $line eq "<!-- cluster -->\n";
		next unless $line =~ /^( *)```(\w*)$/;
		my ($indent, $kind, $number, $text) = ($1, $2, $., '');
		while (defined($line = <$in>) && $line !~ /^ *```$/)
		{
			$line =~ s/^$indent//;
			$text .= $line;
		}
		die "$file:$number: the block has no end\n" unless defined $line;

		if ($kind eq 'text')
		{
			die "$file:$number: an output without its example\n"
			  unless $last && $last->{end} == $number;
			$last->{output} = $text;
			undef $last;
		}
		elsif ($kind eq 'sql' || ($kind eq 'sh' && exists $mark{run}))
		{
			push @blocks, $last =
			  { kind => $kind, text => $text, place => "$file:$number", mark => {%mark} };
		}
		else
		{
			die "$file:$number: the mark before it is for a block that is run\n" if %mark;
			undef $last;
		}
		%mark = ();

		# The output may follow after one empty line.
		$last->{end} = $. + 2 if $last;
	}
	return @blocks;
}

# Lines without trailing blanks; without columns' widths, too, where these do not count.
sub plain
{
	my ($text, $narrow) = @_;

	$text =~ s/[ \t]+$//mg;
	$text =~ s/\A\n+|\n+\z//g;
	if ($narrow)
	{
		$text =~ s/ +/ /g;
		$text =~ s/--+/--/g;
	}
	return $text;
}

# Is the output as shown?
sub is_as_shown
{
	my ($got, $shown) = @_;

	return plain($got) eq plain($shown) unless $shown =~ /\.\.\./;

	my $pattern = '';
	foreach my $line (split /\n/, plain($shown, 1))
	{
		$pattern .=
		  $line eq '...'
		  ? '(?:.*\n)*?'
		  : join('.*', map { quotemeta } split(/\.\.\./, $line, -1)) . '\n';
	}
	return (plain($got, 1) . "\n") =~ /\A$pattern\z/;
}

# ---- the sessions -----------------------------------------------------------------------

my %sessions;
my $marks = 0;

sub open_session
{
	my ($role) = @_;
	my %session;

	local $ENV{PGUSER} = $role if $role;
	$session{pid} =
	  open2($session{out}, $session{in}, 'exec psql -X -d shop 2>&1');
	return \%session;
}

# Runs SQL in a session and returns what it prints.
sub run_sql
{
	my ($session, $sql) = @_;
	my $mark = '@' . ++$marks . '@';
	my $until = time() + $patience;
	my $output = '';

	syswrite($session->{in}, "$sql\n\\echo $mark\n");
	while ($output !~ s/^$mark\n//m)
	{
		my $left = $until - time();
		if ($left <= 0 || !IO::Select->new($session->{out})->can_read($left))
		{
			kill 'KILL', $session->{pid};
			$session->{ended} = 1;
			return "${output}psql: it has not ended after $patience seconds\n";
		}
		next if sysread($session->{out}, $output, 65536, length $output);
		$session->{ended} = 1;
		return "${output}psql: the session has ended\n";
	}
	return $output;
}

sub session_of
{
	my ($block) = @_;
	my ($name, $role) = ('', '');

	if (defined $block->{mark}{session})
	{
		($name, $role) = $block->{mark}{session} =~ /^(\w+)(?: as (\w+))?$/
		  or die "$block->{place}: a session is NAME or NAME as ROLE\n";
	}
	$sessions{$name} = open_session($role)
	  if !$sessions{$name} || $sessions{$name}{ended};
	return $sessions{$name};
}

# A shell block runs in a folder of its own.
my $start = getcwd();
my $folder = tempdir(CLEANUP => 1);
symlink "$start/bench", "$folder/bench" or die "cannot make a link: $!\n";

sub run_sh
{
	my ($script) = @_;

	chdir $folder;
	my $pid = open2(my $out, my $in, 'exec timeout ' . $patience . ' sh -e 2>&1');
	print $in $script;
	close $in;
	my $output = do { local $/; <$out> };
	waitpid $pid, 0;
	chdir $start;
	$output .= 'sh: the exit status is ' . ($? >> 8) . "\n" if $?;
	return $output;
}

sub run_block
{
	my ($block) = @_;

	return run_sh($block->{text}) if $block->{kind} eq 'sh';
	return run_sql(session_of($block), $block->{text});
}

# ---- the server -------------------------------------------------------------------------

sub ask
{
	my ($sql, $database) = @_;
	my @command = ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $database // 'postgres', '-c', $sql);

	open(my $out, '-|', @command) or die "cannot run psql: $!\n";
	chomp(my @lines = <$out>);
	close $out or die "psql: $sql\n";
	return @lines;
}

# Databases and roles, as commands that drop them.
sub objects
{
	return ask(
		q{SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database}),
	  ask(q{SELECT format('DROP OWNED BY %1$I; DROP ROLE %1$I', rolname) FROM pg_roles});
}

# ---- the test ---------------------------------------------------------------------------

my $file = shift @ARGV // die "usage: prove test/docs.pl :: FILE\n";
my @blocks = read_document($file);
plan skip_all => "$file has no examples" unless @blocks;
plan skip_all => 'there is no cluster of Citus' if $for_cluster && !$ENV{SNAPSHOT_STORE_CITUS};
plan tests => scalar @blocks;

if ($for_cluster)
{
	require Citus;
	Citus::make_database('shop');
	@ENV{qw(PGHOST PGPORT PGUSER)} = @{ $Citus::nodes[0] }{qw(host port user)};
}

my %before = map { $_ => 1 } objects();
my %available = map { $_ => 1 } ask('SELECT name FROM pg_available_extensions');
ask('CREATE DATABASE shop') unless $for_cluster;

foreach my $block (@blocks)
{
	my ($first) = $block->{text} =~ /^(?!--)(.*\S)/m;
	my $name = "$block->{place} " . ($first // '');
	my $needs = $block->{mark}{needs};
	my $until = time() + $patience;
	my ($got, $right);

  SKIP:
	{
		skip("$name: there is no extension $needs", 1)
		  if defined $needs && !$available{$needs};

		do
		{
			sleep 0.1 if defined $got;
			$got = run_block($block);
			$right =
			  defined $block->{output}
			  ? is_as_shown($got, $block->{output})
			  : $got !~ /^(ERROR|FATAL|PANIC|psql|sh):/m;
		} until $right || !exists $block->{mark}{eventually} || time() > $until;

		ok($right, $name)
		  or diag('It prints:', "\n", plain($got), "\n", 'It should print:', "\n",
			plain($block->{output} // '(anything but an error)'));
	}
}

END
{
	my $status = $?;

	close $_->{in} foreach values %sessions;
	Citus::drop_database('shop') if $for_cluster && %before;
	if (!$for_cluster && %before)
	{
		ask($_) foreach grep { !$before{$_} } objects();
		ask('ALTER SYSTEM RESET ALL');
		ask('SELECT pg_reload_conf()');
	}
	$? = $status;
}
