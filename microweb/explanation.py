"""What happens to a request, without making one: the object behind ``App.explain`` and ``microweb explain``.

``explain`` builds a table of its own from what is registered so far, asks it as the walk does, and lists
every layer that the request would pass. It calls no view, hook or layer and freezes nothing. The order in
which layers run is decided in ``composition.py``; here it is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import partial
from typing import Any, NamedTuple

from microweb.assembly import Assembly, Placement, Target
from microweb.callables import describe, is_async
from microweb.converters import NO_MATCH
from microweb.errorhandlers import ErrorHandlers, HandlerSet
from microweb.hosts import parse_host
from microweb.misses import error_of
from microweb.quoting import PATH, quote_again, quote_path, unquote
from microweb.registrations import Mount, Registration, Route
from microweb.router import Router
from microweb.routetable import Miss, RouteTable
from microweb.routetree import Rule
from microweb.segments import split_mount, split_path

__all__ = ["ErrorAnswer", "Explanation", "Layer", "NearRule", "explain"]

WEBSOCKET = "WEBSOCKET"
"""Given for a method, it asks for a websocket."""

LOOP, THREAD = "on the loop", "in a thread"


class Layer(NamedTuple):
    """One thing that a request passes; ``runs`` says where, ``owner`` on what it was registered."""

    stage: str
    name: str
    runs: str
    owner: str
    place: str


class ErrorAnswer(NamedTuple):
    """One error handler, and what it answers: a status or the name of an exception class."""

    kind: str
    name: str
    runs: str
    owner: str
    place: str


class NearRule(NamedTuple):
    """A rule that may have been meant; ``reason`` says why it does not answer, if that is known."""

    methods: str
    rule: str
    place: str
    reason: str


class Explanation:
    """What answers a method and a path, and every layer on the way there; ``str()`` of it is for reading.

    ``outcome`` is ``"view"``, ``"websocket"``, ``"mount"``, or what a miss is: ``"not_found"``,
    ``"method_not_allowed"``, ``"options"``, ``"add_slash"``, ``"merge_slashes"``, ``"bad_path"``. ``status``
    and ``location`` are those of a miss. A miss has no ``rule``, but an ``owner`` all the same: the router
    whose hooks and error handlers answer it. ``errors`` are the handlers in the order in which they are
    asked; for a miss that one alone which answers. ``inner`` goes on in a mounted microweb app.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> @app.get("/blog/<int:post>")
    ... async def show(post: int):
    ...     return f"post {post}"
    >>> explanation = app.explain("GET", "/blog/7")
    >>> explanation.outcome, explanation.endpoint, explanation.values
    ('view', 'show', {'post': 7})
    >>> app.explain("GET", "/blog/seven").near[0].reason
    "the converter of 'post' does not take 'seven'"
    """

    def __init__(self, method: str, path: str, host: str | None, owner: str) -> None:
        self.method = method
        self.path = path
        self.host = host
        self.owner = owner
        self.outcome = "view"
        self.status: int | None = None
        self.location: str | None = None
        self.allow: tuple[str, ...] = ()
        self.rule: str | None = None
        self.methods: tuple[str, ...] = ()
        self.endpoint: str | None = None
        self.place: str | None = None
        self.values: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        """What the route sets apart from the others, its time limit for instance."""
        self.layers: list[Layer] = []
        self.errors: list[ErrorAnswer] = []
        self.near: list[NearRule] = []
        self.inner: Explanation | None = None

    def __repr__(self) -> str:
        return f"<Explanation {self.method} {self.path}: {self.outcome} {self.endpoint or self.owner}>"

    def __str__(self) -> str:
        lines = [f"{self.method} {self.path}" + (f"  on {self.host}" if self.host else ""), ""]
        lines += align(self._facts())
        lines += ["", "It passes, in this order:"]
        lines += align((f"{number:>2}", *layer) for number, layer in enumerate(self.layers, 1))
        if self.status is None:
            lines += ["", "An error is answered by the first of these that takes it:"]
            lines += align([*self.errors, ("any other", "the built-in page", "", "", "")])
        elif self.status >= 400:
            lines += ["", "It is answered by" + (":" if self.errors else " the built-in page.")]
            lines += align(self.errors)
        if self.near:
            lines += ["", "Rules near it:"]
            lines += align(self.near)
        text = "\n".join(line.rstrip() for line in lines)
        if self.inner is not None:
            text += "\n\nThe mounted app goes on:\n\n" + "\n".join(
                f"    {line}".rstrip() for line in str(self.inner).splitlines()
            )
        return text

    def _facts(self) -> list[tuple[str, str]]:
        is_bad_method = self.outcome == "method_not_allowed" and self.status == 400
        answer = ANSWERS["bad_method" if is_bad_method else self.outcome]
        facts = [("answer", answer.format(status=self.status, location=self.location))]
        if self.rule is not None:
            facts.append(("rule", f"{self.rule}  {' '.join(self.methods)}".rstrip()))
        if self.endpoint is not None:
            facts.append(("endpoint", self.endpoint))
        if self.place is not None:
            facts.append(("registered", self.place))
        facts.append(("owner", self.owner))
        facts += [("value", f"{name} = {value!r}") for name, value in self.values.items()]
        facts += [(name, repr(value)) for name, value in self.options.items()]
        if self.allow:
            facts.append(("allow", ", ".join(self.allow)))
        return facts


ANSWERS = {
    "view": "a view",
    "websocket": "a websocket view",
    "mount": "a mounted app",
    "not_found": "{status}, no rule matches the path",
    "method_not_allowed": "{status}, the path does not answer to this method",
    "options": "{status}, the automatic answer to OPTIONS",
    "add_slash": "{status} to {location}, the rule ends with a slash",
    "merge_slashes": "{status} to {location}, the path has slashes too many",
    "bad_path": "{status}, the path's escapes are not UTF-8",
    "bad_method": "{status}, the method is not an HTTP token",
}


def align(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines, their columns as wide as they have to be, files as seen from the working directory."""
    table = [tuple(map(shorten, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width) for row in table
    ]


def shorten(cell: str) -> str:
    """A place without the working directory; anything else as it is."""
    return cell.removeprefix(os.path.join(os.getcwd(), ""))  # noqa: PTH109, PTH118 - with the separator


# Asking the table --------------------------------------------------------------------------------


def explain(app: Any, method: str, path: str, host: str | None = None) -> Explanation:
    """Tell what an app does with a method (``WEBSOCKET`` for a websocket) and a path.

    The path may be escaped, as in a URL, and have a query, which decides nothing. ``host`` is that of the
    Host header, for apps that route by it.

    Raises:
        SetupError: the routes cannot be put together.
        ValueError: the path does not begin with a slash, or the host is malformed.
    """
    path = path.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):
        raise ValueError(f"a path begins with a slash, not like {path!r}")
    asked: str | None = None
    if host is not None:
        parsed = parse_host(host)
        if parsed is None:
            raise ValueError(f"{host!r} is no host")
        asked = parsed[0]
    raw_path = quote_again(path, PATH)
    return explain_in(app, method.upper(), unquote(raw_path), raw_path.encode("ascii"), asked)


