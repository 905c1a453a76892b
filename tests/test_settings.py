"""Tests of ``microweb.settings``, through ``Config.load``, behind which it stands."""

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import uuid
import zoneinfo
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, Required, TypedDict

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microweb.config import Config
from microweb.errors import SetupError
from microweb.limits import DEFAULTS
from microweb.redaction import shown


class Settings(msgspec.Struct):
    database_url: str
    port: int = 8000
    debug: bool = False


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    name: str
    count: int


class Database(msgspec.Struct):
    host: str
    port: int = 5432


def load(settings: type[Any], environ: Mapping[str, str] | None = None, **config: Any) -> Any:
    return Config(".", config).load(settings, environ=environ or {})


def convert(annotation: Any, text: str) -> Any:
    """Load a settings class whose one field, of this type, comes as this text."""
    return load(msgspec.defstruct("One", [("value", annotation)]), {"MICROWEB_VALUE": text}).value


def problems(settings: type[Any], environ: Mapping[str, str] | None = None, **config: Any) -> list[str]:
    """Give the lines of the error after the first."""
    with pytest.raises(SetupError) as caught:
        load(settings, environ, **config)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


# Where values come from


def test_fields_come_from_the_environment_the_config_and_the_defaults():
    settings = load(Settings, {"MICROWEB_DATABASE_URL": "sqlite:///a.db"}, PORT=80)

    assert settings == Settings(database_url="sqlite:///a.db", port=80, debug=False)


def test_the_environment_wins_over_the_config():
    settings = load(Settings, {"MICROWEB_PORT": "81"}, DATABASE_URL="a", PORT=80)

    assert settings.port == 81


def test_the_prefix_can_be_another_or_none_at_all():
    config = Config(".", {"DATABASE_URL": "config"})
    environ = {"SHOP_DATABASE_URL": "shop", "DATABASE_URL": "plain", "_DATABASE_URL": "wrong"}

    assert config.load(Settings, prefix="SHOP", environ=environ).database_url == "shop"
    assert config.load(Settings, prefix="", environ=environ).database_url == "plain"
    assert config.load(Settings, prefix=None, environ=environ).database_url == "config"


def test_the_real_environment_is_read_unless_another_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MICROWEB_DATABASE_URL", "real")

    assert Config(".").load(Settings).database_url == "real"


def test_a_key_that_nobody_set_leaves_the_fields_default():
    class Site(msgspec.Struct):
        server_name: str = "localhost"
        max_ranges: int = 3

    settings = Config(".", DEFAULTS).load(Site, environ={})

    assert settings == Site(server_name="localhost", max_ranges=16)


def test_none_in_the_config_counts_where_the_type_takes_it():
    class Site(msgspec.Struct):
        limit: int | None = 5

    assert load(Site, LIMIT=None).limit is None
    assert load(Site).limit == 5


def test_values_of_the_config_are_converted_too():
    class Site(msgspec.Struct):
        port: int
        folder: Path
        hosts: tuple[str, ...]
        since: datetime.date

    settings = load(Site, PORT="80", FOLDER=Path("/srv"), HOSTS=["a", "b"], SINCE=datetime.date(2020, 1, 1))

    assert settings == Site(80, Path("/srv"), ("a", "b"), datetime.date(2020, 1, 1))


# Kinds of classes


@dataclasses.dataclass
class DataclassSettings:
    port: int
    names: list[str] = dataclasses.field(default_factory=list)
    computed: int = dataclasses.field(init=False, default=7)


@attrs.define
class AttrsSettings:
    port: int
    _names: list[str] = attrs.Factory(list)
    computed: int = attrs.field(init=False, default=7)


class TypedDictSettings(TypedDict, total=False):
    port: Required[int]
    names: list[str]


