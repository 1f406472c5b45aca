/*
 * table_sql.c
 *		The sql way to the table: by SPI, with kept plans.
 *
 * Right on any table, whatever triggers, policies, indexes or partitions it
 * has: the server decides.  Every name and operator in the statements is
 * qualified, so that no search_path has a say.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "citus.h"
#include "compat.h"
#include "dictionary.h"
#include "table.h"

typedef enum Statement
{
	SCAN_HEADERS,
	SCAN_STATES,
	SCAN_ALL_STATES,
	LOCK_ROW,
	INSERT_ROW,
	INSIST_ON_ROW,
	UPDATE_ROW,
	COPY_ROW,
	MOVE_ROW,
	REMOVE_ROW,
	DELETE_ROWS,
	WALK_KEY,
	PURGE_ROWS,
	PURGE_SHARD_ROWS,
	READ_STATES,
	LOCK_STATES,
	SET_STATE
} Statement;

#define NUM_STATEMENTS	(SET_STATE + 1)

/*
 * A whole row as parameters $1 to $8, in the order of the columns.  Where JSONOID
 * stands for a type, it may be the table's own type of states.
 */
#define ROW_COLUMNS \
	"stream_id, slot, state_schema_version, sequence_number, created_at, " \
	"state, state_bytea, metadata"
#define HEADER_SELECTED	/* whatever the owner made of the columns */ \
	"stream_id::pg_catalog.text, slot::pg_catalog.int2, " \
	"state_schema_version::pg_catalog.int8, sequence_number::pg_catalog.int8, " \
	"created_at::pg_catalog.timestamptz"
#define ROW_SELECTED \
	HEADER_SELECTED ", state::%2$s, " \
	"state_bytea::pg_catalog.bytea, metadata::pg_catalog.jsonb"
#define ROW_TYPES \
	TEXTOID, INT2OID, INT8OID, INT8OID, TIMESTAMPTZOID, \
	JSONOID, BYTEAOID, JSONBOID
#define ROW_INSERT \
	"INSERT INTO %1$s AS kept (" ROW_COLUMNS ") " \
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8) " \
	"ON CONFLICT (stream_id, slot) "

/* Rows by their keys: arrays of streams and slots. */
#define FROM_KEYS \
	" FROM %1$s AS kept" \
	" JOIN ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS found (stream_id, slot)" \
	" ON kept.stream_id OPERATOR(pg_catalog.=) found.stream_id" \
	" AND kept.slot OPERATOR(pg_catalog.=) found.slot"
#define STATES_FROM_KEYS \
	"SELECT kept.stream_id::pg_catalog.text, kept.slot::pg_catalog.int2," \
	" kept.state_schema_version::pg_catalog.int8, kept.state::%2$s" FROM_KEYS \
	" WHERE kept.state IS NOT NULL"

/* Of these, what a purge is for; what another has locked is passed over. */
#define PURGE_TYPES	TEXTARRAYOID, INT2ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID
#define TO_BE_PURGED \
	" ($3 IS NULL OR kept.state_schema_version OPERATOR(pg_catalog.<>) ALL ($3))" \
	" AND ($4 IS NULL OR kept.created_at OPERATOR(pg_catalog.<=) $4)" \
	" AND ($5 IS NULL OR kept.created_at OPERATOR(pg_catalog.>=) $5)" \
	" FOR UPDATE OF kept SKIP LOCKED) "

/* A row that is still as it was read. */
#define SAME_ROW_TYPES	INT2OID, INT8OID, INT8OID, TIMESTAMPTZOID
#define SAME_ROW(slot, version, sequence, created_at) \
	"stream_id OPERATOR(pg_catalog.=) $1" \
	" AND slot OPERATOR(pg_catalog.=) " slot \
	" AND state_schema_version OPERATOR(pg_catalog.=) " version \
	" AND sequence_number OPERATOR(pg_catalog.=) " sequence \
	" AND created_at OPERATOR(pg_catalog.=) " created_at

#define MAX_PARAMETERS	13

typedef struct StatementText
{
	const char *text;			/* %1$s: the table; %2$s: its type of states */
	int			nparameters;
	Oid			types[MAX_PARAMETERS];
	bool		must_survive;	/* is it all of a save or a deletion? */
	bool		of_stream;		/* ... of the stream $1 */
} StatementText;

