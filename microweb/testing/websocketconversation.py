"""The checker of a websocket: ASGI's WebSocket specification 2.5, and the limits of RFC 6455 on closing.

Called by ``lint.py``.
"""

from __future__ import annotations

from microweb.asgi import Message, Receive, Scope, Send
from microweb.testing.conversation import Connection, Fault, LintError, check_type

__all__ = ["WebSocketConversation"]


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
        self.refused = False

    async def send(self, message: Message) -> None:
        """Check, and notice when the server says that the client is gone."""
        try:
            await super().send(message)
        except OSError:
            self.refused = True
            raise

    def check_scope(self) -> None:
        """Check the offered subprotocols too; a websocket's scope may leave out more than a request's."""
        super().check_scope()
        check_type(self.scope, "http_version", str, self.server_fault, default="1.1")
        check_type(self.scope, "query_string", bytes | None, self.server_fault, default=None)
        offered = self.scope.get("subprotocols", [])
        if not isinstance(offered, list | tuple) or not all(isinstance(name, str) for name in offered):
            self.server_fault(f"scope['subprotocols'] must be a list of str, not {offered!r}")

    def check_receive(self) -> None:
        """After the disconnect a server has nothing to say: many wait for ever."""
        if self.disconnected:
            self.app_fault("receive() was called after websocket.disconnect")

    def check_end(self) -> None:
        """A handshake must be answered, unless nobody is left; an open websocket is closed by the server with 1000."""
        if self.handshake in ("none", "connecting", "denying") and not (self.disconnected or self.refused):
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
        self.measure(message.get("text"))

    def sent_websocket_close(self, message: Message) -> None:
        """The app closes, or refuses the handshake."""
        self.require("none", "connecting", "open", "websocket.close")
        check_type(message, "code", int, self.app_fault, default=1000)
        check_type(message, "reason", str | None, self.app_fault, default=None)
        code = message.get("code", 1000)
        if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) and not 3000 <= code <= 4999:
            self.app_fault(f"the close code {code} must not be sent (RFC 6455 §7.4)")
        if self.measure(message.get("reason")) > 123:
            self.app_fault("a close reason has at most 123 bytes (RFC 6455 §5.5)")
        self.handshake = "closed"

    def sent_websocket_http_response_start(self, message: Message) -> None:
        """The head of a denial."""
        self.require_extension("websocket.http.response")
        self.require("none", "connecting", "websocket.http.response.start")
        check_type(message, "status", int, self.app_fault)
        if not 200 <= message["status"] <= 599:
            self.app_fault(f"the status must be one of 200 to 599, not {message['status']!r} (RFC 9110 §15)")
        self.check_headers(message.get("headers", []), self.app_fault)
        self.handshake = "denying"

    def sent_websocket_http_response_body(self, message: Message) -> None:
        """A chunk of a denial's body."""
        self.require("denying", "websocket.http.response.body")
        check_type(message, "body", bytes, self.app_fault, default=b"")
        check_type(message, "more_body", bool, self.app_fault, default=False)
        if not message.get("more_body", False):
            self.handshake = "closed"

    def measure(self, text: str | None) -> int:
        """The bytes of a text on the wire, which must be UTF-8 (RFC 6455 §8.1)."""
        try:
            return len((text or "").encode())
        except UnicodeEncodeError:
            self.app_fault(f"{text!r} holds half a surrogate pair, which no text message can")

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
