"""A release on its way into a slot: its manifest, then the files that the node does not have yet.

A slot is a folder. Its file ``release`` is the manifest: a line of JSON, ``{"version": "0.2.0",
"mpy": 6, "files": 171}``, then a line a file, sorted by path, ``<sha256> <bytes> <path>``. It is
there only while everything that it names is: until then the manifest is ``release~``.

A file has its own name only once its hash was right, so after a restart, or a host that went
away, what is there is kept, and only the rest is sent. Files are read and written in pieces, with
a turn for the other tasks after each; the manifest is never in RAM as a whole.
"""

import json
import os
from hashlib import sha256

from .compat import MPY, const, crc32, hexlify, names, sleep_ms
from .errors import ApiError
from .smallfile import make_folder, remove

#: Phases, in this order; what fails goes to FAILED.
MANIFEST, PREPARING, RECEIVING, APPLYING, FAILED = (
    "manifest",
    "preparing",
    "receiving",
    "applying",
    "failed",
)
#: Flash that has to stay free, for the logs.
RESERVE_BYTES = 32768

_FILES_MAX = const(512)
_FILE_BYTES = const(262144)
_PATH_CHARS = const(100)
_LINE_BYTES = const(256)
_PIECE_BYTES = const(512)
_FOLDER = const(0x4000)
_PATH = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./"


