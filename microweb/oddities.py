"""Values that msgspec takes, or trips over, where no program expects them.

NaN and the infinities: JSON has neither, and no schema of a number allows them; but msgspec takes their names in a text
for a ``Decimal``, and for a ``float`` where a value or a key is text. None of them is less than a limit or more, and a
``Decimal`` raises when it is compared with NaN. And what has no hash, in a set: a list in a ``set[Any]``, or ``sNaN``.

``json.py``, ``validation.py`` and ``problems.py`` read through ``refuse_oddities``; a type in which nothing odd can be
costs nothing there.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, get_origin

import msgspec
from msgspec import inspect

__all__ = ["find_hashless", "refuse_oddities", "take_apart"]

Test = Callable[[Any], bool]
"""Whether there is NaN or an infinity in a value."""

FIELDS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)
SETS = (inspect.SetType, inspect.FrozenSetType)
DECIMALS = (inspect.DecimalType,)
NUMBERS = (inspect.DecimalType, inspect.FloatType)
HASHED = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.BytesType,
    inspect.EnumType,
    inspect.LiteralType,
    inspect.DateType,
    inspect.TimeType,
    inspect.DateTimeType,
    inspect.TimeDeltaType,
    inspect.UUIDType,
)
"""Types of which every value has a hash."""


def refuse_oddities(read: Callable[[Any], Any], hint: Any, *, strict: bool) -> Callable[[Any], Any]:
    """``read``, which makes values of the type ``hint``, without what is odd in them.

    In place of that it raises ``msgspec.ValidationError``. It is ``read`` itself where nothing odd can come.
    """
    is_odd, may_lack_hash = find_tests(hint, strict)
    if is_odd is None and not may_lack_hash:
        return read

    def read_plain(data: Any) -> Any:
        try:
            value = read(data)
        except TypeError as error:
            # SECURITY: test_oddities.py::test_what_has_no_hash_is_a_422
            said = str(error)
            if "hash" not in said:
                raise
            expected = "Expected a finite number" if "NaN" in said else "Expected values that a set can hold"
            raise msgspec.ValidationError(expected) from None
        if is_odd is not None and may_name_one(data) and is_odd(value):
            raise msgspec.ValidationError("Expected a finite number")
        return value

    return read_plain


def may_name_one(data: Any) -> bool:
    """Whether NaN or an infinity may be in ``data``: in JSON only where a text names one."""
    if not isinstance(data, bytes):
        return True
    # To look costs a small part of the test. A letter may be escaped, and a Decimal passes over underscores.
    text = data.lower().replace(b"_", b"")
    return b"nan" in text or b"inf" in text or b"\\" in text


def find_tests(hint: Any, strict: bool) -> tuple[Test | None, bool]:
    """The test for values of a type, None if they hold no such numbers; and whether one may have no hash."""
    try:
        return recall_tests(hint, strict)
    except TypeError:  # There is something in an ``Annotated`` that has no hash.
        return make_tests(list_parts(inspect.type_info(hint)), strict)


@lru_cache(maxsize=1024)
def recall_tests(hint: Any, strict: bool) -> tuple[Test | None, bool]:
    return make_tests(take_apart(hint), strict)


def make_tests(parts: list[Any], strict: bool) -> tuple[Test | None, bool]:
    numbers = DECIMALS if strict else NUMBERS
    test = make_test(parts[0], numbers, {}) if is_among(parts, NUMBERS) else None
    return test, any(may_lack_hash(part) for part in parts if isinstance(part, SETS))


@lru_cache(maxsize=16)
def take_apart(hint: Any) -> list[Any]:
    """The parts of a type in msgspec's own words, on all levels; the first is the whole of it.

    Kept for a moment: whoever checks a type goes on to read it.
    """
    return list_parts(inspect.type_info(hint))


def list_parts(node: Any) -> list[Any]:
    parts: list[Any] = []
    waiting, seen = [node], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, tuple):
            waiting += part
        elif isinstance(part, inspect.Type | inspect.Field):
            parts.append(part)
            waiting += [getattr(part, name) for name in part.__struct_fields__]
    return parts


def may_lack_hash(node: Any) -> bool:
    """Whether a set may meet items without a hash."""
    items = node.item_type
    return not all(isinstance(part, HASHED) for part in getattr(items, "types", [items]))


def find_hashless(hint: Any) -> str | None:
    """What a set in this type would hold although no value of it has a hash."""
    for node in take_apart(hint):
        if not isinstance(node, SETS):
            continue
        item = node.item_type
        cls: Any = getattr(item, "cls", None)
        if isinstance(item, inspect.ListType | inspect.SetType | inspect.DictType | inspect.TypedDictType):
            return type(item).__name__.removesuffix("Type").lower() if cls is None else str(cls.__qualname__)
        if isinstance(item, inspect.StructType) and cls.__hash__ is msgspec.Struct.__hash__:
            config = cls.__struct_config__
            if config.eq and not config.frozen:
                return str(cls.__qualname__)
        elif cls is not None and cls.__hash__ is None:
            return str(cls.__qualname__)
    return None


def make_test(node: Any, numbers: tuple[type[Any], ...], known: dict[int, list[Test]]) -> Test | None:
    """The test for one part of a type; ``known`` are those under way, for types that hold themselves."""
    while isinstance(node, inspect.Metadata):
        node = node.type
    if not has_numbers(node, numbers):
        return None
    if isinstance(node, numbers):
        return is_no_number
    if id(node) in known:
        holder = known[id(node)]
        return lambda value: holder[0](value)
    holder = known[id(node)] = []
    if isinstance(node, inspect.DictType):
        test = make_dict_test(make_test(node.key_type, NUMBERS, known), make_test(node.value_type, numbers, known))
    elif isinstance(node, FIELDS):
        tests = [(field, make_test(field.type, numbers, known)) for field in node.fields]
        kind = dict if isinstance(node, inspect.TypedDictType) else get_origin(node.cls) or node.cls
        test = make_fields_test(kind, [(field, each) for field, each in tests if each is not None])
    elif isinstance(node, inspect.UnionType):
        test = make_union_test([each for part in node.types if (each := make_test(part, numbers, known)) is not None])
    elif isinstance(node, inspect.TupleType):
        test = make_row_test([make_test(part, numbers, known) for part in node.item_types])
    elif isinstance(node, inspect.CollectionType):
        test = make_items_test(make_test(node.item_type, numbers, known))
    else:
        return None
    holder.append(test)
    return test


def has_numbers(node: Any, numbers: tuple[type[Any], ...]) -> bool:
    parts = list_parts(node)
    keys = [part.key_type for part in parts if isinstance(part, inspect.DictType)]
    return is_among(parts, numbers) or any(is_among(list_parts(key), NUMBERS) for key in keys)


def is_among(parts: list[Any], kinds: tuple[type[Any], ...]) -> bool:
    return any(isinstance(part, kinds) for part in parts)


def is_no_number(value: Any) -> bool:
    if isinstance(value, float):
        return not isfinite(value)
    return isinstance(value, Decimal) and not value.is_finite()


def make_dict_test(key: Test | None, item: Test | None) -> Test:
    def test(value: Any) -> bool:
        return isinstance(value, dict) and (
            (key is not None and any(map(key, value))) or (item is not None and any(map(item, value.values())))
        )

    return test


def make_fields_test(kind: Any, tests: list[tuple[inspect.Field, Test]]) -> Test:
    def test(value: Any) -> bool:
        # None has no fields: it ends what holds itself.
        if not isinstance(value, kind):
            return False
        read: Any = value.get if isinstance(value, dict) else lambda name: getattr(value, name, None)
        return any(each(found := read(field.name)) and not is_default(found, field) for field, each in tests)

    return test


def is_default(value: Any, field: inspect.Field) -> bool:
    """Whether the program put this value there, not the client: ``highest: float = math.inf``."""
    if field.default_factory is not msgspec.NODEFAULT:
        # As text: sNaN cannot be compared, and NaN equals nothing.
        return repr(value) == repr(field.default_factory())
    return value is field.default


def make_union_test(tests: list[Test]) -> Test:
    return lambda value: any(each(value) for each in tests)


def make_row_test(tests: list[Test | None]) -> Test:
    def test(value: Any) -> bool:
        return isinstance(value, tuple) and any(
            each is not None and each(item) for each, item in zip(tests, value, strict=False)
        )

    return test


def make_items_test(item: Test | None) -> Test:
    def test(value: Any) -> bool:
        return item is not None and isinstance(value, list | set | frozenset | tuple) and any(map(item, value))

    return test
