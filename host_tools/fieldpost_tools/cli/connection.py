"""The options by which a command reaches a node, or many: over MQTT or over serial lines."""

import functools
import os
from fnmatch import fnmatchcase

import click

from fieldpost_tools.cli.collect import PASSWORD
from fieldpost_tools.errors import InputError

#: Environment variable of the key that signs requests over MQTT.
SECRET = "FIELDPOST_API_SECRET"

_SERIAL = click.option("--serial", "port", metavar="PORT", help="Serial device of the board.")
_MQTT = click.option(
    "--mqtt",
    "url",
    metavar="URL",
    help=f"mqtt[s]://[user[:password]@]host[:port]; the password also by {PASSWORD}.",
)
_COMMON = (
    click.option("--ca", metavar="FILE", help="PEM file that verifies the broker (mqtts://)."),
    click.option(
        "--secret-env",
        default=SECRET,
        show_default=True,
        metavar="NAME",
        help="Environment variable with the node's api.mqtt_secret, if it has one.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        default=10.0,
        show_default=True,
        type=click.FloatRange(0, 3600, min_open=True),
        metavar="SECONDS",
        help="Longest wait for an answer.",
    ),
)
_ONE = (click.option("--node", metavar="NAME", help="Name of the node, with --mqtt."),)
_MANY = (
    click.option(
        "--node",
        "names",
        multiple=True,
        metavar="NAME",
        help="Name of a node, or a pattern as 'gw-*'; repeatable.",
    ),
    click.option(
        "--inventory",
        "inventory",
        metavar="FILE",
        help="The nodes of a .csv or .toml file; serial ports, too, without --mqtt.",
    ),
    click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="KEY=VALUE",
        help="Only these of the inventory (also site=, board=); repeatable.",
    ),
    click.option(
        "--parallel",
        default=8,
        show_default=True,
        type=click.IntRange(1, 64),
        help="Nodes at a time.",
    ),
)


def connection_options(function):
    """Add the options; ``function`` gets ``connect``, which makes an ``api.Client``.

    ``connect()`` raises ApiLinkError, and InputError where the environment's secret is wrong.
    """

    @functools.wraps(function)
    def wrapper(port, url, node, ca, secret_env, timeout_s, **others):
        if bool(port) == bool(url):
            raise click.UsageError("where is the node? --serial PORT, or --mqtt URL --node NAME")
        if bool(url) != bool(node):
            raise click.UsageError("--mqtt and --node belong together")
        if ca and not url:
            raise click.UsageError("--ca is for --mqtt")

        def connect():
            from fieldpost_tools import api

            if port:
                return api.Client(api.SerialTransport(port), timeout_s)
            secret = os.environ.get(secret_env)
            transport = api.MqttTransport(url, node, os.environ.get(PASSWORD), ca, secret)
            return api.Client(transport, timeout_s)

        return function(connect=connect, **others)

    return _with(wrapper, (_SERIAL, _MQTT, *_ONE, *_COMMON))


def nodes_options(function):
    """Add the options for one node or many; ``function`` gets ``nodes``, a ``Nodes``."""

    @functools.wraps(function)
    def wrapper(port, url, names, inventory, tags, parallel, ca, secret_env, timeout_s, **others):
        if port and (url or names or inventory):
            raise click.UsageError("--serial is one node: no --mqtt, --node, --inventory with it")
        if not (port or inventory or (url and names)):
            raise click.UsageError(
                "where are the nodes? --serial PORT, --mqtt URL --node NAME, or --inventory FILE"
            )
        if (ca and not url) or (tags and not inventory):
            raise click.UsageError("--ca is for --mqtt, --tag for --inventory")
        secret = os.environ.get(secret_env)
        entries = _entries(inventory, names, tags) if inventory else {}
        with Nodes(port, names, entries, _hub(url, ca), secret, timeout_s, parallel) as nodes:
            return function(nodes=nodes, **others)

    return _with(wrapper, (_SERIAL, _MQTT, *_MANY, *_COMMON))


class Nodes:
    """The nodes that a command is for; a context manager that ends their connection.

    ``names``: their names, of a node at a serial line its port; ``single``: exactly one was named;
    ``entries``: those of the inventory, by name; ``parallel``: so many at a time.

    All of them share one connection to the broker. Raises ApiLinkError, and InputError for a
    pattern that matches no node.
    """

    def __init__(self, port, names, entries, hub, secret, timeout_s, parallel):
        self.parallel = parallel
        self.entries = entries
        self._port = port
        self._hub = hub
        self._secret = secret
        self._timeout_s = timeout_s
        self.single = not entries and len(names) < 2 and not any(map(_is_pattern, names))
        self._wanted = [port] if port else list(entries or names)
        self.names = []

    def __enter__(self):
        if self._hub:
            self._hub.open()
        try:
            self.names = self._expanded()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc_info):
        if self._hub:
            self._hub.close()

    def connect(self, name):
        """An ``api.Client`` of a node. Raises ApiLinkError."""
        from fieldpost_tools import api

        if self._hub:
            transport = api.MqttTransport(self._hub, name, secret=self._secret_of(name))
        else:
            port = self._port or self.entries[name].port
            if not port:
                raise InputError(name, None, "a port in the inventory, or --mqtt")
            transport = api.SerialTransport(port)
        return api.Client(transport, self._timeout_s)

    @property
    def over_mqtt(self):
        """Whether they are reached by their names at a broker."""
        return self._hub is not None

    def _secret_of(self, name):
        """What signs requests: the environment's, else what the inventory says of the node."""
        entry = self.entries.get(name)
        if self._secret or not (entry and entry.config):
            return self._secret
        from fieldpost_tools.config import files, secrets, template

        config = template.fill(files.load(entry.config), name, entry)
        known = secrets.resolved({"api": config.get("api") or {}}, entry.config.parent)
        return known["api"].get("mqtt_secret")

    def _expanded(self):
        """Names in place of patterns; those of an inventory are names already."""
        if self.entries or not any(map(_is_pattern, self._wanted)):
            return list(dict.fromkeys(self._wanted))
        known = sorted(self._hub.states())
        found = []
        for pattern in self._wanted:
            matching = [name for name in known if fnmatchcase(name, pattern)]
            if not matching and _is_pattern(pattern):
                raise InputError("node", pattern, "a pattern that a node of this broker matches")
            found += matching or [pattern]
        return list(dict.fromkeys(found))


def _hub(url, ca):
    from fieldpost_tools import api

    return api.MqttHub(url, os.environ.get(PASSWORD), ca) if url else None


def _entries(path, names, tags):
    from fieldpost_tools.inventory import Inventory

    entries = Inventory.load(path).select(names, tags)
    if not entries:
        raise InputError("tag", ", ".join(tags), "tags that a node of the inventory has")
    return {entry.name: entry for entry in entries}


def _is_pattern(name):
    return any(char in name for char in "*?[")


def _with(function, options):
    for option in reversed(options):
        function = option(function)
    return function
