"""``firmware/package.json`` by the real ``mip``; ``firmware/manifest.py`` freezes the same."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import device_suite
from fieldpost import __version__
from fieldpost_tools import mip

ROOT = device_suite.ROOT
PACKAGE = ROOT / "firmware" / "package.json"
MANIFEST = ROOT / "firmware" / "manifest.py"

INSTALL = """
import mip, sys
mip.install(sys.argv[1] + "/firmware/package.json", index=sys.argv[1] + "/index", target="lib")
"""
IMPORT = """
import sys
sys.path[:] = ["lib", ".frozen"]
import fieldpost.node, fieldpost.drivers.modbus, fieldpost_board.run, slots, umqtt.simple
for module in (fieldpost.node, fieldpost_board.run, slots, umqtt.simple):
    print(module.__file__)
print(fieldpost.__version__)
"""


def test_package_json_is_up_to_date():
    remedy = "python -m fieldpost_tools.mip > firmware/package.json"
    assert PACKAGE.read_text(encoding="utf-8") == mip.text(), remedy
    assert json.loads(mip.text()) == mip.package()


def test_the_command_prints_it():
    command = [sys.executable, "-m", "fieldpost_tools.mip"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == mip.text()


@pytest.fixture
def site(tmp_path, umqtt_path):
    """Address of a web server with the checkout, and with an index that has umqtt.simple."""
    content = Path(umqtt_path, "umqtt", "simple.py").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8]
    row = {"v": 1, "version": "1", "hashes": [["umqtt/simple.py", digest]], "deps": []}
    folder = tmp_path / "index"
    for kind in ("6", "py"):  # the version of .mpy files that a MicroPython asks for
        listed = folder / "package" / kind / "umqtt.simple" / "latest.json"
        listed.parent.mkdir(parents=True)
        listed.write_text(json.dumps(row))
    (folder / "file" / digest[:2]).mkdir(parents=True)
    (folder / "file" / digest[:2] / digest).write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            self.directory = str(tmp_path if path.startswith("/index/") else ROOT)
            return super().translate_path(path)

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_mip_installs_a_node_that_imports(site, micropython, tmp_path):
    board = tmp_path / "board"
    board.mkdir()

    def run(code, *arguments):
        command = [micropython, "-X", "heapsize=4m", "-c", code, *arguments]
        options = {"cwd": board, "capture_output": True, "text": True, "check": False}
        done = subprocess.run(command, **options, timeout=60)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        return done.stdout.split()

    assert run(INSTALL, site)[-1] == "Done"
    installed = {str(path.relative_to(board / "lib")) for path in (board / "lib").rglob("*.py")}
    assert installed == {name for name, _ in mip.package()["urls"]} | {"umqtt/simple.py"}
    assert run(IMPORT) == [
        "lib/fieldpost/node.py",
        "lib/fieldpost_board/run.py",
        "lib/slots.py",
        "lib/umqtt/simple.py",
        __version__,
    ]


class Manifest:
    """Stands in for MicroPython's manifestfile: the same names, collecting what they get."""

    def __init__(self, folder):
        self.folder = folder
        self.files, self.included, self.required = {}, [], []
        self.values = {}
        self.version = None

    def run(self, path, **options):
        self.values = options
        names = ("metadata", "include", "require", "package", "module")
        functions = {name: getattr(self, name) for name in names}
        exec(path.read_text(encoding="utf-8"), {**functions, "options": self})

    def metadata(self, version, **_others):
        self.version = version

    def defaults(self, **values):
        self.values = {**values, **self.values}

    def __getattr__(self, name):
        return self.values[name]

    def include(self, path):
        self.included.append(path)

    def require(self, name):
        self.required.append(name)

    def package(self, name, base_path="."):
        base = self.folder / base_path
        found = [path for path in (base / name).rglob("*.py") if path.is_file()]
        assert found, f"package {name} is empty"
        self.files.update({path.relative_to(base).as_posix(): path for path in found})

    def module(self, name, base_path="."):
        self.files[name] = self.folder / base_path / name
        assert self.files[name].is_file()


def test_manifest_freezes_what_mip_installs():
    made = Manifest(MANIFEST.parent)
    made.run(MANIFEST)
    assert made.version == __version__
    assert made.required == ["umqtt.simple"]
    assert made.included == ["$(PORT_DIR)/boards/manifest.py"]
    sources = {name: (MANIFEST.parent / url).resolve() for name, url in mip.package()["urls"]}
    assert {name: path.resolve() for name, path in made.files.items()} == sources


def test_manifest_takes_the_manifest_of_a_board():
    made = Manifest(MANIFEST.parent)
    made.run(MANIFEST, base="$(BOARD_DIR)/manifest.py")
    assert made.included == ["$(BOARD_DIR)/manifest.py"]
