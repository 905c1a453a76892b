import datetime
import io
import logging
import os
import re
import sqlite3
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.utils import send_file as werkzeug_send_file

from microweb import App, FileResponse, Response, StreamingResponse, g, make_response
from microweb.errors import Forbidden, NotFound
from microweb.filebody import CHUNK
from microweb.testing import Client

pytestmark = pytest.mark.anyio

TEXT = b"0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "letters.txt"
    path.write_bytes(TEXT)
    return path


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(3 * CHUNK + 17))
    return path


def make_app(make_answer, **config):
    """An app whose ``/`` answers with what the function makes."""
    app = App(__name__, config=config)

    @app.route("/", methods=["GET", "POST"])
    async def answer():
        return make_answer()

    return app


async def fetch(make_answer, method="GET", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with Client(make_app(make_answer)) as client:
        return await client.request(method, "/", headers=names)


def is_open(path):
    """Whether this process holds a descriptor of the file."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs /proc to see which files are open")
    return any(os.path.realpath(entry) == os.path.realpath(path) for entry in descriptors.iterdir())


def read_parts(response):
    """The parts of a multipart/byteranges body: content type, range, bytes."""
    boundary = response.headers["content-type"].partition("boundary=")[2].encode()
    assert response.headers["content-type"] == f"multipart/byteranges; boundary={boundary.decode()}"
    assert response.content.startswith(b"--" + boundary + b"\r\n")
    assert response.content.endswith(b"\r\n--" + boundary + b"--\r\n")
    body = b"\r\n" + response.content.removesuffix(b"\r\n--" + boundary + b"--\r\n")
    parts = []
    for part in body.split(b"\r\n--" + boundary + b"\r\n")[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        parts.append((headers["content-type"], headers["content-range"], content))
    return parts


# The whole file ----------------------------------------------------------------------------------


async def test_a_file_is_sent_with_what_describes_it(path):
    os.utime(path, (1_000_000_000, 1_000_000_000))

    response = await fetch(lambda: FileResponse(path))

    assert response.status_code == 200
    assert response.content == TEXT
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["content-length"] == "36"
    assert response.headers["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["cache-control"] == "no-cache"
    assert re.fullmatch('"[0-9a-f-]+"', response.headers["etag"])
    assert "content-disposition" not in response.headers


def test_a_file_response_is_a_streamed_response(path):
    response = FileResponse(path)

    assert isinstance(response, StreamingResponse)
    assert response.is_streamed
    assert response.path == str(path)


async def test_a_file_of_several_chunks_is_sent_whole(large):
    response = await fetch(lambda: FileResponse(str(large)))

    assert response.content == large.read_bytes()
    assert response.headers["content-length"] == str(3 * CHUNK + 17)
    assert not is_open(large)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
@pytest.mark.parametrize("spec_version", ["2.3", "2.5"])
async def test_a_file_of_any_size_is_sent_to_its_last_byte(tmp_path, size, spec_version):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)

    async with Client(make_app(lambda: FileResponse(path)), spec_version=spec_version) as client:
        response = await client.get("/")

    assert len(response.content) == size
    assert response.headers["content-length"] == str(size)


async def test_head_answers_as_get_without_the_body_and_opens_nothing(path):
    get = await fetch(lambda: FileResponse(path))
    app = make_app(lambda: FileResponse(path))

    @app.after_request
    async def remove(response):
        path.unlink()

    async with Client(app) as client:
        head = await client.head("/")

    assert head.content == b""
    assert head.headers == get.headers


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("page.html", "text/html; charset=utf-8"),
        ("site.js", "text/javascript; charset=utf-8"),
        ("feed.xml", "text/xml"),
        ("picture.PNG", "image/png"),
        ("data.json", "application/json"),
        ("backup.tar.gz", "application/gzip"),
        ("page.html.br", "application/octet-stream"),
        ("dump.sql.zst", "application/zstd"),
        ("unknown.qqq", "application/octet-stream"),
        ("Makefile", "application/octet-stream"),
    ],
)
async def test_the_type_is_guessed_by_the_name_and_says_what_is_sent(tmp_path, name, content_type):
    (tmp_path / name).write_bytes(b"x")

    response = await fetch(lambda: FileResponse(tmp_path / name))

    assert response.headers["content-type"] == content_type
    assert "content-encoding" not in response.headers


async def test_headers_that_are_given_replace_those_that_are_made(path):
    given = {
        "ETag": '"mine"',
        "Cache-Control": "private",
        "Last-Modified": "Sun, 09 Sep 2001 01:46:40 GMT",
        "Content-Disposition": "inline",
        "X-A": "b",
    }

    response = await fetch(lambda: FileResponse(path, headers=given, content_type="text/x-mine", as_attachment=True))

    assert {name: response.headers[name] for name in given} == given
    assert response.headers["content-type"] == "text/x-mine"


async def test_the_content_length_is_the_files_whatever_is_given(path):
    response = await fetch(lambda: FileResponse(path, headers={"Content-Length": "5"}))

    assert response.headers["content-length"] == "36"
    assert response.content == TEXT


@pytest.mark.parametrize(
    ("method", "asked"), [("GET", ""), ("HEAD", ""), ("GET", "bytes=0-9"), ("GET", "bytes=0-0,5-5")]
)
async def test_a_content_length_that_is_set_later_does_not_hold(path, method, asked):
    def make_answer():
        response = FileResponse(path)
        response.headers["content-length"] = "5"
        return response

    app = make_app(make_answer)

    @app.after_request
    def set_again(response):
        response.headers["content-length"] = "7"

    async with Client(app) as client:
        response = await client.request(method, "/", headers={"range": asked})

    length = 36 if method == "HEAD" else len(response.content)
    assert (response.is_success, response.headers["content-length"]) == (True, str(length))


async def test_the_tag_changes_with_the_content(path):
    first = await fetch(lambda: FileResponse(path))
    path.write_bytes(TEXT.upper())
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    second = await fetch(lambda: FileResponse(path))

    assert first.headers["etag"] != second.headers["etag"]


async def test_validators_can_be_given_or_left_out(path):
    when = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)

    given = await fetch(lambda: FileResponse(path, etag="v1", last_modified=when))
    none = await fetch(lambda: FileResponse(path, etag=False, last_modified=0))

    assert given.headers["etag"] == '"v1"'
    assert given.headers["last-modified"] == "Thu, 02 Jan 2020 03:04:05 GMT"
    assert "etag" not in none.headers
    assert none.headers["last-modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"


async def test_a_time_that_no_date_can_name_is_left_out(path):
    seen = os.stat_result(tuple(path.stat()), {"st_mtime": 2.0**40, "st_mtime_ns": 2**40 * 10**9})

    response = await fetch(lambda: FileResponse(path, stat_result=seen), "HEAD")

    assert response.status_code == 200
    assert "last-modified" not in response.headers


async def test_adding_a_tag_of_the_body_leaves_a_file_alone(path):
    def answer():
        response = FileResponse(path, etag=False)
        response.add_etag()
        return response

    assert "etag" not in (await fetch(answer)).headers


# Caching -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_age", "header"),
    [
        (60, "public, max-age=60"),
        (0, "no-cache"),
        (datetime.timedelta(hours=1), "public, max-age=3600"),
        (lambda path: 5 if path.endswith("letters.txt") else 7, "public, max-age=5"),
        (lambda path: None, "no-cache"),
        (1.5, "public, max-age=1"),
        (0.5, "no-cache"),
    ],
)
async def test_max_age_says_how_long_a_file_stays_fresh(path, max_age, header):
    response = await fetch(lambda: FileResponse(path, max_age=max_age))

    assert response.headers["cache-control"] == header


async def test_the_default_of_max_age_is_a_setting(path):
    app = make_app(lambda: FileResponse(path), SEND_FILE_MAX_AGE_DEFAULT=90)

    async with Client(app) as client:
        response = await client.get("/")

    assert response.headers["cache-control"] == "public, max-age=90"


async def test_a_negative_max_age_is_refused(path):
    with pytest.raises(ValueError, match="max_age is 0 seconds or more"):
        await fetch(lambda: FileResponse(path, max_age=-1))


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"as_attachment": True}, "attachment; filename=letters.txt"),
        ({"download_name": "a b.txt"}, 'inline; filename="a b.txt"'),
        (
            {"as_attachment": True, "download_name": "naïve.txt"},
            "attachment; filename=naive.txt; filename*=UTF-8''na%C3%AFve.txt",
        ),
    ],
)
async def test_a_download_has_a_name(path, options, header):
    response = await fetch(lambda: FileResponse(path, **options))

    assert response.headers["content-disposition"] == header


@pytest.mark.parametrize("name", ["a\r\nset-cookie: x=1.txt", 'a"; filename=b.exe', "a\0b", "\ud800.txt", "a\\b"])
async def test_a_download_name_cannot_end_its_header(path, name):
    response = await fetch(lambda: FileResponse(path, download_name=name, as_attachment=True))

    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert response.headers["content-disposition"].startswith("attachment; filename")
    assert not re.search(r'(?<!\\)"; filename=b', response.headers["content-disposition"])


async def test_the_download_name_tells_the_type():
    response = await fetch(lambda: FileResponse(io.BytesIO(b"x"), download_name="table.csv"))

    assert response.headers["content-type"] == "text/csv; charset=utf-8"


def test_an_attachment_of_a_file_object_needs_a_name():
    with pytest.raises(TypeError, match="download_name"):
        FileResponse(io.BytesIO(), as_attachment=True)


# Files that are not there ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing", "missing/deeper", "letters.txt/x", ".", "x" * 300, "a\0b", "\ud800"])
def test_what_is_no_regular_file_is_not_found(path, name):
    with pytest.raises(NotFound):
        FileResponse(f"{path.parent}/{name}")


def test_a_pipe_is_not_found_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(NotFound):
        FileResponse(tmp_path / "pipe")


def test_a_circle_of_links_is_not_found(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "a")

    with pytest.raises(NotFound):
        FileResponse(tmp_path / "a")


async def test_a_missing_file_is_answered_404(tmp_path):
    response = await fetch(lambda: FileResponse(tmp_path / "missing"))

    assert response.status_code == 404


@contextmanager
def without_permission(path):
    """Take away the right to read a file, also from root."""
    path.chmod(0)
    path.parent.chmod(0o755)
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


def make_open_folder(tmp_path):
    # pytest's own folders are closed to others, so that one without rights could not even look.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    return folder


async def test_a_file_without_permission_is_forbidden(tmp_path):
    folder = make_open_folder(tmp_path)
    path = folder / "secret.txt"
    path.write_bytes(b"secret")

    with without_permission(path):
        response = await fetch(lambda: FileResponse(path))

    assert response.status_code == 403
    path.unlink()
    folder.rmdir()


async def test_a_folder_without_permission_is_forbidden(tmp_path):
    folder = make_open_folder(tmp_path)
    (folder / "inner").mkdir()

    with without_permission(folder / "inner"), pytest.raises(Forbidden):
        FileResponse(folder / "inner" / "file")

    (folder / "inner").rmdir()
    folder.rmdir()


# Conditions --------------------------------------------------------------------------------------


async def test_a_known_tag_is_answered_304_without_opening_the_file(path):
    etag = (await fetch(lambda: FileResponse(path))).headers["etag"]
    app = make_app(lambda: FileResponse(path))

    @app.after_request
    async def remove(response):
        path.unlink()

    async with Client(app) as client:
        response = await client.get("/", headers={"if-none-match": etag})

    assert response.status_code == 304
    assert response.content == b""
    assert response.headers["etag"] == etag
    assert response.headers["cache-control"] == "no-cache"
    assert "content-length" not in response.headers


async def test_a_known_date_is_answered_304(path):
    date = (await fetch(lambda: FileResponse(path))).headers["last-modified"]

    response = await fetch(lambda: FileResponse(path), if_modified_since=date)

    assert response.status_code == 304


async def test_a_tag_counts_before_a_date(path):
    date = (await fetch(lambda: FileResponse(path))).headers["last-modified"]

    response = await fetch(lambda: FileResponse(path), if_modified_since=date, if_none_match='"other"')

    assert response.status_code == 200


OLD, NEW = "Sun, 09 Sep 2001 01:46:39 GMT", "Sun, 09 Sep 2001 01:46:40 GMT"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"if_match": '"other"', "if_unmodified_since": NEW}, 412),
        ({"if_match": '"v1"', "if_unmodified_since": OLD}, 200),
        ({"if_unmodified_since": OLD}, 412),
        ({"if_unmodified_since": OLD, "if_none_match": '"v1"'}, 412),
        ({"if_match": '"v1"', "if_none_match": '"v1"'}, 304),
        ({"if_none_match": '"other"', "if_modified_since": NEW}, 200),
        ({"if_modified_since": NEW}, 304),
        ({"if_none_match": '"v1"', "range": "bytes=99-"}, 304),
        ({"if_none_match": '"v1"', "range": "bytes=0-1", "if_range": '"other"'}, 304),
    ],
)
async def test_conditions_of_a_file_are_weighed_in_the_order_of_the_rfc(path, method, conditions, status):
    response = await fetch(lambda: FileResponse(path, etag="v1", last_modified=10**9), method, **conditions)

    assert response.status_code == status


async def test_a_condition_that_fails_is_412(path):
    response = await fetch(lambda: FileResponse(path), if_match='"other"', range="bytes=0-1")

    assert response.status_code == 412
    assert TEXT not in response.content


async def test_conditions_are_not_asked_of_an_answer_that_is_no_success(path):
    etag = (await fetch(lambda: FileResponse(path))).headers["etag"]

    as_option = await fetch(lambda: FileResponse(path, status=404), if_none_match=etag, range="bytes=0-1")
    as_tuple = await fetch(lambda: (FileResponse(path), 404), if_none_match=etag, range="bytes=99-")

    assert (as_option.status_code, as_option.content) == (404, TEXT)
    assert (as_tuple.status_code, as_tuple.content) == (404, TEXT)


async def test_conditions_and_ranges_can_be_switched_off(path):
    def answer():
        return FileResponse(path, conditional=False, etag="v1")

    response = await fetch(answer, if_none_match='"v1"', range="bytes=0-1")

    assert (response.status_code, response.content) == (200, TEXT)
    assert "accept-ranges" not in response.headers


async def test_a_post_has_no_conditions_and_no_ranges(path):
    response = await fetch(lambda: FileResponse(path, etag="v1"), "POST", if_none_match='"v1"', range="bytes=0-1")

    assert (response.status_code, response.content) == (200, TEXT)


async def test_a_page_for_errors_can_be_a_file(path):
    app = App(__name__)

    @app.errorhandler(404)
    async def not_found(error):
        return FileResponse(path), 404

    async with Client(app) as client:
        response = await client.get("/missing", headers={"range": "bytes=99-"})

    assert (response.status_code, response.content) == (404, TEXT)


async def test_middleware_sees_the_status_that_is_sent(path):
    seen = []
    app = make_app(lambda: FileResponse(path, etag="v1"))

    @app.middleware
    async def note(request, call_next):
        response = await call_next(request)
        seen.append((response.status_code, response.headers.get("content-length")))
        return response

    async with Client(app) as client:
        await client.get("/")
        await client.get("/", headers={"range": "bytes=0-1"})
        await client.get("/", headers={"if-none-match": '"v1"'})
        await client.get("/", headers={"range": "bytes=99-"})

    assert [status for status, _ in seen] == [200, 206, 304, 416]
    assert [length for _, length in seen[:2]] == ["36", "2"]


# Ranges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-4", 0, 5),
        ("bytes=5-", 5, 36),
        ("bytes=-3", 33, 36),
        ("bytes=0-999", 0, 36),
        ("bytes=-999", 0, 36),
    ],
)
async def test_one_range_is_sent_alone(path, header, start, stop):
    response = await fetch(lambda: FileResponse(path), range=header)

    assert response.status_code == 206
    assert response.content == TEXT[start:stop]
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/36"
    assert response.headers["content-length"] == str(stop - start)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


async def test_several_ranges_are_sent_as_parts(path):
    response = await fetch(lambda: FileResponse(path), range="bytes=0-0,5-9,-2")

    assert response.status_code == 206
    assert "content-range" not in response.headers
    assert read_parts(response) == [
        ("text/plain; charset=utf-8", "bytes 0-0/36", b"0"),
        ("text/plain; charset=utf-8", "bytes 5-9/36", b"56789"),
        ("text/plain; charset=utf-8", "bytes 34-35/36", b"yz"),
    ]


async def test_ranges_over_several_chunks_are_right(large):
    content = large.read_bytes()
    size = len(content)

    response = await fetch(lambda: FileResponse(large), range=f"bytes={size - 5}-,10-{CHUNK + 10}")

    assert [part[2] for part in read_parts(response)] == [content[-5:], content[10 : CHUNK + 11]]


async def test_ranges_that_overlap_are_sent_once(path):
    response = await fetch(lambda: FileResponse(path), range="bytes=0-20,10-30,5-6")

    assert response.headers["content-range"] == "bytes 0-30/36"
    assert response.content == TEXT[:31]


@pytest.mark.parametrize(
    "header",
    [
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 34, 2)),
        "bytes=" + ",".join("0-" for _ in range(10_000 // 4)),
        "bytes=5-3",
        "bytes=٣-٤",
        "bytes=a-b",
        "bytes=",
        "lines=1-2",
        "bytes",
        "bytes=--1",
    ],
)
async def test_a_range_that_is_malformed_or_too_much_is_the_whole_file(path, header):
    response = await fetch(lambda: FileResponse(path), range=header.encode())

    assert (response.status_code, response.content) == (200, TEXT)


async def test_the_number_of_ranges_is_a_setting(path):
    app = make_app(lambda: FileResponse(path), MAX_RANGES=2)

    async with Client(app) as client:
        two = await client.get("/", headers={"range": "bytes=0-0,2-2"})
        three = await client.get("/", headers={"range": "bytes=0-0,2-2,4-4"})

    assert (two.status_code, three.status_code) == (206, 200)


async def test_a_part_that_gets_its_own_status_again_stays_a_part(path):
    app = make_app(lambda: FileResponse(path))

    @app.after_request
    async def copy_status(response):
        response.status_code = response.status_code

    async with Client(app) as client:
        response = await client.get("/", headers={"range": "bytes=0-3"})

    assert (response.status_code, response.content) == (206, TEXT[:4])
    assert response.headers["content-range"] == "bytes 0-3/36"


@pytest.mark.parametrize("ranges", ["bytes=0-3", "bytes=0-3,8-9"])
@pytest.mark.parametrize("where", ["in the handler", "in a layer"])
async def test_a_file_that_gets_another_status_is_sent_whole(where, ranges, path):
    app = App(__name__)

    @app.errorhandler(404)
    async def not_found(error):
        response = make_response(FileResponse(path))
        if where == "in the handler":
            response.status_code = 404
        return response

    @app.middleware
    async def pass_on(request, call_next):
        response = await call_next(request)
        response.status_code = 404
        return response

    async with Client(app) as client:
        response = await client.get("/missing", headers={"range": ranges})

    assert (response.status_code, response.content) == (404, TEXT)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert "content-range" not in response.headers


async def test_a_range_beyond_the_end_is_416_and_says_the_size(path):
    response = await fetch(lambda: FileResponse(path), range="bytes=36-")

    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */36"


async def test_a_handler_answers_a_range_beyond_the_end(path):
    app = make_app(lambda: FileResponse(path))

    @app.errorhandler(416)
    async def beyond(error):
        return "there is no more", 416

    async with Client(app) as client:
        response = await client.get("/", headers={"range": "bytes=36-"})

    assert (response.status_code, response.text) == (416, "there is no more")


async def test_head_and_empty_files_have_no_ranges(path, tmp_path):
    (tmp_path / "empty").touch()

    head = await fetch(lambda: FileResponse(path), "HEAD", range="bytes=0-1")
    empty = await fetch(lambda: FileResponse(tmp_path / "empty"), range="bytes=0-1")

    assert (head.status_code, head.headers["content-length"]) == (200, "36")
    assert (empty.status_code, empty.content) == (200, b"")


async def test_a_range_of_another_version_is_the_whole_file(path):
    plain = await fetch(lambda: FileResponse(path))

    same = await fetch(lambda: FileResponse(path), range="bytes=0-1", if_range=plain.headers["etag"])
    date = await fetch(lambda: FileResponse(path), range="bytes=0-1", if_range=plain.headers["last-modified"])
    other = await fetch(lambda: FileResponse(path), range="bytes=0-1", if_range='"other"')

    assert [response.status_code for response in (same, date, other)] == [206, 206, 200]


ranges = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 45), st.integers(0, 45)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.integers(0, 45).map(lambda start: f"{start}-"),
        st.integers(0, 45).map(lambda length: f"-{length}"),
        st.text("0123456789- x", max_size=4),
    ),
    min_size=1,
    max_size=5,
).map(lambda items: ("bytes=" + ",".join(items)).strip())


@pytest.fixture(scope="module")
async def letters(anyio_backend, tmp_path_factory):
    """A client of an app that serves one file for ever."""
    path = tmp_path_factory.mktemp("letters") / "letters.txt"
    path.write_bytes(TEXT)
    async with Client(make_app(lambda: FileResponse(path))) as client:
        client.path = path
        yield client


@given(header=ranges)
async def test_whatever_range_is_asked_for_each_byte_says_truly_where_it_stands(letters, header):
    response = await letters.get("/", headers={"range": header})

    if response.status_code == 200:
        assert response.content == TEXT
    elif response.status_code == 416:
        assert response.headers["content-range"] == "bytes */36"
    else:
        assert response.status_code == 206
        single = [("", response.headers.get("content-range"), response.content)]
        for _, where, content in single if single[0][1] else read_parts(response):
            start, stop = map(int, re.fullmatch(r"bytes (\d+)-(\d+)/36", where).groups())
            assert content == TEXT[start : stop + 1]
            assert content


@given(
    header=st.one_of(
        st.tuples(st.integers(0, 45), st.integers(0, 45)).map(lambda pair: f"bytes={min(pair)}-{max(pair)}"),
        st.integers(0, 45).map(lambda start: f"bytes={start}-"),
        # Not over 36: there RFC 9110 §14.1.2 asks for the whole, and werkzeug answers 416.
        st.integers(1, 36).map(lambda length: f"bytes=-{length}"),
    )
)
async def test_one_range_is_answered_as_werkzeug_answers_it(letters, header):
    environ = EnvironBuilder(headers={"range": header}).get_environ()
    try:
        theirs = werkzeug_send_file(letters.path, environ)
        expected = (theirs.status_code, b"".join(theirs.iter_encoded()), theirs.headers.get("content-range"))
        theirs.close()
    except Exception as error:  # werkzeug's own 416
        expected = (error.code, None, f"bytes */{len(TEXT)}")

    ours = await letters.get("/", headers={"range": header})

    assert (ours.status_code, ours.headers.get("content-range")) == (expected[0], expected[2])
    assert expected[1] is None or ours.content == expected[1]


# File objects ------------------------------------------------------------------------------------


class Source:
    """A file object of the program's own, which tells where it was used."""

    def __init__(self, content=TEXT, *, fail_after=None):
        self.content = io.BytesIO(content)
        self.fail_after = fail_after
        self.threads = set()
        self.is_closed = False

    def read(self, size):
        self.threads.add(threading.current_thread().name)
        if self.fail_after is not None:
            if self.fail_after == 0:
                raise OSError("the disk is on fire")
            self.fail_after -= 1
        return self.content.read(size)

    def close(self):
        self.threads.add(threading.current_thread().name)
        self.is_closed = True


async def test_bytes_in_memory_are_sent_and_closed():
    file = io.BytesIO(TEXT)

    response = await fetch(lambda: FileResponse(file))

    assert response.content == TEXT
    assert response.headers["content-length"] == "36"
    assert response.headers["content-type"] == "application/octet-stream"
    assert "etag" not in response.headers
    assert "last-modified" not in response.headers
    assert file.closed


async def test_a_file_object_is_sent_from_where_it_stands(path):
    def answer():
        file = path.open("rb")
        file.seek(10)
        return FileResponse(file)

    whole = await fetch(answer)
    part = await fetch(answer, range="bytes=1-2")

    assert whole.content == TEXT[10:]
    assert (part.content, part.headers["content-range"]) == (b"bc", "bytes 1-2/26")
    assert not is_open(path)


@pytest.mark.parametrize(
    "make_file", [tempfile.TemporaryFile, tempfile.NamedTemporaryFile, tempfile.SpooledTemporaryFile]
)
async def test_temporary_files_can_be_sent(make_file):
    def answer():
        file = make_file()
        file.write(TEXT)
        file.seek(0)
        return FileResponse(file)

    response = await fetch(answer, range="bytes=0-3")

    assert response.content == b"0123"


async def test_what_cannot_seek_is_sent_without_a_length_and_without_ranges():
    file = Source()

    response = await fetch(lambda: FileResponse(file, headers={"content-length": "5"}), range="bytes=0-1")

    assert (response.status_code, response.content) == (200, TEXT)
    assert "content-length" not in response.headers
    assert "accept-ranges" not in response.headers
    assert file.is_closed


async def test_a_pipe_is_sent_as_it_comes():
    reading, writing = os.pipe()
    os.write(writing, TEXT)
    os.close(writing)

    response = await fetch(lambda: FileResponse(os.fdopen(reading, "rb")))

    assert response.content == TEXT


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_foreign_object_is_used_in_the_requests_own_thread_only(method):
    app = App(__name__)
    threads = []
    source = Source()

    @app.get("/")
    def answer():
        threads.append(threading.current_thread().name)
        return FileResponse(source)

    async with Client(app) as client:
        await client.request(method, "/")

    assert source.is_closed
    assert source.threads == set(threads)


async def test_a_blob_of_sqlite_can_be_sent_from_the_thread_that_opened_it():
    app = App(__name__)

    @app.get("/")
    def answer():
        g.database = database = sqlite3.connect(":memory:")
        database.execute("create table files (content blob)")
        database.execute("insert into files values (?)", (TEXT,))
        return FileResponse(database.blobopen("files", "content", 1, readonly=True))

    @app.teardown_request
    def close(error):
        g.database.close()

    async with Client(app) as client:
        response = await client.get("/", headers={"range": "bytes=10-12"})

    assert response.content == b"abc"


@pytest.mark.parametrize("chunk", ["text", 5])
async def test_an_object_that_gives_no_bytes_is_an_error_before_the_answer_starts(chunk):
    class Wrong(Source):
        def read(self, size):
            return chunk

    async with Client(make_app(lambda: FileResponse(Wrong())), raise_errors=False) as client:
        response = await client.get("/")

    assert response.status_code == 500


@pytest.mark.parametrize("chunk", [bytearray(b"abc"), memoryview(b"abc")])
async def test_an_object_may_give_any_kind_of_bytes(chunk):
    class Once(Source):
        def read(self, size):
            given, self.chunk = getattr(self, "chunk", chunk), None
            return given

    assert (await fetch(lambda: FileResponse(Once()))).content == b"abc"


def test_text_and_what_is_awaited_are_refused(path):
    class Awaited:
        async def read(self, size):
            raise AssertionError

        def __aiter__(self):
            raise AssertionError

    with path.open() as text:
        for wrong in (text, io.StringIO("x"), Awaited(), b"letters", 5, None):
            with pytest.raises(ValueError, match=r"open for reading bytes, not \w+; bytes go into io.BytesIO"):
                FileResponse(wrong)


# Whatever happens, it is closed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),
        ("HEAD", {}),
        ("GET", {"if-none-match": '"v1"'}),
        ("GET", {"if-match": '"v2"'}),
        ("GET", {"range": "bytes=99-"}),
        ("GET", {"range": "bytes=1-2"}),
    ],
)
@pytest.mark.parametrize("make_file", [io.BytesIO, Source])
async def test_a_file_object_is_closed_before_teardown(method, headers, make_file):
    file = make_file(TEXT)
    app = make_app(lambda: FileResponse(file, etag="v1"))
    closed = []

    @app.teardown_request
    async def look(error):
        closed.append(file.closed if make_file is io.BytesIO else file.is_closed)

    async with Client(app) as client:
        await client.request(method, "/", headers=headers)

    assert closed == [True]


