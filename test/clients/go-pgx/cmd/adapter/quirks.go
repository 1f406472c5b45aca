package main

import (
	"context"
	"encoding/json"
	"errors"

	"example.com/account"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const naiveSave = `SELECT snapshot_save($1, $2, $3, $4)`

var one = []uint32{1}

var quirks = map[string]func() (object, error){
	"defaults":           func() (object, error) { return saveIn(pgx.QueryExecModeCacheStatement) },
	"describe_exec":      func() (object, error) { return saveIn(pgx.QueryExecModeDescribeExec) },
	"every_mode":         everyMode,
	"empty_slice":        func() (object, error) { return saveEmptySlice(pgx.QueryExecModeCacheStatement) },
	"empty_slice_exec":   func() (object, error) { return saveEmptySlice(pgx.QueryExecModeExec) },
	"empty_slice_simple": func() (object, error) { return saveEmptySlice(pgx.QueryExecModeSimpleProtocol) },
	"bytes_as_json_exec": func() (object, error) { return saveValue(pgx.QueryExecModeExec, []byte(`{}`)) },
	"decoded":            decoded,
	"raw_message":        rawMessage,
	"null_pointer":       nullPointer,
	"nil_versions":       nilVersions,
	"batch":              batch,
	"unscanned":          unscanned,
	"leaked":             leaked,
}

// inMode is the pool in another query exec mode.
type inMode pgx.QueryExecMode

func (m inMode) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return pool.Query(ctx, sql, append([]any{pgx.QueryExecMode(m)}, args...)...)
}

func (m inMode) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return pool.QueryRow(ctx, sql, append([]any{pgx.QueryExecMode(m)}, args...)...)
}

func snapshotOf(streamID, state string) account.Snapshot {
	return account.Snapshot{StreamID: streamID, SequenceNumber: 1, StateSchemaVersion: 1, State: state}
}

func saveIn(mode pgx.QueryExecMode) (object, error) {
	stored, err := account.SnapshotStore{DB: inMode(mode)}.Save(ctx, snapshotOf("pgx-mode", `{}`))
	return object{"stored": stored}, err
}

// everyMode goes through the store in each mode, with what has to arrive to the letter.
func everyMode() (object, error) {
	differ := []string{}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		s := account.SnapshotStore{DB: inMode(mode)}
		for _, state := range []string{`[]`, `"text"`, `null`, `{"z":  1.0, "a": 9007199254740993, "q": "it's \"é\""}`} {
			n := snapshotOf("pgx-mode", state)
			n.SequenceNumber, n.StateSchemaVersion = 1<<63-1, 1<<32-1
			if _, err := s.Save(ctx, n); err != nil {
				return nil, err
			}
			found, err := s.Load(ctx, n.StreamID, []uint32{1, n.StateSchemaVersion})
			if err != nil {
				return nil, err
			}
			if _, err := s.SaveMany(ctx, []account.Snapshot{n}); err != nil {
				return nil, err
			}
			many, err := s.LoadMany(ctx, []string{n.StreamID}, []uint32{1, n.StateSchemaVersion})
			if err != nil {
				return nil, err
			}
			if *found != n || many[n.StreamID] != n {
				differ = append(differ, mode.String()+" "+state)
			}
		}
	}
	return object{"differ": differ}, nil
}

func saveEmptySlice(mode pgx.QueryExecMode) (object, error) {
	return saveValue(mode, []int{})
}

// saveValue passes a value of Go, as the driver's own support of JSON has it.
func saveValue(mode pgx.QueryExecMode, value any) (object, error) {
	if _, err := pool.Exec(ctx, naiveSave, mode, "pgx-value", 1, 1, value); err != nil {
		return nil, err
	}
	n, err := store.Load(ctx, "pgx-value", one)
	if err != nil {
		return nil, err
	}
	return object{"state": n.State}, nil
}

func saveText(state string) error {
	_, err := store.Save(ctx, snapshotOf("pgx-text", state))
	return err
}

const naiveLoad = `SELECT state FROM snapshot_load('pgx-text', '{1}')`

func decoded() (object, error) {
	if err := saveText(`{"number": 9007199254740993}`); err != nil {
		return nil, err
	}
	rows, _ := pool.Query(ctx, naiveLoad)
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap)
	if err != nil {
		return nil, err
	}
	state, err := json.Marshal(row["state"])
	return object{"state": string(state)}, err
}

func rawMessage() (object, error) {
	if err := saveText(" {} "); err != nil {
		return nil, err
	}
	var state json.RawMessage
	err := pool.QueryRow(ctx, naiveLoad).Scan(&state)
	return object{"state": string(state)}, err
}

func nullPointer() (object, error) {
	if err := saveText("null"); err != nil {
		return nil, err
	}
	var state *string
	err := pool.QueryRow(ctx, naiveLoad).Scan(&state)
	return object{"state": state}, err
}

func nilVersions() (object, error) {
	_, err := store.Load(ctx, "pgx-text", nil)
	return nil, err
}

// batch sends two saves in one batch, of which the second fails.
func batch() (object, error) {
	b := &pgx.Batch{}
	b.Queue(naiveSave, "pgx-batch", 1, 1, `{}`)
	b.Queue(naiveSave, "pgx-batch", -1, 1, `{}`)
	results := pool.SendBatch(ctx, b)
	var stored bool
	err := results.QueryRow().Scan(&stored)
	if err != nil {
		return nil, err
	}
	var server *pgconn.PgError
	if !errors.As(results.Close(), &server) {
		return nil, errors.New("the second save did not fail")
	}
	n, err := store.Load(ctx, "pgx-batch", one)
	return object{"stored": stored, "second": server.Code, "found": n != nil}, err
}

// unscanned does not want to know whether the snapshot was stored.
func unscanned() (object, error) {
	return held(func(pool *pgxpool.Pool) error {
		pool.QueryRow(ctx, naiveSave, "pgx-unscanned", 1, 1, `{}`)
		return nil
	})
}

// leaked returns between Begin and Commit.
func leaked() (object, error) {
	return held(func(pool *pgxpool.Pool) error {
		_, err := pool.Begin(ctx)
		return err
	})
}

// held tells how many connections a function leaves behind that the pool cannot give to anybody else.
func held(leave func(*pgxpool.Pool) error) (object, error) {
	pool := connect() // never closed: that would wait
	err := leave(pool)
	return object{"held": pool.Stat().AcquiredConns()}, err
}
