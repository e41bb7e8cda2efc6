"""InfluxDB 1.x and 2.x by line protocol over HTTP, compressed, over one kept connection.

* v1: ``POST {url}/write?db=&precision=ms`` (``database``, ``user``, ``password``)
* v2: ``POST {url}/api/v2/write?org=&bucket=&precision=ms`` (``org``, ``bucket``, ``token``)

A record is ``point_value,device=…,node=…,point=… value=… ts``: numbers are floats, as in every
series of that field; integers that a float does not hold exactly, booleans, text and JSON go into
the fields ``value_int``, ``value_bool``, ``value_text``, so that no series ever changes its type.
An alarm is ``alarm,node=…,severity=… state="…",alarm_id=…i[,value=…] ts``, a status
``device_status,device=…,node=… state="…" ts``. InfluxDB has one value per series and time, so a
record written twice stands there once; so do two records of one point in the same millisecond,
unless ``precision`` is ``ns``: then their sequence number makes the last six digits.

Line protocol: the reference of InfluxDB 1.x and 2.x. What it cannot hold (NaN, infinities, null)
is skipped and counted.
"""

import gzip
import json
import math
import re
from urllib.parse import urlencode

import requests

from fieldpost_tools.errors import InputError
from fieldpost_tools.events import ALARM
from fieldpost_tools.export.connector import Connector, Rejected, Unavailable
from fieldpost_tools.export.retry import retry_after_s

_SPECIAL = re.compile(r"[,= ]|\\(?=[,= \n\r\\])")
_NEWLINES = str.maketrans({"\n": "\\n", "\r": "\\r"})
#: Stands for a backslash at the end of a tag, which line protocol cannot hold.
_LAST_BACKSLASH = "\uff3c"
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ ", "\n": "\\n", "\r": "\\r"})
_STRING = str.maketrans({'"': '\\"', "\\": "\\\\"})
_INT64 = 2**63
_EXACT = 2**53


