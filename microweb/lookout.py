"""Noticing that the client of a websocket left, on servers that do not say so when something is sent.

Before version 2.4 of ASGI's websockets ``send`` is quiet then, and a view that only sends would go on for ever. So
when it sends twice in a row, messages are received ahead of its asking; a disconnect among those ends the next send.
Used by ``websocketwalk.py``, for such servers alone.

What was received ahead waits for the view, up to ``AHEAD`` bytes. Then nothing more is received until the view has
received, or has not for ``patience`` seconds: it is taken for one that only sends, and the oldest are thrown away.

On granian, one of those servers, a message that comes for a ``receive`` that was cancelled is lost. What it gives is a
future: whoever waits for one leaves it to the next when cancelled, so that a view may give up a wait. As long as one is
asked for, granian keeps a close back, so a close withdraws them all. Who waits for one is told when the close is out:
what it does then may cancel the task that closes, as a task group does, and granian would close without a code.
"""

from __future__ import annotations

from asyncio import CancelledError, Event, Future, current_task, isfuture, shield
from collections import deque
from time import monotonic

from microweb.asgi import Message, Receive, Scope, Send
from microweb.errors import TooManyRequests
from microweb.loops import SideTask

__all__ = ["Lookout", "needs_lookout"]

AHEAD = 65536
"""Bytes of messages that are kept for the view, beside the last one."""
MESSAGE_COST = 512
"""Bytes that each of them is counted for beside what it says."""


class Lookout:
    """The ``receive`` and ``send`` of one websocket; ``end`` it in any case.

    ``patience`` is the seconds after which a view that sends, and does not receive, may lose messages; None: it
    loses none, and learns of nothing that comes after those that are kept.
    """

    __slots__ = (
        "_ahead",
        "_asked",
        "_close",
        "_closing",
        "_given_up",
        "_has_lost",
        "_is_receiving",
        "_patience",
        "_receive",
        "_received_at",
        "_send",
        "_sent",
        "_size",
        "_task",
    )

    def __init__(self, receive: Receive, send: Send, patience: float | None) -> None:
        self._receive = receive
        self._send = send
        self._patience = patience
        self._sent = 0
        """How many messages were sent since the view last received one."""
        self._received_at = monotonic()
        self._is_receiving = False
        self._close: Message | None = None
        """What the websocket was closed with."""
        self._closing: Event | None = None
        """Set when the close that has withdrawn answers of the server is out."""
        self._has_lost = False
        self._ahead: deque[Message] | None = None
        self._size = 0
        self._given_up: deque[Future[Message]] | None = None
        """Answers of the server for which nobody waits any more."""
        self._asked: set[Future[Message]] | None = None
        """Answers of the server that have not come."""
        self._task: SideTask | None = None
        """Receives ahead."""

    async def receive(self) -> Message:
        """The next message: the first that came ahead, if there is one.

        Raises:
            TooManyRequests: messages were thrown away, since the view did not receive for so long.
        """
        self._sent = 0
        self._is_receiving = True
        try:
            if self._has_lost:
                raise TooManyRequests("More messages came than were kept, while none was received.")
            if self._task is not None and not self._ahead:
                await self._task.ended.wait()
                self._take()
            if not self._ahead:
                return await self._next()
            message = self._ahead.popleft()
            self._size -= cost_of(message)
            return message
        finally:
            self._is_receiving = False
            self._received_at = monotonic()

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
                if self._close is not None or self._has_left():
                    raise OSError("the client has left, or the websocket was closed meanwhile")
        elif message["type"] == "websocket.close":
            self._close = message
            if self._asked:
                await self._withdraw_and_close(message)
                return
        await self._send(message)

    async def end(self) -> None:
        """Wait for no message any more."""
        if self._task is not None:
            await self._task.end()
        for answer in self._asked or ():
            answer.cancel()

    async def _withdraw_and_close(self, message: Message) -> None:
        closing = self._closing = Event()
        for answer in self._asked or ():
            answer.cancel()
        try:
            await self._send(message)
        finally:
            closing.set()

    async def _next(self) -> Message:
        """The next message of the server; it is not lost when the wait for it is cancelled."""
        answer = self._given_up.popleft() if self._given_up else self._receive()
        if not isfuture(answer):
            return await answer
        if self._asked is None:
            self._asked = set()
        self._asked.add(answer)
        try:
            message: Message = await shield(answer)
        except CancelledError:
            if not answer.cancelled():
                if self._given_up is None:
                    self._given_up = deque()
                self._given_up.append(answer)
                raise
            task = current_task()
            if self._close is None or (task is not None and task.cancelling()):
                raise
            # It was withdrawn: who waits for a message while another task closes learns that as on other servers.
            if self._closing is not None:
                await self._closing.wait()
            return {"code": 1000, **self._close, "type": "websocket.disconnect"}
        finally:
            if answer.done():
                self._asked.discard(answer)
        return message

    async def _look(self) -> None:
        """Note what has come, and give the loop a turn: a server that throws messages away does not."""
        from anyio.lowlevel import checkpoint

        if self._task is None and not self._has_left() and self._has_room():
            # A task, since there are servers that lose a message when a receive is cancelled.
            self._task = SideTask(self._come, name="microweb websocket lookout")
        await checkpoint()
        if self._task is not None and self._task.ended.is_set():
            self._take()

    async def _come(self) -> None:
        ahead = self._ahead
        if ahead is None:
            ahead = self._ahead = deque()
        while True:
            message = await self._next()
            ahead.append(message)
            self._size += cost_of(message)
            if message["type"] != "websocket.receive" or self._is_receiving or not self._has_room():
                return

    def _has_room(self) -> bool:
        """Whether another message may be received; throws away the oldest for it when the time has come."""
        while self._size >= AHEAD:
            if self._patience is None or monotonic() - self._received_at < self._patience:
                return False
            assert self._ahead is not None
            self._size -= cost_of(self._ahead.popleft())
            self._has_lost = True
        return True

    def _has_left(self) -> bool:
        """Whether the client is known to have left; nothing comes behind that."""
        return self._size > 0 and self._ahead is not None and self._ahead[-1]["type"] == "websocket.disconnect"

    def _take(self) -> None:
        """The task has ended. Raises: what the server raised."""
        task, self._task = self._task, None
        if task is not None and task.failure is not None:
            raise task.failure


def cost_of(message: Message) -> int:
    """What a message counts for while it is kept."""
    return len(message.get("text") or message.get("bytes") or b"") + MESSAGE_COST


def needs_lookout(scope: Scope) -> bool:
    """Whether the server may be quiet when something is sent to a client that has left."""
    version: str = scope.get("asgi", {}).get("spec_version", "2.0")
    # PERF(websockets.connect): what nearly every server says is not taken apart.
    return version not in ("2.4", "2.5") and tuple(int(part) for part in version.split(".") if part.isdigit()) < (2, 4)
