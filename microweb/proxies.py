"""The proxies, and what works on whatever is current: ``request``, ``session``, ``g``, ``current_app``, ``url_for``.

A proxy looks the current object up at each use and behaves as that object in every way; type checkers see the
real class. In ``def`` code, which runs in a worker thread, ``request`` is the ``SyncRequest`` face.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from microweb.app import App
from microweb.callables import is_async
from microweb.context import AppContext, Context, Globals, current
from microweb.errors import OutsideContextError
from microweb.incoming import Incoming
from microweb.requests import Request, SyncRequest
from microweb.whereabouts import whereabouts

if TYPE_CHECKING:
    from microweb.sessions import Session
    from microweb.websockets import WebSocket

__all__ = [
    "Proxy",
    "after_this_request",
    "copy_current_context",
    "current_app",
    "find_context",
    "find_incoming",
    "g",
    "request",
    "session",
    "url_for",
    "websocket",
]

Function = TypeVar("Function", bound=Callable[..., Any])

APP_OR_REQUEST = (
    "a request and without an app context",
    "`with app.app_context():` or `with app.test_request_context():`",
)
REQUEST_ONLY = "a request or websocket", "`with app.test_request_context():`"


def find_context(name: str, needs: tuple[str, str] = APP_OR_REQUEST) -> Context:
    """What is current, for the proxy called ``name``; ``needs`` is what it would be there in.

    Raises:
        OutsideContextError: nothing is, or it is over.
    """
    context = current.get(None)
    if context is None:
        raise OutsideContextError(
            f"{name} was used outside of {needs[0]}; inside a view it just works, in scripts and tests use {needs[1]}"
        )
    if context.closed:
        raise OutsideContextError(
            f"{name} was used after its request was over, in a task or thread that outlived it; wrap the function with "
            "copy_current_context(function) before you hand it on, or use app.add_background_task"
        )
    return context


def find_incoming(name: str) -> Incoming:
    """The current request or websocket, for the proxy called ``name``.

    Raises:
        OutsideContextError: there is none.
    """
    context = find_context(name, REQUEST_ONLY)
    if not isinstance(context, Incoming):
        raise OutsideContextError(
            f"{name} was used in an app context, where there is no request: pass what you need as an argument, or use "
            "`with app.test_request_context():` in a test"
        )
    return context


def find_request() -> Any:
    """What ``request`` stands for now."""
    found = find_incoming("request")
    if isinstance(found, Request) and whereabouts.in_worker:
        return SyncRequest.of(found)
    return found


def find_websocket() -> Any:
    """What ``websocket`` stands for now.

    Raises:
        OutsideContextError: what is current is no websocket.
    """
    found = find_incoming("websocket")
    if isinstance(found, Request | SyncRequest):
        raise OutsideContextError(
            f"websocket was used in the request {found.method} {found.path!r}, which is none: `request` stands for it"
        )
    return found


def find_session() -> Any:
    """What ``session`` stands for now."""
    # PERF(pages.session): a view asks again and again for the session that is there already.
    context = current.get(None)
    if isinstance(context, Incoming) and context._session is not None and not context.closed:
        return context._session
    return find_incoming("session").session


def find_globals() -> Globals:
    """What ``g`` stands for now."""
    return find_context("g").g


def find_app() -> Any:
    """What ``current_app`` stands for now."""
    return find_context("current_app").app


def forward(operation: Callable[..., Any]) -> Any:
    """A special method that does ``operation`` with the current object."""

    def method(self: Proxy, *args: Any) -> Any:
        return operation(self._find(), *args)

    return method


class Proxy:
    """Stands for an object that is found anew at each use."""

    __slots__ = ("_find",)

    _find: Callable[[], Any]

    def __init__(self, find: Callable[[], Any]) -> None:
        object.__setattr__(self, "_find", find)

    def _get_current_object(self) -> Any:
        """The object itself, for handing it on: Flask's spelling."""
        return self._find()

    @property  # type: ignore[misc]  # the point of a proxy: it is no Proxy to whoever asks
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The class of the current object, so that ``isinstance`` sees through the proxy; ``Proxy`` without one."""
        try:
            return type(self._find())
        except OutsideContextError:
            return Proxy

    def __getattr__(self, name: str) -> Any:
        try:
            found = self._find()
        except OutsideContextError as error:
            if name.startswith("__"):
                # What walks through a module, as doctest does, asks for `__wrapped__` and takes only a no.
                raise AttributeError(str(error)) from None
            raise
        return getattr(found, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._find(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._find(), name)

    def __repr__(self) -> str:
        try:
            return repr(self._find())
        except OutsideContextError:
            return "<unbound proxy>"

    def __bool__(self) -> bool:
        try:
            return bool(self._find())
        except OutsideContextError:
            return False

    # The object is copied: a proxy made without __init__ has nothing to look it up with.
    def __copy__(self) -> Any:
        from copy import copy

        return copy(self._find())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        from copy import deepcopy

        return deepcopy(self._find(), memo)

    def __dir__(self) -> list[str]:
        try:
            return dir(self._find())
        except OutsideContextError:
            return []

    __str__ = forward(str)
    __len__ = forward(len)
    __iter__ = forward(iter)
    __contains__ = forward(operator.contains)
    __getitem__ = forward(operator.getitem)
    __setitem__ = forward(operator.setitem)
    __delitem__ = forward(operator.delitem)
    __eq__ = forward(operator.eq)
    __hash__ = forward(hash)
    __call__ = forward(operator.call)
    __or__ = forward(operator.or_)
    __ror__ = forward(lambda ours, theirs: theirs | ours)
    __reversed__ = forward(reversed)


class SessionProxy(Proxy):
    """``session``: what every view with a session does, without the way through ``__getattr__``. PERF(pages.session)"""

    __slots__ = ()

    def get(self, key: str, default: Any = None) -> Any:
        """As ``dict.get``."""
        return find_session().get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in find_session()

    def __getitem__(self, key: str) -> Any:
        return find_session()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        find_session()[key] = value


if TYPE_CHECKING:
    request: Request
    session: Session
    g: Globals
    current_app: App
    websocket: WebSocket
else:
    request = Proxy(find_request)
    session = SessionProxy(find_session)
    g = Proxy(find_globals)
    current_app = Proxy(find_app)
    websocket = Proxy(find_websocket)


def url_for(endpoint: str, **values: Any) -> str:
    """The URL of an endpoint of the current app; see ``App.url_for``.

    Raises:
        BuildError: there is no such endpoint, or it needs other values.
        OutsideContextError: there is no current app.
    """
    app: App = find_context("url_for").app
    return app.url_for(endpoint, **values)


def after_this_request(function: Function) -> Function:
    """Pass this request's answer through ``function(response)``, last before it is sent; None keeps it.

    Raises:
        OutsideContextError: there is no current request.
        RuntimeError: the answer is on its way already.
    """
    incoming = find_incoming("after_this_request")
    if incoming._started:
        raise RuntimeError(
            "after_this_request was used when the answer was on its way already, in a streamed body for example; use "
            "it before the view returns, or `request.after_response(function)` for what may come after the answer"
        )
    if is_async(function):
        incoming.on_finish(function)
    else:
        # As every def callable of a request: in its worker thread, where a connection that it opened still works.
        incoming.on_finish(partial(incoming.worker.run, function))
    return function


def copy_current_context(function: Function) -> Function:
    """``function``, bound to a copy of what is current: for tasks and threads that outlive the request.

    The copy shares ``g`` and the session with the original and stays usable after the request is over;
    the body is there if it was read before. In a ``def`` function ``request`` is the ``SyncRequest``.

    Raises:
        OutsideContextError: nothing is current.
    """
    context = find_context("copy_current_context")
    copied: Context
    if isinstance(context, Incoming):
        copied = object.__new__(find_face(context, function))
        copied.__dict__.update(context.__dict__)
        copied.__dict__["_g"] = context.g
    else:
        copied = AppContext(context.app)
        copied.g = context.g

    if is_async(function):

        @wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            token = current.set(copied)
            try:
                return await function(*args, **kwargs)
            finally:
                current.reset(token)

        return run_async  # type: ignore[return-value]  # the same signature, which wraps() cannot say

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        token = current.set(copied)
        try:
            return function(*args, **kwargs)
        finally:
            current.reset(token)

    return run  # type: ignore[return-value]


def find_face(incoming: Incoming, function: Callable[..., Any]) -> type[Incoming]:
    """The class that ``request`` has in ``function``: of the two faces of a request, the one for its kind."""
    if not isinstance(incoming, Request | SyncRequest):
        return type(incoming)
    kind = incoming.app.request_class
    return kind if is_async(function) else SyncRequest.face_of(kind)
