"""``App.explain``: what it says is what happens."""

from pathlib import Path

import pytest

from microweb import App, Depends, Router, SetupError
from microweb.errors import FrozenError
from microweb.testing import Client


def stages(explanation):
    return [(layer.stage, layer.name.rpartition(".")[2]) for layer in explanation.layers]


def recording_app(passed):
    """An app whose every layer writes its name down; the router ``shop`` has layers of its own."""
    app = App("shop")
    shop = Router("shop", prefix="/shop")

    def layer(name):
        async def middleware(request, call_next):
            passed.append(name)
            return await call_next(request)

        middleware.__qualname__ = name
        return middleware

    def hook(name, *, asynchronous):
        async def on_loop():
            passed.append(name)

        def in_thread():
            passed.append(name)

        function = on_loop if asynchronous else in_thread
        function.__qualname__ = name
        return function

    def after(name, *, asynchronous):
        async def on_loop(response):
            passed.append(name)

        def in_thread(response):
            passed.append(name)

        function = on_loop if asynchronous else in_thread
        function.__qualname__ = name
        return function

    for router, owner in ((app, "app"), (shop, "shop")):
        for number, asynchronous in ((1, True), (2, False)):
            router.add_middleware(layer(f"{owner}_layer_{number}"))
            router.before_request(hook(f"{owner}_before_{number}", asynchronous=asynchronous))
            router.after_request(after(f"{owner}_after_{number}", asynchronous=asynchronous))
            router.teardown_request(after(f"{owner}_teardown_{number}", asynchronous=asynchronous))

    def preprocess(endpoint, values):
        passed.append("preprocess")

    preprocess.__qualname__ = "preprocess"
    shop.url_value_preprocessor(preprocess)

    async def show(item):
        passed.append("show")
        return item

    show.__qualname__ = "show"
    shop.get("/<item>", endpoint="show", middleware=[layer("route_layer")])(show)
    app.mount("", shop)
    return app


# A route -------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_layers_are_told_in_the_order_in_which_a_request_passes_them():
    passed = []
    app = recording_app(passed)

    told = [name for _, name in stages(app.explain("GET", "/shop/hat"))]

    async with Client(app) as client:
        assert (await client.get("/shop/hat")).text == "hat"
    assert told == passed


@pytest.mark.anyio
async def test_the_layers_of_a_miss_are_those_of_its_owner():
    passed = []
    app = recording_app(passed)

    explanation = app.explain("GET", "/shop/hat/brim")

    async with Client(app) as client:
        assert (await client.get("/shop/hat/brim")).status_code == explanation.status == 404
    assert [name for stage, name in stages(explanation) if stage != "answer to a miss"] == passed
    assert explanation.owner == "shop"


def test_a_route_is_told_with_its_values_and_its_place():
    app = App("shop")

    @app.get("/hat/<int:size>", endpoint="hats", timeout=2.5)
    def show(size):
        return "hat"

    explanation = app.explain("GET", "/hat/7")

    assert (explanation.outcome, explanation.endpoint, explanation.values) == ("view", "hats", {"size": 7})
    assert explanation.rule == "/hat/<int:size>"
    assert explanation.methods == ("GET", "HEAD")
    assert explanation.place.startswith(__file__)
    assert explanation.options == {"timeout": 2.5}


def test_a_def_runs_in_a_thread_and_an_async_def_on_the_loop():
    app = App("shop")
    app.get("/def")(lambda: "def")

    @app.get("/async")
    async def view():
        return "async"

    assert app.explain("GET", "/def").layers[-1].runs == "in a thread"
    assert app.explain("GET", "/async").layers[-1].runs == "on the loop"


def test_a_url_value_preprocessor_runs_on_the_loop_though_it_is_a_def():
    app = App("shop")
    app.url_value_preprocessor(lambda endpoint, values: None)
    app.get("/")(lambda: "")

    assert [layer.runs for layer in app.explain("GET", "/").layers] == ["on the loop", "in a thread"]


