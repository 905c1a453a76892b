"""The request: one HTTP exchange as a view wants to see it.

``Request`` is what coroutine code gets: attributes for what is there at once, awaitable methods for
what must first arrive. ``SyncRequest`` is the same request as Flask shows it, for ``def`` views in
worker threads: plain values everywhere. Both are faces of one state (they share their ``__dict__``).

Built by the walk in ``app.py``, once per request; mounted apps get a child that shares the body.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from sys import modules
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from microweb import json
from microweb.absences import OF_A_COROUTINES_REQUEST, OF_A_SYNC_REQUEST, OF_LIMITING_A_REQUEST, without
from microweb.asgi import Message
from microweb.connection import Answer, Connection, give_back, resume
from microweb.errors import BadRequest, UnsupportedMediaType
from microweb.headers import find_header
from microweb.incoming import Incoming
from microweb.loops import in_trio
from microweb.mediatype import parse_media_type
from microweb.multidict import MultiDict
from microweb.whereabouts import whereabouts

if TYPE_CHECKING:
    from microweb.accept import Accept, AcceptLanguage
    from microweb.formreading import Form, FormPart
    from microweb.uploads import SyncUploadFile, UploadFile

__all__ = ["Request", "SyncRequest", "is_json", "not_json"]

T = TypeVar("T")


class HTTPIncoming(Incoming):
    """What both faces of an HTTP request share."""

    _connection: Connection | None = None
    _json_value: Any = None
    _whole_body: bytes | None = None
    """The body, where it was read without a ``Connection``; ``b""`` once there is one, which is asked then."""
    _form: Form | None = None
    _read_form_of: ClassVar[Callable[[HTTPIncoming], Coroutine[Any, Any, Form]] | None] = None
    _run_sync: Callable[..., Any] | None = None
    """What runs an async function for ``def`` code that no task waits for: that of a ``test_request_context``."""

    @property
    def method(self) -> str:
        """The method, upper case: ``"GET"``."""
        method: str = self.scope["method"]
        return method

    @property
    def accept(self) -> Accept:
        """What the client would like: ``request.accept.best(["application/json", "text/html"])``."""
        from microweb.accept import Accept

        return Accept(self.headers.get("accept"))

    @property
    def accept_languages(self) -> AcceptLanguage:
        """The languages that the client would like: ``request.accept_languages.best(["en", "de"])``."""
        from microweb.accept import AcceptLanguage

        return AcceptLanguage(self.headers.get("accept-language"))

    @property
    def max_content_length(self) -> int | None:
        """The most body bytes this request may have; setting it before the body is read changes that."""
        return self.connection.limit

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        self.connection.limit = value

    @property
    def is_json(self) -> bool:
        """Whether the content type says JSON."""
        return is_json(find_header(self.scope["headers"], b"content-type"))

    @property
    def connection(self) -> Connection:
        """The reader of this request's messages."""
        if self._connection is None:
            limits = self.limits
            self._connection = Connection(
                self._receive, self.scope["headers"], limits.max_content_length, limits.body_timeout
            )
            if limits.decode_request_bodies:
                self._connection.decodes = True
            self._connection.cached = self._whole_body
            self._whole_body = b""
        return self._connection

    def share_connection(self, other: HTTPIncoming) -> Connection:
        """Read the messages of ``other``: those of the request that this one's app is mounted in."""
        self._connection = other.connection
        self._whole_body = b""
        return self._connection

    def read_whole(self, reader: str, declared: bytes | None, limit: int | None) -> bytes | Coroutine[Any, Any, bytes]:
        """The body if it is there at once in one message, else what to await for it.

        Only for who knows that there is no Content-Encoding; ``declared`` is the Content-Length, ``limit`` the most
        bytes that the request's ``limits`` allow.
        PERF(bodies.typed-body): nothing is made but the bytes.

        Raises: as ``Connection.read``, when awaited.
        """
        # On trio nothing is stepped by hand: a receive() that has opened a scope would not nest in that of the time
        # limit.
        if (
            (declared is not None and len(declared) > 4)
            or self._whole_body is not None
            or ("trio" in modules and in_trio())
        ):
            return self.connection.read(reader, declared)
        receive = self._receive  # CPython 3.11 calls faster from a variable than from an attribute.
        answer: Any = receive()
        if answer.__class__ is not CoroutineType:
            return self.connection.read_on(reader, Answer(answer))
        try:
            waiting_for = answer.send(None)
        except StopIteration as stop:
            message: Message = stop.value
            body: Any = message.get("body")  # A disconnect has none.
            if isinstance(body, bytes) and not message.get("more_body") and (limit is None or len(body) <= limit):
                self._whole_body = body
                return body
            return self.connection.read_on(reader, give_back(message))
        rest: Any = resume(answer, waiting_for)  # awaitable, which type checkers do not see
        return self.connection.read_on(reader, rest)


