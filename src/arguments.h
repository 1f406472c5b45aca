/*
 * arguments.h
 *		Reads and validates the arguments of the SQL-callable functions.
 */
#ifndef SNAPSHOT_STORE_ARGUMENTS_H
#define SNAPSHOT_STORE_ARGUMENTS_H

#include "access/tupdesc.h"
#include "fmgr.h"

#include "compat.h"
#include "stream_snapshot.h"

/*
 * Before 16 the declaration must say that the library exports it.
 *
 * A function's arguments are read before the extension's version is known: a
 * later SQL definition with other arguments needs a C function of its own.
 */
#define SQL_FUNCTION(name) \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

/* The elements of an array argument. */
typedef struct ArrayArgument
{
	int			count;
	Datum	   *values;
	bool	   *isnull;			/* NULL: there are none */
} ArrayArgument;

extern void refuse_null(FunctionCallInfo fcinfo, int argument,
						const char *parameter);
extern text *get_stream_id(FunctionCallInfo fcinfo, int argument);
extern text *get_stream_id_prefix(FunctionCallInfo fcinfo, int argument);
extern int64 get_count(FunctionCallInfo fcinfo, int argument,
					   const char *parameter);
extern int32 get_number(FunctionCallInfo fcinfo, int argument,
						const char *parameter, int32 least, int32 most);
extern void get_recognized_versions(FunctionCallInfo fcinfo, int argument,
									RecognizedVersions *recognized);
extern void get_sequence_number_bound(FunctionCallInfo fcinfo, int argument,
									  const char *parameter,
									  bool *given, int64 *bound);
extern void get_created_at_bound(FunctionCallInfo fcinfo, int argument,
								 bool *given, TimestampTz *bound);
extern bool get_flag(FunctionCallInfo fcinfo, int argument,
					 const char *parameter);
extern Datum metadata_from_json(Datum json);
extern void get_array(FunctionCallInfo fcinfo, int argument,
					  const char *parameter, Oid element_type,
					  bool nulls_allowed, ArrayArgument *array);
extern TupleDesc begin_procedure(FunctionCallInfo fcinfo);

#endif							/* SNAPSHOT_STORE_ARGUMENTS_H */
