"""Tests of ``microweb.config``; where Flask has the same method, Flask's own Config is the oracle."""

import copy
import doctest
import json
import os
import pickle
import string
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microweb.config
from microweb.config import Config, load_dotenv_file
from microweb.errors import SetupError
from microweb.limits import DEFAULTS

NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=12)
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)


class Counter:
    """Counts the calls that a config makes of it."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def both(root: Path | str = ".", defaults: dict[str, Any] | None = None) -> tuple[Config, flask.Config]:
    return Config(root, copy.deepcopy(defaults)), flask.Config(root, copy.deepcopy(defaults))


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(microweb.config).failed == 0


# A dict that tells of its changes


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.__setitem__("A", 2),
        lambda config: config.__delitem__("A"),
        lambda config: config.update({"A": 2}),
        lambda config: config.update([("A", 2)], B=3),
        lambda config: config.__ior__({"A": 2}),
        lambda config: config.setdefault("B", 2),
        lambda config: config.pop("A"),
        lambda config: config.popitem(),
        lambda config: config.clear(),
        lambda config: config.from_mapping(A=2, B=3),
        lambda config: config.from_object(type("Settings", (), {"A": 2, "B": 3})),
    ],
)
def test_every_change_is_told_once(change: Callable[[Config], object]):
    counter = Counter()
    config = Config(".", {"A": 1}, on_change=counter)

    change(config)

    assert counter.calls == 1
    assert dict(config) != {"A": 1}


def test_every_method_that_changes_a_dict_is_covered():
    changing = {name for name in vars(dict) if name not in vars(frozenset) and name not in vars(tuple)}
    reading = {"__getitem__", "__reversed__", "fromkeys", "get", "items", "keys", "values"}

    assert {"pop", "__setitem__", "__ior__"} <= changing
    assert changing - reading <= vars(Config).keys()


def test_filling_and_reading_tell_of_no_change():
    counter = Counter()
    config = Config(".", DEFAULTS, on_change=counter)

    config.get("DEBUG")
    config.setdefault("DEBUG", True)
    config.get_namespace("SESSION_")

    assert counter.calls == 0


def test_setting_a_plain_value_again_is_no_change():
    counter = Counter()
    hosts = ["one.example"]
    config = Config(".", {"LIFETIME": timedelta(minutes=5), "HOSTS": hosts}, on_change=counter)

    config["LIFETIME"] = timedelta(minutes=5)
    assert counter.calls == 0

    config["HOSTS"] = hosts
    config["LIFETIME"] = 300
    config["LIFETIME"] = 300.0
    assert counter.calls == 3


def test_an_update_that_fails_in_the_middle_is_told_of():
    counter = Counter()
    config = Config(".", on_change=counter)

    with pytest.raises(TypeError):
        config.update([("A", 1), None])

    assert config == {"A": 1}
    assert counter.calls == 1


def test_removing_a_key_that_is_missing_is_a_key_error():
    config = Config(".")

    with pytest.raises(KeyError):
        config.pop("A")
    assert config.pop("A", 5) == 5
    with pytest.raises(KeyError):
        del config["A"]


def test_or_equals_keeps_the_config_itself():
    config = same = Config(".", {"A": 1})

    config |= {"B": 2}

    assert config is same
    assert config == {"A": 1, "B": 2}


def test_the_defaults_are_copied_and_cannot_be_changed():
    config = Config(".", DEFAULTS)

    config["DEBUG"] = True

    assert DEFAULTS["DEBUG"] is False
    with pytest.raises(TypeError):
        DEFAULTS["DEBUG"] = True  # type: ignore[index]


def test_a_config_can_be_copied_and_pickled():
    config = Config("/srv", {"A": 1})

    for twin in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        assert twin.root_path == "/srv"


def test_the_repr_of_a_config_shows_no_secret():
    config = Config(".", {"SECRET_KEY": "hunter2", "DATABASE": {"password": "hunter2"}, "DEBUG": True})

    config["DATABASE_URL"] = "postgresql://shop:hunter2@db1/shop"

    assert "hunter2" not in repr(config)
    assert "'DEBUG': True" in repr(config)


# from_object


class Base:
    DEBUG = True
    lower = "left out"
    Mixed = "left out"


class Production(Base):
    DEBUG = False
    KEY_2 = "two"


@pytest.mark.parametrize("source", [Base, Production, Production(), json, f"{__name__}.Production", "string", object()])
def test_from_object_takes_what_flask_takes(source: object):
    ours, theirs = both()

    ours.from_object(source)
    theirs.from_object(source)

    assert ours == theirs


def test_from_object_takes_a_name_after_a_colon():
    config = Config(".")

    config.from_object(f"{__name__}:Production")

    assert config == {"DEBUG": False, "KEY_2": "two"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module", "no module"),
        ("no_such_module.settings", "no module"),
        ("no_such_module:Settings", "no module"),
        ("os.path.nothing", "'os.path' has no 'nothing'"),
        ("os:nothing.at.all", "has no 'nothing.at.all'"),
        ("", "begins with the name of a module"),
        (".relative", "begins with the name of a module"),
        (":Settings", "begins with the name of a module"),
        ("os..path", "from_object"),
    ],
)
def test_an_import_string_that_names_nothing_is_a_setup_error(name: str, says: str):
    with pytest.raises(SetupError, match=says):
        Config(".").from_object(name)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_library", ModuleNotFoundError),
        ("int('x')", ValueError),
        ("import os.nothing", ImportError),
    ],
)
def test_a_settings_module_that_fails_says_so_itself(
    source: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "failing_settings.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    for name in ("failing_settings", "failing_settings.Production", "failing_settings:Production"):
        with pytest.raises(error):
            Config(".").from_object(name)


def test_from_object_refuses_a_dict():
    with pytest.raises(SetupError, match="use from_mapping"):
        Config(".").from_object({"DEBUG": True})


# from_mapping and get_namespace


@given(
    mapping=st.dictionaries(NAMES, VALUES),
    more=st.dictionaries(NAMES.filter(lambda name: name != "self"), VALUES),
)
def test_from_mapping_takes_what_flask_takes(mapping: dict[str, Any], more: dict[str, Any]):
    ours, theirs = both()
    more.pop("mapping", None)

    assert ours.from_mapping(mapping, **more) is theirs.from_mapping(mapping, **more) is True

    assert ours == theirs


def test_from_mapping_takes_its_mapping_by_name_too():
    config = Config(".")

    config.from_mapping(mapping={"A": 1})

    assert config == {"A": 1}


@given(
    mapping=st.dictionaries(st.text("AB_", min_size=1, max_size=4), VALUES),
    namespace=st.text("AB_", max_size=2),
    lowercase=st.booleans(),
    trim=st.booleans(),
)
def test_get_namespace_gives_what_flask_gives(mapping: dict[str, Any], namespace: str, lowercase: bool, trim: bool):
    ours, theirs = both(defaults=mapping)

    assert ours.get_namespace(namespace, lowercase, trim) == theirs.get_namespace(namespace, lowercase, trim)


# Files


def test_from_pyfile_takes_what_flask_takes(tmp_path: Path):
    (tmp_path / "app.cfg").write_text("import os\nDEBUG = 1 > 2\nlower = 1\nHERE = os.path.basename(__file__)\n")
    ours, theirs = both(tmp_path)

    assert ours.from_pyfile("app.cfg") is theirs.from_pyfile("app.cfg") is True

    assert ours == theirs == {"DEBUG": False, "HERE": "app.cfg"}


def test_an_absolute_path_ignores_the_root(tmp_path: Path):
    (tmp_path / "app.py").write_text("A = 1")
    config = Config("/nowhere")

    config.from_pyfile(tmp_path / "app.py")

    assert config == {"A": 1}


def test_a_missing_file_is_an_error_that_names_it_unless_silent(tmp_path: Path):
    config = Config(tmp_path)

    for read in (config.from_pyfile, config.from_file):
        with pytest.raises(FileNotFoundError, match=r"Unable to load configuration file .*missing\.toml"):
            read("missing.toml")
        assert read("missing.toml", silent=True) is False  # type: ignore[operator]


def test_silent_hides_a_folder_but_no_error_of_the_file(tmp_path: Path):
    (tmp_path / "app.py").write_text("open('/nowhere/at/all')")
    config = Config(tmp_path)

    assert config.from_pyfile(tmp_path, silent=True) is False
    with pytest.raises(FileNotFoundError, match=r"^(?!.*Unable to load)"):
        config.from_pyfile("app.py", silent=True)


def test_a_syntax_error_in_a_config_file_names_the_file(tmp_path: Path):
    (tmp_path / "app.py").write_text("A = (")

    with pytest.raises(SyntaxError) as caught:
        Config(tmp_path).from_pyfile("app.py")

    assert caught.value.filename == str(tmp_path / "app.py")


def test_from_envvar_reads_the_file_that_the_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "app.py").write_text("A = 1")
    config = Config(tmp_path)

    monkeypatch.setenv("SHOP_SETTINGS", "app.py")
    assert config.from_envvar("SHOP_SETTINGS") is True
    assert config == {"A": 1}

    monkeypatch.setenv("SHOP_SETTINGS", "")
    assert config.from_envvar("SHOP_SETTINGS", silent=True) is False
    with pytest.raises(SetupError, match="'SHOP_SETTINGS' is not set"):
        config.from_envvar("SHOP_SETTINGS")


def test_from_file_chooses_toml_and_json_by_the_suffix(tmp_path: Path):
    (tmp_path / "app.toml").write_text('A = 1\nb = 2\n[DATABASE]\nhost = "ü"\n', encoding="utf-8")
    (tmp_path / "app.JSON").write_text('{"C": [1, "ü"], "d": 4}', encoding="utf-8-sig")
    config = Config(tmp_path)

    assert config.from_file("app.toml") is True
    assert config.from_file("app.JSON") is True

    assert config == {"A": 1, "DATABASE": {"host": "ü"}, "C": [1, "ü"]}


def test_from_file_with_a_loader_reads_what_flask_reads(tmp_path: Path):
    (tmp_path / "data").write_text('{"A": 1, "b": 2}')
    (tmp_path / "more").write_text("C = 3")
    ours, theirs = both(tmp_path)

    for config in (ours, theirs):
        config.from_file("data", json.load)
        config.from_file("more", load=tomllib.load, text=False)

    assert ours == theirs == {"A": 1, "C": 3}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.toml", b"A = ", "a.toml is no valid TOML file"),
        ("a.json", b"{", "a.json is no valid JSON file"),
        ("a.json", b"\xff\xff", "a.json is no valid JSON file"),
        ("a.json", b"[1]", "must hold an object with the settings, not a list"),
        ("a.yaml", b"A: 1", "say how to load"),
        ("plain", b"A", "say how to load"),
    ],
)
def test_a_data_file_that_cannot_be_read_is_a_setup_error(name: str, content: bytes, says: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SetupError, match=says):
        Config(tmp_path).from_file(name)


# from_prefixed_env

SCALARS = VALUES.map(json.dumps) | st.text(string.printable, max_size=8).filter(lambda text: "\0" not in text)
VARIABLES = st.lists(st.sampled_from("AB"), min_size=1, max_size=3).map("__".join)


@given(variables=st.dictionaries(VARIABLES, SCALARS, max_size=6))
def test_from_prefixed_env_takes_what_flask_takes(variables: dict[str, str]):
    ours, theirs = both(defaults={"A": {"B": 0}})

    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(f"SHOP_{name}", value)
        try:
            theirs.from_prefixed_env("SHOP")
        except (TypeError, AttributeError):
            with pytest.raises(SetupError, match="no dict"):
                ours.from_prefixed_env("SHOP")
            return
        ours.from_prefixed_env("SHOP")

    assert ours == theirs


def test_the_prefix_is_the_frameworks_name_unless_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MICROWEB_JSON_MAX_DEPTH", "5")
    monkeypatch.setenv("MICROWEBBER", "no")
    config = Config(".")

    config.from_prefixed_env()

    assert config["JSON_MAX_DEPTH"] == 5
    assert "BER" not in config


def test_a_loader_of_ones_own_replaces_json(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_A", "5")
    monkeypatch.setenv("SHOP_B", "five")
    config = Config(".")

    config.from_prefixed_env("SHOP", loads=lambda text: int(text) + 1)

    assert config == {"A": 6, "B": "five"}


def test_a_nested_variable_leaves_the_shared_defaults_alone(monkeypatch: pytest.MonkeyPatch):
    defaults = {"DATABASE": {"HOST": "db1", "PORTS": {"READ": 1}}}
    monkeypatch.setenv("SHOP_DATABASE__HOST", "db2")
    monkeypatch.setenv("SHOP_DATABASE__PORTS__WRITE", "2")
    counter = Counter()
    config = Config(".", defaults, on_change=counter)

    config.from_prefixed_env("SHOP")

    assert config == {"DATABASE": {"HOST": "db2", "PORTS": {"READ": 1, "WRITE": 2}}}
    assert defaults == {"DATABASE": {"HOST": "db1", "PORTS": {"READ": 1}}}
    assert counter.calls == 1


def test_a_variable_inside_a_value_that_is_no_dict_is_a_setup_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_LEVEL", "5")
    monkeypatch.setenv("SHOP_LEVEL__HIGH", "6")

    with pytest.raises(SetupError, match=r"SHOP_LEVEL__HIGH sets a key inside LEVEL, which is no dict .* 5 \(int\)"):
        Config(".").from_prefixed_env("SHOP")


# .env files


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment, put back as it was after the test."""
    environment = dict(os.environ)
    monkeypatch.setattr(os, "environ", environment)
    return environment


