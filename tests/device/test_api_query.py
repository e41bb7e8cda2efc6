"""loggers.query over real logs: RAM and flash, undated records, records dropped meanwhile."""

from core_kit import UNIX_MS, refused
from log_kit import Store

from fieldpost import segment
from fieldpost.api.call import Rows
from fieldpost.api.query import query
from fieldpost.errors import ApiError, ConfigError
from fieldpost.point import Point
from fieldpost.ring import Ring

DEFAULTS = {
    "address": "all",
    "start": 0,
    "end": None,
    "before": False,
    "after": False,
    "aggregate": None,
    "fill": "none",
    "align": "left",
    "limit": None,
    "subscription": "default",
}
HEAP = "2m"


class Holder:
    """Stands for a subscription, and for a device."""

    def __init__(self, ring=None, points=()):
        self.ring = ring
        self.points = points


class Node:
    """As much of a node as a query asks for; ``store`` is the log's."""

    def __init__(self, store):
        self.clock = store.clock
        self.subscriptions = {"default": Holder(store.log)}
        points = [Point(id, "v", "p%d" % id) for id in (1, 2)]
        self.points = {point.id: point for point in points}
        self.devices = {"v": Holder(None, points)}

    def rows(self, **args):
        """All rows of an answer; turns of others are left out."""
        return [row for row in self.all(**args) if row is not Rows.PAUSE]

    def all(self, **args):
        """An answer as it is generated."""
        return query(self, dict(DEFAULTS, **args))


class Memory(Store):
    """A log in RAM only."""

    def open(self, unix_ms=None):
        """There is nothing to open."""
        Store.open(self, unix_ms)
        self.log = Ring(self.shape[0], self.clock, self.new_stream, self.boot, *self.shape[1:])


def filled(count=600, store=None, step=1000):
    """A store with ``count`` records, one a second, each its own index; most are on flash."""
    store = store or Store(unix_ms=UNIX_MS, durable=True, maxLatency=100)
    for _ in range(count):
        store.fill(1)
        store.ticks.advance(step)
        store.log.tend()
    return store


def indexes(rows):
    """The indexes of records made by ``filled``."""
    return [row["value"] - 100000 for row in rows]


def at(index):
    """When ``filled`` recorded it."""
    return UNIX_MS + index * 1000


def test_all_that_is_kept():
    store = filled()
    node = Node(store)
    rows = node.rows()
    assert indexes(rows) == list(range(600))
    assert rows[7] == {"ts": at(7), "address": 1, "value": 100007, "value_string": None}
    assert len(store.log.segments) > 5 and store.log.oldest < store.log.ram_oldest


def test_a_range():
    node = Node(filled())
    assert indexes(node.rows(start=at(20), end=at(30))) == list(range(20, 30))
    assert indexes(node.rows(start=at(590))) == list(range(590, 600))
    assert indexes(node.rows(end=at(3))) == [0, 1, 2]
    assert node.rows(start=at(600)) == node.rows(end=at(0)) == []
    rows = node.rows(start=at(20), end=at(30), before=True, after=True)
    assert indexes(rows) == list(range(19, 31))
    assert indexes(node.rows(start=at(30), end=at(30), before=True)) == [29]
    assert indexes(node.rows(limit=5)) == list(range(5))
    # Wherever chunks and segments begin.
    for index in range(300, 400):
        rows = node.rows(start=at(index), end=at(index + 1), after=True)
        assert indexes(rows) == [index, index + 1]


def test_the_value_after_may_come_late():
    store = Store(frames=16, unix_ms=UNIX_MS)
    for index in range(400):
        store.log.append(2 if index in (20, 380) else 1, index)
        store.ticks.advance(1000)
    rows = Node(store).rows(start=at(100), end=at(102), before=True, after=True)
    assert sorted([row["value"] for row in rows]) == [20, 99, 100, 101, 102, 380]


