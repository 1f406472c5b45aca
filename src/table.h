/*
 * table.h
 *		The few operations on the table that store.c needs.
 *
 * There are two ways to the table, table_direct.c and table_sql.c, with
 * table_secured.c between them, and relation.c decides.  All read with the
 * active snapshot and leave which snapshot that is to store.c.
 */
#ifndef SNAPSHOT_STORE_TABLE_H
#define SNAPSHOT_STORE_TABLE_H

#include "access/genam.h"
#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

#include "stream_snapshot.h"

#define TABLE_NAME	"snapshot_store"

/* The table's columns. */
#define Anum_stream_id				1
#define Anum_slot					2
#define Anum_state_schema_version	3
#define Anum_sequence_number		4
#define Anum_created_at				5
#define Anum_state					6
#define Anum_state_bytea			7
#define Anum_metadata				8
#define Natts_snapshot_store		8

/* As many as there are slots. */
#define MAX_ROWS_OF_STREAM			(PG_INT16_MAX + 1)

/* The columns of its key. */
#define Anum_key_stream_id				1
#define Anum_key_slot					2
#define Anum_key_state_schema_version	3
#define Natts_key						3

typedef struct TableAccess TableAccess;
typedef struct TablePolicies TablePolicies;

/* The table, open and locked: see relation.c. */
typedef struct StoreTable
{
	Relation	relation;
	Relation	key;			/* its index; NULL on the sql way */
	bool		in_order;		/* are streams in the order of names' bytes? */
	Oid			state_type;		/* json, or ours: then states can be packed */
	TablePolicies *policies;	/* NULL but on the secured way */
	const TableAccess *access;
} StoreTable;

/* How many of the entries that a scan passes over it remembers. */
#define MAX_PASSED_OVER		8

/* A scan over one stream's rows. */
typedef struct TableScan
{
	const RecognizedVersions *recognized;	/* NULL: all */
	bool		with_states;
	int			passed_over;	/* rows, or their entries, of unrecognized
								 * versions */
	/* the direct way, also the secured one */
	IndexScanDesc index_scan;
	TupleTableSlot *row;
	const TablePolicies *policies;	/* those of the table */
	ItemPointerData passed_over_tids[MAX_PASSED_OVER];
	/* the sql way */
	const text *stream_id;
	bool		sees_all;		/* also rows of unrecognized versions */
	struct SPITupleTable *rows;
	uint64		next;
} TableScan;

typedef enum WriteResult
{
	WRITE_DONE,
	WRITE_RACED,				/* another writer has changed the row */
	WRITE_NO_ROW				/* no row was affected, nobody says why */
} WriteResult;

struct TableAccess
{
	/*
	 * Scan a stream's rows, in the order of their slots; only those of the
	 * recognized versions, if these are given.  With states, all of a row is
	 * read, and its Datums are valid until the next call; else its header and
	 * the state's size.
	 */
	void		(*scan_begin) (const StoreTable *table, text *stream_id,
							   const RecognizedVersions *recognized,
							   bool with_states, TableScan *scan);
	bool		(*scan_next) (TableScan *scan, StreamSnapshot *snapshot);
	void		(*scan_end) (TableScan *scan);

	/*
	 * Of a scan that has come to its end: are there rows of unrecognized
	 * versions?
	 */
	bool		(*scan_passed_over) (const StoreTable *table, TableScan *scan);

	/* Lock a row against other savers (FOR NO KEY UPDATE). */
	WriteResult (*lock) (const StoreTable *table, text *stream_id,
						 const SnapshotHeader *row);

	/* Insert into a free slot. */
	WriteResult (*insert) (const StoreTable *table,
						   const StreamSnapshot *snapshot);

	/* Overwrite a row, if it is still as it was read. */
	WriteResult (*update) (const StoreTable *table, const SnapshotHeader *row,
						   const StreamSnapshot *snapshot);

	/* Are the rows on other nodes? */
	bool		distributed;
};

extern const TableAccess direct_access;
extern const TableAccess secured_access;
extern const TableAccess sql_access;
extern const TableAccess distributed_access;

