/*
 * store.c
 *		Save, load and delete snapshots: the logic, once above both ways to
 *		the table.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "citus.h"
#include "dictionary.h"
#include "durability.h"
#include "relation.h"
#include "retention.h"
#include "settings.h"
#include "statistics.h"
#include "store.h"

/*
 * After how many rounds without effect the server decides, whatever the rows
 * look like.  After as many again, it is an error.
 */
#define MAX_ROUNDS_IN_VAIN	100

/* The rows of a stream, as last read, in the order of their slots. */
typedef struct StreamRows
{
	KeptSnapshot *kept;
	int			count;
	int			allocated;
} StreamRows;

static void
read_rows(const StoreTable *table, text *stream_id, StreamRows *rows)
{
	TableScan	scan;
	StreamSnapshot row;

	rows->count = 0;
	table->access->scan_begin(table, stream_id, NULL, false, &scan);
	while (table->access->scan_next(&scan, &row))
	{
		CHECK_FOR_INTERRUPTS();
		if (rows->kept == NULL)
		{
			rows->allocated = 4;
			rows->kept = palloc(rows->allocated * sizeof(KeptSnapshot));
		}
		else if (rows->count == rows->allocated)
		{
			rows->allocated *= 2;
			rows->kept = repalloc(rows->kept, rows->allocated * sizeof(KeptSnapshot));
		}
		rows->kept[rows->count++].header = row.header;
	}
	table->access->scan_end(&scan);
}

/*
 * Begin a round: read the stream with a fresh snapshot, which sees what other
 * transactions and what earlier calls in this command have written.  What the
 * round before read is kept in last_rows.  The snapshot stays pushed.
 */
static void
begin_round(const StoreTable *table, text *stream_id,
			StreamRows *rows, StreamRows *last_rows)
{
	StreamRows	swap = *last_rows;

	CHECK_FOR_INTERRUPTS();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());

	*last_rows = *rows;
	*rows = swap;
	read_rows(table, stream_id, rows);
}

/* Do both hold the same snapshots in the same slots? */
static bool
same_rows(const StreamRows *a, const StreamRows *b)
{
	if (a->count != b->count)
		return false;
	for (int i = 0; i < a->count; i++)
	{
		const SnapshotHeader *x = &a->kept[i].header;
		const SnapshotHeader *y = &b->kept[i].header;

		if (x->slot != y->slot ||
			x->state_schema_version != y->state_schema_version ||
			x->sequence_number != y->sequence_number ||
			x->created_at != y->created_at)
			return false;
	}
	return true;
}

/* Pack its state, if there is a dictionary for it; once is enough. */
static void
pack_snapshot(const StoreTable *table, StreamSnapshot *snapshot)
{
	DictionaryChoice choice = dictionary_choose(table, snapshot->stream_id,
												snapshot->header.state_schema_version);

	snapshot->packed = dictionary_pack(RelationGetNamespace(table->relation), &choice,
									   snapshot->state);
}

/* Write a snapshot into the slot that was planned for it. */
static WriteResult
write_snapshot(const StoreTable *table, StreamSnapshot *snapshot,
			   const RetentionPlan *plan, const StreamRows *rows, bool replace,
			   bool insist)
{
	const SnapshotHeader *overwritten = plan->overwrites < 0 ? NULL :
		&rows->kept[plan->overwrites].header;

	if (table_packs(table) && snapshot->kind == STATE_JSON &&
		snapshot->packed == (Datum) 0)
		pack_snapshot(table, snapshot);
	snapshot->header.slot = plan->slot;
	if (insist)
		return table_sql_insist(table, snapshot, overwritten, replace,
								snapshot_store_keep_versions == 1);
	if (overwritten != NULL)
		return table->access->update(table, overwritten, snapshot);
	return table->access->insert(table, snapshot);
}

/*
 * Carry out the rest of a plan: remove what the new snapshot supersedes and
 * move what lies too high.  In the order of the slots, like all who lock
 * several rows of a stream.  A row that is no longer as it was read, or that
 * a policy or a trigger protects, stays.
 */
static void
write_others(const StoreTable *table, text *stream_id,
			 const RetentionPlan *plan, const StreamRows *rows)
{
	for (int i = 0; i < rows->count; i++)
	{
		const KeptSnapshot *row = &rows->kept[i];

		CHECK_FOR_INTERRUPTS();
		if (row->stays && row->new_slot != row->header.slot)
			table_sql_move(table, stream_id, &row->header, row->new_slot);
		else if (!row->stays && i != plan->overwrites)
			table_sql_remove(table, stream_id, &row->header);
	}
}

