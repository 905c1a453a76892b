"""The book as it changes: an event for each change, to every page that is open.

The database knows what has happened and in which order; the channel only rings when there is something new. So no
event is lost or doubled, whatever happens to a connection: a page says which change it saw last.
"""

from collections.abc import AsyncIterator
from contextlib import closing
from typing import Annotated

from anyio import move_on_after, to_thread
from msgspec import Meta

from guestbook.book import Book
from guestbook.database import connect, find_database
from guestbook.entries import LARGEST, Change
from guestbook.visitors import is_own
from microweb import Event, EventStream, Header, Query, Router, SyncRequest, current_app, render_template, session

__all__ = ["live", "ring"]

CHANNEL = "book"
LONGEST_SILENCE = 60
"""Seconds after which a stream looks by itself, in case that nobody could ring."""

Number = Annotated[int, Meta(ge=0, le=LARGEST)]

live = Router("live", __name__)


def ring(request: SyncRequest) -> None:
    """Tell every process, once the answer of ``request`` is out, that the book has changed."""
    request.after_response(current_app.channels.publish, CHANNEL, "changed")


@live.get("")
async def follow(
    after: Annotated[Number, Query()] = 0,
    last_event_id: Annotated[Number | None, Header("Last-Event-ID")] = None,
) -> EventStream:
    """Everything that happens after a change: the one that a browser names when it connects again, or ``after``."""
    session.get("visitor")  # Loaded now: the stream shows visitors which entries are theirs.
    return EventStream(tell_changes(after if last_event_id is None else last_event_id))


async def tell_changes(after: int) -> AsyncIterator[Event]:
    """The changes, one by one, for as long as the page is open."""
    yield Event(event="hello", id=after)
    # One ring is as good as many: a slow page asks the database once for all that it has missed.
    async with current_app.channels.subscribe(CHANNEL, size=1) as bell:
        while True:
            while changes := await to_thread.run_sync(read_changes, after):
                for change in changes:
                    yield make_event(change)
                after = changes[-1].number
            with move_on_after(LONGEST_SILENCE):
                await anext(bell)


def read_changes(after: int) -> list[Change]:
    """What has happened since; runs in a thread."""
    with closing(connect(find_database(current_app))) as connection:
        return Book(connection).list_changes(after)


def make_event(change: Change) -> Event:
    """What a page is told: the entry as the page shows it, or the number of one that is gone."""
    if change.entry is None:
        return Event(str(change.id), event="removed", id=change.number)
    html = render_template("entry.html", entry=change.entry, own=is_own(change.entry))
    return Event(html, event=change.kind, id=change.number)
