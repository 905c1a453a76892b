"""The two kinds of event loop, and tasks that belong to one of them and to nobody else.

anyio has no words for such a task, nor for a loop itself. Called by the lifespan and what belongs to it,
by connections, their watchers and channels, and by the server and the command line, which ask whether a loop is
running.
"""

from __future__ import annotations

import asyncio
import math
import sys
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import anyio
    from trio.lowlevel import TrioToken

    Loop: TypeAlias = asyncio.AbstractEventLoop | TrioToken

__all__ = [
    "LoopWatch",
    "SideTask",
    "current_task",
    "find_current_loop",
    "forget_cancellation",
    "get_current_loop",
    "in_trio",
    "is_cancelled",
    "is_running",
    "post",
    "spawn",
    "watch_loop",
    "without_cancellation",
]

FAR_AWAY: Final = 10 * 365 * 24 * 3600.0  # seconds; uvloop cuts anything over a century


def in_trio() -> bool:
    """Whether this is a trio task, which may run inside an asyncio loop (guest mode)."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def find_current_loop() -> Loop | None:
    """The running asyncio loop, or the token of the running trio; None in a thread without either."""
    if in_trio():
        from trio.lowlevel import current_trio_token

        return current_trio_token()
    return find_running_loop()


def get_current_loop() -> Loop:
    """The same, where there has to be one."""
    loop = find_current_loop()
    if loop is None:
        raise RuntimeError("no event loop is running in this thread")
    return loop


def current_task() -> object:
    """The running task, as its own library knows it."""
    if in_trio():
        from trio.lowlevel import current_task

        return current_task()
    return asyncio.current_task() if find_running_loop() is not None else None


def is_cancelled(task: object) -> bool:
    """Whether an asyncio task has been cancelled and did not put up with it yet."""
    return isinstance(task, asyncio.Task) and task.cancelling() > 0


def without_cancellation(error: BaseException) -> BaseException | None:
    """What is left of an error without the cancellations in it."""
    import anyio

    cancelled = anyio.get_cancelled_exc_class()
    if isinstance(error, BaseExceptionGroup):
        return error.split(cancelled)[1]
    return None if isinstance(error, cancelled) else error


def forget_cancellation() -> None:
    """Tell asyncio that the cancellations of this task have been dealt with; trio keeps no count."""
    if not in_trio():
        task = asyncio.current_task()
        while task is not None and task.cancelling():
            task.uncancel()


def spawn(
    function: Callable[[], Coroutine[Any, Any, None]],
    ended: Callable[[], None],
    *,
    name: str,
    context: Context | None,
    loop_ends: Callable[[], float] | None = None,
) -> object:
    """Start a task that belongs to the loop; None for the context: an empty one. Keep what it returns.

    ``ended`` is always called, also where asyncio cancels a task before its first step, whose function then
    never runs. With ``loop_ends``, the end of ``asyncio.run`` calls that instead of cancelling the task, and
    cancels it only after the seconds that it returns. On trio, whose shields hold, it has no meaning, and
    the function must not raise anything but cancellations.
    """
    if in_trio():
        from trio.lowlevel import spawn_system_task

        async def run() -> None:
            try:
                await function()
            finally:
                ended()

        return spawn_system_task(run, name=name, context=context)
    loop = asyncio.get_running_loop()
    context = context or Context()
    task: asyncio.Task[None]
    if loop_ends is None:
        task = loop.create_task(function(), name=name, context=context)
    else:
        task = _LastingTask(function(), loop=loop, name=name, context=context)
        task.loop_ends = loop_ends
    # In the task's context: the callback would keep the caller's, and with it the first request, for good.
    task.add_done_callback(lambda _: ended(), context=context)
    return task


class SideTask:
    """A task beside the one that makes it; ``end`` it in any case. What it raises is kept."""

    __slots__ = ("_scope", "_task", "ended", "failure")

    def __init__(self, function: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
        from anyio import CancelScope, Event

        self.ended: anyio.Event = Event()
        self.failure: Exception | None = None
        self._scope = CancelScope()
        # Kept while it runs: asyncio has only weak references to tasks.
        self._task: object = spawn(partial(self._run, function), self._set_ended, name=name, context=copy_context())

    def _set_ended(self) -> None:
        # Its context holds the request, which holds whoever made us: together they would be a reference cycle.
        self._task = None
        self.ended.set()

    async def _run(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self._scope:
            try:
                await function()
            except Exception as error:  # noqa: BLE001 - for whoever made the task to raise
                self.failure = error

    async def end(self) -> None:
        """Cancel it, and wait until it has ended, whatever happens meanwhile."""
        from anyio import CancelScope, get_cancelled_exc_class

        self._scope.cancel()
        with CancelScope(shield=True):
            try:
                await self.ended.wait()
            except get_cancelled_exc_class():
                await self.ended.wait()  # asyncio, which knows no shields, has cancelled this task once more.
                raise


class _LastingTask(asyncio.Task[None]):
    """A task that is told of the end of ``asyncio.run``, which then waits for it, and is not cancelled.

    Nothing else can shield the exits: asyncio's own cancellation passes through anyio's shields. What tells
    the end of the loop from any other cancellation is that it comes while no loop is running.
    """

    loop_ends: Callable[[], float]

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task, unless the loop has stopped running; then pass it on and wait to be finished."""
        if find_running_loop() is not None:
            return super().cancel(msg)
        self.get_loop().call_soon_threadsafe(self._tell)
        return True

    def _tell(self) -> None:
        seconds = self.loop_ends()
        if seconds < math.inf:
            # A last resort: it also breaks waits that anyio shields for ever.
            self.get_loop().call_later(seconds, super().cancel)


def find_running_loop() -> asyncio.AbstractEventLoop | None:
    """The asyncio loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def post(loop: Loop, function: Callable[[], object]) -> None:
    """Call a function soon on a loop, from any thread; a RuntimeError says that the loop has ended."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        loop.call_soon_threadsafe(function)
    else:
        loop.run_sync_soon(function)


def is_running(loop: Loop) -> bool:
    """Whether a loop that has tasks of ours runs, here or in another thread; trio ends them before itself."""
    return loop.is_running() if isinstance(loop, asyncio.AbstractEventLoop) else True


class LoopWatch:
    """Calls a function when an asyncio loop is closed.

    A loop tells nobody that it closes, but it lets go of its timers. So it gets one that never fires
    and that nobody else holds, and a weak reference notices when that is gone.
    """

    __slots__ = ("__weakref__", "_closed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, closed: Callable[[], None]) -> None:
        guard = _TimerGuard()
        self._timer: weakref.ref[asyncio.TimerHandle] = weakref.ref(
            loop.call_later(FAR_AWAY, guard.keep, context=Context())  # else it keeps the first request's
        )
        self._closed: weakref.ref[_TimerGuard] | None = weakref.ref(guard, lambda _: closed())

    def end(self) -> None:
        """Watch no longer."""
        self._closed = None
        timer = self._timer()
        if timer is not None:
            timer.cancel()


class _TimerGuard:
    __slots__ = ("__weakref__",)

    def keep(self) -> None:
        """Never called in the lifetime of a loop."""


def watch_loop(loop: Loop, closed: Callable[[], None]) -> LoopWatch | None:
    """Watch for the end of a loop that cancels nothing; trio always cancels."""
    return LoopWatch(loop, closed) if isinstance(loop, asyncio.AbstractEventLoop) else None
