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
compare_newest(const void *left, const void *right)
{
	const SnapshotHeader *a = &((const KeptSnapshot *) left)->header;
	const SnapshotHeader *b = &((const KeptSnapshot *) right)->header;
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

/* qsort comparator: the version that was saved last first. */
static int
compare_last_saved(const void *left, const void *right)
{
	const KeptSnapshot *a = left;
	const KeptSnapshot *b = right;
	int			result;

	result = compare(b->version_saved_at, a->version_saved_at);
	if (result == 0)
		result = compare(b->version_slot, a->version_slot);
	if (result == 0)
		result = compare(a->header.state_schema_version,
						 b->header.state_schema_version);
	return result;
}

/* qsort comparator: by slot. */
static int
compare_slots(const void *left, const void *right)
{
	return compare(((const KeptSnapshot *) left)->header.slot,
				   ((const KeptSnapshot *) right)->header.slot);
}

static bool
is_of_version(const KeptSnapshot *row, int64 version)
{
	return row->header.state_schema_version == version;
}

/*
 * Within each version, the newest "keep" stay, of the new snapshot's own with
 * that one among them, which also replaces one of the same sequence number.
 * False if there are as many newer ones, or one that is not to be replaced.
 * Leaves the rows sorted by version.
 */
static bool
keep_newest(const SnapshotHeader *new_snapshot, bool replace,
			KeptSnapshot *kept, int nkept, int keep)
{
	int			newer = 0;
	bool		replaces = false;	/* one of the same sequence number */
	int			places = 0;		/* that are left in the row's version */

	qsort(kept, nkept, sizeof(KeptSnapshot), compare_newest);
	for (int i = 0; i < nkept; i++)
	{
		KeptSnapshot *row = &kept[i];
		int64		version = row->header.state_schema_version;
		int64		sequence_number = row->header.sequence_number;
		bool		own = version == new_snapshot->state_schema_version;
		bool		same = own && sequence_number == new_snapshot->sequence_number;

		if (i == 0 || !is_of_version(row - 1, version))
			places = own ? keep - 1 : keep;
		if (own && sequence_number > new_snapshot->sequence_number)
			newer++;
		if (same)
			replaces = true;
		row->stays = places > 0 && !same;
		if (row->stays)
			places--;
	}
	return newer < keep && (replace || !replaces);
}

/*
 * When a snapshot was saved.  One that is further ahead than a save may be
 * (it came from elsewhere) would outlive all others: it counts as the oldest.
 */
static TimestampTz
saved_at(const KeptSnapshot *row, TimestampTz now)
{
	return is_too_far_ahead(row->header.created_at, now) ?
		DT_NOBEGIN : row->header.created_at;
}

/* Tell each row, sorted by version, when its version was saved last. */
static void
find_last_saves(KeptSnapshot *kept, int nkept, TimestampTz now)
{
	int			next;

	for (int first = 0; first < nkept; first = next)
	{
		int64		version = kept[first].header.state_schema_version;
		TimestampTz last = DT_NOBEGIN;
		int16		slot = 0;

		for (next = first; next < nkept && is_of_version(&kept[next], version); next++)
		{
			TimestampTz time = saved_at(&kept[next], now);

			if (kept[next].stays &&
				(time > last || (time == last && kept[next].header.slot > slot)))
			{
				last = time;
				slot = kept[next].header.slot;
			}
		}
		for (int i = first; i < next; i++)
		{
			kept[i].version_saved_at = last;
			kept[i].version_slot = slot;
		}
	}
}

/*
 * Of the versions that are left, the new snapshot's own and the most recently
 * saved others stay, "keep_versions" in all.
 */
static void
keep_last_saved_versions(int64 own_version, TimestampTz now,
						 KeptSnapshot *kept, int nkept, int keep_versions)
{
	const KeptSnapshot *last = NULL;
	int			nversions = 1;

	find_last_saves(kept, nkept, now);
	qsort(kept, nkept, sizeof(KeptSnapshot), compare_last_saved);
	for (int i = 0; i < nkept; i++)
	{
		KeptSnapshot *row = &kept[i];

		if (!row->stays || is_of_version(row, own_version))
			continue;
		if (last == NULL || !is_of_version(last, row->header.state_schema_version))
			nversions++;
		last = row;
		if (nversions > keep_versions)
			row->stays = false;
	}
}

static int
next_free_slot(const bool *in_use, int from, int capacity)
{
	int			slot = from;

	while (slot < capacity && in_use[slot])
		slot++;
	/* What stays, and the new snapshot, are not more than there are slots. */
	Assert(slot < capacity);
	return slot;
}

/*
 * The new snapshot takes the lowest slot that is free or becomes free.  Then
 * the others above the capacity, which was lowered since, move below it.
 */
static void
assign_slots(KeptSnapshot *kept, int nkept, int capacity, RetentionPlan *plan)
{
	bool		in_use[RETENTION_MAX_KEEP * RETENTION_MAX_KEEP_VERSIONS];
	int			slot;

	memset(in_use, false, capacity);
	for (int i = 0; i < nkept; i++)
	{
		Assert(kept[i].header.slot >= 0);
		if (kept[i].stays && kept[i].header.slot < capacity)
			in_use[kept[i].header.slot] = true;
	}

	slot = next_free_slot(in_use, 0, capacity);
	plan->slot = slot;
	plan->overwrites = -1;
	for (int i = 0; i < nkept; i++)
	{
		KeptSnapshot *row = &kept[i];

		row->new_slot = row->header.slot;
		if (row->stays && row->header.slot >= capacity)
			row->new_slot = slot = next_free_slot(in_use, slot + 1, capacity);
		else if (!row->stays && row->header.slot == plan->slot)
			plan->overwrites = i;
	}
}

/*
 * retention_plan
 *		Decide what saving new_snapshot does to a stream.
 *
 * kept are the stream's nkept rows, with slots from 0, in any order.  They
 * come back in the order of their slots, each with whether it stays, and
 * where.  When plan->store comes back false, nothing at all is to be changed,
 * and the rest means nothing; without "replace" also because one of the same
 * version and sequence number is kept.
 */
void
retention_plan(const SnapshotHeader *new_snapshot, bool replace, TimestampTz now,
			   KeptSnapshot *kept, int nkept,
			   int keep, int keep_versions,
			   RetentionPlan *plan)
{
	plan->store = keep_newest(new_snapshot, replace, kept, nkept, keep);
	if (plan->store)
		keep_last_saved_versions(new_snapshot->state_schema_version, now,
								 kept, nkept, keep_versions);
	qsort(kept, nkept, sizeof(KeptSnapshot), compare_slots);
	if (plan->store)
		assign_slots(kept, nkept, keep * keep_versions, plan);
}
