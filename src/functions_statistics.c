/*
 * functions_statistics.c
 *		The SQL-callable functions for statistics.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "relation.h"
#include "statistics.h"
#include "table.h"

SQL_FUNCTION(snapshot_stats);
SQL_FUNCTION(snapshot_stats_reset);

/* What stands before the counters in a row, and after them. */
#define NUM_COLUMNS_BEFORE	4
#define NUM_STATS_COLUMNS	(NUM_COLUMNS_BEFORE + NUM_COUNTERS + 1)

/* What snapshot_stats is collecting. */
typedef struct StatisticsRows
{
	ReturnSetInfo *rsinfo;
	bool		with_kinds;		/* of this database */
	List	   *sums;			/* KindStatistics, one a row */
} StatisticsRows;

/*
 * Kinds are text from the names of streams: for those who may read the names,
 * or all statistics.
 */
static bool
may_see_kinds(Oid function)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
		owns_store_table(function);
}

static void
return_statistics(const StatisticsRows *rows, const KindStatistics *kind)
{
	Datum		values[NUM_STATS_COLUMNS];
	bool		isnull[NUM_STATS_COLUMNS] = {false};
	char	   *database = get_database_name(kind->database);
	NameData	name;

	if (database == NULL)
	{
		statistics_forget(kind->database);
		return;
	}
	namestrcpy(&name, database);
	values[0] = ObjectIdGetDatum(kind->database);
	values[1] = NameGetDatum(&name);
	isnull[2] = kind->kind_length == 0;
	if (!isnull[2])
		values[2] = PointerGetDatum(cstring_to_text_with_len(kind->kind, kind->kind_length));
	values[3] = CStringGetTextDatum(kind->are_shared ? "server" : "session");
	for (int c = 0; c < NUM_COUNTERS; c++)
		values[NUM_COLUMNS_BEFORE + c] = Int64GetDatum((int64) kind->counters[c]);
	values[NUM_COLUMNS_BEFORE + NUM_COUNTERS] = TimestampTzGetDatum(kind->since);
	tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc, values, isnull);
}

/* Add to the kind's row, or to its database's. */
static void
receive_statistics(const KindStatistics *kind, void *arg)
{
	StatisticsRows *rows = arg;
	int			kind_length = rows->with_kinds && kind->database == MyDatabaseId ?
		kind->kind_length : 0;
	KindStatistics *sum;
	ListCell   *cell;

	foreach(cell, rows->sums)
	{
		sum = lfirst(cell);
		if (sum->database == kind->database && sum->kind_length == kind_length &&
			memcmp(sum->kind, kind->kind, kind_length) == 0)
		{
			for (int c = 0; c < NUM_COUNTERS; c++)
				sum->counters[c] += kind->counters[c];
			return;
		}
	}
	sum = palloc(sizeof(KindStatistics));
	*sum = *kind;
	sum->kind_length = kind_length;
	rows->sums = lappend(rows->sums, sum);
}

/*
 * snapshot_stats(OUT datid oid, OUT datname name, OUT kind text, OUT scope text,
 *				  OUT ... bigint, OUT stats_since timestamptz)
 * RETURNS SETOF record
 *
 * What loads and saves did, in columns in the order of Counter: a row for each kind
 * of stream in this database, for who may see these; and a row for each of the
 * others.
 */
Datum
snapshot_stats(PG_FUNCTION_ARGS)
{
	StatisticsRows rows = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	rows.with_kinds = may_see_kinds(fcinfo->flinfo->fn_oid);
	statistics_read(receive_statistics, &rows);
	foreach(cell, rows.sums)
	{
		return_statistics(&rows, lfirst(cell));
	}
	PG_RETURN_NULL();
}

/*
 * snapshot_stats_reset() RETURNS void
 *
 * Begins to count anew, for this database.
 *
 * Errors: 42501 for who does not own the table.
 */
Datum
snapshot_stats_reset(PG_FUNCTION_ARGS)
{
	if (!owns_store_table(fcinfo->flinfo->fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to reset statistics"),
				 errdetail("Only the owner of table \"%s\" may.", TABLE_NAME)));
	statistics_reset();
	PG_RETURN_VOID();
}