static const StatementText statements[NUM_STATEMENTS] = {
	/* The size takes the place of the state. */
	[SCAN_HEADERS] = {
		"SELECT " HEADER_SELECTED ", COALESCE(pg_catalog.pg_column_size(state),"
		" pg_catalog.pg_column_size(state_bytea)) FROM %1$s"
		" WHERE stream_id OPERATOR(pg_catalog.=) $1"
		" ORDER BY slot USING OPERATOR(pg_catalog.<)",
		1, {TEXTOID}
	},
	[SCAN_STATES] = {
		"SELECT " ROW_SELECTED " FROM %1$s"
		" WHERE stream_id OPERATOR(pg_catalog.=) $1"
		" AND state_schema_version OPERATOR(pg_catalog.=) ANY ($2)"
		" ORDER BY slot USING OPERATOR(pg_catalog.<)",
		2, {TEXTOID, INT8ARRAYOID}
	},
	[SCAN_ALL_STATES] = {
		"SELECT " ROW_SELECTED " FROM %1$s"
		" WHERE stream_id OPERATOR(pg_catalog.=) $1"
		" ORDER BY slot USING OPERATOR(pg_catalog.<)",
		1, {TEXTOID}
	},
	[LOCK_ROW] = {
		"SELECT 1 FROM %1$s WHERE stream_id OPERATOR(pg_catalog.=) $1"
		" AND slot OPERATOR(pg_catalog.=) $2 FOR NO KEY UPDATE",
		2, {TEXTOID, INT2OID}
	},
	[INSERT_ROW] = {
		ROW_INSERT "DO NOTHING",
		8, {ROW_TYPES}, true, true
	},

	/*
	 * Guarded, so that even now no older snapshot replaces a newer one, nor
	 * one of the same sequence number unless it may ($13), nor one of another
	 * version, unless it is the one that is to go ($9, $10, $11) or any may
	 * ($12).
	 */
	[INSIST_ON_ROW] = {
		ROW_INSERT "DO UPDATE SET "
		"state_schema_version = excluded.state_schema_version, "
		"sequence_number = excluded.sequence_number, "
		"created_at = excluded.created_at, state = excluded.state, "
		"state_bytea = excluded.state_bytea, metadata = excluded.metadata "
		"WHERE CASE WHEN kept.state_schema_version OPERATOR(pg_catalog.=) excluded.state_schema_version "
		"THEN kept.sequence_number OPERATOR(pg_catalog.<) excluded.sequence_number"
		" OR ($13 AND kept.sequence_number OPERATOR(pg_catalog.=) excluded.sequence_number) "
		"ELSE $12 OR (kept.state_schema_version OPERATOR(pg_catalog.=) $9"
		" AND kept.sequence_number OPERATOR(pg_catalog.=) $10"
		" AND kept.created_at OPERATOR(pg_catalog.=) $11) END",
		13, {ROW_TYPES, INT8OID, INT8OID, TIMESTAMPTZOID, BOOLOID, BOOLOID}, true, true
	},
	[UPDATE_ROW] = {
		"UPDATE %1$s SET slot = $2, state_schema_version = $3, "
		"sequence_number = $4, created_at = $5, state = $6, "
		"state_bytea = $7, metadata = $8 "
		"WHERE " SAME_ROW("$9", "$10", "$11", "$12"),
		12, {ROW_TYPES, SAME_ROW_TYPES}, true, true
	},
	[COPY_ROW] = {
		"INSERT INTO %1$s (" ROW_COLUMNS ") "
		"SELECT stream_id, $6, state_schema_version, sequence_number, "
		"created_at, state, state_bytea, metadata FROM %1$s "
		"WHERE " SAME_ROW("$2", "$3", "$4", "$5")
		" ON CONFLICT (stream_id, slot) DO NOTHING",
		6, {TEXTOID, SAME_ROW_TYPES, INT2OID}
	},
	[MOVE_ROW] = {
		"UPDATE %1$s SET slot = $6 WHERE " SAME_ROW("$2", "$3", "$4", "$5"),
		6, {TEXTOID, SAME_ROW_TYPES, INT2OID}
	},
	[REMOVE_ROW] = {
		"DELETE FROM %1$s WHERE " SAME_ROW("$2", "$3", "$4", "$5"),
		5, {TEXTOID, SAME_ROW_TYPES}
	},
	/* By index, so in the order of the slots, as a save locks rows. */
	[DELETE_ROWS] = {
		"DELETE FROM %1$s WHERE stream_id OPERATOR(pg_catalog.=) $1"
		" AND ($2 IS NULL OR sequence_number OPERATOR(pg_catalog.<=) $2)"
		" AND ($3 IS NULL OR created_at OPERATOR(pg_catalog.<=) $3)"
		" AND ($4 IS NULL OR sequence_number OPERATOR(pg_catalog.>=) $4)"
		" AND ($5 IS NULL OR created_at OPERATOR(pg_catalog.>=) $5)",
		5, {TEXTOID, INT8OID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}, true, true
	},
	[WALK_KEY] = {
		"SELECT stream_id::pg_catalog.text, slot::pg_catalog.int2, "
		"state_schema_version::pg_catalog.int8 FROM %1$s"
		" WHERE (stream_id, slot) OPERATOR(pg_catalog.>) ($1, $2)"
		" ORDER BY stream_id USING OPERATOR(pg_catalog.<),"
		" slot USING OPERATOR(pg_catalog.<)",
		2, {TEXTOID, INT4OID}
	},
	[PURGE_ROWS] = {
		"WITH purged AS MATERIALIZED ("
		"SELECT kept.stream_id, kept.slot" FROM_KEYS " WHERE" TO_BE_PURGED
		"DELETE FROM %1$s AS kept USING purged"
		" WHERE kept.stream_id OPERATOR(pg_catalog.=) purged.stream_id"
		" AND kept.slot OPERATOR(pg_catalog.=) purged.slot",
		5, {PURGE_TYPES}
	},

	/*
	 * Where Citus distributes the table: that the rows are in one shard it
	 * sees by the names of their streams.  A row that is changed meanwhile
	 * stays; of partitions, each has a row in the same place.
	 */
	[PURGE_SHARD_ROWS] = {
		"WITH purged AS MATERIALIZED ("
		"SELECT kept.stream_id AS its_stream, kept.slot AS its_slot, kept.ctid AS place" FROM_KEYS
		" WHERE kept.stream_id OPERATOR(pg_catalog.=) ANY ($1) AND" TO_BE_PURGED
		"DELETE FROM %1$s AS kept USING purged"
		" WHERE kept.stream_id OPERATOR(pg_catalog.=) ANY ($1)"
		" AND kept.stream_id OPERATOR(pg_catalog.=) purged.its_stream"
		" AND kept.slot OPERATOR(pg_catalog.=) purged.its_slot"
		" AND kept.ctid OPERATOR(pg_catalog.=) purged.place",
		5, {PURGE_TYPES}, true
	},
	[READ_STATES] = {
		STATES_FROM_KEYS,
		2, {TEXTARRAYOID, INT2ARRAYOID}
	},
	/* A row that was changed meanwhile is read as it is then. */
	[LOCK_STATES] = {
		STATES_FROM_KEYS " FOR NO KEY UPDATE OF kept SKIP LOCKED",
		2, {TEXTARRAYOID, INT2ARRAYOID}
	},
	[SET_STATE] = {
		"UPDATE %1$s SET state = $3"
		" WHERE stream_id OPERATOR(pg_catalog.=) $1"
		" AND slot OPERATOR(pg_catalog.=) $2",
		3, {TEXTOID, INT2OID, JSONOID}
	}
};

