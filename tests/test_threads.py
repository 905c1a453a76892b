"""Worker threads, calls, answers, cancellation, iterators and helper loops, on three loops."""

import asyncio
import gc
import itertools
import math
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import ContextVar, copy_context
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
import sniffio
import trio

import microweb.contextvariables
import microweb.helperloops
import microweb.workers
from microweb.contextvariables import ignore_variables
from microweb.helperloops import run_sync
from microweb.iteration import iterate
from microweb.threads import CallerCancelled
from microweb.workers import Worker, WorkerPool, call_from_thread, run_blocking

BACKENDS: list[Any] = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(("trio", {}), id="trio"),
]
try:
    import uvloop  # noqa: F401
except ImportError:
    pass
else:
    BACKENDS.append(pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"))

colour: ContextVar[str] = ContextVar("colour", default="none")
shape: ContextVar[object] = ContextVar("shape")
private: ContextVar[str] = ContextVar("private", default="task's")
ignore_variables(private)


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


MakePool = Callable[..., WorkerPool]
pool_numbers = itertools.count(1)


@pytest.fixture
def pool_name() -> str:
    """The name of this test's pools: another test's threads, which it may have left busy, are never counted."""
    return f"test{next(pool_numbers)}"


@pytest.fixture
def make_pool(pool_name: str) -> Iterator[MakePool]:
    """Make pools that are closed in the end, also of a test that fails."""
    with ExitStack() as stack:

        def make(size: int, wait_warning: float = 1.0) -> WorkerPool:
            pool = WorkerPool(size, name=pool_name, wait_warning=wait_warning)
            stack.callback(pool.close)
            return pool

        yield make


@pytest.fixture
def pool(make_pool: MakePool) -> WorkerPool:
    return make_pool(4)


@pytest.fixture
def worker(pool: WorkerPool) -> Worker:
    return pool.pick()


class Gate:
    """A function that blocks its thread until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.left = False

    def __call__(self, value: object = None) -> object:
        self.entered.set()
        assert self.opened.wait(10)
        self.left = True
        return value

    async def wait_entered(self) -> None:
        assert await run_blocking(self.entered.wait, 10)


async def turns(count: int = 20) -> None:
    """Give every task that can run the time to come to its next wait."""
    for _ in range(count):
        await anyio.lowlevel.cancel_shielded_checkpoint()


def count_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def live_threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name + "-")]


# --- Calls ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_call_runs_in_another_thread_and_returns_its_value(worker: Worker) -> None:
    value, thread = await worker.run(lambda *args: (args, threading.get_ident()), 1, 2)

    assert value == (1, 2)
    assert thread != threading.get_ident()


@pytest.mark.anyio
async def test_all_calls_of_a_worker_run_in_one_thread(pool: WorkerPool) -> None:
    async def call_five_times(worker: Worker) -> None:
        seen.append({await worker.run(threading.get_ident) for _ in range(5)})

    seen: list[set[int]] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call_five_times, pool.pick())

    assert [len(threads) for threads in seen] == [1] * 20


@pytest.mark.anyio
async def test_different_workers_run_in_parallel(pool: WorkerPool) -> None:
    meeting = threading.Barrier(4, timeout=10)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(pool.pick().run, meeting.wait)


@pytest.mark.anyio
async def test_two_calls_of_one_worker_at_a_time_run_one_after_the_other(worker: Worker) -> None:
    gate, order = Gate(), []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, gate)
        await gate.wait_entered()
        tasks.start_soon(worker.run, lambda: order.append((gate.left, threading.get_ident())))
        await turns()
        gate.opened.set()

    assert order == [(True, await worker.run(threading.get_ident))]


@pytest.mark.anyio
async def test_as_many_threads_as_its_size_are_started_and_no_more(pool: WorkerPool, pool_name: str) -> None:
    meeting = threading.Barrier(4, timeout=10)

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(pool.pick().run, meeting.wait)

    assert pool.size == 4
    assert len(live_threads(pool_name)) == 4


@pytest.mark.anyio
async def test_one_request_at_a_time_needs_one_thread(pool: WorkerPool) -> None:
    threads = {await pool.pick().run(threading.get_ident) for _ in range(20)}

    assert len(threads) == 1


@pytest.mark.anyio
async def test_a_new_request_does_not_wait_behind_one_blocked_thread(make_pool: MakePool) -> None:
    pool = make_pool(2)
    slow, quick, answers = Gate(), Gate(), []

    async def ask() -> None:
        answers.append(await pool.pick().run(lambda: "answered"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.pick().run, slow)
        tasks.start_soon(pool.pick().run, quick)
        await slow.wait_entered()
        await quick.wait_entered()
        async with anyio.create_task_group() as asking:
            for _ in range(3):
                asking.start_soon(ask)
            await turns()
            quick.opened.set()
        assert not slow.left
        slow.opened.set()

    assert answers == ["answered"] * 3


@pytest.mark.anyio
async def test_the_thread_of_one_worker_is_left_to_it_while_there_are_others(pool: WorkerPool) -> None:
    ours, theirs, gate = pool.pick(), pool.pick(), Gate()
    home = await ours.run(threading.get_ident)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(theirs.run, gate)
        await gate.wait_entered()
        assert await ours.run(threading.get_ident) == home
        gate.opened.set()


@pytest.mark.anyio
async def test_no_thread_is_shared_by_more_workers_than_another(make_pool: MakePool) -> None:
    pool = make_pool(3)
    workers = [pool.pick() for _ in range(9)]

    homes = [await worker.run(threading.get_ident) for worker in workers]

    assert sorted(Counter(homes).values()) == [3, 3, 3]


@pytest.mark.anyio
async def test_workers_share_a_thread_when_there_is_no_other_and_each_waits_for_its_own(make_pool: MakePool) -> None:
    pool = make_pool(1)
    ours, theirs, gate = pool.pick(), pool.pick(), Gate()
    home = await ours.run(threading.get_ident)
    assert await theirs.run(threading.get_ident) == home

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(theirs.run, gate)
        await gate.wait_entered()
        waiting: list[int] = []
        tasks.start_soon(lambda: append_result(waiting, ours.run(threading.get_ident)))
        await turns()
        assert waiting == []
        gate.opened.set()

    assert waiting == [home]


async def append_result(results: list[Any], awaitable: Any) -> None:
    results.append(await awaitable)


@pytest.mark.anyio
async def test_two_first_calls_of_one_worker_that_wait_for_a_thread_get_the_same_one(make_pool: MakePool) -> None:
    pool = make_pool(2)
    gate, threads = Gate(), []
    worker = pool.pick()

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(pool.pick().run, gate)
        await gate.wait_entered()
        await turns()
        for _ in range(8):
            tasks.start_soon(append_result, threads, worker.run(threading.get_ident))
        await turns()
        gate.opened.set()

    assert len(threads) == 8
    assert len(set(threads)) == 1


@pytest.mark.anyio
async def test_twenty_requests_at_a_time_keep_their_sqlite_connections(pool: WorkerPool) -> None:
    async def request(number: int) -> None:
        worker = pool.pick()
        connection = await worker.run(sqlite3.connect, ":memory:")
        await worker.run(connection.execute, f"create table numbers as select {number} as number")
        await anyio.lowlevel.checkpoint()
        answers.append(await worker.run(lambda: connection.execute("select number from numbers").fetchone()))
        await worker.run(connection.close)

    answers: list[tuple[int]] = []
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(request, number)

    assert sorted(answers) == [(number,) for number in range(20)]


@pytest.mark.anyio
async def test_a_hundred_blocked_calls_leave_the_loop_free(make_pool: MakePool) -> None:
    pool = make_pool(40)
    gate, ended = Gate(), []

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(append_result, ended, pool.pick().run(gate))
        await gate.wait_entered()
        with anyio.fail_after(10):
            await turns(2000)
        assert ended == []
        gate.opened.set()

    assert len(ended) == 100


@pytest.mark.anyio
async def test_a_task_that_only_makes_calls_lets_others_run(worker: Worker) -> None:
    async def other() -> None:
        ran.append(1)

    ran: list[int] = []
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(other)
            for _ in range(8):
                await worker.run(int)
            assert len(ran) == number + 1


def test_a_worker_is_of_no_use_without_a_loop(worker: Worker) -> None:
    call = worker.run(int)

    with pytest.raises(RuntimeError, match="asyncio or trio"):
        call.send(None)


def test_one_pool_serves_several_loops_at_a_time(pool: WorkerPool) -> None:
    def serve(number: int) -> None:
        async def main() -> int:
            return sum([await pool.pick().run(int) + number for _ in range(200)])

        sums.append(asyncio.run(main()) if number % 2 else trio.run(main))

    sums: list[int] = []
    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(sums) == [0, 200, 400, 600]


def test_a_pool_of_no_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one thread, not 0"):
        WorkerPool(0)


@pytest.mark.anyio
async def test_calls_work_without_file_descriptors_for_pipes(pool: WorkerPool) -> None:
    lowest_free = os.dup(0)
    os.close(lowest_free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        first, second = pool.pick(), pool.pick()
        values = [await first.run(int) for _ in range(20)]
        gate = Gate()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.run, gate)
            tasks.start_soon(second.run, gate)
            tasks.start_soon(first.run, gate)
            await turns()
            for _ in range(2):
                pool.close(timeout=0.0)
            gate.opened.set()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert values == [0] * 20


@pytest.fixture
def no_more_threads() -> Iterator[Callable[[], None]]:
    usual = threading.stack_size()
    yield lambda: threading.stack_size(1 << 46) and None
    threading.stack_size(usual)


@pytest.mark.anyio
async def test_calls_share_the_threads_there_are_when_the_system_gives_no_more(
    pool: WorkerPool, no_more_threads: Callable[[], None]
) -> None:
    gate, values = Gate(), []
    await pool.pick().run(int)
    await run_blocking(int)
    no_more_threads()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.pick().run, gate)
        await gate.wait_entered()
        tasks.start_soon(append_result, values, pool.pick().run(int))
        await turns()
        gate.opened.set()

    assert values == [0]


@pytest.mark.anyio
async def test_a_pool_that_gets_no_thread_at_all_says_so_and_recovers(
    pool: WorkerPool, no_more_threads: Callable[[], None]
) -> None:
    usual = threading.stack_size()
    bound = pool.pick()
    await bound.run(int)
    pool.close()
    no_more_threads()

    with pytest.raises(RuntimeError, match="thread"):
        await bound.run(int)
    with pytest.raises(RuntimeError, match="thread"):
        await WorkerPool(1).pick().run(int)

    threading.stack_size(usual)
    assert await bound.run(int) == 0


# --- Context variables ------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_function_sees_the_callers_context(worker: Worker) -> None:
    colour.set("red")

    assert await worker.run(colour.get) == "red"


@pytest.mark.anyio
async def test_a_variable_set_in_the_thread_is_set_in_the_task(worker: Worker) -> None:
    await worker.run(colour.set, "green")

    assert colour.get() == "green"


@pytest.mark.anyio
async def test_a_variable_is_copied_back_also_when_the_function_raises(worker: Worker) -> None:
    def fail() -> None:
        colour.set("red")
        raise ValueError

    with pytest.raises(ValueError):
        await worker.run(fail)

    assert colour.get() == "red"


@pytest.mark.anyio
async def test_a_new_object_is_copied_back_though_it_equals_the_old(worker: Worker) -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("context values are not compared by ==")

        __hash__ = None  # type: ignore[assignment]

    shape.set(Odd())
    new = Odd()

    await worker.run(shape.set, new)

    assert shape.get() is new


@pytest.mark.anyio
async def test_a_variable_that_the_thread_left_alone_keeps_its_token_in_the_task(worker: Worker) -> None:
    token = colour.set("red")

    await worker.run(shape.set, object())

    colour.reset(token)
    assert colour.get() == "none"


@pytest.mark.anyio
async def test_ignored_variables_stay_in_the_thread(worker: Worker) -> None:
    await worker.run(private.set, "thread's")

    assert private.get() == "task's"


@pytest.mark.anyio
async def test_no_async_library_seems_to_run_in_a_thread(worker: Worker) -> None:
    def library() -> str | None:
        try:
            return sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            return None

    assert await worker.run(library) is None
    assert library() is not None


@pytest.mark.anyio
async def test_calls_work_where_sniffio_is_not_loaded(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microweb.contextvariables, "_library_marker", None)
    monkeypatch.setitem(sys.modules, "sniffio", None)

    assert await worker.run(int) == 0


def test_a_library_that_is_just_being_imported_is_not_asked(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", ModuleType("trio"))

    assert asyncio.run(worker.run(int)) == 0


# --- Errors -----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, StopAsyncIteration])
async def test_what_the_function_raises_is_raised_in_the_task(worker: Worker, kind: type[BaseException]) -> None:
    error = kind("reason")

    def fail() -> None:
        raise error

    with pytest.raises(kind) as caught:
        await worker.run(fail)

    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "fail"
    assert "execute" not in names
    assert await worker.run(int) == 0


@pytest.mark.anyio
async def test_stop_iteration_becomes_a_runtime_error(worker: Worker) -> None:
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await worker.run(next, iter(()))

    assert isinstance(caught.value.__cause__, StopIteration)


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Thing:
    """Something to look after by weak reference."""


class ThingError(Exception):
    pass


@pytest.mark.anyio
async def test_a_raising_call_leaves_nothing_to_the_garbage_collector(worker: Worker, no_gc: None) -> None:
    def fail(thing: Thing) -> None:
        raise ThingError

    async def ask() -> weakref.ref[ThingError]:
        try:
            await worker.run(fail, Thing())
        except ThingError as error:
            return weakref.ref(error)
        raise AssertionError

    error = await ask()
    await worker.run(int)

    assert error() is None


@pytest.mark.anyio
async def test_a_request_that_raises_leaves_nothing_to_the_garbage_collector(worker: Worker, no_gc: None) -> None:
    async def fail(thing: Thing) -> None:
        raise ThingError

    async def ask() -> weakref.ref[ThingError]:
        try:
            await worker.run(call_from_thread, fail, Thing())
        except ThingError as error:
            return weakref.ref(error)
        raise AssertionError

    error = await ask()
    await worker.run(int)

    assert error() is None


@pytest.mark.anyio
async def test_an_idle_thread_keeps_nothing_alive(worker: Worker, no_gc: None) -> None:
    thing: Thing | None = Thing()
    alive = weakref.ref(thing)
    shape.set(thing)

    await worker.run(lambda thing: [thing], thing)
    shape.set(None)
    thing = None

    with anyio.fail_after(10):
        while alive() is not None:
            await run_blocking(int)


# --- Requests of the thread -------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_async_function_runs_in_the_waiting_task_itself(worker: Worker) -> None:
    async def who(name: str) -> tuple[str, int]:
        await anyio.lowlevel.checkpoint()
        return name, anyio.get_current_task().id

    answer = await worker.run(call_from_thread, who, "me")

    assert answer == ("me", anyio.get_current_task().id)


@pytest.mark.anyio
async def test_a_thread_may_ask_many_times(worker: Worker) -> None:
    async def double(number: int) -> int:
        return 2 * number

    def add_up() -> int:
        return sum(call_from_thread(double, number) for number in range(50))

    assert await worker.run(add_up) == 2450


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [ValueError, SystemExit])
async def test_what_the_async_function_raises_is_raised_in_the_thread(
    worker: Worker, kind: type[BaseException]
) -> None:
    async def fail() -> None:
        raise kind("reason")

    def ask() -> str:
        try:
            call_from_thread(fail)
        except kind as error:
            return f"caught {error}"
        return "nothing"

    assert await worker.run(ask) == "caught reason"


@pytest.mark.anyio
async def test_task_and_thread_see_each_others_variables_during_a_request(worker: Worker) -> None:
    async def repaint() -> str:
        before = colour.get()
        colour.set("green")
        return before

    def ask() -> tuple[str, str]:
        colour.set("red")
        return call_from_thread(repaint), colour.get()

    assert await worker.run(ask) == ("red", "green")
    assert colour.get() == "green"


@pytest.mark.anyio
async def test_a_variable_that_the_thread_resets_after_a_request_is_unset_in_the_task(worker: Worker) -> None:
    async def look() -> object:
        return shape.get("unset")

    def ask() -> object:
        token = shape.set("round")
        try:
            return call_from_thread(look)
        finally:
            shape.reset(token)

    assert await worker.run(ask) == "round"
    assert shape.get("unset") == "unset"


@pytest.mark.anyio
async def test_a_variable_that_the_thread_resets_after_a_request_has_its_old_value_in_the_task(
    worker: Worker,
) -> None:
    async def look() -> object:
        return shape.get()

    def ask() -> object:
        token = shape.set("round")
        seen = call_from_thread(look)
        shape.reset(token)
        return seen

    shape.set("square")

    assert await worker.run(ask) == "round"
    assert shape.get() == "square"


@pytest.mark.anyio
async def test_a_variable_that_the_task_unset_during_a_request_stays_unset(worker: Worker) -> None:
    token = shape.set("round")

    async def forget() -> None:
        shape.reset(token)

    await worker.run(call_from_thread, forget)

    assert shape.get("unset") == "unset"


def test_outside_of_a_worker_thread_there_is_nobody_to_ask() -> None:
    with pytest.raises(RuntimeError, match="run_sync"):
        call_from_thread(anyio.sleep, 0)


@pytest.mark.anyio
async def test_a_request_may_take_longer_than_a_look_at_the_loop(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microweb.workers, "_LOOP_CHECK_SECONDS", 0.001)

    async def take_time() -> str:
        await run_blocking(threading.Event().wait, 0.02)
        return "answer"

    assert await worker.run(call_from_thread, take_time) == "answer"


@pytest.mark.anyio
async def test_the_waiting_task_may_call_the_thread_that_asks_it(worker: Worker) -> None:
    async def call_back() -> tuple[int, str]:
        colour.set("green")
        return await worker.run(lambda: (threading.get_ident(), colour.get()))

    def ask() -> tuple[bool, bool]:
        thread, seen = call_from_thread(call_back)
        return thread == threading.get_ident(), seen == "green"

    with anyio.fail_after(10):
        assert await worker.run(ask) == (True, True)


@pytest.mark.anyio
async def test_tasks_of_a_request_may_call_the_thread_that_asks(worker: Worker) -> None:
    async def gather() -> list[int]:
        threads: list[int] = []
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(append_result, threads, worker.run(threading.get_ident))
        return threads

    with anyio.fail_after(10):
        threads = await worker.run(call_from_thread, gather)

    assert threads == [await worker.run(threading.get_ident)] * 3


@pytest.mark.anyio
async def test_requests_may_be_nested(worker: Worker) -> None:
    async def count_down(number: int) -> int:
        return number and await worker.run(call_from_thread, count_down, number - 1)

    with anyio.fail_after(10):
        assert await worker.run(call_from_thread, count_down, 5) == 0


@pytest.mark.anyio
async def test_threads_that_all_ask_tasks_that_need_a_thread_do_not_wait_for_ever(make_pool: MakePool) -> None:
    pool = make_pool(2)
    meeting = threading.Barrier(2, timeout=10)

    async def needs_a_thread() -> int:
        return await pool.pick().run(threading.get_ident)

    def ask() -> None:
        meeting.wait()
        answers.append(call_from_thread(needs_a_thread) == threading.get_ident())

    answers: list[bool] = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.pick().run, ask)
            tasks.start_soon(pool.pick().run, ask)

    assert answers == [True, True]


@pytest.mark.anyio
async def test_other_requests_do_not_run_inside_a_thread_that_asks(worker: Worker) -> None:
    other_worker_of_the_thread = worker
    asked, go_on, order = anyio.Event(), anyio.Event(), []

    async def wait() -> None:
        asked.set()
        await go_on.wait()
        order.append("answered")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, call_from_thread, wait)
        await asked.wait()
        tasks.start_soon(other_worker_of_the_thread.run, order.append, "other")
        await turns()
        go_on.set()

    assert order == ["answered", "other"]


@pytest.mark.anyio
async def test_a_nested_call_that_was_withdrawn_is_passed_over(worker: Worker) -> None:
    ran: list[str] = []

    async def call_and_cancel() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await worker.run(ran.append, "cancelled")
        await worker.run(ran.append, "called")

    with anyio.fail_after(10):
        await worker.run(call_from_thread, call_and_cancel)

    assert ran[-1] == "called"


@pytest.mark.anyio
async def test_from_thread_of_anyio_works_with_a_token(worker: Worker) -> None:
    token = anyio.lowlevel.current_token()

    async def answer(value: int) -> int:
        await anyio.lowlevel.checkpoint()
        return value + 1

    assert await worker.run(lambda: anyio.from_thread.run(answer, 1, token=token)) == 2
    assert await worker.run(lambda: anyio.from_thread.run_sync(str, 1, token=token)) == "1"


# --- Cancellation -----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_cancelled_call_that_waits_for_its_thread_is_withdrawn_at_once(worker: Worker) -> None:
    gate, ran = Gate(), []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, gate)
        await gate.wait_entered()
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_soon, scope)
            await worker.run(ran.append, 1)
        assert scope.cancelled_caught
        assert not gate.left
        gate.opened.set()

    await worker.run(ran.append, 2)
    assert ran == [2]


async def cancel_soon(scope: anyio.CancelScope) -> None:
    await turns()
    scope.cancel()


@pytest.mark.anyio
async def test_a_cancelled_call_that_waits_for_any_thread_is_withdrawn_at_once(make_pool: MakePool) -> None:
    pool = make_pool(1)
    gate, ran = Gate(), []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.pick().run, gate)
        await gate.wait_entered()
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_soon, scope)
            await pool.pick().run(ran.append, 1)
        assert scope.cancelled_caught
        gate.opened.set()

    await pool.pick().run(ran.append, 2)
    assert ran == [2]


@pytest.mark.anyio
@pytest.mark.parametrize("is_bound", [True, False])
async def test_nothing_is_left_of_a_withdrawn_call(is_bound: bool, no_gc: None, make_pool: MakePool) -> None:
    async def call_and_cancel() -> None:
        thing = Thing()
        alive.append(weakref.ref(thing))
        shape.set(thing)
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_soon, scope)
            await (worker if is_bound else pool.pick()).run(id, thing)

    alive: list[weakref.ref[Thing]] = []
    pool, gate = make_pool(1), Gate()
    worker = pool.pick()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, gate)
        await gate.wait_entered()
        tasks.start_soon(call_and_cancel)
        await turns(100)
        assert alive[0]() is None
        gate.opened.set()


@pytest.mark.anyio
async def test_the_end_of_a_running_call_is_awaited_before_the_cancellation_goes_on(worker: Worker) -> None:
    gate, result = Gate(), []

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_when_entered, gate, scope)
            tasks.start_soon(open_later_than, gate, scope)
            result.append(await worker.run(gate, "result"))
        assert scope.cancelled_caught
        assert gate.left

    assert result == []


async def cancel_when_entered(gate: Gate, scope: anyio.CancelScope) -> None:
    await gate.wait_entered()
    scope.cancel()


async def open_later_than(gate: Gate, scope: anyio.CancelScope) -> None:
    while not scope.cancel_called:
        await anyio.lowlevel.checkpoint()
    await turns(50)
    gate.opened.set()


@pytest.mark.anyio
async def test_variables_of_a_cancelled_call_are_copied_back(worker: Worker) -> None:
    gate = Gate()

    def paint() -> None:
        gate()
        colour.set("red")

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_when_entered, gate, scope)
            tasks.start_soon(open_later_than, gate, scope)
            await worker.run(paint)

    assert colour.get() == "red"


@pytest.mark.anyio
async def test_a_thread_that_asks_a_cancelled_task_is_told_so(worker: Worker) -> None:
    gate, told = Gate(), []

    def ask() -> None:
        gate()
        for _ in range(2):
            try:
                call_from_thread(anyio.sleep, 0)
            except CallerCancelled as error:
                told.append(error)

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_when_entered, gate, scope)
            tasks.start_soon(open_later_than, gate, scope)
            await worker.run(ask)
        assert scope.cancelled_caught

    assert len(told) == 2


@pytest.mark.anyio
async def test_a_request_is_cancelled_with_its_task_and_the_thread_is_told(worker: Worker) -> None:
    seen: list[str] = []
    asked = anyio.Event()

    async def wait() -> None:
        asked.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            seen.append("task cancelled")
            raise

    def ask() -> None:
        try:
            call_from_thread(wait)
        except CallerCancelled:
            seen.append("thread told")

    async def cancel() -> None:
        await asked.wait()
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel)
            await worker.run(ask)

    assert scope.cancelled_caught
    assert seen == ["task cancelled", "thread told"]


@pytest.mark.anyio
async def test_the_error_of_a_cancelled_call_is_dropped(worker: Worker) -> None:
    gate = Gate()

    def fail() -> None:
        gate()
        raise ValueError

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_when_entered, gate, scope)
            tasks.start_soon(open_later_than, gate, scope)
            await worker.run(fail)

    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_cancelling_at_every_turn_loses_no_thread(pool: WorkerPool) -> None:
    async def cancel_after(scope: anyio.CancelScope, count: int) -> None:
        for _ in range(count):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    for count in range(12):
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel_after, scope, count)
                await pool.pick().run(call_from_thread, anyio.sleep_forever)
            assert scope.cancelled_caught

    meeting = threading.Barrier(4, timeout=10)
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(pool.pick().run, meeting.wait)


def test_cancelling_a_task_twice_is_still_one_cancellation(worker: Worker) -> None:
    gate = Gate()

    async def main() -> int:
        task = asyncio.create_task(worker.run(gate))
        await gate.wait_entered()
        for _ in range(3):
            task.cancel()
            await turns()
        assert not task.done()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelling()

    assert asyncio.run(main()) == 3


def test_without_anyio_a_cancelled_call_is_awaited_as_well() -> None:
    program = """if True:
        import asyncio, sys, threading
        from microweb.workers import WorkerPool, run_blocking
        entered, opened, left = threading.Event(), threading.Event(), []
        def block():
            entered.set(); opened.wait(10); left.append(1)
        async def main():
            pool = WorkerPool()
            task = asyncio.create_task(pool.pick().run(block))
            await run_blocking(entered.wait, 10)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            opened.set()
            try:
                await task
            except asyncio.CancelledError:
                return left
        assert asyncio.run(main()) == [1]
        assert "anyio" not in sys.modules and "trio" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_asyncios_timeout_ends_a_call_with_a_timeout_error(worker: Worker) -> None:
    gate = Gate()

    async def main() -> None:
        async with asyncio.timeout(60) as limit:
            opening = asyncio.create_task(open_after(limit))
            await worker.run(gate)
        await opening

    async def open_after(limit: asyncio.Timeout) -> None:
        await gate.wait_entered()
        limit.reschedule(0)
        await turns(50)
        gate.opened.set()

    with pytest.raises(TimeoutError):
        asyncio.run(main())


def test_a_cancelled_task_that_a_request_awaits_is_an_error_of_the_request(worker: Worker) -> None:
    async def await_cancelled() -> None:
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other

    def ask() -> str:
        try:
            call_from_thread(await_cancelled)
        except asyncio.CancelledError:
            return "caught in the thread"
        return "nothing"

    async def main() -> str:
        return await worker.run(ask)

    assert asyncio.run(main()) == "caught in the thread"


def test_on_trio_a_call_is_a_checkpoint_that_sees_an_earlier_cancellation(worker: Worker) -> None:
    ran: list[int] = []

    async def main() -> bool:
        await worker.run(int)
        with trio.CancelScope() as scope:
            scope.cancel()
            await worker.run(ran.append, 1)
        return scope.cancelled_caught

    assert all(trio.run(main) for _ in range(20))
    assert ran == []


# --- Loops that go away -----------------------------------------------------------------------------


def test_a_thread_outlives_the_loop_of_its_caller_in_silence(
    pool: WorkerPool, capfd: pytest.CaptureFixture[str], pool_name: str
) -> None:
    gate = Gate()
    loop = asyncio.new_event_loop()
    task = loop.create_task(pool.pick().run(gate))
    loop.run_until_complete(gate.wait_entered())
    loop.close()
    gate.opened.set()
    pool.close()

    assert gate.left
    assert live_threads(pool_name) == []
    assert capfd.readouterr() == ("", "")
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop was closed on purpose


def test_a_thread_that_asks_a_closed_loop_is_told_that_nobody_is_there(pool: WorkerPool) -> None:
    gate, told = Gate(), []

    def ask() -> None:
        gate()
        try:
            call_from_thread(asyncio.sleep, 0)
        except CallerCancelled:
            told.append(1)

    loop = asyncio.new_event_loop()
    task = loop.create_task(pool.pick().run(ask))
    loop.run_until_complete(gate.wait_entered())
    loop.close()
    gate.opened.set()
    pool.close()

    assert told == [1]
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop was closed on purpose


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)], ids=["asyncio", "trio"])
def test_a_thread_that_waits_for_a_loop_learns_that_it_ended(
    pool: WorkerPool, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microweb.workers, "_LOOP_CHECK_SECONDS", 0.01)
    told = threading.Event()

    def numbers() -> Iterator[int]:
        yield 1
        try:
            call_from_thread(anyio.sleep, 0)
        except CallerCancelled:
            told.set()

    async def main() -> None:
        kept.append(iterate(pool.pick(), numbers()))
        assert await kept[0].__anext__() == 1

    kept: list[Any] = []
    run(main())

    assert told.wait(10)


