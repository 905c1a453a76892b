"""A checker that stands between a server and an app and reads every scope and message of both.

What each side may say, when, and in which types is ASGI's HTTP and WebSocket specification 2.5 and its
lifespan specification 2.0, with the parts of RFC 9110 that an app can break through them. A fault is raised
where it happens and kept in ``faults``, since frameworks catch what ``send`` raises. Every test client puts
it around its app; the wire tests put it between a real server and the app.

It changes nothing that passes, except that headers given as a one-time iterable become a list.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from microweb.asgi import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Lint", "LintError"]

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
"""The bytes of a lower-case field name (RFC 9110 §5.6.2)."""

FORBIDDEN = frozenset([*range(9), *range(10, 32), 127])
"""The bytes that no field value may carry (RFC 9110 §5.5); CR, LF and NUL among them are attacks."""


class LintError(AssertionError):
    """One side broke a rule of ASGI or HTTP; the text says which side and which rule."""


class Lint:
    """An ASGI app that checks another one and the server that calls it.

    ``faults`` collects what was found; ``check()`` raises the first, for servers that hide what their app
    raised.

    >>> import anyio
    >>> async def app(scope, receive, send):
    ...     await send({"type": "http.response.body", "body": b"too early"})
    >>> scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
    ...          "path": "/", "query_string": b"", "headers": []}
    >>> async def receive(): return {"type": "http.request"}
    >>> async def send(message): pass
    >>> try:
    ...     anyio.run(Lint(app), scope, receive, send)
    ... except LintError as error:
    ...     print(error)
    app: GET /: http.response.body was sent before http.response.start
    """

    def __init__(self, app: ASGIApp, *, faults: list[LintError] | None = None) -> None:
        self.app = app
        self.faults: list[LintError] = [] if faults is None else faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app between two checks."""
        kind = scope.get("type")
        if kind == "http":
            await HTTPConversation(scope, receive, send, self.faults).run(self.app)
        elif kind == "websocket":
            await WebSocketConversation(scope, receive, send, self.faults).run(self.app)
        elif kind == "lifespan":
            await LifespanConversation(scope, receive, send, self.faults).run(self.app)
        else:
            await self.app(scope, receive, send)

    def check(self) -> None:
        """Raise the first fault, if there was one."""
        if self.faults:
            raise self.faults[0]


Fault = Callable[[str], NoReturn]


