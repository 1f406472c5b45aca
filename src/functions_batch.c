/*
 * functions_batch.c
 *		The SQL-callable functions that save and load many snapshots at once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "store.h"

SQL_FUNCTION(snapshot_save_many);
SQL_FUNCTION(snapshot_save_many_bytea);
SQL_FUNCTION(snapshot_load_many);
SQL_FUNCTION(snapshot_load_many_bytea);

/*
 * The columns of snapshot_save_many, and of snapshot_load_many: stream_id, then
 * those of snapshot_load.
 */
#define NUM_SAVE_COLUMNS	2
#define NUM_LOAD_COLUMNS	6

/*
 * Get an array whose elements go with the streams of stream_ids.  One that
 * may be omitted may hold nulls too, which mean the same for one stream.
 */
static void
get_parallel_array(FunctionCallInfo fcinfo, int argument, const char *parameter,
				   Oid element_type, bool optional,
				   const ArrayArgument *stream_ids, ArrayArgument *array)
{
	if (optional && PG_ARGISNULL(argument))
	{
		array->values = NULL;
		return;
	}
	get_array(fcinfo, argument, parameter, element_type, optional, array);
	if (array->count != stream_ids->count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must have as many elements as stream_ids", parameter),
				 errdetail("It has %d, and stream_ids has %d.",
						   array->count, stream_ids->count)));
}

/* Is an optional array's element given? */
static bool
is_given(const ArrayArgument *array, int i)
{
	return array->values != NULL && !array->isnull[i];
}

static text *
get_batch_stream_id(const ArrayArgument *stream_ids, int i)
{
	text	   *stream_id = DatumGetTextP(stream_ids->values[i]);

	validate_stream_id(stream_id);
	return stream_id;
}

/*
 * snapshot_save_many(stream_ids text[], sequence_numbers bigint[],
 *					  state_schema_versions bigint[], states json[],
 *					  metadata json[] DEFAULT NULL,
 *					  created_at timestamptz[] DEFAULT NULL,
 *					  replace boolean DEFAULT true)
 * RETURNS TABLE (stream_id text, stored boolean)
 *
 * snapshot_save for each element of the arrays: one call, one flush, all or
 * nothing.  Returns a row for each, with what snapshot_save would have
 * returned, in the arrays' order.  The streams are locked in the order of
 * their names, so that batches, each in its own transaction, do not deadlock.
 *
 * Errors: those of snapshot_save; also 22004 for a NULL inside one of the
 * first four, 2202E for arrays of different lengths or of more than one
 * dimension, 21000 for a stream that occurs twice.
 */
