"""loggers from outside: a node on a virtual board behind mosquitto, asked as any client would."""

import hashlib
import json
import queue
import time

import pytest

import servers
from api_lines import TIMEOUT_S, Mqtt, board, configuration

SMALL = {"ring_bytes": 8192, "flush": {"minDelay": 0, "maxDelay": 100}}


@pytest.fixture(scope="module")
def running(tmp_path_factory, micropython, umqtt_path):
    """``(mosquitto, board)``: one node for all tests, which may do everything over MQTT."""
    with servers.Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        config = configuration(broker.port, api={"mqtt": ["*"]}, subscriptions=[default()])
        with board(config, "1m") as made:
            yield broker, made


def default():
    """The subscription that always exists; it keeps everything on flash at once."""
    store = {"durable": True, "maxLatency": 500}
    return {"id": "default", **SMALL, "store": store}


@pytest.fixture
def node(running):
    """Asks the node; nobody is subscribed before and after."""
    with Mqtt(running[0].port) as line:
        yield line
        for one in line.value("loggers.getSubscribers"):
            line.ask("loggers.unsubscribe", **names(one))


def names(row):
    return {key: row[key] for key in ("subscription", "subscriber")}


class Collector:
    """Confirms every flush of one subscriber; ``rows`` of each subscription and stream by seq."""

    def __init__(self, line, name, ack="id"):
        self.rows = {}
        self.last = {}
        self._line, self._name, self._ack = line, name, ack

    def step(self, confirm=True):
        """Take the next message; confirm it if it has records."""
        raw = self._line.flushes.get(timeout=TIMEOUT_S)
        self.last = json.loads(raw)
        if not self.last.get("value"):
            return
        known = self.rows.setdefault((self.last["subscription"], self.last["stream"]), {})
        again = self.last["seq"] in known
        for number, row in enumerate(self.last["value"]):
            assert known.setdefault(self.last["seq"] + number, row) == row
        if confirm:
            # What was sent again is confirmed once.
            assert self.confirm(raw) or again

    def confirm(self, raw):
        """Acknowledge by what the subscriber was made for; the node's answer."""
        if self._ack == "md5":
            key = {"md5": hashlib.md5(raw[raw.index(b'"value":') + 8 : -1]).hexdigest()}
        else:
            key = {name: self.last[name] for name in ("flush", "stream", "seq")}
        return self._line.value(
            "loggers.ackSubscribe",
            subscription=self.last["subscription"],
            subscriber=self._name,
            **key,
        )

    def until(self, condition):
        """Take messages until ``condition()`` is true."""
        end = time.monotonic() + 2 * TIMEOUT_S
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            self.step()

    def total(self):
        return sum(map(len, self.rows.values()))

    def whole(self):
        """True if no record is missing between the first and the last of each stream."""
        return all(max(known) - min(known) + 1 == len(known) for known in self.rows.values())


@pytest.mark.parametrize("ack", ["id", "md5"])
def test_confirmed_from_outside(node, ack):
    node.value("loggers.subscribe", subscriber="out", ack=ack)
    collector = Collector(node, "out", ack)
    collector.until(lambda: collector.total() > 200)
    assert collector.whole()
    (shown,) = node.value("loggers.getSubscribers")
    assert shown["delivered"] >= 200
    assert shown["ack_timeouts"] == 0
    assert node.error("loggers.ackSubscribe", subscriber="none", flush=1) == "unsubscribed"
    assert node.value("loggers.ackSubscribe", subscriber="out", flush=1) is False


def test_what_is_not_confirmed_comes_again(node):
    flush = {"id": "default", "flush": {"ackTimeout": 500}}
    node.value("loggers.updateSubscription", subscription=flush)
    node.value("loggers.subscribe", subscriber="late")
    collector = Collector(node, "late")
    collector.step(confirm=False)
    first = collector.last
    collector.step()
    collector.until(lambda: collector.last["flush"] == first["flush"])
    assert collector.last["value"] == first["value"]
    (shown,) = node.value("loggers.getSubscribers")
    assert shown["resent"] >= len(first["value"])


def test_a_prefix_reads_what_is_made_later(node):
    assert node.value("loggers.subscribe", subscription="plant/", subscriber="scada") == []
    made = {**SMALL, "store": {"disk": False}, "acquisition": "200", "flush": {"maxDelay": 0}}
    for id, addresses in (("plant/a", "ahu-1/n"), ("plant/b", ["meter/kwh"])):
        given = {**made, "id": id, "addresses": addresses}
        node.value("loggers.insertSubscription", subscription=given)
    collector = Collector(node, "scada")
    collector.until(lambda: len(collector.rows) == 2 and collector.total() > 10)
    assert {id for id, _stream in collector.rows} == {"plant/a", "plant/b"}
    points = {id: {row[1] for row in rows.values()} for (id, _), rows in collector.rows.items()}
    assert points == {"plant/a": {2}, "plant/b": {7}}
    # By the clock, each 200 ms.
    late = [row for rows in collector.rows.values() for row in rows.values() if row[0] % 200]
    assert not late, collector.rows
    node.value("loggers.deleteSubscription", subscription="plant/a")
    while collector.last.get("error") != "unsubscribed":
        collector.step()
    assert collector.last["subscription"] == "plant/a"
    found = node.value("loggers.getSubscriptions", prefix="plant/")
    assert [one["id"] for one in found] == ["plant/b"]
    node.value("loggers.deleteSubscription", subscription="plant/b")


