"""Credentials of nodes: made here, kept outside any repository, shown nowhere.

::

    <folder>/fleet_key                 one for all nodes
    <folder>/nodes/gw-1/mqtt_password  of one node
    <folder>/nodes/gw-1/api_secret

The folder is ``$FIELDPOST_CREDENTIALS``, else ``$XDG_CONFIG_HOME/fieldpost/credentials``, else
``~/.config/fieldpost/credentials``. Folders have the mode 700, files 600. A configuration for a
node of an inventory names them like any secret of it: ``"password": "secret:mqtt_password"``.
"""

import contextlib
import os
import secrets
from pathlib import Path

from fieldpost_tools.errors import ToolError

FLEET_KEY = "fleet_key"
#: Of each node.
NODE_KEYS = ("mqtt_password", "api_secret")
#: 43 characters, letters, digits, - and _.
RANDOM_BYTES = 32
_OTHERS = 0o077


class CredentialsError(ToolError):
    """The folder is not a safe place, or cannot be written."""


def folder():
    """Where credentials are, which need not exist."""
    given = os.environ.get("FIELDPOST_CREDENTIALS")
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(given or Path(home, "fieldpost", "credentials")).absolute()


def references(node):
    """``{name: "file:PATH"}`` of the credentials of a node, made or not."""
    mine = folder() / "nodes" / node
    found = {key: f"file:{mine / key}" for key in NODE_KEYS}
    return {**found, FLEET_KEY: f"file:{folder() / FLEET_KEY}"}


def ensure(node):
    """Make what the node has not yet; the names of what was made. Raises CredentialsError."""
    top = folder()
    _check_place(top)
    mine = top / "nodes" / node
    paths = [top / FLEET_KEY, *(mine / key for key in NODE_KEYS)]
    try:
        for one in (top, top / "nodes", mine):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_modes([top, mine, *(path for path in paths if path.exists())])
        return [path.name for path in paths if not path.exists() and _make(path)]
    except OSError as error:
        raise CredentialsError(f"{top}: {(error.strerror or str(error)).lower()}") from None


def _check_place(top):
    real = Path(os.path.realpath(top))
    for one in (real, *real.parents):
        if (one / ".git").exists():
            raise CredentialsError(
                f"{top} is inside the git work tree {one}: credentials belong elsewhere, "
                "see FIELDPOST_CREDENTIALS"
            )


def _check_modes(paths):
    for path in paths:
        if os.name == "posix" and path.stat().st_mode & _OTHERS:
            mode = "700" if path.is_dir() else "600"
            raise CredentialsError(f"{path} is open to others: chmod {mode} it first")


def _make(path):
    """Write a new secret whole or not at all; False if another process was faster."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "w") as text:
            text.write(secrets.token_urlsafe(RANDOM_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
            return True
        return False
    finally:
        new.unlink()
