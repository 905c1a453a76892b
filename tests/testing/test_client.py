import anyio
import httpx
import pytest

from microweb.testing import AppHangs, Client, LintError

pytestmark = pytest.mark.anyio


def answer(body=b"ok", status=200, headers=()):
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    return app


async def test_hello():
    async with Client(answer(b"hello", headers=[(b"set-cookie", b"a=1")])) as client:
        r = await client.get("/")
        assert r.text == "hello"
        assert client.cookies["a"] == "1"


async def test_stream():
    produced = []

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for i in range(3):
            produced.append(i)
            await send({"type": "http.response.body", "body": b"%d" % i, "more_body": True})
        await send({"type": "http.response.body"})

    async with Client(app) as client, client.stream("GET", "/") as r:
        seen = []
        async for c in r.aiter_bytes():
            seen.append(int(c))
            assert produced == seen
        assert seen == [0, 1, 2]


async def test_leave_early():
    left = []

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        except OSError:
            left.append((await receive())["type"])

    async with Client(app) as client:
        async with client.stream("GET", "/") as r:
            async for c in r.aiter_bytes():
                break
        assert left == ["http.disconnect"]


async def test_upload():
    order = []

    async def body():
        for i in range(3):
            order.append(f"made {i}")
            yield b"%d" % i

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        got = b""
        while True:
            m = await receive()
            got += m["body"]
            order.append(f"got {m['body']}")
            if not m["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": got})

    async with Client(app) as client:
        r = await client.post("/", content=body())
        assert r.text == "012"


async def test_error():
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        raise KeyError("x")

    async with Client(app) as client:
        with pytest.raises(KeyError):
            await client.get("/")
    async with Client(app, raise_errors=False) as client:
        assert (await client.get("/")).status_code == 500


async def test_lint():
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [("a", "b")]})
        except Exception:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async with Client(app) as client:
        with pytest.raises(LintError):
            await client.get("/")


async def test_cancelled_and_hangs():
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await anyio.sleep_forever()

    with pytest.raises(AppHangs):
        async with Client(app, grace=0.05) as client:
            with anyio.move_on_after(0.01) as scope:
                await client.get("/")
            assert scope.cancelled_caught


async def test_timeout():
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await receive()
        await receive()

    async with Client(app, grace=0.05, timeout=0.01) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/")


async def test_lifespan():
    events = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            scope["state"]["x"] = 1
            events.append("start")
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            events.append("stop")
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["state"] == {"x": 1}
        await answer()(scope, receive, send)

    async with Client(app) as client:
        assert events == ["start"]
        await client.get("/")
    assert events == ["start", "stop"]
