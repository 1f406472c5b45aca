/*
 * functions.c
 *		The SQL-callable functions: read and validate arguments, call, return.
 *
 * None is strict: a NULL where a value is needed is an error, not a NULL
 * that an application might take for an answer.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "store.h"

SQL_FUNCTION(snapshot_save);
SQL_FUNCTION(snapshot_save_bytea);
SQL_FUNCTION(snapshot_load);
SQL_FUNCTION(snapshot_load_bytea);
SQL_FUNCTION(snapshot_info);
SQL_FUNCTION(snapshot_should_take);
SQL_FUNCTION(snapshot_due);
SQL_FUNCTION(snapshot_delete);

/* The columns of snapshot_load and of snapshot_info. */
#define NUM_LOAD_COLUMNS	5
#define NUM_INFO_COLUMNS	4

/*
 * snapshot_save(stream_id text, sequence_number bigint,
 *				 state_schema_version bigint, state json,
 *				 metadata json DEFAULT NULL,
 *				 created_at timestamptz DEFAULT NULL,
 *				 replace boolean DEFAULT true) RETURNS boolean
 *
 * Saves the state of a stream as of the event sequence_number; created_at is
 * the clock unless it is given.  Durable when the transaction commits.
 * Returns whether it was stored: not if a newer snapshot of this schema
 * version is kept, or, unless it is to be replaced, one of the same sequence
 * number, or if the store is off, none of which is an error.
 *
 * Errors: 22004 for a NULL in the first four or in replace, 22023 and 54000
 * for a stream_id that is empty or over 2,000 bytes, 54000 for a state over
 * 200 MB or, with its metadata, over snapshot_store.max_state_size, and for
 * metadata of more than 1 MB as text, 22P05, 22003 and 22P02 for metadata that
 * are no jsonb (\u0000, a number too large for numeric, half of a surrogate
 * pair), 54001 for metadata nested too deeply, 22003 for numbers out of range,
 * 22008 for a created_at that is infinite or more than a day ahead, 25006 in a
 * read-only transaction, 42501 for a missing privilege or a refused
 * max_state_size, 55000 for a table that is not durable, or does not tell
 * streams apart by their bytes; 40001 above READ COMMITTED.  A warning for a
 * JSON string that looks like JSON.
 */
static Datum
save_snapshot(FunctionCallInfo fcinfo, StateKind kind)
{
	StreamSnapshot snapshot;
	SnapshotHeader *header = &snapshot.header;
	TimestampTz now = GetCurrentTimestamp();

	snapshot.stream_id = get_stream_id(fcinfo, 0);
	header->sequence_number = get_count(fcinfo, 1, "sequence_number");
	refuse_null(fcinfo, 2, "state_schema_version");
	header->state_schema_version = PG_GETARG_INT64(2);
	validate_state_schema_version("state_schema_version",
								  header->state_schema_version);
	refuse_null(fcinfo, 3, "state");
	snapshot.kind = kind;
	snapshot.state = PG_GETARG_DATUM(3);
	snapshot.has_metadata = !PG_ARGISNULL(4);
	snapshot.metadata = snapshot.has_metadata ?
		metadata_from_json(PG_GETARG_DATUM(4)) : (Datum) 0;
	validate_sizes(&snapshot);
	header->created_at = PG_ARGISNULL(5) ? now : PG_GETARG_TIMESTAMPTZ(5);
	validate_created_at(header->created_at, now);
	warn_if_encoded_twice(&snapshot);

	PG_RETURN_BOOL(store_save(fcinfo->flinfo->fn_oid, &snapshot,
							  get_flag(fcinfo, 6, "replace")));
}

Datum
snapshot_save(PG_FUNCTION_ARGS)
{
	return save_snapshot(fcinfo, STATE_JSON);
}

/* snapshot_save_bytea: the same for a state of bytes. */
Datum
snapshot_save_bytea(PG_FUNCTION_ARGS)
{
	return save_snapshot(fcinfo, STATE_BYTEA);
}

/*
 * Refuse to form rows of another type than that of the SQL definition: the
 * server would take the values for what they are not.
 */
