"""Helper loops: asyncio loops in threads of their own, for synchronous code that has an async function to run.

Not for worker threads, whose requests have a loop already: those have ``call_from_thread``. Called by the
command line and by extensions (``run_sync``).
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from _thread import allocate_lock
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

from microweb.contextvariables import changed_variables, context_for_thread, set_variables

__all__ = ["run_sync"]

Value = TypeVar("Value")
Arguments = TypeVarTuple("Arguments")


class _Here(threading.local):
    level = 0
    """How many helper loops wait for this thread's code: none, unless it is the thread of one."""


_here = _Here()


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
    context = context_for_thread()
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
    set_variables(changed_variables(context, before))
    if errors:
        raise errors.pop()
    return values[0]


def _forget_helper_loops() -> None:
    # A forked child has none of its parent's threads, and its locks are as somebody else held them.
    global _helper_lock
    _here.level = 0
    _helper_loops.clear()
    _helper_lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helper_loops)
