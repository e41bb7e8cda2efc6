"""Subscriptions, which say what a node records; subscribers, who read it; and what it has.

A *subscription* is a log and the rule by which points go into it. The subscription ``default``
always exists. It is an object with the keys of the configuration's section ``subscriptions``:
``id``, ``acquisition``, ``addresses``, ``encoding``, ``flush``, ``store``, ``ring_bytes`` and so
on. For ``store.maxEntries`` and ``store.maxBytes`` there are also ``maxEntries`` and ``maxBytes``;
``subscribers`` lists its own subscribers.

A *subscriber* reads one subscription, or with a prefix (a text that ends with ``/``; empty or
``/`` for all) every one whose id begins so, also those that come later. It gets flushes::

    {"module": "loggers", "method": "subscribe", "subscription": "default", "event": "flush",
     "flush": 7340033, "stream": 12, "seq": 0, "value": [[ts, address, value, value_string], ...]}

on ``fieldpost/nodes/{node}/flush/{subscriber}``, each naming the subscription that it is of, and
confirms them by ``ackSubscribe``; what is not confirmed comes again. When it ends there is a
message with ``error`` in place of ``event``: ``unsubscribed`` or ``end of life``.

Changes of subscriptions and subscribers are kept in the node's configuration file, except for
subscribers with a ``lifetime`` and pauses: these last until a restart at most.
"""

from ..errors import ApiError
from ..subscriber import covers
from . import readers
from .call import READ, WRITE

# -- subscriptions


def get_subscriptions(node, args):
    """All subscriptions whose id begins with ``prefix``, which ends with ``/`` or is empty."""
    prefix = args["prefix"]
    if prefix[-1:] not in ("", "/"):
        raise ApiError("invalid value")
    prefix = readers.normal(prefix)
    return [
        readers.shown_log(node.subscriptions[id])
        for id in sorted(node.subscriptions)
        if id.startswith(prefix)
    ]


def get_subscription(node, args):
    """One subscription by its id: its configuration, its ``subscribers``, and its ``state``.

    ``state`` has the log's ``stream`` and ``next`` sequence number, how many records are ``kept``
    and were ``acquired`` since the start, and those ``dropped`` by reason.
    """
    return readers.shown_log(readers.log(node, args["subscription"]))


def insert_subscription(node, args):
    """Add a subscription, given as an object with an ``id`` that is not used yet; returns it.

    ``id``: letters, digits and ``_ - .``, with ``/`` between parts.
    """
    from .logger_changes import insert

    return insert(node, args)


def update_subscription(node, args):
    """Change the given keys of a subscription; returns it.

    Those of ``flush``, ``store`` and ``encoding`` one by one; null goes back to the default. What
    shapes a log that exists (``ring_bytes``, ``frame_bytes``, ``overflow``, ``max_age``,
    ``store.disk``) cannot change.
    """
    from .logger_changes import update

    return update(node, args)


def replace_subscription(node, args):
    """Set a subscription: all keys that are not given get their defaults; returns it.

    One that does not exist is added. Its subscribers stay, unless ``subscribers`` is given.
    """
    from .logger_changes import replace

    return replace(node, args)


def delete_subscription(node, args):
    """Delete a subscription with its log; its subscribers get ``unsubscribed``.

    ``default`` cannot be deleted. Records that were not confirmed count as dropped (``deleted``).
    """
    from .logger_changes import delete

    return delete(node, args)


# -- subscribers


def get_subscribers(node, args):
    """The subscribers that read ``subscription``, an id or a prefix; by default all.

    One entry for each subscription that one ``reads``: its configuration, ``paused`` and
    ``inactive``, and numbers of records: ``pending`` (not sent), ``unacked`` (not confirmed),
    ``delivered``, ``resent``. ``inflight`` counts flushes, ``ack_timeouts`` those in a row.
    ``remaining`` is what is left of its lifetime in ms.
    """
    wanted = readers.normal(args["subscription"])
    return [
        readers.shown(reader)
        for id in sorted(node.subscriptions)
        for _, reader in sorted(node.subscriptions[id].subscribers.items())
        if covers(wanted, id)
    ]


