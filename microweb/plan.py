"""A plan: how one function is called, with nothing left to decide.

The plain kind, for functions that take path variables, the request, or nothing; ``boundplan.py`` has the kind
that fills parameters from all over the request. ``binding.py`` makes them, endpoints and hooks call them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from microweb.callables import describe, is_async, locate
from microweb.requests import SyncRequest

if TYPE_CHECKING:
    from microweb.parameters import Parameter

__all__ = ["Plan"]

Call = Callable[..., Any]
Change = Callable[[Any, Any, str], Any]


class Plan:
    """How one function is called: ``call(request, *leading)`` gives its value, or an awaitable if ``is_async``.

    ``names`` are the path variables it takes, ``takes_request`` the parameter that gets the request, if any.
    A plan is a plain call when it takes nothing else, so the endpoint may skip the indirection.
    """

    __slots__ = (
        "call",
        "function",
        "generates",
        "is_async",
        "is_coroutine_function",
        "is_plain",
        "label",
        "names",
        "original",
        "passes_one_value",
        "passes_request",
        "passes_values",
        "place",
        "request_name",
        "returns",
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
        self.original = function
        """The function as it was registered; ``function`` may be one that fills its parameters first."""
        self.returns: Any = None
        """Its return annotation."""
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
        self.passes_one_value = (
            self.passes_values
            and len(names) == 1
            and first == names[0]
            and inspect.isroutine(function)
            # A decorator that takes **values only shows the signature of what it wraps.
            and not (hasattr(function, "__wrapped__") or hasattr(function, "__signature__"))
        )
        """There is one such value, and it can be given without its name."""
        self.is_plain = self.is_coroutine_function and (
            self.passes_request or self.passes_values or not (names or request_name or variables)
        )
        """A coroutine function to which the walk can give its arguments as they are."""
        self.generates = inspect.isasyncgenfunction(function)
        """Calling it always gives an async generator, which is the answer."""
        self.call = self._make_call(leading)

    is_bound = False
    """Whether it fills parameters from all over the request (a ``BoundPlan``)."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters and where each comes from, for documents; ``leading`` ones left out."""
        from microweb.parameters import Parameter

        found = [Parameter(name, "path", alias=name) for name in self.names]
        if self.request_name is not None:
            found.append(Parameter(self.request_name, "request"))
        return tuple(found)

    @classmethod
    def of_endpoint(cls, function: Callable[..., Any], label: str) -> Plan:
        """The plan of one of microweb's own coroutine functions, which takes the request and nothing else."""
        plan = cls(function, (), "request", first="request")
        plan.call = function
        plan.label = label
        return plan

    def change_result(self, change: Change) -> None:
        """Pass each value through ``change(value, request, source)``."""
        self.call = change_call(self.call, change, f"view {self.label}", is_async=self.is_async)
        self.is_plain = self.generates = False

    def _make_call(self, leading: int) -> Call:
        function, names, request_name = self.function, self.names, self.request_name
        face: Callable[[Any], Any] = (lambda request: request) if self.is_async else SyncRequest.of
        if not names and request_name is None:
            if leading:
                return lambda request, *given: function(*given)
            return lambda request: function()
        if not names and request_name is not None:
            if self.is_async and self.passes_request:
                return function
            name = request_name
            return lambda request, *given: function(*given, **{name: face(request)})

        def call(request: Any, *given: Any) -> Any:
            values = request.view_args
            arguments = {name: values[name] for name in names if name in values}
            if request_name is not None:
                arguments[request_name] = face(request)
            return function(*given, **arguments)

        return call


def change_call(call: Call, change: Change, source: str, *, is_async: bool) -> Call:
    """``call``, each value passed through ``change``; a coroutine function if ``is_async``."""

    async def settle(value: Awaitable[Any], request: Any) -> Any:
        return change(await value, request, source)

    async def changed(request: Any, *leading: Any) -> Any:
        value = call(request, *leading)
        return await settle(value, request) if hasattr(value, "__await__") else change(value, request, source)

    def changed_in_thread(request: Any, *leading: Any) -> Any:
        value = call(request, *leading)
        return settle(value, request) if hasattr(value, "__await__") else change(value, request, source)

    return changed if is_async else changed_in_thread
