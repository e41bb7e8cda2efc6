"""Every benchmark runs, for a moment, and returns figures that are numbers of the right kind."""

import json
import socket
import sys
import time

import pytest

import device_suite
import servers

sys.path.append(str(device_suite.ROOT / "tests" / "benchmarks"))

import bench_delivery
import bench_export
import bench_heap
import bench_jitter
import bench_log
import bench_ring
import bench_storm
import bench_webhook
import rig
import run

README = device_suite.ROOT / "README.md"
FAST = {
    "ring": bench_ring.measure,
    "log": lambda: bench_log.measure(blocks=48),
    "heap": bench_heap.measure,
    "delivery": lambda: bench_delivery.measure(seconds=1, rounds=1),
    "jitter": lambda: bench_jitter.measure(seconds=1),
    "collect": lambda: run.collect(seconds=1),
    "export": lambda: bench_export.measure(seconds=1, rows=20_000, backfill_rows=20_000),
    "webhook": lambda: bench_webhook.measure(seconds=0.5, rounds=1),
    "storm": lambda: bench_storm.measure(events=1000, seconds=1),
}
OWNER = {
    "acked_json_ratio": "delivery",
    "acked_packed_ratio": "delivery",
    "messages_ratio": "delivery",
    "ring_bytes_per_record": "ring",
    "append_alloc_bytes": "ring",
    "flash_write_amplification": "log",
    "flash_erases_per_kib": "log",
    "log_open_ms_per_mib": "log",
    "log_append_per_s": "log",
    "drain_records_per_s": "log",
    "heap_minimal_mpy_kib": "heap",
    "heap_all_mpy_kib": "heap",
    "heap_minimal_romfs_kib": "heap",
    "heap_all_romfs_kib": "heap",
    "sampling_jitter_p99_ms": "jitter",
    "collector_records_per_s": "collect",
    "postgres_ratio": "export",
    "influx_ratio": "export",
    "csv_rows_per_s": "export",
    "parquet_rows_per_s": "export",
    "ingest_records_per_s": "export",
    "ingest_postgres_records_per_s": "export",
    "backfill_memory_mib": "export",
    "webhook_deliveries_ratio": "webhook",
    "webhook_deliveries_tls_ratio": "webhook",
    "webhook_heap_kib": "webhook",
    "webhook_heap_mpy_kib": "webhook",
    "webhook_storm_heap_kib": "storm",
    "webhook_storm_jitter_p99_ms": "storm",
}


def test_the_figures_are_those_that_are_asked_for():
    assert set(run.FIGURES) == set(OWNER)
    assert set(run.BENCHMARKS) == set(FAST) == set(OWNER.values())


@pytest.mark.parametrize("name", FAST)
def test_benchmark_returns_its_figures(name, wasm, micropython):
    servers.program("mosquitto", "mosquitto")
    results = json.loads(json.dumps(FAST[name]()))
    own = {figure for figure, owner in OWNER.items() if owner == name}
    assert own == set(run.FIGURES) & set(results)
    for figure in own:
        assert isinstance(results[figure], int | float)
        assert 0 <= results[figure] < 1e7
        assert results[figure] or figure == "append_alloc_bytes"


def test_the_proxy_delays_both_ways_and_keeps_the_order():
    with (
        socket.create_server((rig.HOST, 0)) as server,
        rig.distance(server.getsockname()[1], 30) as port,
    ):
        near = socket.create_connection((rig.HOST, port))
        far, _ = server.accept()
        with near, far:
            sent = b"".join(b"%6d" % n for n in range(5000))
            started = time.perf_counter()
            for at in range(0, len(sent), 100):
                near.sendall(sent[at : at + 100])
            assert _receive(far, len(sent)) == sent
            assert time.perf_counter() - started >= 0.03
            started = time.perf_counter()
            far.sendall(b"x")
            assert _receive(near, 1) == b"x"
            assert time.perf_counter() - started >= 0.03
            near.close()
            assert far.recv(1) == b""


def _receive(sock, count):
    sock.settimeout(10)
    data = b""
    while len(data) < count:
        data += sock.recv(65536)
    return data


def test_table_says_what_was_reached():
    lines = list(run.table({"messages_ratio": 15, "heap_all_mpy_kib": 60.5}))
    assert [line.split() for line in lines[1:]] == [
        ["messages_ratio", "15", "×", "umqtt.simple", "≥", "15", "yes"],
        ["heap_all_mpy_kib", "60.5", "KiB", "≤", "60", "no"],
    ]


def test_a_part_leaves_bench_json_alone(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "OUTPUT", tmp_path / "bench.json")
    monkeypatch.setitem(run.BENCHMARKS, "ring", lambda: {"append_alloc_bytes": 0})
    run.main(["--only", "ring"])
    assert "append_alloc_bytes" in capsys.readouterr().out
    assert not run.OUTPUT.exists()


def test_a_whole_run_writes_every_figure(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "OUTPUT", tmp_path / "bench.json")
    for name in run.BENCHMARKS:
        own = {figure: 1 for figure, owner in OWNER.items() if owner == name}
        monkeypatch.setitem(run.BENCHMARKS, name, lambda own=own: own)
    run.main([])
    assert set(OWNER) <= set(json.loads(run.OUTPUT.read_text()))


def test_readme_names_every_figure():
    text = README.read_text(encoding="utf-8")
    assert not [figure for figure in run.FIGURES if figure not in text]
