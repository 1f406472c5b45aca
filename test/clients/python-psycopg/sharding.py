"""The steps of doc/sharding.md, to the letter, while an application saves and servers are killed.

Each stream is one thread's, which knows what has been acknowledged: no load may ever find less.
"""

import hashlib
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from snapshot_shards import SnapshotShards, part_of

logging.disable(logging.WARNING)  # which tell of the servers that are killed

WORK = Path(os.environ["SNAPSHOT_STORE_WORK"])
DOCUMENT = (WORK / "source/doc/sharding.md").read_text()
FOLDER = WORK / "shards"
PATIENCE = 180  # seconds, for anything
STREAMS_OF_A_KIND = 250_000 if "SNAPSHOT_STORE_LONG" in os.environ else 50

tests = 0


def ok(passed, name, found=""):
    global tests
    tests += 1
    print(f"{'ok' if passed else 'not ok'} {tests} - {name}", flush=True)
    if not passed:
        print("#", str(found).replace("\n", "\n# "), flush=True)


def until(what, reached):
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain until {what}")
        time.sleep(0.02)


# ---- the servers ------------------------------------------------------------------------


class Server:
    def __init__(self, number):
        self.number, self.data = number, FOLDER / str(number)
        if number == 1:
            options = "-U postgres -A trust -E UTF8 --no-locale --no-sync".split()
            subprocess.run(["initdb", "-D", self.data, *options], check=True, stdout=subprocess.DEVNULL)
            shutil.copytree(self.data, FOLDER / "new")
        else:
            shutil.copytree(FOLDER / "new", self.data)
        with open(self.data / "postgresql.conf", "a") as settings:
            settings.write(
                f"port = {number}\nlisten_addresses = ''\nunix_socket_directories = '{FOLDER}'\n"
                "wal_level = logical\nshared_buffers = 16MB\n"
            )
        self.start()
        self.psql("CREATE ROLE app LOGIN", "CREATE DATABASE shop", database="postgres")

    def start(self):
        command = ["setpriv", "--pdeathsig", "QUIT", "postgres", "-D", self.data]
        with open(FOLDER / f"{self.number}.log", "a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until(
            "a server is up",
            lambda: subprocess.run(["pg_isready", "-q", "-d", self.conninfo()]).returncode == 0,
        )

    def conninfo(self, user="postgres", database="shop"):
        return f"host={FOLDER} port={self.number} dbname={database} user={user}"

    def psql(self, *statements, database="shop"):
        commands = [word for statement in statements for word in ("-c", statement)]
        command = ["psql", self.conninfo(database=database), "-XqAtv", "ON_ERROR_STOP=1", *commands]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip("\n")

    def kill(self):
        """SIGKILL for all its processes."""
        postmaster = self.process.pid
        os.kill(postmaster, signal.SIGSTOP)
        until("the postmaster stands still", lambda: state(postmaster) == "T")
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in [*map(int, children), postmaster]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until("all processes are dead", lambda: all(state(pid) in "ZX" for pid in children))
        (self.data / "postmaster.pid").unlink()


