/*
 * dictionary.h
 *		The dictionaries by which states are packed, and which is whose.
 *
 * They are in the tables named snapshot_dictionary and snapshot_dictionary_part
 * in the schema of the SQL function that was called.  None is ever deleted, nor
 * is its content changed: what was packed once can always be read.
 */
#ifndef SNAPSHOT_STORE_DICTIONARY_H
#define SNAPSHOT_STORE_DICTIONARY_H

#include "datatype/timestamp.h"

#include "table.h"

#define DICTIONARY_TABLE_NAME	"snapshot_dictionary"
#define STATE_TYPE_NAME			"snapshot_state"

/* A dictionary but for its content. */
typedef struct Dictionary
{
	uint64		number;			/* as its content says: see packed_state.c */
	text	   *stream_id_prefix;
	bool		of_one_version;
	int64		state_schema_version;	/* if so */
	int			level;
	bool		active;			/* or retired: it only unpacks */
	TimestampTz trained_at;
	int			samples;
	double		ratio;
	int			size;			/* of its content */
} Dictionary;

/* Called with each dictionary. */
typedef void (*DictionaryReceiver) (const Dictionary *dictionary, void *arg);

/* What packs a state of a stream, if anything. */
typedef struct DictionaryChoice
{
	bool		any;
	uint64		number;
} DictionaryChoice;

extern bool is_state_type(Oid type, Oid schema);

extern DictionaryChoice dictionary_choose(const StoreTable *table,
										  const text *stream_id,
										  int64 state_schema_version);
extern Datum dictionary_pack(Oid schema, const DictionaryChoice *choice,
							 Datum state);
extern Datum dictionary_unpack(Oid schema, Datum state, uint64 *missing);

extern void dictionary_read(Oid schema, DictionaryReceiver receive, void *arg);
extern void dictionary_add(Oid schema, Dictionary *dictionary, char *content);
extern bool dictionary_retire(Oid schema, uint64 number);

#endif							/* SNAPSHOT_STORE_DICTIONARY_H */
