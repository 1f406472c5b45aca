# Sends one client through the scenario that all have in common, and prints TAP.
#
# usage: scenario.pl FOLDER SERVER POOLER CLIENT [WRITER ...]
#
# FOLDER/CLIENT has the adapter, SERVER and POOLER are HOST:PORT. With WRITERs, the client only reads
# what each of them has saved in its own scenario.
#
# The adapter is FOLDER/CLIENT/run. It reads requests on stdin, one a line in JSON, and writes a reply to
# each on stdout, in that order, until the input ends. All sequence numbers and schema versions are
# strings, and so are states: JSON as its text, bytes in hex. Its environment:
#
#   DATABASE_URL   postgres://USER@127.0.0.1:PORT/shop, without a password
#   POOLER         "transaction" if that is PgBouncer
#   DEFAULTS       "1": do as if there were no POOLER, for the quirks of a pooler
#
#   save, save_bytes  stream, sequence, version, state                -> {"stored": BOOLEAN}
#   load, load_bytes  stream, versions [...]                          -> {"snapshot": SNAPSHOT or null}
#   save_many         snapshots [{stream, sequence, version, state}]  -> {"stored": {STREAM: BOOLEAN, ...}}
#   load_many         streams [...], versions [...]                   -> {"snapshots": {STREAM: SNAPSHOT, ...}}
#   forget            as save, in a transaction that is not committed before the connection is given up
#   account           stream, amounts [NUMBER, ...], interval NUMBER: loads it, and deposits each amount
#                     -> {"balance", "replayed": events at the load, "saved": snapshots, as strings}; with
#                     "again": true, loads it twice, the same object if that can be, as who deposits once more
#                     after a 23505
#   quirk             name: what quirks.json names                    -> what that expects
#
# with SNAPSHOT {"sequence", "version", "state"}. What fails is replied to with {"error": {"sqlstate",
# "type": the class of the driver's error}} if the server refused it, else with {"error": {"message"}}, and the
# adapter goes on.
#
# FOLDER/CLIENT/account is the program, with a stream and amounts as its arguments. It prints the balance.
#
# quirks.json has [{"name", "why", "expect": the reply}, ...]. With "pooler": true it is asked for up to 20
# times through PgBouncer, with DEFAULTS, until a reply is an error with one of the states in "expect":
# {"sqlstates": [...]}.
use strict;
use warnings;

use File::Temp;
use IO::Handle;
use IO::Select;
use IPC::Open2;
use JSON::PP;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);

my ($folder, $server, $pooler, $client, @writers) = @ARGV;
my $patience = 60;    # seconds, for a reply

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my ($true, $false, $null) = (JSON::PP::true, JSON::PP::false, undef);
my $largest = '9223372036854775807';

$SIG{PIPE} = 'IGNORE';
binmode Test::More->builder->$_, ':encoding(UTF-8)' for qw(output failure_output todo_output);

# What goes to psql needs PGHOST and the like, an adapter must do without.
my %psql_env = map { $_ => delete $ENV{$_} } grep { /^PG/ } keys %ENV;

# ---- adapters ---------------------------------------------------------------------------

$ENV{LC_ALL} = 'C.UTF-8';

sub start_adapter
{
	my ($user_and_port, %environment) = @_;
	my %adapter = (input => '', output => '', replies => []);

	local @ENV{ 'DATABASE_URL', keys %environment } = ("postgres://$user_and_port/shop", values %environment);
	$adapter{errors} = File::Temp->new(DIR => $folder);
	$adapter{pid} = open2($adapter{out}, $adapter{in},
		qq{cd "$folder/$client" && exec setpriv --pdeathsig KILL ./run 2>"$adapter{errors}"});
	$adapter{in}->blocking(0);
	return \%adapter;
}