def test_a_middleware_that_is_an_object_is_called_by_its_class():
    class Timing:
        async def __call__(self, request, call_next):
            return await call_next(request)

    app = App("shop")
    app.add_middleware(Timing())

    layer = app.explain("GET", "/").layers[0]

    assert (layer.stage, layer.name.rpartition(".")[2], layer.owner) == ("middleware", "Timing", "app")


def test_plain_asgi_middleware_is_outermost():
    class Wrapper:
        def __init__(self, app):
            self.app = app

    app = App("shop")
    app.add_asgi_middleware(Wrapper)

    assert stages(app.explain("GET", "/"))[0] == ("ASGI middleware", "Wrapper")


def test_the_path_may_be_escaped_and_have_a_query():
    app = App("shop")
    app.get("/hat/<name>")(lambda name: name)

    explanation = app.explain("get", "/hat/a%2Fb%20ü?size=7#brim")

    assert explanation.values == {"name": "a/b ü"}
    assert explanation.method == "GET"
    assert app.explain("GET", "/hat/a#brim").values == {"name": "a"}


def test_a_host_chooses_the_route():
    app = App("shop")
    app.get("/", endpoint="main")(lambda: "main")
    app.get("/", endpoint="admin", host="admin.example.org")(lambda: "admin")

    assert app.explain("GET", "/", host="Admin.example.org:8000").endpoint == "admin"
    assert app.explain("GET", "/").endpoint == "main"
    assert app.explain("GET", "/", host="admin.example.org").rule == "//admin.example.org/"


def test_a_websocket_has_layers_of_its_own():
    app = App("shop")
    app.before_request(lambda: None)
    app.after_request(lambda response: None)
    app.teardown_request(lambda error: None)

    @app.websocket("/ws/<room>")
    async def chat(room): ...

    explanation = app.explain("WEBSOCKET", "/ws/tea")

    assert (explanation.outcome, explanation.values) == ("websocket", {"room": "tea"})
    assert [stage for stage, _ in stages(explanation)] == ["websocket view"]


@pytest.mark.anyio
async def test_the_layers_of_a_websocket_are_told_in_the_order_in_which_it_passes_them():
    passed = []
    app, chats = App("shop"), Router("chats", prefix="/ws")

    @chats.websocket("/<room>")
    async def chat(websocket, room):
        passed.append("chat")
        await websocket.accept()

    @app.websocket_middleware
    async def layer(websocket, call_next):
        passed.append("layer")
        await call_next(websocket)

    @chats.before_websocket
    def before():
        passed.append("before")

    @chats.teardown_websocket
    async def teardown(error):
        passed.append("teardown")

    app.mount("", chats)
    told = [name for _, name in stages(app.explain("WEBSOCKET", "/ws/tea"))]

    async with Client(app) as client, client.websocket("/ws/tea"):
        pass
    assert told == passed == ["layer", "before", "chat", "teardown"]


def test_a_websocket_that_nobody_answers_passes_nothing():
    app = App("shop")

    @app.websocket_middleware
    async def layer(websocket, call_next): ...

    explanation = app.explain("WEBSOCKET", "/ws")

    assert (explanation.outcome, explanation.status) == ("not_found", 404)
    assert [stage for stage, _ in stages(explanation)] == ["answer to a miss"]


def test_a_websocket_into_a_mounted_app_passes_what_is_for_websockets():
    app, inner = App("shop"), App("inner")
    app.before_request(lambda: None)
    app.before_websocket(lambda: None)
    app.mount("/inner", inner)

    explanation = app.explain("WEBSOCKET", "/inner/chat")

    assert [stage for stage, _ in stages(explanation)] == ["before_websocket", "mounted app"]


@pytest.mark.parametrize("arguments", [("GET", "hat"), ("GET", "/", "a b")])
def test_what_cannot_be_asked_is_a_value_error(arguments):
    method, path, *host = arguments

    with pytest.raises(ValueError, match=r"slash|host"):
        App("shop").explain(method, path, host=host[0] if host else None)


