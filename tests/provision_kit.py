"""A board in a folder, for provisioning without one: its programs run here, and can be cut.

``FakeLink`` runs what is sent by CPython, on files below a folder. Every change of the file
system is counted; at the chosen one the power goes: a write is torn, nothing after it happens.
"""

import builtins
import hashlib
import importlib.util
import json
import os
import types
from pathlib import Path

from fieldpost_tools.provision.link import BoardFault, LostError
from fieldpost_tools.release import File, Release

FACTS = {
    "name": "micropython",
    "version": [1, 28, 0],
    "machine": "linux [GCC] version",
    "mpy": 0x1F06,
    "platform": "linux",
    "block": 4096,
    "free": 400,
    "umqtt": None,
    "deflate": False,
    "romfs": None,
    "watchdog": None,
}


class FakeLink:
    """A link to a board whose flash is ``folder``; ``cut`` is the number of the change at which
    its power goes (0: never). ``full``: the flash takes no write after so many changes."""

    port = "fake"

    def __init__(self, folder, cut=0, full=None, **facts):
        self.folder = Path(folder)
        self.changes = 0
        self.programs = []
        self.resets = 0
        self._cut = cut
        self._full = full
        self._facts = {**FACTS, **facts}
        self._names = {"__builtins__": self._builtins()}

    def exec(self, program):
        self.programs.append(program)
        if "def frozen_umqtt" in program:
            return json.dumps(self._facts)
        printed = self._names["printed"] = []
        self._names["print"] = lambda *words: printed.append(" ".join(map(str, words)))
        try:
            exec(program, self._names)
        except OSError as error:
            raise BoardFault(f"OSError: {error.errno}") from None
        if "def commit" in program:
            self._names["ROOT"] = f"{self.folder}/"
        return "".join(line + "\n" for line in printed)

    def reset(self):
        self.resets += 1

    def _change(self):
        self.changes += 1
        if self.changes == self._cut:
            raise LostError("cut")
        if self._full is not None and self.changes > self._full:
            raise OSError(28, "ENOSPC")

    def _builtins(self):
        def counted(function):
            def call(*arguments):
                self._change()
                return function(*arguments)

            return call

        changing = ("rename", "remove", "mkdir", "rmdir")
        fake_os = types.SimpleNamespace(listdir=os.listdir, stat=os.stat)
        for name in changing:
            setattr(fake_os, name, counted(getattr(os, name)))

        def fake_import(name, *more):
            return fake_os if name == "os" else __import__(name, *more)

        def fake_open(path, mode="r"):
            if "w" not in mode:
                return open(path, mode)
            self._change()
            return _Torn(path, self)

        return {**vars(builtins), "__import__": fake_import, "open": fake_open}


class _Torn:
    """A file whose write the power cut tears: half of it is there."""

    def __init__(self, path, link):
        self._path = path
        self._link = link
        Path(path).write_bytes(b"")

    def write(self, data):
        try:
            self._link._change()
        except LostError:
            self._append(data[: len(data) // 2])
            raise
        self._append(data)

    def _append(self, data):
        with open(self._path, "ab") as file:
            file.write(data)

    def close(self):
        pass


def release(version, **changed):
    """A small release: ``node=b"…"`` changes the content of fieldpost/node.mpy."""
    sizes = {"__init__": 20, "node": 5000, "ring": 2048, "drivers/modbus": 700, "api/system": 3000}
    files = [
        File.of(
            f"fieldpost/{name}.mpy",
            changed.get(name.rpartition("/")[2], (name * size).encode()[:size]),
        )
        for name, size in sizes.items()
    ]
    return Release(version, 6, files)


def contents(folder):
    """``{path: content}`` of everything below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def booted(folder):
    """What a board with that flash runs: ``(code, configuration)``.

    ``code``: hash of the files that its bootstrap would import, None without a main.py or
    without code; ``configuration``: content of config.json, None where it or its secrets miss.
    """
    folder = Path(folder)
    place = _place(folder)
    code = None
    if place and (folder / "main.py").exists():
        code = digest({p: c for p, c in contents(place).items() if p != "release"})
    try:
        config = (folder / "config.json").read_bytes()
        name = json.loads(config).get("secrets")
        if name and not (folder / f"secrets/{name}.json").exists():
            config = b"its secrets are missing"
    except OSError:
        config = None
    return code, config


def _place(folder):
    """The folder of the code, by the slots.py that is on the board if its boot.py uses it."""
    boot = folder / "boot.py"
    if boot.exists() and b"import slots" in boot.read_bytes():
        spec = importlib.util.spec_from_file_location("slots_there", folder / "slots.py")
        slots = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(slots)
        slots.ROOT = f"{folder}/"
        active = slots.read()["active"]
        if active and (folder / active / "release").exists():
            return folder / active
    return folder / "lib" if (folder / "lib" / "fieldpost").exists() else None


def digest(files):
    """One hash of ``{path: content}``."""
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{path}\0{len(files[path])}\0".encode() + files[path])
    return whole.hexdigest()


def code_of(made):
    """What ``booted`` says of a release."""
    return digest({file.path: file.content for file in made.files})
