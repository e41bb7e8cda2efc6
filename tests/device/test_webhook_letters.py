"""Dead letters and delivery log over restarts, on a flash that is damaged or full."""

import json
import os

from http_peer import OK, Peer, reply
from mqtt_peer import until
from webhook_kit import FOLDER, Node, Run, clean, header

from fieldpost import smallfile
from fieldpost.compat import asyncio, names
from fieldpost.webhook import history, letters

NEEDS = "socket"
HEAP = "1m"
DISK = {"store": {"durable": True, "maxLatency": 100}}
REFUSED = reply(b"Content-Length: 0", status="400 x")
HOOKS = FOLDER + "/webhooks"
DEAD = HOOKS + letters.FOLDER


def files():
    """Names of the files of dead letters."""
    return sorted(names(DEAD))


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def life(peer, boot, *more, **keys):
    """A boot of a node with an endpoint."""
    row = {"name": "a", "url": peer.url}
    return Run(row, *more, queue=DISK, node=Node(boot=boot), **keys)


async def die(run, *numbers):
    """Let alarms happen that become dead letters."""
    for number in numbers:
        failed = run.hooks.counters["failed"]
        run.alarm(number)
        await run.count("failed", failed + 1)


def crash(run):
    """From now on nothing is saved any more."""
    run.hooks.queue.log.tend = lambda: None
    run.hooks.queue.flush = lambda: None
    run.hooks.keep = lambda last=False: None


def alarms(peer):
    return [json.loads(body)["alarm"]["id"] for _, body in peer.requests]


async def test_a_letter_survives_and_is_replayed_under_its_id():
    clean()
    async with Peer(REFUSED, OK) as peer:
        async with life(peer, 1) as run:
            await die(run, 7)
            crash(run)
        assert len(files()) == 1
        async with life(peer, 2) as run:
            (letter,) = run.hooks.dead
            assert (letter.endpoint, letter.event, letter.key) == ("a", "alarm_raised", "v/n")
            assert (letter.error, letter.count, letter.ts_ms) == ("status 400", 1, 1732233600123)
            assert letter.records is None, "the flash has it, the RAM need not"
            crash(run)
        async with life(peer, 3) as run:
            assert run.hooks.replay("other") == 0 == run.hooks.replay(id="x")
            assert run.hooks.replay("a", letter.id) == 1
            assert not run.hooks.dead and not files()
            await run.count("delivered", 1)
        assert alarms(peer) == [7, 7]
        assert header(peer.requests[0][0], "webhook-id") == letter.id
        assert header(peer.requests[1][0], "webhook-id") == letter.id
        assert peer.requests[0][1] == peer.requests[1][1]
    clean()


async def test_a_replay_survives_as_well():
    clean()
    async with Peer(REFUSED, [60000], OK) as peer:
        async with life(peer, 1) as run:
            await die(run, 7)
        async with life(peer, 2) as run:
            assert run.hooks.replay() == 1
            await until(lambda: len(peer.requests) == 2)
            crash(run)
        async with life(peer, 3) as run:
            await run.count("delivered", 1)
        assert alarms(peer) == [7, 7, 7]
        assert len({header(head, "webhook-id") for head, _ in peer.requests}) == 1
    clean()


async def test_the_newest_are_kept():
    clean()
    async with Peer(REFUSED) as peer:
        async with life(peer, 1, dead=3) as run:
            await die(run, *range(5))
            assert len(files()) == 3
        async with life(peer, 2, dead=3) as run:
            ids = [letter.id for letter in run.hooks.dead]
            assert ids == ["gw_1-101-2", "gw_1-101-3", "gw_1-101-4"]
            await die(run, 5)
            assert [letter.id for letter in run.hooks.dead][:2] == ids[1:] and len(files()) == 3
        async with life(peer, 3, dead=1) as run:
            assert len(run.hooks.dead) == 1 == len(files())
        async with life(peer, 4, dead=0) as run:
            assert not run.hooks.dead and not files()
            await die(run, 6)
            assert not run.hooks.dead and not files()
    clean()


