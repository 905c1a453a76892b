"""Types for arguments: what they take, and what they refuse with a reason."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from microweb.ext.rest import inputs


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (inputs.boolean, "true", True),
        (inputs.boolean, "OFF", False),
        (inputs.boolean, "0", False),
        (inputs.boolean, True, True),
        (inputs.natural, "0", 0),
        (inputs.positive, "1", 1),
        (inputs.int_range(1, 5), "5", 5),
        (inputs.regex("^[0-9a-f]+$"), "0af", "0af"),
        (inputs.date, "2012-11-30", datetime(2012, 11, 30)),
        (inputs.datetime_from_iso8601, "2012-01-01T23:30:00+02:00",
         datetime(2012, 1, 1, 23, 30, tzinfo=timezone(timedelta(hours=2)))),
        (inputs.datetime_from_iso8601, "2012-01-01", datetime(2012, 1, 1, tzinfo=UTC)),
        (inputs.datetime_from_rfc822, "Wed, 02 Oct 2002 08:00:00 EST",
         datetime(2002, 10, 2, 8, tzinfo=timezone(timedelta(hours=-5)))),
        (inputs.datetime_from_rfc822, "Sun, 06 Nov 1994 08:49:37 -0000", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_a_text_that_fits_becomes_a_value(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "http://www.example.org",
        "https://user:pw@example.org:8080/a?b=c#d",
        "ftp://localhost/",
        "http://127.0.0.1/",
        "http://[2001:db8::1]/",
        "http://xn--bcher-kva.example./",
    ],
)
def test_a_url_is_taken(text):
    assert inputs.url(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "javascript:alert(1)",
        "//example.org",
        "http://",
        "http:///path",
        "http://example",
        "http://exa mple.org",
        "http://-a.org",
        "http://a..org",
        "http://[::1/",
        "http://example.org:99999/",
        "http://exam\nple.org",
        "http://bücher.example",
        3,
        None,
    ],
)
def test_what_is_no_url_is_refused(text):
    with pytest.raises(ValueError, match="is not a valid URL"):
        inputs.url(text)


def test_a_url_without_a_scheme_is_answered_with_a_hint():
    with pytest.raises(ValueError, match="did you mean: http://example.org"):
        inputs.url("example.org")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (inputs.boolean, "maybe"),
        (inputs.natural, "-1"),
        (inputs.natural, "x"),
        (inputs.natural, 1.5),
        (inputs.natural, True),
        (inputs.natural, "9" * 5000),
        (inputs.positive, "0"),
        (inputs.int_range(1, 5), "6"),
        (inputs.regex("^a$"), "b"),
        (inputs.regex("^a$"), 3),
        (inputs.date, "30.11.2012"),
        (inputs.date, 3),
        (inputs.datetime_from_iso8601, "yesterday"),
        (inputs.datetime_from_rfc822, "yesterday"),
        (inputs.datetime_from_rfc822, None),
    ],
)
def test_a_text_that_does_not_fit_is_a_value_error(kind, text):
    with pytest.raises(ValueError):
        kind(text)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2013-01-01/2013-02-01", "2013-01-01T00:00:00", "2013-02-01T00:00:00"),
        ("2013-01-01T12:30/PT2H30M", "2013-01-01T12:30:00", "2013-01-01T15:00:00"),
        ("P1W/2013-01-08", "2013-01-01T00:00:00", "2013-01-08T00:00:00"),
        ("2013-01-01/P1Y", "2013-01-01T00:00:00", "2014-01-01T00:00:00"),
        ("2013-01-01/P1MT0.5S", "2013-01-01T00:00:00", "2013-01-31T00:00:00.500000"),
        ("2013-01-01", "2013-01-01T00:00:00", "2013-01-02T00:00:00"),
        ("2013-01-01T12", "2013-01-01T12:00:00", "2013-01-01T13:00:00"),
        ("2013-01-01T12:30Z", "2013-01-01T12:30:00", "2013-01-01T12:31:00"),
        ("2013-01-01T12:30:15+01:00", "2013-01-01T11:30:15", "2013-01-01T11:30:16"),
    ],
)
def test_an_interval_is_two_moments_in_utc(text, start, end):
    found = inputs.iso8601interval(text)

    assert [moment.isoformat().removesuffix("+00:00") for moment in found] == [start, end]


@pytest.mark.parametrize(
    "text", ["", "/", "2013-01-01/", "/P1D", "2013-01-01/P", "2013-01-01/PT", "2013-01-01/PT1D", "2013-01-01/P9999Y",
             "2013-02-01/2013-01-01", "P1D/P1D", "9999-12-31/P1D", "2013-01-01/P1.5D", "x/y", 3]
)  # fmt: skip
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(ValueError, match="interval"):
        inputs.iso8601interval(text)
