"""The chat: a page, and a websocket over which its lines come and go. They are kept in the database."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import anyio
import msgspec
from anyio import to_thread

from guestbook.database import connect, find_database, open_database
from guestbook.entries import tidy
from guestbook.visitors import find_name, find_visitor, get_visitor, is_own
from microweb import (
    Depends,
    Response,
    Router,
    SyncRequest,
    WebSocket,
    abort,
    current_app,
    flash,
    redirect,
    render_template,
    url_for,
)

__all__ = ["chat"]

CHANNEL = "chat"
LONGEST_LINE = 500
SHOWN = 50

chat = Router("chat", __name__)


class Line(msgspec.Struct, frozen=True):
    """Something that a visitor has said."""

    id: int
    name: str
    text: str
    visitor: str
    said_at: datetime


@chat.get("")
def show(connection: Annotated[sqlite3.Connection, Depends(open_database)]) -> str:
    """The last lines, and the form for the next one."""
    return render_template("chat.html", lines=list_lines(connection), is_own=is_own, longest_line=LONGEST_LINE)


@chat.post("")
def say(request: SyncRequest) -> Response:
    """A line from a browser without JavaScript, which sees the others when it loads the page again."""
    name, text = find_name(), tidy(request.form.get("text", ""))[:LONGEST_LINE]
    if name is None:
        flash("Please tell your name first.", "problem")
    elif text:
        line = keep_line(name, text, get_visitor())
        request.after_response(current_app.channels.publish, CHANNEL, line)
    return redirect(url_for(".show"), 303)


@chat.websocket("/lines")
async def talk(websocket: WebSocket) -> None:
    """Lines as they are said, the last ones first; a text message is a new one.

    The page has some of the first lines already and knows them by their numbers.
    """
    name, visitor = find_name(), find_visitor()
    if name is None or visitor is None:
        abort(403, "Tell your name on the chat page first.")
    await websocket.accept()
    channels = current_app.channels
    async with channels.subscribe(CHANNEL, history=SHOWN) as lines, anyio.create_task_group() as tasks:

        async def forward() -> None:
            async for message in lines:
                line = msgspec.convert(message, Line)
                await websocket.send_text(render_template("line.html", line=line, own=is_own(line)))

        tasks.start_soon(forward)
        async for message in websocket:
            text = tidy(message)[:LONGEST_LINE] if isinstance(message, str) else ""
            if text:
                await channels.publish(CHANNEL, await to_thread.run_sync(keep_line, name, text, visitor))
        tasks.cancel_scope.cancel()


def keep_line(name: str, text: str, visitor: str) -> Line:
    """Store a line; runs in a thread."""
    said_at = datetime.now(UTC).replace(microsecond=0)
    with closing(connect(find_database(current_app))) as connection, connection:
        cursor = connection.execute(
            "INSERT INTO lines (name, text, visitor, said_at) VALUES (?, ?, ?, ?)",
            (name, text, visitor, said_at.isoformat()),
        )
        assert cursor.lastrowid is not None
        return Line(cursor.lastrowid, name, text, visitor, said_at)


def list_lines(connection: sqlite3.Connection) -> list[Line]:
    """The last lines, the latest at the end."""
    rows = connection.execute("SELECT * FROM lines ORDER BY id DESC LIMIT ?", (SHOWN,)).fetchall()
    return [
        Line(row["id"], row["name"], row["text"], row["visitor"], datetime.fromisoformat(row["said_at"]))
        for row in reversed(rows)
    ]
