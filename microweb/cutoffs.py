"""What cuts an endpoint off: the time limit of its route, and a client that has left.

Composed around an endpoint by ``composition.py``, where a route or the config asks for it. The built-in middleware
``Timeout`` is a layer of its own.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any

from microweb.errors import ClientDisconnect, GatewayTimeout
from microweb.onion import Answer, Handler
from microweb.responses import Response
from microweb.watcher import cancel_on_disconnect

__all__ = ["make_cancelling", "make_timeout", "note_cancellation"]


def note_cancellation(endpoint: Handler) -> Handler:
    """An endpoint inside a time limit, its route's or a layer's: a teardown that commits must know of the cut."""

    async def noting(request: Any) -> Response:
        try:
            return await endpoint(request)
        except BaseException as error:  # An endpoint answers every Exception.
            request.notes.unhandled = error
            raise

    return noting


def make_timeout(endpoint: Handler, seconds: float, answer: Answer) -> Handler:
    """An endpoint that is answered 504 when it takes longer."""

    async def limited(request: Any) -> Response:
        from anyio import CancelScope, current_time

        with CancelScope() as scope:
            # asyncio keeps a cancelled timer until its time has come, and its context: not that with the request.
            Context().run(setattr, scope, "deadline", current_time() + seconds)
            return await endpoint(request)
        return await answer(request, GatewayTimeout(f"No answer within {seconds:g} seconds."))

    return limited


def make_cancelling(endpoint: Handler, answer: Answer) -> Handler:
    """An endpoint that is cancelled, in its own task, when the client leaves."""

    async def cancelling(request: Any) -> Response:
        try:
            return await cancel_on_disconnect(request, lambda: endpoint(request))
        except ClientDisconnect as error:
            return await answer(request, error)

    return cancelling
