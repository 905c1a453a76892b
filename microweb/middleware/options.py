"""What is given to a built-in middleware: one thing or a list of them, told from what is neither when it is made.

A mistake there would otherwise be a TypeError of Python's own, or an error page for every request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from microweb import SetupError

__all__ = ["read_list"]


def read_list(given: Any, expected: str, kinds: type | tuple[type, ...] = str) -> list[Any]:
    """A list of ``kinds``; one of them alone is a list of one. ``expected`` begins the message of the error.

    Raises:
        SetupError: it is something else.
    """
    listed = [given] if isinstance(given, kinds) else list(given) if isinstance(given, Iterable) else None
    if listed is None or not all(isinstance(each, kinds) for each in listed):
        raise SetupError(f"{expected}, not {given if listed is None else listed!r}")
    return listed
