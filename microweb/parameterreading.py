"""Where each parameter of a signature comes from, decided at start-up by its annotation and our markers.

``read_parameter`` gives the ``Parameter`` that ``places.py`` makes of it, or refuses it with a ``SetupError``.
``dependencies.py`` calls it for whatever is no path variable and not the request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

from microweb.callables import Unresolved, describe, is_async, locate
from microweb.errors import SetupError
from microweb.incoming import Incoming
from microweb.markers import Body, Depends, Form, Query, Source, find_marker, is_marker, unwrap_alias
from microweb.parameters import MISSING, Parameter
from microweb.places import READERS, is_upload
from microweb.structs import bare, choices, flatten, has_structs, is_list
from microweb.uploads import UploadFile

__all__ = ["check_markers", "read_parameter", "split_hint"]


def split_hint(hint: Any) -> tuple[Any, Source | Depends | None]:
    """An annotation without our marker, and the marker."""
    hint = unwrap_alias(hint)
    if get_origin(hint) is not Annotated:
        return hint, None
    kind, *metadata = get_args(hint)
    markers = [make_marker(each) for each in metadata if is_marker(each)]
    others = [each for each in metadata if not is_marker(each)]
    if others:
        kind = Annotated[(kind, *others)]
    return kind, markers[0] if markers else None


def check_markers(parameter: inspect.Parameter, hint: Any, function: Callable[..., Any], what: str) -> None:
    """Refuse an annotation of which one of our markers would be passed over.

    Raises:
        SetupError: there are two, one stands inside another type, or a function stands there without ``Depends``.
    """
    kind, _ = split_hint(hint)
    where = f"{what} {describe(function)}: the parameter {parameter.name!r}"
    metadata = getattr(unwrap_alias(hint), "__metadata__", ())
    # SECURITY: test_binding.py::test_a_function_without_depends_is_an_error_and_no_query_parameter
    if (forgotten := next(filter(inspect.isroutine, metadata), None)) is not None:
        raise SetupError(
            f"{where} is annotated with the function {describe(forgotten)}, at which nothing looks; write "
            f"Depends({forgotten.__name__}) ({locate(function)})"
        )
    markers = [each for each in metadata if is_marker(each)]
    if len(markers) > 1:
        names = " and ".join(repr(make_marker(each)) for each in markers)
        raise SetupError(f"{where} is said to come from {names}; leave one of them ({locate(function)})")
    # Passed over, a dependency that says who the user is would be read from the body.
    # SECURITY: test_binding.py::test_a_marker_inside_another_type_is_an_error_that_says_where_it_belongs
    if (hidden := find_marker(kind)) is not None:
        raise SetupError(
            f"{where} has {hidden!r} inside another type, where nothing looks at it; write it outermost, as in "
            f"Annotated[... | None, {hidden!r}] ({locate(function)})"
        )


def make_marker(value: Any) -> Any:
    """``Query`` stands for ``Query()``."""
    return value() if isinstance(value, type) else value


def read_parameter(parameter: inspect.Parameter, hint: Any, function: Callable[..., Any], what: str) -> Parameter:
    """Decide where one parameter comes from; for ``Depends`` only that, the caller plans the dependency.

    Raises:
        SetupError: nothing says where, or no value of its type can come from there.
    """
    name, default = parameter.name, parameter.default

    def refuse(problem: str) -> SetupError:
        return SetupError(f"{what} {describe(function)}: the parameter {name!r} {problem} ({locate(function)})")

    if isinstance(hint, Unresolved):
        reason = "; import it there at run time too" if "is not defined" in hint.problem else ""
        raise refuse(f"is annotated {hint.text!r}, which cannot be resolved: {hint.problem}{reason}")
    if is_marker(default):
        raise refuse(f"has a marker for its default; write it as Annotated[..., {default!r}]")
    kind, marker = split_hint(hint)
    if isinstance(marker, Depends):
        return Parameter(name, "depends", type=kind, default=MISSING)
    if marker is None:
        marker = guess_source(kind)
        if marker is None:
            raise refuse(
                f"is annotated {describe_hint(kind)}, which does not say where it comes from; write "
                "Annotated[..., Query()] or Header(), Cookie(), Form(), Body(), Depends(function)"
            )
    if UploadFile in flatten(kind) and not is_async(function):
        raise refuse("is an UploadFile, whose methods are awaited; a plain def takes SyncUploadFile")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise refuse("is positional-only; leave out the slash")
    try:
        return READERS[marker.place](name, kind, marker, default)
    except Exception as error:  # noqa: BLE001 - looking at a type may raise anything
        raise refuse(f"cannot be read as {describe_hint(kind)}: {error}") from None


def describe_hint(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint)


def guess_source(hint: Any) -> Source | None:
    """Where an annotated parameter without a marker comes from."""
    if is_upload(hint):
        return Form()
    if has_structs(hint):
        # Of a JSON body only, also where a form would do: a form can be sent from any other site without asking
        # first, and whoever writes a JSON view counts on the browser asking.
        # SECURITY: test_binding.py::test_a_struct_is_never_read_from_a_form_unless_it_says_so
        return Body()
    return Query() if is_scalar(hint) else None


def is_scalar(hint: Any) -> bool:
    """Whether one text, or several, can make a value of this type."""
    found = choices(hint)
    return (
        bool(found)
        and all(
            all(map(is_scalar, [each for each in get_args(choice) if each is not ...]))
            if is_list(choice)
            else is_literal(choice) or (isinstance(choice, type) and not issubclass(choice, dict | tuple | Incoming))
            for choice in found
        )
        and not is_any(hint)
    )


def is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


def is_any(hint: Any) -> bool:
    return bare(hint) in (Any, object)
