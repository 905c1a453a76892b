"""The same program tested under pytest and under unittest, in plain tests and in coroutines."""

import unittest

import pytest

from microweb import App
from microweb.testing import Client, SyncClient


def make_app() -> App:
    app = App(__name__)

    @app.route("/")
    def home():
        return "Hello, World!"

    return app


@pytest.fixture
def app():
    return make_app()


def test_home(sync_client):
    response = sync_client.get("/")

    assert response.status_code == 200
    assert response.text == "Hello, World!"


@pytest.mark.anyio
async def test_home_in_a_coroutine(client):
    assert (await client.get("/")).text == "Hello, World!"


class PlainTest(unittest.TestCase):
    def setUp(self):
        self.client = self.enterContext(SyncClient(make_app()))

    def test_home(self):
        response = self.client.get("/")

        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.text, "Hello, World!")


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = await self.enterAsyncContext(Client(make_app()))

    async def test_home(self):
        self.assertEqual((await self.client.get("/")).text, "Hello, World!")
