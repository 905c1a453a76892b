"""The kinds of value that a key of the config may hold.

A ``Kind`` says in words what may stand under a key, and reads it; this file makes kinds and knows no key. Which key is
of which kind stands in ``limits``, the only caller. The types of a program's own settings are not here but in
``settings``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microweb.redaction import shown

__all__ = [
    "Kind",
    "is_cookie_path",
    "is_host",
    "is_origin",
    "is_token",
    "names",
    "read_lifetime",
    "read_max_age",
    "read_secret",
    "read_secrets",
    "seconds",
    "switch",
    "text",
    "whole_number",
]

# The longest that a lock can wait on Windows (threading.TIMEOUT_MAX there); elsewhere it is more.
LONGEST_WAIT = 4_294_967

LONGEST_LIFETIME = 86_400.0 * 999_999_999
"""In seconds, what a timedelta can hold."""


class Kind:
    """What a key may hold: ``expected`` in words, ``read`` gives the value to use.

    ``read`` raises ValueError, whose text, if it has one, says better than the value itself what came.
    """

    __slots__ = ("expected", "read")

    def __init__(self, expected: str, read: Callable[[Any], Any]) -> None:
        self.expected = expected
        self.read = read

    def or_none(self, meaning: str) -> Kind:
        """Give this kind with None allowed as well; ``meaning`` says what None stands for."""
        read = self.read

        def read_or_none(value: Any) -> Any:
            return None if value is None else read(value)

        return Kind(f"{self.expected}, or None ({meaning})", read_or_none)


def whole_number(minimum: int, unit: str) -> Kind:
    """Make the kind of a count: an int, which True and 16e6 are not."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise ValueError
        return value

    return Kind(f"a whole number of {unit}, {minimum} or more", read)


def seconds(*, zero: bool) -> Kind:
    """Make the kind of a span of time, given in seconds or as a timedelta and read as a float."""

    def read(value: Any) -> float:
        if hasattr(value, "total_seconds"):  # a timedelta; datetime need not be loaded to know one
            value = value.total_seconds()
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError
        # False for nan as well; a wait without end is written None, not inf.
        if not (0 <= value <= LONGEST_WAIT) or (value == 0 and not zero):
            raise ValueError
        return float(value)

    return Kind(f"seconds (a number or a timedelta), {'0 or more' if zero else 'more than 0'}", read)


def read_switch(value: Any) -> bool:
    """Read True, False, 1 or 0; the text "False" is refused, for it would be true."""
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValueError


def read_lifetime(value: Any) -> float:
    """Read a timedelta or a number of seconds, as Flask does for the session's lifetime."""
    if hasattr(value, "total_seconds"):
        value = value.total_seconds()
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= LONGEST_LIFETIME:
        raise ValueError
    return float(value)


def read_max_age(value: Any) -> int:
    """Read the whole seconds of a Cache-Control max-age (RFC 9111 §1.2.2)."""
    if hasattr(value, "total_seconds"):  # a timedelta; datetime need not be loaded to know one
        value = int(value.total_seconds())
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError
    return value


def text(expected: str, fits: Callable[[str], bool]) -> Kind:
    """Make the kind of a string for which ``fits`` holds."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not fits(value):
            raise ValueError
        return value

    return Kind(expected, read)


def read_secret(value: Any) -> str | bytes:
    """Read a key to sign with; whether it is there and long enough is judged where it is first used."""
    if not isinstance(value, str | bytes):
        raise ValueError
    return value


def read_secrets(value: Any) -> tuple[str | bytes, ...]:
    """Read older keys; one string alone is refused, for it would be taken letter by letter."""
    # SECURITY: test_an_empty_older_key_is_refused: from a variable that is not set; it would verify what anybody signs.
    if not isinstance(value, list | tuple) or not all(value):
        raise ValueError
    return tuple(map(read_secret, value))


def names(expected: str, fits: Callable[[str], bool]) -> Kind:
    """Make the kind of a list of strings, read in lower case; one string alone is refused, as with keys."""

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple | set | frozenset):
            raise ValueError
        for name in value:
            if not isinstance(name, str) or not fits(name):
                raise ValueError(f"one with {shown('', name)}")
        return tuple(name.lower() for name in value)

    return Kind(expected, read)


def is_token(value: str) -> bool:
    """Tell whether this may name a cookie (RFC 6265 §4.1.1)."""
    return value.isascii() and value.isprintable() and not set(value) & set('()<>@,;:\\"/[]?={} ') and value != ""


def is_host(value: str) -> bool:
    """Tell whether this looks like ``host`` or ``host:port``, and not like a URL."""
    # A star would be a host that nobody ever has; in Django's ALLOWED_HOSTS it stands for all.
    return value.isprintable() and not set(value) & set("/?#@\\ *") and value != ""


def is_origin(value: str) -> bool:
    """Tell whether this can equal an Origin header (RFC 6454 §7): no path, not even a slash at the end."""
    scheme, separator, host = value.partition("://")
    return value in ("*", "null") or (separator != "" and scheme.isascii() and scheme != "" and is_host(host))


def is_cookie_path(value: str) -> bool:
    """Tell whether this may be the path of a cookie."""
    return value.startswith("/") and value.isprintable() and ";" not in value


switch = Kind("True or False", read_switch)
