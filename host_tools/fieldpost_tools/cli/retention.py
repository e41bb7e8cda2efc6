"""``fieldpost retention``: remove old records, keep their minutes, quarters and hours."""

import click

_LIFETIME = "for ever, or e.g. 30d, 52w, 12h; 0 makes no such tier"


@click.command()
@click.option("--db", default="fieldpost.db", show_default=True, help="The collector's file.")
@click.option("--raw", metavar="TIME", help="Keep records so long (30d, 52w, 12h).")
@click.option("--minute", metavar="TIME", help=f"Keep 1-minute buckets so long: {_LIFETIME}.")
@click.option("--quarter", metavar="TIME", help="The same for 15-minute buckets.")
@click.option("--hour", metavar="TIME", help="The same for 1-hour buckets.")
@click.option("--config", metavar="FILE", help="Exports file: what it has not exported stays.")
def command(db, raw, minute, quarter, hour, config):
    """Remove records that are older than --raw, after reckoning them into tiers.

    Without --raw nothing is removed but old buckets. To be run by a timer, beside a collector.
    """
    from fieldpost_tools import retention
    from fieldpost_tools.stores import open_store

    names = {"raw": raw, "minute": minute, "quarter": quarter, "hour": hour}
    kept = retention.Kept(**{name: _lifetime(name, text) for name, text in names.items()})
    exported = _exported(config) if config else None
    with open_store(db) as store:
        done = retention.apply(store, kept, exported=exported)
    click.echo(
        f"{done.records} records removed, {done.buckets_made} buckets made,"
        f" {done.buckets_removed} removed, {done.held_back} records held back for exports"
    )


def _lifetime(name, text):
    from fieldpost_tools.query import parse_time

    if text is None or text == "0":
        return text and 0
    return -parse_time(name, "-" + text, 0)


def _exported(config):
    """The position that every enabled connector has passed."""
    from fieldpost_tools import arrivals
    from fieldpost_tools.export import settings
    from fieldpost_tools.export.state import States

    exports = settings.load(config)
    with States(exports.state) as states:
        known = {one.name: one.position for one in states.all()}
    wanted = [one.name for one in exports.exports if one.common["enabled"]]
    return min((known.get(name, arrivals.START) for name in wanted), default=None)
