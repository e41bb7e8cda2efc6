"""The PostgreSQL connector against a real server."""

import math
import time

import psycopg
import pytest

import servers
from certificates import Certificates
from export_kit import T0, alarm, export, flush, make_store, values
from fieldpost_tools import query
from fieldpost_tools.arrivals import START
from fieldpost_tools.errors import InputError
from fieldpost_tools.export import settings
from fieldpost_tools.export.connector import Rejected, Unavailable
from fieldpost_tools.export.pipeline import Exporter
from fieldpost_tools.export.state import States

AWKWARD = [
    None,
    True,
    False,
    0,
    -(2**63),
    2**63 - 1,
    2**64 - 1,
    2**53 + 1,
    0.1,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "a, b=c \"d\" 'e' \\ f\tg\r\nünïcödé 🌡",
    "\\N",
]
HISTORY = "SELECT seq, value, value_exact, value_text, value_json FROM {}.oc_history ORDER BY seq"


@pytest.fixture
def schema(postgres, request):
    name = f'own "{request.node.name}"'[:60]
    yield name
    postgres.query(f"DROP SCHEMA IF EXISTS {quoted(name)} CASCADE")


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def states(tmp_path):
    with States(tmp_path / "state.db") as opened:
        yield opened


def make(server, schema, **keys):
    url = f"postgresql://{server.user}@{server.host}:{server.port}/postgres"
    row = {"name": "pg", "type": "postgresql", "url": url, "schema": schema}
    row |= {"password": server.password, "timeout_s": 5}
    return settings.make(row | keys, "connector[0]").connector


def exporter(store, sink, folder, states, **keys):
    return Exporter(export(sink, folder, **keys), store, states)


def drain(one):
    while one.step():
        pass
    one.close()


def same(got, wanted):
    _, number, exact, text, other = got
    if wanted is None:
        return got[1:] == (None, None, None, None)
    if isinstance(wanted, bool):
        return (number, other) == (float(wanted), wanted)
    if isinstance(wanted, str):
        return (number, text) == (None, wanted)
    if isinstance(wanted, int):
        return (exact if exact is not None else number) == wanted
    return number == wanted or (math.isnan(number) and math.isnan(wanted))


def test_every_value_and_awkward_name_comes_back(postgres, schema, tmp_path, states):
    store = make_store(tmp_path / "a.db", values(*AWKWARD), happened=[alarm(1)])
    sink = make(postgres, schema)
    odd = "a,b=c \"d\" 'e' \\ \n ü"
    keys = {"rename": {"point": odd}, "tags": {"odd": odd, "empty": "{tag.none}"}}
    drain(exporter(store, sink, tmp_path, states, **keys))
    rows = postgres.query(HISTORY.format(quoted(schema)))
    assert len(rows) == len(AWKWARD)
    assert all(same(row, value) for row, value in zip(rows, AWKWARD, strict=True))
    query = f"SELECT DISTINCT point_key, point_id, tags, unit FROM {quoted(schema)}.oc_history"
    tags = {"odd": odd, "empty": ""}
    assert postgres.query(query) == [("ahu-1/" + odd, odd, tags, "°C")]
    query = f"SELECT alarm_id, node_id, state, timestamp_ms, value, note FROM {quoted(schema)}."
    assert postgres.query(query + "oc_alarms") == [
        (1, "ahu-1/dat", "raised", T0 + 1, 31.5, 'too "warm", 31 °C')
    ]


def test_nul_becomes_a_replacement_character(postgres, schema, tmp_path, states):
    store = make_store(tmp_path / "a.db", values("a\0b"))
    drain(exporter(store, make(postgres, schema), tmp_path, states))
    rows = postgres.query(HISTORY.format(quoted(schema)))
    assert rows[0][3] == "a\ufffdb"


def test_a_batch_that_comes_twice_stands_there_once(postgres, schema, tmp_path, states):
    store = make_store(tmp_path / "a.db", flush(0, 50), happened=[alarm(1)])
    drain(exporter(store, make(postgres, schema), tmp_path, states))
    with States(tmp_path / "lost.db") as lost:
        drain(exporter(store, make(postgres, schema), tmp_path, lost))
    for table, count in (("history", 50), ("alarms", 1)):
        found = postgres.query(f"SELECT count(*) FROM {quoted(schema)}.oc_{table}")
        assert found == [(count,)]


