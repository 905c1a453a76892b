"""The app whose clients leave in ``test_disconnects_wire.py``; not a test file.

Each view holds a file open while it waits; ``/open`` says which are open. What happened is in ``/notes``.
"""

import asyncio
import gc
import os
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakSet

import anyio

from microweb import App, EventStream, request
from microweb.middleware import Timeout

FOLDER = Path(os.environ["ABANDONED"])
app = App(__name__, static_folder=None)
notes = []
waiting = WeakSet()


@contextmanager
def resource(name):
    """A file that is open for the time of the block."""
    with open(FOLDER / name, "w"):
        notes.append(f"opened {name}")
        try:
            yield
        except BaseException as error:
            notes.append(f"{type(error).__name__} in {name}")
            raise


@app.teardown_websocket
@app.teardown_request
async def after(error):
    if request.path not in ("/notes", "/open"):
        notes.append(f"teardown {request.path}")


@app.get("/notes")
async def told():
    return notes


@app.get("/open")
async def find_open():
    links = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if is_link(number)]
    return [Path(link).name for link in links if link.startswith(str(FOLDER) + "/")]


def is_link(number):
    return os.path.lexists(f"/proc/self/fd/{number}")


@app.get("/view", cancel_on_disconnect=True)
async def view():
    with resource("view"):
        await anyio.sleep_forever()


@app.post("/body", cancel_on_disconnect=True)
async def body():
    with resource("body"):
        await request.body()
        await anyio.sleep_forever()


@app.get("/shielded", cancel_on_disconnect=True)
async def shielded():
    with resource("shielded"):
        before = notes.count("teardown /view")
        with anyio.CancelScope(shield=True):
            while notes.count("teardown /view") == before:
                await anyio.sleep(0.01)
        notes.append("the shielded part has ended")
        await anyio.sleep_forever()


@app.get("/stream")
async def stream():
    with resource("stream"):
        yield "first"
        await anyio.sleep_forever()


@app.get("/busy")
async def busy():
    with resource("busy"):
        while True:
            yield b"x" * 10_000
            await anyio.sleep(0.01)


@app.get("/events")
async def events():
    async def items():
        with resource("events"):
            yield "first"
            await anyio.sleep_forever()

    return EventStream(items())


@app.post("/unread")
async def unread():
    with resource("unread"):
        yield "first"
        await anyio.sleep_forever()


@app.get("/tireless")
async def tireless():
    with resource("tireless"):
        while True:
            yield b"x" * 10_000


@app.websocket("/sending")
async def sending(websocket):
    await websocket.accept()
    with resource("sending"):
        while True:
            await websocket.send_text("x" * 1000)
            await anyio.sleep(0.01)


@app.websocket("/silent", timeout=0.5)
async def silent(websocket):
    await websocket.accept()
    await websocket.receive()


@app.websocket("/finished")
async def finished(websocket):
    await websocket.accept()
    for _ in range(3):
        await websocket.send_text("x")


@app.get("/polled")
async def polled():
    with resource("polled"):
        while not await request.is_disconnected():
            await anyio.sleep(0.01)
        notes.append("noticed")
    return "nobody reads this"


@app.get("/late", timeout=0.5)
async def late():
    with resource("late"):
        await anyio.sleep_forever()


@app.get("/later", middleware=[Timeout(0.5)])
async def later():
    with resource("later"):
        await anyio.sleep_forever()


async def mounted(scope, receive, send):
    """An app of another framework, which knows asyncio alone and waits for its client beside its answer."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass

    async def wait(waiter):
        waiting.add(waiter)
        await receive()

    task = asyncio.create_task(wait(asyncio.Event()))
    await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})
    task.cancel()


app.mount("/mounted", mounted)


@app.get("/waiting")
async def count_waiting():
    gc.collect()
    return {"waiting": len(waiting)}
