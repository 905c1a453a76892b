"""The multipart parser: every part whole, no cut body taken for a whole one, the same verdict for any chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from microweb.errors import BadRequest, HTTPException, RequestEntityTooLarge
from microweb.forms import Part
from microweb.multipart import MultipartReader

BOUNDARY = b"xyz"
FIELD = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
FILE = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\nContent-Type: image/png\r\n\r\n'
END = b"--xyz--\r\n"

PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="\\%")

BODIES = {
    "no parts": END,
    "a field": FIELD + b"hello\r\n" + END,
    "an empty field": FIELD + b"\r\n" + END,
    "two fields": FIELD + b"1\r\n" + FIELD + b"2\r\n" + END,
    "a file": FILE + b"\x89PNG\r\n\x1a\n\0\0\r\n" + END,
    "an empty file": FILE + b"\r\n" + END,
    "a field and a file": FIELD + b"hello\r\n" + FILE + b"content\r\n" + END,
    "almost a boundary": FIELD + b"\r\n--xy\r\n-\r\n--x\r\r\n--\r\n" + END,
    "line ends": FILE + b"\r\n\r\n\n\r\r\r\n\r\n" + END,
    "many CR": FILE + b"\r" * 40 + b"\r\n" + END,
    "a preamble": b"This is MIME.\r\nIgnore it.\r\n" + FIELD + b"hello\r\n" + END,
    "an empty preamble": b"\r\n" + FIELD + b"hello\r\n" + END,
    "a preamble of CR": b"\r" * 50 + b"\r\n" + FIELD + b"hello\r\n" + END,
    "an epilogue": FIELD + b"hello\r\n" + END + b"That was MIME.\r\n--xyz\r\n",
    "no last line end": FIELD + b"hello\r\n" + END[:-2],
    "length of a part": FIELD[:-2] + b"Content-Length: 5\r\n\r\nhello\r\n" + END,
    "unknown headers": FIELD[:-2] + b"X-Odd:  value \r\nY:\r\n\r\nhello\r\n" + END,
    "names in UTF-8": FIELD.replace(b'"a"', '"é€"'.encode()) + b"hello\r\n" + END,
    "a filename with a star": FIELD.replace(b'"a"', b"\"a\"; filename*=utf-8''%e2%82%ac.txt") + b"hello\r\n" + END,
    "a Windows path": FILE.replace(b"f.bin", b"C:\\x\\f.bin") + b"content\r\n" + END,
}

BROKEN = {
    "nothing": b"",
    "no boundary": b"hello",
    "another boundary": FIELD.replace(b"xyz", b"abc") + b"hello\r\n--abc--\r\n",
    "no disposition": b"--xyz\r\nContent-Type: text/plain\r\n\r\nhello\r\n" + END,
    "not form data": FIELD.replace(b"form-data", b"attachment") + b"hello\r\n" + END,
    "a header without a colon": b"--xyz\r\nnonsense\r\n\r\nhello\r\n" + END,
    "a header name with a space": b"--xyz\r\nA B: c\r\n\r\nhello\r\n" + END,
    "bare line feeds": FIELD.replace(b"\r\n", b"\n") + b"hello\n--xyz--\n",
    "a bare LF in a header": b'--xyz\r\nX: a\nY: b\r\nContent-Disposition: form-data; name="a"\r\n\r\nhello\r\n' + END,
    "a bare CR in a header": b'--xyz\r\nX: a\rY: b\r\nContent-Disposition: form-data; name="a"\r\n\r\nhello\r\n' + END,
    "a bare LF before a header": FIELD.replace(b"Content", b"\nContent") + b"hello\r\n" + END,
    "a bare LF behind a header name": FIELD[:-2] + b"X-Odd\n: v\r\n\r\nhello\r\n" + END,
    "a NUL in a header": b'--xyz\r\nX: \0\r\nContent-Disposition: form-data; name="a"\r\n\r\nhello\r\n' + END,
    "a folded header": b'--xyz\r\nContent-Disposition: form-data;\r\n name="a"\r\n\r\nhello\r\n' + END,
    "no UTF-8 in a header": FIELD.replace(b'"a"', b'"\xff"') + b"hello\r\n" + END,
    "a longer boundary inside": FIELD + b"hello\r\n--xyzzy\r\n" + END,
    "a length that lies": FIELD[:-2] + b"Content-Length: 4\r\n\r\nhello\r\n" + END,
    "a length that promises more": FIELD[:-2] + b"Content-Length: 6\r\n\r\nhello\r\n" + END,
    "a length that is no number": FIELD[:-2] + b"Content-Length: five\r\n\r\nhello\r\n" + END,
    "text before the first boundary": b"x" + FIELD + b"hello\r\n" + END,
    "nine headers": FIELD[:-2] + b"X: y\r\n" * 8 + b"\r\nhello\r\n" + END,
    "a long header": FIELD[:-2] + b"X: " + b"y" * 4222 + b"\r\n\r\nhello\r\n" + END,
}


def read(*chunks, **limits):
    """The parts as (name, filename, content), or an HTTPException."""
    reader = MultipartReader(BOUNDARY, **limits)
    parts = []
    for chunk in chunks:
        for event in reader.feed(chunk):
            if isinstance(event, Part):
                content = []
                part = event
            elif event is None:
                parts.append((part.name, part.filename, b"".join(content)))
            else:
                content.append(event)
    reader.finish()
    return parts


def judge(*chunks):
    try:
        return read(*chunks)
    except HTTPException as error:
        return error.status


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_split_in_two_gives_the_same_parts(body):
    whole = read(body)

    for place in range(len(body) + 1):
        assert read(body[:place], body[place:]) == whole, place


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_byte_by_byte_gives_the_same_parts(body):
    assert read(*[body[place : place + 1] for place in range(len(body))]) == read(body)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_cut_is_a_400(body):
    complete = body.rindex(b"--xyz--") + 7 if not body.endswith(b"--xyz\r\n") else body.index(b"--xyz--") + 7

    for place in range(complete):
        assert judge(body[:place]) == 400, place
    for place in range(complete, len(body)):
        assert judge(body[:place]) == judge(body)


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_malformed_body_is_a_400_however_it_is_split(body):
    for place in range(len(body) + 1):
        assert judge(body[:place], body[place:]) == 400, place
    assert judge(*[body[place : place + 1] for place in range(len(body))]) == 400


def test_the_parts_are_those_that_werkzeug_reads():
    for name, body in BODIES.items():
        builder = EnvironBuilder(method="POST", data=body, content_type="multipart/form-data; boundary=xyz")
        with builder.get_request() as request:
            fields = [(key, None, value.encode()) for key, value in request.form.items(multi=True)]
            files = [(key, file.filename, file.read()) for key, file in request.files.items(multi=True)]

        if name not in ("no parts", "a Windows path"):
            assert sorted(read(body), key=str) == sorted(fields + files, key=str), name


@given(
    st.lists(st.tuples(st.text(PRINTABLE, min_size=1), st.binary() | st.sampled_from([b"\r\n--xy", b"\r\r\n-"]))),
    st.lists(st.floats(0, 1), max_size=6),
)
def test_any_files_are_read_back_from_any_chunks(files, cuts):
    parts = [FILE.replace(b"f.bin", name.replace('"', "%22").encode()) + content + b"\r\n" for name, content in files]
    body = b"".join(parts) + END
    places = sorted(int(cut * len(body)) for cut in cuts)

    found = read(*[body[start:stop] for start, stop in zip([0, *places], [*places, len(body)], strict=True)])

    assert [(name, content) for _, name, content in found] == files


def test_no_piece_is_empty():
    events = list(MultipartReader(BOUNDARY).feed(BODIES["an empty file"]))

    assert [type(event) for event in events] == [Part, type(None)]


# Limits -------------------------------------------------------------------------------------------


def test_a_header_of_exactly_the_limit_is_taken_however_it_is_split():
    body = FIELD[:-2] + b"X: " + b"y" * 45 + b"\r\n\r\nhello\r\n" + END

    for place in range(len(body) + 1):
        assert len(read(body[:place], body[place:], max_header_size=48)) == 1, place


@pytest.mark.parametrize(
    ("limits", "error", "key"),
    [
        ({"max_parts": 1}, RequestEntityTooLarge, "more than 1 parts .MAX_FORM_PARTS"),
        ({"max_files": 0}, RequestEntityTooLarge, "more than 0 files .MAX_FORM_FILES"),
        ({"max_headers": 1}, BadRequest, "more than 1 headers .MAX_PART_HEADERS"),
        ({"max_header_size": 45}, BadRequest, "longer than 45 bytes .MAX_PART_HEADER_SIZE"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_the_name_of_its_key(limits, error, key):
    with pytest.raises(error, match=key):
        read(BODIES["a field and a file"], **limits)


def test_without_limits_everything_is_read():
    body = (FILE + b"1\r\n") * 2000 + END

    assert len(read(body, max_parts=None, max_files=None)) == 2000


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [
        (b"", b"\r", b"\r\n" + FIELD + b"\r\n" + END),
        (b"", b"\r\n--xy", b"\r\n" + FIELD + b"\r\n" + END),
        (FILE, b"\r", b"\r\n" + END),
        (FILE, b"\r\n--xy", b"\r\n" + END),
        (FILE, b"\r\n", b"\r\n" + END),
    ],
)
@pytest.mark.parametrize("size", [7, 65536])
def test_reading_takes_linear_time(growth, before, unit, after, size):
    def chunks(count):
        body = before + unit * count + after
        return [body[place : place + size] for place in range(0, len(body), size)]

    scale = 1 if size == 7 else 20
    assert growth(lambda given: read(*given), chunks(5_000 * scale), chunks(10_000 * scale)) < 2.6


def test_a_header_without_end_is_refused_when_it_is_too_long():
    endless = [FIELD[:-2] + b"X: ", *[b"y" * 1000] * 5]

    assert judge(*endless) == 400


def test_preamble_that_never_ends_is_a_400():
    assert judge(*[b"x" * 65536] * 50) == 400
