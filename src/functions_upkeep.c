/*
 * functions_upkeep.c
 *		The SQL-callable functions for upkeep: census, work list and purge.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "stream_walk.h"
#include "upkeep.h"

SQL_FUNCTION(snapshot_census);
SQL_FUNCTION(snapshot_outdated);
SQL_FUNCTION(snapshot_purge);

#define NUM_CENSUS_COLUMNS	3

/*
 * snapshot_census(stream_id_prefix text DEFAULT '')
 * RETURNS TABLE (state_schema_version bigint, snapshots bigint,
 *				  streams bigint)
 *
 * How many snapshots of each schema version there are, and in how many
 * streams, of those whose name begins with the prefix.  Reads the index alone
 * where the table was vacuumed.
 *
 * Errors: 22004 for a NULL, 42501 for a missing privilege.
 */
Datum
snapshot_census(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *census;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	census = upkeep_census(fcinfo->flinfo->fn_oid,
						   get_stream_id_prefix(fcinfo, 0));
	foreach(cell, census)
	{
		VersionCensus *version = lfirst(cell);
		Datum		values[NUM_CENSUS_COLUMNS];
		bool		isnull[NUM_CENSUS_COLUMNS] = {false};

		values[0] = Int64GetDatum(version->state_schema_version);
		values[1] = Int64GetDatum(version->snapshots);
		values[2] = Int64GetDatum(version->streams);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
	}
	PG_RETURN_NULL();
}

/* Return one stream's id as a row. */
static void
return_stream(const text *stream_id, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	Datum		value = PointerGetDatum(stream_id);
	bool		isnull = false;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
}

/*
 * snapshot_outdated(stream_id_prefix text,
 *					 recognized_schema_versions bigint[],
 *					 max_streams integer DEFAULT 1000,
 *					 after_stream_id text DEFAULT NULL) RETURNS SETOF text
 *
 * The streams that hold snapshots, none of them recognized: the first
 * max_streams after after_stream_id, in the order of their names by bytes.
 * Pass the last one of a call to the next.  Reads like snapshot_census, from
 * after_stream_id on until it has found enough.
 *
 * Errors: 22004 for a NULL but in the last, 22003 and 2202E for the versions
 * as snapshot_load, 22023 for max_streams below 1, 42501 for a missing
 * privilege.
 */
Datum
snapshot_outdated(PG_FUNCTION_ARGS)
{
	text	   *prefix = get_stream_id_prefix(fcinfo, 0);
	RecognizedVersions recognized;
	int32		max_streams;
	text	   *after_stream_id;

	get_recognized_versions(fcinfo, 1, &recognized);
	max_streams = get_number(fcinfo, 2, "max_streams", 1, PG_INT32_MAX);
	after_stream_id = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	upkeep_outdated(fcinfo->flinfo->fn_oid, prefix, &recognized, max_streams,
					after_stream_id, return_stream, fcinfo->resultinfo);
	PG_RETURN_NULL();
}

/*
 * snapshot_purge(stream_id_prefix text,
 *				  recognized_schema_versions bigint[] DEFAULT NULL,
 *				  min_created_at timestamptz DEFAULT NULL,
 *				  max_created_at timestamptz DEFAULT NULL,
 *				  batch_size integer DEFAULT 1000,
 *				  INOUT deleted bigint DEFAULT NULL)
 *
 * A procedure: deletes the snapshots that are not recognized and lie within
 * the inclusive bounds of time, whichever are given, in transactions that
 * each examine batch_size rows.  Returns a row with how many were deleted (what
 * is passed for it has no meaning); a notice tells that, too, and the progress
 * every ten seconds.
 *
 * Errors: 2D000 inside a transaction block or a function, 22023 without any
 * criterion, for an empty array of versions (nothing would be recognized) or
 * for a batch_size below 1 or over 500,000, 22004 for a NULL prefix or
 * batch_size or a NULL inside the array, 22003 and 2202E for the versions as
 * snapshot_load; those of snapshot_delete for a read-only transaction, the
 * privileges (UPDATE, too, since it locks rows) and a table that is not
 * durable; 55000 for one whose streams are not in the order of their bytes.
 */
Datum
snapshot_purge(PG_FUNCTION_ARGS)
{
	text	   *prefix = get_stream_id_prefix(fcinfo, 0);
	RecognizedVersions recognized;
	bool		has_recognized = !PG_ARGISNULL(1);
	SnapshotBounds bounds = {0};
	int32		batch_size;
	TupleDesc	result;
	Datum		deleted;
	bool		isnull = false;

	if (has_recognized)
	{
		get_recognized_versions(fcinfo, 1, &recognized);
		if (recognized.count == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("recognized_schema_versions must not be empty"),
					 errdetail("No snapshot would be recognized, and all would be deleted."),
					 errhint("To delete by time alone, pass NULL.")));
	}
	get_created_at_bound(fcinfo, 2, &bounds.has_min_created_at,
						 &bounds.min_created_at);
	get_created_at_bound(fcinfo, 3, &bounds.has_max_created_at,
						 &bounds.max_created_at);
	batch_size = get_number(fcinfo, 4, "batch_size", 1, MAX_BATCH_SIZE);

	if (!has_recognized && !bounds.has_min_created_at && !bounds.has_max_created_at)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("snapshot_purge() needs a criterion"),
				 errhint("Pass recognized_schema_versions, min_created_at or max_created_at.")));
	result = begin_procedure(fcinfo);
	deleted = Int64GetDatum(upkeep_purge(fcinfo->flinfo->fn_oid, prefix,
										 has_recognized ? &recognized : NULL,
										 &bounds, batch_size));
	return HeapTupleGetDatum(heap_form_tuple(result, &deleted, &isnull));
}
