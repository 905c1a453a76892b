"""Content codings of request bodies: gzip, deflate, br and zstd, undone piece by piece (RFC 9110 §8.4.1).

Bytes in, bytes out. It counts nothing: the caller limits what comes out, and each piece is small enough
for it to stop in time. Only bodies that come in are decoded here; the answers that go out are compressed
by ``middleware/compress.py``. ``connection.py`` calls it where ``DECODE_REQUEST_BODIES`` is on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from microweb.errors import BadRequest, UnsupportedMediaType

__all__ = ["Decoder", "known_codings", "make_decoder"]

PIECE = 65536
"""The most bytes that are decoded, and (but for brotli, which gives half as many again) come out, in one go."""

WINDOW_LOG = 23
"""8 MiB: what RFC 8878 §3.1.1.1.2 asks every decoder to have, and RFC 9659 allows an encoder to need."""


class Decoder:
    """Undoes one coding. ``feed`` every chunk as it comes, then ``finish``.

    >>> import gzip
    >>> decoder = make_decoder("gzip")
    >>> list(decoder.feed(gzip.compress(b"hello")))
    [b'hello']
    >>> decoder.finish()
    """

    def __init__(self, coding: str) -> None:
        self.coding = coding
        self._start = CODECS[coding]
        self._decompress: Callable[[bytes], bytes] | None = None
        self._look: Callable[[], tuple[bool, bytes]] = lambda: (False, b"")
        self._head = b""
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What ``chunk`` adds to the decoded body, in pieces.

        Raises:
            BadRequest: this is not the coding it is said to be, or something follows its end.
        """
        # In slices, for a codec copies what it has not read of its input each time it is asked for more.
        # SECURITY: test_contentcoding.py::test_a_bomb_is_decoded_in_linear_time
        for start in range(0, len(chunk), PIECE):
            data = chunk[start : start + PIECE]
            if self._decompress is None:
                # Two bytes tell zlib's deflate from the bare one.
                self._head += data
                if self.coding == "deflate" and len(self._head) < 2:
                    continue
                self._decompress, self._look = self._start(self._head)
                data, self._head = self._head, b""
            if self._ended:
                raise self._bad_data()
            try:
                piece = self._decompress(data)
                while piece:
                    yield piece
                    piece = self._decompress(b"")
            except BadRequest:
                raise
            except Exception:  # noqa: BLE001 - each codec has an error class of its own
                raise self._bad_data() from None
            self._ended, rest = self._look()
            if rest:
                raise self._bad_data()

    def finish(self) -> None:
        """Check that the body has come to its end. An empty body was not encoded at all.

        Raises:
            BadRequest: it is cut off.
        """
        if not self._ended and (self._head or self._decompress is not None):
            raise BadRequest(f"The body is cut off: its {self.coding} coding has no end.")

    def _bad_data(self) -> BadRequest:
        return BadRequest(f"The body is not what its Content-Encoding says: bytes that are no {self.coding}.")


Codec = tuple[Callable[[bytes], bytes], Callable[[], tuple[bool, bytes]]]
"""Gives at most ``PIECE`` bytes for more input (``b""``: what it still has), and tells whether it has ended and what of
its input came after the end."""


def start_zlib(window_bits: int) -> Codec:
    import zlib

    decompressor = zlib.decompressobj(window_bits)

    def decompress(data: bytes) -> bytes:
        if decompressor.eof:
            return b""
        return decompressor.decompress(decompressor.unconsumed_tail + data, PIECE)

    return decompress, lambda: (decompressor.eof, decompressor.unused_data)


def start_gzip(head: bytes) -> Codec:
    return start_zlib(31)


def start_deflate(head: bytes) -> Codec:
    # RFC 9110 §8.4.1.2: "deflate" is the zlib format; some clients leave out its header (RFC 1950 §2.2).
    has_header = head[0] & 15 == 8 and (head[0] << 8 | head[1]) % 31 == 0
    return start_zlib(15 if has_header else -15)


def start_brotli(head: bytes) -> Codec:
    brotli = import_brotli()
    decompressor = brotli.Decompressor()

    def decompress(data: bytes) -> bytes:
        if not data and decompressor.is_finished():
            return b""
        piece: bytes = decompressor.process(data, output_buffer_limit=PIECE)
        return piece

    return decompress, lambda: (decompressor.is_finished(), b"")


def start_zstd(head: bytes) -> Codec:
    zstd = import_zstd()
    options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    decompressor = zstd.ZstdDecompressor(options=options)

    def decompress(data: bytes) -> bytes:
        if not data and (decompressor.eof or decompressor.needs_input):
            return b""
        piece: bytes = decompressor.decompress(data, max_length=PIECE)
        return piece

    return decompress, lambda: (decompressor.eof, decompressor.unused_data)


CODECS: dict[str, Callable[[bytes], Codec]] = {
    "gzip": start_gzip,
    "x-gzip": start_gzip,  # RFC 9110 §8.4.1.3: the same
    "deflate": start_deflate,
    "br": start_brotli,
    "zstd": start_zstd,
}


def import_brotli() -> Any:
    """The brotli package, if it is there and able to stop (1.2 and later): without a limit a bomb goes off whole."""
    try:
        brotli: Any = import_module("brotli")
    except ImportError:
        return None
    return brotli if hasattr(brotli.Decompressor, "can_accept_more_data") else None


# A module that is not there is looked for in every folder of the path, each time.
ZSTD = ("compression.zstd", "backports.zstd") if sys.version_info >= (3, 14) else ("backports.zstd",)


def import_zstd() -> Any:
    """Python's own zstd (3.14), or its backport."""
    for name in ZSTD:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def can_decode(coding: str) -> bool:
    """Whether a coding can be undone with what is installed."""
    if coding == "br":
        return import_brotli() is not None
    if coding == "zstd":
        return import_zstd() is not None
    return coding in CODECS


def known_codings() -> list[str]:
    """The codings that can be undone, as an ``Accept-Encoding`` names them."""
    return [coding for coding in ("gzip", "deflate", "br", "zstd") if can_decode(coding)]


def make_decoder(header: str, *, enabled: bool = True) -> Decoder | None:
    """The decoder for a ``Content-Encoding`` header; None if it names no coding.

    Raises:
        UnsupportedMediaType: it is not enabled, or this coding is not known, or there are several; the answer's
            ``Accept-Encoding`` says what is (RFC 9110 §12.5.3).
    """
    coding = header.strip().lower()
    if coding in ("", "identity"):
        return None
    if enabled and can_decode(coding):
        return Decoder(coding)
    accepted = ", ".join(known_codings()) if enabled else "identity"
    if not enabled:
        text = "Compressed request bodies are not accepted here (DECODE_REQUEST_BODIES)."
    else:
        text = f"The body's Content-Encoding must be one of {accepted}, and only one."
    raise UnsupportedMediaType(text, {"accept-encoding": accepted})
