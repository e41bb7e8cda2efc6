"""Opens the store that a path or URL names."""

from fieldpost_tools.store import Store


def open_store(place, create=False):
    """The open store: a SQLite file. Raises StoreError."""
    return Store(place, create)
