"""Resources: how they are registered, bound, represented, and seen by documents."""

from typing import Annotated

import msgspec
import pytest

from microweb import App, Depends, JSONResponse, MessagePack, Query, Response, Router, SetupError
from microweb.errors import FrozenError
from microweb.ext.rest import Api, Resource
from microweb.testing import Client

pytestmark = pytest.mark.anyio


class Todo(msgspec.Struct):
    task: str


class StoredTodo(Todo):
    secret: str = "inside"


class Echo(Resource):
    async def get(self):
        return {"echo": True}


def make_app(resource, *paths, **options):
    app = App(__name__)
    Api(app, **options).add_resource(resource, *(paths or ("/",)))
    return app


async def test_parameters_are_bound_by_the_signature_of_each_verb():
    class Todos(Resource):
        async def get(self, page: int = 1, tags: Annotated[list[str], Query("tag")] = ()):
            return {"page": page, "tags": tags}

        def post(self, todo: Todo):
            return todo, 201

    async with Client(make_app(Todos)) as client:
        assert (await client.get("/?page=2&tag=a&tag=b")).json() == {"page": 2, "tags": ["a", "b"]}
        assert (await client.post("/", json={"task": "x"})).json() == {"task": "x"}
        refused = await client.post("/", json={"task": 1}, headers={"accept": "text/html"})
        assert refused.status_code == 422
        assert refused.json()["errors"] == [{"in": "body", "name": "task", "reason": "expected str, got int"}]


async def test_dependencies_are_called_before_a_verb():
    async def find_user():
        return "ada"

    class Me(Resource):
        async def get(self, user: Annotated[str, Depends(find_user)]):
            return {"user": user}

    async with Client(make_app(Me)) as client:
        assert (await client.get("/")).json() == {"user": "ada"}


async def test_a_return_annotation_filters_what_leaves():
    class Todos(Resource):
        async def get(self) -> Todo:
            return StoredTodo("x")

        def post(self) -> list[Todo]:
            return [StoredTodo("y")]

        def put(self) -> Todo:
            return StoredTodo("z"), 201

    async with Client(make_app(Todos)) as client:
        assert (await client.get("/")).json() == {"task": "x"}
        assert (await client.post("/")).json() == [{"task": "y"}]
        assert (await client.put("/")).json() == {"task": "z"}


async def test_every_verb_has_a_plan_of_its_own():
    class Todos(Resource):
        async def get(self, page: int = 1) -> list[Todo]:
            """List them."""
            return []

        async def post(self, todo: Todo) -> Todo:
            """Add one."""
            return todo

    app = make_app(Todos, "/todos")
    async with Client(app):
        plans = {
            next(iter(target.route.methods)): target.plan
            for target in app.assembly.targets
            if target.endpoint == "todos"
        }

    assert [parameter.name for parameter in plans["GET"].parameters] == ["page"]
    assert [parameter.place for parameter in plans["POST"].parameters] == ["body"]
    assert (plans["GET"].returns, plans["POST"].returns) == (list[Todo], Todo)
    assert (plans["GET"].original.__doc__, plans["POST"].original.__doc__) == ("List them.", "Add one.")


@pytest.mark.parametrize(
    ("value", "body"),
    [("text", '"text"'), (None, "null"), (3, "3"), ([1, 2], "[1,2]"), (True, "true"), ({}, "{}"), ((), "[]")],
)
async def test_any_data_is_json(value, body):
    class Data(Resource):
        async def get(self):
            return value

    async with Client(make_app(Data)) as client:
        response = await client.get("/")

    assert (response.text, response.headers["content-type"]) == (body, "application/json")


async def test_responses_and_streams_are_answers_as_they_are():
    class Mixed(Resource):
        async def get(self):
            return Response("<p>hello</p>")

        def post(self):
            return JSONResponse({"a": 1}), 201

        async def put(self):
            yield b"chunk"

    async with Client(make_app(Mixed)) as client:
        assert (await client.get("/")).text == "<p>hello</p>"
        assert (await client.post("/")).status_code == 201
        assert (await client.put("/")).content == b"chunk"


async def test_a_class_is_made_for_each_request_with_its_arguments():
    class Counter(Resource):
        def __init__(self, store, *, step):
            self.store, self.step = store, step

        def post(self):
            self.store.append(self.step)
            return self.store

    app = App(__name__)
    Api(app).add_resource(Counter, "/", resource_class_args=([],), resource_class_kwargs={"step": 2})

    async with Client(app) as client:
        await client.post("/")
        assert (await client.post("/")).json() == [2, 2]


