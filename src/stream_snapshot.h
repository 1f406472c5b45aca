/*
 * stream_snapshot.h
 *		The snapshot of one stream: what it consists of and what it may hold.
 *
 * Not to be confused with PostgreSQL's own Snapshot, which decides what a
 * query sees.
 */
#ifndef SNAPSHOT_STORE_STREAM_SNAPSHOT_H
#define SNAPSHOT_STORE_STREAM_SNAPSHOT_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#define STREAM_ID_MAX_BYTES			2000
#define STATE_SCHEMA_VERSION_MAX	((int64) PG_UINT32_MAX)

/*
 * COPY, and with it a dump, writes a row in text in one value of less than
 * 1 GB, and logical replication puts an old and a new row into one message: a
 * state takes up to twice its size in each (bytea in hex, backslashes).
 */
#define STATE_MAX_BYTES				(200 * 1024 * 1024)
#define METADATA_MAX_TEXT_BYTES		(1024 * 1024)

/* A snapshot without its stream and state, and where its row lies. */
typedef struct SnapshotHeader
{
	int16		slot;
	int64		state_schema_version;
	int64		sequence_number;
	TimestampTz created_at;
	ItemPointerData tid;		/* of a stored one; only the direct way has it */
	bool		has_short_id;	/* likewise: a header of 1 byte */
} SnapshotHeader;

typedef enum StateKind
{
	STATE_JSON,
	STATE_BYTEA,
	STATE_MISSING				/* only in a row written by hand */
} StateKind;

typedef struct StreamSnapshot
{
	text	   *stream_id;
	SnapshotHeader header;
	StateKind	kind;
	Datum		state;			/* may be toasted */
	Datum		packed;			/* what is written in its place, unless 0 */
	int64		state_size;		/* as stored; only from a scan without states */
	bool		has_metadata;
	Datum		metadata;
} StreamSnapshot;

/* The schema versions that a caller recognizes. */
typedef struct RecognizedVersions
{
	ArrayType  *array;			/* bigint[], without nulls */
	const int64 *versions;		/* its elements */
	int			count;
} RecognizedVersions;

/* Inclusive bounds, each with whether it was given. */
typedef struct SnapshotBounds
{
	bool		has_max_sequence_number;
	bool		has_max_created_at;
	bool		has_min_sequence_number;
	bool		has_min_created_at;
	int64		max_sequence_number;
	TimestampTz max_created_at;
	int64		min_sequence_number;
	TimestampTz min_created_at;
} SnapshotBounds;

extern void validate_stream_id(const text *stream_id);
extern void validate_state_schema_version(const char *parameter, int64 version);
extern void validate_not_negative(const char *parameter, int64 value);
extern void validate_created_at(TimestampTz created_at, TimestampTz now);
extern void validate_sizes(const StreamSnapshot *snapshot);
extern void warn_if_encoded_twice(const StreamSnapshot *snapshot);

extern void fetch_external(StreamSnapshot *snapshot);

/*
 * Is a snapshot's time further ahead of the clock than clocks may differ?
 * Where the latest time counts, it would win for as long.
 */
static inline bool
is_too_far_ahead(TimestampTz created_at, TimestampTz now)
{
	return created_at > now + USECS_PER_DAY;
}

extern text *copy_stream_id(const text *stream_id);
extern int	compare_stream_ids(const text *a, const text *b);
extern bool has_prefix(const text *stream_id, const text *prefix);
extern bool is_recognized(const RecognizedVersions *recognized, int64 version);
extern bool is_within_bounds(const SnapshotHeader *header,
							 const SnapshotBounds *bounds);
extern bool is_more_recent(const SnapshotHeader *a, const SnapshotHeader *b);
extern bool should_take_snapshot(int64 event_count, int64 last_sequence_number,
								 int64 interval);

#endif							/* SNAPSHOT_STORE_STREAM_SNAPSHOT_H */
