# Which way the functions take to the table, and why.
#
# auto_explain shows every statement that runs inside of another one.  The
# direct way runs none; the sql way runs one at least.  Each case makes a
# change in a transaction, calls the functions, and takes the change back: from
# then on it has to be the direct way again.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The setting is this test's business.
delete $ENV{PGOPTIONS};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_level = notice
jit = off
});
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION snapshot_store;
	CREATE ROLE app;
	CREATE ROLE by_column;
	GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app;
	GRANT DELETE ON snapshot_store TO by_column;
	GRANT SELECT (stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata),
		INSERT (stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata),
		UPDATE (stream_id, slot, state_schema_version, sequence_number, created_at, state, state_bytea, metadata)
		ON snapshot_store TO by_column;
	CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	SELECT snapshot_save('kept', 1, 1, '1');
});

my %call = (
	load => q{SELECT FROM snapshot_load('kept', ARRAY[1]);},
	load_nothing => q{SELECT FROM snapshot_load('kept', ARRAY[2], 7, now());},
	load_bytea => q{SELECT FROM snapshot_load_bytea('missing', ARRAY[1]);},
	info => q{SELECT FROM snapshot_info('kept');},
	due => q{SELECT snapshot_due('kept', ARRAY[1], 10, 1);},
	overwrite => q{SELECT snapshot_save('kept', 5, 1, '5');},
	overwrite_bytea => q{SELECT snapshot_save_bytea('kept', 5, 1, '5');},
	older => q{SELECT snapshot_save('kept', 0, 1, '0');},
	other_version => q{SELECT snapshot_save('kept', 5, 2, '5');},
	first => q{SELECT snapshot_save('new', 1, 1, '1');},
	delete => q{SELECT snapshot_delete('kept');});
my @reads = qw(load load_nothing load_bytea info due);
my @writes = qw(overwrite overwrite_bytea older other_version first);

# Runs a script with calls in it, and tells for each call how many statements
# ran inside of it, or the error.
sub statements_inside
{
	my ($script, $stderr_of_all) = @_;
	my ($stdout, $stderr);

	$node->psql('postgres', $script, stdout => \$stdout, stderr => \$stderr,
		on_error_stop => 0);
	$$stderr_of_all = $stderr if defined $stderr_of_all;

	my (@inside, $call);
	foreach my $part (split /^call /m, $stderr)
	{
		next unless $part =~ s/^(\w+)\n//;
		$call = $1;
		my ($upto) = split /^end of call$/m, $part;
		if ($upto =~ /ERROR:\s+(.*)/)
		{
			push @inside, "$call: $1";
			next;
		}
		my $statements = () = $upto =~ /^Query Text:/mg;
		push @inside, "$call: " . ($statements > 1 ? 'sql' : $statements == 1 ? 'direct' : 'not run');
	}
	return @inside;
}

sub calls
{
	return join '', map { "\\warn call $_\n$call{$_}\n\\warn end of call\n" } @_;
}

sub expect
{
	my ($way, @calls) = @_;
	return map { "$_: $way" } @calls;
}

# The plain table, in every way that it is called.
is_deeply([ statements_inside(calls(@reads, @writes, @reads, 'older', 'delete')) ],
	[ expect('direct', @reads, @writes, @reads, 'older'), expect('sql', 'delete') ],
	'the plain table: the direct way, but for a deletion');

$node->safe_psql('postgres', q{SELECT snapshot_delete('new'), snapshot_save('kept', 1, 1, '1')});

