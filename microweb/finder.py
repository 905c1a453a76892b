"""The first step of the walk: from a scope to a target, composed for one table and one set of limits.

What every request must be checked for, whatever it asks, is checked here: the number of its headers and the
length of its URL. A refusal is a target like any other, inside the app's hooks and middleware.
"""

from collections.abc import Callable
from typing import Any, Protocol

from microweb.asgi import Scope
from microweb.assembly import Placement, Target
from microweb.errors import HTTPException, RequestHeaderFieldsTooLarge, RequestURITooLarge
from microweb.headers import find_header
from microweb.incoming import below_root
from microweb.limits import Limits
from microweb.routetable import RouteTable
from microweb.url import parse_host

__all__ = ["Finder", "find_host", "make_finder"]

Finder = Callable[[Scope], tuple[Target, dict[str, Any] | None]]


class Refusals(Protocol):
    """Makes the targets that answer instead of a route."""

    def refuse(self, make_error: Callable[[], HTTPException]) -> Target:
        """A target that answers with the status of an error."""
        ...

    def fail(self, error: Exception) -> Target:
        """A target that answers an unhandled error."""
        ...


def make_finder(table: RouteTable[Target, Placement], limits: Limits, refusals: Refusals) -> Finder:
    """Compose the look-up of HTTP targets."""
    refuse = refusals.refuse
    max_headers, max_url_length = limits.max_headers, limits.max_url_length
    match = table.match
    uses_hosts = table.uses_hosts
    too_many_headers = refuse(
        lambda: RequestHeaderFieldsTooLarge(f"The request has more than {max_headers} headers (MAX_HEADERS).")
    )
    url_too_long = refuse(
        lambda: RequestURITooLarge(f"The URL is longer than {max_url_length} bytes (MAX_URL_LENGTH).")
    )

    def find(scope: Scope) -> tuple[Target, dict[str, Any] | None]:
        path = scope["path"]
        raw_path = scope.get("raw_path")
        if len(path) + len(scope["query_string"]) > max_url_length or (
            raw_path is not None and len(raw_path) > max_url_length
        ):
            return url_too_long, None
        if len(scope["headers"]) > max_headers:
            return too_many_headers, None
        root = scope.get("root_path")
        if root:
            path, raw_path = below_root(root, path, raw_path)
        try:
            return match(scope["method"], path or "/", raw_path, find_host(scope) if uses_hosts else None)
        except Exception as error:  # noqa: BLE001 - from a converter of the program's own
            return refusals.fail(error), None

    return find


def find_host(scope: Scope) -> str | None:
    """The host that was asked for, in lower case without its port; None when it is missing or malformed."""
    header = find_header(scope["headers"], b"host")
    parsed = parse_host(header.decode("latin-1")) if header is not None else None
    return parsed[0] if parsed is not None else None
