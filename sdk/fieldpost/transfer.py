"""A document that comes in parts, into a file on flash; and whether its sender may send it.

The parts are appended one by one, each durable when it is confirmed, so that after a restart of
either side the rest is enough. Beside the file ``<path>`` there is ``<path>.of``, a small one that
says which document it is to become. Needs one part of RAM at a time.
"""

import os
from hashlib import sha256

from .compat import const, hexlify, sleep_ms
from .errors import ApiError
from .hmac import equal, hmac_sha256
from .smallfile import load, remove, save

#: Bytes hashed at once, and how often before other tasks have a turn.
_BLOCK = const(512)
_BLOCKS = const(8)
#: Flash that stays free: the file system wants some for its own.
_SPARE = const(8192)


class Transfer:
    """The document that is to become the file ``path``; has no state but that on flash."""

    def __init__(self, path):
        self.path = path
        self._about = path + ".of"

    def state(self):
        """``{"sha256", "size", "offset", "note"}`` of the document that is coming, or None.

        ``offset`` says how many of its bytes are there.
        """
        try:
            about = load(self._about)
        except ValueError:
            about = None
        if about is None:
            return None
        size, digest, note = about
        return {"sha256": digest, "size": size, "offset": _size(self.path), "note": note}

    def begin(self, size, digest, note=None):
        """Expect a document of ``size`` bytes with that SHA-256 (lowercase hex).

        Returns the offset at which it is to go on: not 0 where a part of the same one is there.
        Of another one, what was there is removed. ``note``: what JSON can say, for ``state``.
        Raises ApiError where there is no room.
        """
        state = self.state()
        known = state and (state["size"], state["sha256"]) == (size, digest)
        if not known or state["offset"] > size:
            self.abort()
        offset = _size(self.path)
        free = _free(self.path)
        if free is not None and size - offset + _SPARE > free:
            self.abort()
            raise ApiError("not enough flash: %d bytes free" % free)
        try:
            save(self._about, [size, digest, note])
        except OSError as error:
            self._fail(error)
        return offset

    def put(self, offset, data):
        """Append ``data`` (bytes), which begins at ``offset``; returns the offset behind it.

        Raises ApiError: for another offset than the expected one, which its text names; for more
        than was announced; where flash is full, and then all of the document is removed.
        """
        state = self._known()
        if offset != state["offset"]:
            raise ApiError("wrong offset: expected %d" % state["offset"])
        if offset + len(data) > state["size"]:
            raise ApiError("longer than %d" % state["size"])
        try:
            with open(self.path, "ab") as file:
                if file.write(data) != len(data):
                    raise OSError(28)
        except OSError as error:
            self._fail(error)
        return offset + len(data)

    async def finish(self):
        """Check that the document is complete, and which it is; returns its path.

        Raises ApiError; where the SHA-256 is another one, all of it is removed. What is right
        stays until ``abort``, or until its file is renamed.
        """
        state = self._known()
        if state["offset"] != state["size"]:
            raise ApiError("incomplete: %d of %d bytes" % (state["offset"], state["size"]))
        if await digest_of(self.path) != (state["size"], state["sha256"]):
            self.abort()
            raise ApiError("sha256 differs")
        return self.path

    def abort(self):
        """Forget the document, and remove what came of it."""
        remove(self.path)
        remove(self._about)

    def _known(self):
        state = self.state()
        if state is None:
            raise ApiError("nothing staged")
        return state

    def _fail(self, error):
        self.abort()
        raise ApiError("not stored: %r" % error)


async def digest_of(path):
    """``(bytes, SHA-256 in hex)`` of a file, with turns for other tasks. Raises OSError."""
    made = sha256()
    buf = bytearray(_BLOCK)
    view = memoryview(buf)
    at = 0
    while True:
        # Not left open while others have their turn: they may replace it.
        with open(path, "rb") as file:
            file.seek(at)
            for _ in range(_BLOCKS):
                count = file.readinto(buf)
                made.update(view[:count])
                at += count
        if count < _BLOCK:
            return at, hexlify(made.digest())
        await sleep_ms(0)


def check_signature(node, words, signature):
    """Refuse what is not signed, where the node's configuration has a ``fleet_key``.

    ``words`` (texts) are what is signed, joined by line feeds; ``signature`` is the lowercase hex
    HMAC-SHA256 of that under the key, or None. Raises ApiError ``signature missing`` or
    ``signature invalid``.
    """
    key = node.settings["fleet_key"]
    if key is None:
        return
    if not signature:
        raise ApiError("signature missing")
    wanted = hmac_sha256(key.encode(), "\n".join(words).encode())
    if not equal(hexlify(wanted).encode(), signature.encode()):
        raise ApiError("signature invalid")


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _free(path):
    """Free bytes of the volume; None where the platform does not tell."""
    try:
        volume = os.statvfs(path.rpartition("/")[0] or ".")
    except (AttributeError, OSError):
        return None
    return volume[1] * volume[3]
