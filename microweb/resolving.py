"""The dependencies of one request: called in order, kept open, closed at the end.

The life of a generator dependency::

    not called --its node is reached--> open (at its yield) --answer complete or error--> closed

Complete is: the body is bytes (closed before the endpoint returns, in every scope it was opened in), or, of a
streamed body, the last byte is sent. An error of the view is raised at the ``yield``; what the generator
raises instead of it becomes the answer, what it swallows stays the answer.

``dependencies.py`` has decided what is called; ``boundplan.py`` makes a ``Resolution`` for each request.
"""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import TYPE_CHECKING, Any

from microweb.dependencies import WRONG, Errors, Node
from microweb.errors import InvalidParameters
from microweb.formreading import read_form
from microweb.loops import current_task, is_cancelled

if TYPE_CHECKING:
    from microweb.calls import SharedContext

__all__ = ["READER", "Resolution", "Run", "close_after"]

READER = "the body parameter"
"""Who reads the body, in the error of a second reader."""


class Resolution:
    """The dependencies of one request, from the first that is called to the last that is closed."""

    __slots__ = ("cache", "context", "holding", "is_in_thread", "opened", "request")

    def __init__(self, request: Any) -> None:
        self.request = request
        self.cache: dict[Any, Any] = {}
        self.opened: list[tuple[Node, Any, bool]] = []
        """The generators that stand at their ``yield``, and whether each holds a cancel scope there."""
        self.holding: Node | None = None
        """One that stands at its ``yield`` inside a cancel scope or a task group of its own."""
        self.context: SharedContext | None = None
        """In which ``def`` generators are opened and closed: each may reset what it has set by its token."""
        self.is_in_thread = False
        """Whether a thread is inside of that context."""

    def open(self, node: Node, generator: Any, *, holds: bool = False) -> None:
        """Note a generator that stands at its ``yield``, inside a cancel scope or a task group if it ``holds`` one."""
        if not self.opened:
            # For bodies that are streamed, and for whatever else keeps the endpoint from closing it.
            self.request.on_close(self.close_late)
        self.opened.append((node, generator, holds))
        if holds:
            self.holding = node

    def keep_context(self) -> None:
        """Let ``def`` functions run in one context from here on: a generator of them is about to be opened in it."""
        if self.context is None:
            from microweb.calls import SharedContext

            self.context = SharedContext()

    def check_streamable(self, source: str) -> None:
        """Refuse to stay open after the view where a cancel scope would be left open with it.

        Raises:
            RuntimeError: a dependency holds one; scopes end in the order in which they lie inside each other, and
                layers around the view have scopes too.
        """
        node = self.holding
        if node is not None:
            raise RuntimeError(
                f"{source} streams its body, but the {node.label} holds a cancel scope or a task group "
                f"across its yield, which cannot stay open after the view ({node.place}); return the whole body, or "
                "open it inside the stream"
            )

    async def close(self, error: BaseException | None) -> BaseException | None:
        """Close all generators, the last one first; returns the error that is left, which may be another one.

        Each is told of ``error``, whatever the others make of it.
        """
        left = error
        traceback = None if error is None else error.__traceback__
        while self.opened:
            node, generator, holds = self.opened.pop()
            raised: BaseException | None = None
            if error is None or isinstance(error, Exception) or holds:
                raised = await self._close_one(node, generator, error)
            else:
                from anyio import CancelScope

                # Cancelled: what the generator awaits to clean up must not be cancelled too. Around one that holds a
                # scope no other can be opened any more, for they end in the order in which they lie in each other.
                with CancelScope(shield=True):
                    raised = await self._close_one(node, generator, error)
            if raised is not None:
                left = raised
            if error is not None:
                # Without the steps through the generators: their frames hold the error, which would hold them.
                error.__traceback__ = traceback
        self.cache.clear()
        self.context = None
        return left

    async def _close_one(self, node: Node, generator: Any, error: BaseException | None) -> BaseException | None:
        """Close one; returns what it raises, if that is not ``error``: the others must be closed all the same."""
        try:
            if node.is_threaded:
                if self.is_in_thread:
                    self.context = None  # A thread that was left behind at a stop still has it.
                worker, context = self.request.worker, self.context
                await worker.run_firmly(
                    self.finish_in_thread, generator, error, node, label=node.label, context=context
                )
            else:
                await finish(generator, error, node)
        except BaseException as raised:  # noqa: BLE001 - raised by the caller
            if raised is not error:
                return raised
        return None

    def finish_in_thread(self, generator: Generator[Any, Any, Any], error: BaseException | None, node: Node) -> None:
        """``finish`` for a ``def`` generator; it may be left behind, and the others are closed all the same."""
        self.is_in_thread = True
        try:
            finish_in_thread(generator, error, node)
        finally:
            self.is_in_thread = False

    async def close_cleanly(self) -> None:
        """Close all generators after a success; raises what the first of them raises."""
        left = await self.close(None)
        if left is not None:
            try:
                raise left
            finally:
                del left

    async def close_late(self) -> None:
        """Close what is still open after the last byte, or after the request was cancelled."""
        if not self.opened:
            return
        # Called from the walk's `finally`: what passes through there, a cancellation, ends the request for us too.
        error: BaseException | None = sys.exc_info()[1]
        if error is None:
            error = self.request.notes.unhandled
        left = await self.close(error)
        try:
            if left is not None and left is not error:
                raise left
        finally:
            del left, error


