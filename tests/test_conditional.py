"""Conditional requests: dates, entity tags, preconditions and ranges, compared with the RFC and werkzeug."""

import datetime
import hashlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import werkzeug.http
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.sansio.http import is_resource_modified

from microweb.conditional import (
    ETags,
    evaluate,
    generate_etag,
    http_date,
    if_range_holds,
    parse_date,
    parse_range,
    quote_etag,
    unquote_etag,
)
from microweb.errors import RequestedRangeNotSatisfiable

EXAMPLE = datetime.datetime(1994, 11, 6, 8, 49, 37, tzinfo=datetime.UTC)
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"

moments = st.datetimes(timezones=st.timezones() | st.just(datetime.UTC)).filter(lambda moment: 2 <= moment.year <= 9998)


# Dates


@given(moments)
def test_a_written_date_equals_werkzeug_and_is_read_back(moment: datetime.datetime) -> None:
    written = http_date(moment)

    assert written == werkzeug.http.http_date(moment)
    assert parse_date(written) == moment.astimezone(datetime.UTC).replace(microsecond=0)


@given(st.integers(-(10**10), 10**11) | st.floats(-1e9, 1e11))
def test_seconds_since_the_epoch_are_rounded_down(seconds: float) -> None:
    expected = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds // 1)

    assert http_date(seconds) == werkzeug.http.http_date(expected)


@pytest.mark.parametrize(
    "moment",
    [
        EXAMPLE,
        EXAMPLE.replace(tzinfo=None, microsecond=999_999),
        EXAMPLE.astimezone(datetime.timezone(datetime.timedelta(hours=-5))),
        EXAMPLE.timestamp(),
        int(EXAMPLE.timestamp()),
        EXAMPLE.utctimetuple(),
        time.gmtime(EXAMPLE.timestamp()),
        time.localtime(EXAMPLE.timestamp()),
        time.struct_time((1994, 11, 6, 8, 49, 37, 0, 0, 0)),
        time.strptime("1994-11-06 10:49:37 +0200", "%Y-%m-%d %H:%M:%S %z"),
    ],
)
def test_one_moment_is_written_alike_in_every_form(moment: Any) -> None:
    assert http_date(moment) == SAME


def test_a_day_is_its_midnight_and_nothing_is_now() -> None:
    assert http_date(datetime.date(1994, 11, 6)) == "Sun, 06 Nov 1994 00:00:00 GMT"
    assert http_date(datetime.datetime(1, 1, 1)) == "Mon, 01 Jan 0001 00:00:00 GMT"
    assert http_date() in (http_date(time.time()), http_date(time.time() - 1))


@pytest.mark.parametrize(
    "moment",
    [
        float("nan"),
        float("inf"),
        1e300,
        10**15,
        10**17,
        253402300800,
        -(10**12),
        datetime.datetime(9999, 12, 31, 23, tzinfo=datetime.timezone(datetime.timedelta(hours=-5))),
    ],
)
def test_a_moment_that_no_date_can_name_is_a_value_error(moment: Any) -> None:
    with pytest.raises(ValueError):
        http_date(moment)


@pytest.mark.parametrize(
    "text",
    [
        SAME,
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "  sun, 6 NOV 1994 08:49:37 gmt ",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun,06 Nov 1994 08:49:37 GMT",
        SAME.ljust(64),
    ],
)
def test_all_three_forms_of_a_date_are_read(text: str) -> None:
    assert parse_date(text) == EXAMPLE


def test_a_leap_second_is_the_second_before_it() -> None:
    assert parse_date("Sat, 31 Dec 2016 23:59:60 GMT") == datetime.datetime(
        2016, 12, 31, 23, 59, 59, tzinfo=datetime.UTC
    )


@pytest.mark.parametrize("ahead", [-49, -1, 0, 1, 49, 50])
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(ahead: int) -> None:
    year = time.gmtime().tm_year + ahead
    date = parse_date(f"Sunday, 06-Nov-{year % 100:02d} 08:49:37 GMT")

    assert date is not None
    assert date.year == year


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 PST",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nie 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08:49:37:00 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, ٦ Nov 1994 08:49:37 GMT",
        "Sun, 0² Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        SAME + "," * 50,
        SAME.ljust(65),
        "1" * 5000,
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_date(text) is None