async def test_a_file_object_is_closed_when_a_layer_replaces_the_answer():
    file = io.BytesIO(TEXT)
    app = make_app(lambda: FileResponse(file))

    @app.middleware
    async def replace(request, call_next):
        await call_next(request)
        return Response("other")

    async with Client(app) as client:
        response = await client.get("/")

    assert response.text == "other"
    assert file.closed


@pytest.mark.parametrize("spec_version", ["2.3", "2.5"])
async def test_a_client_that_leaves_ends_the_reading_and_closes_the_file(large, spec_version, caplog):
    app = make_app(lambda: FileResponse(large))

    async with Client(app, spec_version=spec_version) as client, client.exchange("GET", "/") as exchange:
        await exchange.response()
        assert is_open(large)
        exchange.disconnect()
        await exchange.wait_ended()

    assert not is_open(large)
    assert caplog.records == []


@pytest.mark.parametrize("spec_version", ["2.3", "2.5"])
async def test_nothing_is_read_for_a_client_that_left(spec_version):
    class Endless(Source):
        def read(self, size):
            return b"x" * size

    endless = Endless()
    app = make_app(lambda: FileResponse(endless))

    # The app would hang, which the client reports, if only the end of the file ended it.
    async with Client(app, spec_version=spec_version) as client, client.exchange("GET", "/") as exchange:
        await exchange.response()
        await anyio.wait_all_tasks_blocked()
        exchange.disconnect()

    assert endless.is_closed


