"""A bounded queue of events, for those who cannot take them at once; made by ``Bus.queue``."""

from .compat import asyncio


class Queue:
    """Bounded event queue of one slow subscriber. ``dropped`` counts what did not fit."""

    def __init__(self, size):
        if size < 1:
            raise ValueError("queue size must be at least 1")
        self.size = size
        self.dropped = 0
        self._items = []
        self._event = asyncio.Event()

    def __len__(self):
        return len(self._items)

    def put(self, kind, key, data):
        """Callback for ``Bus.subscribe``: keep the newest ``size`` events."""
        if len(self._items) >= self.size:
            self._items.pop(0)
            self.dropped += 1
        self._items.append((kind, key, data))
        self._event.set()

    async def get(self):
        """Wait for the next ``(kind, key, data)``."""
        while not self._items:
            self._event.clear()
            await self._event.wait()
        return self._items.pop(0)
