"""JSON: what can be written, what can be read, and that a bad body is a 400 with a useful text."""

import dataclasses
import datetime
import decimal
import enum
import json as standard
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Annotated, Any, ClassVar

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from microweb import json
from microweb.errors import BadRequest
from microweb.multidict import MultiDict
from microweb.url import URL

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Entry(msgspec.Struct):
    id: int
    title: str = ""


def depth_of(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def refusal(data: bytes, *arguments: Any, **options: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        json.loads(data, *arguments, **options)
    assert caught.value.status == 400
    assert caught.value.description is not None
    return caught.value.description


def at_the_end_of_the_stack(room: int, function: Callable[[], Any]) -> Any:
    """Call ``function`` where only ``room`` more frames fit on the stack."""

    def descend(levels: int) -> Any:
        return descend(levels - 1) if levels else function()

    used = 0
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        used, frame = used + 1, frame.f_back
    return descend(sys.getrecursionlimit() - used - room)


# Writing


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, '{"a":[1,2.5,null,true,"é"]}'),
        (datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC), '"2024-02-29T12:00:00Z"'),
        (datetime.date(2024, 2, 29), '"2024-02-29"'),
        (datetime.time(1, 2), '"01:02:00"'),
        (datetime.timedelta(days=1), '"P1D"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (decimal.Decimal("1.50"), '"1.50"'),
        (b"ab", '"YWI="'),
        ({3}, "[3]"),
        ((1, 2), "[1,2]"),
        (float("nan"), "null"),
        (2**70, "1180591620717411303424"),
    ],
)
def test_values_of_the_standard_library_have_a_json_form(value: Any, text: str) -> None:
    assert json.dumps(value) == text.encode()


def test_dataclasses_attrs_classes_structs_and_enums_have_a_json_form() -> None:
    @dataclasses.dataclass
    class Point:
        x: int

    @attrs.define
    class Size:
        width: int

    class Color(enum.Enum):
        RED = "red"

    assert json.dumps([Point(1), Size(2), Entry(3), Color.RED]) == (b'[{"x":1},{"width":2},{"id":3,"title":""},"red"]')


def test_an_object_with_html_is_written_as_that_string() -> None:
    class Badge:
        def __html__(self) -> Markup:
            return Markup("<b>new</b>")

    assert json.dumps([Badge(), Markup("<i>")]) == b'["<b>new</b>","<i>"]'


def test_any_mapping_is_written_as_an_object() -> None:
    several = MultiDict([("a", "1"), ("a", "2"), ("b", "3")])

    assert json.dumps([several, MappingProxyType({"k": several})]) == b'[{"a":"1","b":"3"},{"k":{"a":"1","b":"3"}}]'


def test_subclasses_of_plain_types_are_written_as_those_types() -> None:
    class Meters(float):
        pass

    class Count(int):
        pass

    assert json.dumps([URL("/a"), Meters(1.5), Count(2), {URL("/k"): 1}]) == b'["/a",1.5,2,{"/k":1}]'


@given(st.dictionaries(st.none() | st.booleans() | st.integers() | st.text(), st.integers(0, 9)))
def test_keys_are_written_as_the_standard_library_writes_them(value: dict[Any, int]) -> None:
    assert standard.loads(json.dumps(value)) == standard.loads(standard.dumps(value))


@pytest.mark.parametrize("value", [object(), Entry, {(1, 2): 3}, [1 + 2j], Markup])
def test_a_value_without_a_json_form_is_a_type_error_naming_its_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"a value of type [\w.]+ has no JSON form"):
        json.dumps(value)


@pytest.mark.parametrize("value", ["\ud800", 10**5000], ids=["surrogate", "digits"])
def test_what_no_json_text_can_hold_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError):
        json.dumps(value)


def test_a_name_bound_before_the_first_use_goes_on_working() -> None:
    assert json.start_dumping({"a": 1}) == json.start_dumping({"a": 1}) == b'{"a":1}'


@given(json_values)
def test_what_was_written_is_read_back(value: Any) -> None:
    value = standard.loads(standard.dumps(value, default=str), parse_int=lambda digits: int(digits) % 2**63)

    assert json.loads(json.dumps(value)) == value == standard.loads(json.dumps(value))


# Reading


@given(json_values, st.integers(1, 4), st.booleans(), st.booleans())
def test_the_verdict_on_depth_is_exact(value: Any, limit: int, ascii_only: bool, wide: bool) -> None:
    text = standard.dumps(value, ensure_ascii=ascii_only, indent=1 if wide else None).encode()

    assert json.is_deeper_than(text, limit) == (depth_of(value) > limit)


@given(st.lists(st.text(alphabet='[]{}"\\u05a', max_size=8), max_size=12))
def test_brackets_and_quotes_inside_strings_are_no_nesting(strings: list[str]) -> None:
    text = standard.dumps([strings, {"key": strings}]).encode()

    assert json.is_deeper_than(text, 2)
    assert not json.is_deeper_than(text, 3)


