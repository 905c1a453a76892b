"""What the tests of the guest book share: the app, clients of it, and a Redis."""

import os

import pytest

from microweb.testing import SyncClient
from tests.examples.guestbook import EXAMPLES, serving
from tests.programs import find_free_port
from tests.services import running_redis


@pytest.fixture
def create_app(monkeypatch, tmp_path):
    """The factory of the guest book, with everything in a folder of the test."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in [name for name in os.environ if name == "REDIS_URL" or name.startswith("GUESTBOOK_")]:
        monkeypatch.delenv(name)
    from guestbook import create_app

    return lambda **config: create_app({"DATA": str(tmp_path / "data"), **config})


@pytest.fixture
def app(create_app):
    return create_app()


@pytest.fixture
def visit(create_app):
    """A function that gives a further visitor of the guest book: cookies of their own, and an app on the same data."""
    opened = []

    def visit():
        opened.append(SyncClient(create_app(), headers={"accept": "text/html"}).__enter__())
        return opened[-1]

    yield visit
    for client in reversed(opened):
        client.__exit__(None, None, None)


@pytest.fixture
def client(visit):
    """One visitor, with a browser's Accept."""
    return visit()


@pytest.fixture
def site(tmp_path):
    """The address of a guest book in a process of its own."""
    with serving(tmp_path / "data") as url:
        yield url


@pytest.fixture
def redis_url(tmp_path):
    """The URL of a Redis that lives as long as the test."""
    with running_redis(find_free_port(), tmp_path) as url:
        yield url
