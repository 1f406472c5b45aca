/*
 * compat.h
 *		Every difference between the supported server versions.
 *
 * The code is written against the newest server; what follows gives older
 * ones the newest one's signatures.
 */
#ifndef SNAPSHOT_STORE_COMPAT_H
#define SNAPSHOT_STORE_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "snapshot_store needs PostgreSQL 15 or later"
#endif

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "parser/parse_relation.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

/*
 * 16 made a library's symbols hidden unless it exports them.  Before, one
 * extension's globals could bind to another's of the same name.
 */
#if PG_VERSION_NUM < 160000 && !defined(WIN32)
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

/* 18 lets a module tell its name and version. */
#if PG_VERSION_NUM < 180000
#define PG_MODULE_MAGIC_EXT(...)	PG_MODULE_MAGIC
#endif

/* 18 added the instrumentation, 19 the flags. */
#if PG_VERSION_NUM < 180000
#define index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys, flags) \
	(index_beginscan) (heap, index, snapshot, nkeys, norderbys)
#elif PG_VERSION_NUM < 190000
#define index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys, flags) \
	(index_beginscan) (heap, index, snapshot, instrument, nkeys, norderbys)
#endif

/* 19 added the flags and the options. */
#if PG_VERSION_NUM < 190000
#define table_index_fetch_begin(rel, flags)	(table_index_fetch_begin) (rel)
#define table_tuple_update(rel, otid, slot, cid, options, snapshot, crosscheck, \
						   wait, tmfd, lockmode, update_indexes) \
	(table_tuple_update) (rel, otid, slot, cid, snapshot, crosscheck, \
						  wait, tmfd, lockmode, update_indexes)
#endif

/* 16 replaced the function for each kind of object by one. */
#if PG_VERSION_NUM < 160000
#define object_aclcheck(class, object, role, mode) \
	(AssertMacro((class) == NamespaceRelationId), \
	 pg_namespace_aclcheck(object, role, mode))
#define object_ownercheck(class, object, role) \
	(AssertMacro((class) == RelationRelationId), \
	 pg_class_ownercheck(object, role))
#endif

/* 18 has NOT NULL constraints that are not valid for every row. */
#if PG_VERSION_NUM < 180000
#define column_is_not_null(desc, i)	(TupleDescAttr(desc, i)->attnotnull)
#else
#define column_is_not_null(desc, i) \
	(TupleDescCompactAttr(desc, i)->attnullability == ATTNULLABLE_VALID)
#endif

/* 18 has CHECK constraints that are not enforced. */
#if PG_VERSION_NUM < 180000
#define check_is_in_force(check)	((check)->ccvalid)
#else
#define check_is_in_force(check)	((check)->ccvalid && (check)->ccenforced)
#endif

/* 19 has a type for what it passes to a callback. */
#if PG_VERSION_NUM < 190000
typedef int SysCacheIdentifier;
#endif

/* 17 renamed the function, and the type that it takes. */
#if PG_VERSION_NUM < 170000
#define SearchPathMatchesCurrentEnvironment(path) \
	OverrideSearchPathMatchesCurrent(path)
#endif

/* 16 lets modules find a setting. */
#if PG_VERSION_NUM < 160000
static inline struct config_generic *
find_option(const char *name, bool create_placeholders, bool skip_errors,
			int elevel)
{
	struct config_generic **settings = get_guc_variables();

	for (int i = 0; i < GetNumConfigOptions(); i++)
	{
		if (strcmp(settings[i]->name, name) == 0)
			return settings[i];
	}
	return NULL;
}
#endif

/* 16 took the layout of varlenas out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16 moved the privileges that a table needs out of its entry. */
static inline void
set_needed_privileges(Query *query, RangeTblEntry *entry, AclMode needed)
{
#if PG_VERSION_NUM < 160000
	entry->requiredPerms = needed;
#else
	addRTEPermissionInfo(&query->rteperminfos, entry)->requiredPerms = needed;
#endif
}

/* 17 has a registry of dynamic shared memory, 19 passes an argument on. */
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#define HAVE_SHARED_MEMORY_REGISTRY
#if PG_VERSION_NUM < 190000
#define GetNamedDSMSegment(name, size, init_callback, found, arg) \
	((void) (init_callback), \
	 (GetNamedDSMSegment) (name, size, (void (*) (void *)) (arg), found))
#endif
#endif

/* 16 tells apart which indexes an update concerns. */
#if PG_VERSION_NUM < 160000
typedef bool TU_UpdateIndexes;
#define TU_None	false
#endif

#endif							/* SNAPSHOT_STORE_COMPAT_H */
