"""Tests of ``microweb.configkinds``: what keys of each kind may hold, asked of ``Limits``, which has the keys."""

import enum
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb import App
from microweb.errors import SetupError
from microweb.limits import DEFAULTS, Limits


class Size(enum.IntEnum):
    SMALL = 1000


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("MAX_CONTENT_LENGTH", 0, 0),
        ("MAX_CONTENT_LENGTH", None, None),
        ("MAX_CONTENT_LENGTH", Size.SMALL, 1000),
        ("BODY_TIMEOUT", None, None),
        ("BODY_TIMEOUT", 5, 5.0),
        ("GRACEFUL_TIMEOUT", 0, 0.0),
        ("GRACEFUL_TIMEOUT", timedelta(minutes=2), 120.0),
        ("STATIC_FINGERPRINTS", 1, True),
        ("SEND_FILE_MAX_AGE_DEFAULT", timedelta(hours=1), 3600),
        ("SEND_FILE_MAX_AGE_DEFAULT", 0, 0),
        ("TRUSTED_HOSTS", {"Example.ORG"}, ("example.org",)),
        ("TRUSTED_HOSTS", [], ()),
        (
            "WEBSOCKET_ORIGINS",
            ("https://Example.org:8443", "null", "*"),
            ("https://example.org:8443", "null", "*"),
        ),
    ],
)
def test_a_figure_is_read_as_documented(key: str, value: object, read: object):
    limits = Limits.of({key: value})

    assert getattr(limits, key.lower()) == read


@pytest.mark.parametrize(("value", "seconds"), [(3600, 3600), (0.5, 0.5), (timedelta(hours=1), 3600)])
def test_the_lifetime_of_a_session_is_read_as_documented(value: object, seconds: float):
    app = App(config={"PERMANENT_SESSION_LIFETIME": value, "SECRET_KEY": "0123456789abcdef"})

    Limits.of(app.config)  # A start that refuses no value.

    assert app.permanent_session_lifetime == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MAX_CONTENT_LENGTH", -1),
        ("MAX_CONTENT_LENGTH", 1e6),
        ("MAX_CONTENT_LENGTH", True),
        ("MAX_CONTENT_LENGTH", "1000"),
        ("MAX_HEADERS", 0),
        ("MAX_HEADERS", None),
        ("SYNC_THREADS", 0),
        ("BODY_TIMEOUT", 0),
        ("BODY_TIMEOUT", -1.0),
        ("BODY_TIMEOUT", float("nan")),
        ("BODY_TIMEOUT", float("inf")),
        ("BODY_TIMEOUT", 10**400),
        ("BODY_TIMEOUT", True),
        ("BODY_TIMEOUT", Fraction(1, 2)),
        ("BODY_TIMEOUT", timedelta(seconds=-1)),
        ("GRACEFUL_TIMEOUT", None),
        ("DEBUG", "False"),
        ("DEBUG", 2),
        ("DEBUG", None),
        ("TESTING", 1.0),
        ("PERMANENT_SESSION_LIFETIME", 0),
        ("PERMANENT_SESSION_LIFETIME", timedelta(0)),
        ("PERMANENT_SESSION_LIFETIME", 1e20),
        ("PERMANENT_SESSION_LIFETIME", float("nan")),
        ("PERMANENT_SESSION_LIFETIME", False),
        ("PERMANENT_SESSION_LIFETIME", "31 days"),
        ("SEND_FILE_MAX_AGE_DEFAULT", -1),
        ("SEND_FILE_MAX_AGE_DEFAULT", 1.5),
        ("SEND_FILE_MAX_AGE_DEFAULT", True),
        ("SECRET_KEY", 5),
        ("SECRET_KEY_FALLBACKS", "old"),
        ("SECRET_KEY_FALLBACKS", [None]),
        ("SESSION_COOKIE_NAME", ""),
        ("SESSION_COOKIE_NAME", "my session"),
        ("SESSION_COOKIE_NAME", "a=b"),
        ("SESSION_COOKIE_NAME", "a\r\nb"),
        ("SESSION_COOKIE_NAME", "sitzungß"),
        ("SESSION_COOKIE_DOMAIN", "https://example.org"),
        ("SESSION_COOKIE_DOMAIN", ""),
        ("SESSION_COOKIE_PATH", "shop"),
        ("SESSION_COOKIE_PATH", "/;a"),
        ("SESSION_COOKIE_SAMESITE", "Laxer"),
        ("SESSION_COOKIE_SAMESITE", True),
        ("SERVER_NAME", "http://example.org"),
        ("SERVER_NAME", "example.org/shop"),
        ("APPLICATION_ROOT", ""),
        ("APPLICATION_ROOT", None),
        ("PREFERRED_URL_SCHEME", "https://"),
        ("PREFERRED_URL_SCHEME", ""),
        ("TRUSTED_HOSTS", "example.org"),
        ("TRUSTED_HOSTS", [""]),
        ("TRUSTED_HOSTS", [5]),
        ("TRUSTED_HOSTS", ["*"]),
        ("TRUSTED_HOSTS", ["*.example.org"]),
        ("WEBSOCKET_ORIGINS", "https://example.org"),
        ("WEBSOCKET_ORIGINS", ["https://example.org/"]),
        ("WEBSOCKET_ORIGINS", ["example.org"]),
        ("WEBSOCKET_ORIGINS", ["://example.org"]),
        ("WEBSOCKET_ORIGINS", ["https://*.example.org"]),
    ],
)
def test_a_key_that_holds_what_it_may_not_is_a_setup_error_that_names_it(key: str, value: object):
    with pytest.raises(SetupError, match=f"\n  {key}: expected .*; came "):
        Limits.of({key: value})


@given(
    key=st.sampled_from(sorted(DEFAULTS)),
    value=st.from_type(object) | st.text() | st.floats() | st.integers(),
)
def test_any_value_is_read_or_refused_with_a_setup_error(key: str, value: object):
    message = ""

    try:
        Limits.of({key: value})
    except SetupError as error:
        message = str(error)

    assert message == "" or f"\n  {key}: expected " in message


@pytest.mark.parametrize("keys", [[""], ["old", b""]])
def test_an_empty_older_key_is_refused(keys: list[str | bytes]):
    with pytest.raises(SetupError, match=r"SECRET_KEY_FALLBACKS: expected a list of strings or bytes, none empty"):
        Limits.of({"SECRET_KEY_FALLBACKS": keys})


def test_a_list_with_one_wrong_item_names_the_item():
    with pytest.raises(SetupError, match=r"TRUSTED_HOSTS: expected a list of hosts.*; came one with 'a/b' \(str\)"):
        Limits.of({"TRUSTED_HOSTS": ["example.org", "a/b"]})


@pytest.mark.parametrize(
    "config",
    [
        {"SECRET_KEY": b"bytes", "SECRET_KEY_FALLBACKS": ["a", b"b"]},
        {"SERVER_NAME": "localhost:8000", "PREFERRED_URL_SCHEME": "https"},
        {"SERVER_NAME": "[::1]:8000"},
    ],
)
def test_a_setting_of_its_kind_is_accepted(config: dict[str, Any]):
    assert Limits.of(config) == Limits.of({})
