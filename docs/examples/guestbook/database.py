"""The entries in SQLite: one connection per request, opened at first use and closed when the request is over.

The views that come here are plain ``def`` functions. All those of one request run in the same worker thread,
which is what a connection of ``sqlite3`` asks for.
"""

import sqlite3
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from anyio import to_thread

from guestbook.entries import Entry
from microweb import App, current_app, g

__all__ = ["EntryStore", "close_store", "get_store", "prepare_database"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    message TEXT NOT NULL,
    signed_at TEXT NOT NULL
)
"""


class EntryStore:
    """The entries in one SQLite file."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA journal_mode = WAL")

    def create(self) -> None:
        """Make the table, if the file is new."""
        with self.connection:
            self.connection.execute(SCHEMA)

    def add(self, name: str, message: str) -> Entry:
        """Keep a new entry."""
        signed_at = datetime.now(UTC).isoformat(timespec="seconds")
        with self.connection:
            cursor = self.connection.execute(
                "INSERT INTO entries (name, message, signed_at) VALUES (?, ?, ?)", (name, message, signed_at)
            )
        assert cursor.lastrowid is not None
        return Entry(cursor.lastrowid, name, message, signed_at)

    def find(self, entry: int) -> Entry | None:
        """The entry of that number, or None."""
        row = self.connection.execute(
            "SELECT id, name, message, signed_at FROM entries WHERE id = ?", (entry,)
        ).fetchone()
        return Entry(*row) if row is not None else None

    def list_newest(self, count: int, *, before: int | None = None) -> list[Entry]:
        """The last ``count`` entries, newest first; with ``before``, the last ones older than that entry."""
        rows = self.connection.execute(
            "SELECT id, name, message, signed_at FROM entries WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2",
            (before, count),
        )
        return [Entry(*row) for row in rows]

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()


def get_store() -> EntryStore:
    """The store of the current request."""
    if "store" not in g:
        g.store = EntryStore(current_app.config["DATABASE"])
    store: EntryStore = g.store
    return store


def close_store(error: BaseException | None) -> None:
    """Close what the request opened; the app calls it when the answer is out."""
    store: EntryStore | None = g.pop("store", None)
    if store is not None:
        store.close()


async def prepare_database(app: App) -> AsyncGenerator[None, None]:
    """Make the table before the first request."""

    def prepare() -> None:
        store = EntryStore(app.config["DATABASE"])
        store.create()
        store.close()

    await to_thread.run_sync(prepare)
    yield
