"""Mounting WSGI apps: ``app.mount("/old", WSGI(flask_app))``.

A thin door to a2wsgi (extra ``wsgi``), which runs the WSGI app in threads. The mounted app sees its prefix
as ``SCRIPT_NAME``, so its own ``url_for`` keeps working.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from microweb.asgi import ASGIApp, Receive, Scope, Send
from microweb.errors import SetupError
from microweb.registrations import find_place

__all__ = ["WSGI"]

WSGIApp: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]


class WSGI:
    """An ASGI app that runs a WSGI app in ``workers`` threads of its own.

    Headers with an underscore in their names are left out: a WSGI app could not tell them from those with a hyphen.

    >>> from microweb import App
    >>> def old_app(environ, start_response):
    ...     start_response("200 OK", [("content-type", "text/plain")])
    ...     return [b"still here"]
    >>> app = App(__name__)
    >>> app.mount("/old", WSGI(old_app))

    Raises:
        SetupError: ``app`` cannot be called, or ``workers`` is less than 1.
        ModuleNotFoundError: a2wsgi is not installed; the message names the extra.
    """

    def __init__(self, app: WSGIApp, *, workers: int = 10) -> None:
        if not callable(app):
            raise SetupError(f"WSGI takes an app to be called, not {type(app).__name__} ({find_place()})")
        if type(workers) is not int or workers < 1:
            raise SetupError(f"WSGI takes workers=1 or more threads, not {workers!r} ({find_place()})")
        try:
            from a2wsgi import WSGIMiddleware
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "WSGI(...) needs a2wsgi: install microweb-asgi with the extra [wsgi]", name="a2wsgi"
            ) from error
        self.app = app
        # a2wsgi types scopes and environs as TypedDicts; at run time they are the plain dicts that they are here.
        middleware: Any = WSGIMiddleware
        self._asgi: ASGIApp = middleware(app, workers=workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; a WSGI app has no lifespan and no websockets."""
        if scope["type"] == "http":
            # SECURITY: test_a_header_with_underscores_is_dropped: X_Remote_User would be HTTP_X_REMOTE_USER too, past
            # a proxy that removes X-Remote-User (CVE-2015-0219). gunicorn and Django's server drop them as well.
            lines = [line for line in scope["headers"] if b"_" not in line[0]]
            await self._asgi({**scope, "headers": lines}, receive, send)
        elif scope["type"] == "lifespan":
            raise ValueError("a WSGI app has no lifespan")
        else:
            await send({"type": "websocket.close", "code": 1000})

    def __repr__(self) -> str:
        return f"<WSGI {self.app!r}>"
