"""One call of an app, overheard from both sides: what the checkers of HTTP, websockets and the lifespan share.

A ``Conversation`` stands between ``receive`` and ``send`` and has a method for each type of message, named after it,
that says what is wrong with it. The three protocols are in files of their own; ``lint.py`` picks one of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from microweb.asgi import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Connection", "Conversation", "Fault", "LintError", "check_type"]

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
"""The bytes of a lower-case field name (RFC 9110 §5.6.2)."""

FORBIDDEN = frozenset([*range(9), *range(10, 32), 127])
"""The bytes that no field value may carry (RFC 9110 §5.5); CR, LF and NUL among them are attacks."""


class LintError(AssertionError):
    """One side broke a rule of ASGI or HTTP; the text says which side and which rule."""


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
        check_type(scope, "scheme", str, fault, default="http")
        if scope.get("scheme") == "":
            fault("scope['scheme'] must not be empty")
        check_type(scope, "path", str, fault)
        check_type(scope, "raw_path", bytes | None, fault, default=None)
        check_type(scope, "root_path", str, fault, default="")
        if scope.get("raw_path") is not None and b"?" in scope["raw_path"]:
            fault(f"scope['raw_path'] holds the query: {scope['raw_path']!r}")
        for name in ("client", "server"):
            address = scope.get(name)
            if address is not None and not is_address(address):
                fault(f"scope[{name!r}] must be (host, port), not {address!r}")
        headers = scope.get("headers")
        if isinstance(headers, Iterator):
            headers = scope["headers"] = list(headers)
        self.check_headers(headers, fault)

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
