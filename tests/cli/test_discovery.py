import json
import os
import sys

import pytest

from microweb.cli.discovery import AppSource, DiscoveryError, NoAppError, find_app, split_name

APP = "from microweb import App\napp = App(__name__)\n"
FACTORY = """
    from microweb import App

    def create_app(name="shop", *, debug=False):
        return App(name, debug=debug)
"""


def failure(name=None):
    with pytest.raises(DiscoveryError) as caught:
        find_app(name)
    return caught.value


# Where it is looked for ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["app.py", "main.py", "asgi.py", "wsgi.py", "app/__init__.py"])
def test_an_app_is_found_in_a_file_of_a_usual_name(project, name):
    project.write(name, APP)

    assert find_app()[0] == f"{name.partition('.')[0].partition('/')[0]}:app"


@pytest.mark.parametrize("name", ["json.py", "json/__init__.py", "./json"])
def test_a_file_under_a_name_that_is_taken_is_not_confused_with_the_other(project, name):
    project.write("json/__init__.py" if name == "./json" else name, APP)

    assert failure(name).message == (
        f"{name!r} cannot be imported: 'json' is {json.__file__} already; give the file another name"
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("time.py", "'time.py' cannot be imported: 'time' is built into Python already; give the file another name"),
        ("time", "'time' (built into Python) has no app: none of its names is a microweb.App"),
    ],
)
def test_a_module_that_is_built_into_python_is_told_from_a_file_of_that_name(project, name, sentence):
    project.write("time.py", APP)

    assert sentence in failure(name).message


def test_the_working_directory_comes_before_the_rest_of_the_path(project):
    project.write("app.py", APP)
    project.write("elsewhere/app.py", "raise LookupError")
    sys.path.insert(0, str(project.folder / "elsewhere"))

    assert find_app()[0] == "app:app"


def test_a_module_that_is_missing_is_not_taken_for_one_whose_name_begins_like_it(project):
    project.write("shopping.py", "import shop")

    assert failure("shopping").message == "importing 'shopping' failed: ModuleNotFoundError: No module named 'shop'"


def test_what_is_called_like_a_factory_and_is_no_function_is_none(project):
    project.write("app.py", "create_app = make_app = dict")

    assert "and it has no function create_app or make_app" in failure().message


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("a\0b", "names no app: write a name, or a call with literals"),
        ("create_app({[]: 1})", "has arguments that are no literals"),
        ("holder.app", "reading shop:holder.app failed: LookupError: sold out"),
    ],
)
def test_what_cannot_be_read_behind_the_colon_is_one_sentence(project, expression, sentence):
    holder = "class Holder:\n    @property\n    def app(self): raise LookupError('sold out')\nholder = Holder()\n"
    project.write("shop.py", f"{holder}def create_app(options): ...\n")

    assert sentence in failure(f"shop:{expression}").message


def test_a_factory_that_calls_run_serves_nothing(project, capsys):
    project.write(
        "app.py", "from microweb import App\ndef create_app():\n    (app := App('shop')).run(port=-1)\n    return app"
    )

    assert find_app()[0] == "app:create_app()"
    assert "app.run() does nothing here" in capsys.readouterr().err


def test_a_mistake_inside_an_f_string_is_shown_with_its_line(project):
    project.write("app.py", "x = f'{a b}' + 'tail'")

    assert failure().message.endswith(": x = f'{a b}' + 'tail'")


def test_of_the_cause_of_an_error_the_programs_own_lines_are_shown_too(project):
    project.write(
        "app.py",
        "import json\ntry:\n    json.loads('x')\nexcept ValueError as error:\n    raise LookupError from error",
    )

    frames = failure().frames

    assert frames.count("app.py") == 2
    assert "decoder.py" not in frames


@pytest.mark.skipif(sys.platform == "win32", reason="it can be imported there")
def test_an_error_that_is_all_a_librarys_is_shown_with_its_lines():
    assert "windows_events.py" in failure("asyncio.windows_events").frames


def test_app_py_comes_before_main_py(project):
    project.write("main.py", APP)
    project.write("app.py", APP)

    assert find_app()[0] == "app:app"


def test_a_folder_without_an_app_says_where_it_looked(project):
    with pytest.raises(NoAppError, match=r"there is no app in .*: none of app.py, main.py, asgi.py, wsgi.py"):
        find_app()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("application = App(__name__)", "shop:application"),
        ("anything = App(__name__)", "shop:anything"),
        ("one = two = App(__name__)", "shop:one"),
        ("def create_app(): return App(__name__)", "shop:create_app()"),
        ("def make_app(): return App(__name__)", "shop:make_app()"),
        ("other = App(__name__); app = App(__name__)", "shop:app"),
        ("def app(): ...\nreal = App(__name__)", "shop:real"),
        ("from microweb import current_app, request\ndef create_app(): return App(__name__)", "shop:create_app()"),
    ],
)
def test_an_app_is_found_in_a_module(project, text, name):
    project.write("shop.py", f"from microweb import App\n{text}")

    assert find_app("shop")[0] == name