@given(st.text() | st.text(alphabet="Sun, 06-Nov:GMT 194837", max_size=40))
def test_reading_a_date_never_raises(text: str) -> None:
    date = parse_date(text)

    assert date is None or date.tzinfo is datetime.UTC


# Entity tags


@pytest.mark.parametrize(("tag", "weak", "value"), [("a-1", False, '"a-1"'), ("é!", True, 'W/"é!"'), ("", False, '""')])
def test_a_tag_is_quoted_and_unquoted(tag: str, weak: bool, value: str) -> None:
    assert quote_etag(tag, weak) == value == werkzeug.http.quote_etag(tag, weak)
    assert unquote_etag(value) == (tag, weak)


@pytest.mark.parametrize("bad", ['"', " ", "\r", "\n", "\0", "\t", "\x7f", "ā"])
def test_a_tag_that_would_break_its_header_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        quote_etag(f"a{bad}b")


@given(st.text(alphabet='Ww/"ab', max_size=8))
def test_unquoting_any_text_gives_a_tag(value: str) -> None:
    tag, weak = unquote_etag(value)

    assert value.endswith((tag, f'{tag}"'))
    assert weak == value.lower().startswith("w/")


@pytest.mark.parametrize("value", ['"', 'a"', '"a', "a"])
def test_a_tag_that_is_not_between_quotes_is_taken_as_it_is(value: str) -> None:
    assert unquote_etag(value) == (value, False)


def test_a_generated_tag_is_of_the_bytes_alone() -> None:
    assert generate_etag(b"a") == generate_etag(b"a") == hashlib.blake2b(b"a", digest_size=16).hexdigest()
    assert generate_etag(b"a") != generate_etag(b"b")
    assert quote_etag(generate_etag(b"")).startswith('"')


def test_strong_tags_and_weak_tags_are_told_apart() -> None:
    tags = ETags('"a", W/"b" ,w/"c,d",,"e,f"')

    assert [tag for tag in ("a", "b", "c,d", "e,f") if tag in tags] == ["a", "e,f"]
    assert [tag for tag in ("a", "b", "c,d", "e,f", "x") if tags.contains_weak(tag)] == [
        "a",
        "b",
        "c,d",
        "e,f",
    ]
    assert set(tags) == {"a", "b", "c,d", "e,f"}


def test_a_star_holds_every_tag() -> None:
    tags = ETags(" * ")

    assert tags.star
    assert "x" in tags
    assert tags.contains_weak("x")
    assert not list(tags)


def test_only_an_empty_header_is_false() -> None:
    assert [bool(ETags(header)) for header in (None, "", " , ", "*", '"a"', 'W/"a"', '""')] == (
        [False, False, False, True, True, True, True]
    )


def test_tags_show_what_they_hold() -> None:
    assert repr(ETags('W/"c", "b", "a"')) == 'ETags("a", "b", W/"c")'
    assert repr(ETags("*")) == "ETags(*)"


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "W/"]), st.text(alphabet="ab,/ W*", min_size=1, max_size=4)),
        max_size=4,
    )
)
def test_reading_tags_equals_werkzeug(pairs: list[tuple[str, str]]) -> None:
    # Never an empty tag: werkzeug reads it as the word None.
    header = ", ".join(f'{mark}"{tag}"' for mark, tag in pairs)
    expected = werkzeug.http.parse_etags(header)

    tags = ETags(header)

    for _, tag in pairs:
        assert (tag in tags) == expected.contains(tag)
        assert tags.contains_weak(tag) == expected.contains_weak(tag)
    assert set(tags) == expected.as_set(include_weak=True)


@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=3), max_size=4))
def test_tags_without_their_quotes_are_forgiven(tags: list[str]) -> None:
    assert set(ETags(", ".join(tags))) == werkzeug.http.parse_etags(", ".join(tags)).as_set()


# Preconditions


