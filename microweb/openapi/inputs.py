"""What an operation takes: the parameters of its view, and of all that it depends on, as OpenAPI writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from microweb.openapi.schemas import Schema, Schemas, allows, to_plain
from microweb.parameters import Parameter
from microweb.places import header_name
from microweb.structs import bare, find_fields, is_list, takes_text

__all__ = ["Inputs"]

PART_NAMES: Schema = {"propertyNames": {"pattern": "^[^\\x00]*$"}}
"""What the header of a part can hold."""

EMPTY: Schema = {"type": "string", "maxLength": 0}
NO_COOKIE: Schema = {"type": "string", "pattern": r'^([^\s";][^;]*".*|[^\s";][^;]*\s[^;]*[^\s;](;.*)?)?$'}
"""Texts that no cookie can have, with a quote or a space inside: they are skipped, so the cookie is missing."""

SWITCHES = [True, False, "1", "0", "on", "off", "yes", "no"]
"""The values of check boxes, which are true and false to no form."""

FILE: Schema = {"type": "string", "format": "binary"}


class Inputs:
    """Parameter Objects and the Request Body Object of one operation, as they are put together."""

    def __init__(self, schemas: Schemas, examples: Mapping[str, Any], *, closed: bool = False) -> None:
        self.schemas = schemas
        self.examples = examples
        self.closed = closed
        """Whether the route refuses what nothing asks for."""
        self.can_be_refused = closed
        """Whether a value may be wrong: a 422."""
        self.parameters: dict[tuple[str, str], dict[str, Any]] = {}
        self._fields: dict[str, Schema] = {}
        self._files: dict[str, Schema] = {}
        self._needed: set[str] = set()
        """The fields and files that must be there."""
        self.takes_form = False
        self._wholes: list[Schema] = []
        self._keys: dict[str, Schema] = {}
        self._needed_keys: set[str] = set()
        self._needs_body = False
        self._body_example: Any = None

    @property
    def takes_body(self) -> bool:
        """Whether the body is read."""
        return self.takes_form or bool(self._wholes or self._keys)

    def add(self, parameter: Parameter) -> None:
        """Add a parameter of a view, hook or dependency; those that come from elsewhere are passed over."""
        if parameter.place in ("query", "header", "cookie"):
            self.add_texts(parameter)
        elif parameter.place == "form":
            self.takes_form = True
            self.add_texts(parameter)
        elif parameter.place == "file":
            self.add_file(parameter)
        elif parameter.place == "body":
            self.add_json(parameter)

    # Query, headers, cookies, fields of forms --------------------------------------------------------

    def add_texts(self, parameter: Parameter) -> None:
        """One entry of a place, or one for each field of a class."""
        kind, place = parameter.type, parameter.place
        if parameter.alias:
            schema = self.schemas.of(kind, text=True)
            plain = None if parameter.required else to_plain(parameter.default)
            if plain is not None and allows(schema, plain):
                schema = schema | {"default": plain}
            self.can_be_refused = self.can_be_refused or parameter.required or bare(kind) is not str
            self.add_text(place, parameter.alias, kind, schema, parameter.required, self.examples.get(parameter.name))
            return
        self.can_be_refused = True
        self.closed = self.closed or (parameter.forbids_unknown and place == "form")
        hints = {field.key: field.hint for field in find_fields(bare(kind))}
        examples = self.examples.get(parameter.name) or {}
        for field in self.schemas.fields_of(kind):
            name = header_name(field.name) if place == "header" else field.name
            required = field.required and parameter.required
            self.add_text(place, name, hints.get(field.name, Any), field.schema, required, examples.get(field.name))

    def add_text(self, place: str, name: str, kind: Any, schema: Schema, required: bool, example: Any) -> None:
        """One value that comes as text, or several under one name."""
        if is_list(kind) and required:
            schema = schema | {"minItems": 1}
        if example is not None:
            schema = schema | {"examples": [example]}
        if place == "form":
            schema = write_field(schema)
        takes_empty = not required and not takes_text(kind) and not is_list(kind)
        # An input that was left empty is sent all the same, and stands for none; only queries have a word for that.
        if takes_empty and place != "query":
            schema = {"anyOf": [schema, NO_COOKIE if place == "cookie" else EMPTY]}
        if place == "form":
            self._fields.setdefault(name, schema)
            if required:
                self._needed.add(name)
            return
        found: dict[str, Any] = {"name": name, "in": place}
        if required:
            found["required"] = True
        if "description" in schema:
            found["description"] = schema["description"]
            schema = {key: value for key, value in schema.items() if key != "description"}
        if place == "query" and takes_empty:
            found["allowEmptyValue"] = True
        key = (place, name.lower() if place == "header" else name)
        known = self.parameters.setdefault(key, found | {"schema": schema})
        if required:
            known["required"] = True

    def add_file(self, parameter: Parameter) -> None:
        """An uploaded file, or several."""
        self.takes_form = True
        self.can_be_refused = True  # Text, where a file is expected.
        file: Schema = {"type": "array", "items": FILE} if is_list(parameter.type) else dict(FILE)
        if is_list(parameter.type):
            # A form has no empty list; an empty text stands for none.
            file |= {"minItems": 1} if parameter.required else {"type": ["array", "string"], "maxLength": 0}
        self._files[parameter.alias] = file
        if parameter.required:
            self._needed.add(parameter.alias)

    # JSON ----------------------------------------------------------------------------------------------

    def add_json(self, parameter: Parameter) -> None:
        """The whole body, or the value under one key of it."""
        self.can_be_refused = True
        schema = self.schemas.of(parameter.type, closed=parameter.forbids_unknown)
        example = self.examples.get(parameter.name)
        self._needs_body = self._needs_body or parameter.required
        if not parameter.alias:
            self._wholes.append(schema)
            self._body_example = example
            return
        plain = None if parameter.required else to_plain(parameter.default)
        is_shown = plain is not None and allows(schema, plain)
        given = ({"default": plain} if is_shown else {}) | ({} if example is None else {"examples": [example]})
        self._keys[parameter.alias] = schema | given
        if parameter.required:
            self._needed_keys.add(parameter.alias)

    # Put together --------------------------------------------------------------------------------------

    def make_body(self, data_types: Sequence[str] = ("application/json",)) -> dict[str, Any] | None:
        """The Request Body Object; None if nobody reads a body. ``data_types`` are read where JSON is."""
        if self.takes_form:
            return self.make_form()
        if not self.takes_body:
            return None
        schemas = list(self._wholes)
        if self._keys:
            closed = {"additionalProperties": False} if self.closed and not self._wholes else {}
            schemas.append(make_object(self._keys, self._needed_keys) | closed)
        media = {"schema": schemas[0] if len(schemas) == 1 else {"allOf": schemas}}
        if self._body_example is not None:
            media["example"] = self._body_example
        return {"required": self._needs_body, "content": dict.fromkeys(data_types, media)}

    def make_form(self) -> dict[str, Any]:
        """A form, in both encodings unless files are needed."""
        closed = {"additionalProperties": False} if self.closed else {}
        multipart = make_object(self._fields | self._files, self._needed) | PART_NAMES | closed
        content = {"multipart/form-data": {"schema": multipart}}
        if not self._needed & self._files.keys():
            content["application/x-www-form-urlencoded"] = {"schema": make_object(self._fields, self._needed) | closed}
        return {"required": bool(self._needed), "content": content}


def make_object(properties: dict[str, Schema], required: set[str]) -> Schema:
    """The schema of an object with these properties."""
    schema: Schema = {"type": "object", "properties": properties}
    return schema | ({"required": sorted(required)} if required else {})


def write_field(schema: Schema) -> Schema:
    """The schema of a form's field: check boxes have words of their own, a list of one looks like no list."""
    if schema.get("type") == "boolean":
        return {**schema, "enum": SWITCHES, "type": ["boolean", "string"]}
    if schema.get("type") == "array":
        return {"anyOf": [schema, schema["items"]]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [write_field(each) for each in schema["anyOf"]]}
    return schema