static void
check_load_columns(TupleDesc desc, StateKind kind)
{
	const Oid	types[NUM_LOAD_COLUMNS] = {
		INT8OID, INT8OID, kind == STATE_JSON ? JSONOID : BYTEAOID, JSONBOID,
		TIMESTAMPTZOID
	};
	bool		same = desc != NULL && desc->natts == NUM_LOAD_COLUMNS;

	for (int i = 0; same && i < NUM_LOAD_COLUMNS; i++)
		same = TupleDescAttr(desc, i)->atttypid == types[i];
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("unexpected result type of snapshot_load"),
				 errhint("Give the type loaded_snapshot or loaded_snapshot_bytea back the attributes that the extension gave it.")));
}

/*
 * snapshot_load(stream_id text, recognized_schema_versions bigint[],
 *				 max_sequence_number bigint DEFAULT NULL,
 *				 max_created_at timestamptz DEFAULT NULL)
 * RETURNS SETOF loaded_snapshot (sequence_number bigint,
 *				  state_schema_version bigint, state json, metadata jsonb,
 *				  created_at timestamptz)
 *
 * Returns, of the stream's snapshots with a recognized schema version and
 * within the inclusive bounds, the one with the highest sequence number, then
 * the highest schema version; or no row.
 *
 * Errors: 22004 for a NULL in the first two or inside the array, 22023 and
 * 54000 for a stream_id that is empty or over 2,000 bytes, 2202E for an array
 * of more than one dimension, 22003 for numbers out of range, 42804 if the
 * chosen snapshot's state is of the other kind, 42501 for a missing privilege.
 */
static Datum
load_snapshot(FunctionCallInfo fcinfo, StateKind kind)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	text	   *stream_id;
	RecognizedVersions recognized;
	SnapshotBounds bounds = {0};
	StreamSnapshot found;
	bool		in_from;
	Datum		values[NUM_LOAD_COLUMNS];
	bool		isnull[NUM_LOAD_COLUMNS] = {false};
	MemoryContext caller;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		(rsinfo->allowedModes & SFRM_ValuePerCall) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));

	stream_id = get_stream_id(fcinfo, 0);
	get_recognized_versions(fcinfo, 1, &recognized);
	get_sequence_number_bound(fcinfo, 2, "max_sequence_number",
							  &bounds.has_max_sequence_number,
							  &bounds.max_sequence_number);
	get_created_at_bound(fcinfo, 3, &bounds.has_max_created_at,
						 &bounds.max_created_at);

	check_load_columns(rsinfo->expectedDesc, kind);
	if (!store_load(fcinfo->flinfo->fn_oid, stream_id, kind, &recognized,
					&bounds, &found))
	{
		rsinfo->isDone = ExprEndResult;
		PG_RETURN_NULL();
	}

	in_from = (rsinfo->allowedModes & SFRM_Materialize_Preferred) != 0;

	/*
	 * A row as one value must hold what is stored out of line; left to itself
	 * the server would also decompress it.  In FROM it stays where it is, as
	 * in a scan of the table: the query holds the snapshot by which it was
	 * found.
	 */
	if (!in_from)
		fetch_external(&found);

	values[0] = Int64GetDatum(found.header.sequence_number);
	values[1] = Int64GetDatum(found.header.state_schema_version);
	values[2] = found.state;
	values[3] = found.metadata;
	isnull[3] = !found.has_metadata;
	values[4] = TimestampTzGetDatum(found.header.created_at);

	/* One row and no more: isDone is still ExprSingleResult. */
	if (!in_from)
		return HeapTupleGetDatum(heap_form_tuple(rsinfo->expectedDesc, values,
												 isnull));

	/*
	 * In FROM the server would look up the row's type, and copy the row to a
	 * tuplestore: put it there at once.
	 */
	caller = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = tuplestore_begin_heap((rsinfo->allowedModes & SFRM_Materialize_Random) != 0,
											  false, work_mem);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->expectedDesc, values, isnull);
	MemoryContextSwitchTo(caller);
	PG_RETURN_NULL();
}

Datum
snapshot_load(PG_FUNCTION_ARGS)
{
	return load_snapshot(fcinfo, STATE_JSON);
}

/* snapshot_load_bytea: the same for a state of bytes. */
Datum
snapshot_load_bytea(PG_FUNCTION_ARGS)
{
	return load_snapshot(fcinfo, STATE_BYTEA);
}