static bool
has_slot_zero(const StreamRows *rows)
{
	return rows->count > 0 && rows->kept[0].header.slot == 0;
}

/* Take the row in slot 0, if it is there, out of the rows into *taken. */
static bool
take_slot_zero(StreamRows *rows, SnapshotHeader *taken)
{
	if (!has_slot_zero(rows))
		return false;
	*taken = rows->kept[0].header;
	rows->count--;
	memmove(rows->kept, rows->kept + 1, rows->count * sizeof(KeptSnapshot));
	return true;
}

/*
 * Above READ COMMITTED, the transaction does not see what others have done to
 * the stream before it had the lock: fail as an UPDATE would if the stream has
 * become another one.  rows are the stream as the transaction sees it; if
 * without_own, without the row in slot 0, which is the caller's own.
 */
static void
check_serializable(const StoreTable *table, text *stream_id,
				   const StreamRows *rows, bool without_own)
{
	StreamRows	latest = {0};
	SnapshotHeader own;

	if (!IsolationUsesXactSnapshot())
		return;
	PushActiveSnapshot(GetLatestSnapshot());
	read_rows(table, stream_id, &latest);
	PopActiveSnapshot();
	if (without_own)
		(void) take_slot_zero(&latest, &own);
	if (!same_rows(&latest, rows))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
}

static void
refuse_moving_stream(const text *stream_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("stream \"%s\" changes with each attempt to save it",
					text_to_cstring(stream_id)),
			 errhint("Look at the triggers and rules of table \"%s\".", TABLE_NAME)));
}

/* Why does the rule refuse a snapshot? */
static Counter
refusal(const SnapshotHeader *header, const StreamRows *rows)
{
	for (int i = 0; i < rows->count; i++)
	{
		const SnapshotHeader *kept = &rows->kept[i].header;

		if (kept->state_schema_version == header->state_schema_version &&
			kept->sequence_number == header->sequence_number)
			return SAVES_SAME;
	}
	return SAVES_OLDER;
}

/*
 * Save a snapshot into the open table; false if a newer one is kept, or, unless
 * it is to be replaced, one of the same sequence number.
 *
 * The row in slot 0 is the stream's lock.  Where there is none, the new
 * snapshot goes there by the rule, and the key lets in one alone.  By default,
 * with one row in a stream, nothing else is needed: the row is overwritten if
 * it is still as it was read.  Otherwise the stream is read again under the
 * lock before anything more is written.
 *
 * A round that another writer thwarted is repeated.  One that affected no row,
 * although the next reads just the same, has met something else that has a
 * say, a policy or a trigger: then the server decides.  If even that affects
 * no row, and again the next round reads just the same, a trigger has refused
 * the snapshot.
 */
static bool
save(const StoreTable *table, StreamSnapshot *snapshot, bool replace)
{
	TimestampTz now = GetCurrentTimestamp();
	StreamRows	rows = {0};
	StreamRows	last_rows = {0};
	WriteResult result = WRITE_DONE;
	bool		default_settings = snapshot_store_keep == 1 &&
		snapshot_store_keep_versions == 1;
	bool		lock_tried = false;
	bool		inserted = false;	/* the new snapshot is in slot 0 */
	bool		insisted = false;
	int			rounds_in_vain = 0;
	bool		done = false;
	bool		stored = false;
	bool		refused = false;

	snapshot->packed = (Datum) 0;
	while (!done)
	{
		SnapshotHeader own;
		RetentionPlan plan;
		bool		own_is_there = false;
		bool		in_vain = false;

		if (result == WRITE_RACED)
			count_for_stream(SAVE_RETRIES, snapshot->stream_id);
		begin_round(table, snapshot->stream_id, &rows, &last_rows);
		if (inserted)
			own_is_there = take_slot_zero(&rows, &own);
		if (inserted || lock_tried)
			check_serializable(table, snapshot->stream_id, &rows, inserted);

		/* A trigger may make the rows look different each time. */
		if (result == WRITE_NO_ROW)
		{
			bool		unchanged = same_rows(&rows, &last_rows);

			refused = insisted && unchanged;
			in_vain = unchanged || ++rounds_in_vain >= MAX_ROUNDS_IN_VAIN;
			if (rounds_in_vain >= 2 * MAX_ROUNDS_IN_VAIN)
				refuse_moving_stream(snapshot->stream_id);
		}

		retention_plan(&snapshot->header, replace, now, rows.kept, rows.count,
					   snapshot_store_keep, snapshot_store_keep_versions, &plan);
		if (inserted)
		{
			/* Under the lock it turns out whether it may stay. */
			if (plan.store)
				write_others(table, snapshot->stream_id, &plan, &rows);
			else if (own_is_there)
				table_sql_remove(table, snapshot->stream_id, &own);
			stored = plan.store;
			done = true;
		}
		else if (!plan.store || refused)
			done = true;
		else if (has_slot_zero(&rows) && !lock_tried &&
				 !(default_settings && rows.count == 1))
		{
			result = table->access->lock(table, snapshot->stream_id,
										 &rows.kept[0].header);
			lock_tried = result == WRITE_DONE || in_vain;
			if (in_vain)
				result = WRITE_DONE;	/* not to be had: go on without it */
		}
		else
		{
			insisted = in_vain;
			result = write_snapshot(table, snapshot, &plan, &rows, replace, insisted);
			if (result == WRITE_DONE && !has_slot_zero(&rows) && !default_settings)
				inserted = true;
			else if (result == WRITE_DONE)
			{
				write_others(table, snapshot->stream_id, &plan, &rows);
				stored = true;
				done = true;
			}
		}
		PopActiveSnapshot();
	}
	if (stored)
		count_stored(snapshot);
	else
	{
		/* A save that wrote nothing has not been asked yet where that was. */
		if (table->access->distributed)
			citus_verify_place(table, PointerGetDatum(snapshot->stream_id), NULL);
		count_for_stream(refused ? SAVES_SUPPRESSED :
						 refusal(&snapshot->header, &rows), snapshot->stream_id);
	}
	return stored;
}