async def test_a_prefix_and_an_endpoint():
    app = App(__name__)
    api = Api(app, prefix="/v1")
    api.add_resource(Echo, "/echo", "/echo/<int:id>", endpoint="sound")

    with app.app_context():
        assert api.url_for(Echo) == "/v1/echo"
        assert api.url_for(Echo, id=3) == "/v1/echo/3"
    async with Client(app) as client:
        assert (await client.get("/v1/echo")).json() == {"echo": True}


async def test_an_api_may_get_its_app_later():
    api, app = Api(prefix="/v1"), App(__name__)

    @api.resource("/early")
    class Early(Resource):
        def get(self):
            return "early"

    api.init_app(app)

    @api.resource("/late")
    class Late(Resource):
        def get(self):
            return "late"

    async with Client(app) as client:
        assert (await client.get("/v1/early")).json() == "early"
        assert (await client.get("/v1/late")).json() == "late"
    assert app.extensions["rest"] == [api]


async def test_an_api_on_a_router_is_mounted_with_it():
    app, router = App(__name__), Router("shop", __name__, prefix="/shop")
    api = Api(router)

    @api.resource("/carts/<int:id>")
    class Cart(Resource):
        def get(self, id):
            return {"self": api.url_for(Cart, id=id)}

    app.mount("", router)

    async with Client(app) as client:
        assert (await client.get("/shop/carts/3")).json() == {"self": "/shop/carts/3"}
        missing = await client.get("/shop/nothing", headers={"accept": "text/html"})
        assert missing.headers["content-type"] == "application/problem+json"
    with app.app_context():
        assert api.url_for(Cart, id=1) == "/shop/carts/1"


async def test_decorators_see_data_inside_and_answers_outside():
    def note(what):
        def decorate(view):
            async def noting(*args, **values):
                value = await view(*args, **values)
                seen.append((what, type(value).__name__))
                return value

            return noting

        return decorate

    class Noted(Resource):
        decorators = [note("class")]
        method_decorators = {"get": [note("method")]}

        async def get(self, id):
            return {"id": id}

        async def post(self, id):
            return {"id": id}

    seen = []
    app = make_app(Noted, "/<int:id>", decorators=[note("api")])

    async with Client(app) as client:
        assert (await client.get("/3")).json() == {"id": 3}
        assert seen == [("method", "dict"), ("class", "JSONResponse"), ("api", "JSONResponse")]
        seen.clear()
        await client.post("/3")
        assert [what for what, _ in seen] == ["class", "api"]


async def test_the_representation_is_the_one_that_the_client_accepts():
    app = App(__name__)
    api = Api(app)

    @api.representation("text/csv")
    def write_csv(data, status, headers):
        return Response(",".join(map(str, data)), status, headers)

    @api.resource("/")
    class Numbers(Resource):
        async def get(self):
            return [1, 2], 203, {"x-more": "yes"}

    async with Client(app) as client:
        csv = await client.get("/", headers={"accept": "text/csv"})
        plain = await client.get("/", headers={"accept": "image/png"})

    assert (csv.text, csv.status_code, csv.headers["x-more"]) == ("1,2", 203, "yes")
    assert (csv.headers["content-type"], csv.headers["vary"]) == ("text/csv", "Accept")
    assert plain.json() == [1, 2]


async def test_the_default_is_sent_to_who_takes_anything():
    app = App(__name__)
    api = Api(app, default_mediatype="text/plain")
    api.add_resource(Echo, "/")
    api.representation("text/plain")(lambda data, status, headers: Response(str(data), status, headers))

    async with Client(app) as client:
        assert (await client.get("/")).text == "{'echo': True}"
        assert (await client.get("/", headers={"accept": "application/json"})).json() == {"echo": True}


async def test_a_default_or_a_representation_that_is_none_is_an_error_that_says_so():
    app = make_app(Echo, default_mediatype="text/plain")
    async with Client(app) as client:
        with pytest.raises(LookupError, match="text/plain"):
            await client.get("/", headers={"accept": "text/plain"})

    app = make_app(Echo)
    app.extensions["rest"][0].representation("application/json")(lambda data, status, headers: data)
    async with Client(app) as client:
        with pytest.raises(TypeError, match="return a Response"):
            await client.get("/")


