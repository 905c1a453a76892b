"""URLs: their parts, changing them, and joining references to them, compared with urllib and the RFC."""

import copy
import pickle
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from microweb.quoting import unquote
from microweb.url import URL

urlish = st.text(alphabet="ab:/?#[]@.%2fF&=+;\\ é", max_size=24)


# The parts of a URL


def test_the_parts_of_a_url() -> None:
    url = URL("HTTPS://Ann:s%40@Example.com:8443/a/b;c?q=1&r#top?#x")

    assert (url.scheme, url.netloc, url.path) == ("https", "Ann:s%40@Example.com:8443", "/a/b;c")
    assert (url.query, url.fragment) == ("q=1&r", "top?#x")
    assert (url.username, url.password, url.host, url.port) == ("Ann", "s%40", "example.com", 8443)


def test_the_missing_parts_of_a_url() -> None:
    url = URL("")

    assert (url.scheme, url.netloc, url.path, url.query, url.fragment, url.host) == ("", "", "", "", "", "")
    assert (url.username, url.password, url.port) == (None, None, None)


def test_an_address_has_no_brackets() -> None:
    assert (URL("http://[FE80::1]:80/").host, URL("http://[FE80::1]:80/").port) == ("fe80::1", 80)
    assert (URL("http://[::1]").host, URL("http://[::1]").port) == ("::1", None)


@pytest.mark.parametrize("port", ["", "x", "-1", "65536", "٣", "1" * 5000, "80:80", " 80", "+80"])
def test_a_bad_port_is_none(port: str) -> None:
    assert URL(f"http://a:{port}/").port is None


@given(urlish)
def test_the_parts_of_any_text_equal_urllib(text: str) -> None:
    try:
        expected = urllib.parse.urlsplit(text)
    except ValueError:
        assume(False)
    assume(text == text.strip())
    url = URL(text)

    assert (url.scheme, url.netloc, url.path, url.query, url.fragment) == tuple(expected)
    if "[" not in url.netloc:
        assert (url.username, url.password) == (expected.username, expected.password)
        assert url.host == (expected.hostname or "")


@pytest.mark.parametrize("text", ["", "a", "/a/b", "a:b", "//a", "http://a", "?a", "#a"])
def test_no_part_is_the_url_itself(text: str) -> None:
    url = URL(text)

    assert {type(part) for part in (url.scheme, url.netloc, url.path, url.query, url.fragment, url.host)} == {str}


@given(st.text())
def test_no_part_of_any_text_raises(text: str) -> None:
    url = URL(text)

    for part in ("scheme", "netloc", "path", "query", "fragment", "username", "password", "host", "port"):
        getattr(url, part)
    assert url == text


def test_a_url_is_a_string_that_shows_what_it_is() -> None:
    url = URL("http://a/b")

    assert isinstance(url, str)
    assert "http://a/b" in {url}
    assert repr(url) == "URL('http://a/b')"
    assert str(url) == "http://a/b"


def test_a_url_can_be_copied_and_pickled() -> None:
    url = URL("http://a/b?c")

    assert url.query == copy.copy(url).query == pickle.loads(pickle.dumps(url)).query == "c"
    assert type(pickle.loads(pickle.dumps(URL("x")))) is URL


def test_libraries_that_expect_a_plain_string_can_use_a_url() -> None:
    url = URL("http://a/b?c")

    assert urllib.parse.urlsplit(url).query == "c"
    assert url.replace("/b", "/x") == "http://a/x?c"
    assert url.replace("a", "x", 1) == "http://x/b?c"
    assert URL("-").join(["a", "b"]) == "a-b"


# Changing a URL


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({}, "http://u:p@a.com:80/x?q#f"),
        ({"scheme": "HTTPS"}, "https://u:p@a.com:80/x?q#f"),
        ({"scheme": None}, "//u:p@a.com:80/x?q#f"),
        ({"host": "b.org"}, "http://u:p@b.org:80/x?q#f"),
        ({"host": "::1"}, "http://u:p@[::1]:80/x?q#f"),
        ({"host": "[::1]"}, "http://u:p@[::1]:80/x?q#f"),
        ({"host": "bücher.example"}, "http://u:p@xn--bcher-kva.example:80/x?q#f"),
        ({"port": 8080}, "http://u:p@a.com:8080/x?q#f"),
        ({"port": None}, "http://u:p@a.com/x?q#f"),
        ({"username": "a@b:c"}, "http://a%40b%3Ac:p@a.com:80/x?q#f"),
        ({"username": None}, "http://:p@a.com:80/x?q#f"),
        ({"password": None}, "http://u@a.com:80/x?q#f"),
        ({"password": "/?#"}, "http://u:%2F%3F%23@a.com:80/x?q#f"),
        ({"username": None, "password": None}, "http://a.com:80/x?q#f"),
        ({"netloc": "b.org:1"}, "http://b.org:1/x?q#f"),
        ({"netloc": None, "scheme": None}, "/x?q#f"),
        ({"path": "/a b?c#d%20%zz"}, "http://u:p@a.com:80/a%20b%3Fc%23d%20%25zz?q#f"),
        ({"path": "relative"}, "http://u:p@a.com:80/relative?q#f"),
        ({"path": ""}, "http://u:p@a.com:80?q#f"),
        ({"query": "a=b c#&é"}, "http://u:p@a.com:80/x?a=b%20c%23&%C3%A9#f"),
        ({"query": {"a": [1, 2]}}, "http://u:p@a.com:80/x?a=1&a=2#f"),
        ({"query": [("a", "&")]}, "http://u:p@a.com:80/x?a=%26#f"),
        ({"query": None}, "http://u:p@a.com:80/x#f"),
        ({"fragment": "#"}, "http://u:p@a.com:80/x?q#%23"),
        ({"fragment": None}, "http://u:p@a.com:80/x?q"),
    ],
)
def test_replacing_parts(changes: dict[str, Any], result: str) -> None:
    url = URL("http://u:p@a.com:80/x?q#f").replace(**changes)

    assert url == result
    assert type(url) is URL


