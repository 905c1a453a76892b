"""What every call passes before the walk of an app: the debugger, an unhandled error on its way out, ASGI middleware.

Composed with the handlers by ``app.py``, as an onion of ASGI apps around ``App.__call__``; where there is none of
these there is no gate. What stands in it sees the path that the router will see, also where the target is a whole URL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from microweb.asgi import ASGIApp, Receive, Scope, Send
from microweb.finder import resolve_absolute
from microweb.segments import is_absolute, split_path

__all__ = ["PASSED", "make_gate"]

PASSED = "microweb.passed"
"""In a scope: the app whose gate the call has passed. The walk takes it out again: who calls the app a second time with
this scope, or with a copy of it, has passed nothing."""


class Consoles(Protocol):
    """The debugger: an ASGI app of its own for some requests."""

    def is_asked(self, scope: Scope) -> bool:
        """Whether a request is for it."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one."""


def make_gate(
    app: ASGIApp,
    middleware: Sequence[tuple[Callable[..., ASGIApp], Mapping[str, Any]]],
    debugger: Consoles | None,
    *,
    propagates: bool,
) -> ASGIApp | None:
    """Compose the gate of ``app``; of the middleware, each a factory and its options, the first is outermost."""
    if not middleware and debugger is None and not propagates:
        return None

    # A function and no method: sentry-sdk, among others, takes what is neither a coroutine function nor an object
    # with such a ``__call__`` for an app of ASGI 2.
    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        # Set here, for middleware may have made a new scope of its own.
        scope[PASSED] = app
        await app(scope, receive, send)

    gate: ASGIApp = enter
    for factory, options in reversed(middleware):
        gate = factory(gate, **options)
    if propagates:
        gate = raising(gate)
    if debugger is not None:
        gate = debugged(gate, debugger)
    return resolving(gate) if middleware or debugger is not None else gate


def resolving(gate: ASGIApp) -> ASGIApp:
    """Show the middleware the path and the host that the router will see, where the target is a whole URL."""

    def resolve_and_call(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # SECURITY: test_asgi_middleware_sees_the_path_of_a_whole_url: one may guard a path. A host that is malformed
        # stays, for the finder to refuse.
        path: str = scope.get("path", "/")
        if not path.startswith("/") and is_absolute(split_path(path, scope.get("raw_path"))[0]):
            resolve_absolute(scope)
        return gate(scope, receive, send)

    return resolve_and_call


def raising(gate: ASGIApp) -> ASGIApp:
    """Raise an unhandled error to the server, once it is answered (``PROPAGATE_EXCEPTIONS``)."""

    async def call_and_raise(scope: Scope, receive: Receive, send: Send) -> None:
        extensions = dict(scope.get("extensions") or {})
        errors: list[BaseException] = extensions.setdefault("microweb.errors", [])
        scope["extensions"] = extensions
        await gate(scope, receive, send)
        if errors:
            raise errors.pop()

    return call_and_raise


def debugged(gate: ASGIApp, debugger: Consoles) -> ASGIApp:
    """Give the debugger what its own pages ask for."""

    async def ask_debugger_first(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and debugger.is_asked(scope):
            await debugger(scope, receive, send)
        else:
            await gate(scope, receive, send)

    return ask_debugger_first
