import pytest

from microweb.testing import Client, SyncClient


class CountingApp:
    """An app whose session is a number in a cookie."""

    def __init__(self):
        self.saved = []

    async def __call__(self, scope, receive, send):
        assert scope["type"] == "http"
        cookie = dict(scope["headers"]).get(b"cookie", b"")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": cookie})

    async def load_session_for_test(self, cookies):
        return {"visits": int(cookies.get("visits", "0"))}

    async def dump_session_for_test(self, session):
        self.saved.append(dict(session))
        return [f"visits={session['visits']}; Path=/; HttpOnly", "other=1; Path=/"]


@pytest.mark.anyio
async def test_a_session_is_loaded_changed_and_saved():
    app = CountingApp()

    async with Client(app, lifespan=False, cookies={"visits": "4"}) as client:
        async with client.session_transaction() as session:
            assert session == {"visits": 4}
            session["visits"] += 1
        response = await client.get("/")

    assert "visits=5" in response.text
    assert "other=1" in response.text


@pytest.mark.anyio
async def test_a_block_that_fails_saves_nothing():
    app = CountingApp()

    async with Client(app, lifespan=False) as client:
        with pytest.raises(KeyError):
            async with client.session_transaction() as session:
                raise KeyError(session["visits"])

    assert app.saved == []


@pytest.mark.anyio
async def test_another_app_has_no_sessions():
    async def app(scope, receive, send):
        raise AssertionError

    async with Client(app, lifespan=False) as client:
        with pytest.raises(TypeError, match="needs a microweb App"):
            async with client.session_transaction():
                pass


def test_it_works_in_plain_tests():
    with SyncClient(CountingApp(), lifespan=False) as client:
        with client.session_transaction() as session:
            session["visits"] = 7
        with client.session_transaction() as session:
            assert session == {"visits": 7}
