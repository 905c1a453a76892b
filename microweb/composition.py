"""The second half of the build step: a handler for every target, composed once.

Here every function that a program registered is looked at for the first and last time: plans are made of views,
hooks, handlers and layers (which finds every ``SetupError``), hooks are put in order, and the onion is wrapped
around each endpoint. After it a request runs no set-up code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from microweb.asgi import Scope
from microweb.assembly import Assembly, Placement, Target, not_composed
from microweb.binding import Plan, make_plan
from microweb.callables import can_take, describe, is_async
from microweb.cutoffs import make_cancelling, make_timeout, note_cancellation
from microweb.endpoint import make_endpoint
from microweb.errorhandlers import ErrorHandlers, HandlerSet
from microweb.errors import HTTPException, SetupError
from microweb.finder import Finder
from microweb.limits import Limits
from microweb.misses import make_miss_endpoint, make_refusal, make_respond
from microweb.observers import Observers
from microweb.onion import Answer, Handler, compose
from microweb.registrations import Registration
from microweb.responses import Response
from microweb.routetable import Miss
from microweb.streaming import make_stream

__all__ = ["Composition", "find_representations", "limits_of", "make_preprocessing", "variables_of"]

Teardown = Callable[[Any, BaseException | None], Awaitable[None]]


class Services(Protocol):
    """What the composed handlers need of the app."""

    async def report(self, request: Any, error: BaseException) -> None:
        """Log an unhandled error, once, and tell the observers."""

    def render_error(self, request: Any, error: BaseException) -> Response | None:
        """Another page than the built-in one for an unhandled error."""
        ...

    @property
    def observers(self) -> Observers:
        """Who listens to events."""
        ...

    def enter(self, target: Target) -> Handler:
        """The handler of a mounted app."""
        ...

    @property
    def limits(self) -> Limits:
        """The figures of the app's config."""
        ...

    @property
    def overrides(self) -> Mapping[Any, Any]:
        """The functions that stand in for dependencies."""
        ...

    @property
    def debug(self) -> bool:
        """Whether to look more closely than a server in production would."""
        ...

    @property
    def session_store(self) -> Any:
        """Where sessions are kept on the server, or None."""
        ...

    @property
    def sessions(self) -> Any:
        """What opens and saves sessions."""
        ...

    def log_failure(self, message: str, error: BaseException) -> None:
        """Log an error that can no longer become an answer."""


class FailedTarget(Target):
    """What answers one error raised while the route was looked for, as ``composed`` does."""

    __slots__ = ("error",)

    def __init__(self, composed: Target, error: Exception) -> None:
        super().__init__(composed.placement, miss=composed.miss)
        self.limits, self.layers = composed.limits, composed.layers
        self.teardown, self.handler = composed.teardown, composed.handler
        self.error: Exception | None = error