async def test_a_cancelled_request_closes_the_file(large):
    app = make_app(lambda: FileResponse(large))
    was_open = []

    async with Client(app):
        with anyio.CancelScope() as scope:

            async def send(message):
                if message["type"] == "http.response.body":
                    was_open.append(is_open(large))
                    scope.cancel()
                    await anyio.sleep_forever()

            await app(make_scope(), anyio.sleep_forever, send)

    assert was_open == [True]
    assert not is_open(large)


async def test_a_request_that_is_cancelled_while_the_file_is_opened_leaves_nothing_open(large):
    app = make_app(lambda: FileResponse(large))

    async with Client(app):
        for _ in range(20):
            with anyio.move_on_after(0.0005):
                await app(make_scope(), anyio.sleep_forever, drop)

    assert not is_open(large)


async def drop(message):
    """A ``send`` to nobody."""


def make_scope(method="GET", **extensions):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
        "extensions": extensions,
    }


# Files that change -------------------------------------------------------------------------------


async def test_a_file_that_goes_away_before_the_answer_starts_is_404(path):
    app = make_app(lambda: FileResponse(path))

    @app.middleware
    async def delete(request, call_next):
        response = await call_next(request)
        path.unlink()
        return response

    async with Client(app) as client:
        response = await client.get("/")

    assert response.status_code == 404


