"""A push against a node that loses requests and replies, refuses, restarts and returns."""

import copy
import json

import pytest

from config_node import CONFIG, ConfigNode, RefusedError
from fieldpost_tools.api import ApiCallError, ApiTimeout
from fieldpost_tools.config import check, push
from fieldpost_tools.config.push import Node, PushError, current
from fieldpost_tools.errors import InputError

KEY = "the key of a fleet"


class QuickNode(Node):
    STATUS_PAUSE_S = 0.001
    RECONNECT_S = RESTART_S = 0.2
    PATIENCE_S = 0.2
    LOST_S = 0.05


@pytest.fixture
def there():
    return ConfigNode()


def wanted(**keys):
    config = copy.deepcopy(CONFIG)
    del config["last_id"]
    config["mqtt"][0] = {"host": "10.0.0.5", "user": "gw-1", "has_password": True}
    for point in config["devices"][0]["points"]:
        del point["id"]
    return config | keys


def faster():
    config = wanted()
    config["devices"][0]["interval"] = 500
    return config


def send(there, config, key=None, **keys):
    said = []
    node = QuickNode(there, key, said.append)
    result = push.push(node, current(there), config, "gw-1", **keys)
    return result, said


def test_it_is_sent_and_applied(there):
    result, said = send(there, faster())
    assert (result.status, result.before, result.after) == ("ok", 4, 5)
    assert there.config["devices"][0]["interval"] == 500
    assert [point["id"] for point in there.config["devices"][0]["points"]] == [1, 2]
    assert there.config["mqtt"][0]["password"] == "broker password"
    assert result.applied == ["devices"]
    assert [str(change) for change in result.changes] == ["+ devices.ahu-1.interval: 500"]
    assert there.log == ["get", "begin", "put", "apply", "status"]
    assert said[0].startswith("sent ")


def test_the_same_sends_nothing(there):
    result, _ = send(there, wanted())
    assert (result.status, result.before, result.after) == ("unchanged", 4, 4)
    assert there.log == ["get"]
    assert result.detail == "has it already"


def test_a_secret_that_the_node_has_already_changes_nothing(there, monkeypatch):
    monkeypatch.setenv("PW", "broker password")
    config = wanted()
    config["mqtt"][0] = {"host": "10.0.0.5", "user": "gw-1", "password": "env:PW"}
    result, _ = send(there, config)
    assert (result.status, result.changes, there.revision) == ("unchanged", [], 4)
    monkeypatch.setenv("PW", "another")
    result, _ = send(there, config)
    assert (result.status, there.revision) == ("ok", 5)
    assert there.config["mqtt"][0]["password"] == "another"
    assert "another" not in str(result)


def test_a_secret_that_is_not_there_or_not_allowed(there, monkeypatch):
    config = wanted(fleet_key="env:FIELDPOST_NO_SUCH")
    with pytest.raises(InputError, match="fleet_key"):
        send(there, config)
    monkeypatch.setenv("FIELDPOST_NO_SUCH", "t00 short")
    with pytest.raises(check.CheckError) as raised:
        send(there, config)
    assert "t00" not in str(raised.value)
    assert there.log == ["get", "get"]


def test_a_dry_run_sends_nothing(there):
    result, _ = send(there, faster(), dry_run=True)
    assert (result.status, result.after, there.revision) == ("planned", 4, 4)
    assert there.log == ["get"]


def test_what_is_not_allowed_is_not_sent(there):
    with pytest.raises(check.CheckError, match="state_interval"):
        send(there, wanted(state_interval=1))
    assert there.log == ["get"]


@pytest.mark.parametrize("method", ["begin", "put", "apply", "status"])
@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_request_or_a_reply_is_lost(there, method, fault):
    there.faults[method] = [None, fault, fault] if method == "put" else [fault]
    there.config["api"] = {"max_request": 256}
    config = faster() | {"api": {"max_request": 256}}
    if (method, fault) == ("apply", "before"):
        with pytest.raises(PushError, match="has not applied it"):
            send(there, config)
    result, _ = send(there, config)
    assert (result.status, there.revision) == ("ok", 5)
    assert there.config["devices"][0]["interval"] == 500
    assert (
        there.received
        == json.dumps(
            check.complete(config, CONFIG), ensure_ascii=False, separators=(",", ":")
        ).encode()
    )


def test_parts_fit_the_smallest_request(there):
    there.config["api"] = {"max_request": 256}
    sizes = []
    put = there.do_put
    there.do_put = lambda offset, data: sizes.append(len(data)) or put(offset, data)
    send(there, faster() | {"api": {"max_request": 256}})
    assert len(sizes) > 5
    assert max(sizes) + 120 < 256


