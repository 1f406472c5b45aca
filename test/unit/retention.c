/*
 * retention.c
 *		The retention rule, tested by itself: no server, only the function.
 *
 * Build and run, with nothing but PostgreSQL's server headers:
 *
 *	cc -I src -I $(pg_config --includedir-server) \
 *		test/unit/retention.c src/retention.c -o retention && ./retention
 *
 * Prints TAP.  A table of cases comes first, one test each.  Then random
 * streams are compared with a second, naive implementation of the rule, which
 * follows the design's text word by word and knows nothing of sorting.
 *
 * Snapshots are written "slot:version/sequence@created_at".  In a result the
 * new snapshot ends in a star, and ">" stands for the slot of one that had to
 * move: the rule says that it moves below keep x keep_versions, not where to.
 */
#include "postgres.h"

#include "retention.h"

/* This program has no server behind it: take the C library's own. */
#undef printf
#undef snprintf
#undef qsort

void
pg_qsort(void *base, size_t nel, size_t elsize, int (*cmp) (const void *, const void *))
{
	qsort(base, nel, elsize, cmp);
}

#ifdef USE_ASSERT_CHECKING
void
ExceptionalCondition(const char *conditionName,
#if PG_VERSION_NUM < 160000
					 const char *errorType,
#endif
					 const char *fileName, int lineNumber)
{
	printf("Bail out! %s:%d: %s\n", fileName, lineNumber, conditionName);
	exit(1);
}
#endif

#define MAX_ROWS	64
#define MAX_TEXT	4096
#define RANDOM_STREAMS	200000
#define RANDOM_HISTORIES	5000
#define HISTORY_LENGTH	40
#define SEED	UINT64CONST(20260102)

/* The clock, and a time that no clock is to be ahead of. */
#define NOW		((TimestampTz) 1000)
#define TOO_FAR	(NOW + USECS_PER_DAY + 1)

/* A stream's rows. */
typedef struct Stream
{
	SnapshotHeader rows[MAX_ROWS];
	int			nrows;
} Stream;

/* What became of a stream: the plan, and the rows as it left them. */
typedef struct Outcome
{
	KeptSnapshot kept[MAX_ROWS];
	int			nkept;
	RetentionPlan plan;
} Outcome;

typedef struct Case
{
	const char *description;
	int			keep;
	int			keep_versions;
	const char *kept;
	const char *saved;
	const char *expected;		/* NULL: not stored */
	bool		leaves;			/* the same sequence as it is: no "replace" */
} Case;

