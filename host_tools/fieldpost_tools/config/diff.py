"""What one configuration changes of another, by names instead of by places in lists."""

import json
from dataclasses import dataclass
from typing import Any

from fieldpost_tools.config import files, secrets, tree
from fieldpost_tools.config.secrets import Secret

#: Keys that are the node's own business.
OWN = ("revision", "secrets", "last_id")
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@dataclass(frozen=True)
class Change:
    """One difference: ``kind`` is added, removed or changed, ``secret`` hides the values."""

    path: str
    kind: str
    before: Any = None
    after: Any = None
    secret: bool = False

    def __str__(self):
        if self.secret:
            words = f"{self.kind} (secret)"
        elif self.kind == "changed":
            words = f"{_text(self.before)} → {_text(self.after)}"
        else:
            words = _text(self.after if self.kind == "added" else self.before)
        return f"{_SIGNS[self.kind]} {self.path}: {words}"

    def row(self):
        """As JSON says it, without secrets."""
        made = {"path": self.path, "change": self.kind}
        if self.secret:
            return {**made, "secret": True}
        if self.kind != "added":
            made["before"] = _shown(self.before)
        if self.kind != "removed":
            made["after"] = _shown(self.after)
        return made


def compare(old, new):
    """The list of ``Change`` from ``old`` to ``new``, both as in files or as a node says them.

    A secret that is given counts as a change, as no node tells the one it has. null is the same as
    nothing.
    """
    return list(_objects("", _plain(old), _plain(new)))


def _plain(config):
    marked = secrets.marked({key: config[key] for key in config if key not in OWN})
    return tree.ordered(files.without_null(marked))


def _objects(path, old, new):
    keys = [*old, *(key for key in new if key not in old)]
    for key in keys:
        yield from _values(tree.join(path, key), key, old.get(key), new.get(key))


def _values(path, key, old, new):
    if isinstance(old, Secret) or isinstance(new, Secret):
        if old != new:
            yield Change(path, _kind(old, new), secret=True)
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from _objects(path, old, new)
    elif key in tree.IDENTITY and _are_objects(old, new):
        yield from _lists(path, key, old or [], new or [])
    elif not _same(old, new):
        yield Change(path, _kind(old, new), old, new)


def _lists(path, key, old, new):
    """Items by their names; and their order, where it is another one."""
    before = dict(zip(tree.names_of(key, old), old, strict=True))
    after = dict(zip(tree.names_of(key, new), new, strict=True))
    yield from _named(path, before, after)
    shared = [name for name in before if name in after]
    now = [name for name in after if name in before]
    if shared != now:
        yield Change(path + " (order)", "changed", shared, now)


def _named(path, before, after):
    for name in [*before, *(name for name in after if name not in before)]:
        yield from _values(tree.join(path, name), name, before.get(name), after.get(name))


def _are_objects(*lists):
    """Whether there is an object in one of the lists, and nothing else in any of them."""
    if not all(isinstance(items or [], list) for items in lists):
        return False
    items = [item for items in lists for item in items or ()]
    return bool(items) and all(isinstance(item, dict) for item in items)


def _kind(old, new):
    if old is None:
        return "added"
    return "removed" if new is None else "changed"


def _same(a, b):
    """Equal, where 1 is neither true nor 1.0."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def _shown(value):
    if isinstance(value, Secret):
        return "(secret)"
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    return value


def _text(value):
    """One line; of what is long, how much there is."""
    text = json.dumps(_shown(value), ensure_ascii=False)
    if len(text) <= 100 or not isinstance(value, (dict, list)):
        return text
    if isinstance(value, list):
        return f"{len(value)} items"
    points = value.get("points")
    words = [f"{key} {_text(value[key])}" for key in ("driver", "host", "type") if key in value]
    words += [f"{len(points)} points"] if isinstance(points, list) else []
    return ", ".join(words) or f"{len(value)} keys"
