"""A time limit for every answer of an app or a router; a single route has ``timeout=``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context

from microweb import Request, Response, SetupError
from microweb.errors import GatewayTimeout

__all__ = ["Timeout"]


class Timeout:
    """Answer 504 when ``call_next`` takes longer than ``seconds``, and cancel the view where it waits.

    The body of a streamed answer is sent afterwards and takes as long as it takes, and so does all that a mounted app
    of another framework does: it begins when its answer is sent. A ``def`` view that is under way cannot be stopped in
    its thread: the 504 waits until it has ended, and what it returns is dropped.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.add_middleware(Timeout(30))

    Raises:
        SetupError: ``seconds`` is not a number, or not more than 0.
    """

    def __init__(self, seconds: float) -> None:
        if seconds.__class__ not in (int, float) or not seconds > 0:
            raise SetupError(f"a timeout is a number of seconds, more than 0, not {seconds!r}")
        self.seconds = seconds

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer, if it comes in time."""
        from anyio import CancelScope, current_time

        with CancelScope() as scope:
            # asyncio keeps a cancelled timer until its time has come, and its context: not that with the request.
            Context().run(setattr, scope, "deadline", current_time() + self.seconds)
            return await call_next(request)
        raise GatewayTimeout(f"No answer within {self.seconds:g} seconds.")
