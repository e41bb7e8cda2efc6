"""The dispatcher: answers requests, several at a time, each within its deadline.

A request is an object with ``module``, ``method`` and the arguments by name, and may have

* ``id``: repeated in the reply, and in every segment of it
* ``noreply``: there is no reply, whatever happens
* ``replyWithModule``, ``replyWithMethod``: the reply repeats the module, the method
* ``stream``: 1 asks for a reply of any length, in parts; see ``stream.py``
* ``requests``: instead of module and method, requests to be done one after the other. The reply is
  the array of theirs; one without an ``id`` gets that of the batch.

A reply has a ``value`` or an ``error``. Beside what the methods themselves say, errors are
``invalid request``, ``invalid id``, ``invalid module``, ``invalid method`` (also one that the
transport may not call), ``missing parameter: ...``, ``unknown parameter: ...``, ``too many
parameters``, ``request longer than ...``, ``reply longer than ...``, ``busy``, ``timeout``, ``out
of memory`` and ``internal error``, a bug.

``noreply`` goes for a whole batch, its requests may have their own. A method that writes goes on
after its ``timeout``; what became of it is in the audit.
"""

from ..compat import asyncio, const, ticks_add, ticks_diff, ticks_ms, wait_set
from ..errors import ApiError, FieldpostError
from ..events import ERROR
from .audit import Audit
from .call import CONFIRM, READ, WRITE, Rows
from .reply import Text, breathe, messages
from .request import Request, parse

MODULES = ("alarms", "config", "gateways", "loggers", "mqtt", "system", "update", "webhooks")
_BATCH = const(32)


