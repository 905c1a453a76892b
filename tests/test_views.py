"""Views as classes."""

import pytest

from microweb import App, MethodView, request
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def test_each_verb_has_its_method_async_or_not():
    class Entry(MethodView):
        """One entry."""

        def __init__(self, store):
            self.store = store

        async def get(self, id):
            return self.store.get(id, "nothing")

        async def put(self, id):
            self.store[id] = (await request.body()).decode()
            return "", 204

    class Plain(MethodView):
        def get(self):
            return type(request._get_current_object()).__name__

    app = App(__name__)
    app.add_route("/entry/<int:id>", Entry.as_view("entry", {}))
    app.add_route("/plain", Plain.as_view("plain"))

    async with Client(app) as client:
        assert (await client.put("/entry/1", content=b"text")).status_code == 204
        assert (await client.get("/entry/1")).text == "text"
        assert (await client.head("/entry/1")).headers["content-length"] == "4"
        assert (await client.delete("/entry/1")).headers["allow"] == "GET, HEAD, OPTIONS, PUT"
        assert (await client.get("/plain")).text == "SyncRequest"
    assert app.url_for("entry", id=3) == "/entry/3"


async def test_decorators_and_one_instance_for_all_requests():
    made = []

    def shout(view):
        async def loud(**values):
            return (await view(**values)).upper()

        return loud

    class Home(MethodView):
        decorators = [shout]
        init_every_request = False

        def __init__(self):
            made.append(self)

        async def get(self):
            return "home"

    app = App(__name__)
    app.add_route("/", Home.as_view("home"))

    async with Client(app) as client:
        for _ in range(2):
            assert (await client.get("/")).text == "HOME"
    assert len(made) == 1


def test_a_class_without_methods_or_with_mixed_ones_is_refused():
    class Empty(MethodView):
        pass

    class Mixed(MethodView):
        def get(self):
            pass

        async def post(self):
            pass

    with pytest.raises(TypeError, match="no method"):
        Empty.as_view("empty")
    with pytest.raises(TypeError, match="mixes"):
        Mixed.as_view("mixed")
