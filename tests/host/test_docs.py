"""What README and docs/ show works: Python snippets run, commands and links exist.

A ``python`` block is run to its end in an empty folder. In a ``console`` block every line that
starts with ``$ fieldpost`` must name a command and options that exist, ``$ make`` a target.
"""

import re
import shlex
import subprocess
import sys

import click
import pytest

import device_suite

ROOT = device_suite.ROOT
PAGES = [
    path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if path.exists()
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#]+)")
SNIPPET_TIMEOUT_S = 60


def found(pattern):
    """Every match of ``pattern`` in the pages as a parameter named page:line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(page, match, id=f"{page.relative_to(ROOT)}:{line}")


def blocks(language):
    return [one for one in found(BLOCK) if one.values[1].group(1) == language]


def commands(block, program):
    """Argument lists of the lines ``$ program …`` in a console block."""
    text = block.group(2).replace("\\\n", " ")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[0] == program]


def command_problem(group, arguments):
    """Why click would not know the command or an option of it; None if it does."""
    context = click.Context(group)
    while arguments and isinstance(group, click.Group):
        if arguments[0].startswith("-"):
            break
        command = group.get_command(context, arguments[0])
        if command is None:
            return f"no command {arguments[0]!r}"
        group, arguments = command, arguments[1:]
        context = click.Context(group, parent=context)
    known = {name for param in group.get_params(context) for name in param.opts}
    known |= {name for param in group.get_params(context) for name in param.secondary_opts}
    for word in arguments:
        if word.startswith("--") and word.split("=")[0] not in known:
            return f"no option {word!r}"
    return None


@pytest.mark.parametrize(("page", "block"), blocks("python"))
def test_python_snippet_runs(page, block, tmp_path, umqtt_path):
    path = [str(ROOT / "sdk"), str(ROOT / "host_tools"), umqtt_path]
    code = f"import sys; sys.path[:0] = {path!r}\n{block.group(2)}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SNIPPET_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "block"), blocks("console"))
def test_shown_commands_exist(page, block):
    from fieldpost_tools.cli import main

    problems = [command_problem(main, arguments) for arguments in commands(block, "fieldpost")]
    assert not any(problems), problems
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for arguments in commands(block, "make"):
        assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE), arguments


@pytest.mark.parametrize(("page", "link"), [*found(LINK)])
def test_link_leads_to_a_file(page, link):
    assert (page.parent / link.group(1)).exists()


@click.group()
def example():
    pass


@example.command()
@click.option("--json/--text", "as_json")
def shown(as_json):
    pass


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["shown", "--json"], None),
        (["shown", "--text"], None),
        (["--help"], None),
        (["hidden"], "no command 'hidden'"),
        (["shown", "--yaml"], "no option '--yaml'"),
    ],
)
def test_command_check(arguments, problem):
    assert command_problem(example, arguments) == problem


def test_command_lines_are_read():
    text = "```console\n$ fieldpost a \\\n  --b 1\noutput\n$ make demo  # all\n```\n"
    block = BLOCK.search(text)
    assert commands(block, "fieldpost") == [["a", "--b", "1"]]
    assert commands(block, "make") == [["demo"]]
