"""The method ``loggers.live``: values as they change, for a while, with no log behind them."""

import json

from ..compat import asyncio, const, sleep_ms, wait_set
from ..errors import ApiError
from ..events import VALUE_CHANGED
from ..outlet_json import json_value
from .address import find_all

#: Values kept until they are sent, and of one message.
_QUEUE = const(64)
_BATCH = const(32)
#: Tasks of this kind at a time.
_MOST = const(4)
_TASK = "live:"


def live(node, args):
    """See ``loggers.live``."""
    points = list(node.points.values())
    if args["address"] != "all":
        points = find_all(node, args["address"])
    name = _TASK + args["subscriber"]
    tasks = node.supervisor.tasks
    if name not in tasks and len([one for one in tasks if one.startswith(_TASK)]) >= _MOST:
        raise ApiError("busy")
    node.supervisor.start(name, Live(node, points, args).run)
    return len(points)


class Live:
    """Sends the values of ``points`` until the lifetime in ``args`` ends."""

    def __init__(self, node, points, args):
        self.dropped = 0
        self._node = node
        self._points = points
        self._name = args["subscriber"]
        self._pause = args["minDelay"]
        self._end = node.clock.mono_ms() + args["lifetime"]
        self._rows = []
        self._event = asyncio.Event()

    async def run(self, _task):
        """The task: what the values are, then what they become."""
        bus = self._node.bus
        handle = bus.subscribe(VALUE_CHANGED, self._changed)
        try:
            for at in range(0, len(self._points), _BATCH):
                for point in self._points[at : at + _BATCH]:
                    if point.status == "ok":
                        self._put(point)
                await self._send()
            while self._left() > 0:
                if not self._rows:
                    self._event.clear()
                    await wait_set(self._event, self._left())
                await self._send()
        finally:
            bus.unsubscribe(handle)
        self._publish('"error":"end of life"')

    def _left(self):
        return self._end - self._node.clock.mono_ms()

    def _changed(self, _kind, _key, point):
        if point in self._points:
            self._put(point)

    def _put(self, point):
        if len(self._rows) >= _QUEUE:
            self._rows.pop(0)
            self.dropped += 1
        clock = self._node.clock
        ms = clock.mono_at(point.ticks) + (clock.offset_ms or 0)
        tail = "" if point.text is None else "," + json.dumps(point.text)
        self._rows.append("[%d,%d,%s%s]" % (ms, point.id, json_value(point.value), tail))
        self._event.set()

    async def _send(self):
        rows = self._rows[:_BATCH]
        if rows:
            head = '"event":"live","dropped":%d,' % self.dropped
            if not self._node.clock.trusted:
                head += '"ts_trusted":false,"boot":%d,' % self._node.boot
            if self._publish(head + '"value":[' + ",".join(rows) + "]"):
                # More may have come, and the oldest of these gone, only after this.
                self._rows = self._rows[len(rows) :]
        await sleep_ms(min(self._pause, max(self._left(), 0)))

    def _publish(self, text):
        head = '{"module":"loggers","method":"live","subscriber":"%s",' % self._name
        return self._node.outlet.publish("/reply", (head + text + "}").encode())
