"""The response: a value with a status, headers and a body, which it writes to ``send``.

``Response`` carries bytes; ``StreamingResponse`` an iterator. ``conversion.py`` turns what a view returns into one
of them. A response knows nothing of routes or apps; ``files.py``, ``foreign.py`` and ``events.py`` add kinds
that send something else.

The life of a response::

    made --returned by a view--> owned by that request --layers edit it--> sent (final)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from microweb import json
from microweb.absences import OF_A_RESPONSE, without
from microweb.asgi import Message, RawHeaders, Send
from microweb.cookies import dump_cookie
from microweb.errors import ClientDisconnect
from microweb.framing import (
    BODYLESS,
    CONTENT_LENGTH,
    FRAMING,
    length_line,
    new_start,
    without_body_headers,
    without_framing,
)
from microweb.headers import Headers, encode_value
from microweb.incoming import Incoming
from microweb.mediatype import with_charset

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = [
    "BINARY",
    "HTML",
    "JSON",
    "AbandonedResponse",
    "HeaderItems",
    "JSONResponse",
    "Response",
    "from_json",
    "jsonify",
    "make_plain",
    "new",
    "redirect",
]

HTML = b"text/html; charset=utf-8"
JSON = b"application/json"
BINARY = b"application/octet-stream"

HeaderItems = Mapping[str, str] | Iterable[tuple[str, str]]

EMPTY = (bytes, str, type(None))
"""Types of a body that is left out, None as in Flask; another value is no body although it is false."""


@without(OF_A_RESPONSE)
class Response:
    """An answer whose body is known: text or bytes.

    ``status_code``, ``headers`` and ``body`` may be changed until it is sent. A response belongs to the
    first request that returns it; build one per request.

    >>> response = Response("Hello", 201, {"x-greeting": "yes"})
    >>> (response.status_code, response.body, response.headers["content-type"])
    (201, b'Hello', 'text/html; charset=utf-8')

    Raises:
        ValueError: the status is no integer from 200 to 599, or a header's name or value may not go on the wire.
        TypeError: the body is neither text nor bytes.
    """

    is_streamed: ClassVar[bool] = False
    """Whether the body is produced while it is sent."""

    _default_content_type: bytes | None = HTML
    _error: BaseException | Callable[[], BaseException] | None = None
    _owner: Incoming | None = None
    _inner: Incoming | None = None
    _has_ended = False
    """Whether all of it was sent by an app that is not ours, which may raise something all the same."""

    def __init__(
        self,
        body: str | bytes = b"",
        status: int = 200,
        headers: HeaderItems | None = None,
        content_type: str | None = None,
        *,
        mimetype: str | None = None,
    ) -> None:
        self._status = 200
        self._body = b""
        self._headers: Headers | None = None
        self._content_type = self._default_content_type
        if body or body.__class__ not in EMPTY:
            self.body = body
        if status.__class__ is not int or status != 200:
            self.status_code = status
        if content_type is None and mimetype is not None:
            content_type = with_charset(mimetype)
        if content_type is not None:
            self._content_type = encode_value(content_type, "content-type")
        if headers is not None:
            self._take_headers(headers)

    @property
    def status_code(self) -> int:
        """The status, 200 to 599."""
        return self._status

    @status_code.setter
    def status_code(self, value: int) -> None:
        self._set_status(value)

    def _set_status(self, value: object) -> None:
        if not isinstance(value, int) or not 200 <= value <= 599:
            raise ValueError(f"a status is an integer from 200 to 599, not {value!r}")
        self._status = int(value)

    @property
    def body(self) -> bytes:
        """The bytes to send; text that is set is encoded as UTF-8."""
        return self._body

    @body.setter
    def body(self, value: str | bytes) -> None:
        if isinstance(value, str):
            self._body = value.encode()
        elif isinstance(value, bytes | bytearray | memoryview):
            self._body = bytes(value)
        else:
            raise TypeError(
                f"a body is str or bytes, not {type(value).__name__}; "
                "to stream one return the generator itself, or a StreamingResponse"
            )

    data = body

    def get_data(self, as_text: bool = False) -> Any:
        """The body, decoded if asked: Flask's spelling for ``after_request`` code."""
        return self._body.decode() if as_text else self._body

    def set_data(self, value: str | bytes) -> None:
        """Replace the body: Flask's spelling.

        Raises:
            TypeError: it is neither text nor bytes.
        """
        self.body = value

    @property
    def headers(self) -> Headers:
        """The headers. Content-Length is added when the answer is sent."""
        headers = self._headers
        if headers is None:
            content_type = self._content_type
            # PERF(walk.header-layers): `Headers.from_raw`, written out.
            headers = self._headers = new(Headers)
            headers.raw = [] if content_type is None else [(b"content-type", content_type)]
        return headers

    @property
    def content_type(self) -> str | None:
        """The Content-Type header; None for none."""
        if self._headers is not None:
            return self._headers.get("content-type")
        return None if self._content_type is None else self._content_type.decode("latin-1")

    @content_type.setter
    def content_type(self, value: str | None) -> None:
        encoded = None if value is None else encode_value(value, "content-type")
        if self._headers is None:
            self._content_type = encoded
        elif value is None:
            self._headers.remove("content-type")
        else:
            self._headers["content-type"] = value

    @property
    def mimetype(self) -> str | None:
        """The media type without its parameters."""
        content_type = self.content_type
        return content_type.partition(";")[0].strip() if content_type else None

    @mimetype.setter
    def mimetype(self, value: str) -> None:
        self.content_type = with_charset(value)

    @property
    def location(self) -> str | None:
        """The Location header; non-ASCII is percent-encoded when it is set. None for none."""
        return self.headers.get("location")

    @location.setter
    def location(self, value: str | None) -> None:
        if value is None:
            self.headers.remove("location")
        else:
            from microweb.redirects import location

            self.headers["location"] = location(value)

    @property
    def error(self) -> BaseException | None:
        """The exception that became this answer, if one did; dropped when the request is over."""
        error = self._error
        if error is not None and not isinstance(error, BaseException):
            # A miss makes its NotFound only for whoever looks at it. PERF(walk.404-of-200)
            error = self._error = error()
            if self._owner is not None:
                self._owner.notes.answered += ((error, self),)
        return error

    def raise_for_error(self) -> None:
        """Raise ``error`` again, unchanged, if there is one.

        In a middleware, inside a transaction: the exception rolls it back, and the guard around the
        middleware recognises it and gives the same answer again.
        """
        error = self.error
        if error is not None:
            try:
                raise error
            finally:
                del error  # Its traceback holds this frame.

    def on_start(self, function: Callable[[int, Headers], None]) -> None:
        """Call ``function(status, headers)`` as soon as the status is known; it may change the headers.

        That is at once, but for a mounted foreign app, which has not answered yet when ``call_next`` returns.
        """
        function(self._status, self.headers)

    # Cookies and caching -----------------------------------------------------------------------

    def set_cookie(
        self,
        key: str,
        value: str = "",
        max_age: int | timedelta | None = None,
        expires: datetime | str | int | float | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: str | None = None,
        partitioned: bool = False,
    ) -> None:
        """Add a Set-Cookie header (RFC 6265bis) for the cookie named ``key``; ``max_age`` in seconds.

        Raises:
            ValueError: a part may not stand in a cookie, or the attributes contradict each other.
            TypeError: the value is no text, or a time none.
        """
        cookie = dump_cookie(
            key,
            value,
            max_age=max_age,
            expires=expires,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )
        self.headers.add("set-cookie", cookie)

    def delete_cookie(
        self,
        key: str,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: str | None = None,
        partitioned: bool = False,
    ) -> None:
        """Tell the client to forget a cookie; path, domain and flags must be those it was set with.

        Raises: as ``set_cookie``.
        """
        self.set_cookie(
            key,
            max_age=0,
            expires=0,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )

    def set_etag(self, etag: str, weak: bool = False) -> None:
        """Set the ETag header (RFC 9110 §8.8.3).

        Raises:
            ValueError: there are quotes, spaces or control characters in it.
        """
        from microweb.conditional import quote_etag

        self.headers["etag"] = quote_etag(etag, weak=weak)

    def add_etag(self, *, overwrite: bool = False, weak: bool = False) -> None:
        """Set the ETag header from the body's bytes, unless there is one already."""
        if overwrite or "etag" not in self.headers:
            from microweb.conditional import generate_etag

            self.set_etag(generate_etag(self._body), weak)

    @property
    def last_modified(self) -> datetime | None:
        """The Last-Modified header as a time in UTC; set it with a ``datetime``. None for none."""
        from microweb.conditional import parse_date

        value = self.headers.get("last-modified")
        return parse_date(value) if value else None

    @last_modified.setter
    def last_modified(self, value: datetime | None) -> None:
        if value is None:
            self.headers.remove("last-modified")
        else:
            from microweb.conditional import http_date

            self.headers["last-modified"] = http_date(value)

    def make_conditional(self, request: Incoming) -> Response:
        """Become a 304 or 412 if the request's conditions say so (RFC 9110 §13.2.2); returns itself.

        Only a successful answer does: what is an error without the conditions stays one (§13.2.1).
        """
        if not 200 <= self._status < 300:
            return self
        from microweb.conditional import evaluate

        asked = request.headers
        verdict = evaluate(
            request.scope["method"],
            etag=self.headers.get("etag"),
            last_modified=self.last_modified,
            if_match=asked.get("if-match"),
            if_none_match=asked.get("if-none-match"),
            if_modified_since=asked.get("if-modified-since"),
            if_unmodified_since=asked.get("if-unmodified-since"),
        )
        if verdict is not None:
            self._status = verdict
            if verdict == 412:
                self.body = b""
        return self

    # Sending -----------------------------------------------------------------------------------

    async def send(self, request: Incoming, send: Send) -> None:
        """Write the answer. Called once, by the walk.

        Raises:
            ClientDisconnect: the client has left.
        """
        start, body = self.messages(request)
        request._started = True
        try:
            await send(start)
            await send({"type": "http.response.body", "body": body})
        except OSError:
            # ASGI HTTP 2.4: send raises OSError once the client has left.
            raise ClientDisconnect("the client left while its answer was being sent") from None

    def messages(self, request: Incoming) -> tuple[Message, bytes]:
        """The first message of the answer, and the bytes of the second.

        HEAD, 204, 205 and 304 carry no body bytes; HEAD keeps the Content-Length of the whole.
        """
        body = self._body
        status = self._status
        is_head = request.scope["method"] == "HEAD"
        if self._headers is None and self._content_type is not None:
            # PERF(walk.plaintext): the list is written here, no Headers object was ever needed.
            lines = [(b"content-type", self._content_type), length_line(len(body))]
        else:
            lines = self._lines(len(body), is_head)
        if is_head or (status != 200 and status in BODYLESS):
            body = b""
            if status in BODYLESS:
                lines = without_body_headers(lines, status)
        start = new_start()
        start["status"] = status
        start["headers"] = lines
        return start, body

    def _lines(self, length: int, is_head: bool) -> RawHeaders:
        raw = self.headers.raw
        for name, _ in raw:
            if name in FRAMING:
                return self._framed_lines(length, is_head)
        return [*raw, length_line(length)]

    def _framed_lines(self, length: int, is_head: bool) -> RawHeaders:
        lines = without_framing(self.headers.raw)
        declared = [value for name, value in lines if name == CONTENT_LENGTH]
        if is_head and not length and len(declared) == 1 and declared[0].isdigit():
            return lines  # It says how long the body would be.
        return [*(line for line in lines if line[0] != CONTENT_LENGTH), length_line(length)]

    def _take_headers(self, headers: HeaderItems) -> None:
        given: Any = headers
        items: Iterable[tuple[str, str]] = given.items() if isinstance(given, Mapping) else given
        own = self.headers
        replaced: set[str] = set()
        for name, value in items:
            # The first of a name replaces the response's own line, the next ones are repeats.
            if name.lower() in replaced:
                own.add(name, value)
            else:
                own[name] = value
                replaced.add(name.lower())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._status}>"


