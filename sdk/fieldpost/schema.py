"""The configuration's schema: one table says what a node's configuration may hold.

The node validates with it and takes its defaults from it (``config.py``), the host validates with
it before it sends anything, and the JSON Schema file is generated from it. Drivers add the rows of
their own keys (``DEVICE`` and ``POINT``).

A row is ``key: "type limits [= default]"``; without default the key is required, ``= ?`` makes it
optional (None when absent).

================== =============================================================================
type               value
================== =============================================================================
int lo..hi         integer within the limits, either of which may be missing
num lo..hi         integer or float
bool               true or false
str lo..hi         text of so many characters
secret lo..hi      text that is never shown
id lo..hi          text of letters, digits and ``_ - .``; not a reserved word
path lo..hi        like id, also with ``/`` between parts
topic              topic template (see ``topics.py``)
rule               acquisition rule (see ``acquisition.py``)
log                the same as a point's own rule: without ``adr.log``; may be empty
timer              the same with wall-clock terms only: ms or cron
enum a b c         one of the words; ``false`` and ``true`` also accept the JSON literals
any                anything but null
list T lo..hi      list of so many T, a type or the name of a table
obj T              object with the rows of table T
map T              object with any keys and values of T
================== =============================================================================
"""

SCHEMA = {
    "node": {
        "node": "id 1..64",
        "revision": "int 0.. = 0",
        "last_id": "int 0..268435455 = 0",
        "description": "str 0..200 = ?",
        "tags": "map str = ?",
        "clock": "obj clock = {}",
        "mqtt": "list broker 0..4 = []",
        "devices": "list device 0..64 = []",
        "subscriptions": "list subscription 0..16 = []",
        "subscribers": "list subscriber 0..16 = []",
        "publish": "obj publish = {}",
        "alarms": "list alarm 0..256 = []",
        "faults": "list fault 0..64 = []",
        "api": "obj api = {}",
        "state_interval": "int 1000..86400000 = 60000",
        "watchdog_ms": "int 0..600000 = 0",
    },
    "clock": {
        "ntp": "list str 0..4 = []",
        "ntp_interval": "int 60000..259200000 = 43200000",
        "trust_system": "bool = true",
    },
    "broker": {
        "name": "id 1..32 = main",
        "host": "str 1..253",
        "port": "int 1..65535 = ?",
        "client_id": "str 1..64 = ?",
        "user": "str 1..256 = ?",
        "password": "secret 0..256 = ?",
        "keepalive_s": "int 1..65535 = 30",
        "clean_session": "bool = false",
        "tls": "obj tls = ?",
        "timeout_ms": "int 100..120000 = 10000",
        "window": "int 1..200 = 20",
        "queue_bytes": "int 1024..1048576 = 16384",
        "keep_bytes": "int 1024..1048576 = 8192",
        "receive_max_bytes": "int 256..1048576 = 4096",
        "backoff_min_ms": "int 10..60000 = 1000",
        "backoff_max_ms": "int 100..3600000 = 60000",
        "publish": "bool = true",
        "flush": "bool = true",
    },
    "tls": {
        "ca": "str 1..256 = ?",
        "server_name": "str 1..253 = ?",
        "verify": "bool = true",
        "cert": "str 1..256 = ?",
        "key": "str 1..256 = ?",
    },
    "device": {
        "id": "id 1..64",
        "driver": "id 1..32",
        "interval": "int 10..86400000 = 1000",
        "timeout_ms": "int 10..60000 = 2000",
        "enabled": "bool = true",
        "description": "str 0..200 = ?",
        "tags": "map str = ?",
        "points": "list point 0..512 = []",
    },
    "point": {
        "id": "int 1..268435455 = ?",
        "name": "id 1..64",
        "unit": "str 0..16 = ",
        "log": "log = always",
        "writable": "bool = false",
        "min": "num = ?",
        "max": "num = ?",
        "tags": "map str = ?",
        "description": "str 0..200 = ?",
    },
    "subscription": {
        "id": "path 1..64",
        "acquisition": "rule = adr.log",
        "addresses": "any = all",
        "ring_bytes": "int 512..16777216 = 16384",
        "frame_bytes": "int 128..4096 = 1024",
        "overflow": "enum drop_oldest reject_new max_age = drop_oldest",
        "max_age": "int 1000.. = 86400000",
        "encoding": "obj encoding = ?",
        "flush": "obj flush = {}",
        "store": "obj store = {}",
    },
    "store": {
        "disk": "bool = true",
        "durable": "bool = false",
        "rtc": "bool = false",
        "maxLatency": "int 100..3600000 = 10000",
        "onEntries": "int 0..1000000 = 0",
        "onAckTimeouts": "int 1..1000 = 3",
        "onRamOverflow": "bool = true",
        "onPause": "int 0..604800000 = 300000",
        "maxEntries": "int 0.. = 0",
        "maxBytes": "int 0.. = 0",
        "maxDuration": "int 0.. = 0",
        "segment": "int 512..16384 = 4096",
        "reserve": "int 0.. = 32768",
    },
    "flush": {
        "maxEntries": "int 1..10000 = 100",
        "maxBytes": "int 128..65536 = 4096",
        "onEntries": "int 1..10000 = 1",
        "onBytes": "int 1..1048576 = ?",
        "onInterval": "timer = ?",
        "minDelay": "int 0..3600000 = 250",
        "maxDelay": "int 0..86400000 = 1000",
        "parallel": "int 1..100 = 20",
        "ackTimeout": "int 100..3600000 = 10000",
        "catchUp": "int 0..60000 = 10",
    },
    "subscriber": {
        "subscriber": "id 1..64",
        "subscription": "str 0..64 = default",
        "ack": "enum id md5 false auto = id",
        "format": "enum json packed = json",
        "keepalive": "int 0..86400000 = 0",
        "lifetime": "int 0.. = 0",
        "encoding": "obj encoding = ?",
    },
    "encoding": {
        "address": "str 1..128 = id",
        "value": "enum numerical json none = json",
        "value_string": "enum driver none = driver",
    },
    "publish": {
        "value": "list pattern 0..8 = []",
        "alarm": "list pattern 0..8 = []",
        "status": "list pattern 0..8 = []",
    },
    "pattern": {
        "topic": "topic",
        "qos": "int 0..1 = 0",
        "retain": "bool = false",
        "nodes": "str 0..512 = ",
        "broker": "id 1..32 = ?",
    },
    "alarm": {
        "id": "id 1..64",
        "type": "enum high_limit low_limit deviation command_mismatch state_fault multi_state"
        " state_change stale rate_of_change",
        "point": "any",
        "other": "any = ?",
        "limit": "num = ?",
        "deadband": "num 0.. = 0",
        "states": "list any 1..32 = ?",
        "window_ms": "int 100..604800000 = ?",
        "on_delay_ms": "int 0..86400000 = 0",
        "off_delay_ms": "int 0..86400000 = 0",
        "latching": "bool = false",
        "severity": "enum info warning critical life_safety = warning",
        "message": "str 1..200 = ?",
        "enabled": "bool = true",
    },
    "fault": {
        "id": "id 1..64",
        "type": "enum stuck range flapping expression",
        "point": "any = ?",
        "low": "num = ?",
        "high": "num = ?",
        "deadband": "num 0.. = 0",
        "changes": "int 2..100 = ?",
        "window_ms": "int 100..604800000 = ?",
        "expression": "str 1..256 = ?",
        "equipment": "str 1..64 = ?",
        "on_delay_ms": "int 0..86400000 = 0",
        "off_delay_ms": "int 0..86400000 = 0",
        "severity": "enum info warning critical life_safety = warning",
        "message": "str 1..200 = ?",
        "enabled": "bool = true",
    },
    "api": {
        "mqtt": 'list str 0..64 = ["read"]',
        "serial": 'list str 0..64 = ["*"]',
        "mqtt_secret": "secret 16..128 = ?",
        "max_request": "int 256..65536 = 4096",
        "max_reply": "int 256..65536 = 8192",
        "segment": "int 128..65536 = 4096",
        "parallel": "int 1..32 = 8",
        "timeout_ms": "int 100..600000 = 30000",
    },
}
