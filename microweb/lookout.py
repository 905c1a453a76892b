"""Noticing that the client of a websocket left, on servers that do not say so when something is sent.

Before version 2.4 of ASGI's websockets ``send`` is quiet then, and a view that only sends would go on for ever. So
when it sends twice in a row, a message is received ahead of its asking; a disconnect among those ends the next send.
Used by ``websocketwalk.py``, for such servers alone.
"""

from __future__ import annotations

from microweb.asgi import Message, Receive, Scope, Send
from microweb.loops import SideTask

__all__ = ["Lookout", "needs_lookout"]


class Lookout:
    """The ``receive`` and ``send`` of one websocket; ``end`` it in any case.

    One message at most is received ahead: a view that never receives does not learn of what comes after it.
    """

    __slots__ = ("_ahead", "_has_closed", "_is_receiving", "_receive", "_send", "_sent", "_task")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._sent = 0
        """How many messages were sent since the view last received one."""
        self._is_receiving = False
        self._has_closed = False
        self._ahead: Message | None = None
        self._task: SideTask | None = None
        """Receives ahead."""

    async def receive(self) -> Message:
        """The next message: the one that came ahead, if there is one."""
        self._sent = 0
        self._is_receiving = True
        try:
            if self._task is not None:
                await self._task.ended.wait()
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
                if self._has_closed or (self._ahead is not None and self._ahead["type"] == "websocket.disconnect"):
                    raise OSError("the client has left, or the websocket was closed meanwhile")
        elif message["type"] == "websocket.close":
            self._has_closed = True
        await self._send(message)

    async def end(self) -> None:
        """Wait for no message any more."""
        if self._task is not None:
            await self._task.end()

    async def _look(self) -> None:
        """Note what has come, and give the loop a turn: a server that throws messages away does not."""
        from anyio.lowlevel import checkpoint

        if self._ahead is None and self._task is None:
            # A task, since there are servers that lose a message when a receive is cancelled.
            self._task = SideTask(self._come, name="microweb websocket lookout")
        await checkpoint()
        if self._task is not None and self._task.ended.is_set():
            self._take()

    async def _come(self) -> None:
        self._ahead = await self._receive()

    def _take(self) -> None:
        """The task has ended. Raises: what the server raised."""
        task, self._task = self._task, None
        if task is not None and task.failure is not None:
            raise task.failure


def needs_lookout(scope: Scope) -> bool:
    """Whether the server may be quiet when something is sent to a client that has left."""
    version: str = scope.get("asgi", {}).get("spec_version", "2.0")
    # PERF(websockets.connect): what nearly every server says is not taken apart.
    return version not in ("2.4", "2.5") and tuple(int(part) for part in version.split(".") if part.isdigit()) < (2, 4)
