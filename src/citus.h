/*
 * citus.h
 *		What is different where Citus spreads the table over nodes.
 */
#ifndef SNAPSHOT_STORE_CITUS_H
#define SNAPSHOT_STORE_CITUS_H

#include "executor/spi.h"
#include "utils/guc.h"
#include "utils/plancache.h"

#include "stream_walk.h"
#include "upkeep.h"

extern bool runs_citus(void);
extern bool citus_distributes(Relation relation);
extern const char *citus_returning(const StoreTable *table);
extern void citus_verify_place(const StoreTable *table, Datum stream_id,
							   SPITupleTable *rows);
extern void citus_refuse_parallel(void);
extern void citus_refuse_dictionaries(void);
extern void citus_bound_plan(CachedPlan *plan);

extern List *citus_census(const StoreTable *table, text *prefix);
extern void citus_outdated(const StoreTable *table, text *prefix,
						   const RecognizedVersions *recognized,
						   int max_streams, text *after_stream_id,
						   StreamReceiver receive, void *arg);

/* The rows to be worked on, shard by shard. */
typedef struct CitusRows CitusRows;

extern CitusRows *citus_rows_begin(const StoreTable *table, text *prefix,
								   const BatchWork *work);
extern bool citus_rows_next(CitusRows *rows, int batch_size, KeyBatch *keys,
							KeyPosition *last);
extern void citus_rows_end(CitusRows *rows);

extern bool citus_admits_int(int *newval, void **extra, GucSource source);
extern bool citus_admits_bool(bool *newval, void **extra, GucSource source);

#endif							/* SNAPSHOT_STORE_CITUS_H */
