/*
 * samples.c
 *		Some states of a kind, to train a dictionary on.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heaptoast.h"
#include "access/toast_internals.h"
#include "common/pg_prng.h"
#include "utils/memutils.h"

#include "dictionary.h"
#include "packed_state.h"
#include "samples.h"
#include "stream_walk.h"

/* How many bytes all samples may have: training takes some times as many. */
#define MAX_BYTES	(32 * 1024 * 1024)

/* What receive_sample needs. */
typedef struct Collection
{
	const StoreTable *table;
	Samples    *samples;
	int			max_count;		/* without a key, a table can give more */
	Size		bytes;
	MemoryContext context;
} Collection;

/*
 * Choose streams of the kind at random, each with the same chance (Vitter's
 * algorithm R), but always the same ones of the same table.  Of each, one row:
 * what all snapshots of one stream have in common is that stream's own.
 */
static int
choose_keys(const StoreTable *table, const text *prefix, bool of_one_version,
			int64 state_schema_version, int max_keys, KeyPosition *keys,
			int64 *snapshots)
{
	KeyPosition start = {unconstify(text *, prefix), BEFORE_ALL_SLOTS};
	StreamWalk	walk;
	pg_prng_state random;
	bool		first;
	int64		last_stream = 0;
	uint64		streams = 0;
	int			count = 0;

	pg_prng_seed(&random, 0);
	*snapshots = 0;
	stream_walk_begin(table, prefix, &start, TABLE_WALK_FETCH, &walk);
	while (stream_walk_next(&walk, &first))
	{
		uint64		place;

		if (of_one_version && walk.keys.state_schema_version != state_schema_version)
			continue;
		(*snapshots)++;
		if (walk.number == last_stream)
			continue;
		last_stream = walk.number;
		place = count < max_keys ? count : pg_prng_uint64_range(&random, 0, streams);
		streams++;
		if (place >= max_keys)
			continue;
		if (place == count)
			count++;
		else
			pfree(keys[place].stream_id);
		keys[place].stream_id = copy_stream_id(walk.keys.at.stream_id);
		keys[place].slot = walk.keys.at.slot;
	}
	table_walk_end(&walk.keys);

	/* What there is no room for is left out at random, too. */
	for (int i = count - 1; i > 0; i--)
	{
		int			place = pg_prng_uint64_range(&random, 0, i);
		KeyPosition key = keys[i];

		keys[i] = keys[place];
		keys[place] = key;
	}
	return count;
}

/* How many bytes the server would make of a state. */
static int
server_size(const StoreTable *table, struct varlena *plain)
{
	TupleDesc	desc = RelationGetDescr(table->relation);
	Form_pg_attribute attribute = TupleDescAttr(desc, Anum_state - 1);
	char		method = desc->natts == Natts_snapshot_store ?
		attribute->attcompression : InvalidCompressionMethod;
	Datum		compressed = (Datum) 0;

	if (VARSIZE(plain) > TOAST_TUPLE_TARGET)
		compressed = toast_compress_datum(PointerGetDatum(plain), method);
	return (compressed != (Datum) 0 ? VARSIZE(DatumGetPointer(compressed)) : VARSIZE(plain)) - VARHDRSZ;
}

static void
receive_sample(const StreamSnapshot *row, void *arg)
{
	Collection *collection = arg;
	Samples    *samples = collection->samples;
	uint64		missing;
	Datum		state = dictionary_unpack(RelationGetNamespace(collection->table->relation),
										  row->state, &missing);
	struct varlena *plain;
	MemoryContext caller;
	Size		size;

	if (state == (Datum) 0 ||	/* its dictionary is missing */
		samples->count == collection->max_count)
		return;
	size = toast_raw_datum_size(state) - VARHDRSZ;
	if (size > PACKED_STATE_MAX_BYTES || collection->bytes + size > MAX_BYTES)
		return;
	caller = MemoryContextSwitchTo(collection->context);
	plain = palloc(VARHDRSZ + size);
	MemoryContextSwitchTo(caller);
	SET_VARSIZE(plain, VARHDRSZ + size);
	memcpy(VARDATA(plain), VARDATA_ANY(DatumGetPointer(state)), size);
	samples->states[samples->count] = plain;
	samples->stored_sizes[samples->count] = server_size(collection->table, plain);
	samples->count++;
	collection->bytes += size;
}

/*
 * collect_samples
 *		Read JSON states of up to max_samples streams with the prefix and, if so,
 *		of one schema version, chosen at random; by the active snapshot.
 *
 * States that are too large to be packed are left out.
 */
void
collect_samples(const StoreTable *table, const text *prefix, bool of_one_version,
				int64 state_schema_version, int max_samples, Samples *samples)
{
	KeyPosition *keys = palloc(max_samples * sizeof(KeyPosition));
	int			count = choose_keys(table, prefix, of_one_version,
									state_schema_version, max_samples, keys,
									&samples->snapshots);
	Collection	collection = {table, samples, count, 0, CurrentMemoryContext};
	KeyBatch	batch;

	samples->count = 0;
	samples->states = palloc(count * sizeof(struct varlena *));
	samples->stored_sizes = palloc(count * sizeof(int));
	key_batch_begin(&batch);
	for (int i = 0; i < count; i++)
		key_batch_add(&batch, &keys[i]);
	table_read_states(table, key_batch_stream_ids(&batch), key_batch_slots(&batch),
					  false, receive_sample, &collection);

	/* The others' states are too large, or bytea. */
	if (count > 0)
		samples->snapshots = samples->snapshots * samples->count / count;
}
