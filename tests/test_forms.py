"""Urlencoded fields, boundaries, and the headers of a part."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microweb.errors import BadRequest, RequestEntityTooLarge
from microweb.forms import Part, find_boundary, parse_urlencoded

ODD_BYTES = st.lists(
    st.sampled_from([b"a", b"=", b"&", b"+", b"%", b"%41", b"%C3", b"%c3%a9", b"\xc3\xa9", b"\xff", b";", b"\0", b"%2"])
).map(b"".join)


def part(disposition, *others):
    return Part([("Content-Disposition", disposition), *others])


# Urlencoded ---------------------------------------------------------------------------------------


@given(ODD_BYTES | st.binary())
@example(b"a=1&a=2&&b")
def test_an_urlencoded_form_is_what_parse_qsl_gives(body):
    expected = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")

    fields = parse_urlencoded(body)

    wanted = {}
    for name, value in expected:
        wanted.setdefault(name, []).append(value)
    assert fields.to_dict(flat=False) == wanted


@given(st.lists(st.tuples(st.text(), st.text())))
def test_what_urlencode_writes_is_read_back(pairs):
    from urllib.parse import urlencode

    written = urlencode([(name.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for name, value in pairs])

    assert len(list(parse_urlencoded(written.encode(), max_parts=None).items(multi=True))) == len(pairs)


def test_an_empty_body_is_an_empty_form():
    assert len(parse_urlencoded(b"")) == 0


def test_a_field_too_many_is_refused_by_the_name_of_its_key():
    with pytest.raises(RequestEntityTooLarge, match="more than 2 parts .MAX_FORM_PARTS"):
        parse_urlencoded(b"a=1&b=2&c=3", max_parts=2)
    assert len(parse_urlencoded(b"a=1&b=2", max_parts=2)) == 2


def test_a_field_that_is_too_long_is_refused_by_the_name_of_its_key():
    with pytest.raises(RequestEntityTooLarge, match="larger than 5 bytes .MAX_FORM_MEMORY_SIZE"):
        parse_urlencoded(b"a=1&b=2345", max_field=5)
    assert len(parse_urlencoded(b"a=1&b=234&c=567", max_field=5)) == 3


def test_without_limits_everything_is_read():
    body = b"&".join([b"a=1"] * 3000)

    assert len(parse_urlencoded(body, max_parts=None, max_field=None).getlist("a")) == 3000


@pytest.mark.parametrize("unit", [b"a=1&", b"%41", b"+", b"%", b"=", b"&", b"a"])
def test_reading_takes_linear_time(growth, unit):
    def read(body):
        parse_urlencoded(body, max_parts=None, max_field=None)

    assert growth(read, unit * 50_000, unit * 100_000) < 2.6


# Boundaries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; boundary="a b:c"', b"a b:c"),
        ("multipart/form-data; charset=utf-8; BOUNDARY=----WebKitFormBoundary", b"----WebKitFormBoundary"),
    ],
)
def test_the_boundary_is_found(content_type, boundary):
    assert find_boundary(content_type) == boundary


@pytest.mark.parametrize("boundary", ["", '""', '"a "', '"a\rb"', '"a\nb"', '"a\0"', '"é"', '"a\tb"'])
def test_a_boundary_that_could_not_stand_on_a_line_is_a_400(boundary):
    with pytest.raises(BadRequest, match="needs a boundary"):
        find_boundary(f"multipart/form-data; boundary={boundary}")


def test_a_boundary_that_is_too_long_is_a_400_that_names_its_key():
    assert find_boundary(f"multipart/form-data; boundary={'a' * 70}") == b"a" * 70
    with pytest.raises(BadRequest, match="MAX_BOUNDARY_SIZE"):
        find_boundary(f"multipart/form-data; boundary={'a' * 71}")


# Parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ('form-data; name="a"', "a", None),
        ('form-data; name="a"; filename="b.txt"', "a", "b.txt"),
        ('form-data; name="a"; filename=""', "a", ""),
        ('form-data; filename="b.txt"; name="a"', "a", "b.txt"),
        ("form-data; name=a; filename=b.txt", "a", "b.txt"),
        ('Form-Data; Name="a"', "a", None),
        ('form-data; name="%22quoted%22%0D%0A"; filename="100%25.txt"', '"quoted"\r\n', "100%25.txt"),
        ('form-data; name="a"; filename="C:\\photos\\me.jpg"', "a", "C:\\photos\\me.jpg"),
        ('form-data; name="a"; filename="say \\"hi\\".txt"', "a", 'say "hi".txt'),
        ("form-data; name=\"a\"; filename*=UTF-8''na%C3%AFve.txt", "a", "naïve.txt"),
        ('form-data; name="a"; filename="€.txt"', "a", "€.txt"),
    ],
)
def test_name_and_filename_are_read_as_browsers_and_older_clients_write_them(disposition, name, filename):
    found = part(disposition)

    assert (found.name, found.filename) == (name, filename)


@pytest.mark.parametrize("disposition", ["attachment; name=a", "", "form-data2; name=a", 'x; name="a"'])
def test_a_part_that_is_no_form_data_is_a_400(disposition):
    with pytest.raises(BadRequest, match="no Content-Disposition: form-data"):
        part(disposition)


@pytest.mark.parametrize(
    "disposition",
    ["form-data", 'form-data; filename="a.txt"', 'form-data; name="a"; filename="b.txt'],
)
def test_a_part_whose_disposition_is_malformed_is_refused(disposition):
    with pytest.raises(BadRequest, match="no name, or a quote"):
        part(disposition)


def test_a_name_that_ends_with_a_backslash_is_taken():
    assert part('form-data; name="a\\"').name == "a\\"


@pytest.mark.parametrize("first", ['form-data; name="b"', "attachment", ""])
def test_a_part_with_two_dispositions_is_a_400(first):
    with pytest.raises(BadRequest, match="two Content-Disposition"):
        part(first, ("Content-Disposition", 'form-data; name="a"'))


@pytest.mark.parametrize(
    ("content_type", "value", "text"),
    [
        (None, "é".encode(), "é"),
        ("text/plain; charset=ISO-8859-1", b"\xe9", "é"),
        ("text/plain; charset=utf-8", b"\xe9", "\ufffd"),
        ("text/plain; charset=utf-7", b"+AOk-", "+AOk-"),
        ("text/plain; charset=rot13", b"abc", "abc"),
    ],
)
def test_a_field_is_decoded_by_its_own_charset_if_that_is_a_plain_one(content_type, value, text):
    headers = [] if content_type is None else [("Content-Type", content_type)]

    assert part('form-data; name="a"', *headers).decode(value) == text


def test_the_headers_of_a_part_are_read_in_any_case():
    found = part('form-data; name="a"', ("Content-Type", "text/csv"), ("X-Long", "x" * 9000))

    assert found.headers["content-type"] == "text/csv"
    assert len(found.headers["x-long"]) == 9000
    assert found.headers is found.headers


@pytest.mark.slow
@pytest.mark.parametrize("unit", [';a="', "\\", '"', "; filename=x", "%22", ";"])
def test_reading_a_disposition_takes_linear_time(growth, unit):
    def read(value):
        part('form-data; name="a"' + value)

    assert growth(read, unit * 20_000, unit * 40_000) < 2.6
