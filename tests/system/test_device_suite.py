"""The device tests, compiled, on real MicroPython: 64 bit (unix port) and 32 bit (WebAssembly)."""

import sys

import pytest

import device_suite

TIMEOUT_S = 120


def check(outcome):
    sys.stdout.write(outcome.text)
    if outcome.problem():
        pytest.fail(outcome.problem(), pytrace=False)


@pytest.mark.parametrize("module", device_suite.modules())
def test_on_micropython(module, micropython, compiled, tmp_path):
    heap = device_suite.heap(module)
    check(device_suite.run_unix(micropython, compiled, module, heap, TIMEOUT_S, tmp_path))


@pytest.mark.parametrize("module", device_suite.modules(lacks=device_suite.WASM_LACKS))
def test_on_32_bit(module, wasm, compiled, tmp_path):
    check(device_suite.run_wasm(wasm, compiled, module, TIMEOUT_S, tmp_path))
