"""Entering a mounted app: a microweb app below its ``__call__``, any other as an ``ASGIResponse``.

The scope that a mounted app sees follows the ASGI specification: ``path`` is the whole path, ``root_path``
the part of it up to where the app is mounted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from microweb.asgi import Scope
from microweb.assembly import Target
from microweb.conclusion import answer_late, close, finish
from microweb.context import current
from microweb.errorhandlers import keep_headers
from microweb.foreign import ASGIResponse
from microweb.onion import Handler
from microweb.responses import Response
from microweb.router import Router
from microweb.segments import split_mount

__all__ = ["is_mountable_inside", "make_app_entrance", "make_foreign_entrance", "make_scope"]


def is_mountable_inside(app: Any) -> bool:
    """Whether a mounted app is ours and can be entered below its ``__call__``.

    One that is wrapped in plain ASGI middleware cannot: its own wrapping would be missed.
    """
    return isinstance(app, Router) and app.is_app and not app.is_wrapped


def make_scope(request: Any, target: Target) -> Scope:
    """The scope of an app that is mounted where ``target`` stands."""
    assert target.mount is not None
    scope: Scope = dict(request.scope)
    path, raw_path = request.local_path()
    root: str = request.root_path
    mounted = split_mount(target.depth, path, raw_path)[0]
    scope["path"] = root + path
    scope["root_path"] = root + mounted
    # A server that sends no lifespan events gives no state; the lifespans have run all the same, the mounted app's too.
    scope["state"] = request.app._lifespan_state.seen_by(target.mount.target, request.state)
    if raw_path is not None:
        scope["raw_path"] = request.quoted_root().encode("ascii") + raw_path
    connection = request._connection
    if connection is not None and connection.has_decoded:
        # What it will be given is the body without its coding.
        lines = [line for line in scope["headers"] if line[0] not in (b"content-encoding", b"content-length")]
        scope["headers"] = [*lines, (b"content-length", b"%d" % len(connection.cached))]
    return scope


def make_app_entrance(target: Target) -> Handler:
    """The handler of a mounted microweb app: its own walk, without the sending."""
    assert target.mount is not None
    app, bubbles = target.mount.target, target.mount.errors == "bubble"

    async def enter(request: Any) -> Response:
        if app._gate is not None:
            await app._start()
        scope = make_scope(request, target)
        found, values = app._find(scope)
        child = app.request_class(app, scope, request._receive, found, values)
        child.parent = request
        child.bubbles = bubbles
        connection = child.share_connection(request)
        if connection.cached is None:
            limits = found.limits
            connection.limit, connection.timeout = limits.max_content_length, limits.body_timeout
            connection.decodes = limits.decode_request_bodies
            child._form = request._form  # One that was read outside has taken the body, if it was multipart.
        token = current.set(child)

        async def close_child() -> None:
            child._started = True  # Whatever the answer was; what is written to the session now comes too late.
            token = current.set(child)
            if child.notes.unhandled is None and request._notes is not None:
                # Its answer failed while it was sent: a teardown that commits must know.
                child.notes.unhandled = request._notes.unhandled
            try:
                await close(child, found, None)
            finally:
                child.closed = True
                current.reset(token)

        request.on_close(close_child)
        try:
            response: Response = await found.handler(child)
            if child._notes is not None:
                response = await finish(child, response)
        except BaseException as error:
            child.notes.unhandled = error  # A cancelled request is not one that went well.
            raise
        finally:
            current.reset(token)
        if bubbles and isinstance(child.notes.unhandled, Exception):
            # What the layers inside have said, CORS for instance, holds for the answer from outside too.
            keep_headers(response, await request.app.answer_error(request, child.notes.unhandled))
            raise child.notes.unhandled
        # It is the outer request's answer from here on; its body still sees the inner one, of several the innermost.
        if response._inner is None:
            response._inner = child
        response._owner = request
        if isinstance(response._error, BaseException):
            # A layer around the mount may raise it again (`raise_for_error`): it has its answer.
            request.notes.answered += ((response._error, response),)
        return response

    return enter


def make_foreign_entrance(target: Target) -> Handler:
    """The handler of any other ASGI app."""
    assert target.mount is not None
    app = target.mount.target
    respond = getattr(app, "respond_below", None)
    if respond is not None:
        return make_file_entrance(target, respond)

    async def enter(request: Any) -> Response:
        return ASGIResponse(app, make_scope(request, target), answer_late)

    return enter


def make_file_entrance(target: Target, respond: Callable[[Any, str], Awaitable[Response]]) -> Handler:
    """The handler of mounted ``StaticFiles``: they answer with a response, whose status layers can see."""

    async def enter(request: Any) -> Response:
        path, raw_path = request.local_path()
        return await respond(request, split_mount(target.depth, path, raw_path)[1])

    return enter
