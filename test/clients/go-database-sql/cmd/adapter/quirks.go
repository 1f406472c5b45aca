package main

import (
	"database/sql"
	"encoding/json"
	"os"

	"example.com/account"
)

const naiveSave = `SELECT snapshot_save($1, $2, $3, $4)`

var one = []uint32{1}

var quirks = map[string]func() (object, error){
	"defaults":     defaults,
	"another":      another,
	"slice":        func() (object, error) { return saveValue(db, []int{}) },
	"bytes":        func() (object, error) { return saveValue(db, []byte(`{"a":  1}`)) },
	"raw_message":  func() (object, error) { return saveValue(db, json.RawMessage(`{"a":  1}`)) },
	"bytes_binary": bytesBinary,
	"map":          func() (object, error) { return saveValue(db, map[string]int{}) },
	"any":          scannedIntoAny,
	"nil_versions": nilVersions,
	"rows":         rowsAffected,
	"unscanned":    unscanned,
	"leaked":       leaked,
	"begun":        begun,
	"sslmode":      sslmode,
}

func snapshotOf(streamID, state string) account.Snapshot {
	return account.Snapshot{StreamID: streamID, SequenceNumber: 1, StateSchemaVersion: 1, State: state}
}

// defaults saves and loads.
func defaults() (object, error) {
	if _, err := store.Save(ctx, snapshotOf("pq-defaults", `{}`)); err != nil {
		return nil, err
	}
	_, err := store.Load(ctx, "pq-defaults", one)
	return object{}, err
}

// another counts the snapshots of one stream between deletions of another's. That the first are then gone is
// what no SQLSTATE tells.
func another() (object, error) {
	db := open("&binary_parameters=yes")
	defer db.Close()
	right := account.SnapshotStore{DB: db}
	if _, err := right.Save(ctx, snapshotOf("pq-counted", `{}`)); err != nil {
		return nil, err
	}
	for range [3]int{} {
		var n int
		store.DB.QueryRowContext(ctx, `SELECT snapshot_delete($1)`, "pq-deleted").Scan(&n)
		store.DB.QueryRowContext(ctx, `SELECT count(*) FROM snapshot_info($1)`, "pq-counted").Scan(&n)
	}
	n, err := right.Load(ctx, "pq-counted", one)
	if err == nil && n == nil {
		return object{"error": object{"sqlstate": "00000", "type": "deleted"}}, nil
	}
	return object{"found": n != nil}, err
}

// saveValue passes a value of Go as a state.
func saveValue(db *sql.DB, value any) (object, error) {
	if _, err := db.ExecContext(ctx, naiveSave, "pq-value", 1, 1, value); err != nil {
		return nil, err
	}
	n, err := store.Load(ctx, "pq-value", one)
	if err != nil {
		return nil, err
	}
	return object{"state": n.State}, nil
}

func bytesBinary() (object, error) {
	db := open("&binary_parameters=yes")
	defer db.Close()
	return saveValue(db, []byte(`{"a":  1}`))
}

func scannedIntoAny() (object, error) {
	if _, err := store.Save(ctx, snapshotOf("pq-any", `{}`)); err != nil {
		return nil, err
	}
	var state any
	err := db.QueryRowContext(ctx, `SELECT state FROM snapshot_load('pq-any', '{1}')`).Scan(&state)
	encoded, _ := json.Marshal(state)
	return object{"state": string(encoded)}, err
}

func nilVersions() (object, error) {
	_, err := store.Load(ctx, "pq-value", nil)
	return nil, err
}

func rowsAffected() (object, error) {
	n := snapshotOf("pq-rows", `{}`)
	n.SequenceNumber = 2
	if _, err := store.Save(ctx, n); err != nil {
		return nil, err
	}
	result, err := db.ExecContext(ctx, naiveSave, "pq-rows", 1, 1, `{}`)
	if err != nil {
		return nil, err
	}
	rows, err := result.RowsAffected()
	return object{"rows": rows}, err
}

// unscanned does not want to know whether the snapshot was stored.
func unscanned() (object, error) {
	return held(func(db *sql.DB) error {
		db.QueryRowContext(ctx, naiveSave, "pq-unscanned", 1, 1, `{}`)
		return nil
	})
}

// leaked returns between Begin and Commit.
func leaked() (object, error) {
	return held(func(db *sql.DB) error {
		_, err := db.BeginTx(ctx, nil)
		return err
	})
}

// held tells how many connections a function leaves behind that the pool cannot give to anybody else.
func held(leave func(*sql.DB) error) (object, error) {
	db := connect()
	defer db.Close()
	err := leave(db)
	return object{"held": db.Stats().InUse}, err
}

// begun begins a transaction by hand, on whatever connection the pool gives.
func begun() (object, error) {
	own := connect()
	defer own.Close()
	own.SetMaxOpenConns(1)
	if _, err := own.ExecContext(ctx, "BEGIN"); err != nil {
		return nil, err
	}
	stored, err := account.SnapshotStore{DB: own}.Save(ctx, snapshotOf("pq-begun", `{}`))
	if err != nil {
		return nil, err
	}
	n, err := store.Load(ctx, "pq-begun", one)
	return object{"stored": stored, "found": n != nil}, err
}

// sslmode connects as the URL has it.
func sslmode() (object, error) {
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return nil, db.PingContext(ctx)
}
