"""The life of one alarm or fault.

::

    normal ──holds──► pending ──on_delay──► raised ──no more──► clearing ──off_delay──► normal
                         │                    ▲                   │  │
                      no more                 └──────holds────────┘  └─latching─► latched
                         ▼                                                 until acknowledged
                       normal

What is not known ends neither: it only starts the delays anew. While an alarm is shelved nothing
is raised; what is raised already goes on. A restart keeps what is raised, latched or shelved.
"""

from ..compat import const
from . import conditions

NORMAL = const(0)
PENDING = const(1)
RAISED = const(2)
CLEARING = const(3)
LATCHED = const(4)
#: What a state is called outside.
NAMES = ("normal", "pending", "raised", "clearing", "latched")
#: Types whose condition has a past, in ``timed``, by their class there.
_TIMED = {
    "stale": "Stale",
    "rate_of_change": "Rate",
    "stuck": "Stuck",
    "flapping": "Flapping",
}
#: What a rule itself has to know of its row.
_KEYS = ("id", "digest", "type", "severity", "fault", "latching", "equipment", "message", "limit")
_KEYS += ("on_delay_ms", "off_delay_ms")


class Rule:
    """One alarm (or, with ``fault``, one fault) of the configuration; ``row`` as ``check.rows``
    makes it.

    Readable: ``id``, ``type``, ``severity``, ``state``, ``number`` (its alarm id while raised),
    ``acknowledged``, ``shelved`` (until that Unix time in ms; 0: not), ``since`` (mono ms), and
    ``due``: when time alone may change it (mono ms, or None).
    """

    # What most rules have, for which they need no memory.
    fault = latching = acknowledged = False
    equipment = message = limit = None
    on_delay_ms = off_delay_ms = 0
    state = NORMAL
    since = number = shelved = 0
    due = None
    #: Whether the engine has it among those with a time to wait for.
    listed = False
    points = ()
    condition = None

    def __init__(self, row):
        for key in row:
            if key in _KEYS:
                setattr(self, key, row[key])

    @property
    def raised(self):
        """Whether it was raised and not cleared."""
        return self.state > PENDING

    def entry(self):
        """What a restart has to know, see ``store``."""
        state = LATCHED if self.state == LATCHED else RAISED if self.raised else NORMAL
        return [
            self.id,
            self.digest,
            state,
            self.acknowledged,
            self.number,
            self.shelved,
            self.equipment if self.fault else self.points[0].key,
            self.type,
            self.severity,
            self.fault,
        ]

    def restore(self, entry):
        """Go on from an entry of the last run."""
        self.state, self.acknowledged, self.number, self.shelved = entry[2:6]

    def judge(self, engine, now):
        """Find out where it stands, and have the engine tell what that changes."""
        unix = engine.clock.unix_ms() if self.shelved else None
        if unix is not None and unix >= self.shelved:
            self.shelved = 0
            engine.changed()
        holds = self.condition.test(now, self.raised)
        if self.raised:
            self._judge_raised(engine, now, holds)
        elif holds:
            self._judge_holding(engine, now)
        else:
            self.state = NORMAL
        self.due = self._next(now, unix)

    def _judge_holding(self, engine, now):
        if self.state == NORMAL:
            self.state = PENDING
            self.since = now
        if now - self.since >= self.on_delay_ms and not self.shelved:
            self.state = RAISED
            self.acknowledged = False
            engine.raised(self)

    def _judge_raised(self, engine, now, holds):
        if holds or (holds is None and self.state == CLEARING):
            if self.state == LATCHED:
                engine.changed()
            self.state = RAISED
        elif holds is False and self.state != LATCHED:
            if self.state == RAISED:
                self.state = CLEARING
                self.since = now
            if now - self.since >= self.off_delay_ms:
                if self.latching and not self.acknowledged:
                    self.state = LATCHED
                    engine.changed()
                else:
                    self.state = NORMAL
                    engine.cleared(self)

    def acknowledge(self, engine):
        """Acknowledge it; False if there is nothing to. Clears what is only latched."""
        if not self.raised or self.acknowledged:
            return False
        self.acknowledged = True
        engine.acknowledged(self)
        if self.state == LATCHED:
            self.state = NORMAL
            engine.cleared(self)
        return True

    def _next(self, now, unix):
        due = self.condition.due(now)
        if self.state == PENDING and not self.shelved:
            due = sooner(due, self.since + self.on_delay_ms)
        elif self.state == CLEARING:
            due = sooner(due, self.since + self.off_delay_ms)
        if self.shelved and unix is not None:
            due = sooner(due, now + self.shelved - unix)
        return due


def sooner(a, b):
    """The earlier of two times, either of which may be None."""
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)


def make(row, points, now):
    """The condition of a row, over these ``Point`` objects."""
    kind = row["type"]
    if "states" in row:
        return conditions.States(row, points, now)
    if kind in ("deviation", "command_mismatch"):
        return conditions.Pair(row, points, now)
    if kind == "expression":
        return conditions.Formula(row, points, now)
    if kind == "state_change" or kind in _TIMED:
        from . import timed

        return getattr(timed, _TIMED.get(kind, "Change"))(row, points, now)
    return conditions.Limits(row, points, now)
