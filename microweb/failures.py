"""What goes wrong at the start or the stop of an app, and how it is told to people.

Called by the lifespan and what belongs to it. Errors of requests are in ``errors.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LifespanFailed", "as_one", "describe", "name_of"]


class LifespanFailed(Exception):
    """The app, or an app mounted in it, could not start or did not stop cleanly.

    The error behind it is its ``__cause__`` and has been logged already. Each waiter gets an exception
    of its own, so tracebacks do not grow on a shared object.
    """


def describe(error: BaseException) -> str:
    """One line about an error, as ``ValueError: no such host``."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def name_of(thing: object) -> str:
    """What a person calls a function, a lifespan's context manager, or an app."""
    named = getattr(thing, "gen", thing)  # contextlib keeps the generator that knows its function's name
    return getattr(named, "__qualname__", None) or type(named).__qualname__


def as_one(failures: Sequence[BaseException]) -> BaseException:
    """The only failure, or all of them in a group."""
    return failures[0] if len(failures) == 1 else BaseExceptionGroup("several exits failed", failures)
