"""The event that says that the app begins to shut down; ``lifespan.py`` sets it, anybody may wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from microweb.farewells import Farewells
from microweb.loops import get_current_loop, post

if TYPE_CHECKING:
    from microweb.loops import Loop

__all__ = ["ShutdownEvent"]


class Waiter(Protocol):
    """What is told of the shutdown."""

    def set(self) -> object:
        """The shutdown begins."""
        ...


class ShutdownEvent:
    """Set when the app begins to shut down, before any exit runs; cleared when it starts again.

    It can be made, read and set without a running loop, from any thread and from a signal handler.

    >>> shutting_down = ShutdownEvent()
    >>> shutting_down.is_set()
    False
    """

    __slots__ = ("_set", "_waiters", "farewells")

    def __init__(self) -> None:
        self._set = False
        self._waiters: set[tuple[Loop, Waiter]] = set()
        self.farewells = Farewells()
        """What is closed a moment after the event is set."""

    def __repr__(self) -> str:
        return f"<ShutdownEvent {'set' if self._set else 'not set'}>"

    def is_set(self) -> bool:
        """Whether the shutdown has begun."""
        return self._set

    def set(self) -> None:
        """Wake everyone who waits, on whichever loop they wait, and begin the farewells."""
        if self._set:
            return
        self._set = True
        for loop, event in tuple(self._waiters):
            try:
                post(loop, event.set)
            except RuntimeError:
                self._waiters.discard((loop, event))  # that loop has ended, and its waiter with it
        self.farewells.begin()

    def clear(self) -> None:
        """Begin anew; whoever waits goes on waiting."""
        self._set = False
        self.farewells.clear()

    async def wait(self) -> None:
        """Return when the shutdown has begun."""
        import anyio

        event, loop = anyio.Event(), get_current_loop()
        self.add(event)
        try:
            if event.is_set():
                await anyio.lowlevel.checkpoint()
            else:
                await event.wait()
        finally:
            # Not `discard`: who waits may be closed when its loop has ended, and no loop is running.
            self._waiters.discard((loop, event))

    def add(self, waiter: Waiter) -> None:
        """Call ``waiter.set()`` on this loop when the shutdown begins, or now if it has; ``discard`` it in time."""
        self._waiters.add((get_current_loop(), waiter))
        if self._set:  # asked after adding: another thread may set it between the two
            waiter.set()

    def discard(self, waiter: Waiter) -> None:
        """Call it no more; on the loop on which it was added."""
        self._waiters.discard((get_current_loop(), waiter))
