"""Rows of a schema, and whether values are what they allow; see ``schema.py`` for the notation.

null counts as absent. Unknown keys are errors. Every error is a ``ConfigError`` naming path, value
and what is allowed. It shows neither secrets nor what may hold one: the value of an unknown key,
an object or list where none belongs.
"""

import json

from .compat import tidy
from .errors import ConfigError

_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
#: Names that would collide with the control topics.
_RESERVED = ("nodes",)
_NOUNS = {
    "int": "an integer",
    "num": "a number",
    "bool": "true or false",
    "id": "letters, digits and _ - . (not 'nodes')",
    "path": "letters, digits and _ - . with / between parts",
    "any": "a value",
    "list": "a list",
    "obj": "an object",
    "map": "an object",
}


class Row:
    """One parsed schema row: ``kind``, ``words`` (enum words or the inner type), ``lo``, ``hi``,
    ``required`` and ``default`` (a fresh value for each use)."""

    def __init__(self, text):
        spec, _, default = text.partition("=")
        self.required = "=" not in text
        self._default = default.strip()
        words = spec.split()
        self.kind = words[0]
        self.lo = self.hi = None
        if len(words) > 1 and ".." in words[-1]:
            lo, _, hi = words.pop().partition("..")
            self.lo = json.loads(lo) if lo else None
            self.hi = json.loads(hi) if hi else None
        self.words = words[1:]

    @property
    def default(self):
        """The default as a value; None for an optional key."""
        text = self._default
        if text == "?":
            return None
        if self.kind in ("str", "id", "path", "enum", "rule", "log", "any", "topic", "secret"):
            return False if text == "false" else text
        return json.loads(text)


class Checker:
    """Checks values by rows; ``tables`` has the rows of objects by the name of their table.

    ``consume``: lists are emptied while they are checked, so that no item is there twice.
    """

    consume = False

    def __init__(self, tables):
        self.tables = tables

    def rows(self, name, _value, _path):
        """The rows of an object of the table ``name``: ``{key: text}``."""
        return self.tables[name]

    def table(self, name, value, path):
        """Check an object against the table ``name``; returns it completed by defaults."""
        if not isinstance(value, dict):
            raise refusal(path, value, "an object")
        rows = self.rows(name, value, path)
        for key in value:
            if key not in rows:
                raise refusal(join(path, key), key, one_of(rows))
        return {key: self._field(Row(rows[key]), value, key, path) for key in rows}

    def _field(self, row, value, key, path):
        path = join(path, key)
        if key in value and value[key] is not None:
            return self.value(row, value[key], path)
        if row.required:
            raise refusal(path, None, describe(row))
        default = row.default
        return default if default is None else self.value(row, default, path)

    def value(self, row, value, path):
        """Validate one value; returns it, completed by defaults where it is an object."""
        return getattr(self, "_" + row.kind)(row, value, path)

    def _int(self, row, value, path):
        good = isinstance(value, int) and not isinstance(value, bool)
        return _need(good and _within(row, value), row, value, path)

    def _num(self, row, value, path):
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Neither NaN nor infinite.
        return _need(good and value - value == 0 and _within(row, value), row, value, path)

    def _bool(self, row, value, path):
        return _need(isinstance(value, bool), row, value, path)

    def _str(self, row, value, path):
        return _need(isinstance(value, str) and _within(row, len(value)), row, value, path)

    def _secret(self, row, value, path):
        _need(isinstance(value, str) and _within(row, len(value)), row, "***", path)
        return value

    def _id(self, row, value, path):
        self._str(row, value, path)
        return _need(_is_plain(value) and value not in _RESERVED, row, value, path)

    def _path(self, row, value, path):
        self._str(row, value, path)
        return _need(all(_is_plain(part) for part in value.split("/")), row, value, path)

    def _enum(self, row, value, path):
        word = ("true" if value else "false") if isinstance(value, bool) else value
        _need(word in row.words, row, value, path)
        return False if word == "false" else word

    def _any(self, _row, value, _path):
        return value

    def _topic(self, row, value, path):
        from .topics import Template

        self._str(row, value, path)
        try:
            Template(value)
        except ValueError as error:
            raise refusal(path, value, str(error)) from None
        return value

    def _rule(self, row, value, path):
        from .acquisition import compile

        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        self._str(row, value, path)
        try:
            if row.kind == "log":
                compile("adr.log", value)
            else:
                rule = compile(value)
                if row.kind == "timer" and (rule.terms or not rule.timed):
                    raise ValueError("ms or a 5-field cron expression")
        except ValueError as error:
            raise refusal(path, value, str(error)) from None
        return value

    _log = _timer = _rule

    def _list(self, row, value, path):
        _need(isinstance(value, list) and _within(row, len(value)), row, value, path)
        item = row.words[0]
        kind = Row(item if hasattr(self, "_" + item) else "obj " + item)
        result = []
        for i, entry in enumerate(value):
            result.append(self.value(kind, entry, "%s[%d]" % (path, i)))
            if self.consume:
                value[i] = entry = None
            # What stays must not be scattered over the heap by what does not.
            tidy()
        return result

    def _obj(self, row, value, path):
        return self.table(row.words[0], value, path)

    def _map(self, row, value, path):
        _need(isinstance(value, dict), row, value, path)
        kind = Row(row.words[0])
        return {key: self.value(kind, value[key], join(path, key)) for key in value}


def describe(row):
    """What a row allows, in words."""
    kind = row.kind
    if kind == "enum":
        return one_of(row.words)
    text = _NOUNS.get(kind, "text")
    if row.lo is not None:
        text += (" from %s" if kind in ("int", "num") else ", length from %s") % row.lo
    return text if row.hi is None else "%s to %s" % (text, row.hi)


def _need(good, row, value, path):
    if not good:
        raise refusal(path, value, describe(row))
    return value


def refusal(path, value, allowed):
    """The error for a value, which is not shown where it may hold a secret, nor at any length."""
    if isinstance(value, dict):
        value = "{...}"
    elif isinstance(value, list):
        value = "[...]"
    elif isinstance(value, str):
        value = value[:60]
    return ConfigError(path or "configuration", value, allowed)


def _is_plain(text):
    return text != "" and all(char in _PLAIN for char in text)


def one_of(words):
    """Words for a choice."""
    return "one of " + (", ".join(sorted(words)) or "none")


def join(path, key):
    """The path of a key."""
    return path + "." + str(key) if path else str(key)


def _within(row, value):
    return (row.lo is None or value >= row.lo) and (row.hi is None or value <= row.hi)