class Conversation:
    """One call of the app: the rules that all three protocols share."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, faults: list[LintError]) -> None:
        self.scope = scope
        self.where = str(scope["type"])
        self.first_fault: LintError | None = None
        self.returned = False
        self._faults = faults
        self._receiving = False
        self._receive = receive
        self._send = send

    async def run(self, app: ASGIApp) -> None:
        """Check the scope, call the app, check how it left things."""
        self.check_scope()
        try:
            call: Callable[..., Awaitable[object]] = app
            result = await call(self.scope, self.receive, self.send)
        finally:
            self.returned = True
        if self.first_fault is not None:
            raise self.first_fault  # the app caught it
        if result is not None:
            self.app_fault(f"the app must return None, it returned {result!r}")
        self.check_end()

    async def receive(self) -> Message:
        """What the app calls as ``receive``."""
        if self.returned:
            self.app_fault("receive() was called after the app's coroutine had ended")
        if self._receiving:
            self.app_fault("receive() was called while another call of it was waiting")
        self.check_receive()
        self._receiving = True
        try:
            message = await self._receive()
        finally:
            self._receiving = False
        self.dispatch(message, "received", self.server_fault)
        return message

    async def send(self, message: Message) -> None:
        """What the app calls as ``send``."""
        if self.returned:
            self.app_fault("send() was called after the app's coroutine had ended")
        if isinstance(message, dict) and not isinstance(message.get("headers", []), list | tuple):
            if not isinstance(message["headers"], Iterable):
                self.app_fault(f"`headers` must be an iterable of pairs, not {message['headers']!r}")
            message = {**message, "headers": list(message["headers"])}
        self.dispatch(message, "sent", self.app_fault)
        await self._send(message)

    def dispatch(self, message: object, direction: str, fault: Fault) -> None:
        """Check a message by the method that is named after its type."""
        if not isinstance(message, dict):
            fault(f"a message must be a dict, not {type(message).__name__}")
        kind = message.get("type")
        if not isinstance(kind, str):
            fault(f"a message needs a `type` that is a str; this one has {kind!r}")
        check = getattr(self, f"{direction}_{kind.replace('.', '_')}", None)
        if check is None:
            fault(f"{kind!r} cannot be {direction} here")
        check(message)

    def app_fault(self, text: str) -> NoReturn:
        """Keep and raise a fault of the app."""
        self._fault("app", text)

    def server_fault(self, text: str) -> NoReturn:
        """Keep and raise a fault of the server."""
        self._fault("server", text)

    def _fault(self, side: str, text: str) -> NoReturn:
        error = LintError(f"{side}: {self.where}: {text}")
        self.first_fault = self.first_fault or error
        self._faults.append(error)
        raise error

    def check_scope(self) -> None:
        """Check what every scope has."""
        asgi = self.scope.get("asgi")
        if not isinstance(asgi, Mapping) or not isinstance(asgi.get("version"), str):
            self.server_fault(f"scope['asgi'] needs a `version` that is a str; it is {asgi!r}")
        if not isinstance(asgi.get("spec_version", "2.0"), str):
            self.server_fault(f"scope['asgi']['spec_version'] must be a str, not {asgi['spec_version']!r}")
        check_type(self.scope, "state", dict, self.server_fault, default={})
        check_type(self.scope, "extensions", Mapping | None, self.server_fault, default=None)

    def check_receive(self) -> None:
        """Check whether the app may call ``receive`` now."""

    def check_end(self) -> None:
        """Check whether the app may end now."""


class Connection(Conversation):
    """What the scopes of HTTP and websockets share."""

    def check_scope(self) -> None:
        """Check addresses, target and headers."""
        super().check_scope()
        scope, fault = self.scope, self.server_fault
        check_type(scope, "http_version", str, fault)
        check_type(scope, "scheme", str, fault, default="http")
        check_type(scope, "path", str, fault)
        check_type(scope, "raw_path", bytes | None, fault, default=None)
        check_type(scope, "query_string", bytes, fault)
        check_type(scope, "root_path", str, fault, default="")
        if scope.get("raw_path") is not None and b"?" in scope["raw_path"]:
            fault(f"scope['raw_path'] holds the query: {scope['raw_path']!r}")
        for name in ("client", "server"):
            address = scope.get(name)
            if address is not None and not is_address(address):
                fault(f"scope[{name!r}] must be (host, port), not {address!r}")
        self.check_headers(scope.get("headers"), fault)

    def has_extension(self, name: str) -> bool:
        """Whether the server offers the extension ``name``."""
        return name in (self.scope.get("extensions") or {})

    def require_extension(self, name: str) -> None:
        """A message of an extension may only be sent where the server offers it."""
        if not self.has_extension(name):
            self.app_fault(f"{name} was sent, but scope['extensions'] does not offer it")

    def check_headers(self, headers: object, fault: Fault) -> None:
        """Check types, lower case, and bytes that would end the line or the head (response splitting)."""
        if not isinstance(headers, Iterable):
            fault(f"`headers` must be an iterable of pairs, not {headers!r}")
        for pair in headers:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                fault(f"a header must be a pair of bytes, not {pair!r}")
            name, value = pair
            if not isinstance(name, bytes) or not isinstance(value, bytes):
                fault(f"a header must be a pair of bytes, not {pair!r}")
            if not name or not TOKEN.issuperset(name):
                fault(f"the header name {name!r} is not a lower-case token (RFC 9110 §5.1)")
            if not FORBIDDEN.isdisjoint(value):
                fault(f"the header {name!r} carries control characters: {value!r} (RFC 9110 §5.5)")
            if value != value.strip(b" \t"):
                fault(f"the header {name!r} begins or ends with a blank: {value!r} (RFC 9110 §5.5)")


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
        """Check the method too."""
        super().check_scope()
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
        """Whether this answer has no body, whatever its headers say (RFC 9110 §6.4.1)."""
        return self.scope["method"] == "HEAD" or self.status in (204, 304)

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


class WebSocketConversation(Connection):
    """A websocket from its handshake to its close.

    ::

        handshake        after
        "none"           nothing: the app must receive websocket.connect before it accepts
        "connecting"     websocket.connect
        "open"           websocket.accept
        "denying"        websocket.http.response.start
        "closed"         websocket.close, or the last chunk of a denial
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, faults: list[LintError]) -> None:
        super().__init__(scope, receive, send, faults)
        self.where = f"websocket {scope.get('path')}"
        self.handshake = "none"
        self.disconnected = False

    def check_scope(self) -> None:
        """Check the offered subprotocols too."""
        super().check_scope()
        offered = self.scope.get("subprotocols", [])
        if not isinstance(offered, list | tuple) or not all(isinstance(name, str) for name in offered):
            self.server_fault(f"scope['subprotocols'] must be a list of str, not {offered!r}")

    def check_receive(self) -> None:
        """After the disconnect a server has nothing to say: many wait for ever."""
        if self.disconnected:
            self.app_fault("receive() was called after websocket.disconnect")

    def check_end(self) -> None:
        """A handshake must be answered; a websocket left open is closed by the server with 1000."""
        if self.handshake in ("none", "connecting", "denying") and not self.disconnected:
            self.app_fault("the app returned without answering the handshake")

    def received_websocket_connect(self, message: Message) -> None:
        """The handshake."""
        if self.handshake != "none":
            self.server_fault("websocket.connect came twice")
        self.handshake = "connecting"

    def received_websocket_receive(self, message: Message) -> None:
        """A message of the client."""
        if self.handshake == "none":
            self.server_fault("websocket.receive came before websocket.connect")
        self.check_payload(message, self.server_fault)

    def received_websocket_disconnect(self, message: Message) -> None:
        """The end."""
        check_type(message, "code", int | None, self.server_fault, default=1005)
        check_type(message, "reason", str | None, self.server_fault, default=None)
        self.disconnected = True

    def sent_websocket_accept(self, message: Message) -> None:
        """The app opens the websocket."""
        self.require("connecting", "websocket.accept")
        check_type(message, "subprotocol", str | None, self.app_fault, default=None)
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and subprotocol not in self.scope.get("subprotocols", []):
            self.app_fault(f"the subprotocol {subprotocol!r} was accepted, but the client did not offer it")
        headers = message.get("headers", [])
        self.check_headers(headers, self.app_fault)
        if any(name == b"sec-websocket-protocol" for name, _ in headers):
            self.app_fault("sec-websocket-protocol belongs into `subprotocol`, not into the headers")
        self.handshake = "open"

    def sent_websocket_send(self, message: Message) -> None:
        """A message of the app."""
        self.require("open", "websocket.send")
        self.check_payload(message, self.app_fault)

    def sent_websocket_close(self, message: Message) -> None:
        """The app closes, or refuses the handshake."""
        self.require("none", "connecting", "open", "websocket.close")
        check_type(message, "code", int, self.app_fault, default=1000)
        check_type(message, "reason", str | None, self.app_fault, default=None)
        code = message.get("code", 1000)
        if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) and not 3000 <= code <= 4999:
            self.app_fault(f"the close code {code} must not be sent (RFC 6455 §7.4)")
        if len((message.get("reason") or "").encode()) > 123:
            self.app_fault("a close reason has at most 123 bytes (RFC 6455 §5.5)")
        self.handshake = "closed"

    def sent_websocket_http_response_start(self, message: Message) -> None:
        """The head of a denial."""
        self.require_extension("websocket.http.response")
        self.require("none", "connecting", "websocket.http.response.start")
        check_type(message, "status", int, self.app_fault)
        self.check_headers(message.get("headers", []), self.app_fault)
        self.handshake = "denying"

    def sent_websocket_http_response_body(self, message: Message) -> None:
        """A chunk of a denial's body."""
        self.require("denying", "websocket.http.response.body")
        check_type(message, "body", bytes, self.app_fault, default=b"")
        check_type(message, "more_body", bool, self.app_fault, default=False)
        if not message.get("more_body", False):
            self.handshake = "closed"

    def require(self, *states_and_kind: str) -> None:
        """The handshake must be in one of the states; the last argument is the message's type."""
        *states, kind = states_and_kind
        if self.handshake not in states:
            when = {
                "none": "before websocket.connect was received",
                "connecting": "before websocket.accept",
                "open": "after websocket.accept",
                "denying": "after the start of a denial",
                "closed": "after websocket.close",
            }
            self.app_fault(f"{kind} was sent {when[self.handshake]}")

    def check_payload(self, message: Message, fault: Fault) -> None:
        """A message carries text or bytes, not both and not neither."""
        check_type(message, "text", str | None, fault, default=None)
        check_type(message, "bytes", bytes | None, fault, default=None)
        if (message.get("text") is None) == (message.get("bytes") is None):
            fault(f"{message['type']} needs either `text` or `bytes`")


