"""The page of the document in a real browser: what is read, filled in and sent, under the page's own policy."""

import pytest

from tests.programs import Program, write
from tests.services import open_page

pytestmark = [pytest.mark.wire, pytest.mark.slow]

PROGRAM = '''
from typing import Annotated

import msgspec

from microweb import App, Depends, Form, Header, UploadFile, abort
from microweb.openapi import OpenAPI, describe


class Hat(msgspec.Struct):
    """<b>Headwear</b>"""

    size: Annotated[int, msgspec.Meta(ge=30, le=70)]
    colour: str = "red"


@describe(security="token")
async def find_user(authorization: Annotated[str, Header("Authorization")] = "") -> str:
    return "ada" if authorization == "Bearer known" else abort(401)


def make_app():
    app = App(__name__)
    OpenAPI(
        app,
        title="Hats <img src=x onerror='document.title=1'>",
        version="1.0",
        description="<script>document.title = 1</script>",
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
    )

    @app.get("/hats/<path:place>")
    async def find(place: str, tag: list[str] = []) -> list[str]:
        """Find <script>document.title = 2</script> hats.

        In a <i>place</i>.

        What an editor has broken
        runs on, but:
        - a list
        - does not
        """
        return [place, *tag]

    @app.post("/hats")
    async def add(hat: Hat) -> Hat:
        return hat

    @app.post("/photos")
    async def photo(photo: UploadFile, name: Annotated[str, Form()]) -> dict[str, int | str]:
        return {"size": photo.size, "name": name}

    @app.get("/me")
    async def me(user: Annotated[str, Depends(find_user)]) -> list[str]:
        return [user]

    return app


app = make_app()
outer = App("outer")
outer.mount("/inner", app)
outer.run(port=0)
'''


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    """Serve the program, its app mounted at a prefix; the address without a path."""
    folder = tmp_path_factory.mktemp("program")
    write(folder / "hats.py", PROGRAM)
    with Program("hats.py", cwd=folder) as program:
        yield program.url.rstrip("/")


@pytest.fixture
def page(browser, address):
    """The page, with what it asked for in ``asked``."""
    page = open_page(browser, viewport={"width": 1200, "height": 1000})
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(f"{address}/inner/docs")
    page.locator("details.operation").first.wait_for()
    yield page
    page.context.close()


def open_operation(page, name):
    box = page.locator(f"details#{name}")
    box.locator("summary").first.click()
    box.locator("button", has_text="Try it out").wait_for()
    return box


def answer_of(box):
    box.locator(".result .status").wait_for()
    return box.locator(".result pre.body").inner_text()


def test_texts_with_html_are_shown_as_they_are(page):
    box = open_operation(page, "find")

    assert page.title() == "Hats <img src=x onerror='document.title=1'>"
    assert "Find <script>document.title = 2</script> hats." in box.inner_text()
    assert "In a <i>place</i>." in box.inner_text()
    assert page.locator("main script, main i, header img, header script").count() == 0
    assert page.complaints == []


def test_lines_that_an_editor_has_broken_run_on(page):
    text = open_operation(page, "find").inner_text()

    assert "What an editor has broken runs on, but:\n- a list\n- does not" in text


def test_nothing_is_asked_of_another_origin(page, address):
    for name in ("find", "add", "photo", "me"):
        open_operation(page, name)

    assert page.asked == [f"{address}/inner/docs", f"{address}/inner/openapi.json"]


def test_a_path_and_a_list_in_the_query_are_sent_as_they_are_filled_in(page):
    box = open_operation(page, "find")
    box.get_by_label("place").fill("Köln/Mitte?")
    box.get_by_label("tag").fill("old, red & round")
    box.locator("button", has_text="Try it out").click()

    assert answer_of(box) == '[\n  "Köln/Mitte?",\n  "old",\n  "red & round"\n]'
    assert page.complaints == []


def test_a_body_begins_with_a_value_that_fits(page):
    box = open_operation(page, "add")

    assert '"size": 30' in box.get_by_label("Body").input_value()
    box.locator("button", has_text="Try it out").click()

    assert '"size": 30' in answer_of(box)
    assert box.locator(".result .status").inner_text().startswith("200")


def test_a_refused_body_shows_what_is_wrong_with_it(page):
    box = open_operation(page, "add")
    box.get_by_label("Body").fill('{"size": 3, "colour": 4}')
    box.locator("button", has_text="Try it out").click()

    assert "expected int >= 30" in answer_of(box)
    assert box.locator(".result .status").inner_text().startswith("422")


def test_a_file_is_sent_with_the_fields_of_its_form(page):
    box = open_operation(page, "photo")
    box.get_by_label("photo").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"12345"})
    box.get_by_label("name").fill("hat")
    box.locator("button", has_text="Try it out").click()

    assert answer_of(box) == '{\n  "size": 5,\n  "name": "hat"\n}'


def test_a_token_is_sent_to_what_needs_it(page):
    page.locator("summary", has_text="Credentials").click()
    page.get_by_label("token").fill("known")
    box = open_operation(page, "me")

    assert "Needs token." in box.inner_text()
    box.locator("button", has_text="Try it out").click()

    assert answer_of(box) == '[\n  "ada"\n]'


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_both_colour_schemes(page, scheme):
    page.emulate_media(color_scheme=scheme)
    lightness = """element => {
        const [r, g, b] = getComputedStyle(element).{property}.match(/\\d+/g).map(Number);
        return (r + g + b) / 765;
    }"""

    ink, paper = (
        page.locator("body").evaluate(lightness.replace("{property}", each)) for each in ("color", "backgroundColor")
    )

    assert (ink < 0.3 and paper > 0.9) if scheme == "light" else (ink > 0.8 and paper < 0.2)
