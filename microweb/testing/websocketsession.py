"""A websocket to an app in this process, with the test as the client.

::

    test                WebSocketSession                       app (in a detached task)
    send_*()   ──────>  Handoff  ─────── receive() ─────────>  websocket.connect, .receive, .disconnect
    receive_*() <─────  Handoff  <─────── send() ────────────  websocket.accept, .send, .close, or a denial

    state         entered by                          what the test gets          what the app gets
    handshake     the start                           waits in client.websocket   websocket.connect
    open          websocket.accept                    messages                    messages
    denied        close or a response before accept   WebSocketDenied             disconnect 1006
    closed        close(), disconnect(), a close of   the messages so far, then   websocket.disconnect, then
                  the app, the end of the app         WebSocketDisconnect         ClientGone from send

Made by ``Client.websocket``; the blocking twin is in ``syncclient.py``.
"""

from __future__ import annotations

import json
from typing import Any, Self

import anyio
import httpx

from microweb.asgi import ASGIApp, Message, RawHeaders, Scope
from microweb.errors import WebSocketDisconnect
from microweb.testing.call import AppCall
from microweb.testing.handoff import Handoff

__all__ = ["WebSocketDenied", "WebSocketSession"]

ENDS = (1000, 1001)
"""Close codes that end an iteration quietly: done, and going away."""


