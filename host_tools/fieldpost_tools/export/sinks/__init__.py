"""Connectors, one file each, imported when a configuration names them."""
