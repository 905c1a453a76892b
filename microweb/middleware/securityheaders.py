"""Headers that tell a browser what a page may do: Flask-Talisman's options, with its defaults.

What Talisman does beside headers is elsewhere: ``HTTPSRedirect``, and the config keys of the session cookie, which is
``HttpOnly`` and ``SameSite=Lax`` anyway. The nonce of a request reaches its templates as ``csp_nonce()``, by the
scope's key ``microweb.csp_nonce``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from secrets import token_urlsafe
from typing import Any

from microweb import Request, Response, SetupError
from microweb.middleware.options import read_list

__all__ = ["SecurityHeaders"]

DECISION = "microweb.security_headers"
NONCE = "microweb.csp_nonce"
PLACEHOLDER = "\0"
"""Stands for the nonce in a policy that is written beforehand: nothing else in it can be a NUL."""

DEFAULTS: dict[str, Any] = {
    "feature_policy": None,
    "permissions_policy": {"browsing-topics": "()"},
    "document_policy": None,
    "force_file_save": False,
    "frame_options": "SAMEORIGIN",
    "strict_transport_security": True,
    "strict_transport_security_preload": False,
    "strict_transport_security_max_age": 31556926,
    "strict_transport_security_include_subdomains": True,
    "content_security_policy": {"default-src": "'self'", "object-src": "'none'"},
    "content_security_policy_report_uri": None,
    "content_security_policy_report_only": False,
    "content_security_policy_nonce_in": (),
    "referrer_policy": "strict-origin-when-cross-origin",
    "x_content_type_options": True,
    "x_xss_protection": False,
}
"""Talisman's, which has a year of 31,556,926 seconds."""

ELSEWHERE = {
    "force_https": "app.add_middleware(HTTPSRedirect())",
    "force_https_permanent": "app.add_middleware(HTTPSRedirect(308))",
    "frame_options_allow_from": "content_security_policy={'frame-ancestors': ...}, since no browser knows ALLOW-FROM",
    "session_cookie_secure": "the config key SESSION_COOKIE_SECURE",
    "session_cookie_http_only": "the config key SESSION_COOKIE_HTTPONLY",
    "session_cookie_samesite": "the config key SESSION_COOKIE_SAMESITE",
}


