"""Freezes Fieldpost into a build of MicroPython, so that its code takes no heap.

In ``ports/esp32`` of MicroPython, the absolute path to this checkout in between::

    make BOARD=ESP32_GENERIC FROZEN_MANIFEST=/path/to/firmware/manifest.py

It stands in for the manifest of the port, which it includes. A board that has a manifest of its
own, as the Pico W has, wants that one: put this into a file and name that as FROZEN_MANIFEST::

    include("/path/to/firmware/manifest.py", base="$(BOARD_DIR)/manifest.py")

boot.py and main.py stay files on the board, as a frozen one could not be replaced.
"""
# ruff: noqa: F821 - manifestfile, which runs this, brings the names

metadata(version="0.1.0", description="Telemetry gateway SDK", license="MIT")

options.defaults(base="$(PORT_DIR)/boards/manifest.py")
include(options.base)

require("umqtt.simple")
package("fieldpost", base_path="../sdk")
package("fieldpost_board")
module("slots.py")