def test_a_connection_cut_in_the_middle_loses_and_doubles_nothing(
    postgres, schema, tmp_path, states
):
    store = make_store(tmp_path / "a.db", flush(0, 3000))
    sink = make(postgres, schema)
    one = exporter(store, sink, tmp_path, states, batch=500)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    failures = []
    for number in range(40):
        if number % 3 == 1:
            postgres.query(kill, "fieldpost")
        try:
            if not one.step():
                break
        except Unavailable as error:
            failures.append(str(error))
    one.close()
    query = f"SELECT count(*), count(DISTINCT seq) FROM {quoted(schema)}.oc_history"
    assert postgres.query(query) == [(3000, 3000)]
    assert failures
    assert all("terminating" in text or "closed" in text for text in failures)
    assert states.standing("pg").rows == 3000


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"password": "hunter2"}, "password authentication failed"),
        ({"create": False}, "does not exist"),
        ({"hypertable": True}, "needs the extension timescaledb"),
        ({"sslmode": "require"}, "SSL"),
        ({"url": "postgresql://writer@127.0.0.1:1/postgres"}, "refused"),
        ({"url": "postgresql://writer@127.0.0.1:1/none", "timeout_s": 1}, "refused"),
    ],
)
def test_what_is_wrong_is_told_without_the_password(postgres, schema, keys, words):
    sink = make(postgres, schema, **keys)
    with pytest.raises(Unavailable) as caught:
        sink.health()
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    sink.close()


def test_a_bad_url_is_refused_without_the_password(postgres, schema):
    with pytest.raises(InputError) as caught:
        make(postgres, schema, url="postgresql://a:hidden@host:port/x?y")
    assert "hidden" not in str(caught.value)


def test_health_names_the_server(postgres, schema):
    sink = make(postgres, schema)
    assert sink.health().startswith("PostgreSQL ")
    assert "no TLS" in sink.health()
    sink.close()


def test_a_locked_table_is_a_delay_with_a_deadline(postgres, schema, tmp_path, states):
    store = make_store(tmp_path / "a.db", flush(0, 5))
    sink = make(postgres, schema, timeout_s=1)
    sink.open()
    with psycopg.connect(postgres.url) as other:
        other.execute(f"LOCK TABLE {quoted(schema)}.oc_history")
        one = exporter(store, sink, tmp_path, states)
        started = time.monotonic()
        with pytest.raises(Unavailable, match="timeout"):
            one.step()
        assert time.monotonic() - started < 5
    drain(one)
    assert states.standing("pg").rows == 5


def test_a_wrong_row_is_rejected(postgres, schema, tmp_path):
    sink = make(postgres, schema)
    sink.open()
    postgres.query(f"ALTER TABLE {quoted(schema)}.oc_history ADD CHECK (value <> 13)")
    with make_store(tmp_path / "a.db", values(12, 13)) as store:
        rows, _ = query.after(store, START)
    samples = export(sink, tmp_path).mapping.samples(rows)
    with pytest.raises(Rejected, match="check constraint"):
        sink.write(samples)
    sink.write(samples[:1])
    sink.close()
    assert len(postgres.query(HISTORY.format(quoted(schema)))) == 1


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    """``(server with TLS, its certificates)``; the certificate is for 127.0.0.1."""
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.authority("ours")
    made.authority("foreign")
    made.sign("server", "ours", "subjectAltName=IP:127.0.0.1")
    server = servers.Postgres(tmp_path_factory.mktemp("postgres-tls"), system=True)
    server.encrypt(made.path("server.pem"), made.path("server.key"))
    server.start()
    yield server, made
    server.remove()


@pytest.mark.parametrize(
    ("mode", "authority", "host", "words"),
    [
        ("disable", None, "127.0.0.1", None),
        ("require", None, "127.0.0.1", None),
        ("verify-ca", "ours", "localhost", None),
        ("verify-full", "ours", "127.0.0.1", None),
        ("verify-full", "ours", "localhost", "does not match host name"),
        ("verify-ca", "foreign", "127.0.0.1", "certificate verify failed"),
        ("verify-full", "foreign", "127.0.0.1", "certificate verify failed"),
    ],
)
def test_tls_modes_are_really_applied(encrypted, schema_of, mode, authority, host, words):
    server, made = encrypted
    keys = {"sslmode": mode, "url": f"postgresql://writer@{host}:{server.port}/postgres"}
    if authority:
        keys["sslrootcert"] = made.path(f"{authority}.pem")
    sink = make(server, schema_of, **keys)
    if words:
        with pytest.raises(Unavailable, match=words):
            sink.health()
    else:
        assert sink.health().endswith("no TLS" if mode == "disable" else ", TLS")
    sink.close()


@pytest.fixture
def schema_of():
    """A schema's name for a server that is not shared."""
    return "tls"
