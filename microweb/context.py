"""What is current: one context variable, set once per request, and the objects that may stand in it.

The walk binds the request (or websocket) itself; outside a request an ``AppContext`` stands there.
The proxies on the top floor read this variable and nothing else does so behind a user's back.

State of the variable in a task::

    nothing  --App.__call__-->  Request  --teardown ended-->  nothing (and the Request is closed)
    Request  --whole answer-->  nothing, while it is sent  --teardown-->  Request
    nothing  --app_context()->  AppContext --exit-->          nothing
    Request  --background-->    AppContext with a new g, in a copied context

What ends is torn down first: the observers of ``context_torn_down`` are told while it is still current. Of a
request the walk tells them, of everything else ``tear_down`` and ``tear_down_now``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from microweb.absences import OF_A_CONTEXT, without
from microweb.contextvariables import ignore_variables

if TYPE_CHECKING:
    from types import TracebackType

    from microweb.workers import Worker

__all__ = ["AppContext", "Context", "Globals", "State", "current", "tear_down", "tear_down_now"]


class Globals:
    """The namespace ``g``: anything a program wants to keep for the length of one context.

    >>> g = Globals()
    >>> g.user = "ada"
    >>> "user" in g, g.get("theme", "light"), g.pop("user")
    (True, 'light', 'ada')
    """

    def __getattr__(self, name: str) -> Any:
        # Called only for what is not there; typed Any, since g holds whatever the program puts in it.
        raise AttributeError(f"g has no attribute {name!r} in this context; set it first or use g.get({name!r})")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def get(self, name: str, default: Any = None) -> Any:
        """The value under ``name``, or ``default``."""
        return self.__dict__.get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Take the value under ``name`` out.

        Raises:
            KeyError: it is not there and no default was given.
        """
        return self.__dict__.pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The value under ``name``, set to ``default`` first if it is missing."""
        return self.__dict__.setdefault(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __repr__(self) -> str:
        return f"<g with {', '.join(self.__dict__) or 'nothing'}>"


class State:
    """A place for what a program's lifespans make: ``app.state.pool = ...``."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"app.state has no attribute {name!r}; a lifespan may not have set it yet")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class Context(Protocol):
    """What can be current: it belongs to an app, has a ``g``, and can be over."""

    closed: bool
    _worker: Worker | None
    """Where its ``def`` code has run, if in a worker thread."""

    @property
    def app(self) -> Any:
        """The app it belongs to."""
        ...

    @property
    def g(self) -> Globals:
        """Its namespace, made at first touch."""
        ...


async def tear_down(context: Context, request: Any, error: BaseException | None) -> None:
    """Tell the observers that a context ends, shielded from cancellation, and close it; one that is closed is left."""
    if context.closed:
        return
    try:
        observers = context.app.observers
        if observers.observes("context_torn_down"):
            from anyio import CancelScope

            with CancelScope(shield=True):
                await observers.notify("context_torn_down", worker=context._worker, request=request, error=error)
    finally:
        context.closed = True


def tear_down_now(context: Context, request: Any, error: BaseException | None) -> None:
    """As ``tear_down``, from synchronous code; blocks until observers that are coroutine functions have ended."""
    if context.closed:
        return
    try:
        observers = context.app.observers
        if observers.observes("context_torn_down"):
            observers.notify_and_wait("context_torn_down", request=request, error=error)
    finally:
        context.closed = True


@without(OF_A_CONTEXT)
class AppContext:
    """An app without a request: what commands, background tasks and scripts run in; see ``App.app_context``."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.g = Globals()
        self.closed = False
        self._worker: Worker | None = None

    def __enter__(self) -> AppContext:
        self._token = current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            tear_down_now(self, None, error)
        finally:
            current.reset(self._token)

    async def __aenter__(self) -> AppContext:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await tear_down(self, None, error)
        finally:
            current.reset(self._token)

    def __repr__(self) -> str:
        return f"<AppContext of {self.app!r}>"


current: ContextVar[Context] = ContextVar("microweb.current")
ignore_variables(current)
