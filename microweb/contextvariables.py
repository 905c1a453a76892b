"""Context variables on their way between a task and a thread, where code runs in a copy of the task's context.

A copy knows nothing of its original, so what changed in one is found by comparing and set in the other.
Called by calls of worker threads, by iterators that run there, and by helper loops. Not the context of a
request: that is ``context.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextvars import Context, ContextVar, copy_context
from typing import Any

__all__ = ["changed_variables", "context_for_thread", "ignore_variables", "missing", "set_variables"]

_ignored: set[ContextVar[Any]] = set()
missing: Any = object()
"""What a context has for a variable that was never set in it."""


def ignore_variables(*variables: ContextVar[Any]) -> None:
    """Never copy these context variables back from a thread, where they differ on purpose."""
    _ignored.update(variables)


def changed_variables(after: Context, before: Context) -> list[tuple[ContextVar[Any], Any]]:
    """What one context has that the other has not, except for ignored variables."""
    # By identity: == would call a new list that equals the old one the same, and runs code of the value.
    return [
        (variable, value)
        for variable, value in after.items()
        if before.get(variable, missing) is not value and variable not in _ignored
    ]


def set_variables(changes: Iterable[tuple[ContextVar[Any], Any]]) -> None:
    """Set in the current context what changed in another."""
    for variable, value in changes:
        variable.set(value)


_library_marker: ContextVar[str | None] | None = None


def context_for_thread() -> Context:
    """A copy of the current context that does not say that an async library runs here."""
    global _library_marker
    context = copy_context()
    if _library_marker is None:
        sniffio = sys.modules.get("sniffio")
        _library_marker = getattr(sniffio, "current_async_library_cvar", None)
        if _library_marker is None:
            return context
        ignore_variables(_library_marker)
    if _library_marker in context:
        context.run(_library_marker.set, None)
    return context
