/*
 * snapshot_store.c
 *		The library: its magic block and its settings.
 *
 * Where to find the rest:
 *		functions.c			the SQL-callable functions
 *		store.c				save, load, delete: the logic
 *		retention.c			which snapshots a stream keeps
 *		stream_snapshot.c	what a snapshot may hold
 *		relation.c			finds the table and decides how to reach it
 *		table_direct.c		... by access methods
 *		table_sql.c			... by SPI
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "compat.h"
#include "retention.h"
#include "settings.h"

PG_MODULE_MAGIC_EXT(.name = "snapshot_store",.version = "1.0");

int			snapshot_store_keep;
int			snapshot_store_keep_versions;
bool		snapshot_store_enabled;
bool		snapshot_store_durable;
int			snapshot_store_max_state_size;
int			snapshot_store_access_path;
const char *snapshot_store_refused_max_state_size = NULL;

static const struct config_enum_entry access_path_options[] = {
	{"auto", ACCESS_PATH_AUTO, false},
	{"sql", ACCESS_PATH_SQL, false},
	{NULL, 0, false}
};

extern PGDLLEXPORT void _PG_init(void);

/* A value that was set before the library came, if any, is a placeholder. */
static bool
is_defined(const char *setting)
{
	return GetConfigOption(setting, true, false) != NULL &&
		(GetConfigOptionFlags(setting, true) & GUC_CUSTOM_PLACEHOLDER) == 0;
}

/* Has the server taken a value of max_state_size from anywhere? */
static bool max_state_size_taken = false;

static bool
check_max_state_size(int *newval, void **extra, GucSource source)
{
	if (source != PGC_S_DEFAULT)
		max_state_size_taken = true;
	return true;
}

/*
 * Define the one setting that is not everybody's.
 *
 * A placeholder holds the last value that was given, whoever gave it.  If it
 * is refused now, that makes a warning, and the value that it had replaced,
 * such as the database's, is gone; so remember that.  It was refused if the
 * server has not taken it, which shows even where it is the default value.
 */
static void
define_max_state_size(void)
{
	const char *name = "snapshot_store.max_state_size";
	const char *placeholder = GetConfigOption(name, true, false);
	char	   *given = NULL;
	int			value;

	if (is_defined(name))
		return;
	if (placeholder != NULL)
		given = MemoryContextStrdup(TopMemoryContext, placeholder);
	DefineCustomIntVariable(name,
							"The largest state that may be saved, with its metadata.",
							"Counted before compression. 0 means no limit.",
							&snapshot_store_max_state_size, 0, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_BYTE, check_max_state_size, NULL, NULL);
	if (given == NULL)
		return;
	if (!max_state_size_taken ||
		!parse_int(given, &value, GUC_UNIT_BYTE, NULL) ||
		value != snapshot_store_max_state_size)
		snapshot_store_refused_max_state_size = given;
	else
		pfree(given);
}

/*
 * If this fails, for want of memory, the server runs it again at the session's
 * next call; to define a setting twice would be an error.
 */
void
_PG_init(void)
{
	if (!is_defined("snapshot_store.keep"))
		DefineCustomIntVariable("snapshot_store.keep",
								"How many snapshots of each of its schema versions a stream keeps.",
								NULL,
								&snapshot_store_keep, 1, 1, RETENTION_MAX_KEEP,
								PGC_USERSET, 0, NULL, NULL, NULL);
	if (!is_defined("snapshot_store.keep_versions"))
		DefineCustomIntVariable("snapshot_store.keep_versions",
								"Of how many schema versions a stream keeps snapshots.",
								"With 2, two versions of an application live side by side through a rolling deployment.",
								&snapshot_store_keep_versions, 1, 1, RETENTION_MAX_KEEP_VERSIONS,
								PGC_USERSET, 0, NULL, NULL, NULL);
	if (!is_defined("snapshot_store.enabled"))
		DefineCustomBoolVariable("snapshot_store.enabled",
								 "Whether snapshots are saved and loaded.",
								 "When off, a save stores nothing and a load returns no row.",
								 &snapshot_store_enabled, true,
								 PGC_USERSET, 0, NULL, NULL, NULL);
	if (!is_defined("snapshot_store.durable"))
		DefineCustomBoolVariable("snapshot_store.durable",
								 "Whether a committed save survives a crash, whatever synchronous_commit says.",
								 "When off, synchronous_commit decides, and the table may be unlogged.",
								 &snapshot_store_durable, true,
								 PGC_USERSET, 0, NULL, NULL, NULL);
	define_max_state_size();
	if (!is_defined("snapshot_store.access_path"))
		DefineCustomEnumVariable("snapshot_store.access_path",
								 "How the functions reach the table.",
								 "\"auto\" uses access methods directly where that is safe; \"sql\" never does.",
								 &snapshot_store_access_path, ACCESS_PATH_AUTO, access_path_options,
								 PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("snapshot_store");
}
