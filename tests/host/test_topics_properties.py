"""topics against naive models, on anything that text can be."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldpost import topics

LONG = 65535

levels = st.sampled_from(["", "a", "b", "$a", "a b", "é"])
names = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(bool)
patterns = st.builds(
    lambda share, body, end: share + "/".join(body + end),
    st.sampled_from(["", "", "$share/g/"]),
    st.lists(st.one_of(levels, st.just("+")), min_size=1, max_size=4),
    st.sampled_from([[], [], ["#"]]),
).filter(lambda text: text not in ("", "$share/g/"))
values = st.fixed_dictionaries(
    {}, optional={name: st.text(max_size=6) for name in topics.VARIABLES}
)
pieces = st.one_of(
    st.sampled_from(["{" + name + "}" for name in topics.VARIABLES]),
    st.sampled_from(["/", "//", "a", "value", "fieldpost/", "nodes/", "$", "é"]),
)


def covers(want, have):
    """The definition of section 4.7, on lists of levels."""
    if want == ["#"]:
        return True
    if not want or not have:
        return want == have
    return want[0] in ("+", have[0]) and covers(want[1:], have[1:])


@given(patterns, names)
def test_matching_is_the_definition(pattern, topic):
    topics.valid_filter(pattern)
    topics.valid_topic(topic)
    want = pattern.removeprefix("$share/g/").split("/")
    hidden = topic[0] == "$" and want[0] in ("+", "#")
    assert topics.matches(pattern, topic) == (not hidden and covers(want, topic.split("/")))


@given(st.text(alphabet="a/+#$\0é", max_size=8))
def test_filters_accepted_are_those_of_the_definition(text):
    want = text.split("/")
    good = (
        text
        and "\0" not in text
        and "#" not in want[:-1]
        and all(level in ("+", "#") or not set(level) & {"+", "#"} for level in want)
    )
    with contextlib.nullcontext() if good else pytest.raises(ValueError, match=r"filter|topic"):
        topics.valid_filter(text)


@given(st.text())
def test_a_sanitised_value_stays_one_level(text):
    clean = topics.sanitise(text)
    assert not set(clean) & set("/+#\0")
    assert clean == "".join("-" if c == "/" else c for c in text if c not in "+#\0")


@given(st.lists(pieces, min_size=1, max_size=8).map("".join), values)
def test_a_rendered_topic_can_be_published(text, data):
    try:
        template = topics.Template(text)
    except ValueError:
        assert "nodes" in text or not text.strip("/")
        return
    topic = template.render(data)
    assert topic == "" or "" not in topic.split("/")
    if topic:
        topics.valid_topic(topic)


@given(st.one_of(st.text(), st.text(alphabet="{}nodeafieldpost/#+\0\ud800", max_size=30)))
def test_any_text_is_accepted_or_a_value_error(text):
    for check in (topics.Template, topics.valid_topic, topics.valid_filter):
        with contextlib.suppress(ValueError):
            check(text)


@pytest.mark.parametrize("check", [topics.Template, topics.valid_topic, topics.valid_filter])
def test_length_counts_utf8_bytes(check):
    for text in ("x" * LONG, "é" * (LONG // 2)):
        check(text)
    for text in ("x" * (LONG + 1), "é" * (LONG // 2 + 1), "é" * LONG):
        with pytest.raises(ValueError, match=str(LONG)):
            check(text)
