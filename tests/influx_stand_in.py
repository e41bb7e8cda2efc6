"""A strict stand-in for InfluxDB 2: parses every line by the published grammar, stores points.

Line: ``measurement[,tag=value…] field=value[,field=value…] [timestamp]``; fields are floats,
integers (``1i``), unsigned (``1u``), booleans, strings in double quotes. In measurements comma
and space are escaped, in keys and tag values comma, equals and space, in strings quote and
backslash; a tag value is not empty and does not end in a backslash; a raw newline ends a line
outside of strings. A field never changes its type. Like the server, a write with a bad line keeps
the good ones and answers 400.
"""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FIELD = re.compile(
    rf"(?P<float>{_NUMBER})(?![iu\d])|(?P<int>-?\d+)i|(?P<uint>\d+)u"
    r"|(?P<bool>true|false|t|f|T|F|True|False|TRUE|FALSE)"
    r'|"(?P<string>(?:[^"\\]|\\.)*)"',
    re.DOTALL,
)
_KEY = re.compile(r"(?:[^,= \\\n]|\\.)+")
_MEASUREMENT = re.compile(r"(?:[^, \\\n]|\\.)+")
TOKEN, ORG, BUCKET = "t0ken", "own org", "plant & co"


class GrammarError(ValueError):
    """A line is not line protocol."""


def parse(line):
    """``(measurement, tags, fields, timestamp)`` of one line."""
    found = _MEASUREMENT.match(line)
    if not found or found[0][0] in "_#":
        raise GrammarError(f"measurement: {line!r}")
    position, tags = found.end(), {}
    while line[position : position + 1] == ",":
        key, position = _key(line, position + 1)
        value, position = _key(line, _expect(line, position, "="))
        if key in tags or value.endswith("\\"):
            raise GrammarError(f"tag {key}: {line!r}")
        tags[key] = value
    fields, position = _fields(line, _expect(line, position, " "))
    rest = line[position:].strip(" ")
    if rest and not re.fullmatch(r"-?\d+", rest):
        raise GrammarError(f"timestamp: {line!r}")
    return _unescape(found[0], ", "), tags, fields, int(rest) if rest else None


def _fields(line, position):
    fields = {}
    while True:
        key, position = _key(line, position)
        found = _FIELD.match(line, _expect(line, position, "="))
        if not found:
            raise GrammarError(f"field {key}: {line!r}")
        fields[key] = _value(found)
        position = found.end()
        if line[position : position + 1] != ",":
            return fields, position
        position += 1


def _value(found):
    kind, text = found.lastgroup, found[found.lastgroup]
    if kind == "string":
        return re.sub(r'\\(["\\])', r"\1", text)
    if kind == "bool":
        return text[0] in "tT"
    value = float(text) if kind == "float" else int(text)
    if kind == "int" and not -(2**63) <= value < 2**63:
        raise GrammarError(f"integer {text}")
    return value


def _key(line, position):
    found = _KEY.match(line, position)
    if not found:
        raise GrammarError(f"key at {position}: {line!r}")
    return _unescape(found[0], ",= "), found.end()


def _unescape(text, special):
    return re.sub(rf"\\([{re.escape(special)}])", r"\1", text)


def _expect(line, position, wanted):
    if line[position : position + 1] != wanted:
        raise GrammarError(f"{wanted!r} at {position}: {line!r}")
    return position + 1


def lines(text):
    """The lines of a body: a newline within a string does not end one."""
    line, quoted, escaped = "", False, False
    for char in text:
        if char == "\n" and not quoted:
            yield line
            line = ""
            continue
        line += char
        if char == '"' and not escaped and " " in line:
            quoted = not quoted
        escaped = char == "\\" and not escaped
    yield line


class StandIn:
    """The server. ``points`` is ``{(measurement, tags, timestamp): fields}``; ``script`` holds
    answers to give instead: ``(status, headers)``, ``"partial"`` (writes half, then 500),
    ``"cut"`` (closes after reading half of the body) or ``"hang"``."""

    def __init__(self):
        self.points = {}
        self.types = {}
        self.script = []
        self.requests = []
        self.connections = 0
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self):
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self):
        """Stop serving."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def fields(self, measurement):
        """``[(tags, fields, timestamp)]`` of a measurement, by time."""
        rows = [
            (dict(tags), fields, ts)
            for (name, tags, ts), fields in self.points.items()
            if name == measurement
        ]
        return sorted(rows, key=lambda row: row[2])

    def store(self, text):
        """Parse and store; the errors of the lines that are wrong."""
        errors = []
        for line in lines(text):
            try:
                measurement, tags, fields, ts = parse(line)
                for key, value in fields.items():
                    kind = self.types.setdefault((measurement, key), type(value))
                    if kind is not type(value):
                        raise GrammarError(f"field type conflict: {key}")
            except GrammarError as error:
                errors.append(str(error))
            else:
                place = measurement, tuple(sorted(tags.items())), ts
                self.points.setdefault(place, {}).update(fields)
        return errors

    def _handler(self):
        return type("Handler", (_Handler,), {"stand_in": self})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in = None

    def setup(self):
        super().setup()
        self.stand_in.connections += 1

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.reply(204, {"X-Influxdb-Version": "2.stand-in"})

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        script = self.stand_in.script
        act = script.pop(0) if script else None
        if act == "cut":
            self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(size)
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.answer(act, body.decode())

    def answer(self, act, text):
        self.stand_in.requests.append(text)
        if act == "hang":
            self.stand_in.release.wait(20)
            self.close_connection = True
        elif act == "partial":
            found = list(lines(text))
            self.stand_in.store("\n".join(found[: len(found) // 2]))
            self.reply(500, {}, "disk full")
        elif act:
            self.reply(*act)
        else:
            self.take(text)

    def take(self, text):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if self.headers.get("Authorization") != f"Token {TOKEN}":
            self.reply(401, {}, "unauthorized access")
        elif url.path != "/api/v2/write" or query.get("org") != [ORG]:
            self.reply(404, {}, "organization not found")
        elif query.get("bucket") != [BUCKET] or query.get("precision") not in (["ms"], ["ns"]):
            self.reply(404, {}, "bucket not found")
        elif not text:
            self.reply(400, {}, "no points")
        else:
            errors = self.stand_in.store(text)
            self.reply(400 if errors else 204, {}, "; ".join(errors[:2]))

    def reply(self, status, headers, message=""):
        body = json.dumps({"code": "x", "message": message}).encode() if message else b""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)
