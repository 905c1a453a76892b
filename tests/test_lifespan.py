import asyncio
import contextvars
import gc
import logging
import threading
import weakref
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import anyio
import pytest
import trio

from microweb.errors import ServiceUnavailable
from microweb.failures import LifespanFailed
from microweb.foreignlifespan import ForeignLifespan
from microweb.lifespan import Lifespan
from microweb.shutdownevent import ShutdownEvent


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(params=["asyncio", "trio"])
def run(request):
    """Run an async function on a loop of its own, as a program does."""

    def run(function, *args):
        if request.param == "trio":
            return trio.run(function, *args)
        return asyncio.run(function(*args))

    return run


@pytest.fixture
def calls():
    return []


@pytest.fixture
def without_collector():
    """No garbage collection, and no log records, which would keep the errors they tell of."""
    logger = logging.getLogger("microweb")
    gc.collect()
    gc.disable()
    logger.disabled = True
    yield
    logger.disabled = False
    gc.enable()


class Failure(Exception):
    """An error that can be weakly referenced, as every class of its own can."""


def resource(calls, name="resource", *, on_exit=None):
    @asynccontextmanager
    async def opened():
        calls.append(f"{name} in")
        yield name
        calls.append(f"{name} out")
        if on_exit is not None:
            await on_exit()

    return opened()


def lifespan_of(*make_resources, **limits):
    """A lifespan that enters what the functions make, in order."""

    async def enter(stack, state):
        for make in make_resources:
            await stack.enter_async_context(make())

    return Lifespan(enter, **{name: (lambda value=value: value) for name, value in limits.items()})


class Server:
    """The other side of the lifespan protocol: what a server sends, and what it got."""

    def __init__(self, **scope):
        self.scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}, **scope}
        self.sent = []
        self.answered = [anyio.Event(), anyio.Event()]
        self.shut_down = anyio.Event()
        self._started = False

    async def receive(self):
        if not self._started:
            self._started = True
            return {"type": "lifespan.startup"}
        await self.shut_down.wait()
        return {"type": "lifespan.shutdown"}

    async def send(self, message):
        self.sent.append(message["type"].removeprefix("lifespan."))
        self.message = message.get("message")
        self.answered[len(self.sent) - 1].set()

    @asynccontextmanager
    async def serving(self, lifespan):
        async with anyio.create_task_group() as group:
            group.start_soon(lifespan.serve, self.scope, self.receive, self.send)
            await self.answered[0].wait()
            yield self
            self.shut_down.set()


def errors_in(caplog):
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def fail():
    raise ValueError("no such host")


def hang_until(seen):
    async def hang():
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cancelled")

    return hang


# With a server that speaks the protocol


@pytest.mark.anyio
async def test_a_server_may_say_that_it_has_no_extensions(calls):
    server = Server(extensions=None)

    async with server.serving(lifespan_of(lambda: resource(calls))):
        assert server.sent == ["startup.complete"]

    assert server.sent == ["startup.complete", "shutdown.complete"]


@pytest.mark.anyio
async def test_the_app_is_told_when_it_is_no_longer_started(calls):
    async def enter(stack, state):
        await stack.enter_async_context(resource(calls))

    lifespan = Lifespan(enter, stopped=lambda: calls.append(f"stopped, {lifespan.started}"))
    async with Server().serving(lifespan):
        pass

    assert calls == ["resource in", "stopped, False", "resource out"]


@pytest.mark.anyio
async def test_an_app_that_fails_when_told_so_does_not_keep_its_exits(calls, caplog):
    async def enter(stack, state):
        await stack.enter_async_context(resource(calls))

    def stopped():
        raise Failure

    lifespan = Lifespan(enter, stopped=stopped)
    await lifespan.ensure()
    await lifespan.stop()

    assert calls == ["resource in", "resource out"]
    assert len(errors_in(caplog)) == 1


@pytest.mark.anyio
async def test_everything_entered_is_left_in_reverse_order(calls):
    lifespan = lifespan_of(lambda: resource(calls, "pool"), lambda: resource(calls, "cache"))

    async with Server().serving(lifespan) as server:
        assert lifespan.started
        assert calls == ["pool in", "cache in"]

    assert calls[2:] == ["cache out", "pool out"]
    assert server.sent == ["startup.complete", "shutdown.complete"]
    assert not lifespan.started


@pytest.mark.anyio
async def test_enter_fills_the_state_that_the_server_gives():
    async def enter(stack, state):
        state["pool"] = 42

    lifespan = Lifespan(enter)
    async with Server().serving(lifespan) as server:
        assert server.scope["state"] == {"pool": 42}
        assert lifespan.state is server.scope["state"]

    assert lifespan.state == {}


@pytest.mark.anyio
async def test_a_server_without_state_is_served():
    lifespan = lifespan_of()
    server = Server()
    del server.scope["state"]

    async with server.serving(lifespan):
        assert lifespan.state == {}

    assert server.sent == ["startup.complete", "shutdown.complete"]


@pytest.mark.anyio
async def test_a_failed_start_unwinds_what_was_entered_and_is_reported_once(calls, caplog):
    @asynccontextmanager
    async def broken():
        await fail()
        yield

    lifespan = lifespan_of(lambda: resource(calls), broken)
    server = Server(extensions={"microweb.errors": []})
    await lifespan.serve(server.scope, server.receive, server.send)

    assert calls == ["resource in", "resource out"]
    assert server.sent == ["startup.failed"]
    assert server.message == "the app could not start: ValueError: no such host"
    [record] = errors_in(caplog)
    assert [record.exc_info[1]] == server.scope["extensions"]["microweb.errors"]
    assert not lifespan.started


@pytest.mark.anyio
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_a_lifespan_that_exits_the_program_is_a_failed_start(error):
    async def enter(stack, state):
        raise error

    server = Server()
    await Lifespan(enter).serve(server.scope, server.receive, server.send)

    assert server.sent == ["startup.failed"]


@pytest.mark.anyio
async def test_every_exit_runs_although_others_fail(calls, caplog):
    lifespan = lifespan_of(*(lambda n=n: resource(calls, n, on_exit=fail) for n in "abc"))
    server = Server(extensions={"microweb.errors": []})
    async with server.serving(lifespan):
        pass

    assert calls[3:] == ["c out", "b out", "a out"]
    assert server.sent == ["startup.complete", "shutdown.failed"]
    assert server.message == "; ".join(["ValueError: no such host"] * 3)
    assert len(errors_in(caplog)) == len(server.scope["extensions"]["microweb.errors"]) == 3


