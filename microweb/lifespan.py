"""The start and the stop of one app.

The app hands over one function, ``enter``, that enters everything on an exit stack. This file decides
when it runs, in which task, and what happens when it fails, is cancelled, or the loop ends. It knows no
app, no route and no request; ``app.py`` calls it, and so do the test clients. Exits, background tasks and
the loops' differences have files of their own; the lifespans of mounted apps are in ``foreignlifespan.py``.

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

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import AsyncExitStack, suppress
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVarTuple

from microweb.asgi import Receive, Scope, Send
from microweb.errors import ServiceUnavailable
from microweb.failures import LifespanFailed, as_one, describe, name_of
from microweb.loops import (
    LoopWatch,
    current_task,
    find_current_loop,
    forget_cancellation,
    get_current_loop,
    is_running,
    post,
    spawn,
    watch_loop,
    without_cancellation,
)
from microweb.shutdownevent import ShutdownEvent

if TYPE_CHECKING:
    import anyio

    from microweb.exitsteps import ExitSteps
    from microweb.loops import Loop

__all__ = ["Lifespan"]

Arguments = TypeVarTuple("Arguments")
State: TypeAlias = MutableMapping[str, Any]

GRACE: Final = 15.0  # seconds, as Sanic's graceful stop
BACKGROUND_TIMEOUT: Final = 5.0  # seconds, as Quart's
MARGIN: Final = 0.5  # seconds beyond the grace for an exit to notice that it was cancelled

logger = logging.getLogger("microweb")


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
    """Set when the shutdown begins: at the signal that stops the server, if that can be heard."""

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
            from microweb.stopsignals import StopSignals

            with StopSignals(partial(self._begin_shutdown, run)):
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

    def _join(self, state: State, context: Context | None) -> _Run:
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

    def _begin_shutdown(self, run: _Run) -> None:
        """Called in a signal handler. A start is given up: servers wait for its end, however long that takes."""
        self.shutting_down.set()
        if run.phase == "starting":
            with suppress(RuntimeError):  # That loop has ended.
                post(run.loop, run.give_up_start)

    async def _release(self, run: _Run) -> Sequence[BaseException]:
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

    def _leave_dead_loop(self, run: _Run) -> None:
        if is_running(run.loop):
            raise RuntimeError("the app is started on another event loop; an app runs on one loop at a time")
        run.abandon()


class _Run:
    """One start of the app on one loop, up to its end."""

    def __init__(self, lifespan: Lifespan, loop: Loop, state: State) -> None:
        import anyio

        from microweb.backgroundtasks import BackgroundTasks

        self.lifespan = lifespan
        self.loop = loop
        self.state = state
        self.phase = "starting"
        self.holders = 0
        self.grace = GRACE
        self.tasks = BackgroundTasks()
        self._patience = 0.0
        self._task: object = None
        self._scope: anyio.CancelScope | None = None
        self._stop = anyio.Event()
        self._start_watches: set[_Watch] = set()
        self._end_watches: set[_Watch] = set()
        self._loop_watch: LoopWatch | None = None

    def begin(self, context: Context | None) -> None:
        self.lifespan.shutting_down.clear()
        self._loop_watch = watch_loop(self.loop, self.abandon)
        self._task = spawn(self._live, self._end, name="microweb lifespan", context=context, loop_ends=self._loop_ends)

    def stop(self) -> None:
        self._stop.set()
        if self.phase == "starting" and self._scope is not None:
            self._scope.cancel()

    def give_up_start(self) -> None:
        if self.phase == "starting":
            self.stop()

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
        if failures and isinstance(failures[0], _StartCancelled):
            raise LifespanFailed(str(failures[0])) from failures[0]
        if failures:
            raise LifespanFailed(f"the app could not start: {describe(failures[0])}") from failures[0]

    async def wait_until_ended(self) -> Sequence[BaseException]:
        return await self._wait(self._end_watches)

    async def _wait(self, watches: set[_Watch]) -> Sequence[BaseException]:
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

    async def _start_and_stop(self, scope: anyio.CancelScope) -> None:
        import anyio

        from microweb.exitsteps import ExitSteps

        steps = ExitSteps()
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
        patience = min(self._patience, self.grace / 2) if failure is None else 0.0
        if self._is_current():
            self.lifespan.shutting_down.set()
            await self.lifespan.shutting_down.farewells.wait(patience)
        await self.tasks.drain(patience, deadline)
        # Only now: until here a foreign lifespan's task can see that this one was cancelled with it.
        forget_cancellation()
        if failure is None:
            self.phase = "stopping"
        if self._is_current():
            self._set_stopped()
        scope.shield = True
        scope.deadline = deadline
        try:
            self._conclude(failure, await steps.unwind(deadline))
        finally:
            del failure  # From CPython 3.12 on its traceback leads to this frame.

    async def _enter(self, steps: ExitSteps) -> BaseException | None:
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
