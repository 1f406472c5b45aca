/*
 * durability.c
 *		Has a commit flushed, whatever synchronous_commit says.
 *
 * ForceSyncCommit() does that.  But it also marks the commit record, and a
 * server that replays the record then flushes that commit by itself: on a
 * standby 5,000 saves took 2.5 seconds or more instead of 0.1.  A commit with
 * synchronous_commit is flushed anyway, so it is not marked.
 */
#include "postgres.h"

#include "access/xact.h"

#include "durability.h"
#include "settings.h"

/* Has this transaction written what must survive? */
static bool must_survive = false;

/*
 * synchronous_commit counts as it is at the end.  Deferred triggers, which
 * may save too, have run by now.  A prepared transaction is always flushed.
 */
static void
at_end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT && must_survive &&
		synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		ForceSyncCommit();
	must_survive = false;
}

/*
 * ensure_durable_commit
 *		Call this after writing, for the transaction's commit to survive a
 *		crash; nothing happens if snapshot_store.durable is off.
 */
void
ensure_durable_commit(void)
{
	static bool registered = false;

	if (!snapshot_store_durable)
		return;
	if (!registered)
	{
		RegisterXactCallback(at_end_of_transaction, NULL);
		registered = true;
	}
	must_survive = true;
}
