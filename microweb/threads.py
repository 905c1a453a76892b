"""Worker threads: where ``def`` callables run, so that they never block the event loop.

The routes between a task and a thread::

    task                                         thread
    ────                                         ──────
    Worker.run        ── call ───────────────▶   function(*args), in a copy of the task's context
       (waits)        ◀─ request ─────────────   call_from_thread(async_function, *args)
    async_function()     in the waiting task
       (waits again)  ── answer ─────────────▶   goes on
    result or error   ◀─ end ─────────────────   returns or raises

The life of one call; ``claim`` is a lock that exactly one side gets::

    queued    thread takes the claim ──▶ running ──▶ ended       the task takes the result
    queued    the task is cancelled and takes the claim ──▶ withdrawn: the thread passes over it
    running   the task is cancelled ──▶ refusing: the task waits shielded for the end, requests of the
              thread raise CallerCancelled, the result is dropped, the cancellation goes on

A ``WorkerPool`` owns the threads, one queue each. A ``Worker`` is a seat for one request: it is bound
to a thread by its first call and prefers it from then on, which keeps thread-bound objects (a sqlite3
connection) usable through all the ``def`` callables of a request; it reserves nothing. First calls that
find every thread busy wait in one common queue, so that no request waits behind one slow view while
other threads are free.

Works on asyncio (any loop) and trio, and imports neither trio nor anyio. It is no general executor: it
does not know requests or views. Called by the endpoint and the onion (``def`` callables), streaming
(sync iterators), files (``run_blocking``), and by extensions at import time (``run_sync``).
"""

import asyncio
import atexit
import logging
import os
import sys
import threading
from _thread import allocate_lock
from asyncio import CancelledError
from asyncio import _get_running_loop as get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, ContextVar, Token, copy_context
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Generic, TypeVar, TypeVarTuple
from weakref import WeakSet

__all__ = [
    "CallerCancelled",
    "Worker",
    "WorkerPool",
    "call_from_thread",
    "current_worker",
    "ignore_variables",
    "iterate",
    "run_blocking",
    "run_sync",
]

Value = TypeVar("Value")
Arguments = TypeVarTuple("Arguments")

_MISSING: Any = object()
_log = logging.getLogger("microweb")


class CallerCancelled(BaseException):
    """The task that waits for this thread was cancelled, so nobody is left to answer it.

    Raised by ``call_from_thread`` inside a worker thread. Like ``asyncio.CancelledError`` it is no
    ``Exception``: let it pass, and clean up in ``finally``.
    """


# ── Context variables ────────────────────────────────────────────────────────────────────────────

_ignored: set[ContextVar[Any]] = set()


def ignore_variables(*variables: ContextVar[Any]) -> None:
    """Never copy these variables back from a thread: for variables whose value differs there on purpose."""
    _ignored.update(variables)


def _changes(after: Context, before: Context) -> list[tuple[ContextVar[Any], Any]]:
    # By identity, never by ==: a value's own __eq__ may be slow, may raise, and calls a replaced equal
    # list the same.
    return [
        (variable, value)
        for variable, value in after.items()
        if before.get(variable, _MISSING) is not value and variable not in _ignored
    ]


def _set_variables(changes: Iterable[tuple[ContextVar[Any], Any]]) -> None:
    for variable, value in changes:
        variable.set(value)


def _library_marker() -> ContextVar[str | None] | None:
    """sniffio's variable that names the async library: it must not say "asyncio" inside a thread."""
    global _marker
    if _marker is None:
        sniffio = sys.modules.get("sniffio")
        if sniffio is not None:
            _marker = getattr(sniffio, "current_async_library_cvar", None)
            if _marker is not None:
                ignore_variables(_marker)
    return _marker


_marker: ContextVar[str | None] | None = None


# ── Calls ────────────────────────────────────────────────────────────────────────────────────────


class _Request:
    """What a thread asks of the task that waits for it: run this async function."""

    __slots__ = ("args", "changes", "context", "error", "function", "inbox", "open", "thread", "value")

    def __init__(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        context: Context,
        thread: "_Thread",
    ) -> None:
        self.function = function
        self.args = args
        self.context = context
        self.thread = thread
        self.inbox: SimpleQueue[_Call | None] = SimpleQueue()
        self.open = True
        self.changes: list[tuple[ContextVar[Any], Any]] = []
        self.value: Any = None
        self.error: BaseException | None = None

    def answer(self) -> None:
        self.open = False
        self.inbox.put(None)

    def refuse(self) -> None:
        self.error = CallerCancelled()
        self.answer()


