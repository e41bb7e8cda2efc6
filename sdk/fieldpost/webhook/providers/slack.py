"""Slack incoming webhooks: Block Kit.

Limits by Slack's reference of blocks: a header of 150 characters, 10 fields of 2000 each. ``&``,
``<`` and ``>`` are escaped, everything else is taken as text.
"""

from ...compat import const
from .. import describe
from ..text import cut, encode

_HEADER_CHARS = const(150)
_FIELD_CHARS = const(2000)
_COLOURS = {
    "info": "#3b82f6",
    "warning": "#f59e0b",
    "critical": "#dc2626",
    "life_safety": "#7c2d12",
}


def render(event, endpoint, node):
    """See the package."""
    title = describe.title(event, node)
    fields = [
        {"type": "mrkdwn", "text": _text("*%s*\n%s" % fact, _FIELD_CHARS)}
        for fact in describe.facts(event, node)
    ]
    body = {
        "text": _text(title, _FIELD_CHARS),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": cut(title, _HEADER_CHARS)}},
            {"type": "section", "fields": fields},
        ],
        "attachments": [
            {
                "color": _COLOURS[describe.severity(event)],
                "text": _text(describe.message(event, node), _FIELD_CHARS),
            }
        ],
    }
    return endpoint["url"], {"Content-Type": "application/json"}, encode(body)


def _text(text, limit):
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = cut(text, limit)
    head, mark, tail = text.rpartition("&")
    # An escape that was cut in the middle would show.
    return head + "…" if mark and ";" not in tail else text
