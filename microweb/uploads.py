"""Uploaded files: kept in memory while they are small, on disk beyond that, gone when the request is over.

``UploadFile`` is what coroutine code gets; ``SyncUploadFile`` is the same file with Flask's methods, for
``def`` views. Both are faces of one state (they share their ``__dict__``). The disk is only touched in
threads. ``formreading.py`` makes and fills them and closes them at the end of the request, whatever happened.

State of a file::

    receiving --last byte--> complete (read from the start) --end of the request--> closed (content gone)
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from typing import IO, TYPE_CHECKING

from microweb.errors import BadRequest, HTTPException
from microweb.filenames import secure_filename
from microweb.headers import RequestHeaders
from microweb.mediatype import parse_media_type
from microweb.workers import release_blocking, run_blocking

__all__ = ["SyncUploadFile", "UploadFile", "keep_piece"]

CHUNK = 65536
WRITE_SIZE = 262_144
"""Bytes that are collected before a thread writes them: a hop for each message would cost more."""

Target = str | os.PathLike[str]

logger = logging.getLogger("microweb")


class Upload:
    """What both faces of an uploaded file share.

    ``filename`` is what the client wrote, and safe for nothing but showing it; empty when a form was sent
    without choosing a file, and then the upload is false.
    """

    def __init__(
        self, name: str, filename: str, content_type: str | None, headers: RequestHeaders, spool_size: int
    ) -> None:
        self.name = name
        """The field that it was sent as."""
        self.filename = filename
        self.content_type = content_type
        """The part's Content-Type as sent; the client's word, not a fact."""
        self.headers = headers
        """The headers of its part of the form."""
        self.size = 0
        """Bytes received."""
        self._spool_size = spool_size
        self._pieces: list[bytes | bytearray] = []
        """What has not gone into the file: all of it, if it is small and nobody has looked yet."""
        self._waiting = 0
        self._on_disk = False
        self._opened: IO[bytes] | None = None
        self._is_closed = False

    @property
    def mimetype(self) -> str:
        """The media type without its parameters, lower case; ``""`` if none was sent."""
        return parse_media_type(self.content_type or "")[0]

    @property
    def closed(self) -> bool:
        """Whether its content is gone."""
        return self._is_closed

    @property
    def _file(self) -> IO[bytes]:
        """The content as a file. What is in memory becomes one when it is first asked for: one copy, of any
        size."""
        if self._opened is None:
            self._opened = BytesIO(b"".join(self._pieces))
            self._pieces = []
            if self._is_closed:
                self._opened.close()
        return self._opened

    def __bool__(self) -> bool:
        return bool(self.filename)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.filename!r}, {self.size} bytes>"

    # Receiving ---------------------------------------------------------------------------------

    async def _receive(self, chunk: bytes) -> None:
        self.size += len(chunk)
        keep_piece(self._pieces, chunk)
        if self.size > self._spool_size:
            self._on_disk = True
            self._waiting += len(chunk)
            if self._waiting >= WRITE_SIZE:
                await self._write_out()

    async def _complete(self) -> None:
        if self._on_disk:
            await self._write_out()
            self._file.seek(0)

    async def _write_out(self) -> None:
        chunks, self._pieces, self._waiting = self._pieces, [], 0
        try:
            await run_blocking(self._write, chunks)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            logger.error("no room on disk for an upload: %s", error)
            raise HTTPException(507, "There is no room for this upload.") from None

    def _write(self, chunks: list[bytes | bytearray]) -> None:
        if self._opened is None:
            from tempfile import TemporaryFile

            # Without a name, so that nothing is left even if the process is killed.
            self._opened = TemporaryFile(prefix="microweb-upload-")  # noqa: SIM115 - the request closes it
        self._opened.writelines(chunks)
        # A full disk is met here, not when somebody reads.
        self._opened.flush()

    def _copy(self, target: IO[bytes]) -> None:
        place = self._file.tell()
        self._file.seek(0)
        while chunk := self._file.read(WRITE_SIZE):
            target.write(chunk)
        self._file.seek(place)

    def _save(self, target: Target) -> str:
        path = self._choose_path(target)
        # Beside its place, then moved: a copy that fails halfway is never taken for the file, one that is
        # replaced is whole until then, and a symlink at that place is replaced, not followed.
        partial = os.path.join(os.path.dirname(path), f".{os.urandom(8).hex()}.part")  # noqa: PTH118, PTH120
        try:
            with open(partial, "xb") as file:  # noqa: PTH123
                self._copy(file)
            os.replace(partial, path)  # noqa: PTH105
        except BaseException:
            if os.path.exists(partial):  # noqa: PTH110
                os.unlink(partial)  # noqa: PTH108
            raise
        return path

    def _choose_path(self, target: Target) -> str:
        # SECURITY: test_uploads.py::test_save_never_leaves_its_folder
        path = os.fspath(target)
        # First: a name with a slash at its end would make the path that of a folder, wherever that is.
        if self.filename and any(path.endswith(name) and not is_plain(name) for name in written(self.filename)):
            raise BadRequest(f"The file of the field {self.name!r} has a name that is no plain file name.")
        if path.endswith(("/", os.sep)) or os.path.isdir(path):  # noqa: PTH112
            name = secure_filename(self.filename, windows=True)
            if not name:
                raise BadRequest(f"The file of the field {self.name!r} has no usable name.")
            return os.path.join(path, shorten(name))  # noqa: PTH118
        return path

    def _close(self) -> None:
        self._pieces = []
        self._is_closed = True
        try:
            if self._opened is not None:
                self._opened.close()
        except OSError:
            pass  # What a full disk did not take is written again by close(); nobody wants it any more.


class UploadFile(Upload):
    """A file that came with a form, in coroutine code.

    It is true if a file was chosen. Its content is gone when the request is over.

    >>> from microweb import App, UploadFile
    >>> app = App(__name__)
    >>> @app.post("/photo")
    ... async def receive(photo: UploadFile):
    ...     path = await photo.save("photos/")
    ...     return {"saved as": path, "bytes": photo.size}
    """

    async def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes from where the last read ended; all that is left if it is negative.

        Raises:
            ValueError: the upload is closed, as all are when their request is over.
        """
        if self._on_disk:
            return await run_blocking(self._file.read, size)
        return self._file.read(size)

    async def seek(self, position: int) -> None:
        """Let the next read begin at ``position``, counted from the start."""
        self._file.seek(position)

    def chunks(self, size: int = CHUNK) -> AsyncIterator[bytes]:
        """The content from its start, in pieces of at most ``size`` bytes."""
        self._file.seek(0)
        return UploadChunks(self, size)

    async def save(self, target: Target | IO[bytes]) -> str:
        """Write all of it to ``target``; returns the path, ``""`` for an open file.

        A folder (one that exists, or ends with a slash) gets it under its ``secure_filename``. A path is
        replaced, or made, in one step when all is written.

        Raises:
            BadRequest: the path ends with the client's file name, and that could lead out of its folder; or
                the folder was named and nothing is left of the client's name.
            OSError: it cannot be written there.
        """
        if isinstance(target, str | os.PathLike):
            return await run_blocking(self._save, target)
        await run_blocking(self._copy, target)
        return ""

    async def close(self) -> None:
        """Drop the content now instead of at the end of the request."""
        if self._on_disk:
            await release_blocking(self._close)
        else:
            self._close()


