"""RainMaker's event filters: the levels a node knows."""

from fieldpost.webhook.filters_rainmaker import EVENTS, enabled, event_type

ALERT = "rmaker.event.alert"


def row(level, on=True, entity="", event=ALERT, **more):
    return dict(event_type=event, entity_type=level, entity_id=entity, enabled=on, **more)


def passes(*filters, event=ALERT, integration="webhook", node="gw-1"):
    return enabled(filters, event, integration, node)


def test_names():
    assert len(EVENTS) == len(set(EVENTS)) == 18
    names = {
        "link_up": "node_connected",
        "link_down": "node_disconnected",
        "client_connected": "node_connected",
        "client_disconnected": "node_disconnected",
        "value_changed": "node_params_changed",
        "alarm_raised": "alert",
        "alarm_cleared": "alert",
        "alarm_acknowledged": "alert",
        "fdd_fault_raised": "alert",
        "fdd_fault_cleared": "alert",
        "device_down": "alert",
        "device_recovered": "alert",
    }
    for ours, theirs in names.items():
        assert theirs in EVENTS
        assert event_type(ours) == "rmaker.event." + theirs
    assert event_type("message_publish") is None
    assert event_type("value_changed", True) == "rmaker.event.node_ts_data"


def test_without_filters_everything_passes():
    assert passes()
    assert passes(event=None)


def test_a_node_can_only_narrow_what_the_system_enables():
    on, off = row("System"), row("System", False)
    node_on, node_off = row("Node", entity="gw-1"), row("Node", False, "gw-1")
    table = (
        ((on,), True),
        ((off,), False),
        ((node_on,), True),
        ((node_off,), False),
        ((on, node_on), True),
        ((on, node_off), False),
        ((off, node_on), False),
        ((off, node_off), False),
    )
    for filters, wanted in table:
        assert passes(*filters) is wanted
        assert passes(*reversed(filters)) is wanted


def test_only_filters_of_this_event_and_this_node_count():
    assert passes(row("System", False, event="rmaker.event.node_connected"))
    assert passes(row("Node", False, "gw-2"))
    assert passes(row("User", False, "u-1"))
    assert not passes(row("Node", False, "gw-2"), node="gw-2")


def test_integrations():
    some = row("System", enabled_for_integrations=["mqtt"])
    assert not passes(some)
    assert passes(some, integration="mqtt")
    assert passes(row("System", enabled_for_integrations=[]))
    node = row("Node", entity="gw-1", enabled_for_integrations=["mqtt"])
    assert passes(some, node, integration="mqtt")
    both = row("System", enabled_for_integrations=["mqtt", "webhook"])
    assert not passes(both, node)