@pytest.mark.anyio
async def test_every_kind_of_exit_runs_although_others_fail(calls):
    @contextmanager
    def plain():
        yield "value"
        calls.append("plain")
        raise ValueError("plain")

    def callback():
        calls.append("callback")
        raise ValueError("callback")

    async def async_callback():
        calls.append("async callback")
        raise ValueError("async callback")

    async def pushed(*details):
        calls.append("pushed")
        raise ValueError("pushed")

    async def enter(stack, state):
        await stack.enter_async_context(resource(calls, "first"))
        assert stack.enter_context(plain()) == "value"
        assert stack.callback(callback) is callback
        assert stack.push_async_callback(async_callback) is async_callback
        stack.push_async_exit(pushed)

    lifespan = Lifespan(enter)
    await lifespan.ensure()
    with pytest.raises(LifespanFailed) as caught:
        await lifespan.stop()

    assert calls == ["first in", "pushed", "async callback", "callback", "plain", "first out"]
    assert sorted(map(str, caught.value.__cause__.exceptions)) == [
        "async callback",
        "callback",
        "plain",
        "pushed",
    ]


@pytest.mark.anyio
async def test_the_code_after_a_yield_runs_also_when_a_later_lifespan_cannot_start(calls):
    async def enter(stack, state):
        await stack.enter_async_context(resource(calls))
        await fail()

    with pytest.raises(LifespanFailed):
        await Lifespan(enter).ensure()

    assert calls == ["resource in", "resource out"]


@pytest.mark.anyio
async def test_an_exit_that_hangs_is_cancelled_and_the_others_still_get_their_share(calls):
    async def take_a_turn():
        await anyio.lowlevel.checkpoint()
        calls.append("done")

    lifespan = lifespan_of(
        lambda: resource(calls, "first", on_exit=take_a_turn),
        lambda: resource(calls, "hanging", on_exit=anyio.sleep_forever),
        grace=0.2,
    )
    async with Server().serving(lifespan) as server:
        pass

    assert calls[2:] == ["hanging out", "first out", "done"]
    assert server.sent[-1] == "shutdown.failed"
    assert "opened was cancelled: its exit took over 0." in server.message


@pytest.mark.anyio
async def test_a_callback_that_hangs_is_cancelled():
    async def enter(stack, state):
        stack.push_async_callback(anyio.sleep_forever)

    lifespan = Lifespan(enter, grace=lambda: 0.0)
    await lifespan.ensure()

    with pytest.raises(LifespanFailed, match="an exit callback was cancelled: it took over 0 s"):
        await lifespan.stop()


@pytest.mark.anyio
async def test_an_exit_that_ignores_its_cancellation_does_not_keep_the_server(calls):
    release = anyio.Event()

    async def stubborn():
        with anyio.CancelScope(shield=True):
            await release.wait()

    lifespan = lifespan_of(lambda: resource(calls, on_exit=stubborn), grace=0)
    async with Server().serving(lifespan) as server:
        pass

    assert server.sent[-1] == "shutdown.failed"
    assert "an exit does not end, even when cancelled" in server.message
    release.set()
    await lifespan.stop()
    assert not lifespan.started


@pytest.mark.anyio
async def test_a_bad_limit_is_a_failed_start_not_a_lost_exit():
    lifespan = lifespan_of(grace="a while")

    with pytest.raises(LifespanFailed, match="ValueError: could not convert"):
        await lifespan.ensure()


@pytest.mark.anyio
async def test_a_server_that_cancels_during_the_start_gets_it_unwound(calls):
    entering = anyio.Event()

    async def enter(stack, state):
        await stack.enter_async_context(resource(calls))
        entering.set()
        await anyio.sleep_forever()

    lifespan, server = Lifespan(enter), Server()
    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.serve, server.scope, server.receive, server.send)
        await entering.wait()
        group.cancel_scope.cancel()

    assert calls == ["resource in", "resource out"]
    assert server.sent == []


@pytest.mark.anyio
async def test_a_server_that_cancels_while_serving_gets_the_exits_run_first(calls):
    lifespan = lifespan_of(lambda: resource(calls, on_exit=anyio.lowlevel.checkpoint))

    async with anyio.create_task_group() as group:
        server = Server()
        group.start_soon(lifespan.serve, server.scope, server.receive, server.send)
        await server.answered[0].wait()
        group.cancel_scope.cancel()

    assert calls == ["resource in", "resource out"]
    assert not lifespan.started


@pytest.mark.anyio
async def test_a_server_that_fails_to_send_gets_the_app_stopped(calls):
    async def broken_send(message):
        raise OSError("pipe")

    lifespan, server = lifespan_of(lambda: resource(calls)), Server()
    with pytest.raises(OSError, match="pipe"):
        await lifespan.serve(server.scope, server.receive, broken_send)

    assert calls == ["resource in", "resource out"]


@pytest.mark.anyio
async def test_a_server_that_starts_with_another_message_is_told():
    async def receive():
        return {"type": "http.request"}

    with pytest.raises(RuntimeError, match=r"expected the message 'lifespan\.startup'.*'http\.request'"):
        await lifespan_of().serve({"type": "lifespan"}, receive, receive)


@pytest.mark.anyio
async def test_two_servers_share_one_start_and_the_last_one_ends_it(calls):
    async def enter(stack, state):
        state["pool"] = 42
        await stack.enter_async_context(resource(calls))

    lifespan = Lifespan(enter)
    async with Server().serving(lifespan):
        async with Server().serving(lifespan) as second:
            assert second.scope["state"] == {"pool": 42}
        assert second.sent == ["startup.complete", "shutdown.complete"]
        assert lifespan.started

    assert calls == ["resource in", "resource out"]


@pytest.mark.anyio
async def test_a_server_takes_over_what_an_early_request_started(calls):
    lifespan = lifespan_of(lambda: resource(calls))

    await lifespan.ensure()
    async with Server().serving(lifespan):
        pass

    assert calls == ["resource in", "resource out"]


@pytest.mark.anyio
async def test_a_lifespan_runs_in_the_context_of_the_server_that_started_it():
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def enter(stack, state):
        seen.append(variable.get())

    variable.set("server")
    async with Server().serving(Lifespan(enter)):
        pass

    assert seen == ["server"]


# Without one: the lazy start


def test_a_task_group_cannot_be_closed_by_another_task_than_its_own(run):
    """Why a start has its own task: this is what happens to a task group of the first request's."""

    async def main():
        async def first_request():
            await stack.enter_async_context(anyio.create_task_group())
            entered.set()
            await closed.wait()

        async def last_request():
            await entered.wait()
            try:
                await stack.aclose()
            finally:
                closed.set()

        stack, entered, closed = AsyncExitStack(), anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(first_request)
            group.start_soon(last_request)

    with pytest.raises(BaseExceptionGroup) as caught:
        run(main)

    assert caught.group_contains(RuntimeError, match="different task|stack corrupted", depth=None)


