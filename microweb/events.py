"""Server-sent events: a streamed answer of small messages, kept alive while nothing happens.

The format is that of the HTML standard, §9.2 (text/event-stream). The iterable is driven in the request's own
task, as any streamed body is; beside it runs one task that sends pings and waits for the shutdown, and
``watcher.py`` notices a client that leaves.
"""

from collections.abc import AsyncIterable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from microweb import json
from microweb.asgi import Message, Send
from microweb.incoming import Incoming
from microweb.responses import HeaderItems
from microweb.streaming import StreamingResponse

if TYPE_CHECKING:
    import anyio

__all__ = ["Event", "EventStream"]

PING = b": ping\n\n"
FAREWELL = 0.25
"""Seconds that an iterable has at the shutdown, for a last event, before it is cancelled."""

END: Message = {"type": "http.response.body", "body": b""}


class Event:
    """One event: ``data`` is text, or anything with a JSON form; ``retry`` is in milliseconds.

    ``event`` is the name that a page listens for, ``id`` what a browser sends back as ``Last-Event-ID`` when it
    connects again.

    >>> Event({"n": 1}, event="count", id="7").encode()
    b'id: 7\\nevent: count\\ndata: {"n":1}\\n\\n'

    Raises:
        ValueError: ``event`` or ``id`` holds a line break or NUL, or ``retry`` is negative.
    """

    __slots__ = ("data", "event", "id", "retry")

    def __init__(
        self, data: Any = "", event: str | None = None, id: str | int | None = None, retry: int | None = None
    ) -> None:
        # SECURITY: test_events.py::test_no_line_gets_in_through_a_name_or_an_id
        for name, value in (("event", event), ("id", None if id is None else str(id))):
            if value is not None and any(character in value for character in "\r\n\0"):
                raise ValueError(f"the {name} of an event has no line breaks and no NUL, not {value!r}")
        if retry is not None and (retry.__class__ is not int or retry < 0):
            raise ValueError(f"the retry of an event is a number of milliseconds, 0 or more, not {retry!r}")
        self.data = data
        self.event = event
        self.id = id
        self.retry = retry

    def encode(self) -> bytes:
        """The event as it is sent.

        Raises:
            TypeError: ``data`` has no JSON form.
        """
        lines: list[str] = []
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        text = self.data if isinstance(self.data, str) else json.dumps(self.data).decode()
        # Not splitlines(): only these three end a line in this format.
        lines += [f"data: {line}" for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
        return "\n".join([*lines, "", ""]).encode("utf-8", "replace")


class EventStream(StreamingResponse):
    """An answer of server-sent events. Items are ``Event``, text, or anything with a JSON form.

    ``ping`` is how many seconds may pass without a byte: then a comment is sent, which pages do not see. When the
    app shuts down the iterable has a moment for a last event, if it waits for ``app.shutting_down``; then it is
    cancelled where it waits, and the answer ends as if it had ended. Proxies are told not to transform, keep or
    buffer it.

    >>> from microweb import App, EventStream, Request
    >>> app = App(__name__)
    >>> @app.get("/ticks")
    ... async def ticks(request: Request):
    ...     async def count():
    ...         start = int(request.headers.get("last-event-id", "0"))
    ...         for number in range(start, 3):
    ...             yield Event(f"tick {number}", id=number)
    ...     return EventStream(count())
    """

    watches_disconnect = True

    def __init__(
        self,
        iterable: AsyncIterable[Any] | Iterable[Any],
        *,
        ping: float = 15.0,
        status: int = 200,
        headers: HeaderItems | None = None,
    ) -> None:
        if ping <= 0:
            raise ValueError(f"ping is a number of seconds, more than 0, not {ping!r}")
        super().__init__(iterable, status, None, "text/event-stream; charset=utf-8")
        self.headers["cache-control"] = "no-cache, no-transform"
        self.headers["x-accel-buffering"] = "no"  # nginx buffers answers otherwise.
        if headers is not None:
            self._take_headers(headers)
        self.ping = ping

    @staticmethod
    def encode(chunk: Any) -> bytes:
        """One item as an event."""
        return (chunk if isinstance(chunk, Event) else Event(chunk)).encode()

    async def _pump(self, request: Incoming, send: Send) -> None:
        from anyio import CancelScope, create_task_group

        line = Line(send)
        failure: Exception | None = None
        # Only this scope ends at the shutdown: the end of the answer is still sent.
        with CancelScope() as events:
            async with create_task_group() as group:
                group.start_soon(self._keep_alive, request, line, events)
                try:
                    await super()._pump(request, line.send)
                except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it in another
                    failure = error
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if events.cancelled_caught and not line.has_ended:
            await send(END)

    async def _keep_alive(self, request: Incoming, line: "Line", events: "anyio.CancelScope") -> None:
        """Send a ping whenever nothing was sent for a while, until the app shuts down."""
        from anyio import move_on_after, sleep

        while True:
            with move_on_after(line.last_used + self.ping - monotonic()):
                await request.app.shutting_down.wait()
            if request.app.shutting_down.is_set():
                await sleep(FAREWELL)
                events.cancel()
                return
            if monotonic() - line.last_used >= self.ping:
                try:
                    await line.send({"type": "http.response.body", "body": PING, "more_body": True})
                except OSError:
                    return  # The client left; whoever sends next is told, too.


class Line:
    """The way to the client, used by one sender at a time."""

    def __init__(self, send: Send) -> None:
        from anyio import Lock

        self._send = send
        self._lock = Lock(fast_acquire=True)
        self.last_used = monotonic()
        self.has_ended = False

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the end was sent."""
        async with self._lock:
            if not self.has_ended:
                self.has_ended = not message.get("more_body", False)
                await self._send(message)
                self.last_used = monotonic()
