"""A checker that stands between a server and an app and reads every scope and message of both.

What each side may say, when, and in which types is ASGI's HTTP and WebSocket specification 2.5 and its
lifespan specification 2.0, with the parts of RFC 9110 that an app can break through them; each protocol has its
own file (``httpconversation.py``, ``websocketconversation.py``, ``lifespanconversation.py``). A fault is raised
where it happens and kept in ``faults``, since frameworks catch what ``send`` raises. Every test client puts
it around its app; the wire tests put it between a real server and the app.

It changes nothing that passes, except that headers given as a one-time iterable become a list.
"""

from __future__ import annotations

from microweb.asgi import ASGIApp, Receive, Scope, Send
from microweb.testing.conversation import LintError
from microweb.testing.httpconversation import HTTPConversation
from microweb.testing.lifespanconversation import LifespanConversation
from microweb.testing.websocketconversation import WebSocketConversation

__all__ = ["Lint"]


class Lint:
    """An ASGI app that checks another one and the server that calls it.

    ``faults`` collects what was found; ``check()`` raises the first, for servers that hide what their app
    raised.

    >>> import anyio
    >>> async def app(scope, receive, send):
    ...     await send({"type": "http.response.body", "body": b"too early"})
    >>> scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
    ...          "path": "/", "query_string": b"", "headers": []}
    >>> async def receive(): return {"type": "http.request"}
    >>> async def send(message): pass
    >>> try:
    ...     anyio.run(Lint(app), scope, receive, send)
    ... except LintError as error:
    ...     print(error)
    app: GET /: http.response.body was sent before http.response.start
    """

    def __init__(self, app: ASGIApp, *, faults: list[LintError] | None = None) -> None:
        self.app = app
        self.faults: list[LintError] = [] if faults is None else faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app between two checks."""
        kind = scope.get("type")
        if kind == "http":
            await HTTPConversation(scope, receive, send, self.faults).run(self.app)
        elif kind == "websocket":
            await WebSocketConversation(scope, receive, send, self.faults).run(self.app)
        elif kind == "lifespan":
            await LifespanConversation(scope, receive, send, self.faults).run(self.app)
        else:
            await self.app(scope, receive, send)

    def check(self) -> None:
        """Raise the first fault, if there was one."""
        if self.faults:
            raise self.faults[0]