/* A kept plan, and which generation of it plan_by_index has had made. */
typedef struct KeptPlan
{
	SPIPlanPtr	plan;
	int			generation;
} KeptPlan;

/* The kept plans, and what they were made for: names, and where the rows are. */
static KeptPlan plans[NUM_STATEMENTS];
static NameData plans_schema;
static Oid	plans_state_type;
static bool plans_distributed;

/*
 * Have statements planned by index, and without JIT, up to AtEOXact_GUC of what
 * this returns.
 *
 * On a small table the planner would rather read it whole, and a kept plan
 * goes on doing so when the table has grown; besides, at SERIALIZABLE that
 * makes streams conflict that have nothing in common.  The order of the index
 * is also that in which all lock a stream's rows.  Where no index fits, as in
 * a policy's subquery, the price put on the other scans would call for JIT.
 * (As in core's RI_Initial_Check, the settings are undone at the end of the
 * nest level.)
 */
static int
begin_by_index(void)
{
	static const char *const off[] = {
		"enable_seqscan", "enable_bitmapscan", "enable_sort", "jit"
	};
	int			nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

static void
plan_by_index(SPIPlanPtr plan, bool kept)
{
	int			nest_level = begin_by_index();
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);

	if (cached != NULL)
		ReleaseCachedPlan(cached, kept ? CurrentResourceOwner : NULL);
	AtEOXact_GUC(true, nest_level);
}

