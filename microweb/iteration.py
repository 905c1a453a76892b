"""Sync iterators that a worker thread drives and a task reads.

An iterator goes to the thread in trips, each of them a call (``calls.py``) that ends when it has brought
enough. Called by streamed bodies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Generic, TypeVar

from microweb.callers import call_of
from microweb.calls import Call, SharedContext
from microweb.threads import here
from microweb.workers import Worker

__all__ = ["iterate"]

Value = TypeVar("Value")

# A trip to the thread brings what the iterator gives within this time and these bounds. The time keeps a
# thread from working unasked; 64 KiB is what uvicorn buffers before it makes us wait; the number keeps a
# generator from running far ahead of its reader.
_TRIP_SECONDS = 0.001
_TRIP_BYTES = 65536
_TRIP_ITEMS = 64


class _Iteration(Generic[Value]):
    """A sync iterator that a worker thread drives and a task reads."""

    __slots__ = (
        "_call",
        "_context",
        "_ended",
        "_is_pulling",
        "_items",
        "_iterable",
        "_iterator",
        "_label",
        "_worker",
    )

    def __init__(self, worker: Worker, iterable: Iterable[Value], label: str) -> None:
        self._worker = worker
        self._iterable = iterable
        self._iterator: Iterator[Value] | None = None
        self._label = label
        self._items: deque[Value] = deque()
        self._call: Call | None = None
        self._ended = False
        self._is_pulling = False
        """Whether the thread is inside of the iterator."""
        self._context = SharedContext()

    def __aiter__(self) -> _Iteration[Value]:
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
            call.error = None  # Its traceback holds frames that hold the call.
            self._call = None
        self._items.clear()
        if self._is_pulling:
            # The thread was left behind at a stop, and nothing can close what it is still in.
            self._ended = True
        if not self._ended:
            if self._iterator is None and not hasattr(self._iterable, "close"):
                self._ended = True
            else:
                call = self._depart(self._close)
                try:
                    await call.settle_firmly()
                finally:
                    self._call = None
        try:
            if cancellation is not None:
                raise cancellation
        finally:
            del cancellation  # Its traceback holds this frame.

    # In the task.

    def _depart(self, function: Callable[[], None]) -> Call:
        call = call_of(self._worker, function, (), self._label)
        self._context.lend(call)
        self._worker._submit(call)
        self._call = call
        return call

    # In the thread.

    def _pull(self) -> None:
        thread = here.thread
        call = thread.current if thread is not None else None
        assert call is not None
        items = self._items
        items_left = _TRIP_ITEMS
        bytes_left = _TRIP_BYTES
        deadline = monotonic() + _TRIP_SECONDS
        self._is_pulling = True
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
        finally:
            self._is_pulling = False
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
    # A generator that runs is in a thread that was left behind at a stop.
    if close is not None and not getattr(iterable, "gi_running", False):
        close()


def iterate(worker: Worker, iterable: Iterable[Value], *, label: str = "") -> _Iteration[Value]:
    """Read a sync iterator from a task: it runs in the worker's thread, and its items come as produced.

    A trip to the thread brings several items if they are ready: the iterator runs ahead of its reader by
    at most 64 items, 64 KiB of text or bytes, or a millisecond. At its end it is closed (``close()``, if it
    has that). A reader that stops early must call ``aclose()``, which waits for the thread and closes it
    there.

    >>> import asyncio
    >>> from microweb.workers import WorkerPool
    >>> async def main(worker):
    ...     return [item async for item in iterate(worker, "abc")]
    >>> asyncio.run(main(WorkerPool().pick()))
    ['a', 'b', 'c']
    """
    return _Iteration(worker, iterable, label)