def explain_in(app: Any, method: str, path: str, raw_path: bytes | None, host: str | None) -> Explanation:
    """The same for a path below where the app is mounted."""
    # A table of its own: the app's is built by nobody but the app, when it starts.
    table: RouteTable[Target, Placement] = Assembly(app).table
    table.freeze(lambda miss: Target(miss.owner, miss=miss))
    if method == WEBSOCKET:
        target, values = table.match_websocket(path, raw_path, host)
    else:
        target, values = table.match(method, path, raw_path, host if table.uses_hosts else None)
    placement = target.placement
    explanation = Explanation(method, path, host, owner_of(placement))
    explanation.values = values or {}
    explanation.layers = [
        Layer("ASGI middleware", name_of(factory), LOOP, "app", "") for factory, _ in app._asgi_middleware
    ]
    if target.miss is not None:
        add_miss(explanation, placement, target.miss, path, raw_path)
        parts, _ = split_path(path, raw_path)
        explanation.near = find_near(table.rules, parts, host)
    elif target.mount is not None:
        add_mount(explanation, placement, find_rule(table, target), target.mount)
        mounted, rest, raw_rest = split_mount(target.depth, path, raw_path)
        if isinstance(target.mount.target, Router):
            explanation.inner = explain_in(target.mount.target, method, rest or "/", raw_rest or None, host)
            innermost = explanation.inner
            while innermost.inner is not None:
                innermost = innermost.inner
            if innermost.location is not None:
                innermost.location = quote_path(mounted) + innermost.location
    else:
        add_view(explanation, placement, find_rule(table, target))
    return explanation


def find_rule(table: RouteTable[Target, Placement], target: Target) -> Rule[Target, Placement]:
    """The rule that a target was added with."""
    return next(rule for rule in table.rules if rule.target is target)


