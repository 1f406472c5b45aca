# Installing and updating where not everybody is to be trusted.
#
# 1. A database's owner who is no superuser installs, uses, updates and drops
#    the extension; who owns what then; what others may not.
# 2. The schema belongs to an attacker, who has planted functions, operators,
#    types, casts, a collation and a view there.  Whatever of it runs says so
#    in the server's log; what the extension has bound is in pg_depend.
# 3. The table's owner has put code of theirs wherever a table takes it.  None
#    runs in ALTER EXTENSION ... UPDATE, which runs as superuser.  Scripts that
#    would let it show that the test would notice.
# 4. The scripts keep to the rules that 3 needs.
use strict;
use warnings;

use PackedStates;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'runs once: the calls here are made on both access paths'
  if ($ENV{PGOPTIONS} // '') =~ /access_path=sql/;
delete $ENV{PGOPTIONS};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE owner LOGIN;
	CREATE ROLE app LOGIN;
	CREATE ROLE attacker LOGIN;
	CREATE DATABASE shop OWNER owner;
});
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my @versions = map { /--([^-]+)\.sql$/ } glob 'snapshot_store--*.sql';

# What a typical update does.
my $update = q{
	CREATE FUNCTION @extschema@.snapshot_next(stream_id pg_catalog.text)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'snapshot_info'
	LANGUAGE C STABLE PARALLEL SAFE;
	COMMENT ON FUNCTION @extschema@.snapshot_next(pg_catalog.text) IS 'of the next version';
	CREATE OR REPLACE FUNCTION @extschema@.snapshot_should_take(
		event_count pg_catalog.int8, last_sequence_number pg_catalog.int8, snapshot_interval pg_catalog.int8)
	RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'snapshot_should_take'
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 2;
	ALTER FUNCTION @extschema@.snapshot_info(pg_catalog.text) COST 10;
	ALTER TABLE @extschema@.snapshot_store ADD COLUMN next pg_catalog.text;
	COMMENT ON COLUMN @extschema@.snapshot_store.next IS 'of the next version';
	ALTER TABLE @extschema@.snapshot_store ALTER COLUMN next SET STORAGE EXTERNAL;
	ALTER TABLE @extschema@.snapshot_store SET (fillfactor = 60);
};

# Versions that only this test knows, in the files of a private copy of the
# server.
my $folder = $node->config_data('--sharedir') . '/extension';
my @planted;
plant_update('99.0', $update);

sub plant_update
{
	my ($version, $script) = @_;

	foreach my $from (@versions)
	{
		my $path = "$folder/snapshot_store--$from--$version.sql";
		push @planted, $path;
		open(my $file, '>', $path) or die "cannot write $path: $!\n";
		print $file $script;
		close $file;
	}
}

END
{
	my $status = $?;
	unlink @planted;
	$? = $status;
}

# ---- sessions ---------------------------------------------------------------

# What a script prints, in one line; it must not fail.
sub as
{
	my ($role, $database, $script) = @_;
	my ($ret, $stdout, $stderr) = $node->psql($database, $script, extra_params => [ '-U', $role ]);

	die "$role: $stderr\n" if $ret != 0;
	return join ' ', split /\n+/, $stdout;
}

# Its first error, or nothing.
sub error_as
{
	my ($role, $database, $script) = @_;
	my ($ret, $stdout, $stderr) = $node->psql($database, $script, extra_params => [ '-U', $role ]);

	return $stderr =~ /(?:ERROR|FATAL):  (.*)/ ? $1 : '';
}

