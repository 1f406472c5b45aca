/*
 * statistics.c
 *		What the store has done, counted by kind of stream.
 *
 * The counters are atomics in shared memory (shared_memory.c), or, where there
 * is none to be had, in the session's own.  They are found by database and kind:
 * what stands in a stream's name before its first separator.  Nothing here
 * takes a lock or fails.
 *
 * An entry, once made, stays as long as its database: who counts needs no more
 * than to see that it is complete.  A dropped database has no sessions, so nobody
 * counts there any more: who reads the statistics, and finds it gone, gives its
 * places back.  A reset notes what the counters had, and what is read is the
 * difference: nobody who counts meanwhile is lost.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "settings.h"
#include "shared_memory.h"
#include "statistics.h"

/*
 * How many kinds a database may have: the rest is counted together, as are
 * streams without a kind.  One database with that many leaves room for others.
 */
#define MAX_KINDS			100
#define SHARED_ENTRIES		1024
#define SESSION_ENTRIES		128

/* How far from its place an entry may be: what a kind without one costs. */
#define MAX_PROBES			64

/* How many milliseconds to wait for another session to complete an entry. */
#define PATIENCE			1000

/*
 * An entry's state goes from one phase to the next, by one, and from the last
 * to the second: it is another one each time that the entry is taken.
 */
typedef enum EntryPhase
{
	ENTRY_FREE,					/* never taken: no search goes on beyond it */
	ENTRY_CLAIMED,				/* somebody is filling it in */
	ENTRY_READY,
	ENTRY_VACANT				/* its database was dropped */
} EntryPhase;

#define PHASE(state)	((EntryPhase) ((state) % 4))

typedef struct Entry
{
	pg_atomic_uint32 state;
	Oid			database;
	int			kind_length;	/* 0: the rest */
	char		kind[KIND_MAX_BYTES];
	pg_atomic_uint64 since;		/* when its database began to count */
	pg_atomic_uint64 counters[NUM_COUNTERS];
	pg_atomic_uint64 baseline[NUM_COUNTERS];
} Entry;

/*
 * The name is the cluster's, and another size under the same name would be an
 * error: whenever the layout changes, its number must, too.
 */
#define SHARED_STATISTICS	"snapshot_store statistics 1"

typedef struct Statistics
{
	TimestampTz since;
	int			size;			/* of the hash table */
	Entry		entries[FLEXIBLE_ARRAY_MEMBER];
} Statistics;

#define STATISTICS_SIZE(n) \
	(offsetof(Statistics, entries) + (n) * sizeof(Entry))

/* Snapshots that the running transaction has stored, so far. */
typedef struct Pending
{
	Entry	   *entry;
	int			nest_level;
	uint64		saves;
	uint64		bytes;
} Pending;

bool		snapshot_store_track;

static Statistics *statistics = NULL;
static bool are_shared = false;

/* The kind that was counted last: most sessions are at one kind for a while. */
static Entry *last_entry = NULL;

/* Does the database have MAX_KINDS?  It stays so. */
static bool kinds_are_full = false;

/* A stack: deeper levels of nested transactions are at the end. */
static Pending first_pending[16];
static Pending *pending = first_pending;
static int	pending_count = 0;
static int	pending_allocated = lengthof(first_pending);

/* Fresh memory is not necessarily zero. */
static void
initialize(Statistics *fresh, int size)
{
	fresh->since = GetCurrentTimestamp();
	fresh->size = size;
	for (int i = 0; i < size; i++)
	{
		Entry	   *entry = &fresh->entries[i];

		pg_atomic_init_u32(&entry->state, ENTRY_FREE);
		pg_atomic_init_u64(&entry->since, fresh->since);
		for (int c = 0; c < NUM_COUNTERS; c++)
		{
			pg_atomic_init_u64(&entry->counters[c], 0);
			pg_atomic_init_u64(&entry->baseline[c], 0);
		}
	}
}

static void
initialize_shared(void *memory)
{
	initialize(memory, SHARED_ENTRIES);
}

/* Called as the postmaster loads the library, if it does. */
void
statistics_reserve(void)
{
	shared_memory_reserve(SHARED_STATISTICS, STATISTICS_SIZE(SHARED_ENTRIES),
						  initialize_shared);
}

