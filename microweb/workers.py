"""Worker threads: where ``def`` callables run, so that they never block the event loop.

Here is what others see of them: a pool, a worker for each request, and the way back from a thread to its
task. It knows neither requests nor views. The life of a call is in ``calls.py``, the threads are in
``threads.py``; iterators that run in a thread in ``iteration.py``, loops for synchronous code in
``helperloops.py``.

Called by endpoints and hooks (``def`` callables), by requests and proxies inside of them
(``call_from_thread``), and by files and uploads (``run_blocking``).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from queue import Empty
from time import monotonic
from typing import TypeVar, TypeVarTuple
from weakref import finalize

from microweb.callers import call_of
from microweb.calls import SharedContext, serving
from microweb.contextvariables import set_variables
from microweb.threads import CallerCancelled, Crew, Job, Seat, ThreadRequest, WorkerThread, crews, here

__all__ = ["Worker", "WorkerPool", "call_from_thread", "release_blocking", "run_blocking"]

Value = TypeVar("Value")
Arguments = TypeVarTuple("Arguments")

# How often a thread that waits for a task looks whether the loop is still there.
_LOOP_CHECK_SECONDS = 1.0

_log = logging.getLogger("microweb")


class WorkerPool:
    """The worker threads of an app: daemons, started as they are needed, at most ``size`` of them.

    A call that waits longer than ``wait_warning`` seconds for its thread is reported to the log, while it waits, at
    most one each second. A pool can be closed and used again any number of times.

    >>> import asyncio
    >>> pool = WorkerPool(2)
    >>> asyncio.run(pool.pick().run(sum, [1, 2, 3]))
    6
    >>> pool.close()
    """

    def __init__(self, size: int = 40, *, name: str = "microweb", wait_warning: float = 1.0) -> None:
        if size < 1:
            raise ValueError(f"a pool has at least one thread, not {size!r}")
        self._crew = crew = Crew(size, name, wait_warning)
        crews.add(crew)
        finalize(self, crew.end).atexit = False

    @property
    def size(self) -> int:
        """The greatest number of threads."""
        return self._crew.size

    def pick(self, *, stays: bool = True) -> Worker:
        """A seat for one request; with ``stays=False`` for one call. Its thread is chosen at its first call."""
        return Worker(self, stays)

    def close(self, timeout: float = 5.0) -> None:
        """End the threads and wait for them, at most ``timeout`` seconds in all; blocks.

        Calls that are queued are done before. A thread that is busy for longer is left behind, with a
        warning, and ends after its call.
        """
        deadline = monotonic() + timeout
        self._crew.end()
        left_behind: set[WorkerThread] = set()
        while (ending := self._crew.find_ending(left_behind)) is not None:
            ours, thread = ending
            thread.join(max(0.0, deadline - monotonic()))
            if thread.is_alive():
                call = ours.current
                label = call.label if call is not None else ""
                _log.warning("%s is still busy with %s and left behind", thread.name, label or "a call")
                if call is not None and call.refusing:
                    # Its task was cancelled and waits for nothing else: that would keep the whole process.
                    call.end()
                left_behind.add(ours)

    async def aclose(self, timeout: float = 5.0) -> None:
        """As ``close``, but other tasks run meanwhile, and threads that need them can end."""
        # Told at once: so they end also if the caller is cancelled before the wait begins.
        self._crew.end()
        if self._crew.find_ending() is not None:
            await run_blocking(self.close, timeout)


class Worker(Seat):
    """A seat in a pool for one request: all its calls run in one thread.

    Others go to another thread while there is one, and share this one when there is none: holding a worker costs
    nothing and blocks nobody.

    >>> import asyncio, threading
    >>> async def main(pool):
    ...     worker = pool.pick()
    ...     return await worker.run(threading.get_ident) == await worker.run(threading.get_ident)
    >>> asyncio.run(main(WorkerPool()))
    True
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: WorkerPool, stays: bool) -> None:
        # Kept, because a pool that nobody refers to ends its threads.
        self._pool = pool
        self._stays = stays
        self._crew = pool._crew
        self._thread = None

    async def run(
        self,
        function: Callable[[*Arguments], Value],
        *args: *Arguments,
        label: str = "",
        context: SharedContext | None = None,
    ) -> Value:
        """Run ``function(*args)`` in the thread and wait for it.

        It runs in a copy of the caller's context, and the variables whose value it changed are changed
        here afterwards, also when it raised. Tokens stay there: what the function sets it must reset
        itself, there or in a later call with the same shared ``context``. What it raises is raised here,
        ``StopIteration`` as a ``RuntimeError`` (PEP 479).

        A caller that is cancelled withdraws a call that has not begun; if it has, its end is awaited and
        its result dropped before the cancellation goes on. ``label`` names the call in warnings.
        """
        call = call_of(self, function, args, label)
        if call.checkpoints:
            await call.begin()
        if context is not None:
            context.lend(call)
        self._submit(call)
        result: Value = await call.settle()
        return result

    async def run_firmly(
        self,
        function: Callable[[*Arguments], Value],
        *args: *Arguments,
        label: str = "",
        context: SharedContext | None = None,
    ) -> Value:
        """As ``run``, for what releases something: it runs also if the caller is cancelled, who waits for its end."""
        call = call_of(self, function, args, label)
        if context is not None:
            context.lend(call)
        self._submit(call)
        result: Value = await call.settle_firmly()
        return result

    def _submit(self, call: Job) -> None:
        crew = self._crew
        crew.ending = False
        thread = self._thread
        if thread is None:
            request = serving.get()
            if request is not None and request.open and request.thread.crew is crew:
                # That thread waits for this task. If it did not do the call itself, all threads might come to
                # wait for tasks that wait for a thread.
                self.take(request.thread)
                request.inbox.put(call)
                return
            crew.offer(call)
            return
        if thread.load:
            busy_with = thread.current
            if busy_with is not None and busy_with.ended:
                # Left behind at a stop: nobody waits for that call, and what is left to do would wait for it.
                self.leave(thread)
                crew.offer(call)
                return
            request = serving.get()
            if request is not None and request.open and request.thread is thread:
                # The thread waits for the very task that calls it. It does the call while it waits.
                request.inbox.put(call)
                return
            call.queued_at = monotonic()
        crew.recent = thread
        thread.put(call)
        if call.queued_at:
            crew.watch.begin(crew.find_oldest, crew.warn)


