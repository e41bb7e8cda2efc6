"""docs/exports.md: its file loads, its keys are those of the code, its connector works."""

import re
from pathlib import Path

import pytest

from export_kit import export, flush, make_store
from fieldpost_tools.export import connector as connectors
from fieldpost_tools.export import settings
from fieldpost_tools.export.pipeline import Exporter
from fieldpost_tools.export.state import States

TEXT = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")


def block(language):
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


def test_the_file_of_the_page_is_valid(tmp_path, monkeypatch):
    for name in ("PLANT_PASSWORD", "INFLUX_TOKEN"):
        monkeypatch.setenv(name, "x")
    path = tmp_path / "exports.toml"
    path.write_text(block("toml"), encoding="utf-8")
    exports = settings.load(path)
    assert [one.name for one in exports.exports] == ["history", "grafana", "archive"]
    assert exports.exports[0].connector._parameters["sslmode"] == "verify-full"


def test_every_key_and_type_is_named():
    keys = set(settings.CONNECTOR) - {"name", "type"}
    for kind in connectors.names():
        assert f"`{kind}`" in TEXT
        keys |= set(connectors.find(kind).OPTIONS)
    assert [key for key in sorted(keys) if f"`{key}`" not in TEXT] == []


def test_the_connector_of_the_page_works_by_its_entry_point(tmp_path, monkeypatch):
    names = {}
    exec(block("python"), names)

    class Entry:
        name = "historian"

        def load(self):
            return names["Historian"]

    monkeypatch.setattr(connectors, "_entries", lambda: [Entry()])
    row = {"name": "h", "type": "historian", "limit": 5}
    made = settings.make(row, "connector[0]")
    assert "historian" in connectors.names()
    store = make_store(tmp_path / "a.db", flush(0, 10))
    with States(tmp_path / "s.db") as states:
        one = Exporter(export(made.connector, tmp_path, batch=6), store, states)
        one.step()
        with pytest.raises(connectors.Unavailable, match="full"):
            one.step()
        assert states.standing("h").mark == 6
    store.close()