def decoded(store, **args):
    """Records that an answer decodes."""
    count = []
    make = store.log.reader

    def noted(index):
        made = make(index)
        take = made.take

        def counted():
            count.append(1)
            return take()

        made.take = counted
        return made

    store.log.reader = noted
    Node(store).rows(**args)
    del store.log.reader
    return len(count)


def test_what_is_later_is_hardly_looked_at():
    store = filled()
    assert decoded(store) == 600
    assert decoded(store, end=at(10)) < 150
    assert decoded(store, start=at(100), end=at(110)) < 200


def test_addresses():
    store = Store(unix_ms=UNIX_MS)
    for index in range(10):
        store.log.append(index % 3, index)
    node = Node(store)
    for address, values in (
        (1, [1, 4, 7]),
        ("v/p2", [2, 5, 8]),
        ([2, {"gateway": "v", "name": "p1"}], [1, 2, 4, 5, 7, 8]),
        ([], []),
        # Of a point that is no more, too.
        ("all", list(range(10))),
    ):
        assert [row["value"] for row in node.rows(address=address)] == values
    args = dict(DEFAULTS, address=[1, 99])
    assert refused(ApiError, query, node, args) == "invalid address"


def test_arguments_that_make_no_sense():
    node = Node(Store(unix_ms=UNIX_MS))
    args = dict(DEFAULTS, start=5, end=4)
    assert refused(ApiError, query, node, args) == "invalid value"
    for text, args in (
        ("aggregate", {"aggregate": "5x"}),
        ("aggregate", {"aggregate": 0}),
        ("fill", {"fill": "last"}),
        ("subscription", {"subscription": "x"}),
    ):
        assert text in refused(ConfigError, query, node, dict(DEFAULTS, **args))


def test_aggregates():
    node = Node(filled())
    start = at(60) // 60000 * 60000
    rows = node.rows(aggregate="1m", start=start, end=start + 300000)
    assert [row["ts"] for row in rows] == [start + i * 60000 for i in range(5)]
    first = 100000 - (UNIX_MS - start) // 1000
    for i, row in enumerate(rows):
        values = [first + 60 * i + j for j in range(60)]
        assert row["value_count"] == 60 and row["value_avg"] == sum(values) / 60
        assert [row["value_first"], row["value_last"]] == [values[0], values[-1]]
    # From a value long before the range, up to now.
    store = Store(unix_ms=UNIX_MS)
    store.append(5)
    store.ticks.advance(600000)
    rows = Node(store).rows(start=UNIX_MS + 300000, aggregate="1m", fill="last")
    assert [row["value_last"] for row in rows] == [5] * 6
    assert rows[-1]["end"] > store.clock.unix_ms() >= rows[-1]["start"]


def test_undated_records_are_left_out_until_they_can_be_dated():
    store = Store(unix_ms=None, durable=True, maxLatency=100)
    filled(100, store)
    node = Node(store)
    assert node.rows() == node.rows(aggregate=1000, fill="last") == []
    store.clock.set_unix_ms(UNIX_MS + 100000, "test")
    assert indexes(node.rows()) == list(range(100))
    assert indexes(node.rows(start=at(95))) == list(range(95, 100))
    # A boot that never knew: its records are skipped, not those of the next.
    store = Store(unix_ms=None, durable=True, maxLatency=100)
    filled(50, store)
    store.open(UNIX_MS)
    begin = store.log.next
    filled(50, store)
    rows = Node(store).rows()
    assert indexes(rows) == list(range(begin, begin + 50))
    assert rows == Node(store).rows(start=UNIX_MS)


def test_a_clock_that_was_set_back():
    store = Store(unix_ms=UNIX_MS + 9999999)
    store.append(1)
    store.clock.set_unix_ms(UNIX_MS, "test")
    store.append(2)
    rows = Node(store).rows(start=UNIX_MS, end=UNIX_MS + 1000)
    assert [row["value"] for row in rows] == [2]


def loads(store, **args):
    """Segments that an answer reads."""
    read = []
    load = segment_loads(read)
    try:
        Node(store).rows(**args)
    finally:
        load()
    return len(read)