@pytest.mark.parametrize(
    ("header", "etag", "verdict"),
    [
        ('"a"', '"a"', None),
        ('"b", "a"', '"a"', None),
        ('"b"', '"a"', 412),
        ('W/"a"', '"a"', 412),
        ('"a"', 'W/"a"', 412),
        ("*", '"a"', None),
        ("*", 'W/"a"', None),
        ("*", None, None),
        ('"a"', None, 412),
        ("", '"a"', 412),
    ],
)
def test_if_match_compares_strongly(header: str, etag: str | None, verdict: int | None) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert evaluate(method, etag=etag, if_match=header) == verdict


@pytest.mark.parametrize(
    ("header", "etag", "verdict"),
    [
        ('"a"', '"a"', 304),
        ('"b", W/"a"', '"a"', 304),
        ('"a"', 'W/"a"', 304),
        ('"b"', '"a"', None),
        ("*", '"a"', 304),
        ("*", None, 304),
        ('"a"', None, None),
        ("", '"a"', None),
    ],
)
def test_if_none_match_compares_weakly(header: str, etag: str | None, verdict: int | None) -> None:
    assert evaluate("GET", etag=etag, if_none_match=header) == verdict
    assert evaluate("HEAD", etag=etag, if_none_match=header) == verdict
    assert evaluate("PUT", etag=etag, if_none_match=header) == (412 if verdict else None)


def test_if_modified_since_is_for_reading_only() -> None:
    for date, verdict in ((BEFORE, None), (SAME, 304), (AFTER, 304), ("no date", None)):
        assert evaluate("GET", last_modified=EXAMPLE, if_modified_since=date) == verdict
        assert evaluate("HEAD", last_modified=EXAMPLE, if_modified_since=date) == verdict
        assert evaluate("POST", last_modified=EXAMPLE, if_modified_since=date) is None
        assert evaluate("GET", if_modified_since=date) is None


def test_if_unmodified_since_guards_every_method() -> None:
    for date, verdict in ((BEFORE, 412), (SAME, None), (AFTER, None), ("no date", None)):
        assert evaluate("GET", last_modified=EXAMPLE, if_unmodified_since=date) == verdict
        assert evaluate("PUT", last_modified=EXAMPLE, if_unmodified_since=date) == verdict
        assert evaluate("PUT", if_unmodified_since=date) is None


def test_a_modification_time_counts_in_whole_seconds_and_in_utc() -> None:
    for moment in (
        EXAMPLE.replace(microsecond=999_999),
        EXAMPLE.replace(tzinfo=None),
        EXAMPLE.astimezone(datetime.timezone(datetime.timedelta(hours=9))),
    ):
        assert evaluate("GET", last_modified=moment, if_modified_since=SAME) == 304
        assert evaluate("GET", last_modified=moment, if_modified_since=BEFORE) is None
        assert evaluate("PUT", last_modified=moment, if_unmodified_since=SAME) is None


def test_a_method_that_selects_no_content_has_no_conditions() -> None:
    for method in ("OPTIONS", "CONNECT", "TRACE"):
        assert evaluate(method, etag='"a"', if_match='"b"', if_none_match="*") is None


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_the_conditions_are_weighed_in_the_order_of_the_rfc(method: str) -> None:
    tags = (None, '"a"', '"b"')
    dates = (None, BEFORE, AFTER)

    for match, unmodified, none_match, modified in itertools.product(tags, dates, tags, dates):
        # RFC 9110 §13.2.2, its five steps word for word.
        expected = None
        if match is not None:
            expected = None if match == '"a"' else 412
        elif unmodified is not None:
            expected = None if unmodified == AFTER else 412
        if expected is None:
            if none_match is not None:
                if none_match == '"a"':
                    expected = 304 if method == "GET" else 412
            elif method == "GET" and modified == AFTER:
                expected = 304

        assert expected == evaluate(
            method,
            etag='"a"',
            last_modified=EXAMPLE,
            if_match=match,
            if_unmodified_since=unmodified,
            if_none_match=none_match,
            if_modified_since=modified,
        )