@without(OF_LIMITING_A_REQUEST)
@without(OF_A_COROUTINES_REQUEST, may_be_set=True)
class Request(HTTPIncoming):
    """One HTTP request, in coroutine code.

    >>> from microweb import App, Request
    >>> app = App(__name__)
    >>> @app.post("/echo")
    ... async def echo(request: Request):
    ...     return {"you sent": await request.json(), "by": request.method}
    """

    async def body(self) -> bytes:
        """The whole body; read once, then kept.

        Raises:
            RequestEntityTooLarge: it is larger than ``max_content_length``.
            RequestTimeout: it stood still for ``BODY_TIMEOUT`` seconds.
            ClientDisconnect: the client left before its end.
            RuntimeError: ``stream`` or ``parts`` has taken some of it.
        """
        return await self.connection.read()

    async def text(self) -> str:
        """The body decoded by its charset (UTF-8 if none is given).

        Raises:
            BadRequest: it is not text in that charset; and what ``body`` raises.
        """
        return decode_text(await self.connection.read("text()"), self.headers.get("content-type", ""))

    @overload
    async def json(self, type: type[T], *, force: bool = ..., silent: Literal[False] = ...) -> T: ...
    @overload
    async def json(self, type: type[T], *, force: bool = ..., silent: bool) -> T | None: ...
    @overload
    async def json(self, type: Any = None, *, force: bool = ..., silent: bool = ...) -> Any: ...
    # PERF(walk.echo): CPython 3.11 calls a function with keyword-only parameters more slowly; the overloads have them.
    async def json(self, type: Any = None, force: bool = False, silent: bool = False) -> Any:
        """The body as JSON; with ``type``, as a value of that type.

        ``force`` reads it whatever its content type says; ``silent`` gives None instead of an error.

        Raises:
            UnsupportedMediaType: the content type is not JSON.
            BadRequest: it is not valid JSON, not UTF-8, nested too deep, or no ``type``; and what ``body`` raises.
        """
        # PERF(walk.echo): `find_content_lines`, written out.
        content_type = length = coding = None
        for name, line in self.scope["headers"]:
            if len(name) > 11:
                if name == b"content-type":
                    content_type = line
                elif name == b"content-length":
                    length = line
                elif name == b"content-encoding":
                    coding = line
        if content_type != b"application/json" and not force and not is_json(content_type):
            if silent:
                return None
            raise not_json(self)
        target = self._target
        limits = self.app.limits if target is None else target.limits
        body: Any = None
        read: Any = None
        if coding is not None:
            read = self.connection.read("json()")
        elif (
            (length is not None and len(length) > 4)
            or self._whole_body is not None
            or ("trio" in modules and in_trio())
        ):
            read = self.connection.read("json()", length)
        else:
            # PERF(walk.echo): `read_whole`, written out.
            receive = self._receive
            answer: Any = receive()
            if answer.__class__ is CoroutineType:
                try:
                    waiting_for = answer.send(None)
                except StopIteration as stop:
                    message: Message = stop.value
                    body, limit = message.get("body"), limits.max_content_length
                    if (
                        isinstance(body, bytes)
                        and not message.get("more_body")
                        and (limit is None or len(body) <= limit)
                    ):
                        self._whole_body = body
                    else:
                        read = self.connection.read_on("json()", give_back(message))
                else:
                    answer = resume(answer, waiting_for)
                    del waiting_for  # See `Answer`; so does the next line.
                    read, answer = self.connection.read_on("json()", answer), None
            else:
                answer = Answer(answer)
                read, answer = self.connection.read_on("json()", answer), None
        if read is not None:
            body = await read
        max_depth = limits.json_max_depth
        try:
            if type is None and json.decode_any is not None:
                # PERF(walk.echo): as `json.loads`, which finds the words for what is wrong. So short a text with
                # so few arrays is not too deep: a level of array takes two bytes, one of object five (`check_depth`).
                size = len(body)
                if size > max_depth * 2 and (
                    size > max_depth * 4 or (size - len(body.replace(b"[", b""))) * 3 > max_depth
                ):
                    json.check_depth(body, max_depth)
                try:
                    return json.decode_any(body)
                except (ValueError, RecursionError):
                    pass
            return json.loads(body, Any if type is None else type, max_depth=max_depth)
        except BadRequest:
            if silent:
                return None
            raise

    def stream(self) -> AsyncGenerator[bytes, None]:
        """The body chunk by chunk as it arrives, within the same limit, not kept.

        Raises: as ``body``; RuntimeError when another reader already took part of it.
        """
        chunks = self.connection.stream("request.stream()")
        self.on_close(chunks.aclose)  # A reader that stops half way leaves nothing to the garbage collector.
        return chunks

    async def form(self) -> MultiDict[str]:
        """The text fields of the form in the body, urlencoded or multipart; read once, then kept.

        Without a body it is empty. Files go to ``files()``.

        Raises:
            UnsupportedMediaType: the body is no form.
            BadRequest: it is malformed or cut off.
            RequestEntityTooLarge: it is larger than ``max_content_length``, a field than ``MAX_FORM_MEMORY_SIZE``,
                or there are more than ``MAX_FORM_PARTS`` parts or ``MAX_FORM_FILES`` files.
        """
        form = self._form
        if form is None or not form.is_complete:
            form = await (HTTPIncoming._read_form_of or load_form_reader())(self)
        return form.fields

    async def files(self) -> MultiDict[UploadFile]:
        """The files of the form in the body; read once, closed when the request is over.

        Raises: as ``form``; HTTPException (507) when the disk is full.
        """
        form = self._form
        if form is None or not form.is_complete:
            form = await (HTTPIncoming._read_form_of or load_form_reader())(self)
        return form.files

    def parts(self) -> AsyncIterator[FormPart]:
        """The parts of a multipart form as they arrive, fields and files, none of them stored.

        Each is read, or skipped, before the next comes. That the form was complete is known when the loop ends.

        Raises: as ``form``; RuntimeError when another reader already took the body.
        """
        from microweb.formreading import PartStream

        return PartStream(self)

    async def is_disconnected(self) -> bool:
        """Whether the client is known to be gone. Does not wait."""
        connection = self.connection
        if self.closed:
            return connection.disconnected
        watch = connection.watch()
        if watch is not None:
            self.on_close(watch.end)
        return await connection.is_disconnected()


