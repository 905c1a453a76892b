"""Reading the rules of paths and hosts: what they say, and which are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.converters import BUILTIN_CONVERTERS, NO_MATCH, Converter, IntConverter
from microweb.errors import SetupError
from microweb.rulereading import parse_host_pattern, parse_pattern


class ListConverter(Converter):
    def __init__(self, separator="+"):
        self.separator = separator


CONVERTERS = {**BUILTIN_CONVERTERS, "list": ListConverter}


def converter_of(rule):
    return parse_pattern(rule, CONVERTERS).segments[0].variables[0].converter


# Paths


def test_a_rule_becomes_segments_and_variables():
    pattern = parse_pattern("/user/<name>/v<int:major>.<int:minor>/")

    assert [segment.literal for segment in pattern.segments] == ["user", None, None]
    assert pattern.variables == ("name", "major", "minor")
    assert pattern.trailing_slash


@pytest.mark.parametrize(("rule", "count", "slash"), [("", 0, False), ("/", 0, True), ("/a", 1, False)])
def test_a_trailing_slash_is_no_segment(rule, count, slash):
    pattern = parse_pattern(rule)

    assert len(pattern.segments) == count
    assert pattern.trailing_slash is slash
    assert not pattern.variables


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("a", "must start with a slash"),
        ("/<a", "a '>' ends it"),
        ("/<", "name of letters"),
        ("/<>", "name of letters"),
        ("/<int:>", "name of letters"),
        ("/<1a>", "name of letters"),
        ("/<a-b>", "a '>' ends it"),
        ("/<é>", "name of letters"),
        ("/<int(1:a>", "arguments are"),
        ("/<int(1)a>", "a ':' and the name"),
        ("/<int(1)>", "a ':' and the name"),
        ("/<int(1,):a>", "arguments are"),
        ("/<int(,1):a>", "arguments are"),
        ("/<any(a b):x>", "arguments are"),
        ("/<any('a):x>", "arguments are"),
        ("/<int(min=1, 2):a>", "without a name"),
        ("/<int(min=1, min=2):a>", "there twice"),
        ("/a>b", "without a '<' before it, at position 2"),
        ("/<a>>", "without a '<' before it"),
        ("//a", "empty segment"),
        ("/a//", "empty segment"),
        ("/<a>/<a>", "variable 'a' twice"),
        ("/<a>-<a>", "variable 'a' twice"),
        ("/a?b", "no part of a path"),
        ("/a#b", "no part of a path"),
        ("/a\nb", "no part of a path"),
        ("/a\x7f", "no part of a path"),
        ("/\ud800", "no part of a path"),
        ("/<uid:x>", "did you mean 'uuid'"),
        ("/<zzz:x>", "there are any, default, float, int, list"),
        ("/<any():x>", "at least one item"),
        ("/<int(min=5, max=3):x>", "no number is within"),
        ("/<int(size=3):x>", "unexpected keyword"),
        ("/<int('a'):x>", "where a number is expected"),
        ("/<path(1):x>", "do not fit"),
        ("/<uuid(1):x>", "do not fit"),
        ("/<string(minlength=5, maxlength=3):x>", "less than minlength"),
    ],
)
def test_a_rule_that_cannot_be_read_is_a_setup_error_that_says_why(rule, message):
    with pytest.raises(SetupError, match="rule") as caught:
        parse_pattern(rule, CONVERTERS)

    assert message in str(caught.value)
    assert repr(rule) in str(caught.value)


def test_a_converter_as_werkzeug_has_them_is_a_setup_error_that_says_what_it_is_given():
    class Fitting(Converter):
        def __init__(self, url_map, regex):
            super().__init__(url_map)
            self.regex = regex

    with pytest.raises(SetupError, match="A converter takes no url_map, nor does its base: only what the rule gives"):
        parse_pattern("/<fitting('[a-z]+'):x>", {"fitting": Fitting})


def test_a_regex_that_is_none_is_a_setup_error():
    class Broken(Converter):
        regex = "("

    with pytest.raises(SetupError, match="is no regex"):
        parse_pattern("/<broken:x>", {"broken": Broken})


@pytest.mark.parametrize(
    ("arguments", "items"),
    [
        ("a, b", ("a", "b")),
        ("'a,b', \"c)d\"", ("a,b", "c)d")),
        ("2023, 007, 1_0, -5", ("2023", "007", "1_0", "-5")),
        ("foo-bar, tar.gz, é", ("foo-bar", "tar.gz", "é")),
        ("'a/b', '<x>'", ("a/b", "<x>")),
        (" a ", ("a",)),
        ("a,a", ("a",)),
    ],
)
def test_arguments_are_words_numbers_and_quoted_texts(arguments, items):
    assert converter_of(f"/<any({arguments}):x>").items == items


def test_arguments_are_literals_of_python():
    converter = converter_of("/<int(fixed_digits=3, min=-5, max=None, signed=True):x>")

    assert (converter.fixed_digits, converter.min, converter.max, converter.signed) == (3, -5, None, True)
    assert converter_of("/<float(min=0.5, max=2):x>").min == 0.5
    assert converter_of("/<int():x>").is_plain


def test_a_converter_of_the_program_gets_the_arguments_of_the_rule():
    assert converter_of("/<list(';'):tags>").separator == ";"
    assert converter_of("/<list(separator=','):tags>").separator == ","


@given(st.text("/<>()ai:,'\"=1é\n?- ", max_size=20).map("/".__add__))
def test_any_text_is_a_pattern_or_a_setup_error(rule):
    try:
        pattern = parse_pattern(rule)
    except SetupError:
        return

    assert pattern.rule == rule


@pytest.mark.slow
@pytest.mark.parametrize("size", [1000, 100_000])
def test_long_rules_are_read_in_linear_time(size):
    with pytest.raises(SetupError):
        parse_pattern("/<int(" + "a" * size)
    with pytest.raises(SetupError):
        parse_pattern("/<any(" + "a," * size)
    assert len(parse_pattern("/a" * size).segments) == size


def test_a_converter_can_replace_the_default():
    pattern = parse_pattern("/<n>", {**BUILTIN_CONVERTERS, "default": IntConverter})

    assert pattern.segments[0].convert("x") is NO_MATCH


# Hosts


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("example.com:8000", "has a port"),
        ("", "empty label"),
        ("a..b", "empty label"),
        (".a", "empty label"),
        ("a/b", "no host name"),
        ("a b.c", "no host name"),
        ("é" * 70, "no host name"),
        ("<path:x>.com", "could match slashes"),
        ("<x>.<x>", "twice"),
        ("<x", "a '>' ends it"),
        ("a?b", "no part of a path"),
        ("example.com:80:90", "no IPv6 address"),
        ("http://example.com:80", "no IPv6 address"),
        ("[::1", "no IPv6 address"),
        ("[::1]:80", "a port has no place there"),
    ],
)
def test_a_host_that_cannot_be_one_is_a_setup_error(rule, message):
    with pytest.raises(SetupError, match=message):
        parse_host_pattern(rule)


@pytest.mark.parametrize(
    ("rule", "variable"), [("/items/{id}", "<id>"), ("/{path:rest}", "<rest:path>"), ("/a-{b}.txt", "<b>")]
)
def test_a_variable_in_braces_is_refused_with_how_it_is_written(rule, variable):
    with pytest.raises(SetupError, match=rf"a variable is written {variable}\."):
        parse_pattern(rule)
