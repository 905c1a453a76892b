"""Dependencies that are replaced for a while, for tests mostly. Called by ``App.override``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Override"]


class Override:
    """A replaced dependency, until it is left or ``undo()`` is called; ``changed`` is called each time.

    Of several that replace one dependency the last that is not undone counts: each ends by itself, in any order.
    ``overrides`` has those of each dependency.
    """

    def __init__(
        self,
        overrides: dict[Any, list[Override]],
        dependency: Callable[..., Any],
        replacement: Callable[..., Any],
        changed: Callable[[], object],
    ) -> None:
        self.replacement = replacement
        self._others = overrides.setdefault(dependency, [])
        self._changed = changed
        self._others.append(self)
        changed()

    def undo(self) -> None:
        """Replace the dependency no longer."""
        if self in self._others:
            self._others.remove(self)
            self._changed()

    def __enter__(self) -> Override:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.undo()
