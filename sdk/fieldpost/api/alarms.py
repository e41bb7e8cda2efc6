"""Module ``alarms``: what is raised, and what people do about it.

An **alarm** is ``{id, type, severity, fault, state, alarm_id, acknowledged, shelved_until,
node_id}``: ``id`` is its name in the configuration, ``fault`` is true for fault detection rules,
``state`` one of ``normal``, ``pending`` (its delay runs), ``raised``, ``clearing`` and ``latched``
(gone, but to be acknowledged), ``alarm_id`` the number in its events, null unless it is raised,
``shelved_until`` Unix milliseconds or null, ``node_id`` its point, of faults the equipment.

Alarms are configured in the sections ``alarms`` and ``faults`` of the configuration.
"""

from ..errors import ApiError
from .call import READ, WRITE


def get_alarms(node, args):
    """All alarms and faults, with ``active`` only those that are raised or latched.

    ``{"active": true}``.
    """
    rows = node.alarms.states() if node.alarms else ()
    return [row for row in rows if row["alarm_id"] is not None or not args["active"]]


def acknowledge_alarm(node, args):
    """Acknowledge an alarm, named by its ``id`` or its ``alarm_id``; a latched one is cleared.

    ``{"alarm": "boiler-hot"}``. Returns false if it is not raised, or was acknowledged before.
    Errors: ``invalid value`` for an unknown alarm; faults are not acknowledged.
    """
    try:
        return _alarms(node).acknowledge(args["alarm"])
    except KeyError:
        raise ApiError("invalid value")


def shelve_alarm(node, args):
    """Let an alarm or fault not be raised before a Unix time in ms; 0 ends that.

    ``{"alarm": "boiler-hot", "until": 1790003700000}``. What is raised already goes on. Errors:
    ``invalid value`` for an unknown alarm, a time that is past, and while the node's clock is not
    set.
    """
    try:
        _alarms(node).shelve(args["alarm"], args["until"])
    except (KeyError, ValueError):
        raise ApiError("invalid value")


def _alarms(node):
    if node.alarms is None:
        raise ApiError("invalid value")
    return node.alarms


METHODS = {
    "getAlarms": (get_alarms, "active: bool = false", READ),
    "acknowledgeAlarm": (acknowledge_alarm, "alarm: any", WRITE),
    "shelveAlarm": (shelve_alarm, "alarm: id 1..64\nuntil: int 0..", WRITE),
}
