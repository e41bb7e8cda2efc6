"""Acquisition rules: which values of a point become records.

A rule is a list of terms joined by `` or ``; a value is recorded when any term asks for it:

======================================= ======================================================
term                                    records
======================================= ======================================================
``900000``                              at wall-clock times that are multiples of so many ms
``*/15 * * * *``                        at the times of a cron expression (``cron.py``, UTC)
``always``                              every read
``on_update``                           a read that differs from the last record
``on_cov D [min] [max] [maxdiff]``      a read that differs from it by at least D; see below
``adr.log``                             what the point's own rule says
======================================= ======================================================

``min``, ``max`` and ``maxdiff`` are ms since the last record, 0 for none. A change sooner than
``min`` waits and is recorded when ``min`` is over if it is still there. ``max`` repeats the value,
``maxdiff`` records a difference smaller than D. ``on_cov 0`` records every read. D is compared
with the limits ``last - D`` and ``last + D``, computed once a record in the platform's floats.
Between values that are not both finite numbers (text, bool, NaN, null) every change is as large
as D.

A ``Rule`` is compiled once and shared; the state of one point in one subscription is a
``Trigger``. Evaluation allocates nothing; a record allocates two limits a D.
"""

from .compat import const, ticks_diff

_DAY_MS = const(86_400_000)


def compile(text, point_rule=None):
    """Compile a rule; ``adr.log`` in it stands for ``point_rule``, the text of the point's own.

    A point without a rule (None) contributes nothing. ``compile("adr.log", own)`` checks a point's
    own rule, which may not say ``adr.log`` itself. Raises ValueError naming the term and what is
    allowed.
    """
    terms, timed = [], []
    _parse(text, terms, timed, point_rule or "")
    return Rule(terms, timed)


def _parse(text, terms, timed, own):
    """Add what ``text`` says; ``own`` is the text behind ``adr.log``, None where it is refused."""
    words = []
    for word in (str(text) + " or").split():
        if word != "or":
            words.append(word)
            continue
        term = " ".join(words)
        if words and words[0] == "on_cov":
            _parse_cov(term, words, terms)
        elif len(words) == 5:
            from .cron import Cron

            timed.append(Cron(term))
        elif term.isdigit() and int(term):
            timed.append(int(term))
        elif term == "always":
            terms.append((0, 0))
        elif term == "on_update":
            terms.append((None, 0))
        elif term == "adr.log" and own is not None:
            if own:
                _parse(own, terms, timed, None)
        else:
            raise ValueError(
                "acquisition '%s': want ms, 5-field cron, always, on_update, "
                "on_cov D [min] [max] [maxdiff]%s" % (term, "" if own is None else ", adr.log")
            )
        words = []


def _parse_cov(term, words, terms):
    try:
        delta = int(words[1]) if words[1].isdigit() else float(words[1])
        least, most, small = [int(word) for word in (words[2:] + ["0"] * 3)[:3]]
        good = len(words) < 6 and 0 <= delta < 1e30 and least >= 0
        good = good and (not most or most >= least) and (not small or small >= least)
    except (ValueError, IndexError):
        good = False
    if not good:
        raise ValueError(
            "acquisition '%s': want on_cov D [min] [max] [maxdiff], D a number from 0, the others "
            "integer ms from 0, max and maxdiff not below min" % term
        )
    terms.append((delta, least))
    if most:
        terms.append((-1, most))
    if small:
        terms.append((None, small))


