"""What a function needs, and what those need that it depends on: a list of nodes, in the order of their calls.

``DependencyReader`` makes the list at start-up, and finds every mistake in it; a ``Node`` knows what to call its
function with. Nothing is called here: ``resolving.py`` walks the nodes for one request, ``boundplan.py`` asks for
them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import Any

from microweb.callables import describe, is_async, locate, unwrapped
from microweb.errors import SetupError
from microweb.markers import Body, Depends
from microweb.parameterreading import check_markers, read_parameter, split_hint
from microweb.parameters import MISSING, Parameter, Refused
from microweb.places import read_body
from microweb.requests import SyncRequest
from microweb.signatures import Signature, read_signature
from microweb.structs import find_fields

__all__ = ["WRONG", "DependencyReader", "Errors", "Node"]

WRONG: Any = object()
"""Stands for the value of a dependency whose own parameters were refused."""

Errors = list[dict[str, str]]


def generate() -> Iterator[None]:
    yield


async def generate_asynchronously() -> AsyncIterator[None]:
    yield


MADE_BY_CONTEXTLIB = (contextmanager(generate).__code__, asynccontextmanager(generate_asynchronously).__code__)
"""The code of what its decorators make of a generator; that of what a context manager decorates is in the same file."""


class Node:
    """One function of a plan: the view itself, or a dependency, called after those that it depends on."""

    __slots__ = (
        "checks",
        "dependencies",
        "fills",
        "first",
        "function",
        "is_generator",
        "is_threaded",
        "key",
        "label",
        "names",
        "parameters",
        "place",
        "request_name",
        "use_cache",
        "wants_body",
        "wants_form",
    )

    def __init__(self, function: Callable[..., Any], key: Any, *, use_cache: bool, label: str) -> None:
        self.function = function
        self.key = key
        """The function that ``Depends`` names, which an override does not change."""
        self.use_cache = use_cache
        self.label = label
        self.place = locate(function)
        inner = unwrapped(function)
        # A class is called on the loop: making an object is not worth a trip to another thread.
        self.is_threaded = not is_async(function) and not isinstance(inner, type)
        self.is_generator = isasyncgenfunction(inner) or isgeneratorfunction(inner)
        self.first: str | None = None
        """The parameter that a single positional argument goes to."""
        self.names: tuple[str, ...] = ()
        self.request_name: str | None = None
        self.parameters: list[Parameter] = []
        self.fills: list[tuple[str, Callable[[Any], Any]]] = []
        self.checks: list[Callable[[Any], None]] = []
        """Called with the request like a fill, and give no value."""
        self.dependencies: list[tuple[str, int]] = []
        self.wants_body = False
        self.wants_form = False

    def take(self, parameter: Parameter) -> None:
        """Add a parameter that is filled from the request."""
        self.parameters.append(parameter)
        assert parameter.fill is not None
        self.fills.append((parameter.name, parameter.fill))
        self.wants_body = self.wants_body or parameter.place == "body"
        self.wants_form = self.wants_form or parameter.place in ("form", "file")

    def arguments(self, request: Any, values: list[Any], errors: Errors) -> dict[str, Any] | None:
        """What to call the function with; None if something is missing, which is then in ``errors``."""
        arguments: dict[str, Any] = {}
        is_wrong = False
        if self.names:
            given = request.view_args
            for name in self.names:
                if name in given:
                    arguments[name] = given[name]
        if self.request_name is not None:
            arguments[self.request_name] = face_of(request) if self.is_threaded else request
        for name, index in self.dependencies:
            value = values[index]
            if value is WRONG:
                is_wrong = True
            arguments[name] = value
        for name, fill in self.fills:
            try:
                arguments[name] = fill(request)
            except Refused as refused:
                errors += refused.errors
                is_wrong = True
        for check in self.checks:
            try:
                check(request)
            except Refused as refused:
                errors += refused.errors
        return None if is_wrong else arguments


def face_of(request: Any) -> Any:
    return SyncRequest.of(request) if request.scope["type"] == "http" else request


class DependencyReader:
    """Reads one function and what it depends on into nodes, each after those that it needs."""

    def __init__(
        self, what: str, variables: Collection[str], overrides: Mapping[Any, Any], forbids_unknown: bool
    ) -> None:
        self.what = what
        self.variables = variables
        self.overrides = overrides
        self.forbids_unknown = forbids_unknown
        self.nodes: list[Node] = []
        self._shared: dict[Any, int] = {}
        self._under_way: list[Any] = []

    def read(
        self, function: Callable[..., Any], key: Any, signature: Signature | None, *, use_cache: bool, label: str
    ) -> int:
        """Add a node, and before it what it depends on; gives its index."""
        if key in self._under_way:
            circle = " -> ".join(describe(each) for each in [*self._under_way, key])
            raise SetupError(f"these dependencies go round in a circle: {circle} ({locate(function)})")
        self._under_way.append(key)
        node = Node(function, key, use_cache=use_cache, label=label)
        if signature is None:
            signature = Signature()
        node.first = signature.first
        node.names = tuple(signature.names)
        node.request_name = signature.request_name
        node.parameters = [Parameter(name, "path", alias=name) for name in signature.names]
        if signature.request_name is not None:
            node.parameters.append(Parameter(signature.request_name, "request"))
        for parameter, hint in signature.others:
            if parameter.default is not MISSING and hint is MISSING:
                raise read_failure(parameter.name, parameter.default, function, self.reading)
            check_markers(parameter, hint, function, self.reading)
            kind, marker = split_hint(hint)
            if isinstance(marker, Depends):
                index = self.read_dependency(parameter.name, kind, marker, function)
                node.dependencies.append((parameter.name, index))
                described = Parameter(parameter.name, "depends", type=kind, dependency=self.nodes[index])
                node.parameters.append(described)
                continue
            found = read_parameter(parameter, hint, function, self.reading)
            if found.place in ("body", "form", "file") and self.what.startswith("websocket"):
                raise SetupError(
                    f"{self.reading} {describe(function)}: the parameter {found.name!r} is read from a body, and a "
                    f"websocket has none ({node.place})"
                )
            if self.forbids_unknown and found.place == "body":
                found = read_strict_body(found)
            node.take(found)
        if node.wants_body and node.wants_form:
            raise SetupError(
                f"{self.reading} {describe(function)} asks for a JSON body and for a form, and a request has only one "
                f"of them ({node.place})"
            )
        self._under_way.pop()
        self.nodes.append(node)
        return len(self.nodes) - 1

    @property
    def what_below(self) -> str:
        """What a message calls a function that is depended on."""
        return self.what if self.what.startswith("dependency") else f"dependency of {self.what}"

    @property
    def reading(self) -> str:
        """What a message calls the function that is being read."""
        return self.what_below if len(self._under_way) > 1 else self.what

    def read_dependency(self, name: str, kind: Any, marker: Depends, user: Callable[..., Any]) -> int:
        """Add the node of what one parameter depends on, unless it is there; gives its index."""
        key = marker.function if marker.function is not None else kind
        if not callable(key) or not isinstance(key, Hashable):
            problem = "cannot be hashed, and is kept by itself" if callable(key) else "is no function"
            raise SetupError(
                f"{self.reading} {describe(user)}: the parameter {name!r} depends on {key!r}, which {problem} "
                f"({locate(user)})"
            )
        if marker.function is None and isinstance(key, type) and key.__module__ == "builtins":
            raise SetupError(
                f"{self.reading} {describe(user)}: the parameter {name!r} would be an empty {key.__name__}; say what "
                f"it depends on: Depends(function) ({locate(user)})"
            )
        if marker.use_cache and key in self._shared:
            return self._shared[key]
        function = self.overrides.get(key, key)
        if is_made_by_contextlib(function):
            raise SetupError(
                f"{self.reading} {describe(user)}: the parameter {name!r} depends on {describe(function)}, which makes "
                "a context manager and no value; name the generator itself, without the decorator of contextlib "
                f"({locate(function)})"
            )
        label = f"dependency {describe(function)}"
        signature = read_signature(function, what=self.what_below, variables=self.variables)
        index = self.read(function, key, signature, use_cache=marker.use_cache, label=label)
        if marker.use_cache:
            self._shared[key] = index
        return index

    def refuse_unknown(self) -> None:
        """Let the last node refuse query parameters, form fields and keys of the body that no node names."""
        bodies = [each for node in self.nodes for each in node.parameters if each.place == "body"]
        if bodies and all(each.alias for each in bodies):
            self.nodes[-1].checks.append(make_refusal("body", keys_of, {each.alias for each in bodies}))
        for place, read in (("query", query_of), ("form", fields_of)):
            parameters = [each for node in self.nodes for each in node.parameters]
            places = ("form", "file") if place == "form" else (place,)
            here = [each for each in parameters if each.place in places]
            if place == "form" and not here:
                continue
            known = {each.alias for each in here if each.alias}
            for each in here:
                if not each.alias:
                    known.update(field.key for field in find_fields(each.type))
            self.nodes[-1].checks.append(make_refusal(place, read, known))


def is_made_by_contextlib(function: Callable[..., Any]) -> bool:
    """Whether ``contextmanager`` or ``asynccontextmanager`` has made it of a generator."""
    return getattr(function, "__code__", None) in MADE_BY_CONTEXTLIB


def query_of(request: Any) -> Collection[str]:
    names: Collection[str] = request.args
    return names


def fields_of(request: Any) -> Collection[str]:
    form = request._form
    return [*form.fields, *form.files]


def keys_of(request: Any) -> Collection[str]:
    keys: Any = request._json_value
    return keys if isinstance(keys, dict) else ()


def make_refusal(place: str, read: Callable[[Any], Collection[str]], known: set[str]) -> Callable[[Any], Any]:
    def check(request: Any) -> None:
        unknown = [name for name in read(request) if name not in known]
        if unknown:
            raise Refused([{"in": place, "name": name, "reason": "is not known"} for name in unknown[:100]])

    return check


def read_strict_body(parameter: Parameter) -> Parameter:
    """The same body parameter, refusing unknown keys."""
    marker = Body(parameter.alias or None, forbid_unknown=True)
    return read_body(parameter.name, parameter.type, marker, parameter.default)


def read_failure(name: str, marker: Any, function: Callable[..., Any], what: str) -> SetupError:
    return SetupError(
        f"{what} {describe(function)}: the parameter {name!r} has a marker for its default; write "
        f"{name}: Annotated[..., {marker!r}] ({locate(function)})"
    )
