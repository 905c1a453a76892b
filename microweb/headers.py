"""Header lines: the mutable ones of a response, the read-only ones of a request.

Both are views over the list that ASGI carries, pairs of bytes with lower-case names, so nothing is
converted on the way to the server and only what is looked at is decoded on the way in. The two
check functions at the top stand between any text and the wire. What a header's value *means* is
not here: see ``cookies``, ``mediatype``, ``conditional``.

Used by ``requests``, ``responses``, ``websockets`` and every middleware.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from functools import lru_cache
from typing import Any, TypeVar, overload

from microweb.absences import OF_HEADER_LINES, OF_HEADERS, without
from microweb.errors import BadRequestKeyError, RequestHeaderFieldsTooLarge

__all__ = [
    "Headers",
    "RequestHeaders",
    "encode_name",
    "encode_value",
    "find_body_headers",
    "find_content_lines",
    "find_header",
]

T = TypeVar("T")
D = TypeVar("D")

_MISSING: Any = object()

# RFC 9110 §5.6.2: token = 1*tchar
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110 §5.5: CR, LF and NUL are dangerous; the other controls are invalid too, TAB excepted.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def _checked_name(name: str) -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"a header name is a str, not {type(name).__name__}: {name!r}")
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"a header name is a token of RFC 9110 (letters, digits, hyphens), not {name!r}")
    return name.lower().encode("ascii")


encode_name: Callable[[str], bytes] = lru_cache(maxsize=512)(_checked_name)
"""The lower-case bytes of a header name that may go on the wire.

Raises:
    ValueError: the name is not a token (RFC 9110 §5.6.2).
    TypeError: it is not a ``str``.
"""


def encode_value(value: str | int | float, name: str = "") -> bytes:
    """The bytes of a header value that may go on the wire; ``name`` is for the error text.

    Spaces and tabs around the value are dropped: they are no part of it (RFC 9110 §5.5). Numbers are
    written in decimal.

    Raises:
        ValueError: the value holds a control character, or a character that Latin-1 lacks.
        TypeError: it is neither ``str`` nor a number.
    """
    # SECURITY: test_no_control_character_gets_into_a_header
    if not isinstance(value, str):
        value = _decimal(value, name)
    # PERF(walk.header-layers): two C calls decide for nearly every value; no control character is printable.
    if value.isascii() and value.isprintable():
        return value.strip(" ").encode("ascii")
    try:
        encoded = value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the value of header {name!r} must be Latin-1 (percent-encode the rest), not {value!r}"
        ) from error
    if _CONTROL.search(encoded) is not None:
        raise ValueError(f"the value of header {name!r} contains a control character: {value!r}")
    return encoded.strip(b" \t")


def _decimal(value: object, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"the value of header {name!r} is a str or a number, not {type(value).__name__}")
    return str(value)


@lru_cache(maxsize=512)
def _sought(name: str) -> bytes:
    """The key to look for; a name that no line can have gets one that no server lets through."""
    try:
        return name.encode("latin-1").lower()
    except UnicodeEncodeError:
        return b"\n"


@without(OF_HEADER_LINES, may_be_set=True)
class HeaderLines(Mapping[str, str]):
    """What reading is for both kinds of headers: names in any case, lines in order, repeats kept.

    Length, iteration, ``keys()``, ``values()`` and ``items()`` go by line, so a name that is repeated
    comes up repeatedly. Names come out in lower case.
    """

    __slots__ = ()

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str, type: None = ...) -> str: ...
    @overload
    def get(self, name: str, /, default: D, type: None = ...) -> str | D: ...
    @overload
    def get(self, name: str, /, default: None = None, *, type: Callable[[str], T]) -> T | None: ...
    @overload
    def get(self, name: str, /, default: None, type: Callable[[str], T]) -> T | None: ...
    @overload
    def get(self, name: str, /, default: D, type: Callable[[str], T]) -> T | D: ...
    def get(self, name: str, /, default: Any = None, type: Callable[[str], Any] | None = None) -> Any:
        """The value of ``name``, passed through ``type``; ``default`` where that has no answer.

        No answer is: there is no such line, or ``type`` raised ``ValueError`` or ``TypeError``.
        """
        value = self._find(name)
        if value is None:
            return default
        if type is None:
            return value
        try:
            return type(value)
        except (ValueError, TypeError):
            return default

    @overload
    def getlist(self, name: str, type: None = None) -> list[str]: ...
    @overload
    def getlist(self, name: str, type: Callable[[str], T]) -> list[T]: ...
    def getlist(self, name: str, type: Callable[[str], Any] | None = None) -> list[Any]:
        """The values of each line called ``name``, passed through ``type``; those it refuses are left out."""
        values = self._find_all(name)
        if type is None:
            return values
        converted: list[Any] = []
        for value in values:
            try:
                converted.append(type(value))
            except (ValueError, TypeError):
                continue
        return converted

    @abstractmethod
    def _find(self, name: str) -> str | None: ...

    @abstractmethod
    def _find_all(self, name: str) -> list[str]: ...

    @abstractmethod
    def _lines(self) -> Sequence[tuple[bytes, bytes]]: ...

    def items(self) -> ItemsView[str, str]:
        """Name and value of each line."""
        return _Lines(self)

    def values(self) -> ValuesView[str]:
        """The value of each line."""
        return _Values(self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1").lower() for name, _ in self._lines())

    def __len__(self) -> int:
        return len(self._lines())

    def __eq__(self, other: object) -> bool:
        """Equal when each name has the same values in the same order, whatever the order of the names."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return _by_name(self) == _by_name(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.items())!r})"