@pytest.mark.anyio
async def test_a_task_group_entered_at_the_first_request_is_closed_at_the_stop(calls):
    @asynccontextmanager
    async def workers():
        async with anyio.create_task_group() as group:
            group.start_soon(hang_until(calls))
            yield
            group.cancel_scope.cancel()

    lifespan = lifespan_of(workers)
    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.ensure)
    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.stop)

    assert calls == ["cancelled"]


@pytest.mark.anyio
async def test_a_start_can_begin_without_being_waited_for(calls):
    lifespan = lifespan_of(lambda: resource(calls))
    assert not lifespan.running

    lifespan.begin()
    assert lifespan.running
    assert not lifespan.started
    await lifespan.ensure()

    assert lifespan.started
    await lifespan.stop()
    assert not lifespan.running


@pytest.mark.anyio
async def test_the_first_requests_wait_for_one_start(calls):
    gate = anyio.Event()

    async def enter(stack, state):
        calls.append("start")
        await gate.wait()

    async def request():
        await lifespan.ensure()
        assert lifespan.started
        calls.append("request")

    lifespan = Lifespan(enter)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(request)
        await anyio.wait_all_tasks_blocked()
        assert calls == ["start"]
        gate.set()

    assert calls == ["start", "request", "request", "request"]
    await lifespan.stop()


@pytest.mark.anyio
async def test_cancelling_one_waiter_does_not_cancel_the_start(calls):
    gate = anyio.Event()

    async def enter(stack, state):
        await gate.wait()

    lifespan = Lifespan(enter)
    async with anyio.create_task_group() as patient, anyio.create_task_group() as impatient:
        patient.start_soon(lifespan.ensure)
        impatient.start_soon(lifespan.ensure)
        await anyio.wait_all_tasks_blocked()
        impatient.cancel_scope.cancel()
        gate.set()

    assert lifespan.started
    await lifespan.stop()


@pytest.mark.anyio
async def test_a_failed_start_is_raised_to_each_waiter_anew_and_tried_again(caplog):
    attempts, caught = [], []

    async def enter(stack, state):
        attempts.append(1)
        await anyio.lowlevel.checkpoint()
        if len(attempts) == 1:
            await fail()

    async def request():
        try:
            await lifespan.ensure()
        except LifespanFailed as error:
            caught.append(error)

    lifespan = Lifespan(enter)
    async with anyio.create_task_group() as group:
        group.start_soon(request)
        group.start_soon(request)
    await lifespan.ensure()

    assert caught[0] is not caught[1]
    assert caught[0].__cause__ is caught[1].__cause__
    assert len(attempts) == 2
    assert len(errors_in(caplog)) == 1
    await lifespan.stop()


@pytest.mark.anyio
async def test_a_failed_start_leaves_nothing_for_the_garbage_collector(without_collector):
    async def enter(stack, state):
        raise Failure

    try:
        await Lifespan(enter).ensure()
    except LifespanFailed as error:
        cause = weakref.ref(error.__cause__)
    await anyio.wait_all_tasks_blocked()

    assert cause() is None


@pytest.mark.anyio
async def test_the_start_carries_nothing_of_the_first_request():
    current_request = contextvars.ContextVar("current_request", default=None)
    seen = []

    async def enter(stack, state):
        seen.append(current_request.get())

    lifespan = Lifespan(enter)
    current_request.set("alice's")
    await lifespan.ensure()
    await lifespan.stop()

    assert seen == [None]


@pytest.mark.anyio
async def test_a_start_under_way_can_be_stopped(calls, caplog):
    async def enter(stack, state):
        await stack.enter_async_context(resource(calls))
        await anyio.sleep_forever()

    async def request():
        with pytest.raises(LifespanFailed, match="the start was cancelled"):
            await lifespan.ensure()

    lifespan = Lifespan(enter)
    async with anyio.create_task_group() as group:
        group.start_soon(request)
        await anyio.wait_all_tasks_blocked()
        await lifespan.stop()

    assert calls == ["resource in", "resource out"]
    assert errors_in(caplog) == []


@pytest.mark.anyio
async def test_a_start_can_be_stopped_before_its_first_step(calls):
    lifespan = lifespan_of(lambda: resource(calls, on_exit=anyio.lowlevel.checkpoint))

    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.ensure)
        group.start_soon(lifespan.stop)

    await lifespan.stop()
    assert calls in ([], ["resource in", "resource out"])
    assert not lifespan.started


@pytest.mark.anyio
async def test_stopping_what_is_not_started_is_quiet():
    await lifespan_of().stop()


@pytest.mark.anyio
async def test_a_cancelled_stop_goes_on_by_itself(calls):
    gate, exiting = anyio.Event(), anyio.Event()

    async def slowly():
        exiting.set()
        await gate.wait()
        calls.append("done")

    lifespan = lifespan_of(lambda: resource(calls, on_exit=slowly))
    await lifespan.ensure()
    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.stop)
        await exiting.wait()
        group.cancel_scope.cancel()
    gate.set()
    await lifespan.stop()

    assert calls == ["resource in", "resource out", "done"]


@pytest.mark.anyio
async def test_an_exit_that_fails_is_raised_by_stop():
    lifespan = lifespan_of(lambda: resource([], on_exit=fail))
    await lifespan.ensure()

    with pytest.raises(LifespanFailed, match="did not stop cleanly: ValueError: no such host") as caught:
        await lifespan.stop()

    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.anyio
async def test_a_request_during_the_exits_is_refused(calls):
    async def request_own_app():
        with pytest.raises(ServiceUnavailable):
            await lifespan.ensure()
        calls.append("refused")

    lifespan = lifespan_of(lambda: resource(calls, on_exit=request_own_app))
    await lifespan.ensure()
    await lifespan.stop()

    assert calls[-1] == "refused"


@pytest.mark.anyio
async def test_a_server_that_starts_during_the_exits_is_refused(calls):
    async def serve_again():
        server = Server()
        await lifespan.serve(server.scope, server.receive, server.send)
        calls.extend(server.sent)

    lifespan = lifespan_of(lambda: resource(calls, on_exit=serve_again))
    await lifespan.ensure()
    await lifespan.stop()

    assert calls[-1] == "startup.failed"


@pytest.mark.anyio
async def test_a_lifespan_that_waits_for_its_own_app_is_told():
    async def enter(stack, state):
        await lifespan.ensure()

    lifespan = Lifespan(enter)
    with pytest.raises(LifespanFailed, match="used its own app before the app had started"):
        await lifespan.ensure()


