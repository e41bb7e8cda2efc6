"""transfer: a document in parts, over restarts, and what is refused; signatures."""

import os
from hashlib import sha256

from patch_kit import Patch

from fieldpost import transfer
from fieldpost.compat import hexlify
from fieldpost.counters import make_folder
from fieldpost.errors import ApiError
from fieldpost.hmac import hmac_sha256
from fieldpost.transfer import Transfer, check_signature

FOLDER = "transfer-test"
PATH = FOLDER + "/document"
TEXT = bytes(range(256)) * 45 + b"end"


def digest(data):
    """Its SHA-256."""
    return hexlify(sha256(data).digest())


def fresh():
    """A transfer of which nothing is there."""
    make_folder(FOLDER)
    made = Transfer(PATH)
    made.abort()
    assert os.listdir(FOLDER) == []
    return made


def content():
    """What the file has."""
    with open(PATH, "rb") as file:
        return file.read()


def refusal(function, *args):
    """The text of what it raises."""
    try:
        function(*args)
    except ApiError as error:
        return str(error)
    raise AssertionError("accepted")


async def refused(coroutine):
    """The same of a coroutine."""
    try:
        await coroutine
    except ApiError as error:
        return str(error)
    raise AssertionError("accepted")


async def test_in_parts_over_restarts():
    assert fresh().begin(len(TEXT), digest(TEXT), 7) == 0
    for at in range(0, len(TEXT), 1000):
        # Each time as after a restart.
        assert Transfer(PATH).begin(len(TEXT), digest(TEXT), 7) == at
        part = TEXT[at : at + 1000]
        assert Transfer(PATH).put(at, part) == at + len(part)
    state = {"sha256": digest(TEXT), "size": len(TEXT), "offset": len(TEXT), "note": 7}
    assert Transfer(PATH).state() == state
    assert await Transfer(PATH).finish() == PATH
    assert content() == TEXT


async def test_wrong_parts_are_refused():
    made = fresh()
    assert refusal(made.put, 0, b"x") == "nothing staged"
    assert await refused(made.finish()) == "nothing staged"
    made.begin(4, digest(b"abcd"))
    assert refusal(made.put, 1, b"x") == "wrong offset: expected 0"
    assert refusal(made.put, 0, b"abcde") == "longer than 4"
    made.put(0, b"ab")
    assert refusal(made.put, 0, b"ab") == "wrong offset: expected 2"
    assert await refused(made.finish()) == "incomplete: 2 of 4 bytes"
    made.put(2, b"cx")
    assert await refused(made.finish()) == "sha256 differs"
    assert os.listdir(FOLDER) == [] and made.state() is None


def test_another_document_replaces_it():
    made = fresh()
    made.begin(4, digest(b"abcd"))
    made.put(0, b"ab")
    assert made.begin(4, digest(b"abce")) == 0
    assert made.state()["offset"] == 0
    made.put(0, b"ab")
    # The same with another note goes on.
    assert made.begin(4, digest(b"abce"), "note") == 2
    assert made.state()["note"] == "note"


def test_longer_than_itself_begins_anew():
    made = fresh()
    made.begin(4, digest(b"abcd"))
    with open(PATH, "wb") as file:
        file.write(b"abcdefg")
    assert made.begin(4, digest(b"abcd")) == 0


def test_a_damaged_note_begins_anew():
    made = fresh()
    made.begin(4, digest(b"abcd"))
    made.put(0, b"ab")
    with open(PATH + ".of", "w") as file:
        file.write("00000000 []")
    assert made.state() is None
    assert made.begin(4, digest(b"abcd")) == 0


def test_full_flash_leaves_nothing_behind():
    made = fresh()
    with Patch(transfer, _free=lambda path: 8192 + 99):
        assert refusal(made.begin, 100, digest(b"")) == "not enough flash: 8291 bytes free"
        assert os.listdir(FOLDER) == []
        assert made.begin(99, digest(b"")) == 0

    class Full:
        """A file on a full volume."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def write(self, data):
            return len(data) - 1

    made.begin(4, digest(b"abcd"))
    made.put(0, b"ab")
    transfer.open = lambda *_: Full()
    try:
        assert "not stored: OSError(28" in refusal(made.put, 2, b"cd")
    finally:
        del transfer.open
    assert os.listdir(FOLDER) == []


class Node:
    """As much of a node as signatures need."""

    def __init__(self, key):
        self.settings = {"fleet_key": key}


def test_signatures():
    words = ("config", "gw-1", "4", digest(TEXT))
    key = "k" * 16
    good = hexlify(hmac_sha256(key.encode(), ("config\ngw-1\n4\n" + digest(TEXT)).encode()))
    check_signature(Node(None), words, None)
    check_signature(Node(key), words, good)
    for bad in (None, ""):
        assert refusal(check_signature, Node(key), words, bad) == "signature missing"
    for bad in (good[:-1], good[:-1] + "x", good[1:] + "0", "ü" * 64):
        assert refusal(check_signature, Node(key), words, bad) == "signature invalid"
    other = ("config", "gw-2", "4", digest(TEXT))
    assert refusal(check_signature, Node(key), other, good) == "signature invalid"
