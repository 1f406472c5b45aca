/*
 * table_direct.c
 *		The direct way to the table: by table and index access methods.
 *
 * This does what the executor would do for the same statements, without a
 * plan.  It may only be used on a table that relation.c found to be plain:
 * then most of what the executor would check is known to have no say.  What
 * is left of its guards is in relation.c too, but for the replica identity,
 * and row security, for which a scan asks table_secured.c.
 *
 * Reading goes by the active snapshot, at any isolation level.  Writing is
 * for READ COMMITTED only: it reports that a row was changed by another
 * writer where a stricter level would have to fail.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "table.h"

void
table_direct_scan_begin(const StoreTable *table, text *stream_id,
						const RecognizedVersions *recognized, bool with_states,
						TableScan *scan)
{
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, Anum_key_stream_id,
						   BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, PointerGetDatum(stream_id));
	scan->recognized = recognized;
	scan->with_states = with_states;
	scan->policies = table->policies;
	scan->index_scan = index_beginscan(table->relation, table->key,
									   GetActiveSnapshot(), NULL, 1, 0, 0);

	/*
	 * The schema version is in the index: ask for it (before index_rescan,
	 * which prepares for it), so that an unrecognized snapshot costs no visit
	 * to the heap.
	 */
	scan->index_scan->xs_want_itup = recognized != NULL;
	index_rescan(scan->index_scan, &key, 1, NULL, 0);
	scan->row = table_slot_create(table->relation, NULL);
	scan->passed_over = 0;
}

static bool
is_admitted(const TableScan *scan)
{
	return scan->policies == NULL ||
		table_policies_admit(scan->policies, scan->row);
}

bool
table_direct_scan_next(TableScan *scan, StreamSnapshot *snapshot)
{
	IndexScanDesc index_scan = scan->index_scan;

	while (index_getnext_tid(index_scan, ForwardScanDirection) != NULL)
	{
		/* Many rows, each compared with many versions, take their time. */
		CHECK_FOR_INTERRUPTS();
		if (scan->recognized != NULL)
		{
			bool		isnull;
			Datum		version = index_getattr(index_scan->xs_itup,
												Anum_key_state_schema_version,
												index_scan->xs_itupdesc,
												&isnull);

			if (isnull ||
				!is_recognized(scan->recognized, DatumGetInt64(version)))
			{
				if (scan->passed_over < MAX_PASSED_OVER)
					scan->passed_over_tids[scan->passed_over] = index_scan->xs_heaptid;
				scan->passed_over++;
				continue;
			}
		}
		if (index_fetch_heap(index_scan, scan->row) &&
			is_admitted(scan))
		{
			slot_getallattrs(scan->row);
			table_read_row(scan->row->tts_values, scan->row->tts_isnull,
						   snapshot);
			if (!scan->with_states)
				snapshot->state_size = snapshot->kind == STATE_MISSING ? 0 :
					toast_datum_size(snapshot->state);
			snapshot->header.tid = scan->row->tts_tid;
			snapshot->header.has_short_id = !scan->row->tts_isnull[Anum_stream_id - 1] &&
				VARATT_IS_SHORT(DatumGetPointer(scan->row->tts_values[Anum_stream_id - 1]));
			return true;
		}
	}
	return false;
}

void
table_direct_scan_end(TableScan *scan)
{
	ExecDropSingleTupleTableSlot(scan->row);
	index_endscan(scan->index_scan);
}

/*
 * The entries of rows that are gone stay in the index until they are removed,
 * so look: at those that are remembered, and, if there were more, again at all.
 */
bool
table_direct_scan_passed_over(const StoreTable *table, TableScan *scan)
{
	IndexScanDesc index_scan = scan->index_scan;

	for (int i = 0; i < Min(scan->passed_over, MAX_PASSED_OVER); i++)
	{
		index_scan->xs_heaptid = scan->passed_over_tids[i];
		if (index_fetch_heap(index_scan, scan->row) && is_admitted(scan))
			return true;
	}
	if (scan->passed_over > MAX_PASSED_OVER)
	{
		index_rescan(index_scan, NULL, 1, NULL, 0); /* the same key */
		while (index_getnext_slot(index_scan, ForwardScanDirection, scan->row))
		{
			CHECK_FOR_INTERRUPTS();
			if (is_admitted(scan))
				return true;
		}
	}
	return false;
}

/* What access methods say about a row that is locked or overwritten. */
static WriteResult
write_result(TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return WRITE_DONE;
		case TM_Updated:
		case TM_Deleted:
			return WRITE_RACED;
		default:
			elog(ERROR, "unexpected result %d of writing a snapshot", result);
			return WRITE_NO_ROW;	/* keep the compiler quiet */
	}
}

