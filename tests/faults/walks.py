"""The awkward views: apps that open something, wait everywhere, and must release it whatever happens.

Each ``build_*`` makes an app with its view at ``/``; ``WALKS`` lists them with the request that each gets. The controls
show that the count can fail, and that it can pass. Called by ``test_faults.py``.
"""

import io
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import anyio

from microweb import (
    App,
    EventStream,
    FileResponse,
    Request,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    render_template_string,
    send_file,
    session,
    stream_template_string,
)
from microweb.callers import call_of
from microweb.markers import Depends
from microweb.middleware.timeout import Timeout
from microweb.sessions import MemorySessionStore
from microweb.workers import WorkerPool

LARGE = b"x" * 70_000
"""More than a trip to a worker thread brings at once, so that each piece is a trip of its own."""

PATIENCE = 60
"""Seconds that no walk takes."""

pause = anyio.lowlevel.checkpoint


@dataclass(frozen=True)
class Walk:
    """One request, and the app that it goes to."""

    name: str
    build: Callable
    method: str = "GET"
    headers: tuple = ()
    body: tuple = ()
    type: str = "http"
    spec_version: str = "2.4"
    works_on: bool = False
    """Whether something of it may go on after the request."""
    leaves_after: int | None = None
    """After how many sends the client leaves, if ever."""

    def scope(self):
        return {
            "type": self.type,
            "asgi": {"version": "3.0", "spec_version": self.spec_version},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"testserver"), *self.headers],
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
            "subprotocols": [],
            "state": {},
        }

    def messages(self):
        if self.type == "websocket":
            return [{"type": "websocket.connect"}] + [{"type": "websocket.receive", "text": text} for text in self.body]
        last = len(self.body) - 1
        return [
            {"type": "http.request", "body": chunk, "more_body": number < last}
            for number, chunk in enumerate(self.body or (b"",))
        ]


def make_app():
    return App(
        __name__,
        secret_key="a key that is long enough for a test",
        config={"UPLOAD_SPOOL_SIZE": 1000, "SYNC_THREADS": 2},
        static_folder=None,
    )


def build_json(stage):
    app = make_app()

    @app.post("/")
    async def view(request: Request):
        with stage.opened("view"):
            data = await request.json()
            await pause()
            return {"got": data}

    return app


def build_form(stage):
    app = make_app()

    @app.post("/")
    async def view(request: Request):
        with stage.opened("view"):
            form = await request.form()
            return {"title": form["title"]}

    return app


def build_upload(stage):
    app = make_app()

    @app.post("/")
    async def view(request: Request):
        with stage.opened("view"):
            files = await request.files()
            content = await files["file"].read(10)
            await pause()
            return {"begins": content.decode(), "size": files["file"].size}

    return app


def build_parts(stage):
    app = make_app()

    @app.post("/")
    async def view(request: Request):
        with stage.opened("view"):
            async for part in request.parts():
                async for _ in part.chunks():
                    await pause()
                    return "the first piece is enough"
            return "nothing"

    return app


def build_stream(stage):
    app = make_app()

    @app.get("/")
    async def view():
        with stage.opened("generator"):
            for number in range(3):
                await pause()
                yield f"{number}\n"

    return app


def build_returned_stream(stage):
    app = make_app()

    @app.get("/")
    async def view():
        async def numbers():
            with stage.opened("generator"):
                for number in range(3):
                    await pause()
                    yield f"{number}\n"

        return numbers()

    return app


def build_nested_stream(stage):
    app = make_app()

    async def lines():
        with stage.opened("inner generator"):
            for number in range(3):
                await pause()
                yield f"{number}\n"

    async def upper(inner):
        with stage.opened("outer generator"):
            try:
                async for line in inner:
                    yield line.upper()
            finally:
                await inner.aclose()

    @app.middleware
    async def wrap(request, call_next):
        response = await call_next(request)
        if response.is_streamed:
            response.iterable = upper(response.iterable)
        return response

    @app.get("/")
    async def view():
        return StreamingResponse(lines())

    return app


def build_sync_stream(stage):
    app = make_app()

    @app.get("/")
    def view():
        with stage.opened("generator"):
            for _ in range(3):
                stage.wait_for_task()
                yield LARGE
            stage.wait_for_task()

    return app


