"""Finding the app: from an import string, or a file in the working directory, to an ``App``.

What goes wrong on the way is told in one sentence. Where an exception comes out of the program itself, the
frames of the program are shown with it, and none of microweb's or of the import machinery.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from microweb.app import App
from microweb.errors import SetupError
from microweb.server import ignore_runs

__all__ = ["AppSource", "DiscoveryError", "NoAppError", "find_app"]

MODULES = ("app", "main", "asgi", "wsgi")
"""The modules that are looked for when nobody names one, in this order: files, or packages."""

NAMES = ("app", "application")
FACTORIES = ("create_app", "make_app")


class DiscoveryError(click.ClickException):
    """The app cannot be had. ``frames`` is the program's own part of a traceback, empty if there is none."""

    def __init__(self, message: str, frames: str = "") -> None:
        super().__init__(message)
        self.frames = frames

    def show(self, file: Any = None) -> None:
        """Write it to stderr, the sentence last, where the eye is."""
        if self.frames:
            click.echo(self.frames, file, err=True)
        super().show(file)


class NoAppError(DiscoveryError):
    """Nobody named an app, and there is none to be seen."""


class AppSource:
    """Where a command gets its app from: loaded once, when somebody first needs it.

    ``name`` is an import string; without one ``MICROWEB_APP`` is asked, then the working directory.
    """

    def __init__(self, name: str | None = None, *, app: App | None = None, debug: bool | None = None) -> None:
        self.name = name
        self.debug = debug
        self.environ: dict[str, str] | None = None
        """The environment before ``.env`` files were read into it."""
        self.app_name = ""
        """The whole import string, once the app is loaded."""
        self._app = app
        self._failure: DiscoveryError | None = None

    def prepare(self) -> None:
        """Put the folder of a file that names the app on ``sys.path``, as ``load`` will, for who watches it and loads
        nothing."""
        with suppress(DiscoveryError):  # Whoever loads it says so.
            prepare_import(split_name(self.name or os.environ.get("MICROWEB_APP", ""))[0])

    def load(self) -> App:
        """The app.

        Raises:
            DiscoveryError: it cannot be had; the same one each time.
        """
        if self._failure is not None:
            raise self._failure
        if self._app is None:
            try:
                self.app_name, self._app = find_app(self.name or os.environ.get("MICROWEB_APP"))
            except DiscoveryError as error:
                self._failure = error
                raise
        if self.debug is not None:
            self._app.debug = self.debug
        return self._app


def find_app(name: str | None = None) -> tuple[str, App]:
    """The app that an import string names, or the one of the working directory; and the whole import string.

    ``module``, ``path/file.py``, ``module:app``, ``module:factory``, ``module:factory("argument", key=1)``,
    ``module:thing.app``. The working directory goes on ``sys.path``.

    Raises:
        DiscoveryError: there is none.
    """
    try:
        here = str(Path.cwd())
    except OSError as error:
        raise DiscoveryError(f"the working directory cannot be read: {error.strerror}; go to another one") from None
    if here not in sys.path:
        sys.path.insert(0, here)
    given, _, expression = split_name(name) if name else (find_module(), "", "")
    module_name = prepare_import(given)
    module = load_module(module_name)
    if is_file(given):
        check_file(module, given)
    if expression:
        return f"{module_name}:{expression}", evaluate(module, expression)
    attribute, app = find_in(module)
    return f"{module_name}:{attribute}", app


def split_name(name: str) -> tuple[str, str, str]:
    """The module or file, the colon, and the rest. The colon of a Windows drive is none of these."""
    found = re.match(r"((?:[A-Za-z]:(?=[\\/]))?[^:]*)(:?)(.*)", name.strip(), re.DOTALL)
    assert found is not None
    return found[1].strip(), found[2], found[3].strip()


def find_module() -> str:
    """The name of the first module that is there.

    Raises:
        DiscoveryError: none is.
    """
    for name in MODULES:
        if Path(f"{name}.py").is_file() or Path(name, "__init__.py").is_file():
            return name
    files = ", ".join(f"{name}.py" for name in MODULES)
    raise NoAppError(
        f"there is no app in {Path.cwd()}: none of {files} is there; name it with --app module:name, "
        "or in the environment as MICROWEB_APP"
    )


