"""Snapshots of event-sourced streams, by asyncpg."""

from collections.abc import Iterable
from typing import NamedTuple

import asyncpg


class Snapshot(NamedTuple):
    sequence_number: int
    state_schema_version: int
    state: str | bytes  # JSON as text, kept to the letter


# By way of text, because a codec for json, if the connections have one, would make a JSON string of a state
# that is saved, and parse one that is loaded.
SAVE = "SELECT snapshot_save($1, $2, $3, $4::text::json)"
LOAD = "SELECT sequence_number, state_schema_version, state::text FROM snapshot_load($1, $2)"
SAVE_BYTES = "SELECT snapshot_save_bytea($1, $2, $3, $4)"
LOAD_BYTES = "SELECT sequence_number, state_schema_version, state FROM snapshot_load_bytea($1, $2)"
SAVE_MANY = "SELECT stream_id, stored FROM snapshot_save_many($1, $2, $3, $4::text[]::json[])"
LOAD_MANY = """
    SELECT stream_id, sequence_number, state_schema_version, state::text
    FROM snapshot_load_many($1, $2)"""


class SnapshotStore:
    """Each call is a transaction of its own, which has been committed when it returns.

    Through PgBouncer in transaction mode, the pool needs statement_cache_size=0.
    """

    def __init__(self, pool: asyncpg.Pool):
        self.pool = pool

    async def save(self, stream_id: str, sequence_number: int, state_schema_version: int, state: str) -> bool:
        """False if a newer snapshot of this schema version is kept, or the store is off."""
        return await self.pool.fetchval(SAVE, stream_id, sequence_number, state_schema_version, state)

    async def load(self, stream_id: str, recognized_schema_versions: list[int]) -> Snapshot | None:
        row = await self.pool.fetchrow(LOAD, stream_id, recognized_schema_versions)
        return row and Snapshot(*row)

    async def save_bytes(
        self, stream_id: str, sequence_number: int, state_schema_version: int, state: bytes
    ) -> bool:
        return await self.pool.fetchval(SAVE_BYTES, stream_id, sequence_number, state_schema_version, state)

    async def load_bytes(self, stream_id: str, recognized_schema_versions: list[int]) -> Snapshot | None:
        row = await self.pool.fetchrow(LOAD_BYTES, stream_id, recognized_schema_versions)
        return row and Snapshot(*row)

    async def save_many(self, snapshots: Iterable[tuple[str, int, int, str]]) -> dict[str, bool]:
        """All or none, with one flush; tells of each stream whether its snapshot was stored."""
        columns = list(zip(*snapshots)) or [[], [], [], []]
        return dict(await self.pool.fetch(SAVE_MANY, *columns))

    async def load_many(
        self, stream_ids: list[str], recognized_schema_versions: list[int]
    ) -> dict[str, Snapshot]:
        rows = await self.pool.fetch(LOAD_MANY, stream_ids, recognized_schema_versions)
        return {stream_id: Snapshot(*snapshot) for stream_id, *snapshot in rows}
