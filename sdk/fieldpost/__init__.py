"""Fieldpost: sample field points, keep every record, deliver it exactly once.

The same files run on MicroPython >= 1.22 (ESP32 class boards) and on CPython >= 3.10. Nothing is
imported here: a node pays only for the modules its configuration needs. Start with
``fieldpost.node.Node``.
"""

__version__ = "0.1.0"
