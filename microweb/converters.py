"""Converters: how the text of one variable in a rule is read and written.

``Converter`` is the class to derive from; the others are the built-in ones, with werkzeug's names, arguments
and weights. ``rulereading.py`` makes them while it reads a rule. What a rule looks like is decided there, and
which of several rules wins in ``routetable.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from microweb.quoting import quote_path, quote_segment

__all__ = [
    "BUILTIN_CONVERTERS",
    "NO_MATCH",
    "AnyConverter",
    "Breadth",
    "BuiltinConverter",
    "Convert",
    "Converter",
    "FloatConverter",
    "IntConverter",
    "PathConverter",
    "StringConverter",
    "UUIDConverter",
]

NO_MATCH: Final[Any] = object()
"""What a ``Convert`` function returns for text that does not fit; everything else is a value."""

Convert = Callable[[str], Any]
"""Turns the whole text of a variable into its value, or ``NO_MATCH``."""

Breadth = tuple[float, ...]
"""Orders what converters let through: first by kind (2 is a converter of the program), then by how much."""


class Converter:
    """Reads and writes one variable of a rule; derive from it and put the class in ``app.converters``.

    ``regex`` says which text fits. It sees one decoded segment of the path; if it has a slash in it (outside
    ``[^...]``) it sees the rest of the path, unless the class sets ``part_isolating``. ``weight`` orders
    converters that stand at one place, small first. The arguments in a rule, ``<list(";"):tags>``, are
    those of ``__init__``; a ``TypeError`` or ``ValueError`` there is reported as an error in the rule.

    >>> from microweb.rulereading import parse_pattern
    >>> class ListConverter(Converter):
    ...     regex = "[a-z,]+"
    ...     def to_python(self, value: str) -> list[str]:
    ...         return value.split(",")
    ...     def to_url(self, value: list[str]) -> str:
    ...         return ",".join(value)
    >>> pattern = parse_pattern("/tags/<list:tags>", {"list": ListConverter})
    >>> pattern.build({"tags": ["a", "b"]})
    '/tags/a,b'
    """

    regex: str = "[^/]+"
    weight: int = 100
    part_isolating: bool = True

    def __init_subclass__(cls) -> None:
        if "regex" in cls.__dict__ and "part_isolating" not in cls.__dict__:
            cls.part_isolating = "/" not in re.sub(r"\[\^[^\]]*\]", "", cls.regex)

    def to_python(self, value: str) -> Any:
        """Turn the decoded text into the view's value; after a ``ValueError`` the rule does not match."""
        return value

    def to_url(self, value: Any) -> str:
        """Turn a value into text for the path, percent-encoded where that matters.

        Raises:
            ValueError: the value does not fit.
        """
        text = str(value)
        return quote_segment(text) if self.part_isolating else quote_path(text)


class BuiltinConverter(Converter):
    """A converter of our own: it matches without its regex, and can be compared with others of its kind."""

    breadth: Breadth
    """How much text fits: of two converters with one weight the narrower one goes first."""

    def key(self) -> Hashable:
        """Equal for converters that take the same text."""
        return (type(self),)

    def convert(self) -> Convert:
        """Make the function that reads a text; it never raises."""
        raise NotImplementedError

    def reach(self, text: str, start: int, stop: int, digits: list[int]) -> range | list[int]:
        """Where a piece of text that begins at ``start`` may end, ``stop`` at most.

        A range when every place in it is possible, else a list in order of preference. ``digits[i]`` is the
        end of the run of ASCII digits at ``i``.
        """
        raise NotImplementedError


class StringConverter(BuiltinConverter):
    """One segment of text, the converter of a plain ``<name>``."""

    def __init__(self, minlength: int | None = None, maxlength: int | None = None, length: int | None = None) -> None:
        for value in (minlength, maxlength, length):
            check_number(value, int)
        if length is not None:
            if minlength is not None or maxlength is not None:
                raise ValueError("length stands alone, without minlength and maxlength")
            minlength = maxlength = length
        self.minlength = 1 if minlength is None else minlength
        self.maxlength = maxlength
        if self.minlength < 1:
            raise ValueError("a segment has at least one character")
        if maxlength is not None and maxlength < self.minlength:
            raise ValueError(f"maxlength={maxlength} is less than minlength={self.minlength}")
        self.regex = f"[^/]{{{self.minlength},{'' if maxlength is None else maxlength}}}"
        self.breadth = (4, -self.minlength) if maxlength is None else (3, maxlength - self.minlength)

    @property
    def is_plain(self) -> bool:
        """Whether it takes any text but the empty one."""
        return self.minlength == 1 and self.maxlength is None

    def key(self) -> Hashable:
        """As for every built-in converter."""
        return StringConverter, self.minlength, self.maxlength

    def convert(self) -> Convert:
        """As for every built-in converter."""
        low, high = self.minlength, self.maxlength
        if high is not None:
            return lambda text: text if low <= len(text) <= high else NO_MATCH
        if low > 1:
            return lambda text: text if len(text) >= low else NO_MATCH
        return lambda text: text or NO_MATCH

    def reach(self, text: str, start: int, stop: int, digits: list[int]) -> range | list[int]:
        """As for every built-in converter."""
        if self.maxlength is not None:
            stop = min(stop, start + self.maxlength)
        return range(start + self.minlength, stop + 1)

    def to_url(self, value: Any) -> str:
        """The text, percent-encoded; a slash too."""
        text = str(value)
        if self.convert()(text) is NO_MATCH:
            raise ValueError(f"{text!r} is not of the right length")
        return quote_segment(text)