class Staged:
    """A release that goes into the slot ``folder`` (``/b/``); what the slot ``active`` has of it
    is copied from there. ``sha256`` is that of the manifest of ``size`` bytes.

    ``phase``: ``manifest`` (it is to be put), ``preparing``, ``receiving`` (what is missing is to
    be put), ``applying`` or ``failed``, for the reason ``error``. From ``receiving`` on ``files``
    is their number, ``need`` how many are missing, ``bytes`` how much that is.
    """

    def __init__(self, folder, active, version, size, sha256):
        self.version = version
        self.size = size
        self.sha256 = sha256
        self.phase = MANIFEST
        self.error = None
        self.files = self.need = self.bytes = 0
        self._folder = folder
        self._active = active
        self._manifest = folder + "release~"
        self._incoming = None
        self._missing = b""  # one byte a file, 1 where it is
        self._line = self._position = 0  # of the line that was looked up last

    async def open(self):
        """Claim the slot: from now on it holds no release. Finds the manifest of an update that
        was interrupted. Raises OSError."""
        make_folder(self._folder[:-1])
        former = self._folder + "release"
        if await digest(former) == self.sha256:
            os.rename(former, self._manifest)
        remove(former)
        if await digest(self._manifest) == self.sha256:
            self.phase = PREPARING

    def close(self):
        """Let go of the file that is being received; what is complete stays."""
        if self._incoming:
            self._incoming.discard()
            self._incoming = None

    def offset(self, index=0):
        """How many bytes of a file have come; those of a whole one only of the manifest."""
        incoming = self._incoming
        if incoming and incoming.index == index:
            return incoming.offset
        return 0 if index or self.phase == MANIFEST else self.size

    def put(self, index, offset, data):
        """Take a part of a file, 0 being the manifest; returns how many bytes of it have come.

        Parts come in order. A file that is there already is not written again. Raises ApiError.
        """
        if self.phase not in (MANIFEST, RECEIVING) or (self.phase == MANIFEST) != (index == 0):
            raise ApiError("invalid file: phase " + self.phase)
        incoming = self._incoming
        if not incoming or incoming.index != index:
            if index > self.files:
                raise ApiError("invalid file")
            if index and not self._missing[index - 1]:
                return offset + len(data)
            incoming = self._receive(index)
        try:
            if incoming.put(offset, data):
                self._arrived(incoming)
        except OSError as error:
            self.close()
            raise ApiError("cannot be written: %s" % error) from None
        return incoming.offset

    def missing(self, after, limit):
        """``[[index, bytes that have come], ...]`` of missing files behind the index ``after``."""
        found = []
        for index in range(after + 1, self.files + 1):
            if len(found) == limit:
                break
            if self._missing[index - 1]:
                found.append([index, self.offset(index)])
        return found

    async def prepare(self):
        """Check the manifest, empty the slot of what it does not name, and copy what the other
        slot has; then ``phase`` is ``receiving``, or ``failed``."""
        try:
            kept = await self._check()
            await self._sweep("", kept)
            await self._find()
            self._check_room()
            await self._copy()
            self.phase = RECEIVING
        except (ValueError, KeyError, TypeError, OSError, ApiError) as error:
            self.fail(error)

    def fail(self, error):
        """It cannot go on."""
        self.close()
        self.phase = FAILED
        self.error = str(error) if isinstance(error, ApiError) else repr(error)

    async def finish(self):
        """Read every file again, then give the slot its ``release``. Raises ApiError, OSError."""
        if self.need:
            raise ApiError("incomplete: %d files" % self.need)
        self.phase = APPLYING
        for path, wanted, _size in self._entries():
            if await digest(self._folder + path) != wanted:
                raise ApiError("damaged: " + path)
        os.rename(self._manifest, self._folder + "release")

    # -- preparing

    async def _check(self):
        """Check every line of the manifest; the set of the paths' hashes."""
        with open(self._manifest, "rb") as file:
            head = json.loads(file.readline(_LINE_BYTES))
        if head["version"] != self.version:
            raise ApiError("manifest of version %s" % head["version"])
        if MPY and head["mpy"] not in (MPY, None):
            raise ApiError(".mpy version %s, this firmware has %d" % (head["mpy"], MPY))
        kept = {_hash("release~")}
        last = ""
        for path, _wanted, _size in self._entries():
            if path <= last or self.files == _FILES_MAX:
                raise ApiError("invalid manifest: " + path)
            last = path
            kept.add(_hash(path))
            self.files += 1
            await sleep_ms(0)
        if self.files != head["files"]:
            raise ApiError("manifest of %d files" % self.files)
        return kept

    async def _sweep(self, folder, kept):
        """Remove the files that are not kept, and folders that are empty."""
        for name in list(names(self._folder + folder)):
            path = folder + name
            if os.stat(self._folder + path)[0] & _FOLDER:
                await self._sweep(path + "/", kept)
            elif _hash(path) not in kept:
                os.remove(self._folder + path)
            await sleep_ms(0)
        if folder and not list(names(self._folder + folder)):
            os.rmdir(self._folder + folder[:-1])

    async def _find(self):
        """Which files are missing, or not what they should be; those are removed."""
        self._missing = bytearray(self.files)
        for index, (path, wanted, size) in enumerate(self._entries()):
            path = self._folder + path
            if _size(path) != size or await digest(path) != wanted:
                remove(path)
                self._missing[index] = 1
                self.need += 1
                self.bytes += size
            await sleep_ms(0)

    def _check_room(self):
        """That the missing files fit: each takes whole blocks."""
        if not hasattr(os, "statvfs"):
            return
        volume = os.statvfs(self._folder)
        free = volume[1] * volume[3] - RESERVE_BYTES
        need = self.bytes + self.need * (min(volume[0], 4096) - 1)
        if need > free:
            raise ApiError("flash full: need %d bytes, %d are free" % (need, max(0, free)))

    async def _copy(self):
        """Copy those missing files that the active slot has."""
        for index, (path, wanted, size) in enumerate(self._entries()):
            source, target = self._active + path, self._folder + path
            if self._missing[index] and _size(source) == size:
                _make_folder_of(target)
                if await copy(source, target + "~") == wanted:
                    os.rename(target + "~", target)
                    self._mark(index, size)
                else:
                    remove(target + "~")

    # -- files

    def _receive(self, index):
        self.close()
        if index:
            path, wanted, size = parse(self._read(index))
            self._incoming = _Incoming(index, self._folder + path, size, wanted)
        else:
            self._incoming = _Incoming(0, self._manifest, self.size, self.sha256)
        return self._incoming

    def _arrived(self, incoming):
        if not incoming.keep():
            raise ApiError("wrong hash")
        self._incoming = None
        if incoming.index == 0:
            self.phase = PREPARING
        else:
            self._mark(incoming.index - 1, incoming.offset)

    def _mark(self, place, size):
        self._missing[place] = 0
        self.need -= 1
        self.bytes -= size

    # -- the manifest

    def _entries(self):
        """``(path, sha256, bytes)`` of every file. Raises ValueError, OSError."""
        index = 1
        while True:
            line = self._read(index)
            if not line:
                return
            yield parse(line)
            index += 1

    def _read(self, index):
        """A line; they are read in order, so the next is found at once. Not left open meanwhile:
        the other tasks may end what reads it."""
        if index < self._line:
            self._line = self._position = 0
        with open(self._manifest, "rb") as file:
            file.seek(self._position)
            while self._line < index:
                file.readline(_LINE_BYTES)
                self._line += 1
            self._position = file.tell()
            return file.readline(_LINE_BYTES)


