"""Path and host patterns in Flask's syntax: what a rule's text means, for matching and for building.

``/user/<name>``, ``/<int(min=1):page>``, ``/<path:rest>``, ``/<first>-<second>.txt``: a rule becomes a
``Pattern`` of segments, each a literal, one variable, or a mixture. A pattern knows how each of its
segments matches and how its path is built. It does not know other patterns: which of many rules wins is
the route table's business (``routetable.py``), which one a URL is built from the URL map's (``urlmap.py``).
"""

import re
from collections.abc import Callable, Hashable, Mapping
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
from microweb.url import PATH, SEGMENT, quote_again, quote_segment

__all__ = [
    "BUILTIN_CONVERTERS",
    "NO_MATCH",
    "Converter",
    "HostPattern",
    "Pattern",
    "Segment",
    "Tail",
    "Variable",
    "parse_host_pattern",
    "parse_pattern",
]

# Patterns ----------------------------------------------------------------------------------------


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
        values = [value]
        for segment, part in zip(rest, parts[end:stop], strict=True):
            value = segment.convert(part)
            if value is NO_MATCH:
                return NO_MATCH
            if segment.is_single:
                values.append(value)
            else:
                values.extend(value)
        return tuple(values)


class Pattern:
    """A rule, parsed: immutable, and equal to nothing but itself.

    ``segments`` are those of the path without the empty one that a trailing slash makes; the empty pattern
    ``""`` is a prefix of nothing, ``"/"`` has no segment and a trailing slash. ``fixed`` segments match one
    segment of a path each; ``tail`` is the rest, None in most rules.

    >>> pattern = parse_pattern("/user/<name>/<int:page>", BUILTIN_CONVERTERS)
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

    @property
    def is_static(self) -> bool:
        """Whether it has no variable."""
        return not self.variables

    def joined(self, prefix: "Pattern") -> "Pattern":
        """This pattern under a prefix, with one slash between the two.

        Raises:
            SetupError: a variable is in both.
        """
        trailing_slash = self.trailing_slash if self.rule else prefix.trailing_slash
        rule = f"{prefix.rule.rstrip('/')}/{self.rule.lstrip('/')}" if self.rule else prefix.rule
        return Pattern(rule, prefix.segments + self.segments, trailing_slash)

    def __truediv__(self, other: "Pattern") -> "Pattern":
        return other.joined(self)

    def build(self, values: Mapping[str, Any]) -> str:
        """The percent-encoded path for these values; what is not a variable here is not looked at.

        Raises:
            BuildError: a value is missing or does not fit its converter.
        """
        path = "".join(["/" + segment.build(values) for segment in self.segments])
        return path + "/" if self.trailing_slash else path

    def __repr__(self) -> str:
        return f"<Pattern {self.rule!r}>"


class HostPattern:
    """A host, or hosts with variables in them: ``<tenant>.example.com``. Case does not matter, nor do ports.

    >>> parse_host_pattern("<tenant>.example.com", BUILTIN_CONVERTERS).match("acme.example.com")
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
        if len(labels) != len(self.segments):
            return None
        values: list[Any] = []
        for segment, label in zip(self.segments, labels, strict=True):
            value = segment.convert(label)
            if value is NO_MATCH:
                return None
            if segment.is_single:
                values.append(value)
            else:
                values.extend(value)
        return tuple(values)

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


# Reading a rule ----------------------------------------------------------------------------------

#   rule       = *( "/" segment )
#   segment    = *( literal / variable )
#   variable   = "<" [ converter [ "(" arguments ")" ] ":" ] name ">"
#   arguments  = argument *( "," argument )
#   argument   = [ name "=" ] ( quoted / word )

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ARGUMENT = r"""\s*(?:([A-Za-z_]\w*)\s*=\s*)?("[^"]*"|'[^']*'|[^\s,()"'=<>]+)\s*([,)])"""
INTEGER = r"-?(?:0|[1-9][0-9]{0,99})"
DECIMAL = r"-?[0-9]{1,99}\.[0-9]{1,99}"
CONSTANTS: Mapping[str, object] = {"None": None, "True": True, "False": False}


def parse_pattern(rule: str, converters: Mapping[str, type[Converter]] = BUILTIN_CONVERTERS) -> Pattern:
    """Read a path rule; ``""`` gives the empty pattern.

    The text between the variables is a path as people write it, not percent-encoded.

    Raises:
        SetupError: the rule cannot be read; the message says where and why.
    """
    if not rule:
        return Pattern("", (), False)
    if rule[0] != "/":
        raise SetupError(f"The rule {rule!r} must start with a slash.")
    segments = read_segments(rule, 1, "/", converters)
    trailing_slash = not segments[-1]
    if trailing_slash:
        segments.pop()
    if [] in segments:
        raise SetupError(f"The rule {rule!r} has an empty segment: no path gets there, since '//' is read as '/'.")
    return Pattern(rule, tuple(Segment(tuple(parts)) for parts in segments), trailing_slash)


