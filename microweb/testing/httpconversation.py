"""The checker of a request and its answer: ASGI's HTTP specification 2.5, and what of RFC 9110 an app can break by it.

Called by ``lint.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from microweb.asgi import Message, Receive, Scope, Send
from microweb.testing.conversation import Connection, LintError, check_type

__all__ = ["HTTPConversation"]


class HTTPConversation(Connection):
    """A request and its answer.

    ::

        answer           after
        "none"           nothing
        "started"        http.response.start
        "trailers"       the last chunk, if trailers were promised
        "complete"       the last message
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, faults: list[LintError]) -> None:
        super().__init__(scope, receive, send, faults)
        self.where = f"{scope.get('method')} {scope.get('path')}"
        self.answer = "none"
        self.request_complete = False
        self.disconnected = False
        self.refused = False
        self.status = 0
        self.promised_length: int | None = None
        self.length = 0
        self.trailers = False

    async def send(self, message: Message) -> None:
        """Check, and notice when the server says that the client is gone."""
        if self.refused:
            self.app_fault("send() was called again after it had raised OSError: the client is gone")
        try:
            await super().send(message)
        except OSError:
            self.refused = True
            raise

    def check_scope(self) -> None:
        """Check what only requests must have."""
        super().check_scope()
        check_type(self.scope, "http_version", str, self.server_fault)
        check_type(self.scope, "query_string", bytes, self.server_fault)
        check_type(self.scope, "method", str, self.server_fault)
        if self.scope["method"] != self.scope["method"].upper():
            self.server_fault(f"scope['method'] must be upper case, not {self.scope['method']!r}")

    def check_end(self) -> None:
        """An answer must be complete, unless nobody is left to get it."""
        if self.disconnected or self.refused or self.answer == "complete":
            return
        missing = "any answer" if self.answer == "none" else "completing its answer"
        self.app_fault(f"the app returned without {missing}")

    @property
    def bodiless(self) -> bool:
        """Whether this answer has no body, whatever its headers say (RFC 9110 §6.4.1, §15.3.6)."""
        return self.scope["method"] == "HEAD" or self.status in (204, 205, 304)

    def received_http_request(self, message: Message) -> None:
        """A chunk of the request's body."""
        check_type(message, "body", bytes, self.server_fault, default=b"")
        check_type(message, "more_body", bool, self.server_fault, default=False)
        if self.request_complete:
            self.server_fault("http.request came after the last chunk of the body")
        if self.disconnected:
            self.server_fault("http.request came after http.disconnect")
        self.request_complete = not message.get("more_body", False)

    def received_http_disconnect(self, message: Message) -> None:
        """The client left, or the answer is complete."""
        self.disconnected = True

    def sent_http_response_start(self, message: Message) -> None:
        """The status line and the headers."""
        if self.answer != "none":
            self.app_fault("http.response.start was sent twice")
        check_type(message, "status", int, self.app_fault)
        check_type(message, "trailers", bool, self.app_fault, default=False)
        self.status = message["status"]
        if not 200 <= self.status <= 599:
            self.app_fault(f"the status must be one of 200 to 599, not {self.status!r} (RFC 9110 §15)")
        headers = message.get("headers", [])
        self.check_headers(headers, self.app_fault)
        self.trailers = message.get("trailers", False)
        if self.trailers:
            self.require_extension("http.response.trailers")
        self.check_framing(headers)
        self.answer = "started"

    def check_framing(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Check the headers that say where the answer ends and what it is."""
        lengths = [value for name, value in headers if name == b"content-length"]
        if len(lengths) > 1:
            self.app_fault(f"content-length was sent {len(lengths)} times")
        if sum(name == b"content-type" for name, _ in headers) > 1:
            self.app_fault("content-type was sent more than once")
        if not lengths:
            return
        if not lengths[0].isdigit():
            self.app_fault(f"content-length must be a number, not {lengths[0]!r}")
        if self.status == 204:
            self.app_fault("a 204 must not carry content-length (RFC 9110 §8.6)")
        if not self.bodiless:
            self.promised_length = int(lengths[0])

    def sent_http_response_body(self, message: Message) -> None:
        """A chunk of the answer."""
        check_type(message, "body", bytes, self.app_fault, default=b"")
        check_type(message, "more_body", bool, self.app_fault, default=False)
        self.count(len(message.get("body", b"")), "http.response.body")
        if not message.get("more_body", False):
            self.finish_body()

    def sent_http_response_pathsend(self, message: Message) -> None:
        """A file that the server sends by itself, as the whole body."""
        self.require_extension("http.response.pathsend")
        check_type(message, "path", str, self.app_fault)
        path = Path(message["path"])
        if not path.is_absolute() or not path.is_file():
            self.app_fault(f"`path` must be the absolute path of a file, not {message['path']!r}")
        if self.length:
            self.app_fault("http.response.pathsend cannot follow http.response.body")
        self.count(path.stat().st_size, "http.response.pathsend")
        self.finish_body()

    def count(self, length: int, kind: str) -> None:
        """Add to the length of the body so far."""
        if self.answer != "started":
            when = "before http.response.start" if self.answer == "none" else "after the end of the body"
            self.app_fault(f"{kind} was sent {when}")
        if length and self.bodiless:
            what = "a HEAD request" if self.scope["method"] == "HEAD" else f"a {self.status}"
            self.app_fault(f"the answer to {what} has no body, but {length} bytes were sent")
        self.length += length
        if self.promised_length is not None and self.length > self.promised_length:
            self.app_fault(f"content-length is {self.promised_length}, but {self.length} bytes were sent")

    def finish_body(self) -> None:
        """The last chunk was sent."""
        if self.promised_length is not None and self.length < self.promised_length:
            self.app_fault(f"content-length is {self.promised_length}, but only {self.length} bytes were sent")
        self.answer = "trailers" if self.trailers else "complete"

    def sent_http_response_trailers(self, message: Message) -> None:
        """Headers after the body."""
        if self.answer != "trailers":
            self.app_fault("http.response.trailers needs `trailers: True` in the start and a complete body before it")
        check_type(message, "more_trailers", bool, self.app_fault, default=False)
        self.check_headers(message.get("headers", []), self.app_fault)
        if not message.get("more_trailers", False):
            self.answer = "complete"

    def sent_http_response_early_hint(self, message: Message) -> None:
        """A 103 before the answer."""
        self.require_extension("http.response.early_hint")
        self.require_before_start("http.response.early_hint")
        links = message.get("links")
        if not isinstance(links, list | tuple) or not all(isinstance(link, bytes) for link in links):
            self.app_fault(f"`links` must be a list of bytes, not {links!r}")

    def sent_http_response_debug(self, message: Message) -> None:
        """What a test may see beside the answer."""
        self.require_extension("http.response.debug")
        self.require_before_start("http.response.debug")
        check_type(message, "info", dict, self.app_fault)

    def require_before_start(self, kind: str) -> None:
        """Some messages make no sense once the answer has begun."""
        if self.answer != "none":
            self.app_fault(f"{kind} was sent after http.response.start")