def test_a_coroutine_that_is_thrown_away_releases_its_thread(worker: Worker) -> None:
    gate, told, ran = Gate(), [], []

    def ask() -> None:
        gate()
        try:
            call_from_thread(asyncio.sleep, 0)
        except CallerCancelled:
            told.append(1)

    async def main() -> None:
        running, queued = worker.run(ask), worker.run(ran.append, 1)
        running.send(None)
        await gate.wait_entered()
        queued.send(None)
        running.close()
        queued.close()
        gate.opened.set()
        await worker.run(int)

    asyncio.run(main())
    assert (told, ran) == ([1], [])


def test_a_coroutine_that_is_thrown_away_inside_a_request_releases_its_thread(worker: Worker) -> None:
    told = threading.Event()

    async def wait() -> None:
        asked.set()
        await asyncio.get_running_loop().create_future()

    def ask() -> None:
        try:
            call_from_thread(wait)
        except CallerCancelled:
            told.set()

    async def main() -> None:
        running = worker.run(ask)
        while not asked.is_set():
            woken = running.send(None)
            woken._asyncio_future_blocking = False
            if not asked.is_set():
                await woken
        running.close()
        assert await run_blocking(told.wait, 10)

    asked = threading.Event()
    asyncio.run(main())


# --- Waiting too long -------------------------------------------------------------------------------


