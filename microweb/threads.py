"""The threads of a pool, their queues, and what they do: jobs.

A job is the thread's half of a call; ``calls.py`` has the task's half, and the life of the whole. A thread
knows no event loop: a job that ends, or a request of the thread, wakes whoever waits for it.

Threads, tasks and loops meet without locks on the way of a call. What they share is read and written in
opposite orders on both sides: who waits says so first and then looks for work; who brings work puts it
down first and then looks for somebody who waits. So one of them always sees the other.

Used by ``calls.py``, ``callers.py``, ``workers.py`` and ``iteration.py``; everybody else sees a ``Worker``.
"""

from __future__ import annotations

import logging
import os
import threading
from _thread import LockType, allocate_lock
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar, Token, copy_context
from queue import SimpleQueue
from time import monotonic
from typing import Any
from weakref import WeakSet

from microweb.bells import LockBell, PipeBell, new_bell
from microweb.contextvariables import context_for_thread
from microweb.queuewatch import QueueWatch
from microweb.whereabouts import whereabouts

__all__ = ["CallerCancelled", "Crew", "Job", "Seat", "ThreadRequest", "WorkerThread", "crews", "here"]

_log = logging.getLogger("microweb")


class CallerCancelled(BaseException):
    """The task that waits for this thread was cancelled, or its loop is gone: nobody takes the answer.

    Raised in a worker thread by ``call_from_thread``. Like ``asyncio.CancelledError`` it is no
    ``Exception``: clean up in ``finally`` and let it pass.
    """


