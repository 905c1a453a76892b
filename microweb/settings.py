"""A program's own settings as one typed object, filled from the config and the environment.

Behind ``app.config.load(Settings)``: each field of a msgspec Struct, dataclass, attrs class or TypedDict is
looked for in the environment, then in the config, converted, and every missing or wrong one is reported in
one error. This file does not know the framework's own keys (``limits`` does) and reads no file.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec
from msgspec import inspect

from microweb.errors import SetupError
from microweb.redaction import NOT_SHOWN, shown

__all__ = ["load_settings"]

T = TypeVar("T")

COLLECTIONS = (
    inspect.ListType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.VarTupleType,
    inspect.TupleType,
    inspect.NamedTupleType,
)
OBJECTS = (inspect.DictType, inspect.StructType, inspect.DataclassType, inspect.TypedDictType)
# Types for which the text is the value, spaces at its ends included.
TEXTS = (inspect.StrType, inspect.AnyType)
# Beyond msgspec's own "true", "false", "1" and "0".
SWITCH_WORDS = {"yes": True, "on": True, "no": False, "off": False}


def load_settings(settings: type[T], config: Mapping[str, Any], environ: Mapping[str, str], prefix: str | None) -> T:
    """Fill one object of the type ``settings``; what ``environ`` holds wins over ``config``.

    Raises:
        SetupError: the type cannot be filled, or values are missing or wrong; the message lists them all.
    """
    loading = Loading(environ)
    # No prefix is one of no letters, without the underscore that would follow it.
    variables = f"{prefix}_" if prefix else prefix
    filled: T = loading.fill(settings, Place("", "", variables), config)
    if loading.problems:
        message = f"{title(settings)} cannot be filled:\n  " + "\n  ".join(loading.problems)
        raise SetupError(message) from loading.cause
    return filled


class Field:
    """One field of a settings class; ``argument`` is what its constructor calls it."""

    __slots__ = ("annotation", "argument", "name", "required")

    def __init__(self, name: str, annotation: Any, argument: str, *, required: bool) -> None:
        self.name = name
        self.annotation = annotation
        self.argument = argument
        self.required = required


class Place:
    """Where a value is looked for: ``path`` names it to people, ``key`` in the config.

    ``variable`` is its environment variable, None when the environment is left alone. For an object, whose
    fields are looked for one by one, it is what the names of their variables begin with.
    """

    __slots__ = ("key", "path", "variable")

    def __init__(self, path: str, key: str, variable: str | None) -> None:
        self.path = path
        self.key = key
        self.variable = variable

    def field(self, name: str) -> Place:
        """Give the place of one field of the object at this place."""
        return Place(
            f"{self.path}.{name}" if self.path else name,
            f"{self.key}[{name!r}]" if self.key else name.upper(),
            None if self.variable is None else self.variable + name.upper(),
        )

    def inside(self) -> Place:
        """Give this place as that of an object, whose variables are spelled ``DATABASE__HOST``."""
        return Place(self.path, self.key, None if self.variable is None else f"{self.variable}__")

    def __str__(self) -> str:
        key = f"{self.key} in the config"
        return key if self.variable is None else f"{self.variable} in the environment and {key}"


class Loading:
    """One run of ``load_settings``: goes through the fields and collects what is wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []
        self.cause: Exception | None = None

    def fill(self, settings: type[Any], place: Place, values: Mapping[str, Any]) -> Any:
        """Make one object; when a problem was noted the result is of no use."""
        before = len(self.problems)
        arguments: dict[str, Any] = {}
        for field in fields_of(settings):
            found, value = self.find(field, place.field(field.name), values)
            if found:
                arguments[field.argument] = value
        if len(self.problems) > before:
            return None
        try:
            return settings(**arguments)
        except (TypeError, ValueError) as error:
            # The class's own check of its fields together: __post_init__, or a validator of attrs.
            self.problems.append(f"{place.path}: {error}" if place.path else str(error))
            self.cause = error
            return None

    def find(self, field: Field, place: Place, values: Mapping[str, Any]) -> tuple[bool, Any]:
        """Look for one field; give whether there is a value for it, and the value."""
        text = None if place.variable is None else self.environ.get(place.variable)
        key = field.name.upper()
        in_config = key in values or field.name in values
        value = values.get(key, values.get(field.name))
        if value is None and not takes_none(field.annotation):
            # Nobody set it: so begin several of the framework's own keys.
            in_config = False

        nested = nested_settings(field.annotation)
        if nested is not None:
            return self.find_object(field, nested, place, text, in_config, value)
        if text is not None:
            return True, self.convert(field.annotation, text, place, f"{place.variable} in the environment")
        if in_config:
            return True, self.convert(field.annotation, value, place, f"{place.key} in the config")
        if field.required:
            expected = describe(field.annotation)
            self.problems.append(f"{place.path}: expected {expected}; missing, looked for {place}")
        return False, None

    def find_object(
        self, field: Field, nested: type[Any], place: Place, text: str | None, in_config: bool, value: Any
    ) -> tuple[bool, Any]:
        """Look for an object: whole, as a mapping or JSON, and by the variables of its fields."""
        source = f"{place.key} in the config"
        if text is not None:
            source = f"{place.variable} in the environment"
            value = parse_json(text) if text.strip() else None
        inside = place.inside()
        variables = inside.variable
        by_field = variables is not None and any(name.startswith(variables) for name in self.environ)
        if value is None and not by_field:
            if takes_none(field.annotation) and (in_config or text is not None):
                return True, None
            if not field.required:
                return False, None
        if value is None:
            value = {}
        elif not is_typeddict(nested) and isinstance(value, nested):
            if not by_field:
                return True, value
            value = {each.name: getattr(value, each.name) for each in fields_of(nested)}
        if isinstance(value, Mapping):
            return True, self.fill(nested, inside, value)
        expected = describe(field.annotation)
        self.problems.append(
            f"{place.path}: expected {expected}, as a mapping or a JSON object; "
            f"came {shown(place.path, value)} from {source}"
        )
        return False, None

    def convert(self, annotation: Any, value: Any, place: Place, source: str) -> Any:
        """Convert one value to its field's type; a failure is noted and gives None."""
        try:
            kind = inspect.type_info(annotation)
        except TypeError as error:
            self.problems.append(f"{place.path}: no value can be converted to {describe(annotation)}: {error}")
            return None
        try:
            parsed = parse_text(value, kind) if isinstance(value, str) else value
            return msgspec.convert(parsed, type=annotation, strict=False, dec_hook=build)
        except msgspec.MsgspecError as error:
            came = shown(place.path, value)
            reason = telling(str(error), hidden=came.endswith(NOT_SHOWN))
            self.problems.append(f"{place.path}: expected {describe(annotation)}; came {came} from {source}{reason}")
            return None


