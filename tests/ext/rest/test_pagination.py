"""Pages, their links, and what a client may ask for."""

import re

import pytest

from microweb import App
from microweb.ext.rest import Api, CursorWindow, PageWindow, Resource, paginate
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def make_app():
    app = App(__name__)
    api = Api(app)

    @api.resource("/numbers")
    class Numbers(Resource):
        async def get(self):
            page = paginate(range(45), per_page=10, max_per_page=20)
            return list(page.items), 200, page.headers

    @api.resource("/uncounted")
    class Uncounted(Resource):
        def get(self):
            window = PageWindow(per_page=2, page_name="p")
            page = window.page_of([1, 2, 3][window.offset : window.offset + window.limit])
            return page.items, 200, page.headers

    @api.resource("/cursors")
    class Cursors(Resource):
        async def get(self):
            window = CursorWindow(per_page=2)
            after = window.after if isinstance(window.after, int) else 0
            items = [number for number in range(1, 6) if number > after][: window.limit]
            page = window.page_of(items, next=items[-1] if items[-1] < 5 else None)
            return page.items, 200, page.headers

    return app


def links_of(response):
    found = re.findall(r'<(.*?)>; rel="(\w+)"', response.headers["link"])
    return {relation: url for url, relation in found}


async def read_list(url):
    """The items of all pages, from one link to the next."""
    seen = []
    async with Client(make_app()) as client:
        while url:
            response = await client.get(url)
            seen += response.json()
            url = links_of(response).get("next") if "link" in response.headers else None
    return seen


async def test_a_page_has_links_to_the_others():
    async with Client(make_app()) as client:
        response = await client.get("/numbers?page=2&tag=a&tag=b")

    assert response.json() == list(range(10, 20))
    assert response.headers["x-total-count"] == "45"
    assert links_of(response) == {
        "first": "/numbers?tag=a&tag=b&page=1&per_page=10",
        "prev": "/numbers?tag=a&tag=b&page=1&per_page=10",
        "next": "/numbers?tag=a&tag=b&page=3&per_page=10",
        "last": "/numbers?tag=a&tag=b&page=5&per_page=10",
    }


async def test_the_links_lead_through_the_whole_list():
    assert await read_list("/numbers?per_page=20") == list(range(45))


async def test_a_page_beyond_the_end_is_empty_and_leads_back():
    async with Client(make_app()) as client:
        response = await client.get("/numbers?page=99")

    assert response.json() == []
    assert links_of(response)["prev"].endswith("page=5&per_page=10")
    assert "next" not in links_of(response)


async def test_without_a_total_a_full_page_has_a_next_one():
    async with Client(make_app()) as client:
        full = await client.get("/uncounted")
        rest = await client.get(links_of(full)["next"])

    assert (full.json(), rest.json()) == ([1, 2], [3])
    assert "x-total-count" not in full.headers
    assert sorted(links_of(rest)) == ["first", "prev"]


@pytest.mark.parametrize(
    "query", ["page=0", "page=-1", "page=x", "page=1e3", "page=", "per_page=0", "per_page=21", "page=" + "9" * 5000]
)
async def test_a_number_that_is_out_of_range_is_a_422_that_names_it(query):
    async with Client(make_app()) as client:
        response = await client.get(f"/numbers?{query}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["name"] == query.partition("=")[0]


async def test_a_link_holds_nothing_that_could_end_it():
    async with Client(make_app()) as client:
        response = await client.get("/numbers?q=%3E;%20rel=%22evil%22,%0D%0Ax:y&%3E=%22")

    assert response.headers["link"].count(">") == response.headers["link"].count("<") == 3
    assert "evil%22" in response.headers["link"]
    assert "\n" not in response.headers["link"]


async def test_cursors_lead_through_the_whole_list():
    assert await read_list("/cursors") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("cursor", ["!", "x", "ä", "W1tb", "A" * 2000, "%00", "WzE", "_-"])
async def test_a_cursor_that_is_none_is_refused(cursor):
    async with Client(make_app()) as client:
        response = await client.get(f"/cursors?cursor={cursor}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["name"] == "cursor"


async def test_a_cursor_nested_as_deep_as_it_may_be_long_is_no_500():
    from base64 import urlsafe_b64encode

    async with Client(make_app()) as client:
        response = await client.get(f"/cursors?cursor={urlsafe_b64encode(b'[' * 700).decode()}")

    assert response.status_code == 422
