"""Reading and writing an app's session from a test, through the client's cookie jar.

The app knows how its sessions are stored and signed; the client only carries cookies. Used by ``Client`` and
``SyncClient`` for ``session_transaction()``.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol, runtime_checkable

import httpx

from microweb.cookies import parse_cookies

__all__ = ["SessionApp", "SessionTransaction"]

Session = MutableMapping[str, Any]


@runtime_checkable
class SessionApp(Protocol):
    """What an app offers so that a test can look into its sessions."""

    async def load_session_for_test(self, cookies: Mapping[str, str]) -> Session:
        """The session that a request with these cookies would have; a new one if there is none."""
        ...

    async def dump_session_for_test(self, session: Session) -> list[str]:
        """Save the session; the values of the ``Set-Cookie`` headers that carry it."""
        ...


class SessionTransaction:
    """One session, loaded from the cookies that ``request`` carries and saved into ``jar``.

    Raises:
        TypeError: the app offers no sessions to tests.
    """

    def __init__(self, app: object, request: httpx.Request, jar: httpx.Cookies) -> None:
        if not isinstance(app, SessionApp):
            name = type(app).__name__
            raise TypeError(f"session_transaction() needs a microweb App; it knows no sessions of {name}")
        self._app = app
        self._request = request
        self._jar = jar

    async def load(self) -> Session:
        """The session of the client."""
        return await self._app.load_session_for_test(parse_cookies(self._request.headers.get("cookie", "")))

    async def save(self, session: Session) -> None:
        """Save the session and put its cookies into the jar."""
        values = await self._app.dump_session_for_test(session)
        headers = [("set-cookie", value) for value in values]
        self._jar.extract_cookies(httpx.Response(200, headers=headers, request=self._request))
