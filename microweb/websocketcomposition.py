"""Websocket targets, composed once: hooks, view and layers for every route, and the way into mounted apps.

The counterpart of ``composition.py``, with lists of its own: nothing meets a websocket that was not written for
one. What is raised passes through the layers as it is, and is answered once, by ``websocketwalk.py``; a layer's
``await call_next(websocket)`` gives None, or the response that refuses the handshake.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from microweb.asgi import Scope
from microweb.assembly import Target
from microweb.binding import make_plan
from microweb.callables import describe
from microweb.composition import Composition, limits_of, make_preprocessing, variables_of
from microweb.conversion import to_response
from microweb.errors import BadRequest, Forbidden, HTTPException, NotFound, SetupError
from microweb.finder import MALFORMED_HOST, find_host, make_check, resolve_absolute
from microweb.hosts import parse_host
from microweb.incoming import below_root
from microweb.plan import Plan
from microweb.registrations import Registration
from microweb.responses import Response
from microweb.routetable import AbsoluteTarget
from microweb.websockets import WebSocket

__all__ = ["WebSocketFinder", "WebSocketTarget", "check_origin", "make_websocket_finder"]

Serve = Callable[[WebSocket], Awaitable[Any]]
Enter = Callable[[WebSocket, Target], Awaitable[None]]


class WebSocketTarget(Target):
    """A route or a mount as websockets see it; ``serve`` gives None or the response that refuses.

    ``lone`` is the plan of a view, or of the way into a mounted app, with nothing around it: it needs no ``serve``.
    """

    __slots__ = ("lone", "serve")

    def __init__(self, target: Target, serve: Serve) -> None:
        super().__init__(target.placement, route=target.route, mount=target.mount, miss=target.miss)
        self.variables, self.depth = target.variables, target.depth
        self.serve = serve
        self.lone: Plan | None = None


WebSocketFinder = Callable[[Scope], tuple[WebSocketTarget, dict[str, Any] | None]]


def compose_websockets(composition: Composition, enter: Enter) -> dict[Target, WebSocketTarget]:
    """The websocket targets of an assembly; ``enter`` serves what is mounted.

    Raises:
        SetupError: a view is a plain ``def``, or a function asks for what nothing provides.
    """
    return {
        target: compose_websocket(composition, target, enter)
        for target in composition.assembly.targets
        if target.is_websocket or target.mount is not None
    }


def compose_websocket(composition: Composition, target: Target, enter: Enter) -> WebSocketTarget:
    """One target with its hooks, layers and teardown.

    Raises: as ``compose_websockets``.
    """
    placement, route = target.placement, target.route
    stages = composition.hooks(placement, "before_websocket_hooks", "before_websocket function", 0)
    registrations = placement.gather("websocket_layers")
    if route is None:

        async def enter_here(request: WebSocket) -> None:
            await enter(request, target)

        try:
            guards = composition.guards(target, target.variables, "websocket of a mounted app")
        except SetupError:
            # Requests have met the same guards already: this one reads a body, and nothing here can pass it.
            return make_missing(target)
        stages = [*stages, *guards, Plan.of_endpoint(enter_here, "the mounted app")]
    else:
        variables = variables_of(target)
        plan = make_plan(
            route.view,
            what="websocket view",
            variables=variables,
            overrides=composition.services.overrides,
            forbids_unknown=bool(route.options.get("forbid_unknown")),
        )
        if not plan.is_async:
            raise SetupError(
                f"the websocket view {describe(route.view)} must be `async def`, since it awaits its messages "
                f"({route.place})"
            )
        preprocessors = placement.gather("url_value_preprocessors")
        first = [make_preprocessing(preprocessors)] if preprocessors else []
        # SECURITY: test_the_dependencies_of_a_router_guard_its_websockets_too
        stages = [*first, *stages, *composition.guards(target, variables, "websocket view"), plan]
        registrations = registrations + [Registration(layer, route.place) for layer in route.middleware]
    serve = endpoint = make_endpoint(stages)
    for layer, label in reversed([composition.layer(registration) for registration in registrations]):
        serve = wrap(layer, label, serve)
    if composition.services.session_store is not None:
        serve = with_stored_session(serve, composition)
    found = WebSocketTarget(target, serve)
    if serve is endpoint and len(stages) == 1 and stages[0].is_coroutine_function:
        found.lone = stages[0]
    found.limits = limits_of(target, composition.services.limits)
    found.teardown = composition.teardown(placement, "teardown_websocket_hooks")
    return found


def make_websocket_finder(composition: Composition, enter: Enter) -> WebSocketFinder:
    """Compose the look-up of websockets, as ``make_finder`` does for requests, with the same limits.

    Raises: as ``compose_websockets``.
    """
    targets = compose_websockets(composition, enter)
    table, root = composition.assembly.table, Target(composition.assembly.placements[0])
    match, uses_hosts = table.match_websocket, table.uses_hosts
    check = make_check(composition.services.limits, partial(make_missing, root))
    malformed = make_missing(root, lambda: BadRequest(MALFORMED_HOST))

    def find(scope: Scope) -> tuple[WebSocketTarget, dict[str, Any] | None]:
        refusal = check(scope)
        if refusal is not None:
            return refusal, None
        path, raw_path = scope["path"], scope.get("raw_path")
        mounted_at = scope.get("root_path")
        if mounted_at:
            path, raw_path = below_root(mounted_at, path, raw_path)
        try:
            found, values = match(path or "/", raw_path, find_host(scope) if uses_hosts else None)
        except AbsoluteTarget:
            return find(scope) if resolve_absolute(scope) else (malformed, None)
        except Exception as error:  # noqa: BLE001 - from a converter of the program's own
            return make_failed(root, error), None
        return targets.get(found) or make_missing(found), values

    return find


def make_missing(target: Target, make_error: Callable[[], HTTPException] = NotFound) -> WebSocketTarget:
    """Where no route is, or none may be looked for: an error for the nearest error handlers, a 404 for instance."""

    async def miss(websocket: WebSocket) -> None:
        raise make_error()

    return WebSocketTarget(target, miss)


def make_failed(target: Target, error: Exception) -> WebSocketTarget:
    """What serves one websocket with the error that kept its route from being found."""
    kept = [error]

    async def fail(websocket: WebSocket) -> None:
        raise kept.pop()  # Kept any longer, its traceback would hold the walk, which holds this target.

    return WebSocketTarget(target, fail)


def make_endpoint(stages: list[Plan]) -> Serve:
    """Hooks and view: the first that gives a value before the websocket is open refuses it with that."""
    if any(stage.is_bound for stage in stages[:-1]):
        return make_sharing_endpoint(stages)
    calls = [(stage, stage.call) for stage in stages]

    async def endpoint(websocket: WebSocket) -> Response | None:
        check_origin(websocket)
        return await run_stages(calls, websocket)

    return endpoint


Calls = list[tuple[Plan, Callable[[WebSocket], Any]]]


async def run_stages(calls: Calls, websocket: WebSocket) -> Response | None:
    """Call hooks and view in order, as far as they come."""
    for stage, call in calls:
        if stage.is_async:
            value = call(websocket)
        else:
            value = await websocket.worker.run(call, websocket, label=stage.label)
        if hasattr(value, "__await__"):
            value = await value
        if websocket.state_of_connection == "closed":
            return None
        if value is not None and websocket.state_of_connection == "connecting":
            return to_response(value, websocket, stage.label)
    return None


def make_sharing_endpoint(stages: list[Plan]) -> Serve:
    """The same where hooks have dependencies: each is called once for all of them, and closed after the view."""
    from microweb.boundplan import BoundPlan
    from microweb.resolving import Resolution, close_after

    def share(stage: Plan, resolution: Resolution) -> Callable[[WebSocket], Any]:
        return partial(run_bound, stage, resolution) if isinstance(stage, BoundPlan) else stage.call

    async def run_bound(stage: BoundPlan, resolution: Resolution, websocket: WebSocket) -> Any:
        return await stage.run(websocket, resolution)

    async def sharing(websocket: WebSocket) -> Response | None:
        check_origin(websocket)
        resolution = Resolution(websocket)
        try:
            response = await run_stages([(stage, share(stage, resolution)) for stage in stages], websocket)
        except BaseException as error:
            if resolution.opened:
                await close_after(resolution, error)
            raise
        if resolution.opened:
            await resolution.close_cleanly()
        return response

    return sharing


def wrap(layer: Callable[[WebSocket, Serve], Awaitable[Any]], label: str, call_next: Serve) -> Serve:
    """One layer around what is inside of it: what it returns refuses the handshake, as what a hook returns does.

    One that returns nothing leaves a refusal from inside as it is.
    """

    async def layered(websocket: WebSocket) -> Response | None:
        refusal: Response | None = None

        async def go_on(websocket: WebSocket) -> Response | None:
            nonlocal refusal
            refusal = await call_next(websocket)
            return refusal

        value = await layer(websocket, go_on)
        if value is None or websocket.state_of_connection != "connecting":
            return refusal
        return to_response(value, websocket, label)

    return layered


def with_stored_session(serve: Serve, composition: Composition) -> Serve:
    """Load the session from the store first: attribute access cannot wait."""

    async def load_and_serve(websocket: WebSocket) -> Any:
        await composition.services.sessions.load(websocket)
        return await serve(websocket)

    return load_and_serve


def check_origin(websocket: WebSocket) -> None:
    """Refuse the pages of other sites: browsers send cookies with websockets, whoever opens them (RFC 6455 §10.2).

    A client that is no browser sends no Origin, and nothing that we could protect.

    Raises:
        Forbidden: the page's origin may not connect.
    """
    # SECURITY: test_websockets.py::test_a_page_of_another_site_cannot_use_the_cookies
    # PERF(websockets.connect): the headers stay undecoded, and cost no memory, where there is nothing to check.
    for name, _ in websocket.scope["headers"]:
        if len(name) == 6 and name.lower() == b"origin":
            break
    else:
        return
    allowed = websocket.limits.websocket_origins
    origin = websocket.headers.get("origin")
    if origin is None or (allowed is None and not carries_credentials(websocket)):
        return
    if allowed is not None:
        if origin.lower() not in allowed and "*" not in allowed:
            raise Forbidden("This origin may not open websockets here (WEBSOCKET_ORIGINS).")
        return
    scheme, _, authority = origin.partition("://")
    default = {"http": 80, "https": 443}.get(scheme.lower())
    there, here = parse_host(authority), parse_host(websocket.host)
    # Behind a proxy the scheme is not known for certain, so the page's own says which port is meant.
    if (
        default is None
        or there is None
        or here is None
        or ((there[0], there[1] or default) != (here[0], here[1] or default))
    ):
        raise Forbidden("Pages of other origins may not open websockets here with cookies (WEBSOCKET_ORIGINS).")


def carries_credentials(websocket: WebSocket) -> bool:
    """Whether there is what a browser sends by itself, whichever page asks: cookies, or a password it remembers."""
    # SECURITY: test_websockets.py::test_a_page_of_another_site_cannot_use_a_remembered_password. No page can set the
    # header for a websocket, and a bearer's token is remembered by no browser.
    headers = websocket.headers
    scheme = headers.get("authorization", "bearer").partition(" ")[0].lower()
    return "cookie" in headers or scheme != "bearer"
