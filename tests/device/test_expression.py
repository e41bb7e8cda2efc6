"""Expressions: what they mean, what is unknown, what is refused, and against Python's own."""

import random

from core_kit import refused

from fieldpost.expression import MAX_CHARS, MAX_DEPTH, MAX_LITERALS, MAX_POINTS, Expression

HEAP = "1m"


def value(text, **points):
    """The result where point ``d/<name>`` has the value of ``points[name]``."""
    expression = Expression(text)
    return expression.evaluate([points.get(key[2:]) for key in expression.points])


def test_arithmetic_and_its_order():
    for text, result in (
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("12 / 4 / 3", 1),
        ("2 - -3", 5),
        ("-2 * -3", 6),
        ("- (1 + 1)", -2),
        ("--5", 5),
        ("1.5 + .25", 1.75),
        ("7/2", 3.5),
        ("min(3, 1, 2)", 1),
        ("max(1, min(5, 4), 2) * 2", 8),
        ("abs(-3) - abs(3)", 0),
        ("abs(min(-1, -2))", 2),
        ("max((1), -(2))", 1),
    ):
        assert value(text) == result, text


def test_comparisons_and_logic():
    for text, result in (
        ("1 < 2", True),
        ("2 < 2", False),
        ("2 <= 2", True),
        ("3 > 2 and 2 >= 2", True),
        ("2 > 2", False),
        ("1 >= 2", False),
        ("1 == 1.0", True),
        ("1 != 1", False),
        ("1 != 2", True),
        ("true or false and false", True),
        ("(true or false) and false", False),
        ("not 1 > 2", True),
        ("not not true", True),
        ("not false and false", False),
        ("1 + 1 > 1 == true", None),
        ("true == 1", True),
        ("2 > 1 and not (3 > 4) or false", True),
        ("0 or 0.0", False),
        ("2 and -1", True),
    ):
        if result is None:
            refused(ValueError, Expression, text)
        else:
            assert value(text) is result, text


def test_points():
    text = "{d/heat} > 10 and {d/cool} > 10 and {d/heat} < 100"
    expression = Expression(text)
    assert expression.points == ("d/heat", "d/cool")
    assert expression.evaluate([50, 20]) is True
    assert expression.evaluate([50, 5]) is False
    assert Expression("{ahu-1/dat.x} - 1").points == ("ahu-1/dat.x",)
    assert value("{d/a}-{d/b}/{d/c}", a=1, b=4, c=2) == -1
    assert value("{d/on} == true", on=True) is True
    assert value("{d/on}", on=3) == 3
    # True and 1 are equal, but not the same literal.
    assert value("(true == 1) + 1") == 2


def test_unknown():
    for text, result in (
        ("{d/x} + 1", None),
        ("-{d/x}", None),
        ("not {d/x}", None),
        ("{d/x} > 1", None),
        ("{d/x} == {d/x}", None),
        ("min({d/x}, 1)", None),
        ("{d/x} and true", None),
        ("true and {d/x}", None),
        ("{d/x} and false", False),
        ("false and {d/x}", False),
        ("{d/x} or true", True),
        ("true or {d/x}", True),
        ("{d/x} or false", None),
        ("1 / 0", None),
        ("1 / {d/zero} > 5 or 2 > 1", True),
        ("0.0 / 0", None),
        ("1 / 0 == 1 / 0", None),
        (" * ".join(["{d/large}"] * 20), None),
        ("{d/large} * {d/large} * 0", None),
    ):
        found = value(text, zero=0, large=1e300)
        assert found is result, (text, found)


def test_large_integers():
    # Exact, and no exception where a float cannot be as large.
    assert value("{d/n} + 1", n=(1 << 63) - 1) == 1 << 63
    text = " * ".join(["{d/n}"] * 24)
    assert value(text, n=1 << 62) == 1 << 62 * 24
    found = value(text + " / 3", n=1 << 62)
    assert found is None or found > 0