class Composition:
    """Fills the targets of one assembly; ``compose_all`` is called once, by the app."""

    def __init__(self, assembly: Assembly, services: Services) -> None:
        self.assembly = assembly
        self.services = services
        self._error_handlers: dict[Placement, ErrorHandlers] = {}
        self._handler_sets: dict[Any, HandlerSet] = {}
        self._hooks: dict[tuple[Placement, str], list[Plan]] = {}
        self._teardowns: dict[tuple[Placement, str], Teardown | None] = {}
        self._layers: dict[Registration, tuple[Callable[..., Any], str]] = {}
        self._waits = False
        """Whether targets get their handlers when they are found."""

    def compose_all(self) -> None:
        """Give every target its handler, and the table its misses.

        Raises:
            SetupError: a function asks for what nothing provides, or a rule can never match.
        """
        for placement in self.assembly.placements:
            for registration in placement.router.url_defaults_hooks:
                check_plain(registration, "url_defaults")
            for registration in placement.router.url_value_preprocessors:
                check_plain(registration, "url_value_preprocessor")
            for registration in gather_template_functions(placement.router):
                check_synchronous(registration)
        if not self._waits:
            for target in self.assembly.targets:
                if not target.is_websocket:
                    self.compose(target)
        self.assembly.table.freeze(self.make_miss)

    def compose_when_found(self) -> Callable[[Finder], Finder]:
        """What ``compose_all`` does, without the handlers; gives what makes a finder compose the target that it finds.

        A test that overrides a dependency asks for a few of what may be thousands of routes.

        Raises: as ``compose_all``, as far as it looks.
        """
        self._waits = True
        self.compose_all()

        def composing(find: Finder) -> Finder:
            def find_composed(scope: Scope) -> tuple[Target, dict[str, Any] | None]:
                found = find(scope)
                if found[0].handler is not_composed:
                    self.compose(found[0])
                return found

            return find_composed

        return composing

    def compose(self, target: Target, respond: Handler | None = None) -> None:
        """Give one HTTP target its handler; ``respond`` answers a miss in another way than its kind does."""
        placement = target.placement
        target.limits = limits_of(target, self.services.limits)
        errors = self.errors_of(placement)
        answer = errors.answer
        route = target.route
        preprocessors = placement.gather("url_value_preprocessors") if route is not None else []
        before = [make_preprocessing(preprocessors)] if preprocessors else []
        before += self.hooks(placement, "before_request_hooks", "before_request function", 0)
        after = self.hooks(placement, "after_request_hooks", "after_request function", 1)[::-1]
        plain: Handler | None = None
        if target.miss is not None:
            endpoint = make_miss_endpoint(respond or make_respond(target.miss, errors), before, after, answer)
        elif target.mount is not None:
            # SECURITY: test_the_dependencies_of_a_router_guard_what_is_mounted_below_it
            before += self.guards(target, target.variables)
            endpoint = self.make_mount_endpoint(target, before, after, answer)
        else:
            assert route is not None
            variables = variables_of(target)
            target.plan = make_plan(
                route.view,
                what="view",
                variables=variables,
                overrides=self.services.overrides,
                forbids_unknown=bool(route.options.get("forbid_unknown")),
                validates=self.services.debug,
            )
            target.representations = find_representations(placement)
            if target.representations is not None:
                target.plan.change_result(target.representations.answer)
            before += self.guards(target, variables)
            if route.timeout is None:
                endpoint = plain = make_endpoint(target.plan, answer, before, after)
            else:
                # The after_request functions see the 504 too, so they stand around the limit.
                endpoint = note_cancellation(make_endpoint(target.plan, answer, before))
                endpoint = make_timeout(endpoint, route.timeout, answer)
                if after:
                    limited = Plan.of_endpoint(endpoint, f"{target.plan.label} within {route.timeout:g} seconds")
                    endpoint = make_endpoint(limited, answer, (), after)
            endpoint = self.guard_route(endpoint, target)
        registrations = placement.gather("layers")
        if route is not None:
            registrations = registrations + [Registration(layer, route.place) for layer in route.middleware]
        target.layers = [self.layer(registration) for registration in registrations]
        target.teardown = self.teardown(placement, "teardown_request_hooks")
        if target.teardown is not None and target.layers:
            endpoint = note_cancellation(endpoint)
        handler = compose(target.layers, endpoint, answer)
        if self.services.session_store is not None:
            handler = self.with_stored_session(handler, answer)
        observers = self.services.observers
        if observers.observes("request_started") or observers.observes("request_finished"):
            handler = self.observed(handler)
        target.handler = handler
        plan = target.plan
        if plan is not None and handler is plain and not (before or after):
            if plan.is_plain:
                target.view, target.answer, target.source = plan.function, answer, f"view {plan.label}"
                target.takes_request, target.takes_one_value = plan.passes_request, plan.passes_one_value
            elif plan.generates:
                target.stream = make_stream(plan.call)

    # Errors ------------------------------------------------------------------------------------

    def errors_of(self, placement: Placement) -> ErrorHandlers:
        """The error handlers as seen from one placement, nearest first."""
        if placement not in self._error_handlers:
            chain = [self._handler_set(router) for router in reversed(placement.chain)]
            self._error_handlers[placement] = ErrorHandlers(chain, self.services.report, self.services.render_error)
        return self._error_handlers[placement]

    def _handler_set(self, router: Any) -> HandlerSet:
        if router not in self._handler_sets:
            overrides = self.services.overrides
            self._handler_sets[router] = HandlerSet(
                {status: make_error_handler(found, overrides) for status, found in router.status_handlers.items()},
                {kind: make_error_handler(found, overrides) for kind, found in router.class_handlers.items()},
            )
        return self._handler_sets[router]

    # Hooks -------------------------------------------------------------------------------------

    def hooks(self, placement: Placement, attribute: str, what: str, leading: int) -> list[Plan]:
        """The plans of one kind of hook, app first."""
        key = (placement, attribute)
        if key not in self._hooks:
            self._hooks[key] = [
                make_plan(registration.function, what=what, leading=leading, overrides=self.services.overrides)
                for registration in placement.gather(attribute)
            ]
        return self._hooks[key]

    def layer(self, registration: Registration) -> tuple[Callable[..., Any], str]:
        """A middleware and its name, looked at once for all the routes inside it."""
        if registration not in self._layers:
            self._layers[registration] = make_layer(registration)
        return self._layers[registration]

    def guards(self, target: Target, variables: tuple[str, ...], what: str = "view") -> list[Plan]:
        """The ``dependencies=[...]`` of the routers and of the route, as one stage before a view or a mounted app.

        Raises:
            SetupError: one of them is no ``Depends(function)``, or cannot be filled.
        """
        gathered = [each for router in target.placement.chain for each in router.dependencies]
        if target.route is not None:
            gathered += target.route.options.get("dependencies", ())
        if not gathered:
            return []
        from microweb.boundplan import make_guard

        try:
            return [make_guard(gathered, what=what, variables=variables, overrides=self.services.overrides)]
        except SetupError as error:
            registered = target.route or target.mount
            assert registered is not None
            raise SetupError(f"{error} ({registered.place})") from None

    def teardown(self, placement: Placement, attribute: str) -> Teardown | None:
        """One function that runs all teardown hooks, the last registered first; each runs whatever the others do."""
        key = (placement, attribute)
        if key not in self._teardowns:
            plans = self.hooks(placement, attribute, "teardown function", 1)[::-1]
            listened = self.services.observers.observes("context_torn_down")
            self._teardowns[key] = make_teardown(plans, self.services, listened) if plans or listened else None
        return self._teardowns[key]

    def observed(self, handler: Handler) -> Handler:
        """Tell the observers when a request starts and when its answer is ready."""
        notify = self.services.observers.notify

        async def observed(request: Any) -> Response:
            await notify("request_started", request=request)
            response = await handler(request)
            await notify("request_finished", request=request, response=response)
            return response

        return observed

    def with_stored_session(self, handler: Handler, answer: Answer) -> Handler:
        """Load the session from the store first, for a client that carries its cookie.

        Attribute access cannot wait, so ``request.session`` must be there before anybody touches it. A client
        without the cookie costs nothing: its session is empty.
        """
        services = self.services

        async def load_and_handle(request: Any) -> Response:
            try:
                await services.sessions.load(request)
            except Exception as error:  # noqa: BLE001 - a store that is down is a 500 inside the error handlers
                return await answer(request, error)
            return await handler(request)

        return load_and_handle

    # Endpoints that are no views -----------------------------------------------------------------

    def refuse(self, make_error: Callable[[], HTTPException]) -> Target:
        """A target that answers with an error, whatever the path: for requests beyond a limit."""
        return self.make_root_miss(make_refusal(make_error, self.errors_of(self.assembly.placements[0])))

    def make_fail(self) -> Callable[[Exception], Target]:
        """Compose what answers an error raised while the route was looked for; each error gets a target of its own."""
        answer = self.errors_of(self.assembly.placements[0]).answer

        async def respond(request: Any) -> Response:
            return await answer(request, request._target.error)  # Raised here, its traceback would hold this frame.

        composed = self.make_root_miss(respond)
        handle = composed.handler

        async def handle_and_forget(request: Any) -> Response:
            try:
                return await handle(request)
            finally:
                # Its traceback holds the walk, which holds the target.
                request._target.error = None

        composed.handler = handle_and_forget
        return partial(FailedTarget, composed)

    def make_root_miss(self, respond: Handler) -> Target:
        """A target that answers in place of any other, inside the app's own hooks and middleware."""
        root = self.assembly.placements[0]
        target = Target(root, miss=Miss("not_found", root))
        self.compose(target, respond)
        return target

    def make_miss(self, miss: Miss[Placement]) -> Target:
        """The target that answers where no route does, inside its owner's hooks and middleware."""
        target = Target(miss.owner, miss=miss)
        if not self._waits:
            self.compose(target)
        return target

    def make_mount_endpoint(self, target: Target, before: list[Plan], after: list[Plan], answer: Answer) -> Handler:
        """The endpoint of a mounted app."""
        enter = self.services.enter(target)
        return make_endpoint(Plan.of_endpoint(enter, "the mounted app"), answer, before, after)

    def guard_route(self, endpoint: Handler, target: Target) -> Handler:
        """Add an end when the client leaves, if the route or the config asks for it."""
        route = target.route
        assert route is not None
        cancels = route.cancel_on_disconnect
        if cancels is None:
            cancels = self.services.limits.cancel_on_disconnect
        return make_cancelling(endpoint, self.errors_of(target.placement).answer) if cancels else endpoint