async def wait_for_report(caplog: pytest.LogCaptureFixture, label: str) -> None:
    """The thread that watches the queues may write its report only after the call has ended."""
    with anyio.fail_after(10):
        while f"{label} waited" not in caplog.text:
            await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_a_call_that_waited_too_long_is_reported_by_name_once_a_second(
    caplog: pytest.LogCaptureFixture, make_pool: MakePool
) -> None:
    pool = make_pool(1, wait_warning=0.0)
    gate, started = Gate(), monotonic()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.pick().run, gate)
        await gate.wait_entered()
        for _ in range(5):
            tasks.start_soon(lambda: pool.pick().run(int, label="view 'report'"))
        await turns()
        gate.opened.set()

    await wait_for_report(caplog, "view 'report'")
    assert {record.name for record in caplog.records} == {"microweb"}
    assert len(caplog.records) <= 1 + int(monotonic() - started)
    assert "SYNC_THREADS (1)" in caplog.text


@pytest.mark.anyio
async def test_a_call_that_waited_for_its_own_thread_is_reported(
    caplog: pytest.LogCaptureFixture, make_pool: MakePool
) -> None:
    pool = make_pool(4, wait_warning=0.0)
    worker, gate = pool.pick(), Gate()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, gate)
        await gate.wait_entered()
        tasks.start_soon(worker.run, int)
        await turns()
        gate.opened.set()

    await wait_for_report(caplog, "a call")


