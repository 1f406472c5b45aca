# An upgrade while sessions use the store: the extension, installed as its first release has it, is updated to
# this version; then the library is replaced by a next one's, and the extension updated to that.
#
# The next version is that of test/upgrade/: its library is built from a copy of the sources, with the files
# in C from there beside them, and update.sql replaces a function and adds one.  It is installed into a copy
# of the server.
#
# Workers save, load, delete and purge in streams of their own, so that each knows what every call must
# answer.  Half of them keep their session, with its prepared statements, and so their library; the others
# begin a new one all the time.  What is announced, and nothing else, may fail: a session that has the old
# library cannot call what the update has replaced or added (doc/reference.md, Compatibility).
use strict;
use warnings;

use DBI;
use ExtensionObjects;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;

plan skip_all => 'runs once: the workers are on both access paths'
  if ($ENV{PGOPTIONS} // '') =~ /access_path=sql/;
delete $ENV{PGOPTIONS};

# ---- the next version -------------------------------------------------------------------

my $work = PostgreSQL::Test::Utils::tempdir();
my $source = "$work/source";
my ($version) = slurp_file('snapshot_store.control') =~ /^default_version = '(.*)'$/m;
my $next = $version =~ s/(\d+)$/$1 + 1/er;

sub write_file
{
	my ($path, $content) = @_;

	open(my $file, '>', $path) or die "cannot write $path: $!\n";
	print $file $content;
	close $file;
}

# Writes a file of the next version, which is one of this version but for a change.
sub edit
{
	my ($name, $from, $pattern, $replacement) = @_;
	my $content = slurp_file("$source/$from");

	$content =~ s/$pattern/$replacement/ or die "there is no $pattern in $from\n";
	write_file("$source/$name", $content);
}

my $update = slurp_file('test/upgrade/update.sql');
my ($added) = $update =~ /^(CREATE FUNCTION.*)/ms;

system('cp', '-a', "$ENV{SNAPSHOT_STORE_WORK}/root", $work) == 0 or die "cannot copy the server\n";
system("mkdir $source && cp -R Makefile snapshot_store* src $source && cp test/upgrade/*.c $source/src") == 0
  or die "cannot copy the sources\n";
unlink glob("$source/snapshot_store.so $source/src/*.o $source/src/*.bc");
edit('snapshot_store.control', 'snapshot_store.control', qr/^default_version = .*/m, "default_version = '$next'");
edit("snapshot_store--$next.sql", "snapshot_store--$version.sql", qr/'snapshot_due'/, "'snapshot_due_next'");
edit("snapshot_store--$next.sql", "snapshot_store--$next.sql", qr/\z/, "\n$added");
write_file("$source/snapshot_store--$version--$next.sql", $update);
command_ok([ 'make', '-s', '-C', $source, 'all', "PG_CONFIG=$ENV{PG_CONFIG}" ], "version $next is built");

# As install works, but between the removal of a library and its successor it waits for a file to appear.
write_file("$work/install", <<"END");
#!/bin/sh
for to; do :; done
case \$to in
*.so | *.so.*)
	rm -f "\$to"
	touch $work/installing
	until [ -e $work/go_on ]; do sleep 0.1; done
	;;
esac
exec install "\$@"
END
chmod 0755, "$work/install";

# ---- the server -------------------------------------------------------------------------

chomp(my $bindir = `'$ENV{PG_CONFIG}' --bindir`);
my $node = PostgreSQL::Test::Cluster->new('main', install_path => dirname("$work/root$bindir"));
my ($oldest) = map { /--([\d.]+)\.sql$/ ? $1 : () } sort glob('snapshot_store--*.sql');
my $create = q{
	CREATE EXTENSION snapshot_store;
	CREATE VIEW due AS SELECT stream_id FROM snapshot_store WHERE snapshot_due(stream_id, '{1}', sequence_number, 0);
};
my $version_of = q{SELECT extversion FROM pg_extension WHERE extname = 'snapshot_store'};

$node->init;
$node->append_conf('postgresql.conf', "autovacuum_naptime = 1s");
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach 'used', 'fresh', 'restored';
$node->safe_psql('used', ($create =~ s/(?<=EXTENSION snapshot_store)/ VERSION '$oldest'/r) . 'CREATE TABLE step (number bigint)');

sub connect_to_server
{
	return DBI->connect('dbi:Pg:' . $node->connstr('used'), '', '', { RaiseError => 1, PrintError => 0, PrintWarn => 0 });
}

# ---- a worker ---------------------------------------------------------------------------

