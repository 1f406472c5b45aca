/*
 * upkeep.h
 *		What concerns all streams whose names have a common beginning.
 *
 * "function" is the OID of the SQL function that was called: the table is in
 * its schema.
 */
#ifndef SNAPSHOT_STORE_UPKEEP_H
#define SNAPSHOT_STORE_UPKEEP_H

#include "nodes/pg_list.h"

#include "stream_snapshot.h"

/* How many snapshots there are of a schema version, and in how many streams. */
typedef struct VersionCensus
{
	int64		state_schema_version;
	int64		snapshots;
	int64		streams;
	int64		last_stream;	/* the stream last counted, by its number */
} VersionCensus;

/* Called with each stream of the work list. */
typedef void (*StreamReceiver) (const text *stream_id, void *arg);

extern List *upkeep_census(Oid function, text *prefix);
extern void upkeep_outdated(Oid function, text *prefix,
							const RecognizedVersions *recognized,
							int max_streams, text *after_stream_id,
							StreamReceiver receive, void *arg);
extern int64 upkeep_purge(Oid function, text *prefix,
						  const RecognizedVersions *recognized,
						  const SnapshotBounds *bounds, int batch_size);

#endif							/* SNAPSHOT_STORE_UPKEEP_H */
