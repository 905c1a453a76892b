import pytest
import werkzeug.datastructures
import werkzeug.http
from hypothesis import given
from hypothesis import strategies as st

from microweb.accept import Accept, AcceptEncoding, AcceptLanguage, AcceptPlain


def test_the_example_of_the_rfc_holds():
    accept = Accept(
        "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, text/plain;format=fixed;q=0.4, */*;q=0.5"
    )

    qualities = {
        "text/plain;format=flowed": 1,
        "text/plain": 0.7,
        "text/html": 0.3,
        "image/jpeg": 0.5,
        "text/plain;format=fixed": 0.4,
        "text/html;level=3": 0.3,
    }
    assert {candidate: accept.quality(candidate) for candidate in qualities} == qualities


@pytest.mark.parametrize("header", [None, "", " ", ",", ";;", "text/html;q=2"])
@pytest.mark.parametrize("kind", [Accept, AcceptLanguage, AcceptPlain])
def test_a_header_that_says_nothing_accepts_everything(kind, header):
    accept = kind(header)

    assert accept.best(["text/html", "application/json"]) == "text/html"
    assert accept.quality("text/html") == 1
    assert "image/png" in accept
    assert accept.best([], "none") == "none"


def test_a_word_is_no_media_range():
    assert Accept("html").best(["image/png"]) == "image/png"
    assert "image/png" not in Accept("html, text/html")


def test_a_browser_gets_html():
    accept = Accept("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8")

    assert accept.best(["application/json", "text/html"]) == "text/html"
    assert accept.best(["application/json", "application/xml"]) == "application/xml"
    assert accept.best(["application/json"]) == "application/json"


def test_of_equally_wanted_candidates_the_named_one_wins_then_the_first():
    accept = Accept("*/*, text/*, text/html")

    assert accept.best(["image/png", "text/plain", "text/html"]) == "text/html"
    assert accept.best(["image/png", "text/plain"]) == "text/plain"
    assert accept.best(["image/png", "image/gif"]) == "image/png"


def test_what_is_excluded_is_not_acceptable():
    accept = Accept("text/html;q=0, text/*;q=0.0, */*")

    assert "text/html" not in accept
    assert accept.quality("text/plain") == 0
    assert accept.best(["text/html", "text/plain"]) is None
    assert accept.best(["text/html", "text/plain"], "default") == "default"
    assert accept.best(["text/html", "image/png"]) == "image/png"


def test_case_does_not_matter():
    assert Accept('TEXT/html;A="B"').quality("text/HTML; a=b") == 1


def test_a_range_with_parameters_holds_only_candidates_that_have_them():
    accept = Accept("text/html;level=1, text/html;level=2;q=0.4")

    assert "text/html" not in accept
    assert accept.quality("text/html;level=1;x=y") == 1
    assert accept.best(["text/html;level=2", "text/html;level=1"]) == "text/html;level=1"


def test_a_charset_is_not_asked_for_where_the_candidate_names_none():
    accept = Accept("application/json; charset=utf-8")

    assert "application/json" in accept
    assert "application/json; charset=utf-8" in accept
    assert "application/json; charset=latin-1" not in accept


def test_the_header_of_javas_client_accepts_anything():
    accept = Accept("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2")

    assert accept.quality("application/json") == 0.2


def test_commas_and_semicolons_in_quotes_separate_nothing():
    accept = Accept('text/html;a=", text/plain; q=0", image/png;q=0.5')

    assert accept.values() == ["text/html", "image/png"]
    assert accept.quality('text/html;a=", text/plain; q=0"') == 1


def test_an_open_quote_takes_the_rest():
    assert Accept('image/png, text/html;a="b, text/plain').values() == ["image/png", "text/html"]


@pytest.mark.parametrize("weight", ["-1", "1.1", "2", "x", "0.5x", '""', "1e0", "nan", "0,5"])
def test_an_item_with_an_invalid_weight_does_not_count(weight):
    assert "text/html" not in Accept(f"text/html;q={weight}, image/png")


@pytest.mark.parametrize(
    ("weight", "quality"),
    [("0", 0), ("1", 1), ("1.000", 1), ("0.", 0), (".5", 0.5), ("0.1234567890", 0.123456)],
)
def test_weights_are_read_as_decimals(weight, quality):
    assert Accept(f"text/html;q={weight}").quality("text/html") == quality


def test_values_are_in_the_order_of_the_clients_wishes():
    accept = Accept("a/a;q=0.5, B/b;x=y, c/c;q=0, d/*, e/e;q=0.5")

    assert accept.values() == ["b/b", "d/*", "a/a", "e/e"]
    assert Accept(None).values() == ["*/*"]


def test_its_repr_shows_the_header():
    assert repr(Accept("text/html")) == "Accept('text/html')"


def weighted(values):
    weights = st.sampled_from(["", ";q=0", ";q=0.5", "; q=0.50", ";q=0.8", ";q=1.0", ";q=3"])
    items = st.builds("{}{}".format, st.sampled_from(values), weights)
    return st.lists(items, min_size=1, max_size=6).map(", ".join)


