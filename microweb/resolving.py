"""Filling parameters from a request, and the dependencies among them: the plans of functions that take more.

``make_bound_plan`` reads, at start-up, a function and all that it depends on into *nodes*, in the order in
which they are called. A ``BoundPlan`` is then called like any other plan. ``binding.py`` makes it where a
signature asks for more than path variables and the request.

The life of a generator dependency::

    not called --its node is reached--> open (at its yield) --answer complete or error--> closed

Complete is: the body is bytes (closed before the endpoint returns, in every scope it was opened in), or, of a
streamed body, the last byte is sent. An error of the view is raised at the ``yield``; what the generator
raises instead of it becomes the answer, what it swallows stays the answer.
"""

import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Mapping, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Annotated, Any

from microweb.callables import describe, is_async, locate, unwrapped
from microweb.conversion import to_response
from microweb.errors import InvalidParameters, SetupError
from microweb.filtering import make_filter
from microweb.formreading import read_form
from microweb.markers import Body, Depends
from microweb.parameters import (
    MISSING,
    Parameter,
    Refused,
    read_body,
    read_parameter,
    refuse_invalid,
    split_hint,
)
from microweb.plan import Plan
from microweb.requests import SyncRequest, is_json, not_json
from microweb.responses import Response
from microweb.signatures import Signature, read_signature
from microweb.structs import find_fields
from microweb.validation import Invalid

__all__ = ["BoundPlan", "Node", "Resolution", "make_bound_plan", "make_chain", "make_guard"]

WRONG: Any = object()
"""Stands for the value of a dependency whose own parameters were refused."""

Errors = list[dict[str, str]]


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


# While a request runs ----------------------------------------------------------------------------------


class Resolution:
    """The dependencies of one request, from the first that is called to the last that is closed."""

    __slots__ = ("cache", "opened", "request")

    def __init__(self, request: Any) -> None:
        self.request = request
        self.cache: dict[Any, Any] = {}
        self.opened: list[tuple[Node, Any]] = []

    def open(self, node: Node, generator: Any) -> None:
        """Note a generator that stands at its ``yield``."""
        if not self.opened:
            # For bodies that are streamed, and for whatever else keeps the endpoint from closing it.
            self.request.on_close(self.close_late)
        self.opened.append((node, generator))

    async def close(self, error: BaseException | None) -> BaseException | None:
        """Close all generators, the last one first; returns the error that is left, which may be another one.

        Each is told of ``error``, whatever the others make of it.
        """
        left = error
        traceback = None if error is None else error.__traceback__
        while self.opened:
            node, generator = self.opened.pop()
            try:
                if node.is_threaded:
                    worker = self.request.worker
                    await worker.run_firmly(finish_in_thread, generator, error, node, label=node.label)
                else:
                    await finish(generator, error, node)
            except BaseException as raised:  # noqa: BLE001 - the others must be closed; it is raised by the caller
                if raised is not error:
                    left = raised
            if error is not None:
                # Without the steps through the generators: their frames hold the error, which would hold them.
                error.__traceback__ = traceback
        self.cache.clear()
        return left

    async def close_cleanly(self) -> None:
        """Close all generators after a success; raises what the first of them raises."""
        left = await self.close(None)
        if left is not None:
            try:
                raise left
            finally:
                del left

    async def close_late(self) -> None:
        """Close what is still open after the last byte, or after the request was cancelled."""
        if not self.opened:
            return
        # Called from the walk's `finally`: what passes through there, a cancellation, ends the request for us too.
        error: BaseException | None = sys.exc_info()[1]
        if error is None:
            error = self.request.notes.unhandled
        left = await self.close(error)
        try:
            if left is not None and left is not error:
                raise left
        finally:
            del left, error


async def finish(generator: AsyncGenerator[Any, None], error: BaseException | None, node: Node) -> None:
    """Let a generator go on from its ``yield``, or raise ``error`` there."""
    try:
        if error is None:
            await anext(generator)
        else:
            await generator.athrow(error)
    except StopAsyncIteration as stop:
        if stop is not error:
            return
        raise
    await generator.aclose()
    raise RuntimeError(f"the dependency {node.label} yielded twice ({node.place})")


