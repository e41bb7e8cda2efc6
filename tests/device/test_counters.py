"""counters: a number is never given twice, whatever a power cut leaves of the two files."""

import os
import random

from fieldpost.counters import Counters
from fieldpost.smallfile import make_folder, remove

FOLDER = "state/counters"
FILES = (FOLDER + "/counters.0", FOLDER + "/counters.1")
NAMES = ("boot", "stream")


def fresh():
    """An empty folder."""
    make_folder(FOLDER)
    for path in FILES:
        remove(path)


def content(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def put(path, data):
    if data is None:
        remove(path)
        return
    with open(path, "wb") as file:
        file.write(data)


def given(count):
    """``{name: numbers}`` that a new start gives out, ``count`` of each name in turn."""
    counters = Counters(FOLDER)
    made = {name: [] for name in NAMES}
    for _ in range(count):
        for name in NAMES:
            made[name].append(counters.take(name))
    return made


def check_unused(used, text):
    """A new start gives only numbers that were not given before."""
    new = given(10)
    for name in NAMES:
        assert len(set(new[name])) == 10
        assert not set(new[name]) & set(used[name]), (text, used, new)


def test_numbers_start_at_one_and_go_on():
    fresh()
    counters = Counters(FOLDER)
    assert [counters.take("boot") for _ in range(20)] == list(range(1, 21))
    assert counters.take("stream") == 1
    assert counters.degraded is None


def test_a_restart_skips_what_was_reserved():
    fresh()
    assert [given(1) for _ in range(3)] == [
        {"boot": [1], "stream": [1]},
        {"boot": [9], "stream": [9]},
        {"boot": [17], "stream": [17]},
    ]


def test_one_write_for_many_numbers():
    fresh()
    counters = Counters(FOLDER)
    contents = set()
    for _ in range(5 * Counters.RESERVE):
        counters.take("boot")
        contents.update([content(FILES[0]), content(FILES[1])])
    contents.discard(None)
    assert len(contents) == 5


def after(takes):
    """``(numbers used, contents of both files)`` after so many numbers of each name."""
    fresh()
    used = given(takes)
    return used, [content(path) for path in FILES]


def test_a_power_cut_at_any_byte_of_either_file():
    for takes in (1, 2, 9, 20):
        used, contents = after(takes)
        for i in range(2):
            for length in range(len(contents[i] or b"")):
                for path, data in zip(FILES, contents):
                    put(path, data)
                put(FILES[i], contents[i][:length])
                check_unused(used, (takes, i, length))


def test_any_bit_of_either_file():
    used, contents = after(9)
    for i in range(2):
        for at in range(len(contents[i])):
            for path, data in zip(FILES, contents):
                put(path, data)
            damaged = bytearray(contents[i])
            damaged[at] ^= 1 << at % 8
            put(FILES[i], damaged)
            check_unused(used, (i, at))


def test_either_file_may_vanish():
    for takes in (1, 2, 9, 20):
        used, contents = after(takes)
        for i in range(2):
            put(FILES[1 - i], contents[1 - i])
            remove(FILES[i])
            check_unused(used, (takes, i))


def test_a_name_that_only_the_lost_file_knew():
    fresh()
    counters = Counters(FOLDER)
    counters.take("boot")
    used = [counters.take("stream") for _ in range(3)]
    put(FILES[0], b"")
    # Nobody asks for a stream in this start, only in the next.
    assert Counters(FOLDER).take("boot") > 1000
    assert Counters(FOLDER).take("stream") > max(used)


def test_a_cut_before_the_first_number_was_given():
    fresh()
    for length in range(30):
        fresh()
        put(FILES[1], b'0badc0de [1, 1, {"boot": 9}]'[:length])
        counters = Counters(FOLDER)
        assert counters.take("boot") > 0
        assert counters.degraded == "counter files damaged"


def test_many_starts_with_damage_in_between():
    random.seed(1)
    fresh()
    used = {name: set() for name in NAMES}
    for _ in range(150):
        counters = Counters(FOLDER)
        assert counters.degraded is None
        for _ in range(1 + random.getrandbits(4)):
            name = NAMES[random.getrandbits(1)]
            number = counters.take(name)
            assert number not in used[name]
            used[name].add(number)
        path = FILES[random.getrandbits(1)]
        data = content(path)
        if data and random.getrandbits(1) and content(FILES[path == FILES[0]]):
            put(path, data[: random.getrandbits(10) % len(data)])


def test_both_files_lost_is_a_random_start():
    used, _ = after(20)
    starts = []
    for _ in range(3):
        for path in FILES:
            put(path, b"\xff\xfe\x00garbage")
        counters = Counters(FOLDER)
        assert counters.degraded == "counter files damaged"
        starts.append(counters.take("boot"))
        assert counters.take("boot") == starts[-1] + 1
        assert 0 < starts[-1] < 1 << 31
        # From here on it is persisted again.
        again = Counters(FOLDER)
        assert again.degraded is None
        assert again.take("boot") > starts[-1] + 1
    assert len(set(starts)) == 3
    assert not set(starts) & set(used["boot"])


def test_a_folder_that_cannot_be_written_is_a_random_start_each_time():
    make_folder("state")
    put("state/file", b"x")
    starts = set()
    for _ in range(3):
        counters = Counters("state/file/counters")
        assert counters.degraded is None
        numbers = [counters.take("boot") for _ in range(30)] + [counters.take("stream")]
        assert counters.degraded
        assert numbers[:30] == list(range(numbers[0], numbers[0] + 30))
        starts.update(numbers)
    assert len(starts) >= 90


def test_a_full_flash_gives_no_number_that_an_earlier_start_gave():
    fresh()
    counters = Counters(FOLDER)
    used = [counters.take("boot") for _ in range(Counters.RESERVE)]
    # The folder goes away: what was reserved is used up, the next number cannot be saved.
    for path in FILES:
        remove(path)
    os.rmdir(FOLDER)
    more = [counters.take("boot") for _ in range(3)]
    assert counters.degraded
    assert not set(more) & set(used)
    assert more[0] != used[-1] + 1, "a start from the old file would give this one, too"
    make_folder(FOLDER)
    assert counters.take("boot") == more[-1] + 1
    assert Counters(FOLDER).take("boot") > more[-1]
