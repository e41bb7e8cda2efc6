"""MQTT topics: templates of what the node publishes, validation, filter matching.

Names and filters are those of MQTT 3.1.1, section 4.7; shared subscriptions
(``$share/group/filter``) those of MQTT 5, section 4.8.2, which brokers accept for 3.1.1 too.
"""

#: What a template may say in braces.
VARIABLES = (
    "node",
    "site_id",
    "device_id",
    "point_id",
    "node_id",
    "protocol",
    "severity",
    "device_key",
)
#: Longest topic name or filter in UTF-8 bytes.
MAX_BYTES = 65535


class Template:
    """A topic with ``{variables}``, checked and split once.

    Raises ValueError for an unknown variable, a stray brace, a wildcard or NUL, for a text that is
    empty or too long, and (unless ``control``) for one that stays within ``fieldpost/nodes`` when
    every variable that can be empty is.
    """

    def __init__(self, text, control=False):
        valid_topic(text)
        self.head, *pieces = text.split("{")
        #: (variable, literal text after it).
        self.parts = [_part(piece, text) for piece in pieces]
        full = self.render({name: name for name in VARIABLES})
        if not full or "}" in full:
            raise ValueError("topic '%s': %s" % (text, "stray }" if full else "no levels"))
        if not control and (self.render({"node": "-"}) + "/").startswith("fieldpost/nodes/"):
            raise ValueError("topic '%s': fieldpost/nodes/ is reserved for control" % text)

    def render(self, values):
        """The topic for ``values``, a dict by variable; what it lacks is empty.

        ``device_id`` and ``point_id`` are by default the parts of ``node_id`` before and after its
        first slash. Empty levels are left out; the result is "" where nothing is left.
        """
        topic = self.head
        for name, literal in self.parts:
            topic += sanitise(_lookup(name, values)) + literal
        while "//" in topic:
            topic = topic.replace("//", "/")
        return topic.strip("/")


def _part(piece, text):
    name, brace, literal = piece.partition("}")
    if not brace or name not in VARIABLES:
        raise ValueError(
            "topic '%s': unknown variable {%s}, want {%s}" % (text, name, "} {".join(VARIABLES))
        )
    return name, literal


def _lookup(name, values):
    value = values.get(name)
    if value is None and name in ("device_id", "point_id"):
        device, _, point = (values.get("node_id") or "").partition("/")
        value = device if name == "device_id" else point
    return "" if value is None else value


def sanitise(value):
    """Text of ``value`` that stays one topic level: no wildcard, no NUL, ``/`` becomes ``-``."""
    text = str(value).replace("/", "-")
    return text.replace("#", "").replace("+", "").replace("\0", "")


def valid_topic(topic):
    """Raise ValueError unless ``topic`` is a topic name that may be published to."""
    _valid_text(topic)
    if "+" in topic or "#" in topic:
        raise ValueError("topic '%s': wildcards + and # only in filters" % topic)


def valid_filter(pattern):
    """Raise ValueError unless ``pattern`` is a topic filter that may be subscribed to."""
    _valid_text(pattern)
    levels = pattern.split("/")
    if levels[0] == "$share" and len(levels) > 1:
        group = levels[1]
        levels = levels[2:]
        if not group or "+" in group or "#" in group or levels in ([], [""]):
            raise ValueError("filter '%s': want $share/group/filter" % pattern)
    for level in levels[:-1]:
        if "#" in level:
            raise ValueError("filter '%s': # only as the last level" % pattern)
    for level in levels:
        if len(level) > 1 and ("+" in level or "#" in level):
            raise ValueError("filter '%s': a wildcard takes a whole level" % pattern)


def _valid_text(text):
    if not isinstance(text, str) or not text:
        raise ValueError("topic %r: want text" % (text,))
    if "\0" in text:
        raise ValueError("topic %r: NUL" % text)
    if len(text.encode()) > MAX_BYTES:
        raise ValueError("topic of more than %d bytes" % MAX_BYTES)


def matches(pattern, topic):
    """Whether the valid filter ``pattern`` covers ``topic``.

    ``#`` also covers the level above it; wildcards in the first level do not cover topics that
    begin with ``$``; the ``$share/group/`` of a shared subscription does not count.
    """
    if pattern.startswith("$share/"):
        pattern = pattern.split("/", 2)[-1]
    if topic.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    levels = topic.split("/")
    at = 0
    for want in pattern.split("/"):
        if want == "#":
            return True
        if at == len(levels) or want not in ("+", levels[at]):
            return False
        at += 1
    return at == len(levels)


def prefixes(text):
    """The prefixes of a comma-separated node-id filter, as a list; spaces around them are cut."""
    return [part.strip() for part in text.split(",") if part.strip()]


def selected(node_id, prefixes):
    """Whether ``node_id`` begins with one of ``prefixes``; an empty list selects every node."""
    for prefix in prefixes:
        if node_id.startswith(prefix):
            return True
    return not prefixes