def finish_in_thread(generator: Generator[Any, Any, Any], error: BaseException | None, node: Node) -> None:
    try:
        if error is None:
            next(generator)
        else:
            generator.throw(error)
    except StopIteration as stop:
        if stop is not error:
            return
        raise
    generator.close()
    raise RuntimeError(f"the dependency {node.label} yielded twice ({node.place})")


class Run:
    """One walk through the nodes of a plan."""

    __slots__ = ("errors", "leading", "nodes", "request", "resolution", "values")

    def __init__(self, nodes: list[Node], request: Any, resolution: Resolution, leading: tuple[Any, ...]) -> None:
        self.nodes = nodes
        self.request = request
        self.resolution = resolution
        self.leading = leading
        self.values: list[Any] = []
        """What each node gave, in order; as long as the walk has come."""
        self.errors: Errors = []

    async def walk(self) -> Any:
        """Call all nodes in order; the value of the last."""
        nodes, values = self.nodes, self.values
        count = len(nodes)
        while len(values) < count:
            node = nodes[len(values)]
            if node.wants_form:
                await read_form(self.request)
            elif node.wants_body:
                await self.request.connection.read(READER)
            if node.is_threaded:
                value = await self.request.worker.run(self.walk_in_thread, label=node.label)
                if value is not None:
                    # A def that gave an awaitable: a wrapper around coroutine code.
                    self.take(node, await value)
                continue
            arguments = self.prepare(node)
            if arguments is None:
                continue
            if node.is_generator:
                generator = node.function(*self.leading_of(node), **arguments)
                if node is nodes[-1]:
                    values.append(generator)  # A streamed body.
                    continue
                try:
                    value = await anext(generator)
                except StopAsyncIteration:
                    raise RuntimeError(f"the dependency {node.label} never yielded ({node.place})") from None
                self.resolution.open(node, generator)
            else:
                value = node.function(*self.leading_of(node), **arguments)
                if hasattr(value, "__await__"):
                    value = await value
            self.take(node, value)
        return values[-1]

    def walk_in_thread(self) -> Awaitable[Any] | None:
        """Call nodes as far as they are ``def`` and everything for them is here: they share one trip.

        An awaitable is handed back, for the loop to await.
        """
        nodes, values = self.nodes, self.values
        first = True
        while len(values) < len(nodes):
            node = nodes[len(values)]
            if not node.is_threaded or (not first and (node.wants_body or node.wants_form)):
                break
            first = False
            arguments = self.prepare(node)
            if arguments is None:
                continue
            value = node.function(*self.leading_of(node), **arguments)
            if node.is_generator and node is not nodes[-1]:
                generator = value
                try:
                    value = next(generator)
                except StopIteration:
                    raise RuntimeError(f"the dependency {node.label} never yielded ({node.place})") from None
                self.resolution.open(node, generator)
            elif hasattr(value, "__await__"):
                awaitable: Awaitable[Any] = value
                return awaitable
            self.take(node, value)
        return None

    def prepare(self, node: Node) -> dict[str, Any] | None:
        """What to call the node with; None if it is not to be called, and then its value is there.

        Raises:
            InvalidParameters: it is the view itself, and something in the request was refused.
        """
        if node.use_cache and node.key in self.resolution.cache:
            self.values.append(self.resolution.cache[node.key])
            return None
        arguments = node.arguments(self.request, self.values, self.errors)
        if node is self.nodes[-1] and self.errors:
            raise InvalidParameters(self.errors)
        if arguments is None:
            self.values.append(WRONG)
        return arguments

    def take(self, node: Node, value: Any) -> None:
        self.values.append(value)
        if node.use_cache:
            self.resolution.cache[node.key] = value

    def leading_of(self, node: Node) -> tuple[Any, ...]:
        return self.leading if node is self.nodes[-1] else ()


