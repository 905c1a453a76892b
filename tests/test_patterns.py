"""Patterns of paths and hosts: what they match, and what is built from them."""

import uuid
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.converters import BUILTIN_CONVERTERS, NO_MATCH, Converter, IntConverter
from microweb.errors import BuildError, SetupError
from microweb.rulereading import parse_host_pattern, parse_pattern


class ListConverter(Converter):
    regex = r"[^+/]+(?:\+[^+/]+)*"

    def to_python(self, value):
        return value.split("+")

    def to_url(self, value):
        return "+".join(value)


class EvenConverter(Converter):
    regex = "[0-9]+"

    def to_python(self, value):
        if int(value) % 2:
            raise ValueError("odd")
        return int(value)


class LettersConverter(Converter):
    regex = "[a-z]*"


CONVERTERS = {**BUILTIN_CONVERTERS, "list": ListConverter, "even": EvenConverter, "letters": LettersConverter}


def test_a_pattern_is_immutable():
    with pytest.raises(AttributeError, match="immutable"):
        parse_pattern("/a").rule = "/b"


# Matching one segment


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        ("/<name>", "x/y", "x/y"),
        ("/<name>", "", NO_MATCH),
        ("/<int:n>", "12", 12),
        ("/v<int:n>", "v12", (12,)),
        ("/v<int:n>", "v", NO_MATCH),
        ("/<n>.txt", ".txt", NO_MATCH),
        ("/<a>-<int:b>", "x-y-7", ("x-y", 7)),
        ("/<a>-<int(max=5):b>", "x-y-7", NO_MATCH),
        ("/<even:n>", "4", 4),
        ("/<even:n>", "5", NO_MATCH),
        ("/<even:n>-<a>", "4-x", (4, "x")),
        ("/<even:n>-<a>", "5-x", NO_MATCH),
        ("/<list:n>", "a+b", ["a", "b"]),
        ("/aa<n>aa", "aaa", NO_MATCH),
        ("/a<letters:n>b", "ab", ("",)),
        ("/a<letters:n>b", "axb", ("x",)),
        ("/<even:n>-<a>", "4-" + "x" * 253, (4, "x" * 253)),
        ("/<even:n>-<a>", "4-" + "x" * 254, NO_MATCH),  # A regex of the program's takes nobody knows how long.
    ],
)
def test_a_segment_converts_its_text(rule, text, value):
    assert parse_pattern(rule, CONVERTERS).segments[0].convert(text) == value


def test_a_subclass_of_a_built_in_converter_is_asked_itself():
    class Page(IntConverter):
        def to_python(self, value):
            return int(value) - 1

        def to_url(self, value):
            return str(value + 1)

    pattern = parse_pattern("/<page:n>", {"page": Page})

    assert pattern.segments[0].convert("7") == 6
    assert pattern.build({"n": 6}) == "/7"


def test_another_exception_of_a_converter_comes_through():
    class Failing(Converter):
        def to_python(self, value):
            raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="database"):
        parse_pattern("/<failing:n>", {"failing": Failing}).segments[0].convert("x")


def test_a_regex_that_cannot_be_mixed_is_a_setup_error():
    class Flagged(Converter):
        regex = "(?i)a"

    converters = {**BUILTIN_CONVERTERS, "flagged": Flagged}

    assert parse_pattern("/<flagged:x>", converters).segments[0].convert("A") == "A"
    with pytest.raises(SetupError, match="cannot be put together"):
        parse_pattern("/<flagged:x>-<y>", converters)


# Prefixes


@pytest.mark.parametrize(
    ("prefix", "rule", "joined"),
    [
        ("", "/a", "/a"),
        ("/", "/a", "/a"),
        ("/p", "/a", "/p/a"),
        ("/p/", "/a/", "/p/a/"),
        ("/p", "/", "/p/"),
        ("/p", "", "/p"),
        ("/p/", "", "/p/"),
        ("", "", ""),
        ("/", "/", "/"),
        ("/<x>", "/<y>", "/<x>/<y>"),
    ],
)
def test_a_rule_is_joined_to_a_prefix_with_one_slash(prefix, rule, joined):
    pattern = parse_pattern(rule).joined(parse_pattern(prefix))

    assert pattern.rule == joined
    assert pattern.trailing_slash == parse_pattern(joined).trailing_slash
    assert [segment.key for segment in pattern.segments] == [segment.key for segment in parse_pattern(joined).segments]


