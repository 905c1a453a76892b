"""Parameters at the edges of what their places can carry; what binding does with them is in ``test_binding.py``."""

from typing import Annotated

import msgspec
import pytest

from microweb import App, Form, Header, Query, SyncUploadFile, UploadFile
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def call(view, method="GET", url="/", **request):
    app = App(__name__)
    app.add_route("/", view, methods=[method])
    async with Client(app) as client:
        return await client.request(method, url, **request)


@pytest.mark.parametrize(
    "headers",
    [
        [("x-id", "1"), ("x-id", "2"), ("x-id", "3")],
        [("x-id", "1, 2,3")],
        [("x-id", "1,, 2"), ("x-id", ""), ("x-id", ",3,")],
    ],
)
async def test_a_list_in_a_header_may_be_lines_or_have_commas(headers):
    async def view(x_id: Annotated[list[int], Header()]):
        return x_id

    assert (await call(view, headers=headers)).json() == [1, 2, 3]


async def test_an_empty_header_is_an_empty_list_and_so_a_missing_one():
    async def view(x_id: Annotated[list[int], Header()] = [7]):  # noqa: B006 - never changed
        return x_id

    assert (await call(view, headers={"x-id": ""})).json() == [7]


async def test_a_list_in_a_struct_of_headers_may_have_commas_and_a_text_too():
    class Marks(msgspec.Struct):
        x_id: list[int]
        x_text: str

    async def view(marks: Annotated[Marks, Header()]):
        return {"id": marks.x_id, "text": marks.x_text}

    assert (await call(view, headers={"x-id": "1, 2", "x-text": "a, b"})).json() == {"id": [1, 2], "text": "a, b"}


@pytest.mark.parametrize("word", ["on", "Yes", "true", "1"])
async def test_a_check_box_in_a_struct_of_fields_is_a_boolean(word):
    class Sign(msgspec.Struct):
        agreed: bool = False

    async def view(sign: Annotated[Sign, Form()]):
        return [sign.agreed]

    assert (await call(view, "POST", data={"agreed": word})).json() == [True]


@pytest.mark.parametrize("kind", [UploadFile, UploadFile | None, list[UploadFile]])
async def test_text_where_a_file_is_expected_is_refused(kind):
    async def view(photo: kind = None):
        return ""

    answer = await call(view, "POST", data={"photo": "hat.png"})

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"in": "form", "name": "photo", "reason": "expected a file, got text"}]


async def test_an_empty_text_where_a_file_is_expected_is_none():
    def view(photo: SyncUploadFile | None = None):
        return [photo]

    assert (await call(view, "POST", data={"photo": ""})).json() == [None]


async def test_one_file_may_not_be_two():
    async def view(photo: UploadFile):
        return photo.filename

    files = [("photo", ("a.txt", b"1")), ("photo", ("b.txt", b"2"))]
    answer = await call(view, "POST", files=files)

    assert answer.json()["errors"] == [{"in": "form", "name": "photo", "reason": "is given more than once"}]
    assert (await call(view, "POST", files=files[:1])).text == "a.txt"


async def test_a_value_that_is_no_list_may_not_be_repeated_in_a_query():
    async def view(page: int = 1, tag: str = ""):
        return [page, tag]

    answer = await call(view, url="/?page=1&page=2&tag=a&tag=a")

    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"in": "query", "name": "page", "reason": "is given more than once"},
        {"in": "query", "name": "tag", "reason": "is given more than once"},
    ]


async def test_a_field_of_a_struct_may_not_be_repeated_in_a_query():
    class Window(msgspec.Struct):
        page: int = 1
        tags: list[str] = []

    async def view(window: Annotated[Window, Query()]):
        return [window.page, window.tags]

    assert (await call(view, url="/?page=2&tags=a&tags=b")).json() == [2, ["a", "b"]]
    answer = await call(view, url="/?page=2&page=2")

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"in": "query", "name": "page", "reason": "is given more than once"}]