class _Incoming:
    """A file that comes in parts, under another name until it is whole."""

    def __init__(self, index, path, size, sha256):
        self.index = index
        self.offset = 0
        self._path = path
        self._size = size
        self._wanted = sha256
        self._hash = None
        self._file = None

    def put(self, offset, data):
        """Take the next part; True where it was the last one. Raises ApiError, OSError."""
        if offset != self.offset:
            raise ApiError("wrong offset: expected %d" % self.offset)
        if offset + len(data) > self._size:
            raise ApiError("longer than %d" % self._size)
        if self._file is None:
            _make_folder_of(self._path)
            self._file = open(self._path + "~", "wb")
            self._hash = sha256()
        if self._file.write(data) != len(data):
            raise OSError(28)
        self._hash.update(data)
        self.offset += len(data)
        return self.offset == self._size

    def keep(self):
        """Give the file its name; False, and it is gone, where its hash is not the right one."""
        file, self._file = self._file, None
        file.close()
        if hexlify(self._hash.digest()) != self._wanted:
            self.offset = 0
            return False
        os.rename(self._path + "~", self._path)
        return True

    def discard(self):
        """Remove it."""
        if self._file:
            self._file.close()
        remove(self._path + "~")


def parse(line):
    """``(path, sha256, bytes)`` of a manifest's line; the path stays within the slot and is none
    of its own files. Raises ValueError."""
    text = line.decode()
    if text[-1:] != "\n":
        raise ValueError("line too long, or cut")
    wanted, size, path = text[:-1].split(" ", 2)
    parts = path.split("/")
    if (
        len(wanted) != 64
        or not size.isdigit()
        or not int(size) <= _FILE_BYTES
        or len(path) > _PATH_CHARS
        or parts[0] == "release"
        or not all(part and part[0] != "." for part in parts)
        or not all(char in _PATH for char in path)
    ):
        raise ValueError("invalid line: " + text[:-1][:_PATH_CHARS])
    return path, wanted, int(size)


async def digest(path):
    """SHA-256 of a file as hexadecimal text; None where there is none."""
    state = sha256()
    try:
        await _read(path, state.update)
    except OSError:
        return None
    return hexlify(state.digest())


async def copy(source, target):
    """Copy a file; the SHA-256 of what was copied. Raises OSError."""
    state = sha256()
    with open(target, "wb") as file:
        await _read(source, state.update, file.write)
    return hexlify(state.digest())


async def _read(path, *takers):
    """Give a file's content to functions, a piece in each turn."""
    piece = memoryview(bytearray(_PIECE_BYTES))
    with open(path, "rb") as file:
        while True:
            count = file.readinto(piece)
            if not count:
                return
            for take in takers:
                take(piece[:count])
            await sleep_ms(0)


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return None


def _make_folder_of(path):
    make_folder(path[: path.rindex("/")])


def _hash(path):
    """A small int on every platform."""
    return crc32(path.encode()) & 0x3FFFFFFF
