"""Redirect targets: what is written into a Location, compared with werkzeug, and which are safe."""

import urllib.parse

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from werkzeug.urls import iri_to_uri

from microweb.redirects import is_safe_redirect, location
from microweb.url import URL

controls = [chr(code) for code in [*range(0x20), 0x7F]]


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
        (f"//{'a' * 64}.example/x", f"//{'a' * 64}.example/x"),  # No name of the DNS, which is not ours to say.
        ("myapp://open?x=1#", "myapp://open?x=1#"),
        ("/?next=http://a/b?c=d&e", "/?next=http://a/b?c=d&e"),
        (".:x", "./.:x"),
        ("a\ud800b", "a%EF%BF%BDb"),
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
        "/a b",
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


@given(st.text(alphabet="ab:/?#[]@.%2fF&=+;\\ é", max_size=24))
def test_a_safe_target_stays_on_its_site_as_a_location(target: str) -> None:
    assume(is_safe_redirect(target))

    assert URL(location(target)).host == urllib.parse.urlsplit(location(target)).netloc == ""
    assert URL("https://home.example/login").join(location(target)).host == "home.example"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "make"),
    [
        (location, lambda n: "%" * n),
        (location, lambda n: ":" * n),
        (location, lambda n: "a:" * n),
        (location, lambda n: "//" + "@:[" * n),
        (is_safe_redirect, lambda n: "/" * 100 * n),
        (is_safe_redirect, lambda n: "+" * 100 * n + ":"),
    ],
)
def test_every_target_is_read_in_linear_time(growth, function, make):
    assert growth(function, make(40_000), make(80_000)) < 2.6
