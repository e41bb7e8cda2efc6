"""Requests taken apart: which method, which arguments, what the reply repeats."""

import json

from ..errors import ApiError

#: Keys that are not arguments, unless the method declares a parameter of that name.
_KEYS = (
    "id",
    "module",
    "method",
    "noreply",
    "replyWithModule",
    "replyWithMethod",
    "stream",
    "requests",
)


def parse(text, limit):
    """What a request's text (str or bytes) says. ApiError where it is too long, or no JSON."""
    if len(text) > limit:
        raise ApiError("request longer than %d" % limit)
    try:
        text = text if isinstance(text, str) else str(text, "utf-8")
        if _has_halves(text):
            raise ApiError("invalid request: escaped halves of characters")
        return json.loads(text)
    except (ValueError, RuntimeError, MemoryError):
        # RuntimeError: nested too deep.
        raise ApiError("invalid request") from None


def _has_halves(text):
    """Whether a text escapes surrogates, which MicroPython does not join: they are no UTF-8."""
    if "\\u" not in text:
        return False
    text = text.lower()
    return any("\\ud" + digit in text for digit in "89abcdef")


class Request:
    """One request. ``module`` and ``method`` are those of the address, or else of its own keys.

    ``body`` is an object; at the address of a method also an array of arguments by position (an
    object with ``id`` in front holds the other keys), or a scalar, the single required argument.
    Raises ApiError where it is none of these.
    """

    def __init__(self, body, module=None, method=None):
        self._args = body
        if not isinstance(body, dict):
            if method is None:
                raise ApiError("invalid request")
            if not isinstance(body, list):
                self._args = (body,)
            body = body[0] if self._args is body and body and _is_head(body[0]) else {}
            if body:
                self._args = self._args[1:]
        #: The keys that are not arguments, among others.
        self.options = body
        self.id = body.get("id")
        if not (self.id is None or isinstance(self.id, (str, int, float, bool))):
            raise ApiError("invalid id")
        if isinstance(self.id, float) and self.id - self.id != 0:
            # 1e999 is read as infinite, which no reply can say.
            self.id = None
            raise ApiError("invalid id")
        self.module = module or body.get("module")
        self.method = method or body.get("method")
        self.noreply = body.get("noreply")
        self.stream = body.get("stream")
        self.requests = body.get("requests")

    def head(self):
        """What the reply begins with: text of its first members, each with a comma behind."""
        text = self.mark()
        for key, value in (("module", self.module), ("method", self.method)):
            if self.options.get("replyWith" + key[0].upper() + key[1:]):
                text += '"%s":%s,' % (key, json.dumps(value))
        return text

    def mark(self):
        """The ``id`` alone."""
        if self.id is None or self.id != self.id:
            return ""
        return '"id":%s,' % json.dumps(self.id)

    def arguments(self, parameters, tables):
        """The method's arguments, checked and complete: a dict with every declared parameter.

        ``parameters`` is text as ``call`` describes it, ``tables`` the module's own. Raises
        ApiError or ConfigError.
        """
        from ..rows import Row

        rows = [line.strip().split(": ", 1) for line in parameters.strip().split("\n") if line]
        rows = [(name, Row(text)) for name, text in rows]
        given = self._named(rows)
        return {name: _argument(name, row, given.get(name), tables) for name, row in rows}

    def _named(self, rows):
        """The arguments by name, unchecked."""
        names = [name for name, _row in rows]
        if "stream" in names:
            self.stream = None
        args = self._args
        if isinstance(args, dict):
            for key in args:
                if key not in names and key not in _KEYS:
                    raise ApiError("unknown parameter: " + str(key)[:60])
            return args
        if isinstance(args, tuple):
            required = [name for name, row in rows if row.required]
            if len(required) == 1:
                names = required
        if len(args) > len(names):
            raise ApiError("too many parameters")
        return dict(zip(names, args))


def _is_head(value):
    return isinstance(value, dict) and "id" in value and all(key in _KEYS for key in value)


def _argument(name, row, value, tables):
    if value is None:
        if row.required:
            raise ApiError("missing parameter: " + name)
        value = row.default
    return value if value is None else _check(row, value, name, tables)


def _check(row, value, name, tables):
    from ..rows import Checker

    if row.kind in ("list", "map", "obj"):
        from ..schema import SCHEMA

        tables = dict(SCHEMA, **tables)
    return Checker(tables).value(row, value, name)
