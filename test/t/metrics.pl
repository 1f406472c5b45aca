# metrics/: what prometheus-sql-exporter shows is what the view and the catalogs say, to a role that may do
# nothing else, whatever stands in its search_path; and the dashboard and the alerts know no other metrics.
# Where promtool is (Debian's package of that name, before 13 prometheus), it tries the alerts and what the
# dashboard asks.
use strict;
use warnings;

use CPAN::Meta::YAML;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use List::Util qw(uniq);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

sub found { return grep { -x "$_/$_[0]" } split /:/, $ENV{PATH} }
plan skip_all => 'there is no prometheus-sql-exporter, which not every distribution has'
  unless found('prometheus-sql-exporter');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# No vacuum changes the numbers meanwhile. Before 17, the library is what lets sessions share theirs.
$node->append_conf('postgresql.conf', "autovacuum = off\nshared_preload_libraries = 'snapshot_store'");
$node->start;

# The role may see statistics, and in one of the databases the tail. Before the catalogs, it would find
# what answers otherwise.
$node->safe_psql('postgres', 'CREATE ROLE metrics LOGIN; GRANT pg_read_all_stats TO metrics');
my %schema = (shop => 'public', other => 'store');
for my $database (keys %schema)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, qq{
		CREATE SCHEMA IF NOT EXISTS $schema{$database};
		GRANT USAGE ON SCHEMA $schema{$database} TO metrics;
		CREATE EXTENSION snapshot_store SCHEMA $schema{$database};
		CREATE SCHEMA hostile;
		GRANT USAGE ON SCHEMA hostile TO metrics;
		CREATE TABLE hostile.pg_class AS SELECT * FROM pg_class WHERE false;
		CREATE VIEW hostile.snapshot_stats AS SELECT * FROM $schema{$database}.snapshot_stats WHERE false;
		CREATE TABLE hostile.snapshot_store (n integer);
		CREATE DOMAIN hostile.regclass AS oid CHECK (value IS NULL);
		CREATE FUNCTION hostile.current_database() RETURNS name LANGUAGE sql AS 'SELECT null::name';
		CREATE FUNCTION hostile.substring(text, text) RETURNS text LANGUAGE sql AS 'SELECT null';
		CREATE FUNCTION hostile.minus(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 4711::bigint';
		CREATE OPERATOR hostile.- (FUNCTION = hostile.minus, LEFTARG = bigint, RIGHTARG = bigint);
		CREATE FUNCTION hostile.pg_stat_get_dead_tuples(oid) RETURNS bigint LANGUAGE sql AS 'SELECT 4711::bigint';
		CREATE AGGREGATE hostile.max(bigint) (SFUNC = hostile.minus, STYPE = bigint);
	});
	for my $function (qw(pg_relation_size pg_indexes_size))
	{
		$node->safe_psql($database, "CREATE FUNCTION hostile.$function(oid) RETURNS bigint LANGUAGE sql AS 'SELECT 4711::bigint'");
	}
	for my $type (qw(oid name text))
	{
		$node->safe_psql($database, qq{
			CREATE FUNCTION hostile.never($type, $type) RETURNS boolean LANGUAGE sql AS 'SELECT false';
			CREATE OPERATOR hostile.= (FUNCTION = hostile.never, LEFTARG = $type, RIGHTARG = $type)});
	}
}
$node->safe_psql('postgres', 'ALTER ROLE metrics SET search_path = hostile, pg_catalog');

