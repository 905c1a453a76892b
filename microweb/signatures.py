"""What a function names in its signature: path variables, the request, and what has to be found elsewhere.

The first look at a view, hook or dependency, which costs nothing but ``inspect``. ``binding.py`` and
``dependencies.py`` call it and decide about the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from microweb.callables import Unresolved, describe, find_hints, is_async, is_request, locate
from microweb.errors import SetupError
from microweb.markers import Depends, Source, find_marker
from microweb.requests import Request, SyncRequest

__all__ = ["Signature", "read_signature"]


class Signature:
    """The parameters of one function, sorted by who fills them."""

    __slots__ = ("first", "names", "others", "request_name", "returns")

    def __init__(self) -> None:
        self.names: list[str] = []
        """Path variables."""
        self.request_name: str | None = None
        self.others: list[tuple[inspect.Parameter, Any]] = []
        """Everything that is neither, with its annotation."""
        self.first: str | None = None
        """The parameter that a single positional argument goes to."""
        self.returns: Any = None


def read_signature(
    function: Callable[..., Any],
    *,
    what: str,
    variables: Collection[str] = (),
    leading: int = 0,
    guesses: bool = True,
) -> Signature | None:
    """Sort the parameters of ``function``; None if Python cannot tell them.

    ``guesses`` says whether an annotated parameter without a marker is taken from the request.

    Raises:
        SetupError: a parameter has neither a known name nor an annotation nor a default, and no decorator that
            may provide it; a path variable is positional-only; a ``def`` function asks for ``Request``; or nothing
            takes what is given first.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    found = Signature()
    decorators = find_parameters_of_decorator(function)
    takes_all = False
    hints = find_hints(function)
    found.returns = hints.get("return")
    if leading:
        check_leading(function, [*parameters.values()][:leading], hints, what, leading)
    positional = 0
    for parameter in parameters.values():
        name = parameter.name
        if parameter.kind is parameter.VAR_KEYWORD:
            found.names.extend(variable for variable in variables if variable not in found.names)
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if positional < leading and parameter.kind is not parameter.KEYWORD_ONLY:
            positional += 1
            continue
        hint = hints.get(name, parameter.annotation)
        if parameter.kind is parameter.POSITIONAL_ONLY and decorators is None and name in variables:
            raise SetupError(
                f"{what} {describe(function)} is called with names, and its parameter {name!r} is positional-only; "
                f"leave out the slash ({locate(function)})"
            )
        if name in variables and not is_marked(hint):
            found.names.append(name)
        elif is_request(name, hint):
            check_face(function, name, hint, what)
            found.request_name = name
        elif (
            is_marked(hint)
            or (guesses and hint is not parameter.empty)
            or isinstance(parameter.default, Source | Depends)
        ):
            found.others.append((parameter, hint))
        elif parameter.default is parameter.empty:
            if decorators is None or hint is not parameter.empty:
                raise SetupError(explain_unknown(function, name, hint, what, variables))
            # Left to the decorator: `return view(current_user, **values)`, worked out from any of the variables.
            takes_all = takes_all or any(each.kind is each.VAR_KEYWORD for each in decorators.values())
    for variable in variables:
        if decorators is not None and variable not in found.names and (takes_all or variable in decorators):
            found.names.append(variable)
    first = next(iter(parameters.values()), None)
    found.first = first.name if first is not None and first.kind is not first.KEYWORD_ONLY else None
    return found


def find_parameters_of_decorator(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Those of the function that a decorator put around another (``functools.wraps``); None if it is none."""
    # The methods of a MethodView say themselves what they take: what wraps them provides nothing.
    if not hasattr(function, "__wrapped__") or hasattr(function, "__signature__"):
        return None
    try:
        return inspect.signature(function, follow_wrapped=False).parameters
    except ValueError:  # Written in C: functools.lru_cache, for one.
        return None


def check_leading(
    function: Callable[..., Any], first: list[inspect.Parameter], hints: Mapping[str, Any], what: str, leading: int
) -> None:
    """Refuse a function that cannot take what it is given first, or takes it for the request.

    Raises:
        SetupError: it does.
    """
    given = "response" if what.startswith("after") else "error"
    takes = [parameter for parameter in first if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD)]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in takes):
        return
    if len(takes) < leading or is_request(takes[0].name, hints.get(takes[0].name, takes[0].annotation)):
        raise SetupError(
            f"{what} {describe(function)} is given the {given} first, and has no parameter for it; "
            f"write ({given}) or ({given}, request) ({locate(function)})"
        )


def is_marked(hint: Any) -> bool:
    """Whether an annotation says itself where the value comes from."""
    return find_marker(hint) is not None


def check_face(function: Callable[..., Any], name: str, hint: Any, what: str) -> None:
    """Refuse the request of coroutine code in a function that runs in a thread, and the other way round.

    Raises:
        SetupError: it asks for that one.
    """
    if isinstance(function, type):
        return
    if is_async(function):
        if hint is SyncRequest or (isinstance(hint, Unresolved) and hint.names("SyncRequest")):
            raise SetupError(
                f"{what} {describe(function)} is a coroutine, so its parameter {name!r} is a Request, not a "
                f"SyncRequest; annotate Request, or make it a plain def ({locate(function)})"
            )
    elif hint is Request or (isinstance(hint, Unresolved) and hint.names("Request")):
        raise SetupError(
            f"{what} {describe(function)} is a plain def and runs in a thread, so its parameter "
            f"{name!r} is a SyncRequest, not a Request; annotate SyncRequest, or make it async "
            f"({locate(function)})"
        )


def explain_unknown(function: Callable[..., Any], name: str, hint: Any, what: str, variables: Collection[str]) -> str:
    known = ", ".join(repr(variable) for variable in variables) or "none"
    connection = "websocket" if "websocket" in what else "request"
    problem = "has no annotation that says where it comes from"
    if isinstance(hint, Unresolved):
        problem = f"its annotation {hint.text!r} cannot be resolved: {hint.problem}"
    elif hint is not inspect.Parameter.empty:
        problem = "its annotation does not say where it comes from; write Annotated[..., Query()] or the like"
    return (
        f"{what} {describe(function)} has a parameter {name!r} that nothing provides: it is no "
        f"path variable (there: {known}), not {connection!r}, and {problem} ({locate(function)})"
    )
