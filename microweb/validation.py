"""From text and JSON to typed values, and what is wrong with those that do not fit, all of it.

msgspec does the converting: Structs, dataclasses, TypedDicts, attrs classes and every type that it knows. It
stops at the first mistake; ``find_problems`` then goes through the value again and finds the others. Types
that hold pydantic models are left to pydantic. Sans-I/O: it sees values and types, never a request;
``places.py`` calls it, and with it msgspec is loaded.
"""

import inspect
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, get_args, get_origin

import msgspec

from microweb import json
from microweb.errors import BadRequest
from microweb.structs import LISTS, choices, find_fields, is_pydantic, is_struct, is_switch
from microweb.wholenumbers import rewrite_whole_numbers

__all__ = [
    "Invalid",
    "check_type",
    "find_problems",
    "find_unknown",
    "make_body_decoder",
    "make_completer",
    "make_pydantic_converter",
    "make_quick_decoder",
    "make_text_converter",
]

MOST_PROBLEMS = 100
"""Mistakes listed at most: a longer list helps nobody, and the body may hold millions."""

SWITCHES = {"on": True, "yes": True, "off": False, "no": False}
"""What browsers send for a checked box, and its relatives, beside msgspec's true, false, 1 and 0."""

Problem = tuple[str, str]
"""Where inside the value (``lines[0].price``, or ``""`` for all of it), and why it is refused."""


class Invalid(ValueError):
    """A value that is refused; ``problems`` are its mistakes."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


# Types ---------------------------------------------------------------------------------------------


def check_type(hint: Any) -> None:
    """Refuse a type that no value from a request can have.

    Raises:
        TypeError: msgspec cannot read it, or a class in it is none of those that it knows.
    """
    json.find_decoder(hint)
    waiting: list[Any] = [msgspec.inspect.type_info(hint)]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, msgspec.inspect.CustomType):
            raise TypeError(f"{node.cls.__qualname__} is no type that a value in a request can have")
        if isinstance(node, tuple):
            waiting += node
        elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field):
            waiting += [getattr(node, name) for name in node.__struct_fields__]


def make_completer(hint: Any, known: dict[Any, list[Callable[[Any], None]]]) -> Callable[[Any], None] | None:
    """A function that puts defaults into decoded dataclasses; None if the type holds none that need it.

    msgspec leaves fields with a plain default to the class, which keeps them out of the instance's
    ``__dict__``, and so out of every JSON that is made of it. ``known`` are the completers under way, by type.
    """
    completers = [found for choice in choices(hint) if (found := make_choice_completer(choice, known)) is not None]
    if len(completers) < 2:
        return completers[0] if completers else None

    def complete_any(value: Any) -> None:
        for complete in completers:
            complete(value)

    return complete_any


def make_choice_completer(choice: Any, known: dict[Any, list[Callable[[Any], None]]]) -> Callable[[Any], None] | None:
    kind, arguments = get_origin(choice) or choice, get_args(choice)
    if is_struct(choice):
        if choice in known:
            holder = known[choice]
            return lambda value: holder[0](value) if holder else None
        known[choice] = []
        defaults = find_class_defaults(kind)
        inner = [(each.name, make_completer(each.hint, known)) for each in find_fields(choice)]
        nested = [(name, complete) for name, complete in inner if complete is not None]
        if not defaults and not nested:
            return None

        def complete_fields(value: Any) -> None:
            if isinstance(value, dict):
                for name, complete in nested:
                    if name in value:
                        complete(value[name])
            elif isinstance(value, kind):
                if defaults:
                    value.__dict__.update({**defaults, **value.__dict__})
                for name, complete in nested:
                    complete(getattr(value, name))

        known[choice].append(complete_fields)
        return complete_fields
    if not arguments or kind not in ITEMS:
        return None
    if is_row(choice):
        return make_row_completer([make_completer(each, known) for each in arguments])
    return make_items_completer(kind, make_completer(arguments[1 if kind in MAPPINGS else 0], known))


def is_row(choice: Any) -> bool:
    """Whether it is a tuple with a type for each place, of which a list has one for all."""
    return get_origin(choice) is tuple and get_args(choice)[-1:] != (...,)


def make_row_completer(completers: list[Callable[[Any], None] | None]) -> Callable[[Any], None] | None:
    if not any(completers):
        return None

    def complete_row(value: Any) -> None:
        if isinstance(value, tuple):
            for item, complete in zip(value, completers, strict=False):
                if complete is not None:
                    complete(item)

    return complete_row


def make_items_completer(kind: Any, complete_item: Callable[[Any], None] | None) -> Callable[[Any], None] | None:
    if complete_item is None:
        return None

    def complete_items(value: Any) -> None:
        if isinstance(value, kind) and not isinstance(value, str | bytes):
            for item in value.values() if isinstance(value, dict) else value:
                complete_item(item)

    return complete_items


MAPPINGS = frozenset((dict, Mapping, MutableMapping))
ITEMS = LISTS | MAPPINGS


def find_class_defaults(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass whose default is an attribute of the class, by name."""
    if not hasattr(kind, "__dataclass_fields__") or "__slots__" in kind.__dict__:
        return {}
    return {name: getattr(kind, name) for name in kind.__dataclass_fields__ if hasattr(kind, name)}


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
    convert = msgspec.convert
    complete = make_completer(hint, {})
    may_be_switch = is_switch(hint)

    def convert_text(value: Any) -> Any:
        if may_be_switch:
            value = SWITCHES.get(value.lower(), value)
        try:
            converted = convert(value, hint, strict=False)
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
    complete = make_completer(hint, {})

    def decode(body: bytes, max_depth: int) -> Any:
        # PERF(bodies.typed-body): json.loads, with what is decided at the start left out.
        if len(body) > max_depth * 2 and body.count(b"{") + body.count(b"[") > max_depth:
            json.check_depth(body, max_depth)
        try:
            return decode_typed(body)
        except (ValueError, RecursionError):
            pass
        try:
            value = loads(body, hint, max_depth=max_depth)
            if complete is not None:
                complete(value)
            return value
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
    decode: Callable[[bytes], Any] = json.find_decoder(hint).decode
    complete = make_completer(hint, {})
    if complete is None:
        return decode

    def decode_whole(body: bytes) -> Any:
        value = decode(body)
        complete(value)
        return value

    return decode_whole


