"""Attaches subscribers to the subscriptions that they read; loaded for that only.

A node's ``guests`` are subscribers that its configuration does not name: pairs of a row and the
clock's ms from which on its lifetime counts.
"""

from .subscriber import covers


def add(node, row, subscriptions=None):
    """Let a subscriber read the subscriptions that it covers, of all or of those given.

    Where it reads one already, it goes on there with this configuration. Returns the new ones.
    """
    made = []
    for subscription in subscriptions or node.subscriptions.values():
        if not covers(row["subscription"], subscription.id):
            continue
        subscriber = subscription.subscribers.get(row["subscriber"])
        if subscriber:
            subscriber.configure(row)
        else:
            # Batch numbers of different boots do not meet soon, and fit a small int.
            first_id = (node.boot & 0x3FF) << 20
            subscriber = subscription.subscribe(row, node.outlet, first_id)
            made.append(subscriber)
        equip(node, subscriber)
    return made


def add_guests(node, subscriptions):
    """Let the subscribers that no file names read new subscriptions too; returns these readers."""
    now = node.clock.mono_ms()
    node.guests = [guest for guest in node.guests if guest[1] + guest[0]["lifetime"] > now]
    made = []
    for row, born in node.guests if subscriptions else ():
        for subscriber in add(node, row, subscriptions):
            subscriber.born = born
            made.append(subscriber)
    return made


def equip(node, subscriber):
    """Give a subscriber what its flushes need beside its configuration."""
    text = subscriber.subscription.rules["onInterval"]
    subscriber.interval = subscriber.encoder = None
    if text is not None:
        from .acquisition import compile

        subscriber.interval = compile(text)
    encoding = subscriber.config["encoding"] or subscriber.subscription.config["encoding"]
    if encoding:
        from .encoding import Encoder

        subscriber.encoder = Encoder(encoding, node.points)
