"""The start of an app that serves already: a background task is the first to need it, on whatever loop or thread.

An app that no server starts, and that has nothing to enter, serves its requests with no task and no anyio loaded.
``app.py`` notes the loop and calls this for every background task; ``lifespan.py`` does the starting.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import Callable
from typing import Protocol

from microweb.loops import find_current_loop
from microweb.whereabouts import whereabouts

__all__ = ["begin_late"]


class Runtime(Protocol):
    """The start and the stop of an app."""

    @property
    def running(self) -> bool:
        """Whether a start is under way or done."""
        ...

    def begin(self) -> None:
        """Begin a start on the running loop, and do not wait for it."""
        ...


def begin_late(runtime: Runtime, loop: AbstractEventLoop, elsewhere: Callable[[], object]) -> bool:
    """Start an app that has served on ``loop`` first, unless it is started; from any thread.

    False where that cannot be done: then ``elsewhere`` is called where it can, and is to try again. When no loop is
    left that could do it, it is true, and nothing was started: whoever needs that says so.
    """
    if runtime.running:
        return True
    here = _get_running_loop() or find_current_loop()
    has_ended = not loop.is_running()
    if here is loop or (here is not None and has_ended):
        runtime.begin()
        return True
    if has_ended and whereabouts.in_worker:
        from microweb.workers import call_from_thread

        # A task on the loop that is served now waits for this thread.
        call_from_thread(call, elsewhere)
        return False
    if loop.is_closed():
        return True
    loop.call_soon_threadsafe(elsewhere)  # In a copy of this context.
    return False


async def call(function: Callable[[], object]) -> None:
    """Call a function in the task that waits for this thread."""
    function()
