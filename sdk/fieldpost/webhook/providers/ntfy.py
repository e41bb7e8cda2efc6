"""ntfy: its JSON form, to the root of the server, 4096 bytes at most.

The topic is the option ``topic``, or else the last part of the URL.
"""

from ...compat import const
from .. import describe
from ..text import cut, fit

_MAX_BYTES = const(4096)
_TITLE_CHARS = const(150)
_PRIORITIES = {"info": 2, "warning": 3, "critical": 4, "life_safety": 5}
#: Names that ntfy shows as emoji.
_TAGS = {"info": "information_source", "warning": "warning"}


def render(event, endpoint, node):
    """See the package."""
    url, topic = endpoint["url"], (endpoint.get("options") or {}).get("topic")
    if not topic:
        url, _, topic = url.rstrip("/").rpartition("/")
    severity = describe.severity(event)
    tag = "white_check_mark" if describe.ends(event) else _TAGS.get(severity, "rotating_light")
    title = cut(describe.title(event, node), _TITLE_CHARS)

    def make(text):
        return {
            "topic": topic,
            "title": title,
            "message": text,
            "tags": [tag, event["event"]],
            "priority": _PRIORITIES[severity],
        }

    body = fit(make, describe.message(event, node), _MAX_BYTES)
    return url, {"Content-Type": "application/json"}, body