/* How a table is scanned directly, with row security or without. */
extern void table_direct_scan_begin(const StoreTable *table, text *stream_id,
									const RecognizedVersions *recognized,
									bool with_states, TableScan *scan);
extern bool table_direct_scan_next(TableScan *scan, StreamSnapshot *snapshot);
extern void table_direct_scan_end(TableScan *scan);
extern bool table_direct_scan_passed_over(const StoreTable *table, TableScan *scan);

extern TablePolicies *table_policies_open(Relation relation);
extern void table_policies_close(TablePolicies *policies);
extern bool table_policies_admit(const TablePolicies *policies,
								 TupleTableSlot *row);

/* What happens seldom goes the sql way only. */
extern WriteResult table_sql_lock(const StoreTable *table, text *stream_id,
								  const SnapshotHeader *row);
extern WriteResult table_sql_insert(const StoreTable *table,
									const StreamSnapshot *snapshot);
extern WriteResult table_sql_insist(const StoreTable *table,
									const StreamSnapshot *snapshot,
									const SnapshotHeader *overwritten,
									bool over_same_sequence,
									bool over_any_version);
extern void table_sql_move(const StoreTable *table, text *stream_id,
						   const SnapshotHeader *row, int16 slot);
extern void table_sql_remove(const StoreTable *table, text *stream_id,
							 const SnapshotHeader *row);
extern uint64 table_sql_delete(const StoreTable *table, text *stream_id,
							   const SnapshotBounds *bounds);

/*
 * A walk over the table in the order of its key, from one row on.  It reads
 * nothing but the key.
 */
typedef struct KeyPosition
{
	text	   *stream_id;
	int32		slot;			/* or BEFORE_ALL_SLOTS */
} KeyPosition;

#define BEFORE_ALL_SLOTS	(PG_INT16_MIN - 1)

/* The rows of a cursor, of which it reads some at a time. */
typedef struct RowCursor
{
	struct PortalData *portal;
	int			fetch;			/* how many */
	struct SPITupleTable *rows;
	uint64		next;			/* of these; the caller counts */
} RowCursor;

extern bool row_cursor_has_next(RowCursor *cursor);

typedef struct KeyWalk
{
	RowCursor	cursor;
	/* the current row, at first the one before; its name is a copy */
	KeyPosition at;
	int64		state_schema_version;
	bool		new_stream;		/* is it the first of its stream? */
} KeyWalk;

/* How many rows a walk reads at a time; fewer if it is to see fewer. */
#define TABLE_WALK_FETCH	1000

extern void table_walk_begin(const StoreTable *table, const KeyPosition *after,
							 int fetch, KeyWalk *walk);
extern bool table_walk_next(KeyWalk *walk);
extern void table_walk_end(KeyWalk *walk);

/* Delete those of some rows that still meet the criteria and are not locked. */
extern uint64 table_purge(const StoreTable *table,
						  Datum stream_ids, Datum slots,
						  const RecognizedVersions *recognized,
						  const SnapshotBounds *bounds);

/* Called with each state that is read. */
typedef void (*StateReceiver) (const StreamSnapshot *row, void *arg);

extern void table_read_states(const StoreTable *table, Datum stream_ids,
							  Datum slots, bool lock,
							  StateReceiver receive, void *arg);
extern uint64 table_set_state(const StoreTable *table,
							  const StreamSnapshot *row, Datum state);

/* A snapshot as a row's values, and back. */
extern void table_form_row(const StreamSnapshot *snapshot,
						   Datum *values, bool *isnull);
extern void table_read_header(const Datum *values, const bool *isnull,
							  SnapshotHeader *header);
extern void table_read_row(const Datum *values, const bool *isnull,
						   StreamSnapshot *snapshot);
extern void table_refuse_null(void);
extern char *table_schema_name(const StoreTable *table);
extern Datum table_compress_state(Relation relation, AttrNumber column, Datum state);

/* May there be packed states in the table? */
static inline bool
table_packs(const StoreTable *table)
{
	return table->state_type != JSONOID;
}

#endif							/* SNAPSHOT_STORE_TABLE_H */