def test_nesting_is_followed_across_slices() -> None:
    long_string = "[" * 20_000 + '"'
    value = [[long_string, [[0]] * 10_000, long_string], [[long_string]]]
    text = standard.dumps(value).encode()

    assert json.is_deeper_than(text, 3)
    assert not json.is_deeper_than(text, 4)


def test_nesting_up_to_the_limit_is_read_and_one_level_more_is_refused() -> None:
    assert depth_of(json.loads(nested(64))) == 64
    assert refusal(nested(65)) == "The JSON is nested deeper than 64 levels (JSON_MAX_DEPTH)."
    assert depth_of(json.loads(nested(65), max_depth=65)) == 65
    assert "nested deeper than 1 " in refusal(b'{"a": {}}', max_depth=1)


@pytest.mark.parametrize("room", [20, 40, 60, 100, 500])
@pytest.mark.parametrize("type", [Any, list[Any]])
def test_the_verdict_on_depth_is_the_same_at_any_stack_depth(room: int, type: Any) -> None:
    json.loads(b"[]", type)

    assert at_the_end_of_the_stack(room, lambda: json.loads(nested(64), type)) == json.loads(nested(64))
    assert "nested deeper" in at_the_end_of_the_stack(room, lambda: refusal(nested(65), type))
    assert "nested deeper" in at_the_end_of_the_stack(room, lambda: refusal(nested(100_000), type))


def test_other_mistakes_are_the_same_at_any_stack_depth() -> None:
    class Strange(msgspec.Struct):
        inner: list[Any]

        def __post_init__(self) -> None:
            raise LookupError("raised by the type")

    text = b'{"inner":' + nested(60) + b"}"
    json.loads(b"[]")

    assert "trailing comma" in at_the_end_of_the_stack(40, lambda: refusal(b"[" * 60 + b"1,]"))
    with pytest.raises(LookupError, match="raised by the type"):
        at_the_end_of_the_stack(40, lambda: json.loads(text, Strange))


def test_a_limit_beyond_the_interpreter_is_still_a_clean_refusal() -> None:
    assert refusal(nested(500_000), max_depth=1_000_000) == "The JSON is nested deeper than this server can read."


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "The body is empty where JSON is expected."),
        (b"[1,", "incomplete: it ends at byte 3"),
        (b'{"a":1,}', "trailing comma in object (byte 7)"),
        (b"[1] x", "trailing characters (byte 5)"),
        (b"NaN", "invalid character (byte 0)"),
        (b"-Infinity", "invalid character (byte 1)"),
        (b"01", "invalid number"),
        (b'"a\x00b"', "invalid character (byte 2)"),
        (b'"\\ud800"', "a surrogate pair"),
        (b'"\\ud800 and more"', "surrogate pair"),
        (b'["ok", "\xff"]', "must be UTF-8, and byte 8 is not."),
        (b'{"\xed\xa0\x80": 1}', "must be UTF-8, and byte 2 is not."),
        ('{"a":1}'.encode("utf-16"), "UTF-16 or UTF-32"),
        ('{"a":1}'.encode("utf-16-le"), "UTF-16 or UTF-32"),
        ('{"a":1}'.encode("utf-32-be"), "UTF-16 or UTF-32"),
        (b"\xef\xbb\xbf" * 2 + b"{}", "invalid character (byte 0)"),
        (b"1" * 5000, "out of range"),
        (b"1e999", "out of range"),
    ],
)
def test_a_bad_text_is_a_400_that_says_what_is_wrong(data: bytes, text: str) -> None:
    assert text in refusal(data)


