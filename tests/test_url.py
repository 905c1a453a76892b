"""URLs: parts, percent-encoding, queries, hosts and redirect targets, compared with urllib and werkzeug."""

import copy
import gc
import pickle
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from werkzeug.sansio.utils import host_is_trusted
from werkzeug.urls import iri_to_uri

from microweb.errors import BadRequest
from microweb.multidict import MultiDict
from microweb.url import (
    URL,
    build_query,
    is_safe_redirect,
    location,
    parse_host,
    parse_query,
    quote_path,
    quote_segment,
    unquote,
)

urlish = st.text(alphabet="ab:/?#[]@.%2fF&=+;\\ é", max_size=24)
controls = [chr(code) for code in [*range(0x20), 0x7F]]


def growth(function: Callable[[Any], object], make: Callable[[int], Any], size: int) -> float:
    """How much longer ``function`` takes on an input twice as long: medians of five, in processor time."""

    def cost(data: Any) -> float:
        started = time.process_time()
        function(data)
        return time.process_time() - started

    small, large = make(size), make(size * 2)
    gc.disable()
    try:
        costs = [(cost(small), cost(large)) for _ in range(5)]
    finally:
        gc.enable()
    return statistics.median(pair[1] for pair in costs) / statistics.median(pair[0] for pair in costs)


# Percent-encoding


@given(st.text())
def test_quoting_equals_urllib(text: str) -> None:
    assert quote_path(text) == urllib.parse.quote(text, safe="/!$&'()*+,;=:@")
    assert quote_segment(text) == urllib.parse.quote(text, safe="!$&'()*+,;=:@")


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
    assert quote_segment("a\ud800b") == location("a\ud800b") == "a%EF%BF%BDb"
    assert unquote("%41\udfff") == "A\ufffd"


# Query strings


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


# Hosts


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
    ],
)
def test_a_malformed_host_is_none(value: str) -> None:
    assert parse_host(value) is None


@given(st.lists(st.sampled_from(["a", "Z-", "0", ".", ":", ":8", "[::1]", "[", "@", "/"]), max_size=6).map("".join))
def test_whatever_is_taken_for_a_host_werkzeug_takes_too(value: str) -> None:
    # An empty port is none to werkzeug, but one that may be empty in RFC 9110 §4.2.3.
    assert parse_host(value) is None or host_is_trusted(value.removesuffix(":"))


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
        {"host": "a/b"},
        {"host": "a:80"},
        {"host": "[::1]:80"},
        {"host": "u@a"},
        {"host": "é@evil.example"},
        {"host": "é" * 300},
        {"port": 65536},
        {"port": -1},
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


# Redirect targets


@pytest.mark.parametrize("control", controls)
def test_a_location_refuses_control_characters(control: str) -> None:
    for value in (control, f"/a{control}b", f"http://a{control}/", f"/?{control}", f"/#{control}"):
        with pytest.raises(ValueError, match="control characters"):
            location(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", ""),
        ("/", "/"),
        ("#top", "#top"),
        ("/a b", "/a%20b"),
        ("/a%20b%2F", "/a%20b%2F"),
        ("/100%", "/100%25"),
        ("/é?ü=ß#ö", "/%C3%A9?%C3%BC=%C3%9F#%C3%B6"),
        ("\\evil.example", "%5Cevil.example"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("\\\\evil.example", "%5C%5Cevil.example"),
        ("http://good.example\\@evil.example/", "http://good.example%5C@evil.example/"),
        ("http://bücher.example:80/<x>", "http://xn--bcher-kva.example:80/%3Cx%3E"),
        ("http://ü@bücher.example", "http://%C3%BC@xn--bcher-kva.example"),
        ("http://[::1]:8000/[x]", "http://[::1]:8000/%5Bx%5D"),
        ("//cdn.example/x", "//cdn.example/x"),
        ("myapp://open?x=1#", "myapp://open?x=1#"),
        ("/?next=http://a/b?c=d&e", "/?next=http://a/b?c=d&e"),
        (".:x", "./.:x"),
    ],
)
def test_a_location_is_written_in_ascii(value: str, written: str) -> None:
    assert location(value) == written


