"""Requests that another site's page makes in a visitor's name: refused by what the browser says of itself.

No token, no cookie, nothing in forms. It is the rule of Go's ``http.CrossOriginProtection``: every current browser says
in ``Sec-Fetch-Site`` where a request comes from, older ones in ``Origin``. What carries neither comes from no browser
and has nobody's cookies by accident. A GET, HEAD or OPTIONS must not change anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from microweb import Request, Response, SetupError
from microweb.errors import Forbidden
from microweb.middleware.options import read_list
from microweb.middleware.origins import check_origin

__all__ = ["CSRF"]

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
REFUSED = "This request comes from a page of another site, which may not make it."


class CSRF:
    """Answer 403 to a request that changes something and comes from a page of another origin.

    A subdomain is another origin too. ``trusted_origins`` may send what they like; ``exempt`` are the endpoints that
    anyone may send to, such as ``"hooks.payment"``, for callers that prove themselves in another way.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.add_middleware(CSRF(trusted_origins=["https://accounts.example"]))

    Raises:
        SetupError: a trusted origin is none, or ``exempt`` holds no names.
    """

    def __init__(self, *, trusted_origins: Iterable[str] = (), exempt: Iterable[str] = ()) -> None:
        trusted = read_list(trusted_origins, "CSRF takes origins such as 'https://example.org'")
        if "*" in trusted:
            raise SetupError('CSRF takes origins such as "https://example.org"; to trust every site, leave it out')
        self.trusted_origins = frozenset(check_origin(origin) for origin in trusted)
        self.exempt = frozenset(read_list(exempt, "CSRF takes the names of exempt endpoints, such as 'hooks.payment'"))

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer of the rest, or a 403."""
        if request.method not in SAFE and not self._is_welcome(request):
            raise Forbidden(REFUSED)
        return await call_next(request)

    def _is_welcome(self, request: Request) -> bool:
        headers = request.headers
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        # SECURITY: test_the_verdict_is_that_of_go: a page can set neither header.
        if site:
            is_own = site in ("same-origin", "none")
        else:
            # The scheme is not compared: behind a proxy it may be unknown here, and plain http is for HSTS to end.
            is_own = not origin or origin.partition("://")[2].lower() == request.host.lower()
        return is_own or origin in self.trusted_origins or request.endpoint in self.exempt