static CachedPlanSource *
get_source(SPIPlanPtr plan)
{
	return linitial(SPI_plan_get_plan_sources(plan));
}

/*
 * Will the server run the plan as it is, or make it anew?  This looks at what
 * core's RevalidateCachedQuery and CheckCachedPlan do.  (To call plan_by_index
 * each time took a tenth of a load.)
 */
static bool
is_current(CachedPlanSource *source)
{
	CachedPlan *planned = source->gplan;
	Oid			user = GetUserId();

	return source->is_valid &&
		planned != NULL && planned->is_valid &&
		!TransactionIdIsValid(planned->saved_xmin) &&
		!(planned->dependsOnRole && planned->planRoleId != user) &&
		!(source->dependsOnRLS && (source->rewriteRoleId != user ||
								   source->rewriteRowSecurity != row_security)) &&
		SearchPathMatchesCurrentEnvironment(source->search_path);
}

/* The table is locked, its schema is not. */
char *
table_schema_name(const StoreTable *table)
{
	char	   *name = get_namespace_name(RelationGetNamespace(table->relation));

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("the schema of table \"%s\" does not exist any more",
						TABLE_NAME)));
	return name;
}

static SPIPlanPtr
prepare(const StatementText *statement, const char *schema, const StoreTable *table)
{
	Oid			state_type = table->state_type;
	bool		distributed = table->access->distributed;
	StringInfoData command;
	Oid			types[MAX_PARAMETERS];
	SPIPlanPtr	plan;

	for (int i = 0; i < statement->nparameters; i++)
		types[i] = statement->types[i] == JSONOID ? state_type : statement->types[i];
	initStringInfo(&command);
	appendStringInfo(&command, statement->text,
					 quote_qualified_identifier(schema, TABLE_NAME),
					 state_type == JSONOID ? "pg_catalog.json" :
					 quote_qualified_identifier(schema, STATE_TYPE_NAME));
	if (distributed && statement->must_survive)
		appendStringInfoString(&command,
							   citus_returning(table));
	plan = SPI_prepare_cursor(command.data, statement->nparameters, types,
							  distributed ? 0 : CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\": %s",
			 command.data, SPI_result_code_string(SPI_result));
	return plan;
}

/* The plan of a statement, kept if possible.  Called with SPI connected. */
static SPIPlanPtr
get_plan(const StoreTable *table, Statement statement)
{
	char	   *schema = table_schema_name(table);
	KeptPlan   *kept = &plans[statement];
	SPIPlanPtr	plan = NULL;

	/*
	 * A rule can make a statement empty, and nothing would tell the empty
	 * plan that the rule is gone.
	 */
	bool		keeps = table->relation->rd_rules == NULL;

	/*
	 * The plans name the schema.  After a rename they are made anew; the old
	 * ones are left alone, because an outer call may be running one.
	 */
	if (strcmp(NameStr(plans_schema), schema) != 0 ||
		plans_state_type != table->state_type ||
		plans_distributed != table->access->distributed)
	{
		memset(plans, 0, sizeof(plans));
		namestrcpy(&plans_schema, schema);
		plans_state_type = table->state_type;
		plans_distributed = table->access->distributed;
	}

	if (keeps && kept->plan != NULL)
	{
		CachedPlanSource *source = get_source(kept->plan);
		bool		current;

		if (table->access->distributed)
			citus_bound_plan(source->gplan);
		current = is_current(source);
		if (current && source->gplan->generation == kept->generation)
			return kept->plan;

		/*
		 * One that the server made anew since we looked, which it hardly ever
		 * has reason to, may not be by index.  It is left alone, too.
		 */
		if (!current)
			plan = kept->plan;
	}
	if (plan == NULL)
	{
		plan = prepare(&statements[statement], schema, table);
		if (keeps)
		{
			SPI_keepplan(plan);
			kept->plan = plan;
		}
	}
	plan_by_index(plan, keeps);
	if (keeps)
		kept->generation = get_source(plan)->gplan->generation;
	return plan;
}

/* Run a statement, with SPI connected; max_rows 0 is no limit. */
static void
execute(const StoreTable *table, Statement statement,
		Datum *values, const char *nulls, bool read_only, long max_rows)
{
	SPIPlanPtr	plan = get_plan(table, statement);
	bool		distributed = table->access->distributed;
	int			nest_level = 0;
	int			result;

	/*
	 * What concerns this node's shards Citus plans when it is run.  (So do
	 * the users' triggers; a setting that they make up to the end of the
	 * transaction ends here.)
	 */
	if (distributed)
		nest_level = begin_by_index();
	result = SPI_execute_plan(plan, values, nulls, read_only, max_rows);
	if (distributed)
		AtEOXact_GUC(true, nest_level);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan failed: %s",
			 SPI_result_code_string(result));
}

