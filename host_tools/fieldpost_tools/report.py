"""One HTML page about a store: trends, gaps, alarms, delivery. Self-contained, no script needed.

Trends are drawn here, as SVG: for each point a band from the least to the greatest value and a
line of means, in as many buckets as can be told apart. Everything that a node or user named is
escaped.
"""

import html
import json
import time

from fieldpost_tools import __version__, aggregate, events, query
from fieldpost_tools.query import format_time, format_value

#: Buckets in a trend, and its size in CSS pixels.
BUCKETS = 240
_WIDTH, _HEIGHT = 720, 120
#: Rows of a table: the newest ones.
MAX_ROWS = 200
_SEVERITY = {"info": "#3b82f6", "warning": "#b45309", "critical": "#dc2626"}
_STYLE = """
:root{color-scheme:light dark;--ink:#1f2937;--soft:#6b7280;--line:#0369a1;--band:#7dd3fc;
--paper:#fff;--rule:#e5e7eb}
@media(prefers-color-scheme:dark){:root{--ink:#e5e7eb;--soft:#9ca3af;--line:#7dd3fc;
--band:#0c4a6e;--paper:#111827;--rule:#374151}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;
max-width:60rem;padding:1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{margin-top:2rem;border-bottom:1px solid var(--rule)}
.soft{color:var(--soft)}table{border-collapse:collapse;width:100%;font-size:.85rem}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--rule)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
figure{margin:1rem 0}figcaption{display:flex;justify-content:space-between;gap:1rem}
svg{width:100%;height:auto;display:block}.bad{color:#dc2626;font-weight:600}
.wide{overflow-x:auto}"""


def write(store, selection, title="Fieldpost"):
    """Yield the page in pieces of text. Raises InputError for what the store does not know."""
    totals = store.totals()
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{_text(title)}</h1>\n"
    )
    now_ms = time.time_ns() // 1_000_000
    limits = [format_time(one) for one in (selection.since, selection.until)]
    span = f"from {limits[0] or 'the first record'} to {limits[1] or 'the last'}"
    yield f'<p class="soft">{span}; written {format_time(now_ms)} by fieldpost {__version__}</p>\n'
    yield from _summary(totals)
    yield from _trends(store, selection)
    yield from _alarms(store, selection)
    yield from _gaps(store)
    yield from _nodes(store)
    yield "</body></html>\n"


def _summary(totals):
    missing = f'<span class="bad">{totals.missing}</span>' if totals.missing else "0"
    yield (
        f'<p id="summary"><b>{totals.records:,}</b> records of {totals.nodes} nodes in'
        f" {totals.streams} streams; {missing} missing in {totals.gaps} gaps, {totals.dropped}"
        " dropped by the nodes and reported.</p>\n"
    )


# Trends