def parse_host_pattern(rule: str, converters: Mapping[str, type[Converter]] = BUILTIN_CONVERTERS) -> HostPattern:
    """Read a host rule.

    Raises:
        SetupError: the rule cannot be read, has a port, or a variable that could span labels.
    """
    if rule.count(":") > 1 and "<" not in rule:  # An IPv6 address has no labels.
        return HostPattern(rule, (Segment((rule.lower().strip("[]"),)),))
    segments: list[Segment] = []
    for parts in read_segments(rule, 0, ".", converters):
        if not parts:
            raise SetupError(f"The host {rule!r} has an empty label.")
        for position, part in enumerate(parts):
            if isinstance(part, str):
                parts[position] = read_label(rule, part)
            elif part.is_path:
                raise SetupError(f"The host {rule!r} has the variable {part.name!r}, which could match slashes.")
        segments.append(Segment(tuple(parts)))
    return HostPattern(rule, tuple(segments))


def read_label(rule: str, label: str) -> str:
    if not label.isascii():
        try:
            label = label.encode("idna").decode("ascii")
        except UnicodeError:
            raise SetupError(f"The host {rule!r} has the label {label!r}, which is no host name.") from None
    if ":" in label:
        raise SetupError(f"The host {rule!r} has a port; a route is chosen by the name alone, so leave it out.")
    if not re.fullmatch(HOST, label):
        raise SetupError(f"The host {rule!r} has the label {label!r}, which is no host name.")
    return label.lower()


def read_segments(
    rule: str, position: int, separator: str, converters: Mapping[str, type[Converter]]
) -> list[list[Part]]:
    segments: list[list[Part]] = [[]]
    literal = re.compile(f"[^<>{separator}]+")
    while position < len(rule):
        character = rule[position]
        if character == separator:
            segments.append([])
            position += 1
        elif character == "<":
            variable, position = read_variable(rule, position, converters)
            segments[-1].append(variable)
        elif (match := literal.match(rule, position)) is not None:
            check_literal(rule, match.group())
            segments[-1].append(match.group())
            position = match.end()
        else:
            raise SetupError(f"The rule {rule!r} has a '>' without a '<' before it, at position {position}.")
    return segments


def check_literal(rule: str, text: str) -> None:
    for character in text:
        if character in "?#" or character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff":
            raise SetupError(f"The rule {rule!r} has a {character!r} in it, which is no part of a path.")


def read_variable(rule: str, start: int, converters: Mapping[str, type[Converter]]) -> tuple[Variable, int]:
    def fail(why: str) -> SetupError:
        return SetupError(f"The rule {rule!r} has a variable that cannot be read, at position {start}: {why}.")

    match = NAME.match(rule, start + 1)
    if match is None:
        raise fail("a name of letters, digits and underscores follows the '<'")
    converter_name, name, position = "default", match.group(), match.end()
    arguments: list[Any] = []
    options: dict[str, Any] = {}
    source = ""
    if rule[position : position + 1] in ("(", ":"):
        converter_name = name
        if rule[position] == "(":
            opening = position
            position = read_arguments(rule, position + 1, arguments, options, fail)
            source = rule[opening:position]
            if rule[position : position + 1] != ":":
                raise fail("a ':' and the name of the variable follow the arguments")
        match = NAME.match(rule, position + 1)
        if match is None:
            raise fail("a name of letters, digits and underscores follows the ':'")
        name, position = match.group(), match.end()
    if rule[position : position + 1] != ">":
        raise fail("a '>' ends it")
    converter = make_converter(rule, converter_name, arguments, options, converters)
    text = "<>" if converter_name == "default" else f"<{converter_name}{source}>"
    key = (type(converter), tuple(arguments), tuple(sorted(options.items())))
    return Variable(name, converter, text, key), position + 1


def read_arguments(
    rule: str,
    position: int,
    arguments: list[Any],
    options: dict[str, Any],
    fail: Callable[[str], SetupError],
) -> int:
    """Read to the closing parenthesis; return the position after it."""
    empty = re.compile(r"\s*\)").match(rule, position)
    if empty is not None:
        return empty.end()
    argument = re.compile(ARGUMENT)
    while True:
        match = argument.match(rule, position)
        if match is None:
            raise fail("arguments are words, numbers or quoted texts, with commas between them and a ')' at the end")
        name, value, end = match.groups()
        if name is None:
            if options:
                raise fail("an argument without a name stands after one with a name")
            arguments.append(read_value(value))
        elif name in options:
            raise fail(f"the argument {name!r} is there twice")
        else:
            options[name] = read_value(value)
        position = match.end()
        if end == ")":
            return position


def read_value(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    if text in CONSTANTS:
        return CONSTANTS[text]
    if re.fullmatch(INTEGER, text):
        return int(text)
    if re.fullmatch(DECIMAL, text):
        return float(text)
    return text


def make_converter(
    rule: str,
    name: str,
    arguments: list[Any],
    options: dict[str, Any],
    converters: Mapping[str, type[Converter]],
) -> Converter:
    found = converters.get(name)
    if found is None:
        from difflib import get_close_matches

        near = get_close_matches(name, converters, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(converters))}"
        raise SetupError(f"The rule {rule!r} names the converter {name!r}, which does not exist{hint}")
    try:
        converter = found(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise SetupError(f"The rule {rule!r} gives {name!r} arguments that do not fit: {error}.") from error
    try:
        re.compile(converter.regex)
    except re.error as error:
        raise SetupError(f"The regex of the converter {name!r}, {converter.regex!r}, is no regex: {error}.") from error
    return converter
