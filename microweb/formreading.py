"""Reading a form from a request: its fields into memory, its files into ``UploadFile``s, once.

Between the grammar (``forms.py``, ``multipart.py``) and the faces of the request (``requests.py``), which
call it. The form is kept on the request; its files are closed by the walk when the request is over.

State of a form::

    untouched --read_form()--> reading --closing boundary--> read     (final: answered from here)
                                  └-----any error---------> failed    (final: the same error again)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

from microweb.errors import UnsupportedMediaType, again
from microweb.forms import NO_FIELDS, Part, field_too_large, find_boundary, parse_urlencoded
from microweb.headers import RequestHeaders, find_content_lines, find_header
from microweb.mediatype import parse_media_type
from microweb.multidict import MultiDict
from microweb.uploads import SyncUploadFile, UploadFile, keep_piece
from microweb.workers import release_blocking

if TYPE_CHECKING:
    from anyio import Event

    from microweb.multipart import MultipartReader

__all__ = ["Form", "FormPart", "PartStream", "read_form"]

URLENCODED = b"application/x-www-form-urlencoded"
NO_LENGTH = (None, b"0")
"""The Content-Length of a request that may have no body; without one only reading tells."""
NO_FILES: MultiDict[UploadFile] = MultiDict(kind="file")


class Form:
    """The fields and files of one request, or what went wrong with them."""

    __slots__ = ("_sync_files", "change", "fields", "files", "is_complete", "problem")

    def __init__(self, fields: MultiDict[str] = NO_FIELDS, *, is_complete: bool = True) -> None:
        self.fields = fields
        self.files = NO_FILES
        self.is_complete = is_complete
        self.problem: Exception | None = None
        self.change: Event | None = None
        """Set when it is no longer being read; made if anybody waits for that."""
        self._sync_files: MultiDict[SyncUploadFile] | None = None

    @property
    def sync_files(self) -> MultiDict[SyncUploadFile]:
        """The files as ``def`` code sees them."""
        if self._sync_files is None:
            pairs = [(name, SyncUploadFile.of(file)) for name, file in self.files.items(multi=True)]
            self._sync_files = MultiDict(pairs, kind="file")
        return self._sync_files


async def read_form(request: Any) -> Form:
    """The form in the body of ``request``, read once.

    A request without a body has an empty form, as in Flask, whatever its Content-Type says of the body that is not
    there: many clients send the same headers with a GET. A multipart form alone is cut off where it ends at once.

    Raises:
        UnsupportedMediaType: the body is no form.
        BadRequest: it is malformed or cut off.
        RequestEntityTooLarge: it, a field, or the number of its parts is larger than allowed.
        HTTPException: 507, the disk is full.
    """
    form: Form | None = request._form
    if form is not None:
        return form if form.is_complete else await wait_for(form)
    content_type, length, coding = find_content_lines(request.scope["headers"])
    if content_type == URLENCODED and coding is None:
        # PERF(bodies.form-urlencoded): what browsers send, letter by letter.
        limits = request.limits
        body = request.read_whole("form()", length, limits.max_content_length)
        if body.__class__ is not bytes:
            body = await body
        fields = parse_urlencoded(body, max_parts=limits.max_form_parts, max_field=limits.max_form_memory_size)
        request._form = form = Form(fields)
        return form
    kind = parse_media_type(content_type.decode("latin-1"))[0] if content_type is not None else ""
    if kind == "application/x-www-form-urlencoded":
        return await read_urlencoded(request)
    if kind != "multipart/form-data":
        if length in NO_LENGTH and not await request.connection.read("form()"):
            request._form = form = Form()
            return form
        raise not_a_form(content_type)
    assert content_type is not None
    return await read_multipart(request, content_type.decode("latin-1"))


async def read_urlencoded(request: Any) -> Form:
    body = await request.connection.read("form()")
    limits = request.limits
    fields = parse_urlencoded(body, max_parts=limits.max_form_parts, max_field=limits.max_form_memory_size)
    request._form = form = Form(fields)
    return form


async def read_multipart(request: Any, content_type: str) -> Form:
    reader = start_reader(request, content_type)
    request._form = form = Form(is_complete=False)
    opened: list[UploadFile] = []
    request.on_close(lambda: close_all(opened))
    try:
        form.fields, form.files = await collect(request, reader, opened)
        form.is_complete = True
    except BaseException as error:
        # Whoever asks again gets the same answer; an exception object belongs to one raise only.
        form.problem = remember(error)
        raise
    finally:
        if form.change is not None:
            form.change.set()
    return form


async def collect(
    request: Any, reader: MultipartReader, opened: list[UploadFile]
) -> tuple[MultiDict[str], MultiDict[UploadFile]]:
    """Everything in the body; every file is put into ``opened`` at once, complete or not."""
    limits = request.limits
    most = limits.max_form_memory_size
    fields: list[tuple[str, str]] = []
    files: list[tuple[str, UploadFile]] = []
    part: Part | None = None
    upload: UploadFile | None = None
    pieces: list[bytes | bytearray] = []
    chunks = request.connection.stream("form()")
    try:
        async for chunk in chunks:
            for event in reader.feed(chunk):
                if isinstance(event, bytes):
                    assert part is not None
                    if upload is not None:
                        await upload._receive(event)
                    else:
                        if most is not None and part.bytes_received > most:
                            raise field_too_large(most)
                        keep_piece(pieces, event)
                elif event is not None:
                    part = event
                    if part.filename is not None:
                        spool = limits.upload_spool_size
                        upload = UploadFile(part.name, part.filename, part.content_type, part.headers, spool)
                        opened.append(upload)
                elif upload is not None:
                    await upload._complete()
                    files.append((upload.name, upload))
                    upload = None
                else:
                    assert part is not None
                    fields.append((part.name, part.decode(b"".join(pieces))))
                    pieces = []
    finally:
        await chunks.aclose()
    reader.finish()
    return MultiDict(fields), MultiDict(files, kind="file")


async def close_all(opened: list[UploadFile]) -> None:
    # All in one trip to the thread: no cancellation comes between them.
    on_disk = [upload for upload in opened if upload._on_disk]
    for upload in opened:
        if not upload._on_disk:
            upload._close()
    if on_disk:
        await release_blocking(close_each, on_disk)


def close_each(opened: list[UploadFile]) -> None:
    for upload in opened:
        upload._close()


async def wait_for(form: Form) -> Form:
    """The form that another task is reading."""
    while not form.is_complete:
        if form.problem is not None:
            raise again(form.problem)
        if form.change is None:
            from anyio import Event

            form.change = Event()
        await form.change.wait()
    return form


def remember(error: BaseException) -> Exception:
    """What to say to those who ask for the form after ``error``; without its traceback, which holds the request."""
    if isinstance(error, Exception):
        return again(error)
    return RuntimeError("the form cannot be read: the task that was reading it was cancelled")


# Part by part ------------------------------------------------------------------------------------


class FormPart:
    """One part of a multipart form, as it arrives: ``async for part in request.parts()``.

    Its content can be read until the next part is asked for. ``filename`` is None for a text field, and
    otherwise whatever the client wrote.
    """

    def __init__(self, part: Part, stream: PartStream, most: int | None) -> None:
        self._part = part
        self._stream = stream
        self._most = most

    @property
    def name(self) -> str:
        """The field that it was sent as."""
        return self._part.name

    @property
    def filename(self) -> str | None:
        """The client's name of the file; None for a text field."""
        return self._part.filename

    @property
    def content_type(self) -> str | None:
        """The part's Content-Type as sent."""
        return self._part.content_type

    @property
    def headers(self) -> RequestHeaders:
        """The part's headers."""
        return self._part.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """Its content as it arrives.

        Raises:
            BadRequest: the body is malformed, or cut off inside this part.
            RuntimeError: the next part was asked for already.
        """
        return PartChunks(self)

    async def read(self) -> bytes:
        """All of its content, at most ``MAX_FORM_MEMORY_SIZE`` bytes.

        Raises: as ``chunks``; RequestEntityTooLarge when it is larger.
        """
        pieces: list[bytes | bytearray] = []
        async for piece in self.chunks():
            if self._most is not None and self._part.bytes_received > self._most:
                raise field_too_large(self._most)
            keep_piece(pieces, piece)
        return b"".join(pieces)

    async def text(self) -> str:
        """All of its content as text; as ``read``."""
        return self._part.decode(await self.read())

    def __repr__(self) -> str:
        return f"<FormPart {self.name!r}>"


