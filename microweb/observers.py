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
have listeners is known when handlers are composed, so nobody listening costs nothing.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from microweb.callables import is_async
from microweb.errors import SetupError

__all__ = ["EVENTS", "Observers"]

Function = TypeVar("Function", bound=Callable[..., Any])

EVENTS = {
    "request_started": ("app", "request"),
    "request_finished": ("app", "request", "response"),
    "exception": ("app", "request", "error"),
    "template_rendered": ("app", "template", "context"),
    "context_torn_down": ("app", "request", "error"),
}

logger = logging.getLogger("microweb")


class Observers:
    """The observers of one app."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._functions: dict[str, list[tuple[Callable[..., Any], tuple[str, ...]]]] = {}

    def adder(self, event: str) -> Callable[[Function], Function]:
        """A decorator that adds a function to ``event``.

        Raises:
            SetupError: there is no such event, or the function asks for a detail that the event lacks.
        """
        if event not in EVENTS:
            raise SetupError(f"there is no event {event!r}; the events are {', '.join(EVENTS)}")

        def add(function: Function) -> Function:
            self._functions.setdefault(event, []).append((function, wanted_details(function, event)))
            return function

        return add

    def observes(self, event: str) -> bool:
        """Whether anybody listens to ``event``."""
        return event in self._functions

    async def notify(self, event: str, **details: Any) -> None:
        """Tell the observers of ``event``, one after the other; a cancellation waits until all have been told."""
        interrupted: BaseException | None = None
        for function, names in self._functions.get(event, ()):
            details["app"] = self.app
            try:
                value = function(**{name: details[name] for name in names})
                if hasattr(value, "__await__"):
                    await value
            except Exception:
                logger.exception("the observer %r of %s failed", function, event)
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
        for function, names in self._functions.get(event, ()):
            details["app"] = self.app
            given = {name: details[name] for name in names}
            try:
                if is_async(function):
                    self.app.add_background_task(lambda function=function, given=given: function(**given))
                else:
                    function(**given)
            except Exception:
                logger.exception("the observer %r of %s failed", function, event)

    def notify_and_wait(self, event: str, **details: Any) -> None:
        """Tell the observers of ``event`` from synchronous code; coroutine functions run to their end meanwhile."""
        for function, names in self._functions.get(event, ()):
            details["app"] = self.app
            try:
                value = function(**{name: details[name] for name in names})
                if hasattr(value, "__await__"):
                    from microweb.helperloops import run_sync

                    run_sync(finish, value)
            except Exception:
                logger.exception("the observer %r of %s failed", function, event)


async def finish(value: Awaitable[object]) -> None:
    """Await what a coroutine function gave."""
    await value


def wanted_details(function: Callable[..., Any], event: str) -> tuple[str, ...]:
    """The details of ``event`` that ``function`` names.

    Raises:
        SetupError: it names another one.
    """
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            return EVENTS[event]
        if parameter.name in EVENTS[event]:
            names.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise SetupError(
                f"an observer of {event!r} may name {', '.join(EVENTS[event])}, not {parameter.name!r} ({function!r})"
            )
    return tuple(names)
