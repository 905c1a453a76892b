"""Calls: functions that a task gives to a worker thread, and the task's half of what comes of it.

What goes between a task and its thread::

    task                                         thread
    ----                                         ------
    Worker.run         -- call ------------->    function(*args), in a copy of the task's context
      (waits)          <-- request ----------    call_from_thread(async_function, *args)
    async_function()   in the waiting task         (waits)
      (waits again)    -- answer ----------->    goes on
    result or error    <-- end --------------    returns or raises

The life of one call. Its ``claim`` is a lock that exactly one side gets:

    ========== ============================== ==========================================================
    state      event                          next
    ========== ============================== ==========================================================
    queued     the thread takes the claim     running
    queued     the task is cancelled and      withdrawn: the thread passes over it, the cancellation goes
               takes the claim                on at once
    running    the function ends              ended: the task takes over changed context variables, then
                                              the result or the error
    running    the task is cancelled          refusing: it waits for the end, shielded; requests of the
                                              thread raise CallerCancelled; the result is dropped, then
                                              the cancellation goes on
    ========== ============================== ==========================================================

How a task waits is different in each async library, and is in ``callers.py``. Called by ``workers.py`` and
``iteration.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sized
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any

from microweb.contextvariables import changed_variables, ignore_variables, missing
from microweb.threads import Job, ThreadRequest

__all__ = ["Call", "SharedContext", "serving"]

serving: ContextVar[ThreadRequest | None] = ContextVar("microweb_serving", default=None)
"""The request of a thread that this task is serving, or the task that made this one."""

ignore_variables(serving)


class Call(Job):
    """A job for which a task waits. Subclasses know how a task of their loop does that."""

    __slots__ = ()

    checkpoints = False
    """Whether each await must see cancellations and let others run, as trio promises of its own."""

    async def begin(self) -> None:
        """Raise a cancellation that has come already; asked only if ``checkpoints``."""

    @abstractmethod
    async def wait(self) -> None:
        """Sleep until there is news, or until cancelled."""
        ...

    @abstractmethod
    async def pause(self) -> None:
        """Let other tasks run."""
        ...

    @abstractmethod
    async def wait_shielded(self) -> BaseException | None:
        """Sleep until the thread has ended, whatever cancellations arrive; returns the last of them."""
        ...

    @abstractmethod
    async def settle_firmly(self) -> Any:
        """Settle, shielded from cancellation, and never withdraw."""
        ...

    @abstractmethod
    def is_cancellation(self, error: BaseException) -> bool:
        """Whether the error that left a served function is the cancellation of this task."""
        ...

    async def settle(self, items: Sized = ()) -> Any:
        """Serve the thread until the call has ended, and give its result; or until there are ``items``."""
        has_waited = False
        try:
            while True:
                self.news = False
                if items:
                    return None
                if self.ended:
                    if not has_waited and (self.checkpoints or self.crew.is_hogging()):
                        await self.pause()
                    break
                request = self.request
                if request is None:
                    await self.wait()
                    has_waited = True
                else:
                    self.request = None
                    await self.serve(request)
        except GeneratorExit:
            # The coroutine is thrown away, with its loop most likely: there is nothing to wait with.
            if not self.withdraw():
                self.refuse()
            raise
        except BaseException:
            if not self.withdraw():
                self.refuse()
                await self.wait_shielded()
                self.adopt(self.context)
                self.value = self.error = None
            raise
        self.adopt(self.context)
        if self.error is not None:
            try:
                raise self.error
            finally:
                # The traceback holds this frame, and this frame the call.
                self.error = None
        return self.value

    async def serve(self, request: ThreadRequest) -> None:
        """Run what the thread asks for, in this task."""
        self.adopt(request.context)
        before = copy_context()
        outer = serving.get()
        serving.set(request)
        try:
            request.value = await request.function(*request.args)
        except BaseException as error:
            # Not by token: a coroutine that is thrown away may end in another context than it began in.
            serving.set(outer)
            if isinstance(error, GeneratorExit) or self.is_cancellation(error):
                request.refuse()
                raise
            request.error = error
        else:
            serving.set(outer)
        request.changes = changed_variables(copy_context(), before)
        request.answer()

    def adopt(self, context: Context) -> None:
        """Change here what the thread changed in its ``context``."""
        adopted = self.adopted
        for variable, value in changed_variables(context, self.before):
            token = variable.set(value)
            if not self.ended or adopted is not None:
                # The thread goes on, and may reset the variable to what it was: to nothing, perhaps.
                if adopted is None:
                    adopted = self.adopted = {}
                if token.old_value is Token.MISSING:
                    adopted[variable] = token
        if adopted:
            for variable in [variable for variable in adopted if variable not in context]:
                try:
                    variable.reset(adopted.pop(variable))
                except ValueError:  # an iterator that went on in a task with another context
                    pass

    def withdraw(self) -> bool:
        """Take the call back, unless the thread has begun it."""
        if self.firm or not self.claim.acquire(False):
            return False
        self.ended = True
        self.crew.forget(self)
        return True

    def refuse(self) -> None:
        """Refuse the thread's request, and those it will make."""
        self.refusing = True
        request = self.request
        if request is not None:
            self.request = None
            request.refuse()


class SharedContext:
    """One context for several calls, one after the other: what a generator sets in one, it may reset by its token in
    another."""

    __slots__ = ("_adopted", "_context", "_seen")

    def __init__(self) -> None:
        self._context: Context | None = None
        self._seen = Context()
        self._adopted: dict[ContextVar[Any], Token[Any]] = {}

    def lend(self, call: Job) -> None:
        """Let a call of the running task run in it, which has just been made and waits for no thread yet."""
        now = copy_context()
        context = self._context
        if context is None:
            self._context = call.context
        else:
            # What the task changed since the last call; some of it was taken over from the thread.
            for variable, value in changed_variables(now, self._seen):
                if context.get(variable, missing) is not value:
                    context.run(variable.set, value)
            call.context = context
            call.before = context.copy()
        self._seen = now
        call.adopted = self._adopted