def prepare_import(name: str) -> str:
    """The dotted name of a module; for a file, the folder that it is imported from goes on ``sys.path``.

    Raises:
        DiscoveryError: the path leads nowhere, or no module can have that name.
    """
    if is_file(name):
        path = Path(name).resolve()
        if not path.exists():
            raise DiscoveryError(f"there is no file {name!r} in {Path.cwd()}")
        if path.name == "__init__.py":
            path = path.parent
        parts = [path.stem if path.suffix == ".py" else path.name]
        folder = path.parent
        while (folder / "__init__.py").is_file():
            parts.insert(0, folder.name)
            folder = folder.parent
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        name = ".".join(parts)
    if not all(part.isidentifier() for part in name.split(".")):
        raise DiscoveryError(
            f"{name!r} is no name of a module; an app is named like shop, shop.web:app or shop:create_app()"
        )
    return name


def is_file(name: str) -> bool:
    """Whether a module is named by its file or folder."""
    return name.endswith(".py") or "/" in name or os.sep in name


def check_file(module: ModuleType, name: str) -> None:
    """Refuse a module that has another file than the one that names it: ``code.py``, ``random.py`` and the like.

    Raises:
        DiscoveryError: one of that name was there before.
    """
    path = Path(name).resolve()
    if path.is_dir():
        path /= "__init__.py"
    file = getattr(module, "__file__", "")
    if file is not None and Path(file).resolve() != path:
        raise DiscoveryError(
            f"{name!r} cannot be imported: {module.__name__!r} is {place_of(module)} already; "
            "give the file another name"
        )


def load_module(name: str) -> ModuleType:
    """Import the module.

    Raises:
        DiscoveryError: it is not there, or raised.
    """
    try:
        with ignore_runs():
            return import_module(name)
    except ModuleNotFoundError as error:
        # One that is there and misses another one says which itself.
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            wanted = repr(name) if error.name == name else f"{error.name!r} to import {name!r} from"
            raise DiscoveryError(f"there is no module {wanted}, in {Path.cwd()} or on sys.path") from None
        raise failure(f"importing {name!r} failed", error) from None
    except Exception as error:  # noqa: BLE001 - whatever a program raises, its user is to see it
        raise failure(f"importing {name!r} failed", error) from None
    except SystemExit as error:
        raise DiscoveryError(f"importing {name!r} ended the program: it called sys.exit({error.code!r})") from None


def find_in(module: ModuleType) -> tuple[str, App]:
    """The app of a module that says no more: one called ``app``, the only one, or what its factory makes.

    Raises:
        DiscoveryError: there is none, or there are several.
    """
    for name in NAMES:
        if isinstance(getattr(module, name, None), App):
            return name, getattr(module, name)
    apps = {name: value for name, value in vars(module).items() if isinstance(value, App)}
    if len({id(app) for app in apps.values()}) == 1:
        return next(iter(apps.items()))
    if apps:
        first = f"--app {module.__name__}:{next(iter(apps))}"
        raise DiscoveryError(f"{module.__name__!r} has several apps, {', '.join(apps)}; name one: {first}")
    for name in FACTORIES:
        factory = getattr(module, name, None)
        if inspect.isfunction(factory):
            return f"{name}()", call(module, name, factory, (), {})
    others = [
        f"; {name!r} is of the type {type(vars(module)[name]).__name__}" for name in NAMES if name in vars(module)
    ]
    raise DiscoveryError(
        f"{module.__name__!r} ({place_of(module)}) has no app: none of its names is a microweb.App, "
        f"and it has no function {' or '.join(FACTORIES)}{''.join(others)}"
    )


def evaluate(module: ModuleType, expression: str) -> App:
    """What stands behind the colon: names with dots, perhaps called with literals.

    Raises:
        DiscoveryError: it cannot be read, is not there, fails, or is no app.
    """
    where = f"{module.__name__}:{expression}"
    try:
        node = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError):
        raise unreadable(expression) from None
    arguments: list[Any] = []
    options: dict[str, Any] = {}
    called = isinstance(node, ast.Call)
    if isinstance(node, ast.Call):
        try:
            arguments = [ast.literal_eval(argument) for argument in node.args]
            for word in node.keywords:
                if word.arg is None:
                    raise unreadable(expression)
                options[word.arg] = ast.literal_eval(word.value)
        except (ValueError, TypeError):
            raise DiscoveryError(
                f"{expression!r} has arguments that are no literals: only numbers, strings, lists and the "
                "like can stand there"
            ) from None
        node = node.func
    found: Any = module
    path: list[str] = []
    for name in reversed(list(read_names(node, expression))):
        path.append(name)
        try:
            found = getattr(found, name)
        except AttributeError:
            raise missing(module, ".".join(path)) from None
        except Exception as error:  # noqa: BLE001 - a property of the program's may raise anything
            raise failure(f"reading {module.__name__}:{'.'.join(path)} failed", error) from None
    if called or inspect.isroutine(found):
        return call(module, ".".join(path), found, arguments, options)
    if not isinstance(found, App):
        raise wrong_type(where, found)
    return found


