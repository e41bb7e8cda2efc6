"""Generates ``docs/api.md`` from the node's own code: ``python -m fieldpost_tools.apidoc``."""
