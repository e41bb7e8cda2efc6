"""docs/webhook_providers.md: the table has every provider, the one of one's own works."""

import re
import types

import pytest
import webhook_events as events

import device_suite
from fieldpost.webhook import file_sink

TEXT = (device_suite.ROOT / "docs" / "webhook_providers.md").read_text(encoding="utf-8")
FOLDER = device_suite.SDK / "fieldpost" / "webhook" / "providers"
(OWN,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def own():
    """The provider of the docs, as a module."""
    module = types.ModuleType("own")
    exec(compile(OWN, "own.py", "exec"), module.__dict__)
    return module


def test_every_provider_has_a_row():
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert sorted(rows) == sorted(
        path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"
    )


def test_ones_own_provider(own):
    assert len(OWN.splitlines()) <= 15
    endpoint = {"url": "https://wall.example/show", "options": {"room": "plant"}}
    made = own.render(events.alarm(), endpoint, events.Node)
    assert made == (
        "https://wall.example/show?room=plant",
        {"Content-Type": "text/plain; charset=utf-8"},
        b"WARNING too hot",
    )
    assert own.render(events.device("down"), endpoint, events.Node) is None
    for event in events.awkward():
        if event["event"].startswith("alarm_"):
            body = own.render(event, endpoint, events.Node)[2]
            assert len(body) <= 80
            body.decode()


def test_names_of_files():
    assert all(f"`{suffix}`" in TEXT for suffix in file_sink.SUFFIXES)