async def test_a_file_is_read_ahead_if_it_is_still_the_same(path):
    def answer():
        response = FileResponse(path)
        response.read_ahead()
        return response

    def answer_changed():
        response = FileResponse(path, stat_result=Path(__file__).stat())
        response.read_ahead()
        return response

    assert (await fetch(answer)).content == TEXT
    assert (await fetch(answer, range="bytes=1-2")).content == b"12"
    assert (await fetch(answer_changed)).content == TEXT
    assert not is_open(path)


def test_a_file_that_went_away_cannot_be_read_ahead(path):
    response = FileResponse(path)
    path.unlink()

    with pytest.raises(NotFound):
        response.read_ahead()


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=1-2"}, {"range": "bytes=1-2,5-6"}])
async def test_a_file_that_is_replaced_before_the_answer_starts_is_sent_as_it_is_now(path, headers):
    app = make_app(lambda: FileResponse(path))
    before = []

    @app.middleware
    async def replace(request, call_next):
        response = await call_next(request)
        before.append(response.headers["etag"])
        other = path.with_name("other")
        other.write_bytes(b"another content")
        other.replace(path)
        return response

    async with Client(app) as client:
        response = await client.get("/", headers=headers)

    assert response.headers["etag"] != before[0]
    if headers == {}:
        assert (response.status_code, response.content) == (200, b"another content")
    elif "," not in headers["range"]:
        assert (response.status_code, response.content) == (206, b"no")
        assert response.headers["content-range"] == "bytes 1-2/15"
    else:
        assert [part[2] for part in read_parts(response)] == [b"no", b"er"]
        assert {part[0] for part in read_parts(response)} == {"text/plain; charset=utf-8"}


