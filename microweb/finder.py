"""The first step of the walk: from a scope to a target, composed for one table and one set of limits.

What every request must be checked for, whatever it asks, is checked here: the number of its headers and the
length of its URL, and the host, if the app answers only for some. A refusal is a target like any other, inside
the app's hooks and middleware. Websockets have a finder of their own, in ``websocketcomposition.py``, that makes the
same check.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar

from microweb.asgi import Scope
from microweb.assembly import Placement, Target
from microweb.errors import BadRequest, HTTPException, RequestHeaderFieldsTooLarge, RequestURITooLarge, SetupError
from microweb.hosts import parse_host, write_idna
from microweb.incoming import below_root
from microweb.limits import Limits
from microweb.quoting import raw_is_other, unquote
from microweb.routetable import AbsoluteTarget, RouteTable

__all__ = ["MALFORMED_HOST", "Finder", "find_host", "make_check", "make_finder", "resolve_absolute"]

Refusal = TypeVar("Refusal")
Finder = Callable[[Scope], tuple[Target, dict[str, Any] | None]]
Check = Callable[[Scope], Refusal | None]


class Refusals(Protocol):
    """Makes the targets that answer instead of a route."""

    def refuse(self, make_error: Callable[[], HTTPException]) -> Target:
        """A target that answers with the status of an error."""
        ...

    def make_fail(self) -> Callable[[Exception], Target]:
        """A function that gives the target that answers an unhandled error."""
        ...


def make_finder(table: RouteTable[Target, Placement], limits: Limits, refusals: Refusals) -> Finder:
    """Compose the look-up of HTTP targets."""
    fail = refusals.make_fail()
    max_headers, max_url_length = limits.max_headers, limits.max_url_length
    match, descend, find_whole = table.match, table.descend, table.whole_paths.get
    uses_hosts = table.uses_hosts
    check = make_check(limits, refusals.refuse)
    malformed = refusals.refuse(lambda: BadRequest(MALFORMED_HOST))

    def find(scope: Scope, is_checked: bool = False) -> tuple[Target, dict[str, Any] | None]:
        if not is_checked:
            refusal = check(scope)
            if refusal is not None:
                return refusal, None
        path = scope["path"]
        raw_path = scope.get("raw_path")
        root = scope.get("root_path")
        if root:
            path, raw_path = below_root(root, path, raw_path)
        try:
            # As guards see it: a converter that takes an empty text would make the two forms differ.
            return match(scope["method"], path or "/", raw_path, find_host(scope) if uses_hosts else None)
        except AbsoluteTarget:
            return find_absolute(scope)
        except Exception as error:  # noqa: BLE001 - from a converter of the program's own
            return fail(error), None

    def find_absolute(scope: Scope) -> tuple[Target, dict[str, Any] | None]:
        # Checked anew: the host is another one.
        return find(scope) if resolve_absolute(scope) else (malformed, None)

    def find_quickly(scope: Scope) -> tuple[Target, dict[str, Any] | None]:
        # PERF(walk.plaintext): one look at what is the same for nearly all requests; the others go the long way.
        try:
            raw_path = scope["raw_path"]
            if len(scope["headers"]) > max_headers or len(raw_path) + len(scope["query_string"]) > max_url_length:
                return find(scope)
            if 37 in raw_path or scope["root_path"]:
                return find(scope, is_checked=True)
        except (KeyError, TypeError):  # A server may leave these two out, and say None for the first.
            return find(scope)
        # Where no percent sign hides a slash, what `match` would do, without the call.
        path = scope["path"]
        method = scope["method"]
        answers = find_whole(path)
        if answers is not None:
            answer = answers.get(method)
            if answer is not None:
                return answer
        try:
            return descend(method, path or "/")
        except AbsoluteTarget:
            return find_absolute(scope)
        except Exception as error:  # noqa: BLE001 - from a converter of the program's own
            return fail(error), None

    return find if uses_hosts or limits.trusted_hosts is not None else find_quickly


def make_check(limits: Limits, refuse: Callable[[Callable[[], HTTPException]], Refusal]) -> Check[Refusal]:
    """Compose what is checked of every request and websocket; it gives a refusal, as ``refuse`` makes one, or None."""
    max_headers, max_url_length = limits.max_headers, limits.max_url_length
    is_trusted = make_host_check(limits.trusted_hosts) if limits.trusted_hosts is not None else None
    untrusted_host = refuse(lambda: BadRequest("This host is not one that the app answers for (TRUSTED_HOSTS)."))
    too_many_headers = refuse(
        lambda: RequestHeaderFieldsTooLarge(f"The request has more than {max_headers} headers (MAX_HEADERS).")
    )
    url_too_long = refuse(
        lambda: RequestURITooLarge(f"The URL is longer than {max_url_length} bytes (MAX_URL_LENGTH).")
    )

    def check(scope: Scope) -> Refusal | None:
        raw_path = scope.get("raw_path")
        # A websocket's scope may leave the query out. Some servers leave the query on the raw path.
        query = len(scope.get("query_string") or b"")
        if len(scope["path"]) + query > max_url_length or (
            raw_path is not None and len(raw_path) + (0 if 63 in raw_path else query) > max_url_length
        ):
            return url_too_long
        try:
            number = len(scope["headers"])
        except TypeError:
            # ASGI asks for an iterable, no more. It is read more than once.
            scope["headers"] = list(scope["headers"])
            number = len(scope["headers"])
        if number > max_headers:
            return too_many_headers
        if is_trusted is not None and not is_trusted(scope):
            return untrusted_host
        return None

    return check


MALFORMED_HOST = "The host of the request's target is malformed."


def resolve_absolute(scope: Scope) -> bool:
    """Rewrite a scope whose path is a whole URL as servers write that of any other request (RFC 9112 §3.2.2).

    Only for one that ``is_absolute``: h11 and hypercorn leave the URL as it came, httptools and granian do not. Its
    host takes the place of the Host header, so that routes, guards and links see one host. Its scheme says nothing: it
    is for the server to know whether the connection is secure. False if the host is malformed; nothing is changed then.
    """
    path: str = scope["path"]
    raw_path: bytes | None = scope.get("raw_path")
    if raw_path is None or raw_is_other(path, raw_path):
        _, _, host, *rest = path.split("/", 3)
        path, raw_path = "/" + "".join(rest), None
    else:
        _, _, authority, *raw_rest = raw_path.partition(b"?")[0].split(b"/", 3)
        host, raw_path = authority.decode("latin-1"), b"/" + b"".join(raw_rest)
        path = unquote(raw_path)
    # SECURITY: test_a_whole_url_with_a_malformed_host_is_refused: also a user in front of it (RFC 9110 §4.2.4).
    if parse_host(host) is None:
        return False
    scope["path"], scope["raw_path"] = path, raw_path
    lines = [line for line in scope["headers"] if line[0].lower() != b"host"]
    scope["headers"] = [(b"host", host.encode("ascii")), *lines]
    return True


def find_host(scope: Scope) -> str | None:
    """The host that was asked for, in lower case without its port; None when it is missing or malformed."""
    header = next((value for name, value in scope["headers"] if name.lower() == b"host"), None)
    parsed = parse_host(header.decode("latin-1")) if header is not None else None
    return parsed[0] if parsed is not None else None


def make_host_check(trusted: Collection[str]) -> Callable[[Scope], bool]:
    """A function that says whether a scope asks for a listed host; ``.example.org`` takes in subdomains.

    Ports do not count. Without a Host header it is the server's own address that has to be listed.
    """
    hosts = [read_entry(entry.removeprefix(".")) for entry in trusted]
    names = frozenset(hosts)
    endings = tuple(f".{host}" for entry, host in zip(trusted, hosts, strict=True) if entry.startswith("."))

    def is_trusted(scope: Scope) -> bool:
        # SECURITY: test_a_host_that_is_not_listed_is_refused: it would get into the links that the app sends by mail.
        # ASGI asks servers for names in lower case, and lets them send others; the request reads them in any.
        lines = [value for name, value in scope["headers"] if name.lower() == b"host"]
        server = scope.get("server")
        if lines:
            asked = parse_host(lines[0].decode("latin-1")) if len(lines) == 1 else None
        else:
            asked = (str(server[0]).lower(), None) if server else None
        return asked is not None and (asked[0] in names or asked[0].endswith(endings))

    return is_trusted


def read_entry(entry: str) -> str:
    """The host of an entry as Host headers write it; an IPv6 address may stand without its brackets.

    Raises:
        SetupError: it is beyond ASCII and no host name.
    """
    try:
        written = entry if entry.isascii() else write_idna(entry)
    except ValueError as error:
        raise SetupError(f"TRUSTED_HOSTS: {error}") from None
    found = parse_host(written)
    return written if found is None else found[0]