def build_thread(stage):
    app = make_app()

    @app.before_request
    def before(request: SyncRequest):
        stage.wait_for_task()

    @app.post("/")
    def view(request: SyncRequest):
        with stage.opened("view"):
            stage.wait_for_task()
            return {"got": request.json}

    @app.teardown_request
    def after(error):
        pass

    return app


def build_file(stage):
    app = make_app()

    @app.get("/")
    async def view(request: Request):
        with stage.opened("view"):
            await pause()
        return FileResponse(__file__)

    return app


def build_file_object(stage):
    app = make_app()

    class Slow(io.RawIOBase):
        def readable(self):
            return True

        def read(self, size=-1):
            stage.wait_for_task()
            self.count = getattr(self, "count", 0) + 1
            return b"piece" if self.count < 3 else b""

        def close(self):
            if not self.closed:
                stage.left["file object"] -= 1
            super().close()

    @app.get("/")
    async def view(request: Request):
        await pause()
        stage.left["file object"] += 1
        return send_file(Slow(), mimetype="text/plain")

    return app


def build_template(stage):
    app = make_app()

    @app.get("/")
    async def view():
        with stage.opened("view"):
            await pause()
            return render_template_string("{{ request.path }} {% for n in range(3) %}{{ n }}{% endfor %}")

    return app


def build_streamed_template(stage):
    app = make_app()

    def numbers():
        with stage.opened("generator in a template"):
            for _ in range(3):
                stage.wait_for_task()
                yield "x" * 70_000
            stage.wait_for_task()

    @app.get("/")
    async def view():
        return stream_template_string("{% for n in numbers() %}{{ n }}{% endfor %}", numbers=numbers)

    return app


def build_session(stage):
    app = make_app()

    @app.get("/")
    async def view():
        with stage.opened("view"):
            session["visits"] = session.get("visits", 0) + 1
            await pause()
            return str(session["visits"])

    return app


def build_stored_session(stage):
    app = build_session(stage)

    class SlowStore(MemorySessionStore):
        async def save(self, *args, **options):
            with stage.opened("save"):
                await pause()
                return await super().save(*args, **options)

    app.session_store = SlowStore()
    return app


def build_timeout(stage):
    app = make_app()
    app.add_middleware(Timeout(PATIENCE))

    @app.get("/", timeout=PATIENCE)
    async def view():
        with stage.opened("view"):
            await pause()
            return "in time"

    return app


def build_background(stage):
    app = make_app()

    async def work(name):
        with stage.opened(name):
            for _ in range(3):
                await pause()

    @app.get("/")
    async def view(request: Request):
        request.after_response(work, "after the response")
        app.add_background_task(work, "beside the request")
        await pause()
        return "started"

    return app


def build_mounted_app(stage):
    outer, inner = make_app(), build_nested_stream(stage)
    outer.mount("/", inner)
    return outer


def build_mounted_foreign(stage):
    app = make_app()

    async def foreign(scope, receive, send):
        if scope["type"] == "lifespan":
            raise ValueError("no lifespan here")
        with stage.opened("foreign app"):
            await receive()
            await pause()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await send({"type": "http.response.body", "body": b"b"})

    app.mount("/", foreign)

    @app.middleware
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-seen"] = "1"
        return response

    return app


def build_middleware(stage):
    app = make_app()

    def layer(name):
        async def middleware(request, call_next):
            with stage.opened(name):
                await pause()
                response = await call_next(request)
                await pause()
                return response

        return middleware

    for name in ("outer", "middle", "inner"):
        app.middleware(layer(name))

    @app.errorhandler(500)
    async def sorry(error):
        await pause()
        return "sorry", 500

    @app.after_request
    async def after(response):
        await pause()
        return response

    @app.teardown_request
    async def teardown(error):
        await pause()

    @app.get("/")
    async def view(request: Request):
        await pause()
        return "view"

    return app


def build_dependency(stage):
    app = make_app()

    async def pool():
        with stage.opened("outer dependency"):
            await pause()
            yield "pool"
            await pause()

    async def connection(pool: Annotated[str, Depends(pool)]):
        with stage.opened("inner dependency"):
            await pause()
            yield pool + " connection"
            await pause()

    @app.get("/")
    async def view(connection: Annotated[str, Depends(connection)]):
        await pause()
        return connection

    return app


