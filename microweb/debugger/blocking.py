"""The watch on the event loop: tells which coroutine view held it, and where.

A thread asks the loop for a sign of life again and again. When none comes in time, it looks at what the loop's
thread is doing; when one comes at last, it writes one log line. Started with the app's lifespan when ``DEBUG`` is
on, and never otherwise: a loop that is not watched pays nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from types import FrameType
from typing import Any, Self

from microweb.debugger.records import kind_of

__all__ = ["LoopWatch"]

logger = logging.getLogger("microweb")
LONGEST_HOLD = 0.1
"""Seconds that the loop may be held before it is told: what asyncio's own debug mode calls slow."""
PAUSE = 0.02


class LoopWatch:
    """Watches the loop of the thread it is entered in, asyncio's or trio's, until it is left.

    ``walk`` is the function whose frame stands for a request: its variable ``target`` names the view.
    """

    def __init__(self, walk: Callable[..., Any]) -> None:
        self._walk = walk.__code__
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._call_in_loop = find_loop()
        self._loop_thread = threading.get_ident()
        # What runs the loop, the program's own main function perhaps, is below everything and holds nothing.
        self._runners = {(id(frame), frame.f_code) for frame in walk_out(sys._getframe(1))}
        self._thread = threading.Thread(target=self._run, name="microweb loop watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(PAUSE):
            sign = threading.Event()
            asked = monotonic()
            try:
                self._call_in_loop(sign.set)
            except RuntimeError:  # The loop is closed; trio's RunFinishedError is one, too.
                return
            if sign.wait(LONGEST_HOLD):
                continue
            held_by = self._look()
            while not sign.wait(LONGEST_HOLD):
                if self._ended.is_set():
                    return
            if held_by is not None:
                logger.warning(
                    "%s held the event loop for %d ms at %s", held_by[0], (monotonic() - asked) * 1000, held_by[1]
                )

    def _look(self) -> tuple[str, str] | None:
        """Who holds the loop, and where; None if the program has no part in it."""
        inner = walk_out(sys._current_frames().get(self._loop_thread))
        stack = [frame for frame in inner if (id(frame), frame.f_code) not in self._runners]
        own = next((frame for frame in stack if kind_of(frame.f_code.co_filename) == "program"), None)
        if own is None:
            return None
        place = f"{own.f_code.co_filename}:{own.f_lineno} in {own.f_code.co_name}"
        if stack[0] is not own:
            place += f" (which waits for {stack[0].f_code.co_name}, {stack[0].f_code.co_filename}:{stack[0].f_lineno})"
        for frame in stack:
            if frame.f_code is self._walk:
                target = frame.f_locals.get("target")
                plan = getattr(target, "plan", None)
                request = frame.f_locals.get("request")
                if plan is not None:
                    return f"the view {plan.label}", place
                if request is not None:  # A view of a mounted app, for instance.
                    return repr(request), place
        return "a task outside of any view", place


def walk_out(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those it was called from, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def find_loop() -> Callable[[Callable[[], object]], object]:
    """What calls a function in this thread's loop, from any thread."""
    from asyncio import _get_running_loop

    loop = _get_running_loop()
    if loop is not None:
        return loop.call_soon_threadsafe
    from trio.lowlevel import current_trio_token

    return current_trio_token().run_sync_soon
