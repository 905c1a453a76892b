"""Tests of ``microweb.cookierefusals``: a config whose session cookie browsers would refuse is refused first."""

from typing import Any

import pytest

from microweb.errors import SetupError
from microweb.limits import Limits


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"SESSION_COOKIE_SAMESITE": "none", "SESSION_COOKIE_SECURE": False}, "SESSION_COOKIE_SECURE"),
        ({"SESSION_COOKIE_PARTITIONED": True, "SESSION_COOKIE_SECURE": False}, "SESSION_COOKIE_SECURE"),
        ({"SESSION_COOKIE_NAME": "__Secure-s", "SESSION_COOKIE_SECURE": False}, "SESSION_COOKIE_SECURE"),
        ({"SESSION_COOKIE_NAME": "__Host-s", "SESSION_COOKIE_SECURE": False}, "SESSION_COOKIE_SECURE"),
        (
            {"SESSION_COOKIE_NAME": "__Host-s", "SESSION_COOKIE_DOMAIN": "example.org"},
            "SESSION_COOKIE_DOMAIN",
        ),
        ({"SESSION_COOKIE_NAME": "__Host-s", "SESSION_COOKIE_PATH": "/shop"}, "SESSION_COOKIE_PATH"),
        ({"SESSION_COOKIE_NAME": "__Host-s", "APPLICATION_ROOT": "/shop"}, "SESSION_COOKIE_PATH"),
    ],
)
def test_a_session_cookie_that_browsers_would_refuse_is_a_setup_error(config: dict[str, Any], key: str):
    with pytest.raises(SetupError, match=f"\n  {key}: expected "):
        Limits.of(config)


@pytest.mark.parametrize(
    "config",
    [
        {"SESSION_COOKIE_SAMESITE": None, "SESSION_COOKIE_SECURE": False},
        {
            "SESSION_COOKIE_SAMESITE": "None",
            "SESSION_COOKIE_SECURE": True,
            "SESSION_COOKIE_PARTITIONED": True,
        },
        {"SESSION_COOKIE_NAME": "__Host-s"},
        {"SESSION_COOKIE_NAME": "__Host-s", "APPLICATION_ROOT": "/shop", "SESSION_COOKIE_PATH": "/"},
    ],
)
def test_a_session_cookie_that_browsers_take_is_accepted(config: dict[str, Any]):
    assert Limits.of(config) == Limits.of({})