# Each counter gets a number of its own. A kind may contain anything but what ends it.
my $odd = qq{k\\in"d \xc3\xa9};
my $calls = qq{
	SELECT snapshot_save('order-' || n, 100, 1, (SELECT json_agg(md5((i + n)::text)) FROM generate_series(1, 400) AS i))
	FROM generate_series(1, 30) AS n;
	SELECT snapshot_save('order-1', 1, 1, '1') FROM generate_series(1, 2);
	SELECT snapshot_save('order-1', 100, 1, '1', replace => false) FROM generate_series(1, 3);
	BEGIN; SELECT snapshot_save('order-1', 200 + n, 1, '1') FROM generate_series(1, 4) AS n; ROLLBACK;
	SELECT snapshot_load('order-1', '{1}') FROM generate_series(1, 5);
	SELECT snapshot_load('order-none', '{1}') FROM generate_series(1, 6);
	SELECT snapshot_load('order-1', '{2}') FROM generate_series(1, 7);
	SELECT snapshot_load('order-1', '{1}', 1) FROM generate_series(1, 8);
	SELECT snapshot_load_many('{order-1,order-2,order-3,order-4}', '{1}') FROM generate_series(1, 9);
	SELECT snapshot_save_many('{order-1,order-2,order-3}', '{1,1,1}', '{1,1,1}', ARRAY['1', '1', '1']::json[])
	FROM generate_series(1, 20);
	SELECT snapshot_save('alone', 1, 1, '1'), snapshot_load('alone', '{1}'), snapshot_save('$odd-1', 1, 1, '1');
	CREATE TRIGGER none BEFORE INSERT OR UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION suppress();
	SELECT snapshot_save('order-1', 300, 1, '1') FROM generate_series(1, 11);
	DROP TRIGGER none ON snapshot_store;
	SET snapshot_store.enabled = off;
	SELECT snapshot_load('order-1', '{1}') FROM generate_series(1, 12);
	SELECT snapshot_save('order-1', 300, 1, '1') FROM generate_series(1, 13);
	SET snapshot_store.enabled = on;
	DELETE FROM snapshot_store WHERE stream_id = 'order-30';
	VACUUM snapshot_store;
	SELECT snapshot_delete('order-29');
	SELECT pg_stat_force_next_flush();
};
$node->safe_psql($_, "SET search_path = $schema{$_};
	CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; $calls") for keys %schema;

# ---- what it should show ----------------------------------------------------------------

# By metric and the value of its label, the view's column.
my %columns = (
	'loads_total result' => { map { $_ => "loads_$_" } qw(found not_found unrecognized out_of_bounds off) },
	'saves_total result' => { map { $_ => "saves_$_" } qw(stored older same suppressed off rolled_back) },
	'save_retries_total' => { '' => 'save_retries' },
	'batches_total operation' => { load => 'load_batches', save => 'save_batches' },
	'batch_streams_total operation' => { load => 'load_batch_streams', save => 'save_batch_streams' },
	'state_bytes_total operation' => { load => 'bytes_loaded', save => 'bytes_saved' });

# expected DATABASE ROLE: a hash of values by name and labels.
sub expected
{
	my ($database, $role) = @_;
	my $in = $schema{$database};
	my %expected;
	my $rows = decode_json $node->safe_psql($database, "SET ROLE $role;
		SELECT coalesce(json_agg(s), '[]') FROM $in.snapshot_stats AS s WHERE datname = current_database()");
	for my $row (@$rows)
	{
		my $kind = $row->{kind} // '';
		utf8::encode($kind);
		for my $metric (keys %columns)
		{
			my ($name, $label) = split / /, $metric;
			while (my ($value, $column) = each %{ $columns{$metric} })
			{
				$expected{ series("snapshot_store_$name", database => $database, kind => $kind,
						$label ? ($label => $value) : ()) } = 0 + $row->{$column};
			}
		}
	}
	my $sizes = "SELECT 'rows', pg_relation_size('$in.snapshot_store') UNION ALL
		SELECT 'indexes', pg_indexes_size('$in.snapshot_store') UNION ALL
		SELECT 'toast', pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = '$in.snapshot_store'::regclass";
	for my $line (split /\n/, $node->safe_psql($database, $sizes))
	{
		my ($part, $size) = split /\|/, $line;
		$expected{ series('snapshot_store_size_bytes', database => $database, part => $part) } = 0 + $size;
	}
	my $rows_of = "SELECT CASE WHEN c.relname = 'snapshot_store' THEN 'rows' ELSE 'toast' END, c.reltuples, s.n_dead_tup
		FROM pg_class AS c JOIN pg_stat_all_tables AS s ON s.relid = c.oid
		WHERE c.oid IN ('$in.snapshot_store'::regclass,
			(SELECT reltoastrelid FROM pg_class WHERE oid = '$in.snapshot_store'::regclass))";
	for my $line (split /\n/, $node->safe_psql($database, $rows_of))
	{
		my ($part, $live, $dead) = split /\|/, $line;
		$expected{ series('snapshot_store_rows', database => $database, part => $part, state => 'live') } = 0 + $live;
		$expected{ series('snapshot_store_rows', database => $database, part => $part, state => 'dead') } = 0 + $dead;
	}
	return \%expected;
}

sub series
{
	my ($name, %labels) = @_;
	return "sql_$name " . join ' ', map { "$_=<$labels{$_}>" } sort keys %labels;
}

# ---- the exporter -----------------------------------------------------------------------

my %exporters;
END
{
	local $?;
	$_->{process}->kill_kill for values %exporters;
}

# start_exporter DATABASE CONFIGURATION: as Debian's service does, every second.
sub start_exporter
{
	my ($database, $configuration) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $url = sprintf 'postgres://metrics@/%s?host=%s&port=%s&sslmode=disable', $database, $node->host, $node->port;
	my $file = $node->basedir . "/$database.yml";
	my $log = $node->basedir . "/$database.log";
	$configuration =~ s{postgres://metrics\@/shop\?host=/var/run/postgresql&sslmode=disable}{$url}g;
	$configuration =~ s{^  interval: \K\w+$}{1s}mg;
	append_to_file($file, $configuration);
	local $ENV{LOGLEVEL} = 'warn';
	my $process = IPC::Run::start([ 'prometheus-sql-exporter', '-config.file', $file, '-web.listen-address', "127.0.0.1:$port" ],
		'<', \undef, '>&', $log);
	$exporters{$database} = { process => $process, url => "http://127.0.0.1:$port/metrics", log => $log };
	return;
}

# scrape DATABASE: a hash of values by name and labels, without those that the exporter itself adds; and
# the number of queries that failed. Nothing while there is none.
my %types;
sub scrape
{
	my ($database) = @_;
	my $response = HTTP::Tiny->new(timeout => 10, proxy => undef, http_proxy => undef)->get($exporters{$database}{url});
	my (%values, $failed);
	return {} unless $response->{success};
	for my $line (split /\n/, $response->{content})
	{
		my ($name, $labels, $value) = $line =~ /^(sql_\w+)\{(.*)\} (\S+)$/ or next;
		my %labels = $labels =~ /(\w+)="((?:[^"\\]|\\.)*)"/g;
		s/\\(.)/$1 eq 'n' ? "\n" : $1/ge for values %labels;
		$failed += $value if $name eq 'sql_exporter_last_scrape_failed';
		next unless $name =~ s/^sql_(?=snapshot_store_)//;
		delete @labels{qw(driver host user sql_job col)};
		$values{ series($name, %labels) } = 0 + $value;
	}
	return (\%values, $failed);
}

# shows DATABASE EXPECTED NAME: does the exporter come to show this, and nothing else?
sub shows
{
	my ($database, $expected, $name) = @_;
	my ($values, $failed);
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		($values, $failed) = scrape($database);
		last if keys %$values == keys %$expected && !grep { ($values->{$_} // -1) != $expected->{$_} } keys %$expected;
		sleep 0.1;
	}
	return if is_deeply($values, $expected, $name) && is($failed, 0, '... and no query fails');
	die slurp_file($exporters{$database}{log});
}

my $configuration = slurp_file('metrics/prometheus-sql-exporter.yml');

# In a schema of its own, as the file says how.
my ($command) = $configuration =~ m{^#   (sed -i \S+) /etc/prometheus-sql-exporter.yml$}m;
my $elsewhere = $node->basedir . '/elsewhere.yml';
append_to_file($elsewhere, $configuration);
$command =~ s/other/store/;
system("$command $elsewhere") == 0 or die "$command failed";
start_exporter('other', slurp_file($elsewhere));
shows('other', expected('other', 'metrics'), 'in another schema than public');

# With the tail. Streams n have n * n events after their snapshot.
$node->safe_psql('shop', q{
	CREATE TABLE events (stream_id text, sequence_number bigint, PRIMARY KEY (stream_id, sequence_number));
	INSERT INTO events SELECT 'order-' || n, e FROM generate_series(1, 28) AS n, generate_series(1, 100 + n * n) AS e;
	INSERT INTO events VALUES ('alone', 8), ('none-1', 1);
	GRANT SELECT ON events, snapshot_store TO metrics;
});
start_exporter('shop', $configuration . slurp_file('metrics/tail.yml'));
my $expected = expected('shop', 'metrics');
my %tail = (order => [ 14 ** 2, 26 ** 2, 28 ** 2 ], '' => [ 7, 7, 7 ]);
for my $kind (keys %tail)
{
	my $i = 0;
	$expected->{ series('snapshot_store_tail_events', database => 'shop', kind => $kind, quantile => $_) } = $tail{$kind}[ $i++ ]
	  for qw(0.5 0.9 1);
}
shows('shop', $expected, 'each metric has the value of the view');
my %seen = %$expected;
my %all = map { (split / /)[0] => 1 } keys %seen;
is(scalar keys %all, 9, 'all metrics are there');
ok(exists $seen{ series('snapshot_store_loads_total', database => 'shop', kind => $odd, result => 'found') }, 'an odd kind');
my @ours = grep { /_total .*kind=<order>/ && !/retries/ } keys %seen;
is(scalar(uniq map { $seen{$_} } @ours), scalar @ours, 'no two counters have the same value here');

my ($live, $dead) = @seen{ map { series('snapshot_store_rows', database => 'shop', part => 'rows', state => $_) } qw(live dead) };
is($live, 31, 'the rows that were alive at the VACUUM');
cmp_ok($dead, '>', 0, 'and those that have died since');

# It goes on

$node->safe_psql('shop', "SELECT snapshot_load('order-1', '{1}')");
my %more = (%$expected, %{ expected('shop', 'metrics') });
shows('shop', \%more, 'what was counted meanwhile');
my $found = series('snapshot_store_loads_total', database => 'shop', kind => 'order', result => 'found');
is($more{$found}, $seen{$found} + 1, 'a load is one more');

# Who may not see the kinds sees their sum.

$node->safe_psql('postgres', 'REVOKE pg_read_all_stats FROM metrics');
$expected = expected('other', 'metrics');
is(scalar(grep { /kind=<[^>]/ } keys %$expected), 0, 'no kinds');
shows('other', $expected, 'for a role without pg_read_all_stats');

# A server that has counted nothing yet

$node->restart;
$expected = expected('other', 'metrics');
is(scalar(grep { /_total/ } keys %$expected), 0, 'no counters');
shows('other', $expected, 'after a restart of the server');

# ---- who reads them ---------------------------------------------------------------------

my $rules = (CPAN::Meta::YAML->read('metrics/alerts.yml') or die CPAN::Meta::YAML->errstr)->[0]{groups}[0]{rules};
my $dashboard = decode_json slurp_file('metrics/grafana-dashboard.json');
my %expressions = map { ($_->{record} // $_->{alert}) => $_->{expr} } @$rules;
$expressions{"$_->{title} ($_->{targets}[0]{refId})"} = join "\n", map { $_->{expr} } @{ $_->{targets} } for @{ $dashboard->{panels} };
$expressions{"variable $_->{name}"} = $_->{query}{query} for grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} };

# What each metric has in which label; a recorded one has what it is summed by.
my %values;
for my $series (keys %seen)
{
	my ($name) = $series =~ /^(\S+)/;
	push @{ $values{$name}{$1} }, $2 while $series =~ /(\w+)=<([^>]*)>/g;
	$values{$name}{instance} = [];
}
for my $rule (grep { $_->{record} } @$rules)
{
	$values{ $rule->{record} }{$_} = [] for $rule->{expr} =~ /by \(([\w, ]+)\)/ ? split /, /, $1 : ();
}

for my $name (sort keys %expressions)
{
	my @wrong;
	my $expression = $expressions{$name};
	while ($expression =~ /\b((?:\w+:)?(?:sql_)?snapshot_store_[\w:]+)(?:\{([^}]*)\})?/g)
	{
		my ($metric, $matchers) = ($1, $2 // '');
		push @wrong, "there is no $metric" unless $values{$metric};
		while ($matchers =~ /(\w+)(?:=~|!=|=)"([^"]*)"/g)
		{
			my ($label, $wanted) = ($1, $2);
			push @wrong, "$metric has no $label" unless $values{$metric}{$label};
			push @wrong, map { "$metric has no $label $_" } grep { my $v = $_; !grep { $_ eq $v } @{ $values{$metric}{$label} } }
			  split /\|/, $wanted =~ /^\$/ ? '' : $wanted;
		}
	}
	my %labels = map { %$_ } values %values;
	push @wrong, map { "there is no label $_" } grep { !$labels{$_} } map { split /, / } $expression =~ /by \(([\w, ]+)\)/g;
	ok($expression =~ /snapshot_store_/ && !@wrong, "$name: metrics that exist") or diag(join "\n", @wrong);
}

my @sources;
sub find_sources
{
	my ($node) = @_;
	push @sources, $node->{datasource} if ref $node eq 'HASH' && exists $node->{datasource};
	find_sources($_) for ref $node eq 'HASH' ? values %$node : ref $node eq 'ARRAY' ? @$node : ();
	return;
}
find_sources($dashboard);
is_deeply([ uniq map { "$_->{type} $_->{uid}" } @sources ], ['prometheus ${datasource}'], 'the data source is chosen in the dashboard');
my %variables = map { $_->{name} => 1 } @{ $dashboard->{templating}{list} };
my @used = uniq map { /\$(\w+)/g } @expressions{ sort keys %expressions };
is_deeply([ grep { !$variables{$_} && $_ ne '__rate_interval' && $_ ne 'labels' } @used ], [], 'its variables exist');

SKIP:
{
	skip 'there is no promtool', 2 unless found('promtool');
	command_ok([ 'promtool', 'test', 'rules', 'test/alerts.yml' ], 'the alerts fire when they should');
	# Of what the exporter shows, with counters that grow, each query of a panel finds some, with the labels that
	# its series are named by. JSON is YAML.
	my @given;
	for my $series (sort keys %seen)
	{
		my ($name) = $series =~ /^(\S+)/;
		my %labels = (instance => 'a', $series =~ /(\w+)=<([^>]*)>/g);
		s/(["\\])/\\$1/g, utf8::decode($_) for values %labels;
		my $labels = join ',', map { qq{$_="$labels{$_}"} } sort keys %labels;
		my $growth = $name =~ /_total$/ ? $seen{$series} : 0;
		push @given, { series => "$name\{$labels}", values => "$seen{$series}+${growth}x10" };
	}
	my @queries;
	for my $target (map { @{ $_->{targets} } } @{ $dashboard->{panels} })
	{
		my $query = $target->{expr} =~ s/\$__rate_interval/5m/gr =~ s/\$\w+/.*/gr;
		my $named = join ' ', "($query)", map { "unless on ($_) vector(1)" } $target->{legendFormat} =~ /\{\{(\w+)\}\}/g;
		push @queries, { expr => "count($named) == bool count($query)", eval_time => '10m',
			exp_samples => [ { labels => '{}', value => 1 } ] };
	}
	my $test = { interval => '1m', input_series => \@given, promql_expr_test => \@queries };
	my $file = $node->basedir . '/dashboard.yml';
	append_to_file($file, encode_json({ tests => [$test] }));
	command_ok([ 'promtool', 'test', 'rules', $file ], 'each panel of the dashboard has series, and names for them');
}

$node->stop;
done_testing();
