/*
 * packed_state.c
 *		A JSON state, packed by a zstd dictionary of its kind.
 *
 * A packed state is a mark that no JSON begins with, the number of the
 * dictionary (big-endian), and a zstd frame with the state's size and a
 * checksum.
 */
#include "postgres.h"

#define ZSTD_STATIC_LINKING_ONLY	/* dictionaries in memory of ours */
#include <zstd.h>
#include <zstd_errors.h>

#include "common/hashfn.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "compat.h"
#include "packed_state.h"

#if defined(ZSTD_VERSION_NUMBER) && ZSTD_VERSION_NUMBER < 10405
#error "snapshot_store needs libzstd 1.4.5 or later"
#endif

#define MARK		'\001'

#define NUMBER_OFFSET	1
#define FRAME_OFFSET	(NUMBER_OFFSET + sizeof(uint64))

/* How large zstd expects a state to be that a dictionary is for. */
#define SMALL_SOURCE	513

/* A frame must save an eighth, or the state stays plain. */
#define MOST_WORTH_PACKING(size)	((size) / 8 * 7)

struct Packer
{
	MemoryContext context;		/* where all of it is */
	uint64		number;
	int			level;
	ZSTD_DDict *unpacking;
	ZSTD_CDict *packing;		/* made when it is needed */
	size_t		size;
	char		content[FLEXIBLE_ARRAY_MEMBER];
};

/* What zstd works in, for as long as the session lasts. */
static ZSTD_CCtx *compression = NULL;
static ZSTD_DCtx *decompression = NULL;

static void
refuse_for_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("zstd could not get the memory that it works in.")));
}

/*
 * dictionary_number
 *		The number of a dictionary: a hash of its content.
 *
 * It is the server's, on which its partitioned tables depend, too.  To make it
 * of SHA-256 would let each new session's first load wait for OpenSSL to get
 * ready, 800,000 instructions, and nobody can choose contents that collide.
 */
uint64
dictionary_number(const char *content, size_t size)
{
	return hash_bytes_extended((const unsigned char *) content, size, 0);
}

/*
 * A dictionary's memory is the server's: that raises an error where zstd, up to
 * 1.5.5, would use what malloc did not give.
 */
static void *
allocate(void *context, size_t size)
{
	return MemoryContextAllocHuge(context, size);
}

static void
release(void *context, void *memory)
{
	if (memory != NULL)
		pfree(memory);
}

static ZSTD_customMem
memory_of(const Packer *packer)
{
	return (ZSTD_customMem)
	{
		allocate, release, packer->context
	};
}

static void
refuse_dictionary(const Packer *packer)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("zstd cannot use dictionary %lld", (long long) packer->number)));
}

/*
 * packer_create
 *		Make a dictionary ready, to be freed by packer_free.
 */
Packer *
packer_create(uint64 number, const char *content, size_t size, int level)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "snapshot_store dictionary",
												  ALLOCSET_SMALL_SIZES);
	Packer	   *packer = MemoryContextAlloc(context, offsetof(Packer, content) + size);

	packer->context = context;
	packer->number = number;
	packer->level = level;
	packer->packing = NULL;
	packer->size = size;
	memcpy(packer->content, content, size);
	packer->unpacking = ZSTD_createDDict_advanced(packer->content, size, ZSTD_dlm_byRef,
												  ZSTD_dct_auto, memory_of(packer));
	if (packer->unpacking == NULL)
		refuse_dictionary(packer);
	return packer;
}

/* Keep it for as long as the session lasts, or until it is freed. */
void
packer_keep(Packer *packer)
{
	MemoryContextSetParent(packer->context, CacheMemoryContext);
}

void
packer_free(Packer *packer)
{
	MemoryContextDelete(packer->context);
}

/* For packing, with the parameters that ZSTD_createCDict would choose. */
static ZSTD_CDict *
get_packing(Packer *packer)
{
	if (packer->packing == NULL)
		packer->packing = ZSTD_createCDict_advanced(packer->content, packer->size,
													ZSTD_dlm_byRef, ZSTD_dct_auto,
													ZSTD_getCParams(packer->level, SMALL_SOURCE,
																	packer->size),
													memory_of(packer));
	if (packer->packing == NULL)
		refuse_dictionary(packer);
	return packer->packing;
}

uint64
packer_number(const Packer *packer)
{
	return packer->number;
}

