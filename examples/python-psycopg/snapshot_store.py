"""Snapshots of event-sourced streams, by psycopg 3."""

from collections.abc import Iterable
from typing import NamedTuple

from psycopg_pool import ConnectionPool


class Snapshot(NamedTuple):
    sequence_number: int
    state_schema_version: int
    state: str | bytes  # JSON as text, kept to the letter


# psycopg would parse a state that is loaded as json.
SAVE = "SELECT snapshot_save(%s, %s, %s, %s)"
LOAD = """
    SELECT sequence_number, state_schema_version, state::text FROM snapshot_load(%s, %s)"""
SAVE_BYTES = "SELECT snapshot_save_bytea(%s, %s, %s, %b)"
LOAD_BYTES = """
    SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea(%s, %s)"""
# An array of states is sent as text[], and in binary, which saves the quoting.
SAVE_MANY = "SELECT stream_id, stored FROM snapshot_save_many(%b, %b, %b, %b::text[]::json[])"
LOAD_MANY = """
    SELECT stream_id, sequence_number, state_schema_version, state::text
    FROM snapshot_load_many(%s, %s)"""


class SnapshotStore:
    """Each call is a transaction of its own, which has been committed when it returns.

    Schema versions are lists: psycopg makes a row of a tuple.
    """

    def __init__(self, pool: ConnectionPool):
        self.pool = pool

    def save(self, stream_id: str, sequence_number: int, state_schema_version: int, state: str) -> bool:
        """False if a newer snapshot of this schema version is kept, or the store is off."""
        return self._query(SAVE, stream_id, sequence_number, state_schema_version, state)[0][0]

    def load(self, stream_id: str, recognized_schema_versions: list[int]) -> Snapshot | None:
        rows = self._query(LOAD, stream_id, recognized_schema_versions)
        return Snapshot(*rows[0]) if rows else None

    def save_bytes(
        self, stream_id: str, sequence_number: int, state_schema_version: int, state: bytes
    ) -> bool:
        return self._query(SAVE_BYTES, stream_id, sequence_number, state_schema_version, state)[0][0]

    def load_bytes(self, stream_id: str, recognized_schema_versions: list[int]) -> Snapshot | None:
        rows = self._query(LOAD_BYTES, stream_id, recognized_schema_versions)
        return Snapshot(*rows[0]) if rows else None

    def save_many(self, snapshots: Iterable[tuple[str, int, int, str]]) -> dict[str, bool]:
        """All or none, with one flush; tells of each stream whether its snapshot was stored."""
        columns = [list(column) for column in zip(*snapshots)] or [[], [], [], []]
        return dict(self._query(SAVE_MANY, *columns))

    def load_many(self, stream_ids: list[str], recognized_schema_versions: list[int]) -> dict[str, Snapshot]:
        rows = self._query(LOAD_MANY, stream_ids, recognized_schema_versions)
        return {stream_id: Snapshot(*snapshot) for stream_id, *snapshot in rows}

    def _query(self, statement: str, *parameters) -> list[tuple]:
        with self.pool.connection() as connection:  # commits at its end
            return connection.execute(statement, parameters).fetchall()