@without(OF_LIMITING_A_REQUEST)
@without(OF_A_SYNC_REQUEST, may_be_set=True)
class SyncRequest(HTTPIncoming):
    """A request as ``def`` code sees it, with Flask's attributes: values, nothing to await.

    Body attributes are read on first use through the event loop, within the same limits, while the
    thread waits. In a template of a coroutine view they give what the view awaited before.

    >>> from microweb import App, SyncRequest
    >>> app = App(__name__)
    >>> @app.post("/echo")
    ... def echo(request: SyncRequest):
    ...     return {"you sent": request.json, "by": request.method}
    """

    @classmethod
    def of(cls, request: Request) -> SyncRequest:
        """The face of ``request`` for ``def`` code; no copy, no cycle."""
        kind = request.__class__
        face = object.__new__(cls if kind is Request else cls.face_of(kind))
        face.__dict__ = request.__dict__
        return face

    @classmethod
    def face_of(cls, kind: type[Any]) -> type[SyncRequest]:
        """The class of the face of requests of a program's own class, with what that adds."""
        if kind is Request:
            return cls
        if issubclass(kind, cls):
            return kind
        face: type[SyncRequest] | None = kind.__dict__.get("_sync_face")
        if face is None:
            face = type(f"Sync{kind.__name__}", (cls, kind), {"__doc__": kind.__doc__, "__module__": kind.__module__})
            kind._sync_face = face  # Read from the class itself: not inherited.
        return face

    @property
    def data(self) -> bytes:
        """The whole body.

        Raises: as ``Request.body``.
        """
        return self.get_data()

    @overload
    def get_data(self, cache: bool = ..., as_text: Literal[False] = ..., parse_form_data: bool = ...) -> bytes: ...
    @overload
    def get_data(self, cache: bool = ..., *, as_text: Literal[True], parse_form_data: bool = ...) -> str: ...
    @overload
    def get_data(self, cache: bool, as_text: bool, parse_form_data: bool = ...) -> Any: ...
    def get_data(self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False) -> Any:
        """The whole body, as text if asked (``bytes`` otherwise).

        It is kept in any case; ``cache`` and ``parse_form_data`` are there for calls written for Flask. A multipart
        form that was read before has taken the body, and leaves nothing of it, as in Flask.

        Raises: as ``Request.body`` and ``Request.text``.
        """
        connection = self.connection
        body = connection.cached
        if body is None and self._form is not None and self._form.is_complete:
            body = b""
        if body is None:
            read: bytes = self._await(connection.read, "request.data")
            body = read
        return decode_text(body, self.headers.get("content-type", "")) if as_text else body

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises: as ``Request.json``.
        """
        return self.get_json()

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """The body as JSON; the parameters and errors are those of ``Request.json``.

        It is kept in any case; ``cache`` is there for calls written for Flask.
        """
        if not force and not self.is_json:
            if silent:
                return None
            raise not_json(self)
        if self._json_value is None:
            try:
                self._json_value = json.loads(self.data, max_depth=self.limits.json_max_depth)
            except BadRequest:
                if silent:
                    return None
                raise
        return self._json_value

    @property
    def form(self) -> MultiDict[str]:
        """The text fields of the form in the body.

        Raises: as ``Request.form``.
        """
        return self._read_form().fields

    @property
    def files(self) -> MultiDict[SyncUploadFile]:
        """The files of the form in the body; closed when the request is over.

        Raises: as ``Request.files``.
        """
        return self._read_form().sync_files

    @property
    def values(self) -> MultiDict[str]:
        """The query parameters, and after them the form's fields, unless the method is GET or HEAD.

        Raises: as ``Request.form``.
        """
        # Caches look at the URL of those alone, so a body must not change what they give.
        if self.method in ("GET", "HEAD"):
            return self.args
        return MultiDict([*self.args.items(multi=True), *self.form.items(multi=True)], kind="value")

    def _read_form(self) -> Form:
        form = self._form
        if form is None or not form.is_complete:
            form = self._await(HTTPIncoming._read_form_of or load_form_reader(), self)
        assert form is not None
        return form

    def _await(self, function: Any, *args: Any) -> Any:
        if not whereabouts.in_worker:
            if self._run_sync is not None:
                return self._run_sync(function, *args)
            what = args[0] if isinstance(args[0], str) else "request.form"
            raise RuntimeError(
                f"{what} was used on the event loop before the body was read; "
                "`await request.body()` (or json(), form()) in the view first"
            )
        from microweb.workers import call_from_thread

        return call_from_thread(function, *args)


def load_form_reader() -> Callable[[HTTPIncoming], Coroutine[Any, Any, Form]]:
    """Load the code for forms, with the first form that a program reads.

    PERF(bodies.form-urlencoded): kept on the class, for an import that has nothing to do costs as much as a short form.
    """
    from microweb.formreading import read_form

    HTTPIncoming._read_form_of = staticmethod(read_form)
    return read_form


def is_json(content_type: bytes | None) -> bool:
    """Whether a Content-Type is ``application/json`` or one with the suffix ``+json`` (RFC 6839)."""
    if content_type == b"application/json":
        return True
    if content_type is None:
        return False
    kind = parse_media_type(content_type.decode("latin-1"))[0]
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def not_json(request: Incoming) -> UnsupportedMediaType:
    """The answer to a body that should have been JSON; says what came."""
    came = request.content_type or "no Content-Type"
    return UnsupportedMediaType(f"Expected a JSON body (Content-Type: application/json), got {came}.")


def decode_text(body: bytes, content_type: str) -> str:
    """The body as text, by the charset of its content type.

    Raises:
        BadRequest: the charset is unknown or the bytes are not in it.
    """
    charset = parse_media_type(content_type)[1].get("charset", "utf-8")
    try:
        if charset.lower() not in CHARSETS:
            raise LookupError
        return body.decode(charset)
    except (LookupError, ValueError):
        raise BadRequest(f"The body is not text in the charset {charset[:40]!r}.") from None


CHARSETS = frozenset(
    {
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "iso-8859-1",
        "latin-1",
        "latin1",
        "iso-8859-2",
        "iso-8859-15",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "utf-16",
        "utf-16le",
        "utf-16be",
        "utf-32",
        "shift_jis",
        "euc-jp",
        "euc-kr",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
        "koi8-r",
        "koi8-u",
    }
)
"""The charsets that are read. Python knows more, some of which take quadratic time (punycode, idna)."""
