"""Sessions: what the server remembers of one client, in a signed cookie or in a store.

A session is loaded when it is first touched and saved, if it was changed, last before the answer is sent. The
cookie holds JSON (with tags for the few types that JSON lacks), never pickle; what was tampered with or has
expired is an empty session, not an error. With ``app.session_store`` set the cookie holds a signed id only.

State of a session in one request::

    not loaded --touch--> loaded --write--> modified --answer ready--> saved and sealed: a write is an error
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from microweb.errors import SetupError
from microweb.sessiondata import pack, unpack
from microweb.signing import Signer

if TYPE_CHECKING:
    from microweb.incoming import Incoming
    from microweb.responses import Response

__all__ = ["MemorySessionStore", "Session", "SessionConflict", "SessionStore", "Sessions", "StoredSession"]

logger = logging.getLogger("microweb")

SALT = "microweb.session"
SHORT_KEY = 16
PERMANENT = "_permanent"


class Session(dict[str, Any]):
    """What is remembered of one client: a dict that knows whether it was changed.

    A change inside a value (``session["cart"].append(...)``) goes unseen: set ``session.modified = True`` after it.

    >>> session = Session()
    >>> session["user"] = "ada"
    >>> (session.modified, session.new, session.permanent)
    (True, True, False)
    """

    def __init__(self, items: Mapping[str, Any] | None = None, *, new: bool = True) -> None:
        super().__init__(items or {})
        self.new = new
        """Whether the client brought none along."""
        self.modified = False
        self.sealed = False
        """Whether the answer has started: then nothing can be saved any more."""
        self.id: str | None = None
        """Its id in the session store; None for a cookie session or before it was saved."""
        self.rotated_from: str | None = None
        self._stored: StoredSession | None = None
        self._loaded: dict[str, Any] = {}

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
                "change it before the first chunk, or before the view returns its generator"
            )
        self.modified = True

    def __setitem__(self, key: str, value: Any) -> None:
        self._change()
        super().__setitem__(key, value)

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

    def __ior__(self, other: Any) -> "Session":  # type: ignore[override,misc]  # dict's overloads say dict
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of ``key``, set first if it is missing; as ``dict.setdefault``."""
        if key not in self:
            self[key] = default
        return self[key]


class StoredSession(NamedTuple):
    """What a store holds of one session: its data, and a version that changes with each save."""

    data: bytes
    version: int


class SessionConflict(Exception):
    """A store was asked to replace a version that another request has replaced meanwhile."""


class SessionStore(Protocol):
    """Keeps sessions on the server. Data is opaque bytes; ``lifetime`` is in seconds."""

    async def load(self, id: str) -> StoredSession | None:
        """What is stored under ``id`` and has not expired."""

    async def save(self, id: str, data: bytes, version: int | None, lifetime: float) -> None:
        """Store ``data``, if ``version`` is still the current one (None: nothing is stored yet).

        Raises:
            SessionConflict: it is not; nothing was stored.
        """

    async def delete(self, id: str) -> None:
        """Forget ``id``; nothing happens if it is not there."""


