/*
 * repack.c
 *		Packs stored states by the dictionaries that are active now.
 */
#include "postgres.h"

#include "dictionary.h"
#include "packed_state.h"
#include "relation.h"
#include "repack.h"
#include "stream_walk.h"

typedef struct Repacking
{
	const StoreTable *table;
	uint64		repacked;
} Repacking;

/* Write a state anew, if it is not packed as it would be now. */
static void
repack_row(const StreamSnapshot *row, void *arg)
{
	Repacking  *repacking = arg;
	Oid			schema = RelationGetNamespace(repacking->table->relation);
	DictionaryChoice choice = dictionary_choose(repacking->table, row->stream_id,
												row->header.state_schema_version);
	struct varlena *stored = PG_DETOAST_DATUM_PACKED(row->state);
	bool		was_packed = is_packed(stored);
	Datum		plain;
	Datum		state;
	uint64		missing;

	if (was_packed == choice.any &&
		(!was_packed || packed_by(stored) == choice.number))
		return;
	plain = dictionary_unpack(schema, PointerGetDatum(stored), &missing);
	if (plain == (Datum) 0)
		return;					/* its dictionary is missing: loads say so */
	state = dictionary_pack(schema, &choice, plain);
	if (was_packed || state != plain)
		repacking->repacked += table_set_state(repacking->table, row, state);
}

static bool
is_repacked(int64 state_schema_version, void *arg)
{
	return true;
}

static uint64
repack_rows(const StoreTable *table, const KeyBatch *keys, void *arg)
{
	Repacking	repacking = {table, 0};

	table_read_states(table, key_batch_stream_ids(keys), key_batch_slots(keys),
					  true, repack_row, &repacking);
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
	BatchWork	work = {"repacked", PURGE_PRIVILEGES, is_repacked, repack_rows, NULL};

	return work_in_batches(function, prefix, batch_size, &work);
}
