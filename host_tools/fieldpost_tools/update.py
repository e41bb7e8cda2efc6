"""A release's way to a node: what the node lacks is sent, then it restarts and proves healthy.

The node keeps what has come, so whatever is interrupted (this program, the link, the board) goes
on where it was: here by itself, else with the next ``Update`` of the same release.
"""

import base64
import hashlib
import hmac
import time

from fieldpost_tools import fleet
from fieldpost_tools.api.errors import ApiCallError, ApiLinkError, ApiTimeout
from fieldpost_tools.errors import ToolError

#: Bytes of a request to a node whose ``api.max_request`` is larger, which is by default this.
REQUEST_BYTES = 4096
#: Bytes of a file in one call, calls in one request, and characters of a call beside its data.
PART_BYTES = 2048
CALLS = 32
CALL_CHARS = 100


class UpdateError(ToolError):
    """A node cannot take the release, or did not keep it; ``str()`` says why."""


class Update:
    """The update of one node. ``connect()`` returns an ``api.Client``, each time it is called.

    ``fleet_key`` signs. ``sent_files`` and ``sent_bytes`` count what was sent, ``seconds`` how
    long that took. Attributes in capitals may be changed.
    """

    #: While nothing moves for so long, the connection is tried again.
    PATIENCE_S = 60.0
    RETRY_S = 1.0
    #: A node compares what it has with the release, file by file.
    PREPARE_S = 300.0
    POLL_S = 0.5
    #: Longest wait for an answer while the node restarts.
    ANSWER_S = 3.0

    def __init__(self, connect, release, fleet_key=None):
        self.sent_files = self.sent_bytes = 0
        self.seconds = 0.0
        self._connect = connect
        self._release = release
        self._fleet_key = fleet_key
        self._moved = 0.0

    def run(self, healthy_s=180.0):
        """Bring the release to the node and wait, for ``healthy_s``, until it proves healthy.

        Returns ``(status, detail, facts)`` as ``fleet.each`` wants them. Raises UpdateError,
        ApiError, and the other errors of ``connect``.
        """
        before = self.look()
        facts = {"version": f"{before['version']} → {self._release.version}"}
        if not self._runs(before):
            self.deliver()
            self.apply()
            words = f"{self.sent_files} of {len(self._release.files)} files sent, "
            words += f"{self.sent_bytes} bytes in {self.seconds:.1f} s"
        elif before["trial"]:
            words = "was on trial"
        else:
            return fleet.UNCHANGED, "runs it already", {"version": before["version"]}
        took = self.wait(healthy_s)
        return fleet.OK, f"{words}; healthy after {took:.1f} s", facts

    def plan(self):
        """What ``run`` would do, as it returns it."""
        before = self.look()
        if self._runs(before):
            word = "on trial" if before["trial"] else "runs it already"
            return fleet.UNCHANGED, word, {"version": before["version"]}
        facts = {"version": f"{before['version']} → {self._release.version}"}
        return "planned", f"into slot {'b' if before['slot'] == 'a' else 'a'}", facts

    def look(self):
        """The node's ``update.status``. Raises UpdateError where it takes no updates."""
        with self._connect() as client:
            status = client.call("update.status")
        if status["slot"] is None:
            raise UpdateError("has no slots: provision it once")
        if status["trial"] and not self._runs(status):
            raise UpdateError(f"version {status['version']} is on trial there")
        return status

    def deliver(self):
        """Send all that the node lacks, over as many connections as it takes."""
        self._moved = begin = time.monotonic()
        while True:
            try:
                with self._connect() as client:
                    self._send(client)
                break
            except (ApiTimeout, ApiLinkError):
                if time.monotonic() - self._moved > self.PATIENCE_S:
                    raise
                time.sleep(self.RETRY_S)
        self.seconds += time.monotonic() - begin

    def apply(self):
        """Have the node restart with the release, when it has read all of it again.

        Whether it does, where that takes longer than an answer may, shows in what follows.
        """
        with self._connect() as client:
            try:
                client.call("update.apply")
            except (ApiTimeout, ApiLinkError):
                return
            except ApiCallError as error:
                if error.text != "timeout":
                    raise

    def wait(self, healthy_s):
        """Wait until the node runs the release and has proved healthy; the seconds it took.

        Raises UpdateError where it returned to its former release, or takes longer.
        """
        begin = time.monotonic()
        said = "no answer"
        while time.monotonic() - begin < healthy_s:
            time.sleep(self.POLL_S)
            try:
                now = self._status()
            except (ApiTimeout, ApiLinkError) as error:
                said = str(error)
                continue
            if now["returned"]:
                raise UpdateError(f"returned to {now['version']}: {now['returned']}")
            if self._runs(now) and not now["trial"]:
                if now["version"] != self._release.version:
                    raise UpdateError(f"is healthy, but says that it is {now['version']}")
                return time.monotonic() - begin
            said = f"{now['version']} on trial" if now["trial"] else f"{now['version']} runs"
        raise UpdateError(f"not healthy within {healthy_s:.0f} s: {said}")

    def _runs(self, status):
        return status["sha256"] == self._release.sha256

    def _status(self):
        with self._connect() as client:
            client.timeout_s = min(client.timeout_s, self.ANSWER_S)
            return client.call("update.status")

    def _send(self, client):
        """Send what is missing over one connection; nothing of it is sent twice."""
        release = self._release
        offset = client.call("update.begin", self._announcement(client))["offset"]
        most = min(client.call("update.status")["max_request"], REQUEST_BYTES)
        if offset < len(release.manifest):
            self._put(client, [(0, offset)], most)
        self._prepared(client)
        while missing := client.call("update.need"):
            self._put(client, missing, most)

    def _announcement(self, client):
        release = self._release
        begin = {
            "version": release.version,
            "size": len(release.manifest),
            "sha256": release.sha256,
        }
        if self._fleet_key:
            node = client.call("system.getInfo")["node"]
            begin["signature"] = signature(self._fleet_key, node, release)
        return begin

    def _put(self, client, missing, most):
        for calls in requests(self._release, missing, most):
            for result in client.batch(calls):
                if isinstance(result, ToolError):
                    raise result
            self._moved = time.monotonic()
            for _, part in calls:
                self.sent_bytes += len(part["data"]) // 4 * 3 - part["data"].count("=")
                self.sent_files += part["offset"] == 0 and part["file"] > 0

    def _prepared(self, client):
        """Wait until the node knows what it lacks."""
        end = time.monotonic() + self.PREPARE_S
        while time.monotonic() < end:
            staged = client.call("update.status")["staged"] or {"error": "somebody gave it up"}
            if staged["error"]:
                raise UpdateError(staged["error"])
            if staged["phase"] != "preparing":
                return
            self._moved = time.monotonic()
            time.sleep(self.POLL_S / 4)
        raise UpdateError(f"prepares its slot for more than {self.PREPARE_S:.0f} s")


def signature(fleet_key, node, release):
    """What a node with that ``fleet_key`` wants to see of the release: 64 hex digits."""
    text = f"update\n{node}\n{release.version}\n{release.sha256}"
    return hmac.new(fleet_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def requests(release, missing, most):
    """Yield lists of calls of ``update.put``, each of them one request of ``most`` bytes or less.

    ``missing``: pairs of a file's number, 0 being the manifest, and how many bytes of it the node
    has.
    """
    calls, room = [], most - CALL_CHARS
    for number, offset in missing:
        content = release.files[number - 1].content if number else release.manifest
        while True:
            left = len(content) - offset
            count = min(left, PART_BYTES, max(0, room - CALL_CHARS) // 4 * 3)
            if calls and (len(calls) == CALLS or count < min(left, PART_BYTES // 8)):
                yield calls
                calls, room = [], most - CALL_CHARS
                continue
            data = base64.b64encode(content[offset : offset + count]).decode()
            calls.append(("update.put", {"file": number, "offset": offset, "data": data}))
            room -= CALL_CHARS + len(data)
            offset += count
            if offset >= len(content):
                break
    if calls:
        yield calls
