"""The power is cut at every single operation of a flash chip while a configuration is replaced.

Pushes, changes with secrets, rollbacks and returns from a trial are made once, with a journal; see
``test_staging_power``. Then a node boots from what each cut would have left: with the old
configuration and its secrets, or with the new one and its own.
"""

import gc
import json
from binascii import b2a_base64
from hashlib import sha256

from flash_kit import Flash, apply

from fieldpost import push, revisions, secrets, staging, texts
from fieldpost.api import config as api
from fieldpost.compat import hexlify
from fieldpost.node import Node

NEEDS = "littlefs"
HEAP = "4m"

BLOCKS = 32
PATH = "/flash/config.json"
FOLDER = "/flash/data"
SMALL = {"id": "default", "ring_bytes": 1024, "frame_bytes": 256, "store": {"disk": False}}


def configuration(word, password):
    """One whose text and password say which one it is."""
    points = [{"name": "p%d" % i, "id": i + 1} for i in range(3)]
    device = {"id": "v", "driver": "virtual", "description": word, "points": points}
    broker = {"host": "127.0.0.1", "port": 1, "password": password}
    return {"node": "gw", "devices": [device], "subscriptions": [SMALL], "mqtt": [broker]}


class Life:
    """A flash with the old configuration, which an API change has put apart from its secrets."""

    def __init__(self):
        self.flash = Flash(BLOCKS)
        self.flash.format()
        self.flash.mount()
        with open(PATH, "w") as file:
            json.dump(configuration("former", "former password"), file)
        self.node = Node(PATH, FOLDER)
        self.journal = []

    def record(self):
        """From now on every operation is written down."""
        self.image = bytearray(self.flash.data)
        self.flash.watch = lambda kind, address, data: self.journal.append(
            (kind, address, data and bytes(data))
        )

    def end(self):
        """Switch off; returns what was recorded."""
        self.flash.watch = None
        self.flash.unmount()
        return self.image, self.journal

    async def push(self, word, confirm_s=0):
        """As a client does, in one part."""
        data = json.dumps(configuration(word, word + " password")).encode()
        base = revisions.head(PATH)["revision"]
        args = {"size": len(data), "sha256": hexlify(sha256(data).digest()), "base": base}
        api.begin(self.node, dict(args, signature=None))
        part = str(b2a_base64(data), "utf-8").strip()
        api.put(self.node, {"offset": 0, "data": part})
        await api.apply(self.node, {"confirm_s": confirm_s})
        await self.node.supervisor.stop("trial")


def look(image):
    """``(revision, text, trial)`` of a node that boots from a flash: all of the same kind."""
    flash = Flash(BLOCKS, image)
    flash.mount()
    try:
        node = Node(PATH, FOLDER)
        [word] = [row[1] for row in texts.rows(node) if row and row[0] == "v"]
        password = node.links[0].config["password"]
        head, config = revisions.load(PATH)
        assert password == word + " password" == config["mqtt"][0]["password"]
        assert word == config["devices"][0]["description"]
        assert head["revision"] == node.settings["revision"]
        for leftover in (PATH + ".next", FOLDER + "/config.next"):
            assert not exists(leftover)
        for revision in revisions.former(PATH):
            former = revisions.head(revisions.former_path(PATH, revision))
            assert secrets.load(PATH, former["secrets"])
        return head["revision"], word, node.trial
    finally:
        flash.unmount()


def exists(path):
    """Whether there is a file."""
    try:
        open(path).close()
    except OSError:
        return False
    return True


def cuts(image, journal):
    """What a node finds after each cut, in their order; every fourth operation is also torn."""
    for i in range(len(journal) + 1):
        if i & 3 == 1 and i < len(journal):
            torn = bytearray(image)
            apply(torn, *journal[i], torn=True)
            yield look(torn)
            torn = None
        yield look(bytearray(image))
        gc.collect()
        if i < len(journal):
            apply(image, *journal[i])


def once(found, old, new):
    """One moment decides: first all are the old one, then all the new one."""
    kinds = [one[:2] for one in found]
    assert kinds[0] == old and kinds[-1] == new and len(kinds) > 20
    assert kinds == [old] * kinds.count(old) + [new] * kinds.count(new)


async def test_a_push():
    life = Life()
    await life.push("old")
    life.record()
    await life.push("new")
    once(list(cuts(*life.end())), (1, "old"), (2, "new"))


async def test_a_change_with_secrets():
    life = Life()
    await life.push("old")
    life.record()

    def edit(config):
        config["mqtt"][0]["password"] = "new password"
        config["devices"][0]["description"] = "new"

    await staging.change(life.node, edit)
    once(list(cuts(*life.end())), (1, "old"), (2, "new"))


async def test_a_rollback():
    life = Life()
    await life.push("old")
    life.record()
    await push.roll_back(life.node, 0, 0)
    once(list(cuts(*life.end())), (1, "old"), (2, "former"))


async def test_a_configuration_on_trial():
    life = Life()
    life.record()
    await life.push("new", 60)
    found = list(cuts(*life.end()))
    once(found, (0, "former"), (1, "new"))
    # Whatever has become the configuration is on trial.
    assert all((trial is None) == (revision == 0) for revision, _word, trial in found)


async def test_a_return():
    life = Life()
    await life.push("new", 60)
    for _ in range(3):
        Node(PATH, FOLDER)
    life.record()
    node = Node(PATH, FOLDER)
    assert node.settings["revision"] == 2
    found = list(cuts(*life.end()))
    assert {one[:2] for one in found} == {(2, "former")}
    for _revision, _word, trial in found:
        returned = trial["returned"]
        assert (returned["revision"], returned["reason"]) == (1, "3 starts in vain")
