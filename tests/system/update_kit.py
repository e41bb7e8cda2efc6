"""For tests of updates over the air: releases that differ, and virtual boards that run one."""

import json
import shutil
import time
from pathlib import Path

from fieldpost_tools import api, build, data
from fieldpost_tools.release import File, Release
from fieldpost_tools.sim.board import Board

HEAP = "512k"
INTERVAL_MS = 20
VERSION = "9.9.9"
#: Seconds that boards take here what the firmware gives minutes.
PAUSE_S, TRIAL_S = 0.2, 1.0


def release(umqtt, folder, changes, version=VERSION, optimize=0):
    """This checkout's release with ``changes`` of sources: ``{path: {old text: new text}}``."""
    packages = [Path(folder, "fieldpost"), Path(folder, "fieldpost_board")]
    shutil.copytree(data.sdk_folder(), packages[0])
    shutil.copytree(data.firmware_folder() / "fieldpost_board", packages[1])
    for path, texts in changes.items():
        target = Path(folder, path)
        text = target.read_text(encoding="utf-8")
        for old, new in texts.items():
            assert old in text, (path, old)
            text = text.replace(old, new)
        target.write_text(text, encoding="utf-8")
    contents = dict(build.compiled(*packages, Path(umqtt, "umqtt"), optimize=optimize))
    return Release(version, 6, [File.of(path, contents[path]) for path in contents])


def versioned(version, more=()):
    """Changes that make it another version, which has ``TRIAL_S`` to be healthy, and ``more``."""
    changes = {
        "fieldpost/__init__.py": {'__version__ = "': f'__version__ = "{version}"  # "'},
        "fieldpost_board/health.py": {
            "TRIAL_MS = 300000": f"TRIAL_MS = {round(TRIAL_S * 1000)}",
            "HEALTHY_MS = 60000": f"HEALTHY_MS = {round(TRIAL_S * 500)}",
            "_POLL_MS = const(1000)": "_POLL_MS = const(50)",
        },
    }
    for path, texts in dict(more).items():
        changes[path] = {**changes.get(path, {}), **texts}
    return changes


def configuration(name, port, **more):
    """A node's: one point, whose records wait for seconds before they are stored or sent."""
    broker = {"host": "127.0.0.1", "port": port, "backoff_min_ms": 50, "backoff_max_ms": 200}
    points = [{"id": 1, "name": "counter", "kind": "counter"}]
    device = {"id": "dev", "driver": "virtual", "interval": INTERVAL_MS, "points": points}
    flush = {"minDelay": 3000, "maxDelay": 3000, "maxEntries": 1000, "onEntries": 1000}
    log = {"id": "default", "ring_bytes": 8192, "flush": flush, "store": {"durable": True}}
    return {
        "node": name,
        "mqtt": [broker],
        "devices": [device],
        "subscriptions": [log],
        "subscribers": [{"subscriber": "collector"}],
        "api": {"mqtt": ["read", "update.*"]},
        **more,
    }


def board(folder, running, config):
    """A virtual board, provisioned with the release ``running`` in slot a; not started."""
    folder = Path(folder)
    running.save(folder / "a")
    for name in build.FIRMWARE_FILES:
        text = (data.firmware_folder() / name).read_text(encoding="utf-8")
        text = text.replace("PAUSE_S = 10", f"PAUSE_S = {PAUSE_S}").replace(
            '"restart in %d s', '"restart in %s s'
        )
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return Board(folder, heap=HEAP)


def status(connect, seconds=10):
    """The node's ``update.status``, once it answers."""
    end = time.monotonic() + seconds
    while True:
        try:
            with connect() as client:
                client.timeout_s = 2
                return client.call("update.status")
        except (api.ApiTimeout, api.ApiLinkError):
            assert time.monotonic() < end
            time.sleep(0.05)
