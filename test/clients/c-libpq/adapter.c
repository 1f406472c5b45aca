/* The adapter of test/clients/scenario.pl. */
#include <jansson.h>
#include <string.h>

/* The account with its program, and whatever that needs. */
#define main account_main
#include "account.c"
#undef main

static const char *url;

static const char *
text_of(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

/* An array of PostgreSQL, of texts without anything to quote. */
static const char *
versions_of(const json_t *request)
{
	static char array[256];
	const json_t *version;
	size_t		i,
				end = 0;

	array[end++] = '{';
	json_array_foreach(json_object_get(request, "versions"), i, version)
		end += (size_t) snprintf(array + end, sizeof array - end, "%s%s", i > 0 ? "," : "", json_string_value(version));
	snprintf(array + end, sizeof array - end, "}");
	return array;
}

/* False if the type does not admit the schema version. */
static bool
snapshot_of(const json_t *json, Snapshot *snapshot)
{
	unsigned long version = strtoul(text_of(json, "version"), NULL, 10);

	*snapshot = (Snapshot) {
		(char *) text_of(json, "stream"), strtoll(text_of(json, "sequence"), NULL, 10), (uint32_t) version,
			(char *) text_of(json, "state"), 0
	};
	return version <= UINT32_MAX;
}

static json_t *
json_of(const Snapshot *snapshot, bool bytes)
{
	char		number[24];
	char	   *hex = malloc(2 * snapshot->size + 1);
	json_t	   *json = json_object();

	snprintf(number, sizeof number, "%" PRId64, snapshot->sequence_number);
	json_object_set_new(json, "sequence", json_string(number));
	snprintf(number, sizeof number, "%" PRIu32, snapshot->state_schema_version);
	json_object_set_new(json, "version", json_string(number));
	hex[0] = '\0';
	for (size_t i = 0; bytes && i < snapshot->size; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char) snapshot->state[i]);
	json_object_set_new(json, "state", json_string(bytes ? hex : snapshot->state));
	free(hex);
	return json;
}

static json_t *
message(const char *text)
{
	return json_pack("{s:{s:s}}", "error", "message", text);
}

/* libpq has no exceptions.  What is nearest is the status of the result. */
static json_t *
error_of(const SnapshotStore *store)
{
	if (store->sqlstate[0] == '\0')
		return message(PQerrorMessage(store->connection));
	return json_pack("{s:{s:s, s:s}}", "error", "sqlstate", store->sqlstate, "type", PQresStatus(PGRES_FATAL_ERROR));
}

static json_t *
stored_or_error(const SnapshotStore *store, int stored)
{
	return stored < 0 ? error_of(store) : json_pack("{s:b}", "stored", stored);
}

/* ---- operations ---- */

static json_t *
save(SnapshotStore *store, const json_t *request)
{
	Snapshot	snapshot;

	if (!snapshot_of(request, &snapshot))
		return message("no uint32_t");
	return stored_or_error(store, snapshot_save(store, &snapshot));
}

static json_t *
save_bytes(SnapshotStore *store, const json_t *request)
{
	Snapshot	snapshot;
	const char *hex = text_of(request, "state");
	int			stored;

	if (!snapshot_of(request, &snapshot))
		return message("no uint32_t");
	snapshot.size = strlen(hex) / 2;
	snapshot.state = malloc(snapshot.size + 1);
	for (size_t i = 0; i < snapshot.size; i++)
		snapshot.state[i] = (char) strtoul((char[]) {hex[2 * i], hex[2 * i + 1], '\0'}, NULL, 16);
	stored = snapshot_save_bytes(store, &snapshot);
	free(snapshot.state);
	return stored_or_error(store, stored);
}

static json_t *
found_or_error(const SnapshotStore *store, int found, Snapshot *snapshot, bool bytes)
{
	json_t	   *reply;

	if (found < 0)
		return error_of(store);
	if (found == 0)
		return json_pack("{s:n}", "snapshot");
	reply = json_pack("{s:o}", "snapshot", json_of(snapshot, bytes));
	snapshot_free(snapshot);
	return reply;
}