class MemorySessionStore:
    """A ``SessionStore`` in this process's memory: for one process, tests and development.

    Holds ``size`` sessions at most; the one that was saved longest ago goes first.
    """

    def __init__(self, size: int = 10_000) -> None:
        self.size = size
        self._sessions: dict[str, tuple[StoredSession, float]] = {}

    async def load(self, id: str) -> StoredSession | None:
        """What is stored under ``id`` and has not expired."""
        from time import monotonic

        stored, expires = self._sessions.get(id, (None, 0.0))
        if stored is not None and expires < monotonic():
            del self._sessions[id]
            return None
        return stored

    async def save(self, id: str, data: bytes, version: int | None, lifetime: float) -> None:
        """Store ``data``, if ``version`` is still the current one.

        Raises:
            SessionConflict: it is not.
        """
        from time import monotonic

        current = await self.load(id)
        if (current.version if current is not None else None) != version:
            raise SessionConflict(id)
        self._sessions.pop(id, None)
        self._sessions[id] = (StoredSession(data, (version or 0) + 1), monotonic() + lifetime)
        while len(self._sessions) > self.size:
            del self._sessions[next(iter(self._sessions))]

    async def delete(self, id: str) -> None:
        """Forget ``id``."""
        self._sessions.pop(id, None)


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
        if len(key) < SHORT_KEY:
            logger.warning(
                "the secret key has %d characters, so sessions can be forged by guessing it; use 32 random bytes",
                len(key),
            )
        self.store = store
        self.signer = Signer([key, *(config["SECRET_KEY_FALLBACKS"] or ())], salt=SALT)
        lifetime = config["PERMANENT_SESSION_LIFETIME"]
        self.lifetime: float = lifetime.total_seconds() if hasattr(lifetime, "total_seconds") else lifetime
        self.name: str = config["SESSION_COOKIE_NAME"]
        self.secure: bool | None = config["SESSION_COOKIE_SECURE"]
        self.refreshes: bool = config["SESSION_REFRESH_EACH_REQUEST"]
        self.max_size: int = config["MAX_COOKIE_SIZE"]
        self.attributes: dict[str, Any] = {
            "path": config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"] or "/",
            "domain": config["SESSION_COOKIE_DOMAIN"],
            "httponly": config["SESSION_COOKIE_HTTPONLY"],
            "samesite": config["SESSION_COOKIE_SAMESITE"],
            "partitioned": config["SESSION_COOKIE_PARTITIONED"],
        }

    # Opening -----------------------------------------------------------------------------------

    def open(self, incoming: "Incoming") -> Session:
        """The session of a request, at its first touch.

        Raises:
            RuntimeError: the answer has already started.
        """
        if incoming._started:
            raise RuntimeError(
                "the session was first touched after the answer had started, when its cookie could no longer be "
                "sent; read it before the view returns its generator"
            )
        if self.store is not None:
            raise RuntimeError("a stored session is loaded by the walk, before the view")
        session = self.read_cookie(incoming.cookies.get(self.name))
        self.watch(incoming, session)
        return session

    async def load(self, incoming: "Incoming") -> Session:
        """The session of a request from the store, for the walk to put in place."""
        session = await self.load_stored(incoming.cookies.get(self.name))
        self.watch(incoming, session)
        return session

    def watch(self, incoming: "Incoming", session: Session) -> None:
        """Have the session saved with the answer."""

        async def save(response: "Response") -> None:
            await self.save(session, response, secure=incoming.scheme in ("https", "wss"))

        incoming.on_finish(save)

    def read_cookie(self, value: str | None) -> Session:
        """The session in a cookie; an empty one if there is none that holds."""
        data = self.unpack_cookie(value)
        return Session() if data is None else Session(data, new=False)

    async def load_stored(self, value: str | None) -> Session:
        """The session whose id a cookie carries; an empty one if it is unknown."""
        assert self.store is not None
        id = self.signer.unsign(value, self.lifetime) if value else None
        stored = await self.store.load(id.decode("ascii")) if id is not None else None
        if id is None or stored is None:
            return Session()
        data = unpack(stored.data)
        session = Session(data, new=False)
        session.id, session._stored, session._loaded = id.decode("ascii"), stored, dict(data)
        return session

    def unpack_cookie(self, value: str | None) -> dict[str, Any] | None:
        """What a cookie holds, or None."""
        payload = self.signer.unsign(value, self.lifetime) if value else None
        return None if payload is None else from_text(payload)

    # Saving ------------------------------------------------------------------------------------

    async def save(self, session: Session, response: "Response", *, secure: bool) -> None:
        """Write the cookie, if there is something to write, and say that the answer depends on it.

        Raises:
            RuntimeError: the cookie would be larger than browsers keep; the message names the largest keys.
        """
        session.seal()
        response.headers.vary("Cookie")
        attributes = {**self.attributes, "secure": secure if self.secure is None else self.secure}
        if not session:
            if session.modified and not session.new:
                if self.store is not None and session.id is not None:
                    await self.store.delete(session.rotated_from or session.id)
                response.delete_cookie(self.name, **attributes)
            return
        if not session.modified and not (session.permanent and self.refreshes):
            return
        value = self.sign(session) if self.store is None else await self.store_session(session)
        response.set_cookie(self.name, value, max_age=int(self.lifetime) if session.permanent else None, **attributes)

    def sign(self, session: Session) -> str:
        """The cookie's value, with the whole session in it."""
        value = self.signer.sign(to_text(session))
        if len(self.name) + len(value) + 1 > self.max_size:
            sizes = sorted(((len(pack({key: session[key]})), key) for key in session), reverse=True)
            largest = ", ".join(f"{key!r} ({size} bytes)" for size, key in sizes[:3])
            raise RuntimeError(
                f"the session cookie would have {len(value)} bytes, and browsers drop one over {self.max_size} "
                f"(MAX_COOKIE_SIZE); the largest keys are {largest}. Keep less in it, or set app.session_store"
            )
        return value

    async def store_session(self, session: Session) -> str:
        """Save the session under its id; the cookie's value, which is the signed id.

        When another request saved it meanwhile, the keys that this one changed are put into what that one left.
        """
        from secrets import token_urlsafe

        assert self.store is not None
        if session.id is None:
            session.id, session._stored = token_urlsafe(32), None
        while True:
            try:
                version = session._stored.version if session._stored is not None else None
                await self.store.save(session.id, pack(session), version, self.lifetime)
                break
            except SessionConflict:
                session._stored = await self.store.load(session.id)
                merge(session, unpack(session._stored.data) if session._stored is not None else {})
        if session.rotated_from is not None:
            await self.store.delete(session.rotated_from)
        return self.signer.sign(session.id.encode("ascii"))


def merge(session: Session, theirs: dict[str, Any]) -> None:
    """Put our changes into what another request saved; where both changed a key, ours stays, with a warning."""
    missing = object()
    base = session._loaded
    for key in {*base, *theirs, *session}:
        before, our, their = base.get(key, missing), session.get(key, missing), theirs.get(key, missing)
        if our == before and their is not before:
            dict.pop(session, key, None) if their is missing else dict.__setitem__(session, key, their)
        elif our != before and their != before and our != their:
            logger.warning("two requests changed %r in one session at the same time; the later one stays", key)
    session._loaded = dict(theirs)


def to_text(data: Mapping[str, Any]) -> bytes:
    """The data as URL-safe base64, compressed when that helps; a leading dot says so."""
    from base64 import urlsafe_b64encode

    packed = pack(data)
    if len(packed) > 1024:
        import zlib

        compressed = zlib.compress(packed)
        if len(compressed) < len(packed) - 1:
            return b"." + urlsafe_b64encode(compressed).rstrip(b"=")
    return urlsafe_b64encode(packed).rstrip(b"=")


def from_text(payload: bytes) -> dict[str, Any] | None:
    """The data in a verified payload; None if an older version of the program wrote something else."""
    from base64 import urlsafe_b64decode

    try:
        if payload.startswith(b"."):
            import zlib

            payload = payload[1:]
            packed = zlib.decompress(urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        else:
            packed = urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))
        return unpack(packed)
    except ValueError:
        return None