def build_sync_dependency(stage):
    app = make_app()

    def connection():
        with stage.opened("dependency in a thread"):
            stage.wait_for_task()
            yield "connection"
            stage.wait_for_task()

    @app.get("/")
    async def view(connection: Annotated[str, Depends(connection)]):
        await pause()
        return connection

    return app


def build_streaming_dependency(stage):
    app = make_app()

    async def connection():
        with stage.opened("dependency"):
            await pause()
            yield "connection"
            await pause()

    @app.get("/")
    async def view(connection: Annotated[str, Depends(connection)]):
        with stage.opened("generator"):
            for _ in range(2):
                await pause()
                yield connection

    return app


def build_teardown(stage):
    app = make_app()
    opened = []

    def releasing(name):
        async def release(*_):
            try:
                await pause()
            finally:
                stage.left[name] -= 1

        return release

    @app.before_request
    async def before(request: Request):
        await pause()
        for name in ("first", "second", "third"):
            stage.left[name] += 1
            request.on_close(releasing(name))
        opened.append(request)
        stage.left["request"] += 1

    @app.teardown_request
    async def forget(error):
        if opened:
            await pause()

    @app.teardown_request
    def forget_in_thread(error):
        if opened:
            opened.pop()
            stage.left["request"] -= 1

    @app.get("/")
    async def view():
        await pause()
        return "view"

    return app


def build_cancelled_view(stage):
    app = make_app()

    @app.get("/", cancel_on_disconnect=True)
    async def view(request: Request):
        with stage.opened("view"):
            for _ in range(3):
                await pause()
            return "done"

    return app


def build_events(stage):
    app = make_app()

    @app.get("/")
    async def view(request: Request):
        async def events():
            with stage.opened("events"):
                for number in range(3):
                    await pause()
                    yield {"number": number}

        return EventStream(events())

    return app


def build_idle_events(stage):
    app = make_app()

    @app.get("/")
    async def view(request: Request):
        async def events():
            with stage.opened("events"):
                yield "the only one"
                await anyio.sleep_forever()

        return EventStream(events())

    return app


def build_websocket(stage):
    app = make_app()

    @app.before_websocket
    async def before(websocket: WebSocket):
        await pause()

    @app.teardown_websocket
    async def teardown(error):
        await pause()

    @app.websocket("/")
    async def echo(websocket: WebSocket):
        with stage.opened("websocket"):
            await websocket.accept()
            async for message in websocket:
                await pause()
                await websocket.send_text(message)

    return app


def build_sending_websocket(stage):
    app = make_app()

    @app.teardown_websocket
    async def teardown(error):
        await pause()

    @app.websocket("/")
    async def view(websocket: WebSocket):
        with stage.opened("websocket"):
            await websocket.accept()
            for number in range(3):
                await websocket.send_json(number)

    return app


def build_chat(stage):
    app = make_app()

    @app.websocket("/")
    async def chat(websocket: WebSocket):
        await websocket.accept()
        async with app.channels.subscribe("chat") as messages, anyio.create_task_group() as tasks:

            async def forward():
                with stage.opened("sender"):
                    async for message in messages:
                        await websocket.send_json(message)

            tasks.start_soon(forward)
            with stage.opened("receiver"):
                async for text in websocket:
                    await app.channels.publish("chat", text)
            tasks.cancel_scope.cancel()

    return app


def build_clean_control(stage):
    async def app(scope, receive, send):
        with stage.opened("everything"):
            await receive()
            await pause()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    return Bare(app)


def build_leaking_control(stage):
    """Leaves a generator and a file open unless all goes well."""
    kept = []

    async def numbers():
        for number in range(3):
            yield number

    async def app(scope, receive, send):
        await receive()
        body, file = numbers(), open(__file__, "rb")  # noqa: SIM115, PTH123 - that is the point
        kept.extend((body.aclose, file.close))
        await pause()
        async for _ in body:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        file.close()

    return Bare(app, kept)