class WebSocketDenied(Exception):
    """The app refused the handshake; ``response`` is its answer, a bare 403 if it only closed."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"the websocket was refused with status {response.status_code}")
        self.response = response


class WebSocketSession(AppCall):
    """The client's end of a websocket; iterating gives messages until the app closes with 1000 or 1001.

    ``accepted_subprotocol`` is what the app chose, ``headers`` are those of its answer to the handshake.
    Every method that receives raises ``microweb.errors.WebSocketDisconnect`` after the app has closed, or the
    app's own error if that is why.

    >>> import anyio
    >>> from microweb.testing import Client
    >>> async def echo(scope, receive, send):
    ...     assert scope["type"] == "websocket"
    ...     await receive()
    ...     await send({"type": "websocket.accept"})
    ...     while (message := await receive())["type"] == "websocket.receive":
    ...         await send({"type": "websocket.send", "text": message["text"]})
    >>> async def main():
    ...     async with Client(echo) as client, client.websocket("/") as websocket:
    ...         await websocket.send_text("hello")
    ...         return await websocket.receive_text()
    >>> anyio.run(main)
    'hello'
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        request: httpx.Request,
        *,
        raise_errors: bool,
        lint: bool,
        grace: float,
        queue: int,
    ) -> None:
        self.accepted_subprotocol: str | None = None
        self.response: httpx.Response | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self._request = request
        self._answered = anyio.Event()
        self._inbox: Handoff[Message] = Handoff(queue)
        self._outbox: Handoff[str | bytes] = Handoff(queue)
        self._denial: tuple[int, RawHeaders, list[bytes]] | None = None
        self._inbox.put_nowait({"type": "websocket.connect"})
        super().__init__(app, scope, raise_errors=raise_errors, lint=lint, grace=grace)

    # The test's side ---------------------------------------------------------------------------------

    @property
    def headers(self) -> httpx.Headers:
        """The headers of the app's answer to the handshake."""
        return httpx.Headers() if self.response is None else self.response.headers

    async def open(self) -> httpx.Response:
        """Wait for the answer to the handshake, a response without a body.

        Raises:
            WebSocketDenied: the app refused; its coroutine has ended by then.
            AppHangs: it was still running after the grace period; it was cancelled.
        """
        try:
            await self._answered.wait()
            if self.response is None:
                await self.end(anyio.current_time() + self._grace)
        except BaseException:
            self.abandon()
            raise
        if self.response is not None:
            return self.response
        self.raise_error()
        # 500 is what uvicorn answers for an app that ended without a word.
        status, headers, body = self._denial or (500, [], [b"Internal Server Error"])
        raise WebSocketDenied(httpx.Response(status, headers=headers, content=b"".join(body), request=self._request))

    async def send_text(self, text: str) -> None:
        """Send a text message.

        Raises:
            TypeError: it is no text.
            WebSocketDisconnect: the websocket is closed.
        """
        if not isinstance(text, str):
            raise TypeError(f"send_text() needs a str, not {type(text).__name__}")
        await self._give({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message.

        Raises:
            TypeError: it is no bytes.
            WebSocketDisconnect: the websocket is closed.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"send_bytes() needs bytes, not {type(data).__name__}")
        await self._give({"type": "websocket.receive", "bytes": bytes(data)})

    async def send_json(self, value: object) -> None:
        """Send a value as JSON in a text message."""
        await self.send_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    async def receive(self) -> str | bytes:
        """The next message, whatever its kind.

        Raises:
            WebSocketDisconnect: the websocket is closed, and every message was read.
            Exception: the app has failed; it is what the app raised.
        """
        message = await self._outbox.take()
        if message is not None:
            return message
        self.raise_error()
        raise WebSocketDisconnect(self.close_code or 1006, self.close_reason)

    async def receive_text(self) -> str:
        """The next message, which must be text.

        Raises:
            AssertionError: it is binary.
            WebSocketDisconnect: as ``receive``.
        """
        message = await self.receive()
        if not isinstance(message, str):
            raise AssertionError(f"a text message was expected, a binary one came: {message!r}")
        return message

    async def receive_bytes(self) -> bytes:
        """The next message, which must be binary.

        Raises:
            AssertionError: it is text.
            WebSocketDisconnect: as ``receive``.
        """
        message = await self.receive()
        if not isinstance(message, bytes):
            raise AssertionError(f"a binary message was expected, a text came: {message!r}")
        return message

    async def receive_json(self) -> Any:
        """The value of the next message, text or binary, read as JSON."""
        return json.loads(await self.receive())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketDisconnect as closed:
            if closed.code in ENDS:
                raise StopAsyncIteration from None
            raise

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; what the app has sent until now can still be received."""
        self._leave(code, reason)

    def disconnect(self) -> None:
        """Drop the connection without a close frame: the app gets code 1006."""
        self._leave(1006, "")

    async def shut(self) -> None:
        """Close with 1000 if nobody has, and wait for the app's coroutine to end.

        Raises:
            AppHangs: the app was still running after the grace period; it was cancelled.
            Exception: the app's own, unless the client was made with ``raise_errors=False``.
        """
        self._leave(1000, "")
        await self.finish()

    async def _give(self, message: Message) -> None:
        if self.close_code is not None:
            raise WebSocketDisconnect(self.close_code, self.close_reason)
        await self._inbox.put(message)

    def _leave(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.left = True
            self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        self.close_code = code
        self.close_reason = reason
        self._release()

    # The app's side ----------------------------------------------------------------------------------

    def _release(self) -> None:
        if self.close_code is None:
            self.close_code = 1006  # the app ended without a close: the server just drops the connection
        self._answered.set()
        self._inbox.close()
        self._outbox.close()

    async def _receive(self) -> Message:
        message = await self._inbox.take()
        if message is None:
            return {
                "type": "websocket.disconnect",
                "code": self.close_code or 1005,
                "reason": self.close_reason,
            }
        return message

    async def _send(self, message: Message) -> None:
        if self.left:
            return await self._refuse()
        match message["type"]:
            case "websocket.accept":
                self._accept(message)
            case "websocket.send":
                await self._send_message(message)
            case "websocket.close" if self.response is None:
                self._deny(403, [])
                self._end(1006, "")
            case "websocket.close":
                self._end(message.get("code", 1000), message.get("reason") or "")
            case "websocket.http.response.start":
                self._deny(message["status"], list(message.get("headers", ())))
            case "websocket.http.response.body" if self._denial is not None:
                self._denial[2].append(message.get("body", b""))
                if not message.get("more_body", False):
                    self._end(1006, "")
            case other:
                raise RuntimeError(f"{other!r} is no message that a websocket can send now")
        return None

    async def _send_message(self, message: Message) -> None:
        if self.response is None or self.close_code is not None:
            raise RuntimeError("websocket.send outside of an open websocket")
        text = message.get("text")
        taken = await self._outbox.put(message["bytes"] if text is None else text)
        if self.left and not taken:
            await self._refuse()

    def _accept(self, message: Message) -> None:
        if self.response is not None or self._denial is not None:
            raise RuntimeError("the handshake was answered twice")
        self.accepted_subprotocol = message.get("subprotocol")
        headers = [*message.get("headers", ())]
        if self.accepted_subprotocol is not None:
            headers.append((b"sec-websocket-protocol", self.accepted_subprotocol.encode()))
        self.response = httpx.Response(101, headers=headers, request=self._request)
        self._answered.set()

    def _deny(self, status: int, headers: RawHeaders) -> None:
        if self.response is not None or self._denial is not None:
            raise RuntimeError("the handshake was answered twice")
        self._denial = (status, headers, [])
