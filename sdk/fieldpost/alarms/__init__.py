"""Alarms and fault detection: rules over points, raised and cleared as events on the bus.

``engine`` runs them, ``rule`` is the life of one, ``conditions`` and ``timed`` are the types,
``store`` keeps over a restart what is raised, ``check`` is what a configuration is checked by.
"""
