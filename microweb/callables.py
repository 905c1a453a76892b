"""What can be found out about a function before it runs: where it stands, what it is called, what it takes.

Nothing is called here. ``binding.py`` decides from this how views, hooks and dependencies are called; error
texts take names and places from here.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from functools import partial
from typing import Any, get_type_hints

from microweb.incoming import Incoming

__all__ = ["Unresolved", "can_take", "describe", "find_hints", "is_async", "is_request", "locate", "unwrapped"]


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function below ``functools.partial`` and ``functools.wraps``: the one somebody wrote."""
    inner: Any = function
    while True:
        if isinstance(inner, partial):
            inner = inner.func
        elif hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        elif not inspect.isroutine(inner) and not isinstance(inner, type) and callable(inner):
            call = inner.__call__
            if not inspect.ismethod(call):
                break
            inner = call
        elif inspect.ismethod(inner):
            inner = inner.__func__
        else:
            break
    found: Callable[..., Any] = inner
    return found


def is_async(function: Callable[..., Any]) -> bool:
    """Whether ``function`` runs on the event loop: it, or what it wraps, is a coroutine function or async
    generator."""
    inner = unwrapped(function)
    return inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)


def can_take(function: Callable[..., Any], number: int) -> bool:
    """Whether ``function`` can be called with so many positional arguments; also true where Python cannot tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(number))
    except TypeError:
        return False
    return True


def describe(function: Callable[..., Any]) -> str:
    """The function's name as error texts show it: ``view blog.views.post``."""
    inner = unwrapped(function)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{getattr(inner, '__module__', '')}.{name}".lstrip(".")


def locate(function: Callable[..., Any]) -> str:
    """File and line where the function was written."""
    inner = unwrapped(function)
    code = getattr(inner, "__code__", None)
    if code is None and isinstance(inner, type):
        code = getattr(constructor_of(inner), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else describe(function)


def constructor_of(kind: Any) -> Callable[..., Any]:
    """The function that has the parameters of a class."""
    constructor: Callable[..., Any] = kind.__init__
    return constructor


class Unresolved:
    """An annotation that is only text, since a name in it is not known where the function was written.

    ``from __future__ import annotations`` makes all of them text, and names that were imported inside a
    function or under ``TYPE_CHECKING`` cannot be looked up.
    """

    __slots__ = ("problem", "text")

    def __init__(self, text: str, problem: str) -> None:
        self.text = text
        self.problem = problem

    def names(self, *classes: str) -> bool:
        """Whether the text is the name of one of these classes, bare or behind a module's."""
        return self.text.strip("'\"").rpartition(".")[2] in classes


OF_TYPING: dict[str, Any] = {
    name: getattr(typing, name)
    for name in ("Annotated", "Any", "Literal", "Optional", "Union", "Iterable", "Iterator", "Generator")
    + ("AsyncIterable", "AsyncIterator", "AsyncGenerator", "Mapping", "Sequence")
}
"""Known in every annotation: linters move their imports under ``TYPE_CHECKING``. No names of a program's classes."""


def find_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations as objects, each one resolved if it can be; one that cannot is an ``Unresolved``."""
    inner = unwrapped(function)
    if isinstance(inner, type):
        inner = constructor_of(inner)
    annotations = getattr(inner, "__annotations__", None)
    if not annotations:
        return {}
    # A function inside another one knows that one's variables, if its own code uses them.
    names = getattr(inner, "__globals__", {})
    local = inspect.getclosurevars(inner).nonlocals if getattr(inner, "__closure__", None) else {}
    try:
        return get_type_hints(inner, names, local, include_extras=True)
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything; now each one by itself
        names = OF_TYPING | names
        return {name: find_hint(annotation, names, local) for name, annotation in annotations.items()}


def find_hint(annotation: Any, names: dict[str, Any], local: Any) -> Any:
    holder = Annotations()
    holder.__annotations__ = {"it": annotation}
    try:
        return get_type_hints(holder, names, local, include_extras=True)["it"]
    except Exception as error:  # noqa: BLE001
        text = annotation if isinstance(annotation, str) else repr(annotation)
        return Unresolved(text, str(error) or type(error).__name__)


class Annotations:
    """A place for one annotation, for ``get_type_hints`` to look at."""

    __annotations__: dict[str, Any]


def is_request(name: str, hint: Any) -> bool:
    """Whether a parameter stands for the request, by its annotation or its name."""
    if isinstance(hint, type) and issubclass(hint, Incoming):
        return True
    if name not in ("request", "websocket"):
        return False
    if isinstance(hint, Unresolved):
        return hint.names("Request", "SyncRequest", "WebSocket", "Incoming", "Any")
    return hint in (inspect.Parameter.empty, Any)
