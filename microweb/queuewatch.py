"""Watching the queues of a pool's threads: who says that a call waits too long while it still waits.

A thread of its own, which is there only while calls are queued: it works the same on every loop and with several
of them, and also while the loop itself stands still. Called by ``threads.py``, which knows the queues and the words.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Protocol, TypeVar

__all__ = ["QueueWatch"]

_REPORT_SECONDS = 1.0  # between two reports


class Queued(Protocol):
    """What waits in a queue."""

    queued_at: float


Waiting = TypeVar("Waiting", bound=Queued)


class QueueWatch:
    """Calls ``report`` when the oldest queued call has waited for ``patience`` seconds, then each second.

    >>> watch = QueueWatch(1.0)
    >>> watch.begin(lambda: None, print)
    """

    __slots__ = ("_lock", "_patience", "_watching")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._watching = patience == math.inf
        self._lock = threading.Lock()

    def begin(self, find_oldest: Callable[[], Waiting | None], report: Callable[[Waiting], object]) -> None:
        """Watch, from when something was queued to when ``find_oldest`` finds nothing.

        Costs a look at one attribute while it watches already.
        """
        if self._watching or not self._claim():
            return
        thread = threading.Thread(target=self._watch, args=(find_oldest, report), name="microweb queues", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads, or the interpreter ends
            self._watching = False

    def _claim(self) -> bool:
        with self._lock:
            claimed = not self._watching
            self._watching = True
        return claimed

    def _watch(self, find_oldest: Callable[[], Waiting | None], report: Callable[[Waiting], object]) -> None:
        while True:
            oldest = find_oldest()
            if oldest is None:
                self._watching = False
                # What was queued before that is seen here; what is queued from now on begins to watch anew.
                if find_oldest() is None or not self._claim():
                    return
                continue
            left = oldest.queued_at + self._patience - monotonic()
            if left > 0:
                del oldest  # Of a call that is done nothing is kept.
                sleep(left)
            else:
                report(oldest)
                del oldest
                sleep(_REPORT_SECONDS)
