"""Percent-encoding: text to what may stand in a URL, and back (RFC 3986 §2).

Which part of a URL a text is for says what it keeps: each part has its constant here. Converters and rules write
segments with this file, routing decodes them, ``querystring.py`` and ``url.py`` are built on it.

``urllib.parse`` of the standard library is the oracle of the tests and not the engine: it raises on odd
input, strips characters without a word, and takes as long to import as a tenth of our whole start.
"""

from __future__ import annotations

import re

__all__ = [
    "AUTHORITY",
    "PARAMETER",
    "PATH",
    "QUERY",
    "SEGMENT",
    "USER",
    "quote",
    "quote_again",
    "quote_fragment",
    "quote_path",
    "quote_query",
    "quote_raw_path",
    "quote_segment",
    "raw_is_other",
    "unquote",
]

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
SEGMENT = UNRESERVED + b"!$&'()*+,;=:@"
"""``pchar`` of RFC 3986 §3.3: what may stand in a path segment as it is."""
PATH = SEGMENT + b"/"
QUERY = SEGMENT + b"/?"
USER = UNRESERVED + b"!$&'()*+,;="
"""What a user name or a password keeps in front of a host."""
AUTHORITY = SEGMENT + b"[]"
PARAMETER = UNRESERVED + b"!$'()*,/:;?@"
"""What a name or value in a query keeps: no ``& = + #``, which mean something there."""

ESCAPES: list[str] = []
"""How each byte is escaped; filled at first need, for an import would wait for it."""
BYTES_BY_HEX: dict[bytes, bytes] = {}
"""The byte of two hexadecimal digits in any case; filled likewise."""
STRAY_PERCENT = r"%(?![0-9A-Fa-f]{2})"


def fill_tables() -> None:
    ESCAPES[:] = [f"%{byte:02X}" for byte in range(256)]
    digits = "0123456789abcdefABCDEF"
    BYTES_BY_HEX.update({(high + low).encode(): bytes((int(high + low, 16),)) for high in digits for low in digits})


def to_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate is no character: it becomes U+FFFD, as in every browser.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def quote(text: str, safe: bytes) -> str:
    """Percent-encode everything but ``safe``, as UTF-8; a ``%`` is encoded too, unless it is safe."""
    data = to_utf8(text)
    if not data.translate(None, safe):
        return text
    return escape(data, safe)


def quote_bytes(data: bytes, safe: bytes) -> str:
    return escape(data, safe) if data.translate(None, safe) else data.decode("ascii")


def escape(data: bytes, safe: bytes) -> str:
    if not ESCAPES:
        fill_tables()
    return "".join([chr(byte) if byte in safe else ESCAPES[byte] for byte in data])


def quote_again(text: str, safe: bytes) -> str:
    """Quote what is partly quoted already: an escape stays, a ``%`` that begins none is encoded."""
    quoted = quote(text, safe + b"%")
    return re.sub(STRAY_PERCENT, "%25", quoted) if "%" in quoted else quoted


def quote_path(path: str) -> str:
    """Percent-encode a decoded path, ``%`` included; its slashes stay.

    >>> quote_path("/a b/100%")
    '/a%20b/100%25'
    """
    return quote(path, PATH)


def quote_fragment(fragment: str) -> str:
    """Percent-encode a decoded fragment (RFC 3986 §3.5)."""
    return quote(fragment, QUERY)


def quote_query(query: bytes) -> str:
    """A query string as it came, with everything escaped that may not stand in a header."""
    return quote_bytes(query, QUERY + b"%[]")


def quote_raw_path(path: bytes) -> str:
    """A path as it came, with everything escaped that would end it in a URL, or may not stand there."""
    return quote_bytes(path, PATH + b"%[]")


def quote_segment(segment: str) -> str:
    """Percent-encode one decoded path segment; a slash in it becomes ``%2F``."""
    return quote(segment, SEGMENT)


def unquote(value: str | bytes) -> str:
    """Decode percent-escapes as UTF-8, once; bytes that are no UTF-8 become U+FFFD, a stray ``%`` stays."""
    if isinstance(value, str):
        if "%" not in value:
            return value
        value = to_utf8(value)
    elif b"%" not in value:
        return value.decode("utf-8", "replace")
    if not BYTES_BY_HEX:
        fill_tables()
    first, *rest = value.split(b"%")
    pieces = [first]
    for piece in rest:
        byte = BYTES_BY_HEX.get(piece[:2])
        if byte is None:
            pieces.append(b"%" + piece)
        else:
            pieces.append(byte + piece[2:])
    return b"".join(pieces).decode("utf-8", "replace")


def raw_is_other(path: str, raw_path: bytes) -> bool:
    """Whether the raw path belongs to another path: something outside has rewritten only one of the two."""
    return unquote(raw_path.partition(b"?")[0]) != path