/* Run a statement that writes, and return the number of affected rows. */
static uint64
write_rows(const StoreTable *table, Statement statement,
		   Datum *values, const char *nulls)
{
	uint64		nrows;

	SPI_connect();
	execute(table, statement, values, nulls, false, 0);
	nrows = SPI_processed;

	/* A purge has read nothing before. */
	if (table->access->distributed && statements[statement].of_stream)
		citus_verify_place(table, values[0], SPI_tuptable);
	SPI_finish();
	return nrows;
}

static WriteResult
write_row(const StoreTable *table, Statement statement,
		  Datum *values, const char *nulls)
{
	return write_rows(table, statement, values, nulls) > 0 ?
		WRITE_DONE : WRITE_NO_ROW;
}

/*
 * Are the states and metadata selected as they are stored?  Then those of
 * unrecognized versions may come along: they are as toasted as in the table,
 * and nobody reads them.  Nothing but the row's columns is computed, so that
 * costs less than to compare the versions.  From another node they would come
 * whole.
 */
static bool
selects_as_stored(const StoreTable *table)
{
	static const struct
	{
		AttrNumber	number;
		const char *name;
		Oid			type;
	}			columns[] = {
		{Anum_state, "state", InvalidOid},	/* the table's */
		{Anum_state_bytea, "state_bytea", BYTEAOID},
		{Anum_metadata, "metadata", JSONBOID}
	};
	TupleDesc	desc = RelationGetDescr(table->relation);
	char		relkind = table->relation->rd_rel->relkind;

	if ((relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE) ||
		table->access->distributed || desc->natts < Natts_snapshot_store)
		return false;
	for (int i = 0; i < lengthof(columns); i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, columns[i].number - 1);

		Oid			type = OidIsValid(columns[i].type) ? columns[i].type : table->state_type;

		if (attribute->atttypid != type ||
			strcmp(NameStr(attribute->attname), columns[i].name) != 0)
			return false;
	}
	return true;
}

static void
sql_scan_begin(const StoreTable *table, text *stream_id,
			   const RecognizedVersions *recognized, bool with_states,
			   TableScan *scan)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[2];
	Statement	statement = SCAN_HEADERS;

	if (table->access->distributed)
		citus_refuse_parallel();

	/* At SERIALIZABLE, what comes along would count as read. */
	if (with_states)
		statement = !IsolationIsSerializable() && selects_as_stored(table) ?
			SCAN_ALL_STATES : SCAN_STATES;
	SPI_connect();
	values[0] = PointerGetDatum(stream_id);
	if (recognized != NULL)
		values[1] = PointerGetDatum(recognized->array);
	execute(table, statement, values, NULL, true, MAX_ROWS_OF_STREAM + 1);
	if (SPI_processed > MAX_ROWS_OF_STREAM)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stream \"%s\" has more snapshots than slots",
						text_to_cstring(stream_id)),
				 errhint("Delete those that are too many, or give the table back its key.")));
	scan->recognized = recognized;
	scan->with_states = with_states;
	scan->stream_id = stream_id;
	scan->rows = SPI_tuptable;
	scan->next = 0;
	scan->sees_all = statement == SCAN_ALL_STATES;
	scan->passed_over = 0;
	MemoryContextSwitchTo(caller);
}

/*
 * Is that row the stream's?  A view's function that is not as stable as it says
 * may have shown another one to the WHERE clause.
 */
static bool
is_asked_for(const TableScan *scan, const Datum *values, const bool *isnull)
{
	return !isnull[Anum_stream_id - 1] &&
		compare_stream_ids(DatumGetTextPP(values[Anum_stream_id - 1]),
						   scan->stream_id) == 0;
}

static bool
has_recognized_version(const TableScan *scan, const Datum *values, const bool *isnull)
{
	return scan->recognized == NULL ||
		(!isnull[Anum_state_schema_version - 1] &&
		 is_recognized(scan->recognized,
					   DatumGetInt64(values[Anum_state_schema_version - 1])));
}

