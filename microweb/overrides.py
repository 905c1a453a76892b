"""Dependencies that are replaced for a while, for tests mostly. Called by ``App.override``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Override"]


class Override:
    """A replaced dependency; leaving it, or ``undo()``, puts the original back. ``changed`` is called each time."""

    def __init__(
        self,
        overrides: dict[Any, Any],
        dependency: Callable[..., Any],
        replacement: Callable[..., Any],
        changed: Callable[[], object],
    ) -> None:
        self._overrides = overrides
        self._dependency = dependency
        self._before = overrides.get(dependency)
        self._changed = changed
        overrides[dependency] = replacement
        changed()

    def undo(self) -> None:
        """Put back what stood there before."""
        if self._before is None:
            self._overrides.pop(self._dependency, None)
        else:
            self._overrides[self._dependency] = self._before
        self._changed()

    def __enter__(self) -> Override:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.undo()
