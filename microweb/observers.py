"""Observers: functions that are told what happens in one app, and change nothing.

========================  =====================================  =======================================
event                     when                                   details that a function may name
========================  =====================================  =======================================
``request_started``       before the first middleware            app, request
``request_finished``      the answer is ready, not yet sent      app, request, response
``exception``             an unhandled error was logged          app, request, error
``template_rendered``     after a template was rendered          app, template, context
``context_torn_down``     after the teardown hooks, and when     app, request, error
                          an app context ends, with no request
========================  =====================================  =======================================

An observer takes the details that it names. One that fails is logged and disturbs nobody. Which events
have listeners is known when handlers are composed, so nobody listening costs nothing. A ``def`` function is called on
the loop; of ``context_torn_down`` in the worker thread of what ends, if that has used one: see ``notify``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from microweb.callables import is_async
from microweb.errors import SetupError

if TYPE_CHECKING:
    from microweb.workers import Worker

__all__ = ["EVENTS", "Observers"]

Function = TypeVar("Function", bound=Callable[..., Any])

EVENTS = {
    "request_started": ("app", "request"),
    "request_finished": ("app", "request", "response"),
    "exception": ("app", "request", "error"),
    "template_rendered": ("app", "template", "context"),
    "context_torn_down": ("app", "request", "error"),
}

FLASKS_NAMES = {"e": "error", "exc": "error", "exception": "error"}
"""What Flask's own pages call the error of a teardown function or a signal: left at its default, it would be None."""

logger = logging.getLogger("microweb")


class Observer:
    """A function that is told of an event, looked at once."""

    __slots__ = ("function", "is_async", "names")

    def __init__(self, function: Callable[..., Any], event: str) -> None:
        self.function = function
        self.names = wanted_details(function, event)
        self.is_async = is_async(function)

    def given(self, details: dict[str, Any]) -> Callable[[], Any]:
        """The function with the details that it names."""
        return partial(self.function, **{name: details[detail] for name, detail in self.names.items()})


class Observers:
    """The observers of one app."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._observers: dict[str, list[Observer]] = {}

    def adder(self, event: str) -> Callable[[Function], Function]:
        """A decorator that adds a function to ``event``.

        Raises:
            SetupError: there is no such event, or the function asks for a detail that the event lacks.
        """
        if event not in EVENTS:
            raise SetupError(f"there is no event {event!r}; the events are {', '.join(EVENTS)}")

        def add(function: Function) -> Function:
            self._observers.setdefault(event, []).append(Observer(function, event))
            return function

        return add

    def observes(self, event: str) -> bool:
        """Whether anybody listens to ``event``."""
        return event in self._observers

    async def notify(self, event: str, *, worker: Worker | None = None, **details: Any) -> None:
        """Tell the observers of ``event``, one after the other; a cancellation waits until all have been told.

        With a ``worker`` the ``def`` functions run in its thread, as the rest of what it has run: what was opened
        there, an ``sqlite3`` connection in ``g`` above all, can be closed nowhere else.
        """
        interrupted: BaseException | None = None
        details["app"] = self.app
        for observer in self._observers.get(event, ()):
            call = observer.given(details)
            try:
                if worker is None or observer.is_async:
                    value = call()
                else:
                    value = await worker.run_firmly(call, label=f"an observer of {event}")
                if hasattr(value, "__await__"):
                    await value
            except Exception:
                logger.exception("the observer %r of %s failed", observer.function, event)
            except GeneratorExit:
                raise  # the loop is gone: nothing can be awaited any more
            except BaseException as failure:  # noqa: BLE001 - raised again; what the others close must be closed
                interrupted = failure
        if interrupted is not None:
            try:
                raise interrupted
            finally:
                interrupted = None  # its traceback holds this frame

    def notify_now(self, event: str, **details: Any) -> None:
        """Tell the observers of ``event`` from synchronous code; coroutine functions run as background tasks."""
        details["app"] = self.app
        for observer in self._observers.get(event, ()):
            call = observer.given(details)
            try:
                if observer.is_async:
                    self.app.add_background_task(call)
                else:
                    call()
            except Exception:
                logger.exception("the observer %r of %s failed", observer.function, event)

    def notify_and_wait(self, event: str, **details: Any) -> None:
        """Tell the observers of ``event`` from synchronous code; coroutine functions run to their end meanwhile."""
        details["app"] = self.app
        for observer in self._observers.get(event, ()):
            try:
                value = observer.given(details)()
                if hasattr(value, "__await__"):
                    from microweb.helperloops import run_sync

                    run_sync(finish, value)
            except Exception:
                logger.exception("the observer %r of %s failed", observer.function, event)


async def finish(value: Awaitable[object]) -> None:
    """Await what a coroutine function gave."""
    await value


def wanted_details(function: Callable[..., Any], event: str) -> dict[str, str]:
    """Which detail of ``event`` goes to each parameter of ``function``.

    Raises:
        SetupError: it names another one.
    """
    names: dict[str, str] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            return {**{detail: detail for detail in EVENTS[event] if detail not in names.values()}, **names}
        detail = FLASKS_NAMES.get(parameter.name, parameter.name)
        if detail in EVENTS[event]:
            names[parameter.name] = detail
        elif parameter.default is parameter.empty:
            raise SetupError(
                f"an observer of {event!r} may name {', '.join(EVENTS[event])}, not {parameter.name!r} ({function!r})"
            )
    return names