def build_leaking_task(stage):
    """Leaves a task behind, in every walk."""
    kept, groups = [], []

    async def open_group(task_status):
        async with anyio.create_task_group() as group:
            groups.append(group)
            task_status.started()
            await anyio.sleep_forever()

    async def app(scope, receive, send):
        groups[0].start_soon(anyio.sleep_forever)

    bare = Bare(app, kept)
    bare.enter = open_group
    return bare


def build_leaking_file(stage):
    """Leaves a temporary file behind, in every walk."""
    kept = []

    async def app(scope, receive, send):
        descriptor, path = tempfile.mkstemp()
        os.close(descriptor)
        kept.append(partial(os.unlink, path))

    return Bare(app, kept)


def build_leaking_thread(stage):
    """Keeps a worker thread busy, in every walk."""
    kept = []

    async def app(scope, receive, send):
        let_go = threading.Event()
        kept.append(let_go.set)
        worker = bare.workers.pick()
        worker._submit(call_of(worker, let_go.wait, (), ""))

    bare = Bare(app, kept)
    return bare


class Bare:
    """A plain ASGI app, with as much of ours as the count asks for; ``kept`` are called when it stops."""

    enter = None

    def __init__(self, app, kept=()):
        self.app = app
        self.kept = kept
        self.workers = WorkerPool(40)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        async with anyio.create_task_group() as group:
            if self.enter is not None:
                await group.start(self.start)
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            group.cancel_scope.cancel()
        for release in self.kept:
            released = release()
            if hasattr(released, "__await__"):
                await released
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self, *, task_status):
        await self.enter(task_status)


JSON = ((b"content-type", b"application/json"),)
FORM = ((b"content-type", b"application/x-www-form-urlencoded"),)
MULTIPART = ((b"content-type", b"multipart/form-data; boundary=b"),)
FILE = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n',
    b"y" * 3000,
    b"z" * 300_000,
    b"\r\n--b--\r\n",
)

WALKS = [
    Walk("json", build_json, "POST", JSON, (b'{"a"', b": 1}")),
    Walk("form", build_form, "POST", FORM, (b"title=", b"x")),
    Walk("upload", build_upload, "POST", MULTIPART, FILE),
    Walk("parts", build_parts, "POST", MULTIPART, FILE),
    Walk("stream", build_stream),
    Walk("stream, watched", build_stream, spec_version="2.3"),
    Walk("returned stream", build_returned_stream),
    Walk("returned stream, watched", build_returned_stream, spec_version="2.3"),
    Walk("stream, wrapped", build_nested_stream),
    Walk("sync stream", build_sync_stream),
    Walk("sync stream, watched", build_sync_stream, spec_version="2.3"),
    Walk("def view", build_thread, "POST", JSON, (b'{"a"', b": 1}")),
    Walk("file", build_file),
    Walk("file object", build_file_object),
    Walk("file object, unread", build_file_object, "HEAD"),
    Walk("template", build_template),
    Walk("streamed template", build_streamed_template),
    Walk("session", build_session),
    Walk("stored session", build_stored_session),
    Walk("timeout", build_timeout),
    Walk("background", build_background, works_on=True),
    Walk("mounted app", build_mounted_app),
    Walk("mounted foreign app", build_mounted_foreign),
    Walk("three middlewares", build_middleware),
    Walk("teardown", build_teardown),
    Walk("dependencies", build_dependency),
    Walk("sync dependency", build_sync_dependency),
    Walk("dependency of a stream", build_streaming_dependency),
    Walk("cancel on disconnect", build_cancelled_view),
    Walk("events", build_events),
    Walk("idle events", build_idle_events, leaves_after=2),
    Walk("websocket", build_websocket, body=("one", "two"), type="websocket", leaves_after=3),
    Walk("websocket, sending", build_sending_websocket, type="websocket"),
    Walk("websocket, sending, watched", build_sending_websocket, type="websocket", spec_version="2.3"),
    Walk("chat", build_chat, body=("one", "two"), type="websocket", leaves_after=3),
]
CLEAN_CONTROL = Walk("clean control", build_clean_control)
LEAKING_CONTROL = Walk("leaking control", build_leaking_control)
LEAKS = {
    "tasks": Walk("leaking task", build_leaking_task),
    "temporary files": Walk("leaking file", build_leaking_file),
    "busy threads": Walk("leaking thread", build_leaking_thread),
}
"""By what it is that each leaves behind, whatever happens to it."""
