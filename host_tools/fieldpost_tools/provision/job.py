"""Provisions one board; see the package for how, and for why a cut does no harm."""

import hashlib
import time
from dataclasses import dataclass, field

from fieldpost import __version__
from fieldpost.errors import ConfigError
from fieldpost_tools.build import FIRMWARE_FILES
from fieldpost_tools.errors import InputError, ToolError
from fieldpost_tools.provision import content, probe, slot
from fieldpost_tools.provision.agent import NEW, Agent
from fieldpost_tools.release import MANIFEST, Release

FORMS = ("mpy", "py", "romfs")
#: Packages of the layout before there were slots.
LIBRARIES = ("lib/fieldpost", "lib/fieldpost_board")
#: Files that take effect together, by ``commit``.
SWITCHED = (*FIRMWARE_FILES, "slot", content.CONFIG, content.PLAN)
#: Paths in one program.
REMOVALS = 32
#: Level of mpy-cross for boards of little memory: without line numbers in tracebacks.
MINIMAL_OPTIMIZE = 3


class RoomError(ToolError):
    """The flash has no room for what is to be sent; nothing was changed."""


@dataclass
class Report:
    """What was done, or with ``dry`` would be. ``sent`` are paths on the board, without manifest
    and slot file; ``notes`` are sentences for a person."""

    board: str
    firmware: str = ""
    version: str = ""
    slot: str | None = None
    on_trial: bool = False
    revision: int | None = None
    sent: list[str] = field(default_factory=list)
    copied: int = 0
    removed: int = 0
    bytes: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    dry: bool = False

    @property
    def changed(self):
        """Whether the board is not as it was."""
        return bool(self.sent or self.copied or self.removed or self.bytes)


