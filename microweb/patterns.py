"""Path and host patterns: what a rule that was read matches, and how its path or host is built.

A ``Pattern`` has segments, each a literal, one variable, or a mixture. It knows how each of its segments matches
and how its path is built. ``rulereading.py`` makes it from a rule's text. It does not know other patterns: which
of many rules wins is the route table's business (``routetable.py``), which one a URL is built from the URL map's
(``urlmap.py``).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeGuard

from microweb.converters import (
    BUILTIN_CONVERTERS,
    NO_MATCH,
    BuiltinConverter,
    Convert,
    Converter,
    PathConverter,
)
from microweb.errors import BuildError, SetupError
from microweb.quoting import PATH, SEGMENT, quote_again, quote_segment

__all__ = [
    "HOST",
    "HostPattern",
    "Part",
    "Pattern",
    "Segment",
    "Tail",
    "Variable",
]


class Variable:
    """One ``<converter(arguments):name>`` of a rule."""

    __slots__ = ("breadth", "convert", "converter", "key", "name", "text")

    def __init__(self, name: str, converter: Converter, text: str, key: Hashable) -> None:
        self.name = name
        self.converter = converter
        self.text = text
        if is_builtin(converter):
            self.key = converter.key()
            self.breadth = converter.breadth
            self.convert = converter.convert()
        else:
            self.key = key
            self.breadth = (2,)
            self.convert = convert_by_regex(converter)

    @property
    def is_path(self) -> bool:
        """Whether it may span several segments."""
        return not self.converter.part_isolating

    def quote(self, value: Any) -> str:
        """The text of a value in a path.

        Raises:
            ValueError: the value does not fit the converter.
        """
        text = self.converter.to_url(value)
        if is_builtin(self.converter):
            return text
        # A converter of the program may quote or not, as werkzeug's do; what it wrote stays in its segment.
        return quote_again(text, PATH if self.is_path else SEGMENT)


BUILTIN_TYPES = frozenset(BUILTIN_CONVERTERS.values())


def is_builtin(converter: Converter) -> TypeGuard[BuiltinConverter]:
    """Whether it behaves as we know it; a subclass of the program may not."""
    return type(converter) in BUILTIN_TYPES


def convert_by_regex(converter: Converter) -> Convert:
    fullmatch = re.compile(converter.regex).fullmatch
    to_python = converter.to_python

    def convert(text: str) -> Any:
        if fullmatch(text) is None:
            return NO_MATCH
        try:
            return to_python(text)
        except ValueError:
            return NO_MATCH

    return convert


Part = str | Variable


class Segment:
    """What stands between two slashes of a rule: literals and variables in turn.

    ``convert`` takes the decoded text of a segment: for one variable it returns its value, for a mixture the
    tuple of its values, and ``NO_MATCH`` if the text does not fit. ``key`` is equal for segments that
    match the same text, whatever their variables are called; ``order`` sorts the more specific first.
    """

    __slots__ = ("convert", "is_path", "is_single", "key", "literal", "order", "parts", "text", "variables")

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        self.literal: str | None = None
        """The whole segment, if it has no variable."""
        self.is_single = False
        """Whether it is one variable and nothing else."""
        self.is_path = False
        """Whether it may match more than one segment of a path."""
        self.key: Hashable = parts
        self.order: tuple[Any, ...] = ()
        self.variables: tuple[Variable, ...] = ()
        self.convert: Convert
        first = parts[0]
        if isinstance(first, str) and len(parts) == 1:
            self.literal = self.text = first
            self.convert = lambda text: () if text == first else NO_MATCH
            return
        self.variables = tuple(part for part in parts if isinstance(part, Variable))
        self.is_single = len(parts) == 1
        self.is_path = any(variable.is_path for variable in self.variables)
        self.text = "".join(part if isinstance(part, str) else part.text for part in parts)
        self.key = tuple(part if isinstance(part, str) else (part.key,) for part in parts)
        self.order = order_of(parts, self.text)
        self.convert = self.variables[0].convert if self.is_single else convert_mixture(parts)

    def build(self, values: Mapping[str, Any]) -> str:
        """Percent-encoded text; raises as ``Pattern.build``."""
        return "".join(
            quote_segment(part) if isinstance(part, str) else build_variable(part, values) for part in self.parts
        )


def order_of(parts: tuple[Part, ...], text: str) -> tuple[Any, ...]:
    """Small for what is specific. As in werkzeug: more literals, longer ones, more variables, their weights.

    Converters of one weight are ordered by how much they let through, and at last by their text, so
    that the order in which rules were added never decides.
    """
    literals = [part for part in parts if isinstance(part, str)]
    variables = [part for part in parts if isinstance(part, Variable)]
    return (
        -len(literals),
        tuple(-len(literal) for literal in literals),
        -len(variables),
        tuple(variable.converter.weight for variable in variables),
        tuple(variable.breadth for variable in variables),
        text,
    )


def build_variable(variable: Variable, values: Mapping[str, Any]) -> str:
    try:
        value = values[variable.name]
    except KeyError:
        raise BuildError(f"the value for {variable.name!r} is missing") from None
    try:
        return variable.quote(value)
    except (ValueError, TypeError, OverflowError) as error:
        kind = variable.text[1:-1]
        source = f"<{kind}:{variable.name}>" if kind else f"<{variable.name}>"
        raise BuildError(f"{value!r} does not fit {source}: {error}") from error


def convert_mixture(parts: tuple[Part, ...], *, spans_segments: bool = False) -> Convert:
    """The convert function of literals mixed with variables: it makes a tuple of values."""
    from microweb.mixture import make_regex_split, make_split

    variables = [part for part in parts if isinstance(part, Variable)]
    literals = [""]
    for part in parts:
        if isinstance(part, str):
            literals[-1] += part
        else:
            literals.append("")
    if len(variables) == 1:
        return convert_affixed(literals[0], variables[0].convert, literals[1])
    converters = [variable.converter for variable in variables]
    builtin = [converter for converter in converters if is_builtin(converter)]
    if len(builtin) == len(converters):
        split = make_split(literals, builtin, spans_segments=spans_segments)
    else:
        # No file name is longer than 255 bytes, so no segment that stands for one is.
        try:
            split = make_regex_split(literals, converters, longest=None if spans_segments else 255)
        except re.error as error:
            regexes = ", ".join(repr(converter.regex) for converter in converters)
            raise SetupError(f"The regexes {regexes} cannot be put together in one rule: {error}.") from error
    converts = [variable.convert for variable in variables]

    def convert_several(text: str) -> Any:
        pieces = split(text)
        if pieces is None:
            return NO_MATCH
        values = tuple(convert(piece) for convert, piece in zip(converts, pieces, strict=True))
        return NO_MATCH if any(value is NO_MATCH for value in values) else values

    return convert_several


def convert_affixed(prefix: str, convert: Convert, suffix: str) -> Convert:
    start, stop = len(prefix), -len(suffix) or None
    shortest = len(prefix) + len(suffix)

    def convert_between(text: str) -> Any:
        if len(text) < shortest or not text.startswith(prefix) or not text.endswith(suffix):
            return NO_MATCH
        value = convert(text[start:stop])
        return NO_MATCH if value is NO_MATCH else (value,)

    return convert_between


def convert_each(segments: Sequence[Segment], texts: Sequence[str]) -> tuple[Any, ...] | None:
    """The values of all variables, if each text fits its segment."""
    values: list[Any] = []
    for segment, text in zip(segments, texts, strict=True):
        value = segment.convert(text)
        if value is NO_MATCH:
            return None
        if segment.is_single:
            values.append(value)
        else:
            values.extend(value)
    return tuple(values)


class Tail:
    """The end of a pattern from its first path-like segment on: it matches a varying number of segments."""

    __slots__ = ("_convert", "_rest", "_simple", "ends_in_path", "is_whole_path", "key", "order", "variables")

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self.variables = tuple(variable for segment in segments for variable in segment.variables)
        self.key: Hashable = tuple(segment.key for segment in segments)
        self.order = order_of(
            tuple(part for segment in segments for part in segment.parts),
            "/".join(segment.text for segment in segments),
        )
        first, *rest = segments
        last = segments[-1].parts[-1]
        self.ends_in_path = isinstance(last, Variable) and last.is_path
        self._simple = first.is_single and not any(segment.is_path for segment in rest)
        self.is_whole_path = self._simple and not rest and type(first.variables[0].converter) is PathConverter
        self._rest = rest
        self._convert: Convert
        if self._simple:
            self._convert = first.convert
        else:
            parts: list[Part] = [*first.parts]
            for segment in rest:
                parts += ["/", *segment.parts]
            self._convert = convert_mixture(tuple(parts), spans_segments=True)

    def match(self, parts: list[str], start: int, stop: int, *, before_slash: bool) -> Any:
        """The tuple of values that ``parts[start:stop]`` give, or ``NO_MATCH``.

        With ``before_slash`` a slash follows in the rule, so that a path in front of it may not end with one.
        """
        if stop <= start or (before_slash and self.ends_in_path and parts[stop - 1][-1:] in ("", "/")):
            return NO_MATCH
        if not self._simple:
            return self._convert("/".join(parts[start:stop]))
        rest = self._rest
        end = stop - len(rest)
        if end <= start:
            return NO_MATCH
        value = self._convert("/".join(parts[start:end]))
        if value is NO_MATCH or not rest:
            return value if value is NO_MATCH else (value,)
        others = convert_each(rest, parts[end:stop])
        return NO_MATCH if others is None else (value, *others)


class Pattern:
    """A rule, parsed: immutable, and equal to nothing but itself.

    ``segments`` are those of the path without the empty one that a trailing slash makes; the empty pattern
    ``""`` is a prefix of nothing, ``"/"`` has no segment and a trailing slash. ``fixed`` segments match one
    segment of a path each; ``tail`` is the rest, None in most rules.

    >>> from microweb.rulereading import parse_pattern
    >>> pattern = parse_pattern("/user/<name>/<int:page>")
    >>> pattern.variables
    ('name', 'page')
    >>> pattern.build({"name": "a/b", "page": 2})
    '/user/a%2Fb/2'
    """

    __slots__ = ("fixed", "rule", "segments", "tail", "trailing_slash", "variables")

    rule: str
    segments: tuple[Segment, ...]
    variables: tuple[str, ...]
    trailing_slash: bool
    fixed: tuple[Segment, ...]
    tail: Tail | None

    def __init__(self, rule: str, segments: tuple[Segment, ...], trailing_slash: bool) -> None:
        set_attribute = object.__setattr__
        set_attribute(self, "rule", rule)
        set_attribute(self, "segments", segments)
        set_attribute(self, "trailing_slash", trailing_slash)
        set_attribute(self, "variables", check_names(rule, segments))
        count = 0
        while count < len(segments) and not segments[count].is_path:
            count += 1
        set_attribute(self, "fixed", segments[:count])
        set_attribute(self, "tail", Tail(segments[count:]) if count < len(segments) else None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a pattern is immutable; {name!r} cannot be set")

    def joined(self, prefix: Pattern) -> Pattern:
        """This pattern under a prefix, with one slash between the two.

        Raises:
            SetupError: a variable is in both.
        """
        trailing_slash = self.trailing_slash if self.rule else prefix.trailing_slash
        rule = f"{prefix.rule.rstrip('/')}/{self.rule.lstrip('/')}" if self.rule else prefix.rule
        return Pattern(rule, prefix.segments + self.segments, trailing_slash)

    def without_slash(self) -> Pattern:
        """This pattern without the slash at its end: a mounted app has both URLs."""
        return Pattern(self.rule.rstrip("/"), self.segments, trailing_slash=False) if self.trailing_slash else self

    def build(self, values: Mapping[str, Any]) -> str:
        """The percent-encoded path for these values; what is not a variable here is not looked at.

        Raises:
            BuildError: a value is missing or does not fit its converter.
        """
        path = "".join(["/" + segment.build(values) for segment in self.segments])
        if not self.trailing_slash:
            return path
        if self.tail is not None and self.tail.ends_in_path and path.endswith("/"):
            raise BuildError(f"{path!r} ends with a slash, and {self.rule!r} has its own there")
        return path + "/"

    def __repr__(self) -> str:
        return f"<Pattern {self.rule!r}>"


class HostPattern:
    """A host, or hosts with variables in them: ``<tenant>.example.com``. Case does not matter, nor do ports.

    >>> from microweb.rulereading import parse_host_pattern
    >>> parse_host_pattern("<tenant>.example.com").match("acme.example.com")
    ('acme',)
    """

    __slots__ = ("key", "order", "rule", "segments", "variables")

    def __init__(self, rule: str, segments: tuple[Segment, ...]) -> None:
        self.rule = rule
        self.segments = segments
        self.variables = check_names(rule, segments)
        self.key: Hashable = tuple(segment.key for segment in segments)
        # The labels at the end say most about a host.
        self.order = tuple(
            (0,) if segment.literal is not None else (1, segment.order) for segment in reversed(segments)
        )

    @property
    def is_static(self) -> bool:
        """Whether it is one host, without variables."""
        return not self.variables

    def match(self, host: str) -> tuple[Any, ...] | None:
        """The values in a host (lower case, no port), None if it does not fit."""
        labels = host.split(".")
        return convert_each(self.segments, labels) if len(labels) == len(self.segments) else None

    def build(self, values: Mapping[str, Any]) -> str:
        """The host for these values; raises as ``Pattern.build``."""
        host = ".".join([segment.build(values) for segment in self.segments])
        if self.variables and (not re.fullmatch(HOST, host) or host.count(".") != len(self.segments) - 1):
            raise BuildError(f"{host!r} is no host of {self.rule!r}")
        return host.lower()

    def __repr__(self) -> str:
        return f"<HostPattern {self.rule!r}>"


# Compiled by those who need them, for most programs need none (and re keeps what it compiled).
HOST = r"[A-Za-z0-9_.-]+"


def check_names(rule: str, segments: tuple[Segment, ...]) -> tuple[str, ...]:
    names = tuple(variable.name for segment in segments for variable in segment.variables)
    for name in names:
        if names.count(name) > 1:
            raise SetupError(f"The rule {rule!r} has the variable {name!r} twice.")
    return names