class RenamedSettings(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    names_of_all: list[str] = []
    port: int


def test_a_dataclass_is_filled_with_the_fields_that_its_constructor_takes():
    assert load(DataclassSettings, {"MICROWEB_COMPUTED": "8", "MICROWEB_PORT": "80"}) == DataclassSettings(80)
    assert load(DataclassSettings, {"MICROWEB_NAMES": "a,b"}, PORT=80).names == ["a", "b"]


def test_an_attrs_class_is_filled_with_the_fields_that_its_constructor_takes():
    assert load(AttrsSettings, {"MICROWEB_COMPUTED": "8"}, PORT=80) == AttrsSettings(80)
    assert load(AttrsSettings, {"MICROWEB__NAMES": "a,b"}, PORT=80) == AttrsSettings(80, ["a", "b"])


def test_a_typed_dict_is_filled_with_what_is_there():
    assert load(TypedDictSettings, PORT="80") == {"port": 80}
    assert load(TypedDictSettings, {"MICROWEB_NAMES": "a,b"}, PORT="80") == {"port": 80, "names": ["a", "b"]}
    assert problems(TypedDictSettings) == [
        "port: expected int; missing, looked for MICROWEB_PORT in the environment and PORT in the config"
    ]


def test_a_struct_goes_by_the_names_in_the_program_not_on_the_wire():
    assert load(RenamedSettings, PORT=80, NAMES_OF_ALL="a") == RenamedSettings(port=80, names_of_all=["a"])


def test_a_field_that_need_not_be_in_a_typed_dict_keeps_its_bounds():
    class Bounded(TypedDict):
        port: NotRequired[Annotated[int, msgspec.Meta(ge=1)]]

    assert load(Bounded) == {}
    assert problems(Bounded, PORT=0) == [
        "port: expected int; came 0 (int) from PORT in the config (Expected `int` >= 1)"
    ]


@pytest.mark.parametrize("wrong", [int, dict, dict[str, int], Settings("a"), None, Pair, Colour])
def test_what_has_no_fields_to_fill_is_a_setup_error(wrong: Any):
    with pytest.raises(SetupError, match="fills a msgspec Struct, dataclass, attrs class or TypedDict, not "):
        load(wrong)


def test_an_annotation_that_cannot_be_resolved_is_a_setup_error():
    @dataclasses.dataclass
    class Site:
        port: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(SetupError, match=r"Site: an annotation cannot be resolved \(name 'Nowhere'"):
        load(Site)


def test_a_type_that_nothing_can_be_converted_to_is_reported():
    @dataclasses.dataclass
    class Site:
        both: list[int] | set[int]

    (problem,) = problems(Site, BOTH=[1])

    assert problem.startswith("both: no value can be converted to list[int] or set[int]: Type unions may not")


def test_the_check_of_the_class_itself_is_reported_with_its_place():
    class Range(msgspec.Struct):
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is over high")

    class Site(msgspec.Struct):
        span: Range

    assert problems(Range, LOW=2, HIGH=1) == ["low is over high"]
    assert problems(Site, SPAN={"low": 2, "high": 1}) == ["span: low is over high"]


def test_the_error_of_the_class_itself_is_the_cause():
    class Odd(msgspec.Struct):
        def __post_init__(self) -> None:
            raise TypeError("odd")

    with pytest.raises(SetupError, match="odd") as caught:
        load(Odd)

    assert isinstance(caught.value.__cause__, TypeError)


# Texts


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, " as it is ", " as it is "),
        (str, "", ""),
        (str | None, "", ""),
        (int | str, "80", "80"),
        (Any, "80", "80"),
        (int, " 8080\n", 8080),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (bool, "FALSE", False),
        (bool, "1", True),
        (bool, "Off", False),
        (bool | None, "yes", True),
        (int | None, "", None),
        (Optional[int], "5", 5),  # noqa: UP045
        (int | None, "null", None),
        (bytes, "c2VjcmV0", b"c2VjcmV0"),
        (bytes, " ü ", b" \xc3\xbc "),
        (list[str], "a, b,c", ["a", "b", "c"]),
        (list[str], "", []),
        (list[int], "[1, 2]", [1, 2]),
        (list[int] | None, "1,2", [1, 2]),
        (list[int] | None, "", None),
        (list[bytes], "YWJj,b", [b"YWJj", b"b"]),
        (list[bool], "on,false", [True, False]),
        (set[int], "1,2,1", {1, 2}),
        (frozenset[str], "a", frozenset("a")),
        (tuple[str, ...], "a,b", ("a", "b")),
        (tuple[str, int], "a, 5", ("a", 5)),
        (Pair, "a,5", Pair("a", 5)),
        (list[Path], "a,b", [Path("a"), Path("b")]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (dict[str, int] | None, "", None),
        (list[Database], '[{"host": "a"}]', [Database("a")]),
        (Colour, "red", Colour.RED),
        (list[Colour], "red,blue", [Colour.RED, Colour.BLUE]),
        (Level, "1", Level.LOW),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, 2], "2", 2),
        (Annotated[int, msgspec.Meta(ge=1, description="a port")], "5", 5),
        (datetime.timedelta, "90", datetime.timedelta(seconds=90)),
        (datetime.timedelta, "PT1M", datetime.timedelta(minutes=1)),
        (datetime.date, "2020-01-31", datetime.date(2020, 1, 31)),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (uuid.UUID, "12345678123456781234567812345678", uuid.UUID("12345678" * 4)),
        (Path, "/srv/shop", Path("/srv/shop")),
        (Path | None, "a", Path("a")),
        (ipaddress.IPv4Address, "127.0.0.1", ipaddress.IPv4Address("127.0.0.1")),
        (zoneinfo.ZoneInfo, "UTC", zoneinfo.ZoneInfo("UTC")),
    ],
)
def test_a_text_is_converted_to_the_type_of_its_field(annotation: Any, text: str, value: Any):
    assert convert(annotation, text) == value


