"""What leaves is what the return annotation names: fields that it does not have stay inside.

A view annotated ``-> Person`` that returns an ``Admin(Person)`` sends a person. Filters are made from the
annotation at start-up, and are exact for values that need nothing: those come back as they are. Debug mode
also checks that what is left fits. ``boundplan.py`` calls it.
"""

from __future__ import annotations

import typing
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any, get_args, get_origin

from microweb import json
from microweb.errors import SetupError
from microweb.responses import Response
from microweb.structs import (
    LISTS,
    choices,
    find_fields,
    find_hints,
    has_structs,
    is_named_tuple,
    is_pydantic,
    is_struct,
    is_typed_dict,
)

__all__ = ["make_filter"]

Filter = Callable[[Any], Any]

ITERABLES = (Iterable, deque)
"""What else is a list when it leaves; nothing that comes in is one of these."""


def make_filter(returns: Any, source: str, *, validates: bool) -> Filter | None:
    """The filter for what a view annotated ``returns`` returns; None if that names no struct.

    It leaves responses and streams alone, and looks at the body in ``(body, status, headers)``. With
    ``validates`` it raises TypeError, naming ``source``, when what leaves does not fit.

    Raises:
        SetupError: a class in there speaks of what cannot be found.
    """
    try:
        hint = body_of(returns)
        if not has_structs(hint):
            return None
        keep = make_value_filter(hint, {}, source)
    except NameError as error:
        raise SetupError(
            f"{source} is annotated to return {returns}, and nobody can tell what is in there: {error}; it decides "
            "what leaves, so import that name where it is found at run time"
        ) from error
    check = make_check(hint, source) if validates else None
    answers = (tuple, *filter(is_named_tuple, choices(returns)))

    def filter_body(value: Any) -> Any:
        if (
            value is None
            or isinstance(value, Response | str | bytes)
            or hasattr(value, "__anext__")
            or hasattr(value, "__next__")
        ):
            return value
        value = keep(value)
        if check is not None:
            check(value)
        return value

    def filter_answer(value: Any) -> Any:
        if value.__class__ in answers and value:
            return (filter_body(value[0]), *value[1:])
        return filter_body(value)

    return filter_answer


def body_of(returns: Any) -> Any:
    """What an annotation says of bodies: no responses, which are left alone, and of ``(body, status)`` the first."""
    bodies = []
    for choice in choices(returns):
        if is_named_tuple(choice):
            bodies += [*find_hints(choice).values()][:1]
        elif get_origin(choice) is tuple and get_args(choice)[1:] != (...,):
            bodies.append(get_args(choice)[0] if get_args(choice) else choice)
        elif not (isinstance(choice, type) and issubclass(choice, Response)):
            bodies.append(choice)
    # As it stands if nothing has to go, with whatever is said of it beside its type.
    if bodies == choices(returns):
        return returns
    return reduce(or_, bodies) if bodies else None


def make_check(hint: Any, source: str) -> Callable[[Any], None] | None:
    """A function that raises TypeError when a filtered value does not fit its type; None where that cannot be told."""
    if is_pydantic(hint):
        return None  # The dump below has already looked.
    from microweb.problems import Invalid
    from microweb.validation import make_body_decoder

    try:
        decode = make_body_decoder(hint)
    except TypeError:
        # More can be sent than can be read: unions that nothing in the JSON tells apart, classes of the program.
        return None

    def check(value: Any) -> None:
        try:
            decode(json.dumps(value), 10_000)
        except Invalid as invalid:
            problems = "; ".join(f"{path}: {reason}" if path else reason for path, reason in invalid.problems)
            raise TypeError(f"{source} returned what does not fit its annotation: {problems}") from None

    return check


def make_value_filter(hint: Any, known: dict[Any, list[Filter]], source: str) -> Filter:
    """A function that gives the part of a value that ``hint`` describes.

    ``known`` are the filters under way, by type, for types that hold themselves.
    """
    if is_pydantic(hint) and (dump := make_pydantic_filter(hint)) is not None:
        return dump
    options = [choice for choice in choices(hint) if has_structs(choice)]
    if not options:
        return keep_all
    filters = [(choice, make_choice_filter(choice, known, source)) for choice in options]
    if len(choices(hint)) == 1:
        keep_only = filters[0][1]
        return lambda value: None if value is None else keep_only(value)

    others = [choice for choice in choices(hint) if not has_structs(choice)]

    def keep_choice(value: Any) -> Any:
        # The nearest class decides; what has no class of ours, the first whose fields it has.
        kind = value.__class__
        for parent in kind.__mro__:
            for choice, keep in filters:
                if (get_origin(choice) or choice) is parent:
                    return keep(value)
        if value is None or any(is_instance(value, choice) for choice in others):
            return value
        for choice, keep in filters:
            if has_fields(value, choice) if is_struct(choice) else is_instance(value, choice):
                return keep(value)
        raise TypeError(f"{source} returned {kind.__qualname__}, which is nothing that its annotation names")

    return keep_choice


def is_instance(value: Any, choice: Any) -> bool:
    """Whether ``value`` is of a type without structs, as far as that can be seen from outside."""
    kind = get_origin(choice) or choice
    if kind is typing.Literal:
        return value in get_args(choice)
    return kind is Any or (isinstance(kind, type) and isinstance(value, kind))