# What can be named ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "shop:app",
        "shop.py:app",
        "./shop.py",
        " shop : app ",
        "{folder}/shop.py",
        "shop:holder.inner",
        "shop:create",
        "shop:create()",
        "shop:Holder.make(1)",
    ],
)
def test_an_app_can_be_named_in_several_ways(project, name):
    project.write(
        "shop.py",
        APP
        + "class Holder:\n    inner = app\n    @staticmethod\n    def make(number): return app\n"
        + "holder = Holder()\ndef create(): return app\n",
    )

    _, app = find_app(name.format(folder=project.folder))

    assert app is sys.modules["shop"].app


def test_a_factory_gets_literals(project):
    project.write("shop.py", FACTORY)

    name, app = find_app('shop:create_app("hats", debug=True)')

    assert (app.import_name, app.debug) == ("hats", True)
    assert name == 'shop:create_app("hats", debug=True)'


def test_a_file_inside_a_package_is_imported_as_a_part_of_it(project):
    project.write("src/shop/__init__.py", "")
    project.write("src/shop/web/__init__.py", "")
    project.write("src/shop/web/site.py", "from .. import __name__ as name\n" + APP)

    assert find_app("src/shop/web/site.py")[0] == "shop.web.site:app"


def test_the_file_of_a_package_stands_for_the_package(project):
    project.write("src/shop/__init__.py", APP)

    assert find_app("src/shop/__init__.py")[0] == "shop:app"
    assert find_app("src/shop")[0] == "shop:app"


def test_the_colon_of_a_drive_is_none_of_ours():
    assert split_name(r"C:\shop\app.py:create('a:b')") == (r"C:\shop\app.py", ":", "create('a:b')")