ROUTE_LIMITS = frozenset(
    (
        "body_timeout",
        "decode_request_bodies",
        "json_max_depth",
        "max_boundary_size",
        "max_form_files",
        "max_form_memory_size",
        "max_form_parts",
        "max_header_size",
        "max_headers_size",
        "max_part_header_size",
        "max_part_headers",
        "max_query_parameters",
        "upload_spool_size",
        "websocket_max_message",
    )
)
"""The limits that ``route`` takes as options, beside ``max_content_length`` which it names itself."""


def limits_of(target: Target, limits: Limits) -> Limits:
    """The limits of one target: the app's, with those that its route gives.

    Raises:
        SetupError: a limit may not hold that.
    """
    route = target.route
    if route is None:
        return limits
    changes = {name: value for name, value in route.options.items() if name in ROUTE_LIMITS}
    if route.max_content_length is not ...:
        changes["max_content_length"] = route.max_content_length
    if not changes:
        return limits
    try:
        return limits.replace(**changes)
    except SetupError as error:
        raise SetupError(f"the route {route.rule!r} has a wrong limit: {error} ({route.place})") from None


def find_representations(placement: Placement) -> Any:
    """What negotiates the type of answers there; None where there is only JSON."""
    given = [router._representations for router in placement.chain if router._representations]
    if not given:
        return None
    from microweb.representations import Negotiation

    return Negotiation(given)


