"""The computer's own figures, where it has them."""

import gc
import os

from driver_kit import make, values

from fieldpost.drivers.host import Host


def exists(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def write(name, text):
    with open(name, "w") as file:
        file.write(text)


def first_line(name):
    with open(name) as file:
        return file.readline()


async def read(*points):
    driver = make(Host, points)
    await driver.start()
    await driver.read(driver.points)
    await driver.stop()
    return values(driver)


async def test_figures_of_proc():
    names = ("load1", "load15", "memory_total", "memory_free", "memory_available", "uptime")
    found = await read(*[{"source": name} for name in names])
    if not exists("/proc/loadavg"):
        assert found == ["not available"] * len(names)
        return
    load1, load15, total, free, available, uptime = found
    assert 0 <= load1 < 10000 and 0 <= load15 < 10000 and isinstance(load1, float)
    assert first_line("/proc/meminfo").split()[:2] == ["MemTotal:", str(total // 1024)]
    assert isinstance(total, int) and total % 1024 == 0
    assert 0 < free <= total and 0 < available <= total
    assert isinstance(uptime, int) and uptime > 0


async def test_temperature_of_a_sensor_file():
    write("warm", "45678\n")
    write("cold", "-5000")
    write("odd", "hot\n")
    write("long", "1000" + " " * 600 + "is not read so far")
    write("none", "")
    names = ("warm", "cold", "odd", "missing", "long", "none")
    found = await read(*[{"source": "temperature", "path": name} for name in names])
    absent = "not available"
    assert found == [45.7, -5.0, absent, absent, 1.0, absent]


async def test_disk_of_a_path():
    found = await read(
        {"source": "disk_total"},
        {"source": "disk_free"},
        {"source": "disk_free", "path": "/"},
        {"source": "disk_free", "path": "/no/such/folder"},
    )
    stat = os.statvfs("/")
    assert found[0] == stat[1] * stat[2]
    near = stat[1] * stat[4]
    assert abs(found[1] - near) + abs(found[2] - near) <= found[0] // 50
    assert found[3] == "not available"


async def test_heap_where_the_interpreter_tells():
    (found,) = await read({"source": "heap_free"})
    if hasattr(gc, "mem_free"):
        assert 1000 < found < gc.mem_free() + gc.mem_alloc()
    else:
        assert found == "not available"


async def test_an_absent_source_disturbs_no_other():
    write("warm", "20000")
    found = await read(
        {"source": "temperature", "path": "absent"}, {"source": "temperature", "path": "warm"}
    )
    assert found == ["not available", 20.0]