def segment_loads(read):
    """Note each load of a segment; returns what ends that."""
    from fieldpost.replay import Segment

    load = Segment.load

    def noted(self, folder, index):
        read.append(index)
        load(self, folder, index)

    Segment.load = noted

    def end():
        Segment.load = load

    return end


def test_old_segments_are_not_read():
    store = filled()
    everything = len(store.log.segments)
    assert loads(store) >= everything - 1
    assert loads(store, start=at(599)) == 0
    middle = segment.head(store.log.folder, store.log.segments[-3])[2]
    assert loads(store, start=middle) <= 3
    assert Node(store).rows(start=middle)[0]["ts"] == middle
    # The value before the range may be in any.
    assert loads(store, start=at(599), before=True) >= everything - 1


def test_a_damaged_segment():
    store = filled()
    second = store.log.segments[1]
    path = segment.path(store.log.folder, second)
    with open(path, "rb") as file:
        data = bytearray(file.read())
    # Its header, and a chunk in the middle of it.
    for position in (5, len(data) // 2):
        data[position] ^= 0xFF
    with open(path, "wb") as file:
        file.write(data)
    rows = indexes(Node(store).rows(start=at(second + 1)))
    assert rows == sorted(set(rows)) and rows[-1] == 599 and 400 < len(rows) < 599 - second
    assert indexes(Node(store).rows(start=at(590))) == list(range(590, 600))


def test_others_have_a_turn():
    store = filled()
    for args in ({}, {"start": at(599)}, {"end": at(0)}, {"aggregate": "1d"}, {"address": 2}):
        longest = run = 0
        for row in Node(store).all(**args):
            run = 0 if row is Rows.PAUSE else run + 1
            longest = max(longest, run)
        assert longest <= 16
    # Even where there is not one row.
    turns = len([row for row in Node(store).all(address=2) if row is Rows.PAUSE])
    assert turns >= 600 // 16


def test_what_comes_meanwhile_is_not_included():
    store = filled(50, Memory(unix_ms=UNIX_MS, frames=8))
    found = []
    for row in Node(store).all():
        if row is Rows.PAUSE:
            store.fill(3)
        else:
            found.append(row)
        assert len(found) < 100
    assert indexes(found) == list(range(50))


def test_what_is_dropped_meanwhile_is_missing():
    for make in (Memory, Store):
        for rate in (1, 7, 40, 200):
            for count in (1, 10, 33):
                store = filled(60, make(unix_ms=UNIX_MS, frames=4), step=10)
                disturb(store, rate, count)


def disturb(store, rate, count):
    """Query a log whose records are overwritten after every ``count`` items of the answer."""
    log = store.log
    oldest, end = log.oldest, log.next
    found = []
    for number, row in enumerate(Node(store).all()):
        if number % count == 0:
            store.fill(rate)
            store.ticks.advance(5)
            log.tend()
        if row is not Rows.PAUSE:
            found.append(row)
    got = indexes(found)
    assert got == sorted(set(got)) and all(oldest <= index < end for index in got)
    assert all(row["ts"] == UNIX_MS + index * 10 for row, index in zip(found, got))
    if rate == 200 and isinstance(store, Memory):
        assert len(got) < end - oldest


def test_segments_are_deleted_meanwhile():
    store = filled()
    rows = []
    for number, row in enumerate(Node(store).all()):
        if number == 40:
            store.cursor.ack(500)
            assert store.log.oldest > 100
        if row is not Rows.PAUSE:
            rows.append(row)
    got = indexes(rows)
    assert got[:20] == list(range(20)) and got[-1] == 599 and len(got) < 550
    assert got == sorted(set(got))


def test_a_log_that_is_emptied_meanwhile():
    store = filled()
    answer = Node(store).all()
    rows = iter(answer)
    for _ in range(10):
        next(rows)
    store.log.clear()
    assert len(list(rows)) < 64
    assert Node(store).rows() == []
