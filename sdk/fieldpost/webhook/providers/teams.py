"""Microsoft Teams workflows: an Adaptive Card, 28 KB at most."""

from ...compat import const
from .. import describe
from ..text import cut, fit

_MAX_BYTES = const(28000)
#: Of the title and of each fact, so that they fit whatever they are made of.
_CHARS = const(200)
_COLOURS = {"info": "accent", "warning": "warning"}


def render(event, endpoint, node):
    """See the package."""
    colour = _COLOURS.get(describe.severity(event), "attention")
    title = {
        "type": "TextBlock",
        "size": "large",
        "weight": "bolder",
        "wrap": True,
        "color": "good" if describe.ends(event) else colour,
        "text": cut(describe.title(event, node), _CHARS),
    }
    facts = [
        {"title": name, "value": cut(text, _CHARS)} for name, text in describe.facts(event, node)
    ]

    def make(text):
        blocks = [title, {"type": "TextBlock", "wrap": True, "text": text}]
        return _card(blocks + [{"type": "FactSet", "facts": facts}])

    body = fit(make, describe.message(event, node), _MAX_BYTES)
    return endpoint["url"], {"Content-Type": "application/json; charset=utf-8"}, body


def _card(blocks):
    content = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": blocks,
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}
