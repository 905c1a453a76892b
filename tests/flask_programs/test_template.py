"""A template with inheritance, a filter, a variable and the URL of a static file."""

import sys
import types

import pytest

from microweb import App, render_template
from microweb.testing import Client

pytestmark = pytest.mark.anyio


async def test_the_page_is_rendered_and_its_stylesheet_is_served(tmp_path, monkeypatch):
    (tmp_path / "templates").mkdir()
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "styles.css").write_text("body { color: black }")
    (tmp_path / "templates" / "layout.html").write_text(
        "<link href=\"{{ url_for('static', filename='styles.css') }}\">{% block body %}{% endblock %}"
    )
    (tmp_path / "templates" / "index.html").write_text(
        "{% extends 'layout.html' %}{% block body %}Hello, {{ name|title }}!{% endblock %}"
    )
    module = types.ModuleType("template_program")
    module.__file__ = str(tmp_path / "app.py")
    monkeypatch.setitem(sys.modules, "template_program", module)
    app = App("template_program")

    @app.route("/user/<name>")
    def user(name):
        return render_template("index.html", name=name)

    async with Client(app) as client:
        page = (await client.get("/user/ada")).text
        style = await client.get("/static/styles.css")

    assert page == '<link href="/static/styles.css">Hello, Ada!'
    assert style.text == "body { color: black }"
    assert style.headers["content-type"].startswith("text/css")
