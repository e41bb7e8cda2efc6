"""docs/api.md says what the node's code says, with examples that a node has answered."""

from pathlib import Path

import pytest

from fieldpost.api.call import PART, READ, WRITE
from fieldpost.errors import ApiError, DriverError
from fieldpost_tools.apidoc import examples, methods, page

FILE = Path(__file__).parents[2] / "docs" / "api.md"
METHODS = [one for _, found in methods.modules().values() for one in found]
#: A computer that runs a node cannot do this.
ONLY_ON_A_BOARD = {"system.reboot"}
NAMES = [one.full_name for one in METHODS]


@pytest.fixture(scope="module")
def executed():
    return examples.executed()


def test_the_file_is_up_to_date(executed):
    """If not: python -m fieldpost_tools.apidoc > docs/api.md."""
    assert FILE.read_text(encoding="utf-8") == page.page(executed)


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_every_method_is_documented_and_shown(method, executed):
    assert method.doc.endswith((".", "```")), method.doc
    assert method.kind in (READ, WRITE, PART)
    shown = executed.get(method.full_name)
    assert shown, "add a call of it to CALLS in fieldpost_tools/apidoc/examples.py"
    values = [reply for _, reply in shown if "value" in reply]
    assert values or method.full_name in ONLY_ON_A_BOARD, shown
    for request, reply in shown:
        assert request["id"] == reply["id"]


def test_examples_are_of_methods_that_exist(executed):
    assert set(executed) == set(NAMES)


def find(address):
    if not address:
        raise ApiError("invalid address")


def handler(_node, args):
    """Do it: once.

    With a second paragraph."""
    find(args["address"])
    if args["limit"] > 5:
        raise ApiError("limit %d" % args["limit"])  # noqa: UP031 - as device code says it
    raise DriverError("broken")


def test_a_method_is_read_from_its_table_and_its_code(monkeypatch):
    monkeypatch.setattr(methods, "_OURS", (__name__,))
    text = "address: any\nlimit: int 1..9 = 5\nnote: str 0..8 = ?"
    method = methods._method("gateways", "doIt", handler, text, WRITE)
    assert method.full_name == "gateways.doIt"
    assert method.errors == ("`invalid address`", "`limit …`", "the words of the driver")
    assert [(p.name, p.allowed, p.required, p.default) for p in method.parameters] == [
        ("address", "a value", True, None),
        ("limit", "an integer from 1 to 9", False, 5),
        ("note", "text, length from 0 to 8", False, None),
    ]
    text = page._method(method, [({"id": 1}, {"id": 1, "value": "ü|"})])
    assert "### gateways.doIt\n\nDo it: once.\n\nWith a second paragraph.\n" in text
    assert "| `limit` | an integer from 1 to 9 | `5` |" in text
    assert "| `address` | a value | required |" in text
    assert '```json\n{"id": 1}\n{"id": 1, "value": "ü|"}\n```' in text


def test_docstrings_become_markdown():
    doc = "Of ``one``:\n\n====\na  b\n====\n\nAs::\n\n    code\n\n      more\n\nEnd."
    assert page.markdown(doc) == (
        "Of `one`:\n\n```text\n====\na  b\n====\n```\n\n"
        "As:\n\n```text\ncode\n\n  more\n```\n\nEnd."
    )


def test_changing_values_are_shown_as_the_page_says():
    value = {"ts": None, "value": [{"ts": 77, "value_count": 3}, {"ts": 78, "a": [{"ts": 1}]}]}
    shown = examples.steady(value)
    first, second = shown["value"]
    assert (shown["ts"], first["value_count"]) == (None, 1730)
    assert second["ts"] - first["ts"] == 500
    assert second["a"][0]["ts"] == first["ts"]
