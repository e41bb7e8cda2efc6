"""Requests over the console: framing, noise, limits, replies that do not mix."""

import json

from api_kit import Api, until

from fieldpost.api import serial
from fieldpost.compat import asyncio, sleep_ms


class Console:
    """A console whose input is ``text``; then there is none, or it ends."""

    def __init__(self, text=b"", ends=False):
        self._input = text
        self.left = len(text)
        self._ends = ends
        self.output = bytearray()
        self.taking = True

    def type(self, text):
        self._input += text
        self.left += len(text)

    def read(self):
        if self.left:
            self.left -= 1
            return self._input[-self.left - 1]
        return -1 if self._ends else None

    async def write(self, data):
        for byte in data:
            self.output.append(byte)
            await sleep_ms(0)
        return self.taking

    def replies(self):
        """What was written, apart."""
        parts = bytes(self.output).split(b"\x1e")
        assert parts[0] == b""
        assert all(part.endswith(b"\n") for part in parts[1:])
        return [json.loads(part) for part in parts[1:]]


class Node:
    """As much of a node as the console asks for."""

    def __init__(self, **settings):
        self.api = Api(**settings)
        self.settings = {"api": self.api.dispatcher.settings}
        self.counters = {"bad_requests": 0}

    def dispatcher(self):
        return self.api.dispatcher


def request(value, **more):
    return (json.dumps(dict({"module": "kit", "method": "echo", "value": value}, **more))).encode()


async def answered(text, count, **settings):
    """``(replies, node)`` once there are ``count`` replies to a text."""
    node, console = Node(**settings), Console(text)
    task = asyncio.create_task(serial.serve(node, console))
    try:
        await until(lambda: console.output.count(b"\n") >= count)
        await sleep_ms(30)
    finally:
        task.cancel()
    return console.replies(), node


async def test_requests_are_answered_and_all_else_is_ignored():
    noise = b"\x01\x02>>> print(1)\r\n\xff\xfe{}\n"
    text = noise + b"\x1e" + request(1) + b"\n" + noise + b"\x1e" + request("é") + b"\r\n" + noise
    replies, node = await answered(text, 2)
    assert replies == [{"value": 1}, {"value": "é"}]
    assert node.api.dispatcher.counters["requests"] == 2
    assert node.counters["bad_requests"] == 0


async def test_a_request_may_come_in_many_pieces():
    node, console = Node(), Console()
    task = asyncio.create_task(serial.serve(node, console))
    text = b"\x1e" + request("x" * 200) + b"\n"
    for at in range(0, len(text), 7):
        console.type(text[at : at + 7])
        await sleep_ms(3)
    await until(lambda: console.output.count(b"\n") == 1)
    assert console.replies() == [{"value": "x" * 200}]
    task.cancel()


async def test_one_that_is_cut_off_is_counted():
    text = b"\x1e" + request(1)[:-3] + b"\x1e" + request(2) + b"\n\x1e\x1e" + request(3) + b"\n"
    replies, node = await answered(text, 2)
    assert replies == [{"value": 2}, {"value": 3}]
    assert node.counters["bad_requests"] == 1


async def test_one_that_is_too_long_takes_no_memory():
    text = b"\x1e" + b"x" * 5000 + b"\n\x1e" + request(1) + b"\n"
    replies, _node = await answered(text, 2, max_request=256)
    assert replies == [{"error": "request longer than 256"}, {"value": 1}]

    line = serial._Line(Node(max_request=256), Console())
    for byte in b"\x1e" + b"x" * 5000:
        line._take(byte)
    assert len(line._text) == 257


async def test_garbage_in_a_frame_is_answered():
    replies, _node = await answered(b"\x1e\n\x1e{\n\x1e\xff\n", 3)
    assert replies == [{"error": "invalid request"}] * 3


async def test_replies_do_not_mix():
    text = b"".join(b"\x1e" + request("v" * 100, id=number) + b"\n" for number in range(3))
    replies, _node = await answered(text, 3)
    assert sorted(reply["id"] for reply in replies) == [0, 1, 2]


async def test_long_replies_are_segments_each_in_a_frame():
    text = b'\x1e{"module":"kit","method":"rows","count":20}\n'
    replies, _node = await answered(text, 4, segment=128)
    assert [reply["segment"] for reply in replies] == list(range(1, len(replies) + 1))
    value = json.loads("".join(reply["value"] for reply in replies))["value"]
    assert len(value) == 20


async def test_a_host_that_takes_nothing_is_counted():
    node, console = Node(), Console(b"\x1e" + request(1) + b"\n")
    console.taking = False
    task = asyncio.create_task(serial.serve(node, console))
    await until(lambda: node.api.dispatcher.counters["unsent"] == 1)
    task.cancel()


async def test_the_end_of_the_input_ends_it():
    await serial.serve(Node(), Console(b"\x1e{", ends=True))


async def test_a_flood_leaves_others_their_turn():
    node, console = Node(), Console(b"x" * 10000)
    task = asyncio.create_task(serial.serve(node, console))
    count = 0
    while console.left:
        await asyncio.sleep(0)
        count += 1
    assert count > 100
    task.cancel()
