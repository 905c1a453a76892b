"""Server-sent events: a streamed answer of small messages, kept alive while nothing happens.

The format is that of the HTML standard, §9.2 (text/event-stream). The iterable is driven in the request's own
task, as any streamed body is; ``pulse.py`` sends pings meanwhile and waits for the shutdown, and ``watcher.py``
notices a client that leaves.
"""

from __future__ import annotations

from asyncio import CancelledError, _get_running_loop
from collections.abc import AsyncIterable, Iterable
from functools import partial
from typing import Any

from microweb import json
from microweb.asgi import Message, Send
from microweb.errors import ClientDisconnect
from microweb.incoming import Incoming
from microweb.loops import in_trio
from microweb.pulse import Line, Pulse, run_beside_pings
from microweb.requests import Request
from microweb.responses import HeaderItems
from microweb.streaming import StreamingResponse, write

__all__ = ["Event", "EventStream"]

END: Message = {"type": "http.response.body", "body": b""}


class Event:
    """One event: ``data`` is text, or anything with a JSON form; ``retry`` is in milliseconds.

    ``event`` is the name that a page listens for, ``id`` what a browser sends back as ``Last-Event-ID`` when it
    connects again.

    >>> Event({"n": 1}, event="count", id="7").encode()
    b'id: 7\\nevent: count\\ndata: {"n":1}\\n\\n'

    Raises:
        ValueError: ``event`` or ``id`` holds a line break or NUL, or ``retry`` is no whole number or negative.
        TypeError: ``event`` is no text.
    """

    __slots__ = ("data", "event", "id", "retry")

    def __init__(
        self, data: Any = "", event: str | None = None, id: str | int | None = None, retry: int | None = None
    ) -> None:
        # SECURITY: test_events.py::test_no_line_gets_in_through_a_name_or_an_id
        if event is not None and not isinstance(event, str):
            raise TypeError(f"the event of an event is its name, not {event!r}")
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

    >>> from typing import Annotated
    >>> from microweb import App, EventStream, Header
    >>> app = App(__name__)
    >>> @app.get("/ticks")
    ... async def ticks(last_event_id: Annotated[int, Header()] = 0):
    ...     async def count():
    ...         for number in range(last_event_id, 3):
    ...             yield Event(f"tick {number}", id=number)
    ...     return EventStream(count())

    Raises:
        ValueError: ``ping`` is not more than 0.
    """

    watches_disconnect = True
    encodes_bytes = True

    def __init__(
        self,
        iterable: AsyncIterable[Any] | Iterable[Any],
        *,
        ping: float = 15.0,
        status: int = 200,
        headers: HeaderItems | None = None,
    ) -> None:
        if ping.__class__ not in (int, float) or not ping > 0:
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
        # PERF(websockets.fan-out): nearly every item is one line of text, or JSON, which is one line.
        if chunk.__class__ is str and "\n" not in chunk and "\r" not in chunk:
            return f"data: {chunk}\n\n".encode("utf-8", "replace")
        if chunk.__class__ is dict:
            return b"data: " + json.dumps(chunk) + b"\n\n"
        return (chunk if isinstance(chunk, Event) else Event(chunk)).encode()

    async def _pump(self, request: Incoming, send: Send) -> None:
        line, shutting_down = Line(send), request.app.shutting_down
        loop = None if in_trio() else _get_running_loop()
        if loop is None:
            has_ended = await run_beside_pings(
                partial(self._pump_events, request, line), line, self.ping, shutting_down
            )
        else:
            has_ended = False
            pulse = Pulse(loop, line, self.ping, shutting_down)
            try:
                await self._pump_events(request, line)
            except CancelledError:
                has_ended = await pulse.has_ended()
                if not has_ended:
                    raise
            finally:
                try:
                    await pulse.stop()
                finally:
                    del pulse  # As the watch of the client (``watcher.py``), it holds this task.
        if has_ended and not line.has_ended:
            await write(send, END)

    async def _pump_events(self, request: Incoming, line: Line) -> None:
        try:
            await super()._pump(request, line.send)
        except ClientDisconnect:
            assert isinstance(request, Request)
            if line.has_failed or request.connection.disconnected:
                raise
            # The client is still there: a channel gave it up as too slow. It may come again, and an answer without an
            # end would be a mistake of ours in the server's log.
            await write(line.send, END)
