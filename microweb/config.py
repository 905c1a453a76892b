"""The dict at ``app.config``, with Flask's ways to fill it from objects, files and the environment.

Which keys the framework has and what they may hold is in ``limits``. Filling a program's own typed settings is in
``settings``, behind ``Config.load``. The command line calls ``load_dotenv_file``.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any, TypeVar

from microweb.errors import SetupError
from microweb.redaction import redacted, shown

__all__ = ["Config", "load_dotenv_file"]

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
"""Types whose values cannot change, so that an equal one is no news; a timedelta is another, see ``is_plain``."""


def is_plain(value: Any) -> bool:
    """Whether a value cannot change. A timedelta is known without loading its module."""
    kind = type(value)
    return kind in PLAIN or (kind.__module__ == "datetime" and hasattr(value, "total_seconds"))


class Config(dict[str, Any]):
    """The settings of an app: a dict with upper-case keys, and Flask's ways to fill it.

    ``on_change`` is called after every change made through this class; a number or text set to what it is already is
    none. What is changed inside a value (``config["DATABASE"]["host"] = ...``) goes unseen: call ``changed()`` after
    that. Files are looked for relative to ``root_path``.

    >>> config = Config("/srv/shop", {"JSON_MAX_DEPTH": 64})
    >>> config.from_mapping(MAX_CONTENT_LENGTH=1024, note="keys in lower case are left out")
    True
    >>> (config["MAX_CONTENT_LENGTH"], config["JSON_MAX_DEPTH"], "note" in config)
    (1024, 64, False)
    """

    # On the class too: unpickling sets items before it sets attributes.
    on_change: Callable[[], None] | None = None

    def __init__(
        self,
        root_path: str | os.PathLike[str],
        defaults: Mapping[str, Any] | None = None,
        *,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(defaults or {})
        self.root_path = root_path
        self.on_change = on_change

    def changed(self) -> None:
        """Tell whoever listens that a setting has changed."""
        if self.on_change is not None:
            self.on_change()

    def __repr__(self) -> str:
        # SECURITY(test_the_repr_of_a_config_shows_no_secret): reprs end up in logs and tracebacks.
        return f"<{type(self).__name__} {redacted(self)!r}>"

    # The dict's own ways to change it -----------------------------------------------------------

    def __setitem__(self, key: str, value: Any) -> None:
        before = self.get(key, self)
        super().__setitem__(key, value)
        # A hook that sets a key to what it is (`app.permanent_session_lifetime = ...`) composes no app anew.
        if not is_plain(value) or type(value) is not type(before) or value != before:
            self.changed()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self.changed()

    if not TYPE_CHECKING:  # dict's own signature of |= fits; mypy and pyright disagree on any that is written here

        def __ior__(self, other):
            self.update(other)
            return self

    def update(self, *mapping: Any, **values: Any) -> None:
        """Set many keys as ``dict.update`` does, and tell of the change once."""
        try:
            super().update(*mapping, **values)
        finally:
            # A bad item in the middle leaves the items before it set.
            self.changed()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Give the value of ``key``, which is set to ``default`` first if it is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a key and give its value, or ``default`` if there is one and no such key."""
        value = super().pop(key, *default)
        self.changed()
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove the key that was set last and give it with its value."""
        item = super().popitem()
        self.changed()
        return item

    def clear(self) -> None:
        """Remove every key, the framework's too, which then have their defaults."""
        super().clear()
        self.changed()

    # Flask's ways to fill it --------------------------------------------------------------------

    def from_object(self, source: object) -> None:
        """Take the upper-case attributes of an object, or of what an import string names.

        ``"shop.settings"`` is a module, ``"shop.settings:Production"`` (or with a dot) an object in one. A
        class with properties must be instantiated first.

        Raises:
            SetupError: nothing can be imported under that name, or ``source`` is a dict.
        """
        if isinstance(source, str):
            source = imported(source)
        if isinstance(source, Mapping):
            raise SetupError("from_object takes attributes, and a dict has none that are settings: use from_mapping")
        self.update({key: getattr(source, key) for key in dir(source) if key.isupper()})

    def from_mapping(self, mapping: Mapping[str, Any] | None = None, **values: Any) -> bool:
        """Take the upper-case keys of a mapping and of the keyword arguments. Always True, as in Flask."""
        both = {**(mapping or {}), **values}
        self.update({key: value for key, value in both.items() if key.isupper()})
        return True

    def from_pyfile(self, filename: str | os.PathLike[str], silent: bool = False) -> bool:
        """Run a Python file and take its upper-case names. The file is trusted like the program itself.

        With ``silent`` a missing file is no error; the result says whether one was read.

        Raises:
            OSError: the file cannot be read.
        """
        from pathlib import Path

        path = Path(self.root_path, filename)
        try:
            source = path.read_bytes()
        except OSError as error:
            if silent and isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
                return False
            error.strerror = f"Unable to load configuration file ({error.strerror})"
            raise
        module = types.ModuleType("config")
        module.__file__ = str(path)
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102  (a config file in Python is a program)
        self.from_object(module)
        return True

    def from_envvar(self, variable_name: str, silent: bool = False) -> bool:
        """Read the Python file that an environment variable names, as ``from_pyfile`` does.

        Raises:
            SetupError: the variable is not set or empty, and ``silent`` is false.
        """
        filename = os.environ.get(variable_name)
        if filename:
            return self.from_pyfile(filename, silent)
        if silent:
            return False
        raise SetupError(f"the environment variable {variable_name!r} is not set; make it name a configuration file")

    def from_file(
        self,
        filename: str | os.PathLike[str],
        load: Callable[[IO[Any]], Mapping[str, Any]] | None = None,
        silent: bool = False,
        text: bool = True,
    ) -> bool:
        """Take the upper-case keys of a data file.

        ``.toml`` and ``.json`` files are read by themselves. For others ``load`` is called with the open file
        (UTF-8 text, or bytes when ``text`` is false) and gives a mapping. With ``silent`` a missing file is
        no error; the result says whether one was read.

        Raises:
            OSError: the file cannot be read.
            SetupError: a TOML or JSON file is malformed, or nothing says how to read this one.
        """
        from pathlib import Path

        path = Path(self.root_path, filename)
        try:
            if load is None:
                values = read_data_file(path)
            else:
                with path.open("r" if text else "rb", encoding="utf-8" if text else None) as file:
                    values = load(file)
        except OSError as error:
            if silent and isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
                return False
            error.strerror = f"Unable to load configuration file ({error.strerror})"
            raise
        return self.from_mapping(values)

    def from_prefixed_env(self, prefix: str = "MICROWEB", *, loads: Callable[[str], Any] | None = None) -> bool:
        """Take the environment variables that begin with ``prefix`` and an underscore. Always True.

        Values are read as JSON, or by ``loads``; what cannot be read so stays a string. ``__`` goes into
        dicts: ``MICROWEB_DATABASE__HOST`` sets ``config["DATABASE"]["HOST"]``.

        Raises:
            SetupError: a variable goes into a dict where another value stands.
        """
        from json import loads as loads_json

        read = loads or loads_json
        start = f"{prefix}_"
        changes: dict[str, Any] = {}
        for name in sorted(os.environ):
            if not name.startswith(start):
                continue
            value: Any = os.environ[name]
            try:
                value = read(value)
            except Exception:  # noqa: BLE001, S110  (Flask's rule: any failure leaves the string)
                pass
            *parts, last = name.removeprefix(start).split("__")
            target = changes
            for depth, part in enumerate(parts):
                inner = target.get(part, self.get(part, {}) if depth == 0 else {})
                if not isinstance(inner, dict):
                    raise SetupError(
                        f"the environment variable {name} sets a key inside {'.'.join(parts[: depth + 1])}, "
                        f"which is no dict but came as {shown(name, inner)}"
                    )
                # A copy: the dict in place may be the defaults', which other apps share.
                copy = {**inner}
                target[part] = copy
                target = copy
            target[last] = value
        self.update(changes)
        return True

    def get_namespace(self, namespace: str, lowercase: bool = True, trim_namespace: bool = True) -> dict[str, Any]:
        """Give the settings whose keys begin with ``namespace``, without it and in lower case unless told.

        >>> Config(".", {"MAIL_HOST": "mx1", "MAIL_PORT": 25}).get_namespace("MAIL_")
        {'host': 'mx1', 'port': 25}
        """
        found: dict[str, Any] = {}
        for key, value in self.items():
            if key.startswith(namespace):
                name = key.removeprefix(namespace) if trim_namespace else key
                found[name.lower() if lowercase else name] = value
        return found

    # Typed settings -----------------------------------------------------------------------------

    def load(
        self, settings: type[T], *, prefix: str | None = "MICROWEB", environ: Mapping[str, str] | None = None
    ) -> T:
        """Fill a msgspec Struct, dataclass, attrs class or TypedDict from the environment and this config.

        The field ``database_url`` is the variable ``MICROWEB_DATABASE_URL``, else the key ``DATABASE_URL``,
        else the field's default. ``prefix=""`` reads variables without a prefix, ``prefix=None`` none at all;
        ``environ`` stands in for ``os.environ``. Strings are converted to the field's type.

        Raises:
            SetupError: fields are missing or wrong; the message lists all of them, and no secret.
        """
        # Here, not above: msgspec's inspection is wanted by programs with typed settings only.
        from microweb.settings import load_settings

        return load_settings(settings, self, os.environ if environ is None else environ, prefix)


