"""What is answered where no route is: a 404, 405, 400, redirect, or the automatic answer to OPTIONS.

The table decides that a request misses and by which kind (``routetable.py``); ``composition.py`` puts what is made
here inside the hooks and middleware of the miss's owner, and ``explanation.py`` asks which error it would be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microweb.assembly import Placement
from microweb.binding import Plan
from microweb.endpoint import make_endpoint
from microweb.errorhandlers import ErrorHandlers, StockAnswers
from microweb.errors import BadRequest, HTTPException, MethodNotAllowed, NotFound
from microweb.onion import Answer, Handler
from microweb.quoting import quote_query
from microweb.registrations import is_token
from microweb.responses import Response
from microweb.routetable import Miss

__all__ = ["error_of", "make_miss_endpoint", "make_refusal", "make_respond"]


def make_respond(miss: Miss[Placement], errors: ErrorHandlers) -> Handler:
    """What answers a miss of one kind; ``errors`` are the error handlers as its owner sees them."""
    if miss.kind in ("add_slash", "merge_slashes"):
        return make_redirect(miss)
    if miss.kind == "options":
        return make_options(miss)
    refuse = make_refusal(lambda: error_of(miss), errors)
    if miss.kind != "method_not_allowed":
        return refuse

    async def check_and_refuse(request: Any) -> Response:
        if not is_token(request.method):
            raise error_of(miss, request.method)
        return await refuse(request)

    return check_and_refuse


def make_refusal(make_error: Callable[[], HTTPException], errors: ErrorHandlers) -> Handler:
    """Raise an error for the handler that wants it; where none does, answer from stock."""
    if errors.find(make_error()) is None:
        return StockAnswers(make_error).answer

    async def raise_error(request: Any) -> Response:
        raise make_error()

    return raise_error


def make_miss_endpoint(respond: Handler, before: list[Plan], after: list[Plan], answer: Answer) -> Handler:
    """The endpoint of a miss, with the hooks of its owner."""
    if before or after:
        return make_endpoint(Plan.of_endpoint(respond, "the answer to a miss"), answer, before, after)

    async def endpoint(request: Any) -> Response:
        try:
            return await respond(request)
        except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
            return await answer(request, error)

    return endpoint


def make_options(miss: Miss[Placement]) -> Handler:
    """The automatic answer to OPTIONS (RFC 9110 §9.3.7)."""
    allow = ", ".join(miss.allow)

    async def options(request: Any) -> Response:
        return Response(b"", 200, {"allow": allow})

    return options


def make_redirect(miss: Miss[Placement]) -> Handler:
    """The redirect to the path as its rule writes it."""

    async def redirect_to_rule(request: Any) -> Response:
        # SECURITY: test_a_slash_redirect_never_names_a_host: the Location has a path and a query, nothing else.
        scope = request.scope
        path, raw_path = request.local_path()
        location = "/" + (request.quoted_root() + miss.location(path, raw_path)).lstrip("/")
        query: bytes = scope.get("query_string", b"")
        if query:
            location += "?" + quote_query(query)
        return Response(b"", 308, {"location": location})

    return redirect_to_rule


def error_of(miss: Miss[Placement], method: str | None = None) -> HTTPException:
    """The error that a miss raises; without ``method`` for one that is fit to be a method at all."""
    if miss.kind == "bad_path":
        return BadRequest("The path's percent-escapes are not UTF-8.")
    if miss.kind != "method_not_allowed":
        return NotFound()
    if method is not None and not is_token(method):  # RFC 9110 §9.1
        return BadRequest("The request's method is not an HTTP token.")
    return MethodNotAllowed(allow=miss.allow)
