"""Tasks that run beside the requests, for one start of the app: used by ``lifespan.py``.

The app and its requests ask ``check_task`` of what they are given.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING

from microweb.loops import current_task, spawn, without_cancellation

if TYPE_CHECKING:
    import anyio

__all__ = ["BackgroundTasks", "check_task"]

logger = logging.getLogger("microweb")


def check_task(function: object) -> None:
    """Refuse what cannot be called, such as what ``work(1)`` gives where ``work, 1`` was meant.

    Raises:
        TypeError: it cannot be called.
    """
    if not callable(function):
        if isinstance(function, CoroutineType):
            function.close()  # Python would only warn of the same.
        raise TypeError(f"a task is a function and its arguments, as in (work, 1), not what that gives: {function!r}")


class BackgroundTasks:
    """The app's background tasks: each guarded, all drained at the stop."""

    def __init__(self) -> None:
        self.open = True
        self._running: set[_BackgroundTask] = set()
        self._idle: anyio.Event | None = None

    def begin(self, name: str, function: Callable[[], Awaitable[object]], context: Context) -> None:
        """Called on the loop."""
        if not self.open:
            logger.warning("Background task %s came too late: the app was shutting down.", name)
            return
        task = _BackgroundTask(name)
        self._running.add(task)
        task.handle = spawn(
            partial(self._guard, task, function),
            partial(self._end, task),
            name=f"microweb background task {name}",
            context=context,
        )

    async def drain(self, patience: float, deadline: float) -> None:
        """Wait ``patience`` seconds for the tasks, then cancel them and wait up to half of what is left."""
        import anyio

        with anyio.CancelScope(shield=True):
            await self._wait_until_idle(patience)
            self.open = False
            if self._running:
                if patience:
                    logger.warning("Cancelled at shutdown after %.3g s: %s.", patience, self._names())
                for task in tuple(self._running):
                    task.cancel()
                await self._wait_until_idle((deadline - anyio.current_time()) / 2)
            if self._running:
                logger.error("Background tasks that do not end when cancelled: %s.", self._names())

    async def _wait_until_idle(self, seconds: float) -> None:
        import anyio

        try:
            await anyio.lowlevel.checkpoint()  # lets in what other threads have posted
            with anyio.move_on_after(seconds):
                while self._running:
                    self._idle = anyio.Event()
                    await self._idle.wait()
        except anyio.get_cancelled_exc_class():
            pass  # asyncio, which knows no shields, has cancelled this task once more: no more waiting

    async def _guard(self, task: _BackgroundTask, function: Callable[[], Awaitable[object]]) -> None:
        import anyio

        task.handle = current_task()
        try:
            with anyio.CancelScope() as task.scope:
                if task.cancelled:
                    task.scope.cancel()
                await function()
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - logged; a cancellation ends here too
            self._report(task, error)

    def _end(self, task: _BackgroundTask) -> None:
        self._running.discard(task)
        if not self._running and self._idle is not None:
            self._idle.set()

    def _report(self, task: _BackgroundTask, error: BaseException) -> None:
        if task.handle is not current_task():
            return  # its loop is gone; what it meets while it is collected is no failure of its own
        failure = without_cancellation(error)
        if failure is not None:
            logger.error("Background task %s failed.", task.name, exc_info=failure)

    def _names(self) -> str:
        return ", ".join(sorted(task.name for task in self._running))


class _BackgroundTask:
    __slots__ = ("cancelled", "handle", "name", "scope")

    def __init__(self, name: str) -> None:
        self.name = name
        self.cancelled = False
        self.scope: anyio.CancelScope | None = None
        self.handle: object = None  # asyncio keeps only weak references to tasks

    def cancel(self) -> None:
        self.cancelled = True
        if self.scope is not None:
            self.scope.cancel()
