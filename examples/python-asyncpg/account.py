"""An event-sourced account: python account.py STREAM [AMOUNT ...] deposits, and prints the balance."""

import asyncio
import json
import logging
import os
import sys

import asyncpg

from snapshot_store import SnapshotStore

SCHEMA_VERSION = 1

# The snapshot, and the events after it, in one round trip.
REHYDRATE = """
    WITH snapshot AS MATERIALIZED (
        SELECT sequence_number, state_schema_version, state FROM snapshot_load($1, $2)
    )
    SELECT sequence_number, state_schema_version, state AS data FROM snapshot
    UNION ALL
    SELECT sequence_number, NULL, data FROM account_event
    WHERE stream_id = $1 AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
      AND sequence_number <= 9223372036854775807 -- always; for the planner
    ORDER BY sequence_number"""


class Account:
    def __init__(self, pool: asyncpg.Pool, store: SnapshotStore, stream_id: str, interval: int = 100):
        self.pool, self.store, self.stream_id, self.interval = pool, store, stream_id, interval

    async def load(self) -> None:
        """Also anew, to try again after UniqueViolationError."""
        rows = await self.pool.fetch(REHYDRATE, self.stream_id, [SCHEMA_VERSION])
        self.balance = self.sequence_number = self.snapshot_number = 0
        for self.sequence_number, version, data in rows:
            if version is None:
                self.balance += json.loads(data)["amount"]
            else:
                self.balance, self.snapshot_number = json.loads(data)["balance"], self.sequence_number

    async def deposit(self, amount: int) -> None:
        """Raises asyncpg.UniqueViolationError if somebody else has appended to the stream meanwhile."""
        await self.pool.execute(
            "INSERT INTO account_event (stream_id, sequence_number, data) VALUES ($1, $2, $3)",
            self.stream_id,
            self.sequence_number + 1,
            json.dumps({"amount": amount}),
        )
        self.sequence_number += 1
        self.balance += amount
        if self.sequence_number - self.snapshot_number >= self.interval:
            await self._save_snapshot()

    async def _save_snapshot(self) -> None:
        try:
            due = await self.pool.fetchval(
                "SELECT snapshot_due($1, $2, $3, $4)",
                self.stream_id,
                [SCHEMA_VERSION],
                self.sequence_number,
                self.interval,
            )
            state = json.dumps({"balance": self.balance})
            if due and await self.store.save(self.stream_id, self.sequence_number, SCHEMA_VERSION, state):
                self.snapshot_number = self.sequence_number
        except Exception:  # the event is stored, and the next snapshot makes up for this one
            logging.exception("no snapshot of %s", self.stream_id)


async def main() -> None:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1) as pool:
        account = Account(pool, SnapshotStore(pool), sys.argv[1])
        await account.load()
        for amount in sys.argv[2:]:
            await account.deposit(int(amount))
        print(account.balance)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python account.py STREAM [AMOUNT ...]")
    asyncio.run(main())
