"""What a program registers, one object each, with the place in its source: functions, routes, mounts, converters.

Made by ``router.py``, which collects them; read by ``assembly.py`` and what composes after it. The checks of what
may be registered at all are here too.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from microweb.converters import Converter
from microweb.errors import SetupError

if TYPE_CHECKING:
    from types import EllipsisType

__all__ = [
    "Converters",
    "Mount",
    "Registration",
    "Route",
    "check_methods",
    "check_prefix",
    "check_rule",
    "find_place",
    "is_duration",
    "is_token",
]

View = Callable[..., Any]

PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - pathlib would be loaded for this alone


def find_place() -> str:
    """File and line of the program's own code that called into microweb."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class Registration:
    """A function and the place where it was registered."""

    __slots__ = ("function", "place")

    def __init__(self, function: Callable[..., Any], place: str) -> None:
        self.function = function
        self.place = place


class Route:
    """One rule and its view, as registered. The app may hold it at several places, under several names."""

    __slots__ = (
        "cancel_on_disconnect",
        "defaults",
        "host",
        "max_content_length",
        "methods",
        "middleware",
        "name",
        "options",
        "place",
        "rule",
        "source",
        "strict_slashes",
        "timeout",
        "view",
    )

    def __init__(
        self,
        rule: str,
        view: View,
        *,
        name: str,
        methods: frozenset[str] | None,
        place: str,
        defaults: Mapping[str, Any] | None = None,
        strict_slashes: bool | None = None,
        host: str | None = None,
        middleware: Iterable[Callable[..., Any]] = (),
        timeout: float | None = None,
        cancel_on_disconnect: bool | None = None,
        max_content_length: "int | EllipsisType | None" = ...,
        options: Mapping[str, Any] | None = None,
        source: View | None = None,
    ) -> None:
        given: object = defaults
        if given is not None and not isinstance(given, Mapping):
            raise SetupError(f"defaults= is a dict such as {{'page': 1}}, not {given!r} ({place})")
        self.rule = rule
        self.view = view
        self.source = source or view
        """What was registered: the view, or all verbs of the class that it is one of."""
        self.name = name
        self.methods = methods
        """The methods it answers; None for a websocket."""
        self.place = place
        self.defaults = defaults
        self.strict_slashes = strict_slashes
        self.host = host
        self.middleware = tuple(middleware)
        self.timeout = timeout
        self.cancel_on_disconnect = cancel_on_disconnect
        self.max_content_length = max_content_length
        """Bytes; None for no limit, ``...`` for the app's."""
        self.options = options or {}
        """Anything else that was given to ``route``, for extensions to read."""

    def __repr__(self) -> str:
        methods = "WEBSOCKET" if self.methods is None else " ".join(sorted(self.methods))
        return f"<Route {methods} {self.rule} -> {self.name}>"


class Mount:
    """A router or an app under a prefix, as registered."""

    __slots__ = ("errors", "name", "place", "prefix", "target")

    def __init__(
        self, prefix: str, target: Any, name: str | None, errors: Literal["own", "bubble"], place: str
    ) -> None:
        self.prefix = prefix
        self.target = target
        self.name = name
        self.errors = errors
        self.place = place


class Converters(dict[str, type[Converter]]):
    """The converters of a router; a write counts as a registration."""

    def __init__(self, changed: Callable[[str], None], items: Mapping[str, type[Converter]]) -> None:
        super().__init__(items)
        self._changed = changed

    def __setitem__(self, name: str, converter: type[Converter]) -> None:
        self._changed(f"add the converter {name!r}")
        given: object = converter
        if not (isinstance(given, type) and issubclass(given, Converter)):
            raise SetupError(f"a converter is a subclass of Converter, not {converter!r} ({find_place()})")
        super().__setitem__(name, converter)

    def update(self, *mappings: Any, **converters: type[Converter]) -> None:
        """Set each of them, as one by one."""
        for name, converter in dict(*mappings, **converters).items():
            self[name] = converter


def check_rule(rule: object) -> None:
    """Refuse ``@app.get`` without its rule, which would register nothing.

    Raises:
        SetupError: ``rule`` is no text.
    """
    if not isinstance(rule, str):
        raise SetupError(f'a route begins with its rule, @app.get("/hello"), not with {rule!r} ({find_place()})')


def is_duration(value: object) -> bool:
    """Whether ``value`` is a number of seconds, and more than none."""
    return isinstance(value, int | float) and value > 0


def check_prefix(prefix: str) -> str:
    """The prefix without a trailing slash.

    Raises:
        SetupError: it is neither empty nor starts with a slash.
    """
    if prefix and not prefix.startswith("/"):
        raise SetupError(f"a prefix starts with a slash, not {prefix!r} ({find_place()})")
    return prefix.rstrip("/")


def check_methods(methods: Iterable[str]) -> frozenset[str]:
    """The methods in upper case.

    Raises:
        SetupError: there are none, or one is not an HTTP token.
    """
    if isinstance(methods, str):
        raise SetupError(f"methods is a list such as [{methods!r}], not a string ({find_place()})")
    try:
        checked = frozenset(method.upper() for method in methods)
    except (TypeError, AttributeError):
        raise SetupError(f"methods is a list such as ['GET'], not {methods!r} ({find_place()})") from None
    for method in checked:
        if not is_token(method):
            raise SetupError(f"{method!r} is not an HTTP method ({find_place()})")
    if not checked:
        raise SetupError(f"a route needs at least one method ({find_place()})")
    return checked


def is_token(text: str) -> bool:
    """Whether ``text`` is a token of RFC 9110 §5.6.2."""
    return text.isascii() and bool(text) and not text.translate(NO_TOKEN_CHARACTERS)


NO_TOKEN_CHARACTERS = {
    ord(character): None
    for character in "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
}
