/*
 * upkeep.c
 *		What concerns all streams whose names have a common beginning: a census
 *		of schema versions, the work list after a change of the schema, and
 *		the purge.
 *
 * All of them walk the key in its order, where a prefix is a range.  The walk
 * reads the index alone where the table's pages are all-visible.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "durability.h"
#include "relation.h"
#include "upkeep.h"

/* How often a purge tells its progress. */
#define PROGRESS_SECONDS	10

/* A walk over the streams with a prefix. */
typedef struct StreamWalk
{
	KeyWalk		keys;
	const text *prefix;
	int64		number;			/* of the current stream, from 1 */
} StreamWalk;

static void
begin_walk(const StoreTable *table, const text *prefix,
		   const KeyPosition *after, int fetch, StreamWalk *walk)
{
	store_table_require_order(table);
	table_walk_begin(table, after, fetch, &walk->keys);
	walk->prefix = prefix;
	walk->number = 0;
}

/* The next row, with whether it is the first of a stream. */
static bool
next_row(StreamWalk *walk, bool *first)
{
	CHECK_FOR_INTERRUPTS();
	if (!table_walk_next(&walk->keys) ||
		!has_prefix(walk->keys.at.stream_id, walk->prefix))
		return false;
	*first = walk->number == 0 || walk->keys.new_stream;
	if (*first)
		walk->number++;
	return true;
}

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

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(VersionCensus);
	control.hcxt = CurrentMemoryContext;
	versions = hash_create("snapshot_store census", 16, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	store_table_open(function, LOAD_PRIVILEGES, &table);
	begin_walk(&table, prefix, &start, TABLE_WALK_FETCH, &walk);
	while (next_row(&walk, &first))
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
	begin_walk(&table, prefix, &start,
			   max_streams < TABLE_WALK_FETCH ? max_streams + 1 : TABLE_WALK_FETCH,
			   &walk);
	while (next_row(&walk, &first))
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

/*
 * Purge among the next batch_size rows after *position.  Returns whether
 * there may be more, and then moves *position on; adds to *deleted.
 */
static bool
purge_batch(Oid function, const text *prefix,
			const RecognizedVersions *recognized, const SnapshotBounds *bounds,
			int batch_size, KeyPosition *position, uint64 *deleted)
{
	StoreTable	table;
	StreamWalk	walk;
	ArrayBuildState *stream_ids;
	ArrayBuildState *slots;
	bool		first;
	bool		more = true;

	stream_ids = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	slots = initArrayResult(INT2OID, CurrentMemoryContext, false);

	/* Not the snapshot of an outer CALL or DO, which may be long behind. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());

	store_table_open(function, PURGE_PRIVILEGES, &table);
	begin_walk(&table, prefix, position, Min(batch_size, TABLE_WALK_FETCH), &walk);
	for (int seen = 0; seen < batch_size; seen++)
	{
		more = next_row(&walk, &first);
		if (!more)
			break;
		if (recognized != NULL &&
			is_recognized(recognized, walk.keys.state_schema_version))
			continue;
		accumArrayResult(stream_ids, PointerGetDatum(walk.keys.at.stream_id),
						 false, TEXTOID, CurrentMemoryContext);
		accumArrayResult(slots, Int16GetDatum((int16) walk.keys.at.slot), false,
						 INT2OID, CurrentMemoryContext);
	}
	table_walk_end(&walk.keys);
	PopActiveSnapshot();
	if (more)
		*position = walk.keys.at;

	if (slots->nelems > 0)
	{
		uint64		gone = table_purge(&table,
									   makeArrayResult(stream_ids, CurrentMemoryContext),
									   makeArrayResult(slots, CurrentMemoryContext),
									   recognized, bounds);

		*deleted += gone;
		if (gone > 0)
			ensure_durable_commit();
	}
	store_table_close(&table);
	return more;
}

/*
 * upkeep_purge
 *		Delete, in batches that commit, what is not recognized (if versions are
 *		given) and lies within the bounds of time; returns how many went.
 *
 * A batch examines batch_size rows and locks only what it deletes; a saver
 * waits for one batch at most, and what another has locked is passed over.
 * The next batch goes on where the last one ended, so a purge that is stopped
 * has lost nothing and one that is started again finds the rest.
 */
int64
upkeep_purge(Oid function, text *prefix, const RecognizedVersions *recognized,
			 const SnapshotBounds *bounds, int batch_size)
{
	KeyPosition position;
	MemoryContext lasting;
	MemoryContext batch;
	TimestampTz told = GetCurrentTimestamp();
	uint64		deleted = 0;
	bool		more;

	/* What is allocated from here on outlives the commits. */
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	lasting = CurrentMemoryContext;
	batch = AllocSetContextCreate(lasting, "snapshot_store purge",
								  ALLOCSET_DEFAULT_SIZES);
	position.stream_id = copy_stream_id(prefix);
	position.slot = BEFORE_ALL_SLOTS;
	do
	{
		KeyPosition next = position;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(batch);
		more = purge_batch(function, prefix, recognized, bounds, batch_size,
						   &next, &deleted);
		SPI_commit();
		MemoryContextSwitchTo(lasting);
		if (next.stream_id != position.stream_id)
		{
			pfree(position.stream_id);
			position.stream_id = copy_stream_id(next.stream_id);
		}
		position.slot = next.slot;
		MemoryContextReset(batch);

		if (more && TimestampDifferenceExceeds(told, GetCurrentTimestamp(),
											   PROGRESS_SECONDS * 1000))
		{
			told = GetCurrentTimestamp();
			ereport(NOTICE,
					(errmsg_plural("snapshot_purge() has deleted %llu snapshot up to stream \"%s\"",
								   "snapshot_purge() has deleted %llu snapshots up to stream \"%s\"",
								   deleted, (unsigned long long) deleted,
								   text_to_cstring(position.stream_id))));
		}
	} while (more);
	SPI_finish();

	ereport(NOTICE,
			(errmsg_plural("snapshot_purge() has deleted %llu snapshot",
						   "snapshot_purge() has deleted %llu snapshots",
						   deleted, (unsigned long long) deleted)));
	return (int64) deleted;
}
