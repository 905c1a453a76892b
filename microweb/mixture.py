"""Mixtures: segments of literals and several variables, ``<first>-<second>.txt``, taken apart in linear time.

A regex would do the same as long as nobody wants it to fail slowly: ``<a>-<b>-<c>.txt`` against 8,000 hyphens
keeps one busy for minutes. Here each variable is tried at each place at most once. What is found is what the
regex finds: each variable takes as much as it can, from the left; a path takes as little as it can.

``patterns.py`` makes the functions, for segments and for the end of a rule behind a path converter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from microweb.converters import BuiltinConverter, Converter, PathConverter

__all__ = ["Split", "make_regex_split", "make_split"]

Split = Callable[[str], list[str] | None]
"""Takes a text apart into the texts of its variables; None if it does not fit."""


def make_split(literals: Sequence[str], converters: Sequence[BuiltinConverter], *, spans_segments: bool) -> Split:
    """Make the function for built-in converters.

    ``literals`` are the texts before, between and after the variables, one more than there are of these.
    With ``spans_segments`` a slash in the text ends every variable but a path.
    """
    prefix, *between, suffix = literals

    def split(text: str) -> list[str] | None:
        stop = len(text) - len(suffix)
        if stop < len(prefix) or not text.startswith(prefix) or not text.endswith(suffix):
            return None
        search = Search(text, stop, between, converters, spans_segments)
        return search.pieces[::-1] if search.place(0, len(prefix)) else None

    return split


class Search:
    """One text on its way to being split: where its variables begin and end.

    ``tried`` holds each variable with each beginning that led nowhere. ``lowest`` holds, by variable and
    highest possible end, the lowest end that was tried: everything between the two led nowhere.
    """

    __slots__ = (
        "between",
        "converters",
        "digits",
        "lowest",
        "pieces",
        "spans_segments",
        "stop",
        "text",
        "tried",
    )

    def __init__(
        self,
        text: str,
        stop: int,
        between: Sequence[str],
        converters: Sequence[BuiltinConverter],
        spans_segments: bool,
    ) -> None:
        self.text = text
        self.stop = stop
        self.between = between
        self.converters = converters
        self.spans_segments = spans_segments
        self.digits = find_digit_runs(text)
        self.tried: set[tuple[int, int]] = set()
        self.lowest: dict[tuple[int, int], int] = {}
        self.pieces: list[str] = []
        """What was found, the last piece first."""

    def place(self, index: int, start: int) -> bool:
        """Find an end for the variable that begins here, and for all after it."""
        if (index, start) in self.tried:
            return False
        self.tried.add((index, start))
        text, stop, converter = self.text, self.stop, self.converters[index]
        is_path = isinstance(converter, PathConverter)
        limit = stop
        if self.spans_segments and not is_path:
            slash = text.find("/", start, stop)
            limit = stop if slash < 0 else slash
        reach = converter.reach(text, start, limit, self.digits)
        if index == len(self.between):
            if stop in reach:
                self.pieces.append(text[start:stop])
                return True
            return False
        literal = self.between[index]
        if isinstance(reach, range):
            key = (index, reach.stop)
            reach = range(reach.start, self.lowest.get(key, reach.stop))
            self.lowest[key] = min(reach.start, reach.stop)
        for end in find_ends(text, literal, reach, stop, lazy=is_path):
            if self.place(index + 1, end + len(literal)):
                self.pieces.append(text[start:end])
                return True
        return False


def find_ends(text: str, literal: str, reach: range | list[int], stop: int, *, lazy: bool) -> Iterator[int]:
    """The places in ``reach`` where the literal stands, in order of preference."""
    if isinstance(reach, list):
        yield from [end for end in reach if text.startswith(literal, end, stop)]
        return
    size = len(literal)
    low, high = reach.start, min(reach.stop - 1 + size, stop)
    find = text.find if lazy else text.rfind
    end = find(literal, low, high)
    while end >= 0:
        yield end
        if lazy:
            low = end + 1
        else:
            high = end + size - 1
        end = find(literal, low, high) if low + size <= high else -1


def find_digit_runs(text: str) -> list[int]:
    """For each place in a text, and the two after it, where the ASCII digits end that begin there."""
    ends = list(range(len(text) + 3))
    for index in range(len(text) - 1, -1, -1):
        if "0" <= text[index] <= "9":
            ends[index] = ends[index + 1]
    return ends


def make_regex_split(literals: Sequence[str], converters: Sequence[Converter], *, longest: int | None) -> Split:
    """Make the function for mixtures with a converter of the program, whose regex only ``re`` understands.

    SECURITY: how long that takes is then up to ``re``. Text over ``longest`` does not match, so that
    a segment cannot be made to take long (test_mixture.py::test_a_mixture_by_regex_takes_no_long_text).

    Raises:
        re.error: the regexes cannot be put together.
    """
    source = [re.escape(literals[0])]
    for index, (converter, literal) in enumerate(zip(converters, literals[1:], strict=True)):
        source.append(f"(?P<_{index}>{converter.regex}){re.escape(literal)}")
    fullmatch = re.compile("".join(source)).fullmatch
    names = [f"_{index}" for index in range(len(converters))]

    def split(text: str) -> list[str] | None:
        if longest is not None and len(text) > longest:
            return None
        match = fullmatch(text)
        return None if match is None else [match[name] for name in names]

    return split
