"""The error page in a real browser: what a person clicks and types, under the page's own policy."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = os.environ.get("MICROWEB_REQUIRE_SERVICES") == "1"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
PROGRAM = """
import sys
from microweb import App, Request

app = App(__name__, debug=True, config={"DEBUG_PIN": "246-813-579"})

@app.get("/")
async def home(request: Request):
    hat = {"size": 41}
    raise ValueError("<b>no hat</b> of that size")

app.run(port=int(sys.argv[1]), reload=False)
"""


def why_not() -> str:
    """Why there is no browser to test with; nothing if there is one."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed (pip install playwright)"
    return "" if CHROMIUM else "there is no chromium on the PATH"


if not REQUIRED:
    pytestmark = [pytest.mark.wire, pytest.mark.skipif(bool(why_not()), reason=why_not() or "there is a browser")]
else:
    pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serve the program; the page's address and the file of what the server prints."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "hats.py").write_text(PROGRAM)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "output").open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "hats.py", str(port)], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "output").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/", folder / "output"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a window."""
    assert not why_not(), why_not()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """The error page, in a profile of its own, with what the browser complained of in ``complaints``."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000})
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: page.complaints.append(message.text) if "Content Security" in message.text else None,
    )
    page.goto(address[0])
    yield page
    context.close()


def test_the_page_shows_the_frame_of_the_view_with_its_styles(page):
    frame = page.locator("details.frame[open]")

    assert page.locator("h1").inner_text() == "ValueError"
    assert page.locator("header .message").inner_text() == "<b>no hat</b> of that size"
    assert "home" in frame.locator("summary").inner_text()
    assert "'size': 41" in frame.locator("table").inner_text()
    assert frame.locator("li.current").evaluate("line => getComputedStyle(line).fontWeight") == "600"
    assert page.complaints == []


def test_a_console_runs_a_line_after_the_pin_and_remembers_it(page, address):
    page.locator("details.frame[open] button.open").click()
    line = page.locator(".console input")
    line.fill("hat['size'] + 1")
    line.press("Enter")
    page.locator(".console .note", has_text="The PIN stands in the terminal").wait_for()
    line.fill("111-111-111")
    line.press("Enter")
    page.locator(".console .note", has_text="That is not the PIN").wait_for()

    line.fill(re.search(r"PIN of the debugger is (\S+)", address[1].read_text())[1])
    line.press("Enter")
    page.locator(".console .output", has_text="42").wait_for()
    line.fill("'<script>document.title = 1</script>'")
    line.press("Enter")
    page.locator(".console .output", has_text="</script>").wait_for()

    assert page.title() == "ValueError: <b>no hat</b> of that size"
    assert page.locator(".console .output script").count() == 0
    page.reload()
    page.locator("details.frame[open] button.open").click()
    page.locator(".console input").fill("hat")
    page.locator(".console input").press("Enter")
    page.locator(".console .output", has_text="41").wait_for()
    assert page.complaints == []


def test_the_plain_text_can_be_taken_along(page):
    page.locator("#copy").click()

    page.locator("#copy", has_text=re.compile("Copied|Selected")).wait_for()

    assert "Traceback (most recent call last)" in page.evaluate("getSelection().toString()")