class ThreadRequest:
    """What a thread asks of the task that waits for it: run this async function."""

    __slots__ = ("args", "changes", "context", "error", "function", "inbox", "open", "thread", "value")

    def __init__(self, thread: WorkerThread, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        self.thread = thread
        self.function = function
        self.args = args
        self.context = copy_context()
        # Calls to do while the thread waits, and None for the answer.
        self.inbox: SimpleQueue[Job | None] = SimpleQueue()
        self.open = True
        self.changes: list[tuple[ContextVar[Any], Any]] = []
        self.value: Any = None
        self.error: BaseException | None = None

    def answer(self) -> None:
        """Let the thread go on."""
        self.open = False
        self.inbox.put(None)

    def refuse(self) -> None:
        """Let the thread go on with a ``CallerCancelled``."""
        self.error = CallerCancelled()
        self.answer()


class Seat:
    """What a worker knows of its pool: the crew, and the thread that took its first job."""

    __slots__ = ("_crew", "_stays", "_thread")

    _crew: Crew
    _thread: WorkerThread | None
    _stays: bool
    """Whether more jobs may come after the first."""

    def take(self, thread: WorkerThread) -> WorkerThread:
        """Have this and all further jobs done by ``thread``; others take it only when no thread is without a seat."""
        self._thread = thread
        if self._stays:
            thread.seats.append(None)
        return thread

    def leave(self, thread: WorkerThread) -> None:
        """Have further jobs done by whichever thread takes the next one."""
        if self._stays and thread.seats:
            thread.seats.pop()
        self._thread = None

    def __del__(self) -> None:
        if self._stays and self._thread is not None and self._thread.seats:
            self._thread.seats.pop()


class Job(ABC):
    """One function on its way to a thread and back: all of its state, and what the thread does with it."""

    __slots__ = (
        "adopted",
        "args",
        "before",
        "claim",
        "context",
        "crew",
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

    def __init__(self, worker: Seat, function: Callable[..., Any], args: tuple[Any, ...], label: str) -> None:
        self.worker = worker
        self.crew = worker._crew
        self.function = function
        self.args = args
        self.label = label
        self.context = context = context_for_thread()
        # The context as task and thread last agreed on it.
        self.before = context.copy()
        self.claim = allocate_lock()
        self.queued_at = 0.0
        self.firm = False
        self.refusing = False
        self.news = False
        self.ended = False
        self.request: ThreadRequest | None = None
        self.adopted: dict[ContextVar[Any], Token[Any]] | None = None
        self.value: Any = None
        self.error: BaseException | None = None

    def execute(self, thread: WorkerThread) -> None:
        """Run the function, unless the task has withdrawn it."""
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
            del traceback  # It holds this frame, and this frame would hold it.
        thread.current = outer
        # Its seat must be free when its request is over, however long this thread still has the job in hand.
        del self.worker

    def end(self) -> None:
        """Tell the task, which may let go of the job at once."""
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


class Here(threading.local):
    """What the running thread is to this module."""

    thread: WorkerThread | None = None


here = Here()


class WorkerThread:
    """One thread and its queue; it runs from the first call to the next end, any number of times."""

    __slots__ = ("asleep", "bell", "calls", "crew", "current", "ending", "latest", "load", "name", "seats", "thread")

    def __init__(self, crew: Crew, name: str) -> None:
        self.crew = crew
        self.name = name
        self.calls: deque[Job] = deque()
        self.current: Job | None = None
        # How many calls it has, queued and running. PERF(walk.thread): a list, because append and pop are
        # atomic and += is not; a lock would cost more than all the rest here.
        self.load: list[None] = []
        # How many workers have it for their thread, the same way: their next calls will come here, and must not wait
        # behind somebody else's while other threads are free.
        self.seats: list[None] = []
        self.asleep = False
        self.ending = False
        self.bell: PipeBell | LockBell | None = None
        self.thread: threading.Thread | None = None
        # The same, or one that will not look at the queues again and is about to end.
        self.latest: threading.Thread | None = None

    # From anywhere.

    def put(self, call: Job) -> None:
        """Give it a job of its own."""
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
        """Wake it if it sleeps."""
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
            self.bell = new_bell()
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
        """Do jobs until it ends."""
        here.thread = self
        whereabouts.in_worker = True
        crew = self.crew
        bell = self.bell
        assert bell is not None
        calls = self.calls
        common = crew.common
        load = self.load
        while True:
            # Of a call that is done nothing is kept: it is the caller's, and the next may be long in coming.
            call: Job | None
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
        """Say that it ends; False if there is work again."""
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


class Crew:
    """The threads of a pool. Apart from it, so that a pool that nobody refers to ends its threads."""

    def __init__(self, size: int, name: str, wait_warning: float) -> None:
        self.size = size
        self.name = name
        self.wait_warning = wait_warning
        self.watch = QueueWatch(wait_warning)
        self.threads: list[WorkerThread] = []
        self.recent: WorkerThread | None = None
        # First calls of workers, for any thread; filled only while all are busy or one is waking up.
        self.common: deque[Job] = deque()
        # A thread that was woken and will look at the common queue before it does anything else.
        self.waking: WorkerThread | None = None
        # Closed, and not used since then.
        self.ending = False
        self.unbroken = 0
        self.warned_at = float("-inf")
        self.lock: LockType = allocate_lock()
        self.growing: LockType = allocate_lock()

    def find_idle(self) -> WorkerThread | None:
        """The idle thread that is warmest, or a new one, or one that few have for theirs; None when all are busy."""
        recent = self.recent
        if recent is not None and not recent.load and not recent.seats:
            return recent
        shared: WorkerThread | None = None
        for thread in self.threads:
            if not thread.load:
                if not thread.seats:
                    self.recent = thread
                    return thread
                if shared is None or len(thread.seats) < len(shared.seats):
                    shared = thread
        if len(self.threads) >= self.size:
            return shared
        with self.growing:
            number = len(self.threads) + 1
            if number > self.size:
                return shared
            thread = WorkerThread(self, f"{self.name}-{number}")
            try:
                thread.start()
            except RuntimeError:
                if number == 1:
                    raise
                return shared
            self.threads.append(thread)
        self.recent = thread
        return thread

    def offer(self, call: Job) -> None:
        """Give a worker's first call to the thread that is free first."""
        if self.waking is None:
            thread = self.find_idle()
            if thread is not None:
                call.worker.take(thread)
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
        # While there may be more threads, each that wakes takes a call and wakes the next: no call waits for long.
        if len(self.threads) >= self.size:
            self.watch.begin(self.find_oldest, self.warn)

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

    def take(self, thread: WorkerThread) -> Job | None:
        """The first call of the common queue; its worker is bound to ``thread`` from now on."""
        while True:
            try:
                call = self.common.popleft()
            except IndexError:
                return None
            with self.lock:
                bound = call.worker._thread
                if bound is None:
                    bound = call.worker.take(thread)
            if bound is thread:
                thread.load.append(None)
                return call
            bound.put(call)

    def forget(self, call: Job) -> None:
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

    def find_oldest(self) -> Job | None:
        """The call that has waited longest for a thread that is busy."""
        oldest = None
        for queue in (self.common, *(thread.calls for thread in self.threads)):
            try:
                call = queue[0]
            except IndexError:
                continue
            if call.queued_at and (oldest is None or call.queued_at < oldest.queued_at):
                oldest = call
        return oldest

    def warn(self, call: Job) -> None:
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

    def find_ending(self, left_behind: Collection[WorkerThread] = ()) -> tuple[WorkerThread, threading.Thread] | None:
        """A thread that still has to end, other than this one and those that are waited for no more."""
        this = threading.current_thread()
        with self.lock:
            for thread in self.threads:
                if thread in left_behind:
                    continue
                latest = thread.latest
                if latest is not None and latest is not this and thread.ending and latest.is_alive():
                    return thread, latest
        return None


crews: WeakSet[Crew] = WeakSet()


def _forget_threads() -> None:
    # A forked child has none of its parent's threads, and its locks are as somebody else held them.
    for crew in list(crews):
        for thread in crew.threads:
            # The pipe of its bell is shared with the parent.
            thread.thread = thread.latest = thread.bell = thread.current = None
            thread.asleep = False
            thread.calls.clear()
            thread.load.clear()
            thread.seats.clear()
        crew.common.clear()
        crew.recent = crew.waking = None
        crew.lock = allocate_lock()
        crew.growing = allocate_lock()
        crew.watch = QueueWatch(crew.wait_warning)
    here.thread = None
    whereabouts.in_worker = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
