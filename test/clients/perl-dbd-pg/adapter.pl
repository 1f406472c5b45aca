# The adapter of test/clients/scenario.pl.

use v5.36;
use utf8;
use Account;
use DBD::Pg qw(:pg_types);
use DBI;
use JSON::PP;
use SnapshotStore;

my $dbh   = connection();
my $store = SnapshotStore->new($dbh);

package CountingStore {
    use parent -norequire, 'SnapshotStore';

    sub save ( $self, @snapshot ) {
        my $stored = $self->SUPER::save(@snapshot);
        $self->{saved}++ if $stored;
        return $stored;
    }
}

sub connection (%attributes) {
    return DBI->connect( "dbi:Pg:$ENV{DATABASE_URL}", '', '',
        { RaiseError => 1, PrintError => 0, AutoCommit => 1, %attributes } );
}

sub arguments ($request) {
    return @$request{qw(stream sequence version state)};
}

sub boolean ($value) {
    return $value ? JSON::PP::true : JSON::PP::false;
}

sub reply ($snapshot) {
    return $snapshot
      && { sequence => "$snapshot->{sequence_number}",
        version => "$snapshot->{state_schema_version}",
        state   => $snapshot->{state}
      };
}

my %operations = (
    save => sub ($request) {
        return { stored => boolean( $store->save( arguments($request) ) ) };
    },
    save_bytes => sub ($request) {
        my ( @numbers, $state );
        ( @numbers[ 0 .. 2 ], $state ) = arguments($request);
        return { stored => boolean( $store->save_bytes( @numbers, pack( 'H*', $state ) ) ) };
    },
    load => sub ($request) {
        return { snapshot => reply( $store->load( @$request{qw(stream versions)} ) ) };
    },
    load_bytes => sub ($request) {
        my $snapshot = reply( $store->load_bytes( @$request{qw(stream versions)} ) );
        $snapshot->{state} = unpack( 'H*', $snapshot->{state} ) if $snapshot;
        return { snapshot => $snapshot };
    },
    save_many => sub ($request) {
        my $stored = $store->save_many( map { [ arguments($_) ] } @{ $request->{snapshots} } );
        return { stored => { map { $_ => boolean( $stored->{$_} ) } keys %$stored } };
    },
    load_many => sub ($request) {
        my $snapshots = $store->load_many( @$request{qw(streams versions)} );
        return { snapshots => { map { $_ => reply( $snapshots->{$_} ) } keys %$snapshots } };
    },
    forget => sub ($request) {
        my $own = connection();
        $own->begin_work;
        my $stored = SnapshotStore->new($own)->save( arguments($request) );
        $own->disconnect;
        return { stored => boolean($stored) };
    },
    account => sub ($request) {
        my $counting = CountingStore->new($dbh);
        my $load     = sub { Account->new( $dbh, $counting, @$request{qw(stream interval)} ) };
        my $account  = $load->();
        $account = $load->() if $request->{again};
        my $replayed = $account->{sequence_number} - $account->{snapshot_number};
        $account->deposit($_) for @{ $request->{amounts} };
        my $saved = $counting->{saved} // 0;
        return { balance => "$account->{balance}", replayed => "$replayed", saved => "$saved" };
    },
    quirk => sub ($request) { quirks()->{ $request->{name} }->() },
);

# ---- the usual mistakes -----------------------------------------------------------------

sub saved ( $state, $stream_id = 'quirk@perl' ) {
    $dbh->selectrow_array( 'SELECT snapshot_save(?, 42, 1, ?)', undef, $stream_id, $state );
    return { state => $store->load( 'quirk@perl', [1] )->{state} };
}

sub saved_bytes ($state) {
    $dbh->selectrow_array( q{SELECT snapshot_save_bytea('quirk-bytes@perl', 42, 1, ?)}, undef, $state );
    return { state => unpack( 'H*', $store->load_bytes( 'quirk-bytes@perl', [1] )->{state} ) };
}

sub quirks () {
    state $statement;
    return {
        empty_array             => sub { saved( [] ) },
        array                   => sub { saved( [ 1, 2 ] ) },
        encode_json             => sub { saved( encode_json( { name => 'é' } ) ) },
        state_with_zero         => sub { saved(qq({"total": 99}\0, and more)) },
        stream_with_zero        => sub { saved( '{"of": "another"}', "quirk\@perl\0another" ) },
        bytes_with_zero         => sub { saved_bytes("a\0b") },
        bytes_as_text           => sub { saved_bytes("\xff") },
        bytes_with_escapes      => sub { saved_bytes("\\101") },
        store_refuses_reference => sub { $store->save( 'quirk@perl', 42, 1, [] ) },
        store_refuses_zero      => sub { $store->load( "quirk\@perl\0another", [1] ) },
        no_commit               => sub {
            my $naive = connection( AutoCommit => 0 );
            my ($stored) =
              $naive->selectrow_array(q{SELECT snapshot_save('quirk-no-commit@perl', 42, 1, '{}')});
            $naive->disconnect;
            return { stored => boolean($stored), snapshot => $store->load( 'quirk-no-commit@perl', [1] ) };
        },
        no_exception => sub {
            my $naive = DBI->connect("dbi:Pg:$ENV{DATABASE_URL}");
            my ($stored) = $naive->selectrow_array(q(SELECT snapshot_save('quirk@perl', 42, 1, '[')));
            return { stored => $stored };
        },
        prepared_statement => sub {
            $statement //= $dbh->prepare('SELECT * FROM snapshot_load(?, ?)');
            $statement->execute( 'quirk@perl', [1] );
            return { found => 0 + @{ $statement->fetchall_arrayref } };
        },
    };
}

# ---- requests and replies ---------------------------------------------------------------

my $json = JSON::PP->new->utf8;
$| = 1;
while ( my $line = <STDIN> ) {
    my $request = $json->decode($line);
    my $answer  = eval { $operations{ $request->{op} }->($request) }
      // { error => { message => $@ =~ s/ at \S+ line .*//sr } };

    # DBI dies of the server's error with its message, which begins with the class of the handle.
    $answer = { error => { sqlstate => $DBI::state, type => $1 } }
      if $answer->{error} && $@ =~ /^(DBD::Pg::\w+)/ && $DBI::state;
    say $json->encode($answer);
}