static bool
sql_scan_next(TableScan *scan, StreamSnapshot *snapshot)
{
	Datum		values[Natts_snapshot_store];
	bool		isnull[Natts_snapshot_store];

	while (scan->next < scan->rows->numvals)
	{
		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(scan->rows->vals[scan->next++], scan->rows->tupdesc,
						  values, isnull);
		if (!is_asked_for(scan, values, isnull))
			continue;
		if (!has_recognized_version(scan, values, isnull))
		{
			scan->passed_over++;
			continue;
		}
		if (scan->with_states)
			table_read_row(values, isnull, snapshot);
		else
		{
			table_read_header(values, isnull, &snapshot->header);
			snapshot->state_size = isnull[Anum_state - 1] ? 0 :
				DatumGetInt32(values[Anum_state - 1]);
		}
		return true;
	}
	return false;
}

static void
sql_scan_end(TableScan *scan)
{
	SPI_finish();
}

/* The stream has no recognized row: has it another one? */
static bool
sql_scan_passed_over(const StoreTable *table, TableScan *scan)
{
	Datum		value = PointerGetDatum(scan->stream_id);
	bool		any = scan->passed_over > 0;

	if (!any && !scan->sees_all)
	{
		SPI_connect();
		execute(table, SCAN_HEADERS, &value, NULL, true, 1);
		any = SPI_processed > 0;
		SPI_finish();
	}
	return any;
}

WriteResult
table_sql_lock(const StoreTable *table, text *stream_id, const SnapshotHeader *row)
{
	Datum		values[2];

	values[0] = PointerGetDatum(stream_id);
	values[1] = Int16GetDatum(row->slot);
	return write_row(table, LOCK_ROW, values, NULL);
}

/* A whole row as parameters. */
static void
form_row_parameters(const StreamSnapshot *snapshot, Datum *values, char *nulls)
{
	bool		isnull[Natts_snapshot_store];

	table_form_row(snapshot, values, isnull);
	for (int i = 0; i < Natts_snapshot_store; i++)
		nulls[i] = isnull[i] ? 'n' : ' ';
}

/* The parameters of SAME_ROW but for the stream. */
static void
same_row_parameters(const SnapshotHeader *row, Datum *values)
{
	values[0] = Int16GetDatum(row->slot);
	values[1] = Int64GetDatum(row->state_schema_version);
	values[2] = Int64GetDatum(row->sequence_number);
	values[3] = TimestampTzGetDatum(row->created_at);
}

/* Insert, unless there is a row already: then wait until that is certain. */
WriteResult
table_sql_insert(const StoreTable *table, const StreamSnapshot *snapshot)
{
	Datum		values[Natts_snapshot_store];
	char		nulls[Natts_snapshot_store];

	form_row_parameters(snapshot, values, nulls);
	return write_row(table, INSERT_ROW, values, nulls);
}

/*
 * Write a snapshot where no row was affected although no other writer was
 * seen, in a form in which the server says why: a policy's error stands.  It
 * goes over the row that was to be overwritten, if there was one, over one of
 * its version and sequence number only if it may, and over a row of another
 * version only if it may be any.
 */
WriteResult
table_sql_insist(const StoreTable *table, const StreamSnapshot *snapshot,
				 const SnapshotHeader *overwritten, bool over_same_sequence,
				 bool over_any_version)
{
	Datum		values[MAX_PARAMETERS];
	char		nulls[MAX_PARAMETERS];

	memset(nulls, ' ', sizeof(nulls));
	form_row_parameters(snapshot, values, nulls);
	if (overwritten != NULL)
	{
		values[8] = Int64GetDatum(overwritten->state_schema_version);
		values[9] = Int64GetDatum(overwritten->sequence_number);
		values[10] = TimestampTzGetDatum(overwritten->created_at);
	}
	else
		memset(&nulls[8], 'n', 3);
	values[11] = BoolGetDatum(over_any_version);
	values[12] = BoolGetDatum(over_same_sequence);
	return write_row(table, INSIST_ON_ROW, values, nulls);
}

static WriteResult
sql_update(const StoreTable *table, const SnapshotHeader *row,
		   const StreamSnapshot *snapshot)
{
	Datum		values[MAX_PARAMETERS];
	char		nulls[MAX_PARAMETERS];

	memset(nulls, ' ', sizeof(nulls));
	form_row_parameters(snapshot, values, nulls);
	same_row_parameters(row, &values[Natts_snapshot_store]);
	return write_row(table, UPDATE_ROW, values, nulls);
}

