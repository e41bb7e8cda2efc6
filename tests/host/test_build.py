"""Device files become .mpy below a lib folder; umqtt.simple is fetched once and checked."""

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pypi_simple
import pytest
import requests

from fieldpost_tools import build, umqtt
from fieldpost_tools.release import Release


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache of its own, so that nothing is compiled already."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FIELDPOST_CACHE", str(folder))
    return folder


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "pkg"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text(
        "def f():\n    assert 0, 'asserted'\n    raise ValueError('here')\n"
    )
    (folder / "sub" / "b.py").write_text("x = 5\n")
    (folder / "note.txt").write_text("not for the board")
    return folder


def tree(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def compilations(monkeypatch):
    names = []
    run = subprocess.run

    def count(command, **options):
        names.append(command[3])
        return run(command, **options)

    monkeypatch.setattr(build.subprocess, "run", count)
    return names


def test_packages_and_single_files_land_below_the_folder(package, tmp_path):
    single = tmp_path / "one.py"
    single.write_text("y = 6\n")
    dest = tmp_path / "lib"
    made = build.build_mpy(dest, package, single)
    assert [str(path.relative_to(dest)) for path in made] == [
        "one.mpy",
        "pkg/__init__.mpy",
        "pkg/a.mpy",
        "pkg/sub/b.mpy",
    ]
    assert tree(dest) == {str(path.relative_to(dest)) for path in made}


def test_unchanged_files_are_neither_compiled_nor_written(package, tmp_path, monkeypatch):
    compiled = compilations(monkeypatch)
    dest = tmp_path / "lib"
    made = build.build_mpy(dest, package)
    assert compiled == ["pkg/__init__.py", "pkg/a.py", "pkg/sub/b.py"]
    before = [path.stat().st_mtime_ns for path in made]
    build.build_mpy(dest, package)
    assert [path.stat().st_mtime_ns for path in made] == before
    build.build_mpy(tmp_path / "other", package)
    assert len(compiled) == 3
    (package / "sub" / "b.py").write_text("x = 6\n")
    old = (dest / "pkg/sub/b.mpy").read_bytes()
    build.build_mpy(dest, package)
    assert compiled[3:] == ["pkg/sub/b.py"]
    assert (dest / "pkg/sub/b.mpy").read_bytes() != old
    build.build_mpy(dest, package, optimize=3)
    assert len(compiled) == 7


def test_what_the_package_no_longer_has_is_removed(package, tmp_path):
    dest = tmp_path / "lib"
    build.build_mpy(dest, package)
    (dest / "pkg" / "a.py").write_text("MicroPython would take this one")
    (dest / "pkg" / "data.json").write_text("{}")
    (dest / "other.py").write_text("not ours")
    (package / "sub" / "b.py").unlink()
    build.build_mpy(dest, package)
    assert tree(dest) == {"other.py", "pkg/__init__.mpy", "pkg/a.mpy", "pkg/data.json"}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1\ndef f(:\n", "pkg/bad.py:2: SyntaxError: invalid syntax"),
        ("x = 1\n\nreturn 2\n", "pkg/bad.py:3: SyntaxError: 'return' outside function"),
    ],
)
def test_a_file_that_does_not_compile_is_named_with_its_line(package, tmp_path, source, problem):
    (package / "bad.py").write_text(source)
    with pytest.raises(build.BuildError) as caught:
        build.build_mpy(tmp_path / "lib", package)
    assert str(caught.value) == problem
    assert not (tmp_path / "lib" / "pkg" / "bad.mpy").exists()


