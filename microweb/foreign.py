"""Mounted apps that are not microweb's: any ASGI app as a response that has yet to happen.

``call_next`` returns an ``ASGIResponse`` at once; its ``send`` runs the app, in the request's own task, with the
one wrapped ``send`` of the core, which merges the header edits that layers recorded into the app's own start.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from microweb.asgi import ASGIApp, Message, Scope, Send
from microweb.errors import ClientDisconnect
from microweb.headers import Headers
from microweb.incoming import Incoming
from microweb.requests import Request
from microweb.responses import Response

__all__ = ["ASGIResponse"]

StartHook = Callable[[int, Headers], None]
Answer = Callable[[Any, Exception], Awaitable[Response]]


class ASGIResponse(Response):
    """The answer of a mounted foreign app. Its status is unknown until it starts: use ``on_start``.

    Headers that layers set replace the app's lines of that name, except Set-Cookie and Vary, which add up.
    """

    is_streamed = True
    """Nothing is known before it is sent."""

    def __init__(self, app: ASGIApp, scope: Scope, answer: Answer) -> None:
        super().__init__()
        self._content_type = None
        self.app = app
        self.scope = scope
        self._answer = answer
        self._start_hooks: list[StartHook] = []

    def on_start(self, function: StartHook) -> None:
        """Call ``function(status, headers)`` when the answer starts, the app's or that of an error handler."""
        self._start_hooks.append(function)

    async def send(self, request: Incoming, send: Send) -> None:
        """Run the app. An error before its start is answered by our error handlers, later it is raised.

        Raises:
            Exception: what the app raised after its answer had started.
        """
        assert isinstance(request, Request)
        root = request
        while root._connection is None and isinstance(root.parent, Request):
            root = root.parent
        receive = root.connection.replay("the mounted app")
        started = False

        async def forward(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                request._started = True
                message = {**message, "headers": self._merge(message)}
            await send(message)

        try:
            await self.app(self.scope, receive, forward)
        except ClientDisconnect:
            raise
        except Exception as error:
            if started:
                raise
            response = await self._answer(request, error)
            self._edit(response.headers)
            for function in self._start_hooks:
                function(response.status_code, response.headers)
            await response.send(request, send)

    def _merge(self, message: Message) -> list[tuple[bytes, bytes]]:
        headers = Headers.from_raw([(name.lower(), value) for name, value in message.get("headers", ())])
        self._edit(headers)
        for function in self._start_hooks:
            function(message["status"], headers)
        return headers.raw

    def _edit(self, headers: Headers) -> None:
        if self._headers is None:
            return
        for name in dict.fromkeys(self._headers.keys()):
            values = self._headers.getlist(name)
            if name == "vary":
                headers.vary(*(part.strip() for value in values for part in value.split(",")))
                continue
            if name != "set-cookie":
                headers.remove(name)
            for value in values:
                headers.add(name, value)
