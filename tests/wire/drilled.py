"""The app that is stopped in ``test_drills_wire.py`` and ``test_shutdown_wire.py``; not a test file.

Every hook writes a line to the file that the environment names, so that a hook that did not run is seen.
"""

import os
import sys
import time

import anyio

from microweb import App, EventStream, Router, request

NOTES = os.environ.get("DRILL_NOTES", os.devnull)
UNDER_WAY = 0.4
"""Seconds that work takes, so that the signal comes in its middle."""


def note(line):
    with open(NOTES, "a") as notes:
        notes.write(line + "\n")


app = App(__name__, static_folder=None, config={"GRACEFUL_TIMEOUT": 5, "BACKGROUND_TIMEOUT": 1.0})


@app.lifespan
async def outer(app):
    note(f"process {os.getpid()}")
    note("enter outer")
    yield
    note("exit outer")


@app.lifespan
async def inner(app):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        note("enter inner")
        yield
        tasks.cancel_scope.cancel()
    note("exit inner")


@app.teardown_request
async def after(error):
    note(f"teardown {request.path}")


@app.get("/")
async def idle():
    return "hello"


@app.get("/json")
async def json():
    note("began /json")
    await anyio.sleep(UNDER_WAY)
    return {"done": True}


@app.get("/thread")
def thread():
    note("began /thread")
    time.sleep(UNDER_WAY)
    return "done"


@app.get("/download")
async def download():
    try:
        for _ in range(20):
            yield b"x" * 10_000
            await anyio.sleep(UNDER_WAY / 20)
    finally:
        note("closed /download")


@app.post("/upload")
async def upload():
    size = 0
    async for chunk in request.stream():
        if not size:
            note("began /upload")
        size += len(chunk)
    return {"size": size}


@app.get("/events")
async def events():
    async def items():
        try:
            yield "first"
            await app.shutting_down.wait()
            yield "goodbye"
            await anyio.sleep_forever()
        finally:
            note("closed /events")

    return EventStream(items())


@app.websocket("/ws")
async def ws(websocket):
    await websocket.accept()
    await websocket.send_text("first")
    try:
        async for message in websocket:
            await websocket.send_text(message)
    finally:
        note(f"closed /ws with {websocket.close_code}")


@app.get("/background")
async def background():
    async def finish():
        await anyio.sleep(UNDER_WAY)
        note("background finished")

    async def stay():
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            note("background cancelled")
            raise

    app.add_background_task(finish)
    app.add_background_task(stay)
    return "begun"


shop = Router("shop", __name__)


@shop.get("/")
async def shelf():
    return "shelf"


app.mount("/shop", shop)


async def foreign(scope, receive, send):
    """A mounted ASGI app with a lifespan of its own."""
    assert scope["type"] == "lifespan"
    await receive()
    note("enter foreign")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("exit foreign")
    await send({"type": "lifespan.shutdown.complete"})


app.mount("/foreign", foreign)

if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), http=sys.argv[2], ws=sys.argv[3])
