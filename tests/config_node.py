"""A stand-in for a node's ``config`` API: the contract in a few lines, and faults on demand.

``ConfigNode`` is at once what ``FakeNode`` answers by (``methods()``) and, for tests of what the
host does when replies are lost, a client of itself (``call``, ``stream``).
"""

import base64
import copy
import hashlib
import json

from fieldpost import config as node_config
from fieldpost.errors import ConfigError
from fieldpost_tools.api import ApiCallError, ApiTimeout
from fieldpost_tools.config import push

CONFIG = {
    "node": "gw-1",
    "mqtt": [{"host": "10.0.0.5", "user": "gw-1", "password": "broker password"}],
    "devices": [
        {
            "id": "ahu-1",
            "driver": "virtual",
            "points": [{"id": 1, "name": "dat", "value": 21.5}, {"id": 2, "name": "n"}],
        }
    ],
    "api": {"mqtt": ["read", "config.*"]},
    "last_id": 2,
}


class RefusedError(ValueError):
    """What a method answers as ``error``."""


class ConfigNode:
    """One node. ``log`` are the methods that were called.

    ``faults``: ``{method: [...]}``, one for each call to come: "before" loses the request, "after"
    the reply; None is no fault. ``returns``: why the next configuration is returned from.
    """

    def __init__(self, config=None, fleet_key=None):
        self.config = copy.deepcopy(config or CONFIG)
        self.fleet_key = fleet_key
        self.revision = 4
        self.returned = None
        self.returns = None
        self.log = []
        self.faults = {}
        self.timeout_s = 10.0
        self.staged = None
        self.received = b""
        self.kept = []
        self.trial_polls = 0

    # A client

    def call(self, method, arguments=None, **more):
        """As ``api.Client.call``."""
        name = method.partition(".")[2]
        self.log.append(name)
        faults = self.faults.get(name)
        fault = faults.pop(0) if faults else None
        if fault == "before":
            raise ApiTimeout("no answer")
        try:
            value = getattr(self, "do_" + name)(**{**(arguments or {}), **more})
        except RefusedError as error:
            raise ApiCallError(method, str(error)) from None
        if fault == "after":
            raise ApiTimeout("no answer")
        return value

    def stream(self, method, arguments=None, **more):
        """As ``api.Client.stream``."""
        yield self.call(method, arguments, **more)

    def methods(self):
        """For ``FakeNode``."""
        names = [name[3:] for name in dir(self) if name.startswith("do_")]
        return {f"config__{name}": self._method(name) for name in names}

    def _method(self, name):
        def method(**arguments):
            self.log.append(name)
            return getattr(self, "do_" + name)(**arguments)

        return method

    # The contract

    def do_get(self):
        return {"revision": self.revision, "config": self._hidden(self.config)}

    def do_status(self):
        trial = None
        if self.trial_polls:
            self.trial_polls -= 1
            trial = {"revision": self.revision, "previous": 4, "left_s": 9, "waits": ["mqtt:main"]}
            if not self.trial_polls and self.returns:
                self.returned = {"revision": self.revision, "reason": self.returns, "ts": None}
                self._become(self.kept.pop()[1])
        return {
            "revision": self.revision,
            "trial": trial,
            "returned": None if trial else self.returned,
            "staged": self.staged and {**self.staged, "offset": len(self.received)},
        }

    def do_begin(self, size, sha256, base, signature=None):
        if base != self.revision:
            raise RefusedError(f"stale revision: {base}, the node has {self.revision}")
        name = self.config["node"]
        if self.fleet_key and signature != push.signature(self.fleet_key, name, base, sha256):
            raise RefusedError("signature invalid" if signature else "signature missing")
        staged = {"size": size, "sha256": sha256}
        if self.staged != staged:
            self.staged, self.received = staged, b""
        return {"offset": len(self.received)}

    def do_put(self, offset, data):
        if self.staged is None:
            raise RefusedError("nothing staged")
        if offset != len(self.received):
            raise RefusedError(f"wrong offset: expected {len(self.received)}")
        self.received += base64.b64decode(data)
        return {"offset": len(self.received)}

    def do_apply(self, confirm_s):
        if hashlib.sha256(self.received).hexdigest() != self.staged["sha256"]:
            raise RefusedError("sha256 differs")
        wanted = json.loads(self.received)
        self.staged = None
        return self._swap(self._merged(wanted), confirm_s)

    def do_history(self):
        return [
            {"revision": revision, "size": len(json.dumps(config)), "sha256": "ab" * 32}
            for revision, config in reversed(self.kept[-4:])
        ]

    def do_getRevision(self, revision):  # noqa: N802 - the API's name
        found = {**dict(self.kept), self.revision: self.config}
        if revision not in found:
            raise RefusedError("no such revision")
        return {"revision": revision, "config": self._hidden(found[revision])}

    def do_rollback(self, revision=None, confirm_s=60):
        return self._swap(dict(self.kept)[revision], confirm_s)

    def _swap(self, wanted, confirm_s):
        try:
            node_config.validate(wanted)
        except ConfigError as error:
            raise RefusedError(str(error)) from None
        changed = [
            key for key in {**wanted, **self.config} if wanted.get(key) != self.config.get(key)
        ]
        if changed:
            self.kept.append((self.revision, self.config))
            self._become(wanted)
            self.returned = None
            self.trial_polls = 2 if "mqtt" in changed else 0
        return {
            "revision": self.revision,
            "changed": changed,
            "restart": False,
            "confirm_s": confirm_s if self.trial_polls else 0,
        }

    def _become(self, config):
        self.revision += 1
        self.config = config

    def _merged(self, wanted):
        """With the secrets that are kept; those of brokers only."""
        had = {row.get("name"): row for row in self.config.get("mqtt", ())}
        for row in wanted.get("mqtt", ()):
            if row.pop("has_password", False):
                row["password"] = had[row.get("name")]["password"]
        return wanted

    def _hidden(self, config):
        config = copy.deepcopy(config)
        for row in (config, *config.get("mqtt", ())):
            for key in ("password", "fleet_key"):
                if row.pop(key, None) is not None:
                    row["has_" + key] = True
        return config
