import pytest

from microweb import App, current_app, session
from microweb.sessions import MemorySessionStore
from microweb.testing import Client, SyncClient


def make_app():
    app = App("sample", secret_key="a key that is long enough", static_folder=None)
    app.config["SESSION_COOKIE_SECURE"] = False

    @app.get("/")
    async def show():
        return dict(session)

    return app


@pytest.mark.anyio
@pytest.mark.parametrize("in_store", [False, True])
async def test_a_session_is_loaded_changed_and_saved(in_store):
    app = make_app()
    if in_store:
        app.session_store = MemorySessionStore()

    async with Client(app) as client:
        async with client.session_transaction() as session:
            assert dict(session) == {}
            session["visits"] = 4
        async with client.session_transaction() as session:
            session["visits"] += 1
        response = await client.get("/")

    assert response.json() == {"visits": 5}


@pytest.mark.anyio
async def test_a_block_that_fails_saves_nothing():
    async with Client(make_app()) as client:
        with pytest.raises(KeyError):
            async with client.session_transaction() as session:
                session["visits"] = 1
                raise KeyError
        response = await client.get("/")

    assert response.json() == {}
    assert not client.cookies


@pytest.mark.anyio
async def test_a_store_may_ask_for_the_current_app():
    class AskingStore(MemorySessionStore):
        async def load(self, id):
            asked.append(current_app.import_name)
            return await super().load(id)

    asked = []
    app = make_app()
    app.session_store = AskingStore()

    async with Client(app) as client:
        async with client.session_transaction() as session:
            session["visits"] = 1
        async with client.session_transaction() as session:
            assert session["visits"] == 1

    assert set(asked) == {"sample"}


@pytest.mark.anyio
async def test_another_app_has_no_sessions():
    async def app(scope, receive, send):
        raise AssertionError

    async with Client(app, lifespan=False) as client:
        with pytest.raises(TypeError, match="needs a microweb App"):
            async with client.session_transaction():
                pass


def test_it_works_in_plain_tests():
    with SyncClient(make_app()) as client:
        with client.session_transaction() as session:
            session["visits"] = 7
        with client.session_transaction() as session:
            assert session["visits"] == 7
