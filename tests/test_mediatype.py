import pytest
import werkzeug.datastructures
import werkzeug.http
from hypothesis import example, given
from hypothesis import strategies as st

from microweb.headers import encode_value
from microweb.mediatype import dump_options, parse_media_type, with_charset


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ("", {})),
        ("application/json", ("application/json", {})),
        (" Text/HTML ;Charset=UTF-8", ("text/html", {"charset": "UTF-8"})),
        (
            'form-data; name="a; b"; filename="c\\"d.txt"',
            ("form-data", {"name": "a; b", "filename": 'c"d.txt'}),
        ),
        ('form-data; name="a%22b"', ("form-data", {"name": 'a"b'})),
        ("a; b=1; b=2", ("a", {"b": "2"})),
        ("a; b; =c; d e=f; g=1", ("a", {"g": "1"})),
        ("a; b= ; c=1", ("a", {"c": "1"})),
        ('a; b=1; c="open; d=2', ("a", {"b": "1"})),
        ('a; b="x" junk; c=1', ("a", {"b": "x", "c": "1"})),
        ("; a=1", ("", {})),
    ],
)
def test_a_value_is_split_into_itself_and_its_parameters(value, expected):
    assert parse_media_type(value) == expected


def test_an_extended_parameter_is_decoded_by_its_charset():
    _, parameters = parse_media_type("attachment; filename*=UTF-8''na%C3%AFve%20a.txt; b*=iso-8859-1'de'%FC")

    assert parameters == {"filename": "naïve a.txt", "b": "ü"}


def test_an_extended_parameter_of_another_charset_stays_as_it_is():
    _, parameters = parse_media_type("attachment; a*=utf-7''%2B; b*=%41; c*=\"%41\"")

    assert parameters == {"a": "%2B", "b": "%41", "c": '"%41"'}


def test_pieces_of_a_parameter_are_put_together():
    _, parameters = parse_media_type("a; b*0*=utf-8''%C3%BC; b*1*=%C3%BC; b*2=\"; x\"; c*0=1; c=2; d=1; d*0=2")

    assert parameters == {"b": "üü; x", "c": "2", "d": "2"}


PIECES = st.sampled_from(
    [
        "; ",
        ";",
        "a",
        "b",
        "*",
        "0",
        "1",
        "=",
        '"',
        "\\",
        " ",
        "\t",
        "utf-8''",
        "iso-8859-1'x'",
        "%22",
        "%C3%BC",
        "é",
    ]
)


@given(st.lists(PIECES, max_size=20).map("".join))
@example('a*="x"')
@example("a*0*='';a*1*=%41")
def test_any_parameters_read_as_in_werkzeug(rest):
    value, parameters = werkzeug.http.parse_options_header("Text/Html;" + rest)

    assert parse_media_type("Text/Html;" + rest) == (value.lower(), parameters)


@given(st.text())
def test_no_value_raises(value):
    parse_media_type(value)
    parse_media_type("a;b=" + value)


@pytest.mark.parametrize(
    "repeated",
    ['"', "\\", '\\"', ";", "; ", " ", "a", "a=", ';a="', "a*0=1;", "*1", "1", ';a="\\', "'", "%22"],
)
@pytest.mark.parametrize("prefix", ["a;", 'a;a="', "a;a*=", "a;a*"])
def test_parsing_takes_linear_time(growth, prefix, repeated):
    count = 30_000 // len(repeated)

    assert growth(parse_media_type, prefix + repeated * count, prefix + repeated * 2 * count) < 2.6


# Writing parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "attachment"),
        ({"filename": "a.txt"}, "attachment; filename=a.txt"),
        ({"filename": 'a "b" \\.txt'}, 'attachment; filename="a \\"b\\" \\\\.txt"'),
        ({"filename": ""}, 'attachment; filename=""'),
        ({"filename": None, "size": 5}, "attachment; size=5"),
        ({"filename": "naïve.txt"}, "attachment; filename=naive.txt; filename*=UTF-8''na%C3%AFve.txt"),
        ({"filename": "文"}, "attachment; filename*=UTF-8''%E6%96%87"),
        ({"filename": "5%.txt"}, "attachment; filename=5%.txt; filename*=UTF-8''5%25.txt"),
        ({"filename": "\ud800a"}, "attachment; filename=a; filename*=UTF-8''%3Fa"),
        ({"title": "naïve"}, "attachment; title*=UTF-8''na%C3%AFve"),
    ],
)
def test_parameters_are_written_so_that_any_text_arrives(parameters, expected):
    assert dump_options("attachment", parameters) == expected


TEXTS = st.text(max_size=20).filter(lambda text: "%22" not in text)


@given(st.dictionaries(st.sampled_from(["filename", "name", "x"]), TEXTS))
def test_nothing_given_to_a_parameter_can_end_it(parameters):
    header = dump_options("attachment", parameters)

    encode_value(header)
    assert werkzeug.http.parse_options_header(header) == ("attachment", parameters)


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: b=1", "a\0", 'a"; filename=b', "\x7f", "a\nb"])
def test_a_hostile_file_name_stays_inside_its_quotes(text):
    header = dump_options("attachment", {"filename": text})

    encode_value(header)
    assert parse_media_type(header) == ("attachment", {"filename": text})


@pytest.mark.parametrize("value", ["", "a b", "a;b", "a/b/c", "/a", "a/", "é", "a\r\n"])
def test_a_value_that_is_neither_token_nor_type_is_refused(value):
    with pytest.raises(ValueError, match="expected a token or a media type"):
        dump_options(value, {})


@pytest.mark.parametrize("name", ["", "a b", "a=", "filename*", "é", "a\n", 'a"'])
def test_a_parameter_whose_name_is_no_token_is_refused(name):
    with pytest.raises(ValueError, match="a parameter's name is a token"):
        dump_options("text/plain", {name: "x"})


def test_a_parameter_whose_name_is_a_number_is_no_piece_of_another():
    assert parse_media_type("text/plain; 0=a; b=c") == ("text/plain", {"0": "a", "b": "c"})
    assert parse_media_type("text/plain; a*b=c") == ("text/plain", {"a*b": "c"})


@pytest.mark.parametrize("text", ["a; n=1; n*0=2; n*1=3", "a; n*0=2; n=1; n*0=2; n*1=3"])
def test_pieces_replace_a_whole_that_came_before(text):
    assert parse_media_type(text) == ("a", {"n": "23"})


def test_bytes_of_an_extended_parameter_that_are_no_text_become_signs_of_that():
    assert parse_media_type("a; n*=UTF-8''x%FF") == ("a", {"n": "x\N{REPLACEMENT CHARACTER}"})


def test_a_percent_sign_is_written_twice_in_file_names_alone():
    assert dump_options("form-data", {"name": "a%b"}) == "form-data; name=a%b"
    assert dump_options("form-data", {"filename": "a%b"}) == "form-data; filename=a%b; filename*=UTF-8''a%25b"


def test_text_gets_a_charset_unless_it_says_one_itself():
    kinds = ["text/plain", "text/plain; charset=latin-1", "text/xml", "image/png"]

    assert [with_charset(kind) for kind in kinds] == ["text/plain; charset=utf-8", *kinds[1:]]