/* Find where to count. */
static void
attach(void)
{
	static uint64 session_memory[STATISTICS_SIZE(SESSION_ENTRIES) / sizeof(uint64)];

	statistics = shared_memory_attach(SHARED_STATISTICS,
									  STATISTICS_SIZE(SHARED_ENTRIES),
									  initialize_shared);
	are_shared = statistics != NULL;
	if (!are_shared)
	{
		statistics = (Statistics *) session_memory;
		initialize(statistics, SESSION_ENTRIES);
	}
}

static inline bool
is_separator(char c)
{
	return c == '-' || c == ':' || c == '/' || c == '|' || c == '#';
}

/* The bytes before the first separator, or 0: no kind, or none that is kept. */
static int
kind_length(const text *stream_id)
{
	const char *name = VARDATA_ANY(stream_id);
	int			length = Min(VARSIZE_ANY_EXHDR(stream_id), KIND_MAX_BYTES + 1);

	for (int i = 0; i < length; i++)
	{
		if (is_separator(name[i]))
			return i;
	}
	return 0;
}

/*
 * Is an entry that was found earlier still this database's?  It may be another
 * one's only if a database that was being found gone has come back meanwhile:
 * by CREATE DATABASE with its OID.
 */
static inline bool
is_own(const Entry *entry)
{
	return entry->database == MyDatabaseId;
}

/* Is the entry complete? */
static bool
is_ready(Entry *entry)
{
	uint32		state = pg_atomic_read_u32(&entry->state);

	pg_read_barrier();
	return PHASE(state) == ENTRY_READY;
}

/* The same, after a wait for who is filling it in. */
static bool
becomes_ready(Entry *entry)
{
	for (int patience = PATIENCE;
		 PHASE(pg_atomic_read_u32(&entry->state)) == ENTRY_CLAIMED && patience > 0; patience--)
		pg_usleep(1000);
	return is_ready(entry);
}

/* May this database have another kind? */
static bool
has_room_for_kind(void)
{
	int			kinds = 0;

	for (int i = 0; i < statistics->size && !kinds_are_full; i++)
	{
		Entry	   *entry = &statistics->entries[i];

		if (is_ready(entry) && entry->database == MyDatabaseId &&
			entry->kind_length > 0)
			kinds_are_full = ++kinds >= MAX_KINDS;
	}
	return !kinds_are_full;
}

/* When did this database begin to count, the last time? */
static TimestampTz
counting_since(void)
{
	TimestampTz since = statistics->since;

	for (int i = 0; i < statistics->size; i++)
	{
		Entry	   *entry = &statistics->entries[i];

		if (is_ready(entry) && entry->database == MyDatabaseId)
			since = Max(since, (TimestampTz) pg_atomic_read_u64(&entry->since));
	}
	return since;
}

/* What the entry has counted so far is not shown any more. */
static void
begin_anew(Entry *entry, TimestampTz since)
{
	for (int c = 0; c < NUM_COUNTERS; c++)
		pg_atomic_write_u64(&entry->baseline[c],
							pg_atomic_read_u64(&entry->counters[c]));
	pg_atomic_write_u64(&entry->since, since);
}

/* Take an entry that is free or vacant; false if somebody else was quicker. */
static bool
take(Entry *entry, uint32 state, const char *kind, int length)
{
	uint32		claimed = state + (PHASE(state) == ENTRY_FREE ? 1 : 2);

	if (!pg_atomic_compare_exchange_u32(&entry->state, &state, claimed))
		return false;
	entry->database = MyDatabaseId;
	entry->kind_length = length;
	memcpy(entry->kind, kind, length);
	begin_anew(entry, counting_since());
	pg_write_barrier();
	pg_atomic_write_u32(&entry->state, claimed + 1);
	return true;
}

