# Hostile input: every function, called with whatever a caller can pass.
#
# A pool of values is made for each kind of parameter: good ones, and beside
# them NULLs, extremes, names that are empty, too long or full of odd bytes,
# what is no JSON, arrays of several dimensions, with NULLs, with other lower
# bounds, of too many elements or of none.  They reach the functions as
# literals, as domains, as fields of composites, as expanded arrays, and from
# columns, where they are toasted, compressed, or have a short header; the
# functions are called in a select list, in FROM, in LATERAL, once for each row
# of a table, by prepared statements, in plpgsql and by cursors, on both access
# paths, under varying settings, in databases of several encodings.
#
# Each answer is compared to the letter with that of a model: the rule of
# retention and the table of errors, written down once more below.  An error
# must be one that the arguments call for; an answer must be the model's; and
# after each batch the table must hold what the model says.  Meanwhile its states
# become packed ones, by one dictionary or another, and plain again.
#
# SEED repeats a run.
use strict;
use warnings;

use DBI;
use Digest::MD5 qw(md5_hex);
use Encode qw(decode encode);
use List::Util qw(min shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $calls_to_make = $ENV{SNAPSHOT_STORE_LONG} ? 1_000_000 : 20_000;
my $seed = $ENV{SEED} // int(rand(2**31));
srand($seed);
note("SEED=$seed");

# Database encoding, client encoding, and what else there is to say of the database.
my @databases = (
	[ 'UTF8', 'UTF8', q{LOCALE 'C'} ],
	[ 'UTF8', 'WIN1252', q{LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'} ],
	[ 'UTF8', 'LATIN1', q{LOCALE 'C'} ],
	[ 'SQL_ASCII', 'LATIN1', q{LOCALE 'C'} ],
	[ 'LATIN1', 'UTF8', q{LOCALE 'C'} ],
);
my %perl_encoding = (UTF8 => 'UTF-8', SQL_ASCII => 'UTF-8', LATIN1 => 'iso-8859-1', WIN1252 => 'cp1252');

# Each kind of value and its type.
my %type = (
	id => 'text', prefix => 'text', number => 'bigint', version => 'bigint', size => 'integer',
	json => 'json', bytea => 'bytea', metadata => 'json', time => 'timestamptz', flag => 'boolean', count => 'bigint', versions => 'bigint[]',
	ids => 'text[]', numbers => 'bigint[]', each_version => 'bigint[]', bounds => 'bigint[]',
	jsons => 'json[]', byteas => 'bytea[]', each_metadata => 'json[]', times => 'timestamptz[]');
my @kinds = sort keys %type;

# Each function: how often it is called, its parameters with their kinds ("?" may
# be NULL, "!" may be left out and is then true), and for one that returns rows, what is
# told of a row.
my $told_load = q{concat_ws('|', (r).sequence_number, (r).state_schema_version, md5((r).state%s), md5((r).metadata::text), tell((r).created_at))};
my $told_json = sprintf $told_load, '::text';
my $told_bytea = sprintf $told_load, '';
my $save = 'stream_id:id sequence_number:number state_schema_version:version state:%s metadata:metadata? created_at:time? replace:flag!';
my $load = 'stream_id:id recognized_schema_versions:versions max_sequence_number:number? max_created_at:time?';
my $save_many = 'stream_ids:ids sequence_numbers:numbers state_schema_versions:each_version states:%s metadata:each_metadata? created_at:times? replace:flag!';
my $load_many = 'stream_ids:ids recognized_schema_versions:versions max_sequence_numbers:bounds?';
my $told_saved = q{concat_ws('|', md5((r).stream_id), (r).stored)};
my %functions = (
	save => [ 26, sprintf($save, 'json') ],
	save_bytea => [ 9, sprintf($save, 'bytea') ],
	save_many => [ 6, sprintf($save_many, 'jsons'), $told_saved ],
	save_many_bytea => [ 3, sprintf($save_many, 'byteas'), $told_saved ],
	load => [ 15, $load, $told_json ],
	load_bytea => [ 6, $load, $told_bytea ],
	load_many => [ 5, $load_many, "concat_ws('|', md5((r).stream_id), $told_json)" ],
	load_many_bytea => [ 3, $load_many, "concat_ws('|', md5((r).stream_id), $told_bytea)" ],
	info => [ 4, 'stream_id:id',
		q{concat_ws('|', (r).sequence_number, (r).state_schema_version, (r).state_size > 0, tell((r).created_at))} ],
	should_take => [ 3, 'event_count:number last_sequence_number:number? snapshot_interval:number' ],
	due => [ 6, 'stream_id:id recognized_schema_versions:versions event_count:number snapshot_interval:number' ],
	delete => [ 6, 'stream_id:id max_sequence_number:number? max_created_at:time? min_sequence_number:number? min_created_at:time?' ],
	census => [ 3, 'stream_id_prefix:prefix', q{concat_ws('|', (r).state_schema_version, (r).snapshots, (r).streams)} ],
	outdated => [ 4, 'stream_id_prefix:prefix recognized_schema_versions:versions max_streams:size after_stream_id:prefix?', 'md5(r)' ],
	purge => [ 1, 'stream_id_prefix:prefix recognized_schema_versions:versions? min_created_at:time? max_created_at:time? batch_size:size deleted:count?' ],
);
my @draw;    # each function as often as its weight
foreach my $function (sort keys %functions)
{
	my ($weight, $parameters, $told) = @{ $functions{$function} };
	my @parameters = map { /^(\w+):(\w+)([?!]?)$/; { name => $1, kind => $2, optional => $3 eq '?', default => $3 eq '!' } } split / /, $parameters;
	$functions{$function} = { parameters => \@parameters, told => $told, is_bytea => $function =~ /_bytea/ ? 1 : 0, is_many => $function =~ /_many/ ? 1 : 0 };
	push @draw, ($function) x $weight;
}

sub pick { return $_[ rand @_ ] }
sub chance { return rand() < $_[0] }

# ---- the pool ---------------------------------------------------------------------------
#
# Row n has one value of each kind.  In the good rows every value is one that its
# parameter takes, and the arrays are of one length.  Streams whose states are
# mostly bytea lie in the odd rows.
#
# A value: {sql} an expression in the client's encoding, {value} what the model
# sees, with text as bytes in the server's encoding, {fails} the SQLSTATE if
# the value cannot even be made, {long} if it is better not sent each time.

use constant { GOOD_ROWS => 160, ROWS => 240 };
my ($server_encoding, $client_encoding);
my %pool;
my %ids;     # of the good streams: {0} of json, {1} of bytea
my @in_table;    # [table][n]: is the row there?

# Text in the database's encoding, from characters that it has.
sub in_server { return encode($perl_encoding{$server_encoding}, $_[0]) }

# A string constant: as it is if the client's encoding has its characters.
sub constant
{
	my ($bytes) = @_;
	my $sent = $bytes;

	if ($server_encoding ne 'SQL_ASCII' && $server_encoding ne $client_encoding)
	{
		my $characters = decode($perl_encoding{$server_encoding}, my $copy = $bytes);
		$sent = eval { encode($perl_encoding{$client_encoding}, $characters, Encode::FB_CROAK) };
	}
	if (defined $sent && chance(0.7))
	{
		$sent =~ s/'/''/g;
		return "'$sent'";
	}
	$bytes =~ s/([^ -&(-\[\]-~])/sprintf '\\x%02x', ord $1/ge;
	return "E'$bytes'";
}

sub text_value { return { sql => constant($_[0]), value => $_[0], long => length $_[0] > 6000 } }
sub number_value { return { sql => abs($_[0]) < 1e9 && chance(0.7) ? $_[0] : "'$_[0]'", value => $_[0] } }
sub null { return { sql => 'NULL', value => undef } }
sub fails { return { sql => $_[1], fails => $_[0] } }
sub bytes_value { return { sql => q{'\x} . unpack('H*', $_[0]) . q{'}, value => $_[0], long => length $_[0] > 3000 } }

# The moments: all but the clock's are far from now.  {rank} is their order.
my @times = map { { text => $_ } } (
	'-infinity', '4714-11-24 00:00:00+00 BC', '0044-03-15 12:00:00+00 BC', '1969-12-31 23:59:59.999999+00',
	'2000-01-01 00:00:00+00', '2000-01-01 00:00:00.000001+00', '2001-02-03 04:05:06+00',
	'2200-01-01 00:00:00+00', '9999-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999999+00', 'infinity');
$times[$_]{rank} = $_ < 7 ? $_ - 1000 : $_ + 1e9 foreach 0 .. $#times;
my $clock = 0;
sub time_value { return { sql => "'$_[0]{text}'", value => $_[0] } }
sub now_value { return { text => 'clock', rank => ++$clock } }

sub array_value
{
	my ($kind, @elements) = @_;
	my $array = 'ARRAY[' . join(',', map { "($_->{sql})" } @elements) . "]::$type{$kind}";
	my ($element) = $type{$kind} =~ /(\w+)/;

	return { sql => "'{}'", value => { dimensions => 0, elements => [] } } if !@elements;
	if (chance(0.4))
	{
		$array = pick("shifted($array, 0)", "shifted($array, -7)", "shifted($array, 2147483500)",
			"expanded($array)", "(NULL::$element || $array)[2:]");    # the last: a bitmap of nulls, but none
	}
	return { sql => $array, value => { dimensions => 1, elements => [ map { $_->{value} } @elements ] },
		long => length $array > 6000 };
}

sub several_dimensions
{
	my ($kind, @elements) = @_;
	my $array = 'ARRAY[' . join(',', map { "($_->{sql})" } @elements) . "]::$type{$kind}";

	return pick(
		{ sql => "ARRAY[$array]", value => { dimensions => 2, elements => [ map { $_->{value} } @elements ] } },
		{ sql => "ARRAY[ARRAY[$array, $array]]", value => { dimensions => 3, elements => [ map { $_->{value} } @elements, @elements ] } });
}

sub random_bytes
{
	my ($length) = @_;
	return join '', map { pack 'N', int rand 2**32 } 1 .. $length / 4 + 1;
}

# JSON of some length, with escapes, that compresses well or not.
sub long_json
{
	my ($length) = @_;
	my $item = in_server("\"tab\\t, quote\\\", \\u00e9, \\ud83d\\ude00, \x{e9}\"");

	return chance(0.5) ? '[' . join(', ', ($item) x ($length / length($item) + 1)) . ']'
	  : '{"x" : "' . unpack('H*', random_bytes($length / 2)) . '"}';
}

my @numbers = (0 .. 9, 0 .. 9, 41, 42, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, '9223372036854775806', '9223372036854775807');
my @bad_numbers = (-1, -2, '-4294967296', '-9223372036854775808', '-9223372036854775807');
my @versions = (1, 1, 2, 2, 3, 0, 4294967295);
my @bad_versions = (-1, 4294967296, 4294967297, '9223372036854775807', '-9223372036854775808', '-4294967295');

# A value that its parameter takes, for row n.
my %good = (
	id => sub { text_value($ids{ $_[0] % 2 }[ $_[0] / 2 % @{ $ids{0} } ]) },
	prefix => sub {
		my $id = pick(map { @$_ } @ids{ 0, 1 });
		text_value(pick('', '', $id, $id, in_server("\x{e9}"), 'o', 'order', '%', '_', 'x' x 1000, 'x' x 3000, 'no such'));
	},
	number => sub { number_value(pick(@numbers)) },
	version => sub { number_value(pick(@versions)) },
	size => sub { number_value(pick(1, 1, 2, 3, 10, 1000, 500000, 2147483647)) },
	json => sub {
		my ($n) = @_;
		text_value($n == 3 ? long_json(1_000_000) : $n % 20 == 5 ? long_json(rand 60_000) : $n % 8 == 2 ? long_json(rand 4000)
			: pick('{}', ' [ ] ', 'null', '1e999999', '"\ud800"', '"\u0000"', '{"a":1, "a" : 2}', "[1,\n2]\t",
				('[' x 1000) . (']' x 1000), in_server("{\"\x{e9}\": \"\x{fc}\"}"), map { '{"n":' . int(rand 1e9) . '}' } 1 .. 10));
	},
	bytea => sub {
		my ($n) = @_;
		bytes_value($n == 4 ? 'z' x 1_000_000 : $n % 20 == 7 ? random_bytes(rand 30_000) : $n % 8 == 1 ? 'y' x rand 9000
			: pick('', "\0", "\0" x 126, 'a' x 127, random_bytes(4), random_bytes(123), random_bytes(500)));
	},
	metadata => sub { chance(0.4) ? null() : text_value(pick('{}', 'null', '{"a": 1}', '[1, "x", null]', '1.50', ' [1 ,"x", null]', '{"b":1, "a" : 2, "b":{"c":3}}', '1e131071',
			'[' . join(', ', 1 .. 700) . ']', ('[' x 300) . (']' x 300), ('[' x 5000) . (']' x 5000), in_server("\"\x{e9}\""), '"\u00e9 \u0001"')) },
	flag => sub { my $flag = chance(0.6) || 0; return { sql => $flag ? pick('true', q{'t'}, q{'on'}) : pick('false', q{'f'}, q{'0'}), value => $flag } },
	# What is passed for an output has no meaning.
	count => sub { number_value(pick(@numbers, @bad_numbers)) },
	time => sub { chance(0.4) ? null() : time_value(pick((@times[1 .. 6]) x 6, @times)) },
	versions => sub {
		my ($n) = @_;
		return { sql => 'ARRAY(SELECT generate_series(1, 12000)::bigint)', value => { dimensions => 1, elements => [ 1 .. 12000 ] }, long => 1 } if $n == 9;
		array_value('versions', map { number_value($_) } @{ pick([], [1], [2], [1, 2], [1, 1, 1], [3, 2, 1], [0, 4294967295], [0, 1, 2, 3, 4294967295]) });
	},
);

# The arrays of row n, all as long as its ids; one of these may come twice.
sub good_arrays
{
	my ($n, $twice) = @_;
	my %array;
	my @shuffled = shuffle(@{ $ids{ $n % 2 } });
	my @ids = $n % 40 == 10 ? map { "many-$_" } 1 .. 60 : @shuffled[ 0 .. pick(-1, 0, 0, 1, 2, 2, 4, 7) ];
	push @ids, $ids[0] if $twice && @ids;
	my @small = grep { $_ % 20 != 5 && $_ % 20 != 7 && $_ > 4 } 0 .. 50;

	$array{ids} = array_value('ids', map { text_value($_) } @ids);
	$array{numbers} = array_value('numbers', map { $good{number}->() } @ids);
	$array{each_version} = array_value('each_version', map { $good{version}->() } @ids);
	$array{bounds} = chance(0.3) ? null() : array_value('bounds', map { chance(0.3) ? null() : $good{number}->() } @ids);
	$array{jsons} = array_value('jsons', map { $good{json}->(pick(@small)) } @ids);
	$array{byteas} = array_value('byteas', map { $good{bytea}->(pick(@small)) } @ids);
	$array{each_metadata} = chance(0.3) ? null() : array_value('each_metadata', map { $good{metadata}->() } @ids);
	$array{times} = chance(0.3) ? null() : array_value('times', map { $good{time}->() } @ids);
	return %array;
}

# A value that its parameter does not take, or hardly.
my %hostile = (
	id => sub { pick(
		null(), text_value(''), text_value('x' x 2001), text_value(in_server("\x{e9}" x 2001)),
		{ sql => q{repeat('x', 1000000)}, value => 'x' x 1_000_000, long => 1 }, fails('54000', 'chr(0)'),
		$server_encoding eq 'UTF8' ? (fails('22021', q{E'\xff'}), fails('22021', q{E'a\xc3'}), fails('22021', q{E'\xed\xa0\x80'})) : ()) },
	prefix => sub { pick(null(), null(), text_value("\\"), text_value("' OR true --"), fails('54000', 'chr(0)')) },
	number => sub { pick(null(), (map { number_value($_) } @bad_numbers), fails('22003', q{'9223372036854775808'}), fails('22P02', q{'1.5'}), fails('22P02', q{''})) },
	version => sub { pick(null(), (map { number_value($_) } @bad_versions), fails('22003', q{'-9223372036854775809'}), fails('22P02', q{'one'})) },
	size => sub { pick(null(), number_value(0), number_value(-1), number_value('-2147483648'), fails('22003', q{'2147483648'})) },
	json => sub { pick(null(), map({ fails('22P02', "'$_'") } '', '{', '[1,]', '{"a":}', 'nul', '1 2', '"\u00g0"', qq("\t"), '[1', 'NaN'),
		fails('54001', q{repeat('[', 100000)::json}), fails('54001', q(repeat('{"a":', 100000)::json))) },
	bytea => sub { pick(null(), null(), fails('22023', q{'\x0'}), fails('22P02', q{'\9'})) },
	metadata => sub { pick(null(), fails('22P02', q('{')), fails('54001', q{repeat('[', 100000)::json}),
		# JSON, and hardly ever jsonb
		map({ text_value($_) } '"\u0000"', '{"\u0000": [1]}', '[1, 1e200000]', '-1e-20000', '"\ud800"', '"\udc00\ud800"', '"\ud83d\ude00"', '"\u20ac"',
			'[' . join(',', ('1e131071') x 8) . ']'),
		{ sql => q{to_json(repeat('x', 1048575))}, value => '"' . 'x' x 1_048_575 . '"', long => 1 }) },
	flag => sub { pick(null(), null(), fails('22P02', q{'maybe'})) },
	count => sub { pick(null(), fails('22003', q{'9223372036854775808'}), fails('22P02', q{'1.5'})) },
	time => sub { pick(null(), fails('22008', q{'294277-01-01 00:00+00'}), fails('22008', q{'4715-01-01 00:00+00 BC'}), fails('22007', q{'some day'})) },
	versions => sub { pick(null(), array_value('versions', null()), array_value('versions', number_value(1), null(), number_value(2)),
		(map { array_value('versions', number_value(1), number_value($_)) } @bad_versions),
		several_dimensions('versions', number_value(1), number_value(2)), several_dimensions('versions', number_value(-1), null()),
		fails('22P02', q{'{1,x}'}), fails('22P02', q('{1')), fails('22P02', q{'[1:3]={1}'}), fails('22003', q{'{9223372036854775808}'}), fails('54000', q{'{{{{{{{1}}}}}}}'})) },
);
my %element = (ids => 'id', numbers => 'number', each_version => 'version', bounds => 'number', jsons => 'json', byteas => 'bytea', each_metadata => 'metadata', times => 'time');

sub hostile_array
{
	my ($kind) = @_;
	my @elements = map { $good{ $element{$kind} }->(20 + int rand 4) } 0 .. pick(0, 1, 2, 2, 4);

	return null() if chance(0.1);
	return fails('22P02', q('{')) if chance(0.05);
	return several_dimensions($kind, @elements) if chance(0.25);
	return { sql => q{ARRAY(SELECT 'none-' || n FROM generate_series(1, 10001) n)}, value => { dimensions => 1, elements => [ map { "none-$_" } 1 .. 10001 ] }, long => 1 }
	  if $kind eq 'ids' && chance(0.04);
	if (chance(0.6))
	{
		my $bad = $hostile{ $element{$kind} }->();
		$elements[ rand @elements ] = $bad;
		return fails($bad->{fails}, 'ARRAY[' . join(',', map { "($_->{sql})" } @elements) . "]::$type{$kind}") if $bad->{fails};
	}
	push @elements, $elements[0] if chance(0.3);
	return array_value($kind, @elements);
}

sub fill_pool
{
	my $odd = $server_encoding eq 'SQL_ASCII' ? "\xff\xfe\x80" : in_server("\x{ff}\x{fe}\x{a0}");
	my $wide = $server_encoding eq 'UTF8' ? "\x{1f600}" : "\x{e9}";
	my @all = ('a', 'A', 'a ', ' a', 'order', 'order-', 'order-1', 'order-10', 'order-2', 'ORDER-1', '%', '_', '\\', '\\x00', q{'}, q{''; --}, '"', '{', 'NULL', "\n", "a\tb",
		"\x01", "\x7f", '$1', '?', 'x' x 1999, 'x' x 2000, 'y' x 126, 'y' x 127, 'ss', in_server("\x{df}"), in_server("\x{e9}"), in_server("e\x{b4}"),
		in_server("\x{e9}" x 1000), in_server($wide), in_server($wide x 3), $odd, "${odd}a", 'z', 'zz');

	@ids{ 0, 1 } = ([], []);
	push @{ $ids{ $_ % 2 } }, $all[$_] foreach 0 .. $#all;
	%pool = ();
	foreach my $n (0 .. ROWS - 1)
	{
		my $twice = $n % 8 == 0 && $n >= GOOD_ROWS;
		my %value = (good_arrays($n, $twice), map { $_ => $good{$_}->($n) } sort keys %good);
		if ($n >= GOOD_ROWS)
		{
			chance(0.6) and $value{$_} = $hostile{$_}->() foreach sort keys %hostile;
			!$twice && chance(0.6) and $value{$_} = hostile_array($_) foreach sort grep { $_ ne 'versions' } keys %element;
		}
		$pool{$_}[$n] = $value{$_} foreach @kinds;
	}
}

# ---- the model --------------------------------------------------------------------------

my %store;       # by stream, its rows: {slot} {version} {number} {time} {state} {is_bytea} {metadata}
my %setting;

sub bytewise { return sort { $a cmp $b } @_ }

# The newest first: by sequence number, then by what else the caller says.
sub newest_first
{
	my ($then, @rows) = @_;
	return sort { $b->{number} <=> $a->{number} || ($then ? $b->{$then} <=> $a->{$then} : 0)
		|| $b->{time}{rank} <=> $a->{time}{rank} || $b->{slot} <=> $a->{slot} } @rows;
}

# Newest $keep of each version, then the $keep_versions most recently saved
# versions; false if the new one is not among them, or would take the place of one that is
# not to be replaced.
sub model_save
{
	my ($stream, $new, $replace) = @_;
	my ($keep, $keep_versions) = @setting{qw(keep keep_versions)};
	my $own = $new->{version};
	my %of;      # by version, its snapshots, newest first
	my %last;    # by version, when it was last saved
	my %used;
	my @rows = @{ $store{$stream} // [] };
	my @stay = grep { $_->{version} != $own || $_->{number} != $new->{number} } @rows;

	return 0 if !$replace && @stay < @rows;
	push @{ $of{ $_->{version} } }, $_ foreach @stay;
	push @{ $of{$own} }, $new;
	foreach my $version (keys %of)
	{
		my @newest = newest_first(undef, @{ $of{$version} });
		splice @newest, $keep if @newest > $keep;
		$of{$version} = \@newest;
		($last{$version}) = sort { $b->{time}{rank} <=> $a->{time}{rank} || $b->{slot} <=> $a->{slot} } @newest;
	}
	return 0 if !grep { $_ == $new } @{ $of{$own} };

	my @others = sort { $last{$b}{time}{rank} <=> $last{$a}{time}{rank} || $last{$b}{slot} <=> $last{$a}{slot} } grep { $_ != $own } keys %of;
	splice @others, $keep_versions - 1 if @others > $keep_versions - 1;

	# The lowest free slot is the new one's; what lies too high moves below, the lowest first.
	@stay = map { { %$_ } } grep { $_ != $new } map { @{ $of{$_} } } @others, $own;
	$used{ $_->{slot} } = 1 foreach @stay;
	foreach my $row ($new, sort { $a->{slot} <=> $b->{slot} } grep { $_->{slot} >= $keep * $keep_versions } @stay)
	{
		($row->{slot}) = grep { !$used{$_} } 0 .. $keep * $keep_versions;
		$used{ $row->{slot} } = 1;
	}
	$store{$stream} = [ @stay, $new ];
	return 1;
}

sub within
{
	my ($row, $max_number, $max_time, $min_number, $min_time) = @_;
	return !(defined $max_number && $row->{number} > $max_number || defined $max_time && $row->{time}{rank} > $max_time->{rank}
		|| defined $min_number && $row->{number} < $min_number || defined $min_time && $row->{time}{rank} < $min_time->{rank});
}

sub recognized
{
	my ($versions) = @_;
	return map { $_ => 1 } @{ $versions->{elements} };
}

sub model_load
{
	my ($stream, $versions, $max_number, $max_time) = @_;
	my %recognized = recognized($versions);
	my ($found) = newest_first('version', grep { $recognized{ $_->{version} } && within($_, $max_number, $max_time) } @{ $store{$stream} // [] });
	return $found;
}

sub should_take
{
	my ($events, $last, $interval) = @_;
	return $interval > 0 && $events > $last && $events - $last >= $interval ? 'true' : 'false';
}

sub with_prefix
{
	my ($prefix) = @_;
	return grep { substr($_, 0, length $prefix) eq $prefix } bytewise(keys %store);
}

# Keep of each stream what the caller says; how many rows went.
sub model_delete
{
	my ($stays, @streams) = @_;
	my $deleted = 0;
	foreach my $stream (@streams)
	{
		my @rows = @{ $store{$stream} // [] };
		my @stay = grep { $stays->() } @rows;
		$deleted += @rows - @stay;
		if (@stay) { $store{$stream} = \@stay } else { delete $store{$stream} }
	}
	return $deleted;
}

# What becomes of metadata, as the server says of a cast: {md5}, {size} and {text_size} as jsonb,
# or the {error}.
my %as_jsonb;

sub told_row
{
	my ($row) = @_;
	return join '|', $row->{number}, $row->{version}, $row->{state}, $row->{metadata} // (), $row->{time}{text};
}

sub new_row
{
	my ($function, $number, $version, $state, $metadata, $time) = @_;
	return { slot => 0, version => $version, number => $number, time => $time, state => md5_hex($state), metadata => $as_jsonb{ $metadata // '' }{md5}, is_bytea => $function->{is_bytea} };
}

# What an error that names a stream or not looks like in an answer.
sub error
{
	my ($sqlstate, $message) = @_;
	return "E$sqlstate " . ($message =~ /[^\x01-\x7f]/ ? md5_hex($message) : $message);
}

sub wrong_kind
{
	my ($function, $stream, $row) = @_;
	return $row->{is_bytea} != $function->{is_bytea}
	  ? error('42804', "the snapshot of stream \"$stream\" holds its state as " . ($row->{is_bytea} ? 'bytea' : 'json')) : ();
}

# The errors that one value calls for, by its kind.
my %check = (
	id => sub {
		return $_[1] eq '' ? error('22023', 'stream_id must not be empty') : length $_[1] > 2000 ? error('54000', 'stream_id is too long') : ();
	},
	number => sub { return $_[1] < 0 ? error('22003', "$_[0] must not be negative") : () },
	version => sub { return $_[1] < 0 || $_[1] > 4294967295 ? error('22003', "$_[0] is out of range") : () },
	size => sub {
		return $_[1] < 1 ? error('22023', "$_[0] must be at least 1")
		  : $_[0] eq 'batch_size' && $_[1] > 500000 ? error('22023', 'batch_size must be at most 500000') : ();
	},
	metadata => sub {
		my $jsonb = $as_jsonb{ $_[1] };
		return $jsonb->{error} // ($jsonb->{text_size} > 1_048_576 ? error('54000', 'metadata is too large') : ());
	},
	time => sub {
		return $_[0] ne 'created_at' ? () : $_[1]{text} =~ /infinity/ ? error('22008', 'created_at must be finite')
		  : $_[1]{rank} > 1e9 ? error('22008', "created_at is more than a day ahead of the server's clock") : ();
	},
);
$element{versions} = 'version';

# All errors that the arguments call for; which of them is reported is nobody's promise.
sub argument_errors
{
	my ($name, @values) = @_;
	my @errors;
	my $streams;

	if ($name eq 'purge')
	{
		my (undef, $versions, @times) = @values[ 0 .. 3 ];
		push @errors, error('22023', 'recognized_schema_versions must not be empty') if $versions && !@{ $versions->{elements} };
		push @errors, error('22023', 'snapshot_purge() needs a criterion') if !grep { defined } $versions, @times;
		push @errors, error('2D000', 'snapshot_purge() cannot be called inside a transaction block or a function') if $setting{in_function};
	}
	if ($name =~ /save/ && $setting{max_state_size})
	{
		my ($states, $metadata) = map { ref $_ ? $_->{elements} : [ $_ ] } @values[ 3, 4 ];
		push @errors, error('54000', 'state is too large')
		  if grep { length($states->[$_] // '') + ($as_jsonb{ $metadata->[$_] // '' }{size} // 0) > $setting{max_state_size} } 0 .. $#$states;
	}
	foreach my $parameter (@{ $functions{$name}{parameters} })
	{
		my ($parameter_name, $kind) = @$parameter{qw(name kind)};
		my $value = shift @values;
		my $element = $element{$kind};

		if (!defined $value)
		{
			push @errors, error('22004', "$parameter_name must not be null") if !$parameter->{optional};
			next;
		}
		if (!$element)
		{
			push @errors, $check{$kind}->($parameter_name, $value) if $check{$kind};
			next;
		}
		my $elements = $value->{elements};
		my @given = grep { defined } @$elements;
		$streams = @$elements if $kind eq 'ids';
		push @errors, error('2202E', "$parameter_name must be a one-dimensional array") if $value->{dimensions} > 1;
		push @errors, error('2202E', "$parameter_name must have as many elements as stream_ids")
		  if defined $streams && $kind ne 'versions' && $streams != @$elements;
		push @errors, error('22004', "$parameter_name must not contain nulls")
		  if @given < @$elements && ($kind eq 'versions' || !$parameter->{optional});
		push @errors, map { $check{$element}->($parameter_name, $_) } @given if $check{$element};
		if ($kind eq 'ids' && $name =~ /save/)
		{
			my %times;
			push @errors, map { error('21000', "stream \"$_\" occurs more than once in a batch") } grep { $times{$_}++ == 1 } @given;
		}
	}
	return @errors;
}

# The answer to a call with valid arguments, or (undef, the errors that it may have).
sub model_answer
{
	my ($name, @values) = @_;
	my $function = $functions{$name};

	return (undef, error('25006', "cannot execute snapshot_$name() in a read-only transaction"))
	  if $setting{read_only} && ($name =~ /delete|purge/ || $name =~ /save/ && $setting{enabled});
	if ($name =~ /^save_many/)
	{
		my $replace = pop @values;
		my ($streams, @rest) = map { defined $_ ? $_->{elements} : undef } @values;
		my $now = now_value();
		my @stored;
		foreach my $i (0 .. $#$streams)
		{
			my ($number, $version, $state, $metadata, $time) = map { defined $_ ? $_->[$i] : undef } @rest;
			my $stored = $setting{enabled} && model_save($streams->[$i], new_row($function, $number, $version, $state, $metadata, $time // $now), $replace);
			push @stored, md5_hex($streams->[$i]) . ($stored ? '|t' : '|f');
		}
		return join ';', @stored;
	}
	if ($name =~ /^save/)
	{
		my ($stream, @rest) = @values;
		my $replace = pop @rest;
		$rest[4] //= now_value();
		return $setting{enabled} && model_save($stream, new_row($function, @rest), $replace) ? 'true' : 'false';
	}
	if ($name =~ /^load_many/)
	{
		my ($streams, $versions, $bounds) = @values;
		my (%seen, @rows, @errors);
		return '' if !$setting{enabled};
		foreach my $i (0 .. $#{ $streams->{elements} })
		{
			my $stream = $streams->{elements}[$i];
			next if $seen{$stream}++;
			my $row = model_load($stream, $versions, $bounds ? $bounds->{elements}[$i] : undef) or next;
			push @errors, wrong_kind($function, $stream, $row);
			push @rows, md5_hex($stream) . '|' . told_row($row);
		}
		return @errors ? (undef, @errors) : join ';', @rows;
	}
	if ($name =~ /^load/)
	{
		my $row = $setting{enabled} ? model_load(@values) : undef;
		return '' if !$row;
		my @errors = wrong_kind($function, $values[0], $row);
		return @errors ? (undef, @errors) : told_row($row);
	}
	if ($name eq 'info')
	{
		return join ';', map { "$_->{number}|$_->{version}|t|$_->{time}{text}" } newest_first('version', @{ $store{ $values[0] } // [] });
	}
	if ($name eq 'should_take')
	{
		return should_take($values[0], $values[1] // 0, $values[2]);
	}
	if ($name eq 'due')
	{
		my ($stream, $versions, $events, $interval) = @values;
		my $row = model_load($stream, $versions);
		return $setting{enabled} ? should_take($events, $row ? $row->{number} : 0, $interval) : 'false';
	}
	if ($name eq 'delete')
	{
		my ($stream, @bounds) = @values;
		return model_delete(sub { !within($_, @bounds) }, $stream);
	}
	if ($name eq 'census')
	{
		my (%snapshots, %streams);
		foreach my $stream (with_prefix($values[0]))
		{
			$snapshots{ $_->{version} }++ foreach @{ $store{$stream} };
			$streams{ $_->{version} }{$stream} = 1 foreach @{ $store{$stream} };
		}
		return join ';', map { "$_|$snapshots{$_}|" . keys %{ $streams{$_} } } sort { $a <=> $b } keys %snapshots;
	}
	if ($name eq 'outdated')
	{
		my ($prefix, $versions, $max, $after) = @values;
		my %recognized = recognized($versions);
		my @streams = grep { !grep { $recognized{ $_->{version} } } @{ $store{$_} } } grep { !defined $after || $_ gt $after } with_prefix($prefix);
		splice @streams, $max if @streams > $max;
		return join ';', map { md5_hex($_) } @streams;
	}
	if ($name eq 'purge')
	{
		my ($prefix, $versions, $min_time, $max_time) = @values;
		my %recognized = $versions ? recognized($versions) : ();
		return model_delete(sub { $recognized{ $_->{version} } || !within($_, undef, $max_time, undef, $min_time) }, with_prefix($prefix));
	}
}

# ---- the calls --------------------------------------------------------------------------

my ($dbh, $name_of_database);
my %counted;     # {function}{'ok' or SQLSTATE}
my %forms;
my $made = 0;
my @tables = qw(external extended lz4 main plain);

# A call as an expression that tells all of its answer in one text.
sub call
{
	my ($name, $arguments, $place) = @_;
	my $told = $functions{$name}{told};
	my $call = "snapshot_$name($arguments)";

	return "CALL $call" if $name eq 'purge';
	return $place eq 'list' ? "$call\::text" : "(SELECT r::text FROM $call AS r)" if !$told;
	return $place eq 'list' ? "(SELECT string_agg($told, ';') FROM (SELECT $call AS r) AS rows)" : "(SELECT string_agg($told, ';') FROM $call AS r)";
}

# One of the ways to pass value n of a kind.
sub passed
{
	my ($kind, $n, $subqueries) = @_;
	my $value = $pool{$kind}[$n];
	my $type = $type{$kind};
	my $way = rand;

	if ($value->{fails} || $way < 0.55 && !$value->{long})
	{
		my $domain = 'some_' . $type =~ s/\[\]/s/r;
		return $way < 0.1 && !$value->{fails} ? "($value->{sql})::$domain" : $value->{sql};
	}
	return "(pooled($n)).$kind" if !$subqueries || $way > 0.95;
	return "(SELECT (c).$kind FROM pool_composite WHERE n = $n)" if $way > 0.9;
	my $table = pick(grep { $in_table[$_][$n] } 0 .. $#tables);
	my $column = "(SELECT $kind FROM pool_$tables[$table] WHERE n = $n)";
	return $type =~ /\[\]/ && $way > 0.8 ? "expanded($column)" : $column;
}

sub draw_arguments
{
	my ($name) = @_;
	my $function = $functions{$name};
	my $good = chance(0.65);
	my $parity = $function->{is_bytea};
	my $row = $good ? int(rand GOOD_ROWS / 2) * 2 + $parity : GOOD_ROWS + int rand(ROWS - GOOD_ROWS);
	my $one_row = $function->{is_many} && ($good || chance(0.5));
	my @drawn;

	foreach my $parameter (@{ $function->{parameters} })
	{
		my $n = $one_row ? $row : int rand($good ? GOOD_ROWS : ROWS);
		$n = ($n & ~1) | $parity if $parameter->{kind} eq 'id' && $name =~ /save|load/ && chance(0.95);
		push @drawn, ($parameter->{optional} || $parameter->{default}) && chance(0.4) ? undef : $n;
	}
	return @drawn;
}

# One call: the SQL, and what may come of it, by the model.
sub single_call
{
	my ($name) = @_;
	my $function = $functions{$name};
	my @parameters = @{ $function->{parameters} };
	my @drawn = draw_arguments($name);
	my $form = $name eq 'purge' ? pick('call', $setting{in_function} ? () : 'do') : pick(qw(list list from from lateral prepared plpgsql cursor));
	$drawn[-1] = undef if $form eq 'do';    # a variable stands there
	my $subqueries = $form !~ /prepared|call|do/;
	my @sql = map { defined $drawn[$_] ? passed($parameters[$_]{kind}, $drawn[$_], $subqueries) : $parameters[$_]{default} ? 'true' : 'NULL' } 0 .. $#parameters;
	my @values = map { defined $drawn[$_] ? $pool{ $parameters[$_]{kind} }[ $drawn[$_] ] : { value => $parameters[$_]{default} || undef } } 0 .. $#parameters;
	my @cast_errors = map { $_->{fails} ? "E$_->{fails}" : () } @values;
	my $sql;

	if ($form eq 'lateral')
	{
		my $columns = join ', ', map { "a$_" } 0 .. $#sql;
		my $row = join ', ', map { "($sql[$_])::$type{ $parameters[$_]{kind} }" } 0 .. $#sql;
		$sql = "SELECT answer FROM (VALUES ($row)) AS a ($columns), LATERAL (SELECT " . call($name, $columns, pick(qw(list from))) . ' AS answer) AS r';
	}
	elsif ($form eq 'prepared')
	{
		$sql = "EXECUTE prepared_$name(" . join(', ', @sql) . ')';
	}
	elsif ($form eq 'plpgsql' || $form eq 'cursor')
	{
		$sql = "SELECT ${form}_$name(" . join(', ', @sql) . ')';
	}
	elsif ($form eq 'do')
	{
		$sql[-1] = 'n';
		$sql = 'DO $do$ DECLARE n bigint; BEGIN ' . call($name, join(', ', @sql), $form) . q{; PERFORM set_config('hostile.deleted', n::text, false); END $do$};
	}
	else
	{
		my $arguments = join ', ', @sql;
		if (!defined $drawn[-1] && ($parameters[-1]{optional} || $parameters[-1]{default}) && chance(0.8))
		{
			$arguments = join ', ', chance(0.3) ? @sql[ 0 .. $#sql - 1 ] : map { "$parameters[$_]{name} => $sql[$_]" } shuffle(0 .. $#sql - 1);
		}
		$sql = ($form eq 'call' ? '' : 'SELECT ') . call($name, $arguments, $form);
	}

	my @may = @cast_errors;
	@may = argument_errors($name, map { $_->{value} } @values) if !@may;
	if (!@may)
	{
		my ($answer, @errors) = model_answer($name, map { $_->{value} } @values);
		@may = defined $answer ? $answer : @errors;
	}
	return { sql => $sql, may => \@may, name => $name, form => $form };
}

# One statement that calls a function for each of some good rows of two tables.
sub call_for_each_row
{
	my ($name) = @_;
	my $function = $functions{$name};
	my ($from, $k, $parity) = (int rand GOOD_ROWS - 40, int rand GOOD_ROWS, $function->{is_bytea});
	my $to = $from + int rand 50;
	my ($p, $q) = (int rand @tables, int rand @tables);
	my $composite = chance(0.1);
	my @from_q;      # for each parameter: from the second table, or NULL
	my @sql;
	my $arguments;
	my $may;
	my @answers;
	my %before = %store;

	foreach my $parameter (@{ $function->{parameters} })
	{
		my $is_null = $parameter->{optional} && chance(0.4);
		my $second = !$function->{is_many} && $parameter != $function->{parameters}[0];
		push @from_q, $is_null ? undef : $second;
		push @sql, $is_null ? 'NULL' : $second ? "q.$parameter->{kind}" : $composite ? "(p.c).$parameter->{kind}" : "p.$parameter->{kind}";
	}
	my $first = $composite ? 'composite' : $tables[$p];
	my $sql = "SELECT string_agg(coalesce(" . call($name, join(', ', @sql), pick(qw(list from))) . q{, ''), E'\n')}
	  . " FROM (SELECT * FROM pool_$first WHERE n BETWEEN $from AND $to AND n % 2 = $parity ORDER BY n) AS p,"
	  . " LATERAL (SELECT * FROM pool_$tables[$q] WHERE n = (p.n + $k) % ${\GOOD_ROWS} OFFSET 0) AS q";

	foreach my $n (grep { $_ % 2 == $parity } $from .. min($to, ROWS - 1))
	{
		my $m = ($n + $k) % GOOD_ROWS;
		next if !$in_table[ $composite ? 1 : $p ][$n] || !$in_table[$q][$m];
		my @values = map { defined $from_q[$_] ? $pool{ $function->{parameters}[$_]{kind} }[ $from_q[$_] ? $m : $n ]{value} : undef } 0 .. $#from_q;
		my @errors = argument_errors($name, @values);
		my $answer;
		($answer, @errors) = model_answer($name, @values) if !@errors;
		push @answers, $answer // '';
		if (@errors)
		{
			%store = %before;
			return { sql => $sql, may => \@errors, name => $name, calls => scalar @answers, form => 'for each row' };
		}
	}
	return if !@answers;
	return { sql => $sql, may => [ join "\n", @answers ], name => $name, calls => scalar @answers, form => 'for each row' };
}

# The session's settings for the next batch, and the model's.
sub change_settings
{
	my ($keep, $keep_versions) = @{ pick(([1, 1]) x 3, [2, 1], [1, 2], [3, 2], [2, 3], chance(0.1) ? [100, 100] : [1, 1]) };
	%setting = (keep => $keep, keep_versions => $keep_versions, enabled => !chance(0.04), read_only => chance(0.04),
		max_state_size => chance(0.06) ? 1000 : 0);
	my %sql = (
		'snapshot_store.keep' => $keep, 'snapshot_store.keep_versions' => $keep_versions,
		'snapshot_store.enabled' => $setting{enabled} ? 'on' : 'off', 'snapshot_store.max_state_size' => $setting{max_state_size},
		'snapshot_store.access_path' => pick(qw(auto sql)), 'snapshot_store.durable' => chance(0.8) ? 'on' : 'off',
		default_transaction_read_only => $setting{read_only} ? 'on' : 'off',
		default_transaction_isolation => pick(("'read committed'") x 6, "'repeatable read'", 'serializable'),
		plan_cache_mode => pick(('auto') x 3, ('force_generic_plan') x 3, 'force_custom_plan'), work_mem => pick("'64kB'", "'4MB'"));
	$setting{sql} = join '; ', map { "SET $_ = $sql{$_}" } sort keys %sql;
	$dbh->do($setting{sql});
}

# Compares; returns what is wrong, or undef.
sub compare
{
	my ($call, $answer, $state_only) = @_;
	my $outcome = $answer =~ /^E(\w{5})(?: |$)/ ? $1 : 'ok';
	my @may = @{ $call->{may} };
	my $calls = $call->{calls} // 1;

	$counted{ $call->{name} }{$outcome}++;
	$counted{ $call->{name} }{ok} += $calls - 1 if $calls > 1;
	$forms{ $call->{form} } += $calls;
	$made += $calls;
	return if grep { $_ eq $answer || length $_ == 6 && $outcome eq substr($_, 1) || $state_only && $outcome ne 'ok' && $outcome eq substr($_, 1, 5) } @may;
	my $text = join "\n", "after: $setting{sql}", 'call: ' . substr($call->{sql}, 0, 5000), 'answer: ' . substr($answer, 0, 5000),
	  map { 'model: ' . substr($_, 0, 5000) } @may;
	return $text;
}

# The table, row by row, as the model and the server see it.
sub compare_tables
{
	my @rows;
	foreach my $stream (bytewise(keys %store))
	{
		push @rows, map { join '|', md5_hex($stream), $_->{slot}, $_->{version}, $_->{number}, $_->{time}{text},
			$_->{is_bytea} ? ('', $_->{state}) : ($_->{state}, ''), $_->{metadata} // '' }
		  sort { $a->{slot} <=> $b->{slot} } @{ $store{$stream} };
	}
	my ($table) = $dbh->selectrow_array(q{SELECT coalesce(string_agg(format('%s|%s|%s|%s|%s|%s|%s|%s', md5(stream_id), slot, state_schema_version,
			sequence_number, tell(created_at), md5(state::text), md5(state_bytea), md5(metadata::text)), E'\n' ORDER BY stream_id, slot), '')
		FROM snapshot_store});
	my $model = join "\n", @rows;
	return if $table eq $model;
	my %in_model = map { $_ => 1 } @rows;
	my %in_table = map { $_ => 1 } split /\n/, $table;
	return join "\n", "after: $setting{sql}", (map { "only in the table: $_" } grep { !$in_model{$_} } sort keys %in_table),
	  (map { "only in the model: $_" } grep { !$in_table{$_} } sort keys %in_model);
}

# Many statements in one transaction, each in a subtransaction; sometimes taken back.
sub batch
{
	my %before = %store;
	my @calls;
	my $wrong;

	$setting{in_function} = 1;
	foreach (1 .. 250)
	{
		my $name = pick(@draw);
		my $call = chance(0.2) && $name ne 'purge' ? call_for_each_row($name) : single_call($name);
		push @calls, $call if $call;
	}
	$dbh->begin_work;
	my ($answers) = $dbh->selectrow_array('SELECT try($1)', undef, [ map { $_->{sql} } @calls ]);
	foreach my $i (0 .. $#calls)
	{
		$wrong = compare($calls[$i], $answers->[$i]);
		return $wrong if $wrong;
	}
	if (chance(0.05))
	{
		$dbh->rollback;
		%store = %before;
	}
	else
	{
		$dbh->commit;
	}
	return compare_tables();
}

# Each statement in a transaction of its own.
sub statements
{
	$setting{in_function} = 0;
	foreach (1 .. 40)
	{
		my $call = single_call(pick(@draw, ('purge') x 40));
		my $notice = '';
		local $SIG{__WARN__} = sub { $notice .= $_[0] };
		my $answer = eval {
			$dbh->do($call->{sql}) if $call->{form} eq 'do';
			($dbh->selectrow_array($call->{form} eq 'do' ? q{SELECT current_setting('hostile.deleted')} : $call->{sql}))[0];
		};
		$answer = $@ ? 'E' . $dbh->state : $answer // '';
		$answer .= ", but: $notice" if $call->{name} eq 'purge' && !$@ && $notice !~ /snapshot_purge\(\) has deleted $answer snapshot/;
		# A message that names a stream whose name the client's encoding lacks is lost on the way.
		push @{ $call->{may} }, 'E22P05' if $client_encoding ne $server_encoding && grep { /^E\w{5} [0-9a-f]{32}$/ } @{ $call->{may} };
		my $wrong = compare($call, $answer, 1);
		return $wrong if $wrong;
	}
	return compare_tables();
}

# Ten thousand and more streams at once, there and away again.
sub huge_arrays
{
	my $answer = join ' ', map { $dbh->selectrow_array($_) }
	  q{SELECT bool_and(stored) FROM snapshot_save_many(ARRAY(SELECT 'huge-' || n FROM generate_series(12000, 1, -1) n),
			array_fill(7::bigint, ARRAY[12000]), array_fill(1::bigint, ARRAY[12000], ARRAY[-5]), array_fill('{}'::json, ARRAY[12000]))},
	  q{SELECT count(DISTINCT stream_id) FROM snapshot_load_many(ARRAY(SELECT 'huge-' || (n % 12000 + 1) FROM generate_series(1, 24000) n), '{1}')},
	  q{SELECT streams FROM snapshot_census('huge-')}, q{SELECT count(*) FROM snapshot_outdated('huge-', '{2}', 100000)};
	local $SIG{__WARN__} = sub { $answer .= $_[0] =~ s/\D+/ /gr };
	$answer .= $dbh->selectrow_array(q{CALL snapshot_purge('huge-', '{2}')});
	$counted{$_}{ok}++ foreach qw(save_many load_many census outdated purge);
	$made += 5;
	return $answer =~ /^1 12000 12000 12000 12000 12000$/ ? undef : "huge arrays: $answer";
}

# What the model knows nothing of, since it changes nothing.
my $repacked = 0;

sub pack_states
{
	my $prefix = pick(q{''}, q{''}, map { $_->{sql} } @{ $pool{prefix} }[ 0 .. GOOD_ROWS - 1 ]);
	my @steps = (
		[ 0.1, 'column', q{ALTER TABLE snapshot_store ALTER state TYPE } . pick('json', ('snapshot_state') x 4) ],
		[ 0.2, 'retire', 'SELECT snapshot_dictionary_retire(number) FROM snapshot_dictionaries() WHERE active ORDER BY random() LIMIT 1' ],
		[ 0.5, 'train', "SELECT number FROM snapshot_dictionary_train($prefix, max_size => 4096, min_samples => 2)" ],
		[ 0.5, 'repack', "CALL snapshot_repack($prefix, " . pick(1, 7, 1000) . ')' ]);

	local $SIG{__WARN__} = sub { };
	foreach my $step (grep { chance($_->[0]) } @steps)
	{
		my (undef, $what, $statement) = @$step;

		# Too few states are no dictionary, and json is not packed.
		my ($done) = eval { $statement =~ /^ALTER/ ? $dbh->do($statement) : $dbh->selectrow_array($statement) };
		die "$statement: $@" if $@ && $dbh->state ne '55000';
		$counted{"dictionary, $what"}{ $@ ? 'E55000' : 'ok' }++;
		$repacked += $done // 0 if $what eq 'repack';
	}
	return compare_tables();
}

# ---- a database -------------------------------------------------------------------------

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
log_statement = none
log_min_error_statement = panic
log_min_messages = log
restart_after_crash = off
fsync = off
jit = off
});
$node->start;

sub measure_metadata
{
	my @metadata = map { !defined $_->{value} ? () : ref $_->{value} ? @{ $_->{value}{elements} } : $_->{value} } @{ $pool{metadata} }, @{ $pool{each_metadata} };

	%as_jsonb = ();
	foreach my $json (grep { defined } @metadata)
	{
		$as_jsonb{$json} //= eval {
			$dbh->selectrow_hashref(q{SELECT md5(j::text), pg_column_size(j) - 4 AS size, octet_length(j::text) AS text_size
				FROM (SELECT convert_from(decode($1, 'hex'), getdatabaseencoding()::name)::json::jsonb) AS c (j)}, undef, unpack 'H*', $json);
		} // { error => error($dbh->state, $dbh->errstr =~ /ERROR:  (.*)/) };
	}
	return;
}

sub set_up
{
	my ($options) = @_;
	my $began = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	$node->safe_psql('postgres', "CREATE DATABASE $name_of_database TEMPLATE template0 ENCODING '$server_encoding' $options");
	$dbh = DBI->connect('dbi:Pg:' . $node->connstr($name_of_database), undef, undef,
		{ RaiseError => 1, PrintError => 0, AutoInactiveDestroy => 1, pg_enable_utf8 => 0, pg_server_prepare => 0 });
	$dbh->{pg_placeholder_dollaronly} = 1;
	$dbh->do("SET client_encoding = $client_encoding; SET timezone = 'UTC'; SET client_min_messages = warning");
	measure_metadata();
	$dbh->do(qq{CREATE EXTENSION snapshot_store; LOAD 'snapshot_store';
		CREATE FUNCTION tell(timestamptz) RETURNS text LANGUAGE sql
			RETURN CASE WHEN \$1 BETWEEN timestamptz '$began' AND clock_timestamp() THEN 'clock' ELSE \$1::text END;
		CREATE FUNCTION expanded(a anyarray) RETURNS anyarray LANGUAGE plpgsql AS
			'DECLARE r a%TYPE := a; BEGIN RETURN r; END';
		CREATE FUNCTION shifted(a anyarray, first int) RETURNS anyarray LANGUAGE plpgsql AS
			'DECLARE r a%TYPE; BEGIN FOR i IN 1 .. cardinality(a) LOOP r[first + i - 1] := a[i]; END LOOP; RETURN r; END';
		CREATE FUNCTION try(calls text[]) RETURNS text[] LANGUAGE plpgsql AS \$\$
		DECLARE answers text[]; answer text;
		BEGIN
			FOR i IN 1 .. cardinality(calls) LOOP
				BEGIN
					EXECUTE calls[i] INTO answer;
					answers[i] := coalesce(answer, '');
				EXCEPTION WHEN OTHERS THEN
					answers[i] := 'E' || SQLSTATE || ' ' || CASE WHEN SQLERRM ~ '[^\\x01-\\x7f]' THEN md5(SQLERRM) ELSE SQLERRM END;
				END;
			END LOOP;
			RETURN answers;
		END \$\$});

	# The pool, in tables that store it in each of the ways.
	my %types = map { $_ => 1 } values %type;
	$dbh->do("CREATE DOMAIN some_" . s/\[\]/s/r . " AS $_") foreach sort keys %types;
	my ($lz4) = $dbh->selectrow_array(q{SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'});
	my @varlena = grep { $type{$_} !~ /^(bigint|integer|timestamptz|boolean)$/ } @kinds;
	foreach my $table (@tables)
	{
		my $storage = $table eq 'lz4' ? 'extended' : $table;
		$dbh->do("CREATE TABLE pool_$table (n int PRIMARY KEY, " . join(', ', map { "$_ $type{$_}" } @kinds) . ') WITH (toast_tuple_target = 128);'
			. "ALTER TABLE pool_$table " . join ', ', map({ "ALTER $_ SET STORAGE $storage" } @varlena),
			$table eq 'lz4' && $lz4 ? map({ "ALTER $_ SET COMPRESSION lz4" } @varlena) : ());
		next if $table ne 'external';
		foreach my $n (0 .. ROWS - 1)
		{
			my @there = grep { !$pool{$_}[$n]{fails} } @kinds;
			$dbh->do("INSERT INTO pool_external (" . join(', ', 'n', @there) . ') VALUES (' . join(', ', $n, map { $pool{$_}[$n]{sql} } @there) . ')');
		}
	}
	$dbh->do("INSERT INTO pool_$_ SELECT * FROM pool_external") foreach qw(extended lz4 main);
	$dbh->do(q{DO $$ BEGIN FOR i IN 0 .. 1000 LOOP
			BEGIN INSERT INTO pool_plain SELECT * FROM pool_external WHERE n = i; EXCEPTION WHEN program_limit_exceeded THEN NULL; END;
		END LOOP; END $$;
		CREATE TABLE pool_composite AS SELECT n, p AS c FROM pool_extended p;
		ALTER TABLE pool_composite ADD PRIMARY KEY (n);
		CREATE FUNCTION pooled(int) RETURNS pool_lz4 STABLE LANGUAGE sql AS 'SELECT * FROM pool_lz4 WHERE n = $1';
		ANALYZE});
	@in_table = ();
	foreach my $i (0 .. $#tables)
	{
		$in_table[$i][ $_->[0] ] = 1 foreach @{ $dbh->selectall_arrayref("SELECT n FROM pool_$tables[$i]") };
	}

	# The calls that are kept.
	foreach my $name (grep { $_ ne 'purge' } sort keys %functions)
	{
		my @types = map { $type{ $_->{kind} } } @{ $functions{$name}{parameters} };
		my $types = join ', ', @types;
		my $call = call($name, join(', ', map { "\$$_" } 1 .. @types), pick(qw(list from)));
		$dbh->do("PREPARE prepared_$name ($types) AS SELECT $call;
			CREATE FUNCTION plpgsql_$name ($types) RETURNS text LANGUAGE plpgsql AS \$\$
			BEGIN
				RETURN $call;
			EXCEPTION WHEN division_by_zero THEN
				RETURN NULL;
			END \$\$;
			CREATE FUNCTION cursor_$name ($types) RETURNS text LANGUAGE plpgsql AS \$\$
			DECLARE c SCROLL CURSOR FOR SELECT $call; r text;
			BEGIN
				OPEN c; MOVE NEXT FROM c; FETCH PRIOR FROM c INTO r; FETCH NEXT FROM c INTO r; CLOSE c;
				RETURN r;
			END \$\$");
	}
	# States of the pool, and others that are alike, make the first dictionary.
	$dbh->do(q{ALTER TABLE snapshot_store ALTER state TYPE snapshot_state;
		INSERT INTO snapshot_store SELECT 'train-' || n, 0, 1, 1, now(), json FROM pool_external WHERE json IS NOT NULL;
		INSERT INTO snapshot_store SELECT 'train-' || n, 0, 1, 1, now(), json_build_object('number', n, 'words', repeat('one like the other ', 5))
			FROM generate_series(1001, 1100) AS n;
		SELECT FROM snapshot_dictionary_train('', max_size => 4096, min_samples => 2);
		DELETE FROM snapshot_store});
	$dbh->do('SET client_min_messages = notice');
}

my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $parts = @databases;
foreach my $i (0 .. $#databases)
{
	my $options;
	($server_encoding, $client_encoding, $options) = @{ $databases[$i] };
	my $goal = $calls_to_make * ($i + 1) / $parts;
	my $before = $made;
	my $wrong;

	$name_of_database = "hostile_$i";
	%store = ();
	fill_pool();
	if (!eval { set_up($options); 1 })
	{
		# Only a server without ICU may lack this one.
		die $@ if $options !~ /icu/ || $@ !~ /ICU is not supported/;
		note("no database with ICU here");
		next;
	}
	$wrong = huge_arrays();
	while (!$wrong && $made < $goal)
	{
		change_settings();
		$wrong = eval { chance(0.15) ? statements() : batch() };
		$wrong = eval { pack_states() } unless $wrong || $@ || $setting{read_only};
		$wrong = "the session broke, after: $setting{sql}\n$@" if $@;
		$dbh->do('VACUUM snapshot_store') if !$wrong && chance(0.1) && !$setting{read_only};
	}
	is($wrong, undef, "$server_encoding, client $client_encoding, $options: as the model says");
	diag("SEED=$seed") if $wrong;
	note(sprintf 'counted: %d calls, database %s, client %s, %s', $made - $before, @{ $databases[$i] });
	eval { $dbh->disconnect };
}

note('counted: ' . join ', ', map { my $what = $_; map { "$what $_ $counted{$what}{$_}" } sort keys %{ $counted{$what} } } grep { /dictionary/ } sort keys %counted);
cmp_ok($repacked, '>', 0, "states were packed and unpacked: $repacked");
foreach my $name (sort keys %functions)
{
	my $outcomes = $counted{$name};
	note("counted: snapshot_$name: " . join ', ', map { "$_ $outcomes->{$_}" } sort { $outcomes->{$b} <=> $outcomes->{$a} || $a cmp $b } keys %$outcomes);
}
note('counted: ' . join ', ', map { "$_ $forms{$_}" } sort keys %forms);
note("counted: $made calls in all, SEED=$seed");

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server never restarted');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC:|TRAP:|Sanitizer|runtime error:/, 'nothing in its log that speaks of a crash');
$node->stop;
done_testing();
