"""An event loop in a thread, for tests that block; they call into it and wait.

A thin coat over anyio's blocking portal: what a view raises beside ``Exception`` (``pytest.fail()``) would
end the portal itself, so it travels as a value. Used by ``SyncClient``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from anyio.from_thread import start_blocking_portal

__all__ = ["LoopThread"]

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


class LoopThread:
    """A running loop; ``stop`` ends it and its thread."""

    def __init__(self, backend: str, backend_options: dict[str, Any] | None) -> None:
        self._context = start_blocking_portal(backend, backend_options)
        self._portal = self._context.__enter__()

    def call(
        self,
        function: Callable[Parameters, Awaitable[Result]],
        *args: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Result:
        """Run an async function in the loop and wait for its result; its errors are raised here."""

        async def capture() -> tuple[Result, None] | tuple[None, BaseException]:
            try:
                return await function(*args, **options), None
            except BaseException as error:  # noqa: BLE001 - it is raised again below, on the test's side
                return None, error

        outcome = self._portal.call(capture)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **options: Parameters.kwargs
    ) -> Result:
        """Run a plain function in the loop's thread."""

        async def call_it() -> Result:
            return function(*args, **options)

        return self.call(call_it)

    def stop(self) -> None:
        """End the loop and join the thread."""
        self._context.__exit__(None, None, None)
