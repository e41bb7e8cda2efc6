"""Rules as in RMQTT's web-hook: the event's own fields with ``action`` and ``time``.

``action`` is the rule's, or else the event's name. ``time`` is UTC, null while it is not known.
"""

from ..text import encode
from ..when import split


def render(event, endpoint, _node):
    """See the package."""
    body = dict(event["data"])
    body["action"] = event.get("action") or event["event"]
    body["time"] = None if event["ts_ms"] is None else time_text(event["ts_ms"])
    return endpoint["url"], {"Content-Type": "application/json"}, encode(body)


def time_text(ms):
    """Unix ms as RMQTT writes them: ``2026-11-22 04:00:00.000``."""
    return "%04d-%02d-%02d %02d:%02d:%02d.%03d" % split(ms)
