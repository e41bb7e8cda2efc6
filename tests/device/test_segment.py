"""segment and replay: whole or absent, and nothing wrong is read, whatever became of the bytes."""

import os
from struct import pack_into

from core_kit import refused
from log_kit import FOLDER, Fault, wipe

from fieldpost import segment, smallfile
from fieldpost.compat import crc32, names
from fieldpost.record import HEADER_BYTES, Header, parse_header, read, write
from fieldpost.replay import Segment

STREAM = 70
#: Index of the first record: its low 16 bits are about to wrap.
FIRST = 0x12FFF0


def chunk(first, count, seq=None):
    """A chunk of records whose values are their indexes."""
    buf = bytearray(HEADER_BYTES + 20 * count)
    pos = HEADER_BYTES
    for number in range(count):
        pos = write(buf, pos, len(buf), 1, 0, first + number)
    seq = first if seq is None else seq
    header = Header(True, STREAM, 3, seq, 1, count, pos - HEADER_BYTES, first & 0xFFFF)
    header.put(buf, 0)
    return buf[:pos]


def put(counts=(20, 1, 30), index=FIRST):
    """Write a segment of chunks with so many records; returns its bytes."""
    wipe()
    smallfile.make_folder(FOLDER + segment.FOLDER)
    chunks = []
    end = index
    for count in counts:
        chunks.append(chunk(end, count))
        end += count
    segment.write(FOLDER, index, [segment.header(index, end, 5000, 3)] + chunks)
    with open(segment.path(FOLDER, index), "rb") as file:
        return file.read()


def add(index, *chunks):
    """Write a segment of chunks."""
    end = index + sum(parse_header(part).count for part in chunks)
    segment.write(FOLDER, index, [segment.header(index, end, 1, 0)] + list(chunks))


def replace(data, index=FIRST):
    """Put other bytes in the segment's place."""
    with open(segment.path(FOLDER, index), "wb") as file:
        file.write(data)


def loaded(index=FIRST, room=1024):
    held = Segment(room)
    held.load(FOLDER, index)
    return held


def records(held, index=FIRST):
    """``[(index, value)]`` of all that can be read from ``index`` on."""
    made = []
    found = held.chunk(index)
    while found:
        buf, start, first, count, end = found
        pos = start + HEADER_BYTES
        for number in range(count):
            pos, _, _, value, _ = read(buf, pos)
            made.append((first + number, value))
        assert pos == end
        found = held.chunk(first + count)
    return made


def test_written_and_read():
    data = put()
    assert list(names(FOLDER + segment.FOLDER)) == ["00000012fff0"]
    assert segment.scan(FOLDER) == [FIRST]
    assert segment.head(FOLDER, FIRST) == (FIRST, FIRST + 51, 5000, 3)
    held = loaded()
    assert (held.index, held.end, held.loads) == (FIRST, FIRST + 51, 1)
    assert records(held) == [(index, index) for index in range(FIRST, FIRST + 51)]
    assert data[segment.SEGMENT_BYTES] == 0xF5


def test_the_header_is_as_described():
    data = put((2,), 7)
    header = bytearray(32)
    header[:4] = b"FPS1"
    pack_into("<QQII", header, 4, 7, 5000, 3, 2)
    pack_into("<I", header, 28, crc32(bytes(header[:28])))
    assert data[:32] == bytes(header)
    assert data[32:] == bytes(chunk(7, 2))


def test_the_chunk_of_an_index():
    put()
    held = loaded()
    for index in (FIRST, FIRST + 19, FIRST + 50, FIRST + 20, FIRST + 21, FIRST + 3):
        _, _, first, count, _ = held.chunk(index)
        assert first <= index < first + count
    assert held.chunk(FIRST + 51) is None
    assert held.chunk(FIRST)[2] == FIRST
    # Asked again, it is not looked for again.
    assert held.chunk(FIRST + 1) is held.chunk(FIRST + 2)


def test_seq_is_the_streams_own_affair():
    wipe()
    smallfile.make_folder(FOLDER + segment.FOLDER)
    chunks = [chunk(90, 2, 88), chunk(92, 3, 0)]
    add(90, *chunks)
    assert [index for index, _ in records(loaded(90), 90)] == [90, 91, 92, 93, 94]


def test_the_buffer_grows_for_a_segment_of_another_configuration():
    data = put((60,))
    held = loaded(room=64)
    assert len(held.buf) == len(data)
    assert len(records(held)) == 60


def test_a_smaller_segment_after_a_larger_one():
    put((40, 40))
    large = loaded()
    end = records(large)[-1][0]
    add(end + 1, chunk(end + 1, 2))
    large.load(FOLDER, end + 1)
    assert records(large, end + 1) == [(end + 1, end + 1), (end + 2, end + 2)]


def test_names_that_are_no_segments_are_left_alone():
    put()
    for name in ("tmp", "00000012FFF1", "00000012fff", "0000000012fff", "00000012fffg"):
        with open(FOLDER + segment.FOLDER + "/" + name, "w"):
            pass
    add(3, chunk(3, 2))
    assert segment.scan(FOLDER) == [3, FIRST]


