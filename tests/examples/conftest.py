"""What the tests of the guest book share: the app, clients of it, a browser, and a Redis."""

import os
import shutil
import subprocess

import pytest

from microweb.testing import SyncClient
from tests.examples.guestbook import CHROMIUM, EXAMPLES, FLAGS, serving, why_no_browser
from tests.programs import find_free_port, wait_until

REQUIRED = os.environ.get("MICROWEB_REQUIRE_SERVICES") == "1"


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


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a window."""
    reason = why_no_browser()
    if reason:
        (pytest.fail if REQUIRED else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def site(tmp_path):
    """The address of a guest book in a process of its own."""
    with serving(tmp_path / "data") as url:
        yield url


@pytest.fixture
def redis_url(tmp_path):
    """The URL of a Redis that lives as long as the test and keeps nothing."""
    redis = pytest.importorskip("redis")
    program = shutil.which("redis-server")
    if program is None:
        (pytest.fail if REQUIRED else pytest.skip)("redis-server is not installed")
    port = find_free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:

            def answers():
                try:
                    return client.ping()
                except redis.ConnectionError:
                    return False

            wait_until(answers, "Redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(30)
