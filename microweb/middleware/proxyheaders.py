"""What a proxy says of the client: its address, the scheme, the host and the prefix that it asked for.

Routes are looked for by host and path, so this stands around the whole app, as plain ASGI middleware does, and acts on
websockets too. Everything further in, from the router to ``request.url``, then sees the request as the client made it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from microweb import SetupError
from microweb.middleware.options import read_list

__all__ = ["ProxyHeaders"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Address = IPv4Address | IPv6Address

HEADERS = ("for", "proto", "host", "prefix")
SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss"), "ws": ("http", "ws"), "wss": ("https", "wss")}
"""What a scheme is called for requests, and for websockets."""

# RFC 3986 §3.3, without escapes: a prefix that needs some is not worth two ways to read it.
PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9\-._~!$&'()*+;=:@]+)+")


class ProxyHeaders:
    """Believe the ``X-Forwarded-*`` headers of the proxies in ``trusted``, and of nobody else.

    ``trusted`` are addresses and networks, ``"10.0.0.0/8"``; ``"unix"`` is whoever connects to a unix socket.
    ``hops`` is how many proxies stand in a row at most, each of them trusted; the first address from the right that is
    none of theirs is the client's.

    ``X-Forwarded-For`` sets ``request.client``, ``-Proto`` the scheme, ``-Host`` the host, ``-Prefix`` the path that
    the proxy has cut off (``root_path``). The proxy must set or remove every one that is read: it lets pass what a
    client sends in those it does not know. ``headers=("for", "proto")`` reads these two only. RFC 7239's ``Forwarded``
    is not read.

    It acts before a route is looked for, so it is given to an app and not to a router, and stands outside of every
    other layer: ``app.add_middleware(...)`` and ``app.add_asgi_middleware(...)`` are the same for it.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.add_middleware(ProxyHeaders(trusted=["127.0.0.1"]))

    Raises:
        SetupError: something trusted is no address, or ``hops`` or ``headers`` make no sense.
    """

    stands_around_app = True
    """Tells ``add_middleware`` that it takes the app, and not ``(request, call_next)``."""

    def __init__(self, trusted: Iterable[str], hops: int = 1, *, headers: Iterable[str] = HEADERS) -> None:
        listed = read_list(trusted, "ProxyHeaders takes addresses and networks, such as '127.0.0.1' and '10.0.0.0/8'")
        if not listed:
            raise SetupError("ProxyHeaders needs the proxies to believe, trusted=['127.0.0.1']; none came")
        if type(hops) is not int or hops < 1:
            raise SetupError(f"hops is the number of proxies in a row, 1 or more, not {hops!r}")
        self.hops = hops
        self._reads = frozenset(read_list(headers, f"ProxyHeaders reads some of {HEADERS!r}"))
        if not self._reads or not self._reads <= set(HEADERS):
            raise SetupError(f"ProxyHeaders reads some of {HEADERS!r}, not {sorted(self._reads)!r}")
        self._trusts_unix = "unix" in listed
        self._networks = [parse_network(entry) for entry in listed if entry != "unix"]
        self._names = {f"x-forwarded-{name}".encode(): name for name in self._reads}
        # PERF(walk.middleware): a proxy's address is the same all day.
        self._is_proxy = lru_cache(maxsize=1024)(self._look_up)

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """The app, told by its proxies who asks."""

        async def pass_on(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan" and self._trusts(scope.get("client")):
                scope = self._read(scope)
            await app(scope, receive, send)

        return pass_on

    def _trusts(self, client: tuple[str, int] | list[Any] | None) -> bool:
        # SECURITY: test_nobody_else_is_believed
        return self._is_proxy(client[0]) if client and client[0] else self._trusts_unix

    def _look_up(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self._networks)

    def _read(self, scope: Scope) -> Scope:
        """A copy of the scope as the client would have made it."""
        names = self._names
        lines: dict[str, list[bytes]] = {}
        kept: list[tuple[bytes, bytes]] = []
        for line in scope["headers"]:
            name = names.get(line[0])
            if name is not None:
                lines.setdefault(name, []).append(line[1])
            # SECURITY: test_a_header_with_underscores_is_dropped: CGI and WSGI cannot tell it from the real one.
            elif b"_" in line[0] and line[0].lower().replace(b"_", b"-") in names:
                continue
            kept.append(line)
        # RFC 9110 §5.3: the lines of a list are one list. Joined at the end: adding to it line by line is quadratic.
        # SECURITY: test_the_lines_of_one_header_are_read_in_linear_time: nobody has counted them yet.
        given = {name: b",".join(values).decode("latin-1") for name, values in lines.items()}
        scope = {**scope, "headers": kept}
        client, depth = self._find_client(given.get("for", ""))
        if client is not None:
            scope["client"] = client
        schemes = SCHEMES.get(pick(given.get("proto", ""), depth).lower())
        if schemes is not None:
            scope["scheme"] = schemes[scope["type"] == "websocket"]
        host = pick(given.get("host", ""), depth)
        if host:
            # Not looked at here: whoever asks for the host gets a 400 if it is malformed.
            scope["headers"] = [*(line for line in kept if line[0] != b"host"), (b"host", host.encode("latin-1"))]
        self._add_prefix(scope, pick(given.get("prefix", ""), depth).rstrip("/"))
        return scope

    def _find_client(self, header: str) -> tuple[tuple[str, int] | None, int]:
        """Who made the request, and how many proxies have passed it on."""
        client: tuple[str, int] | None = None
        depth = 1
        # SECURITY: test_an_address_that_the_client_has_written_itself_is_not_reached
        entries = header.rsplit(",", self.hops)[-self.hops :]
        for position, entry in enumerate(reversed(entries), 1):
            found = parse_peer(entry.strip())
            if found is None:
                break
            client, depth = found, position
            if not self._is_proxy(found[0]):
                break
        return client, depth

    def _add_prefix(self, scope: Scope, prefix: str) -> None:
        # SECURITY: test_a_prefix_that_is_no_plain_path_is_ignored: links and redirects begin with it.
        if not prefix or PREFIX.fullmatch(prefix) is None:
            return
        scope["root_path"] = prefix + scope.get("root_path", "")
        scope["path"] = prefix + scope["path"]
        raw_path: bytes | None = scope.get("raw_path")
        if raw_path is not None:
            scope["raw_path"] = prefix.encode("ascii") + raw_path


def pick(header: str, depth: int) -> str:
    """What the proxy wrote that is ``depth`` steps away; the first that is there, if they write only one."""
    return header.rsplit(",", depth)[-depth:][0].strip()


def parse_network(entry: str) -> IPv4Network | IPv6Network:
    """The addresses that an entry stands for.

    Raises:
        SetupError: it is neither an address nor a network.
    """
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        raise SetupError(
            f"a trusted proxy is an address or a network, '127.0.0.1', '10.0.0.0/8' or 'unix', not {entry!r}; "
            "names are not looked up, and everyone is '0.0.0.0/0' and '::/0'"
        ) from None


def parse_address(text: str) -> Address | None:
    """An address, one of IPv4 inside IPv6 as itself; None if it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def parse_peer(text: str) -> tuple[str, int] | None:
    """Address and port of an entry, ``1.2.3.4``, ``1.2.3.4:5678`` or ``[::1]:5678``; the port is 0 if unknown."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    address = parse_address(host)
    if address is None:
        return None
    return str(address), int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
