"""Field protocols: one file a driver, imported when a configured device names it.

The file's name is the driver's name in the configuration, and its ``driver`` is the class to make:
a subclass of ``base.Driver``, or anything with the same attributes and methods.
"""


def load(name):
    """The driver class of the module ``fieldpost.drivers.<name>``. Raises ImportError."""
    return __import__("fieldpost.drivers." + name, None, None, ("driver",)).driver
