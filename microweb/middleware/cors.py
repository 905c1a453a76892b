"""Cross-origin requests: which other sites' pages may read the answers (the Fetch standard's CORS protocol).

Preflights are answered here, without the view; everything else goes on and gets its headers on the way back, an
error's answer too. What a page sends without reading the answer is not held off by this: see ``csrf.py``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable

from microweb import Request, Response, SetupError
from microweb.middleware.options import read_list
from microweb.middleware.origins import check_origin

__all__ = ["CORS"]

Origins = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
TOKENS = re.compile(rf"{TOKEN.pattern}(?:[ \t]*+,[ \t]*+{TOKEN.pattern})*+")


class CORS:
    """Let pages of ``origins`` read the answers.

    ``origins`` is one or a list of: an origin such as ``"https://example.org"``, a compiled pattern that has to match
    a whole origin, ``"null"`` for pages without one (sandboxed frames, files), or ``"*"`` for every site.
    ``headers`` names what pages may send beside the harmless ones, ``"*"`` for anything, and ``methods`` likewise;
    ``expose`` names what they may read.
    With ``credentials`` browsers send cookies along. ``max_age`` is for how many seconds they remember a preflight;
    None leaves that to them.

    On a single route list ``OPTIONS`` among its methods, or preflights do not reach this; on a router or an app they
    always do.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.add_middleware(CORS(["https://shop.example"], credentials=True))

    Raises:
        SetupError: an origin is none, a name is no token, ``max_age`` is no number, or credentials are let
            through for every site.
    """

    def __init__(
        self,
        origins: Origins,
        *,
        methods: Iterable[str] = METHODS,
        headers: str | Iterable[str] = "*",
        credentials: bool = False,
        expose: Iterable[str] = (),
        max_age: int | None = 600,
    ) -> None:
        expected = "CORS takes origins such as 'https://example.org', or compiled patterns"
        listed = read_list(origins, expected, (str, re.Pattern))
        self._any_origin = "*" in listed
        if self._any_origin and credentials:
            # SECURITY: test_credentials_are_never_let_through_for_every_site
            raise SetupError(
                'CORS(origins="*", credentials=True) would let every site act as whoever visits it: list the origins'
            )
        self._patterns = [origin for origin in listed if isinstance(origin, re.Pattern)]
        self._origins = frozenset(check_origin(origin) for origin in listed if isinstance(origin, str))
        if not listed:
            raise SetupError("CORS needs the origins that it is for, such as ['https://example.org']; none came")
        allowed = names(headers)
        self._any_header = "*" in allowed
        self._simple = [("Access-Control-Allow-Credentials", "true")] if credentials else []
        self._actual = list(self._simple)
        exposed = ", ".join(check_token(name) for name in names(expose))
        if exposed:
            self._actual.append(("Access-Control-Expose-Headers", exposed))
        listed_methods = [check_token(name).upper() for name in names(methods)]
        self._any_method = "*" in listed_methods
        self._preflight = [*self._simple, ("Access-Control-Allow-Methods", ", ".join(listed_methods))]
        if allowed and not self._any_header:
            self._preflight.append(("Access-Control-Allow-Headers", ", ".join(check_token(name) for name in allowed)))
        if max_age is not None:
            try:
                self._preflight.append(("Access-Control-Max-Age", str(int(max_age))))
            except (OverflowError, TypeError, ValueError):
                raise SetupError(f"CORS takes a max_age in whole seconds, or None, not {max_age!r}") from None

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer to a preflight, or that of the rest with the headers that let a page read it."""
        asked = request.headers
        origin = asked.get("origin")
        if origin is not None and request.method == "OPTIONS" and "access-control-request-method" in asked:
            method = asked["access-control-request-method"]
            return self._answer_preflight(origin, method, asked.get("access-control-request-headers"))
        response = await call_next(request)
        headers = response.headers
        if not self._any_origin:
            # Also without an Origin: a cache must not give that answer to a page that sends one.
            headers.vary("Origin")
        # A star goes out without an Origin too: what a cache keeps of an image may be asked for by a script next.
        if self._any_origin or (origin is not None and self.allows(origin)):
            headers["Access-Control-Allow-Origin"] = "*" if self._any_origin else str(origin)
            for name, value in self._actual:
                headers[name] = value
        return response

    def allows(self, origin: str) -> bool:
        """Whether pages of ``origin`` may read the answers."""
        # SECURITY: test_an_origin_that_only_looks_like_a_listed_one_is_refused: whole origins are compared.
        if self._any_origin or origin in self._origins:
            return True
        # SECURITY: test_what_no_header_can_hold_is_no_origin: h11 lets control characters through, patterns often too.
        return origin.isprintable() and any(pattern.fullmatch(origin) is not None for pattern in self._patterns)

    def _answer_preflight(self, origin: str, method: str, wanted: str | None) -> Response:
        if not self.allows(origin):
            response = Response("This origin may not read answers from here (CORS).\n", 403, content_type="text/plain")
        else:
            response = Response(b"", 204, self._preflight)
            headers = response.headers
            headers["Access-Control-Allow-Origin"] = "*" if self._any_origin else origin
            # "*" in an answer would leave out Authorization, and everything with credentials: they are named.
            if self._any_method and TOKEN.fullmatch(method):
                headers["Access-Control-Allow-Methods"] = method
            if self._any_header and wanted and TOKENS.fullmatch(wanted):
                headers["Access-Control-Allow-Headers"] = wanted
        if not self._any_origin:
            response.headers.vary("Origin")
        response.headers.vary("Access-Control-Request-Method", "Access-Control-Request-Headers")
        return response


def names(given: Iterable[str]) -> list[str]:
    """A list of names; a single string is one of them."""
    return read_list(given, "CORS takes names of methods and headers, such as 'PUT' and 'X-Token'")


def check_token(name: str) -> str:
    """The name of a method or a header.

    Raises:
        SetupError: it is none.
    """
    if TOKEN.fullmatch(name) is None:
        raise SetupError(f"CORS takes names of methods and headers, such as 'PUT' and 'X-Token', not {name!r}")
    return name
