#include "snapshot_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The result if it is a good one; otherwise notes the error and returns NULL. */
static PGresult *
checked(SnapshotStore *store, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return result;
	snprintf(store->sqlstate, sizeof store->sqlstate, "%s", sqlstate ? sqlstate : "");
	PQclear(result);
	return NULL;
}

PGresult *
snapshot_query(SnapshotStore *store, const char *statement, int count, const char *const *parameters)
{
	return checked(store, PQexecParams(store->connection, statement, count, NULL, parameters, NULL, NULL, 0));
}

/* Only bytes go in binary: as text they would end at a NUL, and a backslash would mean something. */
static int
save(SnapshotStore *store, const char *statement, const Snapshot *snapshot, int binary)
{
	char		sequence_number[24];
	char		version[16];
	const char *parameters[] = {snapshot->stream_id, sequence_number, version, snapshot->state};
	const int	lengths[] = {0, 0, 0, (int) snapshot->size};
	const int	formats[] = {0, 0, 0, binary};
	PGresult   *result;
	int			stored;

	snprintf(sequence_number, sizeof sequence_number, "%" PRId64, snapshot->sequence_number);
	snprintf(version, sizeof version, "%" PRIu32, snapshot->state_schema_version);
	result = checked(store, PQexecParams(store->connection, statement, 4, NULL, parameters, lengths, formats, 0));
	if (result == NULL)
		return -1;
	stored = PQgetvalue(result, 0, 0)[0] == 't';
	PQclear(result);
	return stored;
}

int
snapshot_save(SnapshotStore *store, const Snapshot *snapshot)
{
	return save(store, "SELECT snapshot_save($1, $2, $3, $4)", snapshot, 0);
}

int
snapshot_save_bytes(SnapshotStore *store, const Snapshot *snapshot)
{
	return save(store, "SELECT snapshot_save_bytea($1, $2, $3, $4)", snapshot, 1);
}

/* A row of stream, sequence number, schema version and state. */
static Snapshot
snapshot_of(const PGresult *result, int row, bool bytes)
{
	const char *state = PQgetvalue(result, row, 3);
	Snapshot	snapshot = {
		.stream_id = strdup(PQgetvalue(result, row, 0)),
		.sequence_number = strtoll(PQgetvalue(result, row, 1), NULL, 10),
		.state_schema_version = (uint32_t) strtoul(PQgetvalue(result, row, 2), NULL, 10),
		.size = (size_t) PQgetlength(result, row, 3),
	};

	snapshot.state = bytes ? (char *) PQunescapeBytea((const unsigned char *) state, &snapshot.size)
		: strdup(state);
	return snapshot;
}

static int
load(SnapshotStore *store, const char *statement, const char *stream_id, const char *versions, bool bytes,
	 Snapshot *snapshot)
{
	PGresult   *result = snapshot_query(store, statement, 2, (const char *const[]) {stream_id, versions});
	int			found;

	if (result == NULL)
		return -1;
	found = PQntuples(result);
	if (found > 0)
		*snapshot = snapshot_of(result, 0, bytes);
	PQclear(result);
	return found;
}

int
snapshot_load(SnapshotStore *store, const char *stream_id, const char *versions, Snapshot *snapshot)
{
	return load(store, "SELECT $1::text, sequence_number, state_schema_version, state"
				" FROM snapshot_load($1, $2)", stream_id, versions, false, snapshot);
}

int
snapshot_load_bytes(SnapshotStore *store, const char *stream_id, const char *versions, Snapshot *snapshot)
{
	return load(store, "SELECT $1::text, sequence_number, state_schema_version, state"
				" FROM snapshot_load_bytea($1, $2)", stream_id, versions, true, snapshot);
}

/* ---- batches ---- */

/* An array as text: a new element, in quotes, which any text may be in. */
static void
append(FILE *array, const char *text)
{
	putc(ftell(array) == 0 ? '{' : ',', array);
	putc('"', array);
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			putc('\\', array);
		putc(*text, array);
	}
	putc('"', array);
}

/* Ends it. */
static void
finish(FILE *array)
{
	fputs(ftell(array) == 0 ? "{}" : "}", array);
	fclose(array);
}

int
snapshot_save_many(SnapshotStore *store, const Snapshot *snapshots, int count, bool *stored)
{
	char	   *arrays[4];
	size_t		sizes[4];
	FILE	   *streams[4];
	PGresult   *result;
	int			sum = 0;

	for (int i = 0; i < 4; i++)
		streams[i] = open_memstream(&arrays[i], &sizes[i]);
	for (int i = 0; i < count; i++)
	{
		char		number[24];

		append(streams[0], snapshots[i].stream_id);
		snprintf(number, sizeof number, "%" PRId64, snapshots[i].sequence_number);
		append(streams[1], number);
		snprintf(number, sizeof number, "%" PRIu32, snapshots[i].state_schema_version);
		append(streams[2], number);
		append(streams[3], snapshots[i].state);
	}
	for (int i = 0; i < 4; i++)
		finish(streams[i]);
	result = snapshot_query(store, "SELECT stored FROM snapshot_save_many($1, $2, $3, $4)", 4,
							(const char *const *) arrays);
	for (int i = 0; i < 4; i++)
		free(arrays[i]);
	if (result == NULL)
		return -1;
	/* The rows are in the order of the arrays. */
	for (int i = 0; i < count; i++)
		sum += stored[i] = PQgetvalue(result, i, 0)[0] == 't';
	PQclear(result);
	return sum;
}

int
snapshot_load_many(SnapshotStore *store, const char *const *stream_ids, int count, const char *versions,
				   Snapshot *snapshots)
{
	char	   *array;
	size_t		size;
	FILE	   *stream = open_memstream(&array, &size);
	PGresult   *result;
	int			found;

	for (int i = 0; i < count; i++)
		append(stream, stream_ids[i]);
	finish(stream);
	result = snapshot_query(store, "SELECT stream_id, sequence_number, state_schema_version, state"
							" FROM snapshot_load_many($1, $2)", 2, (const char *const[]) {array, versions});
	free(array);
	if (result == NULL)
		return -1;
	found = PQntuples(result);
	for (int i = 0; i < found; i++)
		snapshots[i] = snapshot_of(result, i, false);
	PQclear(result);
	return found;
}

void
snapshot_free(Snapshot *snapshot)
{
	free(snapshot->stream_id);
	free(snapshot->state);
}
