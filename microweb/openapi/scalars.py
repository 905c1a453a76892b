"""The schemas of single values: numbers, texts, dates, enums and their like, as JSON and as text.

They tell what msgspec takes, which is not always what the name of a format says; ``schemas.py`` calls this.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec
from msgspec import inspect as types

__all__ = ["write_scalar"]

DIGITS = "[0-9]{1,6}"
SECONDS = rf"{DIGITS}(\.{DIGITS})?S"
DURATION = f"^[+-]?P({DIGITS}D|({DIGITS}D)?T({DIGITS}H({DIGITS}M)?({SECONDS})?|{DIGITS}M({SECONDS})?|{SECONDS}))$"
"""ISO 8601 without years, months and weeks, whose length is nowhere said."""

ZONE = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
DECIMAL = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
NUMBERS = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
EPOCH = {"type": "number", "minimum": -62135596800, "maximum": 253402300799}
"""Seconds since 1970-01-01T00:00:00Z, for the years 1 to 9999."""
LENGTH = {"type": "number", "minimum": -86399999913600, "maximum": 86399999999999}
"""The seconds of a timedelta."""


def write_scalar(node: types.Type, *, text: bool = False) -> dict[str, Any]:
    """The schema of a value that has no parts; ``{}`` for one that may be anything."""
    if isinstance(node, types.IntType | types.FloatType):
        limits = {name: getattr(node, attribute) for name, attribute in NUMBERS.items()}
        return {"type": "integer" if isinstance(node, types.IntType) else "number"} | without_none(limits)
    if isinstance(node, types.StrType):
        limits = {"minLength": node.min_length, "maxLength": node.max_length, "pattern": node.pattern}
        return {"type": "string"} | without_none(limits)
    if isinstance(node, types.BytesType | types.ByteArrayType | types.MemoryViewType):
        return {"type": "string", "contentEncoding": "base64", "pattern": BASE64}
    if isinstance(node, types.EnumType | types.LiteralType):
        return write_choice(node)
    if isinstance(node, types.DateTimeType | types.TimeType | types.TimeDeltaType):
        return write_time(node, text=text)
    if isinstance(node, types.DecimalType):
        decimal = {"type": "string", "format": "decimal", "pattern": DECIMAL}
        return decimal if text else {"anyOf": [{"type": "number"}, decimal]}
    return next((dict(schema) for kind, schema in PLAIN.items() if isinstance(node, kind)), {})


PLAIN: dict[type[types.Type], dict[str, str]] = {
    types.NoneType: {"type": "null"},
    types.BoolType: {"type": "boolean"},
    types.DateType: {"type": "string", "format": "date"},
    types.UUIDType: {"type": "string", "format": "uuid"},
}


def write_time(node: types.DateTimeType | types.TimeType | types.TimeDeltaType, *, text: bool) -> dict[str, Any]:
    """The schema of a point or length of time; as text it may be a number of seconds too."""
    if isinstance(node, types.TimeType):
        # The format says that there is a zone.
        zone = "" if node.tz is False else ZONE if node.tz else f"{ZONE}?"
        return {"type": "string", "pattern": f"{TIME}{zone}$", "examples": ["12:30:00Z" if node.tz else "12:30:00"]}
    if isinstance(node, types.TimeDeltaType):
        duration = {"type": "string", "pattern": DURATION, "examples": ["PT1H30M"]}
        return {"anyOf": [duration, LENGTH]} if text else duration
    moment = {"type": "string", "format": "date-time"}
    if node.tz is False:
        moment = {"type": "string", "pattern": f"^[0-9]{{4}}-[01][0-9]-[0-3][0-9]T{TIME[1:]}$"}
    return {"anyOf": [moment, EPOCH]} if text and node.tz is not False else moment


def write_choice(node: types.EnumType | types.LiteralType) -> dict[str, Any]:
    """One of several values."""
    if isinstance(node, types.LiteralType):
        return {"enum": list(node.values)}
    if issubclass(node.cls, enum.IntFlag):
        return {"type": "integer"}
    if issubclass(node.cls, enum.Flag):
        return {"type": "integer", "minimum": 0, "maximum": sum(member.value for member in node.cls)}
    values = [member.value for member in node.cls]
    schema: dict[str, Any] = {"enum": msgspec.to_builtins(values)}
    if all(isinstance(value, str) for value in values):
        schema["type"] = "string"
    description = node.cls.__dict__.get("__doc__")
    # Until Python 3.13 an enum without a docstring had this one.
    if description and description not in (enum.Enum.__doc__, "An enumeration."):
        schema["description"] = description.strip()
    return schema


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