class PartChunks:
    """The content of one part; an object, so that a loop over it can be left without leaving a generator open."""

    def __init__(self, part: FormPart) -> None:
        self._part = part

    def __aiter__(self) -> PartChunks:
        return self

    async def __anext__(self) -> bytes:
        part = self._part
        if part._stream.current is not part._part:
            raise RuntimeError(f"the part {part.name!r} is gone: the next one was asked for before it was read")
        piece = await part._stream.next_piece()
        if piece is None:
            raise StopAsyncIteration
        return piece


class PartStream:
    """The parts of one body; knows whether the one that it is in has ended.

    What went wrong once is raised again: a loop that goes on after it must not end as if the form were complete.
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        self._events: AsyncGenerator[Part | bytes | None, None] | None = None
        self._is_inside = False
        self._is_reading = False
        self.current: Part | None = None
        """The one that can be read. Not its ``FormPart``, which holds this: that would be a reference cycle."""
        self._problem: Exception | None = None

    def __aiter__(self) -> PartStream:
        return self

    async def __anext__(self) -> FormPart:
        if self._events is None:
            self._start()
        while await self.next_piece() is not None:
            pass
        self.current = None
        part = await self._next_event()
        assert isinstance(part, Part)
        self._is_inside = True
        self.current = part
        return FormPart(part, self, self._request.limits.max_form_memory_size)

    async def next_piece(self) -> bytes | None:
        """The next piece of the part; None at its end, and from then on."""
        if not self._is_inside:
            return None
        event = await self._next_event()
        self._is_inside = event is not None
        assert not isinstance(event, Part)
        return event

    async def _next_event(self) -> Part | bytes | None:
        assert self._events is not None
        if self._problem is not None:
            raise again(self._problem)
        if self._is_reading:
            # No problem of the form: who was first goes on reading it.
            raise RuntimeError("the parts of the form are being read by another task already")
        self._is_reading = True
        try:
            return await anext(self._events)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            # SECURITY: test_a_cut_form_is_not_complete_for_who_goes_on_after_the_error
            self._problem = remember(error)
            raise
        finally:
            self._is_reading = False

    def _start(self) -> None:
        request = self._request
        content_type = find_header(request.scope["headers"], b"content-type")
        text = content_type.decode("latin-1") if content_type is not None else ""
        if parse_media_type(text)[0] != "multipart/form-data":
            raise not_a_form(content_type, "multipart/form-data")
        chunks = request.connection.stream("parts()")
        self._events = events = read_events(chunks, start_reader(request, text))
        # For a loop that is left early.
        request.on_close(events.aclose)


async def read_events(
    chunks: AsyncGenerator[bytes, None], reader: MultipartReader
) -> AsyncGenerator[Part | bytes | None, None]:
    try:
        async for chunk in chunks:
            for event in reader.feed(chunk):
                yield event
        reader.finish()
    finally:
        await chunks.aclose()


def start_reader(request: Any, content_type: str) -> MultipartReader:
    from microweb.multipart import MultipartReader

    limits = request.limits
    return MultipartReader(
        find_boundary(content_type, max_size=limits.max_boundary_size),
        max_parts=limits.max_form_parts,
        max_files=limits.max_form_files,
        max_headers=limits.max_part_headers,
        max_header_size=limits.max_part_header_size,
    )


def not_a_form(
    content_type: bytes | None, expected: str = "application/x-www-form-urlencoded or multipart/form-data"
) -> UnsupportedMediaType:
    came = content_type.decode("latin-1") if content_type is not None else "no Content-Type"
    return UnsupportedMediaType(f"Expected a form ({expected}), got {came}.")
