/*
 * retention.h
 *		Which of a stream's snapshots stay, and which slot a new one takes.
 */
#ifndef SNAPSHOT_STORE_RETENTION_H
#define SNAPSHOT_STORE_RETENTION_H

#include "stream_snapshot.h"

/* Limits of snapshot_store.keep and snapshot_store.keep_versions. */
#define RETENTION_MAX_KEEP			100
#define RETENTION_MAX_KEEP_VERSIONS	100

/* In new_slots: this snapshot does not stay. */
#define RETENTION_DROPPED			(-1)

typedef struct RetentionPlan
{
	bool		store;			/* is the new snapshot stored at all? */
	int16		slot;			/* the slot that it takes */
	int			overwrites;		/* index of the dropped snapshot that lies
								 * there, or -1 */
} RetentionPlan;

extern void retention_plan(const SnapshotHeader *new_snapshot,
						   SnapshotHeader *kept, int nkept,
						   int keep, int keep_versions,
						   RetentionPlan *plan, int16 *new_slots);

#endif							/* SNAPSHOT_STORE_RETENTION_H */
