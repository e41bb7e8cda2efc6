"""The demo's account: every way in which records can be lost or doubled is found."""

import pytest

from fieldpost_tools.demo import audit, site
from fieldpost_tools.flush import Chunk, Flush, Points
from fieldpost_tools.store import Store
from fieldpost_tools.webhook_receiver import Arrival, Receiver

T0 = 1_700_000_000_000
STREAM = 3
COUNTER, FREE = 1, 2


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", create=True) as store:
        names = [(site.COUNTER, COUNTER), (site.HEAP_FREE, FREE)]
        groups = [
            Points(site.NODE, device, "x", [(key, name, "")]) for (device, name), key in names
        ]
        store.write(points=groups)
        yield store


def record(seq):
    """Record ``seq`` of a stream in which the counter and the free heap take turns."""
    value = seq // 2 if seq % 2 == 0 else 1000 + seq
    return T0 + seq, COUNTER if seq % 2 == 0 else FREE, value, None


def put(store, first, end, skipped=0, rows=None):
    chunk = Chunk(STREAM, first, 1, True, rows or [record(seq) for seq in range(first, end)])
    store.write([Flush(site.NODE, "default", 1, skipped, [chunk])])


def account(store, tmp_path, end, acquired=None, dropped=None):
    log = {"stream": STREAM, "next": end, "acquired": acquired or end, "dropped": dropped or {}}
    cut = audit.cut(log)
    return audit.covered(store, cut), audit.account(store, cut, tmp_path / "a.csv")


def test_a_whole_stream_has_no_problem_and_later_records_do_not_count(store, tmp_path):
    put(store, 0, 60)
    covered, result = account(store, tmp_path, 50)
    assert covered
    assert result == {
        "records_acquired": 50,
        "records_stored": 50,
        "lost": 0,
        "duplicates": 0,
        "dropped": 0,
        "csv_rows": 50,
        "unexplained_gaps": 0,
        "counter_holes": 0,
        "points": 2,
        "problems": [],
    }
    assert (tmp_path / "a.csv").read_bytes().count(b"\r\n") == 51


def test_what_is_not_here_yet_is_not_covered_and_counts_as_lost(store, tmp_path):
    put(store, 0, 40)
    covered, result = account(store, tmp_path, 50)
    assert not covered
    assert result["lost"] == 10
    assert result["problems"] == ["10 records are lost"]


def test_a_hole_is_lost_until_it_is_filled(store, tmp_path):
    put(store, 0, 20)
    put(store, 26, 50)
    covered, result = account(store, tmp_path, 50)
    assert not covered
    assert (result["lost"], result["unexplained_gaps"], result["counter_holes"]) == (6, 1, 3)
    assert len(result["problems"]) == 3
    put(store, 20, 26)
    covered, result = account(store, tmp_path, 50)
    assert covered
    assert result["problems"] == []


def test_records_that_the_node_dropped_are_not_lost(store, tmp_path):
    put(store, 0, 20)
    put(store, 26, 50, skipped=6)
    covered, result = account(store, tmp_path, 50, dropped={"overflow": 6})
    assert covered
    assert (result["lost"], result["dropped"], result["problems"]) == (0, 6, [])
    _, result = account(store, tmp_path, 50, dropped={"overflow": 5})
    assert result["lost"] == 1
    _, result = account(store, tmp_path, 50, dropped={"overflow": 7})
    assert result["problems"] == ["1 records more than were acquired are stored"]


def test_refused_records_count_as_acquired_and_dropped(store, tmp_path):
    put(store, 0, 50)
    _, result = account(store, tmp_path, 50, acquired=53, dropped={"rejected": 3})
    assert (result["lost"], result["problems"]) == (0, [])


def test_a_value_that_was_numbered_twice_is_a_duplicate(store, tmp_path):
    """The unique key cannot see it: the same reading under two numbers."""
    put(store, 0, 50)
    put(store, 50, 53, rows=[record(0), record(2), record(50)])
    _, result = account(store, tmp_path, 53)
    assert result["duplicates"] == 2
    assert result["problems"] == ["2 records are double"]


def test_a_doubled_line_in_the_csv_is_found(store, tmp_path, monkeypatch):
    put(store, 0, 50)
    write = audit.csv_export.write_file

    def careless(rows, path):
        rows = list(rows)
        return write([*rows, rows[7]], path)

    monkeypatch.setattr(audit.csv_export, "write_file", careless)
    _, result = account(store, tmp_path, 50)
    assert result["duplicates"] == 1
    assert result["csv_rows"] == 51
    assert len(result["problems"]) == 3