my @workers = (
	map { { name => $_, keeps_session => scalar /^kept/, access_path => s/.*_//r } }
	'kept_auto', 'kept_sql', 'new_auto', 'new_sql');

# The rows of a prepared statement's result, in one line.
sub ask
{
	my ($session, $query, @parameters) = @_;
	my $statement = $session->prepare_cached($query);

	$statement->execute(@parameters);
	return join ' ', map { join '|', map { $_ // '' } @$_ } @{ $statement->fetchall_arrayref };
}

# The same, or the error's message.
sub try
{
	my ($session) = @_;
	my $answer = eval { ask(@_) };

	return $answer // 'error ' . ($session->errstr // $@) =~ s/^ERROR: *|\n.*//gsr;
}

# The state of a sequence number, that can be packed.
sub state_of
{
	my ($n) = @_;
	return "[$n, \"what all states of these workers have in common, word by word, and that is why they can be packed\"]";
}

# A round of calls, each with the answer that it must give.  "last" has for each stream the sequence number
# of the last save that was answered with true.
sub make_round
{
	my ($session, $worker, $n, $last) = @_;
	my $name = $worker->{name};
	my $stream = "$name/" . $n % 7;
	my @batch = map { "$name/batch/$_" } 1 .. 3;
	my @problems;
	my $expect = sub {
		my ($expected, @call) = @_;
		my $answer = try($session, @call);
		push @problems, "round $n: $call[0]: $answer, not $expected" if $answer ne $expected;
		return;
	};
	my $save = 'SELECT snapshot_save($1, $2, $3, $4)';
	my $load = q{SELECT sequence_number, state FROM snapshot_load($1, '{1}')};
	my $load_many = q{SELECT stream_id, sequence_number FROM snapshot_load_many($1, '{1}')};
	my $kept = sub { exists $last->{ $_[0] } ? "$last->{$_[0]}|" . state_of($last->{$_[0]}) : '' };

	# What was saved when another library or version was there is there.
	$expect->($kept->($stream), $load, $stream);
	$expect->(join(' ', map { "$_|$last->{$_}" } grep { exists $last->{$_} } @batch), $load_many, \@batch);

	$expect->(1, $save, $stream, $n, 1, state_of($n));
	$last->{$stream} = $n;
	$expect->(0, $save, $stream, $n - 1, 1, '[0]');
	$expect->("$n|" . state_of($n), $load, $stream);
	$expect->("$n|1", 'SELECT sequence_number, state_schema_version FROM snapshot_info($1)', $stream);
	$expect->(3, q{SELECT count(*) FROM snapshot_save_many($1, $2, '{1,1,1}', $3) WHERE stored}, \@batch, [ ($n) x 3 ], [ (state_of($n)) x 3 ]);
	$last->{$_} = $n foreach @batch;
	$expect->(scalar(keys %$last), "SELECT count(*) FROM snapshot_outdated('$name/', '{2}')");
	$expect->('1|' . (keys %$last) . '|' . (keys %$last), "SELECT * FROM snapshot_census('$name/')");
	if ($n % 5 == 0)
	{
		$expect->(1, 'SELECT snapshot_delete($1)', $stream);
		delete $last->{$stream};
		$expect->('', $load, $stream);
	}
	$expect->(1, $save, "$name/of 2", $n, 2, state_of($n));
	$expect->(1, "CALL snapshot_purge('$name/', '{1}')");
	$expect->('', 'SELECT state FROM snapshot_load($1, $2)', "$name/of 2", '{2}');
	return @problems;
}

my ($stop, $reconnect);

# A child process.  At the beginning of each round it asks which step has been reached.  After it, it tells
# that, which library its session has loaded (the file of a replaced one is no more), and what the
# replaced and the added function answer.
sub work
{
	my ($worker, $report) = @_;
	my ($session, %last);

	for (my $n = 1; !$stop; $n++)
	{
		if (!$session || $reconnect || !$worker->{keeps_session})
		{
			$reconnect = 0;
			$session->disconnect if $session;
			$session = connect_to_server();
			$session->do("SET snapshot_store.access_path = $worker->{access_path}");
		}
		my $step = ask($session, 'SELECT count(*) FROM step');
		my @problems = make_round($session, $worker, $n, \%last);
		my $due = try($session, q{SELECT snapshot_due($1, '{1}', $2, 0)}, "$worker->{name}/batch/1", $n);
		my $added = try($session, q{SELECT snapshot_added('four')});
		my $replaced = ask($session, q{SELECT pg_read_file('/proc/self/maps') ~ 'snapshot_store\.so \(deleted\)'});
		my $problem = ($problems[0] // '') =~ s/\s+/ /gr;
		syswrite $report, join("\t", $worker->{name}, 'round', $step, $replaced, $due, $added, $problem) . "\n";
	}
	syswrite $report, join("\t", $worker->{name}, 'ends', map { "$_|$last{$_}" } keys %last) . "\n";
	return;
}

sub start
{
	my ($worker, $report) = @_;
	my $pid = fork // die "cannot fork: $!\n";

	return $pid if $pid;
	$SIG{TERM} = sub { $stop = 1 };
	$SIG{USR1} = sub { $reconnect = 1 };
	eval { work($worker, $report); 1 } or syswrite $report, "$worker->{name}\tfails\t" . ($@ =~ s/\s+/ /gr) . "\n";
	POSIX::_exit(0);
}

# ---- what the workers tell --------------------------------------------------------------

my %worker = map { $_->{name} => $_ } @workers;
my $step = 0;
my $updating = 0;
my %count = map { $_ => 0 } 'rounds', 'sessions', 'announced';
my @problems;
my @kept;

# Has a session seen the update?  Once it has, it always does, and what its library lacks, and that alone,
# it cannot call.
sub judge
{
	my ($worker, $answer, $before, $after, $c_function) = @_;
	my $updated = 0 + ($answer ne $before);
	my $announced = $worker->{replaced} ? qr/^error could not find function "$c_function" in file / : qr/^\Q$after\E$/;

	$count{announced} += $updated && $worker->{replaced};
	push @problems, "$worker->{name}, library replaced: $worker->{replaced}, updated: $updated: $answer"
	  if $updated ? !$updating || $answer !~ $announced : $worker->{updated};
	return $updated;
}

sub hear
{
	my ($line) = @_;
	chomp $line;
	my ($name, $what, @more) = split /\t/, $line;
	my $worker = $worker{$name};

	die "$line\n" if $what eq 'fails';
	if ($what eq 'ends')
	{
		$worker->{ended} = 1;
		push @kept, @more;
		return;
	}
	my ($at_step, $replaced, $due, $added, $problem) = @more;
	$worker->{replaced} = $replaced;
	$worker->{rounds}++ if $at_step == $step;
	$count{rounds}++;
	$count{sessions}++ unless $worker->{keeps_session};
	push @problems, "$name: $problem" if $problem;
	judge($worker, $due, 0, 1, 'snapshot_due_next');
	$worker->{updated} = judge($worker, $added, 'error function snapshot_added(unknown) does not exist', 4, 'snapshot_added');
	return;
}

pipe my $reports, my $report or die "cannot make a pipe: $!\n";
$_->{pid} = start($_, $report) foreach @workers;
close $report;

# Until the condition holds for each worker.
sub listen_until
{
	my ($condition) = @_;

	local $SIG{ALRM} = sub { die 'waited in vain' };
	alarm $PostgreSQL::Test::Utils::timeout_default;
	while (grep { !$condition->() } @workers)
	{
		hear(<$reports> // die 'no worker is left');
	}
	alarm 0;
	return;
}

# A few rounds of each worker that began after what was done until now.
sub next_step
{
	my ($name) = @_;

	$node->safe_psql('used', 'INSERT INTO step VALUES (1)');
	$step++;
	$_->{rounds} = 0 foreach @workers;
	listen_until(sub { $_->{rounds} >= 3 });
	return is($problems[0], undef, $name) || die "which is not gone on with\n";
}

END
{
	my $status = $?;
	kill 'KILL', map { $_->{pid} } grep { $_->{pid} && !$_->{ended} } @workers;
	$? = $status;
}

# ---- the library is replaced ------------------------------------------------------------

my $old_session = connect_to_server();
ask($old_session, q{SELECT snapshot_due('none', '{1}', 0, 0)});
next_step("the SQL of $oldest with the library of $version: every call answers as it must");
my $functions = functions_of($node, 'used');
$node->safe_psql('used', 'ALTER EXTENSION snapshot_store UPDATE');
is($node->safe_psql('used', $version_of), $version, "the extension is updated from $oldest to $version");
kept_functions($functions, functions_of($node, 'used'), '... and every function of before is there');
next_step('... which nobody notices');

my $install = fork // die "cannot fork: $!\n";
unless ($install)
{
	open STDOUT, '>', "$work/install.log";
	open STDERR, '>&', \*STDOUT;
	exec 'make', '-s', '-C', $source, 'install', "PG_CONFIG=$ENV{PG_CONFIG}", "DESTDIR=$work/root", "INSTALL=$work/install";
}
listen_until(sub { -e "$work/installing" });
next_step('... also while the library is being replaced');
write_file("$work/go_on", '');
waitpid $install, 0;
is($?, 0, "version $next is installed") or diag(slurp_file("$work/install.log"));

next_step("... the SQL of $version with the library of $next, in sessions that began now");
is(join(' ', map { "$_->{name} $_->{replaced}" } @workers), 'kept_auto 1 kept_sql 1 new_auto 0 new_sql 0',
	'... while those that there were keep the library that they have');

# ---- the extension is updated -----------------------------------------------------------

like(try($old_session, 'ALTER EXTENSION snapshot_store UPDATE'), qr/^error could not find function "snapshot_due_next" in file/,
	'such a session cannot update the extension');
is($node->safe_psql('used', $version_of), $version, '... and changes nothing');
next_step('... for nobody');

$functions = functions_of($node, 'used');
$updating = 1;
$node->safe_psql('used', 'ALTER EXTENSION snapshot_store UPDATE');
is($node->safe_psql('used', $version_of), $next, 'a new one does');
kept_functions($functions, functions_of($node, 'used'), '... and every function of before is there');
next_step("... what was replaced or added fails with the library of $version, and nothing else does");
is(join(' ', map { $_->{updated} } @workers), '1 1 1 1', '... which all have met');

# Everybody looks at the table anew.
$node->safe_psql('used', 'ALTER TABLE snapshot_store SET (fillfactor = 65)');
next_step('... nor when the table has changed');

# States begin to be packed, and are what they were to all sessions.
my $count = q{SELECT count(*) FROM snapshot_store WHERE pg_column_size(state) < 80 AND octet_length(state::text) > 80};
$node->safe_psql('used', 'ALTER TABLE snapshot_store ALTER state TYPE snapshot_state');
next_step('... nor when its column may hold packed states');
$node->safe_psql('used', sprintf q{
	BEGIN;
	SELECT snapshot_save('train-' || n, n, 1, replace('%s', '0', n::text)::json) FROM generate_series(1000, 1100) AS n \g /dev/null
	SELECT FROM snapshot_dictionary_train('');
	DELETE FROM snapshot_store WHERE stream_id LIKE 'train-%%';
	COMMIT;
	CALL snapshot_repack('')}, state_of(0));
next_step('... nor when they are packed');
cmp_ok($node->safe_psql('used', $count), '>', 0, '... which they are');

kill 'USR1', map { $_->{pid} } grep { $_->{keeps_session} } @workers;
listen_until(sub { !$_->{replaced} });
next_step('in a new session all is well');

kill 'TERM', map { $_->{pid} } @workers;
listen_until(sub { $_->{ended} });
waitpid $_->{pid}, 0 foreach @workers;
is($problems[0], undef, '... to the end');
note "counted: $count{rounds} rounds of some 20 calls, $count{sessions} sessions, $count{announced} announced errors";
my $rows = q{SELECT stream_id || '|' || sequence_number FROM snapshot_store ORDER BY stream_id COLLATE "C"};
is($node->safe_psql('used', $rows), join("\n", sort @kept), 'every save that was answered with true is there');

# ---- ... and is as if installed afresh --------------------------------------------------

my $dump = $node->basedir . '/dump.sql';
$node->safe_psql('fresh', $create);
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('used') ], 'a dump of it');
$node->command_ok([ 'psql', '-Xqv', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], '... is restored');
is($node->safe_psql('restored', $rows), join("\n", sort @kept), '... with its rows');
foreach my $database ('restored', 'used')
{
	# A dump has json for packed states.
	$node->safe_psql('fresh', 'ALTER TABLE snapshot_store ALTER state TYPE snapshot_state') if $database eq 'used';
	equal_descriptions(description($node, $database), description($node, 'fresh'), "$database: it equals a fresh install of $next");
	is($node->safe_psql($database, 'SELECT count(*) FROM due'), scalar(@kept), '... and a view calls the function that was replaced');
}

# ---- the way back -----------------------------------------------------------------------

my $library = $node->config_data('--pkglibdir') . '/snapshot_store.so';
system('cp', "$ENV{SNAPSHOT_STORE_WORK}/root" . $library =~ s/^\Q$work\E\/root//r, "$library.new") == 0 or die "cannot copy the library\n";
rename "$library.new", $library or die "cannot rename the library: $!\n";
my $session = connect_to_server();
is_deeply([ make_round($session, { name => 'back' }, 5, {}) ], [], "the library of $version serves the SQL of $next");
like(try($session, q{SELECT snapshot_due('none', '{1}', 0, 0)}), qr/^error could not find function "snapshot_due_next" in file/,
	'... but for what was replaced or added');
$session->disconnect;

$node->stop;
done_testing();
