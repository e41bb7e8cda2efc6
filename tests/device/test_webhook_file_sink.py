"""file:// delivery: paths that are allowed, lines, rotation."""

import os

from fieldpost.webhook import file_sink
from fieldpost.webhook.file_sink import append, path_of


def folder():
    here = os.getcwd().rstrip("/")
    return here + "/sink"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def clean(name):
    for end in ("", ".1", ".2", ".3"):
        try:
            os.remove(folder() + "/" + name + end)
        except OSError:
            pass


def test_paths_are_confined():
    assert path_of("file:///hooks/a.jsonl") == "/hooks/a.jsonl"
    assert path_of("file:///a.b.log") == "/a.b.log"
    for bad in (
        "file://host/a.log",
        "file:///../a.log",
        "file:///hooks/../../a.log",
        "file:///hooks/..",
        "file:///./a.log",
        "file:////a.log",
        "file:///a\\..\\b.log",
        "file:///a\0.log",
        "file:///main.py",
        "file:///config.json",
        "file:///main.py.log/",
        "file:///.log",
        "file:///hooks/",
        "file:///",
        "http:///a.log",
        "file:///" + "a" * 200 + ".log",
    ):
        try:
            path_of(bad)
        except ValueError:
            continue
        raise AssertionError(bad)


def test_lines_in_a_folder_that_is_made():
    clean("deep/lines.jsonl")
    url = "file://" + folder() + "/deep/lines.jsonl"
    append(url, b'{"a":1}', 1000)
    append(url, b'{"a":\n2}', 1000)
    assert read(folder() + "/deep/lines.jsonl") == b'{"a":1}\n{"a": 2}\n'


def test_half_a_line_spoils_no_other():
    clean("half.jsonl")
    url = "file://" + folder() + "/half.jsonl"
    append(url, b"1", 1000)
    with open(folder() + "/half.jsonl", "ab") as file:
        file.write(b'{"to')
    append(url, b"2", 1000)
    assert read(folder() + "/half.jsonl") == b'1\n{"to\n2\n'


def test_rotation():
    clean("many.log")
    url = "file://" + folder() + "/many.log"
    path = folder() + "/many.log"
    for number in range(10):
        append(url, b"line %d" % number, 14, 2)  # two lines of 7 bytes
        for end in ("", ".1", ".2"):
            assert file_sink._size(path + end) is None or file_sink._size(path + end) <= 14
    found = [read(path + end) for end in (".2", ".1", "")]
    assert found == [b"line 4\nline 5\n", b"line 6\nline 7\n", b"line 8\nline 9\n"]
    assert file_sink._size(path + ".3") is None


def test_a_line_longer_than_the_limit_has_its_own_file():
    clean("long.log")
    url = "file://" + folder() + "/long.log"
    for line in (b"a", b"b" * 50, b"c"):
        append(url, line, 10, 2)
    path = folder() + "/long.log"
    assert [read(path + end) for end in (".2", ".1", "")] == [b"a\n", b"b" * 50 + b"\n", b"c\n"]


def test_no_older_files_are_kept_where_none_are_wanted():
    clean("none.log")
    url = "file://" + folder() + "/none.log"
    for line in (b"first", b"second"):
        append(url, line, 8, 0)
    assert read(folder() + "/none.log") == b"second\n"
    assert file_sink._size(folder() + "/none.log.1") is None
