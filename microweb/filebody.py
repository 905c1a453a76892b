"""The bytes of a file, or of some parts of it, read in threads as they are asked for.

It knows files and slices, no headers and no requests; ``files.py`` decides what is sent and iterates.

::

    untouched --first read--> open --last piece read--> ended    (the file is closed with the last read)
    any       --aclose()----> ended
    untouched --first read finds another file under the path--> untouched    (FileChanged)
"""

from __future__ import annotations

import io
import os
import stat
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from microweb.workers import release_blocking, run_blocking

__all__ = ["CHUNK", "BinaryFile", "FileBody", "FileChanged", "Piece"]

CHUNK = 256 * 1024
"""The most bytes of a file that are read at once, and held in memory for one request.

A hop to a thread takes some 40 us, in which a page cache gives about as much; aiohttp reads 256 KiB too.
"""

Piece = bytes | tuple[int, int | None]
"""Bytes to send as they are, or where a part of the file begins and ends; None is wherever it ends."""

# Without O_NONBLOCK, opening a FIFO that took the file's place would wait for ever for a writer.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class BinaryFile(Protocol):
    """What a file object must have: those that can also ``seek`` and ``tell`` can be sent in parts."""

    def read(self, size: int, /) -> bytes | None:
        """Up to ``size`` bytes; none at the end."""


class FileChanged(Exception):
    """Since it was looked at, the file has been replaced or written to; ``seen`` is what it is now."""

    def __init__(self, path: str, seen: os.stat_result) -> None:
        super().__init__(f"{path} was changed while it was about to be sent")
        self.seen = seen