# What goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hats", "there is no module 'hats', in {folder} or on sys.path"),
        ("shop.hats", "there is no module 'shop.hats', in {folder} or on sys.path"),
        ("hats.caps", "there is no module 'hats' to import 'hats.caps' from, in {folder} or on sys.path"),
        ("hats.py", "there is no file 'hats.py' in {folder}"),
        ("1shop", "'1shop' is no name of a module"),
        ("shop-x/y.z", "there is no file 'shop-x/y.z'"),
        ("shop:hats", "'shop' ({folder}/shop.py) has no 'hats'; it has app, create_app()"),
        ("shop:app.hats", "has no 'app.hats'"),
        ("shop:number", "shop:number is no microweb.App, but of the type int"),
        (
            "shop:Thing",
            "shop:Thing is no microweb.App, but of the type type; any other ASGI app is served by",
        ),
        ("shop:number()", "shop:number cannot be called: it is of the type int"),
        ("shop:create_app(", "'create_app(' names no app: write a name"),
        ("shop:1 + 1", "'1 + 1' names no app"),
        ("shop:[app][0].x", "names no app"),
        ("shop:create_app(app)", "'create_app(app)' has arguments that are no literals"),
        ("shop:create_app(**{{}})", "'create_app(**{{}})' names no app"),
        ("shop:create_app()", "shop:create_app() cannot be called so: missing a required argument: 'name'"),
        ("shop:create_app", "--app 'shop:create_app(\"...\")'"),
        ("shop:create_app('x')", "shop:create_app() is no microweb.App, but of the type str"),
        ("shop:coroutine", "shop:coroutine() is an `async def`"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(project, name, sentence):
    project.write(
        "shop.py",
        APP + "number = 7\nclass Thing: ...\ndef create_app(name): return name\nasync def coroutine(): return app\n",
    )

    error = failure(name.format(folder=""))

    assert sentence.format(folder=project.folder) in error.message
    assert "\n" not in error.message
    assert error.frames == ""


def test_several_apps_have_to_be_told_apart(project):
    project.write("shop.py", "from microweb import App\none, two = App('one'), App('two')")

    assert failure("shop").message == "'shop' has several apps, one, two; name one: --app shop:one"


def test_a_module_without_an_app_is_named_with_its_file(project):
    path = project.write("shop.py", "import click")

    assert failure("shop").message.startswith(f"'shop' ({path}) has no app: ")


def test_what_is_called_app_and_is_none_is_told_by_its_type(project):
    project.write("shop.py", "from flask import Flask\napp = Flask('shop')")

    assert failure("shop").message.endswith("; 'app' is of the type Flask")


def test_a_syntax_error_is_one_sentence_with_the_line(project):
    path = project.write("app.py", "x = 1\nif x = 2:\n    pass\n")

    message = failure().message

    assert message.startswith(f"{path}:2: invalid syntax")
    assert message.endswith(": if x = 2:")


def test_a_setup_error_is_one_sentence(project):
    project.write("app.py", APP + "app.route('/x', methods='GET')(lambda: 'x')\n")

    error = failure()

    assert error.message.startswith("methods is a list such as ['GET']")
    assert error.frames == ""


def test_an_exception_is_shown_with_the_frames_of_the_program(project):
    project.write("app.py", APP + "import hats\n")
    project.write("hats.py", "import json\n\ndef read():\n    json.loads('{')\n\nread()\n")

    error = failure()

    assert error.message.startswith("importing 'app' failed: json.decoder.JSONDecodeError: ")
    assert [line.strip() for line in error.frames.splitlines() if "File" in line] == [
        f'File "{project.folder}/app.py", line 3, in <module>',
        f'File "{project.folder}/hats.py", line 6, in <module>',
        f'File "{project.folder}/hats.py", line 4, in read',
    ]


def test_the_frames_of_a_first_error_are_shown_too(project):
    text = "try:\n    {}['hat']\nexcept KeyError as error:\n    raise RuntimeError('no hat') from error\n"
    project.write("app.py", text)

    frames = failure().frames

    assert frames.index("line 2, in <module>") < frames.index("line 4, in <module>")
    assert "direct cause" in frames
    assert "importlib" not in frames


def test_a_missing_module_that_the_program_imports_is_named(project):
    project.write("app.py", "import hats_and_caps")

    error = failure()

    assert "No module named 'hats_and_caps'" in error.message
    assert 'app.py", line 1' in error.frames


def test_a_factory_that_fails_is_shown_with_the_frames_of_the_program(project):
    project.write("app.py", "def create_app():\n    return 1 / 0\n")

    error = failure()

    assert error.message == "the factory app:create_app() failed: ZeroDivisionError: division by zero"
    assert 'app.py", line 2, in create_app' in error.frames
    assert "discovery.py" not in error.frames


def test_an_exception_that_never_was_in_the_program_shows_where_it_was(project):
    project.write("app.py", "from datetime import date\nfrom functools import partial\ncreate = partial(date, 0)\n")

    error = failure("app:create(1, 1)")

    assert "year 0 is out of range" in error.message
    assert error.frames == ""


def test_an_exit_while_importing_is_told(project):
    project.write("app.py", "import sys\nsys.exit(3)\n")

    assert failure().message == "importing 'app' ended the program: it called sys.exit(3)"


def test_an_exit_in_a_factory_is_told(project):
    project.write("app.py", "import sys\ndef create_app(): sys.exit('no key')\n")

    assert failure().message == "the factory app:create_app() ended the program: it called sys.exit('no key')"


def test_an_attribute_that_cannot_be_read_is_shown_with_the_frames_of_the_program(project):
    project.write("app.py", "class Site:\n    @property\n    def app(self): return 1 / 0\nsite = Site()\n")

    error = failure("app:site.app")

    assert error.message == "reading app:site.app failed: ZeroDivisionError: division by zero"
    assert 'app.py", line 3, in app' in error.frames
    assert "discovery.py" not in error.frames


def test_a_folder_that_is_no_package_is_called_so(project):
    project.write("shop/app.py", APP)

    assert failure("shop").message.startswith("'shop' (a folder without __init__.py) has no app")
    assert failure("shop:app").message == "'shop' (a folder without __init__.py) has no 'app'"


def test_a_working_directory_that_is_gone_is_told(project):
    gone = project.folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()

    assert failure().message.startswith("the working directory cannot be read: ")


def test_app_run_does_nothing_while_the_program_is_imported(project, capsys):
    project.write("app.py", APP + "app.run()\n")

    assert find_app()[0] == "app:app"
    assert "app.run() does nothing here" in capsys.readouterr().err


# The source ----------------------------------------------------------------------------------------


def test_a_source_loads_once_and_asks_the_environment(project, monkeypatch):
    project.write("shop.py", FACTORY)
    monkeypatch.setenv("MICROWEB_APP", "shop:create_app('caps')")
    source = AppSource()

    app = source.load()

    assert source.load() is app
    assert (app.import_name, source.app_name) == ("caps", "shop:create_app('caps')")


def test_a_source_sets_debug_when_told(project):
    project.write("app.py", APP)

    assert AppSource(debug=True).load().debug
    assert not AppSource(debug=False).load().debug


def test_a_source_fails_the_same_way_each_time(project):
    source = AppSource("hats")

    errors = []
    for _ in range(2):
        with pytest.raises(DiscoveryError) as caught:
            source.load()
        errors.append(caught.value)

    assert errors[0] is errors[1]