@pytest.mark.parametrize(
    ("annotation", "text", "says"),
    [
        (int, "eighty", "expected int; came 'eighty' (str) from MICROWEB_VALUE in the environment"),
        (int, "", "expected int; came '' (str) from MICROWEB_VALUE in the environment"),
        (int | None, "x", "expected int or None; came 'x' (str) from MICROWEB_VALUE in the environment"),
        (bool, "maybe", "expected bool; came 'maybe' (str) from MICROWEB_VALUE in the environment"),
        (
            Annotated[int, msgspec.Meta(ge=1)],
            "0",
            "expected int; came '0' (str) from MICROWEB_VALUE in the environment (Expected `int` >= 1)",
        ),
        (
            list[int],
            "1,x",
            "expected list[int]; came '1,x' (str) from MICROWEB_VALUE in the environment "
            "(Expected `int`, got `str` - at `$[1]`)",
        ),
        (
            list[int],
            "[1",
            "expected list[int]; came '[1' (str) from MICROWEB_VALUE in the environment (Input data was truncated)",
        ),
        (
            Colour,
            "green",
            "expected one of 'red', 'blue'; came 'green' (str) from MICROWEB_VALUE in the environment",
        ),
        (
            Literal["a", 1],
            "b",
            "expected one of 'a', 1; came 'b' (str) from MICROWEB_VALUE in the environment",
        ),
        (
            dict[str, int],
            "a=1",
            "expected dict[str, int]; came 'a=1' (str) from MICROWEB_VALUE in the environment",
        ),
        (
            zoneinfo.ZoneInfo,
            "Mars/Base",
            "expected ZoneInfo; came 'Mars/Base' (str) from MICROWEB_VALUE in the environment "
            "('No time zone found with key Mars/Base')",
        ),
    ],
)
def test_a_text_that_does_not_fit_is_reported_with_where_it_was_found(annotation: Any, text: str, says: str):
    assert problems(msgspec.defstruct("One", [("value", annotation)]), {"MICROWEB_VALUE": text}) == [f"value: {says}"]


def test_a_value_of_the_config_that_no_type_takes_is_reported():
    class Site(msgspec.Struct):
        folder: Path
        port: int

    assert problems(Site, FOLDER=5, PORT=5.5) == [
        "folder: expected Path; came 5 (int) from FOLDER in the config (cannot be made from int)",
        "port: expected int; came 5.5 (float) from PORT in the config",
    ]


NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1))


@given(NUMBERS)
def test_a_list_comes_back_from_json_and_from_commas(numbers: list[int]):
    assert convert(list[int], json.dumps(numbers)) == numbers
    assert convert(list[int], ",".join(map(str, numbers))) == numbers


ANNOTATIONS = [
    int,
    float,
    bool,
    str,
    bytes,
    list[int],
    set[str],
    tuple[int, str],
    dict[str, int],
    Colour,
    Path,
    Pair,
]
ANNOTATIONS += [datetime.timedelta, datetime.datetime, uuid.UUID, decimal.Decimal, int | None, Database]


@given(annotation=st.sampled_from(ANNOTATIONS), text=st.text() | st.integers().map(str) | st.sampled_from("[{]}"))
def test_any_text_is_converted_or_refused_with_a_setup_error(annotation: Any, text: str):
    message = ""

    try:
        convert(annotation, text)
    except SetupError as error:
        message = str(error)

    assert message == "" or "\n  value" in message


# Objects with fields of their own


class Site(msgspec.Struct):
    database: Database


class OptionalSite(msgspec.Struct):
    database: Database | None = None


def test_a_nested_object_comes_from_a_mapping_in_the_config():
    assert load(Site, DATABASE={"host": "a", "PORT": "5"}) == Site(Database("a", 5))


def test_a_nested_object_comes_from_the_variables_of_its_fields():
    environ = {"MICROWEB_DATABASE__HOST": "a", "MICROWEB_DATABASE__PORT": "5"}

    assert load(Site, environ) == Site(Database("a", 5))
    assert load(OptionalSite, environ) == OptionalSite(Database("a", 5))


def test_a_nested_object_comes_whole_as_json():
    environ = {"MICROWEB_DATABASE": '{"host": "a", "port": 5}'}

    assert load(Site, environ, DATABASE={"host": "b"}) == Site(Database("a", 5))


def test_a_variable_of_a_field_wins_over_the_object_around_it():
    environ = {"MICROWEB_DATABASE__PORT": "6"}

    assert load(Site, environ, DATABASE={"host": "a", "port": 5}) == Site(Database("a", 6))
    assert load(Site, environ, DATABASE=Database("a", 5)) == Site(Database("a", 6))
    assert load(Site, environ | {"MICROWEB_DATABASE": '{"host": "c"}'}) == Site(Database("c", 6))