class SecurityHeaders:
    """Set ``Content-Security-Policy``, ``X-Frame-Options``, ``Strict-Transport-Security`` and their like.

    The options are Flask-Talisman's; None leaves a header out. A policy is text, or a dict of directives whose values
    are text or lists. Directives in ``content_security_policy_nonce_in`` get a nonce, a new one for each request:
    ``<script nonce="{{ csp_nonce() }}">``. Strict-Transport-Security goes out over https only.

    Of two around one view the inner one decides, so a route has its own by ``middleware=[headers.replace(...)]``. A
    header that a view, or a mounted app, has set itself stays.

    >>> from microweb import App
    >>> app, headers = App(__name__), SecurityHeaders(content_security_policy_nonce_in=["script-src"])
    >>> app.add_middleware(headers)
    >>> @app.get("/widget", middleware=[headers.replace(frame_options=None)])
    ... async def widget():
    ...     return "anyone may frame this"

    Raises:
        SetupError: there is no such option, or a value makes no header.
    """

    def __init__(self, **options: Any) -> None:
        for name in options:
            if name in ELSEWHERE:
                raise SetupError(f"SecurityHeaders has no option {name!r}: use {ELSEWHERE[name]}")
            if name not in DEFAULTS:
                raise SetupError(f"SecurityHeaders has no option {name!r}, but {', '.join(sorted(DEFAULTS))}")
        self.options: dict[str, Any] = {**DEFAULTS, **options}
        get = self.options.__getitem__
        nonce_in = get("content_security_policy_nonce_in") or ()
        expected = "content_security_policy_nonce_in takes directives such as 'script-src'"
        self._nonce_in = read_list(nonce_in, expected)
        try:
            self._policy_name, self._policy = self._make_policy()
            # PERF(walk.middleware): checked and encoded once; six calls of Headers.setdefault take three times as long.
            self._lines = encode((name, value) for name, value in self._plain_headers() if value)
            self._transport = encode([("Strict-Transport-Security", self._make_transport())])
            self._policy_lines = encode([(self._policy_name, self._policy.replace(PLACEHOLDER, ""))])
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise SetupError(f"an option of SecurityHeaders makes no header: {error}") from None
        if not self._policy:
            self._policy_lines = []
        if not get("strict_transport_security"):
            self._transport = []

    def replace(self, **options: Any) -> SecurityHeaders:
        """The same with other options, for one route or router."""
        return SecurityHeaders(**{**self.options, **options})

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer of the rest, with the headers."""
        scope = request.scope
        if self._nonce_in and NONCE not in scope:
            scope[NONCE] = token_urlsafe(18)
        # The innermost decides: each on the way in puts itself there, and the outermost reads it on the way out.
        decision: list[SecurityHeaders] = scope.setdefault(DECISION, [])
        is_outermost = not decision
        decision[:] = [self]
        response = await call_next(request)
        if not is_outermost and not (decision[0] is self and self._policy and self._nonce_in):
            return response
        nonce, is_secure = scope.get(NONCE), request.is_secure

        def add(status: int, headers: Any) -> None:
            # A 304 changes the headers of what the client has kept (RFC 9111 §3.2), and that page has another nonce.
            is_kept = status == 304
            if is_outermost:
                decision[0]._set_headers(headers, nonce, is_secure, is_kept)
            elif not is_kept:
                # The outermost may be in an app around this one, where the nonce is not known.
                headers.setdefault(self._policy_name, self._policy.replace(PLACEHOLDER, str(nonce)))

        # SECURITY: test_what_a_foreign_app_sets_itself_stays: its headers, maybe stricter ones, come with its start.
        response.on_start(add)
        return response

    def _set_headers(self, headers: Any, nonce: str | None, is_secure: bool, is_kept: bool) -> None:
        lines = [*self._lines, *self._transport] if is_secure else self._lines.copy()
        if not self._nonce_in or (nonce is None and not is_kept):
            # Also where it is that of an app mounted in this one, whose answer another has taken the place of.
            lines += self._policy_lines
        elif self._policy and nonce is not None and not is_kept:
            headers.setdefault(self._policy_name, self._policy.replace(PLACEHOLDER, nonce))
        raw = headers.raw
        present = {name for name, _ in raw}
        raw += [line for line in lines if line[0] not in present]

    def _plain_headers(self) -> list[tuple[str, str]]:
        get = self.options.__getitem__
        return [
            ("Feature-Policy", write_policy(get("feature_policy"), " ", "; ")),
            ("Permissions-Policy", write_policy(get("permissions_policy"), "=", ", ")),
            ("Document-Policy", write_policy(get("document_policy"), "=", ", ")),
            ("X-Frame-Options", get("frame_options") or ""),
            ("X-Content-Type-Options", "nosniff" if get("x_content_type_options") else ""),
            ("X-XSS-Protection", "1; mode=block" if get("x_xss_protection") else ""),
            ("X-Download-Options", "noopen" if get("force_file_save") else ""),
            ("Referrer-Policy", get("referrer_policy") or ""),
        ]

    def _make_policy(self) -> tuple[str, str]:
        get = self.options.__getitem__
        given = get("content_security_policy")
        report_uri, report_only = get("content_security_policy_report_uri"), get("content_security_policy_report_only")
        if report_only and not report_uri:
            raise SetupError(
                "content_security_policy_report_only needs a content_security_policy_report_uri to report to"
            )
        name = "Content-Security-Policy-Report-Only" if report_only else "Content-Security-Policy"
        if not given:
            return name, ""
        policy = {name: write_values(values) for name, values in read_policy(given).items()}
        for directive in self._nonce_in:
            # One that is missing would no longer be covered by default-src once it has a nonce.
            values = policy.get(directive, policy.get("default-src", ""))
            policy[directive] = f"{'' if values == NOTHING else values} 'nonce-{PLACEHOLDER}'".strip()
        text = write_policy(policy, " ", "; ")
        if report_uri and "report-uri" not in text:
            text += f"; report-uri {report_uri}"
        return name, text

    def _make_transport(self) -> str:
        get = self.options.__getitem__
        text = f"max-age={int(get('strict_transport_security_max_age'))}"
        if get("strict_transport_security_include_subdomains"):
            text += "; includeSubDomains"
        if get("strict_transport_security_preload"):
            text += "; preload"
        return text


NOTHING = "'none'"


def encode(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Header lines as they are sent.

    Raises:
        ValueError: a value may not stand in a header.
    """
    return [line for line in Response(headers=list(headers)).headers.raw if line[0] != b"content-type"]


def read_policy(policy: str | Mapping[str, str | Iterable[str]]) -> Mapping[str, str | Iterable[str]]:
    """The directives of a Content-Security-Policy."""
    if not isinstance(policy, str):
        return policy
    parts = [part.strip().partition(" ") for part in policy.split(";")]
    return {name: values for name, _, values in parts if name}


def write_values(values: str | Iterable[str]) -> str:
    """The values of a directive as they stand in the header."""
    return values if isinstance(values, str) else " ".join(values)


def write_policy(policy: str | Mapping[str, str | Iterable[str]] | None, equals: str, separator: str) -> str:
    """A policy as it stands in its header; ``""`` for none."""
    if not policy:
        return ""
    if isinstance(policy, str):
        return policy
    return separator.join(f"{name}{equals}{write_values(values)}".strip() for name, values in policy.items())
