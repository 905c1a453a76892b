"""The list of what an app answers to: every route at its place, for extensions and for ``microweb routes``.

A route is listed once for each place where its router is mounted, with whole path and whole name. What happens to one
request is told by ``explanation.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from microweb.assembly import Assembly, Placement, Target
from microweb.router import Router
from microweb.routetree import Rule

__all__ = ["ListedRoute", "iterate_routes"]


class ListedRoute(NamedTuple):
    """One rule of an app, or of a microweb app that is mounted in it, as seen from that app.

    >>> from microweb import App
    >>> app = App(__name__, static_folder=None)
    >>> @app.get("/blog/<int:post>")
    ... async def show(post: int):
    ...     return f"post {post}"
    >>> [(route.rule, route.endpoint, route.variables) for route in app.list_routes()]
    [('/blog/<int:post>', 'show', ('post',))]
    """

    kind: Literal["view", "websocket", "mount"]
    rule: str
    """With all prefixes; of a mount the prefix alone, ``""`` at the root."""
    methods: frozenset[str]
    """As registered: HEAD comes with GET, OPTIONS by itself. Empty for a websocket and for a mount."""
    host: str | None
    """The rule of the host, if there is one."""
    endpoint: str | None
    """What ``app.url_for`` takes; of a mount the name that those below it begin with. None without such a name."""
    view: Any
    """The function; of a mount the mounted app."""
    variables: tuple[str, ...]
    """The names that host and path give to the view."""
    defaults: Mapping[str, Any]
    options: Mapping[str, Any]
    """As ``request.route.options``: what was given to ``route`` for extensions to read is here."""
    router: str
    """The dotted name of its router, or of the mounted app; ``""`` for the app itself."""
    place: str
    """File and line of its registration."""


def iterate_routes(app: Any) -> Iterator[ListedRoute]:
    """The routes of an app as registered, then those of the microweb apps mounted in it.

    Raises:
        SetupError: the routes cannot be put together.
    """
    assembly: Assembly = app.assembly
    mounts: list[ListedRoute] = []
    for rule in assembly.table.rules:
        listed = list_rule(rule)
        yield listed
        if listed.kind == "mount" and isinstance(listed.view, Router):
            mounts.append(listed)
    for mount in mounts:
        for inner in iterate_routes(mount.view):
            yield put_below(mount, inner)


def list_rule(rule: Rule[Target, Placement]) -> ListedRoute:
    """One entry of an app's table."""
    target = rule.target
    owner = target.placement
    route, mount = target.route, target.mount
    if mount is not None:
        name = mount.name or (mount.target.name if isinstance(mount.target, Router) else "")
        endpoint, view = owner.endpoint(name) if name else None, mount.target
    else:
        assert route is not None
        endpoint, view = target.endpoint, route.view
    return ListedRoute(
        "view" if rule.kind == "http" else rule.kind,
        rule.pattern.rule,
        rule.methods or frozenset(),
        rule.host.rule if rule.host is not None else None,
        endpoint,
        view,
        target.variables,
        rule.defaults or {},
        route.options if route is not None else {},
        owner.name,
        rule.place,
    )


def put_below(mount: ListedRoute, inner: ListedRoute) -> ListedRoute:
    """A route of a mounted app, as seen from the app around it."""
    named = mount.endpoint is not None and inner.endpoint is not None
    return inner._replace(
        rule=mount.rule + inner.rule,
        host=inner.host or mount.host,
        endpoint=f"{mount.endpoint}.{inner.endpoint}" if named else None,
        variables=mount.variables + inner.variables,
        router=".".join(part for part in (mount.endpoint or mount.router, inner.router) if part),
    )
