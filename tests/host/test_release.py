"""A release is the compiled packages with their hashes; the minimal one leaves out whole parts."""

import ast
import hashlib
import json

import pytest

import device_suite
from fieldpost_tools import umqtt
from fieldpost_tools.release import OPTIONAL, File, Release, ReleaseError


@pytest.fixture(autouse=True)
def no_download(monkeypatch, umqtt_path):
    from pathlib import Path

    monkeypatch.setattr(umqtt, "ensure", lambda: Path(umqtt_path))


@pytest.fixture
def small():
    files = [File.of("umqtt/simple.mpy", b"M\x06\x00\x1f"), File.of("a/b.mpy", b"M\x06")]
    return Release("1.2.3", 6, files)


def test_the_manifest_names_every_file_by_hash_size_and_path(small):
    head, *lines = small.manifest.decode().splitlines()
    assert json.loads(head) == {"version": "1.2.3", "mpy": 6, "files": 2}
    assert lines == [
        f"{hashlib.sha256(b'M' + bytes([6])).hexdigest()} 2 a/b.mpy",
        f"{hashlib.sha256(bytes([77, 6, 0, 31])).hexdigest()} 4 umqtt/simple.mpy",
    ]
    assert small.manifest.endswith(b"\n")
    assert small.sha256 == hashlib.sha256(small.manifest).hexdigest()
    assert small.size == 6 + len(small.manifest)


def test_a_saved_release_is_loaded_as_it_was(small, tmp_path):
    small.save(tmp_path)
    loaded = Release.load(tmp_path)
    assert loaded.manifest == small.manifest
    assert loaded.files == small.files


@pytest.mark.parametrize("damage", ["content", "missing", "manifest", "size"])
def test_a_damaged_folder_is_no_release(small, tmp_path, damage):
    small.save(tmp_path)
    manifest = tmp_path / "release"
    if damage == "content":
        (tmp_path / "a/b.mpy").write_bytes(b"N\x06")
    elif damage == "missing":
        (tmp_path / "a/b.mpy").unlink()
    elif damage == "manifest":
        manifest.write_text("[]\n")
    else:
        manifest.write_text(manifest.read_text().replace(" 2 a/b", " 3 a/b"))
    with pytest.raises(ReleaseError):
        Release.load(tmp_path)


def test_build_compiles_sdk_and_umqtt():
    release = Release.build()
    paths = [file.path for file in release.files]
    assert paths == sorted(paths)
    assert {"fieldpost/node.mpy", "fieldpost/api/system.mpy", "umqtt/simple.mpy"} <= set(paths)
    assert release.mpy == 6
    assert all(file.content[:2] == b"M\x06" for file in release.files)
    assert Release.build(optimize=3).size < release.size
    assert release.sha256 == Release.build().sha256
    frozen = release.without("umqtt/")
    assert {file.path for file in release.files} - {file.path for file in frozen.files} == {
        "umqtt/simple.mpy"
    }


def test_sources_are_the_same_files_as_text():
    release = Release.sources()
    built = [file.path.replace(".mpy", ".py") for file in Release.build().files]
    assert [file.path for file in release.files] == built
    assert release.mpy is None


def top_level_imports(path):
    """Modules of the package that a file imports when it is imported itself."""
    parts = path.removesuffix(".py").split("/")
    tree = ast.parse((device_suite.SDK / path).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = "/".join([*parts[: -node.level], *(node.module or "").split(".")]).rstrip("/")
            yield base
            yield from (f"{base}/{alias.name}" for alias in node.names)


def test_what_is_left_out_is_a_part_that_nothing_else_needs_to_be_imported():
    minimal = {file.path for file in Release.sources(minimal=True).files}
    left_out = {file.path for file in Release.sources().files} - minimal
    assert "fieldpost/webhook/dispatcher.py" in left_out
    assert all(any(path.startswith(prefix) for path in left_out) for prefix in OPTIONAL)
    broken = {
        (path, module)
        for path in minimal
        if path.startswith("fieldpost/")
        for module in top_level_imports(path)
        if f"{module}.py" in left_out
    }
    assert not broken
