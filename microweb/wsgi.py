"""Mounting WSGI apps: ``app.mount("/old", WSGI(flask_app))``.

A thin door to a2wsgi (extra ``wsgi``), which runs the WSGI app in threads. The mounted app sees its prefix
as ``SCRIPT_NAME``, so its own ``url_for`` keeps working.
"""

from __future__ import annotations

import logging
from asyncio import Task, create_task, wait
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar
from weakref import finalize

from microweb.asgi import Message, RawHeaders, Receive, Scope, Send
from microweb.connection import Connection
from microweb.errors import ClientDisconnect, SetupError
from microweb.quoting import quote_query
from microweb.registrations import find_place

__all__ = ["WSGI"]

WSGIApp: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")

PATIENCE: Final = 4.5  # seconds for busy threads at the stop: what a mounted app has for its lifespan, less a moment

logger = logging.getLogger("microweb")

PASSAGE = "microweb.wsgi"
"""Where the scope of a request keeps its ``Passage`` for the thread."""


class WSGI:
    """An ASGI app that runs a WSGI app in ``workers`` threads of its own.

    Headers with an underscore in their names are left out: a WSGI app could not tell them from those with a hyphen.

    >>> from microweb import App
    >>> def old_app(environ, start_response):
    ...     start_response("200 OK", [("content-type", "text/plain")])
    ...     return [b"still here"]
    >>> app = App(__name__)
    >>> app.mount("/old", WSGI(old_app))

    Raises:
        SetupError: ``app`` cannot be called, or ``workers`` is less than 1.
        ModuleNotFoundError: a2wsgi is not installed; the message names the extra.
    """

    def __init__(self, app: WSGIApp, *, workers: int = 10) -> None:
        if not callable(app):
            raise SetupError(f"WSGI takes an app to be called, not {type(app).__name__} ({find_place()})")
        if type(workers) is not int or workers < 1:
            raise SetupError(f"WSGI takes workers=1 or more threads, not {workers!r} ({find_place()})")
        try:
            from a2wsgi import WSGIMiddleware
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "WSGI(...) needs a2wsgi: install microweb-asgi with the extra [wsgi]", name="a2wsgi"
            ) from error
        self.app = app
        # a2wsgi types scopes and environs as TypedDicts; at run time they are the plain dicts that they are here.
        middleware: Any = WSGIMiddleware
        bridge = middleware(self._run, workers=workers)
        # Those of concurrent.futures keep the process until the last has ended, which one that is stuck never does.
        bridge.executor = Threads(workers)
        self._asgi: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]] = bridge
        self._tasks: set[Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; a WSGI app has no websockets, and its lifespan only waits for its threads."""
        if scope["type"] == "http":
            # SECURITY: test_a_header_with_underscores_is_dropped: X_Remote_User would be HTTP_X_REMOTE_USER too, past
            # a proxy that removes X-Remote-User (CVE-2015-0219). gunicorn and Django's server drop them as well.
            lines = join_cookies([line for line in scope["headers"] if b"_" not in line[0]])
            passage = Passage(receive, send, lines)
            # a2wsgi reads the query as ASCII; clients send UTF-8.
            query = quote_query(scope.get("query_string") or b"").encode("ascii")
            inner = {**scope, "headers": lines, "query_string": query, PASSAGE: passage}
            await self._pass(passage, inner)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Let threads that outlived their requests end before anything that they may use is closed."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            if self._tasks:
                await wait(self._tasks, timeout=PATIENCE)
        finally:
            if self._tasks:
                logger.warning("threads of %r that are still busy and left behind: %d", self, len(self._tasks))
        await send({"type": "lifespan.shutdown.complete"})

    async def _pass(self, passage: Passage, scope: Scope) -> None:
        # A task of its own: what is cancelled here stops at its next chunk, and a2wsgi's queue is emptied until then.
        # Its thread would wait for that queue for ever.
        task = create_task(self._asgi(scope, passage.receive, passage.send))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            await wait({task})
        finally:
            passage.end(is_complete=task.done())
        error = task.exception()
        try:
            if passage.refusal is not None:
                raise passage.refusal
            # Behind the end of the answer a server says that the client has left, whether it has or not.
            if error is not None and (passage.has_ended or not passage.left):
                raise error
        finally:
            del error, task, passage  # The traceback of the error holds this frame.

    def _forget(self, task: Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Looked at, whoever was there to raise it.

    def _run(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        passage: Passage = environ["asgi.scope"][PASSAGE]
        if not passage.is_measured:
            # The input ends where the body does. Werkzeug takes it for empty where neither this nor the length says so.
            environ["wsgi.input_terminated"] = True
        return Answer(self.app(environ, start_response), passage)

    def __repr__(self) -> str:
        return f"<WSGI {self.app!r}>"


class Threads(Executor):
    """Runs calls in at most ``size`` threads, which end with the process, or when nobody refers to this."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._started: list[Thread] = []
        self._lock = Lock()
        finalize(self, end_threads, self._started, self._calls).atexit = False

    def submit(
        self, function: Callable[Parameters, Value], /, *args: Parameters.args, **kwds: Parameters.kwargs
    ) -> Future[Value]:
        """As that of every executor."""
        future: Future[Value] = Future()
        self._calls.put(partial(fulfil, future, partial(function, *args, **kwds)))
        with self._lock:
            if not self._idle.acquire(blocking=False) and len(self._started) < self._size:
                name = f"microweb-wsgi-{len(self._started) + 1}"
                thread = Thread(target=work, args=(self._calls, self._idle), name=name, daemon=True)
                thread.start()
                self._started.append(thread)
        return future


def fulfil(future: Future[Value], call: Callable[[], Value]) -> None:
    """Make a call, unless nobody waits for it any more."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = call()
    except BaseException as error:  # noqa: BLE001 - it is for whoever waits
        future.set_exception(error)
        del future  # The traceback of the error holds this frame.
    else:
        future.set_result(value)


def work(calls: SimpleQueue[Callable[[], None] | None], idle: Semaphore) -> None:
    """What a thread does: calls, until there is None."""
    while (call := calls.get()) is not None:
        call()
        del call  # Of a call that is done nothing is kept.
        idle.release()


def end_threads(started: list[Thread], calls: SimpleQueue[Callable[[], None] | None]) -> None:
    """Let threads end when nobody will give them calls any more."""
    for _ in started:
        calls.put(None)


class Passage:
    """One request on its way to a WSGI app and back: the two ends of its connection, and whether the client has left.

    A thread cannot be cancelled. It ends with the next chunk that it makes after the client has left.
    """

    def __init__(self, receive: Receive, send: Send, headers: RawHeaders) -> None:
        self.refusal: OSError | None = None
        self.is_measured = any(name == b"content-length" for name, _ in headers)
        # What the watcher takes ahead is kept there for the app, which may read its body after its answer has begun.
        self._connection = Connection(receive, headers, None, None)
        self.has_ended = False
        """Whether the server was given the whole answer."""
        self._send = send
        self._is_over = False
        self._watcher: Task[None] | None = None

    @property
    def left(self) -> bool:
        """Whether the client has left, or nobody waits for the answer any more."""
        return self._is_over or self._connection.disconnected

    async def receive(self) -> Message:
        """What the app reads.

        Raises:
            ClientDisconnect: the client left, and nothing else would tell the app that the body is not whole.
        """
        message: Message = {"type": "http.disconnect"} if self._is_over else await self._connection.receive()
        if message["type"] == "http.disconnect" and not self.is_measured:
            raise ClientDisconnect("the client left before the end of the body")
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the app answers, to nobody after the client has left."""
        if self.left:
            return
        # Before it is sent: a2wsgi cancels what sends the last one when closing the answer fails meanwhile.
        self.has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        try:
            await self._send(message)
        except OSError as error:  # The client left (ASGI HTTP 2.4).
            self._is_over, self.refusal = True, error
            return
        if self._watcher is None and message.get("more_body"):
            # Before 2.4 only `receive` tells.
            self._watcher = create_task(self._connection.wait_disconnect())

    def end(self, *, is_complete: bool) -> None:
        """Nobody waits for the answer any more, complete or not."""
        if not is_complete:
            self._is_over = True
        if self._watcher is not None:
            self._watcher.cancel()


class Answer:
    """What a WSGI app returned, up to where the client has left."""

    def __init__(self, chunks: Iterable[bytes], passage: Passage) -> None:
        self.chunks = chunks
        self.passage = passage
        self._rest: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.passage.left:
            raise StopIteration
        if self._rest is None:
            self._rest = iter(self.chunks)
        return next(self._rest)

    def close(self) -> None:
        """Close what the app returned, as PEP 3333 asks."""
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()


def join_cookies(lines: RawHeaders) -> RawHeaders:
    """The header lines with one Cookie at most: HTTP/2 splits it, and a2wsgi joins by comma (RFC 9113 §8.2.3)."""
    cookies = [value for name, value in lines if name == b"cookie"]
    if len(cookies) < 2:
        return lines
    return [*(line for line in lines if line[0] != b"cookie"), (b"cookie", b"; ".join(cookies))]
