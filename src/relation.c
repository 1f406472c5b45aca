/*
 * relation.c
 *		Finds the table and decides how to reach it.
 *
 * The table is the one named snapshot_store in the schema of the SQL function
 * that was called.  What was learned of it is kept until an invalidation
 * message says that something has changed.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "citus.h"
#include "compat.h"
#include "dictionary.h"
#include "relation.h"
#include "settings.h"

/* How the table compares the names of its streams. */
typedef enum StreamOrder
{
	BY_BYTES,					/* as we do */
	EQUAL_BY_BYTES,				/* in another order, but equal if we say so */
	OTHERWISE
} StreamOrder;

/* What is known of the table. */
typedef struct KnownTable
{
	bool		valid;
	bool		changed;		/* since one began to learn it */
	uint32		function_hash;	/* of the function through which it was */
	Oid			schema;
	Oid			relation;
	StreamOrder order;			/* of its streams */
	Oid			state_type;		/* see StoreTable */
	Oid			key;			/* its index, if the table is plain */
	bool		plain;			/* may it be reached directly? */
	const TableAccess *sql;		/* by SQL, then how? */
} KnownTable;

static KnownTable known;

/*
 * How the versions of the SQL definition begin that this library serves, newer
 * ones among them.  They have the same table, and a function that became
 * another one calls a C function that an older library does not have.
 */
static const char known_versions[] = "1.";

/* The columns, as the script creates them. */
static const struct
{
	const char *name;
	Oid			type;
	Oid			collation;
	bool		notnull;
}			columns[Natts_snapshot_store] = {
	{"stream_id", TEXTOID, C_COLLATION_OID, true},
	{"slot", INT2OID, InvalidOid, true},
	{"state_schema_version", INT8OID, InvalidOid, true},
	{"sequence_number", INT8OID, InvalidOid, true},
	{"created_at", TIMESTAMPTZOID, InvalidOid, true},
	{"state", JSONOID, InvalidOid, false},
	{"state_bytea", BYTEAOID, InvalidOid, false},
	{"metadata", JSONBOID, InvalidOid, false}
};

/* The CHECK constraints, as the server shows them. */
static const char *const checks[] = {
	"((octet_length(stream_id) >= 1) AND (octet_length(stream_id) <= 2000))",
	"(slot >= '0'::smallint)",
	"((state_schema_version >= '0'::bigint) AND (state_schema_version <= '4294967295'::bigint))",
	"(sequence_number >= '0'::bigint)",
	"((state IS NULL) <> (state_bytea IS NULL))"
};

static void
forget(void)
{
	known.valid = false;
	known.changed = true;
}

/* Forget the table when it or its index has changed: no catalog access here. */
static void
relation_changed(Datum arg, Oid relation)
{
	if (relation == InvalidOid || relation == known.relation ||
		relation == known.key)
		forget();
}

/* Forget it when our function has changed: a new SQL definition may be why. */
static void
function_changed(Datum arg, SysCacheIdentifier cache, uint32 hash)
{
	if (hash == 0 || hash == known.function_hash)
		forget();
}

/* Refuse to serve an SQL definition of another major version. */
static void
check_extension_version(void)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("snapshot_store"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true,
							  NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		datum = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(extensions), &isnull);

		if (!isnull)
			version = TextDatumGetCString(datum);
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);

	if (version != NULL &&
		strncmp(version, known_versions, strlen(known_versions)) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("snapshot_store library does not know version \"%s\" of the extension",
					version != NULL ? version : "(none)"),
			 errhint("Start a new session to load the installed library, or run ALTER EXTENSION snapshot_store UPDATE.")));
}

