"""Binding: what a function's parameters mean, decided once, before it ever runs.

A view, hook, error handler or dependency takes what it names: path variables by name, the request by
name or annotation. ``make_plan`` reads the signature at start-up and refuses what it cannot fill;
a ``Plan`` then calls the function with nothing left to decide. Called by ``assembly.py``.
"""

import inspect
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, get_type_hints

from microweb.errors import SetupError
from microweb.incoming import Incoming
from microweb.requests import Request, SyncRequest

__all__ = ["Plan", "is_async", "make_plan"]

Call = Callable[..., Any]


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function below ``functools.partial`` and ``functools.wraps``: the one somebody wrote."""
    while True:
        if isinstance(function, partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif not inspect.isroutine(function) and not isinstance(function, type) and hasattr(function, "__call__"):
            call = function.__call__
            if not inspect.ismethod(call):
                return function
            function = call
        elif inspect.ismethod(function):
            function = function.__func__
        else:
            return function


def is_async(function: Callable[..., Any]) -> bool:
    """Whether ``function`` runs on the event loop: it, or what it wraps, is a coroutine function or async generator."""
    inner = unwrapped(function)
    return inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)


def describe(function: Callable[..., Any]) -> str:
    """The function's name as error texts show it: ``view blog.views.post``."""
    inner = unwrapped(function)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{getattr(inner, '__module__', '')}.{name}".lstrip(".")


def locate(function: Callable[..., Any]) -> str:
    """File and line where the function was written."""
    code = getattr(unwrapped(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else describe(function)


class Plan:
    """How one function is called: ``call(request, *leading)`` gives its value, or an awaitable if ``is_async``.

    ``names`` are the path variables it takes, ``takes_request`` the parameter that gets the request, if any.
    A plan is a plain call when it takes nothing else, so the endpoint may skip the indirection.
    """

    __slots__ = (
        "call",
        "function",
        "is_async",
        "is_coroutine_function",
        "label",
        "is_plain",
        "names",
        "passes_request",
        "passes_values",
        "place",
        "request_name",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        names: tuple[str, ...] = (),
        request_name: str | None = None,
        *,
        leading: int = 0,
        variables: Collection[str] = (),
        first: str | None = None,
    ) -> None:
        self.function = function
        self.is_async = is_async(function)
        """It runs on the event loop."""
        self.is_coroutine_function = inspect.iscoroutinefunction(function)
        """Calling it always gives a coroutine."""
        self.label = describe(function)
        self.place = locate(function)
        self.names = names
        self.request_name = request_name
        self.passes_request = request_name is not None and not names and not leading and first == request_name
        """The request can be given as the only argument."""
        self.passes_values = bool(names) and request_name is None and set(names) == set(variables) and not leading
        """The path's values can be given as they are."""
        self.is_plain = self.is_coroutine_function and (
            self.passes_request or self.passes_values or not (names or request_name or variables)
        )
        """A coroutine function to which the walk can give its arguments as they are."""
        self.call = self._make_call(leading)

    @classmethod
    def of_endpoint(cls, function: Callable[..., Any], label: str) -> "Plan":
        """The plan of one of microweb's own coroutine functions, which takes the request and nothing else."""
        plan = cls(function, (), "request", first="request")
        plan.call = function
        plan.label = label
        return plan

    def _make_call(self, leading: int) -> Call:
        function, names, request_name = self.function, self.names, self.request_name
        face: Callable[[Any], Any] = (lambda request: request) if self.is_async else SyncRequest.of
        if not names and request_name is None:
            if leading:
                return lambda request, *given: function(*given)
            return lambda request: function()
        if not names and request_name is not None:
            name = request_name
            return lambda request, *given: function(*given, **{name: face(request)})

        def call(request: Incoming, *given: Any) -> Any:
            values = request.view_args
            arguments = {name: values[name] for name in names if name in values}
            if request_name is not None:
                arguments[request_name] = face(request)
            return function(*given, **arguments)

        return call


def make_plan(
    function: Callable[..., Any],
    *,
    what: str,
    variables: Collection[str] = (),
    leading: int = 0,
) -> Plan:
    """Decide how ``function`` is called.

    ``variables`` are the names that the path provides, ``leading`` the number of positional arguments given first
    (an ``after_request`` function gets the response, an error handler the error).

    Raises:
        SetupError: a parameter is none of these and has no default, or a ``def`` function asks for ``Request``.
    """
    asynchronous = is_async(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return Plan(function, tuple(variables), leading=leading, variables=variables)
    hints = find_hints(function)
    names: list[str] = []
    request_name: str | None = None
    positional = 0
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            names.extend(name for name in variables if name not in names)
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if positional < leading and parameter.kind is not parameter.KEYWORD_ONLY:
            positional += 1
            continue
        hint = hints.get(parameter.name, parameter.annotation)
        if parameter.name in variables:
            names.append(parameter.name)
        elif is_request(parameter.name, hint):
            if not asynchronous and hint is Request:
                raise SetupError(
                    f"{what} {describe(function)} is a plain def and runs in a thread, so its parameter "
                    f"{parameter.name!r} is a SyncRequest, not a Request; annotate SyncRequest, or make it async "
                    f"({locate(function)})"
                )
            request_name = parameter.name
        elif parameter.default is parameter.empty:
            known = ", ".join(repr(name) for name in variables) or "none"
            raise SetupError(
                f"{what} {describe(function)} has a parameter {parameter.name!r} that nothing provides: it is no "
                f"path variable (there: {known}), not 'request', and has no annotation that says where it comes "
                f"from ({locate(function)})"
            )
    first = next(iter(signature.parameters.values()), None)
    return Plan(
        function,
        tuple(names),
        request_name,
        leading=leading,
        variables=variables,
        first=first.name if first is not None and first.kind is not first.KEYWORD_ONLY else None,
    )


def is_request(name: str, hint: Any) -> bool:
    """Whether a parameter stands for the request, by its name or its annotation."""
    if isinstance(hint, type) and issubclass(hint, Incoming):
        return True
    return name in ("request", "websocket") and hint in (inspect.Parameter.empty, Any)


def find_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations as objects; those that cannot be resolved stay as they are written."""
    inner = unwrapped(function)
    if not getattr(inner, "__annotations__", None):
        return {}
    try:
        return get_type_hints(inner, include_extras=True)
    except (NameError, TypeError):
        return {}