class AnyConverter(BuiltinConverter):
    """One of the items given: ``<any(about, help, "foo,bar"):page>``."""

    def __init__(self, *items: Any) -> None:
        if not items:
            raise ValueError("any() needs at least one item")
        for item in items:
            if isinstance(item, bool) or not isinstance(item, str | int) or item == "":
                raise ValueError(f"an item is a word or a quoted text, not {item!r}")
        self.items = tuple(dict.fromkeys(str(item) for item in items))
        self.regex = f"(?:{'|'.join(re.escape(item) for item in self.items)})"
        self.breadth = (0, len(self.items))

    def key(self) -> Hashable:
        """As for every built-in converter."""
        return AnyConverter, frozenset(self.items)

    def convert(self) -> Convert:
        """As for every built-in converter."""
        items = frozenset(self.items)
        return lambda text: text if text in items else NO_MATCH

    def reach(self, text: str, start: int, stop: int, digits: list[int]) -> range | list[int]:
        """As for every built-in converter."""
        return [start + len(item) for item in self.items if text.startswith(item, start, stop)]

    def to_url(self, value: Any) -> str:
        """The item, percent-encoded."""
        text = str(value)
        if text not in self.items:
            raise ValueError(f"{text!r} is not one of {', '.join(map(repr, self.items))}")
        return quote_segment(text)


class PathConverter(BuiltinConverter):
    """Text with slashes in it, but not at its beginning."""

    regex = r"[^/][\s\S]*?"
    weight = 200
    part_isolating = False
    breadth = (5,)

    def convert(self) -> Convert:
        """As for every built-in converter."""
        return lambda text: text if text and text[0] != "/" else NO_MATCH

    def reach(self, text: str, start: int, stop: int, digits: list[int]) -> range | list[int]:
        """As for every built-in converter."""
        return range(start + 1, stop + 1) if text[start : start + 1] != "/" else []

    def to_url(self, value: Any) -> str:
        """The text, percent-encoded but for its slashes."""
        text = str(value)
        if self.convert()(text) is NO_MATCH:
            raise ValueError(f"{text!r} is empty or begins with a slash")
        return quote_path(text)


class IntConverter(BuiltinConverter):
    """ASCII digits as an ``int``; a sign only if ``signed``, and ``fixed_digits`` of them if that is set."""

    weight = 50

    def __init__(
        self, fixed_digits: int = 0, min: int | None = None, max: int | None = None, signed: bool = False
    ) -> None:
        for value in (fixed_digits, min, max):
            check_number(value, int)
        if not 0 <= fixed_digits <= 4300:  # What int() takes at most (CVE-2020-10735).
            raise ValueError("fixed_digits is a number up to 4300")
        self.fixed_digits, self.max, self.signed = fixed_digits, max, check_sign(signed)
        self.min = None if min is not None and min <= 0 and not signed else min
        self.regex = "-?[0-9]+" if signed else "[0-9]+"
        low: float = -math.inf if signed else 0
        high: float = math.inf
        if fixed_digits:
            low, high = (1 - 10 ** (fixed_digits - 1) if signed else 0), 10**fixed_digits - 1
        self.breadth = (*measure(low, high, self.min, self.max), 0 if fixed_digits else 1)

    @property
    def is_plain(self) -> bool:
        """Whether ``isdigit`` and ``int`` are all there is to it."""
        return not self.fixed_digits and self.min is None and self.max is None and not self.signed

    def key(self) -> Hashable:
        """As for every built-in converter."""
        return IntConverter, self.fixed_digits, self.min, self.max, self.signed

    def convert(self) -> Convert:
        """As for every built-in converter."""
        length, signed = self.fixed_digits, self.signed
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max

        def convert_int(text: str) -> Any:
            digits = text[1:] if signed and text[:1] == "-" else text
            # int() alone would also take "+1", " 1", "1_000" and other scripts' digits.
            if not digits.isdigit() or not digits.isascii() or (length and len(text) != length):
                return NO_MATCH
            try:
                value = int(text)
            except ValueError:  # More digits than int() takes.
                return NO_MATCH
            return value if low <= value <= high else NO_MATCH

        return convert_int

    def reach(self, text: str, start: int, stop: int, digits: list[int]) -> range | list[int]:
        """As for every built-in converter."""
        first = start + 1 if self.signed and text[start : start + 1] == "-" else start
        last = min(stop, digits[first])
        if self.fixed_digits:
            end = start + self.fixed_digits
            return range(end, end + 1) if first < end <= last else []
        return range(first + 1, last + 1)

    def to_url(self, value: Any) -> str:
        """The digits, with leading zeros if there is a fixed number of them."""
        number = int(value)
        if number != value and not isinstance(value, str):
            raise ValueError(f"{value!r} is no whole number")
        text = str(number).zfill(self.fixed_digits)
        if self.convert()(text) is NO_MATCH:
            raise ValueError(explain_misfit(text, signed=self.signed))
        return text