def replace_before_the_start(app, path):
    @app.after_request
    async def replace(response):
        other = path.with_name("other")
        other.write_bytes(b"another content")
        other.replace(path)


async def test_a_part_of_a_file_that_is_replaced_is_the_whole_of_it_where_the_client_has_another(path):
    etag = (await fetch(lambda: FileResponse(path))).headers["etag"]
    app = make_app(lambda: FileResponse(path))
    replace_before_the_start(app, path)

    async with Client(app) as client:
        response = await client.get("/", headers={"range": "bytes=1-2", "if-range": etag})

    assert (response.status_code, response.content) == (200, b"another content")
    assert "content-range" not in response.headers


async def test_a_file_that_is_replaced_before_the_answer_starts_keeps_its_status(path):
    app = make_app(lambda: FileResponse(path, status=404))
    replace_before_the_start(app, path)

    async with Client(app) as client:
        response = await client.get("/")

    assert (response.status_code, response.content) == (404, b"another content")


async def test_a_file_that_becomes_what_the_client_has_is_answered_304(path):
    app = make_app(lambda: FileResponse(path))
    later = path.stat().st_mtime_ns + 10_000_000_000

    @app.middleware
    async def touch(request, call_next):
        response = await call_next(request)
        os.utime(path, ns=(later, later))
        return response

    async with Client(app) as client:
        response = await client.get("/", headers={"if-none-match": f'"{later:x}-24"'})

    assert response.status_code == 304
    assert not is_open(path)


