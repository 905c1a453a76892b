"""Start and stop of an app by ASGI's lifespan protocol, played from the server's side.

The app's lifespan call runs in a detached task, so a client may be opened by one task and closed by another.
Used by ``Client``.
"""

from __future__ import annotations

from typing import Any

import anyio

from microweb.asgi import ASGIApp, Message, Receive, Scope, Send
from microweb.failures import LifespanFailed
from microweb.testing.call import AppHangs, find_app_error
from microweb.testing.conversation import LintError
from microweb.testing.detached import DetachedTask
from microweb.testing.lint import Lint

__all__ = ["Lifecycle"]

STOP_LIMIT = 30.0
"""Seconds for a shutdown: an app's own limits, 15 s for requests and 5 s for background work, fit into it."""


class Lifecycle:
    """One run of an app's lifespan; ``state`` is what the app put into the scope's ``state``.

    An app without lifespan is left in peace: it raises before it calls ``receive``, returns, or answers in
    another protocol.
    """

    def __init__(self, app: ASGIApp, *, spec_version: str, lint: bool) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._lint = lint
        self._noted: list[BaseException] = []
        self._faults: list[LintError] = []
        self._answered = anyio.Event()
        self._stopping = anyio.Event()
        self._stage = "none"
        self._failure: str | None = None
        self._unknown = False
        self._task: DetachedTask | None = None
        self._scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "state": self.state,
            "extensions": {"microweb.errors": self._noted},
        }

    async def start(self) -> None:
        """Send ``lifespan.startup`` and wait for the answer.

        Raises:
            Exception: the app's own, when it failed to start and raised or noted it.
            LifespanFailed: the app sent ``lifespan.startup.failed`` and nothing else is known.
        """
        self._task = DetachedTask(self._call, "test lifespan")
        try:
            await self._answered.wait()
        except BaseException:
            await self._end_task(self._task, 0.0)
            raise
        if self._stage == "started":
            return
        await self._end_task(self._task, STOP_LIMIT)
        task, self._task = self._task, None
        if self._unknown or (self._stage == "none" and isinstance(task.error, Exception)):
            return
        self._raise_failure(task.error)

    async def stop(self) -> None:
        """Send ``lifespan.shutdown`` and wait for the app's lifespan call to end.

        Raises:
            Exception: the app's own, when it failed to stop.
            LifespanFailed: the app sent ``lifespan.shutdown.failed`` and nothing else is known.
            AppHangs: the app did not stop; it was cancelled.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        if not await self._end_task(task, STOP_LIMIT):
            raise AppHangs(f"the app was still shutting down after {STOP_LIMIT:g} s; it was cancelled")
        self._raise_failure(task.error)

    async def _end_task(self, task: DetachedTask, seconds: float) -> bool:
        if await task.wait_until(anyio.current_time() + seconds):
            return True
        task.cancel()
        await task.wait_until(anyio.current_time() + STOP_LIMIT)
        return False

    def _raise_failure(self, raised: BaseException | None) -> None:
        error = find_app_error(self._faults, self._noted, raised, raise_errors=True)
        if error is not None:
            raise error
        if self._failure is not None:
            raise LifespanFailed(self._failure or "the app gave no reason")

    async def _call(self) -> None:
        app = Lint(self._app_or_stranger, faults=self._faults) if self._lint else self._app_or_stranger
        try:
            await app(self._scope, self._receive, self._send)
        finally:
            self._answered.set()

    async def _app_or_stranger(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Notice an app that answers in another protocol before the lint calls that a fault."""

        async def send_lifespan(message: Message) -> None:
            if not str(message.get("type")).startswith("lifespan."):
                self._unknown = True
                raise RuntimeError("this connection is a lifespan")
            await send(message)

        await self._app(scope, receive, send_lifespan)

    async def _receive(self) -> Message:
        if self._stage == "none":
            self._stage = "starting"
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self._stage = "started"
        elif kind.endswith(".failed"):
            self._stage = "failed"
            self._failure = str(message.get("message", ""))
        self._answered.set()
