"""Everything for testing an app: clients for async and for plain tests, and the checker they pass through.

Needs httpx (the extra ``test``), which is imported with the first name taken from here:
the pytest plugin lives in this package and is loaded by every run of pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microweb.testing.call import AppHangs, ClientGone
    from microweb.testing.client import Client, OpenRequest
    from microweb.testing.conversation import LintError
    from microweb.testing.lint import Lint
    from microweb.testing.syncclient import SyncClient, SyncOpenRequest, SyncWebSocketSession
    from microweb.testing.transport import ASGITransport
    from microweb.testing.websocketsession import WebSocketDenied, WebSocketSession

__all__ = [
    "ASGITransport",
    "AppHangs",
    "Client",
    "ClientGone",
    "Lint",
    "LintError",
    "OpenRequest",
    "SyncClient",
    "SyncOpenRequest",
    "SyncWebSocketSession",
    "WebSocketDenied",
    "WebSocketSession",
]

_FILES = {
    "ASGITransport": "transport",
    "AppHangs": "call",
    "Client": "client",
    "ClientGone": "call",
    "Lint": "lint",
    "LintError": "conversation",
    "OpenRequest": "client",
    "SyncClient": "syncclient",
    "SyncOpenRequest": "syncclient",
    "SyncWebSocketSession": "syncclient",
    "WebSocketDenied": "websocketsession",
    "WebSocketSession": "websocketsession",
}


def __getattr__(name: str) -> object:
    file = _FILES.get(name)
    if file is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{file}"), name)
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ImportError("microweb.testing needs httpx: pip install httpx") from error