def test_two_rules_for_one_path_cannot_be_explained():
    app = App("shop")
    app.get("/")(lambda: "one")
    app.get("/", endpoint="other")(lambda: "two")

    with pytest.raises(SetupError, match="there already"):
        app.explain("GET", "/")


def test_explaining_freezes_nothing():
    app = App("shop")

    app.explain("GET", "/")
    app.get("/")(lambda: "hat")

    assert app.explain("GET", "/").outcome == "view"


@pytest.mark.anyio
async def test_an_app_that_serves_can_be_explained():
    app = App("shop")
    app.get("/")(lambda: "hat")

    async with Client(app) as client:
        await client.get("/")
        assert app.explain("GET", "/").outcome == "view"

        with pytest.raises(FrozenError):
            app.get("/late")(lambda: "late")


# Misses --------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "outcome"),
    [
        ("GET", "/hats/", "view"),
        ("GET", "/nowhere", "not_found"),
        ("POST", "/hats/", "method_not_allowed"),
        ("B{D", "/hats/", "method_not_allowed"),
        ("OPTIONS", "/hats/", "options"),
        ("GET", "/hats", "add_slash"),
        ("GET", "/hats//", "merge_slashes"),
        ("GET", "/hats/%ff", "bad_path"),
    ],
)
async def test_the_status_and_the_location_are_those_of_the_answer(method, path, outcome):
    app = App("shop")
    app.get("/hats/")(lambda: "hats")

    explanation = app.explain(method, path)

    async with Client(app) as client:
        answer = await client.request(method, path)
    assert explanation.outcome == outcome
    assert explanation.status == (None if outcome == "view" else answer.status_code)
    assert explanation.location == answer.headers.get("location")
    assert ", ".join(explanation.allow) == answer.headers.get("allow", "") or method == "B{D"


def test_a_miss_names_the_handler_that_answers_it():
    app = App("shop")
    hats = Router("hats", prefix="/hats")

    @app.errorhandler(404)
    def app_handler(error): ...

    @hats.errorhandler(404)
    async def hats_handler(error): ...

    app.mount("", hats)

    assert app.explain("GET", "/x").errors[0].name.endswith("app_handler")
    (answer,) = app.explain("GET", "/hats/x").errors
    assert answer.name.endswith("hats_handler")
    assert (answer.kind, answer.owner, answer.runs) == ("404", "hats", "on the loop")


def test_the_error_handlers_of_a_view_are_told_nearest_first():
    app = App("shop")
    hats = Router("hats", prefix="/hats")
    app.errorhandler(500)(lambda error: "app")
    hats.errorhandler(KeyError)(lambda error: "hats")
    hats.get("/")(lambda: "hats")
    app.mount("", hats)

    explanation = app.explain("GET", "/hats/")

    assert [(answer.kind, answer.owner) for answer in explanation.errors] == [
        ("KeyError", "hats"),
        ("500", "app"),
    ]


def test_a_rule_near_a_miss_is_named_with_the_reason():
    app = App("shop")
    app.get("/hat/<int:size>")(lambda size: "hat")
    app.get("/coat/<path:where>", endpoint="coat")(lambda where: "coat")
    app.get("/glove", endpoint="glove", host="hands.example.org")(lambda: "glove")

    assert app.explain("GET", "/hat/large").near[0].reason == "the converter of 'size' does not take 'large'"
    assert app.explain("GET", "/hta/7").near[0].rule == "/hat/<int:size>"
    assert app.explain("GET", "/coats/on/the/hook").near[0].rule == "/coat/<path:where>"
    assert app.explain("GET", "/glove").near[0].reason == "it is on the host hands.example.org"
    assert app.explain("GET", "/hat").near[0].rule == "/hat/<int:size>"


