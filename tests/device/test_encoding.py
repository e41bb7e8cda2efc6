"""encoding: how records look in JSON flushes, by the subscription and by the subscriber."""

from core_kit import refused
from flow_kit import Flow
from loggers_kit import CONFIG, SMALL, Board

from fieldpost.config import validate
from fieldpost.encoding import Encoder, parse
from fieldpost.errors import ConfigError
from fieldpost.point import Point

HEAP = "512k"
POINTS = {7: Point(7, "ahu-1", "dat")}


def encoder(**encoding):
    """An encoder with these keys and the defaults."""
    base = {"address": "id", "value": "json", "value_string": "driver"}
    return Encoder(dict(base, **encoding), POINTS)


def item(reading, text=None, point_id=7, **encoding):
    """A record as text."""
    return str(encoder(**encoding).item(5, point_id, reading, text, 0), "utf-8")


def test_the_defaults_change_nothing():
    assert item(1.5) == "[5,7,1.5]"
    assert item(True, "on") == '[5,7,true,"on"]'
    assert encoder().item(5, 7, [1, float("nan")], None, 1) == b",[5,7,[1, null]]"


def test_address():
    for pattern, text in (
        ("logger", "ahu-1/dat"),
        ("$name", "dat"),
        ("site/$gateway_id.$name/$id", "site/ahu-1.dat/7"),
        ("$id$id", "77"),
    ):
        assert item(1, address=pattern) == '[5,"%s",1]' % text
        # Of a point that is no more.
        assert item(1, point_id=8, address=pattern) == "[5,8,1]"


def test_value():
    nan = float("nan")
    for value, numerical in ((1.5, "1.5"), (True, "1"), (False, "0"), ("on", "null")):
        assert item(value, value="numerical") == "[5,7,%s]" % numerical
    assert item([1], value="numerical") == item(nan, value="numerical") == "[5,7,null]"
    assert item(1.5, "warm", value="none") == '[5,7,null,"warm"]'


def test_value_string():
    assert item(1, "warm", value_string="none") == "[5,7,1]"
    assert item(1, 'a "b"') == '[5,7,1,"a \\"b\\""]'


def test_patterns():
    assert parse("a$name/$json.room-1.x") == ["a", "name", "/", "json.room-1", ".x"]
    assert parse("$descriptions") == ["", "description", "s"]
    for text in ("$", "a$b", "$json", "$json.", "$json./", "$ name", "$$name"):
        assert "no $ but" in refused(ValueError, parse, text), text


def test_configuration():
    def check(encoding, section="subscriptions"):
        row = {"id": "default", "encoding": encoding}
        if section == "subscribers":
            row = {"subscriber": "c", "encoding": encoding}
        return validate(dict(CONFIG, **{section: [row]}))[section][0]["encoding"]

    for section in ("subscriptions", "subscribers"):
        assert check({}, section)["value"] == "json"
        for wrong in ({"address": "x"}, {"address": "$x"}, {"value": "x"}, {"names": {}}):
            (key,) = wrong
            text = refused(ConfigError, check, wrong, section)
            assert section + "[0].encoding." + key in text
    assert "names" not in check({"address": "$gateway_id/$name"})
    # What the node does not keep is put in at once.
    assert check({"address": "$name ($description) $json.room"})["names"] == {
        "1": "a () hall",
        "2": "b (Supply) ",
        "3": "a () ",
    }


def test_the_packed_format_has_none():
    flow = Flow()
    subscriber = flow.subscriber(format="packed", encoding={"address": "logger"})
    flow.append(1)
    subscriber.force()
    subscriber.step()
    assert flow.link.flushes()[0]["value"][0][1:] == [1, 1]


async def test_of_the_subscription_and_of_the_subscriber():
    log = dict(SMALL, id="default", encoding={"address": "logger"})
    board = Board(
        subscriptions=[log],
        subscribers=[
            {"subscriber": "c"},
            {"subscriber": "d", "encoding": {"address": "$name@$json.room", "value": "none"}},
        ],
    )
    board.node.points[1].update(5)

    def flushed(name):
        return [row[1:] for flush in board.flushes(name) for row in flush["value"]]

    assert flushed("c") == [["v/a", 5]]
    assert flushed("d") == [["a@hall", None]]
    # A change goes for what is in flight, too.
    changed = {"id": "default", "encoding": {"address": "id"}}
    await board.call("updateSubscription", subscription=changed)
    assert flushed("c") == [[1, 5]]
    await board.call("updateSubscription", subscription={"id": "default", "encoding": None})
    assert board.reader("c").encoder is None
    await board.call("subscribe", subscriber="d")
    assert flushed("d") == [[1, 5]]
    await board.close()


def test_nothing_is_loaded_without_one():
    board = Board(subscribers=[{"subscriber": "c"}])
    board.node.points[1].update(5)
    assert board.reader().encoder is None
    assert [row[1:] for row in board.flushes()[0]["value"]] == [[1, 5]]
