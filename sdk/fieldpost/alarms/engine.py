"""Runs a node's alarms and faults; made by ``build.configure_alarms`` if there are any.

They are judged when one of their points was read or failed, at once, except those of several
points: these a moment later, when a reading's other points are there. What time alone decides is
left to one task, which sleeps until the next such moment. Points without alarms cost nothing.

Events on the bus, key and data:

* ``alarm_raised``, ``alarm_cleared``, ``alarm_acknowledged``: ``device/point``; ``alarm_id,
  node_id, device_id, point_id, type, severity, state, value, message, timestamp_ms``
* ``fdd_fault_raised``, ``fdd_fault_cleared``: the equipment; ``fault_id, equipment, type,
  severity, state, value, message, timestamp_ms``

``value`` is that of the (first) point, None where JSON could not say it; ``timestamp_ms`` is Unix
time, None while that is not known. Ids are never used twice, also over restarts.
"""

from ..compat import asyncio, const, wait_set
from ..events import (
    ALARM_ACKNOWLEDGED,
    ALARM_CLEARED,
    ALARM_RAISED,
    ERROR,
    FDD_FAULT_CLEARED,
    FDD_FAULT_RAISED,
    POINT_FAILED,
)
from . import message, store
from .rule import NAMES, NORMAL, Rule, make

#: The task looks at least this often.
_LONGEST_MS = const(3600000)
#: So many times the state may be written in a row.
_BURST = const(8)
#: Alarm ids made of one persisted number.
_BLOCK_BITS = const(6)


class Watch:
    """Trigger of one point: judges the rules that read it."""

    def __init__(self, engine):
        self.engine = engine
        self.rules = []

    def __call__(self, _point, ticks):
        """The point was read."""
        self.engine.touch(self.rules, self.engine.clock.mono_at(ticks))


