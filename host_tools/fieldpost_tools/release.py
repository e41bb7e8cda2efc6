"""A release: the code that one slot of a board holds, with the hash of every file.

A slot is a folder (``/a``, ``/b``) with the packages and the file ``release``, written last::

    {"version": "0.2.0", "mpy": 6, "files": 171}
    <sha256 hex> <bytes> fieldpost/__init__.mpy
    ...

One line a file, sorted by path, so that a board reads it line by line. ``mpy`` is the version of
the .mpy files, null where the release holds sources.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from fieldpost import __version__
from fieldpost_tools import build
from fieldpost_tools.errors import ToolError

MANIFEST = "release"

#: What a node of few points does without, by the beginning of the path: what a configuration
#: has to ask for, and API methods beyond configuration, updates and system.
OPTIONAL = (
    "fieldpost/alarms/",
    "fieldpost/api/alarms",
    "fieldpost/api/filters",
    "fieldpost/api/gateway",
    "fieldpost/api/live",
    "fieldpost/api/logger",
    "fieldpost/api/query",
    "fieldpost/api/readers",
    "fieldpost/api/webhooks",
    "fieldpost/drivers/host",
    "fieldpost/drivers/i2c",
    "fieldpost/drivers/modbus",
    "fieldpost/drivers/mqtt",
    "fieldpost/expression",
    "fieldpost/history",
    "fieldpost/http",
    "fieldpost/mqtt_events",
    "fieldpost/webhook/",
)


class ReleaseError(ToolError):
    """A folder holds no release, or files that are not those of its manifest."""


@dataclass(frozen=True)
class File:
    """One file of a release; ``path`` is below the slot, with ``/``."""

    path: str
    sha256: str
    size: int
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, path, content):
        """The file with that content."""
        return cls(path, hashlib.sha256(content).hexdigest(), len(content), content)


class Release:
    """``version``; ``mpy``: of its .mpy files, None for sources; ``files``: sorted by path."""

    def __init__(self, version, mpy, files):
        self.version = version
        self.mpy = mpy
        self.files = sorted(files, key=lambda file: file.path)

    @classmethod
    def build(cls, optimize=0, minimal=False):
        """Compile the packages of this installation: SDK, board package and umqtt.

        ``optimize`` as for ``mpy-cross -O``; ``minimal`` leaves out what ``OPTIONAL`` names.
        Raises ``build.BuildError``, ``umqtt.DownloadError``.
        """
        return cls._of(build.compiled(optimize=optimize), minimal)

    @classmethod
    def sources(cls, minimal=False):
        """The same as .py files, for debugging on the board."""
        return cls._of(build.sources(), minimal)

    @classmethod
    def _of(cls, contents, minimal):
        files = [
            File.of(path, content)
            for path, content in contents
            if not (minimal and path.startswith(OPTIONAL))
        ]
        return cls(__version__, _mpy_version(files), files)

    @classmethod
    def load(cls, folder):
        """The release in a folder. Raises ReleaseError where a file is not what it should be."""
        folder = Path(folder)
        try:
            head, *lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
            about = json.loads(head)
            rows = [line.split(" ", 2) for line in lines]
            files = [File.of(path, (folder / path).read_bytes()) for _, _, path in rows]
            release = cls(about["version"], about["mpy"], files)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReleaseError(f"{folder} holds no release: {error}") from None
        for file, (sha256, size, _) in zip(files, rows, strict=True):
            if [file.sha256, str(file.size)] != [sha256, size]:
                raise ReleaseError(f"{folder / file.path} is not the file of this release")
        return release

    def save(self, folder):
        """Write the files below a folder, the manifest last."""
        for file in self.files:
            target = Path(folder, file.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.content)
        Path(folder, MANIFEST).write_bytes(self.manifest)

    def without(self, prefix):
        """This release without the files whose path begins with ``prefix``."""
        files = [file for file in self.files if not file.path.startswith(prefix)]
        return Release(self.version, self.mpy, files)

    @property
    def manifest(self):
        """Bytes of the file ``release``."""
        about = {"version": self.version, "mpy": self.mpy, "files": len(self.files)}
        lines = [json.dumps(about)]
        lines += [f"{file.sha256} {file.size} {file.path}" for file in self.files]
        return "".join(line + "\n" for line in lines).encode()

    @property
    def sha256(self):
        """Hash of the manifest, which stands for the whole release."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def size(self):
        """Bytes of all files, the manifest included."""
        return sum(file.size for file in self.files) + len(self.manifest)


def _mpy_version(files):
    """From the header of a .mpy: ``M``, then the version."""
    compiled = [file for file in files if file.path.endswith(".mpy")]
    return compiled[0].content[1] if compiled else None