async def test_a_range_that_the_replaced_file_does_not_have_is_416(path):
    app = make_app(lambda: FileResponse(path))

    @app.middleware
    async def shorten(request, call_next):
        response = await call_next(request)
        path.write_bytes(b"short")
        return response

    async with Client(app) as client:
        response = await client.get("/", headers={"range": "bytes=20-21"})

    assert (response.status_code, response.headers["content-range"]) == (416, "bytes */5")


async def test_a_path_that_becomes_a_directory_is_404(path):
    app = make_app(lambda: FileResponse(path))

    @app.middleware
    async def replace(request, call_next):
        response = await call_next(request)
        path.unlink()
        path.mkdir()
        return response

    async with Client(app) as client:
        response = await client.get("/")

    assert response.status_code == 404


async def test_a_file_that_is_written_to_all_the_time_is_an_error(path):
    class Restless(FileResponse):
        def _look_again(self, request, seen):
            super()._look_again(request, seen)
            os.utime(path, ns=(0, seen.st_mtime_ns + 1))

    app = make_app(lambda: Restless(path, stat_result=Path(__file__).stat()))

    async with Client(app, raise_errors=False) as client:
        response = await client.get("/")

    assert response.status_code == 500
    assert not is_open(path)


async def test_a_file_that_shrinks_while_it_is_sent_breaks_the_connection(large, caplog):
    app = make_app(lambda: FileResponse(large))

    async with Client(app) as client:
        with pytest.raises(OSError, match="before it should"):
            async with client.stream("GET", "/") as response:
                async for _ in response.aiter_raw():
                    os.truncate(large, CHUNK + 5)

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert not is_open(large)


