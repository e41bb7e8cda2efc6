"""For tests of configurations as a whole: a board without a past, and pushes as a client makes."""

import json
import os
from binascii import b2a_base64
from hashlib import sha256

from gateways_kit import FOLDER, Board

from fieldpost import restart
from fieldpost.compat import hexlify
from fieldpost.errors import FieldpostError

PART = 700
restart.DELAY_MS = 20
restart.STEADY_MS = 400


def clear(folder=FOLDER):
    """Remove all that former tests left."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            clear(path)
            os.rmdir(path)
        else:
            os.remove(path)


def board(**keys):
    """A board that never was changed."""
    clear()
    return Board(**keys)


def digest(data):
    """SHA-256 in hex."""
    return hexlify(sha256(data).digest())


async def document(board):
    """The configuration as a client gets it, to be changed and pushed."""
    return (await board.call("config.get"))["config"]


async def stage(board, config, base=None, **more):
    """Send a document in parts."""
    data = json.dumps(config).encode()
    if base is None:
        base = (await board.call("config.get"))["revision"]
    args = dict({"size": len(data), "sha256": digest(data), "base": base}, **more)
    at = (await board.call("config.begin", **args))["offset"]
    while at < len(data):
        part = str(b2a_base64(data[at : at + PART]), "utf-8").strip()
        at = (await board.call("config.put", offset=at, data=part))["offset"]
    return args


async def push(board, config, confirm_s=60, **more):
    """Send and apply it; what ``config.apply`` returns."""
    await stage(board, config, **more)
    return await board.call("config.apply", confirm_s=confirm_s)


async def refused(board, name, **args):
    """The text of the error."""
    try:
        await board.call(name, **args)
    except FieldpostError as error:
        return str(error)
    raise AssertionError("%s was accepted" % name)


def folder(name):
    """Names of the files in a folder beside the configuration."""
    try:
        return sorted(os.listdir(FOLDER + "/" + name))
    except OSError:
        return []
