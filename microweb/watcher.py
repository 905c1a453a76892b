"""Noticing that the client left while something else is going on.

``until_disconnect`` runs one piece of work in the request's own task and cancels it, there, when the
server says ``http.disconnect``. The one task that microweb ever puts beside a request is the watcher
in here; on asyncio it is made only if the work suspends at all, so a stream that is ready at once
costs one callback that is taken back. Used for streamed bodies, event streams and
``cancel_on_disconnect``.
"""

from asyncio import AbstractEventLoop, CancelledError, Task, _get_running_loop, current_task
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from microweb.errors import ClientDisconnect
from microweb.requests import Request

__all__ = ["until_disconnect"]

T = TypeVar("T")


async def until_disconnect(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """``await work()``, cancelled when the client leaves before it ends.

    Raises:
        ClientDisconnect: the client left; ``work`` was cancelled and has ended.
    """
    loop = _get_running_loop()
    if loop is None:
        return await _until_disconnect_anyio(request, work)
    watch = _Watch(request, loop)
    # PERF(walk.stream): the callback runs only when this task first waits for something.
    start = loop.call_soon(watch.start)
    try:
        return await work()
    except CancelledError:
        if watch.fired:
            if watch.claim_cancellation():
                raise ClientDisconnect("the client left while its answer was being made") from None
            # Cancelled by somebody else in the same turn. An anyio scope knows its cancellation by the error's
            # message, and would let ours pass: it gets its own.
            from anyio.lowlevel import checkpoint_if_cancelled

            await checkpoint_if_cancelled()
        raise
    finally:
        start.cancel()
        if watch.task is not None:
            await watch.stop()


class _Watch:
    """The watcher of one request on asyncio; the cancellation is counted as ``asyncio.timeout`` does."""

    def __init__(self, request: Request, loop: AbstractEventLoop) -> None:
        self.request = request
        self.loop = loop
        self.task: Task[None] | None = None
        self.fired = False
        watched: Task[Any] | None = current_task(loop)
        assert watched is not None
        self.watched = watched
        self.cancelling = watched.cancelling()

    def start(self) -> None:
        self.task = self.loop.create_task(self._watch())

    async def _watch(self) -> None:
        await self.request.connection.wait_disconnect()
        self.fired = True
        self.watched.cancel()

    def claim_cancellation(self) -> bool:
        self.fired = False  # Taken back here, and only once.
        return self.watched.uncancel() <= self.cancelling

    async def stop(self) -> None:
        task = self.task
        assert task is not None
        if not task.done():
            from anyio import CancelScope

            task.cancel()
            with CancelScope(shield=True):
                try:
                    await task
                except CancelledError:
                    if not task.cancelled():
                        raise
        elif self.fired and self.watched.cancelling() > self.cancelling:
            self.watched.uncancel()


async def _until_disconnect_anyio(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    from anyio import create_task_group

    results: list[T] = []
    failure: Exception | None = None

    async with create_task_group() as group:

        async def watch() -> None:
            await request.connection.wait_disconnect()
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            results.append(await work())
        except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it in another
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise ClientDisconnect("the client left while its answer was being made")
    return results[0]
