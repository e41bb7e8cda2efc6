"""The host's side of ``onboard.py``: files of a board, each written so that it is whole or absent.

Everything that changes a board goes through the methods here, one program each, so that what a
cut between (or in) any two of them leaves can be told, and is tested for each.
"""

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import NamedTuple

from fieldpost_tools.provision.link import BoardFault, LostError

_HERE = Path(__file__).parent
#: Bytes of a file in one program: a board holds them three times at once.
CHUNK_BYTES = 2048
#: What a file is called while it is aside.
NEW = ".new"
#: Files copied by one program.
COPIES = 8


class Entry(NamedTuple):
    """A file on the board; ``sha256`` is ``-`` for a folder."""

    sha256: str
    size: int


class Agent:
    """Files of the board behind ``link``. Paths are relative to the root of its flash.

    ``sent_bytes`` counts what was sent of files. Methods raise LostError, and BoardFault where
    the flash is full or damaged.
    """

    def __init__(self, link):
        self.link = link
        self.sent_bytes = 0
        self._packs = False
        self._ready = False

    def probe(self):
        """What the board says it is: the object that ``probing.py`` prints."""
        text = self.link.exec(_program("probing.py"))
        try:
            facts = json.loads(text.strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise LostError(f"the board answers {text[-80:]!r} instead of what it is") from None
        self._packs = facts["deflate"]
        return facts

    def take_watchdog(self, timeout_ms):
        """Feed the watchdog that the node had started, for as long as this goes on."""
        self._exec(f"take_watchdog({timeout_ms})")

    def tree(self, *paths):
        """``{path: Entry}`` of everything at and below paths, as it is on the flash now."""
        program = "\n".join(f"tree({path!r})" for path in paths)
        lines = self._exec(program).splitlines()
        rows = [line.split(" ", 2) for line in lines]
        return {path: Entry(sha256, int(size)) for sha256, size, path in rows}

    def read(self, path, head=False):
        """Content of a file, with ``head`` its first line; ``b""`` where there is none."""
        found = bytes.fromhex(self._exec(f"read({path!r}, {head})"))
        return found.partition(b"\n")[0] if head else found

    def put(self, path, content, aside=False):
        """Write a file: aside, hashed there, then renamed. With ``aside`` it stays until
        ``commit``."""
        last = f"end({path!r}, {hashlib.sha256(content).hexdigest()!r}, {aside})"
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
        programs = [self._piece(chunk) for chunk in chunks] or [""]
        programs[0] = f"begin({path!r})\n{programs[0]}"
        programs[-1] += f"\n{last}"
        *_, said = [self._exec(program) for program in programs]
        if said.strip() != "ok":
            raise BoardFault(f"{path}: its flash does not hold what was written")
        self.sent_bytes += len(content)

    def copy(self, rows):
        """Copy on the board: ``[(from, to, sha256), ...]``; yields each ``to`` that is right.

        What is not, because it was damaged meanwhile, is absent.
        """
        for at in range(0, len(rows), COPIES):
            part = rows[at : at + COPIES]
            program = "\n".join(f"copy{row!r}" for row in part)
            for row, said in zip(part, self._exec(program).split(), strict=True):
                if said == "ok":
                    yield row[1]

    def remove(self, paths):
        """Remove files and empty folders, in this order; what is absent is no error."""
        if paths:
            self._exec(f"for path in {list(paths)!r}:\n remove(path)")

    def commit(self, paths):
        """Put files that were put aside in their places, in this order, by one program."""
        self._exec(f"commit({list(paths)!r})")

    def rom_sha(self, count):
        """Hash of the first bytes of the ROMFS partition."""
        return self._exec(f"rom_sha({count})").strip()

    def _piece(self, chunk):
        if self._packs:
            squeezer = zlib.compressobj(wbits=-10)
            data = squeezer.compress(chunk) + squeezer.flush()
            if len(data) < len(chunk):
                return f"packed({base64.b64encode(data)})"
        return f"plain({base64.b64encode(chunk)})"

    def _exec(self, program):
        if not self._ready:
            self.link.exec(_program("onboard.py"))
            self._ready = True
        return self.link.exec(program)


def _program(name):
    return (_HERE / name).read_text(encoding="utf-8")
