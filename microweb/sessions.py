"""Sessions: what the server remembers of one client, in a signed cookie or in a store.

A session is loaded when it is first touched and saved, if it was changed, last before the answer is sent. The
cookie holds JSON (with tags for the few types that JSON lacks), never pickle; what was tampered with or has
expired is an empty session, not an error. With ``app.session_store`` set the cookie holds a signed id only; the
store is asked before the first layer, since a first touch cannot wait.

State of a session in one request::

    not loaded --touch--> loaded --write--> modified --answer ready--> saved and sealed: a write is an error
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microweb.cookierefusals import what_needs_secure
from microweb.cookies import dump_cookie
from microweb.errors import SetupError
from microweb.headers import find_header
from microweb.sessiondata import from_text, pack, to_text, unpack
from microweb.sessionstores import MemorySessionStore, SessionConflict, SessionStore, StoredSession
from microweb.signing import Signer

if TYPE_CHECKING:
    from microweb.asgi import RawHeaders
    from microweb.incoming import Incoming
    from microweb.responses import Response

__all__ = ["MemorySessionStore", "Session", "SessionConflict", "SessionStore", "Sessions", "StoredSession"]

logger = logging.getLogger("microweb")

SALT = "microweb.session"
SHORT_KEY = 16
PERMANENT = "_permanent"
VARY = (b"vary", b"Cookie")
SECURE_SCHEMES = frozenset({"https", "wss"})
MOST_BROWSERS_TAKE = 4096
"""Bytes of a cookie's name and value (RFC 6265bis §5.6)."""