def has_fields(value: Any, struct: Any) -> bool:
    """Whether a dict, or any object, has what a struct requires."""
    required = [field for field in find_fields(struct) if field.required]
    if isinstance(value, Mapping):
        return all(field.key in value or field.name in value for field in required)
    return bool(required) and all(hasattr(value, field.name) for field in required)


def keep_all(value: Any) -> Any:
    return value


def make_choice_filter(choice: Any, known: dict[Any, list[Filter]], source: str) -> Filter:
    origin, arguments = get_origin(choice), get_args(choice)
    if is_struct(choice):
        return make_struct_filter(choice, known, source)
    if is_named_tuple(choice):
        return make_named_tuple_filter(choice, known, source)
    if origin in LISTS or origin in ITERABLES:
        if origin is tuple and not (len(arguments) == 2 and arguments[1] is ...):
            each = [make_value_filter(argument, known, source) for argument in arguments]

            def keep_tuple(value: Any) -> Any:
                return [keep(item) for keep, item in zip(each, value, strict=True)]

            return keep_tuple
        keep = make_value_filter(arguments[0], known, source)

        def keep_items(value: Any) -> Any:
            try:
                return [keep(item) for item in value]
            except TypeError:
                if isinstance(value, Iterable):
                    raise
                raise misfit(value, choice, source) from None

        return keep_items
    if isinstance(origin, type) and issubclass(origin, AsyncIterable | Iterator):
        return keep_all  # A stream: its pieces are texts.
    if len(arguments) == 2:
        keep_value = make_value_filter(arguments[1], known, source)

        def keep_values(value: Any) -> Any:
            if not isinstance(value, Mapping):
                raise misfit(value, choice, source)
            return {key: keep_value(item) for key, item in value.items()}

        return keep_values

    def keep_nothing(value: Any) -> Any:
        raise TypeError(
            f"{source} returned {type(value).__qualname__}, and is annotated {choice}, in which nothing can be told "
            "apart; annotate it as a struct, a list, or a dict of structs"
        )

    return keep_nothing


def misfit(value: Any, choice: Any, source: str) -> TypeError:
    return TypeError(f"{source} returned {type(value).__qualname__}, and is annotated {choice}")


def make_named_tuple_filter(choice: Any, known: dict[Any, list[Filter]], source: str) -> Filter:
    if choice in known:
        holder = known[choice]
        return lambda value: holder[0](value)
    known[choice] = []
    hints = find_hints(choice)
    each = [make_value_filter(hints.get(name, Any), known, source) for name in (get_origin(choice) or choice)._fields]

    def keep_tuple(value: Any) -> Any:
        return [keep(item) for keep, item in zip(each, value, strict=True)]

    known[choice].append(keep_tuple)
    return keep_tuple


def make_struct_filter(choice: Any, known: dict[Any, list[Filter]], source: str) -> Filter:
    if choice in known:
        # It holds itself: by the time a value comes, its filter is there.
        holder = known[choice]
        return lambda value: holder[0](value)
    holder = known[choice] = []
    kind = get_origin(choice) or choice
    # Of an attrs class msgspec writes no private field, but whatever somebody has put into an instance's __dict__.
    is_attrs = hasattr(kind, "__attrs_attrs__")
    fields = [field for field in find_fields(choice) if not (is_attrs and field.name.startswith("_"))]
    inner = [(field, make_value_filter(field.hint, known, source)) for field in fields]
    is_open = is_typed_dict(kind) or (is_attrs and kind.__dictoffset__ != 0)
    is_flat = all(keep is keep_all for _, keep in inner) and not is_open
    config = getattr(kind, "__struct_config__", None)
    is_array = config is not None and config.array_like
    tag = (config.tag_field, config.tag) if config is not None and config.tag is not None else None

    def keep_fields(value: Any) -> Any:
        if is_flat and value.__class__ is kind:
            # An exact instance of a flat class has nothing to hide.
            return value
        if is_array:
            return [keep(getattr(value, field.name)) for field, keep in inner]
        kept: dict[str, Any] = {tag[0]: tag[1]} if tag is not None else {}
        if isinstance(value, Mapping):
            for field, keep in inner:
                key = field.key if field.key in value else field.name
                if key in value:
                    kept[field.key] = keep(value[key])
                elif field.required:
                    raise lacks(value, field.key)
        else:
            for field, keep in inner:
                item = getattr(value, field.name, MISSING)
                if item is MISSING:
                    if field.required:
                        raise lacks(value, field.name)
                elif not is_unset(item):
                    kept[field.key] = keep(item)
        return kept

    def lacks(value: Any, name: str) -> TypeError:
        return TypeError(
            f"{source} returned {type(value).__qualname__}, which has no {name!r}, and is annotated {kind.__qualname__}"
        )

    holder.append(keep_fields)
    return keep_fields


MISSING = object()


def is_unset(value: Any) -> bool:
    """Whether it is msgspec's sign for a field that is left out."""
    return type(value).__name__ == "UnsetType"


def make_pydantic_filter(hint: Any) -> Filter | None:
    """pydantic writes by the declared type; a subclass's fields are none of it. None if others than it are in there."""
    from pydantic import PydanticUserError, TypeAdapter

    try:
        adapter = TypeAdapter(hint)
    except PydanticUserError:
        return None

    def dump(value: Any) -> Any:
        return adapter.dump_python(adapter.validate_python(value, from_attributes=True), mode="json", by_alias=True)

    return dump
