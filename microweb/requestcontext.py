"""A request that came from nowhere: what ``app.test_request_context`` puts into the context.

No server sent it and nothing answers it; its URL is matched, and proxies, ``url_for`` and the like work with it.
A ``with`` block is ``def`` code and has the ``SyncRequest``, an ``async with`` block the ``Request``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from microweb.absences import OF_A_CONTEXT, without
from microweb.asgi import Message, Receive, Scope
from microweb.conclusion import run_closers
from microweb.context import current, tear_down, tear_down_now
from microweb.headers import encode_name, encode_value
from microweb.quoting import PATH, QUERY, quote_again, unquote
from microweb.requests import Request, SyncRequest
from microweb.url import URL

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["RequestContext", "make_receive", "make_scope"]


@without(OF_A_CONTEXT)
class RequestContext:
    """A request that is current for a ``with`` or ``async with`` block; see ``App.test_request_context``."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def __enter__(self) -> SyncRequest:
        from microweb.helperloops import run_sync

        face = SyncRequest.of(self.request)
        face._run_sync = run_sync
        self._token = current.set(face)
        return face

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            try:
                if has_opened(self.request):
                    from microweb.helperloops import run_sync

                    run_sync(close, self.request)
            finally:
                tear_down_now(self.request, self.request, error)
        finally:
            current.reset(self._token)

    async def __aenter__(self) -> Request:
        self._token = current.set(self.request)
        return self.request

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            try:
                if has_opened(self.request):
                    await close(self.request)
            finally:
                await tear_down(self.request, self.request, error)
        finally:
            current.reset(self._token)


def has_opened(request: Request) -> bool:
    """Whether it has something to close, an upload for instance."""
    return request._notes is not None and bool(request._notes.closers)


async def close(request: Request) -> None:
    """Close what it has opened, shielded from cancellation."""
    from anyio import CancelScope

    interrupted: BaseException | None = None
    with CancelScope(shield=True):
        interrupted = await run_closers(request)
    if interrupted is not None:
        try:
            raise interrupted
        finally:
            interrupted = None  # Its traceback holds this frame.


def make_receive(body: bytes) -> Receive:
    """The ``receive`` of a client that sends ``body`` and leaves."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def make_scope(path: str, method: str, headers: Mapping[str, str] | None, body: bytes, base_url: str) -> Scope:
    """The scope of a request as a server would make it.

    Raises:
        ValueError: the path does not begin with a slash.
    """
    if not path.startswith("/"):
        raise ValueError(f"a path begins with a slash, not like {path!r}; the host is part of base_url")
    url = URL(base_url)
    target, _, query = path.partition("?")
    lines = [(b"host", url.netloc.encode("ascii"))]
    lines += [(encode_name(name), encode_value(value, name)) for name, value in (headers or {}).items()]
    if body:
        lines.append((b"content-length", b"%d" % len(body)))
    scheme = url.scheme or "http"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method.upper(),
        "scheme": scheme,
        "root_path": "",
        "path": unquote(target),
        "raw_path": quote_again(target, PATH).encode("ascii"),
        "query_string": quote_again(query, QUERY).encode("ascii"),
        "headers": lines,
        "client": ("127.0.0.1", 0),
        "server": (url.host or "localhost", url.port or (443 if scheme == "https" else 80)),
        "state": {},
    }