# Texts ----------------------------------------------------------------------------------------------


def parse_json(text: str) -> Any:
    """Give the value of a JSON text, or the text itself when it is none."""
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text


def parse_text(text: str, kind: inspect.Type) -> Any:
    """Give what msgspec is to convert: lists split, JSON decoded, the words for True and False understood.

    Raises:
        msgspec.DecodeError: what looks like JSON is none.
    """
    kinds = alternatives(kind)
    if any(isinstance(each, TEXTS) for each in kinds):
        return text
    stripped = text.strip()
    if not stripped and any(isinstance(each, inspect.NoneType) for each in kinds):
        return None
    for each in kinds:
        if isinstance(each, COLLECTIONS):
            if stripped.startswith("["):
                return msgspec.json.decode(stripped)
            # Fixed tuples have a type for each item, which msgspec sorts out.
            item: inspect.Type = getattr(each, "item_type", inspect.StrType())
            return [parse_text(part.strip(), item) for part in stripped.split(",")] if stripped else []
        if isinstance(each, OBJECTS) and stripped.startswith("{"):
            return msgspec.json.decode(stripped)
        if isinstance(each, inspect.BytesType):
            # msgspec would take the text for base64, which a secret key in the environment seldom is.
            return text.encode()
        if isinstance(each, inspect.BoolType):
            return SWITCH_WORDS.get(stripped.lower(), stripped)
    return stripped


