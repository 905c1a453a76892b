"""Views as classes."""

from functools import wraps
from inspect import signature

import msgspec
import pytest

from microweb import App, JSONResponse, MethodView, SetupError, request
from microweb.testing import Client

pytestmark = pytest.mark.anyio


class Entry(msgspec.Struct):
    name: str


class Secret(Entry):
    password: str


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


async def test_each_verb_is_bound_by_its_own_signature():
    class Entries(MethodView):
        async def get(self, page: int = 1):
            return {"page": page}

        def post(self, entry: Entry):
            return {"name": entry.name}, 201

    app = App(__name__)
    app.add_route("/entries", Entries.as_view("entries"))

    async with Client(app) as client:
        assert (await client.get("/entries?page=3")).json() == {"page": 3}
        assert (await client.post("/entries", json={"name": "a"})).json() == {"name": "a"}
        assert (await client.post("/entries", json={})).status_code == 422
        assert (await client.put("/entries")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_each_verb_is_a_route_of_the_one_endpoint():
    class Home(MethodView):
        async def get(self):
            return "home"

        async def post(self):
            return "posted"

    app = App(__name__)
    app.add_route("/", Home.as_view("home"))
    app.add_route("/reading", Home.as_view("reading"), methods=["GET"])

    assert [(route.name, sorted(route.methods)) for route in app.routes] == [
        ("home", ["GET"]),
        ("home", ["POST"]),
        ("reading", ["GET"]),
    ]
    assert app.url_for("home") == "/"


async def test_a_verb_that_a_class_above_lists_is_answered():
    class Folder(MethodView):
        methods = ["GET", "PROPFIND"]  # noqa: RUF012 - as programs for Flask have it

    class Drafts(Folder):
        async def get(self):
            return "drafts"

        async def propfind(self):
            return "properties"

    app = App(__name__)
    app.add_route("/", Drafts.as_view("drafts"))

    async with app.test_client() as client:
        assert (await client.request("PROPFIND", "/")).text == "properties"


async def test_a_class_above_may_leave_the_methods_to_those_below():
    class Page(MethodView):
        methods = None  # As in Flask, where it is the default.

    class Home(Page):
        async def get(self):
            return "home"

    app = App(__name__)
    app.add_route("/", Home.as_view("home"))

    async with app.test_client() as client:
        assert (await client.get("/")).text == "home"


async def test_a_class_that_answers_options_itself_may_be_registered_verb_by_verb():
    class Page(MethodView):
        provide_automatic_options = False

        async def get(self):
            return "page"

        async def options(self):
            return "what there is"

    app = App(__name__)
    view = Page.as_view("page")
    app.add_route("/", view, methods=["GET"])
    app.add_route("/", view, methods=["OPTIONS"])

    async with app.test_client() as client:
        assert (await client.get("/")).text == "page"
        assert (await client.options("/")).text == "what there is"


def test_two_classes_under_one_endpoint_are_refused():
    class Home(MethodView):
        async def get(self):
            return "home"

    app = App(__name__)
    app.add_route("/", Home.as_view("home"))
    app.add_route("/other", Home.as_view("home"))

    with pytest.raises(SetupError, match="names two views"):
        app.url_for("home")


async def test_a_decorator_around_the_whole_class_is_kept():
    def refusing(view):
        @wraps(view)
        async def refuse(**values):
            return "refused", 403

        return refuse

    class Home(MethodView):
        async def get(self):
            return "home"

    app = App(__name__)
    app.add_route("/", refusing(Home.as_view("home")))

    async with Client(app) as client:
        assert (await client.get("/")).status_code == 403


async def test_a_decorator_that_takes_values_by_name_may_show_a_signature_of_its_own():
    def passing(view):
        async def passed(**values):
            return await view(**values)

        passed.__signature__ = signature(view)
        return passed

    app = App(__name__)

    @app.get("/<name>")
    @passing
    async def greet(name):
        return f"Hello, {name}!"

    async with Client(app) as client:
        assert (await client.get("/Ada")).text == "Hello, Ada!"


async def test_a_view_wrapped_by_hand_still_finds_the_verb():
    def passing(view):
        @wraps(view)
        async def passed(**values):
            return await view(**values)

        return passed

    class Home(MethodView):
        async def get(self, id):
            return f"get {id}"

        async def post(self, id):
            return f"post {id}"

    app = App(__name__)
    app.add_route("/<int:id>", passing(Home.as_view("home")))

    async with Client(app) as client:
        assert (await client.get("/1")).text == "get 1"
        assert (await client.post("/2")).text == "post 2"
        assert (await client.head("/1")).status_code == 200


async def test_method_decorators_stand_on_the_verbs_they_are_for_and_may_give_arguments():
    def with_user(view):
        async def find_user(*args, **values):
            return await view("ada", *args, **values)

        return find_user

    class Home(MethodView):
        method_decorators = {"post": [with_user]}

        async def get(self, id):
            return f"{id} for nobody"

        async def post(self, user, id):
            return f"{id} for {user}"

    app = App(__name__)
    app.add_route("/<int:id>", Home.as_view("home"))

    async with Client(app) as client:
        assert (await client.get("/1")).text == "1 for nobody"
        assert (await client.post("/1")).text == "1 for ada"


async def test_a_method_behind_decorators_may_leave_path_variables_out():
    def noting(view):
        @wraps(view)
        async def note(**values):
            seen.append(values)
            return await view(**values)

        return note

    class Home(MethodView):
        decorators = [noting]

        async def get(self, id):
            return f"{id}"

    app, seen = App(__name__), []
    app.add_route("/<org>/<int:id>", Home.as_view("home"))

    async with Client(app) as client:
        assert (await client.get("/a/1")).text == "1"
    assert seen == [{"org": "a", "id": 1}]


async def test_a_decorator_may_leave_a_mark_or_be_an_object():
    def mark(view):
        view.marked = True
        return view

    class Shout:
        __slots__ = ("view",)

        def __init__(self, view):
            self.view = view

        async def __call__(self, **values):
            return (await self.view(**values)).upper()

    class Home(MethodView):
        decorators = [mark, Shout, mark]

        async def get(self, request, id, loud: bool = False):
            return f"{request.method} {id} {loud}"

    app = App(__name__)
    app.add_route("/<int:id>", Home.as_view("home"))

    async with Client(app) as client:
        assert (await client.get("/1?loud=1")).text == "GET 1 TRUE"
    assert app.routes[0].view.marked


async def test_a_class_gives_its_answers_their_form_after_the_annotation_has_filtered_them():
    class Shouting(MethodView):
        @classmethod
        def make_answer(cls, value):
            return JSONResponse({"answer": value})

    class Home(Shouting):
        async def get(self) -> Entry:
            return Secret("a", "hidden")

        def post(self) -> list[Entry]:
            return [Secret("b", "hidden")]

    app = App(__name__)
    app.add_route("/", Home.as_view("home"))

    async with Client(app) as client:
        assert (await client.get("/")).json() == {"answer": {"name": "a"}}
        assert (await client.post("/")).json() == {"answer": [{"name": "b"}]}


async def test_generators_and_static_methods_are_verbs_too():
    class Lines(MethodView):
        async def get(self):
            yield b"one "
            yield b"two"

        @staticmethod
        def post():
            return "static"

    app = App(__name__)
    app.add_route("/", Lines.as_view("lines"))

    async with Client(app) as client:
        assert (await client.get("/")).text == "one two"
        assert (await client.post("/")).text == "static"


def test_a_class_without_methods_is_refused():
    class Empty(MethodView):
        pass

    with pytest.raises(TypeError, match="no method"):
        Empty.as_view("empty")


async def test_layers_from_an_iterator_stand_around_every_verb():
    async def refuse(request, call_next):
        return "refused", 403

    class Entry(MethodView):
        async def delete(self):
            return "deleted"

        async def get(self):
            return "secret"

    app = App(__name__)
    app.add_route("/", Entry.as_view("entry"), middleware=iter([refuse]))

    async with Client(app) as client:
        assert [(await client.request(verb, "/")).status_code for verb in ("GET", "DELETE")] == [403, 403]


async def test_a_parameter_of_a_method_that_nothing_provides_stops_the_start():
    class Entry(MethodView):
        async def get(self, number, user):
            return "never"

    app = App(__name__)
    app.add_route("/<int:number>", Entry.as_view("entry"))

    with pytest.raises(SetupError, match="Entry.get has a parameter 'user' that nothing provides"):
        async with Client(app):
            pass


async def test_a_class_that_is_registered_itself_is_refused_with_what_to_write():
    app = App(__name__)

    class Entry(MethodView):
        async def get(self):
            return "entry"

    with pytest.raises(SetupError, match=r"is the class Entry; register .* Entry\.as_view\(\"entry\"\).*test_views.py"):
        app.add_route("/", Entry)
