"""Hosts as a ``Host`` header and a URL write them: a name or an address, and maybe a port.

That a host is well formed says nothing about whether the app answers for it: ``finder.py`` decides that, on what
``parse_host`` gives it, as the request, links and the debugger do. ``url.py`` and ``redirects.py`` write hosts beyond
ASCII with ``write_idna``.
"""

from __future__ import annotations

from microweb.grammar import Grammar

__all__ = ["parse_host", "write_idna"]

# Labels are joined by dots that are no part of a label, so there is one way to match and no backtracking.
# Underscores are no host name (RFC 952), but the names of containers and test machines have them.
HOST_AND_PORT = Grammar(r"(?:([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?")


def parse_host(value: str) -> tuple[str, int | None] | None:
    """Split a ``Host`` header into host and port; None when it is malformed.

    The host comes in lower case, an IPv6 address without its brackets, a name without a closing dot,
    so that it can be compared as it is. Only what a DNS name or an address is made of is taken: no
    user, no path, no escapes, no spaces, nothing beyond ASCII.

    >>> parse_host("Example.com:8000"), parse_host("[::1]"), parse_host("a/b")
    (('example.com', 8000), ('::1', None), None)
    """
    # SECURITY: test_hosts.py::test_a_host_with_anything_but_name_and_port_is_malformed
    if len(value) > 262:  # 253 for the longest DNS name, its dot, a colon, five digits; an address is shorter.
        return None
    match = HOST_AND_PORT.fullmatch(value)
    if match is None:
        return None
    name, address, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and not 0 < port <= 65535:
        return None
    if name is not None:
        return name.lower(), port
    return (address.lower(), port) if is_ipv6(address) else None


def is_ipv6(address: str) -> bool:
    import socket

    try:
        socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        return False
    return True


def write_idna(host: str) -> str:
    """Write a host beyond ASCII in IDNA; its port stays.

    Raises:
        ValueError: it is too long, or no host name in IDNA.
    """
    # The limit of parse_host: the codec of the standard library is not linear (CVE-2022-45061).
    if len(host) > 262:
        raise ValueError("the host of a URL is too long")
    name, colon, port = host.partition(":")
    try:
        return name.encode("idna").decode("ascii") + colon + port
    except UnicodeError:
        raise ValueError(f"{name!r} is no host name") from None