def test_a_rule_near_a_miss_may_be_a_mount_or_a_websocket():
    app = App("shop")
    app.websocket("/chat")(lambda: None)

    async def other(scope, receive, send): ...

    app.mount("/other", other)

    assert app.explain("GET", "/chat").near[0].methods == "WEBSOCKET"
    assert app.explain("GET", "/othre").near[0][:2] == ("mount", "/other/...")
    assert app.explain("GET", "/othre/with/a/long/way/below").near[0].rule == "/other/..."


def test_a_converter_that_raises_is_a_hint_less():
    from microweb import Converter

    class Broken(Converter):
        def to_python(self, value):
            raise LookupError(value)

    app = App("shop")
    app.converters["broken"] = Broken
    app.get("/hats/<broken:name>/brim")(lambda name: name)

    assert app.explain("GET", "/hatz/x/brim").near[0].reason == "the converter of 'name' does not take 'x'"


def test_the_three_nearest_rules_are_told_the_nearest_first():
    app = App("shop")
    for rule in ("/hatter", "/hat/<size>", "/hatbox", "/hats", "/ham/"):
        app.get(rule, endpoint=rule)(lambda: "")

    assert [near.rule for near in app.explain("GET", "/hat").near] == ["/hats", "/hat/<size>", "/hatter"]
    assert [near.rule for near in app.explain("GET", "/hum/").near] == ["/ham/"]


def test_the_reason_is_that_of_the_first_variable_that_does_not_fit():
    app = App("shop")
    app.get("/hat/<int:size>/<int:colour>")(lambda size, colour: "hat")

    assert app.explain("GET", "/hat/large/red").near[0].reason == "the converter of 'size' does not take 'large'"


def test_what_a_route_sets_apart_is_told():
    app = App("shop")
    app.post("/", timeout=2.5, max_content_length=None)(lambda: "")
    app.post("/small", endpoint="small", max_content_length=10)(lambda: "")

    assert app.explain("POST", "/").options == {"timeout": 2.5, "max_content_length": None}
    assert app.explain("POST", "/small").options == {"max_content_length": 10}
    assert "max_content_length  10" in str(app.explain("POST", "/small"))


def test_nothing_is_near_a_path_like_no_other():
    app = App("shop")
    app.get("/hat")(lambda: "hat")

    assert app.explain("GET", "/quixotic/journey").near == []


def test_the_same_letters_in_another_order_are_not_near():
    app = App("shop")
    app.get("/stressed")(lambda: "")

    assert app.explain("GET", "/desserts").near == []


def test_the_dependencies_of_routers_and_routes_stand_before_the_view():
    app = App("shop")
    router = Router("shop", __name__, prefix="/shop", dependencies=[Depends(find_user)])
    router.get("/hat", dependencies=[Depends(dict)])(lambda: "hat")
    router.mount("/inner", App("inner"))
    router.before_request(lambda: None)
    app.mount("", router)

    layers = app.explain("GET", "/shop/hat").layers

    assert [(layer.stage, layer.owner) for layer in layers] == [
        ("before_request", "shop"),
        ("dependency", "shop"),
        ("dependency", "route"),
        ("view", "shop"),
    ]
    assert [layer.runs for layer in layers[1:3]] == ["in a thread", "on the loop"]
    assert [stage for stage, _ in stages(app.explain("GET", "/shop/inner/"))] == [
        "before_request",
        "dependency",
        "mounted app",
    ]
    assert "dependency" not in [stage for stage, _ in stages(app.explain("GET", "/shop/nothing"))]


def find_user():
    return "ada"


# Mounts --------------------------------------------------------------------------------------------


def test_a_dependency_that_names_no_function_is_left_to_the_start_to_complain_of():
    app = App("shop")
    app.get("/", dependencies=[Depends()])(lambda: "")

    assert [layer.stage for layer in app.explain("GET", "/").layers] == ["view"]


