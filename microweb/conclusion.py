"""How a request ends: what waits for its answer, an error on the way out, and all that has to be closed.

The last stages of the walk. ``app.py`` calls them for its own requests, ``mounts.py`` and ``websocketwalk.py`` for what
a mounted app and a websocket serve. They know nothing of routes and views.
"""

from __future__ import annotations

from microweb.asgi import Send
from microweb.assembly import Target
from microweb.context import current
from microweb.conversion import to_response
from microweb.errorhandlers import keep_headers
from microweb.errors import ClientDisconnect
from microweb.incoming import Incoming
from microweb.requests import Request
from microweb.responses import Response

__all__ = ["answer_late", "close", "end_early", "finish", "report_broken"]


async def finish(request: Incoming, response: Response) -> Response:
    """Run what waits for the answer: ``after_this_request``, the session, ``Vary``."""
    notes = request.notes
    while notes.finishers or notes.save is not None:
        finishers, notes.finishers = notes.finishers, []
        if not finishers and notes.save is not None:
            finishers, notes.save = [notes.save], None
        for function in finishers:
            try:
                changed = function(response)
                while hasattr(changed, "__await__"):  # A `def` function in its thread may give another one.
                    changed = await changed
                if changed is not None:
                    response = to_response(changed, request, "a function of after_this_request")
            except Exception as error:  # noqa: BLE001 - the answer becomes an error page
                response = keep_headers(response, await request.app.answer_error(request, error))
    return response


async def end_early(request: Request, error: BaseException, send: Send, failed: Response | None) -> None:
    """An error on the way out: a 500 if nothing has left yet, else it is raised, and the connection breaks."""
    token = current.set(request)
    try:
        if isinstance(error, ClientDisconnect):
            # Nobody is left to answer, and it is nobody's mistake. A stream that reads the body ends half way,
            # whether it hears of that from the body or is cancelled.
            if request._connection is not None and request._connection.is_inside_body:
                request.notes.unhandled = error
            return
        if not isinstance(error, Exception):
            if request._notes is not None or request._target.teardown is not None:
                request.notes.unhandled = error  # A cancelled request is not one that went well.
            raise error
        if request._started:
            await report_broken(request, error, failed)
            if failed is not None and failed._has_ended:
                # The client has the whole answer, and the connection may have its next request on it already.
                return
            raise error
        response = await answer_late(request, error, failed)
        if failed is not None:
            keep_headers(failed, response)
        try:
            await response.send(request, send)
        except ClientDisconnect:
            pass
        finally:
            response._error = None
    finally:
        del error  # Its traceback holds this frame.
        current.reset(token)


async def answer_late(request: Incoming, error: Exception, failed: Response | None) -> Response:
    """The answer to an error of a response that was to be sent: by the app whose view made it, in that one's context.

    What its handlers leave unhandled goes to the app around it, if its errors bubble.
    """
    owner = find_owner(request, failed)
    while True:
        token = current.set(owner)
        try:
            response = await owner.app.answer_error(owner, error)
        finally:
            current.reset(token)
        if not owner.bubbles or owner.parent is None or not isinstance(owner.notes.unhandled, Exception):
            break
        owner = owner.parent
    if owner is not request:
        response._inner = owner
    return response


def find_owner(request: Incoming, response: Response | None) -> Incoming:
    """What came in for the app that made a response: ``request``, or what an app that is mounted in it was given."""
    return request if response is None or response._inner is None else response._inner


async def report_broken(request: Incoming, error: Exception, response: Response | None) -> None:
    """Report an error in an answer that has begun, to the app whose view made it unless that one's errors bubble.

    The request outside is noted too: it is its connection that breaks, and a teardown that commits must know.
    """
    owner = find_owner(request, response)
    while owner.bubbles and owner.parent is not None:
        owner = owner.parent
    request.notes.unhandled = error
    token = current.set(owner)
    try:
        await owner.app.report(owner, error)
    finally:
        current.reset(token)


async def close(request: Incoming, target: Target, response: Response | None) -> None:
    """Close bodies and generators, then run teardown hooks; each runs whatever the others do.

    At last the error is dropped, whatever happens: kept on request and response it would make reference cycles.
    """
    notes = request.notes
    try:
        if notes.closers or target.teardown is not None:
            token = current.set(request)
            try:
                await release(request, target)
            finally:
                current.reset(token)
    finally:
        if notes.answered:
            for _, answer in notes.answered:
                answer._error = None  # A layer may have replaced that answer.
            notes.answered = ()
            if response is not None:
                response._error = None
        notes.unhandled = None
        notes.save = None  # It holds the request, and stays where nothing was answered.


async def release(request: Incoming, target: Target) -> None:
    """Run the closers and the teardown hooks, shielded."""
    from anyio import CancelScope

    notes = request.notes
    with CancelScope(shield=True):
        interrupted = await run_closers(request)
        try:
            if target.teardown is not None:
                await target.teardown(request, notes.unhandled)
        finally:
            # A teardown hook may have opened something too.
            interrupted = await run_closers(request) or interrupted
        if interrupted is not None:
            try:
                raise interrupted
            finally:
                interrupted = None  # Its traceback holds this frame.


async def run_closers(request: Incoming) -> BaseException | None:
    """Run them all, the last one first; returns what interrupted one, to be raised when everything is closed."""
    interrupted = None
    closers = request.notes.closers
    while closers:
        close_one = closers.pop()
        try:
            await close_one()
        except Exception as error:  # noqa: BLE001 - the answer is out; the rest must still be closed
            request.app.log_failure("closing what a request had opened failed", error)
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            # A native cancellation passes through anyio's shield; what is left must be closed all the same.
            interrupted = error
    try:
        return interrupted
    finally:
        del interrupted  # Its traceback holds this frame.
