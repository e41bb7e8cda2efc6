"""Things that stand in for hardware and services: a virtual board and an embedded MQTT broker.

``sim.board`` runs a real MicroPython behind a serial device, ``sim.broker`` an MQTT 3.1.1 broker
in a process of its own. Both need the ``sim`` extra (``pip install fieldpost[sim]``).
"""
