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

/* A kept snapshot, and what a plan makes of it. */
typedef struct KeptSnapshot
{
	SnapshotHeader header;
	bool		stays;
	int16		new_slot;		/* if it stays */
	/* of the last save of its version: when it was, and the slot */
	TimestampTz version_saved_at;
	int16		version_slot;
} KeptSnapshot;

typedef struct RetentionPlan
{
	bool		store;			/* is the new snapshot stored at all? */
	int16		slot;			/* the slot that it takes */
	int			overwrites;		/* index of the kept snapshot that goes and
								 * lies there, or -1 */
} RetentionPlan;

extern void retention_plan(const SnapshotHeader *new_snapshot,
						   bool replace, TimestampTz now,
						   KeptSnapshot *kept, int nkept,
						   int keep, int keep_versions,
						   RetentionPlan *plan);

#endif							/* SNAPSHOT_STORE_RETENTION_H */