def subscribe(node, args):
    """Have a subscription's records sent to ``subscriber``, from the oldest one kept.

    ``ack``: how flushes are confirmed: by their ``id``, by the ``md5`` of their value's text, not
    at all (``false``), or by the broker's having it (``auto``). ``format``: ``json`` or
    ``packed``. ``keepalive``: an empty flush after so many ms without one. ``encoding``: instead
    of that of the subscription, for JSON only. ``lifetime``: ms until it ends by itself (``end of
    life``); with 0 it lasts, over restarts too.

    To subscribe again goes on where the subscriber was: with another configuration what is
    unconfirmed is sent again, with the same one nothing is done, but a lifetime begins anew.
    Returns the ids of the subscriptions that it reads now.
    """
    from .logger_changes import subscribe

    return subscribe(node, args)


def unsubscribe(node, args):
    """End a subscriber, named as in ``subscribe``; it gets ``unsubscribed``, also as the error
    where there is none."""
    from .logger_changes import unsubscribe

    return unsubscribe(node, args)


def flush_subscribe(node, args):
    """Flush now what a subscriber has not got, whatever the rules say; returns how many records
    these are.

    ``subscription`` may be a prefix here and wherever a subscriber is named.
    """
    found = readers.find(node, args)
    for reader in found:
        reader.force()
    return sum([reader.pending for reader in found])


def ack_subscribe(node, args):
    """Confirm a flush: by ``flush``, its id, or by the ``md5`` of its value's text as it was sent.

    ``subscription`` is the one that the flush names. ``stream`` and ``seq`` of the flush must
    agree, if given. Returns false where no such flush is waiting: a confirmation that came late.
    """
    if args["flush"] is None and args["md5"] is None:
        raise ApiError("missing parameter: flush")
    subscription = readers.log(node, args["subscription"])
    reader = subscription.subscribers.get(args["subscriber"])
    if reader is None:
        raise ApiError("unsubscribed")
    first = None if args["seq"] is None else (args["stream"], args["seq"])
    known = reader.ack(args["flush"], args["md5"], first)
    if not known:
        node.counters["stale_acks"] += 1
    return known


def pause_subscribe(node, args):
    """Send a subscriber nothing until ``resumeSubscribe``; the log keeps what it has not got.

    ``inactive``: give that up instead, and what comes meanwhile. Where all subscribers of a log
    are paused so, nothing is recorded; what was not confirmed counts as dropped (``paused``).
    Error ``already paused``: in this way.
    """
    inactive = args["inactive"]
    found = readers.find(node, args)
    found = [one for one in found if not one.paused or one.inactive != inactive]
    if not found:
        raise ApiError("already paused")
    for reader in found:
        reader.pause(inactive)
    return True


def resume_subscribe(node, args):
    """Send a paused subscriber what it has not got; after an inactive pause what comes from now
    on."""
    for reader in readers.find(node, args):
        reader.resume()
    return True


# -- values


def query(node, args):
    """What is in the node's own log of ``subscription``, from ``start`` to before ``end`` (Unix
    ms; without ``end`` until now), of one address, a list, or ``all``.

    Rows are ``{ts, address, value, value_string}``, in the order recorded; ``before`` and
    ``after`` add each address's last one before and first one after that.

    With ``aggregate`` they are ``{ts, address, value_first, value_last, value_min, value_max,
    value_avg, value_var, value_count, start, end}`` for each bucket of so many ms, or ``60s``,
    ``15m``, ``12h``, ``7d``, ``2w`` (from Mondays), ``12o`` (calendar months), in UTC; by time for
    each address. ``value_count`` counts values, ``value_var`` is the variance of all of them
    (divided by their number); minimum to variance are of numbers, with false and true as 0 and 1,
    null without one. Null, NaN and infinite values are left out. ``ts`` is the bucket's start, or
    with ``align`` ``center`` its middle. At the ends of the range only what is inside counts.

    ``fill`` makes rows of buckets without a value: ``last`` repeats the value before, until now;
    ``linear`` has the value at ``ts`` on the line between its neighbours; ``boundaries`` as
    ``value_first`` and ``value_last`` those where the bucket begins and ends. Values just outside
    the range count for this.

    ``limit`` is the number of rows after which the answer ends. Records of a boot that never knew
    the time are left out; where the clock was set back, a bucket can come twice. Needs memory for
    one segment of the log and a bucket for each address. A long answer needs ``"stream": 1``.
    """
    from .query import query

    return query(node, args)