static bool
has_our_columns(Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	if (desc->natts != Natts_snapshot_store)
		return false;
	for (int i = 0; i < Natts_snapshot_store; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped ||
			attribute->attgenerated != '\0' ||
			attribute->attidentity != '\0' ||
			attribute->atttypid != (i == Anum_state - 1 ? known.state_type : columns[i].type) ||
			attribute->atttypmod != -1 ||
			attribute->attcollation != columns[i].collation ||
			column_is_not_null(desc, i) != columns[i].notnull ||
			strcmp(NameStr(attribute->attname), columns[i].name) != 0)
			return false;
	}
	return true;
}

/*
 * Exactly our CHECKs?  They are compared as the server shows them to one whose
 * search_path is pg_catalog alone: any other function or operator of the same
 * name is shown with its schema.
 */
static bool
has_our_checks(Relation relation)
{
	TupleConstr *constr = RelationGetDescr(relation)->constr;
	List	   *context;
	bool		found[lengthof(checks)] = {false};
	int			nest_level;

	if (constr == NULL || constr->num_check != lengthof(checks))
		return false;
	context = deparse_context_for(RelationGetRelationName(relation),
								  RelationGetRelid(relation));
	for (int i = 0; i < constr->num_check; i++)
	{
		if (!check_is_in_force(&constr->check[i]))
			return false;
	}
	nest_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	for (int i = 0; i < constr->num_check; i++)
	{
		char	   *shown = deparse_expression(stringToNode(constr->check[i].ccbin),
											   context, false, false);

		for (int j = 0; j < lengthof(checks); j++)
		{
			if (strcmp(shown, checks[j]) == 0)
				found[j] = true;
		}
	}
	AtEOXact_GUC(true, nest_level);

	for (int j = 0; j < lengthof(checks); j++)
	{
		if (!found[j])
			return false;
	}
	return true;
}

/*
 * May a unique index take two values of a column for one that are not?  A
 * first save asks those indexes whether a slot is free.
 */
static bool
has_other_equality(Relation relation, AttrNumber column)
{
	List	   *indexes = RelationGetIndexList(relation);
	bool		other = false;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		for (int i = 0; i < index->rd_index->indnkeyatts; i++)
		{
			if (index->rd_index->indisunique &&
				index->rd_index->indkey.values[i] == column &&
				OidIsValid(index->rd_indcollation[i]) &&
				!get_collation_isdeterministic(index->rd_indcollation[i]))
				other = true;
		}
		index_close(index, NoLock);
	}
	return other;
}

/* How does it compare the names of its streams? */
static StreamOrder
get_stream_order(Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		int32		typmod = attribute->atttypmod;
		Oid			type;

		if (attribute->attisdropped ||
			strcmp(NameStr(attribute->attname), columns[0].name) != 0)
			continue;
		type = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
		if ((type != TEXTOID && type != VARCHAROID) || typmod != -1 ||
			!OidIsValid(attribute->attcollation) ||
			!get_collation_isdeterministic(attribute->attcollation) ||
			has_other_equality(relation, attribute->attnum))
			return OTHERWISE;
		return attribute->attcollation == C_COLLATION_OID ? BY_BYTES : EQUAL_BY_BYTES;
	}
	return BY_BYTES;			/* no statement will get so far */
}

/*
 * The type of its states: ours, or json for whatever else.  What one node of
 * Citus has packed no other could read.
 */
static Oid
get_state_type(Relation relation)
{
	AttrNumber	column = get_attnum(RelationGetRelid(relation), columns[Anum_state - 1].name);
	Oid			type = column == InvalidAttrNumber ? InvalidOid :
		TupleDescAttr(RelationGetDescr(relation), column - 1)->atttypid;

	return OidIsValid(type) && type != JSONOID && !runs_citus() &&
		is_state_type(type, RelationGetNamespace(relation)) ? type : JSONOID;
}

