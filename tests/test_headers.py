import copy
import pickle

import pytest
import werkzeug.datastructures
from hypothesis import given
from hypothesis import strategies as st

from microweb.errors import BadRequestKeyError, RequestHeaderFieldsTooLarge
from microweb.headers import Headers, RequestHeaders, encode_name, encode_value

TCHAR = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NAMES = st.sampled_from(["Accept", "accept", "X-One", "x-oNE", "Vary"]) | st.text(TCHAR, min_size=1, max_size=3)
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=8).map(
    lambda value: value.strip(" ")
)
CONTROLS = [chr(code) for code in (*range(0x20), 0x7F) if code != 0x09]


# What may go on the wire --------------------------------------------------------------------------


def test_a_name_is_encoded_in_lower_case():
    assert encode_name("Content-Type") == b"content-type"
    assert encode_name(TCHAR) == TCHAR.lower().encode()


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", ":status", "a\r\nb", "a\n", "é", "a\0", "(a)", "☃"])
def test_a_name_that_is_no_token_is_refused(name):
    with pytest.raises(ValueError, match="a header name is a token"):
        encode_name(name)


@pytest.mark.parametrize("name", [b"accept", None, 5])
def test_a_name_of_another_type_is_refused(name):
    with pytest.raises(TypeError, match="a header name is a str, not"):
        encode_name(name)


@given(st.text(max_size=4))
def test_a_name_is_accepted_exactly_if_it_consists_of_token_characters(name):
    is_token = name != "" and set(name) <= set(TCHAR)

    try:
        encoded = encode_name(name)
    except ValueError:
        assert not is_token
    else:
        assert is_token
        assert encoded == name.lower().encode()


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("place", ["{}", "{}a", "a{}", "a{}b", "a\t{}b", "é{}"])
def test_no_control_character_gets_into_a_header(control, place):
    value = place.format(control)

    with pytest.raises(ValueError, match="the value of header 'X-One' contains a control character"):
        encode_value(value, "X-One")


@pytest.mark.parametrize(
    "change",
    [
        lambda headers, value: headers.__setitem__("x-one", value),
        lambda headers, value: headers.add("x-one", value),
        lambda headers, value: headers.extend([("x-two", "fine"), ("x-one", value)]),
        lambda headers, value: headers.extend({"x-one": value}),
        lambda headers, value: headers.update({"x-one": value}),
        lambda headers, value: headers.setdefault("x-one", value),
        lambda headers, value: headers.vary("Accept", value),
        lambda headers, value: headers.add(value, "x"),
        lambda headers, value: headers.__setitem__(value, "x"),
        lambda headers, value: Headers({"x-one": value}),
        lambda headers, value: Headers([("x-one", value)]),
        lambda headers, value: Headers({value: "x"}),
    ],
)
def test_every_way_in_refuses_a_line_break_and_changes_nothing(change):
    headers = Headers({"a": "b"})

    with pytest.raises(ValueError):
        change(headers, "x\r\nset-cookie: stolen=1")

    assert headers.raw == [(b"a", b"b")]


def test_a_tab_and_obsolete_text_are_allowed_inside_a_value():
    assert encode_value("a\tb") == b"a\tb"
    assert encode_value("grün\x85") == b"gr\xfcn\x85"


def test_space_around_a_value_is_no_part_of_it():
    assert encode_value("  a b \t") == b"a b"
    assert encode_value("\té ") == b"\xe9"
    assert encode_value(" ") == encode_value("") == b""

    headers = Headers()
    headers["a"] = "  a b "
    assert headers["a"] == "a b"


def test_a_value_beyond_latin_1_is_refused_by_the_name_of_its_header():
    with pytest.raises(ValueError, match="'x-city' must be Latin-1"):
        Headers({"x-city": "Łódź"})