# A call of every function, with arguments of exactly its types, in a way that
# depends on no search_path.  Leaves an empty table.
sub everything
{
	my ($schema) = @_;
	my %types = (
		save => 'text int8 int8 json json timestamptz bool',
		save_bytea => 'text int8 int8 bytea json timestamptz bool',
		save_many => 'text[] int8[] int8[] json[] json[] timestamptz[] bool',
		save_many_bytea => 'text[] int8[] int8[] bytea[] json[] timestamptz[] bool',
		load => 'text int8[] int8 timestamptz',
		load_bytea => 'text int8[] int8 timestamptz',
		load_many => 'text[] int8[] int8[]',
		load_many_bytea => 'text[] int8[] int8[]',
		info => 'text',
		due => 'text int8[] int8 int8',
		should_take => 'int8 int8 int8',
		census => 'text',
		outdated => 'text int8[] int4 text',
		delete => 'text int8 timestamptz int8 timestamptz',
		purge => 'text int8[] timestamptz timestamptz int4 int8');
	# But for the time of a save, which nobody knows.
	my %columns = (load => 'sequence_number, state, metadata', load_many => 'stream_id, sequence_number, state',
		info => 'sequence_number, state_schema_version');
	my $script = '';

	foreach (
		q{save 'a', 5, 1, '"5"', '{}', NULL, true},
		q{save 'a', 5, 1, '"again"', '{}', NULL, false},
		q{save 'a', 4, 1, '"4"', '{}', NULL, true},
		q{save_bytea 'b', 5, 1, '5', NULL, '2026-01-01', true},
		q{save_many '{a,c}', '{6,6}', '{1,1}', '{6,6}', NULL, NULL, false},
		q{save_many_bytea '{d}', '{7}', '{1}', '{7}', '{NULL}', '{2026-01-01}', true},
		q{load 'a', '{1}', 6, 'infinity'},
		q{load_bytea 'b', '{1}', NULL, NULL},
		q{load_many '{c,a}', '{1}', NULL},
		q{load_many_bytea '{d}', '{1}', '{9}'},
		q{info 'c'},
		q{due 'c', '{1}', 7, 1},
		q{should_take 7, 6, 1},
		q{census ''},
		q{outdated '', '{2}', 10, 'a'},
		q{delete 'c', 9, 'infinity', 1, '-infinity'},
		q{SET snapshot_store.keep = 3},
		q{SET snapshot_store.keep_versions = 2},
		q{save 'a', 7, 1, '7', NULL, NULL, true},
		q{save 'a', 8, 1, '8', NULL, NULL, true},
		q{save 'a', 8, 2, '8', NULL, NULL, true},
		q{RESET snapshot_store.keep},
		q{RESET snapshot_store.keep_versions},
		q{save 'a', 9, 1, '9', NULL, NULL, true},
		q{info 'a'},
		q{purge '', '{2}', '-infinity', 'infinity', 1, NULL},
		q{census ''})
	{
		my $line = $_;
		my ($function, $arguments) = split / /, $line, 2;
		if ($types{$function})
		{
			my @types = split / /, $types{$function};
			my $typed = join ', ', map { $_ . '::pg_catalog.' . shift @types } split /, /, $arguments;

			$line = ($function eq 'purge' ? 'CALL' : 'SELECT ' . ($columns{$function} // '*') . ' FROM')
				. " $schema.snapshot_$function($typed)";
		}
		$script .= "$line;\n";
	}
	return $script;
}

my $answers = 't f f t a|t c|t d|t 6|6| 5|1|5||2026-01-01 00:00:00+00 c|6|6 a|6|6 d|7|1|7||2026-01-01 00:00:00+00'
	. ' 6|1 t t 1|4|4 b c d 1 t t t t 9|1 3';

# What the planted functions have said since then: who has run, as whom.
sub ran_since
{
	my ($offset) = @_;
	my %ran = map { $_ => 1 } slurp_file($node->logfile, $offset) =~ /WARNING:  ran: (.*)/g;

	return sort keys %ran;
}

sub now_in_log
{
	return -s $node->logfile;
}

# ---- 1. a database's owner --------------------------------------------------

my $grant = 'GRANT SELECT, INSERT, UPDATE, DELETE ON %s.snapshot_store TO %s';

is(error_as('app', 'shop', 'CREATE EXTENSION snapshot_store'),
	'permission denied to create extension "snapshot_store"', 'without CREATE on the database nobody installs');
is(error_as('owner', 'shop', 'CREATE EXTENSION snapshot_store'), '', "the database's owner does, who is no superuser");

is(as($superuser, 'shop', q{
	SELECT 'extension', extowner::regrole FROM pg_extension WHERE extname = 'snapshot_store';
	SELECT 'relation', relkind, relowner::regrole FROM pg_class
	WHERE oid IN ('snapshot_store'::regclass, 'snapshot_store_pkey'::regclass,
				  (SELECT reltoastrelid FROM pg_class WHERE oid = 'snapshot_store'::regclass)) ORDER BY relkind;
	SELECT 'type', typowner::regrole FROM pg_type WHERE oid = 'snapshot_store'::regtype;
	}), 'extension|owner relation|i|owner relation|r|owner relation|t|owner type|owner',
	'the extension and the table, with all of it, are theirs');
my $functions = q{pg_proc WHERE oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'snapshot_store'))};
is(as($superuser, 'shop', "SELECT DISTINCT proowner::regrole, prosecdef, proconfig, proacl FROM $functions"), "$superuser|f||",
	'the functions are the superuser\'s; none is SECURITY DEFINER or has settings, and all may execute them');
is(error_as('owner', 'shop', 'SELECT snapshot_stats_reset()'), '', '... but begin to count anew if they own the table');
is(as($superuser, 'shop', "SELECT count(*) FROM $functions"), 29, '... all 29');
is(as($superuser, 'shop', q{SELECT relacl IS NULL FROM pg_class WHERE oid = 'snapshot_store'::regclass}), 't',
	'nothing is granted on the table');
is(as($superuser, 'shop', q{SELECT relowner::regrole, relacl IS NULL FROM pg_class WHERE oid = 'snapshot_dictionary'::regclass;
	SELECT typowner::regrole FROM pg_type WHERE oid = 'snapshot_state'::regtype}), "$superuser|t $superuser",
	'the type and the table of dictionaries are the superuser\'s, and nothing is granted on them');

sub may_use
{
	my ($role, $database, $schema, $search_path) = @_;

	foreach my $path ('auto', 'sql')
	{
		is(as($role, $database, "SET timezone = 'UTC'; SET bytea_output = escape; SET snapshot_store.access_path = $path; SET search_path = $search_path;"
				. everything($schema)), $answers, "$role uses every function, access path $path, search_path $search_path");
	}
}

may_use('owner', 'shop', 'public', 'public');
is(error_as('app', 'shop', q{SELECT * FROM snapshot_load('a', '{1}')}), 'permission denied for table snapshot_store', 'another does not');
is(error_as('owner', 'shop', sprintf $grant, 'public', 'app'), '', 'the owner grants');
may_use('app', 'shop', 'public', 'public');

my @for_owners = (
	[ 'BEGIN; ALTER TABLE snapshot_store ALTER state TYPE snapshot_state; ROLLBACK', 'must be owner of table snapshot_store' ],
	[ 'SELECT * FROM snapshot_dictionaries()', 'must be owner of table snapshot_store' ],
	[ q{CALL snapshot_repack('')}, 'must be owner of table snapshot_store' ],
	[ 'ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', 'must be owner of table snapshot_store' ],
	[ 'CREATE INDEX mine ON snapshot_store (created_at)', 'must be owner of table snapshot_store' ],
	[ 'TRUNCATE snapshot_store', 'permission denied for table snapshot_store' ],
	[ 'ALTER EXTENSION snapshot_store UPDATE', 'must be owner of extension snapshot_store' ],
	[ q{ALTER EXTENSION snapshot_store UPDATE TO '99.0'}, 'must be owner of extension snapshot_store' ],
	[ 'DROP EXTENSION snapshot_store', 'must be owner of extension snapshot_store' ]);