@pytest.mark.anyio
@pytest.mark.parametrize("prefers_its_thread", [False, True])
async def test_a_call_is_reported_while_all_threads_are_stuck(
    caplog: pytest.LogCaptureFixture, prefers_its_thread: bool, make_pool: MakePool
) -> None:
    pool = make_pool(2, wait_warning=0.1)
    stuck, gates = [pool.pick(), pool.pick()], [Gate(), Gate()]

    async with anyio.create_task_group() as tasks:
        for worker, gate in zip(stuck, gates, strict=True):
            tasks.start_soon(worker.run, gate)
            await gate.wait_entered()
        waiting = stuck[0] if prefers_its_thread else pool.pick()
        tasks.start_soon(lambda: waiting.run(int, label="view 'report'"))
        await wait_for_report(caplog, "view 'report'")
        for gate in gates:
            gate.opened.set()


@pytest.mark.anyio
async def test_a_loop_that_stands_still_hides_no_waiting_call(
    caplog: pytest.LogCaptureFixture, make_pool: MakePool
) -> None:
    pool = make_pool(1, wait_warning=0.1)
    gate = Gate()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.pick().run, gate)
        await gate.wait_entered()
        tasks.start_soon(pool.pick().run, int)
        await turns()
        deadline = monotonic() + 10
        while "a call waited" not in caplog.text:
            assert monotonic() < deadline
        gate.opened.set()


