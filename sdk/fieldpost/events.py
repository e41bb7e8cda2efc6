"""Kinds of events on the bus: plain strings, so that rules and webhooks can name them.

``key`` and ``data`` of each kind:

=================== ==================== ====================================================
kind                key                  data
=================== ==================== ====================================================
value_changed       ``device/point``     the ``Point``
point_failed        ``device/point``     the ``Point``, whose status is new
alarm_*             ``device/point``     alarm dict, see ``alarms.engine``
fdd_fault_*         equipment            fault dict, see ``alarms.engine``
device_*            device id            protocol (the driver's name)
link_up, link_down  link name            reason or None
records_dropped     subscription id      ``(reason, count)``
error               what failed          the exception, or a text
=================== ==================== ====================================================
"""

VALUE_CHANGED = "value_changed"
POINT_FAILED = "point_failed"
ALARM_RAISED = "alarm_raised"
ALARM_CLEARED = "alarm_cleared"
ALARM_ACKNOWLEDGED = "alarm_acknowledged"
FDD_FAULT_RAISED = "fdd_fault_raised"
FDD_FAULT_CLEARED = "fdd_fault_cleared"
DEVICE_DISCOVERED = "device_discovered"
DEVICE_DOWN = "device_down"
DEVICE_RECOVERED = "device_recovered"
LINK_UP = "link_up"
LINK_DOWN = "link_down"
RECORDS_DROPPED = "records_dropped"
ERROR = "error"

#: A subscription to this kind receives every event.
ANY = "*"
