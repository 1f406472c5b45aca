/*
 * fail_malloc.c
 *		Lets a server process run out of memory at a chosen allocation.
 *
 * Preloaded into the server (LD_PRELOAD) it takes the place of malloc; loaded
 * again by CREATE FUNCTION it is the same object, so that SQL can tell it when
 * to fail:
 *
 *		fail_malloc(nth bigint, times bigint) RETURNS bigint
 *
 * From now on, the nth allocation of this process fails, and as many in a row
 * as times says; none if nth is 0.  Returns how many allocations there were
 * since the call before.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT Datum fail_malloc(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(fail_malloc);

/* How glibc calls its own, whoever takes their place. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *pointer, size_t size);

static int64 allocations;
static int64 first_failing;		/* counted from 1 */
static int64 last_failing;

/*
 * The server keeps up to 100 deleted memory contexts of either of two sizes,
 * and hands them out again without a malloc.  Held here, they leave it none.
 */
#define NUM_KEPT	100

static MemoryContext held[2][NUM_KEPT];

static bool
fails(void)
{
	allocations++;
	return allocations >= first_failing && allocations <= last_failing;
}

void *
malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *pointer, size_t size)
{
	return fails() ? NULL : __libc_realloc(pointer, size);
}

Datum
fail_malloc(PG_FUNCTION_ARGS)
{
	int64		nth = PG_GETARG_INT64(0);
	int64		times = PG_GETARG_INT64(1);
	int64		before = allocations;

	first_failing = last_failing = 0;
	for (int i = 0; i < NUM_KEPT; i++)
	{
		if (held[0][i] != NULL)
		{
			MemoryContextDelete(held[0][i]);
			MemoryContextDelete(held[1][i]);
			held[0][i] = held[1][i] = NULL;
		}
		if (nth > 0)
		{
			held[0][i] = AllocSetContextCreate(NULL, "held", ALLOCSET_DEFAULT_SIZES);
			held[1][i] = AllocSetContextCreate(NULL, "held", ALLOCSET_SMALL_SIZES);
		}
	}
	allocations = 0;
	if (nth > 0)
	{
		first_failing = nth;
		last_failing = nth + times - 1;
	}
	PG_RETURN_INT64(before);
}
