/*
 * table_secured.c
 *		The direct way to a table with row security.
 *
 * The server says which policies hold for the user, and evaluates them: on each
 * row that is read, and before one is written.  What they admit goes the direct
 * way.  What they do not, or leave open, is left to the same statement on the
 * sql way, so that there every decision, and every error, is the server's own.
 * So is a policy that is more than an expression over the row: a subquery, a
 * volatile function, a system column.
 *
 * Nothing is kept from call to call: policies, roles and functions may change.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rowsecurity.h"
#include "storage/lmgr.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "table.h"

/* The rows that a statement concerns, as its condition says. */
typedef struct Policies
{
	List	   *old_rows;		/* which it may see: USING */
	List	   *new_rows;		/* which it may leave behind: WITH CHECK */
} Policies;

/* Can the expressions be evaluated on a row alone, as often as one likes? */
static bool
are_simple(List *expressions)
{
	Bitmapset  *columns = NULL;
	int			column = -1;

	pull_varattnos((Node *) expressions, 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		/* neither a system column nor the whole row */
		if (column + FirstLowInvalidHeapAttributeNumber <= 0)
			return false;
	}
	return !contain_volatile_functions((Node *) expressions);
}

/*
 * The policies that the server would add to our statement of that kind; false
 * if they are not simple.
 */
static bool
get_policies(Relation relation, CmdType command, AclMode needed,
			 Policies *policies)
{
	Query	   *query = makeNode(Query);
	RangeTblEntry *entry = makeNode(RangeTblEntry);
	List	   *checks = NIL;
	ListCell   *cell;
	bool		has_row_security;
	bool		has_subqueries;

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(relation);
	entry->relkind = relation->rd_rel->relkind;
	entry->rellockmode = command == CMD_SELECT ? AccessShareLock : RowExclusiveLock;
	set_needed_privileges(query, entry, needed);
	query->commandType = command;
	query->resultRelation = command == CMD_SELECT ? 0 : 1;
	query->rtable = list_make1(entry);
	get_row_security_policies(query, entry, 1, &policies->old_rows, &checks,
							  &has_row_security, &has_subqueries);

	policies->new_rows = NIL;
	foreach(cell, checks)
	{
		WithCheckOption *check = lfirst_node(WithCheckOption, cell);

		policies->new_rows = lappend(policies->new_rows, check->qual);
	}
	return !has_subqueries &&
		are_simple(policies->old_rows) && are_simple(policies->new_rows);
}

/* Does the row in the slot fulfil all of the expressions? */
static bool
fulfils(TupleTableSlot *slot, List *expressions)
{
	ExprContext *context = CreateStandaloneExprContext();
	bool		result;

	expressions = (List *) expression_planner((Expr *) expressions);
	context->ecxt_scantuple = slot;
	result = ExecQual(ExecInitQual(expressions, NULL), context);
	FreeExprContext(context, true);
	return result;
}

/* Does a row as it is to be written? */
static bool
new_row_fulfils(const StoreTable *table, const StreamSnapshot *snapshot,
				List *expressions)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(table->relation),
													&TTSOpsVirtual);
	bool		result;

	table_form_row(snapshot, slot->tts_values, slot->tts_isnull);
	result = fulfils(ExecStoreVirtualTuple(slot), expressions);
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

/* Does a row as it was read?  False also if it is not there any more. */
static bool
old_row_fulfils(const StoreTable *table, const SnapshotHeader *row,
				List *expressions)
{
	TupleTableSlot *slot = table_slot_create(table->relation, NULL);
	ItemPointerData tid = row->tid;
	bool		result;

	result = table_tuple_fetch_row_version(table->relation, &tid,
										   GetActiveSnapshot(), slot) &&
		fulfils(slot, expressions);
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

/*
 * table_find_policies
 *		Find what the user may read of a table with row security; false if the
 *		table must be read on the sql way.
 */
bool
table_find_policies(Relation relation, List **readable)
{
	Policies	policies;

	if (!get_policies(relation, CMD_SELECT, ACL_SELECT, &policies))
		return false;
	*readable = policies.old_rows;
	return true;
}

static void
secured_scan_begin(const StoreTable *table, text *stream_id,
				   const RecognizedVersions *recognized, bool with_states,
				   TableScan *scan)
{
	direct_access.scan_begin(table, stream_id, recognized, with_states, scan);
	scan->policies = ExecInitQual((List *) expression_planner((Expr *) table->readable),
								  NULL);
	scan->context = CreateStandaloneExprContext();
}

static bool
secured_scan_next(TableScan *scan, StreamSnapshot *snapshot)
{
	return direct_access.scan_next(scan, snapshot);
}

static void
secured_scan_end(TableScan *scan)
{
	FreeExprContext(scan->context, true);
	direct_access.scan_end(scan);
}

static WriteResult
secured_lock(const StoreTable *table, text *stream_id, const SnapshotHeader *row)
{
	return sql_access.lock(table, stream_id, row);
}

static WriteResult
secured_insert(const StoreTable *table, const StreamSnapshot *snapshot)
{
	Policies	policies;

	if (get_policies(table->relation, CMD_INSERT, ACL_INSERT | ACL_SELECT, &policies) &&
		new_row_fulfils(table, snapshot, policies.new_rows))
		return direct_access.insert(table, snapshot);
	return sql_access.insert(table, snapshot);
}

static WriteResult
secured_update(const StoreTable *table, const SnapshotHeader *row,
			   const StreamSnapshot *snapshot)
{
	Policies	policies;

	if (get_policies(table->relation, CMD_UPDATE, ACL_UPDATE | ACL_SELECT, &policies) &&
		old_row_fulfils(table, row, policies.old_rows) &&
		new_row_fulfils(table, snapshot, policies.new_rows))
		return direct_access.update(table, row, snapshot);
	return sql_access.update(table, row, snapshot);
}

const TableAccess secured_access = {
	.scan_begin = secured_scan_begin,
	.scan_next = secured_scan_next,
	.scan_end = secured_scan_end,
	.lock = secured_lock,
	.insert = secured_insert,
	.update = secured_update
};
