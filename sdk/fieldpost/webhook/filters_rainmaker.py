"""RainMaker's event filters, System > User > Node: the levels a node knows, system and node.

A filter is ``{event_type, entity_type "System"|"User"|"Node", entity_id, enabled,
enabled_for_integrations}``. Users are known to the cloud only, so their level is passed over.
"""

_PREFIX = "rmaker.event."
#: RainMaker's events.
EVENTS = (
    "node_connected",
    "node_disconnected",
    "user_node_sharing_add",
    "user_node_added",
    "user_node_removed",
    "node_params_changed",
    "alert",
    "node_automation_trigger",
    "user_node_group_sharing_add",
    "user_node_group_added",
    "user_node_group_removed",
    "node_registered",
    "admin_user_added",
    "new_tags_added",
    "existing_tags_attached",
    "node_config_changed",
    "user_node_ota",
    "node_ts_data",
)
#: Those that a node has events for; all alarms and faults are alerts.
_OURS = {
    "link_up": "node_connected",
    "link_down": "node_disconnected",
    "client_connected": "node_connected",
    "client_disconnected": "node_disconnected",
    "value_changed": "node_params_changed",
    "device_down": "alert",
    "device_recovered": "alert",
}


def event_type(event, batch=False):
    """RainMaker's name of one of our events, of several values at once if ``batch``; or None."""
    if batch:
        name = "node_ts_data"
    elif event.split("_")[0] in ("alarm", "fdd"):
        name = "alert"
    else:
        name = _OURS.get(event)
    return name and _PREFIX + name


def enabled(filters, event_type, integration, node_id):
    """Whether an event of a node is to go out by an integration, such as an endpoint's name.

    The system's filters decide first, the node's only about what those let through. At a level
    that has no filter for the event it passes. A filter with an empty or missing
    ``enabled_for_integrations`` is for all of them. ``event_type`` None, an event without such a
    name, passes.
    """
    return _passes(filters, event_type, integration, "System", None) and _passes(
        filters, event_type, integration, "Node", node_id
    )


def _passes(filters, event_type, integration, level, entity):
    for row in filters:
        if row["event_type"] != event_type or row["entity_type"] != level:
            continue
        if entity is not None and row["entity_id"] != entity:
            continue
        wanted = row.get("enabled_for_integrations")
        if not row["enabled"] or (wanted and integration not in wanted):
            return False
    return True
