"""An event-sourced account: python account.py STREAM [AMOUNT ...] deposits, and prints the balance."""

import json
import logging
import os
import sys

from sqlalchemy import Engine, create_engine, make_url, text

from snapshot_store import SnapshotStore

SCHEMA_VERSION = 1

# The snapshot, and the events after it, in one round trip.
REHYDRATE = text("""
    WITH snapshot AS MATERIALIZED (
        SELECT sequence_number, state_schema_version, state FROM snapshot_load(:stream, :versions)
    )
    SELECT sequence_number, state_schema_version, state AS data FROM snapshot
    UNION ALL
    SELECT sequence_number, NULL, data FROM account_event
    WHERE stream_id = :stream AND sequence_number > coalesce((SELECT sequence_number FROM snapshot), 0)
      AND sequence_number <= 9223372036854775807 -- always; for the planner
    ORDER BY sequence_number""")
APPEND = text("""
    INSERT INTO account_event (stream_id, sequence_number, data) VALUES (:stream, :number, :data)""")
DUE = text("SELECT snapshot_due(:stream, :versions, :number, :interval)")


class Account:
    def __init__(self, engine: Engine, store: SnapshotStore, stream_id: str, interval: int = 100):
        self.engine, self.store, self.stream_id, self.interval = engine, store, stream_id, interval
        self.balance = self.sequence_number = self.snapshot_number = 0
        with engine.connect() as connection:
            rows = connection.execute(REHYDRATE, {"stream": stream_id, "versions": [SCHEMA_VERSION]})
            for self.sequence_number, version, data in rows:
                if version is None:
                    self.balance += data["amount"]
                else:
                    self.balance, self.snapshot_number = data["balance"], self.sequence_number

    def deposit(self, amount: int) -> None:
        """Raises sqlalchemy.exc.IntegrityError if somebody else has appended to the stream meanwhile."""
        number, data = self.sequence_number + 1, json.dumps({"amount": amount})
        with self.engine.begin() as connection:  # commits; connect() would not
            connection.execute(APPEND, {"stream": self.stream_id, "number": number, "data": data})
        self.sequence_number = number
        self.balance += amount
        if self.sequence_number - self.snapshot_number >= self.interval:
            self._save_snapshot()

    def _save_snapshot(self) -> None:
        try:
            with self.engine.connect() as connection:
                due = connection.scalar(
                    DUE,
                    {
                        "stream": self.stream_id,
                        "versions": [SCHEMA_VERSION],
                        "number": self.sequence_number,
                        "interval": self.interval,
                    },
                )
            state = json.dumps({"balance": self.balance})
            if due and self.store.save(self.stream_id, self.sequence_number, SCHEMA_VERSION, state):
                self.snapshot_number = self.sequence_number
        except Exception:  # the event is stored, and the next snapshot makes up for this one
            logging.exception("no snapshot of %s", self.stream_id)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python account.py STREAM [AMOUNT ...]")
    # SQLAlchemy does not know postgres://, and is to be told which driver.
    engine = create_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    account = Account(engine, SnapshotStore(engine), sys.argv[1])
    for amount in sys.argv[2:]:
        account.deposit(int(amount))
    print(account.balance)
