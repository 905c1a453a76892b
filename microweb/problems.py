"""What is wrong with a value that does not fit its type: every mistake, with its place and its reason.

msgspec stops at the first one. ``find_problems`` goes through the value again and finds the others; ``find_unknown``
lists the keys that no field has. ``validation.py`` and ``pydanticvalues.py`` ask here before they refuse a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args, get_origin

import msgspec

from microweb import json
from microweb.oddities import refuse_oddities
from microweb.structs import LISTS, MAPPINGS, choices, find_fields, is_row, is_struct

__all__ = ["MOST_PROBLEMS", "Invalid", "Problem", "convert", "find_problems", "find_unknown", "join"]

MOST_PROBLEMS = 100
"""Mistakes listed at most: a longer list helps nobody, and the body may hold millions."""

Problem = tuple[str, str]
"""Where inside the value (``lines[0].price``, or ``""`` for all of it), and why it is refused."""


class Invalid(ValueError):
    """A value that is refused; ``problems`` are its mistakes."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


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
    choice = find_choice(value, hint)
    if choice is not None and isinstance(value, Mapping) and is_struct(choice):
        fields = find_fields(choice)
        for field in fields:
            if field.key in value:
                search(value[field.key], field.hint, join(path, field.key), strict, problems)
            elif field.required:
                problems.append((join(path, field.key), "is missing"))
        if forbids_unknown(choice):
            unknown = value.keys() - {field.key for field in fields} - {tag_of(choice)[0]}
            problems += [(join(path, key), "is not a known field") for key in sorted(map(str, unknown))[:MOST_PROBLEMS]]
    elif choice is not None and isinstance(value, list) and get_args(choice):
        if is_row(choice):
            for index, (item, item_hint) in enumerate(zip(value, get_args(choice), strict=False)):
                search(item, item_hint, f"{path}[{index}]", strict, problems)
        else:
            search_all(value, range(len(value)), get_args(choice)[0], path, strict, problems)
    elif choice is not None and isinstance(value, Mapping) and get_args(choice):
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
        convert(value, hint, strict=strict)
    except ValueError as error:
        return str(error)
    return None


def convert(value: Any, hint: Any, *, strict: bool) -> Any:
    """A plain value, of JSON or text, as a ``hint``.

    Raises:
        ValueError: it is none.
    """
    try:
        read = partial(msgspec.convert, type=hint, strict=strict, str_keys=True)
        return refuse_oddities(read, hint, strict=strict)(value)
    except ValueError as error:
        if "`raw`" not in str(error):
            raise
    # A ``msgspec.Raw`` in there is JSON, which no plain value is any more.
    return json.find_decoder(hint, strict)(json.dumps(value))


def find_choice(value: Any, hint: Any) -> Any:
    """The one type of a union that an object or a list is meant as, by its shape and its tag; None if none can be told.

    Of structs that are written as arrays it is never told: their items have no keys.
    """
    found = [choice for choice in choices(hint) if is_meant(value, choice)]
    return found[0] if len(found) == 1 else None


def is_meant(value: Any, choice: Any) -> bool:
    """Whether an object or a list is written as one of this type; the only struct of one may come without its tag."""
    if isinstance(value, list):
        return get_origin(choice) in LISTS
    if not isinstance(value, Mapping):
        return False
    if not is_struct(choice):
        return get_origin(choice) in MAPPINGS
    config = getattr(get_origin(choice) or choice, "__struct_config__", None)
    key, tag = tag_of(choice)
    return (config is None or not config.array_like) and (tag is None or value.get(key, tag) == tag)


def tag_of(struct: Any) -> tuple[str | None, Any]:
    """The key and the value by which a struct is told from others in a union; None if it has no tag."""
    config = getattr(get_origin(struct) or struct, "__struct_config__", None)
    return (None, None) if config is None else (config.tag_field, config.tag)


def forbids_unknown(hint: Any) -> bool:
    config = getattr(get_origin(hint) or hint, "__struct_config__", None)
    return config is not None and bool(config.forbid_unknown_fields)


LACKS = "Object missing required field "


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
    if text.startswith(LACKS):  # The tag of a union: fields that are missing have been found.
        inside, text = join(inside, text.removeprefix(LACKS)), "is missing"
    if not strict:
        text = text.removesuffix(", got str")
    reason = ("a key: " if is_key else "") + text[:1].lower() + text[1:]
    return (join(path, inside) if inside else path, reason)


def join(path: str, key: str) -> str:
    """The place of a key, or of an item in brackets, inside of another place."""
    if not path or key.startswith("["):
        return path + key
    return f"{path}.{key}"


# Unknown keys --------------------------------------------------------------------------------------


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
        if not is_meant(value, choice):
            return None
        tag, _ = tag_of(choice)
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
            unknown += find_unknown(item, arguments[1], join(path, str(key))) if arguments else []
        return unknown
    return None
