"""Snapshots on several servers, each stream on one of them: doc/sharding.md."""

import hashlib
import heapq
import itertools
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import psycopg
from psycopg_pool import ConnectionPool

from snapshot_store import Snapshot, SnapshotStore

MAP = "SELECT part, conninfo FROM snapshot_part JOIN snapshot_server USING (server)"


def part_of(stream_id: str) -> str:
    """As left(md5(stream_id), 2) in a database in UTF-8, and in every language."""
    return hashlib.md5(stream_id.encode(), usedforsecurity=False).hexdigest()[:2]


class SnapshotShards:
    """The map is read again once a second, and while what a call would change is moving.

    As long as it cannot be read, the one that is known holds. A call waits so many seconds for a connection to
    its server, and for streams that are moving as long as the patience lasts, and then fails.
    """

    def __init__(self, map_pool: ConnectionPool, timeout: float = 5, patience: float = 30):
        self.map_pool, self.timeout, self.patience = map_pool, timeout, patience
        self.stores: dict[str, SnapshotStore] = {}
        self.lock = threading.Lock()
        self.read_map()

    def save(self, stream_id: str, sequence_number: int, state_schema_version: int, state: str) -> bool:
        return self.save_many([(stream_id, sequence_number, state_schema_version, state)])[stream_id]

    def load(self, stream_id: str, recognized_schema_versions: list[int]) -> Snapshot | None:
        return self._store(stream_id).load(stream_id, recognized_schema_versions)

    def due(self, stream_id: str, recognized_schema_versions: list[int], events: int, interval: int) -> bool:
        with self._store(stream_id).pool.connection() as connection:
            query = "SELECT snapshot_due(%s, %s, %s, %s)"
            parameters = stream_id, recognized_schema_versions, events, interval
            return connection.execute(query, parameters).fetchone()[0]

    def delete(self, stream_id: str) -> int:
        def on(store: SnapshotStore, rows: list[tuple]) -> dict[str, int]:
            with store.pool.connection() as connection:
                return {stream_id: connection.execute("SELECT snapshot_delete(%s)", rows[0]).fetchone()[0]}

        return self._change([(stream_id,)], on)[stream_id]

    def save_many(self, snapshots: Iterable[tuple[str, int, int, str]]) -> dict[str, bool]:
        """All or none of each server; when it fails, others' may be stored, and all can be sent again."""

        def on(store: SnapshotStore, rows: list[tuple]) -> dict[str, bool]:
            return {rows[0][0]: store.save(*rows[0])} if len(rows) == 1 else store.save_many(rows)

        return self._change(snapshots, on)

    def load_many(self, stream_ids: list[str], recognized_schema_versions: list[int]) -> dict[str, Snapshot]:
        found = {}
        for store, rows in self._by_store((stream_id,) for stream_id in stream_ids):
            found |= store.load_many([stream_id for (stream_id,) in rows], recognized_schema_versions)
        return found

    def census(self, prefix: str = "") -> dict[int, tuple[int, int]]:
        """Of each schema version, how many snapshots and streams."""
        snapshots, streams = Counter(), Counter()
        for store in self._all_stores():
            with store.pool.connection() as connection:
                for version, *counts in connection.execute("SELECT * FROM snapshot_census(%s)", [prefix]):
                    snapshots[version] += counts[0]
                    streams[version] += counts[1]
        return {version: (snapshots[version], streams[version]) for version in sorted(snapshots)}

    def outdated(
        self,
        prefix: str,
        recognized_schema_versions: list[int],
        max_streams: int = 1000,
        after: str | None = None,
    ) -> list[str]:
        """In the order of their names, which is that of Python, too."""
        lists = []
        for store in self._all_stores():
            with store.pool.connection() as connection:
                query = "SELECT snapshot_outdated(%s, %s, %s, %s)"
                parameters = prefix, recognized_schema_versions, max_streams, after
                lists.append([stream_id for (stream_id,) in connection.execute(query, parameters)])
        names = (stream_id for stream_id, _ in itertools.groupby(heapq.merge(*lists)))
        return list(itertools.islice(names, max_streams))

    def purge(self, prefix: str, recognized_schema_versions: list[int]) -> int:
        deleted = 0
        for store in self._all_stores():
            with psycopg.connect(store.pool.conninfo, autocommit=True) as connection:  # it commits by itself
                call = "CALL snapshot_purge(%s, %s)"
                deleted += connection.execute(call, [prefix, recognized_schema_versions]).fetchone()[0]
        return deleted

    def close(self) -> None:
        for store in self.stores.values():
            store.pool.close()

    def read_map(self) -> None:
        with self.lock:
            with self.map_pool.connection() as connection:
                new_map = dict(connection.execute(MAP).fetchall())
            for conninfo in set(new_map.values()) - self.stores.keys():
                pool = ConnectionPool(conninfo, min_size=0, max_size=10, timeout=self.timeout, open=True)
                self.stores[conninfo] = SnapshotStore(pool)
            self.map = new_map
            self.next_read = time.monotonic() + 1

    def _change(self, rows: Iterable[tuple], on: Callable[[SnapshotStore, list[tuple]], dict]) -> dict:
        """Sends each server its rows, and those that are moving once more when the map has changed."""
        deadline = time.monotonic() + self.patience
        answers, rest = {}, list(rows)
        while rest:
            moving = []
            for store, part in self._by_store(rest):
                try:
                    answers |= on(store, part)
                except psycopg.errors.ObjectInUse:
                    if time.monotonic() > deadline:
                        raise
                    moving += part
            if rest := moving:
                time.sleep(0.05)
                self.read_map()
        return answers

    def _by_store(self, rows: Iterable[tuple]) -> list[tuple[SnapshotStore, list[tuple]]]:
        """By the server of the stream that each row begins with."""
        parts = defaultdict(list)
        for row in rows:
            parts[self._store(row[0])].append(row)
        return list(parts.items())

    def _store(self, stream_id: str) -> SnapshotStore:
        return self.stores[self._current_map()[part_of(stream_id)]]

    def _all_stores(self) -> list[SnapshotStore]:
        return [self.stores[conninfo] for conninfo in sorted(set(self._current_map().values()))]

    def _current_map(self) -> dict[str, str]:
        if time.monotonic() > self.next_read:
            self.next_read = time.monotonic() + 1  # the others go on meanwhile
            try:
                self.read_map()
            except psycopg.Error as error:
                logging.warning("the map of snapshots cannot be read: %s", error)
        return self.map
