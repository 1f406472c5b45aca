/*
 * citus.c
 *		What is different where Citus spreads the rows of a table over nodes.
 *
 * The statements about a stream, or a batch of a purge, are with their like in
 * table_sql.c.
 *
 * Every statement goes to the table, never to a shard, so that Citus's own
 * locks hold while shards move.  It must be able to plan what concerns many
 * streams with its parameters, and to send what locks rows to one shard.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "arguments.h"
#include "citus.h"
#include "durability.h"

SQL_FUNCTION(snapshot_ensure_durable);

#define CATALOG_OF_TABLES		"pg_dist_partition"
#define CATALOG_OF_OBJECTS		"pg_dist_object"
#define CATALOG_OF_NODES		"pg_dist_node"
#define CATALOG_OF_LOCAL_GROUP	"pg_dist_local_group"
#define CATALOG_OF_PLACEMENTS	"pg_dist_placement"
#define INDEX_OF_PLACEMENTS		"pg_dist_placement_shardid_index"
#define COORDINATOR_GROUP		0

/* The columns of its catalogs. */
#define Anum_partition_logicalrelid		1
#define Anum_object_classid				1
#define Anum_object_objid				2
#define Anum_object_distribution_argument	7
#define Anum_local_group_groupid		1
#define Anum_node_nodeid				1
#define Anum_placement_shardid			2
#define Anum_placement_shardstate		3
#define Anum_placement_groupid			5

#define SHARD_STATE_ACTIVE	1

/* How large a kept plan may become, in bytes: some 90 shards. */
#define MAX_PLAN_SIZE	(4 * 1024 * 1024)

/* How the key of a shard is named: this, and a number. */
#define SHARD_KEY_PREFIX	TABLE_NAME "_pkey_"

static Oid
find_catalog(const char *name)
{
	return get_relname_relid(name, PG_CATALOG_NAMESPACE);
}

static Relation
open_catalog(const char *name)
{
	Oid			oid = find_catalog(name);

	if (!OidIsValid(oid))
		elog(ERROR, "Citus has no catalog \"%s\"", name);
	return table_open(oid, AccessShareLock);
}

/* Is the server one of Citus? */
bool
runs_citus(void)
{
	return OidIsValid(find_catalog(CATALOG_OF_TABLES));
}

/* Does it know the table as its own? */
static bool
is_known(Oid relation)
{
	Relation	catalog = open_catalog(CATALOG_OF_TABLES);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, Anum_partition_logicalrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relation));
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/* Read an integer in the first row of a catalog; false if there is none. */
static bool
read_first(const char *name, AttrNumber column, int32 *value)
{
	Oid			oid = find_catalog(name);
	Relation	catalog;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	if (!OidIsValid(oid))
		return false;
	catalog = table_open(oid, AccessShareLock);
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		bool		isnull;

		*value = DatumGetInt32(heap_getattr(tuple, column,
											RelationGetDescr(catalog), &isnull));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/* The number of this node's group.  A worker without metadata has the coordinator's. */
static int32
local_group(void)
{
	int32		group = COORDINATOR_GROUP;

	(void) read_first(CATALOG_OF_LOCAL_GROUP, Anum_local_group_groupid, &group);
	return group;
}

/* Are there shards of it beside the table?  They are recognized by their keys. */
static bool
has_shards(Relation relation)
{
	Relation	catalog = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_class_relname, BTGreaterEqualStrategyNumber,
				F_NAMEGE, CStringGetDatum(SHARD_KEY_PREFIX));
	scan = systable_beginscan(catalog, ClassNameNspIndexId, true, NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);
		const char *name = NameStr(form->relname);

		if (strncmp(name, SHARD_KEY_PREFIX, strlen(SHARD_KEY_PREFIX)) != 0)
			break;				/* the index is in the order of the names */
		name += strlen(SHARD_KEY_PREFIX);
		found = *name != '\0' && name[strspn(name, "0123456789")] == '\0' &&
			form->relnamespace == RelationGetNamespace(relation);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * citus_distributes
 *		Does Citus spread the table over its nodes?
 *
 * An error where a node can know that it is, or will be, but does not know
 * where the rows are: what is saved there is hidden when the node learns that.
 */
bool
citus_distributes(Relation relation)
{
	bool		worker;

	if (!runs_citus())
		return false;
	if (is_known(RelationGetRelid(relation)))
		return true;
	if (relation->rd_rel->relkind != RELKIND_RELATION)
		return false;
	worker = local_group() != COORDINATOR_GROUP;
	if (worker || has_shards(relation))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node of Citus does not know where the rows of table \"%s\" are",
						RelationGetRelationName(relation)),
				 worker ? errdetail("It is a worker, and the table is not distributed.") :
				 errdetail("There are shards of the table here, but no metadata."),
				 errhint("Connect to the coordinator. There, start_metadata_sync_to_node() or create_distributed_table() tells this node.")));
	return false;
}