@pytest.mark.anyio
async def test_a_lifespan_that_stops_its_own_app_is_told():
    async def enter(stack, state):
        await lifespan.stop()

    lifespan = Lifespan(enter)
    with pytest.raises(LifespanFailed, match="it would wait for itself"):
        await lifespan.ensure()


@pytest.mark.anyio
async def test_a_task_group_that_fails_ends_the_start_and_the_next_request_makes_a_new_one(calls, caplog):
    crash, left = anyio.Event(), anyio.Event()

    async def worker():
        await crash.wait()
        await fail()

    @asynccontextmanager
    async def workers():
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(worker)
                yield
                group.cancel_scope.cancel()
        finally:
            left.set()

    lifespan = lifespan_of(workers, lambda: resource(calls, on_exit=anyio.lowlevel.checkpoint))
    async with Server().serving(lifespan) as server:
        crash.set()
        await left.wait()
        await anyio.wait_all_tasks_blocked()
        assert calls == ["resource in", "resource out"]
        assert not lifespan.started
        crash = anyio.Event()
        await lifespan.ensure()

    assert calls == ["resource in", "resource out"] * 2
    assert server.sent == ["startup.complete", "shutdown.complete"]
    [record] = errors_in(caplog)
    assert isinstance(record.exc_info[1].exceptions[0], ValueError)


# The end of the loop


def test_the_end_of_the_loop_runs_the_exits(run, calls):
    async def close_slowly():
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        calls.append("closed")

    lifespan = lifespan_of(lambda: resource(calls, on_exit=close_slowly))
    run(lifespan.ensure)

    assert calls == ["resource in", "resource out", "closed"]
    assert not lifespan.started


def test_the_end_of_the_loop_during_the_start_unwinds_it(run, calls):
    async def enter(stack, state):
        await stack.enter_async_context(resource(calls, on_exit=anyio.lowlevel.checkpoint))
        await anyio.sleep_forever()

    async def main():
        with anyio.move_on_after(0.01):
            await lifespan.ensure()

    lifespan = Lifespan(enter)
    run(main)

    assert calls == ["resource in", "resource out"]


def whole_life(calls):
    """A lifespan with everything that can be cancelled in it."""

    @asynccontextmanager
    async def slow(name):
        await anyio.lowlevel.checkpoint()
        calls.append(f"{name} in")
        yield
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        calls.append(f"{name} out")

    @asynccontextmanager
    async def workers():
        async with anyio.create_task_group():
            calls.append("workers in")
            yield
        calls.append("workers out")

    async def work():
        calls.append("work in")
        try:
            await anyio.sleep_forever()
        finally:
            calls.append("work out")

    async def enter(stack, state):
        await stack.enter_async_context(slow("first"))
        await stack.enter_async_context(ForeignLifespan(Mounted(calls), state))
        await stack.enter_async_context(workers())
        lifespan.start_task(work)
        await stack.enter_async_context(slow("last"))
        await anyio.lowlevel.checkpoint()

    lifespan = Lifespan(enter, background_timeout=lambda: 0.0)
    return lifespan


def left(calls):
    """What was entered, and whether each of it was left."""
    entered = [call.removesuffix(" in") for call in calls if call.endswith(" in")]
    return {name: f"{name} out" in calls for name in entered}


STEPS = 40  # more than a whole life has


@pytest.mark.parametrize("steps", range(1, STEPS))
def test_at_whatever_step_the_loop_ends_what_was_entered_is_left(run, steps, calls, caplog):
    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(lifespan.ensure)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    lifespan = whole_life(calls)
    run(main)

    assert all(left(calls).values())
    assert steps < STEPS - 1 or len(left(calls)) == 5
    assert not lifespan.started
    assert errors_in(caplog) == []


@pytest.mark.anyio
@pytest.mark.parametrize("steps", range(1, STEPS))
async def test_at_whatever_step_the_server_is_cancelled_what_was_entered_is_left(steps, calls, caplog):
    lifespan, server = whole_life(calls), Server()
    server.shut_down.set()

    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.serve, server.scope, server.receive, server.send)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()

    assert all(left(calls).values())
    assert steps < STEPS - 1 or server.sent == ["startup.complete", "shutdown.complete"]
    assert not lifespan.started
    assert errors_in(caplog) == []


@pytest.mark.anyio
@pytest.mark.parametrize("steps", range(1, STEPS))
async def test_at_whatever_step_it_is_stopped_what_was_entered_is_left_and_it_starts_again(steps, calls, caplog):
    async def request():
        try:
            await lifespan.ensure()
        except LifespanFailed:
            calls.append("request refused")

    lifespan = whole_life(calls)
    async with anyio.create_task_group() as group:
        group.start_soon(request)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        await lifespan.stop()
        assert all(left(calls).values())
    await lifespan.ensure()

    assert lifespan.started
    await lifespan.stop()
    assert errors_in(caplog) == []


def test_the_end_of_the_loop_does_not_interrupt_the_exits(run, calls):
    async def main():
        exits_began.append(anyio.Event())
        await lifespan.ensure()
        async with anyio.create_task_group() as group:
            group.start_soon(lifespan.stop)
            await exits_began[0].wait()
            group.cancel_scope.cancel()

    async def wait_three_steps():
        exits_began[0].set()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        calls.append("done")

    lifespan, exits_began = (
        lifespan_of(*(lambda n=n: resource(calls, n, on_exit=wait_three_steps) for n in "ab")),
        [],
    )
    run(main)

    assert calls == ["a in", "b in", "b out", "done", "a out", "done"]


def test_the_end_of_the_loop_breaks_a_start_that_ignores_its_cancellation(calls):
    async def enter(stack, state):
        await stack.enter_async_context(resource(calls, on_exit=anyio.lowlevel.checkpoint))
        with anyio.CancelScope(shield=True):
            await anyio.sleep_forever()

    async def main():
        tasks.append(asyncio.create_task(lifespan.ensure()))
        await anyio.wait_all_tasks_blocked()

    lifespan, tasks = Lifespan(enter, grace=lambda: 0.0), []
    asyncio.run(main())

    assert calls == ["resource in", "resource out"]


def test_the_end_of_the_loop_under_a_server_runs_the_exits(calls):
    async def main():
        server = Server()
        tasks.append(asyncio.create_task(lifespan.serve(server.scope, server.receive, server.send)))
        await server.answered[0].wait()

    lifespan, tasks = lifespan_of(lambda: resource(calls, on_exit=anyio.lowlevel.checkpoint)), []
    asyncio.run(main())

    assert calls == ["resource in", "resource out"]
    assert tasks[0].cancelled()