# name, change, way of reading, way of writing, and what the library says of it
my @cases = (
	[ 'no change', '', 'direct', 'direct', qr/can take the direct way to table/ ],
	[ 'an ordinary role', 'SET LOCAL ROLE app', 'direct', 'direct' ],
	[ 'the setting', 'SET LOCAL snapshot_store.access_path = sql', 'sql', 'sql' ],
	[ 'several kept', 'SET LOCAL snapshot_store.keep = 3; SET LOCAL snapshot_store.keep_versions = 2', 'direct', 'direct' ],
	[ 'not durable', 'SET LOCAL snapshot_store.durable = off', 'direct', 'direct' ],
	[ 'REPEATABLE READ', 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', 'direct', 'sql' ],
	[ 'SERIALIZABLE', 'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'direct', 'sql' ],
	[ 'a savepoint', 'SAVEPOINT s', 'direct', 'direct' ],
	[ 'privileges on columns', 'SET LOCAL ROLE by_column', 'sql', 'sql' ],
	[ 'another search_path', 'SET LOCAL search_path = pg_catalog, public', 'direct', 'direct' ],
	[ 'a search_path with an operator ahead',
		'CREATE SCHEMA planted; CREATE FUNCTION planted.f(bigint, bigint) RETURNS boolean LANGUAGE sql RETURN false;
		 CREATE OPERATOR planted.>= (FUNCTION = planted.f, LEFTARG = bigint, RIGHTARG = bigint);
		 SET LOCAL search_path = planted, pg_catalog, public', 'direct', 'direct' ],

	[ 'row security, but not for this role', 'ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY', 'direct', 'direct' ],
	(map { [ "row security: $_->[0]", "CREATE POLICY p ON snapshot_store $_->[1]; ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY; SET LOCAL ROLE app", $_->[2], $_->[3] ] }
		[ 'a simple policy', 'USING (starts_with(stream_id, current_user) OR sequence_number < 100)', 'direct', 'direct' ],
		[ 'for another role', q{TO by_column USING (true); CREATE POLICY q ON snapshot_store USING (true)}, 'direct', 'direct' ],
		[ 'a subquery', 'USING (stream_id IN (SELECT stream_id))', 'sql', 'sql' ],
		[ 'a volatile function', 'USING (random() < 2)', 'sql', 'sql' ],
		[ 'a system column', 'USING (ctid IS NOT NULL)', 'sql', 'sql' ],
		[ 'the whole row', 'USING (snapshot_store IS NOT NULL OR true)', 'sql', 'sql' ],
		[ 'a restrictive one with a subquery for UPDATE', q{USING (true); CREATE POLICY q ON snapshot_store AS RESTRICTIVE FOR UPDATE USING (EXISTS (SELECT 1))}, 'direct', undef ]),
	[ 'a policy that is not in force', 'CREATE POLICY p ON snapshot_store USING (false)', 'direct', 'direct' ],
	[ 'a row trigger', 'CREATE TRIGGER t BEFORE INSERT ON snapshot_store FOR EACH ROW EXECUTE FUNCTION nothing()', 'sql', 'sql', qr/must take the sql way.*triggers/ ],
	[ 'a statement trigger', 'CREATE TRIGGER t AFTER DELETE ON snapshot_store EXECUTE FUNCTION nothing()', 'sql', 'sql', qr/must take the sql way.*triggers/ ],
	[ 'a trigger that is gone again', 'CREATE TRIGGER t AFTER DELETE ON snapshot_store EXECUTE FUNCTION nothing(); DROP TRIGGER t ON snapshot_store', 'direct', 'direct' ],
	[ 'a foreign key of the table', 'CREATE TABLE streams (id text COLLATE "C" PRIMARY KEY); INSERT INTO streams VALUES (\'kept\'), (\'new\');
		ALTER TABLE snapshot_store ADD FOREIGN KEY (stream_id) REFERENCES streams', 'sql', 'sql', qr/must take the sql way.*triggers/ ],
	[ 'a foreign key to the table', 'CREATE TABLE pins (stream_id text, slot smallint, FOREIGN KEY (stream_id, slot) REFERENCES snapshot_store)', 'sql', 'sql', qr/must take the sql way.*triggers/ ],
	[ 'a rule', 'CREATE RULE r AS ON DELETE TO snapshot_store DO ALSO NOTHING', 'sql', 'sql', qr/must take the sql way.*rules/ ],
	[ 'a child', 'CREATE TABLE child () INHERITS (snapshot_store)', 'sql', 'sql', qr/must take the sql way.*children/ ],
	[ 'a parent', 'CREATE TABLE parent (LIKE snapshot_store INCLUDING CONSTRAINTS); ALTER TABLE snapshot_store INHERIT parent', 'direct', 'direct' ],
	[ 'an unlogged table', 'SET LOCAL snapshot_store.durable = off; ALTER TABLE snapshot_store SET UNLOGGED', 'sql', 'sql', qr/must take the sql way.*not permanent/ ],
	[ 'another access method', 'CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler; ALTER TABLE snapshot_store SET ACCESS METHOD heap_too', 'sql', 'sql', qr/must take the sql way.*not heap/ ],

	[ 'an added index', 'CREATE INDEX ON snapshot_store (created_at)', 'sql', 'sql', qr/must take the sql way.*indexes/ ],
	[ 'an added unique index', 'CREATE UNIQUE INDEX ON snapshot_store (created_at)', 'sql', 'sql', qr/must take the sql way.*indexes/ ],
	[ 'an added index on an expression', 'CREATE INDEX ON snapshot_store ((state::text)) WHERE slot = 0', 'sql', 'sql', qr/must take the sql way.*indexes/ ],
	[ 'an exclusion constraint', 'ALTER TABLE snapshot_store ADD EXCLUDE USING btree (created_at WITH =)', 'sql', 'sql', qr/must take the sql way.*indexes/ ],
	[ 'an index that is gone again', 'CREATE INDEX mine ON snapshot_store (created_at); DROP INDEX mine', 'direct', 'direct' ],
	[ 'no key', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey', 'sql', undef, qr/must take the sql way.*indexes/ ],
	[ 'a key of another name', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey, ADD CONSTRAINT mine PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version)', 'direct', 'direct' ],
	[ 'a key without the schema version', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey, ADD PRIMARY KEY (stream_id, slot)', 'sql', 'sql', qr/must take the sql way.*key/ ],
	[ 'a key with more in it', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey, ADD PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version, sequence_number)', 'sql', 'sql', qr/must take the sql way.*key/ ],
	[ 'a key the other way round', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey, ADD PRIMARY KEY (slot, stream_id) INCLUDE (state_schema_version)', 'sql', 'sql', qr/must take the sql way.*key/ ],
	[ 'a deferrable key', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey, ADD PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version) DEFERRABLE', 'sql', undef, qr/must take the sql way.*triggers/ ],
	[ 'a descending index for a key', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey; CREATE UNIQUE INDEX ON snapshot_store (stream_id DESC, slot) INCLUDE (state_schema_version)', 'sql', 'sql', qr/must take the sql way.*key/ ],
	[ 'another operator class in the key', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey; CREATE UNIQUE INDEX ON snapshot_store (stream_id text_pattern_ops, slot) INCLUDE (state_schema_version)', 'sql', 'sql', qr/must take the sql way.*key/ ],
	[ 'a partial index for a key', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_pkey; CREATE UNIQUE INDEX ON snapshot_store (stream_id, slot) INCLUDE (state_schema_version) WHERE slot < 100', 'sql', undef, qr/must take the sql way.*key/ ],
	[ 'REINDEX', 'REINDEX TABLE snapshot_store', 'direct', 'direct' ],
	[ 'CLUSTER', 'CLUSTER snapshot_store USING snapshot_store_pkey', 'direct', 'direct' ],
	[ 'TRUNCATE', 'TRUNCATE snapshot_store', 'direct', 'direct' ],

	[ 'an added column', 'ALTER TABLE snapshot_store ADD note text', 'sql', 'sql', qr/must take the sql way.*columns/ ],
	[ 'a column that is gone again', 'ALTER TABLE snapshot_store ADD note text; ALTER TABLE snapshot_store DROP note', 'sql', 'sql', qr/must take the sql way.*columns/ ],
	[ 'a column in another place', 'ALTER TABLE snapshot_store DROP metadata; ALTER TABLE snapshot_store ADD metadata jsonb', 'sql', 'sql', qr/must take the sql way.*columns/ ],
	[ 'a generated column', 'ALTER TABLE snapshot_store DROP metadata; ALTER TABLE snapshot_store ADD length int GENERATED ALWAYS AS (octet_length(stream_id)) STORED, ADD metadata jsonb', 'sql', 'sql', qr/must take the sql way.*columns/ ],
	[ 'a domain', 'CREATE DOMAIN natural_number AS bigint CHECK (VALUE >= 0); ALTER TABLE snapshot_store ALTER sequence_number TYPE natural_number', 'sql', 'sql', qr/must take the sql way.*columns/ ],
	[ 'a CHECK that is not valid', q{ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_slot_check, ADD CONSTRAINT snapshot_store_slot_check CHECK (slot >= '0'::int2) NOT VALID},
		'sql', 'sql', qr/must take the sql way.*check/ ],
	[ 'less precision', 'ALTER TABLE snapshot_store ALTER created_at TYPE timestamptz(0)', 'sql', 'sql', qr/must take the sql way.*columns/ ],
	[ 'a key that is younger than the transaction', q{UPDATE pg_index SET indcheckxmin = true WHERE indexrelid = 'snapshot_store_pkey'::regclass},
		'sql', 'sql', qr/can take the direct way/ ],
	[ 'another collation', 'ALTER TABLE snapshot_store ALTER stream_id TYPE text COLLATE "POSIX"', 'sql', 'sql', qr/must take the sql way.*columns/ ],
	[ 'an added NOT NULL', q{UPDATE snapshot_store SET metadata = 'null'; ALTER TABLE snapshot_store ALTER metadata SET NOT NULL}, 'sql', undef, qr/must take the sql way.*columns/ ],
	[ 'another storage', 'ALTER TABLE snapshot_store ALTER state SET STORAGE EXTERNAL, ALTER state SET COMPRESSION pglz; ALTER TABLE snapshot_store SET (fillfactor = 70)', 'direct', 'direct' ],
	[ 'a default', 'ALTER TABLE snapshot_store ALTER metadata SET DEFAULT \'1\'', 'direct', 'direct' ],

	[ 'an added CHECK', 'ALTER TABLE snapshot_store ADD CHECK (sequence_number < 1000)', 'sql', 'sql', qr/must take the sql way.*check constraints/ ],
	[ 'a CHECK for new rows only', 'ALTER TABLE snapshot_store ADD CHECK (sequence_number < 1000) NOT VALID', 'sql', 'sql', qr/must take the sql way.*check constraints/ ],
	[ 'a dropped CHECK', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_slot_check', 'sql', 'sql', qr/must take the sql way.*check constraints/ ],
	[ 'another CHECK in its place', 'ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_slot_check, ADD CONSTRAINT snapshot_store_slot_check CHECK (slot < 1000)', 'sql', 'sql', qr/must take the sql way.*check constraints/ ],
	[ 'a CHECK that calls another function of the same name',
		q{CREATE SCHEMA planted; GRANT USAGE ON SCHEMA planted TO PUBLIC;
		 CREATE FUNCTION planted.octet_length(text) RETURNS int LANGUAGE sql RETURN 1;
		 ALTER TABLE snapshot_store DROP CONSTRAINT snapshot_store_stream_id_check,
			ADD CONSTRAINT snapshot_store_stream_id_check CHECK (planted.octet_length(stream_id) >= 1 AND planted.octet_length(stream_id) <= 2000);
		 SET LOCAL search_path = planted, public, pg_catalog}, 'sql', 'sql', qr/must take the sql way.*check constraints/ ],

	[ 'a table like it in its place',
		'ALTER EXTENSION snapshot_store DROP TABLE snapshot_store; ALTER TABLE snapshot_store RENAME TO put_aside;
		 CREATE TABLE snapshot_store (LIKE put_aside INCLUDING ALL)', 'direct', 'direct' ],
	[ 'a partitioned table in its place',
		'ALTER EXTENSION snapshot_store DROP TABLE snapshot_store; ALTER TABLE snapshot_store RENAME TO put_aside;
		 CREATE TABLE snapshot_store (LIKE put_aside INCLUDING CONSTRAINTS, PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version)) PARTITION BY HASH (stream_id);
		 CREATE TABLE part PARTITION OF snapshot_store FOR VALUES WITH (MODULUS 1, REMAINDER 0)', 'sql', 'sql', qr/must take the sql way.*ordinary table/ ],
	[ 'a partition in its place',
		'ALTER EXTENSION snapshot_store DROP TABLE snapshot_store; ALTER TABLE snapshot_store RENAME TO put_aside;
		 CREATE TABLE snapshots (LIKE put_aside INCLUDING CONSTRAINTS, PRIMARY KEY (stream_id, slot) INCLUDE (state_schema_version)) PARTITION BY HASH (stream_id);
		 CREATE TABLE snapshot_store PARTITION OF snapshots FOR VALUES WITH (MODULUS 1, REMAINDER 0)', 'sql', 'sql', qr/must take the sql way.*ordinary table/ ],
	[ 'a view in its place',
		'SET LOCAL snapshot_store.durable = off;
		 ALTER EXTENSION snapshot_store DROP TABLE snapshot_store; ALTER TABLE snapshot_store RENAME TO put_aside;
		 CREATE VIEW snapshot_store AS SELECT * FROM put_aside', 'sql', undef, qr/must take the sql way.*ordinary table/ ],

	[ 'a publication', 'CREATE PUBLICATION p FOR TABLE snapshot_store', 'direct', 'direct' ],
	[ 'another replica identity', 'ALTER TABLE snapshot_store REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE snapshot_store', 'direct', 'direct' ],
);

foreach my $case (@cases)
{
	my ($name, $change, $reads_go, $writes_go, $reason) = @$case;
	my @writes_here = defined $writes_go ? @writes : ();
	my $stderr;

	is_deeply([ statements_inside(
			"SET client_min_messages = debug1;\nBEGIN;\n$change;\n"
			. calls(@reads, @writes_here)
			. "ROLLBACK;\n" . calls('load', 'overwrite'), \$stderr) ],
		[ expect($reads_go, @reads), expect($writes_go, @writes_here),
		  expect('direct', 'load', 'overwrite') ],
		"$name: "
		. ($reads_go eq ($writes_go // $reads_go) ? "the $reads_go way" : "read the $reads_go way, write the $writes_go way")
		. ', then the direct way again');
	my ($said) = $stderr =~ /(snapshot_store (?:can|must) take .*)/;
	like($said, $reason, '... and says so') if defined $reason;
}

# How a server of Citus is recognized; nothing tells a session when it ceases
# to be one.
is_deeply([ statements_inside('BEGIN; SET LOCAL allow_system_table_mods = on;
		CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid pg_catalog.regclass);'
		. calls(@reads, @writes) . 'ROLLBACK;', \my $stderr) ],
	[ expect('sql', @reads, @writes) ],
	'a server of Citus: the sql way');

# What old_snapshot_threshold makes of a new key, before PostgreSQL 17, and of any whose rows were updated before: it
# is for younger transactions.
$node->safe_psql('postgres', q{UPDATE pg_index SET indcheckxmin = true WHERE indexrelid = 'snapshot_store_pkey'::regclass});
is_deeply([ statements_inside(calls('load', 'overwrite')) ], [ expect('direct', 'load', 'overwrite') ],
	'a key that is older than the transaction: the direct way');
$node->psql('postgres', "SET client_min_messages = debug1; BEGIN; UPDATE pg_index SET indcheckxmin = true
	WHERE indexrelid = 'snapshot_store_pkey'::regclass; $call{load} ROLLBACK", stderr => \$stderr);
like($stderr, qr/must take the sql way.*its key is younger than the transaction/, 'and it says so where it is younger');
$node->safe_psql('postgres', q{UPDATE pg_index SET indcheckxmin = false WHERE indexrelid = 'snapshot_store_pkey'::regclass});

# The planner is told to avoid reading the whole table by a price beside which
# compiling a plan looks cheap.  Where there is no index it must not be compiled.
$node->psql('postgres', 'SET jit = on; SET auto_explain.log_analyze = on;
		BEGIN; CREATE TABLE child () INHERITS (snapshot_store);' . calls('load', 'overwrite', 'delete') . 'ROLLBACK;',
	stderr => \$stderr);
unlike($stderr, qr/^JIT:/m, 'no plan is compiled for want of an index');

# Nor does a change of the role, of row_security or of the search_path lead to a plan that was made without that price:
# it would read a table as small as this one whole.
$node->safe_psql('postgres', 'CREATE POLICY p ON snapshot_store USING (random() < 2); ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY; ANALYZE snapshot_store');
$node->psql('postgres', join("\n", map { ($_, $call{load}, $call{overwrite}) } 'SET ROLE app;', 'SET ROLE by_column;', 'SET ROLE app;',
		'RESET ROLE; SET snapshot_store.access_path = sql;', 'SET row_security = off;', 'SET search_path = pg_catalog, public;', 'SET ROLE app; SET row_security = on;'),
	stderr => \$stderr);
my $read = () = $stderr =~ /Index Scan using snapshot_store_pkey/g;
cmp_ok($read, '>=', 14, 'by whoever, it is read by its key');
unlike($stderr, qr/Seq Scan on snapshot_store/, 'and not whole');
$node->safe_psql('postgres', 'DROP POLICY p ON snapshot_store; ALTER TABLE snapshot_store DISABLE ROW LEVEL SECURITY');

# Another session changes the table between two calls of one session.
my @others = (
	[ 'CREATE INDEX mine ON snapshot_store (created_at)', 'sql', 'DROP INDEX mine' ],
	[ 'CREATE INDEX CONCURRENTLY mine ON snapshot_store (created_at)', 'sql', 'DROP INDEX CONCURRENTLY mine' ],
	[ 'CREATE TRIGGER t BEFORE INSERT ON snapshot_store FOR EACH ROW EXECUTE FUNCTION nothing()', 'sql', 'DROP TRIGGER t ON snapshot_store' ],
	[ 'ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY', 'direct', 'ALTER TABLE snapshot_store DISABLE ROW LEVEL SECURITY' ],
	[ 'CREATE TABLE child () INHERITS (snapshot_store)', 'sql', 'DROP TABLE child', 'VACUUM snapshot_store; ANALYZE snapshot_store' ],
	[ 'VACUUM FULL snapshot_store', 'direct' ],
	[ 'CLUSTER snapshot_store USING snapshot_store_pkey', 'direct' ],
	[ 'REINDEX TABLE snapshot_store', 'direct' ],
	[ 'REINDEX TABLE CONCURRENTLY snapshot_store', 'direct' ],
	[ 'TRUNCATE snapshot_store', 'direct' ],
	[ 'VACUUM snapshot_store', 'direct' ],
	[ 'ALTER TABLE snapshot_store ADD CONSTRAINT mine CHECK (slot < 1000)', 'sql', 'ALTER TABLE snapshot_store DROP CONSTRAINT mine' ],
	[ 'REVOKE ALL ON snapshot_store FROM app', 'direct', 'GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app' ],
	[ 'ALTER SYSTEM SET work_mem = 100', 'direct' ],
);

foreach my $other (@others)
{
	my ($there, $way, @back) = @$other;
	my $script = calls('load', 'overwrite') . another_session($there) . calls('load', 'overwrite', 'first');

	$script .= another_session(@back) . calls('load', 'overwrite') if @back;
	$script .= "DELETE FROM snapshot_store WHERE stream_id = 'new';\n";
	is_deeply([ statements_inside($script) ],
		[ expect('direct', 'load', 'overwrite'), expect($way, 'load', 'overwrite', 'first'),
		  expect('direct', @back ? ('load', 'overwrite') : ()) ],
		"another session: $there: the $way way");
}

sub another_session
{
	my @commands = map { qq{-c "$_"} } map { split /; / } @_;
	return "\\! psql -X -q -d postgres @commands >/dev/null 2>&1\n";
}

$node->stop;
done_testing();
