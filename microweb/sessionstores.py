"""Where sessions are kept on the server: what a store has to do, and one in this process's memory.

Stores know bytes, ids and versions, and nothing of cookies or of what the bytes mean; ``sessions.py`` is the caller,
and all of this is public there.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["MemorySessionStore", "SessionConflict", "SessionStore", "StoredSession"]


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

    >>> from microweb import App
    >>> app = App(__name__, secret_key="change me before you publish this")
    >>> app.session_store = MemorySessionStore(size=1_000)

    Raises:
        ValueError: ``size`` is less than 1.
    """

    def __init__(self, size: int = 10_000) -> None:
        if size < 1:
            raise ValueError(f"MemorySessionStore holds 1 session or more, not {size!r}")
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
