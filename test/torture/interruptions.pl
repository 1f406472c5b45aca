# Cancelled, ended, timed out, out of memory: at any point, and no damage.
#
# 1. Workers, half of them on each access path, call the store while
#    statement_timeout is 1 ms, or another session cancels or ends theirs at
#    random moments.
# 2. Each way to end the wait for a row lock, on each access path.
# 3. The n-th allocation of memory fails, for n = 1, 2, 3, ... until the call
#    makes it through, for every function, on each access path, in sessions
#    that are new, warm, and have just been told to forget what they know; with
#    and without packed states, whose library allocates for itself.
#
# After an interruption the same session, sometimes the same transaction, goes
# on and has to give right answers; each state carries its own checksum.  After
# each part the table obeys the rule, amcheck finds nothing, nothing is locked,
# and the server has logged no WARNING (of leaked buffers, snapshots and the
# like) and no crash.
use strict;
use warnings;

use DBI;
use DBD::Pg qw(:async);
use Digest::MD5 qw(md5_hex);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $long = $ENV{SNAPSHOT_STORE_LONG};
my $seed = $ENV{SEED} // time;
note("SEED=$seed");
srand($seed);

# The settings are this test's business.
delete $ENV{PGOPTIONS};

my %state_name = (
	'53200' => 'out of memory',
	'55P03' => 'lock_timeout',
	'57014' => 'cancelled',
	'57P01' => 'ended');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
autovacuum_naptime = 5s
jit = off
log_statement = none
log_min_error_statement = panic
});

# fail_malloc.c takes malloc's place in this server.
my $fail_malloc = PostgreSQL::Test::Utils::tempdir() . '/fail_malloc.so';
my $headers = `"$ENV{PG_CONFIG}" --includedir-server`;
chomp $headers;
system_or_bail('gcc', '-shared', '-fPIC', '-O1', '-Wl,-z,lazy', '-I', $headers,
	'-o', $fail_malloc, 'test/torture/fail_malloc.c');
{
	local $ENV{LD_PRELOAD} = $fail_malloc;
	$node->start;
}

$node->safe_psql('postgres', qq{
	CREATE EXTENSION amcheck;
	CREATE EXTENSION snapshot_store;
	ALTER TABLE snapshot_store ALTER state TYPE snapshot_state;

	CREATE FUNCTION fail_malloc(nth bigint, times bigint) RETURNS bigint
	LANGUAGE c STRICT AS '$fail_malloc';

	-- Runs a call, and tells whether it was interrupted.
	CREATE FUNCTION interrupted(call text) RETURNS boolean LANGUAGE plpgsql AS \$\$
	BEGIN
		EXECUTE call;
		RETURN false;
	EXCEPTION WHEN query_canceled OR lock_not_available OR out_of_memory THEN
		RETURN true;
	END \$\$;

	CREATE VIEW contents AS
	SELECT stream_id, slot, state_schema_version AS version, sequence_number AS sequence,
		coalesce(state::text, convert_from(state_bytea, 'UTF8'))::json AS state
	FROM snapshot_store;

	-- What breaks the rule, or is not what was saved.
	CREATE FUNCTION damage(keep int, keep_versions int) RETURNS SETOF text LANGUAGE sql AS \$\$
		SELECT format('stream %s has %s rows', stream_id, count(*)) FROM contents
		GROUP BY stream_id
		HAVING count(*) > keep * keep_versions OR max(slot) >= keep * keep_versions
			OR count(DISTINCT version) > keep_versions
			OR count(DISTINCT (version, sequence)) < count(*)
		UNION ALL
		SELECT format('stream %s has %s rows of version %s', stream_id, count(*), version) FROM contents
		GROUP BY stream_id, version HAVING count(*) > keep
		UNION ALL
		SELECT format('stream %s, version %s, sequence %s: wrong state', stream_id, version, sequence) FROM contents
		WHERE md5(state->>'body') IS DISTINCT FROM state->>'checksum'
			OR NOT starts_with(state->>'body', format('%s/%s/%s/', stream_id, version, sequence))
	\$\$;
});

my $admin = session();
my ($log_read, $calls, $failed, $tolerated);
my %filler = (small => 'x' x 40, compressed => 'words and ' x 500,
	large => join('', map { md5_hex($_) } 1 .. 500));

interrupt_workers();
interrupt_waits();
run_out_of_memory();

$admin->disconnect;
$node->stop;
done_testing();

