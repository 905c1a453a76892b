"""What a type is made of: classes with named fields, lists, unions, and what is wrapped around them.

Struct means here any of msgspec's Structs, dataclasses, TypedDicts, attrs classes and pydantic models. Types
are only looked at; ``validation.py`` makes values of them, ``defaults.py`` completes those, ``filtering.py`` takes
values apart by them.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import abc
from functools import lru_cache, reduce
from inspect import get_annotations
from operator import or_
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

__all__ = [
    "LISTS",
    "MAPPINGS",
    "Field",
    "bare",
    "choices",
    "find_fields",
    "find_hints",
    "flatten",
    "has_structs",
    "is_list",
    "is_named_tuple",
    "is_pydantic",
    "is_row",
    "is_struct",
    "is_switch",
    "is_typed_dict",
    "takes_text",
]

ABSTRACT = (abc.Collection, abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet)
LISTS = frozenset((list, set, frozenset, tuple, *ABSTRACT))
"""The types whose values are made of several, each of one type; msgspec reads the abstract ones as lists and sets."""
MAPPINGS = frozenset((dict, abc.Mapping, abc.MutableMapping))


def bare(hint: Any) -> Any:
    """The type without ``Annotated``, ``NewType`` and the names of aliases."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        elif isinstance(hint, TypeVar):
            hint = bound_of(hint)
        else:
            return hint


def bound_of(variable: TypeVar) -> Any:
    """What a type variable that nobody has filled stands for."""
    if variable.__constraints__:
        return reduce(or_, variable.__constraints__)
    return Any if variable.__bound__ is None else variable.__bound__


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
        or is_typed_dict(kind)
        or is_pydantic_class(kind)
    )


def is_typed_dict(kind: Any) -> bool:
    """Whether it is a TypedDict, that of typing or that of typing_extensions, which pydantic asks for before 3.12."""
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def is_named_tuple(hint: Any) -> bool:
    """Whether ``hint`` is a class made by ``NamedTuple``, which leaves as a list."""
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def has_structs(hint: Any, within: tuple[Any, ...] = ()) -> bool:
    """Whether a class with named fields stands anywhere in ``hint``; ``within`` are the named tuples around it."""
    for choice in choices(hint):
        if is_struct(choice) or any(has_structs(each, within) for each in get_args(choice)):
            return True
        if is_named_tuple(choice) and choice not in within:
            around = (*within, choice)
            if any(has_structs(each, around) for each in find_hints(choice).values()):
                return True
    return False


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
            Field(name, find_alias(field) or name, field.annotation, field.is_required())
            for name, field in kind.model_fields.items()
        ]
    hints = find_hints(hint)
    if is_typed_dict(kind):
        return [make_key(name, hints[name], name in kind.__required_keys__) for name in hints]
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


def find_alias(field: Any) -> str | None:
    """What a field of a pydantic model is called where it comes in; of several names the first, as in its schema."""
    alias = field.validation_alias
    names = [alias] if isinstance(alias, str) else getattr(alias, "choices", ())
    return next((name for name in names if isinstance(name, str)), field.alias)


def make_key(name: str, hint: Any, required: bool) -> Field:
    """A key of a TypedDict: what its hint says of being required, Python cannot see where annotations are texts."""
    metadata: tuple[Any, ...] = ()
    while (origin := get_origin(hint)) in (Annotated, typing.Required, typing.NotRequired):
        if origin is Annotated:
            metadata = hint.__metadata__ + metadata
        else:
            required = origin is typing.Required
        hint = get_args(hint)[0]
    return Field(name, name, Annotated[(hint, *metadata)] if metadata else hint, required)


def find_hints(hint: Any) -> dict[str, Any]:
    """The annotations of a class and its bases, with the arguments of generic ones in the place of their variables.

    SECURITY: test_filtering.py::test_the_arguments_of_a_generic_class_decide_what_leaves
    """
    kind = get_origin(hint) or hint
    found: dict[str, Any] = {}
    for base in reversed(kind.__dict__.get("__orig_bases__", kind.__bases__)):
        if isinstance(get_origin(base) or base, type) and get_origin(base) is not typing.Generic:
            found |= find_hints(base)
    own = () if is_typed_dict(kind) else get_annotations(kind)
    for name, each in typing.get_type_hints(kind, include_extras=True).items():
        if name in own or name not in found:
            found[name] = each
    arguments = dict(zip(getattr(kind, "__parameters__", ()), get_args(hint), strict=False))
    return {name: fill_variables(each, arguments) for name, each in found.items()} if arguments else found


def fill_variables(hint: Any, arguments: dict[Any, Any]) -> Any:
    """A hint with ``arguments`` in the place of type variables."""
    if isinstance(hint, TypeVar):
        return arguments.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    if isinstance(hint, type) or not variables:
        return hint
    return hint[tuple(arguments.get(each, each) for each in variables)]


def has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def is_row(choice: Any) -> bool:
    """Whether it is a tuple with a type for each place, of which a list has one for all."""
    return get_origin(choice) is tuple and get_args(choice)[-1:] != (...,)
