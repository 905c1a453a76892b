"""A name for every request, in its answer and in every line that is logged meanwhile."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from logging import Filter, LogRecord

from microweb import Request, Response, SetupError, request
from microweb.errors import OutsideContextError

__all__ = ["RequestID", "RequestIDFilter"]

# SECURITY: test_an_id_that_could_write_a_log_line_is_replaced. Long enough for a UUID, a trace id, an id of a load
# balancer; nothing that means something in a log, a shell or a query.
SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/=:@-]{0,127}")
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")


class RequestID:
    """Take the request's ``id`` from a header, if a proxy or the client gave it one, and send it back.

    One that is longer than 128 characters, or holds others than letters, digits and ``._+/=:@-``, is not taken: then
    ``request.id`` is a new one of 32 hexadecimal digits.

    >>> from microweb import App
    >>> app = App(__name__)
    >>> app.add_middleware(RequestID())

    Raises:
        SetupError: ``header`` is no name of a header.
    """

    def __init__(self, header: str = "X-Request-ID") -> None:
        given: object = header
        if not isinstance(given, str) or TOKEN.fullmatch(given) is None:
            raise SetupError(f"RequestID takes the name of a header, such as 'X-Request-ID', not {header!r}")
        self.header = header

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """The answer of the rest, with the id."""
        given = request.headers.get(self.header)
        if given is not None and SANE.fullmatch(given) is not None:
            request.id = given
        response = await call_next(request)
        response.headers[self.header] = request.id
        return response


class RequestIDFilter(Filter):
    """Puts the current request's id on log records, as ``%(request_id)s``; ``-`` outside of requests.

    Add it to a handler: a filter of a logger sees only what is logged by that very logger.

    >>> import logging
    >>> handler = logging.StreamHandler()
    >>> handler.addFilter(RequestIDFilter())
    >>> handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))
    """

    def filter(self, record: LogRecord) -> bool:
        """Let every record through, with its ``request_id``."""
        try:
            record.request_id = request.id
        except OutsideContextError:
            record.request_id = "-"
        return True