static json_t *
load(SnapshotStore *store, const json_t *request)
{
	Snapshot	snapshot;
	int			found = snapshot_load(store, text_of(request, "stream"), versions_of(request), &snapshot);

	return found_or_error(store, found, &snapshot, false);
}

static json_t *
load_bytes(SnapshotStore *store, const json_t *request)
{
	Snapshot	snapshot;
	int			found = snapshot_load_bytes(store, text_of(request, "stream"), versions_of(request), &snapshot);

	return found_or_error(store, found, &snapshot, true);
}

static json_t *
save_many(SnapshotStore *store, const json_t *request)
{
	Snapshot	snapshots[100];
	bool		stored[100];
	json_t	   *list = json_object_get(request, "snapshots");
	json_t	   *by_stream = json_object();
	int			count = (int) json_array_size(list);

	for (int i = 0; i < count; i++)
		snapshot_of(json_array_get(list, (size_t) i), &snapshots[i]);
	if (snapshot_save_many(store, snapshots, count, stored) < 0)
	{
		json_decref(by_stream);
		return error_of(store);
	}
	for (int i = 0; i < count; i++)
		json_object_set_new(by_stream, snapshots[i].stream_id, json_boolean(stored[i]));
	return json_pack("{s:o}", "stored", by_stream);
}

static json_t *
load_many(SnapshotStore *store, const json_t *request)
{
	Snapshot	snapshots[1000];
	const char *streams[1000];
	json_t	   *list = json_object_get(request, "streams");
	json_t	   *by_stream = json_object();
	int			count = (int) json_array_size(list);
	int			found;

	for (int i = 0; i < count; i++)
		streams[i] = json_string_value(json_array_get(list, (size_t) i));
	found = snapshot_load_many(store, streams, count, versions_of(request), snapshots);
	if (found < 0)
	{
		json_decref(by_stream);
		return error_of(store);
	}
	for (int i = 0; i < found; i++)
	{
		json_object_set_new(by_stream, snapshots[i].stream_id, json_of(&snapshots[i], false));
		snapshot_free(&snapshots[i]);
	}
	return json_pack("{s:o}", "snapshots", by_stream);
}

static json_t *
forget(SnapshotStore *store, const json_t *request)
{
	SnapshotStore other = {.connection = PQconnectdb(url)};
	Snapshot	snapshot;
	json_t	   *reply;

	(void) store;
	snapshot_of(request, &snapshot);
	PQclear(PQexec(other.connection, "BEGIN"));
	reply = stored_or_error(&other, snapshot_save(&other, &snapshot));
	PQfinish(other.connection);
	return reply;
}

static json_t *
number(int64_t value)
{
	char		text[24];

	snprintf(text, sizeof text, "%" PRId64, value);
	return json_string(text);
}

static json_t *
account(SnapshotStore *store, const json_t *request)
{
	Account		account = {
		.store = store, .stream_id = text_of(request, "stream"),
		.interval = (int) json_integer_value(json_object_get(request, "interval"))
	};
	const json_t *amount;
	int64_t		replayed,
				saved = 0;
	size_t		i;

	if (account_load(&account) < 0 ||
		(json_is_true(json_object_get(request, "again")) && account_load(&account) < 0))
		return error_of(store);
	replayed = account.sequence_number - account.snapshot_number;
	json_array_foreach(json_object_get(request, "amounts"), i, amount)
	{
		int64_t		before = account.snapshot_number;

		if (account_deposit(&account, json_integer_value(amount)) < 0)
			return error_of(store);
		saved += account.snapshot_number != before;
	}
	return json_pack("{s:o, s:o, s:o}", "balance", number(account.balance), "replayed", number(replayed),
					 "saved", number(saved));
}

/* ---- the usual mistakes ---- */