def test_a_dotenv_file_never_overrides_what_is_set(tmp_path: Path, environ: dict[str, str]):
    environ["SHOP_A"] = "set"
    (tmp_path / ".env").write_text("SHOP_A=file\nexport SHOP_B='b c' # a comment\nSHOP_C=${SHOP_A}!\n")

    assert load_dotenv_file(tmp_path / ".env") is True

    assert (environ["SHOP_A"], environ["SHOP_B"], environ["SHOP_C"]) == ("set", "b c", "set!")


def test_the_mark_that_windows_editors_write_is_no_part_of_a_name(tmp_path: Path, environ: dict[str, str]):
    (tmp_path / ".env").write_text("SHOP_A=ü\n", encoding="utf-8-sig")

    load_dotenv_file(tmp_path / ".env")

    assert environ["SHOP_A"] == "ü"


def test_an_empty_dotenv_file_is_read_and_a_missing_one_is_not(tmp_path: Path):
    (tmp_path / ".env").touch()

    assert load_dotenv_file(tmp_path / ".env") is True
    assert load_dotenv_file(tmp_path / "missing.env") is False
    assert load_dotenv_file(tmp_path) is False


def test_a_dotenv_file_that_cannot_be_read_is_a_setup_error(tmp_path: Path):
    (tmp_path / ".env").write_bytes(b"A=\xff")

    with pytest.raises(SetupError, match=r"\.env cannot be read"):
        load_dotenv_file(tmp_path / ".env")


