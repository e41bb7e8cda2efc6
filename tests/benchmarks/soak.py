"""The long tests: random kills of everything, and QoS 1 messages past every wrap.

::

    python tests/benchmarks/soak.py                        100 kills, 150,000 messages
    python tests/benchmarks/soak.py --messages 0 --seed 7  kills only, those of seed 7

Ends with status 1 if anything was lost, double or not as promised. The kills are divided between
a run whose broker keeps its sessions and one whose broker forgets them; see
``tests/system/chaos.py``.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("sdk", "host_tools", "tests")]

import rig  # noqa: E402 - found by the line above
from paho.mqtt.client import Client  # noqa: E402
from paho.mqtt.enums import CallbackAPIVersion  # noqa: E402

import servers  # noqa: E402
from fieldpost_tools import flush  # noqa: E402
from fieldpost_tools.build import build_mpy  # noqa: E402
from system import chaos  # noqa: E402

BOARDS = 3
NODE, TOPIC = "soak", "fieldpost/soak/message"
#: Ticks wrap so long after the start; the heap is looked at so often; the first looks are warm-up.
WRAP_MS, SAMPLE, WARM_UP = 2000, 2500, 4
#: The slowest machine that the test waits for; how far the heap may go up and down.
LEAST_PER_S = 200
HEAP_BYTES = 8192
ARRIVAL_S = 30
#: Two points are read every ...; on a busy machine, a reading may be so late.
INTERVAL_MS, LONGEST_MS = 20, 10_000


def configuration(port):
    """A node that also samples, and sends its records by the same link."""
    points = [{"name": "counter", "kind": "counter"}, {"name": "sine", "kind": "sine"}]
    return {
        "node": NODE,
        "state_interval": 1000,
        "mqtt": [{"host": rig.HOST, "port": port}],
        "devices": [
            {"id": "made-up", "driver": "virtual", "interval": INTERVAL_MS, "points": points}
        ],
        "subscriptions": [{"id": "default", "store": {"disk": False}}],
        "subscribers": [{"subscriber": "witness", "format": "packed", "ack": "auto"}],
    }


class Witness:
    """Counts what arrives at the broker: messages by number, and the records of the flushes."""

    def __init__(self, port, messages):
        self.arrived = bytearray(messages)
        self.total = 0
        self.problems = []
        self._next = 0
        self._first = self._last = None
        self._client = Client(CallbackAPIVersion.VERSION2, "soak-witness")
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(TOPIC, 1), (f"fieldpost/nodes/{NODE}/flush/witness", 1)]
        )
        self._client.connect(rig.HOST, port)
        self._client.loop_start()

    @property
    def recorded_ms(self):
        """From the first record to the last, by the node's clock."""
        return self._last[0] - self._first[0] if self._last else 0

    def close(self):
        """Listen no more."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client, _data, message):
        if message.topic == TOPIC:
            number = int(message.payload)
            self.arrived[number] = min(self.arrived[number] + 1, 255)
            self.total += 1
            return
        for chunk in flush.decode_flush(NODE, message.payload).chunks:
            for seq, record in enumerate(chunk.records, chunk.seq):
                self._take(seq, record)

    def _take(self, seq, record):
        """Records come without holes and in the order of their times, over the wrap of ticks."""
        self._first = self._first or record
        last, self._last = self._last, record
        if seq != self._next:
            self.problems.append(f"record {seq} instead of {self._next}")
        elif last and not 0 <= record[0] - last[0] < LONGEST_MS:
            self.problems.append(f"record {seq} is {record}, after {last}")
        self._next = seq + 1


def endure(messages):
    """Send the messages; returns ``(figures, problems)``."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-soak-") as folder:
        build_mpy(folder)
        broker_folder = Path(folder, "broker")
        broker_folder.mkdir()
        with servers.Mosquitto(broker_folder) as broker:
            witness = Witness(broker.port, messages)
            try:
                told = _send(folder, broker.port, messages)
                _await_arrival(witness, messages)
            finally:
                witness.close()
    return _figures(told, witness), _problems(told, witness, messages)


def _send(folder, port, messages):
    job = {
        "config": configuration(port),
        "folder": "data",
        "messages": messages,
        "topic": TOPIC,
        "wrap_ms": WRAP_MS,
        "sample": SAMPLE,
    }
    return rig.micropython(folder, "endure", job, seconds=messages // LEAST_PER_S)


def _await_arrival(witness, messages):
    deadline = time.monotonic() + ARRIVAL_S
    while witness.total < messages and time.monotonic() < deadline:
        time.sleep(0.05)


def _figures(told, witness):
    return {
        "messages acknowledged": told["acked"],
        "messages/s": round(told["acked"] * 1000 / told["ms"]),
        "packet-id wraps": told["pid_wraps"],
        "ticks wrapped": told["tick_wrapped"],
        "lost": witness.arrived.count(0),
        "duplicates": witness.total - len(witness.arrived) + witness.arrived.count(0),
        "heap in use, max - min after warm-up": f"{_spread(told)} bytes of {told['heap'][-1]}",
        "records meanwhile": told["records"],
    }


def _spread(told):
    heap = told["heap"][WARM_UP:]
    return max(heap) - min(heap)


def _problems(told, witness, messages):
    figures = _figures(told, witness)
    link = told["link"]
    checks = (
        (told["acked"] != messages or told["lost"], f"{told['acked']} of {messages} acknowledged"),
        (figures["lost"] or figures["duplicates"], "messages lost or double"),
        (told["pid_wraps"] < messages // 65535, "packet ids did not wrap"),
        (not told["tick_wrapped"], "the ticks did not wrap"),
        (told["uptime_ms"] < told["ms"], f"up for {told['uptime_ms']} ms, not {told['ms']}"),
        (told["errors"] or told["dropped"], f"node: {told['last_error']}, {told['dropped']}"),
        (link["disconnects"] or link["resent"], f"link: {link}"),
        (_spread(told) > HEAP_BYTES, f"the heap is not stable: {told['heap']}"),
        (told["records"] * INTERVAL_MS < told["ms"], f"only {told['records']} records"),
        # Of the last seconds, records may be under way.
        (witness.recorded_ms < told["ms"] * 0.8 - 2000, f"times end at {witness.recorded_ms} ms"),
    )
    return [text for wrong, text in checks if wrong] + witness.problems


def shake(seed, kills):
    """Half of the kills with each kind of broker; returns the problems, which are printed."""
    found = []
    for persistence in (False, True):
        print(f"\nchaos, the broker {'keeps' if persistence else 'forgets'} its sessions")
        with tempfile.TemporaryDirectory(prefix="fieldpost-chaos-") as folder:
            report = chaos.run(seed, (kills + 1) // 2, folder, persistence, BOARDS)
        print(report, flush=True)
        found += report.problems
    return found


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="at least so many; 0: none")
    parser.add_argument("--seed", type=int, help="of the kills; by default a new one")
    parser.add_argument("--messages", type=int, default=150_000, help="of QoS 1; 0: none")
    options = parser.parse_args(arguments)
    # However it ends, nothing stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    found = []
    if options.messages:
        figures, found = endure(options.messages)
        lines = [f"{name}: {value}" for name, value in figures.items()]
        print("QoS 1 messages", *lines, *found, sep="\n", flush=True)
    if options.kills:
        seed = random.randrange(1 << 31) if options.seed is None else options.seed
        found += shake(seed, options.kills)
    print(f"\n{len(found)} problems" if found else "\nnothing lost, nothing double")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
