import datetime
import warnings

import pytest
import werkzeug.http
from hypothesis import example, given
from hypothesis import strategies as st

from microweb.cookies import dump_cookie, parse_cookies
from microweb.errors import BadRequestKeyError
from microweb.headers import encode_value

# What decides in the grammar, over and over, beside any text.
GRAMMAR = st.text('a="\\; \t1é,\n', max_size=30)
UTC = datetime.UTC


# Reading ------------------------------------------------------------------------------------------


def test_cookies_are_read_in_order():
    cookies = parse_cookies("a=1; b=2;c = 3 ;d=e=f")

    assert cookies.to_dict() == {"a": "1", "b": "2", "c": "3", "d": "e=f"}


def test_of_equal_names_the_first_counts():
    cookies = parse_cookies("a=1; a=2")

    assert cookies["a"] == "1"
    assert cookies.getlist("a") == ["1", "2"]


def test_a_missing_cookie_is_a_400_that_calls_it_a_cookie():
    with pytest.raises(BadRequestKeyError, match="The cookie 'a' is missing"):
        parse_cookies("")["a"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", {}),
        (";;; ;", {}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("=1; b=2", {"b": "2"}),
        ("a b=1; c=2", {"c": "2"}),
        ("a=1 2; c=2", {"c": "2"}),
        ("a\tb=1; c=2", {"c": "2"}),
        ("a=1\t2; c=2", {"c": "2"}),
        ("\ta\t=\t1\t; c=2", {"a": "1", "c": "2"}),
        ('a="1; b=2', {"b": "2"}),
        ('a="1" x; b=2', {"b": "2"}),
        ('a="1"', {"a": "1"}),
        ('a="1; 2"; b=3', {"a": "1; 2", "b": "3"}),
        ('a=x"y; b=2', {"b": "2"}),
    ],
)
def test_what_is_no_cookie_is_skipped(header, expected):
    assert parse_cookies(header).to_dict() == expected


def test_escapes_in_quotes_are_undone():
    cookies = parse_cookies(r'a="\"quoted\""; b="\303\274\054"; c="\377"; d=\101')

    assert cookies.to_dict() == {"a": '"quoted"', "b": "ü,", "c": "\N{REPLACEMENT CHARACTER}", "d": r"\101"}


def test_utf_8_in_the_header_is_decoded():
    header = "stadt=Köln".encode().decode("latin-1")

    assert parse_cookies(header)["stadt"] == "Köln"
    assert parse_cookies("stadt=Köln")["stadt"] == "K\N{REPLACEMENT CHARACTER}ln"
    assert parse_cookies("stadt=Łódź")["stadt"] == "Łódź"


@given(GRAMMAR | st.text(max_size=20))
@example('a="\\\n"')
@example('a="\ud800"')
def test_nothing_in_the_header_raises(header):
    parse_cookies(header)


@given(GRAMMAR)
@example('a="1;b="2"')
@example('a= \t"x"\t ;b')
def test_any_header_reads_as_in_werkzeug(header):
    wire = header.encode().decode("latin-1")

    assert list(parse_cookies(wire).items(multi=True)) == list(werkzeug.http.parse_cookie(wire).items(multi=True))


@pytest.mark.parametrize(
    ("prefix", "repeated"),
    [
        ("", "\\"),
        ('a="', "\\"),
        ('a="', '\\"'),
        ("", 'a="'),
        ("", 'a="\\";'),
        ("", 'a="x";b='),
        ("", '"; a="'),
        ("a=", " "),
        ('"a', " "),
        ('"; a=', " \t"),
        ("", "a=1; "),
        ('"', "a;"),
        ('"', "a"),
        ('"', "="),
    ],
)
def test_parsing_takes_linear_time(growth, prefix, repeated):
    count = 50_000 // len(repeated)

    assert growth(parse_cookies, prefix + repeated * count + '"', prefix + repeated * 2 * count + '"') < 2.6


# Writing ------------------------------------------------------------------------------------------


def test_a_plain_cookie_is_set_for_the_whole_site():
    assert dump_cookie("theme", "dark") == "theme=dark; Path=/"
    assert dump_cookie("theme") == "theme=; Path=/"
    assert dump_cookie("theme", path=None) == "theme="


def test_every_attribute_is_written():
    cookie = dump_cookie(
        "a",
        "b",
        max_age=datetime.timedelta(hours=1),
        expires=datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        path="/x",
        domain="example.org",
        secure=True,
        httponly=True,
        samesite="none",
        partitioned=True,
    )

    assert cookie == (
        "a=b; Domain=example.org; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Max-Age=3600; Secure; HttpOnly; "
        "Path=/x; SameSite=None; Partitioned"
    )


def test_an_empty_domain_is_none():
    assert dump_cookie("a", domain="") == "a=; Path=/"


def test_expires_may_be_a_timestamp_or_text():
    assert dump_cookie("a", expires=0) == "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"
    assert dump_cookie("a", expires="Thu, 01 Jan 1970 00:00:00 GMT", max_age=0) == (
        "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/"
    )


VALUES = st.text() | st.text('a"\\;, \x19\x1f\x7fé', max_size=10)


@given(VALUES.filter(lambda value: not any(0x1A <= ord(character) < 0x20 for character in value)))
def test_any_value_is_written_as_in_werkzeug(value):
    assert dump_cookie("a", value) == werkzeug.http.dump_cookie("a", value, max_size=0)