def add_view(explanation: Explanation, placement: Placement, rule: Rule[Target, Placement]) -> None:
    """Fill in a route and the layers around its view."""
    route = rule.target.route
    assert route is not None
    explanation.outcome = "websocket" if route.methods is None else "view"
    explanation.rule = full_rule(rule)
    explanation.methods = methods_of(route)
    explanation.endpoint = rule.target.endpoint
    explanation.place = route.place
    settings = {
        "defaults": dict(route.defaults or {}) or None,
        "timeout": route.timeout,
        "cancel_on_disconnect": route.cancel_on_disconnect,
    }
    explanation.options = {name: value for name, value in settings.items() if value is not None}
    if route.max_content_length is not ...:
        explanation.options["max_content_length"] = route.max_content_length
    view = Layer(
        explanation.outcome if route.methods is not None else "websocket view",
        describe(route.view),
        runs_where(route.view),
        owner_of(placement),
        route.place,
    )
    add_layers(explanation, placement, view, route)
    explanation.errors = list_error_answers(placement)


def add_mount(explanation: Explanation, placement: Placement, rule: Rule[Target, Placement], mount: Mount) -> None:
    """Fill in a mounted app and the layers before it."""
    target = mount.target
    explanation.outcome = "mount"
    explanation.rule = full_rule(rule)
    explanation.place = mount.place
    explanation.options = {"errors": mount.errors} if isinstance(target, Router) else {}
    name = repr(target) if isinstance(target, Router) else describe(target)
    app = Layer("mounted app", name.removesuffix(".__call__"), LOOP, owner_of(placement), mount.place)
    add_layers(explanation, placement, app, None)
    explanation.errors = list_error_answers(placement)


def add_miss(
    explanation: Explanation,
    placement: Placement,
    miss: Miss[Placement],
    path: str,
    raw_path: bytes | None,
) -> None:
    """Fill in what is answered where no route is."""
    explanation.outcome = miss.kind
    explanation.allow = miss.allow
    if miss.kind in ("add_slash", "merge_slashes"):
        explanation.status, explanation.location = 308, miss.location(path, raw_path)
    elif miss.kind == "options":
        explanation.status = 200
    else:
        error = error_of(miss, explanation.method)
        explanation.status = error.status
        if explanation.status != 405:
            explanation.allow = ()  # A method that is no token is a 400.
        handlers, registered = read_error_handlers(placement)
        found = handlers.find(error)
        if found is not None:
            explanation.errors = [registered[found]]
    answer = Layer("answer to a miss", str(explanation.status), LOOP, owner_of(placement), "")
    add_layers(explanation, placement, answer, None)


# The layers --------------------------------------------------------------------------------------


def add_layers(explanation: Explanation, placement: Placement, core: Layer, route: Route | None) -> None:
    """Put middleware, hooks and ``core`` in the order in which a request passes them."""
    is_websocket = explanation.method == WEBSOCKET
    layers = explanation.layers
    if is_websocket and explanation.status is not None:
        layers.append(core)  # nothing is met by a websocket that nobody answers
        return
    kind = "websocket" if is_websocket else "request"
    onion = "websocket_layers" if is_websocket else "layers"
    layers += read(placement, onion, "websocket middleware" if is_websocket else "middleware")
    if route is not None:
        layers += [
            Layer("middleware", name_of(layer), runs_where(layer), "route", route.place) for layer in route.middleware
        ]
        # Called on the loop whatever they are: they change a dict and nothing else.
        layers += [
            step._replace(runs=LOOP) for step in read(placement, "url_value_preprocessors", "url_value_preprocessor")
        ]
    layers += read(placement, f"before_{kind}_hooks", f"before_{kind}")
    if explanation.status is None:
        layers += read_guards(placement, route)
    layers.append(core)
    if not is_websocket:
        layers += read(placement, "after_request_hooks", "after_request")[::-1]
    layers += read(placement, f"teardown_{kind}_hooks", f"teardown_{kind}")[::-1]


def read(placement: Placement, attribute: str, stage: str) -> list[Layer]:
    """What the routers from the app down to a placement registered of one kind."""
    return [
        Layer(stage, name_of(step.function), runs_where(step.function), owner, step.place)
        for owner, router in routers_of(placement)
        for step in getattr(router, attribute)
    ]


def read_guards(placement: Placement, route: Route | None) -> list[Layer]:
    """The ``dependencies=[...]`` of the routers and of the route."""
    given = [
        (depends.function, owner, router.place)
        for owner, router in routers_of(placement)
        for depends in router.dependencies
    ]
    if route is not None:
        given += [(depends.function, "route", route.place) for depends in route.options.get("dependencies", ())]
    return [
        # A class is called on the loop: to make an object is no work.
        Layer("dependency", name_of(call), LOOP if isinstance(call, type) else runs_where(call), owner, place)
        for call, owner, place in given
        if call is not None
    ]