def test_a_variable_in_prefix_and_rule_is_a_setup_error():
    with pytest.raises(SetupError, match="twice"):
        parse_pattern("/<id>").joined(parse_pattern("/<id>"))


# Building


@pytest.mark.parametrize(
    ("rule", "values", "path"),
    [
        ("/", {}, "/"),
        ("", {}, ""),
        ("/a b/é", {}, "/a%20b/%C3%A9"),
        ("/<x>", {"x": "a/b c?#%"}, "/a%2Fb%20c%3F%23%25"),
        ("/<x>/", {"x": 5}, "/5/"),
        ("/<path:x>", {"x": "a/b c"}, "/a/b%20c"),
        ("/v<int:a>.<b>", {"a": 1, "b": "é"}, "/v1.%C3%A9"),
        ("/<list:x>", {"x": ["a", "b c"]}, "/a+b%20c"),
        ("/<list:x>", {"x": ["a/b", "100%", "%41"]}, "/a%2Fb+100%25+%41"),
        ("/<uuid:x>", {"x": uuid.UUID(int=1)}, f"/{uuid.UUID(int=1)}"),
        ("/<x>", {"x": "a", "y": "not asked for"}, "/a"),
    ],
)
def test_a_path_is_built_percent_encoded(rule, values, path):
    assert parse_pattern(rule, CONVERTERS).build(values) == path


def test_a_missing_value_is_a_build_error_that_names_it():
    with pytest.raises(BuildError, match="'name' is missing"):
        parse_pattern("/<name>").build({})


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("/<x>", ""),
        ("/<int:x>", "a"),
        ("/<int:x>", None),
        ("/<int:x>", float("inf")),
        ("/<path:x>", "/a"),
        ("/<uuid:x>", "a"),
        ("/<any(a):x>", "b"),
        ("/<list:x>", 5),
    ],
)
def test_a_value_that_does_not_fit_is_a_build_error_that_names_its_variable(rule, value):
    with pytest.raises(BuildError, match=r"does not fit .*x>: "):
        parse_pattern(rule, CONVERTERS).build({"x": value})


def test_a_path_in_front_of_the_slash_of_a_rule_has_none_of_its_own():
    pattern = parse_pattern("/in/<path:x>/")

    with pytest.raises(BuildError, match=r"'/in/a/' ends with a slash, and '/in/<path:x>/' has its own there"):
        pattern.build({"x": "a/"})
    assert pattern.build({"x": "a/b"}) == "/in/a/b/"
    assert parse_pattern("/<path:x>/<y>/").build({"x": "a/", "y": "b"}) == "/a//b/"


def test_a_converter_that_takes_nothing_may_stand_in_front_of_the_slash_of_a_rule():
    pattern = parse_pattern("/<path:x>/<letters:y>/", CONVERTERS)

    assert pattern.build({"x": "a", "y": ""}) == "/a//"


@given(st.text(min_size=1).filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text)))
def test_what_is_built_from_a_text_decodes_to_it(text):
    path = parse_pattern("/x/<name>").build({"name": text})

    assert path.isascii()
    assert path.count("/") == 2
    assert unquote(path.rpartition("/")[2]) == text


# The end of a rule behind a path