static json_t *
result_or_error(SnapshotStore *store, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	json_t	   *reply;

	snprintf(store->sqlstate, sizeof store->sqlstate, "%s", sqlstate ? sqlstate : "");
	reply = status == PGRES_TUPLES_OK ? json_pack("{s:s}", "value", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "")
		: status == PGRES_COMMAND_OK ? json_pack("{s:s}", "command", PQcmdStatus(result))
		: error_of(store);
	PQclear(result);
	return reply;
}

/* By PQexecParams with all parameters as text, of the types, and loaded again in hex. */
static json_t *
bytes_as_text(SnapshotStore *store, const char *bytes)
{
	const char *parameters[] = {"quirk-bytes", bytes};
	PGresult   *result = PQexecParams(store->connection, "SELECT snapshot_save_bytea($1, 1, 1, $2)", 2, NULL,
									  parameters, NULL, NULL, 0);
	json_t	   *reply = result_or_error(store, result);

	if (json_object_get(reply, "error"))
		return reply;
	json_decref(reply);
	return result_or_error(store, PQexec(store->connection,
										 "SELECT encode(state, 'hex') FROM snapshot_load_bytea('quirk-bytes', '{1}')"));
}

static json_t *
quirk(SnapshotStore *store, const json_t *request)
{
	const char *name = text_of(request, "name");

	if (strcmp(name, "bytes_with_nul_as_text") == 0)
		return bytes_as_text(store, "a\0b");
	if (strcmp(name, "bytes_with_backslash_as_text") == 0)
		return bytes_as_text(store, "a\\b");
	if (strcmp(name, "bytes_in_text_result") == 0)
	{
		PQclear(PQexec(store->connection, "SELECT snapshot_save_bytea('quirk-result', 1, 1, 'ab')"));
		return result_or_error(store, PQexec(store->connection,
											 "SELECT state FROM snapshot_load_bytea('quirk-result', '{1}')"));
	}
	if (strcmp(name, "declared_text") == 0)
	{
		const Oid	types[] = {25};

		return result_or_error(store, PQexecParams(store->connection, "SELECT snapshot_save('quirk', 1, 1, $1)", 1, types,
												   (const char *const[]) {"{}"}, NULL, NULL, 0));
	}
	if (strcmp(name, "commit_after_error") == 0)
	{
		PQclear(PQexec(store->connection, "BEGIN"));
		PQclear(PQexec(store->connection, "SELECT snapshot_save('quirk-commit', 1, 1, '{}')"));
		PQclear(PQexec(store->connection, "SELECT snapshot_save('quirk-commit', 2, 1, '{')"));
		return result_or_error(store, PQexec(store->connection, "COMMIT"));
	}
	if (strcmp(name, "prepared_statement") == 0)
	{
		static bool prepared;

		if (!prepared)
			PQclear(PQprepare(store->connection, "load", "SELECT * FROM snapshot_load($1, $2)", 2, NULL));
		prepared = true;
		return result_or_error(store, PQexecPrepared(store->connection, "load", 2,
													 (const char *const[]) {"quirk", "{1}"}, NULL, NULL, 0));
	}
	return message("no such quirk");
}

static const struct
{
	const char *name;
	json_t	   *(*function) (SnapshotStore *store, const json_t *request);
} operations[] = {
	{"save", save}, {"load", load}, {"save_bytes", save_bytes}, {"load_bytes", load_bytes},
	{"save_many", save_many}, {"load_many", load_many}, {"forget", forget}, {"account", account}, {"quirk", quirk},
};

static json_t *
answer(SnapshotStore *store, const json_t *request)
{
	for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
		if (strcmp(operations[i].name, text_of(request, "op")) == 0)
			return operations[i].function(store, request);
	return message("no such operation");
}

int
main(void)
{
	SnapshotStore store;
	char	   *line = NULL;
	size_t		size = 0;

	url = getenv("DATABASE_URL");
	store.connection = PQconnectdb(url);
	while (getline(&line, &size, stdin) > 0)
	{
		json_t	   *request = json_loads(line, 0, NULL);
		json_t	   *reply = answer(&store, request);

		json_dumpf(reply, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(reply);
		json_decref(request);
	}
	free(line);
	PQfinish(store.connection);
	return 0;
}