def test_a_mounted_app_is_explained_further():
    app, api = App("shop"), App("api")
    app.before_request(lambda: None)
    api.get("/hats/<int:size>")(lambda size: "hat")
    app.mount("/api", api)

    explanation = app.explain("GET", "/api/hats/7")

    assert (explanation.outcome, explanation.rule) == ("mount", "/api/...")
    assert [stage for stage, _ in stages(explanation)] == ["before_request", "mounted app"]
    assert (explanation.inner.rule, explanation.inner.values) == ("/hats/<int:size>", {"size": 7})
    assert app.explain("GET", "/api").inner.outcome == "not_found"


@pytest.mark.anyio
async def test_a_redirect_inside_mounted_apps_is_told_with_the_whole_location():
    app, api, shop = App("outer"), App("api"), App("shop")
    shop.get("/hats/")(lambda: "hats")
    api.mount("/shop", shop)
    app.mount("/a b", api)

    told = app.explain("GET", "/a%20b/shop/hats").inner.inner.location

    async with Client(app) as client:
        assert (await client.get("/a%20b/shop/hats")).headers["location"] == told == "/a%20b/shop/hats/"


def test_a_method_that_is_no_token_is_told_as_a_400_without_allow():
    app = App(__name__)
    app.get("/")(lambda: "home")

    explanation = app.explain("G(T", "/")

    assert (explanation.status, explanation.allow) == (400, ())
    assert "400, the method is not an HTTP token" in str(explanation)


def test_a_foreign_app_is_the_end_of_the_explanation():
    class Foreign:
        async def __call__(self, scope, receive, send): ...

    app = App("shop")
    app.mount("/other", Foreign())

    explanation = app.explain("DELETE", "/other/x")

    assert (explanation.outcome, explanation.inner) == ("mount", None)
    assert stages(explanation)[-1] == ("mounted app", "Foreign")


# The text ------------------------------------------------------------------------------------------


def test_the_text_of_a_view_names_each_layer_with_its_place():
    app = recording_app([])
    app.errorhandler(ValueError)(lambda error: "wrong")

    explanation = app.explain("GET", "/shop/hat")
    text = str(explanation)

    assert text.startswith("GET /shop/hat\n")
    assert "value       item = 'hat'" in text
    places = [layer.place.removeprefix(f"{Path.cwd()}/") for layer in explanation.layers]
    assert all(f" {place}\n" in text for place in places)
    assert all(f" {layer.name} " in text for layer in explanation.layers)
    assert text.index("ValueError") < text.index("the built-in page")
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_the_text_of_a_miss_says_who_answers_and_what_is_near():
    app = App("shop")
    app.get("/hat")(lambda: "hat")

    assert "404, no rule matches the path" in str(app.explain("GET", "/hats"))
    assert "It is answered by the built-in page." in str(app.explain("GET", "/hats"))
    assert "Rules near it:\n  GET HEAD  /hat " in str(app.explain("GET", "/hats"))
    assert "allow   GET, HEAD, OPTIONS" in str(app.explain("POST", "/hat"))
    app.errorhandler(404)(lambda error: "no")
    assert "It is answered by:\n  404  " in str(app.explain("GET", "/hats", host="example.org"))
    assert str(app.explain("GET", "/", host="example.org")).startswith("GET /  on example.org\n")


def test_the_text_of_a_redirect_says_where_it_goes():
    app = App("shop")
    app.get("/hats/")(lambda: "hats")

    assert "308 to /hats/, the rule ends with a slash" in str(app.explain("GET", "/hats"))
    assert "answered by" not in str(app.explain("GET", "/hats")) + str(app.explain("OPTIONS", "/hats/"))


def test_the_text_goes_on_in_a_mounted_app():
    app, api = App("shop"), App("api")
    api.get("/hats")(lambda: "hats")
    app.mount("/api", api)

    text = str(app.explain("GET", "/api/hats"))

    assert "The mounted app goes on:\n\n    GET /hats\n" in text
    assert repr(app.explain("GET", "/api/hats").inner).startswith("<Explanation GET /hats: view")
