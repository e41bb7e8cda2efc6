"""A hundred thousand requests that nobody should send, to a whole node on a real MicroPython."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

COUNT = 100_000
HEAP = "512k"
#: What the heap in use may grow by from the first 10,000 requests to the last: logs fill up, the
#: names that requests bring do not stay.
GROWTH_BYTES = 48 * 1024

NODE = {
    "node": "gw",
    "devices": [
        {
            "id": "v",
            "driver": "virtual",
            "interval": 100,
            "points": [
                {"id": 1, "name": "n", "kind": "counter"},
                {"id": 2, "name": "set", "value": 5, "writable": True},
            ],
        }
    ],
    "subscriptions": [{"id": "default", "ring_bytes": 8192, "store": {"disk": False}}],
    "subscribers": [{"subscriber": "c"}],
}


@pytest.mark.timeout(900)
def test_no_request_crashes_hangs_or_fills_the_memory(micropython, compiled, tmp_path, capsys):
    seed = 1 if os.environ.get("CI") else random.getrandbits(24)
    job = {"config": NODE, "folder": "data", "count": COUNT, "seed": seed}
    done = subprocess.run(
        [micropython, "-X", f"heapsize={HEAP}", Path(__file__).with_name("api_fuzz_probe.py")],
        env={**os.environ, "MICROPYPATH": f":{compiled}:.frozen"},
        input=json.dumps({**job, "skip": ["system.reboot"]}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    heaps = told["heaps"]
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{told['requests']} odd requests for {told['methods']} methods, seed {seed}:"
            f" {told['replies']} replies, {told['errors']} of them errors, the slowest after"
            f" {told['slowest_ms']} ms; heap {heaps[0]} to {heaps[-1]} bytes, at most {max(heaps)}"
        )
    assert told["requests"] == told["counters"]["requests"] == COUNT
    assert told["fault_count"] == 0, done.stderr
    assert told["running"] == 0
    assert told["sampling"]
    assert min(heaps[-3:]) < heaps[0] + GROWTH_BYTES
    assert told["slowest_ms"] < 5000
