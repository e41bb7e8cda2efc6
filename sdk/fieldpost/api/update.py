"""Module ``update``: another release of the node's code, into the slot that is not active.

``begin`` announces a release by the hash of its manifest, the file ``release``: a line of JSON
``{"version", "mpy", "files"}``, then a line a file, sorted by path: ``<sha256> <bytes> <path>``.
``put`` brings the manifest, which is file 0. The node then prepares its slot: it keeps and copies
what it has already. ``need`` names the rest by their lines' numbers, ``put`` brings them, and
``apply`` restarts the board with the release, on trial: unless it proves healthy within three
starts, the former one is back. What is complete outlives a restart: the same ``begin`` goes on.

With ``fleet_key`` in the configuration ``signature`` is required: the lowercase hex
HMAC-SHA256 of ``update``, the node's name, the version and the sha256, joined by line feeds.
"""

from binascii import a2b_base64

from .. import __version__
from ..errors import ApiError
from ..release import FAILED, PREPARING, RECEIVING, Staged, digest
from .call import PART, READ, WRITE

_PAGE = 64

#: What is on its way; a board has one slot for it.
_staged = None


async def status(node, _args):
    """What runs, and what is on its way.

    ``{version, sha256, slot, trial, attempts, returned, max_request, staged}``: ``sha256`` of the
    manifest of the active slot; ``trial``: it has not proved healthy yet, after ``attempts``
    starts; ``returned``: why the node left a release by itself, null where it did not.
    ``slot`` is null where the node has no slots, and then takes no updates. ``staged`` is null or
    ``{version, sha256, phase, files, need, bytes, error}``: ``phase`` is ``manifest``,
    ``preparing``, ``receiving``, ``applying`` or ``failed``, for the reason ``error``; ``need`` of
    ``files`` are missing, ``bytes`` in all.
    """
    slots = _slots()
    state = slots.read() if slots else {}
    slot = state.get("active")
    return {
        "version": __version__,
        "sha256": await digest(slots.ROOT + slot + "/release") if slot else None,
        "slot": slot,
        "trial": state.get("trial", False),
        "attempts": state.get("attempts", 0),
        "returned": state.get("returned"),
        "max_request": node.settings["api"]["max_request"],
        "staged": _shown(_staged) if _staged else None,
    }


async def begin(node, args):
    """Expect the release whose manifest has ``size`` bytes and that ``sha256``.

    Returns ``{offset}``: how much of the manifest has come. Another release that was on its way is
    given up, but for the files that both have. Errors: ``no slots``, ``on trial`` while the
    running release has not proved healthy, ``busy``, ``signature missing``, ``signature invalid``.
    """
    from ..transfer import check_signature

    global _staged
    version, sha256 = args["version"], args["sha256"]
    check_signature(node, ("update", node.name, version, sha256), args["signature"])
    slots = _slots()
    async with node.changing:
        state = slots.read() if slots else {}
        if not state.get("active"):
            raise ApiError("no slots")
        if state["trial"]:
            raise ApiError("on trial")
        if not _is_known(version, sha256):
            await _forget(node)
            other, active = (
                slots.ROOT + slot + "/" for slot in (slots.other(state["active"]), state["active"])
            )
            staged = Staged(other, active, version, args["size"], sha256)
            await _stored(staged.open())
            _staged = staged
            _prepare(node, staged)
        return {"offset": _staged.offset()}


def put(node, args):
    """Take a part of a file: base64 of its bytes from ``offset`` on. Returns ``{offset}``, how
    many bytes of the file have come.

    ``file`` is its number in the manifest, 0 the manifest itself. Parts of a file come in order;
    of one that is there already they change nothing. Errors: ``nothing staged``, ``invalid file``,
    ``invalid value`` for what is no base64, ``wrong offset: expected <bytes>``, ``longer than
    <bytes>``, ``wrong hash``: then it has to come again, ``cannot be written: <why>``.
    """
    staged = _known()
    offset = staged.put(args["file"], args["offset"], _decoded(args["data"]))
    _prepare(node, staged)
    return {"offset": offset}


def need(_node, args):
    """The next missing files behind the number ``after``: ``[[file, offset], ...]``, at most 64.

    ``offset`` is how many bytes of the file have come. Errors: ``nothing staged``, ``preparing``,
    and why preparing failed.
    """
    staged = _known()
    if staged.phase == FAILED:
        raise ApiError(staged.error)
    if staged.phase != RECEIVING:
        raise ApiError(staged.phase)
    return staged.missing(args["after"], _PAGE)


async def apply(node, _args):
    """Read every file of the new release again, then restart the board with it, in a second.

    Returns ``{slot, restart}``, ``restart`` being false where there is no board to restart.
    Records that a log keeps on flash are stored before. Errors: ``nothing staged``, the phase
    where it is not ``receiving``, ``incomplete: <files>``,
    ``damaged: <path>``, ``cannot be written: <why>``.
    """
    from ..restart import restart

    global _staged
    staged = _known()
    async with node.changing:
        if staged is not _staged or staged.phase != RECEIVING:
            raise ApiError(staged.phase)
        slots = _slots()
        slot = slots.other(slots.read()["active"])
        # The firmware's proof that this release is healthy would be taken for one of the next.
        await node.supervisor.stop("health")
        await _stored(_switch(staged, slots, slot))
        _staged = None
        return {"slot": slot, "restart": restart(node)}


async def abort(node, _args):
    """Give up what is on its way. Returns true. What came of it stays in its slot, for an update
    that has the same files."""
    async with node.changing:
        await _forget(node)
    return True


def _decoded(text):
    try:
        if len(text) % 4 == 0:
            return a2b_base64(text.encode())
    except ValueError:
        pass  # as for a text of another length
    raise ApiError("invalid value")


def _slots():
    """The module of the firmware that knows the slots; None where there is none."""
    try:
        import slots
    except ImportError:
        return None
    return slots


def _known():
    if _staged is None:
        raise ApiError("nothing staged")
    return _staged


def _is_known(version, sha256):
    """Whether it is this release that is on its way."""
    staged = _staged
    if staged is None or staged.phase == FAILED:
        return False
    return (staged.version, staged.sha256) == (version, sha256)


async def _forget(node):
    global _staged
    await node.supervisor.stop("update")
    if _staged:
        _staged.close()
        _staged = None


def _prepare(node, staged):
    """Prepare the slot, once the manifest is there."""
    if staged.phase == PREPARING:
        node.supervisor.start("update", lambda _task: staged.prepare())


async def _switch(staged, slots, slot):
    try:
        await staged.finish()
        slots.switch(slot)
    except (ApiError, OSError) as error:
        staged.fail(error)
        raise


async def _stored(work):
    try:
        await work
    except OSError as error:
        raise ApiError("cannot be written: %s" % error) from None


def _shown(staged):
    keys = ("version", "sha256", "phase", "files", "need", "bytes", "error")
    return {key: getattr(staged, key) for key in keys}


METHODS = {
    "status": (status, "", READ),
    "begin": (
        begin,
        "version: str 1..32\nsize: int 1..65536\nsha256: str 64..64\nsignature: str 64..64 = ?",
        WRITE,
    ),
    "put": (put, "file: int 0..512\noffset: int 0..\ndata: str 0..65536", PART),
    "need": (need, "after: int 0..512 = 0", READ),
    "apply": (apply, "", WRITE),
    "abort": (abort, "", WRITE),
}