def variables_of(target: Target) -> tuple[str, ...]:
    """The names that a target's path, host and defaults give to its view."""
    assert target.route is not None
    return tuple(dict.fromkeys((*target.variables, *(target.route.defaults or ()))))


def make_layer(registration: Registration) -> tuple[Callable[..., Any], str]:
    """A middleware and its name for error texts.

    Raises:
        SetupError: it is a class, or a plain ``def``, and could not await ``call_next``; or it does not take that.
    """
    layer = registration.function
    if isinstance(layer, type):
        raise SetupError(
            f"the middleware {describe(layer)} is a class; give add_middleware an object of it, "
            f"{layer.__name__}(...), or if it takes an ASGI app, write app.add_asgi_middleware({layer.__name__}, ...) "
            f"({registration.place})"
        )
    if not is_async(layer):
        raise SetupError(
            f"the middleware {describe(layer)} must be `async def`, since it awaits call_next(request) "
            f"({registration.place}); a plain def can be a before_request or after_request function"
        )
    if not can_take(layer, 2):
        raise SetupError(
            f"the middleware {describe(layer)} must take two arguments, (request, call_next) ({registration.place})"
        )
    return layer, f"middleware {describe(layer)}"


def make_error_handler(
    registration: Registration, overrides: Mapping[Any, Any]
) -> tuple[Callable[[Any, BaseException], Awaitable[Any]], str]:
    """An error handler to be awaited, and its name for error texts."""
    plan = make_plan(registration.function, what="error handler", leading=1, overrides=overrides)
    call, label = plan.call, f"error handler {plan.label}"

    async def handle(request: Any, error: BaseException) -> Any:
        value = call(request, error) if plan.is_async else await request.worker.run(call, request, error, label=label)
        return await value if hasattr(value, "__await__") else value

    return handle, label


