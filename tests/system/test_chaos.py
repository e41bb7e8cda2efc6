"""The short chaos run (``make soak`` is the long one), and tests of what it is made of."""

import json
import socket
import sqlite3
import time
from collections import Counter
from pathlib import Path

import log_kit
import pytest

import flush_wire as wire
from fieldpost_tools.flush import Chunk, Flush
from fieldpost_tools.sim.broker import HOST
from fieldpost_tools.store import Store
from system import chaos
from system import chaos_faults as faults
from system.chaos_ledger import Account, Key, Ledger, Value, read_flash

T0 = 1_700_000_000_000
PARTS = {
    "board": ["chaos-0", "chaos-1"],
    "broker": ["broker"],
    "collector": ["command", "library", "keeper"],
    "shared": ["command", "library"],
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("seed", "persistence"), [(1, False), (2, True)], ids=["seed 1", "seed 2"]
)
def test_whatever_is_killed_every_record_arrives_once(seed, persistence, micropython, tmp_path):
    report = chaos.run(seed, 10, tmp_path, persistence)
    assert report.problems == [], str(report)
    assert report.kills == {"board": 4, "broker": 2, "collector": 4}
    assert sum(report.faults.values()) == 6
    # It was worth the while.
    assert report.totals["records seen on flash"] > 100
    for account in report.accounts.values():
        assert account.records > 500
        assert (account.lost, account.wrong, account.duplicates) == (0, 0, 0)


# The schedule


@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_kills_what_lives_and_leaves_everything_well(seed):
    steps = faults.schedule(seed, 45, PARTS)
    assert steps == faults.schedule(seed, 45, PARTS)
    assert steps != faults.schedule(seed + 100, 45, PARTS)
    dead, disturbed, locked = set(), set(), []
    for step in steps:
        if step.verb == "kill":
            assert step.part not in dead
            dead.add(step.part)
        elif step.verb == "start":
            dead.remove(step.part)
        elif step.verb == "lock":
            assert not locked
            assert step.part not in dead
            locked.append(step.part)
        elif step.verb == "unlock":
            locked.remove(step.part)
        elif step.verb == faults.OPEN:
            disturbed.remove(step.part)
        elif step.verb != faults.RESET:
            assert step.part not in disturbed
            disturbed.add(step.part)
    assert (dead, disturbed, locked) == (set(), set(), [])
    verbs = Counter(step.verb for step in steps)
    assert verbs["kill"] == 50
    assert {faults.BLACK_HOLE, faults.SLOW, faults.REFUSED, faults.RESET, "lock"} <= set(verbs)


# Connections


@pytest.fixture
def line():
    """``(proxy, connect)``; ``connect()`` returns both ends of a connection through it."""
    with faults.Network() as network, socket.create_server((HOST, 0)) as server:
        server.settimeout(5)
        proxy = network.proxy(server.getsockname()[1])
        ends = []

        def connect():
            ends.append(socket.create_connection((HOST, proxy.port), 5))
            ends.append(server.accept()[0])
            ends[-1].settimeout(5)
            return ends[-2:]

        yield proxy, connect
        for end in ends:
            end.close()


def exchange(one, other):
    one.sendall(b"ping")
    assert other.recv(4) == b"ping"
    other.sendall(b"pong")
    assert one.recv(4) == b"pong"


def silent(end):
    end.settimeout(0.3)
    with pytest.raises(TimeoutError):
        end.recv(1)
    end.settimeout(5)


def broken(end):
    with pytest.raises(ConnectionError):
        end.recv(1)


def test_an_open_line_carries_everything_and_the_end(line):
    _, connect = line
    near, far = connect()
    exchange(near, far)
    near.sendall(b"x" * 1_000_000 + b"!")
    near.close()
    received = b"".join(iter(lambda: far.recv(65536), b""))
    assert len(received) == 1_000_001


def test_a_black_hole_swallows_and_resets_when_it_is_over(line):
    proxy, connect = line
    near, far = connect()
    exchange(near, far)
    proxy.set(faults.BLACK_HOLE)
    near.sendall(b"gone")
    silent(far)
    with socket.create_connection((HOST, proxy.port), 5) as late:
        late.sendall(b"gone")
        silent(late)
        proxy.set(faults.OPEN)
        broken(late)
    broken(near)
    broken(far)
    exchange(*connect())


def test_a_black_hole_does_not_tell_that_the_other_is_gone(line):
    proxy, connect = line
    near, far = connect()
    proxy.set(faults.BLACK_HOLE)
    near.close()
    silent(far)


def test_a_refused_line_is_closed_until_it_opens(line):
    proxy, connect = line
    near, far = connect()
    exchange(near, far)
    proxy.set(faults.REFUSED)
    broken(near)
    broken(far)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, proxy.port), 5)
    proxy.set(faults.OPEN)
    exchange(*connect())


