"""Dead letters: events that failed for good, each in a file of its own until it is replayed.

A letter is written before the queue is told that its event is done, so that no power cut takes
both. Writing one costs about one erased block: eight at once, then one in ten seconds. Those
that fail faster wait in RAM and are pushed out there, as an endpoint that refuses everything would
wear out the flash.
"""

from ..compat import const, names
from ..events import ERROR
from ..smallfile import make_folder, remove, save, unseal

FOLDER = "/dead"
_EACH_MS = const(10000)
_BURST_MS = const(80000)


class Letter:
    """One dead letter: ``endpoint`` (its name), ``id``, ``error``, ``count`` (events of a batch),
    and ``event``, ``key``, ``ts_ms`` of the first. ``records`` are ``[event, key, ts_ms, data]``,
    None while they are in the file ``number``."""

    def __init__(self, endpoint, id, error, records, number=None):
        self.endpoint = endpoint
        self.id = id
        self.error = error
        self.event, self.key, self.ts_ms, _ = records[0]
        self.count = len(records)
        self.records = records if number is None else None
        self.number = number


def load(hooks):
    """Take the letters of earlier boots; those that are damaged are removed, and reported."""
    for name in sorted(names(hooks.folder + FOLDER)):
        path = hooks.folder + FOLDER + "/" + name
        try:
            hooks.dead.append(Letter(*_read(path), number=int(name, 16)))
        except (OSError, ValueError, TypeError) as error:
            # Without the power cut's half-written one, of which the queue still has the event.
            if not name.endswith("~"):
                hooks.bus.emit(ERROR, "webhooks", "dead letter: %r" % error)
            remove(path)
    trim(hooks)


def add(hooks, delivery, error):
    """Keep what cannot be delivered."""
    records = [[one.event, one.key, one.ts_ms, one.data] for one in delivery.records(hooks.queue)]
    if records:
        hooks.dead.append(Letter(delivery.endpoint, delivery.id, error, records))
        write(hooks)


def trim(hooks):
    """Give up the oldest beyond the limit."""
    while len(hooks.dead) > hooks.limits[1]:
        _forget(hooks, hooks.dead[0])


def write(hooks, last=False):
    """Write those that are in RAM only, as many as may be; all if it is the ``last`` chance."""
    trim(hooks)
    if not hooks.disk:
        return
    now = hooks.clock.mono_ms()
    for letter in hooks.dead:
        if letter.records is None:
            continue
        spent = max(hooks.spent_ms, now - _BURST_MS)
        if spent + _EACH_MS > now and not last:
            return
        hooks.spent_ms = spent + _EACH_MS
        if not _save(hooks, letter):
            return


def replay(hooks, name, id):
    """See ``Webhooks.replay``."""
    done = []
    for letter in hooks.dead:
        endpoint = hooks.endpoints.get(letter.endpoint)
        if name not in (None, letter.endpoint) or id not in (None, letter.id):
            continue
        if endpoint and endpoint.attached and _queue(hooks, letter):
            done.append(letter)
    stored = not hooks.disk or hooks.queue.flush()
    for letter in done:
        # What only RAM has of it could be lost with it.
        if stored or letter.number is None:
            _forget(hooks, letter)
    return len(done)


def _queue(hooks, letter):
    records = letter.records
    if records is None:
        try:
            records = _read(_path(hooks, letter))[3]
        except (OSError, ValueError) as error:
            hooks.bus.emit(ERROR, "webhooks", error)
            return False
    to = {"to": letter.endpoint, "id": letter.id}
    return all(hooks.put(event, key, data, ts=ts, **to) for event, key, ts, data in records)


def _save(hooks, letter):
    numbers = [one.number for one in hooks.dead if one.number is not None]
    letter.number = max(numbers + [0]) + 1
    try:
        make_folder(hooks.folder + FOLDER)
        save(_path(hooks, letter), [letter.endpoint, letter.id, letter.error, letter.records])
    except OSError as error:
        letter.number = None
        hooks.unsaved(error)
        return False
    letter.records = None
    return True


def _forget(hooks, letter):
    hooks.dead.remove(letter)
    if letter.number is not None:
        remove(_path(hooks, letter))


def _path(hooks, letter):
    return "%s%s/%08x" % (hooks.folder, FOLDER, letter.number)


def _read(path):
    with open(path) as file:
        return unseal(file.read())
