"""DECODE_REQUEST_BODIES: compressed bodies through the app, decoded within the limit, or refused."""

import contextlib
import gzip
import json
import zlib

import pytest

from microweb import App, Request, SyncRequest
from microweb.errors import UnsupportedMediaType
from microweb.testing import Client

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json", "content-encoding": "gzip"}


def app_that_reads(**config):
    app = App(__name__, config={"DECODE_REQUEST_BODIES": True, **config})

    @app.post("/json")
    async def read_json(request: Request):
        return await request.json()

    @app.post("/body")
    async def read_body(request: Request):
        return await request.body()

    @app.post("/stream")
    async def read_stream(request: Request):
        return b"".join([chunk async for chunk in request.stream()])

    @app.post("/form")
    async def read_form(request: Request):
        return (await request.form()).to_dict()

    @app.post("/def")
    def read_in_thread(request: SyncRequest):
        return request.json

    return app


async def pieces(body, size):
    for place in range(0, len(body), size):
        yield body[place : place + size]


@pytest.mark.parametrize("path", ["/json", "/body", "/stream", "/def"])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_body_is_decoded_for_every_reader(path, coding):
    content = json.dumps({"a": [1, 2, 3]}).encode()
    body = gzip.compress(content) if coding == "gzip" else zlib.compress(content)

    async with Client(app_that_reads()) as client:
        for sent in (body, pieces(body, 3)):
            answer = await client.post(path, content=sent, headers={**JSON, "content-encoding": coding})

            assert answer.json() == {"a": [1, 2, 3]}


async def test_a_compressed_form_is_decoded():
    headers = {"content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"}

    async with Client(app_that_reads()) as client:
        answer = await client.post("/form", content=gzip.compress(b"a=1"), headers=headers)

    assert answer.json() == {"a": "1"}


@pytest.mark.parametrize("path", ["/json", "/body", "/stream", "/form", "/def"])
async def test_it_is_off_by_default(path):
    app = app_that_reads(DECODE_REQUEST_BODIES=False)
    headers = {**JSON} if path != "/form" else {**JSON, "content-type": "application/x-www-form-urlencoded"}

    async with Client(app) as client:
        answer = await client.post(path, content=gzip.compress(b"{}"), headers=headers)

    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert "DECODE_REQUEST_BODIES" in answer.json()["detail"]


async def test_identity_is_no_coding():
    async with Client(app_that_reads(DECODE_REQUEST_BODIES=False)) as client:
        for path in ("/json", "/stream"):
            answer = await client.post(path, content=b"{}", headers={**JSON, "content-encoding": "identity"})

            assert answer.json() == {}


@pytest.mark.parametrize("path", ["/json", "/body", "/stream"])
async def test_the_limit_counts_what_a_bomb_becomes(path):
    bomb = gzip.compress(b" " * 1_000_000)

    async with Client(app_that_reads(MAX_CONTENT_LENGTH=100_000)) as client:
        answer = await client.post(path, content=bomb, headers=JSON)

    assert len(bomb) < 2000
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/json", "/body", "/stream", "/def"])
async def test_a_cut_or_damaged_coding_is_a_400(path):
    body = gzip.compress(b'{"a": 1}')

    async with Client(app_that_reads()) as client:
        for sent in (body[:-1], body[:10], body + b"x", b"{}", b"\x1f\x8b" + body):
            assert (await client.post(path, content=sent, headers=JSON)).status_code == 400


async def test_two_lines_of_codings_are_two_codings():
    async with Client(app_that_reads()) as client:
        headers = [("content-type", "application/json"), ("content-encoding", "gzip"), ("content-encoding", "gzip")]
        answer = await client.post("/json", content=gzip.compress(gzip.compress(b"{}")), headers=headers)

    assert answer.status_code == 415


async def test_a_route_may_switch_it_on_for_itself():
    app = App(__name__)

    @app.post("/on", decode_request_bodies=True)
    async def on(request: Request):
        return await request.json()

    @app.post("/off")
    async def off(request: Request):
        return await request.json()

    async with Client(app) as client:
        assert (await client.post("/on", content=gzip.compress(b"{}"), headers=JSON)).status_code == 200
        assert (await client.post("/off", content=gzip.compress(b"{}"), headers=JSON)).status_code == 415


async def test_who_asks_again_for_a_refused_body_gets_the_same_answer():
    app = App(__name__)

    @app.post("/")
    async def read(request: Request):
        try:
            await request.body()
        except Exception as error:
            first = str(error)
        try:
            await request.body()
        except Exception as error:
            return {"same": first == str(error)}

    async with Client(app) as client:
        assert (await client.post("/", content=b"x", headers=JSON)).json() == {"same": True}


async def test_who_asks_again_for_a_refused_body_is_told_what_is_taken_too():
    app = App(__name__)

    @app.post("/")
    async def read(request: Request):
        with contextlib.suppress(UnsupportedMediaType):
            await request.body()
        return await request.body()

    async with Client(app) as client:
        answer = await client.post("/", content=b"x", headers=JSON)

    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")


async def test_who_asks_again_for_a_refused_form_is_told_what_is_taken_too():
    app = App(__name__)

    @app.post("/")
    async def read(request: Request):
        with contextlib.suppress(UnsupportedMediaType):
            await request.form()
        return await request.form()

    headers = {"content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip"}
    async with Client(app) as client:
        answer = await client.post("/", content=b"x", headers=headers)

    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("length", ["abc", "999999999999"])
async def test_a_declared_length_is_checked_for_a_compressed_body_too(length):
    async with Client(app_that_reads()) as client:
        request = client.build_request("POST", "/body", content=b"x", headers=JSON)
        request.headers["content-length"] = length
        answer = await client.send(request)

    assert answer.status_code in (400, 413)


async def test_a_mounted_app_gets_the_decoded_body_without_the_coding():
    app = App(__name__, config={"DECODE_REQUEST_BODIES": True})
    seen = {}

    @app.before_request
    async def read_first(request: Request):
        await request.body()

    async def inner(scope, receive, send):
        seen["headers"] = dict(scope["headers"])
        seen["body"] = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    app.mount("/inner", inner)
    async with Client(app, lifespan=False) as client:
        await client.post("/inner/", content=gzip.compress(b"hello"), headers=JSON)

    assert seen["body"] == b"hello"
    assert b"content-encoding" not in seen["headers"]
    assert seen["headers"][b"content-length"] == b"5"
