"""Tests of ``microweb.redaction``."""

import doctest
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

import microweb.redaction
from microweb.redaction import is_secret_name, redacted, shown

SECRET = "hunter2"


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(microweb.redaction).failed == 0


@pytest.mark.parametrize(
    "name",
    [
        "SECRET_KEY",
        "api_key",
        "Password",
        "DB_PASSWD",
        "passphrase",
        "auth_token",
        "credentials",
        "SENTRY_DSN",
    ],
)
def test_names_that_people_give_to_secrets_are_known(name: str):
    assert is_secret_name(name)
    assert SECRET not in shown(name, SECRET)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("eighty", "'eighty' (str)"),
        (80, "80 (int)"),
        (True, "True (bool)"),
        (float("nan"), "nan (float)"),
        (None, "None"),
        ([1], "a value of type list (not shown)"),
        (b"80", "a value of type bytes (not shown)"),
    ],
)
def test_a_plain_value_is_shown_with_its_type(value: object, words: str):
    assert shown("PORT", value) == words


@pytest.mark.parametrize(
    "value",
    [
        f"postgresql://shop:{SECRET}@db1/shop",
        f"Server=db1;Password={SECRET}",
        f'{{"token": "{SECRET}"}}',
        {"host": SECRET},
        [SECRET],
        SECRET.encode(),
    ],
)
def test_the_value_of_a_secret_is_never_in_a_message(value: object):
    assert SECRET not in shown("DATABASE", value)


def test_the_value_of_a_subclass_is_not_asked_for_its_repr():
    class Shy(str):
        def __repr__(self) -> str:
            return SECRET

    assert shown("PORT", Shy()) == "a value of type Shy (not shown)"


@given(st.text() | st.integers() | st.floats())
def test_what_is_shown_is_short_and_on_one_line(value: object):
    words = shown("PORT", value)

    assert len(words) < 1000
    assert len(words.splitlines()) == 1


def test_long_texts_and_numbers_are_cut():
    assert shown("PORT", "x" * 100_000) == f"{'x' * 80!r}... (str, 100000 characters)"
    assert shown("PORT", 10**6000) == "a number of 19932 bits (int)"


def test_redacting_goes_into_dicts_and_lists_and_leaves_the_original_alone():
    values = {
        "SERVERS": [{"host": "db1", "password": SECRET}],
        "REPLICAS": (f"postgresql://shop:{SECRET}@db1/shop", "none"),
        "A": 1,
        "SECRET_KEY": None,
        "DATABASE": {"PASSWORD": SECRET, "DEEP": {"token": SECRET}},
        5: "five",
    }

    copy = redacted(values)  # type: ignore[arg-type]

    assert SECRET not in repr(copy)
    assert copy["A"] == 1
    assert copy["SECRET_KEY"] is None
    assert values["DATABASE"]["PASSWORD"] == SECRET  # type: ignore[index]


def test_what_holds_itself_or_one_thing_often_is_redacted_once():
    itself: list[object] = [{"password": SECRET}]
    itself.append((itself,))
    shared: object = ["x"]
    for _ in range(200):
        shared = (shared, shared) if isinstance(shared, list) else [shared, shared]

    copy = redacted({"ITSELF": itself, "SHARED": shared})

    assert repr(copy["ITSELF"]) == "[{'password': <hidden>}, ([...],)]"
    assert copy["SHARED"][0] is copy["SHARED"][1]


def test_a_mapping_that_makes_its_values_anew_is_redacted_value_by_value():
    class Squares(Mapping[str, list[int]]):
        def __getitem__(self, name: str) -> list[int]:
            return [int(name) ** 2]

        def __iter__(self) -> Iterator[str]:
            return iter("123")

        def __len__(self) -> int:
            return 3

    assert redacted(Squares()) == {"1": [1], "2": [4], "3": [9]}