/* Delete one row, if it is still as it was read. */
void
table_sql_remove(const StoreTable *table, text *stream_id,
				 const SnapshotHeader *row)
{
	Datum		values[5];

	values[0] = PointerGetDatum(stream_id);
	same_row_parameters(row, &values[1]);
	(void) write_rows(table, REMOVE_ROW, values, NULL);
}

/*
 * Move a row to a free slot, if both are still as they were read.
 *
 * An UPDATE that meets a row in that slot, even one that it cannot see, fails
 * as a duplicate; so first a copy goes there, in the way of first inserts, and
 * is taken back.  Then it has to be an UPDATE, since a deletion that waits for
 * the row follows that, but would not see a copy.
 */
void
table_sql_move(const StoreTable *table, text *stream_id,
			   const SnapshotHeader *row, int16 slot)
{
	SnapshotHeader copy = *row;
	Datum		values[6];

	values[0] = PointerGetDatum(stream_id);
	same_row_parameters(row, &values[1]);
	values[5] = Int16GetDatum(slot);
	if (write_row(table, COPY_ROW, values, NULL) != WRITE_DONE)
		return;
	copy.slot = slot;
	table_sql_remove(table, stream_id, &copy);
	(void) write_row(table, MOVE_ROW, values, NULL);
}

/* Delete a stream's rows within bounds, and return how many. */
uint64
table_sql_delete(const StoreTable *table, text *stream_id,
				 const SnapshotBounds *bounds)
{
	Datum		values[5];
	char		nulls[5];

	values[0] = PointerGetDatum(stream_id);
	values[1] = Int64GetDatum(bounds->max_sequence_number);
	values[2] = TimestampTzGetDatum(bounds->max_created_at);
	values[3] = Int64GetDatum(bounds->min_sequence_number);
	values[4] = TimestampTzGetDatum(bounds->min_created_at);
	nulls[0] = ' ';
	nulls[1] = bounds->has_max_sequence_number ? ' ' : 'n';
	nulls[2] = bounds->has_max_created_at ? ' ' : 'n';
	nulls[3] = bounds->has_min_sequence_number ? ' ' : 'n';
	nulls[4] = bounds->has_min_created_at ? ' ' : 'n';
	return write_rows(table, DELETE_ROWS, values, nulls);
}

/* Is there another row of the cursor?  Reads more if need be. */
bool
row_cursor_has_next(RowCursor *cursor)
{
	if (cursor->rows == NULL || cursor->next == cursor->rows->numvals)
	{
		MemoryContext caller = CurrentMemoryContext;

		SPI_freetuptable(cursor->rows);
		SPI_cursor_fetch(cursor->portal, true, cursor->fetch);
		MemoryContextSwitchTo(caller);	/* SPI leaves its own */
		cursor->rows = SPI_tuptable;
		cursor->next = 0;
	}
	return cursor->rows->numvals > 0;
}

/* Begin a walk over the keys after a position. */
void
table_walk_begin(const StoreTable *table, const KeyPosition *after, int fetch,
				 KeyWalk *walk)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[2];

	SPI_connect();
	values[0] = PointerGetDatum(after->stream_id);
	values[1] = Int32GetDatum(after->slot);
	walk->cursor.portal = SPI_cursor_open(NULL, get_plan(table, WALK_KEY),
										  values, NULL, true);
	walk->cursor.fetch = fetch;
	walk->cursor.rows = NULL;
	MemoryContextSwitchTo(caller);
	walk->at.stream_id = copy_stream_id(after->stream_id);
	walk->at.slot = after->slot;
}

/*
 * Go on to the row, which must come after the one before: the callers rely on
 * the order, and on an end.
 */
static void
walk_to(KeyWalk *walk, HeapTuple row, TupleDesc desc)
{
	Datum		values[Natts_key];
	bool		isnull[Natts_key];
	text	   *stream_id;
	int			comparison;

	heap_deform_tuple(row, desc, values, isnull);
	if (isnull[Anum_key_stream_id - 1] || isnull[Anum_key_slot - 1] ||
		isnull[Anum_key_state_schema_version - 1])
		table_refuse_null();
	stream_id = DatumGetTextPP(values[Anum_key_stream_id - 1]);
	comparison = compare_stream_ids(stream_id, walk->at.stream_id);
	walk->new_stream = comparison > 0;
	if (walk->new_stream)
	{
		pfree(walk->at.stream_id);
		walk->at.stream_id = copy_stream_id(stream_id);
	}
	else if (comparison < 0 ||
			 DatumGetInt16(values[Anum_key_slot - 1]) <= walk->at.slot)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the keys of table \"%s\" are not in their order", TABLE_NAME),
				 errhint("REINDEX TABLE %s may help.", TABLE_NAME)));
	if (PointerGetDatum(stream_id) != values[Anum_key_stream_id - 1])
		pfree(stream_id);
	walk->at.slot = DatumGetInt16(values[Anum_key_slot - 1]);
	walk->state_schema_version = DatumGetInt64(values[Anum_key_state_schema_version - 1]);
}

