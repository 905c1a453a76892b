"""Files as answers: ``FileResponse``.

A ``FileResponse`` looks at its file once, when it is made. When it becomes the answer of a request it weighs
that request's conditions and ranges (``conditional.py``), so that middleware sees the 206 or 304 that is
sent. It opens the file only when bytes are to be sent, and reads them in threads of their own
(``filebody.py``). What the disk says before that is in ``disk.py``.
``static.py`` finds files by URL, ``sendfile.py`` by the names that a view gives; both answer with what is made here.

::

    made: 200 --returned by a view--> 200 | 206 | 304, or 412 and 416 are raised --send()--> sent
                                                   ^--the file was changed meanwhile--|
"""

# Not pathlib: the system calls want strings, and a path object costs as much as they do.
# ruff: noqa: PTH100, PTH117, PTH119

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from microweb.asgi import Send
from microweb.conditional import evaluate, http_date, if_range_holds, parse_range, quote_etag
from microweb.disk import answer_to, look_at
from microweb.errors import NotFound, PreconditionFailed
from microweb.filebody import BinaryFile, FileBody, FileChanged, Piece
from microweb.filetypes import guess_content_type
from microweb.framing import BODYLESS, without_body_headers
from microweb.incoming import Incoming
from microweb.mediatype import dump_options, with_charset
from microweb.requests import Request
from microweb.responses import HeaderItems
from microweb.streaming import StreamingResponse, tells_of_leaving, write
from microweb.watcher import until_disconnect

__all__ = ["FileResponse", "MaxAge", "content_type_of", "offers_pathsend"]

PATHSEND = "http.response.pathsend"

COMPRESSED = {
    "gzip": "application/gzip",
    "br": "application/octet-stream",
    "zstd": "application/zstd",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
}
"""What a file is that is sent as it lies there: ``site.tar.gz`` as ``application/x-tar`` would be a lie, and
with ``Content-Encoding: gzip`` browsers save it unpacked under its packed name."""

MaxAge = int | timedelta | Callable[[str | None], int | timedelta | None]


