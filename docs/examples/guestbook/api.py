"""The guest book for programs: the same entries as JSON."""

from typing import Any

from guestbook.database import get_store
from guestbook.entries import Entry, InvalidEntry, check_entry
from microweb import Router, SyncRequest, abort, current_app, url_for
from microweb.errors import BadRequest, UnprocessableEntity

__all__ = ["api"]

api = Router("api", __name__)


@api.get("/entries")
def list_entries(request: SyncRequest) -> dict[str, Any]:
    """One page of entries, newest first; ``next`` is where the older ones are, or null."""
    count: int = current_app.config["PAGE_SIZE"]
    entries = get_store().list_newest(count, before=request.args.get("before", type=int))
    older = url_for(".list_entries", before=entries[-1].id) if len(entries) == count else None
    return {"entries": entries, "next": older}


@api.get("/entries/<int:entry>")
def show_entry(entry: int) -> Entry:
    """One entry."""
    found = get_store().find(entry)
    if found is None:
        abort(404, f"There is no entry {entry}.")
    return found


@api.post("/entries")
def add_entry(request: SyncRequest) -> tuple[Entry, int, dict[str, str]]:
    """Sign: ``{"name": ..., "message": ...}``."""
    fields = request.json
    if not isinstance(fields, dict):
        raise BadRequest("Expected an object with the members name and message.")
    try:
        name, message = check_entry(fields)
    except InvalidEntry as error:
        wrong = [{"in": "body", "name": name, "reason": reason} for name, reason in error.problems.items()]
        raise UnprocessableEntity("This is no entry.", extensions={"errors": wrong}) from None
    entry = get_store().add(name, message)
    return entry, 201, {"Location": url_for(".show_entry", entry=entry.id)}
