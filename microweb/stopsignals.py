"""Hearing the signals that stop a server, beside the server.

Servers end the lifespan after their last connection, and a stream without an end has to know before that; and they
wait for the start of the lifespan, which may have no end either. So while a server runs the lifespan, the process's
handlers of SIGTERM and SIGINT are wrapped: the wrapper tells, then calls the handler that was there, which decides
everything else as if it were alone. Loops and servers that have their signals through ``signal.set_wakeup_fd`` get
them all the same.

Nothing is wrapped outside of the main thread, where Python has no handlers, nor where the process had none: the
signal would no longer do what it does by default. Called by ``lifespan.py``.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

__all__ = ["StopSignals"]

Handler = Callable[[int, FrameType | None], object]


class StopSignals:
    """For the time of a ``with`` block, calls ``heard`` at each SIGTERM or SIGINT that somebody else handles.

    >>> with StopSignals(lambda: print("stopping")):
    ...     pass
    """

    def __init__(self, heard: Callable[[], object]) -> None:
        self._heard: Callable[[], object] | None = heard
        self._handlers: dict[int, Handler] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            # Python's own at SIGINT is no server's: it raises KeyboardInterrupt wherever the program is.
            if callable(handler) and handler is not signal.default_int_handler and self._set(number, self._hear):
                self._handlers[number] = handler

    def __exit__(self, *exc_info: object) -> None:
        self._heard = None
        for number, handler in self._handlers.items():
            # One that was set after ours stays, and may go on calling ours, which then only passes on.
            if signal.getsignal(number) == self._hear:
                self._set(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._heard is not None:
            self._heard()
        self._handlers[number](number, frame)

    @staticmethod
    def _set(number: int, handler: Handler) -> bool:
        try:
            signal.signal(number, handler)
        except ValueError:  # Not in the main thread (a coroutine may be collected elsewhere), or the main interpreter.
            return False
        return True