class SyncUploadFile(Upload):
    """A file that came with a form, in a ``def`` view: Flask's ``FileStorage``.

    >>> from microweb import App, SyncRequest
    >>> app = App(__name__)
    >>> @app.post("/photo")
    ... def receive(request: SyncRequest):
    ...     photo = request.files["photo"]
    ...     if not photo:
    ...         return "no file was chosen", 400
    ...     return photo.save("photos/")
    """

    @classmethod
    def of(cls, upload: UploadFile) -> SyncUploadFile:
        """The face of ``upload`` for ``def`` code; no copy."""
        face = object.__new__(cls)
        face.__dict__ = upload.__dict__
        return face

    @property
    def stream(self) -> IO[bytes]:
        """The content as a binary file."""
        return self._file

    @property
    def content_length(self) -> int:
        """The same as ``size``, under Flask's name."""
        return self.size

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes from where the last read ended; all that is left if it is negative."""
        return self._file.read(size)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Let the next read begin elsewhere."""
        return self._file.seek(position, whence)

    def tell(self) -> int:
        """Where the next read begins."""
        return self._file.tell()

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """The content from its start, in pieces of at most ``size`` bytes."""
        self._file.seek(0)
        while chunk := self._file.read(size):
            yield chunk

    def save(self, target: Target | IO[bytes]) -> str:
        """Write all of it to ``target``; see ``UploadFile.save``."""
        if isinstance(target, str | os.PathLike):
            return self._save(target)
        self._copy(target)
        return ""

    def close(self) -> None:
        """Drop the content now instead of at the end of the request."""
        self._close()

    def __iter__(self) -> Iterator[bytes]:
        """The content line by line."""
        return iter(self._file)

    if not TYPE_CHECKING:  # a misspelled attribute is still found

        def __getattr__(self, name):
            # What else a binary file has, as in Flask: `readlines()`, and what `io.TextIOWrapper(photo)` asks for.
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(self._file, name)