class FileResponse(StreamingResponse):
    """An answer whose body is a file: a path, or an object open for reading bytes.

    Ranges, conditions, HEAD and ``http.response.pathsend`` are seen to. A relative path starts in the working
    directory (``send_file`` looks beside the app). A file object is sent from where it stands, closed
    afterwards, and has no ETag and no Last-Modified unless they are given.

    ``etag`` True makes one of time and size; ``last_modified`` is a ``datetime`` or seconds since the epoch;
    ``max_age`` seconds, or a function that gives them for the path; None means ``SEND_FILE_MAX_AGE_DEFAULT``.
    Without ``conditional`` the whole is sent whatever the request asks. ``content_type`` is guessed from
    ``download_name`` or the path. ``stat_result`` spares a look at the file to one who just looked.

    A file that is changed after the answer has started breaks the connection if it became shorter;
    Content-Length is never a lie.

    >>> response = FileResponse(__file__, download_name="files.txt")
    >>> response.headers["content-type"], response.headers["content-disposition"]
    ('text/plain; charset=utf-8', 'inline; filename=files.txt')

    Raises:
        NotFound: there is no such file, or it is a directory or a device.
        Forbidden: the program has no permission to read there.
        ValueError: the file object gives text, or an option may not stand in a header.
        TypeError: an attachment has no name.
    """

    def __init__(
        self,
        path_or_file: str | os.PathLike[str] | BinaryFile,
        *,
        status: int = 200,
        headers: HeaderItems | None = None,
        content_type: str | None = None,
        download_name: str | None = None,
        as_attachment: bool = False,
        etag: bool | str = True,
        last_modified: datetime | float | None = None,
        max_age: MaxAge | None = None,
        conditional: bool = True,
        stat_result: os.stat_result | None = None,
    ) -> None:
        self.path: str | None = None
        """The absolute path, or None for a file object."""
        name = download_name
        if isinstance(path_or_file, str | os.PathLike):
            path = os.fspath(path_or_file)
            self.path = path if os.path.isabs(path) else os.path.abspath(path)
            seen = stat_result or look_at(self.path)
            body = FileBody(self.path, seen)
            size: int | None = seen.st_size
            name = name or os.path.basename(self.path)
        else:
            check_object(path_or_file)
            body = FileBody(path_or_file)
            size = body.measure()
        if as_attachment and not name:
            raise TypeError("an attachment of a file object needs a name: download_name=...")
        self._bytes = body
        self._size = size
        self._max_age = max_age
        self._max_ranges = 0
        self._length: int | None = None
        self._conditional = conditional
        super().__init__(body, status, headers, content_type or content_type_of(name or ""))
        own = self.headers
        if (as_attachment or download_name) and "content-disposition" not in own:
            # SECURITY: test_files.py::test_a_download_name_cannot_end_its_header
            disposition = "attachment" if as_attachment else "inline"
            own["content-disposition"] = dump_options(disposition, {"filename": name})
        if conditional and size is not None:
            own["accept-ranges"] = "bytes"
        if isinstance(etag, str):
            own["etag"] = quote_etag(etag)
        if last_modified is not None:
            own["last-modified"] = http_date(last_modified)
        self._makes_etag = etag is True and "etag" not in own
        self._makes_last_modified = "last-modified" not in own
        self._whole_type = self.content_type
        self._describe()
        self._plan_whole()

    # What is sent --------------------------------------------------------------------------------

    def _set_status(self, value: object) -> None:
        was_part = self._status == 206
        super()._set_status(value)
        if was_part and self._status != 206:
            # A part of a file is nothing but a 206: an error page that a handler sends is sent whole.
            self.headers.remove("content-range")
            self.content_type = self._whole_type
            self._plan_whole()

    def _describe(self) -> None:
        """Set the headers that tell one content of the file from another."""
        seen, own = self._bytes.seen, self.headers
        if seen is None:
            return
        if self._makes_etag:
            # Two codings of one file may have one size and, out of an archive, one time.
            coding = own.get("content-encoding")
            own["etag"] = f'"{seen.st_mtime_ns:x}-{seen.st_size:x}{f"-{coding}" if coding else ""}"'
        if self._makes_last_modified:
            try:
                own["last-modified"] = http_date(seen.st_mtime)
            except ValueError:
                own.remove("last-modified")  # A clock was wrong: no date can name the year.

    def _plan(self, pieces: list[Piece], length: int | None) -> None:
        self._bytes.plan(pieces)
        self._length = length
        if length is None:
            self.headers.remove("content-length")
        else:
            self.headers["content-length"] = length

    def _plan_whole(self) -> None:
        self._plan([] if self._size == 0 else [(0, self._size)], self._size)

    def adopt(self, request: Incoming, source: str) -> None:
        """Become the answer of ``request``: a 206 or 304 if it asks for that.

        Raises:
            PreconditionFailed: a condition of the request does not hold.
            RequestedRangeNotSatisfiable: the file has none of the ranges that the request asks for.
        """
        super().adopt(request, source)
        if self._bytes.is_foreign:
            self._bytes.run = request.worker.run
            self._bytes.release = request.worker.run_firmly
        limits = request.app.limits
        if "cache-control" not in self.headers:
            max_age = self._max_age(self.path) if callable(self._max_age) else self._max_age
            if max_age is None:
                max_age = limits.send_file_max_age_default
            self.headers["cache-control"] = cache_control(max_age)
        self._max_ranges = limits.max_ranges
        self._decide(request)

    def _decide(self, request: Incoming) -> None:
        """Weigh the conditions first, then the range (RFC 9110 §13.2.2); raises as ``adopt``."""
        method: str = request.scope.get("method", "")
        if not self._conditional or self._status != 200 or method not in ("GET", "HEAD"):
            return
        asked, own = request.headers, self.headers
        etag, last_modified = own.get("etag"), self.last_modified
        verdict = evaluate(
            method,
            etag=etag,
            last_modified=last_modified,
            if_match=asked.get("if-match"),
            if_none_match=asked.get("if-none-match"),
            if_modified_since=asked.get("if-modified-since"),
            if_unmodified_since=asked.get("if-unmodified-since"),
        )
        if verdict == 412:
            raise PreconditionFailed
        if verdict == 304:
            self._status = 304
            return
        ranges = asked.get("range")
        # §14.2: Range means something to GET only.
        if ranges is None or method != "GET" or self._size is None:
            return
        if not if_range_holds(asked.get("if-range"), etag, last_modified):
            return
        slices = parse_range(ranges, self._size, max_ranges=self._max_ranges)
        if slices is not None:
            self._plan_slices(slices, self._size)

    def _plan_slices(self, slices: list[tuple[int, int]], size: int) -> None:
        self._status = 206
        if len(slices) == 1:
            start, stop = slices[0]
            self.headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
            self._plan([(start, stop)], stop - start)
            return
        # §15.3.7.2: several parts are a multipart/byteranges body.
        boundary = os.urandom(16).hex()
        pieces: list[Piece] = []
        length = 0
        for start, stop in slices:
            head = (
                f"--{boundary}\r\ncontent-type: {self.content_type}\r\n"
                f"content-range: bytes {start}-{stop - 1}/{size}\r\n\r\n"
            ).encode("latin-1")
            if pieces:
                head = b"\r\n" + head
            pieces += [head, (start, stop)]
            length += len(head) + stop - start
        tail = f"\r\n--{boundary}--\r\n".encode("ascii")
        self.headers["content-type"] = f"multipart/byteranges; boundary={boundary}"
        self._plan([*pieces, tail], length + len(tail))

    def read_ahead(self) -> None:
        """Open the file and read its first chunk here and now, for a caller that is in a thread.

        Raises:
            NotFound, Forbidden, OSError: as ``send``.
        """
        try:
            self._bytes.begin_here()
        except FileChanged:
            pass  # send() will see it too, and look again.
        except OSError as error:
            raise answer_to(error) from error

    def _replace(self, body: bytes) -> None:
        super()._replace(body)
        # What was said of the file, or of a part of it, is not so of these bytes.
        self._makes_etag = self._makes_last_modified = self._conditional = False
        if self._status == 206:
            self._status = 200
            self.content_type = self._whole_type
        for name in ("accept-ranges", "content-range", "etag", "last-modified"):
            self.headers.remove(name)

    def add_etag(self, *, overwrite: bool = False, weak: bool = False) -> None:
        """Do nothing: what tag a file has is said when its answer is made."""

    # Sending -------------------------------------------------------------------------------------

    async def send(self, request: Incoming, send: Send) -> None:
        """Write the answer; the file is closed when this returns or raises.

        Raises:
            NotFound: the file went away before the answer started.
            ClientDisconnect: the client left before the end.
            OSError: the file could not be read to its end; the connection must break.
        """
        body = self._bytes
        try:
            if self.iterable is not body:
                await self._send_wrapped(request, send)
            elif self._status in BODYLESS or request.scope["method"] == "HEAD":
                await self._send_head(request, send)
            elif self._status == 200 and self.path is not None and offers_pathsend(request):
                await self._start(request, send)
                await write(send, {"type": PATHSEND, "path": self.path})
            else:
                await self._send_bytes(request, send)
        finally:
            if not body.is_foreign:
                body.close()

    async def _send_bytes(self, request: Incoming, send: Send) -> None:
        body = self._bytes
        await self._begin(request)
        if self._status in BODYLESS:
            await self._send_head(request, send)
            return
        await self._start(request, send)
        if body.ended or tells_of_leaving(request):
            await self._send_chunks(send)
        else:
            # Before 2.4 nothing else says that the client is gone: a large file would be read for nobody.
            assert isinstance(request, Request)
            await until_disconnect(request, partial(self._send_chunks, send))

    async def _send_chunks(self, send: Send) -> None:
        more = True
        async for chunk in self._bytes:
            more = not self._bytes.ended
            await write(send, {"type": "http.response.body", "body": chunk, "more_body": more})
        if more:
            await write(send, {"type": "http.response.body", "body": b""})

    async def _send_wrapped(self, request: Incoming, send: Send) -> None:
        """Send what a layer makes of our bytes, whose length only that layer can know."""
        if request.scope["method"] != "HEAD" and self._status not in BODYLESS:
            await self._begin(request)
        if self.headers.get("content-length", type=int) == self._length:
            self.headers.remove("content-length")
        await super().send(request, send)

    async def _send_head(self, request: Incoming, send: Send) -> None:
        await self._start(request, send)
        await write(send, {"type": "http.response.body", "body": b""})

    async def _start(self, request: Incoming, send: Send) -> None:
        if self._length is not None:
            self.headers["content-length"] = self._length  # Whatever was said of it since it was planned.
        status, lines = self._status, self.headers.raw
        if status in BODYLESS:
            lines = without_body_headers(lines, status)
        request._started = True
        await write(send, {"type": "http.response.start", "status": status, "headers": lines})

    async def _begin(self, request: Incoming) -> None:
        """Open the file and read its first chunk; if it was changed since it was looked at, decide anew.

        Raises: as ``send`` and ``adopt``.
        """
        body = self._bytes
        for _ in range(3):
            try:
                await body.begin()
            except FileChanged as change:
                self._look_again(request, change.seen)
            except OSError as error:
                raise answer_to(error) from error
            else:
                return
        raise OSError(f"{self.path} is written to all the time; replace a file that is served as a whole")

    def _look_again(self, request: Incoming, seen: os.stat_result) -> None:
        if not stat.S_ISREG(seen.st_mode):
            raise NotFound
        if self._status == 206:
            self._status = 200
            self.headers.remove("content-range")
            self.content_type = self._whole_type
        self._bytes.seen = seen
        self._size = seen.st_size
        self._describe()
        self._plan_whole()
        self._decide(request)


