"""``python -m fieldpost_tools`` is the ``fieldpost`` command."""

from fieldpost_tools.cli import main

main(prog_name="fieldpost")
