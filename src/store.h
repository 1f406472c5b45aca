/*
 * store.h
 *		Save, load and delete snapshots: the logic.
 *
 * The callers have validated what they pass.  "function" is the OID of the
 * SQL function that was called: the table is in its schema.
 */
#ifndef SNAPSHOT_STORE_STORE_H
#define SNAPSHOT_STORE_STORE_H

#include "nodes/pg_list.h"

#include "stream_snapshot.h"

/* What snapshot_info tells of a snapshot. */
typedef struct SnapshotInfo
{
	SnapshotHeader header;
	int64		state_size;
} SnapshotInfo;

/* Called with each snapshot that a batch has loaded. */
typedef void (*SnapshotReceiver) (const StreamSnapshot *found, void *arg);

extern bool store_save(Oid function, StreamSnapshot *snapshot, bool replace);
extern void store_save_many(Oid function, StreamSnapshot *snapshots, int count,
							bool replace, bool *stored);
extern bool store_load(Oid function, text *stream_id, StateKind kind,
					   const RecognizedVersions *recognized,
					   const SnapshotBounds *bounds,
					   StreamSnapshot *found);
extern void store_load_many(Oid function, text **stream_ids, int count,
							StateKind kind,
							const RecognizedVersions *recognized,
							const SnapshotBounds *bounds,
							SnapshotReceiver receive, void *arg);
extern bool store_is_due(Oid function, text *stream_id,
						 const RecognizedVersions *recognized,
						 int64 event_count, int64 interval);
extern List *store_info(Oid function, text *stream_id);
extern int64 store_delete(Oid function, text *stream_id,
						  const SnapshotBounds *bounds);

#endif							/* SNAPSHOT_STORE_STORE_H */
