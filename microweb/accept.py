"""What a client accepts: the Accept headers, and which of several candidates it would like best.

Only words are compared here; which representation is sent is decided by the caller: ``requests`` (``accept``),
``errorhandlers`` (HTML or problem+json), ``representations``, static files and the compressing middleware. Loaded when
the first of them asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar, overload

from microweb.absences import OF_ACCEPTING, without
from microweb.grammar import Grammar
from microweb.mediatype import parse_media_type

__all__ = ["Accept", "AcceptEncoding", "AcceptLanguage", "AcceptPlain"]

# The items of a list (RFC 9110 §5.6.1). A quote that is never closed takes the rest, so that each
# character is looked at once.
_ITEM = Grammar(r'(?:[^",]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"|".*+)+', re.DOTALL)
# RFC 9110 §12.4.2; beyond it more than three decimals, and none before the point: Java's client sends q=.2
_WEIGHT = Grammar(r"0?\.[0-9]++|0\.?|1(?:\.0*+)?")

D = TypeVar("D")


_Parameters: TypeAlias = frozenset[tuple[str, str]]


class _Range(NamedTuple):
    value: str
    parameters: _Parameters
    quality: float


class _Match(NamedTuple):
    """How a range holds a candidate. The greatest match of a candidate is the one that counts."""

    specificity: tuple[int, int]
    quality: float


def _find_items(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Value, parameters and quality of each valid item."""
    for item in _ITEM.findall(header) if '"' in header else header.split(","):
        value, parameters = parse_media_type(item)
        weight = parameters.pop("q", "1")
        if value and _WEIGHT.fullmatch(weight) is not None:
            yield value, parameters, float(weight[:8])


def _lower(parameters: dict[str, str]) -> _Parameters:
    return frozenset((name, text.lower()) for name, text in parameters.items()) if parameters else frozenset()


@without(OF_ACCEPTING, may_be_set=True)
class AcceptPlain:
    """What a client accepts of things that have plain names: the ``Accept-Charset`` header.

    A header that is missing or has no valid item accepts everything; an item with an invalid weight does
    not count. Upper and lower case are the same. ``in`` is true of what has a quality above 0.

    >>> charsets = AcceptPlain("utf-8, iso-8859-1;q=0.5, *;q=0.1")
    >>> charsets.best(["latin-9", "iso-8859-1"]), charsets.quality("UTF-8"), charsets.values()
    ('iso-8859-1', 1.0, ['utf-8', 'iso-8859-1', '*'])
    """

    __slots__ = ("_header", "_ranges")

    _everything: ClassVar[tuple[str, ...]] = ("*",)
    """What a header without items stands for."""

    def __init__(self, header: str | None = None) -> None:
        self._header = header
        self._ranges: list[_Range] = []
        for value, parameters, quality in _find_items(header or ""):
            name = self._normalize(value)
            if name is not None:
                self._ranges.append(_Range(name, _lower(parameters), quality))
        if not self._ranges:
            self._ranges = [_Range(value, frozenset(), 1.0) for value in self._everything]

    def _normalize(self, value: str) -> str | None:
        """The name to compare by; None for one that is invalid."""
        return value

    def _find_match(self, candidate: str) -> _Match | None:
        name = self._normalize(candidate.lower())
        return max(
            (
                _Match((int(value != "*"), 0), quality)
                for value, _, quality in self._ranges
                if value == name or value == "*"
            ),
            default=None,
        )

    def quality(self, candidate: str) -> float:
        """How much ``candidate`` is wanted, from 1 down to 0, which is not at all."""
        match = self._find_match(candidate)
        return 0.0 if match is None else match.quality

    def __contains__(self, candidate: str) -> bool:
        return self.quality(candidate) > 0

    @overload
    def best(self, candidates: Iterable[str]) -> str | None: ...
    @overload
    def best(self, candidates: Iterable[str], default: D) -> str | D: ...
    def best(self, candidates: Iterable[str], default: D | None = None) -> str | D | None:
        """The candidate that is wanted most; ``default`` if all are unacceptable.

        Of those wanted equally, it is the one that the client names most precisely, then the first.
        """
        best: str | D | None = default
        highest: tuple[float, tuple[int, int]] = (0.0, (2, 0))
        for candidate in candidates:
            match = self._find_match(candidate)
            if match is not None and (match.quality, match.specificity) > highest:
                best, highest = candidate, (match.quality, match.specificity)
        return best

    def values(self) -> list[str]:
        """What the header names as acceptable, lower case, without parameters, the most wanted first."""
        wanted = sorted(self._ranges, key=lambda each: each.quality, reverse=True)
        return [each.value for each in wanted if each.quality > 0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._header!r})"


