/*
 * relation.h
 *		Finds the table and decides how to reach it.
 */
#ifndef SNAPSHOT_STORE_RELATION_H
#define SNAPSHOT_STORE_RELATION_H

#include "nodes/parsenodes.h"

#include "table.h"

/*
 * What a load needs; a save, always all four, so that a missing privilege
 * shows at the first save; a deletion; and a purge, which passes over locked rows.
 */
#define LOAD_PRIVILEGES		ACL_SELECT
#define SAVE_PRIVILEGES		(ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE)
#define DELETE_PRIVILEGES	(ACL_SELECT | ACL_DELETE)
#define PURGE_PRIVILEGES	(ACL_SELECT | ACL_UPDATE | ACL_DELETE)

extern void store_table_open(Oid function, AclMode privileges,
							 StoreTable *table);
extern void store_table_close(StoreTable *table);
extern void store_table_require_order(const StoreTable *table);
extern char *store_function_name(Oid function);
extern bool owns_store_table(Oid function);

#endif							/* SNAPSHOT_STORE_RELATION_H */
