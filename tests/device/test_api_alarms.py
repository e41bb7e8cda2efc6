"""API module alarms: shown, acknowledged, shelved."""

from alarm_kit import Bench, high
from core_kit import UNIX_MS, refused

from fieldpost.api import alarms
from fieldpost.errors import ApiError
from fieldpost.smallfile import remove

HEAP = "1m"


class Node:
    def __init__(self, engine=None):
        self.alarms = engine


def call(node, name, **args):
    return alarms.METHODS[name][0](node, args)


def test_alarms_over_the_api():
    remove("alarm-state")
    with Bench([high(latching=True), high(limit=20)]) as one:
        node = Node(one.engine)
        one.set(11)
        number = one.events[0][1]["alarm_id"]
        assert len(call(node, "getAlarms", active=False)) == 2
        (row,) = call(node, "getAlarms", active=True)
        assert (row["id"], row["alarm_id"], row["acknowledged"]) == ("a0", number, False)
        one.set(9)
        (row,) = call(node, "getAlarms", active=True)
        assert row["state"] == "latched"
        assert call(node, "acknowledgeAlarm", alarm=number) is True
        assert call(node, "acknowledgeAlarm", alarm="a0") is False
        assert call(node, "getAlarms", active=True) == []
        assert one.told() == ["raised", "acknowledged", "cleared"]
        assert call(node, "shelveAlarm", alarm="a1", until=UNIX_MS + 5000) is None
        one.set(25)
        assert one.told() == ["raised"]
        call(node, "shelveAlarm", alarm="a1", until=0)
        one.wait(1)
        assert one.told() == ["raised"]


def test_errors():
    remove("alarm-state")
    with Bench([high()]) as one:
        node = Node(one.engine)
        for name, args in (
            ("acknowledgeAlarm", {"alarm": "other"}),
            ("acknowledgeAlarm", {"alarm": [1]}),
            ("shelveAlarm", {"alarm": "other", "until": UNIX_MS + 1000}),
            ("shelveAlarm", {"alarm": "a0", "until": UNIX_MS}),
        ):
            assert refused(ApiError, alarms.METHODS[name][0], node, args) == "invalid value"
            assert refused(ApiError, alarms.METHODS[name][0], Node(), args) == "invalid value"
    assert call(Node(), "getAlarms", active=True) == []
