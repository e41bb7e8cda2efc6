"""docs/alarms.md: its configuration is valid, and it knows every type."""

import json
import re
from pathlib import Path

from fieldpost.config import validate
from fieldpost.rows import Row
from fieldpost.schema import SCHEMA

TEXT = (Path(__file__).parents[2] / "docs" / "alarms.md").read_text(encoding="utf-8")
POINTS = ("dat", "fan", "fan-cmd", "heating", "cooling")


def test_the_configuration_is_valid():
    (block,) = re.findall(r"^```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    device = {"id": "ahu-1", "driver": "virtual", "points": [{"name": name} for name in POINTS]}
    made = validate({"node": "gw", "devices": [device], **json.loads(block)})
    assert [row["id"] for row in made["alarms"]] == ["supply-hot", "fan-fails", "no-data"]


def test_every_type_is_there():
    for name in ("alarm", "fault"):
        for word in Row(SCHEMA[name]["type"]).words:
            (line,) = [
                row for row in TEXT.splitlines() if f"`{word}`" in row[:40] and row[0] == "|"
            ]
            assert ("(fault)" in line) == (name == "fault")
