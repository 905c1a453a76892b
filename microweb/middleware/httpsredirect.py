"""Plain http answered with the way to https.

A proxy that speaks TLS does this better, before a request reaches the app. Behind one, ``ProxyHeaders`` has to tell
the scheme, or every request is sent round in circles.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from microweb import Request, Response, SetupError, redirect
from microweb.errors import Forbidden

__all__ = ["HTTPSRedirect"]

STATUSES = (301, 302, 303, 307, 308)


class HTTPSRedirect:
    """Send a GET or HEAD that came over http to the same URL with https; answer 403 to anything else.

    What has a body has told it to everyone on the way already: sent round, a client would go on doing so. ``port`` is
    where https is spoken. ``status`` is what the redirect has; 308 and 301 are remembered by browsers, 307 and 302 not.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.add_middleware(HTTPSRedirect())

    Raises:
        SetupError: ``status`` is that of no redirect, or ``port`` is no port.
    """

    def __init__(self, status: int = 308, *, port: int = 443) -> None:
        if status not in STATUSES:
            raise SetupError(f"HTTPSRedirect takes a status of {', '.join(map(str, STATUSES))}, not {status!r}")
        if type(port) is not int or not 0 < port <= 65535:
            raise SetupError(f"HTTPSRedirect takes a port from 1 to 65535, not {port!r}")
        self.status = status
        self._port = None if port == 443 else port

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer of the rest, if the request is secure."""
        if request.is_secure:
            return await call_next(request)
        if request.method not in ("GET", "HEAD"):
            raise Forbidden("This can be sent over https only.")
        url = request.url
        # The path and the query are given so that they are quoted: a server may let through what no header can hold.
        # SECURITY: test_no_path_leads_to_another_host
        secure = url.replace(scheme="https", port=self._port, path=url.path, query=url.query or None)
        return redirect(secure, self.status)
