/*
 * durability.h
 *		Has a commit flushed, whatever synchronous_commit says.
 */
#ifndef SNAPSHOT_STORE_DURABILITY_H
#define SNAPSHOT_STORE_DURABILITY_H

extern void ensure_durable_commit(void);

#endif							/* SNAPSHOT_STORE_DURABILITY_H */