/* Is this our key, and in force? */
static bool
is_our_key(Relation index)
{
	Form_pg_index form = index->rd_index;

	return index->rd_rel->relam == BTREE_AM_OID &&
		form->indisunique && form->indisprimary && form->indimmediate &&
		form->indisvalid && form->indisready && form->indislive &&
		form->indnatts == Natts_key &&
		form->indnkeyatts == Anum_key_slot &&
		form->indkey.values[0] == Anum_stream_id &&
		form->indkey.values[1] == Anum_slot &&
		form->indkey.values[2] == Anum_state_schema_version &&
		index->rd_opfamily[0] == TEXT_BTREE_FAM_OID &&
		index->rd_opfamily[1] == INTEGER_BTREE_FAM_OID &&
		index->rd_opcintype[0] == TEXTOID &&
		index->rd_opcintype[1] == INT2OID &&
		index->rd_indcollation[0] == C_COLLATION_OID &&
		index->rd_indoption[0] == 0 && index->rd_indoption[1] == 0 &&
		RelationGetIndexPredicate(index) == NIL;
}

/*
 * May the transaction scan the index?  As in core's get_relation_info: some
 * are not right for a transaction that is older than they are.
 */
static bool
is_for_transaction(Relation index)
{
	return !index->rd_index->indcheckxmin ||
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							  TransactionXmin);
}

/*
 * Why the direct way cannot be taken to this table, or NULL if it can: the
 * guards that the executor would give, once per change of the table.  When in
 * doubt, the sql way.
 */
static const char *
why_not_direct(Relation relation)
{
	Form_pg_class form = relation->rd_rel;
	List	   *indexes;
	Relation	index;
	bool		ours;

	if (form->relkind != RELKIND_RELATION || form->relispartition ||
		form->relhassubclass)
		return "it is no ordinary table, or it has children";
	if (form->relam != HEAP_TABLE_AM_OID)
		return "its access method is not heap";
	if (form->relpersistence != RELPERSISTENCE_PERMANENT)
		return "it is not permanent";
	if (relation->rd_rules != NULL)
		return "it has rules";
	if (relation->trigdesc != NULL)
		return "it has triggers";
	if (!has_our_columns(relation))
		return "its columns were changed";
	if (!has_our_checks(relation))
		return "its check constraints were changed";

	/* On a Citus server any table may be an empty shell of a distributed one. */
	if (runs_citus())
		return "the server runs Citus";

	indexes = RelationGetIndexList(relation);
	if (list_length(indexes) != 1)
		return "its indexes were changed";
	known.key = linitial_oid(indexes);
	index = index_open(known.key, AccessShareLock);
	ours = is_our_key(index);
	index_close(index, NoLock);
	if (!ours)
		return "its key was changed";
	return NULL;
}

/*
 * Learn what is to be known of the table, which is open and locked: it holds
 * for this call even if a message comes in meanwhile.
 */
static void
learn(Relation relation, Oid function)
{
	const char *reason;

	known.changed = false;
	known.function_hash = GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(function));
	check_extension_version();
	known.order = get_stream_order(relation);
	known.state_type = get_state_type(relation);
	known.key = InvalidOid;
	known.sql = citus_distributes(relation) ? &distributed_access : &sql_access;
	reason = why_not_direct(relation);
	known.plain = reason == NULL;
	known.valid = !known.changed;

	if (reason == NULL)
		elog(DEBUG1, "snapshot_store can take the direct way to table \"%s\"",
			 RelationGetRelationName(relation));
	else
		elog(DEBUG1, "snapshot_store must take the sql way to table \"%s\": %s",
			 RelationGetRelationName(relation), reason);
}

