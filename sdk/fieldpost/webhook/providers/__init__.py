"""Providers: what a service wants to be sent, a module each, loaded where an endpoint names it.

A module has this function, which neither waits nor keeps anything::

    def render(event, endpoint, node):
        return url, headers, body           # text, dict of text, bytes; or None: nothing to send

``event``: ``event`` (name), ``action`` (that of a rule, or None), ``id`` (the webhook id, the same
at every attempt), ``ts_ms`` (Unix ms, None where unknown), ``key`` (``device/point``, device id or
equipment), ``data`` (dict: the fields of an alarm, a fault, a device, a value, an MQTT event), and
``point``: None, or of the point or device that the key names ``node_id, name, unit, device_id,
protocol, description, tags`` (the device's with the point's). ``endpoint`` is the row of the
schema's table ``webhook``; what only the provider knows is in its ``options``. One that can send
several values at once has two more, see ``batch.py``.
"""