def explain_misfit(text: str, *, signed: bool) -> str:
    """Why a converter of numbers does not match what it has written itself."""
    if text.startswith("-") and not signed:
        return f"{text} is negative, which takes signed=True"
    return f"{text} is not within the limits"


class FloatConverter(BuiltinConverter):
    """Digits, a point and digits as a ``float``: with a sign only if ``signed=True``."""

    weight = 50

    def __init__(self, min: float | None = None, max: float | None = None, signed: bool = False) -> None:
        for value in (min, max):
            check_number(value, int | float)
        self.max, self.signed = max, check_sign(signed)
        self.min = None if min is not None and min <= 0 and not signed else min
        self.regex = r"-?[0-9]+\.[0-9]+" if signed else r"[0-9]+\.[0-9]+"
        self.breadth = measure(-math.inf if signed else 0, math.inf, self.min, self.max)

    def key(self) -> Hashable:
        """As for every built-in converter."""
        return FloatConverter, self.min, self.max, self.signed

    def convert(self) -> Convert:
        """As for every built-in converter."""
        signed = self.signed
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max

        def convert_float(text: str) -> Any:
            whole, _, fraction = text.partition(".")
            if signed and whole[:1] == "-":
                whole = whole[1:]
            if not (whole.isdigit() and fraction.isdigit() and text.isascii()):
                return NO_MATCH
            value = float(text)
            # A number too large for a float is inf, of which no path could be built.
            return value if low <= value <= high and not math.isinf(value) else NO_MATCH

        return convert_float

    def reach(self, text: str, start: int, stop: int, digits: list[int]) -> range | list[int]:
        """As for every built-in converter."""
        first = start + 1 if self.signed and text[start : start + 1] == "-" else start
        point = digits[first]
        if point == first or text[point : point + 1] != ".":
            return []
        return range(point + 2, min(stop, digits[point + 1]) + 1)

    def to_url(self, value: Any) -> str:
        """The number with a point and without an exponent, as exact as ``repr``."""
        text = repr(float(value))
        if "e" in text:
            from decimal import Decimal

            text = format(Decimal(text), "f")
            if "." not in text:
                text += ".0"
        if self.convert()(text) is NO_MATCH:
            raise ValueError(explain_misfit(text, signed=self.signed))
        return text


class UUIDConverter(BuiltinConverter):
    """A UUID with its hyphens, as a ``uuid.UUID``."""

    regex = "[A-Fa-f0-9]{8}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{4}-[A-Fa-f0-9]{12}"
    part_isolating = True
    breadth = (1,)

    def __init__(self) -> None:
        from uuid import UUID

        self.type = UUID

    def convert(self) -> Convert:
        """As for every built-in converter."""
        make = self.type

        def convert_uuid(text: str) -> Any:
            if len(text) != 36 or not text[8] == text[13] == text[18] == text[23] == "-":
                return NO_MATCH
            # The class alone would also take braces, prefixes, signs and underscores.
            digits = text.replace("-", "")
            if len(digits) != 32 or not digits.isalnum() or not digits.isascii():
                return NO_MATCH
            try:
                return make(digits)
            except ValueError:
                return NO_MATCH

        return convert_uuid

    def reach(self, text: str, start: int, stop: int, digits: list[int]) -> range | list[int]:
        """As for every built-in converter."""
        end = start + 36
        return [end] if end <= stop and self.convert()(text[start:end]) is not NO_MATCH else []

    def to_url(self, value: Any) -> str:
        """The UUID with its hyphens; text that is one may be given too."""
        return str(value if isinstance(value, self.type) else self.type(str(value)))


BUILTIN_CONVERTERS: Final[Mapping[str, type[Converter]]] = {
    "default": StringConverter,
    "string": StringConverter,
    "any": AnyConverter,
    "path": PathConverter,
    "int": IntConverter,
    "float": FloatConverter,
    "uuid": UUIDConverter,
}
"""The converters that every rule can name; ``default`` is that of a variable without one."""


def check_number(value: object, kind: Any) -> None:
    # A rule's author is told what is wrong; True would pass for 1.
    if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
        raise ValueError(f"{value!r} stands where a number is expected")


def check_sign(signed: Any) -> bool:
    if not isinstance(signed, bool):
        raise ValueError(f"signed is True or False, not {signed!r}")
    return signed


def measure(low: float, high: float, minimum: float | None, maximum: float | None) -> Breadth:
    """How broad the range within the limits is, once it is found to hold a number."""
    low = low if minimum is None else max(low, minimum)
    high = high if maximum is None else min(high, maximum)
    if low > high:
        raise ValueError("no number is within these limits")
    if high != math.inf and low != -math.inf:
        return (0, high - low)
    if low != -math.inf:
        return (1, -low)
    return (2, high)
