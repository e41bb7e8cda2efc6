"""Credentials are made once, kept where only their owner reads them, and never in a repository."""

import stat
import subprocess
import threading
from pathlib import Path

import pytest

from fieldpost_tools import credentials
from fieldpost_tools.credentials import CredentialsError


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    folder = tmp_path / "keys"
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(folder))
    return folder


def files(folder):
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_they_are_made_once_and_only_their_owner_reads_them(place):
    assert set(credentials.ensure("gw-1")) == {"fleet_key", "mqtt_password", "api_secret"}
    assert set(credentials.ensure("gw-2")) == {"mqtt_password", "api_secret"}
    made = files(place)
    assert sorted(made) == [
        "fleet_key",
        "nodes/gw-1/api_secret",
        "nodes/gw-1/mqtt_password",
        "nodes/gw-2/api_secret",
        "nodes/gw-2/mqtt_password",
    ]
    texts = [path.read_text() for path in made.values()]
    assert len(set(texts)) == 5
    assert all(16 <= len(text) <= 63 and text.isascii() for text in texts)
    assert {mode(path) for path in made.values()} == {0o600}
    assert {mode(path) for path in (place, place / "nodes", place / "nodes/gw-1")} == {0o700}
    assert credentials.ensure("gw-1") == []
    assert [path.read_text() for path in made.values()] == texts


def test_references_lead_to_them(place):
    credentials.ensure("gw-1")
    found = credentials.references("gw-1")
    assert set(found) == {"fleet_key", "mqtt_password", "api_secret"}
    for reference in found.values():
        assert len(Path(reference.removeprefix("file:")).read_text()) > 30


@pytest.mark.parametrize("below", ["keys", "deep/er/keys"])
def test_a_git_work_tree_is_no_place(monkeypatch, tmp_path, below):
    subprocess.run(["git", "init", "-q", tmp_path / "repository"], check=True)
    folder = tmp_path / "repository" / below
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(folder))
    with pytest.raises(CredentialsError, match="inside the git work tree"):
        credentials.ensure("gw-1")
    assert not folder.exists()
    link = tmp_path / "link"
    (tmp_path / "repository" / "inside").mkdir()
    link.symlink_to(tmp_path / "repository" / "inside")
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(link / below))
    with pytest.raises(CredentialsError, match="inside the git work tree"):
        credentials.ensure("gw-1")


@pytest.mark.parametrize("name", [".", "fleet_key", "nodes/gw-1/api_secret"])
def test_what_others_can_read_is_refused(place, name):
    credentials.ensure("gw-1")
    path = place / name
    path.chmod(0o755 if path.is_dir() else 0o644)
    with pytest.raises(CredentialsError, match="open to others: chmod"):
        credentials.ensure("gw-1")


def test_several_at_once_agree_on_the_fleet_key(place):
    def ensure(number):
        made.extend(credentials.ensure(f"gw-{number}"))

    made = []
    threads = [threading.Thread(target=ensure, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.count("fleet_key") == 1
    assert len(files(place)) == 17


def test_the_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("FIELDPOST_CREDENTIALS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert credentials.folder() == tmp_path / "xdg" / "fieldpost" / "credentials"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert credentials.folder() == tmp_path / ".config" / "fieldpost" / "credentials"


def test_a_folder_that_cannot_be_made_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(tmp_path / "file" / "keys"))
    with pytest.raises(CredentialsError, match="not a directory"):
        credentials.ensure("gw-1")