def state(pid):
    """T for one that has been stopped, Z or X for a dead one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


killed = set()


def kill(server):
    killed.add(server.number)
    server.kill()


# ---- the application --------------------------------------------------------------------


def server_of(shards, stream):
    return int(re.search(r"port=(\d+)", shards.map[part_of(stream)])[1])


def state_of(stream, number):
    of = f"{stream} {number}"
    return json.dumps({"of": of, "digest": 4 * hashlib.sha512(of.encode()).hexdigest()})


class Writer(threading.Thread):
    def __init__(self, number, shards, streams):
        super().__init__(daemon=True)
        self.shards, self.streams, self.random = shards, streams, random.Random(number)
        self.floor = dict.fromkeys(streams, 0)  # of the last change that was acknowledged
        self.tried = dict.fromkeys(streams, 0)
        self.there = dict.fromkeys(streams, False)  # None: not known, after a deletion that failed
        self.acknowledged, self.failed = Counter(), Counter()  # by server
        self.problems, self.slowest, self.stop = [], 0, False
        self.filled = threading.Event()

    def run(self):
        try:
            self.in_batches(self.save)
            self.filled.set()
            while not self.stop:
                streams = self.random.sample(self.streams, self.random.choice([1, 1, 1, 8]))
                change = self.random.choices([self.save, self.check, self.delete], [70, 25, 5])[0]
                servers = frozenset(server_of(self.shards, stream) for stream in streams)
                began = time.monotonic()
                try:
                    change(streams)
                except psycopg.OperationalError as error:
                    self.failed.update(servers)
                    at_fault = servers & killed or isinstance(error, PoolTimeout)
                    if not at_fault or isinstance(error, psycopg.errors.ObjectInUse):
                        self.problems.append(f"servers {set(servers)}: {error!r}")
                else:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.acknowledged.update(servers)
        except Exception as error:
            self.problems.append(repr(error))

    def in_batches(self, do):
        for begin in range(0, len(self.streams), 1000):
            do(self.streams[begin : begin + 1000])

    def save(self, streams):
        for stream in streams:
            self.tried[stream] += 1
        rows = [(s, self.tried[s], 1, state_of(s, self.tried[s])) for s in streams]
        answers = self.shards.save_many(rows) if len(rows) > 1 else {streams[0]: self.shards.save(*rows[0])}
        if answers != dict.fromkeys(streams, True):
            self.problems.append(f"saves were not stored: {answers}")
        for stream in streams:
            self.floor[stream], self.there[stream] = self.tried[stream], True

    def delete(self, streams):
        stream = streams[0]
        self.there[stream] = None
        self.shards.delete(stream)
        self.floor[stream], self.there[stream] = self.tried[stream], False

    def check(self, streams):
        found = self.shards.load_many(streams, [1])
        if any(self.wrong(stream, found.get(stream)) for stream in streams):
            self.shards.read_map()  # it may have been of a moment ago
            found = self.shards.load_many(streams, [1])
        for stream in streams:
            if wrong := self.wrong(stream, found.get(stream)):
                self.problems.append(wrong)
        if self.shards.due(streams[0], [1], 2**62, 1) is not True:
            self.problems.append(f"{streams[0]} is not due")

    def wrong(self, stream, snapshot):
        floor, tried, there = self.floor[stream], self.tried[stream], self.there[stream]
        seen = f"{stream}: acknowledged {floor}, tried {tried}, there: {there}; found {snapshot}"
        if snapshot is None:
            return seen if there else None
        if snapshot.state != state_of(stream, snapshot.sequence_number):
            return seen
        # What was not acknowledged may have been saved nevertheless.
        lowest = floor if there is not False else floor + 1
        return None if lowest <= snapshot.sequence_number <= tried else seen


def progress(what, servers, enough=50):
    """Each server of these has acknowledged so many changes and loads more, and no writer has seen a problem."""
    before = acknowledged()
    until(what, lambda: problems() or all(acknowledged()[n] >= before[n] + enough for n in servers))
    ok(not problems(), what, "\n".join(problems()[:5]))


def acknowledged():
    return sum((writer.acknowledged for writer in writers), Counter())


def problems():
    return [problem for writer in writers for problem in writer.problems]


# ---- the document -----------------------------------------------------------------------


def blocks(heading, kind):
    section = DOCUMENT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def steps(old, first, last):
    """Functions that run a step each, with connections of this test."""
    names = {
        "MAP": servers[1].conninfo(database="events"),
        "OLD": old.conninfo(),
        "NEW": servers[4].conninfo(),
        "server": "4",
        "conninfo": servers[4].conninfo("app"),
        "first": first,
        "last": last,
    }
    places, functions, *all_steps = blocks("To add a server", "sh")
    assert re.findall(r"(\w+)=(?:'.*?'|\w+)", places) == list(names)
    assignments = "".join(f"{name}='{value}'\n" for name, value in names.items())

    def run(step):
        command = ["bash", "-c", assignments + functions + step]
        return subprocess.run(
            command, check=True, cwd=FOLDER, timeout=PATIENCE, stdout=subprocess.PIPE, text=True
        ).stdout

    prepare, copy, switch, compare, clean_up = [lambda step=step: run(step) for step in all_steps]
    (off,) = blocks("To call a move off", "sh")
    return prepare, copy, switch, compare, clean_up, lambda: run(off)


SAVE = "SELECT snapshot_save(%s, %s, 1, '{}')"
DELETE = "SELECT snapshot_delete(%s)"
TRIGGERS = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'snapshot_store'::regclass"


def is_refused(connection, statement, parameters):
    try:
        connection.execute(statement, parameters)
    except psycopg.errors.ObjectInUse:
        return True
    return False


def loads_without_map(shards, stream):
    shards.next_read = 0  # so that it tries to read it
    try:
        shards.load(stream, [1])
    except PoolTimeout:
        return False
    return True


def not_done(step):
    try:
        step()
    except subprocess.CalledProcessError:
        return True
    return False


def behind(switch):
    """The step, while the new server cannot apply what the old one has saved."""
    with psycopg.connect(servers[4].conninfo()) as blocker:
        blocker.execute("LOCK TABLE snapshot_store IN SHARE ROW EXCLUSIVE MODE")
        progress("... it lags behind", [1])
        thread = threading.Thread(target=switch)
        thread.start()
        until("the streams are stopped", lambda: servers[1].psql(TRIGGERS) == "2")
        time.sleep(0.5)  # in which nothing may happen
    thread.join()


# ---- the test ---------------------------------------------------------------------------

FOLDER.mkdir()
servers = {number: Server(number) for number in (1, 2, 3, 4)}
for number in (1, 2, 3):
    servers[number].psql("CREATE EXTENSION snapshot_store", "GRANT ALL ON snapshot_store TO app")
servers[1].psql("CREATE DATABASE events", database="postgres")
the_map = blocks("The map", "sql")[0]
for number in (1, 2, 3):
    the_map = the_map.replace(f"host=snapshots{number} dbname=shop user=app", servers[number].conninfo("app"))
servers[1].psql(the_map, database="events")

# The names are to be the same bytes everywhere.
names = [
    f"{kind}-{n}" for kind in ("order", "straße", "注文", "\U0001d11e") for n in range(STREAMS_OF_A_KIND)
]

instances = [
    SnapshotShards(
        ConnectionPool(servers[1].conninfo(database="events"), max_size=2, min_size=0, timeout=0.3),
        timeout=0.3,
        patience=PATIENCE,
    )
    for _ in range(2)
]
writers = [Writer(n, instances[n % 2], names[n::4]) for n in range(4)]
for writer in writers:
    writer.start()
until(
    "there is a snapshot of each stream",
    lambda: problems() or all(writer.filled.is_set() for writer in writers),
)
of_servers = "SELECT json_object_agg(stream_id, left(md5(stream_id), 2)) FROM snapshot_store"
for number in (1, 2, 3):
    parts = json.loads(servers[number].psql(of_servers))
    ok(
        parts == {stream: part_of(stream) for stream in parts},
        f"server {number} finds the same parts as Python",
    )
progress("three servers, and every load finds what was acknowledged", [1, 2, 3])

kill(servers[1])
before = sum((writer.failed for writer in writers), Counter())
until("calls to a killed server fail", lambda: sum(writer.failed[1] for writer in writers) >= before[1] + 4)
progress("one is killed, and the map with it: those to others go on", [2, 3], 10)
on_another = next(stream for stream in names if server_of(instances[0], stream) == 2)
until("a load goes by the map that is known", lambda: loads_without_map(instances[0], on_another))
servers[1].start()
progress("... and when it is there again, all do", [1, 2, 3])

prepare, copy, switch, compare, clean_up, off = steps(servers[1], "41", "55")
prepare()
copy()
off()
ok(servers[4].psql("SELECT count(*) FROM snapshot_store") == "0", "a move is called off")
progress("... and nothing was", [1, 2, 3])

for number, first, last in [(1, "41", "55"), (2, "96", "aa"), (3, "eb", "ff")]:
    old = servers[number]
    moves = f"server 4 and {first} to {last} of server {number}"
    stream = next(name for name in map("extra-{}".format, range(9999)) if first <= part_of(name) <= last)
    prepare, copy, switch, compare, clean_up, _ = steps(old, first, last)
    prepare()
    began = time.monotonic()
    copy()
    print(f"# counted: {moves}: copied in {time.monotonic() - began:.1f} s")

    if number == 2:
        kill(servers[4])
        servers[4].start()
        progress(f"{moves}: the one that follows is killed", [2])
        with psycopg.connect(old.conninfo("app")) as transaction:
            transaction.execute(SAVE, [stream, 1])
            ok(not_done(switch), "... a transaction that has saved is open: it does not stop")
            ok(old.psql(TRIGGERS) == "0", "... and has done nothing")
            ok(not_done(clean_up), "... nor is anything cleaned up before the map has changed")
        progress("... and all go on when it ends", [2])
    if number == 3:
        kill(old)
        old.start()
        progress(f"{moves}: the one that is followed is killed", [3])
        follows = f"SELECT count(*) FROM pg_stat_replication WHERE application_name = 'moved_{first}_{last}'"
        until("it is followed again", lambda: old.psql(follows) == "1")

    for writer in writers:
        writer.slowest = 0
    began = time.monotonic()
    if number == 1:
        behind(switch)
    else:
        switch()
    print(f"# counted: ... stopped, switched and summed up in {time.monotonic() - began:.2f} s")
    ok(compare() == "", f"{moves}: it has what there was")
    if number == 2:
        ok(instances[0].delete(stream) == 1, "... also what that transaction has saved")
    progress("... and the application has gone on there", servers)
    print(f"# counted: ... while no call took more than {max(writer.slowest for writer in writers):.2f} s")
    of_old = old.psql(
        f"SELECT stream_id FROM snapshot_store WHERE left(md5(stream_id), 2) BETWEEN '{first}' AND '{last}' LIMIT 1"
    )
    with psycopg.connect(old.conninfo("app"), autocommit=True) as stale:
        for what, call in [
            ("first save", (SAVE, [stream, 1])),
            ("save", (SAVE, [of_old, 2**62])),
            ("deletion", (DELETE, [of_old])),
        ]:
            ok(is_refused(stale, *call), f"... with an old map a {what} is refused")

    began = time.monotonic()
    ok(clean_up() == "0\n", "... the old rows are deleted")
    print(f"# counted: ... in {time.monotonic() - began:.1f} s")
    progress("... of which nobody has noticed anything", servers)
for number in (1, 2, 3):
    servers[number].psql("DROP FUNCTION snapshot_moves()")

for writer in writers:
    writer.stop = True
for writer in writers:
    writer.join(PATIENCE)
for writer in writers:
    writer.in_batches(writer.check)
ok(not problems(), "in the end each stream loads what was acknowledged last", "\n".join(problems()[:5]))
# What failed, and may have come to something, shall leave no doubt; one stream of each has no snapshot.
for writer in writers:
    if doubtful := [s for s in writer.streams if not writer.there[s] or writer.floor[s] != writer.tried[s]]:
        writer.save(doubtful)
    writer.delete(writer.streams[:1])
of_servers = {
    n: set(server.psql("SELECT stream_id FROM snapshot_store").split("\n")) for n, server in servers.items()
}
expected = {n: set() for n in servers}
for writer in writers:
    for stream in writer.streams[1:]:
        expected[server_of(instances[0], stream)].add(stream)
ok(of_servers == expected, "... each is on one server, that of the map", of_servers)
ok(all(of_servers.values()), "... and each server has some")
alive = sorted(set().union(*expected.values()))
ok(instances[0].census() == {1: (len(alive), len(alive))}, "the census is of all", instances[0].census())
ok(instances[0].outdated("", [2], len(names)) == alive, "so is the work list, in order")
ok(
    instances[0].outdated("", [2], 10, alive[9]) == alive[10:20],
    "... and page by page",
)
instances[0].save("order-0", 10**9, 2, "{}")
ok(instances[0].purge("order-", [2]) == sum(s.startswith("order-") for s in alive), "a purge runs on each")
print(
    f"# counted: {sum(acknowledged().values())} calls that succeeded, {sum(sum(w.failed.values()) for w in writers)} that failed"
)
print(f"1..{tests}")
