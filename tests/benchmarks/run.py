"""Measures every figure that README states: a table on the terminal, and bench.json.

::

    python tests/benchmarks/run.py                          all, about ten minutes
    python tests/benchmarks/run.py --only heap --only ring  some; bench.json stays as it is

The goals are those of the design. Speeds are ratios against a baseline of the same run, because
machines differ; on a busy machine they and the jitter mean nothing.
"""

import argparse
import json
import operator
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("sdk", "host_tools", "tests")]

import bench_collect  # noqa: E402 - found by the line above
import bench_delivery  # noqa: E402
import bench_export  # noqa: E402
import bench_heap  # noqa: E402
import bench_jitter  # noqa: E402
import bench_log  # noqa: E402
import bench_ring  # noqa: E402
import bench_storm  # noqa: E402
import bench_webhook  # noqa: E402
import rig  # noqa: E402

import servers  # noqa: E402

OUTPUT = ROOT / "bench.json"
COLLECT_SECONDS = 5

AT_LEAST, AT_MOST = operator.ge, operator.le
SIGNS = {AT_LEAST: "≥", AT_MOST: "≤"}
#: Every figure: its unit, and its goal where there is one.
FIGURES = {
    "acked_json_ratio": ("× umqtt.simple", AT_LEAST, 700),
    "acked_packed_ratio": ("× umqtt.simple", AT_LEAST, 2500),
    "messages_ratio": ("× umqtt.simple", AT_LEAST, 15),
    "ring_bytes_per_record": ("bytes", AT_MOST, 12),
    "append_alloc_bytes": ("bytes", AT_MOST, 0),
    "flash_write_amplification": ("bytes/byte", AT_MOST, 1.3),
    "flash_erases_per_kib": ("blocks/KiB", None, None),
    "log_open_ms_per_mib": ("ms/MiB", None, None),
    "log_append_per_s": ("records/s", None, None),
    "drain_records_per_s": ("records/s", None, None),
    "heap_minimal_mpy_kib": ("KiB", AT_MOST, 24),
    "heap_all_mpy_kib": ("KiB", AT_MOST, 60),
    "heap_minimal_romfs_kib": ("KiB", AT_MOST, 12),
    "heap_all_romfs_kib": ("KiB", AT_MOST, 28),
    "sampling_jitter_p99_ms": ("ms", AT_MOST, 20),
    "collector_records_per_s": ("records/s", None, None),
    "postgres_ratio": ("× COPY", AT_LEAST, 0.5),
    "influx_ratio": ("× ready lines", AT_LEAST, 0.7),
    "csv_rows_per_s": ("rows/s", None, None),
    "parquet_rows_per_s": ("rows/s", None, None),
    "ingest_records_per_s": ("records/s", AT_LEAST, 20_000),
    "ingest_postgres_records_per_s": ("records/s", None, None),
    "backfill_memory_mib": ("MiB", AT_MOST, 150),
    "webhook_deliveries_ratio": ("× requests", None, None),
    "webhook_deliveries_tls_ratio": ("× requests", None, None),
    "webhook_heap_kib": ("KiB", None, None),
    "webhook_heap_mpy_kib": ("KiB", None, None),
    "webhook_storm_heap_kib": ("KiB", AT_MOST, 64),
    "webhook_storm_jitter_p99_ms": ("ms", None, None),
}


def collect(seconds=COLLECT_SECONDS):
    """Records/s that the collector commits and acknowledges, with a broker of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="fieldpost-collect-") as folder,
        servers.Mosquitto(folder) as broker,
    ):
        rate = bench_collect.collector_records_per_s(broker.host, broker.port, seconds)
    return {"collector_records_per_s": round(rate)}


BENCHMARKS = {
    "ring": bench_ring.measure,
    "log": bench_log.measure,
    "heap": bench_heap.measure,
    "delivery": bench_delivery.measure,
    "jitter": bench_jitter.measure,
    "collect": collect,
    "export": bench_export.measure,
    "webhook": bench_webhook.measure,
    "storm": bench_storm.measure,
}


def table(results):
    """Lines: figure, measured, goal, reached; of the figures that are in ``results``."""
    rows = [("figure", "measured", "goal", "reached")]
    for name, (unit, compare, goal) in FIGURES.items():
        if name in results:
            wanted = f"{SIGNS[compare]} {goal:,}" if compare else "–"
            reached = ("yes" if compare(results[name], goal) else "no") if compare else "–"
            rows.append((name, f"{results[name]:,} {unit}", wanted, reached))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(cell.ljust(width) for cell, width in cells).rstrip()


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="measure only this")
    chosen = parser.parse_args(arguments).only or BENCHMARKS
    results = {"machine": rig.versions() | {"load_before": os.getloadavg()[0]}}
    for name in chosen:
        print(f"measuring: {name}", file=sys.stderr)
        results |= BENCHMARKS[name]()
    print("\n".join(table(results)))
    if set(FIGURES) <= set(results):
        OUTPUT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"written: {OUTPUT.name}", file=sys.stderr)
    else:
        raw = {key: results[key] for key in results if key not in FIGURES}
        print(json.dumps(raw, indent=1))


if __name__ == "__main__":
    main()
