"""What is open until somebody ends it, and has to be ended when the app shuts down: websockets.

Some servers close them by themselves, others leave them to the app and wait. Nothing runs for them before the
shutdown; each costs its place in a set. ``shutdownevent.py`` begins the farewell, ``websocketwalk.py`` adds who
is to get one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from microweb.loops import get_current_loop, post, spawn

if TYPE_CHECKING:
    import anyio

    from microweb.loops import Loop

__all__ = ["Farewells"]

MOMENT: Final = 0.25  # seconds for views that wait for the shutdown and have a last word of their own


class Closable(Protocol):
    """What can be told that the service restarts."""

    async def close(self, code: int) -> None:
        """Close it with a code of RFC 6455 §7.4."""
        ...


class Farewells:
    """Who is open on which loop, and the tasks that close them."""

    __slots__ = ("_all_ended", "_has_begun", "_open", "_tasks")

    def __init__(self) -> None:
        self._open: dict[Loop, set[Closable]] = {}
        self._tasks: set[object] = set()
        self._has_begun = False
        self._all_ended: anyio.Event | None = None

    def add(self, closable: Closable) -> None:
        """Close it at the shutdown, or soon if that has begun; called on the loop that it belongs to."""
        loop = get_current_loop()
        there = self._open.get(loop)
        if there is None:
            there = self._open[loop] = set()
        there.add(closable)
        if self._has_begun:
            self._begin_here(there)

    def discard(self, closable: Closable) -> None:
        """It has ended."""
        for loop, there in tuple(self._open.items()):
            if closable in there:
                there.discard(closable)
                if not there:
                    del self._open[loop]
                    if self._all_ended is not None:
                        self._all_ended.set()

    async def wait(self, seconds: float) -> None:
        """Wait until all of this loop have ended: servers that leave websockets to the app do not wait for them."""
        import anyio

        loop = get_current_loop()
        try:
            with anyio.CancelScope(shield=True), anyio.move_on_after(seconds):
                while loop in self._open:
                    self._all_ended = anyio.Event()
                    await self._all_ended.wait()
        except anyio.get_cancelled_exc_class():
            pass  # asyncio, which knows no shields, has cancelled this task once more: no more waiting

    def begin(self) -> None:
        """Close all that are open in a moment, from any thread and from a signal handler."""
        self._has_begun = True
        for loop, there in tuple(self._open.items()):
            try:
                post(loop, partial(self._begin_here, there))
            except RuntimeError:
                self._open.pop(loop, None)  # that loop has ended, and they with it

    def clear(self) -> None:
        """Begin anew: who is added now is closed at the next shutdown."""
        self._has_begun = False

    def _begin_here(self, there: set[Closable]) -> None:
        def ended() -> None:
            self._tasks.discard(task)

        task = spawn(partial(close_all, there), ended, name="microweb farewell", context=None)
        self._tasks.add(task)


async def close_all(there: set[Closable]) -> None:
    """Close them side by side: one with a slow client keeps no other waiting."""
    from anyio import create_task_group, sleep

    await sleep(MOMENT)
    async with create_task_group() as group:
        for closable in tuple(there):
            group.start_soon(close, closable)


async def close(closable: Any) -> None:
    """Close one, as servers do that close them themselves."""
    try:
        await closable.close(1012)
    except Exception:  # noqa: BLE001, S110 - a server that closes it at the same time may object
        pass