def test_numbers_are_written_in_decimal():
    headers = Headers()

    headers["content-length"] = 12
    headers.add("x-time", 0.25)

    assert headers.raw == [(b"content-length", b"12"), (b"x-time", b"0.25")]


@pytest.mark.parametrize("value", [None, b"bytes", True, ["a"]])
def test_a_value_of_another_type_is_refused_by_the_name_of_its_header(value):
    with pytest.raises(TypeError, match="'X-One' is a str or a number"):
        Headers()["X-One"] = value


# A response's headers -----------------------------------------------------------------------------


def test_names_are_found_in_any_case():
    headers = Headers({"Content-Type": "text/plain"})

    assert headers["content-TYPE"] == headers.get("CONTENT-type") == "text/plain"
    assert "Content-Type" in headers
    assert "content-length" not in headers
    assert headers.raw == [(b"content-type", b"text/plain")]


def test_a_name_that_no_line_can_have_is_not_found():
    headers = Headers.from_raw([(b"?", b"1"), (b"\xe9", b"2")])

    assert headers.get("☃") is None
    assert headers.get("é") == "2"
    assert 5 not in headers


def test_a_missing_name_is_a_key_error():
    headers = Headers()

    with pytest.raises(KeyError, match="x-one"):
        headers["x-one"]
    with pytest.raises(KeyError, match="x-one"):
        del headers["x-one"]
    with pytest.raises(KeyError, match="x-one"):
        headers.pop("x-one")
    headers.remove("x-one")


def test_from_raw_adopts_the_list():
    raw = [(b"a", b"1")]

    headers = Headers.from_raw(raw)
    headers.add("b", "2")

    assert headers.raw is raw
    assert raw == [(b"a", b"1"), (b"b", b"2")]


def test_headers_from_headers_have_a_list_of_their_own():
    first = Headers([("a", "1"), ("a", "2")])

    for second in (Headers(first), first.copy(), copy.copy(first), pickle.loads(pickle.dumps(first))):
        second.add("b", "3")

    assert first.raw == [(b"a", b"1"), (b"a", b"2")]


def test_headers_from_a_requests_headers_keep_every_line():
    request_headers = RequestHeaders([(b"A", b"1"), (b"a", b"2")])

    assert Headers(request_headers).raw == [(b"a", b"1"), (b"a", b"2")]


def test_repeats_are_kept_and_the_first_is_shown():
    headers = Headers([("set-cookie", "a=1"), ("x", "y"), ("Set-Cookie", "b=2")])

    assert headers["set-cookie"] == headers.get("set-cookie") == "a=1"
    assert headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert list(headers.items()) == [("set-cookie", "a=1"), ("x", "y"), ("set-cookie", "b=2")]
    assert list(headers) == list(headers.keys()) == ["set-cookie", "x", "set-cookie"]
    assert list(headers.values()) == ["a=1", "y", "b=2"]
    assert len(headers) == len(headers.items()) == 3
    assert ("set-cookie", "b=2") in headers.items()
    assert "b=2" in headers.values()
    assert "c" not in headers.values()


def test_get_and_getlist_convert_and_fall_back():
    headers = Headers([("n", "1"), ("n", "x"), ("n", "3"), ("m", "y")])

    assert headers.get("n", type=int) == 1
    assert headers.get("m", 7, type=int) == 7
    assert headers.get("o", 7, type=int) == 7
    assert headers.get("n", 7, type=lambda value: value + 1) == 7
    assert headers.getlist("n", type=int) == [1, 3]
    assert headers.getlist("n", type=lambda value: value + 1) == []


def test_setting_replaces_every_line_at_the_place_of_the_first():
    headers = Headers([("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5")])

    headers["A"] = "6"
    headers["d"] = "7"

    assert list(headers.items()) == [("a", "6"), ("b", "2"), ("c", "4"), ("d", "7")]