/*
 * store_save
 *		Save a snapshot by the rule of retention.c.
 *
 * Returns whether it was stored: not if a newer one of its schema version is
 * kept, or, unless it is to be replaced, one of the same sequence number, or if
 * the store is off.  Once the transaction has committed, it survives a crash.
 */
bool
store_save(Oid function, StreamSnapshot *snapshot, bool replace)
{
	StoreTable	table;
	bool		stored;

	if (!snapshot_store_enabled)
	{
		count_for_stream(SAVES_OFF, snapshot->stream_id);
		return false;
	}

	store_table_open(function, SAVE_PRIVILEGES, &table);
	stored = save(&table, snapshot, replace);
	store_table_close(&table);

	if (stored)
		ensure_durable_commit();
	return stored;
}

/* qsort comparator of pointers to snapshots: in the order of the key. */
static int
compare_snapshots(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();		/* there may be millions */
	return compare_stream_ids((*(StreamSnapshot *const *) a)->stream_id,
							  (*(StreamSnapshot *const *) b)->stream_id);
}

/*
 * store_save_many
 *		Save snapshots of different streams; stored[i] receives what store_save
 *		would return for snapshots[i].
 *
 * The streams are visited, and so locked, in the order of the key: batches
 * that have streams in common wait for one another, but never in a circle.
 */