/* Find the table, lock it and open it. */
static Relation
open_relation(Oid function, LOCKMODE lockmode)
{
	static bool registered = false;
	Oid			schema = get_func_namespace(function);
	Relation	relation;

	if (!OidIsValid(schema))
		(void) store_function_name(function);	/* which says so */
	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
		registered = true;
	}

	for (;;)
	{
		if (!known.valid || known.schema != schema)
		{
			known.valid = false;
			known.schema = schema;
			known.relation = get_relname_relid(TABLE_NAME, schema);
			if (!OidIsValid(known.relation))
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_TABLE),
						 errmsg("table \"%s\" does not exist in schema \"%s\"",
								TABLE_NAME, get_namespace_name(schema)),
						 errhint("The functions of snapshot_store use the table of that name in their own schema.")));
		}

		/* What is known must still be so once the table is locked. */
		relation = try_relation_open(known.relation, lockmode);
		if (relation != NULL)
		{
			if (known.valid)
				return relation;
			if (get_relname_relid(TABLE_NAME, schema) == known.relation)
			{
				learn(relation, function);
				return relation;
			}
			relation_close(relation, lockmode);
		}
		known.valid = false;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Check privileges as the executor would, and tell whether they are those of
 * the whole table.  Column privileges do for the sql way; a function uses all
 * columns of ours.
 */
static bool
check_privileges(Relation relation, AclMode privileges)
{
	static const AclMode each[] = {ACL_SELECT, ACL_INSERT, ACL_UPDATE, ACL_DELETE};
	Oid			table = RelationGetRelid(relation);
	Oid			schema = RelationGetNamespace(relation);
	Oid			user = GetUserId();
	AclResult	result;

	result = object_aclcheck(NamespaceRelationId, schema, user, ACL_USAGE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, get_namespace_name(schema));

	if (pg_class_aclmask(table, user, privileges, ACLMASK_ALL) == privileges)
		return true;

	for (int i = 0; i < lengthof(each); i++)
	{
		AclMode		privilege = privileges & each[i];

		if (privilege == 0 ||
			pg_class_aclcheck(table, user, privilege) == ACLCHECK_OK)
			continue;
		for (int j = 0; j < Natts_snapshot_store; j++)
		{
			AttrNumber	column = get_attnum(table, columns[j].name);

			if (privilege == ACL_DELETE ||
				column == InvalidAttrNumber ||
				pg_attribute_aclcheck(table, column, user, privilege) != ACLCHECK_OK)
				aclcheck_error(ACLCHECK_NO_PRIV,
							   get_relkind_objtype(relation->rd_rel->relkind),
							   RelationGetRelationName(relation));
		}
	}
	return false;
}

/* Refuse a table that does not survive a crash, while durable is on. */
static void
check_durable(Relation relation)
{
	List	   *parts;
	ListCell   *cell;

	if (relation->rd_rel->relkind == RELKIND_RELATION &&
		relation->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT &&
		!relation->rd_rel->relhassubclass)
		return;

	/* Rows may be in any of its partitions or children. */
	parts = find_all_inheritors(RelationGetRelid(relation), NoLock, NULL);
	foreach(cell, parts)
	{
		Oid			part = lfirst_oid(cell);
		char		relkind = get_rel_relkind(part);

		if (get_rel_persistence(part) == RELPERSISTENCE_PERMANENT &&
			(relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("snapshots in table \"%s.%s\" would not be durable",
						get_namespace_name(RelationGetNamespace(relation)),
						RelationGetRelationName(relation)),
				 errdetail("\"%s\" is not a permanent table.",
						   get_rel_name(part)),
				 errhint("With snapshot_store.durable set to off it is admitted.")));
	}
}

/*
 * Refuse a table that may take the names of two streams for one, or another
 * one than we do.
 */
static void
check_streams_told_apart(Relation relation)
{
	if (known.order == OTHERWISE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"stream_id\" of table \"%s\" does not tell streams apart by the bytes of their names",
						RelationGetRelationName(relation)),
				 errhint("It must be of type text, and its collation, also in unique indexes, \"C\" or another that is deterministic.")));
}

/* Refuse to write where the executor would. */
static void
check_may_write(Oid function)
{
	char	   *name = psprintf("%s()", store_function_name(function));

	if (XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s in a read-only transaction", name),
				 errhint("On a standby every transaction is read-only: a connection pooler that sends SELECT to standbys must send %s to the primary.",
						 name)));
	PreventCommandIfParallelMode(name);
	pfree(name);
}

