"""Templates: where they are found, what they know, how they are escaped, streamed and observed."""

import dataclasses
import datetime
import sys
import threading
import types

import jinja2
import pytest

from microweb import (
    App,
    Router,
    SetupError,
    flash,
    g,
    get_flashed_messages,
    render_template,
    render_template_string,
    session,
    stream_template,
    stream_template_string,
)
from microweb.errors import OutsideContextError
from microweb.sessions import MemorySessionStore
from microweb.testing import Client

pytestmark = pytest.mark.anyio


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A module called ``program`` in a folder of its own, for apps and routers to stand beside."""

    def make(name="program", **templates):
        folder = tmp_path / name
        (folder / "templates").mkdir(parents=True)
        for file, text in templates.items():
            (folder / "templates" / f"{file}.html").write_text(text)
        module = types.ModuleType(name)
        module.__file__ = str(folder / "__init__.py")
        monkeypatch.setitem(sys.modules, name, module)
        return name

    return make


async def test_a_template_is_rendered_with_inheritance_escaping_and_variables(program):
    app = App(
        program(
            base="<title>{% block title %}{% endblock %}</title>",
            index="{% extends 'base.html' %}{% block title %}{{ name }}{% endblock %}",
        )
    )

    @app.get("/user/<name>")
    async def user(name):
        return render_template("index.html", name=name)

    async with Client(app) as client:
        assert (await client.get("/user/<b>")).text == "<title>&lt;b&gt;</title>"


async def test_a_variable_may_be_called_template(program):
    app = App(program(page="{{ template }}"))
    app.get("/whole")(lambda: render_template("page.html", template="plain"))
    app.get("/parts", endpoint="parts")(lambda: stream_template("page.html", template="plain"))

    async with Client(app) as client:
        assert [(await client.get(path)).text for path in ("/whole", "/parts")] == ["plain", "plain"]


async def test_every_template_knows_the_request_and_its_surroundings(program):
    app = App(program(index="{% from 'macro.html' import show %}{{ show() }}", macro=MACRO), secret_key="k" * 20)

    @app.get("/page")
    def page():
        g.x = "gx"
        session["user"] = "ada"
        return render_template("index.html")

    async with Client(app) as client:
        assert (await client.get("/page?q=1")).text == "/page 1 gx ada /page k False"


MACRO = (
    "{% macro show() %}{{ request.path }} {{ request.args.q }} {{ g.x }} {{ session.user }} "
    "{{ url_for('page') }} {{ config.SECRET_KEY[0] }} {{ current_app.debug }}{% endmacro %}"
)


async def test_the_apps_templates_win_over_a_routers(program):
    app = App(program("outer", shared="app's"))
    blog = Router("blog", program("inner", shared="router's", own="router's own"), template_folder="templates")

    @blog.get("/<name>")
    async def page(name):
        return render_template([f"{name}.html", "shared.html"])

    app.mount("", blog)
    async with Client(app) as client:
        assert (await client.get("/shared")).text == "app's"
        assert (await client.get("/own")).text == "router's own"
        assert (await client.get("/missing")).text == "app's"


async def test_context_processors_filters_tests_and_globals(program):
    app, blog = App(program()), Router("blog", "blog", prefix="/blog")
    source = "{{ name }} {{ 'x' | twice }} {{ 4 is even }} {{ shout('a') }} {{ extra|default('none') }}"

    app.context_processor(lambda: {"name": "from the app"})
    blog.context_processor(lambda: {"extra": "from the router", "name": "from the router"})
    app.template_filter()(twice)
    app.template_test("even")(lambda number: number % 2 == 0)
    blog.template_global("shout")(lambda text: text.upper())

    @app.get("/")
    async def home():
        return render_template_string(source)

    @blog.get("/")
    async def index():
        return render_template_string(source, name="given")

    app.mount("", blog)
    async with Client(app) as client:
        assert (await client.get("/")).text == "from the app xx True A none"
        assert (await client.get("/blog/")).text == "given xx True A from the router"


def twice(text):
    return text * 2


def test_an_async_function_for_templates_is_refused_with_its_place():
    app = App(__name__)

    @app.context_processor
    async def processor():
        return {}

    with app.app_context(), pytest.raises(SetupError, match=r"test_templating.py:\d+"):
        render_template_string("x")


@pytest.mark.parametrize(
    "register",
    [
        lambda app: app.context_processor,
        lambda app: app.template_filter(),
        lambda app: app.template_test("late"),
        lambda app: app.template_global(),
    ],
)
async def test_an_async_function_for_templates_stops_the_start(register):
    app = App(__name__)

    @register(app)
    async def late(*values):
        return {}

    with pytest.raises(SetupError, match=r"render synchronously.*test_templating.py:\d+"):
        async with Client(app):
            pass


async def test_strings_and_markup_files_are_escaped_and_text_files_are_not(tmp_path, program):
    name = program(page="{{ value }}")
    (tmp_path / name / "templates" / "page.txt").write_text("{{ value }}")

    with App(name).app_context():
        assert render_template("page.html", value="<") == "&lt;"
        assert render_template("page.txt", value="<") == "<"
        assert render_template_string("{{ value }}", value="<") == "&lt;"


def test_the_filter_tojson_writes_what_an_answer_has():
    value = {"to": datetime.date(2026, 3, 1), "by": dataclasses.make_dataclass("Guest", ["name"])("</script>")}

    with App(__name__).app_context():
        assert render_template_string("{{ value | tojson }}", value=value) == (
            r'{"to":"2026-03-01","by":{"name":"\u003c/script\u003e"}}'
        )
        assert render_template_string("{{ [1] | tojson(indent=2) }}") == "[\n  1\n]"


async def test_a_missing_template_or_name_is_an_error_that_names_it(program):
    with App(program(bad="line\n{{ nothing.at_all }}")).app_context():
        with pytest.raises(jinja2.TemplateNotFound, match=r"absent\.html"):
            render_template("absent.html")
        with pytest.raises(jinja2.UndefinedError, match="nothing"):
            render_template("bad.html")


async def test_a_changed_template_is_seen_in_debug(tmp_path, program):
    import os

    name = program(page="first")
    app = App(name, debug=True)
    path = tmp_path / name / "templates" / "page.html"

    with app.app_context():
        assert render_template("page.html") == "first"
        path.write_text("second")
        os.utime(path, (1, 1))
        assert render_template("page.html") == "second"


async def test_a_template_is_compiled_once(tmp_path, program):
    name = program(page="first")
    app, seen = App(name), []
    app.on("template_rendered")(lambda template: seen.append(template))

    with app.app_context():
        render_template("page.html")
        (tmp_path / name / "templates" / "page.html").write_text("second")
        assert render_template("page.html") == "first"
        render_template_string("{{ 1 }}")
        render_template_string("{{ 1 }}")

    assert seen[0] is seen[1]
    assert seen[2] is seen[3]


async def test_what_is_registered_later_counts_in_strings_that_were_rendered_before(program):
    app = App(program())
    app.template_filter("sign")(lambda text: f"{text}?")

    with app.app_context():
        assert render_template_string("{{ 'x' | sign }}") == "x?"
        app.template_filter("sign")(lambda text: f"{text}!")
        assert render_template_string("{{ 'x' | sign }}") == "x!"


async def test_the_programs_own_changes_to_the_environment_stay(program):
    app = App(program())
    app.jinja_env.trim_blocks = True
    app.jinja_env.filters["own"] = lambda text: f"own {text}"

    @app.get("/")
    async def home():
        return render_template_string("{% if true %}\n{{ 'x' | own }}{% endif %}")

    async with Client(app) as client:
        assert (await client.get("/")).text == "own x"


async def test_auto_reload_set_by_hand_stays_until_the_config_says_something_else(program):
    app = App(program())
    app.jinja_env.auto_reload = True
    app.config["TITLE"] = "read anew after this"

    assert app.jinja_env.auto_reload is True

    app.debug = True
    assert app.jinja_env.auto_reload is True
    app.config["TEMPLATES_AUTO_RELOAD"] = False
    assert app.jinja_env.auto_reload is False


async def test_what_is_registered_after_the_environment_was_asked_for_counts(program):
    app, shop = (
        App(program()),
        Router("shop", program("shop", page="{{ owner }}{{ 'x' | sign }}"), template_folder="templates"),
    )
    app.jinja_env.globals["early"] = True
    app.context_processor(lambda: {"owner": "the shop"})
    app.template_filter("sign")(lambda text: f" {text}!")
    shop.get("/")(lambda: render_template("page.html"))
    app.mount("", shop)

    async with Client(app) as client:
        assert (await client.get("/")).text == "the shop x!"


async def test_a_streamed_template_leaves_while_it_renders():
    app, first_has_come = App(__name__), threading.Event()
    app.template_global("wait")(lambda: first_has_come.wait(10))
    app.get("/")(lambda: stream_template_string("{{ request.path }} {% for n in (1, 2) %}{{ wait() }} {% endfor %}"))

    async with Client(app) as client, client.stream("GET", "/") as answer:
        chunks = answer.aiter_text()
        first = await anext(chunks)
        first_has_come.set()
        rest = "".join([chunk async for chunk in chunks])

    assert first.startswith("/")
    assert first + rest == "/ True True "


async def test_a_streamed_template_shows_flashed_messages_once():
    app = App(__name__, secret_key="k" * 20)
    app.get("/")(lambda: stream_template_string("{{ get_flashed_messages() }}"))

    @app.get("/flash")
    async def put():
        flash("saved")
        return ""

    async with Client(app) as client:
        await client.get("/flash")
        assert (await client.get("/")).text == "[&#39;saved&#39;]"
        assert (await client.get("/")).text == "[]"


@pytest.mark.parametrize("store", [None, MemorySessionStore()])
async def test_a_streamed_template_reads_the_session_of_everybody(store):
    app = App(__name__, secret_key="k" * 20)
    app.session_store = store
    app.get("/")(lambda: stream_template_string("{{ session.user }}"))

    @app.get("/login")
    async def login():
        session["user"] = "ada"
        return ""

    async with Client(app) as client:
        stranger = await client.get("/")
        await client.get("/login")
        assert (await client.get("/")).text == "ada"

    assert (stranger.text, stranger.headers["vary"]) == ("", "Cookie")


async def test_a_streamed_template_may_be_a_file(program):
    app = App(program(page="{{ name }}"))
    app.get("/")(lambda: stream_template("page.html", name="x"))

    async with Client(app) as client:
        assert (await client.get("/")).text == "x"


async def test_rendering_is_observed(program):
    app, seen = App(program(page="x")), []

    @app.on("template_rendered")
    def rendered(template, context):
        seen.append((template.name, context))

    with app.app_context():
        render_template("page.html", a=1)
        list(stream_template("page.html", b=2))

    assert seen == [("page.html", {"a": 1}), ("page.html", {"b": 2})]


def test_rendering_without_an_app_says_so():
    with pytest.raises(OutsideContextError, match="render_template"):
        render_template("x.html")


async def test_flashed_messages_are_shown_once_with_their_categories():
    app = App(__name__, secret_key="k" * 20)

    @app.get("/flash")
    async def put():
        flash("saved")
        flash("careful", "warning")
        return ""

    @app.get("/show")
    async def show():
        return {
            "all": get_flashed_messages(),
            "pairs": get_flashed_messages(with_categories=True),
            "warnings": get_flashed_messages(category_filter=["warning"]),
        }

    async with Client(app) as client:
        await client.get("/flash")
        assert (await client.get("/show")).json() == {
            "all": ["saved", "careful"],
            "pairs": [["message", "saved"], ["warning", "careful"]],
            "warnings": ["careful"],
        }
        assert (await client.get("/show")).json()["all"] == []
