"""The same program tested under unittest."""

import unittest

from microweb import App
from microweb.testing import Client, SyncClient


def make_app() -> App:
    app = App(__name__)

    @app.route("/")
    def home():
        return "Hello, World!"

    return app


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
