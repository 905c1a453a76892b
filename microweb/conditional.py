"""Conditional and partial requests: dates, entity tags, preconditions, ranges (RFC 9110 §8.8, §13 and §14).

Header values in, verdicts out: nothing here sends a 304 or cuts a file. Responses and static files ask
``evaluate`` for the status that the preconditions demand and ``parse_range`` for the bytes to send; cookies
and ``Last-Modified`` write their dates with ``http_date``.

A condition that is malformed is one that was not sent, as the RFC asks; only a ``Range`` that is well formed
and lies wholly outside the content is an error.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from microweb.errors import RequestedRangeNotSatisfiable

if TYPE_CHECKING:
    # Imported where it is needed: it takes a millisecond that few programs spend on their first request.
    from datetime import date, datetime

__all__ = [
    "ETags",
    "evaluate",
    "generate_etag",
    "http_date",
    "if_range_holds",
    "parse_date",
    "parse_range",
    "quote_etag",
    "unquote_etag",
]

# Dates -------------------------------------------------------------------------------------------

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(MONTHS, 1)}


def http_date(moment: date | datetime | time.struct_time | float | None = None) -> str:
    """Write a moment, by default now, as in ``Last-Modified`` and ``Expires``.

    Fractions of a second are dropped. A number is seconds since the epoch. A ``datetime`` or
    ``struct_time`` that knows no zone is in UTC, a ``date`` its midnight in UTC.

    >>> http_date(784111777)
    'Sun, 06 Nov 1994 08:49:37 GMT'

    Raises:
        ValueError: the year is not one of 1 to 9999, or the number is none.
    """
    try:
        if isinstance(moment, time.struct_time):
            fields = time.gmtime(seconds_of(moment))
        elif moment is None or isinstance(moment, int | float):
            fields = time.gmtime(moment)
        else:
            from datetime import datetime

            fields = moment.utctimetuple() if isinstance(moment, datetime) else moment.timetuple()
    except (OverflowError, OSError) as error:
        raise ValueError(f"{moment!r} is no moment that a date can name") from error
    year, month, day, hour, minute, second, weekday = fields[:7]
    if not 1 <= year <= 9999:
        raise ValueError(f"{moment!r} is no moment that a date can name")
    clock = f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{WEEKDAYS[weekday]}, {day:02d} {MONTHS[month - 1]} {year:04d} {clock} GMT"


def seconds_of(fields: time.struct_time) -> int:
    from calendar import timegm

    return timegm(fields) - (fields.tm_gmtoff or 0)


def parse_date(text: str) -> datetime | None:
    """Read a date in any of the three forms of RFC 9110 §5.6.7, as a moment in UTC; None if it is no date.

    >>> str(parse_date("Sun Nov  6 08:49:37 1994"))
    '1994-11-06 08:49:37+00:00'
    """
    from datetime import UTC, datetime

    if len(text) > 64 or not text.isascii():
        return None
    # "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT" and "Sun Nov  6 08:49:37 1994".
    words = text.replace(",", " ").replace("-", " ").split()
    if len(words) == 5:
        _, month, day, clock, year = words
    elif len(words) == 6 and words[5].upper() in ("GMT", "UTC"):
        _, day, month, year, clock, _ = words
    else:
        return None
    digits = [year, day, *clock.split(":")]
    if len(digits) != 5 or not all(each.isdigit() and len(each) <= 4 for each in digits):
        return None
    years, days, hours, minutes, seconds = map(int, digits)
    if len(year) == 2:
        # RFC 9110 §5.6.7: of the years that end so, the last one that is not over 50 years ahead.
        latest = time.gmtime().tm_year + 50
        years = latest - (latest - years) % 100
    try:
        # A leap second, which the grammar has and datetime has not, is the second before it.
        seconds = 59 if seconds == 60 else seconds
        return datetime(years, MONTH_NUMBERS[month.lower()], days, hours, minutes, seconds, tzinfo=UTC)
    except (KeyError, ValueError):
        return None


def whole_seconds(moment: datetime) -> datetime:
    """A moment as precise as a header can say it, in UTC if it knows no zone."""
    from datetime import UTC

    return moment.replace(microsecond=0, tzinfo=moment.tzinfo or UTC)


# Entity tags -------------------------------------------------------------------------------------

QUOTED_TAG = r'(?:[Ww]/)?"[^"]*"'
TAG_CHARACTERS = bytes([0x21, *range(0x23, 0x7F), *range(0x80, 0x100)])


def quote_etag(tag: str, weak: bool = False) -> str:
    """Write the value of an ``ETag`` header.

    Raises:
        ValueError: the tag holds a quote, a space, a control character, or one beyond latin-1.
    """
    # SECURITY: test_conditional.py::test_a_tag_that_would_break_its_header_is_refused
    if tag.encode("latin-1").translate(None, TAG_CHARACTERS):
        raise ValueError(f"an entity tag has no quotes, spaces or control characters: {tag!r}")
    return f'W/"{tag}"' if weak else f'"{tag}"'


def unquote_etag(value: str) -> tuple[str, bool]:
    """Split the value of an ``ETag`` header into its tag and whether it is weak; quotes may be missing."""
    weak = value.startswith(("W/", "w/"))
    tag = value[2:] if weak else value
    if len(tag) > 1 and tag.startswith('"') and tag.endswith('"'):
        tag = tag[1:-1]
    return tag, weak


def generate_etag(data: bytes) -> str:
    """Make the tag, without quotes, of exactly these bytes; it is a strong one."""
    from hashlib import blake2b

    return blake2b(data, digest_size=16).hexdigest()


class ETags:
    """The entity tags of an ``If-Match`` or ``If-None-Match`` header; what is malformed in it is left out.

    Tags are asked for without their quotes. ``star`` is true for ``*``, which holds every tag.

    >>> tags = ETags('"a", W/"b"')
    >>> "a" in tags, "b" in tags, tags.contains_weak("b")
    (True, False, True)
    """

    __slots__ = ("_strong", "_weak", "star")

    def __init__(self, header: str | None = None) -> None:
        header = (header or "").strip(" \t")
        self.star = header == "*"
        if '"' in header:
            # A tag may hold commas, so the list cannot be split at them.
            values = re.findall(QUOTED_TAG, header)
        else:
            # Some clients send a tag back without its quotes.
            values = header.replace("*", "").replace(",", " ").split()
        tags = list(map(unquote_etag, values))
        self._strong = frozenset([tag for tag, weak in tags if not weak])
        self._weak = frozenset([tag for tag, weak in tags if weak])

    def __contains__(self, tag: object) -> bool:
        """Strong comparison (RFC 9110 §8.8.3.2): the bytes are the same."""
        return self.star or tag in self._strong

    def contains_weak(self, tag: str) -> bool:
        """Weak comparison: one content is as good as the other."""
        return self.star or tag in self._strong or tag in self._weak

    def __iter__(self) -> Iterator[str]:
        return iter(self._strong | self._weak)

    def __bool__(self) -> bool:
        return self.star or bool(self._strong or self._weak)

    def __repr__(self) -> str:
        strong = ["*"] if self.star else [f'"{tag}"' for tag in sorted(self._strong)]
        weak = [f'W/"{tag}"' for tag in sorted(self._weak)]
        return f"ETags({', '.join(strong + weak)})"


# Preconditions -----------------------------------------------------------------------------------


def evaluate(
    method: str,
    *,
    etag: str | None = None,
    last_modified: datetime | None = None,
    if_match: str | None = None,
    if_none_match: str | None = None,
    if_modified_since: str | None = None,
    if_unmodified_since: str | None = None,
) -> Literal[304, 412] | None:
    """Weigh the conditions of a request in the order of RFC 9110 §13.2.2; None means to go on with it.

    ``etag`` is an ``ETag`` header's value. To be asked only where the answer would otherwise be a 2xx, of a resource
    that is there: to create one under ``If-None-Match: *`` is the view's own affair.

    >>> evaluate("GET", etag='"v2"', if_none_match='"v1", "v2"')
    304
    >>> evaluate("PUT", etag='"v2"', if_match='"v1"')
    412
    """
    if method in ("OPTIONS", "CONNECT", "TRACE"):
        return None  # §13.2.1: these select no content that a condition could be about.
    reading = method in ("GET", "HEAD")
    if if_match is not None:
        if not holds_match(ETags(if_match), etag):
            return 412
    elif if_unmodified_since is not None and last_modified is not None:
        date = parse_date(if_unmodified_since)
        if date is not None and whole_seconds(last_modified) > date:
            return 412
    if if_none_match is not None:
        tags = ETags(if_none_match)
        if tags.star or (etag is not None and tags.contains_weak(unquote_etag(etag)[0])):
            return 304 if reading else 412
    elif if_modified_since is not None and last_modified is not None and reading:
        date = parse_date(if_modified_since)
        if date is not None and whole_seconds(last_modified) <= date:
            return 304
    return None


def holds_match(tags: ETags, etag: str | None) -> bool:
    """``If-Match`` (§13.1.1): a weak tag never matches, and a star whatever is there."""
    if tags.star or etag is None:
        return tags.star
    tag, weak = unquote_etag(etag)
    return not weak and tag in tags


# Ranges ------------------------------------------------------------------------------------------


def if_range_holds(header: str | None, etag: str | None, last_modified: datetime | None) -> bool:
    """Say whether the ``Range`` beside this ``If-Range`` may be served (RFC 9110 §13.1.5).

    It may where there is no ``If-Range``. A tag must be the same and strong on both sides, a date the very
    one that was sent as ``Last-Modified``.
    """
    if header is None:
        return True
    header = header.strip(" \t")
    if header.startswith('"'):
        return etag is not None and unquote_etag(header) == unquote_etag(etag)
    # A weak tag is no date either.
    return last_modified is not None and whole_seconds(last_modified) == parse_date(header)


def parse_range(header: str, size: int, *, max_ranges: int = 16) -> list[tuple[int, int]] | None:
    """Find the ``(start, stop)`` slices of ``size`` bytes that a ``Range`` header asks for; None means all.

    The whole is served for a header that is malformed, that counts in another unit or asks for more than
    ``max_ranges``, and for content that is empty. Ranges beyond the end are left out; those that overlap
    are merged and put in order, so that never more than ``size`` bytes are asked for (CVE-2011-3192).

    >>> parse_range("bytes=0-99, -50", 1000)
    [(0, 100), (950, 1000)]

    Raises:
        RequestedRangeNotSatisfiable: no range overlaps the content.
    """
    unit, _, ranges = header.partition("=")
    # SECURITY: test_conditional.py::test_more_ranges_than_allowed_are_the_whole
    if unit.strip(" \t").lower() != "bytes" or ranges.count(",") >= max_ranges or size == 0:
        return None
    slices: list[tuple[int, int]] = []
    empty = True
    for item in ranges.split(","):
        item = item.strip(" \t")
        if not item:
            continue  # §5.6.1.2: a list may have empty elements.
        empty = False
        first, dash, last = item.partition("-")
        if not dash or not is_position(first or last) or not is_position(last or first):
            return None
        if not first:
            start, stop = max(size - read_position(last), 0), size
        else:
            start = read_position(first)
            stop = min(read_position(last) + 1, size) if last else size
            if last and read_position(last) < start:
                return None
        if start < stop:
            slices.append((start, stop))
    if empty:
        return None
    if not slices:
        raise RequestedRangeNotSatisfiable(headers={"content-range": f"bytes */{size}"})
    return merge_overlaps(slices)


def is_position(digits: str) -> bool:
    return digits.isascii() and digits.isdigit()


def read_position(digits: str) -> int:
    # A number of over 18 digits lies beyond the end of every file, and one of over 4300 is no int at all.
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 18 else 10**18


def merge_overlaps(slices: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The slices themselves if none overlap, else their union in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(slices):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    # §15.3.7.2: in the order in which they were asked for, where that still makes sense.
    return slices if len(merged) == len(slices) else merged