static WriteResult
direct_lock(const StoreTable *table, text *stream_id, const SnapshotHeader *row)
{
	ItemPointerData tid = row->tid;
	TupleTableSlot *locked = table_slot_create(table->relation, NULL);
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(table->relation, &tid, GetActiveSnapshot(),
							  locked, GetCurrentCommandId(true),
							  LockTupleNoKeyExclusive, LockWaitBlock, 0,
							  &failure);
	ExecDropSingleTupleTableSlot(locked);
	return write_result(result);
}

/* A row to be written, in a slot as the access methods take it. */
static TupleTableSlot *
form_slot(const StoreTable *table, const StreamSnapshot *snapshot)
{
	AttrNumber	column = snapshot->kind == STATE_JSON ? Anum_state : Anum_state_bytea;
	TupleTableSlot *slot;

	slot = MakeSingleTupleTableSlot(RelationGetDescr(table->relation),
									&TTSOpsVirtual);
	table_form_row(snapshot, slot->tts_values, slot->tts_isnull);
	if (slot->tts_values[column - 1] == snapshot->state)	/* it is not packed */
		slot->tts_values[column - 1] = table_compress_state(table->relation, column,
															snapshot->state);
	return ExecStoreVirtualTuple(slot);
}

/* Make the key's entry for a row; false if it may conflict with another. */
static bool
insert_key(const StoreTable *table, TupleTableSlot *slot,
		   IndexUniqueCheck check, bool unchanged)
{
	StaticAssertStmt(Anum_key_stream_id == Anum_stream_id &&
					 Anum_key_slot == Anum_slot &&
					 Anum_key_state_schema_version == Anum_state_schema_version,
					 "the key must consist of the table's first columns");

	/* Like core for a TOAST table's index, without an IndexInfo. */
	return index_insert(table->key, slot->tts_values, slot->tts_isnull,
						&slot->tts_tid, table->relation, check, unchanged,
						NULL);
}

/*
 * Insert speculatively, as INSERT ... ON CONFLICT DO NOTHING does.  On a
 * conflict, take it back and leave the waiting to the server: by that very
 * statement.
 */
static WriteResult
direct_insert(const StoreTable *table, const StreamSnapshot *snapshot)
{
	TupleTableSlot *slot = form_slot(table, snapshot);
	uint32		token;
	bool		inserted;

	token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	table_tuple_insert_speculative(table->relation, slot,
								   GetCurrentCommandId(true), 0, NULL, token);
	inserted = insert_key(table, slot, UNIQUE_CHECK_PARTIAL, false);
	table_tuple_complete_speculative(table->relation, slot, token, inserted);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	ExecDropSingleTupleTableSlot(slot);

	return inserted ? WRITE_DONE : table_sql_insert(table, snapshot);
}

/*
 * The stream's name as INSERT ... SELECT has stored it, though the column is
 * PLAIN: with a short header.  The other form would be a change of the key.
 */
static Datum
form_short_id(const text *stream_id)
{
	int			size = VARHDRSZ_SHORT + VARSIZE_ANY_EXHDR(stream_id);
	text	   *formed = palloc(size);

	SET_VARSIZE_SHORT(formed, size);
	memcpy(VARDATA_SHORT(formed), VARDATA_ANY(stream_id), size - VARHDRSZ_SHORT);
	return PointerGetDatum(formed);
}

static WriteResult
direct_update(const StoreTable *table, const SnapshotHeader *row,
			  const StreamSnapshot *snapshot)
{
	TupleTableSlot *slot = form_slot(table, snapshot);
	ItemPointerData tid = row->tid;
	TM_FailureData failure;
	LockTupleMode lock_mode;
	TU_UpdateIndexes update_indexes;
	TM_Result	result;

	if (row->has_short_id)
		slot->tts_values[Anum_stream_id - 1] = form_short_id(snapshot->stream_id);
	CheckCmdReplicaIdentity(table->relation, CMD_UPDATE);
	result = table_tuple_update(table->relation, &tid, slot,
								GetCurrentCommandId(true), 0,
								GetActiveSnapshot(), InvalidSnapshot, true,
								&failure, &lock_mode, &update_indexes);
	if (result == TM_Ok && update_indexes != TU_None)
		(void) insert_key(table, slot, UNIQUE_CHECK_YES, true);
	ExecDropSingleTupleTableSlot(slot);
	return write_result(result);
}

const TableAccess direct_access = {
	.scan_begin = table_direct_scan_begin,
	.scan_next = table_direct_scan_next,
	.scan_end = table_direct_scan_end,
	.scan_passed_over = table_direct_scan_passed_over,
	.lock = direct_lock,
	.insert = direct_insert,
	.update = direct_update
};
