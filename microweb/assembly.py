"""The first half of the build step: from the tree of routers to one route table and one URL map.

Routers are flattened into *placements* (a router mounted twice has two), rules are parsed, and each route and
mount becomes a ``Target`` in the table. ``composition.py`` then gives every target its handler. ``app.py``
makes an ``Assembly`` when it starts, and before that whenever a URL is built or a path explained.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from microweb.binding import Plan
from microweb.callables import can_take, describe
from microweb.converters import BUILTIN_CONVERTERS, Converter
from microweb.errors import SetupError
from microweb.limits import Limits
from microweb.onion import Answer, Handler
from microweb.patterns import HostPattern, Pattern
from microweb.registrations import Mount, Registration, Route
from microweb.responses import Response
from microweb.router import Router
from microweb.routetable import Miss, RouteTable
from microweb.rulereading import parse_host_pattern, parse_pattern
from microweb.staticfolder import StaticFolder
from microweb.streaming import Stream
from microweb.urlmap import UrlMap

__all__ = ["Assembly", "Placement", "Target", "count_registrations", "located"]


class Placement:
    """A router at one place of the tree: a router mounted twice has two."""

    def __init__(
        self,
        router: Router,
        parent: Placement | None,
        name: str,
        prefix: Pattern,
        host: HostPattern | None,
        converters: Mapping[str, type[Converter]],
        place: str,
    ) -> None:
        self.router = router
        self.parent = parent
        self.name = name
        """The dotted name, ``""`` for the app."""
        self.prefix = prefix
        self.host = host
        self.converters = converters
        self.place = place
        """File and line of its mounting; for the app, of its making."""
        self.chain: list[Router] = [*(parent.chain if parent else ()), router]
        """The routers from the app down to this one."""

    def endpoint(self, name: str) -> str:
        """The dotted endpoint of a view of this router."""
        return f"{self.name}.{name}" if self.name else name

    def gather(self, attribute: str) -> list[Registration]:
        """What the routers of the chain registered, outermost first."""
        return [registration for router in self.chain for registration in getattr(router, attribute)]

    def __repr__(self) -> str:
        return f"<Placement {self.name or 'app'} at {self.prefix.rule or '/'}>"


class Target:
    """What the table answers: a handler, and what the walk must know beside it."""

    __slots__ = (
        "answer",
        "depth",
        "endpoint",
        "handler",
        "layers",
        "limits",
        "miss",
        "mount",
        "placement",
        "plan",
        "representations",
        "route",
        "source",
        "stream",
        "takes_one_value",
        "takes_request",
        "teardown",
        "variables",
        "view",
    )

    def __init__(
        self,
        placement: Placement,
        *,
        route: Route | None = None,
        mount: Mount | None = None,
        miss: Miss[Placement] | None = None,
    ) -> None:
        self.placement = placement
        self.route = route
        self.mount = mount
        self.miss = miss
        self.endpoint = placement.endpoint(route.name) if route is not None else None
        self.limits: Limits | None = None
        """The app's limits with the changes that the route asks for; set when it is composed."""
        self.variables: tuple[str, ...] = ()
        """The names of the values that its path and host give."""
        self.depth = 0
        """The number of path segments up to a mounted app."""
        self.plan: Plan | None = None
        self.representations: Any = None
        """The ``Negotiation`` of its view, if its routers have other representations than JSON."""
        self.layers: list[tuple[Callable[..., Any], str]] = []
        self.teardown: Callable[[Any, BaseException | None], Awaitable[None]] | None = None
        self.handler: Handler = not_composed
        self.view: Callable[..., Awaitable[Any]] | None = None
        """The view itself, where the walk may await it without a handler; then these four say how."""
        self.takes_request = False
        self.takes_one_value = False
        self.answer: Answer = not_answered
        self.source = ""
        self.stream: Stream | None = None
        """What sends the answer of an async generator function, where it needs no handler either."""

    @property
    def is_websocket(self) -> bool:
        """Whether it answers websockets and nothing else."""
        return self.route is not None and self.route.methods is None


async def not_composed(request: Any) -> Response:
    """Stand where a handler will be."""
    raise AssertionError("a target was asked before it was composed")


async def not_answered(request: Any, error: Exception) -> Response:
    """Stand where the error handlers will be."""
    raise AssertionError("a target was asked before it was composed") from error


