package account

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// A Snapshot is the state of a stream as of one of its events. State is JSON and kept to the letter.
type Snapshot struct {
	StreamID           string
	SequenceNumber     int64
	StateSchemaVersion uint32
	State              string
}

// A BytesSnapshot is a snapshot whose state is bytes. They may be empty, but not nil, which is NULL.
type BytesSnapshot struct {
	StreamID           string
	SequenceNumber     int64
	StateSchemaVersion uint32
	State              []byte
}

// A Querier is a *pgxpool.Pool, a *pgx.Conn or a pgx.Tx.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// A SnapshotStore keeps snapshots in the extension snapshot_store. With a pool, a save is a transaction
// of its own, and durable when it returns.
//
// A state is passed as a string, which every query exec mode of pgx leaves alone.
type SnapshotStore struct{ DB Querier }

// Save tells whether the snapshot was stored. It is not, which is no error, if a newer one of its schema
// version is kept, or if the store is off.
func (s SnapshotStore) Save(ctx context.Context, n Snapshot) (stored bool, err error) {
	err = s.DB.QueryRow(ctx, `SELECT snapshot_save($1, $2, $3, $4)`,
		n.StreamID, n.SequenceNumber, n.StateSchemaVersion, n.State).Scan(&stored)
	return stored, err
}

// Load returns the most recent snapshot of a recognized schema version, nil if there is none.
func (s SnapshotStore) Load(ctx context.Context, streamID string, recognized []uint32) (*Snapshot, error) {
	n := Snapshot{StreamID: streamID}
	err := s.DB.QueryRow(ctx,
		`SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)`,
		streamID, recognized).Scan(&n.SequenceNumber, &n.StateSchemaVersion, &n.State)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// SaveBytes is Save for bytes.
func (s SnapshotStore) SaveBytes(ctx context.Context, n BytesSnapshot) (stored bool, err error) {
	err = s.DB.QueryRow(ctx, `SELECT snapshot_save_bytea($1, $2, $3, $4)`,
		n.StreamID, n.SequenceNumber, n.StateSchemaVersion, n.State).Scan(&stored)
	return stored, err
}

// LoadBytes is Load for bytes.
func (s SnapshotStore) LoadBytes(ctx context.Context, streamID string, recognized []uint32) (*BytesSnapshot, error) {
	n := BytesSnapshot{StreamID: streamID}
	err := s.DB.QueryRow(ctx,
		`SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea($1, $2)`,
		streamID, recognized).Scan(&n.SequenceNumber, &n.StateSchemaVersion, &n.State)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// SaveMany saves snapshots of as many streams in one call, and tells of each stream whether it was stored.
func (s SnapshotStore) SaveMany(ctx context.Context, snapshots []Snapshot) (map[string]bool, error) {
	streamIDs := make([]string, len(snapshots))
	sequenceNumbers := make([]int64, len(snapshots))
	versions := make([]uint32, len(snapshots))
	states := make([]string, len(snapshots))
	for i, n := range snapshots {
		streamIDs[i], sequenceNumbers[i], versions[i], states[i] =
			n.StreamID, n.SequenceNumber, n.StateSchemaVersion, n.State
	}
	rows, err := s.DB.Query(ctx, `SELECT stream_id, stored FROM snapshot_save_many($1, $2, $3, $4)`,
		streamIDs, sequenceNumbers, versions, states)
	if err != nil {
		return nil, err
	}
	stored := make(map[string]bool, len(snapshots))
	var streamID string
	var one bool
	_, err = pgx.ForEachRow(rows, []any{&streamID, &one}, func() error {
		stored[streamID] = one
		return nil
	})
	return stored, err
}

// LoadMany loads the snapshots of many streams in one call. A stream that has none is not in the map.
func (s SnapshotStore) LoadMany(ctx context.Context, streamIDs []string, recognized []uint32) (map[string]Snapshot, error) {
	rows, err := s.DB.Query(ctx,
		`SELECT stream_id, sequence_number, state_schema_version, state FROM snapshot_load_many($1, $2)`,
		streamIDs, recognized)
	if err != nil {
		return nil, err
	}
	found := make(map[string]Snapshot, len(streamIDs))
	var n Snapshot
	_, err = pgx.ForEachRow(rows, []any{&n.StreamID, &n.SequenceNumber, &n.StateSchemaVersion, &n.State}, func() error {
		found[n.StreamID] = n
		return nil
	})
	return found, err
}