class AcceptEncoding(AcceptPlain):
    """Which content codings a client accepts (RFC 9110 §12.5.3).

    Without the header only ``identity`` is accepted: the RFC would allow any coding then, but clients that
    send none cannot decode any. An ``identity`` that is not named is the last resort, unless ``*`` excludes
    it.

    >>> AcceptEncoding("gzip;q=0.5, br").best(["identity", "zstd", "gzip", "br"])
    'br'
    """

    __slots__ = ()

    _everything = ()

    def _normalize(self, value: str) -> str | None:
        # RFC 9110 §8.4.1: the old names mean the same
        return value.removeprefix("x-") if value in ("x-gzip", "x-compress") else value

    def _find_match(self, candidate: str) -> _Match | None:
        match = super()._find_match(candidate)
        if match is None and candidate.lower() == "identity":
            return _Match((0, 0), 0.001)
        return match


class AcceptLanguage(AcceptPlain):
    """Which languages a client accepts (RFC 9110 §12.5.4); ``en_US`` is ``en-US``.

    Whole tags are compared. Only ``best`` falls back to primary tags, as werkzeug's does: first to those of
    the client ("en-US" is content with "en"), then to those of the candidates ("en" with "en-US").

    >>> AcceptLanguage("de-AT, en;q=0.5").best(["fr", "de"])
    'de'
    """

    __slots__ = ()

    def _normalize(self, value: str) -> str | None:
        return value.replace("_", "-")

    @overload
    def best(self, candidates: Iterable[str]) -> str | None: ...
    @overload
    def best(self, candidates: Iterable[str], default: D) -> str | D: ...
    def best(self, candidates: Iterable[str], default: D | None = None) -> str | D | None:
        """The candidate that is wanted most, if need be by its primary tag; ``default`` if there is none."""
        offered = list(candidates)
        found = super().best(offered)
        if found is not None:
            return found
        primary = AcceptLanguage()
        primary._ranges = [each._replace(value=each.value.partition("-")[0]) for each in self._ranges]
        found = super(AcceptLanguage, primary).best(offered)
        if found is not None:
            return found
        by_primary: dict[str, str] = {}
        for candidate in offered:
            by_primary.setdefault(candidate.replace("_", "-").partition("-")[0], candidate)
        found = super().best(by_primary)
        return default if found is None else by_primary[found]


class Accept(AcceptPlain):
    """Which media types a client accepts (RFC 9110 §12.5.1).

    What it says of ``type/subtype`` counts before ``type/*``, and that before ``*/*``. A range with
    parameters holds only candidates that have them too, and counts before the range without. The parameter
    ``charset`` is not asked for where the candidate names none: JSON has no such parameter, yet clients
    send it.

    >>> accept = Accept("text/html, application/json;q=0.9, */*;q=0.1")
    >>> accept.best(["application/json", "text/html"]), accept.quality("image/png")
    ('text/html', 0.1)
    """

    __slots__ = ()

    _everything = ("*/*",)

    def _normalize(self, value: str) -> str | None:
        if "/" in value:
            return value
        # Java's client sends a lone asterisk.
        return "*/*" if value == "*" else None

    def _find_match(self, candidate: str) -> _Match | None:
        media_type, parameters = parse_media_type(candidate)
        exactness = {"*/*": 0, media_type.partition("/")[0] + "/*": 1, media_type: 2}
        given = _lower(parameters)
        best: _Match | None = None
        for value, wanted, quality in self._ranges:
            if value not in exactness:
                continue
            if not wanted <= given:
                missing = {name for name, _ in wanted - given}
                if missing != {"charset"} or "charset" in parameters:
                    continue
            match = _Match((exactness[value], len(wanted)), quality)
            if best is None or match > best:
                best = match
        return best
