"""Noticing that the client of a websocket left, on servers that do not say so when something is sent.

Before version 2.4 of ASGI's websockets ``send`` is quiet then, and a view that only sends would go on for ever. So
when it sends twice in a row, a message is received ahead of its asking; a disconnect among those ends the next send.
Used by ``websocketwalk.py``, for such servers alone.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING

from microweb.asgi import Message, Receive, Scope, Send
from microweb.loops import spawn

if TYPE_CHECKING:
    from anyio import CancelScope, Event

__all__ = ["Lookout", "needs_lookout"]


class Lookout:
    """The ``receive`` and ``send`` of one websocket; ``end`` it in any case.

    One message at most is received ahead: a view that never receives does not learn of what comes after it.
    """

    __slots__ = ("_ahead", "_ended", "_failure", "_is_receiving", "_receive", "_scope", "_send", "_sent", "_task")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._sent = 0
        """How many messages were sent since the view last received one."""
        self._is_receiving = False
        self._ahead: Message | None = None
        self._failure: Exception | None = None
        self._ended: Event | None = None
        """Of the task that receives ahead; None without one."""
        self._scope: CancelScope | None = None
        self._task: object = None  # asyncio keeps only weak references to tasks

    async def receive(self) -> Message:
        """The next message: the one that came ahead, if there is one."""
        self._sent = 0
        self._is_receiving = True
        try:
            if self._ended is not None:
                await self._ended.wait()
                self._take()
            message, self._ahead = self._ahead, None
            return await self._receive() if message is None else message
        finally:
            self._is_receiving = False

    async def send(self, message: Message) -> None:
        """Pass a message on.

        Raises:
            OSError: the client has left.
        """
        if message["type"] == "websocket.send":
            # One that receives after each send needs no lookout, and one that receives now is told by that.
            self._sent += 1
            if self._sent > 1 and not self._is_receiving:
                await self._look()
                if self._ahead is not None and self._ahead["type"] == "websocket.disconnect":
                    raise OSError("the client has left")
        await self._send(message)

    async def end(self) -> None:
        """Wait for no message any more."""
        if self._ended is None or self._scope is None:
            return
        from anyio import CancelScope, get_cancelled_exc_class

        self._scope.cancel()
        with CancelScope(shield=True):
            try:
                await self._ended.wait()
            except get_cancelled_exc_class():
                await self._ended.wait()  # asyncio, which knows no shields, has cancelled this task once more.
                raise

    async def _look(self) -> None:
        """Note what has come, and give the loop a turn: a server that throws messages away does not."""
        from anyio import CancelScope, Event
        from anyio.lowlevel import checkpoint

        if self._ahead is None and self._ended is None:
            # A task, since there are servers that lose a message when a receive is cancelled.
            self._ended, self._scope = Event(), CancelScope()
            name = "microweb websocket lookout"
            self._task = spawn(self._come, self._ended.set, name=name, context=copy_context())
        await checkpoint()
        if self._ended is not None and self._ended.is_set():
            self._take()

    async def _come(self) -> None:
        assert self._scope is not None
        with self._scope:
            try:
                self._ahead = await self._receive()
            except Exception as error:  # noqa: BLE001 - raised by _take
                self._failure = error

    def _take(self) -> None:
        """The task has ended. Raises: what the server raised."""
        self._ended = self._task = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def needs_lookout(scope: Scope) -> bool:
    """Whether the server may be quiet when something is sent to a client that has left."""
    version: str = scope.get("asgi", {}).get("spec_version", "2.0")
    # PERF(websockets.connect): what nearly every server says is not taken apart.
    return version not in ("2.4", "2.5") and tuple(int(part) for part in version.split(".") if part.isdigit()) < (2, 4)