static const Case cases[] = {
	/* One snapshot a stream, the default */
	{"an empty stream stores in slot 0", 1, 1,
	"", "1/10@1", "0:1/10@1*"},
	{"a higher sequence replaces", 1, 1,
	"0:1/10@1", "1/20@2", "0:1/20@2*"},
	{"the same sequence replaces", 1, 1,
	"0:1/10@1", "1/10@2", "0:1/10@2*"},
	{"the same sequence replaces, whatever the clocks say", 1, 1,
	"0:1/10@5", "1/10@2", "0:1/10@2*"},
	{"a lower sequence is refused", 1, 1,
	"0:1/20@1", "1/10@2", NULL},
	{"a higher sequence replaces, whatever the clocks say", 1, 1,
	"0:1/10@5", "1/20@2", "0:1/20@2*"},
	{"another version replaces", 1, 1,
	"0:1/10@1", "2/20@2", "0:2/20@2*"},
	{"another version replaces, at a lower sequence too", 1, 1,
	"0:1/20@1", "2/10@2", "0:2/10@2*"},
	{"a lower version replaces a higher one", 1, 1,
	"0:2/20@1", "1/10@2", "0:1/10@2*"},
	{"another version replaces, whatever the clocks say", 1, 1,
	"0:1/10@5", "2/10@1", "0:2/10@1*"},
	{"sequence 0 is refused after the highest there is", 1, 1,
	"0:1/9223372036854775807@1", "1/0@2", NULL},
	{"the highest sequence there is replaces sequence 0", 1, 1,
	"0:1/0@1", "1/9223372036854775807@2", "0:1/9223372036854775807@2*"},
	{"version 0 replaces the highest there is", 1, 1,
	"0:4294967295/0@1", "0/0@2", "0:0/0@2*"},
	{"saved at -infinity, it replaces what was saved at infinity", 1, 1,
	"0:1/10@9223372036854775807", "1/20@-9223372036854775808", "0:1/20@-9223372036854775808*"},

	/* History: several snapshots of one version */
	{"room: a higher sequence is added", 3, 1,
	"0:1/10@1", "1/20@2", "0:1/10@1 1:1/20@2*"},
	{"room: a lower sequence is added too", 3, 1,
	"0:1/20@1", "1/10@2", "0:1/20@1 1:1/10@2*"},
	{"room: the last place is taken", 5, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3 3:1/40@4", "1/50@5", "0:1/10@1 1:1/20@2 2:1/30@3 3:1/40@4 4:1/50@5*"},
	{"full: the lowest sequence makes room", 3, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/40@4", "0:1/40@4* 1:1/20@2 2:1/30@3"},
	{"full: the lowest sequence makes room, wherever it lies", 3, 1,
	"0:1/20@2 1:1/10@1 2:1/30@3", "1/40@4", "0:1/20@2 1:1/40@4* 2:1/30@3"},
	{"full: the lowest sequence goes, not the one saved first", 3, 1,
	"0:1/20@1 1:1/30@2 2:1/10@3", "1/40@4", "0:1/20@1 1:1/30@2 2:1/40@4*"},
	{"full: one in between is stored", 3, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/15@4", "0:1/15@4* 1:1/20@2 2:1/30@3"},
	{"full: the lowest of all is refused", 3, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/9@4", NULL},
	{"full: the lowest of five is refused", 5, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3 3:1/40@4 4:1/50@5", "1/5@6", NULL},
	{"full: the same sequence as the lowest replaces it", 3, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/10@4", "0:1/10@4* 1:1/20@2 2:1/30@3"},
	{"full: the same sequence as the highest replaces it", 3, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/30@4", "0:1/10@1 1:1/20@2 2:1/30@4*"},
	{"a gap between the slots is filled", 3, 1,
	"0:1/10@1 2:1/30@3", "1/20@4", "0:1/10@1 1:1/20@4* 2:1/30@3"},
	{"slot 0 is filled first", 3, 1,
	"1:1/10@1 2:1/30@3", "1/20@4", "0:1/20@4* 1:1/10@1 2:1/30@3"},
	{"a replacement moves down to the lowest free slot", 3, 1,
	"0:1/10@1 2:1/30@3", "1/30@4", "0:1/10@1 1:1/30@4*"},
	{"another version takes the place of the whole history", 3, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "2/5@4", "0:2/5@4*"},

	/* Versions side by side */
	{"a second version is added", 1, 2,
	"0:1/10@1", "2/5@2", "0:1/10@1 1:2/5@2*"},
	{"the first version replaces its own", 1, 2,
	"0:1/10@1 1:2/5@2", "1/20@3", "0:1/20@3* 1:2/5@2"},
	{"the second version replaces its own", 1, 2,
	"0:1/10@1 1:2/5@2", "2/6@3", "0:1/10@1 1:2/6@3*"},
	{"each version refuses what is older than its own", 1, 2,
	"0:1/10@1 1:2/5@2", "2/4@3", NULL},
	{"and only than its own", 1, 2,
	"0:1/100@1 1:2/5@2", "2/6@3", "0:1/100@1 1:2/6@3*"},
	{"a third version: the one saved longest ago goes", 1, 2,
	"0:1/10@1 1:2/5@2", "3/1@3", "0:3/1@3* 1:2/5@2"},
	{"the one saved longest ago, whatever its number, sequence and slot", 1, 2,
	"0:1/10@5 1:2/50@2", "3/1@6", "0:1/10@5 1:3/1@6*"},
	{"never the version being saved, though its clock is behind", 1, 2,
	"0:1/10@5 1:2/50@6", "3/1@1", "0:3/1@1* 1:2/50@6"},
	{"nor when it was kept before", 1, 2,
	"0:1/10@1 1:2/50@2 2:3/5@3", "1/20@0", "0:1/20@0* >:3/5@3"},
	{"saved at the same time: the lower slot goes", 1, 2,
	"0:2/5@1 1:1/10@1", "3/1@2", "0:3/1@2* 1:1/10@1"},
	{"saved at the same time: the lower slot, not the lower version", 1, 2,
	"0:1/10@1 1:2/5@1", "3/1@2", "0:3/1@2* 1:2/5@1"},
	{"a third version among three", 1, 3,
	"0:1/10@1 1:2/5@2", "3/1@3", "0:1/10@1 1:2/5@2 2:3/1@3*"},
	{"a sixth version among five", 1, 5,
	"0:1/1@5 1:2/1@4 2:3/1@3 3:4/1@1 4:5/1@2", "6/1@6", "0:1/1@5 1:2/1@4 2:3/1@3 3:6/1@6* 4:5/1@2"},

	/* Both */
	{"two versions with two snapshots each, full", 2, 2,
	"0:1/10@1 1:1/20@2 2:2/5@3 3:2/6@4", "2/7@5", "0:1/10@1 1:1/20@2 2:2/7@5* 3:2/6@4"},
	{"a third version: the other goes whole", 2, 2,
	"0:1/10@1 1:1/20@2 2:2/5@3 3:2/6@4", "3/1@5", "0:3/1@5* 2:2/5@3 3:2/6@4"},
	{"and the place that it left is taken next", 2, 2,
	"0:3/1@5 2:2/5@3 3:2/6@4", "3/2@6", "0:3/1@5 1:3/2@6* 2:2/5@3 3:2/6@4"},
	{"a version's last save counts, not its first", 2, 2,
	"0:1/10@1 1:1/20@9 2:2/5@5", "3/1@10", "0:1/10@1 1:1/20@9 2:3/1@10*"},
	{"a version's last save counts, not its highest sequence", 2, 2,
	"0:1/10@9 1:1/20@1 2:2/5@5", "3/1@10", "0:1/10@9 1:1/20@1 2:3/1@10*"},
	{"saved last at the same time: the lower slot of the last saves goes", 2, 2,
	"0:1/10@5 1:2/5@5 2:2/6@5 3:1/20@5", "3/1@6", "0:1/10@5 1:3/1@6* 3:1/20@5"},
	{"a refusal leaves a version too many alone", 1, 2,
	"0:1/10@1 1:2/20@2 2:3/30@3", "2/15@4", NULL},
	{"three versions with five snapshots: room in the middle", 5, 3,
	"0:1/10@1 1:2/10@2 2:3/10@3 4:1/20@4", "2/20@5", "0:1/10@1 1:2/10@2 2:3/10@3 3:2/20@5* 4:1/20@4"},

	/* keep lowered */
	{"lowered to 1: a higher sequence takes the place of all", 1, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/40@4", "0:1/40@4*"},
	{"lowered to 1: the highest again takes the place of all", 1, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/30@4", "0:1/30@4*"},
	{"lowered to 1: a kept sequence that is no longer among the newest is refused", 1, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/20@4", NULL},
	{"lowered to 2: such a sequence is refused", 2, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/10@4", NULL},
	{"lowered to 2: one in between stays, with the highest", 2, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/25@4", "0:1/25@4* >:1/30@3"},
	{"lowered to 2: a kept one stays, with the highest", 2, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/20@4", "0:1/20@4* >:1/30@3"},
	{"lowered to 2: one too low is refused", 2, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3", "1/15@4", NULL},
	{"lowered to 3: survivors move below, and S takes the lowest slot", 3, 1,
	"0:1/10@1 1:1/20@2 2:1/30@3 3:1/40@4 4:1/50@5", "1/60@6", "0:1/60@6* >:1/40@4 >:1/50@5"},
	{"lowered to 2: survivors already below stay where they are", 2, 1,
	"0:1/30@3 1:1/10@1 2:1/20@2", "1/40@4", "0:1/30@3 1:1/40@4*"},
	{"lowered to 1: the other version is trimmed too", 1, 2,
	"0:1/10@1 1:1/20@2 2:2/5@3", "2/6@4", "0:2/6@4* 1:1/20@2"},
	{"lowered to 1: every version is trimmed to its newest", 1, 3,
	"0:1/10@1 1:1/20@2 2:2/5@3 3:2/6@4", "3/1@5", "0:3/1@5* 1:1/20@2 >:2/6@4"},
	{"lowered to 1: what was trimmed no longer counts as a version's last save", 1, 2,
	"0:1/10@9 1:1/20@1 2:2/5@5", "3/1@10", "0:3/1@10* >:2/5@5"},

	/* keep_versions lowered */
	{"versions lowered to 1: all others go", 1, 1,
	"0:1/10@1 1:2/20@2 2:3/30@3", "2/25@4", "0:2/25@4*"},
	{"versions lowered to 2: the one saved longest ago goes", 1, 2,
	"0:1/10@1 1:2/20@2 2:3/30@3", "2/25@4", "0:2/25@4* >:3/30@3"},
	{"versions lowered to 2: with a new one, two go", 1, 2,
	"0:1/10@1 1:2/20@2 2:3/30@3", "4/1@4", "0:4/1@4* >:3/30@3"},
	{"versions lowered to 1: a refusal changes nothing", 1, 1,
	"0:1/10@1 1:2/20@2 2:3/30@3", "2/15@4", NULL},
	{"both lowered to 1", 1, 1,
	"0:1/10@1 1:1/20@2 2:2/5@3 3:2/6@4", "1/30@5", "0:1/30@5*"},
	{"both lowered to 2", 2, 2,
		"0:1/10@1 1:1/20@2 2:1/30@3 3:2/10@4 4:2/20@5 5:2/30@6 6:3/10@7 7:3/20@8", "3/30@9",
	"0:3/30@9* >:2/20@5 >:2/30@6 >:3/20@8"},

	/* Raised */
	{"versions raised to 2: another version no longer replaces", 1, 2,
	"0:1/20@1", "2/10@2", "0:1/20@1 1:2/10@2*"},
	{"both raised, with a row far above", 3, 5,
	"0:1/20@1 14:2/10@2", "1/10@3", "0:1/20@1 1:1/10@3* 14:2/10@2"},

	/* Clocks that are ahead of NOW, 1000 microseconds, by 86400000000, a day */
	{"a version saved more than a day ahead goes before one saved long ago", 1, 2,
	"0:1/10@86400001001 1:2/5@2", "3/1@3", "0:3/1@3* 1:2/5@2"},
	{"one saved a day ahead counts as it is", 1, 2,
	"0:1/10@86400001000 1:2/5@2", "3/1@3", "0:1/10@86400001000 1:3/1@3*"},
	{"at infinity, too", 1, 2,
	"0:1/10@5 1:2/5@9223372036854775807", "3/1@6", "0:1/10@5 1:3/1@6*"},
	{"of two that far ahead the lower slot goes, whichever is further", 1, 2,
	"0:1/10@99000000002 1:2/5@99000000001", "3/1@3", "0:3/1@3* 1:2/5@99000000001"},
	{"a version's saves at other times count", 2, 2,
	"0:1/10@99000000000 1:1/11@4 2:2/5@3", "3/1@5", "0:1/10@99000000000 1:1/11@4 2:3/1@5*"},
	{"two living versions do not erase each other for a third that is ahead", 1, 2,
	"0:9/1@99000000000 1:1/10@5", "2/10@6", "0:2/10@6* 1:1/10@5"},

	/* Rows written by hand */
	{"versions that there cannot be", 1, 2,
	"0:-3/10@1 1:-1/10@2", "1/1@3", "0:1/1@3* 1:-1/10@2"},
	{"the lowest and the highest numbers", 1, 2,
		"0:-9223372036854775808/-9223372036854775808@-9223372036854775808 1:9223372036854775807/0@0", "1/1@3",
	"0:1/1@3* 1:9223372036854775807/0@0"},
	{"a slot beyond the capacity, superseded", 1, 1,
	"7:1/10@1", "1/20@2", "0:1/20@2*"},
	{"a slot beyond the capacity, refusing", 1, 1,
	"7:1/20@1", "1/10@2", NULL},
	{"a slot beyond the capacity moves below, after S", 2, 1,
	"7:1/10@1", "1/20@2", "0:1/20@2* >:1/10@1"},
	{"the highest slot there is moves below", 2, 1,
	"0:1/10@1 32767:1/20@2", "1/30@3", "0:1/30@3* >:1/20@2"},
	{"the first slot beyond the capacity moves below", 2, 2,
	"0:1/10@1 4:1/20@2", "2/5@3", "0:1/10@1 1:2/5@3* >:1/20@2"},
	{"duplicates of S are all replaced by it", 5, 1,
	"0:1/10@1 1:1/10@2 2:1/20@3 3:1/10@4", "1/10@5", "0:1/10@5* 2:1/20@3"},
	{"duplicates of S, one snapshot kept", 1, 1,
	"0:1/10@1 1:1/10@2", "1/10@3", "0:1/10@3*"},
	{"duplicates of S that are too old are refused", 1, 1,
	"0:1/20@1 1:1/10@1 2:1/10@2", "1/10@5", NULL},
	{"duplicates of another sequence each count", 2, 1,
	"0:1/10@1 1:1/10@2", "1/5@3", NULL},
	{"of duplicates the one saved first is dropped", 2, 1,
	"0:1/10@2 1:1/10@1", "1/20@3", "0:1/10@2 1:1/20@3*"},
	{"of duplicates saved at the same time the lower slot is dropped", 2, 1,
	"0:1/10@1 1:1/10@1", "1/20@3", "0:1/20@3* 1:1/10@1"},

	/* Without replace */
	{"a higher sequence needs no leave", 1, 1,
	"0:1/10@1", "1/20@2", "0:1/20@2*", true},
	{"the same sequence is left as it is", 1, 1,
	"0:1/10@1", "1/10@2", NULL, true},
	{"the same sequence of another version does not count", 1, 1,
	"0:1/10@1", "2/10@2", "0:2/10@2*", true},
	{"the same sequence is left as it is, with room for both", 3, 2,
	"0:1/10@1 1:1/20@2 2:2/10@1", "1/10@3", NULL, true},
	{"and where another than the last save of its version", 3, 2,
	"0:1/10@1 1:1/20@2 2:2/10@1", "2/10@3", NULL, true},
	{"one in between is stored", 3, 2,
	"0:1/10@1 1:1/20@2 2:2/10@1", "1/15@3", "0:1/10@1 1:1/20@2 2:2/10@1 3:1/15@3*", true},
	{"duplicates of S are left as they are", 2, 1,
	"0:1/10@1 1:1/10@2", "1/10@3", NULL, true},

	{"too many rows of everything", 2, 2,
		"0:1/1@1 1:1/1@1 2:1/2@2 3:2/1@3 4:2/2@4 5:2/3@5 6:3/1@6 7:3/1@7 8:4/1@0", "1/3@9",
	"0:1/3@9* 2:1/2@2 >:3/1@6 >:3/1@7"},
};

static int	ntests = 0;
static int	nfailed = 0;

static void
ok(bool passed, const char *description)
{
	ntests++;
	if (!passed)
		nfailed++;
	printf("%sok %d - %s\n", passed ? "" : "not ", ntests, description);
}

static void
bail_out(const char *why, const char *what)
{
	printf("Bail out! %s: %s\n", why, what);
	exit(1);
}

/* Read one "version/sequence@created_at"; returns what follows it. */
static const char *
parse_header(const char *notation, SnapshotHeader *header)
{
	long long	version;
	long long	sequence_number;
	long long	created_at;
	int			length;

	if (sscanf(notation, "%lld/%lld@%lld%n", &version, &sequence_number, &created_at, &length) != 3)
		bail_out("no snapshot", notation);
	memset(header, 0, sizeof(*header));
	header->state_schema_version = version;
	header->sequence_number = sequence_number;
	header->created_at = created_at;
	return notation + length;
}

static void
parse_stream(const char *notation, Stream *stream)
{
	stream->nrows = 0;
	while (*notation)
	{
		SnapshotHeader *row = &stream->rows[stream->nrows++];
		int			slot;
		int			length;

		if (sscanf(notation, " %d:%n", &slot, &length) != 1)
			bail_out("no slot", notation);
		notation = parse_header(notation + length, row);
		row->slot = slot;
	}
}

/* Write one snapshot at the end of a notation. */
static void
append_header(char *notation, const char *slot, const SnapshotHeader *header, const char *mark)
{
	size_t		length = strlen(notation);

	snprintf(notation + length, MAX_TEXT - length, "%s%s%lld/%lld@%lld%s",
			 length > 0 ? " " : "", slot,
			 (long long) header->state_schema_version,
			 (long long) header->sequence_number,
			 (long long) header->created_at, mark);
}

static void
append_row(char *notation, const SnapshotHeader *row, const char *mark)
{
	char		slot[16];

	snprintf(slot, sizeof(slot), "%d:", row->slot);
	append_header(notation, slot, row, mark);
}

static void
write_stream(char *notation, const Stream *stream)
{
	notation[0] = '\0';
	for (int i = 0; i < stream->nrows; i++)
		append_row(notation, &stream->rows[i], "");
}

static int
compare_versions(const SnapshotHeader *a, const SnapshotHeader *b)
{
	if (a->state_schema_version != b->state_schema_version)
		return a->state_schema_version < b->state_schema_version ? -1 : 1;
	if (a->sequence_number != b->sequence_number)
		return a->sequence_number < b->sequence_number ? -1 : 1;
	return a->created_at < b->created_at ? -1 : a->created_at > b->created_at;
}

static int
by_slot(const void *a, const void *b)
{
	return ((const SnapshotHeader *) a)->slot - ((const SnapshotHeader *) b)->slot;
}

static int
by_version(const void *a, const void *b)
{
	return compare_versions(a, b);
}

/* Ask the function under test; the caller's stream stays as it is. */
static void
plan_save(const Stream *stream, const SnapshotHeader *saved, bool replace,
		  int keep, int keep_versions, Outcome *outcome)
{
	outcome->nkept = stream->nrows;
	for (int i = 0; i < stream->nrows; i++)
		outcome->kept[i].header = stream->rows[i];
	retention_plan(saved, replace, NOW, outcome->kept, outcome->nkept, keep, keep_versions,
				   &outcome->plan);
}

/*
 * Write what an outcome leaves: those that stay where they are and the new
 * one by slot, then those that move.
 */
static void
write_outcome(char *notation, const Outcome *outcome, const SnapshotHeader *saved)
{
	Stream		staying = {.nrows = 0};
	Stream		moving = {.nrows = 0};

	notation[0] = '\0';
	if (!outcome->plan.store)
	{
		strcpy(notation, "refused");
		return;
	}
	staying.rows[staying.nrows] = *saved;
	staying.rows[staying.nrows++].slot = outcome->plan.slot;
	for (int i = 0; i < outcome->nkept; i++)
	{
		const KeptSnapshot *row = &outcome->kept[i];

		if (row->stays && row->new_slot == row->header.slot)
			staying.rows[staying.nrows++] = row->header;
		else if (row->stays)
			moving.rows[moving.nrows++] = row->header;
	}
	qsort(staying.rows, staying.nrows, sizeof(SnapshotHeader), by_slot);
	qsort(moving.rows, moving.nrows, sizeof(SnapshotHeader), by_version);
	for (int i = 0; i < staying.nrows; i++)
		append_row(notation, &staying.rows[i],
				   staying.rows[i].slot == outcome->plan.slot ? "*" : "");
	for (int i = 0; i < moving.nrows; i++)
		append_header(notation, ">:", &moving.rows[i], "");
}

/* How many of those that stay have to move? */
static int
count_moves(const Outcome *outcome)
{
	int			moves = 0;

	if (!outcome->plan.store)
		return 0;
	for (int i = 0; i < outcome->nkept; i++)
	{
		if (outcome->kept[i].stays &&
			outcome->kept[i].new_slot != outcome->kept[i].header.slot)
			moves++;
	}
	return moves;
}

/* Do what the plan says: the stream as it is after the save. */
static void
carry_out(const Outcome *outcome, const SnapshotHeader *saved, Stream *after)
{
	after->nrows = 0;
	if (outcome->plan.store)
	{
		after->rows[after->nrows] = *saved;
		after->rows[after->nrows++].slot = outcome->plan.slot;
	}
	for (int i = 0; i < outcome->nkept; i++)
	{
		const KeptSnapshot *row = &outcome->kept[i];

		if (outcome->plan.store && !row->stays)
			continue;
		after->rows[after->nrows] = row->header;
		if (outcome->plan.store)
			after->rows[after->nrows].slot = row->new_slot;
		after->nrows++;
	}
}

/* The rule once more, naively: which rows stay, by their slot. */
typedef struct Model
{
	bool		store;
	bool		stays[MAX_ROWS];
	int			slot;			/* of the new snapshot */
} Model;

/* Ties: created_at, then slot. */
static bool
saved_before(const SnapshotHeader *a, const SnapshotHeader *b)
{
	if (a->created_at != b->created_at)
		return a->created_at < b->created_at;
	return a->slot < b->slot;
}

/* The same between the last saves of two versions: one too far ahead counts as the first of all. */
static bool
version_saved_before(const SnapshotHeader *a, const SnapshotHeader *b)
{
	bool		a_ahead = a->created_at >= TOO_FAR;
	bool		b_ahead = b->created_at >= TOO_FAR;

	if (a_ahead && b_ahead)
		return a->slot < b->slot;
	if (a_ahead != b_ahead)
		return a_ahead;
	return saved_before(a, b);
}

static void
model_save(const Stream *stream, const SnapshotHeader *saved, int keep, int keep_versions,
		   Model *model)
{
	const SnapshotHeader *rows = stream->rows;
	int64		own_version = saved->state_schema_version;
	bool		again;

	model->store = true;

	/* A kept snapshot of version v and sequence n is replaced by S. */
	for (int i = 0; i < stream->nrows; i++)
		model->stays[i] = !(rows[i].state_schema_version == own_version &&
							rows[i].sequence_number == saved->sequence_number);

	/*
	 * While a version would have more than "keep" with S, its lowest sequence
	 * is dropped.  If that is S, nothing at all changes.
	 */
	for (int any = 0; any < stream->nrows; any++)
	{
		int64		version = rows[any].state_schema_version;

		do
		{
			int			count = version == own_version ? 1 : 0;
			int			lowest = -1;

			for (int i = 0; i < stream->nrows; i++)
			{
				if (!model->stays[i] || rows[i].state_schema_version != version)
					continue;
				count++;
				if (lowest < 0 || rows[i].sequence_number < rows[lowest].sequence_number ||
					(rows[i].sequence_number == rows[lowest].sequence_number &&
					 saved_before(&rows[i], &rows[lowest])))
					lowest = i;
			}
			again = count > keep;
			if (again)
			{
				if (version == own_version &&
					(lowest < 0 || saved->sequence_number < rows[lowest].sequence_number))
				{
					model->store = false;
					return;
				}
				model->stays[lowest] = false;
			}
		} while (again);
	}

	/*
	 * While there would be more than "keep_versions" versions, the one whose
	 * last save is longest ago goes, whole; never v.
	 */
	do
	{
		int			versions = 1;
		int			oldest = -1;

		for (int i = 0; i < stream->nrows; i++)
		{
			bool		is_last_save = model->stays[i] && rows[i].state_schema_version != own_version;

			for (int j = 0; j < stream->nrows; j++)
				if (model->stays[j] && rows[j].state_schema_version == rows[i].state_schema_version &&
					version_saved_before(&rows[i], &rows[j]))
					is_last_save = false;
			if (!is_last_save)
				continue;
			versions++;
			if (oldest < 0 || version_saved_before(&rows[i], &rows[oldest]))
				oldest = i;
		}
		again = versions > keep_versions;
		if (again)
			for (int i = 0; i < stream->nrows; i++)
				if (rows[i].state_schema_version == rows[oldest].state_schema_version)
					model->stays[i] = false;
	} while (again);

	/* S takes the lowest slot that became free or was free. */
	for (model->slot = 0;; model->slot++)
	{
		bool		in_use = false;

		for (int i = 0; i < stream->nrows; i++)
			if (model->stays[i] && rows[i].slot == model->slot)
				in_use = true;
		if (!in_use)
			break;
	}
}

/* Where the outcome differs from the naive rule, say how; NULL if nowhere. */
static const char *
differs_from_model(const Stream *stream, const SnapshotHeader *saved, int keep, int keep_versions,
				   const Outcome *outcome)
{
	Model		model;

	model_save(stream, saved, keep, keep_versions, &model);
	if (outcome->plan.store != model.store)
		return model.store ? "should be stored" : "should be refused";
	if (!model.store)
		return NULL;
	if (outcome->plan.slot != model.slot)
		return "the new snapshot's slot is not the lowest that was or became free";
	for (int i = 0; i < stream->nrows; i++)
	{
		const SnapshotHeader *row = &stream->rows[i];
		int			at = 0;

		/* the rows came back sorted: one is known by its slot */
		while (at < outcome->nkept && outcome->kept[at].header.slot != row->slot)
			at++;
		if (at == outcome->nkept || compare_versions(&outcome->kept[at].header, row) != 0)
			return "a header got lost";
		if (outcome->kept[at].stays != model.stays[i])
			return model.stays[i] ? "a snapshot goes that should stay" : "a snapshot stays that should go";
		if (model.stays[i] && row->slot < keep * keep_versions && outcome->kept[at].new_slot != row->slot)
			return "a snapshot moves that need not";
	}
	return NULL;
}

/* What holds after any save, checked without the model; NULL if all does. */
static const char *
breaks_invariant(const Stream *stream, const SnapshotHeader *saved, int keep, int keep_versions,
				 const Outcome *outcome)
{
	const RetentionPlan *plan = &outcome->plan;
	Stream		after;
	Outcome		second;
	bool		found = false;
	int			versions = 0;

	for (int i = 1; i < outcome->nkept; i++)
		if (outcome->kept[i].header.slot <= outcome->kept[i - 1].header.slot)
			return "the rows do not come back in the order of their slots";

	if (!plan->store)
	{
		/* somebody newer of the same version must be the reason */
		int			newer = 0;

		for (int i = 0; i < stream->nrows; i++)
			if (stream->rows[i].state_schema_version == saved->state_schema_version &&
				stream->rows[i].sequence_number > saved->sequence_number)
				newer++;
		return newer >= keep ? NULL : "refused without enough newer ones";
	}

	carry_out(outcome, saved, &after);
	for (int i = 0; i < after.nrows; i++)
	{
		const SnapshotHeader *row = &after.rows[i];
		int			same_version = 0;
		bool		first_of_version = true;

		if (row->slot < 0 || row->slot >= keep * keep_versions)
			return "a slot lies beyond keep x keep_versions";
		if (row->slot == 0)
			found = true;
		for (int j = 0; j < after.nrows; j++)
		{
			const SnapshotHeader *other = &after.rows[j];

			if (i != j && other->slot == row->slot)
				return "two snapshots in one slot";
			if (other->state_schema_version != row->state_schema_version)
				continue;
			same_version++;
			if (j < i)
				first_of_version = false;
			if (i == 0 && j != 0 && other->sequence_number == row->sequence_number)
				return "a duplicate of the new snapshot";
		}
		if (same_version > keep)
			return "more than keep snapshots of a version";
		if (first_of_version)
			versions++;
	}
	if (!found)
		return "nothing in slot 0";
	if (versions > keep_versions)
		return "more than keep_versions versions";

	/* the row that is overwritten: the dropped one in the new snapshot's slot */
	for (int i = 0; i < outcome->nkept; i++)
	{
		bool		goes = !outcome->kept[i].stays &&
			outcome->kept[i].header.slot == plan->slot;

		if (goes != (plan->overwrites == i))
			return goes ? "the row in the new snapshot's slot is not the one overwritten" :
				"another row than that in the new snapshot's slot is overwritten";
	}
	if (plan->overwrites >= outcome->nkept)
		return "a row that is not there is overwritten";

	/* saving the same again replaces it in place and touches nothing else */
	plan_save(&after, saved, true, keep, keep_versions, &second);
	if (!second.plan.store || second.plan.slot != plan->slot)
		return "saving the same again does not replace it in place";
	for (int i = 0; i < second.nkept; i++)
	{
		const KeptSnapshot *row = &second.kept[i];

		if (i != second.plan.overwrites && (!row->stays || row->new_slot != row->header.slot))
			return "saving the same again touches other snapshots";
	}
	return NULL;
}

/* Without "replace" it is the same, unless there is the same; NULL if so. */
static const char *
differs_without_replace(const Stream *stream, const SnapshotHeader *saved, int keep,
						int keep_versions, const Outcome *outcome)
{
	Outcome		other;

	plan_save(stream, saved, false, keep, keep_versions, &other);
	for (int i = 0; i < stream->nrows; i++)
		if (stream->rows[i].state_schema_version == saved->state_schema_version &&
			stream->rows[i].sequence_number == saved->sequence_number)
			return other.plan.store ? "replaces the same sequence without leave" : NULL;
	if (other.plan.store != outcome->plan.store)
		return "leave to replace makes a difference where there is nothing to replace";
	if (!other.plan.store)
		return NULL;
	if (other.plan.slot != outcome->plan.slot || other.plan.overwrites != outcome->plan.overwrites)
		return "another slot without leave to replace";
	for (int i = 0; i < other.nkept; i++)
		if (other.kept[i].stays != outcome->kept[i].stays ||
			(other.kept[i].stays && other.kept[i].new_slot != outcome->kept[i].new_slot))
			return "others stay without leave to replace";
	return NULL;
}

/* All checks; explains the first failures. */
static bool
check(const Stream *stream, const SnapshotHeader *saved, int keep, int keep_versions,
	  const Outcome *outcome)
{
	static int	explained = 0;
	char		notation[MAX_TEXT];
	const char *problem;

	problem = differs_from_model(stream, saved, keep, keep_versions, outcome);
	if (problem == NULL)
		problem = breaks_invariant(stream, saved, keep, keep_versions, outcome);
	if (problem == NULL)
		problem = differs_without_replace(stream, saved, keep, keep_versions, outcome);
	if (problem == NULL)
		return true;
	if (explained++ < 10)
	{
		printf("# %s\n# keep %d, keep_versions %d\n", problem, keep, keep_versions);
		write_stream(notation, stream);
		printf("#   kept: %s\n", notation);
		notation[0] = '\0';
		append_header(notation, "", saved, "");
		printf("#  saved: %s\n", notation);
		write_outcome(notation, outcome, saved);
		printf("#  after: %s\n", notation);
	}
	return false;
}

static void
test_case(const Case *c)
{
	Stream		stream;
	SnapshotHeader saved;
	Outcome		outcome;
	char		notation[MAX_TEXT];
	const char *expected = c->expected ? c->expected : "refused";
	bool		passed;

	parse_stream(c->kept, &stream);
	parse_header(c->saved, &saved);
	plan_save(&stream, &saved, !c->leaves, c->keep, c->keep_versions, &outcome);
	write_outcome(notation, &outcome, &saved);
	passed = strcmp(notation, expected) == 0;
	passed = (c->leaves || check(&stream, &saved, c->keep, c->keep_versions, &outcome)) && passed;
	ok(passed, c->description);
	if (!passed)
		printf("#      have: %s\n#  expected: %s\n", notation, expected);
}

/* xorshift64*: the same numbers on every machine. */
static uint32
random_below(uint32 limit)
{
	static uint64 state = SEED;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32) ((state * UINT64CONST(2685821657736338717)) >> 33) % limit;
}

/* Few values, so that ties, duplicates and replacements are common. */
static void
random_header(SnapshotHeader *header, uint32 versions, uint32 sequences, uint32 times)
{
	memset(header, 0, sizeof(*header));
	header->state_schema_version = random_below(versions);
	header->sequence_number = random_below(sequences);
	header->created_at = random_below(times);
	if (random_below(10) == 0)
		header->created_at += TOO_FAR;
}

static int
random_setting(void)
{
	static const int settings[] = {1, 1, 1, 2, 2, 3, 3, 4, 5, 100};

	return settings[random_below(lengthof(settings))];
}

/* Any rows at all, as settings that changed or a hand may have left them. */
static void
random_stream(Stream *stream, uint32 versions, uint32 sequences, uint32 times)
{
	uint32		slots = 4 + random_below(20);

	stream->nrows = random_below(Min(slots, 16) + 1);
	for (int i = 0; i < stream->nrows; i++)
	{
		bool		in_use;

		random_header(&stream->rows[i], versions, sequences, times);
		do
		{
			stream->rows[i].slot = random_below(random_below(20) == 0 ? PG_INT16_MAX + 1 : slots);
			in_use = false;
			for (int j = 0; j < i; j++)
				in_use |= stream->rows[j].slot == stream->rows[i].slot;
		} while (in_use);
	}
}

static void
test_random_streams(void)
{
	int			failures = 0;
	int			stored = 0;
	int			moves = 0;

	for (int n = 0; n < RANDOM_STREAMS; n++)
	{
		uint32		versions = 1 + random_below(6);
		uint32		sequences = 1 + random_below(12);
		uint32		times = 1 + random_below(12);
		int			keep = random_setting();
		int			keep_versions = random_setting();
		Stream		stream;
		SnapshotHeader saved;
		Outcome		outcome;

		random_stream(&stream, versions, sequences, times);
		random_header(&saved, versions, sequences, times);
		plan_save(&stream, &saved, true, keep, keep_versions, &outcome);
		if (!check(&stream, &saved, keep, keep_versions, &outcome))
			failures++;
		if (outcome.plan.store)
			stored++;
		moves += count_moves(&outcome);
	}
	ok(failures == 0, "random streams: as the naive rule says, and no invariant broken");
	printf("# %d streams, %d saves stored, %d snapshots moved\n", RANDOM_STREAMS, stored, moves);
	ok(stored > RANDOM_STREAMS / 4 && stored < RANDOM_STREAMS && moves > RANDOM_STREAMS / 10,
	   "random streams: enough of each outcome to tell");
}

/*
 * Streams that grow by saves alone.  With the same settings all along there
 * are no duplicates, nothing ever moves, and what was kept obeys the rule.
 */
static void
test_histories(void)
{
	int			failures = 0;
	int			duplicates = 0;
	int			moves = 0;

	for (int n = 0; n < RANDOM_HISTORIES; n++)
	{
		int			keep = 1 + random_below(4);
		int			keep_versions = 1 + random_below(4);
		uint32		versions = 1 + random_below(6);
		uint32		times = 1 + random_below(HISTORY_LENGTH);
		Stream		stream = {.nrows = 0};

		for (int i = 0; i < HISTORY_LENGTH; i++)
		{
			SnapshotHeader saved;
			Outcome		outcome;

			random_header(&saved, versions, HISTORY_LENGTH, times);
			plan_save(&stream, &saved, true, keep, keep_versions, &outcome);
			if (!check(&stream, &saved, keep, keep_versions, &outcome))
				failures++;
			moves += count_moves(&outcome);
			carry_out(&outcome, &saved, &stream);
			for (int j = 1; j < stream.nrows; j++)
				for (int k = 0; k < j; k++)
					if (stream.rows[j].state_schema_version == stream.rows[k].state_schema_version &&
						stream.rows[j].sequence_number == stream.rows[k].sequence_number)
						duplicates++;
		}
	}
	ok(failures == 0, "histories: every save as the naive rule says, and no invariant broken");
	ok(duplicates == 0, "histories: no version and sequence is ever there twice");
	ok(moves == 0, "histories: with the same settings all along no snapshot moves");
}

/* How many of some rows stay, and where they are; how many move. */
static void
count_rows(const KeptSnapshot *kept, int nkept, int *staying, int *moving)
{
	*staying = *moving = 0;
	for (int i = 0; i < nkept; i++)
	{
		if (kept[i].stays && kept[i].new_slot == kept[i].header.slot)
			(*staying)++;
		else if (kept[i].stays)
			(*moving)++;
	}
}

/* The largest stream there can be: 100 snapshots of each of 100 versions. */
static void
test_largest_stream(void)
{
	enum
	{
		MOST = RETENTION_MAX_KEEP * RETENTION_MAX_KEEP_VERSIONS
	};
	static KeptSnapshot kept[MOST];
	SnapshotHeader saved = {0};
	RetentionPlan plan;
	int			staying;
	int			moving;
	int			dropped = 0;

	saved.state_schema_version = 7;
	saved.sequence_number = 1000;
	saved.created_at = NOW;
	for (int i = 0; i < MOST; i++)
	{
		memset(&kept[i], 0, sizeof(kept[i]));
		kept[i].header.slot = i;
		kept[i].header.state_schema_version = i % RETENTION_MAX_KEEP_VERSIONS;
		kept[i].header.sequence_number = i / RETENTION_MAX_KEEP_VERSIONS;
		kept[i].header.created_at = i;
	}
	retention_plan(&saved, true, NOW, kept, MOST, RETENTION_MAX_KEEP, RETENTION_MAX_KEEP_VERSIONS, &plan);
	count_rows(kept, MOST, &staying, &moving);
	ok(plan.store && staying == MOST - 1 && moving == 0 && !kept[7].stays && plan.slot == 7,
	   "the largest stream: the version's lowest sequence makes room, the rest stays");

	retention_plan(&saved, true, NOW, kept, MOST, 1, 1, &plan);
	count_rows(kept, MOST, &staying, &moving);
	ok(plan.store && plan.slot == 0 && staying + moving == 0 && plan.overwrites == 0,
	   "the largest stream: both settings lowered to 1, the new snapshot alone stays");

	saved.state_schema_version = 100;
	retention_plan(&saved, true, NOW, kept, MOST, RETENTION_MAX_KEEP, RETENTION_MAX_KEEP_VERSIONS, &plan);
	count_rows(kept, MOST, &staying, &moving);
	for (int i = 0; i < MOST; i++)
		if (!kept[i].stays && kept[i].header.state_schema_version == 0)
			dropped++;
	ok(plan.store && plan.slot == 0 && dropped == RETENTION_MAX_KEEP && staying == MOST - dropped && moving == 0,
	   "the largest stream: for a new version the one saved longest ago goes, whole");
}

/* A row in every slot that a number can tell, each of another version. */
static void
test_every_slot(void)
{
	enum
	{
		MOST = PG_INT16_MAX + 1
	};
	static KeptSnapshot kept[MOST];
	SnapshotHeader saved = {0};
	RetentionPlan plan;
	int			staying;
	int			moving;
	bool		right = true;

	saved.state_schema_version = 1;
	saved.created_at = NOW;
	for (int i = 0; i < MOST; i++)
	{
		memset(&kept[i], 0, sizeof(kept[i]));
		kept[i].header.slot = MOST - 1 - i;
		kept[i].header.state_schema_version = -2 - i;
		kept[i].header.sequence_number = i;
		kept[i].header.created_at = i;
	}
	retention_plan(&saved, true, MOST, kept, MOST, 1, 3, &plan);
	count_rows(kept, MOST, &staying, &moving);
	for (int i = 0; i < MOST; i++)
		right = right && kept[i].stays == (i < 2);
	ok(plan.store && plan.slot == 2 && plan.overwrites == 2 && staying == 2 && moving == 0 && right,
	   "a version in every slot: those saved last stay");
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < (int) lengthof(cases); i++)
		test_case(&cases[i]);
	test_random_streams();
	test_histories();
	test_largest_stream();
	test_every_slot();
	printf("1..%d\n", ntests);
	if (nfailed > 0)
		printf("# %d of %d failed\n", nfailed, ntests);
	return nfailed > 0 ? 1 : 0;
}
