"""The method ``loggers.query``: what is in a node's own log, as rows or aggregates."""

from .. import segment
from ..compat import const
from ..errors import ApiError, ConfigError
from ..history import Aggregate, Interval, raw
from .address import find_all
from .call import Rows

#: Records decoded at a time; in between others have a turn, and the log may change.
_STEP = const(16)
_NEVER = const(1 << 60)


def query(node, args):
    """See ``loggers.query``."""
    if args["subscription"] not in node.subscriptions:
        raise ConfigError("subscription", args["subscription"], "the id of a subscription")
    log = node.subscriptions[args["subscription"]].ring
    wanted = None
    if args["address"] != "all":
        wanted = {point.id for point in find_all(node, args["address"])}
    start, end = args["start"], args["end"]
    end = _NEVER if end is None else end
    if end < start:
        raise ApiError("invalid value")
    select, before, after = _selection(node, args, start, end)

    def rows():
        return _limited(select(_records(log, wanted, start, end, before, after)), args["limit"])

    return Rows(rows)


def _selection(node, args, start, end):
    """``(records to rows, whether those before the range are needed, whether those after it)``"""
    fill = args["fill"]
    if args["aggregate"] is not None:
        try:
            interval = Interval(args["aggregate"])
        except ValueError as error:
            raise ConfigError("aggregate", args["aggregate"], str(error)) from None
        # The future is not filled.
        now = node.clock.unix_ms() or 0
        aggregate = Aggregate(interval, start, end, fill, args["align"], now)
        return aggregate.rows, fill != "none", fill in ("linear", "boundaries")
    if fill != "none":
        raise ConfigError("fill", fill, "none without an aggregate")
    before, after = args["before"], args["after"]
    return lambda records: raw(records, start, end, before, after), before, after


def _limited(rows, limit):
    for row in rows:
        yield Rows.PAUSE if row is None else row
        if row is not None and limit is not None:
            limit -= 1
            if not limit:
                return


def _records(log, wanted, start, end, before, after):
    """Yield the dated records of the points ``wanted`` (None: all), and None for others' turns.

    Whatever is dropped meanwhile is missing, whatever is added not included.
    """
    last = log.next
    index = log.oldest
    if not before:
        index = yield from _later(log, index, start)
    reader = log.reader(index)
    most = _STEP
    while reader.index < last:
        header = reader.open()
        if header is None:
            return
        if not header.dated or (header.base >= end and not after):
            reader.seek(reader.index + header.count)
        else:
            yield from _taken(reader, header, min(most, last - reader.index), wanted)
        # Where it is too late already, one record tells that of a chunk.
        most = 1 if header.base >= end and not after else _STEP
        yield None


def _later(log, index, start):
    """Index behind the oldest segments, as far as all that is in them is before ``start``."""
    while index < log.ram_oldest:
        at = log.segment_of(index)
        head = segment.head(log.folder, log.segments[at])
        end = log.segment_end(at)
        if head is None or end <= index:
            break
        _, _, newest, boot = head
        offset = log.offset_of(boot) if boot else 0
        # What cannot be dated is not asked for.
        if offset is not None and newest + offset >= start:
            break
        index = end
        yield None
    return index


def _taken(reader, header, most, wanted):
    """A list of the next records: while it is walked, the reader's frame may go.

    The header's base becomes the time of the last one.
    """
    ms = header.base
    found = []
    for _ in range(min(header.count, most)):
        delta, id, value, text = reader.take()
        ms += delta
        if wanted is None or id in wanted:
            found.append((ms, id, value, text))
    header.base = ms
    return found
