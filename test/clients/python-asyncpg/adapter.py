"""The adapter of test/clients/scenario.pl."""

import asyncio
import json
import os
import sys
import uuid

import asyncpg

import snapshot_store
from account import Account
from snapshot_store import SnapshotStore

URL = os.environ["DATABASE_URL"]
POOLED = "POOLER" in os.environ and "DEFAULTS" not in os.environ


class CountingStore(SnapshotStore):
    saved = 0

    async def save(self, *snapshot):
        stored = await super().save(*snapshot)
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


async def save(store, request):
    return {"stored": await store.save(*arguments(request))}


async def load(store, request):
    return {"snapshot": reply_of(await store.load(request["stream"], versions(request)))}


async def save_bytes(store, request):
    *numbers, state = arguments(request)
    return {"stored": await store.save_bytes(*numbers, bytes.fromhex(state))}


async def load_bytes(store, request):
    snapshot = await store.load_bytes(request["stream"], versions(request))
    return {"snapshot": reply_of(snapshot and snapshot._replace(state=snapshot.state.hex()))}


async def save_many(store, request):
    return {"stored": await store.save_many(map(arguments, request["snapshots"]))}


async def load_many(store, request):
    snapshots = await store.load_many(request["streams"], versions(request))
    return {"snapshots": {stream: reply_of(snapshot) for stream, snapshot in snapshots.items()}}


async def forget(store, request):
    connection = await asyncpg.connect(URL)
    await connection.transaction().start()
    stored = await connection.fetchval(snapshot_store.SAVE, *arguments(request))
    await connection.close()
    return {"stored": stored}


async def account(store, request):
    counting = CountingStore(store.pool)
    account = Account(store.pool, counting, request["stream"], request["interval"])
    await account.load()
    if request.get("again"):
        await account.load()
    replayed = account.sequence_number - account.snapshot_number
    for amount in request["amounts"]:
        await account.deposit(amount)
    return {"balance": str(account.balance), "replayed": str(replayed), "saved": str(counting.saved)}


# ---- the usual mistakes -------------------------------------------------------------------

NAIVE_SAVE = "SELECT snapshot_save($1, $2, $3, $4)"


def with_a_codec():
    async def set_codec(connection):
        await connection.set_type_codec("json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)

    return asyncpg.create_pool(URL, min_size=1, init=set_codec)


async def text_with_a_codec(store):
    async with with_a_codec() as pool:
        await pool.fetchval(NAIVE_SAVE, "quirk-asyncpg-text", 1, 1, '{"total": 1}')
    return {"state": (await store.load("quirk-asyncpg-text", [1])).state}


async def codec(store):
    async with with_a_codec() as pool:
        await pool.fetchval(NAIVE_SAVE, "quirk-asyncpg-codec", 1, 1, {"total": 1e2, "é": []})
    return {"state": (await store.load("quirk-asyncpg-codec", [1])).state}


async def load_by_codec(store):
    await store.save("quirk-asyncpg-load", 1, 1, '{"total": 12345678901234567890.10}')
    async with with_a_codec() as pool:
        state = await pool.fetchval("SELECT state FROM snapshot_load($1, $2)", "quirk-asyncpg-load", [1])
    return {"state": json.dumps(state)}


async def store_with_a_codec(store):
    state = '{"total": 12345678901234567890.10,  "a": []}'
    async with with_a_codec() as pool:
        store = SnapshotStore(pool)
        await store.save("quirk-asyncpg-store-1", 1, 1, state)
        await store.save_many([("quirk-asyncpg-store-2", 1, 1, state)])
        one = await store.load("quirk-asyncpg-store-2", [1])
        many = await store.load_many(["quirk-asyncpg-store-1"], [1])
        return {"to_the_letter": [one, *many.values()] == [(1, 1, state)] * 2}


async def dict_without_a_codec(store):
    return await store.pool.fetchval(NAIVE_SAVE, "quirk", 1, 1, {})


async def fraction(store):
    await store.pool.fetchval(NAIVE_SAVE, "quirk-asyncpg-fraction", 42.7, 1, "{}")
    return {"sequence": (await store.load("quirk-asyncpg-fraction", [1])).sequence_number}


async def beyond_bigint(store):
    return await store.save("quirk", 2**63, 1, "{}")


async def uuid_as_name(store):
    return await store.save(uuid.uuid4(), 1, 1, "{}")


async def texts_in_a_batch(store):
    return await store.pool.fetch(
        "SELECT * FROM snapshot_save_many($1, $2, $3, $4::text[])", ["quirk"], [1], [1], ["{}"]
    )


async def no_answer(store):
    await store.save("quirk-asyncpg-answer", 2, 1, "{}")
    return {
        "execute": await store.pool.execute(NAIVE_SAVE, "quirk-asyncpg-answer", 1, 1, "{}"),
        "executemany": await store.pool.executemany(NAIVE_SAVE, [("quirk-asyncpg-answer", 1, 1, "{}")]),
    }


async def purge_in_a_transaction(store):
    async with store.pool.acquire() as connection, connection.transaction():
        return await connection.fetchval("CALL snapshot_purge($1, $2)", "quirk-asyncpg-purge", [1])


async def set_in_a_pool(store):
    async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool:
        await pool.fetchval("SELECT snapshot_should_take(0, 0, 0)")  # loads the library
        async with pool.acquire() as connection:
            await connection.execute("SET snapshot_store.keep_versions = 2")
        return {"keep_versions": await pool.fetchval("SHOW snapshot_store.keep_versions")}


async def prepared_statements(store):
    async with store.pool.acquire() as connection:
        for _ in range(2):
            await connection.fetchrow(snapshot_store.LOAD, "quirk", [1])
    return {}


async def server_settings(store):
    connection = await asyncpg.connect(URL, server_settings={"snapshot_store.keep_versions": "2"})
    await connection.close()
    return {}


async def quirk(store, request):
    quirks = [
        beyond_bigint,
        codec,
        dict_without_a_codec,
        fraction,
        load_by_codec,
        no_answer,
        prepared_statements,
        purge_in_a_transaction,
        server_settings,
        set_in_a_pool,
        store_with_a_codec,
        text_with_a_codec,
        texts_in_a_batch,
        uuid_as_name,
    ]
    return await {quirk.__name__: quirk for quirk in quirks}[request["name"]](store)


OPERATIONS = {
    operation.__name__: operation
    for operation in (save, load, save_bytes, load_bytes, save_many, load_many, forget, account, quirk)
}


async def answer(store, request):
    try:
        return await OPERATIONS[request["op"]](store, request)
    except asyncpg.PostgresError as error:
        return {"error": {"sqlstate": error.sqlstate, "type": type(error).__name__}}
    except Exception as error:
        return {"error": {"message": repr(error)}}


async def main():
    async with asyncpg.create_pool(
        URL, min_size=1, **({"statement_cache_size": 0} if POOLED else {})
    ) as pool:
        for line in sys.stdin:
            print(json.dumps(await answer(SnapshotStore(pool), json.loads(line))), flush=True)


asyncio.run(main())
