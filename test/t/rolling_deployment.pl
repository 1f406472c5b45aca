# A rolling deployment: an old and a new version of an application save and
# load side by side, each its own schema version, until the old one retires.
#
# With keep_versions at 2 neither loses a snapshot; with 1, they erase each
# other's.  Neither ever sees the other's.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

# The events of 20 streams are only counted.  An application loads a stream's
# snapshot, replays the events after it, appends events of its own, and saves.
$node->safe_psql('postgres', q{
	CREATE EXTENSION snapshot_store;
	CREATE TABLE stream (id text PRIMARY KEY, events bigint NOT NULL);
	CREATE TABLE saved (session text, schema_version bigint, stream_id text, sequence_number bigint);
	CREATE TABLE report (session text, schema_version bigint, steps bigint, lost bigint, foreign_seen bigint, replayed bigint);

	CREATE PROCEDURE begin_anew() LANGUAGE sql AS $$
		TRUNCATE stream, saved, report, snapshot_store;
		INSERT INTO stream SELECT format('order-%s', n), 0 FROM generate_series(10, 29) AS n;
	$$;

	-- One step.  "at_least" is the sequence number of the last snapshot that
	-- this session knows of.
	CREATE PROCEDURE step(schema_version bigint, stream_id text, at_least bigint,
						  INOUT lost bigint, INOUT foreign_seen bigint, INOUT replayed bigint, INOUT saved_at bigint)
	LANGUAGE plpgsql AS $$
	DECLARE
		found record;
	BEGIN
		SELECT * INTO found FROM snapshot_load(stream_id, ARRAY[schema_version]);
		IF found.sequence_number IS NULL OR found.sequence_number < at_least THEN
			lost := lost + (at_least > 0)::integer;
		END IF;
		IF found.state ->> 'by' <> 'version ' || schema_version OR found.state_schema_version <> schema_version
			OR (found.state ->> 'at')::bigint <> found.sequence_number THEN
			foreign_seen := foreign_seen + 1;
		END IF;
		UPDATE stream SET events = events + 1 + floor(random() * 5) WHERE id = stream_id RETURNING events INTO saved_at;
		replayed := replayed + saved_at - coalesce(found.sequence_number, 0);
		COMMIT;
		IF NOT snapshot_save(stream_id, saved_at, schema_version,
							 json_build_object('by', 'version ' || schema_version, 'at', saved_at)) THEN
			saved_at := at_least;
		END IF;
		COMMIT;
	END
	$$;

	-- A session of one version of the application.
	CREATE PROCEDURE application(session text, schema_version bigint, steps bigint) LANGUAGE plpgsql AS $$
	DECLARE
		known bigint[] := array_fill(0, ARRAY[20], ARRAY[10]);
		n integer;
		r report := ROW(session, schema_version, steps, 0, 0, 0);
		saved_at bigint;
	BEGIN
		-- All begin together.
		PERFORM pg_advisory_lock_shared(1);
		FOR i IN 1..steps LOOP
			n := 10 + floor(random() * 20);
			CALL step(schema_version, format('order-%s', n), known[n], r.lost, r.foreign_seen, r.replayed, saved_at);
			known[n] := saved_at;
		END LOOP;
		INSERT INTO report SELECT r.*;
		INSERT INTO saved SELECT session, schema_version, format('order-%s', k), known[k] FROM generate_series(10, 29) AS k;
	END
	$$;

	-- Both versions in one session, in turn by chance.
	CREATE PROCEDURE both_in_turn(steps bigint) LANGUAGE plpgsql AS $$
	DECLARE
		known bigint[] := array_fill(0, ARRAY[2, 20], ARRAY[1, 10]);
		n integer;
		v integer;
		r report[] := ARRAY[ROW('in turn', 1, 0, 0, 0, 0)::report, ROW('in turn', 2, 0, 0, 0, 0)::report];
		one report;
		saved_at bigint;
	BEGIN
		FOR i IN 1..steps LOOP
			n := 10 + floor(random() * 20);
			v := 1 + floor(random() * 2);
			one := r[v];
			CALL step(v, format('order-%s', n), known[v][n], one.lost, one.foreign_seen, one.replayed, saved_at);
			one.steps := one.steps + 1;
			r[v] := one;
			known[v][n] := saved_at;
		END LOOP;
		INSERT INTO report SELECT u.* FROM unnest(r) AS u;
		INSERT INTO saved SELECT 'in turn', u, format('order-%s', k), known[u][k]
		FROM generate_series(1, 2) AS u, generate_series(10, 29) AS k;
	END
	$$;
});

