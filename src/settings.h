/*
 * settings.h
 *		The snapshot_store.* settings, defined in snapshot_store.c.
 */
#ifndef SNAPSHOT_STORE_SETTINGS_H
#define SNAPSHOT_STORE_SETTINGS_H

typedef enum AccessPath
{
	ACCESS_PATH_AUTO,
	ACCESS_PATH_SQL
} AccessPath;

extern int	snapshot_store_keep;
extern int	snapshot_store_keep_versions;
extern bool snapshot_store_enabled;
extern bool snapshot_store_durable;
extern int	snapshot_store_max_state_size;
extern int	snapshot_store_access_path;

/* A value of it that was refused, or NULL. */
extern const char *snapshot_store_refused_max_state_size;

#endif							/* SNAPSHOT_STORE_SETTINGS_H */
