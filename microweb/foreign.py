"""Mounted apps that are not microweb's: any ASGI app as a response that has yet to happen.

``call_next`` returns an ``ASGIResponse`` at once; its ``send`` runs the app, in the request's own task, with a
wrapped ``send``, which merges the header edits that layers recorded into the app's own start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from microweb.asgi import ASGIApp, Message, Scope, Send
from microweb.context import current
from microweb.errors import ClientDisconnect, leaf_of
from microweb.framing import BODYLESS, without_body_headers
from microweb.headers import Headers
from microweb.incoming import Incoming
from microweb.requests import Request
from microweb.responses import Response

__all__ = ["ASGIResponse", "told_by"]

StartHook = Callable[[int, Headers], None]
Answer = Callable[[Incoming, Exception, Response], Awaitable[Response]]

BODIES = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
"""The messages that carry bytes of a body (ASGI HTTP, and its extensions for files)."""

NOT_OURS = (
    "is the mounted app's own and not known yet; return another response in its place, "
    "or look at the status with response.on_start(function)"
)


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

    @property
    def status_code(self) -> int:
        """200 as long as nothing else is known."""
        return self._status

    @status_code.setter
    def status_code(self, value: int) -> None:
        raise AttributeError(f"the status of the answer {NOT_OURS}")

    @property
    def body(self) -> bytes:
        """Nothing: the app sends its body itself."""
        return b""

    @body.setter
    def body(self, value: str | bytes) -> None:
        raise AttributeError(f"the body of the answer {NOT_OURS}")

    data = body

    @property
    def content_type(self) -> str | None:
        """None as long as none was set: the app's own is not known yet."""
        return self.headers.get("content-type")

    @content_type.setter
    def content_type(self, value: str | None) -> None:
        if value is None:
            raise AttributeError(f"the content type of the answer {NOT_OURS}")
        self.headers["content-type"] = value

    def add_etag(self, *, overwrite: bool = False, weak: bool = False) -> None:
        """Do nothing: the app knows its content, we do not."""

    def make_conditional(self, request: Incoming) -> Response:
        """Do nothing: the app weighs the conditions of its requests itself."""
        return self

    async def send(self, request: Incoming, send: Send) -> None:
        """Run the app. An error before its start is answered by our error handlers.

        Raises:
            ClientDisconnect: the server has said so, and the app let it through.
            Exception: what the app raised after its answer had started, or after its end, as Starlette does.
        """
        assert isinstance(request, Request)
        root = request
        while root._connection is None and isinstance(root.parent, Request):
            root = root.parent
        # Of several apps inside each other it is the affair of the one that it is mounted in.
        owner = request if self._inner is None else self._inner
        started = False
        bodyless = self.scope["method"] == "HEAD"
        refusal: OSError | None = None

        async def forward(message: Message) -> None:
            nonlocal started, bodyless, refusal
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._merge(message)}
                if message["status"] in BODYLESS:
                    bodyless = True
                    message["headers"] = without_body_headers(message["headers"], message["status"])
                started = True
                request._started = owner._started = True
            elif bodyless and message["type"] in BODIES:
                # Starlette and FastAPI answer a HEAD with the body of the GET, and leave it to the server.
                message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            try:
                await send(message)
            except OSError as error:
                refusal = error  # The client left (ASGI HTTP 2.4).
                raise
            if message["type"] in BODIES and not message.get("more_body", False):
                self._has_ended = True

        try:
            token = current.set(owner)
            try:
                receive = root.connection.replay("the mounted app")
                await self.app(self.scope, receive, forward)
            finally:
                current.reset(token)
            if not started and not root.connection.disconnected:
                raise RuntimeError(f"the mounted app {self.app!r} has ended without an answer")
        except ClientDisconnect:
            raise
        except Exception as error:
            if refusal is not None and told_by(error, refusal):
                raise ClientDisconnect("the client left before the end of the answer") from None
            if root.connection.disconnected and type(leaf_of(error)).__name__ == "ClientDisconnect":
                # Starlette's, where its view reads a body that broke off. A teardown that commits must know.
                request.notes.unhandled = ClientDisconnect("the client left before the end of its request")
                raise request.notes.unhandled from None
            if started:
                raise
            response = await self._answer(request, error, self)
            self._edit(response.headers)
            self._tell(response.status_code, response.headers)
            await response.send(request, send)
        finally:
            refusal = None  # Its traceback holds the frames that would hold it.

    def _merge(self, message: Message) -> list[tuple[bytes, bytes]]:
        headers = Headers.from_raw([(name.lower(), value) for name, value in message.get("headers", ())])
        self._edit(headers)
        self._tell(message["status"], headers)
        return headers.raw

    def _tell(self, status: int, headers: Headers) -> None:
        for function in tuple(self._start_hooks):
            try:
                function(status, headers)
            except Exception:
                self._start_hooks.remove(function)  # The error page is not its business.
                raise

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


def told_by(error: Exception, refusal: OSError) -> bool:
    """Whether an app raised what ``send`` had told it: as it is, or under the names that Starlette has for it."""
    error = leaf_of(error)  # A task group of the app's own may stand around it.
    return error is refusal or (
        error.__context__ is refusal and type(error).__name__ in ("ClientDisconnect", "WebSocketDisconnect")
    )