def alternatives(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    """Give the members of a union, or the type alone; without the extra information of Annotated."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        return tuple(single for each in kind.types for single in alternatives(each))
    return (kind,)


def build(own: Any, value: Any) -> Any:
    """Make a value of a type unknown to msgspec (a Path, a time zone) by calling it with the text."""
    if isinstance(own, type) and isinstance(value, own):
        return value
    if not isinstance(value, str) or not callable(own):
        raise TypeError(f"cannot be made from {type(value).__name__}")
    try:
        return own(value)
    except Exception as error:  # noqa: BLE001  (a constructor may refuse a text in any way it likes)
        raise ValueError(str(error)) from None


def telling(reason: str, *, hidden: bool) -> str:
    """Give what msgspec's own words add to the message: a bound, a place inside the value, or nothing."""
    if reason.startswith("Expected"):
        # Without a path "Expected `int`, got `str`" repeats what has been said.
        adds = ", got " not in reason or " - at `" in reason
    else:
        # SECURITY(test_the_value_of_a_secret_is_never_in_a_message): other texts may quote the value.
        adds = not hidden and not reason.startswith("Invalid enum value")
    return f" ({reason})" if adds else ""


# Types ----------------------------------------------------------------------------------------------


def fields_of(settings: type[Any]) -> list[Field]:
    """List the fields of a settings class that its constructor takes.

    Raises:
        SetupError: this is no such class, or an annotation cannot be resolved.
    """
    if not is_settings(settings):
        raise SetupError(f"config.load fills a msgspec Struct, dataclass, attrs class or TypedDict, not {settings!r}")
    try:
        hints = get_type_hints(settings, include_extras=True)
    except NameError as error:
        raise SetupError(
            f"{title(settings)}: an annotation cannot be resolved ({error}); it must be known in its module"
        ) from error
    if issubclass(settings, msgspec.Struct):
        return [
            Field(each.name, hints[each.name], each.name, required=each.required)
            for each in msgspec.structs.fields(settings)
        ]
    if is_typeddict(settings):
        required: frozenset[str] = settings.__required_keys__
        return [Field(name, without_presence(hint), name, required=name in required) for name, hint in hints.items()]
    if hasattr(settings, "__attrs_attrs__"):
        import attrs

        return [
            Field(
                each.name,
                hints.get(each.name, Any),
                each.alias or each.name,
                required=each.default is attrs.NOTHING,
            )
            for each in attrs.fields(settings)
            if each.init
        ]
    import dataclasses

    missing = dataclasses.MISSING
    return [
        Field(
            each.name,
            hints[each.name],
            each.name,
            required=each.default is missing and each.default_factory is missing,
        )
        for each in dataclasses.fields(settings)
        if each.init
    ]


def is_settings(annotation: Any) -> bool:
    """Tell whether this is a class whose fields can be filled one by one."""
    return isinstance(annotation, type) and (
        issubclass(annotation, msgspec.Struct)
        or is_typeddict(annotation)
        or hasattr(annotation, "__attrs_attrs__")
        or hasattr(annotation, "__dataclass_fields__")
    )


def without_presence(annotation: Any) -> Any:
    """Give a TypedDict's annotation without Required or NotRequired around it."""
    if get_origin(annotation) in (Required, NotRequired):
        return get_args(annotation)[0]
    return annotation


def bare(annotation: Any) -> Any:
    """Give the type inside an Annotated."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    return annotation


def members(annotation: Any) -> tuple[Any, ...]:
    """Give the types of a union, or the one type."""
    annotation = bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def takes_none(annotation: Any) -> bool:
    """Tell whether None is a value of this type."""
    return any(each in (None, types.NoneType, Any) for each in members(annotation))


def nested_settings(annotation: Any) -> type[Any] | None:
    """Give the class of a field that is an object with fields of its own, or None."""
    found = [each for each in members(annotation) if each is not types.NoneType]
    if len(found) != 1 or not is_settings(bare(found[0])):
        return None
    nested: type[Any] = bare(found[0])
    return nested


def describe(annotation: Any) -> str:
    """Say in words what a type takes."""
    annotation = bare(annotation)
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, get_args(annotation)))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, get_args(annotation)))
    if annotation is types.NoneType:
        return "None"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "one of " + ", ".join(repr(each.value) for each in annotation)
    if origin is None and isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def title(settings: type[Any]) -> str:
    """Name a settings class as a message begins."""
    return f"{settings.__module__}.{settings.__qualname__}"