void
store_save_many(Oid function, StreamSnapshot *snapshots, int count, bool replace,
				bool *stored)
{
	StreamSnapshot **ordered = palloc(count * sizeof(StreamSnapshot *));
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext each;
	StoreTable	table;
	bool		any = false;

	for (int i = 0; i < count; i++)
	{
		ordered[i] = &snapshots[i];
		stored[i] = false;
	}
	qsort(ordered, count, sizeof(StreamSnapshot *), compare_snapshots);
	for (int i = 1; i < count; i++)
	{
		if (compare_snapshots(&ordered[i - 1], &ordered[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_CARDINALITY_VIOLATION),
					 errmsg("stream \"%s\" occurs more than once in a batch",
							text_to_cstring(ordered[i]->stream_id)),
					 errhint("Save only the last snapshot of each stream.")));
	}

	if (!snapshot_store_enabled)
	{
		if (count > 0)
			count_batch(SAVE_BATCHES, SAVE_BATCH_STREAMS, snapshots[0].stream_id, count);
		for (int i = 0; i < count; i++)
			count_for_stream(SAVES_OFF, snapshots[i].stream_id);
		return;
	}

	store_table_open(function, SAVE_PRIVILEGES, &table);
	if (count > 0)
		count_batch(SAVE_BATCHES, SAVE_BATCH_STREAMS, snapshots[0].stream_id, count);
	each = AllocSetContextCreate(caller, "snapshot_store batch",
								 ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < count; i++)
	{
		MemoryContextSwitchTo(each);
		if (save(&table, ordered[i], replace))
		{
			stored[ordered[i] - snapshots] = true;
			any = true;
		}
		MemoryContextSwitchTo(caller);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
	store_table_close(&table);

	if (any)
		ensure_durable_commit();
}

/* Free what find_most_recent has copied. */
static void
free_copies(StreamSnapshot *snapshot)
{
	if (snapshot->kind != STATE_MISSING)
		pfree(DatumGetPointer(snapshot->state));
	if (snapshot->has_metadata)
		pfree(DatumGetPointer(snapshot->metadata));
}

/*
 * Find the most recent of a stream's recognized snapshots within bounds.  Its
 * state and metadata come along, possibly toasted, if with_state.  Returns
 * LOADS_FOUND, or why there is none.
 */
static Counter
find_most_recent(const StoreTable *table, text *stream_id,
				 const RecognizedVersions *recognized,
				 const SnapshotBounds *bounds, bool with_state,
				 StreamSnapshot *found)
{
	TableScan	scan;
	StreamSnapshot row;
	bool		any = false;
	Counter		result = LOADS_NOT_FOUND;

	table->access->scan_begin(table, stream_id, recognized, with_state, &scan);
	while (table->access->scan_next(&scan, &row))
	{
		if (bounds != NULL && !is_within_bounds(&row.header, bounds))
		{
			result = LOADS_OUT_OF_BOUNDS;
			continue;
		}
		if (any && !is_more_recent(&row.header, &found->header))
			continue;
		if (any && with_state)
			free_copies(found);
		any = true;
		*found = row;
		if (with_state)
		{
			if (row.kind != STATE_MISSING)
				found->state = datumCopy(row.state, false, -1);
			if (row.has_metadata)
				found->metadata = datumCopy(row.metadata, false, -1);
		}
	}
	if (any)
		result = LOADS_FOUND;
	else if (result == LOADS_NOT_FOUND && snapshot_store_track && with_state &&
			 !IsolationIsSerializable() &&	/* the look would count as reading */
			 table->access->scan_passed_over(table, &scan))
		result = LOADS_UNRECOGNIZED;
	table->access->scan_end(&scan);
	return result;
}

/*
 * Refuse to return a state as something that it is not.  The right function
 * is the one that was called, with or without "_bytea" at the end.
 */
static void
check_kind(Oid function, const StreamSnapshot *found, StateKind kind)
{
	bool		is_bytea = found->kind == STATE_BYTEA;
	const char *suffix = "_bytea";
	const char *name;

	/* Not through our constraints, but the owner can drop them. */
	if (found->kind == STATE_MISSING)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the snapshot of stream \"%s\" has no state",
						text_to_cstring(found->stream_id))));
	if (found->kind == kind)
		return;
	name = store_function_name(function);
	if (is_bytea)
		name = psprintf("%s%s", name, suffix);
	else
		name = pnstrdup(name, strlen(name) - strlen(suffix));
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the snapshot of stream \"%s\" holds its state as %s",
					text_to_cstring(found->stream_id), is_bytea ? "bytea" : "json"),
			 errhint("Load it with %s().", name)));
}

/*
 * Unpack its state, if it is packed.  A snapshot is a cache: one whose
 * dictionary is missing is as good as none.
 */
static bool
unpack_snapshot(const StoreTable *table, StreamSnapshot *found)
{
	uint64		missing;
	Datum		state = dictionary_unpack(RelationGetNamespace(table->relation),
										  found->state, &missing);

	if (state == (Datum) 0)
	{
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("dictionary %lld does not exist", (long long) missing),
				 errdetail("The snapshot of stream \"%s\" was packed by it, and cannot be loaded.",
						   text_to_cstring(found->stream_id)),
				 errhint("The next save of the stream replaces the snapshot.")));
		return false;
	}
	found->state = state;
	return true;
}

/* Load from the open table. */
static bool
load(Oid function, const StoreTable *table, text *stream_id, StateKind kind,
	 const RecognizedVersions *recognized, const SnapshotBounds *bounds,
	 StreamSnapshot *found)
{
	Counter		result = find_most_recent(table, stream_id, recognized, bounds,
										  true, found);

	if (result != LOADS_FOUND)
	{
		count_for_stream(result, stream_id);
		return false;
	}
	found->stream_id = stream_id;
	check_kind(function, found, kind);
	if (table_packs(table) && kind == STATE_JSON && !unpack_snapshot(table, found))
	{
		count_for_stream(LOADS_NOT_FOUND, stream_id);
		return false;
	}
	count_found(found);

	/*
	 * A parallel worker's lock of the table ends with it, maybe before the
	 * leader reads the row.
	 */
	if (IsParallelWorker())
		fetch_external(found);
	return true;
}

