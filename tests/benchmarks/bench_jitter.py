"""How steadily a node samples while its broker does not answer.

A device is read every 100 ms by a real MicroPython; jitter is the distance of each interval
between two samples from that. The brokers: one that accepts and then never says a word, one where
nobody listens, one behind a full backlog (the kernel drops every SYN), and none at all, which
tells what the machine itself adds.
"""

import socket
import tempfile
import threading
from contextlib import contextmanager

import rig

from fieldpost_tools.build import build_mpy

INTERVAL_MS = 100
#: The link gives up this early, to meet its broker often.
TIMEOUT_MS = 2000
FULL_BACKLOG = 4


def measure(seconds=21):
    """The 99th percentile of the jitter in ms, broker silent; the other cases beside it."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-jitter-") as folder:
        build_mpy(folder)
        cases = {}
        for name, broker in (
            ("silent", silent),
            ("refused", refusing),
            ("dropped", dropping),
            ("none", no_broker),
        ):
            with broker() as port:
                cases[name] = _case(folder, name, port, seconds)
    return {"sampling_jitter_p99_ms": cases["silent"]["p99_ms"], "sampling_jitter": cases}


def _case(folder, name, port, seconds):
    broker = {"host": rig.HOST, "port": port, "timeout_ms": TIMEOUT_MS, "backoff_max_ms": 2000}
    points = [{"name": "count", "kind": "counter"}]
    config = {
        "node": "bench",
        "mqtt": [broker] if port else [],
        "devices": [
            {"id": "dev", "driver": "virtual", "interval": INTERVAL_MS, "points": points},
        ],
        "subscribers": [{"subscriber": "collector", "format": "packed"}],
    }
    job = {"config": config, "folder": f"data-{name}", "seconds": seconds}
    told = rig.micropython(folder, "jitter", job, seconds=seconds)
    late = sorted(abs(us / 1000 - INTERVAL_MS) for us in told["intervals_us"])
    if told["errors"] or told["records"] < len(late):
        raise RuntimeError(f"the node did not sample as it should: {told}")
    return {
        "p99_ms": round(late[int(len(late) * 0.99)], 3),
        "median_ms": round(late[len(late) // 2], 3),
        "max_ms": round(late[-1], 3),
        "intervals": len(late),
        "link": told["link"],
    }


@contextmanager
def no_broker():
    """No port at all."""
    yield None


@contextmanager
def silent():
    """A port where every connection is accepted, read, and never answered."""
    with socket.create_server((rig.HOST, 0)) as server:
        held = []

        def accept():
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for sock in held:
            sock.close()


@contextmanager
def refusing():
    """A port that is taken, where nobody listens."""
    with socket.socket() as sock:
        sock.bind((rig.HOST, 0))
        yield sock.getsockname()[1]


@contextmanager
def dropping():
    """A port whose queue of connections is full: whoever connects hears nothing."""
    with socket.socket() as server:
        server.bind((rig.HOST, 0))
        server.listen(0)
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(FULL_BACKLOG)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex((rig.HOST, port))
        yield port
        for sock in waiting:
            sock.close()
