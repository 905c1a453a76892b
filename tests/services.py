"""What tests need from outside: a Chromium and a Redis, started for them.

Not a test file. Where one is not installed its tests are skipped, or fail if ``MICROWEB_REQUIRE_SERVICES=1`` says that
it has to be there.
"""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from tests.programs import wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--font-render-hinting=none"]


def lack(reason):
    """Skip what needs something that is not there."""
    if os.environ.get("MICROWEB_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason}, and MICROWEB_REQUIRE_SERVICES=1 asks for it")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lack("playwright is not installed (pip install playwright)")
    if CHROMIUM is None:
        lack("there is no chromium on the PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def is_error(message):
    """Whether a line of the console tells of an error, of an answer from 400 up for instance."""
    return message.type == "error"


def is_of_policy(message):
    """Whether a line of the console says that the page's own policy forbids something."""
    return "Content Security" in message.text


def open_page(browser, *, complains=is_error, **options):
    """An empty page of a visitor of their own.

    ``complaints`` are the errors of its scripts, and the lines of its console that ``complains`` is true for.
    """
    page = browser.new_context(**options).new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: complains(message) and page.complaints.append(message.text))
    page.set_default_timeout(60_000)
    return page


@contextmanager
def running_redis(port, folder):
    """The URL of a Redis that keeps nothing, for the time of a ``with`` block."""
    redis = pytest.importorskip("redis")
    program = shutil.which("redis-server")
    if program is None:
        lack("redis-server is not installed")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
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
