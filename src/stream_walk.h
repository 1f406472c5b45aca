/*
 * stream_walk.h
 *		A walk over the rows of all streams whose names have a common beginning,
 *		at once or in batches that commit.
 */
#ifndef SNAPSHOT_STORE_STREAM_WALK_H
#define SNAPSHOT_STORE_STREAM_WALK_H

#include "nodes/parsenodes.h"

#include "table.h"

typedef struct StreamWalk
{
	KeyWalk		keys;
	const text *prefix;
	int64		number;			/* of the current stream, from 1 */
} StreamWalk;

extern void stream_walk_begin(const StoreTable *table, const text *prefix,
							  const KeyPosition *after, int fetch,
							  StreamWalk *walk);
extern bool stream_walk_next(StreamWalk *walk, bool *first);

/* The keys of a batch's rows, as arrays for a statement. */
typedef struct KeyBatch
{
	struct ArrayBuildState *stream_ids;
	struct ArrayBuildState *slots;
	MemoryContext context;		/* where they are */
} KeyBatch;

extern void key_batch_begin(KeyBatch *batch);
extern void key_batch_add(KeyBatch *batch, const KeyPosition *key);
extern Datum key_batch_stream_ids(const KeyBatch *batch);
extern Datum key_batch_slots(const KeyBatch *batch);

/* What is done in batches, and to which rows at most. */
typedef struct BatchWork
{
	const char *done;			/* "deleted", for notices */
	AclMode		privileges;
	const RecognizedVersions *recognized;	/* not to those; NULL: to all */
	const SnapshotBounds *bounds;	/* of time */
	uint64		(*work) (const StoreTable *table, const KeyBatch *keys,
						 const struct BatchWork *work);
} BatchWork;

/* How many rows a batch may have: their keys fit into one array. */
#define MAX_BATCH_SIZE	500000

extern int64 work_in_batches(Oid function, text *prefix, int batch_size,
							 const BatchWork *work);

#endif							/* SNAPSHOT_STORE_STREAM_WALK_H */
