"""Worker threads: where ``def`` callables run, so that they never block the event loop.

What goes between a task and its thread::

    task                                         thread
    ----                                         ------
    Worker.run         -- call ------------->    function(*args), in a copy of the task's context
      (waits)          <-- request ----------    call_from_thread(async_function, *args)
    async_function()   in the waiting task         (waits)
      (waits again)    -- answer ----------->    goes on
    result or error    <-- end --------------    returns or raises

The life of one call. Its ``claim`` is a lock that exactly one side gets:

    ========== ============================== ==========================================================
    state      event                          next
    ========== ============================== ==========================================================
    queued     the thread takes the claim     running
    queued     the task is cancelled and      withdrawn: the thread passes over it, the cancellation goes
               takes the claim                on at once
    running    the function ends              ended: the task takes over changed context variables, then
                                              the result or the error
    running    the task is cancelled          refusing: it waits for the end, shielded; requests of the
                                              thread raise CallerCancelled; the result is dropped, then
                                              the cancellation goes on
    ========== ============================== ==========================================================

Threads, tasks and loops meet without locks on the way of a call. What they share is read and written in
opposite orders on both sides: who waits says so first and then looks for work; who brings work puts it
down first and then looks for somebody who waits. So one of them always sees the other.

Works on asyncio (any loop) and trio, and imports neither trio nor anyio. It knows neither requests nor
views. Called by endpoints and hooks (``def`` callables), streamed bodies (``iterate``), files
(``run_blocking``) and extensions (``run_sync``).
"""

import asyncio
import atexit
import logging
import os
import sys
import threading
from _thread import LockType, allocate_lock
from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, ContextVar, Token, copy_context
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Generic, TypeVar, TypeVarTuple
from weakref import WeakSet, finalize

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

# How often a thread that waits for a task looks whether the loop is still there.
_LOOP_CHECK_SECONDS = 1.0

_log = logging.getLogger("microweb")


class CallerCancelled(BaseException):
    """The task that waits for this thread was cancelled, or its loop is gone: nobody takes the answer.

    Raised in a worker thread by ``call_from_thread``. Like ``asyncio.CancelledError`` it is no
    ``Exception``: clean up in ``finally`` and let it pass.
    """


# --- Context variables ------------------------------------------------------------------------------

_ignored: set[ContextVar[Any]] = set()
_missing: Any = object()


def ignore_variables(*variables: ContextVar[Any]) -> None:
    """Never copy these context variables back from a thread, where they differ on purpose."""
    _ignored.update(variables)


def _changes(after: Context, before: Context) -> list[tuple[ContextVar[Any], Any]]:
    # By identity: == would call a new list that equals the old one the same, and runs code of the value.
    return [
        (variable, value)
        for variable, value in after.items()
        if before.get(variable, _missing) is not value and variable not in _ignored
    ]


def _set_variables(changes: Iterable[tuple[ContextVar[Any], Any]]) -> None:
    for variable, value in changes:
        variable.set(value)


_library_marker: ContextVar[str | None] | None = None


def _context_for_thread() -> Context:
    """A copy of the current context that does not say that an async library runs here."""
    global _library_marker
    context = copy_context()
    if _library_marker is None:
        sniffio = sys.modules.get("sniffio")
        _library_marker = getattr(sniffio, "current_async_library_cvar", None)
        if _library_marker is None:
            return context
        ignore_variables(_library_marker)
    if _library_marker in context:
        context.run(_library_marker.set, None)
    return context


# --- Calls ------------------------------------------------------------------------------------------


