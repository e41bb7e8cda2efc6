"""JSON text sequences: every text is found, whatever is printed around it and how it is cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fieldpost_tools.api.sequences import Splitter, frame

LIMIT = 50
TEXT = st.binary(max_size=LIMIT).map(lambda data: data.translate(None, b"\x1e\n"))
NOISE = st.binary(max_size=20).map(lambda data: data.replace(b"\x1e", b"\n"))


def split(data, cuts=()):
    noise = []
    splitter = Splitter(LIMIT, noise.append)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    texts = [text for begin, end in pairwise(edges) for text in splitter.feed(data[begin:end])]
    return texts, b"".join(noise)


@given(st.lists(st.tuples(NOISE, TEXT)), NOISE, st.lists(st.integers(0, 500)))
def test_texts_and_noise_are_told_apart(parts, last, cuts):
    data = b"".join(noise + frame(text) for noise, text in parts) + last
    texts, noise = split(data, cuts)
    assert texts == [text for _, text in parts]
    assert noise == b"".join(noise for noise, _ in parts) + last


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_no_byte_is_invented_and_no_text_is_too_long(data, cuts):
    texts, noise = split(data, cuts)
    assert all(len(text) <= LIMIT and b"\x1e" not in text for text in texts)
    assert sum(map(len, texts)) + len(noise) <= len(data)


def test_a_text_that_was_cut_off_is_noise():
    assert split(b'\x1e{"id":\x1e{}\n') == ([b"{}"], b'{"id":')


def test_a_text_that_is_too_long_is_noise_and_what_follows_is_not_lost():
    long = b"x" * (LIMIT + 1)
    assert split(frame(long) + frame(b"1")) == ([b"1"], long + b"\n")
    assert split(frame(b"x" * LIMIT)) == ([b"x" * LIMIT], b"")
    texts, noise = split(b"\x1e" + b"x" * 1000, range(0, 1000, 7))
    assert (texts, len(noise)) == ([], 1000)