async def finish(generator: AsyncGenerator[Any, None], error: BaseException | None, node: Node) -> None:
    """Let a generator go on from its ``yield``, or raise ``error`` there."""
    try:
        if error is None:
            await anext(generator)
        else:
            await generator.athrow(error)
    except StopAsyncIteration as stop:
        if stop is not error:
            return
        raise
    await generator.aclose()
    raise RuntimeError(f"the {node.label} yielded twice ({node.place})")


def finish_in_thread(generator: Generator[Any, Any, Any], error: BaseException | None, node: Node) -> None:
    try:
        if error is None:
            next(generator)
        else:
            generator.throw(error)
    except StopIteration as stop:
        if stop is not error:
            return
        raise
    generator.close()
    raise RuntimeError(f"the {node.label} yielded twice ({node.place})")


class Run:
    """One walk through the nodes of a plan."""

    __slots__ = ("errors", "leading", "nodes", "request", "resolution", "values")

    def __init__(self, nodes: list[Node], request: Any, resolution: Resolution, leading: tuple[Any, ...]) -> None:
        self.nodes = nodes
        self.request = request
        self.resolution = resolution
        self.leading = leading
        self.values: list[Any] = []
        """What each node gave, in order; as long as the walk has come."""
        self.errors: Errors = []

    async def walk(self) -> Any:
        """Call all nodes in order; the value of the last."""
        nodes, values = self.nodes, self.values
        count = len(nodes)
        while len(values) < count:
            node = nodes[len(values)]
            if node.wants_form:
                await read_form(self.request)
            elif node.wants_body:
                await self.request.connection.read(READER)
            if node.is_threaded:
                context = self.resolution.context
                awaitable = await self.request.worker.run(self.visit_thread, label=node.label, context=context)
                if awaitable is not None:
                    # Of the last def that was called over there, which need not be the one that the trip was made for.
                    value = await awaitable
                    self.take(nodes[len(values)], value)
                continue
            arguments = self.prepare(node)
            if arguments is None:
                continue
            if node.is_generator:
                generator = node.function(*self.leading_of(node), **arguments)
                if node is nodes[-1]:
                    values.append(generator)  # A streamed body.
                    continue
                scope = find_cancel_scope()
                try:
                    value = await anext(generator)
                except StopAsyncIteration:
                    raise RuntimeError(f"the {node.label} never yielded ({node.place})") from None
                self.resolution.open(node, generator, holds=find_cancel_scope() is not scope)
            else:
                value = node.function(*self.leading_of(node), **arguments)
                if hasattr(value, "__await__"):
                    value = await value
            self.take(node, value)
        return values[-1]

    def visit_thread(self) -> Awaitable[Any] | None:
        """``walk_in_thread``, noted for whoever may come to close what that has opened before it has ended."""
        self.resolution.is_in_thread = True
        try:
            return self.walk_in_thread()
        finally:
            self.resolution.is_in_thread = False

    def walk_in_thread(self) -> Awaitable[Any] | None:
        """Call nodes as far as they are ``def`` and everything for them is here: they share one trip.

        An awaitable, of a wrapper around coroutine code, is handed back, for the loop to await; its value is the next.
        """
        nodes, values = self.nodes, self.values
        first = True
        while len(values) < len(nodes):
            node = nodes[len(values)]
            if not node.is_threaded or (not first and (node.wants_body or node.wants_form)):
                break
            first = False
            arguments = self.prepare(node)
            if arguments is None:
                continue
            value = node.function(*self.leading_of(node), **arguments)
            if node.is_generator and node is not nodes[-1]:
                generator = value
                try:
                    value = next(generator)
                except StopIteration:
                    raise RuntimeError(f"the {node.label} never yielded ({node.place})") from None
                self.resolution.open(node, generator)
            elif hasattr(value, "__await__"):
                awaitable: Awaitable[Any] = value
                return awaitable
            self.take(node, value)
        return None

    def prepare(self, node: Node) -> dict[str, Any] | None:
        """What to call the node with; None if it is not to be called, and then its value is there.

        Raises:
            InvalidParameters: it is the view itself, and something in the request was refused.
        """
        if node.use_cache and node.key in self.resolution.cache:
            self.values.append(self.resolution.cache[node.key])
            return None
        arguments = node.arguments(self.request, self.values, self.errors)
        if node is self.nodes[-1] and self.errors:
            raise InvalidParameters(self.errors)
        if arguments is None:
            self.values.append(WRONG)
        return arguments

    def take(self, node: Node, value: Any) -> None:
        """Keep what a node gave, for those that depend on it."""
        self.values.append(value)
        if node.use_cache:
            self.resolution.cache[node.key] = value

    def leading_of(self, node: Node) -> tuple[Any, ...]:
        """The positional arguments given first; only the last node, the function itself, gets them."""
        return self.leading if node is self.nodes[-1] else ()


