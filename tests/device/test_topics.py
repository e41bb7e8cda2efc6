"""topics: templates, sanitising, validation and matching; the examples of MQTT 3.1.1."""

from fieldpost import topics
from fieldpost.topics import Template, matches

VALUE = "fieldpost/{node}/{device_id}/{point_id}/value"


def refused(check, *arguments):
    try:
        check(*arguments)
    except ValueError as error:
        return str(error)
    raise AssertionError("%r was accepted" % (arguments,))


def render(text, **values):
    return Template(text).render(values)


def test_node_id_splits_at_its_first_slash():
    assert render(VALUE, node="gw-1", node_id="ahu-1/dat") == "fieldpost/gw-1/ahu-1/dat/value"
    assert render("{device_id}/{point_id}", node_id="a/b/c") == "a/b-c"
    assert render("{device_id}/{point_id}/value", node_id="ahu-1") == "ahu-1/value"


def test_node_id_is_one_level():
    assert render("prefix/{node_id}/suffix", node_id="ahu-1/dat") == "prefix/ahu-1-dat/suffix"


def test_values_are_sanitised():
    assert render("x/{device_id}", device_id="dev+1#bad") == "x/dev1bad"
    assert topics.sanitise("dev+1#bad") == "dev1bad"
    assert topics.sanitise("a/b\0c") == "a-bc"
    assert topics.sanitise("Zähler °C $1") == "Zähler °C $1"
    assert topics.sanitise(17) == "17"


def test_explicit_values_go_before_node_id():
    values = {"node_id": "ahu-1/dat", "device_id": "d", "point_id": "p"}
    assert Template("{device_id}/{point_id}").render(values) == "d/p"


def test_every_variable():
    text = "/".join("{%s}" % name for name in topics.VARIABLES)
    values = {name: name.upper() for name in topics.VARIABLES}
    assert Template(text).render(values) == "/".join(name.upper() for name in topics.VARIABLES)


def test_empty_levels_are_left_out():
    assert render("a/{site_id}/b") == "a/b"
    assert render("{site_id}/a/{point_id}", site_id=None) == "a"
    assert render("/a//b/") == "a/b"
    assert render("a/{site_id}/{severity}/{protocol}/b") == "a/b"
    assert render("{site_id}/{severity}/{protocol}/x", severity="+#") == "x"
    assert render("a/x{site_id}y/b") == "a/xy/b"
    assert render("{site_id}") == ""


def test_several_variables_in_a_level():
    assert render("{protocol}-{severity}.x", protocol="modbus", severity="info") == "modbus-info.x"


def test_unknown_variable_is_named_with_what_is_allowed():
    message = refused(Template, "a/{nodes}/b")
    assert "{nodes}" in message
    for name in topics.VARIABLES:
        assert "{%s}" % name in message
    for text in ("a/{}/b", "a/{node", "a/{ node }", "{node{point_id}}"):
        assert "unknown variable" in refused(Template, text), text


def test_templates_that_could_not_be_published():
    for text in ("a/#", "+/b", "a+/b", "a\0b", "", "/", "///", None, 5, "a/b}", "}{node}"):
        refused(Template, text)


def test_control_topics_are_reserved():
    for text in (
        "fieldpost/nodes/{node}/state",
        "fieldpost/nodes",
        "/fieldpost//nodes/{device_id}",
        "fieldpost/{site_id}/nodes/x",
        "fieldpost/nodes{point_id}/x",
    ):
        assert "reserved" in refused(Template, text), text
    text = "fieldpost/nodes/{node}/state"
    assert Template(text, control=True).render({"node": "gw-1"}) == "fieldpost/nodes/gw-1/state"
    assert render("fieldpost/nodes2/{node}", node="a") == "fieldpost/nodes2/a"
    assert render("fieldpost/{node}/nodes/{device_id}", node="a") == "fieldpost/a/nodes"


def test_names_that_may_be_published_to():
    for topic in ("/", "/finance", "Accounts payable", "$SYS/x", "sport//tennis"):
        topics.valid_topic(topic)
    for topic in ("", "sport/+", "sport/tennis#", "a\0", b"a", None):
        refused(topics.valid_topic, topic)


def test_filters_of_the_specification():
    for pattern in ("sport/tennis/#", "#", "+", "+/tennis/#", "sport/+/player1", "/+", "+/+", "/"):
        topics.valid_filter(pattern)
    assert "last" in refused(topics.valid_filter, "sport/tennis/#/ranking")
    assert "whole" in refused(topics.valid_filter, "sport/tennis#")
    assert "whole" in refused(topics.valid_filter, "sport+")
    for pattern in ("", "##", "++", "#/", "+a/b", "a\0b", None):
        refused(topics.valid_filter, pattern)


def test_shared_filters():
    for pattern in (
        "$share/g/a",
        "$share/g/#",
        "$share/g/+/a",
        "$share/g//",
        "$shared/x",
        "$share",
    ):
        topics.valid_filter(pattern)
    for pattern in ("$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#/a"):
        assert "$share/group/filter" in refused(topics.valid_filter, pattern), pattern
    refused(topics.valid_filter, "$share/g/a#")


def test_multi_level_wildcard():
    pattern = "sport/tennis/player1/#"
    for rest in ("", "/ranking", "/score/wimbledon"):
        assert matches(pattern, "sport/tennis/player1" + rest)
    assert not matches(pattern, "sport/tennis/player12")
    assert matches("sport/#", "sport")
    assert not matches("sport/#", "sports")
    assert matches("#", "a/b/c")
    assert matches("#", "/")


def test_single_level_wildcard():
    assert matches("sport/tennis/+", "sport/tennis/player1")
    assert not matches("sport/tennis/+", "sport/tennis/player1/ranking")
    assert not matches("sport/+", "sport")
    assert matches("sport/+", "sport/")
    assert matches("+/+", "/finance")
    assert matches("/+", "/finance")
    assert not matches("+", "/finance")


def test_levels_are_compared_whole():
    assert matches("ACCOUNTS", "ACCOUNTS")
    assert not matches("ACCOUNTS", "Accounts")
    assert not matches("a/b", "a")
    assert not matches("a", "a/b")
    assert not matches("/a", "a")
    assert not matches("a/", "a")


def test_dollar_topics():
    assert not matches("#", "$SYS/uptime")
    assert not matches("+/monitor/Clients", "$SYS/monitor/Clients")
    assert matches("$SYS/#", "$SYS/monitor/Clients")
    assert matches("$SYS/monitor/+", "$SYS/monitor/Clients")
    assert matches("a/#", "a/$b")


def test_shared_filters_match_by_their_filter():
    assert matches("$share/g/sport/+", "sport/tennis")
    assert matches("$share/g/#", "sport")
    assert not matches("$share/g/#", "$SYS/x")
    assert matches("$share/g/$SYS/#", "$SYS/x")
    assert matches("$share/g//finance", "/finance")


def test_node_prefix_filter():
    prefixes = topics.prefixes("ahu-1, vav-2/ ,,")
    assert prefixes == ["ahu-1", "vav-2/"]
    assert topics.selected("ahu-1/dat", prefixes)
    assert topics.selected("ahu-12/dat", prefixes)
    assert topics.selected("vav-2/t", prefixes)
    assert not topics.selected("vav-22/t", prefixes)
    for text in ("", " , "):
        assert topics.selected("anything", topics.prefixes(text))
