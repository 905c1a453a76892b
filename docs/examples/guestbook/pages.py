"""The guest book for people: a page with a form, and the entries below it."""

from guestbook.database import get_store
from guestbook.entries import InvalidEntry, check_entry
from guestbook.markup import render_book
from microweb import Response, Router, SyncRequest, current_app, redirect, url_for

__all__ = ["pages"]

pages = Router("pages", __name__)


@pages.get("/")
def show(request: SyncRequest) -> str:
    """The form and one page of entries; ``?before=17`` goes back from entry 17."""
    count: int = current_app.config["PAGE_SIZE"]
    return render_book(get_store().list_newest(count, before=request.args.get("before", type=int)), count)


@pages.post("/")
def sign(request: SyncRequest) -> Response:
    """Take a signature, and show the book again by a GET, so that reloading the page does not sign twice."""
    name, message = check_entry(request.form.to_dict())
    get_store().add(name, message)
    return redirect(url_for(".show"), 303)


@pages.errorhandler(InvalidEntry)
def ask_again(error: InvalidEntry) -> tuple[str, int]:
    """The page once more, with what was filled in and what is wrong with it."""
    count: int = current_app.config["PAGE_SIZE"]
    return render_book(get_store().list_newest(count), count, error), 422
