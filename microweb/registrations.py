"""What a program registers, one object each, with the place in its source: functions, routes, mounts, converters.

Made by ``router.py``, which collects them; read by ``assembly.py`` and what composes after it. The checks of what
may be registered at all are here too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from microweb.converters import Converter
from microweb.errors import SetupError
from microweb.markers import Depends

if TYPE_CHECKING:
    from types import EllipsisType

__all__ = [
    "Converters",
    "Mount",
    "Registration",
    "Route",
    "RouteOptions",
    "WebSocketOptions",
    "add_marked_methods",
    "check_dependencies",
    "check_host",
    "check_methods",
    "check_options",
    "check_prefix",
    "check_rule",
    "find_place",
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


class WebSocketOptions(TypedDict, total=False):
    """What may be said of one websocket route."""

    endpoint: str | None
    defaults: Mapping[str, Any] | None
    strict_slashes: bool | None
    host: str | None
    middleware: Iterable[Callable[..., Any]]
    timeout: float | None
    dependencies: Iterable[Depends]
    forbid_unknown: bool
    json_max_depth: int
    max_header_size: int
    max_headers_size: int
    max_query_parameters: int
    websocket_max_message: int | None


class RouteOptions(WebSocketOptions, total=False):
    """What may be said of one route, beside its methods. The sizes are the config keys of these names."""

    cancel_on_disconnect: bool | None
    max_content_length: int | EllipsisType | None
    openapi: object
    """False, or what ``describe(...)`` gives."""
    body_timeout: float | None
    decode_request_bodies: bool
    max_boundary_size: int
    max_form_files: int | None
    max_form_memory_size: int | None
    max_form_parts: int | None
    max_part_header_size: int
    max_part_headers: int
    upload_spool_size: int


REFUSED_OPTIONS = {
    "alias": "a view that returns redirect(...)",
    "build_only": "a route with a view",
    "subdomain": 'host="<tenant>.example.org" or host="api.example.org"',
    "provide_automatic_options": 'methods=["OPTIONS", ...] to answer OPTIONS in the view',
    "include_in_schema": "openapi=False",
    "redirect_to": "a view that returns redirect(...)",
    "response_class": "a view that returns a response of that class",
    "response_model": "a return annotation, which filters what leaves",
    "status_code": "a view that returns (body, status)",
    "websocket": "@app.websocket(...)",
    "view_func": "add_route(rule, view)",
}
"""Options that Flask or FastAPI know: passed over in silence they would change what a route answers to, or with."""

OWN_OPTIONS = (
    "cancel_on_disconnect",
    "defaults",
    "host",
    "max_content_length",
    "middleware",
    "strict_slashes",
    "timeout",
)
"""Those that are attributes of a ``Route``; the others are in its ``options``, with those that extensions read."""

SWITCHES = ("cancel_on_disconnect", "forbid_unknown", "strict_slashes")


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
        max_content_length: int | EllipsisType | None = ...,
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

    if not TYPE_CHECKING:  # As with the config, dict's own signature of |= fits.

        def __ior__(self, other):
            self.update(other)
            return self


def check_rule(rule: object) -> None:
    """Refuse ``@app.get`` without its rule, which would register nothing.

    Raises:
        SetupError: ``rule`` is no text.
    """
    if not isinstance(rule, str):
        raise SetupError(f'a route begins with its rule, @app.get("/hello"), not with {rule!r} ({find_place()})')


def is_duration(value: object) -> bool:
    """Whether ``value`` is a number of seconds, and more than none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def check_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a route: those that are attributes of it, and the others.

    Raises:
        SetupError: one is misspelled, is Flask's alone, or may not hold what it does.
    """
    for option in options.keys() - RouteOptions.__annotations__.keys():
        instead = REFUSED_OPTIONS.get(option) or find_meant(option)
        if instead is not None:
            raise SetupError(f"routes have no {option}=, use {instead} ({find_place()})")
    for option in SWITCHES:
        if options.get(option) not in (None, True, False):
            raise SetupError(f"{option}= is True or False, not {options[option]!r} ({find_place()})")
    middleware, timeout = options.get("middleware", ()), options.get("timeout")
    if callable(middleware) or not isinstance(middleware, Iterable):
        raise SetupError(f"middleware= is a list of functions, not {middleware!r} ({find_place()})")
    if timeout is not None and not is_duration(timeout):
        raise SetupError(f"timeout= is a number of seconds, more than 0, not {timeout!r} ({find_place()})")
    check_host(options.get("host"))
    own = {name: value for name, value in options.items() if name in OWN_OPTIONS}
    others = {name: value for name, value in options.items() if name not in OWN_OPTIONS}
    if "dependencies" in others:
        others["dependencies"] = check_dependencies(others["dependencies"])
    return own, others


def find_meant(option: str) -> str | None:
    """The option that a misspelled one was meant to be; None for one that an extension may read."""
    from difflib import get_close_matches

    from microweb.limits import DEFAULTS

    if option.upper() in DEFAULTS:
        return f"{option.upper()} in the config: it holds for the whole app"
    # SECURITY: test_a_misspelled_option_is_refused_for_it_may_have_been_a_guard
    meant = get_close_matches(option, [*RouteOptions.__annotations__, "methods"], n=1, cutoff=0.8)
    return f"{meant[0]}=" if meant else None


def check_host(host: str | None) -> str | None:
    """The host that a route or a router is bound to.

    Raises:
        SetupError: it is no text.
    """
    given: object = host
    if given is not None and not isinstance(given, str):
        raise SetupError(f"host= is a host such as 'api.example.org', not {host!r} ({find_place()})")
    return host


def check_prefix(prefix: str) -> str:
    """The prefix, with one slash at its end if it has any: a router's ``route("")`` is there, as in Flask.

    Raises:
        SetupError: it is neither empty nor starts with a slash.
    """
    given: object = prefix
    if not isinstance(given, str) or (given and not given.startswith("/")):
        raise SetupError(f"a prefix starts with a slash, not {prefix!r} ({find_place()})")
    bare = prefix.rstrip("/")
    return f"{bare}/" if bare and prefix != bare else bare


def check_dependencies(dependencies: Iterable[Depends]) -> tuple[Depends, ...]:
    """What stands in ``dependencies=``, kept: an iterator would guard only what is composed first.

    Raises:
        SetupError: it is no list.
    """
    # SECURITY: test_dependencies_from_an_iterator_guard_every_request
    try:
        return tuple(dependencies)
    except TypeError:
        raise SetupError(
            f"dependencies= is a list such as [Depends(log_in)], not {dependencies!r} ({find_place()})"
        ) from None


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


def add_marked_methods(view: object, methods: frozenset[str]) -> frozenset[str]:
    """``methods``, and those that a decorator written for Flask asks for on the view, as ``required_methods``.

    Raises:
        SetupError: the view is marked not to have its OPTIONS answered, and does not answer them itself.
    """
    required = getattr(view, "required_methods", None)
    methods = methods | check_methods(required) if required else methods
    marked = getattr(view, "view_class", view)
    answers_itself = "OPTIONS" in methods or "OPTIONS" in (getattr(marked, "methods", None) or ())
    if getattr(marked, "provide_automatic_options", None) is False and not answers_itself:
        instead = REFUSED_OPTIONS["provide_automatic_options"]
        raise SetupError(f"views have no provide_automatic_options = False, use {instead} ({find_place()})")
    return methods


def is_token(text: str) -> bool:
    """Whether ``text`` is a token of RFC 9110 §5.6.2."""
    return text.isascii() and bool(text) and not text.translate(NO_TOKEN_CHARACTERS)


NO_TOKEN_CHARACTERS = {
    ord(character): None
    for character in "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
}