def test_a_push_that_was_interrupted_goes_on(there):
    there.config["api"] = {"max_request": 256}
    config = faster() | {"api": {"max_request": 256}}
    there.faults["put"] = [None, None, *["before"] * 1000]
    with pytest.raises(ApiTimeout):
        send(there, config)
    had = len(there.received)
    assert had > 50
    there.faults.clear()
    offsets = []
    put = there.do_put
    there.do_put = lambda offset, data: offsets.append(offset) or put(offset, data)
    result, _ = send(there, config)
    assert result.status == "ok"
    assert offsets[0] == had


def test_a_stale_revision_is_refused(there):
    with pytest.raises(ApiCallError, match="stale revision: 3, the node has 4"):
        send(there, faster() | {"revision": 3})
    assert send(there, faster() | {"revision": 4})[0].status == "ok"


def test_a_change_meanwhile_is_refused(there):
    before = current(there)
    send(there, wanted(state_interval=5000))
    with pytest.raises(ApiCallError, match="stale revision: 4, the node has 5"):
        push.push(QuickNode(there), before, faster(), "gw-1")


def test_signatures():
    there = ConfigNode(fleet_key=KEY)
    for key, words in ((None, "signature missing"), ("another", "signature invalid")):
        with pytest.raises(ApiCallError, match=words):
            send(there, faster(), key)
    assert send(there, faster(), KEY)[0].status == "ok"
    # By openssl dgst -sha256 -hmac.
    expected = "6e276305d1919f85877890780868c8885fbd89550f0a0c1689c629573f59dc6b"
    assert push.signature(KEY, "gw-1", 4, "ab" * 32) == expected


def test_it_waits_for_the_links(there):
    config = wanted()
    config["mqtt"][0]["host"] = "10.0.0.9"
    result, said = send(there, config)
    assert result.after == 5
    assert "revision 5 waits for mqtt:main, 9 s left" in said


def test_it_tells_why_the_node_has_returned(there):
    there.returns = "mqtt:main: dns: no such host"
    config = wanted()
    config["mqtt"][0]["host"] = "no.such.host"
    with pytest.raises(PushError) as raised:
        send(there, config)
    words = "revision 5 not kept: mqtt:main: dns: no such host; what was revision 4 is back as 6"
    assert str(raised.value) == words
    assert there.config == CONFIG
    # What was returned from once is no word about the next.
    there.returns = None
    assert send(there, faster())[0].after == 7


def test_a_node_that_does_not_come_back(there):
    there.faults["status"] = ["before"] * 1000
    with pytest.raises(ApiTimeout, match=r"applied, but the node has not come back: .*no answer"):
        send(there, faster())


def test_a_node_that_takes_long_is_waited_for(there):
    """Its own deadline ends the request, but not what it does."""
    apply = there.do_apply

    def slow(**arguments):
        apply(**arguments)
        raise RefusedError("timeout")

    there.do_apply = slow
    assert send(there, faster())[0].after == 5


def test_a_refusal_is_told(there):
    there.do_begin = lambda **_: (_ for _ in ()).throw(ApiCallError("config.begin", "busy"))
    with pytest.raises(ApiCallError, match="busy"):
        send(there, faster())
    there.do_begin = lambda **_: (_ for _ in ()).throw(
        ApiCallError("config.begin", "invalid method")
    )
    with pytest.raises(PushError, match=r"its api\.mqtt would have to list"):
        send(there, faster())


def test_another_name_is_reached_by_another_client(there):
    asked = []

    class Renamed:
        timeout_s = 1

        def __enter__(self):
            return self

        def __exit__(self, *_):
            asked.append("closed")

        def call(self, method):
            return {**there.do_status()}

    node = QuickNode(there, reach=lambda name: asked.append(name) or Renamed())
    result = push.push(node, current(there), wanted(node="gw-2"), "gw-1")
    assert asked == ["gw-2", "closed"]
    assert result.after == 5


def test_rollback(there):
    with pytest.raises(PushError, match="no former configuration"):
        push.rollback(QuickNode(there), current(there))
    send(there, faster())
    result = push.rollback(QuickNode(there), current(there))
    assert (result.before, result.after) == (5, 6)
    assert there.config == CONFIG
    assert [str(change) for change in result.changes] == ["- devices.ahu-1.interval: 500"]
    assert push.rollback(QuickNode(there), current(there), 5).after == 7
    assert there.config["devices"][0]["interval"] == 500
    with pytest.raises(ApiCallError, match="no such revision"):
        push.rollback(QuickNode(there), current(there), 99)