my @for_nobody = (
	(map { [ $_, 'permission denied for table snapshot_dictionary' ] }
		'SELECT * FROM snapshot_dictionary', 'DELETE FROM snapshot_dictionary', 'TRUNCATE snapshot_dictionary',
		'UPDATE snapshot_dictionary SET active = false', 'COPY snapshot_dictionary TO STDOUT'),
	[ 'SELECT * FROM snapshot_dictionary_part', 'permission denied for table snapshot_dictionary_part' ],
	[ 'ALTER TABLE snapshot_dictionary DISABLE TRIGGER ALL', 'must be owner of table snapshot_dictionary' ],
	[ 'ALTER EXTENSION snapshot_store DROP TABLE snapshot_dictionary', 'must be owner of table snapshot_dictionary' ],
	[ 'ALTER EXTENSION snapshot_store DROP TYPE snapshot_state', 'must be owner of type snapshot_state' ],
	[ 'CREATE CAST (bytea AS snapshot_state) WITHOUT FUNCTION', 'must be owner of type bytea or type snapshot_state' ],
	[ 'CREATE CAST (snapshot_state AS bytea) WITHOUT FUNCTION', 'must be owner of type snapshot_state or type bytea' ],
	[ 'ALTER FUNCTION snapshot_info(text) SECURITY DEFINER', 'must be owner of function snapshot_info' ],
	[ 'DROP FUNCTION snapshot_info(text)', 'cannot drop function snapshot_info(text) because extension snapshot_store requires it' ],
	[ 'ALTER EXTENSION snapshot_store DROP FUNCTION snapshot_info(text)', 'must be owner of function snapshot_info' ],
	[ 'DROP TABLE snapshot_store', 'cannot drop table snapshot_store because extension snapshot_store requires it' ]);
is(error_as('app', 'shop', $_->[0]), $_->[1], "another may not: $_->[0]") foreach @for_owners;
is(error_as('owner', 'shop', $_->[0]), $_->[1], "the owner may not: $_->[0]") foreach @for_nobody;
is(error_as('owner', 'shop', $_->[0]), '', "the owner may: $_->[0]") foreach @for_owners;

# CREATE on the database is what it takes, to update as well.
my $whose_table = q{SELECT relowner::regrole FROM pg_class WHERE relname = 'snapshot_store' AND relkind = 'r'};
as('owner', 'shop', 'GRANT CREATE ON DATABASE shop TO app');
is(as('app', 'shop', "CREATE SCHEMA mine; CREATE EXTENSION snapshot_store SCHEMA mine; $whose_table"), 'app',
	'who has CREATE on the database installs, and owns');
as('owner', 'shop', 'CREATE SCHEMA owners');
is(error_as('app', 'shop', 'DROP EXTENSION snapshot_store; CREATE EXTENSION snapshot_store SCHEMA owners'), '',
	'... even into a schema in which they may not create: with any trusted extension, PostgreSQL does not ask for that');
as('owner', 'shop', 'REVOKE CREATE ON DATABASE shop FROM app');
is(error_as('app', 'shop', q{ALTER EXTENSION snapshot_store UPDATE TO '99.0'}), 'permission denied to update extension "snapshot_store"',
	'who has lost it no longer updates');
is(error_as('app', 'shop', 'DROP EXTENSION snapshot_store'), '', '... but drops');
# The script names its owner, so PostgreSQL wants a name that needs no escapes.
$node->safe_psql('shop', 'CREATE ROLE "odd$" SUPERUSER LOGIN');
like(error_as('odd$', 'shop', 'CREATE EXTENSION snapshot_store'), qr/invalid character in extension owner/,
	'a role with a $ in its name does not, superuser or not');
is(as($superuser, 'shop', "CREATE EXTENSION snapshot_store; $whose_table"), $superuser, 'where a superuser installs, the table is theirs');

# A database may have no PL/pgSQL.
$node->safe_psql('postgres', 'CREATE DATABASE without_plpgsql');
is($node->safe_psql('without_plpgsql', q{
		DROP EXTENSION plpgsql;
		CREATE EXTENSION snapshot_store;
		SELECT snapshot_save('a', 1, 1, '1'), array_agg(attcompression::text) = '{l,l}'
		FROM pg_attribute WHERE attrelid = 'snapshot_store'::regclass AND attname IN ('state', 'state_bytea')}),
	$node->safe_psql('postgres', q{SELECT 't', EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals))}),
	'without PL/pgSQL, and with lz4 where the server has it');

# ---- 2. a hostile schema ----------------------------------------------------