class Session(dict[str, Any]):
    """What is remembered of one client: a dict that knows whether it was changed.

    A change inside a value (``session["cart"].append(...)``) goes unseen: set ``session.modified = True`` after it.

    >>> session = Session()
    >>> session["user"] = "ada"
    >>> (session.modified, session.new, session.permanent)
    (True, True, False)
    """

    # Class-level defaults: most sessions are in a cookie and set none of these. PERF(pages.session)
    modified = False
    sealed = False
    """Whether the answer has started: then nothing can be saved any more."""
    id: str | None = None
    """Its id in the session store; None for a cookie session or before it was saved."""
    rotated_from: str | None = None
    _stored: StoredSession | None = None

    def __init__(self, items: Mapping[str, Any] | None = None, *, new: bool = True) -> None:
        dict.__init__(self, items or ())
        self.new = new
        """Whether the client brought none along."""

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser, by ``PERMANENT_SESSION_LIFETIME``."""
        return bool(self.get(PERMANENT, False))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        if value != self.permanent:
            self[PERMANENT] = bool(value)

    def rotate(self) -> None:
        """Give the session a new id, keeping what is in it: call it whenever somebody logs in or out."""
        self._change()
        self.rotated_from = self.rotated_from or self.id
        self.id = None

    def seal(self) -> None:
        """Refuse changes from now on."""
        self.sealed = True

    def _change(self) -> None:
        if self.sealed:
            raise RuntimeError(
                "the session was changed after the answer had started, when its cookie could no longer be sent; "
                "change it before the first chunk, before the view returns its generator, or before a websocket's "
                "accept()"
            )
        self.modified = True

    def __setitem__(self, key: str, value: Any) -> None:
        if self.sealed:
            self._change()
        self.modified = True
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        self._change()
        super().__delitem__(key)

    def pop(self, key: str, *default: Any) -> Any:
        """Take a value out; as ``dict.pop``."""
        if key in self:
            self._change()
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        """Take the last value out; as ``dict.popitem``."""
        self._change()
        return super().popitem()

    def clear(self) -> None:
        """Forget everything; the cookie is deleted."""
        self._change()
        super().clear()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several values; as ``dict.update``."""
        self._change()
        super().update(*args, **kwargs)

    def __ior__(self, other: Any) -> Session:  # type: ignore[override,misc]  # dict's overloads say dict
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of ``key``, set first if it is missing; as ``dict.setdefault``."""
        if key not in self:
            self[key] = default
        return self[key]


class Sessions:
    """Opens and saves the sessions of one app, by one version of its config.

    Raises:
        SetupError: no secret key is set.
    """

    def __init__(self, config: Mapping[str, Any], store: SessionStore | None) -> None:
        key = config["SECRET_KEY"]
        if not key:
            raise SetupError(
                "the session needs a secret key: set app.secret_key (or SECRET_KEY in the config) to a long random "
                "value, for instance the output of `python -c 'import secrets; print(secrets.token_hex())'`"
            )
        keys = [key, *(config["SECRET_KEY_FALLBACKS"] or ())]
        shortest = min(map(len, keys))
        if shortest < SHORT_KEY:
            logger.warning(
                "%s has %d characters, so sessions can be forged by guessing it; use 32 random bytes",
                "the secret key" if len(key) == shortest else "a key in SECRET_KEY_FALLBACKS",
                shortest,
            )
        self.store = store
        self.signer = Signer(keys, salt=SALT)
        lifetime = config["PERMANENT_SESSION_LIFETIME"]
        self.lifetime: float = lifetime.total_seconds() if hasattr(lifetime, "total_seconds") else lifetime
        self.name: str = config["SESSION_COOKIE_NAME"]
        self.secure: bool | None = config["SESSION_COOKIE_SECURE"]
        """None: for a request over https."""
        if self.secure is None and what_needs_secure(config):
            self.secure = True
        self.refreshes: bool = config["SESSION_REFRESH_EACH_REQUEST"]
        self.max_size: int = config["MAX_COOKIE_SIZE"]
        self.attributes: dict[str, Any] = {
            "path": config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"] or "/",
            "domain": config["SESSION_COOKIE_DOMAIN"],
            "httponly": config["SESSION_COOKIE_HTTPONLY"],
            "samesite": config["SESSION_COOKIE_SAMESITE"],
            "partitioned": config["SESSION_COOKIE_PARTITIONED"],
        }
        self._start = f"{self.name}=".encode("ascii")
        self._rests: dict[tuple[bool, bool], bytes] = {}
        """What follows the value in a Set-Cookie line, for permanent and secure sessions and others."""

    # Opening -----------------------------------------------------------------------------------

    def open(self, incoming: Incoming) -> Session:
        """The session of a request, at its first touch.

        Raises:
            RuntimeError: the answer has already started, or the store was not asked.
        """
        has_opened = incoming._started and incoming.scope["type"] == "websocket"
        if incoming._started and not has_opened:
            raise RuntimeError(
                "the session was first touched after the answer had started, when its cookie could no longer be "
                "sent; read it before the view returns its generator"
            )
        if self.store is None:
            session = self.read_cookie(find_cookie(incoming, self.name))
        elif incoming._stored_session is not None:
            session = incoming._stored_session
        else:
            raise RuntimeError(
                "the session was touched where it has not been loaded from the store: it is there in middleware, hooks "
                "and views, and not in observers of request_started or in a test_request_context()"
            )
        if has_opened:
            session.seal()  # It may be read as long as the websocket lives, and no cookie can be set any more.
        else:
            self.watch(incoming, session)
        return session

    async def load(self, incoming: Incoming) -> None:
        """Ask the store for the session of a request, so that it is there at its first touch, which cannot wait."""
        incoming._stored_session = await self.load_stored(find_cookie(incoming, self.name))

    def watch(self, incoming: Incoming, session: Session) -> None:
        """Have the session saved with the answer."""
        if self.store is None:

            def answer(response: Response) -> None:
                self.answer(session, response, secure=incoming.scheme in SECURE_SCHEMES)

            incoming.notes.save = answer
        else:

            async def save(response: Response) -> None:
                await self.save(session, response, secure=incoming.scheme in SECURE_SCHEMES)

            incoming.notes.save = save

    def read_cookie(self, value: str | bytes | None) -> Session:
        """The session in a cookie; an empty one if there is none that holds."""
        data = self.unpack_cookie(value)
        return Session() if data is None else Session(data, new=False)

    async def load_stored(self, value: str | bytes | None) -> Session:
        """The session whose id a cookie carries; an empty one if it is unknown."""
        assert self.store is not None
        id = self.signer.unsign(value, self.lifetime) if value else None
        stored = await self.store.load(id.decode("ascii")) if id is not None else None
        if id is None or stored is None:
            return Session()
        try:
            session = Session(unpack(stored.data), new=False)
        except ValueError:
            return Session()  # An older version of the program wrote something else.
        session.id, session._stored = id.decode("ascii"), stored
        return session

    def unpack_cookie(self, value: str | bytes | None) -> dict[str, Any] | None:
        """What a cookie holds, or None."""
        payload = self.signer.unsign(value, self.lifetime) if value else None
        return None if payload is None else from_text(payload)

    # Saving ------------------------------------------------------------------------------------

    async def save(self, session: Session, response: Response, *, secure: bool) -> None:
        """Put the session into the store, if there is one and something to put there, then ``answer``.

        Raises: as ``answer``.
        """
        session.seal()
        if self.store is not None:
            if self.is_to_be_sent(session):
                if not await self.store_session(session):
                    # SECURITY: test_a_session_that_another_request_ended_or_rotated_stays_so
                    response.headers.vary("Cookie")
                    return
            elif is_emptied(session):
                # SECURITY: test_a_session_that_is_rotated_and_cleared_is_gone_from_the_store
                stored = session.rotated_from or session.id
                if stored is not None:
                    await self.store.delete(stored)
        self.answer(session, response, secure=secure)

    def answer(self, session: Session, response: Response, *, secure: bool) -> None:
        """Write the cookie, if there is something to write, and say that the answer depends on it.

        Raises:
            RuntimeError: the cookie would be larger than browsers keep; the message names the largest keys.
        """
        session.sealed = True
        headers = response.headers
        if find_header(headers.raw, b"vary") is None:
            headers.raw.append(VARY)
        else:
            headers.vary("Cookie")
        if self.secure is not None:
            secure = self.secure
        if self.is_to_be_sent(session):
            value = self.sign(session) if session.id is None else self.signer.sign(session.id.encode("ascii"))
            self.set_cookie(response, value, secure=secure, permanent=session.permanent)
        elif is_emptied(session):
            response.delete_cookie(self.name, secure=secure, **self.attributes)

    def is_to_be_sent(self, session: Session) -> bool:
        """Whether the client gets a cookie: a changed session's, or a permanent one's with more time."""
        return bool(session) and (session.modified or (self.refreshes and session.permanent))

    def set_cookie(self, response: Response, value: bytes, *, secure: bool, permanent: bool) -> None:
        """Add the line that sets the cookie; the value is a signed one, which has only harmless characters."""
        if len(self.name) + len(value) >= MOST_BROWSERS_TAKE:
            # As only MAX_COOKIE_SIZE allows it: with a warning.
            max_age = int(self.lifetime) if permanent else None
            text = value.decode("ascii")
            response.set_cookie(self.name, text, max_age=max_age, secure=secure, **self.attributes)
            return
        # PERF(pages.session): the rest of the line is always one of four.
        rest = self._rests.get((permanent, secure))
        if rest is None:
            max_age = int(self.lifetime) if permanent else None
            whole = dump_cookie(self.name, "", max_age=max_age, secure=secure, **self.attributes)
            rest = self._rests[permanent, secure] = whole.encode("latin-1").removeprefix(self._start)
        response.headers.raw.append((b"set-cookie", self._start + value + rest))

    def sign(self, session: Session) -> bytes:
        """The cookie's value, with the whole session in it.

        Raises:
            RuntimeError: it is larger than ``MAX_COOKIE_SIZE``.
            TypeError: a value cannot be written.
        """
        value = self.signer.sign(to_text(session))
        if len(self.name) + len(value) + 1 > self.max_size:
            sizes = sorted(((len(pack({key: session[key]})), key) for key in session), reverse=True)
            largest = ", ".join(f"{key!r} ({size} bytes)" for size, key in sizes[:3])
            raise RuntimeError(
                f"the session cookie would have {len(value)} bytes, and browsers drop one over {self.max_size} "
                f"(MAX_COOKIE_SIZE); the largest keys are {largest}. Keep less in it, or set app.session_store"
            )
        return value

    async def store_session(self, session: Session) -> bool:
        """Save the session under its id, a new one if it has none; False if it is over.

        When another request saved it meanwhile, the keys that this one changed are put into what that one left. When
        another one ended it or gave it a new id, this one's changes are dropped, and so must be its cookie.
        """
        from secrets import token_urlsafe

        assert self.store is not None
        if session.id is None:
            # SECURITY: test_a_new_id_does_not_revive_a_session_that_another_request_ended_or_rotated
            if session.rotated_from is not None and not await self.catch_up(session, session.rotated_from):
                return False
            session.id, session._stored = token_urlsafe(32), None
        while True:
            version = session._stored.version if session._stored is not None else None
            try:
                await self.store.save(session.id, pack(session), version, self.lifetime)
                break
            except SessionConflict:
                if not await self.catch_up(session, session.id):
                    return False
        if session.rotated_from is not None:
            await self.store.delete(session.rotated_from)
        return True

    async def catch_up(self, session: Session, id: str) -> bool:
        """Take in what another request has left under ``id`` meanwhile; False if it has ended the session."""
        assert self.store is not None
        base, session._stored = session._stored, await self.store.load(id)
        if session._stored is None:
            logger.warning("a session was changed by one request and ended by another; the change is dropped")
            return False
        merge(session, unpack(base.data) if base is not None else {}, unpack(session._stored.data))
        return True


def find_cookie(incoming: Incoming, name: str) -> str | bytes | None:
    """The first cookie of that name.

    Raises:
        RequestHeaderFieldsTooLarge: the headers are larger than a request may have them.
    """
    # PERF(pages.session): one plain Cookie line, as nearly always, is searched without reading all headers and cookies.
    headers: RawHeaders = incoming.scope["headers"]
    lines = [value for header, value in headers if header == b"cookie"]
    if not lines:
        return None
    line = lines[0]
    if incoming._cookies is not None or len(lines) > 1 or len(line) > 4096 or b'"' in line or not line.isascii():
        return incoming.cookies.get(name)
    sought = name.encode("ascii")
    for part in line.split(b";"):
        found, _, value = part.partition(b"=")
        if found.strip(b" \t") == sought:
            value = value.strip(b" \t")
            if b" " not in value and b"\t" not in value:
                return value
    return None


def merge(session: Session, base: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Put what another request saved into ours, both made of ``base``; of a key that both changed, ours stays."""
    missing = object()
    for key in {*base, *theirs, *session}:
        before, our, their = base.get(key, missing), session.get(key, missing), theirs.get(key, missing)
        if our == before and their != before:
            dict.pop(session, key, None) if their is missing else dict.__setitem__(session, key, their)
        elif our != before and their != before and our != their:
            logger.warning("two requests changed %r in one session at the same time; the later one stays", key)


def is_emptied(session: Session) -> bool:
    """Whether the client has a cookie that is of no use any more."""
    return not session and session.modified and not session.new