def make_preprocessing(registrations: list[Registration]) -> Plan:
    """All ``url_value_preprocessor`` functions as one stage before the hooks."""
    functions = [registration.function for registration in registrations]

    async def preprocess(request: Any) -> None:
        for function in functions:
            function(request.endpoint, request.view_args)

    return Plan.of_endpoint(preprocess, "url_value_preprocessor")


def check_plain(registration: Registration, what: str) -> None:
    """Refuse a function on URLs that would have to be awaited, or takes something else.

    Raises:
        SetupError: it is one.
    """
    if not can_take(registration.function, 2):
        raise SetupError(
            f"the {what} function {describe(registration.function)} must take two arguments, (endpoint, values) "
            f"({registration.place})"
        )
    if is_async(registration.function):
        raise SetupError(
            f"the {what} function {describe(registration.function)} must be a plain def: it only changes the values it "
            f"is given ({registration.place}); what has to be awaited belongs into a before_request function"
        )


def gather_template_functions(router: Any) -> Iterator[Registration]:
    """Every function that is registered on a router to be called by templates."""
    yield from router.context_processors
    for named in (router.template_filters, router.template_tests, router.template_globals):
        yield from named.values()


def check_synchronous(registration: Registration) -> None:
    """Refuse a function for templates that would have to be awaited.

    Raises:
        SetupError: it is an ``async def``; templates render synchronously.
    """
    if is_async(registration.function):
        raise SetupError(
            f"{describe(registration.function)} is used inside templates, which render synchronously, so it must be a "
            f"plain def; await what it needs in the view ({registration.place})"
        )


def make_teardown(plans: list[Plan], services: Services, listened: bool) -> Teardown:
    """All teardown hooks as one coroutine function that never raises an ``Exception``."""

    async def teardown(request: Any, error: BaseException | None) -> None:
        interrupted = None
        for plan in plans:
            try:
                if plan.is_async:
                    value = plan.call(request, error)
                else:
                    value = await request.worker.run_firmly(plan.call, request, error, label=plan.label)
                if hasattr(value, "__await__"):
                    await value
            except Exception as failure:  # noqa: BLE001 - the other hooks must still run
                if failure is not error:  # What it was told of, and raises on, was logged when it was answered.
                    services.log_failure(f"the teardown function {plan.label} failed", failure)
            except BaseException as failure:  # noqa: BLE001 - raised again when all hooks have run
                interrupted = failure
        if listened:
            # Not `request.worker`, which would take a thread for a request that had no use for one.
            await services.observers.notify("context_torn_down", worker=request._worker, request=request, error=error)
        if interrupted is not None:
            try:
                raise interrupted
            finally:
                interrupted = None  # Its traceback holds this frame.

    return teardown
