"""The clients and a real App together: what the two promise each other."""

import anyio
import pytest

from microweb import App, WebSocketDisconnect, current_app, session
from microweb.sessions import MemorySessionStore
from microweb.testing import Client, SyncClient, WebSocketDenied

pytestmark = pytest.mark.anyio


async def test_an_unhandled_error_is_raised_in_the_test():
    app = App(__name__)

    @app.get("/")
    async def broken():
        raise KeyError("broken")

    async with Client(app) as client:
        with pytest.raises(KeyError, match="broken"):
            await client.get("/")


async def test_an_unhandled_error_is_the_apps_500_if_asked_for():
    app = App(__name__)

    @app.get("/")
    async def broken():
        raise KeyError("broken")

    async with Client(app, raise_errors=False) as client:
        response = await client.get("/", headers={"Accept": "application/json"})

    assert response.status_code == 500
    assert response.headers["content-type"].startswith("application/problem+json")


async def test_an_error_that_a_handler_answers_is_not_raised():
    app = App(__name__)

    @app.get("/")
    async def broken():
        raise KeyError("broken")

    @app.errorhandler(KeyError)
    async def sorry(error):
        return "sorry", 400

    async with Client(app) as client:
        assert (await client.get("/")).status_code == 400
        assert (await client.get("/nowhere")).status_code == 404


async def test_a_call_returns_after_teardown():
    app = App(__name__)
    events = []

    @app.get("/")
    async def home():
        return "hello"

    @app.teardown_request
    async def teardown(error):
        await anyio.lowlevel.checkpoint()
        events.append("teardown")

    async with Client(app) as client:
        await client.get("/")
        assert events == ["teardown"]


async def test_a_stream_that_is_left_is_closed_and_torn_down_before_the_block_ends():
    app = App(__name__)
    events = []

    @app.get("/")
    async def numbers():
        async def generate():
            try:
                for number in range(1000):
                    yield f"{number}\n"
            finally:
                events.append("closed")

        return generate()

    @app.teardown_request
    async def teardown(error):
        events.append("teardown")

    async with Client(app) as client:
        async with client.stream("GET", "/") as response:
            async for line in response.aiter_lines():
                if line == "1":
                    break
        assert events == ["closed", "teardown"]


async def test_a_body_is_read_while_it_is_uploaded():
    app = App(__name__)
    events = []

    @app.post("/")
    async def count(request):
        async for chunk in request.stream():
            events.append(f"took {chunk.decode()}")
        return "done"

    async def body():
        for number in range(2):
            events.append(f"made {number}")
            yield b"%d" % number
            await anyio.wait_all_tasks_blocked()

    async with Client(app) as client:
        await client.post("/", content=body())

    assert events == ["made 0", "took 0", "made 1", "took 1"]


async def test_the_lifespan_of_an_app_runs_around_the_block():
    app = App(__name__)
    events = []

    @app.lifespan
    async def pool(app):
        events.append("open")
        yield {"pool": "the pool"}
        events.append("close")

    @app.get("/")
    async def home(request):
        return request.state["pool"]

    async with Client(app) as client:
        assert events == ["open"]
        assert (await client.get("/")).text == "the pool"

    assert events == ["open", "close"]


async def test_an_app_that_cannot_start_raises_its_own_error():
    app = App(__name__)

    @app.lifespan
    async def pool(app):
        raise KeyError("no database")
        yield

    with pytest.raises(KeyError, match="no database"):
        async with Client(app):
            pass


async def test_an_app_that_cannot_stop_raises_its_own_error():
    app = App(__name__)

    @app.lifespan
    async def pool(app):
        yield
        raise KeyError("while closing")

    with pytest.raises(KeyError, match="while closing"):
        async with Client(app):
            pass


async def test_an_app_starts_any_number_of_times():
    app = App(__name__)
    starts = []

    @app.lifespan
    async def count(app):
        starts.append(1)
        yield

    for _ in range(3):
        async with Client(app):
            pass

    assert len(starts) == 3


async def test_a_websocket_view_talks_to_the_test():
    app = App(__name__)

    @app.websocket("/echo")
    async def echo(websocket):
        await websocket.accept()
        async for message in websocket:
            await websocket.send_text(message)

    async with Client(app) as client, client.websocket("/echo") as websocket:
        await websocket.send_text("hello")
        assert await websocket.receive_text() == "hello"


async def test_an_error_in_a_websocket_view_is_raised_in_the_test():
    app = App(__name__)

    @app.websocket("/")
    async def broken(websocket):
        await websocket.accept()
        raise KeyError("broken")

    async with Client(app) as client:
        with pytest.raises(KeyError, match="broken"):
            async with client.websocket("/") as websocket:
                await websocket.receive()
    async with Client(app, raise_errors=False) as client, client.websocket("/") as websocket:
        with pytest.raises(WebSocketDisconnect, match="1011"):
            await websocket.receive()


async def test_a_websocket_to_nowhere_is_a_404():
    async with Client(App(__name__)) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/nowhere"):
                pass

    assert denied.value.response.status_code == 404


async def test_a_view_with_cancel_on_disconnect_ends_when_its_client_leaves():
    app = App(__name__)
    events = []
    entered = anyio.Event()

    @app.get("/slow", cancel_on_disconnect=True)
    async def slow():
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            events.append("cleaned up")

    async with Client(app) as client, client.exchange("GET", "/slow") as exchange:
        await entered.wait()
        await anyio.wait_all_tasks_blocked()
        exchange.disconnect()
        await exchange.wait_ended()
        assert events == ["cleaned up"]


async def test_a_session_is_prepared_and_inspected():
    app = App(__name__, secret_key="a secret of the tests")

    @app.get("/")
    async def count():
        session["visits"] = session.get("visits", 0) + 1
        return str(session["visits"])

    async with Client(app) as client:
        async with client.session_transaction() as stored:
            stored["visits"] = 41
        assert (await client.get("/")).text == "42"
        async with client.session_transaction() as stored:
            assert stored["visits"] == 42


async def test_a_store_that_asks_for_the_current_app_can_be_prepared():
    app = App(__name__, secret_key="a secret of the tests")

    class AppsOwn:
        """A store that finds what it needs on the app, as one whose pool a lifespan makes."""

        async def load(self, id):
            return await current_app.state.sessions.load(id)

        async def save(self, id, data, version, lifetime):
            await current_app.state.sessions.save(id, data, version, lifetime)

        async def delete(self, id):
            await current_app.state.sessions.delete(id)

    app.state.sessions, app.session_store = MemorySessionStore(), AppsOwn()

    @app.get("/")
    async def count():
        return str(session["visits"])

    async with Client(app) as client:
        async with client.session_transaction() as stored:
            stored["visits"] = 41
        assert (await client.get("/")).text == "41"
        async with client.session_transaction() as stored:
            assert stored["visits"] == 41


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_sync_client_serves_an_app_with_plain_views(backend):
    app = App(__name__)

    @app.post("/data")
    def data(request):
        return {"received": request.json}

    with SyncClient(app, backend=backend) as client:
        assert client.post("/data", json=[1, 2]).json() == {"received": [1, 2]}