/* Go on to the next row; false at the end. */
bool
table_walk_next(KeyWalk *walk)
{
	RowCursor  *cursor = &walk->cursor;

	if (!row_cursor_has_next(cursor))
		return false;
	walk_to(walk, cursor->rows->vals[cursor->next++], cursor->rows->tupdesc);
	return true;
}

void
table_walk_end(KeyWalk *walk)
{
	SPI_cursor_close(walk->cursor.portal);
	SPI_finish();
}

/*
 * Delete, of the rows with these keys, those that still are not recognized
 * and lie within the bounds of time; pass over what another has locked.
 */
uint64
table_purge(const StoreTable *table, Datum stream_ids, Datum slots,
			const RecognizedVersions *recognized, const SnapshotBounds *bounds)
{
	Datum		values[5];
	char		nulls[5];

	values[0] = stream_ids;		/* text[] */
	values[1] = slots;			/* smallint[] */
	values[2] = recognized == NULL ? (Datum) 0 : PointerGetDatum(recognized->array);
	values[3] = TimestampTzGetDatum(bounds->max_created_at);
	values[4] = TimestampTzGetDatum(bounds->min_created_at);
	nulls[0] = ' ';
	nulls[1] = ' ';
	nulls[2] = recognized == NULL ? 'n' : ' ';
	nulls[3] = bounds->has_max_created_at ? ' ' : 'n';
	nulls[4] = bounds->has_min_created_at ? ' ' : 'n';
	return write_rows(table, table->access->distributed ? PURGE_SHARD_ROWS : PURGE_ROWS,
					  values, nulls);
}

/*
 * Call the receiver with the JSON states of the rows with these keys, as they
 * are stored, if they are still there; if they are to be locked, pass over what
 * another has locked.  Of the header, slot and schema version are set.
 */
void
table_read_states(const StoreTable *table, Datum stream_ids, Datum slots,
				  bool lock, StateReceiver receive, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext each;
	Datum		keys[2];
	SPITupleTable *rows;

	keys[0] = stream_ids;		/* text[] */
	keys[1] = slots;			/* smallint[] */
	SPI_connect();
	execute(table, lock ? LOCK_STATES : READ_STATES, keys, NULL, !lock, 0);
	rows = SPI_tuptable;
	each = AllocSetContextCreate(caller, "snapshot_store states",
								 ALLOCSET_DEFAULT_SIZES);
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		Datum		values[Natts_key + 1];
		bool		isnull[Natts_key + 1];
		StreamSnapshot row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(each);
		heap_deform_tuple(rows->vals[i], rows->tupdesc, values, isnull);
		if (!isnull[0] && !isnull[1] && !isnull[2] && !isnull[3])
		{
			row.stream_id = DatumGetTextPP(values[Anum_key_stream_id - 1]);
			row.header.slot = DatumGetInt16(values[Anum_key_slot - 1]);
			row.header.state_schema_version = DatumGetInt64(values[Anum_key_state_schema_version - 1]);
			row.kind = STATE_JSON;
			row.state = values[Natts_key];
			receive(&row, arg);
		}
		MemoryContextSwitchTo(caller);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
	SPI_finish();
}

/* Put another state, or the same one packed, in the place of a row's. */
uint64
table_set_state(const StoreTable *table, const StreamSnapshot *row, Datum state)
{
	Datum		values[3];

	values[0] = PointerGetDatum(row->stream_id);
	values[1] = Int16GetDatum(row->header.slot);
	values[2] = state;
	return write_rows(table, SET_STATE, values, NULL);
}

#define SQL_OPERATIONS \
	.scan_begin = sql_scan_begin, \
	.scan_next = sql_scan_next, \
	.scan_end = sql_scan_end, \
	.scan_passed_over = sql_scan_passed_over, \
	.lock = table_sql_lock, \
	.insert = table_sql_insert, \
	.update = sql_update

const TableAccess sql_access = {SQL_OPERATIONS};
const TableAccess distributed_access = {SQL_OPERATIONS,.distributed = true};
