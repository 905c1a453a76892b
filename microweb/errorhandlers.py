"""From an exception to a response: the nearest handler, or the built-in page.

One ``ErrorHandlers`` stands for one place of the router tree. It looks in the router, then outwards to the
app; in each it looks for the exception's status, then along its MRO. Unhandled errors are reported here, once:
one log record, the observers, the request's own note for teardown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from microweb import json
from microweb.conversion import to_response
from microweb.errors import (
    ClientDisconnect,
    HTTPException,
    InternalServerError,
    InvalidParameters,
    PreconditionFailed,
    RequestedRangeNotSatisfiable,
    StatusError,
    leaf_of,
)
from microweb.headers import find_header
from microweb.incoming import Incoming
from microweb.responses import AbandonedResponse, Response, new

__all__ = ["PROBLEM", "ErrorHandlers", "HandlerSet", "StockAnswers", "default_answer", "keep_headers", "wants_html"]

Handler = Callable[[Any, BaseException], Awaitable[Any]]
Report = Callable[[Any, BaseException], Awaitable[None]]


class HandlerSet:
    """The error handlers of one router, ready to be awaited with ``(request, error)``."""

    __slots__ = ("by_class", "by_status")

    def __init__(
        self,
        by_status: Mapping[int, tuple[Handler, str]],
        by_class: Mapping[type[BaseException], tuple[Handler, str]],
    ) -> None:
        self.by_status = by_status
        self.by_class = by_class


class ErrorHandlers:
    """Answers errors at one place of the router tree; ``chain`` is nearest first.

    ``report`` is told of every unhandled error; ``render`` may give another page for it (the debugger's).
    """

    def __init__(
        self,
        chain: Sequence[HandlerSet],
        report: Report,
        render: Callable[[Any, BaseException], Response | None] | None = None,
    ) -> None:
        self.chain = [handlers for handlers in chain if handlers.by_status or handlers.by_class]
        self.report = report
        self.render = render

    def find(self, error: BaseException) -> tuple[Handler, str] | None:
        """The handler for ``error`` and the name of it, or None."""
        status = error.status if isinstance(error, HTTPException) else None
        kinds = type(error).__mro__
        for handlers in self.chain:
            if status is not None and status in handlers.by_status:
                # A class that the program derived for this status says more than the status, as in Flask.
                derived = (kind for kind in kinds if kind in handlers.by_class and find_status(kind) == status)
                kind = next(derived, None)
                return handlers.by_status[status] if kind is None else handlers.by_class[kind]
            for kind in kinds:
                if kind in handlers.by_class:
                    return handlers.by_class[kind]
                if kind is StatusError and HTTPException in handlers.by_class:
                    return handlers.by_class[HTTPException]
        return None

    async def answer(self, request: Any, error: Exception) -> Response:
        """The response that ``error`` becomes. Never raises an ``Exception``."""
        response: Response
        shown: Any = leaf_of(error)
        for answered, response in request.notes.answered:
            # An error that was raised again inside a task group comes in a group of its own.
            if answered is error or leaf_of(answered) is shown:
                return response
        if isinstance(shown, ClientDisconnect):
            response = abandon(request, shown)
        else:
            response = await self._answer(request, shown)
        response._error = error
        request.notes.answered += ((error, response),)
        return response

    async def _answer(self, request: Any, error: Exception) -> Response:
        handler = self.find(error)
        unhandled = handler is None and not isinstance(error, HTTPException)
        shown = error
        if unhandled:
            shown = InternalServerError(original=error)
            handler = self.find(shown)
        response: Response | None = None
        if handler is not None:
            handle, source = handler
            try:
                value = await handle(request, shown)
                # Flask's `return error`: the handler leaves it to the built-in answer, or to the debugger.
                response = None if value is shown else to_response(value, request, source)
                if response is not None:
                    keep_required(response, shown)
            except (PreconditionFailed, RequestedRangeNotSatisfiable) as refused:
                # The handler sends a file, and the request asks of it what it cannot have: nobody's mistake.
                response = default_answer(request, refused)
            except Exception as second:  # noqa: BLE001 - a broken handler must not take the answer with it
                # The leaf gets no name of its own: unlike `second`, that would outlive this block, and its traceback
                # holds this frame.
                response = None if unhandled else answer_refusal(request, second)
                if response is not None:
                    return response
                if isinstance(leaf_of(second), ClientDisconnect):
                    response = abandon(request, leaf_of(second))
                    if unhandled:
                        await self.report(request, error)
                    return response
                # `second` carries the first error as its context, so one record tells both.
                if second is not shown and second.__context__ is None:
                    second.__context__ = error
                await self.report(request, second)
                return default_answer(request, InternalServerError())
        if unhandled:
            await self.report(request, error)
            if response is None and self.render is not None:
                response = self.render(request, error)
        if response is None:
            assert isinstance(shown, HTTPException)
            try:
                response = default_answer(request, shown)
            except Exception as second:  # noqa: BLE001 - its headers or extensions cannot be sent
                await self.report(request, second)
                response = default_answer(request, InternalServerError())
        return response


def answer_refusal(request: Incoming, error: BaseException) -> Response | None:
    """The built-in page of a 4xx that a handler raises; None of another error.

    The handler is not broken: it looked at the request for the first time, at its host, its query or its body, and that
    is malformed or too large.
    """
    # SECURITY: test_what_a_handler_cannot_read_of_a_request_is_no_500: whoever asks for it could fill the log.
    error = leaf_of(error)
    if not isinstance(error, HTTPException) or error.status >= 500:
        return None
    try:
        return default_answer(request, error)
    except Exception:  # noqa: BLE001 - its headers or extensions cannot be sent: it is broken after all
        return None


def find_status(kind: type[BaseException]) -> int | None:
    """The status that a class of errors fixes; None for one whose errors have any."""
    if not issubclass(kind, HTTPException) or kind in (HTTPException, StatusError):
        return None
    return kind.status if issubclass(kind, StatusError) else kind._code


def abandon(request: Incoming, error: BaseException) -> AbandonedResponse:
    """What stands for the answer to a client that has left: nobody's mistake, yet the work ended half way."""
    request.notes.unhandled = error  # A teardown that commits must know.
    return AbandonedResponse()


REQUIRED = {401: "www-authenticate", 405: "allow", 416: "content-range"}
"""What an answer of a status has to say, on a page of the program's own too (RFC 9110 §15.5.2, §15.5.6, §15.5.17)."""


def keep_required(response: Response, error: Exception) -> None:
    """Give a handler's answer the header without which clients can do nothing with its status, if the error has it."""
    name = REQUIRED.get(response.status_code)
    if name is None or not isinstance(error, HTTPException) or error.status != response.status_code:
        return
    if name not in response.headers:
        given = error.headers or {}
        for value in [value for key, value in given.items() if key.lower() == name]:
            response.headers.add(name, value)


OF_THE_CONTENT = frozenset(
    (b"accept-ranges", b"age", b"allow", b"cache-control", b"content-digest", b"content-disposition")
    + (b"content-encoding", b"content-language", b"content-length", b"content-location", b"content-md5")
    + (b"content-range", b"content-type", b"digest", b"etag", b"expires", b"last-modified", b"link", b"location")
    + (b"refresh", b"repr-digest", b"retry-after", b"set-cookie", b"www-authenticate")
    # Proxies send the file that these name, whatever the status.
    + (b"x-accel-redirect", b"x-sendfile")
)
"""Headers that speak of one answer, and are wrong on the answer that stands in for it."""


def keep_headers(failed: Response, response: Response) -> Response:
    """Give the answer to a late error what the layers have said on the one that failed: CORS, an id, a policy.

    They have been passed already, and would have to act twice to say it again.
    """
    headers = response.headers
    present = ({name for name, _ in headers.raw} | OF_THE_CONTENT) - {b"vary"}
    headers.raw += [line for line in failed.headers.raw if line[0] not in present]
    headers.vary()  # Both say what they depend on; in one line.
    return response


# The built-in pages ------------------------------------------------------------------------------

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{status} {title}</title>
<h1>{title}</h1>
<p>{description}</p>
{errors}</html>
"""
PROBLEM = b"application/problem+json"


def default_answer(request: Incoming, error: HTTPException) -> Response:
    """The page of an error that no handler answers: HTML for a browser, RFC 9457 problem+json for others."""
    if wants_html(request):
        from html import escape

        page = PAGE.format(
            status=error.status,
            title=escape(error.title),
            description=escape(str(error.description)),
            errors=list_errors(error.errors, escape) if isinstance(error, InvalidParameters) else "",
        )
        response = Response(page, error.status)
    else:
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": error.title,
            "status": error.status,
            "detail": str(error.description),
        }
        if error.extensions:
            problem.update(error.extensions)
        response = Response(json.dumps(problem), error.status)
        response._content_type = PROBLEM
    if error.headers:
        for name, value in error.headers.items():
            response.headers.add(name, value)
    response.headers.vary("Accept")  # RFC 9110 §12.5.5: a cache must not give a program the page of a browser.
    return response


def list_errors(errors: list[dict[str, str]], escape: Callable[[str], str]) -> str:
    """The refused values of an ``InvalidParameters`` as an HTML list."""
    lines = [
        f"<li>{escape(error['in'])} <b>{escape(error['name'])}</b>: {escape(error['reason'])}</li>\n"
        for error in errors
    ]
    return f"<ul>\n{''.join(lines)}</ul>\n"


def wants_html(request: Incoming) -> bool:
    """Whether the client prefers HTML to JSON; one that accepts anything is taken for a program."""
    accept = find_header(request.scope["headers"], b"accept")
    if accept is None or b"html" not in accept:
        return False
    # PERF(walk.404-of-200): every browser begins with it, and none asks for JSON and a page in one breath.
    if b"json" not in accept and (accept == b"text/html" or accept.startswith(b"text/html,")):
        return True
    from microweb.accept import Accept

    offered = ["text/html", "application/problem+json", "application/json"]
    return Accept(accept.decode("latin-1")).best(offered) == "text/html"


class StockAnswers:
    """The built-in answers to one status with its usual text, encoded once. PERF(walk.404-of-200)"""

    def __init__(self, make_error: Callable[[], HTTPException]) -> None:
        self.make_error = make_error
        self.html: Response | None = None
        self.problem: Response | None = None

    async def answer(self, request: Incoming) -> Response:
        """A new response for ``request``; its ``error`` is made only if somebody looks."""
        if wants_html(request):
            stock = self.html = self.html or default_answer(request, self.make_error())
        else:
            stock = self.problem = self.problem or default_answer(request, self.make_error())
        response = new(Response)
        response._status = stock._status
        response._body = stock._body
        response._content_type = stock._content_type
        response._headers = None if stock._headers is None else stock._headers.copy()
        response._error = self.make_error
        response._owner = request
        return response
