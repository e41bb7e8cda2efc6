"""Exceptions of the host tools.

::

    ToolError          base; the command prints it as one line and ends with exit_code
    ├── InputError     a value the user gave is not allowed (exit code 2, as for wrong usage)
    ├── StoreError     the database is missing, foreign, newer, locked, full or damaged
    ├── BrokerError    the MQTT broker refuses us, or its certificate cannot be verified
    ├── FlushError     a message from a node cannot be decoded
    └── OutputError    a result cannot be written
"""


class ToolError(Exception):
    """Base of every error the host tools raise on purpose. ``str()`` is one line for a person."""

    exit_code = 1


class InputError(ToolError):
    """A value the user gave is not allowed: ``--since: 'x' is not a time; allowed: ...``."""

    exit_code = 2

    def __init__(self, name, value, allowed):
        super().__init__(f"{name}: {value!r} is not allowed, expected {allowed}")


class StoreError(ToolError):
    """The database cannot be opened, read or written."""


class BrokerError(ToolError):
    """The broker refuses the connection or a subscription, or cannot be trusted."""


class FlushError(ToolError):
    """A flush, points or state message is malformed; ``str()`` says where."""


class OutputError(ToolError):
    """A file or stream that was asked for cannot be written."""
