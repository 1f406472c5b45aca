// Package account is an event-sourced account with snapshots.
package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"log"
)

// The form of state, and the forms that this code can read.
const version = 1

var recognized = []uint32{version}

type state struct {
	Balance int64 `json:"balance"`
}

type deposited struct {
	Amount int64 `json:"amount"`
}

// An Account is a stream of deposits, whose first event is number 1.
type Account struct {
	Balance  int64
	Replayed int // events, by Load
	Saved    int // snapshots, by Deposit

	db       *sql.DB
	streamID string
	interval int64 // events from one snapshot to the next
	last     int64 // event
	snapshot int64 // the event of the last snapshot
}

// Load rehydrates an account in one statement: its snapshot, if there is one, and the events after it.
func Load(ctx context.Context, db *sql.DB, streamID string, interval int64) (*Account, error) {
	a := &Account{db: db, streamID: streamID, interval: interval}
	rows, err := db.QueryContext(ctx, `
		WITH snapshot AS MATERIALIZED (
			SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
		)
		SELECT sequence_number, state_schema_version, state AS data FROM snapshot
		UNION ALL
		SELECT sequence_number, NULL, data FROM account_event
		WHERE stream_id = $1 AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
		  AND sequence_number <= 9223372036854775807 -- always; for the planner
		ORDER BY sequence_number`, streamID, recognized)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var ofSnapshot *uint32
		var data []byte
		if err := rows.Scan(&a.last, &ofSnapshot, &data); err != nil {
			return nil, err
		}
		if ofSnapshot != nil {
			var s state
			if err := json.Unmarshal(data, &s); err != nil {
				return nil, err
			}
			a.Balance, a.snapshot = s.Balance, a.last
			continue
		}
		var event deposited
		if err := json.Unmarshal(data, &event); err != nil {
			return nil, err
		}
		a.Balance += event.Amount
		a.Replayed++
	}
	return a, rows.Err()
}

// Deposit appends an event. If another has been appended since Load, it fails with 23505.
func (a *Account) Deposit(ctx context.Context, amount int64) error {
	event, err := json.Marshal(deposited{amount})
	if err != nil {
		return err
	}
	if _, err := a.db.ExecContext(ctx, `INSERT INTO account_event VALUES ($1, $2, $3)`,
		a.streamID, a.last+1, string(event)); err != nil {
		return err
	}
	a.last++
	a.Balance += amount
	// The event is committed. A snapshot that is not saved costs time, not the deposit.
	if err := a.saveWhenDue(ctx); err != nil {
		log.Printf("snapshot of %s: %v", a.streamID, err)
	}
	return nil
}

func (a *Account) saveWhenDue(ctx context.Context) error {
	if a.last-a.snapshot < a.interval {
		return nil
	}
	var due bool
	err := a.db.QueryRowContext(ctx, `SELECT snapshot_due($1, $2, $3, $4)`,
		a.streamID, recognized, a.last, a.interval).Scan(&due)
	if err != nil || !due {
		return err
	}
	data, err := json.Marshal(state{a.Balance})
	if err != nil {
		return err
	}
	stored, err := SnapshotStore{a.db}.Save(ctx, Snapshot{a.streamID, a.last, version, string(data)})
	if err != nil || !stored {
		return err
	}
	a.snapshot = a.last
	a.Saved++
	return nil
}