# ---- what all parts use ---------------------------------------------------------------------

sub session
{
	my %option = @_;
	my $name = delete $option{name} // 'test';
	my $options = join ' ', map { "-c $_=$option{$_}" } sort keys %option;
	my $host = $node->host;
	my $port = $node->port;

	return DBI->connect("dbi:Pg:dbname=postgres;host=$host;port=$port;application_name=$name;options='$options'", undef, undef,
		{ RaiseError => 0, PrintError => 0, PrintWarn => 0, AutoCommit => 1, AutoInactiveDestroy => 1, pg_expand_array => 0 });
}

# The settings of a session that keeps $keep snapshots of $keep versions.
sub settings
{
	my ($path, $keep) = @_;
	return ('snapshot_store.access_path' => $path,
		'snapshot_store.keep' => $keep, 'snapshot_store.keep_versions' => $keep);
}

# Runs a statement; its values as one string, or undef and the session's state
# tells why.
sub run
{
	my ($session, $sql) = @_;
	my $statement = $session->prepare($sql, { pg_direct => 1, pg_server_prepare => 0 });

	$statement->execute or return;
	return '' unless $statement->{NUM_OF_FIELDS};
	my $rows = $statement->fetchall_arrayref;
	return if $statement->err;
	return join "\n", map { join '|', map { $_ // 'NULL' } @$_ } @$rows;
}

# The same in a session that nobody interrupts.
sub ask
{
	my ($session, $sql) = @_;
	return run($session, $sql) // die "$sql: " . $session->errstr;
}

# States that stay in line, that stay so when compressed, and that do not.
sub state_of
{
	my ($stream, $version, $sequence, $size) = @_;
	my $body = "$stream/$version/$sequence/" . $filler{ $size // (qw(small compressed large))[ rand 3 ] };
	return sprintf '{"body": "%s", "checksum": "%s"}', $body, md5_hex($body);
}

# A state that was loaded, is it that of the snapshot?
sub is_state_of
{
	my ($state, $stream, $version, $sequence) = @_;
	return $state =~ m{^\{"body": "(\Q$stream/$version/$sequence\E/.*)", "checksum": "(\w+)"\}$}
		&& md5_hex($1) eq $2;
}

sub save
{
	my ($stream, $sequence, $version, $size) = @_;
	return sprintf q{SELECT snapshot_save('%s', %d, %d, '%s')}, $stream, $sequence, $version,
		state_of($stream, $version, $sequence, $size);
}

sub save_bytea
{
	my ($stream, $sequence, $version, $size) = @_;
	return sprintf q{SELECT snapshot_save_bytea('%s', %d, %d, convert_to('%s', 'UTF8'))},
		$stream, $sequence, $version, state_of($stream, $version, $sequence, $size);
}

sub save_many
{
	my ($streams, $sequence, $version, $size) = @_;
	return sprintf q{SELECT stored FROM snapshot_save_many(ARRAY[%s], ARRAY[%s], ARRAY[%s], ARRAY[%s]::json[])},
		map { join ',', @$_ }
		[ map { "'$_'" } @$streams ], [ ($sequence) x @$streams ], [ ($version) x @$streams ],
		[ map { "'" . state_of($_, $version, $sequence, $size) . "'" } @$streams ];
}

# After each part.
sub check_server
{
	my ($name, $keep) = @_;

	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND pid <> } . $admin->{pg_pid}),
		"$name: every session has ended");
	is(ask($admin, q{SELECT l.* FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
			WHERE pid IS DISTINCT FROM pg_backend_pid() AND backend_type IS DISTINCT FROM 'autovacuum worker'}), '',
		'... nothing is locked');
	is(ask($admin, "SELECT * FROM damage($keep, $keep)"), '', '... the table obeys the rule, and each state is its own');
	$node->command_ok([ 'pg_amcheck', '--table=snapshot_store', '--heapallindexed', '--parent-check', 'postgres' ],
		'... amcheck finds nothing');
	my $log = slurp_file($node->logfile, $log_read // 0);
	$log_read = -s $node->logfile;
	# This one tells that the machine is busy.
	$log =~ s/WARNING: .*worker took too long to start//g;
	# This one tells that memory was short when the server began a subtransaction.
	$log =~ s/WARNING:  AbortSubTransaction while in START state//g if $name =~ /^out of memory/;
	is(join("\n", $log =~ /^.*(?:WARNING:|PANIC:|TRAP:|leak|terminated by signal).*$/mg), '',
		'... and the server has logged no warning and no crash');
}

sub counted
{
	my ($text) = @_;
	1 while $text =~ s/(\d)(\d{3})\b/$1,$2/;
	note("counted: $text");
}

# ---- 1. workers, interrupted at random moments ------------------------------------------------

sub interrupt_workers
{
	my %interrupted;
	my $calls = 0;

	foreach my $keep (1, 2)
	{
		foreach my $how ('statement_timeout', 'pg_cancel_backend', 'pg_terminate_backend')
		{
			# How often each worker is to be interrupted.
			my $times = $how eq 'pg_terminate_backend' ? ($long ? 400 : 10) : ($long ? 6_000 : 50);
			ask($admin, 'DELETE FROM snapshot_store');
			my $interrupter = $how eq 'statement_timeout' ? undef : start_child(\&interrupt_others, $how);
			my @workers = map { start_child(\&work, $how, $keep, $times, $_) } 0 .. 3;
			my @reports = map { read_child($_) } @workers;

			if (defined $interrupter)
			{
				kill 'TERM', $interrupter->{pid};
				read_child($interrupter);
			}
			is(join('', map { $_->{end} // 'no end' } @reports), '', "$how, $keep kept: no worker was wrong");
			foreach my $report (@reports)
			{
				$calls += $report->{calls} // 0;
				$interrupted{$_} += $report->{$_} // 0 foreach keys %state_name;
			}
			check_server("$how, $keep kept", $keep);
		}
	}
	counted("$calls calls by 4 workers, "
		. join(', ', map { "$interrupted{$_} $state_name{$_}" } grep { $interrupted{$_} } sort keys %interrupted));
}

# Starts a child that runs the function, which returns a report.
sub start_child
{
	my ($function, @arguments) = @_;
	my $pid = open(my $pipe, '-|') // die "cannot fork: $!";

	return { pid => $pid, pipe => $pipe } if $pid > 0;

	# Whoever hangs, is ended, and has reported nothing.
	alarm($long ? 1200 : 300);
	my $report = eval { $function->(@arguments) } // { end => "died: $@" };
	syswrite(STDOUT, join '', map { "$_=$report->{$_}\n" } keys %$report);
	POSIX::_exit(0);
}

sub read_child
{
	my ($child) = @_;
	my $pipe = $child->{pipe};
	my %report = map { chomp; split /=/, $_, 2 } <$pipe>;

	close $pipe;
	return \%report;
}

# Cancels or ends a worker that is busy, again and again.
sub interrupt_others
{
	my ($function) = @_;
	my $begun = Time::HiRes::time();
	my $session = session(log_min_messages => 'error');		# the worker may have just gone
	# A worker that was ended must have the time to begin again.
	my $pause = 5_000 + 2_000_000 * (Time::HiRes::time() - $begun);

	srand($seed);
	while (1)
	{
		run($session, qq{SELECT $function(pid) FROM pg_stat_activity
			WHERE application_name = 'worker' AND state = 'active' AND random() < 0.5});
		usleep(rand($function eq 'pg_cancel_backend' ? 300 : $pause));
	}
}

sub work
{
	my ($how, $keep, $times, $number) = @_;
	my %report = (calls => 0, end => '', map { $_ => 0 } keys %state_name);
	my $path = $number % 2 ? 'sql' : 'auto';
	my $limit = $how eq 'statement_timeout' ? 1 : 0;
	my $own = "own-$number";	# the stream that nobody else saves
	my ($acknowledged, $tried) = (0, 0);
	my $session;

	srand($seed + 1 + $number);

	my $connect = sub {
		until ($session = session(settings($path, $keep), name => 'worker', statement_timeout => $limit))
		{
			die 'cannot connect: ' . $DBI::errstr unless $DBI::state eq '57P01' || $DBI::errstr =~ /terminating/;
		}
	};

	# Runs a statement that may be interrupted; then undef.
	my $try = sub {
		my ($sql) = @_;
		my $result = run($session, $sql);

		return $result if defined $result;
		my ($state, $error) = ($session->state, $session->errstr);
		if ($state eq '57014' && $how ne 'pg_terminate_backend')
		{
			$report{$state}++;
		}
		elsif ($how eq 'pg_terminate_backend' && !$session->ping && $error =~ /terminating connection|connection/)
		{
			$report{'57P01'}++;
			$session->disconnect;
			$connect->();
		}
		else
		{
			die "$path: " . substr($sql, 0, 100) . ": $state $error";
		}
		return;
	};
	my $insist = sub {
		my ($sql) = @_;
		my $result;
		until (defined($result = $try->($sql))) { }
		return $result;
	};

	# What the own stream has must be one of these.
	my $check_own = sub {
		my ($loaded, @sequences) = @_;
		my ($sequence, $version, $state) = split /\|/, $loaded, 3;

		$sequence //= 0;
		die "$path: $own has $sequence, and not @sequences" unless grep { $_ == $sequence } @sequences;
		die "$path: $own has a wrong state" unless $sequence == 0 || is_state_of($state, $own, 1, $sequence);
		return $sequence;
	};
	my $load_own = "SELECT sequence_number, state_schema_version, state FROM snapshot_load('$own', ARRAY[1])";

	# After an interruption, outside of a transaction, without a limit.
	my $settle = sub {
		while ($session->ping > 2) { $try->('ROLLBACK') }
		$insist->('SET statement_timeout = 0');
		$acknowledged = $check_own->($insist->($load_own), $acknowledged, $tried);
		$insist->("SET statement_timeout = $limit");
	};

	my @shared = map { "shared-$_" } 0 .. 9;
	my @bytes = map { "bytes-$_" } 0 .. 4;
	my $sequence = sub { return 1 + int rand 1000 };
	my $version = sub { return 1 + int rand 3 };
	my %call = (
		save => sub { save($shared[ rand @shared ], $sequence->(), $version->()) },
		save_bytea => sub { save_bytea($bytes[ rand @bytes ], $sequence->(), $version->()) },
		save_many => sub { save_many(\@shared, $sequence->(), $version->()) },
		load => sub {
			my $stream = $shared[ rand @shared ];
			(qq{SELECT stream_id, l.* FROM (VALUES ('$stream')) AS s (stream_id),
				LATERAL (SELECT sequence_number, state_schema_version, state FROM snapshot_load(stream_id, ARRAY[1,2])) l}, 'states') },
		load_bytea => sub {
			my $stream = $bytes[ rand @bytes ];
			(qq{SELECT '$stream', sequence_number, state_schema_version, convert_from(state, 'UTF8')
				FROM snapshot_load_bytea('$stream', ARRAY[1,2])}, 'states') },
		load_many => sub {
			(sprintf(q{SELECT stream_id, sequence_number, state_schema_version, state
				FROM snapshot_load_many(ARRAY[%s], ARRAY[1,2])}, join ',', map { "'$_'" } @shared), 'states') },
		info => sub { "SELECT count(*) FROM snapshot_info('$shared[ rand @shared ]')" },
		due => sub { "SELECT snapshot_due('$shared[ rand @shared ]', ARRAY[1,2], 1000, 10)" },
		delete => sub { "SELECT snapshot_delete('$shared[ rand @shared ]', max_sequence_number => 500)" },
		census => sub { q{SELECT sum(snapshots) FROM snapshot_census('')} },
		outdated => sub { q{SELECT count(*) FROM snapshot_outdated('', ARRAY[1])} });
	# What takes longest is most likely to be interrupted.
	my @calls = (('save_many') x 5, sort keys %call);
	my $check_states = sub {
		foreach my $row (split /\n/, shift)
		{
			my ($stream, $n, $v, $state) = split /\|/, $row, 4;
			die "$path: a load returned version $v" if $v > 2;
			die "$path: $stream, sequence $n has a wrong state" unless is_state_of($state, $stream, $v, $n);
		}
	};

	$connect->();
	while ($report{'57014'} + $report{'57P01'} < $times)
	{
		$report{calls}++;
		my ($sql, $returns) = $call{ $calls[ rand @calls ] }->();
		my $form = int rand 10;
		my $done;

		if ($form < 4)		# a call of its own
		{
			$done = $try->($sql);
			$check_states->($done) if defined $done && $returns;
		}
		elsif ($form == 4)	# a save whose effect is known
		{
			$tried = $acknowledged + 1;
			$done = $try->(save($own, $tried, 1));
			$acknowledged = $tried if defined $done;
			die "$path: a save into $own returned $done" if defined $done && $done ne '1';
		}
		elsif ($form == 5)
		{
			$done = $try->(q{CALL snapshot_purge('shared-', ARRAY[1,2], batch_size => 5)});
		}
		elsif ($form < 8)	# after a savepoint; what was saved before it stays
		{
			$tried = $acknowledged + 1;
			if (defined $try->('BEGIN') && defined $try->(save($own, $tried, 1)) && defined $try->('SAVEPOINT before'))
			{
				my $ended = $report{'57P01'};

				$done = $try->($sql);
				unless (defined $done)
				{
					until ($ended != $report{'57P01'} || defined $try->('ROLLBACK TO before')) { }
				}
				my $loaded = $ended == $report{'57P01'} ? $try->($load_own) : undef;
				if (defined $loaded)
				{
					$check_own->($loaded, $tried);
					$done = $try->('COMMIT');
					$acknowledged = $tried if defined $done;
				}
				else
				{
					undef $done;
				}
			}
		}
		else	# in a block that catches the interruption
		{
			$tried = $acknowledged + 1;
			my $save_own = save($own, $tried, 1);
			my $caught;

			if (defined $try->('BEGIN') && defined($caught = $try->("SELECT interrupted(\$call\$$save_own\$call\$)")))
			{
				my $expected = $caught ? $acknowledged : $tried;

				$report{'57014'} += $caught;
				$done = $try->("SELECT interrupted(\$call\$$sql\$call\$)");
				$report{'57014'} += $done if defined $done;
				my $loaded = defined $done ? $try->($load_own) : undef;

				undef $done;
				if (defined $loaded)
				{
					$check_own->($loaded, $expected);
					$done = $try->('COMMIT');
					$acknowledged = $expected if defined $done;
				}
			}
		}
		$settle->() unless defined $done;
	}
	$session->disconnect;
	return \%report;
}

# ---- 2. waits for a row lock, ended in every way ------------------------------------------------

sub interrupt_waits
{
	my %calls = (
		overwrite => save('wait', 60, 1),
		first => save('wait-first', 60, 1),
		other_version => save('wait', 60, 2),
		save_many => save_many([ 'wait', 'wait-first', 'wait-not' ], 60, 1),
		delete => q{SELECT snapshot_delete('wait', max_sequence_number => 10)});
	my %states = (lock_timeout => '55P03', statement_timeout => '57014',
		pg_cancel_backend => '57014', pg_terminate_backend => '57P01');
	my $waits = 0;

	ask($admin, 'DELETE FROM snapshot_store');
	foreach my $keep (1, 2)
	{
		my @wrong;

		foreach my $path ('auto', 'sql')
		{
			my $holder = session(settings($path, $keep));

			foreach my $call (sort keys %calls)
			{
				foreach my $how (sort keys %states)
				{
					foreach my $form ('alone', 'savepoint', 'caught')
					{
						next if $how eq 'pg_terminate_backend' && $form ne 'alone';
						# This one may end the statement outside of the block.
						next if $how eq 'statement_timeout' && $form eq 'caught';
						push @wrong, map { "$call, $how, $form, $path, $keep kept: $_" }
							interrupt_wait($holder, $path, $keep, $calls{$call}, $how, $states{$how}, $form);
						$waits++;
					}
				}
			}

			# A session that is ended because it is idle in a transaction lets others go on.
			ask($holder, 'SET idle_in_transaction_session_timeout = 1');
			ask($holder, 'BEGIN');
			run($holder, save('wait', 70, 1));
			my $waiter = session(settings($path, $keep));
			push @wrong, 'who waited did not save' unless ask($waiter, save('wait', 65, 1)) eq '1';
			push @wrong, 'who waited does not load' unless
				ask($waiter, q{SELECT sequence_number FROM snapshot_load('wait', ARRAY[1])}) eq '65';
			push @wrong, 'who was idle goes on' if defined run($holder, 'SELECT 1');
			$waits++;
			$_->disconnect foreach $holder, $waiter;
		}
		is(join("\n", @wrong), '', "waits that end, $keep kept");
		my $ended = () = slurp_file($node->logfile, $log_read) =~ /FATAL:  terminating connection due to idle-in-transaction timeout/g;
		is($ended, 2, '... and whoever was idle was told why');
		check_server("waits that end, $keep kept", $keep);
	}
	counted("$waits waits for a row lock ended");
}

# Lets a call wait for what the holder has saved, ends the wait, and goes on
# in the same session.  Returns what is wrong.
sub interrupt_wait
{
	my ($holder, $path, $keep, $call, $how, $state, $form) = @_;
	my $waiter = session(settings($path, $keep));
	my $statement = $form eq 'caught' ? "SELECT interrupted(\$call\$$call\$call\$)" : $call;
	my $load_before = q{SELECT sequence_number FROM snapshot_load('before', ARRAY[1])};
	my ($result, @wrong);

	ask($admin, q{SELECT snapshot_delete('before'), snapshot_delete('wait'), snapshot_delete('wait-first')});
	ask($admin, save('wait', 1, 1));
	ask($admin, save('before', 1, 1));
	ask($holder, 'BEGIN');
	ask($holder, save('wait', 50, 1));
	ask($holder, save('wait-first', 50, 1));
	if ($form ne 'alone')
	{
		ask($waiter, 'BEGIN');
		ask($waiter, save('before', 2, 1));
		ask($waiter, 'SAVEPOINT before');
	}

	if ($how =~ /timeout/)
	{
		# Long enough for what is not to be interrupted.
		ask($waiter, "SET $how = '200ms'");
		$result = run($waiter, $statement);
	}
	else
	{
		my $pid = $waiter->{pg_pid};

		$waiter->do($statement, { pg_async => PG_ASYNC, pg_direct => 1 });
		$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid")
			or die 'the call does not wait';
		ask($admin, "SELECT $how($pid)");
		$result = $waiter->pg_result;
		# Some versions of DBD::Pg return something also for a failure.
		undef $result if $waiter->state;
		$result = 1 if $result && $form eq 'caught';
	}
	if ($form eq 'caught')
	{
		push @wrong, 'was not caught: ' . $waiter->state unless $result;
	}
	else
	{
		# DBD::Pg does not always tell the state of a session's end.
		push @wrong, 'ended with ' . $waiter->state . ' ' . $waiter->errstr
			if $result || ($waiter->state ne $state && $waiter->errstr !~ /terminating connection due to administrator command/);
	}

	if ($how eq 'pg_terminate_backend')
	{
		$waiter->disconnect;
		$waiter = session(settings($path, $keep));
	}
	ask($waiter, 'ROLLBACK TO before') if $form eq 'savepoint';
	ask($waiter, "SET $how = 0") if $how =~ /timeout/;
	push @wrong, 'the session loads something else' unless ask($waiter, $load_before) eq ($form eq 'alone' ? 1 : 2);
	ask($holder, 'ROLLBACK');
	my $repeated = ask($waiter, $call);
	push @wrong, "the next call returns $repeated" unless $repeated =~ /^1(?:\n1\n1)?$/;
	ask($waiter, 'COMMIT') if $form ne 'alone';
	push @wrong, 'what was saved before is lost' unless ask($admin, $load_before) eq ($form eq 'alone' ? 1 : 2);
	$waiter->disconnect;
	return @wrong;
}

# ---- 3. out of memory ---------------------------------------------------------------------------

sub run_out_of_memory
{
	my @states = map { state_of(@$_) } [ 'one', 1, 5, 'large' ], [ 'bytes', 1, 5, 'large' ], [ 'old', 9, 5, 'small' ];
	my @many = ([ 'new', 'old', 'one' ], 7, 1, 'large');
	# name, call, what it returns, how many are kept
	my @calls = (
		[ 'overwrite, large', save('one', 7, 1, 'large'), 1, 1 ],
		[ 'overwrite, small', save('one', 7, 1, 'small'), 1, 1 ],
		[ 'first save', save('new', 7, 1, 'compressed'), 1, 1 ],
		[ 'one of several', save('full', 9, 1, 'large'), 1, 2 ],
		[ 'another version', save('full', 9, 3, 'large'), 1, 2 ],
		[ 'fewer are kept', save('full', 9, 2, 'small'), 1, 1 ],
		[ 'save_bytea', save_bytea('bytes', 7, 1, 'large'), 1, 1 ],
		[ 'save_many', save_many(@many), "1\n1\n1", 1 ],
		[ 'load', q{SELECT state FROM snapshot_load('one', ARRAY[1])}, $states[0], 1 ],
		[ 'load_bytea', q{SELECT convert_from(state, 'UTF8') FROM snapshot_load_bytea('bytes', ARRAY[1])}, $states[1], 1 ],
		[ 'load_many', q{SELECT state FROM snapshot_load_many(ARRAY['old', 'not', 'one'], ARRAY[1,9])}, "$states[2]\n$states[0]", 1 ],
		[ 'info', q{SELECT sequence_number, state_schema_version FROM snapshot_info('full')}, "2|2\n2|1\n1|2\n1|1", 1 ],
		[ 'due', q{SELECT snapshot_due('one', ARRAY[1], 10, 5)}, 1, 1 ],
		[ 'delete', q{SELECT snapshot_delete('full')}, 4, 1 ],
		[ 'census', q{SELECT * FROM snapshot_census('')}, "1|4|3\n2|2|1\n9|1|1", 1 ],
		[ 'outdated', q{SELECT * FROM snapshot_outdated('', ARRAY[1])}, 'old', 1 ],
		[ 'purge', q{CALL snapshot_purge('', ARRAY[1])}, 3, 1 ]);

	$calls = $failed = $tolerated = 0;
	if (ask($admin, 'SELECT fail_malloc(0, 0)') == 0)
	{
		note("another library has taken malloc's place");
		return;
	}

	# What the table holds before each call.
	my $several = session(settings('auto', 2));
	ask($admin, 'DELETE FROM snapshot_store');
	ask($admin, "SELECT snapshot_save('one', 5, 1, '$states[0]'), snapshot_save('old', 5, 9, '$states[2]'),
		snapshot_save_bytea('bytes', 5, 1, convert_to('$states[1]', 'UTF8'))");
	ask($several, save('full', @$_)) foreach [ 1, 1 ], [ 1, 2 ], [ 2, 1 ], [ 2, 2 ];
	ask($admin, 'CREATE TABLE before AS SELECT * FROM snapshot_store');
	$several->disconnect;

	fail_calls('plain', @calls);

	# Now with states that are packed, and beside them such as can be.
	ask($admin, save("kind-$_", 5, 1, (qw(small compressed large))[ $_ % 3 ])) foreach 1 .. 30;
	is(ask($admin, q{SELECT count(number) FROM snapshot_dictionary_train('', max_size => 65536, min_samples => 5)}), 1, 'a dictionary');
	ask($admin, "UPDATE snapshot_store SET metadata = '{}'");
	ask($admin, "DELETE FROM snapshot_store WHERE stream_id IN ('one', 'old')");
	ask($admin, "SELECT snapshot_save('one', 5, 1, '$states[0]'), snapshot_save('old', 5, 9, '$states[2]')");
	my $packed = q{SELECT count(*) FROM snapshot_store WHERE pg_column_size(state) < octet_length(state::text) * 3 / 4 AND stream_id };
	is(ask($admin, "$packed = 'one'"), 1, 'a packed state');
	# zstd's trainer, up to 1.5.5, takes no care of its own allocations; require_memory() looks before it.
	is(ask($admin, q{SELECT count(number) FROM snapshot_dictionary_train('kind-', max_size => 8192, min_samples => 5)}), 1, 'another one');
	ask($admin, 'DROP TABLE before; CREATE TABLE before AS SELECT * FROM snapshot_store');
	fail_calls('packed', (grep { $_->[0] !~ /census|outdated|purge/ } @calls),
		[ 'select', q{SELECT state, state::jsonb->>'checksum' = state->>'checksum' FROM snapshot_store WHERE stream_id = 'one'}, "$states[0]|1", 1 ],
		[ 'retire', q{SELECT count(snapshot_dictionary_retire(number)) FROM snapshot_dictionaries() WHERE stream_id_prefix = 'kind-'}, 1, 1 ],
		[ 'dictionaries', q{SELECT count(*) FROM snapshot_dictionaries()}, 2, 1 ],
		[ 'repack', q{CALL snapshot_repack('kind-')}, 30, 1 ]);
	cmp_ok($failed, '>', 0, 'calls ran out of memory');
	counted("$calls calls with a failed allocation, $failed out of memory, $tolerated that did without");
}

sub fail_calls
{
	my ($states, @calls) = @_;

	foreach my $path ('auto', 'sql')
	{
		foreach my $kind ('new', 'warm', 'forgetful', 'caught')
		{
			my @wrong;

			foreach my $call (@calls)
			{
				next if $call->[0] =~ /^(purge|repack)$/ && $kind eq 'caught';
				push @wrong, map { "$call->[0]: $_" } fail_call($path, $kind, @$call);
			}
			is(join("\n", @wrong), '', "out of memory, $states states, $path, $kind session");
		}
		restore();
		check_server("out of memory, $states states, $path", 2);
	}
}

sub restore
{
	$admin->do('BEGIN; DELETE FROM snapshot_store; INSERT INTO snapshot_store SELECT * FROM before; COMMIT')
		or die $admin->errstr;
}

# All that the table holds.
sub image
{
	return ask($admin, q{SELECT string_agg(concat_ws(' ', stream_id, slot, version, sequence, md5(state::text)), ', '
		ORDER BY stream_id, slot) FROM contents});
}

# Lets allocations fail in a call, each time another one; then goes on in the
# same session.  Returns what is wrong.
sub fail_call
{
	my ($path, $kind, $name, $call, $expected, $keep) = @_;
	my $statement = $kind eq 'caught' ? "SELECT interrupted(\$call\$$call\$call\$)" : $call;
	# An entry for which there was no memory is one that the server's own counts (15.20) use later, and crash.
	my @settings = (settings($path, $keep), track_counts => 'off');
	my $session = session(@settings);
	my @wrong;

	restore();
	my $before = image();
	my $first = ask($session, $call);
	push @wrong, "returns $first" unless $first eq $expected;
	my $after = image();

	# A call in which none fails tells how many allocations there are.
	my ($nth, $count) = (0, undef);
	while (!defined $count || $nth < $count + 2)
	{
		my $times = $long && $nth % 3 == 0 ? 3 : 1;

		# Bring the session into the state that it is to be in.
		restore();
		if ($kind eq 'new')
		{
			$session->disconnect;
			$session = session(@settings);
		}
		elsif ($kind eq 'forgetful')
		{
			ask($session, 'DISCARD PLANS');
			ask($admin, 'ALTER TABLE snapshot_store SET (fillfactor = 65)');
		}

		ask($session, 'BEGIN') if $kind eq 'caught';
		ask($session, sprintf 'SELECT fail_malloc(%d, %d)', $nth || 1_000_000_000, $times);
		my $result = run($session, $statement);
		my ($state, $error) = ($session->state, $session->errstr);

		unless ($session->ping)
		{
			# The server itself ends a session that cannot even begin a subtransaction.
			push @wrong, "allocation $nth: the session has ended: $error"
				unless $error =~ /FATAL:  out of memory.*CurTransactionContext/s;
			$session = session(@settings);
			next;
		}
		# The dynamic linker has words of its own for it.
		push @wrong, "allocation $nth: $state $error"
			unless defined $result || $state eq '53200' || $error =~ /could not load library/;
		push @wrong, "allocation $nth: returns $result" if defined $result && $kind ne 'caught' && $result ne $expected;
		my $done = defined $result && !($kind eq 'caught' && $result);

		# It may also be this one that fails, and with it the transaction.
		my $allocations;
		until (defined($allocations = run($session, 'SELECT fail_malloc(0, 0)')))
		{
			die "allocation $nth: the session has ended" unless $session->ping > 0;
			next unless $session->ping == 4;
			run($session, 'ROLLBACK');
			$done = 0;
		}
		if ($nth > 0)
		{
			$calls++;
			$failed++ unless $done;
			$tolerated++ if $done && $allocations >= $nth;
		}
		else
		{
			$count = $allocations;
		}
		my $image = $session->ping == 3 ? undef : image();
		# A purge has committed before it has told how many it has deleted, and so has a repack.
		my $has_purged = !$done && ($name eq 'purge' ? $image eq $after
			: $name eq 'repack' && ask($admin, q{SELECT max(pg_column_size(state)) FROM snapshot_store WHERE stream_id LIKE 'kind-%'}) < 1000);
		push @wrong, "allocation $nth: the table holds $image" if defined $image && !$has_purged && $image ne ($done ? $after : $before);

		# The next call in the same session.
		unless ($done)
		{
			my $next = run($session, $call);
			push @wrong, "allocation $nth, next call: " . ($next // $session->errstr) unless ($next // '?') eq ($has_purged ? 0 : $expected);
		}
		ask($session, 'COMMIT') if $session->ping > 2;
		$image = image();
		push @wrong, "allocation $nth: in the end the table holds $image" if $image ne $after;
	}
	continue
	{
		# All of them, or a few; all where the library is loaded in a session that has set something.
		$nth += $long || $kind eq 'new' && $name eq 'one of several' ? 1 : 1 + int rand(($count // 0) / 2 + 1);
	}
	$session->disconnect;
	return @wrong;
}
