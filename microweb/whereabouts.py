"""Where the running code is: in one of our worker threads, or not.

Apart from ``threads.py``, which says so of each thread that it starts: a program without ``def`` callables never loads
the code for threads only to be told no. The proxies and the request ask.
"""

from __future__ import annotations

from _thread import _local

__all__ = ["whereabouts"]


class Whereabouts(_local):
    """What is known of the running thread."""

    in_worker = False
    """Whether it runs ``def`` callables, and a task waits for it."""


whereabouts = Whereabouts()
