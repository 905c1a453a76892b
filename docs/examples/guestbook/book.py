"""The entries in the database, and the list of what happened to them, which pages follow live."""

import sqlite3
from datetime import UTC, datetime
from typing import Annotated, Any

from guestbook.database import open_database
from guestbook.entries import Change, Entry
from microweb import Depends, abort

__all__ = ["Book", "OpenBook"]


class Book:
    """The entries. Each change of them and the note of it are one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def add(self, name: str, message: str, photo: str | None, visitor: str) -> Entry:
        """Keep a new entry."""
        signed_at = now()
        with self.connection:
            cursor = self.connection.execute(
                "INSERT INTO entries (name, message, photo, visitor, signed_at) VALUES (?, ?, ?, ?, ?)",
                (name, message, photo, visitor, signed_at.isoformat()),
            )
            assert cursor.lastrowid is not None
            self._note("signed", cursor.lastrowid)
        return Entry(cursor.lastrowid, name, message, photo, visitor, signed_at, None)

    def change(self, entry: Entry, name: str, message: str, photo: str | None) -> Entry | None:
        """Write an entry anew; None if it was torn out meanwhile."""
        with self.connection:
            self.connection.execute(
                "UPDATE entries SET name = ?, message = ?, photo = ?, changed_at = ? WHERE id = ?",
                (name, message, photo, now().isoformat(), entry.id),
            )
            self._note("changed", entry.id)
        return self.find(entry.id)

    def remove(self, entry: Entry) -> None:
        """Tear an entry out."""
        with self.connection:
            self.connection.execute("DELETE FROM entries WHERE id = ?", (entry.id,))
            self._note("removed", entry.id)

    def find(self, id: int) -> Entry | None:
        """The entry of that number, or None."""
        row = self.connection.execute("SELECT * FROM entries WHERE id = ?", (id,)).fetchone()
        return read_entry(row) if row is not None else None

    def get(self, id: int) -> Entry:
        """The entry of that number; without one the answer is a 404."""
        return self.find(id) or abort(404, f"There is no entry {id}. It may have been torn out.")

    def list_newest(self, count: int, *, before: int | None = None) -> tuple[list[Entry], int | None]:
        """The last ``count`` entries, newest first, and what to give as ``before`` for older ones, if there are any."""
        rows = self.connection.execute(
            "SELECT * FROM entries WHERE :before IS NULL OR id < :before ORDER BY id DESC LIMIT :limit",
            {"before": before, "limit": count + 1},
        ).fetchall()
        entries = [read_entry(row) for row in rows[:count]]
        return entries, entries[-1].id if len(rows) > count else None

    def list_changes(self, after: int, count: int = 100) -> list[Change]:
        """The first ``count`` changes after that number, oldest first."""
        rows = self.connection.execute(
            "SELECT number, kind, entry, entries.* FROM changes LEFT JOIN entries ON entries.id = entry "
            "WHERE number > ? ORDER BY number LIMIT ?",
            (after, count),
        )
        return [
            Change(row["number"], row["kind"], row["entry"], read_entry(row) if row["id"] is not None else None)
            for row in rows
        ]

    def last_change(self) -> int:
        """The number of the latest change; 0 if nothing ever happened."""
        row = self.connection.execute("SELECT coalesce(max(number), 0) FROM changes").fetchone()
        number: int = row[0]
        return number

    def _note(self, kind: str, id: int) -> None:
        self.connection.execute("INSERT INTO changes (kind, entry) VALUES (?, ?)", (kind, id))


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def read_entry(row: Any) -> Entry:
    """An entry from its row."""
    return Entry(
        id=row["id"],
        name=row["name"],
        message=row["message"],
        photo=row["photo"],
        visitor=row["visitor"],
        signed_at=datetime.fromisoformat(row["signed_at"]),
        changed_at=datetime.fromisoformat(row["changed_at"]) if row["changed_at"] else None,
    )


def open_book(connection: Annotated[sqlite3.Connection, Depends(open_database)]) -> Book:
    """A dependency: the book, for the time of a request."""
    return Book(connection)


OpenBook = Annotated[Book, Depends(open_book)]