class JSONResponse(Response):
    """An answer whose body is ``value`` as JSON.

    >>> JSONResponse({"ok": True}, 201).body
    b'{"ok":true}'

    Raises:
        TypeError: a value has no JSON form; the message names its type.
    """

    _default_content_type = JSON

    def __init__(
        self,
        value: Any = None,
        status: int = 200,
        headers: HeaderItems | None = None,
        content_type: str | None = None,
    ) -> None:
        super().__init__(json.dumps(value), status, headers, content_type)


class AbandonedResponse(Response):
    """What ``call_next`` returns when the client has left: status 499, never sent."""

    def __init__(self) -> None:
        super().__init__(status=499)

    async def send(self, request: Incoming, send: Send) -> None:
        """Send nothing: nobody is there. The app around a mounted one learns here that the work ended half way."""
        if request.notes.unhandled is None:
            request.notes.unhandled = self.error


new = object.__new__


def make_plain(body: bytes, content_type: bytes) -> Response:
    """A 200 with this body: what ``Response(...)`` would give, without its checks. PERF(walk.plaintext)"""
    response = new(Response)
    response._status = 200
    response._body = body
    response._headers = None
    response._content_type = content_type
    return response


def from_json(value: Any) -> Response:
    """Make a JSON answer."""
    response = new(Response)  # make_plain, written out. PERF(walk.json)
    response._status = 200
    response._body = json.dumps(value)
    response._headers = None
    response._content_type = JSON
    return response


