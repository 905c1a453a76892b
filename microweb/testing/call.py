"""One call of an app for one connection, seen from the server: who runs it, who ends it, which error counts.

``Exchange`` (HTTP) and ``WebSocketSession`` add their protocol to it; the lifecycle, which is no connection,
takes only the rule about errors from here. An app reports what it answered by itself with a 500 by appending
the exception to the list in ``scope["extensions"]["microweb.errors"]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import anyio
import anyio.lowlevel

from microweb.asgi import ASGIApp, Message, Scope
from microweb.errors import ClientDisconnect
from microweb.testing.conversation import LintError
from microweb.testing.detached import DetachedTask
from microweb.testing.lint import Lint

__all__ = ["AppCall", "AppHangs", "ClientGone", "find_app_error"]


class ClientGone(ConnectionError):
    """What ``send`` raises in the app after the client left (ASGI HTTP 2.4: "a subclass of OSError")."""


class AppHangs(AssertionError):
    """The client left, the grace period passed, and the app was still running; it was cancelled."""


class AppCall(ABC):
    """A call of ``app``, running from ``begin`` on; ``left`` says that its client has gone."""

    def __init__(self, app: ASGIApp, scope: Scope, *, raise_errors: bool, lint: bool, grace: float) -> None:
        self.scope = scope
        self.left = False
        self._faults: list[LintError] = []
        self._app = Lint(app, faults=self._faults) if lint else app
        self._name = f"{scope.get('method', 'websocket')} {scope['path']}"
        self._raise_errors = raise_errors
        self._grace = grace
        self._abandoned = False
        self._raised = False
        self._hung: AppHangs | None = None
        self._task: DetachedTask

    def begin(self) -> None:
        """Call the app; a task factory may run its first step right here."""
        self._task = DetachedTask(self._run, f"test of {self._name}")

    @property
    def running(self) -> bool:
        """Whether the app's coroutine is still running."""
        return self._task.running

    @abstractmethod
    def disconnect(self) -> None:
        """Leave without a word, as a closed laptop does; the app finds out by ``receive`` and ``send``."""

    def abandon(self) -> None:
        """Leave because the test itself was cancelled: whoever closes the client waits for the app."""
        self._abandoned = True
        self.disconnect()

    async def end(self, deadline: float) -> None:
        """Wait for the app until ``deadline`` on the loop's clock, then cancel it."""
        if await self._task.wait_until(deadline):
            return
        self._task.cancel()
        cancelled = await self._task.wait_until(anyio.current_time() + self._grace)
        self._hung = AppHangs(
            f"{self._name}: the client left, but {self._grace:g} s later the app was still running;"
            f" it was cancelled{'' if cancelled else ' and did not heed that'}."
            " Does it wait for something other than receive()?"
        )

    async def finish(self) -> None:
        """Leave, and wait for the app's coroutine to end.

        Raises:
            AppHangs: the app was still running after the grace period; it was cancelled.
            Exception: the app's own, unless the client was made with ``raise_errors=False``.
        """
        self.disconnect()
        if not self._abandoned:
            await self.end(anyio.current_time() + self._grace)
            self.raise_error()

    def raise_error(self) -> None:
        """Raise what went wrong in the app or between the two sides; each error once."""
        error = self.take_error()
        if error is not None:
            raise error

    def take_error(self) -> BaseException | None:
        """What went wrong, the first time it is asked for."""
        error = None if self._raised else self._find_error()
        self._raised = self._raised or error is not None
        return error

    def _find_error(self) -> BaseException | None:
        if self._hung is not None:
            return self._hung
        noted = self.scope["extensions"]["microweb.errors"]
        raised = self._task.error
        if self.left and isinstance(raised, Exception) and is_departure(raised):
            raised = None
        return find_app_error(self._faults, noted, raised, raise_errors=self._raise_errors)

    async def _run(self) -> None:
        try:
            await self._app(self.scope, self._receive, self._send)
        finally:
            self._release()

    @abstractmethod
    async def _receive(self) -> Message: ...

    @abstractmethod
    async def _send(self, message: Message) -> None: ...

    @abstractmethod
    def _release(self) -> None:
        """Let everybody go who waits for the other side."""

    async def _refuse(self) -> None:
        """Tell the app that nobody is left, as its version of ASGI has it."""
        # A checkpoint, so that an app which sends for ever into silence can be cancelled.
        await anyio.lowlevel.checkpoint()
        if [int(part) for part in self.scope["asgi"]["spec_version"].split(".")] >= [2, 4]:
            raise ClientGone("the client has disconnected")


def find_app_error(
    faults: list[LintError], noted: list[BaseException], raised: BaseException | None, *, raise_errors: bool
) -> BaseException | None:
    """Which error a test should see: a broken rule, then what the app noted, then what it raised."""
    if faults:
        return faults[0]
    if raised is not None and not isinstance(raised, Exception):
        return raised  # pytest.fail() and its like are verdicts, whatever raise_errors says
    if not raise_errors:
        return None
    return noted[0] if noted else raised


def is_departure(error: BaseException) -> bool:
    """Whether ``error`` only says that the client left."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_departure, error.exceptions))
    return isinstance(error, ClientGone | ClientDisconnect)
