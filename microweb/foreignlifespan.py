"""The lifespans of apps that are not ours, mounted in one that is.

Here we are the server: we start the app in a task of its own, send it the messages of the ASGI lifespan
protocol and act on its answers. ``app.py`` enters one for each mounted app on its exit stack::

    offered    --it asks for a message--> starting, where an app that answers first has never been
    starting   --startup.complete--> serving      --startup.failed--> failed
    serving    --its owner's exit--> stopping
    stopping   --shutdown.complete--> stopped     --shutdown.failed--> failed
    any        --cancelled by its owner--> stopped
"""

from __future__ import annotations

import logging
import math
from collections.abc import MutableMapping
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from microweb.asgi import ASGIApp, Message, Scope
from microweb.failures import LifespanFailed, describe, name_of
from microweb.lifespanstate import add_missing
from microweb.loops import current_task, forget_cancellation, is_cancelled, spawn, without_cancellation

if TYPE_CHECKING:
    import anyio

__all__ = ["ForeignLifespan"]

MARGIN: Final = 0.5  # seconds for an app to notice that it was cancelled

logger = logging.getLogger("microweb")


class ForeignLifespan:
    """The lifespan of a mounted ASGI app, run in a task of its own; an async context manager.

    An app that rejects the scope (it raises, or returns without an answer) is taken as having no
    lifespan, as the specification asks. The app fills a copy of ``state``; names that are not in ``state``
    yet are added there, for all requests, and what it has under others is in ``own``, for its own. ``grace`` is
    the time in seconds that it may take to shut down before it is cancelled.

    >>> async def app(scope, receive, send):
    ...     await receive()
    ...     await send({"type": "lifespan.startup.complete"})
    ...     await receive()
    ...     await send({"type": "lifespan.shutdown.complete"})
    >>> async def main():
    ...     async with ForeignLifespan(app, {}) as lifespan:
    ...         return lifespan.supported
    >>> import asyncio
    >>> asyncio.run(main())
    True

    Raises:
        LifespanFailed: on entry, the app answered ``startup.failed``; on exit, it answered
            ``shutdown.failed``, raised, or had to be cancelled.
    """

    def __init__(
        self, app: ASGIApp, state: MutableMapping[str, Any], *, grace: float = 5.0, name: str | None = None
    ) -> None:
        self.state: dict[str, Any] = dict(state)
        self.own: dict[str, Any] = {}
        self.supported = False
        self._app = app
        self._shared = state
        self._grace = grace
        self._name = name or name_of(app)
        self._phase = "offered"
        self._asked = False
        self._failure: str | None = None
        self._cause: BaseException | None = None
        self._scope: anyio.CancelScope | None = None
        self._task: object = None
        self._owner: object = None

    async def __aenter__(self) -> Self:
        import anyio

        self._answered = anyio.Event()
        self._stop = anyio.Event()
        self._ended = anyio.Event()
        self._owner = current_task()
        self._task = spawn(
            self._run,
            self._end,
            name=f"microweb lifespan of {self._name}",
            context=copy_context(),
            loop_ends=lambda: math.inf,  # its owner is told too, and ends it in its turn
        )
        try:
            await self._answered.wait()
        except GeneratorExit:
            raise
        except BaseException:
            if self._phase == "serving":  # it has started, in the moment of the cancellation: it is to stop
                with anyio.CancelScope(shield=True):
                    await self.__aexit__(None, None, None)
            else:
                await self._cancel()
            raise
        if self._failure is not None:
            await self._finish()
        self.supported = self._phase == "serving"
        self.own = add_missing(self._shared, self.state)
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        await self._finish()

    async def _finish(self) -> None:
        """Wait for the app to return; say how it failed."""
        import anyio

        try:
            with anyio.move_on_after(self._grace):
                await self._ended.wait()
        except GeneratorExit:
            raise
        except BaseException:
            await self._cancel()
            raise
        if not self._ended.is_set():
            await self._cancel()
            self._failure = self._failure or f"its lifespan did not end within {self._grace:g} s and was cancelled"
        failure, cause = self._failure, self._cause
        self._failure = self._cause = None
        if failure is not None:
            raise LifespanFailed(f"mounted app {self._name}: {failure}") from cause

    async def _cancel(self) -> None:
        import anyio

        self._phase = "stopped"
        if self._scope is not None:
            self._scope.cancel()
        with anyio.move_on_after(MARGIN, shield=True):  # one that ignores its cancellation is left behind
            await self._ended.wait()

    async def _run(self) -> None:
        import anyio

        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._task = current_task()
        try:
            # Shielded: when a trio run ends, this task is to end by its shutdown message, in its turn.
            with anyio.CancelScope(shield=True) as self._scope:
                if self._phase == "offered":
                    await self._app(scope, self._receive, self._send)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - told to the owner, or logged
            if self._task is current_task():  # not so when the collector closes what a closed loop has left
                self._crashed(error)

    def _end(self) -> None:
        self._answered.set()
        self._ended.set()

    def _crashed(self, error: BaseException) -> None:
        failure = without_cancellation(error)
        if failure is None:
            return
        if self._phase == "offered":
            logger.debug("Mounted app %s has no lifespan: %s.", self._name, describe(failure))
        elif self._phase == "starting":
            logger.warning(
                "Mounted app %s raised at lifespan.startup; it is taken as having no lifespan.",
                self._name,
                exc_info=failure,
            )
        elif self._phase == "failed":
            self._cause = failure
        elif self._phase == "stopping":
            self._failure, self._cause = describe(failure), failure
        else:
            logger.error("The lifespan of mounted app %s failed.", self._name, exc_info=failure)

    async def _receive(self) -> Message:
        import anyio

        if not self._asked:
            self._asked = True
            if self._phase == "offered":  # some apps answer first
                self._phase = "starting"
            return {"type": "lifespan.startup"}
        while not self._stop.is_set():
            try:
                await self._stop.wait()
            except anyio.get_cancelled_exc_class():
                # A program that cancels every task of its loop cancels this one together with its owner,
                # who will come and say shutdown in its turn; any other cancellation is the app's affair.
                if not is_cancelled(self._owner):
                    raise
                forget_cancellation()
        if self._phase != "serving":
            await anyio.sleep_forever()
        self._phase = "stopping"
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and self._phase in ("offered", "starting"):
            self._phase = "serving"
        elif kind == "lifespan.startup.failed" and self._phase in ("offered", "starting"):
            self._phase = "failed"
            self._failure = message.get("message") or "its start failed"
        elif kind == "lifespan.shutdown.complete" and self._phase == "stopping":
            self._phase = "stopped"
        elif kind == "lifespan.shutdown.failed" and self._phase == "stopping":
            self._phase = "failed"
            self._failure = message.get("message") or "its shutdown failed"
        else:
            raise RuntimeError(f"unexpected message {kind!r} from a lifespan that is {self._phase}")
        self._answered.set()
