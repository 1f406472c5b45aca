"""The adapter of test/clients/scenario.pl."""

import json
import os
import sys
import uuid

from sqlalchemy import JSON, bindparam, create_engine, func, make_url, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session

import snapshot_store
from account import Account
from snapshot_store import SnapshotStore

URL = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
POOLED = "POOLER" in os.environ and "DEFAULTS" not in os.environ


class CountingStore(SnapshotStore):
    saved = 0

    def save(self, *snapshot):
        stored = super().save(*snapshot)
        self.saved += stored
        return stored


def arguments(request):
    return request["stream"], int(request["sequence"]), int(request["version"]), request["state"]


def parameters(*snapshot):
    return dict(zip(("stream_id", "sequence_number", "state_schema_version", "state"), snapshot, strict=True))


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
    with Session(engine) as session:
        return {"stored": session.scalar(snapshot_store.SAVE, parameters(*arguments(request)))}


def account(store, request):
    counting = CountingStore(engine)
    for _ in range(2 if request.get("again") else 1):
        account = Account(engine, counting, request["stream"], request["interval"])
    replayed = account.sequence_number - account.snapshot_number
    for amount in request["amounts"]:
        account.deposit(amount)
    return {"balance": str(account.balance), "replayed": str(replayed), "saved": str(counting.saved)}


# ---- the usual mistakes -------------------------------------------------------------------


def scalar(statement, **parameters):
    with engine.begin() as connection:
        return connection.scalar(statement, parameters)


def save_as(type_, state, stream="quirk"):
    return scalar(select(func.snapshot_save(stream, 1, 1, bindparam("state", state, type_=type_))))


def state_of(store, stream):
    return {"state": store.load(stream, [1]).state}


def connection_without_commit(store):
    snapshot = parameters("quirk-sqlalchemy-connection", 1, 1, "{}")
    with engine.connect() as connection:
        stored = connection.scalar(snapshot_store.SAVE, snapshot)
    return {"stored": stored, "loaded": store.load(snapshot["stream_id"], [1]) is not None}


def session_without_commit(store):
    snapshot = parameters("quirk-sqlalchemy-session", 1, 1, "{}")
    with Session(engine) as session:
        stored = session.scalar(snapshot_store.SAVE, snapshot)
        session.flush()
    return {"stored": stored, "loaded": store.load(snapshot["stream_id"], [1]) is not None}


def text_as_json(store):
    save_as(JSON, '{"total": 1}', "quirk-sqlalchemy-text")
    return state_of(store, "quirk-sqlalchemy-text")


def spelling_of_json(store):
    save_as(JSON, {"total": 1e2, "é": []}, "quirk-sqlalchemy-spelling")
    return state_of(store, "quirk-sqlalchemy-spelling")


def none_as_json(store):
    save_as(JSON, None, "quirk-sqlalchemy-none")
    return state_of(store, "quirk-sqlalchemy-none")


def jsonb(store):
    return save_as(JSONB, {})


def text_in_func(store):
    return scalar(select(func.snapshot_save("quirk", 1, 1, "{}")))


def empty_list(store):
    store.save("quirk-sqlalchemy-list", 1, 1, [])
    return state_of(store, "quirk-sqlalchemy-list")


def load_as_json(store):
    store.save("quirk-sqlalchemy-load", 1, 1, '{"total": 12345678901234567890.10}')
    state = scalar(text("SELECT state FROM snapshot_load('quirk-sqlalchemy-load', '{1}')"))
    return {"state": json.dumps(state)}


def load_by_func(store):
    store.save("quirk-sqlalchemy-func", 1, 1, "{}")
    loaded = scalar(select(func.snapshot_load("quirk-sqlalchemy-func", [1])))
    return {"loaded": type(loaded).__name__}


def cast_by_colons(store):
    cast = text("SELECT snapshot_save(:stream_id, :sequence_number, :state_schema_version, :state::json)")
    return scalar(cast, **parameters("quirk", 1, 1, "{}"))


def json_in_text(store):
    try:
        return scalar(text("""SELECT snapshot_save('quirk', 1, 1, '{"total":1}')"""))
    except StatementError as error:
        return {"raised": type(error).__name__}


def versions_in_a_tuple(store):
    return store.load("quirk", (1, 2))


def beyond_bigint(store):
    return store.save("quirk", 2**63, 1, "{}")


def uuid_as_name(store):
    return store.save(uuid.uuid4(), 1, 1, "{}")


def no_answer(store):
    stream = "quirk-sqlalchemy-answer"
    with engine.begin() as connection:
        snapshots = [parameters(stream, 2, 1, "{}"), parameters(stream, 1, 1, "{}")]
        result = connection.execute(snapshot_store.SAVE, snapshots)
        return {"rows": result.returns_rows, "rowcount": result.rowcount}


def purge_in_a_transaction(store):
    return scalar(text("CALL snapshot_purge('quirk-sqlalchemy-purge', '{1}')"))


def autocommit_of_an_engine(store):
    stream = "quirk-sqlalchemy-autocommit"
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    with serializable.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.scalar(snapshot_store.SAVE, parameters(stream, 1, 1, "{}"))
    naive = store.load(stream, [1]) is not None
    SnapshotStore(serializable).save(stream, 1, 1, "{}")
    return {"naive": naive, "store": store.load(stream, [1]) is not None}


def prepared_statements(store):
    store.load("quirk", [1])
    return {}


def quirk(store, request):
    quirks = [
        autocommit_of_an_engine,
        beyond_bigint,
        cast_by_colons,
        connection_without_commit,
        empty_list,
        json_in_text,
        jsonb,
        load_as_json,
        load_by_func,
        no_answer,
        none_as_json,
        prepared_statements,
        purge_in_a_transaction,
        session_without_commit,
        spelling_of_json,
        text_as_json,
        text_in_func,
        uuid_as_name,
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
    except DBAPIError as error:
        if error.orig.sqlstate:
            return {"error": {"sqlstate": error.orig.sqlstate, "type": type(error).__name__}}
        return {"error": {"message": str(error)}}
    except Exception as error:
        return {"error": {"message": repr(error)}}


engine = create_engine(URL, connect_args={"prepare_threshold": None} if POOLED else {})
for line in sys.stdin:
    print(json.dumps(answer(SnapshotStore(engine), json.loads(line))), flush=True)