/*
 * store_load
 *		Load the most recent recognized snapshot within bounds.
 *
 * Returns whether there is one.  Its state and metadata may be toasted, as in
 * the table: they are fetched only if somebody reads them, for which the table
 * must still be locked and the active snapshot held.  An unrecognized
 * snapshot's state is never read.
 */
bool
store_load(Oid function, text *stream_id, StateKind kind,
		   const RecognizedVersions *recognized, const SnapshotBounds *bounds,
		   StreamSnapshot *found)
{
	StoreTable	table;
	bool		any;

	if (!snapshot_store_enabled)
	{
		count_for_stream(LOADS_OFF, stream_id);
		return false;
	}

	store_table_open(function, LOAD_PRIVILEGES, &table);
	any = load(function, &table, stream_id, kind, recognized, bounds, found);
	store_table_close(&table);
	return any;
}

/*
 * store_load_many
 *		Load of each stream what store_load would, and hand what is found to
 *		the receiver, in the given order.
 */
void
store_load_many(Oid function, text **stream_ids, int count, StateKind kind,
				const RecognizedVersions *recognized,
				const SnapshotBounds *bounds,
				SnapshotReceiver receive, void *arg)
{
	StoreTable	table;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext each;

	if (!snapshot_store_enabled)
	{
		if (count > 0)
			count_batch(LOAD_BATCHES, LOAD_BATCH_STREAMS, stream_ids[0], count);
		for (int i = 0; i < count; i++)
			count_for_stream(LOADS_OFF, stream_ids[i]);
		return;
	}

	store_table_open(function, LOAD_PRIVILEGES, &table);
	if (count > 0)
		count_batch(LOAD_BATCHES, LOAD_BATCH_STREAMS, stream_ids[0], count);
	each = AllocSetContextCreate(caller, "snapshot_store batch",
								 ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < count; i++)
	{
		StreamSnapshot found;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(each);
		if (load(function, &table, stream_ids[i], kind, recognized, &bounds[i],
				 &found))
			receive(&found, arg);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
	store_table_close(&table);
}

/*
 * store_is_due
 *		should_take_snapshot against the snapshot that a load would return,
 *		without reading a state; never while the store is off.
 */
bool
store_is_due(Oid function, text *stream_id, const RecognizedVersions *recognized,
			 int64 event_count, int64 interval)
{
	StoreTable	table;
	StreamSnapshot last;
	bool		any;

	if (!snapshot_store_enabled)
		return false;

	store_table_open(function, LOAD_PRIVILEGES, &table);
	any = find_most_recent(&table, stream_id, recognized, NULL, false, &last) == LOADS_FOUND;
	store_table_close(&table);
	return should_take_snapshot(event_count,
								any ? last.header.sequence_number : 0,
								interval);
}

static int
compare_infos(const ListCell *a, const ListCell *b)
{
	const SnapshotInfo *x = lfirst(a);
	const SnapshotInfo *y = lfirst(b);

	return is_more_recent(&x->header, &y->header) ? -1 : 1;
}

/*
 * store_info
 *		List a stream's snapshots as SnapshotInfo, newest first.
 */
List *
store_info(Oid function, text *stream_id)
{
	StoreTable	table;
	TableScan	scan;
	StreamSnapshot row;
	List	   *infos = NIL;

	store_table_open(function, LOAD_PRIVILEGES, &table);
	table.access->scan_begin(&table, stream_id, NULL, false, &scan);
	while (table.access->scan_next(&scan, &row))
	{
		SnapshotInfo *info = palloc(sizeof(SnapshotInfo));

		info->header = row.header;
		info->state_size = row.state_size;
		infos = lappend(infos, info);
	}
	table.access->scan_end(&scan);
	store_table_close(&table);

	list_sort(infos, compare_infos);
	return infos;
}

/*
 * store_delete
 *		Delete a stream's snapshots within bounds; returns how many.
 *
 * It works while the store is off too, so that a stream that was reset stays
 * reset, and is durable like a save: a deletion that came undone would bring
 * back a wrong snapshot.
 */
int64
store_delete(Oid function, text *stream_id, const SnapshotBounds *bounds)
{
	StoreTable	table;
	uint64		deleted;

	store_table_open(function, DELETE_PRIVILEGES, &table);
	deleted = table_sql_delete(&table, stream_id, bounds);
	store_table_close(&table);

	if (deleted > 0)
		ensure_durable_commit();
	return (int64) deleted;
}
