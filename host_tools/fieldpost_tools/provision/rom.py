"""ROMFS instead of slots: the code runs in place from a partition, and takes little heap.

There is one such partition, so it is replaced where it is: a cut while it is written leaves a
board without code, but for one that has a slot and runs from there until the end of this.
mpremote's own code writes it.
"""

import hashlib
import tempfile
from pathlib import Path
from types import SimpleNamespace

from fieldpost_tools import image as images
from fieldpost_tools import romfs
from fieldpost_tools.errors import InputError
from fieldpost_tools.provision import slot
from fieldpost_tools.provision.job import Job
from fieldpost_tools.provision.link import BoardFault
from fieldpost_tools.release import MANIFEST

#: What the report calls the partition.
PATH = "/rom"


def image(release):
    """The image of a release, as bytes: its files below ``lib``, which is in ``sys.path``."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-rom-") as folder:
        release.save(Path(folder, "lib"))
        Path(folder, "lib", MANIFEST).unlink()
        return romfs.image(folder)


class RomJob(Job):
    """Like ``Job``; only by mpremote."""

    def look(self):
        """See ``Job``. Raises ImageError where the board has no partition, or too small a one."""
        if not hasattr(self._link, "transport"):
            raise InputError("tool", "ampy", "mpremote, which can write a ROMFS")
        super().look()
        self._image = image(self._release)
        images.check_romfs(self._image, self.facts.romfs_bytes or None, self.board.id)

    def _code(self):
        wanted = hashlib.sha256(self._image).hexdigest()
        if self.agent.rom_sha(len(self._image)) == wanted:
            return None
        return slot.Filling(self._active, self._release, [], [], [PATH], 0)

    def _bytes(self, _code):
        return len(self._image)

    def _fill(self, _code):
        self._show(self._done, self._total, PATH)
        deploy(self._link, self._image)
        self.agent.sent_bytes += len(self._image)

    def _leftovers(self):
        """The code of a slot would come first; while this is removed, the active one stays
        whole the longest."""
        found = {name: self._below([name]) for name in slot.NAMES}
        order = sorted(slot.NAMES, key=lambda name: name == self._active)
        manifests = [f"{name}/{MANIFEST}" for name in order if found[name]]
        files = [path for path in slot.FILES if path in self._tree] if any(found.values()) else []
        rest = [path for name in order for path in found[name] if path not in manifests]
        return [*manifests, *files, *rest, *super()._leftovers()]


def deploy(link, content):
    """Write the ROMFS partition of the board behind an mpremote ``link``. Raises BoardFault."""
    from mpremote import commands
    from mpremote.transport import TransportExecError

    commands.print = lambda *_words, **_options: None
    with tempfile.TemporaryDirectory(prefix="fieldpost-rom-") as folder:
        path = Path(folder, "node.romfs")
        path.write_bytes(content)
        state = SimpleNamespace(
            transport=link.transport, ensure_raw_repl=lambda: None, did_action=lambda: None
        )
        wanted = SimpleNamespace(command=["deploy"], path=str(path), partition=0, mpy=False)
        with link.mapped():
            try:
                commands.do_romfs(state, wanted)
            except TransportExecError as error:
                raise BoardFault(error.error_output) from None
