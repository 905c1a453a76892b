"""The push parser of multipart forms: chunks of a body in, its parts out.

A face of the ``multipart`` package that makes the verdict on a body the same however it is cut into chunks,
counts parts and files apart, and puts the keys of the config into the error texts. Loaded with the first
multipart body; ``formreading.py`` calls it.

What ``feed`` gives, in this order for each part::

    Part    bytes (any number, none empty)    None
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from microweb.errors import BadRequest
from microweb.forms import Part, too_many_files, too_many_parts

__all__ = ["MultipartReader"]

# Untyped, and where python-multipart is installed too its package of the same name hides this one from type
# checkers (at run time it steps aside).
package: Any = import_module("multipart")

HEADER_LIMITS = {
    "Maximum segment header length exceeded": (
        "A header of a part of the form is longer than {} bytes",
        "size",
    ),
    "Maximum segment header count exceeded": ("A part of the form has more than {} headers", "count"),
}
EPILOGUE = "Unexpected data after end of multipart stream"
"""What the parser says of bytes after the closing boundary, which mean nothing (RFC 2046 §5.1.1)."""


def create_segment(parser: Any, headerlist: list[tuple[str, str]]) -> Part:
    """Read the headers of a part, in linear time; the package's parser leaves this to its subclasses."""
    return Part(headerlist)


def add_header_line(parser: Any, line: bytes) -> None:
    """Look at a header before the package's parser does, which strips its name."""
    # In one chunk a lone LF passes for part of the name or the value, in two it does not.
    if b"\n" in line or b"\r" in line or b"\0" in line:
        raise BadRequest("A header of a part of the form holds a control character.")
    package.PushMultipartParser._on_segment_headerline(parser, line)


Parser: Any = type(
    "Parser",
    (package.PushMultipartParser,),
    {"_create_segment": create_segment, "_on_segment_headerline": add_header_line},
)


class MultipartReader:
    """Reads one multipart body. ``feed`` every chunk, then ``finish``.

    >>> reader = MultipartReader(b"x")
    >>> body = b'--x\\r\\nContent-Disposition: form-data; name="a"\\r\\n\\r\\nhello\\r\\n--x--\\r\\n'
    >>> list(reader.feed(body))
    [<Part 'a'>, b'hello', None]
    >>> reader.finish()
    """

    def __init__(
        self,
        boundary: bytes,
        *,
        max_parts: int | None = 1000,
        max_files: int | None = 100,
        max_headers: int = 8,
        max_header_size: int = 4224,
    ) -> None:
        # Strict refuses folded headers, each line of which would cost as much as all before. The rest of what
        # it refuses depends on the chunks, and is decided here.
        self._parser = Parser(boundary, max_header_count=max_headers, max_header_size=max_header_size, strict=True)
        self._ended = False
        self._boundary = b"--" + boundary
        self._delimiter = b"\r\n--" + boundary
        self._part: Part | None = None
        # As if a line had ended before the body: the first delimiter may stand at its very beginning.
        self._preamble: bytes | None = b"\r\n"
        self._held = b""
        self._max_parts = max_parts
        self._max_files = max_files
        self._limits = {"size": max_header_size, "count": max_headers}
        self._parts = 0
        self._files = 0

    def feed(self, chunk: bytes) -> Iterator[Part | bytes | None]:
        """What ``chunk`` adds.

        Raises:
            BadRequest: the body is malformed, or has too many or too long headers.
            RequestEntityTooLarge: there are too many parts or files.
        """
        if self._ended:
            return
        if self._preamble is not None:
            chunk = self._skip_preamble(chunk)
        if self._held:
            chunk, self._held = self._held + chunk, b""
        if chunk.endswith(b"\r"):
            # It may be half a line end: a header line would be measured with it, and refused for one byte.
            chunk, self._held = chunk[:-1], b"\r"
        if not chunk:
            return
        if self._part is not None and self._is_content(chunk):
            self._part.bytes_received += len(chunk)
            yield chunk
            return
        try:
            for event in self._parser.parse(chunk):
                if isinstance(event, Part):
                    self._count(event)
                    # One with a length of its own is left to the parser, which checks it.
                    self._part = None if "content-length" in event.headers else event
                elif event is None:
                    self._part = None
                yield event
        except package.MultipartError as error:
            # The parser keeps it, and it keeps the parser: a reference cycle.
            self._parser.error = None
            if str(error) != EPILOGUE:
                raise self._as_answer(error) from None
            self._ended = True

    def finish(self) -> None:
        """Check that the body has come to its end.

        Raises:
            BadRequest: it is cut off, or has no part at all where one was promised.
        """
        if self._preamble is not None:
            raise BadRequest("The form is cut off: its boundary never came.")
        if not self._ended and not self._is_complete():
            raise BadRequest("The form is cut off: its closing boundary never came.")

    def _is_complete(self) -> bool:
        # By what it says to one more byte. Its close() would tell too, but leaves a reference cycle behind that
        # holds the whole request.
        try:
            for _ in self._parser.parse(b"-"):
                pass
        except package.MultipartError as error:
            self._parser.error = None
            return str(error) == EPILOGUE
        return False

    def _skip_preamble(self, chunk: bytes) -> bytes:
        # Done here, for the parser's verdict on what stands before the first boundary depends on the chunks.
        assert self._preamble is not None
        seen = self._preamble + chunk
        start = seen.find(self._boundary)
        if start < 0:
            self._preamble = seen[-len(self._boundary) - 1 :]
            return b""
        if not seen.startswith(b"\r\n", start - 2):
            raise BadRequest("The form is malformed: its first boundary is not at the beginning of a line.")
        self._preamble = None
        return seen[start:]

    def _is_content(self, chunk: bytes) -> bool:
        """Whether all of ``chunk`` belongs to the part that the parser is in.

        PERF(bodies.multipart-1MiB): asked from behind, a chunk without a boundary is found to have none in a sixth
        of the time; the parser asks from the front, which takes more time than everything else about a large
        file.
        """
        delimiter = self._delimiter
        if self._parser._buffer or chunk.rfind(delimiter) >= 0:
            return False
        start = chunk.rfind(b"\r", max(0, len(chunk) - len(delimiter) + 1))
        return start < 0 or not delimiter.startswith(chunk[start:])

    def _count(self, part: Part) -> None:
        self._parts += 1
        if self._max_parts is not None and self._parts > self._max_parts:
            raise too_many_parts(self._max_parts)
        if part.filename is not None:
            self._files += 1
            if self._max_files is not None and self._files > self._max_files:
                raise too_many_files(self._max_files)

    def _as_answer(self, error: Exception) -> BadRequest:
        if isinstance(error, package.ParserLimitReached):
            text, limit = HEADER_LIMITS[str(error)]
            key = "MAX_PART_HEADER_SIZE" if limit == "size" else "MAX_PART_HEADERS"
            return BadRequest(f"{text.format(self._limits[limit])} ({key}).")
        return BadRequest(f"The form is malformed: {error.args[0]}.")
