"""Mixtures, with the regex that they replace as oracle."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.converters import (
    AnyConverter,
    Converter,
    FloatConverter,
    IntConverter,
    PathConverter,
    StringConverter,
    UUIDConverter,
)
from microweb.mixture import make_regex_split, make_split

UUID = "12345678-1234-1234-1234-123456789abc"

literals = st.sampled_from(["", "-", ".", "1", "a", "--", "a-"])
converters = st.sampled_from(
    [
        StringConverter(),
        StringConverter(),
        StringConverter(minlength=2),
        StringConverter(maxlength=2),
        StringConverter(length=1),
        IntConverter(),
        IntConverter(signed=True),
        FloatConverter(),
        FloatConverter(signed=True),
        AnyConverter("a", "a-", "1", "ab"),
        UUIDConverter(),
    ]
)
mixtures = st.lists(st.tuples(converters, literals), min_size=1, max_size=4)
texts = st.lists(st.sampled_from(["a", "b", "1", "-", ".", "12", "1.5", "a-", UUID]), max_size=9).map("".join)


@given(prefix=literals, mixture=mixtures, text=texts)
def test_a_mixture_is_split_as_the_regex_splits_it(prefix, mixture, text):
    kinds = [converter for converter, _ in mixture]
    between = [prefix, *(literal for _, literal in mixture)]

    by_regex = make_regex_split(between, kinds, longest=None)(text)

    assert make_split(between, kinds, spans_segments=False)(text) == by_regex


@given(
    before=mixtures,
    middle=st.sampled_from(["/", "/x/", "-", ""]),
    after=mixtures,
    text=st.lists(st.sampled_from(["a", "/", "x", "1", "-", "/x/", "\n"]), max_size=12).map("".join),
)
def test_a_path_among_others_is_split_as_the_regex_splits_it(before, middle, after, text):
    kinds = [converter for converter, _ in before]
    between = ["", *(literal for _, literal in before[:-1]), "/"]
    kinds += [PathConverter(), *(converter for converter, _ in after)]
    between += [middle, *(literal for _, literal in after)]

    by_regex = make_regex_split(between, kinds, longest=None)(text)

    assert make_split(between, kinds, spans_segments=True)(text) == by_regex


def test_each_variable_takes_as_much_as_it_can_from_the_left():
    split = make_split(["", "-", ".txt"], [StringConverter(), StringConverter()], spans_segments=False)

    assert split("a-b-c.txt") == ["a-b", "c"]


def test_a_number_of_fixed_digits_takes_exactly_those():
    four, two = IntConverter(fixed_digits=4), IntConverter(fixed_digits=2)

    split = make_split(["", "", ""], [four, two], spans_segments=False)

    assert split("202401") == ["2024", "01"]
    assert split("20240") is None


def test_a_path_takes_as_little_as_it_can():
    split = make_split(["", "/", ""], [PathConverter(), StringConverter()], spans_segments=True)

    assert split("a/b") == ["a", "b"]
    assert split("a/b/c") == ["a/b", "c"]
    assert split("a//b") == ["a/", "b"]


@pytest.mark.parametrize(
    ("between", "kinds", "text"),
    [
        (["", "-", "-", "-", ".x"], [StringConverter()] * 4, "-" * 4000),
        (["", "-", "-", "-", ".x"], [StringConverter()] * 4, "-" * 4000 + "y.x"),
        (["", "", "", ".x"], [StringConverter()] * 3, "a" * 4000),
        (["", "", "x"], [StringConverter(), IntConverter()], "1" * 4000),
        (
            ["", "-", "", "x"],
            [StringConverter(), IntConverter(), StringConverter(length=1)],
            "-1" * 2000 + "y",
        ),
        (["", "", "", "x"], [IntConverter(), IntConverter(), FloatConverter()], "1" * 4000),
        (["", "-", "", "x"], [StringConverter(), UUIDConverter(), IntConverter()], UUID * 100 + "yx"),
        (["", "a", "a", "x"], [StringConverter()] * 3, "a" * 4000 + "b"),
        (["", "", "", "", "", "", "x"], [StringConverter(maxlength=30)] * 6, "a" * 2000),
        ([*[""] * 20, "x"], [AnyConverter("a", "aa", "aaa")] * 20, "a" * 2000),
        (["", "/x/", "/x/", "/y"], [PathConverter()] * 3, "/x" * 2000),
        (["", "/", "/y"], [PathConverter(), StringConverter()], "a/" * 2000),
    ],
)
def test_splitting_takes_linear_time_at_worst(growth, between, kinds, text):
    split = make_split(between, kinds, spans_segments=any(isinstance(kind, PathConverter) for kind in kinds))
    suffix = between[-1]

    assert growth(split, text + suffix, text + text + suffix) < 2.6


class Word(Converter):
    regex = "[a-z-]+"


def test_a_converter_of_the_program_is_split_by_its_regex():
    split = make_regex_split(["", "-", ""], [Word(), IntConverter()], longest=255)

    assert split("two-words-12") == ["two-words", "12"]


def test_the_groups_of_a_programs_regex_stay_its_own():
    class Grouped(Converter):
        regex = "(a|b)+"

    split = make_regex_split(["", "-", ""], [Grouped(), Grouped()], longest=255)

    assert split("ab-ba") == ["ab", "ba"]


def test_a_mixture_by_regex_takes_no_long_text():
    split = make_regex_split(["", "-", ".x"], [Word(), Word()], longest=255)

    assert split("-" * 255) is None
    assert split("a-" + "b" * 251 + ".x") == ["a", "b" * 251]
    assert split("a-" + "b" * 252 + ".x") is None


def test_a_regex_that_cannot_stand_among_others_is_an_error():
    class Flagged(Converter):
        regex = "(?i)a"

    with pytest.raises(re.error):
        make_regex_split(["", "-", ""], [StringConverter(), Flagged()], longest=255)
