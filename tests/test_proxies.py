"""The proxies: whatever is current, and clear words when nothing is."""

import copy
import doctest
import threading
import types
from contextvars import copy_context

import anyio
import pytest

from microweb import App, Request, WebSocket, copy_current_context, current_app, g, request, session, websocket
from microweb.errors import OutsideContextError
from microweb.sessions import Session
from microweb.testing import Client


def test_outside_of_everything_a_proxy_says_what_to_do():
    for use in (lambda: g.x, lambda: current_app.name):
        with pytest.raises(OutsideContextError, match=r"with app\.app_context\(\)"):
            use()
    assert repr(request) == "<unbound proxy>"
    assert not request
    assert dir(request) == []


@pytest.mark.parametrize("use", [lambda: request.path, lambda: session["user"], lambda: websocket.path])
def test_what_belongs_to_a_request_is_not_sent_into_an_app_context(use):
    with pytest.raises(OutsideContextError) as told:
        use()

    assert "test_request_context()" in str(told.value)
    assert "app_context():" not in str(told.value).replace("test_request_context", "")


def test_outside_of_everything_a_proxy_can_be_asked_for_its_class():
    assert not isinstance(request, Request)
    assert not isinstance(current_app, App)


@pytest.mark.parametrize("proxy", [request, websocket, session, g, current_app])
def test_doctest_walks_through_a_module_that_imports_a_proxy(proxy):
    module = types.ModuleType("shop", ">>> 1 + 1\n2\n")
    module.proxy = proxy

    assert [test.name for test in doctest.DocTestFinder().find(module)] == ["shop"]


def test_an_app_context_has_an_app_and_a_g_but_no_request():
    app = App(__name__)

    with app.app_context() as context:
        g.x = 1
        assert (current_app.import_name, g.x, current_app._get_current_object()) == (__name__, 1, app)
        assert context.app is app
        with pytest.raises(OutsideContextError, match="test_request_context"):
            request.path  # noqa: B018 - the touch raises
    with pytest.raises(OutsideContextError):
        g.x  # noqa: B018 - the touch raises


def test_a_request_is_no_websocket():
    app = App(__name__)

    with app.test_request_context("/a"):
        assert not websocket
        with pytest.raises(OutsideContextError, match="websocket was used in the request GET '/a'"):
            websocket.accept  # noqa: B018 - the touch raises


def test_contexts_nest():
    outer, inner = App("outer"), App("inner")

    with outer.app_context():
        g.name = "outer"
        with inner.app_context():
            assert (current_app.import_name, "name" in g) == ("inner", False)
        assert (current_app.import_name, g.name) == ("outer", "outer")


def test_g_is_a_namespace():
    with App(__name__).app_context():
        g.a = 1
        assert (g.get("a"), g.get("b", 2), g.setdefault("c", 3), g.pop("a"), g.pop("z", None)) == (1, 2, 3, 1, None)
        assert "c" in g
        assert list(g) == ["c"]
        assert repr(g) == "<g with c>"
        del g.c
        with pytest.raises(AttributeError, match=r"g.get\('c'\)"):
            g.c  # noqa: B018 - the touch raises


def test_a_proxy_is_copied_joined_and_turned_round_as_its_object():
    app = App(__name__, secret_key="k" * 20)

    with app.test_request_context():
        session["cart"] = [1]
        session["user"] = "ada"
        shallow, deep = copy.copy(session), copy.deepcopy(session)
        assert type(shallow) is type(deep) is Session
        assert shallow["cart"] is session["cart"]
        assert deep == session
        assert deep["cart"] is not session["cart"]
        assert session | {"user": "bob"} == {"cart": [1], "user": "bob"}
        assert {"user": "bob"} | session == {"cart": [1], "user": "ada"}
        assert list(reversed(session)) == ["user", "cart"]


def test_whatever_is_done_with_a_proxy_is_done_with_its_object():
    class Shop(App):
        def __str__(self):
            return "the shop"

        def __len__(self):
            return 3

        def __iter__(self):
            return iter("abc")

        def __contains__(self, name):
            return name == "tea"

        def __getitem__(self, name):
            return f"some {name}"

        def __setitem__(self, name, value):
            done.append((name, value))

        def __delitem__(self, name):
            done.append(name)

        def __eq__(self, other):
            return other == "shop"

        def __hash__(self):
            return 42

        def __call__(self, *args):
            return args

    done = []
    with Shop(__name__).app_context():
        assert (f"{current_app}", len(current_app), list(current_app)) == ("the shop", 3, ["a", "b", "c"])
        assert ("tea" in current_app, "a" in current_app, current_app["tea"]) == (True, False, "some tea")
        current_app["tea"] = 2
        del current_app["tea"]
        assert (current_app == "shop", current_app != "shop", current_app != "shed") == (True, False, True)
        assert (hash(current_app), current_app(1, 2)) == (42, (1, 2))
        assert vars(current_app) is vars(current_app._get_current_object())
    assert done == [("tea", 2), "tea"]