def test_a_byte_order_mark_is_skipped() -> None:
    assert json.loads(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_of_colliding_keys_the_last_one_wins() -> None:
    assert json.loads(b'{"a":1,"a":2}') == {"a": 2}


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\u0de1 .-+', max_size=60).map(str.encode))
def test_any_bytes_are_a_value_or_a_400(data: bytes) -> None:
    try:
        value = json.loads(data, max_depth=3)
    except BadRequest:
        return

    assert standard.loads(data) == value
    assert depth_of(value) <= 3


def test_a_type_shapes_and_checks_the_value() -> None:
    assert json.loads(b'{"id": 1}', Entry) == Entry(1)
    assert json.loads(b"[1, 2]", set[int]) == {1, 2}
    assert refusal(b'{"id": "1"}', Entry) == (
        "The JSON has an unexpected value: Expected `int`, got `str` - at `$.id`."
    )


def test_strings_count_as_numbers_only_when_asked() -> None:
    assert json.loads(b'["1", "true"]', tuple[int, bool], strict=False) == (1, True)
    assert "Expected `int`" in refusal(b'["1", "true"]', tuple[int, bool])


def test_the_cause_tells_a_wrong_value_from_a_wrong_text() -> None:
    with pytest.raises(BadRequest) as wrong_value:
        json.loads(b"1", str)
    with pytest.raises(BadRequest) as wrong_text:
        json.loads(b"'", str)

    assert isinstance(wrong_value.value.__cause__, msgspec.ValidationError)
    assert not isinstance(wrong_text.value.__cause__, msgspec.ValidationError)


def test_the_defaults_of_dataclasses_are_part_of_the_value() -> None:
    @dataclasses.dataclass
    class Point:
        x: int
        y: int = 2

    read = json.loads(b'\xef\xbb\xbf{"a": [{"x": 1}], "b": [{"x": 3, "y": 4}]}', dict[str, list[Point] | None])

    assert json.dumps(read) == b'{"a":[{"x":1,"y":2}],"b":[{"x":3,"y":4}]}'


def test_what_belongs_to_a_class_is_no_part_of_its_values() -> None:
    @dataclasses.dataclass
    class Item:
        table: ClassVar[str] = "secret"
        price: int = 0

    assert json.dumps(json.loads(b"{}", Item)) == b'{"price":0}'


def test_a_dataclass_may_be_made_of_one_with_slots() -> None:
    @dataclasses.dataclass(slots=True)
    class Base:
        x: int
        y: int = 1

    @dataclasses.dataclass
    class Point(Base):
        z: int = 2

    assert json.dumps(json.loads(b'{"x": 5}', Point)) == b'{"x":5,"y":1,"z":2}'


def test_a_type_that_cannot_be_read_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        json.loads(b"1", lambda: None)


def test_the_decoder_of_a_type_is_made_once() -> None:
    positive = Annotated[int, msgspec.Meta(gt=0)]

    assert json.find_decoder(positive) is json.find_decoder(positive)
    assert json.find_decoder(positive) is not json.find_decoder(positive, False)


# Costs


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"[" * n,
        lambda n: b'{"":' * n,
        lambda n: b"[" + b"[]," * n + b"[]]",
        lambda n: b"[" + b'["["],' * n + b"0]",
        lambda n: b"[" + b'"",' * n + b"[[[]]]]",
        lambda n: b'["' + b"\\" * (2 * n) + b'", [[[]]]]',
        lambda n: b'["' + b'\\"[' * n + b'"]',
        lambda n: b"\xef\xbb\xbf" * n,
        lambda n: b"[" + b"1" * n + b"]",
        lambda n: b"[0." + b"1" * n + b"]",
        lambda n: b'["' + b"\\u00e9" * n + b'"]',
    ],
)
def test_reading_is_linear(growth: Callable[..., float], make: Callable[[int], bytes]) -> None:
    def read_thrice(data: bytes) -> None:
        for _ in range(3):
            try:
                json.loads(data, max_depth=2)
            except BadRequest:
                continue

    assert growth(read_thrice, make(100_000), make(200_000)) < 2.6


def test_the_text_of_a_refusal_stays_short() -> None:
    assert len(refusal(b'"' + b"x" * 100_000, int)) < 200
    assert len(refusal(b'{"' + b"k" * 100_000 + b'": "1"}', dict[str, int])) < 200


def test_importing_it_alone_does_not_import_msgspec() -> None:
    folder = str(Path(json.__file__).parent)
    code = (
        "import sys, types; package = types.ModuleType('microweb'); package.__path__ = [sys.argv[1]];"
        "sys.modules['microweb'] = package; import microweb.json; sys.exit('msgspec' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code, folder]).returncode == 0


def test_a_coroutine_has_no_json_form_and_the_error_asks_for_the_await():
    async def work():
        return 1

    coroutine = work()

    with pytest.raises(TypeError, match=r"coroutine has no JSON form; was an `await` forgotten\?"):
        json.dumps({"work": coroutine})
    coroutine.close()


def test_of_a_value_that_nobody_could_await_no_forgotten_await_is_told():
    with pytest.raises(TypeError, match=r"object has no JSON form$"):
        json.dumps(object())


def test_a_pydantic_model_inside_of_a_value_writes_itself_and_its_class_is_no_value():
    class Model:
        def model_dump(self, mode):
            return {"dumped for": mode}

    assert json.dumps([Model()]) == b'[{"dumped for":"json"}]'
    with pytest.raises(TypeError, match="type has no JSON form"):
        json.dumps([Model])


def test_text_that_can_be_put_into_html_is_written_as_the_text_it_is():
    class Escaping(str):
        def __html__(self):
            return f"&lt;{self}&gt;"

    assert json.dumps(Escaping("a")) == b'"a"'


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_json_with_the_mark_of_another_encoding_is_told_so(encoding):
    with pytest.raises(BadRequest, match="looks like UTF-16 or UTF-32"):
        json.loads("\ufeff[1]".encode(encoding))


@pytest.mark.parametrize("inner", [b"[]", b"{}", b'{"a":[1]}'])
def test_json_may_be_as_wide_as_it_likes(inner):
    assert len(json.loads(b"[" + b",".join([inner] * 500) + b"]", max_depth=3)) == 500
