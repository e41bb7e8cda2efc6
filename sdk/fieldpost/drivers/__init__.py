"""Field protocols: one file a driver, imported when a configured device names it.

The file's name is the driver's name in the configuration, and its ``driver`` is the class to make:
a subclass of ``base.Driver``, or anything with the same attributes and methods.
"""
