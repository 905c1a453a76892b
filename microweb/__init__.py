"""microweb: an async-first microframework on ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microweb.app import App
from microweb.conversion import make_response
from microweb.converters import Converter
from microweb.errors import ClientDisconnect, HTTPException, SetupError, WebSocketDisconnect, abort
from microweb.markers import Body, Cookie, Depends, Form, Header, Query
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

if TYPE_CHECKING:
    from microweb.events import Event, EventStream
    from microweb.filenames import secure_filename
    from microweb.files import FileResponse
    from microweb.flashing import flash, get_flashed_messages
    from microweb.redirects import is_safe_redirect
    from microweb.representations import MessagePack, Representation
    from microweb.sendfile import send_file, send_from_directory
    from microweb.static import StaticFiles
    from microweb.templating import (
        render_template,
        render_template_string,
        stream_template,
        stream_template_string,
    )
    from microweb.uploads import SyncUploadFile, UploadFile
    from microweb.url import URL
    from microweb.views import MethodView
    from microweb.websockets import WebSocket

__version__ = "0.1.0"

__all__ = [
    "URL",
    "App",
    "Body",
    "ClientDisconnect",
    "Converter",
    "Cookie",
    "Depends",
    "Event",
    "EventStream",
    "FileResponse",
    "Form",
    "HTTPException",
    "Header",
    "JSONResponse",
    "MessagePack",
    "MethodView",
    "Query",
    "Representation",
    "Request",
    "Response",
    "Router",
    "SetupError",
    "StaticFiles",
    "StreamingResponse",
    "SyncRequest",
    "SyncUploadFile",
    "UploadFile",
    "WebSocket",
    "WebSocketDisconnect",
    "abort",
    "after_this_request",
    "copy_current_context",
    "current_app",
    "flash",
    "g",
    "get_flashed_messages",
    "is_safe_redirect",
    "jsonify",
    "make_response",
    "redirect",
    "render_template",
    "render_template_string",
    "request",
    "secure_filename",
    "send_file",
    "send_from_directory",
    "session",
    "stream_template",
    "stream_template_string",
    "url_for",
    "websocket",
]

LAZY = {
    "Event": "events",
    "EventStream": "events",
    "FileResponse": "files",
    "MessagePack": "representations",
    "MethodView": "views",
    "Representation": "representations",
    "StaticFiles": "static",
    "SyncUploadFile": "uploads",
    "URL": "url",
    "UploadFile": "uploads",
    "WebSocket": "websockets",
    "flash": "flashing",
    "get_flashed_messages": "flashing",
    "is_safe_redirect": "redirects",
    "render_template": "templating",
    "render_template_string": "templating",
    "stream_template": "templating",
    "stream_template_string": "templating",
    "secure_filename": "filenames",
    "send_file": "sendfile",
    "send_from_directory": "sendfile",
}
"""Names whose modules are loaded when they are first asked for: `import microweb` stays light."""


def __getattr__(name: str) -> Any:
    file = LAZY.get(name)
    if file is None:
        from microweb.absences import make_import_absence

        raise make_import_absence(name) or AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{file}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