@pytest.mark.anyio
async def test_calls_that_wait_a_moment_are_not_reported(pool: WorkerPool, caplog: pytest.LogCaptureFixture) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(pool.pick().run, int)

    assert caplog.records == []


# --- Start and stop ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_closed_pool_has_no_threads_and_works_again(pool: WorkerPool, pool_name: str) -> None:
    worker = pool.pick()
    for _ in range(3):
        assert await worker.run(int) == 0
        assert await pool.pick().run(int) == 0
        pool.close()
        assert live_threads(pool_name) == []


@pytest.mark.anyio
async def test_closing_releases_every_file_descriptor(pool: WorkerPool) -> None:
    await run_blocking(int)
    before = count_files()

    for _ in range(3):
        await pool.pick().run(int)
        pool.close()

    assert count_files() == before


@pytest.mark.anyio
async def test_queued_calls_are_done_before_the_threads_end(pool: WorkerPool, pool_name: str) -> None:
    gate, values = Gate(), []

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(append_result, values, pool.pick().run(gate, "done"))
        await gate.wait_entered()
        await turns()
        gate.opened.set()
        await pool.aclose()

    assert values == ["done"] * 10
    assert live_threads(pool_name) == []


@pytest.mark.anyio
async def test_a_busy_thread_is_left_behind_and_ends_after_its_call(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture, pool_name: str
) -> None:
    gate = Gate()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: pool.pick().run(gate, label="view 'slow'"))
        await gate.wait_entered()
        pool.close(timeout=0.0)
        assert "busy with view 'slow'" in caplog.text
        (thread,) = live_threads(pool_name)
        gate.opened.set()

    await run_blocking(thread.join, 10)
    assert live_threads(pool_name) == []


