/*
 * training.c
 *		A dictionary for states of one kind, from samples of them.
 *
 * What is in a dictionary stays there when the states that it came from are
 * gone.  So nothing of a single person's may get in: the content is put
 * together from stretches of text, and each of them is found, letter for
 * letter, in at least min_samples of the samples.  That one stretch follows
 * another in the dictionary does not tell that any sample has both.  All else
 * is masked before zstd sees a sample.
 *
 * Nothing here knows about JSON.  What holds for any text holds for a key, a
 * number, or a part of a string.
 */
#include "postgres.h"

#include <zdict.h>

#include "common/pg_prng.h"
#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "packed_state.h"
#include "training.h"

/*
 * Of more text than this, the rest is not trained on: it would make no better
 * dictionary.  The search needs up to 20 times as much memory, of
 * punctuation alone three times that.
 */
#define TRAINING_MAX_BYTES	(8 * 1024 * 1024)

/* A longer stretch is found in pieces. */
#define STRETCH_MAX_BYTES	512

/* The smallest dictionary that is tried. */
#define SMALLEST_DICTIONARY	2048

/*
 * What zstd's tables take of a dictionary, at most.  Of content that leaves no
 * room for them it would drop the end, which is the best.
 */
#define TABLES_BYTES		256

/* More than the trainer takes at any level. */
#define TRAINER_MEMORY		(32 * 1024 * 1024)

/* One that is twice as large must save a hundredth more. */
#define MOST_FOR_LARGER(bytes)	((bytes) - (bytes) / 100)

/* The length of the strings by which stretches are valued. */
#define GRAM	6
#define GRAM_BITS	18

/* To value stretches anew at each small change would take much longer. */
#define NEARLY	0.75

#define NOISE_SIZE	4096

/* What to train on. */
typedef struct TrainingText
{
	char	   *bytes;			/* one after another */
	size_t	   *sizes;
	int			count;
	int			size;			/* of all */
	int			min_samples;
} TrainingText;

/* What begins at one place: all that could be shared, then what is. */
typedef struct Stretch
{
	const char *bytes;
	int			length;
	int			sample;
	float		value;
} Stretch;

/* Stretches next to each other in the order of text, just enough of them. */
typedef struct Window
{
	int			end;
	int			shared;
} Window;

/* What dictionaries are cut from: the most valuable stretch is the last. */
typedef struct Content
{
	char	   *end;
	int			size;
} Content;

/* What a reference to a stretch costs, in bytes, depends on the states. */
static const int overheads[] = {0, 16};

/* Masked text, and what dictionaries are cut from, by what a reference costs. */
typedef struct Source
{
	TrainingText samples;
	Content		contents[lengthof(overheads)];
} Source;

/*
 * is_held_out
 *		Is a dictionary tested on this sample, and not trained on it?
 */
bool
is_held_out(int i)
{
	return i % 4 == 3;
}

