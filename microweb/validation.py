"""From text and JSON to typed values.

msgspec does the converting: Structs, dataclasses, TypedDicts, attrs classes and every type that it knows. What is
wrong with a value is found in ``problems.py``; types that hold pydantic models go to ``pydanticvalues.py``.
Sans-I/O: it sees values and types, never a request; ``places.py`` calls it, and with it msgspec is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from microweb import json
from microweb.defaults import make_completer
from microweb.errors import BadRequest
from microweb.oddities import find_hashless, refuse_oddities, take_apart
from microweb.problems import MOST_PROBLEMS, Invalid, find_problems, find_unknown
from microweb.pydanticvalues import make_pydantic_converter, make_pydantic_decoder
from microweb.structs import is_pydantic, is_switch
from microweb.wholenumbers import rewrite_whole_numbers

__all__ = [
    "check_type",
    "make_body_decoder",
    "make_quick_decoder",
    "make_text_converter",
]

SWITCHES = {"on": True, "yes": True, "off": False, "no": False}
"""What browsers send for a checked box, and its relatives, beside msgspec's true, false, 1 and 0."""

# Types ---------------------------------------------------------------------------------------------


def check_type(hint: Any) -> None:
    """Refuse a type that no value from a request can have.

    Raises:
        TypeError: msgspec cannot read it, a class in it is none of those that it knows, or a set in it is of
            values that have no hash.
    """
    json.find_decoder(hint)
    if (hashless := find_hashless(hint)) is not None:
        raise TypeError(f"no set can hold a {hashless}, which has no hash; use a list or a frozen class")
    for part in take_apart(hint):
        if isinstance(part, msgspec.inspect.CustomType):
            raise TypeError(f"{part.cls.__qualname__} is no type that a value in a request can have")


# Text ----------------------------------------------------------------------------------------------


def make_text_converter(hint: Any) -> Callable[[Any], Any] | None:
    """A function from text (a list of texts for a list) to a value of this type; None if text is what it takes.

    It raises ``Invalid``.

    Raises:
        TypeError: msgspec cannot read this type.
    """
    if hint in (str, str | None):
        return None
    if is_pydantic(hint):
        return make_pydantic_converter(hint)
    check_type(hint)
    convert = refuse_oddities(partial(msgspec.convert, type=hint, strict=False), hint, strict=False)
    complete = make_completer(hint, {})
    may_be_switch = is_switch(hint)

    def convert_text(value: Any) -> Any:
        if may_be_switch:
            value = SWITCHES.get(value.lower(), value)
        try:
            converted = convert(value)
        except ValueError as error:
            raise Invalid(find_problems(value, hint, str(error), strict=False)) from None
        if complete is not None:
            complete(converted)
        return converted

    return convert_text


# JSON ----------------------------------------------------------------------------------------------


def make_body_decoder(hint: Any, *, forbid_unknown: bool = False) -> Callable[[bytes, int], Any]:
    """A function ``decode(body, max_depth)`` from a JSON text to a value of this type.

    It raises ``Invalid`` for a value that does not fit, ``BadRequest`` for what is no JSON.

    Raises:
        TypeError: msgspec cannot read this type.
    """
    if is_pydantic(hint):
        return make_pydantic_decoder(hint, forbid_unknown=forbid_unknown)
    decode_typed = make_quick_decoder(hint)
    loads = json.loads

    def decode(body: bytes, max_depth: int) -> Any:
        # PERF(bodies.typed-body): json.loads, with what is decided at the start left out.
        if len(body) > max_depth * 2 and body.count(b"{") + body.count(b"[") > max_depth:
            json.check_depth(body, max_depth)
        try:
            return decode_typed(body)
        except (ValueError, RecursionError):
            pass
        try:
            return loads(body, hint, max_depth=max_depth)
        except BadRequest as error:
            if not isinstance(error.__cause__, msgspec.ValidationError):
                raise
            # Its words only: an exception in a variable of a frame that it passed through is a reference cycle.
            said = str(error.__cause__)
        plain = loads(body, max_depth=max_depth)
        whole = rewrite_whole_numbers(plain)
        if whole is not None:
            return decode(whole, max_depth)
        raise Invalid(find_problems(plain, hint, said, strict=True))

    if not forbid_unknown:
        return decode

    def decode_known(body: bytes, max_depth: int) -> Any:
        value = decode(body, max_depth)
        unknown = find_unknown(loads(body, max_depth=max_depth), hint)
        if unknown:
            raise Invalid([(path, "is not a known field") for path in unknown[:MOST_PROBLEMS]])
        return value

    return decode_known


def make_quick_decoder(hint: Any) -> Callable[[bytes], Any]:
    """msgspec's own decoding of JSON that is right; raises ``ValueError`` or ``RecursionError`` for all else.

    Raises:
        TypeError: the type is none that it reads.
    """
    check_type(hint)
    return json.find_decoder(hint)
