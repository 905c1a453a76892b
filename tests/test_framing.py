"""Tests of ``microweb.framing``: one length and no bytes where none may be, whatever a view says."""

import pytest

from microweb import App, Response, StreamingResponse
from microweb.framing import LengthLines
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def answer_to(returned, method: str = "GET"):
    """The answer to a view that returns ``returned()``."""
    app = App(__name__)

    @app.get("/")
    async def view():
        return returned()

    async with Client(app) as client:
        return await client.request(method, "/")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", [Response, lambda body, status: StreamingResponse([body], status)])
@pytest.mark.parametrize(("status", "length"), [(204, None), (304, None), (205, "0")])
async def test_bodyless_statuses_carry_no_body(status, length, kind, method):
    response = await answer_to(lambda: kind("body", status), method)

    assert response.content == b""
    assert response.headers.get("content-length") == length
    assert "content-type" not in response.headers


def test_the_lines_of_small_bodies_alone_are_kept():
    lines = LengthLines()

    assert [lines[length] for length in (3, 1023, 1024)] == [
        (b"content-length", b"3"),
        (b"content-length", b"1023"),
        (b"content-length", b"1024"),
    ]
    assert list(lines) == [3, 1023]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_304_says_nothing_of_a_content_that_a_cache_has_kept(method):
    headers = {"content-language": "de", "content-encoding": "gzip", "content-location": "/x", "etag": '"1"'}

    response = await answer_to(lambda: ("", 304, headers), method)

    assert set(response.headers) == {"content-location", "etag"}


async def test_head_has_the_length_of_get_and_no_body():
    response = await answer_to(lambda: "twelve bytes", "HEAD")

    assert (response.content, response.headers["content-length"]) == (b"", "12")


async def test_head_may_state_a_length_of_its_own():
    response = await answer_to(lambda: Response(b"", headers={"content-length": "99"}), "HEAD")

    assert response.headers["content-length"] == "99"


@pytest.mark.parametrize("body", [b"", b"abc"])
async def test_a_wrong_content_length_is_corrected(body):
    response = await answer_to(lambda: Response(body, headers={"content-length": "99"}))

    assert (response.content, response.headers["content-length"]) == (body, str(len(body)))


async def test_bytes_in_the_place_of_a_stream_do_not_have_its_length():
    def replaced():
        response = StreamingResponse([b"0123456789"], headers={"content-length": "10"})
        response.data = b"abc"
        return response

    response = await answer_to(replaced)

    assert (response.content, response.headers.get("content-length")) == (b"abc", None)


@pytest.mark.parametrize(("kind", "body"), [(Response, b"abc"), (StreamingResponse, [b"abc"])])
async def test_an_answer_has_one_framing_only(kind, body):
    response = await answer_to(lambda: kind(body, headers={"transfer-encoding": "chunked"}))

    assert response.content == b"abc"
    assert "transfer-encoding" not in response.headers
    assert response.headers.get("content-length") == ("3" if kind is Response else None)
