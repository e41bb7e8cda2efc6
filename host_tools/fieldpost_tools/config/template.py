"""One configuration file for many nodes: what stands in braces is filled in for each of them.

``{node}`` is the node's name; of an inventory also ``{site}``, ``{board}`` and its tags. Topics
(``publish``) are left alone: what stands in braces there is the node's own to fill in. A secret
``"secret:NAME"`` is the inventory's of that name. ``node`` itself may be missing.
"""

import re

from fieldpost_tools.errors import InputError

_PLACE = re.compile(r"\{([A-Za-z0-9_.-]+)\}")
_SECRET = "secret:"


def fill(config, name, entry=None):
    """The configuration of the node ``name``, which is the inventory's ``entry`` if there is one.

    Raises InputError for a secret that the inventory does not have.
    """
    words = {"node": name}
    references = {}
    if entry:
        words = {**entry.tags, "site": entry.site, "board": entry.board, **words}
        references = entry.secrets

    def text(value):
        if entry and value.startswith(_SECRET):
            return _reference(value, references)
        return _PLACE.sub(lambda found: words.get(found[1], found[0]), value)

    return {"node": name, **_filled(config, text)}


def stand_in(config):
    """The configuration of some node, to be checked: each place is filled by its own name."""
    return {"node": "node", **_filled(config, lambda value: _PLACE.sub(r"\1", value))}


def _filled(config, text):
    """A copy in which ``text`` has changed every text, save the topics."""
    return {
        key: value if key == "publish" else _inner(value, text) for key, value in config.items()
    }


def _inner(value, text):
    if isinstance(value, dict):
        return {key: _inner(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_inner(item, text) for item in value]
    return text(value) if isinstance(value, str) else value


def _reference(value, references):
    name = value[len(_SECRET) :]
    if name not in references:
        known = ", ".join(_SECRET + one for one in sorted(references)) or "none"
        raise InputError("configuration", value, f"a secret of the node's inventory: {known}")
    return references[name]
