/*
 * repack.h
 *		Packs stored states by the dictionaries that are active now.
 */
#ifndef SNAPSHOT_STORE_REPACK_H
#define SNAPSHOT_STORE_REPACK_H

extern int64 repack_states(Oid function, text *prefix, int batch_size);

#endif							/* SNAPSHOT_STORE_REPACK_H */