/* The entry of a kind, made if need be and may_add; NULL if that cannot be. */
static Entry *
find_entry(const char *kind, int length, bool may_add)
{
	uint32		hash = hash_bytes_uint32(MyDatabaseId) ^
		hash_bytes((const unsigned char *) kind, length);

	for (;;)
	{
		Entry	   *place = NULL;
		uint32		state_of_place = ENTRY_FREE;

		for (int i = 0; i < Min(statistics->size, MAX_PROBES); i++)
		{
			Entry	   *entry = &statistics->entries[(hash + i) % statistics->size];
			uint32		state = pg_atomic_read_u32(&entry->state);

			if (PHASE(state) == ENTRY_FREE || PHASE(state) == ENTRY_VACANT)
			{
				if (place == NULL)
				{
					place = entry;
					state_of_place = state;
				}
				if (PHASE(state) == ENTRY_FREE)
					break;
				continue;
			}
			if (!becomes_ready(entry))
				return NULL;
			if (entry->database == MyDatabaseId &&
				entry->kind_length == length &&
				memcmp(entry->kind, kind, length) == 0)
				return entry;
		}
		if (place == NULL || !may_add || (length > 0 && !has_room_for_kind()))
			return NULL;
		if (take(place, state_of_place, kind, length))
			return place;
		/* The other one may have taken it for the same kind: look again. */
	}
}

/* Where to count a stream of another kind than the last. */
static pg_noinline Entry *
look_up_entry(const text *stream_id)
{
	const char *kind = VARDATA_ANY(stream_id);
	int			length = kind_length(stream_id);
	Entry	   *entry;

	if (statistics == NULL)
		attach();
	entry = find_entry(kind, length, snapshot_store_enabled);
	if (entry == NULL)
		return find_entry(kind, 0, true);
	if (length > 0)
		last_entry = entry;
	return entry;
}

/*
 * Where to count what concerns a stream; NULL if nowhere, or if nothing is to
 * be counted.  While the store is off, nobody's privileges are looked at: that
 * makes no new kinds.
 */
static inline Entry *
entry_of(const text *stream_id)
{
	const char *kind = VARDATA_ANY(stream_id);
	Entry	   *entry = last_entry;

	if (!snapshot_store_track)
		return NULL;

	/* A kind has no separator in it. */
	if (entry != NULL && entry->kind_length < VARSIZE_ANY_EXHDR(stream_id) &&
		is_separator(kind[entry->kind_length]) &&
		memcmp(entry->kind, kind, entry->kind_length) == 0 &&
		is_own(entry))
		return entry;
	return look_up_entry(stream_id);
}

static inline void
add(Entry *entry, Counter counter, uint64 n)
{
	pg_atomic_fetch_add_u64(&entry->counters[counter], n);
}

/* Count one of what concerns a stream. */
void
count_for_stream(Counter counter, const text *stream_id)
{
	Entry	   *entry = entry_of(stream_id);

	if (entry != NULL)
		add(entry, counter, 1);
}

static inline uint64
state_bytes(const StreamSnapshot *snapshot)
{
	struct varlena *state = (struct varlena *) DatumGetPointer(snapshot->state);

	return VARATT_IS_EXTENDED(state) ?
		toast_raw_datum_size(snapshot->state) - VARHDRSZ : VARSIZE(state) - VARHDRSZ;
}

/* Count a snapshot that was loaded. */
void
count_found(const StreamSnapshot *found)
{
	Entry	   *entry = entry_of(found->stream_id);

	if (entry != NULL)
	{
		add(entry, LOADS_FOUND, 1);
		add(entry, BYTES_LOADED, state_bytes(found));
	}
}

/* A batch counts for the kind of its first stream. */
void
count_batch(Counter batches, Counter streams, const text *first_stream_id, int count)
{
	Entry	   *entry = entry_of(first_stream_id);

	if (entry != NULL)
	{
		add(entry, batches, 1);
		add(entry, streams, count);
	}
}

/* ---- what was stored counts when the transaction ends ---- */

static void
count_stored_now(const Pending *stored)
{
	if (is_own(stored->entry))
	{
		add(stored->entry, SAVES_STORED, stored->saves);
		add(stored->entry, BYTES_SAVED, stored->bytes);
	}
}

static void
count_rolled_back(const Pending *stored)
{
	if (is_own(stored->entry))
		add(stored->entry, SAVES_ROLLED_BACK, stored->saves);
}

/* Make room for more; false for want of memory. */
static bool
enlarge_pending(void)
{
	int			allocated = 2 * pending_allocated;
	Pending    *larger = MemoryContextAllocExtended(TopMemoryContext,
													allocated * sizeof(Pending),
													MCXT_ALLOC_NO_OOM);

	if (larger == NULL)
		return false;
	memcpy(larger, pending, pending_count * sizeof(Pending));
	if (pending != first_pending)
		pfree(pending);
	pending = larger;
	pending_allocated = allocated;
	return true;
}

