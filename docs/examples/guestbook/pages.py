"""The guest book for people: the book, the form in which it is signed, and one's own entries, to be changed.

Every form works without JavaScript: it is answered by a redirect to a page, or by the page again with what is wrong.
"""

from typing import Annotated

import msgspec

from guestbook.book import Book, OpenBook
from guestbook.chat import chat
from guestbook.entries import LARGEST, LONGEST_MESSAGE, LONGEST_NAME, Entry, EntryNumber, find_problems, tidy
from guestbook.live import live, ring
from guestbook.photos import find_photo_problem, keep_photo, remove_photo, send_photo
from guestbook.visitors import find_name, forget, get_own_entry, get_visitor, is_own, remember_name
from microweb import (
    FileResponse,
    Query,
    Response,
    Router,
    SyncRequest,
    SyncUploadFile,
    current_app,
    flash,
    redirect,
    render_template,
    url_for,
)
from microweb.openapi import describe

__all__ = ["pages"]

ENTRY = f"/entries/<int(max={LARGEST}):id>"

pages = Router("pages", __name__)
describe(hidden=True)(pages)
pages.mount("/live", live)
pages.mount("/chat", chat)


class Draft(msgspec.Struct):
    """What stands in a form, and what is wrong with it, by field."""

    name: str = ""
    message: str = ""
    photo: SyncUploadFile | None = None
    problems: dict[str, str] = {}


def read_draft(request: SyncRequest) -> Draft:
    """The form that came, checked."""
    name = tidy(request.form.get("name", ""))
    message = tidy(request.form.get("message", ""), lines=True)
    problems = find_problems(name, message)
    photo = request.files.get("photo") or None
    problem = find_photo_problem(photo) if photo else None
    if problem:
        problems["photo"] = problem[1]
    elif photo and problems:
        problems["photo"] = "Please choose your photo again; browsers do not keep it."
    return Draft(name, message, photo, problems)


@pages.get("/")
def show(book: OpenBook, before: Annotated[EntryNumber | None, Query()] = None) -> str:
    """The form and one page of entries; ``?before=17`` goes back from entry 17."""
    return render_book(book, Draft(name=find_name() or ""), before)


@pages.post("/")
def sign(request: SyncRequest, book: OpenBook) -> Response | tuple[str, int]:
    """Take a signature, and show the book again by a GET, so that reloading the page does not sign twice."""
    draft = read_draft(request)
    if draft.problems:
        return render_book(book, draft), 422
    book.add(draft.name, draft.message, keep_photo(draft.photo) if draft.photo else None, get_visitor())
    remember_name(draft.name)
    ring(request)
    flash(f"Thank you for signing, {draft.name}!")
    return redirect(url_for(".show"), 303)


@pages.get(ENTRY)
def show_entry(id: int, book: OpenBook) -> str:
    """One entry by itself."""
    entry = book.get(id)
    return render_template("single.html", entry=entry, own=is_own(entry))


@pages.get(f"{ENTRY}/edit")
def edit(id: int, book: OpenBook) -> str:
    """The form with one's own entry in it."""
    entry = get_own_entry(book, id)
    return render_editor(entry, Draft(entry.name, entry.message))


@pages.post(f"{ENTRY}/edit")
def change(id: int, request: SyncRequest, book: OpenBook) -> Response | tuple[str, int]:
    """Take what was changed."""
    entry, draft = get_own_entry(book, id), read_draft(request)
    if draft.problems:
        return render_editor(entry, draft), 422
    photo = entry.photo
    if draft.photo:
        photo = keep_photo(draft.photo)
    elif "without_photo" in request.form:
        photo = None
    book.change(entry, draft.name, draft.message, photo)
    if photo != entry.photo:
        remove_photo(entry.photo)
    ring(request)
    flash("Your entry is changed.")
    return redirect(url_for(".show_entry", id=id), 303)


@pages.post(f"{ENTRY}/remove")
def remove(id: int, request: SyncRequest, book: OpenBook) -> Response:
    """Tear one's own entry out."""
    entry = get_own_entry(book, id)
    book.remove(entry)
    remove_photo(entry.photo)
    ring(request)
    flash("Your entry is gone.")
    return redirect(url_for(".show"), 303)


@pages.post("/visitor")
def introduce(request: SyncRequest) -> Response:
    """Remember a name for the chat and the next form; or forget everything of a visitor who is somebody else."""
    name = tidy(request.form.get("name", ""))
    if "forget" in request.form:
        forget()
        return redirect(url_for(".show"), 303)
    if "name" in find_problems(name, "-"):
        flash(f"Please tell a name of at most {LONGEST_NAME} characters.", "problem")
    else:
        get_visitor()
        remember_name(name)
    return redirect(url_for(".chat.show"), 303)


@pages.get("/photos/<name>")
async def photo(name: str) -> FileResponse:
    """A photo by the name of its file."""
    return send_photo(name)


def render_book(book: Book, draft: Draft, before: int | None = None) -> str:
    """The page with the form and the entries."""
    # Before the entries: what happens between the two is shown twice rather than not at all.
    last_change = book.last_change()
    entries, older = book.list_newest(current_app.config["PAGE_SIZE"], before=before)
    return render_template(
        "book.html",
        draft=draft,
        entries=entries,
        is_own=is_own,
        older=older,
        before=before,
        last_change=last_change,
        **limits(),
    )


def render_editor(entry: Entry, draft: Draft) -> str:
    """The page with the form for an entry that is there."""
    return render_template("edit.html", entry=entry, draft=draft, **limits())


def limits() -> dict[str, int]:
    """What the form tells the browser, so that most mistakes are seen before anything is sent."""
    return {"longest_name": LONGEST_NAME, "longest_message": LONGEST_MESSAGE}
