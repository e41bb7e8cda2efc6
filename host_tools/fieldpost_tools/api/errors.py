"""Exceptions of calling a node's API.

::

    ApiError          base, a ToolError
    ├── ApiCallError  the node answers with an error (exit code 1)
    ├── ApiTimeout    there is no whole answer in time (exit code 3)
    └── ApiLinkError  the broker, the serial port or the node is not reached (exit code 3)
"""

from fieldpost_tools.errors import ToolError


class ApiError(ToolError):
    """Base of what a call of a node's API raises."""


class ApiCallError(ApiError):
    """The node refuses the call. Attributes: ``method`` and the node's own words, ``text``."""

    def __init__(self, method, text):
        super().__init__(f"{method}: {text}")
        self.method = method
        self.text = text


class ApiTimeout(ApiError):  # noqa: N818 - as the builtin has no suffix either
    """No answer in time, or only a part of it; the node may have done what it was asked to."""

    exit_code = 3


class ApiLinkError(ApiError):
    """There is no connection, or it was lost before the answer came."""

    exit_code = 3