class Assembly:
    """Everything derived from an app's registrations, for one version of them.

    Made anew when registrations change before the app starts; composed once when it starts.
    """

    def __init__(self, app: Router) -> None:
        self.app = app
        self.placements: list[Placement] = []
        self.targets: list[Target] = []
        self.urls = UrlMap()
        self.mounted_apps: dict[str, tuple[Pattern, HostPattern | None, Mount]] = {}
        """Microweb apps mounted below, by their dotted names: prefix and host."""
        root = Placement(app, None, "", parse_pattern(""), None, app.converters, app.place)
        self.table: RouteTable[Target, Placement] = RouteTable(root)
        self.endpoints: dict[str, Route] = {}
        """The route that first took each endpoint name."""
        self._url_defaults: dict[str, list[Registration]] = {}
        self._place(root)
        self._add_static_folders()

    # From routers to targets ---------------------------------------------------------------------

    def _place(self, placement: Placement) -> None:
        self.placements.append(placement)
        for route in placement.router.routes:
            self._add_route(placement, route)
        for mount in placement.router.mounts:
            self._add_mount(placement, mount)

    def _add_route(self, placement: Placement, route: Route) -> None:
        with located(route.place):
            pattern = parse_pattern(route.rule, placement.converters).joined(placement.prefix)
            host = parse_host_pattern(route.host, placement.converters) if route.host else placement.host
        endpoint = placement.endpoint(route.name)
        known = self.endpoints.setdefault(endpoint, route)
        if known.source != route.source:
            unnamed = describe(known.view) == describe(route.view) and "<locals>" in describe(route.view)
            wrapped = ", or put functools.wraps into the decorator around them" if unnamed else ""
            raise SetupError(
                f"the endpoint {endpoint!r} names two views: {describe(known.view)} ({known.place}) and "
                f"{describe(route.view)} ({route.place}); give one of them endpoint=...{wrapped}"
            )
        self._url_defaults[endpoint] = placement.gather("url_defaults_hooks")
        target = Target(placement, route=route)
        target.variables = (*(host.variables if host else ()), *pattern.variables)
        strict = route.strict_slashes
        if strict is None:
            strict = getattr(self.app, "strict_slashes", True)
        self.targets.append(target)
        with located(route.place):
            self.table.add(
                pattern,
                target,
                methods=route.methods,
                owner=placement,
                place=route.place,
                host=host,
                strict_slashes=strict,
                defaults=route.defaults,
            )
            self.urls.add(endpoint, pattern, methods=route.methods, defaults=route.defaults, host=host)

    @property
    def has_mounted_apps(self) -> bool:
        """Whether any app is mounted that may have a lifespan."""
        return any(target.mount is not None for target in self.targets)

    def url_defaults_of(self, endpoint: str) -> list[Registration]:
        """The ``url_defaults`` functions that fill values in for ``endpoint``, the app's first.

        Those for where an app is mounted stand under its name and a dot, which is no endpoint's.
        """
        return self._url_defaults.get(endpoint, [])

    def _add_mount(self, placement: Placement, mount: Mount) -> None:
        with located(mount.place):
            prefix = parse_pattern(mount.prefix, placement.converters).joined(placement.prefix)
        if isinstance(mount.target, Router) and not mount.target.is_app:
            self._mount_router(placement, mount, mount.target, prefix)
        else:
            self._mount_app(placement, mount, prefix.without_slash())

    def _mount_router(self, placement: Placement, mount: Mount, inner: Router, outer: Pattern) -> None:
        if inner in placement.chain:
            raise SetupError(f"{inner!r} is mounted inside itself ({mount.place})")
        full_name = self._name_router(placement, mount, mount.name or inner.name)
        with located(inner.place):
            # Each router has the built-in ones; those that the app has put in their places hold here too.
            own = {name: kind for name, kind in inner.converters.items() if BUILTIN_CONVERTERS.get(name) is not kind}
            converters = {**placement.converters, **own}
            prefix = parse_pattern(inner.prefix, converters).joined(outer)
            host = parse_host_pattern(inner.host, converters) if inner.host else placement.host
        here = Placement(inner, placement, full_name, prefix, host, converters, mount.place)
        with located(inner.place if outer.tail is None else mount.place):
            self.table.add_owner(prefix, here, host=host)
        self._place(here)

    def _mount_app(self, placement: Placement, mount: Mount, prefix: Pattern) -> None:
        inner = mount.target
        if not isinstance(inner, Router) and not can_take(inner, 3):
            raise SetupError(
                f"an ASGI app takes three arguments, and {inner!r} does not; one for WSGI, a Flask app for example, is "
                f"mounted as WSGI(app) ({mount.place})"
            )
        if isinstance(inner, Router) and reaches(inner, self.app):
            raise SetupError(f"{self.app!r} is mounted inside itself, by way of {inner!r} ({mount.place})")
        if mount.errors == "bubble" and isinstance(inner, Router) and inner.is_wrapped:
            raise SetupError(
                f'errors="bubble" lets nothing out of {inner!r}: the ASGI middleware around it gets its answers, '
                f"those of its errors too; put that middleware around the outer app ({mount.place})"
            )
        target = Target(placement, mount=mount)
        target.variables = (*(placement.host.variables if placement.host else ()), *prefix.variables)
        target.depth = len(prefix.segments)
        self.targets.append(target)
        if isinstance(inner, Router):
            name = mount.name or inner.name
            if name:
                endpoint = self._name_router(placement, mount, name)
                self.mounted_apps[endpoint] = (prefix, placement.host, mount)
                self._url_defaults[f"{endpoint}."] = placement.gather("url_defaults_hooks")
        elif mount.name and hasattr(inner, "respond_below"):
            self._name_files(placement, mount, prefix)
        with located(mount.place):
            self.table.add_mount(prefix, target, owner=placement, place=mount.place, host=placement.host)

    def _name_router(self, placement: Placement, mount: Mount, name: str) -> str:
        """The dotted name of a router or an app that is mounted, which no other one may have."""
        if "." in name:
            raise SetupError(f"a router's name is one word without dots, not {name!r} ({mount.place})")
        full_name = placement.endpoint(name)
        others = [known.place for known in self.placements if known.name == full_name]
        if full_name in self.mounted_apps:
            others.append(self.mounted_apps[full_name][2].place)
        if others:
            raise SetupError(
                f"two routers are called {full_name!r}; mount one of them with name=... ({others[0]} and {mount.place})"
            )
        return full_name

    # Static files --------------------------------------------------------------------------------

    def _add_static_folders(self) -> None:
        """Give each static folder a route, unless the program itself has put something there.

        Of two folders under one URL the one that exists is served, and of two that exist the outer one:
        its hooks guard it.
        """
        folders: list[tuple[StaticFolder, Placement]] = []
        for placement in self.placements:
            router = placement.router
            if router.static_folder is not None and placement.endpoint("static") not in self.endpoints:
                folders.append((StaticFolder(self.app, router.static_folder), placement))
        for static, placement in sorted(folders, key=lambda each: not each[0].exists):
            self._add_static_folder(placement, static)

    def _add_static_folder(self, placement: Placement, static: StaticFolder) -> None:
        router = placement.router
        url = f"/{static.name}" if router.static_url_path is None else router.static_url_path
        route = Route(
            f"{url.rstrip('/')}/<path:filename>",
            static.static,
            name="static",
            methods=frozenset({"GET"}),
            place=router.place,
        )
        with located(router.place):
            pattern = parse_pattern(route.rule, placement.converters).joined(placement.prefix)
            if self._is_taken(pattern, placement.host):
                self._name_route(placement, route, pattern, static)
                return
        self._add_route(placement, route)
        fingerprints = Registration(static.add_fingerprint, router.place)
        self._url_defaults[placement.endpoint("static")].append(fingerprints)

    def _is_taken(self, pattern: Pattern, host: HostPattern | None) -> bool:
        """Whether a route or a mount stands where the route of a static folder would."""
        keys = tuple(segment.key for segment in pattern.segments)
        for rule in self.table.rules:
            if (rule.host and rule.host.key) != (host and host.key):
                continue
            here = tuple(segment.key for segment in rule.pattern.segments)
            if rule.kind == "mount" and here == keys[:-1]:
                return True
            if rule.methods is not None and "GET" in rule.methods and here == keys:
                return True
        return False

    def _name_files(self, placement: Placement, mount: Mount, prefix: Pattern) -> None:
        """Let ``url_for(name, filename=...)`` build the URLs of mounted ``StaticFiles``."""
        files, name = mount.target, mount.name or ""
        if "." in name:
            raise SetupError(f"the name of a mount is one word without dots, not {name!r} ({mount.place})")
        endpoint = placement.endpoint(name)
        if endpoint in self.endpoints:
            other = self.endpoints[endpoint].place
            raise SetupError(f"the endpoint {endpoint!r} ({mount.place}) is there already ({other})")
        static = StaticFolder(self.app, files.directory, files)
        route = Route("/<path:filename>", static.static, name=name, methods=frozenset({"GET"}), place=mount.place)
        pattern = parse_pattern(route.rule, placement.converters).joined(prefix)
        self._name_route(placement, route, pattern, static)

    def _name_route(self, placement: Placement, route: Route, pattern: Pattern, static: StaticFolder) -> None:
        """Make a route known to ``url_for`` alone."""
        endpoint = placement.endpoint(route.name)
        self.endpoints[endpoint] = route
        self.urls.add(endpoint, pattern, methods=route.methods, host=placement.host)
        fingerprints = Registration(static.add_fingerprint, route.place)
        self._url_defaults[endpoint] = [*placement.gather("url_defaults_hooks"), fingerprints]


class located:  # noqa: N801 - used like a keyword: `with located(place):`
    """Add the place of a registration to the ``SetupError`` of whatever reads it."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, SetupError) and self.place not in str(error):
            raise type(error)(f"{error} ({self.place})") from None


def count_registrations(router: Router) -> int:
    """The number of registrations in a router and all that are mounted in it."""
    return sum(each.version for each in walk_mounts(router))


def reaches(router: Router, searched: Router) -> bool:
    """Whether ``searched`` is a router or mounted somewhere in it."""
    return any(each is searched for each in walk_mounts(router))


def walk_mounts(router: Router) -> Iterator[Router]:
    """A router and all that are mounted in it, each once."""
    seen: set[int] = set()
    waiting = [router]
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        waiting.extend(mount.target for mount in here.mounts if isinstance(mount.target, Router))
