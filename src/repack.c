/*
 * repack.c
 *		Packs stored states by the dictionaries that are active now.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/array.h"

#include "citus.h"
#include "dictionary.h"
#include "packed_state.h"
#include "relation.h"
#include "repack.h"
#include "stream_walk.h"

typedef struct Repacking
{
	const StoreTable *table;
	KeyBatch	keys;			/* of what is not packed as it would be now */
	uint64		repacked;
} Repacking;

static DictionaryChoice
choose(const Repacking *repacking, const StreamSnapshot *row)
{
	return dictionary_choose(repacking->table, row->stream_id,
							 row->header.state_schema_version);
}

/* Is the value, or its beginning, packed as the choice says? */
static bool
is_packed_by(const struct varlena *stored, const DictionaryChoice *choice)
{
	return choice->any ? is_packed(stored) && packed_by(stored) == choice->number :
		!is_packed(stored);
}

/* Look at the beginning of a state, and remember its row's key if need be. */
static void
look_at_row(const StreamSnapshot *row, void *arg)
{
	Repacking  *repacking = arg;
	DictionaryChoice choice = choose(repacking, row);
	KeyPosition key = {row->stream_id, row->header.slot};

	if (toast_raw_datum_size(row->state) - VARHDRSZ > PACKED_STATE_MAX_BYTES ||
		is_packed_by(PG_DETOAST_DATUM_SLICE(row->state, 0, PACKED_HEAD_BYTES), &choice))
		return;
	key_batch_add(&repacking->keys, &key);
}

/* Write a state anew, which is locked now. */
static void
repack_row(const StreamSnapshot *row, void *arg)
{
	Repacking  *repacking = arg;
	const StoreTable *table = repacking->table;
	Oid			schema = RelationGetNamespace(table->relation);
	DictionaryChoice choice = choose(repacking, row);
	struct varlena *stored = PG_DETOAST_DATUM_PACKED(row->state);
	uint64		missing;
	Datum		plain;
	Datum		state;

	if (is_packed_by(stored, &choice))
		return;
	plain = dictionary_unpack(schema, PointerGetDatum(stored), &missing);
	if (plain == (Datum) 0)
		return;					/* its dictionary is missing: loads say so */
	state = plain;
	if (choice.any)
	{
		state = dictionary_pack(schema, &choice, plain);
		if (state == plain)
			return;				/* it is not worth it */
	}
	else if (table->key != NULL)
		state = table_compress_state(table->relation, Anum_state, plain);
	repacking->repacked += table_set_state(table, row, state);
}

static uint64
repack_rows(const StoreTable *table, const KeyBatch *keys, const BatchWork *work)
{
	Repacking	repacking = {.table = table};

	if (table->access->distributed)
		citus_refuse_dictionaries();
	key_batch_begin(&repacking.keys);
	table_read_states(table, key_batch_stream_ids(keys), key_batch_slots(keys),
					  false, look_at_row, &repacking);
	if (repacking.keys.slots->nelems > 0)
		table_read_states(table, key_batch_stream_ids(&repacking.keys),
						  key_batch_slots(&repacking.keys), true, repack_row, &repacking);
	return repacking.repacked;
}

/*
 * repack_states
 *		Pack, in batches that commit, the states of streams with the prefix by
 *		the dictionaries that are active, or unpack those that have none;
 *		returns how many were written anew.
 *
 * Nothing but the states changes.  What a crash undoes is done by the next run.
 */
int64
repack_states(Oid function, text *prefix, int batch_size)
{
	SnapshotBounds none = {0};
	BatchWork	work = {"repacked", PURGE_PRIVILEGES, NULL, &none, repack_rows};

	return work_in_batches(function, prefix, batch_size, &work);
}