@pytest.mark.anyio
async def test_every_cancelled_task_is_let_go_by_the_threads_that_are_left_behind(pool: WorkerPool) -> None:
    gates, scope = [Gate(), Gate(), Gate()], anyio.CancelScope()

    async def run_them() -> None:
        with scope:
            async with anyio.create_task_group() as tasks:
                for gate in gates:
                    tasks.start_soon(pool.pick().run, gate)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_them)
        for gate in gates:
            await gate.wait_entered()
        scope.cancel()
        await turns()
        pool.close(timeout=0.0)
        with anyio.move_on_after(5):
            while not scope.cancelled_caught:
                await anyio.lowlevel.checkpoint()
        let_go = scope.cancelled_caught
        for gate in gates:
            gate.opened.set()

    assert let_go


@pytest.mark.anyio
async def test_what_is_left_to_do_does_not_wait_for_a_thread_that_was_left_behind(pool: WorkerPool) -> None:
    worker, gate, scope, values = pool.pick(), Gate(), anyio.CancelScope(), []

    async def release_when_cancelled() -> None:
        with scope:
            await worker.run(gate)
        values.append(await worker.run_firmly(str, "released"))
        gate.opened.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(release_when_cancelled)
        await gate.wait_entered()
        scope.cancel()
        await turns()
        pool.close(timeout=0.0)
        opened = await run_blocking(gate.opened.wait, 5)
        gate.opened.set()

    assert (opened, values) == (True, ["released"])


@pytest.mark.anyio
async def test_a_call_to_a_thread_that_is_ending_is_done(pool: WorkerPool) -> None:
    worker, gate, values = pool.pick(), Gate(), []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, gate)
        await gate.wait_entered()
        pool.close(timeout=0.0)
        tasks.start_soon(append_result, values, worker.run(int))
        await turns()
        gate.opened.set()

    assert values == [0]


@pytest.mark.anyio
async def test_closing_asynchronously_lets_a_thread_ask_its_task(pool: WorkerPool, pool_name: str) -> None:
    gate, values = Gate(), []

    async def answer() -> str:
        return "answer"

    def ask() -> str:
        gate()
        return call_from_thread(answer)

    async def release() -> None:
        await turns(50)
        gate.opened.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append_result, values, pool.pick().run(ask))
        await gate.wait_entered()
        tasks.start_soon(release)
        await pool.aclose()
        assert live_threads(pool_name) == []

    assert values == ["answer"]


@pytest.mark.anyio
async def test_a_cancelled_close_ends_the_threads_all_the_same(pool: WorkerPool, pool_name: str) -> None:
    await pool.pick().run(int)
    (thread,) = live_threads(pool_name)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await pool.aclose()
    thread.join(10)

    assert not thread.is_alive()


@pytest.mark.anyio
async def test_a_pool_can_be_closed_from_one_of_its_threads(pool: WorkerPool, pool_name: str) -> None:
    await pool.pick().run(pool.close)
    pool.close()

    assert live_threads(pool_name) == []


@pytest.mark.anyio
async def test_closing_and_calling_at_a_time_loses_no_call(pool: WorkerPool) -> None:
    async def call() -> None:
        worker = pool.pick()
        for _ in range(100):
            assert await worker.run(int) == 0

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(call)
            for _ in range(20):
                await pool.aclose()


