"""Types as JSON Schemas, and the components that they share: what binding takes, and what views give.

msgspec says what a type is made of (``msgspec.inspect``); the schemas are written here and not by
``msgspec.json.schema_components``, for they have to tell all that is taken: dates without a zone, numbers for a
Decimal, no years in a duration, and the forms that values have as text. pydantic writes its models itself.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import inspect as types

from microweb import json
from microweb.openapi.scalars import write_scalar
from microweb.structs import LISTS, choices, is_pydantic

__all__ = ["Property", "Schema", "Schemas", "allows", "to_plain"]

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/"
CLASSES = types.StructType | types.DataclassType | types.TypedDictType | types.NamedTupleType
ARRAYS = types.ListType | types.SetType | types.FrozenSetType | types.VarTupleType | types.CollectionType


class Property(msgspec.Struct):
    """One field of a class, for those that list it by itself."""

    name: str
    schema: Schema
    required: bool


class Schemas:
    """Makes schemas, and collects the components that they refer to.

    ``text`` is for values that come as text, ``closed`` for JSON in which no unknown key is taken.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}

    def of(self, hint: Any, *, closed: bool = False, text: bool = False) -> Schema:
        """The schema of a type that binding reads.

        Raises:
            TypeError: msgspec does not know it.
        """
        if is_pydantic(hint):
            return self.of_pydantic(hint, "validation", closed=closed)
        return self.write(types.type_info(hint), closed=closed, text=text)

    def of_answer(self, hint: Any) -> Schema:
        """The schema of a type that a view returns; ``{}`` for what nothing is known of."""
        options = choices(hint)
        if len(options) > 1:
            return {"anyOf": [self.of_answer(option) for option in options]}
        arguments = [each for each in get_args(hint) if each is not ...]
        if is_pydantic(hint) and get_origin(hint) in LISTS and len(arguments) == 1:
            return {"type": "array", "items": self.of_answer(arguments[0])}
        try:
            if is_pydantic(hint):
                return self.of_pydantic(hint, "serialization")
            return self.write(types.type_info(hint))
        except Exception:  # noqa: BLE001 - looking at a type of the program may raise anything; then it says nothing
            return {}

    def fields_of(self, hint: Any) -> list[Property]:
        """The fields of a class, each of which comes as text."""
        if is_pydantic(hint):
            schema = self.resolve(self.of_pydantic(hint, "validation"))
            required = schema.get("required", ())
            fields = schema["properties"].items()
            return [Property(name, without_null(found), name in required) for name, found in fields]
        node = types.type_info(hint)
        while isinstance(node, types.Metadata):
            node = node.type
        assert isinstance(node, CLASSES)
        return [
            Property(field.encode_name, self.write_field(field, text=True), field.required) for field in node.fields
        ]

    def resolve(self, schema: Schema) -> Schema:
        """The component that a schema refers to, or the schema."""
        reference: str | None = schema.get("$ref")
        return schema if reference is None else self.components[reference.removeprefix(REFERENCE)]

    # From msgspec's nodes --------------------------------------------------------------------------

    def write(self, node: types.Type, *, closed: bool = False, text: bool = False) -> Schema:
        """The schema of one node."""
        if isinstance(node, types.Metadata):
            extra = {name: value for name, value in (node.extra_json_schema or {}).items() if value is not None}
            return self.write(node.type, closed=closed, text=text) | extra
        if isinstance(node, CLASSES):
            return self.refer(node, (node.cls, closed), closed=closed)
        if isinstance(node, types.EnumType) and not text:
            return self.refer(node, node.cls, closed=closed)
        if isinstance(node, types.UnionType):
            return self.write_union(node, closed=closed, text=text)
        if isinstance(node, types.DictType | types.FrozenDictType):
            return self.write_dict(node, closed=closed)
        if isinstance(node, ARRAYS):
            items = self.write(node.item_type, closed=closed, text=text)
            return {"type": "array", "items": items} | limits(minItems=node.min_length, maxItems=node.max_length)
        if isinstance(node, types.TupleType):
            items_of = [self.write(each, closed=closed, text=text) for each in node.item_types]
            return write_array(items_of, len(items_of))
        return write_scalar(node, text=text)

    def write_union(self, node: types.UnionType, *, closed: bool, text: bool) -> Schema:
        """One of several."""
        members = node.types
        written = [self.write(each, closed=closed, text=text) for each in members]
        union: Schema = {"anyOf": written}
        tagged = [each for each in members if isinstance(each, types.StructType) and each.tag is not None]
        if len(tagged) == len(members) and not any(each.array_like for each in tagged):
            mapping = {str(each.tag): found["$ref"] for each, found in zip(tagged, written, strict=True)}
            union["discriminator"] = {"propertyName": tagged[0].tag_field, "mapping": mapping}
        keys = [each.tag_field for each in tagged if not each.array_like]
        if len(keys) > 1:  # The only struct of a type may come without its tag.
            union["required"] = keys[:1]
        return union

    def write_dict(self, node: types.DictType | types.FrozenDictType, *, closed: bool) -> Schema:
        """An object with keys of the client's own."""
        schema: Schema = {"type": "object"} | limits(minProperties=node.min_length, maxProperties=node.max_length)
        if not isinstance(node.value_type, types.AnyType):
            schema["additionalProperties"] = self.write(node.value_type, closed=closed)
        if not isinstance(node.key_type, types.AnyType | types.StrType) or node.key_type != types.StrType():
            keys = self.resolve(self.write(node.key_type))
            if keys.get("type") == "integer":
                keys = {"pattern": "^-?(0|[1-9][0-9]*)$"}
            if keys:
                schema["propertyNames"] = keys
        return schema

    def write_field(self, field: types.Field, *, closed: bool = False, text: bool = False) -> Schema:
        """A field of a class, with its default."""
        schema = self.write(field.type, closed=closed, text=text)
        default = field.default
        if default is msgspec.NODEFAULT and field.default_factory in EMPTY:
            default = EMPTY[field.default_factory]
        plain = to_plain(default)
        if (plain is None and (text or default is not None)) or not allows(schema, plain):
            return schema
        return schema | {"default": plain}

    # Components ------------------------------------------------------------------------------------

    def refer(self, node: Any, key: Any, *, closed: bool) -> Schema:
        """The reference to a class's component, written at its first use."""
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self.choose_name(node.cls, "Exact" if closed else "")
            self.components[name] = {}  # Taken before its fields are looked at, for they may hold it again.
            written = self.write_class(node, closed=closed) if isinstance(node, CLASSES) else write_scalar(node)
            self.components[name].update(written)
        return {"$ref": REFERENCE + name}

    def choose_name(self, kind: Any, suffix: str = "") -> str:
        """The short name of a class, or, where another one has that, its whole name."""
        name = make_name(short_name(kind)) + suffix
        if name in self.components:
            origin = get_origin(kind) or kind
            name = make_name(f"{origin.__module__}.{short_name(kind)}") + suffix
        number = 1
        unique = name
        while unique in self.components:
            number += 1
            unique = f"{name}_{number}"
        return unique

    def write_class(self, node: CLASSES, *, closed: bool) -> Schema:
        """The component of a class with named fields."""
        fields = node.fields
        tag = node.tag if isinstance(node, types.StructType) else None
        if isinstance(node, types.NamedTupleType) or (isinstance(node, types.StructType) and node.array_like):
            items = [self.write_field(field, closed=closed) for field in fields]
            count = sum(field.required for field in fields)
            if tag is not None:
                items, count = [{"const": tag}, *items], count + 1
            return write_array(items, count, is_open=isinstance(node, types.StructType))
        properties = {field.encode_name: self.write_field(field, closed=closed) for field in fields}
        required = [field.encode_name for field in fields if field.required]
        if isinstance(node, types.StructType) and tag is not None and node.tag_field is not None:
            properties = {node.tag_field: {"const": tag}, **properties}
        schema: Schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        if closed or (isinstance(node, types.StructType) and node.forbid_unknown_fields):
            schema["additionalProperties"] = False
        description = find_text(get_origin(node.cls) or node.cls)
        return schema | ({"description": description} if description else {})

    # pydantic --------------------------------------------------------------------------------------

    def of_pydantic(self, hint: Any, mode: Literal["validation", "serialization"], *, closed: bool = False) -> Schema:
        """The schema that pydantic writes, its definitions among our components."""
        from pydantic import TypeAdapter

        schema: Schema = TypeAdapter(hint).json_schema(mode=mode, ref_template=REFERENCE + "{model}")
        definitions: dict[str, Schema] = schema.pop("$defs", {})
        if "properties" in schema:
            name = make_name(short_name(hint))
            definitions[name], schema = schema, {"$ref": REFERENCE + name}
        if closed:
            definitions = {
                name: each | ({"additionalProperties": False} if "properties" in each else {})
                for name, each in definitions.items()
            }
        places = {name: self.find_place(name, definition) for name, definition in definitions.items()}
        renamed = {REFERENCE + old: REFERENCE + new for old, new in places.items() if old != new}
        for name, definition in definitions.items():
            self.components[places[name]] = rename(definition, renamed)
        written: Schema = rename(schema, renamed)
        return written

    def find_place(self, name: str, definition: Schema) -> str:
        """A name that is free, or that this very definition has."""
        number = 1
        unique = name
        while self.components.get(unique, definition) != definition:
            number += 1
            unique = f"{name}_{number}"
        return unique


