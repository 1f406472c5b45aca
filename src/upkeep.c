/*
 * upkeep.c
 *		What concerns all streams whose names have a common beginning: a census
 *		of schema versions, the work list after a change of the schema, and
 *		the purge.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"

#include "citus.h"
#include "durability.h"
#include "relation.h"
#include "stream_walk.h"
#include "upkeep.h"

static int
compare_versions(const ListCell *a, const ListCell *b)
{
	const VersionCensus *x = lfirst(a);
	const VersionCensus *y = lfirst(b);

	CHECK_FOR_INTERRUPTS();		/* there may be millions */
	return (x->state_schema_version > y->state_schema_version) -
		(x->state_schema_version < y->state_schema_version);
}

/*
 * upkeep_census
 *		Count snapshots and streams by schema version; a list of VersionCensus
 *		in the order of the versions.
 */
List *
upkeep_census(Oid function, text *prefix)
{
	HASHCTL		control = {0};
	HTAB	   *versions;
	HASH_SEQ_STATUS status;
	VersionCensus *version;
	KeyPosition start = {prefix, BEFORE_ALL_SLOTS};
	StoreTable	table;
	StreamWalk	walk;
	bool		first;
	List	   *census = NIL;

	store_table_open(function, LOAD_PRIVILEGES, &table);
	if (table.access->distributed)
	{
		census = citus_census(&table, prefix);
		store_table_close(&table);
		return census;
	}

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(VersionCensus);
	control.hcxt = CurrentMemoryContext;
	versions = hash_create("snapshot_store census", 16, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	stream_walk_begin(&table, prefix, &start, TABLE_WALK_FETCH, &walk);
	while (stream_walk_next(&walk, &first))
	{
		bool		known;

		version = hash_search(versions, &walk.keys.state_schema_version,
							  HASH_ENTER, &known);
		if (!known)
		{
			version->snapshots = 0;
			version->streams = 0;
			version->last_stream = 0;
		}
		version->snapshots++;
		if (version->last_stream != walk.number)
			version->streams++;
		version->last_stream = walk.number;
	}
	table_walk_end(&walk.keys);
	store_table_close(&table);

	hash_seq_init(&status, versions);
	while ((version = hash_seq_search(&status)) != NULL)
		census = lappend(census, version);
	list_sort(census, compare_versions);
	return census;
}

/*
 * upkeep_outdated
 *		Hand the ids of streams that hold snapshots, none of them recognized, to
 *		the receiver: the first max_streams after after_stream_id, which may be
 *		NULL.
 */
void
upkeep_outdated(Oid function, text *prefix, const RecognizedVersions *recognized,
				int max_streams, text *after_stream_id,
				StreamReceiver receive, void *arg)
{
	StoreTable	table;
	StreamWalk	walk;
	KeyPosition start = {prefix, BEFORE_ALL_SLOTS};
	text	   *candidate = NULL;
	int			found = 0;
	bool		first;

	if (after_stream_id != NULL && compare_stream_ids(after_stream_id, prefix) > 0)
		start.stream_id = after_stream_id;

	store_table_open(function, LOAD_PRIVILEGES, &table);
	if (table.access->distributed)
	{
		citus_outdated(&table, prefix, recognized, max_streams, after_stream_id,
					   receive, arg);
		store_table_close(&table);
		return;
	}
	stream_walk_begin(&table, prefix, &start,
					  max_streams < TABLE_WALK_FETCH ? max_streams + 1 : TABLE_WALK_FETCH,
					  &walk);
	while (stream_walk_next(&walk, &first))
	{
		if (first && candidate != NULL)
		{
			receive(candidate, arg);
			pfree(candidate);
			candidate = NULL;
			if (++found == max_streams)
				break;
		}
		if (after_stream_id != NULL &&
			compare_stream_ids(walk.keys.at.stream_id, after_stream_id) <= 0)
			continue;
		if (first)
			candidate = copy_stream_id(walk.keys.at.stream_id);
		if (candidate != NULL &&
			is_recognized(recognized, walk.keys.state_schema_version))
		{
			pfree(candidate);
			candidate = NULL;
		}
	}
	table_walk_end(&walk.keys);
	store_table_close(&table);

	if (candidate != NULL)
		receive(candidate, arg);
}

static uint64
purge_rows(const StoreTable *table, const KeyBatch *keys, const BatchWork *work)
{
	uint64		gone = table_purge(table, key_batch_stream_ids(keys), key_batch_slots(keys),
								   work->recognized, work->bounds);

	if (gone > 0)
		ensure_durable_commit();
	return gone;
}

/*
 * upkeep_purge
 *		Delete, in batches that commit, what is not recognized (if versions are
 *		given) and lies within the bounds of time; returns how many went.
 */
int64
upkeep_purge(Oid function, text *prefix, const RecognizedVersions *recognized,
			 const SnapshotBounds *bounds, int batch_size)
{
	BatchWork	work = {"deleted", PURGE_PRIVILEGES, recognized, bounds, purge_rows};

	return work_in_batches(function, prefix, batch_size, &work);
}