/*
 * store_function_name
 *		The name of an SQL function that is running.
 *
 * Another that it called, such as one under a view, may have dropped it.
 */
char *
store_function_name(Oid function)
{
	char	   *name = get_func_name(function);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("the function that is running does not exist any more")));
	return name;
}

/* Does the user own the table, or have the privileges of who does? */
bool
owns_store_table(Oid function)
{
	Oid			table = get_relname_relid(TABLE_NAME, get_func_namespace(function));

	return OidIsValid(table) &&
		object_ownercheck(RelationRelationId, table, GetUserId());
}

/*
 * The way to a table with row security that is plain otherwise.  Superusers,
 * for one, are not bound by it; who is bound while row_security is off gets an
 * error.
 */
static const TableAccess *
access_by_policies(StoreTable *table)
{
	if (check_enable_rls(RelationGetRelid(table->relation), InvalidOid, true) != RLS_ENABLED)
		return &direct_access;
	table->policies = table_policies_open(table->relation);
	return table->policies != NULL ? &secured_access : &sql_access;
}

/*
 * store_table_open
 *		Open the table, and decide how it is reached.
 *
 * "function" is the SQL function that was called.  Raises an error if the
 * user lacks any of the privileges, if the table does not tell streams apart
 * as we do, or, for more than reading, if the transaction is read-only or the
 * table is not durable.  Locks are kept to the end of the transaction, as the
 * executor does.
 */
void
store_table_open(Oid function, AclMode privileges, StoreTable *table)
{
	bool		writes = privileges != LOAD_PRIVILEGES;
	LOCKMODE	lockmode = writes ? RowExclusiveLock : AccessShareLock;
	Relation	relation;
	bool		direct;

	if (writes)
		check_may_write(function);
	relation = open_relation(function, lockmode);
	direct = check_privileges(relation, privileges);
	check_streams_told_apart(relation);
	if (writes && snapshot_store_durable)
		check_durable(relation);

	/*
	 * Whoever hooks into the executor's permission check wants a say, and a
	 * row changed by another writer is an error above READ COMMITTED.
	 */
	direct = direct && known.plain &&
		snapshot_store_access_path == ACCESS_PATH_AUTO &&
		ExecutorCheckPerms_hook == NULL &&
		!(writes && IsolationUsesXactSnapshot());

	table->relation = relation;
	table->in_order = known.order == BY_BYTES;
	table->state_type = known.state_type;
	table->key = direct ? index_open(known.key, lockmode) : NULL;
	if (direct && !is_for_transaction(table->key))
	{
		elog(DEBUG1, "snapshot_store must take the sql way to table \"%s\": its key is younger than the transaction",
			 RelationGetRelationName(relation));
		index_close(table->key, NoLock);
		table->key = NULL;
	}
	table->policies = NULL;
	table->access = table->key == NULL ? known.sql :
		relation->rd_rel->relrowsecurity ? access_by_policies(table) :
		&direct_access;
}

/*
 * store_table_require_order
 *		Refuse, for those who walk along the key, a table whose streams are not
 *		in the order of their names' bytes.
 */
void
store_table_require_order(const StoreTable *table)
{
	if (!table->in_order)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"stream_id\" of table \"%s\" does not have the collation \"C\"",
						RelationGetRelationName(table->relation)),
				 errdetail("Census, work list and purge go through the streams in the order of their names' bytes."),
				 errhint("ALTER TABLE %s ALTER stream_id TYPE text COLLATE \"C\" brings it back.",
						 RelationGetRelationName(table->relation))));
}

void
store_table_close(StoreTable *table)
{
	if (table->policies != NULL)
		table_policies_close(table->policies);
	if (table->key != NULL)
		index_close(table->key, NoLock);
	relation_close(table->relation, NoLock);
}
