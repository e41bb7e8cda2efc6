"""Exports: rows a second from a SQLite store into each sink, against sinks fed with ready bytes.

``postgres_ratio``: against COPY of the same rows from a ready file into the same table.
``influx_ratio``: against posting ready-made lines, compressed like ours, batch by batch.
``backfill_memory_mib``: peak resident memory of a process that backfills five million rows;
``backfill_growth_mib``: what of that it takes more than for none.
"""

import csv
import gc
import gzip
import io
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import requests

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("sdk", "host_tools", "tests")]

import bench_collect  # noqa: E402 - found by the line above

import servers  # noqa: E402
from fieldpost_tools import query  # noqa: E402
from fieldpost_tools.backfill import Backfill  # noqa: E402
from fieldpost_tools.export import settings  # noqa: E402
from fieldpost_tools.export.pipeline import Exporter  # noqa: E402
from fieldpost_tools.export.sinks import postgresql  # noqa: E402
from fieldpost_tools.export.state import States  # noqa: E402
from fieldpost_tools.flush import Chunk, Flush, Points  # noqa: E402
from fieldpost_tools.store import Store  # noqa: E402
from fieldpost_tools.stores import open_store  # noqa: E402

ROWS = 200_000
BACKFILL_ROWS = 5_000_000
BATCH = 20_000
POINTS = 10
_COPY = "COPY ready.oc_history FROM STDIN (FORMAT csv)"
T0 = 1_700_000_000_000


def fill(path, count):
    """A store with ``count`` numeric records of ten points of one node."""
    store = Store(path, create=True)
    names = [(i, f"point-{i}", "°C") for i in range(POINTS)]
    store.write(points=[Points("gw-1", "ahu-1", "modbus", names)])
    for first in range(0, count, 50_000):
        numbers = range(first, min(first + 50_000, count))
        records = [(T0 + 100 * n, n % POINTS, math.sin(n), None) for n in numbers]
        store.write([Flush("gw-1", "default", 1, 0, [Chunk(1, first, 1, True, records)])])
    return store


def measure(seconds=5, rows=ROWS, backfill_rows=BACKFILL_ROWS):
    """All figures; takes about three minutes."""
    gc.set_threshold(100_000)  # as the command does
    with tempfile.TemporaryDirectory(prefix="fieldpost-export-") as folder:
        folder = Path(folder)
        store = fill(folder / "a.db", rows)
        results = {}
        for kind in ("csv", "parquet"):
            export = _export(folder, {"type": kind, "path": kind})
            results[f"{kind}_rows_per_s"] = round(_rate(export, store, folder))
        results |= _influx(folder, store)
        results |= _postgres(folder, store, seconds)
        store.close()
        results["ingest_records_per_s"] = round(_ingest(folder / "ingest.db", seconds))
        results |= _backfill_memory(folder, backfill_rows)
    return results


def _export(folder, row):
    made = settings.make({"name": "bench", "batch": BATCH, **row}, "bench")
    made.connector.folder = folder
    made.common["dead_letters"] = str(folder / "dead.jsonl")
    return made


def _rate(export, store, folder):
    """Rows/s of an export from the first to the last."""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".state") as file:
        Path(file.name).unlink()
        with States(file.name) as states:
            exporter = Exporter(export, store, states)
            started = time.perf_counter()
            while exporter.step():
                pass
            seconds = time.perf_counter() - started
            exporter.close()
            rows = store.totals().records
            if states.standing("bench").rows != rows:
                raise RuntimeError(f"rows are missing: {states.standing('bench')}")
        Path(file.name).touch()
    return rows / seconds


def _samples(export, store):
    return export.mapping.samples(query.records(store))


