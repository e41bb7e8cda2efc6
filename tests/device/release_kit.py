"""For tests of updates: releases, a board with slots, and what a host does to it."""

import hashlib
import json
import os
import sys
from binascii import b2a_base64

from gateways_kit import Board, exists

import slots
from fieldpost import __version__
from fieldpost.api import update
from fieldpost.compat import hexlify, sleep_ms
from fieldpost.errors import FieldpostError
from fieldpost.smallfile import make_folder

ROOT = "update-test/"

OLD = {"pkg/__init__.mpy": b"init", "pkg/same.mpy": b"s" * 1300, "pkg/part.mpy": b"old" * 300}
NEW = {
    "pkg/__init__.mpy": b"init",
    "pkg/deep/er/new.mpy": bytes(range(256)) * 8,
    "pkg/part.mpy": b"new" * 300,
    "pkg/same.mpy": b"s" * 1300,
}


class Machine:
    """The module ``machine``."""

    def __init__(self):
        self.resets = 0

    def reset(self):
        self.resets += 1


def digest(data):
    return hexlify(hashlib.sha256(data).digest())


def encoded(data):
    return b2a_base64(data).decode().strip()


def manifest(files, version="2.0.0", mpy=None, count=None):
    """The file ``release`` of files by path."""
    head = {"version": version, "mpy": mpy, "files": len(files) if count is None else count}
    lines = [json.dumps(head)]
    lines += ["%s %d %s" % (digest(files[path]), len(files[path]), path) for path in sorted(files)]
    return ("\n".join(lines) + "\n").encode()


def clear(folder):
    for name in os.listdir(folder) if exists(folder) else ():
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            clear(path)
            os.rmdir(path)
        else:
            os.remove(path)


def store(folder, files):
    for path in files:
        make_folder((folder + path).rpartition("/")[0])
        with open(folder + path, "wb") as file:
            file.write(files[path])


def content(path):
    with open(path, "rb") as file:
        return file.read()


def tree(folder):
    """``{path: content}`` of a folder, empty ones with None."""
    found = {}
    for name in os.listdir(folder):
        if os.stat(folder + name)[0] & 0x4000:
            inner = tree(folder + name + "/")
            found.update({name + "/" + path: inner[path] for path in inner} or {name: None})
        else:
            found[name] = content(folder + name)
    return found


class Client:
    """A board with slots, of which ``a`` holds ``OLD``, and what a host does."""

    def __init__(self, **config):
        clear(ROOT[:-1])
        make_folder(ROOT + "b")
        store(ROOT + "a/", dict(OLD, release=manifest(OLD, __version__)))
        slots.ROOT = ROOT
        sys.modules["slots"] = slots
        slots.switch("a")
        slots.healthy()
        update._staged = None
        self.config = config
        self.board = Board(**config)
        self.sent = []

    def restart(self):
        """Cut the power; a new node with what is on flash."""
        if update._staged and update._staged._incoming:
            update._staged._incoming._file.close()
        update._staged = None
        self.board = Board(**self.config)

    async def call(self, method, **args):
        return await self.board.call("update." + method, **args)

    async def refused(self, method, **args):
        try:
            await self.call(method, **args)
        except FieldpostError as error:
            return str(error)
        raise AssertionError("%s of %r was accepted" % (method, args))

    async def begin(self, listing, version="2.0.0", **more):
        return await self.call(
            "begin", version=version, size=len(listing), sha256=digest(listing), **more
        )

    async def put(self, index, data, offset=0, part=700):
        """Put a file from ``offset`` on."""
        while offset < len(data):
            piece = encoded(data[offset : offset + part])
            said = await self.call("put", file=index, offset=offset, data=piece)
            offset = said["offset"]

    async def prepared(self):
        """Wait until the slot is; the reason if it failed."""
        staged = None
        while staged is None or staged["phase"] == "preparing":
            await sleep_ms(1)
            staged = (await self.call("status"))["staged"]
        return staged["error"]

    async def bring(self, files, listing=None):
        """All but ``apply``; what was sent is in ``sent``."""
        listing = listing or manifest(files)
        start = await self.begin(listing)
        await self.put(0, listing, start["offset"])
        problem = await self.prepared()
        if problem:
            return problem
        paths = sorted(files)
        for index, offset in await self.call("need"):
            self.sent.append((paths[index - 1], offset))
            await self.put(index, files[paths[index - 1]], offset)
        return None
