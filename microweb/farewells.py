"""What is open until somebody ends it, and has to be ended when the app shuts down: websockets.

Some servers close them by themselves, others leave them to the app and wait. Nothing runs for them before the
shutdown; each costs its place in a dictionary. ``shutdownevent.py`` begins the farewell, ``websocketwalk.py`` adds
who is to get one.

A view that waits for something else than its client, a channel for instance, does not learn that its websocket was
closed. It has ``patience`` seconds to end by itself; then it is cancelled where it waits, as an event stream is: there
are servers that would wait for it for ever.
"""

from __future__ import annotations

from asyncio import Task, current_task
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from microweb.loops import get_current_loop, in_trio, post, spawn

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import anyio

    from microweb.loops import Loop

__all__ = ["RESTARTS", "Farewells"]

RESTARTS: Final = 1012  # the code for a service that restarts, in IANA's registry of RFC 6455

MOMENT: Final = 0.25  # seconds for views that wait for the shutdown and have a last word of their own
PATIENCE: Final = 5.0  # seconds for views to end when their websocket was closed; as for background work
LAST: Final = 1.0  # seconds for those that were cancelled to end, before the exits run

HERE: AbstractContextManager[None] = nullcontext()
"""What a view on asyncio runs in: its task is what is cancelled."""


class Closable(Protocol):
    """What can be told that the service restarts."""

    async def close(self, code: int) -> None:
        """Close it with a code of RFC 6455 §7.4."""
        ...


class Cancellable(Protocol):
    """A task of asyncio, or a scope in one of trio."""

    def cancel(self) -> object:
        """Cancel what runs in it."""
        ...


class Farewells:
    """Who is open on which loop, and the tasks that close them."""

    __slots__ = ("_all_ended", "_dismissed", "_has_begun", "_open", "_tasks", "patience")

    def __init__(self) -> None:
        self.patience = PATIENCE
        """Seconds from the close to the cancellation."""
        self._open: dict[Loop, dict[Closable, Cancellable]] = {}
        self._dismissed: dict[Closable, bool] = {}
        """Who was cancelled, and whether that is still to be claimed."""
        self._tasks: set[object] = set()
        self._has_begun = False
        self._all_ended: dict[Loop, anyio.Event] = {}
        """What waits for the last of a loop; another loop cannot wait for the same, nor set it."""

    def add(self, closable: Closable) -> AbstractContextManager[object]:
        """Close it at the shutdown, or soon if that has begun; called in the task that it belongs to.

        What serves it runs inside of what this gives, and asks ``claim`` what a cancellation means.
        """
        loop = get_current_loop()
        there = self._open.get(loop)
        if there is None:
            there = self._open[loop] = {}
        task = None if in_trio() else current_task()
        place: AbstractContextManager[object] = HERE
        if task is None:
            from anyio import CancelScope

            scope = place = CancelScope()
            there[closable] = scope
        else:
            there[closable] = task
        if self._has_begun:
            self._begin_here(loop, there)
        return place

    def discard(self, closable: Closable) -> None:
        """It has ended."""
        self._dismissed.pop(closable, None)
        for loop, there in tuple(self._open.items()):
            if closable in there:
                del there[closable]
                if not there:
                    del self._open[loop]
                    ended = self._all_ended.pop(loop, None)
                    if ended is not None:
                        ended.set()

    def claim(self, closable: Closable) -> bool:
        """Whether the cancellation that has just come is the end of its time, and nothing else; taken back then."""
        if not self._dismissed.get(closable):
            return False
        self._dismissed[closable] = False
        task: Task[Any] | None = current_task()
        return task is not None and task.uncancel() == 0

    def has_dismissed(self, closable: Closable) -> bool:
        """Whether it was cancelled, which may be before it was closed: ``wait`` has a patience of its own."""
        return closable in self._dismissed

    async def wait(self, seconds: float) -> None:
        """Wait until all of this loop have ended: servers that leave websockets to the app do not wait for them.

        Who has not after ``seconds`` is cancelled, and has another second.
        """
        import anyio

        loop = get_current_loop()
        try:
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(seconds):
                    await self._wait_until_ended(loop)
                self._dismiss(loop)
                with anyio.move_on_after(LAST):
                    await self._wait_until_ended(loop)
        except anyio.get_cancelled_exc_class():
            pass  # asyncio, which knows no shields, has cancelled this task once more: no more waiting

    def begin(self) -> None:
        """Close all that are open in a moment, from any thread and from a signal handler."""
        self._has_begun = True
        for loop, there in tuple(self._open.items()):
            try:
                post(loop, partial(self._begin_here, loop, there))
            except RuntimeError:
                self._open.pop(loop, None)  # that loop has ended, and they with it
                self._all_ended.pop(loop, None)

    def clear(self) -> None:
        """Begin anew: who is added now is closed at the next shutdown."""
        self._has_begun = False

    def _begin_here(self, loop: Loop, there: dict[Closable, Cancellable]) -> None:
        def ended() -> None:
            self._tasks.discard(task)

        task = spawn(partial(self._see_off, loop, there), ended, name="microweb farewell", context=None)
        self._tasks.add(task)

    async def _see_off(self, loop: Loop, there: dict[Closable, Cancellable]) -> None:
        """Close them side by side, one with a slow client keeps no other waiting, and see to it that they end."""
        from anyio import create_task_group, move_on_after, sleep

        await sleep(MOMENT)
        async with create_task_group() as group:
            for closable in tuple(there):
                group.start_soon(close, closable)
            with move_on_after(self.patience):
                await self._wait_until_ended(loop)
            self._dismiss(loop)
            with move_on_after(LAST):
                await self._wait_until_ended(loop)
            group.cancel_scope.cancel()

    async def _wait_until_ended(self, loop: Loop) -> None:
        from anyio import Event

        while loop in self._open:
            ended = self._all_ended.get(loop)
            if ended is None:
                ended = self._all_ended[loop] = Event()
            await ended.wait()

    def _dismiss(self, loop: Loop) -> None:
        """Cancel who has not ended; each once."""
        for closable, serving in tuple(self._open.get(loop, {}).items()):
            if closable not in self._dismissed:
                self._dismissed[closable] = True
                serving.cancel()


async def close(closable: Any) -> None:
    """Close one, as servers do that close them themselves."""
    try:
        await closable.close(RESTARTS)
    except Exception:  # noqa: BLE001, S110 - a server that closes it at the same time may object
        pass
