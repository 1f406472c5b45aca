// Command adapter runs the store and the account as the lines on its standard input say.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"

	"example.com/account"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

type object map[string]any

type snapshot struct {
	Stream   string `json:"stream,omitempty"`
	Sequence string `json:"sequence"`
	Version  string `json:"version"`
	State    string `json:"state"`
}

type request struct {
	snapshot
	Op, Name          string
	Streams, Versions []string
	Snapshots         []snapshot
	Amounts           []int64
	Interval          int64
	Again             bool
}

var (
	ctx   = context.Background()
	pool  *pgxpool.Pool
	store account.SnapshotStore
)

func main() {
	pool = connect()
	store.DB = pool
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for in.More() {
		var r request
		if err := in.Decode(&r); err != nil {
			log.Fatal(err)
		}
		answer, err := handle(r)
		if err != nil {
			answer = failure(err)
		}
		if err := out.Encode(answer); err != nil {
			log.Fatal(err)
		}
	}
}

func connect() *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	if os.Getenv("POOLER") == "transaction" && os.Getenv("DEFAULTS") == "" {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	config.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	return pool
}

func failure(err error) object {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return object{"error": object{"sqlstate": server.Code, "type": fmt.Sprintf("%T", server)}}
	}
	return object{"error": object{"message": err.Error()}}
}

func handle(r request) (object, error) {
	switch r.Op {
	case "save":
		n, err := parse(r.snapshot)
		if err != nil {
			return nil, err
		}
		stored, err := store.Save(ctx, n)
		return object{"stored": stored}, err
	case "save_bytes":
		n, err := parse(r.snapshot)
		if err != nil {
			return nil, err
		}
		state, err := hex.DecodeString(n.State)
		if err != nil {
			return nil, err
		}
		stored, err := store.SaveBytes(ctx, account.BytesSnapshot{StreamID: n.StreamID,
			SequenceNumber: n.SequenceNumber, StateSchemaVersion: n.StateSchemaVersion, State: state})
		return object{"stored": stored}, err
	case "load":
		recognized, err := parseVersions(r.Versions)
		if err != nil {
			return nil, err
		}
		n, err := store.Load(ctx, r.Stream, recognized)
		if err != nil || n == nil {
			return object{"snapshot": nil}, err
		}
		return object{"snapshot": format(n.SequenceNumber, n.StateSchemaVersion, n.State)}, nil
	case "load_bytes":
		recognized, err := parseVersions(r.Versions)
		if err != nil {
			return nil, err
		}
		n, err := store.LoadBytes(ctx, r.Stream, recognized)
		if err != nil || n == nil {
			return object{"snapshot": nil}, err
		}
		return object{"snapshot": format(n.SequenceNumber, n.StateSchemaVersion, hex.EncodeToString(n.State))}, nil
	case "save_many":
		snapshots := make([]account.Snapshot, len(r.Snapshots))
		for i, one := range r.Snapshots {
			var err error
			if snapshots[i], err = parse(one); err != nil {
				return nil, err
			}
		}
		stored, err := store.SaveMany(ctx, snapshots)
		return object{"stored": stored}, err
	case "load_many":
		recognized, err := parseVersions(r.Versions)
		if err != nil {
			return nil, err
		}
		found, err := store.LoadMany(ctx, r.Streams, recognized)
		snapshots := object{}
		for streamID, n := range found {
			snapshots[streamID] = format(n.SequenceNumber, n.StateSchemaVersion, n.State)
		}
		return object{"snapshots": snapshots}, err
	case "forget":
		n, err := parse(r.snapshot)
		if err != nil {
			return nil, err
		}
		return forget(n)
	case "account":
		a, err := account.Load(ctx, pool, r.Stream, r.Interval)
		if err == nil && r.Again {
			a, err = account.Load(ctx, pool, r.Stream, r.Interval)
		}
		if err != nil {
			return nil, err
		}
		for _, amount := range r.Amounts {
			if err := a.Deposit(ctx, amount); err != nil {
				return nil, err
			}
		}
		return object{"balance": fmt.Sprint(a.Balance),
			"replayed": fmt.Sprint(a.Replayed), "saved": fmt.Sprint(a.Saved)}, nil
	case "quirk":
		if quirk, found := quirks[r.Name]; found {
			return quirk()
		}
	}
	return nil, fmt.Errorf("there is no %s %s", r.Op, r.Name)
}

// forget gives a connection back to the pool within a transaction, as after a return between Begin and Commit.
func forget(n account.Snapshot) (object, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := account.SnapshotStore{DB: tx}.Save(ctx, n)
	return object{"stored": stored}, err
}

func parse(s snapshot) (account.Snapshot, error) {
	sequenceNumber, err := strconv.ParseInt(s.Sequence, 10, 64)
	if err != nil {
		return account.Snapshot{}, err
	}
	version, err := strconv.ParseUint(s.Version, 10, 32)
	return account.Snapshot{StreamID: s.Stream, SequenceNumber: sequenceNumber,
		StateSchemaVersion: uint32(version), State: s.State}, err
}

func parseVersions(texts []string) ([]uint32, error) {
	versions := make([]uint32, len(texts))
	for i, text := range texts {
		version, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		versions[i] = uint32(version)
	}
	return versions, nil
}

func format(sequenceNumber int64, version uint32, state string) snapshot {
	return snapshot{Sequence: fmt.Sprint(sequenceNumber), Version: fmt.Sprint(version), State: state}
}
