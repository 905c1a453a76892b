"""The event that says that the app begins to shut down; ``lifespan.py`` sets it, anybody may wait for it."""

from typing import TYPE_CHECKING

from microweb.loops import get_current_loop, post

if TYPE_CHECKING:
    import anyio

    from microweb.loops import Loop

__all__ = ["ShutdownEvent"]


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
