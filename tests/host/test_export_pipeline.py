"""Exports: each record once into each sink, whatever fails; what is poisoned is found."""

import json
import threading

import pytest

from export_kit import DOWN, Scripted, alarm, export, flush, make_store, values
from fieldpost_tools.errors import StoreError
from fieldpost_tools.export import pipeline, state
from fieldpost_tools.export.connector import Rejected, Unavailable
from fieldpost_tools.export.pipeline import Exporter
from fieldpost_tools.export.state import States


@pytest.fixture
def states(tmp_path):
    with States(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def make(tmp_path, states):
    """``make(sink, flushes, happened, **keys)``: (exporter, store)."""

    def make(sink, *flushes, happened=(), **keys):
        store = make_store(tmp_path / "a.db", *flushes, happened=happened)
        return Exporter(export(sink, tmp_path, **keys), store, states), store

    return make


def drain(exporter):
    steps = 0
    while exporter.step():
        steps += 1
    return steps


def test_everything_once_and_the_position_stays(make, states, tmp_path):
    sink = Scripted()
    exporter, store = make(sink, flush(0, 25), happened=[alarm(1)], batch=10)
    assert drain(exporter) == 3
    assert sink.values == [seq / 2 for seq in range(25)]
    assert [one.body["alarm_id"] for one in sink.events] == [1]
    standing = states.standing("sink")
    assert (standing.rows, standing.events, standing.mark) == (25, 1, {"samples": 25})
    store.write([flush(25, 5)], happened=[alarm(2)])
    later = Scripted()
    again = Exporter(export(later, tmp_path), store, states)
    assert drain(again) == 1
    assert later.values == [seq / 2 for seq in range(25, 30)]
    assert later.opened == [{"samples": 25}]
    assert len(later.events) == 1


def test_a_failed_batch_comes_again_on_a_connector_opened_with_its_mark(make, states):
    sink = Scripted()
    sink.script = [None, DOWN, DOWN]
    exporter, _ = make(sink, flush(0, 20), batch=10)
    exporter.step()
    for _ in range(2):
        with pytest.raises(Unavailable):
            exporter.step()
        assert states.standing("sink").rows == 10
    drain(exporter)
    assert sink.opened == [None, {"samples": 10}, {"samples": 10}]
    assert len(sink.samples) == states.standing("sink").rows == 20


def test_poison_is_found_and_buried_and_the_rest_arrives(make, states, tmp_path):
    sink = Scripted()
    poisoned = values(*range(6), "poison", *range(7, 40), "poison", 41)
    exporter, _ = make(sink, poisoned)
    drain(exporter)
    assert sink.values == [*range(6), *range(7, 40), 41]
    assert states.standing("sink").dead == 2
    letters = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert [(one["seq"], one["value"]) for one in letters] == [(6, "poison"), (40, "poison")]
    assert letters[0]["reason"] == "poison is not a number"
    # Halving, not one by one.
    assert sink.writes < 30


def test_a_sink_that_rejects_everything_loses_nothing(make, states, tmp_path):
    sink = Scripted()
    exporter, _ = make(sink, values(*["poison"] * 300))
    with pytest.raises(Unavailable, match="rejects one after the other"):
        exporter.step()
    assert states.standing("sink").rows == 0
    assert not (tmp_path / "dead.jsonl").exists()


def test_what_is_wanted(make, states):
    sink = Scripted()
    flushes = flush(0, 3), flush(0, 3, node="gw-2")
    keys = {"nodes": ["gw-2"], "units": {"°C": "degC"}, "tags": {"place": "{node}:{device}"}}
    keys |= {"rename": {"point": "{device}.{point}.{tag.place}"}, "alarms": False}
    exporter, _ = make(sink, *flushes, happened=[alarm(1, node="gw-2")], **keys)
    drain(exporter)
    assert {sample.node for sample in sink.samples.values()} == {"gw-2"}
    sample = next(iter(sink.samples.values()))
    assert (sample.device, sample.point) == ("ahu-1", "ahu-1.dat.gw-2:ahu-1")
    assert (sample.unit, sample.tags) == ("degC", {"place": "gw-2:ahu-1"})
    assert sink.events == []
    assert states.standing("sink").rows == 3


def test_from_now_leaves_out_what_was_there(make):
    sink = Scripted()
    exporter, store = make(sink, flush(0, 10), happened=[alarm(1)], **{"from": "now"})
    assert drain(exporter) == 0
    store.write([flush(10, 2)])
    drain(exporter)
    assert sink.values == [5.0, 5.5]


def test_a_sink_that_needs_the_time_skips_what_has_none(make, states):
    sink = Scripted()
    sink.NEEDS_TIME = True
    exporter, _ = make(sink, flush(0, 4), flush(0, 3, stream=2, dated=False))
    drain(exporter)
    assert len(sink.samples) == 4
    assert states.standing("sink").skipped == 3


def test_backoff_doubles_asks_and_recovers(make, states):
    sink = Scripted()
    sink.script = [DOWN, DOWN, DOWN, Unavailable("busy", 7), Unavailable("busy", 1e9)]
    exporter, _ = make(sink, flush(0, 1), backoff_min_s=2, backoff_max_s=6)
    waits = [exporter.round() for _ in range(3)]
    assert [1.5 <= waits[0] <= 2.5, 3 <= waits[1] <= 5, 4.5 <= waits[2] <= 7.5] == [True] * 3
    assert states.standing("sink").state == state.ERROR
    assert states.standing("sink").error == "down"
    assert exporter.round() == 7
    assert exporter.round() == 60
    assert exporter.round() == 0
    assert states.standing("sink").state == state.SYNCING
    assert exporter.round() == 0.1
    assert states.standing("sink").state == state.IDLE


def test_a_failing_connector_does_not_hold_up_another(tmp_path, states):
    good, bad = Scripted("good"), Scripted("bad")
    bad.script = [DOWN] * 10000
    store = make_store(tmp_path / "a.db", flush(0, 500))
    exports = [export(one, tmp_path, batch=50) for one in (good, bad)]
    stopping = threading.Event()
    opened = [store, make_store(tmp_path / "a.db")]
    runner = threading.Thread(target=pipeline.run, args=(exports, opened.pop, states, stopping))
    runner.start()
    for _ in range(200):
        standing = states.standing("good")
        if standing and standing.rows == 500:
            break
        stopping.wait(0.05)
    stopping.set()
    runner.join(10)
    assert not runner.is_alive()
    assert len(good.samples) == 500
    assert states.standing("bad").rows == 0
    assert states.standing("bad").state == state.ERROR


def test_a_bug_ends_the_run_and_is_told(tmp_path, states):
    sink = Scripted()
    sink.script = [ZeroDivisionError()]
    store = make_store(tmp_path / "a.db", flush(0, 5))
    with pytest.raises(ZeroDivisionError):
        pipeline.run([export(sink, tmp_path)], lambda: store, states, threading.Event())


def test_a_rejected_event_is_buried_too(make, states, tmp_path):
    sink = Scripted()

    def write_events(found):
        raise Rejected("no alarms here")

    sink.write_events = write_events
    exporter, _ = make(sink, flush(0, 1), happened=[alarm(1), alarm(2)])
    drain(exporter)
    assert states.standing("sink").dead == 2
    assert "no alarms here" in (tmp_path / "dead.jsonl").read_text()


def test_a_state_file_of_a_newer_version_is_refused(tmp_path, states):
    states.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match="version 9"):
        States(states.path)
