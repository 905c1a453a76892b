"""The database: one SQLite file, opened for each request that needs it and closed when the request is over.

The views that come here are plain ``def`` functions. All those of one request run in the same worker thread,
which is what a connection of ``sqlite3`` asks for.
"""

import secrets
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from pathlib import Path

from anyio import to_thread

from microweb import App, current_app

__all__ = ["connect", "find_database", "open_database", "prepare_database"]

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    message TEXT NOT NULL,
    photo TEXT,
    visitor TEXT NOT NULL,
    signed_at TEXT NOT NULL,
    changed_at TEXT
);
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    entry INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS lines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    visitor TEXT NOT NULL,
    said_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
COMMIT;
"""


def find_database(app: App) -> Path:
    """Where the database of an app is."""
    return Path(app.config["DATA"], "guestbook.db")


def connect(path: Path) -> sqlite3.Connection:
    """Open the database; whoever asks closes it, in the same thread."""
    connection = sqlite3.connect(path, timeout=20)
    connection.row_factory = sqlite3.Row
    return connection


def open_database() -> Iterator[sqlite3.Connection]:
    """A dependency: the database, for the time of a request."""
    with closing(connect(find_database(current_app))) as connection:
        yield connection


async def prepare_database(app: App) -> AsyncGenerator[None, None]:
    """Make the tables before the first request, and a key for the sessions unless the config has one.

    The key lies beside the entries, so that visitors are known again after a restart. Where others can read the
    file, set ``GUESTBOOK_SECRET_KEY``.
    """
    key = await to_thread.run_sync(create_tables, find_database(app))
    app.config["SECRET_KEY"] = app.config["SECRET_KEY"] or key
    yield


def create_tables(path: Path) -> str:
    """Make what is not there yet; gives the key that is kept in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(connect(path)) as connection:
        connection.executescript(SCHEMA)
        with connection:
            connection.execute("INSERT OR IGNORE INTO settings VALUES ('key', ?)", (secrets.token_hex(),))
        key: str = connection.execute("SELECT value FROM settings WHERE name = 'key'").fetchone()["value"]
    return key