/*
 * The function that is called where the rows are, with its schema; NULL before
 * 1.1, which has none.
 */
static const char *
find_function(const StoreTable *table)
{
	char	   *schema = table_schema_name(table);
	List	   *name = list_make2(makeString(schema), makeString(pstrdup("snapshot_ensure_durable")));
	const Oid	types[] = {INT2OID};

	if (!OidIsValid(LookupFuncName(name, lengthof(types), types, true)))
		return NULL;
	return psprintf("%s.snapshot_ensure_durable", quote_identifier(schema));
}

/*
 * citus_returning
 *		The end of a statement that writes a row wherever that is, which has the
 *		commit there flushed: this node's synchronous_commit is not that one's.
 *		It returns where that is.
 */
const char *
citus_returning(const StoreTable *table)
{
	const char *function = find_function(table);

	return function == NULL ? "" : psprintf(" RETURNING %s(slot)", function);
}

/*
 * snapshot_ensure_durable(slot smallint) RETURNS integer
 *
 * Has the commit flushed, like a save, and returns the group of this node, if
 * it is one of Citus and has metadata.  For rows that Citus writes.  It is
 * declared immutable, since Citus sends no other function to where the rows are;
 * that of a column is evaluated for each row.  A transaction that writes looks
 * the group up once.
 */
Datum
snapshot_ensure_durable(PG_FUNCTION_ARGS)
{
	static FullTransactionId looked_up;
	static bool has_metadata;
	static int32 group;
	FullTransactionId current = GetTopFullTransactionIdIfAny();

	ensure_durable_commit();
	if (!FullTransactionIdIsValid(current) ||
		!FullTransactionIdEquals(current, looked_up))
	{
		int32		node;

		has_metadata = read_first(CATALOG_OF_NODES, Anum_node_nodeid, &node);
		group = local_group();
		looked_up = current;
	}
	if (!has_metadata)
		PG_RETURN_NULL();
	PG_RETURN_INT32(group);
}

/* In a plan that has parallel workers, Citus cannot reach other nodes. */
void
citus_refuse_parallel(void)
{
	if (IsParallelWorker())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read a distributed table in a parallel worker"),
				 errhint("On all nodes, make the functions that load PARALLEL RESTRICTED.")));
}

/* What one node has packed no other could read. */
void
citus_refuse_dictionaries(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("dictionaries are not supported on a server that runs Citus")));
}

/*
 * citus_bound_plan
 *		Have a kept plan made anew when it has become large.
 *
 * Citus keeps in it a plan for each shard of this node.  Versions 13.2.1 and
 * 13.2.2 do not find that again, and add one whenever the plan is run.
 */
void
citus_bound_plan(CachedPlan *plan)
{
	if (plan != NULL && MemoryContextMemAllocated(plan->context, true) > MAX_PLAN_SIZE)
		plan->is_valid = false;
}

/* ---- statements --------------------------------------------------------- */