/* Add to what a level of nesting has stored; each entry is there once. */
static inline void
add_pending(Entry *entry, int nest_level, uint64 saves, uint64 bytes)
{
	Pending		stored = {entry, nest_level, saves, bytes};

	for (int i = pending_count - 1;
		 i >= 0 && pending[i].nest_level == nest_level; i--)
	{
		if (pending[i].entry == entry)
		{
			pending[i].saves += saves;
			pending[i].bytes += bytes;
			return;
		}
	}
	if (pending_count < pending_allocated || enlarge_pending())
		pending[pending_count++] = stored;
	else
		count_stored_now(&stored);
}

/* A prepared transaction counts as committed. */
static void
at_end_of_transaction(XactEvent event, void *arg)
{
	bool		committed = event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE;

	if (!committed && event != XACT_EVENT_ABORT)
		return;
	for (int i = 0; i < pending_count; i++)
	{
		if (committed)
			count_stored_now(&pending[i]);
		else
			count_rolled_back(&pending[i]);
	}
	pending_count = 0;
}

static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId id,
						 SubTransactionId parent, void *arg)
{
	int			nest_level = GetCurrentTransactionNestLevel();
	int			end = pending_count;
	int			begin = end;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (begin > 0 && pending[begin - 1].nest_level >= nest_level)
		begin--;
	pending_count = begin;
	for (int i = begin; i < end; i++)
	{
		Pending		stored = pending[i];

		if (event == SUBXACT_EVENT_ABORT_SUB)
			count_rolled_back(&stored);
		else
			add_pending(stored.entry, nest_level - 1, stored.saves, stored.bytes);
	}
}

/* Count a snapshot that was stored, once its transaction has ended. */
void
count_stored(const StreamSnapshot *snapshot)
{
	static bool registered = false;
	Entry	   *entry = entry_of(snapshot->stream_id);

	if (entry == NULL)
		return;
	if (!registered)
	{
		RegisterXactCallback(at_end_of_transaction, NULL);
		RegisterSubXactCallback(at_end_of_subtransaction, NULL);
		registered = true;
	}
	add_pending(entry, GetCurrentTransactionNestLevel(), 1, state_bytes(snapshot));
}

/* ---- reading ---- */

/*
 * statistics_read
 *		Call the receiver with what was counted, for each database and kind.
 *
 * A kind may come twice: two sessions that look for a place for it at the same
 * time may find different ones, if one becomes vacant between their looks.
 */
void
statistics_read(StatisticsReceiver receive, void *arg)
{
	if (statistics == NULL)
		attach();
	for (int i = 0; i < statistics->size; i++)
	{
		Entry	   *entry = &statistics->entries[i];
		uint32		state = pg_atomic_read_u32(&entry->state);
		KindStatistics kind;

		if (PHASE(state) != ENTRY_READY)
			continue;
		pg_read_barrier();
		kind.database = entry->database;
		kind.kind_length = entry->kind_length;
		memcpy(kind.kind, entry->kind, KIND_MAX_BYTES);
		kind.since = pg_atomic_read_u64(&entry->since);
		kind.are_shared = are_shared;
		for (int c = 0; c < NUM_COUNTERS; c++)
		{
			uint64		baseline = pg_atomic_read_u64(&entry->baseline[c]);

			pg_read_barrier();
			kind.counters[c] = pg_atomic_read_u64(&entry->counters[c]) - baseline;
		}
		pg_read_barrier();
		if (pg_atomic_read_u32(&entry->state) == state)
			receive(&kind, arg);
	}
}

/* statistics_forget: give back the places of a database that was dropped. */
void
statistics_forget(Oid database)
{
	for (int i = 0; i < statistics->size; i++)
	{
		Entry	   *entry = &statistics->entries[i];
		uint32		state = pg_atomic_read_u32(&entry->state);

		/* Who else forgets it is welcome. */
		if (is_ready(entry) && entry->database == database)
			(void) pg_atomic_compare_exchange_u32(&entry->state, &state, state + 1);
	}
}

/* statistics_reset: what this database has counted so far is no longer shown. */
void
statistics_reset(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (statistics == NULL)
		attach();
	for (int i = 0; i < statistics->size; i++)
	{
		Entry	   *entry = &statistics->entries[i];

		if (is_ready(entry) && entry->database == MyDatabaseId)
			begin_anew(entry, now);
	}
}