_serving: ContextVar[_Request | None] = ContextVar("microweb_serving", default=None)
"""The request of a thread that this task (or a task that made it) is serving."""

ignore_variables(_serving)


class _Call:
    """One function on its way through a thread and back; the parts that do not depend on the loop."""

    __slots__ = (
        "adopted",
        "args",
        "before",
        "claim",
        "context",
        "ended",
        "error",
        "firm",
        "function",
        "label",
        "news",
        "queued_at",
        "refusing",
        "request",
        "value",
        "worker",
    )

    def __init__(
        self, worker: "Worker", function: Callable[..., Any], args: tuple[Any, ...], label: str
    ) -> None:
        self.worker = worker
        self.function: Callable[..., Any] | None = function
        self.args = args
        self.label = label
        self.context = context = copy_context()
        marker = _library_marker()
        if marker is not None and marker in context:
            context.run(marker.set, None)
        self.before = context.copy()
        self.claim = allocate_lock()
        self.ended = False
        self.news = False
        self.refusing = False
        self.firm = False
        self.request: _Request | None = None
        self.adopted: dict[ContextVar[Any], Token[Any]] | None = None
        self.queued_at = 0.0
        self.value: Any = None
        self.error: BaseException | None = None

    checkpoints = False
    """Whether each await must see cancellation and let others run, as trio promises of all its own."""

    # in the thread

    def execute(self, thread: "_Thread") -> None:
        outer = thread.current
        thread.current = self
        try:
            self.value = self.context.run(self.function, *self.args)  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
            # Without our own frame, which would keep this call alive as long as the error.
            traceback = error.__traceback__
            self.error = error.with_traceback(traceback and traceback.tb_next)
        thread.current = outer
        self.function = None
        self.args = ()

    def end(self) -> None:
        self.ended = True
        self.wake()

    def wake(self) -> bool:
        """Make the waiting task look again, from any thread; False when its loop is gone."""
        raise NotImplementedError

    def loop_is_gone(self) -> bool:
        """Whether no task will ever look again."""
        raise NotImplementedError

    # in the task

    async def wait(self) -> None:
        """Sleep until woken, or until cancelled."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Raise the cancellation that has come already."""
        raise NotImplementedError

    async def pause(self) -> None:
        """Let other tasks run."""
        raise NotImplementedError

    async def wait_shielded(self) -> BaseException | None:
        """Sleep until the thread has ended, whatever cancellations arrive; the last of them, if any."""
        raise NotImplementedError

    async def settle_firmly(self) -> None:
        """Settle, shielded from cancellation, never withdrawn."""
        raise NotImplementedError

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether the error that left a served function is the cancellation of our own task."""
        raise NotImplementedError

    def withdraw(self) -> bool:
        """Take the call back if no thread has begun it."""
        if self.firm or not self.claim.acquire(False):
            return False
        self.function = None
        self.args = ()
        self.worker._pool._forget(self)
        return True

    def refuse(self) -> None:
        self.refusing = True
        request = self.request
        if request is not None:
            self.request = None
            request.refuse()

    async def settle(self, items: Sized = ()) -> Any:
        """Wait for the end, or until ``items`` are there to be taken before it."""
        has_waited = False
        try:
            while True:
                self.news = False
                if items:
                    return None
                if self.ended:
                    if not has_waited and (self.checkpoints or self.worker._pool._is_hogging()):
                        await self.pause()
                    break
                request = self.request
                if request is None:
                    await self.wait()
                    has_waited = True
                else:
                    self.request = None
                    await self.serve(request)
        except GeneratorExit:
            # The coroutine is thrown away with its loop: there is nothing to wait with.
            if not self.withdraw():
                self.refuse()
            raise
        except BaseException:
            if not self.withdraw():
                self.refuse()
                await self.wait_shielded()
                self.adopt(self.context)
                self.error = self.value = None
            raise
        self.adopt(self.context)
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None
        return self.value

    async def serve(self, request: _Request) -> None:
        """Run what the thread asked for, here and now, in this task."""
        self.adopt(request.context)
        before = copy_context()
        outer = _serving.get()
        _serving.set(request)
        try:
            request.value = await request.function(*request.args)
        except BaseException as error:
            # No token: this may run in another context than it began in, when a loop throws us away.
            _serving.set(outer)
            if isinstance(error, GeneratorExit) or self.is_cancellation(error):
                request.refuse()
                raise
            request.error = error
        else:
            _serving.set(outer)
        request.changes = _changes(copy_context(), before)
        request.answer()

    def adopt(self, context: Context) -> None:
        """Give this task what the thread changed in ``context`` since both last agreed."""
        before = self.before
        # PERF(hop): most calls change nothing.
        for variable, value in context.items():
            if before.get(variable, _MISSING) is not value and variable not in _ignored:
                token = variable.set(value)
                if token.old_value is Token.MISSING and (self.adopted is not None or not self.ended):
                    if self.adopted is None:
                        self.adopted = {}
                    self.adopted[variable] = token
        if self.adopted:
            # Set by the thread earlier and reset by its token since: unset here as well.
            for variable in [variable for variable in self.adopted if variable not in context]:
                try:
                    variable.reset(self.adopted.pop(variable))
                except ValueError:  # adopted by a task of another context, an iterator may change hands
                    pass


def _anyio_shield() -> AbstractContextManager[object]:
    # A cancelled anyio scope cancels its tasks again in every turn of the asyncio loop: without a
    # shield the loop would spin until the thread ends. If nobody loaded anyio there is no such scope.
    anyio = sys.modules.get("anyio")
    return nullcontext() if anyio is None else anyio.CancelScope(shield=True)


class _AsyncioCall(_Call):
    __slots__ = ("loop", "waiter")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        worker: "Worker",
        function: Callable[..., Any],
        args: tuple[Any, ...],
        label: str,
    ) -> None:
        self.loop = loop
        self.waiter: asyncio.Future[None] | None = None
        super().__init__(worker, function, args, label)

    def wake(self) -> bool:
        self.news = True
        # PERF(hop): looked at last. A task that does not wait yet looks for news before it does.
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
        with _anyio_shield():
            cancellation = None
            while True:
                self.news = False
                if self.ended:
                    return cancellation
                try:
                    await self.wait()
                except CancelledError as error:
                    # Counted by Task.cancelling, and raised again by our caller.
                    cancellation = error

    async def settle_firmly(self) -> None:
        self.firm = True
        with _anyio_shield():
            await self.settle()

    def is_cancellation(self, error: BaseException) -> bool:
        if not isinstance(error, CancelledError):
            return False
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0


class _TrioCall(_Call):
    __slots__ = ("sleeping", "task", "token")

    checkpoints = True

    def __init__(
        self, trio: Any, worker: "Worker", function: Callable[..., Any], args: tuple[Any, ...], label: str
    ) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.task: Any = None
        self.sleeping = False
        super().__init__(worker, function, args, label)

    def wake(self) -> bool:
        self.news = True
        return not self.sleeping or self._post()

    def _post(self) -> bool:
        import trio

        try:
            self.token.run_sync_soon(self._awaken)
        except trio.RunFinishedError:
            return False
        return True

    def _awaken(self) -> None:
        import trio

        if self.sleeping:
            self.sleeping = False
            trio.lowlevel.reschedule(self.task)

    def loop_is_gone(self) -> bool:
        # A token offers no other question than the attempt.
        return not self._post()

    async def wait(self) -> None:
        import trio

        cancel: Callable[[], Any] | None = None

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal cancel
            if self.withdraw():
                self.sleeping = False
                return trio.lowlevel.Abort.SUCCEEDED
            cancel = raise_cancel
            self.refuse()
            return trio.lowlevel.Abort.FAILED

        self.task = trio.lowlevel.current_task()
        while True:
            self.sleeping = True
            if self.news:
                self.sleeping = False
                await trio.lowlevel.cancel_shielded_checkpoint()
            else:
                await trio.lowlevel.wait_task_rescheduled(abort)
            if cancel is None:
                return
            self.news = False
            if self.ended:
                cancel()

    async def begin(self) -> None:
        import trio

        await trio.lowlevel.checkpoint_if_cancelled()

    async def pause(self) -> None:
        import trio

        await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_shielded(self) -> BaseException | None:
        import trio

        with trio.CancelScope(shield=True):
            self.news = False
            while not self.ended:
                await self.wait()
                self.news = False
        return None

    async def settle_firmly(self) -> None:
        import trio

        self.firm = True
        with trio.CancelScope(shield=True):
            await self.settle()

    def is_cancellation(self, error: BaseException) -> bool:
        import trio

        return isinstance(error, trio.Cancelled)


def _call_of(worker: "Worker", function: Callable[..., Any], args: tuple[Any, ...], label: str) -> _Call:
    # trio first: as a guest it runs inside an asyncio loop.
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return _TrioCall(trio, worker, function, args, label)
    loop = get_running_loop()
    if loop is None:
        raise RuntimeError("a worker is used from a task of asyncio or trio, and none is running here")
    return _AsyncioCall(loop, worker, function, args, label)


# ── Threads ──────────────────────────────────────────────────────────────────────────────────────


class _Here(threading.local):
    """What this thread is to this module."""

    thread: "_Thread | None" = None
    level = 0
    """How many helper loops this thread's own code runs on: 0, except in the threads of helper loops."""