/* Run a statement with the table's name put in, planned for its parameters. */
static SPIPlanPtr
prepare(const StoreTable *table, const char *text, int count, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(psprintf(text, quote_qualified_identifier(table_schema_name(table), TABLE_NAME)),
										  count, types, CURSOR_OPT_NO_SCROLL);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static void
execute(const StoreTable *table, const char *text, int count, Oid *types,
		Datum *values, const char *nulls)
{
	int			result = SPI_execute_plan(prepare(table, text, count, types),
										  values, nulls, true, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
}

/* ---- where what was done was done ---------------------------------------- */

/* Ask the node where the transaction finds the stream for its group; NULL before 1.1. */
static SPITupleTable *
ask_place(const StoreTable *table, Datum stream_id)
{
	const char *function = find_function(table);
	Oid			types[] = {TEXTOID};

	if (function == NULL)
		return NULL;
	execute(table,
			psprintf("SELECT %s(pg_catalog.count(*)::pg_catalog.int2) FROM %%s"
					 " WHERE stream_id OPERATOR(pg_catalog.=) $1", function),
			lengthof(types), types, &stream_id, NULL);
	return SPI_tuptable;
}

/*
 * The shard that has the stream.  Called with SPI connected.
 *
 * Citus tells that to who may read the whole table; whoever may read the
 * columns may know it, too.
 */
static int64
find_shard(Relation relation, Datum stream_id)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {REGCLASSOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(RelationGetRelid(relation)), stream_id};
	Oid			user;
	int			context;
	int			result;
	Datum		shard;
	bool		isnull;

	if (plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare("SELECT pg_catalog.get_shard_id_for_distribution_column($1, $2)",
										   lengthof(types), types);

		if (prepared == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		plan = prepared;
	}
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(relation->rd_rel->relowner,
						   context | SECURITY_LOCAL_USERID_CHANGE);
	result = SPI_execute_plan(plan, values, NULL, true, 1);
	SetUserIdAndSecContext(user, context);
	if (result != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	shard = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull || DatumGetInt64(shard) == 0)
		elog(ERROR, "Citus knows no shard for stream \"%s\"", TextDatumGetCString(stream_id));
	return DatumGetInt64(shard);
}

/* Is the shard on that node? */
static bool
is_placed(int64 shard, int32 group)
{
	Relation	catalog = open_catalog(CATALOG_OF_PLACEMENTS);
	Oid			index = find_catalog(INDEX_OF_PLACEMENTS);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, Anum_placement_shardid, BTEqualStrategyNumber,
				F_INT8EQ, Int64GetDatum(shard));
	scan = systable_beginscan(catalog, index, OidIsValid(index), NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(catalog);
		bool		isnull;

		found = DatumGetInt32(heap_getattr(tuple, Anum_placement_groupid, desc, &isnull)) == group &&
			DatumGetInt32(heap_getattr(tuple, Anum_placement_shardstate, desc, &isnull)) == SHARD_STATE_ACTIVE;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * citus_verify_place
 *		Was that where the stream is now which a statement has written, or, if rows
 *		are none, read?
 *
 * A worker's transaction that has read from a shard that has moved since goes
 * on where it was, since Citus has a connection for it: what it writes there is
 * lost, and what it finds there is old.  Having executed a statement that
 * writes, if no row, it holds Citus's lock on where the shard is; a save that
 * only read does not, and may be answered as just before the move.  (The
 * coordinator does not do that: there a shard that moves is a new placement.)
 */
void
citus_verify_place(const StoreTable *table, Datum stream_id, SPITupleTable *rows)
{
	if (local_group() == COORDINATOR_GROUP)
		return;
	SPI_connect();
	if (rows == NULL || rows->numvals == 0)
		rows = ask_place(table, stream_id);
	if (rows != NULL)
	{
		bool		isnull;
		Datum		group = SPI_getbinval(rows->vals[0], rows->tupdesc, 1, &isnull);

		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the node of Citus that has stream \"%s\" has no metadata",
							TextDatumGetCString(stream_id)),
					 errhint("Connect to the coordinator. There, start_metadata_sync_to_node() tells that node.")));
		if (!is_placed(find_shard(table->relation, stream_id), DatumGetInt32(group)))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("stream \"%s\" has moved to another node since the transaction read it",
							TextDatumGetCString(stream_id)),
					 errhint("Repeat the transaction.")));
	}
	SPI_finish();
}

/* ---- upkeep ------------------------------------------------------------ */

#define IN_PREFIX	" stream_id OPERATOR(pg_catalog.^@) $1"

/*
 * citus_census
 *		As upkeep_census.  The nodes count their shards' rows, by the index alone,
 *		and this one adds up.
 */
