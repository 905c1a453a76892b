"""Percent-encoding, compared with urllib."""

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.quoting import quote_path, quote_query, quote_segment, unquote


@given(st.text())
def test_quoting_equals_urllib(text: str) -> None:
    assert quote_path(text) == urllib.parse.quote(text, safe="/!$&'()*+,;=:@")
    assert quote_segment(text) == urllib.parse.quote(text, safe="!$&'()*+,;=:@")


def test_a_query_as_it_came_is_quoted_as_urllib_quotes_bytes() -> None:
    query = bytes(range(256))

    assert quote_query(query) == urllib.parse.quote(query, safe="!$&'()*+,;=:@/?%-._~[]")


@given(st.text())
def test_quoting_round_trips(text: str) -> None:
    assert unquote(quote_path(text)) == text
    assert unquote(quote_segment(text).encode()) == text
    assert "/" not in quote_segment(text)


@given(st.text(alphabet="%aAfF0129 gé+", max_size=20))
def test_unquoting_equals_urllib(text: str) -> None:
    assert unquote(text) == urllib.parse.unquote(text)


@given(st.lists(st.sampled_from([b"%", b"4", b"C", b"c3", b"%C3", b"%a9", b"\xff", b"x"])).map(b"".join))
def test_unquoting_bytes_equals_urllib(data: bytes) -> None:
    assert unquote(data) == urllib.parse.unquote_to_bytes(data).decode("utf-8", "replace")


def test_a_lone_surrogate_is_written_as_the_replacement_character() -> None:
    assert quote_segment("a\ud800b") == "a%EF%BF%BDb"
    assert unquote("%41\udfff") == "A\ufffd"


@pytest.mark.parametrize(
    ("function", "make"),
    [
        (unquote, lambda n: "%é" * n),
        (quote_path, lambda n: "é" * n),
        (quote_path, lambda n: "/a" * 100 * n),
    ],
)
def test_quoting_and_unquoting_take_linear_time(growth, function, make):
    assert growth(function, make(40_000), make(80_000)) < 2.6