def fetch(node, args):
    """The log of ``subscription`` from ``index`` on, as it is stored, about ``maxBytes`` of it.

    For hosts that read a node's log without being its subscriber: nothing is confirmed, nothing
    removed. ``chunks`` is base64 of packed chunks (as in packed flushes), each with stream,
    number and time of its first record, ``count`` how many records they have; ``index`` is where
    to go on, ``next`` the index behind the newest record, ``skipped`` how many before ``chunks``
    are gone. An index beyond ``next`` is of an earlier life of the log: begin again at 0.
    """
    from .fetch import fetch

    return fetch(node, args)


def live(node, args):
    """Send the values of the addresses now, and as they change, for ``lifetime`` ms.

    They come at most every ``minDelay`` ms to ``fieldpost/nodes/{node}/reply`` (MQTT, whatever
    brought the request), without a log or confirmation behind them::

        {"module": "loggers", "method": "live", "subscriber": "live", "event": "live",
         "dropped": 0, "value": [[ts, address, value, value_string], ...]}

    ``dropped`` counts the values that came too fast. While the node does not know the time, ``ts``
    are ms since the start of ``boot`` and ``ts_trusted`` is false. The end is ``"error": "end of
    life"``. With the ``subscriber`` of one that goes on, that is replaced; more than four at a
    time are ``busy``. Returns the number of addresses.
    """
    from .live import live

    return live(node, args)


#: The rows of a subscriber, which are those of the schema's table.
_ROW = """\
subscription: str 0..64 = default
subscriber: id 1..64
ack: enum id md5 false auto = id
format: enum json packed = json
keepalive: int 0..86400000 = 0
lifetime: int 0.. = 0
encoding: obj encoding = ?
"""
_NAMES = """\
subscription: str 0..64 = default
subscriber: id 1..64
"""
METHODS = {
    "getSubscriptions": (get_subscriptions, "prefix: str 0..64 = ", READ),
    "getSubscription": (get_subscription, "subscription: str 1..64", READ),
    "insertSubscription": (insert_subscription, "subscription: map any", WRITE),
    "updateSubscription": (update_subscription, "subscription: map any", WRITE),
    "replaceSubscription": (replace_subscription, "subscription: map any", WRITE),
    "deleteSubscription": (delete_subscription, "subscription: str 1..64", WRITE),
    "getSubscribers": (get_subscribers, "subscription: str 0..64 = ", READ),
    "subscribe": (subscribe, _ROW, WRITE),
    "unsubscribe": (unsubscribe, _NAMES, WRITE),
    "flushSubscribe": (flush_subscribe, _NAMES, READ),
    "ackSubscribe": (
        ack_subscribe,
        _NAMES + "flush: int 0.. = ?\nmd5: str 32..32 = ?\nstream: int 0.. = ?\nseq: int 0.. = ?",
        READ,
    ),
    "pauseSubscribe": (pause_subscribe, _NAMES + "inactive: bool = false", WRITE),
    "resumeSubscribe": (resume_subscribe, _NAMES, WRITE),
    "query": (
        query,
        """\
address: any
start: int 0.. = 0
end: int 0.. = ?
before: bool = false
after: bool = false
aggregate: any = ?
fill: enum none last linear boundaries = none
align: enum left center = left
limit: int 1.. = ?
subscription: str 1..64 = default
""",
        READ,
    ),
    "fetch": (
        fetch,
        "index: int 0.. = 0\nmaxBytes: int 128..4096 = 2048\nsubscription: str 1..64 = default",
        READ,
    ),
    "live": (
        live,
        """\
address: any
lifetime: int 1000..600000
subscriber: id 1..64 = live
minDelay: int 100..60000 = 250
""",
        READ,
    ),
}
