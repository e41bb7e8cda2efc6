"""Which release of the code runs: the slots /a and /b, and the file /slot that names one.

``boot.py`` puts the active slot first in ``sys.path``, ``main.py`` counts the start. A release
that is new is on trial: it has three starts to prove itself (``healthy``), then the other slot is
active again. A board without slots (code in /lib, frozen or in a ROMFS) counts its starts only.

/slot is JSON behind its CRC-32, as in ``fieldpost.smallfile``, and shorter than 128 bytes, which
littlefs keeps inline. It is replaced by a rename; on a FAT volume, where a power cut may lose the
replaced name, the file written aside counts. Where neither can be read, a slot that has a release
is taken, on trial if both have one.

Everything here runs before the SDK is found: nothing of it is imported.
"""

import binascii
import json
import os
import sys

#: Folder of the slots and of the file ``slot``; ends with a slash.
ROOT = "/"
#: Starts that a release on trial has.
TRIAL_STARTS = 3

_FILE_BYTES = 128
_VERSION_CHARS = 16


def read():
    """What is kept: ``active`` ("a", "b" or None: no slots), ``trial`` (bool), ``attempts``
    (starts since the last healthy one), ``returned`` (why the former release was left, or None).
    """
    for name in ("slot", "slot~"):
        try:
            with open(ROOT + name, "rb") as file:
                crc, _, body = file.read(_FILE_BYTES).partition(b" ")
            if crc == b"%08x" % binascii.crc32(body):
                return json.loads(body)
        except (OSError, ValueError):
            continue
    return {
        "active": _filled(),
        "trial": _is_filled("a") and _is_filled("b"),
        "attempts": 0,
        "returned": None,
    }


def other(active):
    """The slot that is not active: where the next release goes."""
    return "b" if active == "a" else "a"


def select(count=True):
    """Put the active slot first in ``sys.path``; with ``count`` this is a start of its release.

    A start too many of one on trial, or a slot without a release, makes the other one active.
    Power that goes and comes is no fault of the code: unless on trial, it is counted anew.
    Never raises for the sake of the flash: what cannot be written is not remembered.
    """
    state = read()
    if not _is_filled(state["active"]):
        if state["active"]:
            state["returned"] = state["active"] + ": no release in this slot"
        state["active"] = _filled()
    elif state["trial"] and state["attempts"] >= TRIAL_STARTS:
        _give_up(state)
    if count:
        if _powered_on() and not state["trial"]:
            state["attempts"] = 0
        state["attempts"] += 1
        try:
            _write(state)
        except OSError as error:
            print("slots:", error)
    for slot in ("a", "b"):
        if ROOT + slot in sys.path:
            sys.path.remove(ROOT + slot)
    if state["active"]:
        sys.path.insert(0, ROOT + state["active"])


def switch(slot):
    """Make ``slot`` active from the next start on, on trial.

    Raises OSError where the slot holds no release, or the flash takes no more; then nothing
    has changed.
    """
    os.stat(_release(slot))
    _write({"active": slot, "trial": True, "attempts": 0, "returned": None})


def healthy():
    """The running release works: no longer on trial. Writes only what changes; raises OSError."""
    state = read()
    if state["trial"] or state["attempts"]:
        state["trial"] = False
        state["attempts"] = 0
        _write(state)


def _give_up(state):
    """Leave a release that did not prove itself, if there is another."""
    failed = state["active"]
    if _is_filled(other(failed)):
        state["active"] = other(failed)
        state["attempts"] = 0
        state["returned"] = "%s in %s: not healthy in %d starts" % (
            _version(failed),
            failed,
            TRIAL_STARTS,
        )
    state["trial"] = False


def _powered_on():
    try:
        from machine import PWRON_RESET, reset_cause
    except ImportError:
        return False
    return reset_cause() == PWRON_RESET


def _write(state):
    body = json.dumps(state).encode()
    with open(ROOT + "slot~", "wb") as file:
        file.write(b"%08x %s" % (binascii.crc32(body), body))
    os.rename(ROOT + "slot~", ROOT + "slot")


def _release(slot):
    return ROOT + slot + "/release"


def _filled():
    for slot in ("a", "b"):
        if _is_filled(slot):
            return slot
    return None


def _is_filled(slot):
    try:
        return bool(slot and os.stat(_release(slot)))
    except OSError:
        return False


def _version(slot):
    try:
        with open(_release(slot)) as file:
            return json.loads(file.readline())["version"][:_VERSION_CHARS]
    except (OSError, ValueError, KeyError, TypeError):
        return "release"
