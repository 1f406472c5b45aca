package account

import (
	"context"
	"database/sql"
	"errors"
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

// A Querier is a *sql.DB, a *sql.Conn or a *sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// A SnapshotStore keeps snapshots in the extension snapshot_store. With a *sql.DB, a save is a transaction
// of its own, and durable when it returns.
//
// Slices are passed as arrays, which lib/pq takes since 1.12 without pq.Array, and a state as a string.
type SnapshotStore struct{ DB Querier }

// Save tells whether the snapshot was stored. It is not, which is no error, if a newer one of its schema
// version is kept, or if the store is off.
func (s SnapshotStore) Save(ctx context.Context, n Snapshot) (stored bool, err error) {
	err = s.DB.QueryRowContext(ctx, `SELECT snapshot_save($1, $2, $3, $4)`,
		n.StreamID, n.SequenceNumber, n.StateSchemaVersion, n.State).Scan(&stored)
	return stored, err
}

// Load returns the most recent snapshot of a recognized schema version, nil if there is none.
func (s SnapshotStore) Load(ctx context.Context, streamID string, recognized []uint32) (*Snapshot, error) {
	n := Snapshot{StreamID: streamID}
	err := s.DB.QueryRowContext(ctx,
		`SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)`,
		streamID, recognized).Scan(&n.SequenceNumber, &n.StateSchemaVersion, &n.State)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// SaveBytes is Save for bytes.
func (s SnapshotStore) SaveBytes(ctx context.Context, n BytesSnapshot) (stored bool, err error) {
	err = s.DB.QueryRowContext(ctx, `SELECT snapshot_save_bytea($1, $2, $3, $4)`,
		n.StreamID, n.SequenceNumber, n.StateSchemaVersion, n.State).Scan(&stored)
	return stored, err
}

// LoadBytes is Load for bytes.
func (s SnapshotStore) LoadBytes(ctx context.Context, streamID string, recognized []uint32) (*BytesSnapshot, error) {
	n := BytesSnapshot{StreamID: streamID}
	err := s.DB.QueryRowContext(ctx,
		`SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea($1, $2)`,
		streamID, recognized).Scan(&n.SequenceNumber, &n.StateSchemaVersion, &n.State)
	if errors.Is(err, sql.ErrNoRows) {
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
	rows, err := s.DB.QueryContext(ctx, `SELECT stream_id, stored FROM snapshot_save_many($1, $2, $3, $4)`,
		streamIDs, sequenceNumbers, versions, states)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	stored := make(map[string]bool, len(snapshots))
	for rows.Next() {
		var streamID string
		var one bool
		if err := rows.Scan(&streamID, &one); err != nil {
			return nil, err
		}
		stored[streamID] = one
	}
	return stored, rows.Err()
}

// LoadMany loads the snapshots of many streams in one call. A stream that has none is not in the map.
func (s SnapshotStore) LoadMany(ctx context.Context, streamIDs []string, recognized []uint32) (map[string]Snapshot, error) {
	rows, err := s.DB.QueryContext(ctx,
		`SELECT stream_id, sequence_number, state_schema_version, state FROM snapshot_load_many($1, $2)`,
		streamIDs, recognized)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[string]Snapshot, len(streamIDs))
	for rows.Next() {
		var n Snapshot
		if err := rows.Scan(&n.StreamID, &n.SequenceNumber, &n.StateSchemaVersion, &n.State); err != nil {
			return nil, err
		}
		found[n.StreamID] = n
	}
	return found, rows.Err()
}