def find_unknown(value: Any, hint: Any, path: str = "") -> list[str]:
    """The keys in plain JSON ``value`` that a type of ``hint`` has no field for, on every level."""
    found = [unknown for choice in choices(hint) if (unknown := find_unknown_of(value, choice, path)) is not None]
    # Of several classes it is the one that knows most of it.
    return min(found, key=len) if found else []


def find_unknown_of(value: Any, choice: Any, path: str) -> list[str] | None:
    """The unknown keys if ``value`` is meant as a ``choice``; None if it cannot be one."""
    unknown: list[str] = []
    arguments = get_args(choice)
    if is_struct(choice):
        config = getattr(get_origin(choice) or choice, "__struct_config__", None)
        tag, tag_value = (config.tag_field, config.tag) if config is not None else (None, None)
        if not isinstance(value, Mapping) or (tag_value is not None and value.get(tag) != tag_value):
            return None
        fields = {field.key: field for field in find_fields(choice)}
        for key, item in value.items():
            if key in fields:
                unknown += find_unknown(item, fields[key].hint, join(path, key))
            elif key != tag:
                unknown.append(join(path, key))
        return unknown
    if isinstance(value, list) and get_origin(choice) in LISTS:
        hints = arguments if is_row(choice) else arguments[:1] * len(value)
        for index, (item, hint) in enumerate(zip(value, hints, strict=False)):
            unknown += find_unknown(item, hint, f"{path}[{index}]")
        return unknown
    if isinstance(value, Mapping) and (get_origin(choice) or choice) in MAPPINGS:
        for key, item in value.items():
            unknown += find_unknown(item, arguments[1], join(path, key)) if arguments else []
        return unknown
    return None


# What is wrong ---------------------------------------------------------------------------------------


def find_problems(value: Any, hint: Any, said: str, *, strict: bool) -> list[Problem]:
    """Everything for which ``value``, plain JSON or text, is no ``hint``; ``said`` is what msgspec said of it."""
    problems: list[Problem] = []
    search(value, hint, "", strict, problems)
    if not problems:
        problems.append(explain(said, "", strict))
    return problems


