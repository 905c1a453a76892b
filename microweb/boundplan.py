"""The plans of functions whose parameters are filled from all over the request.

A ``BoundPlan`` is called like any other plan. ``binding.py`` makes it where a signature asks for more than path
variables and the request; the endpoint makes a chain of several, whose dependencies are shared.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Annotated, Any

from microweb.callables import describe
from microweb.conversion import to_response
from microweb.dependencies import DependencyReader, Errors, Node
from microweb.errors import InvalidParameters, SetupError
from microweb.filtering import make_filter
from microweb.formreading import read_form
from microweb.headers import find_content_lines
from microweb.markers import Depends
from microweb.parameters import Parameter, Refused, refuse_invalid
from microweb.plan import Change, Plan, change_call
from microweb.problems import Invalid
from microweb.requests import is_json, not_json
from microweb.resolving import READER, Resolution, Run, close_after
from microweb.responses import Response
from microweb.signatures import Signature

__all__ = ["BoundPlan", "make_bound_plan", "make_chain", "make_guard"]


def make_guard(dependencies: Sequence[Any], **options: Any) -> BoundPlan:
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
    return make_bound_plan(call_nothing, signature, forbids_unknown=False, validates=False, **options)


async def call_nothing(**values: Any) -> None:
    """Stand where a guard's dependencies have been called."""


class BoundPlan(Plan):
    """The plan of a function whose parameters are filled from all over the request.

    To its callers it is a coroutine function that takes the request, whatever the function itself is.
    """

    __slots__ = ("change", "converts", "filter", "node", "nodes", "opens_in_thread")

    is_bound = True

    def __init__(
        self, function: Callable[..., Any], nodes: list[Node], *, returns: Any, converts: bool, filter: Any
    ) -> None:
        super().__init__(function, (), "request", first="request")
        self.nodes = nodes
        self.node = nodes[-1]
        self.returns = returns
        self.converts = converts
        """Whether it is a view: its value becomes a response while its dependencies are still open."""
        self.filter = filter
        self.opens_in_thread = any(node.is_threaded and node.is_generator for node in nodes[:-1])
        """Whether a ``def`` generator is among its dependencies."""
        self.change: Change | None = None
        """What its values are passed through after the filter."""
        self.is_async = self.is_coroutine_function = self.is_plain = self.passes_request = True
        self.passes_values = self.passes_one_value = self.generates = False
        self.function = self.call = self._make_bound_call()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters and where each comes from."""
        return tuple(self.node.parameters)

    def change_result(self, change: Change) -> None:
        """Pass each value through ``change(value, request, source)``, while its dependencies are still open."""
        self.change = change
        self.function = self.call = self._make_bound_call()

    def _make_bound_call(self) -> Callable[..., Any]:
        if len(self.nodes) == 1 and not self.node.is_threaded and iscoroutinefunction(self.original):
            call = self._make_quick_call()
            return call if self.change is None else change_call(call, self.change, f"view {self.label}", is_async=True)

        async def bound(request: Any, *leading: Any) -> Any:
            resolution = Resolution(request)
            try:
                value = await self.run(request, resolution, *leading)
                if resolution.opened and self.converts:
                    value = to_response(value, request, f"view {self.label}")
                    if value.is_streamed:
                        resolution.check_streamable(f"view {self.label}")
            except BaseException as error:
                if resolution.opened:
                    await close_after(resolution, error)
                raise
            if resolution.opened and not (isinstance(value, Response) and value.is_streamed):
                await resolution.close_cleanly()
            return value

        return bound

    def _make_quick_call(self) -> Callable[..., Any]:
        node = self.node
        if len(node.parameters) == 1 and self.converts and not node.checks:
            parameter = node.parameters[0]
            if parameter.quick is not None and parameter.required and node.first == parameter.name:
                return make_body_call(self.original, parameter, self.filter)
        return make_direct_call(self.original, node, self.filter)

    async def run(self, request: Any, resolution: Resolution, *leading: Any) -> Any:
        """Call the function with what ``resolution`` has and what it still needs."""
        if self.opens_in_thread:
            resolution.keep_context()
        value = await Run(self.nodes, request, resolution, leading).walk()
        if self.filter is not None:
            value = self.filter(value)
        return value if self.change is None else self.change(value, request, f"view {self.label}")


def make_body_call(function: Callable[..., Any], parameter: Parameter, filter: Any) -> Callable[..., Any]:
    """The call of a coroutine function that takes the JSON body and nothing else.

    PERF(bodies.typed-body): what ``read_body``'s fill and ``Parameter.decode`` do, written out for the body that is
    right.
    """
    decode, quick, fill = parameter.decode, parameter.quick, parameter.fill
    assert decode is not None
    assert quick is not None
    assert fill is not None

    def decode_wrong(request: Any, body: bytes) -> Any:
        try:
            return decode(body, request.limits.json_max_depth)
        except Invalid as invalid:
            raise InvalidParameters(refuse_invalid("body", "", invalid).errors) from None

    def fill_other(request: Any) -> Any:
        try:
            return fill(request)
        except Refused as refused:
            raise InvalidParameters(refused.errors) from None

    async def bound(request: Any) -> Any:
        content_type, length, coding = find_content_lines(request.scope["headers"])
        if content_type != b"application/json" and not is_json(content_type):
            if request._target.representations is None:
                raise not_json(request)
            await request.connection.read(READER)
            value = await function(fill_other(request))
            return value if filter is None else filter(value)
        limits = request._target.limits
        if coding is None:
            body = request.read_whole(READER, length, limits.max_content_length)
            if body.__class__ is not bytes:
                body = await body
        else:
            body = await request.connection.read(READER)
        max_depth = limits.json_max_depth
        # PERF(bodies.typed-body): as `json.check_depth`, written out.
        arrays = len(body) - len(body.replace(b"[", b"")) if 91 in body else 0
        if arrays + (len(body) - 2 * arrays + 3) // 5 <= max_depth or arrays + body.count(b"{") <= max_depth:
            try:
                value = quick(body)
            except (ValueError, RecursionError):
                value = decode_wrong(request, body)
        else:
            value = decode_wrong(request, body)
        value = await function(value)
        return value if filter is None else filter(value)

    return bound


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
    overrides: Mapping[Any, Any],
    forbids_unknown: bool,
    validates: bool,
) -> BoundPlan:
    """Plan a function that asks for more than path variables and the request.

    Raises:
        SetupError: a parameter of it, or of something that it depends on, cannot be filled.
    """
    reader = DependencyReader(what, variables, overrides, forbids_unknown)
    reader.read(function, function, signature, use_cache=False, label=f"{what} {describe(function)}")
    nodes = reader.nodes
    if forbids_unknown:
        reader.refuse_unknown()
    filter = (
        make_filter(signature.returns, f"view {describe(function)}", validates=validates) if what == "view" else None
    )
    return BoundPlan(function, nodes, returns=signature.returns, converts=what == "view", filter=filter)


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
            if response.is_streamed:
                resolution.check_streamable(f"view {view.label}")
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
