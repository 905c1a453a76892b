"""A router in a module of its own, with its own templates, static files, routes and error page."""

import importlib
import sys

import pytest

from microweb import App
from microweb.testing import Client

pytestmark = pytest.mark.anyio

MODULE = """
from microweb import Router, render_template, url_for

blog = Router("blog", __name__, template_folder="templates", static_folder="static")

@blog.route("/")
def index():
    return render_template("blog.html", link=url_for(".show", number=3))

@blog.route("/<int:number>")
async def show(number):
    return f"post {number}"

@blog.errorhandler(404)
def missing(error):
    return "no such post", 404
"""


async def test_the_blog_stands_under_its_prefix(tmp_path, monkeypatch):
    package = tmp_path / "blog_program"
    (package / "templates").mkdir(parents=True)
    (package / "static").mkdir()
    (package / "__init__.py").write_text(MODULE)
    (package / "templates" / "blog.html").write_text("{{ link }} {{ url_for('.static', filename='blog.css') }}")
    (package / "static" / "blog.css").write_text("p {}")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("blog_program")
    monkeypatch.delitem(sys.modules, "blog_program")
    sys.modules["blog_program"] = module
    app = App(__name__)
    app.mount("/blog", module.blog)

    async with Client(app) as client:
        page = (await client.get("/blog/")).text
        assert page.split()[0] == "/blog/3"
        assert (await client.get(page.split()[1])).text == "p {}"
        assert (await client.get("/blog/3")).text == "post 3"
        assert (await client.get("/blog/nothing/here")).text == "no such post"
        assert (await client.get("/elsewhere")).text != "no such post"
    monkeypatch.delitem(sys.modules, "blog_program")
