"""Mistakes in templates: the error page and the log name the template and the line, wherever it was rendered from."""

import logging
import re

import pytest

from microweb import App, Router, render_template, render_template_string, stream_template
from microweb.testing import Client

pytestmark = pytest.mark.anyio

BROWSER = {"accept": "text/html"}
LAYOUT = "<title>{% block title %}{% endblock %}</title>\n<main>\n{% block main %}{% endblock %}\n</main>\n"


@pytest.fixture
def write(tmp_path):
    """Write templates by name."""

    def write(**templates):
        for name, source in templates.items():
            (tmp_path / f"{name}.html").write_text(source)

    return write


async def visit(folder, render, caplog, *, debug=True):
    """The text of the answer to a page that ``render()`` makes, and the log, each error with its traceback."""
    app = App(__name__, debug=debug, template_folder=str(folder))

    @app.get("/")
    async def home():
        return render()

    with caplog.at_level(logging.ERROR):
        async with Client(app, raise_errors=False, base_url="http://localhost") as client:
            answer = await client.get("/", headers=BROWSER)
    assert answer.status_code == 500
    return answer.text, caplog.text


def page():
    return render_template("page.html")


def place(folder, name, line):
    """How the page names a template's line, and how the log does."""
    path = folder / f"{name}.html"
    return f"in the template <b>{path}</b>, line {line}<", f'File "{path}", line {line}, in '


@pytest.mark.parametrize(
    ("templates", "name", "line"),
    [
        ({"page": "<p>\n{{ nothing.at_all }}\n"}, "page", 2),
        ({"page": "<p>\n\n{{ missing() }}\n"}, "page", 3),
        ({"page": "<p>\n{{ 1|nothing.at_all }}\n"}, "page", 2),
        ({"page": "<p>\n{% include 'part.html' %}\n", "part": "\n\n{{ nothing.at_all }}"}, "part", 3),
        ({"page": "{% extends 'layout.html' %}\n{% block main %}\n{{ nothing.at_all }}{% endblock %}"}, "page", 3),
        ({"page": "{% extends 'broken.html' %}", "broken": "<p>\n{{ nothing.at_all }}"}, "broken", 2),
        (
            {
                "page": "\n{% from 'parts.html' import box %}\n{{ box(1) }}",
                "parts": "{% macro box(x) %}\n\n\n{{ x.y.z }}{% endmacro %}",
            },
            "parts",
            4,
        ),
        ({"page": "<p>\n<p>\n{% if %}\n"}, "page", 3),
        ({"page": "<p>\n{% include 'part.html' %}\n", "part": "\n{% endfor %}"}, "part", 2),
        ({"page": "<p>\n{% include 'absent.html' %}\n"}, "page", 2),
        ({"page": "\n{% extends 'absent.html' %}\n"}, "page", 2),
        ({"page": "<p>\n\n{% import 'absent.html' as absent %}\n"}, "page", 3),
    ],
)
async def test_the_page_and_the_log_name_template_and_line(tmp_path, write, caplog, templates, name, line):
    write(layout=LAYOUT, **templates)

    text, log = await visit(tmp_path, page, caplog)

    shown, logged = place(tmp_path, name, line)
    assert shown in text
    assert logged in log
    assert f'<li value="{line}" class=current>' in text


async def test_a_template_shows_what_it_was_given_and_not_what_every_template_knows(tmp_path, write, caplog):
    write(page="{% for book in books %}{{ book.title.upper() }}{% endfor %}")

    text, _ = await visit(tmp_path, lambda: render_template("page.html", books=[{"pages": 7}], g="mine"), caplog)

    frame = text.partition("<summary><b>top-level")[2].partition("</details>")[0]
    assert set(re.findall("<th>(.*?)</th>", frame)) == {"book", "books", "g"}


async def test_without_debug_the_log_alone_names_them(tmp_path, write, caplog):
    write(page="<p>\n{{ nothing.at_all }}\n")

    text, log = await visit(tmp_path, page, caplog, debug=False)

    shown, logged = place(tmp_path, "page", 2)
    assert shown not in text
    assert logged in log
    assert "'nothing' is undefined" in log


async def test_a_missing_template_is_named_with_the_line_of_the_view(tmp_path, caplog):
    text, log = await visit(tmp_path, lambda: render_template("absent.html"), caplog)

    assert "absent.html" in text.partition("<main>")[0]
    assert str(tmp_path) in text.partition("<main>")[0], "where it was looked for"
    assert "render_template(&quot;absent.html&quot;)" in text
    assert "TemplateNotFound" in log


async def test_of_several_templates_none_of_which_exists_all_are_named(tmp_path, caplog):
    text, _ = await visit(tmp_path, lambda: render_template(["first.html", "second.html"]), caplog)

    heading = text.partition("<main>")[0]
    assert "first.html" in heading
    assert "second.html" in heading


async def test_the_line_of_a_template_from_a_string_is_named_and_shown(tmp_path, caplog):
    source = "<p>\n\n<b>{{ nothing.at_all }}</b>"

    text, log = await visit(tmp_path, lambda: render_template_string(source), caplog)

    assert "in the template <b>&lt;template&gt;</b>, line 3<" in text
    assert 'File "<template>", line 3, in ' in log


async def test_an_error_in_a_file_that_a_string_includes_is_the_files(tmp_path, write, caplog):
    write(part="\n{{ nothing.at_all }}")

    text, log = await visit(tmp_path, lambda: render_template_string("{% include 'part.html' %}"), caplog)

    shown, logged = place(tmp_path, "part", 2)
    assert shown in text
    assert logged in log


async def test_a_syntax_error_in_a_streamed_template_comes_before_the_stream(tmp_path, write, caplog):
    write(page="<p>\n{% if %}\n")

    text, _ = await visit(tmp_path, lambda: stream_template("page.html"), caplog)

    assert place(tmp_path, "page", 2)[0] in text


async def test_a_routers_own_template_is_named_by_its_folder(tmp_path, caplog):
    folder = tmp_path / "of the router"
    folder.mkdir()
    (folder / "hat.html").write_text("\n{{ hat.size }}")
    app = App(__name__, debug=True)
    router = Router("hats", __name__, template_folder=str(folder))
    router.add_route("/", lambda: render_template("hat.html"))
    app.mount("/hats", router)

    with caplog.at_level(logging.ERROR):
        async with Client(app, raise_errors=False, base_url="http://localhost") as client:
            text = (await client.get("/hats/", headers=BROWSER)).text

    assert place(folder, "hat", 2)[0] in text
