"""Pages that load themselves again: a layer around the app while it is served with a reloader in debug.

A page gets a script, the script listens to a stream of events, and each event names the state of the program. A new
process is a new state, and so is a changed static file, for which no process is started. When the process ends, the
stream does; the browser opens it again, waits on the socket that the supervisor keeps, and hears from the next one.

Made by ``server.py``; what the script is put into is decided in ``refreshscript.py``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from microweb.asgi import Receive, Scope, Send
from microweb.debugger.access import is_local
from microweb.debugger.refreshscript import Insertion, is_page_request, without_conditions
from microweb.filewatch import SCRATCH, FileWatch
from microweb.incoming import below_root
from microweb.quoting import quote_path
from microweb.requests import Request
from microweb.responses import Response
from microweb.router import Router
from microweb.shutdownevent import ShutdownEvent
from microweb.static import StaticFiles

if TYPE_CHECKING:
    from microweb.app import App

__all__ = ["BrowserRefresh", "hide_from_access_log"]

STREAM = "/_microweb/refresh"
SCRIPT = STREAM + ".js"
RETRY = 300
"""Milliseconds after which a browser opens the stream again."""


class BrowserRefresh:
    """Serves ``app`` with pages that follow it."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._token = token_hex(8)
        self._changes = 0
        self._change = ShutdownEvent()
        """The next change of a static file."""
        self._watch: threading.Thread | None = None

    @property
    def state(self) -> str:
        """What the pages compare: another one is another program, or other static files."""
        return f"{self._token}-{self._changes}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if self._watch is None:
            self._watch = self._watch_static_files()
        # SECURITY: test_other_machines_see_nothing_of_it
        if scope["type"] != "http" or not is_local(scope):
            return await self.app(scope, receive, send)
        root = scope.get("root_path", "")
        path = below_root(root, scope["path"], None)[0]
        if path == STREAM:
            return await self._stream(receive, send)
        if path == SCRIPT:
            return await self._send_script(scope, receive, send)
        if is_page_request(scope):
            prefix = quote_path(root.rstrip("/"))
            attributes = {"src": prefix + SCRIPT, "data-stream": prefix + STREAM, "data-state": self.state}
            return await self.app(without_conditions(scope), receive, Insertion(send, attributes))
        return await self.app(scope, receive, send)

    def note_change(self) -> None:
        """Let every page be loaded again; from any thread."""
        self._changes += 1
        passed, self._change = self._change, ShutdownEvent()
        passed.set()

    # What the script asks for ----------------------------------------------------------------------

    async def _send_script(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
        text = (Path(__file__).parent / "refresh.js").read_text(encoding="utf-8")
        response = Response(text, 200, headers, content_type="text/javascript; charset=utf-8")
        await response.send(Request(self.app, scope, receive), send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        """Tell the state, and each new one, until the client leaves or the process is about to end."""
        import anyio

        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with anyio.create_task_group() as tasks:

            async def end_after(wait: Callable[[], Awaitable[Any]]) -> None:
                await wait()
                tasks.cancel_scope.cancel()

            async def leave() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass

            tasks.start_soon(end_after, self.app.shutting_down.wait)
            tasks.start_soon(end_after, leave)
            while True:
                change = self._change
                event = f"retry: {RETRY}\ndata: {self.state}\n\n".encode()
                await send({"type": "http.response.body", "body": event, "more_body": True})
                await change.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    # Static files ----------------------------------------------------------------------------------

    def _watch_static_files(self) -> threading.Thread:
        # No daemon: the interpreter must not end while the notifications are waited for in foreign code.
        folders = find_static_folders(self.app)
        watch = threading.Thread(target=self._follow, args=(folders,), name="microweb static files")
        watch.start()
        return watch

    def _follow(self, folders: list[Path]) -> None:
        watch = FileWatch(folders, ("*",))
        while folders and not self.app.shutting_down.is_set() and threading.main_thread().is_alive():
            if any(is_finished(Path(path).name) for path in watch.wait()):
                self.note_change()


def find_static_folders(app: App) -> list[Path]:
    """The static folders of an app, its routers and the apps mounted in it, as far as they exist."""
    found: list[Path] = []
    waiting: list[Any] = [app]
    seen: list[Any] = []
    while waiting:
        here = waiting.pop()
        seen.append(here)
        for router in (placement.router for placement in here.assembly.placements):
            if router.static_folder is not None:
                found.append(Path(router.static_folder))
            for target in (mount.target for mount in router.mounts):
                if isinstance(target, Router) and target.is_app and target not in seen:
                    waiting.append(target)
                elif isinstance(target, StaticFiles):
                    found.append(Path(here.root_path, target.directory))
    return [folder for folder in found if folder.is_dir()]


def is_finished(name: str) -> bool:
    """Whether a file is meant to be there, not one that an editor writes on the way."""
    return not name.startswith((".", "#")) and not name.endswith(SCRATCH)


def hide_from_access_log() -> None:
    """Leave the script and its stream out of uvicorn's access log: they are not what somebody looks for there."""
    logging.getLogger("uvicorn.access").addFilter(is_of_the_program)


def is_of_the_program(record: logging.LogRecord) -> bool:
    """Whether a line of the access log speaks of the program's own paths."""
    return not (isinstance(record.args, tuple) and any(argument in (STREAM, SCRIPT) for argument in record.args))
