"""Noticing that the client left while something else is going on.

``until_disconnect`` runs one piece of work in the request's own task and cancels it, there, when the
server says ``http.disconnect``. The watcher in here is a task beside the request's own; on asyncio it is
made only if the work suspends at all. Used for streamed bodies and event streams;
``cancel_on_disconnect`` is the same for views.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, Task, current_task, get_running_loop
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from microweb.connection import resume
from microweb.errors import ClientDisconnect
from microweb.loops import SideTask, in_trio
from microweb.requests import Request

__all__ = ["Interruption", "cancel_on_disconnect", "end_task", "rest_until_disconnect", "run_until", "until_disconnect"]

T = TypeVar("T")


async def until_disconnect(request: Request, work: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
    """``await work(*arguments)``, cancelled when the client leaves before it ends.

    Raises:
        ClientDisconnect: the client left; ``work`` was cancelled and has ended.
    """
    if in_trio():
        return await cancel_on_disconnect(request, partial(work, *arguments), lets_go=True)
    # PERF(walk.stream): work that never waits needs no watcher, so its first step is taken by hand.
    step = work(*arguments)
    try:
        waiting_for = step.send(None)
    except StopIteration as stop:
        at_once: T = stop.value
        return at_once
    rest = resume(step, waiting_for)
    del waiting_for  # It may hold the error of the work, whose traceback holds this frame.
    result: T = await rest_until_disconnect(request, rest)
    return result


async def rest_until_disconnect(request: Request, rest: Any) -> Any:
    """As ``until_disconnect``, for the ``rest`` of work on asyncio whose first step was taken by hand.

    Raises: as ``until_disconnect``.
    """
    watch = _Watch(request, get_running_loop())
    try:
        result = await rest
    except CancelledError:
        if await watch.claim():
            raise ClientDisconnect("the client left while its answer was being made") from None
        raise
    finally:
        try:
            await watch.stop()
        finally:
            del watch  # It holds this task, which keeps its cancellation, whose traceback holds this frame.
    return result


class Interruption:
    """A cancellation of the task that makes it, by somebody beside it; counted as ``asyncio.timeout`` does."""

    __slots__ = ("_cancelling", "_fired", "_watched")

    def __init__(self, loop: AbstractEventLoop) -> None:
        watched: Task[Any] | None = current_task(loop)
        assert watched is not None
        self._watched = watched
        self._cancelling = watched.cancelling()
        self._fired = False

    def interrupt(self) -> None:
        """Cancel the task, once."""
        if not self._fired:
            self._fired = True
            self._watched.cancel()

    async def claim(self) -> bool:
        """Whether the cancellation that has just come is this one alone; it is taken back then."""
        if not self._fired:
            return False
        self._fired = False
        if self._watched.uncancel() <= self._cancelling:
            return True
        # Cancelled by somebody else in the same turn. An anyio scope knows its cancellation by the error's
        # message, and would let ours pass: it gets its own.
        from anyio.lowlevel import checkpoint_if_cancelled

        await checkpoint_if_cancelled()
        return False

    def release(self) -> None:
        """Take back a cancellation that nobody has met."""
        if self._fired and self._watched.cancelling() > self._cancelling:
            self._watched.uncancel()


class _Watch(Interruption):
    """The watcher of one request on asyncio."""

    __slots__ = ("request", "task")

    def __init__(self, request: Request, loop: AbstractEventLoop) -> None:
        super().__init__(loop)
        self.request = request
        self.task = loop.create_task(self._watch())

    async def _watch(self) -> None:
        await self.request.connection.wait_disconnect(lets_go=True)
        self.interrupt()

    async def stop(self) -> None:
        if self.task.done():
            self.release()
        else:
            await end_task(self.task)


async def end_task(task: Task[None]) -> None:
    """Cancel a task and wait until it has ended, whatever happens meanwhile."""
    from anyio import CancelScope

    task.cancel()
    with CancelScope(shield=True):
        try:
            await task
        except CancelledError:
            if not task.cancelled():
                raise


async def cancel_on_disconnect(request: Request, work: Callable[[], Awaitable[T]], *, lets_go: bool = False) -> T:
    """As ``until_disconnect``, but shields hold: the work is cancelled as anyio does it, in every wait outside of them.

    asyncio's own cancellation, which that uses, passes through them; it comes only once, which is what a stream that
    releases something with an await can do with. A view asks to be cancelled, and may have a part that must be
    finished. ``lets_go`` is that of ``Connection.wait_disconnect``: a stream has begun its answer, a view has not.

    Raises: as ``until_disconnect``.
    """
    results = await run_until(partial(request.connection.wait_disconnect, lets_go=lets_go), work)
    if not results:
        raise ClientDisconnect("the client left while its answer was being made")
    return results[0]


async def run_until(end: Callable[[], Coroutine[Any, Any, None]], work: Callable[[], Awaitable[T]]) -> list[T]:
    """What ``work()`` gives, as the only item; none if ``end()``, which runs beside it, has returned first.

    Raises: what either of them raises.
    """
    from anyio import CancelScope

    results: list[T] = []
    scope = CancelScope()

    async def wait() -> None:
        try:
            await end()
        except Exception:
            scope.cancel()
            raise
        scope.cancel()

    # No task group: of a task of it that is cancelled, which is nearly every one here, anyio leaves a reference
    # cycle on asyncio that holds the request; and what the work raises would come out inside of a group.
    beside = SideTask(wait, name="microweb watcher")
    try:
        with scope:
            results.append(await work())
    finally:
        await beside.end()
    failure, beside.failure = beside.failure, None  # Its traceback holds the task's frame, which holds the task.
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # And this frame.
    return results
