"""The innermost layer: hooks, the view, and the error boundary around them.

``make_endpoint`` composes, once at start-up, the coroutine function that the onion wraps. A route without
hooks gets one of a few short functions written for its shape; everything else gets the general boundary.
Consecutive ``def`` callables of one request share one hop to its worker thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from microweb.binding import Plan
from microweb.conversion import NO_ENCODER, find_encoder, to_response
from microweb.onion import Answer, Handler
from microweb.responses import Response, new

__all__ = ["make_endpoint"]


def make_endpoint(view: Plan, answer: Answer, before: Sequence[Plan] = (), after: Sequence[Plan] = ()) -> Handler:
    """Compose hooks and view into a handler that never raises an ``Exception``."""
    if any(stage.is_bound for stage in before):
        # What hooks and view depend on is called once for all of them, and closed after the view.
        from microweb.boundplan import make_chain

        view, before = make_chain([*before, view]), ()
    if before or after:
        return make_boundary([*before, view], after, answer)
    if not view.is_async:
        return make_threaded(view, answer)
    source = f"view {view.label}"
    call = view.call
    if not view.is_coroutine_function:

        async def endpoint_of_wrapper(request: Any) -> Response:
            # A def wrapper around a coroutine function may answer itself; a generator function never awaits.
            try:
                value = call(request)
                if hasattr(value, "__await__"):
                    value = await value
                return to_response(value, request, source)
            except Exception as error:  # noqa: BLE001 - the boundary: every error becomes an answer
                return await answer(request, error)

        return endpoint_of_wrapper

    takes_nothing = view.is_plain and not (view.passes_request or view.passes_values)
    function = view.function

    async def endpoint(request: Any) -> Response:
        try:
            value = await (function() if takes_nothing else call(request))
            encode, line = find_encoder(value.__class__, NO_ENCODER)
            if encode is None:
                return to_response(value, request, source)
            response = new(Response)  # `make_plain`, written out. PERF(walk.middleware)
            response._status = 200
            response._body = encode(value)
            response._headers = None
            response._content_type = line[1]
            response._owner = request
            return response
        except Exception as error:  # noqa: BLE001
            return await answer(request, error)

    return endpoint


def make_threaded(view: Plan, answer: Answer) -> Handler:
    """Compose the handler of a ``def`` view without hooks: one hop, the value converted over there."""
    call, label, source = view.call, f"view {view.label} ({view.place})", f"view {view.label}"

    def run(request: Any) -> Any:
        value = call(request)
        return value if hasattr(value, "__await__") else to_response(value, request, source)

    async def endpoint(request: Any) -> Response:
        try:
            response = await request.worker.run(run, request, label=label)
            if not isinstance(response, Response):
                response = to_response(await response, request, source)
            return response
        except Exception as error:  # noqa: BLE001 - the boundary
            return await answer(request, error)

    return endpoint


def make_boundary(stages: Sequence[Plan], after: Sequence[Plan], answer: Answer) -> Handler:
    """Compose the general case: the first stage that gives a value answers, the last one (the view) must.

    ``after`` hooks see every answer made here, an error's too. An error in one of them is answered in its place
    and the remaining ones see that.
    """
    calls = [stage.call for stage in stages]
    sources = [f"before_request function {stage.label}" for stage in stages[:-1]] + [f"view {stages[-1].label}"]
    threaded = [not stage.is_async for stage in stages]
    after_calls = [hook.call for hook in after]
    after_sources = [f"after_request function {hook.label}" for hook in after]
    after_threaded = [not hook.is_async for hook in after]
    last = len(calls)
    label = f"{sources[-1]} ({stages[-1].place})"

    def run_stages(request: Any, index: int, progress: list[int]) -> tuple[int, Any]:
        # In the worker thread: stages as far as they are def, then, if one answered, def hooks after it.
        while index < last and threaded[index]:
            value = calls[index](request)
            index += 1
            if value is not None or index == last:
                if hasattr(value, "__await__"):
                    return index, value
                response = to_response(value, request, sources[index - 1])
                return index, run_after(request, response, progress)
        return index, None

    def run_after(request: Any, response: Response, progress: list[int]) -> Any:
        # In the worker thread. ``progress`` tells how far we came also when a hook raises.
        while progress[0] < len(after_calls) and after_threaded[progress[0]]:
            position = progress[0]
            progress[0] += 1
            changed = after_calls[position](request, response)
            if hasattr(changed, "__await__"):
                return settle(changed, response)
            if changed is not None:
                response = to_response(changed, request, after_sources[position])
        return response

    async def make_answer(request: Any, progress: list[int]) -> Response:
        index = 0
        value: Any = None
        while index < last and value is None:
            if threaded[index]:
                index, value = await request.worker.run(run_stages, request, index, progress, label=label)
            else:
                value = calls[index](request)
                index += 1
            if hasattr(value, "__await__"):
                value = await value
        return to_response(value, request, sources[index - 1])

    async def boundary(request: Any) -> Response:
        progress = [0]
        try:
            response = await make_answer(request, progress)
        except Exception as error:  # noqa: BLE001 - the boundary
            response = await answer(request, error)
        while progress[0] < len(after_calls):
            position = progress[0]
            try:
                if after_threaded[position]:
                    changed = await request.worker.run(run_after, request, response, progress, label=label)
                else:
                    progress[0] += 1
                    changed = after_calls[position](request, response)
                if hasattr(changed, "__await__"):
                    changed = await changed
                if changed is not None:
                    response = to_response(changed, request, after_sources[position])
            except Exception as error:  # noqa: BLE001
                response = await answer(request, error)
        return response

    return boundary


async def settle(changed: Awaitable[Any], response: Response) -> Any:
    """What a hook's awaitable gives, or the response it leaves as it is."""
    value = await changed
    return response if value is None else value