# Plans -------------------------------------------------------------------------------------------------


def make_guard(dependencies: Sequence[Any], **options: Any) -> "BoundPlan":
    """A plan that calls dependencies for what they do, and gives no value: those of a router or a route.

    Raises:
        SetupError: one of them is no ``Depends(function)``, or cannot be filled.
    """
    signature = Signature()
    for number, depends in enumerate(dependencies):
        if not isinstance(depends, Depends) or depends.function is None:
            raise SetupError(f"dependencies=[...] takes Depends(function), not {depends!r}")
        parameter = inspect.Parameter(f"dependency_{number}", inspect.Parameter.KEYWORD_ONLY)
        signature.others.append((parameter, Annotated[Any, depends]))
    return make_bound_plan(call_nothing, signature, leading=0, forbids_unknown=False, validates=False, **options)


async def call_nothing(**values: Any) -> None:
    """Stand where a guard's dependencies have been called."""


class BoundPlan(Plan):
    """The plan of a function whose parameters are filled from all over the request.

    To its callers it is a coroutine function that takes the request, whatever the function itself is.
    """

    __slots__ = ("converts", "filter", "node", "nodes")

    is_bound = True

    def __init__(
        self, function: Callable[..., Any], nodes: list[Node], *, returns: Any, converts: bool, filter: Any
    ) -> None:
        super().__init__(function, (), "request", first="request")
        self.original = function
        self.nodes = nodes
        self.node = nodes[-1]
        self.returns = returns
        self.converts = converts
        """Whether it is a view: its value becomes a response while its dependencies are still open."""
        self.filter = filter
        self.is_async = self.is_coroutine_function = self.is_plain = self.passes_request = True
        self.passes_values = False
        self.function = self.call = self._make_bound_call()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters and where each comes from."""
        return parameters_of(self.node)

    def _make_bound_call(self) -> Callable[..., Any]:
        node = self.node
        if len(self.nodes) == 1 and not node.is_threaded and iscoroutinefunction(self.original):
            if len(node.parameters) == 1 and self.converts and not node.checks:
                parameter = node.parameters[0]
                if parameter.quick is not None and parameter.required and node.first == parameter.name:
                    return make_body_call(self.original, parameter, self.filter)
            return make_direct_call(self.original, node, self.filter)

        async def bound(request: Any, *leading: Any) -> Any:
            resolution = Resolution(request)
            try:
                value = await self.run(request, resolution, *leading)
                if resolution.opened and self.converts:
                    value = to_response(value, request, f"view {self.label}")
            except BaseException as error:
                if resolution.opened:
                    await close_after(resolution, error)
                raise
            if resolution.opened and not (isinstance(value, Response) and value.is_streamed):
                await resolution.close_cleanly()
            return value

        return bound

    async def run(self, request: Any, resolution: Resolution, *leading: Any) -> Any:
        """Call the function with what ``resolution`` has and what it still needs."""
        value = await Run(self.nodes, request, resolution, leading).walk()
        return value if self.filter is None else self.filter(value)


async def close_after(resolution: Resolution, error: BaseException) -> None:
    """Close what is open, telling it of ``error``; raises what a generator raised in its place."""
    left: BaseException | None = None
    if isinstance(error, Exception):
        left = await resolution.close(error)
    else:
        from anyio import CancelScope

        # Cancelled: what the generators await to clean up must not be cancelled too.
        with CancelScope(shield=True):
            left = await resolution.close(error)
    try:
        if left is not None and left is not error and isinstance(error, Exception):
            raise left
    finally:
        del left, error


def make_body_call(function: Callable[..., Any], parameter: Parameter, filter: Any) -> Callable[..., Any]:
    """The call of a coroutine function that takes the JSON body and nothing else.

    PERF(typed-body): what ``read_body``'s fill and ``Parameter.decode`` do, written out for the body that is
    right.
    """
    decode, quick = parameter.decode, parameter.quick
    assert decode is not None
    assert quick is not None

    def decode_wrong(request: Any, body: bytes) -> Any:
        try:
            return decode(body, request.limits.json_max_depth)
        except Invalid as invalid:
            raise InvalidParameters(refuse_invalid("body", "", invalid).errors) from None

    async def bound(request: Any) -> Any:
        content_type = length = coding = None
        for header, line in request.scope["headers"]:
            if header == b"content-type":
                content_type = line
            elif header == b"content-length":
                length = line
            elif header == b"content-encoding":
                coding = line
        if content_type != b"application/json" and not is_json(content_type):
            raise not_json(request)
        if coding is None:
            body = request.read_whole(READER, length)
            if body.__class__ is not bytes:
                body = await body
        else:
            body = await request.connection.read(READER)
        max_depth = request._target.limits.json_max_depth
        if len(body) <= max_depth * 2 or body.count(b"{") + body.count(b"[") <= max_depth:
            try:
                value = quick(body)
            except (ValueError, RecursionError):
                value = decode_wrong(request, body)
        else:
            value = decode_wrong(request, body)
        value = await function(value)
        return value if filter is None else filter(value)

    return bound


READER = "the body parameter"
"""Who reads the body, in the error of a second reader."""


def make_direct_call(function: Callable[..., Any], node: Node, filter: Any) -> Callable[..., Any]:
    """The call of a coroutine function that depends on no other: its parameters, then itself."""
    fills, names, request_name = node.fills, node.names, node.request_name
    wants_body, wants_form, checks = node.wants_body, node.wants_form, node.checks

    async def bound(request: Any, *leading: Any) -> Any:
        if wants_body:
            if request._connection is None or request._connection.cached is None:
                await request.connection.read(READER)
        elif wants_form and (request._form is None or not request._form.is_complete):
            await read_form(request)
        errors: Errors | None = None
        arguments: dict[str, Any] = {}
        if names:
            given = request.view_args
            for name in names:
                if name in given:
                    arguments[name] = given[name]
        if request_name is not None:
            arguments[request_name] = request
        for name, fill in fills:
            try:
                arguments[name] = fill(request)
            except Refused as refused:
                errors = refused.errors if errors is None else errors + refused.errors
        for check in checks:
            try:
                check(request)
            except Refused as refused:
                errors = refused.errors if errors is None else errors + refused.errors
        if errors is not None:
            raise InvalidParameters(errors)
        value = await function(*leading, **arguments)
        return value if filter is None else filter(value)

    return bound


def make_bound_plan(
    function: Callable[..., Any],
    signature: Signature,
    *,
    what: str,
    variables: Collection[str],
    leading: int,
    overrides: Mapping[Any, Any],
    forbids_unknown: bool,
    validates: bool,
) -> BoundPlan:
    """Plan a function that asks for more than path variables and the request.

    Raises:
        SetupError: a parameter of it, or of something that it depends on, cannot be filled.
    """
    reader = Reader(what, variables, overrides, forbids_unknown)
    reader.read(function, function, signature, use_cache=False, label=f"{what} {describe(function)}")
    nodes = reader.nodes
    if forbids_unknown:
        reader.refuse_unknown()
    filter = (
        make_filter(signature.returns, f"view {describe(function)}", validates=validates) if what == "view" else None
    )
    return BoundPlan(function, nodes, returns=signature.returns, converts=what == "view", filter=filter)


class Reader:
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
                raise read_failure(parameter.name, parameter.default, function, self.what)
            kind, marker = split_hint(hint)
            if isinstance(marker, Depends):
                index = self.read_dependency(parameter.name, kind, marker, function)
                node.dependencies.append((parameter.name, index))
                described = Parameter(parameter.name, "depends", type=kind, dependency=self.nodes[index])
                node.parameters.append(described)
                continue
            found = read_parameter(parameter, hint, function, self.what)
            if found.place in ("body", "form", "file") and self.what.startswith("websocket"):
                raise SetupError(
                    f"{self.what} {describe(function)}: the parameter {found.name!r} is read from a body, and a "
                    f"websocket has none ({node.place})"
                )
            if self.forbids_unknown and found.place == "body" and not found.alias:
                found = read_strict_body(found)
            node.take(found)
        if node.wants_body and node.wants_form:
            raise SetupError(
                f"{self.what} {describe(function)} asks for a JSON body and for a form, and a request has only one "
                f"of them ({node.place})"
            )
        self._under_way.pop()
        self.nodes.append(node)
        return len(self.nodes) - 1

    def read_dependency(self, name: str, kind: Any, marker: Depends, user: Callable[..., Any]) -> int:
        key = marker.function if marker.function is not None else kind
        if not callable(key):
            raise SetupError(
                f"{self.what} {describe(user)}: the parameter {name!r} depends on {key!r}, which is no function "
                f"({locate(user)})"
            )
        if marker.use_cache and key in self._shared:
            return self._shared[key]
        function = self.overrides.get(key, key)
        what = f"dependency of {self.what}" if not self.what.startswith("dependency") else self.what
        label = f"dependency {describe(function)}"
        signature = read_signature(function, what=what, variables=self.variables)
        index = self.read(function, key, signature, use_cache=marker.use_cache, label=label)
        if marker.use_cache:
            self._shared[key] = index
        return index

    def refuse_unknown(self) -> None:
        """Let the last node refuse query parameters and form fields that no node names."""
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


def query_of(request: Any) -> Collection[str]:
    names: Collection[str] = request.args
    return names


def fields_of(request: Any) -> Collection[str]:
    form = request._form
    return [*form.fields, *form.files]


def make_refusal(place: str, read: Callable[[Any], Collection[str]], known: set[str]) -> Callable[[Any], Any]:
    def check(request: Any) -> None:
        unknown = [name for name in read(request) if name not in known]
        if unknown:
            raise Refused([{"in": place, "name": name, "reason": "is not known"} for name in unknown[:100]])

    return check


def read_strict_body(parameter: Parameter) -> Parameter:
    """The same body parameter, refusing unknown keys."""
    return read_body(parameter.name, parameter.type, Body(forbid_unknown=True), parameter.default)


def read_failure(name: str, marker: Any, function: Callable[..., Any], what: str) -> SetupError:
    return SetupError(
        f"{what} {describe(function)}: the parameter {name!r} has a marker for its default; write "
        f"{name}: Annotated[..., {marker!r}] ({locate(function)})"
    )


def parameters_of(node: Node) -> tuple[Parameter, ...]:
    return tuple(node.parameters)


def make_chain(stages: list[Plan]) -> Plan:
    """Hooks and a view as one plan, so that what they depend on is called once and closed after the view.

    The first stage that gives a value answers, the last one (the view) must.
    """
    view = stages[-1]
    sources = [f"before_request function {stage.label}" for stage in stages[:-1]] + [f"view {view.label}"]
    last = len(stages) - 1

    async def run_stages(request: Any, resolution: Resolution) -> Response:
        value: Any = None
        position = 0
        for position, stage in enumerate(stages):
            if isinstance(stage, BoundPlan):
                value = await stage.run(request, resolution)
            elif stage.is_async:
                value = stage.call(request)
            else:
                value = await request.worker.run(stage.call, request, label=sources[position])
            if hasattr(value, "__await__"):
                value = await value
            if value is not None or position == last:
                break
        return to_response(value, request, sources[position])

    async def chain(request: Any) -> Response:
        resolution = Resolution(request)
        try:
            response = await run_stages(request, resolution)
        except BaseException as error:
            if resolution.opened:
                await close_after(resolution, error)
            raise
        if resolution.opened and not response.is_streamed:
            await resolution.close_cleanly()
        return response

    plan = Plan.of_endpoint(chain, view.label)
    plan.original, plan.place, plan.returns = view.original, view.place, view.returns
    return plan