def _trends(store, selection):
    yield '<h2>Trends</h2><section id="trends">\n'
    for series in query.series(store, selection):
        chosen = selection._replace(nodes=(series.names[0],), points=(_name(series),))
        first, last = _edges(store, series, selection)
        if first is not None:
            every = max(1, (last - first) // BUCKETS + 1)
            rows = list(aggregate.rows(store, chosen, every))
            yield _figure(series, rows, first, last)
    yield "</section>\n"


def _name(series):
    _, device, point, _ = series.names
    return f"{device}/{point}" if device else point


def _edges(store, series, selection):
    terms, limits = "", []
    for sign, limit in ((">=", selection.since), ("<", selection.until)):
        if limit is not None:
            terms += f" AND ts_ms {sign} ?"
            limits.append(limit)
    sql = f"SELECT min(ts_ms), max(ts_ms) FROM records WHERE node = ? AND point = ?{terms}"
    return next(store.read(sql, (*series.key, *limits)))


def _figure(series, rows, first, last):
    node, *_, unit = series.names
    count = sum(row.count for row in rows)
    newest = rows[-1].last if rows else None
    newest = f"{newest:.6g}" if isinstance(newest, float) else format_value(newest)
    caption = (
        f"<figcaption><span><b>{_text(_name(series))}</b> <span class='soft'>{_text(node)}</span>"
        f"</span><span>{_text(_short(newest))} {_text(unit)} <span class='soft'>{count:,} records"
        "</span></span></figcaption>"
    )
    numbers = [row for row in rows if row.avg is not None]
    picture = _svg(numbers, first, last) if numbers else '<p class="soft">no numbers</p>'
    return f"<figure>{caption}{picture}</figure>\n"


def _svg(rows, first, last):
    low, high = min(row.min for row in rows), max(row.max for row in rows)
    rise, span = (high - low) or 1, (last - first) or 1
    edge = 14

    def place(ms, value):
        # Only differences become floats.
        x = (min(max(ms, first), last) - first) / span * _WIDTH
        y = edge + (1 - (value - low) / rise) * (_HEIGHT - 2 * edge)
        return f"{x:.1f},{y:.1f}"

    middles = [(row.start_ms + row.end_ms) // 2 for row in rows]
    upper = [place(ms, row.max) for ms, row in zip(middles, rows, strict=True)]
    lower = [place(ms, row.min) for ms, row in zip(middles, rows, strict=True)]
    means = [place(ms, row.avg) for ms, row in zip(middles, rows, strict=True)]
    if len(means) == 1:
        means.append(f"{_WIDTH},{means[0].split(',')[1]}")
    labels = (
        (0, 10, "start", f"{high:.6g}"),
        (0, _HEIGHT - 2, "start", f"{low:.6g}"),
        (90, _HEIGHT - 2, "start", format_time(first)[:16].replace("T", " ")),
        (_WIDTH, _HEIGHT - 2, "end", format_time(last)[:16].replace("T", " ")),
    )
    texts = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="10" fill="currentColor"'
        f' opacity=".7">{text}</text>'
        for x, y, anchor, text in labels
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f'<polygon points="{" ".join(upper + lower[::-1])}" fill="var(--band)"/>'
        f'<polyline points="{" ".join(means)}" fill="none" stroke="var(--line)"'
        f' stroke-width="1.5"/>{texts}</svg>'
    )


# Tables


def _alarms(store, selection):
    rows = []
    for event in _newest_events(store, selection):
        colour = _SEVERITY.get(event.severity, "inherit")
        message = event.body.get("message") or event.body.get("protocol") or ""
        rows.append(
            [
                format_time(event.ts_ms) or "unknown",
                event.node,
                event.key,
                event.state,
                (event.severity or event.kind, colour),
                str(message)[:200],
            ]
        )
    heads = ("time", "node", "point or device", "state", "severity", "message")
    yield from _table("alarms", "Alarms and device status", heads, rows)


def _newest_events(store, selection):
    last = events.last(store)
    found = events.after(store, max(0, last - 20 * MAX_ROWS), 20 * MAX_ROWS)
    chosen = [
        one
        for one in found
        if (not selection.nodes or one.node in selection.nodes)
        and (selection.since is None or (one.ts_ms or 0) >= selection.since)
        and (selection.until is None or (one.ts_ms or 0) < selection.until)
    ]
    return chosen[-MAX_ROWS:][::-1]


def _gaps(store):
    rows = [
        [gap.node, gap.subscription, gap.stream, gap.from_seq, gap.to_seq, _why(gap.explained)]
        for gap in store.gaps()[-MAX_ROWS:]
    ]
    heads = ("node", "subscription", "stream", "from", "to", "why")
    yield from _table("gaps", "Gaps", heads, rows)


def _why(explained):
    if explained is None:
        return ("missing", "#dc2626")
    return {"dropped": "dropped by the node", "before": "before the first contact"}[explained]


def _nodes(store):
    rows = []
    for name, state in store.nodes().items():
        state = state or {}
        counters = state.get("counters") or {}
        logs = (state.get("logs") or {}).values()
        dropped = sum(sum(log.get("dropped", {}).values()) for log in logs)
        acquired = sum(log.get("acquired", 0) for log in logs)
        cells = [state.get("state", "unknown"), state.get("boot"), state.get("version")]
        rows.append(
            [name, *cells, acquired, dropped, counters.get("errors"), json.dumps(counters)]
        )
    heads = ("node", "state", "boot", "version", "acquired", "dropped", "errors", "counters")
    yield from _table("nodes", "Nodes", heads, rows)


def _table(name, title, heads, rows):
    yield f'<h2>{title}</h2><section id="{name}" class="wide">'
    if not rows:
        yield '<p class="soft">none</p></section>\n'
        return
    cells = zip(heads, rows[0], strict=True)
    cells = [f"<th{_numeric(one)}>{head}</th>" for head, one in cells]
    yield "<table><thead><tr>" + "".join(cells) + "</tr></thead>"
    for row in rows:
        yield "<tr>" + "".join(map(_cell, row)) + "</tr>\n"
    yield "</table></section>\n"


def _cell(value):
    if isinstance(value, tuple):
        return f'<td style="color:{value[1]}">{_text(value[0])}</td>'
    return f"<td{_numeric(value)}>{_text('' if value is None else value)}</td>"


def _numeric(value):
    return ' class="n"' if isinstance(value, int) else ""


def _short(text):
    return text if len(text) <= 24 else text[:23] + "…"


def _text(value):
    return html.escape(str(value), quote=True)