def test_it_replaces_one_of_the_same_index():
    put((5,))
    add(FIRST, chunk(FIRST, 9))
    assert segment.scan(FOLDER) == [FIRST]
    assert len(records(loaded())) == 9
    assert segment.head(FOLDER, FIRST) == (FIRST, FIRST + 9, 1, 0)


def test_whole_or_absent():
    put((5,))
    for calls in range(4):
        with Fault(5, calls):
            refused(OSError, add, 900, chunk(900, 9))
        assert segment.scan(FOLDER) == [FIRST], calls
        with Fault(5, calls):
            refused(OSError, add, FIRST, chunk(FIRST, 9))
        assert len(records(loaded())) == 5
    with Fault(5, 4):
        add(900, chunk(900, 9))


def test_one_that_is_not_there():
    put()
    assert segment.head(FOLDER, 1) is None
    held = loaded()
    refused(OSError, held.load, FOLDER, 1)
    assert held.index == -1
    assert held.chunk(FIRST) is None
    assert held.loads == 1


def test_every_flipped_bit_is_noticed():
    data = put((3, 1, 4))
    whole = [(index, index) for index in range(FIRST, FIRST + 8)]
    starts = (0, 32, 32 + len(chunk(FIRST, 3)), len(data) - len(chunk(FIRST + 4, 4)), len(data))
    lost_by_part = (0, 3, 1, 4)
    for at in range(len(data)):
        for bit in range(8):
            replace(data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :])
            part = max(number for number in range(4) if at >= starts[number])
            held = loaded()
            found = records(held)
            assert all(pair in whole for pair in found)
            assert len(found) == 8 - lost_by_part[part], (at, bit)
            if part:
                assert held.end == FIRST + 8
            else:
                assert segment.head(FOLDER, FIRST) is None
                assert held.end > FIRST + 8
                assert held.bound() == FIRST + 8, "it ends where its last chunk does"


def test_every_truncation_is_noticed():
    data = put((3, 1, 4))
    for length in range(len(data)):
        replace(data[:length])
        held = loaded()
        found = records(held)
        assert found == [(FIRST + number, FIRST + number) for number in range(len(found))]
        assert len(found) in (0, 3, 4)
        if length < segment.SEGMENT_BYTES:
            assert segment.head(FOLDER, FIRST) is None
            assert held.bound() == FIRST + 1, "there was one record at least"
        else:
            assert held.end == FIRST + 8


def test_what_is_behind_damage_is_found():
    data = bytearray(put((10, 10, 10)))
    length = len(chunk(FIRST, 10))
    # Header of the segment and everything of its first chunk.
    data[: 32 + length] = bytes(32 + length)
    replace(data)
    found = records(loaded())
    assert [index for index, _ in found] == list(range(FIRST + 10, FIRST + 30))
    assert all(index == value for index, value in found)


def test_an_end_that_cannot_be_known_is_not_too_early():
    data = bytearray(put((10, 10)))
    data[5] ^= 1
    data[-1] ^= 1
    replace(data)
    held = loaded()
    assert len(records(held)) == 10
    assert held.bound() >= FIRST + 20


def test_what_is_named_otherwise_is_not_believed():
    data = put((5,))
    replace(data, 900)
    assert segment.head(FOLDER, 900) is None
    assert segment.scan(FOLDER) == [900, FIRST]


def test_bytes_that_are_none():
    put()
    for data in (b"", bytes(500), b"\xff" * 500, b"\xf5\x11" * 300, bytes(range(256)) * 3):
        replace(data)
        held = loaded()
        assert records(held) == []
        assert held.bound() > FIRST


def test_space_is_counted_now_and_then_only():
    wipe()
    smallfile.make_folder(FOLDER)
    blocks = os.statvfs(FOLDER)[1]
    space = segment.Space(FOLDER, 1000)
    with Fault(5, 1, "statvfs") as fault:
        assert space.holds(0)
        assert space.unit == blocks * (-(-1000 // blocks))
        assert fault.left == 0
        for _ in range(16):
            assert space.holds(0)
            space.take(1)
        refused(OSError, space.holds, 0)


def test_after_running_full_two_more_blocks_are_left():
    wipe()
    smallfile.make_folder(FOLDER)
    space = segment.Space(FOLDER, 1000)
    assert space.holds(0)
    for error in (OSError(5), MemoryError("memory allocation failed"), OSError()):
        space.failed(error)
        assert space._margin == 0
    space.failed(OSError(28))
    assert space._margin == 2 * space.unit
    with Fault(5, 0, "statvfs"):
        refused(OSError, space.holds, 0)
    assert space.holds(0)


def test_a_full_volume_is_counted_again_after_a_while():
    wipe()
    smallfile.make_folder(FOLDER)
    space = segment.Space(FOLDER, 1000)
    assert not space.holds(1 << 62)
    with Fault(5, 0, "statvfs"):
        for _ in range(15):
            assert not space.holds(1 << 62)
        refused(OSError, space.holds, 1 << 62)