/*
 * snapshot_info(stream_id text)
 * RETURNS TABLE (sequence_number bigint, state_schema_version bigint,
 *				  state_size bigint, created_at timestamptz)
 *
 * Lists what is kept for a stream, newest first.  state_size is in bytes, as
 * stored (compressed); no state is read.  Works while the store is off.
 *
 * Errors: those of snapshot_load for the stream_id and the privilege.
 */
Datum
snapshot_info(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *infos;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	infos = store_info(fcinfo->flinfo->fn_oid, get_stream_id(fcinfo, 0));
	foreach(cell, infos)
	{
		SnapshotInfo *info = lfirst(cell);
		Datum		values[NUM_INFO_COLUMNS];
		bool		isnull[NUM_INFO_COLUMNS] = {false};

		values[0] = Int64GetDatum(info->header.sequence_number);
		values[1] = Int64GetDatum(info->header.state_schema_version);
		values[2] = Int64GetDatum(info->state_size);
		values[3] = TimestampTzGetDatum(info->header.created_at);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
	}
	PG_RETURN_NULL();
}

/*
 * snapshot_should_take(event_count bigint, last_sequence_number bigint,
 *						snapshot_interval bigint) RETURNS boolean
 *
 * Whether at least snapshot_interval events came since the last snapshot.
 * Without a last one, last_sequence_number is NULL or 0.  An interval of 0
 * means never.
 *
 * Errors: 22004 for another NULL, 22003 for a number below 0.
 */
Datum
snapshot_should_take(PG_FUNCTION_ARGS)
{
	int64		event_count = get_count(fcinfo, 0, "event_count");
	int64		last_sequence_number = PG_ARGISNULL(1) ? 0 :
		get_count(fcinfo, 1, "last_sequence_number");
	int64		interval = get_count(fcinfo, 2, "snapshot_interval");

	PG_RETURN_BOOL(should_take_snapshot(event_count, last_sequence_number,
										interval));
}

/*
 * snapshot_due(stream_id text, recognized_schema_versions bigint[],
 *				event_count bigint, snapshot_interval bigint) RETURNS boolean
 *
 * snapshot_should_take against the stored snapshot that a load would return,
 * so that after a change of the schema the stream is due again.  Reads no
 * state.  False while the store is off.
 *
 * Errors: those of snapshot_load and snapshot_should_take.
 */
Datum
snapshot_due(PG_FUNCTION_ARGS)
{
	text	   *stream_id = get_stream_id(fcinfo, 0);
	RecognizedVersions recognized;
	int64		event_count;
	int64		interval;

	get_recognized_versions(fcinfo, 1, &recognized);
	event_count = get_count(fcinfo, 2, "event_count");
	interval = get_count(fcinfo, 3, "snapshot_interval");

	PG_RETURN_BOOL(store_is_due(fcinfo->flinfo->fn_oid, stream_id, &recognized,
								event_count, interval));
}

/*
 * snapshot_delete(stream_id text, max_sequence_number bigint DEFAULT NULL,
 *				   max_created_at timestamptz DEFAULT NULL,
 *				   min_sequence_number bigint DEFAULT NULL,
 *				   min_created_at timestamptz DEFAULT NULL) RETURNS bigint
 *
 * Deletes the stream's snapshots within the inclusive bounds and returns how
 * many went.  Durable when the transaction commits; works while the store is
 * off.
 *
 * Errors: those of snapshot_save for the stream_id, the bounds, a read-only
 * transaction, the privileges (SELECT and DELETE) and a table that is not
 * durable.
 */
Datum
snapshot_delete(PG_FUNCTION_ARGS)
{
	text	   *stream_id = get_stream_id(fcinfo, 0);
	SnapshotBounds bounds = {0};

	get_sequence_number_bound(fcinfo, 1, "max_sequence_number",
							  &bounds.has_max_sequence_number,
							  &bounds.max_sequence_number);
	get_created_at_bound(fcinfo, 2, &bounds.has_max_created_at,
						 &bounds.max_created_at);
	get_sequence_number_bound(fcinfo, 3, "min_sequence_number",
							  &bounds.has_min_sequence_number,
							  &bounds.min_sequence_number);
	get_created_at_bound(fcinfo, 4, &bounds.has_min_created_at,
						 &bounds.min_created_at);

	PG_RETURN_INT64(store_delete(fcinfo->flinfo->fn_oid, stream_id, &bounds));
}
