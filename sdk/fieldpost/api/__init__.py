"""The JSON API: requests and replies, whatever brings them.

``call`` says what a module of the API is made of, ``dispatch`` answers requests; ``over_mqtt`` and
``serial`` bring them. ``gateways``, ``loggers``, ``mqtt`` and ``system`` hold the methods. What is
not needed is not loaded: all but the serial line waits for the first request.
"""
