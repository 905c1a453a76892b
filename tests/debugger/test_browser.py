"""The error page in a real browser: what a person clicks and types, under the page's own policy."""

import re

import pytest

from tests.programs import Program, write
from tests.services import is_of_policy, open_page

pytestmark = [pytest.mark.wire, pytest.mark.slow]

PROGRAM = """
    from microweb import App, Request

    app = App(__name__, debug=True, config={"DEBUG_PIN": "246-813-579"})

    @app.get("/")
    async def home(request: Request):
        hat = {"size": 41}
        raise ValueError("<b>no hat</b> of that size")

    app.run(port=0, reload=False)
"""


@pytest.fixture(scope="module")
def program(browser, tmp_path_factory):
    """The program, served by its own ``app.run``."""
    folder = tmp_path_factory.mktemp("program")
    write(folder / "hats.py", PROGRAM)
    with Program("hats.py", cwd=folder) as program:
        yield program


@pytest.fixture
def page(browser, program):
    """The error page, in a profile of its own."""
    page = open_page(browser, complains=is_of_policy, viewport={"width": 1200, "height": 1000})
    page.goto(program.url)
    yield page
    page.context.close()


def test_the_page_shows_the_frame_of_the_view_with_its_styles(page):
    frame = page.locator("details.frame[open]")

    assert page.locator("h1").inner_text() == "ValueError"
    assert page.locator("header .message").inner_text() == "<b>no hat</b> of that size"
    assert "home" in frame.locator("summary").inner_text()
    assert "'size': 41" in frame.locator("table").inner_text()
    assert frame.locator("li.current").evaluate("line => getComputedStyle(line).fontWeight") == "600"
    assert page.complaints == []


def test_a_console_runs_a_line_after_the_pin_and_remembers_it(page, program):
    page.locator("details.frame[open] button.open").click()
    line = page.locator(".console input")
    line.fill("hat['size'] + 1")
    line.press("Enter")
    page.locator(".console .note", has_text="The PIN stands in the terminal").wait_for()
    line.fill("111-111-111")
    line.press("Enter")
    page.locator(".console .note", has_text="That is not the PIN").wait_for()

    line.fill(re.search(r"PIN of the debugger is (\S+)", program.output)[1])
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