class FileBody:
    """An async iterator over the ``pieces`` of a file, in chunks of at most ``CHUNK`` bytes.

    ``source`` is a path or an object with ``read``. A path is opened at the first read and must still be the
    file that ``seen`` describes. An object is read where it may be read: in memory at once, a file on disk in
    the threads for files, anything else by ``run``, which its owner sets to the request's own thread.

    Raises:
        FileChanged: from the first read: the path leads to another file, or its content was changed.
        OSError: the file cannot be read, or ends before its pieces do.
    """

    __slots__ = ("_ahead", "_file", "_path", "_position", "is_foreign", "pieces", "release", "run", "seen", "start")

    def __init__(self, source: str | BinaryFile, seen: os.stat_result | None = None) -> None:
        self.pieces: deque[Piece] = deque()
        self.seen = seen
        self.start = 0
        """Where the content begins: a file object is sent from where it stands."""
        self.run: Callable[..., Awaitable[Any]] = run_blocking
        self.release: Callable[..., Awaitable[Any]] = release_blocking
        """As ``run``, and not given up when the request is cancelled."""
        self.is_foreign = False
        """Whether only the thread of its request may be used with it: a sqlite3 blob refuses every other."""
        self._ahead: bytes | None = None
        self._position: int | None = None
        self._path: str | None = None
        self._file: Any = None
        if isinstance(source, str):
            self._path = source
            return
        self._file = source
        if isinstance(source, io.BytesIO):
            self.run = run_here
        elif not isinstance(source, io.RawIOBase | io.BufferedIOBase) or not source.seekable():
            self.is_foreign = True

    def measure(self) -> int | None:
        """The number of bytes from where a file object stands to its end; None if it cannot tell.

        For objects only; touches the file.
        """
        file = self._file
        if not hasattr(file, "seek") or not hasattr(file, "tell"):
            return None
        if hasattr(file, "seekable") and not file.seekable():
            return None
        self.start = file.tell()
        file.seek(0, os.SEEK_END)
        end: int = file.tell()
        file.seek(self.start)
        return max(end - self.start, 0)

    def plan(self, pieces: Iterable[Piece]) -> None:
        """Give out these pieces, from the start; for a path, also when something was read already."""
        self._ahead = None
        self.pieces = deque(pieces)

    @property
    def ended(self) -> bool:
        """Whether everything was given out or is in the chunk that was read ahead."""
        return not self.pieces

    async def begin(self) -> None:
        """Open the file and read the first chunk, so that what can fail fails before an answer starts.

        Raises: as the class says.
        """
        if self._ahead is None and self.pieces:
            self._ahead = await self.run(self.read)

    def begin_here(self) -> None:
        """``begin``, for one who is in a thread already."""
        if self._ahead is None and self.pieces:
            self._ahead = self.read()

    def __aiter__(self) -> FileBody:
        return self

    async def __anext__(self) -> bytes:
        if self._ahead is not None:
            chunk, self._ahead = self._ahead, None
        elif self.pieces:
            chunk = await self.run(self.read)
        else:
            raise StopAsyncIteration
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def read(self) -> bytes:
        """The next chunk; in a thread. It is as long as the pieces allow, so that small ones share a hop."""
        file = self._file
        if file is None:
            file = self._open()
        chunks: list[bytes] = []
        room = CHUNK
        while self.pieces and room > 0:
            piece = self.pieces[0]
            if isinstance(piece, bytes):
                chunk = piece
                self.pieces.popleft()
            elif piece[1] is None:
                chunk = checked(file.read(room))
                if not chunk:
                    self.pieces.popleft()
                chunks.append(chunk)
                break  # A pipe gives what it has: what came may not wait for what will come.
            else:
                chunk = self._read_part(file, piece[0], piece[1], room)
            chunks.append(chunk)
            room -= len(chunk)
        if not self.pieces:
            self.close()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _read_part(self, file: Any, start: int, stop: int, room: int) -> bytes:
        if self._position != start:
            file.seek(self.start + start)
        chunk = checked(file.read(min(room, stop - start)))
        if not chunk:
            # Content-Length is out: only a broken connection tells the client that this is not all.
            raise OSError(f"{self._path or 'the file object'} ended {stop - start} bytes before it should")
        self._position = start = start + len(chunk)
        if start < stop:
            self.pieces[0] = (start, stop)
        else:
            self.pieces.popleft()
        return chunk

    def _open(self) -> Any:
        path, seen = self._path, self.seen
        assert path is not None  # A file object is there from the start.
        assert seen is not None
        descriptor = os.open(path, FLAGS)
        try:
            now = os.fstat(descriptor)
            if not is_same(seen, now):
                raise FileChanged(path, now)
            # Kept here, not returned: if the request is cancelled now, nobody takes what this thread returns.
            self._file = open(descriptor, "rb", buffering=0)  # noqa: SIM115, PTH123 - closed by close()
        except BaseException:
            os.close(descriptor)
            raise
        self._position = 0
        return self._file

    def close(self) -> None:
        """Close the file. Blocks no longer than ``close`` of the file does."""
        file, self._file = self._file, None
        self.pieces.clear()
        if hasattr(file, "close"):
            file.close()

    async def aclose(self) -> None:
        """Close the file, an object in the thread where it was read. Harmless when it is closed."""
        self._ahead = None
        if self.is_foreign and self._file is not None:
            await self.release(self.close)
        else:
            self.close()


async def run_here(function: Callable[[], Any]) -> Any:
    """What reading from memory needs instead of a thread."""
    return function()


def checked(chunk: object) -> bytes:
    """What ``read`` of a file object gave, as bytes; None is nothing."""
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, bytearray | memoryview):
        return bytes(chunk)
    if chunk is None:
        return b""
    raise TypeError(f"a file that is sent gives bytes when it is read, not {type(chunk).__name__}")


def is_same(seen: os.stat_result, now: os.stat_result) -> bool:
    """Whether both describe one content: the same regular file, not written to since."""
    return (
        seen.st_mtime_ns == now.st_mtime_ns
        and seen.st_size == now.st_size
        and seen.st_ino == now.st_ino
        and seen.st_dev == now.st_dev
        and stat.S_ISREG(now.st_mode)
    )
