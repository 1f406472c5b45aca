# pg_upgrade from older major versions of PostgreSQL; packed states go along with their dictionaries.
#
# The older server is the one whose pg_config OLD_PG_CONFIG names, which may be as new, or else each of the
# Debian packages that can build extensions.  Like the server under test, it gets the extension in a
# private copy of it, by the functions of scripts/lib.sh.
use strict;
use warnings;

use ExtensionObjects;
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Path qw(make_path);
use PackedStates;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'runs once: each session here sets its own access path'
  if ($ENV{PGOPTIONS} // '') =~ /access_path=sql/;
delete $ENV{PGOPTIONS};

sub answer
{
	my ($pg_config, $option) = @_;

	chomp(my $answer = `'$pg_config' --$option`);
	return $answer;
}

# 0 for a server without what builds extensions, or too old for this one.
sub major
{
	my ($pg_config) = @_;
	my ($major) = answer($pg_config, 'version') =~ /^PostgreSQL (\d+)/;

	return -e answer($pg_config, 'pgxs') && $major >= 15 ? $major : 0;
}

my $new_version = answer('pg_config', 'version');
my $new_major = major('pg_config');
my $newest = $ENV{OLD_PG_CONFIG} ? $new_major : $new_major - 1;
my @old_configs = sort { major($a) <=> major($b) } grep { major($_) > 0 && major($_) <= $newest }
  $ENV{OLD_PG_CONFIG} // glob('/usr/lib/postgresql/*/bin/pg_config');
plan skip_all => "there is no older server than $new_version with its development files (OLD_PG_CONFIG may name its pg_config)"
  unless @old_configs;

# ---- what is to be carried over ---------------------------------------------------------

my $rows = q{SET timezone = 'UTC'; SELECT t FROM snapshot_store AS t ORDER BY stream_id, slot};

# What a user may make of the extension.
my $changes = qq{$take_packed;} . q{
	ALTER TABLE snapshot_store ADD COLUMN gone text;
	ALTER TABLE snapshot_store ADD COLUMN tenant text DEFAULT 'acme';
	ALTER TABLE snapshot_store DROP COLUMN gone;
	CREATE INDEX mine ON snapshot_store (created_at);
	CREATE TRIGGER mine BEFORE UPDATE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
	CREATE STATISTICS mine ON stream_id, slot FROM snapshot_store;
	CREATE POLICY mine ON snapshot_store TO app USING (true);
	CREATE PUBLICATION mine FOR TABLE snapshot_store;
	ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY;
	ALTER TABLE snapshot_store REPLICA IDENTITY FULL;
	ALTER TABLE snapshot_store SET (fillfactor = 80, autovacuum_enabled = off, toast.autovacuum_enabled = off);
	ALTER TABLE snapshot_store ALTER COLUMN created_at SET STATISTICS 50;
	ALTER TABLE snapshot_store ADD CONSTRAINT mine CHECK (slot < 100);
	ALTER TABLE snapshot_store OWNER TO keeper;
	COMMENT ON TABLE snapshot_store IS 'mine';
	GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app;
	GRANT SELECT (stream_id) ON snapshot_store TO app WITH GRANT OPTION;
	REVOKE EXECUTE ON FUNCTION snapshot_delete FROM public;
	ALTER FUNCTION snapshot_info COST 7;
};

# Some minor versions from 15.20 and 17.12 on give every column of every table an option that servers without
# it do not know.
sub has_attver
{
	my ($node) = @_;

	$node->start;
	my $has = $node->safe_psql('postgres', q{SELECT EXISTS (SELECT FROM pg_attribute WHERE attoptions::text LIKE '%pg_attver=%')});
	$node->stop;
	return $has eq 't';
}

# ---- from each older server -------------------------------------------------------------

my $work = PostgreSQL::Test::Utils::tempdir();
my @sources = ('Makefile', 'snapshot_store.control', glob('snapshot_store--*.sql src/*.[ch] scripts/lib.sh'));
foreach my $file (@sources)
{
	make_path("$work/source/" . dirname($file));
	copy($file, "$work/source/$file") or die "cannot copy $file: $!\n";
}

foreach my $old_config (@old_configs)
{
	my $old_version = answer($old_config, 'version');
	my $old_bindir = "$work/root" . answer($old_config, 'bindir');
	{
		local $ENV{PG_CONFIG} = $old_config;
		local $ENV{SNAPSHOT_STORE_WORK} = $work;
		command_ok([ 'bash', '-c', "cd $work/source && . scripts/lib.sh && copy_server && build with_llvm=no" ],
			"the extension is built for $old_version");
	}

	# Checksums are the default in some versions only, and both must have the same.
	my $old = PostgreSQL::Test::Cluster->new('old' . major($old_config), install_path => dirname($old_bindir));
	my $new = PostgreSQL::Test::Cluster->new('new' . major($old_config));
	$_->init(extra => [ '--data-checksums', '--locale=C', '--encoding=UTF8' ]) foreach $old, $new;

	if (has_attver($old) && !has_attver($new))
	{
	  SKIP: { skip "$new_version refuses every table of $old_version: unrecognized parameter pg_attver", 1; }
		next;
	}

	$old->start;
	$old->safe_psql('postgres', 'CREATE ROLE app LOGIN');
	$old->safe_psql('postgres', 'CREATE ROLE keeper');
	foreach my $database ('plain', 'changed')
	{
		$old->safe_psql('postgres', "CREATE DATABASE $database");
		$old->safe_psql($database, q{
			CREATE EXTENSION snapshot_store;
			SET snapshot_store.keep = 3;
			SET snapshot_store.keep_versions = 2;
			SELECT snapshot_save('stream ' || n % 20, n, n / 20 % 2, to_json(repeat(md5(n::text), n)), to_json(n),
				timestamptz '2026-01-05 09:00:00.123456+00' + n * interval '1 microsecond')
			FROM generate_series(1, 200) AS n;
			SELECT snapshot_save('large', 9223372036854775807, 4294967295, to_json(string_agg(md5(n::text), '')))
			FROM generate_series(1, 10000) AS n;
			SELECT snapshot_save_bytea('bytes', 0, 0, string_agg(sha256(n::text::bytea), '')) FROM generate_series(1, 1000) AS n;
		});
	}
	$old->safe_psql('changed', "$order_state $changes; $train; CALL snapshot_repack('')");
	is($old->safe_psql('changed', "$packed AND stream_id LIKE 'order-%'"), '200', 'there are packed states');
	my %rows = map { $_ => $old->safe_psql($_, $rows) } 'plain', 'changed';
	is(scalar(split /\n/, $rows{plain}), 122, 'there are snapshots');
	$old->stop;

	# It leaves a script where it runs.
	chdir $old->basedir or die 'cannot go to ' . $old->basedir . ": $!\n";
	command_ok(
		[   'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old_bindir,
			'-B', $new->config_data('--bindir'), '-s', $new->host, '-p', $old->port, '-P', $new->port ],
		"pg_upgrade from $old_version to $new_version");
	unless (-e 'delete_old_cluster.sh')
	{
		diag(slurp_file($_)) foreach glob($new->data_dir . '/pg_upgrade_output.d/*/log/*_dump_*.log');
		die "pg_upgrade has failed\n";
	}
	$new->start;

	$new->safe_psql('postgres', "CREATE DATABASE $_") foreach 'fresh', 'fresh_changed';
	$new->safe_psql('fresh', 'CREATE EXTENSION snapshot_store');
	$new->safe_psql('fresh_changed', "CREATE EXTENSION snapshot_store; $changes");
	equal_descriptions(description($new, 'plain'), description($new, 'fresh'), 'the extension is as installed afresh');
	equal_descriptions(description($new, 'changed'), description($new, 'fresh_changed'), '... with all that was made of it');

	foreach my $database ('plain', 'changed')
	{
		is($new->safe_psql($database, $rows), $rows{$database}, "$database: all rows are there");
		foreach my $access ('auto', 'sql')
		{
			is($new->safe_psql($database, qq{
					BEGIN;
					SET LOCAL snapshot_store.access_path = $access;
					SET LOCAL snapshot_store.keep = 3;
					SET LOCAL snapshot_store.keep_versions = 2;
					SELECT count(*) FROM snapshot_store AS t
					WHERE t.state IS NOT NULL AND NOT EXISTS (
						SELECT FROM snapshot_load(t.stream_id, ARRAY[t.state_schema_version], t.sequence_number) AS l
						WHERE (l.sequence_number, l.created_at, l.state::text, l.metadata) IS NOT DISTINCT FROM
							(t.sequence_number, t.created_at, t.state::text, t.metadata));
					SELECT l.state_bytea = t.state_bytea FROM snapshot_store AS t, snapshot_load_bytea(stream_id, '{0}') AS l(n, v, state_bytea) WHERE stream_id = 'bytes';
					SELECT bool_and(snapshot_save(stream_id, 1000, 1, '"new"')) FROM (SELECT DISTINCT stream_id FROM snapshot_store WHERE state IS NOT NULL) AS s;
					SELECT snapshot_save_bytea('bytes', 1, 0, 'new'), snapshot_save('new', 1, 1, '"new"');
					SELECT count(*) FROM snapshot_load_many('{stream 0,stream 19,large,new}', '{1}') WHERE state::text = '"new"';
					SELECT snapshot_delete('new');
					ROLLBACK;
				}), "0\nt\nt\nt|t\n4\n1", "$database, $access: loads, saves and deletes");
		}
	}
	is($new->safe_psql('changed', "$packed AND stream_id LIKE 'order-%'"), '200', 'packed states are packed');
	is($new->safe_psql('changed', $wrong), '', '... and loaded');
	is($new->safe_psql('changed', q{SELECT snapshot_save('order-new', 7, 1, order_state(7)); } . "$packed AND stream_id LIKE 'order-%'"), "t\n201", '... and so are new ones');
	is($new->safe_psql('changed', q{SELECT number IS NOT NULL FROM snapshot_dictionary_train('order-', max_samples => 150); CALL snapshot_repack('order-'); } . "$packed AND stream_id LIKE 'order-%'"),
		"t\n201\n201", '... by another dictionary, too');
	my ($ret, $stdout, $stderr) = $new->psql('plain', q{SET client_min_messages = debug1; SELECT FROM snapshot_load('large', '{1}')});
	like($stderr, qr/can take the direct way/, 'the direct way is open');
	$new->stop;
}

done_testing();