def test_update_replaces_all_lines_of_the_names_it_brings():
    headers = Headers([("a", "1"), ("b", "2"), ("a", "3")])

    headers.update([("A", "4"), ("a", "5"), ("c", "6")])

    assert list(headers.items()) == [("b", "2"), ("a", "4"), ("a", "5"), ("c", "6")]


def test_setdefault_sets_only_what_is_missing():
    headers = Headers({"a": "1"})

    assert headers.setdefault("A", "2") == "1"
    assert headers.setdefault("b", 3) == "3"
    assert list(headers.items()) == [("a", "1"), ("b", "3")]


def test_removing_takes_every_line_of_the_name():
    headers = Headers([("a", "1"), ("b", "2"), ("A", "3"), ("c", "4")])
    raw = headers.raw

    assert headers.pop("a") == "1"
    assert headers.pop("a", None) is None
    del headers["b"]

    assert headers.raw is raw
    assert raw == [(b"c", b"4")]


def test_clear_empties_the_same_list():
    headers = Headers({"a": "1"})
    raw = headers.raw

    headers.clear()

    assert headers.raw is raw
    assert raw == []


def test_headers_are_equal_when_each_name_has_the_same_lines():
    headers = Headers([("a", "1"), ("b", "2"), ("a", "3")])

    assert headers == Headers([("b", "2"), ("A", "1"), ("A", "3")])
    assert headers != Headers([("b", "2"), ("a", "3"), ("a", "1")])
    assert Headers({"A": "1"}) == {"a": "1"} == Headers({"A": "1"})
    assert Headers({"a": "1"}) == {"A": "1"}
    assert Headers() != []


def test_its_repr_shows_the_lines():
    assert repr(Headers([("A", "1"), ("a", "2")])) == "Headers([('a', '1'), ('a', '2')])"


def test_vary_adds_names_without_duplicates_into_one_line():
    headers = Headers([("Vary", "Origin, accept"), ("x", "y"), ("vary", ",accept-encoding,")])

    headers.vary("Accept", "Cookie", "cookie")

    assert list(headers.items()) == [("vary", "Origin, accept, accept-encoding, Cookie"), ("x", "y")]


def test_vary_on_everything_absorbs_the_rest():
    headers = Headers({"vary": "Origin"})

    headers.vary("*")
    headers.vary("Cookie")

    assert headers.getlist("vary") == ["*"]


def test_vary_without_names_changes_nothing():
    headers = Headers()

    headers.vary()

    assert headers.raw == []


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "set", "setdefault", "remove", "pop"]), NAMES, VALUES), max_size=12
)


@given(OPERATIONS)
def test_changes_leave_the_same_lines_as_werkzeugs(operations):
    ours, theirs = Headers(), werkzeug.datastructures.Headers()

    for operation, name, value in operations:
        match operation:
            case "set":
                ours[name] = theirs[name] = value
            case "pop":
                assert ours.pop(name, None) == theirs.pop(name, None)
            case "remove":
                assert getattr(ours, operation)(name) == theirs.remove(name)
            case _:
                assert getattr(ours, operation)(name, value) == getattr(theirs, operation)(name, value)
        assert ours.getlist(name) == theirs.getlist(name)
        assert ours.get(name, type=int) == theirs.get(name, type=int)

    assert list(ours.items()) == [(name.lower(), value) for name, value in theirs.items()]


# A request's headers ------------------------------------------------------------------------------


def test_a_requests_headers_are_found_in_any_case():
    headers = RequestHeaders([(b"host", b"example.org"), (b"X-Odd", b"\xff\x00")])

    assert headers["HOST"] == headers.get("Host") == "example.org"
    assert headers["x-odd"] == "\xff\x00"
    assert "host" in headers
    assert "accept" not in headers
    assert list(headers) == ["host", "x-odd"]
    assert list(headers.items()) == [("host", "example.org"), ("x-odd", "\xff\x00")]


