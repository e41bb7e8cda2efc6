"""Configurations on the host: read, checked, compared, and brought to nodes.

::

    files     JSON and TOML files
    tree      what the schema says of each part; places by name instead of by index
    paths     ``devices.ahu-1.points.dat.log``: read and set one value
    secrets   secrets by reference, and markers in their place
    diff      what one configuration changes of another
    check     the node's own validation, on the host
    template  one file for many nodes
    push      a configuration's way to a node, until it is confirmed there
"""