# What of each version the applications know to be saved, and is not kept.
my $missing = q{
	SELECT count(*) FROM (SELECT schema_version, stream_id, max(sequence_number) AS sequence_number FROM saved
						  GROUP BY 1, 2) AS s
	WHERE s.sequence_number > 0 AND NOT EXISTS (
		SELECT FROM snapshot_load(s.stream_id, ARRAY[s.schema_version]) AS l
		WHERE l.sequence_number = s.sequence_number AND (l.state ->> 'at')::bigint = s.sequence_number)};
my $report = q{SELECT schema_version, sum(steps), sum(lost), sum(foreign_seen), sum(replayed) FROM report GROUP BY 1 ORDER BY 1};

# The outcome of a deployment: what the versions have lost and seen on the way,
# and what is missing at the end.
sub outcome
{
	my ($name) = @_;
	my %outcome = (steps => 0, lost => 0, foreign => 0, replayed => 0);

	foreach my $line (split /\n/, $node->safe_psql('postgres', $report))
	{
		my ($version, $steps, $lost, $foreign, $replayed) = split /\|/, $line;

		$outcome{steps} += $steps;
		$outcome{lost} += $lost;
		$outcome{foreign} += $foreign;
		$outcome{replayed} += $replayed;
		$outcome{versions}{$version} = $steps;
	}
	$outcome{missing} = $node->safe_psql('postgres', $missing);
	note "$name: " . join ', ', map { "$_ $outcome{$_}" } grep { $_ ne 'versions' } sort keys %outcome;
	return \%outcome;
}

sub keep_versions
{
	my ($number) = @_;

	# The server knows the setting once the library is loaded.
	$node->safe_psql('postgres',
		"LOAD 'snapshot_store'; ALTER DATABASE postgres SET snapshot_store.keep_versions = $number");
}

# In one session

my %outcome;
foreach my $number (2, 1)
{
	keep_versions($number);
	$node->safe_psql('postgres', 'CALL begin_anew()');
	$node->safe_psql('postgres', 'CALL both_in_turn(4000)');
	$outcome{$number} = outcome("in turn, keep_versions $number");
}
is($outcome{2}{steps}, 4000, 'two versions of an application in turn, 4,000 steps');
is($outcome{2}{lost}, 0, 'with keep_versions at 2 neither loses a snapshot on the way');
is($outcome{2}{missing}, 0, '... and at the end each has its last of every stream');
is($outcome{2}{foreign}, 0, '... and neither sees one of the other');
cmp_ok($outcome{1}{lost}, '>', 1000, 'with 1 they erase each other\'s snapshots, step by step');
cmp_ok($outcome{1}{missing}, '>=', 20, '... and at the end one of them has none of a stream');
is($outcome{1}{foreign}, 0, '... but even so neither sees one of the other');
cmp_ok($outcome{1}{replayed}, '>', 10 * $outcome{2}{replayed}, '... and they replay the more events');

# What that costs: two versions take turns on a stream of 100 events, a command adds one, and a snapshot
# is due every 100.  Returns how many were taken in 200 commands.
$node->safe_psql('postgres', q{
	CREATE FUNCTION taken_in_200_commands() RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		taken bigint := 0;
	BEGIN
		FOR event IN 101..300 LOOP
			IF snapshot_due('turns', ARRAY[1 + event % 2], event, 100) THEN
				taken := taken + snapshot_save('turns', event, 1 + event % 2, '{}')::integer;
			END IF;
		END LOOP;
		RETURN taken;
	END
	$$});
foreach ([ 1, 200 ], [ 2, 4 ])
{
	my ($number, $taken) = @$_;

	keep_versions($number);
	is($node->safe_psql('postgres', q{SELECT snapshot_delete('turns') \g /dev/null
			SELECT taken_in_200_commands()}), $taken, "with keep_versions at $number two versions take $taken snapshots in 200 commands");
}

