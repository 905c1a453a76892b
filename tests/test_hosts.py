"""Hosts: a name or an address, and a port; whatever is taken for one werkzeug takes too."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.sansio.utils import host_is_trusted

from microweb.hosts import parse_host, write_idna

controls = [chr(code) for code in [*range(0x20), 0x7F]]


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("Example.COM", "example.com", None),
        ("example.com:8000", "example.com", 8000),
        ("example.com:", "example.com", None),
        ("example.com.:80", "example.com", 80),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("my_container-1", "my_container-1", None),
        ("[::1]", "::1", None),
        ("[2001:DB8::1]:443", "2001:db8::1", 443),
        ("a" * 63 + ".org", "a" * 63 + ".org", None),
    ],
)
def test_a_host_is_split_into_name_and_port(value: str, host: str, port: int | None) -> None:
    assert parse_host(value) == (host, port)


@pytest.mark.parametrize("bad", ["#", "/", "?", "@", "\\", " ", "%20", ",", "\u212a", "é", "'", *controls])
def test_a_host_with_anything_but_name_and_port_is_malformed(bad: str) -> None:
    for value in (
        f"example.com{bad}",
        f"{bad}example.com",
        f"evil{bad}example.com:80",
        f"example.com:80{bad}",
    ):
        assert parse_host(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        ":80",
        ".example.com",
        "a..b",
        "a.com..",
        "a.com:0",
        "a.com:65536",
        "a.com:123456",
        "a.com:٣",
        "a.com:-1",
        "a:80:80",
        "::1",
        "[::1",
        "[]",
        "[:::1]",
        "[127.0.0.1]",
        "[::1%25eth0]",
        "[v1.a]",
        "a" * 300,
        "a" * 263,
    ],
)
def test_a_malformed_host_is_none(value: str) -> None:
    assert parse_host(value) is None


def test_a_host_is_as_long_as_a_name_a_dot_and_a_port_at_most() -> None:
    longest = "é" * 8 + ".abcdefghi" * 25 + ".xyz"

    assert len(longest) == 262
    assert write_idna(longest).startswith("xn--")
    assert parse_host("a" * 262) == ("a" * 262, None)
    with pytest.raises(ValueError, match="too long"):
        write_idna(longest + "z")


@given(st.lists(st.sampled_from(["a", "Z-", "0", ".", ":", ":8", "[::1]", "[", "@", "/"]), max_size=6).map("".join))
def test_whatever_is_taken_for_a_host_werkzeug_takes_too(value: str) -> None:
    # An empty port is none to werkzeug, but one that may be empty in RFC 9110 §4.2.3.
    assert parse_host(value) is None or host_is_trusted(value.removesuffix(":"))


@pytest.mark.parametrize("text", ["a" * 262, "a." * 131, "a" * 261 + "!", "a." * 130 + "!", "[" + ":" * 260])
def test_a_host_is_refused_without_backtracking(text: str) -> None:
    started = time.process_time()
    for _ in range(100):
        parse_host(text)

    assert time.process_time() - started < 0.1
