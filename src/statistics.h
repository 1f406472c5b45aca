/*
 * statistics.h
 *		What the store has done, counted by kind of stream.
 */
#ifndef SNAPSHOT_STORE_STATISTICS_H
#define SNAPSHOT_STORE_STATISTICS_H

#include "stream_snapshot.h"

/* In the order of snapshot_stats' columns. */
typedef enum Counter
{
	LOADS_FOUND,
	LOADS_NOT_FOUND,			/* the stream has no snapshot */
	LOADS_UNRECOGNIZED,			/* it has, of other versions only */
	LOADS_OUT_OF_BOUNDS,		/* it has a recognized one, beyond the bounds */
	LOADS_OFF,
	SAVES_STORED,
	SAVES_OLDER,				/* a newer one is kept */
	SAVES_SAME,					/* it was not to be replaced */
	SAVES_SUPPRESSED,			/* by a trigger */
	SAVES_OFF,
	SAVES_ROLLED_BACK,			/* stored, but their transaction aborted */
	SAVE_RETRIES,				/* rounds that another writer made necessary */
	LOAD_BATCHES,
	LOAD_BATCH_STREAMS,
	SAVE_BATCHES,
	SAVE_BATCH_STREAMS,
	BYTES_LOADED,
	BYTES_SAVED,
	NUM_COUNTERS
} Counter;

/* How long a kind may be; streams with a longer one count as having none. */
#define KIND_MAX_BYTES		63

/* What was counted for a kind of streams, in a database. */
typedef struct KindStatistics
{
	Oid			database;
	int			kind_length;	/* 0: streams without one, and the rest */
	char		kind[KIND_MAX_BYTES];
	bool		are_shared;		/* or this session's own? */
	TimestampTz since;
	uint64		counters[NUM_COUNTERS];
} KindStatistics;

typedef void (*StatisticsReceiver) (const KindStatistics *kind, void *arg);

extern bool snapshot_store_track;

extern void statistics_reserve(void);
extern void count_for_stream(Counter counter, const text *stream_id);
extern void count_found(const StreamSnapshot *found);
extern void count_stored(const StreamSnapshot *snapshot);
extern void count_batch(Counter batches, Counter streams,
						const text *first_stream_id, int count);
extern void statistics_read(StatisticsReceiver receive, void *arg);
extern void statistics_forget(Oid database);
extern void statistics_reset(void);

#endif							/* SNAPSHOT_STORE_STATISTICS_H */
