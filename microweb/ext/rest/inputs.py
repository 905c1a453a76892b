"""Types for arguments of ``reqparse``: each takes a text, gives a value, and says in a ``ValueError`` what it expects.

They are plain functions and work as ``type=`` of ``request.args.get`` too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "boolean",
    "date",
    "datetime_from_iso8601",
    "datetime_from_rfc822",
    "int_range",
    "iso8601interval",
    "natural",
    "positive",
    "regex",
    "url",
]

DURATION = re.compile(
    r"P(?:([0-9]{1,9})W|(?:([0-9]{1,4})Y)?(?:([0-9]{1,5})M)?(?:([0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9}(?:\.[0-9]{1,6})?)S)?)?)",
    re.ASCII,
)


def url(value: Any) -> str:
    """A whole URL with http, https, ftp or ftps.

    >>> url("https://example.org/search?q=1")
    'https://example.org/search?q=1'

    Raises:
        ValueError: it is none.
    """
    problem = f"{str(value)[:100]!r} is not a valid URL"
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(problem)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(problem) from None
    if not host and "://" not in value:
        raise ValueError(f"{problem}; did you mean: http://{value[:100]}")
    if parts.scheme not in ("http", "https", "ftp", "ftps") or not host or not is_host(host):
        raise ValueError(problem)
    return value


def is_host(host: str) -> bool:
    """Whether it is an address, ``localhost``, or a name with a dot in it."""
    if ":" in host:
        return True  # urlsplit has checked the brackets of an IPv6 address.
    labels = host.removesuffix(".").split(".")
    plain = all(
        0 < len(label) < 64 and label.replace("-", "").isalnum() and label.strip("-") == label for label in labels
    )
    return plain and len(host) < 254 and (len(labels) > 1 or host == "localhost")


class regex:  # noqa: N801 - a type, as `int`
    """A text that matches a pattern from its beginning: ``regex("^[0-9a-f]+$")``."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self.pattern = re.compile(pattern, flags)

    def __call__(self, value: Any) -> str:
        """The text, unless it does not match."""
        if not isinstance(value, str) or self.pattern.search(value) is None:
            raise ValueError(f"Value does not match pattern: {self.pattern.pattern!r}")
        return value


def natural(value: Any, argument: str = "argument") -> int:
    """An integer of 0 or more.

    Raises:
        ValueError: it is none.
    """
    number = to_integer(value)
    if number < 0:
        raise ValueError(f"Invalid {argument}: {str(value)[:100]}. {argument} must be a non-negative integer")
    return number


def positive(value: Any, argument: str = "argument") -> int:
    """An integer of 1 or more.

    Raises:
        ValueError: it is none.
    """
    number = to_integer(value)
    if number < 1:
        raise ValueError(f"Invalid {argument}: {str(value)[:100]}. {argument} must be a positive integer")
    return number


class int_range:  # noqa: N801 - a type, as `int`
    """An integer from ``low`` to ``high``, both included."""

    def __init__(self, low: int, high: int, argument: str = "argument") -> None:
        self.low = low
        self.high = high
        self.argument = argument

    def __call__(self, value: Any) -> int:
        """The integer, unless it is outside."""
        number = to_integer(value)
        if not self.low <= number <= self.high:
            raise ValueError(
                f"Invalid {self.argument}: {str(value)[:100]}. {self.argument} must be within the range "
                f"{self.low} - {self.high}"
            )
        return number


def to_integer(value: Any) -> int:
    """``int`` of a text or an integer; a fraction is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{str(value)[:100]} is not a valid integer")
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{str(value)[:100]} is not a valid integer") from None


def boolean(value: Any) -> bool:
    """``true``, ``1`` and ``on``, or ``false``, ``0`` and ``off``, in any case; a JSON boolean.

    Raises:
        ValueError: it is neither.
    """
    text = str(value).lower()
    if text in ("true", "1", "on"):
        return True
    if text in ("false", "0", "off"):
        return False
    raise ValueError(f"Invalid literal for boolean(): {str(value)[:100]}")


def date(value: str) -> datetime:
    """A day as ``2012-11-30``: its midnight, without a zone.

    Raises:
        ValueError: it is none.
    """
    try:
        return datetime.strptime(value, "%Y-%m-%d")
    except (ValueError, TypeError):
        raise ValueError(f"{str(value)[:100]!r} is not a date such as 2012-11-30") from None


def datetime_from_rfc822(value: str) -> datetime:
    """A moment as ``Wed, 02 Oct 2002 08:00:00 EST``, in its zone, or in UTC if it has none.

    Raises:
        ValueError: it is none.
    """
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        raise ValueError(f"{str(value)[:100]!r} is not a date as RFC 822 writes it") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def datetime_from_iso8601(value: str) -> datetime:
    """A moment as ``2012-01-01T23:30:00+02:00``, in UTC if it names no zone.

    Raises:
        ValueError: it is none.
    """
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError(f"{str(value)[:100]!r} is not a date and time as ISO 8601 writes it") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def iso8601interval(value: Any, argument: str = "argument") -> tuple[datetime, datetime]:
    """Two moments in UTC: ``start/end``, ``start/P1D``, ``P1D/end``, or one, which lasts as long as it is precise.

    A year lasts 365 days here, a month 30.

    >>> [str(moment) for moment in iso8601interval("2013-01-01/P1D")]
    ['2013-01-01 00:00:00+00:00', '2013-01-02 00:00:00+00:00']

    Raises:
        ValueError: it is none, or ends before it begins.
    """
    problem = f"Invalid {argument}: {str(value)[:100]}. {argument} must be a valid ISO8601 date/time interval."
    if not isinstance(value, str):
        raise ValueError(problem)
    first, slash, second = value.partition("/")
    try:
        if not slash:
            start = to_utc(first)
            end = start + precision_of(first)
        elif second.startswith("P"):
            start = to_utc(first)
            end = start + duration_of(second)
        elif first.startswith("P"):
            end = to_utc(second)
            start = end - duration_of(first)
        else:
            start, end = to_utc(first), to_utc(second)
    except (ValueError, OverflowError):
        raise ValueError(problem) from None
    if start > end:
        raise ValueError(problem)
    return start, end


def to_utc(text: str) -> datetime:
    """A moment of ISO 8601 in UTC."""
    return datetime_from_iso8601(text).astimezone(UTC)


def duration_of(text: str) -> timedelta:
    """The length of an ISO 8601 duration."""
    found = DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(text)
    weeks, years, months, days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    days += years * 365 + months * 30
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def precision_of(text: str) -> timedelta:
    """How long the last part of a moment lasts: a day, an hour, a minute or a second."""
    _, mark, clock = text.replace(" ", "T").partition("T")
    if not mark:
        return timedelta(days=1)
    digits = re.sub(r"[^0-9]", "", re.split(r"[Z+\-.,]", clock, maxsplit=1)[0])
    if "." in clock or "," in clock:
        return time.resolution
    return {2: timedelta(hours=1), 4: timedelta(minutes=1)}.get(len(digits), timedelta(seconds=1))
