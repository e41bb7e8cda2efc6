"""bus: who is called with what, failing subscribers, bounded queues, the price of silence."""

from core_kit import allocated, refused

from fieldpost import compat
from fieldpost.bus import Bus
from fieldpost.events import ANY, ERROR, LINK_DOWN, LINK_UP, VALUE_CHANGED
from fieldpost.queue import Queue


def recorder(bus, kind, prefix=""):
    """``(list that fills with events, handle)``."""
    seen = []
    return seen, bus.subscribe(kind, lambda *event: seen.append(event), prefix)


def fail(_kind, _key, _data):
    raise ValueError("broken subscriber")


def test_event_reaches_subscribers_of_its_kind_in_their_order():
    bus = Bus()
    order = []
    bus.subscribe(LINK_UP, lambda *event: order.append(("first", event)))
    bus.subscribe(LINK_UP, lambda *event: order.append(("second", event)))
    others, _ = recorder(bus, LINK_DOWN)
    bus.emit(LINK_UP, "main", 7)
    assert order == [("first", (LINK_UP, "main", 7)), ("second", (LINK_UP, "main", 7))]
    assert others == []


def test_data_may_be_left_out():
    bus = Bus()
    seen, _ = recorder(bus, LINK_UP)
    bus.emit(LINK_UP, "main")
    assert seen == [(LINK_UP, "main", None)]


def test_prefix_selects_keys():
    bus = Bus()
    seen, _ = recorder(bus, VALUE_CHANGED, "ahu-1/")
    for key in ("ahu-1/dat", "ahu-10/dat", "ahu-1", "", "ahu-1/"):
        bus.emit(VALUE_CHANGED, key)
    assert [key for _, key, _ in seen] == ["ahu-1/dat", "ahu-1/"]


def test_any_receives_every_kind_after_those_of_the_kind():
    bus = Bus()
    order = []
    bus.subscribe(ANY, lambda kind, key, data: order.append("any " + kind))
    bus.subscribe(LINK_UP, lambda kind, key, data: order.append("kind"))
    bus.emit(LINK_UP, "main")
    bus.emit("of tomorrow", "x")
    assert order == ["kind", "any " + LINK_UP, "any of tomorrow"]


def test_unsubscribed_is_not_called_again():
    bus = Bus()
    seen, handle = recorder(bus, LINK_UP)
    kept, _ = recorder(bus, LINK_UP)
    bus.unsubscribe(handle)
    bus.emit(LINK_UP, "main")
    bus.unsubscribe(handle)
    bus.unsubscribe((LINK_DOWN, "", fail))
    bus.emit(LINK_UP, "main")
    assert seen == []
    assert len(kept) == 2


def test_two_subscriptions_of_one_callback_end_one_by_one():
    bus = Bus()
    seen = []

    def callback(kind, key, data):
        seen.append(key)

    first = bus.subscribe(LINK_UP, callback)
    bus.subscribe(LINK_UP, callback)
    bus.emit(LINK_UP, "a")
    bus.unsubscribe(first)
    bus.emit(LINK_UP, "b")
    assert seen == ["a", "a", "b"]


def test_last_unsubscribe_leaves_nothing_behind():
    bus = Bus()
    _, handle = recorder(bus, LINK_UP)
    bus.unsubscribe(handle)
    assert not bus._subscribers


def test_unsubscribing_during_an_emit_skips_nobody():
    bus = Bus()
    handles = []
    seen = []

    def once(kind, key, data):
        seen.append("once")
        bus.unsubscribe(handles[0])

    handles.append(bus.subscribe(LINK_UP, once))
    bus.subscribe(LINK_UP, lambda kind, key, data: seen.append("always"))
    bus.emit(LINK_UP, "main")
    bus.emit(LINK_UP, "main")
    assert seen == ["once", "always", "always"]


def test_subscribing_during_an_emit_starts_with_the_next():
    bus = Bus()
    seen = []

    def late(kind, key, data):
        seen.append(data)

    def opener(kind, key, data):
        bus.subscribe(LINK_UP, late)

    handle = bus.subscribe(LINK_UP, opener)
    bus.emit(LINK_UP, "main", 1)
    bus.unsubscribe(handle)
    bus.emit(LINK_UP, "main", 2)
    assert seen == [2]


