"""What the demo shows: the live view, lines for logs, the account in words."""

import io
import json
import time

import pytest
from rich.console import Console

from fieldpost_tools.demo import picture as pictures
from fieldpost_tools.demo import view
from fieldpost_tools.demo.picture import HISTORY, Picture
from fieldpost_tools.flush import Chunk, Flush, Points, State
from fieldpost_tools.store import Written
from fieldpost_tools.webhook_receiver import Arrival, Receiver

T0 = time.time_ns() // 1_000_000


def state(uptime_ms=1000, acquired=10, **others):
    log = {"acquired": acquired, "next": acquired, "stream": 1, "dropped": {}}
    body = {"state": "online", "uptime_ms": uptime_ms, "logs": {"default": log}, **others}
    return State("demo", json.dumps(body))


def records(*rows):
    chunk = Chunk(1, 0, 1, True, [(ms, point, value, None) for ms, point, value in rows])
    return Flush("demo", "default", 1, 0, [chunk])


def points(*names):
    return Points("demo", "ahu-1", "modbus", [(n, name, "°C") for n, name in enumerate(names, 1)])


@pytest.fixture
def picture():
    picture = Picture(60)
    picture.broker = True
    picture.phase = "sampling"
    picture.begun = time.monotonic() - 12
    group = points("dat", "fan")
    flushes = [records((T0 - 3000, 1, 21.5), (T0 - 2000, 1, 22.0), (T0 - 1000, 2, True))]
    picture.committed(flushes, [group], [state()], Written(3, 2, []))
    return picture


@pytest.fixture
def clock(monkeypatch):
    """Monotonic seconds of the picture, to be moved by hand."""
    now = [time.monotonic()]
    monkeypatch.setattr(pictures.time, "monotonic", lambda: now[0])
    return now


def screen(picture, height=40, width=110):
    output = io.StringIO()
    Console(file=output, width=width, height=height).print(view.live(picture, height))
    return output.getvalue()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([5.0, 5.0], "▁▁"),
        ([-1, 1], "▁█"),
        ([False, True], "▁█"),
        ([1, None, float("nan"), "x", 2], "▁   █"),
        ([None], " "),
        ([0, 2**63], "▁█"),
    ],
)
def test_sparkline(values, line):
    assert view.sparkline(values) == line


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (21.5, "°C", ("21.5", "°C")),
        (1.08441, "kW", ("1.084", "kW")),
        (133435.5039, "kWh", ("133,435.504", "kWh")),
        (1234567, "", ("1,234,567", "")),
        (24_590_778_368, "B", ("24,591", "MB")),
        (12_345, "B", ("12,345", "B")),
        (True, "", ("on", "")),
        (False, "", ("off", "")),
        (None, "°C", ("–", "°C")),
        (float("nan"), "", ("nan", "")),
        ("auto", "", ("auto", "")),
    ],
)
def test_quantities_have_sensible_digits(value, unit, text):
    assert view.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("ms", "text"), [(-5, "0 s"), (999, "0 s"), (119_999, "119 s"), (120_000, "2 min")]
)
def test_age(ms, text):
    assert view.age(ms) == text


def test_the_live_view_shows_node_counts_and_points(picture):
    text = screen(picture)
    assert "12 of 60 s  sampling" in text
    assert "node online  acquired 10  stored 3 " in text
    assert "came twice 2" in text
    assert "waiting on the node 7" in text
    assert "about" not in text
    row = next(line for line in text.splitlines() if "ahu-1/dat" in line)
    *words, age, unit, line = row.split()
    assert [*words, line] == ["ahu-1/dat", "22.0", "°C", "▁█"]
    # T0 is when this module was loaded.
    assert int(age) >= 2
    assert unit in ("s", "min")


def test_a_low_terminal_gets_as_many_points_as_fit(picture):
    names = [f"p{n}" for n in range(30)]
    picture.committed([], [points(*names)], [], Written(0, 0, []))
    text = screen(picture, height=20)
    assert len(text.splitlines()) <= 20
    assert "… 18 more" in text
    assert "more" not in screen(picture, height=40)


def test_names_from_the_node_are_not_read_as_markup(picture):
    group = Points("demo", "x", "virtual", [(9, "[red]a[/red]", "[b]")])
    picture.committed([], [group], [], Written(0, 0, []))
    assert "x/[red]a[/red]" in screen(picture)


