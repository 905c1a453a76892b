"""Arguments read one by one, as Flask-RESTful does it: for programs that come from there.

New code has it shorter and documented in its signature: ``async def get(self, rate: int, name: str = "")`` reads the
same from the query, and a struct reads a body.

``arguments.py`` has the arguments, ``sources.py`` the places that they are read from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microweb import Request, SyncRequest, request
from microweb.ext.rest.arguments import Argument, Invalid
from microweb.ext.rest.problems import abort
from microweb.ext.rest.sources import ManyValues, Values, collect, collect_async

__all__ = ["Argument", "Namespace", "RequestParser"]


class Namespace(dict[str, Any]):
    """The values that were found, by name, as items and as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no argument {name!r} was parsed; there are {', '.join(self) or 'none'}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class RequestParser:
    """Reads the arguments that were added to it from the current request.

    ``trim`` strips the texts of all arguments; ``bundle_errors`` answers all that is wrong at once, not the first
    thing. In a ``def`` method ``parse_args()`` gives the values, in an ``async def`` one ``await parse_args_async()``.

    >>> from microweb.ext.rest import Resource, reqparse
    >>> parser = reqparse.RequestParser()
    >>> parser = parser.add_argument("rate", type=int, required=True, help="Rate to charge")
    >>> class Charge(Resource):
    ...     async def post(self):
    ...         args = await parser.parse_args_async()
    ...         return {"rate": args.rate}
    """

    def __init__(
        self,
        argument_class: type[Argument] = Argument,
        namespace_class: type[Namespace] = Namespace,
        trim: bool = False,
        bundle_errors: bool = False,
    ) -> None:
        self.args: list[Argument] = []
        self.argument_class = argument_class
        self.namespace_class = namespace_class
        self.trim = trim
        self.bundle_errors = bundle_errors

    def add_argument(self, name: str | Argument, *args: Any, **options: Any) -> RequestParser:
        """Add an argument, or make one of what ``Argument`` takes; gives the parser.

        Raises:
            SetupError: there is no such action.
        """
        if isinstance(name, Argument):
            argument = name
        else:
            argument = self.argument_class(name, *args, **{**({"trim": True} if self.trim else {}), **options})
        self.args.append(argument)
        return self

    def replace_argument(self, name: str, *args: Any, **options: Any) -> RequestParser:
        """Put another argument in the place of the one called ``name``."""
        position = next((at for at, argument in enumerate(self.args) if argument.name == name), None)
        self.add_argument(name, *args, **options)
        if position is not None:
            self.args[position] = self.args.pop()
        return self

    def remove_argument(self, name: str) -> RequestParser:
        """Take the argument called ``name`` out."""
        self.args = [argument for argument in self.args if argument.name != name]
        return self

    def copy(self) -> RequestParser:
        """A parser of its own with the same arguments."""
        copied = type(self)(self.argument_class, self.namespace_class, self.trim, self.bundle_errors)
        copied.args = [*self.args]
        return copied

    def parse_args(
        self, req: SyncRequest | Mapping[str, Any] | None = None, strict: bool = False, http_error_code: int = 400
    ) -> Namespace:
        """The values, in a ``def`` method. ``req`` may be an earlier result, whose values are then the locations.

        ``strict`` refuses names that no argument has.

        Raises:
            HTTPException: (400) a required argument is missing, a value is refused, or a body is malformed.
            TypeError: it is called in coroutine code.
        """
        if isinstance(req, Mapping):
            return self._parse_nested(req, strict, http_error_code)
        current: Any = req if req is not None else request
        # The face of a request of the program's own class is both.
        if not isinstance(current, SyncRequest) and isinstance(current, Request):
            raise TypeError("parse_args() reads the body in a thread; in an async def write `await parse_args_async()`")
        return self._parse(collect(current, self._find_locations()), strict, http_error_code)

    async def parse_args_async(
        self, req: Request | Mapping[str, Any] | None = None, strict: bool = False, http_error_code: int = 400
    ) -> Namespace:
        """The values, in an ``async def`` method; otherwise as ``parse_args``.

        Raises:
            HTTPException: (400) a required argument is missing, a value is refused, or a body is malformed.
        """
        if isinstance(req, Mapping):
            return self._parse_nested(req, strict, http_error_code)
        current = req if req is not None else request
        return self._parse(await collect_async(current, self._find_locations()), strict, http_error_code)

    # Inside ------------------------------------------------------------------------------------

    def _find_locations(self) -> set[str]:
        for argument in self.args:
            argument.check_locations(nested=False)
        return {location for argument in self.args for location in argument.locations}

    def _parse_nested(self, result: Mapping[str, Any], strict: bool, status: int) -> Namespace:
        sources: dict[str, Values] = {}
        for argument in self.args:
            for location in argument.locations:
                inner = result.get(location)
                if isinstance(inner, Mapping):
                    sources[location] = {
                        name: [ManyValues(value) if isinstance(value, list) else value] for name, value in inner.items()
                    }
        return self._parse(sources, strict, status)

    def _parse(self, sources: dict[str, Values], strict: bool, status: int) -> Namespace:
        found = self.namespace_class()
        problems: dict[str, str] = {}
        used: set[str] = set()
        for argument in self.args:
            try:
                value, names = argument.parse(sources)
            except Invalid as invalid:
                problems[argument.name] = str(invalid)
                if not self.bundle_errors:
                    break
                continue
            used |= names
            if names or value is not None or argument.store_missing:
                found[argument.dest] = value
        if problems:
            abort(status, message=problems)
        if strict:
            self._refuse_unknown(sources, used, status)
        return found

    def _refuse_unknown(self, sources: dict[str, Values], used: set[str], status: int) -> None:
        """Refuse names of the query and the body that no argument has; headers and cookies are always more.

        Raises:
            HTTPException: there are some.
        """
        parts = [values for location, values in sources.items() if location not in ("headers", "cookies", "view_args")]
        unknown = sorted({name for values in parts for name in values} - used)
        if unknown:
            abort(status, message=f"Unknown arguments: {', '.join(unknown)[:200]}")