# Lets adapters go through their steps, each at its own pace, until they are through or one has ended or
# been silent for too long.
sub converse
{
	my (@adapters) = @_;

	next_request($_) foreach @adapters;
	while (my @busy = grep { $_->{until} } @adapters)
	{
		my $left = (sort { $a <=> $b } map { $_->{until} } @busy)[0] - time();
		my $reading = IO::Select->new(map { $_->{out} } @busy);
		my $writing = IO::Select->new(map { $_->{in} } grep { length $_->{input} } @busy);
		my ($readable, $writable) = IO::Select->select($reading, $writing, undef, $left > 0 ? $left : 0);

		foreach my $adapter (@busy)
		{
			if (grep { $_ == $adapter->{in} } @{ $writable || [] })
			{
				my $written = syswrite($adapter->{in}, $adapter->{input});
				substr($adapter->{input}, 0, $written, '') if $written;
				$adapter->{input} = '' if !defined $written && !$!{EAGAIN};
			}
			if (grep { $_ == $adapter->{out} } @{ $readable || [] })
			{
				if (!sysread($adapter->{out}, $adapter->{output}, 1 << 20, length $adapter->{output}))
				{
					give_up($adapter, 'it has ended');
				}
				elsif ($adapter->{output} =~ s/^(.*)\n//)
				{
					push @{ $adapter->{replies} }, $1;
					next_request($adapter);
				}
			}
			elsif (time() >= $adapter->{until})
			{
				give_up($adapter, "no reply within $patience s");
			}
		}
	}
}

sub next_request
{
	my ($adapter) = @_;
	my $step = $adapter->{steps}[ @{ $adapter->{replies} } ];

	$adapter->{until} = $step && time() + $patience;
	$adapter->{input} = $json->encode($step->{request}) . "\n" if $step;
}

sub give_up
{
	my ($adapter, $why) = @_;

	kill 'KILL', $adapter->{pid};
	delete $adapter->{until};
	$adapter->{given_up} = $why;
}

# Ends the input, and is true if the adapter then ends well.
sub end_adapter
{
	my ($adapter) = @_;
	my $until = time() + $patience;
	my $ended;

	close $adapter->{in};
	until ($ended = waitpid($adapter->{pid}, WNOHANG))
	{
		if (time() >= $until)
		{
			kill 'KILL', $adapter->{pid};
			waitpid $adapter->{pid}, 0;
			last;
		}
		sleep 0.02;
	}
	return $ended && $? == 0 && $adapter->{output} eq '' && !sysread($adapter->{out}, my $more, 1);
}

# ---- steps ------------------------------------------------------------------------------

# All at once, each adapter with steps of its own, of which there are as many with the same names: an ok for
# each step that every adapter was replied to as expected.
sub go_through
{
	my ($how, @adapters) = @_;
	my $good = 1;

	converse(@adapters);
	for my $i (0 .. $#{ $adapters[0]{steps} })
	{
		my @wrong = map { complaint($_, $i) } @adapters;
		$good &= ok(!@wrong, "$how: $adapters[0]{steps}[$i]{name}");
		diag($wrong[0], @wrong > 1 ? "\nand so did " . $#wrong . ' more' : '') if @wrong;
		last if grep { $_->{given_up} && @{ $_->{replies} } <= $i } @adapters;
	}
	$good &= ok(!grep({ !end_adapter($_) } @adapters), "$how: it ends when its input ends");
	return if $good;
	foreach my $adapter (@adapters)
	{
		my @lines = readline $adapter->{errors};
		diag("its last lines on stderr:\n", @lines[ (@lines > 20 ? -20 : -@lines) .. -1 ]) if @lines;
	}
}

# What is wrong with the reply to step number $i, if anything.
sub complaint
{
	my ($adapter, $i) = @_;
	my ($step, $reply) = ($adapter->{steps}[$i], $adapter->{replies}[$i]);
	my $complaint = 'request:  ' . shorten($json->encode($step->{request}));
	my $decoded;

	return "$complaint\n$adapter->{given_up}" if !defined $reply;
	$complaint .= "\nreply:    " . shorten($reply);
	return "$complaint\nthis is no JSON" if !eval { $decoded = $json->decode($reply); 1 };
	if (ref $step->{expect} eq 'CODE')
	{
		return ref $decoded eq 'HASH' && $step->{expect}->($decoded) ? () : $complaint;
	}
	my ($expected, $got) = map { $json->encode($_) } $step->{expect}, $decoded;
	return $expected eq $got ? () : "$complaint\nexpected: " . shorten($expected);
}

sub shorten
{
	my ($text) = @_;
	utf8::decode($text);
	return length $text <= 600 ? $text : substr($text, 0, 400) . ' ... ' . substr($text, -200);
}

# The server's error as the driver's. A client whose types do not admit the value, may refuse it itself.
sub refused
{
	my ($sqlstate, $or_by_type) = @_;

	return sub {
		my $error = $_[0]{error};
		return 0 if keys %{ $_[0] } != 1 || ref $error ne 'HASH';
		my $keys = join ' ', sort keys %$error;
		return $keys eq 'message' if $or_by_type && !defined $error->{sqlstate};
		return $keys eq 'sqlstate type' && $error->{sqlstate} eq $sqlstate && length $error->{type};
	};
}

# An error of the adapter's own.
my $not_understood = sub { join(' ', keys %{ $_[0] }, keys %{ $_[0]{error} || {} }) eq 'error message' };

# ---- the scenario -----------------------------------------------------------------------

# States that come back to the letter, and are no jsonb, or another one as text.
my @texts = (
	'[]', '{}', '"text"', 'null', '42', 'true', '""',
	'{"b": 1, "a": 2}',                                       # the order of keys
	'{"a": 1, "a": 2}',                                       # a key twice
	'[1.0, 1e2, 1E+2, -0, 0.10, 12345678901234567890.10]',    # spelling of numbers
	'[9007199254740993, 9223372036854775807, 18446744073709551616]',
	'["\u0000", "\u00e9", "\/", "\n", "\ud83d\ude00"]',       # spelling of characters
	"\n { \"a\" :\t[ 1 ,2\r\n] } ",                           # white space
	"{\"na\x{ef}ve\": \"\x{65e5}\x{672c} \x{1d11e} \x{1f600} \x{e000}\x{200b}\"}",
	'{"quotes": "\"\\\\\" \' \'\' $1 ? %s :a {}"}',
	'{"items": [' . join(', ', map { qq({"id": $_, "price": $_.50}) } 1 .. 12_000) . ']}');

my @bytes = ('', "\0", "\0\0a\0", join('', map { chr } 0 .. 255), "\\x00'\n\t\\\\", join('', map { chr } 0 .. 255) x 4096);
@bytes = map { unpack 'H*', $_ } @bytes;

# Names, too, are kept to the letter.
my @names = ('plain', 'with space', "\x{65e5}\x{672c}-\x{1d11e}\x{1f600}", "e\x{301}\x{e9}", q(a,b{"c"}\\'d'), 'NULL', '$1 ? %s :a');

sub snapshot
{
	my ($sequence, $version, $state) = @_;
	return { sequence => "$sequence", version => "$version", state => $state };
}

sub save
{
	my ($stream, $sequence, $version, $state) = @_;
	return { op => 'save', stream => $stream, %{ snapshot($sequence, $version, $state) } };
}

sub load
{
	my ($stream, @versions) = @_;
	return { op => 'load', stream => $stream, versions => [ map { "$_" } @versions ] };
}

sub load_many
{
	my ($streams, @versions) = @_;
	return { op => 'load_many', streams => $streams, versions => [ map { "$_" } @versions ] };
}

sub save_many
{
	return { op => 'save_many', snapshots => [ map { delete $_->{op}; $_ } map { save(@$_) } @_ ] };
}

sub bytes
{
	my ($request) = @_;
	return { %$request, op => "$request->{op}_bytes" };
}

sub account
{
	my ($stream, @amounts) = @_;
	return { op => 'account', stream => $stream, amounts => \@amounts, interval => 3 };
}

sub again
{
	my ($request) = @_;
	return { %$request, again => $true };
}

sub balance
{
	my ($balance, $replayed, $saved) = @_;
	return { balance => "$balance", replayed => "$replayed", saved => "$saved" };
}

my ($stored, $not_stored, $none) =
  ({ stored => $true }, { stored => $false }, { snapshot => $null });

# The steps of the adapter that is named $who, in streams that end in its name.
sub scenario
{
	my ($who) = @_;
	my @steps;
	my $step = sub {
		my ($name, $request, $expect) = @_;
		push @steps, { name => $name, request => $request, expect => $expect };
	};
	my $of = sub { "$_[0]\@$who" };
	my $s;

	$step->('no snapshot', load($of->('none'), 1), $none);

	for my $i (0 .. $#texts)
	{
		$s = $of->("text-$i");
		$step->("JSON $i is saved", save($s, $i, 1, $texts[$i]), $stored);
		$step->("JSON $i to the letter", load($s, 1), { snapshot => snapshot($i, 1, $texts[$i]) });
	}
	for my $i (0 .. $#bytes)
	{
		$s = $of->("bytes-$i");
		$step->("bytes $i are saved", bytes(save($s, $i, 1, $bytes[$i])), $stored);
		$step->("bytes $i are the same", bytes(load($s, 1)), { snapshot => snapshot($i, 1, $bytes[$i]) });
	}

	$s = $of->('order-1');
	$step->('the first', save($s, 42, 1, '{"at": 42}'), $stored);
	$step->('an older one is too old', save($s, 41, 1, '{"at": 41}'), $not_stored);
	$step->('the newer one stays', load($s, 1), { snapshot => snapshot(42, 1, '{"at": 42}') });
	$step->('one of the same event', save($s, 42, 1, '{"at": "42 again"}'), $stored);
	$step->('replaces the first', load($s, 1), { snapshot => snapshot(42, 1, '{"at": "42 again"}') });
	$step->('an unrecognized version', load($s, 2), $none);
	$step->('no recognized versions', load($s), $none);
	$step->('one of several versions', load($s, 3, 1, 2), { snapshot => snapshot(42, 1, '{"at": "42 again"}') });
	$step->('another version replaces', save($s, 7, 2, '{"at": 7}'), $stored);
	$step->('the other version', load($s, 1, 2), { snapshot => snapshot(7, 2, '{"at": 7}') });

	$s = $of->('numbers');
	for (
		[ 'the smallest', 0, 0 ], [ 'above 2^31 and 2^15', 2147483648, 32768 ],
		[ 'above 2^53 and 2^31', '9007199254740993', 2147483648 ], [ 'the largest', $largest, 4294967295 ])
	{
		my ($name, $sequence, $version) = @$_;
		$step->("$name numbers are saved", save($s, $sequence, $version, '{}'), $stored);
		$step->("$name numbers are loaded", load($s, $version), { snapshot => snapshot($sequence, $version, '{}') });
	}
	$step->('a sequence number is compared to the last digit',
		save($s, '9223372036854775806', 4294967295, '{}'), $not_stored);

	for my $i (0 .. $#names)
	{
		$s = $of->("$names[$i]-$i");
		$step->("name $i is saved", save($s, $i, 1, qq("$i")), $stored);
		$step->("name $i is loaded", load($s, 1), { snapshot => snapshot($i, 1, qq("$i")) });
	}
	$step->('another spelling of a name is another stream', load($of->("\x{e9}\x{301}e-3"), 1), $none);

	# Batches.
	my @batch = map { $of->("batch-$_") } 0 .. $#texts;
	my @named = map { $of->("$names[$_]-batch") } 0 .. $#names;
	$step->('an empty batch is saved', save_many(), { stored => {} });
	$step->('an empty batch is loaded', load_many([], 1), { snapshots => {} });
	$step->('a batch of one', save_many([ $batch[3], 5, 1, '{}' ]), { stored => { $batch[3] => $true } });
	$step->('a batch, of which one is too old',
		save_many(map { [ $batch[$_], $_, 1, $texts[$_] ] } 0 .. $#batch),
		{ stored => { map { $batch[$_] => $_ == 3 ? $false : $true } 0 .. $#batch } });
	$step->('the batch, and one that is not there',
		load_many([ $of->('none'), @batch ], 1),
		{ snapshots => { map { $batch[$_] => $_ == 3 ? snapshot(5, 1, '{}') : snapshot($_, 1, $texts[$_]) } 0 .. $#batch } });
	$step->('a batch with names and numbers',
		save_many(map { [ $named[$_], $largest, 4294967295 - $_, 'null' ] } 0 .. $#named),
		{ stored => { map { $_ => $true } @named } });
	$step->('these, as far as recognized',
		load_many([ reverse @named ], 4294967295, 4294967294),
		{ snapshots => { map { $named[$_] => snapshot($largest, 4294967295 - $_, 'null') } 0, 1 } });
	$step->('a batch, nothing recognized', load_many(\@batch), { snapshots => {} });

	# Errors, and what was there stays.
	$s = $of->('errors');
	my $unchanged = sub {
		$step->("after $_[0]: it goes on", load($s, 1), { snapshot => snapshot(1, 1, '{"before": "errors"}') });
	};
	$step->('one before the errors', save($s, 1, 1, '{"before": "errors"}'), $stored);
	for (
		[ 'a negative sequence number', save($s, -1, 1, '{}'), refused('22003', 'or by type') ],
		[ 'a version above 2^32 - 1', save($s, 2, 4294967296, '{}'), refused('22003', 'or by type') ],
		[ 'a stream without a name', save('', 2, 1, '{}'), refused('22023') ],
		[ 'a name that is too long', load('x' x 2001, 1), refused('54000') ],
		[ 'half of a JSON', save($s, 2, 1, '{"a":'), refused('22P02') ],
		[ 'no JSON', save($s, 2, 1, ''), refused('22P02') ],
		[ 'bytes where JSON was saved', bytes(load($s, 1)), refused('42804') ],
		[ 'JSON where bytes were saved', load($of->('bytes-1'), 1), refused('42804') ],
		[ 'a batch with a stream twice', save_many([ $s, 2, 1, '{}' ], [ $s, 3, 1, '{}' ]), refused('21000') ],
		[ 'a batch with half of a JSON', save_many([ $s, 2, 1, '{}' ], [ $of->('none'), 1, 1, '[' ]), refused('22P02') ],
		[ 'a batch with a stream without a name', save_many([ $s, 2, 1, '{}' ], [ '', 1, 1, '{}' ]), refused('22023') ],
		[ 'an operation that it does not have', { op => 'nonsense' }, $not_understood ])
	{
		$step->(@$_);
		$unchanged->($_->[0]);
	}
	$step->('of a refused batch, nothing', load($of->('none'), 1), $none);

	$s = $of->('forgotten');
	$step->('a save without a commit', { %{ save($s, 1, 1, '{}') }, op => 'forget' }, $stored);
	$step->('is lost', load($s, 1), $none);
	$step->('and held nothing back', save($s, 1, 1, '{"second": true}'), $stored);
	$step->('so that the next one', load($s, 1), { snapshot => snapshot(1, 1, '{"second": true}') });

	# The account, with a snapshot after three events.
	$s = $of->('account-1');
	$step->('a new account', account($s), balance(0, 0, 0));
	$step->('its first deposits', account($s, 5, 6), balance(11, 0, 0));
	$step->('the third is due', account($s, 7), balance(18, 2, 1));
	$step->('its snapshot', load($s, 1), sub {
		my ($number, $version, $state) = @{ $_[0]{snapshot} || {} }{qw(sequence version state)};
		return "$number $version" eq '3 1' && $state =~ /^\{\s*"balance"\s*:\s*18\s*\}$/;
	});
	$step->('no event is replayed', account($s), balance(18, 0, 0));
	$step->('one after the snapshot', account($s, 1), balance(19, 0, 0));
	$step->('is replayed', account($s), balance(19, 1, 0));
	$step->('and counted', account($s, 1, 1, 1, 1, 1, 1), balance(25, 1, 2));
	$step->('one after the last snapshot', account($s), balance(25, 1, 0));
	$s = $of->('account-2');
	$step->('a newer snapshot than the account knows of', save($s, 0, 2, '{"of": "version 2"}'), $stored);
	$step->('of another version is not recognized', account($s, 1, 2), balance(3, 0, 0));
	$step->('all events are replayed', account($s), balance(3, 2, 0));
	$s = $of->('account-raced');
	$step->('somebody else was faster', account($s, 1), refused('23505'));
	$step->('and has not been overwritten', account($s), balance(0, 0, 0));
	$s = $of->('account-again');
	$step->('loaded again, without an event', again(account($s, 5)), balance(5, 0, 0));
	$step->('with one event', again(account($s, 6)), balance(11, 1, 0));
	$step->('with two, and a snapshot is due', again(account($s, 7)), balance(18, 2, 1));
	$step->('with a snapshot', again(account($s, 1)), balance(19, 0, 0));
	$step->('with a snapshot and an event', again(account($s)), balance(19, 1, 0));
	return @steps;
}

sub check_program
{
	my $stream = "account-program\@$client";

	local $ENV{DATABASE_URL} = "postgres://app\@$server/shop";
	foreach my $arguments ("$stream 5 6", $stream)
	{
		is(qx(cd "$folder/$client" && exec timeout $patience ./account $arguments), "11\n", "account $arguments");
	}
	my $said = qx(cd "$folder/$client" && exec timeout $patience ./account 2>&1);
	isnt($?, 0, 'account, and nothing else, is an error');
	like($said, qr/\A.*usage: .+ STREAM \[AMOUNT ?\.\.\.\].*\n\z/, 'and says how to call it');
}

sub account_off
{
	my $s = "account-off\@$client";
	return (
		{ name => 'nothing is saved', request => account($s, 1, 2, 3, 4), expect => balance(10, 0, 0) },
		{ name => 'all is replayed', request => account($s, 1), expect => balance(11, 4, 0) },
		{ name => 'a save', request => save($s, 5, 1, '{}'), expect => $not_stored },
		{ name => 'a load', request => load($s, 1), expect => $none },
		{ name => 'a batch', request => save_many([ $s, 5, 1, '{}' ]), expect => { stored => { $s => $false } } });
}

sub account_without_saves
{
	my $s = "account-reader\@$client";
	return (
		{ name => 'a deposit is not refused', request => account($s, 1, 2, 3, 4), expect => balance(10, 0, 0) },
		{ name => 'all is replayed', request => account($s), expect => balance(10, 4, 0) },
		{ name => 'a save is an error', request => save($s, 4, 1, '{}'), expect => refused('42501') });
}

# ---- SQL, and what others wrote ---------------------------------------------------------

# The largest are left out, to save time.
sub steps_to_read
{
	my ($writer) = @_;
	my @streams = map { "text-$_\@$writer" } 0 .. $#texts - 1;

	return (
		{
			name => "JSON of $writer",
			request => load_many(\@streams, 1),
			expect => { snapshots => { map { $streams[$_] => snapshot($_, 1, $texts[$_]) } 0 .. $#streams } }
		},
		map { {
			name => "bytes $_ of $writer",
			request => bytes(load("bytes-$_\@$writer", 1)),
			expect => { snapshot => snapshot($_, 1, $bytes[$_]) }
		} } 0 .. $#bytes - 1);
}

# What psql prints, as its rows.
sub sql
{
	my ($commands) = @_;
	my $file = File::Temp->new(DIR => $folder);

	local @ENV{ keys %psql_env } = values %psql_env;
	print $file $commands;
	close $file;
	my @rows = split /\n/, qx(psql -XAtq -v ON_ERROR_STOP=1 -d shop -f "$file");
	die "psql failed\n" if $?;
	return @rows;
}

# Text in the database's encoding, without a letter that SQL would read in another way.
sub hex_of_text
{
	my ($text) = @_;
	utf8::encode($text);
	return unpack 'H*', $text;
}

sub save_by_sql
{
	my $commands = '';

	for my $i (0 .. $#texts)
	{
		my $hex = hex_of_text($texts[$i]);
		$commands .= "SELECT snapshot_save('text-$i\@SQL', $i, 1, convert_from('\\x$hex', 'UTF8')::json);\n";
	}
	$commands .= "SELECT snapshot_save_bytea('bytes-$_\@SQL', $_, 1, '\\x$bytes[$_]');\n" foreach 0 .. $#bytes;
	sql($commands);
}

sub check_by_sql
{
	my @rows = sql("
		SELECT 'text', sequence_number, encode(convert_to(state::text, 'UTF8'), 'hex') FROM snapshot_store
		WHERE stream_id ~ '^text-[0-9]+\@$client\$'
		UNION ALL
		SELECT 'bytes', sequence_number, encode(state_bytea, 'hex') FROM snapshot_store
		WHERE stream_id ~ '^bytes-[0-9]+\@$client\$'
		ORDER BY 1 DESC, 2");
	my @expected = ((map { "text|$_|" . hex_of_text($texts[$_]) } 0 .. $#texts), map { "bytes|$_|$bytes[$_]" } 0 .. $#bytes);
	my ($wrong) = grep { ($rows[$_] // '') ne $expected[$_] } 0 .. $#expected;

	ok(!defined $wrong && @rows == @expected, 'SQL: what the table has is what was saved');
	diag('row: ', shorten($rows[$wrong] // 'none'), "\nexpected: ", shorten($expected[$wrong])) if defined $wrong;
}

# ---- quirks -----------------------------------------------------------------------------

sub read_quirks
{
	my $file = "$folder/$client/quirks.json";
	return unless -e $file;
	open(my $in, '<', $file) or die "cannot read $file: $!\n";
	return @{ $json->decode(do { local $/; <$in> }) };
}

sub quirk_step
{
	my ($quirk) = @_;
	return {
		name => "$quirk->{name}: $quirk->{why}",
		request => { op => 'quirk', name => $quirk->{name} },
		expect => $quirk->{expect}
	};
}

# Has PgBouncer open all of its connections to the server: each psql holds one until all have one.
sub open_server_connections
{
	local @ENV{ keys %psql_env } = values %psql_env;
	my @sessions = map { {} } 1 .. 3;

	foreach my $commands ("BEGIN;\n\\echo begun\n", "COMMIT;\n\\echo ended\n")
	{
		foreach my $session (@sessions)
		{
			$session->{pid} ||= open2($session->{out}, $session->{in}, "exec psql -Xq postgres://app\@$pooler/shop");
			syswrite($session->{in}, $commands);
			readline($session->{out}) // die "psql failed\n";
		}
	}
	foreach my $session (@sessions)
	{
		close $session->{in};
		waitpid $session->{pid}, 0;
	}
}

# Until one reply is the error that is expected.
sub meets_pooler
{
	my ($quirk) = @_;
	open_server_connections();
	my $adapter = start_adapter("app\@$pooler", POOLER => 'transaction', DEFAULTS => 1);
	my ($met, @replies);

	for (1 .. 20)
	{
		$adapter->{steps} = [ (quirk_step($quirk)) x (@replies + 1) ];
		converse($adapter);
		@replies = @{ $adapter->{replies} };
		last if $adapter->{given_up};
		my $reply = eval { $json->decode($replies[-1]) };
		my $sqlstate = ref $reply eq 'HASH' && ref $reply->{error} eq 'HASH' && $reply->{error}{sqlstate} || '';
		last if $met = grep { $sqlstate eq $_ } @{ $quirk->{expect}{sqlstates} };
	}
	ok($met, "pooler: $quirk->{name}: $quirk->{why}");
	diag($adapter->{given_up} || (), map { shorten($_) . "\n" } @replies) unless $met;
	end_adapter($adapter);
}

# ---- the run ----------------------------------------------------------------------------

my $adapter;
if (@writers)
{
	$adapter = start_adapter("app\@$server");
	$adapter->{steps} = [ map { steps_to_read($_) } @writers ];
	go_through('reads', $adapter);
	done_testing();
	exit;
}

save_by_sql();
$adapter = start_adapter("app\@$server");
$adapter->{steps} = [ scenario($client), steps_to_read('SQL') ];
go_through('alone', $adapter);
check_by_sql();
check_program();

$adapter = start_adapter("app_off\@$server");
$adapter->{steps} = [ account_off() ];
go_through('store off', $adapter);

$adapter = start_adapter("app_reader\@$server");
$adapter->{steps} = [ account_without_saves() ];
go_through('saves fail', $adapter);

my @crowd = map { start_adapter("app\@$pooler", POOLER => 'transaction') } 1 .. 6;
$crowd[$_]{steps} = [ scenario("$client.$_") ] foreach 0 .. $#crowd;
go_through('six at once', @crowd);

my @quirks = read_quirks();
if (my @direct = grep { !$_->{pooler} } @quirks)
{
	$adapter = start_adapter("app\@$server");
	$adapter->{steps} = [ map { quirk_step($_) } @direct ];
	go_through('quirk', $adapter);
}
meets_pooler($_) foreach grep { $_->{pooler} } @quirks;
done_testing();
