"""The converters, each through its own functions."""

import math
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.converters import (
    BUILTIN_CONVERTERS,
    NO_MATCH,
    AnyConverter,
    Converter,
    FloatConverter,
    IntConverter,
    PathConverter,
    StringConverter,
    UUIDConverter,
)

EVERY_BUILTIN = [
    StringConverter(),
    StringConverter(minlength=2),
    StringConverter(maxlength=3),
    StringConverter(length=2),
    AnyConverter("a", "bc"),
    PathConverter(),
    IntConverter(),
    IntConverter(fixed_digits=3),
    IntConverter(min=2, max=20),
    IntConverter(signed=True, min=-5),
    FloatConverter(),
    FloatConverter(min=1.5, signed=True),
    UUIDConverter(),
]


@pytest.mark.parametrize("converter", EVERY_BUILTIN, ids=lambda converter: converter.regex)
@given(text=st.text("01a-.bc/é٣", max_size=6) | st.text() | st.uuids().map(str))
def test_what_a_converter_reads_its_regex_matches(converter, text):
    import re

    value = converter.convert()(text)

    if value is not NO_MATCH:
        assert re.fullmatch(converter.regex.replace("[^/]", "(?s:.)"), text)


@pytest.mark.parametrize("converter", EVERY_BUILTIN, ids=lambda converter: converter.regex)
@given(text=st.text("01a-.bc", max_size=6) | st.uuids().map(str))
def test_what_a_converter_reads_it_writes_so_that_it_reads_the_same(converter, text):
    value = converter.convert()(text)

    if value is not NO_MATCH:
        assert converter.convert()(converter.to_url(value)) == value


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1 ", "1_000", "1.0", "٣", "²", "1" * 5000, "\ud800", "\0"])
def test_what_is_no_plain_number_is_no_int(text):
    assert IntConverter().convert()(text) is NO_MATCH


@given(st.integers(min_value=0))
def test_every_natural_number_goes_through_an_int(number):
    converter = IntConverter()

    assert converter.convert()(converter.to_url(number)) == number


def test_an_int_may_have_leading_zeros():
    assert IntConverter().convert()("007") == 7


def test_fixed_digits_are_filled_with_zeros():
    converter = IntConverter(fixed_digits=4)

    assert converter.to_url(7) == "0007"
    assert converter.convert()("0007") == 7
    assert converter.convert()("7") is NO_MATCH


@pytest.mark.parametrize(("text", "value"), [("5", 5), ("-5", -5), ("--5", NO_MATCH), ("-", NO_MATCH)])
def test_a_signed_int_takes_one_minus(text, value):
    assert IntConverter(signed=True).convert()(text) == value


@pytest.mark.parametrize("text", ["", "1", ".5", "1.", "1.5.2", "1e5", "nan", "inf", "-1.5", "1_0.0", "٣.٣", " 1.5"])
def test_what_is_no_plain_decimal_is_no_float(text):
    assert FloatConverter().convert()(text) is NO_MATCH


def test_a_float_beyond_the_largest_does_not_match():
    assert FloatConverter().convert()("9" * 400 + ".0") is NO_MATCH


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_every_float_goes_through_without_loss(number):
    converter = FloatConverter()

    assert converter.convert()(converter.to_url(number)) == number


@pytest.mark.parametrize("value", [math.inf, math.nan, -1.0, "x"])
def test_a_float_that_could_not_be_read_back_is_not_written(value):
    with pytest.raises(ValueError):
        FloatConverter().to_url(value)


@pytest.mark.parametrize("value", [-1, 3.7, "x", math.nan])
def test_a_value_that_is_no_natural_number_is_not_written_as_int(value):
    with pytest.raises(ValueError):
        IntConverter().to_url(value)


@pytest.mark.parametrize("value", [3, "3", 3.0, True + 2])
def test_a_whole_number_in_any_form_is_written_as_int(value):
    assert IntConverter().to_url(value) == "3"


def test_limits_hold_for_reading_and_for_writing():
    converter = IntConverter(min=2, max=4)

    assert [converter.convert()(text) for text in "12345"] == [NO_MATCH, 2, 3, 4, NO_MATCH]
    with pytest.raises(ValueError, match="limits"):
        converter.to_url(5)


@pytest.mark.parametrize(
    "text",
    [
        "{12345678-1234-1234-1234-123456789ab}",
        "urn:uuid:12345678-1234-1234-123456789",
        "+2345678-1234-1234-1234-123456789abc",
        "1234_678-1234-1234-1234-123456789abc",
        "12345678-1234-1234-1234-123456789abg",
        "12345678123412341234123456789abc",
        "12345678-1234-1234-1234-12345678-abc",
        "1234567٣-1234-1234-1234-123456789abc",
    ],
)
def test_only_the_usual_form_of_a_uuid_is_one(text):
    assert UUIDConverter().convert()(text) is NO_MATCH