def test_a_restart_keeps_what_lasts(running, node):
    broker, made = running
    node.value("loggers.subscribe", subscriber="stays")
    # What others had confirmed before was not kept on flash for it.
    end = node.value("loggers.getSubscription", subscription="default")["state"]["next"]
    collector = Collector(node, "stays")
    collector.until(lambda: collector.last.get("seq", 0) > end)
    confirmed = collector.last
    node.value("loggers.subscribe", subscriber="guest", lifetime=600000)
    # Cursors are stored once a second.
    time.sleep(2)
    made.power_cycle()
    with Mqtt(broker.port) as line:
        shown = line.value("loggers.getSubscribers")
        assert [one["subscriber"] for one in shown] == ["stays"]
        collector = Collector(line, "stays")
        log = ("default", confirmed["stream"])
        follows = confirmed["seq"] + len(confirmed["value"])
        collector.until(lambda: follows in collector.rows.get(log, ()))
        assert min(collector.rows[log]) == follows


def test_a_lifetime_ends(node):
    node.value("loggers.subscribe", subscriber="short", lifetime=1000, keepalive=200)
    collector = Collector(node, "short")
    while collector.last.get("error") != "end of life":
        collector.step(confirm=False)
    assert node.value("loggers.getSubscribers") == []


def test_pauses(node):
    node.value("loggers.subscribe", subscriber="p")
    collector = Collector(node, "p")
    collector.until(lambda: collector.total() > 20)
    node.value("loggers.pauseSubscribe", subscriber="p")
    assert node.error("loggers.pauseSubscribe", subscriber="p") == "already paused"
    _drain(collector)
    before = collector.total()
    time.sleep(1)
    assert node.flushes.empty()
    node.value("loggers.resumeSubscribe", subscriber="p")
    # With what was in flight then.
    collector.until(lambda: collector.total() > before + 10 and collector.whole())
    # Inactive: what was not confirmed is given up, and told.
    node.value("loggers.pauseSubscribe", subscriber="p", inactive=True)
    _drain(collector)
    seen = collector.total()
    time.sleep(1)
    node.value("loggers.resumeSubscribe", subscriber="p")
    collector.until(lambda: collector.total() > seen + 10)


def _drain(collector):
    while True:
        try:
            collector._line.flushes.get(timeout=0.5)
        except queue.Empty:
            return


def test_query_has_what_was_delivered(node):
    node.value("loggers.subscribe", subscriber="q")
    collector = Collector(node, "q")
    collector.until(lambda: collector.total() > 300)
    rows = sorted(row for known in collector.rows.values() for row in known.values())
    start, end = rows[0][0], rows[-1][0]
    found = streamed(node, address="all", start=start, end=end)
    # More may have been read from flash than this subscriber got, not less.
    asked = {(row["ts"], row["address"], row["value"]) for row in found}
    assert {tuple(row[:3]) for row in rows if row[0] < end} <= asked
    counts = [row for row in found if row["address"] == 2]
    whole = streamed(node, address="ahu-1/n", start=start, end=end, aggregate=500)
    assert sum(row["value_count"] for row in whole) == len(counts)
    for row in whole:
        own = [one["value"] for one in counts if row["start"] <= one["ts"] < row["end"]]
        assert (row["value_min"], row["value_max"]) == (min(own), max(own))
        assert (row["value_first"], row["value_last"]) == (own[0], own[-1])
        assert row["value_avg"] == pytest.approx(sum(own) / len(own))
    limited = node.value("loggers.query", address=2, start=start, limit=3)
    assert [row["ts"] for row in limited] == [row["ts"] for row in counts[:3]]
    assert "invalid address" in node.error("loggers.query", address=99)
    assert "aggregate" in node.error("loggers.query", address=2, aggregate="1y")


def streamed(line, **args):
    """The rows of a query, fetched part by part."""
    line.send({"id": "s", "module": "loggers", "method": "query", "stream": 1, **args})
    part = line.next()
    text = part["value"]
    while not part.get("last"):
        line.send({"id": "s", "stream": part["stream"], "part": part["part"] + 1})
        part = line.next()
        text += part["value"]
    return json.loads(text)["value"]


def test_live_values(node):
    assert node.value("loggers.live", address=["ahu-1/n"], lifetime=2000, subscriber="m") == 1
    values = []
    while True:
        message = node.next()
        assert (message["method"], message["subscriber"]) == ("live", "m")
        if "error" in message:
            break
        assert message["dropped"] == 0
        values += [row[2] for row in message["value"]]
    assert message["error"] == "end of life"
    assert values == list(range(values[0], values[0] + len(values)))
    assert len(values) > 20