def _by_name(lines: Mapping[Any, Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for name, value in lines.items():
        grouped.setdefault(str(name).lower(), []).append(value)
    return grouped


class _Lines(ItemsView[str, str]):
    __slots__ = ()
    _mapping: HeaderLines

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for name, value in self._mapping._lines():
            yield name.decode("latin-1").lower(), value.decode("latin-1")

    def __contains__(self, item: object) -> bool:
        return any(item == line for line in self)


class _Values(ValuesView[str]):
    __slots__ = ()
    _mapping: HeaderLines

    def __iter__(self) -> Iterator[str]:
        return (value.decode("latin-1") for _, value in self._mapping._lines())

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)


@without(OF_HEADERS, may_be_set=True)
class Headers(HeaderLines):
    """The headers of a response, to be changed until it is sent.

    ``raw`` is the list for ASGI's ``http.response.start``, always up to date. ``[]`` and ``get`` show the
    first line of a name (as in werkzeug), ``getlist`` all of them. Every name and value that is set is
    checked (``encode_name``, ``encode_value``), so no value can start another header.

    >>> headers = Headers({"Content-Type": "text/plain"})
    >>> headers.add("Set-Cookie", "a=1")
    >>> headers["content-type"], headers.raw
    ('text/plain', [(b'content-type', b'text/plain'), (b'set-cookie', b'a=1')])
    """

    __slots__ = ("raw",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] | None = None) -> None:
        if items is None:
            self.raw: list[tuple[bytes, bytes]] = []
        elif isinstance(items, Headers):
            self.raw = items.raw.copy()
        else:
            given: Any = items
            # Asking an abstract class costs more than encoding a line; a dict is the rule.
            pairs = given.items() if type(given) is dict or isinstance(given, Mapping) else given
            self.raw = [(encode_name(name), encode_value(value, name)) for name, value in pairs]

    @classmethod
    def from_raw(cls, raw: list[tuple[bytes, bytes]]) -> Headers:
        """Headers over this very list, unchecked: lower-case names, both sides fit for the wire."""
        headers = object.__new__(cls)
        headers.raw = raw
        return headers

    def _lines(self) -> Sequence[tuple[bytes, bytes]]:
        return self.raw

    def _find(self, name: str) -> str | None:
        sought = _sought(name)
        for key, value in self.raw:
            if key == sought:
                return value.decode("latin-1")
        return None

    def _find_all(self, name: str) -> list[str]:
        sought = _sought(name)
        return [value.decode("latin-1") for key, value in self.raw if key == sought]

    def __getitem__(self, name: str) -> str:
        value = self._find(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str | int | float) -> None:
        """Make this the one line called ``name``: at the place of the first there was, or at the end."""
        key = encode_name(name)
        # PERF(walk.header-layers): as `encode_value`, without the call.
        if isinstance(value, str) and value.isascii() and value.isprintable():
            line = (key, value.strip(" ").encode())
        else:
            line = (key, encode_value(value, name))
        raw = self.raw
        for each in raw:
            if each[0] == key:
                self._replace(line)
                return
        raw.append(line)

    def _replace(self, line: tuple[bytes, bytes]) -> None:
        """Put ``line`` in the place of the first one of its name, and drop the others."""
        raw = self.raw
        position = [name for name, _ in raw].index(line[0])
        raw[position:] = [line, *(later for later in raw[position:] if later[0] != line[0])]

    def add(self, name: str, value: str | int | float) -> None:
        """Append a line, beside those of the same name that are there."""
        self.raw.append((encode_name(name), encode_value(value, name)))

    def extend(self, items: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Append all of these lines, or none if one of them is refused."""
        self.raw.extend(Headers(items).raw)

    def update(self, items: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Append these lines in place of all that were there under the same names."""
        lines = Headers(items).raw
        names = {name for name, _ in lines}
        self.raw[:] = [line for line in self.raw if line[0] not in names] + lines

    def setdefault(self, name: str, value: str | int | float) -> str:
        """The first value of ``name``, after appending ``value`` if there was none."""
        found = self._find(name)
        if found is not None:
            return found
        self.add(name, value)
        return self.raw[-1][1].decode("latin-1")

    def remove(self, name: str) -> None:
        """Drop every line called ``name``, if there is one."""
        sought = _sought(name)
        self.raw[:] = [line for line in self.raw if line[0] != sought]

    def __delitem__(self, name: str) -> None:
        before = len(self.raw)
        self.remove(name)
        if len(self.raw) == before:
            raise KeyError(name)

    @overload
    def pop(self, name: str, /) -> str: ...
    @overload
    def pop(self, name: str, /, default: D) -> str | D: ...
    def pop(self, name: str, /, default: Any = _MISSING) -> Any:
        """Drop every line called ``name`` and return the value of the first.

        Raises:
            KeyError: there is none, and no default was given.
        """
        found = self._find(name)
        if found is not None:
            self.remove(name)
            return found
        if default is _MISSING:
            raise KeyError(name)
        return default

    def clear(self) -> None:
        """Drop every line."""
        self.raw.clear()

    def copy(self) -> Headers:
        """Headers of the same lines, in a list of their own."""
        return Headers.from_raw(self.raw.copy())

    __copy__ = copy

    def vary(self, *names: str) -> None:
        """Add these request header names to ``Vary``; those that are there stay, ``*`` absorbs all.

        The result is one line (RFC 9110 §12.5.5), names spelled as they were first given.

        Raises:
            ValueError: one of them is no token.
        """
        listed: dict[bytes, str] = {}
        for value in self._find_all("vary"):
            for part in value.split(","):
                name = part.strip(" \t")
                if name:
                    listed.setdefault(_sought(name), name)
        for name in names:
            listed.setdefault(encode_name(name), name)
        if listed:
            self["vary"] = "*" if b"*" in listed else ", ".join(listed.values())


class RequestHeaders(HeaderLines):
    """The headers of a request: read-only, indexed at the first look.

    ``[]`` and ``get`` join the lines of a repeated name with ``", "``, cookies with ``"; "`` (RFC 9110 §5.3,
    RFC 9113 §8.2.3): one that must not be repeated then has no valid value, instead of one that
    another server on the way may not have seen. ``getlist`` keeps the lines apart. Bytes are decoded as
    Latin-1, so any are readable. A missing name raises ``BadRequestKeyError`` from ``[]``.

    The first look of any kind, except at ``raw``, raises ``RequestHeaderFieldsTooLarge`` if
    name and value of a line are over ``max_line`` bytes, or all lines together over ``max_total``.

    >>> headers = RequestHeaders([(b"host", b"example.org"), (b"accept", b"text/html"), (b"accept", b"*/*")])
    >>> headers["Host"], headers["Accept"], headers.getlist("accept")
    ('example.org', 'text/html, */*', ['text/html', '*/*'])
    """

    __slots__ = ("_index", "_max_line", "_max_total", "raw")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]], *, max_line: int = 8190, max_total: int = 32768) -> None:
        self.raw = raw
        self._index: dict[bytes, bytes] | None = None
        self._max_line = max_line
        self._max_total = max_total

    def _find(self, name: str) -> str | None:
        index = self._index
        if index is None:
            index = self._build_index()
        value = index.get(_sought(name))
        return None if value is None else value.decode("latin-1")

    def _find_all(self, name: str) -> list[str]:
        sought = _sought(name)
        return [value.decode("latin-1") for key, value in self._lines() if key.lower() == sought]

    def _lines(self) -> Sequence[tuple[bytes, bytes]]:
        if self._index is None:
            self._build_index()
        return self.raw

    def __getitem__(self, name: str) -> str:
        value = self._find(name)
        if value is None:
            raise BadRequestKeyError(name, "header")
        return value

    def _build_index(self) -> dict[bytes, bytes]:
        raw = self.raw
        # Most requests repeat no name, have them in lower case as ASGI wants, and all in all
        # less than one line may be; a handful of C calls then settle everything, without a loop.
        index = dict(raw)
        names = b"".join(index)
        size = len(names) + len(b"".join(index.values()))
        if len(index) != len(raw) or not names.islower() or size > self._max_line or size > self._max_total:
            index = self._build_index_by_line()
        self._index = index
        return index

    def _build_index_by_line(self) -> dict[bytes, bytes]:
        total = 0
        grouped: dict[bytes, list[bytes]] = {}
        for name, value in self.raw:
            size = len(name) + len(value)
            if size > self._max_line:
                shown = name[:40].decode("latin-1")
                raise RequestHeaderFieldsTooLarge(
                    f"The header {shown!r} is {size} bytes long; {self._max_line} are accepted (MAX_HEADER_SIZE)."
                )
            total += size
            grouped.setdefault(name.lower(), []).append(value)
        if total > self._max_total:
            raise RequestHeaderFieldsTooLarge(
                f"The headers are {total} bytes long together; {self._max_total} are accepted (MAX_HEADERS_SIZE)."
            )
        # Joined once, after the loop: adding to a value line by line would be quadratic.
        return {name: (b"; " if name == b"cookie" else b", ").join(values) for name, values in grouped.items()}


def find_header(headers: Iterable[tuple[bytes, bytes]], sought: bytes) -> bytes | None:
    """The first line of that name, without building an index; the name in lower case."""
    for name, value in headers:
        if name == sought:
            return value
    return None


def find_content_lines(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The Content-Type, the Content-Length and the Content-Encoding, in one pass.

    PERF(bodies.typed-body): most names are shorter than theirs, and the length is compared fastest.
    """
    content_type = length = coding = None
    for name, line in headers:
        if len(name) > 11:
            if name == b"content-type":
                content_type = line
            elif name == b"content-length":
                length = line
            elif name == b"content-encoding":
                coding = line
    return content_type, length, coding


def find_body_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes | None, bytes | None]:
    """The Content-Length and the Content-Encoding, in one pass."""
    length = coding = None
    for name, value in headers:
        if name == b"content-length":
            length = value
        elif name == b"content-encoding":
            # A second line adds to the first (RFC 9110 §5.3).
            coding = value if coding is None else coding + b", " + value
    return length, coding