_here = _Here()


class _PipeBell:
    """Wakes a thread by a byte in a pipe.

    PERF(hop): Linux wakes the reader of a pipe on the processor of the writer, which is about to sleep;
    a lock wakes it on another one, out of its sleep and only to wait for the GIL (8 us against 40).
    """

    __slots__ = ("reader", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def ring(self) -> None:
        os.write(self.writer, b".")

    def wait(self) -> None:
        os.read(self.reader, 64)

    def __del__(self) -> None:
        # Not when the thread ends: then someone may be about to ring, and the number may be a new file's.
        os.close(self.reader)
        os.close(self.writer)


class _LockBell:
    """Wakes a thread by a lock, where there are no pipes (left)."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.lock.acquire()

    def ring(self) -> None:
        try:
            self.lock.release()
        except RuntimeError:  # rung already
            pass

    def wait(self) -> None:
        self.lock.acquire()


def _bell() -> _PipeBell | _LockBell:
    if os.name == "posix":
        try:
            return _PipeBell()
        except OSError:  # out of file descriptors
            pass
    return _LockBell()


class _Thread:
    """One thread and its queue. It is started by the first call after it was made or ended."""

    __slots__ = ("asleep", "bell", "calls", "current", "ending", "load", "name", "pool", "thread")

    def __init__(self, pool: "WorkerPool", name: str) -> None:
        self.pool = pool
        self.name = name
        self.bell: _PipeBell | _LockBell | None = None
        self.calls: deque[_Call] = deque()
        self.asleep = False
        self.current: _Call | None = None
        # PERF(hop): a counter that needs no lock: list.append and list.pop are atomic, += is not.
        self.load: list[None] = []
        self.ending = True
        self.thread: threading.Thread | None = None

    # from anywhere

    def put(self, call: _Call) -> None:
        self.load.append(None)
        self.calls.append(call)
        self.wake()

    def wake(self) -> None:
        """Make the thread look at its queues, after something was put there."""
        self.ring()
        # Looked at last: a thread that ends says so before it looks at its queues for the last time.
        if self.thread is None:
            self.start()

    def ring(self) -> None:
        if self.asleep:
            self.asleep = False
            bell = self.bell
            if bell is not None:
                bell.ring()

    def start(self) -> None:
        with self.pool._lock:
            if self.thread is None:
                self.ending = False
                self.bell = _bell()
                self.thread = thread = threading.Thread(target=self.work, name=self.name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system gives no more threads
                    self.thread = None
                    self.calls.clear()
                    self.load.clear()
                    raise

    def end(self) -> threading.Thread | None:
        thread = self.thread
        self.ending = True
        self.ring()
        return thread

    # in the thread

    def work(self) -> None:
        _here.thread = self
        pool = self.pool
        common = pool._common
        load = self.load
        calls = self.calls
        bell = self.bell
        assert bell is not None
        while True:
            call: _Call | None
            if calls:
                call = calls.popleft()
            elif (call := pool._take(self) if common else None) is None:
                self.asleep = True
                if pool._waking is self:
                    pool._waking = None
                # Looked at after everybody can see that we sleep and that we do not wake: they look at
                # that after they put something here.
                if not calls and not common and not self.ending:
                    bell.wait()
                self.asleep = False
                if self.ending and self.has_ended():
                    return
                continue
            if pool._waking is self:
                pool._waking = None
            if common and pool._waking is None:
                # Each thread that gets a call wakes the next one: of many calls that come at once, quick
                # ones are done by the threads that are awake, and slow ones get a thread each.
                pool._wake_one()
            if call.claim.acquire(False):
                if call.queued_at:
                    pool._warn(call)
                call.execute(self)
                load.pop()
                call.end()
            else:
                load.pop()
            # What it refers to is the caller's, and we may sleep for long.
            del call

    def has_ended(self) -> bool:
        with self.pool._lock:
            this, self.thread = self.thread, None
            if self.calls or self.pool._common:
                self.thread = this
                return False
            self.bell = None
            return True


# A quick call may end while the task is still handing it over (see _PipeBell). So many in a row may go by
# before the loop gets a turn: a loop pays 2 us for one, and a function that keeps the GIL delays it by the
# interpreter's switch interval, 5 ms, each time.
_UNBROKEN_CALLS = 4

_pools: "WeakSet[WorkerPool]" = WeakSet()


class WorkerPool:
    """The worker threads of an app.

    Threads are started as they are needed, at most ``size`` of them, and are daemons. A call that waited
    longer than ``wait_warning`` seconds for its thread is reported to the log, at most once a second.

    >>> import asyncio
    >>> pool = WorkerPool(2)
    >>> asyncio.run(pool.pick().run(sum, [1, 2, 3]))
    6
    >>> pool.close()
    """

    def __init__(self, size: int = 40, *, name: str = "microweb", wait_warning: float = 1.0) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one thread, not {size!r}")
        self.size = size
        self.name = name
        self.wait_warning = wait_warning
        self._threads: list[_Thread] = []
        self._recent: _Thread | None = None
        self._common: deque[_Call] = deque()
        self._waking: _Thread | None = None
        self._unbroken = 0
        self._warned_at = float("-inf")
        self._lock = allocate_lock()
        self._grow_lock = allocate_lock()
        _pools.add(self)

    def pick(self) -> "Worker":
        """A seat for one request; it is bound to a thread by its first call."""
        return Worker(self)

    def close(self, timeout: float | None = 5.0) -> None:
        """End the threads and wait for them, at most ``timeout`` seconds; blocks.

        Calls that are queued are still done. A thread that is busy for longer is left behind with a
        warning and ends after its call. The pool can be used again afterwards.
        """
        deadline = None if timeout is None else monotonic() + timeout
        ending = [(thread, thread.end()) for thread in list(self._threads)]
        for worker_thread, thread in ending:
            if thread is None or thread is threading.current_thread():
                continue
            thread.join(None if deadline is None else max(0.0, deadline - monotonic()))
            if thread.is_alive():
                call = worker_thread.current
                _log.warning(
                    "worker thread %s is still busy with %s after %g s; it is left behind",
                    thread.name,
                    (call and call.label) or "a call",
                    timeout,
                )

    def _idle(self) -> _Thread | None:
        """The idle thread that is warmest, or a new one, or None when all are busy."""
        recent = self._recent
        if recent is not None and not recent.load:
            return recent
        for thread in self._threads:
            if not thread.load:
                self._recent = thread
                return thread
        if len(self._threads) >= self.size:
            return None
        with self._grow_lock:
            number = len(self._threads) + 1
            if number > self.size:
                return None
            thread = _Thread(self, f"{self.name}-{number}")
            try:
                thread.start()
            except RuntimeError:
                if number == 1:
                    raise
                return None
            self._recent = thread
            self._threads.append(thread)
            return thread

    def _offer(self, call: _Call) -> None:
        """Give a call to whichever thread is free first."""
        if self._waking is None:
            thread = self._idle()
            if thread is not None:
                call.worker._thread = thread
                self._waking = thread
                thread.put(call)
                if len(thread.load) > 1:
                    # Another loop chose it too, and it may be busy with that call already.
                    self._waking = None
                return
        call.queued_at = monotonic()
        self._common.append(call)
        # Looked at after the call can be seen: a thread that wakes looks in the other order.
        if self._waking is None:
            self._wake_one()
        try:
            oldest = self._common[0]
        except IndexError:
            return
        self._warn(oldest)

    def _is_hogging(self) -> bool:
        """Whether the task that asks should let others run: its last calls ended before it had to wait."""
        self._unbroken += 1
        if self._unbroken < _UNBROKEN_CALLS:
            return False
        self._unbroken = 0
        return True

    def _wake_one(self) -> None:
        """Wake an idle thread, if there is one, for a call that any thread may take."""
        while (thread := self._idle()) is not None:
            self._waking = thread
            thread.wake()
            if not thread.load:
                return
            # It got a call of its own in between, and may not look at the others for long.
            self._waking = None

    def _take(self, thread: _Thread) -> _Call | None:
        """The next call that any thread may take, now bound to this one."""
        while True:
            try:
                call = self._common.popleft()
            except IndexError:
                return None
            with self._lock:
                bound = call.worker._thread
                if bound is None:
                    bound = call.worker._thread = thread
            if bound is thread:
                thread.load.append(None)
                return call
            bound.put(call)

    def _forget(self, call: _Call) -> None:
        """Take a withdrawn call out of the queue it is in."""
        try:
            self._common.remove(call)
        except ValueError:
            thread = call.worker._thread
            if thread is not None:
                try:
                    thread.calls.remove(call)
                except ValueError:  # the thread has it in hand, and passes over it
                    return
                thread.load.pop()

    def _warn(self, call: _Call) -> None:
        """Report a call that waited too long for a thread."""
        now = monotonic()
        waited = now - call.queued_at
        if waited <= self.wait_warning:
            return
        with self._lock:
            if now - self._warned_at < 1.0:
                return
            self._warned_at = now
        _log.warning(
            "%s waited %.1f s for a worker thread: all %d are busy; raise SYNC_THREADS, or make it async",
            call.label or "a call",
            waited,
            self.size,
        )


class Worker:
    """A seat in a pool for one request: all its calls run in the same thread, one after the other.

    Holding one costs nothing and blocks nobody.

    >>> import asyncio, threading
    >>> async def main(pool):
    ...     worker = pool.pick()
    ...     return await worker.run(threading.get_ident) == await worker.run(threading.get_ident)
    >>> asyncio.run(main(WorkerPool()))
    True
    """

    __slots__ = ("_pool", "_thread")

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._thread: _Thread | None = None

    async def run(self, function: Callable[[*Arguments], Value], *args: *Arguments, label: str = "") -> Value:
        """Run ``function(*args)`` in the thread and wait for it.

        It runs in a copy of the caller's context, and the context variables whose value it changed are
        changed here afterwards, also when it raised. (Tokens stay there: what was set in the thread is
        reset in the thread.) What it raises is raised here, ``StopIteration`` as a ``RuntimeError``
        (PEP 479).

        When the caller is cancelled before the thread began, the call is withdrawn; afterwards its end
        is awaited, its result dropped, and then the cancellation goes on. ``label`` names the call in
        warnings.
        """
        call = _call_of(self, function, args, label)
        if call.checkpoints:
            await call.begin()
        self._submit(call)
        result: Value = await call.settle()
        return result

    def _submit(self, call: _Call) -> None:
        thread = self._thread
        if thread is None:
            self._pool._offer(call)
            return
        if thread.load:
            request = _serving.get()
            if request is not None and request.open and request.thread is thread:
                # The thread waits for the very task that calls it: it works while it waits.
                request.inbox.put(call)
                return
            call.queued_at = monotonic()
        self._pool._recent = thread
        thread.put(call)


def current_worker() -> Worker | None:
    """The worker whose call runs in this thread, or None outside of worker threads."""
    thread = _here.thread
    call = thread.current if thread is not None else None
    return None if call is None else call.worker


def call_from_thread(function: Callable[[*Arguments], Awaitable[Value]], *args: *Arguments) -> Value:
    """Run an async function in the task that waits for this worker thread, and return its result.

    It sees the context variables as this thread left them, and what it changes is changed here.

    Raises:
        CallerCancelled: that task was cancelled, or its loop is gone.
        RuntimeError: this is no worker thread.
    """
    thread = _here.thread
    call = thread.current if thread is not None else None
    if thread is None or call is None:
        raise RuntimeError(
            "call_from_thread works in a worker thread while a task waits for it; "
            "here nobody waits (use run_sync to run an async function from synchronous code)"
        )
    request = _Request(function, args, copy_context(), thread)
    call.request = request
    # Looked at after the request can be seen: a task that refuses does both in the other order.
    if call.refusing or not call.wake():
        raise CallerCancelled
    while True:
        try:
            nested = request.inbox.get(timeout=1.0)
        except Empty:
            if call.loop_is_gone():
                raise CallerCancelled from None
            continue
        if nested is None:
            break
        if nested.claim.acquire(False):
            nested.execute(thread)
            nested.end()
        del nested
    _set_variables(request.changes)
    call.before = copy_context()
    if request.error is not None:
        try:
            raise request.error
        finally:
            request.error = None
    result: Value = request.value
    return result


# ── Iterators ────────────────────────────────────────────────────────────────────────────────────

# One trip to the thread brings what the iterator gives within a millisecond: a trip costs some 40 us,
# so a fast generator pays a few per cent for it. 64 KiB is what servers buffer before they ask us to
# wait, 64 items keep the generator from running far ahead of a slow client.
_TRIP_SECONDS = 0.001
_TRIP_ITEMS = 64
_TRIP_BYTES = 65536


class _Iteration(Generic[Value]):
    """A sync iterator, driven in a worker thread and read by a task."""

    __slots__ = (
        "_adopted",
        "_call",
        "_context",
        "_ended",
        "_items",
        "_iterable",
        "_iterator",
        "_label",
        "_seen",
        "_worker",
    )

    def __init__(self, worker: Worker, iterable: Iterable[Value], label: str) -> None:
        self._worker = worker
        self._iterable = iterable
        self._iterator: Iterator[Value] | None = None
        self._label = label
        self._items: deque[Value] = deque()
        self._call: _Call | None = None
        self._ended = False
        # One context for all trips: what a generator sets in one, it may reset by its token in another.
        self._context: Context | None = None
        self._seen = Context()
        self._adopted: dict[ContextVar[Any], Token[Any]] = {}

    def __aiter__(self) -> "_Iteration[Value]":
        return self

    async def __anext__(self) -> Value:
        items = self._items
        while not items:
            call = self._call
            if call is None:
                if self._ended:
                    raise StopAsyncIteration
                call = self._depart(self._pull)
            try:
                await call.settle(items)
            except BaseException:
                self._arrive()
                raise
            if not items:
                self._arrive()
        return items.popleft()

    async def aclose(self) -> None:
        """Stop the iterator and call its ``close()`` in the thread, shielded from cancellation.

        An error that it raised ahead of its reader is dropped, one that ``close()`` raises is not.
        """
        cancellation: BaseException | None = None
        call = self._call
        if call is not None:
            call.refuse()
            cancellation = await call.wait_shielded()
            call.adopt(call.context)
            self._arrive()
        self._items.clear()
        if not self._ended:
            if self._iterator is None and not hasattr(self._iterable, "close"):
                self._ended = True
            else:
                call = self._depart(self._close)
                try:
                    await call.settle_firmly()
                finally:
                    self._arrive()
        if cancellation is not None:
            raise cancellation

    # in the task

    def _depart(self, function: Callable[[], None]) -> _Call:
        self._call = call = _call_of(self._worker, function, (), self._label)
        if self._context is None:
            self._context = call.context
        else:
            news = _changes(copy_context(), self._seen)
            if news:
                self._context.run(_set_variables, news)
            call.context = self._context
            call.before = self._context.copy()
        call.adopted = self._adopted
        self._worker._submit(call)
        return call

    def _arrive(self) -> None:
        self._call = None
        self._seen = copy_context()

    # in the thread

    def _pull(self) -> None:
        thread = _here.thread
        call = thread.current if thread is not None else None
        assert call is not None
        items = self._items
        items_left = _TRIP_ITEMS
        bytes_left = _TRIP_BYTES
        deadline = monotonic() + _TRIP_SECONDS
        try:
            if self._iterator is None:
                self._iterator = iter(self._iterable)
            for item in self._iterator:
                items.append(item)
                items_left -= 1
                if isinstance(item, (bytes, str)):
                    bytes_left -= len(item)
                if items_left <= 0 or bytes_left <= 0 or monotonic() >= deadline or call.refusing:
                    return
                if len(items) == 1:
                    # The task had nothing: it gets this one now, however long the next one takes.
                    call.wake()
        except BaseException:
            self._close()
            raise
        self._close()

    def _close(self) -> None:
        self._ended = True
        iterable, iterator = self._iterable, self._iterator
        self._iterable, self._iterator = (), None
        try:
            if iterator is not None and iterator is not iterable:
                _close(iterator)
        finally:
            _close(iterable)


def _close(iterable: object) -> None:
    close = getattr(iterable, "close", None)
    if close is not None:
        close()


def iterate(worker: Worker, iterable: Iterable[Value], *, label: str = "") -> _Iteration[Value]:
    """Read a sync iterator from a task: it runs in the worker's thread, and its items arrive as produced.

    One trip to the thread brings several items if the iterator gives them without waiting; it runs
    at most 64 items, 64 KiB of text or bytes, or a millisecond ahead of its reader. ``aclose()`` must
    be called when the reader stops early (``contextlib.aclosing``): it waits for the thread and calls
    ``close()`` there. At its end the iterator is closed at once.

    >>> import asyncio
    >>> async def main(worker):
    ...     return [item async for item in iterate(worker, "abc")]
    >>> asyncio.run(main(WorkerPool().pick()))
    ['a', 'b', 'c']
    """
    return _Iteration(worker, iterable, label)


# ── Without a request ────────────────────────────────────────────────────────────────────────────

# Apart from the pools of apps: a file is served also while every view blocks. Disks gain little from
# more threads than this.
_blocking = WorkerPool(8, name="microweb-blocking", wait_warning=float("inf"))


async def run_blocking(function: Callable[[*Arguments], Value], *args: *Arguments) -> Value:
    """Run a short blocking function, such as a read from disk, in one of eight threads kept for that.

    As ``Worker.run``, but each call takes any thread and none waits behind a blocked view.
    """
    return await _blocking.pick().run(function, *args)


class _HelperLoop:
    """A thread with an asyncio loop that runs as long as the process."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.work, name=f"microweb-helper-{level + 1}", daemon=True)
        self.thread.start()

    def work(self) -> None:
        _here.level = self.level + 1
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(1.0)


_helper_loops: list[_HelperLoop] = []
_helper_lock = threading.Lock()


def _stop_helper_loops() -> None:
    while _helper_loops:
        _helper_loops.pop().stop()


def run_sync(function: Callable[[*Arguments], Awaitable[Value]], *args: *Arguments) -> Value:
    """Run an async function from synchronous code, at import time or under a running loop; blocks.

    It runs on an asyncio loop in a helper thread that is kept for the next time, in a copy of the
    caller's context; variables it changed are changed here. What it awaits must not need the loop that
    this call blocks. In a worker thread, ``call_from_thread`` runs it in the request's own task instead.
    """
    # A function on a helper loop may come here again: its loop is blocked then, so it gets another.
    level = _here.level
    with _helper_lock:
        if len(_helper_loops) <= level:
            if not _helper_loops:
                atexit.register(_stop_helper_loops)
            _helper_loops.append(_HelperLoop(level))
        loop = _helper_loops[level].loop
    context = copy_context()
    marker = _library_marker()
    if marker is not None and marker in context:
        context.run(marker.set, None)
    before = context.copy()
    outcome: list[Value] = []
    failure: list[BaseException] = []
    done = threading.Event()
    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        try:
            outcome.append(await function(*args))
        except BaseException as error:  # noqa: BLE001 - SystemExit too must not stop the loop
            failure.append(error)
        finally:
            done.set()

    def start() -> None:
        tasks.append(loop.create_task(main(), context=context))

    loop.call_soon_threadsafe(start)
    try:
        done.wait()
    except BaseException:
        # Ctrl-C in the main thread.
        loop.call_soon_threadsafe(lambda: tasks[0].cancel())
        raise
    _set_variables(_changes(context, before))
    if failure:
        raise failure.pop()
    return outcome[0]


def _forget_threads() -> None:
    # A forked child has none of its parent's threads, and their queues may be locked for ever.
    for pool in list(_pools):
        pool._lock = allocate_lock()
        pool._grow_lock = allocate_lock()
        pool._threads = []
        pool._recent = None
        pool._waking = None
        pool._common.clear()
    global _helper_lock
    _helper_lock = threading.Lock()
    _helper_loops.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