def test_a_uuid_is_read_in_any_case_and_written_in_lower_case():
    text = "ABCDEF12-1234-1234-1234-123456789ABC"
    converter = UUIDConverter()

    assert converter.convert()(text) == uuid.UUID(text)
    assert converter.to_url(text) == text.lower()


def test_a_string_keeps_its_slash_out_of_the_path():
    assert StringConverter().to_url("a/b") == "a%2Fb"


@pytest.mark.parametrize("value", ["", "/a"])
def test_a_path_that_is_empty_or_begins_with_a_slash_is_not_written(value):
    with pytest.raises(ValueError, match="slash"):
        PathConverter().to_url(value)


def test_any_reads_and_writes_only_its_items():
    converter = AnyConverter("a", "b c", 7)

    assert converter.convert()("7") == "7"
    assert converter.to_url("b c") == "b%20c"
    with pytest.raises(ValueError, match="not one of"):
        converter.to_url("d")


@pytest.mark.parametrize(
    "make",
    [
        lambda: AnyConverter(),
        lambda: AnyConverter(""),
        lambda: AnyConverter(True),
        lambda: AnyConverter(1.5),
        lambda: StringConverter(minlength=0),
        lambda: StringConverter(minlength=3, maxlength=2),
        lambda: StringConverter(length=3, maxlength=2),
        lambda: StringConverter(length="3"),
        lambda: StringConverter(length=True),
        lambda: IntConverter(min=3, max=2),
        lambda: IntConverter(max=-1),
        lambda: IntConverter(fixed_digits=-1),
        lambda: IntConverter(fixed_digits=5000),
        lambda: IntConverter(fixed_digits=2, min=100),
        lambda: IntConverter(signed="yes"),
        lambda: IntConverter(min=1.5),
        lambda: FloatConverter(min=2.5, max=1),
        lambda: FloatConverter(max=-0.5),
    ],
)
def test_arguments_that_leave_nothing_to_match_are_refused(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize(
    ("regex", "isolating"),
    [
        ("[^/]+", True),
        (r"\d+", True),
        (".*", True),
        ("[a-z/]+", False),
        ("[^/]+/[^/]+", False),
        ("[^a/]{2}", True),
    ],
)
def test_a_regex_with_a_slash_spans_segments(regex, isolating):
    converter = type("Own", (Converter,), {"regex": regex})

    assert converter.part_isolating is isolating


def test_a_class_says_itself_whether_it_spans_segments():
    class Own(Converter):
        regex = "a/b"
        part_isolating = True

    class Derived(Own):
        pass

    assert Own.part_isolating
    assert Derived.part_isolating


def test_a_converter_that_only_has_a_regex_quotes_what_it_writes():
    class Words(Converter):
        regex = "[a-z ]+"

    class Paths(Converter):
        regex = "[a-z/ ]+"

    assert Words().to_url("a b/c") == "a%20b%2Fc"
    assert Paths().to_url("a b/c") == "a%20b/c"


def test_the_built_in_converters_have_werkzeugs_names_weights_and_arguments():
    from werkzeug.routing.converters import DEFAULT_CONVERTERS

    assert set(BUILTIN_CONVERTERS) == set(DEFAULT_CONVERTERS)
    for name, converter in BUILTIN_CONVERTERS.items():
        assert converter.weight == DEFAULT_CONVERTERS[name].weight
        assert converter.part_isolating == DEFAULT_CONVERTERS[name].part_isolating


@pytest.mark.parametrize(
    ("narrow", "broad"),
    [
        (IntConverter(fixed_digits=2), IntConverter()),
        (IntConverter(min=5), IntConverter(signed=True)),
        (IntConverter(max=9), IntConverter(max=10**5000)),
        (IntConverter(max=10**5000), IntConverter()),
        (IntConverter(min=10), IntConverter(min=5)),
        (IntConverter(signed=True, max=1), IntConverter(signed=True)),
        (IntConverter(fixed_digits=2), IntConverter(max=99)),
        (IntConverter(), IntConverter(signed=True)),
        (FloatConverter(max=1), FloatConverter()),
        (AnyConverter("a"), AnyConverter("b", "c")),
        (AnyConverter("a", "b"), UUIDConverter()),
        (UUIDConverter(), StringConverter(length=36)),
        (StringConverter(length=2), StringConverter(maxlength=2)),
        (StringConverter(maxlength=500), StringConverter(minlength=2)),
        (StringConverter(minlength=3), StringConverter(minlength=2)),
        (StringConverter(minlength=2), StringConverter()),
    ],
)
def test_the_narrower_converter_knows_that_it_is(narrow, broad):
    assert narrow.breadth < broad.breadth
