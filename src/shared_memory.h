/*
 * shared_memory.h
 *		A piece of shared memory, if there is any to be had.
 */
#ifndef SNAPSHOT_STORE_SHARED_MEMORY_H
#define SNAPSHOT_STORE_SHARED_MEMORY_H

/* Called once, with fresh memory. */
typedef void (*SharedMemoryInitializer) (void *memory);

extern void shared_memory_reserve(const char *name, Size size,
								  SharedMemoryInitializer initialize);
extern void *shared_memory_attach(const char *name, Size size,
								  SharedMemoryInitializer initialize);

#endif							/* SNAPSHOT_STORE_SHARED_MEMORY_H */