@given(
    st.sampled_from(['"a"', 'W/"a"', '"b"', None]),
    st.sampled_from([None, '"a"', 'W/"a", "b"', '"c"']),
    st.sampled_from([None, BEFORE, SAME, AFTER, "x"]),
)
def test_one_condition_alone_equals_werkzeug(etag: str | None, tags: str | None, date: str | None) -> None:
    unchanged = evaluate("GET", etag=etag, if_none_match=tags) == 304
    unmodified = evaluate("GET", last_modified=EXAMPLE, if_modified_since=date) == 304

    assert unchanged is not is_resource_modified(etag=etag, http_if_none_match=tags)
    assert unmodified is not is_resource_modified(last_modified=EXAMPLE, http_if_modified_since=date)


@pytest.mark.parametrize(
    ("header", "etag", "moment", "holds"),
    [
        (None, None, None, True),
        ('"a"', '"a"', None, True),
        (' "a" ', '"a"', None, True),
        ('"a"', '"b"', None, False),
        ('W/"a"', 'W/"a"', None, False),
        ('W/"a"', '"a"', None, False),
        ('"a"', 'W/"a"', None, False),
        ('"a"', None, EXAMPLE, False),
        (SAME, '"a"', EXAMPLE, True),
        (SAME, None, EXAMPLE.replace(microsecond=5), True),
        (BEFORE, None, EXAMPLE, False),
        (AFTER, None, EXAMPLE, False),
        (SAME, '"a"', None, False),
        ("nonsense", '"nonsense"', EXAMPLE, False),
        ("", '""', EXAMPLE, False),
    ],
)
def test_if_range_needs_exactly_the_same_content(
    header: str | None, etag: str | None, moment: datetime.datetime | None, holds: bool
) -> None:
    assert if_range_holds(header, etag, moment) is holds


# Ranges


@pytest.mark.parametrize(
    ("header", "slices"),
    [
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-", [(500, 1000)]),
        ("bytes=-100", [(900, 1000)]),
        ("bytes=-5000", [(0, 1000)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=999-5000", [(999, 1000)]),
        ("Bytes = 0-1", [(0, 2)]),
        ("bytes=0-9, 20-29\t,40-49", [(0, 10), (20, 30), (40, 50)]),
        ("bytes=20-29,0-9", [(20, 30), (0, 10)]),
        ("bytes=0-9,10-19", [(0, 10), (10, 20)]),
        ("bytes=0-9,,", [(0, 10)]),
        ("bytes=0-9,2000-", [(0, 10)]),
        ("bytes=0-9,-0", [(0, 10)]),
        ("bytes=20-29,0-9,25-40", [(0, 10), (20, 41)]),
        ("bytes=0-,0-,0-", [(0, 1000)]),
        ("bytes=-1,-2,5-5", [(5, 6), (998, 1000)]),
        ("bytes=00000000000000000000001-00000000000000000000000000002", [(1, 3)]),
        ("bytes=0-" + "9" * 5000, [(0, 1000)]),
        ("bytes=-" + "9" * 5000, [(0, 1000)]),
    ],
)
def test_ranges_become_slices(header: str, slices: list[tuple[int, int]]) -> None:
    assert parse_range(header, 1000) == slices


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5",
        "bytes=5-4",
        "bytes=0-9,5-4",
        "bytes=a-b",
        "bytes=0-9-10",
        "bytes=--5",
        "bytes=0x1-2",
        "bytes=1_0-20",
        "bytes=+1-2",
        "bytes=0 - 9",
        "bytes=\u0660-\u0669",
        "bytes=²-",
        "bytes:0-9",
        "lines=0-9",
        "bytes=bytes=0-9",
    ],
)
def test_what_is_no_range_of_bytes_is_the_whole(header: str) -> None:
    assert parse_range(header, 1000) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_range_beyond_the_end_is_a_416_that_says_the_size(header: str) -> None:
    with pytest.raises(RequestedRangeNotSatisfiable) as caught:
        parse_range(header, 1000)

    assert caught.value.status == 416
    assert caught.value.headers == {"content-range": "bytes */1000"}