@pytest.mark.parametrize("steps", range(1, STEPS))
@pytest.mark.parametrize("more", [1, 3, 6])
def test_a_program_that_cancels_every_task_twice_gets_every_exit_tried(steps, more, calls, caplog):
    async def main():
        tasks.append(asyncio.create_task(lifespan.ensure()))
        for pause in (steps, more):
            for _ in range(pause):
                await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()} or tasks)

    lifespan, tasks = whole_life(calls), []
    asyncio.run(main())

    not_left = [name for name, was_left in left(calls).items() if not was_left]
    assert len(not_left) <= 1 or len(errors_in(caplog)) > 0
    assert "first" not in not_left or "an exit was cancelled" in caplog.text
    assert not lifespan.started


def test_a_program_that_cancels_every_task_once_gets_its_mounted_apps_stopped_in_order(calls):
    async def app(scope, receive, send):
        await Mounted(calls)(scope, receive, send)
        with anyio.move_on_after(0):  # anyio's limits work in a task only if its cancellation is forgotten
            await anyio.sleep_forever()
        calls.append("end of app")

    async def enter(stack, state):
        await stack.enter_async_context(ForeignLifespan(app, state))
        await stack.enter_async_context(resource(calls, on_exit=anyio.lowlevel.checkpoint))

    async def main():
        await lifespan.ensure()
        await asyncio.sleep(0)
        await cancel_all()

    lifespan = Lifespan(enter)
    asyncio.run(main())

    assert calls == ["mounted in", "resource in", "resource out", "mounted out", "end of app"]


def test_a_start_cancelled_by_the_program_before_its_first_step_is_told_to_its_waiter():
    async def main():
        request = asyncio.create_task(lifespan.ensure())
        while not (starts := named_tasks(None, "microweb lifespan")):
            await asyncio.sleep(0)
        starts[0].cancel()
        with pytest.raises(LifespanFailed, match="the start was cancelled"):
            await request

    lifespan = lifespan_of()
    asyncio.run(main())


def test_an_exit_that_cancels_its_own_task_does_not_keep_the_others(calls, caplog):
    async def cancel_itself():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def enter(stack, state):
        await stack.enter_async_context(resource(calls, on_exit=anyio.sleep_forever))
        stack.push_async_callback(cancel_itself)
        await stack.enter_async_context(resource(calls, "last", on_exit=cancel_itself))

    asyncio.run(Lifespan(enter, grace=lambda: 0.05).ensure())

    assert calls == ["resource in", "last in", "last out", "resource out"]
    assert caplog.text.count("an exit was cancelled") == 2
    assert caplog.text.count("its exit took over") == 1


def test_a_trio_run_that_has_ended_its_tasks_starts_nothing():
    outcome, generators = [], []

    async def generator():
        try:
            yield
        finally:
            try:
                await lifespan.ensure()
            except RuntimeError as error:
                outcome.append(str(error))

    async def main():
        generators.append(generator())
        await anext(generators[0])

    lifespan = lifespan_of()
    trio.run(main)

    assert outcome == ["Nursery is closed to new arrivals"]
    trio.run(lifespan.ensure)


def test_a_start_needs_a_loop():
    with pytest.raises(RuntimeError, match="no event loop is running in this thread"):
        lifespan_of().ensure().send(None)


def test_an_exit_that_hangs_at_the_end_of_the_loop_is_cancelled(run, calls, caplog):
    lifespan = lifespan_of(
        lambda: resource(calls, "first", on_exit=anyio.lowlevel.checkpoint),
        lambda: resource(calls, "second", on_exit=anyio.sleep_forever),
        grace=0.05,
    )
    run(lifespan.ensure)

    assert calls[2:] == ["second out", "first out"]
    assert "was cancelled: its exit took over" in str(errors_in(caplog)[0].exc_info[1])


def test_the_app_starts_again_on_every_new_loop(run, calls):
    lifespan = lifespan_of(lambda: resource(calls))

    for _ in range(3):
        run(lifespan.ensure)

    assert calls == ["resource in", "resource out"] * 3


def test_the_app_moves_from_asyncio_to_trio_and_back(calls):
    lifespan = lifespan_of(lambda: resource(calls))

    asyncio.run(lifespan.ensure())
    trio.run(lifespan.ensure)
    asyncio.run(lifespan.ensure())

    assert calls == ["resource in", "resource out"] * 3


def new_loops():
    yield asyncio.new_event_loop
    uvloop = pytest.importorskip("uvloop")
    yield uvloop.new_event_loop


@pytest.mark.parametrize("index", [0, 1], ids=["asyncio", "uvloop"])
def test_a_loop_closed_without_a_word_is_noticed_at_once(index, calls, caplog):
    loop = list(new_loops())[index]()
    lifespan = lifespan_of(lambda: resource(calls))
    loop.run_until_complete(lifespan.ensure())
    assert lifespan.started

    loop.close()

    assert not lifespan.started
    assert "its exits did not run" in caplog.text
    asyncio.run(lifespan.ensure())
    assert calls == ["resource in", "resource in", "resource out"]
    gc.collect()


@pytest.mark.parametrize("index", [0, 1], ids=["asyncio", "uvloop"])
def test_a_stop_in_time_leaves_no_timer_to_a_loop(index, caplog):
    loop = list(new_loops())[index]()
    lifespan = lifespan_of()

    loop.run_until_complete(lifespan.ensure())
    loop.run_until_complete(lifespan.stop())
    loop.close()

    assert caplog.records == []


def test_the_timer_that_notices_a_closed_loop_is_cancelled_at_the_stop_and_keeps_no_context():
    class RecordingLoop(asyncio.SelectorEventLoop):
        timers = []

        def call_later(self, *args, **kwargs):
            self.timers.append(super().call_later(*args, **kwargs))
            return self.timers[-1]

    async def main():
        current_request.set(request := Failure())
        await lifespan.ensure()
        return weakref.ref(request)

    current_request = contextvars.ContextVar("current_request")
    lifespan, loop = lifespan_of(), RecordingLoop()
    request = loop.run_until_complete(main())
    gc.collect()
    assert request() is None
    loop.run_until_complete(lifespan.stop())

    assert len(loop.timers) == 1
    assert loop.timers[0].cancelled()
    loop.close()


def test_a_loop_that_only_stopped_is_given_up_when_another_one_asks(calls, caplog):
    lifespan = lifespan_of(lambda: resource(calls))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(lifespan.ensure())

    asyncio.run(lifespan.ensure())

    assert calls == ["resource in", "resource in", "resource out"]
    loop.run_until_complete(cancel_all())
    loop.close()
    assert calls[-1] == "resource out"
    assert not lifespan.started


async def cancel_all():
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def named_tasks(loop, name):
    return [task for task in asyncio.all_tasks(loop) if task.get_name().startswith(name)]


