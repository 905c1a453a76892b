"""Reading and writing an app's session from a test, through the client's cookie jar.

The app knows how its sessions are stored and signed; the client only carries cookies. Used by ``Client`` and
``SyncClient`` for ``session_transaction()``.
"""

from __future__ import annotations

import httpx

from microweb.app import App
from microweb.cookies import parse_cookies
from microweb.responses import Response
from microweb.sessions import Session

__all__ = ["SessionTransaction"]


class SessionTransaction:
    """One session, loaded from the cookies that ``request`` carries and saved into ``jar``.

    Raises:
        TypeError: the app is not one of microweb's.
    """

    def __init__(self, app: object, request: httpx.Request, jar: httpx.Cookies) -> None:
        if not isinstance(app, App):
            name = type(app).__name__
            raise TypeError(f"session_transaction() needs a microweb App; it knows no sessions of {name}")
        self._app = app
        self._request = request
        self._jar = jar

    async def load(self) -> Session:
        """The session that a request with these cookies would have; a new one if there is none."""
        sessions = self._app.sessions
        cookie = parse_cookies(self._request.headers.get("cookie", "")).get(sessions.name)
        if sessions.store is None:
            return sessions.read_cookie(cookie)
        async with self._app.app_context():  # A store may ask ``current_app`` for what it needs.
            return await sessions.load_stored(cookie)

    async def save(self, session: Session) -> None:
        """Save the session and put its cookies into the jar."""
        response = Response()
        async with self._app.app_context():
            await self._app.sessions.save(session, response, secure=False)
        headers = [("set-cookie", value) for value in response.headers.getlist("set-cookie")]
        self._jar.extract_cookies(httpx.Response(200, headers=headers, request=self._request))