def test_a_reset_breaks_what_there_is(line):
    proxy, connect = line
    near, far = connect()
    exchange(near, far)
    proxy.set(faults.RESET)
    broken(near)
    broken(far)
    exchange(*connect())


def test_a_slow_line_takes_its_time(line):
    proxy, connect = line
    proxy.set(faults.SLOW)
    near, far = connect()
    began = time.monotonic()
    near.sendall(bytes(4 * proxy.PIECE))
    received = 0
    while received < 4 * proxy.PIECE:
        received += len(far.recv(65536))
    assert time.monotonic() - began >= 4 * proxy.PAUSE_S


# The account


COUNTED, OTHER = 1, 2


def rows(seqs, start=0):
    """Records of a stream, every second one a reading of the counter."""
    return {
        Key(7, seq): Value.of(T0 + 20 * seq, *((OTHER, 1.5), (COUNTED, seq // 2))[seq % 2], None)
        for seq in seqs
    }


def flush_of(known):
    """A flush of records without holes."""
    first = min(known)
    records = [(v.ms, v.point, v.value, v.text) for _, v in sorted(known.items())]
    return Flush("n", "default", 1, 0, [Chunk(first.stream, first.seq, 1, True, records)])


@pytest.fixture
def book(tmp_path):
    """``(ledger, store)`` of one subscriber."""
    path = tmp_path / "main.db"
    with Store(path, create=True) as store:
        yield Ledger({"main": path}, 1000), store


def problems(book, stored=None, acked=None):
    """What the account says when these were witnessed."""
    ledger, store = book
    ledger.stored["n"].update(stored or {})
    ledger.acked["n", "main"].update(acked or {})
    account = Account(ledger, "main", store, {"n": COUNTED})
    return account, " / ".join(account.problems)


def test_an_account_that_balances(book):
    book[1].write([flush_of(rows(range(100)))])
    account, found = problems(book, rows(range(50)), rows(range(100)))
    assert found == ""
    assert str(account) == "records 100, lost 0, wrong 0, duplicates 0, cut_off 0"


def test_what_was_on_flash_or_acknowledged_and_is_not_there_is_lost(book):
    book[1].write([flush_of(rows(range(100)))])
    account, found = problems(book, rows(range(99, 102)), rows(range(103)))
    assert account.lost == 3
    assert "lacks what was on flash: 2: Key(stream=7, seq=100)" in found
    assert "lacks what was acknowledged: 3" in found


@pytest.mark.parametrize("other", [{"value": 1}, {"value": 2.5}, {"ms": T0}, {"text": "x"}])
def test_what_is_there_must_be_what_it_was(book, other):
    book[1].write([flush_of(rows(range(10)))])
    true = Value.of(T0 + 80, OTHER, 1.5, None)._asdict() | other
    del true["kind"]
    account, found = problems(book, {Key(7, 4): Value.of(**true)})
    assert account.wrong == 1
    assert "differs from what was on flash" in found


def test_true_is_not_1():
    assert Value.of(T0, 1, True, None) != Value.of(T0, 1, 1, None)


def test_a_reading_that_is_there_twice(book):
    twice = rows(range(10))
    twice[Key(7, 9)] = twice[Key(7, 7)]
    book[1].write([flush_of(twice)])
    account, found = problems(book)
    assert account.duplicates == 1
    assert "reading 3 again, at Key(stream=7, seq=9)" in found


def test_a_reading_that_is_missing_though_no_number_is(book):
    shifted = rows(range(10))
    shifted[Key(7, 9)] = shifted[Key(7, 9)]._replace(value=5)
    book[1].write([flush_of(shifted)])
    assert "5 after 3, at Key(stream=7, seq=9)" in problems(book)[1]


def test_a_gap_near_the_end_of_a_stream_is_what_a_power_cut_leaves(book):
    book[1].write([flush_of(rows(range(50))), flush_of(rows(range(60, 160)))])
    account, found = problems(book)
    assert found == ""
    assert account.cut_off == 10


def test_a_gap_in_a_stream_that_went_on_is_a_loss(book):
    book[1].write([flush_of(rows(range(50))), flush_of(rows(range(60, 400)))])
    account, found = problems(book)
    assert account.lost == 10
    assert "not the end of a stream: Gap(node='n', stream=7" in found


def test_a_gap_that_the_collector_calls_dropped(book):
    late = flush_of(rows(range(60, 70)))._replace(skipped=10)
    book[1].write([flush_of(rows(range(50))), late])
    assert "booked as dropped: Gap(node='n'" in problems(book)[1]


def test_a_book_of_gaps_that_is_wrong(book, tmp_path):
    book[1].write([flush_of(rows(range(50)))])
    with sqlite3.connect(tmp_path / "main.db") as db:
        db.execute("DELETE FROM records WHERE seq = 20")
    db.close()
    found = problems(book)[1]
    assert "holes and book differ in 1: Key(stream=7, seq=20)" in found
    assert "49 records, but Totals(" in found


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A real log with 20 stored records; its folder is ``FLASH``."""
    monkeypatch.chdir(tmp_path)
    made = log_kit.Store(unix_ms=T0, durable=True, maxLatency=100)
    made.fill(20)
    made.tend(3)
    return made


FLASH = Path(log_kit.FOLDER)


def test_flash_is_read_as_it_was_written(log):
    flash = read_flash(FLASH)
    assert flash.problems == []
    assert flash.boots == {70: 7}
    assert sorted(flash.records) == list(range(20))
    key, value = flash.records[19]
    assert (key, value.point, value.value) == (Key(70, 19), 1, 100019)
    assert value.ms == log.clock.unix_ms() - 3000


def test_damage_on_flash_is_a_problem(log):
    (path,) = (FLASH / "seg").iterdir()
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert "segment 0 is whole up to 0" in read_flash(FLASH).problems[0]


def test_another_record_under_a_known_number_is_a_problem(book, log):
    ledger, _ = book
    ledger.power_cut("n", FLASH)
    ledger.stored["n"][Key(70, 3)] = Value.of(T0, 1, 1, None)
    ledger.power_cut("n", FLASH)
    assert ["Key(stream=70, seq=3) is Value(" in problem for problem in ledger.problems] == [True]


def test_a_persisted_cursor_may_only_pass_what_is_in_the_database(book, log):
    ledger, _ = book
    log.cursor.name = "main"
    log.cursor.acked = 5
    log.tend()
    assert ledger.power_cut("n", FLASH) == 20
    (problem,) = ledger.problems
    assert problem.startswith("n: main.db lacks what is passed by a persisted cursor: 5: ")


def test_what_leaves_the_flash_must_be_in_the_database(book, log):
    ledger, store = book
    assert ledger.power_cut("n", FLASH) == 20
    assert ledger.problems == []
    log.cursor.ack(20)
    store.write([flush_of({Key(70, seq): Value.of(T0, 1, seq, None) for seq in range(15)})])
    assert ledger.power_cut("n", FLASH) == 0
    (problem,) = ledger.problems
    assert problem.startswith("n: main.db lacks what is not on flash any more: 5: ")


def hear(ledger, uptime_ms, next_seq, stored):
    """The ledger gets a state of node n."""
    log = {"stream": 70, "next": next_seq, "stored": stored, "dropped": {}}
    log["subscribers"] = {"main": {"unacked": next_seq}}
    state = {"state": "online", "boot": 7, "uptime_ms": uptime_ms, "logs": {"default": log}}
    ledger.message("fieldpost/nodes/n/state", json.dumps(state).encode())


def test_what_a_state_calls_stored_must_be_there(book, log):
    ledger, _ = book
    hear(ledger, 1000, 25, 20)
    ledger.power_cut("n", FLASH)
    assert ledger.problems == []
    hear(ledger, 2000, 25, 23)
    ledger.power_cut("n", FLASH)
    (problem,) = ledger.problems
    assert "main.db lacks what is not on flash, but stored, says its state: 3: " in problem
    account, found = problems(book)
    assert account.lost == 23
    assert "lacks what is stored or acknowledged, says its state: 23" in found


def test_what_is_not_stored_in_time_is_a_problem(book, log):
    ledger, _ = book
    for seconds in range(8):
        hear(ledger, 1000 * seconds, 18 + seconds, 18)
        ledger.power_cut("n", FLASH)
        # The state of 3.5 s before, or four states before, had 18 + 3 records.
        assert len(ledger.problems) == (seconds >= 7)
    assert "is not on flash, though it is late: 1: Key(stream=70, seq=20)" in ledger.problems[0]


def test_an_acknowledgement_counts_for_what_was_sent_under_its_name(book):
    ledger, _ = book
    topic = "fieldpost/nodes/n/flush/main"
    rows = [(1, 1, value) for value in range(10)]
    ledger.message(topic, wire.packed(5, [wire.chunk(70, 30, T0, rows)]))
    ledger.message(topic, wire.packed(6, [wire.chunk(70, 40, T0, rows)]))
    ledger.message(topic, wire.packed(6, [wire.chunk(70, 40, T0, rows[:4])]))
    ack = {"subscriber": "main", "flush": 6, "stream": 70, "seq": 40}
    for changed in ({"flush": 4}, {"seq": 30}, {"stream": 69}, {"subscriber": "other"}, {}):
        assert not ledger.acked["n", "main"]
        message = json.dumps(ack | changed).encode()
        ledger.message("fieldpost/nodes/n/api/loggers/ackSubscribe", message)
    assert sorted(ledger.acked["n", "main"]) == [Key(70, seq) for seq in range(40, 44)]