def read_names(node: ast.expr, expression: str) -> Iterator[str]:
    """The names of ``a.b.c``, the last one first.

    Raises:
        DiscoveryError: it is something else.
    """
    while isinstance(node, ast.Attribute):
        yield node.attr
        node = node.value
    if not isinstance(node, ast.Name):
        raise unreadable(expression)
    yield node.id


def call(module: ModuleType, name: str, factory: Any, arguments: Sequence[Any], options: dict[str, Any]) -> App:
    """The app that a factory makes.

    Raises:
        DiscoveryError: it cannot be called so, raises, or makes something else.
    """
    where = f"{module.__name__}:{name}()"
    if not callable(factory):
        raise DiscoveryError(f"{module.__name__}:{name} cannot be called: it is of the type {type(factory).__name__}")
    try:
        inspect.signature(factory).bind(*arguments, **options)
    except TypeError as error:
        raise DiscoveryError(
            f"{where} cannot be called so: {error}; write its arguments behind it: "
            f"--app '{module.__name__}:{name}(\"...\")'"
        ) from None
    except ValueError:
        pass  # One without a signature; the call will tell.
    try:
        with ignore_runs():
            app = factory(*arguments, **options)
    except Exception as error:  # noqa: BLE001
        raise failure(f"the factory {where} failed", error) from None
    except SystemExit as error:
        raise DiscoveryError(f"the factory {where} ended the program: it called sys.exit({error.code!r})") from None
    if inspect.iscoroutine(app):
        app.close()
        raise DiscoveryError(f"{where} is an `async def`; a factory is a plain function that returns the app")
    if not isinstance(app, App):
        raise wrong_type(where, app)
    return app


# What is said when it fails ----------------------------------------------------------------------


def unreadable(expression: str) -> DiscoveryError:
    """For what is neither a name nor a call."""
    return DiscoveryError(
        f'{expression!r} names no app: write a name, or a call with literals such as create_app("production")'
    )


def missing(module: ModuleType, name: str) -> DiscoveryError:
    """For a name that a module does not have."""
    there = [known for known, value in vars(module).items() if isinstance(value, App)]
    there += [f"{known}()" for known in FACTORIES if inspect.isfunction(getattr(module, known, None))]
    hint = f"; it has {', '.join(there)}" if there else ""
    return DiscoveryError(f"{module.__name__!r} ({place_of(module)}) has no {name!r}{hint}")


def place_of(module: ModuleType) -> str:
    """The file of a module; a folder may be imported without one, and some of Python's own have none."""
    file: str | None = getattr(module, "__file__", "built into Python")
    return file or "a folder without __init__.py"


def wrong_type(where: str, found: Any) -> DiscoveryError:
    """For something that is no app."""
    hint = "; any other ASGI app is served by `uvicorn`" if callable(found) else ""
    return DiscoveryError(f"{where} is no microweb.App, but of the type {type(found).__name__}{hint}")


def failure(what: str, error: Exception) -> DiscoveryError:
    """For an exception out of the program: one sentence, and the program's own frames."""
    if isinstance(error, SetupError):
        return DiscoveryError(str(error))
    if isinstance(error, SyntaxError) and error.filename is not None and error.lineno is not None:
        # The text by linecache: the one on the exception is cut off where the parser stopped.
        line = (linecache.getline(error.filename, error.lineno) or error.text or "").strip()
        return DiscoveryError(f"{error.filename}:{error.lineno}: {error.msg}" + (f": {line}" if line else ""))
    described = "".join(traceback.format_exception_only(error)).strip()
    return DiscoveryError(f"{what}: {described}", own_frames(error))


def own_frames(error: BaseException) -> str:
    """The traceback of an exception without what was raised below or above the program."""
    told = traceback.TracebackException.from_exception(error)
    here: traceback.TracebackException | None = told
    while here is not None:
        frames = [frame for frame in here.stack if not is_microweb(frame.filename)]
        # What is installed, or comes with Python, is shown only if there is nothing else.
        here.stack = traceback.StackSummary.from_list(
            [frame for frame in frames if not is_library(frame.filename)] or frames
        )
        here = here.__cause__ or here.__context__
    return "".join(told.format()).rstrip() if told.stack else ""


PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
LIBRARIES = tuple(
    str(Path(path).resolve()) + os.sep
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def is_microweb(filename: str) -> bool:
    """Whether a frame is ours, or of the import machinery."""
    return filename.startswith(("<frozen importlib", PACKAGE)) or f"importlib{os.sep}__init__.py" in filename


def is_library(filename: str) -> bool:
    """Whether a frame is of the standard library or of an installed package."""
    return filename.startswith(LIBRARIES) or filename.startswith("<frozen")
