"""An event-sourced account: python account.py STREAM [AMOUNT ...] deposits, and prints the balance."""

import json
import logging
import os
import sys

import psycopg
from psycopg.types.json import Json
from psycopg_pool import ConnectionPool

from snapshot_store import SnapshotStore

SCHEMA_VERSION = 1

# The snapshot, and the events after it, in one round trip.
REHYDRATE = """
    WITH snapshot AS MATERIALIZED (
        SELECT sequence_number, state_schema_version, state FROM snapshot_load(%(stream)s, %(versions)s)
    )
    SELECT sequence_number, state_schema_version, state AS data FROM snapshot
    UNION ALL
    SELECT sequence_number, NULL, data FROM account_event
    WHERE stream_id = %(stream)s AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
      AND sequence_number <= 9223372036854775807 -- always; for the planner
    ORDER BY sequence_number"""


class Account:
    def __init__(self, pool: ConnectionPool, store: SnapshotStore, stream_id: str, interval: int = 100):
        self.pool, self.store, self.stream_id, self.interval = pool, store, stream_id, interval
        self.balance = self.sequence_number = self.snapshot_number = 0
        with pool.connection() as connection:
            rows = connection.execute(REHYDRATE, {"stream": stream_id, "versions": [SCHEMA_VERSION]})
            for self.sequence_number, version, data in rows:
                if version is None:
                    self.balance += data["amount"]
                else:
                    self.balance, self.snapshot_number = data["balance"], self.sequence_number

    def deposit(self, amount: int) -> None:
        """Raises psycopg.errors.UniqueViolation if somebody else has appended to the stream meanwhile."""
        with self.pool.connection() as connection:
            connection.execute(
                "INSERT INTO account_event (stream_id, sequence_number, data) VALUES (%s, %s, %s)",
                (self.stream_id, self.sequence_number + 1, Json({"amount": amount})),
            )
        self.sequence_number += 1
        self.balance += amount
        if self.sequence_number - self.snapshot_number >= self.interval:
            self._save_snapshot()

    def _save_snapshot(self) -> None:
        try:
            with self.pool.connection() as connection:
                due = connection.execute(
                    "SELECT snapshot_due(%s, %s, %s, %s)",
                    (self.stream_id, [SCHEMA_VERSION], self.sequence_number, self.interval),
                ).fetchone()[0]
            state = json.dumps({"balance": self.balance})
            if due and self.store.save(self.stream_id, self.sequence_number, SCHEMA_VERSION, state):
                self.snapshot_number = self.sequence_number
        except psycopg.Error:  # the event is stored, and the next snapshot makes up for this one
            logging.exception("no snapshot of %s", self.stream_id)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python account.py STREAM [AMOUNT ...]")
    with ConnectionPool(os.environ["DATABASE_URL"]) as pool:
        account = Account(pool, SnapshotStore(pool), sys.argv[1])
        for amount in sys.argv[2:]:
            account.deposit(int(amount))
        print(account.balance)
