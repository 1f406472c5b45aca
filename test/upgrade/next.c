/*
 * next.c
 *		What a next version of the library has besides.
 */
#include "postgres.h"

#include "arguments.h"

extern Datum snapshot_due(PG_FUNCTION_ARGS);

SQL_FUNCTION(snapshot_due_next);
SQL_FUNCTION(snapshot_added);

/* snapshot_due, but an interval of 0 means always. */
Datum
snapshot_due_next(PG_FUNCTION_ARGS)
{
	if (PG_GETARG_INT64(3) == 0)
		PG_RETURN_BOOL(true);
	return snapshot_due(fcinfo);
}

/* How long the name of a stream is. */
Datum
snapshot_added(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(VARSIZE_ANY_EXHDR(get_stream_id(fcinfo, 0)));
}