def test_while_the_broker_is_away_the_backlog_is_guessed_from_the_rate(picture, clock):
    picture.committed([], [], [state(1000, 10)], Written(0, 0, []))
    picture.committed([], [], [state(3000, 30)], Written(27, 0, []))
    assert (picture.rate, picture.acquired, picture.waiting) == (10.0, 30, 0)
    picture.broker = False
    assert not picture.exact
    clock[0] += 5
    assert (picture.acquired, picture.waiting) == (80, 50)
    assert "node cut off  acquired about 80 " in view.status(picture)
    picture.broker = True
    assert "acquired about 80" in view.status(picture)
    picture.committed([], [], [state(8000, 85)], Written(0, 0, []))
    assert picture.exact
    assert (picture.acquired, picture.waiting) == (85, 55)


def test_an_offline_message_keeps_the_last_account(picture):
    will = State("demo", '{"state": "offline", "node": "demo", "boot": 1}')
    picture.committed([], [], [will], Written(0, 0, []))
    assert not picture.online
    assert picture.log["acquired"] == 10
    assert "node offline" in view.status(picture)


def test_late_records_do_not_become_the_newest_value(picture):
    picture.committed([records((T0 - 9000, 1, -40.0))], [], [], Written(1, 0, []))
    series = picture.points[1]
    assert (series.value, series.ts_ms) == (22.0, T0 - 2000)
    assert list(series.history) == [21.5, 22.0, -40.0]


def test_history_is_bounded(picture, clock):
    rows = [(T0 + n, 1, n) for n in range(100)]
    picture.committed([records(*rows)], [], [], Written(100, 0, []))
    assert list(picture.points[1].history) == list(range(100 - HISTORY, 100))
    for _ in range(10):
        clock[0] += 0.5
        picture.tick()
    assert len(picture.backlog) == 5
    for _ in range(100):
        clock[0] += 1
        picture.tick()
    assert len(picture.backlog) == HISTORY


def test_lines_come_once_a_second_and_with_every_phase(picture, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(view.time, "monotonic", lambda: now[0])
    lines = []
    show = view.Lines(lines.append)
    for tenth in range(25):
        now[0] = 100 + tenth / 10
        show(picture)
    assert len(lines) == 3
    picture.phase = "exporting"
    show(picture)
    assert len(lines) == 4
    assert "exporting" in lines[-1]


def test_the_live_screen_leaves_the_last_picture(picture):
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=110, height=40)
    with view.live_screen(console) as show:
        picture.phase = "exporting"
        show(picture)
    text = output.getvalue()
    assert "exporting" in text.split("\x1b[?25l")[-1]
    assert text.rstrip().endswith("\x1b[?25h")


def test_the_newest_alarm_is_shown_and_whether_its_signature_is_right(picture):
    assert "no webhooks in this heap" in screen(picture)
    picture.receiver = receiver = Receiver("secret")
    assert "no alarm yet" in screen(picture)
    for state in ("raised", "cleared"):
        body = {"event": "alarm_" + state, "alarm": {"message": f"[b]wave is {state}"}}
        receiver.arrivals.append(Arrival(state, body))
        assert f"alarm {state}, {len(receiver.arrivals)} webhook" in view.status(picture)
    text = screen(picture)
    assert "alarm cleared, 2 webhooks delivered, signature ok  [b]wave is cleared" in text
    receiver.refused = 3
    assert view.status(picture).endswith("signature ok, 3 NOT")


RESULT = {
    "problems": [],
    "records_acquired": 500,
    "records_stored": 500,
    "seconds": 15.2,
    "lost": 0,
    "duplicates": 0,
    "dropped": 0,
    "unexplained_gaps": 0,
    "outage_seconds": 2.5,
    "backlog": 73,
    "drain_seconds": 0.6,
    "provision_bytes": 276739,
    "provision_seconds": 2.8,
    "redelivered": 4,
    "csv_rows": 500,
    "points": 22,
    "counter_holes": 0,
    "node_errors": 2,
    "node_restarts": 1,
    "alarms_raised": 3,
    "alarms_cleared": 2,
    "webhooks_delivered": 5,
    "webhooks_missing": 0,
    "webhooks_again": 1,
    "webhooks_refused": 0,
    "heap": "160k",
    "heap_free": [15000, 15000, 14000],
}


def test_the_account_says_plainly_whether_all_is_well():
    good = "\n".join(view.summary(RESULT))
    assert "every one is in the database exactly once" in good
    assert "!" not in good
    assert "was provisioned over its serial line: 277 kB in 2.8 s" in good
    assert "met 2 errors and restarted 1 tasks" in good
    assert "alarms: 3 raised, 2 cleared" in good
    assert "5 webhooks arrived, their signatures verified" in good
    bad = view.summary({**RESULT, "lost": 7, "problems": ["7 records are lost"]})
    assert "NOT all is well" in bad[0]
    assert bad[1] == "  ! 7 records are lost"
    lean = {name: RESULT[name] for name in RESULT if not name.startswith(("alarms", "webhooks"))}
    assert "no alarms and webhooks" in "\n".join(view.summary(lean))