class InfluxDb(Connector):
    """See the module."""

    OPTIONS = {
        "url": "str 8..512",
        "version": "enum v1 v2 = v2",
        "org": "str 1..256 = ?",
        "bucket": "str 1..256 = ?",
        "token": "secret 1..512 = ?",
        "database": "str 1..256 = ?",
        "user": "str 1..256 = ?",
        "password": "secret 0..512 = ?",
        "precision": "enum ms ns = ms",
        "measurement": "str 1..128 = point_value",
        "timeout_s": "num 0.1..600 = 10",
        "ca": "str 1..1024 = ?",
        "verify": "bool = true",
    }
    NEEDS_TIME = True

    def __init__(self, name, options):
        super().__init__(name, options)
        needed = ("database",) if options["version"] == "v1" else ("org", "bucket", "token")
        for key in needed:
            if options[key] is None:
                allowed = f"a text with version {options['version']}"
                raise InputError(f"{name}.{key}", None, allowed)
        self._url = options["url"].rstrip("/")
        self._session = None
        self._ns = options["precision"] == "ns"
        self._head = options["measurement"].translate(_MEASUREMENT)

    def open(self, mark=None):  # noqa: ARG002 – what is written twice stands there once
        """A session whose connection is kept; nothing is sent yet."""
        options = self.options
        session = requests.Session()
        session.trust_env = False
        session.verify = (options["ca"] or True) if options["verify"] else False
        session.headers["User-Agent"] = "fieldpost"
        if options["version"] == "v2":
            session.headers["Authorization"] = f"Token {options['token']}"
        elif options["user"]:
            session.auth = (options["user"], options["password"] or "")
        self._session = session

    def close(self):
        """Close the connection."""
        if self._session:
            self._session.close()
            self._session = None

    def write(self, samples):
        """One request for the batch."""
        heads = {}
        lines = [line for line in (self._line(one, heads) for one in samples) if line]
        self._post(lines)
        return len(samples) - len(lines)

    def write_events(self, events):
        """The same for alarms and device status; those without a time are skipped."""
        lines = [self._event_line(event) for event in events if event.ts_ms is not None]
        self._post(lines)
        return len(events) - len(lines)

    def health(self):
        """Asks ``/ping``, and for the right to write with an empty batch."""
        if not self._session:
            self.open()
        answer = self._send("GET", f"{self._url}/ping", None)
        self._check(self._send("POST", self._write_url(), b""), allow_empty=True)
        return f"InfluxDB {answer.headers.get('X-Influxdb-Version', '?')} at {self._url}"

    # Lines

    def _line(self, sample, heads):
        field = _field(sample.value)
        if field is None:
            return None
        # The samples of a point share their tags, and the object that holds them.
        key = sample[:4], id(sample.tags)
        head = heads.get(key)
        if head is None:
            tags = {**sample.tags, "node": sample.node, "device": sample.device}
            tags |= {"point": sample.point, "unit": sample.unit}
            head = heads[key] = self._head + _tags(tags)
        if sample.value_text:
            field += ',text="' + sample.value_text.translate(_STRING) + '"'
        if self._ns:
            return f"{head} {field} {sample.ts_ms * 1_000_000 + sample.seq % 1_000_000}"
        return f"{head} {field} {sample.ts_ms}"

    def _event_line(self, event):
        body, fields = event.body, [f'state="{event.state.translate(_STRING)}"']
        tags = {"node": event.node}
        if event.kind != ALARM:
            tags["device"] = event.key
            head = "device_status"
        else:
            head = "alarm"
            tags |= {"severity": event.severity, "point": event.key}
            number = body.get("alarm_id")
            if _is_int(number):
                fields.append(f"alarm_id={number}i")
            value = body.get("value")
            if isinstance(value, (int, float)) and math.isfinite(value):
                fields.append(f"value={float(value)!r}")
        time = event.ts_ms * 1_000_000 if self._ns else event.ts_ms
        return f"{head}{_tags(tags)} {','.join(fields)} {time}"

    # Requests

    def _write_url(self):
        options = self.options
        query = {"precision": options["precision"]}
        if options["version"] == "v1":
            return f"{self._url}/write?{urlencode({'db': options['database'], **query})}"
        query |= {"org": options["org"], "bucket": options["bucket"]}
        return f"{self._url}/api/v2/write?{urlencode(query)}"

    def _post(self, lines):
        if lines:
            body = gzip.compress("\n".join(lines).encode("utf-8", "replace"), 1, mtime=0)
            self._check(self._send("POST", self._write_url(), body))

    def _send(self, method, url, body):
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if body:
            headers["Content-Encoding"] = "gzip"
        try:
            return self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=self.options["timeout_s"],
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise Unavailable(f"{self._url}: {_reason(error)}") from error

    def _check(self, answer, allow_empty=False):
        """Raise what an answer means; 204 is success, 400 with an empty batch is as well."""
        status = answer.status_code
        if status in (200, 204) or (allow_empty and status == 400):
            return
        text = f"{self._url}: {status} {_message(answer)}"
        # 413 is about the batch's size: halves may pass.
        if status in (400, 413, 422):
            raise Rejected(text)
        raise Unavailable(text, retry_after_s(answer.headers.get("Retry-After")))


def _field(value):
    """The field of a value; None for one that line protocol cannot hold."""
    if type(value) is float:
        return f"value={value!r}" if math.isfinite(value) else None
    if value is None:
        return None
    if isinstance(value, bool):
        return f"value_bool={'true' if value else 'false'}"
    if isinstance(value, int):
        if -_EXACT <= value <= _EXACT:
            return f"value={float(value)!r}"
        return f"value_int={value}i" if _is_int(value) else f'value_text="{value}"'
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f'value_text="{value.translate(_STRING)}"'


def _is_int(value):
    return type(value) is int and -_INT64 <= value < _INT64


def _tags(tags):
    """``,key=value`` in the order of the keys; an empty tag is left out, as it is not allowed."""
    return "".join(f",{_tag(key)}={_tag(tags[key])}" for key in sorted(tags) if tags[key])


def _tag(text):
    """A backslash stands for itself, except where it would escape what follows."""
    if text.endswith("\\"):
        text = text[:-1] + _LAST_BACKSLASH
    return _SPECIAL.sub(r"\\\g<0>", text).translate(_NEWLINES)


def _message(answer):
    try:
        body = answer.json()
        text = body.get("error") or body.get("message") or ""
    except (ValueError, AttributeError):
        text = answer.text
    return str(text)[:200].strip() or answer.reason


def _reason(error):
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


connector = InfluxDb