def check_object(file: object) -> None:
    """Refuse what is no file object of bytes.

    Raises:
        ValueError: it cannot be read, gives text, or is to be awaited.
    """
    if not hasattr(file, "read") or isinstance(file, io.TextIOBase) or hasattr(file, "__aiter__"):
        raise ValueError(
            f"a file to send is a path or an object open for reading bytes, not {type(file).__name__}; "
            "bytes go into io.BytesIO(...), what is read with await into a StreamingResponse"
        )


def content_type_of(filename: str) -> str:
    """The Content-Type of a file by its name."""
    media_type, coding = guess_content_type(filename)
    if coding is not None:
        return COMPRESSED.get(coding, "application/octet-stream")
    return with_charset(media_type or "application/octet-stream")


def cache_control(max_age: int | timedelta | None) -> str:
    """The Cache-Control of a file that stays fresh for ``max_age``; without one, caches ask each time.

    Raises:
        ValueError: it is negative.
    """
    if max_age is None:
        return "no-cache"
    seconds = int(max_age.total_seconds() if isinstance(max_age, timedelta) else max_age)
    if seconds < 0:
        raise ValueError(f"max_age is 0 seconds or more, not {seconds!r}")
    return f"public, max-age={seconds}" if seconds else "no-cache"


def offers_pathsend(request: Incoming) -> bool:
    """Whether the server sends a file by itself when it is told the path."""
    extensions = request.scope.get("extensions")
    return extensions is not None and PATHSEND in extensions
