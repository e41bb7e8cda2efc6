"""Module ``config``: the node's configuration as a whole: pushed in parts, tried out, rolled back.

A **push** is ``begin``, ``put`` as often as it takes, and ``apply``. The document is the whole
configuration as JSON (UTF-8), as ``get`` shows it. A secret is never shown: ``has_password`` says
that there is one, ``has_headers`` the names of those there are. In a document ``"has_password":
true`` keeps the secret that the node has in that place (of the broker, device, point, network or
endpoint of that name), ``"password"`` sets it, neither removes it. A point without ``id`` keeps
the id of the node's point of that name, or gets one that was never used before.

What can be changed while the node runs is changed at once. A change of links (``mqtt``,
``network``, the name of the node) is made a second after the reply, and is **on trial**: unless
the links that came or changed connect within ``confirm_s``, the node returns to the former
configuration by itself. That outlives restarts; three that lead to nothing end it, too. What only
a restart can change (``node``, ``network``, ``watchdog_ms``, what shapes a log) makes the board
restart by itself in a second, and is on trial too: of the links that were connected, or, where
there were none, for the ten seconds that the node has to run. While a configuration is on trial,
no other change is accepted: ``configuration on trial``.

Revisions only grow. One that was returned from keeps its number: where 5 fails, what was 4 is 6.
The node's state has ``config`` with ``trial`` meanwhile, and ``returned`` afterwards.
"""

from binascii import a2b_base64

from ..errors import ApiError
from ..staging import check_base, head_of, hide, path_of, refuse_on_trial
from .call import PART, READ, WRITE


def get(node, _args):
    """The configuration: ``{revision, config}``, without any secrets.

    Errors: ``configuration is not a file``; that it cannot be read.
    """
    return _shown(path_of(node))


def status(node, _args):
    """What is going on: ``{revision, trial, returned, staged}``, each null where there is nothing.

    ``trial``: ``{revision, previous, left_s, waits}``, ``waits`` the links that have to connect;
    ``left_s`` is null until the configuration is in use. ``returned``: ``{revision, reason, ts}``
    of the last configuration that was not kept, until another one is applied; ``ts`` in Unix ms,
    null where the clock was not set. ``staged``: ``{sha256, size, offset}`` of the document that
    is coming.
    """
    told = {"revision": head_of(node)["revision"], "trial": None, "returned": None, "staged": None}
    told.update(node.trial or {})
    if told["trial"]:
        from ..trial import left_s

        trial = told["trial"]
        told["trial"] = {key: trial[key] for key in ("revision", "previous", "waits")}
        told["trial"]["left_s"] = left_s(node)
    state = _transfer(node).state()
    if state:
        told["staged"] = {key: state[key] for key in ("sha256", "size", "offset")}
    return told


def begin(node, args):
    """Announce a document of ``size`` bytes with that ``sha256`` (lowercase hex).

    ``base`` is the revision that it was made from. Where the configuration has a ``fleet_key``,
    ``signature`` is the lowercase hex HMAC-SHA256 under it of the text ``config LF node LF base
    LF sha256``. Returns ``{offset}``, at which to go on: a part of the same document may be there.
    Errors: ``stale revision: ..., the node has ...``, ``signature missing``, ``signature
    invalid``, ``not enough flash: ...``, ``configuration on trial``.
    """
    from ..transfer import check_signature

    refuse_on_trial(node)
    base, digest = args["base"], args["sha256"]
    check_base(node, base)
    check_signature(node, ("config", node.name, str(base), digest), args["signature"])
    return {"offset": _transfer(node).begin(args["size"], digest, base)}


def put(node, args):
    """Append a part, in base64, which begins at ``offset``; returns the next ``{offset}``.

    Errors: ``wrong offset: expected ...``, ``longer than ...``, ``nothing staged``, ``not stored:
    ...`` where flash is full; then it begins anew.
    """
    text = args["data"].encode()
    try:
        if len(text) & 3:
            raise ValueError
        data = a2b_base64(text)
    except ValueError:
        raise ApiError("invalid value") from None
    return {"offset": _transfer(node).put(args["offset"], data)}


async def apply(node, args):
    """Make the document the configuration, if it is complete, the one announced, and valid.

    Returns ``{revision, changed, restart, confirm_s}``: ``changed`` names what differs
    (``mqtt:main``, ``device:ahu-1``, ``network`` ...), nothing where the document says what the
    node has: then nothing is done. ``restart``: the board restarts by itself. ``confirm_s`` is 0
    where no link is on trial. Errors: ``incomplete: ... of ... bytes``, ``sha256 differs``,
    ``stale revision: ...``; what the configuration does not allow. Then nothing has changed, and
    of a document that is not just incomplete nothing is left.
    """
    transfer = _transfer(node)
    path = await transfer.finish()
    try:
        return await _push().push(node, path, transfer.state()["note"], args["confirm_s"])
    finally:
        transfer.abort()


def abort(node, _args):
    """Remove the document that was announced, and what came of it. Returns true."""
    _transfer(node).abort()
    return True


async def history(node, _args):
    """The former configurations, newest first: ``[{revision, size, sha256}, ...]``.

    Those that a push or a rollback replaced, up to four. ``size`` and ``sha256`` are of the node's
    file, which has no secrets.
    """
    from ..transfer import digest_of

    path = path_of(node)
    current = head_of(node)["revision"]
    revisions = _revisions()
    found = []
    for revision in revisions.former(path):
        if revision != current:
            size, digest = await digest_of(revisions.former_path(path, revision))
            found.append({"revision": revision, "size": size, "sha256": digest})
    return found


def get_revision(node, args):
    """A former configuration, or the present one: ``{revision, config}``, without any secrets.

    Error: ``no such revision``.
    """
    path = path_of(node)
    if args["revision"] != head_of(node)["revision"]:
        if args["revision"] not in _revisions().former(path):
            raise ApiError("no such revision")
        path = _revisions().former_path(path, args["revision"])
    return _shown(path)


async def rollback(node, args):
    """Make a former configuration, by default the newest, the node's again, with its secrets.

    It becomes a new revision. Returns the same as ``apply``. Errors: ``no such revision``; what
    the configuration does not allow any more.
    """
    return await _push().roll_back(node, args["revision"], args["confirm_s"])


def _shown(path):
    head, config = _revisions().read(path)
    config = hide(config)
    config["last_id"] = head["last_id"]
    return {"revision": head["revision"], "config": config}


def _push():
    """What only those need who change the configuration; it forgets itself afterwards."""
    from .. import push

    return push


def _revisions():
    from .. import revisions

    return revisions


def _transfer(node):
    from ..transfer import Transfer

    return Transfer(node.folder + "/config.push")


_CONFIRM = "confirm_s: int 0..3600 = 60"
METHODS = {
    "get": (get, "", READ),
    "status": (status, "", READ),
    "begin": (
        begin,
        "size: int 2..524288\nsha256: str 64..64\nbase: int 0..\nsignature: str 64..64 = ?",
        WRITE,
    ),
    "put": (put, "offset: int 0..524288\ndata: str 0..65536", PART),
    "apply": (apply, _CONFIRM, WRITE),
    "abort": (abort, "", WRITE),
    "history": (history, "", READ),
    "getRevision": (get_revision, "revision: int 0..", READ),
    "rollback": (rollback, "revision: int 0.. = ?\n" + _CONFIRM, WRITE),
}
