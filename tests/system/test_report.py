"""The report, looked at by a real browser."""

import html.parser
import re
import subprocess

import pytest
from click.testing import CliRunner

import servers
from export_kit import alarm, flush, make_store, values
from fieldpost_tools import report
from fieldpost_tools.cli import main
from fieldpost_tools.flush import JsonText, Points, State
from fieldpost_tools.query import EVERYTHING

EVIL = '<script>document.title="owned"</script>"\'&'
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture
def chromium(tmp_path):
    """``chromium(page)``: the DOM of a page as text, after its scripts ran."""
    executable = servers.program("chromium", "chromium")

    def dump(page):
        command = [executable, *FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return dump


def test_the_page_in_a_browser(tmp_path, chromium):
    store = make_store(
        tmp_path / "a.db",
        flush(0, 500),
        flush(600, 500),
        flush(0, 3, node="gw-2"),
        happened=[alarm(1), alarm(1, "cleared")],
    )
    state = '{"state":"online","boot":3,"version":"<b>","counters":{"errors":7},"logs":{}}'
    store.write(states=[State("gw-1", state)])
    store.write(points=[Points("gw-2", "ahu-1", "virtual", [(7, EVIL, EVIL)])])
    store.close()
    page = tmp_path / "r.html"
    words = ["report", "--db", str(tmp_path / "a.db"), "--out", str(page), "--title", EVIL]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    dom = chromium(page)
    assert "<title>&lt;script&gt;" in dom
    assert "owned</title>" not in dom
    assert not re.search(r"<(script|link|img|iframe)", dom)
    assert "http" not in page.read_text().replace("http-equiv", "")
    assert dom.count("<polyline") == 2
    assert "1,003</b> records of 2 nodes" in dom
    assert "100</span> missing in 1 gaps" in dom
    assert dom.count('too "warm", 31 °C') == 2
    assert "&lt;b&gt;" in dom
    drawn = re.search(r'<polyline points="([^"]*)"', dom)[1].split()
    assert 100 < len(drawn) <= report.BUCKETS
    xs, ys = zip(*(map(float, point.split(",")) for point in drawn), strict=True)
    assert xs == tuple(sorted(xs))
    assert 0 <= min(xs) <= max(xs) <= 720
    assert 0 <= min(ys) <= max(ys) <= 120


class Balance(html.parser.HTMLParser):
    """Every element that is opened is closed."""

    VOID = ("meta",)

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        while self.open[-1] != tag:
            assert self.open[-1] in ("tr", "td", "th", "p", "thead", "tbody"), self.open
            self.open.pop()
        self.open.pop()


@pytest.mark.parametrize(
    "found",
    [
        (),
        (None,),
        (1,),
        ("a", EVIL),
        (True, False),
        (float("nan"), 1.5),
        (JsonText("[1]"), JsonText('{"a":2}')),
    ],
)
def test_any_store_makes_a_whole_page(tmp_path, found):
    flushes = [values(*found)] if found else []
    with make_store(tmp_path / "a.db", *flushes) as store:
        text = "".join(report.write(store, EVERYTHING))
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert "nan" not in text.lower().replace("device-width", "")
