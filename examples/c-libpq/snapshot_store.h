/*
 * Snapshots of event-sourced streams, by libpq.
 *
 * Outside of a transaction block, each call is a transaction of its own, which has been committed when it
 * returns.  Schema versions are given as an array of PostgreSQL, such as "{1,2}".
 */
#ifndef SNAPSHOT_STORE_H
#define SNAPSHOT_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Snapshot
{
	char	   *stream_id;
	int64_t		sequence_number;
	uint32_t	state_schema_version;
	char	   *state;			/* JSON, kept to the letter, or bytes */
	size_t		size;			/* of bytes; they may have NULs */
} Snapshot;

typedef struct SnapshotStore
{
	PGconn	   *connection;
	char		sqlstate[6];	/* of the last error; empty if the connection failed */
} SnapshotStore;

/* These return 1 if it was stored, 0 if not, and -1 after an error. */
int			snapshot_save(SnapshotStore *store, const Snapshot *snapshot);
int			snapshot_save_bytes(SnapshotStore *store, const Snapshot *snapshot);

/* These return 1 if there is one, which is then to be freed, 0 if there is none, and -1 after an error. */
int			snapshot_load(SnapshotStore *store, const char *stream_id, const char *versions,
						  Snapshot *snapshot);
int			snapshot_load_bytes(SnapshotStore *store, const char *stream_id, const char *versions,
								Snapshot *snapshot);

/* All or none, with one flush: returns how many were stored, and tells which, or -1 after an error. */
int			snapshot_save_many(SnapshotStore *store, const Snapshot *snapshots, int count, bool *stored);

/* Returns how many of them there are, each to be freed, or -1 after an error. */
int			snapshot_load_many(SnapshotStore *store, const char *const *stream_ids, int count,
							   const char *versions, Snapshot *snapshots);

void		snapshot_free(Snapshot *snapshot);

/*
 * A statement with its parameters, as text.  Returns its result, or NULL after an error, which is in
 * store->sqlstate and PQerrorMessage(store->connection).
 */
PGresult   *snapshot_query(SnapshotStore *store, const char *statement, int count,
						   const char *const *parameters);

#endif
