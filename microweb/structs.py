"""What a type is made of: classes with named fields, lists, unions, and what is wrapped around them.

Struct means here any of msgspec's Structs, dataclasses, TypedDicts, attrs classes and pydantic models. Types
are only looked at; ``validation.py`` makes values of them, ``filtering.py`` takes values apart by them.
"""

import dataclasses
import types
import typing
from collections import abc
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

__all__ = [
    "LISTS",
    "Field",
    "bare",
    "choices",
    "find_fields",
    "flatten",
    "has_structs",
    "is_list",
    "is_pydantic",
    "is_struct",
    "is_switch",
    "takes_text",
]

ABSTRACT = (abc.Collection, abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet)
LISTS = frozenset((list, set, frozenset, tuple, *ABSTRACT))
"""The types whose values are made of several, each of one type; msgspec reads the abstract ones as lists and sets."""


def bare(hint: Any) -> Any:
    """The type without ``Annotated``, ``NewType`` and the names of aliases."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        elif get_origin(hint) in (typing.Required, typing.NotRequired):
            hint = get_args(hint)[0]
        else:
            return hint


def choices(hint: Any) -> list[Any]:
    """The members of a union, or the type alone; None left out."""
    hint = bare(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return [each for member in get_args(hint) for each in choices(member)]
    return [] if hint is type(None) else [hint]


def flatten(hint: Any) -> list[Any]:
    """The members of a union, and what its lists are made of."""
    return [each for choice in choices(hint) for each in (choice, *get_args(choice))]


def is_struct(hint: Any) -> bool:
    """Whether ``hint`` is a class with named fields: Struct, dataclass, TypedDict, attrs or pydantic."""
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and (
        hasattr(kind, "__struct_fields__")
        or dataclasses.is_dataclass(kind)
        or hasattr(kind, "__attrs_attrs__")
        or typing.is_typeddict(kind)
        or is_pydantic_class(kind)
    )


def has_structs(hint: Any) -> bool:
    """Whether a class with named fields stands anywhere in ``hint``."""
    return any(is_struct(choice) or any(map(has_structs, get_args(choice))) for choice in choices(hint))


def is_list(hint: Any) -> bool:
    """Whether a value of this type is made of several: then it takes all values of its name."""
    return any((get_origin(choice) or choice) in LISTS for choice in choices(hint))


def takes_text(hint: Any) -> bool:
    """Whether an empty text is a value of this type and not the lack of one."""
    return any(
        choice in (str, bytes, Any)
        or (get_origin(choice) is Literal and "" in get_args(choice))
        or (isinstance(choice, type) and issubclass(choice, str))
        for choice in choices(hint)
    )


def is_switch(hint: Any) -> bool:
    """Whether a text for this type may be one of the words of check boxes."""
    return bool in choices(hint) and not takes_text(hint)


def is_pydantic_class(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


def is_pydantic(hint: Any) -> bool:
    """Whether a pydantic model stands anywhere in ``hint``."""
    return any(
        is_pydantic_class(get_origin(choice) or choice) or any(map(is_pydantic, get_args(choice)))
        for choice in choices(hint)
    )


class Field(NamedTuple):
    """One field of a struct: its name in Python, in JSON, its type, and whether it must be there."""

    name: str
    key: str
    hint: Any
    required: bool


@lru_cache(maxsize=1024)
def find_fields(hint: Any) -> tuple[Field, ...]:
    """The fields of a struct type, looked up once."""
    return tuple(look_up_fields(hint))


def look_up_fields(hint: Any) -> list[Field]:
    kind = get_origin(hint) or hint
    if hasattr(kind, "__struct_fields__"):
        import msgspec

        return [
            Field(field.name, field.encode_name, field.type, field.required) for field in msgspec.structs.fields(hint)
        ]
    if is_pydantic_class(kind) and hasattr(kind, "model_fields"):
        return [
            Field(name, field.alias or name, field.annotation, field.is_required())
            for name, field in kind.model_fields.items()
        ]
    hints = typing.get_type_hints(kind, include_extras=True)
    if typing.is_typeddict(kind):
        return [Field(name, name, hints[name], name in kind.__required_keys__) for name in hints]
    if dataclasses.is_dataclass(kind):
        return [
            Field(field.name, field.name, hints[field.name], has_no_default(field))
            for field in dataclasses.fields(kind)
        ]
    import attrs

    return [
        Field(field.name, field.name, hints.get(field.name, Any), field.default is attrs.NOTHING)
        for field in attrs.fields(kind)
    ]


def has_no_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