def test_refused():
    for text, words in (
        ("", "it ends"),
        ("   ", "it ends"),
        ("1 +", "it ends"),
        ("(1", ") is missing"),
        ("1)", "( is missing"),
        ("()", "value expected before )"),
        ("1 2", "operator expected before a value"),
        ("1 {d/x}", "operator expected before a value"),
        ("1 not 2", "operator expected before not"),
        ("1 ~ 2", "unknown: ~"),
        ("~ 2", "unknown: ~"),
        ("* 2", "value expected before *"),
        ("1 < 2 < 3", "two comparisons in a row: join them by and"),
        ("1 == (2 > 1) == true", "two comparisons in a row: join them by and"),
        ("1 = 1", "unknown: ="),
        ("1 ! 1", "unknown: !"),
        ("1 && 1", "unknown: &"),
        ("1 // 1", "value expected before /"),
        ("2 ** 3", "value expected before *"),
        ("1 % 2", "unknown: %"),
        ("x > 1", "unknown: x"),
        ("True", "unknown: T"),
        ("__import__('os')", "unknown: _"),
        ("abs 1", "unknown: abs"),
        ("min", "unknown: min"),
        ("abs()", "value expected before )"),
        ("abs(1, 2)", "abs of 2 values"),
        ("min(1)", "min of 1 values"),
        ("min(1,)", "value expected before )"),
        ("min(,1)", "value expected before ,"),
        ("min(1, 2", ") is missing"),
        ("1, 2", "comma outside of a function"),
        ("(1, 2)", "comma outside of a function"),
        ("min(1, (2, 3))", "comma outside of a function"),
        ("1.2.3", "no number: 1.2.3"),
        (".", "no number: ."),
        ("1 + not 2", "not needs parentheses here"),
        ("- not true", "not needs parentheses here"),
        ("{d}", "a point is {device/name}"),
        ("{d/}", "a point is {device/name}"),
        ("{/x}", "a point is {device/name}"),
        ("{d/x/y}", "a point is {device/name}"),
        ("{d/x", "a point is {device/name}"),
        ("{}", "a point is {device/name}"),
        ("1\n", "unknown: \n"),
        ("'a'", "unknown: '"),
    ):
        found = refused(ValueError, Expression, text)
        assert found.startswith(words), (text, found)


def test_limits():
    assert value("1" + " " * (MAX_CHARS - 1)) == 1
    refused(ValueError, Expression, "1" + " " * MAX_CHARS)
    most = MAX_DEPTH
    assert value("(" * most + "1" + ")" * most) == 1
    refused(ValueError, Expression, "(" * (most + 1) + "1" + ")" * (most + 1))
    assert value("-" * most + "1") == 1
    refused(ValueError, Expression, "-" * (most + 1) + "1")
    refused(ValueError, Expression, "not " * (most + 1) + "true")
    for name, limit in (("{d/%d}", MAX_POINTS), ("%d", MAX_LITERALS)):
        parts = [name % i for i in range(limit + 1)]
        assert Expression("+".join(parts[:-1]))
        refused(ValueError, Expression, "+".join(parts))
    assert value("max(" + ",".join(["1"] * most) + ")") == 1
    refused(ValueError, Expression, "max(" + ",".join(["1"] * (most + 1)) + ")")


def random_pair(depth):
    """A random expression, and what means the same in Python, where ``a`` is 7."""
    pick = random.getrandbits(4)
    if depth == 0 or pick < 3:
        ours = ("1", "2", "3", "0", "5", "true", "false", "{d/a}")[random.getrandbits(3)]
        return ours, {"true": "True", "false": "False", "{d/a}": "7"}.get(ours, ours)
    left, right = random_pair(depth - 1), random_pair(depth - 1)
    if pick < 8:
        pattern = "(%%s %s %%s)" % random.choice(["<", "<=", ">", ">=", "==", "!=", "+", "-", "*"])
    elif pick < 10:
        sign = random.choice(["and", "or"])
        # In Python their value is one of the sides.
        python = "(bool(%s) %s bool(%s))" % (left[1], sign, right[1])
        return "(%s %s %s)" % (left[0], sign, right[0]), python
    elif pick < 13:
        pattern = ("(not %s)", "(- %s)", "abs(%s)")[pick - 10]
        return pattern % left[0], pattern % left[1]
    else:
        pattern = "min(%s, %s)" if pick & 1 else "max(%s, %s)"
    return pattern % (left[0], right[0]), pattern % (left[1], right[1])


def test_same_as_python():
    random.seed(5)
    compared = 0
    while compared < 500:
        ours, python = random_pair(4)
        if len(ours) <= MAX_CHARS:
            found, expected = value(ours, a=7), eval(python)
            assert found == expected and type(found) is type(expected), (ours, found, expected)
            compared += 1


def test_logic_and_order_without_parentheses():
    random.seed(6)
    for _ in range(300):
        count = 2 + random.getrandbits(2)
        parts = []
        for _ in range(count):
            left, right = random.getrandbits(2), random.getrandbits(2)
            sign = random.choice(["<", "<=", ">", ">=", "==", "!="])
            more = random.choice(["+ 1", "- 1", "* 2", "", "- 1 * 2"])
            text = "%d %s %s %d" % (left, more, sign, right)
            parts.append("not " + text if random.getrandbits(1) else text)
        text = parts[0]
        for part in parts[1:]:
            text += random.choice([" and ", " or "]) + part
        assert value(text) is eval(text), text


def test_any_text_is_compiled_or_refused():
    random.seed(7)
    alphabet = "{}/d x1.0()+-*<>=!,andornotmiabstrue~ "
    for _ in range(2000):
        text = "".join(
            alphabet[random.getrandbits(8) % len(alphabet)] for _ in range(random.getrandbits(4))
        )
        try:
            expression = Expression(text)
        except ValueError:
            continue
        expression.evaluate([1] * len(expression.points))