def jsonify(*args: Any, **kwargs: Any) -> Response:
    """A JSON answer of one value, a list of several, or an object of keywords, as in Flask.

    Raises:
        TypeError: both positional and keyword values were given, or a value has no JSON form.
    """
    if args and kwargs:
        raise TypeError("jsonify() takes either values or keywords, not both")
    return from_json(args[0] if len(args) == 1 else (list(args) or kwargs or None))


def redirect(
    target: str, status: int = 302, headers: HeaderItems | None = None, *, code: int | None = None
) -> Response:
    """An answer that sends the client to ``target``; non-ASCII is percent-encoded. ``code`` is Flask's ``status``.

    Raises:
        ValueError: ``target`` holds a control character, or the status is no redirect.
        TypeError: ``target`` is no text, as ``request.args.get("next")`` may be.
    """
    given: object = target
    if not isinstance(given, str):
        raise TypeError(f"redirect() needs a path or a URL, not {given!r}")
    status = status if code is None else code
    if status not in (300, 301, 302, 303, 305, 307, 308):
        raise ValueError(f"a redirect has status 300 to 303, 305, 307 or 308, not {status!r}")
    from markupsafe import escape

    from microweb.redirects import location

    address = location(target)

    page = f'<!doctype html>\n<title>Redirecting</title>\n<p>See <a href="{escape(address)}">{escape(address)}</a>.\n'
    response = Response(page, status, headers)
    response.headers["location"] = address
    return response