class _Request:
    """What a thread asks of the task that waits for it: run this async function."""

    __slots__ = ("args", "changes", "context", "error", "function", "inbox", "open", "thread", "value")

    def __init__(self, thread: "_Thread", function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        self.thread = thread
        self.function = function
        self.args = args
        self.context = copy_context()
        # Calls to do while the thread waits, and None for the answer.
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
"""The request of a thread that this task is serving, or the task that made this one."""

ignore_variables(_serving)


class _Call(ABC):
    """One function on its way to a thread and back. Subclasses know how a task of their loop waits."""

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

    checkpoints = False
    """Whether each await must see cancellations and let others run, as trio promises of its own."""

    def __init__(self, worker: "Worker", function: Callable[..., Any], args: tuple[Any, ...], label: str) -> None:
        self.worker = worker
        self.function = function
        self.args = args
        self.label = label
        self.context = context = _context_for_thread()
        # The context as task and thread last agreed on it.
        self.before = context.copy()
        self.claim = allocate_lock()
        self.queued_at = 0.0
        self.firm = False
        self.refusing = False
        self.news = False
        self.ended = False
        self.request: _Request | None = None
        self.adopted: dict[ContextVar[Any], Token[Any]] | None = None
        self.value: Any = None
        self.error: BaseException | None = None

    # In the thread.

    def execute(self, thread: "_Thread") -> None:
        if not self.claim.acquire(False):
            return
        outer = thread.current
        thread.current = self
        try:
            self.value = self.context.run(self.function, *self.args)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
            # Without our own frame, which holds this call and so would hold the error.
            traceback = error.__traceback__
            self.error = error.with_traceback(traceback and traceback.tb_next)
        thread.current = outer

    def end(self) -> None:
        self.ended = True
        self.wake()

    @abstractmethod
    def wake(self) -> bool:
        """Make the waiting task look again; False if its loop is gone."""
        ...

    @abstractmethod
    def loop_is_gone(self) -> bool:
        """Whether no task will ever look again."""
        ...

    # In the task.

    async def begin(self) -> None:  # noqa: B027 - nothing to do where calls are no checkpoints
        """Raise a cancellation that has come already; asked only if ``checkpoints``."""

    @abstractmethod
    async def wait(self) -> None:
        """Sleep until there is news, or until cancelled."""
        ...

    @abstractmethod
    async def pause(self) -> None:
        """Let other tasks run."""
        ...

    @abstractmethod
    async def wait_shielded(self) -> BaseException | None:
        """Sleep until the thread has ended, whatever cancellations arrive; returns the last of them."""
        ...

    @abstractmethod
    async def settle_firmly(self) -> None:
        """Settle, shielded from cancellation, and never withdraw."""
        ...

    @abstractmethod
    def is_cancellation(self, error: BaseException) -> bool:
        """Whether the error that left a served function is the cancellation of this task."""
        ...

    async def settle(self, items: Sized = ()) -> Any:
        """Serve the thread until the call has ended, and give its result; or until there are ``items``."""
        has_waited = False
        try:
            while True:
                self.news = False
                if items:
                    return None
                if self.ended:
                    if not has_waited and (self.checkpoints or self.worker._crew.is_hogging()):
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
            # The coroutine is thrown away, with its loop most likely: there is nothing to wait with.
            if not self.withdraw():
                self.refuse()
            raise
        except BaseException:
            if not self.withdraw():
                self.refuse()
                await self.wait_shielded()
                self.adopt(self.context)
                self.value = self.error = None
            raise
        self.adopt(self.context)
        if self.error is not None:
            try:
                raise self.error
            finally:
                # The traceback holds this frame, and this frame the call.
                self.error = None
        return self.value

    async def serve(self, request: _Request) -> None:
        """Run what the thread asks for, in this task."""
        self.adopt(request.context)
        before = copy_context()
        outer = _serving.get()
        _serving.set(request)
        try:
            request.value = await request.function(*request.args)
        except BaseException as error:
            # Not by token: a coroutine that is thrown away may end in another context than it began in.
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
        """Change here what the thread changed in its ``context``."""
        adopted = self.adopted
        for variable, value in _changes(context, self.before):
            token = variable.set(value)
            if not self.ended or adopted is not None:
                # The thread goes on, and may reset the variable to what it was: to nothing, perhaps.
                if adopted is None:
                    adopted = self.adopted = {}
                if token.old_value is Token.MISSING:
                    adopted[variable] = token
        if adopted:
            for variable in [variable for variable in adopted if variable not in context]:
                try:
                    variable.reset(adopted.pop(variable))
                except ValueError:  # an iterator that went on in a task with another context
                    pass

    def withdraw(self) -> bool:
        """Take the call back, unless the thread has begun it."""
        if self.firm or not self.claim.acquire(False):
            return False
        self.ended = True
        self.worker._crew.forget(self)
        return True

    def refuse(self) -> None:
        """Refuse the thread's request, and those it will make."""
        self.refusing = True
        request = self.request
        if request is not None:
            self.request = None
            request.refuse()


def _anyio_shield() -> AbstractContextManager[object]:
    # A cancelled anyio scope cancels its tasks again in each turn of an asyncio loop: without a shield
    # the loop would spin until the thread ends. If nobody loaded anyio, there is no such scope.
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
        return cancellation

    async def settle_firmly(self) -> None:
        self.firm = True
        with _anyio_shield():
            await self.settle()

    def is_cancellation(self, error: BaseException) -> bool:
        if not isinstance(error, CancelledError):
            return False
        # The function may have awaited another task that was cancelled: then this is just its error.
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0


class _TrioCall(_Call):
    __slots__ = ("sleeping", "task", "token", "trio")

    checkpoints = True

    def __init__(
        self, trio: Any, worker: "Worker", function: Callable[..., Any], args: tuple[Any, ...], label: str
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

    async def settle_firmly(self) -> None:
        self.firm = True
        with self.trio.CancelScope(shield=True):
            await self.settle()

    def is_cancellation(self, error: BaseException) -> bool:
        return isinstance(error, self.trio.Cancelled)


def _call_of(worker: "Worker", function: Callable[..., Any], args: tuple[Any, ...], label: str) -> _Call:
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


# --- Threads ----------------------------------------------------------------------------------------


class _Here(threading.local):
    """What the running thread is to this module."""

    thread: "_Thread | None" = None
    level = 0
    """How many helper loops wait for this thread's code: none, unless it is the thread of one."""


_here = _Here()


class _PipeBell:
    """Wakes a thread by a byte in a pipe.

    PERF(walk.thread): Linux wakes the reader of a pipe on the processor of its writer, who is expected to
    sleep soon. The waiter for a lock is woken on an idle processor, and then waits there for the GIL: 8 us
    for a call and its answer became 40.
    """

    __slots__ = ("reader", "writer")

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self.writer = writer

    def ring(self) -> None:
        os.write(self.writer, b".")

    def wait(self) -> None:
        os.read(self.reader, 64)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Not as soon as the thread ends: who is about to ring would write to whatever has the number next.
        close(self.reader)
        close(self.writer)


class _LockBell:
    """Wakes a thread by a lock, when there is no pipe to be had."""

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


def _new_bell() -> _PipeBell | _LockBell:
    try:
        return _PipeBell(*os.pipe())
    except OSError:  # no file descriptors left
        return _LockBell()


class _Thread:
    """One thread and its queue; it runs from the first call to the next end, any number of times."""

    __slots__ = ("asleep", "bell", "calls", "crew", "current", "ending", "latest", "load", "name", "thread")

    def __init__(self, crew: "_Crew", name: str) -> None:
        self.crew = crew
        self.name = name
        self.calls: deque[_Call] = deque()
        self.current: _Call | None = None
        # How many calls it has, queued and running. PERF(walk.thread): a list, because append and pop are
        # atomic and += is not; a lock would cost more than all the rest here.
        self.load: list[None] = []
        self.asleep = False
        self.ending = False
        self.bell: _PipeBell | _LockBell | None = None
        self.thread: threading.Thread | None = None
        # The same, or one that will not look at the queues again and is about to end.
        self.latest: threading.Thread | None = None

    # From anywhere.

    def put(self, call: _Call) -> None:
        self.load.append(None)
        self.calls.append(call)
        self.wake()

    def wake(self) -> None:
        """Make it look at the queues, after something was put there."""
        if self.asleep:
            self.asleep = False
            self.ring()
        # Looked at last: a thread that ends says so, and then looks at the queues once more.
        if self.thread is None:
            self.start()

    def ring(self) -> None:
        bell = self.bell
        if bell is not None:
            bell.ring()

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            RuntimeError: the system gives no more threads.
        """
        with self.crew.lock:
            if self.thread is not None:
                return
            # One that is started while others end, for what they have left, ends as they do.
            self.ending = self.crew.ending
            self.bell = _new_bell()
            thread = threading.Thread(target=self.work, name=self.name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self.bell = None
                self.calls.clear()
                self.load.clear()
                self.crew.waking = None
                raise
            self.thread = self.latest = thread

    def end(self) -> None:
        """Make it end when its queue is empty."""
        self.ending = True
        self.ring()

    # In the thread.

    def work(self) -> None:
        _here.thread = self
        crew = self.crew
        bell = self.bell
        assert bell is not None
        calls = self.calls
        common = crew.common
        load = self.load
        while True:
            # Of a call that is done nothing is kept: it is the caller's, and the next may be long in coming.
            call: _Call | None
            if calls:
                call = calls.popleft()
            elif (call := crew.take(self) if common else None) is None:
                self.asleep = True
                if crew.waking is self:
                    crew.waking = None
                if not calls and not common and not self.ending:
                    bell.wait()
                self.asleep = False
                if self.ending and self.has_ended():
                    return
                continue
            if crew.waking is self:
                crew.waking = None
            if common and crew.waking is None:
                # Each thread that gets a call wakes the next one. When many calls come at once, quick ones
                # are done by the threads that are awake, and slow ones get a thread each.
                crew.wake_one()
            if call.queued_at:
                crew.warn(call)
            call.execute(self)
            load.pop()
            call.end()

    def has_ended(self) -> bool:
        crew = self.crew
        with crew.lock:
            this, self.thread = self.thread, None
            if crew.waking is self:
                crew.waking = None
            if self.calls or crew.common:
                self.thread = this
                return False
            self.bell = None
            return True


# A quick call may end while its task is still handing it over, so that the task need not wait. After so
# many of them in a row it lets others run: that costs 2 us of the loop, and each call that keeps the GIL
# delays the loop by up to 5 ms, the interpreter's switch interval.
_UNBROKEN_CALLS = 4


class _Crew:
    """The threads of a pool. Apart from it, so that a pool that nobody refers to ends its threads."""

    def __init__(self, size: int, name: str, wait_warning: float) -> None:
        self.size = size
        self.name = name
        self.wait_warning = wait_warning
        self.threads: list[_Thread] = []
        self.recent: _Thread | None = None
        # First calls of workers, for any thread; filled only while all are busy or one is waking up.
        self.common: deque[_Call] = deque()
        # A thread that was woken and will look at the common queue before it does anything else.
        self.waking: _Thread | None = None
        # Closed, and not used since then.
        self.ending = False
        self.unbroken = 0
        self.warned_at = float("-inf")
        self.lock: LockType = allocate_lock()
        self.growing: LockType = allocate_lock()

    def find_idle(self) -> _Thread | None:
        """The idle thread that is warmest, or a new one, or None when all are busy."""
        recent = self.recent
        if recent is not None and not recent.load:
            return recent
        for thread in self.threads:
            if not thread.load:
                self.recent = thread
                return thread
        if len(self.threads) >= self.size:
            return None
        with self.growing:
            number = len(self.threads) + 1
            if number > self.size:
                return None
            thread = _Thread(self, f"{self.name}-{number}")
            try:
                thread.start()
            except RuntimeError:
                if number == 1:
                    raise
                return None
            self.threads.append(thread)
        self.recent = thread
        return thread

    def offer(self, call: _Call) -> None:
        """Give a worker's first call to the thread that is free first."""
        request = _serving.get()
        if request is not None and request.open and request.thread.crew is self:
            # That thread waits for this task. If it did not do the call itself, all threads might come to
            # wait for tasks that wait for a thread.
            call.worker._thread = request.thread
            request.inbox.put(call)
            return
        if self.waking is None:
            thread = self.find_idle()
            if thread is not None:
                call.worker._thread = thread
                self.waking = thread
                thread.put(call)
                if len(thread.load) > 1:
                    # Another loop chose it too, and it may be busy with that call already.
                    self.waking = None
                return
        call.queued_at = monotonic()
        self.common.append(call)
        if self.waking is None:
            self.wake_one()
        try:
            oldest = self.common[0]
        except IndexError:
            return
        self.warn(oldest)

    def wake_one(self) -> None:
        """Wake an idle thread, if there is one, for the common queue."""
        while (thread := self.find_idle()) is not None:
            self.waking = thread
            try:
                thread.wake()
            except RuntimeError:  # it had ended; then those that are busy have to do
                return
            if not thread.load:
                return
            # It got a call of its own in between, and may not look at the common queue for long.
            self.waking = None

    def take(self, thread: _Thread) -> _Call | None:
        """The first call of the common queue; its worker is bound to ``thread`` from now on."""
        while True:
            try:
                call = self.common.popleft()
            except IndexError:
                return None
            with self.lock:
                bound = call.worker._thread
                if bound is None:
                    bound = call.worker._thread = thread
            if bound is thread:
                thread.load.append(None)
                return call
            bound.put(call)

    def forget(self, call: _Call) -> None:
        """Take a withdrawn call out of its queue."""
        try:
            self.common.remove(call)
            return
        except ValueError:
            pass
        thread = call.worker._thread
        if thread is not None:
            try:
                thread.calls.remove(call)
            except ValueError:  # the thread has it in hand already, or in a request's inbox
                return
            thread.load.pop()

    def is_hogging(self) -> bool:
        """Whether so many calls ended before their tasks had to wait that the loop needs a turn."""
        self.unbroken += 1
        if self.unbroken < _UNBROKEN_CALLS:
            return False
        self.unbroken = 0
        return True

    def warn(self, call: _Call) -> None:
        """Report a call that waited too long for a thread."""
        now = monotonic()
        waited = now - call.queued_at
        if waited <= self.wait_warning:
            return
        with self.lock:
            if now - self.warned_at < 1.0:
                return
            self.warned_at = now
        _log.warning(
            "%s waited %.1f s for a worker thread; raise SYNC_THREADS (%d), or make what blocks them async",
            call.label or "a call",
            waited,
            self.size,
        )

    def end(self) -> None:
        """Make all threads end when the queues are empty."""
        # While no thread is just being started.
        with self.growing, self.lock:
            self.ending = True
            for thread in self.threads:
                thread.end()

    def find_ending(self) -> tuple[_Thread, threading.Thread] | None:
        """A thread that still has to end, other than this one."""
        this = threading.current_thread()
        with self.lock:
            for thread in self.threads:
                latest = thread.latest
                if latest is not None and latest is not this and thread.ending and latest.is_alive():
                    return thread, latest
        return None


_crews: "WeakSet[_Crew]" = WeakSet()


class WorkerPool:
    """The worker threads of an app: daemons, started as they are needed, at most ``size`` of them.

    A call that had to wait longer than ``wait_warning`` seconds for its thread is reported to the log,
    at most one each second. A pool can be closed and used again any number of times.

    >>> import asyncio
    >>> pool = WorkerPool(2)
    >>> asyncio.run(pool.pick().run(sum, [1, 2, 3]))
    6
    >>> pool.close()
    """

    def __init__(self, size: int = 40, *, name: str = "microweb", wait_warning: float = 1.0) -> None:
        if size < 1:
            raise ValueError(f"a pool has at least one thread, not {size!r}")
        self._crew = crew = _Crew(size, name, wait_warning)
        _crews.add(crew)
        finalize(self, crew.end).atexit = False

    @property
    def size(self) -> int:
        """The greatest number of threads."""
        return self._crew.size

    def pick(self) -> "Worker":
        """A seat for one request. Costs next to nothing: its thread is chosen at its first call."""
        return Worker(self)

    def close(self, timeout: float = 5.0) -> None:
        """End the threads and wait for them, at most ``timeout`` seconds in all; blocks.

        Calls that are queued are done before. A thread that is busy for longer is left behind, with a
        warning, and ends after its call.
        """
        deadline = monotonic() + timeout
        self._crew.end()
        while (ending := self._crew.find_ending()) is not None:
            ours, thread = ending
            thread.join(max(0.0, deadline - monotonic()))
            if thread.is_alive():
                call = ours.current
                label = call.label if call is not None else ""
                _log.warning("%s is still busy with %s and left behind", thread.name, label or "a call")
                return

    async def aclose(self, timeout: float = 5.0) -> None:
        """As ``close``, but other tasks run meanwhile, and threads that need them can end."""
        await run_blocking(self.close, timeout)


class Worker:
    """A seat in a pool for one request: all its calls run in one thread.

    It prefers that thread and reserves nothing: holding a worker costs nothing and blocks nobody.

    >>> import asyncio, threading
    >>> async def main(pool):
    ...     worker = pool.pick()
    ...     return await worker.run(threading.get_ident) == await worker.run(threading.get_ident)
    >>> asyncio.run(main(WorkerPool()))
    True
    """

    __slots__ = ("_crew", "_pool", "_thread")

    def __init__(self, pool: WorkerPool) -> None:
        # Kept, because a pool that nobody refers to ends its threads.
        self._pool = pool
        self._crew = pool._crew
        self._thread: _Thread | None = None

    async def run(self, function: Callable[[*Arguments], Value], *args: *Arguments, label: str = "") -> Value:
        """Run ``function(*args)`` in the thread and wait for it.

        It runs in a copy of the caller's context, and the variables whose value it changed are changed
        here afterwards, also when it raised. Tokens stay there: what the function sets it must reset
        itself. What it raises is raised here, ``StopIteration`` as a ``RuntimeError`` (PEP 479).

        A caller that is cancelled withdraws a call that has not begun; if it has, its end is awaited and
        its result dropped before the cancellation goes on. ``label`` names the call in warnings.
        """
        call = _call_of(self, function, args, label)
        if call.checkpoints:
            await call.begin()
        self._submit(call)
        result: Value = await call.settle()
        return result

    def _submit(self, call: _Call) -> None:
        crew = self._crew
        crew.ending = False
        thread = self._thread
        if thread is None:
            crew.offer(call)
            return
        if thread.load:
            request = _serving.get()
            if request is not None and request.open and request.thread is thread:
                # The thread waits for the very task that calls it. It does the call while it waits.
                request.inbox.put(call)
                return
            call.queued_at = monotonic()
        crew.recent = thread
        thread.put(call)


def current_worker() -> Worker | None:
    """The worker whose call runs in this thread; None outside of worker threads."""
    thread = _here.thread
    call = thread.current if thread is not None else None
    return None if call is None else call.worker


def call_from_thread(function: Callable[[*Arguments], Awaitable[Value]], *args: *Arguments) -> Value:
    """Run an async function in the task that waits for this worker thread; returns its result.

    It sees the context variables as this thread left them, and those it changes are changed here.

    Raises:
        CallerCancelled: that task was cancelled, or its loop is gone.
        RuntimeError: this is no worker thread, so no task waits.
    """
    thread = _here.thread
    call = thread.current if thread is not None else None
    if thread is None or call is None:
        raise RuntimeError(
            "call_from_thread works in a worker thread, where a task waits for the answer; "
            "here none does (run_sync runs an async function from other synchronous code)"
        )
    request = _Request(thread, function, args)
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
    _set_variables(request.changes)
    call.before = copy_context()
    if request.error is not None:
        try:
            raise request.error
        finally:
            request.error = None
    result: Value = request.value
    return result


# --- Iterators --------------------------------------------------------------------------------------

# A trip to the thread brings what the iterator gives within this time and these bounds. The time keeps a
# thread from working unasked; 64 KiB is what uvicorn buffers before it makes us wait; the number keeps a
# generator from running far ahead of its reader.
_TRIP_SECONDS = 0.001
_TRIP_BYTES = 65536
_TRIP_ITEMS = 64


class _Iteration(Generic[Value]):
    """A sync iterator that a worker thread drives and a task reads."""

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
                self._call = None
                raise
            if not items:
                self._call = None
        return items.popleft()

    async def aclose(self) -> None:
        """Stop the iterator and call its ``close()`` in the thread, shielded from cancellation.

        An error that it raised ahead of its reader is dropped; one that ``close()`` raises is not.
        """
        cancellation: BaseException | None = None
        call = self._call
        if call is not None:
            call.refuse()
            cancellation = await call.wait_shielded()
            call.adopt(call.context)
            self._call = None
        self._items.clear()
        if not self._ended:
            if self._iterator is None and not hasattr(self._iterable, "close"):
                self._ended = True
            else:
                call = self._depart(self._close)
                try:
                    await call.settle_firmly()
                finally:
                    self._call = None
        if cancellation is not None:
            raise cancellation

    # In the task.

    def _depart(self, function: Callable[[], None]) -> _Call:
        call = _call_of(self._worker, function, (), self._label)
        now = copy_context()
        context = self._context
        if context is None:
            self._context = call.context
        else:
            # What the reader changed since the last trip; some of it was taken over from the thread.
            for variable, value in _changes(now, self._seen):
                if context.get(variable, _missing) is not value:
                    context.run(variable.set, value)
            call.context = context
            call.before = context.copy()
        self._seen = now
        call.adopted = self._adopted
        self._worker._submit(call)
        self._call = call
        return call

    # In the thread.

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
                if items_left == 0 or bytes_left <= 0 or call.refusing or monotonic() >= deadline:
                    return
                if len(items) == 1:
                    # The reader has nothing: it gets this one now, however long the next one takes.
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
    """Read a sync iterator from a task: it runs in the worker's thread, and its items come as produced.

    A trip to the thread brings several items if they are ready: the iterator runs ahead of its reader by
    at most 64 items, 64 KiB of text or bytes, or a millisecond. At its end it is closed (``close()``, if it
    has that). A reader that stops early must call ``aclose()``, which waits for the thread and closes it
    there.

    >>> import asyncio
    >>> async def main(worker):
    ...     return [item async for item in iterate(worker, "abc")]
    >>> asyncio.run(main(WorkerPool().pick()))
    ['a', 'b', 'c']
    """
    return _Iteration(worker, iterable, label)


# --- Without a request ------------------------------------------------------------------------------

# Not one of an app's pools, so that files are served also while all views block.
_blocking = WorkerPool(8, name="microweb-blocking", wait_warning=float("inf"))


async def run_blocking(function: Callable[[*Arguments], Value], *args: *Arguments) -> Value:
    """Run a short blocking function, such as a read from disk, in one of eight threads kept for those.

    As ``Worker.run``, but each call takes any of them, and none waits behind a view.
    """
    return await _blocking.pick().run(function, *args)


class _HelperLoop:
    """A thread that runs an asyncio loop as long as the process lives."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.started = threading.Event()
        name = f"microweb-helper-{level + 1}"
        self.thread = threading.Thread(target=asyncio.run, args=(self.live(),), name=name, daemon=True)
        self.thread.start()
        self.started.wait()

    async def live(self) -> None:
        _here.level = self.level + 1
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        self.started.set()
        await self.stopping.wait()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(1.0)


_helper_loops: list[_HelperLoop] = []
_helper_lock = allocate_lock()


def _stop_helper_loops() -> None:
    while _helper_loops:
        _helper_loops.pop().stop()


atexit.register(_stop_helper_loops)


def run_sync(function: Callable[[*Arguments], Awaitable[Value]], *args: *Arguments) -> Value:
    """Run an async function from synchronous code, at import time or under a running loop; blocks.

    It runs on an asyncio loop in a helper thread, the same one each time, in a copy of the caller's
    context; variables that it changed are changed here. It must not wait for the loop that this call
    blocks. (In a worker thread, ``call_from_thread`` runs it in the request's own task.)
    """
    # On the thread of a helper loop, that loop waits for us: it cannot be the one.
    level = _here.level
    with _helper_lock:
        if len(_helper_loops) <= level:
            _helper_loops.append(_HelperLoop(level))
        loop = _helper_loops[level].loop
    context = _context_for_thread()
    before = context.copy()
    done = threading.Event()
    values: list[Value] = []
    errors: list[BaseException] = []
    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        try:
            values.append(await function(*args))
        except BaseException as error:  # noqa: BLE001 - it is the caller's, and SystemExit would end the loop
            errors.append(error)
        finally:
            done.set()

    def start() -> None:
        tasks.append(loop.create_task(main(), context=context))

    def cancel() -> None:
        for task in tasks:
            task.cancel()

    try:
        loop.call_soon_threadsafe(start)
        done.wait()
    except BaseException:  # Ctrl-C, in the main thread
        loop.call_soon_threadsafe(cancel)
        raise
    _set_variables(_changes(context, before))
    if errors:
        raise errors.pop()
    return values[0]


# --- After a fork -----------------------------------------------------------------------------------


def _forget_threads() -> None:
    # A forked child has none of its parent's threads, and its locks are as somebody else held them.
    global _helper_lock
    for crew in list(_crews):
        for thread in crew.threads:
            # The pipe of its bell is shared with the parent.
            thread.thread = thread.latest = thread.bell = thread.current = None
            thread.asleep = False
            thread.calls.clear()
            thread.load.clear()
        crew.common.clear()
        crew.recent = crew.waking = None
        crew.lock = allocate_lock()
        crew.growing = allocate_lock()
    _here.thread = None
    _here.level = 0
    _helper_loops.clear()
    _helper_lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
