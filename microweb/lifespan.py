"""The start and the stop of one app: lifespans, background tasks, the lifespans of mounted apps.

The app hands over one function, ``enter``, that enters everything on an exit stack. This file decides
when it runs, in which task, and what happens when it fails, is cancelled, or the loop ends. It knows no
app, no route and no request; ``app.py`` calls it, and so do the test clients.

Each start is a ``_Run`` in **a task of its own**, whoever asked for it: a task group that a lifespan
opens can only be closed by the task that opened it, and neither the first request's task nor every
server's is there at the end. A run belongs to one event loop; a later run may be on another::

    (none) --serve(), ensure()--> starting --entered--> started --stop, loop ends--> stopping --> (none)
                                     `--failed, cancelled: exits run, waiters get the failure-------^

    starting   waiters wait; background tasks may start
    started    ``Lifespan.started``, also while background tasks are drained
    stopping   exits run, last entered first; requests are refused with a 503, tasks with a RuntimeError

The loop can end in three ways: it cancels every task (``asyncio.run``; ours takes that as a request to
stop), it cancels its system tasks (``trio.run``), or it is closed and says nothing (``loop.close()``).
In the first two the exits run; in the third nothing can run any more, and the run is forgotten with a
warning. A process that is killed first, as by uvicorn with ``--lifespan off`` at SIGTERM, runs no exits.
"""

import asyncio
import logging
import math
import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeAlias, TypeVar, TypeVarTuple

from microweb.asgi import ASGIApp, Message, Receive, Scope, Send
from microweb.errors import ServiceUnavailable

if TYPE_CHECKING:
    import anyio
    from trio.lowlevel import TrioToken

    Loop: TypeAlias = asyncio.AbstractEventLoop | TrioToken

__all__ = ["ForeignLifespan", "Lifespan", "LifespanFailed", "ShutdownEvent", "run_foreign"]

Arguments = TypeVarTuple("Arguments")
Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")
State: TypeAlias = MutableMapping[str, Any]

GRACE: Final = 15.0  # seconds, as Sanic's graceful stop
BACKGROUND_TIMEOUT: Final = 5.0  # seconds, as Quart's
MARGIN: Final = 0.5  # seconds beyond the grace for an exit to notice that it was cancelled
FAR_AWAY: Final = 10 * 365 * 24 * 3600.0  # seconds; uvloop cuts anything over a century

logger = logging.getLogger("microweb")


class LifespanFailed(Exception):
    """The app, or an app mounted in it, could not start or did not stop cleanly.

    The error behind it is its ``__cause__`` and has been logged already. Each waiter gets an exception
    of its own, so tracebacks do not grow on a shared object.
    """