@pytest.mark.parametrize("host", ["é" * 300, "é..a", "é" * 64])
def test_a_host_that_idna_cannot_write_is_a_value_error(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        location(f"http://{host}/")


@given(st.text(alphabet=st.characters(min_codepoint=32, blacklist_characters="\x7f")))
def test_every_location_is_printable_ascii_and_stays_as_it_is(value: str) -> None:
    try:
        written = location(value)
    except ValueError:
        assume(False)

    assert written.isascii()
    assert written.isprintable()
    assert not set(written) & set(' "<>\\^`{|}')
    assert location(written) == written


@given(st.text(alphabet="abé/%2;=&+ ", max_size=20), st.text(alphabet="abé/%2;=&+ ?", max_size=20))
def test_a_location_equals_werkzeug(path: str, query: str) -> None:
    iri = f"http://bücher.example/{path}?q{query}"
    expected = iri_to_uri(iri)

    assume(location(expected) == expected)  # werkzeug leaves a stray % as it is.
    assert location(iri) == expected


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a?b#c",
        "a/b:c",
        "?q=http://evil.example",
        "#x",
        "..",
        "http://good.example/x",
        "https://GOOD.example.",
        "//good.example",
        "//[::1]:8000/",
    ],
)
def test_a_target_on_this_site_or_a_known_host_is_safe(target: str) -> None:
    assert is_safe_redirect(target, ["good.example", "[::1]:8000"])


@pytest.mark.parametrize(
    "target",
    [
        "",
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "\\evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "http://evil.example",
        "http:evil.example",
        "http:/evil.example",
        "http:///evil.example",
        "https:\\\\evil.example",
        "ftp://good.example",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        " javascript:alert(1)",
        "\x01javascript:alert(1)",
        "\x7f/",
        "/\t/evil.example",
        " //evil.example",
        "//evil.example ",
        "\u00a0//evil.example",
        "//good.example@evil.example",
        "//evil.example#@good.example",
        "//good.example:81",
        "//good.example.evil.example",
        "//sub.good.example",
        "1http://evil.example",
        "é:x",
        "//good.example:x/",
        "//",
    ],
)
def test_a_target_that_leaves_the_site_is_not_safe(target: str) -> None:
    assert not is_safe_redirect(target, ["good.example"])
    assert not is_safe_redirect(target)


def test_no_host_is_known_unless_it_is_well_formed() -> None:
    assert not is_safe_redirect("//", [""])
    assert not is_safe_redirect("//a b", ["a b"])


@given(urlish)
def test_a_safe_target_stays_on_its_site_as_a_location(target: str) -> None:
    assume(is_safe_redirect(target))

    assert URL(location(target)).host == urllib.parse.urlsplit(location(target)).netloc == ""
    assert URL("https://home.example/login").join(location(target)).host == "home.example"


# Costs


@pytest.mark.parametrize(
    ("function", "make"),
    [
        (lambda raw: parse_query(raw, max_parameters=10**9), lambda n: b"&" * n),
        (lambda raw: parse_query(raw, max_parameters=10**9), lambda n: b"a=%41+&" * (n // 8)),
        (parse_query, lambda n: b"=" * 8 * n),
        (parse_query, lambda n: b"%" * n),
        (parse_query, lambda n: b"%41" * n),
        (parse_query, lambda n: b"\xff" * n),
        (unquote, lambda n: "%é" * n),
        (quote_path, lambda n: "é" * n),
        (quote_path, lambda n: "/a" * 100 * n),
        (location, lambda n: "%" * n),
        (location, lambda n: ":" * n),
        (location, lambda n: "a:" * n),
        (location, lambda n: "//" + "@:[" * n),
        (is_safe_redirect, lambda n: "/" * 100 * n),
        (is_safe_redirect, lambda n: "+" * 100 * n + ":"),
        (lambda text: URL(text).host, lambda n: "http://" + "@:" * 10 * n),
        (lambda text: URL("http://a/").join(text), lambda n: "a/../" * n),
        (lambda text: URL("http://a/").join(text), lambda n: "../" * n),
        (lambda text: URL("/").replace(path=text), lambda n: "%" * n),
    ],
)
def test_every_parser_is_linear(function: Callable[[Any], object], make: Callable[[int], Any]) -> None:
    assert growth(function, make, 40_000) < 2.6


@pytest.mark.parametrize("text", ["a" * 262, "a." * 131, "a" * 261 + "!", "a." * 130 + "!", "[" + ":" * 260])
def test_a_host_is_refused_without_backtracking(text: str) -> None:
    started = time.process_time()
    for _ in range(100):
        parse_host(text)

    assert time.process_time() - started < 0.1


def test_importing_it_alone_does_not_import_urllib() -> None:
    folder = str(Path(sys.modules[URL.__module__].__file__ or "").parent)
    code = (
        "import sys, types; package = types.ModuleType('microweb'); package.__path__ = [sys.argv[1]];"
        "sys.modules['microweb'] = package; import microweb.url; sys.exit('urllib.parse' in sys.modules)"
    )

    # In an empty environment nothing else is loaded: no measuring of coverage, which needs urllib itself.
    assert subprocess.run([sys.executable, "-c", code, folder], env={}).returncode == 0
