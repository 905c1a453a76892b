"""Query strings: reading and building them, compared with urllib."""

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.errors import BadRequest
from microweb.multidict import MultiDict
from microweb.querystring import build_query, parse_query


@given(st.text(alphabet="ab&=+%2cC3A9;é \x00", max_size=40))
def test_reading_a_query_equals_urllib(query: str) -> None:
    expected = urllib.parse.parse_qsl(query, keep_blank_values=True, errors="replace")

    assert sorted(parse_query(query.encode()).items(multi=True)) == sorted(expected)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_query(raw: bytes) -> None:
    expected = urllib.parse.parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True)

    assert parse_query(raw) == MultiDict(expected)


def test_a_missing_argument_is_a_400_that_says_argument() -> None:
    for raw in (b"", b"a=1", b"%61=1"):
        with pytest.raises(BadRequest, match="The argument 'q' is missing"):
            parse_query(raw)["q"]


def test_too_many_arguments_are_a_400_that_names_the_setting() -> None:
    assert len(parse_query(b"&".join(b"k%d=" % n for n in range(1000)))) == 1000
    assert len(parse_query(b"a&b", max_parameters=2)) == 2
    with pytest.raises(BadRequest, match=r"more than 1000 .*MAX_QUERY_PARAMETERS"):
        parse_query(b"a&" * 1000 + b"a")


@given(st.lists(st.tuples(st.text(), st.text()), max_size=6))
def test_a_query_that_was_written_is_read_back(pairs: list[tuple[str, str]]) -> None:
    query = build_query(pairs)

    assert urllib.parse.parse_qsl(query, keep_blank_values=True) == pairs
    assert parse_query(query.encode()) == MultiDict(pairs)
    assert query == urllib.parse.urlencode(pairs, safe="!$'()*,/:;?@")


def test_values_that_repeat_or_are_missing_in_a_query() -> None:
    values = {"page": 2, "tag": ["x", None, "y z"], "q": None, "none": [], "all": ("1",), "on": True}

    assert build_query(values) == "page=2&tag=x&tag=y+z&all=1&on=True"
    assert build_query({"s": {5}, "f": frozenset({6})}) == "s=5&f=6"


def test_a_query_written_from_a_multidict_keeps_its_repeats() -> None:
    assert build_query(parse_query(b"a=1&b=2&a=3")) == "a=1&a=3&b=2"


@pytest.mark.parametrize(
    ("function", "make"),
    [
        (lambda raw: parse_query(raw, max_parameters=10**9), lambda n: b"&" * n),
        (lambda raw: parse_query(raw, max_parameters=10**9), lambda n: b"a=%41+&" * (n // 8)),
        (parse_query, lambda n: b"=" * 8 * n),
        (parse_query, lambda n: b"%" * n),
        (parse_query, lambda n: b"%41" * n),
        (parse_query, lambda n: b"\xff" * n),
    ],
)
def test_reading_takes_linear_time(growth, function, make):
    assert growth(function, make(40_000), make(80_000)) < 2.6
