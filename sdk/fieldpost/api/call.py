"""What a module of the API is made of: a table of methods, and what a method may return.

A module has a dict ``METHODS``: ``{name: (handler, parameters, kind)}``. ``parameters`` is text, a
line for each: ``name: row``, with the rows of ``schema.py``, in the order of positional arguments.
Rows of objects may name a table of the module's own dict ``TABLES``, else one of the schema.
``kind`` is ``READ`` or ``WRITE``: a writing method changes something, so it is audited, not ended
by the deadline of its request once it has begun, and refused where a transport allows reads only.
``PART`` is such a method that brings one part of a document: what begins it and what makes it
effective are audited, its parts would drive out everything else.

``handler(node, args)`` is a function or a coroutine function; ``args`` has every declared
parameter, None for an optional one that was not given. It returns what JSON can say, or ``Rows``,
also within dicts and lists. It raises ApiError, or another FieldpostError, whose text is then the
reply's error; any other exception is reported, and the reply says ``internal error`` (or ``out of
memory``).
"""

#: The method that confirms what was delivered: every transport allows it, unsigned and unaudited.
CONFIRM = "loggers.ackSubscribe"
READ = "read"
WRITE = "write"
PART = "part"


class Rows:
    """A JSON array that is too long to be held: its items are made while the reply is encoded.

    ``generate()`` returns an iterator of the items. It should yield ``Rows.PAUSE`` between them at
    least once in 20 ms of work, to give the other tasks a turn.
    """

    PAUSE = object()

    def __init__(self, generate):
        self._generate = generate

    def __iter__(self):
        return iter(self._generate())