def test_a_pool_that_nobody_refers_to_ends_its_threads() -> None:
    asyncio.run(WorkerPool(name="forgotten").pick().run(int))
    gc.collect()

    for thread in live_threads("forgotten"):
        thread.join(10)
    assert live_threads("forgotten") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_gets_threads_of_its_own() -> None:
    program = """if True:
        import asyncio, os
        from microweb.helperloops import run_sync
        from microweb.workers import WorkerPool, run_blocking
        pool = WorkerPool()
        worker = pool.pick()
        async def main():
            pids = [await worker.run(os.getpid), await pool.pick().run(os.getpid)]
            return [*pids, await run_blocking(os.getpid)]
        async def alone():
            return os.getpid()
        def pids():
            return {*asyncio.run(main()), run_sync(alone)}
        assert pids() == {os.getpid()}
        child = os.fork()
        if not child:
            os._exit(0 if pids() == {os.getpid()} else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert pids() == {os.getpid()}
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=30)


def test_the_interpreter_ends_with_threads_still_at_work() -> None:
    program = """if True:
        import asyncio, threading
        from microweb.helperloops import run_sync
        from microweb.workers import WorkerPool, run_blocking
        pool, entered = WorkerPool(), threading.Event()
        async def main():
            block = lambda: entered.set() or threading.Event().wait()
            waiting = asyncio.ensure_future(pool.pick().run(block))
            await run_blocking(entered.wait)
            await pool.pick().run(run_sync, asyncio.sleep, 0)
            waiting.cancel()
            asyncio.get_running_loop().stop()
        asyncio.new_event_loop().create_task(main()).get_loop().run_forever()
    """
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::ResourceWarning", "-c", program],
        capture_output=True,
        timeout=30,
        check=True,
    )

    assert b"microweb/" not in ended.stderr


# --- Everything at once -----------------------------------------------------------------------------


@pytest.fixture
def eager_switching() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


async def make_requests(pool: WorkerPool, choice: random.Random, count: int) -> None:
    async def repaint() -> str:
        await anyio.lowlevel.checkpoint()
        return colour.get()

    async def call_back() -> str:
        return await worker.run(colour.get)

    def read(name: str) -> str:
        colour.set(name)
        return call_from_thread(choice.choice((repaint, call_back)))

    for _ in range(count):
        worker = pool.pick()
        with anyio.move_on_after(choice.choice((0.0, 0.0005, math.inf))):
            for name in ("red", "green", "blue"):
                assert await worker.run(colour.set, name) is not None
                assert await worker.run(read, name) == name
            body = Closable(*range(choice.randrange(100)))
            items = iterate(worker, body)
            try:
                read_items = [item async for item in items]
                assert read_items == list(body.items)
            finally:
                await items.aclose()
                assert body.closed == 1


@pytest.mark.parametrize("size", [1, 2, 4])
def test_no_call_is_lost_whatever_the_moment_of_a_switch(size: int, eager_switching: None, make_pool: MakePool) -> None:
    async def main(seed: int) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(make_requests, pool, random.Random(seed + number), 15)
        ended.append(seed)

    pool, ended = make_pool(size), list[int]()
    loops = [
        threading.Thread(target=anyio.run, args=(main, 100 * number), kwargs={"backend": backend}, daemon=True)
        for number, backend in enumerate(("asyncio", "trio", "asyncio"))
    ]
    for loop in loops:
        loop.start()
    while any(loop.is_alive() for loop in loops):
        # The threads come and go meanwhile.
        pool.close(timeout=0.001)
    pool.close()

    assert sorted(ended) == [0, 100, 200]


# --- Iterators --------------------------------------------------------------------------------------


async def collect(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


class Broken(Exception):
    kept: weakref.WeakSet["Broken"] = weakref.WeakSet()

    def __init__(self) -> None:
        self.kept.add(self)


@pytest.mark.anyio
async def test_an_error_ahead_of_a_reader_that_stops_is_gone_without_the_collector(worker: Worker) -> None:
    def break_behind_the_first() -> Iterator[int]:
        yield 1
        raise Broken

    gc.disable()
    try:
        for _ in range(10):  # A slow thread may end its trip before the error.
            items = iterate(worker, break_behind_the_first())
            assert await anext(items) == 1
            await items.aclose()

        assert not [*Broken.kept]
    finally:
        gc.enable()


@pytest.mark.anyio
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
async def test_all_items_come_in_order(worker: Worker, count: int) -> None:
    assert await collect(iterate(worker, (number for number in range(count)))) == list(range(count))
    assert await collect(iterate(worker, range(count))) == list(range(count))


@pytest.mark.anyio
async def test_an_iterator_runs_in_the_workers_thread(worker: Worker) -> None:
    def threads() -> Iterator[int]:
        try:
            yield threading.get_ident()
        finally:
            ended.append(threading.get_ident())

    ended: list[int] = []
    seen = await collect(iterate(worker, threads()))

    assert seen == ended == [await worker.run(threading.get_ident)]


@pytest.mark.anyio
async def test_an_item_comes_while_the_iterator_waits_for_the_next(worker: Worker) -> None:
    gate = Gate()

    def slow() -> Iterator[object]:
        yield "first"
        yield "second"
        yield gate("third")

    items = iterate(worker, slow())
    assert await items.__anext__() == "first"
    assert await items.__anext__() == "second"
    assert not gate.left
    gate.opened.set()

    assert await collect(items) == ["third"]


@pytest.mark.anyio
@pytest.mark.parametrize(("item", "most"), [(1, 64), (b"x" * 40_000, 2), ("x" * 70_000, 1)])
async def test_an_iterator_runs_only_so_far_ahead_of_its_reader(pool: WorkerPool, item: object, most: int) -> None:
    def endless() -> Iterator[object]:
        nonlocal given
        while True:
            given += 1
            yield item

    given = 0
    worker = pool.pick()
    items = iterate(worker, endless())
    await items.__anext__()
    await worker.run(int)

    assert 1 <= given <= most
    await items.aclose()


@pytest.mark.anyio
async def test_a_thread_is_free_for_others_between_two_items(worker: Worker) -> None:
    items = iterate(worker, iter(range(1000)))
    await items.__anext__()

    with anyio.fail_after(10):
        assert await worker.run(int) == 0
    await items.aclose()


@pytest.mark.anyio
async def test_an_error_comes_after_the_items_before_it(worker: Worker) -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("third")

    items, seen = iterate(worker, failing()), []
    with pytest.raises(ValueError, match="third"):
        async for item in items:
            seen.append(item)

    assert seen == [1, 2]
    assert await collect(items) == []


@pytest.mark.anyio
async def test_something_that_cannot_be_iterated_is_an_error_of_the_first_item(worker: Worker) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        await collect(iterate(worker, 5))  # type: ignore[arg-type]


class Closable:
    """An iterable with a ``close`` of its own, as WSGI has them."""

    def __init__(self, *items: int) -> None:
        self.items = items
        self.closed = 0
        self.inner_closed = 0

    def __iter__(self) -> Iterator[int]:
        try:
            yield from self.items
        finally:
            self.inner_closed += 1

    def close(self) -> None:
        self.closed += 1


@pytest.mark.anyio
async def test_an_iterable_is_closed_once_at_its_end(worker: Worker) -> None:
    body = Closable(1, 2, 3)
    items = iterate(worker, body)

    assert await collect(items) == [1, 2, 3]
    await items.aclose()

    assert (body.inner_closed, body.closed) == (1, 1)


@pytest.mark.anyio
async def test_an_iterable_is_closed_when_its_reader_stops_early(worker: Worker) -> None:
    body = Closable(*range(1000))
    items = iterate(worker, body)

    await items.__anext__()
    await items.aclose()
    await items.aclose()

    assert (body.inner_closed, body.closed) == (1, 1)
    assert await collect(items) == []


@pytest.mark.anyio
async def test_an_iterable_that_was_never_read_is_closed_as_well(worker: Worker) -> None:
    body = Closable(1)
    plain = iterate(worker, [1])

    await iterate(worker, body).aclose()
    await plain.aclose()

    assert (body.inner_closed, body.closed) == (0, 1)
    assert await collect(plain) == []


@pytest.mark.anyio
async def test_an_error_in_close_is_raised(worker: Worker) -> None:
    def failing() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            raise ValueError("closing")

    items = iterate(worker, failing())
    await items.__anext__()

    with pytest.raises(ValueError, match="closing"):
        await items.aclose()
    assert await collect(items) == []


@pytest.mark.anyio
async def test_closing_waits_for_the_thread_and_drops_what_it_gave_unasked(worker: Worker) -> None:
    gate = Gate()

    def slow() -> Iterator[object]:
        yield "first"
        yield gate("second")
        raise ValueError("never asked for")

    items = iterate(worker, slow())
    assert await items.__anext__() == "first"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(items.aclose)
        await gate.wait_entered()
        await turns()
        assert not gate.left
        gate.opened.set()

    assert gate.left


@pytest.mark.anyio
async def test_a_cancelled_reader_can_still_close(worker: Worker) -> None:
    closed: list[str] = []
    gate = Gate()

    async def say_goodbye() -> None:
        await anyio.lowlevel.checkpoint()
        closed.append("asked the task")

    def slow() -> Iterator[object]:
        try:
            yield "first"
            yield gate("second")
        finally:
            call_from_thread(say_goodbye)
            closed.append("closed")

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            items = iterate(worker, slow())
            try:
                await items.__anext__()
                tasks.start_soon(cancel_when_entered, gate, scope)
                tasks.start_soon(open_later_than, gate, scope)
                await items.__anext__()
            finally:
                await items.aclose()

    assert scope.cancelled_caught
    assert closed == ["asked the task", "closed"]


def test_a_task_that_is_cancelled_while_it_closes_closes_first(worker: Worker) -> None:
    gate, closed = Gate(), []

    def slow() -> Iterator[object]:
        try:
            yield "first"
            yield gate("second")
        finally:
            closed.append(1)

    async def read() -> None:
        items = iterate(worker, slow())
        await items.__anext__()
        await items.aclose()

    async def main() -> None:
        task = asyncio.create_task(read())
        await gate.wait_entered()
        await turns()
        task.cancel()
        await turns()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert closed == [1]


def test_a_close_that_waits_for_its_thread_is_never_withdrawn(worker: Worker) -> None:
    gate, body = Gate(), Closable(*range(1000))

    async def read() -> None:
        items = iterate(worker, body)
        await items.__anext__()
        await worker.run(int)
        blocking.append(asyncio.create_task(worker.run(gate)))
        await gate.wait_entered()
        closing.set()
        await items.aclose()

    async def main() -> None:
        task = asyncio.create_task(read())
        await closing.wait()
        await turns()
        task.cancel()
        await turns()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await blocking[0]

    closing = asyncio.Event()
    blocking: list[asyncio.Task[object]] = []
    asyncio.run(main())
    assert body.closed == 1


@pytest.mark.anyio
async def test_a_generator_may_ask_the_task_that_reads_it(worker: Worker) -> None:
    async def double(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 2 * number

    def numbers() -> Iterator[int]:
        for number in range(5):
            yield call_from_thread(double, number)

    assert await collect(iterate(worker, numbers())) == [0, 2, 4, 6, 8]


@pytest.mark.anyio
async def test_a_generator_that_asks_a_reader_who_closes_is_told_so(worker: Worker) -> None:
    told: list[int] = []

    def numbers() -> Iterator[int]:
        yield 1
        try:
            call_from_thread(anyio.sleep, 0)
        except CallerCancelled:
            told.append(1)
            raise

    items = iterate(worker, numbers())
    await items.__anext__()
    await items.aclose()

    assert told == [1]


@pytest.mark.anyio
async def test_a_generator_may_set_a_variable_in_one_trip_and_reset_it_in_another(worker: Worker) -> None:
    def numbers() -> Iterator[object]:
        token = shape.set("round")
        for _ in range(200):
            yield shape.get()
        shape.reset(token)

    items = iterate(worker, numbers())
    during = [shape.get("unset") async for _ in items]

    assert during[-1] == "round"
    assert shape.get("unset") == "unset"


@pytest.mark.anyio
async def test_a_generator_sees_what_its_reader_sets_between_two_trips(worker: Worker) -> None:
    def colours() -> Iterator[str]:
        while True:
            yield colour.get()

    items = iterate(worker, colours())
    await items.__anext__()
    colour.set("green")

    seen = [await items.__anext__() for _ in range(200)]
    await items.aclose()

    assert seen[-1] == "green"


@pytest.mark.anyio
async def test_a_generator_may_be_read_to_its_end_in_another_context(worker: Worker) -> None:
    def numbers() -> Iterator[int]:
        token = shape.set("round")
        yield from range(200)
        shape.reset(token)

    async def read_on() -> None:
        rest.extend(await collect(items))

    rest: list[int] = []
    items = iterate(worker, numbers())
    for _ in range(100):
        await items.__anext__()
    async with anyio.create_task_group() as tasks:
        copy_context().run(tasks.start_soon, read_on)

    assert rest == list(range(100, 200))


@pytest.mark.anyio
async def test_cancelling_a_reader_at_every_turn_leaves_no_generator_open(pool: WorkerPool) -> None:
    async def read(body: Closable) -> None:
        items = iterate(pool.pick(), body)
        try:
            async for _ in items:
                await anyio.lowlevel.checkpoint()
        finally:
            await items.aclose()

    for count in range(30):
        body = Closable(*range(100))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, body)
            for _ in range(count):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert body.closed == 1 or count == 0


# --- Without a request ------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_blocking_functions_do_not_wait_behind_blocked_views(make_pool: MakePool) -> None:
    pool, gate = make_pool(1), Gate()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.pick().run, gate)
        await gate.wait_entered()
        with anyio.fail_after(10):
            assert await run_blocking(max, 1, 2) == 2
        gate.opened.set()


async def paint(value: str) -> str:
    await asyncio.sleep(0)
    colour.set(value)
    return f"painted {value}"


def test_an_async_function_runs_where_no_loop_runs() -> None:
    def run() -> tuple[str, str]:
        return run_sync(paint, "red"), colour.get()

    assert copy_context().run(run) == ("painted red", "red")


@pytest.mark.anyio
async def test_an_async_function_runs_under_a_running_loop(worker: Worker) -> None:
    assert run_sync(paint, "red") == "painted red"
    assert await worker.run(run_sync, paint, "green") == "painted green"
    assert colour.get() == "green"


def test_helper_loops_nest() -> None:
    async def count_down(number: int) -> int:
        return number and run_sync(count_down, number - 1)

    assert run_sync(count_down, 3) == 0


def test_helper_loops_are_kept() -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert run_sync(loop) is run_sync(loop)


def test_stopped_helper_loops_cancel_their_tasks_and_come_again() -> None:
    async def leave_a_task_behind() -> None:
        loop = asyncio.get_running_loop()
        left.append(loop.create_task(asyncio.sleep(60)))

    left: list[asyncio.Task[None]] = []
    run_sync(leave_a_task_behind)
    microweb.helperloops._stop_helper_loops()

    assert left[0].cancelled()
    assert run_sync(paint, "red") == "painted red"


def test_helper_loops_end_their_tasks_at_the_end_of_the_program() -> None:
    program = """if True:
        import asyncio
        from microweb.helperloops import run_sync

        async def connection():
            try:
                await asyncio.sleep(60)
            finally:
                print("closed")

        async def connect():
            kept.append(asyncio.create_task(connection()))
            await asyncio.sleep(0)

        kept = []
        run_sync(connect)
    """
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)

    assert (ended.stdout, ended.stderr) == ("closed\n", "")


def test_two_threads_that_need_the_first_helper_loop_at_once_share_one() -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def ask() -> asyncio.AbstractEventLoop:
        barrier.wait(10)
        return run_sync(loop)

    microweb.helperloops._stop_helper_loops()
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(ask), threads.submit(ask)

    assert first.result() is second.result()
    assert [thread.name for thread in threading.enumerate()].count("microweb-helper-1") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("moment", ["inside one", "while another thread makes one"])
def test_a_child_that_is_forked_in_the_middle_of_a_helper_loop_gets_one_of_its_own(moment: str) -> None:
    program = """if True:
        import os, signal, sys
        from microweb import helperloops
        from microweb.helperloops import run_sync

        async def pid():
            return os.getpid()

        def go_on_in_a_child(child):
            if not child:
                signal.alarm(20)
                os._exit(0 if run_sync(pid) == os.getpid() else 1)
            return os.waitpid(child, 0)[1]

        async def inside():
            return go_on_in_a_child(os.fork())

        if sys.argv[1] == "inside one":
            sys.exit(run_sync(inside))
        with helperloops._helper_lock:
            sys.exit(go_on_in_a_child(os.fork()))
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, moment], check=True, timeout=30)


