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
    "app.py": """
from . import create_app

app = create_app()
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
    "forms.py": """
class NoteForm:
    def __init__(self, fields):
        self.text = fields.get("text", "").strip()
        self.errors = [] if self.text else ["a note has a text"]
""",
    "views.py": """
from microweb import Router, current_app, redirect, render_template, request, url_for
from .forms import NoteForm
from .models import Note, notes

pages = Router("pages", __name__)

@pages.route("/", methods=["POST"])
def add():
    form = NoteForm(request.form)
    if form.errors:
        return form.errors[0], 422
    notes.append(Note(form.text))
    return redirect(url_for(".index"))

@pages.route("/")
def index():
    return render_template("index.html", title=current_app.config["TITLE"], notes=notes)
""",
    "templates/index.html": "<h1>{{ title }}</h1>{% for note in notes %}<p>{{ note.text }}</p>{% endfor %}",
    "static/app.js": "1",
}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The package, imported for one test."""
    for name, text in FILES.items():
        file = tmp_path / "layout_program" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("layout_program")
    for name in [name for name in sys.modules if name.startswith("layout_program")]:
        del sys.modules[name]


async def test_the_package_runs(program):
    async with Client(program.create_app(TITLE="Mine"), follow_redirects=True) as client:
        assert (await client.get("/")).text == "<h1>Mine</h1><p>first</p>"
        assert (await client.get("/static/app.js")).text == "1"
        assert (await client.post("/", data={"text": " "})).status_code == 422
        assert (await client.post("/", data={"text": "second"})).text == "<h1>Mine</h1><p>first</p><p>second</p>"
    async with Client(importlib.import_module("layout_program.app").app) as client:
        assert (await client.get("/")).text.startswith("<h1>Layout</h1>")