async def test_a_file_that_grows_while_it_is_sent_is_sent_as_long_as_it_was(large):
    app = make_app(lambda: FileResponse(large))
    size = large.stat().st_size
    received = 0

    async with Client(app) as client, client.stream("GET", "/") as response:
        async for chunk in response.aiter_raw():
            if not received:
                with large.open("ab") as file:
                    file.write(b"more" * 1000)
            received += len(chunk)

    assert received == size


async def test_a_disk_that_fails_before_the_start_is_a_500(caplog):
    source = Source(fail_after=0)

    async with Client(make_app(lambda: FileResponse(source)), raise_errors=False) as client:
        response = await client.get("/")

    assert response.status_code == 500
    assert len(caplog.records) == 1
    assert source.is_closed


async def test_a_disk_that_fails_after_the_start_breaks_the_connection_and_is_logged_once(caplog):
    source = Source(b"x" * (2 * CHUNK), fail_after=1)

    async with Client(make_app(lambda: FileResponse(source))) as client:
        with pytest.raises(OSError, match="on fire"):
            await client.get("/")

    assert len(caplog.records) == 1
    assert source.is_closed


# Beside other requests ---------------------------------------------------------------------------


async def test_a_file_is_served_while_every_view_thread_is_blocked(path):
    app = make_app(lambda: FileResponse(path), SYNC_THREADS=2)
    release, blocked = threading.Event(), threading.Semaphore(0)

    @app.get("/block")
    def block():
        blocked.release()
        release.wait(10)
        return "done"

    async with Client(app) as client, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(client.get, "/block")
        for _ in range(2):
            await anyio.to_thread.run_sync(blocked.acquire)
        response = await client.get("/")
        assert not release.is_set()
        release.set()

    assert response.content == TEXT


async def test_a_response_belongs_to_one_request(path):
    kept = FileResponse(path)

    async with Client(make_app(lambda: kept), raise_errors=False) as client:
        statuses = [(await client.get("/")).status_code for _ in range(2)]

    assert statuses == [200, 500]