def test_empty_content_is_always_served_whole() -> None:
    for header in ("bytes=0-", "bytes=-1", "bytes=5-9"):
        assert parse_range(header, 0) is None


def test_more_ranges_than_allowed_are_the_whole() -> None:
    sixteen = ",".join(f"{start}-{start}" for start in range(0, 32, 2))

    assert parse_range(f"bytes={sixteen}", 1000) == [(start, start + 1) for start in range(0, 32, 2)]
    assert parse_range(f"bytes={sixteen},50-50", 1000) is None
    assert parse_range("bytes=0-1,4-5", 1000, max_ranges=1) is None
    assert parse_range("bytes=" + "0-," * 10_000, 1000) is None


@given(st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}", fullmatch=True), st.integers(1, 200))
def test_a_single_range_equals_werkzeug(header: str, size: int) -> None:
    parsed = werkzeug.http.parse_range_header(header)
    expected = parsed.range_for_length(size) if parsed is not None else None
    try:
        slices = parse_range(header, size)
    except RequestedRangeNotSatisfiable:
        slices = None

    # werkzeug clips a suffix that is longer than the content to nothing; RFC 9110 §14.1.2 to the content.
    if header.startswith("bytes=-") and slices == [(0, size)]:
        assert expected in (None, (0, size))
    else:
        assert slices == ([expected] if expected else None)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), min_size=1, max_size=8),
    st.integers(1, 25),
)
def test_the_slices_are_the_bytes_asked_for_and_none_twice(ranges: list[list[int]], size: int) -> None:
    asked = {byte for first, last in ranges for byte in range(first, last + 1) if byte < size}
    try:
        slices = parse_range("bytes=" + ",".join(f"{first}-{last}" for first, last in ranges), size)
    except RequestedRangeNotSatisfiable:
        slices = []

    assert slices is not None
    assert sorted(byte for start, stop in slices for byte in range(start, stop)) == sorted(asked)


@given(st.text(alphabet="bytes=0123-, ٣", max_size=24).map("bytes={}".format) | st.text())
def test_any_text_is_slices_or_the_whole_or_a_416(header: str) -> None:
    try:
        slices = parse_range(header, 10)
    except RequestedRangeNotSatisfiable:
        return

    assert slices is None or all(0 <= start < stop <= 10 for start, stop in slices)


# Costs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "make"),
    [
        (ETags, lambda n: '"' * n),
        (ETags, lambda n: 'W/"' * n),
        (ETags, lambda n: 'W/"a",' * n),
        (ETags, lambda n: "W/" * n),
        (ETags, lambda n: "a, " * n),
        (ETags, lambda n: ", " * n + '"'),
        (lambda text: parse_range(text, 9, max_ranges=10**9), lambda n: "bytes=" + "0-1," * n),
        (lambda text: parse_range(text, 9, max_ranges=10**9), lambda n: "bytes=" + "7-," * n),
        (lambda text: parse_range(text, 9, max_ranges=10**9), lambda n: "bytes=0" + "9" * 100 * n + "-"),
        (lambda text: parse_range(text + "8-", 9), lambda n: "bytes=" + "0" * 100 * n),
        (lambda text: parse_range(text, 9), lambda n: "=" * 100 * n),
        (lambda text: quote_etag(text.strip()), lambda n: "é" * 20 * n),
    ],
)
def test_every_parser_is_linear(
    growth: Callable[..., float], function: Callable[[Any], object], make: Callable[[int], Any]
) -> None:
    def run(text: Any) -> None:
        try:
            function(text)
        except RequestedRangeNotSatisfiable:
            return

    assert growth(run, make(15_000), make(30_000)) < 2.6


def test_importing_it_alone_imports_neither_email_nor_datetime() -> None:
    folder = str(Path(sys.modules[ETags.__module__].__file__ or "").parent)
    code = (
        "import sys, types; package = types.ModuleType('microweb'); package.__path__ = [sys.argv[1]];"
        "sys.modules['microweb'] = package; import microweb.conditional;"
        "sys.exit(bool({'email.utils', 'datetime', 'hashlib', 'calendar'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-S", "-c", code, folder]).returncode == 0
