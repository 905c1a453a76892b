"""A program as it is written in an editor; never run. ``test_editor.py`` has it checked by pyright and mypy."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, assert_type

from microweb import (
    URL,
    App,
    FileResponse,
    MethodView,
    Request,
    Response,
    Router,
    SyncRequest,
    WebSocket,
    abort,
    current_app,
    g,
    get_flashed_messages,
    jsonify,
    redirect,
    render_template,
    request,
    send_file,
    session,
    url_for,
    websocket,
)
from microweb.context import Globals
from microweb.sessions import Session
from microweb.sync import request as sync_request


@dataclasses.dataclass
class Point:
    x: int


app = App(__name__)
folders = App(__name__, static_folder=Path("assets"), template_folder=Path("pages"))
shop = Router("shop", __name__, static_folder=Path("assets"), template_folder=Path("pages"))
assert_type(request, Request)
assert_type(sync_request, SyncRequest)
assert_type(websocket, WebSocket)
assert_type(session, Session)
assert_type(g, Globals)
assert_type(current_app, App)

assert_type(request.args.get("page"), str | None)
assert_type(request.args.get("page", type=int), int | None)
assert_type(request.args.get("page", 1, type=int), int)
assert_type(request.args.getlist("tag"), list[str])
assert_type(request.headers.get("x-token"), str | None)
assert_type(request.url, URL)
assert_type(url_for("view"), str)
assert_type(render_template("page.html"), str)
assert_type(redirect("/"), Response)
assert_type(jsonify(a=1), Response)
assert_type(send_file("a.txt"), FileResponse)
assert_type(app.list_routes()[0].methods, frozenset[str])
assert_type(app.list_routes()[0].endpoint, str | None)

assert_type(get_flashed_messages(), list[str])
assert_type(get_flashed_messages(with_categories=True), list[tuple[str, str]])

g.user = "ada"
session["user"] = "ada"
session.permanent = True


@app.get("/<int:number>")
async def view(number: int) -> str:
    assert_type(await request.json(type=Point), Point)
    assert_type(await request.json(type=Point, silent=True), Point | None)
    assert_type(await request.json(type=Point | int), Any)
    assert_type((await request.form())["name"], str)
    await (await request.files())["photo"].save("photos/")
    if number:
        abort(404)
    return "found"


@app.post("/")
def sync_view() -> dict[str, Any]:
    assert_type(sync_request.form["name"], str)
    assert_type(sync_request.get_data(), bytes)
    assert_type(sync_request.get_data(as_text=True), str)
    sync_request.files["photo"].save("photos/")
    return {"sent": sync_request.json}


@app.put("/limited", timeout=5, max_content_length=None, max_form_parts=3, forbid_unknown=True, openapi=False)
async def limited() -> str:
    return "within its limits"


@app.websocket("/limited", timeout=5, json_max_depth=3, websocket_max_message=1000)
async def limited_messages(websocket: WebSocket) -> None:
    assert_type(await websocket.receive_text(), str)


@app.lifespan
async def pool(app: App) -> AsyncIterator[None]:
    app.state.pool = "open"
    yield


@app.on("request_finished")
async def count(response: Response) -> None:
    """Count the answers."""


@app.cli.command("fill")
async def fill() -> None:
    """Fill the database."""


@app.template_filter()
def shout(text: str) -> str:
    return text.upper()


class Entry(MethodView):
    async def get(self) -> str:
        return "entry"


app.add_route("/entry", Entry.as_view("entry"))
assert_type(pool(app), AsyncIterator[None])


async def enter() -> None:
    async with app.app_context(), app.test_request_context("/") as made:
        assert_type(made, Request)
    with app.app_context(), app.test_request_context("/") as made_now:
        assert_type(made_now, SyncRequest)


assert_type(shout("a decorated function keeps its type"), str)

response = Response("a,b", mimetype="text/csv")
response.location = "/there"
