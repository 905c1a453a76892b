"""What the requests of an app see of what lifespans have yielded, where apps stand in each other."""

import asyncio
import gc
import weakref

import httpx
import pytest

from microweb import App, Request, Router
from microweb.testing import ASGITransport, Client

pytestmark = pytest.mark.anyio


def make_foreign_with_state(name):
    async def foreign(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = name
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        return await send({"type": "http.response.body", "body": scope["state"]["pool"].encode()})

    return foreign


def make_app_with_state(name):
    app = App(name)

    @app.lifespan
    async def pool(app):
        yield {"pool": name}

    app.get("/")(lambda request: request.state["pool"])
    return app


async def test_what_its_lifespan_yields_is_there_below_an_app_that_tells_it_of_no_lifespan():
    inner = App("inner")

    @inner.lifespan
    async def pool(app):
        yield {"pool": "inner's", "name": "inner's"}

    @inner.get("/")
    async def home(request: Request):
        return dict(request.state)

    async def outer(scope, receive, send):
        assert scope["type"] == "http"
        await inner({**scope, "state": {"name": "outer's"}}, receive, send)

    async with Client(outer, lifespan=False) as client:
        assert (await client.get("/")).json() == {"name": "outer's", "pool": "inner's"}


async def test_a_foreign_app_has_the_state_of_the_lifespans_where_the_server_sends_no_lifespan_events():
    app = App(__name__)

    @app.lifespan
    async def pool(app):
        yield {"pool": "ours"}

    async def foreign(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["foreign"] = "yes"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return await send({"type": "lifespan.shutdown.complete"})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        return await send({"type": "http.response.body", "body": repr(scope["state"]).encode()})

    app.mount("/foreign", foreign)

    async with Client(app, lifespan=False) as client:
        assert (await client.get("/foreign/")).text == "{'pool': 'ours', 'foreign': 'yes'}"


@pytest.mark.parametrize("lifespan", [True, False])
async def test_each_app_has_the_state_of_its_own_lifespan_where_several_use_one_name(lifespan):
    app, inner = make_app_with_state("outer"), make_app_with_state("inner")
    inner.mount("/foreign", make_foreign_with_state("innermost"))
    inner.mount("/app", make_app_with_state("app"))
    app.mount("/inner", inner)
    app.mount("/a", make_foreign_with_state("a"))
    app.mount("/b", make_foreign_with_state("b"))

    for _ in range(2):
        async with Client(app, lifespan=lifespan) as client:
            paths = ["/", "/inner/", "/a/", "/b/", "/inner/foreign/", "/inner/app/"]
            seen = [(await client.get(path)).text for path in paths]
        assert seen == ["outer", "inner", "a", "b", "innermost", "app"]


async def test_a_mounted_app_that_has_stopped_keeps_nothing_of_its_lifespan():
    app, inner = make_app_with_state("outer"), make_app_with_state("inner")
    app.mount("/inner", inner)

    async with Client(app):
        assert inner.lifespan_state == {"pool": "inner"}

    assert inner.lifespan_state == {}


async def test_what_a_layer_puts_into_the_state_reaches_a_mounted_app_that_has_the_name_itself():
    app = make_app_with_state("outer")
    app.mount("/a", make_foreign_with_state("a"))

    @app.middleware
    async def choose(request, call_next):
        request.state["pool"] = "chosen"
        return await call_next(request)

    async with Client(app) as client:
        assert (await client.get("/a/")).text == "chosen"


async def test_what_a_mounted_app_puts_into_the_state_is_seen_around_it_without_lifespan_events_too():
    inner, outer = App("inner"), App("outer")
    seen = []

    @outer.middleware
    async def look(request, call_next):
        response = await call_next(request)
        seen.append(request.state.get("user"))
        return response

    @inner.get("/")
    async def home(request: Request):
        request.state["user"] = "ada"
        return "home"

    outer.mount("/inner", inner)

    async with Client(outer, lifespan=False) as client:
        await client.get("/inner/")

    assert seen == ["ada"]


@pytest.mark.parametrize("lifespan", [True, False])
async def test_an_app_that_is_mounted_in_several_places_has_its_own_state_in_each(lifespan):
    app, inner, shared = make_app_with_state("outer"), make_app_with_state("inner"), make_app_with_state("shared")
    inner.mount("/shared", shared)
    app.mount("/inner", inner)
    app.mount("/shared", shared)

    for _ in range(2):
        async with Client(app, lifespan=lifespan) as client:
            seen = [(await client.get(path)).text for path in ("/inner/shared/", "/shared/", "/inner/")]
        assert seen == ["shared", "shared", "inner"]


async def test_a_foreign_app_below_a_router_that_is_mounted_twice_starts_once_and_has_its_state_in_both():
    app, router, starts = make_app_with_state("outer"), Router("router", __name__), []
    serve = make_foreign_with_state("foreign")

    async def foreign(scope, receive, send):
        if scope["type"] == "lifespan":
            starts.append(scope)
        await serve(scope, receive, send)

    router.mount("/foreign", foreign)
    app.mount("/a", router, name="a")
    app.mount("/b", router, name="b")

    for number in (1, 2):
        async with Client(app) as client:
            seen = [(await client.get(path)).text for path in ("/a/foreign/", "/b/foreign/")]
        assert (seen, len(starts)) == (["foreign", "foreign"], number)


async def test_of_two_lifespans_of_one_app_the_later_has_the_name():
    app, inner = make_app_with_state("outer"), make_app_with_state("inner")
    for each in (app, inner):

        @each.lifespan
        async def later(app):
            yield {"pool": f"the later of {app.import_name}"}

    app.mount("/inner", inner)

    async with Client(app) as client:
        seen = [(await client.get(path)).text for path in ("/", "/inner/")]

    assert seen == ["the later of outer", "the later of inner"]


async def test_an_app_has_what_it_yields_where_an_app_beside_it_yields_the_same_and_one_around_it_something_else():
    app, around = App("outer"), make_app_with_state("around")
    app.mount("/beside", make_app_with_state("the same"))
    app.mount("/around", around)
    around.mount("/inner", make_app_with_state("the same"))

    async with Client(app) as client:
        seen = [(await client.get(path)).text for path in ("/beside/", "/around/", "/around/inner/")]

    assert seen == ["the same", "around", "the same"]


@pytest.mark.parametrize("lifespan", [True, False])
async def test_an_app_that_was_mounted_has_a_state_of_its_own_when_it_is_served_alone(lifespan):
    app, inner = make_app_with_state("outer"), make_app_with_state("inner")
    app.mount("/inner", inner)

    async with Client(app):
        pass

    async with Client(inner, lifespan=lifespan) as client:
        assert (await client.get("/")).text == "inner"


async def test_what_a_mounted_app_has_yielded_is_not_kept_when_it_has_stopped():
    class Pool:
        pass

    app, inner = App("outer"), App("inner")
    kept = weakref.WeakSet()

    @inner.lifespan
    async def make_pool(app):
        pool = Pool()
        kept.add(pool)
        yield {"pool": pool}

    app.mount("/inner", inner)
    async with Client(app):
        assert len(kept) == 1

    gc.collect()
    assert not kept


def test_what_a_start_has_brought_is_gone_at_the_next_where_its_loop_was_closed_without_a_word():
    app, inner, given = make_app_with_state("outer"), App("inner"), [{"pool": "inner"}, {}]

    @inner.lifespan
    async def pool(app):
        yield given.pop(0)

    inner.get("/")(lambda request: request.state["pool"])
    app.mount("/inner", inner)

    async def ask():
        transport = ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return (await client.get("/inner/")).text

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(ask()) == "inner"
    loop.close()

    assert asyncio.run(ask()) == "outer"
    gc.collect()
