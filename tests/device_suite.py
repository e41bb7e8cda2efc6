"""Host side of the device test suite: compile to .mpy, run a module on MicroPython, read results.

The interpreters are the 64-bit unix port (``micropython`` from the virtual environment) and the
32-bit WebAssembly build, an npm package run by node.
"""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from fieldpost_tools.build import build_mpy

ROOT = Path(__file__).resolve().parents[1]
SDK = ROOT / "sdk"
FIRMWARE = ROOT / "firmware"
TESTS = ROOT / "tests" / "device"
WASM_PACKAGE = "@micropython/micropython-webassembly-pyscript"
#: What the WebAssembly build and CPython lack; a test module that names one of these in NEEDS is
#: left out there.
WASM_LACKS = {"socket", "ssl", "machine", "littlefs"}
CPYTHON_LACKS = {"littlefs"}
#: Heap of the unix port, unless a test module has a line ``HEAP = "4m"`` or the like.
HEAP = "256k"
MARK = "#result "


def build(target, umqtt):
    """The folder a board would have: sdk, firmware, umqtt and the device tests, compiled with
    asserts.

    Raises ``fieldpost_tools.build.BuildError``.
    """
    packages = (SDK / "fieldpost", FIRMWARE / "fieldpost_board", Path(umqtt, "umqtt"))
    build_mpy(target, *packages, FIRMWARE / "slots.py", *sorted(TESTS.glob("*.py")))
    return target


def modules(lacks=()):
    """Names of the device test modules that need none of ``lacks`` (their ``NEEDS`` line)."""
    found = [path.stem for path in sorted(TESTS.glob("test_*.py"))]
    return [name for name in found if not set(_constant(name, "NEEDS", "").split()) & set(lacks)]


def heap(module):
    """The heap that a test module wants on the unix port."""
    return _constant(module, "HEAP", HEAP)


def _constant(module, name, default):
    """A constant of a test module, which this interpreter may not be able to import."""
    text = TESTS.joinpath(module + ".py").read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    return default


def wasm_command():
    """``(node, package folder)`` of the 32-bit build, or None where either is missing."""
    beside = Path(sys.executable).parent
    node = shutil.which("node", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    folder = Path(sys.prefix, "node_modules", WASM_PACKAGE)
    return (node, folder) if node and folder.is_dir() else None


@dataclass
class Outcome:
    """What one module printed: a dict per test, the closing dict (empty if it never came)."""

    tests: list = field(default_factory=list)
    end: dict = field(default_factory=dict)
    text: str = ""

    def problem(self):
        """Readable text of everything that went wrong, or an empty string."""
        parts = [
            f"{one['test']}\n{_with_source(one['error'])}" for one in self.tests if one["error"]
        ]
        if not self.end:
            parts.append("it ended before its last test")
        elif not self.tests:
            parts.append("it has no test")
        return "\n".join(parts) + f"\n--- output ---\n{self.text[-4000:]}" if parts else ""


def run_unix(executable, folder, module, heap, timeout_s, cwd):
    """Run a module on the unix port with a heap such as ``"256k"``; its Outcome."""
    command = [executable, "-X", f"heapsize={heap}", "-m", "runner", module]
    return _run(command, timeout_s, cwd, MICROPYPATH=f"{folder}:.frozen")


def run_wasm(wasm, folder, module, timeout_s, cwd):
    """Run a module on the 32-bit build; its Outcome."""
    node, package = wasm
    command = [node, TESTS / "runner.mjs", package, folder, module]
    return _run(command, timeout_s, cwd)


def _run(command, timeout_s, cwd, **environment):
    environment = {**os.environ, **environment}
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output = process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        _kill(process)
        output = process.communicate()[0] + f"\nkilled after {timeout_s} s"
    finally:
        _kill(process)
    return _read(output)


def _kill(process):
    """End what still runs, with its children: a node from a wheel is one of a script."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _read(output):
    outcome = Outcome()
    other = []
    for line in output.splitlines():
        if not line.startswith(MARK):
            other.append(line)
            continue
        result = json.loads(line[len(MARK) :])
        if "test" in result:
            outcome.tests.append(result)
        else:
            outcome.end = result
    outcome.text = "\n".join(other)
    return outcome


def _with_source(trace):
    """The traceback with the text of each line that stands in the tree."""
    shown = []
    for line in trace.rstrip().splitlines():
        shown.append(line)
        if line.startswith('  File "'):
            name, number = line.split('"')[1], line.split("line ")[1].split(",")[0]
            for path in (SDK / name, TESTS / name):
                if path.is_file():
                    source = path.read_text(encoding="utf-8").splitlines()[int(number) - 1]
                    shown.append(f"    {source.strip()}")
    return "\n".join(shown)