class UploadChunks:
    """The rest of a file; an object, so that a loop over it can be left without leaving a generator open."""

    def __init__(self, upload: UploadFile, size: int) -> None:
        self._upload = upload
        self._size = size

    def __aiter__(self) -> UploadChunks:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._upload.read(self._size)
        if not chunk:
            raise StopAsyncIteration
        return chunk


SHORT = 512
"""Bytes of a piece that is not worth an object of its own, which takes about fifty more."""
HEAP = 65_536
"""Bytes of short pieces that are put together: it is copied as it grows, so it stays small beside what is read."""


def keep_piece(pieces: list[bytes | bytearray], piece: bytes) -> None:
    """Add a piece of a content to those that came before; the content is ``b"".join(pieces)``."""
    # SECURITY: test_a_form_that_comes_in_tiny_pieces_takes_no_more_memory: some servers hand on each chunk of a chunked
    # body, and clients choose how long those are.
    if len(piece) >= SHORT or not pieces:
        pieces.append(piece)
    elif isinstance(pieces[-1], bytearray) and len(pieces[-1]) < HEAP:
        pieces[-1] += piece
    else:
        pieces.append(bytearray(piece))


LONGEST_NAME = 255
"""Bytes in a file name, on every common file system."""


def written(name: str) -> tuple[str, str]:
    """A client's name as it stands at the end of a path that it was joined to, by ``os.path`` and by ``pathlib``."""
    from pathlib import PurePath

    # "..//x", ".././x" and "../x/" become "../x" on the way through a Path.
    return name, str(PurePath(name))


def is_plain(name: str) -> bool:
    """Whether a client's name stays in the folder that it is joined to, and can be a name there at all."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    return (
        name not in (".", "..")
        and not set(name) & set("/\\\0")
        and not (os.name == "nt" and ":" in name)
        and len(encoded) <= LONGEST_NAME
    )


def shorten(name: str) -> str:
    """Cut an ASCII file name to what file systems take; its ending stays."""
    if len(name) <= LONGEST_NAME:
        return name
    stem, ending = os.path.splitext(name)  # noqa: PTH122
    return (stem + ending)[:LONGEST_NAME] if len(ending) > 32 else stem[: LONGEST_NAME - len(ending)] + ending