@pytest.mark.anyio
async def test_after_the_request_a_surviving_task_is_told_about_copy_current_context():
    app = App(__name__)
    release, messages = anyio.Event(), []

    async def survivor():
        await release.wait()
        try:
            request.path  # noqa: B018 - the touch raises
        except OutsideContextError as error:
            messages.append(str(error))

    @app.get("/")
    async def view(request: Request):
        request.scope["extensions"]["test.group"].start_soon(survivor)
        return ""

    async with anyio.create_task_group() as group:

        async def with_group(scope, receive, send):
            if scope["type"] == "http":
                scope["extensions"]["test.group"] = group
            await app(scope, receive, send)

        async with Client(with_group) as client:
            await client.get("/")
        release.set()

    assert "copy_current_context" in messages[0]


@pytest.mark.anyio
@pytest.mark.parametrize("prefix", ["", "/mounted"])
async def test_whatever_is_over_is_refused_to_what_survives_it(prefix):
    app, inner, survivors = App(__name__, secret_key="k" * 20), App(__name__, secret_key="k" * 20), []

    async def survive():
        g.seen = True
        survivors.append(copy_context())

    async def answer(request: Request):
        session["seen"] = True
        await survive()
        inner.add_background_task(survive)
        return ""

    async def talk(websocket: WebSocket):
        await survive()
        await websocket.accept()

    served = inner if prefix else app
    served.get("/")(answer)
    served.websocket("/ws")(talk)
    app.mount("/mounted", inner)
    async with Client(app) as client:
        await client.get(f"{prefix}/")
        async with client.websocket(f"{prefix}/ws"):
            pass
    async with app.app_context():
        await survive()
    with app.app_context():
        await survive()

    assert len(survivors) == 5
    for context in survivors:
        for look in (lambda: g.seen, lambda: session["seen"]):
            with pytest.raises(OutsideContextError, match="copy_current_context"):
                context.run(look)


@pytest.mark.anyio
async def test_copy_current_context_keeps_the_request_for_tasks_and_threads():
    app = App(__name__)
    seen = []

    @app.get("/<name>")
    async def view(name):
        g.name = name

        @copy_current_context
        def work():
            seen.append((request.path, g.name))

        @copy_current_context
        async def work_async():
            seen.append((request.path, g.name))

        kept.extend([work, work_async])
        return ""

    kept = []
    async with Client(app) as client:
        await client.get("/x")
    thread = threading.Thread(target=kept[0])
    thread.start()
    thread.join()
    await kept[1]()

    assert seen == [("/x", "x")] * 2


@pytest.mark.anyio
async def test_a_copied_function_sees_the_face_of_the_request_for_its_kind():
    app = App(__name__)
    seen = []

    @app.post("/")
    def view():
        body = request.json

        @copy_current_context
        async def work_async():
            seen.append(await request.json() == body)

        @copy_current_context
        def work():
            seen.append(request.json == body)
            kept.append(copy_current_context(work_async.__wrapped__))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        kept.append(work_async)
        return ""

    kept = []
    async with Client(app) as client:
        await client.post("/", json=["tea"])
    for work_async in kept:
        await work_async()

    assert seen == [True, True, True]


def test_a_copied_function_and_what_it_was_copied_from_share_a_g_that_neither_had_touched():
    app = App(__name__)

    with app.test_request_context():
        copied = copy_current_context(lambda: setattr(g, "name", "ada"))

        copied()

        assert g.name == "ada"


@pytest.mark.anyio
async def test_a_copied_function_has_the_programs_own_kind_of_request():
    class ShopRequest(Request):
        pass

    app, seen = App(__name__, request_class=ShopRequest), []

    @app.get("/")
    async def view():
        @copy_current_context
        async def work_async():
            seen.append(isinstance(request, ShopRequest))

        await work_async()
        copy_current_context(lambda: seen.append(isinstance(request, ShopRequest)))()
        return ""

    async with Client(app) as client:
        await client.get("/")

    assert seen == [True, True]


@pytest.mark.anyio
async def test_a_function_that_was_copied_from_a_websocket_has_the_websocket():
    app = App(__name__)

    @app.websocket("/ws")
    async def view():
        path = copy_current_context(lambda: websocket.path)
        await websocket.accept()
        await websocket.send_text(path())

    async with Client(app) as client, client.websocket("/ws") as connection:
        assert await connection.receive_text() == "/ws"


@pytest.mark.anyio
async def test_after_a_copied_function_what_was_current_before_it_is_current_again():
    with App("outer").app_context():

        @copy_current_context
        async def work():
            return current_app.import_name

        with App("inner").app_context():
            assert (await work(), current_app.import_name) == ("outer", "inner")


def test_copy_current_context_works_in_an_app_context_and_nowhere_else():
    with App(__name__).app_context():
        g.x = 5
        copied = copy_current_context(lambda: g.x)

    assert copied() == 5
    with pytest.raises(OutsideContextError, match="copy_current_context"):
        copy_current_context(lambda: None)


def test_two_apps_in_one_process_never_meet():
    first, second = App("first"), App("second")
    first.config["X"] = 1
    first.state.pool = "mine"

    assert "X" not in second.config
    with pytest.raises(AttributeError, match="lifespan"):
        second.state.pool  # noqa: B018 - the touch raises
