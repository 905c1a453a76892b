"""Who is visiting: a random mark and a name, kept in the session, which is a signed cookie. Nobody logs in."""

import secrets
from typing import Protocol

from guestbook.book import Book
from guestbook.entries import Entry
from microweb import abort, session

__all__ = ["find_name", "find_visitor", "forget", "get_own_entry", "get_visitor", "is_own", "remember_name"]


class Written(Protocol):
    """What a visitor has left: an entry, a line of the chat."""

    @property
    def visitor(self) -> str: ...


def find_visitor() -> str | None:
    """The mark of the visitor; None if they have left none so far."""
    visitor: str | None = session.get("visitor")
    return visitor


def get_visitor() -> str:
    """The mark of the visitor, who gets one now if need be."""
    if "visitor" not in session:
        session["visitor"] = secrets.token_urlsafe(16)
        session.permanent = True
    visitor: str = session["visitor"]
    return visitor


def find_name() -> str | None:
    """The name that the visitor told last."""
    name: str | None = session.get("name")
    return name


def remember_name(name: str) -> None:
    """Keep a name for the next form."""
    if find_name() != name:
        session["name"] = name
        session.permanent = True


def forget() -> None:
    """Let a visitor be a stranger again, who cannot change what they have signed."""
    session.clear()


def is_own(thing: Written) -> bool:
    """Whether the visitor has written this."""
    return thing.visitor == find_visitor()


def get_own_entry(book: Book, id: int) -> Entry:
    """The entry of that number, for the visitor who has signed it; for others the answer is a 403."""
    entry = book.get(id)
    if not is_own(entry):
        abort(403, "Only whoever signed an entry can change it.")
    return entry