def imported(name: str) -> object:
    """Import what ``package.module``, ``package.module:name`` or ``package.module.name`` names.

    Raises:
        SetupError: there is no such module, or no such name in it.
    """
    from importlib import import_module

    module_name, _, attributes = name.partition(":")
    if not module_name or module_name.startswith("."):
        raise SetupError(f"from_object: an import string begins with the name of a module, not like {name!r}")
    path = [part for part in attributes.split(".") if part]
    while True:
        try:
            found: object = import_module(module_name)
            break
        except ModuleNotFoundError as error:
            # A module that is there and fails on an import of its own must say so itself.
            if not f"{module_name}.".startswith(f"{error.name}."):
                raise
            module_name, _, attribute = module_name.rpartition(".")
            if not module_name:
                raise SetupError(f"from_object: there is no module to import for {name!r}") from None
            path.insert(0, attribute)
    for attribute in path:
        if not hasattr(found, attribute):
            raise SetupError(f"from_object: {name!r} cannot be imported, {module_name!r} has no {'.'.join(path)!r}")
        found = getattr(found, attribute)
    return found


def read_data_file(path: Path) -> Mapping[str, Any]:
    """Read a TOML or JSON file.

    Raises:
        SetupError: it is malformed or of another kind.
    """
    suffix = path.suffix.lower()
    load: Callable[[IO[bytes]], Any]
    if suffix == ".toml":
        from tomllib import load
    elif suffix == ".json":
        from json import load
    else:
        raise SetupError(f"from_file reads .toml and .json files by itself; say how to load {str(path)!r}: load=")
    with path.open("rb") as file:
        try:
            values = load(file)
        except ValueError as error:
            raise SetupError(f"{path} is no valid {suffix[1:].upper()} file: {error}") from None
    if not isinstance(values, dict):
        raise SetupError(f"{path} must hold an object with the settings, not a {type(values).__name__}")
    return values


def load_dotenv_file(path: str | os.PathLike[str]) -> bool:
    """Put the variables of a ``.env`` file into the environment; those that are set already stay as they are.

    Read by python-dotenv (the extra ``dotenv``). False when there is no such file.

    Raises:
        SetupError: the file cannot be read, or python-dotenv is not installed.
    """
    from pathlib import Path

    # Not is_file(): password managers offer a .env as a named pipe.
    if not Path(path).exists() or Path(path).is_dir():
        return False
    try:
        from dotenv import load_dotenv
    except ModuleNotFoundError:
        raise SetupError(
            f"{os.fspath(path)} is there, and nothing to read it with: pip install python-dotenv, or set "
            "the variables yourself"
        ) from None
    try:
        # The BOM that editors on Windows write would become a part of the first name.
        load_dotenv(path, override=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SetupError(f"{os.fspath(path)} cannot be read: {error}") from None
    return True