def read_error_handlers(
    placement: Placement,
) -> tuple[ErrorHandlers, Mapping[tuple[Any, str], ErrorAnswer]]:
    """The error handlers as the app asks them, and where each of them was registered."""
    registered: dict[tuple[Any, str], ErrorAnswer] = {}

    def note(kind: str, owner: str, registration: Registration) -> tuple[Any, str]:
        function = registration.function
        # A new one each time, to tell them apart by.
        handler = partial(call_nothing), name_of(function)
        registered[handler] = ErrorAnswer(kind, name_of(function), runs_where(function), owner, registration.place)
        return handler

    chain = [
        HandlerSet(
            {status: note(str(status), owner, found) for status, found in router.status_handlers.items()},
            {kind: note(kind.__name__, owner, found) for kind, found in router.class_handlers.items()},
        )
        for owner, router in reversed(routers_of(placement))
    ]
    return ErrorHandlers(chain, call_nothing), registered


async def call_nothing(request: Any, error: BaseException) -> None:
    """Stand where the app calls an error handler, or reports an error: handlers are only looked up here."""
    raise AssertionError("an explanation called an error handler")


def list_error_answers(placement: Placement) -> list[ErrorAnswer]:
    """All error handlers, in the order in which they are asked."""
    return list(read_error_handlers(placement)[1].values())


def routers_of(placement: Placement) -> list[tuple[str, Router]]:
    """The routers from the app down to a placement, each with its dotted name."""
    found: list[tuple[str, Router]] = []
    here: Placement | None = placement
    while here is not None:
        found.append((owner_of(here), here.router))
        here = here.parent
    return found[::-1]


def owner_of(placement: Placement) -> str:
    """How a placement is called: its dotted name, or ``app``."""
    return placement.name or "app"


def name_of(function: Callable[..., Any]) -> str:
    """The dotted name of a function, or of the class of an object that is called like one."""
    return describe(function).removesuffix(".__call__")


def runs_where(function: Callable[..., Any]) -> str:
    """Where a function is run."""
    return LOOP if is_async(function) else THREAD


def methods_of(route: Route) -> tuple[str, ...]:
    """The methods of a route as they are shown, HEAD among them where GET is."""
    if route.methods is None:
        return (WEBSOCKET,)
    return tuple(sorted(route.methods | ({"HEAD"} if "GET" in route.methods else set())))


def full_rule(rule: Rule[Target, Placement]) -> str:
    """The rule with the prefixes of its routers, and with its host if it has one."""
    host = f"//{rule.host.rule}" if rule.host is not None else ""
    return f"{host}{rule.pattern.rule}{'/...' if rule.kind == 'mount' else ''}"


# Near rules --------------------------------------------------------------------------------------

NEAR = 0.7
"""How alike a rule and a path must be, 1 being equal."""


def find_near(rules: Iterable[Rule[Target, Placement]], parts: list[str], host: str | None) -> list[NearRule]:
    """The three rules that are most like a path, the best first."""
    matcher = SequenceMatcher()
    scored: list[tuple[float, int, NearRule]] = []
    for order, rule in enumerate(rules):
        filled, reason = fill(rule, parts)
        # What goes on below a prefix is like every path; only the prefix is compared.
        is_prefix = rule.kind == "mount" or rule.pattern.tail is not None
        matcher.set_seqs("/".join(filled), "/".join(parts[: len(filled)] if is_prefix else parts))
        if matcher.real_quick_ratio() < NEAR or matcher.quick_ratio() < NEAR:
            continue
        ratio = matcher.ratio()
        if ratio < NEAR:
            continue
        if not reason and rule.host is not None and (host is None or rule.host.match(host) is None):
            reason = f"it is on the host {rule.host.rule}"
        route = rule.target.route
        methods = " ".join(methods_of(route)) if route is not None else "mount"
        scored.append((-ratio, order, NearRule(methods, full_rule(rule), rule.place, reason)))
    return [near for _, _, near in sorted(scored)[:3]]


def fill(rule: Rule[Target, Placement], parts: list[str]) -> tuple[list[str], str]:
    """The segments that a rule would match, its variables filled from ``parts``, and why one of them is not.

    They end where a variable begins that spans segments.
    """
    filled = [""]
    reason = ""
    for index, segment in enumerate(rule.pattern.segments, 1):
        if segment.is_path:
            return filled, reason
        part = parts[index] if index < len(parts) else "?"
        if segment.literal is not None:
            filled.append(segment.literal)
            continue
        filled.append(part)
        if index < len(parts) and not reason and not takes(segment.convert, part):
            name = segment.variables[0].name
            reason = f"the converter of {name!r} does not take {part!r}"
    if rule.pattern.trailing_slash:
        filled.append("")
    return filled, reason


def takes(convert: Callable[[str], Any], part: str) -> bool:
    """Whether a converter takes a segment; one of the program may raise anything."""
    try:
        return convert(part) is not NO_MATCH
    except Exception:  # noqa: BLE001 - a hint is not worth an error
        return False
