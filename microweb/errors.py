"""The errors of requests, and of how a program is put together, in one tree.

::

    Exception
    ├── SetupError                           a mistake in the program, found while it is put together
    │   └── FrozenError                        a route, hook or layer added after the app began to serve
    ├── BuildError (LookupError)             url_for has no rule for that endpoint and these values
    ├── OutsideContextError (RuntimeError)   a proxy was used where there is no request or no app
    ├── ClientDisconnect                     the client left while we read from it or wrote to it
    │   └── WebSocketDisconnect                the same on a websocket, with its close code
    └── HTTPException                        an answer with a status: raise it, or call abort(status)
        ├── BadRequest ... UnavailableForLegalReasons      4xx
        │   ├── BadRequestKeyError (KeyError)                a missing form field, argument or cookie
        │   └── InvalidParameters                            a 422 that lists values that a view cannot take
        └── InternalServerError ... HTTPVersionNotSupported  5xx

An ``HTTPException`` is an answer, not an accident: it is never logged as an error and never
reaches the observers of unhandled exceptions. Class names are werkzeug's, so that Flask's error
handlers keep working; titles are RFC 9110's. Those of the start and the stop of an app are in ``failures.py``, that of
worker threads is in ``threads.py``, that of session stores in ``sessionstores.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn, overload

from microweb.absences import OF_AN_ERROR, without

__all__ = [
    "BadGateway",
    "BadRequest",
    "BadRequestKeyError",
    "BuildError",
    "ClientDisconnect",
    "Conflict",
    "ExpectationFailed",
    "FailedDependency",
    "Forbidden",
    "FrozenError",
    "GatewayTimeout",
    "Gone",
    "HTTPException",
    "HTTPVersionNotSupported",
    "ImATeapot",
    "InternalServerError",
    "InvalidParameters",
    "LengthRequired",
    "Locked",
    "MethodNotAllowed",
    "MisdirectedRequest",
    "NotAcceptable",
    "NotFound",
    "NotImplementedStatus",
    "OutsideContextError",
    "PreconditionFailed",
    "PreconditionRequired",
    "RequestEntityTooLarge",
    "RequestHeaderFieldsTooLarge",
    "RequestTimeout",
    "RequestURITooLarge",
    "RequestedRangeNotSatisfiable",
    "ServiceUnavailable",
    "SetupError",
    "TooManyRequests",
    "Unauthorized",
    "UnavailableForLegalReasons",
    "UnprocessableEntity",
    "UnsupportedMediaType",
    "WebSocketDisconnect",
    "abort",
]


class SetupError(Exception):
    """A mistake in how the program is put together, found before it serves.

    The message says what was expected, what came, and where (file and line).
    """


class FrozenError(SetupError):
    """A route, hook, handler or layer was added after the app began to serve."""


class BuildError(LookupError):
    """No URL can be built for this endpoint with these values; the message names what is missing."""


class OutsideContextError(RuntimeError):
    """A proxy (``request``, ``session``, ``g``, ``current_app``) was used where nothing is bound to it."""


class ClientDisconnect(Exception):
    """The client went away while its request was being read or its answer was being sent.

    Not an error of the program: it is not logged as one, and nobody is left to answer.
    """


class WebSocketDisconnect(ClientDisconnect):
    """The websocket is closed, by either side. ``code`` and ``reason`` are those of the close frame (RFC 6455 §7.4)."""

    def __init__(self, code: int = 1005, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"websocket closed with code {self.code}" + (f": {self.reason}" if self.reason else "")


@without(OF_AN_ERROR, may_be_set=True)
class HTTPException(Exception):
    """An answer with a status, raised instead of returned.

    ``description`` is shown to the client; ``headers`` are added to the answer; ``extensions`` become
    further members of a problem+json body (RFC 9457 §3.2).

    >>> error = HTTPException(404, "no such entry")
    >>> (error.status, error.title, error.description)
    (404, 'Not Found', 'no such entry')

    A class of one's own may fix the status with ``code = 418``, as in Flask.

    Raises:
        ValueError: the status is not one of 400 to 599.
    """

    status: int = 500
    title: str = ""
    default_description: ClassVar[str] = ""
    by_status: ClassVar[dict[int, type[StatusError]]] = {}
    """The class of each known status, for ``abort`` and for handlers registered by class."""
    _code: ClassVar[int | None] = None
    """The status of a class that says so with ``code``."""

    def __init_subclass__(cls) -> None:
        # Flask's way to an error of one's own: a class with `code` and `description`, raised without arguments.
        own = vars(cls)
        if isinstance(own.get("code"), int):
            cls.status = cls._code = own["code"]
            if cls.__init__ is HTTPException.__init__:
                cls.__init__ = StatusError.__init__  # type: ignore[method-assign, assignment]  # takes no status either
        if isinstance(own.get("description"), str):
            cls.default_description = own["description"]

    def __init__(
        self,
        status: int | None = None,
        description: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        if status is None:
            status = self._code
        given: object = status
        if status is None or not isinstance(given, int) or not 400 <= given <= 599:
            raise ValueError(
                f"an HTTPException needs a status, a number from 400 to 599, not {status!r}; "
                "any other answer is returned by the view"
            )
        known = HTTPException.by_status.get(status)
        super().__init__(status, description)
        self.status = status
        self.title = self.title or (known.title if known else find_title(status))
        if description is None:
            description = self.default_description or (known.default_description if known else self.title)
        self.description = description
        self.headers = headers
        self.extensions = extensions

    @property
    def code(self) -> int:
        """``status``: Flask's spelling."""
        return self.status

    @property
    def name(self) -> str:
        """``title``: Flask's spelling."""
        return self.title

    def __str__(self) -> str:
        return f"{self.status} {self.title}: {self.description}"


