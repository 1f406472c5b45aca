/*
 * retention.c
 *		The retention rule, as a pure function.
 *
 * A stream keeps the newest "keep" snapshots of each of its "keep_versions"
 * most recently saved schema versions.  Newest is the highest sequence
 * number; most recently saved is the latest created_at of the version's
 * snapshots.  Ties are broken by created_at, then by slot.
 *
 * Nothing here touches the server: the function is tested by itself.
 */
#include "postgres.h"

#include "retention.h"

static int
compare(int64 a, int64 b)
{
	return (a > b) - (a < b);
}

/* qsort comparator: by schema version, the newest of a version first. */
static int
compare_headers(const void *left, const void *right)
{
	const SnapshotHeader *a = left;
	const SnapshotHeader *b = right;
	int			result;

	result = compare(a->state_schema_version, b->state_schema_version);
	if (result == 0)
		result = compare(b->sequence_number, a->sequence_number);
	if (result == 0)
		result = compare(b->created_at, a->created_at);
	if (result == 0)
		result = compare(b->slot, a->slot);
	return result;
}

static bool
was_saved_before(const SnapshotHeader *a, const SnapshotHeader *b)
{
	int			result = compare(a->created_at, b->created_at);

	return result < 0 || (result == 0 && a->slot < b->slot);
}

/*
 * While there are more than keep_versions of them, the version to go: of all
 * but the new snapshot's own, the one whose last save is longest ago.
 * Otherwise -1.
 */
static int64
version_to_drop(int64 own_version, const SnapshotHeader *kept, int nkept,
				int keep_versions, const int16 *new_slots)
{
	int			nversions = 1;	/* the new snapshot's own */
	const SnapshotHeader *oldest = NULL;
	int			i = 0;

	while (i < nkept)
	{
		int64		version = kept[i].state_schema_version;
		const SnapshotHeader *last_save = NULL;

		for (; i < nkept && kept[i].state_schema_version == version; i++)
		{
			if (new_slots[i] != RETENTION_DROPPED &&
				(last_save == NULL || was_saved_before(last_save, &kept[i])))
				last_save = &kept[i];
		}
		if (last_save == NULL || version == own_version)
			continue;
		nversions++;
		if (oldest == NULL || was_saved_before(last_save, oldest))
			oldest = last_save;
	}
	return oldest != NULL && nversions > keep_versions ?
		oldest->state_schema_version : -1;
}

/*
 * retention_plan
 *		Decide what saving new_snapshot does to a stream.
 *
 * kept are the headers of the stream's nkept rows, in any order; they come
 * back sorted.  new_slots[i] receives the slot that kept[i] has afterwards,
 * or RETENTION_DROPPED.  When plan->store comes back false, nothing at all
 * is to be changed and new_slots means nothing.
 */
void
retention_plan(const SnapshotHeader *new_snapshot,
			   SnapshotHeader *kept, int nkept,
			   int keep, int keep_versions,
			   RetentionPlan *plan, int16 *new_slots)
{
	int			capacity = keep * keep_versions;
	bool		in_use[RETENTION_MAX_KEEP * RETENTION_MAX_KEEP_VERSIONS];
	int64		own_version = new_snapshot->state_schema_version;
	int64		version = -1;
	int			rank = 0;		/* of the next snapshot within its version */
	bool		ranked = false; /* has the new one taken its rank? */
	int			free_slot;

	plan->store = true;
	plan->slot = 0;
	plan->overwrites = -1;

	if (nkept > 1)
		qsort(kept, nkept, sizeof(SnapshotHeader), compare_headers);

	/* Within each version, the newest "keep" stay. */
	for (int i = 0; i < nkept; i++)
	{
		if (i == 0 || kept[i].state_schema_version != version)
		{
			version = kept[i].state_schema_version;
			rank = 0;
		}
		if (version == own_version &&
			kept[i].sequence_number <= new_snapshot->sequence_number)
		{
			if (!ranked)
			{
				ranked = true;
				rank++;
			}
			if (kept[i].sequence_number == new_snapshot->sequence_number)
			{
				new_slots[i] = RETENTION_DROPPED;	/* replaced */
				continue;
			}
		}
		new_slots[i] = rank < keep ? kept[i].slot : RETENTION_DROPPED;
		rank++;
		if (version == own_version && !ranked && rank >= keep)
		{
			/* "keep" newer ones: there is no room for an older one */
			plan->store = false;
			return;
		}
	}

	/* Of the versions, the most recently saved "keep_versions" stay. */
	while ((version = version_to_drop(own_version, kept, nkept, keep_versions,
									  new_slots)) >= 0)
	{
		for (int i = 0; i < nkept; i++)
		{
			if (kept[i].state_schema_version == version)
				new_slots[i] = RETENTION_DROPPED;
		}
	}

	/*
	 * The new snapshot takes the lowest free slot.  Then the survivors above
	 * the capacity, which was lowered since, move below it.
	 */
	memset(in_use, false, capacity);
	for (int i = 0; i < nkept; i++)
	{
		int16		slot = new_slots[i];

		if (slot >= 0 && slot < capacity)
			in_use[slot] = true;
	}
	for (free_slot = 0; in_use[free_slot]; free_slot++)
		;
	plan->slot = free_slot;
	for (int i = 0; i < nkept; i++)
	{
		if (new_slots[i] >= capacity)
		{
			while (in_use[++free_slot])
				;
			new_slots[i] = free_slot;
		}
	}

	/* If a dropped one lies there, its row is overwritten. */
	for (int i = 0; i < nkept; i++)
	{
		if (new_slots[i] == RETENTION_DROPPED && kept[i].slot == plan->slot)
			plan->overwrites = i;
	}
}
