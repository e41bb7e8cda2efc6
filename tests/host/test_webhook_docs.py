"""docs/webhook_providers.md: the table has every provider, the one of one's own works.
docs/webhooks.md: its endpoints are valid, every key is named, its program prints what it says."""

import json
import re
import subprocess
import sys
import types

import pytest
import webhook_events as events

import device_suite
from fieldpost.config import validate
from fieldpost.schema import SCHEMA
from fieldpost.webhook import file_sink

TEXT = (device_suite.ROOT / "docs" / "webhook_providers.md").read_text(encoding="utf-8")
FOLDER = device_suite.SDK / "fieldpost" / "webhook" / "providers"
GUIDE = (device_suite.ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
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


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return found


def test_the_endpoints_of_the_guide_are_valid():
    made = validate({"node": "gw-1", **json.loads(block("json"))})["webhooks"]["endpoints"]
    assert [row["name"] for row in made] == ["ops", "chat", "duty", "history", "audit"]


def test_the_guide_names_every_key():
    keys = {*SCHEMA["webhook"], *SCHEMA["webhook_rule"], *SCHEMA["webhook_filter"]}
    keys |= {key for key in SCHEMA["webhooks"] if key not in ("endpoints", "queue", "filters")}
    keys |= {f"queue.{key}" for key in SCHEMA["webhook_queue"]}
    keys |= {f"webhooks.{key}" for key in ("filters", "pause")}
    keys |= {f'"{key}"' for key in SCHEMA["webhook_tag"]}
    assert [
        key for key in sorted(keys) if key.strip('"') not in re.findall(r"[\w.]+", GUIDE)
    ] == []


def steady(text):
    """Output with the same times every time."""
    text = re.sub(r"\b\d{13}\b", "1790000100000", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-09-21T14:15:00.000Z", text)


def test_the_program_of_the_guide_prints_what_it_says(tmp_path, umqtt_path):
    path = [str(device_suite.SDK), umqtt_path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{block('python')}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert steady(done.stdout) == block("text")
