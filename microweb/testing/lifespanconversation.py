"""The checker of start and stop: ASGI's lifespan specification 2.0. Called by ``lint.py``."""

from __future__ import annotations

from microweb.asgi import Message, Receive, Scope, Send
from microweb.testing.conversation import Conversation, Fault, LintError, check_type

__all__ = ["LifespanConversation"]


class LifespanConversation(Conversation):
    """Start and stop of a whole app."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, faults: list[LintError]) -> None:
        super().__init__(scope, receive, send, faults)
        self.stage = "none"

    def check_end(self) -> None:
        """A shutdown must be answered; an app that returns at its start is one without a lifespan."""
        if self.stage == "stopping":
            self.app_fault("the app returned without answering lifespan.shutdown")

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