def find_title(status: int) -> str:
    """The usual text of a status that no class here stands for."""
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


class StatusError(HTTPException):
    """An ``HTTPException`` whose class fixes the status; its subclasses are the ones to raise."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # The first class of a status is the one that abort() raises; a program's own subclasses stay its own.
        if cls.__module__ == __name__:
            HTTPException.by_status.setdefault(cls.status, cls)

    def __init__(
        self,
        description: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        # Not super(): classes that set `code` have this method too, without being a StatusError.
        HTTPException.__init__(self, self.status, description, headers, extensions=extensions)


@overload
def leaf_of(error: Exception) -> Exception: ...
@overload
def leaf_of(error: BaseException) -> BaseException: ...
def leaf_of(error: BaseException) -> BaseException:
    """The error itself, out of the groups that task groups put around a single one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def again(error: Exception) -> Exception:
    """A new exception that says the same, for one more raise; without the traceback, which holds the request."""
    if isinstance(error, StatusError):
        return type(error)(error.description, error.headers)
    if isinstance(error, HTTPException):
        return HTTPException(error.status, error.description, error.headers)
    return type(error)(*error.args)


def abort(
    status: int,
    description: str | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    extensions: Mapping[str, Any] | None = None,
) -> NoReturn:
    """Stop this request here and answer with ``status``.

    Raises:
        HTTPException: always; of the status's own class where it has one.
        ValueError: the status is not one of 400 to 599.
    """
    known = HTTPException.by_status.get(status)
    if known is not None:
        raise known(description, headers, extensions=extensions)
    raise HTTPException(status, description, headers, extensions=extensions)


# 4xx ---------------------------------------------------------------------------------------------


class BadRequest(StatusError):
    """The request cannot be understood (RFC 9110 §15.5.1)."""

    status = 400
    title = "Bad Request"
    default_description = "The request could not be understood by the server."


class BadRequestKeyError(BadRequest, KeyError):
    """A form field, argument, header or cookie that the view reads is missing; ``key`` names it."""

    def __init__(self, key: str, kind: str = "field") -> None:
        super().__init__(f"The {kind} {key!r} is missing.")
        self.key = key

    __str__ = HTTPException.__str__