@given(VALUES)
@example("\x1a\x1f")
def test_any_value_comes_back_and_fits_into_a_header(value):
    cookie = dump_cookie("a", value, path=None)

    assert encode_value(cookie).isascii()
    assert parse_cookies(cookie)["a"] == value


@given(
    st.builds(
        dict,
        max_age=st.none() | st.integers() | st.timedeltas(),
        expires=st.none() | st.integers(0, 4 * 10**9) | st.datetimes(timezones=st.just(UTC)),
        path=st.none() | st.text(max_size=8).map(lambda path: "/" + path),
        domain=st.sampled_from([None, "example.org", ".example.org:80", "localhost", "münchen.example"]),
        secure=st.just(True),
        httponly=st.booleans(),
        samesite=st.sampled_from([None, "Strict", "lax", "NONE"]),
        partitioned=st.booleans(),
    )
)
def test_attributes_are_written_as_in_werkzeug(attributes):
    assert dump_cookie("a", "b", **attributes) == werkzeug.http.dump_cookie("a", "b", sync_expires=False, **attributes)


@pytest.mark.parametrize("junk", [";", "\r\n", "\0", "; Domain=evil.example", "a b", "\x1b", "=", ",", "é", ""])
def test_a_name_that_is_no_token_is_refused(junk):
    with pytest.raises(ValueError, match="a cookie's name is a token"):
        dump_cookie(junk)


@pytest.mark.parametrize("junk", [";", "\r\nSet-Cookie: b=1", "\0", "x; Domain=evil.example", "x\x7f;", "\x1b;"])
def test_nothing_given_to_a_cookie_can_end_its_part(junk):
    with pytest.raises(ValueError, match="domain is a host name"):
        dump_cookie("a", domain="a" + junk)
    with pytest.raises(ValueError, match="expires is a date"):
        dump_cookie("a", expires=junk)
    with pytest.raises(ValueError, match="samesite is"):
        dump_cookie("a", samesite=junk)
    with pytest.raises(TypeError, match="max_age is a number of seconds"):
        dump_cookie("a", max_age=junk)
    assert encode_value(dump_cookie("a", junk, path="/" + junk)).count(b";") == 1


@pytest.mark.parametrize("domain", ["a b", "..", ".", "[::1]", "ü" * 70, "a..b", "a.", "/"])
def test_a_domain_that_is_no_host_name_is_refused(domain):
    with pytest.raises(ValueError, match="domain is a host name"):
        dump_cookie("a", domain=domain)


def test_expires_as_text_is_in_ascii():
    with pytest.raises(ValueError, match="expires is a date"):
        dump_cookie("a", expires="8. März 2030")


@pytest.mark.parametrize("path", ["", "x", " /", "\t/"])
def test_a_path_that_browsers_ignore_is_refused(path):
    with pytest.raises(ValueError, match="path begins with a slash"):
        dump_cookie("a", path=path)


@pytest.mark.parametrize("samesite", [True, False, 5])
def test_samesite_is_a_word(samesite):
    with pytest.raises(ValueError, match=f"samesite is 'Strict', 'Lax' or 'None', not {samesite}"):
        dump_cookie("a", samesite=samesite)


def test_a_value_that_is_no_text_is_refused_by_name():
    with pytest.raises(TypeError, match="value of the cookie 'a' is a str, not int"):
        dump_cookie("a", 5)
    with pytest.raises(ValueError, match="value of the cookie 'a' is no text"):
        dump_cookie("a", "\ud800")


@pytest.mark.parametrize(
    ("name", "attributes", "needed"),
    [
        ("__Secure-a", {}, "needs secure=True because of its prefix"),
        ("__host-a", {}, "needs secure=True because of its prefix"),
        ("__Host-a", {"secure": True, "path": "/x"}, "needs path='/' and no domain"),
        ("__Host-a", {"secure": True, "path": None}, "needs path='/' and no domain"),
        ("__HOST-a", {"secure": True, "domain": "example.org"}, "needs path='/' and no domain"),
        ("a", {"samesite": "None"}, "needs secure=True because of samesite='None'"),
        ("a", {"partitioned": True}, "needs secure=True because it is partitioned"),
    ],
)
def test_a_cookie_that_browsers_would_refuse_is_an_error(name, attributes, needed):
    with pytest.raises(ValueError, match=needed):
        dump_cookie(name, **attributes)


def test_prefixed_cookies_are_written_if_they_keep_the_rules():
    assert dump_cookie("__Host-a", secure=True) == "__Host-a=; Secure; Path=/"
    assert dump_cookie("__Secure-a", secure=True, domain="example.org", path="/x") == (
        "__Secure-a=; Domain=example.org; Secure; Path=/x"
    )


def test_a_cookie_too_large_for_browsers_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dump_cookie("name", "v" * 4092)

    with pytest.warns(UserWarning, match="'name' is longer than 4096 bytes, and browsers ignore it"):
        dump_cookie("name", "v" * 4093)


def test_a_cookie_too_large_for_browsers_is_warned_of_once_whatever_its_size():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for size in range(5000, 5010):
            dump_cookie("name", "v" * size)

    assert len(caught) == 1


@pytest.mark.slow
@pytest.mark.parametrize("repeated", ["\\", "é", "a", '"', " "])
def test_writing_takes_linear_time(growth, repeated):
    def write(value):
        with pytest.warns(UserWarning, match="browsers ignore it"):
            dump_cookie("a", value, path="/" + value)

    assert growth(write, repeated * 10_000, repeated * 20_000) < 2.6
