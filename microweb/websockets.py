"""The websocket: one connection as a view wants to see it. It never calls a view and knows no routes.

Built by ``websocketwalk.py``, which also answers or closes what a view left unfinished.

State, and what the methods do in it::

    connecting --accept()-->             open      receive and send are mistakes of the program: RuntimeError
    connecting --deny(), close()-->      closed
    open       --close(), the client-->  closed    receive and send raise WebSocketDisconnect, close does nothing
"""

from __future__ import annotations

from contextvars import Context
from functools import partial
from sys import maxsize
from typing import Any, Literal, NoReturn, Self, TypeVar, overload

from microweb import json
from microweb.absences import OF_A_WEBSOCKET, without
from microweb.asgi import Message, RawHeaders, Receive, Scope, Send
from microweb.errors import RequestEntityTooLarge, UnsupportedMediaType, WebSocketDisconnect
from microweb.headers import Headers
from microweb.incoming import Incoming
from microweb.requests import Request
from microweb.responses import HeaderItems, Response

__all__ = ["WebSocket"]

T = TypeVar("T")
DENIAL = "websocket.http.response"


@without(OF_A_WEBSOCKET, may_be_set=True)
class WebSocket(Incoming):
    """One websocket. Iterating gives messages, ``str`` or ``bytes``, until either side has closed.

    What receives raises ``WebSocketDisconnect`` once the websocket is closed, and so does what sends; neither has
    to be caught. An error after ``accept`` closes: a ``BadRequest`` with 1007, any that is no ``HTTPException``
    with 1011. A view that returns closes with 1000.

    >>> from microweb import App, WebSocket
    >>> app = App(__name__)
    >>> @app.websocket("/echo")
    ... async def echo(websocket: WebSocket):
    ...     await websocket.accept()
    ...     async for message in websocket:
    ...         await websocket.send_text(f"you said {message}")
    """

    _connection = None
    _receive: Receive

    def __init__(
        self,
        app: Any,
        scope: Scope,
        receive: Receive,
        send: Send,
        target: Any = None,
        values: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(app, scope, receive, target, values)
        self._send = send
        self.state_of_connection: Literal["connecting", "open", "closed"] = "connecting"
        self.close_code: int | None = None
        """The code that either side closed with; None before."""
        self.close_reason = ""
        timeout = target.route.timeout if target is not None and target.route is not None else None
        if timeout is not None:
            self._receive = partial(self._receive_within, receive, timeout)
        limit = self.limits.websocket_max_message
        # A character takes four bytes at most.
        self._surely_short = maxsize if limit is None else limit // 4

    # The handshake -------------------------------------------------------------------------------

    @property
    def scheme(self) -> str:
        """``"ws"`` or ``"wss"``."""
        scheme: str = self.scope.get("scheme", "ws")
        return scheme

    @property
    def is_secure(self) -> bool:
        """Whether it came over TLS, as far as the server (or a trusted proxy) says."""
        return self.scheme in ("wss", "https")

    @property
    def path_params(self) -> dict[str, Any]:
        """The path variables by name, converted."""
        return self.view_args

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the client offers, the one it likes best first."""
        return list(self.scope.get("subprotocols", ()))

    async def accept(self, subprotocol: str | None = None, headers: HeaderItems | None = None) -> None:
        """Open the websocket. ``subprotocol`` is one of ``subprotocols``; ``headers`` go out with the answer.

        Raises:
            ValueError: the client did not offer the subprotocol, or a header may not be sent.
            WebSocketDisconnect: the client has left.
            RuntimeError: it is open already, is being refused, or the session is too large for its cookie.
        """
        if self.state_of_connection == "open":
            raise RuntimeError("this websocket was accepted already; accept() is called once")
        if self.state_of_connection == "closed" and self.close_code is None:
            raise RuntimeError("this websocket is being refused: what a view yields is the body of its refusal")
        if subprotocol is not None and subprotocol not in self.subprotocols:
            raise ValueError(f"the client offers the subprotocols {self.subprotocols}, not {subprotocol!r}")
        lines = [] if headers is None else Headers(headers).raw
        if lines and any(name == b"sec-websocket-protocol" for name, _ in lines):
            raise ValueError("give the subprotocol as accept(subprotocol=...), not as a header")
        self._check_not_closed()
        self._started = True
        if self._session is not None:
            lines = [*lines, *await self.save_session()]
            self._check_not_closed()  # Meanwhile the app may have begun to shut down.
        self.state_of_connection = "open"
        await self._pass({"type": "websocket.accept", "subprotocol": subprotocol, "headers": lines})

    async def save_session(self) -> RawHeaders:
        """Save the session for the last time; gives the lines that go out with the answer to the handshake."""
        self._started = True
        if self._session is None:
            return []
        response = Response()
        await self.app.sessions.save(self._session, response, secure=self.is_secure)
        return [line for line in response.headers.raw if line[0] == b"set-cookie"]

    async def deny(self, response: Response) -> None:
        """Refuse the handshake with ``response``; with a bare 403 where the server cannot send one.

        ``abort(403)`` and returning a response before ``accept`` come to this.

        Raises:
            RuntimeError: the websocket is open.
        """
        if self.state_of_connection == "open":
            raise RuntimeError("this websocket was accepted already; `await websocket.close(code, reason)` ends it")
        self.state_of_connection = "closed"
        if DENIAL not in (self.scope.get("extensions") or {}):
            await self._pass({"type": "websocket.close", "code": 1008})
            return
        # Responses are written for HTTP: they get the handshake as the GET that it was (RFC 6455 §4.1). What else the
        # server offers for a websocket it does not offer for this.
        scope = {**self.scope, "type": "http", "method": "GET", "extensions": {}}

        async def receive() -> Message:
            await self._receive()  # A handshake has no body: all that can come is its end.
            return {"type": "http.disconnect"}

        handshake = Request(self.app, scope, receive, self._target, self._view_args)
        handshake._notes = self.notes

        async def forward(message: Message) -> None:
            self._started = True
            await self._pass({**message, "type": f"websocket.{message['type']}"})

        await response.send(handshake, forward)

    # Receiving -----------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """The next message, whatever its kind; waits ``timeout`` seconds if the route has one, then closes with 1001.

        Raises:
            WebSocketDisconnect: the client has closed or left, or the websocket was closed here.
            RequestEntityTooLarge: the message is larger than ``WEBSOCKET_MAX_MESSAGE``.
            RuntimeError: it is not accepted yet.
        """
        if self.state_of_connection != "open":
            self._check_open("receive")
        # PERF(websockets.text): one look at what came; only messages that were received have a text. receive_text and
        # __anext__ do the same without a coroutine between. CPython 3.11 calls faster from a variable than from an
        # attribute.
        receive = self._receive
        message = await receive()
        text: str | None = message.get("text")
        if text is not None and len(text) <= self._surely_short:
            return text
        return self._take(message)

    async def receive_text(self) -> str:
        """The next message, which must be text.

        Raises:
            UnsupportedMediaType: it is binary; and what ``receive`` raises.
        """
        if self.state_of_connection != "open":
            self._check_open("receive")
        receive = self._receive  # As in `receive`. PERF(websockets.text-turns)
        message = await receive()
        text: str | None = message.get("text")
        if text is not None and len(text) <= self._surely_short:
            return text
        data = self._take(message)
        if not isinstance(data, str):
            raise UnsupportedMediaType("A text message was expected, a binary one came.")
        return data

    async def receive_bytes(self) -> bytes:
        """The next message, which must be binary.

        Raises:
            UnsupportedMediaType: it is text; and what ``receive`` raises.
        """
        data = await self.receive()
        if isinstance(data, str):
            raise UnsupportedMediaType("A binary message was expected, a text came.")
        return data

    async def receive_json(self) -> Any:
        """The value of the next message, read as JSON.

        Raises:
            BadRequest: it is no JSON; and what ``receive`` raises. The websocket stays open if that is caught.
        """
        return self._read_json(await self.receive(), Any)

    @overload
    async def receive_as(self, type: type[T]) -> T: ...
    @overload
    async def receive_as(self, type: Any) -> Any: ...
    async def receive_as(self, type: Any) -> Any:
        """The next message read as JSON and checked to be a ``type``: a Struct, a dataclass, ``int | str``...

        Raises:
            BadRequest: it is no JSON, or no ``type``; and what ``receive`` raises.
        """
        return self._read_json(await self.receive(), type)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            if self.state_of_connection != "open":
                self._check_open("receive")
            receive = self._receive
            message = await receive()
            text: str | None = message.get("text")
            if text is not None and len(text) <= self._surely_short:
                return text
            if message["type"] == "websocket.disconnect":
                self._note_end(message)
                raise StopAsyncIteration
            return self._take(message)
        except WebSocketDisconnect:
            raise StopAsyncIteration from None

    # Sending -------------------------------------------------------------------------------------

    async def send_text(self, text: str) -> None:
        """Send a text message; waits while the client is slow.

        Raises:
            WebSocketDisconnect: the websocket is closed.
            RuntimeError: it is not accepted yet.
            TypeError: ``text`` is no str.
        """
        if text.__class__ is not str and not isinstance(text, str):
            raise TypeError(f"send_text() needs a str, not {type(text).__name__}; see send_bytes and send_json")
        if self.state_of_connection != "open":
            self._check_open("send")
        # PERF(websockets.text): without a coroutine between; so do the two below.
        send = self._send
        try:
            await send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError) as error:
            self._lose(error)

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message. Raises: as ``send_text``."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"send_bytes() needs bytes, not {type(data).__name__}; see send_text and send_json")
        if self.state_of_connection != "open":
            self._check_open("send")
        send = self._send
        try:
            await send({"type": "websocket.send", "bytes": bytes(data)})
        except (OSError, RuntimeError) as error:
            self._lose(error)

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON in a text message. Raises: as ``send_text``, and TypeError for what has no JSON."""
        text = json.dumps(value).decode()
        if self.state_of_connection != "open":
            self._check_open("send")
        send = self._send
        try:
            await send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError) as error:
            self._lose(error)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a code of RFC 6455 §7.4; before ``accept``, refuse the handshake. Nothing, if it is closed.

        A reason is cut to the 123 bytes that a close frame has room for.

        Raises:
            ValueError: the code must not be sent.
        """
        if not is_close_code(code):
            raise ValueError(f"a close code is 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4), not {code!r}")
        if self.state_of_connection == "closed":
            return
        if reason:
            reason = reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")
        self._end(code, reason)
        try:
            await self._pass({"type": "websocket.close", "code": code, "reason": reason})
        except WebSocketDisconnect:
            pass  # The client was faster.

    # The messages --------------------------------------------------------------------------------

    def _take(self, message: Message) -> str | bytes:
        """The data of any message; a long one is measured, an end is noted.

        Raises: as ``receive``.
        """
        if message["type"] != "websocket.receive":
            self._note_end(message)
            self._check_not_closed()
        text: str | None = message.get("text")
        data: str | bytes = message["bytes"] if text is None else text
        limit = self.limits.websocket_max_message
        if limit is not None and len(data) > self._surely_short and size_of(data) > limit:
            raise RequestEntityTooLarge(f"The message is larger than {limit} bytes (WEBSOCKET_MAX_MESSAGE).")
        return data

    def _read_json(self, data: str | bytes, type: Any) -> Any:
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        return json.loads(data, type, max_depth=self.limits.json_max_depth)

    # The state -----------------------------------------------------------------------------------

    async def _receive_within(self, receive: Receive, seconds: float) -> Message:
        if self.state_of_connection != "open":
            return await receive()  # What is waited for while the handshake is refused is its end.
        from anyio import CancelScope, current_time

        # Not asyncio's timeout: that throws away a message that has come in the same turn of the loop.
        with CancelScope() as scope:
            # asyncio keeps a cancelled timer until its time has come, and its context: not that with the request.
            Context().run(setattr, scope, "deadline", current_time() + seconds)
            return await receive()
        await self.close(1001, f"nothing came for {seconds:g} seconds")
        return {"type": "websocket.disconnect"}

    async def _pass(self, message: Message) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:
            if "Expected ASGI message" in str(error) and await self._has_left():
                self._lose(OSError())
            self._lose(error)

    async def _has_left(self) -> bool:
        """Whether the end of the connection is the next that was received.

        uvicorn takes the answer to a client that left during its handshake for a second one. That may as well be
        the mistake of a layer that has accepted by itself, which has to be told.
        """
        from anyio import move_on_after

        with move_on_after(0):
            message = await self._receive()
            return bool(message["type"] == "websocket.disconnect")
        return False

    def _lose(self, error: Exception) -> NoReturn:
        """Raise what an error of the server's ``send`` means: that the client has left, if it says so.

        OSError says that from ASGI websockets 2.4 on. A server that has closed by itself, for a frame that is none
        for instance, takes our next message for one too many.
        """
        if isinstance(error, RuntimeError) and "Unexpected ASGI message" not in str(error):
            raise error
        self._end(self.close_code or 1006, self.close_reason)
        raise WebSocketDisconnect(self.close_code or 1006, self.close_reason) from None

    def _note_end(self, message: Message) -> None:
        if self.close_code in (None, 1006):  # hypercorn tells of our own close as one with 1000.
            self._end(message.get("code") or 1005, message.get("reason") or "")

    def _end(self, code: int, reason: str) -> None:
        self.state_of_connection = "closed"
        self.close_code, self.close_reason = code, reason

    def _check_open(self, what: str) -> None:
        if self.state_of_connection == "connecting":
            raise RuntimeError(f"this websocket is not open yet: `await websocket.accept()` before you {what}")
        self._check_not_closed()

    def _check_not_closed(self) -> None:
        if self.state_of_connection == "closed":
            raise WebSocketDisconnect(self.close_code or 1006, self.close_reason)


def is_close_code(value: object) -> bool:
    """Whether an application may close with it (RFC 6455 §7.4)."""
    if not isinstance(value, int):
        return False
    return (1000 <= value <= 1014 and value not in (1004, 1005, 1006)) or 3000 <= value <= 4999


def size_of(data: str | bytes) -> int:
    """The bytes of a message on the wire."""
    return len(data.encode("utf-8", "surrogatepass")) if isinstance(data, str) else len(data)
