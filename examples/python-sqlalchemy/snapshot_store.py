"""Snapshots of event-sourced streams, by SQLAlchemy 2 over psycopg 3."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Engine, text


class Snapshot(NamedTuple):
    sequence_number: int
    state_schema_version: int
    state: str | bytes  # JSON as text, kept to the letter


# psycopg would parse a state that is loaded as json. A cast of a parameter, where one is needed, is
# CAST(:state AS json): text() takes :state::json for no parameter.
SAVE = text("SELECT snapshot_save(:stream_id, :sequence_number, :state_schema_version, :state)")
LOAD = text("""
    SELECT sequence_number, state_schema_version, state::text
    FROM snapshot_load(:stream_id, :recognized_schema_versions)""")
SAVE_BYTES = text("SELECT snapshot_save_bytea(:stream_id, :sequence_number, :state_schema_version, :state)")
LOAD_BYTES = text("""
    SELECT sequence_number, state_schema_version, state
    FROM snapshot_load_bytea(:stream_id, :recognized_schema_versions)""")
# In psycopg's own form: %b sends arrays in binary, which saves the quoting.
SAVE_MANY = "SELECT stream_id, stored FROM snapshot_save_many(%b, %b, %b, %b::text[]::json[])"
LOAD_MANY = text("""
    SELECT stream_id, sequence_number, state_schema_version, state::text
    FROM snapshot_load_many(:stream_ids, :recognized_schema_versions)""")


class SnapshotStore:
    """Each call is a transaction of its own, which has been committed when it returns.

    Schema versions are lists: psycopg makes a row of a tuple. Through PgBouncer in transaction mode, the
    engine needs connect_args={"prepare_threshold": None}.
    """

    def __init__(self, engine: Engine):
        self.engine = engine

    def save(self, stream_id: str, sequence_number: int, state_schema_version: int, state: str) -> bool:
        """False if a newer snapshot of this schema version is kept, or the store is off."""
        return self._save(SAVE, stream_id, sequence_number, state_schema_version, state)

    def load(self, stream_id: str, recognized_schema_versions: list[int]) -> Snapshot | None:
        return self._load(LOAD, stream_id, recognized_schema_versions)

    def save_bytes(
        self, stream_id: str, sequence_number: int, state_schema_version: int, state: bytes
    ) -> bool:
        return self._save(SAVE_BYTES, stream_id, sequence_number, state_schema_version, state)

    def load_bytes(self, stream_id: str, recognized_schema_versions: list[int]) -> Snapshot | None:
        return self._load(LOAD_BYTES, stream_id, recognized_schema_versions)

    def save_many(self, snapshots: Iterable[tuple[str, int, int, str]]) -> dict[str, bool]:
        """All or none, with one flush; tells of each stream whether its snapshot was stored."""
        columns = tuple(list(column) for column in zip(*snapshots)) or ([], [], [], [])
        with self._connect() as connection:
            return dict(connection.exec_driver_sql(SAVE_MANY, columns).all())

    def load_many(self, stream_ids: list[str], recognized_schema_versions: list[int]) -> dict[str, Snapshot]:
        with self._connect() as connection:
            rows = connection.execute(
                LOAD_MANY,
                {"stream_ids": stream_ids, "recognized_schema_versions": recognized_schema_versions},
            )
            return {stream_id: Snapshot(*snapshot) for stream_id, *snapshot in rows}

    def _save(self, statement, stream_id, sequence_number, state_schema_version, state):
        with self._connect() as connection:
            return connection.scalar(
                statement,
                {
                    "stream_id": stream_id,
                    "sequence_number": sequence_number,
                    "state_schema_version": state_schema_version,
                    "state": state,
                },
            )

    def _load(self, statement, stream_id, recognized_schema_versions):
        with self._connect() as connection:
            row = connection.execute(
                statement, {"stream_id": stream_id, "recognized_schema_versions": recognized_schema_versions}
            ).first()
        return row and Snapshot(*row)

    def _connect(self):
        # Nobody can forget to commit. (An engine that has another isolation level would ignore this option.)
        return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