def test_a_missing_request_header_is_a_400_that_names_it():
    headers = RequestHeaders([])

    with pytest.raises(BadRequestKeyError, match="The header 'X-Token' is missing"):
        headers["X-Token"]
    assert headers.get("X-Token") is None


def test_lines_of_a_repeated_request_header_are_joined():
    headers = RequestHeaders(((b"accept", b"text/html"), (b"host", b"a"), (b"Accept", b"*/*")))

    assert headers["accept"] == headers.get("accept") == "text/html, */*"
    assert headers.getlist("accept") == ["text/html", "*/*"]
    assert len(headers) == 3


def test_crumbs_of_a_cookie_are_joined_with_semicolons():
    headers = RequestHeaders([(b"cookie", b"a=1"), (b"cookie", b"b=2")])

    assert headers["cookie"] == "a=1; b=2"


def test_a_length_given_twice_is_no_number():
    headers = RequestHeaders([(b"content-length", b"5"), (b"content-length", b"6")])

    assert headers.get("content-length", type=int) is None


def test_a_requests_headers_cannot_be_changed():
    headers = RequestHeaders([])

    with pytest.raises(TypeError):
        headers["a"] = "b"


@pytest.mark.parametrize(
    "raw",
    [
        [(b"x-long", b"v" * 95)],
        [(b"x-long", b"v" * 50), (b"X-LONG", b"v" * 95)],
        [(b"n" * 101, b"")],
    ],
)
def test_a_line_over_the_limit_is_a_431(raw):
    headers = RequestHeaders(raw, max_line=100, max_total=1000)

    for look in (list, len, headers.get, headers.getlist, headers.__contains__, lambda _: headers.items()):
        with pytest.raises(RequestHeaderFieldsTooLarge, match=r"101 bytes long; 100 are accepted \(MAX_HEADER_SIZE\)"):
            list(look(headers if look in (list, len) else "host"))


def test_a_431_repeats_no_endless_name():
    with pytest.raises(RequestHeaderFieldsTooLarge) as caught:
        RequestHeaders([(b"n" * 9000, b"")]).get("host")

    assert len(caught.value.description) < 120


def test_lines_together_over_the_limit_are_a_431():
    headers = RequestHeaders([(b"x-%d" % number, b"v" * 97) for number in range(10)], max_total=999)

    with pytest.raises(RequestHeaderFieldsTooLarge, match="1000 bytes long together"):
        headers.get("host")


def test_lines_of_exactly_the_limits_are_accepted():
    raw = [(b"x-%d" % number, b"v" * 97) for number in range(10)]

    assert RequestHeaders(raw, max_line=100, max_total=1000).get("x-9") == "v" * 97


RAW = st.lists(st.tuples(NAMES.map(str.encode), st.binary(max_size=6)), max_size=8)


@given(RAW)
def test_any_request_headers_read_as_a_plain_search_does(raw):
    headers = RequestHeaders(raw)

    for name in [*(name.decode() for name, _ in raw), "missing"]:
        lines = [value.decode("latin-1") for key, value in raw if key.lower() == name.lower().encode()]
        assert headers.getlist(name) == lines
        assert headers.get(name) == (", ".join(lines) if lines else None)
        assert (name in headers) is bool(lines)
    assert list(headers.values()) == [value.decode("latin-1") for _, value in raw]


@pytest.mark.parametrize("name", [b"x", b"X", b"cookie"])
def test_fifty_thousand_repeats_of_one_header_are_read_in_linear_time(growth, name):
    def look(count):
        headers = RequestHeaders([(name, b"v")] * count, max_total=10**7)
        assert len(headers["x" if name != b"cookie" else "cookie"]) == 3 * count - 2
        assert len(headers.getlist(name.decode())) == count

    assert growth(look, 25_000, 50_000) < 2.6


def test_checking_a_value_takes_linear_time(growth):
    def check(value):
        assert len(encode_value(value)) == len(value) - 1

    assert growth(check, "\té" * 300_000, "\té" * 600_000) < 2.6
