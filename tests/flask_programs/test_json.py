"""JSON in, JSON out, in a coroutine and in a plain view."""

import pytest

from microweb import App, jsonify, request
from microweb.testing import Client

pytestmark = pytest.mark.anyio


def make_app() -> App:
    app = App(__name__)

    @app.route("/data", methods=["POST"])
    async def receive():
        data = await request.json()
        return {"received": data}

    @app.route("/plain", methods=["POST"])
    def receive_plain():
        data = request.get_json()
        return jsonify(received=data, key=request.json["key"])

    return app


@pytest.mark.parametrize("path", ["/data", "/plain"])
async def test_data_comes_back(path):
    async with Client(make_app()) as client:
        answer = await client.post(path, json={"key": "value"})
        broken = await client.post(path, content=b"{", headers={"content-type": "application/json"})
        other = await client.post(path, data={"key": "value"})

    assert answer.json()["received"] == {"key": "value"}
    assert (broken.status_code, other.status_code) == (400, 415)