class Dispatcher:
    """Answers requests to ``node``. ``settings`` is the validated table ``api``.

    ``counters``: ``requests``, ``bad`` (not even a request), ``errors`` (replies that say one),
    ``denied`` (of these, for want of a permission), ``busy`` (refused as too many at a time),
    ``dropped`` (without a reply, as far too many) and ``unsent`` (replies that could not be sent).
    ``node.audit`` is its ``Audit``.
    """

    def __init__(self, node, settings):
        self.node = node
        self.settings = settings
        node.audit = Audit()
        self.counters = {
            "requests": 0,
            "bad": 0,
            "errors": 0,
            "denied": 0,
            "busy": 0,
            "dropped": 0,
            "unsent": 0,
        }
        self.streams = self.signatures = None
        self._running = 0
        self._tasks = []
        self._jobs = []

    def submit(self, *request):
        """Have a request answered by a task of its own; arguments of ``handle``. Never blocks."""
        if len(self._tasks) >= 2 * self.settings["parallel"]:
            self.counters["dropped"] += 1
            return
        self._tasks.append(asyncio.create_task(self._serve(request)))

    async def _serve(self, request):
        try:
            await self.handle(*request)
        finally:
            self._tasks.remove(asyncio.current_task())

    async def handle(self, text, transport, send, module=None, method=None, unseal=None):
        """Answer one request, or a batch.

        ``text``: str or bytes. ``transport``: "mqtt", "serial" or "python". ``await send(data)``
        gets each message of the reply as bytes or bytearray; it returns False where it cannot be
        sent. ``module`` and ``method`` are what the address of the request says. Where requests
        come in envelopes, ``unseal(object)`` returns the text in one, or raises ApiError.
        """
        self.counters["requests"] += 1
        self._running += 1
        try:
            out = Text(self.settings["max_reply"])
            mark = await self._reply(out, text, transport, module, method, unseal)
            if mark is not None:
                for message in messages(out.data, mark, self.settings["segment"]):
                    if not await send(message):
                        self.counters["unsent"] += 1
                        break
        except Exception as error:
            # No memory for the reply.
            self.counters["unsent"] += 1
            self.node.bus.emit(ERROR, "api", error)
        finally:
            self._running -= 1

    async def call(self, transport, module, method, args=None):
        """Call a method: its value, rows as a list. Raises ApiError or another FieldpostError."""
        request = Request(dict(args or {}), module, method)
        deadline = self._deadline()
        value = await self._value(request, transport, deadline)
        if not isinstance(value, Rows):
            return value
        items = []
        for item in value:
            if item is Rows.PAUSE:
                await breathe(deadline)
            else:
                items.append(item)
        return items

    def tend(self):
        """Once a second: forget streams that nobody fetches."""
        if self.streams:
            self.streams.tend()

    def stop(self):
        """Cancel everything that is going on."""
        for task in self._tasks + [job.task for job in self._jobs]:
            task.cancel()

    def _deadline(self):
        return ticks_add(ticks_ms(), self.settings["timeout_ms"])

    async def _reply(self, out, text, transport, module, method, unseal):
        """Write the reply; returns the text of the id for its segments, None for no reply."""
        limit = self.settings["max_request"]
        mark = ""
        try:
            if unseal:
                # Its quotes are escaped there.
                envelope = parse(text, 2 * limit)
                mark = Request(envelope).mark()
                text = unseal(envelope)
            request = Request(parse(text, limit), module, method)
        except ApiError as error:
            self.counters["bad"] += 1
            out.error(0, mark, str(error))
            return mark
        if self._running > self.settings["parallel"]:
            self.counters["busy"] += 1
            out.error(0, request.head(), "busy")
        elif request.requests is None:
            await self._one(out, request, transport, self._deadline())
        else:
            await self._batch(out, request, transport)
        return None if request.noreply else request.mark()

    async def _batch(self, out, batch, transport):
        bodies = batch.requests
        if not isinstance(bodies, list) or len(bodies) > _BATCH:
            self.counters["bad"] += 1
            out.error(0, batch.head(), "requests: want a list of at most %d" % _BATCH)
            return
        deadline = self._deadline()
        out.data.extend(b"[")
        for body in bodies:
            end = len(out.data)
            if end > 1:
                out.data.extend(b",")
            if not await self._part(out, body, batch, transport, deadline):
                out.cut(end)
        out.data.extend(b"]")

    async def _part(self, out, body, batch, transport, deadline):
        """Answer one request of a batch; False if it wants no reply."""
        try:
            request = Request(body, batch.module, batch.method)
            if request.requests is not None:
                raise ApiError("invalid request")
        except ApiError as error:
            self.counters["bad"] += 1
            out.error(len(out.data), batch.mark(), str(error))
            return True
        if request.id is None:
            request.id = batch.id
        await self._one(out, request, transport, deadline)
        return not request.noreply

    async def _one(self, out, request, transport, deadline):
        start = len(out.data)
        try:
            if request.module is None and request.stream is not None:
                await self._streams().fetch(out, request, transport, deadline)
                return
            value = await self._value(request, transport, deadline)
            if request.stream:
                await self._streams().open(out, request, transport, value, deadline)
            else:
                await out.reply(request.head(), value, deadline)
        except Exception as error:
            self.counters["errors"] += 1
            out.error(start, request.head(), self._reason(error))

    def _reason(self, error):
        if isinstance(error, FieldpostError):
            return str(error)
        self.node.bus.emit(ERROR, "api", error)
        return "out of memory" if isinstance(error, MemoryError) else "internal error"

    def _streams(self):
        if self.streams is None:
            from .stream import Streams

            self.streams = Streams(self.node.boot, self.settings)
        return self.streams

    async def _value(self, request, transport, deadline):
        """Call the method that a request means; its value."""
        handler, parameters, kind, tables = self._method(request, transport)
        args = request.arguments(parameters, tables)
        name = request.module + "." + request.method
        if kind == WRITE and name != CONFIRM:
            first = parameters.partition(":")[0].strip()
            entry = (transport, name, request.id, args.get(first))
            result = self._audited(handler, args, entry)
        else:
            result = handler(self.node, args)
        return await self._finish(result, kind, deadline) if hasattr(result, "send") else result

    def _method(self, request, transport):
        if request.module not in MODULES:
            raise ApiError("invalid module")
        try:
            module = __import__("fieldpost.api." + request.module, None, None, ("METHODS",))
        except ImportError:
            # An optional module, not installed.
            raise ApiError("invalid module") from None
        method = request.method
        found = module.METHODS.get(method) if isinstance(method, str) else None
        if found is None:
            raise ApiError("invalid method")
        if not self._allowed(transport, request.module, method, found[2]):
            self.counters["denied"] += 1
            raise ApiError("invalid method")
        return found + (getattr(module, "TABLES", {}),)

    def _allowed(self, transport, module, method, kind):
        allowed = self.settings[transport] if transport != "python" else ("*",)
        name = module + "." + method
        return (
            "*" in allowed
            or name == CONFIRM
            or name in allowed
            or module + ".*" in allowed
            or (kind == READ and READ in allowed)
        )

    async def _audited(self, handler, args, entry):
        moment = self.node.clock.mono_ms()
        said = "internal error"
        try:
            result = handler(self.node, args)
            if hasattr(result, "send"):
                result = await result
            said = "ok"
            return result
        except FieldpostError as error:
            said = str(error)
            raise
        finally:
            self.node.audit.note(moment, *entry, said)

    async def _finish(self, coroutine, kind, deadline):
        """What a coroutine returns; past the deadline ApiError, and its end if it only reads."""
        if len(self._jobs) >= self.settings["parallel"]:
            # Writing methods that never ended.
            coroutine.close()
            raise ApiError("busy")
        job = _Job(coroutine, self._jobs)
        await wait_set(job.event, max(0, ticks_diff(deadline, ticks_ms())))
        if job.over:
            if job.error:
                raise job.error
            return job.value
        if kind == READ:
            job.task.cancel()
        raise ApiError("timeout")


class _Job:
    """A method that is going on, in a task of its own; in the list ``jobs`` while it is."""

    def __init__(self, coroutine, jobs):
        self.event = asyncio.Event()
        self.value = self.error = None
        self.over = False
        self._jobs = jobs
        jobs.append(self)
        self.task = asyncio.create_task(self._run(coroutine))

    async def _run(self, coroutine):
        try:
            self.value = await coroutine
        except Exception as error:
            self.error = error
        finally:
            self.over = True
            self._jobs.remove(self)
            self.event.set()