class Job:
    """One board behind ``link``, which is to be ``board``, a ``boards.Board``.

    ``form``: one of ``FORMS``, .mpy files, sources or a ROMFS image. ``single``: replace the
    release in place, for a flash without room for two: a cut then leaves a board without code.
    ``trial``: a release that follows another has to reach a broker within three starts, or the
    former one returns. ``release``: instead of this installation's. ``show(done, total, path)``
    is told the bytes of files that are sent. Everything raises ToolErrors.
    """

    def __init__(self, link, board, form="mpy", single=False, trial=True, release=None, show=None):
        if form not in FORMS:
            raise InputError("form", form, "one of " + ", ".join(FORMS))
        self.board = board
        self.agent = Agent(link)
        self.facts = None
        self.report = Report(board.id)
        self._link = link
        self._form = form
        self._single = single
        self._trial = trial
        self._release = release
        self._show = show or (lambda _done, _total, _path: None)
        self._tree = {}
        self._contents = {}
        self._starts = 0

    def look(self):
        """Find out what the board is and holds. Raises UnfitError; changes nothing."""
        self.facts = probe.Facts.of(self.agent.probe())
        self.report.firmware = self.facts.firmware
        probe.check(self.facts, self.board)
        if self.facts.watchdog_ms:
            self.agent.take_watchdog(self.facts.watchdog_ms)
        if self._release is None:
            self._release = self._made()
        self.report.version = self._release.version
        probe.check_release(self.facts, self._release)
        paths = [*slot.NAMES, *slot.FILES, *LIBRARIES, *SWITCHED]
        self._tree = self.agent.tree(*paths, *(path + NEW for path in SWITCHED))
        self._contents = {name: self._read(name) for name in (*slot.FILES, content.CONFIG)}

    def node_name(self):
        """The node that the board is configured to be; None if it is not."""
        return content.node_name(self._contents[content.CONFIG])

    def run(self, config=None, dry=False):
        """Bring the board where it should be; the ``Report``. With ``dry`` nothing changes.

        ``config``: a validated configuration with its secrets, None to leave what the board has.
        Whatever ends this, the board boots what it had, or all of the new.
        """
        begin = time.monotonic()
        self.report.dry = dry
        state = slot.state(self._tree, self._contents)
        self._active = self.report.slot = state["active"]
        configured = self._configured(config)
        code = self._code()
        aside = self._bootstrap() | self._switched(configured)
        aside |= self._slot_file(code)
        self._starts = 0 if "slot" in aside else state["attempts"]
        self._on_trial = state["trial"]
        self.report.on_trial = "slot" in aside and self._trial and bool(self._active)
        kept = configured.kept if configured else {}
        self.report.revision = configured.revision if configured else None
        self._foresee(code, kept, aside)
        if not dry:
            self._change(code, kept, aside)
        self.report.bytes = self.agent.sent_bytes
        self.report.seconds = time.monotonic() - begin
        return self.report

    def reset(self):
        """Let the board boot, as after a power cut; its earlier starts do not count any more.

        The one that was interrupted has not failed, and others did so before somebody came.
        """
        if self._starts and not self.report.dry:
            if self._active:
                self.agent.put("slot", slot.content(self._active, self._on_trial))
            else:
                self.agent.remove(slot.FILES)
        self._link.reset()

    # What it has

    def _made(self):
        release = release_for(self.board, self._form)
        if not self.facts.brings_umqtt:
            return release
        self.report.notes.append(f"umqtt.simple {self.facts.umqtt} is that of the firmware")
        return release.without("umqtt/")

    def _read(self, path):
        return self.agent.read(path) if path in self._tree else b""

    def _secrets(self):
        path = content.secrets_file(self._contents[content.CONFIG])
        return {path: self.agent.read(path)} if path else {}

    # What is to be done

    def _code(self):
        """The ``Filling`` of a slot; None where the active one holds the release."""
        if self._active and self._is_current(self._active):
            return self._repair()
        target = self._target()
        sources = [*([self._active] if self._active else []), target, "lib"]
        made = slot.filling(target, self._release, self._tree, sources, self.facts.block_bytes)
        self._check_room(made)
        self.report.slot = target
        return made

    def _is_current(self, name):
        found = self._in_place(name)
        return self._named(name) and not found.copies and not found.sends

    def _repair(self):
        """What the active slot has too much, such as a .py that stands before its .mpy."""
        found = self._in_place(self._active)
        return found if found.stale else None

    def _in_place(self, name):
        return slot.filling(name, self._release, self._tree, [name], self.facts.block_bytes)

    def _named(self, name):
        """Does the slot's manifest say what this release is?"""
        return self._has(f"{name}/{MANIFEST}", self._release.manifest)

    def _has(self, path, text):
        found = self._tree.get(path)
        return found is not None and found.sha256 == hashlib.sha256(text).hexdigest()

    def _target(self):
        if self._single or not self._active:
            return self._active or slot.NAMES[0]
        return slot.NAMES[self._active == slot.NAMES[0]]

    def _check_room(self, filling):
        free = self.facts.free_blocks - slot.RESERVE_BLOCKS
        if filling.blocks <= free:
            return
        need, have = (
            max(0, blocks) * self.facts.block_bytes // 1024 for blocks in (filling.blocks, free)
        )
        way = (
            "; --single replaces the running release in place"
            if self._active and not self._single
            else ""
        )
        raise RoomError(f"no room on the flash: {need} KiB needed, {have} KiB free{way}")

    def _bootstrap(self):
        return {
            name: text for name, text in content.bootstrap().items() if not self._has(name, text)
        }

    def _configured(self, config):
        if config is None:
            return None
        try:
            made = content.configuration(config, self._contents[content.CONFIG], self._secrets())
        except ConfigError as error:
            raise InputError(error.path, error.value, error.allowed) from None
        if made:
            self._check_parts(made)
        return made

    def _check_parts(self, configured):
        """A minimal release has not all that a configuration may ask for."""
        files = {file.path.rpartition(".")[0] for file in self._release.files}
        missing = [name for name in content.modules(configured) if name not in files]
        if missing:
            raise probe.UnfitError(
                f"{self.board.id} gets the {self.board.profile} profile, which has no "
                + ", ".join(name.removeprefix("fieldpost/") for name in missing)
            )

    def _slot_file(self, code):
        """What makes another slot active; on trial, if there is one to return to."""
        if code is None or code.slot == self._active:
            return {}
        return {"slot": slot.content(code.slot, self._trial and bool(self._active))}

    def _switched(self, configured):
        """Files that take effect with the switch, beside bootstrap and slot."""
        if configured:
            return configured.switched
        current = self._contents[content.CONFIG]
        if not current or self._release.version != __version__:
            return {}
        if content.fits(self.agent.read(content.PLAN, head=True), current):
            return {}
        try:
            return content.planned(current, self._secrets())
        except (ConfigError, ValueError, KeyError):
            self.report.notes.append("this version does not accept the board's configuration")
            return {}

    def _foresee(self, code, kept, aside):
        """What the report says is what is going to be done."""
        report = self.report
        report.sent = [*(code.sends if code else ()), *kept, *aside]
        if "slot" in aside:
            report.sent.remove("slot")
        report.copied = len(code.copies) if code else 0
        report.removed = len(code.stale if code else ()) + len(self._leftovers())
        self._done = 0
        self._total = sum(map(len, [*kept.values(), *aside.values()]))
        self._total += self._bytes(code) if code else 0

    # Doing it

    def _change(self, code, kept, aside):
        for path, text in kept.items():
            self._put(path, text)
        for path, text in aside.items():
            self._put(path, text, aside=True)
        if code:
            self._fill(code)
        if aside:
            self.agent.commit(commit_order(aside, running="main.py" in self._tree))
        self._remove(self._leftovers())

    def _fill(self, code):
        """Make a slot the release; its manifest goes first and comes back last."""
        if code.slot == self._active and not (code.copies or code.sends):
            self._remove(code.stale)
            return
        manifest = code.manifest
        if self._single:
            other = slot.NAMES[code.slot == slot.NAMES[0]]
            self._remove([f"{other}/{MANIFEST}"])
            self._remove(self._below([other]))
        self._remove([manifest])
        self._remove(code.stale)
        copied = set(self.agent.copy(code.copies))
        failed = [path for _, path, _ in code.copies if path not in copied]
        self.report.copied -= len(failed)
        self.report.sent += failed
        for path in [*code.sends, *failed]:
            self._put(path, code.file(path).content)
        self._put(manifest, self._release.manifest)

    def _below(self, folders):
        """The folders and all that is in them, in an order to remove them."""
        inside = tuple(f"{folder}/" for folder in folders)
        found = (path for path in self._tree if path in folders or path.startswith(inside))
        return sorted(found, reverse=True)

    def _bytes(self, code):
        return sum(code.file(path).size for path in code.sends)

    def _leftovers(self):
        """What the former layout leaves, and what a cut left aside: not needed after the switch,
        and not in the way before."""
        return [*self._below(LIBRARIES), *self._below([path + NEW for path in SWITCHED])]

    def _remove(self, paths):
        for at in range(0, len(paths), REMOVALS):
            self.agent.remove(paths[at : at + REMOVALS])

    def _put(self, path, text, aside=False):
        self._show(self._done, self._total, path)
        self.agent.put(path, text, aside)
        self._done += len(text)
        self._show(self._done, self._total, path)


def release_for(board, form):
    """The release of this installation that suits a board."""
    minimal = board.profile == "minimal"
    if form == "py":
        return Release.sources(minimal)
    return Release.build(MINIMAL_OPTIMIZE if minimal else 0, minimal)


def commit_order(paths, running):
    """The order in which files that were put aside take their places, so that a board boots
    after each of them.

    ``running``: the board has a main.py, so something boots already. Then the bootstrap goes
    first, which runs old code and new, then the slot, then the configuration: new code takes an
    old configuration, old code may not know all of a new one. On a fresh board main.py comes
    last: without it nothing runs.
    """
    boot = [*FIRMWARE_FILES, "slot"] if running else ["slot", *FIRMWARE_FILES]
    config = [content.CONFIG, content.PLAN]
    order = [*boot, *config] if running else [*config, *boot]
    return sorted(paths, key=order.index)