class LifespanConversation(Conversation):
    """Start and stop of a whole app."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, faults: list[LintError]) -> None:
        super().__init__(scope, receive, send, faults)
        self.stage = "none"

    def received_lifespan_startup(self, message: Message) -> None:
        """The server starts."""
        self.advance("none", "starting", message, self.server_fault)

    def received_lifespan_shutdown(self, message: Message) -> None:
        """The server stops."""
        self.advance("started", "stopping", message, self.server_fault)

    def sent_lifespan_startup_complete(self, message: Message) -> None:
        """The app is ready."""
        self.advance("starting", "started", message, self.app_fault)

    def sent_lifespan_startup_failed(self, message: Message) -> None:
        """The app cannot start."""
        check_type(message, "message", str, self.app_fault, default="")
        self.advance("starting", "ended", message, self.app_fault)

    def sent_lifespan_shutdown_complete(self, message: Message) -> None:
        """The app has put everything away."""
        self.advance("stopping", "ended", message, self.app_fault)

    def sent_lifespan_shutdown_failed(self, message: Message) -> None:
        """The app could not put everything away."""
        check_type(message, "message", str, self.app_fault, default="")
        self.advance("stopping", "ended", message, self.app_fault)

    def advance(self, now: str, then: str, message: Message, fault: Fault) -> None:
        """Lifespan messages come in one order."""
        if self.stage != now:
            fault(f"{message['type']} came at the wrong time: the app is {self.stage!r}, not {now!r}")
        self.stage = then


MISSING = object()


def check_type(message: Mapping[str, Any], name: str, kind: Any, fault: Fault, *, default: Any = MISSING) -> None:
    """Check that ``message[name]`` is a ``kind``; a bool is no int."""
    value = message.get(name, default)
    if value is MISSING:
        fault(f"{message.get('type')} needs `{name}`")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        expected = kind.__name__ if isinstance(kind, type) else str(kind)
        fault(f"`{name}` of {message.get('type')} must be {expected}, not {value!r}")


def is_address(value: object) -> bool:
    """Whether ``value`` is (host, port); a Unix socket has a path and no port."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    host, port = value
    return isinstance(host, str) and (port is None or isinstance(port, int))
