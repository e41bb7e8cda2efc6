"""Host tools of Fieldpost: collect, query and export what nodes deliver.

Nothing is imported here: ``fieldpost --help`` must not pay for MQTT or databases. The verbs are
plain modules (``collect``, ``store``, ``query``, ``export``); ``cli`` is a thin command over them.
"""

__version__ = "0.1.0"