class Alarms:
    """All alarms and faults of a node: ``rules`` by id.

    ``path`` is the file of their state; ``number()`` gives a persisted number, never twice.
    ``counters``: ``raised``, ``cleared``, ``damaged`` (lines of the file), ``unsaved`` (attempts
    to write it that failed).
    """

    #: The state is written at once, in the long run not more often than every so many ms.
    save_ms = 5000

    def __init__(self, bus, clock, path, number):
        self.bus = bus
        self.clock = clock
        self.rules = {}
        self.counters = {"raised": 0, "cleared": 0, "damaged": 0, "unsaved": 0}
        self._path = path
        self._number = number
        self._next_id = self._end_id = 0
        self._spare = None
        self._watches = {}
        self._timed = []  # rules with a due time
        self._event = asyncio.Event()
        self._wake = None
        self._dirty = False
        self._spent = clock.mono_ms() - _BURST * self.save_ms
        self._kept, self.counters["damaged"] = store.load(path)
        bus.subscribe(POINT_FAILED, self._on_failed)
        clock.on_change.append(self._on_clock)

    # -- configuration

    def configure(self, rows, points):
        """Have these rules from now on; returns the ids of those that came, went or changed.

        ``rows`` as ``check.rows`` makes them, ``points``: ``Point`` by id. Rules whose row did not
        change keep their state, also over a restart; what is raised of the others is cleared.
        """
        before, self.rules = self.rules, {}
        changed = []
        now = self.clock.mono_ms()
        for row in rows:
            rule = before.pop(row["id"], None)
            if rule is None or rule.digest != row["digest"]:
                self._end(rule)
                rule = self._restored(Rule(row))
                changed.append(rule.id)
            self._bind(rule, row, [points[id] for id in row["points"]], now)
            self.rules[rule.id] = rule
        for id in before:
            self._end(before[id])
            changed.append(id)
        self._watch(points)
        return changed

    def _restored(self, rule):
        entry = self._kept.get(rule.id)
        if entry and entry[1] == rule.digest:
            rule.restore(self._kept.pop(rule.id))
        return rule

    def _bind(self, rule, row, points, now):
        same = len(points) == len(rule.points)
        if not same or any(a is not b for a, b in zip(points, rule.points)):
            rule.points = points
            rule.condition = make(row, points, now)
            if all(point.status == "ok" for point in points):
                rule.condition.update(now)
            self._schedule(rule, now)

    def _end(self, rule):
        """A rule is no more: what it raised is cleared."""
        if rule is None:
            return
        rule.due = None
        if rule.raised or rule.shelved:
            self.changed()
        if rule.raised:
            rule.state = NORMAL
            self.cleared(rule)

    def _watch(self, points):
        for point in points.values():
            if any(isinstance(trigger, Watch) for trigger in point.triggers):
                point.triggers = tuple(one for one in point.triggers if not isinstance(one, Watch))
        self._watches = {}
        for rule in self.rules.values():
            for point in rule.points:
                watch = self._watches.get(point.key)
                if watch is None:
                    watch = self._watches[point.key] = Watch(self)
                    point.triggers += (watch,)
                if rule not in watch.rules:
                    watch.rules.append(rule)

    # -- judging

    def touch(self, rules, now):
        """Something happened to a point of these rules."""
        for rule in rules:
            self._judge(rule, now, True)

    def _judge(self, rule, now, updated=False):
        try:
            if updated:
                rule.condition.update(now)
            if updated and rule.condition.settle:
                rule.due = now
            else:
                rule.judge(self, now)
        except Exception as error:
            # Not through the driver whose value this is.
            rule.due = None
            self.bus.emit(ERROR, "alarm:" + rule.id, error)
        self._list(rule)

    def _schedule(self, rule, due):
        if rule.due is None or due < rule.due:
            rule.due = due
        self._list(rule)

    def _list(self, rule):
        if rule.due is None:
            return
        if not rule.listed:
            rule.listed = True
            self._timed.append(rule)
        if self._wake is None or rule.due < self._wake:
            self._event.set()

    def _on_failed(self, _kind, key, _point):
        watch = self._watches.get(key)
        if watch:
            self.touch(watch.rules, self.clock.mono_ms())

    def _on_clock(self):
        """The wall clock was set: shelved alarms may be due."""
        now = self.clock.mono_ms()
        for rule in self.rules.values():
            if rule.shelved:
                self._schedule(rule, now)

    # -- the task

    async def run(self, task):
        """The alarms' task."""
        self._clear_forgotten()
        while True:
            task.beat()
            wait = self.step()
            self._event.clear()
            if wait > 0:
                await wait_set(self._event, wait)
            else:
                await asyncio.sleep(0)

    def step(self):
        """Do what is due; returns ms until the next time."""
        now = self.clock.mono_ms()
        timed, self._timed = self._timed, []
        for rule in timed:
            rule.listed = False
            if rule.due is not None and rule.due <= now:
                rule.due = None
                self._judge(rule, now)
            else:
                self._list(rule)
        if self._spare is None and self.rules:
            # Ahead of time, as it writes to flash.
            self._spare = self._number()
        wake = now + self._save(now)
        for rule in self._timed:
            wake = min(wake, rule.due)
        self._wake = wake
        return max(wake - now, 0)

    def _save(self, now):
        """Write the state if it changed; returns ms until it may be written."""
        if not self._dirty:
            return _LONGEST_MS
        # Each write costs save_ms of the time that passed, of which some may be saved up.
        spent = max(self._spent, now - _BURST * self.save_ms) + self.save_ms
        if spent > now:
            return spent - now
        self._spent = spent
        try:
            rules = self.rules.values()
            store.save(self._path, (one.entry() for one in rules if one.raised or one.shelved))
            self._dirty = False
        except OSError as error:
            self.counters["unsaved"] += 1
            self.bus.emit(ERROR, "alarms", error)
            return self.save_ms
        return _LONGEST_MS

    def _clear_forgotten(self):
        """Clear what the last run raised and the configuration no longer has, or has changed."""
        for entry in self._kept.values():
            _, _, state, _, number, _, key, kind, severity, fault = entry
            if state != NORMAL:
                text = "%s at %s: no longer configured" % (kind, key)
                self._emit(fault, "cleared", number, key, kind, severity, None, text)
        if self._kept:
            self.changed()
        self._kept = {}

    # -- what rules tell

    def changed(self):
        """The state differs from what is written."""
        self._dirty = True
        self._event.set()

    def raised(self, rule):
        """A rule is raised: it gets an id, and the bus is told."""
        self.counters["raised"] += 1
        rule.number = self._take_id()
        self._tell(rule, "raised")

    def cleared(self, rule):
        """A rule is cleared."""
        self.counters["cleared"] += 1
        self._tell(rule, "cleared")

    def acknowledged(self, rule):
        """A rule is acknowledged."""
        self._tell(rule, "acknowledged")

    def _take_id(self):
        if self._next_id == self._end_id:
            block, self._spare = self._spare, None
            self._next_id = (self._number() if block is None else block) << _BLOCK_BITS
            self._end_id = self._next_id + (1 << _BLOCK_BITS)
        self._next_id += 1
        return self._next_id - 1

    def _tell(self, rule, state):
        self.changed()
        point = rule.points[0]
        value = point.value
        text = message.render(rule.message or message.DEFAULT, self._names(rule, point))
        if isinstance(value, (list, dict)) or (isinstance(value, float) and value - value != 0):
            value = None
        if rule.fault:
            key = rule.equipment
            value = None if rule.type == "expression" else value
        else:
            key = point.key
        self._emit(rule.fault, state, rule.number, key, rule.type, rule.severity, value, text)

    def _names(self, rule, point):
        others = rule.points[1:]
        return {
            "id": rule.id,
            "node_id": point.key,
            "device_id": point.device,
            "point_id": point.name,
            "type": rule.type,
            "severity": rule.severity,
            "value": point.value,
            "unit": point.unit,
            "limit": rule.limit,
            "other": others[0].value if others else None,
        }

    def _emit(self, fault, state, number, key, kind, severity, value, text):
        data = {
            "type": kind,
            "severity": severity,
            "state": state,
            "value": value,
            "message": text,
            "timestamp_ms": self.clock.unix_ms(),
        }
        if fault:
            data["fault_id"] = number
            data["equipment"] = key
            event = FDD_FAULT_RAISED if state == "raised" else FDD_FAULT_CLEARED
        else:
            data["alarm_id"] = number
            data["node_id"] = key
            data["device_id"], _, data["point_id"] = key.partition("/")
            event = _EVENTS[state]
        self.bus.emit(event, key, data)

    # -- what people do

    def states(self):
        """A dict for each rule: ``id, type, severity, fault, state, alarm_id`` (None unless it is
        raised), ``acknowledged, shelved_until`` (Unix ms or None), ``node_id`` or equipment."""
        for rule in self.rules.values():
            yield {
                "id": rule.id,
                "type": rule.type,
                "severity": rule.severity,
                "fault": rule.fault,
                "state": NAMES[rule.state],
                "alarm_id": rule.number if rule.raised else None,
                "acknowledged": rule.raised and rule.acknowledged,
                "shelved_until": rule.shelved or None,
                "node_id": rule.equipment if rule.fault else rule.points[0].key,
            }

    def acknowledge(self, id):
        """Acknowledge an alarm by its rule's id or by its alarm id; False if it is not raised, or
        was acknowledged before. KeyError for an unknown id; faults are none."""
        for rule in self.rules.values():
            if not rule.fault and (rule.id == id or (rule.raised and rule.number == id)):
                return rule.acknowledge(self)
        raise KeyError(id)

    def shelve(self, id, until_ms):
        """Raise nothing by this rule until a Unix time in ms; 0 ends that now.

        KeyError for an unknown id, ValueError for a time that is past or while none is known.
        """
        rule = self.rules[id]
        unix = self.clock.unix_ms()
        if until_ms and (unix is None or until_ms <= unix):
            raise ValueError("a time to come" if unix is not None else "the clock is not set")
        rule.shelved = until_ms
        self.changed()
        self._schedule(rule, self.clock.mono_ms())


_EVENTS = {"raised": ALARM_RAISED, "cleared": ALARM_CLEARED, "acknowledged": ALARM_ACKNOWLEDGED}