def test_emitting_from_a_callback():
    bus = Bus()
    bus.subscribe(LINK_UP, lambda kind, key, data: bus.emit(LINK_DOWN, key, data))
    seen, _ = recorder(bus, LINK_DOWN)
    bus.emit(LINK_UP, "main", 3)
    assert seen == [(LINK_DOWN, "main", 3)]


def test_failing_subscriber_stops_nobody_and_is_reported():
    bus = Bus()
    errors, _ = recorder(bus, ERROR)
    bus.subscribe(LINK_UP, fail)
    seen, _ = recorder(bus, LINK_UP)
    everything, _ = recorder(bus, ANY)
    bus.emit(LINK_UP, "main")
    assert bus.failures == 1
    assert seen == [(LINK_UP, "main", None)]
    kind, key, error = errors[0]
    assert (kind, key, str(error)) == (ERROR, "bus", "broken subscriber")
    assert [event[0] for event in everything] == [ERROR, LINK_UP]


def test_failing_error_subscriber_is_counted_and_ends():
    bus = Bus()
    bus.subscribe(ERROR, fail)
    seen, _ = recorder(bus, ERROR)
    bus.emit(ERROR, "driver", "x")
    assert bus.failures == 1
    assert seen == [(ERROR, "driver", "x")]


def test_everything_failing_still_ends():
    bus = Bus()
    bus.subscribe(ANY, fail)
    bus.subscribe(LINK_UP, fail)
    bus.emit(LINK_UP, "main")
    # Its own failure, that of ANY on its report, that of ANY on the event, and on its report.
    assert bus.failures == 4


async def test_queue_delivers_in_order():
    bus = Bus()
    queue = bus.queue(LINK_UP, 4, "m")
    bus.emit(LINK_UP, "main", 1)
    bus.emit(LINK_UP, "spare", 2)
    bus.emit(LINK_DOWN, "main", 3)
    bus.emit(LINK_UP, "m2", 4)
    assert len(queue) == 2
    assert await queue.get() == (LINK_UP, "main", 1)
    assert await queue.get() == (LINK_UP, "m2", 4)
    assert queue.dropped == 0


async def test_full_queue_drops_its_oldest_and_counts():
    queue = Queue(3)
    for number in range(10):
        queue.put(LINK_UP, "main", number)
    assert len(queue) == 3
    assert queue.dropped == 7
    for number in (7, 8, 9):
        assert (await queue.get())[2] == number
    queue.put(LINK_UP, "main", 10)
    assert queue.dropped == 7
    assert (await queue.get())[2] == 10


async def test_queue_wakes_a_waiting_reader_each_time():
    queue = Queue(2)
    got = []

    async def reader():
        while len(got) < 3:
            got.append((await queue.get())[2])

    task = compat.asyncio.create_task(reader())
    for number in range(3):
        await compat.sleep_ms(1)
        assert len(got) == number
        queue.put(LINK_UP, "main", number)
    await compat.wait_for_ms(task, 5000)
    assert got == [0, 1, 2]


async def test_two_readers_share_a_queue():
    queue = Queue(4)
    got = []

    async def reader():
        got.append((await queue.get())[2])

    tasks = [compat.asyncio.create_task(reader()) for _ in range(2)]
    await compat.sleep_ms(1)
    queue.put(LINK_UP, "main", 1)
    await compat.sleep_ms(1)
    assert got == [1]
    queue.put(LINK_UP, "main", 2)
    for task in tasks:
        await compat.wait_for_ms(task, 5000)
    assert got == [1, 2]


async def test_queue_ends_by_its_handle():
    bus = Bus()
    queue = bus.queue(LINK_UP, 2)
    bus.unsubscribe(queue.handle)
    bus.emit(LINK_UP, "main")
    assert len(queue) == 0


def test_queue_without_room_is_refused():
    for size in (0, -1):
        assert "at least 1" in refused(ValueError, Queue, size)


def test_emit_costs_no_heap():
    bus = Bus()
    emit = bus.emit
    assert allocated(lambda: emit(VALUE_CHANGED, "ahu-1/dat", bus), 100) == 0
    bus.subscribe(LINK_UP, lambda kind, key, data: None)
    assert allocated(lambda: emit(VALUE_CHANGED, "ahu-1/dat", bus), 100) == 0
    count = [0]

    def listener(kind, key, data):
        count[0] += 1

    bus.subscribe(VALUE_CHANGED, listener, "ahu")
    bus.subscribe(ANY, listener)
    assert allocated(lambda: emit(VALUE_CHANGED, "ahu-1/dat", bus), 100) == 0
    assert count[0] >= 2
