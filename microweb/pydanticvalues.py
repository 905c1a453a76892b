"""Values whose types hold pydantic models: pydantic converts them, and its errors become ours.

``validation.py`` and ``places.py`` call it for such types alone; pydantic is loaded when the first of them comes.
"""

from __future__ import annotations

import inspect
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec

from microweb import json
from microweb.errors import BadRequest
from microweb.problems import MOST_PROBLEMS, Invalid, Problem, join

__all__ = ["make_pydantic_converter", "make_pydantic_decoder", "make_pydantic_plain_converter"]


def make_pydantic_converter(hint: Any, *, forbid_unknown: bool = False) -> Callable[[Any], Any]:
    """A function from plain values to a type with pydantic models in it; it raises ``Invalid``.

    Raises:
        TypeError: unknown keys are to be refused, and this pydantic cannot.
    """
    from pydantic import ValidationError

    validate = make_pydantic_validator("validate_python", hint, forbid_unknown)

    def convert(value: Any) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            raise Invalid(list(explain_pydantic(error.errors()))) from None

    return convert


def make_pydantic_validator(method: str, hint: Any, forbid_unknown: bool) -> Callable[[Any], Any]:
    from pydantic import TypeAdapter

    validate: Callable[..., Any] = getattr(TypeAdapter(hint), method)
    if not forbid_unknown:
        return validate
    if "extra" not in inspect.signature(validate).parameters:
        raise TypeError("forbid_unknown needs pydantic 2.12 here; with an older one the model says extra='forbid'")
    return partial(validate, extra="forbid")


def make_pydantic_decoder(hint: Any, *, forbid_unknown: bool = False) -> Callable[[bytes, int], Any]:
    """A function from JSON and the depth it may have to such a type.

    Raises: as ``make_pydantic_converter``.
    """
    from pydantic import ValidationError

    validate = make_pydantic_validator("validate_json", hint, forbid_unknown)

    def decode(body: bytes, max_depth: int) -> Any:
        # pydantic reads NaN and Infinity, which are no JSON, and knows no byte order mark.
        json.loads(body, msgspec.Raw, max_depth=max_depth)
        body = body.removeprefix(BOM_UTF8)
        try:
            return validate(body)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            # Ours says where, in the same words for every view.
            json.loads(body, max_depth=max_depth)
            raise BadRequest(f"The JSON cannot be read: {found[0]['msg']}.")
        raise Invalid(list(explain_pydantic(found)))

    return decode


def make_pydantic_plain_converter(hint: Any, *, forbid_unknown: bool = False) -> Callable[[Any], Any]:
    """A function from plain values of a body to such a type.

    Raises: as ``make_pydantic_converter``.
    """
    convert = make_pydantic_converter(hint, forbid_unknown=forbid_unknown)
    decode = make_pydantic_decoder(hint, forbid_unknown=forbid_unknown)

    def convert_plain(value: Any) -> Any:
        try:
            return convert(value)
        except Invalid:
            pass
        # What is a date to a strict model in JSON, is none to it in Python.
        return decode(json.dumps(value), 10_000)

    return convert_plain


PYDANTIC_REASONS = {"missing": "is missing", "extra_forbidden": "is not a known field"}


def explain_pydantic(errors: Iterable[Any]) -> Iterable[Problem]:
    for error in list(errors)[:MOST_PROBLEMS]:
        path = ""
        for step in error["loc"]:
            path = f"{path}[{step}]" if isinstance(step, int) else join(path, str(step))
        kind: str = error["type"]
        message: str = error["msg"]
        reason = PYDANTIC_REASONS.get(kind, message)
        yield path, reason[:1].lower() + reason[1:]
