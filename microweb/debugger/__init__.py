"""What helps while a program is written: the page of an unhandled error with a console, and the watch on the loop.

A door of its own: the app opens it when it is composed with ``debug=True`` and imports nothing of it otherwise.
``records.py`` takes an error apart, ``page.py`` shows it, ``access.py`` says who may use a console, ``console.py``
is the ``Debugger`` that holds them together, and ``blocking.py`` tells of views that hold the event loop.
"""

from __future__ import annotations

from microweb.debugger.blocking import LoopWatch
from microweb.debugger.console import Debugger

__all__ = ["Debugger", "LoopWatch"]
