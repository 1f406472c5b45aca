package Account;

use v5.36;
use DBI;
use JSON::PP;
use SnapshotStore;

use constant SCHEMA_VERSION => 1;

# The snapshot, if there is one, and the events after it.
use constant REHYDRATE => <<~'SQL';
    WITH snapshot AS MATERIALIZED (
        SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
    )
    SELECT sequence_number, state_schema_version, state AS data FROM snapshot
    UNION ALL
    SELECT sequence_number, NULL, data FROM account_event
    WHERE stream_id = $1 AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
      AND sequence_number <= 9223372036854775807 -- always; for the planner
    ORDER BY sequence_number
    SQL

my $json = JSON::PP->new;

sub new ( $class, $dbh, $store, $stream_id, $interval = 100 ) {
    my $self = bless {
        dbh             => $dbh,
        store           => $store,
        stream_id       => $stream_id,
        interval        => $interval,
        balance         => 0,
        sequence_number => 0,
        snapshot_number => 0,
    }, $class;
    my $rows = $dbh->selectall_arrayref( REHYDRATE, undef, $stream_id, [SCHEMA_VERSION] );
    for (@$rows) {
        my ( $number, $version, $data ) = @$_;
        $self->{sequence_number} = $number;
        if ( defined $version ) {
            $self->{balance}         = $json->decode($data)->{balance};
            $self->{snapshot_number} = $number;
        }
        else {
            $self->{balance} += $json->decode($data)->{amount};
        }
    }
    return $self;
}

# Dies, with the state 23505, if somebody else has appended to the stream meanwhile.
sub deposit ( $self, $amount ) {
    $self->{dbh}->do(
        'INSERT INTO account_event (stream_id, sequence_number, data) VALUES (?, ?, ?)',
        undef, $self->{stream_id},
        $self->{sequence_number} + 1,
        $json->encode( { amount => 0 + $amount } )
    );
    $self->{sequence_number}++;
    $self->{balance} += $amount;

    # The event is stored, and the next snapshot makes up for one that fails.
    eval { $self->_save_if_due; 1 } or warn "no snapshot of $self->{stream_id}: $@";
}

sub _save_if_due ($self) {
    my ( $stream_id, $number, $interval ) = @$self{qw(stream_id sequence_number interval)};
    return if $number - $self->{snapshot_number} < $interval;
    my ($due) = $self->{dbh}->selectrow_array( 'SELECT snapshot_due(?, ?, ?, ?)',
        undef, $stream_id, [SCHEMA_VERSION], $number, $interval );
    return unless $due;
    $self->{store}
      ->save( $stream_id, $number, SCHEMA_VERSION, $json->encode( { balance => $self->{balance} } ) );
    $self->{snapshot_number} = $number;
}

unless (caller) {
    my ( $stream_id, @amounts ) = @ARGV;
    die "usage: perl -I. Account.pm STREAM [AMOUNT...]\n" unless defined $stream_id;
    my $dbh = DBI->connect( "dbi:Pg:$ENV{DATABASE_URL}", '', '',
        { RaiseError => 1, PrintError => 0, AutoCommit => 1 } );
    my $account = Account->new( $dbh, SnapshotStore->new($dbh), $stream_id );
    $account->deposit($_) for @amounts;
    say $account->{balance};
}

1;