static Datum
save_many(FunctionCallInfo fcinfo, StateKind kind)
{
	ArrayArgument stream_ids;
	ArrayArgument sequence_numbers;
	ArrayArgument versions;
	ArrayArgument states;
	ArrayArgument metadata;
	ArrayArgument created_at;
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	StreamSnapshot *snapshots;
	bool	   *stored;
	bool		replace;
	TimestampTz now = GetCurrentTimestamp();

	get_array(fcinfo, 0, "stream_ids", TEXTOID, false, &stream_ids);
	get_parallel_array(fcinfo, 1, "sequence_numbers", INT8OID, false,
					   &stream_ids, &sequence_numbers);
	get_parallel_array(fcinfo, 2, "state_schema_versions", INT8OID, false,
					   &stream_ids, &versions);
	get_parallel_array(fcinfo, 3, "states",
					   kind == STATE_JSON ? JSONOID : BYTEAOID, false,
					   &stream_ids, &states);
	get_parallel_array(fcinfo, 4, "metadata", JSONOID, true,
					   &stream_ids, &metadata);
	get_parallel_array(fcinfo, 5, "created_at", TIMESTAMPTZOID, true,
					   &stream_ids, &created_at);
	replace = get_flag(fcinfo, 6, "replace");

	snapshots = MemoryContextAllocHuge(CurrentMemoryContext,
									   stream_ids.count * sizeof(StreamSnapshot));
	for (int i = 0; i < stream_ids.count; i++)
	{
		StreamSnapshot *snapshot = &snapshots[i];
		SnapshotHeader *header = &snapshot->header;

		CHECK_FOR_INTERRUPTS();
		snapshot->stream_id = get_batch_stream_id(&stream_ids, i);
		header->sequence_number = DatumGetInt64(sequence_numbers.values[i]);
		validate_not_negative("sequence_numbers", header->sequence_number);
		header->state_schema_version = DatumGetInt64(versions.values[i]);
		validate_state_schema_version("state_schema_versions",
									  header->state_schema_version);
		snapshot->kind = kind;
		snapshot->state = states.values[i];
		snapshot->has_metadata = is_given(&metadata, i);
		snapshot->metadata = snapshot->has_metadata ?
			metadata_from_json(metadata.values[i]) : (Datum) 0;
		validate_sizes(snapshot);
		header->created_at = is_given(&created_at, i) ?
			DatumGetTimestampTz(created_at.values[i]) : now;
		validate_created_at(header->created_at, now);
		warn_if_encoded_twice(snapshot);
	}

	InitMaterializedSRF(fcinfo, 0);
	stored = palloc(stream_ids.count * sizeof(bool));
	store_save_many(fcinfo->flinfo->fn_oid, snapshots, stream_ids.count, replace,
					stored);
	for (int i = 0; i < stream_ids.count; i++)
	{
		Datum		values[NUM_SAVE_COLUMNS];
		bool		isnull[NUM_SAVE_COLUMNS] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = stream_ids.values[i];
		values[1] = BoolGetDatum(stored[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
	}
	PG_RETURN_NULL();
}

Datum
snapshot_save_many(PG_FUNCTION_ARGS)
{
	return save_many(fcinfo, STATE_JSON);
}

/* snapshot_save_many_bytea: the same for states of bytes. */
Datum
snapshot_save_many_bytea(PG_FUNCTION_ARGS)
{
	return save_many(fcinfo, STATE_BYTEA);
}

/* Return one found snapshot as a row. */
static void
return_found(const StreamSnapshot *found, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	Datum		values[NUM_LOAD_COLUMNS];
	bool		isnull[NUM_LOAD_COLUMNS] = {false};

	values[0] = PointerGetDatum(found->stream_id);
	values[1] = Int64GetDatum(found->header.sequence_number);
	values[2] = Int64GetDatum(found->header.state_schema_version);
	values[3] = found->state;
	values[4] = found->metadata;
	isnull[4] = !found->has_metadata;
	values[5] = TimestampTzGetDatum(found->header.created_at);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
}

/* qsort comparator of places in an array of streams: by stream, then place. */
static int
compare_places(const void *a, const void *b)
{
	text	  **x = *(text **const *) a;
	text	  **y = *(text **const *) b;
	int			result;

	CHECK_FOR_INTERRUPTS();		/* there may be millions */
	result = compare_stream_ids(*x, *y);
	return result != 0 ? result : (x > y) - (x < y);
}

/* Set all but the first occurrence of each stream to NULL. */
static void
forget_repetitions(text **stream_ids, int count)
{
	text	 ***places = palloc(count * sizeof(text **));
	text	  **first = NULL;

	for (int i = 0; i < count; i++)
		places[i] = &stream_ids[i];
	qsort(places, count, sizeof(text **), compare_places);
	for (int i = 0; i < count; i++)
	{
		if (first != NULL && compare_stream_ids(*first, *places[i]) == 0)
			*places[i] = NULL;
		else
			first = places[i];
	}
	pfree(places);
}

/*
 * snapshot_load_many(stream_ids text[], recognized_schema_versions bigint[],
 *					  max_sequence_numbers bigint[] DEFAULT NULL)
 * RETURNS TABLE (stream_id text, and the columns of snapshot_load)
 *
 * snapshot_load for each stream: the found rows, in the order of stream_ids,
 * a repeated one once, where it occurs first.  A NULL among the
 * max_sequence_numbers means no bound for that stream.
 *
 * Errors: those of snapshot_load; also 22004 for a NULL inside stream_ids,
 * 2202E for arrays of different lengths or of more than one dimension.
 */
static Datum
load_many(FunctionCallInfo fcinfo, StateKind kind)
{
	ArrayArgument ids;
	ArrayArgument max_sequence_numbers;
	RecognizedVersions recognized;
	text	  **stream_ids;
	SnapshotBounds *bounds;
	int			count = 0;

	get_array(fcinfo, 0, "stream_ids", TEXTOID, false, &ids);
	get_recognized_versions(fcinfo, 1, &recognized);
	get_parallel_array(fcinfo, 2, "max_sequence_numbers", INT8OID, true,
					   &ids, &max_sequence_numbers);

	stream_ids = palloc(ids.count * sizeof(text *));
	bounds = MemoryContextAllocExtended(CurrentMemoryContext,
										ids.count * sizeof(SnapshotBounds),
										MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < ids.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		stream_ids[i] = get_batch_stream_id(&ids, i);
		if (is_given(&max_sequence_numbers, i))
		{
			bounds[i].has_max_sequence_number = true;
			bounds[i].max_sequence_number = DatumGetInt64(max_sequence_numbers.values[i]);
			validate_not_negative("max_sequence_numbers",
								  bounds[i].max_sequence_number);
		}
	}

	forget_repetitions(stream_ids, ids.count);
	for (int i = 0; i < ids.count; i++)
	{
		if (stream_ids[i] == NULL)
			continue;
		stream_ids[count] = stream_ids[i];
		bounds[count] = bounds[i];
		count++;
	}

	InitMaterializedSRF(fcinfo, 0);
	store_load_many(fcinfo->flinfo->fn_oid, stream_ids, count, kind,
					&recognized, bounds, return_found, fcinfo->resultinfo);
	PG_RETURN_NULL();
}

Datum
snapshot_load_many(PG_FUNCTION_ARGS)
{
	return load_many(fcinfo, STATE_JSON);
}

/* snapshot_load_many_bytea: the same for states of bytes. */
Datum
snapshot_load_many_bytea(PG_FUNCTION_ARGS)
{
	return load_many(fcinfo, STATE_BYTEA);
}
