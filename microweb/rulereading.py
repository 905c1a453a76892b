"""Reading a rule, in Flask's syntax: from its text to the pattern that it means.

``/user/<name>``, ``/<int(min=1):page>``, ``/<path:rest>``, ``/<first>-<second>.txt``, ``<tenant>.example.com``:
whatever cannot be read is a ``SetupError`` that says where and why. What a pattern then matches is in ``patterns.py``.
``assembly.py`` reads every rule of an app with this file when the app starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from microweb.converters import BUILTIN_CONVERTERS, Converter
from microweb.errors import SetupError
from microweb.hosts import parse_host
from microweb.patterns import HOST, HostPattern, Part, Pattern, Segment, Variable

__all__ = ["parse_host_pattern", "parse_pattern"]

#   rule       = *( "/" segment )
#   segment    = *( literal / variable )
#   variable   = "<" [ converter [ "(" arguments ")" ] ":" ] name ">"
#   arguments  = argument *( "," argument )
#   argument   = [ name "=" ] ( quoted / word )

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
BRACED = r"\{([A-Za-z_]\w*)(?::(\w+))?\}"  # compiled for those who write it
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
        address, port = parse_host(rule if rule.startswith("[") else f"[{rule}]") or ("", None)
        if not address or port is not None:
            raise SetupError(f"The host {rule!r} is no IPv6 address; a port has no place there.")
        return HostPattern(rule, (Segment((address,)),))
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
    braced = re.search(BRACED, text) if "{" in text else None
    if braced is not None:
        # No URL has braces, but variables in FastAPI and Starlette do: the rule would never match.
        kind, name = braced[2], braced[1]
        variable = f"<{kind}:{name}>" if kind else f"<{name}>"
        raise SetupError(f"The rule {rule!r} has {braced[0]!r} in it; a variable is written {variable}.")
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
        from inspect import signature

        # Those of werkzeug have a map before the arguments of the rule, and pass it on to their base.
        takes_map = {"map", "url_map"} & set(signature(found).parameters)
        hint = (
            f" A converter takes no {takes_map.pop()}, nor does its base: only what the rule gives."
            if takes_map
            else ""
        )
        raise SetupError(f"The rule {rule!r} gives {name!r} arguments that do not fit: {error}.{hint}") from error
    try:
        re.compile(converter.regex)
    except re.error as error:
        raise SetupError(f"The regex of the converter {name!r}, {converter.regex!r}, is no regex: {error}.") from error
    return converter