def test_a_point_without_records_is_a_problem(store, tmp_path):
    store.write(points=[Points(site.NODE, "ahu-1", "modbus", [(9, "dat", "°C")])])
    put(store, 0, 50)
    _, result = account(store, tmp_path, 50)
    assert result["problems"] == ["nothing recorded of ahu-1/dat"]


def test_a_node_that_has_not_told_its_points_is_a_problem(tmp_path):
    with Store(tmp_path / "b.db", create=True) as store:
        put(store, 0, 50)
        _, result = account(store, tmp_path, 50)
        assert "the node has not told its points' names" in result["problems"]
        cut = audit.cut({"stream": STREAM, "next": 50, "acquired": 50, "dropped": {}})
        assert audit.heap_free(store, cut) == [0, 0, 0]


def test_the_heap_is_judged_by_what_collections_leave(store):
    for first, values in ((0, (5, 90, 7)), (6, (80, 6, 5)), (12, (4, 3, 70))):
        rows = [(T0, COUNTER + n % 2, values[n // 2], None) for n in range(6)]
        put(store, first, first + 6, rows=rows)
    cut = audit.cut({"stream": STREAM, "next": 18, "acquired": 18, "dropped": {}})
    assert audit.heap_free(store, cut) == [90, 80, 70]


WAVE = 3
ALARMS = [("alarm_raised", 5.22), ("alarm_cleared", 3.9), ("alarm_raised", 7.5)]
NAMES = ("failed", "paused", "full", "dropped", "refused", "gone")
COUNTERS = {"webhook_" + name: 0 for name in NAMES}


@pytest.fixture
def wave(store):
    """A store with a wave that crosses its limit as ``ALARMS`` say; returns its cut."""
    device, name = site.WATCHED
    store.write(points=[Points(site.NODE, device, "virtual", [(WAVE, name, "")])])
    values = [0, 5, 5.22, 9.99, 5, 4.01, 3.9, 4.5, 7.5, 4.5, 5.0, 1]
    rows = [(T0 + n, WAVE, value, None) for n, value in enumerate(values)]
    put(store, 0, len(rows), rows=rows)
    return audit.cut({"stream": STREAM, "next": 11, "acquired": 11, "dropped": {}})


def received(*alarms):
    receiver = Receiver("secret")
    for number, (event, value) in enumerate(alarms):
        body = {"event": event, "alarm": {"value": value}}
        receiver.arrivals.append(Arrival(str(number), body))
    return receiver


def hooks(store, cut, receiver, whole=True, **counters):
    return audit.webhooks(
        store, cut, {**COUNTERS, "webhook_events": 3, **counters}, receiver, whole
    )


def test_alarms_that_all_arrived_are_no_problem(store, wave):
    receiver = received(*ALARMS, ("alarm_cleared", 1))  # the last one is of a later record
    receiver.again = 2
    assert hooks(store, wave, receiver) == {
        "alarms_raised": 2,
        "alarms_cleared": 1,
        "webhooks_delivered": 3,
        "webhooks_missing": 0,
        "webhooks_again": 2,
        "webhooks_refused": 0,
        "problems": [],
    }


def test_an_alarm_that_never_arrived_is_a_problem(store, wave):
    result = hooks(store, wave, received(*ALARMS[:2]))
    assert result["webhooks_missing"] == 1
    assert result["problems"][0] == "1 webhooks never arrived"
    assert hooks(store, wave, received(*ALARMS[:2]), whole=False)["problems"] == [
        "1 webhooks never arrived"
    ]


def test_a_wrong_signature_and_an_event_that_the_node_dropped_are_problems(store, wave):
    receiver = received(*ALARMS)
    receiver.refused = 1
    (problem,) = hooks(store, wave, receiver)["problems"]
    assert problem == "1 webhooks with a wrong signature"
    (problem,) = hooks(store, wave, received(*ALARMS), webhook_full=1)["problems"]
    assert "lost alarms" in problem


def test_webhooks_that_the_records_do_not_tell_of_are_a_problem(store, wave):
    other = [*ALARMS[:2], ("alarm_raised", 7.51)]
    (problem,) = hooks(store, wave, received(*other))["problems"]
    assert problem.startswith("webhooks tell of [('alarm_raised', 5.22)")
    assert hooks(store, wave, received(*other), whole=False)["problems"] == []
    early = wave._replace(end=2)
    problems = hooks(store, early, received(), webhook_events=0)["problems"]
    assert problems == ["no alarm was raised"]
