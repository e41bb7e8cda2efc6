"""Opens the store that a path or URL names."""

from fieldpost_tools.errors import InputError


def open_store(place, create=False):
    """The open store: PostgreSQL for a ``postgresql://`` URL, else a SQLite file.

    Raises StoreError, InputError for another URL.
    """
    place = str(place)
    if place.startswith(("postgresql://", "postgres://")):
        try:
            from fieldpost_tools.store_postgresql import PostgresStore
        except ModuleNotFoundError:
            raise InputError(
                "store", "postgresql://…", "its library: pip install 'fieldpost[postgres]'"
            ) from None
        return PostgresStore(place, create)
    if "://" in place:
        raise InputError("store", place, "a file, or postgresql://…")
    from fieldpost_tools.store import Store

    return Store(place, create)
