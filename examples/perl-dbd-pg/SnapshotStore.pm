package SnapshotStore;

# The snapshots of event-sourced streams, over DBD::Pg. A state is JSON text, kept to the letter: as
# characters, of JSON::PP->new->encode(...), and not the bytes of encode_json(...), which would be
# encoded twice. The handle has RaiseError. With AutoCommit, each call is a transaction of its own.

use v5.36;
use Carp    qw(croak);
use DBD::Pg qw(:pg_types);

sub new ( $class, $dbh ) {
    return bless { dbh => $dbh }, $class;
}

# False if a newer snapshot is kept, or the store is off.
sub save ( $self, $stream_id, $sequence_number, $state_schema_version, $state ) {
    my ($stored) = $self->{dbh}->selectrow_array( 'SELECT snapshot_save(?, ?, ?, ?)',
        undef, text($stream_id), $sequence_number, $state_schema_version, text($state) );
    return $stored;
}

# A hash of sequence_number, state_schema_version and state, or undef.
sub load ( $self, $stream_id, $recognized_schema_versions ) {
    return $self->{dbh}
      ->selectrow_hashref( 'SELECT sequence_number, state_schema_version, state FROM snapshot_load(?, ?)',
        undef, text($stream_id), $recognized_schema_versions );
}

sub save_bytes ( $self, $stream_id, $sequence_number, $state_schema_version, $state ) {
    my $statement = $self->{dbh}->prepare('SELECT snapshot_save_bytea(?, ?, ?, ?)');
    $statement->bind_param( 4, undef, { pg_type => PG_BYTEA } );
    $statement->execute( text($stream_id), $sequence_number, $state_schema_version, $state );
    return $statement->fetchall_arrayref->[0][0];
}

sub load_bytes ( $self, $stream_id, $recognized_schema_versions ) {
    return $self->{dbh}->selectrow_hashref(
        'SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea(?, ?)',
        undef, text($stream_id), $recognized_schema_versions );
}

# Takes arrays of what save() takes. All or none, with one flush; a hash that tells of each stream
# whether its snapshot was stored.
sub save_many ( $self, @snapshots ) {
    my @columns = map {
        my $column = $_;
        [ map { $_->[$column] } @snapshots ]
    } 0 .. 3;
    my $rows = $self->{dbh}
      ->selectall_arrayref( 'SELECT stream_id, stored FROM snapshot_save_many(?, ?, ?, ?)', undef, @columns );
    return { map { @$_ } @$rows };
}

# A hash of the snapshots that there are.
sub load_many ( $self, $stream_ids, $recognized_schema_versions ) {
    return $self->{dbh}
      ->selectall_hashref( <<~'SQL', 'stream_id', undef, $stream_ids, $recognized_schema_versions );
        SELECT stream_id, sequence_number, state_schema_version, state FROM snapshot_load_many(?, ?)
        SQL
}

# DBD::Pg cuts a text at its first zero byte, and makes a PostgreSQL array of a reference: {} of [].
sub text ($value) {
    croak 'text is needed, not a reference' if ref $value;
    croak 'text with a zero byte'           if defined $value && $value =~ /\0/;
    return $value;
}

1;
