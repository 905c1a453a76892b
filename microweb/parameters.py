"""One parameter of a view, hook or dependency that is filled from a request, and what is said when it cannot be.

Made by ``parameterreading.py`` and ``places.py`` at start-up; ``dependencies.py`` asks each for its value in every
request. Documents of the API are written from the same objects.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from microweb.problems import Invalid

__all__ = ["MISSING", "Parameter", "Refused", "refuse_invalid", "refuse_value"]

MISSING: Any = inspect.Parameter.empty

Fill = Callable[[Any], Any]


class Refused(Exception):
    """A parameter that cannot be filled from this request; ``errors`` as in ``InvalidParameters``."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__(errors)
        self.errors = errors


class Parameter:
    """A parameter, and where its value comes from.

    ``place`` is ``path``, ``request``, ``query``, ``header``, ``cookie``, ``form``, ``file``, ``body`` or
    ``depends``; ``alias`` what the value is called there, ``""`` if it is made of all of that place; ``type``
    the annotation without our markers.
    """

    __slots__ = (
        "alias",
        "decode",
        "default",
        "dependency",
        "fill",
        "forbids_unknown",
        "name",
        "place",
        "quick",
        "type",
    )

    def __init__(
        self,
        name: str,
        place: str,
        *,
        alias: str = "",
        type: Any = Any,
        default: Any = MISSING,
        fill: Fill | None = None,
        forbids_unknown: bool = False,
        dependency: Any = None,
    ) -> None:
        self.name = name
        self.place = place
        self.alias = alias
        self.type = type
        self.default = default
        """The value that stands for a missing one; ``inspect.Parameter.empty`` if it must be there."""
        self.fill = fill
        self.decode: Callable[[bytes, int], Any] | None = None
        """Of a parameter that is the whole JSON body: from its bytes and the greatest depth to the value."""
        self.quick: Callable[[bytes], Any] | None = None
        """The same for the body that is right and not too deep, where msgspec alone reads it."""
        self.forbids_unknown = forbids_unknown
        self.dependency = dependency
        """What ``Depends`` names, planned; a ``dependencies.Node``."""

    @property
    def required(self) -> bool:
        """Whether a request without it is refused."""
        return self.default is MISSING

    def __repr__(self) -> str:
        return f"<Parameter {self.name} from {self.place}{f' {self.alias!r}' if self.alias else ''}>"


def refuse_value(place: str, alias: str, reason: str) -> Refused:
    """The refusal of one value."""
    return Refused([{"in": place, "name": alias, "reason": reason}])


def refuse_invalid(place: str, alias: str, invalid: Invalid) -> Refused:
    """The refusal of a value for everything that is wrong inside of it."""
    errors = []
    for path, reason in invalid.problems:
        inside = f"{alias}{path}" if path.startswith("[") or not path or not alias else f"{alias}.{path}"
        errors.append({"in": place, "name": inside, "reason": reason})
    return Refused(errors)
