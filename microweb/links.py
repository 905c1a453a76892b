"""``url_for``: from an endpoint's name to a URL, as seen from where the caller stands.

Names are looked for locally first, then upwards: ``.post`` in the current router, then in the ones around it;
any name in the current app, then in the app that it is mounted in. An app's own names reach into the microweb
apps that are mounted in it: ``shop.cart`` is the endpoint ``cart`` of the app mounted as ``shop``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from microweb.assembly import Assembly
from microweb.errors import BuildError, OutsideContextError
from microweb.finder import find_host
from microweb.hosts import parse_host
from microweb.incoming import Incoming
from microweb.querystring import build_query
from microweb.quoting import quote_fragment, quote_path
from microweb.url import is_scheme
from microweb.urlmap import UnknownEndpoint

__all__ = ["build_url"]


class Found(NamedTuple):
    """A URL's parts below the app that was asked."""

    path: str
    query: dict[str, Any]
    host: str | None
    is_websocket: bool


def build_url(
    app: Any,
    incoming: Incoming | None,
    endpoint: str,
    values: dict[str, Any],
    *,
    anchor: str | None,
    method: str | None,
    scheme: str | None,
    external: bool | None,
) -> str:
    """The URL of ``endpoint``.

    Raises:
        BuildError: there is no such endpoint, or it needs other values; the message names them.
        TypeError: the endpoint is no name.
        ValueError: the scheme is none.
        OutsideContextError: a whole URL is asked for outside of a request and no ``SERVER_NAME`` is set.
    """
    given: object = endpoint
    if not isinstance(given, str):
        raise TypeError(f"url_for takes the name of an endpoint, such as 'blog.post', not {given!r}")
    if scheme and not is_scheme(scheme):
        # SECURITY: test_a_scheme_that_is_none_is_refused: what else stands there is read as a host, or runs.
        raise ValueError(f"{scheme!r} is no scheme of a URL")
    base, root, found = find(app, incoming, endpoint, values, method)
    path = root + found.path
    query = build_query(found.query)
    fragment = "" if anchor is None or anchor == "" else f"#{quote_fragment(str(anchor))}"
    url = f"{path}{'?' + query if query else ''}{fragment}"
    host = found.host
    if external is None:
        external = scheme is not None or (host is not None and (base is None or host != find_host(base.scope)))
    if not external:
        # SECURITY: test_a_path_that_is_built_never_names_a_host. Clients take the dot away again (RFC 3986 §5.2.4).
        return f"/.{url}" if url.startswith("//") else url
    if base is not None:
        asked_host, asked_scheme = base.host, base.scheme
    else:
        asked_host, asked_scheme = app.config["SERVER_NAME"], app.config["PREFERRED_URL_SCHEME"]
        if not asked_host and host is None:
            raise OutsideContextError(
                f"url_for({endpoint!r}, _external=True) outside of a request needs config['SERVER_NAME']"
            )
    if scheme is None:
        scheme = (
            TO_WEBSOCKET.get(asked_scheme, asked_scheme)
            if found.is_websocket
            else TO_HTTP.get(asked_scheme, asked_scheme)
        )
    if host is not None:
        _, port = parse_host(asked_host or "") or (None, None)
        host = f"[{host}]" if ":" in host else host
        host = f"{host}:{port}" if port else host
    return f"{scheme + ':' if scheme else ''}//{host or asked_host}{url}"


TO_WEBSOCKET = {"http": "ws", "https": "wss"}
TO_HTTP = {"ws": "http", "wss": "https"}


def find(
    app: Any, incoming: Incoming | None, endpoint: str, values: dict[str, Any], method: str | None
) -> tuple[Incoming | None, str, Found]:
    """Look for ``endpoint`` from here upwards; gives the request where it is, its quoted root and the parts."""
    failure: BuildError | None = None
    here, asked = incoming, app
    relative = endpoint.startswith(".")
    name = endpoint.lstrip(".")
    while True:
        root = (
            here.quoted_root() if here is not None else quote_path((asked.config["APPLICATION_ROOT"] or "").rstrip("/"))
        )
        routers = enclosing(here) if relative else [""]
        for router in routers:
            try:
                return here, root, build_in(asked, f"{router}.{name}" if router else name, values, method, incoming)
            except BuildError as error:
                # What an endpoint lacks that is there tells more than where there is none of that name.
                if failure is None or (type(failure) is UnknownEndpoint and type(error) is BuildError):
                    failure = error
        if here is None or here.parent is None:
            assert failure is not None
            try:
                raise failure if type(failure) is BuildError else BuildError(*failure.args) from None
            finally:
                del failure  # Its traceback holds this frame, which holds the request.
        here = here.parent
        asked = here.app


def enclosing(incoming: Incoming | None) -> list[str]:
    """The dotted names of the current router and those around it, nearest first; the app itself is ``""``."""
    if incoming is None or incoming._target is None:
        return [""]
    name: str = incoming._target.placement.name
    names = []
    while name:
        names.append(name)
        name = name.rpartition(".")[0]
    return [*names, ""]


def build_in(
    app: Any, endpoint: str, values: Mapping[str, Any], method: str | None, incoming: Incoming | None
) -> Found:
    """The parts of ``endpoint``'s URL in one app and the apps mounted in it; those on the host of ``incoming`` first.

    Raises:
        BuildError: it is not there, or needs other values.
    """
    assembly: Assembly = app.assembly
    values = dict(values)
    route = assembly.endpoints.get(endpoint)
    if route is None:
        for name, (prefix, host, mount) in assembly.mounted_apps.items():
            if endpoint.startswith(f"{name}."):
                here = {key: values.pop(key) for key in prefix.variables if key in values}
                inner = build_in(mount.target, endpoint[len(name) + 1 :], values, method, incoming)
                filled = {**values, **here}
                for registration in assembly.url_defaults_of(f"{name}."):
                    registration.function(endpoint, filled)
                hosts = {key: filled[key] for key in (host.variables if host else ()) if key in filled}
                query = {key: value for key, value in inner.query.items() if key not in hosts}
                try:
                    asked_host = inner.host or (host.build(hosts) if host else None)
                    return Found(prefix.build(filled) + inner.path, query, asked_host, inner.is_websocket)
                except BuildError as error:
                    raise BuildError(f"No URL can be built for the endpoint {endpoint!r}: {error}.") from None
    else:
        for registration in assembly.url_defaults_of(endpoint):
            registration.function(endpoint, values)
    current_host = find_host(incoming.scope) if incoming is not None and assembly.urls.uses_hosts else None
    built = assembly.urls.build(endpoint, values, method=method, current_host=current_host)
    return Found(built.path, built.query, built.host, route is not None and route.methods is None)