@pytest.mark.parametrize(
    ("rule", "path", "values"),
    [
        ("/<path:p>", "a", ("a",)),
        ("/<path:p>", "a/b/", ("a/b/",)),
        ("/<path:p>", "/a", NO_MATCH),
        ("/<path:p>", "", NO_MATCH),
        ("/<path:p>", "a\nb/c", ("a\nb/c",)),
        ("/<path:p>/edit", "a/b/edit", ("a/b",)),
        ("/<path:p>/edit", "edit", NO_MATCH),
        ("/<path:p>/edit", "a/edit/", NO_MATCH),
        ("/<path:p>/<int:n>", "a/b/7", ("a/b", 7)),
        ("/<path:p>/<int:n>", "a/b/c", NO_MATCH),
        ("/<path:p>/<x>-<y>", "a/b/c-d", ("a/b", "c", "d")),
        ("/<path:p>.html", "a/b.html", ("a/b",)),
        ("/v<path:p>", "v/a", NO_MATCH),
        ("/v<path:p>", "va/b", ("a/b",)),
        ("/<path:p>/x/<path:q>", "a/x/b/x/c", ("a", "b/x/c")),
        ("/<path:p>/<x>.html", "a/b/c.html", ("a/b", "c")),
        ("/<path:p>.<x>", "a.b/c.d", ("a.b/c", "d")),
        ("/<path:p>.<x>", "a.b/c", NO_MATCH),
        ("/<letters:p>/edit", "/edit", ("",)),
        ("/<letters:p>/edit", "edit", NO_MATCH),
    ],
)
def test_a_tail_matches_the_rest_of_a_path(rule, path, values):
    class Letters(Converter):
        regex = "[a-z/]*"

    tail = parse_pattern(rule, {**BUILTIN_CONVERTERS, "letters": Letters}).tail
    parts = path.split("/")

    assert tail.match(parts, 0, len(parts), before_slash=False) == values


def test_before_a_slash_a_path_does_not_end_with_one():
    tail = parse_pattern("/<path:p>/").tail

    assert tail.match(["a", "b"], 0, 2, before_slash=True) == ("a/b",)
    assert tail.match(["a", ""], 0, 2, before_slash=True) is NO_MATCH
    assert tail.match(["a/"], 0, 1, before_slash=True) is NO_MATCH


def test_a_rest_has_one_segment_at_least():
    class Anything(Converter):
        regex = "[a-z/]*"

    for rule, values in [("/<all:p>/", ("",)), ("/<all:p><all:q>/", ("", ""))]:
        tail = parse_pattern(rule, {**BUILTIN_CONVERTERS, "all": Anything}).tail
        assert tail.match(["f", ""], 1, 1, before_slash=True) is NO_MATCH
        assert tail.match(["f", "", ""], 1, 2, before_slash=False) == values


def test_a_regex_with_a_slash_is_matched_against_the_rest():
    class Two(Converter):
        regex = "[a-z]+/[a-z]+"

    converters = {**BUILTIN_CONVERTERS, "two": Two}
    tail = parse_pattern("/<two:x>/<int:n>", converters).tail

    assert tail.match(["a", "b", "7"], 0, 3, before_slash=False) == ("a/b", 7)
    assert tail.match(["a", "7"], 0, 2, before_slash=False) is NO_MATCH
    assert parse_pattern("/<two:x>", converters).build({"x": "a/b c"}) == "/a/b%20c"


def test_a_rest_with_a_regex_of_the_programs_may_be_longer_than_a_segment():
    class Two(Converter):
        regex = "[a-z]+/[a-z]+"

    tail = parse_pattern("/v<two:x>/<int:n>", {**BUILTIN_CONVERTERS, "two": Two}).tail
    long = "a" * 300

    assert tail.match([f"v{long}", "b", "7"], 0, 3, before_slash=False) == (f"{long}/b", 7)


# Hosts


@pytest.mark.parametrize(
    ("rule", "host", "values"),
    [
        ("example.com", "example.com", ()),
        ("Example.COM", "example.com", ()),
        ("<tenant>.example.com", "acme.example.com", ("acme",)),
        ("<tenant>.example.com", "a.b.example.com", None),
        ("<tenant>.example.com", "acme.example.org", None),
        ("<tenant>-<int:n>.example.com", "acme-7.example.com", ("acme", 7)),
        ("<any(de,fr):lang>.example.com", "en.example.com", None),
        ("bücher.example", "xn--bcher-kva.example", ()),
        ("[::1]", "::1", ()),
        ("::1", "::1", ()),
    ],
)
def test_a_host_pattern_matches_label_by_label(rule, host, values):
    assert parse_host_pattern(rule).match(host) == values


def test_a_host_is_built_from_its_values():
    pattern = parse_host_pattern("<tenant>.example.com")

    assert pattern.build({"tenant": "Acme"}) == "acme.example.com"


@pytest.mark.parametrize("value", ["a.b", "a/b", "a b", "a@b", "é", ""])
def test_a_value_that_changes_the_host_is_refused(value):
    with pytest.raises(BuildError, match=r"tenant|no host"):
        parse_host_pattern("<tenant>.example.com").build({"tenant": value})
