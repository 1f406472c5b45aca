/*
 * functions_state.c
 *		The type snapshot_state: JSON, to the letter, that may be packed.
 *
 * What goes in is JSON, and checked: only the library itself packs.  What comes
 * out is JSON.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "arguments.h"
#include "dictionary.h"

SQL_FUNCTION(snapshot_state_in);
SQL_FUNCTION(snapshot_state_out);
SQL_FUNCTION(snapshot_state_recv);
SQL_FUNCTION(snapshot_state_send);
SQL_FUNCTION(snapshot_state_to_json);

/* snapshot_state_in(cstring) RETURNS snapshot_state: as json's. */
Datum
snapshot_state_in(PG_FUNCTION_ARGS)
{
	return json_in(fcinfo);
}

/* snapshot_state_recv(internal) RETURNS snapshot_state: as json's. */
Datum
snapshot_state_recv(PG_FUNCTION_ARGS)
{
	return json_recv(fcinfo);
}

/* The argument, plain. */
static text *
get_state(FunctionCallInfo fcinfo)
{
	uint64		missing;
	Datum		state = dictionary_unpack(get_func_namespace(fcinfo->flinfo->fn_oid),
										  PG_GETARG_DATUM(0), &missing);

	if (state == (Datum) 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("dictionary %lld does not exist", (long long) missing),
				 errdetail("The state was packed by it.")));
	return DatumGetTextPP(state);
}

/* snapshot_state_out(snapshot_state) RETURNS cstring */
Datum
snapshot_state_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(text_to_cstring(get_state(fcinfo)));
}

/* snapshot_state_send(snapshot_state) RETURNS bytea: as json's. */
Datum
snapshot_state_send(PG_FUNCTION_ARGS)
{
	text	   *state = get_state(fcinfo);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendtext(&message, VARDATA_ANY(state), VARSIZE_ANY_EXHDR(state));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/*
 * snapshot_state_to_json(snapshot_state) RETURNS json: the cast.
 *
 * Errors, as those of output: 42704 for a state whose dictionary does not exist,
 * XX001 for one that is damaged.
 */
Datum
snapshot_state_to_json(PG_FUNCTION_ARGS)
{
	text	   *state = get_state(fcinfo);

	/* What makes JSON of a row frees what it gets from here. */
	if (state == (text *) PG_GETARG_POINTER(0))
		state = PG_GETARG_TEXT_P_COPY(0);
	PG_RETURN_TEXT_P(state);
}
