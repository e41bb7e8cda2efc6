"""Exceptions of the device package.

::

    FieldpostError
    ├── ApiError      a request is refused; its text is the reply's error
    ├── ConfigError   a configuration is refused; names path, value and what is allowed
    ├── DriverError   a device could not be read or written
    └── LinkError     a network connection failed; args[0] is a short reason
"""


class FieldpostError(Exception):
    """Base of every error that Fieldpost raises on purpose."""


class ApiError(FieldpostError):
    """A request to the JSON API is refused; the text is what its reply says as ``error``."""


class ConfigError(FieldpostError):
    """A configuration value is refused.

    Attributes: ``path`` (``devices[0].points[2].type``), ``value`` (what was given) and
    ``allowed`` (what would have been accepted, in words).
    """

    def __init__(self, path, value, allowed):
        super().__init__("%s: %r is not allowed, expected %s" % (path, value, allowed))
        self.path = path
        self.value = value
        self.allowed = allowed


class DriverError(FieldpostError):
    """A device is unreachable, or refused a read or a write."""


class LinkError(FieldpostError):
    """A connection failed: ``timeout``, ``closed``, ``refused``, ``dns: ...``, ``tls: ...``."""
