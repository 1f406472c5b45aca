"""The adapter of test/clients/scenario.pl."""

import json
import os
import sys

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

import snapshot_store
from account import Account
from snapshot_store import SnapshotStore

URL = os.environ["DATABASE_URL"]
POOLED = "POOLER" in os.environ and "DEFAULTS" not in os.environ


class CountingStore(SnapshotStore):
    saved = 0

    def save(self, *snapshot):
        stored = super().save(*snapshot)
        self.saved += stored
        return stored


def arguments(request):
    return request["stream"], int(request["sequence"]), int(request["version"]), request["state"]


def versions(request):
    return [int(version) for version in request["versions"]]


def reply_of(snapshot):
    return snapshot and {
        "sequence": str(snapshot.sequence_number),
        "version": str(snapshot.state_schema_version),
        "state": snapshot.state,
    }


def save(store, request):
    return {"stored": store.save(*arguments(request))}


def load(store, request):
    return {"snapshot": reply_of(store.load(request["stream"], versions(request)))}


def save_bytes(store, request):
    *numbers, state = arguments(request)
    return {"stored": store.save_bytes(*numbers, bytes.fromhex(state))}


def load_bytes(store, request):
    snapshot = store.load_bytes(request["stream"], versions(request))
    return {"snapshot": reply_of(snapshot and snapshot._replace(state=snapshot.state.hex()))}


def save_many(store, request):
    return {"stored": store.save_many(map(arguments, request["snapshots"]))}


def load_many(store, request):
    snapshots = store.load_many(request["streams"], versions(request))
    return {"snapshots": {stream: reply_of(snapshot) for stream, snapshot in snapshots.items()}}


def forget(store, request):
    connection = psycopg.connect(URL)
    stored = connection.execute(snapshot_store.SAVE, arguments(request)).fetchone()[0]
    connection.close()
    return {"stored": stored}


def account(store, request):
    counting = CountingStore(store.pool)
    for _ in range(2 if request.get("again") else 1):
        account = Account(store.pool, counting, request["stream"], request["interval"])
    replayed = account.sequence_number - account.snapshot_number
    for amount in request["amounts"]:
        account.deposit(amount)
    return {"balance": str(account.balance), "replayed": str(replayed), "saved": str(counting.saved)}


# ---- the usual mistakes -------------------------------------------------------------------


def query(store, statement, *parameters):
    with store.pool.connection() as connection:
        return connection.execute(statement, parameters).fetchall()


def versions_in_a_tuple(store):
    return query(store, snapshot_store.LOAD, "quirk", (1, 2))


def jsonb(store):
    return query(store, snapshot_store.SAVE, "quirk", 1, 1, Jsonb({}))


def beyond_bigint(store):
    return query(store, snapshot_store.SAVE, "quirk", 2**63, 1, "{}")


def binary_texts_in_a_batch(store):
    return query(store, "SELECT * FROM snapshot_save_many(%b, %b, %b, %b)", ["quirk"], [1], [1], ["{}"])


def state_as_json(store):
    store.save("quirk-as-json", 1, 1, '{"total": 12345678901234567890.10}')
    [(state,)] = query(store, "SELECT state FROM snapshot_load(%s, %s)", "quirk-as-json", [1])
    return {"state": json.dumps(state)}


def no_commit(store):
    connection = psycopg.connect(URL)
    stored = connection.execute(snapshot_store.SAVE, ("quirk-no-commit", 1, 1, "{}")).fetchone()[0]
    connection.close()
    return {"stored": stored, "loaded": store.load("quirk-no-commit", [1]) is not None}


def prepared_statements(store):
    store.load("quirk", [1])
    return {}


def quirk(store, request):
    quirks = [
        beyond_bigint,
        binary_texts_in_a_batch,
        jsonb,
        no_commit,
        prepared_statements,
        state_as_json,
        versions_in_a_tuple,
    ]
    return {quirk.__name__: quirk for quirk in quirks}[request["name"]](store)


OPERATIONS = {
    operation.__name__: operation
    for operation in (save, load, save_bytes, load_bytes, save_many, load_many, forget, account, quirk)
}


def answer(store, request):
    try:
        return OPERATIONS[request["op"]](store, request)
    except psycopg.Error as error:
        if error.sqlstate:
            return {"error": {"sqlstate": error.sqlstate, "type": type(error).__name__}}
        return {"error": {"message": str(error)}}
    except Exception as error:
        return {"error": {"message": repr(error)}}


with ConnectionPool(URL, min_size=1, kwargs={"prepare_threshold": None} if POOLED else {}) as pool:
    for line in sys.stdin:
        print(json.dumps(answer(SnapshotStore(pool), json.loads(line))), flush=True)