# Says in the log that it has run.  IMMUTABLE is a lie that indexes believe.
my $ran = q{
	CREATE FUNCTION ran(what text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		RAISE WARNING 'ran: %, as % of session %, superuser %', what, current_user, session_user,
			(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user);
		RETURN true;
	END
	$$;
};
my @pairs = ((map { [ $_, $_ ] } qw(bool int2 int4 int8 text json jsonb bytea timestamptz oid regclass name anyelement anyarray)),
	[qw(int2 int4)], [qw(int2 int8)], [qw(int4 int8)], [qw(int8 int2)], [qw(int8 int4)]);
my @plants = (
	'SET search_path = pg_catalog, store',
	# what the script and the library call, or might, and nearer matches of our own functions
	(map { my ($signature, $type) = @$_;
		"CREATE FUNCTION store.$signature RETURNS $type LANGUAGE plpgsql AS 'BEGIN PERFORM store.ran(''function $signature''); RETURN NULL; END'" }
		[ 'octet_length(text)', 'int4' ], [ 'octet_length(anyelement)', 'int4' ], [ 'num_nonnulls(json, bytea)', 'int4' ],
		[ 'pg_extension_config_dump(regclass, text)', 'text' ], [ 'pg_extension_config_dump(text, text)', 'text' ],
		[ 'snapshot_state_to_json(json)', 'json' ],
		[ 'clock_timestamp()', 'timestamptz' ], [ 'now()', 'timestamptz' ], [ 'unnest(text[])', 'text' ], [ 'unnest(int2[])', 'int2' ],
		[ 'snapshot_save(text, int4, int4, text)', 'bool' ], [ 'snapshot_load(text, int4[])', 'json' ], [ 'snapshot_info(varchar)', 'int8' ]),
	# operators
	(map { my ($left, $right) = @$_;
		("CREATE FUNCTION store.${left}_$right($left, $right) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN store.ran(''operator of $left, $right''); END'",
		 map { "CREATE OPERATOR store.$_ (FUNCTION = store.${left}_$right, LEFTARG = $left, RIGHTARG = $right)" } qw(= <> < <= > >=)) } @pairs),
	# types, some with casts to them
	(map { "CREATE DOMAIN store.$_ AS pg_catalog.$_ CHECK (store.ran('domain $_'))" } qw(text json timestamptz bool)),
	(map { ("CREATE TYPE store.$_ AS (value pg_catalog.$_)",
		"CREATE FUNCTION store.to_$_(pg_catalog.$_) RETURNS store.$_ LANGUAGE plpgsql AS 'BEGIN PERFORM store.ran(''cast to $_''); RETURN NULL; END'",
		"CREATE CAST (pg_catalog.$_ AS store.$_) WITH FUNCTION store.to_$_ AS IMPLICIT") } qw(int2 int4 int8 bytea jsonb)),
	# and what else has a name
	q{CREATE COLLATION store."C" (LOCALE = 'POSIX')},
	q{CREATE VIEW store.pg_settings AS SELECT 'default_toast_compression'::text AS name, '{lz4}'::text[] AS enumvals WHERE store.ran('view pg_settings')});

# What the extension's objects, and their parts, use that is neither
# PostgreSQL's own nor the extension's.
my $bindings = q{
	WITH RECURSIVE ours (class, id) AS (
		SELECT 'pg_extension'::regclass::oid, oid FROM pg_extension WHERE extname = 'snapshot_store'
		UNION
		SELECT classid, objid FROM pg_depend JOIN ours ON refclassid = class AND refobjid = id WHERE deptype IN ('e', 'i', 'a')
	)
	SELECT pg_describe_object(classid, objid, objsubid) || ' uses ' || pg_describe_object(refclassid, refobjid, refobjsubid)
	FROM pg_depend JOIN ours ON classid = class AND objid = id
	WHERE (refclassid, refobjid) NOT IN (TABLE ours) AND refclassid <> 'pg_namespace'::regclass
	ORDER BY 1;
};

# Their definitions, as one who sees no schema but pg_catalog.
my $definitions = q{
	SET search_path = '';
	SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'store.snapshot_store'::regclass ORDER BY 1;
	SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attcollation::regcollation FROM pg_attribute
	WHERE attrelid = 'store.snapshot_store'::regclass AND attnum > 0 ORDER BY attnum;
	SELECT pg_get_functiondef(oid) FROM pg_proc
	WHERE oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND deptype = 'e') ORDER BY proname;
};

# As they are where nothing was planted.
$node->safe_psql('postgres', 'CREATE SCHEMA store; CREATE EXTENSION snapshot_store SCHEMA store');
my $expected_definitions = $node->safe_psql('postgres', $definitions);

