"""A page in a real browser that follows the program it came from: nobody loads it again by hand."""

import pytest

from tests.programs import Program, write
from tests.services import is_of_policy, open_page

pytestmark = [pytest.mark.slow, pytest.mark.wire]

PROGRAM = """
    from microweb import App, render_template

    app = App(__name__, debug=True)

    @app.get("/")
    async def home():
        return "<link rel=stylesheet href=/static/site.css><p>one</p>"

    @app.get("/template")
    async def from_template():
        return render_template("page.html")

    @app.get("/broken")
    async def broken():
        raise ValueError("no hat")

    if __name__ == "__main__":
        app.run(port=0)
"""


@pytest.fixture
def page(browser):
    """A tab, which the program is waited for in."""
    page = open_page(browser, complains=is_of_policy)
    page.set_default_timeout(90_000)
    yield page
    page.context.close()


@pytest.fixture
def program(tmp_path):
    """The program, served by its own ``app.run`` with a reloader."""
    write(tmp_path / "templates" / "page.html", "<!doctype html><body><p>one</p></body>")
    write(tmp_path / "static" / "site.css", "p { color: rgb(1, 2, 3) }")
    write(tmp_path / "app.py", PROGRAM)
    with Program("app.py", cwd=tmp_path) as program:
        yield program


def rewrite(path, before, after):
    path.write_text(path.read_text().replace(before, after))


def listen(page, url):
    """Open a page and wait until it listens: a change before that is seen all the same, and later."""
    with page.expect_request("**/_microweb/refresh"):
        page.goto(url)


def test_an_edited_view_is_shown(page, program, tmp_path):
    listen(page, program.url)

    rewrite(tmp_path / "app.py", "<p>one", "<p>two")

    page.locator("p", has_text="two").wait_for()
    assert page.complaints == []


def test_an_edited_template_is_shown(page, program, tmp_path):
    listen(page, program.url + "/template")

    rewrite(tmp_path / "templates" / "page.html", "one", "two")

    page.locator("p", has_text="two").wait_for()


def test_an_edited_style_sheet_is_shown_by_the_same_process(page, program, tmp_path):
    listen(page, program.url)

    rewrite(tmp_path / "static" / "site.css", "1, 2, 3", "4, 5, 6")

    page.wait_for_function("() => getComputedStyle(document.querySelector('p')).color === 'rgb(4, 5, 6)'")
    assert "starting again" not in program.output


def test_a_program_that_could_not_start_is_shown_when_it_is_mended(page, program, tmp_path):
    listen(page, program.url)
    rewrite(tmp_path / "app.py", "async def home():\n", "async def home(:\n")
    program.wait_for("waiting for a change")

    rewrite(
        tmp_path / "app.py",
        'async def home(:\n    return "<link rel=stylesheet href=/static/site.css><p>one',
        'async def home():\n    return "<p>two',
    )

    page.locator("p", has_text="two").wait_for()


def test_an_error_page_goes_when_the_error_is_mended(page, program, tmp_path):
    listen(page, program.url + "/broken")
    page.locator("h1", has_text="ValueError").wait_for()

    rewrite(tmp_path / "app.py", 'raise ValueError("no hat")', 'return "<p>two"')

    page.locator("p", has_text="two").wait_for()
    assert page.complaints == []


def test_a_page_under_a_strict_policy_is_refreshed_without_a_complaint(page, program, tmp_path):
    write(tmp_path / "strict.py", PROGRAM)
    rewrite(tmp_path / "strict.py", "import App,", "import App, Response,")
    rewrite(
        tmp_path / "strict.py",
        'return render_template("page.html")',
        """return Response("<p>one", headers={"content-security-policy": "default-src 'self'"})""",
    )
    with Program("strict.py", cwd=tmp_path) as strict:
        listen(page, strict.url + "/template")

        rewrite(tmp_path / "strict.py", "<p>one", "<p>two")

        page.locator("p", has_text="two").wait_for()
    assert page.complaints == []


def test_a_tab_in_the_background_catches_up_when_it_is_seen(page, program, tmp_path):
    listen(page, program.url)
    page.evaluate(
        """() => {
            Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    rewrite(tmp_path / "app.py", "<p>one", "<p>two")
    program.wait_for("starting again")
    assert page.locator("p").inner_text() == "one"

    page.evaluate(
        """() => {
            delete document.visibilityState;
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )

    page.locator("p", has_text="two").wait_for()
