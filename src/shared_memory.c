/*
 * shared_memory.c
 *		A piece of shared memory, if there is any to be had.
 *
 * From 17 on, the server's registry of dynamic shared memory gives it to
 * whoever asks.  Before, it must be asked for as the server starts: by a
 * library that shared_preload_libraries names.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "compat.h"
#include "shared_memory.h"

#ifdef HAVE_SHARED_MEMORY_REGISTRY

void
shared_memory_reserve(const char *name, Size size,
					  SharedMemoryInitializer initialize)
{
}

static void
initialize_segment(void *memory, void *arg)
{
	((SharedMemoryInitializer) arg) (memory);
}

/*
 * shared_memory_attach
 *		Find the memory of that name, or make it; NULL if that fails.
 *
 * It may, for want of memory or of segments, or where another library has
 * given the name to another size.  The subtransaction gives back what was
 * taken then.  It is rolled back in any case: what was attached is the
 * session's, and a commit would count as a command.
 */
void *
shared_memory_attach(const char *name, Size size,
					 SharedMemoryInitializer initialize)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	void	   *volatile memory = NULL;
	ErrorData  *volatile error = NULL;
	bool		found;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		memory = GetNamedDSMSegment(name, size, initialize_segment, &found, initialize);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;

	if (error != NULL)
	{
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		ereport(LOG,
				(errmsg("snapshot_store: this session counts for itself: %s",
						error->message)));
		FreeErrorData(error);
	}
	return memory;
}

#else

static struct
{
	const char *name;
	Size		size;
	SharedMemoryInitializer initialize;
	void	   *memory;
}			reserved;

static shmem_request_hook_type next_request_hook = NULL;
static shmem_startup_hook_type next_startup_hook = NULL;

static void
request(void)
{
	if (next_request_hook != NULL)
		next_request_hook();
	RequestAddinShmemSpace(reserved.size);
}

/* Once the memory is there; also after a crash, which has emptied it. */
static void
start_up(void)
{
	bool		found;

	if (next_startup_hook != NULL)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	reserved.memory = ShmemInitStruct(reserved.name, reserved.size, &found);
	if (!found)
		reserved.initialize(reserved.memory);
	LWLockRelease(AddinShmemInitLock);
}

/* Ask for memory while shared_preload_libraries are loaded. */
void
shared_memory_reserve(const char *name, Size size,
					  SharedMemoryInitializer initialize)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	reserved.name = name;
	reserved.size = size;
	reserved.initialize = initialize;
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_up;
}

/* What was asked for then; NULL if nothing was. */
void *
shared_memory_attach(const char *name, Size size,
					 SharedMemoryInitializer initialize)
{
	return reserved.memory;
}

#endif