async def close_after(resolution: Resolution, error: BaseException) -> None:
    """Close what is open, telling it of ``error``; raises what a generator raised in its place."""
    left = await resolution.close(error)
    try:
        if isinstance(error, Exception):
            if left is not None and left is not error:
                raise left
            return
        node = resolution.holding
        ends = isinstance(error, GeneratorExit | KeyboardInterrupt | SystemExit)
        if not ends and (node is not None or isinstance(left, Exception)) and not await is_cancelled_here():
            # A generator's own scope has cancelled the view, and is over: nobody further out would know of it. A
            # timeout() or TaskGroup of asyncio is seen by what it raises alone.
            if isinstance(left, Exception):
                raise left
            assert node is not None
            raise RuntimeError(
                f"the {node.label} has cancelled what uses it, so there is no answer; let its scope raise, as "
                f"anyio.fail_after does ({node.place})"
            )
        if isinstance(left, Exception):
            resolution.request.app.log_failure("closing what a request had opened failed", left)
    finally:
        del left, error


async def is_cancelled_here() -> bool:
    """Whether this task is being cancelled, by a scope that is open now or by its library."""
    from anyio import get_cancelled_exc_class
    from anyio.lowlevel import checkpoint_if_cancelled

    if is_cancelled(current_task()):
        return True
    try:
        await checkpoint_if_cancelled()
    except get_cancelled_exc_class():
        return True
    return False


def find_cancel_scope() -> object:
    """The innermost cancel scope of this task, only to be compared with a later one; None where it cannot be seen.

    Neither library tells it in public, and where they keep it may change: then a scope that is held across a
    ``yield`` is found when it breaks, and not before. Scopes of a library that is not loaded do not exist.
    """
    if _get_running_loop() is not None:
        states = getattr(sys.modules.get("anyio._backends._asyncio"), "_task_states", None)
        return None if states is None else getattr(states.get(current_task()), "cancel_scope", None)
    trio = sys.modules.get("trio")
    return None if trio is None else getattr(trio.lowlevel.current_task(), "_cancel_status", None)