/* How much memory it takes; more, once it has packed. */
Size
packer_bytes(const Packer *packer)
{
	return MemoryContextMemAllocated(packer->context, true);
}

bool
is_packed(const struct varlena *value)
{
	return VARSIZE_ANY_EXHDR(value) > FRAME_OFFSET && *VARDATA_ANY(value) == MARK;
}

/* The number of the dictionary that packed it. */
uint64
packed_by(const struct varlena *value)
{
	uint64		number;

	memcpy(&number, VARDATA_ANY(value) + NUMBER_OFFSET, sizeof(number));
	return pg_ntoh64(number);
}

/* The context for compression, with what all frames have in common. */
static ZSTD_CCtx *
get_compression(void)
{
	ZSTD_CCtx  *context = compression;

	if (context != NULL)
		return context;
	context = ZSTD_createCCtx();
	if (context == NULL)
		refuse_for_memory();
	if (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0)))
	{
		ZSTD_freeCCtx(context);
		elog(ERROR, "zstd does not know its own parameters");
	}
	compression = context;
	return context;
}

/*
 * pack_state
 *		Pack a plain state; NULL if that does not make it an eighth smaller.
 */
struct varlena *
pack_state(Packer *packer, const struct varlena *plain)
{
	ZSTD_CCtx  *context = get_compression();
	size_t		size = VARSIZE_ANY_EXHDR(plain);
	size_t		most = MOST_WORTH_PACKING(size);
	uint64		number = pg_hton64(packer->number);
	struct varlena *packed;
	size_t		framed;

	if (most <= FRAME_OFFSET)
		return NULL;
	if (ZSTD_isError(ZSTD_CCtx_refCDict(context, get_packing(packer))))
		elog(ERROR, "zstd does not take a dictionary");
	packed = palloc(VARHDRSZ + most);
	framed = ZSTD_compress2(context, VARDATA(packed) + FRAME_OFFSET, most - FRAME_OFFSET,
							VARDATA_ANY(plain), size);
	if (ZSTD_isError(framed))
	{
		(void) ZSTD_CCtx_reset(context, ZSTD_reset_session_only);
		if (ZSTD_getErrorCode(framed) != ZSTD_error_dstSize_tooSmall)
			refuse_for_memory();
		pfree(packed);
		return NULL;
	}
	*VARDATA(packed) = MARK;
	memcpy(VARDATA(packed) + NUMBER_OFFSET, &number, sizeof(number));
	SET_VARSIZE(packed, VARHDRSZ + FRAME_OFFSET + framed);
	return packed;
}

static void
refuse_damaged(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("packed state is damaged"),
			 errdetail("%s.", why)));
}

/*
 * unpack_state
 *		Unpack what the same dictionary has packed.
 */
struct varlena *
unpack_state(Packer *packer, const struct varlena *packed)
{
	const char *frame = VARDATA_ANY(packed) + FRAME_OFFSET;
	size_t		framed = VARSIZE_ANY_EXHDR(packed) - FRAME_OFFSET;
	unsigned long long size = ZSTD_getFrameContentSize(frame, framed);
	struct varlena *plain;
	size_t		unpacked;

	/*
	 * Also ZSTD_CONTENTSIZE_UNKNOWN and ZSTD_CONTENTSIZE_ERROR; 0 is no
	 * JSON's.
	 */
	if (size == 0 || size > PACKED_STATE_MAX_BYTES)
		refuse_damaged("Its size is unknown, or none that a packed state can have");
	if (decompression == NULL)
		decompression = ZSTD_createDCtx();
	if (decompression == NULL)
		refuse_for_memory();
	if (ZSTD_isError(ZSTD_DCtx_refDDict(decompression, packer->unpacking)))
		elog(ERROR, "zstd does not take a dictionary");
	plain = palloc(VARHDRSZ + size);
	unpacked = ZSTD_decompressDCtx(decompression, VARDATA(plain), size, frame, framed);
	if (ZSTD_getErrorCode(unpacked) == ZSTD_error_memory_allocation)
		refuse_for_memory();
	if (ZSTD_isError(unpacked))
		refuse_damaged(ZSTD_getErrorName(unpacked));
	if (unpacked != size)
		refuse_damaged("It does not have the size that it tells");
	SET_VARSIZE(plain, VARHDRSZ + size);
	return plain;
}