# In four sessions at once, two of each version

sub in_four_sessions
{
	my $holder = $node->background_psql('postgres');
	my @sessions;

	$node->safe_psql('postgres', 'CALL begin_anew()');
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	foreach my $session (1 .. 4)
	{
		my $version = 1 + $session % 2;

		push @sessions, IPC::Run::start(
			[ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', "CALL application('$session', $version, 1000)" ],
			'<', \undef, '>&', \my $output);
	}
	$node->poll_query_until('postgres',
		q{SELECT count(*) = 4 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted});
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	$_->finish or die 'an application failed' foreach @sessions;
	$holder->quit;
}

foreach my $number (1, 2)
{
	keep_versions($number);
	in_four_sessions();
	$outcome{$number} = outcome("four sessions, keep_versions $number");
}
is_deeply($outcome{2}{versions}, { 1 => 2000, 2 => 2000 }, 'two sessions of each version at the same time, 1,000 steps each');
is($outcome{2}{lost}, 0, 'with keep_versions at 2 no session misses a snapshot that it has saved, or a newer one');
is($outcome{2}{missing}, 0, '... and at the end each version has its last of every stream');
is($outcome{2}{foreign}, 0, '... and neither version sees one of the other');
is($node->safe_psql('postgres', q{
		SELECT count(*), count(DISTINCT stream_id), max(slot), string_agg(DISTINCT state_schema_version::text, ' ') FROM snapshot_store}),
	'40|20|1|1 2', '... in the two slots of every stream');
cmp_ok($outcome{1}{lost}, '>', 100, 'with 1 they lose snapshots');
is($outcome{1}{foreign}, 0, '... and even so see none of the other');

# The old version retires.  It has streams to which the new one has not come.

my $sql = sub { return $node->safe_psql('postgres', @_) };

$sql->(q{SELECT snapshot_save(format('order-%s', n), 1, 1, '{"by": "version 1"}') FROM generate_series(30, 34) AS n});
is($sql->(q{SELECT * FROM snapshot_census('order-')}), "1|25|25\n2|20|20", 'the census shows what each version has');
is($sql->(q{SELECT * FROM snapshot_outdated('order-', ARRAY[2])}), join("\n", map { "order-$_" } 30 .. 34),
	'the work list has the streams that only the old version has saved');
is($sql->(q{SELECT snapshot_due('order-30', ARRAY[2], 100, 100)}), 't', '... for which the new one is due');
$sql->(q{SELECT snapshot_save(stream_id, 100, 2, '{"by": "version 2"}') FROM snapshot_outdated('order-', ARRAY[2]) AS stream_id});
is($sql->(q{SELECT * FROM snapshot_outdated('order-', ARRAY[2])}), '', 'when that is done, the work list is empty');
is($sql->(q{SELECT * FROM snapshot_census('order-')}), "1|25|25\n2|25|25", '... and every stream has a snapshot of the new version');

my $new_ones = q{SELECT md5(string_agg(l::text, ',' ORDER BY s.id))
	FROM (SELECT DISTINCT stream_id AS id FROM snapshot_store) AS s, snapshot_load(s.id, ARRAY[2]) AS l};
my $before = $sql->($new_ones);
my ($ret, $stdout, $stderr) = $node->psql('postgres', q{CALL snapshot_purge('order-', ARRAY[2], batch_size => 7)});
is("$ret $stdout", '0 25', 'the purge deletes what the old version has left, and says how many');
like($stderr, qr/has deleted 25 snapshots/, '... in a notice, too');
is($sql->(q{SELECT * FROM snapshot_census('order-')}), '2|25|25', '... and the census shows the new version alone');
is($sql->($new_ones), $before, '... whose snapshots are as they were');

# One session left at 1: it was there before the setting was changed.

keep_versions(1);
my $left = $node->background_psql('postgres');
is($left->query_safe(q{SELECT snapshot_save('left-1', 1, 1, '1')}), 't', 'a session of the old version');
my $changed = $sql->('SELECT clock_timestamp()');
keep_versions(2);

my $save_both = q{SELECT snapshot_save(s, 10, 1, '1'), snapshot_save(s, 10, 2, '2') FROM unnest(ARRAY['left-1', 'left-2', 'left-3']) AS s};
my $kept = q{SELECT stream_id, string_agg(state_schema_version || '/' || sequence_number, ' ' ORDER BY state_schema_version)
	FROM snapshot_store WHERE stream_id LIKE 'left-%' GROUP BY 1 ORDER BY 1};
$sql->($save_both);
is($sql->($kept), "left-1|1/10 2/10\nleft-2|1/10 2/10\nleft-3|1/10 2/10", 'others keep two versions');
is($left->query_safe('SHOW snapshot_store.keep_versions'), '1', 'that session does not: the setting of a database reaches later ones');
is($left->query_safe(q{SELECT snapshot_save('left-1', 9, 1, '1')}), 'f', 'an older save of that session is refused');
is($sql->($kept), "left-1|1/10 2/10\nleft-2|1/10 2/10\nleft-3|1/10 2/10", '... and erases nothing');
is($left->query_safe(q{SELECT sequence_number FROM snapshot_load('left-1', ARRAY[1])}), '10', 'nor does a load');
is($left->query_safe(q{SELECT snapshot_save('left-1', 11, 1, '1')}), 't', 'a save that it stores');
is($sql->($kept), "left-1|1/11\nleft-2|1/10 2/10\nleft-3|1/10 2/10", '... erases the other version\'s snapshot of that stream, and no other');
is($left->query_safe(q{SELECT * FROM snapshot_save_many(ARRAY['left-3', 'left-2'], ARRAY[5, 11], ARRAY[1, 1], ARRAY['1', '1']::json[])}),
	"left-3|f\nleft-2|t", '... a batch likewise');
is($sql->($kept), "left-1|1/11\nleft-2|1/11\nleft-3|1/10 2/10", '... of each stream that it stores');

my $older = qq{SELECT pid FROM pg_stat_activity
	WHERE datname = current_database() AND backend_type = 'client backend' AND backend_start < '$changed'};
my $pid = $left->query_safe('SELECT pg_backend_pid()');
is($sql->($older), $pid, 'backend_start finds the sessions that are older than the change');
is($sql->("SELECT pg_terminate_backend(pid, 60000) FROM ($older) AS o"), 't', 'when they are ended');
is($sql->($older), '', '... none is left');
eval { $left->quit };
$sql->($save_both);
$left = $node->background_psql('postgres');
is($left->query_safe(q{SELECT snapshot_save('left-1', 12, 1, '1')}), 't', 'and a new session');
is($sql->($kept), "left-1|1/12 2/10\nleft-2|1/11 2/10\nleft-3|1/10 2/10", '... keeps two versions like all others');

# What ALTER SYSTEM sets reaches running sessions, where nothing nearer is set.

$sql->('ALTER DATABASE postgres RESET snapshot_store.keep_versions');
my $running = $node->background_psql('postgres');
is($running->query_safe(q{SELECT snapshot_save('left-1', 20, 1, '1')}), 't', 'a session with the default of 1');
$node->safe_psql('postgres', q{LOAD 'snapshot_store'; ALTER SYSTEM SET snapshot_store.keep_versions = 2});
$node->reload;
is(shown_within_time($running, 'keep_versions', '2'), '2', 'is reached by ALTER SYSTEM and a reload');
$running->query_safe(q{SELECT snapshot_save('left-1', 10, 2, '2'), snapshot_save('left-1', 21, 1, '1')});
is($sql->($kept . ' LIMIT 1'), 'left-1|1/21 2/10', '... and keeps two versions from then on');

$left->quit;
$running->quit;
$node->stop;
done_testing();

# What a session shows of a setting, as soon as that is the expected value.
sub shown_within_time
{
	my ($session, $name, $expected) = @_;
	my $shown;

	foreach (1 .. 100)
	{
		$shown = $session->query_safe("SHOW snapshot_store.$name");
		last if $shown eq $expected;
		select undef, undef, undef, 0.1;
	}
	return $shown;
}
