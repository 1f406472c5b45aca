# Makes a pgTAP suite fit for a table that Citus distributes: prints the file that is named, up to the first line
# that begins with UNTIL, if that is given.
#
# usage: perl test/citus/adapt.pl FILE [UNTIL]
#
# Citus sends a query of one stream's rows to another node whole, with the assertion in it, which knows of no
# plan there; and a function in SQL cannot give a statement its parameters.  So the suites read the table by a
# function that returns its rows, and write it by functions in PL/pgSQL. Of many thousand streams, a hundredth is enough.
use strict;
use warnings;

my ($file, $until) = @ARGV;
open my $in, '<', $file or die "cannot read $file: $!\n";
my $suite = do { local $/; <$in> };

if ($until)
{
	$suite =~ s/^\Q$until\E.*//ms or die "$file has no line that begins with $until\n";
	$suite .= "SELECT * FROM finish();\n";
}
$suite =~ s/^SELECT plan\(\d+\);/SELECT * FROM no_plan();/m;

$suite =~ s/\b(?<!DELETE )(?<!AS SELECT \* )(FROM|JOIN) snapshot_store\b(?: AS (?!\()(\w+))?/"$1 pg_temp.store_rows() AS " . ($2 \/\/ 'snapshot_store')/ge;
$suite =~ s/RETURNS void LANGUAGE sql\s+AS \$\$\n(.*?);?\n\$\$;/RETURNS void LANGUAGE plpgsql AS \$\$\n#variable_conflict use_column\nBEGIN\n$1;\nEND\n\$\$;/gs;
$suite =~ s/\bTRUNCATE snapshot_store\b/DELETE FROM snapshot_store/g;

# Where they are made, and where they are counted.
my $many = qr/\b(5|10|15)00(0[01])\b/;
$suite =~ s/generate_series\([^)]*\)/$& =~ s{$many}{$1$2}gr/ge;
$suite =~ s/(?:count\(\*\), |array_fill\(1, ARRAY\[|, true\)\), )\K$many/$1$2/g;

print <<'SQL', $suite;
CREATE FUNCTION pg_temp.store_rows()
RETURNS TABLE (stream_id text, slot smallint, state_schema_version bigint, sequence_number bigint,
			   created_at timestamptz, state json, state_bytea bytea, metadata jsonb, ctid tid, xmin xid)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT *, ctid, xmin FROM snapshot_store;
END
$$;
SQL
