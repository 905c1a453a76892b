"""What the package exports is what it says, whatever was imported before, and importing it stays cheap."""

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import microweb

PACKAGE = Path(microweb.__file__).parent
MODULES = sorted(
    ".".join(("microweb", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)
HEAVY = ["anyio", "click", "datetime", "httpx", "jinja2", "trio", "uvicorn"]
PROXIES = ["current_app", "g", "request", "session", "websocket"]


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    """Every module of the package, all of them imported."""
    return {name: importlib.import_module(name) for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(modules, name):
    assert (modules[name].__doc__ or "").strip()


@pytest.mark.parametrize("name", MODULES)
def test_an_export_list_is_sorted_and_true(modules, name):
    exported = list(getattr(modules[name], "__all__", ()))

    missing = [export for export in exported if not hasattr(modules[name], export)]

    assert missing == []
    assert exported == sorted(set(exported), key=order)


@pytest.mark.parametrize("name", MODULES)
def test_an_exported_class_or_function_has_a_docstring(modules, name):
    exported = {export: getattr(modules[name], export) for export in getattr(modules[name], "__all__", ())}

    silent = [
        export
        for export, value in exported.items()
        if export not in PROXIES
        and (inspect.isclass(value) or inspect.isfunction(value))
        and not (value.__doc__ or "").strip()
    ]

    assert silent == []


def test_no_module_takes_a_name_that_the_package_exports():
    # Importing a file microweb/request.py would put the module where the proxy `request` was.
    taken = {name.split(".")[1] for name in MODULES if "." in name}

    assert sorted(taken & set(microweb.__all__)) == []


def test_no_export_is_replaced_when_all_modules_are_imported(modules):
    replaced = [name for name in microweb.__all__ if type(getattr(microweb, name)) is ModuleType]

    assert replaced == []


def test_every_public_name_is_listed_by_dir_before_it_is_used():
    assert run_python("import microweb; print(set(microweb.__all__) - set(dir(microweb)))") == "set()\n"


def test_a_name_that_was_used_once_is_found_without_a_search():
    program = (
        "import microweb; before = 'flash' in vars(microweb); microweb.flash; print(before, 'flash' in vars(microweb))"
    )

    assert run_python(program) == "False True\n"


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Flask"):
        microweb.Flask


@pytest.mark.parametrize("heavy", HEAVY)
def test_importing_the_package_loads_nothing_heavy(heavy):
    loaded = run_python("import sys, microweb; print(*sys.modules, sep='\\n')").split()

    assert heavy not in loaded


def test_making_an_app_loads_nothing_heavy():
    program = """
        import sys
        from microweb import App, Router

        app = App(__name__)
        blog = Router("blog", __name__, prefix="/blog")

        @app.get("/")
        async def home(request): return "home"

        @blog.get("/<int:post>")
        def show(post): return {"post": post}

        app.mount("", blog)
        assert app.url_for("blog.show", post=3) == "/blog/3"
        print(*sys.modules, sep="\\n")
    """

    loaded = run_python(inspect.cleandoc(program)).split()

    assert sorted(set(HEAVY) & set(loaded)) == []


def order(name: str) -> tuple[int, str]:
    """The order that ruff keeps: constants, classes, then the rest."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def test_redis_channels_without_redis_say_what_to_install():
    program = """if True:
        import sys

        sys.modules["redis"] = None
        try:
            from microweb.channels.redis import RedisChannels
        except ModuleNotFoundError as error:
            print(error)
    """

    assert "install microweb-asgi with the extra [redis]" in run_python(program)


def run_python(program: str) -> str:
    # Not measured: what measures coverage loads modules of its own.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    return done.stdout
