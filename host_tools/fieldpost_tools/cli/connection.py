"""The options by which a command reaches a node: over MQTT or over its serial line."""

import functools
import os

import click

from fieldpost_tools.cli.collect import PASSWORD

#: Environment variable of the key that signs requests over MQTT.
SECRET = "FIELDPOST_API_SECRET"

_OPTIONS = (
    click.option("--serial", "port", metavar="PORT", help="Serial device of the board."),
    click.option(
        "--mqtt",
        "url",
        metavar="URL",
        help=f"mqtt[s]://[user[:password]@]host[:port]; the password also by {PASSWORD}.",
    ),
    click.option("--node", metavar="NAME", help="Name of the node, with --mqtt."),
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

    for option in reversed(_OPTIONS):
        wrapper = option(wrapper)
    return wrapper
