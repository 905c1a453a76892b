"""The tasks that wait for a call, of asyncio and of trio: how they sleep, are woken and are cancelled.

Works on asyncio (any loop) and trio, and imports neither trio nor anyio: whoever runs on those has loaded
them. Called by ``workers.py`` and ``iteration.py``, which ask ``call_of`` for a call of the running task.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from microweb.calls import Call
from microweb.threads import Seat

__all__ = ["call_of"]


def _anyio_shield() -> AbstractContextManager[object]:
    # A cancelled anyio scope cancels its tasks again in each turn of an asyncio loop: without a shield
    # the loop would spin until the thread ends. If nobody loaded anyio, there is no such scope.
    anyio = sys.modules.get("anyio")
    return nullcontext() if anyio is None else anyio.CancelScope(shield=True)


class _AsyncioCall(Call):
    __slots__ = ("loop", "waiter")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        worker: Seat,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        label: str,
    ) -> None:
        self.loop = loop
        self.waiter: asyncio.Future[None] | None = None
        super().__init__(worker, function, args, label)

    def wake(self) -> bool:
        self.news = True
        # PERF(walk.thread): half the cost of a call is to wake the loop; a task that does not wait yet
        # will look for news before it does.
        if self.waiter is None:
            return True
        try:
            self.loop.call_soon_threadsafe(self._awaken)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _awaken(self) -> None:
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def loop_is_gone(self) -> bool:
        return self.loop.is_closed()

    async def wait(self) -> None:
        waiter = self.waiter = self.loop.create_future()
        try:
            if not self.news:
                await waiter
        finally:
            self.waiter = None

    async def pause(self) -> None:
        await asyncio.sleep(0)

    async def wait_shielded(self) -> BaseException | None:
        cancellation = None
        with _anyio_shield():
            self.news = False
            while not self.ended:
                try:
                    await self.wait()
                except CancelledError as error:
                    # Task.cancelling() counts it; our caller raises one for all.
                    cancellation = error
                self.news = False
        try:
            return cancellation
        finally:
            del cancellation  # Its traceback holds this frame.

    async def settle_firmly(self) -> Any:
        self.firm = True
        with _anyio_shield():
            return await self.settle()

    def is_cancellation(self, error: BaseException) -> bool:
        if not isinstance(error, CancelledError):
            return False
        # The function may have awaited another task that was cancelled: then this is just its error.
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0


class _TrioCall(Call):
    __slots__ = ("sleeping", "task", "token", "trio")

    checkpoints = True

    def __init__(
        self, trio: Any, worker: Seat, function: Callable[..., Any], args: tuple[Any, ...], label: str
    ) -> None:
        self.trio = trio
        self.token = trio.lowlevel.current_trio_token()
        self.task: Any = None
        self.sleeping = False
        super().__init__(worker, function, args, label)

    def wake(self) -> bool:
        self.news = True
        return not self.sleeping or self._post()

    def _post(self) -> bool:
        try:
            self.token.run_sync_soon(self._awaken)
        except self.trio.RunFinishedError:
            return False
        return True

    def _awaken(self) -> None:
        if self.sleeping:
            self.sleeping = False
            self.trio.lowlevel.reschedule(self.task)

    def loop_is_gone(self) -> bool:
        # A token answers no other question than whether it can be used.
        return not self._post()

    async def begin(self) -> None:
        await self.trio.lowlevel.checkpoint_if_cancelled()

    async def wait(self) -> None:
        lowlevel = self.trio.lowlevel
        cancel: Callable[[], Any] | None = None

        def abort(raise_cancel: Callable[[], Any]) -> Any:
            nonlocal cancel
            if self.withdraw():
                self.sleeping = False
                return lowlevel.Abort.SUCCEEDED
            cancel = raise_cancel
            self.refuse()
            return lowlevel.Abort.FAILED

        self.task = lowlevel.current_task()
        while True:
            self.sleeping = True
            if self.news:
                self.sleeping = False
                await lowlevel.cancel_shielded_checkpoint()
            else:
                await lowlevel.wait_task_rescheduled(abort)
            if cancel is None:
                return
            # trio asks to abort only once, and leaves the rest to us.
            self.news = False
            if self.ended:
                cancel()

    async def pause(self) -> None:
        await self.trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_shielded(self) -> BaseException | None:
        with self.trio.CancelScope(shield=True):
            self.news = False
            while not self.ended:
                await self.wait()
                self.news = False
        return None

    async def settle_firmly(self) -> Any:
        self.firm = True
        with self.trio.CancelScope(shield=True):
            return await self.settle()

    def is_cancellation(self, error: BaseException) -> bool:
        return isinstance(error, self.trio.Cancelled)


def call_of(worker: Seat, function: Callable[..., Any], args: tuple[Any, ...], label: str) -> Call:
    """A call for which the running task will wait; a RuntimeError where none runs."""
    # trio first: as a guest it runs inside an asyncio loop.
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            in_trio = trio.lowlevel.in_trio_task()
        except AttributeError:  # another thread is just importing it
            in_trio = False
        if in_trio:
            return _TrioCall(trio, worker, function, args, label)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("a worker is used from a task of asyncio or trio; none runs here") from None
    return _AsyncioCall(loop, worker, function, args, label)
