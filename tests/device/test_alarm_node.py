"""Alarms of a whole node: from the configuration to the bus, over restarts and live changes."""

import json
import os

from test_node import config, run_for

from fieldpost.compat import asyncio, sleep_ms
from fieldpost.errors import ConfigError
from fieldpost.events import ALARM_CLEARED, ALARM_RAISED, FDD_FAULT_RAISED
from fieldpost.node import Node
from fieldpost.smallfile import make_folder, remove

NEEDS = "socket"
HEAP = "512k"
FOLDER = "alarm-node"
STATE = FOLDER + "/alarms"

HIGH = {"id": "high", "type": "high_limit", "point": "v/n", "limit": 5}
FAULT = {"id": "both", "type": "expression", "expression": "{v/n} > 3 and {v/c} == 7"}


class Run:
    """A node that runs while the ``async with`` does; ``told`` are the events."""

    def __init__(self, made):
        self.node = Node(made, FOLDER)
        self.told = []
        for kind in (ALARM_RAISED, ALARM_CLEARED, FDD_FAULT_RAISED):
            self.node.bus.subscribe(kind, self._take)

    def _take(self, kind, key, data):
        self.told.append((kind, key, data.get("alarm_id", data.get("fault_id"))))

    async def __aenter__(self):
        self.task = asyncio.create_task(run_for(self.node, 60000))
        await sleep_ms(250)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass
        assert self.node.counters["errors"] == 0, self.node.last_error


def write(path, made):
    make_folder(FOLDER)
    with open(path, "w") as file:
        json.dump(made, file)


def kinds(told):
    return sorted((kind, key) for kind, key, _ in told)


async def test_a_node_with_alarms():
    remove(STATE)
    async with Run(config(alarms=[HIGH], faults=[FAULT])) as run:
        assert kinds(run.told) == [(ALARM_RAISED, "v/n"), (FDD_FAULT_RAISED, "v")]
        assert "alarms" in run.node.supervisor.tasks
        first = run.told
    # The counter begins below the limit, then it is above: the same alarm all the time or cleared.
    async with Run(config(alarms=[HIGH], faults=[FAULT])) as run:
        again = [number for kind, _, number in run.told if kind != ALARM_CLEARED]
        assert not set(again) & {number for _, _, number in first}


async def test_a_node_without_alarms_knows_nothing_of_them():
    remove(STATE)
    node = Node(config(), FOLDER)
    await run_for(node, 50)
    assert node.alarms is None
    assert "alarms" not in node.supervisor.tasks
    assert all(len(point.triggers) == 1 for point in node.points.values())


async def test_alarms_come_go_and_stay():
    remove(STATE)
    async with Run(config()) as run:
        node = run.node
        assert await node.apply(config(alarms=[HIGH])) == ["alarm:high"]
        await sleep_ms(50)
        assert kinds(run.told) == [(ALARM_RAISED, "v/n")]
        # Other devices, other subscriptions: the alarm stays, and its point is watched.
        points = [{"name": "n", "kind": "constant", "value": 6}, {"name": "c", "kind": "counter"}]
        device = {"id": "v", "driver": "virtual", "interval": 10, "points": points}
        changed = config(alarms=[HIGH], devices=[device])
        assert await node.apply(changed) == ["device:v"]
        await sleep_ms(50)
        assert len(run.told) == 1
        points[0]["value"] = 4
        await node.apply(changed)
        await sleep_ms(50)
        assert kinds(run.told)[0] == (ALARM_CLEARED, "v/n")
        low = dict(HIGH, limit=3)
        assert await node.apply(config(alarms=[low], devices=[device])) == ["alarm:high"]
        await sleep_ms(50)
        assert len(run.told) == 3
        assert await node.apply(config(devices=[device])) == ["alarm:high"]
        assert [kind for kind, _, _ in run.told[2:]] == [ALARM_RAISED, ALARM_CLEARED]
        assert len(node.points[1].triggers) == 1
        for bad in (dict(HIGH, point="v/x"), dict(HIGH, message="{x}")):
            try:
                await node.apply(config(alarms=[bad]))
            except ConfigError as error:
                assert error.path.startswith("alarms[0].")
            else:
                raise AssertionError("%r was accepted" % bad)


async def test_configuration_from_a_file():
    remove(STATE)
    path = FOLDER + "/config.json"
    for alarms in ([HIGH, dict(HIGH, id="more", limit=4)], [HIGH]):
        write(path, config(alarms=alarms, faults=[FAULT]))
        # The second time from the plan.
        for _ in range(2):
            async with Run(path) as run:
                assert sorted(run.node.alarms.rules) == sorted(
                    [row["id"] for row in alarms] + ["both"]
                )
                assert run.node.alarms.rules["high"].raised
    # What is raised and no longer configured is cleared.
    write(path, config())
    async with Run(path) as run:
        assert [kind for kind, _, _ in run.told].count(ALARM_CLEARED) == 1
        assert run.node.alarms.rules == {}
    os.remove(path)
