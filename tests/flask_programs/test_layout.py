"""An application in a package: factory, config, models, views, templates and static files in their own files."""

import importlib
import sys

import pytest

from microweb.testing import Client

pytestmark = pytest.mark.anyio

FILES = {
    "__init__.py": """
from microweb import App
from . import views

def create_app(**config):
    app = App(__name__)
    app.config.from_object("layout_program.config.Config")
    app.config.from_mapping(config)
    app.mount("", views.pages)
    return app
""",
    "config.py": """
class Config:
    SECRET_KEY = "a secret of the layout program"
    TITLE = "Layout"
""",
    "models.py": """
class Note:
    def __init__(self, text):
        self.text = text

notes = [Note("first")]
""",
    "views.py": """
from microweb import Router, current_app, render_template
from .models import notes

pages = Router("pages", __name__)

@pages.route("/")
def index():
    return render_template("index.html", title=current_app.config["TITLE"], notes=notes)
""",
    "templates/index.html": "<h1>{{ title }}</h1>{% for note in notes %}<p>{{ note.text }}</p>{% endfor %}",
    "static/app.js": "1",
}


async def test_the_package_runs(tmp_path, monkeypatch):
    for name, text in FILES.items():
        file = tmp_path / "layout_program" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    program = importlib.import_module("layout_program")

    async with Client(program.create_app(TITLE="Mine")) as client:
        assert (await client.get("/")).text == "<h1>Mine</h1><p>first</p>"
        assert (await client.get("/static/app.js")).text == "1"
    for name in [name for name in sys.modules if name.startswith("layout_program")]:
        monkeypatch.delitem(sys.modules, name)