async def test_without_a_default_what_is_not_acceptable_is_a_406():
    async with Client(make_app(Echo, default_mediatype=None)) as client:
        refused = await client.get("/", headers={"accept": "image/png"})

    assert refused.status_code == 406
    assert "application/json" in refused.json()["detail"]


async def test_a_class_may_have_representations_of_its_own():
    class Plain(Resource):
        representations = {"text/plain": lambda data, status, headers: Response(str(data), status, headers)}

        async def get(self):
            return "plain"

    async with Client(make_app(Plain)) as client:
        response = await client.get("/")

    assert (response.text, response.headers["content-type"]) == ("plain", "text/plain")


async def test_a_resource_without_an_api_answers_json():
    app = App(__name__)
    app.add_route("/", Echo.as_view("echo"))

    async with Client(app) as client:
        assert (await client.get("/")).json() == {"echo": True}


@pytest.mark.parametrize("on_router", [False, True])
async def test_what_the_app_writes_its_resources_write_too(on_router):
    app, router = App(__name__), Router("api", __name__, prefix="/api")
    app.representations["application/msgpack"] = MessagePack()
    router.representations["text/plain"] = lambda data: str(data)
    api = Api(router if on_router else app, prefix="" if on_router else "/api")
    api.representation("text/csv")(lambda data, status, headers: Response("csv", status, headers))

    @api.resource("/")
    class Data(Resource):
        async def get(self) -> Todo:
            return StoredTodo("x")

        def post(self, todo: Todo):
            return "a text"

        def delete(self):
            return "", 204

    app.mount("", router)

    async with Client(app) as client:
        packed = await client.get("/api/", headers={"accept": "application/msgpack"})
        assert (msgspec.msgpack.decode(packed.content), packed.headers["vary"]) == ({"task": "x"}, "Accept")
        assert (await client.get("/api/", headers={"accept": "text/csv"})).text == "csv"
        plain = (await client.get("/api/", headers={"accept": "text/plain"})).headers["content-type"]
        assert plain == ("text/plain; charset=utf-8" if on_router else "application/json")
        kinds = {"accept": "application/msgpack", "content-type": "application/msgpack"}
        text = await client.post("/api/", content=msgspec.msgpack.encode({"task": "y"}), headers=kinds)
        assert text.json() == "a text"
        assert (await client.delete("/api/", headers={"accept": "text/csv"})).content == b""


async def test_make_response_gives_what_the_client_wants():
    app = App(__name__)
    api = Api(app)

    @app.get("/")
    async def home():
        return api.make_response({"made": True}, 202)

    async with Client(app) as client:
        response = await client.get("/")

    assert (response.status_code, response.json()) == (202, {"made": True})


def test_mistakes_in_setting_up_are_named():
    class Empty(Resource):
        pass

    api = Api(App(__name__))

    with pytest.raises(SetupError, match="derived from Resource"):
        api.add_resource(dict, "/")
    with pytest.raises(SetupError, match="no method"):
        api.add_resource(Empty, "/")
    with pytest.raises(SetupError, match="start with a slash"):
        api.add_resource(Echo, "echo")
    with pytest.raises(SetupError, match="start with a slash"):
        api.add_resource(Echo)
    with pytest.raises(SetupError, match="prefix"):
        Api(prefix="v1")
    with pytest.raises(SetupError, match="App or a Router"):
        Api(object())
    with pytest.raises(SetupError, match="plain def"):

        @api.representation("text/csv")
        async def write_csv(data, status, headers): ...


async def test_a_resource_that_comes_after_the_first_request_is_refused():
    app = make_app(Echo)

    async with Client(app) as client:
        await client.get("/")
        with pytest.raises(FrozenError):
            app.extensions["rest"][0].add_resource(Echo, "/late", endpoint="late")


def test_one_endpoint_for_two_classes_is_refused():
    app = App(__name__)
    api = Api(app)
    api.add_resource(Echo, "/a", endpoint="same")
    api.add_resource(type("Other", (Echo,), {}), "/b", endpoint="same")

    with pytest.raises(SetupError, match="names two views"):
        app.url_for("same")


async def test_layers_from_an_iterator_stand_around_every_path():
    async def refuse(request, call_next):
        return "refused", 403

    app = App(__name__)
    Api(app).add_resource(Echo, "/here", "/there", middleware=iter([refuse]))

    async with Client(app) as client:
        assert [(await client.get(path)).status_code for path in ("/here", "/there")] == [403, 403]