def call_from_thread(function: Callable[[*Arguments], Awaitable[Value]], *args: *Arguments) -> Value:
    """Run an async function in the task that waits for this worker thread; returns its result.

    It sees the context variables as this thread left them, and those it changes are changed here.

    Raises:
        CallerCancelled: that task was cancelled, or its loop is gone.
        RuntimeError: this is no worker thread, so no task waits.
    """
    thread = here.thread
    call = thread.current if thread is not None else None
    if thread is None or call is None:
        raise RuntimeError(
            "call_from_thread works in a worker thread, where a task waits for the answer; "
            "here none does (run_sync runs an async function from other synchronous code)"
        )
    request = ThreadRequest(thread, function, args)
    call.request = request
    # A task that refuses says so first, and then looks for a request.
    if call.refusing or not call.wake():
        raise CallerCancelled
    while True:
        try:
            nested = request.inbox.get(timeout=_LOOP_CHECK_SECONDS)
        except Empty:
            if call.loop_is_gone():
                raise CallerCancelled from None
            continue
        if nested is None:
            break
        nested.execute(thread)
        nested.end()
        del nested
    set_variables(request.changes)
    call.before = copy_context()
    if request.error is not None:
        try:
            raise request.error
        finally:
            request.error = None
    result: Value = request.value
    return result


# Not one of an app's pools, so that files are served also while all views block.
_blocking = WorkerPool(8, name="microweb-blocking", wait_warning=float("inf"))


async def run_blocking(function: Callable[[*Arguments], Value], *args: *Arguments) -> Value:
    """Run a short blocking function, such as a read from disk, in one of eight threads kept for those.

    As ``Worker.run``, but each call takes any of them, and none waits behind a view.
    """
    return await _blocking.pick(stays=False).run(function, *args)


async def release_blocking(function: Callable[[*Arguments], Value], *args: *Arguments) -> Value:
    """As ``run_blocking``, for what releases something: it runs also if the caller is cancelled."""
    return await _blocking.pick(stays=False).run_firmly(function, *args)
