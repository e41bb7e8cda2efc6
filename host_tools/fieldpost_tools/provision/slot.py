"""Slots seen from the host: which one is active, and what makes the other one a release.

What the file ``slot`` says and means is for ``firmware/slots.py`` alone: its own code is run here,
on a folder that holds what matters of the board.
"""

import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fieldpost_tools import data
from fieldpost_tools.release import MANIFEST

NAMES = ("a", "b")
FILES = ("slot", "slot~")
#: Blocks left free, and those that littlefs takes for a folder.
RESERVE_BLOCKS = 8
FOLDER_BLOCKS = 2


def state(tree, contents):
    """What ``slots.read()`` says on a board with these files: ``tree`` as of ``Agent.tree``,
    ``contents`` those of ``FILES``."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-slots-") as folder:
        return _mirror(folder, tree, contents).read()


def content(slot, trial):
    """Bytes of the file ``slot`` that make a slot active. On trial, its release has to prove
    itself or the other one returns."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-slots-") as folder:
        slots = _mirror(folder, {f"{slot}/{MANIFEST}": None}, {})
        slots.switch(slot)
        if not trial:
            slots.healthy()
        return Path(folder, "slot").read_bytes()


def _mirror(folder, tree, contents):
    path = data.firmware_folder() / "slots.py"
    spec = importlib.util.spec_from_file_location("fieldpost_slots", path)
    slots = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(slots)
    slots.ROOT = f"{folder}/"
    for name in NAMES:
        if f"{name}/{MANIFEST}" in tree:
            Path(folder, name).mkdir()
            Path(folder, name, MANIFEST).write_text(json.dumps({"version": "?"}))
    for name, text in contents.items():
        if text:
            Path(folder, name).write_bytes(text)
    return slots


@dataclass(frozen=True)
class Filling:
    """What makes a slot hold a release: ``stale`` paths go first (files, then their folders),
    ``copies`` are ``(from, to, sha256)`` on the board, ``sends`` files that it has nowhere.
    Paths are those on the board; ``files`` of the release by path."""

    slot: str
    release: object
    stale: list[str]
    copies: list[tuple[str, str, str]]
    sends: list[str]
    blocks: int

    @property
    def done(self):
        """Is there nothing to do?"""
        return not (self.stale or self.copies or self.sends)

    def file(self, path):
        """The release's file that belongs at a path on the board."""
        return next(one for one in self.release.files if f"{self.slot}/{one.path}" == path)

    @property
    def manifest(self):
        """Path of the manifest on the board."""
        return f"{self.slot}/{MANIFEST}"


def filling(slot, release, tree, sources, block_bytes):
    """How ``slot`` becomes ``release`` on a board with these files.

    ``sources`` are folders to copy from. The manifest is neither stale nor sent: it is written
    last. ``blocks`` of the result is what the flash has to have free, negative if it gets room.
    """
    wanted = {f"{slot}/{file.path}": file for file in release.files}
    folders = {slot} | {
        _parent(path, depth) for path in wanted for depth in range(path.count("/"))
    }
    present = {path for path in tree if path.startswith(f"{slot}/")}
    stale = present - set(wanted) - folders - {f"{slot}/{MANIFEST}"}
    known = {
        tree[path].sha256: path
        for folder in reversed(sources)
        for path in tree
        if path.startswith(f"{folder}/") and path not in stale
    }
    missing = [p for p, f in wanted.items() if p not in tree or tree[p].sha256 != f.sha256]
    copies = [
        (known[wanted[path].sha256], path, wanted[path].sha256)
        for path in missing
        if wanted[path].sha256 in known
    ]
    copied = {path for _, path, _ in copies}
    blocks = sum(_blocks(wanted[path].size, block_bytes) for path in missing)
    blocks += FOLDER_BLOCKS * len(folders - set(tree))
    freed = [path for path in stale | set(missing) if path in tree]
    blocks -= sum(_blocks(tree[path].size, block_bytes) for path in freed)
    sends = [path for path in missing if path not in copied]
    return Filling(slot, release, sorted(stale, reverse=True), copies, sends, blocks)


def _parent(path, depth):
    return "/".join(path.split("/")[: depth + 1])


def _blocks(size, block_bytes):
    return -(-size // block_bytes)