def search(value: Any, hint: Any, path: str, strict: bool, problems: list[Problem]) -> None:
    if len(problems) >= MOST_PROBLEMS:
        return
    before = len(problems)
    options = choices(hint)
    choice = options[0] if len(options) == 1 else None
    if value is None:
        choice = None
    if choice is not None and is_walkable(choice) and isinstance(value, Mapping):
        fields = find_fields(choice)
        for field in fields:
            if field.key in value:
                search(value[field.key], field.hint, join(path, field.key), strict, problems)
            elif field.required:
                problems.append((join(path, field.key), "is missing"))
        if forbids_unknown(choice):
            unknown = value.keys() - {field.key for field in fields}
            problems += [(join(path, key), "is not a known field") for key in sorted(unknown)[:MOST_PROBLEMS]]
    elif isinstance(value, list) and get_origin(choice) in LISTS and get_args(choice):
        if is_row(choice):
            for index, (item, item_hint) in enumerate(zip(value, get_args(choice), strict=False)):
                search(item, item_hint, f"{path}[{index}]", strict, problems)
        else:
            search_all(value, range(len(value)), get_args(choice)[0], path, strict, problems)
    elif isinstance(value, Mapping) and get_origin(choice) in MAPPINGS:
        search_all([*value.values()], [*value], get_args(choice)[1], path, strict, problems)
    if len(problems) == before:
        # Nothing is wrong further inside: is it this value, or the whole of it (a length, a check of the class)?
        said = find_fault(value, hint, strict)
        if said is not None:
            problems.append(explain(said, path, strict))


SLICE = 200
"""Items that msgspec looks at together, before each is looked at by itself."""


def search_all(
    items: list[Any], keys: Sequence[Any], hint: Any, path: str, strict: bool, problems: list[Problem]
) -> None:
    """Search all items of a list, or of a dict, by their keys."""
    for start in range(0, len(items), SLICE):
        part = items[start : start + SLICE]
        # By itself each takes microseconds, and a body may hold millions.
        # SECURITY: test_binding.py::test_one_mistake_among_very_many_values_is_found_at_once
        if len(items) > SLICE and find_fault(part, list[hint], strict) is None:
            continue
        for key, item in zip(keys[start : start + SLICE], part, strict=True):
            place = f"{path}[{key}]" if isinstance(keys, range) else join(path, str(key))
            search(item, hint, place, strict, problems)
        if len(problems) >= MOST_PROBLEMS:
            return


def find_fault(value: Any, hint: Any, strict: bool) -> str | None:
    """What msgspec says of a value that is no ``hint``; None if it is one."""
    try:
        msgspec.convert(value, hint, strict=strict, str_keys=True)
    except ValueError as error:
        return str(error)
    return None


def is_walkable(hint: Any) -> bool:
    """Whether a value is an object with one key for each field: no array, no choice by tag."""
    if not is_struct(hint):
        return False
    config = getattr(get_origin(hint) or hint, "__struct_config__", None)
    return config is None or not (config.array_like or config.tag is not None)


def forbids_unknown(hint: Any) -> bool:
    config = getattr(get_origin(hint) or hint, "__struct_config__", None)
    return config is not None and bool(config.forbid_unknown_fields)


def explain(said: str, path: str, strict: bool) -> Problem:
    """msgspec's words as a place below ``path`` and a reason: ``expected int, got str``.

    From a place where everything is text (not ``strict``), that it is goes without saying.
    """
    text, separator, inside = said.rpartition(" - at `")
    if not separator:
        text, inside = said, "$`"
    is_key = inside.startswith("key` in `")  # Of a dict: what is wrong is not what it holds.
    inside = inside.removeprefix("key` in `").rstrip("`").removeprefix("$").removeprefix(".")
    text = text.replace("`", "")
    if not strict:
        text = text.removesuffix(", got str")
    reason = ("a key: " if is_key else "") + text[:1].lower() + text[1:]
    return (join(path, inside) if inside else path, reason)


def join(path: str, key: str) -> str:
    if not path or key.startswith("["):
        return path + key
    return f"{path}.{key}"


# pydantic --------------------------------------------------------------------------------------------


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
