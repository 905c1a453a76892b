"""microweb: an async-first microframework on ASGI."""

from microweb.app import App
from microweb.conversion import make_response
from microweb.errors import ClientDisconnect, HTTPException, SetupError, WebSocketDisconnect, abort
from microweb.patterns import Converter
from microweb.proxies import (
    after_this_request,
    copy_current_context,
    current_app,
    g,
    request,
    session,
    url_for,
    websocket,
)
from microweb.requests import Request, SyncRequest
from microweb.responses import JSONResponse, Response, jsonify, redirect
from microweb.router import Router
from microweb.streaming import StreamingResponse
from microweb.url import URL

__version__ = "0.1.0"

__all__ = [
    "URL",
    "App",
    "ClientDisconnect",
    "Converter",
    "HTTPException",
    "JSONResponse",
    "Request",
    "Response",
    "Router",
    "SetupError",
    "StreamingResponse",
    "SyncRequest",
    "WebSocketDisconnect",
    "abort",
    "after_this_request",
    "copy_current_context",
    "current_app",
    "g",
    "jsonify",
    "make_response",
    "redirect",
    "request",
    "session",
    "url_for",
    "websocket",
]
