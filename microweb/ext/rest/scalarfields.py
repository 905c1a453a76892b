"""Fields of one value: how it is found in an object, and written in an answer.

``marshalling.py`` applies whole sets of them; ``fields.py`` adds those that hold others, and exports all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from email.utils import format_datetime
from typing import Any

__all__ = [
    "Arbitrary",
    "Boolean",
    "DateTime",
    "Fixed",
    "Float",
    "FormattedString",
    "Integer",
    "MarshallingException",
    "Price",
    "Raw",
    "String",
    "get_value",
]

Attribute = str | int | Callable[[Any], Any] | None


class MarshallingException(Exception):
    """A value cannot be written as its field says; the message names both."""


def get_value(key: str | int | Callable[[Any], Any], source: Any, default: Any = None) -> Any:
    """The value of ``source`` at ``key``: an index, a function of it, or names joined by dots.

    Each name is a key of a mapping or an attribute; ``default`` where there is none.
    """
    if not isinstance(key, str):
        return get_one(key, source, default) if isinstance(key, int) else key(source)
    for name in key.split("."):
        source = get_one(name, source, default)
        if source is default:
            break
    return source


def get_one(key: str | int, source: Any, default: Any) -> Any:
    """One step of ``get_value``."""
    if isinstance(source, Mapping) or (isinstance(key, int) and hasattr(source, "__getitem__")):
        try:
            return source[key]
        except (LookupError, TypeError):
            return default
    return getattr(source, key, default) if isinstance(key, str) else default


class Raw:
    """The value as it is; the base of all fields.

    ``attribute`` is where the value is found, if not under the field's own name; ``default`` stands for None.

    >>> from microweb.ext.rest import fields, marshal
    >>> class Shout(fields.Raw):
    ...     def format(self, value):
    ...         return value.upper()
    >>> marshal({"n": "ada"}, {"name": Shout(attribute="n"), "city": Shout(default="unknown")})
    {'name': 'ADA', 'city': 'unknown'}
    """

    takes_whole = False
    """Whether the field is made of the whole object, not of one value."""

    def __init__(self, default: Any = None, attribute: Attribute = None) -> None:
        self.default = default
        self.attribute = attribute

    def format(self, value: Any) -> Any:
        """What stands for ``value``, which is not None, in the answer.

        Raises:
            MarshallingException: it cannot.
        """
        return value

    def output(self, key: Any, source: Any) -> Any:
        """What stands under ``key`` in the answer for ``source``."""
        return self.convert(get_value(key if self.attribute is None else self.attribute, source))

    def convert(self, value: Any) -> Any:
        """``format``, with the default for None, and errors that name the field."""
        if value is None:
            return self.default
        try:
            return self.format(value)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise MarshallingException(f"{type(self).__name__} cannot write {value!r}: {error}") from error


class String(Raw):
    """The value as text."""

    def format(self, value: Any) -> Any:
        """``str`` of it."""
        return str(value)


class Integer(Raw):
    """The value as an integer; ``default`` is 0."""

    def __init__(self, default: Any = 0, attribute: Attribute = None) -> None:
        super().__init__(default, attribute)

    def format(self, value: Any) -> Any:
        """``int`` of it."""
        return int(value)


class Float(Raw):
    """The value as a floating point number."""

    def format(self, value: Any) -> Any:
        """``float`` of it."""
        return float(value)


class Boolean(Raw):
    """Whether the value is true; ``default`` is used for None alone."""

    def format(self, value: Any) -> Any:
        """``bool`` of it."""
        return bool(value)


class Arbitrary(Raw):
    """A number of any precision, as text."""

    def format(self, value: Any) -> Any:
        """Its digits."""
        return str(Decimal(str(value)))


class Fixed(Raw):
    """A number with a fixed count of decimals, as text, half to even."""

    def __init__(self, decimals: int = 5, default: Any = None, attribute: Attribute = None) -> None:
        super().__init__(default, attribute)
        self.step = Decimal(1).scaleb(-decimals)

    def format(self, value: Any) -> Any:
        """Its digits.

        Raises:
            MarshallingException: it is no finite number.
        """
        number = Decimal(str(value))
        if not number.is_finite():
            raise MarshallingException(f"Fixed cannot write {value!r}: it is not finite")
        try:
            return str(number.quantize(self.step, rounding=ROUND_HALF_EVEN))
        except InvalidOperation:
            raise MarshallingException(f"Fixed cannot write {value!r}: it has too many digits") from None


Price = Fixed


class DateTime(Raw):
    """A moment, as ``rfc822`` (``"Sun, 06 Nov 1994 08:49:37 -0000"``) or ``iso8601``.

    In RFC 822 a ``datetime`` without a zone is in UTC.
    """

    def __init__(self, dt_format: str = "rfc822", default: Any = None, attribute: Attribute = None) -> None:
        super().__init__(default, attribute)
        if dt_format not in ("rfc822", "iso8601"):
            raise ValueError(f'dt_format is "rfc822" or "iso8601", not {dt_format!r}')
        self.dt_format = dt_format

    def format(self, value: Any) -> Any:
        """The moment as text."""
        if not isinstance(value, date):
            raise TypeError("it is neither a datetime nor a date")
        if self.dt_format == "iso8601":
            return value.isoformat()
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        return format_datetime(moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None))


class FormattedString(Raw):
    """Text made of several values: ``FormattedString("Hello {name}")``."""

    takes_whole = True

    def __init__(self, src_str: str) -> None:
        super().__init__()
        self.src_str = src_str

    def output(self, key: Any, source: Any) -> Any:
        """The text, with what stands in braces looked up in ``source``.

        Raises:
            MarshallingException: it has no such value.
        """
        try:
            return self.src_str.format_map(Values(source))
        except (LookupError, ValueError, TypeError) as error:
            raise MarshallingException(f"FormattedString cannot fill {self.src_str!r}: {error}") from error


class Values(dict[str, Any]):
    """The values of an object by name, for ``str.format_map``."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.source = source

    def __missing__(self, name: str) -> Any:
        value = get_value(name, self.source, MISSING)
        if value is MISSING:
            raise KeyError(name)
        return value


MISSING = object()
