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
 *		table_secured.c		... also under row security
 *		table_sql.c			... by SPI
 *		upkeep.c			what concerns many streams: census, work list, purge
 *		stream_walk.c		... by a walk over their rows, also in batches
 *		dictionary.c		which dictionary packs which states
 *		packed_state.c		... and how
 *		samples.c			what a dictionary is trained on
 *		training.c			... and how
 *		repack.c			packs what is stored already
 *		citus.c				what is different where Citus spreads the table over nodes
 *		statistics.c		what the store has done, counted
 *		shared_memory.c		... where all sessions see it
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "citus.h"
#include "compat.h"
#include "retention.h"
#include "settings.h"
#include "statistics.h"

PG_MODULE_MAGIC_EXT(
					.name = "snapshot_store",
					.version = "1.1.0"
);

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

/*
 * Define the one setting that is not everybody's.
 *
 * What was set before the library came, by whomever, is in a placeholder, and
 * has hidden what was set in the places above, such as the database's.  If it
 * is refused now, that makes a warning, and nothing brings the other back: so
 * remember that.  It was taken if the session began with it as with the
 * placeholder's, and holds what that holds.
 *
 * The postmaster, which preloads libraries, has nothing from strangers.
 */
static void
define_max_state_size(void)
{
	const char *name = "snapshot_store.max_state_size";
	const struct config_generic *setting;
	GucSource	reset_source = PGC_S_DEFAULT;
	char	   *given = NULL;
	int			value;

	if (is_defined(name))
		return;
	setting = find_option(name, false, true, 0);
	if (IsUnderPostmaster && setting != NULL &&
		(setting->source != PGC_S_DEFAULT || setting->reset_source != PGC_S_DEFAULT))
	{
		reset_source = setting->reset_source;
		given = MemoryContextStrdup(TopMemoryContext,
									GetConfigOption(name, false, false));
	}

	/* What follows may fail after it has defined the setting. */
	snapshot_store_refused_max_state_size = given;
	DefineCustomIntVariable(name,
							"The largest state that may be saved, with its metadata.",
							"Counted before compression. 0 means no limit of its own.",
							&snapshot_store_max_state_size, 0, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_BYTE, citus_admits_int, NULL, NULL);
	setting = find_option(name, false, true, 0);
	if (given != NULL && setting->source != PGC_S_DEFAULT &&
		setting->reset_source == reset_source &&
		parse_int(given, &value, GUC_UNIT_BYTE, NULL) &&
		value == snapshot_store_max_state_size)
		snapshot_store_refused_max_state_size = NULL;
}

/*
 * If this fails, for want of memory, the server runs it again at the session's
 * next call; to define a setting twice would be an error.
 */
void
_PG_init(void)
{
	/*
	 * What the settings' hooks look up shall be in the caches by now: a value
	 * that cannot be checked, for want of memory, is lost once its setting is
	 * defined.
	 */
	(void) citus_admits_int(NULL, NULL, PGC_S_SESSION);
	if (!is_defined("snapshot_store.keep"))
		DefineCustomIntVariable("snapshot_store.keep",
								"How many snapshots of each of its schema versions a stream keeps.",
								NULL,
								&snapshot_store_keep, 1, 1, RETENTION_MAX_KEEP,
								PGC_USERSET, 0, citus_admits_int, NULL, NULL);
	if (!is_defined("snapshot_store.keep_versions"))
		DefineCustomIntVariable("snapshot_store.keep_versions",
								"Of how many schema versions a stream keeps snapshots.",
								"With 2, two versions of an application live side by side through a rolling deployment.",
								&snapshot_store_keep_versions, 1, 1, RETENTION_MAX_KEEP_VERSIONS,
								PGC_USERSET, 0, citus_admits_int, NULL, NULL);
	if (!is_defined("snapshot_store.enabled"))
		DefineCustomBoolVariable("snapshot_store.enabled",
								 "Whether snapshots are saved and loaded.",
								 "When off, a save stores nothing and a load returns no row.",
								 &snapshot_store_enabled, true,
								 PGC_USERSET, 0, citus_admits_bool, NULL, NULL);
	if (!is_defined("snapshot_store.durable"))
		DefineCustomBoolVariable("snapshot_store.durable",
								 "Whether a committed save survives a crash, whatever synchronous_commit says.",
								 "When off, synchronous_commit decides, and the table may be unlogged.",
								 &snapshot_store_durable, true,
								 PGC_USERSET, 0, citus_admits_bool, NULL, NULL);
	define_max_state_size();
	if (!is_defined("snapshot_store.access_path"))
		DefineCustomEnumVariable("snapshot_store.access_path",
								 "How the functions reach the table.",
								 "\"auto\" uses access methods directly where that is safe; \"sql\" never does.",
								 &snapshot_store_access_path, ACCESS_PATH_AUTO, access_path_options,
								 PGC_USERSET, 0, NULL, NULL, NULL);
	if (!is_defined("snapshot_store.track"))
		DefineCustomBoolVariable("snapshot_store.track",
								 "Whether loads and saves are counted.",
								 NULL,
								 &snapshot_store_track, true,
								 PGC_SUSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("snapshot_store");
	statistics_reserve();
}