List *
citus_census(const StoreTable *table, text *prefix)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {PointerGetDatum(prefix)};
	SPITupleTable *rows;
	List	   *census = NIL;

	SPI_connect();
	execute(table,
			"SELECT state_schema_version::pg_catalog.int8, pg_catalog.sum(snapshots)::pg_catalog.int8, pg_catalog.count(*)"
			" FROM (SELECT stream_id, state_schema_version, pg_catalog.count(*) AS snapshots FROM %s"
			" WHERE" IN_PREFIX " GROUP BY stream_id, state_schema_version) AS streams"
			" GROUP BY state_schema_version ORDER BY 1",
			lengthof(types), types, values, NULL);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		VersionCensus *version = MemoryContextAllocZero(caller, sizeof(VersionCensus));
		Datum		columns[3];
		bool		isnull[3];
		MemoryContext spi = MemoryContextSwitchTo(caller);

		heap_deform_tuple(rows->vals[i], rows->tupdesc, columns, isnull);
		if (isnull[0])
			table_refuse_null();
		version->state_schema_version = DatumGetInt64(columns[0]);
		version->snapshots = DatumGetInt64(columns[1]);
		version->streams = DatumGetInt64(columns[2]);
		census = lappend(census, version);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return census;
}

/*
 * citus_outdated
 *		As upkeep_outdated.  Each shard gives the first of its streams, and this
 *		node takes the first of these.
 */
void
citus_outdated(const StoreTable *table, text *prefix,
			   const RecognizedVersions *recognized, int max_streams,
			   text *after_stream_id, StreamReceiver receive, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[] = {TEXTOID, INT8ARRAYOID, TEXTOID, INT8OID};
	Datum		values[] = {
		PointerGetDatum(prefix), PointerGetDatum(recognized->array),
		PointerGetDatum(after_stream_id), Int64GetDatum(max_streams)
	};
	const char	nulls[] = {' ', ' ', after_stream_id == NULL ? 'n' : ' ', ' '};
	SPITupleTable *rows;

	SPI_connect();
	execute(table,
			"SELECT stream_id::pg_catalog.text FROM %s"
			" WHERE" IN_PREFIX " AND ($3 IS NULL OR stream_id OPERATOR(pg_catalog.>) $3)"
			" GROUP BY stream_id"
			" HAVING NOT pg_catalog.bool_or(state_schema_version OPERATOR(pg_catalog.=) ANY ($2))"
			" ORDER BY stream_id USING OPERATOR(pg_catalog.<) LIMIT $4",
			lengthof(types), types, values, nulls);
	rows = SPI_tuptable;
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		bool		isnull;
		Datum		stream_id = SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull);
		MemoryContext spi = MemoryContextSwitchTo(caller);

		if (isnull)
			table_refuse_null();
		receive(DatumGetTextPP(stream_id), arg);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
}

/*
 * A list that the server keeps through the commits of the batches: the portal
 * is pinned, as a loop's in PL/pgSQL, and what is left of it is put aside, in
 * a file if it is long.
 */
struct CitusRows
{
	RowCursor	cursor;
};

#define NUM_LISTED_COLUMNS	3

/*
 * List the rows with the prefix that are to be worked on, in the order of
 * their shards and keys.  The nodes read their shards' index alone, unless
 * there are bounds.
 */