EMPTY: dict[Any, Any] = {list: [], set: [], frozenset: [], tuple: [], dict: {}}
"""The defaults that factories make."""


def write_array(items: list[Schema], required: int, *, is_open: bool = False) -> Schema:
    """An array with a schema for each place."""
    schema: Schema = {"type": "array", "prefixItems": items, "minItems": required}
    return schema if is_open else schema | {"maxItems": len(items), "items": False}


def without_null(schema: Schema) -> Schema:
    """The schema of a field that comes as text, which pydantic never takes for None."""
    if {"type": "null"} not in schema.get("anyOf", ()):
        return schema
    others = [each for each in schema["anyOf"] if each != {"type": "null"}]
    kept = {name: value for name, value in schema.items() if name != "anyOf" and (name, value) != ("default", None)}
    return kept | (others[0] if len(others) == 1 else {"anyOf": others})


def limits(**values: int | None) -> Schema:
    return {name: value for name, value in values.items() if value is not None}


def to_plain(value: Any) -> Any:
    """A default as JSON shows it; None if it cannot be shown."""
    if value is msgspec.NODEFAULT or value is msgspec.UNSET:
        return None
    try:
        return json.loads(json.dumps(value))
    except Exception:  # noqa: BLE001 - a default may be any object of the program
        return None


TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def allows(schema: Schema, plain: Any) -> bool:
    """Whether a schema takes its own default, which may be a sign for none of its values; a document fits itself."""
    if "anyOf" in schema:
        return any(allows(each, plain) for each in schema["anyOf"])
    if plain not in schema.get("enum", [plain]):
        return False
    kind = schema.get("type")
    if kind in TYPES and (not isinstance(plain, TYPES[kind]) or (isinstance(plain, bool) and kind != "boolean")):
        return False
    if schema.get("format") == "date-time" and re.search(r"(Z|[+-]\d\d:\d\d)$", str(plain)) is None:
        return False  # RFC 3339 has no moment without a zone.
    size: float
    if isinstance(plain, str):
        size, least, most = len(plain), "minLength", "maxLength"
        if re.search(schema.get("pattern", ""), plain) is None:
            return False
    elif isinstance(plain, list):
        size, least, most = len(plain), "minItems", "maxItems"
    elif isinstance(plain, int | float):
        size, least, most = plain, "minimum", "maximum"
        if plain <= schema.get("exclusiveMinimum", -math.inf) or plain >= schema.get("exclusiveMaximum", math.inf):
            return False
    else:
        return True
    return bool(schema.get(least, size) <= size <= schema.get(most, size))


def short_name(kind: Any) -> str:
    """The name of a class; of a generic one with its arguments."""
    arguments = [short_name(each) for each in get_args(kind)]
    name: str = getattr(get_origin(kind) or kind, "__name__", str(kind))
    return "_".join([name, *arguments])


def make_name(text: str) -> str:
    """A text as the name of a component."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_")


def find_text(kind: Any) -> str:
    """The docstring of a class, if somebody wrote one: dataclasses make their own."""
    text: str = kind.__dict__.get("__doc__") or ""
    if text.startswith(f"{kind.__name__}("):
        return ""
    lines = [line.strip() for line in text.strip().splitlines()]
    return "\n".join(lines)


def rename(schema: Any, names: dict[str, str]) -> Any:
    """A schema with its references renamed."""
    if isinstance(schema, list):
        return [rename(each, names) for each in schema]
    if not isinstance(schema, dict):
        return names.get(schema, schema) if isinstance(schema, str) else schema
    return {name: rename(value, names) for name, value in schema.items()}