/* Letters of any script, and digits, in every encoding of a database. */
static bool
is_of_word(char c)
{
	return IS_HIGHBIT_SET(c) || (c >= '0' && c <= '9') ||
		(c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* All of the samples, or those that nothing is tested on. */
static void
gather(struct varlena *const *samples, int count, bool all, int min_samples,
	   TrainingText *result)
{
	int64		size = 0;

	result->min_samples = min_samples;
	result->count = 0;
	result->size = 0;
	for (int i = 0; i < count; i++)
		size += VARSIZE_ANY_EXHDR(samples[i]);
	result->bytes = palloc(Min(size, TRAINING_MAX_BYTES) + 1);
	result->sizes = palloc(sizeof(size_t) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		int			length = VARSIZE_ANY_EXHDR(samples[i]);

		if ((is_held_out(i) && !all) || length > TRAINING_MAX_BYTES - result->size)
			continue;
		memcpy(result->bytes + result->size, VARDATA_ANY(samples[i]), length);
		result->size += length;
		result->sizes[result->count++] = length;
	}
}

/* A stretch begins where a word does, or at what is of no word. */
static Stretch *
find_starts(const TrainingText *samples, int *result_count)
{
	int			allocated = 1024;
	Stretch    *stretches = palloc(sizeof(Stretch) * allocated);
	const char *at = samples->bytes;
	int			count = 0;

	for (int i = 0; i < samples->count; i++)
	{
		const char *begin = at;
		const char *end = at + samples->sizes[i];

		for (; at < end; at++)
		{
			if (at > begin && is_of_word(at[-1]) && is_of_word(at[0]))
				continue;
			if (count == allocated)
			{
				allocated *= 2;
				stretches = repalloc(stretches, sizeof(Stretch) * allocated);
			}
			stretches[count].bytes = at;
			stretches[count].length = Min(end - at, STRETCH_MAX_BYTES);
			stretches[count].sample = i;
			count++;
		}
	}
	*result_count = count;
	return stretches;
}

static int
by_text(const void *a, const void *b)
{
	const Stretch *x = a;
	const Stretch *y = b;
	int			difference = memcmp(x->bytes, y->bytes, Min(x->length, y->length));

	CHECK_FOR_INTERRUPTS();
	return difference != 0 ? difference : x->length - y->length;
}

static int
by_place(const void *a, const void *b)
{
	const Stretch *x = a;
	const Stretch *y = b;

	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* How much two have in common, without a word that might go on in one. */
static int
common_length(const Stretch *x, const Stretch *y)
{
	int			most = Min(x->length, y->length);
	int			length = 0;

	while (length < most && x->bytes[length] == y->bytes[length])
		length++;
	while (length > 0 && is_of_word(x->bytes[length - 1]))
		length--;
	return length;
}

/*
 * Cut each stretch to the longest that min_samples samples have.
 *
 * In the order of text, what has a beginning in common stands together.  A
 * window of stretches from just enough samples has in common what its first
 * and its last have.  Each stretch is in several windows; the best counts.
 * Windows begin and end in the same order, so those that may still be the
 * best for some stretch are a queue in which they become worse.
 */
static void
find_shared(const TrainingText *samples, Stretch *stretches, int count)
{
	int		   *in_window = palloc0(sizeof(int) * (samples->count + 1));
	Window	   *queue = palloc(sizeof(Window) * (count + 1));
	int			enough = samples->min_samples;
	int			distinct = 0;
	int			end = 0;
	int			head = 0;
	int			tail = 0;

	qsort(stretches, count, sizeof(Stretch), by_text);
	for (int i = 0; i < count; i++)
	{
		int			shared = 0;

		CHECK_FOR_INTERRUPTS();
		while (end < count && distinct < enough)
		{
			if (in_window[stretches[end++].sample]++ == 0)
				distinct++;
		}
		if (distinct >= enough)
			shared = common_length(&stretches[i], &stretches[end - 1]);
		while (tail > head && queue[tail - 1].shared <= shared)
			tail--;
		queue[tail].end = end;
		queue[tail].shared = shared;
		tail++;
		while (queue[head].end <= i)
			head++;
		stretches[i].length = queue[head].shared;
		if (--in_window[stretches[i].sample] == 0)
			distinct--;
	}
	qsort(stretches, count, sizeof(Stretch), by_place);
	pfree(queue);
	pfree(in_window);
}

/*
 * Keep the stretches that are part of no longer one.  They may overlap: what
 * comes before and after a value differs.
 */
static int
remove_parts(Stretch *stretches, int count)
{
	const char *covered = NULL;
	int			n = 0;

	for (int i = 0; i < count; i++)
	{
		const char *end = stretches[i].bytes + stretches[i].length;

		if (stretches[i].length < GRAM || end <= covered)
			continue;
		covered = end;
		stretches[n++] = stretches[i];
	}
	return n;
}

/*
 * Overwrite what is in no stretch by noise of the same length.  For its tables
 * zstd counts the bytes that no dictionary foresees, and the noise is like
 * them: it is drawn from the bytes that it replaces, as far as enough samples
 * have them there.
 */
static void
mask(const TrainingText *samples, const Stretch *stretches, int count)
{
	bool	   *masked = palloc(samples->size + 1);
	int			seen_in[256];
	int			distinct[256] = {0};
	int64		number[256] = {0};
	int64		total = 0;
	int64		sum = 0;
	unsigned char noise[NOISE_SIZE];
	int			n = 0;
	int			at = 0;
	pg_prng_state state;

	memset(masked, true, samples->size);
	for (int i = 0; i < count; i++)
		memset(masked + (stretches[i].bytes - samples->bytes), false, stretches[i].length);

	memset(seen_in, -1, sizeof(seen_in));
	for (int i = 0; i < samples->count; i++)
	{
		for (int end = at + samples->sizes[i]; at < end; at++)
		{
			unsigned char byte = samples->bytes[at];

			if (!masked[at])
				continue;
			number[byte]++;
			if (seen_in[byte] != i)
				distinct[byte]++;
			seen_in[byte] = i;
		}
	}
	for (int byte = 0; byte < 256; byte++)
	{
		if (distinct[byte] < samples->min_samples)
			number[byte] = 0;
		total += number[byte];
	}
	if (total == 0)
		total = number['0'] = 1;
	for (int byte = 0; byte < 256; byte++)
	{
		sum += number[byte];
		while (n < sum * NOISE_SIZE / total)
			noise[n++] = byte;
	}

	/* The same samples must make the same dictionary. */
	pg_prng_seed(&state, 0);
	for (at = 0; at < samples->size; at++)
	{
		if (masked[at])
			samples->bytes[at] = noise[pg_prng_uint32(&state) % NOISE_SIZE];
	}
	pfree(masked);
}

static uint32 *
frequency_of(uint32 *frequencies, const char *gram)
{
	uint64		value = 0;

	memcpy(&value, gram, GRAM);
	return &frequencies[value * UINT64CONST(0x9E3779B97F4A7C15) >> (64 - GRAM_BITS)];
}

/* What a stretch adds to those that are in the dictionary, by its length. */
static float
stretch_value(const Stretch *stretch, uint32 *frequencies, int overhead)
{
	double		sum = 0;

	for (int i = 0; i + GRAM <= stretch->length; i++)
		sum += *frequency_of(frequencies, stretch->bytes + i);
	return sum / (stretch->length + overhead);
}

static int
by_value(Datum a, Datum b, void *arg)
{
	const Stretch *x = (const Stretch *) DatumGetPointer(a);
	const Stretch *y = (const Stretch *) DatumGetPointer(b);

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return x < y ? 1 : x > y ? -1 : 0;
}

static int
remove_duplicates(Stretch *stretches, int count)
{
	int			n = 0;

	qsort(stretches, count, sizeof(Stretch), by_text);
	for (int i = 0; i < count; i++)
	{
		if (n == 0 || by_text(&stretches[i], &stretches[n - 1]) != 0)
			stretches[n++] = stretches[i];
	}
	return n;
}

/* How often each string is in what the samples share. */
static uint32 *
count_grams(const Stretch *stretches, int count)
{
	uint32	   *frequencies = palloc0(sizeof(uint32) << GRAM_BITS);
	const char *counted = NULL;

	for (int i = 0; i < count; i++)
	{
		const char *end = stretches[i].bytes + stretches[i].length - GRAM + 1;

		/* Stretches may overlap. */
		for (const char *gram = Max(stretches[i].bytes, counted); gram < end; gram++)
			(*frequency_of(frequencies, gram))++;
		counted = end;
	}
	return frequencies;
}

/*
 * Choose stretches until max_size is full: always one with most of what the
 * samples have often and the dictionary does not have yet.  Values only fall,
 * so one that was ahead and is still worth nearly as much will do.
 */
static void
choose_content(Stretch *stretches, int count, const uint32 *all_frequencies,
			   int overhead, int max_size, Content *content)
{
	uint32	   *frequencies = palloc(sizeof(uint32) << GRAM_BITS);
	binaryheap *best = binaryheap_allocate(count + 1, by_value, NULL);

	memcpy(frequencies, all_frequencies, sizeof(uint32) << GRAM_BITS);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		stretches[i].value = stretch_value(&stretches[i], frequencies, overhead);
		binaryheap_add_unordered(best, PointerGetDatum(&stretches[i]));
	}
	binaryheap_build(best);

	content->end = (char *) palloc(max_size) + max_size;
	content->size = 0;
	while (!binaryheap_empty(best))
	{
		Stretch    *stretch = (Stretch *) DatumGetPointer(binaryheap_first(best));
		float		value = stretch_value(stretch, frequencies, overhead);

		CHECK_FOR_INTERRUPTS();
		if (value < stretch->value * NEARLY)
		{
			stretch->value = value;
			binaryheap_replace_first(best, PointerGetDatum(stretch));
			continue;
		}
		(void) binaryheap_remove_first(best);
		if (value == 0 || stretch->length > max_size - content->size)
			continue;
		content->size += stretch->length;
		memcpy(content->end - content->size, stretch->bytes, stretch->length);
		for (int i = 0; i + GRAM <= stretch->length; i++)
			*frequency_of(frequencies, stretch->bytes + i) = 0;
	}
	binaryheap_free(best);
	pfree(frequencies);
}

/*
 * Up to 1.5.5, zstd's trainer uses what malloc did not give.  So see first
 * whether there is as much as it takes.
 */
static void
require_memory(void)
{
	void	   *memory = malloc(TRAINER_MEMORY);

	if (memory == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("zstd's trainer would not get %d bytes.", TRAINER_MEMORY)));
	free(memory);
}

static void
prepare_source(struct varlena *const *samples, int count, bool all,
			   const TrainingOptions *options, Source *source)
{
	Stretch    *stretches;
	uint32	   *frequencies;
	int			nstretches;

	gather(samples, count, all, options->min_samples, &source->samples);
	stretches = find_starts(&source->samples, &nstretches);
	find_shared(&source->samples, stretches, nstretches);
	nstretches = remove_parts(stretches, nstretches);
	mask(&source->samples, stretches, nstretches);
	frequencies = count_grams(stretches, nstretches);
	nstretches = remove_duplicates(stretches, nstretches);
	for (int i = 0; i < lengthof(overheads); i++)
		choose_content(stretches, nstretches, frequencies, overheads[i],
					   options->max_size, &source->contents[i]);
	pfree(stretches);
	pfree(frequencies);
}

/* Make one of at most that size; 0 of too little text, or all of it the same. */
static int
make_dictionary(const Source *source, int i, int size, int level, char *dictionary)
{
	const Content *content = &source->contents[i];
	const TrainingText *samples = &source->samples;
	ZDICT_params_t parameters = {.compressionLevel = level};
	int			used = Min(content->size, size - TABLES_BYTES);
	size_t		made;

	CHECK_FOR_INTERRUPTS();
	require_memory();
	made = ZDICT_finalizeDictionary(dictionary, size, content->end - used, used,
									samples->bytes, samples->sizes, samples->count,
									parameters);
	return ZDICT_isError(made) ? 0 : made;
}

/* How many bytes the samples that are held out take with a dictionary. */
static int64
test_dictionary(struct varlena *const *samples, int count,
				const char *dictionary, int size, int level)
{
	Packer	   *packer = packer_create(0, dictionary, size, level);
	int64		bytes = 0;

	for (int i = 0; i < count; i++)
	{
		struct varlena *packed;

		if (!is_held_out(i))
			continue;
		CHECK_FOR_INTERRUPTS();
		packed = pack_state(packer, samples[i]);
		bytes += VARSIZE_ANY_EXHDR(packed != NULL ? packed : samples[i]);
		if (packed != NULL)
			pfree(packed);
	}
	packer_free(packer);
	return bytes;
}

/*
 * train_dictionary
 *		Make dictionaries of every size from some of the samples, and see with
 *		which one the others take the fewest bytes.  One like it is made of all
 *		samples then: what min_samples of these share is more.
 *
 * To choose segments of text by the frequency of short strings in them, each
 * string counted only for the first that brings it, is from "Effective
 * Construction of Relative Lempel-Ziv Dictionaries" (Liao, Petri, Moffat,
 * Wirth; WWW 2016), as in zstd's own trainer, COVER.  That one takes segments
 * from anywhere, what a single sample has included, so it is not used.
 */
void
train_dictionary(struct varlena *const *samples, int count,
				 const TrainingOptions *options, TrainedDictionary *result)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "snapshot_store training",
												  ALLOCSET_DEFAULT_SIZES);
	char	   *dictionary = palloc(options->max_size);
	Source		source;
	int			largest = 0;
	int			best = 0;
	int			best_size = 0;	/* none */

	memset(result, 0, sizeof(TrainedDictionary));
	for (int i = 0; i < count; i++)
	{
		if (!is_held_out(i))
			continue;
		result->tested++;
		result->plain_bytes += VARSIZE_ANY_EXHDR(samples[i]);
	}
	result->packed_bytes = result->plain_bytes;

	MemoryContextSwitchTo(context);
	prepare_source(samples, count, false, options, &source);
	for (int i = 0; i < lengthof(overheads); i++)
		largest = Max(largest, source.contents[i].size);
	for (int size = Min(SMALLEST_DICTIONARY, options->max_size);;
		 size = Min(size * 2, options->max_size))
	{
		int64		enough = MOST_FOR_LARGER(result->packed_bytes);

		for (int i = 0; i < lengthof(overheads); i++)
		{
			int			made = make_dictionary(&source, i, size, options->level, dictionary);
			int64		bytes;

			if (made == 0)
				continue;
			bytes = test_dictionary(samples, count, dictionary, made, options->level);
			if (bytes >= Min(enough, result->packed_bytes))
				continue;
			best = i;
			best_size = size;
			result->packed_bytes = bytes;
		}
		if (size >= Min(largest + TABLES_BYTES, options->max_size))
			break;
	}

	if (best_size > 0)
	{
		MemoryContextReset(context);
		prepare_source(samples, count, true, options, &source);
		result->size = make_dictionary(&source, best, best_size, options->level, dictionary);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	if (result->size > 0)
		result->content = dictionary;
	else
		pfree(dictionary);
}