CitusRows *
citus_rows_begin(const StoreTable *table, text *prefix, const BatchWork *work)
{
	CitusRows  *rows = palloc0(sizeof(CitusRows));
	const SnapshotBounds *bounds = work->bounds;
	Oid			types[] = {TEXTOID, INT8ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[] = {
		PointerGetDatum(prefix),
		work->recognized == NULL ? (Datum) 0 : PointerGetDatum(work->recognized->array),
		TimestampTzGetDatum(bounds->max_created_at),
		TimestampTzGetDatum(bounds->min_created_at),
		CStringGetTextDatum(quote_qualified_identifier(table_schema_name(table), TABLE_NAME))
	};
	const char	nulls[] = {
		' ', work->recognized == NULL ? 'n' : ' ',
		bounds->has_max_created_at ? ' ' : 'n',
		bounds->has_min_created_at ? ' ' : 'n', ' '
	};

	SPIPlanPtr	plan;

	plan = prepare(table,
				   "SELECT pg_catalog.get_shard_id_for_distribution_column($5::pg_catalog.regclass, stream_id),"
				   " stream_id::pg_catalog.text, slot::pg_catalog.int2 FROM %s"
				   " WHERE" IN_PREFIX
				   " AND ($2 IS NULL OR state_schema_version OPERATOR(pg_catalog.<>) ALL ($2))"
				   " AND ($3 IS NULL OR created_at OPERATOR(pg_catalog.<=) $3)"
				   " AND ($4 IS NULL OR created_at OPERATOR(pg_catalog.>=) $4)"
				   " ORDER BY 1, 2, 3",
				   lengthof(types), types);
	rows->cursor.portal = SPI_cursor_open(NULL, plan, values, nulls, true);
	rows->cursor.fetch = TABLE_WALK_FETCH;
	PinPortal(rows->cursor.portal);
	return rows;
}

/*
 * Add the keys of the next rows, of one shard and at most batch_size, to the
 * batch.  Returns whether there may be more; *last is the last one's key.
 */
bool
citus_rows_next(CitusRows *rows, int batch_size, KeyBatch *keys, KeyPosition *last)
{
	RowCursor  *cursor = &rows->cursor;
	int64		shard = 0;

	for (int count = 0; count < batch_size; count++)
	{
		Datum		columns[NUM_LISTED_COLUMNS];
		bool		isnull[NUM_LISTED_COLUMNS];

		CHECK_FOR_INTERRUPTS();
		if (!row_cursor_has_next(cursor))
			return false;
		heap_deform_tuple(cursor->rows->vals[cursor->next], cursor->rows->tupdesc,
						  columns, isnull);
		if (isnull[0] || isnull[1] || isnull[2])
			table_refuse_null();
		if (count > 0 && DatumGetInt64(columns[0]) != shard)
			break;
		shard = DatumGetInt64(columns[0]);
		last->stream_id = DatumGetTextPCopy(columns[1]);
		last->slot = DatumGetInt16(columns[2]);
		key_batch_add(keys, last);
		cursor->next++;
	}
	return true;
}

void
citus_rows_end(CitusRows *rows)
{
	UnpinPortal(rows->cursor.portal);
	SPI_cursor_close(rows->cursor.portal);
}

/* ---- settings ---------------------------------------------------------- */

/* Is one of the extension's functions called on other nodes? */
static bool
delegates(void)
{
	Oid			extension = get_extension_oid("snapshot_store", true);
	Oid			oid = find_catalog(CATALOG_OF_OBJECTS);
	Relation	catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	if (!OidIsValid(extension) || !OidIsValid(oid))
		return false;
	catalog = table_open(oid, AccessShareLock);
	ScanKeyInit(&key, Anum_object_classid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(ProcedureRelationId));
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(catalog);
		bool		isnull;
		Oid			function = DatumGetObjectId(heap_getattr(tuple, Anum_object_objid,
															 desc, &isnull));

		(void) heap_getattr(tuple, Anum_object_distribution_argument, desc, &isnull);
		found = !isnull &&
			getExtensionOfObject(ProcedureRelationId, function) == extension;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * May a session set what decides over rows?  Of a call that Citus delegates
 * nothing runs here, and the other node does not know what this session has
 * set: it must not be ignored in silence.  What is set for databases and roles
 * is no session's matter.
 */
static bool
admits(GucSource source)
{
	if ((source != PGC_S_SESSION && source != PGC_S_CLIENT) ||
		!IsTransactionState() || !OidIsValid(MyDatabaseId) ||
		InitializingParallelWorker || !runs_citus() || !delegates())
		return true;
	GUC_check_errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	GUC_check_errdetail("Citus delegates calls of snapshot_store to other nodes, which would not know what a session sets.");
	GUC_check_errhint("Set it for the database on all nodes, with ALTER DATABASE.");
	return false;
}

bool
citus_admits_int(int *newval, void **extra, GucSource source)
{
	return admits(source);
}

bool
citus_admits_bool(bool *newval, void **extra, GucSource source)
{
	return admits(source);
}
