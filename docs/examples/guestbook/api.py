"""The guest book for programs: the same entries as JSON. Who has signed an entry is told by the session's cookie."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from guestbook.book import Book, OpenBook
from guestbook.entries import LARGEST, Entry, EntryNumber, Message, Name, tidy
from guestbook.live import ring
from guestbook.photos import find_photo_problem, keep_photo, remove_photo
from guestbook.visitors import get_own_entry, get_visitor, is_own
from microweb import HTTPException, Query, Router, SyncRequest, SyncUploadFile, abort, current_app, url_for
from microweb.openapi import describe

__all__ = ["api"]

ENTRY = f"/entries/<int(min=1, max={LARGEST}):id>"

MISSING = {404: "There is no such entry."}
OTHERS = {403: "Somebody else has signed it, or this session has not.", **MISSING}

Count = Annotated[int, msgspec.Meta(ge=1, le=100)]

api = Router("api", __name__)


class NewEntry(msgspec.Struct):
    """What a guest writes."""

    name: Name
    message: Message


class ShownEntry(msgspec.Struct):
    """An entry. ``photo`` is the path of its picture, ``own`` says whether it may be changed with this session."""

    id: int
    name: str
    message: str
    photo: str | None
    own: bool
    signed_at: datetime
    changed_at: datetime | None


class EntryList(msgspec.Struct):
    """Entries, newest first. ``next`` is the path of the older ones, or null."""

    entries: list[ShownEntry]
    next: str | None


@api.errorhandler(HTTPException)
def tell_error(error: HTTPException) -> HTTPException:
    """Errors of the API are no pages: to return the error itself gives what microweb tells programs."""
    return error


@api.get("/entries")
def list_entries(
    book: OpenBook,
    before: Annotated[EntryNumber | None, Query()] = None,
    count: Annotated[Count | None, Query()] = None,
) -> EntryList:
    """List the entries, newest first.

    With ``before`` only those that are older than the entry of that number.
    """
    entries, older = book.list_newest(count or current_app.config["PAGE_SIZE"], before=before)
    following = url_for(".list_entries", before=older, count=count) if older else None
    return EntryList([show(entry) for entry in entries], following)


@api.post("/entries")
def add_entry(new: NewEntry, request: SyncRequest, book: OpenBook) -> tuple[ShownEntry, Literal[201], dict[str, str]]:
    """Sign the book.

    The answer sets the cookie of a session; keep it to change the entry later.
    """
    entry = book.add(tidy(new.name), tidy(new.message, lines=True), None, get_visitor())
    ring(request)
    return show(entry), 201, {"Location": url_for(".show_entry", id=entry.id)}


@api.get(ENTRY)
@describe(responses=MISSING)
def show_entry(id: int, book: OpenBook) -> ShownEntry:
    """Show one entry."""
    return show(book.get(id))


@api.put(ENTRY)
@describe(responses=OTHERS)
def change_entry(id: int, new: NewEntry, request: SyncRequest, book: OpenBook) -> ShownEntry:
    """Change an entry of one's own."""
    entry = get_own_entry(book, id)
    return write(book, entry, tidy(new.name), tidy(new.message, lines=True), entry.photo, request)


@api.delete(ENTRY)
@describe(responses=OTHERS)
def remove_entry(id: int, request: SyncRequest, book: OpenBook) -> tuple[None, Literal[204]]:
    """Tear out an entry of one's own."""
    entry = get_own_entry(book, id)
    book.remove(entry)
    remove_photo(entry.photo)
    ring(request)
    return None, 204


@api.put(f"{ENTRY}/photo")
@describe(responses=OTHERS | {413: "The photo is too large.", 415: "This is no picture that browsers show."})
def change_photo(id: int, photo: SyncUploadFile, request: SyncRequest, book: OpenBook) -> ShownEntry:
    """Put a photo beside an entry of one's own: a JPEG, PNG, GIF or WebP."""
    entry = get_own_entry(book, id)
    problem = find_photo_problem(photo)
    if problem:
        abort(*problem)
    return write(book, entry, entry.name, entry.message, keep_photo(photo), request)


@api.delete(f"{ENTRY}/photo")
@describe(responses=OTHERS)
def remove_entry_photo(id: int, request: SyncRequest, book: OpenBook) -> ShownEntry:
    """Take the photo away from an entry of one's own."""
    entry = get_own_entry(book, id)
    return write(book, entry, entry.name, entry.message, None, request)


def show(entry: Entry) -> ShownEntry:
    """An entry as programs see it."""
    return ShownEntry(
        id=entry.id,
        name=entry.name,
        message=entry.message,
        photo=url_for("pages.photo", name=entry.photo) if entry.photo else None,
        own=is_own(entry),
        signed_at=entry.signed_at,
        changed_at=entry.changed_at,
    )


def write(book: Book, entry: Entry, name: str, message: str, photo: str | None, request: SyncRequest) -> ShownEntry:
    """Change an entry, and tell the open pages."""
    changed = book.change(entry, name, message, photo) or abort(404, f"There is no entry {entry.id}.")
    if photo != entry.photo:
        remove_photo(entry.photo)
    ring(request)
    return show(changed)
