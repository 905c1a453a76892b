"""The exits of an app, on a stack on which no exit disturbs another: used by ``lifespan.py``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from microweb.failures import LifespanFailed, name_of
from microweb.loops import forget_cancellation, without_cancellation

if TYPE_CHECKING:
    import anyio

__all__ = ["ExitSteps"]

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


class ExitSteps(AsyncExitStack):
    """An exit stack whose exits do not meet: each runs plainly, shielded, in its share of the time.

    A cancel scope is opened around each thing entered, when it is entered: at its exit it can then be
    shielded and limited without standing between the exit and the scopes that the exit has to close.
    """

    def __init__(self) -> None:
        super().__init__()
        self._failures: list[BaseException] = []
        self._waiting = 0
        self._deadline = 0.0

    async def unwind(self, deadline: float) -> Sequence[BaseException]:
        """Run all exits, which share the time until the deadline; returns what they raised."""
        self._deadline = deadline
        try:
            await self.aclose()
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - from an exit that `push` or `push_async_exit` took
            self._failures.append(error)
        return self._failures

    async def enter_async_context(self, cm: AbstractAsyncContextManager[Value, bool | None]) -> Value:
        """Enter ``cm``; its exit runs shielded, within its share of the time."""
        value = await super().enter_async_context(_Step(self._enter_and_leave(cm)))
        self._waiting += 1
        return value

    def push_async_callback(
        self,
        callback: Callable[Parameters, Awaitable[Value]],
        /,
        *args: Parameters.args,
        **kwds: Parameters.kwargs,
    ) -> Callable[Parameters, Awaitable[Value]]:
        """Call an async function at the end, shielded, within its share of the time."""
        super().push_async_callback(self._leave, partial(callback, *args, **kwds))
        self._waiting += 1
        return callback

    def enter_context(self, cm: AbstractContextManager[Value, bool | None]) -> Value:
        """Enter ``cm``; its exit is told of no failure."""
        leave = type(cm).__exit__
        value = type(cm).__enter__(cm)
        self.callback(leave, cm, None, None, None)
        return value

    def callback(
        self,
        callback: Callable[Parameters, Value],
        /,
        *args: Parameters.args,
        **kwds: Parameters.kwargs,
    ) -> Callable[Parameters, Value]:
        """Call a function at the end."""
        super().callback(self._call, partial(callback, *args, **kwds))
        return callback

    async def _enter_and_leave(
        self, cm: AbstractAsyncContextManager[Value, bool | None]
    ) -> AsyncGenerator[Value, None]:
        import anyio

        entered = False
        seconds = 0.0
        try:
            with anyio.CancelScope() as scope:
                async with cm as value:
                    entered = True
                    yield value
                    seconds = self._limit(scope)
        except GeneratorExit:
            raise
        except BaseException as error:
            if not entered:
                raise
            self._note(error)
        else:
            if scope.cancelled_caught:
                self._failures.append(TimeoutError(f"{name_of(cm)} was cancelled: its exit took over {seconds:.3g} s"))

    async def _leave(self, callback: Callable[[], Awaitable[object]]) -> None:
        import anyio

        seconds = 0.0
        try:
            with anyio.CancelScope() as scope:
                seconds = self._limit(scope)
                await callback()
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - kept; the other exits are to run
            self._note(error)
        else:
            if scope.cancelled_caught:
                self._failures.append(TimeoutError(f"an exit callback was cancelled: it took over {seconds:.3g} s"))

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:  # noqa: BLE001 - kept; the other exits are to run
            self._failures.append(error)

    def _limit(self, scope: anyio.CancelScope) -> float:
        """Half of what is left is kept for the exits that still wait, in equal parts; seconds given."""
        import anyio

        now = anyio.current_time()
        left = max(0.0, self._deadline - now)
        seconds = left - left / 2 * (self._waiting - 1) / self._waiting
        self._waiting -= 1
        scope.shield = True
        scope.deadline = now + seconds
        return seconds

    def _note(self, error: BaseException) -> None:
        failure = without_cancellation(error)
        if failure is None:
            forget_cancellation()  # asyncio has cancelled the task once more; the next exit runs all the same
            failure = LifespanFailed("an exit was cancelled")
        self._failures.append(failure)


class _Step(AbstractAsyncContextManager[Value, None]):
    """One thing entered; its exit is never told of another's failure."""

    def __init__(self, walk: AsyncGenerator[Value, None]) -> None:
        self._walk = walk

    async def __aenter__(self) -> Value:
        return await anext(self._walk)

    async def __aexit__(self, *details: object) -> None:
        await anext(self._walk, None)