class ShutdownEvent:
    """Set when the app begins to shut down, before any exit runs; cleared when it starts again.

    It can be made, read and set without a running loop, from any thread and from a signal handler.

    >>> shutting_down = ShutdownEvent()
    >>> shutting_down.is_set()
    False
    """

    __slots__ = ("_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters: set[tuple[Loop, anyio.Event]] = set()

    def __repr__(self) -> str:
        return f"<ShutdownEvent {'set' if self._set else 'not set'}>"

    def is_set(self) -> bool:
        """Whether the shutdown has begun."""
        return self._set

    def set(self) -> None:
        """Wake everyone who waits, on whichever loop they wait."""
        self._set = True
        for loop, event in tuple(self._waiters):
            try:
                post(loop, event.set)
            except RuntimeError:
                self._waiters.discard((loop, event))  # that loop has ended, and its waiter with it

    def clear(self) -> None:
        """Begin anew; whoever waits goes on waiting."""
        self._set = False

    async def wait(self) -> None:
        """Return when the shutdown has begun."""
        import anyio

        waiter = (get_current_loop(), anyio.Event())
        self._waiters.add(waiter)
        try:
            if self._set:  # asked after adding: another thread may set it between the two
                await anyio.lowlevel.checkpoint()
            else:
                await waiter[1].wait()
        finally:
            self._waiters.discard(waiter)


class Lifespan:
    """The start and the stop of one app, on one event loop at a time.

    ``enter(stack, state)`` enters what the app needs on the stack and fills the state that requests get.
    Each thing entered by ``enter_async_context`` is left by its own plain exit, whatever else failed: the
    code after a lifespan's ``yield`` runs also without ``try``/``finally``. ``grace`` gives the seconds
    for all of the stop, ``background_timeout`` those of it that background tasks may take to end by
    themselves; both are asked at each start. ``stopped`` is called when ``started`` ends, before the
    exits, and also where no exit can run: when a start failed, or its loop was closed.

    >>> async def enter(stack, state):
    ...     state["greeting"] = "hello"
    >>> lifespan = Lifespan(enter)
    >>> async def one_request():
    ...     if not lifespan.started:
    ...         await lifespan.ensure()
    ...     return lifespan.state["greeting"]
    >>> import asyncio
    >>> asyncio.run(one_request())
    'hello'
    >>> lifespan.started
    False
    """

    started: bool
    """True while the app is started on a live loop; read on every request."""

    shutting_down: ShutdownEvent
    """Set when the shutdown begins."""

    def __init__(
        self,
        enter: Callable[[AsyncExitStack, State], Awaitable[None]],
        *,
        grace: Callable[[], float] = lambda: GRACE,
        background_timeout: Callable[[], float] = lambda: BACKGROUND_TIMEOUT,
        stopped: Callable[[], object] = lambda: None,
    ) -> None:
        self.started = False
        self.shutting_down = ShutdownEvent()
        self.enter = enter
        self.grace = grace
        self.background_timeout = background_timeout
        self.stopped = stopped
        self._run: _Run | None = None

    @property
    def state(self) -> State:
        """The state that ``enter`` filled; empty while the app is not started."""
        return {} if self._run is None else self._run.state

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak the ASGI lifespan protocol (specification 2.0) with a server.

        Failures go to the server as ``startup.failed`` or ``shutdown.failed`` and to the log, once; they
        are also appended to the list ``scope["extensions"]["microweb.errors"]``, if there is one. When
        the server cancels this call, the app is stopped before it returns.
        """
        errors: list[BaseException] = (scope.get("extensions") or {}).get("microweb.errors", [])
        await expect(receive, "lifespan.startup")
        state: State = scope.get("state", {})
        try:
            run = self._join(state, copy_context())
        except (RuntimeError, ServiceUnavailable) as error:
            errors.append(error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        run.holders += 1
        try:
            await run.wait_until_started()
            if run.state is not state:
                state.update(run.state)
            await send({"type": "lifespan.startup.complete"})
            await expect(receive, "lifespan.shutdown")
        except LifespanFailed as failed:
            errors.append(failed.__cause__ or failed)
            await send({"type": "lifespan.startup.failed", "message": str(failed)})
            return
        except GeneratorExit:
            raise  # the loop is gone: nothing can be awaited any more
        except BaseException:
            await self._release(run)
            raise
        failures = await self._release(run)
        if failures:
            errors.extend(failures)
            message = "; ".join(map(describe, failures))
            await send({"type": "lifespan.shutdown.failed", "message": message})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def ensure(self) -> None:
        """Start the app if no server did, and wait for it.

        The start has its own task and an empty context, so it carries nothing of the request that came
        first and outlives it. The app stops when the loop ends.

        Raises:
            LifespanFailed: the start failed; the next call tries again.
            ServiceUnavailable: the app is stopping.
            RuntimeError: it is started on another loop that still runs.
        """
        await self._join({}, None).wait_until_started()

    @property
    def running(self) -> bool:
        """Whether a start is under way or done; ``started`` is true only when it is done."""
        return self._run is not None

    def begin(self) -> None:
        """Start the app if nobody did, as ``ensure`` does, without waiting for it.

        Raises: as ``ensure``, but a failed start is only logged.
        """
        self._join({}, None)

    async def stop(self) -> None:
        """End what ``ensure`` or ``serve`` started, a start that is under way included.

        When the caller is cancelled, the stop goes on without it.

        Raises:
            LifespanFailed: an exit failed. All exits have run.
            RuntimeError: the app runs on another loop, or one of its own lifespans calls this.
        """
        run = self._run
        if run is None:
            return
        if run.loop is not get_current_loop():
            self._leave_dead_loop(run)
            return
        if run.is_current_task():
            raise RuntimeError("a lifespan cannot stop its own app: it would wait for itself")
        run.stop()
        failures = await run.wait_until_ended()
        if failures:
            raise LifespanFailed("the app did not stop cleanly: " + "; ".join(map(describe, failures))) from as_one(
                failures
            )

    def start_task(
        self,
        function: Callable[[*Arguments], Awaitable[object]],
        *args: *Arguments,
        name: str | None = None,
    ) -> None:
        """Run an async function beside the requests, in a copy of the caller's context, from any thread.

        Its failure is logged and touches nobody else. At the stop it may end by itself within
        ``background_timeout``, then it is cancelled.

        Raises:
            RuntimeError: the app is not started, or has ended its background tasks already.
        """
        run = self._run
        name = name or name_of(function)
        if run is None:
            raise RuntimeError(
                f"background task {name} needs a started app: it starts with the server, at the first "
                "request, or inside `async with app.test_client()`"
            )
        if not run.tasks.open:
            raise RuntimeError(f"background task {name} comes too late: the app is shutting down")
        begin = partial(run.tasks.begin, name, partial(function, *args), copy_context())
        if find_current_loop() is run.loop:
            begin()
            return
        try:
            post(run.loop, begin)
        except RuntimeError:
            raise RuntimeError(f"background task {name} comes too late: the app's event loop has ended") from None

    def _join(self, state: State, context: Context | None) -> "_Run":
        """The run of the current loop; made if there is none."""
        loop = get_current_loop()
        run = self._run
        if run is not None and run.loop is not loop:
            self._leave_dead_loop(run)
            run = None
        if run is None:
            run = self._run = _Run(self, loop, state)
            try:
                run.begin(context)
            except RuntimeError:  # trio takes no new task in its last moments
                self._run = None
                raise
        elif run.phase == "stopping":
            # Waiting here would be a deadlock for an exit that sends a request to its own app.
            raise ServiceUnavailable("The app is shutting down.")
        elif run.phase == "starting" and run.is_current_task():
            raise RuntimeError("a lifespan used its own app before the app had started: it would wait for itself")
        return run

    async def _release(self, run: "_Run") -> Sequence[BaseException]:
        """Stop the app if no other server holds it; wait for the end also when cancelled."""
        import anyio

        run.holders -= 1
        # Not always `run`: one that collapsed may have been started anew by a request.
        current = self._run
        if run.holders or current is None or current.holders or current.loop is not run.loop:
            return ()
        current.stop()
        with anyio.move_on_after(current.grace + MARGIN, shield=True):
            return await current.wait_until_ended()
        return [TimeoutError("an exit does not end, even when cancelled")]

    def _leave_dead_loop(self, run: "_Run") -> None:
        if is_running(run.loop):
            raise RuntimeError("the app is started on another event loop; an app runs on one loop at a time")
        run.abandon()


class _Run:
    """One start of the app on one loop, up to its end."""

    def __init__(self, lifespan: Lifespan, loop: "Loop", state: State) -> None:
        import anyio

        self.lifespan = lifespan
        self.loop = loop
        self.state = state
        self.phase = "starting"
        self.holders = 0
        self.grace = GRACE
        self.tasks = _BackgroundTasks()
        self._patience = 0.0
        self._task: object = None
        self._scope: anyio.CancelScope | None = None
        self._stop = anyio.Event()
        self._start_watches: set[_Watch] = set()
        self._end_watches: set[_Watch] = set()
        self._loop_watch: _LoopWatch | None = None

    def begin(self, context: Context | None) -> None:
        self.lifespan.shutting_down.clear()
        self._loop_watch = watch_loop(self.loop, self.abandon)
        self._task = spawn(self._live, self._end, name="microweb lifespan", context=context, loop_ends=self._loop_ends)

    def stop(self) -> None:
        self._stop.set()
        if self.phase == "starting" and self._scope is not None:
            self._scope.cancel()

    def _loop_ends(self) -> float:
        self.stop()
        return self.grace + MARGIN

    def abandon(self) -> None:
        """Forget this run: its loop was closed, or stopped for good, and never told it."""
        self.tasks.open = False
        if self._loop_watch is not None:
            self._loop_watch.end()
        self.lifespan._run = None
        self._set_stopped()
        logger.warning(
            "The event loop was closed, or left for another, while the app was %s; its exits did not run.",
            self.phase,
        )

    def _is_current(self) -> bool:
        """False once it was given up for a run on another loop, whose affairs are not its own."""
        return self.lifespan._run is self

    def _set_stopped(self) -> None:
        self.lifespan.started = False
        try:
            self.lifespan.stopped()
        except Exception:
            logger.exception("The app failed when it was told that it is stopped.")

    def is_current_task(self) -> bool:
        return self._task is current_task()

    async def wait_until_started(self) -> None:
        if self.phase != "starting":
            return
        failures = await self._wait(self._start_watches)
        if failures:
            raise LifespanFailed(f"the app could not start: {describe(failures[0])}") from failures[0]

    async def wait_until_ended(self) -> Sequence[BaseException]:
        return await self._wait(self._end_watches)

    async def _wait(self, watches: "set[_Watch]") -> Sequence[BaseException]:
        watch = _Watch()
        watches.add(watch)
        try:
            await watch.event.wait()
        finally:
            watches.discard(watch)
        return watch.failures

    async def _live(self) -> None:
        import anyio

        self._task = current_task()
        try:
            with anyio.CancelScope() as self._scope:
                if self._stop.is_set():
                    self._scope.cancel()
                await self._start_and_stop(self._scope)
        except BaseException:
            if self.is_current_task():
                raise
            # The coroutine of an abandoned run is closed by the garbage collector, outside its task,
            # where no cancel scope can be left in order.

    def _end(self) -> None:
        if self.phase != "ended":
            self._conclude(_StartCancelled("the start was cancelled"), ())

    async def _start_and_stop(self, scope: "anyio.CancelScope") -> None:
        import anyio

        steps = _Steps()
        failure = await self._enter(steps)
        if failure is None:
            self.phase = "started"
            if self._is_current():
                self.lifespan.started = True
            tell(self._start_watches)
            try:
                await self._stop.wait()
            except anyio.get_cancelled_exc_class():
                pass  # the loop ends, or a task group that a lifespan opened has failed: stop either way
        deadline = anyio.current_time() + self.grace
        if self._is_current():
            self.lifespan.shutting_down.set()
        patience = min(self._patience, self.grace / 2) if failure is None else 0.0
        await self.tasks.drain(patience, deadline)
        # Only now: until here a foreign lifespan's task can see that this one was cancelled with it.
        forget_cancellation()
        if failure is None:
            self.phase = "stopping"
        if self._is_current():
            self._set_stopped()
        scope.shield = True
        scope.deadline = deadline
        self._conclude(failure, await steps.unwind(deadline))

    async def _enter(self, steps: "_Steps") -> BaseException | None:
        try:
            # Read before anything is entered: a bad value must not keep exits from running later.
            self.grace = max(0.0, float(self.lifespan.grace()))
            self._patience = max(0.0, float(self.lifespan.background_timeout()))
            await self.lifespan.enter(steps, self.state)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - returned, and raised to every waiter
            return without_cancellation(error) or _StartCancelled("the start was cancelled")
        return None

    def _conclude(self, failure: BaseException | None, exit_failures: Sequence[BaseException]) -> None:
        self.phase = "ended"
        if self._loop_watch is not None:
            self._loop_watch.end()
        if self._is_current():
            self.lifespan._run = None
        if isinstance(failure, _StartCancelled):
            logger.info("The start of the app was cancelled.")
        elif failure is not None:
            logger.error("The app could not start.", exc_info=failure)
        for exit_failure in exit_failures:
            logger.error("The app did not stop cleanly.", exc_info=exit_failure)
        tell(self._start_watches, () if failure is None else (failure,))
        tell(self._end_watches, exit_failures)


class _StartCancelled(LifespanFailed):
    """The loop ended, or ``stop`` was called, before the app had started."""


class _Watch:
    """What one waiter waits for and gets; it, not the run, holds the failures: no cycle is left."""

    __slots__ = ("event", "failures")

    def __init__(self) -> None:
        import anyio

        self.event = anyio.Event()
        self.failures: Sequence[BaseException] = ()


class _Steps(AsyncExitStack):
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
        self._deadline = deadline
        try:
            await self.aclose()
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - from an exit that `push` or `push_async_exit` took
            self._failures.append(error)
        return self._failures

    async def enter_async_context(self, cm: AbstractAsyncContextManager[Value, bool | None]) -> Value:
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
        super().push_async_callback(self._leave, partial(callback, *args, **kwds))
        self._waiting += 1
        return callback

    def enter_context(self, cm: AbstractContextManager[Value, bool | None]) -> Value:
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

    def _limit(self, scope: "anyio.CancelScope") -> float:
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


class _BackgroundTasks:
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

    async def _guard(self, task: "_BackgroundTask", function: Callable[[], Awaitable[object]]) -> None:
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

    def _end(self, task: "_BackgroundTask") -> None:
        self._running.discard(task)
        if not self._running and self._idle is not None:
            self._idle.set()

    def _report(self, task: "_BackgroundTask", error: BaseException) -> None:
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


class ForeignLifespan:
    """The lifespan of a mounted ASGI app, run in a task of its own; an async context manager.

    An app that rejects the scope (it raises, or returns without an answer) is taken as having no
    lifespan, as the specification asks. The app fills a copy of ``state``, kept as ``.state``: what its
    requests get. Names that are not in ``state`` yet are added there too. ``grace`` is the time in
    seconds that it may take to shut down before it is cancelled.

    >>> async def app(scope, receive, send):
    ...     await receive()
    ...     await send({"type": "lifespan.startup.complete"})
    ...     await receive()
    ...     await send({"type": "lifespan.shutdown.complete"})
    >>> async def main():
    ...     async with ForeignLifespan(app, {}) as lifespan:
    ...         return lifespan.supported
    >>> import asyncio
    >>> asyncio.run(main())
    True

    Raises:
        LifespanFailed: on entry, the app answered ``startup.failed``; on exit, it answered
            ``shutdown.failed``, raised, or had to be cancelled.
    """

    def __init__(self, app: ASGIApp, state: State, *, grace: float = 5.0, name: str | None = None) -> None:
        self.state: dict[str, Any] = dict(state)
        self.supported = False
        self._app = app
        self._shared = state
        self._grace = grace
        self._name = name or name_of(app)
        # offered -> starting -> serving -> stopping -> stopped, or failed from starting and stopping
        self._phase = "offered"
        self._asked = False
        self._failure: str | None = None
        self._cause: BaseException | None = None
        self._scope: anyio.CancelScope | None = None
        self._task: object = None
        self._owner: object = None

    async def __aenter__(self) -> Self:
        import anyio

        self._answered = anyio.Event()
        self._stop = anyio.Event()
        self._ended = anyio.Event()
        self._owner = current_task()
        self._task = spawn(
            self._run,
            self._end,
            name=f"microweb lifespan of {self._name}",
            context=copy_context(),
            loop_ends=lambda: math.inf,  # its owner is told too, and ends it in its turn
        )
        try:
            await self._answered.wait()
        except GeneratorExit:
            raise
        except BaseException:
            if self._phase == "serving":  # it has started, in the moment of the cancellation: it is to stop
                with anyio.CancelScope(shield=True):
                    await self.__aexit__(None, None, None)
            else:
                await self._cancel()
            raise
        if self._failure is not None:
            await self._finish()
        self.supported = self._phase == "serving"
        for key, value in self.state.items():
            self._shared.setdefault(key, value)
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        await self._finish()

    async def _finish(self) -> None:
        """Wait for the app to return; say how it failed."""
        import anyio

        try:
            with anyio.move_on_after(self._grace):
                await self._ended.wait()
        except GeneratorExit:
            raise
        except BaseException:
            await self._cancel()
            raise
        if not self._ended.is_set():
            await self._cancel()
            self._failure = self._failure or f"its lifespan did not end within {self._grace:g} s and was cancelled"
        failure, cause = self._failure, self._cause
        self._failure = self._cause = None
        if failure is not None:
            raise LifespanFailed(f"mounted app {self._name}: {failure}") from cause

    async def _cancel(self) -> None:
        import anyio

        self._phase = "stopped"
        if self._scope is not None:
            self._scope.cancel()
        with anyio.move_on_after(MARGIN, shield=True):  # one that ignores its cancellation is left behind
            await self._ended.wait()

    async def _run(self) -> None:
        import anyio

        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._task = current_task()
        try:
            # Shielded: when a trio run ends, this task is to end by its shutdown message, in its turn.
            with anyio.CancelScope(shield=True) as self._scope:
                if self._phase == "offered":
                    await self._app(scope, self._receive, self._send)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - told to the owner, or logged
            if self._task is current_task():  # not so when the collector closes what a closed loop has left
                self._crashed(error)

    def _end(self) -> None:
        self._answered.set()
        self._ended.set()

    def _crashed(self, error: BaseException) -> None:
        failure = without_cancellation(error)
        if failure is None:
            return
        if self._phase == "offered":
            logger.debug("Mounted app %s has no lifespan: %s.", self._name, describe(failure))
        elif self._phase == "starting":
            logger.warning(
                "Mounted app %s raised at lifespan.startup; it is taken as having no lifespan.",
                self._name,
                exc_info=failure,
            )
        elif self._phase == "failed":
            self._cause = failure
        elif self._phase == "stopping":
            self._failure, self._cause = describe(failure), failure
        else:
            logger.error("The lifespan of mounted app %s failed.", self._name, exc_info=failure)

    async def _receive(self) -> Message:
        import anyio

        if not self._asked:
            self._asked = True
            if self._phase == "offered":  # some apps answer first
                self._phase = "starting"
            return {"type": "lifespan.startup"}
        while not self._stop.is_set():
            try:
                await self._stop.wait()
            except anyio.get_cancelled_exc_class():
                # A program that cancels every task of its loop cancels this one together with its owner,
                # who will come and say shutdown in its turn; any other cancellation is the app's affair.
                if not is_cancelled(self._owner):
                    raise
                forget_cancellation()
        if self._phase != "serving":
            await anyio.sleep_forever()
        self._phase = "stopping"
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and self._phase in ("offered", "starting"):
            self._phase = "serving"
        elif kind == "lifespan.startup.failed" and self._phase in ("offered", "starting"):
            self._phase = "failed"
            self._failure = message.get("message") or "its start failed"
        elif kind == "lifespan.shutdown.complete" and self._phase == "stopping":
            self._phase = "stopped"
        elif kind == "lifespan.shutdown.failed" and self._phase == "stopping":
            self._phase = "failed"
            self._failure = message.get("message") or "its shutdown failed"
        else:
            raise RuntimeError(f"unexpected message {kind!r} from a lifespan that is {self._phase}")
        self._answered.set()


def run_foreign(app: ASGIApp, state: State, *, grace: float = 5.0, name: str | None = None) -> ForeignLifespan:
    """The lifespan of a mounted ASGI app, to be entered on the exit stack."""
    return ForeignLifespan(app, state, grace=grace, name=name)


async def expect(receive: Receive, kind: str) -> None:
    """Receive one message of a kind."""
    message = await receive()
    if message["type"] != kind:
        raise RuntimeError(f"expected the message {kind!r} from the server, got {message['type']!r}")


def tell(watches: set[_Watch], failures: Sequence[BaseException] = ()) -> None:
    """Wake the waiters."""
    for watch in watches:
        watch.failures = failures
        watch.event.set()


def describe(error: BaseException) -> str:
    """One line about an error, as ``ValueError: no such host``."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def name_of(thing: object) -> str:
    """What a person calls a function, a lifespan's context manager, or an app."""
    named = getattr(thing, "gen", thing)  # contextlib keeps the generator that knows its function's name
    return getattr(named, "__qualname__", None) or type(named).__qualname__


def as_one(failures: Sequence[BaseException]) -> BaseException:
    """The only failure, or all of them in a group."""
    return failures[0] if len(failures) == 1 else BaseExceptionGroup("several exits failed", failures)


def without_cancellation(error: BaseException) -> BaseException | None:
    """What is left of an error without the cancellations in it."""
    import anyio

    cancelled = anyio.get_cancelled_exc_class()
    if isinstance(error, BaseExceptionGroup):
        return error.split(cancelled)[1]
    return None if isinstance(error, cancelled) else error


# The two kinds of event loop. anyio has no words for a task that belongs to nobody, or for a loop itself.


def in_trio() -> bool:
    """Whether this is a trio task, which may run inside an asyncio loop (guest mode)."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def find_current_loop() -> "Loop | None":
    """The running asyncio loop, or the token of the running trio; None in a thread without either."""
    if in_trio():
        from trio.lowlevel import current_trio_token

        return current_trio_token()
    return find_running_loop()


def get_current_loop() -> "Loop":
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


def post(loop: "Loop", function: Callable[[], object]) -> None:
    """Call a function soon on a loop, from any thread; a RuntimeError says that the loop has ended."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        loop.call_soon_threadsafe(function)
    else:
        loop.run_sync_soon(function)


def is_running(loop: "Loop") -> bool:
    """Whether a loop that has tasks of ours runs, here or in another thread; trio ends them before itself."""
    return loop.is_running() if isinstance(loop, asyncio.AbstractEventLoop) else True


class _LoopWatch:
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
        self._closed = None
        timer = self._timer()
        if timer is not None:
            timer.cancel()


class _TimerGuard:
    __slots__ = ("__weakref__",)

    def keep(self) -> None:
        """Never called in the lifetime of a loop."""


def watch_loop(loop: "Loop", closed: Callable[[], None]) -> _LoopWatch | None:
    """Watch for the end of a loop that cancels nothing; trio always cancels."""
    return _LoopWatch(loop, closed) if isinstance(loop, asyncio.AbstractEventLoop) else None