def test_what_run_sync_raises_leaves_nothing_to_the_garbage_collector(no_gc: None) -> None:
    async def fail() -> None:
        raise ThingError

    def ask() -> weakref.ref[ThingError]:
        try:
            run_sync(fail)
        except ThingError as error:
            return weakref.ref(error)
        raise AssertionError

    error = ask()
    run_sync(paint, "red")

    assert error() is None


@pytest.mark.parametrize("kind", [ValueError, SystemExit, asyncio.CancelledError])
def test_what_an_async_function_raises_is_raised_by_run_sync(kind: type[BaseException]) -> None:
    async def fail() -> None:
        raise kind("reason")

    with pytest.raises(kind, match="reason"):
        run_sync(fail)

    assert run_sync(paint, "red") == "painted red"


def test_an_interrupt_cancels_what_run_sync_waits_for() -> None:
    cancelled = threading.Event()

    async def wait() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_sync(wait)
    finally:
        signal.signal(signal.SIGINT, previous)

    assert cancelled.wait(10)


def test_importing_the_module_loads_no_async_library() -> None:
    program = """if True:
        import sys, microweb.helperloops, microweb.iteration
        print(sorted({'anyio', 'trio', 'sniffio'} & set(sys.modules)))
    """

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=30)

    assert loaded.stdout.strip() == b"[]"
