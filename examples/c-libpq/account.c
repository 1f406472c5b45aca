/* An event-sourced account: account STREAM [AMOUNT ...] deposits, and prints the balance. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "snapshot_store.h"

#define VERSIONS "{1}"

/* The snapshot, and the events after it, in one round trip.  The server takes the JSON apart. */
static const char rehydrate[] =
	"WITH snapshot AS MATERIALIZED ("
	"    SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)"
	") "
	"SELECT sequence_number, state_schema_version, state ->> 'balance' FROM snapshot "
	"UNION ALL "
	"SELECT sequence_number, NULL, data ->> 'amount' FROM account_event "
	"WHERE stream_id = $1 AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0) "
	/* It always holds: with it, the planner takes the key, however long the stream is. */
	"AND sequence_number <= 9223372036854775807 "
	"ORDER BY sequence_number";

typedef struct Account
{
	SnapshotStore *store;
	const char *stream_id;
	int			interval;		/* a snapshot after so many events */
	int64_t		balance;
	int64_t		sequence_number;
	int64_t		snapshot_number;	/* where the last snapshot is, or 0 */
} Account;

/* Also anew, to try again after 23505. */
static int
account_load(Account *account)
{
	PGresult   *rows = snapshot_query(account->store, rehydrate, 2,
									  (const char *const[]) {account->stream_id, VERSIONS});

	if (rows == NULL)
		return -1;
	account->balance = account->sequence_number = account->snapshot_number = 0;
	for (int i = 0; i < PQntuples(rows); i++)
	{
		int64_t		value = strtoll(PQgetvalue(rows, i, 2), NULL, 10);

		account->sequence_number = strtoll(PQgetvalue(rows, i, 0), NULL, 10);
		if (PQgetisnull(rows, i, 1))
			account->balance += value;
		else
		{
			account->balance = value;
			account->snapshot_number = account->sequence_number;
		}
	}
	PQclear(rows);
	return 0;
}

/* An error does not matter to the caller: the event is stored, and the next snapshot makes up for this one. */
static void
account_save_snapshot(Account *account)
{
	char		sequence_number[24];
	char		interval[16];
	char		state[64];
	Snapshot	snapshot = {(char *) account->stream_id, account->sequence_number, 1, state, 0};
	PGresult   *due;
	int			stored = 0;

	snprintf(sequence_number, sizeof sequence_number, "%" PRId64, account->sequence_number);
	snprintf(interval, sizeof interval, "%d", account->interval);
	snprintf(state, sizeof state, "{\"balance\": %" PRId64 "}", account->balance);
	due = snapshot_query(account->store, "SELECT snapshot_due($1, $2, $3, $4)", 4,
						 (const char *const[]) {account->stream_id, VERSIONS, sequence_number, interval});
	if (due != NULL && PQgetvalue(due, 0, 0)[0] == 't')
		stored = snapshot_save(account->store, &snapshot);
	if (due == NULL || stored < 0)
		fprintf(stderr, "no snapshot of %s: %s", account->stream_id,
				PQerrorMessage(account->store->connection));
	if (stored > 0)
		account->snapshot_number = account->sequence_number;
	PQclear(due);
}

/* Returns -1 after an error, which is 23505 if somebody else has appended to the stream meanwhile. */
static int
account_deposit(Account *account, int64_t amount)
{
	char		sequence_number[24];
	char		event[64];
	PGresult   *result;

	snprintf(sequence_number, sizeof sequence_number, "%" PRId64, account->sequence_number + 1);
	snprintf(event, sizeof event, "{\"amount\": %" PRId64 "}", amount);
	result = snapshot_query(account->store,
							"INSERT INTO account_event (stream_id, sequence_number, data) VALUES ($1, $2, $3)",
							3, (const char *const[]) {account->stream_id, sequence_number, event});
	if (result == NULL)
		return -1;
	PQclear(result);
	account->sequence_number++;
	account->balance += amount;
	if (account->sequence_number - account->snapshot_number >= account->interval)
		account_save_snapshot(account);
	return 0;
}

int
main(int argc, char **argv)
{
	const char *url = getenv("DATABASE_URL");
	SnapshotStore store;
	Account		account = {.store = &store, .stream_id = argv[1], .interval = 100};
	int			failed;

	if (argc < 2)
	{
		fprintf(stderr, "usage: account STREAM [AMOUNT ...]\n");
		return 1;
	}
	store.connection = PQconnectdb(url ? url : "");
	failed = account_load(&account) < 0;
	for (int i = 2; i < argc && !failed; i++)
		failed = account_deposit(&account, strtoll(argv[i], NULL, 10)) < 0;
	if (failed)
		fprintf(stderr, "account: %s", PQerrorMessage(store.connection));
	else
		printf("%" PRId64 "\n", account.balance);
	PQfinish(store.connection);
	return failed;
}
