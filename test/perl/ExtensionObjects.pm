# All there is of the extension in a database, to be compared with another's line by line.
package ExtensionObjects;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw($describe description differences equal_descriptions functions_of kept_functions);

our $describe = slurp_file('test/extension_objects.sql');

# What a database has after the commands, which are then undone.
sub description
{
	my ($node, $database, @commands) = @_;

	return $node->safe_psql($database, join ";\n", 'BEGIN', @commands, $describe);
}

# The lines that only one of two descriptions has.
sub differences
{
	my ($one, $other) = @_;
	my %in_one = map { $_ => 1 } split /\n/, $one;
	my %in_other = map { $_ => 1 } split /\n/, $other;

	return ((map { "- $_" } grep { !$in_other{$_} } sort keys %in_one),
		(map { "+ $_" } grep { !$in_one{$_} } sort keys %in_other));
}

sub equal_descriptions
{
	my ($got, $expected, $name) = @_;

	return is(join("\n", differences($expected, $got)), '', $name);
}

# Its functions: what calls one that there was must go on as it was prepared or compiled.
sub functions_of
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, q{
		SELECT p.oid, p.oid::regprocedure, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
		FROM pg_depend AS d JOIN pg_proc AS p ON (d.classid, d.objid) = (p.tableoid, p.oid)
		WHERE (d.refclassid, d.refobjid) = (SELECT tableoid, oid FROM pg_extension WHERE extname = 'snapshot_store')});
}

sub kept_functions
{
	my ($before, $after, $name) = @_;

	return is(join("\n", grep { /^-/ } differences($before, $after)), '', $name);
}

1;
