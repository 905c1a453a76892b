"""What is in a session, as bytes and as text for a cookie: every value comes back, and any text is data or none."""

import datetime
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from microweb.sessiondata import from_text, pack, to_text, unpack
from microweb.signing import encode_base64

HOUR = datetime.timedelta(hours=1)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
KEYS = TEXTS | st.sampled_from([" t", " o", " b", " m", " u", " d", " D", " "])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | TEXTS.map(Markup)
    | st.binary(max_size=20)
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC) | st.builds(datetime.timezone, st.just(HOUR)))
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)
SESSIONS = st.dictionaries(KEYS, VALUES, max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=6,
)


def shape(value):
    """The value with the type of everything in it."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [shape(inner) for inner in value]
    return type(value), value


@given(SESSIONS)
def test_every_session_comes_back_with_the_types_of_its_values(session):
    assert shape(unpack(pack(session))) == shape(session)
    assert shape(from_text(to_text(session))) == shape(session)


def test_a_long_session_is_compressed_if_that_helps():
    text = to_text({"long": "x" * 3000})

    assert text.startswith(b".")
    assert len(text) < 100


@given(JSON)
def test_any_json_is_data_or_none(value):
    payload = encode_base64(json.dumps(value).encode())

    found = from_text(payload)

    assert found is None or isinstance(found, dict)


@given(st.binary(max_size=40))
def test_any_bytes_are_data_or_none(data):
    for payload in (data, b"." + data, b"." + encode_base64(data), encode_base64(data)):
        found = from_text(payload)

        assert found is None or isinstance(found, dict)


def test_compressed_data_that_is_cut_is_none():
    compressed = zlib.compress(b'{"a": 1}')

    assert from_text(b"." + encode_base64(compressed)) == {"a": 1}
    assert from_text(b"." + encode_base64(compressed[:-3])) is None


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return {"deep": value}


@pytest.mark.parametrize("depth", [10, 60, 200])
def test_nested_values_come_back_or_are_refused_at_once(depth):
    session = nested(depth)
    try:
        text = to_text(session)
    except (TypeError, ValueError):
        return

    assert from_text(text) == session


@pytest.mark.parametrize("value", [object(), {1: "number as key"}, {"inside": [object()]}, 1j])
def test_a_value_that_could_not_be_read_back_is_refused_by_the_name_of_its_key(value):
    with pytest.raises(TypeError, match="the session cannot hold 'mine'"):
        pack({"mine": value})
