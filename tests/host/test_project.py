"""The project as a whole: versions, the wheel, what may stand in its files."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import device_suite
import fieldpost
import fieldpost_tools
from fieldpost_tools import data
from fieldpost_tools.build import build_mpy

ROOT = device_suite.ROOT
DEVICE_FOLDERS = ("sdk", "firmware", "tests/device")
DEVICE_FILES = [
    *(path for name in DEVICE_FOLDERS for path in sorted((ROOT / name).rglob("*.py"))),
    ROOT / "host_tools/fieldpost_tools/sim/machine.py",
]
WHEEL_INPUT = ("sdk", "host_tools", "boards", "firmware")
WHEEL_FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


def run(*command, **options):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def tracked_files():
    """Files of the tree that are, or could be, committed."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()]


def relative_files(folder):
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(name) for name in names if "__pycache__" not in name.parts)


def test_versions_agree():
    version = fieldpost.__version__
    assert fieldpost_tools.__version__ == version
    assert run(sys.executable, "setup.py", "--version", cwd=ROOT).splitlines()[-1] == version
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d\S*)\]", changelog, re.MULTILINE)[0] == version
    package = (ROOT / "firmware" / "package.json").read_text(encoding="utf-8")
    assert json.loads(package)["version"] == version
    manifest = (ROOT / "firmware" / "manifest.py").read_text(encoding="utf-8")
    assert re.findall(r'^metadata\(version="(.+?)"', manifest, re.MULTILINE) == [version]


@pytest.mark.parametrize("path", DEVICE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_device_file_compiles(path, tmp_path):
    assert build_mpy(tmp_path, path)


def test_no_file_names_a_registry_or_a_folder_of_this_machine():
    # Joined here so that this file passes its own test.
    sites = (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"))
    unwanted = [str(ROOT), *(".".join(site) for site in (*sites, ("debian", "org")))]
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not [word for word in unwanted if word in text], path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the tree, built from a copy so that nothing of an older build gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    skip = shutil.ignore_patterns("__pycache__", "*.mpy", "*.egg-info")
    for name in WHEEL_INPUT:
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    for name in WHEEL_FILES:
        shutil.copy(ROOT / name, source)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "-w", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, source)
    (built,) = folder.glob("fieldpost-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """``bin`` folder of a fresh environment outside the tree that has the wheel, and the
    dependencies from where the tests run."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "--no-deps", "--no-index", "--quiet", wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.fixture
def outside(tmp_path):
    """Options of a process that sees nothing of the tree."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {"cwd": tmp_path, "env": environment}


def test_wheel_command_tells_the_version(installed, outside):
    assert fieldpost.__version__ in run(installed / "fieldpost", "--version", **outside)


@pytest.mark.parametrize("name", ["boards", "firmware", "sdk"])
def test_wheel_finds_its_data(name, installed, outside):
    code = f"from fieldpost_tools import data; print(data.{name}_folder())"
    found = Path(run(installed / "python", "-c", code, **outside))
    here = getattr(data, f"{name}_folder")()
    assert ROOT in here.parents
    assert installed.parent in found.parents
    assert relative_files(found) == relative_files(here) != []


def test_wheel_has_every_file_of_the_host_package(installed):
    (found,) = installed.parent.glob("lib/python*/site-packages/fieldpost_tools")
    files = [name for name in relative_files(found) if not name.startswith("_data/")]
    assert files == relative_files(ROOT / "host_tools" / "fieldpost_tools")
