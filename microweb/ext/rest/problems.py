"""Errors of an API: RFC 9457 problems, whatever the client accepts, with Flask-RESTful's ``message`` in them.

``abort`` raises them. ``answer_problems`` is the layer that ``Api`` puts around its resources and around the misses
at their paths; it edits the answer that the error handlers gave, so that headers set on the way stay.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import microweb
from microweb import ClientDisconnect, HTTPException, JSONResponse, Request, Response

__all__ = ["abort", "answer_problems"]

PROBLEM = "application/problem+json"


def abort(status: int, /, message: Any = None, *, headers: Mapping[str, str] | None = None, **members: Any) -> NoReturn:
    """Stop this request here and answer with ``status``, a ``message`` and further members of the problem.

    >>> abort(404, message="no such entry", entry=7)
    Traceback (most recent call last):
    microweb.errors.NotFound: 404 Not Found: no such entry

    Raises:
        HTTPException: always; of the status's own class where it has one.
        ValueError: the status is not one of 400 to 599.
    """
    if message is not None:
        members["message"] = message
    description = message if isinstance(message, str) else None
    microweb.abort(status, description, headers, extensions=members)


async def answer_problems(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Give the errors of resources, and of misses, the body of a problem.

    Left alone are the answers of error handlers that are neither HTML nor a problem, and the page of the debugger.
    """
    response = await call_next(request)
    if response.status_code < 400 or response.is_streamed:
        return response
    if request.route is not None and "api" not in request.route.options:
        return response
    error = response.error
    if error is None or isinstance(error, ClientDisconnect):
        return response
    if response.mimetype == PROBLEM:
        response.body = add_message(response.body)
    elif response.mimetype == "text/html" and (isinstance(error, HTTPException) or not request.app.debug):
        shown = error if isinstance(error, HTTPException) else HTTPException(500)
        response.body = JSONResponse(make_problem(shown, response.status_code)).body
        response.content_type = PROBLEM
    return response


def make_problem(error: HTTPException, status: int) -> dict[str, Any]:
    """The members of a problem (RFC 9457 §3.1) and ``message``."""
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": status,
        "detail": error.description,
        "message": error.description,
    }
    problem.update(error.extensions or {})
    return problem


def add_message(body: bytes) -> bytes:
    """A problem with ``message`` in it; what is no JSON object stays as it is."""
    try:
        problem = json.loads(body)
    except ValueError:
        return body
    if not isinstance(problem, dict) or "message" in problem or "detail" not in problem:
        return body
    return JSONResponse({**problem, "message": problem["detail"]}).body