def _influx(folder, store):
    place = folder / "influx"
    place.mkdir()
    with servers.Influx(place) as server:
        row = {"type": "influxdb", "version": "v1", "url": server.url, "database": "plant"}
        ours = _rate(_export(folder, row), store, folder)
        export = _export(folder, row | {"measurement": "ready"})
        heads = {}
        lines = [export.connector._line(one, heads) for one in _samples(export, store)]
        batches = [
            "\n".join(lines[at : at + BATCH]).encode() for at in range(0, len(lines), BATCH)
        ]
        started = time.perf_counter()
        with requests.Session() as session:
            for body in batches:
                answer = session.post(
                    f"{server.url}/write?db=plant&precision=ms",
                    gzip.compress(body, 1),
                    headers={"Content-Encoding": "gzip"},
                    timeout=60,
                )
                answer.raise_for_status()
        ready = len(lines) / (time.perf_counter() - started)
        (found,) = server.query("SELECT count(value) FROM ready")
        if found["count"] != len(lines):
            raise RuntimeError(f"lines are missing: {found}")
    return {"influx_ratio": round(ours / ready, 2), "influx_rows_per_s": round(ours)}


def _postgres(folder, store, seconds):
    place = folder / "postgres"
    place.mkdir()
    server = servers.Postgres(place)
    server.start()
    try:
        row = {"type": "postgresql", "url": server.url, "schema": "ours"}
        ours = _rate(_export(folder, row), store, folder)
        ready = _copy(_export(folder, row | {"schema": "ready"}), store, server)
        ingest = _ingest(server.url, seconds)
    finally:
        server.remove()
    return {
        "postgres_ratio": round(ours / ready, 2),
        "postgres_rows_per_s": round(ours),
        "ingest_postgres_records_per_s": round(ingest),
    }


def _copy(export, store, server):
    """Rows/s of COPY from a ready file into an empty table of the same shape."""
    export.connector.open()
    export.connector.close()
    text = io.StringIO(newline="")
    rows = postgresql.history_rows(_samples(export, store))
    csv.writer(text).writerows(rows)
    file = text.getvalue().encode()
    started = time.perf_counter()
    with psycopg.connect(server.url) as db, db.cursor() as cursor, cursor.copy(_COPY) as copy:
        for at in range(0, len(file), 1 << 20):
            copy.write(file[at : at + (1 << 20)])
    seconds = time.perf_counter() - started
    if server.query("SELECT count(*) FROM ready.oc_history") != [(len(rows),)]:
        raise RuntimeError("rows are missing")
    return len(rows) / seconds


def _ingest(place, seconds):
    with (
        tempfile.TemporaryDirectory(prefix="fieldpost-ingest-") as folder,
        servers.Mosquitto(folder) as broker,
        open_store(place, create=True) as store,
    ):
        return bench_collect.ingest_records_per_s(broker.host, broker.port, store, seconds)


def _backfill_memory(folder, rows):
    """MiB of a process that backfills so many rows, and what of it is more than for none."""
    fill(folder / "none.db", 0).close()
    fill(folder / "many.db", rows).close()
    peaks = []
    for name in ("none", "many"):
        command = [sys.executable, __file__, "backfill", str(folder), name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
    none, many = (peak / 1024 for peak in peaks)
    return {
        "backfill_memory_mib": round(many, 1),
        "backfill_growth_mib": round(many - none, 1),
        "backfill_rows": rows,
    }


def _backfill(folder, name):
    """Backfill one store into CSV; prints the peak of resident memory in KiB."""
    export = _export(folder, {"type": "csv", "path": f"backfill-{name}"})
    with Store(folder / f"{name}.db") as store, States(folder / f"{name}.state") as states:
        job = Backfill(export, store, states, query.EVERYTHING)
        job = job.run(threading.Event(), lambda job: None)
    if job.rows != job.total or job.state != "done":
        raise RuntimeError(str(job))
    # Not that of getrusage, which begins with what the parent had.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    if sys.argv[1:2] == ["backfill"]:
        _backfill(Path(sys.argv[2]), sys.argv[3])
    else:
        for key, value in measure().items():
            print(key, f"{value:,}")
        print("load", os.getloadavg()[0])
