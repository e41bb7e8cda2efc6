"""What a board is; runs there, in the raw REPL. The last line printed is one JSON object."""
# ruff: noqa: T201 - what it prints is the result

import json
import os
import sys

ROOT = "/"


def frozen_umqtt():
    """Version of umqtt.simple in the firmware: "" unknown, None if there is none."""
    path = list(sys.path)
    sys.path[:] = [".frozen"]
    try:
        import umqtt.simple

        return getattr(umqtt.simple, "__version__", "")
    except ImportError:
        return None
    finally:
        sys.path[:] = path
        for name in ("umqtt.simple", "umqtt"):
            sys.modules.pop(name, None)


def watchdog_ms():
    """That of the configuration, searched for: to parse it may take more than the heap."""
    key = '"watchdog_ms":'
    tail = ""
    try:
        with open(ROOT + "config.json") as file:
            while True:
                text = file.read(256)
                if not text:
                    return None
                tail = tail[-40:] + text
                at = tail.find(key)
                if at >= 0:
                    digits = (tail[at + len(key) :] + file.read(16)).strip()
                    count = 0
                    while digits[count : count + 1].isdigit():
                        count += 1
                    return int(digits[:count]) if count else None
    except OSError:
        return None


def romfs_bytes():
    """Size of the ROMFS partition; None where the firmware knows no ROMFS."""
    try:
        from vfs import rom_ioctl
    except ImportError:
        return None
    if rom_ioctl(1) < 1:
        return 0
    device = rom_ioctl(2, 0)
    if hasattr(device, "ioctl"):
        return device.ioctl(4, 0) * device.ioctl(5, 0)
    return len(device)


def deflates():
    """Can it inflate what it is sent?"""
    try:
        import deflate
    except ImportError:
        return False
    return hasattr(deflate, "DeflateIO")


def facts():
    """Print all of it as JSON."""
    it = sys.implementation
    flash = os.statvfs(ROOT)
    print(
        json.dumps(
            {
                "name": it[0],
                "version": list(it[1])[:3],
                "machine": getattr(it, "_machine", ""),
                "mpy": getattr(it, "_mpy", 0),
                "platform": sys.platform,
                "block": flash[0],
                "free": flash[3],
                "umqtt": frozen_umqtt(),
                "deflate": deflates(),
                "romfs": romfs_bytes(),
                "watchdog": watchdog_ms(),
            }
        )
    )


facts()