def compare(ours, theirs, candidates, values, *default):
    """Ours chooses as werkzeug's does; one without an entry is of no use there."""
    if theirs:
        assert ours.best(candidates, *default) == theirs.best_match(candidates, *default)
        assert [ours.quality(value) for value in values] == [theirs.quality(value) for value in values]


TYPES = ["text/html", "text/plain", "image/png", "text/x"]


@given(weighted([*TYPES, "Text/HTML", "text/*", "image/*", "*/*"]), st.lists(st.sampled_from(TYPES)))
def test_media_types_are_chosen_as_in_werkzeug(header, candidates):
    theirs = werkzeug.http.parse_accept_header(header, werkzeug.datastructures.MIMEAccept)

    compare(Accept(header), theirs, candidates, TYPES)


LANGUAGES = ["de", "de-AT", "de_CH", "en", "en-us", "fil", "fi-FI"]


@given(weighted([*LANGUAGES, "EN", "*"]), st.lists(st.sampled_from(LANGUAGES), unique=True))
def test_languages_are_chosen_as_in_werkzeug(header, candidates):
    theirs = werkzeug.http.parse_accept_header(header, werkzeug.datastructures.LanguageAccept)

    compare(AcceptLanguage(header), theirs, candidates, LANGUAGES, "none")


CHARSETS = ["utf-8", "latin-9", "x"]


@given(weighted([*CHARSETS, "UTF-8", "*"]), st.lists(st.sampled_from(CHARSETS)))
def test_plain_names_are_chosen_as_in_werkzeug(header, candidates):
    theirs = werkzeug.http.parse_accept_header(header, werkzeug.datastructures.Accept)

    compare(AcceptPlain(header), theirs, candidates, CHARSETS)


def test_a_primary_tag_is_compared_whole():
    assert AcceptLanguage("fi").best(["fil", "fi-FI"]) == "fi-FI"
    assert AcceptLanguage("fi").best(["fil"], "none") == "none"


@given(st.text('",;=q01.*/ a\\-', max_size=30))
def test_no_accept_header_raises(header):
    for kind in (Accept, AcceptEncoding, AcceptLanguage, AcceptPlain):
        accept = kind(header)
        accept.best(["text/html", "a", "a-a"])
        accept.values()


@pytest.mark.parametrize("header", [None, "", ","])
def test_without_accept_encoding_nothing_is_encoded(header):
    accept = AcceptEncoding(header)

    assert accept.best(["gzip", "identity"]) == "identity"
    assert "gzip" not in accept
    assert accept.values() == []


@pytest.mark.parametrize(
    ("header", "best"),
    [
        ("gzip, br", "br"),
        ("gzip;q=0.1", "gzip"),
        ("X-GZIP", "gzip"),
        ("deflate", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("*", "br"),
        ("*, identity;q=0", "br"),
        ("gzip;q=0, br;q=0", "identity"),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("*;q=0, gzip", "gzip"),
        ("*;q=0, identity", "identity"),
    ],
)
def test_codings_are_chosen_with_identity_as_the_last_resort(header, best):
    assert AcceptEncoding(header).best(["br", "gzip", "identity"]) == best


@pytest.mark.parametrize("kind", [Accept, AcceptEncoding, AcceptLanguage, AcceptPlain])
@pytest.mark.parametrize("repeated", [",", '"', '\\"', '"a",', "a/a,", "a/a;q=0.5,", 'a/a;b="c",', "0", "a-", ";q=0"])
def test_choosing_takes_linear_time(growth, kind, repeated):
    def choose(header):
        kind(header).best(["a/b", "a-b"])

    count = 10_000 // len(repeated)

    assert growth(choose, "a/a;q=0." + repeated * count, "a/a;q=0." + repeated * 2 * count) < 2.6


def test_old_names_of_codings_are_two_and_no_others():
    accept = AcceptEncoding("x-gzip, x-compress, x-mine")

    assert [coding in accept for coding in ("gzip", "compress", "mine", "x-mine")] == [True, True, False, True]
    assert "IDENTITY" in accept


@pytest.mark.parametrize(
    ("header", "offered", "best"),
    [
        ("en_US", ["fr", "en-US"], "en-US"),
        ("en-US", ["fr", "en_US"], "en_US"),
        ("de_AT", ["fr", "de"], "de"),
        ("de-AT", ["fr", "de"], "de"),
        ("de", ["fr-CH", "de_AT", "de-DE"], "de_AT"),
        ("de-AT", ["fr", "de-DE"], "none"),
        ("de-AT, fr;q=0.5", ["fr", "de"], "fr"),
    ],
)
def test_languages_are_chosen_by_the_whole_tag_and_then_by_the_primary_one(header, offered, best):
    assert AcceptLanguage(header).best(offered, "none") == best


def test_a_lone_asterisk_stands_for_every_media_type():
    accept = Accept("text/html, *;q=0.2")

    assert (accept.quality("text/html"), accept.quality("image/png")) == (1.0, 0.2)