def test_an_object_of_the_right_class_is_taken_as_it_is():
    database = Database("a", 5)

    assert load(Site, DATABASE=database).database is database


def test_an_optional_object_that_nobody_set_is_its_default():
    class WithDefault(msgspec.Struct):
        database: Database | None = msgspec.field(default_factory=lambda: Database("default"))

    assert load(OptionalSite).database is None
    assert load(WithDefault).database == Database("default")
    assert load(WithDefault, DATABASE=None).database is None
    assert load(WithDefault, {"MICROWEB_DATABASE": ""}).database is None
    assert load(WithDefault, {"MICROWEB_DATABASE": "null"}).database is None


def test_an_object_whose_fields_all_have_defaults_need_not_be_set():
    @dataclasses.dataclass
    class Mail:
        host: str = "localhost"

    @dataclasses.dataclass
    class Shop:
        mail: Mail

    assert load(Shop) == Shop(Mail())


def test_the_fields_of_a_nested_object_are_missed_one_by_one():
    assert problems(Site) == [
        "database.host: expected str; missing, looked for MICROWEB_DATABASE__HOST in the environment "
        "and DATABASE['host'] in the config"
    ]
    assert problems(OptionalSite, {"MICROWEB_DATABASE__PORT": "x"}) == [
        "database.host: expected str; missing, looked for MICROWEB_DATABASE__HOST in the environment "
        "and DATABASE['host'] in the config",
        "database.port: expected int; came 'x' (str) from MICROWEB_DATABASE__PORT in the environment",
    ]


@pytest.mark.parametrize("text", ["db1", "[1]", "5", "{"])
def test_a_text_that_is_no_object_is_reported(text: str):
    (problem,) = problems(Site, {"MICROWEB_DATABASE": text})

    assert problem.startswith("database: expected Database, as a mapping or a JSON object; came ")
    assert problem.endswith(" from MICROWEB_DATABASE in the environment")


def test_a_typed_dict_inside_a_dataclass_is_filled_deep_down():
    class Deep(TypedDict):
        level: int

    @dataclasses.dataclass
    class Middle:
        deep: Deep

    @dataclasses.dataclass
    class Outer:
        middle: Annotated[Middle, "a note"]

    assert load(Outer, {"MICROWEB_MIDDLE__DEEP__LEVEL": "3"}) == Outer(Middle({"level": 3}))
    assert load(Outer, MIDDLE={"DEEP": {"LEVEL": 3}}) == Outer(Middle({"level": 3}))


# The message


def test_everything_missing_or_wrong_is_reported_at_once():
    class Shop(msgspec.Struct):
        database_url: str
        port: int
        workers: int
        hosts: list[str]

    with pytest.raises(SetupError) as caught:
        load(Shop, {"MICROWEB_PORT": "eighty"}, WORKERS=1.5)

    assert str(caught.value).splitlines() == [
        f"{__name__}.{Shop.__qualname__} cannot be filled:",
        "  database_url: expected str; missing, looked for MICROWEB_DATABASE_URL in the environment "
        "and DATABASE_URL in the config",
        "  port: expected int; came 'eighty' (str) from MICROWEB_PORT in the environment",
        "  workers: expected int; came 1.5 (float) from WORKERS in the config",
        "  hosts: expected list[str]; missing, looked for MICROWEB_HOSTS in the environment and HOSTS in the config",
    ]


def test_without_the_environment_only_the_config_is_named():
    with pytest.raises(SetupError, match=r"missing, looked for DATABASE_URL in the config$"):
        Config(".").load(Settings, prefix=None)


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("name", "annotation", "text"),
    [
        ("api_token", int, SECRET),
        ("secret_key", Colour, SECRET),
        ("password", Literal["a"], SECRET),
        ("signing_keys", list[int], SECRET),
        ("signing_keys", list[int], f"[{SECRET}"),
        ("token", zoneinfo.ZoneInfo, SECRET),
        ("database", int, f"postgresql://shop:{SECRET}@db1/shop"),
        ("database", ipaddress.IPv4Address, f"postgresql://shop:{SECRET}@db1/shop"),
        ("database", Database, f'{{"password": "{SECRET}"'),
        ("database", dict[str, int], f'{{"password": "{SECRET}"}}'),
    ],
)
def test_the_value_of_a_secret_is_never_in_a_message(name: str, annotation: Any, text: str):
    settings = msgspec.defstruct("One", [(name, annotation)])

    with pytest.raises(SetupError) as caught:
        load(settings, {f"MICROWEB_{name.upper()}": text})

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "MICROWEB_" in str(caught.value)


def test_what_came_is_shown_as_everywhere():
    assert shown("port", "eighty") in problems(Settings, PORT="eighty", DATABASE_URL="a")[0]