def test_without_python_dotenv_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / ".env").write_text("A=1")
    monkeypatch.setitem(sys.modules, "dotenv", None)

    with pytest.raises(SetupError, match="pip install python-dotenv, or"):
        load_dotenv_file(tmp_path / ".env")
    assert load_dotenv_file(tmp_path / "missing.env") is False


# Cost


def test_importing_the_config_loads_nothing_heavy():
    heavy = {"pathlib", "json", "tomllib", "msgspec", "dotenv", "dataclasses", "inspect", "urllib.parse"}
    # A bare package in place of microweb's own: what the app imports beside the config is not the question.
    script = (
        "import sys, types; package = types.ModuleType('microweb'); sys.modules['microweb'] = package\n"
        f"package.__path__ = [{str(Path(microweb.config.__file__).parent)!r}]\n"
        "import microweb.config, microweb.limits; print(*sys.modules)"
    )

    loaded = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)

    assert "microweb.limits" in loaded.stdout.split()
    assert heavy & set(loaded.stdout.split()) == set()


def test_the_lifetime_of_a_session_is_flasks_in_seconds():
    assert timedelta(seconds=DEFAULTS["PERMANENT_SESSION_LIFETIME"]) == timedelta(days=31)
    assert flask.Flask.default_config["PERMANENT_SESSION_LIFETIME"] == timedelta(days=31)
