"""The demo: the whole chain on one computer, an outage in the middle, an account at the end.

::

    from fieldpost_tools import demo

    result = demo.run(60, demo.HEAP, folder, show=lambda picture: None)

A virtual board runs the files of ``firmware/`` with the configuration of ``site``: it reads a
simulated air-handling unit by Modbus TCP, the computer it runs on, and made-up points. Everything
it records goes through an embedded broker to a collector. In the middle the broker is killed;
at the end ``audit`` compares what the node says it acquired with what the database and the
exported CSV hold. An alarm on one of the points goes by webhook to a receiver in this process,
which verifies the signatures.
"""

from fieldpost_tools.demo.session import DemoError, run
from fieldpost_tools.demo.site import HEAP

__all__ = ["HEAP", "DemoError", "run"]
