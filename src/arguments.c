/*
 * arguments.c
 *		Reads and validates the arguments of the SQL-callable functions.
 *
 * None of them is strict: a NULL where a value is needed is an error, not a
 * NULL that an application might take for an answer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "arguments.h"

void
refuse_null(FunctionCallInfo fcinfo, int argument, const char *parameter)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", parameter)));
}

text *
get_stream_id(FunctionCallInfo fcinfo, int argument)
{
	text	   *stream_id;

	refuse_null(fcinfo, argument, "stream_id");

	/* With a full header, so that one stream's key is always the same bytes. */
	stream_id = PG_GETARG_TEXT_P(argument);
	validate_stream_id(stream_id);
	return stream_id;
}

/* An int8 that must be 0 or more. */
int64
get_count(FunctionCallInfo fcinfo, int argument, const char *parameter)
{
	int64		value;

	refuse_null(fcinfo, argument, parameter);
	value = PG_GETARG_INT64(argument);
	validate_not_negative(parameter, value);
	return value;
}

/* One dimension, and no nulls unless they are allowed. */
static void
check_array(ArrayType *array, const char *parameter, bool nulls_allowed)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be a one-dimensional array", parameter)));
	if (!nulls_allowed && array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain nulls", parameter)));
}

void
get_recognized_versions(FunctionCallInfo fcinfo, int argument,
						RecognizedVersions *recognized)
{
	const char *parameter = "recognized_schema_versions";
	ArrayType  *array;

	refuse_null(fcinfo, argument, parameter);
	array = PG_GETARG_ARRAYTYPE_P(argument);
	check_array(array, parameter, false);

	recognized->array = array;
	recognized->versions = (const int64 *) ARR_DATA_PTR(array);
	recognized->count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	for (int i = 0; i < recognized->count; i++)
		validate_state_schema_version(parameter, recognized->versions[i]);
}

/* Optional bounds of sequence numbers and times. */
void
get_sequence_number_bound(FunctionCallInfo fcinfo, int argument,
						  const char *parameter, bool *given, int64 *bound)
{
	*given = !PG_ARGISNULL(argument);
	*bound = *given ? get_count(fcinfo, argument, parameter) : 0;
}

void
get_created_at_bound(FunctionCallInfo fcinfo, int argument,
					 bool *given, TimestampTz *bound)
{
	*given = !PG_ARGISNULL(argument);
	*bound = *given ? PG_GETARG_TIMESTAMPTZ(argument) : 0;
}

/* A bool that must be given, if only by its default. */
bool
get_flag(FunctionCallInfo fcinfo, int argument, const char *parameter)
{
	refuse_null(fcinfo, argument, parameter);
	return PG_GETARG_BOOL(argument);
}

/*
 * Metadata come as json, in which a driver passes states, too, and are kept as
 * jsonb: converted here, once, with the errors of a cast.
 */
Datum
metadata_from_json(Datum json)
{
	char	   *string = TextDatumGetCString(json);
	Datum		metadata = DirectFunctionCall1(jsonb_in, CStringGetDatum(string));

	pfree(string);
	return metadata;
}

/* The beginning of streams' names: '' means all, and must be written. */
text *
get_stream_id_prefix(FunctionCallInfo fcinfo, int argument)
{
	refuse_null(fcinfo, argument, "stream_id_prefix");
	return PG_GETARG_TEXT_PP(argument);
}

/* An int4 within these limits. */
int32
get_number(FunctionCallInfo fcinfo, int argument, const char *parameter,
		   int32 least, int32 most)
{
	int32		value;

	refuse_null(fcinfo, argument, parameter);
	value = PG_GETARG_INT32(argument);
	if (value < least)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least %d", parameter, least),
				 errdetail("It is %d.", value)));
	if (value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at most %d", parameter, most),
				 errdetail("It is %d.", value)));
	return value;
}

/* An array's elements; they point into the array. */
void
get_array(FunctionCallInfo fcinfo, int argument, const char *parameter,
		  Oid element_type, bool nulls_allowed, ArrayArgument *array)
{
	ArrayType  *datum;
	int16		length;
	bool		byval;
	char		align;

	refuse_null(fcinfo, argument, parameter);
	datum = PG_GETARG_ARRAYTYPE_P(argument);
	check_array(datum, parameter, nulls_allowed);
	get_typlenbyvalalign(element_type, &length, &byval, &align);
	deconstruct_array(datum, element_type, length, byval, align,
					  &array->values, nulls_allowed ? &array->isnull : NULL,
					  &array->count);
	if (!nulls_allowed)
		array->isnull = NULL;
}

/*
 * What a procedure that commits does first: refuse to run inside of another's
 * transaction, and learn the type of its result, in memory that outlives the
 * commits.
 */
TupleDesc
begin_procedure(FunctionCallInfo fcinfo)
{
	TupleDesc	result;

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s() cannot be called inside a transaction block or a function",
						get_func_name(fcinfo->flinfo->fn_oid)),
				 errdetail("It commits after each batch."),
				 errhint("Send CALL in a statement of its own. A procedure around it must be neither SECURITY DEFINER nor have a SET clause.")));
	if (get_call_result_type(fcinfo, NULL, &result) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "a procedure that counts must return a row");
	return BlessTupleDesc(result);
}
