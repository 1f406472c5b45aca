/*
 * stream_walk.c
 *		A walk over the rows of all streams whose names have a common beginning,
 *		at once or in batches that commit.
 *
 * It goes along the key in its order, where a prefix is a range, and reads the
 * index alone where the table's pages are all-visible.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "citus.h"
#include "relation.h"
#include "stream_walk.h"

/* How often work in batches tells its progress. */
#define PROGRESS_SECONDS	10

void
stream_walk_begin(const StoreTable *table, const text *prefix,
				  const KeyPosition *after, int fetch, StreamWalk *walk)
{
	store_table_require_order(table);
	table_walk_begin(table, after, fetch, &walk->keys);
	walk->prefix = prefix;
	walk->number = 0;
}

/* The next row, with whether it is the first of a stream. */
bool
stream_walk_next(StreamWalk *walk, bool *first)
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

void
key_batch_begin(KeyBatch *batch)
{
	batch->context = CurrentMemoryContext;
	batch->stream_ids = initArrayResult(TEXTOID, batch->context, false);
	batch->slots = initArrayResult(INT2OID, batch->context, false);
}

void
key_batch_add(KeyBatch *batch, const KeyPosition *key)
{
	accumArrayResult(batch->stream_ids, PointerGetDatum(key->stream_id), false,
					 TEXTOID, batch->context);
	accumArrayResult(batch->slots, Int16GetDatum((int16) key->slot), false,
					 INT2OID, batch->context);
}

/* As text[]. */
Datum
key_batch_stream_ids(const KeyBatch *batch)
{
	return makeArrayResult(batch->stream_ids, CurrentMemoryContext);
}

/* As smallint[]. */
Datum
key_batch_slots(const KeyBatch *batch)
{
	return makeArrayResult(batch->slots, CurrentMemoryContext);
}

/*
 * Walk over the next batch_size rows after *position and collect the keys of
 * those to be worked on.  Returns whether there may be more, and then moves
 * *position on.
 */
static bool
walk_batch(const StoreTable *table, const text *prefix, int batch_size,
		   const BatchWork *work, KeyPosition *position, KeyBatch *keys)
{
	StreamWalk	walk;
	bool		first;
	bool		more = true;

	stream_walk_begin(table, prefix, position, Min(batch_size, TABLE_WALK_FETCH), &walk);
	for (int seen = 0; seen < batch_size; seen++)
	{
		more = stream_walk_next(&walk, &first);
		if (!more)
			break;
		if (work->recognized == NULL ||
			!is_recognized(work->recognized, walk.keys.state_schema_version))
			key_batch_add(keys, &walk.keys.at);
	}
	table_walk_end(&walk.keys);
	if (more)
		*position = walk.keys.at;
	return more;
}

/*
 * Work on the next batch.  What is distributed is listed once, in *listed, to
 * be gone through shard by shard.  Adds to *done.
 */
static bool
work_on_batch(Oid function, text *prefix, int batch_size, const BatchWork *work,
			  MemoryContext lasting, CitusRows **listed,
			  KeyPosition *position, uint64 *done)
{
	StoreTable	table;
	KeyBatch	keys;
	bool		more;

	key_batch_begin(&keys);

	/* Not the snapshot of an outer CALL or DO, which may be long behind. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());

	store_table_open(function, work->privileges, &table);
	if (*listed != NULL)
		more = citus_rows_next(*listed, batch_size, &keys, position);
	else if (table.access->distributed)
	{
		MemoryContext batch = MemoryContextSwitchTo(lasting);

		/*
		 * The list is made as this transaction commits.  One that has read a
		 * shard must not write to it: see citus_verify_place.
		 */
		*listed = citus_rows_begin(&table, prefix, work);
		MemoryContextSwitchTo(batch);
		more = true;
	}
	else
		more = walk_batch(&table, prefix, batch_size, work, position, &keys);
	PopActiveSnapshot();

	if (keys.slots->nelems > 0)
		*done += work->work(&table, &keys, work);
	store_table_close(&table);
	return more;
}

/*
 * work_in_batches
 *		Do something to the rows that are wanted, in batches that commit; returns
 *		to how many it was done.
 *
 * A batch examines batch_size rows.  The work passes over what another has
 * locked, and a saver waits for one batch at most.  The next batch goes on
 * where the last one ended, so work that is stopped has lost nothing and, when
 * it is started again, finds the rest.
 */
int64
work_in_batches(Oid function, text *prefix, int batch_size,
				const BatchWork *work)
{
	char	   *name = store_function_name(function);
	KeyPosition position;
	MemoryContext lasting;
	MemoryContext batch;
	CitusRows  *listed = NULL;
	TimestampTz told = GetCurrentTimestamp();
	uint64		done = 0;
	bool		more;

	/* What is allocated from here on outlives the commits. */
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	lasting = CurrentMemoryContext;
	name = pstrdup(name);
	batch = AllocSetContextCreate(lasting, "snapshot_store batch",
								  ALLOCSET_DEFAULT_SIZES);
	position.stream_id = copy_stream_id(prefix);
	position.slot = BEFORE_ALL_SLOTS;
	do
	{
		KeyPosition next = position;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(batch);
		more = work_on_batch(function, prefix, batch_size, work, lasting, &listed, &next, &done);
		SPI_commit();
		MemoryContextSwitchTo(lasting);
		if (next.stream_id != position.stream_id)
		{
			pfree(position.stream_id);
			position.stream_id = copy_stream_id(next.stream_id);
		}
		position.slot = next.slot;
		MemoryContextReset(batch);

		if (more && position.slot != BEFORE_ALL_SLOTS &&
			TimestampDifferenceExceeds(told, GetCurrentTimestamp(), PROGRESS_SECONDS * 1000))
		{
			told = GetCurrentTimestamp();
			ereport(NOTICE,
					(errmsg_plural("%s() has %s %llu snapshot up to stream \"%s\"",
								   "%s() has %s %llu snapshots up to stream \"%s\"",
								   done, name, work->done, (unsigned long long) done,
								   text_to_cstring(position.stream_id))));
		}
	} while (more);
	if (listed != NULL)
		citus_rows_end(listed);
	SPI_finish();

	ereport(NOTICE,
			(errmsg_plural("%s() has %s %llu snapshot",
						   "%s() has %s %llu snapshots",
						   done, name, work->done, (unsigned long long) done)));
	return (int64) done;
}
