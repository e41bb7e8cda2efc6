"""cron and acquisition against naive models, on anything that text can be."""

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from fieldpost import acquisition
from fieldpost.compat import ticks_add
from fieldpost.cron import Cron

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
DAY_MS = 86_400_000


def attempt(make, *arguments):
    """What ``make`` makes, or the words with which it refuses."""
    try:
        return make(*arguments)
    except ValueError as error:
        return str(error)


@st.composite
def fields(draw, low, high, names=()):
    """A cron field as (text, set of values), written in any of the ways allowed."""

    def word(value):
        named = names and value - low < len(names) and draw(st.booleans())
        text = names[value - low] if named else str(value)
        return text.upper() if draw(st.booleans()) else text

    if draw(st.integers(0, 2)) == 0:
        return "*", set(range(low, high + 1))
    parts, values = [], set()
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        step = draw(st.integers(1, high + 2))
        text, numbers = draw(
            st.sampled_from(
                [
                    (word(first), [first]),
                    (f"{word(first)}-{word(last)}", range(first, last + 1)),
                    (f"{word(first)}-{word(last)}/{step}", range(first, last + 1, step)),
                    (f"{word(first)}/{step}", range(first, high + 1, step)),
                    (f"*/{step}", range(low, high + 1, step)),
                ]
            )
        )
        parts.append(text)
        values.update(numbers)
    return ",".join(parts), values


expressions = st.tuples(
    fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12, MONTHS), fields(0, 6, WEEKDAYS)
)
moments = st.integers(0, 4_200_000_000_000)  # to the year 2103


def day_matches(parts, day):
    _, _, (days, in_days), (_, in_months), (weekdays, in_weekdays) = parts
    by_date = day.day in in_days
    by_weekday = day.isoweekday() % 7 in in_weekdays
    both = days != "*" and weekdays != "*"
    right = by_date or by_weekday if both else by_date and by_weekday
    return right and day.month in in_months


def next_by_steps(parts, unix_ms):
    """Minute by minute; days that do not match are skipped whole."""
    now = EPOCH + timedelta(minutes=unix_ms // 60000 + 1)
    end = now + timedelta(days=366 * 9)
    while now < end:
        if not day_matches(parts, now):
            now = now.replace(hour=0, minute=0) + timedelta(days=1)
        elif now.minute in parts[0][1] and now.hour in parts[1][1]:
            return (now - EPOCH) // timedelta(milliseconds=1)
        else:
            now += MINUTE
    return None


@given(expressions, moments)
def test_cron_is_the_next_minute_that_matches(parts, unix_ms):
    text = " ".join(part[0] for part in parts)
    expected = next_by_steps(parts, unix_ms)
    cron = attempt(Cron, text)
    if isinstance(cron, str):
        assert "no year has this date" in cron
        assert expected is None
        return
    assert cron.next_due(unix_ms) == expected
    assert acquisition.compile(text).next_due(unix_ms) == expected


@given(st.integers(1, 10**11), st.integers(0, 10**14), st.integers(-840, 840))
def test_aligned_time_is_the_next_multiple(period, unix_ms, tz_min):
    due = acquisition.compile(str(period)).next_due(unix_ms, tz_min)
    assert unix_ms < due <= unix_ms + period
    assert (due + tz_min * 60000) % period == 0


eighths = st.integers(-40, 40).map(lambda value: value / 8)
times = st.integers(0, 12)
terms = st.tuples(st.integers(0, 16).map(lambda value: value / 8), times, times, times).filter(
    lambda term: all(not ms or ms >= term[1] for ms in term[2:])
)
reads = st.lists(st.tuples(st.integers(1, 15), eighths), min_size=1, max_size=12)


class Model:
    """on_cov terms as they are defined, in exact arithmetic, on absolute times."""

    def __init__(self, terms):
        self.terms = terms
        self.last = None

    def step(self, now, value, read):
        """Whether ``value`` is recorded at ``now``."""
        if self.last is None:
            due = read
        else:
            due = any(self.wants(term, now, value, read) for term in self.terms)
        if due:
            self.last = (now, value)
        return due

    def wants(self, term, now, value, read):
        delta, least, most, small = term
        at, last = self.last
        age, change = now - at, abs(value - last)
        large = change >= delta and (read or change > 0)
        return (
            (large and age >= least)
            or (most > 0 and age >= most)
            or (small > 0 and change > 0 and age >= small)
        )


@given(st.lists(terms, min_size=1, max_size=3), reads, st.integers(0, (1 << 30) - 1))
def test_on_cov_is_its_definition_at_every_millisecond(terms, reads, start):
    text = " or ".join("on_cov " + " ".join(map(str, term)) for term in terms)
    trigger = acquisition.compile(text).trigger()
    model = Model(terms)
    arrivals, end = {}, 0
    for gap, value in reads:
        end += gap
        arrivals[end] = value
    value, alarm = None, DAY_MS
    for now in range(end + 40):
        ticks = ticks_add(start, now)
        read = now in arrivals
        value = arrivals.get(now, value)
        got = trigger.update(value, ticks) if read else trigger.due(value, ticks)
        assert got == model.step(now, value, read), now
        assert read or got == (now >= alarm)  # it fires when wait_ms said, unless a read came
        wait = trigger.wait_ms(value, ticks)
        assert 0 < wait <= DAY_MS
        alarm = now + wait


words = st.one_of(
    st.sampled_from(["or", "on_cov", "on_update", "always", "adr.log", "nan", "inf", "x"]),
    st.sampled_from(["0", "1", "500", "-1", "1.5", "1e99", "9" * 19, "²"]),
    st.sampled_from(["*", "*/5", "1-5", "5-1", "mon", "jan-mar", "31", "*/0", ",", "/"]),
)


@given(st.lists(words, max_size=9).map(" ".join) | st.text(), st.booleans())
def test_any_text_is_compiled_or_refused_in_words(text, own):
    rule = attempt(acquisition.compile, *(("adr.log", text) if own else (text,)))
    if isinstance(rule, str):
        assert rule
        return
    trigger = rule.trigger()
    for value in (None, 1, 1.5, "a", True, float("nan"), 10**400):
        assert trigger.update(value, 0) in (True, False)
        assert 0 <= trigger.wait_ms(value, 0) <= DAY_MS
    assert not rule.timed or rule.next_due(1_700_000_000_000) > 1_700_000_000_000


@given(st.text(alphabet="0123456789*/,- abmonjr", max_size=24))
def test_any_cron_text_is_compiled_or_refused_in_words(text):
    cron = attempt(Cron, text)
    if isinstance(cron, str):
        assert cron.startswith("cron ")
    else:
        assert cron.next_due(0) > 0
