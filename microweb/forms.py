"""Forms as they stand in a body: urlencoded fields, and what a multipart body says about each of its parts.

The grammar only, bytes in and values out. ``multipart.py`` finds the parts, ``formreading.py`` feeds both
from a request and stores what they find.
"""

from __future__ import annotations

import re

from microweb.errors import BadRequest, RequestEntityTooLarge
from microweb.headers import RequestHeaders
from microweb.mediatype import parse_media_type
from microweb.multidict import MultiDict
from microweb.querystring import parse_pairs

__all__ = ["Part", "find_boundary", "parse_urlencoded"]

NO_FIELDS: MultiDict[str] = MultiDict()
CHARSETS = frozenset(("utf-8", "utf8", "ascii", "us-ascii", "iso-8859-1", "latin1", "latin-1"))
"""The charsets that a text field may name, as in werkzeug; others are read as UTF-8."""

# RFC 2046 §5.1.1 has fewer; real clients also send others. What must not be in it is what ends or folds a line.
BOUNDARY = frozenset(map(chr, range(0x20, 0x7F)))
UNLIMITED = 2**63
"""The parser has measured the headers of a part before anybody looks at them."""


def parse_urlencoded(raw: bytes, *, max_parts: int | None = 1000, max_field: int | None = 500_000) -> MultiDict[str]:
    """Read an urlencoded form (``application/x-www-form-urlencoded``); never fails on odd bytes.

    ``max_parts`` is the most fields, empty ones between two ``&`` counted; ``max_field`` the most bytes of
    one, name and value as they came.

    >>> parse_urlencoded(b"name=Ada+Lovelace&tag=a&tag=b").getlist("tag")
    ['a', 'b']

    Raises:
        RequestEntityTooLarge: there are more fields, or one is larger.
    """
    if not raw:
        return NO_FIELDS
    if max_parts is not None and raw.count(b"&") >= max_parts:
        raise too_many_parts(max_parts)
    if max_field is not None and len(raw) > max_field and max(map(len, raw.split(b"&"))) > max_field:
        raise field_too_large(max_field)
    return MultiDict(parse_pairs(raw))


def find_boundary(content_type: str, *, max_size: int = 70) -> bytes:
    """The boundary in the Content-Type of a multipart body.

    Raises:
        BadRequest: there is none, it is longer than ``max_size``, or could never stand on a line.
    """
    boundary = parse_media_type(content_type)[1].get("boundary", "")
    if not boundary or boundary.endswith(" ") or not BOUNDARY.issuperset(boundary):
        raise BadRequest("The Content-Type of a multipart body needs a boundary of printable ASCII.")
    if len(boundary) > max_size:
        raise BadRequest(f"The boundary of the form is longer than {max_size} bytes (MAX_BOUNDARY_SIZE).")
    return boundary.encode("ascii")


class Part:
    """What the headers of one part say (RFC 7578 §4).

    ``filename`` is None for a text field, and whatever the client wrote for a file: it is not safe as a path.
    ``bytes_received`` and ``complete`` are kept by the parser.
    """

    __slots__ = ("_headers", "bytes_received", "complete", "content_type", "filename", "headerlist", "name")

    def __init__(self, headerlist: list[tuple[str, str]]) -> None:
        self.headerlist = headerlist
        self.bytes_received = 0
        self.complete = False
        self.name = ""
        self.filename: str | None = None
        self.content_type: str | None = None
        self._headers: RequestHeaders | None = None
        disposition: str | None = None
        for name, value in headerlist:
            if name == "Content-Disposition":
                if disposition is not None:
                    # SECURITY: test_a_part_with_two_dispositions_is_a_400: a filter in front of us may take the other.
                    raise BadRequest("A part of the form has two Content-Disposition headers.")
                disposition = value
            elif name == "Content-Type":
                self.content_type = value
        is_form_data = False
        if disposition is not None:
            is_form_data, self.name, self.filename = parse_disposition(disposition)
        if not is_form_data:
            raise BadRequest("A part of the form has no Content-Disposition: form-data.")

    @property
    def headers(self) -> RequestHeaders:
        """All headers of the part; like a request's they are decoded as Latin-1."""
        if self._headers is None:
            self._headers = RequestHeaders(
                [(name.lower().encode(), value.encode()) for name, value in self.headerlist],
                max_line=UNLIMITED,
                max_total=UNLIMITED,
            )
        return self._headers

    def decode(self, value: bytes) -> str:
        """The text of a field, in the charset that its Content-Type names, else UTF-8; odd bytes become U+FFFD."""
        charset = "utf-8"
        if self.content_type is not None:
            named = parse_media_type(self.content_type)[1].get("charset", "").lower()
            if named in CHARSETS:
                charset = named
        return value.decode(charset, "replace")

    def __repr__(self) -> str:
        return f"<Part {self.name!r}{'' if self.filename is None else f' with file {self.filename!r}'}>"


def parse_disposition(value: str) -> tuple[bool, str, str | None]:
    """Whether it is ``form-data``, and name and filename.

    Browsers quote both and escape only quote, CR and LF, as ``%22``, ``%0D`` and ``%0A`` (HTML,
    "multipart/form-data encoding algorithm"); a backslash is a backslash there. Everything else is read as
    any header.
    """
    pieces = value.split('"', 5)
    if pieces[0] == "form-data; name=" and "\\" not in value:
        if len(pieces) == 3 and not pieces[2]:
            return True, unescape(pieces[1]), None
        if len(pieces) == 5 and pieces[2] == "; filename=" and not pieces[4]:
            return True, unescape(pieces[1]), unescape(pieces[3])
    if "\\" in value and ('\\"' not in value or UNQUOTED.sub("", value).count('"') % 2):
        # No quote is escaped, or one would stay open: the backslashes mean themselves, as in a Windows path.
        value = value.replace("\\", "\\\\")
    kind, parameters = parse_media_type(value)
    if kind != "form-data":
        return False, "", None
    if "name" not in parameters or UNQUOTED.sub("", value).count('"') % 2:
        # SECURITY: test_a_part_whose_disposition_is_malformed_is_refused: a file would pass for a field.
        raise BadRequest("A part of the form has no name, or a quote in its Content-Disposition is not closed.")
    filename = parameters.get("filename")
    return True, unescape(parameters["name"]), filename if filename is None else unescape(filename)


UNQUOTED = re.compile(r"\\.", re.DOTALL)
"""A character that a backslash takes away its meaning."""


def unescape(text: str) -> str:
    if "%" not in text:
        return text
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%22", '"')


# The errors, with the keys that they are about --------------------------------------------------------


def too_many_parts(limit: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"The form has more than {limit} parts (MAX_FORM_PARTS).")


def too_many_files(limit: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"The form has more than {limit} files (MAX_FORM_FILES).")


def field_too_large(limit: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"A field of the form is larger than {limit} bytes (MAX_FORM_MEMORY_SIZE).")
