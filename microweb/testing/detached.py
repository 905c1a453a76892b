"""A task without a parent: it outlives the call that started it and may be ended from any other task.

A test client is often opened by one task and closed by another: pytest-asyncio and unittest run set-up, test
and tear-down in a task each, and a blocking portal starts one for every call. A task group cannot cross
tasks, so the app runs in a task that belongs to the event loop alone: a plain ``create_task`` on asyncio, a
guarded system task on trio. Used by the exchanges, the websocket sessions and the lifecycle; not for
programs.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable

import anyio

__all__ = ["DetachedTask"]


class DetachedTask:
    """Run ``function`` in a task of its own, in a copy of the caller's context.

    ``ended`` is set in the task's very last step; ``error`` then holds what the function raised, if it did.
    """

    __slots__ = ("_scope", "_task", "ended", "error")

    def __init__(self, function: Callable[[], Awaitable[None]], name: str) -> None:
        self.ended = anyio.Event()
        self.error: BaseException | None = None
        self._scope = anyio.CancelScope()
        self._task: asyncio.Task[None] | None = None
        trio = sys.modules.get("trio")
        if trio is not None and trio.lowlevel.in_trio_task():
            context = contextvars.copy_context()
            trio.lowlevel.spawn_system_task(self._run, function, name=name, context=context)
        else:
            # The reference is kept because the loop itself holds its tasks weakly.
            self._task = asyncio.get_running_loop().create_task(self._run(function), name=name)

    @property
    def running(self) -> bool:
        """Whether the function has not returned yet."""
        return not self.ended.is_set()

    def cancel(self) -> None:
        """Cancel the function at its next await; does nothing after the end."""
        self._scope.cancel()

    async def wait(self) -> None:
        """Wait for the end; never raises the function's error."""
        await self.ended.wait()

    async def wait_until(self, deadline: float) -> bool:
        """Wait for the end until ``deadline`` on the loop's clock, even when cancelled; whether it came."""
        with anyio.CancelScope(deadline=deadline, shield=True):
            await self.ended.wait()
        return self.ended.is_set()

    async def _run(self, function: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await function()
        except anyio.get_cancelled_exc_class():
            raise  # not by our own scope: the loop is ending
        except BaseException as error:  # noqa: BLE001 - pytest.fail() in a view must reach the test, not the loop
            self.error = error
        finally:
            self.ended.set()
