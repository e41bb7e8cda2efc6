"""What benchmarks share: device code as .mpy, both MicroPythons, a slow network, figures."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import device_suite
from fieldpost_tools.sim import chip
from fieldpost_tools.sim.broker import HOST

HERE = Path(__file__).resolve().parent
DEVICE = HERE / "device"
WASM_TIMEOUT_S = 120
#: What a MicroPython process may take beside the seconds it was told to run.
GRACE_S = 60


def micropython(folder, script, job, heap="256k", seconds=0):
    """Run ``device/<script>.py`` on the 64-bit MicroPython; the JSON object it prints last.

    ``folder`` holds the compiled packages, ``job`` goes in as JSON on stdin.
    """
    command = [_micropython(), "-X", f"heapsize={heap}", DEVICE / f"{script}.py"]
    done = subprocess.run(
        command,
        # The first folder is replaced by that of the script.
        env={**os.environ, "MICROPYPATH": f":{folder}:.frozen"},
        cwd=folder,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=seconds + GRACE_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script}.py failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def wasm(source, steps):
    """Run pieces of code on a fresh 32-bit MicroPython; for each its ``used`` and ``result``.

    ``source`` is ``{"files": folder}`` of .mpy files or ``{"image": path}`` of a ROMFS image.
    """
    command = device_suite.wasm_command()
    if not command:
        raise RuntimeError("32-bit MicroPython is missing: make bench installs it")
    node, package = command
    done = subprocess.run(
        [node, HERE / "wasm_steps.mjs", package],
        input=json.dumps({**source, "steps": steps}),
        capture_output=True,
        text=True,
        timeout=WASM_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"wasm_steps.mjs failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def versions():
    """Of what the figures were measured with."""
    told = "import sys; print(sys.version, sys.implementation._build)"
    unix = subprocess.run(
        [_micropython(), "-c", told], capture_output=True, text=True, timeout=GRACE_S, check=True
    )
    code = "import sys\nresult = sys.version + ' ' + sys.implementation._build"
    (wasm_version,) = wasm({"files": str(DEVICE)}, [code])
    return {
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "micropython_64": unix.stdout.strip(),
        "micropython_32": wasm_version["result"],
    }


def _micropython():
    found = chip.micropython()
    if not found:
        raise RuntimeError("micropython is missing: make bench installs it")
    return found


@contextmanager
def distance(port, delay_ms):
    """A port that leads to ``port`` by way of a proxy delaying ``delay_ms`` each way."""
    command = [sys.executable, HERE / "delay_proxy.py", HOST, str(port), str(delay_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def round_trip_ms(port, count=20):
    """Median time between PINGREQ and PINGRESP of the MQTT broker behind ``port``."""
    times = []
    with socket.create_connection((HOST, port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04ping")
        _expect(sock, b"\x20\x02\0\0")
        for _ in range(count):
            start = time.perf_counter()
            sock.sendall(b"\xc0\0")
            _expect(sock, b"\xd0\0")
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def _expect(sock, wanted):
    received = b""
    while len(received) < len(wanted):
        received += sock.recv(len(wanted) - len(received)) or b"the end"
    if received != wanted:
        raise RuntimeError(f"the broker sent {received}")
