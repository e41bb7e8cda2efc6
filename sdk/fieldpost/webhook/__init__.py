"""Webhooks: events of the node posted to HTTP endpoints; loaded where there are endpoints.

The bus's events go into one durable log, which every endpoint reads with a cursor of its own.
"""
