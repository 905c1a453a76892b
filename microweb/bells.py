"""Bells: what a worker thread without work sleeps on, and what wakes it. Used by ``threads.py`` only."""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Callable

__all__ = ["LockBell", "PipeBell", "new_bell"]


class PipeBell:
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
        """Wake the thread, now or at its next ``wait``."""
        os.write(self.writer, b".")

    def wait(self) -> None:
        """Sleep until it rings."""
        os.read(self.reader, 64)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Not as soon as the thread ends: who is about to ring would write to whatever has the number next.
        close(self.reader)
        close(self.writer)


class LockBell:
    """Wakes a thread by a lock, when there is no pipe to be had."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.lock.acquire()

    def ring(self) -> None:
        """Wake the thread, now or at its next ``wait``."""
        try:
            self.lock.release()
        except RuntimeError:  # rung already
            pass

    def wait(self) -> None:
        """Sleep until it rings."""
        self.lock.acquire()


def new_bell() -> PipeBell | LockBell:
    """The better of the two that the system gives."""
    try:
        return PipeBell(*os.pipe())
    except OSError:  # no file descriptors left
        return LockBell()
