"""The defaults of dataclasses, put into the values that msgspec decoded.

msgspec leaves fields with a plain default to the class, which keeps them out of the instance's ``__dict__``, and so
out of every JSON that is made of it. ``json.py`` completes what it reads, ``validation.py`` and ``places.py`` what
they convert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_origin

from microweb.structs import LISTS, MAPPINGS, choices, find_fields, is_row, is_struct

__all__ = ["make_completer"]


def make_completer(hint: Any, known: dict[Any, list[Callable[[Any], None]]]) -> Callable[[Any], None] | None:
    """A function that puts defaults into decoded dataclasses; None if the type holds none that need it.

    ``known`` are the completers under way, by type.
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


ITEMS = LISTS | MAPPINGS


def find_class_defaults(kind: Any) -> dict[str, Any]:
    """The fields of a dataclass whose default is an attribute of the class, by name."""
    if not is_dataclass(kind) or "__slots__" in kind.__dict__:
        return {}
    # Not those of a base with slots: there the class has the slot in the default's place.
    return {
        field.name: field.default
        for field in fields(kind)
        if field.default is not MISSING and getattr(kind, field.name, MISSING) is field.default
    }
