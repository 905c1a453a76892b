"""Content codings of answers: gzip, br and zstd, a whole body at once or piece by piece (RFC 9110 §8.4.1).

gzip is in the standard library; br needs the package ``brotli``, zstd Python 3.14 or ``backports.zstd``. The levels are
those that take a few milliseconds for a page and leave little more of it than the highest ones would. Used by
``compress.py``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["CODINGS", "Coding", "Encoder"]

GZIP_LEVEL = 6
BROTLI_QUALITY = 4
ZSTD_LEVEL = 3
GZIP_FORMAT = 31
"""zlib's number for the gzip format with the largest window."""


class Encoder(NamedTuple):
    """One body's way through a codec."""

    feed: Callable[[bytes], bytes]
    """What is left of a piece, flushed: the client can read it at once."""
    end: Callable[[], bytes]
    """The last bytes."""


class Coding(NamedTuple):
    """What a codec can do."""

    compress: Callable[[bytes], bytes]
    """A whole body."""
    start: Callable[[], Encoder]
    """Begin a body that comes in pieces."""


def load_gzip() -> Coding:
    """gzip, with no time and no name in it: the same bytes every time."""

    def start() -> Encoder:
        codec = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_FORMAT)
        return Encoder(lambda data: codec.compress(data) + codec.flush(zlib.Z_SYNC_FLUSH), codec.flush)

    return Coding(lambda data: zlib.compress(data, GZIP_LEVEL, GZIP_FORMAT), start)


def load_brotli() -> Coding | None:
    """br, if its package is there."""
    try:
        brotli: Any = import_module("brotli")
    except ImportError:
        return None

    def start() -> Encoder:
        codec = brotli.Compressor(quality=BROTLI_QUALITY)
        return Encoder(lambda data: codec.process(data) + codec.flush(), codec.finish)

    return Coding(lambda data: brotli.compress(data, quality=BROTLI_QUALITY), start)


def load_zstd() -> Coding | None:
    """zstd, if Python has it or its backport is there."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            zstd: Any = import_module(name)
        except ImportError:
            continue
        break
    else:
        return None

    def start() -> Encoder:
        codec = zstd.ZstdCompressor(level=ZSTD_LEVEL)
        return Encoder(lambda data: codec.compress(data, mode=codec.FLUSH_BLOCK), codec.flush)

    return Coding(lambda data: zstd.compress(data, level=ZSTD_LEVEL), start)


CODINGS: dict[str, Callable[[], Coding | None]] = {"gzip": load_gzip, "br": load_brotli, "zstd": load_zstd}
"""By the names of RFC 9110, RFC 7932 and RFC 8878."""
