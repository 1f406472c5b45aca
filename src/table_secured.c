/*
 * table_secured.c
 *		The direct way to a table with row security.
 *
 * The server says which policies hold for the user, and evaluates them: on each
 * row that is read, and before one is written.  What they admit goes the direct
 * way.  What they do not admit (NULL is no) is left to the same statement on
 * the sql way, so that there every decision, and every error, is the server's
 * own.  So is a policy that is more than an expression over columns of the
 * row: a subquery, a volatile function, a system column, the whole row.
 *
 * Nothing is kept from call to call: policies, roles and functions may change.
 * What changes while a call runs, by what a policy calls, holds from the next
 * one on, but for the role: a write as another one goes the sql way.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rowsecurity.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "table.h"

/* What the policies for a statement admit. */
typedef struct Admission
{
	bool		asked;
	bool		is_simple;
	ExprState  *old_row;		/* that it sees: USING */
	ExprState  *new_row;		/* that it leaves behind: WITH CHECK */
} Admission;

struct TablePolicies
{
	Oid			user;			/* for whom they hold */
	ExprContext *context;
	Admission	select;
	Admission	insert;
	Admission	update;
};

/*
 * Can the expressions be evaluated on the row's columns alone?  Functions
 * count as volatile or not as they are declared.
 */
static bool
are_simple(List *expressions)
{
	Bitmapset  *columns = NULL;
	int			column = -1;

	pull_varattnos((Node *) expressions, 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		/* a system column, or the whole row */
		if (column + FirstLowInvalidHeapAttributeNumber <= 0)
			return false;
	}
	return !contain_volatile_functions((Node *) expressions);
}

static ExprState *
prepare(List *expressions)
{
	return ExecInitQual((List *) expression_planner((Expr *) expressions), NULL);
}

/* Ask for the policies that the server would add to our statement. */
static void
ask(Relation relation, CmdType command, AclMode needed, Admission *admission)
{
	Query	   *query = makeNode(Query);
	RangeTblEntry *entry = makeNode(RangeTblEntry);
	List	   *old_row = NIL;
	List	   *checks = NIL;
	List	   *new_row = NIL;
	ListCell   *cell;
	bool		has_policies = false;
	bool		has_subqueries = false;

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(relation);
	entry->relkind = relation->rd_rel->relkind;
	entry->rellockmode = command == CMD_SELECT ? AccessShareLock : RowExclusiveLock;
	set_needed_privileges(query, entry, needed);
	query->commandType = command;
	query->resultRelation = command == CMD_SELECT ? 0 : 1;
	query->rtable = list_make1(entry);
	get_row_security_policies(query, entry, 1, &old_row, &checks,
							  &has_policies, &has_subqueries);
	foreach(cell, checks)
	{
		WithCheckOption *check = lfirst_node(WithCheckOption, cell);

		new_row = lappend(new_row, check->qual);
	}

	admission->asked = true;
	admission->is_simple = has_policies && !has_subqueries &&
		are_simple(old_row) && are_simple(new_row);
	if (admission->is_simple)
	{
		admission->old_row = prepare(old_row);
		admission->new_row = prepare(new_row);
	}
}

static bool
is_admitted(const TablePolicies *policies, ExprState *condition,
			TupleTableSlot *slot)
{
	ResetExprContext(policies->context);
	policies->context->ecxt_scantuple = slot;
	return ExecQual(condition, policies->context);
}

/* Do the policies admit the row as it is to be written? */
static bool
is_new_row_admitted(const StoreTable *table, const StreamSnapshot *snapshot,
					const Admission *admission)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(table->relation),
													&TTSOpsVirtual);
	bool		result;

	table_form_row(snapshot, slot->tts_values, slot->tts_isnull);
	result = is_admitted(table->policies, admission->new_row,
						 ExecStoreVirtualTuple(slot));
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

/* ... the row as it was read?  False also if it is not there any more. */
static bool
is_old_row_admitted(const StoreTable *table, const SnapshotHeader *row,
					const Admission *admission)
{
	TupleTableSlot *slot = table_slot_create(table->relation, NULL);
	ItemPointerData tid = row->tid;
	bool		result;

	result = table_tuple_fetch_row_version(table->relation, &tid,
										   GetActiveSnapshot(), slot) &&
		is_admitted(table->policies, admission->old_row, slot);
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

/* May the direct way be taken for a statement that writes, if it is admitted? */
static bool
may_write(const StoreTable *table, CmdType command, AclMode needed,
		  Admission *admission)
{
	if (table->policies->user != GetUserId())
		return false;
	if (!admission->asked)
	{
		/* For the whole of a batch. */
		MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(table->policies));

		ask(table->relation, command, needed, admission);
		MemoryContextSwitchTo(caller);
	}
	return admission->is_simple;
}

/*
 * table_policies_open
 *		What binds the user on a table with row security; NULL if the table must
 *		be reached on the sql way.
 */
TablePolicies *
table_policies_open(Relation relation)
{
	TablePolicies *policies = palloc0(sizeof(TablePolicies));

	policies->user = GetUserId();
	ask(relation, CMD_SELECT, ACL_SELECT, &policies->select);
	if (!policies->select.is_simple)
		return NULL;
	policies->context = CreateStandaloneExprContext();
	return policies;
}

void
table_policies_close(TablePolicies *policies)
{
	FreeExprContext(policies->context, true);
}

/* Does the user see the row? */
bool
table_policies_admit(const TablePolicies *policies, TupleTableSlot *row)
{
	return is_admitted(policies, policies->select.old_row, row);
}

static WriteResult
secured_insert(const StoreTable *table, const StreamSnapshot *snapshot)
{
	Admission  *insert = &table->policies->insert;

	if (may_write(table, CMD_INSERT, ACL_INSERT | ACL_SELECT, insert) &&
		is_new_row_admitted(table, snapshot, insert))
		return direct_access.insert(table, snapshot);
	return sql_access.insert(table, snapshot);
}

static WriteResult
secured_update(const StoreTable *table, const SnapshotHeader *row,
			   const StreamSnapshot *snapshot)
{
	Admission  *update = &table->policies->update;

	if (may_write(table, CMD_UPDATE, ACL_UPDATE | ACL_SELECT, update) &&
		is_old_row_admitted(table, row, update) &&
		is_new_row_admitted(table, snapshot, update))
		return direct_access.update(table, row, snapshot);
	return sql_access.update(table, row, snapshot);
}

const TableAccess secured_access = {
	.scan_begin = table_direct_scan_begin,
	.scan_next = table_direct_scan_next,
	.scan_end = table_direct_scan_end,
	.scan_passed_over = table_direct_scan_passed_over,
	.lock = table_sql_lock,
	.insert = secured_insert,
	.update = secured_update
};
