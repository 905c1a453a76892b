"""REST: four views on one path, and the same as a class and as a resource."""

import pytest

from microweb import App, MethodView, abort, request
from microweb.ext.rest import Api, Resource
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def make_functions() -> App:
    app, items = App(__name__), {}

    @app.get("/items/<int:id>")
    def read(id):
        return items.get(id) or abort(404)

    @app.put("/items/<int:id>")
    async def write(id):
        items[id] = await request.json()
        return items[id], 201

    @app.delete("/items/<int:id>")
    def remove(id):
        items.pop(id, None)
        return "", 204

    @app.post("/items")
    def create():
        id = len(items) + 1
        items[id] = request.json
        return {"id": id}, 201

    return app


def make_item(base: type, items: dict[int, object]) -> type:
    """The class of one item: the same methods in Flask's views and in a resource."""

    class Item(base):
        def get(self, id):
            return items.get(id) or abort(404)

        def put(self, id):
            items[id] = request.json
            return items[id], 201

        def delete(self, id):
            items.pop(id, None)
            return "", 204

    return Item


def make_class() -> App:
    app, items = App(__name__), {}

    class Items(MethodView):
        async def post(self):
            id = len(items) + 1
            items[id] = await request.json()
            return {"id": id}, 201

    app.add_route("/items/<int:id>", make_item(MethodView, items).as_view("item"))
    app.add_route("/items", Items.as_view("items"))
    return app


def make_resource() -> App:
    app, items = App(__name__), {}
    api = Api(app)

    class Items(Resource):
        def post(self):
            id = len(items) + 1
            items[id] = request.json
            return {"id": id}, 201

    api.add_resource(make_item(Resource, items), "/items/<int:id>")
    api.add_resource(Items, "/items")
    return app


@pytest.mark.parametrize("make_app", [make_functions, make_class, make_resource])
async def test_an_item_lives_and_dies(make_app):
    async with Client(make_app()) as client:
        assert (await client.post("/items", json={"name": "a"})).json() == {"id": 1}
        assert (await client.get("/items/1")).json() == {"name": "a"}
        assert (await client.put("/items/1", json={"name": "b"})).status_code == 201
        assert (await client.get("/items/1")).json() == {"name": "b"}
        assert (await client.delete("/items/1")).status_code == 204
        assert (await client.get("/items/1")).status_code == 404
        assert (await client.patch("/items/1")).headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