@pytest.mark.parametrize(
    "changes",
    [
        {"scheme": "1http"},
        {"scheme": "ht tp"},
        {"scheme": "a:b"},
        {"host": ""},
        {"host": None},
        {"host": b"a"},
        {"host": "a/b"},
        {"host": "a:80"},
        {"host": "[::1]:80"},
        {"host": "u@a"},
        {"host": "é@evil.example"},
        {"host": "é" * 300},
        {"port": 65536},
        {"port": -1},
        {"port": "80"},
        {"netloc": "a", "host": "b"},
        {"netloc": "a", "port": None},
    ],
)
def test_a_replacement_that_is_no_such_part_is_a_value_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        URL("http://a/").replace(**changes)


def test_a_url_without_a_host_gets_no_user_and_no_port() -> None:
    for changes in ({"port": 80}, {"username": "ann"}, {"password": "secret"}):
        with pytest.raises(ValueError, match="needs a host"):
            URL("/a").replace(**changes)

    assert URL("/a").replace(port=None, username=None) == "/a"
    assert URL("/a").replace(host="b.org", port=80) == "//b.org:80/a"


def test_a_path_never_turns_into_a_host() -> None:
    assert URL("/a").replace(path="//evil.example") == "/.//evil.example"
    assert URL("http://a/b").replace(scheme=None, netloc=None, path="//evil.example").host == ""
    assert URL("http:/a").join("/.//evil.example").host == ""
    assert URL("x").replace(path="javascript:alert(1)").scheme == ""


@given(urlish, urlish, urlish, urlish)
def test_a_replaced_part_is_only_that_part(text: str, path: str, query: str, fragment: str) -> None:
    url = URL(text)
    changed = url.replace(path=path, query=query, fragment=fragment)

    assert (changed.scheme, changed.host, changed.port) == (url.scheme, url.host, url.port)
    assert unquote(changed.query) == unquote(query)
    assert unquote(changed.fragment) == unquote(fragment)
    assert unquote(changed.path).endswith(unquote(path).lstrip("/"))


# Joining

RFC_3986_EXAMPLES = {
    "g:h": "g:h",
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q#s",
    "g#s": "http://a/b/c/g#s",
    "g?y#s": "http://a/b/c/g?y#s",
    ";x": "http://a/b/c/;x",
    "g;x": "http://a/b/c/g;x",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../g": "http://a/g",
    "../../../g": "http://a/g",
    "../../../../g": "http://a/g",
    "/./g": "http://a/g",
    "/../g": "http://a/g",
    "g.": "http://a/b/c/g.",
    "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g",
    "./g/.": "http://a/b/c/g/",
    "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/../x": "http://a/b/c/g?y/../x",
    "g#s/../x": "http://a/b/c/g#s/../x",
    "http:g": "http:g",
}
"""Sections 5.4.1 and 5.4.2, the last one as a strict parser reads it."""


@pytest.mark.parametrize(("reference", "result"), RFC_3986_EXAMPLES.items())
def test_joining_follows_the_examples_of_the_rfc(reference: str, result: str) -> None:
    joined = URL("http://a/b/c/d;p?q").join(reference)

    assert joined == result
    assert type(joined) is URL


@given(
    st.lists(st.sampled_from(["a", "b", ".", ".."]), max_size=5).map("/".join),
    st.sampled_from(["", "/"]),
    st.sampled_from(["", "?x"]),
)
def test_joining_equals_urllib(path: str, root: str, query: str) -> None:
    reference = (root + path if path else root) + query

    for base in ("http://h/p/q/r?s", "http://h", "http://h/", "http://h/p/"):
        assert URL(base).join(reference) == urllib.parse.urljoin(base, reference)


def test_a_relative_base_joins_without_climbing_out() -> None:
    assert URL("a/b").join("../../c") == "c"
    assert URL("/a").join("../../c/..") == "/"
    assert URL("http://h").join("c") == "http://h/c"


# Costs


@pytest.mark.parametrize(
    ("function", "make"),
    [
        # Many times a small one: on large ones the time goes into the pages that the system hands out, by size.
        (lambda text: [URL(text).host for _ in range(200)], lambda n: "http://" + "@:" * (n // 4)),
        (lambda text: URL("http://a/").join(text), lambda n: "a/../" * n),
        (lambda text: URL("http://a/").join(text), lambda n: "../" * n),
        (lambda text: URL("/").replace(path=text), lambda n: "%" * n),
    ],
)
def test_every_part_is_read_and_written_in_linear_time(growth, function, make):
    assert growth(function, make(40_000), make(80_000)) < 2.6


def test_importing_what_reads_and_writes_urls_does_not_import_urllib() -> None:
    folder = str(Path(sys.modules[URL.__module__].__file__ or "").parent)
    code = (
        "import sys, types; package = types.ModuleType('microweb'); package.__path__ = [sys.argv[1]];"
        "sys.modules['microweb'] = package; import microweb.redirects; sys.exit('urllib.parse' in sys.modules)"
    )

    # In an empty environment nothing else is loaded: no measuring of coverage, which needs urllib itself.
    assert subprocess.run([sys.executable, "-c", code, folder], env={}).returncode == 0
