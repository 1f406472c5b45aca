/*
 * samples.h
 *		Some states of a kind, to train a dictionary on.
 */
#ifndef SNAPSHOT_STORE_SAMPLES_H
#define SNAPSHOT_STORE_SAMPLES_H

#include "table.h"

typedef struct Samples
{
	int64		snapshots;		/* about how many could be packed */
	int			count;			/* how many of them are samples */
	struct varlena **states;	/* plain */
	int		   *stored_sizes;	/* what the server makes of them, without us */
} Samples;

extern void collect_samples(const StoreTable *table, const text *prefix,
							bool of_one_version, int64 state_schema_version,
							int max_samples, Samples *samples);

#endif							/* SNAPSHOT_STORE_SAMPLES_H */