class Rule:
    """A compiled rule; made by ``compile``.

    ``timed`` lists the wall-clock terms (empty for none), for which ``next_due`` is; ``paced``
    says that its triggers have time parts, for which ``Trigger.wait_ms`` is. A rule that needs no
    state (``always``, wall-clock terms only) is its own trigger.
    """

    def __init__(self, terms, timed):
        #: (D, ms since the last record), soonest first; D None: any change, 0: any read, -1: any
        #: time.
        self.terms = tuple(sorted(terms, key=lambda term: term[1]))
        self.deltas = tuple(term[0] for term in self.terms if term[0] and term[0] > 0)
        self.timed = tuple(timed)
        self.paced = bool(terms) and self.terms[-1][1] > 0
        self.always = (0, 0) in terms

    def next_due(self, unix_ms, tz_min=0):
        """The earliest wall-clock term strictly after ``unix_ms``, as Unix ms.

        Only for a rule with ``timed`` terms. ``tz_min`` is the offset of local time from UTC.
        """
        shift = tz_min * 60000
        now = unix_ms + shift
        times = [(now // t + 1) * t if isinstance(t, int) else t.next_due(now) for t in self.timed]
        return min(times) - shift

    def trigger(self):
        """The state of one point in one subscription: an object with the methods of Trigger."""
        return Trigger(self) if self.paced or (self.terms and not self.always) else self

    def update(self, _value, _ticks):
        """See Trigger."""
        return self.always

    def due(self, _value, _ticks):
        """See Trigger."""
        return False

    def wait_ms(self, _value, _ticks):
        """See Trigger."""
        return _DAY_MS

    def record(self, _value, _ticks):
        """See Trigger."""


class Trigger:
    """Decides for one point in one subscription; made by ``Rule.trigger``.

    ``value`` is the point's current value, ``ticks`` the present ``ticks_ms()``. A container as
    value must be a new one each time, since the last record is compared with it. Where the rule is
    ``paced``, ``wait_ms`` must be called at least every three days (its answers see to that): the
    age of the last record is carried past the wrap of ticks there.
    """

    def __init__(self, rule):
        self.rule = rule
        #: Value and ticks of the last record; ticks None before the first.
        self.last = self.ticks = None
        #: Age of the last record at ``ticks`` in ms.
        self.age = 0
        #: Lower and upper limit for each D.
        self.limits = [0, 0] * len(rule.deltas) if rule.deltas else ()

    def update(self, value, ticks, read=True):
        """True where the value just read is to be recorded; then it counts as recorded."""
        after = self._after(value, read)
        if after is None or (after and after > self._age(ticks)):
            return False
        self.record(value, ticks)
        return True

    def due(self, value, ticks):
        """The same for a value that was read before: whether time alone asks for a record."""
        return self.update(value, ticks, False)

    def wait_ms(self, value, ticks):
        """Milliseconds until ``due`` may be true, 0 to one day; ask again then and after reads."""
        after = self._after(value, False)
        age = self._age(ticks)
        return _DAY_MS if after is None else max(0, min(after - age, _DAY_MS))

    def record(self, value, ticks):
        """Take note of a record made for another reason (a wall-clock term)."""
        self.last = value
        self.ticks = ticks
        self.age = 0
        at = 0
        for delta in self.rule.deltas:
            low = high = 0
            if _is_number(value):
                try:
                    low = value - delta
                    high = value + delta
                except OverflowError:  # an integer past the largest float: any change counts
                    low = high = 0
            self.limits[at] = low
            self.limits[at + 1] = high
            at += 2

    def _after(self, value, read):
        """From which age of the last record on ``value`` is to be recorded; None for never."""
        last = self.last
        if self.ticks is None:
            return None if value is None else 0
        changed = value != last and (value == value or last == last)
        at = 0
        for delta, after in self.rule.terms:
            if delta is None:
                wanted = changed
            elif delta > 0:
                low = self.limits[at]
                wanted = changed and not (_is_number(value) and low < value < self.limits[at + 1])
                at += 2
            else:
                wanted = read or changed or delta < 0
            if wanted:
                return after
        return None

    def _age(self, ticks):
        if self.ticks is None:
            return 0
        step = ticks_diff(ticks, self.ticks)
        if step < _DAY_MS:
            return self.age + step
        self.age += step
        self.ticks = ticks
        return self.age


def _is_number(value):
    kind = type(value)
    return kind is int or kind is float
