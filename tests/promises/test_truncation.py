"""Promise 4: a body that is cut or malformed is never presented as complete, whoever reads it and wherever it is cut."""

import gzip
import json
from typing import Annotated

import anyio
import msgspec
import pytest

from microweb import App, Body, Form, MessagePack, SyncRequest, UploadFile
from microweb.testing import Client

pytestmark = pytest.mark.anyio


class Order(msgspec.Struct):
    customer: str
    lines: list[int]


ORDER = {"customer": "Ada Lovelace", "lines": [1, 22, 333]}
AS_JSON = json.dumps(ORDER).encode()
PACKED = msgspec.msgpack.encode(ORDER)
FORM = b"customer=Ada+Lovelace&lines=1&lines=22"
MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="customer"\r\n\r\nAda\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ncontent\r\n--b--\r\n'
)
COMPRESSED = gzip.compress(AS_JSON, mtime=0)

JSON_TYPE = {"content-type": "application/json"}
PACKED_TYPE = {"content-type": "application/msgpack"}
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART_TYPE = {"content-type": "multipart/form-data; boundary=b"}
COMPRESSED_TYPE = {**JSON_TYPE, "content-encoding": "gzip"}

READERS = {
    "/body": (AS_JSON, JSON_TYPE),
    "/text": (AS_JSON, JSON_TYPE),
    "/json": (AS_JSON, JSON_TYPE),
    "/typed": (AS_JSON, JSON_TYPE),
    "/typed-def": (AS_JSON, JSON_TYPE),
    "/packed": (PACKED, PACKED_TYPE),
    "/compressed": (COMPRESSED, COMPRESSED_TYPE),
    "/stream": (AS_JSON, JSON_TYPE),
    "/form": (FORM, FORM_TYPE),
    "/form-def": (FORM, FORM_TYPE),
    "/fields": (FORM, FORM_TYPE),
    "/files": (MULTIPART, MULTIPART_TYPE),
    "/upload": (MULTIPART, MULTIPART_TYPE),
    "/parts": (MULTIPART, MULTIPART_TYPE),
}
SELF_DELIMITING = ["/json", "/typed", "/typed-def", "/packed", "/compressed", "/files", "/upload", "/parts"]
"""Those whose bodies say themselves where they end."""


def make_app(complete):
    """An app whose views note that they have a whole body."""
    app = App(__name__, config={"DECODE_REQUEST_BODIES": True}, static_folder=None)
    app.representations["application/msgpack"] = MessagePack()

    def note(value):
        complete.append(value)
        return "read"

    @app.post("/body")
    async def body(request):
        return note(await request.body())

    @app.post("/text")
    async def text(request):
        return note(await request.text())

    @app.post("/json")
    @app.post("/compressed", endpoint="compressed")
    async def read_json(request):
        return note(await request.json())

    @app.post("/typed")
    @app.post("/packed", endpoint="packed")
    async def typed(order: Annotated[Order, Body()]):
        return note(order)

    @app.post("/typed-def")
    def typed_def(order: Order):
        return note(order)

    @app.post("/stream")
    async def stream(request):
        return note([chunk async for chunk in request.stream()])

    @app.post("/form")
    async def form(request):
        return note(await request.form())

    @app.post("/form-def")
    def form_def(request: SyncRequest):
        return note(request.form)

    @app.post("/fields")
    async def fields(order: Annotated[Order, Form()]):
        return note(order)

    @app.post("/files")
    async def files(request):
        return note(await request.files())

    @app.post("/upload")
    async def upload(file: UploadFile):
        return note(await file.read())

    @app.post("/parts")
    async def parts(request):
        return note([await part.read() async for part in request.parts()])

    return app


@pytest.mark.parametrize("path", READERS)
async def test_what_is_whole_is_read(path):
    body, headers = READERS[path]
    complete = []

    async with Client(make_app(complete)) as client:
        answer = await client.post(path, content=body, headers=headers)

    assert (answer.text, len(complete)) == ("read", 1)


@pytest.mark.parametrize("path", SELF_DELIMITING)
async def test_a_body_that_was_cut_at_any_byte_is_a_400(path):
    body, headers = READERS[path]
    complete, statuses = [], set()
    # What follows the last boundary is no part of a form.
    end = len(body) - 2 if headers is MULTIPART_TYPE else len(body)

    async with Client(make_app(complete)) as client:
        for cut in range(end):
            statuses.add((await client.post(path, content=body[:cut], headers=headers)).status_code)

    assert statuses == {400}
    assert complete == []


@pytest.mark.parametrize("path", READERS)
async def test_a_client_that_leaves_inside_its_body_is_not_taken_for_one_that_ended_it(path):
    body, headers = READERS[path]
    complete = []

    async with Client(make_app(complete)) as client:
        for cut in (0, 1, len(body) // 2, len(body) - 1):
            sent = anyio.Event()

            async def send_and_stop(part=body[:cut], sent=sent):
                yield part
                sent.set()
                await anyio.sleep_forever()

            async with client.exchange("POST", path, content=send_and_stop(), headers=headers) as request:
                await sent.wait()
                request.disconnect()
                await request.wait_ended()

    assert complete == []


@pytest.mark.parametrize("path", [path for path in SELF_DELIMITING if READERS[path][1] is not MULTIPART_TYPE])
async def test_a_body_with_something_behind_its_end_is_a_400(path):
    body, headers = READERS[path]
    complete = []

    async with Client(make_app(complete)) as client:
        for rest in (b"x", b"\x00", body[:1]):
            assert (await client.post(path, content=body + rest, headers=headers)).status_code == 400

    assert complete == []