# Layers that change the body ---------------------------------------------------------------------


def add_upper_case(app):
    @app.middleware
    async def upper_case(request, call_next):
        response = await call_next(request)
        inner = response.iterable

        async def larger():
            async for chunk in inner:
                yield chunk.upper() + b"!"

        response.iterable = larger()
        return response


@pytest.mark.parametrize("spec_version", ["2.3", "2.5"])
async def test_a_layer_may_wrap_the_bytes(path, spec_version):
    app = make_app(lambda: FileResponse(path))
    add_upper_case(app)

    async with Client(app, spec_version=spec_version) as client:
        response = await client.get("/")

    assert response.content == TEXT.upper() + b"!"
    assert "content-length" not in response.headers
    assert not is_open(path)


@pytest.mark.parametrize(
    ("method", "tag", "status"), [("HEAD", '"v0"', 200), ("HEAD", '"v1"', 304), ("GET", '"v1"', 304)]
)
async def test_of_a_wrapped_file_whose_bytes_are_not_asked_for_nothing_is_opened(path, method, tag, status):
    app = make_app(lambda: FileResponse(path, etag="v1"))

    @app.middleware
    async def delete(request, call_next):
        response = await call_next(request)
        path.unlink()
        return response

    add_upper_case(app)

    async with Client(app) as client:
        response = await client.request(method, "/", headers={"if-none-match": tag})

    assert (response.status_code, response.content) == (status, b"")
    assert "content-length" not in response.headers


async def test_a_length_that_a_layer_sets_is_kept(path):
    app = make_app(lambda: FileResponse(path))

    @app.middleware
    async def replace(request, call_next):
        response = await call_next(request)

        async def other():
            yield b"other"

        response.iterable = other()
        response.headers["content-length"] = 5
        return response

    async with Client(app) as client:
        response = await client.get("/")

    assert (response.content, response.headers["content-length"]) == (b"other", "5")


async def test_a_wrapped_file_that_went_away_is_404(path):
    app = make_app(lambda: FileResponse(path))

    @app.middleware
    async def delete(request, call_next):
        response = await call_next(request)
        path.unlink()
        return response

    add_upper_case(app)

    async with Client(app) as client:
        response = await client.get("/")

    assert response.status_code == 404


# http.response.pathsend --------------------------------------------------------------------------


async def send_messages(app, method="GET", headers=(), extensions=("http.response.pathsend",)):
    messages = []

    async def send(message):
        messages.append(message)

    scope = make_scope(method, **{name: {} for name in extensions})
    await app({**scope, "headers": list(headers)}, anyio.sleep_forever, send)
    return messages


async def test_the_server_sends_a_whole_file_by_itself_if_it_can(path):
    messages = await send_messages(make_app(lambda: FileResponse(path)))

    assert messages[0]["status"] == 200
    assert dict(messages[0]["headers"])[b"content-length"] == b"36"
    assert messages[1:] == [{"type": "http.response.pathsend", "path": str(path)}]


async def test_the_path_for_the_server_is_absolute(path, monkeypatch):
    monkeypatch.chdir(path.parent)

    messages = await send_messages(make_app(lambda: FileResponse("letters.txt")))

    assert messages[1]["path"] == str(path)


@pytest.mark.parametrize(
    ("method", "headers"),
    [("HEAD", []), ("GET", [(b"range", b"bytes=0-1")]), ("GET", [(b"if-none-match", b'"v1"')])],
)
async def test_the_server_is_given_no_path_for_less_than_the_whole(path, method, headers):
    messages = await send_messages(make_app(lambda: FileResponse(path, etag="v1")), method, headers)

    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]


async def test_the_server_is_given_no_path_of_a_wrapped_file_or_an_object(path):
    wrapped = make_app(lambda: FileResponse(path))
    add_upper_case(wrapped)

    for app in (wrapped, make_app(lambda: FileResponse(io.BytesIO(TEXT)))):
        messages = await send_messages(app)
        assert {message["type"] for message in messages} == {"http.response.start", "http.response.body"}


async def test_zero_copy_is_not_used(path):
    messages = await send_messages(make_app(lambda: FileResponse(path)), extensions=["http.response.zerocopysend"])

    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]


async def test_a_client_gets_the_file_by_either_way(large):
    extensions = {"http.response.pathsend": {}}

    async with Client(make_app(lambda: FileResponse(large)), extensions=extensions) as client:
        response = await client.get("/")

    assert response.content == large.read_bytes()


@pytest.mark.parametrize("ranges", ["bytes=0-3", "bytes=0-3,8-9"])
@pytest.mark.parametrize("when", ["in the view", "afterwards"])
async def test_of_a_body_that_is_set_on_a_file_nothing_is_said_that_holds_for_the_file(path, when, ranges):
    app = App(__name__)

    @app.get("/")
    async def view():
        response = FileResponse(path)
        if when == "in the view":
            response.body = "replaced"
        return response

    @app.after_request
    async def replace(response):
        if when == "afterwards":
            response.body = "replaced"

    async with Client(app) as client:
        response = await client.get("/", headers={"range": ranges})

    assert (response.status_code, response.text) == (200, "replaced")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert not {"accept-ranges", "content-range", "etag", "last-modified"} & set(response.headers)


async def test_a_body_that_is_set_on_a_file_leaves_its_status(path):
    def answer():
        response = FileResponse(path, status=404)
        response.body = "replaced"
        return response

    response = await fetch(answer)

    assert (response.status_code, response.text) == (404, "replaced")