def test_the_cache_stays_bounded(package, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(build, "CACHE_FILES", 20)
    for i in range(30):
        (package / "a.py").write_text(f"x = {i}\n")
        build.build_mpy(tmp_path / "lib", package)
    assert 10 <= len(list(cache.rglob("*.mpy"))) <= 20
    assert not list(cache.rglob("*.new"))


def lines(micropython, dest, code):
    done = subprocess.run(
        [micropython, "-c", code],
        env={**os.environ, "MICROPYPATH": str(dest)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout + done.stderr


def test_micropython_runs_what_was_built(package, tmp_path, micropython):
    dest = tmp_path / "lib"
    build.build_mpy(dest, package)
    assert lines(micropython, dest, "import pkg.sub.b as b; print(b.x)") == "5\n"
    asserted = lines(micropython, dest, "import pkg.a; pkg.a.f()")
    assert 'File "pkg/a.py", line 2, in f\nAssertionError: asserted' in asserted
    build.build_mpy(dest, package, optimize=3)
    assert "ValueError: here" in lines(micropython, dest, "import pkg.a; pkg.a.f()")


def test_install_makes_the_flash_of_a_node(tmp_path, monkeypatch, umqtt_path):
    monkeypatch.setattr(umqtt, "ensure", lambda: Path(umqtt_path))
    flash = tmp_path / "flash"
    build.install(flash, {"node": "süd"})
    files = tree(flash)
    assert {"boot.py", "main.py", "slots.py", "config.json", "a/umqtt/simple.mpy"} <= files
    assert {"a/fieldpost/node.mpy", "a/fieldpost_board/run.mpy"} <= files
    assert Release.load(flash / "a").sha256 == Release.build().sha256
    assert (flash / "config.json").read_text(encoding="utf-8") == '{"node": "süd"}'
    before = {path: path.stat().st_mtime_ns for path in flash.rglob("*") if path.is_file()}
    build.install(flash)
    assert {path: path.stat().st_mtime_ns for path in before} == before


# umqtt.simple


class Index:
    """A package index that serves one file."""

    def __init__(self, content=b"", name=umqtt.SDIST, problem=None):
        self.content, self.name, self.problem = content, name, problem
        self.downloads = 0

    def __call__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def get_project_page(self, _project, timeout):
        if self.problem:
            raise self.problem
        return type("Page", (), {"packages": [type("File", (), {"filename": self.name})]})

    def download_package(self, _package, target, verify, timeout):
        self.downloads += 1
        target.write_bytes(self.content)


def sdist(tmp_path, text):
    import tarfile

    module = tmp_path / "simple.py"
    module.write_text(text)
    archive = tmp_path / "sdist.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(module, f"{umqtt.PROJECT}-{umqtt.VERSION}/{umqtt.MODULE}")
    return archive.read_bytes()


@pytest.fixture
def index(tmp_path, monkeypatch):
    content = sdist(tmp_path, "class MQTTClient: pass\n")
    monkeypatch.setattr(umqtt, "SHA256", hashlib.sha256(content).hexdigest())
    index = Index(content)
    monkeypatch.setattr(pypi_simple, "PyPISimple", index)
    return index


def test_umqtt_is_downloaded_once(index, cache):
    folder = umqtt.ensure()
    assert cache in folder.parents
    assert (folder / "umqtt" / "simple.py").read_text() == "class MQTTClient: pass\n"
    assert umqtt.ensure() == folder
    assert index.downloads == 1
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_umqtt_by_several_at_once(index, cache):
    found = []
    threads = [threading.Thread(target=lambda: found.append(umqtt.ensure())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in cache.iterdir()] == [found[0].name]


@pytest.mark.parametrize(
    ("index_options", "problem"),
    [
        ({"content": b"something else"}, "has SHA-256"),
        ({"name": "umqtt-9.tar.gz"}, "cannot download .* unpack it to"),
        ({"problem": requests.ConnectionError("no route")}, r"\(ConnectionError\): connect once"),
    ],
)
def test_umqtt_that_cannot_be_had(index, cache, monkeypatch, index_options, problem):
    monkeypatch.setattr(pypi_simple, "PyPISimple", Index(**index_options))
    with pytest.raises(umqtt.DownloadError, match=problem) as caught:
        umqtt.ensure()
    assert "\n" not in str(caught.value)
    assert not list(cache.iterdir())


def test_umqtt_without_the_downloader(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypi_simple", None)
    with pytest.raises(umqtt.DownloadError, match=r"pip install fieldpost\[sim\]"):
        umqtt.ensure()


def test_cache_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("FIELDPOST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert umqtt.cache_folder() == tmp_path / "xdg" / "fieldpost"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert umqtt.cache_folder() == tmp_path / ".cache" / "fieldpost"