foreach my $installer ($superuser, 'owner')
{
	my $database = "hostile_$installer";

	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER owner");
	$node->safe_psql($database, 'CREATE SCHEMA store AUTHORIZATION attacker; GRANT USAGE ON SCHEMA store TO owner, app');
	as('attacker', $database, "SET search_path = store; $ran " . join(";\n", @plants));

	my $offset = now_in_log();
	as('attacker', $database, q{
		SET search_path = store, pg_catalog;
		SELECT octet_length('a'::pg_catalog.text), 1::pg_catalog.int8 = 1::pg_catalog.int8, 1::pg_catalog.int2 <= 1::pg_catalog.int4, 'a'::text;
		SELECT FROM pg_settings;
		CREATE TEMP TABLE trapped (v int8);
		INSERT INTO trapped SELECT 1::pg_catalog.int8});
	is_deeply([ ran_since($offset) ], [ map { "$_, as attacker of session attacker, superuser f" }
		'cast to int8', 'domain text', 'function octet_length(text)', 'operator of int2, int4', 'operator of int8, int8', 'view pg_settings' ],
		'the traps work');

	foreach my $version (@versions)
	{
		$offset = now_in_log();
		is(error_as($installer, $database, "CREATE EXTENSION snapshot_store SCHEMA store VERSION '$version'"), '',
			"$installer installs $version in an attacker's schema");
		is(error_as($installer, $database, 'ALTER EXTENSION snapshot_store UPDATE'), '', '... and updates it');
		is(as($superuser, $database, $bindings), '', '... which has bound nothing that was planted');
		is($node->safe_psql($database, $definitions), $expected_definitions, '... and is as it is elsewhere');

		as($superuser, $database, sprintf $grant, 'store', 'owner, app');
		foreach my $role ($superuser, 'owner', 'app')
		{
			may_use($role, $database, 'store', $_) foreach 'pg_catalog', 'store, pg_catalog';
		}
		is_deeply([ ran_since($offset) ], [], 'nothing that was planted has run');

		# It would show.
		is(as($superuser, $database, "BEGIN; ALTER TABLE store.snapshot_store ADD CONSTRAINT bound CHECK (slot OPERATOR(store.>=) 0::pg_catalog.int2);
				$bindings; ROLLBACK"), 'constraint bound on table store.snapshot_store uses operator store.>=(smallint,smallint)',
			'a CHECK with a planted operator would show');
		as($superuser, $database, 'DROP EXTENSION snapshot_store');
	}
}

# What has a name of ours stands in the way, and nothing is made of it.
foreach my $thing (
	[ 'TABLE', 'snapshot_store', '()', 'relation "snapshot_store" already exists' ],
	[ 'VIEW', 'snapshot_store', 'AS SELECT 1', 'relation "snapshot_store" already exists' ],
	[ 'TYPE', 'snapshot_store', 'AS ENUM ()', 'type "snapshot_store" already exists' ],
	[ 'SEQUENCE', 'snapshot_store_pkey', '', 'relation "snapshot_store_pkey" already exists' ],
	[ 'FUNCTION', 'snapshot_info', q{(pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT NULL'},
		'function "snapshot_info" already exists with same argument types' ],
	[ 'FUNCTION', 'snapshot_purge', q{(pg_catalog.text, pg_catalog.int8[], pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.int4, pg_catalog.int8)
		RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT NULL'}, 'function "snapshot_purge" already exists with same argument types' ])
{
	my ($kind, $name, $definition, $message) = @$thing;

	as('attacker', 'hostile_owner', "CREATE $kind store.$name $definition");
	is(error_as($_, 'hostile_owner', 'CREATE EXTENSION snapshot_store SCHEMA store'), $message,
		lc($kind) . " $name is in the way of $_") foreach $superuser, 'owner';
	is(as($superuser, 'hostile_owner', q{SELECT count(*) FROM pg_depend WHERE deptype = 'e'
			AND refobjid <> (SELECT oid FROM pg_extension WHERE extname = 'plpgsql')}), '0', '... and nothing is left behind');
	as('attacker', 'hostile_owner', $kind eq 'FUNCTION' ? "DROP $kind store.$name(" . ($definition =~ /\((.*?)\)/s)[0] . ')' : "DROP $kind store.$name");
}

# ... nor of what has a name that an update wants.
as($superuser, 'hostile_owner', $order_state);
as('owner', 'hostile_owner', q{CREATE EXTENSION snapshot_store SCHEMA store VERSION '1.0'});
foreach my $thing (
	[ 'TABLE', 'snapshot_dictionary', '(number pg_catalog.int8)', 'relation "snapshot_dictionary" already exists' ],
	[ 'TYPE', 'snapshot_state', 'AS ENUM ()', 'type "snapshot_state" already exists' ],
	[ 'DOMAIN', 'snapshot_state', 'AS pg_catalog.json', 'type "snapshot_state" already exists' ],
	[ 'TABLE', 'snapshot_state', '()', 'type "snapshot_state" already exists' ],
	[ 'VIEW', 'snapshot_stats', 'AS SELECT 1', 'relation "snapshot_stats" already exists' ],
	[ 'FUNCTION', 'snapshot_dictionary_guard', q{() RETURNS pg_catalog.trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'},
		'function "snapshot_dictionary_guard" already exists with same argument types' ],
	[ 'FUNCTION', 'snapshot_dictionary_retire', q{(pg_catalog.int8) RETURNS pg_catalog.bool LANGUAGE sql AS 'SELECT true'},
		'function "snapshot_dictionary_retire" already exists with same argument types' ])
{
	my ($kind, $name, $definition, $message) = @$thing;

	as('attacker', 'hostile_owner', "CREATE $kind store.$name $definition");
	is(error_as($_, 'hostile_owner', 'ALTER EXTENSION snapshot_store UPDATE'), $message,
		lc($kind) . " $name is in the way of an update by $_") foreach $superuser, 'owner';
	is(as($superuser, 'hostile_owner', q{SELECT extversion FROM pg_extension WHERE extname = 'snapshot_store'}), '1.0', '... which changes nothing');
	as('attacker', 'hostile_owner', "DROP $kind store.$name");
}

# Then the table's owner takes what it brought, in the attacker's schema.
{
	my $offset = now_in_log();
	as('owner', 'hostile_owner', 'ALTER EXTENSION snapshot_store UPDATE');
	as('attacker', 'hostile_owner', q{
		CREATE FUNCTION store.snapshot_state_in(text) RETURNS store.snapshot_state LANGUAGE plpgsql AS 'BEGIN PERFORM store.ran(''state''); RETURN NULL; END';
		CREATE FUNCTION store.snapshot_dictionary_retire(int4) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM store.ran(''retire''); RETURN NULL; END'});
	is(as('owner', 'hostile_owner', q{
			SET search_path = pg_catalog;
			ALTER TABLE store.snapshot_store ALTER state TYPE store.snapshot_state;
			SELECT count(store.snapshot_save('order-' || n, n::int8, 1::int8, order_state(n::int8))) FROM generate_series(1, 100) AS n;
			SELECT number IS NOT NULL FROM store.snapshot_dictionary_train('order-', NULL::int8, 1000::int4, 4096::int4, 1::int4, 10::int4);
			CALL store.snapshot_repack('order-', 100::int4, NULL::int8);
			SELECT count(*) FROM store.snapshot_store AS s, store.snapshot_load(stream_id, '{1}'::int8[], NULL::int8, NULL::timestamptz) AS l
			WHERE pg_column_size(s.state) < 300 AND l.state::text = order_state(s.sequence_number)::text;
			SELECT store.snapshot_dictionary_retire(number) FROM store.snapshot_dictionaries()} =~ s/order_state/public.order_state/gr),
		'100 t 100 100 t', 'the owner takes packed states, trains, repacks and retires in an attacker\'s schema');
	is_deeply([ ran_since($offset) ], [], '... and nothing that was planted has run');
	is(as($superuser, 'hostile_owner', $bindings), '', '... nor is bound');
	as($superuser, 'hostile_owner', 'DROP EXTENSION snapshot_store CASCADE');
}

# ---- 3. a hostile table -----------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE hostile_table OWNER owner');
as('owner', 'hostile_table', q{
	CREATE EXTENSION snapshot_store;
	SELECT snapshot_save('kept', 1, 1, '1');
	GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_store TO app;} . $ran . q{
	CREATE FUNCTION ran(what text, value int2) RETURNS int2 LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.ran(what); RETURN value; END $$;
	CREATE FUNCTION ran_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.ran(TG_NAME);
		RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
	END
	$$;
	CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION ran_trigger();
	CREATE TRIGGER after_row AFTER INSERT OR UPDATE OR DELETE ON snapshot_store FOR EACH ROW EXECUTE FUNCTION ran_trigger();
	CREATE TRIGGER statement BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON snapshot_store EXECUTE FUNCTION ran_trigger();
	CREATE RULE hostile AS ON DELETE TO snapshot_store DO ALSO SELECT ran('rule', old.slot);
	CREATE POLICY hostile ON snapshot_store USING (ran('policy', slot) = slot);
	ALTER TABLE snapshot_store ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY,
		ADD CONSTRAINT hostile CHECK (ran('CHECK', slot) = slot),
		ADD CONSTRAINT not_valid CHECK (ran('CHECK, not valid', slot) = slot) NOT VALID;
	CREATE INDEX ON snapshot_store (ran('index expression', slot)) WHERE ran('index predicate', slot) = slot;
	CREATE INDEX ON snapshot_store (ran('constant index expression', 0::int2)) WHERE ran('constant index predicate');
	CREATE DOMAIN hostile AS int2 CHECK (public.ran('domain', VALUE) = VALUE);
	ALTER TABLE snapshot_store
		ADD COLUMN generated int GENERATED ALWAYS AS (ran('generated column', slot)) STORED,
		ADD COLUMN with_default hostile DEFAULT ran('default', 0::int2);
	CREATE STATISTICS hostile ON (ran('statistics', slot)), sequence_number FROM snapshot_store;
	CREATE TABLE child () INHERITS (snapshot_store);
	CREATE TRIGGER child BEFORE INSERT OR UPDATE OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION ran_trigger();
	CREATE VIEW hostile_view AS SELECT ran('view', slot) FROM snapshot_store;
});

# It does run, as who calls: even a superuser, and even when they only read; as
# it does with plain SQL.
my @when_read = ('constant index expression', 'constant index predicate');
my @when_written = (@when_read, 'CHECK', 'CHECK, not valid', 'after_row', 'before_row', 'default', 'domain', 'generated column',
	'index expression', 'index predicate', 'rule', 'statement');
foreach my $role ('owner', 'app', $superuser)
{
	my $as = "as $role of session $role, superuser " . ($role eq $superuser ? 't' : 'f');

	foreach my $case (
		[ q{SELECT snapshot_save('new', 1, 1, '1'); SELECT snapshot_save('new', 2, 1, '2'); SELECT snapshot_delete('new')}, @when_written ],
		[ q{INSERT INTO snapshot_store (stream_id, slot, state_schema_version, sequence_number, created_at, state)
			VALUES ('new', 0, 1, 1, now(), '1'); DELETE FROM snapshot_store WHERE stream_id = 'new'}, @when_written ],
		[ q{SELECT FROM snapshot_load('kept', '{1}')}, @when_read ],
		[ q{SELECT FROM snapshot_store WHERE stream_id = 'kept'}, @when_read ])
	{
		my ($script, @expected) = @$case;
		my $offset = now_in_log();
		push @expected, 'policy' if $role ne $superuser;
		as($role, 'hostile_table', $script);
		my %ran = map { $_ => 1 } ran_since($offset);
		my @missing = grep { !delete $ran{"$_, $as"} } @expected;
		is_deeply([ @missing, grep { !/, \Q$as\E$/ } keys %ran ], [], "the owner's code runs $as: " . substr($script, 0, 30));
	}
}

# It does not in an update.
foreach my $role ('owner', $superuser)
{
	my $offset = now_in_log();
	is(error_as($role, 'hostile_table', q{BEGIN; ALTER EXTENSION snapshot_store UPDATE; ALTER EXTENSION snapshot_store UPDATE TO '99.0';
			COMMENT ON COLUMN snapshot_store.next IS 'is there'; ROLLBACK}), '', "$role updates");
	is_deeply([ ran_since($offset) ], [], '... and nothing of the owner\'s runs');
}

# Such scripts are why there are rules for them.
my $n = 0;
foreach my $bad (
	[ 'UPDATE @extschema@.snapshot_store SET slot = slot', 'before_row' ],
	[ 'DELETE FROM @extschema@.snapshot_store', 'before_row' ],
	[ 'DO $$BEGIN PERFORM FROM @extschema@.snapshot_store; END$$', 'constant index expression' ],
	[ 'ALTER TABLE @extschema@.snapshot_store VALIDATE CONSTRAINT not_valid', 'CHECK, not valid' ])
{
	my ($script, $what) = @$bad;
	my $offset = now_in_log();
	my $version = '98.' . $n++;

	plant_update($version, "$script;\n");
	is(error_as('owner', 'hostile_table', "BEGIN; ALTER EXTENSION snapshot_store UPDATE TO '$version'; ROLLBACK"), '', "a bad script: $script");
	ok(scalar(grep { $_ eq "$what, as $superuser of session owner, superuser t" } ran_since($offset)), '... runs what the owner has made as superuser');
	isnt(complaint($script, $versions[0]), '', '... and breaks the rules');
}

# What the owner puts in an update's way stays the owner's.
as('owner', 'hostile_table', q{CREATE FUNCTION snapshot_next(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1'});
is(error_as('owner', 'hostile_table', q{ALTER EXTENSION snapshot_store UPDATE TO '99.0'}), 'function "snapshot_next" already exists with same argument types',
	'an update does not take over a function that was planted');
as('owner', 'hostile_table', 'ALTER EXTENSION snapshot_store ADD FUNCTION snapshot_next(text)');
is(error_as('owner', 'hostile_table', q{ALTER EXTENSION snapshot_store UPDATE TO '99.0'}), 'function "snapshot_next" already exists with same argument types',
	'... nor if it was made part of the extension');
as('owner', 'hostile_table', 'ALTER EXTENSION snapshot_store DROP FUNCTION snapshot_next(text); DROP FUNCTION snapshot_next(text)');
my $take_out = 'ALTER EXTENSION snapshot_store DROP FUNCTION snapshot_should_take';
is(error_as('owner', 'hostile_table', $take_out), 'must be owner of function snapshot_should_take', 'they put nothing in the place of what it replaces');
is(error_as($superuser, 'hostile_table', "BEGIN; $take_out; ALTER EXTENSION snapshot_store UPDATE TO '99.0'"),
	'function snapshot_should_take(bigint,bigint,bigint) is not a member of extension "snapshot_store"', '... nor does the server replace what is not part of the extension');
as('owner', 'hostile_table', q{
	ALTER EXTENSION snapshot_store DROP TABLE snapshot_store; DROP TABLE snapshot_store CASCADE;
	CREATE VIEW snapshot_store AS SELECT ran('view', 0::int2)});
my $offset = now_in_log();
like(error_as('owner', 'hostile_table', q{ALTER EXTENSION snapshot_store UPDATE TO '99.0'}), qr/snapshot_store/, 'a view in the place of the table: no update');
is_deeply([ ran_since($offset) ], [], '... and it does not run');

# ---- 4. the scripts ---------------------------------------------------------

# What is wrong with a script, or nothing.  An update, which is one from a
# version, may do what is listed here and no more: all of it leaves the table's
# rows alone.  It may replace what that version has, and nothing else, which
# could have been planted.
sub complaint
{
	my ($script, $from) = @_;
	my $table = qr/ALTER TABLE \@extschema\@\.snapshot_store/;
	my $type = qr/pg_catalog\.\w+(\[\])?( COLLATE pg_catalog\."C")?/;
	# What the script itself makes, since that must not have been there before.
	my %made = map { $_ => 1 } $script =~ /^CREATE (?:TABLE|FUNCTION) (\@extschema\@\.\w+)/mg;
	my $made = join '|', map { quotemeta } keys %made, 'nothing';
	my $state = qr/\@extschema\@\.snapshot_state/;

	$script =~ s/--.*$//gm;
	$script =~ s{/\*.*?\*/}{}gs;
	$script =~ s/\\echo.*\\quit$//m;
	if (defined $from)
	{
		my $old = slurp_file("snapshot_store--$from.sql");
		$script =~ s/\bOR REPLACE (?=((?:FUNCTION|PROCEDURE) \@extschema\@\.\w+\())/$old =~ m{^CREATE \Q$1\E}m ? '' : $&/ge;
	}
	return "forbidden: $1" if $script =~ /\b(OR\s+REPLACE|IF\s+NOT\s+EXISTS|SECURITY\s+DEFINER|SET\s+search_path|CASCADE)\b/i;
	return '' unless defined $from;
	foreach my $statement (split /;\s*(?:\n|$)/, $script)
	{
		$statement =~ s/\s+/ /g;
		$statement =~ s/^ | $//g;
		next if $statement eq '';
		next if $statement =~ /^CREATE (FUNCTION|PROCEDURE) \@extschema\@\.\w+ ?\(.* AS 'MODULE_PATHNAME', '\w+' LANGUAGE C\b[A-Z0-9 ]*$/;
		next if $statement =~ /^(ALTER|DROP) (FUNCTION|PROCEDURE) \@extschema\@\.\w+ ?\((?!.*\b(OWNER|SET)\b)/;
		next if $statement =~ /^COMMENT ON (FUNCTION|PROCEDURE|VIEW|TABLE|COLUMN|TYPE) \@extschema\@\./;
		next if $statement =~ /^CREATE TYPE $state( \( (?:(?:INPUT|OUTPUT|RECEIVE|SEND) = (?:$made), )+LIKE = pg_catalog\.\w+, STORAGE = \w+\))?$/;
		next if $statement =~ /^CREATE CAST \((pg_catalog\.json AS $state\) WITHOUT FUNCTION|(pg_catalog\.jsonb AS $state|$state AS pg_catalog\.jsonb)\) WITH INOUT) AS ASSIGNMENT$/;
		next if $statement =~ /^CREATE CAST \($state AS pg_catalog\.json\) WITH FUNCTION (?:$made)\($state\) AS IMPLICIT$/;
		next if $statement =~ /^CREATE TABLE \@extschema\@\.\w+ \( (\w+ $type( NOT NULL)?, )+CONSTRAINT \w+ PRIMARY KEY \(\w+(, \w+)*\) ?\)( WITH \([^()]*\))?$/;
		next if $statement =~ /^CREATE TRIGGER \w+ BEFORE [A-Z ]+ ON (?:$made) FOR EACH (STATEMENT|ROW) EXECUTE FUNCTION (?:$made)\(\)$/;
		next if $statement =~ /^ALTER TABLE (?:$made) ((ENABLE (ALWAYS|REPLICA) TRIGGER \w+(, (?=E)|$))+|ALTER COLUMN \w+ SET STORAGE \w+)$/;
		next if $statement =~ /^CREATE VIEW (\@extschema\@\.\w+) WITH \(security_invoker\) AS SELECT \* FROM \1\(\)$/;
		next if $statement =~ /^GRANT SELECT ON \@extschema\@\.\w+ TO PUBLIC$/;
		next if $statement =~ /^$table ADD COLUMN \w+ $type$/;
		next if $statement =~ /^$table ALTER COLUMN \w+ SET (STORAGE|COMPRESSION|STATISTICS) \w+$/;
		next if $statement =~ /^$table (RE)?SET \([^()]*\)$/;
		return "not allowed in an update: $statement";
	}
	return '';
}

foreach my $file (glob 'snapshot_store--*.sql')
{
	is(complaint(slurp_file($file), $file =~ /--(.*)--/), '', "$file keeps the rules");
}
is(complaint($_, $versions[0]), '', 'so does what a typical update does') foreach $update, slurp_file('test/upgrade/update.sql');
isnt(complaint($_, $versions[0]), '', "this would not: $_") foreach (
	q{CREATE OR REPLACE FUNCTION @extschema@.f() RETURNS void AS 'MODULE_PATHNAME', 'f' LANGUAGE C},
	q{CREATE OR REPLACE FUNCTION snapshot_info() RETURNS void AS 'MODULE_PATHNAME', 'f' LANGUAGE C},
	q{CREATE OR REPLACE FUNCTION @extschema@.snapshot_info() RETURNS void AS 'DELETE FROM snapshot_store' LANGUAGE sql},
	q{CREATE FUNCTION @extschema@.f() RETURNS void AS 'MODULE_PATHNAME', 'f' LANGUAGE C SECURITY DEFINER},
	q{CREATE FUNCTION @extschema@.f() RETURNS void AS 'DELETE FROM snapshot_store' LANGUAGE sql},
	q{CREATE FUNCTION f() RETURNS void AS 'MODULE_PATHNAME', 'f' LANGUAGE C},
	q{CREATE TABLE IF NOT EXISTS @extschema@.t ()},
	q{DROP FUNCTION @extschema@.f() CASCADE},
	q{ALTER FUNCTION @extschema@.f() OWNER TO @extowner@},
	q{INSERT INTO @extschema@.snapshot_store DEFAULT VALUES},
	q{WITH gone AS (DELETE FROM @extschema@.snapshot_store) SELECT 1},
	q{MERGE INTO @extschema@.snapshot_store USING t ON true WHEN MATCHED THEN DELETE},
	q{TRUNCATE @extschema@.snapshot_store},
	q{DO $$BEGIN END$$},
	q{SELECT @extschema@.snapshot_census()},
	q{CREATE INDEX ON @extschema@.snapshot_store (created_at)},
	q{CREATE TRIGGER t BEFORE INSERT ON @extschema@.snapshot_store EXECUTE FUNCTION f()},
	q{REINDEX TABLE @extschema@.snapshot_store},
	q{CREATE TYPE @extschema@.snapshot_state (INPUT = @extschema@.planted, OUTPUT = @extschema@.planted, LIKE = pg_catalog.json, STORAGE = extended)},
	q{CREATE CAST (pg_catalog.bytea AS @extschema@.snapshot_state) WITHOUT FUNCTION AS ASSIGNMENT},
	q{CREATE CAST (@extschema@.snapshot_state AS pg_catalog.json) WITH FUNCTION @extschema@.planted(@extschema@.snapshot_state) AS IMPLICIT},
	q{CREATE TABLE @extschema@.t (number int8 NOT NULL, CONSTRAINT t_pkey PRIMARY KEY (number))},
	q{ALTER TABLE @extschema@.planted ENABLE ALWAYS TRIGGER t},
	q{ALTER TABLE snapshot_store ADD COLUMN next pg_catalog.text},
	q{ALTER TABLE @extschema@.snapshot_store ADD COLUMN next text},
	map { 'ALTER TABLE @extschema@.snapshot_store ' . $_ } (
		'ADD COLUMN next pg_catalog.text DEFAULT 0', 'ADD COLUMN next pg_catalog.text NOT NULL',
		'ALTER COLUMN state TYPE @extschema@.snapshot_state', 'ADD COLUMN next pg_catalog.text, ADD CHECK (true)', 'ADD CONSTRAINT c CHECK (slot >= 0)', 'ADD CONSTRAINT c CHECK (slot >= 0) NOT VALID',
		'ADD COLUMN next pg_catalog.float8 DEFAULT pg_catalog.random()', 'ALTER COLUMN slot TYPE pg_catalog.int4', 'ALTER COLUMN metadata SET NOT NULL', 'SET TABLESPACE t', 'OWNER TO @extowner@'));

$node->stop;
done_testing();