async def test_an_endpoint_that_refuses_everything_does_not_wear_out_the_flash():
    clean()
    written = []
    real = letters.save
    letters.save = lambda path, value: (written.append(path), real(path, value))
    try:
        async with Peer(REFUSED) as peer:
            async with life(peer, 1) as run:
                await die(run, *range(30))
                assert len(written) == 8 and len(run.hooks.dead) == 8
                await run.pass_ms(10000)
                await until(lambda: len(written) == 9)
                await run.pass_ms(9999)
                assert len(written) == 9
                assert run.hooks.counters["unsaved"] == 0
            # An orderly end keeps them all.
            assert len(files()) == 8
            async with life(peer, 2) as run:
                assert len(run.hooks.dead) == 8
    finally:
        letters.save = real
    clean()


async def test_damaged_letters_are_removed_and_reported():
    clean()
    async with Peer(REFUSED) as peer:
        async with life(peer, 1) as run:
            await die(run, 1, 2, 3)
        first, second, third = files()
        text = read(DEAD + "/" + first)
        write(DEAD + "/" + first, text.replace("400", "200"))
        write(DEAD + "/" + second, text[: len(text) // 2])
        write(DEAD + "/00000009~", text[:20])
        async with life(peer, 2) as run:
            assert [letter.id for letter in run.hooks.dead] == ["gw_1-101-2"]
            assert files() == [third]
            assert [key for key, _ in run.node.errors] == ["webhooks", "webhooks"]
    clean()


async def test_a_letter_that_is_damaged_later_is_not_replayed():
    clean()
    async with Peer(REFUSED) as peer, life(peer, 1) as run:
        await die(run, 1)
        write(DEAD + "/" + files()[0], "nothing")
        assert run.hooks.replay() == 0 and len(run.node.errors) == 1
    clean()


class Full:
    """A flash without room, for the functions that write small files."""

    def __init__(self, *modules):
        self.modules = modules
        self.saves = [module.save for module in modules]

    def __enter__(self):
        for module in self.modules:
            module.save = self.fail

    def __exit__(self, *_):
        for module, save in zip(self.modules, self.saves):
            module.save = save

    def fail(self, *_):
        raise OSError(28)


async def test_a_full_flash_is_counted_and_costs_nothing_else():
    clean()
    async with Peer(REFUSED, REFUSED, OK) as peer, life(peer, 1) as run:
        with Full(letters):
            await die(run, 1)
            assert run.hooks.counters["unsaved"] == 1 and len(run.node.errors) == 1
            assert len(run.hooks.dead) == 1
        # Tried again when that may be.
        await run.pass_ms(10000)
        await until(lambda: len(files()) == 1)
        with Full(letters):
            await die(run, 2)
        assert run.hooks.replay() == 2 and not run.hooks.dead and not files()
        await run.count("delivered", 2)
        assert alarms(peer) == [1, 2, 1, 2]
    clean()


async def test_letters_stay_where_a_replay_cannot_be_kept():
    clean()
    async with Peer(REFUSED, OK) as peer, life(peer, 1) as run:
        await die(run, 1)
        run.hooks.queue.flush = lambda: False
        assert run.hooks.replay() == 1
        await run.count("delivered", 1)
        assert len(run.hooks.dead) == 1 == len(files())
    clean()


async def test_letters_of_endpoints_that_get_nothing_stay():
    clean()
    async with Peer(reply(b"Content-Length: 0", status="410 x"), OK) as peer:
        async with life(peer, 1) as run:
            await die(run, 1)
            assert run.hooks.replay() == 0 and len(run.hooks.dead) == 1
        async with life(peer, 2) as run:
            assert run.hooks.replay() == 0 and len(run.hooks.dead) == 1
        clean(HOOKS + "/disabled")
        async with life(peer, 3) as run:
            assert run.hooks.replay() == 1
            await run.count("delivered", 1)
    clean()


async def test_without_a_disk_they_are_in_ram():
    clean()
    async with Peer(REFUSED, OK) as peer, Run({"name": "a", "url": peer.url}) as run:
        await die(run, 1)
        assert run.hooks.dead[0].records and run.hooks.replay() == 1
        await run.count("delivered", 1)
    assert FOLDER not in os.listdir()


# -- the delivery log


def log(run):
    return [(one.id, one.status, one.error) for one in run.hooks.deliveries]


async def test_the_delivery_log_survives():
    clean()
    async with Peer(OK, REFUSED, OK) as peer:
        async with life(peer, 1) as run:
            run.alarm(1)
            await run.count("delivered", 1)
            await die(run, 2)
        async with life(peer, 2) as run:
            assert log(run) == [
                ("gw_1-101-0", "success", None),
                ("gw_1-101-1", "failed", "status 400"),
            ]
            one = run.hooks.deliveries[1]
            assert (one.endpoint, one.event, one.key) == ("a", "alarm_raised", "v/n")
            assert (one.attempts, one.http_status, one.count) == (1, 400, 1)
            assert one.preview.startswith("{") and len(one.preview) == 96
            run.alarm(3)
            await run.count("delivered", 1)
            assert [id for id, _, _ in log(run)][-1] == "gw_1-201-0"
        async with life(peer, 3, history=2) as run:
            assert [id for id, _, _ in log(run)] == ["gw_1-101-1", "gw_1-201-0"]
    clean()


async def test_a_power_cut_takes_a_minute_of_it():
    clean()
    async with Peer(OK) as peer:
        async with life(peer, 1) as run:
            run.alarm(1)
            await run.count("delivered", 1)
            await run.pass_ms(60000)
            await until(lambda: "deliveries" in os.listdir(HOOKS))
            run.alarm(2)
            await run.count("delivered", 2)
            await run.pass_ms(59000)
            crash(run)
        async with life(peer, 2) as run:
            assert [id for id, _, _ in log(run)] == ["gw_1-101-0"]
            crash(run)
    clean()


async def test_what_is_not_done_is_not_in_it():
    clean()
    async with Peer([60000], OK) as peer:
        async with life(peer, 1) as run:
            run.alarm(1)
            await until(lambda: peer.requests)
        async with life(peer, 2) as run:
            await run.count("delivered", 1)
            assert log(run) == [("gw_1-101-0", "success", None)]
    clean()


async def test_its_file_is_small_and_damage_takes_lines_only():
    clean()
    async with Peer(OK) as peer:
        async with life(peer, 1, history=100) as run:
            for number in range(40):
                run.alarm(number)
                await run.count("delivered", number + 1)
        path = HOOKS + history.FILE
        assert os.stat(path)[6] <= 4096
        lines = read(path).split("\n")
        assert len(lines) > 10
        lines[1] = lines[1].replace("success", "failed ")
        write(path, "\n".join(lines[:-3]) + "\n" + lines[-3][:20])
        async with life(peer, 2, history=100) as run:
            found = [id for id, _, _ in log(run)]
            assert found[-1] == "gw_1-101-39" and "gw_1-101-38" not in found
            assert len(found) == len(lines) - 4
    clean()


async def test_a_flash_that_takes_no_log_is_counted():
    clean()
    async with Peer(OK) as peer:
        run = life(peer, 1)
        real = history.seal

        def full(_value):
            raise OSError(28)

        history.seal = full
        try:
            async with run:
                run.alarm(1)
                await run.count("delivered", 1)
        finally:
            history.seal = real
        assert run.hooks.counters["unsaved"] == 1
        assert history.FILE[1:] not in os.listdir(HOOKS)
    clean()


async def test_disabled_endpoints_that_are_gone_are_forgotten():
    clean()
    async with Peer(reply(b"Content-Length: 0", status="410 x")) as peer:
        async with life(peer, 1) as run:
            await die(run, 1)
            assert len(smallfile.load(HOOKS + "/disabled")) == 1
        row = {"name": "b", "url": peer.url}
        async with Run(row, queue=DISK, node=Node(boot=2)):
            await asyncio.sleep(0)
        assert smallfile.load(HOOKS + "/disabled") == []
    clean()