class Unauthorized(StatusError):
    """Credentials are missing or wrong (RFC 9110 §15.5.2); add ``WWW-Authenticate`` to ``headers``."""

    status = 401
    title = "Unauthorized"
    default_description = "Valid credentials are needed to see this page."


class Forbidden(StatusError):
    """Understood and refused (RFC 9110 §15.5.4)."""

    status = 403
    title = "Forbidden"
    default_description = "You do not have the permission to do this."


class NotFound(StatusError):
    """Nothing lives at this URL (RFC 9110 §15.5.5)."""

    status = 404
    title = "Not Found"
    default_description = "There is nothing at this address."


class MethodNotAllowed(StatusError):
    """The path exists, but not for this method (RFC 9110 §15.5.6); ``allow`` fills the ``Allow`` header."""

    status = 405
    title = "Method Not Allowed"
    default_description = "This address does not answer to that method."

    def __init__(
        self,
        description: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        allow: tuple[str, ...] = (),
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        if allow:
            headers = {**(headers or {}), "allow": ", ".join(allow)}
        super().__init__(description, headers, extensions=extensions)
        self.allow = allow


class NotAcceptable(StatusError):
    """No representation suits the ``Accept`` headers (RFC 9110 §15.5.7)."""

    status = 406
    title = "Not Acceptable"
    default_description = "This resource is not available in a form that the client accepts."


class RequestTimeout(StatusError):
    """The rest of the request did not arrive in time (RFC 9110 §15.5.9)."""

    status = 408
    title = "Request Timeout"
    default_description = "The rest of the request did not arrive in time."


class Conflict(StatusError):
    """The request conflicts with the state of the resource (RFC 9110 §15.5.10)."""

    status = 409
    title = "Conflict"
    default_description = "The request conflicts with the current state of the resource."


class Gone(StatusError):
    """The resource was here and will not come back (RFC 9110 §15.5.11)."""

    status = 410
    title = "Gone"
    default_description = "What was at this address is gone for good."


class LengthRequired(StatusError):
    """The request needs a ``Content-Length`` (RFC 9110 §15.5.12)."""

    status = 411
    title = "Length Required"
    default_description = "This request needs a Content-Length header."


class PreconditionFailed(StatusError):
    """A condition in the request's headers does not hold (RFC 9110 §15.5.13)."""

    status = 412
    title = "Precondition Failed"
    default_description = "A condition in the request's headers does not hold."


class RequestEntityTooLarge(StatusError):
    """The body is larger than allowed (RFC 9110 §15.5.14)."""

    status = 413
    title = "Content Too Large"
    default_description = "The body of the request is larger than the server accepts."


class RequestURITooLarge(StatusError):
    """The URL is longer than allowed (RFC 9110 §15.5.15)."""

    status = 414
    title = "URI Too Long"
    default_description = "The URL of the request is longer than the server accepts."


class UnsupportedMediaType(StatusError):
    """The body's media type is not one that the view reads (RFC 9110 §15.5.16)."""

    status = 415
    title = "Unsupported Media Type"
    default_description = "The server does not read bodies of this media type here."


class RequestedRangeNotSatisfiable(StatusError):
    """No requested range overlaps the content (RFC 9110 §15.5.17)."""

    status = 416
    title = "Range Not Satisfiable"
    default_description = "No requested range overlaps the content."


class ExpectationFailed(StatusError):
    """The ``Expect`` header cannot be met (RFC 9110 §15.5.18)."""

    status = 417
    title = "Expectation Failed"
    default_description = "The server cannot meet the Expect header of the request."


class ImATeapot(StatusError):
    """This server is a teapot, not a coffee machine (RFC 2324 §2.3.2)."""

    status = 418
    title = "I'm a teapot"
    default_description = "This server is a teapot, not a coffee machine."


class MisdirectedRequest(StatusError):
    """The request was sent to a server that cannot answer for its host (RFC 9110 §15.5.20)."""

    status = 421
    title = "Misdirected Request"
    default_description = "This server does not answer for that host."


class UnprocessableEntity(StatusError):
    """Well formed, but its values are wrong (RFC 9110 §15.5.21)."""

    status = 422
    title = "Unprocessable Content"
    default_description = "The request is well formed, but some of its values are not acceptable."


class InvalidParameters(UnprocessableEntity):
    """Values in the request do not fit the view's parameters; lists all of them.

    ``errors`` are dicts with the keys ``in`` (query, header, cookie, form or body), ``name`` and ``reason``; they are
    a member of the problem+json body too.
    """

    default_description = "Some values in the request are missing or wrong."

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        # Names and reasons may quote what was sent; an answer should not be as long as that.
        cut = [{key: text[:200] for key, text in error.items()} for error in errors]
        unique = list({tuple(error.items()): error for error in cut}.values())
        super().__init__(extensions={"errors": unique})
        self.errors = unique


class Locked(StatusError):
    """The resource is locked (RFC 4918 §11.3)."""

    status = 423
    title = "Locked"
    default_description = "The resource is locked."


class FailedDependency(StatusError):
    """An action that this one depends on failed (RFC 4918 §11.4)."""

    status = 424
    title = "Failed Dependency"
    default_description = "An action that this one depends on has failed."


class PreconditionRequired(StatusError):
    """The request must be conditional (RFC 6585 §3)."""

    status = 428
    title = "Precondition Required"
    default_description = "This request must be conditional; try If-Match."


class TooManyRequests(StatusError):
    """The client asks too often (RFC 6585 §4); say when to come back in ``Retry-After``."""

    status = 429
    title = "Too Many Requests"
    default_description = "Too many requests in a given time."


class RequestHeaderFieldsTooLarge(StatusError):
    """A header, or all of them together, are larger than allowed (RFC 6585 §5)."""

    status = 431
    title = "Request Header Fields Too Large"
    default_description = "The headers of the request are larger than the server accepts."


class UnavailableForLegalReasons(StatusError):
    """Withheld as a consequence of a legal demand (RFC 7725 §3)."""

    status = 451
    title = "Unavailable For Legal Reasons"
    default_description = "This resource is unavailable for legal reasons."


# 5xx ---------------------------------------------------------------------------------------------


class InternalServerError(StatusError):
    """The program failed (RFC 9110 §15.6.1); ``original`` is the unhandled exception, if there was one."""

    status = 500
    title = "Internal Server Error"
    default_description = "The server met an error and could not answer."

    def __init__(
        self,
        description: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        original: BaseException | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(description, headers, extensions=extensions)
        self.original = original

    @property
    def original_exception(self) -> BaseException | None:
        """``original``: Flask's spelling."""
        return self.original


class NotImplementedStatus(StatusError):
    """The server does not know how to do this at all (RFC 9110 §15.6.2)."""

    status = 501
    title = "Not Implemented"
    default_description = "The server does not support this kind of request."


class BadGateway(StatusError):
    """A server behind this one gave an invalid answer (RFC 9110 §15.6.3)."""

    status = 502
    title = "Bad Gateway"
    default_description = "A server behind this one gave an invalid answer."


class ServiceUnavailable(StatusError):
    """Overloaded or down for maintenance (RFC 9110 §15.6.4)."""

    status = 503
    title = "Service Unavailable"
    default_description = "The server cannot answer right now; try again later."


class GatewayTimeout(StatusError):
    """No answer in time (RFC 9110 §15.6.5)."""

    status = 504
    title = "Gateway Timeout"
    default_description = "The answer did not come in time."


class HTTPVersionNotSupported(StatusError):
    """That version of HTTP is not spoken here (RFC 9110 §15.6.6)."""

    status = 505
    title = "HTTP Version Not Supported"
    default_description = "That version of HTTP is not spoken here."
