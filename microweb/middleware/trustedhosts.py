"""The hosts that an app or a router answers for; the config's ``TRUSTED_HOSTS`` says it for websockets too.

A Host header is written by the client. What builds links from it, for a mail or for a cache, needs to know that it is
one of ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from microweb import URL, Request, Response, SetupError
from microweb.errors import BadRequest
from microweb.middleware.options import read_list

__all__ = ["TrustedHosts"]

MOST_WELCOME = 256
"""So many are remembered: a host below a listed one can be spelled in endless ways."""


class TrustedHosts:
    """Answer 400 to requests for any other host.

    ``"example.org"`` is that host, ``".example.org"`` also everything below it, ``"*.example.org"`` only what is
    below. Ports do not count. Without a Host header it is the server's own address that has to be listed.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.add_middleware(TrustedHosts(["example.org", ".example.net"]))

    Raises:
        SetupError: a host is none, or there is none at all.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        listed = read_list(hosts, "TrustedHosts takes hosts such as 'example.org'")
        if not listed:
            raise SetupError("TrustedHosts needs the hosts that the app answers for; none came")
        bare = [host_of(host.removeprefix("*." if host.startswith("*") else ".")) for host in listed]
        for written, host in zip(listed, bare, strict=True):
            if not host or "*" in host:
                raise SetupError(f"a trusted host is 'example.org', '.example.org' or '*.example.org', not {written!r}")
        pairs = list(zip(listed, bare, strict=True))
        self._names = frozenset(host for written, host in pairs if not written.startswith("*"))
        self._endings = tuple(f".{host}" for written, host in pairs if written.startswith((".", "*")))
        self._welcome: set[str] = set()
        """Headers that were found right. PERF(walk.middleware): to take one apart costs more than all else here."""

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer of the rest, or a 400."""
        header = request.headers.get("host", "")
        if header not in self._welcome:
            self._check(request)
            if len(self._welcome) < MOST_WELCOME and header:
                self._welcome.add(header)
        return await call_next(request)

    def _check(self, request: Request) -> None:
        # SECURITY: test_a_host_that_is_not_listed_is_refused_before_the_view
        if "host" in request.headers:
            host = host_of(request.host)  # A malformed or repeated header is a 400 already.
        else:
            server = request.scope.get("server")
            host = str(server[0]).lower() if server else ""
        if host not in self._names and not host.endswith(self._endings):
            raise BadRequest("This host is not one that is answered for here.")


def host_of(authority: str) -> str:
    """The host without its port, in lower case and without a closing dot; ``""`` if it is none."""
    # An address of IPv6 may come without its brackets, from a list and from the server.
    bracketed = f"[{authority}]" if authority.count(":") > 1 and not authority.startswith("[") else authority
    url = URL(f"http://{bracketed}")
    is_bare = url == f"http://{url.netloc}" and url.username is None and not set(authority) & set(" \\")
    return url.host.removesuffix(".") if is_bare else ""
