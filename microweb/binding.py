"""Binding: what a function's parameters mean, decided once, before it ever runs.

A view, hook, error handler or dependency takes what it names: path variables by name, the request by name or
annotation, and by their annotations query parameters, headers, cookies, form fields, the body and the results
of other functions. ``make_plan`` reads the signature at start-up and refuses what it cannot fill; the
``Plan`` it gives then calls the function with nothing left to decide. Called by ``composition.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from inspect import Signature
from typing import Any, get_origin

from microweb.callables import Unresolved, describe, locate
from microweb.errors import SetupError
from microweb.plan import Plan
from microweb.signatures import read_signature

__all__ = ["Plan", "make_plan"]

NO_OVERRIDES: Mapping[Any, Any] = {}


def make_plan(
    function: Callable[..., Any],
    *,
    what: str,
    variables: Collection[str] = (),
    leading: int = 0,
    overrides: Mapping[Any, Any] = NO_OVERRIDES,
    forbids_unknown: bool = False,
    validates: bool = False,
) -> Plan:
    """Decide how ``function`` is called.

    ``variables`` are the names that the path provides, ``leading`` the number of positional arguments given
    first (an ``after_request`` function gets the response, an error handler the error). ``overrides`` are the
    functions that stand in for dependencies. Of a view, ``forbids_unknown`` refuses query parameters, form
    fields and JSON keys that it does not name, and ``validates`` checks what it returns against its
    annotation.

    Raises:
        SetupError: nothing fills a parameter that has no default, a ``def`` function asks for ``Request``, or nobody
            can tell what a view is annotated to return.
    """
    is_view = what.endswith("view")
    signature = read_signature(function, what=what, variables=variables, leading=leading, guesses=is_view)
    if signature is None:
        return Plan(function, tuple(variables), leading=leading, variables=variables)
    if what == "view":
        check_returns(signature.returns, function)
    if signature.others or forbids_unknown or (what == "view" and filters(signature.returns)):
        # Loads msgspec and the code for filling parameters, which programs that need neither do without.
        from microweb.boundplan import make_bound_plan

        return make_bound_plan(
            function,
            signature,
            what=what,
            variables=variables,
            overrides=overrides,
            forbids_unknown=forbids_unknown,
            validates=validates,
        )
    plan = Plan(
        function,
        tuple(signature.names),
        signature.request_name,
        leading=leading,
        variables=variables,
        first=signature.first,
    )
    plan.returns = signature.returns
    return plan


def check_returns(returns: Any, function: Callable[..., Any]) -> None:
    """Refuse a return annotation that is only text, unless it speaks of responses: no filter can be made of it.

    Raises:
        SetupError: it is, or it names a tuple that has no body.
    """
    # SECURITY: test_filtering.py::test_an_annotation_that_cannot_be_resolved_is_an_error_for_it_would_filter_nothing
    if isinstance(returns, Unresolved) and not any(word in returns.text for word in ("Response", "ReturnValue")):
        raise SetupError(
            f"view {describe(function)} is annotated to return {returns.text!r}, which cannot be resolved: "
            f"{returns.problem}; it decides what leaves, so import it where it is found at run time, or leave it out "
            f"({locate(function)})"
        )
    if is_plain(returns):
        return
    from microweb.structs import choices

    try:
        is_empty = any(get_origin(each) is tuple and getattr(each, "__args__", None) == () for each in choices(returns))
    except NameError:  # Of an alias; making the filter says which.
        return
    if is_empty:
        raise SetupError(
            f"view {describe(function)} is annotated to return {returns}, and a tuple of nothing is no answer; write "
            f"tuple[Body, int] for (body, status), or leave the tuple out ({locate(function)})"
        )


PLAIN = frozenset((Signature.empty, None, type(None), str, bytes, int, float, bool, dict, list, Any, object))


def filters(returns: Any) -> bool:
    """Whether a return annotation names a struct, so that it decides what leaves."""
    if is_plain(returns):
        return False
    from microweb.structs import has_structs

    try:
        return has_structs(returns)
    except NameError:  # A field of a class; making the filter says which.
        return True


def is_plain(returns: Any) -> bool:
    """Whether a return annotation needs no closer look, which loads the code that looks."""
    try:
        return isinstance(returns, Unresolved) or returns in PLAIN
    except TypeError:  # It cannot be hashed.
        return False
