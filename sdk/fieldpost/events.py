"""Kinds of events on the bus: plain strings, so that rules and webhooks can name them.

``key`` and ``data`` of each kind:

=================== ==================== ====================================================
kind                key                  data
=================== ==================== ====================================================
value_changed       ``device/point``     the ``Point``
alarm_*             ``device/point``     alarm dict (WIRE_FORMATS, topic engine)
device_*            device id            protocol (the driver's name)
link_up, link_down  link name            reason or None
records_dropped     subscription id      ``(reason, count)``
error               what failed          the exception, or a text
=================== ==================== ====================================================
"""

VALUE_CHANGED = "value_changed"
ALARM_RAISED = "alarm_raised"
ALARM_CLEARED = "alarm_cleared"
ALARM_ACKNOWLEDGED = "alarm_acknowledged"
DEVICE_DISCOVERED = "device_discovered"
DEVICE_DOWN = "device_down"
DEVICE_RECOVERED = "device_recovered"
LINK_UP = "link_up"
LINK_DOWN = "link_down"
RECORDS_DROPPED = "records_dropped"
ERROR = "error"

#: A subscription to this kind receives every event.
ANY = "*"
