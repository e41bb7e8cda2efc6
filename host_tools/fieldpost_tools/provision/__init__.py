"""Brings a board from what it has to what it should have, over its serial line.

::

    from fieldpost_tools import boards, provision

    with provision.link.open("/dev/ttyUSB0") as link:
        job = provision.Job(link, boards.load("ESP32_GENERIC"))
        job.look()                       # raises UnfitError: another board, an old firmware
        report = job.run(config)         # a dict, or None to leave the board's
        job.reset()

What is on the board is hashed there, whatever its manifest says. A release goes into the slot
that is not active: equal files are copied on the board, others are sent. Bootstrap, configuration
and the file that names the active slot are put aside and take their places in one program, a
rename each. Until then nothing that the running version reads has changed; after each rename the
board boots, see ``commit_order``.

::

    link        mpremote's and ampy's raw REPL
    agent       files of a board, by programs of onboard.py that runs there
    probe       what the board is
    slot        slots, from the host
    content     bootstrap, configuration, secrets
    job         all of these together
    rom         ROMFS instead of slots
    answer      waits for the node
    once        one board from its port to its node's answer; those of an inventory
    flash       images of the same
"""

from fieldpost_tools.provision import link
from fieldpost_tools.provision.job import Job, Report

__all__ = ["Job", "Report", "link"]
