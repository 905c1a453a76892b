"""Redirect targets: writing one into a ``Location`` header, and judging one that came from outside.

Responses write their ``Location`` with this file, and views ask it about a ``?next=``. It sends nobody anywhere:
statuses are for ``responses.py``.
"""

from __future__ import annotations

from collections.abc import Collection

from microweb.hosts import parse_host, write_idna
from microweb.quoting import AUTHORITY, PATH, QUERY, quote_again
from microweb.url import Parts

__all__ = ["is_safe_redirect", "location"]


def location(value: str) -> str:
    """Write a URL or IRI as it may stand in a ``Location`` header: in ASCII, and read by everybody alike.

    A host beyond ASCII is written in IDNA, everything else that cannot stand in a URI percent-encoded,
    the backslash included, which browsers take for a slash. Escapes that are there already stay.

    >>> location("/caf\u00e9?q=a b"), location("/\\\\evil.example")
    ('/caf%C3%A9?q=a%20b', '/%5Cevil.example')

    Raises:
        ValueError: it holds a control character (which could end the header), or a host that is none in IDNA.
    """
    # SECURITY: test_redirects.py::test_a_location_refuses_control_characters
    if value and (min(value) < " " or "\x7f" in value):
        raise ValueError(f"a Location header cannot hold control characters: {value!r}")
    parts = Parts.of(value)
    if parts.netloc is not None:
        userinfo, at, host = parts.netloc.rpartition("@")
        if not host.isascii():
            host = write_idna(host)
        parts.netloc = quote_again(userinfo + at + host, AUTHORITY)
    parts.path = quote_again(parts.path, PATH)
    if parts.query is not None:
        parts.query = quote_again(parts.query, QUERY)
    if parts.fragment is not None:
        parts.fragment = quote_again(parts.fragment, QUERY)
    return parts.compose()


def is_safe_redirect(target: str, hosts: Collection[str] = ()) -> bool:
    """Say whether a browser sent to ``target`` stays on this site, or on one of ``hosts``.

    For targets that came with the request (``?next=``). Safe is a path, a query or a fragment, and
    an ``http`` or ``https`` URL to one of ``hosts``, each written as in a ``Host`` header. Not safe is
    whatever a browser could read in another way: a backslash, a control character, a space at an end.

    >>> [is_safe_redirect(target) for target in ("/cart?item=3", "//evil.example", "javascript:alert(1)")]
    [True, False, False]
    """
    # SECURITY: test_redirects.py::test_a_target_that_leaves_the_site_is_not_safe
    if not target or target != target.strip() or "\\" in target or min(target) < " " or "\x7f" in target:
        return False
    parts = Parts.of(target)
    if parts.netloc is None:
        return parts.scheme is None and not parts.path.partition("/")[0].count(":")
    if parts.scheme not in (None, "http", "https"):
        return False
    host = parse_host(parts.netloc)
    return host is not None and host in [parse_host(known) for known in hosts]