def closed_with_pending(main, name):
    """Run ``main`` on a loop that is then closed, with tasks of a name pending; their coroutines."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    tasks = named_tasks(loop, name)
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False  # asyncio is right to complain, but not in our test's log
    return [task.get_coro() for task in tasks]


@pytest.mark.parametrize("steps", range(12))
def test_what_is_left_on_a_closed_loop_is_collected_in_silence(steps, calls, caplog):
    """The collector closes coroutines from the inside: one that waits for anything then would complain."""

    async def enter(stack, state):
        stack.push_async_callback(wait_a_step, "callback out")
        await stack.enter_async_context(ForeignLifespan(Mounted(calls), state))
        await stack.enter_async_context(resource(calls, on_exit=anyio.sleep_forever))
        lifespan.start_task(anyio.sleep_forever)

    async def wait_a_step(name):
        await anyio.lowlevel.checkpoint()

    async def main():
        servers.append(asyncio.create_task(lifespan.serve(server.scope, server.receive, server.send)))
        for _ in range(steps):
            await asyncio.sleep(0)
        if steps > 6:
            server.shut_down.set()
            await asyncio.sleep(0.01 if steps > 10 else 0)

    lifespan, server, servers = Lifespan(enter, background_timeout=lambda: 0.0), Server(), []
    coroutines = closed_with_pending(main, "microweb")
    servers[0]._log_destroy_pending = False
    for coroutine in coroutines if steps > 6 else [*coroutines, servers[0].get_coro()]:
        coroutine.close()

    assert not lifespan.started
    assert errors_in(caplog) == []


def test_stopping_from_a_new_loop_gives_up_the_closed_one():
    lifespan = lifespan_of()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(lifespan.ensure())

    asyncio.run(lifespan.stop())

    assert not lifespan.started
    loop.run_until_complete(cancel_all())
    loop.close()


def test_a_loop_left_and_then_closed_is_told_of_once(caplog):
    lifespan = lifespan_of()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(lifespan.ensure())

    asyncio.run(lifespan.ensure())
    for task in named_tasks(loop, "microweb"):
        task._log_destroy_pending = False
    loop.close()

    assert caplog.text.count("its exits did not run") == 1


def test_a_second_loop_at_the_same_time_is_refused(run):
    lifespan, outcome = lifespan_of(), []

    def elsewhere():
        async def main():
            for attempt in (lifespan.ensure, lifespan.stop):
                with pytest.raises(RuntimeError, match="one loop at a time"):
                    await attempt()
            server = Server()
            await lifespan.serve(server.scope, server.receive, server.send)
            outcome.extend(server.sent)

        asyncio.run(main())

    async def main():
        await lifespan.ensure()
        await anyio.to_thread.run_sync(elsewhere)

    run(main)

    assert outcome == ["startup.failed"]


# Background tasks


@pytest.mark.anyio
async def test_a_background_task_runs_and_is_awaited_at_the_stop(calls):
    gate = anyio.Event()

    async def work(number):
        await gate.wait()
        calls.append(number)

    lifespan = lifespan_of(lambda: resource(calls))
    await lifespan.ensure()
    lifespan.start_task(work, 7)
    gate.set()
    await lifespan.stop()

    assert calls == ["resource in", 7, "resource out"]


@pytest.mark.anyio
async def test_a_background_task_sees_the_context_of_its_caller():
    variable, seen = contextvars.ContextVar("variable"), []

    async def work():
        seen.append(variable.get())
        variable.set("changed")

    lifespan = lifespan_of()
    await lifespan.ensure()
    variable.set("mine")
    lifespan.start_task(work)
    await lifespan.stop()

    assert seen == ["mine"]
    assert variable.get() == "mine"


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ValueError("no such host"), SystemExit(1)])
async def test_a_background_task_that_fails_is_logged_once_and_harms_nobody(error, calls, caplog):
    async def broken():
        raise error

    async def work():
        await anyio.lowlevel.checkpoint()
        calls.append("worked")

    lifespan = lifespan_of()
    await lifespan.ensure()
    lifespan.start_task(broken, name="the broken one")
    lifespan.start_task(work)
    await lifespan.stop()

    assert calls == ["worked"]
    [record] = errors_in(caplog)
    assert record.getMessage() == "Background task the broken one failed."
    assert record.exc_info[1] is error


@pytest.mark.anyio
async def test_a_background_task_can_be_started_from_a_thread(calls):
    variable = contextvars.ContextVar("variable")
    done = anyio.Event()

    async def work(number):
        calls.append((number, variable.get()))
        done.set()

    def in_a_thread():
        variable.set("thread")
        lifespan.start_task(work, 7)

    lifespan = lifespan_of()
    await lifespan.ensure()
    await anyio.to_thread.run_sync(in_a_thread)
    await done.wait()
    await lifespan.stop()

    assert calls == [(7, "thread")]


@pytest.mark.anyio
async def test_a_task_started_from_a_thread_just_before_the_stop_is_not_lost(calls):
    async def work():
        calls.append("worked")

    lifespan = lifespan_of()
    await lifespan.ensure()
    thread = threading.Thread(target=lifespan.start_task, args=(work,))
    thread.start()
    thread.join()
    await lifespan.stop()

    assert calls == ["worked"]


@pytest.mark.anyio
async def test_a_lifespan_may_start_background_tasks_while_it_starts(calls):
    async def work():
        await lifespan.shutting_down.wait()
        calls.append("worked")

    async def enter(stack, state):
        lifespan.start_task(work)

    lifespan = Lifespan(enter)
    await lifespan.ensure()
    await lifespan.stop()

    assert calls == ["worked"]


@pytest.mark.anyio
async def test_background_tasks_of_a_failed_start_are_cancelled_at_once(calls, caplog):
    async def enter(stack, state):
        lifespan.start_task(hang_until(calls))
        await anyio.wait_all_tasks_blocked()
        await fail()

    lifespan = Lifespan(enter)
    with pytest.raises(LifespanFailed):
        await lifespan.ensure()

    assert calls == ["cancelled"]
    assert "Cancelled at shutdown" not in caplog.text


@pytest.mark.anyio
async def test_a_background_task_that_does_not_end_is_cancelled_before_the_exits(calls, caplog):
    lifespan = lifespan_of(lambda: resource(calls), background_timeout=0.01)
    await lifespan.ensure()
    lifespan.start_task(hang_until(calls), name="hanging")
    await anyio.wait_all_tasks_blocked()
    await lifespan.stop()

    assert calls == ["resource in", "cancelled", "resource out"]
    assert "Cancelled at shutdown after 0.01 s: hanging." in caplog.text


@pytest.mark.anyio
async def test_a_background_task_that_ignores_its_cancellation_does_not_keep_the_exits(calls, caplog):
    release = anyio.Event()

    async def stubborn():
        with anyio.CancelScope(shield=True):
            await release.wait()
        calls.append("released")

    lifespan = lifespan_of(lambda: resource(calls), background_timeout=0, grace=0.05)
    await lifespan.ensure()
    lifespan.start_task(stubborn, name="stubborn")
    await anyio.wait_all_tasks_blocked()
    await lifespan.stop()

    assert calls == ["resource in", "resource out"]
    assert "Background tasks that do not end when cancelled: stubborn." in caplog.text
    release.set()
    await anyio.wait_all_tasks_blocked()
    assert calls[-1] == "released"


@pytest.mark.anyio
async def test_background_tasks_that_start_each_other_are_ended_too(calls):
    async def work():
        await anyio.lowlevel.checkpoint()
        lifespan.start_task(work)

    lifespan = lifespan_of(lambda: resource(calls), background_timeout=0)
    await lifespan.ensure()
    lifespan.start_task(work)
    await lifespan.stop()

    assert calls == ["resource in", "resource out"]


@pytest.mark.anyio
async def test_background_tasks_that_have_not_begun_when_all_are_cancelled_end_too(caplog):
    async def work():
        while True:
            lifespan.start_task(anyio.sleep_forever)
            await anyio.lowlevel.checkpoint()

    lifespan = lifespan_of(background_timeout=0, grace=0.5)
    await lifespan.ensure()
    for _ in range(5):
        lifespan.start_task(work)
    await lifespan.stop()

    assert "do not end when cancelled" not in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("steps", range(8))
async def test_a_task_started_from_a_thread_near_the_stop_runs_or_is_refused(steps, calls, caplog):
    async def work():
        calls.append("ran")

    def in_a_thread():
        try:
            lifespan.start_task(work)
        except RuntimeError:
            calls.append("refused")

    lifespan = lifespan_of()
    await lifespan.ensure()
    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.stop)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()

    await anyio.wait_all_tasks_blocked()
    assert calls == ["ran"] or calls == ["refused"] or "work came too late" in caplog.text


def test_a_task_started_from_a_thread_while_the_loop_closes_is_refused():
    class ClosingLoop(asyncio.SelectorEventLoop):
        closing = False

        def call_soon_threadsafe(self, *args, **kwargs):
            if self.closing:
                raise RuntimeError("Event loop is closed")
            return super().call_soon_threadsafe(*args, **kwargs)

    lifespan, loop = lifespan_of(), ClosingLoop()
    loop.run_until_complete(lifespan.ensure())
    loop.closing = True

    with pytest.raises(RuntimeError, match="comes too late: the app's event loop has ended"):
        lifespan.start_task(fail)

    loop.closing = False
    loop.run_until_complete(lifespan.stop())
    loop.close()


def test_a_keyboard_interrupt_in_a_background_task_ends_the_program_and_the_exits_run(calls):
    async def interrupted():
        raise KeyboardInterrupt

    async def main():
        await lifespan.ensure()
        lifespan.start_task(interrupted)
        await anyio.sleep_forever()

    lifespan = lifespan_of(lambda: resource(calls))
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())

    assert calls == ["resource in", "resource out"]


@pytest.mark.anyio
async def test_a_background_task_needs_a_started_app():
    lifespan = lifespan_of()

    with pytest.raises(RuntimeError, match="background task fail needs a started app"):
        lifespan.start_task(fail)


@pytest.mark.anyio
async def test_a_background_task_started_by_an_exit_comes_too_late(calls):
    async def start_one():
        with pytest.raises(RuntimeError, match="comes too late: the app is shutting down"):
            lifespan.start_task(fail)
        calls.append("refused")

    lifespan = lifespan_of(lambda: resource(calls, on_exit=start_one))
    await lifespan.ensure()
    await lifespan.stop()

    assert calls[-1] == "refused"


@pytest.mark.anyio
async def test_a_failed_background_task_leaves_nothing_for_the_garbage_collector(without_collector):
    failures = []

    async def work():
        try:
            raise Failure
        except Failure as error:
            failures.append(weakref.ref(error))
            raise

    lifespan = lifespan_of()
    await lifespan.ensure()
    lifespan.start_task(work)
    await anyio.wait_all_tasks_blocked()

    assert failures[0]() is None
    await lifespan.stop()


def test_background_tasks_are_cancelled_when_the_loop_ends(run, calls):
    async def main():
        await lifespan.ensure()
        lifespan.start_task(hang_until(calls))
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()

    lifespan = lifespan_of(lambda: resource(calls))
    run(main)

    assert calls == ["resource in", "cancelled", "resource out"]


# The event


@pytest.mark.anyio
async def test_shutting_down_is_set_before_the_exits_and_cleared_by_the_next_start(calls):
    async def look():
        calls.append(lifespan.shutting_down.is_set())

    lifespan = lifespan_of(lambda: resource(calls, on_exit=look))
    for _ in range(2):
        await lifespan.ensure()
        assert not lifespan.shutting_down.is_set()
        await lifespan.stop()

    assert calls == ["resource in", "resource out", True] * 2


@pytest.mark.anyio
async def test_waiters_of_the_shutdown_wake():
    lifespan = lifespan_of()
    await lifespan.ensure()

    async with anyio.create_task_group() as group:
        group.start_soon(lifespan.shutting_down.wait)
        group.start_soon(lifespan.shutting_down.wait)
        await anyio.wait_all_tasks_blocked()
        await lifespan.stop()

    await lifespan.shutting_down.wait()


def test_an_event_made_without_a_loop_wakes_waiters_on_any_loop(run):
    event = ShutdownEvent()
    assert repr(event) == "<ShutdownEvent not set>"

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(event.wait)
            await anyio.wait_all_tasks_blocked()
            await anyio.to_thread.run_sync(event.set)

    run(main)

    assert event.is_set()
    assert repr(event) == "<ShutdownEvent set>"


def test_a_waiter_whose_loop_was_closed_is_forgotten():
    event = ShutdownEvent()
    loop = asyncio.new_event_loop()
    waiting = event.wait()
    task = loop.create_task(waiting)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()

    event.set()

    assert event.is_set()
    task._log_destroy_pending = False

    waiting.close()  # As the collector would, where no loop runs.


# Mounted apps


class Mounted:
    """An ASGI app with a lifespan that notes what happens to it."""

    def __init__(self, calls, name="mounted"):
        self.calls = calls
        self.name = name

    async def __call__(self, scope, receive, send):
        assert (await receive())["type"] == "lifespan.startup"
        self.calls.append(f"{self.name} in")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await anyio.lowlevel.checkpoint()
        self.calls.append(f"{self.name} out")
        await send({"type": "lifespan.shutdown.complete"})


@pytest.mark.anyio
async def test_a_mounted_app_starts_and_stops_with_us(calls):
    async with ForeignLifespan(Mounted(calls), {}) as mounted:
        assert calls == ["mounted in"]
        assert mounted.supported

    assert calls == ["mounted in", "mounted out"]


@pytest.mark.anyio
async def test_a_mounted_app_fills_a_copy_of_the_state():
    async def app(scope, receive, send):
        scope["state"]["pool"] = "its own"
        scope["state"]["cache"] = scope["state"]["shared"]
        await send({"type": "lifespan.startup.complete"})

    state = {"pool": "ours", "shared": []}
    async with ForeignLifespan(app, state) as mounted:
        assert mounted.state == {"pool": "its own", "shared": [], "cache": []}
        assert state == {"pool": "ours", "shared": [], "cache": []}
        assert mounted.state["cache"] is state["shared"]


@pytest.mark.anyio
async def test_a_mounted_app_that_raises_at_the_scope_has_no_lifespan(caplog):
    async def app(scope, receive, send):
        assert scope["type"] == "http"

    async with ForeignLifespan(app, {}) as mounted:
        assert not mounted.supported

    assert caplog.records == []


@pytest.mark.anyio
async def test_a_mounted_app_that_returns_without_an_answer_has_no_lifespan(caplog):
    async def app(scope, receive, send):
        await receive()

    async with ForeignLifespan(app, {}) as mounted:
        assert not mounted.supported

    assert caplog.records == []


@pytest.mark.anyio
async def test_a_mounted_app_that_raises_at_the_startup_message_has_none_and_is_logged(caplog):
    async def app(scope, receive, send):
        await receive()
        await fail()

    async with ForeignLifespan(app, {}, name="shop") as mounted:
        assert not mounted.supported

    assert "Mounted app shop raised at lifespan.startup" in caplog.text


@pytest.mark.anyio
async def test_a_mounted_app_that_answers_startup_failed_is_raised():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        await fail()

    with pytest.raises(LifespanFailed, match="mounted app shop: no database") as caught:
        async with ForeignLifespan(app, {}, name="shop"):
            pass

    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.anyio
async def test_a_mounted_app_that_answers_shutdown_failed_is_raised():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed"})

    with pytest.raises(LifespanFailed, match="its shutdown failed"):
        async with ForeignLifespan(app, {}):
            pass


@pytest.mark.anyio
async def test_a_mounted_app_that_raises_at_shutdown_is_raised(caplog):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await fail()

    with pytest.raises(LifespanFailed, match="ValueError: no such host"):
        async with ForeignLifespan(app, {}):
            pass

    assert errors_in(caplog) == []


@pytest.mark.anyio
async def test_a_mounted_app_that_failed_leaves_nothing_for_the_garbage_collector(without_collector):
    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await receive()
        raise Failure

    try:
        async with ForeignLifespan(app, {}):
            await anyio.wait_all_tasks_blocked()
    except LifespanFailed as error:
        cause = weakref.ref(error.__cause__)
    await anyio.wait_all_tasks_blocked()

    assert cause() is None


@pytest.mark.anyio
async def test_a_mounted_app_that_raises_while_it_serves_is_logged_and_left_alone(caplog):
    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        await fail()

    async with ForeignLifespan(app, {}, name="shop"):
        await anyio.wait_all_tasks_blocked()
        [record] = errors_in(caplog)

    assert record.getMessage() == "The lifespan of mounted app shop failed."


@pytest.mark.anyio
async def test_a_mounted_app_that_hangs_at_shutdown_is_cancelled_after_the_grace(calls):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await hang_until(calls)()

    with pytest.raises(LifespanFailed, match=r"did not end within 0\.01 s and was cancelled"):
        async with ForeignLifespan(app, {}, grace=0.01):
            pass

    assert calls == ["cancelled"]


@pytest.mark.anyio
async def test_a_mounted_app_that_asks_for_a_third_message_is_cancelled_after_the_grace():
    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        while True:
            await receive()

    with pytest.raises(LifespanFailed, match="was cancelled"):
        async with ForeignLifespan(app, {}, grace=0.01):
            pass


@pytest.mark.anyio
async def test_a_mounted_app_that_says_something_else_is_told(caplog):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "http.response.start"})

    async with ForeignLifespan(app, {}):
        await anyio.wait_all_tasks_blocked()

    assert "unexpected message 'http.response.start' from a lifespan that is serving" in caplog.text


@pytest.mark.anyio
async def test_cancelling_the_start_of_a_mounted_app_ends_its_task(calls):
    async def app(scope, receive, send):
        await hang_until(calls)()

    async with anyio.create_task_group() as group:
        group.start_soon(ForeignLifespan(app, {}).__aenter__)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert calls == ["cancelled"]


@pytest.mark.anyio
async def test_a_mounted_app_whose_start_is_cancelled_at_once_leaves_no_task(calls):
    async def app(scope, receive, send):
        calls.append("called")
        await hang_until(calls)()

    with anyio.CancelScope() as scope:
        scope.cancel()
        await ForeignLifespan(app, {}).__aenter__()

    await anyio.wait_all_tasks_blocked()
    assert calls in ([], ["called", "cancelled"])  # trio takes the first steps of tasks in any order


@pytest.mark.anyio
async def test_cancelling_the_exit_of_a_mounted_app_ends_its_task(calls):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await hang_until(calls)()

    with anyio.move_on_after(0.01):
        async with ForeignLifespan(app, {}):
            pass

    assert calls == ["cancelled"]


@pytest.mark.anyio
async def test_a_mounted_app_may_give_its_own_wait_a_limit(calls):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        with anyio.move_on_after(0):
            await receive()
        calls.append("waited")
        await receive()

    async with ForeignLifespan(app, {}):
        await anyio.wait_all_tasks_blocked()
        assert calls == ["waited"]


def test_mounted_apps_get_their_shutdown_in_order_when_the_loop_ends(run, calls):
    async def enter(stack, state):
        await stack.enter_async_context(ForeignLifespan(Mounted(calls, "first"), state))
        await stack.enter_async_context(resource(calls))
        await stack.enter_async_context(ForeignLifespan(Mounted(calls, "second"), state))

    lifespan = Lifespan(enter)
    run(lifespan.ensure)

    assert calls[3:] == ["second out", "resource out", "first out"]


@pytest.mark.anyio
async def test_a_starlette_app_is_mounted(calls):
    from starlette.applications import Starlette

    @asynccontextmanager
    async def its_lifespan(app):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            yield {"pool": 42}
            calls.append("down")
            group.cancel_scope.cancel()

    state = {}
    async with ForeignLifespan(Starlette(lifespan=its_lifespan), state) as mounted:
        assert mounted.state == {"pool": 42}

    assert calls == ["down"]
