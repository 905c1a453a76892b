"""``Argument``: one name that a ``RequestParser`` looks for, and what its values have to be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable
from typing import Any

from microweb import HTTPException, SetupError, SyncUploadFile, UploadFile
from microweb.ext.rest.sources import LOCATIONS, ManyValues, Values, merge

__all__ = ["Argument", "Invalid"]

WHERE = {
    "args": "the query string",
    "cookies": "the cookies",
    "files": "the uploaded files",
    "form": "the post body",
    "headers": "the HTTP headers",
    "json": "the JSON body",
    "values": "the post body or the query string",
    "view_args": "the path",
}
REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What a type raises for a value that is none of it; anything else is a mistake in the type."""


class Invalid(Exception):
    """The values of one argument are refused; the text says why."""


class Argument:
    """One argument: its name, place and type.

    ``location`` is one of ``args form json headers cookies files values``, or several. ``action`` is ``store`` (the
    first value), ``append`` (a list of all) or ``split`` (one text, at its commas). ``type`` is called with the value,
    and if it is a function that takes more, with the name; what it raises is the reason for a 400, which ``help``
    replaces or, with ``{error_msg}`` in it, surrounds. ``operators`` are ends of the name, as in ``price>=``.

    Raises:
        SetupError: there is no such location or action.
    """

    def __init__(
        self,
        name: str,
        default: Any = None,
        dest: str | None = None,
        required: bool = False,
        ignore: bool = False,
        type: Callable[..., Any] = str,
        location: str | Iterable[str] = ("json", "values"),
        choices: Container[Any] = (),
        action: str = "store",
        help: str | None = None,
        operators: Iterable[str] = ("=",),
        case_sensitive: bool = True,
        store_missing: bool = True,
        trim: bool = False,
        nullable: bool = True,
    ) -> None:
        self.name = name
        self.default = default
        self.dest = dest or name
        self.required = required
        self.ignore = ignore
        self.type = type
        self.locations = (location,) if isinstance(location, str) else tuple(location)
        self.choices = choices
        self.action = action
        self.help = help
        self.operators = tuple(operators)
        self.case_sensitive = case_sensitive
        self.store_missing = store_missing
        self.trim = trim
        self.nullable = nullable
        self._arity = count_parameters(type)
        if action not in ("store", "append", "split"):
            raise SetupError(f"the action of the argument {name!r} is store, append or split, not {action!r}")

    def check_locations(self, *, nested: bool) -> None:
        """Refuse a location that no request has; with ``nested`` any name is one, of an earlier result.

        Raises:
            SetupError: it is none.
        """
        for location in self.locations:
            if not nested and location not in LOCATIONS:
                raise SetupError(
                    f"the location of the argument {self.name!r} is one of {', '.join(LOCATIONS)}, not {location!r}"
                )

    def parse(self, sources: dict[str, Values]) -> tuple[Any, set[str]]:
        """The argument's value, and the names in the request that it used.

        Raises:
            Invalid: it is missing and required, or a value is refused.
        """
        used: set[str] = set()
        results: list[Any] = []
        source = merge(sources.get(location, {}) for location in self.locations)
        for name, operator in self._names():
            if name in source:
                used.add(name)
                results.extend(self._convert_all(source[name], operator))
        if not results and self.required and not (used and self.action == "append"):
            places = " or ".join(WHERE.get(location, location) for location in self.locations)
            raise Invalid(self._explain(f"Missing required parameter in {places}"))
        if not results and self.action == "append" and used:
            return [], used
        if not results:
            return (self.default() if callable(self.default) else self.default), used
        return (results if self.action == "append" else results[0]), used

    def _names(self) -> list[tuple[str, str]]:
        """Each name to look for, with its operator; headers have lower case here."""
        names = {
            "headers": [self.name.lower()],
            "mixed": [self.name, *([self.name.lower()] if self.name != self.name.lower() else [])],
        }
        kind = "headers" if self.locations == ("headers",) else "mixed" if "headers" in self.locations else ""
        return [
            (name + operator.replace("=", "", 1), operator)
            for name in names.get(kind, [self.name])
            for operator in self.operators
        ]

    def _convert_all(self, values: list[Any], operator: str) -> list[Any]:
        converted = []
        for value in self._spread(values):
            try:
                converted.append(self._convert_one(value, operator))
            except HTTPException:
                raise
            except REFUSALS as error:
                if not self.ignore:
                    raise Invalid(self._explain(str(error)[:200])) from None
        return converted

    def _spread(self, values: list[Any]) -> list[Any]:
        """The values, with the items of a JSON list in its place."""
        if self.type is list and self.action != "append":
            return values
        return [item for value in values for item in (value if isinstance(value, ManyValues) else [value])]

    def _convert_one(self, value: Any, operator: str) -> Any:
        if self.action == "split":
            if not isinstance(value, str):
                raise ValueError("expected a text with commas")
            return [self._convert(part, operator) for part in value.split(",")]
        return self._convert(value, operator)

    def _convert(self, value: Any, operator: str) -> Any:
        if self.trim and isinstance(value, str):
            value = value.strip()
        if not self.case_sensitive and isinstance(value, str):
            value = value.lower()
        converted = self._make(value, operator)
        if self.choices != () and converted not in self.choices and value is not None:
            raise ValueError(f"{str(value)[:100]} is not a valid choice")
        return converted

    def _make(self, value: Any, operator: str) -> Any:
        if value is None:
            if self.nullable:
                return None
            raise ValueError("Must not be null!")
        if isinstance(value, UploadFile | SyncUploadFile) and inspect.isclass(self.type):
            return value
        if self.type in (list, dict):
            if not isinstance(value, self.type):
                raise ValueError(f"expected a {'list' if self.type is list else 'JSON object'}")
            return list(value) if self.type is list else value
        if self.type is str and isinstance(value, list | dict):
            raise ValueError("expected a text")
        return self.type(*(value, self.name, operator)[: self._arity])

    def _explain(self, reason: str) -> str:
        if not self.help:
            return reason
        return self.help.replace("{error_msg}", reason)

    def __repr__(self) -> str:
        return f"<Argument {self.name} from {' '.join(self.locations)}>"


def count_parameters(kind: Callable[..., Any]) -> int:
    """How many of value, name and operator a type is called with: of a class only the value."""
    if inspect.isclass(kind):
        return 1
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return 1
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 3
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return max(1, min(3, sum(parameter.kind in positional for parameter in parameters)))
