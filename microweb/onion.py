"""The onion: layers of ``(request, call_next)`` functions around an endpoint, composed at start-up.

``call_next`` always returns a response: every layer is guarded, so what is raised inside one becomes the
answer of the nearest error handler before the layer around it sees it. Only ``BaseException``, a
cancellation for instance, passes through. An endpoint guards itself (``endpoint.py``, ``misses.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from microweb.conversion import to_response
from microweb.responses import Response

__all__ = ["Answer", "Handler", "compose"]

Handler = Callable[[Any], Awaitable[Response]]
Answer = Callable[[Any, Exception], Awaitable[Response]]
Layer = Callable[[Any, Handler], Awaitable[Any]]


def compose(layers: Sequence[tuple[Layer, str]], endpoint: Handler, answer: Answer) -> Handler:
    """Wrap ``endpoint`` in ``layers``, the first one outermost; each comes with the name for its error texts."""
    handler = endpoint
    for layer, source in reversed(layers):
        handler = guard(layer, handler, answer, source)
    return handler


def guard(layer: Layer, call_next: Handler, answer: Answer, source: str) -> Handler:
    """One layer that never raises an ``Exception``."""

    async def guarded(request: Any) -> Response:
        try:
            response = await layer(request, call_next)
            # PERF(walk.middleware): the class is compared first, which is faster than asking isinstance.
            if (response.__class__ is Response or isinstance(response, Response)) and response._owner is request:
                return response
            return to_response(response, request, source)
        except Exception as error:  # noqa: BLE001 - the guard: every error becomes an answer
            return await answer(request, error)

    return guarded
